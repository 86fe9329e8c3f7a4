//! Replaying a WAL: what influxd's cache would hold after it.
//!
//! What influxd 1.6.7 was seen to do, and what is done here:
//!
//! - Writes add points; of those with the same key and time the last one counts.
//! - Deletes take away points written before them, of the keys they name, and nothing of TSM files:
//!   a DELETE has put what it deletes of those into their tombstones before it is logged, and is
//!   logged for keys of the cache alone.
//! - A segment counts up to its first entry that is not sound, and the segments after it count all
//!   the same.
//!
//! A key whose values change their type without a delete between them makes influxd refuse to open
//! the shard. Here every point keeps its type.
//!
//! A WAL may hold as much as influxd's cache, 1 GiB unless configured otherwise. Memory stays
//! bounded all the same: points and deletes are sorted by key and time in runs, which lie in a
//! temporary file and are merged as they are read.

use std::io::{self, Read};
use std::path::Path;

use super::{NextEntry, Segment, SegmentEnding, WalEntry};
use crate::tsm::sort::{SortedEvent, Sorter};
use crate::tsm::values::ValueRef;

/// Bytes of points and deletes kept in memory unless something else is asked for.
pub(crate) const BUDGET: usize = 32 << 20;

/// A WAL that is being replayed.
#[derive(Debug)]
pub struct Cache {
    sorter: Sorter,
}

impl Cache {
    /// An empty cache that keeps about `budget` bytes in memory and the rest in a temporary file in
    /// `directory`. The largest entry of the WAL comes on top.
    pub fn new(directory: &Path, budget: usize) -> Self {
        Self {
            sorter: Sorter::new(directory, budget),
        }
    }

    /// Takes a segment, which comes after all those before, up to its end or its first entry that
    /// is not sound; says which.
    ///
    /// # Errors
    ///
    /// When reading it or writing the temporary file fails, or an entry is too large.
    pub fn replay(&mut self, segment: impl Read) -> io::Result<SegmentEnding> {
        let mut segment = Segment::new(segment);
        loop {
            match segment.next_entry()? {
                NextEntry::End(ending) => return Ok(ending),
                NextEntry::Entry(WalEntry::Write(writes)) => {
                    // influxd takes a point with an empty key too; no TSM file can hold it.
                    for written in writes.filter(|written| !written.key.is_empty()) {
                        for (time, value) in written.points() {
                            self.sorter
                                .push(written.key, time, SortedEvent::Write(value))?;
                        }
                    }
                }
                NextEntry::Entry(WalEntry::Delete(keys)) => {
                    self.delete(keys, i64::MIN, i64::MAX)?
                }
                NextEntry::Entry(WalEntry::DeleteRange { min, max, keys }) => {
                    self.delete(keys, min, max)?
                }
            }
        }
    }

    fn delete<'a>(
        &mut self,
        keys: impl Iterator<Item = &'a [u8]>,
        min: i64,
        max: i64,
    ) -> io::Result<()> {
        if min <= max {
            // A longer key is none that was written.
            for key in keys.filter(|key| u16::try_from(key.len()).is_ok()) {
                self.sorter.push(key, min, SortedEvent::DeleteTo(max))?;
            }
        }
        Ok(())
    }

    /// Hands out the points that are left: keys ascending by their bytes, times ascending within a
    /// key, each time once.
    ///
    /// # Errors
    ///
    /// When the temporary file cannot be read or written, or `each` fails.
    pub fn finish<E: From<io::Error>>(
        self,
        each: impl FnMut(&[u8], i64, ValueRef<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut sweep = Sweep {
            each,
            key: Vec::new(),
            deletes: Frontier::default(),
            last: None,
        };
        self.sorter
            .finish(|key, time, turn, event| sweep.event(key, time, turn, event))?;
        sweep.flush()
    }
}

/// Passes the events of the keys in the order of time.
struct Sweep<F> {
    each: F,
    key: Vec<u8>,
    /// The deletes that began at or before the time reached.
    deletes: Frontier,
    /// The point that counts unless another one of its time comes, and its turn.
    last: Option<(i64, u64, Owned)>,
}

impl<F, E> Sweep<F>
where
    F: FnMut(&[u8], i64, ValueRef<'_>) -> Result<(), E>,
{
    fn event(&mut self, key: &[u8], time: i64, turn: u64, event: SortedEvent<'_>) -> Result<(), E> {
        if self.key != key {
            self.flush()?;
            self.key.clear();
            self.key.extend_from_slice(key);
            self.deletes.clear();
        }
        match event {
            SortedEvent::DeleteTo(max) => {
                // It begins after the time of the point before: deletes come before the points of
                // their time.
                self.flush()?;
                self.deletes.add(time, turn, max);
            }
            SortedEvent::Write(value) => {
                if self.last.as_ref().is_some_and(|(last, ..)| *last != time) {
                    self.flush()?;
                }
                let value = match value {
                    ValueRef::String(string) => Owned::String(string.to_vec()),
                    ValueRef::Float(value) => Owned::Float(value),
                    ValueRef::Integer(value) => Owned::Integer(value),
                    ValueRef::Boolean(value) => Owned::Boolean(value),
                    ValueRef::Unsigned(value) => Owned::Unsigned(value),
                };
                self.last = Some((time, turn, value));
            }
        }
        Ok(())
    }

    /// Gives the last point, unless a later delete covers it. (Then it covers the earlier ones of
    /// its time too.)
    fn flush(&mut self) -> Result<(), E> {
        let Some((time, turn, value)) = self.last.take() else {
            return Ok(());
        };
        if self.deletes.covers(time, turn) {
            Ok(())
        } else {
            (self.each)(&self.key, time, value.borrow())
        }
    }
}

/// A value that is kept.
enum Owned {
    Float(f64),
    Integer(i64),
    Boolean(bool),
    String(Vec<u8>),
    Unsigned(u64),
}

impl Owned {
    fn borrow(&self) -> ValueRef<'_> {
        match self {
            Self::Float(value) => ValueRef::Float(*value),
            Self::Integer(value) => ValueRef::Integer(*value),
            Self::Boolean(value) => ValueRef::Boolean(*value),
            Self::String(value) => ValueRef::String(value),
            Self::Unsigned(value) => ValueRef::Unsigned(*value),
        }
    }
}

/// Deletes by turn, descending, and so by their last time, ascending: one with both an earlier turn
/// and an earlier end than another's covers nothing that the other one does not.
#[derive(Default)]
struct Frontier(Vec<(u64, i64)>);

impl Frontier {
    fn clear(&mut self) {
        self.0.clear();
    }

    /// Adds the delete with this turn that reaches from `time`, which all that is asked from now on
    /// has reached, to `max`.
    fn add(&mut self, time: i64, turn: u64, max: i64) {
        let past = self.0.partition_point(|(_, max)| *max < time);
        self.0.drain(..past);
        let at = self.0.partition_point(|(other, _)| *other > turn);
        if at
            .checked_sub(1)
            .is_some_and(|before| self.0[before].1 >= max)
        {
            return;
        }
        let covered = self.0[at..].partition_point(|(_, other)| *other <= max);
        self.0.splice(at..at + covered, [(turn, max)]);
    }

    /// Whether one with a later turn reaches `time`.
    fn covers(&self, time: i64, turn: u64) -> bool {
        let later = self.0.partition_point(|(other, _)| *other > turn);
        later
            .checked_sub(1)
            .is_some_and(|last| self.0[last].1 >= time)
    }
}

#[cfg(test)]
#[path = "replay_tests.rs"]
mod tests;
