//! Running a command and measuring it: wall time, CPU time and peak memory.

use std::env;
use std::ffi::OsString;
use std::io;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use super::support::utf8;

/// The argument that makes this program run another one and measure it.
pub const MEASURE: &str = "--measure";

/// Stands in a command line for the directory that each run gets.
pub const DIR: &str = "{dir}";

/// What one run took.
#[derive(Clone, Copy, Debug)]
pub struct Usage {
    /// From start to end.
    pub wall: Duration,
    /// User and system time of the process and of those it waited for.
    pub cpu: Duration,
    /// The largest resident set of any of these processes, in bytes.
    pub peak_rss: u64,
}

/// Runs a command line to its end, in which `directory` takes the place of [`DIR`]; panics, with
/// what it printed, unless it succeeds.
pub fn run(command: &[String], directory: &Path) -> Usage {
    // Pages that the run before left to be written would be paid for by whoever syncs next.
    rustix::fs::sync();
    let words = command
        .iter()
        .map(|word| word.replace(DIR, utf8(directory)));
    let mut measuring = Command::new(env::current_exe().expect("the path of this program"));
    measuring.arg(MEASURE).args(words).stdin(Stdio::null());
    without_own_settings(&mut measuring);
    let output = measuring.output().expect("this program runs");
    let (out, err) = (
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr),
    );
    assert!(output.status.success(), "{command:?}: {out}{err}");
    let numbers: Vec<u64> = out
        .split_whitespace()
        .map(|number| number.parse().expect("a number"))
        .collect();
    let [wall, cpu, peak_rss] = numbers[..] else {
        panic!("three numbers instead of {out}")
    };
    Usage {
        wall: Duration::from_micros(wall),
        cpu: Duration::from_micros(cpu),
        peak_rss,
    }
}

/// Keeps `snap` from the settings of whoever runs the benchmark.
pub fn without_own_settings(command: &mut Command) {
    let is_ours = |name: &OsString| name.as_encoded_bytes().starts_with(b"SNAP_");
    for (name, _) in env::vars_os().filter(|(name, _)| is_ours(name)) {
        command.env_remove(name);
    }
    command.env("SNAP_CONFIG", "");
}

/// Runs a program and prints its wall time and CPU time in microseconds and its peak memory in
/// bytes.
///
/// This is a process of its own because a child's peak memory begins at that of the process that
/// starts it.
pub fn measure(command: &[OsString]) {
    let started = Instant::now();
    let child = Command::new(&command[0])
        .args(&command[1..])
        .stdout(Stdio::null())
        .spawn()
        .expect("the client starts");
    let (status, usage) = wait(child);
    let wall = started.elapsed();
    assert_eq!(status, 0, "the client failed");
    let number = |value: i64| u64::try_from(value).expect("a positive number");
    let micros = |time: libc::timeval| number(time.tv_sec) * 1_000_000 + number(time.tv_usec);
    println!(
        "{} {} {}",
        wall.as_micros(),
        micros(usage.ru_utime) + micros(usage.ru_stime),
        number(usage.ru_maxrss) * 1024
    );
}

/// Waits for a child; gives its status and its usage.
// The standard library waits without telling the usage of one child; both structures are plain data
// for the call to fill.
#[allow(unsafe_code)]
fn wait(child: Child) -> (i32, libc::rusage) {
    let mut status = 0;
    let mut usage = unsafe { std::mem::zeroed() };
    let pid = libc::pid_t::try_from(child.id()).expect("a process id");
    let got = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
    assert_eq!(got, pid, "wait4: {}", io::Error::last_os_error());
    (status, usage)
}
