//! A repository in memory, for tests that need no disk.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;

use super::write::{Content, Refusal, StagedObject, StoreLock, WritableStore, retire_in_steps};
use super::{ContentId, EntryKind, Folder, Hold, Store, StoreEntry, StoredFile};
use crate::cancel::Cancel;
use crate::error::ErrorKind;
use crate::repository::hidden::{REMOVAL, TEMPORARY};
use crate::repository::set_id::SetId;

/// Files by name.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore {
    files: Arc<Mutex<Files>>,
    /// Whether it is like object storage: no lock, no other names, nothing added or replaced.
    is_of_objects: bool,
}

#[derive(Debug, Default)]
struct Files {
    by_name: BTreeMap<String, MemoryFile>,
    /// Grows with each change, and tells staged files apart.
    changes: u64,
    locked: bool,
    /// How far its clock is ahead; without one, the changes stand in for it.
    clock: Option<Duration>,
    grace: Duration,
    /// Why nothing can be removed.
    forbids: Option<String>,
}

#[derive(Debug, Clone)]
struct MemoryFile {
    content: Arc<[u8]>,
    modified: SystemTime,
    /// One for each that holds the file, beside the file's own.
    holders: Arc<()>,
}

impl Files {
    fn put(&mut self, name: &str, content: &[u8]) {
        self.changes += 1;
        let change = SystemTime::UNIX_EPOCH + Duration::from_secs(self.changes);
        let file = MemoryFile {
            content: content.into(),
            modified: self.now().unwrap_or(change),
            holders: Arc::default(),
        };
        self.by_name.insert(name.to_owned(), file);
    }

    /// What its clock says, in whole seconds.
    fn now(&self) -> Option<SystemTime> {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        let now = since.unwrap_or_default() + self.clock?;
        Some(SystemTime::UNIX_EPOCH + Duration::from_secs(now.as_secs()))
    }

    fn file(&self, name: &str) -> io::Result<&MemoryFile> {
        Ok(self.by_name.get(name).ok_or(io::ErrorKind::NotFound)?)
    }

    /// The name of a staged file that no other has.
    fn free_name(&mut self, set: &SetId) -> String {
        self.changes += 1;
        Folder::Staged(set).name_of(&format!("{TEMPORARY}{}", self.changes))
    }

    fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let file = self.by_name.remove(from).ok_or(io::ErrorKind::NotFound)?;
        self.by_name.insert(to.to_owned(), file);
        Ok(())
    }

    fn entry(&self, name: &str, file: &MemoryFile) -> StoreEntry {
        let shares = |other: &&MemoryFile| Arc::ptr_eq(&other.content, &file.content);
        StoreEntry {
            name: name.to_owned(),
            kind: EntryKind::File,
            size: file.content.len() as u64,
            modified: file.modified,
            content: ContentId(0, file.content.as_ptr().addr() as u64),
            names: self.by_name.values().filter(shares).count() as u64,
        }
    }
}

impl MemoryStore {
    /// One that is like object storage, in which nothing is younger than the grace period.
    pub(crate) fn of_objects() -> Self {
        let files = Files {
            clock: Some(Duration::ZERO),
            ..Files::default()
        };
        Self {
            files: Arc::new(Mutex::new(files)),
            is_of_objects: true,
        }
    }

    /// Another period of grace from now on.
    pub(crate) fn set_grace(&self, grace: Duration) {
        self.files().grace = grace;
    }

    /// Time goes by.
    pub(crate) fn pass(&self, time: Duration) {
        let mut files = self.files();
        files.clock = files.clock.map(|clock| clock + time);
    }

    /// From now on, nothing can be removed, or all can.
    pub(crate) fn forbid(&self, why: Option<&str>) {
        self.files().forbids = why.map(str::to_owned);
    }

    fn ensure_allowed(&self) -> Result<()> {
        match &self.files().forbids {
            Some(why) => Err(Refusal(why.clone()).into()),
            None => Ok(()),
        }
    }

    /// Panics where an object would take the place of another.
    fn ensure_new(&self, name: &str) {
        let is_replaced = self.is_of_objects && self.files().by_name.contains_key(name);
        assert!(
            !is_replaced || name.ends_with(".keep"),
            "{name} is replaced"
        );
    }

