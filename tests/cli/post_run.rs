//! What follows a run, whichever command it was and however it ended: metrics for Prometheus, and
//! the commands that were asked for.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::support::damage::damage;
use crate::support::fixture::Fixture;
use crate::support::peer::{Asked, Reply, nobody};
use crate::support::process::{Run, Snap, snap};
use crate::support::service::wait_for;
use crate::support::terminal::terminal_that_has_gone;
use crate::support::{tree, utf8};
use influx_snap::cancel::Cancel;
use influx_snap::repository::Lock;
use serde_json::Value;

/// A server with the shards `db/autogen/1` and `db/autogen/2`.
fn two_shards() -> Fixture {
    Fixture::with_shards([1, 2])
}

impl Fixture {
    /// A backup of the server at `host`, tried once, whose working directory is the folder.
    fn prepare_for(&self, host: &str, flags: &[&str]) -> Snap {
        let dir = self.path("backup");
        Snap::new(
            [
                &["backup", "-retries", "0", "-host", host],
                flags,
                &[utf8(&dir)],
            ]
            .concat(),
        )
        .dir(self.folder.path())
    }

    /// Runs one of the server.
    fn backup_once(&self, flags: &[&str]) -> Run {
        self.prepare_for(&self.peer.host(), flags).run()
    }

    /// Backs up; the id of the set.
    fn made(&self, flags: &[&str]) -> String {
        self.backup_once(flags)
            .expect(0)
            .stdout
            .split([' ', ':'])
            .nth(1)
            .expect("a set")
            .to_owned()
    }

    /// Runs in the folder.
    fn run(&self, args: &[&str]) -> Run {
        Snap::new(args).dir(self.folder.path()).run()
    }

    /// What a hook told, once.
    fn told(&self) -> String {
        let told = self.path("told");
        let text = fs::read_to_string(&told).expect("a hook that was run");
        fs::remove_file(&told).expect("removing a file");
        text
    }

    /// The metrics, which are in `snap.prom`.
    fn metrics(&self) -> String {
        fs::read_to_string(self.path("snap.prom")).expect("metrics")
    }
}

/// Tells what a hook knows, in the file `told`.
const TELL: &str = "printf '%s|' \"$SNAP_COMMAND\" \"$SNAP_EXIT_CODE\" \"$SNAP_SET\" \"${SNAP_REMOVED-unset}\" \"$SNAP_ERROR\" > told";

/// A run that is followed by metrics and by [`TELL`].
const FOLLOWED: [&str; 6] = [
    "-metrics-file",
    "snap.prom",
    "-on-success",
    TELL,
    "-on-failure",
    TELL,
];

/// The value of a metric.
fn metric(text: &str, name: &str) -> Option<f64> {
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix(name)?.strip_prefix(' '))?;
    Some(
        line.parse()
            .unwrap_or_else(|error| panic!("{error}: {line}")),
    )
}

