//! Servers that answer from a script: a snapshotter of any version, peers that are none, and a proxy that cuts replies off.

use std::collections::{BTreeSet, HashMap, VecDeque};
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::OwnedFd;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use influx_snap::format::meta::{Data, DatabaseInfo, RetentionPolicyInfo, ShardGroupInfo, ShardInfo};
use influx_snap::wire::{MetaBlob, ShardPath};
use jiff::Timestamp;
use prost::Message;
use rustix::net::sockopt::set_socket_linger;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, getsockname, listen, socket_with};
use serde_json::{Value, json};
use tar::{Builder, Header};

/// When the files of every shard were modified, in seconds since 1970: 2024-01-15T08:00:00Z.
pub const MODIFIED: u64 = 1_705_305_600;

/// How long a test waits for requests, and a peer for a client.
const PATIENCE: Duration = Duration::from_secs(30);

/// How long a peer waits between its last byte and a reset, so that the bytes are not lost to it.
const BEFORE_RESET: Duration = Duration::from_millis(30);

/// Start of the first shard group: 2020-09-07T00:00:00Z.
const FIRST_GROUP: i64 = 1_599_436_800 * SECOND;

/// A second in nanoseconds.
const SECOND: i64 = 1_000_000_000;

/// Bytes in a tar block.
const BLOCK: usize = 512;

/// The versions that answer differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Dialect 1.0; nothing newer than `Since` is 0 bytes; type flags in tars are NUL.
    V1_1,
    /// Dialect 1.0; nothing newer is an empty tar; tars hold the index, with directories.
    V1_3,
    /// Dialect 1.5.
    V1_6,
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// As at the end of a stream.
    Fin,
    /// With a reset.
    Rst,
}

/// What is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asked {
    /// The meta store.
    Meta,
    /// The list of a database's shards.
    Info,
    /// A shard, whole or exported.
    Shard(u64),
}

/// How one request is answered.
#[derive(Clone, Debug)]
pub enum Reply {
    /// As a server does.
    Whole,
    /// With no byte.
    Nothing,
    /// With a tar without members, whatever is there.
    EmptyTar,
    /// With these bytes.
    Bytes(Vec<u8>),
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

/// Where a server shows that a shard is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// The meta store no longer names it.
    Unnamed,
    /// Its group is marked as deleted.
    Deleted,
    /// It is not in the list of shards.
    NotOpen,
}

/// A shard of the model.
#[derive(Clone, Debug)]
pub struct Shard {
    /// Database, retention policy and id.
    pub path: ShardPath,
    /// First nanosecond of its group.
    pub start: i64,
    /// First nanosecond behind its group.
    pub end: i64,
    /// When its group was deleted; 0 while it lives.
    pub deleted_at: i64,
    /// Whether the meta store names it.
    pub named: bool,
    /// Whether the list of shards has it.
    pub open: bool,
    /// Its content.
    pub tar: Tar,
}

impl Shard {
    /// A shard of a few files, in an hour of its own.
    pub fn new(version: Version, database: &str, retention_policy: &str, id: u64) -> Self {
        let path = ShardPath { database: database.to_owned(), retention_policy: retention_policy.to_owned(), id };
        let tar = Tar::Bytes(tar(&members(version, &path)));
        Self::with_tar(path, tar)
    }

    /// A shard with this content.
    pub fn with_tar(path: ShardPath, tar: Tar) -> Self {
        let hours = i64::try_from(path.id % 10_000).expect("a small number");
        let start = FIRST_GROUP + hours * 3600 * SECOND;
        Self { path, start, end: start + 3600 * SECOND, deleted_at: 0, named: true, open: true, tar }
    }

    /// The bytes of its tar.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.tar.write_to(&self.path, &mut bytes).expect("writing to memory");
        bytes
    }
}

/// The content of a shard.
#[derive(Clone, Debug)]
pub enum Tar {
    /// These bytes.
    Bytes(Vec<u8>),
    /// One TSM file of this size, made while it is sent.
    Large(u64),
}

