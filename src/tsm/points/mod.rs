//! The points of a shard as a query sees them: series by series in the order of their keys, the
//! fields of a series joined on time, merged over TSM files that overlap, without what was deleted.
//!
//! A [`PointsWalk`] finds the series, and [`PointsReader`]s read them, one at a time each; a
//! [`ShardPoints`] does both. [`index`] merges the indexes of the files, so that the keys of a
//! series are found together. [`blocks`] unpacks the blocks of one key of one file, [`field`] merges
//! those of one field over the files, where of two values at one time that of the later file wins,
//! and [`rows`] joins the fields. [`same_blocks`] compares two series without unpacking them.
//!
//! Nothing is unpacked before its time has come, and no more than one block of each key and file at
//! a time; where a series has so many fields that this would be much, only pieces of the blocks are
//! held, and the rest of a block is unpacked again.
//!
//! The order is that of the keys in the files, `series#!~#field`. In it, a measurement's series
//! without tags can stand apart from those with tags: `m$` comes after `m` and before `m,t=v`.

mod blocks;
mod deletes;
mod field;
mod index;
mod rows;
mod same_blocks;

use std::fmt;
use std::io;

use thiserror::Error;

use super::check::key_in_words;
use super::file::FileError;
use super::filter::NewTypes;
use super::tombstone::BoundedDeletes;
use super::values::ValueType;
use crate::io::read_at::ReadAt;
use crate::time::Bounds;
use blocks::{BlockStore, KeyCursor};
use field::FieldPoints;
use index::ShardIndex;
use rows::RowJoin;

pub(crate) use rows::{Column, Rows};
pub(crate) use same_blocks::same_points;

/// The most fields that are joined. A series with more is given in parts of so many fields each.
const MAX_FIELDS: usize = 1 << 14;

/// A TSM file of a shard.
pub(crate) struct PointsFile<'a> {
    /// Its name, which says which files come later.
    pub name: &'a str,
    pub content: &'a dyn ReadAt,
    /// What was deleted of it.
    pub deletes: &'a BoundedDeletes,
}

/// Which points of the files are given.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PointsSelection<'a> {
    /// The fields that have a type of which alone their values are given.
    pub new_types: &'a NewTypes,
    pub time_range: Bounds,
}

/// Something that keeps values of a key from being given; all others are.
#[derive(Debug)]
pub(crate) struct PointsFinding<'a> {
    /// The name of the file.
    pub file: &'a str,
    /// The key, `series#!~#field`; empty where the file cannot be read at all.
    pub key: &'a [u8],
    pub fault: PointsFault,
}

/// What keeps values from being given.
#[derive(Debug, Error)]
pub(crate) enum PointsFault {
    /// A block is damaged, or the index, which leaves out all that comes behind.
    #[error(transparent)]
    Damaged(#[from] FileError),
    /// A later file has values of another type for the key, and a field has one type.
    #[error("its values of type {found} are left out, as a later file has it as {kept}")]
    OtherType { found: ValueType, kept: ValueType },
}

impl fmt::Display for PointsFinding<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { file, key, fault } = self;
        match key.is_empty() {
            true => write!(f, "{file}: {fault}"),
            false => write!(f, "{file}, {}: {fault}", key_in_words(key)),
        }
    }
}

/// Why points cannot be read on: the system failed, and nothing is known of the files.
#[derive(Debug, Error)]
#[error("reading {file}")]
pub(crate) struct PointsError {
    /// The name of the file.
    pub file: String,
    pub source: io::Error,
}

impl PointsError {
    fn new(file: &str, source: io::Error) -> Self {
        let file = file.to_owned();
        Self { file, source }
    }
}

/// Whoever is told what keeps points from being given.
type TellFinding<'t> = dyn FnMut(PointsFinding<'_>) + 't;

/// Walks the series of a shard in the order of their keys, by the indexes alone. What it gives can be
/// read by several [`PointsReader`]s.
pub(crate) struct PointsWalk<'a> {
    index: ShardIndex<'a>,
    selection: PointsSelection<'a>,
}

/// A series of which nothing was read yet but where its blocks are.
#[derive(Debug, Default)]
pub(crate) struct SeriesFields<'a> {
    key: Vec<u8>,
    fields: Vec<FieldPoints<'a>>,
    /// Whether these are as many as are joined.
    is_full: bool,
}

/// Unpacks the points of one series after the other.
pub(crate) struct PointsReader<'a> {
    blocks: BlockStore<'a>,
    series: SeriesFields<'a>,
    join: RowJoin,
}

/// Reads the points of a shard.
pub(crate) struct ShardPoints<'a> {
    walk: PointsWalk<'a>,
    reader: PointsReader<'a>,
}

impl<'a> PointsWalk<'a> {
    /// Walks the series of `files`, in whatever order these come. What keeps points from being given
    /// is told to `tell`.
    ///
    /// # Errors
    ///
    /// When the system fails.
    pub(crate) fn open(
        mut files: Vec<PointsFile<'a>>,
        selection: PointsSelection<'a>,
        tell: &mut TellFinding<'_>,
    ) -> Result<Self, PointsError> {
        files.sort_by_key(|file| file.name);
        let index = ShardIndex::open(&files, tell)?;
        Ok(Self { index, selection })
    }