#[test]
fn every_run_leaves_its_metrics_and_failed_ones_keep_the_time_of_the_last_success() {
    let fixture = two_shards();
    let file = fixture.path("snap.prom");
    let read = || fs::read_to_string(&file).expect("metrics");
    let flags = ["-metrics-file", utf8(&file)];
    fixture.backup_once(&flags).expect(0);
    let first = read();
    assert_eq!(
        fs::metadata(&file).expect("metrics").permissions().mode() & 0o777,
        0o644
    );
    let value = |text: &str, name: &str| metric(text, &format!("{name}{{command=\"backup\"}}"));
    assert_eq!(value(&first, "snap_last_exit_code"), Some(0.0));
    assert_eq!(
        metric(&first, "snap_shards{command=\"backup\",state=\"stored\"}"),
        Some(2.0)
    );
    assert!(
        value(&first, "snap_last_bytes").is_some_and(|bytes| bytes > 512.0),
        "{first}"
    );
    let success = value(&first, "snap_last_success_timestamp_seconds");
    assert!(success.is_some_and(|time| time > 1.7e9), "{first}");
    for line in first.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split('{').next().expect("a name");
        assert!(
            first.contains(&format!("# HELP {name} "))
                && first.contains(&format!("# TYPE {name} gauge\n")),
            "{name}"
        );
    }

    fixture
        .backup_once(&[&flags[..], &["-dry-run"]].concat())
        .expect(0);
    assert_eq!(read(), first, "a dry run is no run");

    thread::sleep(Duration::from_millis(1100));
    fixture.prepare_for(&nobody(), &flags).run().expect(5);
    let failed = read();
    assert_eq!(value(&failed, "snap_last_exit_code"), Some(5.0));
    assert_eq!(
        value(&failed, "snap_last_success_timestamp_seconds"),
        success
    );
    assert!(
        value(&failed, "snap_last_run_timestamp_seconds") > success
            && value(&failed, "snap_last_bytes").is_none()
    );

    fixture.peer.script(Asked::Shard(1), [Reply::Nothing]);
    fixture
        .backup_once(&[&flags[..], &["-skip-errors"]].concat())
        .expect(3);
    let partial = read();
    assert_eq!(
        metric(
            &partial,
            "snap_shards{command=\"backup\",state=\"missing\"}"
        ),
        Some(1.0)
    );
    assert_eq!(
        value(&partial, "snap_last_success_timestamp_seconds"),
        success
    );

    damage(
        &fixture.path("backup").join("db.autogen.00002.01"),
        "flipped in the middle",
    );
    snap([
        "verify",
        "-metrics-file",
        utf8(&file),
        utf8(&fixture.path("backup")),
        "latest",
    ])
    .expect(4);
    let verified = read();
    assert_eq!(value(&verified, "snap_last_exit_code"), Some(3.0));
    assert!(
        metric(&verified, "snap_last_faults{command=\"verify\"}")
            .is_some_and(|faults| faults > 0.0),
        "{verified}"
    );
    assert_eq!(tree::names(fixture.folder.path()), ["backup", "snap.prom"]);
}

#[test]
fn metrics_that_cannot_be_written_are_a_warning() {
    let fixture = two_shards();
    // What nobody would learn of is printed with -quiet too.
    let run = fixture
        .backup_once(&[
            "-quiet",
            "-metrics-file",
            utf8(&fixture.path("nowhere/snap.prom")),
        ])
        .expect(0);
    assert!(
        run.stderr
            .contains("warning: the metrics of this run are not written"),
        "{}",
        run.stderr
    );
    let run = fixture
        .backup_once(&["-metrics-file", utf8(fixture.folder.path())])
        .expect(0);
    assert!(run.stderr.contains("is no regular file"), "{}", run.stderr);
}

