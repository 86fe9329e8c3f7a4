//! Repositories in memory for tests of operations: with a lock, as a directory has one, and without,
//! as object storage.

use std::io::Write;
use std::sync::Arc;
use std::time::Duration;

use super::hidden::name_of;
use super::layout::Layout;
use super::record::{FileRecord, SetRecord, ShardRecord};
use super::store::{Folder, MemoryStore, Stopping, Store, WritableStore, read_bounded};
use super::{Catalog, Location, Maintenance, SetWriter, manifest, names, test_records};
use crate::cancel::Cancel;
use crate::time;

/// A repository in memory.
#[derive(Debug, Clone)]
pub(crate) struct TestRepository {
    name: &'static str,
    memory: Arc<MemoryStore>,
}

impl TestRepository {
    /// One that runs lock.
    pub(crate) fn with_lock(name: &'static str) -> Self {
        let memory = Arc::default();
        Self { name, memory }
    }

    /// One without a lock, in which nothing is younger than the grace period.
    pub(crate) fn of_objects(name: &'static str) -> Self {
        let memory = Arc::new(MemoryStore::of_objects());
        Self { name, memory }
    }

    fn store(&self) -> Arc<dyn WritableStore> {
        self.memory.clone()
    }

    pub(crate) fn has_lock(&self) -> bool {
        self.memory.has_lock()
    }

    pub(crate) fn set_grace(&self, grace: Duration) {
        self.memory.set_grace(grace);
    }

    /// Time goes by.
    pub(crate) fn pass(&self, time: Duration) {
        self.memory.pass(time);
    }

    pub(crate) fn location(&self) -> Location {
        Location::of_store(self.name, self.store())
    }

    /// The same for a run that is killed after so many steps.
    pub(crate) fn stopping_after(&self, steps: usize) -> Location {
        let stopping = Stopping::after(steps, &self.store());
        Location::of_store(self.name, Arc::new(stopping))
    }

    /// Writes a file as it is.
    pub(crate) fn put(&self, name: &str, content: &[u8]) -> FileRecord {
        let put = |out: &mut dyn Write| out.write_all(content);
        self.memory.write_whole(name, &mut { put }).unwrap();
        test_records::file(name, content)
    }

    pub(crate) fn remove(&self, name: &str) {
        self.memory.remove(name).unwrap();
    }

    /// Puts something else in the place of a file.
    pub(crate) fn replace(&self, name: &str, content: &[u8]) {
        self.remove(name);
        self.put(name, content);
    }

    /// Puts a set there: of database `db`, these shards with what is in their files.
    pub(crate) fn add(
        &self,
        id: &str,
        number: u32,
        layout: Layout,
        shards: &[(u64, &[u8])],
        change: impl FnOnce(&mut SetRecord),
    ) -> SetRecord {
        let shard = |(shard, content): &(u64, &[u8])| {
            let path = test_records::path("db", *shard);
            let name = match layout {
                Layout::Legacy => names::shard_file(&path, number),
                Layout::Portable => manifest::shard_file(id, *shard),
            };
            ShardRecord {
                file: Some(self.put(&name, content)),
                tar_size: layout.compresses().then_some(content.len() as u64),
                ..test_records::shard(&path)
            }
        };
        let shards = shards.iter().map(shard).collect();
        let started = time::parse_stamp(id).unwrap();
        let meta = match layout {
            Layout::Legacy => names::meta_file(number),
            Layout::Portable => manifest::meta_file(id),
        };
        let mut record = SetRecord {
            number,
            layout,
            meta: self.put(&meta, format!("metastore of {id}").as_bytes()),
            cluster_id: Some(1),
            ..test_records::set(id, started, shards)
        };
        let manifest = layout.compresses().then(|| manifest::manifest_file(id));
        record.manifest = manifest.map(|name| self.put(&name, b"a manifest"));
        change(&mut record);
        let mut text = Vec::new();
        record.write_to(&mut text).unwrap();
        self.put(&name_of(&record.id, "json"), &text);
        record
    }

    /// The records of the sets, oldest first; panics where a file of one is not what was recorded,
    /// or a set has no record.
    pub(crate) fn sets(&self) -> Vec<SetRecord> {
        let (catalog, unreadable) = Catalog::of(self.store()).unwrap();
        assert!(unreadable.is_empty(), "{unreadable:?}");
        assert_eq!(catalog.records().count(), catalog.sets().len());
        for file in catalog.records().flat_map(SetRecord::files) {
            assert!(file.digest.is_of(&self.content(&file.name)), "{file:?}");
        }
        catalog.records().cloned().collect()
    }

    pub(crate) fn content(&self, name: &str) -> Vec<u8> {
        read_bounded(&*self.memory, name, 1 << 20).unwrap()
    }

    /// Has the next run clear away what one that was killed left.
    pub(crate) fn clear(&self) {
        let cancel = Cancel::default();
        let begun = SetWriter::begin_in(self.store(), Duration::ZERO, false, None, &cancel);
        drop(begun.unwrap());
    }

    /// Has a removal that removes no set clear away what a run that was killed left.
    pub(crate) fn maintain(&self) {
        let cancel = Cancel::default();
        let begun = Maintenance::begin_in(self.store(), Duration::ZERO, &cancel);
        drop(begun.unwrap());
    }

    /// All names, but for the lock's.
    pub(crate) fn names(&self) -> Vec<String> {
        let names = |folder: Folder<'_>| -> Vec<String> {
            let entries = self.memory.list(folder).unwrap().into_iter();
            entries.map(|entry| folder.name_of(&entry.name)).collect()
        };
        let mut names = [names(Folder::Top), names(Folder::Hidden)].concat();
        names.retain(|name| name != ".snap" && name != ".snap/lock");
        names.sort();
        names
    }

    /// Panics unless there are these sets, and no file of any other.
    pub(crate) fn expect_nothing_but(&self, sets: &[SetRecord]) {
        let files = sets.iter().flat_map(SetRecord::files);
        let files = files.map(|file| file.name.clone());
        let records = sets.iter().map(|set| name_of(&set.id, "json"));
        let mut expected: Vec<String> = files.chain(records).collect();
        expected.sort();
        expected.dedup();
        assert_eq!(self.names(), expected);
    }
}
