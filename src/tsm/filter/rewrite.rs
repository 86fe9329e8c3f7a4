//! Rewriting a TSM file so that only some of its points stay: deletes carried out, and an interval
//! kept exactly.
//!
//! Blocks that keep all their points are copied as they are, CRC included, after their CRC was
//! checked. Blocks that lose some are unpacked and packed again. Keys that lose all are left out.
//! Memory is that of a window.

use std::io::{self, Write};

use thiserror::Error;

use super::super::block::Decoder;
use super::super::encoding::DecodeError;
use super::super::file::{BlockFault, BlockReader, FileError, decode};
use super::super::index::{BlockEntry, IndexError, IndexWalk, Key};
use super::super::tombstone::Deletes;
use super::super::values::{Points, ValueType};
use super::super::writer::{MAX_FILE_BYTES, WriteError, Writer, Written};
use super::key_filter::{BlockFate, KeyFilter};
use super::lost_block::LostBlock;
use crate::io::read_at::ReadAt;
use crate::time::Bounds;

/// What was kept of a file and what was not.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FilterTally {
    /// Keys of which points were kept.
    pub keys_kept: u64,
    /// Keys of which none were.
    pub keys_dropped: u64,
    /// Blocks that were kept as they are.
    pub blocks_kept: u64,
    /// Blocks of which some points were kept.
    pub blocks_packed: u64,
    /// Blocks of which none were.
    pub blocks_dropped: u64,
    /// Points that were kept of the blocks that were looked into.
    pub points_kept: u64,
    /// Points that were dropped of the blocks that were looked into. Blocks that are dropped whole
    /// seldom are.
    pub points_dropped: u64,
}

/// What is done with a block.
enum BlockVerdict<'a> {
    Unchanged { crc: u32, block: &'a [u8] },
    Rewritten(&'a Points),
    Dropped,
}

/// Goes through the blocks of a file.
struct Pass<'a, R: ?Sized> {
    blocks: BlockReader<'a, R>,
    key_filter: KeyFilter,
    decoder: Decoder,
    points: Points,
    kept: Points,
    tally: FilterTally,
    value_type: ValueType,
    /// Whether blocks that stay as they are are looked into, and not only their CRC-32.
    looks_into_all: bool,
}

impl<'a, R: ReadAt + ?Sized> Pass<'a, R> {
    fn new(file: &'a R, index_offset: u64, bounds: Bounds) -> Self {
        Self {
            blocks: BlockReader::new(file, index_offset),
            key_filter: KeyFilter::new(bounds),
            decoder: Decoder::default(),
            points: Points::new(ValueType::Float),
            kept: Points::new(ValueType::Float),
            tally: FilterTally::default(),
            value_type: ValueType::Float,
            looks_into_all: false,
        }
    }

    /// Turns to the blocks of a key.
    fn begin(&mut self, key: &Key<'_>, deletes: &mut impl Deletes) -> Result<(), FilterError> {
        self.key_filter
            .load(key, deletes)
            .map_err(FilterError::Deletes)?;
        self.value_type = key.value_type;
        Ok(())
    }

