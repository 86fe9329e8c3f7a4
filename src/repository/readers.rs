//! Readers beside runs that remove sets.
//!
//! Who goes on to read the files of a set holds it: a shared lock on its record, which a removal
//! wants for itself alone before it renames the record, and which the system releases when the
//! process ends. Who only looks holds nothing, and looks again where a file was gone that it had
//! just seen. Where a file system has no such locks, sets can be removed while they are read.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit, setrlimit};

use super::catalog::Catalog;
use super::hidden::{RECORD, file_of};
use super::set_id::SetId;
use super::snapshot::{pause, restless, tries};
use crate::error::{Error, ErrorKind};
use crate::io::open::{open_regular, open_regular_with};

/// Files that a process has open beside the records it holds.
const OTHER_FILES: u64 = 256;

/// How often a removal tries to have a record for itself, and how long apart: another run may be
/// asking the same.
const ASKING: (u32, Duration) = (3, Duration::from_millis(5));

/// How often a reader tries to share a record that somebody has for himself, and how long apart. A
/// removal renames it at once, and whoever asks whether there are readers lets go at once.
const SHARING: (u32, Duration) = (100, Duration::from_millis(10));

/// Sets that no removal touches while this lasts.
#[derive(Debug, Default)]
pub struct Held {
    _records: Vec<File>,
}

impl Catalog {
    /// Holds sets, by their places, against removal. Those without a record are never removed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoBackup`] where one has been removed since the directory was read;
    /// [`steadily`] looks again then.
    pub fn hold(&self, sets: impl IntoIterator<Item = usize>) -> Result<Held> {
        let mut sets: Vec<usize> = sets
            .into_iter()
            .filter(|at| self.sets()[*at].is_recorded())
            .collect();
        sets.sort_unstable();
        sets.dedup();
        allow_open_files(sets.len() as u64);
        let mut records = Vec::new();
        for at in sets {
            let id = &self.sets()[at].id;
            let path = file_of(self.path(), id, RECORD);
            match share(&path).with_context(|| format!("holding {}", path.display()))? {
                Some(record) => records.push(record),
                None => {
                    self.note_vanished();
                    return Err(removed_meanwhile(id).into());
                }
            }
        }
        Ok(Held { _records: records })
    }

    /// As [`Catalog::hold`] for one set; nothing where it has been removed meanwhile.
    ///
    /// # Errors
    ///
    /// When its record cannot be opened.
    pub fn hold_one(&self, set: usize) -> Result<Option<Held>> {
        let set = &self.sets()[set];
        if !set.is_recorded() {
            return Ok(Some(Held::default()));
        }
        let path = file_of(self.path(), &set.id, RECORD);
        let shared = share(&path).with_context(|| format!("holding {}", path.display()))?;
        Ok(shared.map(|record| Held {
            _records: vec![record],
        }))
    }
}

/// Reads a directory and does something with what is in it; all again where a set was removed
/// meanwhile, and so what was found may never have been true.
///
/// # Errors
///
/// Those of `read` and `look`; when sets are removed all the time.
pub fn steadily<T>(
    directory: &Path,
    mut read: impl FnMut() -> Result<Catalog>,
    mut look: impl FnMut(&Catalog) -> Result<T>,
) -> Result<(Catalog, T)> {
    for attempt in tries() {
        let catalog = read()?;
        let result = look(&catalog);
        if !catalog.has_vanished() {
            return Ok((catalog, result?));
        }
        std::thread::sleep(pause(attempt));
    }
    Err(restless(directory).into())
}

/// The record of a set that is about to be removed, if nobody reads the set. To be kept until the
/// record has another name.
pub(super) fn claim(directory: &Path, id: &SetId) -> Result<Option<Claim>> {
    let path = file_of(directory, id, RECORD);
    let claiming = || format!("locking {}", path.display());
    // NFS locks for one alone only what is open for writing.
    let opened = match open_regular_with(OpenOptions::new().read(true).write(true), &path) {
        Err(error) if is_read_only(&error) => open_regular(&path),
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
pub(super) struct Claim {
    _record: File,
}

/// A shared lock on a record; nothing where it is being removed, or was.
fn share(path: &Path) -> io::Result<Option<File>> {
    let record = match open_regular(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        record => record?,
    };
    let (tries, apart) = SHARING;
    for _ in 0..tries {
        let shared = match record.try_lock_shared() {
            Err(TryLockError::WouldBlock) => false,
            Err(TryLockError::Error(error)) if !has_no_locks(&error) => return Err(error),
            _ => true,
        };
        // A removal may have renamed it before the lock was there.
        if !is_at(&record, path) {
            return Ok(None);
        }
        if shared {
            return Ok(Some(record));
        }
        std::thread::sleep(apart);
    }
    Ok(None)
}

/// Whether the open file is the one that has the name.
fn is_at(file: &File, path: &Path) -> bool {
    fs::symlink_metadata(path).is_ok_and(|now| {
        file.metadata()
            .is_ok_and(|open| (now.dev(), now.ino()) == (open.dev(), open.ino()))
    })
}

fn has_no_locks(error: &io::Error) -> bool {
    matches!(
        Errno::from_io_error(error),
        Some(Errno::NOLCK | Errno::OPNOTSUPP | Errno::NOSYS | Errno::INVAL | Errno::BADF)
    )
}

fn is_read_only(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::PermissionDenied | io::ErrorKind::ReadOnlyFilesystem
    )
}

/// A long chain has more sets than a process may have files open, as systems begin it.
fn allow_open_files(held: u64) {
    let limit = getrlimit(Resource::Nofile);
    let wanted = held.saturating_add(OTHER_FILES);
    if limit.current.is_some_and(|current| current < wanted) {
        let current = limit.maximum.map_or(wanted, |maximum| maximum.min(wanted));
        let raised = rustix::process::Rlimit {
            current: Some(current),
            ..limit
        };
        // Where it is refused, opening the records tells.
        let _ = setrlimit(Resource::Nofile, raised);
    }
}

fn removed_meanwhile(id: &SetId) -> Error {
    ErrorKind::NoBackup.error(format!("set {id} was removed a moment ago"))
}
