//! A repository in memory, for tests that need no disk.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use anyhow::Result;

use super::{Bytes, EntryKind, Folder, Hold, Store, StoreEntry, StoredFile};
use crate::repository::hidden::HIDDEN;

/// Files by name.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore {
    files: Mutex<Files>,
}

#[derive(Debug, Default)]
struct Files {
    by_name: BTreeMap<String, (Arc<[u8]>, SystemTime)>,
    /// Grows with each change, and stands in for the time of it.
    changes: u64,
}

impl MemoryStore {
    /// Puts a file there, or another in its place.
    pub fn put(&self, name: &str, content: &[u8]) {
        let mut files = self.files.lock().unwrap();
        files.changes += 1;
        let modified = SystemTime::UNIX_EPOCH + Duration::from_secs(files.changes);
        let file = (content.into(), modified);
        files.by_name.insert(name.to_owned(), file);
    }

    /// Takes a file away.
    pub fn remove(&self, name: &str) {
        self.files.lock().unwrap().by_name.remove(name);
    }
}

impl Store for MemoryStore {
    fn place(&self) -> String {
        "memory".to_owned()
    }

    fn place_of(&self, name: &str) -> String {
        format!("memory/{name}")
    }

    fn list(&self, folder: Folder) -> Result<Vec<StoreEntry>> {
        let files = self.files.lock().unwrap();
        let prefix = format!("{HIDDEN}/");
        let entry = |(name, (content, modified)): (&String, &(Arc<[u8]>, SystemTime))| {
            let (of, name) = match name.strip_prefix(&prefix) {
                Some(name) => (Folder::Hidden, name),
                None => (Folder::Top, name.as_str()),
            };
            (of == folder).then(|| StoreEntry {
                name: name.to_owned(),
                kind: EntryKind::File,
                size: content.len() as u64,
                modified: *modified,
            })
        };
        Ok(files.by_name.iter().filter_map(entry).collect())
    }

    fn open(&self, name: &str) -> io::Result<StoredFile> {
        let files = self.files.lock().unwrap();
        let (content, _) = files.by_name.get(name).ok_or(io::ErrorKind::NotFound)?;
        Ok(StoredFile::new(content.clone()))
    }

    fn hold(&self, name: &str) -> io::Result<Option<Hold>> {
        let files = self.files.lock().unwrap();
        let content = files.by_name.get(name).map(|(content, _)| content.clone());
        Ok(content.map(Hold::new))
    }

    fn expect_holds(&self, _: usize) {}
}

impl Bytes for Arc<[u8]> {
    fn read_some_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.get(offset..))
            .unwrap_or_default();
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        Ok(count)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}
