//! Whether two series are the same, by the bytes of their blocks: nothing is unpacked.
//!
//! That holds where each field has the same blocks on both sides, in the same order, none of them
//! overlaps another, and nothing was deleted of them. What is said here is certain; where it cannot
//! be said, the points have to be compared.

use super::super::block::{point_count, times_section};
use super::super::file::Record;
use super::super::index::BlockEntry;
use super::super::values::ValueType;
use super::blocks::{BlockStore, Entries};
use super::field::FieldPoints;
use super::{PointsError, SeriesPoints};
use crate::time::Bounds;

/// The most bytes of packed times that are held, to see whether all fields have them.
const MAX_TIMES: usize = 4 << 20;

/// How many points both series have, if they have the same blocks; none where that is not so, or
/// not certain. To be asked before any of their points.
///
/// # Errors
///
/// When the system fails.
pub(crate) fn same_points(
    one: &mut SeriesPoints<'_, '_>,
    other: &mut SeriesPoints<'_, '_>,
) -> Result<Option<u64>, PointsError> {
    let (one, other) = (&mut *one.reader, &mut *other.reader);
    let (fields, others) = (&one.series.fields, &other.series.fields);
    if !(fields.iter().map(name_and_type)).eq(others.iter().map(name_and_type)) {
        return Ok(None);
    }
    let mut times = FieldTimes::new(fields.len());
    for (first, second) in fields.iter().zip(others) {
        let (Some(first), Some(second)) = (PlainBlocks::of(first), PlainBlocks::of(second)) else {
            return Ok(None);
        };
        let blocks = (first, second);
        if !same_field(blocks, &mut one.blocks, &mut other.blocks, &mut times)? {
            return Ok(None);
        }
    }
    Ok(times.points)
}

fn name_and_type<'f>(field: &'f FieldPoints<'_>) -> (&'f [u8], ValueType) {
    (field.name(), field.value_type())
}

/// Whether a field has the same blocks on both sides, at the times of the fields before.
fn same_field(
    (mut first, mut second): (PlainBlocks, PlainBlocks),
    one: &mut BlockStore<'_>,
    other: &mut BlockStore<'_>,
    times: &mut FieldTimes,
) -> Result<bool, PointsError> {
    times.begin_field();
    loop {
        match (first.next(one)?, second.next(other)?) {
            (NextBlock::Plain(own), NextBlock::Plain(others)) => {
                if !own.has_times_of(&others) {
                    return Ok(false);
                }
                let (Some(own), Some(others)) = (own.read(one)?, others.read(other)?) else {
                    return Ok(false);
                };
                if !are_same(&own, &others) || !times.take(own.block) {
                    return Ok(false);
                }
            }
            (NextBlock::End, NextBlock::End) => return Ok(times.end_field()),
            _ => return Ok(false),
        }
    }
}

/// Whether two blocks are the same, and sound.
fn are_same(one: &Record<'_>, other: &Record<'_>) -> bool {
    one.crc == other.crc && one.block == other.block && one.verify().is_ok()
}

/// The blocks of a field inside the times that are asked for, in their order.
struct PlainBlocks {
    keys: Vec<KeyBlocks>,
    time_range: Bounds,
    last: Option<i64>,
}

/// Those that one file has.
struct KeyBlocks {
    file: usize,
    is_far: bool,
    entries: Entries,
}

enum NextBlock {
    Plain(PlainBlock),
    End,
    /// It overlaps another, or the border of the times that are asked for.
    Unclear,
}

/// A block that no other one and no delete has to do with.
struct PlainBlock {
    file: usize,
    is_far: bool,
    entry: BlockEntry,
}

impl PlainBlocks {
    /// None where something was deleted of the field.
    fn of(field: &FieldPoints<'_>) -> Option<Self> {
        let mut time_range = Bounds::ANY;
        let keys = field.keys().iter().map(|key| {
            time_range = key.time_range();
            Some(KeyBlocks {
                file: key.file,
                is_far: key.is_far(),
                entries: key.untouched_entries()?,
            })
        });
        let keys = keys.collect::<Option<Vec<_>>>()?;
        Some(Self {
            keys,
            time_range,
            last: None,
        })
    }

    fn next(&mut self, store: &BlockStore<'_>) -> Result<NextBlock, PointsError> {
        loop {
            let firsts = self.keys.iter().enumerate();
            let firsts = firsts.filter_map(|(at, key)| Some((key.entries.first()?.min_time, at)));
            let Some((_, at)) = firsts.min() else {
                return Ok(NextBlock::End);
            };
            let KeyBlocks {
                file,
                is_far,
                entries,
            } = &mut self.keys[at];
            let Some(entry) = store.next_entry(*file, entries)? else {
                return Ok(NextBlock::End);
            };
            if self.last.is_some_and(|last| entry.min_time <= last) {
                return Ok(NextBlock::Unclear);
            }
            self.last = Some(entry.max_time);
            let Bounds { start, end } = self.time_range;
            if entry.max_time < start || entry.min_time > end {
                continue;
            }
            if entry.min_time < start || entry.max_time > end {
                return Ok(NextBlock::Unclear);
            }
            return Ok(NextBlock::Plain(PlainBlock {
                file: *file,
                is_far: *is_far,
                entry,
            }));
        }
    }
}

impl PlainBlock {
    fn has_times_of(&self, other: &Self) -> bool {
        let of = |block: &Self| {
            let BlockEntry {
                min_time,
                max_time,
                size,
                ..
            } = block.entry;
            (min_time, max_time, size)
        };
        of(self) == of(other)
    }

    fn read<'s>(&self, store: &'s mut BlockStore<'_>) -> Result<Option<Record<'s>>, PointsError> {
        store.record(self.file, self.is_far, &self.entry)
    }
}

/// The times of the fields of a series: where all are the same, there are as many points as a field
/// has values.
struct FieldTimes {
    is_single: bool,
    /// The packed times of the first field, block after block, each behind its length.
    first: Vec<u8>,
    /// How many of them those of the field have passed; none in the first field.
    passed: Option<usize>,
    /// How many values the first field has.
    points: Option<u64>,
}

impl FieldTimes {
    fn new(fields: usize) -> Self {
        Self {
            is_single: fields == 1,
            first: Vec::new(),
            passed: None,
            points: None,
        }
    }

    fn begin_field(&mut self) {
        if self.points.is_some() {
            self.passed = Some(0);
        }
        self.points.get_or_insert(0);
    }

    /// Takes the next block of a field; whether its times are, or can be, those of all fields.
    fn take(&mut self, block: &[u8]) -> bool {
        let Ok(times) = times_section(block) else {
            return false;
        };
        let length = times.len().to_ne_bytes();
        match &mut self.passed {
            Some(passed) => {
                let rest = &self.first[*passed..];
                let rest = rest
                    .strip_prefix(&length)
                    .map(|rest| rest.starts_with(times));
                *passed += length.len() + times.len();
                rest == Some(true)
            }
            None => {
                let Ok(count) = point_count(block) else {
                    return false;
                };
                if let Some(points) = &mut self.points {
                    *points += count as u64;
                }
                if !self.is_single {
                    self.first.extend_from_slice(&length);
                    self.first.extend_from_slice(times);
                }
                self.first.len() <= MAX_TIMES
            }
        }
    }

    /// Whether all times of the first field came again.
    fn end_field(&self) -> bool {
        self.passed.is_none_or(|passed| passed == self.first.len())
    }
}
