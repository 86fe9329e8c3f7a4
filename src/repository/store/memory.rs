//! A repository in memory, for tests that need no disk.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;

use super::write::{Content, StagedObject, StoreLock, WritableStore};
use super::{ContentId, EntryKind, Folder, Hold, Store, StoreEntry, StoredFile};
use crate::cancel::Cancel;
use crate::error::ErrorKind;
use crate::repository::hidden::TEMPORARY;
use crate::repository::set_id::SetId;

/// Files by name.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore {
    files: Arc<Mutex<Files>>,
}

#[derive(Debug, Default)]
struct Files {
    by_name: BTreeMap<String, MemoryFile>,
    /// Grows with each change, stands in for the time of it, and tells staged files apart.
    changes: u64,
    locked: bool,
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
        let file = MemoryFile {
            content: content.into(),
            modified: SystemTime::UNIX_EPOCH + Duration::from_secs(self.changes),
            holders: Arc::default(),
        };
        self.by_name.insert(name.to_owned(), file);
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

/// What stands for all files whose names begin with its own and a slash.
fn folder_entry(name: &str) -> StoreEntry {
    StoreEntry {
        name: name.to_owned(),
        kind: EntryKind::Folder,
        size: 0,
        modified: SystemTime::UNIX_EPOCH,
        content: ContentId(0, 0),
        names: 1,
    }
}

impl MemoryStore {
    /// Puts a file there, or another in its place.
    pub(crate) fn put(&self, name: &str, content: &[u8]) {
        self.files().put(name, content);
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
                Some((of, _)) => listed.push(folder_entry(of)),
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
                .then(|| folder_entry(name))
        }))
    }

    fn open(&self, name: &str) -> io::Result<StoredFile> {
        Ok(StoredFile::new(self.files().file(name)?.content.clone()))
    }

    fn hold(&self, name: &str) -> io::Result<Option<Hold>> {
        let files = self.files();
        let file = files.by_name.get(name);
        Ok(file.map(|file| Hold::new(file.holders.clone())))
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
    fn lock(&self, wait: Duration, cancel: &Cancel) -> Result<Box<dyn StoreLock>> {
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
        let Some(earlier) = earlier else {
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

    fn create(&self, set: &SetId, _: &str) -> Result<Box<dyn StagedObject>> {
        Ok(Box::new(MemoryObject {
            files: self.files.clone(),
            name: self.files().free_name(set),
            content: Vec::new(),
        }))
    }

    fn share(&self, name: &str, set: &SetId) -> Result<String> {
        let mut files = self.files();
        let file = files.file(name)?.clone();
        let free = files.free_name(set);
        files.by_name.insert(free.clone(), file);
        Ok(free)
    }

    fn append(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let mut files = self.files();
        let before = files.by_name.get(name).map(|file| file.content.to_vec());
        let whole = [&before.unwrap_or_default(), bytes].concat();
        files.put(name, &whole);
        Ok(())
    }

    fn write_whole(&self, name: &str, content: &mut Content<'_>) -> Result<()> {
        let mut bytes = Vec::new();
        content(&mut bytes)?;
        self.files().put(name, &bytes);
        Ok(())
    }

    fn give_name(&self, staged: &str, name: &str) -> io::Result<()> {
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
        let mut files = self.files();
        if Arc::strong_count(&files.file(record)?.holders) > 1 {
            return Ok(false);
        }
        files.rename(record, removal)?;
        Ok(true)
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.files().by_name.remove(name);
        Ok(())
    }

    fn remove_tree(&self, name: &str) -> Result<()> {
        let prefix = format!("{name}/");
        let mut files = self.files();
        files.by_name.retain(|name, _| !name.starts_with(&prefix));
        Ok(())
    }

    fn settle(&self, _: Folder<'_>) -> Result<()> {
        Ok(())
    }
}

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