    /// Puts a file there, or another in its place.
    pub(crate) fn put(&self, name: &str, content: &[u8]) {
        self.files().put(name, content);
    }

    /// What is there: names and contents.
    pub(crate) fn state(&self) -> Vec<(String, Arc<[u8]>)> {
        let files = self.files();
        let files = files.by_name.iter();
        files
            .map(|(name, file)| (name.clone(), file.content.clone()))
            .collect()
    }

    fn files(&self) -> MutexGuard<'_, Files> {
        self.files.lock().unwrap()
    }
}

impl Store for MemoryStore {
    fn place(&self) -> String {
        "memory".to_owned()
    }

    fn place_of(&self, name: &str) -> String {
        format!("memory/{name}")
    }

    fn list(&self, folder: Folder<'_>) -> Result<Vec<StoreEntry>> {
        let files = self.files();
        let prefix = folder.name_of("");
        let mut listed: Vec<StoreEntry> = Vec::new();
        for (name, file) in &files.by_name {
            let Some(name) = name.strip_prefix(&prefix) else {
                continue;
            };
            match name.split_once('/') {
                None => listed.push(files.entry(name, file)),
                Some((of, _)) if listed.last().is_some_and(|last| last.name == of) => {}
                Some((of, _)) => listed.push(StoreEntry::folder(of)),
            }
        }
        Ok(listed)
    }

    fn entry(&self, name: &str) -> Result<Option<StoreEntry>> {
        let files = self.files();
        let file = files.by_name.get(name).map(|file| files.entry(name, file));
        let prefix = format!("{name}/");
        let mut below = files.by_name.keys();
        Ok(file.or_else(|| {
            below
                .any(|other| other.starts_with(&prefix))
                .then(|| StoreEntry::folder(name))
        }))
    }

    fn open(&self, name: &str) -> io::Result<StoredFile> {
        Ok(StoredFile::new(self.files().file(name)?.content.clone()))
    }

    fn open_appended(&self, name: &str) -> io::Result<StoredFile> {
        if !self.is_of_objects {
            return self.open(name);
        }
        let files = self.files();
        let prefix = format!("{name}/");
        let pieces = files.by_name.iter();
        let pieces: Vec<&[u8]> = pieces
            .filter(|(name, _)| name.starts_with(&prefix))
            .map(|(_, file)| &*file.content)
            .collect();
        match pieces.is_empty() {
            true => Err(io::ErrorKind::NotFound.into()),
            false => Ok(StoredFile::new(Arc::<[u8]>::from(pieces.concat()))),
        }
    }

    fn concurrency(&self) -> usize {
        if self.is_of_objects { 4 } else { 1 }
    }

    fn now(&self) -> SystemTime {
        self.files().now().unwrap_or_else(SystemTime::now)
    }

    fn hold(&self, name: &str) -> io::Result<Option<Hold>> {
        let files = self.files();
        let file = files.by_name.get(name);
        Ok(file.map(|file| match self.is_of_objects {
            true => Hold::new(()),
            false => Hold::new(file.holders.clone()),
        }))
    }

    fn is_held(&self, name: &str) -> Result<bool> {
        Ok(Arc::strong_count(&self.files().file(name)?.holders) > 1)
    }

    fn is_locked(&self) -> bool {
        self.files().locked
    }

    fn expect_holds(&self, _: usize) {}
}

impl WritableStore for MemoryStore {
    fn has_lock(&self) -> bool {
        !self.is_of_objects
    }

    fn grace(&self) -> Duration {
        self.files().grace
    }

