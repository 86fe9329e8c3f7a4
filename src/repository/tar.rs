//! The tar in a shard's file, compressed or not.

use std::io::{self, Read};

use crate::shard_tar::gzip::{Blocks, GzipReader};

/// The tar in a shard's file.
#[derive(Debug)]
pub enum Tar<R> {
    /// As it stands in the file.
    Plain(R),
    /// Compressed with gzip.
    Compressed(Box<GzipReader<R>>),
}

impl<R: Read> Tar<R> {
    /// The tar in a compressed file of `size` bytes.
    pub(super) fn compressed(reader: R, size: u64, blocks: Option<&Blocks>) -> Self {
        Self::Compressed(Box::new(GzipReader::new(reader, size, blocks)))
    }
}

impl<R> Tar<R> {
    /// The reader of the file.
    pub fn inner(&self) -> &R {
        match self {
            Self::Plain(reader) => reader,
            Self::Compressed(decoder) => decoder.get_ref(),
        }
    }
}

impl<R: Read> Read for Tar<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Plain(reader) => reader.read(buffer),
            Self::Compressed(decoder) => decoder.read(buffer),
        }
    }
}
