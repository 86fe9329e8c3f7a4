//! Tests of writing through a store: what holds on a disk holds in memory, and whenever a run is
//! stopped, what is left is a backup or none.

use std::collections::HashSet;
use std::io::Write;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use jiff::Timestamp;

use super::stopping::Stopping;
use super::*;
use crate::cancel::Cancel;
use crate::error::{ErrorKind, kind_of};
use crate::repository::FileDigest;
use crate::repository::hidden::{COMMIT, name_of, own_name};
use crate::repository::layout::Layout;
use crate::repository::record::{FileRecord, Selection, SetRecord, ShardRecord};
use crate::repository::{
    Catalog, Comparison, Maintenance, Pin, Removed, RunHeader, SealedFile, SetFiles, SetWriter,
    manifest, names, test_records,
};

const LAYOUTS: [Layout; 2] = [Layout::Legacy, Layout::Portable];

/// Does a test in each kind of store.
fn on_each(test: impl Fn(&Arc<dyn WritableStore>)) {
    let objects: Arc<dyn WritableStore> = Arc::new(MemoryStore::of_objects());
    test(&objects);
    on_each_with_lock(&test);
    #[cfg(feature = "object-store")]
    test(&object::in_memory());
}

/// How many kinds that are.
const KINDS: usize = if cfg!(feature = "object-store") { 4 } else { 3 };

/// Does a test in each kind of store that has a lock, and names to give.
fn on_each_with_lock(test: impl Fn(&Arc<dyn WritableStore>)) {
    let memory: Arc<dyn WritableStore> = Arc::new(MemoryStore::default());
    test(&memory);
    let directory = tempfile::tempdir().unwrap();
    let local: Arc<dyn WritableStore> = Arc::new(LocalStore::new(directory.path()));
    test(&local);
}

fn try_begin(store: &Arc<dyn WritableStore>, resume: bool) -> Result<SetWriter> {
    SetWriter::begin_in(
        store.clone(),
        Duration::ZERO,
        resume,
        None,
        &Cancel::default(),
    )
}

fn begin(store: &Arc<dyn WritableStore>) -> SetWriter {
    try_begin(store, false).unwrap()
}

/// A run that may make files of a legacy set.
fn begin_legacy(store: &Arc<dyn WritableStore>, resume: bool) -> SetWriter {
    let mut writer = try_begin(store, resume).unwrap();
    reserve(&mut writer, Layout::Legacy).unwrap();
    writer
}

fn maintain(store: &Arc<dyn WritableStore>) -> Maintenance {
    let begun = Maintenance::begin_in(store.clone(), Duration::ZERO, &Cancel::default());
    begun.unwrap().0
}

fn record(writer: &SetWriter, layout: Layout) -> SetRecord {
    let shard = test_records::shard(&test_records::path("db", 7));
    SetRecord {
        layout,
        ..test_records::set(writer.id(), writer.started(), vec![shard])
    }
}

/// Has names for a set of the shard.
fn reserve(writer: &mut SetWriter, layout: Layout) -> Result<()> {
    reserve_to_share(writer, layout, None)
}

/// Has names for a set of the shard, which may share a file.
fn reserve_to_share(
    writer: &mut SetWriter,
    layout: Layout,
    file: Option<&FileRecord>,
) -> Result<()> {
    let shard = test_records::path("db", 7);
    let shared: Vec<String> = file.iter().map(|file| file.name.clone()).collect();
    writer.reserve(layout, &[&shard], &shared, &Cancel::default())
}

/// The file of the shard, which holds what is no tar.
fn write_shard(writer: &SetWriter) -> Result<SealedFile> {
    let name = writer.names()?.shard(&test_records::path("db", 7));
    writer.write(&name, b"shard")
}

/// Makes a set of a shard, which it shares with an earlier one where there is one.
fn try_write(
    store: &Arc<dyn WritableStore>,
    layout: Layout,
    earlier: Option<&FileRecord>,
) -> Result<SetRecord> {
    let cancel = Cancel::default();
    let mut writer = try_begin(store, false)?;
    reserve_to_share(&mut writer, layout, earlier)?;
    let shared = match earlier {
        Some(file) => writer.share(&file.name, file, Comparison::Time, &cancel)?,
        None => None,
    };
    let shard = match shared {
        Some(shared) => shared,
        None => write_shard(&writer)?,
    };
    let files = SetFiles {
        meta: b"meta".to_vec(),
        shards: vec![(0, shard)],
    };
    let record = record(&writer, layout);
    writer.commit(record, &files, &cancel)
}

