//! Writing what a WAL leaves into TSM files, as influxd flushes its cache.

use std::io::{self, Write};
use std::path::Path;

use tempfile::{SpooledTempFile, spooled_tempfile_in};

use super::replay::Cache;
use crate::tsm::values::{Points, ValueRef, ValueType, Values};
use crate::tsm::writer::{MAX_FILE_BYTES, MAX_POINTS_PER_BLOCK, WriteError, Writer};

/// Bytes of strings at which a block is cut before it has its thousand points, so that memory is
/// bounded.
const MAX_STRING_BYTES: usize = 1 << 20;
/// How much of an index waits in memory.
const SPOOL_BYTES: usize = 1 << 20;

/// How many types the points of a key have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyTypes {
    /// One, as it must be.
    One,
    /// More, at least for one key. influxd 1.6.7 opens a shard neither with such a WAL nor with
    /// such files.
    Mixed,
}

/// Writes the points of `cache` to as few files as can hold them, one as a rule. More are made for
/// types: the points of a key are of one type in each file; and when a file is full. No two files
/// have a point of the same key and time. `next` is called with the number of files begun so far,
/// and gives the next one; it is not called where there are no points. What is to wait on disk
/// until files are whole waits in `directory`. Says whether points of one key have several types.
///
/// # Errors
///
/// Those of `next`, and when the cache cannot be read or the files cannot be written.
pub fn flush<W, E>(
    cache: Cache,
    directory: &Path,
    next: impl FnMut(usize) -> Result<W, E>,
) -> Result<KeyTypes, E>
where
    W: Write,
    E: From<io::Error> + From<WriteError>,
{
    flush_with(cache, directory, MAX_FILE_BYTES, next)
}

fn flush_with<W, E>(
    cache: Cache,
    directory: &Path,
    limit: u64,
    next: impl FnMut(usize) -> Result<W, E>,
) -> Result<KeyTypes, E>
where
    W: Write,
    E: From<io::Error> + From<WriteError>,
{
    let mut files = TsmFiles {
        next,
        directory,
        limit,
        started: 0,
        key: Vec::new(),
        open: Vec::new(),
        used: 0,
        mixed: false,
    };
    cache.finish(|key, time, value| files.point(key, time, value))?;
    files.finish()
}

/// The files being written.
struct TsmFiles<'a, N, W: Write> {
    next: N,
    directory: &'a Path,
    limit: u64,
    /// How many files were begun.
    started: usize,
    key: Vec<u8>,
    /// A file for each type that points of one key have had.
    open: Vec<Open<W>>,
    /// How many of them have points of this key.
    used: usize,
    /// Whether that was more than one for any key.
    mixed: bool,
}

/// A file being written, and the points of its next block.
struct Open<W: Write> {
    writer: Writer<W, SpooledTempFile>,
    points: Points,
}

impl<N, W, E> TsmFiles<'_, N, W>
where
    N: FnMut(usize) -> Result<W, E>,
    W: Write,
    E: From<io::Error> + From<WriteError>,
{
    fn point(&mut self, key: &[u8], time: i64, value: ValueRef<'_>) -> Result<(), E> {
        if self.key != key {
            self.end_key()?;
            self.key.clear();
            self.key.extend_from_slice(key);
        }
        let at = self.file_for(type_of(value))?;
        if is_full(&self.open[at].points) {
            self.write_block(at)?;
        }
        let Points { times, values } = &mut self.open[at].points;
        times.push(time);
        push(values, value);
        Ok(())
    }

    /// The file that has the key's points of a type.
    fn file_for(&mut self, value_type: ValueType) -> Result<usize, E> {
        let has = |open: &Open<W>| open.points.values.value_type() == value_type;
        if let Some(at) = self.open[..self.used].iter().position(has) {
            return Ok(at);
        }
        let at = self.used;
        if at == self.open.len() {
            let writer = self.begin_file()?;
            self.open.push(Open {
                writer,
                points: Points::new(value_type),
            });
        }
        let open = &mut self.open[at];
        open.points.reset(value_type);
        open.writer.begin_key(&self.key, value_type)?;
        self.used += 1;
        self.mixed |= self.used > 1;
        Ok(at)
    }

    fn begin_file(&mut self) -> Result<Writer<W, SpooledTempFile>, E> {
        let out = (self.next)(self.started)?;
        self.started += 1;
        Ok(
            Writer::with_spool(out, spooled_tempfile_in(SPOOL_BYTES, self.directory))
                .with_limit(self.limit),
        )
    }

    fn write_block(&mut self, at: usize) -> Result<(), E> {
        let Open { writer, points } = &mut self.open[at];
        match writer.points(points) {
            Err(WriteError::Full) => {
                let mut writer = self.begin_file()?;
                let value_type = self.open[at].points.values.value_type();
                writer.begin_key(&self.key, value_type)?;
                writer.points(&self.open[at].points)?;
                std::mem::replace(&mut self.open[at].writer, writer).finish()?;
            }
            written => written?,
        }
        let points = &mut self.open[at].points;
        points.reset(points.values.value_type());
        Ok(())
    }

    fn end_key(&mut self) -> Result<(), E> {
        for at in 0..self.used {
            self.write_block(at)?;
        }
        self.used = 0;
        Ok(())
    }

    fn finish(mut self) -> Result<KeyTypes, E> {
        self.end_key()?;
        for open in self.open {
            open.writer.finish()?;
        }
        Ok(if self.mixed {
            KeyTypes::Mixed
        } else {
            KeyTypes::One
        })
    }
}

