//! The deep check of a TSM file: every byte is read, and every fault told, not only the first.
//!
//! Each block has its CRC-32, can be unpacked, and has points that rise in time; the index says of
//! it what it is. The blocks of a key follow one another in time, keys follow one another in the
//! order of their bytes, and blocks follow one another in the file, from its header to its index,
//! with nothing between them.
//!
//! What that cannot see is a change of a key to another that stands in the same order: no checksum
//! in the file covers keys. A backup's record has one over the whole file.

use std::fmt;
use std::ops::Range;

use super::HEADER;
use super::block::{Decoder, Summary};
use super::file::{BlockFault, BlockReader, FileError};
use super::index::{self, BlockEntry, IndexError, IndexWalk};
use super::series::split_key;
use super::values::ValueType;
use crate::io::read_at::ReadAt;

/// Bytes of a series or a field that are shown.
const SHOWN_OF_NAME: usize = 120;

/// A fault that the check came upon.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TsmFinding<'a> {
    /// Where in the file: at a record for what is wrong with a block, else in the index.
    pub offset: u64,
    /// The key it belongs to; empty where that is none or not known.
    pub key: &'a [u8],
    /// What is wrong.
    pub fault: TsmDamage,
}

/// What can be wrong in a TSM file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TsmDamage {
    /// The index.
    Index(index::IndexDamage),
    /// A block, or what the index says of it.
    Block(BlockFault),
    /// Bytes between header and index that are of no block, up to this offset.
    Gap {
        /// Where the next block begins, or the index.
        end: u64,
    },
    /// A block does not come after the one before it in the index, which ends at this offset.
    Order {
        /// Where the block before ends.
        end: u64,
    },
    /// A block has points outside the times of its shard.
    Outside {
        /// The time of its first point.
        first: i64,
        /// The time of its last point.
        last: i64,
    },
}

impl fmt::Display for TsmDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Index(fault) => fault.fmt(f),
            Self::Block(fault) => fault.fmt(f),
            Self::Gap { end } => write!(f, "bytes of no block up to offset {end}"),
            Self::Order { end } => write!(
                f,
                "a block that begins before offset {end}, where the one before it ends"
            ),
            Self::Outside { first, last } => write!(
                f,
                "a block from {first} to {last}, not all in the time of its shard"
            ),
        }
    }
}

impl TsmFinding<'_> {
    /// What is wrong and with which key, but not where.
    pub fn what(&self) -> String {
        match self.key {
            [] => self.fault.to_string(),
            key => format!("{} ({})", self.fault, key_in_words(key)),
        }
    }
}

/// A key as it is told: its series and its field.
pub(super) fn key_in_words(key: &[u8]) -> String {
    match split_key(key) {
        (series, Some(field)) => {
            format!("series {}, field {}", shown(series.bytes()), shown(field))
        }
        (_, None) => format!("key {}", shown(key)),
    }
}

/// A name as it is told: not all of a long one.
fn shown(name: &[u8]) -> String {
    match name.get(..SHOWN_OF_NAME) {
        Some(begin) if name.len() > SHOWN_OF_NAME => {
            format!("{}… ({} bytes)", String::from_utf8_lossy(begin), name.len())
        }
        _ => String::from_utf8_lossy(name).into_owned(),
    }
}

impl fmt::Display for TsmFinding<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "at offset {}: {}", self.offset, self.what())
    }
}

/// What a file was seen to hold.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Report {
    /// Faults told. One that displaces what follows it in the index can bring others with it.
    pub faults: u64,
    /// Keys in the index.
    pub keys: u64,
    /// Blocks in the index.
    pub blocks: u64,
    /// Points in the blocks without fault.
    pub points: u64,
}

impl Report {
    /// Adds what was seen of another part of the file.
    pub(super) fn add(&mut self, part: &Self) {
        self.faults += part.faults;
        self.keys += part.keys;
        self.blocks += part.blocks;
        self.points += part.points;
    }
}

