//! A run that is killed, or to which the disk says no, at any of the steps by which it changes its
//! directory: what is left is a backup or it is none, for snap and for influxd, and the next run is
//! right.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::support::backups::{files_of, messages, record};
use crate::support::fixture::Fixture;
use crate::support::peer::{Member, Model, Tar, Version, tar, tsm};
use crate::support::process::{Run, Snap, snap};
use crate::support::time::HOUR;
use crate::support::{each, tree, utf8};
use influx_snap::tsm::values::{Points, ValueType, Values};
use influx_snap::tsm::writer::Writer;
use serde_json::Value;

/// The shards of the server.
const SHARDS: [u64; 3] = [1, 2, 30];

/// A run that is to end at each of its steps, and the server and the directory that it is a run of.
struct SteppedRun {
    fixture: Fixture,
    /// The command and the flags of that run.
    args: &'static [&'static str],
    /// The sets that are there before it.
    sets: BTreeSet<String>,
}

/// A shard's only file; they differ by generation.
fn shard_tar(id: u64, generation: u64) -> Tar {
    Tar::Bytes(tar(&[Member::new(
        format!("db/autogen/{id}/{generation:09}-000000001.tsm"),
        tsm(id + 1000 * generation, 900),
    )]))
}

impl SteppedRun {
    /// One whose directory was made by runs with these flags.
    fn new(before: &[&[&str]], args: &'static [&'static str]) -> Self {
        let shards = SHARDS.map(|id| ("db", "autogen", id));
        let mut model = Model::new(Version::V1_6, &shards);
        for id in SHARDS {
            model.shard(id).tar = shard_tar(id, 1);
        }
        Self::of(model, before, args)
    }

    /// The same of another server.
    fn of(model: Model, before: &[&[&str]], args: &'static [&'static str]) -> Self {
        let mut run = Self {
            fixture: Fixture::new(model),
            args,
            sets: BTreeSet::new(),
        };
        for flags in before {
            let args = [&["backup"][..], flags].concat();
            run.prepare(&args, &run.model()).run().expect(0);
        }
        run.sets = sets(&run.model()).into_keys().collect();
        run
    }

    fn model(&self) -> PathBuf {
        self.fixture.path("model")
    }

    /// A directory like the model, with its hard links.
    fn copy(&self, name: &str) -> PathBuf {
        let copy = self.fixture.path(name);
        if self.model().exists() {
            let copied = Command::new("cp")
                .arg("-a")
                .args([&self.model(), &copy])
                .status()
                .expect("cp");
            assert!(copied.success(), "cp: {copied}");
        }
        copy
    }

    fn prepare(&self, args: &[&str], dir: &Path) -> Snap {
        let dir = utf8(dir);
        match args[0] {
            "backup" => {
                let host = self.fixture.peer.host();
                let common = ["-jobs", "1", "-retries", "0", "-host", &host, dir];
                Snap::new([args, &common].concat())
            }
            _ => Snap::new([args, &[dir]].concat()),
        }
    }

    /// How many steps the run has, and what they are.
    fn steps(&self) -> Vec<String> {
        let (dir, log) = (self.copy("steps"), self.fixture.path("log"));
        self.prepare(self.args, &dir)
            .env("SNAP_FAILPOINT_LOG", &log)
            .run()
            .expect(0);
        fs::read_to_string(log)
            .expect("a log of steps")
            .lines()
            .map(str::to_owned)
            .collect()
    }

    /// Runs it in every way in which it can end early, and then once more.
    fn end_at_every_step(&self) {
        let steps = self.steps().len();
        assert!(steps > 8, "{steps} steps");
        let how = ["kill", "fail", "fail-from"];
        each(
            (1..=steps).flat_map(|step| how.map(|how| (how, step))),
            |(how, step)| {
                let dir = self.copy(&format!("{how}{step}"));
                let before = if dir.exists() {
                    tree::files(&dir)
                } else {
                    BTreeMap::new()
                };
                let run = self
                    .prepare(self.args, &dir)
                    .env("SNAP_FAILPOINT", format!("{how}:{step}"))
                    .run();
                assert_eq!(run.signal.is_some(), *how == "kill", "{run:?}");
                if *how != "kill" {
                    assert!(matches!(run.code, Some(0 | 1)), "{run:?}");
                }
                self.expect_right(&dir, &before, &run);
                let again = self.prepare(self.args, &dir).run().expect(0);
                let sets = self.expect_right(&dir, &before, &again);
                expect_swept(&dir, &sets, &[]);
            },
        );
    }

    /// Panics unless all that looks like a set is one, as it was made. The sets that there are.
    fn expect_right(&self, dir: &Path, before: &BTreeMap<String, Vec<u8>>, run: &Run) -> Sets {
        let after = if dir.exists() {
            tree::files(dir)
        } else {
            BTreeMap::new()
        };
        let sets = sets(dir);
        if sets.is_empty() {
            verify(dir).expect(10);
        } else {
            verify(dir).expect(0);
        }
        for (set, files) in &sets {
            for name in files {
                assert!(after.contains_key(name), "{name} of {set} is not there");
                if self.sets.contains(set) {
                    assert!(
                        after[name] == before[name],
                        "{name} of {set} is not as it was"
                    );
                }
            }
        }
        expect_no_trap(&after, &sets);
        match self.args[0] {
            "backup" => {
                let kept = self.sets.iter().all(|set| sets.contains_key(set));
                assert!(
                    kept,
                    "{:?} were there, and now {:?}",
                    self.sets,
                    sets.keys()
                );
                let made = sets.len() - self.sets.len();
                match run.code {
                    Some(0) => assert!(made >= 1, "a run ended well without a set: {run:?}"),
                    // What the disk does not let go of is said.
                    Some(_)
                        if run
                            .stderr
                            .contains(" is whole, but may not outlast a power failure") =>
                    {
                        assert_eq!(made, 1)
                    }
                    Some(_) => assert_eq!(made, 0, "a run failed and made a set: {run:?}"),
                    None => assert!(made <= 1),
                }
            }
            _ => {
                assert!(sets.keys().all(|set| self.sets.contains(set)));
                assert!(
                    sets.contains_key(self.sets.last().expect("a set")),
                    "the last set is gone"
                );
                if run.code == Some(0) {
                    assert_eq!(sets.len(), 1, "{run:?}");
                }
            }
        }
        sets
    }
}