impl Tar {
    /// Writes the whole tar.
    pub fn write_to(&self, path: &ShardPath, out: &mut impl Write) -> io::Result<()> {
        let size = match self {
            Self::Bytes(bytes) => return out.write_all(bytes),
            Self::Large(size) => *size,
        };
        out.write_all(Member::new(format!("{path}/000000001-000000001.tsm"), Vec::new()).header(size).as_bytes())?;
        let pattern = noise(path.id, 1 << 16);
        let begin = influx_snap::tsm::HEADER;
        out.write_all(&begin)?;
        let end = tsm_end(size);
        let mut left = size - begin.len() as u64 - end.len() as u64;
        while left > 0 {
            let piece = usize::try_from(left).map_or(pattern.len(), |left| left.min(pattern.len()));
            out.write_all(&pattern[..piece])?;
            left -= piece as u64;
        }
        out.write_all(&end)?;
        let padding = usize::try_from(size.next_multiple_of(BLOCK as u64) - size).expect("less than a block");
        out.write_all(&vec![0; padding + 2 * BLOCK])
    }

    /// Whether a file holds exactly this tar; reads it in pieces.
    pub fn is_in(&self, path: &ShardPath, file: &Path) -> bool {
        let Ok(file) = File::open(file) else { return false };
        let mut expected = Expected(file);
        self.write_to(path, &mut expected).is_ok() && expected.0.read(&mut [0]).is_ok_and(|count| count == 0)
    }
}

/// A file that fails to be "written" anything but what it holds.
struct Expected(File);

impl Write for Expected {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut held = vec![0; bytes.len()];
        self.0.read_exact(&mut held)?;
        if held == bytes { Ok(bytes.len()) } else { Err(io::ErrorKind::InvalidData.into()) }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A member of a tar, as wrong as a test wants it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// The whole name, at most 100 bytes.
    pub name: String,
    /// The content.
    pub content: Vec<u8>,
    /// The type flag.
    pub flag: u8,
}

impl Member {
    /// A regular file.
    pub fn new(name: impl Into<String>, content: Vec<u8>) -> Self {
        Self { name: name.into(), content, flag: b'0' }
    }

    /// The same with another type flag.
    pub fn flag(self, flag: u8) -> Self {
        Self { flag, ..self }
    }

    fn header(&self, size: u64) -> Header {
        let mut header = Header::new_ustar();
        header.set_size(size);
        header.set_mode(0o644);
        header.set_mtime(MODIFIED);
        let block = header.as_mut_bytes();
        // Written as they are: the crate refuses the names that a test wants to see refused.
        block[..self.name.len()].copy_from_slice(self.name.as_bytes());
        block[156] = self.flag;
        header.set_cksum();
        header
    }
}

/// A tar with these members and its trailer.
pub fn tar(members: &[Member]) -> Vec<u8> {
    let mut builder = Builder::new(Vec::new());
    for member in members {
        builder.append(&member.header(member.content.len() as u64), &member.content[..]).expect("writing to memory");
    }
    builder.into_inner().expect("writing to memory")
}

/// What ends a TSM file of `size` bytes with one block of one key: its index and its footer.
fn tsm_end(size: u64) -> Vec<u8> {
    let index = size - 42;
    let mut end = b"\x00\x01k\x00\x00\x01".to_vec();
    let times = [1_600_000_000_000_000_000_u64, 1_600_000_000_000_000_001, 5];
    times.iter().for_each(|number| end.extend(number.to_be_bytes()));
    end.extend(u32::try_from(index - 5).expect("the size of a block").to_be_bytes());
    end.extend(index.to_be_bytes());
    end
}

/// A file with the outside and the index of a TSM file, `size` bytes long. Its block is noise.
pub fn tsm(seed: u64, size: usize) -> Vec<u8> {
    let end = tsm_end(size as u64);
    let mut bytes = influx_snap::tsm::HEADER.to_vec();
    bytes.extend(noise(seed, size - bytes.len() - end.len()));
    bytes.extend(end);
    bytes
}

/// Bytes that look like nothing in particular, the same for the same seed.
pub fn noise(seed: u64, size: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    std::iter::repeat_with(next).take(size).collect()
}

/// The members of a shard as a server of that version sends them.
fn members(version: Version, path: &ShardPath) -> Vec<Member> {
    let regular = |name: &str, content| Member::new(format!("{path}/{name}"), content);
    let mut members = vec![
        regular("000000001-000000001.tsm", tsm(path.id, 700)),
        regular("000000002-000000002.tombstone", noise(path.id + 1, 90)),
        regular("000000002-000000002.tsm", tsm(path.id + 2, 1024)),
    ];
    match version {
        Version::V1_1 => members.into_iter().rev().map(|member| member.flag(0)).collect(),
        Version::V1_3 => {
            members.insert(1, regular("index", Vec::new()).flag(b'5'));
            members.insert(2, regular("index/L0-00000001.tsl", noise(path.id + 3, 600)));
            members.insert(3, regular("index/MANIFEST", b"{\"levels\":[],\"files\":[\"L0-00000001.tsl\"]}\n".to_vec()));
            members
        }
        Version::V1_6 => members,
    }
}