fn write(store: &Arc<dyn WritableStore>, layout: Layout) -> SetRecord {
    try_write(store, layout, None).unwrap()
}

/// Puts a set there that is older than any that is written, so that no run has to wait for another
/// second.
fn put_old(store: &Arc<dyn WritableStore>, layout: Layout, number: u32) {
    let _lock = store.lock(Duration::ZERO, &Cancel::default()).unwrap();
    let put = |name: String, content: &[u8]| {
        store
            .write_whole(&name, &mut |out| out.write_all(content))
            .unwrap();
        test_records::file(&name, content)
    };
    let started = Timestamp::from_second(1_700_000_000 + i64::from(number)).unwrap();
    let id = crate::time::stamp(started);
    let path = test_records::path("db", 7);
    let (meta, shard) = match layout {
        Layout::Legacy => (names::meta_file(number), names::shard_file(&path, number)),
        Layout::Portable => (manifest::meta_file(&id), manifest::shard_file(&id, 7)),
    };
    let shard = ShardRecord {
        file: Some(put(shard, b"shard")),
        ..test_records::shard(&path)
    };
    let manifest = manifest::manifest_file(&id);
    let record = SetRecord {
        number,
        layout,
        meta: put(meta, b"meta"),
        manifest: layout.compresses().then(|| put(manifest, b"manifest")),
        ..test_records::set(&id, started, vec![shard])
    };
    let document = name_of(&id, "json");
    store
        .write_whole(&document, &mut |out| record.write_to(out))
        .unwrap();
}

/// Writes a file anew, at another time than before, however coarse the clock of the file system.
fn rewrite(store: &Arc<dyn WritableStore>, name: &str, content: &[u8]) {
    let modified = || store.entry(name).unwrap().unwrap().modified;
    let before = modified();
    while modified() == before {
        let written = store.write_whole(name, &mut |out| out.write_all(content));
        written.unwrap();
    }
}

fn shard_file(record: &SetRecord) -> &FileRecord {
    record.shards[0].file.as_ref().unwrap()
}

fn catalog(store: &Arc<dyn WritableStore>) -> Catalog {
    let (catalog, unreadable) = Catalog::of(store.clone()).unwrap();
    assert!(unreadable.is_empty(), "{unreadable:?}");
    catalog
}

fn ids(store: &Arc<dyn WritableStore>) -> Vec<String> {
    let catalog = catalog(store);
    let ids = catalog.sets().iter().map(|set| set.id.to_string());
    ids.collect()
}

/// All names, but for the lock's.
fn all_names(store: &Arc<dyn WritableStore>) -> Vec<String> {
    let names = |folder: Folder<'_>| -> Vec<String> {
        let entries = store.list(folder).unwrap().into_iter();
        entries.map(|entry| folder.name_of(&entry.name)).collect()
    };
    let mut names = [names(Folder::Top), names(Folder::Hidden)].concat();
    names.retain(|name| name != HIDDEN && name != ".snap/lock");
    names.sort();
    names
}

fn names_of(records: &[&SetRecord]) -> Vec<String> {
    let of = |record: &&SetRecord| {
        let files = record.files().map(|file| file.name.clone());
        files.chain([name_of(&record.id, "json")]).collect()
    };
    let mut names: Vec<String> = records.iter().flat_map::<Vec<_>, _>(of).collect();
    names.sort();
    names
}

fn content(store: &Arc<dyn WritableStore>, name: &str) -> Vec<u8> {
    read_bounded(&**store, name, 1 << 20).unwrap()
}

#[test]
fn a_set_is_written_listed_and_read_back_and_leaves_nothing_else() {
    for layout in LAYOUTS {
        on_each(|store| {
            let first = write(store, layout);
            let second = write(store, layout);
            assert!(first.id < second.id && first.number + 1 == second.number);
            let catalog = catalog(store);
            assert!(catalog.records().eq([&first, &second]));
            assert_eq!(all_names(store), names_of(&[&first, &second]));
            assert_eq!(content(store, &shard_file(&first).name), b"shard");
            assert_eq!(content(store, &second.meta.name), b"meta");
        });
    }
}