/// Panics unless nothing is left but sets and hidden files with these endings.
fn expect_swept(dir: &Path, sets: &Sets, endings: &[&str]) {
    let is_other = |name: &str| !endings.iter().any(|ending| name.ends_with(ending));
    let mut expected: BTreeSet<String> = sets.values().flatten().cloned().collect();
    expected.extend(sets.keys().map(|set| format!(".snap/{set}.json")));
    expected.insert(".snap/lock".to_owned());
    let found = tree::files(dir).into_keys();
    let found: BTreeSet<String> = found.filter(|name| is_other(name)).collect();
    assert_eq!(found, expected);
    let hidden = tree::names(&dir.join(".snap"));
    assert!(
        hidden
            .iter()
            .filter(|name| is_other(name))
            .all(|name| name == "lock" || name.ends_with(".json")),
        "{hidden:?}"
    );
}

/// The files of sets, by their ids.
type Sets = BTreeMap<String, Vec<String>>;

/// The sets that `list` shows, each with its files: all complete, and each with a record.
fn sets(dir: &Path) -> Sets {
    let listed = snap(["list", "-json", utf8(dir)]);
    if listed.code == Some(10) {
        return BTreeMap::new();
    }
    let sets = messages(&listed.expect(0), "set");
    let with_files = sets.iter().map(|set| {
        assert_eq!(set["state"], "complete", "{set}");
        let id = set["set"].as_str().expect("an id").to_owned();
        let files = files_of(&record(dir, &id));
        (id, files)
    });
    with_files.collect()
}

fn verify(dir: &Path) -> Run {
    snap(["verify", "-quiet", utf8(dir)])
}

