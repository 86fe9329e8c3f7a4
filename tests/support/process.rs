//! Running the `snap` binary and measuring it.

use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Once;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::folder;
use super::service::copy;

/// How long a run may take before it is killed.
const WATCHDOG: Duration = Duration::from_secs(120);

/// How often a running process is looked at.
const POLL: Duration = Duration::from_millis(2);

/// A finished run.
#[derive(Debug)]
pub struct Run {
    /// The exit code, unless a signal ended the run.
    pub code: Option<i32>,
    /// The signal that ended the run, if one did.
    pub signal: Option<i32>,
    /// What was written to standard output.
    pub stdout: String,
    /// What was written to standard error.
    pub stderr: String,
    /// The largest resident set, in bytes; too large only for a run of a few milliseconds, where it
    /// may be the parent's.
    pub peak_rss: u64,
    /// What of it are pages of the program's own file, in bytes: how many depends on the build and on
    /// how the system has cached the file.
    pub program_rss: u64,
    /// The time from start to end.
    pub wall: Duration,
    /// The processor time, user and system together.
    pub cpu: Duration,
}

impl Run {
    /// The run itself if it ended with `code`; panics with both outputs otherwise.
    pub fn expect(self, code: i32) -> Self {
        let Self {
            code: got,
            signal,
            stdout,
            stderr,
            ..
        } = &self;
        assert!(
            *got == Some(code),
            "exit code {got:?} (signal {signal:?}) instead of {code}\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
        );
        self
    }

    /// The run itself if it ended with an exit code that is documented, and not in a panic; panics
    /// otherwise.
    pub fn expect_told(self, what: &str) -> Self {
        let told = matches!(self.code, Some(0..=6 | 10 | 11));
        assert!(
            told && !self.stderr.contains("panicked"),
            "{what}: {self:?}"
        );
        self
    }

    /// The lines of `-json`.
    pub fn messages(&self) -> Vec<Value> {
        let message =
            |line| serde_json::from_str(line).unwrap_or_else(|error| panic!("{error} in {line}"));
        self.stdout.lines().map(message).collect()
    }

    /// The last line of `-json`: a summary or an error.
    pub fn last_message(&self) -> Value {
        self.messages()
            .pop()
            .unwrap_or_else(|| panic!("nothing was printed\n{}", self.stderr))
    }
}

/// A backup of the server at `host` into `dir`.
pub fn backup(host: &str, flags: &[&str], dir: &Path) -> Snap {
    Snap::new(["backup", "-host", host]).args(flags).args([dir])
}

/// A backup of the directories of a stopped influxd below `root`.
pub fn backup_of(root: &Path, flags: &[&str], dir: &Path) -> Snap {
    Snap::new(["backup"])
        .directories(root)
        .args(flags)
        .args([dir])
}

/// A folder with a copy of the data set of a real server, and a backup of it.
pub fn sample_backup(flags: &[&str]) -> (TempDir, PathBuf) {
    let place = folder();
    let (source, dir) = (place.path().join("source"), place.path().join("backup"));
    let data = Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata/influxd-1.6.7");
    copy(&data, &source);
    backup_of(&source, flags, &dir).run().expect(0);
    (place, dir)
}

/// A restore of `dir` into the directories of a stopped influxd below `root`.
pub fn restore_into(root: &Path, flags: &[&str], dir: &Path) -> Snap {
    Snap::new(["restore"])
        .directories(root)
        .args(flags)
        .args([dir])
}

/// A restore of `dir` into the running server at `host`.
pub fn restore_online(host: &str, flags: &[&str], dir: &Path) -> Snap {
    Snap::new(["restore", "-online", "-host", host])
        .args(flags)
        .args([dir])
}

/// Runs `snap` with these arguments to its end.
pub fn snap<I, S>(args: I) -> Run
where
    I: IntoIterator<Item = S>,
    S: AsRef<OsStr>,
{
    Snap::new(args).run()
}

/// A run of `snap` being prepared: no `SNAP_*` variables, nothing on standard input.
#[derive(Debug)]
pub struct Snap {
    command: Command,
}

