//! A repository in a local directory.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit, setrlimit};

use super::{Bytes, EntryKind, Folder, Hold, Store, StoreEntry, StoredFile};
use crate::io::durable;
use crate::io::open::{open_regular, open_regular_with};
use crate::repository::hidden::hidden;

/// Files that a process has open beside those it holds.
const OTHER_FILES: u64 = 256;

/// How often a removal tries to have a record for itself, and how long apart: another run may be
/// asking the same.
const ASKING: (u32, Duration) = (3, Duration::from_millis(5));

/// How often a reader tries to share a file that somebody has for himself, and how long apart. A
/// removal renames it at once, and whoever asks whether there are readers lets go at once.
const SHARING: (u32, Duration) = (100, Duration::from_millis(10));

/// A directory.
#[derive(Debug)]
pub(crate) struct LocalStore {
    directory: PathBuf,
}

impl LocalStore {
    /// The repository in a directory.
    pub fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
        }
    }

    fn folder(&self, folder: Folder) -> PathBuf {
        match folder {
            Folder::Top => self.directory.clone(),
            Folder::Hidden => hidden(&self.directory),
        }
    }
}

impl Store for LocalStore {
    fn place(&self) -> String {
        self.directory.display().to_string()
    }

    fn place_of(&self, name: &str) -> String {
        self.directory.join(name).display().to_string()
    }

    fn list(&self, folder: Folder) -> Result<Vec<StoreEntry>> {
        let path = self.folder(folder);
        let reading = || format!("reading {}", path.display());
        if folder == Folder::Hidden {
            // Where a link leads nowhere, on a volume that is not mounted say, sets with records
            // would count as sets without.
            durable::refuse_stranger(&path, None)?;
        }
        let entries = match fs::read_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && folder == Folder::Hidden => {
                return Ok(Vec::new());
            }
            entries => entries.with_context(reading)?,
        };
        let mut listed = Vec::new();
        for entry in entries {
            listed.extend(listed_as(&entry.with_context(reading)?)?);
        }
        Ok(listed)
    }

    fn open(&self, name: &str) -> io::Result<StoredFile> {
        open_regular(&self.directory.join(name)).map(StoredFile::from)
    }

    /// A shared lock, which a removal wants for itself alone before it renames the file, and which
    /// the system releases when the process ends.
    fn hold(&self, name: &str) -> io::Result<Option<Hold>> {
        let path = self.directory.join(name);
        let file = match open_regular(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let (tries, apart) = SHARING;
        for _ in 0..tries {
            let is_shared = match file.try_lock_shared() {
                Err(TryLockError::WouldBlock) => false,
                Err(TryLockError::Error(error)) if !has_no_locks(&error) => return Err(error),
                _ => true,
            };
            // A removal may have renamed it before the lock was there.
            if !durable::is_at(&file, &path) {
                return Ok(None);
            }
            if is_shared {
                return Ok(Some(Hold::new(file)));
            }
            std::thread::sleep(apart);
        }
        Ok(None)
    }

    /// A long chain has more sets than a process may have files open, as systems begin it.
    fn expect_holds(&self, count: usize) {
        let limit = getrlimit(Resource::Nofile);
        let wanted = (count as u64).saturating_add(OTHER_FILES);
        if limit.current.is_some_and(|current| current < wanted) {
            let current = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
            let raised = rustix::process::Rlimit {
                current: Some(current),
                ..limit
            };
            // Where it is refused, opening the files tells.
            let _ = setrlimit(Resource::Nofile, raised);
        }
    }
}

/// What a directory has under a name; nothing where that is no text, or gone again.
fn listed_as(entry: &fs::DirEntry) -> Result<Option<StoreEntry>> {
    let Ok(name) = entry.file_name().into_string() else {
        return Ok(None);
    };
    let metadata = match entry.metadata() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata.with_context(|| format!("reading {}", entry.path().display()))?,
    };
    let kind = match metadata.file_type() {
        kind if kind.is_file() => EntryKind::File,
        kind if kind.is_symlink() => EntryKind::Link,
        _ => EntryKind::Other,
    };
    Ok(Some(StoreEntry {
        name,
        kind,
        size: metadata.len(),
        modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
    }))
}

impl From<File> for StoredFile {
    fn from(file: File) -> Self {
        Self::new(file)
    }
}

impl Bytes for File {
    fn read_some_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
        self.read_at(buffer, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

/// Whether an error says that the file system has no locks of this kind.
fn has_no_locks(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::BADF)
    )
}

/// The record of a set that is about to be removed, if nobody reads the set. To be kept until the
/// record has another name.
pub(in crate::repository) fn claim(path: &Path) -> Result<Option<Claim>> {
    let claiming = || format!("locking {}", path.display());
    // NFS locks for one alone only what is open for writing.
    let opened = match open_regular_with(OpenOptions::new().read(true).write(true), path) {
        Err(error) if is_read_only(&error) => open_regular(path),
        opened => opened,
    };
    let record = opened.with_context(claiming)?;
    let (tries, apart) = ASKING;
    for attempt in 1..=tries {
        match record.try_lock() {
            Ok(()) => return Ok(Some(Claim { _record: record })),
            Err(TryLockError::WouldBlock) if attempt < tries => std::thread::sleep(apart),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) if has_no_locks(&error) => {
                return Ok(Some(Claim { _record: record }));
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(claiming),
        }
    }
    Ok(None)
}

/// A record that nobody reads.
#[derive(Debug)]
pub(in crate::repository) struct Claim {
    _record: File,
}

fn is_read_only(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
    )
}
