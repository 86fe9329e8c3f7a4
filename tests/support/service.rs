//! `snap serve` as a process, raw requests, and what a shard's tar holds.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use influx_snap::shard::ShardPath;
use influx_snap::shard_tar::{Ending, ShardTarReader};

use super::influxd::influxd_binary;
use super::{peer, utf8};

/// How long anything here may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// A running `snap serve`; it is killed when dropped.
pub struct Serving {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

/// How a service ended.
pub struct Ended {
    /// Its exit code, unless a signal ended it.
    pub code: Option<i32>,
    /// What it wrote to standard output and standard error.
    pub log: String,
}

impl Serving {
    /// Serves `root/meta` and `root/data` on a free port; the log is `root/serve.log`.
    pub fn start(root: &Path, flags: &[&str]) -> Self {
        Self::start_failing(root, flags, "")
    }

    /// As [`Serving::start`], with the failpoint of that value.
    pub fn start_failing(root: &Path, flags: &[&str], failpoint: &str) -> Self {
        let log = root.join("serve.log");
        let file = File::create(&log).expect("making the log");
        let child = Command::new(env!("CARGO_BIN_EXE_snap"))
            .arg("serve")
            .arg("-metadir")
            .arg(root.join("meta"))
            .arg("-datadir")
            .arg(root.join("data"))
            .args(["-bind", "127.0.0.1:0"])
            .args(flags)
            .env("SNAP_FAILPOINT", failpoint)
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("a second handle on the log"))
            .stderr(file)
            .spawn()
            .expect("snap starts");
        let mut serving = Self {
            child,
            address: ([127, 0, 0, 1], 0).into(),
            log,
        };
        let started = Instant::now();
        loop {
            if let Some(address) = opened_on(&serving.log()) {
                serving.address = address;
                return serving;
            }
            let ended = serving.child.try_wait().expect("waiting for snap");
            assert!(
                ended.is_none() && started.elapsed() < PATIENCE,
                "snap serve does not serve:\n{}",
                serving.log()
            );
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Where it listens, as `address:port`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// What it has written so far.
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until the log holds `text` so many times.
    pub fn logs(&self, text: &str, times: usize) {
        wait_for(|| (self.log().matches(text).count() >= times).then_some(()))
            .unwrap_or_else(|| panic!("'{text}' is not {times} times in:\n{}", self.log()));
    }

    /// How many threads and file descriptors the process has.
    pub fn threads_and_files(&self) -> (usize, usize) {
        let count = |what: &str| {
            fs::read_dir(format!("/proc/{}/{what}", self.child.id()))
                .expect("a process")
                .count()
        };
        (count("task"), count("fd"))
    }

    /// Sends a signal, for example `libc::SIGTERM`.
    // Sending a signal is a call into libc; the process has not been reaped, so the id is still its
    // own.
    #[allow(unsafe_code)]
    pub fn signal(&self, signal: i32) {
        let pid = libc::pid_t::try_from(self.child.id()).expect("a process id");
        let sent = unsafe { libc::kill(pid, signal) };
        assert_eq!(sent, 0, "signal {signal}: {}", io::Error::last_os_error());
    }

    /// Waits until the process has ended.
    pub fn wait(mut self) -> Ended {
        let status: Option<ExitStatus> =
            wait_for(|| self.child.try_wait().expect("waiting for snap"));
        let status = status.unwrap_or_else(|| panic!("snap serve does not end:\n{}", self.log()));
        Ended {
            code: status.code(),
            log: self.log(),
        }
    }

    /// Asks it to end and waits until it has; panics unless that goes well.
    pub fn stop(self) -> String {
        self.signal(libc::SIGTERM);
        let Ended { code, log } = self.wait();
        assert_eq!(code, Some(0), "snap serve ended badly:\n{log}");
        log
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        if thread::panicking() {
            eprintln!("snap serve wrote:\n{}", self.log());
        }
        // Neither does anything to a process that has been reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Whether no folder of a request is left below `root`.
pub fn swept(root: &Path) -> bool {
    !root.join("data/.snap-serve").exists()
}

/// The address in `serving M and D on ADDRESS, read only`, which with -json is the message of a
/// line.
fn opened_on(log: &str) -> Option<SocketAddr> {
    let line = log
        .lines()
        .find(|line| line.starts_with("serving ") || line.contains("\"serving "))?;
    let (line, _) = line.rsplit_once(", ")?;
    line.rsplit_once(" on ")?.1.parse().ok()
}

/// Looks until something is there, for up to 30 seconds.
pub fn wait_for<T>(mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let started = Instant::now();
    loop {
        let found = look();
        if found.is_some() || started.elapsed() > PATIENCE {
            return found;
        }
        thread::sleep(Duration::from_millis(10));
    }
}

/// Connects with a time-out on every read and write.
pub fn connect(to: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect_timeout(&to, PATIENCE).expect("connecting");
    stream.set_read_timeout(Some(PATIENCE)).expect("a time-out");
    stream
        .set_write_timeout(Some(PATIENCE))
        .expect("a time-out");
    stream
}

/// Sends bytes and reads the reply until its end. A reset counts as an end: a server that closes
/// early causes one.
pub fn ask(to: SocketAddr, request: &[u8]) -> Vec<u8> {
    let mut stream = connect(to);
    let written = stream.write_all(request);
    let mut reply = Vec::new();
    match written.and_then(|()| stream.read_to_end(&mut reply)) {
        Err(error)
            if !matches!(
                error.kind(),
                io::ErrorKind::ConnectionReset | io::ErrorKind::BrokenPipe
            ) =>
        {
            panic!(
                "{}: {error}",
                request[..request.len().min(80)].escape_ascii()
            )
        }
        _ => reply,
    }
}

/// A request of dialect 1.5 with a JSON document.
pub fn new_request(kind: u8, document: &str) -> Vec<u8> {
    [&[3, kind], document.as_bytes(), b"\n"].concat()
}

/// A request of dialect 1.5 for a shard.
pub fn shard_request(id: u64) -> Vec<u8> {
    new_request(0, &format!("{{\"ShardID\":{id}}}"))
}

/// A request of dialect 1.0.
pub fn old_request(document: &str) -> Vec<u8> {
    [&[3], document.as_bytes(), b"\n"].concat()
}

/// Sends an upload of a tar and waits until the server has closed.
pub fn upload(to: SocketAddr, id: u64, tar: &[u8]) {
    let mut stream = connect(to);
    let sent = stream
        .write_all(&[&[3, 7][..], &id.to_be_bytes(), tar].concat())
        .and_then(|()| stream.shutdown(Shutdown::Write))
        .and_then(|()| stream.read_to_end(&mut Vec::new()));
    if let Ok(count) = sent {
        assert_eq!(count, 0, "an upload was answered");
    }
}

/// The members of a shard's tar by name, each with its content; panics unless the tar is whole.
pub fn members(tar: &[u8], shard: &str) -> BTreeMap<String, Vec<u8>> {
    let mut reader = ShardTarReader::new(tar, &shard_path(shard));
    let mut found = BTreeMap::new();
    while let Some(member) = reader.next_member().expect("a whole tar") {
        let mut content = Vec::new();
        reader.read_to_end(&mut content).expect("a whole member");
        found.insert(member.name, content);
    }
    match reader.finish().expect("nothing behind the tar") {
        Ending::Nothing => panic!("no tar of {shard}"),
        Ending::Whole { members } => {
            assert_eq!(members, found.len() as u64, "a member came twice")
        }
    }
    found
}

/// The members of a shard's tar with their whole names, whatever shard it is.
pub fn all_members(tar: &[u8]) -> Vec<peer::Member> {
    let mut archive = tar::Archive::new(tar);
    let entries = archive.entries().expect("a tar").map(|entry| {
        let mut entry = entry.expect("a member");
        let name = entry
            .path()
            .expect("a name")
            .to_str()
            .expect("a name in UTF-8")
            .to_owned();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("reading memory");
        peer::Member::new(name, content)
    });
    entries.collect()
}

/// `db/rp/1` in its parts.
pub fn shard_path(shard: &str) -> ShardPath {
    let mut parts = shard.split('/');
    let mut next = || parts.next().expect("three parts").to_owned();
    ShardPath {
        database: next().into(),
        retention_policy: next().into(),
        id: next().parse().expect("a shard id"),
    }
}

/// Copies a directory with all it holds; modification times stay, to the nanosecond.
pub fn copy(from: &Path, to: &Path) {
    let output = Command::new("cp")
        .arg("-a")
        .arg(from)
        .arg(to)
        .output()
        .expect("cp runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
}

/// Runs influxd as a client, which goes on asking a dead server for minutes, for up to a minute;
/// panics unless it succeeds.
pub fn influxd_client(args: &[&str]) -> Output {
    let output = Command::new("timeout")
        .args(["-k", "5", "60"])
        .arg(influxd_binary())
        .args(args)
        .stdin(Stdio::null())
        .output()
        .expect("timeout runs");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(
        output.status.success(),
        "influxd {args:?}: {}\n{out}\n{err}",
        output.status
    );
    output
}

/// Restores a database of a legacy backup into the directories of a stopped influxd below `target`,
/// by influxd's own client.
pub fn influxd_restore_into(target: &Path, database: &str, dir: &Path) {
    let (meta, data) = (target.join("meta"), target.join("data"));
    influxd_client(&[
        "restore",
        "-metadir",
        utf8(&meta),
        "-datadir",
        utf8(&data),
        "-database",
        database,
        utf8(dir),
    ]);
}
