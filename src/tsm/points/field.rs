//! The points of one field of a series, merged over the files: of two values at one time, that of
//! the later file wins.

use super::super::values::{Points, ValueType};
use super::blocks::{BlockStore, KeyCursor, KeyName};
use super::{PointsError, PointsFault};

/// The points of one field of a series.
#[derive(Debug)]
pub(super) struct FieldPoints<'a> {
    name: Vec<u8>,
    /// Those of each file, in the order of the files; at least one.
    keys: Vec<KeyCursor<'a>>,
    /// Points of blocks that overlap, of which those from `at` on were not given yet.
    merged: Points,
    at: usize,
    /// Whose points are to be given next.
    ready: Ready,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ready {
    Nothing,
    /// Those that are unpacked of one of the files: others have none in between.
    File(usize),
    Merged,
}

impl<'a> FieldPoints<'a> {
    /// The field `name`, with its points in each file, in the order of the files.
    pub(super) fn new(name: Vec<u8>, keys: Vec<KeyCursor<'a>>) -> Self {
        Self {
            name,
            keys,
            merged: Points::new(ValueType::Float),
            at: 0,
            ready: Ready::Nothing,
        }
    }

    pub(super) fn name(&self) -> &[u8] {
        &self.name
    }

    pub(super) fn value_type(&self) -> ValueType {
        self.keys
            .first()
            .map_or(ValueType::Float, |key| key.value_type)
    }

    /// Its points in each file.
    pub(super) fn keys(&self) -> &[KeyCursor<'a>] {
        &self.keys
    }

    /// How many files have points of it.
    pub(super) fn cursors(&self) -> usize {
        self.keys.len()
    }

    /// Leaves out values that are not of the type that the last file with any values has, and tells
    /// of them; whether any are left. A field got the new type when all its values were deleted.
    pub(super) fn settle_type(
        &mut self,
        series: &[u8],
        store: &mut BlockStore<'a>,
    ) -> Result<bool, PointsError> {
        let own = self.value_type();
        if self.keys.iter().all(|key| key.value_type == own) {
            return Ok(true);
        }
        let name = KeyName {
            series,
            field: &self.name,
        };
        let mut kept = None;
        let mut living = Vec::new();
        for mut key in self.keys.drain(..).rev() {
            key.load(name, store)?;
            if key.first().is_none() {
                continue;
            }
            let kept = *kept.get_or_insert(key.value_type);
            if key.value_type == kept {
                living.push(key);
            } else {
                let found = key.value_type;
                store.tell(key.file, name, PointsFault::OtherType { found, kept });
            }
        }
        living.reverse();
        self.keys = living;
        Ok(!self.keys.is_empty())
    }

    /// A time before which no more points come; that of the next point where it is unpacked. None
    /// at the end.
    pub(super) fn bound(&self) -> Option<i64> {
        let keys = || self.keys.iter().filter_map(KeyCursor::bound).min();
        self.times().first().copied().or_else(keys)
    }

    /// The times of the points that are unpacked and were not given yet.
    pub(super) fn times(&self) -> &[i64] {
        let (points, at) = self.points();
        &points.times[at..]
    }

    /// The points that are unpacked, of which those from a place on were not given yet.
    pub(super) fn points(&self) -> (&Points, usize) {
        match self.ready {
            Ready::File(file) => (&self.keys[file].points, self.keys[file].at),
            Ready::Merged | Ready::Nothing => (&self.merged, self.at),
        }
    }

    /// The time of the last point that is unpacked, where others may follow it.
    pub(super) fn limit(&self) -> Option<i64> {
        let last = self.times().last()?;
        let is_over = |(file, key): (usize, &KeyCursor<'_>)| match self.ready {
            Ready::File(ready) if ready == file => key.is_all_unpacked(),
            _ => key.bound().is_none(),
        };
        (!self.keys.iter().enumerate().all(is_over)).then_some(*last)
    }

    /// Says that so many of the points that are unpacked were given.
    pub(super) fn advance(&mut self, count: usize) {
        match self.ready {
            Ready::File(file) => self.keys[file].at += count,
            Ready::Merged | Ready::Nothing => self.at += count,
        }
    }

    /// Unpacks the next points, unless some are left. At the end there are none then.
    pub(super) fn load(
        &mut self,
        series: &[u8],
        store: &mut BlockStore<'a>,
    ) -> Result<(), PointsError> {
        if !self.times().is_empty() {
            return Ok(());
        }
        self.ready = Ready::Nothing;
        self.merged.reset(self.value_type());
        self.at = 0;
        let name = KeyName {
            series,
            field: &self.name,
        };
        while let Some(first) = earliest(&self.keys) {
            self.keys[first].load(name, store)?;
            let Some(mut end) = self.keys[first].last() else {
                continue;
            };
            let mut overlap = false;
            for at in (0..self.keys.len()).filter(|at| *at != first) {
                let key = &mut self.keys[at];
                if key.bound().is_some_and(|bound| bound <= end) {
                    key.load(name, store)?;
                }
                if key.first().is_some_and(|first| first <= end) {
                    overlap = true;
                    end = end.min(key.last().unwrap_or(end));
                }
            }
            if overlap {
                self.merge(end);
                self.ready = Ready::Merged;
            } else {
                self.ready = Ready::File(first);
            }
            return Ok(());
        }
        Ok(())
    }

    /// Merges the points that are unpacked up to a time, before which all are.
    fn merge(&mut self, end: i64) {
        loop {
            let firsts = self.keys.iter().filter_map(KeyCursor::first);
            let Some(time) = firsts.min().filter(|time| *time <= end) else {
                return;
            };
            let mut winner = None;
            for key in &mut self.keys {
                if key.first() == Some(time) {
                    winner = Some((&key.points, key.at));
                    key.at += 1;
                }
            }
            if let Some((points, at)) = winner {
                self.merged.push_from(points, at);
            }
        }
    }
}

/// Which of the files may have the next point; none where all are at their ends.
fn earliest(keys: &[KeyCursor<'_>]) -> Option<usize> {
    let bounds = keys.iter().enumerate();
    let bounds = bounds.filter_map(|(at, key)| Some((key.bound()?, at)));
    bounds.min().map(|(_, at)| at)
}
