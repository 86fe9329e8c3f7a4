//! The series of a shard with their fields, by the indexes of its TSM files.

use std::io;

use super::super::fields::TypeSet;
use super::super::index::{ENTRY_BYTES, IndexError, KEY_EXTRA_BYTES, Key};
use super::super::series::{SeriesKey, split_key};
use super::super::tombstone::{BoundedDeletes, Deletes, DeletesReader};
use super::super::values::ValueType;
use super::count::{BlockSource, DamagedBlock, Estimator, ExactCounter, KeyCount};
use super::distinct::{Distinct, HashBudget, hash};
use super::merge::{KeyMerge, MergedKey};
use super::sample::{BlockSample, PointsPerBlock};
use super::spans::{Span, is_left};
use crate::io::read_at::ReadAt;
use crate::time::Bounds;

/// A TSM file of a shard.
pub(crate) struct ShardFile<'a> {
    /// All of it, or, where values are not counted exactly, a copy of its index.
    pub content: &'a dyn ReadAt,
    /// What is deleted of it.
    pub deletes: &'a BoundedDeletes,
    pub sample: &'a BlockSample,
}

/// A series of a shard.
#[derive(Debug, Default)]
pub(crate) struct ShardSeries {
    key: Vec<u8>,
    fields: Vec<ShardField>,
    /// Fields of other series, for their memory.
    spare: Vec<ShardField>,
}

/// A field of a series.
#[derive(Debug, Default)]
pub(super) struct ShardField {
    pub name: Vec<u8>,
    /// The types that its values have in the files, of those that are not all deleted.
    pub types: TypeSet,
    /// Bytes of its blocks and of their entries in indexes are all in it.
    pub count: KeyCount,
}

impl ShardSeries {
    /// The measurement and the tags.
    pub(crate) fn key(&self) -> SeriesKey<'_> {
        split_key(&self.key).0
    }

    /// Counts the series among others.
    pub(crate) fn count_into(&self, series: &mut Distinct, budget: &mut HashBudget) {
        series.add(hash(&self.key), budget);
    }

    /// The fields with values in `bounds` that are not deleted, by their names, and the types that
    /// their values have in the files.
    pub(crate) fn fields_in(
        &self,
        bounds: Bounds,
    ) -> impl Iterator<Item = (&[u8], impl Iterator<Item = ValueType>)> {
        let fields = self.fields.iter().filter(move |field| {
            let times = field.count.times;
            times.is_some_and(|(first, last)| first <= bounds.end && last >= bounds.start)
        });
        fields.map(|field| (field.name.as_slice(), field.types.iter()))
    }

    pub(super) fn fields(&self) -> &[ShardField] {
        &self.fields
    }

    fn begin(&mut self, key: &[u8]) {
        self.key.clear();
        self.key.extend_from_slice(key);
        self.spare.append(&mut self.fields);
    }

    fn add(&mut self, name: &[u8], types: TypeSet, count: KeyCount) {
        let mut field = self.spare.pop().unwrap_or_default();
        field.name.clear();
        field.name.extend_from_slice(name);
        (field.types, field.count) = (types, count);
        self.fields.push(field);
    }
}

/// Goes through the series of a shard.
pub(crate) struct SeriesWalk<'a> {
    files: &'a [ShardFile<'a>],
    deletes: Vec<DeletesReader<'a>>,
    /// What is deleted of a key in each of the files that have it.
    deleted: Vec<Vec<Span>>,
    estimator: Estimator,
    /// How many points the blocks of the series have in each of the files.
    points: Vec<PointsPerBlock>,
    exact: Option<ExactCounter>,
}

impl<'a> SeriesWalk<'a> {
    /// Goes through files in the order of their names. With `exact`, their blocks are read to count
    /// values.
    pub(crate) fn new(files: &'a [ShardFile<'a>], exact: bool) -> Self {
        Self {
            files,
            deletes: files.iter().map(|file| file.deletes.reader()).collect(),
            deleted: Vec::new(),
            estimator: Estimator::default(),
            points: Vec::new(),
            exact: exact.then(ExactCounter::default),
        }
    }

    /// Hands each series that is wanted to `take`, in the order of their keys, and each damaged
    /// block that was to be counted to `tell`.
    ///
    /// # Errors
    ///
    /// The first fault of an index or of reading, and the first error of `take`.
    pub(crate) fn each(
        mut self,
        mut wants: impl FnMut(SeriesKey<'_>) -> bool,
        tell: &mut dyn FnMut(DamagedBlock),
        mut take: impl FnMut(&ShardSeries) -> io::Result<()>,
    ) -> Result<(), IndexError> {
        let mut merge = KeyMerge::open(self.files.iter().map(|file| file.content))?;
        let mut merged = MergedKey::default();
        let mut series = ShardSeries::default();
        let mut is_wanted = false;
        let failed = |source| IndexError::Read { offset: 0, source };
        while merge.next_into(&mut merged)? {
            let (key, field) = split_key(&merged.key);
            if series.key != key.bytes() || series.key.is_empty() {
                if !series.fields.is_empty() {
                    take(&series).map_err(failed)?;
                }
                series.begin(key.bytes());
                is_wanted = wants(key);
                self.points.clear();
                self.points
                    .extend(self.files.iter().map(|file| file.sample.of(key)));
            }
            if !is_wanted {
                continue;
            }
            self.read_deletes(&merged).map_err(failed)?;
            let count = self.count(&merged, tell)?;
            let types = self.types(&merged);
            series.add(field.unwrap_or_default(), types, count);
        }
        if !series.fields.is_empty() {
            take(&series).map_err(failed)?;
        }
        Ok(())
    }

    /// Reads what is deleted of a key.
    fn read_deletes(&mut self, merged: &MergedKey) -> io::Result<()> {
        self.deleted
            .resize_with(merged.files.len().max(self.deleted.len()), Vec::new);
        for (of_file, deleted) in merged.files.iter().zip(&mut self.deleted) {
            deleted.clear();
            let reader = &mut self.deletes[of_file.file];
            reader.begin(&Key {
                bytes: &merged.key,
                value_type: of_file.value_type,
                count: u16::try_from(of_file.entries.len()).unwrap_or(u16::MAX),
            })?;
            while let Some(range) = reader.next_range()? {
                deleted.push(range);
            }
        }
        Ok(())
    }

    fn count(
        &mut self,
        merged: &MergedKey,
        tell: &mut dyn FnMut(DamagedBlock),
    ) -> Result<KeyCount, IndexError> {
        let Self { files, points, .. } = self;
        let mut count = match &mut self.exact {
            None => self
                .estimator
                .count(&merged.files, &self.deleted, |file| points[file]),
            Some(exact) => {
                let contents = |file: usize| files[file].content;
                let mut source = BlockSource {
                    contents: &contents,
                    tell,
                };
                exact.count(&merged.files, &self.deleted, &mut source)?
            }
        };
        for of_file in &merged.files {
            let entries = of_file.entries.len() * ENTRY_BYTES;
            count.bytes += (merged.key.len() + KEY_EXTRA_BYTES + entries) as u64;
        }
        Ok(count)
    }

    /// The types of the values of a key that are not all deleted.
    fn types(&self, merged: &MergedKey) -> TypeSet {
        let mut types = TypeSet::default();
        for (of_file, deleted) in merged.files.iter().zip(&self.deleted) {
            let mut entries = of_file.entries.iter();
            if entries.any(|entry| is_left(entry, deleted)) {
                types.add(of_file.value_type);
            }
        }
        types
    }
}
