//! Reducing a TSM file to the blocks that overlap a time range, without looking into the blocks.
//!
//! So does influxd 1.5 to 1.12 for an export with times: a block is kept whole, with its CRC, when
//! the span from its first to its last point overlaps the time range, so that points outside stay.
//! The index is walked anew for each part of the result; memory is fixed.

use std::io::{self, Write};

use thiserror::Error;

use super::HEADER;
use super::index::{BlockEntry, ENTRY_BYTES, FOOTER_BYTES, IndexError, IndexWalk, KEY_EXTRA_BYTES};
use crate::io::read_at::ReadAt;
use crate::time::Bounds;

/// Bytes written at a time.
const CHUNK: usize = 128 << 10;

/// How much of a TSM file overlaps a time range.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Overlap {
    /// No block does.
    None,
    /// Every block does: the file is what is wanted, as it is.
    Whole,
    /// Some blocks do.
    Part(BlockSubset),
}

/// A TSM file reduced to the blocks that overlap a time range, still to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockSubset {
    bounds: Bounds,
    /// Bytes of header and kept blocks.
    index_offset: u64,
    size: u64,
}

/// Walks the index of `file` and says how much of it overlaps `bounds`. Blocks are not read.
///
/// # Errors
///
/// When it is no TSM file, its index is damaged, or reading fails.
pub fn overlap(file: &(impl ReadAt + ?Sized), bounds: Bounds) -> Result<Overlap, IndexError> {
    let mut walk = IndexWalk::open(file)?;
    // No sum can overflow: the walk sees to it that all blocks together are no larger than the
    // file.
    let mut index_offset = HEADER.len() as u64;
    let mut index_bytes = 0;
    let mut all = true;
    while let Some(key) = walk.next_key()? {
        let length = key.bytes.len();
        let kept = keep(&mut walk, bounds)?;
        all &= kept.all;
        if kept.count > 0 {
            index_offset += kept.bytes;
            index_bytes +=
                (length + KEY_EXTRA_BYTES + usize::from(kept.count) * ENTRY_BYTES) as u64;
        }
    }
    Ok(if all {
        Overlap::Whole
    } else if index_bytes == 0 {
        Overlap::None
    } else {
        Overlap::Part(BlockSubset {
            bounds,
            index_offset,
            size: index_offset + index_bytes + FOOTER_BYTES,
        })
    })
}

fn overlaps(entry: &BlockEntry, bounds: Bounds) -> bool {
    entry.max_time >= bounds.start && entry.min_time <= bounds.end
}

/// What is kept of a key.
struct KeyPart {
    /// How many of its blocks.
    count: u16,
    /// Bytes of their records.
    bytes: u64,
    /// Whether that is all of them.
    all: bool,
}

/// Passes the blocks of the walk's key.
fn keep(
    walk: &mut IndexWalk<'_, impl ReadAt + ?Sized>,
    bounds: Bounds,
) -> Result<KeyPart, IndexError> {
    let mut kept = KeyPart {
        count: 0,
        bytes: 0,
        all: true,
    };
    while let Some(entry) = walk.next_entry()? {
        if overlaps(&entry, bounds) {
            // A key has 65535 blocks at most.
            kept.count += 1;
            kept.bytes += u64::from(entry.size);
        } else {
            kept.all = false;
        }
    }
    Ok(kept)
}

impl BlockSubset {
    /// Bytes of the reduced file; fewer than the whole file has.
    pub fn size(&self) -> u64 {
        self.size
    }

