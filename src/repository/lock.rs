//! The lock of a backup directory: one run at a time writes in it.

use std::ffi::OsString;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::Timestamp;

use super::marker::{Marked, Marker};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind};
use crate::io::durable;
use crate::io::open::{open_regular_with, read_bounded};

/// How often a waiting run tries again.
const POLL: Duration = Duration::from_millis(200);

/// How often the file may be another one by the time its lock is had.
const CHANGES: u32 = 1000;

/// How often a run tries to lock the folder, and how long apart: whoever asks whether it is locked
/// lets go at once.
const SIGNING: (u32, Duration) = (10, Duration::from_millis(1));

/// More bytes than a lock file has.
const LARGEST: u64 = 4 << 10;

/// A lock that is held. The system releases it when the process ends, however it ends, so that none
/// is ever stale; but for file systems without locks, where a [`Marker`] stands in.
#[derive(Debug)]
pub struct Lock {
    file: File,
    claim: FileLock,
    /// The folder of the file, locked for those who ask with [`is_taken`].
    folder: Option<File>,
    warnings: Vec<String>,
}

impl Lock {
    /// Takes the lock on the file at `path`, which is made where it is absent, waiting for up to
    /// `wait`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Locked`] when another process holds it, with what that one said of itself.
    /// [`ErrorKind::Refused`] where the file's folder is a link.
    pub fn take(path: &Path, wait: Duration, cancel: &Cancel) -> Result<Self> {
        let begun = Instant::now();
        let mut file = open(path)?;
        let mut changes = 0..CHANGES;
        let claim = loop {
            match FileLock::of(&file, path)? {
                // Whoever held it may have removed the file with the folder it had made: then it
                // locks nobody out.
                Ok(_) if !durable::is_at(&file, path) => {
                    cancel.check()?;
                    changes
                        .next()
                        .with_context(|| format!("{} changes all the time", path.display()))?;
                    file = open(path)?;
                }
                Ok(claim) => break claim,
                Err(_) if begun.elapsed() < wait => {
                    cancel.check()?;
                    std::thread::sleep(POLL.min(wait));
                }
                Err(held) => {
                    let message = format!("{} is locked by {}", path.display(), held.holder);
                    let wait = "wait for it to end; with -retry-lock 5m, snap waits by itself";
                    return Err(held.error(message, wait).into());
                }
            }
        };
        let mut lock = Self {
            file,
            claim,
            folder: lock_folder(path),
            warnings: Vec::new(),
        };
        lock.sign(path)?;
        lock.warn(path)?;
        Ok(lock)
    }

    /// What the file system lacks of what a run relies on, a sentence each: to be said once.
    pub fn warnings(&self) -> &[String] {
        &self.warnings
    }

    /// Removes the file of a lock that is about to be given up with all that it guards.
    pub(super) fn remove(&mut self, path: &Path) {
        self.claim.marker = None;
        let _ = durable::remove_if_there(path);
    }

    /// Says in the file who holds it.
    fn sign(&mut self, path: &Path) -> Result<()> {
        let host = rustix::system::uname();
        let holder = format!(
            "process {} on {} since {:.0}\n",
            std::process::id(),
            host.nodename().to_string_lossy(),
            Timestamp::now()
        );
        self.file
            .set_len(0)
            .and_then(|()| self.file.seek(SeekFrom::Start(0)))
            .and_then(|_| self.file.write_all(holder.as_bytes()))
            .with_context(|| format!("writing the lock {}", path.display()))
    }

    fn warn(&mut self, path: &Path) -> Result<()> {
        self.warnings.extend(self.claim.warning());
        let folder = path.parent().unwrap_or(Path::new("."));
        if !durable::can_sync_dir(folder)? {
            self.warnings.push(format!(
                "{} is on a file system that cannot sync directories: what is written there may \
                 not outlast a power failure",
                folder.display()
            ));
        }
        Ok(())
    }
}

impl Drop for Lock {
    /// To close the files is not enough: a program that another thread starts has them too, until it
    /// runs.
    fn drop(&mut self) {
        for file in [Some(&self.file), self.folder.as_ref()]
            .into_iter()
            .flatten()
        {
            // Where there was no lock, there is none to give up.
            let _ = file.unlock();
        }
    }
}

/// Whether a run has the lock on the file at `path`. Asking never keeps a run from taking it: what
/// is tried is a lock on the folder, which a run takes too and does not need. Where the file system
/// has no locks, nobody can tell, and it is said to be free.
pub(super) fn is_taken(path: &Path) -> bool {
    let folder = durable::directory_of(path);
    File::open(folder).is_ok_and(|file| {
        let tried = durable::try_lock_shared(&file, folder);
        matches!(tried, Err(TryLockError::WouldBlock))
    })
}

/// Locks the folder of the lock's file, where that can be done.
fn lock_folder(path: &Path) -> Option<File> {
    let folder = durable::directory_of(path);
    let file = File::open(folder).ok()?;
    let (tries, apart) = SIGNING;
    for _ in 0..tries {
        match durable::try_lock(&file, folder) {
            Ok(()) => return Some(file),
            Err(TryLockError::WouldBlock) => std::thread::sleep(apart),
            Err(TryLockError::Error(_)) => return None,
        }
    }
    None
}

