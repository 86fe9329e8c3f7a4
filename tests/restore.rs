//! What restore refuses, and that a restore that does not end well changes nothing.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use influx_snap::directory::Contents;
use influx_snap::format::meta::{Data, DatabaseInfo, RetentionPolicyInfo, ShardGroupInfo, ShardInfo};
use influx_snap::tsm::values::{Points, Strings, Values};
use influx_snap::tsm::writer::Writer;
use influx_snap::wire::MetaBlob;
use prost::Message;
use tar::{EntryType, Header};
use tempfile::TempDir;

use support::disk::on_small_disk;
use support::influxd::{Index, Influxd};
use support::peer::noise;
use support::process::{Run, Running, Snap, snap};
use support::{data, tree};

/// A complete TSM file as influxd 1.6.7 wrote it: `m,h=a v=1.5` at 1600000000000000000.
const TSM: &[u8] = b"\x16\xd1\x16\xd1\x01\x20\xdc\xb3\xe6\x00\x09\x1c\x16\x34\x57\x85\xd8\xa0\x00\x00\x10\
    \x3f\xf8\x00\x00\x00\x00\x00\x00\xc3\xfc\x00\x00\x00\x00\x00\x00\x00\x10\x00\x0am,h=a#!~#v\x00\x00\x01\
    \x16\x34\x57\x85\xd8\xa0\x00\x00\x16\x34\x57\x85\xd8\xa0\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x22\
    \x00\x00\x00\x00\x00\x00\x00\x27";

/// A TSM file with that value.
fn tsm(value: u8) -> Vec<u8> {
    written(Points { times: vec![1_600_000_000_000_000_000], values: Values::Float(vec![f64::from(value)]) })
}

/// A TSM file of several MiB that says `value` in its own way.
fn large_tsm(value: u8) -> Vec<u8> {
    let mut strings = Strings::default();
    noise(value.into(), 6 << 20).chunks(1 << 10).for_each(|text| strings.push(text));
    let times = (0..).map(|second| 1_600_000_000_000_000_000 + second).take(strings.len()).collect();
    written(Points { times, values: Values::String(strings) })
}

/// A TSM file of one key.
fn written(points: Points) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    writer.begin_key(b"m,h=a#!~#v", points.values.value_type()).expect("a key");
    writer.points(&points).expect("a block");
    writer.finish().expect("a file").0
}

/// The start of a week, in nanoseconds.
const MONDAY: i64 = 1_599_436_800_000_000_000;

/// Database, retention policy, id.
type Shard<'a> = (&'a str, &'a str, u64);