    fn judge(
        &mut self,
        entry: &BlockEntry,
        deletes: &mut impl Deletes,
    ) -> Result<BlockVerdict<'_>, FilterError> {
        let fate = self
            .key_filter
            .fate(entry, deletes)
            .map_err(FilterError::Deletes)?;
        if fate == BlockFate::Dropped {
            self.tally.blocks_dropped += 1;
            return Ok(BlockVerdict::Dropped);
        }
        let record = self.blocks.read(entry)?;
        let fault = |fault| {
            FilterError::File(FileError::Block {
                offset: entry.offset,
                fault,
            })
        };
        record.verify().map_err(fault)?;
        match record
            .block
            .first()
            .map(|&byte| ValueType::from_byte(byte).ok_or(byte))
        {
            Some(Ok(found)) if found == self.value_type => {}
            Some(Ok(found)) => {
                return Err(fault(BlockFault::Type {
                    index: self.value_type,
                    found,
                }));
            }
            Some(Err(byte)) => return Err(fault(BlockFault::Decode(DecodeError::BlockType(byte)))),
            None => return Err(fault(BlockFault::Decode(DecodeError::Cut))),
        }
        if fate == BlockFate::ByPoint {
            decode(
                &mut self.decoder,
                record.block,
                self.value_type,
                entry,
                &mut self.points,
            )
            .map_err(fault)?;
            self.key_filter
                .points(&self.points, &mut self.kept, deletes)
                .map_err(FilterError::Deletes)?;
            self.tally.points_kept += self.kept.len() as u64;
            self.tally.points_dropped += (self.points.len() - self.kept.len()) as u64;
            if self.kept.is_empty() {
                self.tally.blocks_dropped += 1;
                return Ok(BlockVerdict::Dropped);
            }
            if self.kept.len() < self.points.len() {
                self.tally.blocks_packed += 1;
                return Ok(BlockVerdict::Rewritten(&self.kept));
            }
        } else if self.looks_into_all {
            let checked = self.decoder.check(record.block);
            let span = checked
                .map_err(|error| fault(BlockFault::Decode(error)))?
                .span;
            let &BlockEntry {
                min_time, max_time, ..
            } = entry;
            if (span.first, span.last) != (min_time, max_time) {
                return Err(fault(BlockFault::Times {
                    min_time,
                    max_time,
                    first: span.first,
                    last: span.last,
                }));
            }
        }
        self.tally.blocks_kept += 1;
        Ok(BlockVerdict::Unchanged {
            crc: record.crc,
            block: record.block,
        })
    }
}

/// Writes what stays of `file` to `out`: points inside `bounds` that are not deleted. Gives what
/// was kept and the file written, none where nothing stays. `deletes` is asked for the keys of the
/// file in their order.
///
/// A file that keeps all its points is written as it is; [`would_change`] tells before. The result
/// has as many points in a block as the file had, up to 1000 where some of them go.
///
/// # Errors
///
/// When the file is damaged in what has to be read of it, the deletes cannot be read, or writing
/// fails. Part may be written then.
pub fn rewrite<R: ReadAt + ?Sized>(
    file: &R,
    deletes: &mut impl Deletes,
    bounds: Bounds,
    out: impl Write,
) -> Result<(FilterTally, Option<Written>), FilterError> {
    rewrite_with(file, deletes, bounds, out, None)
}

