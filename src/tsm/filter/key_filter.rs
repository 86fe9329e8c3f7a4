//! Which points of a key stay, by a time range and by what was deleted.

use std::io;

use super::super::index::{BlockEntry, Key};
use super::super::tombstone::{DeletedRange, Deletes};
use super::super::values::Points;
use crate::time::Bounds;

/// Which points of a key stay.
#[derive(Debug)]
pub(in crate::tsm) struct KeyFilter {
    time_range: Bounds,
    /// The first deleted range that does not end before what was asked for last.
    deleted: Option<DeletedRange>,
}

/// What becomes of a block, as far as its first and last time tell.
#[derive(Debug, PartialEq, Eq)]
pub(in crate::tsm) enum BlockFate {
    Unchanged,
    Dropped,
    /// It depends on its points.
    ByPoint,
}

impl KeyFilter {
    pub(in crate::tsm) fn new(time_range: Bounds) -> Self {
        Self {
            time_range,
            deleted: None,
        }
    }

    /// Turns to a key, whose blocks are asked for in ascending order.
    pub(in crate::tsm) fn load(
        &mut self,
        key: &Key<'_>,
        deletes: &mut impl Deletes,
    ) -> io::Result<()> {
        deletes.begin(key)?;
        self.deleted = deletes.next_range()?;
        Ok(())
    }

    /// Passes the ranges that end before `time`.
    fn pass(&mut self, time: i64, deletes: &mut impl Deletes) -> io::Result<()> {
        while self.deleted.is_some_and(|range| range.1 < time) {
            self.deleted = deletes.next_range()?;
        }
        Ok(())
    }

    /// What becomes of a block of the key.
    pub(in crate::tsm) fn fate(
        &mut self,
        entry: &BlockEntry,
        deletes: &mut impl Deletes,
    ) -> io::Result<BlockFate> {
        let &BlockEntry {
            min_time, max_time, ..
        } = entry;
        if max_time < self.time_range.start || min_time > self.time_range.end {
            return Ok(BlockFate::Dropped);
        }
        // Of the part that is inside.
        let (start, end) = (
            min_time.max(self.time_range.start),
            max_time.min(self.time_range.end),
        );
        self.pass(start, deletes)?;
        Ok(match self.deleted {
            Some(range) if range.0 <= start && end <= range.1 => BlockFate::Dropped,
            Some(range) if range.0 <= end => BlockFate::ByPoint,
            _ if (start, end) == (min_time, max_time) => BlockFate::Unchanged,
            _ => BlockFate::ByPoint,
        })
    }

    /// Puts those of `points`, which are of the block that was asked for last, that stay in the
    /// place of those in `staying`.
    pub(in crate::tsm) fn points(
        &mut self,
        points: &Points,
        staying: &mut Points,
        deletes: &mut impl Deletes,
    ) -> io::Result<()> {
        staying.reset(points.values.value_type());
        for (at, &time) in points.times.iter().enumerate() {
            if time < self.time_range.start || time > self.time_range.end {
                continue;
            }
            self.pass(time, deletes)?;
            if self.deleted.is_none_or(|range| range.0 > time) {
                staying.push_from(points, at);
            }
        }
        Ok(())
    }
}
