//! Where the files of a repository lie: a local directory, object storage, or memory.
//!
//! Whoever reads a repository asks its [`Store`] for files by name and knows no path; whoever
//! writes in it, its [`WritableStore`]. A name is relative to the repository: `meta.03`,
//! `.snap/20261120T080000Z.json`. The methods promise nothing that storage without folders, locks
//! and links could not keep.

mod local;
#[cfg(test)]
mod memory;
pub(super) mod object;
#[cfg(test)]
mod stopping;
mod write;

use std::fmt;
use std::io::{self, Read, Seek, SeekFrom};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::SystemTime;

use anyhow::Result;
use jiff::Timestamp;

pub(super) use local::LocalStore;
#[cfg(test)]
pub(super) use memory::MemoryStore;
#[cfg(test)]
pub(super) use stopping::{Stopping, Turns};
pub(super) use write::{Refusal, StagedObject, StoreLock, WritableStore, announce, tolerated};

use super::hidden::{HIDDEN, NOTES, UNFINISHED};
use super::set_id::SetId;
use crate::io::open::{read_to_limit, too_large};
use crate::io::read_at::ReadAt;

/// The files of a repository.
///
/// What is written through one handle is seen by the next `list` and `open` of any other. A file
/// with a final name is whole: what a crash leaves of one that is being written has a name that no
/// reader takes for a backup.
pub(crate) trait Store: fmt::Debug + Send + Sync {
    /// What the repository is called in messages: its path, its URL.
    fn place(&self) -> String;

    /// What a file is called in messages.
    fn place_of(&self, name: &str) -> String;

    /// What is in a folder, in no particular order; nothing where there is no such folder. A name
    /// that comes or goes meanwhile may be among them or not.
    ///
    /// # Errors
    ///
    /// When it cannot be listed, or something else than a folder has its name.
    fn list(&self, folder: Folder<'_>) -> Result<Vec<StoreEntry>>;

    /// What has a name, if anything has.
    ///
    /// # Errors
    ///
    /// When that cannot be found out.
    fn entry(&self, name: &str) -> Result<Option<StoreEntry>>;

    /// Opens a file. What is open can be read to its end, whatever becomes of its name.
    ///
    /// # Errors
    ///
    /// [`io::ErrorKind::NotFound`] where there is none; [`io::ErrorKind::InvalidInput`] where the
    /// name is that of something else than a regular file.
    fn open(&self, name: &str) -> io::Result<StoredFile>;

    /// Opens what [`WritableStore::append`] wrote under a name, as one file.
    ///
    /// # Errors
    ///
    /// Those of [`Store::open`].
    fn open_appended(&self, name: &str) -> io::Result<StoredFile> {
        self.open(name)
    }

    /// How many files are read at a time, where many are to be.
    fn concurrency(&self) -> usize {
        1
    }

    /// What time it is, by the clock that [`StoreEntry::modified`] is of, or near it.
    fn now(&self) -> SystemTime {
        SystemTime::now()
    }

    /// Keeps a file from being removed as long as the result lives; nothing where it is gone, or
    /// going. Where the storage has no locks, it can be removed all the same. A crash gives it up.
    ///
    /// # Errors
    ///
    /// When that cannot be found out.
    fn hold(&self, name: &str) -> io::Result<Option<Hold>>;

    /// Whether somebody holds a file.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    fn is_held(&self, name: &str) -> Result<bool>;

    /// Whether a run that writes has the lock; no where the storage cannot tell. Asking is in no
    /// such run's way.
    fn is_locked(&self) -> bool;

    /// Makes room for so many holds at once.
    fn expect_holds(&self, count: usize);
}

/// The folders of a repository. It has no others to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Folder<'a> {
    /// The repository itself.
    Top,
    /// `.snap`.
    Hidden,
    /// That of the staged files of a set, which have no final name yet.
    Staged(&'a SetId),
    /// That of a run's notes, where storage cannot add to a file.
    Notes(&'a SetId),
}

impl Folder<'_> {
    /// The name of a file in it, relative to the repository.
    pub(super) fn name_of(self, file: &str) -> String {
        match self {
            Self::Top => file.to_owned(),
            Self::Hidden => format!("{HIDDEN}/{file}"),
            Self::Staged(set) => format!("{HIDDEN}/{set}.{UNFINISHED}/{file}"),
            Self::Notes(set) => format!("{HIDDEN}/{set}.{UNFINISHED}/{NOTES}/{file}"),
        }
    }
}

/// Who is told that the storage does not answer and is asked again.
pub(crate) type OnWait = Arc<dyn Fn(&str) + Send + Sync>;

/// What is listed under a name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct StoreEntry {
    /// The name in its folder.
    pub name: String,
    /// What it is.
    pub kind: EntryKind,
    /// Bytes.
    pub size: u64,
    /// When it was last written to; 1970-01-01 where that is not known.
    pub modified: SystemTime,
    /// Of a file, which content it is: where several share one, all have the same.
    pub content: ContentId,
    /// Of a file, how many names share its content.
    pub names: u64,
}

