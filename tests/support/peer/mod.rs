//! Servers that answer from a script: a snapshotter of any version, peers that are none, and a
//! proxy that cuts replies off.

mod api;
mod busy;
mod model;
mod strangers;
mod tars;
mod uploads;

use std::collections::{HashMap, VecDeque};
use std::io::{self, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use influx_snap::shard::ShardPath;
use jiff::Timestamp;
use serde_json::Value;

use super::listener::{Service, finish, lock, read_request, wait_for_client};
use busy::Flushed;
use tars::BLOCK;

// Each test file uses a part of them.
#[allow(unused_imports)]
pub use self::{
    api::{Api, HttpReply},
    busy::Cache,
    model::{Model, Shard, Version},
    strangers::{Crowded, Cut, Door, Manners, Presence, Proxy, Stranger, nobody},
    tars::{MODIFIED, Member, Tar, noise, offsets, tar, tsm},
    uploads::Upload,
};
pub use super::listener::End;

/// How long a test waits for requests.
const PATIENCE: Duration = Duration::from_secs(30);

/// What is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asked {
    /// The metastore.
    Meta,
    /// The list of a database's shards.
    Info,
    /// A shard, whole or exported.
    Shard(u64),
    /// To take an upload in: [`Reply::Nothing`] resets the connection, all else is as a server does.
    Upload(u64),
}

/// How one request is answered.
#[derive(Clone, Debug)]
pub enum Reply {
    /// As a server does.
    Whole,
    /// With no byte.
    Nothing,
    /// As a server does, so long after the request.
    Late(Duration),
    /// With a tar without members, whatever is there.
    EmptyTar,
    /// With these bytes.
    Bytes(Vec<u8>),
    /// With these bytes, as after a flush that failed: whatever is asked for next is answered so.
    Stale(Vec<u8>),
    /// With this many of the right bytes.
    Cut(usize, End),
    /// With this many of the right bytes, and then neither more nor an end.
    Stall(usize),
    /// With all of the right bytes, each in a packet of its own.
    OneByteAtATime,
    /// With all of the right bytes, in pieces with pauses between.
    Slow {
        /// Bytes in a piece.
        piece: usize,
        /// How long a pause is.
        pause: Duration,
    },
    /// With members for ever.
    EndlessMembers,
    /// With a member whose content goes on for ever.
    EndlessContent,
    /// With no byte, and the shard is gone from here on.
    Vanish(Gone),
}

impl Reply {
    /// Whether it is the state of the server that makes it answer so, and not what it was asked
    /// for.
    fn is_a_state(&self) -> bool {
        matches!(
            self,
            Self::Nothing | Self::Cut(0, _) | Self::Late(_) | Self::Stale(_) | Self::Vanish(_)
        )
    }
}

/// Where a server shows that a shard is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// The metastore no longer names it.
    Unnamed,
    /// Its group is marked as deleted.
    Deleted,
    /// It is not in the list of shards.
    NotOpen,
}

/// A request that was read.
struct Request {
    asked: Asked,
    /// Shard requests: files modified then or before are left out.
    since: Option<Timestamp>,
    /// Info requests.
    database: String,
    /// Shard requests for a range.
    is_export: bool,
}

impl Request {
    /// Whether it is for nothing, to see how it is answered.
    fn is_probe(&self, version: Version) -> bool {
        let end_of_time = "2200-01-01T00:00:00Z".parse().expect("a time");
        !version.is_old()
            && self
                .since
                .is_some_and(|since: Timestamp| since > end_of_time)
    }
}

impl Request {
    /// Understands a request as a server of that version does; `None` for one that it answers with
    /// nothing.
    fn parse(raw: &[u8], version: Version) -> Option<Self> {
        let (&mux, rest) = raw.split_first()?;
        let (&first, after) = rest.split_first()?;
        let old = version.is_old();
        if mux != 3 || old != (first == b'{') {
            return None;
        }
        let document: Value = serde_json::from_slice(if old { rest } else { after }).ok()?;
        let kind = if old {
            document["Type"].as_u64().unwrap_or(0)
        } else {
            first.into()
        };
        let id = document["ShardID"].as_u64().unwrap_or(0);
        let database = if old {
            &document["Database"]
        } else {
            &document["BackupDatabase"]
        };
        let (asked, since) = match (kind, old) {
            (0, _) => (
                Asked::Shard(id),
                Some(document["Since"].as_str()?.parse().ok()?),
            ),
            (1, _) => (Asked::Meta, None),
            (2, true) | (3, false) => (Asked::Info, None),
            (5, false) => (Asked::Shard(id), None),
            _ => return None,
        };
        Some(Self {
            asked,
            since,
            database: database.as_str().unwrap_or_default().to_owned(),
            is_export: kind == 5,
        })
    }
}

