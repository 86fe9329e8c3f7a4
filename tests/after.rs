//! What follows a run: metrics for Prometheus, and the commands that were asked for.

mod support;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use support::peer::{Asked, Model, Peer, Reply, Version, nobody};
use support::process::{Run, Snap, snap};
use support::tree;
use tempfile::TempDir;

/// A server with the shards `db/autogen/1` and `db/autogen/2`, and a folder.
struct Bench {
    root: TempDir,
    peer: Peer,
}

impl Bench {
    fn new() -> Self {
        let shards = [("db", "autogen", 1), ("db", "autogen", 2)];
        Self { root: tempfile::tempdir().expect("a directory"), peer: Peer::start(Model::new(Version::V1_6, &shards)) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    fn prepare(&self, host: &str, flags: &[&str]) -> Snap {
        let dir = self.path("backup");
        Snap::new([&["backup", "-retries", "0", "-host", host], flags, &[utf8(&dir)]].concat()).dir(self.root.path())
    }

    fn backup(&self, flags: &[&str]) -> Run {
        self.prepare(&self.peer.host(), flags).run()
    }
}

fn utf8(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// The value of a metric.
fn metric(text: &str, name: &str) -> Option<f64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    Some(line.parse().unwrap_or_else(|error| panic!("{error}: {line}")))
}

#[test]
fn every_run_leaves_its_metrics_and_failed_ones_keep_the_time_of_the_last_success() {
    let bench = Bench::new();
    let file = bench.path("snap.prom");
    let read = || fs::read_to_string(&file).expect("metrics");
    let flags = ["-metrics-file", utf8(&file)];
    bench.backup(&flags).expect(0);
    let first = read();
    assert_eq!(fs::metadata(&file).expect("metrics").permissions().mode() & 0o777, 0o644);
    let value = |text: &str, name: &str| metric(text, &format!("{name}{{command=\"backup\"}}"));
    assert_eq!(value(&first, "snap_last_exit_code"), Some(0.0));
    assert_eq!(metric(&first, "snap_shards{command=\"backup\",state=\"stored\"}"), Some(2.0));
    assert!(value(&first, "snap_last_bytes").is_some_and(|bytes| bytes > 512.0), "{first}");
    let success = value(&first, "snap_last_success_timestamp_seconds");
    assert!(success.is_some_and(|time| time > 1.7e9), "{first}");
    for line in first.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split('{').next().expect("a name");
        assert!(first.contains(&format!("# HELP {name} ")) && first.contains(&format!("# TYPE {name} gauge\n")), "{name}");
    }

    bench.backup(&[&flags[..], &["-dry-run"]].concat()).expect(0);
    assert_eq!(read(), first, "a dry run is no run");

    thread::sleep(Duration::from_millis(1100));
    bench.prepare(&nobody(), &flags).run().expect(5);
    let failed = read();
    assert_eq!(value(&failed, "snap_last_exit_code"), Some(5.0));
    assert_eq!(value(&failed, "snap_last_success_timestamp_seconds"), success);
    assert!(value(&failed, "snap_last_run_timestamp_seconds") > success && value(&failed, "snap_last_bytes").is_none());

    bench.peer.script(Asked::Shard(1), [Reply::Nothing]);
    bench.backup(&[&flags[..], &["-skip-errors"]].concat()).expect(3);
    let partial = read();
    assert_eq!(metric(&partial, "snap_shards{command=\"backup\",state=\"missing\"}"), Some(1.0));
    assert_eq!(value(&partial, "snap_last_success_timestamp_seconds"), success);

    snap(["verify", "-metrics-file", utf8(&file), utf8(&bench.path("backup")), "latest"]).expect(4);
    let verified = read();
    assert_eq!(value(&verified, "snap_last_exit_code"), Some(3.0));
    // The scripted server's files look like TSM files from outside only.
    assert!(metric(&verified, "snap_last_faults{command=\"verify\"}").is_some_and(|faults| faults > 0.0), "{verified}");
    assert_eq!(tree::names(bench.root.path()), ["backup", "snap.prom"]);
}

#[test]
fn metrics_that_cannot_be_written_are_a_warning() {
    let bench = Bench::new();
    let run = bench.backup(&["-metrics-file", utf8(&bench.path("nowhere/snap.prom"))]).expect(0);
    assert!(run.stderr.contains("warning: the metrics of this run are not written"), "{}", run.stderr);
}

#[test]
fn commands_run_after_success_and_after_failure_and_know_what_happened() {
    let bench = Bench::new();
    let told = bench.path("told");
    let tell = "echo said; printf '%s|' \"$SNAP_COMMAND\" \"$SNAP_EXIT_CODE\" \"$SNAP_DIRECTORY\" \"$SNAP_HOST\" \"$SNAP_SET\" \
                \"$SNAP_ERROR\" > told";
    let flags = ["-on-success", tell, "-on-failure", tell];
    let take = || {
        let text = fs::read_to_string(&told).expect("a hook that was run");
        fs::remove_file(&told).expect("removing a file");
        text
    };
    let dir = bench.path("backup");
    let run = bench.backup(&flags).expect(0);
    let set = run.stdout.split(' ').nth(2).expect("a set");
    assert_eq!(take(), format!("backup|0|{}|{}|{set}||", dir.display(), bench.peer.host()));
    assert!(!run.stdout.contains("said") && run.stderr.contains("said\n"), "{}{}", run.stdout, run.stderr);

    let gone = nobody();
    let run = bench.prepare(&gone, &flags).run().expect(5);
    let text = take();
    assert!(text.starts_with(&format!("backup|5|{}|{gone}||", dir.display())), "{text}");
    assert!(run.stderr.contains(text.trim_end_matches('|').rsplit('|').next().expect("an error")), "{text}\n{}", run.stderr);

    bench.backup(&[&flags[..], &["-database", "d", "-shard", "9"]].concat()).expect(1);
    assert!(take().starts_with("backup|1|"));
    bench.backup(&[&flags[..], &["-dry-run"]].concat()).expect(0);
    assert!(!told.exists(), "a dry run has nothing to follow it");

    bench.peer.script(Asked::Shard(1), [Reply::Nothing]);
    bench.backup(&[&flags[..], &["-skip-errors"]].concat()).expect(3);
    let text = take();
    assert!(text.starts_with("backup|3|") && text.contains("db/autogen/1"), "{text}");

    let target = ["restore", "-metadir", "m", "-datadir", "d", "-on-success", tell, utf8(&dir), set];
    Snap::new(target).dir(bench.root.path()).run().expect(0);
    assert!(take().starts_with("restore|0|"));
}

#[test]
fn a_failing_command_after_success_fails_the_run_and_one_after_failure_does_not_change_its_exit_code() {
    let bench = Bench::new();
    let file = bench.path("snap.prom");
    let run = bench.backup(&["-on-success", "exit 7", "-metrics-file", utf8(&file)]).expect(1);
    assert!(run.stderr.contains("the backup is done and whole, but the command of -on-success failed"), "{}", run.stderr);
    assert!(run.stdout.starts_with("1 set "), "{}", run.stdout);
    let metrics = fs::read_to_string(&file).expect("metrics");
    assert_eq!(metric(&metrics, "snap_last_exit_code{command=\"backup\"}"), Some(1.0));
    assert!(metrics.contains("snap_last_success_timestamp_seconds{"), "{metrics}");

    let run = bench.prepare(&nobody(), &["-on-failure", "exit 7"]).run().expect(5);
    assert!(run.stderr.contains("warning: the command of -on-failure failed too"), "{}", run.stderr);
}

#[test]
fn a_stop_reaches_the_command_that_is_waited_for() {
    let bench = Bench::new();
    let begun = bench.path("begun");
    let running = bench.prepare(&bench.peer.host(), &["-on-success", "touch begun; exec sleep 60"]).spawn();
    let patience = Instant::now() + Duration::from_secs(30);
    while !begun.exists() {
        assert!(Instant::now() < patience, "the command was not run");
        thread::sleep(Duration::from_millis(10));
    }
    running.signal(libc::SIGTERM);
    let run = running.wait().expect(143);
    assert!(run.wall < Duration::from_secs(40), "{:?}", run.wall);
}