impl Snap {
    /// A run with these arguments.
    pub fn new<I, S>(args: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        let mut command = Command::new(env!("CARGO_BIN_EXE_snap"));
        command
            .args(args)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        for (name, _) in
            std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"SNAP_"))
        {
            command.env_remove(name);
        }
        // None of the machine's own configuration.
        command.env("SNAP_CONFIG", "");
        Self { command }
    }

    /// Has it begin with this signal ignored, as nohup does with `HUP`.
    pub fn ignoring(self, signal: &str) -> Self {
        self.after(&format!("trap '' {signal}"))
    }

    /// Adds arguments.
    pub fn args<I, S>(mut self, args: I) -> Self
    where
        I: IntoIterator<Item = S>,
        S: AsRef<OsStr>,
    {
        self.command.args(args);
        self
    }

    /// Runs in a shell that did this before: `umask 0`, `ulimit -f 100`.
    pub fn after(self, before: &str) -> Self {
        let mut command = Command::new("sh");
        let script = format!("{before}; exec \"$0\" \"$@\"");
        command
            .args(["-c", &script])
            .arg(self.command.get_program())
            .args(self.command.get_args())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        if let Some(dir) = self.command.get_current_dir() {
            command.current_dir(dir);
        }
        for (name, value) in self.command.get_envs() {
            match value {
                Some(value) => command.env(name, value),
                None => command.env_remove(name),
            };
        }
        Self { command }
    }

    /// Adds `-metadir` and `-datadir`, those below `root`.
    pub fn directories(self, root: &Path) -> Self {
        let (meta, data) = (root.join("meta"), root.join("data"));
        self.args([
            "-metadir".as_ref(),
            meta.as_path(),
            "-datadir".as_ref(),
            &data,
        ])
    }

    /// Runs in this working directory.
    pub fn dir(mut self, dir: &Path) -> Self {
        self.command.current_dir(dir);
        self
    }

    /// Sets a variable of the environment.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Self {
        self.command.env(name, value);
        self
    }

    /// Takes standard input from here instead of `/dev/null`.
    pub fn stdin(mut self, stdin: impl Into<Stdio>) -> Self {
        self.command.stdin(stdin);
        self
    }

    /// Runs to the end; kills the process and panics after two minutes.
    pub fn run(self) -> Run {
        self.spawn().wait()
    }

    /// Starts the process without waiting for it.
    pub fn spawn(mut self) -> Running {
        let started = Instant::now();
        heed_signals();
        let mut child = self.command.spawn().expect("snap starts");
        let inherited = own_peak_rss();
        let stdout = Some(read_all(
            child.stdout.take().expect("piped standard output"),
        ));
        let stderr = Some(read_all(child.stderr.take().expect("piped standard error")));
        Running {
            child,
            started,
            inherited,
            stdout,
            stderr,
            reaped: false,
        }
    }
}

/// Has what is started heed SIGHUP and SIGINT, whatever the tests were started with: in the
/// background of a script, they are ignored. Once for all, and not between fork and exec, where a
/// child would hold the files of the other tests for a moment.
#[allow(unsafe_code)]
fn heed_signals() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        for signal in [libc::SIGHUP, libc::SIGINT] {
            // The default disposition runs no code.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
    });
}

/// A process that was started; it is killed if nobody waits for it.
pub struct Running {
    child: Child,
    started: Instant,
    inherited: u64,
    stdout: Option<JoinHandle<String>>,
    stderr: Option<JoinHandle<String>>,
    reaped: bool,
}

impl Running {
    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal, for example `libc::SIGINT`.
    // Sending a signal is a call into libc; the process has not been reaped, so the id is still its
    // own.
    #[allow(unsafe_code)]
    pub fn signal(&self, signal: i32) {
        let sent = unsafe { libc::kill(pid_t(self.pid()), signal) };
        assert_eq!(sent, 0, "signal {signal}: {}", io::Error::last_os_error());
    }

    /// Waits until the process has stopped, as SIGSTOP stops it.
    pub fn wait_until_stopped(&self) {
        let stat = format!("/proc/{}/stat", self.pid());
        let is_stopped = || {
            let stat = fs::read_to_string(&stat).expect("the state of a process");
            // The name before it may hold anything but this.
            let state = stat.rsplit_once(") ").map(|(_, rest)| rest.as_bytes()[0]);
            state == Some(b'T')
        };
        while !is_stopped() {
            assert!(self.started.elapsed() < WATCHDOG, "snap never stopped");
            thread::sleep(POLL);
        }
    }