#[test]
fn one_run_at_a_time_writes_and_one_that_is_dropped_leaves_nothing() {
    on_each(|store| {
        let writer = begin_legacy(store, false);
        let file = write_shard(&writer).unwrap();
        let other = try_begin(store, false);
        assert_eq!(other.is_err(), store.has_lock());
        let refused = other.err().map(|error| kind_of(&error));
        assert!(refused.is_none_or(|kind| kind == ErrorKind::Locked));
        drop((writer, file));
        assert_eq!(all_names(store), [""; 0]);
        drop(begin(store));
    });
}

#[test]
fn a_shared_file_outlives_the_set_it_comes_from_and_a_damaged_one_is_not_shared() {
    on_each(|store| {
        let first = write(store, Layout::Legacy);
        let second = try_write(store, Layout::Legacy, Some(shard_file(&first))).unwrap();
        let entry = |record: &SetRecord| {
            let entry = store.entry(&shard_file(record).name).unwrap();
            entry.unwrap()
        };
        assert_eq!(entry(&first).content, entry(&second).content);
        let has_names = shard_file(&first).name != shard_file(&second).name;
        assert_eq!(has_names, store.has_lock());
        assert_eq!(entry(&first).names, if has_names { 2 } else { 1 });
        assert_eq!(second.format, if has_names { 2 } else { 3 });
        let added = catalog(store).sets()[1].added;
        assert_eq!(added, Some("meta".len() as u64));

        let cancel = Cancel::default();
        let mut writer = begin(store);
        reserve_to_share(&mut writer, Layout::Legacy, Some(shard_file(&first))).unwrap();
        let other = FileRecord {
            digest: FileDigest::Blake3([0; 32].into()),
            ..shard_file(&first).clone()
        };
        assert!(
            writer
                .share(&other.name, &other, Comparison::Digest, &cancel)
                .unwrap()
                .is_none()
        );
        let none = writer
            .share("nowhere", &other, Comparison::Time, &cancel)
            .unwrap();
        assert!(none.is_none());
        drop(writer);

        let catalog = catalog(store);
        let oldest = HashSet::from([0]);
        let measured = Maintenance::measure(&catalog, &oldest).unwrap();
        let removed = maintain(store).remove(&catalog, &oldest, &cancel).unwrap();
        assert_eq!(removed, measured);
        let files = if has_names { 2 } else { 1 };
        assert_eq!((removed.files, removed.bytes), (files, "meta".len() as u64));
        assert_eq!(removed.left, [""; 0]);
        assert_eq!(all_names(store), names_of(&[&second]));
        assert_eq!(content(store, &shard_file(&second).name), b"shard");
    });
}

#[test]
fn a_file_that_was_touched_is_read_before_it_is_shared_and_the_new_time_recorded() {
    on_each_with_lock(|store| {
        let first = write(store, Layout::Legacy);
        let recorded = shard_file(&first);
        assert!(recorded.modified.is_some());
        let writer = begin_legacy(store, false);
        let share = |recorded: &FileRecord, comparison| {
            let shared = writer.share(&recorded.name, recorded, comparison, &Cancel::default());
            shared.unwrap().map(|file| file.record("name".to_owned()))
        };
        // What nobody touched is not read: here the digest would tell.
        let other = FileRecord {
            digest: FileDigest::Blake3([0; 32].into()),
            ..recorded.clone()
        };
        assert!(share(&other, Comparison::Time).is_some());
        assert!(share(&other, Comparison::Digest).is_none());
        // Records of older versions have no time.
        let of_old = |recorded: &FileRecord| FileRecord {
            modified: None,
            ..recorded.clone()
        };
        assert!(share(&of_old(&other), Comparison::Time).is_none());
        let now_known = share(&of_old(recorded), Comparison::Time).unwrap();
        assert_eq!(now_known.modified, recorded.modified);

        rewrite(store, &recorded.name, b"shard");
        assert!(share(&other, Comparison::Time).is_none());
        let touched = share(recorded, Comparison::Time).unwrap();
        assert_ne!(touched.modified, recorded.modified);
        let there = store.entry(&recorded.name).unwrap().unwrap();
        assert_eq!(touched.modified, there.last_modified());
        rewrite(store, &recorded.name, b"damag");
        assert!(share(&touched, Comparison::Time).is_none());
    });
}

