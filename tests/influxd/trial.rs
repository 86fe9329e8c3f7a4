//! `snap verify -restore` finds that a set comes back as it was backed up, with a real influxd and
//! without one, and leaves nothing behind.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::damage::damage;
use crate::support::data::{delete_some, flush, load_sample};
use crate::support::influxd::{Index, Influxd, influxd_binary};
use crate::support::process::{Run, Snap, backup};
use crate::support::{folder, tools, tree, utf8};

/// How long what is waited for may take.
const PATIENCE: Duration = Duration::from_secs(60);

/// A directory for temporary files, and backups beside it.
struct Place {
    folder: TempDir,
}

impl Place {
    fn new() -> Self {
        let folder = folder();
        fs::create_dir(folder.path().join("tmp")).expect("a directory");
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn verify(&self, dir: &Path, flags: &[&str]) -> Snap {
        let snap = Snap::new(["verify", "-restore"]);
        snap.args(flags).args([dir]).env("TMPDIR", self.path("tmp"))
    }

    /// Verifies with `-json`: the line of the restore, and the summary.
    fn told(&self, dir: &Path, flags: &[&str], code: i32) -> (Value, Value) {
        let flags = [&["-json"], flags].concat();
        let run = self.verify(dir, &flags).run().expect(code);
        self.expect_nothing_left();
        let lines = run.messages();
        let mut restored = lines.iter();
        let restored = restored.find(|line| line["message_type"] == "restored");
        let restored = restored.unwrap_or_else(|| panic!("{}", run.stdout));
        (restored.clone(), run.last_message())
    }

    #[track_caller]
    fn expect_nothing_left(&self) {
        assert_eq!(tree::names(&self.path("tmp")), [""; 0]);
    }

    /// A program in place of influxd.
    fn program(&self, script: &str) -> PathBuf {
        let path = self.path("program");
        fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("a mode");
        path
    }
}

/// A tool, a layout and its flags; the state of what is restored, and the exit code.
type BackupRun = (
    &'static str,
    &'static str,
    &'static [&'static str],
    (&'static str, i32),
);

/// Whether a process is there.
fn is_running(pid: &str) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // One that nobody waited for has ended all the same.
    stat.rsplit_once(") ")
        .is_some_and(|(_, rest)| !rest.starts_with('Z'))
}