/// Checks a file. `times` are those the points of its shard may have, the first and, exclusively,
/// the last. Calls `tell` with each fault. Memory is that of a window.
///
/// Reading goes from front to back, once; to show how far it came, or to end it, hand in a
/// [`ReadAt`] that counts or fails.
///
/// # Errors
///
/// [`IndexError::Envelope`] when it is no TSM file or its footer points outside it, and
/// [`IndexError::Read`] when reading fails. An index that breaks off is a fault like others, though
/// the last.
pub fn check<R: ReadAt + ?Sized>(
    file: &R,
    times: Option<Range<i64>>,
    tell: &mut dyn FnMut(TsmFinding<'_>),
) -> Result<Report, IndexError> {
    let walk = IndexWalk::open(file)?;
    let whole = Part {
        index: walk.position()..u64::MAX,
        key_before: Vec::new(),
        blocks: HEADER.len() as u64..walk.index_offset(),
    };
    check_part(file, walk, &whole, times, tell)
}

/// Some keys of a file that follow one another, with all their blocks.
#[derive(Debug)]
pub(super) struct Part {
    /// Where in the file they begin in the index, and where the key behind them does.
    pub index: Range<u64>,
    /// The key before them; empty before the first.
    pub key_before: Vec<u8>,
    /// Where their blocks are, if these are in the order of the index.
    pub blocks: Range<u64>,
}

/// Checks a part of a file, of whose index nothing was read yet.
///
/// # Errors
///
/// As [`check`].
pub(super) fn check_part<R: ReadAt + ?Sized>(
    file: &R,
    mut walk: IndexWalk<'_, R>,
    part: &Part,
    times: Option<Range<i64>>,
    tell: &mut dyn FnMut(TsmFinding<'_>),
) -> Result<Report, IndexError> {
    walk.skip_to(part.index.start, &part.key_before);
    let mut check = Check {
        blocks: BlockReader::new(file, part.blocks.end),
        decoder: Decoder::default(),
        times,
        end: part.blocks.start,
        report: Report::default(),
        tell,
    };
    match check.run(&mut walk, part.index.end) {
        Err(IndexError::Damaged { offset, fault }) => {
            check.tell(walk.key(), offset, TsmDamage::Index(fault))
        }
        Err(error) => return Err(error),
        // Where the index broke off, blocks are missed in it and not in the file.
        Ok(()) if check.end < part.blocks.end => {
            let end = part.blocks.end;
            check.tell(b"", check.end, TsmDamage::Gap { end });
        }
        Ok(()) => {}
    }
    Ok(check.report)
}

struct Check<'a, R: ?Sized> {
    blocks: BlockReader<'a, R>,
    decoder: Decoder,
    times: Option<Range<i64>>,
    /// Where the block before ends.
    end: u64,
    report: Report,
    tell: &'a mut dyn FnMut(TsmFinding<'_>),
}

