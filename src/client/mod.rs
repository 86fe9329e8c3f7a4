//! The client side of the protocol: one request a connection, with time-outs, in the dialect the
//! server turns out to speak.

mod address;
mod connection;
mod endpoint;
mod peer;
mod rate;
mod timeouts;

use std::io::{self, BufReader};
use std::num::NonZeroU64;
use std::sync::OnceLock;
use std::time::Instant;

use anyhow::{Context, Result};

use crate::cancel::Cancel;
use crate::error::ErrorKind;
use crate::wire::{
    BlobError, Dialect, Import, InfoReply, MetaBlob, Request, ShardIds, read_info, read_shard_ids,
};

pub use address::Address;
use address::{LastPeer, Wanted};
use connection::Stopwatch;
pub(crate) use connection::cancellation;
pub use connection::{Reply, Upload};
pub use endpoint::Connector;
pub use endpoint::Endpoint;
pub(crate) use rate::RateLimit;
pub use timeouts::Timeouts;

/// A snapshotter server. Knows no retries: each call is one connection (two, while the dialect is
/// unknown).
#[derive(Debug)]
pub struct Client {
    address: Endpoint,
    last_peer: LastPeer,
    timeouts: Timeouts,
    cancel: Cancel,
    dialect: OnceLock<Dialect>,
    limit: Option<RateLimit>,
}

impl Client {
    /// A client of the server at `address`. Nothing is sent yet; a `dialect` of `None` is found out
    /// by the first request.
    pub fn new(
        address: impl Into<Endpoint>,
        dialect: Option<Dialect>,
        timeouts: Timeouts,
        cancel: Cancel,
    ) -> Self {
        Self {
            address: address.into(),
            last_peer: LastPeer::default(),
            timeouts,
            cancel,
            dialect: dialect.map(OnceLock::from).unwrap_or_default(),
            limit: None,
        }
    }

    /// The client with a limit on what all its connections together move, in bytes per second.
    pub fn limited(self, bytes_per_second: Option<NonZeroU64>) -> Self {
        Self {
            limit: bytes_per_second.map(RateLimit::new),
            ..self
        }
    }

    /// The server's address, or what stands for it.
    pub fn address(&self) -> &Endpoint {
        &self.address
    }

    /// The dialect, once it was forced or found out.
    pub fn dialect(&self) -> Option<Dialect> {
        self.dialect.get().copied()
    }

    /// Fetches the metastore. Where the dialect is not known, asks in the newer one first and then
    /// in the older; neither question has an effect on a server that does not understand it.
    ///
    /// # Errors
    ///
    /// When the server is not reached, is no snapshotter ([`ErrorKind::Unreachable`]), or its reply
    /// breaks off.
    pub(crate) fn metastore(&self) -> Result<MetaBlob> {
        let dialects = match self.dialect() {
            Some(dialect) => vec![dialect],
            None => vec![Dialect::V1_5, Dialect::V1_0],
        };
        let mut silence = Silence::Closed;
        for dialect in &dialects {
            match self.metastore_in(*dialect)? {
                FirstReply::Metastore(blob) => {
                    let _ = self.dialect.set(*dialect);
                    return Ok(blob);
                }
                FirstReply::Silence(how) => silence = how,
            }
        }
        Err(peer::silent(&self.address, &dialects, silence))
    }

    fn metastore_in(&self, dialect: Dialect) -> Result<FirstReply> {
        let reply = self.send(&Request::MetaStore, dialect, Wanted::All)?;
        let error = match MetaBlob::read_from(reply) {
            Ok(blob) => return Ok(FirstReply::Metastore(blob)),
            Err(BlobError::Nothing) => return Ok(FirstReply::Silence(Silence::Closed)),
            // A server that does not want what it was sent may answer with a reset: silence too.
            Err(BlobError::Io(error)) if connection::is_reset_before_reply(&error) => {
                return Ok(FirstReply::Silence(Silence::Reset));
            }
            Err(BlobError::NotMagic(first)) => {
                return Err(peer::not_a_snapshotter(&self.address, &first).into());
            }
            Err(error) => error,
        };
        Err(anyhow::Error::new(error))
            .with_context(|| format!("fetching the metastore from {}", self.address))
    }