#[test]
fn commands_run_after_success_and_after_failure_and_know_what_happened() {
    let fixture = two_shards();
    let told = fixture.path("told");
    let tell = "echo said; printf '%s|' \"$SNAP_COMMAND\" \"$SNAP_EXIT_CODE\" \"$SNAP_DIRECTORY\" \"$SNAP_HOST\" \"$SNAP_SET\" \
                \"$SNAP_ERROR\" > told";
    let flags = ["-on-success", tell, "-on-failure", tell];
    let take = || {
        let text = fs::read_to_string(&told).expect("a hook that was run");
        fs::remove_file(&told).expect("removing a file");
        text
    };
    let dir = fixture.path("backup");
    let run = fixture.backup_once(&flags).expect(0);
    let set = run.stdout.split([' ', ':']).nth(1).expect("a set");
    assert_eq!(
        take(),
        format!("backup|0|{}|{}|{set}||", dir.display(), fixture.peer.host())
    );
    assert!(
        !run.stdout.contains("said") && run.stderr.contains("said\n"),
        "{}{}",
        run.stdout,
        run.stderr
    );

    let gone = nobody();
    let run = fixture.prepare_for(&gone, &flags).run().expect(5);
    let text = take();
    assert!(
        text.starts_with(&format!("backup|5|{}|{gone}||", dir.display())),
        "{text}"
    );
    assert!(
        run.stderr.contains(
            text.trim_end_matches('|')
                .rsplit('|')
                .next()
                .expect("an error")
        ),
        "{text}\n{}",
        run.stderr
    );

    fixture
        .backup_once(&[&flags[..], &["-database", "d", "-shard", "9"]].concat())
        .expect(1);
    assert!(take().starts_with("backup|1|"));
    fixture
        .backup_once(&[&flags[..], &["-dry-run"]].concat())
        .expect(0);
    assert!(!told.exists(), "a dry run has nothing to follow it");

    fixture.peer.script(Asked::Shard(1), [Reply::Nothing]);
    fixture
        .backup_once(&[&flags[..], &["-skip-errors"]].concat())
        .expect(3);
    let text = take();
    assert!(
        text.starts_with("backup|3|") && text.contains("db/autogen/1"),
        "{text}"
    );

    let target = [
        "restore",
        "-metadir",
        "m",
        "-datadir",
        "d",
        "-on-success",
        tell,
        utf8(&dir),
        set,
    ];
    Snap::new(target).dir(fixture.folder.path()).run().expect(0);
    let restored = format!("restore|0|{}||{set}||", dir.display());
    assert_eq!(take(), restored, "SNAP_SET is the set that was restored");
}

#[test]
fn a_failing_command_after_success_fails_the_run_and_one_after_failure_does_not_change_its_exit_code()
 {
    let fixture = two_shards();
    let file = fixture.path("snap.prom");
    let run = fixture
        .backup_once(&["-on-success", "exit 7", "-metrics-file", utf8(&file)])
        .expect(1);
    assert!(
        run.stderr
            .contains("the backup is done and whole, but the command of -on-success failed"),
        "{}",
        run.stderr
    );
    assert!(run.stdout.starts_with("set "), "{}", run.stdout);
    let metrics = fs::read_to_string(&file).expect("metrics");
    assert_eq!(
        metric(&metrics, "snap_last_exit_code{command=\"backup\"}"),
        Some(1.0)
    );
    assert!(
        metrics.contains("snap_last_success_timestamp_seconds{"),
        "{metrics}"
    );

    let dir = utf8(&fixture.path("backup")).to_owned();
    let run = fixture
        .run(&[
            "check",
            "-max-age",
            "1h",
            "-metrics-file",
            "snap.prom",
            "-on-success",
            "exit 7",
            &dir,
        ])
        .expect(1);
    assert!(
        run.stdout.starts_with("ok: ")
            && run.stderr.contains("snap check went well, but the command"),
        "{}",
        run.stderr
    );
    assert_eq!(
        metric(&fixture.metrics(), "snap_last_exit_code{command=\"check\"}"),
        Some(1.0)
    );
    assert_eq!(
        metric(&fixture.metrics(), "snap_check_ok{command=\"check\"}"),
        Some(1.0)
    );

    let run = fixture
        .prepare_for(&nobody(), &["-quiet", "-on-failure", "exit 7"])
        .run()
        .expect(5);
    assert!(
        run.stderr
            .contains("warning: the command of -on-failure failed"),
        "{}",
        run.stderr
    );
}

