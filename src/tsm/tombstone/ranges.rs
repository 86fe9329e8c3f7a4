//! What was deleted of a TSM file, by key, to be met with the keys of its index.

use std::io::{self, Read};

use super::super::index::Key;
use super::file::{self, TombstoneEnding, TombstoneRecord};

/// An interval of times that are deleted, both ends included. That of a whole key is `i64::MIN` to
/// `i64::MAX`.
pub(crate) type DeletedRange = (i64, i64);

/// What is deleted from a file, to be read along its keys.
pub trait Deletes {
    /// Turns to a key. Is called once for each key of a file, in ascending order of their bytes.
    ///
    /// # Errors
    ///
    /// When the deletes cannot be read.
    fn begin(&mut self, key: &Key<'_>) -> io::Result<()>;

    /// The next range that is deleted from that key: ascending, and none touches another.
    ///
    /// # Errors
    ///
    /// When the deletes cannot be read.
    fn next_range(&mut self) -> io::Result<Option<DeletedRange>>;
}

/// No deletes.
impl Deletes for () {
    fn begin(&mut self, _: &Key<'_>) -> io::Result<()> {
        Ok(())
    }

    fn next_range(&mut self) -> io::Result<Option<DeletedRange>> {
        Ok(None)
    }
}

/// From how many records on they are merged while they are collected.
const FIRST_MERGE: usize = 4096;

/// The deleted ranges of a TSM file, by key. Takes the memory of the keys and ranges that differ,
/// and up to as much again while they are collected.
#[derive(Debug, Clone, Default)]
pub struct DeletedRanges {
    /// The bytes of all keys.
    keys: Vec<u8>,
    /// In the order of key and time once collected. Ranges of one key share its bytes.
    entries: Vec<RangeEntry>,
}

#[derive(Debug, Clone, Copy)]
struct RangeEntry {
    /// Where the key begins.
    at: usize,
    length: u16,
    range: DeletedRange,
}

/// [`DeletedRanges`], read along the keys of a file.
#[derive(Debug)]
pub struct InMemory<'a> {
    of_key: &'a [RangeEntry],
    ranges: &'a DeletedRanges,
}

impl Deletes for InMemory<'_> {
    fn begin(&mut self, key: &Key<'_>) -> io::Result<()> {
        self.of_key = self.ranges.entries_of(key.bytes);
        Ok(())
    }

    fn next_range(&mut self) -> io::Result<Option<DeletedRange>> {
        let Some((first, rest)) = self.of_key.split_first() else {
            return Ok(None);
        };
        self.of_key = rest;
        Ok(Some(first.range))
    }
}

impl<'a> FromIterator<(&'a [u8], DeletedRange)> for DeletedRanges {
    fn from_iter<I: IntoIterator<Item = (&'a [u8], DeletedRange)>>(ranges: I) -> Self {
        let mut deletes = Self::default();
        for (key, (min, max)) in ranges {
            deletes.add(TombstoneRecord { key, min, max });
        }
        deletes.merge();
        deletes
    }
}

impl DeletedRanges {
    /// Reads a tombstone file, and says how it ended.
    ///
    /// # Errors
    ///
    /// Those of [`file::read`].
    pub fn read(source: impl Read) -> io::Result<(Self, TombstoneEnding)> {
        let mut deletes = Self::default();
        let mut merge_at = FIRST_MERGE;
        let ending = file::read(source, |record| {
            deletes.add(record);
            // Else a small file could unpack to very many records that say the same.
            if deletes.entries.len() >= merge_at {
                deletes.merge();
                merge_at = FIRST_MERGE.max(2 * deletes.entries.len());
            }
        })?;
        deletes.merge();
        Ok((deletes, ending))
    }

    /// The ranges of a key, ascending; none touches another.
    pub fn of(&self, key: &[u8]) -> impl ExactSizeIterator<Item = DeletedRange> {
        self.entries_of(key).iter().map(|entry| entry.range)
    }

