//! A file of a set while it grows: hashed as it is written, and handed to the disk a piece at a time.

use std::fs::File;
use std::io::{self, Write};
use std::ops::Range;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};
use tempfile::{NamedTempFile, TempPath};

use super::{FileRecord, hex};
use crate::format::gzip::GzipWriter;

/// After how many bytes of a file the system is told to begin writing them to the disk.
const WRITE_BACK: u64 = 4 << 20;

/// A file that takes bytes. It goes away when it is dropped before [`Growing::finish`].
#[derive(Debug)]
pub struct Growing {
    file: NamedTempFile,
    size: u64,
    written_back: u64,
    digest: Sha256,
}

impl Growing {
    /// Takes over a fresh file.
    pub(super) fn new(file: NamedTempFile) -> Self {
        Self { file, size: 0, written_back: 0, digest: Sha256::new() }
    }

    /// Makes the content last.
    ///
    /// # Errors
    ///
    /// When the system cannot.
    pub fn finish(self) -> Result<Finished> {
        self.file.as_file().sync_all().with_context(|| format!("syncing {}", self.file.path().display()))?;
        Ok(Finished { path: self.file.into_temp_path(), size: self.size, sha256: hex(self.digest) })
    }
}

impl Write for Growing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let named = |error: io::Error| io::Error::new(error.kind(), format!("{}: {error}", self.file.path().display()));
        let count = self.file.as_file().write(bytes).map_err(named)?;
        self.digest.update(&bytes[..count]);
        self.size += count as u64;
        if self.size - self.written_back >= WRITE_BACK {
            begin_write_back(self.file.as_file(), self.written_back..self.size);
            self.written_back = self.size;
        }
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A shard's file that takes the bytes of its tar.
#[derive(Debug)]
pub enum GrowingTar {
    /// As they are.
    Plain(Growing),
    /// Compressed with gzip.
    Packed(Box<GzipWriter<Growing>>),
}

impl GrowingTar {
    /// Makes the content last.
    ///
    /// # Errors
    ///
    /// When the system cannot.
    pub fn finish(self) -> Result<Finished> {
        match self {
            Self::Plain(file) => file.finish(),
            Self::Packed(encoder) => encoder.finish().context("writing the end of a compressed tar")?.finish(),
        }
    }
}

impl Write for GrowingTar {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Plain(file) => file.write(bytes),
            Self::Packed(encoder) => encoder.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A file that is complete and synced, under a temporary name that goes away with it.
#[derive(Debug)]
pub struct Finished {
    pub(super) path: TempPath,
    /// Bytes.
    pub size: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

impl Finished {
    pub(super) fn record(&self, name: String) -> FileRecord {
        FileRecord { name, size: self.size, sha256: self.sha256.clone() }
    }
}

/// Has the system begin to write a part of a file to the disk, so that a sync later finds little left to wait for, and keeps
/// the part out of the memory that others' files could use. Only advice: where it cannot be given, nothing is lost.
fn begin_write_back(file: &File, part: Range<u64>) {
    #[cfg(target_os = "linux")]
    if let Some(length) = std::num::NonZeroU64::new(part.end - part.start) {
        let _ = rustix::fs::fadvise(file, part.start, Some(length), rustix::fs::Advice::DontNeed);
    }
    #[cfg(not(target_os = "linux"))]
    let _ = (file, part);
}
