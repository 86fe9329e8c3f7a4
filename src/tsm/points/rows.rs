//! The fields of a series joined on time.

use super::super::values::Values;
use super::PointsError;
use super::blocks::BlockStore;
use super::field::FieldPoints;

/// The most rows that are given at a time, and the most of rows times fields.
const MAX_ROWS: usize = 4096;
const MAX_CELLS: usize = 1 << 20;

/// The place of a value that is not there.
const ABSENT: u32 = u32::MAX;

/// Some points of a series, ascending by time.
pub(crate) struct Rows<'r, 'a> {
    /// The times of the points; at least one.
    pub times: &'r [i64],
    fields: &'r [FieldPoints<'a>],
    join: &'r RowJoin,
}

/// The values that a field has in some rows.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Column<'r> {
    /// Which of the fields of the series.
    pub field: usize,
    /// Its values, those of these rows among others; see [`at`](Self::at).
    pub values: &'r Values,
    first: usize,
    /// For each row the place of its value, where not all have one.
    places: Option<&'r [u32]>,
}

impl Column<'_> {
    /// Whether each row has a value, which then lie one behind the other.
    #[cfg(feature = "parquet")]
    pub(crate) fn is_whole(&self) -> bool {
        self.places.is_none()
    }

    /// Which of the values is that of a row; none where the point does not have the field.
    pub(crate) fn at(&self, row: usize) -> Option<usize> {
        match self.places {
            None => Some(self.first + row),
            Some(places) => (places[row] != ABSENT).then(|| self.first + places[row] as usize),
        }
    }
}

impl<'r> Rows<'r, '_> {
    /// The fields that have values in these rows, in the order of the fields.
    pub(crate) fn columns(&self) -> impl ExactSizeIterator<Item = Column<'r>> {
        let (join, fields) = (self.join, self.fields);
        join.columns.iter().map(move |part| {
            let (points, first) = fields[part.field].points();
            let places = part.places;
            Column {
                field: part.field,
                values: &points.values,
                first,
                places: places.map(|start| &join.places[start..][..join.times.len()]),
            }
        })
    }
}

/// Joins fields on time, and keeps the memory for it.
#[derive(Debug, Default)]
pub(super) struct RowJoin {
    times: Vec<i64>,
    /// Memory for the times of the next merge.
    spare: Vec<i64>,
    columns: Vec<JoinedField>,
    places: Vec<u32>,
}

/// What of a field is in the rows.
#[derive(Debug)]
struct JoinedField {
    field: usize,
    /// How many values.
    count: usize,
    /// Where their places begin, if not all rows have one.
    places: Option<usize>,
}

impl RowJoin {
    /// Forgets the rows that were given last.
    pub(super) fn clear(&mut self) {
        self.times.clear();
        self.columns.clear();
    }

    /// The next rows of a series.
    pub(super) fn next<'r, 'a>(
        &'r mut self,
        series: &[u8],
        fields: &'r mut [FieldPoints<'a>],
        store: &mut BlockStore<'a>,
    ) -> Result<Option<Rows<'r, 'a>>, PointsError> {
        for given in &self.columns {
            fields[given.field].advance(given.count);
        }
        self.clear();
        // Up to here, the points of all fields are unpacked.
        let mut end = i64::MAX;
        for field in fields.iter_mut() {
            if field.bound().is_some_and(|bound| bound <= end) {
                field.load(series, store)?;
                end = field.limit().map_or(end, |limit| end.min(limit));
            }
        }
        self.join_times(fields, end);
        if self.times.is_empty() {
            return Ok(None);
        }
        self.place(fields);
        Ok(Some(Rows {
            times: &self.times,
            fields,
            join: self,
        }))
    }

    /// Gathers the times of the rows up to `end`, or as many as are given at a time.
    fn join_times(&mut self, fields: &[FieldPoints<'_>], mut end: i64) {
        let open = fields.iter().filter(|field| starts_by(field, end)).count();
        let most = (MAX_CELLS / open.max(1)).clamp(1, MAX_ROWS);
        for field in fields {
            let times = up_to(field.times(), end);
            if self.times.is_empty() {
                self.times.extend_from_slice(times);
            } else if *times != self.times[..] {
                merge_times(&self.times, times, &mut self.spare);
                std::mem::swap(&mut self.times, &mut self.spare);
            }
            if self.times.len() > most {
                self.times.truncate(most);
                end = self.times[most - 1];
            }
        }
    }

    /// Finds the place of each value in the rows.
    fn place(&mut self, fields: &[FieldPoints<'_>]) {
        self.places.clear();
        let Some(&end) = self.times.last() else {
            return;
        };
        for (number, field) in fields.iter().enumerate() {
            let times = up_to(field.times(), end);
            if times.is_empty() {
                continue;
            }
            let mut places = None;
            // All of them are times of rows.
            if times.len() < self.times.len() {
                places = Some(self.places.len());
                let mut at = 0;
                self.places.extend(self.times.iter().map(|row| {
                    let is_here = times.get(at) == Some(row);
                    at += usize::from(is_here);
                    if is_here { at as u32 - 1 } else { ABSENT }
                }));
            }
            self.columns.push(JoinedField {
                field: number,
                count: times.len(),
                places,
            });
        }
    }
}

fn starts_by(field: &FieldPoints<'_>, end: i64) -> bool {
    field.times().first().is_some_and(|first| *first <= end)
}

/// Those of ascending times that are not after `end`.
fn up_to(times: &[i64], end: i64) -> &[i64] {
    match times.last() {
        Some(last) if *last > end => &times[..times.partition_point(|time| *time <= end)],
        _ => times,
    }
}

/// Puts the times of both, ascending, in the place of those in `merged`.
fn merge_times(mut one: &[i64], mut other: &[i64], merged: &mut Vec<i64>) {
    merged.clear();
    while let (Some(first), Some(second)) = (one.first(), other.first()) {
        merged.push(*first.min(second));
        let (pass_one, pass_other) = (first <= second, second <= first);
        one = &one[usize::from(pass_one)..];
        other = &other[usize::from(pass_other)..];
    }
    merged.extend_from_slice(one);
    merged.extend_from_slice(other);
}
