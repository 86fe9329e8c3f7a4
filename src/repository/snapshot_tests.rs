//! Tests of reading a directory in which others work meanwhile, step by step, and of what stands in
//! it that is nobody's record.

use std::path::PathBuf;
use std::process::Command;

use std::fs;
use std::path::Path;

use super::*;
use crate::error::kind_of;
use crate::repository::document::LARGEST;
use crate::repository::hidden::hidden;
use crate::repository::names;
use crate::repository::{Catalog, FileDigest, FileRecord, test_records};
use crate::time;

/// A record of one shard, whose files are not there yet.
fn record(number: u32) -> SetRecord {
    let file = |name: String| FileRecord {
        size: name.len() as u64,
        name,
        modified: None,
        digest: FileDigest::Blake3([0; 32].into()),
        blocks: None,
    };
    let started = Timestamp::from_second(1_767_225_600 + i64::from(number)).unwrap();
    let path = test_records::path("db", 7);
    let mut shard = test_records::shard(&path);
    shard.file = Some(file(names::shard_file(&path, number)));
    SetRecord {
        number,
        meta: file(names::meta_file(number)),
        ..test_records::set(&time::stamp(started), started, vec![shard])
    }
}

fn put_files(directory: &Path, record: &SetRecord) {
    for file in record.files() {
        fs::write(directory.join(&file.name), &file.name).unwrap();
    }
}

/// A set that is whole.
fn put(directory: &Path, number: u32) -> SetRecord {
    let record = record(number);
    test_records::put(directory, &record);
    put_files(directory, &record);
    record
}

type Step = Box<dyn FnOnce()>;

/// What a commit does, one step after another.
fn commit(directory: &Path, record: &SetRecord) -> Vec<Step> {
    let at = |kind: &str| hidden(directory).join(format!("{}.{kind}", record.id));
    let document = serde_json::to_vec(record).unwrap();
    let (intent, same) = (at("commit"), document.clone());
    let named: Vec<PathBuf> = record
        .files()
        .map(|file| directory.join(&file.name))
        .collect();
    let mut steps: Vec<Step> = vec![Box::new(move || fs::write(intent, same).unwrap())];
    for path in named {
        let name = path.file_name().unwrap().to_str().unwrap().to_owned();
        steps.push(Box::new(move || fs::write(path, name).unwrap()));
    }
    let (to, intent) = (at("json"), at("commit"));
    steps.push(Box::new(move || fs::write(to, document).unwrap()));
    steps.push(Box::new(move || fs::remove_file(intent).unwrap()));
    steps
}

/// What a removal does, one step after another.
fn forget(directory: &Path, record: &SetRecord) -> Vec<Step> {
    let at = |kind: &str| hidden(directory).join(format!("{}.{kind}", record.id));
    let (from, to, intent) = (at("json"), at("forget"), at("forget"));
    let mut steps: Vec<Step> = vec![Box::new(move || fs::rename(from, to).unwrap())];
    for file in record.files() {
        let path = directory.join(&file.name);
        steps.push(Box::new(move || fs::remove_file(path).unwrap()));
    }
    steps.push(Box::new(move || fs::remove_file(intent).unwrap()));
    steps
}

/// Reads a directory in which these steps happen meanwhile: `before[m]` of them before the mth
/// moment.
fn read_while(directory: &Path, steps: Vec<Step>, before: [usize; 3]) -> Catalog {
    let mut steps = steps.into_iter();
    let mut done = 0;
    MEANWHILE.set(Some(Box::new(move |moment| {
        let due = before[moment as usize];
        for step in steps.by_ref().take(due.saturating_sub(done)) {
            step();
            done += 1;
        }
    })));
    let catalog = Catalog::read(directory).unwrap();
    MEANWHILE.set(None);
    catalog
}

/// Every way in which `steps` steps can happen at three moments, or after them.
fn ways(steps: usize) -> impl Iterator<Item = [usize; 3]> {
    let all = (0..=steps).flat_map(move |a| (a..=steps).map(move |b| (a, b)));
    all.flat_map(move |(a, b)| (b..=steps).map(move |c| [a, b, c]))
}

/// The ids, if each set is snap's and whole, and nothing else is there.
fn whole(catalog: &Catalog) -> Vec<&str> {
    let is_there = |file: &FileRecord| catalog.file(&file.name) == Some(file.size);
    assert!(catalog.damaged().is_empty());
    for set in catalog.sets() {
        let record = set.record().expect("no set is taken for influxd's");
        assert!(record.files().all(is_there), "{} lacks files", set.id);
    }
    let recorded = catalog.records().flat_map(SetRecord::files).count();
    assert_eq!(catalog.files().count(), recorded);
    catalog.sets().iter().map(|set| set.id.as_str()).collect()
}