/// What a snapshotter holds.
#[derive(Clone, Debug)]
pub struct Model {
    /// How it answers.
    pub version: Version,
    /// How it ends the connection of a request that it cannot read.
    pub refusal: End,
    /// Its shards, in the order of the meta store.
    pub shards: Vec<Shard>,
}

impl Model {
    /// A server with standard shards.
    pub fn new(version: Version, shards: &[(&str, &str, u64)]) -> Self {
        let shards = shards.iter().map(|(db, rp, id)| Shard::new(version, db, rp, *id)).collect();
        Self { version, refusal: End::Fin, shards }
    }

    /// The shard with that id.
    pub fn shard(&mut self, id: u64) -> &mut Shard {
        self.shards.iter_mut().find(|shard| shard.path.id == id).unwrap_or_else(|| panic!("no shard {id}"))
    }

    /// The meta store in its frame.
    pub fn meta(&self) -> Vec<u8> {
        let mut data = Data { index: 7, cluster_id: 42, max_shard_group_id: 100, ..Data::default() };
        for shard in &self.shards {
            data.max_shard_id = data.max_shard_id.max(shard.path.id);
            let group = ShardGroupInfo {
                id: shard.path.id,
                start_time: shard.start,
                end_time: shard.end,
                deleted_at: shard.deleted_at,
                shards: vec![ShardInfo { id: shard.path.id, ..ShardInfo::default() }],
                truncated_at: None,
            };
            let groups = &mut policy(&mut data, &shard.path).shard_groups;
            if shard.named {
                groups.push(group);
            }
        }
        let mut framed = Vec::new();
        let blob = MetaBlob { meta: data.encode_to_vec(), node: b"null\n".to_vec() };
        blob.write_to(&mut framed).expect("writing to memory");
        framed
    }

    /// The list of a database's shards; no byte for an unknown one.
    pub fn info(&self, database: &str) -> Vec<u8> {
        let of = |shard: &&Shard| shard.path.database == database;
        if !self.shards.iter().any(|shard| of(&shard)) {
            return Vec::new();
        }
        let open = self.shards.iter().filter(of).filter(|shard| shard.open);
        let paths: Vec<String> = open.map(|shard| shard.path.to_string()).collect();
        let paths = if paths.is_empty() { Value::Null } else { json!(paths) };
        format!("{}\n", json!({ "Paths": paths })).into_bytes()
    }

    fn nothing_newer(&self) -> Vec<u8> {
        if self.version == Version::V1_1 { Vec::new() } else { vec![0; 2 * BLOCK] }
    }
}

/// The policy of a shard, made where it is absent.
fn policy<'a>(data: &'a mut Data, path: &ShardPath) -> &'a mut RetentionPolicyInfo {
    let database = match data.databases.iter().position(|database| database.name == path.database) {
        Some(at) => &mut data.databases[at],
        None => {
            let default_retention_policy = path.retention_policy.clone();
            data.databases.push(DatabaseInfo {
                name: path.database.clone(),
                default_retention_policy,
                ..DatabaseInfo::default()
            });
            data.databases.last_mut().expect("one was pushed")
        }
    };
    let policies = &mut database.retention_policies;
    match policies.iter().position(|policy| policy.name == path.retention_policy) {
        Some(at) => &mut policies[at],
        None => {
            let name = path.retention_policy.clone();
            let hour = 3600 * SECOND;
            policies.push(RetentionPolicyInfo {
                name,
                shard_group_duration: hour,
                replica_n: 1,
                ..RetentionPolicyInfo::default()
            });
            policies.last_mut().expect("one was pushed")
        }
    }
}

/// A request that was read.
struct Request {
    asked: Asked,
    /// Shard requests: files modified then or before are left out.
    since: Option<Timestamp>,
    /// Info requests.
    database: String,
}

