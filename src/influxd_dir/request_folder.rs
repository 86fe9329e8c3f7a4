//! The folders in which requests keep the files they send: each locked while it is used, and swept
//! when it was left behind.

use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::io::durable::{self, claim_passing_dir, has_no_locks};

/// How the names of the folders begin, one a request.
const REQUEST: &str = "request-";

/// A folder that goes away with its value, and its parent with the last. It is locked while it
/// lives, so that other processes can tell it from one that was left behind.
#[derive(Debug)]
pub(super) struct RequestFolder {
    path: PathBuf,
    _lock: File,
}

impl RequestFolder {
    /// Makes one in `parent`, which is made too where it is not there.
    pub(super) fn make(parent: &Path) -> Result<Self> {
        let _parent = lock_parent(parent)?;
        let folder = tempfile::Builder::new()
            .prefix(REQUEST)
            .tempdir_in(parent)?;
        let lock = File::open(folder.path())?;
        wait_for(&lock)?;
        Ok(Self {
            path: folder.keep(),
            _lock: lock,
        })
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for RequestFolder {
    fn drop(&mut self) {
        // Where this fails, a later start sweeps it.
        let _ = durable::remove_tree_if_there(&self.path);
        if let Some(parent) = self.path.parent() {
            remove_if_empty(parent);
        }
    }
}

/// Makes the folder of folders and locks it: under this lock, folders in it are made and swept, and
/// it is removed.
fn lock_parent(parent: &Path) -> Result<File> {
    // Each round but the last, somebody removed it in between.
    for _ in 0..1000 {
        // The data directory may be another user's.
        claim_passing_dir(parent)?;
        if let Some(lock) = lock_if_there(parent)? {
            return Ok(lock);
        }
    }
    bail!("it is removed as soon as it is made")
}

/// Waits for the lock on a folder. Where the file system has none, folders that were left behind
/// are not told from those in use, and stay.
fn wait_for(lock: &File) -> io::Result<()> {
    match lock.lock() {
        Err(error) if has_no_locks(&error) => Ok(()),
        locked => locked,
    }
}

/// Locks a folder, unless it is gone by the time the lock is had.
fn lock_if_there(folder: &Path) -> io::Result<Option<File>> {
    let lock = match File::open(folder) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    wait_for(&lock)?;
    // What is locked may have been removed meanwhile, and another made in its place.
    Ok(durable::is_at(&lock, folder).then_some(lock))
}

fn remove_if_empty(parent: &Path) {
    if let Ok(Some(_lock)) = lock_if_there(parent) {
        // It is not empty while another request goes on.
        let _ = durable::remove_empty_dir(parent);
    }
}

/// Removes the folders that nobody holds any more.
pub(super) fn sweep(parent: &Path) -> Result<()> {
    if !fs::symlink_metadata(parent).is_ok_and(|there| there.is_dir()) {
        return Ok(());
    }
    let _lock = lock_parent(parent).with_context(|| format!("locking {}", parent.display()))?;
    let folders = fs::read_dir(parent)
        .with_context(|| format!("reading {}", parent.display()))?
        .flatten();
    for folder in folders.filter(|folder| {
        folder
            .file_name()
            .as_encoded_bytes()
            .starts_with(REQUEST.as_bytes())
    }) {
        let path = folder.path();
        if File::open(&path).is_ok_and(|held| durable::try_lock(&held, &path).is_ok()) {
            durable::remove_tree_if_there(&path)?;
        }
    }
    let _ = durable::remove_empty_dir(parent);
    Ok(())
}