#[test]
fn however_a_commit_falls_between_the_reads_its_set_is_seen_whole_or_not_at_all() {
    for way in ways(5) {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let (old, new) = (put(directory, 0), record(1));
        let catalog = read_while(directory, commit(directory, &new), way);
        let ids = whole(&catalog);
        assert!(
            ids == [old.id.as_str()] || ids == [old.id.as_str(), new.id.as_str()],
            "{way:?}: {ids:?}"
        );
    }
}

#[test]
fn however_a_removal_falls_between_the_reads_its_set_is_seen_whole_or_not_at_all() {
    for way in ways(4) {
        let directory = tempfile::tempdir().unwrap();
        let directory = directory.path();
        let (old, new) = (put(directory, 0), put(directory, 1));
        let catalog = read_while(directory, forget(directory, &old), way);
        let ids = whole(&catalog);
        assert!(
            ids == [new.id.as_str()] || ids == [old.id.as_str(), new.id.as_str()],
            "{way:?}: {ids:?}"
        );
    }
}

#[test]
fn a_commit_that_begins_again_with_other_names_is_not_taken_for_the_one_before() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let old = put(directory, 0);
    let (first, mut second) = (record(1), record(2));
    second.id.clone_from(&first.id);
    second.started = first.started;
    let intent = hidden(directory).join(format!("{}.commit", first.id));
    fs::write(&intent, serde_json::to_vec(&first).unwrap()).unwrap();
    let modified = fs::metadata(&intent).unwrap().modified().unwrap();
    let replace: Step = Box::new({
        let (directory, second) = (directory.to_owned(), second.clone());
        move || {
            fs::write(&intent, serde_json::to_vec(&second).unwrap()).unwrap();
            let file = fs::File::options().write(true).open(&intent).unwrap();
            file.set_modified(modified).unwrap();
            put_files(&directory, &second);
        }
    });
    let catalog = read_while(directory, vec![replace], [0, 1, 1]);
    assert_eq!(whole(&catalog), [old.id.as_str()]);
}

#[test]
fn a_directory_that_never_stays_the_same_is_given_up_on() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    put(directory, 0);
    let mark = hidden(directory).join("20200101T000000Z.keep");
    let mut count = 0;
    MEANWHILE.set(Some(Box::new(move |_| {
        count += 1;
        fs::write(&mark, " ".repeat(count)).unwrap();
    })));
    let error = Catalog::read(directory).unwrap_err();
    MEANWHILE.set(None);
    assert!(error.to_string().contains("changes faster"), "{error:#}");
}

#[test]
fn what_sync_programs_and_file_servers_leave_is_no_record_no_mark_and_no_file() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let (one, two) = (put(directory, 0), put(directory, 1));
    let document = fs::read(hidden(directory).join(format!("{}.json", one.id))).unwrap();
    for kind in ["json", "commit", "forget", "keep"] {
        let id = &one.id;
        for name in [
            format!("._{id}.{kind}"),
            format!("{id} (conflicted copy).{kind}"),
            format!("{id} (nas's conflicted copy 2026-01-01).{kind}"),
            format!("{id}.sync-conflict-20260101-080000-ABCDEFG.{kind}"),
            format!("{id} 2.{kind}"),
            format!("{id}.{kind}.bak"),
            format!(".{id}.{kind}.Xa81bC"),
            format!("2026-01-01.{kind}"),
            format!(".{kind}"),
        ] {
            fs::write(hidden(directory).join(name), &document).unwrap();
        }
    }
    let shard = &two.shards[0].file.as_ref().unwrap().name;
    for name in [
        format!("._{shard}"),
        format!("{shard} (conflicted copy)"),
        "db.autogen.00007 2.01".into(),
        "db.autogen.00007.sync-conflict-20260101-080000-ABCDEFG.01".into(),
        "meta (conflicted copy).00".into(),
        "meta 2.00".into(),
        "._meta.00".into(),
        "._20260101T000000Z.manifest".into(),
        "20260101T000000Z 2.manifest".into(),
        "20260101T000000Z (conflicted copy).manifest".into(),
        "20260101T000000Z.sync-conflict-20260101-080000-ABCDEFG.manifest".into(),
        "copy.manifest".into(),
    ] {
        fs::write(directory.join(name), &document).unwrap();
    }
    // Beside a file that is gone, it is known by how it begins.
    let mut apple = APPLE_DOUBLE.to_vec();
    apple.extend([0, 2, 0, 0]);
    fs::write(directory.join("._db.autogen.00099.04"), apple).unwrap();
    let catalog = Catalog::read(directory).unwrap();
    assert_eq!(
        catalog.sets().len(),
        2,
        "{:?}",
        catalog.sets().iter().map(|set| &set.id).collect::<Vec<_>>()
    );
    assert!(catalog.sets().iter().all(|set| set.pin.is_none()));
    assert!(catalog.half_removed().is_empty());
    let shards: Vec<&str> = catalog.shard_files().collect();
    assert_eq!(shards, ["db.autogen.00007.00", "db.autogen.00007.01"]);

    // A database may be called so all the same.
    let mut tar = b"._db/autogen/00099/000000001-000000001.tsm".to_vec();
    tar.resize(1024, 0);
    fs::write(directory.join("._db.autogen.00099.01"), tar).unwrap();
    let catalog = Catalog::read(directory).unwrap();
    let shard = test_records::path("._db", 99);
    assert!((0..catalog.sets().len()).any(|at| catalog.file_of(at, &shard).is_some()));
}

