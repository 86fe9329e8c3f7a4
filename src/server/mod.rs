//! The snapshotter as a service: a listener, a meta store, a shard store and a log; one thread a connection.
//!
//! [`Service::open`] takes a bound listener and begins to answer; [`Service::close`] stops accepting and waits for the
//! requests in flight. A [`LocalService`] has no listener: it answers this process alone. What is stored where is the business of
//! the two stores, which are traits.

mod connection;
mod stores;

use std::collections::HashMap;
use std::fmt;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;

use crate::client::Connector;
use crate::io::stream::Stream;
use crate::metastore::Data;
use crate::metastore::edit::Merged;
use crate::shard::ShardPath;
use crate::wire::{Accept, Import, ShardIds};

/// How long a connection that is cut off at the end of the grace time has to notice.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// Where the service finds the meta store.
pub trait MetaStore: Send + Sync {
    /// The protobuf message `meta.Data`.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    fn data(&self) -> Result<Vec<u8>>;

    /// Adds databases and returns the new id of each shard by its old one. `prepare` is called with the new meta store before
    /// it is stored, and nothing is stored when it fails.
    ///
    /// # Errors
    ///
    /// When the databases cannot be added.
    fn import(
        &self,
        request: &Import,
        prepare: &dyn Fn(&Data, &Merged) -> Result<()>,
    ) -> Result<ShardIds>;
}

/// Where the service finds shards.
pub trait ShardStore: Send + Sync {
    /// Whether the shard is there.
    ///
    /// # Errors
    ///
    /// When that cannot be told.
    fn holds(&self, shard: &ShardPath) -> Result<bool>;

    /// The files of a shard as they are now; they stay so until the snapshot is dropped.
    ///
    /// # Errors
    ///
    /// When the shard cannot be handed out whole.
    fn snapshot(&self, shard: &ShardPath) -> Result<Snapshot>;

    /// Makes empty shards.
    ///
    /// # Errors
    ///
    /// When one cannot be made, or is there already and not empty.
    fn create(&self, shards: &[ShardPath]) -> Result<()>;

    /// Puts the TSM files of a tar into a shard, once all have come whole, and says how many there were.
    ///
    /// # Errors
    ///
    /// When the tar is not whole or its files cannot be put there.
    fn replace(&self, shard: &ShardPath, tar: &mut dyn Read) -> Result<usize>;
}

/// The files of a shard at one moment.
pub struct Snapshot {
    /// In the order they are sent in.
    pub files: Vec<SnapshotFile>,
    /// What the operator should know of them, a sentence each.
    pub notes: Vec<String>,
    /// What keeps them, and removes them when it is dropped.
    pub _guard: Box<dyn Send>,
}

/// A file of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotFile {
    /// Its name in the shard's directory.
    pub name: String,
    /// Where it can be read.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// When its content last changed.
    pub modified: SystemTime,
    /// Permission bits.
    pub mode: u32,
    /// User and group.
    pub owner: (u32, u32),
    /// Their names; empty where they have none.
    pub owner_names: (String, String),
}

/// Where the service says what it does.
pub trait Log: Send + Sync {
    /// A request was answered, or not.
    fn request(&self, line: &LogLine<'_>);

    /// Something about a shard that is sent all the same.
    fn warning(&self, text: &str);
}

/// What the service did for one connection.
#[derive(Debug)]
pub struct LogLine<'a> {
    /// Who asked: an address, or this process.
    pub peer: &'a str,
    /// What was asked for, in words; empty where that was not understood.
    pub request: &'a str,
    /// Bytes sent, or why the request was not answered.
    pub outcome: Result<u64, &'a anyhow::Error>,
    /// How long it took.
    pub elapsed: Duration,
}

/// How the service behaves.
#[derive(Debug, Clone, Copy)]
pub struct ServiceOptions {
    /// The dialects it answers in.
    pub accept: Accept,
    /// Whether imports and uploads are answered.
    pub writable: bool,
    /// How many connections are served at a time; further ones wait.
    pub connections: usize,
    /// How long a peer may take to send its request.
    pub request_timeout: Duration,
    /// How long a peer may take to read a part of a reply, or to send a part of an upload.
    pub idle_timeout: Duration,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        Self {
            accept: Accept::Both,
            writable: false,
            connections: 64,
            request_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(300),
        }
    }
}

