//! The lock of a backup directory: one run at a time writes in it.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{Seek, SeekFrom, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use jiff::Timestamp;

use crate::cancel::Cancel;
use crate::error::Class;

/// How often a waiting run tries again.
const POLL: Duration = Duration::from_millis(200);

/// A lock that is held. The system releases it when the process ends, however it ends, so none is ever stale.
#[derive(Debug)]
pub struct Lock {
    _file: File,
}

impl Lock {
    /// Takes the lock on the file at `path`, which is made where it is absent, waiting for up to `wait`.
    ///
    /// # Errors
    ///
    /// [`Class::Locked`] when another process holds it, with what that one said of itself.
    pub fn take(path: &Path, wait: Duration, cancel: &Cancel) -> Result<Self> {
        let begun = Instant::now();
        let mut file = open(path)?;
        loop {
            match file.try_lock() {
                // Whoever held it may have removed the file with the folder it had made: then it locks nobody out.
                Ok(()) if !is_at(&file, path) => {
                    cancel.check()?;
                    file = open(path)?;
                }
                Ok(()) => break,
                Err(TryLockError::WouldBlock) if begun.elapsed() < wait => {
                    cancel.check()?;
                    std::thread::sleep(POLL.min(wait));
                }
                Err(TryLockError::WouldBlock) => {
                    let holder = fs::read_to_string(path).unwrap_or_default();
                    let holder = holder
                        .lines()
                        .next()
                        .filter(|line| !line.is_empty())
                        .unwrap_or("another process");
                    return Err(Class::Locked
                        .error(format!("{} is locked by {holder}", path.display()))
                        .hint("wait for it to end; with -retry-lock 5m, snap waits by itself")
                        .into());
                }
                Err(TryLockError::Error(error)) => {
                    return Err(error).with_context(|| format!("locking {}", path.display()));
                }
            }
        }
        let host = rustix::system::uname();
        let holder = format!(
            "process {} on {} since {:.0}\n",
            std::process::id(),
            host.nodename().to_string_lossy(),
            Timestamp::now()
        );
        file.set_len(0)
            .and_then(|()| file.seek(SeekFrom::Start(0)))
            .and_then(|_| file.write_all(holder.as_bytes()))
            .with_context(|| format!("writing the lock {}", path.display()))?;
        Ok(Self { _file: file })
    }
}

/// Opens the file, and makes it and its folder where they are absent.
fn open(path: &Path) -> Result<File> {
    if let Some(folder) = path.parent() {
        crate::disk::create_private_dir(folder)?;
    }
    let mut options = OpenOptions::new();
    options
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600);
    options
        .open(path)
        .with_context(|| format!("opening the lock {}", path.display()))
}

/// Whether the open file is the one that has the name.
fn is_at(file: &File, path: &Path) -> bool {
    fs::metadata(path).is_ok_and(|now| {
        file.metadata()
            .is_ok_and(|open| (now.dev(), now.ino()) == (open.dev(), open.ino()))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::class;

    #[test]
    fn a_held_lock_is_refused_with_its_holder_and_free_again_when_dropped() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("lock");
        let held = Lock::take(&path, Duration::ZERO, &Cancel::default()).unwrap();
        let refusal = Lock::take(&path, Duration::from_millis(1), &Cancel::default()).unwrap_err();
        assert_eq!(class(&refusal), Class::Locked);
        assert!(
            refusal
                .to_string()
                .contains(&format!("process {}", std::process::id())),
            "{refusal}"
        );
        drop(held);
        Lock::take(&path, Duration::ZERO, &Cancel::default()).unwrap();
    }
}