/// Panics where influxd takes something for a backup that is not whole: it looks for metastores
/// and manifests.
fn expect_no_trap(files: &BTreeMap<String, Vec<u8>>, sets: &Sets) {
    let of_sets: BTreeSet<&String> = sets.values().flatten().collect();
    for (name, content) in files.iter().filter(|(name, _)| !of_sets.contains(name)) {
        if let Some(number) = name.strip_prefix("meta.") {
            let shards = SHARDS.map(|id| format!("db.autogen.{id:05}.{number}"));
            assert!(
                shards.iter().all(|shard| files.contains_key(shard)),
                "{name} without its shards: {:?}",
                files.keys()
            );
        }
        if name.ends_with(".manifest") {
            let manifest: Value = serde_json::from_slice(content).expect("a manifest in JSON");
            let shards = manifest["files"]
                .as_array()
                .expect("files")
                .iter()
                .chain([&manifest["meta"]]);
            for file in shards {
                assert!(
                    files.contains_key(file["fileName"].as_str().expect("a name")),
                    "{name} names {file}"
                );
            }
        }
    }
}

#[test]
fn a_first_backup_leaves_a_set_or_nothing() {
    SteppedRun::new(&[], &["backup"]).end_at_every_step();
}

#[test]
fn a_legacy_backup_leaves_a_set_or_nothing_and_the_others_as_they_were() {
    SteppedRun::new(&[&[], &["-portable"]], &["backup"]).end_at_every_step();
}

#[test]
fn a_portable_backup_leaves_a_set_or_nothing_and_the_others_as_they_were() {
    SteppedRun::new(&[&[], &["-portable"]], &["backup", "-portable"]).end_at_every_step();
}

#[test]
fn an_incremental_backup_leaves_a_set_or_nothing_and_the_set_it_shares_with_as_it_was() {
    let stepped = SteppedRun::new(
        &[&["-portable", "-incremental"]],
        &["backup", "-portable", "-incremental"],
    );
    stepped.end_at_every_step();
    assert!(
        stepped.steps().iter().any(|step| step.starts_with("link ")),
        "{:?}",
        stepped.steps()
    );
}

#[test]
fn a_backup_with_resume_leaves_a_set_or_what_the_next_takes_over() {
    let stepped = SteppedRun::new(&[&[]], &["backup", "-resume"]);
    stepped.end_at_every_step();
    let named = stepped
        .steps()
        .iter()
        .position(|step| step.ends_with(".commit"))
        .expect("an intent");
    for how in ["kill", "fail"] {
        let dir = stepped.copy(&format!("last_{how}"));
        let failpoint = format!("{how}:{}", named + 1);
        stepped
            .prepare(stepped.args, &dir)
            .env("SNAP_FAILPOINT", failpoint)
            .run();
        let requests = stepped.fixture.peer.shard_requests().len();
        let again = stepped.prepare(stepped.args, &dir).run().expect(0);
        assert!(
            again
                .stderr
                .contains("3 shards taken over from an earlier run"),
            "{}",
            again.stderr
        );
        let asked = stepped.fixture.peer.shard_requests().split_off(requests);
        assert_eq!(asked.len(), 2 * SHARDS.len(), "{asked:?}");
        assert!(
            asked.iter().all(|text| text.contains("\"2024-01-15T0")),
            "a shard was downloaded again: {asked:?}"
        );
    }
}

#[test]
fn a_removal_leaves_whole_sets_and_the_next_ends_it() {
    let incremental: &[&str] = &["-incremental"];
    let portable: &[&str] = &["-incremental", "-portable"];
    SteppedRun::new(
        &[incremental, incremental, incremental],
        &["forget", "-keep-last", "1"],
    )
    .end_at_every_step();
    SteppedRun::new(
        &[portable, portable, portable],
        &["forget", "-keep-last", "1"],
    )
    .end_at_every_step();
}

