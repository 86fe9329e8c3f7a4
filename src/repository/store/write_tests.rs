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

mod interleavings;
mod sharing;
mod stopped;
mod without_lock;

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