#[test]
fn verify_check_and_forget_tell_what_they_looked_at_and_what_is_wrong() {
    let fixture = two_shards();
    let dir = utf8(&fixture.path("backup")).to_owned();
    let run = |args: &[&str], code| {
        fixture
            .run(&[&args[..1], &FOLLOWED, &args[1..]].concat())
            .expect(code)
    };
    let value = |name: &str| metric(&fixture.metrics(), name);
    let first = fixture.made(&[]);
    let file = fixture.path("backup").join("db.autogen.00001.00");
    damage(&file, "flipped in the middle");
    let verified = run(&["verify", &dir], 4);
    let told = fixture.told();
    assert!(
        told.starts_with(&format!(
            "verify|4|{first}|unset|set {first}: db.autogen.00001.00 (shard db/autogen/1): at offset "
        )),
        "{told}\n{}",
        verified.stdout
    );
    let messages = fixture
        .run(&["verify", "-json", "-jobs", "1", "-on-failure", TELL, &dir])
        .expect(4)
        .stdout;
    messages
        .lines()
        .for_each(|line| drop(serde_json::from_str::<Value>(line).expect("JSON")));
    assert_eq!(fixture.told().len(), told.len());

    let second = fixture.made(&["-meta-only"]);
    run(&["verify", &dir, "latest"], 0);
    assert_eq!(fixture.told(), format!("verify|0|{second}|unset||"));
    run(&["verify", &dir], 4);
    assert!(
        fixture.told().starts_with("verify|4||unset|"),
        "no set was the only one that was looked at"
    );

    run(&["check", "-max-age", "1h", &dir], 0);
    assert_eq!(fixture.told(), format!("check|0|{first}|unset||"));
    assert_eq!(value("snap_check_ok{command=\"check\"}"), Some(1.0));
    let age = value("snap_newest_set_age_seconds{command=\"check\"}");
    assert!(
        age.is_some_and(|age| (1.0..600.0).contains(&age)),
        "{}",
        fixture.metrics()
    );
    let begun = value("snap_newest_set_timestamp_seconds{command=\"check\"}").expect("a time");
    let success = value("snap_last_success_timestamp_seconds{command=\"check\"}");
    assert!(
        success.is_some_and(|success| (begun..begun + 600.0).contains(&success)),
        "{}",
        fixture.metrics()
    );
    run(&["check", "-max-age", "1ms", &dir], 1);
    let told = fixture.told();
    assert!(
        told.starts_with(&format!("check|1|{first}|unset|set {first} is "))
            && told.contains(" old, more than "),
        "{told}"
    );
    assert_eq!(value("snap_check_ok{command=\"check\"}"), Some(0.0));
    assert_eq!(value("snap_last_faults{command=\"check\"}"), Some(1.0));
    assert_eq!(
        value("snap_last_success_timestamp_seconds{command=\"check\"}"),
        success
    );

    let third = fixture.made(&[]);
    let last = fixture.made(&[]);
    let before = fixture.metrics();
    run(&["forget", "-keep-last", "1", "-dry-run", &dir], 0);
    assert!(
        !fixture.path("told").exists() && fixture.metrics() == before,
        "a dry run has nothing to follow it"
    );
    run(&["forget", "-keep-last", "1", &dir], 0);
    assert_eq!(fixture.told(), format!("forget|0||{first} {third}||"));
    // The set of the metastore alone is a group of its own.
    assert_eq!(
        value("snap_sets{command=\"forget\",state=\"kept\"}"),
        Some(2.0)
    );
    assert_eq!(
        value("snap_sets{command=\"forget\",state=\"removed\"}"),
        Some(2.0)
    );
    assert_eq!(value("snap_last_files{command=\"forget\"}"), Some(6.0));
    assert!(
        value("snap_last_bytes{command=\"forget\"}").is_some_and(|bytes| bytes > 512.0),
        "{}",
        fixture.metrics()
    );
    run(&["forget", "-keep-last", "1", &dir], 0);
    assert_eq!(fixture.told(), "forget|0||||");
    run(&["check", "-max-age", "1h", &dir], 0);
    assert_eq!(fixture.told(), format!("check|0|{last}|unset||"));
}

