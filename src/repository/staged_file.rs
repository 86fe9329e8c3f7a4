//! A file of a set while it grows: hashed as it is written, and handed to the disk a piece at a
//! time.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use tempfile::NamedTempFile;

use super::digest::hex;
use super::record::{FileRecord, Layout};
use super::store::StoredFile;
use super::tar::Tar;
use crate::io::durable::{self, WriteBack};
use crate::io::open::open_regular;
use crate::shard_tar::gzip::GzipWriter;

/// A file that takes bytes. It goes away when it is dropped before [`StagedFile::finish`].
#[derive(Debug)]
pub struct StagedFile {
    file: NamedTempFile,
    size: u64,
    write_back: WriteBack,
    digest: Sha256,
}

impl StagedFile {
    /// Takes over a fresh file.
    pub(super) fn new(file: NamedTempFile) -> Self {
        Self {
            file,
            size: 0,
            write_back: WriteBack::default(),
            digest: Sha256::new(),
        }
    }

    /// Gives up the file, and its name for something else.
    pub(super) fn into_name(self) -> PathBuf {
        self.file.path().to_owned()
    }

    /// Makes the content last.
    ///
    /// # Errors
    ///
    /// When the system cannot.
    pub fn finish(self) -> Result<SealedFile> {
        durable::sync(self.file.as_file(), self.file.path())?;
        let (_, path) = self
            .file
            .keep()
            .context("keeping a file that is complete")?;
        Ok(SealedFile {
            path,
            size: self.size,
            sha256: hex(self.digest),
        })
    }
}

impl Write for StagedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // With the system's error as its source: that is told apart from damage in what was read.
        let named = |error: io::Error| {
            io::Error::new(
                error.kind(),
                anyhow::Error::new(error).context(self.file.path().display().to_string()),
            )
        };
        let count = self.file.as_file().write(bytes).map_err(named)?;
        self.digest.update(&bytes[..count]);
        self.size += count as u64;
        self.write_back.wrote(self.file.as_file(), count);
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A shard's file that takes the bytes of its tar.
#[derive(Debug)]
pub struct StagedTar {
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
    pub(super) fn packed(encoder: GzipWriter<StagedFile>) -> Self {
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
    pub fn finish(self) -> Result<(SealedFile, u64)> {
        let file = match self.packing {
            Packing::Plain(file) => file,
            Packing::Gzip(encoder) => encoder
                .finish()
                .context("writing the end of a compressed tar")?,
        };
        Ok((file.finish()?, self.size))
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

/// A file that is complete and synced, under a temporary name in the folder of the run's files, and
/// goes away with that.
#[derive(Debug)]
pub struct SealedFile {
    pub(super) path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

impl SealedFile {
    /// A file that is there already.
    pub(super) fn at(path: PathBuf, recorded: &FileRecord) -> Self {
        Self {
            path,
            size: recorded.size,
            sha256: recorded.sha256.clone(),
        }
    }

    /// Opens a shard's file: what is read is its tar.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    pub fn open(&self, layout: Layout) -> Result<Tar<StoredFile>> {
        let file =
            open_regular(&self.path).with_context(|| format!("opening {}", self.path.display()))?;
        Ok(Tar::new(file.into(), layout.packs()))
    }

    /// Removes it, so that the room is free for others.
    ///
    /// # Errors
    ///
    /// When it cannot be removed.
    pub fn remove(self) -> Result<()> {
        durable::remove_if_there(&self.path)
    }

    pub(super) fn record(&self, name: String) -> FileRecord {
        FileRecord {
            name,
            size: self.size,
            sha256: self.sha256.clone(),
        }
    }
}
