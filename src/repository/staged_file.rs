//! A file of a set while it grows: counted and hashed as it is written.

use std::io::{self, Write};
use std::sync::Arc;

use anyhow::{Context, Result};
use jiff::Timestamp;

use super::digest::{DigestAlgorithm, FileDigest, Hasher};
use super::layout::Layout;
use super::record::FileRecord;
use super::set_id::SetId;
use super::store::{StagedObject, StoredFile, WritableStore, tolerated};
use super::tar::Tar;
use crate::shard_tar::gzip::{Blocks, GzipWriter};

/// A file that takes bytes. It goes away when it is dropped before [`StagedFile::finish`].
#[derive(Debug)]
pub(crate) struct StagedFile {
    store: Arc<dyn WritableStore>,
    object: Box<dyn StagedObject>,
    size: u64,
    hasher: Hasher,
    /// Of a compressed file that is written to its end, where its blocks are.
    blocks: Option<Arc<Blocks>>,
}

impl StagedFile {
    /// A fresh file of a set, which is to be called `name` in the end.
    pub(super) fn create(
        store: &Arc<dyn WritableStore>,
        set: &SetId,
        name: &str,
        digest: DigestAlgorithm,
    ) -> Result<Self> {
        Ok(Self {
            object: store.create(set, name)?,
            store: store.clone(),
            size: 0,
            hasher: Hasher::new(digest),
            blocks: None,
        })
    }

    /// Makes the content last.
    ///
    /// # Errors
    ///
    /// When the system cannot.
    pub(crate) fn finish(self) -> Result<SealedFile> {
        let name = self.object.seal()?;
        let sealed = self.store.entry(&name)?;
        Ok(SealedFile {
            name,
            store: self.store,
            size: self.size,
            modified: sealed.and_then(|sealed| sealed.last_modified()),
            digest: self.hasher.finish(),
            blocks: self.blocks,
        })
    }
}

impl Write for StagedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.object.write(bytes)?;
        self.hasher.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.object.flush()
    }
}

/// A file that takes the bytes that one has elsewhere.
#[derive(Debug)]
pub(crate) struct FileCopy {
    file: StagedFile,
    /// What it is to be.
    size: u64,
    digest: FileDigest,
}

impl FileCopy {
    /// One that has got nothing yet.
    pub(super) fn new(file: StagedFile, recorded: &FileRecord) -> Self {
        Self {
            file: StagedFile {
                blocks: recorded.blocks.clone(),
                ..file
            },
            size: recorded.size,
            digest: recorded.digest.clone(),
        }
    }

    /// Makes the content last, if it is what was recorded of the other; else nothing of it stays.
    ///
    /// # Errors
    ///
    /// When the system cannot.
    pub(crate) fn finish(self) -> Result<Option<SealedFile>> {
        let is_same =
            self.file.size == self.size && self.file.hasher.clone().finish() == self.digest;
        is_same.then(|| self.file.finish()).transpose()
    }
}

impl Write for FileCopy {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A shard's file that takes the bytes of its tar.
#[derive(Debug)]
pub(crate) struct StagedTar {
    packing: Packing,
    size: u64,
}

#[derive(Debug)]
enum Packing {
    /// As they are.
    Plain(StagedFile),
    /// Compressed with gzip.
    Gzip(Box<GzipWriter<StagedFile>>),
}

impl StagedTar {
    /// Keeps the bytes as they are.
    pub(super) fn plain(file: StagedFile) -> Self {
        Self {
            packing: Packing::Plain(file),
            size: 0,
        }
    }

    /// Compresses them.
    pub(super) fn compressed(encoder: GzipWriter<StagedFile>) -> Self {
        Self {
            packing: Packing::Gzip(Box::new(encoder)),
            size: 0,
        }
    }

    /// Makes the content last. Gives the file and the bytes of the tar in it.
    ///
    /// # Errors
    ///
    /// When the system cannot.
    pub(crate) fn finish(self) -> Result<(SealedFile, u64)> {
        let (file, size) = self.into_file()?;
        Ok((file.finish()?, size))
    }

    /// The file with all of the tar in it, which need not last yet, and the bytes of the tar.
    ///
    /// # Errors
    ///
    /// When the end of it cannot be written.
    pub(crate) fn into_file(self) -> Result<(StagedFile, u64)> {
        let file = match self.packing {
            Packing::Plain(file) => file,
            Packing::Gzip(encoder) => {
                let finished = encoder.finish();
                let (mut file, blocks) = finished.context("writing the end of a compressed tar")?;
                file.blocks = blocks.map(Arc::new);
                file
            }
        };
        Ok((file, self.size))
    }
}

impl Write for StagedTar {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = match &mut self.packing {
            Packing::Plain(file) => file.write(bytes)?,
            Packing::Gzip(encoder) => encoder.write(bytes)?,
        };
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that is complete and lasts. Among the staged files of its run, it goes away with those; under
/// a final name already, it goes with its run's claim, if it is that run's own.
#[derive(Debug, Clone)]
pub(crate) struct SealedFile {
    store: Arc<dyn WritableStore>,
    /// As the repository has it.
    pub(super) name: String,
    /// Bytes.
    pub size: u64,
    /// When it was last modified, where that is known.
    modified: Option<Timestamp>,
    /// Of its bytes.
    pub digest: FileDigest,
    /// Of a compressed file, where its blocks are.
    pub(super) blocks: Option<Arc<Blocks>>,
}

impl SealedFile {
    /// A file that is there already.
    pub(super) fn of(store: &Arc<dyn WritableStore>, name: String, recorded: FileRecord) -> Self {
        Self {
            store: store.clone(),
            name,
            size: recorded.size,
            modified: recorded.modified,
            digest: recorded.digest,
            blocks: recorded.blocks,
        }
    }

    /// Opens a shard's file: what is read is its tar.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    pub(crate) fn open(&self, layout: Layout) -> Result<Tar<StoredFile>> {
        let file = self.store.open(&self.name);
        let file = file.with_context(|| format!("opening {}", self.store.place_of(&self.name)))?;
        Ok(match layout.compresses() {
            true => Tar::compressed(file, self.size, self.blocks.as_deref()),
            false => Tar::Plain(file),
        })
    }

    /// Removes it, so that the room is free for others, unless another has taken its place. What the
    /// storage keeps is no part of the set.
    ///
    /// # Errors
    ///
    /// When it cannot be removed.
    pub(crate) fn replace(self, with: Option<&Self>) -> Result<()> {
        match with {
            Some(other) if other.name == self.name => Ok(()),
            _ => self.remove(),
        }
    }

    pub(super) fn remove(self) -> Result<()> {
        tolerated(self.store.remove(&self.name)).map(drop)
    }

    pub(super) fn record(&self, name: String) -> FileRecord {
        FileRecord {
            name,
            size: self.size,
            modified: self.modified,
            digest: self.digest.clone(),
            blocks: self.blocks.clone(),
        }
    }
}