/// A lock on an open file.
#[derive(Debug)]
pub(crate) struct FileLock {
    /// Where the file system has no locks.
    marker: Option<Marker>,
    marker_path: PathBuf,
}

/// Somebody else has the lock.
#[derive(Debug)]
pub(crate) struct LockedBy {
    holder: String,
    /// The file that stands in for a lock, where that is what is held.
    marker: Option<PathBuf>,
}

impl LockedBy {
    /// The error that says so, with what to do: `wait`, where the file system has locks.
    pub(crate) fn error(&self, message: String, wait: &str) -> Error {
        let fault = ErrorKind::Locked.error(message);
        match &self.marker {
            None => fault.hint(wait),
            Some(marker) => fault.hint(format!(
                "{wait}. The file system has no locks: if that run is gone, remove {}",
                marker.display()
            )),
        }
    }
}

impl FileLock {
    /// Takes the lock on an open file, without waiting.
    ///
    /// # Errors
    ///
    /// When it can neither be taken nor is held.
    pub(crate) fn of(file: &File, path: &Path) -> Result<Result<Self, LockedBy>> {
        let marker_path = marker_of(path);
        let held_by = |holder: String| {
            let marker = Some(marker_path.clone());
            Ok(Err(LockedBy { holder, marker }))
        };
        match durable::try_lock(file, path) {
            // Another machine may reach the same directory without locks.
            Ok(()) => match Marker::holder(&marker_path)? {
                None => Ok(Ok(Self {
                    marker: None,
                    marker_path,
                })),
                Some(holder) => {
                    file.unlock()
                        .with_context(|| format!("unlocking {}", path.display()))?;
                    held_by(holder)
                }
            },
            Err(TryLockError::WouldBlock) => Ok(Err(LockedBy {
                holder: signer(path),
                marker: None,
            })),
            Err(TryLockError::Error(error)) if durable::has_no_locks(&error) => {
                match Marker::make(&marker_path)? {
                    Marked::Here(marker) => Ok(Ok(Self {
                        marker: Some(marker),
                        marker_path,
                    })),
                    Marked::By(holder) => held_by(holder),
                }
            }
            Err(TryLockError::Error(error)) => {
                Err(error).with_context(|| format!("locking {}", path.display()))
            }
        }
    }

    /// What is to be said of a file system without locks.
    pub(crate) fn warning(&self) -> Option<String> {
        self.marker.as_ref()?;
        Some(format!(
            "the file system has no locks: {} stands in for one, and has to be removed by hand \
             should this machine fail meanwhile",
            self.marker_path.display()
        ))
    }
}

/// The file that stands in for the lock on a file.
fn marker_of(path: &Path) -> PathBuf {
    let mut marker = OsString::from(path);
    marker.push(".held");
    marker.into()
}

/// Who says in the file of a lock that it is theirs.
fn signer(path: &Path) -> String {
    let text = read_bounded(path, LARGEST).unwrap_or_default();
    let text = String::from_utf8_lossy(&text).into_owned();
    let line = text.lines().next().filter(|line| !line.is_empty());
    // Anybody may have written it.
    let line = line.map(|line| line.replace(char::is_control, "?"));
    line.unwrap_or_else(|| "another process".to_owned())
}

/// Opens the file, and makes it and its folder where they are absent.
fn open(path: &Path) -> Result<File> {
    if let Some(folder) = path.parent() {
        durable::create_private_dir(folder)?;
    }
    let mut options = OpenOptions::new();
    // Whatever is in it stays until the lock is held.
    options.read(true).write(true).create(true).mode(0o600);
    open_regular_with(&mut options, path)
        .with_context(|| format!("opening the lock {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::kind_of;

    #[test]
    fn a_held_lock_is_refused_with_its_holder_and_free_again_when_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let held = Lock::take(&path, Duration::ZERO, &Cancel::default()).unwrap();
        let refusal = Lock::take(&path, Duration::from_millis(1), &Cancel::default()).unwrap_err();
        assert_eq!(kind_of(&refusal), ErrorKind::Locked);
        assert!(
            refusal
                .to_string()
                .contains(&format!("process {}", std::process::id())),
            "{refusal}"
        );
        // As a program has it that is just being started.
        let inherited = [
            held.file.try_clone(),
            held.folder.as_ref().unwrap().try_clone(),
        ];
        drop(held);
        assert!(!is_taken(&path));
        Lock::take(&path, Duration::ZERO, &Cancel::default()).unwrap();
        drop(inherited);
    }

    #[test]
    fn who_asks_whether_a_lock_is_taken_keeps_nobody_from_taking_it() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        assert!(!is_taken(&path), "no run has been here");
        let held = Lock::take(&path, Duration::ZERO, &Cancel::default()).unwrap();
        assert!(is_taken(&path) && is_taken(&path));
        drop(held);
        assert!(!is_taken(&path));
        // One who asks, and never gets on.
        let asking = File::open(directory.path()).unwrap();
        asking.lock_shared().unwrap();
        Lock::take(&path, Duration::ZERO, &Cancel::default()).unwrap();
    }
}
