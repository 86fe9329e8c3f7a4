//! The file of a shard while it is read.

use std::io::{self, Read};

use sha2::{Digest, Sha256};

use crate::cancel::{Cancel, Stoppable};
use crate::progress::{Event, Progress};
use crate::repository::{StoredFile, hex};
use crate::shard::ShardPath;

/// Counts the bytes of a shard that pass, and reports them.
pub struct ProgressReader<'a, R> {
    inner: R,
    count: u64,
    shard: &'a ShardPath,
    progress: &'a dyn Progress,
}

impl<'a, R> ProgressReader<'a, R> {
    /// A reader of which nothing was read yet.
    pub fn new(inner: R, shard: &'a ShardPath, progress: &'a dyn Progress) -> Self {
        Self {
            inner,
            count: 0,
            shard,
            progress,
        }
    }

    /// Bytes so far.
    pub fn count(&self) -> u64 {
        self.count
    }
}

impl<R: Read> Read for ProgressReader<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count += count as u64;
        self.progress.report(&Event::Bytes {
            shard: self.shard,
            count: count as u64,
        });
        Ok(count)
    }
}

/// Counts the bytes that pass and reports them, sums them up where there is something to compare the sum with, and stops when asked
/// to.
pub struct Passing<'a> {
    inner: Stoppable<'a, StoredFile>,
    digest: Option<Sha256>,
    count: u64,
    shard: &'a ShardPath,
    progress: &'a dyn Progress,
}

impl<'a> Passing<'a> {
    /// The file of `shard`, of which nothing was read yet. To hash takes a third of the time: `is_summed` only for a sum that was
    /// recorded.
    pub fn new(
        file: StoredFile,
        is_summed: bool,
        shard: &'a ShardPath,
        cancel: &'a Cancel,
        progress: &'a dyn Progress,
    ) -> Self {
        Self {
            inner: Stoppable {
                inner: file,
                cancel,
            },
            digest: is_summed.then(Sha256::new),
            count: 0,
            shard,
            progress,
        }
    }

    /// Bytes so far.
    pub fn count(&self) -> u64 {
        self.count
    }

    /// SHA-256 of them, where they are summed up.
    pub fn sha256(&self) -> Option<String> {
        self.digest.clone().map(hex)
    }
}

impl Read for Passing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if let Some(digest) = &mut self.digest {
            digest.update(&buffer[..count]);
        }
        self.count += count as u64;
        self.progress.report(&Event::Bytes {
            shard: self.shard,
            count: count as u64,
        });
        Ok(count)
    }
}