#[test]
fn the_undoing_of_a_commit_spares_what_another_set_names_and_waits_where_none_can_tell() {
    for layout in LAYOUTS {
        on_each_with_lock(|store| {
            (0..2).for_each(|number| put_old(store, layout, number));
            let records: Vec<SetRecord> = catalog(store).records().cloned().collect();
            let [first, mut other] = records.try_into().unwrap();
            store.remove(&shard_file(&other).name).unwrap();
            other.shards[0].file.clone_from(&first.shards[0].file);
            let put = |name: &str, record: &SetRecord| {
                store.write_whole(name, &mut |out| record.write_to(out))
            };
            let other_record = name_of(&other.id, "json");
            put(&other_record, &other).unwrap();
            // As a copy leaves it that is killed where it gives files their names.
            store.remove(&name_of(&first.id, "json")).unwrap();
            put(&name_of(&first.id, COMMIT), &first).unwrap();

            let before = all_names(store);
            let damaged = store.write_whole(&other_record, &mut |out| out.write_all(b"{"));
            damaged.unwrap();
            drop(begin(store));
            assert_eq!(all_names(store), before);

            put(&other_record, &other).unwrap();
            drop(begin(store));
            assert_eq!(content(store, &shard_file(&other).name), b"shard");
            expect_nothing_else(store, &[other]);
        });
    }
}

#[test]
fn a_pinned_set_and_one_that_is_read_stay() {
    on_each_with_lock(|store| {
        let cancel = Cancel::default();
        let (pinned, read) = (write(store, Layout::Legacy), write(store, Layout::Legacy));
        let maintenance = maintain(store);
        let mut pin = Pin {
            since: Timestamp::now(),
            note: None,
        };
        maintenance.pin(&pinned.id, &pin).unwrap();
        // As long as a note may be, and each byte of it as long as JSON can make one.
        pin.note = Some("\u{1}".repeat(Pin::LONGEST_NOTE));
        maintenance.pin(&pinned.id, &pin).unwrap();
        let all = HashSet::from([0, 1]);
        let before = catalog(store);
        assert_eq!(before.sets()[0].pin, Some(pin));
        let held = before.hold([1]).unwrap();
        assert!(Maintenance::is_read(&before, 1).unwrap());
        let removed = maintenance.remove(&before, &all, &cancel).unwrap();
        assert_eq!(removed.spared, std::slice::from_ref(&read.id));
        assert_eq!(removed.files, 0);
        drop(held);
        assert!(!Maintenance::is_read(&before, 1).unwrap());
        let removed = maintenance.remove(&before, &all, &cancel).unwrap();
        assert_eq!(removed.sets, [read.id]);
        maintenance.unpin(&pinned.id).unwrap();
        assert_eq!(all_names(store), names_of(&[&pinned]));
    });
}

#[test]
fn what_a_failed_run_had_finished_is_taken_over() {
    on_each(|store| {
        let cancel = Cancel::default();
        let writer = begin_legacy(store, true);
        let run = RunHeader {
            started: writer.started(),
            cluster_id: 1,
            layout: Layout::Legacy,
            selection: Selection::default(),
        };
        assert!(writer.take_over(&run).unwrap().is_none());
        let shard = record(&writer, Layout::Legacy).shards.remove(0);
        let finished = write_shard(&writer).unwrap();
        writer.note(&shard, Some(&finished)).unwrap();
        let not_noted = writer.names().unwrap().shard(&test_records::path("db", 8));
        if store.has_lock() {
            writer.write(&not_noted, b"not noted").unwrap();
        }
        drop(writer);
        assert!(ids(store).is_empty() && !all_names(store).is_empty());

        let writer = begin_legacy(store, true);
        let left = writer.take_over(&run).unwrap().unwrap();
        let left = left.shard(&shard.path()).unwrap();
        let file = left.record.file.as_ref().unwrap();
        let taken = writer.reuse(&left.name, file, &cancel).unwrap().unwrap();
        let files = SetFiles {
            meta: b"meta".to_vec(),
            shards: vec![(0, taken)],
        };
        let record = record(&writer, Layout::Legacy);
        let record = writer.commit(record, &files, &cancel).unwrap();
        // What an interrupted run leaves where there is no lock, the next one clears away.
        drop(begin(store));
        assert_eq!(all_names(store), names_of(&[&record]));
        assert_eq!(content(store, &shard_file(&record).name), b"shard");
    });
}

