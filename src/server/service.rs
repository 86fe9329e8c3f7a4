//! A listener, or this process alone, and a thread for each connection.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use super::connection;
use super::log::{Counts, Log};
use super::options::ServiceOptions;
use super::shared::{LAST_WAIT, Shared};
use super::stores::{MetaStore, ShardStore};
use crate::client::Connector;
use crate::io::stream::Stream;

/// A snapshotter that answers.
pub struct Service {
    shared: Arc<Shared>,
    address: SocketAddr,
    acceptor: Option<JoinHandle<()>>,
}

impl Service {
    /// Begins to answer on a bound listener.
    ///
    /// # Errors
    ///
    /// When the listener has no address or no thread can be made.
    pub fn open(
        listener: TcpListener,
        meta: Box<dyn MetaStore>,
        shards: Box<dyn ShardStore>,
        log: Box<dyn Log>,
        options: ServiceOptions,
    ) -> io::Result<Self> {
        let address = listener.local_addr()?;
        let shared = Shared::new(meta, shards, log, options);
        let acceptor = {
            let shared = Arc::clone(&shared);
            thread::Builder::new()
                .name("accept".to_owned())
                .spawn(move || accept(&listener, &shared))?
        };
        Ok(Self {
            shared,
            address,
            acceptor: Some(acceptor),
        })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What it did so far.
    pub fn counts(&self) -> Counts {
        let counters = &self.shared.counters;
        Counts {
            connections: counters.connections.load(Ordering::Relaxed),
            answered: counters.answered.load(Ordering::Relaxed),
            failed: counters.failed.load(Ordering::Relaxed),
            bytes: counters.bytes.load(Ordering::Relaxed),
        }
    }

    /// Stops accepting, waits until the requests in flight are answered, for up to `grace`, and
    /// cuts off those that are not. Returns what it did, and how many it cut off.
    pub fn close(mut self, grace: Duration) -> (Counts, usize) {
        let cut_off = self.shut_down(grace);
        (self.counts(), cut_off)
    }

    fn shut_down(&mut self, grace: Duration) -> usize {
        let Some(acceptor) = self.acceptor.take() else {
            return 0;
        };
        self.shared.begin_to_close();
        // The acceptor waits for a connection: here is one. Should it not come through, the
        // acceptor is left waiting.
        let mut wake = self.address;
        match wake.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => wake.set_ip(Ipv4Addr::LOCALHOST.into()),
            IpAddr::V6(ip) if ip.is_unspecified() => wake.set_ip(Ipv6Addr::LOCALHOST.into()),
            _ => {}
        }
        if TcpStream::connect_timeout(&wake, LAST_WAIT).is_ok() {
            let _ = acceptor.join();
        }
        self.shared.drain(grace)
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.shut_down(Duration::ZERO);
    }
}

fn accept(listener: &TcpListener, shared: &Arc<Shared>) {
    loop {
        shared.wait(None, |active| {
            shared.is_closing() || active.streams.len() < shared.options.connections
        });
        let accepted = listener.accept();
        if shared.is_closing() {
            return;
        }
        // Out of file descriptors, or a peer that is gone already: neither ends the service.
        let Ok((stream, peer)) = accepted else {
            thread::sleep(Duration::from_millis(50));
            continue;
        };
        // Of a connection that cannot be served, the peer sees the end.
        let _ = admit(shared, Stream::Tcp(stream), peer.to_string());
    }
}

/// Serves a connection, in a thread of its own.
fn admit(shared: &Arc<Shared>, stream: Stream, peer: String) -> io::Result<()> {
    shared.counters.connections.fetch_add(1, Ordering::Relaxed);
    let presence = shared.enter(stream.try_clone()?);
    let spawned = thread::Builder::new()
        .name(format!("peer {peer}"))
        .spawn(move || {
            connection::serve(&presence.shared, &stream, &peer);
        });
    // Without a thread the closure, and with it the connection, was dropped.
    spawned.map(drop).inspect_err(|_| {
        shared.counters.failed.fetch_add(1, Ordering::Relaxed);
    })
}

/// A snapshotter that answers this process alone, without a port that others could ask.
pub(crate) struct LocalService {
    shared: Arc<Shared>,
    name: String,
}

impl LocalService {
    /// Begins to answer; `name` stands for it in messages.
    pub(crate) fn new(
        name: String,
        meta: Box<dyn MetaStore>,
        shards: Box<dyn ShardStore>,
        log: Box<dyn Log>,
        options: ServiceOptions,
    ) -> Self {
        Self {
            shared: Shared::new(meta, shards, log, options),
            name,
        }
    }

    /// What a client connects by, for as long as the service lives.
    pub(crate) fn connector(&self) -> Connector {
        let shared = Arc::clone(&self.shared);
        Connector::new(self.name.clone(), move || {
            if shared.is_closing() {
                return Err(io::ErrorKind::ConnectionRefused.into());
            }
            let (ours, theirs) = Stream::pair()?;
            admit(&shared, ours, "this process".to_owned())?;
            Ok(theirs)
        })
    }
}

impl Drop for LocalService {
    fn drop(&mut self) {
        self.shared.begin_to_close();
        self.shared.drain(Duration::ZERO);
    }
}