#[test]
fn of_a_removal_that_goes_on_no_warning_tells_and_asking_is_in_nobody_s_way() {
    let stepped = SteppedRun::new(&[&[], &[]], &["forget", "-keep-last", "1"]);
    let steps = stepped.steps().len();
    let mut half_removed = 0;
    for step in 1..=steps {
        let dir = stepped.copy(&format!("stop{step}"));
        let forget = stepped
            .prepare(stepped.args, &dir)
            .env("SNAP_FAILPOINT", format!("stop:{step}"))
            .spawn();
        forget.wait_until_stopped();
        let is_half = tree::names(&dir.join(".snap"))
            .iter()
            .any(|name| name.ends_with(".forget"));
        half_removed += usize::from(is_half);
        let list = snap(["list", utf8(&dir)]).expect(0);
        assert!(!list.stderr.contains("half removed"), "{list:?}");
        forget.signal(libc::SIGCONT);
        forget.wait().expect(0);
        assert_eq!(sets(&dir).len(), 1);
    }
    assert!(half_removed > 4, "{half_removed} of {steps} steps");
    let dir = stepped.copy("killed");
    let killed = stepped
        .prepare(stepped.args, &dir)
        .env("SNAP_FAILPOINT", format!("kill:{}", steps - 2));
    assert!(killed.run().signal.is_some());
    let list = snap(["list", utf8(&dir)]).expect(0);
    assert!(list.stderr.contains("is half removed"), "{list:?}");
}

#[test]
fn what_a_record_names_is_on_the_disk_before_the_record_is() {
    for flags in [&["backup"][..], &["backup", "-portable"]] {
        let stepped = SteppedRun::new(&[], flags);
        let steps = stepped.steps();
        let place = |what: &dyn Fn(&str) -> bool| steps.iter().position(|step| what(step));
        let record = place(&|step| step.starts_with("rename ") && step.ends_with(".json"))
            .expect("a record");
        let intent = place(&|step| step.starts_with("rename ") && step.ends_with(".commit"))
            .expect("an intent");
        let dir = stepped.fixture.path("steps");
        let visible = |step: &str| {
            let path = step.strip_prefix("rename ").map(Path::new);
            path.is_some_and(|path| path.parent() == Some(&dir))
        };
        let named: Vec<usize> = (0..steps.len()).filter(|at| visible(&steps[*at])).collect();
        let files = SHARDS.len() + if flags.len() > 1 { 2 } else { 1 };
        assert_eq!(named.len(), files, "{steps:?}");
        let last = if flags.len() > 1 {
            ".manifest"
        } else {
            "meta.00"
        };
        assert!(steps[named[files - 1]].ends_with(last), "{steps:?}");
        // The intent and its name, then the names, then that they last, then the record and its
        // name.
        let synced = |path: &Path, between: std::ops::Range<usize>| {
            steps[between]
                .iter()
                .any(|step| *step == format!("sync {}", path.display()))
        };
        assert!(synced(&dir.join(".snap"), intent..named[0]), "{steps:?}");
        assert!(synced(&dir, named[files - 1]..record), "{steps:?}");
        assert!(synced(&dir.join(".snap"), record..steps.len()), "{steps:?}");
        let contents = steps[..intent]
            .iter()
            .filter(|step| step.starts_with("sync ") && step.contains(".files/.tmp"));
        assert_eq!(contents.count(), files, "{steps:?}");
    }
}

/// What lies in the directories of a server, but for what restores hide there.
fn restored(target: &Path) -> BTreeMap<String, Vec<u8>> {
    let mut files = if target.exists() {
        tree::files(target)
    } else {
        BTreeMap::new()
    };
    files.retain(|name, _| !name.contains("/.snap-restore/"));
    files
}

/// Writes a file of the WAL of shard 1, as influxd does.
fn write_wal(target: &Path, name: &str) {
    let folder = target.join("wal/db/autogen/1");
    fs::create_dir_all(&folder).expect("a WAL directory");
    fs::write(folder.join(name), name).expect("a WAL file");
}