fn is_full(points: &Points) -> bool {
    points.len() == MAX_POINTS_PER_BLOCK
        || matches!(&points.values, Values::String(strings) if strings.byte_len() >= MAX_STRING_BYTES)
}

fn type_of(value: ValueRef<'_>) -> ValueType {
    match value {
        ValueRef::Float(_) => ValueType::Float,
        ValueRef::Integer(_) => ValueType::Integer,
        ValueRef::Boolean(_) => ValueType::Boolean,
        ValueRef::String(_) => ValueType::String,
        ValueRef::Unsigned(_) => ValueType::Unsigned,
    }
}

/// Adds a value to values of its type.
fn push(values: &mut Values, value: ValueRef<'_>) {
    match (values, value) {
        (Values::Float(values), ValueRef::Float(value)) => values.push(value),
        (Values::Integer(values), ValueRef::Integer(value)) => values.push(value),
        (Values::Boolean(values), ValueRef::Boolean(value)) => values.push(value),
        (Values::String(values), ValueRef::String(value)) => values.push(value),
        (Values::Unsigned(values), ValueRef::Unsigned(value)) => values.push(value),
        _ => unreachable!("the file was chosen by the value's type"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::tests::{Datum, Logged, LoggedKey, logged};
    use super::*;
    use crate::tsm::file::tests::read_all;

    type Point = (Vec<u8>, i64, Datum);

    /// The files made of a WAL, and the points that it leaves.
    fn made(entries: &[Logged], limit: u64) -> (Vec<Vec<u8>>, Vec<Point>, KeyTypes) {
        let directory = tempfile::tempdir().unwrap();
        let segment: Vec<u8> = entries.iter().flat_map(Logged::bytes).collect();
        let cache = || {
            let mut cache = Cache::new(directory.path(), 4096);
            cache.replay(&segment[..]).unwrap();
            cache
        };
        let mut left = Vec::new();
        let kept: io::Result<()> = cache().finish(|key, time, value| {
            left.push((key.to_vec(), time, value.into()));
            Ok(())
        });
        kept.unwrap();
        let path = |number: usize| directory.path().join(number.to_string());
        let mut count = 0;
        let types: Result<KeyTypes, WriteError> =
            flush_with(cache(), directory.path(), limit, |number| {
                assert_eq!(number, count);
                count += 1;
                Ok(std::fs::File::create(path(number))?)
            });
        (
            (0..count)
                .map(|number| std::fs::read(path(number)).unwrap())
                .collect(),
            left,
            types.unwrap(),
        )
    }

    fn data(values: &Values) -> Vec<Datum> {
        match values {
            Values::Float(values) => values.iter().copied().map(Datum::Float).collect(),
            Values::Integer(values) => values.iter().copied().map(Datum::Integer).collect(),
            Values::Boolean(values) => values.iter().copied().map(Datum::Boolean).collect(),
            Values::String(values) => values
                .iter()
                .map(|value| Datum::String(value.to_vec()))
                .collect(),
            Values::Unsigned(values) => values.iter().copied().map(Datum::Unsigned).collect(),
        }
    }

    /// The points of all files, by key and time.
    fn read(files: &[Vec<u8>]) -> Vec<Point> {
        let mut points = Vec::new();
        for (key, blocks) in files.iter().flat_map(|file| read_all(&file[..]).unwrap()) {
            for Points { times, values } in blocks {
                points.extend(
                    times
                        .into_iter()
                        .zip(data(&values))
                        .map(|(time, value)| (key.clone(), time, value)),
                );
            }
        }
        points.sort_by(|a, b| (&a.0, a.1).cmp(&(&b.0, b.1)));
        points
    }

    fn key(name: &str, times: std::ops::Range<i64>, value: impl Fn(i64) -> Datum) -> LoggedKey {
        (name.into(), times.map(|time| (time, value(time))).collect())
    }

    #[test]
    fn blocks_have_a_thousand_points_or_a_mebibyte_of_strings() {
        let long = |_| Datum::String(vec![b'x'; 300 << 10]);
        let entries = [Logged::Write(vec![
            key("i", 0..2500, Datum::Integer),
            key("s", 0..10, long),
        ])];
        let (files, left, types) = made(&entries, MAX_FILE_BYTES);
        assert_eq!((files.len(), types), (1, KeyTypes::One));
        assert_eq!(read(&files), left);
        let keys = read_all(&files[0][..]).unwrap();
        let counts = |at: usize| keys[at].1.iter().map(Points::len).collect::<Vec<_>>();
        assert_eq!(
            (counts(0), counts(1)),
            (vec![1000, 1000, 500], vec![4, 4, 2])
        );
    }

    #[test]
    fn a_full_file_is_followed_by_another_that_goes_on_with_the_key() {
        let value = |time: i64| {
            Datum::Integer((time * time).wrapping_mul(0x9E37_79B9_7F4A_7C15_u64.cast_signed()))
        };
        let entries = [Logged::Write(vec![
            key("a", 0..9000, value),
            key("b", 0..9000, value),
        ])];
        let (files, left, _) = made(&entries, 20 << 10);
        assert!(files.len() > 3, "{} files", files.len());
        assert_eq!(read(&files), left);
    }

    #[test]
    fn a_key_of_two_types_goes_to_two_files_and_loses_nothing() {
        let entries = [
            Logged::Write(vec![
                key("a", 0..5, Datum::Integer),
                key("b", 0..5, Datum::Integer),
            ]),
            Logged::Write(vec![
                key("a", 3..9, |_| Datum::Boolean(true)),
                key("c", 0..1, |_| Datum::Float(0.5)),
            ]),
        ];
        let (files, left, types) = made(&entries, MAX_FILE_BYTES);
        assert_eq!((files.len(), left.len(), types), (2, 15, KeyTypes::Mixed));
        assert_eq!(read(&files), left);
    }

    #[test]
    fn where_everything_is_deleted_there_is_no_file() {
        let entries = [
            Logged::Write(vec![key("a", 0..5, Datum::Integer)]),
            Logged::Delete(vec![b"a".to_vec()]),
        ];
        assert_eq!(
            made(&entries, MAX_FILE_BYTES),
            (vec![], vec![], KeyTypes::One)
        );
    }

    #[test]
    fn a_float_that_no_block_can_hold_is_an_error() {
        let nan = |_| Datum::Float(f64::from_bits(0x7FF8_0000_0000_0001));
        let directory = tempfile::tempdir().unwrap();
        let mut cache = Cache::new(directory.path(), 4096);
        cache
            .replay(&Logged::Write(vec![key("a", 0..1, nan)]).bytes()[..])
            .unwrap();
        let written: Result<KeyTypes, WriteError> =
            flush(cache, directory.path(), |_| Ok(io::sink()));
        assert!(matches!(written, Err(WriteError::Encode(_))));
    }

    proptest! {
        #[test]
        fn files_hold_what_the_wal_leaves(entries in prop::collection::vec(logged(), 0..12), limit in 60..400_u64) {
            let (files, left, _) = made(&entries, limit);
            prop_assert_eq!(read(&files), left);
        }
    }
}