impl<R: ReadAt + ?Sized> Check<'_, R> {
    fn tell(&mut self, key: &[u8], offset: u64, fault: TsmDamage) {
        self.report.faults += 1;
        (self.tell)(TsmFinding { offset, key, fault });
    }

    /// Checks the keys up to the one that begins at `end` in the index.
    fn run(&mut self, walk: &mut IndexWalk<'_, R>, end: u64) -> Result<(), IndexError> {
        while walk.position() < end
            && let Some(raw) = walk.raw_key()?
        {
            self.report.keys += 1;
            for (offset, fault) in raw.faults().into_iter().flatten() {
                self.tell(walk.key(), offset, TsmDamage::Index(fault));
            }
            while let Some((at, entry)) = walk.raw_entry()? {
                self.report.blocks += 1;
                if let Err(fault) = walk.pass_times(&entry) {
                    self.tell(walk.key(), at, TsmDamage::Index(fault));
                }
                match walk.pass_place(&entry) {
                    Ok(()) => {
                        self.block(walk.key(), ValueType::from_byte(raw.block_type), &entry)?
                    }
                    Err(fault) => self.tell(walk.key(), at, TsmDamage::Index(fault)),
                }
            }
        }
        Ok(())
    }

    /// Checks a block that is where one can be. An unknown type in the index was told.
    fn block(
        &mut self,
        key: &[u8],
        value_type: Option<ValueType>,
        entry: &BlockEntry,
    ) -> Result<(), IndexError> {
        if entry.offset > self.end {
            self.tell(key, self.end, TsmDamage::Gap { end: entry.offset });
        } else if entry.offset < self.end {
            self.tell(key, entry.offset, TsmDamage::Order { end: self.end });
        }
        self.end = self.end.max(entry.offset + u64::from(entry.size));
        let (mut first, mut last) = (entry.min_time, entry.max_time);
        match self.inspect(entry) {
            Ok(Summary {
                value_type: found,
                span,
            }) => {
                self.report.points += span.count as u64;
                if let Some(index) = value_type.filter(|index| *index != found) {
                    self.tell(
                        key,
                        entry.offset,
                        TsmDamage::Block(BlockFault::Type { index, found }),
                    );
                }
                if (span.first, span.last) != (first, last) {
                    let fault = BlockFault::Times {
                        min_time: first,
                        max_time: last,
                        first: span.first,
                        last: span.last,
                    };
                    self.tell(key, entry.offset, TsmDamage::Block(fault));
                }
                (first, last) = (span.first, span.last);
            }
            Err(FileError::Block { offset, fault }) => {
                self.tell(key, offset, TsmDamage::Block(fault))
            }
            Err(FileError::Index(error)) => return Err(error),
        }
        if self
            .times
            .as_ref()
            .is_some_and(|times| first < times.start || last >= times.end)
        {
            self.tell(key, entry.offset, TsmDamage::Outside { first, last });
        }
        Ok(())
    }

    fn inspect(&mut self, entry: &BlockEntry) -> Result<Summary, FileError> {
        let fault = |fault| FileError::Block {
            offset: entry.offset,
            fault,
        };
        let record = self.blocks.read(entry)?;
        record.verify().map_err(fault)?;
        self.decoder
            .check(record.block)
            .map_err(|error| fault(BlockFault::Decode(error)))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::block::tests::some_points;
    use super::super::encoding::DecodeError;
    use super::super::envelope::tests::REAL;
    use super::super::index::tests::{block, build, lookalikes};
    use super::super::values::{Points, Values};
    use super::super::writer::tests::write_all;
    use super::*;

    /// The faults of a file, each with its offset and key.
    fn faults(file: &[u8], times: Option<Range<i64>>) -> Vec<(u64, Vec<u8>, TsmDamage)> {
        let mut found = Vec::new();
        let report = check(file, times, &mut |finding| {
            found.push((finding.offset, finding.key.to_vec(), finding.fault))
        });
        assert_eq!(report.unwrap().faults, found.len() as u64);
        found
    }

    fn integers(times: &[i64]) -> Points {
        Points {
            times: times.to_vec(),
            values: Values::Integer(times.to_vec()),
        }
    }

    fn small() -> Vec<u8> {
        write_all(&[
            (
                b"a#!~#f".to_vec(),
                vec![integers(&[1, 2, 4]), integers(&[5, 60, 70])],
            ),
            (
                b"a#!~#g".to_vec(),
                vec![Points {
                    times: vec![3],
                    values: Values::Boolean(vec![true]),
                }],
            ),
            (
                b"b#!~#s".to_vec(),
                vec![Points {
                    times: vec![-3],
                    values: Values::String(["text"].into_iter().collect()),
                }],
            ),
        ])
    }

    #[test]
    fn a_whole_file_has_no_faults() {
        let mut report = check(REAL, None, &mut |finding| panic!("{finding}")).unwrap();
        assert_eq!(
            report,
            Report {
                faults: 0,
                keys: 1,
                blocks: 1,
                points: 1
            }
        );
        report = check(&small()[..], Some(-3..71), &mut |finding| {
            panic!("{finding}")
        })
        .unwrap();
        assert_eq!(
            report,
            Report {
                faults: 0,
                keys: 3,
                blocks: 4,
                points: 8
            }
        );
    }

    #[test]
    fn points_outside_the_shard_are_told_block_by_block() {
        let found = faults(&small(), Some(-2..70));
        let blocks: Vec<_> = found
            .iter()
            .map(|(_, key, fault)| (&key[..], *fault))
            .collect();
        let outside = |first, last| TsmDamage::Outside { first, last };
        assert_eq!(
            blocks,
            [
                (&b"a#!~#f"[..], outside(5, 70)),
                (b"b#!~#s", outside(-3, -3))
            ]
        );
    }

    #[test]
    fn every_damaged_block_is_told_and_not_only_the_first() {
        let mut file = small();
        let mut offsets = Vec::new();
        let mut walk = IndexWalk::open(&file[..]).unwrap();
        while walk.next_key().unwrap().is_some() {
            while let Some(entry) = walk.next_entry().unwrap() {
                offsets.push(entry.offset);
            }
        }
        for offset in &offsets {
            file[*offset as usize + 4] ^= 1;
        }
        let found = faults(&file, None);
        assert_eq!(
            found.iter().map(|(offset, ..)| *offset).collect::<Vec<_>>(),
            offsets
        );
        assert!(
            found
                .iter()
                .all(|(.., fault)| matches!(fault, TsmDamage::Block(BlockFault::Crc { .. })))
        );
    }

    #[test]
    fn blocks_with_a_good_crc_are_looked_into() {
        let packed = |points: &Points| super::super::block::encode(points).unwrap();
        let mut order = packed(&integers(&[1, 2, 3]));
        // The difference of the run of times.
        order[11] = 0;
        let file = build(&[
            (
                b"k".to_vec(),
                1,
                vec![
                    block(1, 3, &order),
                    block(4, 5, b"\x01\xff"),
                    block(6, 8, &packed(&integers(&[6, 7]))),
                ],
            ),
            (
                b"l".to_vec(),
                2,
                vec![block(1, 1, &packed(&integers(&[1])))],
            ),
        ]);
        let found: Vec<TsmDamage> = faults(&file, None)
            .into_iter()
            .map(|(.., fault)| fault)
            .collect();
        let expected = [
            BlockFault::Decode(DecodeError::TimeOrder),
            BlockFault::Decode(DecodeError::Cut),
            BlockFault::Times {
                min_time: 6,
                max_time: 8,
                first: 6,
                last: 7,
            },
            BlockFault::Type {
                index: ValueType::Boolean,
                found: ValueType::Integer,
            },
        ];
        assert_eq!(found, expected.map(TsmDamage::Block));
    }

    #[test]
    fn bytes_between_blocks_and_blocks_out_of_place_are_told() {
        let series = [(
            b"k".to_vec(),
            0,
            vec![
                block(0, 0, b"first"),
                block(1, 1, b"other"),
                block(2, 2, b"third"),
            ],
        )];
        let file = build(&series);
        let places = |offsets: [u64; 3]| -> Vec<(u64, TsmDamage)> {
            let mut file = file.clone();
            for (at, offset) in offsets.iter().enumerate() {
                file[32 + 6 + 28 * at + 16..][..8].copy_from_slice(&offset.to_be_bytes());
            }
            let found = faults(&file, None)
                .into_iter()
                .map(|(offset, _, fault)| (offset, fault));
            found
                .filter(|(_, fault)| !matches!(fault, TsmDamage::Block(_)))
                .collect()
        };
        assert_eq!(places([5, 14, 23]), []);
        assert_eq!(
            places([14, 5, 23]),
            [
                (5, TsmDamage::Gap { end: 14 }),
                (5, TsmDamage::Order { end: 23 })
            ]
        );
        assert_eq!(
            places([5, 14, 14]),
            [
                (14, TsmDamage::Order { end: 23 }),
                (23, TsmDamage::Gap { end: 32 })
            ]
        );
        assert_eq!(
            places([5, 14, 22]),
            [
                (22, TsmDamage::Order { end: 23 }),
                (31, TsmDamage::Gap { end: 32 })
            ]
        );
    }

    #[test]
    fn a_damaged_index_is_walked_on_as_long_as_it_goes() {
        let file = small();
        let index = IndexWalk::open(&file[..]).unwrap().index_offset() as usize;
        let with = |damage: &[(usize, u8)]| -> Vec<TsmDamage> {
            let mut file = file.clone();
            damage
                .iter()
                .for_each(|(at, byte)| file[index + at] ^= byte);
            faults(&file, None)
                .into_iter()
                .map(|(.., fault)| fault)
                .collect()
        };
        // The order of the keys, the type of the second, its times: three faults of three kinds,
        // and the blocks behind are seen.
        let second = 11 + 2 * 28;
        let found = with(&[(2, 0x80), (second + 8, 0x40), (second + 11 + 7, 1)]);
        let times = BlockFault::Times {
            min_time: 2,
            max_time: 3,
            first: 3,
            last: 3,
        };
        let expected = [
            TsmDamage::Index(index::IndexDamage::KeyOrder),
            TsmDamage::Index(index::IndexDamage::BlockType(0x42)),
            TsmDamage::Block(times),
        ];
        assert_eq!(found, expected);
        assert_eq!(
            with(&[(0, 0x80)]),
            [TsmDamage::Index(index::IndexDamage::Cut)]
        );
    }

    #[test]
    fn a_flip_of_any_byte_is_told_but_in_a_key_that_keeps_its_place() {
        for file in [REAL.to_vec(), small()] {
            let mut walk = IndexWalk::open(&file[..]).unwrap();
            let mut of_keys = Vec::new();
            let mut at = walk.index_offset() as usize + 2;
            while let Some(key) = walk.next_key().unwrap() {
                of_keys.push(at..at + key.bytes.len());
                at += key.bytes.len() + 3 + usize::from(key.count) * 28 + 2;
            }
            for at in 0..file.len() {
                for flip in 1..=255 {
                    let mut damaged = file.clone();
                    damaged[at] ^= flip;
                    let told = check(&damaged[..], None, &mut |_| {})
                        .map_or(true, |report| report.faults > 0);
                    let of_key = of_keys.iter().any(|key| key.contains(&at));
                    // In a key, other bytes make another key, and the file says nothing against it.
                    assert!(
                        told || of_key,
                        "byte {at} of {} flipped by {flip:#04x}",
                        file.len()
                    );
                }
            }
        }
    }

    #[test]
    fn a_file_cut_anywhere_is_told() {
        for file in [REAL.to_vec(), small()] {
            for end in 0..file.len() {
                assert!(
                    check(&file[..end], None, &mut |_| {}).map_or(true, |report| report.faults > 0),
                    "cut at {end}"
                );
            }
        }
    }

    proptest! {
        #[test]
        fn what_the_writer_writes_has_no_faults(keys in prop::collection::btree_map(
            prop::collection::vec(any::<u8>(), 1..6), some_points(), 1..6,
        )) {
            let keys: Vec<_> = keys.into_iter().map(|(key, points)| (key, vec![points])).collect();
            prop_assert_eq!(faults(&write_all(&keys), None), vec![]);
        }

        #[test]
        fn no_bytes_make_it_panic(
            bytes in prop::collection::vec(any::<u8>(), 0..200),
            lookalike in lookalikes(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        ) {
            let mut file = small();
            for (at, byte) in damage {
                let at = at.index(file.len());
                file[at] = byte;
            }
            for bytes in [bytes, lookalike, file] {
                let _ = check(&bytes[..], Some(0..5), &mut |finding| assert!(!finding.to_string().is_empty()));
            }
        }
    }
}