    /// The next series, none after the last. One with more fields than are joined comes in parts, one
    /// after the other.
    ///
    /// # Errors
    ///
    /// When the system fails.
    pub(crate) fn next_series(
        &mut self,
        tell: &mut TellFinding<'_>,
    ) -> Result<Option<SeriesFields<'a>>, PointsError> {
        let mut series = SeriesFields::default();
        if !self.index.begin_series(&mut series.key) {
            return Ok(None);
        }
        while series.fields.len() < MAX_FIELDS
            && let Some(field) = (self.index).next_field(&series.key, &self.selection, tell)?
        {
            series.fields.push(field);
        }
        series.is_full = series.fields.len() == MAX_FIELDS;
        Ok(Some(series))
    }
}

impl SeriesFields<'_> {
    /// The key of the series: the measurement and the tags, as they stand in the files.
    pub(crate) fn key(&self) -> &[u8] {
        &self.key
    }

    /// How many fields there are in how many files, each counted on its own.
    pub(crate) fn cursors(&self) -> usize {
        self.fields.iter().map(FieldPoints::cursors).sum()
    }

    /// How many blocks there are.
    pub(crate) fn blocks(&self) -> usize {
        let keys = self.fields.iter().flat_map(FieldPoints::keys);
        keys.map(KeyCursor::blocks_left).sum()
    }

    /// Whether these may not be all of its fields: the others come next, under the same key.
    pub(crate) fn may_be_part(&self) -> bool {
        self.is_full
    }
}

impl<'a> PointsReader<'a> {
    /// Reads series that a walk gives. What keeps points from being given is told to `tell`.
    pub(crate) fn new(walk: &PointsWalk<'a>, tell: &'a mut TellFinding<'a>) -> Self {
        Self {
            blocks: BlockStore::new(walk.index.sources(), tell),
            series: SeriesFields::default(),
            join: RowJoin::default(),
        }
    }

    /// Turns to a series. What was not asked for of the one before is passed over, and not unpacked.
    ///
    /// # Errors
    ///
    /// When the system fails.
    pub(crate) fn begin(
        &mut self,
        series: SeriesFields<'a>,
    ) -> Result<SeriesPoints<'_, 'a>, PointsError> {
        self.join.clear();
        self.series = series;
        self.blocks.share_among(self.series.cursors());
        let SeriesFields { key, fields, .. } = &mut self.series;
        let mut at = 0;
        while at < fields.len() {
            match fields[at].settle_type(key, &mut self.blocks)? {
                true => at += 1,
                false => drop(fields.remove(at)),
            }
        }
        Ok(SeriesPoints { reader: self })
    }
}

impl<'a> ShardPoints<'a> {
    /// Reads the points of `files`, in whatever order these come. What keeps points from being
    /// given is told to `tell`.
    ///
    /// # Errors
    ///
    /// When the system fails.
    pub(crate) fn open(
        files: Vec<PointsFile<'a>>,
        selection: PointsSelection<'a>,
        tell: &'a mut TellFinding<'a>,
    ) -> Result<Self, PointsError> {
        let walk = PointsWalk::open(files, selection, tell)?;
        let reader = PointsReader::new(&walk, tell);
        Ok(Self { walk, reader })
    }

    /// The next series, none after the last. What was not asked for of the one before is passed
    /// over, and not unpacked.
    ///
    /// # Errors
    ///
    /// When the system fails.
    pub(crate) fn next_series(&mut self) -> Result<Option<SeriesPoints<'_, 'a>>, PointsError> {
        match self.walk.next_series(self.reader.blocks.tell)? {
            Some(series) => self.reader.begin(series).map(Some),
            None => Ok(None),
        }
    }
}

/// The points of one series.
pub(crate) struct SeriesPoints<'s, 'a> {
    reader: &'s mut PointsReader<'a>,
}

impl<'a> SeriesPoints<'_, 'a> {
    /// Its key: the measurement and the tags, as they stand in the files.
    pub(crate) fn key(&self) -> &[u8] {
        self.reader.series.key()
    }

    /// Whether these may not be all of its fields: the others come as another series of this key.
    pub(crate) fn may_be_part(&self) -> bool {
        self.reader.series.may_be_part()
    }

    /// The names and types of its fields, in the order of their names. Of some, all values may be
    /// deleted, or lie at times that are not asked for.
    pub(crate) fn fields(&self) -> impl ExactSizeIterator<Item = (&[u8], ValueType)> {
        let fields = self.reader.series.fields.iter();
        fields.map(|field| (field.name(), field.value_type()))
    }

    /// Its next points, ascending by time; none after the last.
    ///
    /// # Errors
    ///
    /// When the system fails.
    pub(crate) fn next_rows(&mut self) -> Result<Option<Rows<'_, 'a>>, PointsError> {
        let reader = &mut *self.reader;
        let SeriesFields { key, fields, .. } = &mut reader.series;
        (reader.join).next(key, fields, &mut reader.blocks)
    }
}

#[cfg(test)]
pub(crate) mod test_file;
#[cfg(test)]
mod tests;