/// A restore of `stepped` into a target that was made by `before`, which ends early in every way,
/// and is then run once more.
fn restore_at_every_step(stepped: &SteppedRun, before: Option<&SteppedRun>, flags: &[&str]) {
    let root = stepped.fixture.folder.path();
    let prepare = |from: &SteppedRun, target: &Path, flags: &[&str]| {
        let (meta, data) = (target.join("meta"), target.join("data"));
        let place = [
            "-metadir".as_ref(),
            meta.as_os_str(),
            "-datadir".as_ref(),
            data.as_os_str(),
        ];
        Snap::new(["restore", "-quiet", "-jobs", "1"])
            .args(place)
            .args(flags)
            .args([from.model()])
    };
    let target = |name: &str| {
        let target = root.join(name);
        if let Some(before) = before {
            prepare(before, &target, &[]).run().expect(0);
            write_wal(&target, "_00001.wal");
        }
        target
    };
    let (whole, log) = (target("whole"), root.join("log"));
    let old = restored(&whole);
    prepare(stepped, &whole, flags)
        .env("SNAP_FAILPOINT_LOG", &log)
        .run()
        .expect(0);
    let new = restored(&whole);
    assert!(new != old && tree::names(&whole.join("data")) == ["db"]);
    let steps = fs::read_to_string(log)
        .expect("a log of steps")
        .lines()
        .count();
    assert!(steps > 20, "{steps} steps");
    let how = ["kill", "fail", "fail-from"];
    each(
        (1..=steps).flat_map(|step| how.map(|how| (how, step))),
        |(how, step)| {
            let target = target(&format!("{how}{step}"));
            let run = prepare(stepped, &target, flags)
                .env("SNAP_FAILPOINT", format!("{how}:{step}"))
                .run();
            assert_eq!(run.signal.is_some(), *how == "kill", "{run:?}");
            match run.code {
                Some(0) => assert!(
                    restored(&target) == new,
                    "a run that ended well left something else"
                ),
                // What could not be put back, the next run puts back.
                Some(1)
                    if run
                        .stderr
                        .contains("all is in its place, but may not outlast a power failure") =>
                {
                    assert!(restored(&target) == new, "{run:?}");
                }
                Some(1) if *how == "fail" => assert!(
                    restored(&target) == old,
                    "a run that failed changed the target: {run:?}"
                ),
                Some(1) | None => {}
                Some(_) => panic!("{run:?}"),
            }
            let was_done = restored(&target) == new;
            if was_done && before.is_some() {
                // An influxd that ran meanwhile.
                write_wal(&target, "_00002.wal");
            }
            let mut again = prepare(stepped, &target, flags).run();
            if again.code == Some(6) && again.stderr.contains(" was changed since") {
                // What ran meanwhile is not undone until somebody says so, in the way that is
                // named.
                assert!(
                    was_done && again.stderr.contains("to keep what is there now, remove "),
                    "{again:?}"
                );
                fs::remove_dir_all(target.join("data/.snap-restore"))
                    .expect("removing the journal");
                again = prepare(stepped, &target, flags).run();
            }
            // A target that holds all is refused as any that holds data.
            assert!(
                again.code == Some(0)
                    || (again.code == Some(6) && was_done && !flags.contains(&"-force")),
                "{run:?}, then {again:?}"
            );
            let (found, expected): (Vec<_>, Vec<_>) = (
                restored(&target).into_keys().collect(),
                new.keys().collect(),
            );
            assert!(
                restored(&target) == new,
                "{run:?}, then {again:?}: {found:?} instead of {expected:?}"
            );
            for folder in ["data", "wal"]
                .map(|name| target.join(name))
                .iter()
                .filter(|folder| folder.exists())
            {
                assert_eq!(tree::names(folder), ["db"], "{run:?}, then {again:?}");
            }
        },
    );
}

#[test]
fn a_restore_leaves_all_or_what_the_next_one_puts_right() {
    restore_at_every_step(&SteppedRun::new(&[&[]], &[]), None, &[]);
    restore_at_every_step(&SteppedRun::new(&[&["-portable"]], &[]), None, &[]);
}

/// A shard of three hours from the start of its own on, with a file of a point in each.
fn with_three_hours(mut model: Model, id: u64) -> Model {
    let shard = model.shard(id);
    shard.end = shard.start + 3 * HOUR;
    let mut writer = Writer::new(Vec::new());
    writer
        .begin_key(b"m#!~#v", ValueType::Integer)
        .expect("a key");
    let points = Points {
        times: (0..3).map(|hour| shard.start + hour * HOUR).collect(),
        values: Values::Integer(vec![1, 2, 3]),
    };
    writer.points(&points).expect("a block");
    let content = writer.finish().expect("a file").0;
    let name = format!("db/autogen/{id}/000000001-000000001.tsm");
    shard.tar = Tar::Bytes(tar(&[Member::new(name, content)]));
    model
}