    /// Asks for the shards of a database that the server has open.
    ///
    /// # Errors
    ///
    /// When the server is not reached or its reply breaks off or is no shard list.
    pub(crate) fn shards_of(&self, database: &str) -> Result<InfoReply> {
        let request = Request::DatabaseInfo {
            database: database.to_owned(),
        };
        self.request(&request)
            .and_then(|reply| Ok(read_info(reply)?))
            .with_context(|| {
                format!(
                    "asking {} for the shards of database '{database}'",
                    self.address
                )
            })
    }

    /// Has databases made on the server; the new id of each shard by its old one. Without any, the
    /// server refused, or what was imported has no shards: the protocol does not tell which.
    ///
    /// # Errors
    ///
    /// When the server is not reached or its reply is none.
    pub fn import(&self, import: Import) -> Result<ShardIds> {
        let reply = self.request(&Request::Import(import))?;
        match read_shard_ids(&mut BufReader::new(reply)) {
            Err(error) if connection::is_reset_before_reply(&error) => Ok(ShardIds::new()),
            ids => ids.with_context(|| format!("importing into {}", self.address)),
        }
    }

    /// Begins to send the files of a shard, as a tar.
    ///
    /// # Errors
    ///
    /// When the server is not reached.
    pub fn upload(&self, id: u64) -> Result<Upload> {
        let connection = self.request(&Request::Upload { id })?;
        Upload::new(connection).with_context(|| format!("preparing to send to {}", self.address))
    }

    /// Sends a request and hands out the reply to read.
    ///
    /// # Errors
    ///
    /// When the server is not reached, or the dialect does not have the request.
    pub fn request(&self, request: &Request) -> Result<Reply> {
        self.send(request, self.known_dialect()?, Wanted::All)
    }

    /// Sends a request of whose reply no more than the beginning may be read.
    ///
    /// # Errors
    ///
    /// Those of [`Client::request`].
    pub(crate) fn question(&self, request: &Request) -> Result<Reply> {
        self.send(request, self.known_dialect()?, Wanted::Beginning)
    }

    fn known_dialect(&self) -> Result<Dialect> {
        self.dialect()
            .context("the dialect is not known before the metastore was fetched")
    }

    fn send(&self, request: &Request, dialect: Dialect, wanted: Wanted) -> Result<Reply> {
        self.cancel.check()?;
        let deadline = Instant::now() + self.timeouts.attempt;
        let mut stream = self.address.connect(
            &self.last_peer,
            wanted,
            self.timeouts.connect.min(self.timeouts.attempt),
            &self.cancel,
        )?;
        let prepared = stream
            .set_nodelay()
            .and_then(|()| stream.set_write_timeout(self.timeouts.idle));
        // From before the first byte of the request goes out: the server does nothing before it has
        // it, however long connecting took.
        let sent = Stopwatch::start();
        match prepared.and_then(|()| request.write_to(&mut stream, dialect)) {
            // A peer that closed already: what it has to say, if anything, is read like any other
            // answer.
            Err(error)
                if matches!(
                    error.kind(),
                    io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
                ) => {}
            Err(error) => {
                let kind = if error.kind() == io::ErrorKind::Unsupported {
                    ErrorKind::Usage
                } else {
                    ErrorKind::Failed
                };
                let message = format!("sending a request to {}", self.address);
                return Err(anyhow::Error::new(error).context(kind.error(message)));
            }
            Ok(()) => {}
        }
        Reply::new(
            stream,
            sent,
            self.timeouts,
            deadline,
            self.cancel.clone(),
            self.limit.clone(),
        )
        .with_context(|| format!("preparing to read from {}", self.address))
    }
}

/// What a peer said to the request that tells which dialect it speaks.
enum FirstReply {
    Metastore(MetaBlob),
    Silence(Silence),
}

/// How a peer said nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Silence {
    /// It closed.
    Closed,
    /// It reset the connection.
    Reset,
}