/// Does something in each kind of store, which stops before each of its steps in turn, and looks at
/// what is left. `act` gives whether it came to its end.
fn stopped_at_each_step(
    prepare: impl Fn(&Arc<dyn WritableStore>),
    act: impl Fn(&Arc<dyn WritableStore>) -> bool,
    look: impl Fn(&Arc<dyn WritableStore>),
) {
    // The steps that each kind of store has taken when it came to its end.
    let taken = [const { AtomicUsize::new(0) }; KINDS];
    for steps in 0..100 {
        let kind = AtomicUsize::new(0);
        on_each(|store| {
            prepare(store);
            let stopping: Arc<dyn WritableStore> = Arc::new(Stopping::after(steps, store));
            let taken = &taken[kind.fetch_add(1, Ordering::Relaxed)];
            if act(&stopping) && taken.load(Ordering::Relaxed) == 0 {
                taken.store(steps, Ordering::Relaxed);
            }
            look(store);
        });
        if taken.iter().all(|taken| taken.load(Ordering::Relaxed) > 0) {
            break;
        }
    }
    let [objects, memory, local, ..] = taken.map(AtomicUsize::into_inner);
    assert_eq!(memory, local, "both take as many steps");
    assert!(local > 8 && objects > 5, "{local}, {objects} steps");
}

/// The records of the sets; panics where there is a set without one, or a file is not there.
fn expect_whole_sets(store: &Arc<dyn WritableStore>) -> Vec<SetRecord> {
    let catalog = catalog(store);
    for record in catalog.records() {
        let mut files = record.files();
        assert!(files.all(|file| catalog.file(&file.name) == Some(file.size)));
    }
    assert_eq!(catalog.records().count(), catalog.sets().len());
    catalog.records().cloned().collect()
}

/// Panics unless these sets are there still, and no file of any other.
fn expect_nothing_else(store: &Arc<dyn WritableStore>, sets: &[SetRecord]) {
    assert!(catalog(store).records().eq(sets));
    assert_eq!(all_names(store), names_of(&sets.iter().collect::<Vec<_>>()));
}

#[test]
fn a_commit_that_is_stopped_is_a_set_or_none_and_the_next_run_leaves_nothing_of_it() {
    for layout in LAYOUTS {
        stopped_at_each_step(
            |store| put_old(store, layout, 0),
            |store| try_write(store, layout, None).is_ok(),
            |store| {
                let sets = expect_whole_sets(store);
                assert!((1..=2).contains(&sets.len()));
                drop(begin(store));
                expect_nothing_else(store, &sets);
            },
        );
    }
}

#[test]
fn a_removal_that_is_stopped_leaves_whole_sets_and_the_next_run_ends_it() {
    for layout in LAYOUTS {
        stopped_at_each_step(
            |store| (0..2).for_each(|number| put_old(store, layout, number)),
            |store| {
                let cancel = Cancel::default();
                let begun = Maintenance::begin_in(store.clone(), Duration::ZERO, &cancel);
                let removed = begun.and_then(|(maintenance, _)| {
                    let catalog = catalog(store);
                    maintenance.remove(&catalog, &HashSet::from([0, 1]), &cancel)
                });
                removed.is_ok()
            },
            |store| {
                let sets = expect_whole_sets(store);
                drop(maintain(store));
                // Where there is no lock, another run may be about to take away what is announced.
                let is_announced = |name: &String| {
                    let mut announced = sets.iter().map(|set| name_of(&set.id, "forget"));
                    !store.has_lock() && announced.any(|announced| announced == *name)
                };
                let mut left = all_names(store);
                left.retain(|name| !is_announced(name));
                assert_eq!(left, names_of(&sets.iter().collect::<Vec<_>>()));
                let all: Vec<usize> = (0..sets.len()).collect();
                forget(store, &all).unwrap();
                expect_nothing_else(store, &[]);
            },
        );
    }
}

