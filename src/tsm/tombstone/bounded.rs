//! What a tombstone file deletes, whatever its size: few ranges in memory, many sorted in a
//! temporary file and read along the keys of the TSM file.
//!
//! In that file each range is the length of its key (2 bytes, 0 where the key is that of the range
//! before), the key, and the first and last time deleted (8 each).

use std::fs::File;
use std::io::{self, BufReader, BufWriter, Read, Write};
use std::path::Path;

use super::super::index::Key;
use super::super::sort::{SortedEvent, Sorter};
use super::file::{self, TombstoneEnding, TombstoneRecord};
use super::ranges::{DeletedRange, DeletedRanges, Deletes, InMemory};
use crate::io::read_at::FromStart;

/// The most bytes of ranges that are held in memory.
const HELD_BYTES: usize = 1 << 20;
/// Bytes in which more of them are sorted.
const SORT_BYTES: usize = 4 << 20;

/// The deleted ranges of a TSM file, by key. Takes a mebibyte of memory at most, and four while
/// they are collected.
#[derive(Debug)]
pub(crate) struct BoundedDeletes(HeldRanges);

#[derive(Debug)]
enum HeldRanges {
    Memory(DeletedRanges),
    File(File),
}

impl Default for BoundedDeletes {
    /// No deletes.
    fn default() -> Self {
        Self(HeldRanges::Memory(DeletedRanges::default()))
    }
}

impl BoundedDeletes {
    /// Reads a tombstone file, and says how it ended. Many ranges are sorted in a file without a
    /// name in `scratch`.
    ///
    /// # Errors
    ///
    /// Those of [`file::read`], and those of files in `scratch`.
    pub(crate) fn read(source: impl Read, scratch: &Path) -> io::Result<(Self, TombstoneEnding)> {
        let mut collector = Collector {
            scratch,
            few: DeletedRanges::default(),
            many: None,
        };
        let ending = file::read_until_error(source, |record| collector.add(record))?;
        Ok((Self(collector.finish()?), ending))
    }

    /// Whether nothing was deleted.
    pub(crate) fn is_empty(&self) -> bool {
        matches!(&self.0, HeldRanges::Memory(ranges) if ranges.is_empty())
    }

    /// To be read along the keys of a file.
    pub(crate) fn reader(&self) -> DeletesReader<'_> {
        DeletesReader(match &self.0 {
            HeldRanges::Memory(ranges) => ReadFrom::Memory(ranges.reader()),
            HeldRanges::File(file) => ReadFrom::File(RangeCursor {
                bytes: BufReader::new(FromStart::new(file)),
                key: Vec::new(),
                range: None,
                started: false,
                is_of_key: false,
            }),
        })
    }
}

struct Collector<'a> {
    scratch: &'a Path,
    few: DeletedRanges,
    many: Option<Sorter>,
}

impl Collector<'_> {
    fn add(&mut self, record: TombstoneRecord<'_>) -> io::Result<()> {
        if let Some(sorter) = &mut self.many {
            return push(sorter, record.key, (record.min, record.max));
        }
        self.few.add(record);
        if self.few.bytes() < HELD_BYTES {
            return Ok(());
        }
        // A small file can unpack to very many records that say the same.
        self.few.merge();
        if self.few.bytes() > HELD_BYTES / 2 {
            let few = std::mem::take(&mut self.few);
            let sorter = self.many.insert(Sorter::new(self.scratch, SORT_BYTES));
            for (key, range) in few.iter() {
                push(sorter, key, range)?;
            }
        }
        Ok(())
    }

    fn finish(mut self) -> io::Result<HeldRanges> {
        let Some(sorter) = self.many else {
            self.few.merge();
            return Ok(HeldRanges::Memory(self.few));
        };
        let mut out = Joined {
            out: BufWriter::new(tempfile::tempfile_in(self.scratch)?),
            key: Vec::new(),
            is_new: true,
            range: None,
        };
        sorter.finish(|key, min, _, event| match event {
            SortedEvent::DeleteTo(max) => out.add(key, (min, max)),
            SortedEvent::Write(_) => Ok(()),
        })?;
        Ok(HeldRanges::File(out.finish()?))
    }
}

