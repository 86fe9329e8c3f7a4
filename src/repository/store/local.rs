//! A repository in a local directory.

use std::ffi::OsStr;
use std::fs::{self, File, Metadata, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::os::unix::fs::{FileExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use anyhow::{Context, Result};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit, setrlimit};
use tempfile::{NamedTempFile, TempPath};

use super::write::{Content, StagedObject, StoreLock, WritableStore};
use super::{Bytes, ContentId, EntryKind, Folder, Hold, Store, StoreEntry, StoredFile};
use crate::cancel::Cancel;
use crate::io::durable;
use crate::io::growing_file::{GrowingFile, Pieces};
use crate::io::open::{open_regular, open_regular_with};
use crate::repository::hidden::{LOCK, NOTES, TEMPORARY, UNFINISHED, hidden};
use crate::repository::lock::{Lock, is_taken};
use crate::repository::set_id::SetId;

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
    /// Of the files that are written to it.
    pieces: Arc<Pieces>,
}

impl LocalStore {
    /// The repository in a directory.
    pub(crate) fn new(directory: &Path) -> Self {
        Self {
            directory: directory.to_owned(),
            pieces: Arc::default(),
        }
    }

    fn folder(&self, folder: Folder<'_>) -> PathBuf {
        let hidden = hidden(&self.directory);
        match folder {
            Folder::Top => self.directory.clone(),
            Folder::Hidden => hidden,
            Folder::Staged(set) => hidden.join(format!("{set}.{UNFINISHED}")),
            Folder::Notes(set) => hidden.join(format!("{set}.{UNFINISHED}")).join(NOTES),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.join(name)
    }

    /// A fresh file among the staged ones of a set.
    fn temporary(&self, set: &SetId) -> Result<NamedTempFile> {
        let folder = self.folder(Folder::Staged(set));
        tempfile::Builder::new()
            .prefix(TEMPORARY)
            .tempfile_in(&folder)
            .with_context(|| format!("creating a file in {}", folder.display()))
    }
}

impl Store for LocalStore {
    fn place(&self) -> String {
        self.directory.display().to_string()
    }

    fn place_of(&self, name: &str) -> String {
        self.path(name).display().to_string()
    }

    fn list(&self, folder: Folder<'_>) -> Result<Vec<StoreEntry>> {
        let path = self.folder(folder);
        let reading = || format!("reading {}", path.display());
        if folder != Folder::Top {
            // Where a link leads nowhere, on a volume that is not mounted say, sets with records
            // would count as sets without.
            durable::refuse_stranger(&path, None)?;
        }
        let entries = match fs::read_dir(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && folder != Folder::Top => {
                return Ok(Vec::new());
            }
            entries => entries.with_context(reading)?,
        };
        let mut listed = Vec::new();
        for entry in entries {
            let entry = entry.with_context(reading)?;
            let name = entry.file_name();
            listed.extend(entry_of(&name, entry.metadata(), &entry.path())?);
        }
        Ok(listed)
    }

    fn entry(&self, name: &str) -> Result<Option<StoreEntry>> {
        let path = self.path(name);
        let file = path.file_name().unwrap_or_default();
        entry_of(file, fs::symlink_metadata(&path), &path)
    }

    fn open(&self, name: &str) -> io::Result<StoredFile> {
        open_regular(&self.path(name)).map(StoredFile::from)
    }