impl Request {
    /// Understands a request as a server of that version does; `None` for one that it answers with nothing.
    fn parse(raw: &[u8], version: Version) -> Option<Self> {
        let (&mux, rest) = raw.split_first()?;
        let (&first, after) = rest.split_first()?;
        let old = version != Version::V1_6;
        if mux != 3 || old != (first == b'{') {
            return None;
        }
        let document: Value = serde_json::from_slice(if old { rest } else { after }).ok()?;
        let kind = if old { document["Type"].as_u64().unwrap_or(0) } else { first.into() };
        let id = document["ShardID"].as_u64().unwrap_or(0);
        let database = if old { &document["Database"] } else { &document["BackupDatabase"] };
        let (asked, since) = match (kind, old) {
            (0, _) => (Asked::Shard(id), Some(document["Since"].as_str()?.parse().ok()?)),
            (1, _) => (Asked::Meta, None),
            (2, true) | (3, false) => (Asked::Info, None),
            (5, false) => (Asked::Shard(id), None),
            _ => return None,
        };
        Some(Self { asked, since, database: database.as_str().unwrap_or_default().to_owned() })
    }
}

struct State {
    model: Model,
    scripts: HashMap<Asked, VecDeque<Reply>>,
    requests: Vec<Vec<u8>>,
}

/// A scripted snapshotter.
pub struct Peer {
    service: Service,
    shared: Arc<(Mutex<State>, Condvar)>,
}

impl Peer {
    /// A server of this model, which answers as a server does until it is told otherwise.
    pub fn start(model: Model) -> Self {
        let state = State { model, scripts: HashMap::new(), requests: Vec::new() };
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
        lock(&self.shared.0).scripts.insert(asked, replies.into_iter().collect());
    }

    /// What it holds now.
    pub fn model(&self) -> Model {
        lock(&self.shared.0).model.clone()
    }

    /// The requests so far, as they came.
    pub fn requests(&self) -> Vec<Vec<u8>> {
        lock(&self.shared.0).requests.clone()
    }

    /// The requests so far, as text.
    pub fn request_texts(&self) -> Vec<String> {
        self.requests().into_iter().map(|request| String::from_utf8(request).expect("a request in UTF-8")).collect()
    }

    /// The requests for shards so far, as text.
    pub fn shard_requests(&self) -> Vec<String> {
        let of_shard =
            |request: &String| ["\x03\0", "\x03\x05", "\x03{\"Type\":0,"].iter().any(|begin| request.starts_with(begin));
        self.request_texts().into_iter().filter(of_shard).collect()
    }