    /// Writes the reduced file, [`size`](Self::size) bytes, and flushes. `file` is what [`overlap`]
    /// was given, unchanged. Blocks are copied in the order of the index; keys that keep no block
    /// are left out.
    ///
    /// # Errors
    ///
    /// When the file cannot be read or is not what it was, or writing fails. Part of the bytes may
    /// have been written, never more than there should be.
    pub fn write_to(
        &self,
        file: &(impl ReadAt + ?Sized),
        out: &mut impl Write,
    ) -> Result<(), ExportError> {
        let mut output = SizedOutput {
            out,
            buffer: Vec::with_capacity(CHUNK),
            left: self.size,
        };
        output.put(&HEADER)?;
        self.write_blocks(file, &mut output)?;
        if self.size - output.left != self.index_offset {
            return Err(ExportError::Changed);
        }
        self.write_index(file, &mut output)?;
        output.put(&self.index_offset.to_be_bytes())?;
        if output.left != 0 {
            return Err(ExportError::Changed);
        }
        output.flush()?;
        output.out.flush().map_err(ExportError::Write)
    }

    fn write_blocks<R: ReadAt + ?Sized>(
        &self,
        file: &R,
        output: &mut SizedOutput<'_, impl Write>,
    ) -> Result<(), ExportError> {
        let mut walk = IndexWalk::open(file)?;
        // Records that follow one another in the file are copied as one.
        let mut run = 0..0;
        while walk.next_key()?.is_some() {
            while let Some(entry) = walk.next_entry()? {
                if !overlaps(&entry, self.bounds) {
                    continue;
                }
                if entry.offset != run.end {
                    output.copy(file, run.start, run.end)?;
                    run.start = entry.offset;
                }
                run.end = entry.offset + u64::from(entry.size);
            }
        }
        output.copy(file, run.start, run.end)
    }

    fn write_index<R: ReadAt + ?Sized>(
        &self,
        file: &R,
        output: &mut SizedOutput<'_, impl Write>,
    ) -> Result<(), ExportError> {
        // A key's count stands before its blocks: one walk goes a key ahead and counts.
        let mut ahead = IndexWalk::open(file)?;
        let mut walk = IndexWalk::open(file)?;
        let mut offset = HEADER.len() as u64;
        while let Some(key) = walk.next_key()? {
            if ahead.next_key()?.is_none() {
                return Err(ExportError::Changed);
            }
            let kept = keep(&mut ahead, self.bounds)?;
            if kept.count == 0 {
                continue;
            }
            let length = u16::try_from(key.bytes.len()).map_err(|_| ExportError::Changed)?;
            output.put(&length.to_be_bytes())?;
            output.put(key.bytes)?;
            output.put(&[key.value_type.byte()])?;
            output.put(&kept.count.to_be_bytes())?;
            while let Some(entry) = walk.next_entry()? {
                if overlaps(&entry, self.bounds) {
                    output.put(&entry.min_time.to_be_bytes())?;
                    output.put(&entry.max_time.to_be_bytes())?;
                    output.put(&offset.to_be_bytes())?;
                    output.put(&entry.size.to_be_bytes())?;
                    offset += u64::from(entry.size);
                }
            }
        }
        Ok(())
    }
}

/// Gathers bytes to chunks and lets no more than `left` pass.
struct SizedOutput<'a, W> {
    out: &'a mut W,
    /// Bytes to be written; fewer than [`CHUNK`] between calls.
    buffer: Vec<u8>,
    /// How many bytes are still to come, those in the buffer not counted.
    left: u64,
}

impl<W: Write> SizedOutput<'_, W> {
    fn put(&mut self, bytes: &[u8]) -> Result<(), ExportError> {
        self.allow(bytes.len() as u64)?;
        let mut rest = bytes;
        while !rest.is_empty() {
            let (now, later) = rest.split_at(rest.len().min(CHUNK - self.buffer.len()));
            self.buffer.extend_from_slice(now);
            self.flush_full()?;
            rest = later;
        }
        Ok(())
    }

    /// Puts the bytes of `file` from offset `start` up to `end`.
    fn copy(
        &mut self,
        file: &(impl ReadAt + ?Sized),
        mut start: u64,
        end: u64,
    ) -> Result<(), ExportError> {
        self.allow(end - start)?;
        while start < end {
            let have = self.buffer.len();
            let room = CHUNK - have;
            let count = usize::try_from(end - start).map_or(room, |left| left.min(room));
            self.buffer.resize(have + count, 0);
            file.read_exact_at(&mut self.buffer[have..], start)
                .map_err(|source| IndexError::Read {
                    offset: start,
                    source,
                })?;
            self.flush_full()?;
            start += count as u64;
        }
        Ok(())
    }

    fn allow(&mut self, count: u64) -> Result<(), ExportError> {
        self.left = self.left.checked_sub(count).ok_or(ExportError::Changed)?;
        Ok(())
    }

    fn flush_full(&mut self) -> Result<(), ExportError> {
        if self.buffer.len() < CHUNK {
            Ok(())
        } else {
            self.flush()
        }
    }

    fn flush(&mut self) -> Result<(), ExportError> {
        self.out
            .write_all(&self.buffer)
            .map_err(ExportError::Write)?;
        self.buffer.clear();
        Ok(())
    }
}