#[test]
fn runs_that_fail_before_they_begin_are_followed_too() {
    let fixture = two_shards();
    fixture.made(&[]);
    let dir = utf8(&fixture.path("backup")).to_owned();
    let lock = fixture.path("backup/.snap/lock");
    let held = Lock::take(&lock, Duration::ZERO, &Cancel::default()).expect("the lock");
    let host = fixture.peer.host();
    let cases: [(&[&str], u8, &str); 9] = [
        (
            &[
                "backup",
                "-host",
                &host,
                "-since",
                "1h",
                "-start",
                "2020-01-01",
                &dir,
            ],
            2,
            "-since cannot go with -start",
        ),
        (&["restore", &dir], 2, "restore needs to know where to"),
        (&["forget", &dir], 2, "the policy keeps no set at all"),
        (&["backup", "-host", &host, &dir], 11, "is locked by "),
        (&["forget", "-keep-last", "1", &dir], 11, "is locked by "),
        (
            &["restore", "-metadir", "m", "nowhere"],
            10,
            "there is no backup directory nowhere",
        ),
        (
            &["verify", "nowhere"],
            10,
            "there is no backup directory nowhere",
        ),
        (
            &["check", "-max-age", "1h", "nowhere"],
            10,
            "there is no backup directory nowhere",
        ),
        (
            &["forget", "-keep-last", "1", "nowhere"],
            10,
            "there is no backup directory nowhere",
        ),
    ];
    for (args, code, why) in cases {
        fixture
            .run(&[&args[..1], &FOLLOWED, &args[1..]].concat())
            .expect(code.into());
        let told = fixture.told();
        assert!(
            told.starts_with(&format!("{}|{code}||unset|", args[0])) && told.contains(why),
            "{args:?}: {told}"
        );
        let labels = format!("{{command=\"{}\"}}", args[0]);
        assert_eq!(
            metric(&fixture.metrics(), &format!("snap_last_exit_code{labels}")),
            Some(code.into()),
            "{args:?}"
        );
    }
    assert_eq!(
        metric(&fixture.metrics(), "snap_check_ok{command=\"check\"}"),
        Some(0.0)
    );
    drop(held);
}

#[test]
fn an_interrupted_run_is_followed_too() {
    let fixture = two_shards();
    for (signal, code) in [(libc::SIGINT, 130), (libc::SIGTERM, 143)] {
        fixture.peer.script(Asked::Shard(1), [Reply::Stall(100)]);
        let before = fixture.peer.shard_requests().len();
        let running = fixture.prepare_for(&fixture.peer.host(), &FOLLOWED).spawn();
        wait_for(|| (fixture.peer.shard_requests().len() > before).then_some(()))
            .expect("a shard is asked for");
        running.signal(signal);
        running.wait().expect(code);
        assert!(
            fixture
                .told()
                .starts_with(&format!("backup|{code}||unset|"))
        );
        assert_eq!(
            metric(
                &fixture.metrics(),
                "snap_last_exit_code{command=\"backup\"}"
            ),
            Some(code.into())
        );
    }
}

#[test]
fn what_a_command_prints_goes_to_standard_error_whatever_it_is() {
    let fixture = two_shards();
    let print = "printf '\\377\\376'; head -c 1000000 /dev/zero | tr '\\0' x";
    for (flags, code) in [
        (&["-json"][..], 0),
        (&["-quiet"], 0),
        (&["-json", "-database", "none"], 1),
    ] {
        let run = fixture
            .backup_once(&[flags, &["-on-success", print, "-on-failure", print]].concat())
            .expect(code);
        assert!(
            run.stderr.starts_with("\u{fffd}\u{fffd}xxx") && run.stderr.len() > 1_000_000,
            "{flags:?}"
        );
        run.stdout
            .lines()
            .for_each(|line| drop(serde_json::from_str::<Value>(line).expect("JSON")));
        assert_eq!(run.stdout.is_empty(), flags == ["-quiet"], "{}", run.stdout);
    }
}