#[test]
fn a_name_that_somebody_took_is_spared_and_all_others_are_taken_back() {
    on_each_with_lock(|store| {
        let cancel = Cancel::default();
        let writer = begin_legacy(store, false);
        let files = SetFiles {
            meta: b"meta".to_vec(),
            shards: vec![(0, write_shard(&writer).unwrap())],
        };
        let record = record(&writer, Layout::Portable);
        let id = writer.id().clone();
        let theirs = format!("{id}.meta");
        let put = |out: &mut dyn Write| out.write_all(b"theirs");
        store.write_whole(&theirs, &mut { put }).unwrap();
        let record = writer.commit(record, &files, &cancel).unwrap();
        assert_ne!(record.id, id);
        assert_eq!(content(store, &theirs), b"theirs");
        let is_intent = |name: &String| {
            own_name(name.trim_start_matches(".snap/")).is_some_and(|(_, kind)| kind == COMMIT)
        };
        assert!(!all_names(store).iter().any(is_intent));
        let mut expected = names_of(&[&record]);
        expected.push(theirs);
        expected.sort();
        assert_eq!(all_names(store), expected);
    });
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

/// Storage of objects in which what is younger than a day stays.
fn with_grace() -> (Arc<MemoryStore>, Arc<dyn WritableStore>) {
    let objects = Arc::new(MemoryStore::of_objects());
    objects.set_grace(DAY);
    (objects.clone(), objects)
}

fn forget(store: &Arc<dyn WritableStore>, which: &[usize]) -> Result<Removed> {
    let cancel = Cancel::default();
    let (maintenance, _) = Maintenance::begin_in(store.clone(), Duration::ZERO, &cancel)?;
    let which = which.iter().copied().collect();
    maintenance.remove(&catalog(store), &which, &cancel)
}

#[test]
fn what_a_killed_run_has_stored_goes_when_it_is_older_than_the_grace_period() {
    let (objects, store) = with_grace();
    let first = write(&store, Layout::Legacy);
    let writer = begin_legacy(&store, false);
    write_shard(&writer).unwrap();
    writer.kill();
    assert_eq!(ids(&store), [first.id.as_str()]);
    let left = all_names(&store);
    drop(begin(&store));
    objects.pass(DAY - Duration::from_secs(60));
    drop(maintain(&store));
    assert_eq!(all_names(&store), left);
    // A shard that is stored now is young, and so is its run, whatever its claim is.
    let writer = begin_legacy(&store, false);
    write_shard(&writer).unwrap();
    for _ in 0..2 {
        objects.pass(DAY / 2 - Duration::from_secs(60));
        writer.stay_alive().unwrap();
    }
    let note = record(&writer, Layout::Legacy).shards.remove(0);
    let again = write_shard(&writer).unwrap();
    writer.note(&note, Some(&again)).unwrap();
    objects.pass(Duration::from_secs(120));
    drop(begin(&store));
    let files = SetFiles {
        meta: b"meta".to_vec(),
        shards: vec![(0, again)],
    };
    let second = record(&writer, Layout::Legacy);
    let second = writer.commit(second, &files, &Cancel::default()).unwrap();
    objects.pass(DAY);
    drop(begin(&store));
    assert_eq!(all_names(&store), names_of(&[&first, &second]));
}

#[test]
fn a_removal_waits_until_no_backup_can_be_about_to_share_the_files() {
    let cancel = Cancel::default();
    let (objects, store) = with_grace();
    let first = write(&store, Layout::Portable);
    let file = shard_file(&first);
    let begin_sharing = || {
        let mut writer = try_begin(&store, false).unwrap();
        reserve_to_share(&mut writer, Layout::Portable, Some(file)).unwrap();
        writer
    };
    let share = |writer: &SetWriter| writer.share(&file.name, file, Comparison::Time, &cancel);
    let sharing = begin_sharing();
    let shared = share(&sharing).unwrap().unwrap();

    let removed = forget(&store, &[0]).unwrap();
    assert_eq!((removed.files, removed.bytes), (0, 0));
    assert_eq!(removed.later, 3);
    assert!(removed.later_bytes > 0 && removed.kept.is_empty());
    assert_eq!(ids(&store), [""; 0]);
    // It waits, and nobody has to end it.
    let abandoned = || catalog(&store).abandoned_removals(DAY).unwrap();
    assert!(abandoned().is_empty());
    drop(maintain(&store));
    assert_eq!(content(&store, &file.name), b"shard");
    // What a run at work has claimed stays however long that takes, and nothing else.
    for _ in 0..3 {
        objects.pass(DAY / 3);
        sharing.stay_alive().unwrap();
    }
    assert_eq!(abandoned(), std::slice::from_ref(&first.id));
    drop(maintain(&store));
    assert!(store.entry(&first.meta.name).unwrap().is_none());
    assert_eq!(content(&store, &file.name), b"shard");
    assert_eq!(abandoned(), std::slice::from_ref(&first.id));
    // By now nobody else shares it.
    let late = begin_sharing();
    assert!(!late.may_share(&file.name) && share(&late).unwrap().is_none());
    drop(late);
    let files = SetFiles {
        meta: b"meta".to_vec(),
        shards: vec![(0, shared)],
    };
    let second = record(&sharing, Layout::Portable);
    let second = sharing.commit(second, &files, &cancel).unwrap();
    assert_eq!(shard_file(&second).name, file.name);
    // With that set, it can be shared again.
    assert!(share(&begin_sharing()).unwrap().is_some());
    drop(maintain(&store));
    assert_eq!(all_names(&store), names_of(&[&second]));
}

#[test]
fn what_the_storage_keeps_is_told_and_counts_for_nothing() {
    let (objects, store) = with_grace();
    objects.set_grace(Duration::ZERO);
    let (first, second) = (write(&store, Layout::Legacy), write(&store, Layout::Legacy));
    objects.forbid(Some("no right to delete"));
    let removed = forget(&store, &[0]).unwrap();
    assert_eq!(removed.refused, std::slice::from_ref(&first.id));
    let why = format!(
        "memory/.snap/{}.json is kept by the storage: no right to delete",
        first.id
    );
    assert_eq!(removed.kept, [why]);
    assert_eq!(ids(&store), [first.id.as_str(), second.id.as_str()]);
    // A backup needs no such right; what it leaves is no set.
    let third = write(&store, Layout::Legacy);
    assert_eq!(ids(&store).len(), 3);
    let failed = begin_legacy(&store, false);
    write_shard(&failed).unwrap();
    drop(failed);
    assert_eq!(ids(&store).len(), 3);

    objects.forbid(None);
    // By now no other run is about to remove the record beside its `.forget`.
    objects.pass(Duration::from_secs(2 * 60 * 60));
    drop(maintain(&store));
    assert_eq!(all_names(&store), names_of(&[&first, &second, &third]));
    // The record goes, and the files are locked for a while.
    store
        .retire(&name_of(&first.id, "json"), &name_of(&first.id, "forget"))
        .unwrap();
    objects.forbid(Some("locked"));
    let (_, ended) =
        Maintenance::begin_in(store.clone(), Duration::ZERO, &Cancel::default()).unwrap();
    assert_eq!((ended.files, ended.kept.len()), (0, 1));
    assert_eq!(ids(&store), [second.id.as_str(), third.id.as_str()]);
    objects.forbid(None);
    drop(maintain(&store));
    assert_eq!(all_names(&store), names_of(&[&second, &third]));
}

#[test]
fn what_a_run_took_over_is_taken_over_by_the_one_after() {
    let cancel = Cancel::default();
    let (objects, store) = with_grace();
    let run = |writer: &SetWriter| RunHeader {
        started: writer.started(),
        cluster_id: 1,
        layout: Layout::Legacy,
        selection: Selection::default(),
    };
    let first = begin_legacy(&store, true);
    first.take_over(&run(&first)).unwrap();
    let shard = record(&first, Layout::Legacy).shards.remove(0);
    let finished = write_shard(&first).unwrap();
    first.note(&shard, Some(&finished)).unwrap();
    first.kill();
    objects.pass(DAY / 2);
    let second = begin_legacy(&store, true);
    assert!(second.take_over(&run(&second)).unwrap().is_some());
    second.kill();
    objects.pass(DAY);
    let third = begin_legacy(&store, true);
    let left = third.take_over(&run(&third)).unwrap().unwrap();
    let left = left.shard(&shard.path()).unwrap();
    // Nobody else clears it away while this run goes on.
    drop(maintain(&store));
    let file = left.record.file.as_ref().unwrap();
    let taken = third.reuse(&left.name, file, &cancel).unwrap().unwrap();
    let files = SetFiles {
        meta: b"meta".to_vec(),
        shards: vec![(0, taken)],
    };
    let record = record(&third, Layout::Legacy);
    let record = third.commit(record, &files, &cancel).unwrap();
    assert!(shard_file(&record).name.ends_with(".00") && record.number == 2);
    objects.pass(DAY);
    drop(maintain(&store));
    assert_eq!(all_names(&store), names_of(&[&record]));
    assert_eq!(content(&store, &shard_file(&record).name), b"shard");
}

#[test]
fn runs_that_begin_at_the_same_time_make_a_set_each() {
    let (objects, store) = with_grace();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| write(&store, Layout::Legacy));
        }
        // Whoever reads meanwhile sees whole sets alone.
        for _ in 0..50 {
            expect_whole_sets(&store);
            std::thread::sleep(Duration::from_millis(20));
        }
    });
    let sets = expect_whole_sets(&store);
    let numbers: HashSet<u32> = sets.iter().map(|set| set.number).collect();
    assert_eq!((sets.len(), numbers.len()), (4, 4));
    objects.pass(DAY);
    drop(maintain(&store));
    assert_eq!(
        all_names(&store),
        names_of(&sets.iter().collect::<Vec<_>>())
    );
}