/// As [`rewrite`]; where `lost` is given, blocks that are damaged are left out, and told to it.
pub(super) fn rewrite_with<R: ReadAt + ?Sized>(
    file: &R,
    deletes: &mut impl Deletes,
    bounds: Bounds,
    out: impl Write,
    mut lost: Option<&mut dyn FnMut(LostBlock<'_>)>,
) -> Result<(FilterTally, Option<Written>), FilterError> {
    let mut walk = IndexWalk::open(file)?;
    let mut pass = Pass::new(file, walk.index_offset(), bounds);
    pass.looks_into_all = lost.is_some();
    let mut nth = 0;
    // What is written is as large as the file at most, give or take blocks that are packed anew,
    // and a server has opened that.
    let size = file
        .size()
        .map_err(|source| IndexError::Read { offset: 0, source })?;
    let mut writer = Writer::new(out).with_limit(MAX_FILE_BYTES.max(size.saturating_mul(2)));
    while let Some(key) = walk.next_key()? {
        pass.begin(&key, deletes)?;
        writer.begin_key(key.bytes, key.value_type)?;
        let mut any = false;
        while let Some(entry) = walk.next_entry()? {
            nth += 1;
            match pass.judge(&entry, deletes) {
                Ok(BlockVerdict::Unchanged { crc, block }) => {
                    writer.block(entry.min_time, entry.max_time, crc, block)?
                }
                Ok(BlockVerdict::Rewritten(points)) => writer.points(points)?,
                Ok(BlockVerdict::Dropped) => continue,
                Err(FilterError::File(FileError::Block { offset, fault })) => {
                    let Some(lost) = &mut lost else {
                        return Err(FileError::Block { offset, fault }.into());
                    };
                    lost(LostBlock::new(walk.key(), nth, &entry, fault));
                    continue;
                }
                Err(error) => return Err(error),
            }
            any = true;
        }
        *(if any {
            &mut pass.tally.keys_kept
        } else {
            &mut pass.tally.keys_dropped
        }) += 1;
    }
    let (_, written) = writer.finish()?;
    Ok((pass.tally, written))
}

/// Whether [`rewrite`] would drop any point. Reads the index, and of the blocks only those whose
/// points decide, up to the first that loses one.
///
/// # Errors
///
/// As [`rewrite`].
pub(crate) fn would_change<R: ReadAt + ?Sized>(
    file: &R,
    deletes: &mut impl Deletes,
    bounds: Bounds,
) -> Result<bool, FilterError> {
    let mut walk = IndexWalk::open(file)?;
    let mut pass = Pass::new(file, walk.index_offset(), bounds);
    while let Some(key) = walk.next_key()? {
        pass.begin(&key, deletes)?;
        while let Some(entry) = walk.next_entry()? {
            let fate = pass
                .key_filter
                .fate(&entry, deletes)
                .map_err(FilterError::Deletes)?;
            if fate != BlockFate::Unchanged
                && !matches!(pass.judge(&entry, deletes)?, BlockVerdict::Unchanged { .. })
            {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// Why a file cannot be rewritten.
#[derive(Debug, Error)]
pub enum FilterError {
    /// The file is damaged or cannot be read.
    #[error(transparent)]
    File(#[from] FileError),
    /// The deletes cannot be read.
    #[error("cannot read the deletes of the TSM file")]
    Deletes(#[source] io::Error),
    /// The result cannot be written.
    #[error(transparent)]
    Write(#[from] WriteError),
}

impl From<IndexError> for FilterError {
    fn from(error: IndexError) -> Self {
        Self::File(error.into())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::super::super::block::tests::some_points;
    use super::super::super::envelope::tests::REAL;
    use super::super::super::file::tests::{Keys, read_all};
    use super::super::super::index::tests::{block, build, walk};
    use super::super::super::tombstone::{DeletedRange, DeletedRanges};
    use super::super::super::values::Values;
    use super::super::super::writer::tests::write_all;
    use super::*;

    /// Whether all points were kept, and so the file is as it was.
    fn keeps_all(tally: &FilterTally) -> bool {
        tally.blocks_dropped == 0 && tally.blocks_packed == 0
    }

    type Map = BTreeMap<Vec<u8>, Vec<DeletedRange>>;

    /// Deletes that cannot be read.
    struct BrokenSource;

    impl Deletes for BrokenSource {
        fn begin(&mut self, _: &Key<'_>) -> io::Result<()> {
            Ok(())
        }

        fn next_range(&mut self) -> io::Result<Option<DeletedRange>> {
            Err(io::Error::other("broken"))
        }
    }

    fn bounds(start: i64, end: i64) -> Bounds {
        Bounds { start, end }
    }

    fn integers(times: std::ops::Range<i64>) -> Points {
        Points {
            values: Values::Integer(times.clone().collect()),
            times: times.collect(),
        }
    }

    fn key(name: &str, blocks: Vec<Points>) -> (Vec<u8>, Vec<Points>) {
        (name.as_bytes().to_vec(), blocks)
    }

    fn sample() -> Keys {
        vec![
            key(
                "a",
                vec![integers(0..10), integers(10..20), integers(30..40)],
            ),
            key("b", vec![integers(5..6)]),
            key("c", vec![integers(-20..-10), integers(100..200)]),
        ]
    }

    fn run(
        file: &[u8],
        deletes: &Map,
        bounds: Bounds,
    ) -> Result<(FilterTally, Vec<u8>), FilterError> {
        let ranges: DeletedRanges = deletes
            .iter()
            .flat_map(|(key, of_key)| of_key.iter().map(|range| (&key[..], *range)))
            .collect();
        let mut out = Vec::new();
        let (tally, written) = rewrite(file, &mut ranges.reader(), bounds, &mut out)?;
        assert_eq!(written.map_or(0, |written| written.size), out.len() as u64);
        assert_eq!(
            would_change(file, &mut ranges.reader(), bounds)?,
            !keeps_all(&tally)
        );
        Ok((tally, out))
    }

    fn map(deletes: &[(&str, DeletedRange)]) -> Map {
        let mut map = Map::new();
        deletes
            .iter()
            .for_each(|(key, range)| map.entry(key.as_bytes().to_vec()).or_default().push(*range));
        map
    }

    #[test]
    fn a_file_that_keeps_all_is_written_as_it_is() {
        for (deletes, bounds) in [
            (map(&[]), Bounds::ALL),
            (
                map(&[
                    ("x", (i64::MIN, i64::MAX)),
                    ("a", (20, 29)),
                    ("b", (6, 5)),
                    ("", (0, 9)),
                ]),
                Bounds::ALL,
            ),
            (map(&[]), bounds(-20, 199)),
        ] {
            let file = write_all(&sample());
            let (tally, out) = run(&file, &deletes, bounds).unwrap();
            assert!(out == file && keeps_all(&tally));
            assert_eq!(
                (tally.keys_kept, tally.blocks_kept, tally.points_dropped),
                (3, 6, 0)
            );
        }
    }

    #[test]
    fn keys_blocks_and_points_that_are_deleted_go_and_no_others() {
        let deletes = map(&[
            ("a", (35, 36)),
            ("a", (10, 14)),
            ("a", (-100, 5)),
            ("a", (15, 19)),
            ("b", (i64::MIN, i64::MAX)),
            ("c", (150, i64::MAX)),
        ]);
        let (tally, out) = run(&write_all(&sample()), &deletes, Bounds::ALL).unwrap();
        let mut third = integers(30..35);
        integers(37..40)
            .times
            .iter()
            .enumerate()
            .for_each(|(at, _)| assert!(third.push_from(&integers(37..40), at)));
        let expected = vec![
            key("a", vec![integers(6..10), third]),
            key("c", vec![integers(-20..-10), integers(100..150)]),
        ];
        assert_eq!(read_all(&out[..]).unwrap(), expected);
        assert!(out == write_all(&expected), "packed as influxd would have");
        let expected = FilterTally {
            keys_kept: 2,
            keys_dropped: 1,
            blocks_kept: 1,
            blocks_packed: 3,
            blocks_dropped: 2,
            points_kept: 62,
            points_dropped: 58,
        };
        assert_eq!(tally, expected);
    }

    #[test]
    fn an_interval_is_kept_exactly_with_both_its_ends() {
        let (_, out) = run(&write_all(&sample()), &map(&[]), bounds(5, 30)).unwrap();
        let expected = vec![
            key(
                "a",
                vec![integers(5..10), integers(10..20), integers(30..31)],
            ),
            key("b", vec![integers(5..6)]),
        ];
        assert_eq!(read_all(&out[..]).unwrap(), expected);
    }

    #[test]
    fn where_nothing_stays_there_is_no_file() {
        let file = write_all(&sample());
        for (deletes, bounds) in [
            (map(&[]), bounds(20, 29)),
            (
                map(&[("a", (0, 39)), ("b", (5, 5)), ("c", (-20, 199))]),
                Bounds::ALL,
            ),
            (
                map(&[("a", (0, 14)), ("a", (15, 39)), ("b", (5, 5))]),
                bounds(-5, 50),
            ),
        ] {
            let (tally, out) = run(&file, &deletes, bounds).unwrap();
            assert!(out.is_empty());
            assert_eq!((tally.keys_kept, tally.keys_dropped), (0, 3));
        }
    }

    #[test]
    fn a_block_is_kept_as_it_is_unless_a_point_goes() {
        let sparse = Points {
            times: vec![0, 50, 100],
            values: Values::Float(vec![1.0, 2.0, 3.0]),
        };
        let file = write_all(&[key("k", vec![sparse])]);
        let (tally, out) =
            run(&file, &map(&[("k", (1, 49)), ("k", (51, 99))]), Bounds::ALL).unwrap();
        assert!(out == file && keeps_all(&tally));
        let (_, out) = run(&file, &map(&[("k", (1, 50))]), bounds(1, 99)).unwrap();
        assert!(
            out.is_empty(),
            "no point is in what the interval and the deletes leave"
        );
    }

    #[test]
    fn damage_in_what_is_kept_is_an_error_and_in_what_is_dropped_is_not() {
        let mut file = write_all(&sample());
        file[12] ^= 1;
        assert!(matches!(
            run(&file, &map(&[]), Bounds::ALL),
            Err(FilterError::File(FileError::Block {
                offset: 5,
                fault: BlockFault::Crc { .. }
            }))
        ));
        assert!(run(&file, &map(&[("a", (0, 9))]), Bounds::ALL).is_ok());
        // A block whose type is not the one in the index.
        let file = build(&[(b"k".to_vec(), 1, vec![block(0, 0, &REAL[9..39])])]);
        assert!(matches!(
            run(&file, &map(&[]), Bounds::ALL),
            Err(FilterError::File(FileError::Block {
                offset: 5,
                fault: BlockFault::Type {
                    index: ValueType::Integer,
                    ..
                }
            }))
        ));
    }

    #[test]
    fn deletes_that_cannot_be_read_end_the_rewriting() {
        assert!(matches!(
            rewrite(REAL, &mut BrokenSource, Bounds::ALL, io::sink()),
            Err(FilterError::Deletes(_))
        ));
    }

    proptest! {
        #[test]
        fn exactly_the_points_asked_for_stay(
            keys in prop::collection::btree_map(prop::collection::vec(b'a'..b'd', 1..3), some_points(), 1..5),
            deletes in prop::collection::vec((prop::collection::vec(b'a'..b'd', 1..3), (-600..600_i64, 0..300_i64)), 0..12),
            a in -600..600_i64,
            b in -600..600_i64,
            all in any::<bool>(),
        ) {
            let bounds = if all { Bounds::ALL } else { bounds(a.min(b), a.max(b)) };
            let mut map = Map::new();
            deletes.into_iter().for_each(|(key, (min, span))| map.entry(key).or_default().push((min, min + span)));
            let keys: Keys = keys.into_iter().map(|(key, points)| (key, vec![points])).collect();
            let gone = |key: &[u8], time: i64| {
                let deleted = map.get(key).is_some_and(|ranges| ranges.iter().any(|(min, max)| (min..=max).contains(&&time)));
                deleted || time < bounds.start || time > bounds.end
            };
            let mut expected = Keys::new();
            for (key, blocks) in &keys {
                let mut kept = Points::new(blocks[0].values.value_type());
                for (at, time) in blocks[0].times.iter().enumerate() {
                    if !gone(key, *time) {
                        kept.push_from(&blocks[0], at);
                    }
                }
                if !kept.is_empty() {
                    expected.push((key.clone(), vec![kept]));
                }
            }
            let file = write_all(&keys);
            let (tally, out) = run(&file, &map, bounds).unwrap();
            prop_assert_eq!(keeps_all(&tally), expected == keys);
            prop_assert_eq!(out.is_empty(), expected.is_empty());
            if !out.is_empty() {
                prop_assert_eq!(read_all(&out[..]).unwrap(), expected);
                prop_assert!(walk(&out).is_ok());
            }
        }
    }
}