#[test]
fn a_stop_reaches_the_command_that_is_waited_for_and_what_it_runs_and_ends_those_that_do_not_heed_it()
 {
    for ignores in ["", "trap '' TERM; "] {
        let fixture = two_shards();
        let command = format!("{ignores}touch begun; sleep 60; sleep 60");
        let running = fixture
            .prepare_for(
                &fixture.peer.host(),
                &["-on-success", &command, "-metrics-file", "snap.prom"],
            )
            .spawn();
        wait_for(|| fixture.path("begun").exists().then_some(())).expect("the command runs");
        let early = fixture.metrics();
        assert_eq!(
            metric(&early, "snap_last_exit_code{command=\"backup\"}"),
            Some(0.0),
            "metrics do not wait for the command"
        );
        let asked = Instant::now();
        running.signal(libc::SIGTERM);
        // That includes the end of standard error, which all that the command runs holds open.
        running.wait().expect(143);
        assert!(
            asked.elapsed() < Duration::from_secs(40),
            "{ignores}: {:?}",
            asked.elapsed()
        );
        let late = fixture.metrics();
        assert_eq!(
            metric(&late, "snap_last_exit_code{command=\"backup\"}"),
            Some(143.0)
        );
        let name = "snap_last_success_timestamp_seconds{command=\"backup\"}";
        assert_eq!(metric(&late, name), metric(&early, name));
    }
}

#[test]
fn a_session_that_ends_stops_a_run_as_sigterm_does_and_nohup_keeps_it_going() {
    let stalled = || {
        let fixture = two_shards();
        fixture
            .peer
            .script(Asked::Shard(2), [Reply::Stall(700), Reply::Whole]);
        let flags = [
            "-on-failure",
            "echo $SNAP_EXIT_CODE > failed",
            "-metrics-file",
            "snap.prom",
            "-retries",
            "3",
        ];
        (
            fixture.prepare_for(
                &fixture.peer.host(),
                &[&flags[..], &["-idle-timeout", "5s"]].concat(),
            ),
            fixture,
        )
    };
    let begun = |fixture: &Fixture| {
        wait_for(|| (fixture.peer.shard_requests().len() >= 2).then_some(()))
            .expect("two downloads");
    };

    let (snap, fixture) = stalled();
    let running = snap.spawn();
    begun(&fixture);
    // The kernel and the shell both send it.
    running.signal(libc::SIGHUP);
    running.signal(libc::SIGHUP);
    let run = running.wait().expect(129);
    assert!(run.stderr.contains("SIGHUP"), "{}", run.stderr);
    let told = fs::read_to_string(fixture.path("failed")).expect("the command ran");
    assert_eq!(told, "129\n");
    let name = "snap_last_exit_code{command=\"backup\"}";
    assert_eq!(metric(&fixture.metrics(), name), Some(129.0));
    assert!(!fixture.path("backup").exists() || tree::names(&fixture.path("backup")) == [".snap"]);

    // Ignored by whoever began it: Ctrl-C in the background of a script too.
    for (name, signal) in [("HUP", libc::SIGHUP), ("INT", libc::SIGINT)] {
        let (snap, fixture) = stalled();
        let running = snap.ignoring(name).spawn();
        begun(&fixture);
        running.signal(signal);
        running.wait().expect(0);
    }
}

#[test]
fn a_run_whose_terminal_has_gone_ends_as_if_somebody_read_it() {
    let fixture = two_shards();
    let terminal = terminal_that_has_gone();
    let write = (&File::from(terminal.try_clone().expect("a descriptor"))).write_all(b"x");
    assert_eq!(write.unwrap_err().raw_os_error(), Some(libc::EIO));
    let (host, dir) = (fixture.peer.host(), fixture.path("backup"));
    for json in [&[][..], &["-json"]] {
        let ends = || Stdio::from(terminal.try_clone().expect("a descriptor"));
        let status = Command::new(env!("CARGO_BIN_EXE_snap"))
            .args(["backup", "-host", &host, "-metrics-file", "snap.prom"])
            .args(json)
            .arg(&dir)
            .env("SNAP_CONFIG", "")
            .current_dir(fixture.folder.path())
            .stdin(Stdio::null())
            .stdout(ends())
            .stderr(ends())
            .status()
            .expect("snap starts");
        assert_eq!(status.code(), Some(0), "{json:?}");
        let name = "snap_last_exit_code{command=\"backup\"}";
        assert_eq!(metric(&fixture.metrics(), name), Some(0.0));
    }
}