impl StoreEntry {
    /// What stands for all files whose names begin with its own and a slash, where there are no
    /// folders.
    #[cfg(any(test, feature = "object-store"))]
    fn folder(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            kind: EntryKind::Folder,
            size: 0,
            modified: SystemTime::UNIX_EPOCH,
            content: ContentId(0, 0),
            names: 1,
        }
    }

    /// When it was last written to, if that is known, to the nanosecond where the file system does.
    pub(super) fn last_modified(&self) -> Option<Timestamp> {
        let known = Some(self.modified).filter(|modified| *modified != SystemTime::UNIX_EPOCH);
        Timestamp::try_from(known?).ok()
    }

    /// Whether it is a regular file of that size.
    pub(super) fn is_file_of(&self, size: u64) -> bool {
        self.kind == EntryKind::File && self.size == size
    }
}

/// Tells contents of files apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct ContentId(u64, u64);

/// What can have a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum EntryKind {
    /// A regular file.
    File,
    /// A link, which is not followed.
    Link,
    Folder,
    /// What else there may be.
    Other,
}

/// A file that nobody removes while this lives.
#[derive(Debug)]
pub(crate) struct Hold {
    _held: Box<dyn fmt::Debug + Send + Sync>,
}

impl Hold {
    fn new(held: impl fmt::Debug + Send + Sync + 'static) -> Self {
        Self {
            _held: Box::new(held),
        }
    }
}

/// Bytes that a store can give from any offset on.
trait Bytes: Send + Sync {
    /// Reads some of the bytes from `offset` on; none at the end.
    fn read_some_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize>;

    /// How many there are.
    fn size(&self) -> io::Result<u64>;
}

/// What is small enough to be held as a whole.
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

/// A file of a repository that is open for reading, from front to back or anywhere. A clone reads
/// the same file from a place of its own.
#[derive(Clone)]
pub struct StoredFile {
    bytes: Arc<dyn Bytes>,
    at: u64,
}

impl StoredFile {
    fn new(bytes: impl Bytes + 'static) -> Self {
        Self {
            bytes: Arc::new(bytes),
            at: 0,
        }
    }
}

impl fmt::Debug for StoredFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StoredFile")
            .field("at", &self.at)
            .finish_non_exhaustive()
    }
}

impl Read for StoredFile {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.bytes.read_some_at(buffer, self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}

impl Seek for StoredFile {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let to = match to {
            SeekFrom::Start(offset) => Some(offset),
            SeekFrom::Current(offset) => self.at.checked_add_signed(offset),
            SeekFrom::End(offset) => self.bytes.size()?.checked_add_signed(offset),
        };
        self.at = to.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

impl ReadAt for StoredFile {
    fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            match self.bytes.read_some_at(buffer, offset) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(count) => {
                    buffer = &mut buffer[count..];
                    offset += count as u64;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        self.bytes.size()
    }
}

/// All of a file of at most `limit` bytes.
///
/// # Errors
///
/// Those of [`Store::open`]; [`io::ErrorKind::InvalidData`] where the file is larger.
pub(super) fn read_bounded(store: &dyn Store, name: &str, limit: u64) -> io::Result<Vec<u8>> {
    read_to_limit(store.open(name)?, limit)
}

/// A file of at most `limit` bytes, to be read.
///
/// # Errors
///
/// Those of [`read_bounded`].
pub(super) fn open_bounded(store: &dyn Store, name: &str, limit: u64) -> io::Result<StoredFile> {
    let file = store.open(name)?;
    match ReadAt::size(&file)? > limit {
        true => Err(too_large(limit)),
        false => Ok(file),
    }
}

/// Does something with each of many names, as many at a time as the store likes; gives what came of
/// each, in their order.
pub(super) fn read_many<T: Send>(
    store: &dyn Store,
    names: &[String],
    read: impl Fn(&str) -> T + Sync,
) -> Vec<T> {
    let threads = store.concurrency().min(names.len());
    if threads < 2 {
        return names.iter().map(|name| read(name)).collect();
    }
    let next = AtomicUsize::new(0);
    let work = || {
        let mut done = Vec::new();
        while let Some((at, name)) = {
            let at = next.fetch_add(1, Ordering::Relaxed);
            names.get(at).map(|name| (at, name))
        } {
            done.push((at, read(name)));
        }
        done
    };
    let mut done: Vec<(usize, T)> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..threads).map(|_| scope.spawn(work)).collect();
        let joined = threads.into_iter().map(|thread| thread.join());
        joined
            .flat_map(|done| done.unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
            .collect()
    });
    done.sort_unstable_by_key(|(at, _)| *at);
    done.into_iter().map(|(_, read)| read).collect()
}

/// Whether anything has a name.
///
/// # Errors
///
/// Those of [`Store::entry`].
pub(super) fn is_there(store: &dyn Store, name: &str) -> Result<bool> {
    Ok(store.entry(name)?.is_some())
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod write_tests;