#[test]
fn a_restore_that_regroups_shards_leaves_all_or_what_the_next_one_puts_right() {
    let shards = SHARDS.map(|id| ("db", "autogen", id));
    let model = || {
        let mut model = Model::new(Version::V1_6, &shards);
        for id in SHARDS {
            model.shard(id).tar = shard_tar(id, 1);
        }
        with_three_hours(model, 30)
    };
    // The first two come into one, and the third is cut.
    let flags = ["-database", "db", "-shard-duration", "4h"];
    let stepped = SteppedRun::of(model(), &[&[]], &[]);
    restore_at_every_step(&stepped, None, &flags);
    let whole = restored(&stepped.fixture.folder.path().join("whole"));
    let names = whole
        .keys()
        .filter_map(|name| name.strip_prefix("data/db/autogen/"));
    let expected = [
        "1/000000001-000000001.tsm",
        "1/000000002-000000001.tsm",
        "30/000000001-000000001.tsm",
        "31/000000001-000000001.tsm",
    ];
    assert_eq!(names.collect::<Vec<_>>(), expected);
    let old = SteppedRun::new(&[&[]], &[]);
    let flags = [&flags[..], &["-force"]].concat();
    restore_at_every_step(&SteppedRun::of(model(), &[&[]], &[]), Some(&old), &flags);
}

#[test]
fn a_restore_over_old_data_leaves_the_old_or_the_new() {
    let old = SteppedRun::new(&[], &[]);
    old.fixture.peer.change(|model| {
        for id in SHARDS {
            model.shard(id).tar = shard_tar(id, 7);
        }
    });
    old.prepare(&["backup"], &old.model()).run().expect(0);
    restore_at_every_step(&SteppedRun::new(&[&[]], &[]), Some(&old), &["-force"]);
}

/// A file system as of network storage: it syncs no directory, and has no locks.
const NETWORK_STORAGE: &str = "errno-dir-sync:EINVAL,errno-lock:ENOLCK";

/// The warnings of a run.
fn warnings(run: &Run) -> Vec<&str> {
    let lines = run.stderr.lines();
    lines.filter(|line| line.contains("warning: ")).collect()
}

#[test]
fn on_a_file_system_that_syncs_no_directory_and_has_no_locks_all_goes_on_with_one_warning_of_each()
{
    for lacking in [
        NETWORK_STORAGE,
        "errno-dir-sync:EOPNOTSUPP,errno-lock:EOPNOTSUPP",
    ] {
        let stepped = SteppedRun::new(&[&[]], &["backup"]);
        let dir = stepped.copy("storage");
        for args in [&["backup"][..], &["backup", "-portable", "-resume"]] {
            let run = stepped
                .prepare(args, &dir)
                .env("SNAP_FAILPOINT", lacking)
                .run()
                .expect(0);
            let said = warnings(&run);
            assert_eq!(said.len(), 2, "{}", run.stderr);
            assert!(said[0].contains("has no locks") && said[1].contains("sync directories"));
        }
        for args in [
            &["keep", utf8(&dir), "latest"][..],
            &["forget", "-keep-last", "1", utf8(&dir)],
            &["verify", "-quiet", utf8(&dir)],
        ] {
            Snap::new(args.iter())
                .env("SNAP_FAILPOINT", lacking)
                .run()
                .expect(0);
        }
        let left = sets(&dir);
        assert_eq!(left.len(), 1);
        expect_swept(&dir, &left, &[".keep"]);
        let target = stepped.fixture.path("target");
        let run = Snap::new(["restore"])
            .directories(&target)
            .args([&dir])
            .env("SNAP_FAILPOINT", lacking)
            .run()
            .expect(0);
        assert_eq!(warnings(&run).len(), 2, "{}", run.stderr);
        assert!(!target.join("data/.snap-restore").exists());
    }
    // A disk that fails is no file system that lacks something.
    let stepped = SteppedRun::new(&[], &["backup"]);
    for failing in ["errno-dir-sync:EIO", "errno-lock:EIO"] {
        let dir = stepped.fixture.path("failing");
        let run = stepped
            .prepare(&["backup"], &dir)
            .env("SNAP_FAILPOINT", failing);
        run.run().expect(1);
        verify(&dir).expect(10);
    }
}

