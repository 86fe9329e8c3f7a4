//! Which points of a key stay, by an interval and by what was deleted.

use std::io;

use super::deletes::{Deletes, Range};
use super::index::BlockEntry;
use super::values::Points;
use crate::time::Bounds;

/// Which points of a key stay.
#[derive(Debug)]
pub(super) struct Sieve {
    bounds: Bounds,
    /// What is deleted: ascending, and with times between one and the next that stay.
    deleted: Vec<Range>,
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
            deleted: Vec::new(),
        }
    }

    /// Becomes that of a key.
    pub(super) fn load(&mut self, key: &[u8], deletes: &mut impl Deletes) -> io::Result<()> {
        self.deleted.clear();
        deletes.of_key(key, &mut self.deleted)?;
        self.deleted.retain(|(min, max)| min <= max);
        self.deleted.sort_unstable();
        self.deleted.dedup_by(|next, range| {
            let joins = next.0 <= range.1.saturating_add(1);
            if joins {
                range.1 = range.1.max(next.1);
            }
            joins
        });
        Ok(())
    }

    pub(super) fn fate(&self, entry: &BlockEntry) -> Fate {
        let &BlockEntry {
            min_time, max_time, ..
        } = entry;
        if max_time < self.bounds.start || min_time > self.bounds.end {
            return Fate::Dropped;
        }
        // Of the part that is inside.
        let (start, end) = (
            min_time.max(self.bounds.start),
            max_time.min(self.bounds.end),
        );
        match self
            .deleted
            .get(self.deleted.partition_point(|range| range.1 < start))
        {
            Some(range) if range.0 <= start && end <= range.1 => Fate::Dropped,
            Some(range) if range.0 <= end => Fate::Sifted,
            _ if (start, end) == (min_time, max_time) => Fate::Kept,
            _ => Fate::Sifted,
        }
    }

    /// Puts those of `points` that stay in the place of those in `kept`.
    pub(super) fn sift(&self, points: &Points, kept: &mut Points) {
        kept.reset(points.values.value_type());
        let mut deleted = self.deleted.iter().peekable();
        for (at, &time) in points.times.iter().enumerate() {
            while deleted.next_if(|range| range.1 < time).is_some() {}
            let gone = deleted.peek().is_some_and(|range| range.0 <= time);
            if !gone && self.bounds.start <= time && time <= self.bounds.end {
                kept.push_from(points, at);
            }
        }
    }
}
