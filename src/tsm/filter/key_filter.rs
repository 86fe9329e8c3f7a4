//! Which points of a key stay, by an interval and by what was deleted.

use std::io;

use super::deletes::{Deletes, Range};
use super::index::{BlockEntry, Key};
use super::values::Points;
use crate::time::Bounds;

/// Which points of a key stay.
#[derive(Debug)]
pub(super) struct Sieve {
    bounds: Bounds,
    /// The first deleted range that does not end before what was asked for last.
    deleted: Option<Range>,
}

/// What becomes of a block, as far as its first and last time tell.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Fate {
    Kept,
    Dropped,
    /// It depends on its points.
    Sifted,
}

impl Sieve {
    pub(super) fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            deleted: None,
        }
    }

    /// Turns to a key, whose blocks are asked for in ascending order.
    pub(super) fn load(&mut self, key: &Key<'_>, deletes: &mut impl Deletes) -> io::Result<()> {
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
    pub(super) fn fate(
        &mut self,
        entry: &BlockEntry,
        deletes: &mut impl Deletes,
    ) -> io::Result<Fate> {
        let &BlockEntry {
            min_time, max_time, ..
        } = entry;
        if max_time < self.bounds.start || min_time > self.bounds.end {
            return Ok(Fate::Dropped);
        }
        // Of the part that is inside.
        let (start, end) = (
            min_time.max(self.bounds.start),
            max_time.min(self.bounds.end),
        );
        self.pass(start, deletes)?;
        Ok(match self.deleted {
            Some(range) if range.0 <= start && end <= range.1 => Fate::Dropped,
            Some(range) if range.0 <= end => Fate::Sifted,
            _ if (start, end) == (min_time, max_time) => Fate::Kept,
            _ => Fate::Sifted,
        })
    }

    /// Puts those of `points`, which are of the block that was asked for last, that stay in the place of those in `kept`.
    pub(super) fn sift(
        &mut self,
        points: &Points,
        kept: &mut Points,
        deletes: &mut impl Deletes,
    ) -> io::Result<()> {
        kept.reset(points.values.value_type());
        for (at, &time) in points.times.iter().enumerate() {
            if time < self.bounds.start || time > self.bounds.end {
                continue;
            }
            self.pass(time, deletes)?;
            if self.deleted.is_none_or(|range| range.0 > time) {
                kept.push_from(points, at);
            }
        }
        Ok(())
    }
}