#[test]
fn a_command_before_the_run_goes_first_and_where_it_fails_nothing_else_is_done() {
    let fixture = two_shards();
    let tell = "printf '%s|' \"$SNAP_COMMAND\" \"$SNAP_DIRECTORY\" \"$SNAP_HOST\" \"${SNAP_SET-unset}\" \"${SNAP_EXIT_CODE-unset}\" > told";
    fixture.backup_once(&["-on-start", tell]).expect(0);
    let (dir, host) = (fixture.path("backup"), fixture.peer.host());
    let known = format!("backup|{}|{host}|unset|unset|", dir.display());
    assert_eq!(fixture.told(), known);
    fixture
        .backup_once(&["-on-start", tell, "-dry-run"])
        .expect(0);
    assert!(
        !fixture.path("told").exists(),
        "before a dry run nothing is done"
    );

    let asked = fixture.peer.requests().len();
    let flags = [&FOLLOWED[..], &["-on-start", "exit 3"]].concat();
    let run = fixture.backup_once(&flags).expect(1);
    let error = "the command of -on-start failed: exit status: 3; snap backup did not begin";
    assert!(
        run.stderr.contains(&format!("snap: {error}\n")),
        "{}",
        run.stderr
    );
    assert_eq!(fixture.peer.requests().len(), asked, "the server was asked");
    assert_eq!(fixture.told(), format!("backup|1||unset|{error}|"));
    let code = metric(
        &fixture.metrics(),
        "snap_last_exit_code{command=\"backup\"}",
    );
    assert_eq!(code, Some(1.0));

    // Nor where a stop was asked for meanwhile.
    let running = fixture
        .prepare_for(&host, &["-on-start", "touch begun; sleep 60"])
        .spawn();
    wait_for(|| fixture.path("begun").exists().then_some(())).expect("a hook that was run");
    running.signal(libc::SIGINT);
    let run = running.wait().expect(130);
    assert!(run.wall < Duration::from_secs(30), "{:?}", run.wall);
    assert_eq!(fixture.peer.requests().len(), asked, "the server was asked");
}

#[test]
fn a_command_that_takes_too_long_is_stopped_with_all_that_it_runs() {
    let fixture = two_shards();
    // It heeds no signal; what it runs does.
    let stubborn = "trap '' TERM; (trap - TERM; sleep 60; touch late) & wait $!; sleep 1";
    let flags = ["-hook-timeout", "1s", "-on-success", stubborn];
    let run = fixture.backup_once(&flags).expect(1);
    assert!(run.wall < Duration::from_secs(30), "{:?}", run.wall);
    let why = "took longer than 1s (-hook-timeout) and was stopped, with all that it ran";
    let error = format!("the backup is done and whole, but the command of -on-success {why}");
    assert!(run.stderr.contains(&error), "{}", run.stderr);
    assert!(!fixture.path("late").exists());

    // It ends at once, and what it runs heeds no signal.
    let outlived = "(trap '' TERM; sleep 60; touch late) & wait";
    let flags = ["-hook-timeout", "1s", "-on-success", outlived];
    let run = fixture.backup_once(&flags).expect(1);
    assert!(run.stderr.contains(&error), "{}", run.stderr);
    assert!(
        run.wall > Duration::from_secs(5) && run.wall < Duration::from_secs(40),
        "{:?}",
        run.wall
    );
    assert!(!fixture.path("late").exists());

    let flags = ["-hook-timeout", "1s", "-on-failure", "sleep 60"];
    let run = fixture.prepare_for(&nobody(), &flags).run().expect(5);
    let warning = format!("warning: the command of -on-failure {why}");
    assert!(run.stderr.contains(&warning), "{}", run.stderr);
}
