//! An influxd that is started on restored directories, on a free loopback port, and stopped again.

use std::env;
use std::fs::{self, File};
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use rustix::fs::{Access, access};
use rustix::process::{Pid, Signal, kill_process_group};

use crate::cancel::Cancel;
use crate::client::{Address, Client, Timeouts};
use crate::context::Context;
use crate::error::ErrorKind;

/// How often the process is looked at.
const POLL: Duration = Duration::from_millis(50);
/// How long it may take to open all shards.
const START: Duration = Duration::from_secs(3600);
/// How long it may take to end.
const STOP: Duration = Duration::from_secs(60);
/// How long one question whether it is ready may take.
const ASK: Duration = Duration::from_secs(2);
/// How many ports are tried: another process may take one first.
const PORTS: usize = 5;

/// Runs an influxd in the place of the shell, and ends it when standard input does: also when the
/// process that writes there was killed.
const SCRIPT: &str = r#"exec 3<&0
(cat <&3 >/dev/null; kill -TERM $$) &
exec "$0" run -config "$1" </dev/null 3<&-"#;

/// A running influxd. It is stopped with this.
pub(super) struct Influxd {
    child: Child,
    address: SocketAddr,
    log: PathBuf,
}

/// What came of a start.
enum Start {
    Ready(Influxd),
    PortTaken,
}

impl Influxd {
    /// Starts `program` on `meta`, `data` and `wal` in a directory, and waits until it answers.
    ///
    /// # Errors
    ///
    /// When it does not start, or ends; when a stop was asked for.
    pub(super) fn start(program: &Path, root: &Path, context: Context<'_>) -> Result<Self> {
        for _ in 0..PORTS {
            if let Start::Ready(influxd) = Self::start_once(program, root, context)? {
                return Ok(influxd);
            }
        }
        Err(failed(program, "it found no free port"))
    }

    fn start_once(program: &Path, root: &Path, context: Context<'_>) -> Result<Start> {
        let starting = || format!("starting {}", program.display());
        let address = free_address().with_context(starting)?;
        let config = root.join("influxd.conf");
        fs::write(&config, configuration(root, address)).with_context(starting)?;
        let log = root.join("influxd.log");
        let out = File::create(&log).with_context(starting)?;
        let mut command = Command::new("sh");
        command
            .args(["-c", SCRIPT])
            .args([program.as_os_str(), config.as_os_str()])
            // Variables would change its settings.
            .env_clear()
            .env("PATH", env::var_os("PATH").unwrap_or_default())
            .env("HOME", root)
            .stdin(Stdio::piped())
            .stdout(out.try_clone().with_context(starting)?)
            .stderr(out)
            // Ctrl-C is for this process, which stops it.
            .process_group(0);
        let mut influxd = Self {
            child: command.spawn().with_context(starting)?,
            address,
            log,
        };
        let started = Instant::now();
        loop {
            context.check()?;
            if let Some(status) = influxd.child.try_wait().with_context(starting)? {
                if influxd.logged().contains("address already in use") {
                    return Ok(Start::PortTaken);
                }
                return Err(failed(program, influxd.end(status)));
            }
            if influxd.answers(context.cancel) {
                return Ok(Start::Ready(influxd));
            }
            if started.elapsed() > START {
                return Err(failed(program, "it does not answer"));
            }
            thread::sleep(POLL);
        }
    }

    /// A client of its snapshotter.
    pub(super) fn client(&self, cancel: &Cancel) -> Client {
        self.client_with(Timeouts::default(), cancel)
    }

    /// Has it end, and waits for that.
    ///
    /// # Errors
    ///
    /// When it had ended before.
    pub(super) fn stop(mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait().context("waiting for influxd")? {
            let end = self.end(status);
            return Err(ErrorKind::Failed.error(end).into());
        }
        self.end_child();
        Ok(())
    }

    /// Whether it has opened all shards, and answers.
    fn answers(&self, cancel: &Cancel) -> bool {
        let timeouts = Timeouts {
            connect: ASK,
            idle: ASK,
            attempt: ASK,
        };
        self.client_with(timeouts, cancel).metastore().is_ok()
    }

    fn client_with(&self, timeouts: Timeouts, cancel: &Cancel) -> Client {
        Client::new(Address::from(self.address), None, timeouts, cancel.clone())
    }

    fn logged(&self) -> String {
        let log = fs::read(&self.log).unwrap_or_default();
        String::from_utf8_lossy(&log).into_owned()
    }

    /// How it ended, with what it said last.
    fn end(&self, status: ExitStatus) -> String {
        let log = self.logged();
        let last = log.lines().rev().find(|line| !line.trim().is_empty());
        match last {
            Some(last) => format!("influxd ended ({status}): {last}"),
            None => format!("influxd ended ({status}) without a word"),
        }
    }

    fn end_child(&mut self) {
        let group = Pid::from_child(&self.child);
        drop(self.child.stdin.take());
        let asked = Instant::now();
        while asked.elapsed() < STOP {
            match self.child.try_wait() {
                Ok(None) => thread::sleep(POLL),
                _ => return,
            }
        }
        let _ = kill_process_group(group, Signal::KILL);
        let _ = self.child.wait();
    }
}

impl Drop for Influxd {
    fn drop(&mut self) {
        self.end_child();
    }
}

/// Makes sure that there is such a program, before the hours that a restore can take.
///
/// # Errors
///
/// Where there is none.
pub(super) fn ensure_program(program: &Path) -> Result<()> {
    let is_program = |path: &Path| access(path, Access::EXEC_OK).is_ok() && path.is_file();
    let is_there = match program.as_os_str().as_bytes().contains(&b'/') {
        true => is_program(program),
        false => {
            let path = env::var_os("PATH").unwrap_or_default();
            env::split_paths(&path).any(|directory| is_program(&directory.join(program)))
        }
    };
    match is_there {
        true => Ok(()),
        false => Err(failed(program, "there is no such program")),
    }
}

fn failed(program: &Path, why: impl std::fmt::Display) -> anyhow::Error {
    ErrorKind::Failed
        .error(format!("running {}: {why}", program.display()))
        .hint("-influxd names an influxd that can read what is restored: the version of the server, or a later one")
        .into()
}

/// A loopback address that nobody used a moment ago.
fn free_address() -> io::Result<SocketAddr> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()
}

/// A configuration in which nothing changes what was restored, and only the snapshotter listens.
fn configuration(root: &Path, address: SocketAddr) -> String {
    let dir = |name: &str| format!("{:?}", root.join(name).display().to_string());
    let (meta, data, wal) = (dir("meta"), dir("data"), dir("wal"));
    format!(
        r#"reporting-disabled = true
bind-address = "{address}"

[meta]
  dir = {meta}

[data]
  dir = {data}
  wal-dir = {wal}
  query-log-enabled = false
  max-series-per-database = 0
  max-values-per-tag = 0

[http]
  enabled = false

[monitor]
  store-enabled = false

[retention]
  enabled = false

[shard-precreation]
  enabled = false

[continuous_queries]
  enabled = false

[subscriber]
  enabled = false
"#
    )
}