    /// A shared lock, which a removal wants for itself alone before it renames the file, and which
    /// the system releases when the process ends.
    fn hold(&self, name: &str) -> io::Result<Option<Hold>> {
        let path = self.path(name);
        let file = match open_regular(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let (tries, apart) = SHARING;
        for _ in 0..tries {
            let is_shared = match durable::try_lock_shared(&file, &path) {
                Err(TryLockError::WouldBlock) => false,
                Err(TryLockError::Error(error)) if !durable::has_no_locks(&error) => {
                    return Err(error);
                }
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

    fn is_held(&self, name: &str) -> Result<bool> {
        Ok(claim(&self.path(name))?.is_none())
    }

    fn is_locked(&self) -> bool {
        is_taken(&hidden(&self.directory).join(LOCK))
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

/// What has a name; nothing where the name is no text, or nothing has it.
fn entry_of(
    name: &OsStr,
    metadata: io::Result<Metadata>,
    path: &Path,
) -> Result<Option<StoreEntry>> {
    let Some(name) = name.to_str() else {
        return Ok(None);
    };
    let metadata = match metadata {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        metadata => metadata.with_context(|| format!("reading {}", path.display()))?,
    };
    let kind = match metadata.file_type() {
        kind if kind.is_file() => EntryKind::File,
        kind if kind.is_symlink() => EntryKind::Link,
        kind if kind.is_dir() => EntryKind::Folder,
        _ => EntryKind::Other,
    };
    Ok(Some(StoreEntry {
        name: name.to_owned(),
        kind,
        size: metadata.len(),
        modified: metadata.modified().unwrap_or(SystemTime::UNIX_EPOCH),
        content: ContentId(metadata.dev(), metadata.ino()),
        names: metadata.nlink(),
    }))
}

impl WritableStore for LocalStore {
    /// The hidden folder is made with the lock's file.
    fn lock(&self, wait: Duration, cancel: &Cancel) -> Result<Box<dyn StoreLock>> {
        let hidden = hidden(&self.directory);
        let absent = hidden.ancestors().take_while(|path| !path.exists());
        let made = absent.map(Path::to_owned).collect();
        let path = hidden.join(LOCK);
        let lock = Lock::take(&path, wait, cancel)?;
        Ok(Box::new(LocalLock { lock, path, made }))
    }

    fn stage(&self, set: &SetId, earlier: Option<&SetId>) -> Result<()> {
        let folder = self.folder(Folder::Staged(set));
        match earlier {
            Some(earlier) => durable::rename(&self.folder(Folder::Staged(earlier)), &folder),
            None => durable::create_private_dir(&folder),
        }
    }

    fn create(&self, set: &SetId, _: &str) -> Result<Box<dyn StagedObject>> {
        let (file, path) = self.temporary(set)?.into_parts();
        Ok(Box::new(LocalObject {
            name: staged_name(set, &path),
            place: self.place(),
            file: GrowingFile::new(file, &self.pieces),
            path,
        }))
    }

    /// A hard link, or the file itself on a file system that has none, or no more for this file.
    fn share(&self, name: &str, set: &SetId) -> Result<String> {
        let file = self.path(name);
        let linked = tempfile::Builder::new()
            .prefix(TEMPORARY)
            .make_in(self.folder(Folder::Staged(set)), |free| {
                durable::link(&file, free)
            });
        let Ok(linked) = linked else {
            return Ok(name.to_owned());
        };
        let linked = linked.into_temp_path().keep()?;
        Ok(staged_name(set, &linked))
    }

    fn scratch(&self, set: &SetId) -> PathBuf {
        self.folder(Folder::Staged(set))
    }

    fn try_name(&self, set: &SetId, file: &str) -> Result<Option<io::Error>> {
        let path = self.folder(Folder::Staged(set)).join(file);
        match durable::create_new(&path).map(drop) {
            Ok(()) => durable::remove_if_there(&path).map(|()| None),
            Err(error) if is_of_the_name(&error) => Ok(Some(error)),
            Err(error) => Err(error).with_context(|| format!("creating {}", path.display())),
        }
    }

    fn append(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let path = self.path(name);
        let file = open_regular_with(durable::private_file().append(true), &path);
        file.and_then(|mut file| file.write_all(bytes))
            .with_context(|| format!("writing {}", path.display()))
    }

    fn write_whole(&self, name: &str, content: &mut Content<'_>) -> Result<()> {
        durable::write_whole_by(&self.path(name), content)
    }

    fn give_name(&self, staged: &str, name: &str) -> io::Result<()> {
        durable::rename_to_free_name(&self.path(staged), &self.path(name))
    }

    fn take_back(&self, name: &str, staged: &str) -> Result<()> {
        durable::rename(&self.path(name), &self.path(staged))
    }

    /// A rename, under a lock on the record that nobody else shares.
    fn retire(&self, record: &str, removal: &str) -> Result<bool> {
        let record = self.path(record);
        let Some(_claim) = claim(&record)? else {
            return Ok(false);
        };
        durable::rename(&record, &self.path(removal))?;
        Ok(true)
    }

    fn remove(&self, name: &str) -> Result<()> {
        durable::remove_if_there(&self.path(name))
    }

    fn remove_tree(&self, name: &str) -> Result<()> {
        durable::remove_tree_if_there(&self.path(name))
    }

    fn settle(&self, folder: Folder<'_>) -> Result<()> {
        durable::sync_dir(&self.folder(folder))
    }

    fn abort_stale(&self) -> Result<()> {
        durable::remove_unfinished(&hidden(&self.directory))
    }
}

/// The name in the repository of a staged file of a set.
fn staged_name(set: &SetId, path: &Path) -> String {
    let file = path.file_name().unwrap_or_default();
    Folder::Staged(set).name_of(&file.to_string_lossy())
}

/// The lock on a directory.
#[derive(Debug)]
struct LocalLock {
    lock: Lock,
    path: PathBuf,
    /// The directories that were made for it, the innermost first.
    made: Vec<PathBuf>,
}

impl StoreLock for LocalLock {
    fn warnings(&self) -> &[String] {
        self.lock.warnings()
    }

    fn abandon(&mut self) {
        if !self.made.is_empty() {
            self.lock.remove(&self.path);
        }
        for directory in &self.made {
            let _ = durable::remove_empty_dir(directory);
        }
    }
}

/// A staged file that grows.
#[derive(Debug)]
struct LocalObject {
    name: String,
    /// What it is called in messages until it has a name of its own: the repository.
    place: String,
    file: GrowingFile,
    path: TempPath,
}

impl StagedObject for LocalObject {
    fn seal(self: Box<Self>) -> Result<String> {
        let file = self.file.finish().context(self.place)?;
        durable::sync(&file, &self.path)?;
        let kept = self.path.keep();
        kept.context("keeping a file that is complete")?;
        Ok(self.name)
    }
}

impl Write for LocalObject {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.file.write(bytes);
        count.map_err(|error| named(error, &self.place))
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.file.flush();
        flushed.map_err(|error| named(error, &self.place))
    }
}

/// What failed in a place, with the system's error as its source: that is told apart from damage in
/// what was read.
fn named(error: io::Error, place: &str) -> io::Error {
    let kind = error.kind();
    io::Error::new(kind, anyhow::Error::new(error).context(place.to_owned()))
}

/// Whether a file cannot be made because of its name.
fn is_of_the_name(error: &io::Error) -> bool {
    let of_the_name = [Errno::INVAL, Errno::ILSEQ, Errno::NAMETOOLONG];
    Errno::from_io_error(error).is_some_and(|errno| of_the_name.contains(&errno))
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

/// The record of a set that is about to be removed, if nobody reads the set. To be kept until the
/// record has another name.
fn claim(path: &Path) -> Result<Option<RecordClaim>> {
    let claiming = || format!("locking {}", path.display());
    // NFS locks for one alone only what is open for writing.
    let opened = match open_regular_with(OpenOptions::new().read(true).write(true), path) {
        Err(error) if is_read_only(&error) => open_regular(path),
        opened => opened,
    };
    let record = opened.with_context(claiming)?;
    let (tries, apart) = ASKING;
    for attempt in 1..=tries {
        match durable::try_lock(&record, path) {
            Ok(()) => return Ok(Some(RecordClaim { _record: record })),
            Err(TryLockError::WouldBlock) if attempt < tries => std::thread::sleep(apart),
            Err(TryLockError::WouldBlock) => {}
            Err(TryLockError::Error(error)) if durable::has_no_locks(&error) => {
                return Ok(Some(RecordClaim { _record: record }));
            }
            Err(TryLockError::Error(error)) => return Err(error).with_context(claiming),
        }
    }
    Ok(None)
}

/// A record that nobody reads.
#[derive(Debug)]
struct RecordClaim {
    _record: File,
}

fn is_read_only(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
    )
}