#[test]
fn where_a_file_stands_in_for_the_lock_a_killed_run_is_taken_over_and_another_machine_is_waited_for()
 {
    let stepped = SteppedRun::new(&[&[]], &["backup"]);
    let dir = stepped.copy("storage");
    let held = dir.join(".snap/lock.held");
    let steps = stepped.steps().len();
    let run = |flags: &[&str], failpoint: &str| {
        let args = [&["backup"], flags].concat();
        stepped
            .prepare(&args, &dir)
            .env("SNAP_FAILPOINT", failpoint)
    };
    let killed = format!("{NETWORK_STORAGE},kill:{}", steps / 2);
    assert!(run(&[], &killed).run().signal.is_some());
    let text = fs::read_to_string(&held).expect("the file of a run that was killed");
    run(&[], NETWORK_STORAGE).run().expect(0);
    assert!(!held.exists());

    let mut elsewhere: Value = serde_json::from_str(&text).expect("JSON");
    elsewhere["host"] = "elsewhere".into();
    fs::write(&held, elsewhere.to_string()).expect("a file of another machine's");
    // On this machine there may be locks.
    for lacking in [NETWORK_STORAGE, ""] {
        let refused = run(&[], lacking).run().expect(11);
        let said = &refused.stderr;
        assert!(
            said.contains(" on elsewhere since ")
                && said.contains(&format!("remove {}", held.display())),
            "{said}"
        );
    }
    let before = sets(&dir).len();
    let waiting = run(&["-retry-lock", "100s"], NETWORK_STORAGE).spawn();
    std::thread::sleep(std::time::Duration::from_millis(500));
    assert_eq!(sets(&dir).len(), before);
    fs::remove_file(&held).expect("removing it by hand");
    waiting.wait().expect(0);
    let after = sets(&dir);
    assert_eq!(after.len(), before + 1);
    expect_swept(&dir, &after, &[]);
}

#[test]
fn a_file_system_that_can_neither_rename_to_a_free_name_nor_link_takes_a_set_and_replaces_nothing()
{
    let stepped = SteppedRun::new(&[&[]], &["backup"]);
    for lacking in [
        "errno-rename-free:EINVAL",
        "errno-rename-free:EINVAL,errno-link:EPERM",
        "errno-rename-free:ENOTSUP,errno-link:ENOTSUP",
    ] {
        for flags in [&["backup"][..], &["backup", "-portable", "-incremental"]] {
            let dir = stepped.copy(&format!("{lacking} {}", flags.len()));
            let before = tree::visible_files(&dir);
            let run = stepped.prepare(flags, &dir).env("SNAP_FAILPOINT", lacking);
            run.run().expect(0);
            verify(&dir).expect(0);
            let after = tree::visible_files(&dir);
            assert_eq!(sets(&dir).len(), 2);
            assert!(before.iter().all(|(name, content)| after[name] == *content));
        }
    }
}

#[test]
fn a_name_that_the_file_system_does_not_take_is_told_before_a_shard_is_asked_for() {
    let stepped = SteppedRun::new(&[], &["backup"]);
    let dir = stepped.fixture.path("backup");
    let run = |flags: &[&str]| {
        let args = [&["backup"], flags].concat();
        let run = stepped.prepare(&args, &dir);
        run.env("SNAP_FAILPOINT", "errno-create-new:EINVAL").run()
    };
    let refused = run(&[]).expect(6);
    assert!(
        refused
            .stderr
            .contains("does not take the name of shard db/autogen/1")
            && refused.stderr.contains("hint: with -portable"),
        "{}",
        refused.stderr
    );
    assert_eq!(stepped.fixture.peer.shard_requests(), [""; 0]);
    assert!(!dir.exists());
    run(&["-portable"]).expect(0);
}