#[test]
fn a_record_is_of_the_set_that_its_name_says_and_names_its_own_files() {
    type Change = fn(&mut SetRecord);
    let changes: [Change; 8] = [
        |record| record.id = "../../../victim".into(),
        |record| record.id = "20200101T000000Z".into(),
        |record| record.meta.name = "../meta.00".into(),
        |record| record.meta.name = "meta.01".into(),
        |record| record.number = 1,
        |record| record.shards[0].file.as_mut().unwrap().name = "other.autogen.00007.00".into(),
        |record| record.shards[0].database = "../db".into(),
        |record| record.shards[0].shared_with = Some("../x".into()),
    ];
    for (at, change) in changes.into_iter().enumerate() {
        let directory = tempfile::tempdir().unwrap();
        let mut changed = put(directory.path(), 0);
        let path = hidden(directory.path()).join(format!("{}.json", changed.id));
        change(&mut changed);
        fs::write(path, serde_json::to_vec(&changed).unwrap()).unwrap();
        let error = Catalog::read(directory.path()).unwrap_err();
        assert_eq!(kind_of(&error), ErrorKind::Damage, "{at}: {error:#}");
    }
}

#[test]
fn nothing_but_a_regular_file_is_read_and_nothing_else_makes_a_reader_wait() {
    let fifo = |path: PathBuf| {
        assert!(Command::new("mkfifo").arg(path).status().unwrap().success());
    };
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let kept = put(directory, 0);
    let at = |name: &str| hidden(directory).join(name);
    fifo(at("20200101T000000Z.json"));
    fifo(at("20200101T000001Z.commit"));
    fifo(at("20200101T000002Z.forget"));
    fifo(at(&format!("{}.keep", kept.id)));
    std::os::unix::fs::symlink("/dev/zero", at("20200101T000003Z.json")).unwrap();
    let huge = fs::File::create(at("20200101T000004Z.json")).unwrap();
    huge.set_len(LARGEST + 1).unwrap();
    fifo(directory.join("20200101T000005Z.manifest"));
    fifo(directory.join("db.autogen.00008.00"));
    fifo(directory.join("meta.01"));

    let (catalog, unreadable) = Catalog::read_past_damage(directory).unwrap();
    let mut damaged: Vec<String> = unreadable
        .iter()
        .map(|damaged| format!("{}: {:#}", damaged.file, damaged.error))
        .collect();
    assert_eq!(whole_sets(&catalog), [kept.id.as_str()]);
    assert!(
        catalog.sets()[0].pin.is_some(),
        "a mark is not read to count"
    );
    damaged.sort();
    assert_eq!(damaged.len(), 5, "{damaged:#?}");
    assert!(
        damaged[0].ends_with("it is not a regular file"),
        "{}",
        damaged[0]
    );
    assert!(damaged[3].contains("link"), "{}", damaged[3]);
    assert!(damaged[4].contains("more than"), "{}", damaged[4]);
    assert_eq!(catalog.absence("meta.01"), "is not a regular file");

    // What takes the place of a file after the directory was read.
    let meta = directory.join(&kept.meta.name);
    fs::remove_file(&meta).unwrap();
    fifo(meta);
    let error = catalog.read_meta(&catalog.sets()[0]).unwrap_err();
    assert!(
        format!("{error:#}").contains("not a regular file"),
        "{error:#}"
    );
}

fn whole_sets(catalog: &Catalog) -> Vec<&str> {
    catalog.sets().iter().map(|set| set.id.as_str()).collect()
}
