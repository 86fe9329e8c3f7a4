//! The document of a set's record: summed up as it is written, and read piece by piece where it is
//! large.

use std::io::{self, BufReader, Read, Write};

use serde::de::DeserializeOwned;
use sha2::{Digest, Sha256};

use super::digest::Sum;
use super::record::SetRecord;
use super::store::{Store, StoredFile, open_bounded};
use crate::io::open::read_to_limit;
use crate::io::read_at::{FromStart, ReadAt, Section};

/// What stands before the sum at a document's end.
const SUM: &[u8] = b",\n  \"sum\": \"";
/// What ends a document, sum or not.
const END: &[u8] = b"\n}";

/// Bytes of a document that are in memory at a time, but where all of them are.
const CHUNK: u64 = 64 << 10;

/// The largest document that is read as a whole, which takes half the time.
const WHOLE: u64 = 1 << 20;

/// The largest document that is read: that of some eight million TSM files.
pub(super) const LARGEST: u64 = 1 << 30;

/// A document to be read.
pub(super) enum Document {
    Whole(Vec<u8>),
    InPieces(StoredFile),
}

impl Document {
    /// Opens the file of a document.
    ///
    /// # Errors
    ///
    /// Those of [`open_bounded`].
    pub(super) fn open(store: &dyn Store, name: &str) -> io::Result<Self> {
        let file = open_bounded(store, name, LARGEST)?;
        Ok(match ReadAt::size(&file)? > WHOLE {
            true => Self::InPieces(file),
            false => Self::Whole(read_to_limit(file, WHOLE)?),
        })
    }

    /// Whether it is as it was written, as far as its sum tells.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub(super) fn is_as_written(&self) -> io::Result<bool> {
        match self {
            Self::Whole(bytes) => SetRecord::is_as_written(&bytes[..]),
            Self::InPieces(file) => SetRecord::is_as_written(file),
        }
    }

    /// What it says, whatever its sum is.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or says something else.
    pub(super) fn parse<T: DeserializeOwned>(&self) -> serde_json::Result<T> {
        match self {
            Self::Whole(bytes) => serde_json::from_slice(bytes),
            Self::InPieces(file) => {
                let reader = FromStart::new(file);
                serde_json::from_reader(BufReader::with_capacity(CHUNK as usize, reader))
            }
        }
    }
}

impl SetRecord {
    /// Writes the document, piece by piece, for it can be large where there are many shards. Its
    /// last field, `sum`, is the SHA-256 of all that stands before it.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut summing = Summing {
            out,
            digest: Sha256::new(),
            held: Vec::new(),
        };
        serde_json::to_writer_pretty(&mut summing, self)?;
        let Summing { out, digest, .. } = summing;
        out.write_all(SUM)?;
        write!(out, "{}", sum_of(digest))?;
        out.write_all(b"\"")?;
        out.write_all(END)
    }

    /// Whether a document is as it was written, as far as its sum tells. One without a sum may be
    /// anything.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn is_as_written(document: &(impl ReadAt + ?Sized)) -> io::Result<bool> {
        let Some(end) = end_of_summed(document)? else {
            return Ok(true);
        };
        let mut digest = Sha256::new();
        let mut chunk = vec![0; CHUNK.min(end) as usize];
        let summed = Section::new(document, 0, end);
        let mut summed = FromStart::new(&summed);
        loop {
            match summed.read(&mut chunk)? {
                0 => break,
                count => digest.update(&chunk[..count]),
            }
        }
        let stated = end + SUM.len() as u64;
        let sum = format!("{}\"", sum_of(digest));
        let mut there = vec![0; sum.len()];
        if stated + sum.len() as u64 > document.size()? {
            return Ok(false);
        }
        document.read_exact_at(&mut there, stated)?;
        Ok(there == sum.as_bytes())
    }
}

fn sum_of(digest: Sha256) -> Sum {
    <[u8; 32]>::from(digest.finalize()).into()
}

/// Where what is summed up ends: before the sum, looked for from the document's end.
fn end_of_summed(document: &(impl ReadAt + ?Sized)) -> io::Result<Option<u64>> {
    let size = document.size()?;
    let mut to = size;
    while to > 0 {
        let from = to.saturating_sub(CHUNK);
        // What begins before `to` may end behind it.
        let end = size.min(to + SUM.len() as u64 - 1);
        let mut chunk = vec![0; (end - from) as usize];
        document.read_exact_at(&mut chunk, from)?;
        let mut places = chunk.windows(SUM.len());
        if let Some(at) = places.rposition(|place| place == SUM) {
            return Ok(Some(from + at as u64));
        }
        to = from;
    }
    Ok(None)
}

/// Passes a document on, but for its end, and sums it up.
struct Summing<'a> {
    out: &'a mut dyn Write,
    digest: Sha256,
    held: Vec<u8>,
}

impl Write for Summing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(bytes);
        let passed = self.held.len().saturating_sub(END.len());
        self.out.write_all(&self.held[..passed])?;
        self.digest.update(&self.held[..passed]);
        self.held.drain(..passed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sum_is_found_wherever_it_stands_and_the_last_one_counts() {
        let sum = |text: &[u8]| sum_of(Sha256::new_with_prefix(text)).to_string();
        let end_of_chunk = CHUNK as usize - 10;
        for padding in [0, 1, end_of_chunk, end_of_chunk + 5, 3 * CHUNK as usize] {
            let mut document = vec![b' '; 2 * CHUNK as usize];
            document.extend_from_slice(SUM);
            document.extend_from_slice(&[b'x'; 70]);
            let summed = document.clone();
            document.extend_from_slice(SUM);
            document.extend_from_slice(sum(&summed).as_bytes());
            document.push(b'"');
            document.resize(document.len() + padding, b' ');
            assert!(SetRecord::is_as_written(&document[..]).unwrap());
            document[5] = b'x';
            assert!(!SetRecord::is_as_written(&document[..]).unwrap());
        }
        assert!(SetRecord::is_as_written(&b"{}"[..]).unwrap());
        assert!(SetRecord::is_as_written(&b""[..]).unwrap());
        let cut = [SUM, b"00"].concat();
        assert!(!SetRecord::is_as_written(&cut[..]).unwrap());
    }
}
