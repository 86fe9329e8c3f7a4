//! Saying how far the reading of a shard came.

use std::io::{self, Read};

use crate::progress::{Event, Progress};
use crate::shard::ShardPath;

/// Counts the bytes of a shard that pass, and reports them.
pub(crate) struct ProgressReader<'a, R> {
    inner: R,
    count: u64,
    shard: &'a ShardPath,
    progress: &'a dyn Progress,
}

impl<'a, R> ProgressReader<'a, R> {
    /// A reader of which nothing was read yet.
    pub(super) fn new(inner: R, shard: &'a ShardPath, progress: &'a dyn Progress) -> Self {
        Self {
            inner,
            count: 0,
            shard,
            progress,
        }
    }

    pub(super) fn inner(&self) -> &R {
        &self.inner
    }

    /// Bytes so far.
    pub(super) fn count(&self) -> u64 {
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