/// What a service did so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections accepted.
    pub connections: u64,
    /// Requests answered.
    pub answered: u64,
    /// Connections closed without an answer, or within one.
    pub failed: u64,
    /// Bytes sent.
    pub bytes: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            connections,
            answered,
            failed,
            bytes,
        } = self;
        write!(
            f,
            "{connections} connections, {answered} requests answered, {failed} not, {bytes} bytes sent"
        )
    }
}

/// What the threads of a service share.
struct Shared {
    meta: Box<dyn MetaStore>,
    shards: Box<dyn ShardStore>,
    log: Box<dyn Log>,
    options: ServiceOptions,
    closing: AtomicBool,
    counters: Counters,
    active: Mutex<Active>,
    changed: Condvar,
}

#[derive(Default)]
struct Counters {
    connections: AtomicU64,
    answered: AtomicU64,
    failed: AtomicU64,
    bytes: AtomicU64,
}

/// The connections that are being served.
#[derive(Default)]
struct Active {
    next: u64,
    streams: HashMap<u64, Stream>,
}

impl Shared {
    fn new(
        meta: Box<dyn MetaStore>,
        shards: Box<dyn ShardStore>,
        log: Box<dyn Log>,
        options: ServiceOptions,
    ) -> Arc<Self> {
        Arc::new(Self {
            meta,
            shards,
            log,
            options,
            closing: AtomicBool::new(false),
            counters: Counters::default(),
            active: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Admits nobody from now on.
    fn begin_to_close(&self) {
        // Under the lock, so that nobody is between looking and waiting.
        let _active = self.active();
        self.closing.store(true, Ordering::SeqCst);
        self.changed.notify_all();
    }

    /// Waits until the requests in flight are answered, for up to `grace`, and cuts off those that are not. Says how many.
    fn drain(&self, grace: Duration) -> usize {
        if self.wait(Some(Instant::now() + grace), |active| {
            active.streams.is_empty()
        }) {
            return 0;
        }
        let left = {
            let active = self.active();
            active
                .streams
                .values()
                .for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
            active.streams.len()
        };
        self.wait(Some(Instant::now() + LAST_WAIT), |active| {
            active.streams.is_empty()
        });
        left
    }

    fn active(&self) -> MutexGuard<'_, Active> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `ready`, or until `deadline`.
    fn wait(&self, deadline: Option<Instant>, ready: impl Fn(&Active) -> bool) -> bool {
        let mut active = self.active();
        while !ready(&active) {
            let left = deadline.map_or(LAST_WAIT, |deadline| {
                deadline.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                return false;
            }
            active = self
                .changed
                .wait_timeout(active, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }
}

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

    /// Stops accepting, waits until the requests in flight are answered, for up to `grace`, and cuts off those that are not.
    /// Returns what it did, and how many it cut off.
    pub fn close(mut self, grace: Duration) -> (Counts, usize) {
        let cut_off = self.shut_down(grace);
        (self.counts(), cut_off)
    }

    fn shut_down(&mut self, grace: Duration) -> usize {
        let Some(acceptor) = self.acceptor.take() else {
            return 0;
        };
        self.shared.begin_to_close();
        // The acceptor waits for a connection: here is one. Should it not come through, the acceptor is left waiting.
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
    let watched = stream.try_clone()?;
    let number = {
        let mut active = shared.active();
        active.next += 1;
        let number = active.next;
        active.streams.insert(number, watched);
        number
    };
    let leave = Leave {
        shared: Arc::clone(shared),
        number,
    };
    let spawned = thread::Builder::new()
        .name(format!("peer {peer}"))
        .spawn(move || {
            connection::serve(&leave.shared, &stream, &peer);
        });
    // Without a thread the closure, and with it the connection, was dropped.
    spawned.map(drop).inspect_err(|_| {
        shared.counters.failed.fetch_add(1, Ordering::Relaxed);
    })
}

/// A snapshotter that answers this process alone, without a port that others could ask.
pub struct LocalService {
    shared: Arc<Shared>,
    name: String,
}

impl LocalService {
    /// Begins to answer; `name` stands for it in messages.
    pub fn new(
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
    pub fn connector(&self) -> Connector {
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

/// Takes a connection off the list of those being served, whatever ends its thread.
struct Leave {
    shared: Arc<Shared>,
    number: u64,
}

impl Drop for Leave {
    fn drop(&mut self) {
        self.shared.active().streams.remove(&self.number);
        self.shared.changed.notify_all();
    }
}