#[track_caller]
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    let began = Instant::now();
    while !is_so() {
        assert!(began.elapsed() < PATIENCE, "never {what}");
        thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn sets_of_either_tool_come_back_the_same_with_an_influxd_and_without() {
    let place = Place::new();
    let server = Influxd::start(&place.path("source"), Index::Tsi1);
    load_sample(&server);
    let host = server.host();
    let influxd = influxd_binary();
    let with_influxd = ["-influxd", utf8(&influxd)];
    // influxd's client writes one database into the legacy layout, and the others are missing.
    let runs: [BackupRun; 4] = [
        ("snap", "legacy", &[], ("same", 0)),
        ("snap", "portable", &["-portable"], ("same", 0)),
        (
            "influxd",
            "legacy",
            &["-database", "plain"],
            ("incomplete", 3),
        ),
        ("influxd", "portable", &["-portable"], ("same", 0)),
    ];
    for (tool, layout, flags, (state, code)) in runs {
        let dir = place.path(&format!("{tool}_{layout}"));
        tools::run(
            tool,
            &[&["backup", "-host", &host], flags, &[utf8(&dir)]].concat(),
        );
        let (alone, summary) = place.told(&dir, &[], code);
        assert_eq!(
            (&alone["state"], &summary["restored"], &alone["influxd"]),
            (&state.into(), &(code == 0).into(), &Value::Null)
        );
        let (served, _) = place.told(&dir, &with_influxd, code);
        assert_eq!(served["state"], state);
        for count in ["shards", "files", "series_count", "same_point_count"] {
            assert!(served[count].as_u64() > Some(0), "{served}");
            assert_eq!(served[count], alone[count], "{tool} {layout}: {count}");
        }
    }

    // A chain: increments, deletes and points that came since.
    let dir = place.path("chain");
    backup(&host, &[], &dir).run().expect(0);
    delete_some(&server);
    server.execute("CREATE DATABASE late");
    server.write("late", "", "m v=1i 1000000000000000000");
    flush(&server);
    thread::sleep(Duration::from_millis(1100));
    backup(&host, &["-incremental"], &dir).run().expect(0);
    thread::sleep(Duration::from_millis(1100));
    backup(&host, &["-since", "last"], &dir).run().expect(0);
    for flags in [&[][..], &with_influxd] {
        let (restored, _) = place.told(&dir, flags, 0);
        assert_eq!(restored["state"], "same", "{restored}");
    }
    let run = place
        .verify(&dir, &with_influxd)
        .args(["latest"])
        .run()
        .expect(0);
    let told = "restored and the same: ";
    assert!(run.stdout.starts_with(told), "{}", run.stdout);
}

#[test]
fn a_set_of_one_database_comes_back_without_a_word_of_the_others() {
    let place = Place::new();
    let server = Influxd::start(&place.path("source"), Index::Inmem);
    load_sample(&server);
    server.execute("CREATE DATABASE empty");
    let dir = place.path("backup");
    let of_one = ["-database", "plain"];
    backup(&server.host(), &of_one, &dir).run().expect(0);
    let influxd = influxd_binary();
    let run = place.verify(&dir, &["-quiet", "-influxd", utf8(&influxd)]);
    let run = run.run().expect(0);
    assert_eq!((&*run.stdout, &*run.stderr), ("", ""));
}

#[test]
fn what_does_not_come_back_is_told_and_the_exit_code_is_not_0() {
    let place = Place::new();
    let server = Influxd::start(&place.path("source"), Index::Inmem);
    server.execute("CREATE DATABASE d WITH SHARD DURATION 1d");
    server.write(
        "d",
        "",
        "m v=1i 1000000000000000000\nm v=2i 1100000000000000000",
    );
    let dir = place.path("backup");
    backup(&server.host(), &[], &dir).run().expect(0);
    let shard = |id: u64| dir.join(format!("d.autogen.0000{id}.00"));
    let whole = fs::read(shard(1)).expect("a file of a shard");

    // A server that loses a shard.
    let influxd = influxd_binary();
    let loses = place.program(&format!(
        r#"rm -r "$(dirname "$3")/data/d/autogen/2"; exec {} "$@""#,
        influxd.display()
    ));
    let (restored, summary) = place.told(&dir, &["-influxd", utf8(&loses)], 3);
    let told =
        ["state", "same_point_count", "only_in_a_point_count"].map(|name| restored[name].clone());
    assert_eq!(told, [json!("different"), json!(1), json!(1)], "{restored}");
    assert_eq!(summary["restored"], false);

    damage(&shard(1), "flipped");
    let run = place.verify(&dir, &[]).run().expect(4);
    let last = run.stdout.lines().last().expect("a line");
    let told = "not restored; in the files, 1 fault in 1 set: ";
    assert!(last.starts_with(told), "{}", run.stdout);
    let (restored, summary) = place.told(&dir, &[], 4);
    assert_eq!(restored["state"], "not_restored");
    assert_eq!(
        (&summary["restored"], &summary["faults"]),
        (&false.into(), &1.into())
    );

    fs::remove_file(shard(1)).expect("a file");
    let (restored, _) = place.told(&dir, &[], 4);
    let told = ["state", "same_point_count"].map(|name| restored[name].clone());
    assert_eq!(told, [json!("incomplete"), json!(1)], "{restored}");
    fs::write(shard(1), whole).expect("a file");

    // Programs that are no influxd.
    let expect_failed = |program: &Path, says: &str| {
        let run: Run = place
            .verify(&dir, &["-influxd", utf8(program)])
            .run()
            .expect(1);
        assert!(run.stderr.contains(says), "{}", run.stderr);
        place.expect_nothing_left();
    };
    expect_failed(
        &place.program("echo run: bad config; exit 3"),
        "run: bad config",
    );
    expect_failed(Path::new("/nowhere/influxd"), "/nowhere/influxd");
}

#[test]
fn a_run_that_is_stopped_leaves_nothing_and_one_that_is_killed_says_what_it_left() {
    let place = Place::new();
    let server = Influxd::start(&place.path("source"), Index::Inmem);
    server.execute("CREATE DATABASE d");
    server.write("d", "", "m v=1i 1000000000000000000");
    let dir = place.path("backup");
    backup(&server.host(), &[], &dir).run().expect(0);
    let pid = place.path("pid");
    // It never answers, and what it is asked for is written down when it is whole.
    let program = place.program(&format!(
        "echo $$ >{0}.new; mv {0}.new {0}; exec sleep 600",
        pid.display()
    ));
    for (signal, code) in [
        (libc::SIGINT, Some(130)),
        (libc::SIGTERM, Some(143)),
        (libc::SIGKILL, None),
    ] {
        let run = place.verify(&dir, &["-influxd", utf8(&program)]).spawn();
        wait_until("started", || pid.exists());
        let started = fs::read_to_string(&pid).expect("a process id");
        fs::remove_file(&pid).expect("a file");
        assert!(is_running(started.trim()));
        run.signal(signal);
        assert_eq!(run.wait().code, code);
        wait_until("ended", || !is_running(started.trim()));
        if signal != libc::SIGKILL {
            place.expect_nothing_left();
        }
    }
    let left: Vec<_> = fs::read_dir(place.path("tmp"))
        .expect("a directory")
        .map(|entry| entry.expect("an entry").path())
        .collect();
    let [left] = &left[..] else {
        panic!("{left:?}");
    };
    let name = left.file_name().and_then(|name| name.to_str());
    assert!(name.is_some_and(|name| name.starts_with("snap-verify-restore-")));
    let readme = fs::read_to_string(left.join("README")).expect("a text");
    assert!(readme.contains("snap verify -restore"), "{readme}");
}