    /// Waits until there were this many requests.
    pub fn wait_for_requests(&self, count: usize) {
        let begun = Instant::now();
        let mut state = lock(&self.shared.0);
        while state.requests.len() < count {
            assert!(begun.elapsed() < PATIENCE, "{} requests instead of {count}", state.requests.len());
            let wait = Duration::from_millis(200);
            state = self.shared.1.wait_timeout(state, wait).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

/// Answers one connection.
fn serve(mut stream: TcpStream, stopping: &AtomicBool, shared: &(Mutex<State>, Condvar)) -> io::Result<()> {
    let Some(raw) = read_request(&mut stream)? else { return Ok(()) };
    let (reply, body) = {
        let mut state = lock(&shared.0);
        state.requests.push(raw.clone());
        shared.1.notify_all();
        let Some(request) = Request::parse(&raw, state.model.version) else {
            let end = state.model.refusal;
            drop(state);
            return finish(stream, end);
        };
        let reply = match state.scripts.get_mut(&request.asked) {
            Some(script) if script.len() > 1 => script.pop_front(),
            Some(script) => script.front().cloned(),
            None => None,
        };
        let reply = reply.unwrap_or(Reply::Whole);
        (reply.clone(), body(&mut state.model, &request, &reply))
    };
    let Some((path, tar)) = body else { return finish(stream, End::Fin) };
    send(stream, stopping, &reply, &path, &tar)
}

/// What the right answer to a request is, once the model is as the reply leaves it; `None` for no byte.
fn body(model: &mut Model, request: &Request, reply: &Reply) -> Option<(ShardPath, Tar)> {
    let nowhere = ShardPath { database: String::new(), retention_policy: String::new(), id: 0 };
    match request.asked {
        Asked::Meta => Some((nowhere, Tar::Bytes(model.meta()))),
        Asked::Info => Some((nowhere, Tar::Bytes(model.info(&request.database)))),
        Asked::Shard(id) => {
            let modified = Timestamp::from_second(i64::try_from(MODIFIED).expect("a time")).expect("a time");
            let newer = request.since.is_none_or(|since| since < modified);
            let nothing_newer = model.nothing_newer();
            let shard = model.shards.iter_mut().find(|shard| shard.path.id == id)?;
            if let Reply::Vanish(gone) = reply {
                match gone {
                    Gone::Unnamed => shard.named = false,
                    Gone::Deleted => shard.deleted_at = shard.end,
                    Gone::NotOpen => shard.open = false,
                }
            }
            let tar = if newer { shard.tar.clone() } else { Tar::Bytes(nothing_newer) };
            Some((shard.path.clone(), tar))
        }
    }
}

fn send(mut stream: TcpStream, stopping: &AtomicBool, reply: &Reply, path: &ShardPath, tar: &Tar) -> io::Result<()> {
    let all = || {
        let mut bytes = Vec::new();
        tar.write_to(path, &mut bytes).map(|()| bytes)
    };
    match reply {
        Reply::Whole => {
            // One that is made piece by piece would stream slowly in packets of its small pieces.
            let mut buffered = io::BufWriter::with_capacity(1 << 16, &stream);
            tar.write_to(path, &mut buffered)?;
            buffered.flush()?;
        }
        Reply::Nothing | Reply::Vanish(_) => {}
        Reply::EmptyTar => stream.write_all(&[0; 2 * BLOCK])?,
        Reply::Bytes(bytes) => stream.write_all(bytes)?,
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

/// Reads the mux byte, a type byte if there is one, and JSON up to its newline; `None` when the client went away before.
pub(super) fn read_request(stream: &mut TcpStream) -> io::Result<Option<Vec<u8>>> {
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut raw = Vec::new();
    let mut byte = [0];
    // No type byte has the value of a newline, and JSON holds none, so the first one ends the request.
    while raw.last() != Some(&b'\n') {
        if stream.read(&mut byte)? == 0 {
            return Ok(None);
        }
        raw.push(byte[0]);
    }
    Ok(Some(raw))
}

/// Ends a connection.
pub(super) fn finish(stream: TcpStream, end: End) -> io::Result<()> {
    if end == End::Rst {
        thread::sleep(BEFORE_RESET);
        set_socket_linger(&stream, Some(Duration::ZERO))?;
    }
    drop(stream);
    Ok(())
}

/// Keeps a connection until the client ends it.
fn wait_for_client(mut stream: TcpStream, stopping: &AtomicBool) -> io::Result<()> {
    stream.set_read_timeout(Some(Duration::from_millis(50)))?;
    while !stopping.load(Ordering::Relaxed) {
        match stream.read(&mut [0; 64]) {
            Ok(0) => break,
            Err(error) if !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => break,
            _ => {}
        }
    }
    Ok(())
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A loopback listener with a thread for each connection, until it is dropped.
pub(super) struct Service {
    pub(super) address: SocketAddr,
    stopping: Arc<AtomicBool>,
}

impl Service {
    pub(super) fn start(serve: impl Fn(TcpStream, &AtomicBool) -> io::Result<()> + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let stopping = Arc::new(AtomicBool::new(false));
        let stop = Arc::clone(&stopping);
        let serve = Arc::new(serve);
        thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    break;
                }
                let Ok(stream) = stream else { continue };
                let (serve, stop) = (Arc::clone(&serve), Arc::clone(&stop));
                thread::spawn(move || {
                    // A client may go away at any time; that is no failure of a test.
                    let _ = stream.set_nodelay(true).and_then(|()| serve(stream, &stop));
                });
            }
        });
        Self { address, stopping }
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stopping.store(true, Ordering::Relaxed);
        // Wakes the thread that accepts.
        let _ = TcpStream::connect(self.address);
    }
}

/// What a peer does that is no snapshotter.
#[derive(Clone, Debug)]
pub enum Manners {
    /// Ends every connection as soon as it is made.
    Leaves(End),
    /// Reads something, and answers with these bytes and the end.
    Answers(Vec<u8>),
    /// Says these bytes as soon as a connection is made, and keeps it.
    Greets(Vec<u8>),
    /// Takes every connection and says nothing.
    Listens,
}

/// A peer that is no snapshotter.
pub struct Stranger(Service);

impl Stranger {
    /// A peer that behaves so.
    pub fn start(manners: Manners) -> Self {
        Self(Service::start(move |mut stream, stopping| match &manners {
            Manners::Leaves(End::Fin) => Ok(()),
            Manners::Leaves(End::Rst) => set_socket_linger(&stream, Some(Duration::ZERO)).map_err(Into::into),
            Manners::Answers(bytes) => {
                read_request(&mut stream)?;
                stream.write_all(bytes)
            }
            Manners::Greets(bytes) => {
                stream.write_all(bytes)?;
                wait_for_client(stream, stopping)
            }
            Manners::Listens => wait_for_client(stream, stopping),
        }))
    }

    /// Where it listens, as `address:port`.
    pub fn host(&self) -> String {
        self.0.address.to_string()
    }
}

/// A host that lets no connection be made: its queue of connections is full, and nobody takes one from it.
pub struct Crowded {
    address: SocketAddr,
    _listener: OwnedFd,
    _waiting: Vec<OwnedFd>,
}

impl Crowded {
    /// Fills a queue.
    pub fn start() -> Self {
        let socket = |flags| socket_with(AddressFamily::INET, SocketType::STREAM, flags, None).expect("a socket");
        let listener = socket(SocketFlags::CLOEXEC);
        bind(&listener, &SocketAddr::from((Ipv4Addr::LOCALHOST, 0))).expect("a free port");
        listen(&listener, 0).expect("a listener");
        let address = getsockname(&listener).expect("a bound address").try_into().expect("an internet address");
        let waiting = std::iter::repeat_with(|| {
            let client = socket(SocketFlags::CLOEXEC | SocketFlags::NONBLOCK);
            // It is under way, or waits for a place; both are meant.
            let _ = connect(&client, &address);
            client
        });
        let waiting = waiting.take(8).collect();
        thread::sleep(Duration::from_millis(100));
        Self { address, _listener: listener, _waiting: waiting }
    }

    /// Where it listens, as `address:port`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }
}

/// An address where nobody listens, as `address:port`.
pub fn nobody() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    listener.local_addr().expect("a bound address").to_string()
}

/// How a [`Proxy`] cuts the replies to shard requests.
#[derive(Clone, Copy, Debug)]
pub struct Cut {
    /// How many bytes go through.
    pub after: usize,
    /// How the connection ends then.
    pub end: End,
    /// How many times each request is answered so; `None` for always.
    pub times: Option<usize>,
}

/// Stands before a snapshotter and cuts off what it sends.
pub struct Proxy(Service);

impl Proxy {
    /// A proxy before the server at `upstream`, an `address:port`.
    pub fn start(upstream: &str, cut: Cut) -> Self {
        let upstream: SocketAddr = upstream.parse().expect("an address");
        let seen: Mutex<HashMap<Vec<u8>, usize>> = Mutex::default();
        Self(Service::start(move |mut client, _| {
            let Some(raw) = read_request(&mut client)? else { return Ok(()) };
            let mut server = TcpStream::connect(upstream)?;
            server.write_all(&raw)?;
            let of_shard = matches!(raw[1], 0 | 5) || raw.starts_with(b"\x03{\"Type\":0,");
            let cuts = of_shard && {
                let mut seen = lock(&seen);
                let count = seen.entry(raw).or_default();
                *count += 1;
                cut.times.is_none_or(|times| *count <= times)
            };
            if cuts {
                io::copy(&mut server.take(cut.after as u64), &mut client)?;
                return finish(client, cut.end);
            }
            io::copy(&mut server, &mut client).map(|_| ())
        }))
    }

    /// Where it listens, as `address:port`.
    pub fn host(&self) -> String {
        self.0.address.to_string()
    }
}

/// Where in a tar a cut is worth a test: in and at the ends of headers, contents, paddings and the blocks of the trailer.
pub fn offsets(tar: &[u8]) -> Vec<usize> {
    let mut offsets = BTreeSet::from([0, 1]);
    let mut at = 0;
    while tar[at] != 0 {
        let header = Header::from_byte_slice(&tar[at..at + BLOCK]);
        let size = usize::try_from(header.entry_size().expect("a size")).expect("a small size");
        let content = at + BLOCK;
        let next = content + size.next_multiple_of(BLOCK);
        offsets.extend([at + BLOCK / 2, content - 1, content, content + 1, content + size / 2]);
        offsets.extend([content + size - 1, content + size, (content + size).midpoint(next), next - 1, next]);
        at = next;
    }
    offsets.extend([at + 1, at + BLOCK - 1, at + BLOCK, at + BLOCK + 1, tar.len() - 1]);
    offsets.into_iter().collect()
}
