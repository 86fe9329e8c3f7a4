//! The indexes of the files of a shard, merged: which series comes next, and which blocks its
//! fields have in which files.

use super::super::file::FileError;
use super::super::filter::has_other_type;
use super::super::index::{IndexError, IndexWalk, Key};
use super::super::series::{SEPARATOR, split_key};
use super::super::tombstone::{BoundedDeletes, DeletesReader};
use super::super::values::ValueType;
use super::blocks::{Entries, HELD_ENTRIES, IndexedFile, KeyCursor};
use super::deletes::KeyDeletes;
use super::field::FieldPoints;
use super::{PointsError, PointsFault, PointsFile, PointsFinding, PointsSelection, TellFinding};
use crate::io::read_at::ReadAt;

/// The indexes of the files of a shard.
pub(super) struct ShardIndex<'a> {
    files: Vec<FileIndex<'a>>,
}

/// The index of a file, which stands at a key.
struct FileIndex<'a> {
    file: IndexedFile<'a>,
    /// None behind the last key, and where the index cannot be walked on.
    walk: Option<IndexWalk<'a, dyn ReadAt + 'a>>,
    value_type: ValueType,
    count: u16,
    deletes: &'a BoundedDeletes,
    reader: DeletesReader<'a>,
}

impl<'a> ShardIndex<'a> {
    /// Stands at the first key of each file.
    pub(super) fn open(
        files: &[PointsFile<'a>],
        tell: &mut TellFinding<'_>,
    ) -> Result<Self, PointsError> {
        let mut indexes = Vec::new();
        for file in files {
            let mut index = FileIndex {
                file: IndexedFile {
                    name: file.name,
                    content: file.content,
                    index_offset: 0,
                },
                walk: None,
                value_type: ValueType::Float,
                count: 0,
                deletes: file.deletes,
                reader: file.deletes.reader(),
            };
            match IndexWalk::open(file.content) {
                Ok(walk) => {
                    index.file.index_offset = walk.index_offset();
                    index.walk = Some(walk);
                    index.advance(tell)?;
                }
                Err(error) => index.tell(b"", error, tell)?,
            }
            indexes.push(index);
        }
        Ok(Self { files: indexes })
    }

    /// The files.
    pub(super) fn sources(&self) -> impl ExactSizeIterator<Item = IndexedFile<'a>> {
        self.files.iter().map(|index| index.file)
    }

    /// Puts the key of the next series in the place of what is in `series`; whether there is one.
    pub(super) fn begin_series(&self, series: &mut Vec<u8>) -> bool {
        let Some(key) = self.files.iter().filter_map(FileIndex::key).min() else {
            return false;
        };
        series.clear();
        series.extend_from_slice(split_key(key).0.bytes());
        true
    }

    /// The next field of a series, with its blocks in all files that have any.
    pub(super) fn next_field(
        &mut self,
        series: &[u8],
        selection: &PointsSelection<'a>,
        tell: &mut TellFinding<'_>,
    ) -> Result<Option<FieldPoints<'a>>, PointsError> {
        loop {
            let key = self.files.iter().filter_map(FileIndex::key).min();
            let Some((key, name)) = key.and_then(|key| Some((key, field_of(series, key)?))) else {
                return Ok(None);
            };
            let (key, name) = (key.to_vec(), name.to_vec());
            let mut cursors = Vec::new();
            for (number, file) in self.files.iter_mut().enumerate() {
                if file.key() == Some(&key) {
                    cursors.extend(file.take(number, &key, selection, tell)?);
                }
            }
            if !cursors.is_empty() {
                return Ok(Some(FieldPoints::new(name, cursors)));
            }
        }
    }
}

impl<'a> FileIndex<'a> {
    fn key(&self) -> Option<&[u8]> {
        self.walk.as_ref().map(IndexWalk::key)
    }

    /// Goes on to the next key.
    fn advance(&mut self, tell: &mut TellFinding<'_>) -> Result<(), PointsError> {
        let Some(walk) = &mut self.walk else {
            return Ok(());
        };
        match walk.next_key() {
            Ok(Some(key)) => {
                (self.value_type, self.count) = (key.value_type, key.count);
                return Ok(());
            }
            Ok(None) => {}
            Err(error) => {
                let key = walk.key().to_vec();
                self.tell(&key, error, tell)?;
            }
        }
        self.walk = None;
        Ok(())
    }

    /// The points of the key it stands at, and goes on to the next. None where the key has another
    /// type than its field.
    fn take(
        &mut self,
        number: usize,
        bytes: &[u8],
        selection: &PointsSelection<'a>,
        tell: &mut TellFinding<'_>,
    ) -> Result<Option<KeyCursor<'a>>, PointsError> {
        let key = Key {
            bytes,
            value_type: self.value_type,
            count: self.count,
        };
        let mut cursor = None;
        if !has_other_type(&key, selection.new_types) {
            let entries = self.entries(&key, tell)?;
            let made = KeyDeletes::of(&key, self.deletes, &mut self.reader).and_then(|deletes| {
                KeyCursor::new(number, &key, entries, selection.time_range, deletes)
            });
            cursor = Some(made.map_err(|error| PointsError::new(self.file.name, error))?);
        }
        self.advance(tell)?;
        Ok(cursor)
    }

    /// The blocks of the key it stands at.
    fn entries(
        &mut self,
        key: &Key<'_>,
        tell: &mut TellFinding<'_>,
    ) -> Result<Entries, PointsError> {
        let mut held = Vec::with_capacity(HELD_ENTRIES.min(key.count.into()));
        let Some(walk) = &mut self.walk else {
            return Ok(Entries::new(held, 0, 0));
        };
        while held.len() < HELD_ENTRIES {
            match walk.next_entry() {
                Ok(Some(entry)) => held.push(entry),
                Ok(None) => break,
                Err(error) => {
                    self.walk = None;
                    self.tell(key.bytes, error, tell)?;
                    return Ok(Entries::new(held, 0, 0));
                }
            }
        }
        let left = key.count - held.len() as u16;
        Ok(Entries::new(held, walk.position(), left))
    }

    /// Tells that the index cannot be walked on.
    fn tell(
        &self,
        key: &[u8],
        error: IndexError,
        tell: &mut TellFinding<'_>,
    ) -> Result<(), PointsError> {
        let file = self.file.name;
        match error {
            IndexError::Read { source, .. } => Err(PointsError::new(file, source)),
            error => {
                let fault = PointsFault::Damaged(FileError::Index(error));
                tell(PointsFinding { file, key, fault });
                Ok(())
            }
        }
    }
}

/// The field in a key, if it is one of that series. A key without a field is all series, as influxd
/// has it.
fn field_of<'k>(series: &[u8], key: &'k [u8]) -> Option<&'k [u8]> {
    let rest = key.strip_prefix(series)?;
    match rest.is_empty() {
        true => Some(rest),
        false => rest.strip_prefix(SEPARATOR),
    }
}
