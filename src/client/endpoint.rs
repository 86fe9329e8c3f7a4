//! What a client connects to: a server's address, or a snapshotter within this process.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use super::Address;
use super::address::{LastPeer, Wanted};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind};
use crate::io::stream::Stream;

/// What a client connects to.
#[derive(Debug, Clone)]
pub enum Endpoint {
    /// A server, over TCP.
    Tcp(Address),
    /// A snapshotter within this process.
    Local(Connector),
}

impl Endpoint {
    /// Connects, in no longer than `timeout`; to a server, where the `last` connection went.
    pub(super) fn connect(
        &self,
        last: &LastPeer,
        wanted: Wanted,
        timeout: Duration,
        cancel: &Cancel,
    ) -> Result<Stream, Error> {
        match self {
            Self::Tcp(address) => address
                .connect(last, wanted, timeout, cancel)
                .map(Stream::Tcp),
            Self::Local(connector) => (connector.connect)().map_err(|error| {
                ErrorKind::Failed.error(format!(
                    "cannot connect to the service over {connector}: {error}"
                ))
            }),
        }
    }
}

impl From<Address> for Endpoint {
    fn from(address: Address) -> Self {
        Self::Tcp(address)
    }
}

impl From<Connector> for Endpoint {
    fn from(connector: Connector) -> Self {
        Self::Local(connector)
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => address.fmt(f),
            Self::Local(connector) => connector.fmt(f),
        }
    }
}

type Connect = dyn Fn() -> io::Result<Stream> + Send + Sync;

/// Makes connections to a snapshotter within this process.
#[derive(Clone)]
pub struct Connector {
    name: String,
    connect: Arc<Connect>,
}

impl Connector {
    /// One that says `name` in messages and connects by `connect`.
    pub fn new(
        name: String,
        connect: impl Fn() -> io::Result<Stream> + Send + Sync + 'static,
    ) -> Self {
        Self {
            name,
            connect: Arc::new(connect),
        }
    }
}

impl fmt::Display for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}

impl fmt::Debug for Connector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Connector").field(&self.name).finish()
    }
}