    /// Waits for the end; kills the process and panics after two minutes.
    pub fn wait(mut self) -> Run {
        let (mut sampled, mut program_rss) = (0, 0);
        let (status, usage) = loop {
            // These are gone once the process has ended, so they are read before each look.
            let [peak, of_program] = resident(self.pid());
            sampled = sampled.max(peak);
            program_rss = program_rss.max(of_program);
            if let Some(end) = reap(self.pid(), libc::WNOHANG) {
                break end;
            }
            if self.started.elapsed() > WATCHDOG {
                let _ = self.child.kill();
                reap(self.pid(), 0);
                self.reaped = true;
                let (stdout, stderr) = self.outputs();
                panic!(
                    "snap still ran after {WATCHDOG:?}\n--- stdout\n{stdout}\n--- stderr\n{stderr}"
                );
            }
            thread::sleep(POLL);
        };
        let wall = self.started.elapsed();
        self.reaped = true;
        let (stdout, stderr) = self.outputs();
        // A child's ru_maxrss begins at its parent's peak; where it did not grow well beyond that it
        // is only an upper bound.
        let reported = kibibytes(usage.ru_maxrss);
        let peak_rss = if reported > self.inherited + COUNTED_LATE || sampled == 0 {
            reported
        } else {
            sampled
        };
        Run {
            code: libc::WIFEXITED(status).then(|| libc::WEXITSTATUS(status)),
            signal: libc::WIFSIGNALED(status).then(|| libc::WTERMSIG(status)),
            stdout,
            stderr,
            peak_rss,
            program_rss,
            wall,
            cpu: duration(usage.ru_utime) + duration(usage.ru_stime),
        }
    }

    /// What the process wrote, complete once it has ended.
    fn outputs(&mut self) -> (String, String) {
        let join = |reader: Option<JoinHandle<String>>| {
            reader
                .map(|reader| reader.join().expect("a reader"))
                .unwrap_or_default()
        };
        (join(self.stdout.take()), join(self.stderr.take()))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if !self.reaped {
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// How far two looks at the resident set of one process differ at most: Linux counts the pages of
/// each processor on its own, and sums them up now and then.
const COUNTED_LATE: u64 = 8 << 20;

/// Reads a pipe to its end in a thread of its own, so that the writer never blocks.
fn read_all(mut pipe: impl Read + Send + 'static) -> JoinHandle<String> {
    thread::spawn(move || {
        let mut bytes = Vec::new();
        pipe.read_to_end(&mut bytes).expect("reading a pipe");
        String::from_utf8_lossy(&bytes).into_owned()
    })
}

/// The status and the usage of a child that has ended; `None` if it still runs.
// The standard library waits without telling the usage of one child; both structures are plain data
// for the call to fill.
#[allow(unsafe_code)]
fn reap(pid: u32, options: i32) -> Option<(i32, libc::rusage)> {
    let mut status = 0;
    let mut usage = unsafe { std::mem::zeroed() };
    let got = unsafe { libc::wait4(pid_t(pid), &raw mut status, options, &raw mut usage) };
    assert!(got >= 0, "wait4: {}", io::Error::last_os_error());
    (got > 0).then_some((status, usage))
}

/// The largest resident set this process has had, in bytes.
// getrusage is a call into libc that fills a structure of plain data.
#[allow(unsafe_code)]
fn own_peak_rss() -> u64 {
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    let got = unsafe { libc::getrusage(libc::RUSAGE_SELF, &raw mut usage) };
    assert_eq!(got, 0, "getrusage: {}", io::Error::last_os_error());
    kibibytes(usage.ru_maxrss)
}

/// The largest resident set a process has had since it began its program, and the pages of files in
/// its resident set, in bytes; 0 once it has ended.
fn resident(pid: u32) -> [u64; 2] {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    ["VmHWM:", "RssFile:"].map(|name| {
        let line = status.lines().find_map(|line| line.strip_prefix(name));
        line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse::<u64>().ok())
            .unwrap_or(0)
            * 1024
    })
}

/// A process id as libc takes it.
fn pid_t(pid: u32) -> libc::pid_t {
    libc::pid_t::try_from(pid).expect("a process id")
}

/// A count of KiB in bytes.
fn kibibytes(count: libc::c_long) -> u64 {
    u64::try_from(count).expect("a size") * 1024
}

/// A time of libc as a duration.
fn duration(time: libc::timeval) -> Duration {
    let seconds = u64::try_from(time.tv_sec).expect("a duration");
    Duration::from_secs(seconds)
        + Duration::from_micros(u64::try_from(time.tv_usec).expect("a duration"))
}
