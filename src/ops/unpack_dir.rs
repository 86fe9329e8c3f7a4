//! The directory into which the files of a shard's tars are unpacked while they are examined.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::room::ensure_room;
use crate::influxd_dir::Ownership;
use crate::io::durable::{self, WriteBack};
use crate::io::scratch::{ensure_scratch_room, scratch_error, scratch_words};
use crate::io::sync_behind::SyncQueue;

/// A directory for the files of one shard. Of files of one name, the last is kept.
pub(crate) struct UnpackDir<'a> {
    pub path: &'a Path,
    pub ownership: &'a Ownership,
    /// Gets each file when it is whole; none where the files go with the run.
    pub syncs: Option<&'a SyncQueue>,
}

/// A file that is being unpacked.
pub(crate) struct UnpackedFile {
    file: Arc<File>,
    path: PathBuf,
    scratch: Option<PathBuf>,
    write_back: WriteBack,
}

impl UnpackDir<'_> {
    /// Begins a file of so many bytes. A compressed tar can claim any number, and others write to
    /// the disk too, so there must be room for them.
    ///
    /// # Errors
    ///
    /// When there is no room, or the file cannot be made.
    pub(super) fn create(&self, name: &str, size: u64) -> Result<UnpackedFile> {
        match self.scratch() {
            Some(scratch) => ensure_scratch_room(scratch, size).map_err(scratch_words)?,
            None => ensure_room(self.path, size)?,
        }
        let path = self.path.join(name);
        if let Some(parent) = path.parent() {
            self.ownership.create_unsynced_dirs(parent)?;
        }
        let mut options = durable::private_file();
        let file = options.read(true).truncate(true).open(&path);
        let file = file.with_context(|| format!("creating {}", path.display()))?;
        Ok(UnpackedFile {
            file: Arc::new(file),
            path,
            scratch: self.scratch().map(Path::to_owned),
            write_back: WriteBack::default(),
        })
    }

    /// The directory for temporary files that it is in, where its files go with the run.
    fn scratch(&self) -> Option<&Path> {
        self.path.parent().filter(|_| self.syncs.is_none())
    }

    /// Removes a file that is not to stay after all.
    ///
    /// # Errors
    ///
    /// When it cannot be removed.
    pub(super) fn remove(&self, name: &str) -> Result<()> {
        durable::remove_if_there(&self.path.join(name))
    }

    /// Gives a file that is whole its owner and mode, and has it synced; also one that may be
    /// rewritten later. Whether it is, its points decide, and that it could not be written to the
    /// disk is told only to who had it open since.
    ///
    /// # Errors
    ///
    /// When owner or mode cannot be set.
    pub(super) fn keep(&self, unpacked: &UnpackedFile) -> Result<()> {
        let UnpackedFile { file, path, .. } = unpacked;
        let given = self.ownership.give(file);
        given.with_context(|| format!("setting owner and mode of {}", path.display()))?;
        if let Some(syncs) = self.syncs {
            syncs.file(Arc::clone(file), path.clone());
        }
        Ok(())
    }
}

impl UnpackedFile {
    /// Writes the next piece.
    ///
    /// # Errors
    ///
    /// Those of writing.
    pub(super) fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let written = (&*self.file).write_all(bytes);
        match &self.scratch {
            Some(scratch) => written.map_err(|error| scratch_error(scratch, error))?,
            None => written.with_context(|| format!("writing {}", self.path.display()))?,
        }
        self.write_back.wrote(&self.file, bytes.len());
        Ok(())
    }

    /// What was written.
    pub(super) fn file(&self) -> &File {
        &self.file
    }
}