fn utf8(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// A meta store that names these shards, in its frame.
fn meta(shards: &[Shard<'_>]) -> Vec<u8> {
    let mut data = Data { index: 7, cluster_id: 1, ..Data::default() };
    for &(db, rp, id) in shards {
        let group = ShardGroupInfo {
            id,
            start_time: MONDAY,
            end_time: MONDAY + 7 * 86_400_000_000_000,
            shards: vec![ShardInfo { id, ..ShardInfo::default() }],
            ..ShardGroupInfo::default()
        };
        let database = match data.databases.iter().position(|database| database.name == db) {
            Some(at) => &mut data.databases[at],
            None => {
                let default_retention_policy = rp.to_owned();
                data.databases.push(DatabaseInfo { name: db.into(), default_retention_policy, ..DatabaseInfo::default() });
                data.databases.last_mut().expect("a database")
            }
        };
        match database.retention_policies.iter_mut().find(|policy| policy.name == rp) {
            Some(policy) => policy.shard_groups.push(group),
            None => database.retention_policies.push(RetentionPolicyInfo {
                name: rp.into(),
                replica_n: 1,
                shard_groups: vec![group],
                ..RetentionPolicyInfo::default()
            }),
        }
        data.max_shard_group_id = data.max_shard_group_id.max(id);
        data.max_shard_id = data.max_shard_id.max(id);
    }
    let mut bytes = Vec::new();
    MetaBlob { meta: data.encode_to_vec(), node: b"null\n".to_vec() }.write_to(&mut bytes).expect("writing to memory");
    bytes
}

/// A member of a tar under any name, however bad.
fn member(name: &str, kind: EntryType, link: &str, content: &[u8]) -> Vec<u8> {
    let mut header = Header::new_ustar();
    header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
    header.as_old_mut().linkname[..link.len()].copy_from_slice(link.as_bytes());
    header.set_entry_type(kind);
    header.set_mode(0o600);
    header.set_mtime(1_600_000_000);
    header.set_size(content.len() as u64);
    header.set_cksum();
    let mut bytes = header.as_bytes().to_vec();
    bytes.extend_from_slice(content);
    bytes.resize(bytes.len().next_multiple_of(512), 0);
    bytes
}

/// The tar of a shard with these files.
fn shard_tar((db, rp, id): Shard<'_>, files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut bytes: Vec<u8> = files
        .iter()
        .flat_map(|(name, content)| member(&format!("{db}/{rp}/{id}/{name}"), EntryType::Regular, "", content))
        .collect();
    bytes.resize(bytes.len() + 1024, 0);
    bytes
}

fn shard_file((db, rp, id): Shard<'_>, number: u32) -> String {
    format!("{db}.{rp}.{id:05}.{number:02}")
}

/// A folder of its own for a test, with backup directories as `influxd backup` makes them: without a record.
struct Folder(TempDir);

impl Folder {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a temporary directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// A backup of these shards, each with one TSM file of this value.
    fn backup(&self, name: &str, shards: &[Shard<'_>], value: u8) -> PathBuf {
        let backup = self.path(name);
        fs::create_dir(&backup).expect("a backup directory");
        fs::write(backup.join("meta.00"), meta(shards)).expect("a meta store");
        for shard in shards {
            let tar = shard_tar(*shard, &[("000000001-000000001.tsm", &tsm(value))]);
            fs::write(backup.join(shard_file(*shard, 0)), tar).expect("a shard");
        }
        backup
    }

    /// What a restore of the backup into an empty target leaves.
    fn outcome(&self, backup: &Path) -> Tree {
        let target = self.path("outcome");
        restore(backup, &target, &[]).expect(0);
        let outcome = everything(&target);
        fs::remove_dir_all(&target).expect("removing a target");
        outcome
    }
}

/// Everything below a directory: the content of files, `None` for directories and links.
type Tree = BTreeMap<PathBuf, Option<Vec<u8>>>;

/// Empty where there is no such directory.
fn everything(dir: &Path) -> Tree {
    fn collect(dir: &Path, below: &Path, found: &mut Tree) {
        for name in tree::names(dir) {
            let (path, inner) = (dir.join(&name), below.join(&name));
            let kind = fs::symlink_metadata(&path).expect("a file's metadata").file_type();
            found.insert(inner.clone(), kind.is_file().then(|| fs::read(&path).expect("a file")));
            if kind.is_dir() {
                collect(&path, &inner, found);
            }
        }
    }
    let mut found = Tree::new();
    if dir.exists() {
        found.insert(PathBuf::new(), None);
        collect(dir, Path::new(""), &mut found);
    }
    found
}

/// The paths that differ, for messages.
fn differences(a: &Tree, b: &Tree) -> Vec<PathBuf> {
    let differing = a.iter().filter(|(path, content)| b.get(*path) != Some(content)).map(|(path, _)| path);
    differing.chain(b.keys().filter(|path| !a.contains_key(*path))).take(10).cloned().collect()
}

#[track_caller]
fn assert_same(found: &Tree, expected: &Tree, when: &str) {
    assert!(found == expected, "{when}: these differ: {:?}", differences(found, expected));
}

fn restoring(backup: &Path, target: &Path, flags: &[&str]) -> Snap {
    let (meta, data) = (target.join("meta"), target.join("data"));
    Snap::new([&["restore", "-metadir", utf8(&meta), "-datadir", utf8(&data)], flags, &[utf8(backup)]].concat())
}

fn restore(backup: &Path, target: &Path, flags: &[&str]) -> Run {
    restoring(backup, target, flags).run()
}

const WEEK: Shard<'static> = ("d", "autogen", 1);
const LATER: Shard<'static> = ("d", "autogen", 10);
const NAMED: Shard<'static> = ("db.dot", "two weeks", 100);

#[test]
fn a_target_that_holds_data_is_refused_unchanged_and_replaced_by_force() {
    let folder = Folder::new();
    let old = folder.backup("old", &[WEEK, LATER], 1);
    let new = folder.backup("new", &[WEEK, LATER, NAMED], 2);
    let fresh = folder.outcome(&new);
    let target = folder.path("target");
    restore(&old, &target, &[]).expect(0);
    let before = everything(&target);

    let refused = restore(&new, &target, &[]).expect(6);
    assert!(refused.stderr.contains("meta.db") && refused.stderr.contains("-force"), "{}", refused.stderr);
    assert_same(&everything(&target), &before, "refused for its meta store");
    let refused = restore(&old, &target, &[]).expect(6);
    assert!(refused.stderr.contains("d/autogen/10") && refused.stderr.contains("hint:"), "{}", refused.stderr);
    assert_same(&everything(&target), &before, "refused for its shards");
    let data = target.join("data");
    snap(["restore", "-datadir", utf8(&data), "-database", "d", utf8(&new)]).expect(6);
    assert_same(&everything(&target), &before, "refused without -metadir");

    restore(&new, &target, &["-force"]).expect(0);
    assert_same(&everything(&target), &fresh, "replaced");

    // Points that are only in the write-ahead log are data too.
    let target = folder.path("logged");
    let log = target.join("wal/d/autogen/10/_00001.wal");
    fs::create_dir_all(log.parent().expect("a directory")).expect("a WAL directory");
    fs::write(&log, "points").expect("a WAL file");
    let before = everything(&target);
    let refused = restore(&new, &target, &[]).expect(6);
    assert!(refused.stderr.contains("wal/d/autogen/10"), "{}", refused.stderr);
    assert_same(&everything(&target), &before, "refused for its WAL");
    restore(&new, &target, &["-force"]).expect(0);
    assert!(!log.exists(), "the old points would come back over the new ones");

    // A shard that the restored meta store does not name would be picked up by the next shard of its id.
    let target = folder.path("stray");
    fs::create_dir_all(target.join("data/other/autogen/11")).expect("a shard");
    fs::write(target.join("data/other/autogen/11/000000001-000000001.tsm"), tsm(1)).expect("a TSM file");
    let before = everything(&target);
    let refused = restore(&new, &target, &[]).expect(6);
    assert!(refused.stderr.contains("other/autogen/11"), "{}", refused.stderr);
    assert_same(&everything(&target), &before, "refused for a stray");
}

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
        let cuts = [0, 1, 7, 8, 16, size / 3, size / 2, size.saturating_sub(1024), size.saturating_sub(512), size - 1];
        let mut damages: Vec<Self> = cuts.into_iter().filter(|cut| *cut < size).map(Self::Truncate).collect();
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

/// A full backup and an increment by snap: `d.autogen` shards 1 to 3, of which the increment has 1 and a new 4.
fn two_sets(folder: &Folder) -> PathBuf {
    let backup = folder.path("sets");
    let server = Influxd::start(&folder.path("server"), Index::Inmem);
    let host = server.host();
    server.execute("CREATE DATABASE d");
    let week = 7 * 86_400_000_000_000;
    for i in 0..3 {
        server.write("d", "", &format!("m,h=a v={i}.5 {0}\nm,h=b s=\"text {i}\" {0}", MONDAY + i * week));
    }
    snap(["backup", "-host", &host, utf8(&backup)]).expect(0);
    server.write("d", "", &format!("m,h=a v=-1 {MONDAY}\nm,h=a v=-2 {}", MONDAY + 3 * week));
    let since = Contents::read(&backup).expect("a backup").records().next().expect("a set").started.to_string();
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
    let records: Vec<String> = tree::names(&backup.join(".snap")).into_iter().filter(|name| name.ends_with(".json")).collect();
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

    for file in ["meta.01", "d.autogen.00001.00", "d.autogen.00001.01", "d.autogen.00002.00", "d.autogen.00004.01"] {
        let size = fs::metadata(backup.join(file)).expect("a file of the backup").len();
        for damage in Damage::matrix(usize::try_from(size).expect("a small file"), 61) {
            let (run, left) = try_out(file, damage);
            assert_eq!((run.code, left.len()), (Some(4), 0), "{file} {damage:?}: {left:?}\n{}", run.stderr);
            assert!(run.stderr.contains(file), "{file} {damage:?}: {}", run.stderr);
        }
    }
    for file in [record(0), record(1)] {
        let size = fs::metadata(backup.join(&file)).expect("a record").len();
        for damage in Damage::matrix(usize::try_from(size).expect("a small file"), 17) {
            let (run, left) = try_out(&file, damage);
            // Some bytes of a record can change without a consequence; then all must be there, or some named as missing.
            let nothing = run.code == Some(4) && left.is_empty();
            let all = matches!(run.code, Some(0 | 3)) && left == whole;
            assert!(nothing || all, "{file} {damage:?}: {:?}\n{}", run.code, run.stderr);
        }
        let (run, left) = try_out(&file, Damage::Delete);
        assert!(matches!(run.code, Some(0 | 3)) && left == whole, "{file} deleted: {:?}\n{}", run.code, run.stderr);
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
        assert!(matches!(run.code, Some(3 | 4)), "{file} deleted: {:?}\n{}", run.code, run.stderr);
        assert!(run.stderr.contains(named), "{file} deleted: {}", run.stderr);
        assert!(run.code == Some(3) || left.is_empty(), "{file} deleted: {left:?}");
    }
    copy_backup(&backup, &damaged);
    Damage::Delete.apply(&damaged.join("meta.00"));
    Damage::Delete.apply(&damaged.join("meta.01"));
    let run = restore(&damaged, &target, &[]);
    assert!(matches!(run.code, Some(4 | 10)) && !target.exists(), "{:?}\n{}", run.code, run.stderr);

    // Of a run that was killed while it gave the files their names there is no record, only what it was about to do.
    for (number, expected) in [(0, 10), (1, 0)] {
        let killed = folder.path(&format!("killed {number}"));
        copy_backup(&backup, &killed);
        for name in tree::names(&killed).iter().filter(|name| number == 0 && name.ends_with(".01")) {
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
        assert!(!everything(&target).keys().any(|path| path.ends_with("d/autogen/4")), "a shard of the killed run");
    }
}

#[test]
fn a_damaged_record_is_in_the_way_of_no_other_set_that_is_named() {
    let folder = Folder::new();
    let backup = folder.path("backup");
    let server = Influxd::start(&folder.path("server"), Index::Inmem);
    server.execute("CREATE DATABASE d");
    let host = server.host();
    let mut ids = Vec::new();
    for (value, flags) in [(1, &[][..]), (2, &[]), (3, &[]), (4, &["-since", "last"])] {
        server.write("d", "", &format!("m v={value} {}", MONDAY + value));
        snap([&["backup", "-quiet", "-host", &host], flags, &[utf8(&backup)]].concat()).expect(0);
        let records = tree::names(&backup.join(".snap")).into_iter();
        ids = records.filter_map(|name| Some(name.strip_suffix(".json")?.to_owned())).collect();
    }
    server.stop();
    let record = |nth: usize| backup.join(format!(".snap/{}.json", ids[nth]));
    let sound = fs::read(record(1)).expect("a record");
    fs::write(record(1), &sound[..sound.len() / 2]).expect("damaging a record");
    let name = format!(".snap/{}.json", ids[1]);

    let listed = snap(["list", utf8(&backup)]).expect(4);
    assert!(listed.stderr.contains(&name) && ids.iter().all(|id| *id == ids[1] || listed.stdout.contains(id)), "{listed:?}");
    assert!(snap(["list", "-quiet", utf8(&backup)]).expect(4).stderr.contains(&name));
    snap(["info", utf8(&backup)]).expect(4);
    assert!(snap(["info", utf8(&backup), &ids[0]]).expect(0).stderr.contains(&name));
    // Which is the newest, or what an increment stands on, nobody can tell.
    let target = folder.path("target");
    for flags in [&[][..], &["latest"]] {
        let run = restoring(&backup, &target, &[]).args(flags).run().expect(4);
        assert!(run.stderr.contains(&name) && run.stderr.contains("hint: another set can be named"), "{}", run.stderr);
    }
    for (nth, points) in [(0, 1), (2, 3)] {
        let target = folder.path(&format!("target {nth}"));
        let run = restoring(&backup, &target, &[]).args([&ids[nth]]).run().expect(0);
        assert!(run.stderr.contains(&format!("warning: {name} is passed over")), "{}", run.stderr);
        let server = Influxd::start(&target, Index::Inmem);
        assert_eq!(server.points_in("d", "autogen").len(), points);
    }
    // The full set below it is whole, and the files in between may be the damaged record's.
    restoring(&backup, &folder.path("increment"), &[]).args([&ids[3]]).run().expect(0);
    fs::write(record(1), &sound).expect("mending a record");
    let record = (fs::read(record(2)).expect("a record"), record(2));
    fs::write(&record.1, &record.0[..record.0.len() / 2]).expect("damaging a record");
    let run = restoring(&backup, &target, &[]).args([&ids[3]]).run().expect(4);
    assert!(run.stderr.contains("is damaged, and may be what tells of d.autogen.00001.02"), "{}", run.stderr);
    assert!(!target.exists());
}

#[test]
fn a_damaged_backup_of_influxd_is_told_by_its_framing_and_its_blocks() {
    let folder = Folder::new();
    let backup = folder.backup("backup", &[WEEK, NAMED], 1);
    let target = folder.path("target");
    for file in ["meta.00".to_owned(), shard_file(WEEK, 0), shard_file(NAMED, 0)] {
        let path = backup.join(&file);
        let content = fs::read(&path).expect("a file of the backup");
        // Without a record, nothing tells a flipped byte of a key, nor of the padding behind the file.
        let told = |damage: &Damage| match damage {
            Damage::Flip(at) if file == "meta.00" => *at < 16,
            Damage::Flip(at) => *at < 500 || (512..551).contains(at) || *at >= content.len() - 1024,
            _ => true,
        };
        for damage in Damage::matrix(content.len(), 37).into_iter().filter(told) {
            damage.apply(&path);
            let run = restore(&backup, &target, &[]);
            assert!(run.code == Some(4) && !target.exists(), "{file} {damage:?}: {:?}\n{}", run.code, run.stderr);
            assert!(run.stderr.contains(&file), "{file} {damage:?}: {}", run.stderr);
            fs::write(&path, &content).expect("mending the file");
        }
    }
    Damage::Delete.apply(&backup.join(shard_file(NAMED, 0)));
    let run = restore(&backup, &target, &[]).expect(3);
    assert!(run.stderr.contains("db.dot/two weeks/100") && target.join("data/d/autogen/1").exists(), "{}", run.stderr);
}

#[test]
fn a_running_influxd_is_refused() {
    let folder = Folder::new();
    let server = Influxd::start(&folder.path("live"), Index::Inmem);
    let host = server.host();
    server.execute("CREATE DATABASE d");
    server.write("d", "", &format!("m,h=a v=1.5 {MONDAY}"));
    let backup = folder.path("backup");
    snap(["backup", "-host", &host, utf8(&backup)]).expect(0);
    let points = server.points();
    let before = everything(&folder.path("live"));

    let refused = restore(&backup, &folder.path("live"), &["-force"]).expect(6);
    assert!(
        refused.stderr.contains(&server.pid().to_string()) && refused.stderr.contains("stop influxd"),
        "{}",
        refused.stderr
    );
    let after = everything(&folder.path("live"));
    let changed = differences(&after, &before);
    // The server itself writes its log.
    assert!(changed.iter().all(|path| path == Path::new("influxd.log")), "changed: {changed:?}");
    assert_eq!(server.points(), points);

    // Where its files cannot be seen, its meta store gives it away.
    let copy = folder.path("copy");
    fs::create_dir_all(copy.join("meta")).expect("a meta directory");
    fs::copy(server.meta_dir().join("meta.db"), copy.join("meta/meta.db")).expect("a copy of meta.db");
    let before = everything(&copy);
    for flags in [&["-force", "-host", &host][..], &["-merge", "-host", &host], &["-host", &host]] {
        let refused = restore(&backup, &copy, flags).expect(6);
        assert!(refused.stderr.contains(&host) && refused.stderr.contains("same meta store"), "{}", refused.stderr);
        assert_same(&everything(&copy), &before, "refused for its meta store");
    }
    server.stop();
    restore(&backup, &copy, &["-host", &host]).expect(0);
    restore(&backup, &folder.path("live"), &["-force"]).expect(0);
    assert_eq!(Influxd::start(&folder.path("live"), Index::Inmem).points(), points);
}

#[test]
fn names_that_lead_outside_are_refused() {
    let folder = Folder::new();
    let good = ("good", "autogen", 7);
    let refuse = |number: usize, backup: &Path, what: &str, codes: &[i32]| {
        let target = folder.path("deep/inside/target");
        let before = everything(folder.0.path());
        let run = restore(backup, &target, &[]);
        assert!(run.code.is_some_and(|code| codes.contains(&code)), "{number} {what}: {:?}\n{}", run.code, run.stderr);
        assert_same(&everything(folder.0.path()), &before, what);
    };
    let names = [
        ("..", "autogen"),
        (".", "autogen"),
        ("d", ".."),
        ("d", "."),
        ("a\\b", "autogen"),
        ("../x", "autogen"),
        ("a/b", "autogen"),
        ("/abs", "autogen"),
        ("d", "../../x"),
        ("d", "/abs"),
        ("d", "a/b"),
        ("", "autogen"),
        ("d", ""),
    ];
    for (number, (db, rp)) in names.into_iter().enumerate() {
        let backup = folder.backup(&format!("names {number}"), &[good], 1);
        let bad = (db, rp, 1);
        fs::write(backup.join("meta.00"), meta(&[good, bad])).expect("a meta store");
        // A file name cannot hold a slash, so only some of these names can have a file.
        if !db.contains('/') && !rp.contains('/') {
            let tar = shard_tar(bad, &[("000000001-000000001.tsm", TSM)]);
            fs::write(backup.join(shard_file(bad, 0)), tar).expect("a shard");
        }
        refuse(number, &backup, &format!("the names {db:?} and {rp:?}"), &[6]);
    }

    // What the tar names must be below the shard it is of.
    let regular = EntryType::Regular;
    let members = [
        ("good/autogen/7/../../../../../x.tsm", regular, ""),
        ("good/autogen/7/..", regular, ""),
        ("good/autogen/7/./../x.tsm", regular, ""),
        ("good/autogen/7/", regular, ""),
        ("good/autogen/7", regular, ""),
        ("good/autogen/7//etc/x.tsm", regular, ""),
        ("good/autogen/70/x.tsm", regular, ""),
        ("good/autogen/8/x.tsm", regular, ""),
        ("../x.tsm", regular, ""),
        ("/tmp/x.tsm", regular, ""),
        ("x.tsm", regular, ""),
        ("good/autogen/7/link", EntryType::Symlink, "/etc"),
        ("good/autogen/7/link", EntryType::Link, "/etc/passwd"),
        ("good/autogen/7/pipe", EntryType::Fifo, ""),
        ("good/autogen/7/device", EntryType::Char, ""),
        ("good/autogen/7/../8", EntryType::Directory, ""),
    ];
    for (number, (name, kind, link)) in members.into_iter().enumerate() {
        let backup = folder.backup(&format!("members {number}"), &[good], 1);
        let mut tar = member("good/autogen/7/000000001-000000001.tsm", regular, "", TSM);
        tar.extend(member(name, kind, link, if kind == regular { TSM } else { b"" }));
        tar.resize(tar.len() + 1024, 0);
        fs::write(backup.join(shard_file(good, 0)), tar).expect("a shard");
        refuse(number, &backup, &format!("a member {name} of kind {kind:?}"), &[4, 6]);
    }

    let backup = folder.backup("good", &[good], 1);
    for flags in [["-newdb", "../x"], ["-newdb", "a/b"], ["-newdb", ".."], ["-newdb", ""]] {
        let target = folder.path("deep/inside/target");
        let before = everything(folder.0.path());
        let run = restore(&backup, &target, &[&["-database", "good"][..], &flags].concat());
        assert!(matches!(run.code, Some(2 | 6)), "{flags:?}: {:?}\n{}", run.code, run.stderr);
        assert_same(&everything(folder.0.path()), &before, "the flags");
    }
}

/// Waits until the condition holds, or the run has ended without it.
fn wait_until(run: &Running, condition: impl Fn() -> bool) -> bool {
    let stat = PathBuf::from(format!("/proc/{}/stat", run.pid()));
    loop {
        if condition() {
            return true;
        }
        // A process that has ended and was not waited for yet is a zombie.
        let ended = fs::read_to_string(&stat).map_or(true, |stat| stat.rsplit(") ").next().is_some_and(|s| s.starts_with('Z')));
        if ended {
            return condition();
        }
        thread::sleep(Duration::from_micros(200));
    }
}

/// A backup of some shards of several MiB each.
fn large_backup(folder: &Folder, name: &str, value: u8) -> PathBuf {
    let shards: Vec<Shard<'_>> = (1..=6).map(|id| ("d", "autogen", id)).collect();
    let backup = folder.backup(name, &shards, value);
    let content = large_tsm(value);
    for shard in shards {
        let mut file = fs::File::create(backup.join(shard_file(shard, 0))).expect("a shard");
        file.write_all(&shard_tar(shard, &[("000000001-000000001.tsm", &content)])).expect("writing a shard");
    }
    backup
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
        let entries = |folder: &str| fs::read_dir(hidden(target).join(folder)).map_or(0, Iterator::count);
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
    assert!(wait_until(&run, || moment.has_come(target)), "{moment:?} never came");
    run.signal(signal);
    run.wait()
}

#[test]
fn a_restore_that_is_killed_while_it_unpacks_leaves_nothing_that_the_next_one_minds() {
    let folder = Folder::new();
    let backup = large_backup(&folder, "large", 1);
    let whole = folder.outcome(&backup);
    for moment in [Moment::Unpacked(1), Moment::Unpacked(2)] {
        let target = folder.path(&format!("target {moment:?}"));
        interrupted(restoring(&backup, &target, &["-jobs", "1"]), &target, moment, libc::SIGKILL);
        restore(&backup, &target, &[]).expect(0);
        assert_same(&everything(&target), &whole, &format!("killed at {moment:?}"));
    }
}

#[test]
fn a_forced_restore_that_is_killed_leaves_the_old_or_the_new_and_never_a_mixture() {
    let folder = Folder::new();
    let (old, new) = (many_shards(&folder, "old", 1), many_shards(&folder, "new", 2));
    // Another meta store as well.
    let extra: Vec<Shard<'_>> = (1..=200).map(|id| ("d", "autogen", id)).chain([("e", "autogen", 201)]).collect();
    fs::write(new.join("meta.00"), meta(&extra)).expect("a meta store");
    fs::write(
        new.join(shard_file(("e", "autogen", 201), 0)),
        shard_tar(("e", "autogen", 201), &[("000000009-000000001.tsm", TSM)]),
    )
    .expect("a shard");
    let (before, after) = (folder.outcome(&old), folder.outcome(&new));
    // A run that is refused need not clear away what was only prepared.
    let files = |tree: &Tree| -> Tree {
        let files = tree.iter().filter(|(path, content)| content.is_some() && !path.starts_with("data/.snap-restore"));
        files.map(|(path, content)| (path.clone(), content.clone())).collect()
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
            let args = ["restore", "-metadir", "meta", "-datadir", "data", "-force", "-jobs", "1", utf8(&new)];
            Snap::new(args).dir(&target)
        } else {
            restoring(&new, &target, &["-force", "-jobs", "1"])
        };
        interrupted(forced, &target, moment, libc::SIGKILL);
        restore(&new, &target, &[]).expect(6);
        let found = files(&everything(&target));
        let (from_old, from_new) = (differences(&found, &files(&before)), differences(&found, &files(&after)));
        assert!(from_old.is_empty() || from_new.is_empty(), "{moment:?}: neither old, {from_old:?}, nor new, {from_new:?}");
        restore(&new, &target, &["-force"]).expect(0);
        assert_same(&files(&everything(&target)), &files(&after), &format!("killed at {moment:?}"));
        assert!(!hidden(&target).exists() && !target.join("wal/.snap-restore").exists());
    }
}

#[test]
fn a_restore_that_is_told_to_stop_puts_everything_back() {
    let folder = Folder::new();
    let large = large_backup(&folder, "large", 1);
    for (signal, code) in [(libc::SIGTERM, 143), (libc::SIGINT, 130)] {
        let target = folder.path(&format!("target {code}"));
        fs::create_dir(&target).expect("a target");
        let before = everything(&target);
        interrupted(restoring(&large, &target, &["-jobs", "1"]), &target, Moment::Unpacked(1), signal).expect(code);
        let mut left = everything(&target);
        // The directories that were asked for may be there, empty.
        for directory in ["data", "meta"] {
            left.remove(Path::new(directory));
        }
        assert_same(&left, &before, "unpacking");
    }

    let (old, new) = (many_shards(&folder, "old", 1), many_shards(&folder, "new", 2));
    let before = folder.outcome(&old);
    for moment in [Moment::Unpacked(100), Moment::MovedAway(2), Moment::MovedAway(100)] {
        let target = folder.path(&format!("target {moment:?}"));
        restore(&old, &target, &[]).expect(0);
        let forced = restoring(&new, &target, &["-force", "-jobs", "1"]);
        interrupted(forced, &target, moment, libc::SIGTERM).expect(143);
        assert_same(&everything(&target), &before, &format!("stopped at {moment:?}"));
    }
}

#[test]
fn what_a_killed_restore_left_does_not_disturb_an_influxd_that_is_started_on_it() {
    let folder = Folder::new();
    let target = folder.path("server");
    let server = Influxd::start(&target, Index::Inmem);
    server.execute("CREATE DATABASE d");
    for week in 0..6 {
        server.write("d", "", &format!("m,h=a v={week}i {}", MONDAY + week * 7 * 86_400_000_000_000));
    }
    data::flush(&server);
    let points = server.points();
    server.stop();
    let forced = restoring(&large_backup(&folder, "large", 1), &target, &["-force", "-jobs", "1"]);
    interrupted(forced, &target, Moment::Unpacked(3), libc::SIGKILL);
    let server = Influxd::start(&target, Index::Inmem);
    assert_eq!(server.points(), points);
    let log = server.log();
    let opened = log.lines().find(|line| line.contains("Opened") && line.contains(".snap-restore"));
    assert!(opened.is_none() && !log.contains("lvl=error"), "{opened:?}\n{log}");
}

#[test]
fn what_a_killed_restore_moved_is_not_put_back_under_a_running_influxd() {
    let folder = Folder::new();
    let (old, new) = (many_shards(&folder, "old", 1), many_shards(&folder, "new", 2));
    let target = folder.path("server");
    restore(&old, &target, &[]).expect(0);
    let forced = restoring(&new, &target, &["-force", "-jobs", "1"]);
    interrupted(forced, &target, Moment::MovedAway(50), libc::SIGKILL);
    assert!(Moment::Planned.has_come(&target), "the restore was over before it was killed");
    let server = Influxd::start(&target, Index::Inmem);
    let before = everything(&target.join("data"));
    for flags in [&["-force"][..], &[]] {
        restore(&new, &target, flags).expect(6);
        assert_same(&everything(&target.join("data")), &before, "refused under a running influxd");
    }
    server.stop();
    restore(&new, &target, &["-force"]).expect(0);
    let points = Influxd::start(&target, Index::Inmem).points();
    // The value in every one of the new shards.
    assert!(points.len() == 200 && points.iter().all(|point| point.ends_with("=2")), "{:?}", points.first());
    assert!(!hidden(&target).exists());
}

#[test]
fn new_files_get_owner_and_mode_of_the_target_directory() {
    const SOMEBODY: u32 = 12_345;
    let folder = Folder::new();
    let backup = folder.backup("backup", &[WEEK, NAMED], 1);
    // Writing to a directory's own file tells who one is.
    let root = fs::metadata(&backup).expect("metadata").uid() == 0;
    let target = folder.path("target");
    for (name, mode) in [("data", 0o2750), ("meta", 0o750), ("bare", 0o700)] {
        let directory = target.join(name);
        fs::create_dir_all(&directory).expect("a directory");
        fs::set_permissions(&directory, fs::Permissions::from_mode(mode & 0o777)).expect("setting a mode");
        if root {
            std::os::unix::fs::chown(&directory, Some(SOMEBODY), Some(SOMEBODY + 1)).expect("changing an owner");
        }
    }
    let check = |directory: &Path, private: bool| {
        for path in everything(directory).keys().filter(|path| !path.as_os_str().is_empty()) {
            let metadata = fs::metadata(directory.join(path)).expect("metadata");
            let expected = match (metadata.is_dir(), private) {
                (true, false) => 0o750,
                (true, true) => 0o700,
                (false, false) => 0o640,
                (false, true) => 0o600,
            };
            assert_eq!(metadata.mode() & 0o7777, expected, "the mode of {}", path.display());
            if root {
                assert_eq!((metadata.uid(), metadata.gid()), (SOMEBODY, SOMEBODY + 1), "the owner of {}", path.display());
            }
        }
    };
    restore(&backup, &target, &["-index", "tsi1"]).expect(0);
    check(&target.join("data"), false);
    check(&target.join("meta"), false);
    assert!(target.join("data/d/autogen/1/index").is_dir());
    // Directories that are made are for the owner alone, and belong to whom the directory above belongs.
    restore(&backup, &target.join("bare"), &[]).expect(0);
    check(&target.join("bare"), true);
}

#[test]
fn a_disk_without_room_is_refused() {
    let folder = Folder::new();
    let backup = large_backup(&folder, "large", 1);
    let disk = folder.path("disk");
    fs::create_dir(&disk).expect("a mount point");
    let script = format!(
        r#""$snap" restore -metadir "$disk/target/meta" -datadir "$disk/target/data" {}; echo "exit $?"; ls -A "$disk""#,
        utf8(&backup)
    );
    let output = on_small_disk("20m", &disk, &script);
    let (said, printed) = (String::from_utf8_lossy(&output.stderr), String::from_utf8_lossy(&output.stdout));
    assert!(said.contains("bytes free") && said.contains("hint:"), "{said}");
    assert_eq!(printed, "exit 6\n");
}

#[test]
fn a_dry_run_says_what_would_be_done_and_changes_nothing() {
    let folder = Folder::new();
    let server = Influxd::start(&folder.path("server"), Index::Inmem);
    let host = server.host();
    server.execute("CREATE DATABASE d");
    server.write("d", "", &format!("m v=1 {MONDAY}"));
    let backup = folder.path("backup");
    let run = snap(["backup", "-dry-run", "-host", &host, utf8(&backup)]).expect(0);
    assert!(run.stdout.contains("dry run") && run.stderr.contains("d/autogen/1"), "{}{}", run.stdout, run.stderr);
    assert!(!backup.exists(), "the backup directory was made");
    snap(["backup", "-host", &host, utf8(&backup)]).expect(0);
    let before = everything(&backup);
    snap(["backup", "-dry-run", "-host", &host, utf8(&backup)]).expect(0);
    assert_same(&everything(&backup), &before, "a backup's dry run");
    server.stop();

    let target = folder.path("target");
    let run = restore(&backup, &target, &["-dry-run"]).expect(0);
    let shard = target.join("data/d/autogen/1");
    for named in [utf8(&shard), "d.autogen.00001.00", "meta.db"] {
        assert!(run.stderr.contains(named), "{named} is not in the plan: {}", run.stderr);
    }
    assert!(run.stdout.contains("dry run") && !target.exists(), "{}", run.stdout);
    restore(&backup, &target, &[]).expect(0);
    let before = everything(&target);
    restore(&backup, &target, &["-dry-run", "-force"]).expect(0);
    restore(&backup, &target, &["-dry-run"]).expect(6);
    assert_same(&everything(&target), &before, "a restore's dry run");
}

#[test]
fn the_newest_of_a_hundred_sets_is_told_by_its_number() {
    let folder = Folder::new();
    // `meta.autogen.00039.00` and `.pending` files sort behind `meta.NN`, and `meta.99` behind `meta.100`.
    let (own, of_meta, late) = (("d", "autogen", 10), ("meta", "autogen", 39), ("d", "autogen", 100));
    let backup = folder.backup("backup", &[own, of_meta], 1);
    let put = |name: String, content: Vec<u8>| fs::write(backup.join(name), content).expect("a file of the backup");
    let tar = |shard, value| shard_tar(shard, &[("000000001-000000001.tsm", &tsm(value))]);
    for number in 1..=99 {
        put(format!("meta.{number:02}"), meta(&[own, of_meta]));
    }
    put(shard_file(own, 98), tar(own, 98));
    put(shard_file(own, 99), shard_tar(own, &[("000000001-000000001.tsm", &tsm(99)), ("000000002-000000001.tsm", &tsm(99))]));
    put("meta.100".to_owned(), meta(&[own, of_meta, late]));
    put(shard_file(own, 100), tar(own, 100));
    put(shard_file(late, 100), tar(late, 100));
    put("meta.101.pending".to_owned(), b"half".to_vec());
    put(format!("{}.pending", shard_file(own, 101)), b"half".to_vec());
    put(shard_file(("d", "autogen", 1), 0), b"a shard that the newest meta store does not name".to_vec());
    put("notes.txt".to_owned(), b"not a backup".to_vec());

    let target = folder.path("target");
    restore(&backup, &target, &[]).expect(0);
    let read = |name: &str| fs::read(target.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let blob = MetaBlob::read_from(&meta(&[own, of_meta, late])[..]).expect("a meta store");
    assert_eq!((read("meta/meta.db"), read("meta/node.json")), (blob.meta, blob.node));
    let mut files: Vec<String> = tree::files(&target.join("data")).into_keys().collect();
    files.sort();
    assert_eq!(
        files,
        [
            "d/autogen/10/000000001-000000001.tsm",
            "d/autogen/10/000000002-000000001.tsm",
            "d/autogen/100/000000001-000000001.tsm",
            "meta/autogen/39/000000001-000000001.tsm",
        ]
    );
    assert_eq!(read("data/d/autogen/10/000000001-000000001.tsm"), tsm(100));
    assert_eq!(read("data/d/autogen/10/000000002-000000001.tsm"), tsm(99));
    assert_eq!(read("data/meta/autogen/39/000000001-000000001.tsm"), tsm(1));
}
