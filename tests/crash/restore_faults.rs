//! That a restore of a damaged backup, or one that is killed or stopped, changes nothing, or leaves
//! what the next one puts right.

use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use influx_snap::repository::Catalog;
use serde_json::{Value, json};

use crate::support::handmade::{
    Folder, Shard, TSM, Tree, assert_same, differences, everything, meta, restore, shard_file,
    shard_tar,
};
use crate::support::influxd::{Index, Influxd};
use crate::support::process::{self, Run, Running, Snap, restore_into, snap};
use crate::support::time::{MONDAY, WEEK};
use crate::support::{data, tree, utf8};

/// A way to damage a file.
#[derive(Clone, Copy, Debug)]
enum Damage {
    Truncate(usize),
    Flip(usize),
    Extend(&'static [u8]),
    Delete,
}

impl Damage {
    fn apply(self, path: &Path) {
        let mut bytes = fs::read(path).expect("a file to damage");
        match self {
            Self::Truncate(length) => bytes.truncate(length),
            Self::Flip(at) => bytes[at] ^= 1,
            Self::Extend(more) => bytes.extend_from_slice(more),
            Self::Delete => return fs::remove_file(path).expect("removing a file"),
        }
        fs::write(path, bytes).expect("damaging a file");
    }

    /// Damages of every kind, many for a file of this size.
    fn matrix(size: usize, stride: usize) -> Vec<Self> {
        let cuts = [
            0,
            1,
            7,
            8,
            16,
            size / 3,
            size / 2,
            size.saturating_sub(1024),
            size.saturating_sub(512),
            size - 1,
        ];
        let mut damages: Vec<Self> = cuts
            .into_iter()
            .filter(|cut| *cut < size)
            .map(Self::Truncate)
            .collect();
        damages.extend((0..size).step_by(stride).chain([size - 1]).map(Self::Flip));
        damages.extend([Self::Extend(b"x"), Self::Extend(&[0; 512])]);
        damages
    }
}

/// Copies a backup directory with its hidden folder.
fn copy_backup(from: &Path, to: &Path) {
    for (name, content) in everything(from) {
        match content {
            Some(content) => fs::write(to.join(name), content).expect("a copied file"),
            None => fs::create_dir_all(to.join(name)).expect("a copied directory"),
        }
    }
}

/// A full backup and an increment by snap: `d.autogen` shards 1 to 3, of which the increment has 1
/// and a new 4.
fn two_sets(folder: &Folder) -> PathBuf {
    let backup = folder.path("sets");
    let server = Influxd::start(&folder.path("server"), Index::Inmem);
    let host = server.host();
    server.execute("CREATE DATABASE d");
    for i in 0..3 {
        server.write(
            "d",
            "",
            &format!(
                "m,h=a v={i}.5 {0}\nm,h=b s=\"text {i}\" {0}",
                MONDAY + i * WEEK
            ),
        );
    }
    snap(["backup", "-host", &host, utf8(&backup)]).expect(0);
    server.write(
        "d",
        "",
        &format!("m,h=a v=-1 {MONDAY}\nm,h=a v=-2 {}", MONDAY + 3 * WEEK),
    );
    let since = Catalog::read(&backup)
        .expect("a backup")
        .records()
        .next()
        .expect("a set")
        .started
        .to_string();
    data::flush(&server);
    snap(["backup", "-host", &host, "-since", &since, utf8(&backup)]).expect(0);
    server.stop();
    backup
}

#[test]
fn a_damaged_backup_is_told_before_anything_is_written() {
    let folder = Folder::new();
    let backup = two_sets(&folder);
    let whole = folder.outcome(&backup);
    let (damaged, target) = (folder.path("damaged"), folder.path("target"));
    let records: Vec<String> = tree::names(&backup.join(".snap"))
        .into_iter()
        .filter(|name| name.ends_with(".json"))
        .collect();
    assert_eq!(records.len(), 2);
    let record = |number: usize| format!(".snap/{}", records[number]);
    let try_out = |file: &str, damage: Damage| -> (Run, Tree) {
        copy_backup(&backup, &damaged);
        damage.apply(&damaged.join(file));
        let run = restore(&damaged, &target, &[]);
        let left = everything(&target);
        for leftover in [&damaged, &target] {
            let _ = fs::remove_dir_all(leftover);
        }
        (run, left)
    };

    for file in [
        "meta.01",
        "d.autogen.00001.00",
        "d.autogen.00001.01",
        "d.autogen.00002.00",
        "d.autogen.00004.01",
    ] {
        let size = fs::metadata(backup.join(file))
            .expect("a file of the backup")
            .len();
        for damage in Damage::matrix(usize::try_from(size).expect("a small file"), 61) {
            let (run, left) = try_out(file, damage);
            assert_eq!(
                (run.code, left.len()),
                (Some(4), 0),
                "{file} {damage:?}: {left:?}\n{}",
                run.stderr
            );
            assert!(
                run.stderr.contains(file),
                "{file} {damage:?}: {}",
                run.stderr
            );
        }
    }
    for file in [record(0), record(1)] {
        let size = fs::metadata(backup.join(&file)).expect("a record").len();
        for damage in Damage::matrix(usize::try_from(size).expect("a small file"), 17) {
            let (run, left) = try_out(&file, damage);
            // Some bytes of a record can change without a consequence; then all must be there, or
            // some named as missing.
            let nothing = run.code == Some(4) && left.is_empty();
            let all = matches!(run.code, Some(0 | 3)) && left == whole;
            assert!(
                nothing || all,
                "{file} {damage:?}: {:?}\n{}",
                run.code,
                run.stderr
            );
        }
        let (run, left) = try_out(&file, Damage::Delete);
        assert!(
            matches!(run.code, Some(0 | 3)) && left == whole,
            "{file} deleted: {:?}\n{}",
            run.code,
            run.stderr
        );
    }

    // What is gone is named, and the exit code tells. What was found is whole.
    for (file, named) in [
        ("d.autogen.00001.00", "d/autogen/1"),
        ("d.autogen.00001.01", "d.autogen.00001.01"),
        ("d.autogen.00002.00", "d/autogen/2"),
        ("d.autogen.00004.01", "d.autogen.00004.01"),
        ("meta.01", "meta.01"),
    ] {
        let (run, left) = try_out(file, Damage::Delete);
        assert!(
            matches!(run.code, Some(3 | 4)),
            "{file} deleted: {:?}\n{}",
            run.code,
            run.stderr
        );
        assert!(run.stderr.contains(named), "{file} deleted: {}", run.stderr);
        assert!(
            run.code == Some(3) || left.is_empty(),
            "{file} deleted: {left:?}"
        );
    }
    copy_backup(&backup, &damaged);
    Damage::Delete.apply(&damaged.join("meta.00"));
    Damage::Delete.apply(&damaged.join("meta.01"));
    let run = restore(&damaged, &target, &[]);
    assert!(
        matches!(run.code, Some(4 | 10)) && !target.exists(),
        "{:?}\n{}",
        run.code,
        run.stderr
    );

    // Of a run that was killed while it gave the files their names there is no record, only what it
    // was about to do.
    for (number, expected) in [(0, 10), (1, 0)] {
        let killed = folder.path(&format!("killed {number}"));
        copy_backup(&backup, &killed);
        for name in tree::names(&killed)
            .iter()
            .filter(|name| number == 0 && name.ends_with(".01"))
        {
            fs::remove_file(killed.join(name)).expect("removing the increment");
        }
        if number == 0 {
            fs::remove_file(killed.join(record(1))).expect("removing the increment");
        }
        let path = killed.join(record(number));
        fs::rename(&path, path.with_extension("commit")).expect("renaming a record");
        let target = folder.path(&format!("target of killed {number}"));
        let run = restore(&killed, &target, &[]).expect(expected);
        assert!(number == 1 || !target.exists(), "{}", run.stderr);
        assert!(
            !everything(&target)
                .keys()
                .any(|path| path.ends_with("d/autogen/4")),
            "a shard of the killed run"
        );
    }
}

#[test]
fn a_damaged_record_is_in_the_way_of_no_other_set_that_is_named() {
    let folder = Folder::new();
    let backup = folder.path("backup");
    let server = Influxd::start(&folder.path("server"), Index::Inmem);
    server.execute("CREATE DATABASE d");
    let mut ids = Vec::new();
    for (value, flags) in [(1, &[][..]), (2, &[]), (3, &[]), (4, &["-since", "last"])] {
        server.write("d", "", &format!("m v={value} {}", MONDAY + value));
        process::backup(&server.host(), flags, &backup)
            .run()
            .expect(0);
        let records = tree::names(&backup.join(".snap")).into_iter();
        ids = records
            .filter_map(|name| Some(name.strip_suffix(".json")?.to_owned()))
            .collect();
    }
    server.stop();
    let record = |nth: usize| backup.join(format!(".snap/{}.json", ids[nth]));
    let sound = fs::read(record(1)).expect("a record");
    fs::write(record(1), &sound[..sound.len() / 2]).expect("damaging a record");
    let name = format!(".snap/{}.json", ids[1]);

    let listed = snap(["list", utf8(&backup)]).expect(4);
    assert!(
        listed.stderr.contains(&name)
            && ids
                .iter()
                .all(|id| *id == ids[1] || listed.stdout.contains(id)),
        "{listed:?}"
    );
    assert!(
        snap(["list", "-quiet", utf8(&backup)])
            .expect(4)
            .stderr
            .contains(&name)
    );
    snap(["info", utf8(&backup)]).expect(4);
    assert!(
        snap(["info", utf8(&backup), &ids[0]])
            .expect(0)
            .stderr
            .contains(&name)
    );
    // Which is the newest, or what an increment stands on, nobody can tell.
    let target = folder.path("target");
    for flags in [&[][..], &["latest"]] {
        let run = restore_into(&target, &[], &backup)
            .args(flags)
            .run()
            .expect(4);
        assert!(
            run.stderr.contains(&name) && run.stderr.contains("hint: another set can be named"),
            "{}",
            run.stderr
        );
    }
    for (nth, points) in [(0, 1), (2, 3)] {
        let target = folder.path(&format!("target {nth}"));
        let run = restore_into(&target, &[], &backup)
            .args([&ids[nth]])
            .run()
            .expect(0);
        assert!(
            run.stderr
                .contains(&format!("warning: {name} is passed over")),
            "{}",
            run.stderr
        );
        let server = Influxd::start(&target, Index::Inmem);
        assert_eq!(server.points_in("d", "autogen").len(), points);
    }
    // What an increment stands on, the lost record may tell; and so it may be that of the set
    // itself.
    let year = &ids[0][..4];
    for (set, said) in [
        (ids[3].as_str(), "may be what tells of d.autogen.00001.0"),
        ("meta.01", "tells of set meta.01"),
    ] {
        let run = restore_into(&target, &[], &backup)
            .args([set])
            .run()
            .expect(4);
        assert!(run.stderr.contains(said), "{}", run.stderr);
    }
    let run = Snap::new([
        "restore",
        "-metadir",
        utf8(&target),
        utf8(&backup),
        "meta.01",
    ])
    .run()
    .expect(4);
    assert!(
        run.stderr.contains("tells of set meta.01"),
        "{}",
        run.stderr
    );
    // The beginning of an id could be that of the damaged one.
    for set in [year, &ids[1]] {
        let run = restore_into(&target, &[], &backup)
            .args([set])
            .run()
            .expect(4);
        assert!(
            run.stderr.contains("may mean the set of") && run.stderr.contains(&name),
            "{}",
            run.stderr
        );
    }
    // One of a newer snap is not damaged.
    let newer =
        String::from_utf8(sound)
            .expect("a record")
            .replacen("\"format\": 2", "\"format\": 99", 1);
    fs::write(
        record(1),
        newer
            .split(",\n  \"sum\"")
            .next()
            .expect("a record")
            .to_owned()
            + "\n}",
    )
    .expect("a newer record");
    let run = restore_into(&target, &[], &backup)
        .args([&ids[0]])
        .run()
        .expect(1);
    assert!(
        run.stderr.contains("was written by a newer snap"),
        "{}",
        run.stderr
    );
    assert!(!target.exists());
}

#[test]
fn a_damaged_backup_of_influxd_is_told_by_its_framing_and_its_blocks() {
    let folder = Folder::new();
    let (week, other) = (("d", "autogen", 1), ("db.dot", "two weeks", 100));
    let backup = folder.backup("backup", &[week, other], 1);
    let target = folder.path("target");
    for file in [
        "meta.00".to_owned(),
        shard_file(week, 0),
        shard_file(other, 0),
    ] {
        let path = backup.join(&file);
        let content = fs::read(&path).expect("a file of the backup");
        // Without a record, nothing tells a flipped byte of a key, nor of the padding behind the
        // file.
        let told = |damage: &Damage| match damage {
            Damage::Flip(at) if file == "meta.00" => *at < 16,
            Damage::Flip(at) => *at < 500 || (512..551).contains(at) || *at >= content.len() - 1024,
            _ => true,
        };
        for damage in Damage::matrix(content.len(), 37).into_iter().filter(told) {
            damage.apply(&path);
            let run = restore(&backup, &target, &[]);
            assert!(
                run.code == Some(4) && !target.exists(),
                "{file} {damage:?}: {:?}\n{}",
                run.code,
                run.stderr
            );
            assert!(
                run.stderr.contains(&file),
                "{file} {damage:?}: {}",
                run.stderr
            );
            fs::write(&path, &content).expect("mending the file");
        }
    }
    Damage::Delete.apply(&backup.join(shard_file(other, 0)));
    let run = restore(&backup, &target, &[]).expect(3);
    assert!(
        run.stderr.contains("db.dot/two weeks/100") && target.join("data/d/autogen/1").exists(),
        "{}",
        run.stderr
    );
}

/// Waits until the condition holds, or the run has ended without it.
fn wait_until(run: &Running, condition: impl Fn() -> bool) -> bool {
    let stat = PathBuf::from(format!("/proc/{}/stat", run.pid()));
    loop {
        if condition() {
            return true;
        }
        // A process that has ended and was not waited for yet is a zombie.
        let ended = fs::read_to_string(&stat).map_or(true, |stat| {
            stat.rsplit(") ").next().is_some_and(|s| s.starts_with('Z'))
        });
        if ended {
            return condition();
        }
        thread::sleep(Duration::from_micros(200));
    }
}

/// A backup of many small shards.
fn many_shards(folder: &Folder, name: &str, value: u8) -> PathBuf {
    let shards: Vec<Shard<'_>> = (1..=200).map(|id| ("d", "autogen", id)).collect();
    folder.backup(name, &shards, value)
}

/// The hidden folder of a restore into a target.
fn hidden(target: &Path) -> PathBuf {
    target.join("data/.snap-restore")
}

/// How far a restore has come.
#[derive(Clone, Copy, Debug)]
enum Moment {
    /// That many shards are unpacked, or being unpacked.
    Unpacked(usize),
    /// What is to be moved was written down.
    Planned,
    /// That many shards were moved away to make room.
    MovedAway(usize),
}

impl Moment {
    fn has_come(self, target: &Path) -> bool {
        let entries =
            |folder: &str| fs::read_dir(hidden(target).join(folder)).map_or(0, Iterator::count);
        match self {
            Self::Unpacked(count) => entries("new") >= count,
            Self::Planned => hidden(target).join("journal.json").exists(),
            Self::MovedAway(count) => entries("old") >= count,
        }
    }
}

/// Starts a restore, waits for the moment, sends the signal and waits for the end.
fn interrupted(restore: Snap, target: &Path, moment: Moment, signal: i32) -> Run {
    let run = restore.spawn();
    assert!(
        wait_until(&run, || moment.has_come(target)),
        "{moment:?} never came"
    );
    run.signal(signal);
    run.wait()
}

#[test]
fn a_restore_that_is_killed_while_it_unpacks_leaves_nothing_that_the_next_one_minds() {
    let folder = Folder::new();
    let backup = folder.large_backup("large", 1);
    let whole = folder.outcome(&backup);
    for moment in [Moment::Unpacked(1), Moment::Unpacked(2)] {
        let target = folder.path(&format!("target {moment:?}"));
        interrupted(
            restore_into(&target, &["-jobs", "1"], &backup),
            &target,
            moment,
            libc::SIGKILL,
        );
        restore(&backup, &target, &[]).expect(0);
        assert_same(
            &everything(&target),
            &whole,
            &format!("killed at {moment:?}"),
        );
    }
}

#[test]
fn a_forced_restore_that_is_killed_leaves_the_old_or_the_new_and_never_a_mixture() {
    let folder = Folder::new();
    let (old, new) = (
        many_shards(&folder, "old", 1),
        many_shards(&folder, "new", 2),
    );
    // Another metastore as well.
    let extra: Vec<Shard<'_>> = (1..=200)
        .map(|id| ("d", "autogen", id))
        .chain([("e", "autogen", 201)])
        .collect();
    fs::write(new.join("meta.00"), meta(&extra)).expect("a metastore");
    fs::write(
        new.join(shard_file(("e", "autogen", 201), 0)),
        shard_tar(("e", "autogen", 201), &[("000000009-000000001.tsm", TSM)]),
    )
    .expect("a shard");
    let (before, after) = (folder.outcome(&old), folder.outcome(&new));
    // A run that is refused need not clear away what was only prepared.
    let files = |tree: &Tree| -> Tree {
        let files = tree
            .iter()
            .filter(|(path, content)| content.is_some() && !path.starts_with("data/.snap-restore"));
        files
            .map(|(path, content)| (path.clone(), content.clone()))
            .collect()
    };
    let moments = [
        (Moment::Unpacked(1), false),
        (Moment::Unpacked(150), false),
        (Moment::Planned, false),
        (Moment::MovedAway(2), true),
        (Moment::MovedAway(100), false),
        (Moment::MovedAway(100), true),
        (Moment::MovedAway(200), false),
    ];
    for (moment, relative) in moments {
        let target = folder.path(&format!("target {moment:?} {relative}"));
        restore(&old, &target, &[]).expect(0);
        assert_same(&everything(&target), &before, "the old data");
        let log = target.join("wal/d/autogen/7");
        fs::create_dir_all(&log).expect("a WAL directory");
        fs::write(log.join("_00001.wal"), "points").expect("a WAL file");
        let before = everything(&target);
        let forced = if relative {
            // The next run is somewhere else.
            let args = [
                "restore",
                "-metadir",
                "meta",
                "-datadir",
                "data",
                "-force",
                "-jobs",
                "1",
                utf8(&new),
            ];
            Snap::new(args).dir(&target)
        } else {
            restore_into(&target, &["-force", "-jobs", "1"], &new)
        };
        interrupted(forced, &target, moment, libc::SIGKILL);
        restore(&new, &target, &[]).expect(6);
        let found = files(&everything(&target));
        let (from_old, from_new) = (
            differences(&found, &files(&before)),
            differences(&found, &files(&after)),
        );
        assert!(
            from_old.is_empty() || from_new.is_empty(),
            "{moment:?}: neither old, {from_old:?}, nor new, {from_new:?}"
        );
        restore(&new, &target, &["-force"]).expect(0);
        assert_same(
            &files(&everything(&target)),
            &files(&after),
            &format!("killed at {moment:?}"),
        );
        assert!(!hidden(&target).exists() && !target.join("wal/.snap-restore").exists());
    }
}

#[test]
fn a_restore_that_is_told_to_stop_puts_everything_back() {
    let folder = Folder::new();
    let large = folder.large_backup("large", 1);
    for (signal, code) in [(libc::SIGTERM, 143), (libc::SIGINT, 130)] {
        let target = folder.path(&format!("target {code}"));
        fs::create_dir(&target).expect("a target");
        let before = everything(&target);
        interrupted(
            restore_into(&target, &["-jobs", "1"], &large),
            &target,
            Moment::Unpacked(1),
            signal,
        )
        .expect(code);
        let mut left = everything(&target);
        // The directories that were asked for may be there, empty.
        for directory in ["data", "meta"] {
            left.remove(Path::new(directory));
        }
        assert_same(&left, &before, "unpacking");
    }

    let (old, new) = (
        many_shards(&folder, "old", 1),
        many_shards(&folder, "new", 2),
    );
    let before = folder.outcome(&old);
    for moment in [
        Moment::Unpacked(100),
        Moment::MovedAway(2),
        Moment::MovedAway(100),
    ] {
        let target = folder.path(&format!("target {moment:?}"));
        restore(&old, &target, &[]).expect(0);
        let forced = restore_into(&target, &["-force", "-jobs", "1"], &new);
        interrupted(forced, &target, moment, libc::SIGTERM).expect(143);
        assert_same(
            &everything(&target),
            &before,
            &format!("stopped at {moment:?}"),
        );
    }
}

#[test]
fn what_a_killed_restore_left_does_not_disturb_an_influxd_that_is_started_on_it() {
    let folder = Folder::new();
    let target = folder.path("server");
    let server = Influxd::start(&target, Index::Inmem);
    server.execute("CREATE DATABASE d");
    for week in 0..6 {
        server.write(
            "d",
            "",
            &format!("m,h=a v={week}i {}", MONDAY + week * WEEK),
        );
    }
    data::flush(&server);
    let points = server.points();
    server.stop();
    let forced = restore_into(
        &target,
        &["-force", "-jobs", "1"],
        &folder.large_backup("large", 1),
    );
    interrupted(forced, &target, Moment::Unpacked(3), libc::SIGKILL);
    let server = Influxd::start(&target, Index::Inmem);
    assert_eq!(server.points(), points);
    let log = server.log();
    let opened = log
        .lines()
        .find(|line| line.contains("Opened") && line.contains(".snap-restore"));
    assert!(
        opened.is_none() && !log.contains("lvl=error"),
        "{opened:?}\n{log}"
    );
}

/// A restore that was killed when all was moved away, of which nothing is left but the journal and
/// what it moved.
fn killed_restore(folder: &Folder) -> (PathBuf, PathBuf) {
    let (old, new) = (many_shards(folder, "old", 1), many_shards(folder, "new", 2));
    let target = folder.path("server");
    restore(&old, &target, &[]).expect(0);
    let forced = restore_into(&target, &["-force", "-jobs", "1"], &new);
    interrupted(forced, &target, Moment::MovedAway(50), libc::SIGKILL);
    assert!(
        Moment::Planned.has_come(&target),
        "it was over before it was killed"
    );
    (new, target)
}

#[test]
fn what_a_killed_restore_moved_is_not_put_back_under_a_running_influxd() {
    let folder = Folder::new();
    let (new, target) = killed_restore(&folder);
    let server = Influxd::start(&target, Index::Inmem);
    let before = everything(&target.join("data"));
    for flags in [&["-force"][..], &[]] {
        restore(&new, &target, flags).expect(6);
        assert_same(
            &everything(&target.join("data")),
            &before,
            "refused under a running influxd",
        );
    }
    server.stop();
    restore(&new, &target, &["-force"]).expect(0);
    let points = Influxd::start(&target, Index::Inmem).points();
    // The value in every one of the new shards.
    assert!(
        points.len() == 200 && points.iter().all(|point| point.ends_with("=2")),
        "{:?}",
        points.first()
    );
    assert!(!hidden(&target).exists());
}

#[test]
fn a_journal_that_names_what_no_restore_makes_is_refused_and_nothing_is_touched() {
    let folder = Folder::new();
    let (new, target) = killed_restore(&folder);
    let victim = folder.path("victim");
    fs::create_dir_all(victim.join("rp/1")).expect("a directory");
    fs::write(victim.join("meta.db"), "theirs").expect("a file");
    let path = hidden(&target).join("journal.json");
    let own = fs::read_to_string(&path).expect("a journal");
    let changed = |change: &dyn Fn(&mut Value)| {
        let mut journal: Value = serde_json::from_str(&own).expect("JSON");
        change(&mut journal);
        journal.to_string()
    };
    let moved = |key: &str, to: PathBuf| changed(&|journal| journal["moves"][0][key] = json!(to));
    // Of a file that is what the journal says was written, what is there now is nobody's, and
    // removed.
    let written = |place: &Path| {
        let crc = crc32fast::hash(&fs::read(place).expect("a file"));
        changed(&|journal| journal["files"] = json!([{"place": place, "old": null, "crc": crc}]))
    };
    // But for the lock, in which each run writes its own name.
    let all = || {
        let mut all = everything(folder.root());
        all.remove(Path::new("server/data/.snap-restore/lock"));
        all
    };
    let before = all();
    for journal in [
        written(&victim.join("meta.db")),
        moved("place", victim.join("rp/1")),
        moved("old", victim.join("rp")),
        moved("new", target.join("data/../../victim")),
        own[..own.len() / 2].to_owned(),
    ] {
        fs::write(&path, &journal).expect("a journal");
        let refused = restore(&new, &target, &["-force"]).expect(6);
        assert!(
            refused.stderr.contains(utf8(&path)) && refused.stderr.contains("hint: "),
            "{}",
            refused.stderr
        );
        fs::write(&path, &own).expect("a journal");
        assert_same(&all(), &before, "a forged journal");
    }
    // Nor is one followed into a directory that this run does not name.
    fs::write(&path, written(&target.join("meta/meta.db"))).expect("a journal");
    let datadir = target.join("data");
    let unnamed = ["restore", "-force", "-database", "d", "-datadir"];
    Snap::new(unnamed).args([&datadir, &new]).run().expect(6);
    fs::write(&path, &own).expect("a journal");
    assert_same(&all(), &before, "other directories");

    restore(&new, &target, &["-force"]).expect(0);
    assert!(!hidden(&target).exists());
}

#[test]
fn a_restore_follows_no_link_that_has_the_name_of_its_folder_and_waits_for_no_fifo() {
    let folder = Folder::new();
    let backup = folder.backup("backup", &[("d", "autogen", 1)], 1);
    let (target, victim) = (folder.path("target"), folder.path("victim"));
    fs::create_dir_all(target.join("data")).expect("a data directory");
    fs::create_dir(&victim).expect("a directory");
    fs::write(victim.join("lock"), "theirs").expect("a file");
    let before = everything(&victim);
    let staging = hidden(&target);
    std::os::unix::fs::symlink(&victim, &staging).expect("a link");
    let refused = restore(&backup, &target, &[]).expect(6);
    assert!(
        refused.stderr.contains("is a symbolic link"),
        "{}",
        refused.stderr
    );
    assert_same(&everything(&victim), &before, "behind a link");
    fs::remove_file(&staging).expect("removing a link");

    for name in ["lock", "journal.json"] {
        fs::create_dir(&staging).expect("a folder");
        let made = std::process::Command::new("mkfifo")
            .arg(staging.join(name))
            .status();
        assert!(made.expect("mkfifo").success());
        let refused = restore(&backup, &target, &[]);
        assert!(matches!(refused.code, Some(1 | 6)), "{refused:?}");
        assert!(
            refused.stderr.contains("it is not a regular file"),
            "{}",
            refused.stderr
        );
        fs::remove_dir_all(&staging).expect("removing a folder");
    }
    fs::create_dir(target.join("meta")).expect("a meta directory");
    let made = std::process::Command::new("mkfifo")
        .arg(target.join("meta/meta.db"))
        .status();
    assert!(made.expect("mkfifo").success());
    let refused = restore(&backup, &target, &[]).expect(1);
    assert!(
        refused.stderr.contains("meta.db: it is not a regular file"),
        "{}",
        refused.stderr
    );
    fs::remove_file(target.join("meta/meta.db")).expect("removing a FIFO");
    restore(&backup, &target, &[]).expect(0);
}

#[test]
fn a_metastore_that_gives_two_shards_one_id_is_refused_where_shards_get_new_ids() {
    let folder = Folder::new();
    let backup = folder.backup("backup", &[("a", "rp", 7), ("b", "rp", 7)], 1);
    let target = folder.path("target");
    restore(&folder.backup("other", &[("c", "rp", 1)], 1), &target, &[]).expect(0);
    let before = everything(&target);
    let refused = restore(&backup, &target, &["-merge"]).expect(6);
    assert!(
        refused.stderr.contains("a/rp/7 and b/rp/7"),
        "{}",
        refused.stderr
    );
    assert_same(&everything(&target), &before, "a merge that was refused");
    restore(&backup, &target, &["-merge", "-database", "b"]).expect(0);
    assert!(target.join("data/b/rp").exists() && !target.join("data/a").exists());

    let server = Influxd::start(&folder.path("server"), Index::Inmem);
    let online = process::restore_online(&server.host(), &[], &backup).run();
    assert!(online.expect(6).stderr.contains("a/rp/7 and b/rp/7"));
    assert_eq!(server.databases(), [""; 0]);
}