/// A run of one shard that is about to commit.
fn ready(store: &Arc<dyn WritableStore>) -> (SetWriter, SetRecord, SetFiles) {
    let writer = begin_legacy(store, false);
    let files = SetFiles {
        meta: b"meta".to_vec(),
        shards: vec![(0, write_shard(&writer).unwrap())],
    };
    let record = record(&writer, Layout::Legacy);
    (writer, record, files)
}

#[test]
fn a_run_that_waits_longer_than_the_grace_period_for_one_file_is_not_taken_for_dead() {
    let (objects, store) = with_grace();
    objects.set_grace(Duration::from_secs(2));
    let writer = begin_legacy(&store, false);
    let shard = test_records::path("db", 7);
    let mut tar = writer.tar(&shard).unwrap();
    tar.write_all(b"sh").unwrap();
    std::thread::sleep(Duration::from_millis(3500));
    drop(maintain(&store));
    tar.write_all(b"ard").unwrap();
    let files = SetFiles {
        meta: b"meta".to_vec(),
        shards: vec![(0, tar.finish().unwrap().0)],
    };
    let record = record(&writer, Layout::Legacy);
    let record = writer.commit(record, &files, &Cancel::default()).unwrap();
    assert_eq!(all_names(&store), names_of(&[&record]));
}

