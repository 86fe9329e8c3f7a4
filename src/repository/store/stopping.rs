//! A store that a run is killed in, for tests.

use std::io;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, SystemTime};

use anyhow::{Result, bail};

use super::write::Content;
use super::{Folder, Hold, StagedObject, Store, StoreEntry, StoreLock, StoredFile, WritableStore};
use crate::cancel::Cancel;
use crate::repository::set_id::SetId;

/// A store whose process is killed: after so many steps no other is taken.
#[derive(Debug)]
pub(crate) struct Stopping {
    store: Arc<dyn WritableStore>,
    steps_left: AtomicUsize,
}

impl Stopping {
    /// One that takes so many steps in another.
    pub(crate) fn after(steps: usize, store: &Arc<dyn WritableStore>) -> Self {
        Self {
            store: store.clone(),
            steps_left: AtomicUsize::new(steps),
        }
    }

    fn step(&self) -> Result<&dyn WritableStore> {
        let one_less = |left: usize| left.checked_sub(1);
        let left = &self.steps_left;
        match left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_less) {
            Ok(_) => Ok(&*self.store),
            Err(_) => bail!("killed"),
        }
    }
}

impl Store for Stopping {
    fn place(&self) -> String {
        self.store.place()
    }

    fn place_of(&self, name: &str) -> String {
        self.store.place_of(name)
    }

    fn list(&self, folder: Folder<'_>) -> Result<Vec<StoreEntry>> {
        self.store.list(folder)
    }

    fn entry(&self, name: &str) -> Result<Option<StoreEntry>> {
        self.store.entry(name)
    }

    fn open(&self, name: &str) -> io::Result<StoredFile> {
        self.store.open(name)
    }

    fn open_appended(&self, name: &str) -> io::Result<StoredFile> {
        self.store.open_appended(name)
    }

    fn concurrency(&self) -> usize {
        self.store.concurrency()
    }

    fn now(&self) -> SystemTime {
        self.store.now()
    }

    fn hold(&self, name: &str) -> io::Result<Option<Hold>> {
        self.store.hold(name)
    }

    fn is_held(&self, name: &str) -> Result<bool> {
        self.store.is_held(name)
    }

    fn is_locked(&self) -> bool {
        self.store.is_locked()
    }

    fn expect_holds(&self, count: usize) {
        self.store.expect_holds(count);
    }
}

impl WritableStore for Stopping {
    fn lock(&self, wait: Duration, cancel: &Cancel) -> Result<Box<dyn StoreLock>> {
        self.step()?.lock(wait, cancel)
    }

    fn stage(&self, set: &SetId, earlier: Option<&SetId>) -> Result<()> {
        self.step()?.stage(set, earlier)
    }

    fn has_lock(&self) -> bool {
        self.store.has_lock()
    }

    fn grace(&self) -> Duration {
        self.store.grace()
    }

    fn create(&self, set: &SetId, name: &str) -> Result<Box<dyn StagedObject>> {
        self.step()?.create(set, name)
    }

    fn share(&self, name: &str, set: &SetId) -> Result<String> {
        self.step()?.share(name, set)
    }

    fn scratch(&self, set: &SetId) -> PathBuf {
        self.store.scratch(set)
    }

    fn try_name(&self, set: &SetId, file: &str) -> Result<Option<io::Error>> {
        self.step()?.try_name(set, file)
    }

    fn append(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.step()?.append(name, bytes)
    }

    fn write_whole(&self, name: &str, content: &mut Content<'_>) -> Result<()> {
        self.step()?.write_whole(name, content)
    }

    fn give_name(&self, staged: &str, name: &str) -> io::Result<()> {
        let store = self.step().map_err(io::Error::other)?;
        store.give_name(staged, name)
    }

    fn take_back(&self, name: &str, staged: &str) -> Result<()> {
        self.step()?.take_back(name, staged)
    }

    fn retire(&self, record: &str, removal: &str) -> Result<bool> {
        self.step()?.retire(record, removal)
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.step()?.remove(name)
    }

    fn remove_tree(&self, name: &str) -> Result<()> {
        self.step()?.remove_tree(name)
    }

    fn settle(&self, folder: Folder<'_>) -> Result<()> {
        self.step()?.settle(folder)
    }

    fn abort_stale(&self) -> Result<()> {
        self.step()?.abort_stale()
    }
}