fn push(sorter: &mut Sorter, key: &[u8], (min, max): DeletedRange) -> io::Result<()> {
    if min > max {
        return Ok(());
    }
    sorter.push(key, min, SortedEvent::DeleteTo(max))
}

/// Writes ranges that come sorted, joined where they touch.
struct Joined {
    out: BufWriter<File>,
    key: Vec<u8>,
    /// Whether no range of the key was written yet.
    is_new: bool,
    range: Option<DeletedRange>,
}

impl Joined {
    fn add(&mut self, key: &[u8], range: DeletedRange) -> io::Result<()> {
        match &mut self.range {
            Some(last) if self.key == key && range.0 <= last.1.saturating_add(1) => {
                last.1 = last.1.max(range.1);
                return Ok(());
            }
            _ => self.write()?,
        }
        if self.key != key {
            self.key.clear();
            self.key.extend_from_slice(key);
            self.is_new = true;
        }
        self.range = Some(range);
        Ok(())
    }

    fn write(&mut self) -> io::Result<()> {
        let Some((min, max)) = self.range.take() else {
            return Ok(());
        };
        let key = if self.is_new { &self.key[..] } else { &[] };
        self.out.write_all(&(key.len() as u16).to_ne_bytes())?;
        self.out.write_all(key)?;
        self.out.write_all(&min.to_ne_bytes())?;
        self.out.write_all(&max.to_ne_bytes())?;
        self.is_new = false;
        Ok(())
    }

    fn finish(mut self) -> io::Result<File> {
        self.write()?;
        self.out
            .into_inner()
            .map_err(io::IntoInnerError::into_error)
    }
}

/// [`BoundedDeletes`], read along the keys of a file.
#[derive(Debug)]
pub(crate) struct DeletesReader<'a>(ReadFrom<'a>);

#[derive(Debug)]
enum ReadFrom<'a> {
    Memory(InMemory<'a>),
    File(RangeCursor<'a>),
}

impl Deletes for DeletesReader<'_> {
    fn begin(&mut self, key: &Key<'_>) -> io::Result<()> {
        match &mut self.0 {
            ReadFrom::Memory(ranges) => ranges.begin(key),
            ReadFrom::File(cursor) => cursor.begin(key.bytes),
        }
    }

    fn next_range(&mut self) -> io::Result<Option<DeletedRange>> {
        match &mut self.0 {
            ReadFrom::Memory(ranges) => ranges.next_range(),
            ReadFrom::File(cursor) => cursor.next_range(),
        }
    }
}

/// Stands at a range of the file.
#[derive(Debug)]
struct RangeCursor<'a> {
    bytes: BufReader<FromStart<'a, File>>,
    key: Vec<u8>,
    /// The range it stands at, none behind the last.
    range: Option<DeletedRange>,
    started: bool,
    /// Whether that range is of the key that is asked for.
    is_of_key: bool,
}