#[test]
fn a_run_that_was_suspended_for_long_makes_no_set_even_where_all_is_there() {
    let (objects, store) = with_grace();
    let (writer, record, files) = ready(&store);
    objects.pass(2 * DAY);
    // It goes on as if nothing had happened; who took it for dead may just be about to remove.
    writer.stay_alive().unwrap();
    let again = write_shard(&writer).unwrap();
    writer.note(&record.shards[0], Some(&again)).unwrap();
    let error = writer.commit(record, &files, &Cancel::default());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("not heard of"), "{error}");
    assert_eq!(ids(&store), [""; 0]);
}

#[test]
fn a_run_that_is_cleared_away_without_grace_fails_and_leaves_no_set() {
    let (objects, store) = with_grace();
    let (writer, record, files) = ready(&store);
    objects.set_grace(Duration::ZERO);
    drop(maintain(&store));
    objects.set_grace(DAY);
    // All is there again, as if the other had not come to the files yet.
    write_shard(&writer).unwrap();
    let error = writer.commit(record, &files, &Cancel::default());
    let error = error.unwrap_err().to_string();
    assert!(error.contains("cleared this one away"), "{error}");
    assert_eq!(ids(&store), [""; 0]);
}

#[test]
fn in_a_copied_directory_legacy_files_of_a_dead_run_stay_and_count_for_nothing() {
    for layout in LAYOUTS {
        let (_, objects) = with_grace();
        let mut writer = try_begin(&objects, false).unwrap();
        reserve(&mut writer, layout).unwrap();
        let file = write_shard(&writer).unwrap();
        writer.kill();
        let directory = tempfile::tempdir().unwrap();
        let local: Arc<dyn WritableStore> = Arc::new(LocalStore::new(directory.path()));
        drop(local.lock(Duration::ZERO, &Cancel::default()).unwrap());
        let is_note = |name: &String| name.ends_with(".files");
        for name in all_names(&objects).iter().filter(|name| !is_note(name)) {
            let bytes = content(&objects, name);
            let put = local.write_whole(name, &mut |out| out.write_all(&bytes));
            put.unwrap();
        }
        drop(maintain(&local));
        let stays = local.entry(&file.name).unwrap().is_some();
        assert_eq!(stays, layout == Layout::Legacy);
        assert_eq!(ids(&local), [""; 0]);
        let next = write(&local, layout);
        assert_eq!(ids(&local), [next.id.as_str()]);
    }
}

#[test]
fn a_measured_removal_says_what_waits_for_the_grace_period() {
    let (_, store) = with_grace();
    write(&store, Layout::Portable);
    let catalog = catalog(&store);
    let measured = Maintenance::measure(&catalog, &HashSet::from([0]))
        .unwrap()
        .put_off();
    assert_eq!(forget(&store, &[0]).unwrap(), measured);
    assert_eq!((measured.files, measured.later), (0, 3));
}

mod interleavings;