    fn lock(&self, wait: Duration, cancel: &Cancel) -> Result<Box<dyn StoreLock>> {
        if self.is_of_objects {
            return Ok(Box::new(NoLock));
        }
        let begun = Instant::now();
        loop {
            let mut files = self.files();
            if !files.locked {
                files.locked = true;
                return Ok(Box::new(MemoryLock(self.files.clone())));
            }
            drop(files);
            if begun.elapsed() >= wait {
                return Err(ErrorKind::Locked.error("memory is locked").into());
            }
            cancel.check()?;
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    fn stage(&self, set: &SetId, earlier: Option<&SetId>) -> Result<()> {
        let Some(earlier) = earlier.filter(|_| !self.is_of_objects) else {
            return Ok(());
        };
        let mut files = self.files();
        let prefix = Folder::Staged(earlier).name_of("");
        let names: Vec<String> = files.by_name.keys().cloned().collect();
        for name in names {
            if let Some(file) = name.strip_prefix(&prefix) {
                files.rename(&name, &Folder::Staged(set).name_of(file))?;
            }
        }
        Ok(())
    }

    fn create(&self, set: &SetId, name: &str) -> Result<Box<dyn StagedObject>> {
        Ok(Box::new(MemoryObject {
            files: self.files.clone(),
            name: match self.is_of_objects {
                true => name.to_owned(),
                false => self.files().free_name(set),
            },
            content: Vec::new(),
        }))
    }

    fn share(&self, name: &str, set: &SetId) -> Result<String> {
        let mut files = self.files();
        let file = files.file(name)?.clone();
        if self.is_of_objects {
            return Ok(name.to_owned());
        }
        let free = files.free_name(set);
        files.by_name.insert(free.clone(), file);
        Ok(free)
    }

    fn append(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let mut files = self.files();
        if self.is_of_objects {
            let prefix = format!("{name}/");
            // Never one that was there before.
            let number = files.changes + 1;
            files.put(&format!("{prefix}{number:08}"), bytes);
            return Ok(());
        }
        let before = files.by_name.get(name).map(|file| file.content.to_vec());
        let whole = [&before.unwrap_or_default(), bytes].concat();
        files.put(name, &whole);
        Ok(())
    }

    fn write_whole(&self, name: &str, content: &mut Content<'_>) -> Result<()> {
        let mut bytes = Vec::new();
        content(&mut bytes)?;
        if name.ends_with(REMOVAL) && self.is_of_objects && self.entry(name)?.is_some() {
            // Another run was faster.
            return Err(io::Error::from(io::ErrorKind::AlreadyExists).into());
        }
        self.ensure_new(name);
        self.files().put(name, &bytes);
        Ok(())
    }

    fn give_name(&self, staged: &str, name: &str) -> io::Result<()> {
        assert!(!self.is_of_objects, "{name} is its name from the beginning");
        let mut files = self.files();
        if files.by_name.contains_key(name) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        files.rename(staged, name)
    }

    fn take_back(&self, name: &str, staged: &str) -> Result<()> {
        Ok(self.files().rename(name, staged)?)
    }

    fn retire(&self, record: &str, removal: &str) -> Result<bool> {
        if self.is_of_objects {
            retire_in_steps(self, record, removal)?;
            return Ok(true);
        }
        let mut files = self.files();
        if Arc::strong_count(&files.file(record)?.holders) > 1 {
            return Ok(false);
        }
        files.rename(record, removal)?;
        Ok(true)
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.ensure_allowed()?;
        self.files().by_name.remove(name);
        Ok(())
    }

    fn remove_tree(&self, name: &str) -> Result<()> {
        self.ensure_allowed()?;
        let prefix = format!("{name}/");
        let mut files = self.files();
        files.by_name.retain(|name, _| !name.starts_with(&prefix));
        Ok(())
    }

    fn settle(&self, _: Folder<'_>) -> Result<()> {
        Ok(())
    }
}

/// Where there is none.
#[derive(Debug)]
struct NoLock;

impl StoreLock for NoLock {}

#[derive(Debug)]
struct MemoryLock(Arc<Mutex<Files>>);

impl StoreLock for MemoryLock {}

impl Drop for MemoryLock {
    fn drop(&mut self) {
        self.0.lock().unwrap().locked = false;
    }
}

#[derive(Debug)]
struct MemoryObject {
    files: Arc<Mutex<Files>>,
    name: String,
    content: Vec<u8>,
}

impl StagedObject for MemoryObject {
    fn seal(self: Box<Self>) -> Result<String> {
        self.files.lock().unwrap().put(&self.name, &self.content);
        Ok(self.name)
    }
}

impl Write for MemoryObject {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.content.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