    /// To be read along the keys of a file.
    pub fn reader(&self) -> InMemory<'_> {
        InMemory {
            of_key: &[],
            ranges: self,
        }
    }

    fn entries_of(&self, key: &[u8]) -> &[RangeEntry] {
        let start = self.entries.partition_point(|entry| self.key(entry) < key);
        let count = self.entries[start..].partition_point(|entry| self.key(entry) == key);
        &self.entries[start..start + count]
    }

    /// Bytes of memory that it takes, near enough.
    pub(super) fn bytes(&self) -> usize {
        self.keys.len() + self.entries.len() * size_of::<RangeEntry>()
    }

    /// All ranges with their keys, ascending by key, then by time.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = (&[u8], DeletedRange)> {
        self.entries
            .iter()
            .map(|entry| (self.key(entry), entry.range))
    }

    /// Whether nothing was deleted.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn key(&self, entry: &RangeEntry) -> &[u8] {
        &self.keys[entry.at..][..entry.length.into()]
    }

    pub(super) fn add(&mut self, record: TombstoneRecord<'_>) {
        let TombstoneRecord { key, min, max } = record;
        // No key of a TSM file is longer.
        let Ok(length) = u16::try_from(key.len()) else {
            return;
        };
        if min > max {
            return;
        }
        let at = match self.entries.last() {
            Some(last) if self.key(last) == key => last.at,
            _ => {
                self.keys.extend_from_slice(key);
                self.keys.len() - key.len()
            }
        };
        self.entries.push(RangeEntry {
            at,
            length,
            range: (min, max),
        });
    }

    /// Sorts, joins ranges that touch or overlap, and keeps the bytes of each key once.
    pub(super) fn merge(&mut self) {
        let mut unsorted = std::mem::take(&mut self.entries);
        unsorted.sort_unstable_by(|a, b| (self.key(a), a.range).cmp(&(self.key(b), b.range)));
        let mut merged = Self::default();
        for entry in unsorted {
            let (key, range) = (self.key(&entry), entry.range);
            if let Some(last) = merged.entries.last_mut()
                && merged.keys[last.at..] == *key
                && range.0 <= last.range.1.saturating_add(1)
            {
                last.range.1 = last.range.1.max(range.1);
            } else {
                merged.add(TombstoneRecord {
                    key,
                    min: range.0,
                    max: range.1,
                });
            }
        }
        *self = merged;
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::file::TombstoneWriter;
    use super::*;

    fn read(records: &[(&[u8], i64, i64)]) -> DeletedRanges {
        let mut writer = TombstoneWriter::new(Vec::new()).unwrap();
        for (key, min, max) in records {
            writer
                .record(TombstoneRecord {
                    key,
                    min: *min,
                    max: *max,
                })
                .unwrap();
        }
        DeletedRanges::read(&writer.finish().unwrap()[..])
            .unwrap()
            .0
    }

    fn list(deletes: &DeletedRanges) -> Vec<(&[u8], i64, i64)> {
        deletes
            .iter()
            .map(|(key, range)| (key, range.0, range.1))
            .collect()
    }

    #[test]
    fn ranges_that_touch_become_one_and_keys_ascend() {
        let deletes = read(&[
            (b"b", 5, 9),
            (b"a", 1, 2),
            (b"b", i64::MIN, 4),
            (b"a", 4, 4),
            (b"ab", 7, 8),
            (b"a", 9, 8),
            (b"b", i64::MAX, i64::MAX),
        ]);
        let expected: [(&[u8], _, _); 5] = [
            (b"a", 1, 2),
            (b"a", 4, 4),
            (b"ab", 7, 8),
            (b"b", i64::MIN, 9),
            (b"b", i64::MAX, i64::MAX),
        ];
        assert_eq!(list(&deletes), expected);
        assert_eq!(deletes.of(b"a").collect::<Vec<_>>(), [(1, 2), (4, 4)]);
        assert_eq!(
            (
                deletes.of(b"aa").len(),
                deletes.of(b"").len(),
                deletes.of(b"c").len()
            ),
            (0, 0, 0)
        );
        assert!(!deletes.is_empty() && read(&[]).is_empty());
    }

    #[test]
    fn many_records_that_say_the_same_take_little_memory() {
        let record: (&[u8], i64, i64) = (b"key", 3, 4);
        let other: (&[u8], i64, i64) = (b"other", 3, 4);
        let deletes = read(&[record, other].repeat(5 * FIRST_MERGE));
        assert_eq!(list(&deletes), [record, other]);
        assert!(deletes.entries.capacity() <= 2 * FIRST_MERGE && deletes.keys.capacity() < 1000);
    }

    proptest! {
        #[test]
        fn a_time_is_deleted_where_some_record_deletes_it(
            records in prop::collection::vec((prop::sample::select(vec!["a", "b", "ab"]), -20..20_i64, -20..20_i64), 0..12),
        ) {
            let raw: Vec<(&[u8], i64, i64)> = records.iter().map(|(key, min, max)| (key.as_bytes(), *min, *max)).collect();
            let deletes = read(&raw);
            for key in ["a", "b", "ab"] {
                for time in -21..21_i64 {
                    let expected = records.iter().any(|(of, min, max)| *of == key && (*min..=*max).contains(&time));
                    let found = deletes.of(key.as_bytes()).filter(|(min, max)| (*min..=*max).contains(&time)).count();
                    prop_assert_eq!(found, usize::from(expected));
                }
            }
        }
    }
}
