//! The tar in a shard's file, compressed or not.

use std::io::{self, BufReader, Read};

use flate2::read::MultiGzDecoder;

use super::manifest;

/// The tar in a shard's file.
#[derive(Debug)]
pub enum Tar<R> {
    /// As it stands in the file.
    Plain(R),
    /// Compressed with gzip.
    Compressed(Box<MultiGzDecoder<BufReader<R>>>),
}

impl<R: Read> Tar<R> {
    /// The tar in a file that is packed or not.
    pub(super) fn new(reader: R, compressed: bool) -> Self {
        if compressed {
            Self::Compressed(Box::new(manifest::decompress(reader)))
        } else {
            Self::Plain(reader)
        }
    }
}

impl<R> Tar<R> {
    /// The reader of the file.
    pub fn inner(&self) -> &R {
        match self {
            Self::Plain(reader) => reader,
            Self::Compressed(decoder) => decoder.get_ref().get_ref(),
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
