//! The files of a set: fresh ones, and those that other sets and runs have.

use std::io::Write;

use anyhow::{Context, Result};

use super::SetWriter;
use crate::cancel::Cancel;
use crate::repository::as_recorded::{Comparison, find_as_recorded};
use crate::repository::digest::DigestAlgorithm;
use crate::repository::hidden::HIDDEN;
use crate::repository::layout::Layout;
use crate::repository::manifest;
use crate::repository::record::FileRecord;
use crate::repository::staged_file::{FileCopy, SealedFile, StagedFile, StagedTar};
use crate::shard::ShardPath;

impl SetWriter {
    /// A fresh file that is to be called `name`, for the owner alone.
    pub(super) fn file(&self, name: &str) -> Result<StagedFile> {
        self.file_with(name, DigestAlgorithm::Blake3)
    }

    pub(super) fn file_with(&self, name: &str, digest: DigestAlgorithm) -> Result<StagedFile> {
        self.stay_alive()?;
        StagedFile::create(&self.store, &self.staged, name, digest)
    }

    /// A fresh file for that of a shard, which is to be as it was recorded elsewhere.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub(crate) fn copy(&self, shard: &ShardPath, recorded: &FileRecord) -> Result<FileCopy> {
        let name = self.names()?.shard(shard);
        let file = self.file_with(&name, recorded.digest.algorithm())?;
        Ok(FileCopy::new(file, recorded))
    }

    /// A fresh file for the tar of a shard.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub(crate) fn tar(&self, shard: &ShardPath) -> Result<StagedTar> {
        let names = self.names()?;
        let file = self.file(&names.shard(shard))?;
        Ok(match names.layout {
            Layout::Legacy => StagedTar::plain(file),
            Layout::Portable => {
                StagedTar::compressed(manifest::compress(self.id.as_str(), shard.id, file))
            }
        })
    }

    /// A finished file that is another's very own: a hard link to it, or that file where there can
    /// be none, or where it has the name that this set's would get, as it does when a set was removed
    /// that others share files with, and is copied again. None where the file is not what was
    /// recorded, or may not be shared.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or a stop was asked for.
    pub(crate) fn share(
        &self,
        name: &str,
        recorded: &FileRecord,
        comparison: Comparison,
        cancel: &Cancel,
    ) -> Result<Option<SealedFile>> {
        if !self.may_share(name) {
            return Ok(None);
        }
        let found = find_as_recorded(&*self.store, name, recorded, comparison, cancel)?;
        let Some(found) = found else {
            return Ok(None);
        };
        let shared = match self.names()?.is_own(name) {
            true => name.to_owned(),
            false => self.store.share(name, &self.staged)?,
        };
        Ok(Some(SealedFile::of(&self.store, shared, found)))
    }

    /// A file that an earlier run had finished among those of this one; none where it is not what
    /// was recorded.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or a stop was asked for.
    pub(crate) fn reuse(
        &self,
        name: &str,
        recorded: &FileRecord,
        cancel: &Cancel,
    ) -> Result<Option<SealedFile>> {
        // Under a final name is what the store has whole, and nobody writes to.
        let comparison = match is_staged(name) {
            true => Comparison::Digest,
            false => Comparison::Time,
        };
        let found = find_as_recorded(&*self.store, name, recorded, comparison, cancel)?;
        Ok(found.map(|found| SealedFile::of(&self.store, name.to_owned(), found)))
    }

    /// Removes a file that an earlier run had finished and this one does not reuse, which takes
    /// room. One with a final name stays, for others may use it.
    ///
    /// # Errors
    ///
    /// When it cannot be removed.
    pub(crate) fn discard(&self, name: &str) -> Result<()> {
        match is_staged(name) {
            true => self.store.remove(name),
            false => Ok(()),
        }
    }

    /// A finished file with that content, which is to be called `name`.
    pub(in crate::repository) fn write(&self, name: &str, content: &[u8]) -> Result<SealedFile> {
        let mut file = self.file(name)?;
        file.write_all(content).context("writing")?;
        file.finish()
    }
}

/// Whether a name is that of a staged file, which gets its final name in a commit. Any other has it.
pub(super) fn is_staged(name: &str) -> bool {
    name.starts_with(HIDDEN)
}