impl RangeCursor<'_> {
    fn begin(&mut self, key: &[u8]) -> io::Result<()> {
        if !self.started {
            self.started = true;
            self.advance()?;
        }
        while self.range.is_some() && self.key[..] < *key {
            self.advance()?;
        }
        self.is_of_key = self.range.is_some() && self.key == key;
        Ok(())
    }

    fn next_range(&mut self) -> io::Result<Option<DeletedRange>> {
        if !self.is_of_key {
            return Ok(None);
        }
        let range = self.range;
        self.is_of_key = !self.advance()? && self.range.is_some();
        Ok(range)
    }

    /// Goes on to the next range; whether that is of another key.
    fn advance(&mut self) -> io::Result<bool> {
        let mut length = [0; 2];
        match self.bytes.read(&mut length[..1])? {
            0 => {
                self.range = None;
                return Ok(true);
            }
            _ => self.bytes.read_exact(&mut length[1..])?,
        }
        let length = usize::from(u16::from_ne_bytes(length));
        if length > 0 {
            self.key.resize(length, 0);
            self.bytes.read_exact(&mut self.key)?;
        }
        let mut times = [[0; 8]; 2];
        for time in &mut times {
            self.bytes.read_exact(time)?;
        }
        let [min, max] = times.map(i64::from_ne_bytes);
        self.range = Some((min, max));
        Ok(length > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::values::ValueType;
    use super::super::file::TombstoneWriter;
    use super::*;

    /// A tombstone file.
    fn file(records: impl Iterator<Item = (Vec<u8>, i64, i64)>) -> Vec<u8> {
        let mut writer = TombstoneWriter::new(Vec::new()).unwrap();
        for (key, min, max) in records {
            writer
                .record(TombstoneRecord {
                    key: &key,
                    min,
                    max,
                })
                .unwrap();
        }
        writer.finish().unwrap()
    }

    /// What is deleted from keys that are asked for in ascending order, but for those of which only
    /// the first range is read.
    fn ranges(deletes: &mut impl Deletes, keys: &[(Vec<u8>, bool)]) -> Vec<Vec<DeletedRange>> {
        let ranges = keys.iter().map(|(key, all)| {
            deletes
                .begin(&Key {
                    bytes: key,
                    value_type: ValueType::Float,
                    count: 1,
                })
                .unwrap();
            let mut of_key = Vec::new();
            while let Some(range) = deletes.next_range().unwrap() {
                of_key.push(range);
                if !all {
                    break;
                }
            }
            of_key
        });
        ranges.collect()
    }

    #[test]
    fn many_ranges_go_to_a_file_and_are_the_same_as_in_memory() {
        let scratch = tempfile::tempdir().unwrap();
        // In no order, with ranges that touch, overlap, say nothing or say what was said before.
        let records = |count: i64| {
            (0..count).map(|nth| {
                let key = nth * 7919 % 4001;
                let min = nth * 31 % 1000;
                (
                    format!("m,h={key}#!~#v").into_bytes(),
                    min,
                    min + nth % 5 - 1,
                )
            })
        };
        let mut keys: Vec<(Vec<u8>, bool)> = (0..4010)
            .map(|key| (format!("m,h={key}#!~#v").into_bytes(), key % 3 > 0))
            .collect();
        keys.push((b"a".to_vec(), true));
        keys.push((b"z".to_vec(), true));
        keys.sort();
        for count in [0, 10, 100_000] {
            let file = file(records(count));
            let (expected, _) = DeletedRanges::read(&file[..]).unwrap();
            let (found, ending) = BoundedDeletes::read(&file[..], scratch.path()).unwrap();
            assert_eq!(ending, TombstoneEnding::Clean);
            assert_eq!(matches!(found.0, HeldRanges::File(_)), count == 100_000);
            assert_eq!(found.is_empty(), count == 0);
            let expected = ranges(&mut expected.reader(), &keys);
            assert!(ranges(&mut found.reader(), &keys) == expected, "{count}");
            assert!(ranges(&mut found.reader(), &keys) == expected, "{count}");
        }
        assert_eq!(scratch.path().read_dir().unwrap().count(), 0);
    }

    #[test]
    fn many_records_that_say_the_same_stay_in_memory() {
        let key = |nth: usize| vec![b'a' + (nth % 2) as u8; 300];
        let file = file((0..20_000).map(|nth| (key(nth), 3, 4)));
        let (found, _) =
            BoundedDeletes::read(&file[..], Path::new("/nowhere")).expect("no file is made");
        let expected = vec![vec![(3, 4)]; 2];
        let keys = [(key(0), true), (key(1), true)];
        assert_eq!(ranges(&mut found.reader(), &keys), expected);
    }

    #[test]
    fn a_scratch_directory_that_is_not_there_ends_the_reading() {
        let file = file((0..100_000).map(|nth| (format!("m,h={nth}#!~#v").into_bytes(), 3, 4)));
        assert!(BoundedDeletes::read(&file[..], Path::new("/nowhere")).is_err());
    }
}