struct State {
    model: Model,
    scripts: HashMap<Asked, VecDeque<Reply>>,
    requests: Vec<Vec<u8>>,
    uploads: Vec<Upload>,
    http: api::Http,
}

/// A scripted snapshotter.
pub struct Peer {
    service: Service,
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Peer {
    /// A server of this model, which answers as a server does until it is told otherwise.
    pub fn start(model: Model) -> Self {
        let state = State {
            model,
            scripts: HashMap::new(),
            requests: Vec::new(),
            uploads: Vec::new(),
            http: api::Http::default(),
        };
        let shared = Arc::new((Mutex::new(state), Condvar::new()));
        let served = Arc::clone(&shared);
        let service = Service::start(move |stream, stopping| serve(stream, stopping, &served));
        Self { service, shared }
    }

    /// Where it listens, as `address:port`.
    pub fn host(&self) -> String {
        self.service.address.to_string()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.service.address
    }

    /// Sets the replies to what is asked, one a request; the last of them for all that follow.
    pub fn script(&self, asked: Asked, replies: impl IntoIterator<Item = Reply>) {
        lock(&self.shared.0)
            .scripts
            .insert(asked, replies.into_iter().collect());
    }

    /// Changes what it holds.
    pub fn change(&self, change: impl FnOnce(&mut Model)) {
        change(&mut lock(&self.shared.0).model);
    }

    /// How often it was asked for that shard.
    pub fn asked_for(&self, id: u64) -> usize {
        let id = format!("\"ShardID\":{id},");
        let requests = self.shard_requests();
        requests.iter().filter(|text| text.contains(&id)).count()
    }

    /// What it holds now.
    pub fn model(&self) -> Model {
        lock(&self.shared.0).model.clone()
    }

    /// The uploads that were taken in so far.
    pub fn uploads(&self) -> Vec<Upload> {
        lock(&self.shared.0).uploads.clone()
    }

    /// The requests so far, as they came.
    pub fn requests(&self) -> Vec<Vec<u8>> {
        lock(&self.shared.0).requests.clone()
    }

    /// The requests so far, as text.
    pub fn request_texts(&self) -> Vec<String> {
        self.requests()
            .into_iter()
            .map(|request| String::from_utf8(request).expect("a request in UTF-8"))
            .collect()
    }

    /// The requests for shards so far, as text.
    pub fn shard_requests(&self) -> Vec<String> {
        let of_shard = |request: &String| {
            ["\x03\0", "\x03\x05", "\x03{\"Type\":0,"]
                .iter()
                .any(|begin| request.starts_with(begin))
        };
        self.request_texts().into_iter().filter(of_shard).collect()
    }

    /// Waits until there were this many requests.
    pub fn wait_for_requests(&self, count: usize) {
        let begun = Instant::now();
        let mut state = lock(&self.shared.0);
        while state.requests.len() < count {
            assert!(
                begun.elapsed() < PATIENCE,
                "{} requests instead of {count}",
                state.requests.len()
            );
            let wait = Duration::from_millis(200);
            state = self
                .shared
                .1
                .wait_timeout(state, wait)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
    }
}

/// Answers one connection.
fn serve(
    mut stream: TcpStream,
    stopping: &AtomicBool,
    shared: &(Mutex<State>, Condvar),
) -> io::Result<()> {
    let Some(raw) = read_request(&mut stream)? else {
        return Ok(());
    };
    let (reply, body) = {
        let mut state = lock(&shared.0);
        state.requests.push(raw.clone());
        shared.1.notify_all();
        if let Some(id) = uploads::shard_of(&raw) {
            drop(state);
            return uploads::take(stream, id, &shared.0);
        }
        let Some(request) = Request::parse(&raw, state.model.version) else {
            let end = state.model.refusal;
            drop(state);
            return finish(stream, end);
        };
        if let Asked::Shard(id) = request.asked
            && state.model.finds_disabled(id)
        {
            return finish(stream, End::Fin);
        }
        let is_probe = request.is_probe(state.model.version);
        let reply = match state.scripts.get_mut(&request.asked) {
            Some(script) if is_probe && !script.front().is_some_and(Reply::is_a_state) => None,
            Some(script) if script.len() > 1 => script.pop_front(),
            Some(script) => script.front().cloned(),
            None => None,
        };
        let reply = reply.unwrap_or(Reply::Whole);
        drop(state);
        if let Reply::Late(after) = reply {
            thread::sleep(after);
        }
        let flushed = match request.asked {
            Asked::Shard(id) => busy::flush(&shared.0, id, request.is_export),
            _ => Flushed::Sends,
        };
        let mut state = lock(&shared.0);
        match flushed {
            Flushed::Sends => (reply.clone(), body(&mut state.model, &request, &reply)),
            Flushed::Empty => (Reply::EmptyTar, body(&mut state.model, &request, &reply)),
            Flushed::Closes => return finish(stream, End::Fin),
        }
    };
    let Some((path, tar)) = body else {
        return finish(stream, End::Fin);
    };
    send(stream, stopping, &reply, &path, &tar)
}

/// What the right answer to a request is, once the model is as the reply leaves it; `None` for no
/// byte.
fn body(model: &mut Model, request: &Request, reply: &Reply) -> Option<(ShardPath, Tar)> {
    let nowhere = ShardPath {
        database: "".into(),
        retention_policy: "".into(),
        id: 0,
    };
    match request.asked {
        Asked::Meta => Some((nowhere, Tar::Bytes(model.meta()))),
        Asked::Info => Some((nowhere, Tar::Bytes(model.info(&request.database)))),
        Asked::Upload(_) => None,
        Asked::Shard(id) => {
            let modified =
                Timestamp::from_second(i64::try_from(MODIFIED).expect("a time")).expect("a time");
            let is_newer = |modified: Timestamp| request.since.is_none_or(|since| since < modified);
            let newer = is_newer(modified);
            let nothing_newer = model.nothing_newer();
            let shard = model.shards.iter_mut().find(|shard| shard.path.id == id)?;
            if let Reply::Vanish(gone) = reply {
                match gone {
                    Gone::Unnamed => shard.named = false,
                    Gone::Deleted => shard.deleted_at = shard.end,
                    Gone::NotOpen => shard.open = false,
                }
            }
            let tar = if let Some(cache) = &shard.cache {
                let newer = cache.files.iter().filter(|file| {
                    i64::try_from(file.modified)
                        .ok()
                        .and_then(|modified| Timestamp::from_second(modified).ok())
                        .is_some_and(is_newer)
                });
                let newer: Vec<Member> = newer.cloned().collect();
                match newer[..] {
                    [] => Tar::Bytes(nothing_newer),
                    _ => Tar::Bytes(tars::tar(&newer)),
                }
            } else if newer {
                shard.tar.clone()
            } else {
                Tar::Bytes(nothing_newer)
            };
            Some((shard.path.clone(), tar))
        }
    }
}

fn send(
    mut stream: TcpStream,
    stopping: &AtomicBool,
    reply: &Reply,
    path: &ShardPath,
    tar: &Tar,
) -> io::Result<()> {
    let all = || {
        let mut bytes = Vec::new();
        tar.write_to(path, &mut bytes).map(|()| bytes)
    };
    match reply {
        Reply::Whole | Reply::Late(_) => {
            // One that is made piece by piece would stream slowly in packets of its small pieces.
            let mut buffered = io::BufWriter::with_capacity(1 << 16, &stream);
            tar.write_to(path, &mut buffered)?;
            buffered.flush()?;
        }
        Reply::Nothing | Reply::Vanish(_) => {}
        Reply::EmptyTar => stream.write_all(&[0; 2 * BLOCK])?,
        Reply::Bytes(bytes) | Reply::Stale(bytes) => stream.write_all(bytes)?,
        Reply::Cut(at, end) => {
            let bytes = all()?;
            stream.write_all(&bytes[..bytes.len().min(*at)])?;
            return finish(stream, *end);
        }
        Reply::Stall(at) => {
            let bytes = all()?;
            stream.write_all(&bytes[..bytes.len().min(*at)])?;
            return wait_for_client(stream, stopping);
        }
        Reply::OneByteAtATime => {
            for byte in all()? {
                stream.write_all(&[byte])?;
            }
        }
        Reply::Slow { piece, pause } => {
            for piece in all()?.chunks(*piece) {
                stream.write_all(piece)?;
                thread::sleep(*pause);
                if stopping.load(Ordering::Relaxed) {
                    break;
                }
            }
        }
        Reply::EndlessMembers => {
            let content = tsm(1, BLOCK);
            let mut buffered = io::BufWriter::with_capacity(1 << 16, &stream);
            for number in 1_u64.. {
                if stopping.load(Ordering::Relaxed) {
                    break;
                }
                let member = Member::new(format!("{path}/{number:09}-000000001.tsm"), Vec::new());
                buffered.write_all(member.header(BLOCK as u64).as_bytes())?;
                buffered.write_all(&content)?;
            }
        }
        Reply::EndlessContent => {
            let member = Member::new(format!("{path}/000000001-000000001.tsm"), Vec::new());
            stream.write_all(member.header(1 << 32).as_bytes())?;
            stream.write_all(&influx_snap::tsm::HEADER)?;
            let zeros = vec![0; 1 << 16];
            while !stopping.load(Ordering::Relaxed) {
                stream.write_all(&zeros)?;
            }
        }
    }
    finish(stream, End::Fin)
}