/// Why a reduced file could not be written.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The file cannot be read.
    #[error(transparent)]
    File(#[from] IndexError),
    /// The file is not the one whose index was walked before.
    #[error("the TSM file changed while it was read")]
    Changed,
    /// Writing failed.
    #[error("cannot write the reduced TSM file")]
    Write(#[source] io::Error),
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::envelope::tests::REAL;
    use super::super::index::tests::{Series, block, build, files, lookalikes, walk};
    use super::*;

    const REAL_TIME: i64 = 1_600_000_000_000_000_000;

    fn bounds(start: i64, end: i64) -> Bounds {
        Bounds { start, end }
    }

    /// The series with the blocks that overlap, chosen and laid out apart from the code under test.
    fn expected(series: &[Series], bounds: Bounds) -> Vec<Series> {
        let mut series = series.to_vec();
        for (_, _, blocks) in &mut series {
            blocks.retain(|block| !(block.max_time < bounds.start || bounds.end < block.min_time));
        }
        series.retain(|(_, _, blocks)| !blocks.is_empty());
        series
    }

    /// The reduced file, or none when no block overlaps.
    fn export(file: &[u8], bounds: Bounds) -> Result<Option<Vec<u8>>, ExportError> {
        match overlap(file, bounds)? {
            Overlap::None => Ok(None),
            Overlap::Whole => Ok(Some(file.to_vec())),
            Overlap::Part(subset) => {
                let mut out = Vec::new();
                subset.write_to(file, &mut out)?;
                assert_eq!(out.len() as u64, subset.size());
                assert!(out.len() < file.len());
                Ok(Some(out))
            }
        }
    }

    /// Two keys with three blocks each, times 10 to 19, 20 to 29, 30 to 39, and a third key with
    /// one block at 50.
    fn sample() -> Vec<Series> {
        let blocks = |name: &[u8]| {
            (1..4)
                .map(|n| {
                    block(
                        n * 10,
                        n * 10 + 9,
                        &name.repeat(usize::try_from(n).unwrap()),
                    )
                })
                .collect::<Vec<_>>()
        };
        vec![
            (b"m,h=a#!~#v".to_vec(), 0, blocks(b"alpha")),
            (b"m,h=b#!~#v".to_vec(), 1, blocks(b"beta")),
            (b"m,h=c#!~#v".to_vec(), 3, vec![block(50, 50, b"gamma")]),
        ]
    }

    #[test]
    fn a_real_file_of_one_block_is_all_or_nothing() {
        for (start, end) in [
            (REAL_TIME, REAL_TIME),
            (i64::MIN, REAL_TIME),
            (REAL_TIME, i64::MAX),
        ] {
            assert_eq!(overlap(REAL, bounds(start, end)).unwrap(), Overlap::Whole);
        }
        assert_eq!(overlap(REAL, Bounds::ALL).unwrap(), Overlap::Whole);
        assert_eq!(
            overlap(REAL, bounds(i64::MIN, REAL_TIME - 1)).unwrap(),
            Overlap::None
        );
        assert_eq!(
            overlap(REAL, bounds(REAL_TIME + 1, i64::MAX)).unwrap(),
            Overlap::None
        );
    }

    #[test]
    fn both_ends_of_the_interval_and_of_a_block_belong_to_it() {
        let file = build(&sample());
        let kept = |start, end| -> Vec<usize> {
            let subset = export(&file, bounds(start, end)).unwrap();
            subset
                .map_or(Vec::new(), |file| walk(&file).unwrap())
                .into_iter()
                .map(|(_, _, blocks)| blocks.len())
                .collect()
        };
        let none = Vec::<usize>::new();
        assert_eq!(kept(0, 9), none);
        assert_eq!(kept(0, 10), [1, 1]);
        assert_eq!(kept(19, 19), [1, 1]);
        assert_eq!(kept(19, 20), [2, 2]);
        assert_eq!(
            kept(24, 25),
            [1, 1],
            "an interval inside a block overlaps it"
        );
        assert_eq!(kept(39, 50), [1, 1, 1]);
        assert_eq!(
            kept(40, 49),
            none,
            "an interval between blocks overlaps none"
        );
        assert_eq!(kept(50, i64::MAX), [1]);
        assert_eq!(kept(51, i64::MAX), none);
        assert_eq!(kept(20, 50), [2, 2, 1]);
        assert_eq!(kept(19, 50), [3, 3, 1]);
        assert_eq!(overlap(&file[..], bounds(19, 50)).unwrap(), Overlap::Whole);
        assert_eq!(overlap(&file[..], bounds(40, 49)).unwrap(), Overlap::None);
    }

    #[test]
    fn a_reduced_file_is_the_one_that_would_have_been_built_of_its_blocks() {
        let (series, bounds) = (sample(), bounds(20, 29));
        let reduced = export(&build(&series), bounds).unwrap().unwrap();
        assert_eq!(reduced, build(&expected(&series, bounds)));
        assert_eq!(reduced.len(), 5 + (4 + 10) + (4 + 8) + 2 * (15 + 28) + 8);
    }

    #[test]
    fn blocks_larger_than_a_chunk_and_indexes_of_many_keys_are_copied_whole() {
        let large: Vec<u8> = (0..3 * CHUNK + 17).map(|n| ((n * n) >> 3) as u8).collect();
        let mut series = vec![(
            vec![b'a'; 65_535],
            3,
            vec![
                block(0, 1, &large),
                block(2, 3, &large[1..]),
                block(4, 5, b"gap"),
                block(6, 7, &large[..CHUNK]),
            ],
        )];
        let blocks = |n: u16| {
            (0..4)
                .map(|time| block(time * 3, time * 3, &n.to_be_bytes()))
                .collect()
        };
        series
            .extend((0..5000).map(|n: u16| ([b"k", &n.to_be_bytes()[..]].concat(), 0, blocks(n))));
        let file = build(&series);
        for bounds in [
            bounds(0, 3),
            bounds(5, 6),
            bounds(2, 2),
            bounds(0, 5),
            bounds(8, 100),
        ] {
            assert!(
                export(&file, bounds).unwrap().unwrap() == build(&expected(&series, bounds)),
                "{bounds:?}"
            );
        }
    }

    #[test]
    fn blocks_that_do_not_stand_in_the_order_of_the_index_are_put_into_it() {
        let series = vec![(
            b"k".to_vec(),
            0,
            vec![
                block(0, 0, b"first"),
                block(1, 1, b"other"),
                block(2, 2, b"third"),
            ],
        )];
        let mut file = build(&series);
        // The records at 5 and 14 change places, and so do their offsets.
        let index = file.len() - 8 - (6 + 3 * ENTRY_BYTES);
        let (one, two) = (file[5..14].to_vec(), file[14..23].to_vec());
        file[5..23].copy_from_slice(&[two, one].concat());
        file[index + 6 + 16..][..8].copy_from_slice(&14_u64.to_be_bytes());
        file[index + 6 + ENTRY_BYTES + 16..][..8].copy_from_slice(&5_u64.to_be_bytes());
        assert_eq!(walk(&file).unwrap(), series);
        assert_eq!(
            export(&file, bounds(0, 1)).unwrap().unwrap(),
            build(&expected(&series, bounds(0, 1)))
        );
    }

    #[test]
    fn a_file_that_is_not_the_one_walked_before_is_an_error_and_writes_no_more_than_was_said() {
        let series = sample();
        let Overlap::Part(subset) = overlap(&build(&series)[..], bounds(20, 29)).unwrap() else {
            panic!()
        };
        let mut fewer = series.clone();
        fewer.remove(1);
        let mut more = series.clone();
        more.push((b"n".to_vec(), 0, vec![block(20, 20, b"delta")]));
        let mut longer_key = series.clone();
        longer_key[0].0 = b"m,h=aa#!~#v".to_vec();
        let mut longer_block = series;
        longer_block[0].2[1].content.push(0);
        for other in [fewer, more, longer_key, longer_block] {
            let mut out = Vec::new();
            let error = subset.write_to(&build(&other)[..], &mut out).unwrap_err();
            assert!(matches!(error, ExportError::Changed), "{error}");
            assert!(out.len() as u64 <= subset.size());
        }
        assert!(matches!(
            subset.write_to(REAL, &mut Vec::new()),
            Err(ExportError::Changed)
        ));
        assert!(matches!(
            subset.write_to(&REAL[..80], &mut Vec::new()),
            Err(ExportError::File(_))
        ));
    }

    #[test]
    fn a_writer_that_fails_ends_the_writing_with_its_error() {
        let file = build(&sample());
        let Overlap::Part(subset) = overlap(&file[..], bounds(20, 29)).unwrap() else {
            panic!()
        };
        let mut small = [0; 40];
        let error = subset.write_to(&file[..], &mut &mut small[..]).unwrap_err();
        assert!(matches!(error, ExportError::Write(_)));
        assert_eq!(small, build(&expected(&sample(), bounds(20, 29)))[..40]);
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error() {
        let file = build(&sample());
        for end in 0..file.len() {
            assert!(
                overlap(&file[..end], bounds(20, 29)).is_err(),
                "cut at {end}"
            );
        }
    }

    /// Whatever the bytes: no panic, and what comes of bytes that pass for a file is a file that
    /// has no block outside.
    fn endure(file: &[u8], bounds: Bounds) {
        if let Ok(Overlap::Part(subset)) = overlap(file, bounds) {
            let mut out = Vec::new();
            subset.write_to(file, &mut out).unwrap();
            assert_eq!(out.len() as u64, subset.size());
            assert!(out.len() < file.len());
            assert_eq!(overlap(&out[..], bounds).unwrap(), Overlap::Whole);
        }
    }

    #[test]
    fn any_single_damaged_byte_is_an_error_or_leaves_a_file_that_can_be_reduced() {
        let file = build(&sample());
        for at in 0..file.len() {
            for flip in 1..=255 {
                let mut damaged = file.clone();
                damaged[at] ^= flip;
                endure(&damaged, bounds(20, 29));
            }
        }
    }

    proptest! {
        #[test]
        fn exactly_the_blocks_that_touch_are_kept_byte_for_byte(series in files(), a in -70..200_i64, b in -70..200_i64) {
            let (file, bounds) = (build(&series), bounds(a.min(b), a.max(b)));
            let expected = expected(&series, bounds);
            let found = overlap(&file[..], bounds).unwrap();
            prop_assert_eq!(found == Overlap::None, expected.is_empty());
            prop_assert_eq!(found == Overlap::Whole, expected == series);
            if let Some(reduced) = export(&file, bounds).unwrap() {
                prop_assert_eq!(walk(&reduced).unwrap(), expected.clone());
                prop_assert_eq!(reduced, build(&expected));
            }
        }

        #[test]
        fn no_bytes_make_it_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            lookalike in lookalikes(),
            series in files(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let mut file = build(&series);
            for (at, byte) in damage {
                let at = at.index(file.len());
                file[at] = byte;
            }
            for bytes in [bytes, lookalike, file] {
                endure(&bytes, bounds(-20, 20));
            }
        }
    }
}
