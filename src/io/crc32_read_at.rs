//! Summing up a content by what is read of it anyway.

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use crc32fast::Hasher;

use super::read_at::ReadAt;
use crate::cancel::Cancel;

/// Bytes read at a time of what nobody else read.
const CHUNK: u64 = 256 << 10;
/// The most pieces that are remembered. Who looks into a TSM file reads its index, and its blocks
/// from front to back in up to 32 parts; a damaged one can name its blocks in any order.
const MOST_PIECES: usize = 40;

/// A content whose CRC-32 is made of that of the pieces in which it is read, and whose reading
/// stops when asked to.
pub(crate) struct Crc32ReadAt<'a> {
    content: &'a dyn ReadAt,
    stop: &'a Cancel,
    pieces: Mutex<Vec<SummedPiece>>,
}

/// A part that was read from front to back.
struct SummedPiece {
    start: u64,
    end: u64,
    crc: Hasher,
}

impl<'a> Crc32ReadAt<'a> {
    /// A content of which nothing was read yet.
    pub(crate) fn new(content: &'a dyn ReadAt, stop: &'a Cancel) -> Self {
        Self {
            content,
            stop,
            pieces: Mutex::default(),
        }
    }

    /// CRC-32 of all of the content. What was not read is read now.
    ///
    /// # Errors
    ///
    /// Those of reading.
    pub(crate) fn crc(self) -> io::Result<u32> {
        let mut pieces = std::mem::take(&mut *self.pieces());
        pieces.sort_by_key(|piece| piece.start);
        let mut all = Hasher::new();
        let mut end = 0;
        for piece in pieces {
            // What was read twice in part is taken once: the rest of the second piece comes with
            // what follows it.
            if piece.start >= end {
                self.add(end, piece.start, &mut all)?;
                all.combine(&piece.crc);
                end = piece.end;
            }
        }
        self.add(end, self.content.size()?, &mut all)?;
        Ok(all.finalize())
    }

    fn pieces(&self) -> MutexGuard<'_, Vec<SummedPiece>> {
        // A thread that panics with them ends the run.
        self.pieces.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Reads what is between two offsets.
    fn add(&self, mut start: u64, end: u64, crc: &mut Hasher) -> io::Result<()> {
        let mut buffer = Vec::new();
        while start < end {
            self.stop.check().map_err(io::Error::other)?;
            buffer.resize((end - start).min(CHUNK) as usize, 0);
            self.content.read_exact_at(&mut buffer, start)?;
            crc.update(&buffer);
            start += buffer.len() as u64;
        }
        Ok(())
    }
}

impl ReadAt for Crc32ReadAt<'_> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.stop.check().map_err(io::Error::other)?;
        self.content.read_exact_at(buf, offset)?;
        let mut pieces = self.pieces();
        let is_new = |piece: &SummedPiece| offset < piece.start || piece.end < offset;
        if pieces.len() < MOST_PIECES && pieces.iter().all(is_new) {
            pieces.push(SummedPiece {
                start: offset,
                end: offset,
                crc: Hasher::new(),
            });
        }
        if let Some(piece) = pieces.iter_mut().find(|piece| piece.end == offset) {
            piece.crc.update(buf);
            piece.end += buf.len() as u64;
        }
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        self.content.size()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::read_at::Section;
    use super::*;

    proptest! {
        #[test]
        fn the_sum_is_that_of_the_whole_whatever_was_read_of_it(
            content in prop::collection::vec(any::<u8>(), 0..300),
            reads in prop::collection::vec((0..300_u64, 0..100_usize, 1..6_usize), 0..12),
        ) {
            let stop = Cancel::default();
            let section = Section::new(&content[..], 0, content.len() as u64);
            let content_crc = Crc32ReadAt::new(&section, &stop);
            for (start, length, times) in reads {
                for at in (0..times).map(|time| start + (time * length) as u64) {
                    let mut bytes = vec![0; length];
                    if content_crc.read_exact_at(&mut bytes, at).is_ok() {
                        prop_assert_eq!(&bytes, &content[at as usize..][..length]);
                    }
                }
            }
            prop_assert_eq!(content_crc.crc().unwrap(), crc32fast::hash(&content));
        }
    }

    #[test]
    fn a_stop_ends_the_reading() {
        let stop = Cancel::default();
        stop.cancel();
        let content = Section::new(&b"content"[..], 0, 7);
        assert!(
            Crc32ReadAt::new(&content, &stop)
                .read_exact_at(&mut [0], 0)
                .is_err()
        );
        assert!(Crc32ReadAt::new(&content, &stop).crc().is_err());
    }
}
