//! Two shards compared, series by series and point by point.

use std::cmp::Ordering;

use anyhow::Result;

use super::report::{Side, ValueDiff};
use super::tally::{PolicyName, SeriesDiff, Tally, text};
use crate::cancel::Cancel;
use crate::tsm::points::{Column, PointsError, Rows, SeriesPoints, ShardPoints, same_points};
use crate::tsm::series::SEPARATOR;
use crate::tsm::sought_series::SoughtMatcher;
use crate::tsm::values::{ValueType, Values};

/// The most characters of a value that are shown.
const MOST_SHOWN: usize = 60;

/// Compares the points of two shards.
pub(super) struct Comparison<'a> {
    pub policy: &'a PolicyName,
    pub matcher: SoughtMatcher<'a>,
    /// Whether B may have more than A.
    pub contains: bool,
    pub tally: &'a mut Tally,
    /// Series that cannot be compared, in words.
    pub told: &'a mut dyn FnMut(String),
    pub cancel: &'a Cancel,
}

impl Comparison<'_> {
    /// Compares all series that are meant.
    ///
    /// # Errors
    ///
    /// When the files cannot be read; when a stop was asked for.
    pub(super) fn run(&mut self, mut a: ShardPoints<'_>, mut b: ShardPoints<'_>) -> Result<()> {
        let (mut in_a, mut in_b) = (a.next_series()?, b.next_series()?);
        loop {
            self.cancel.check()?;
            let order = match (&in_a, &in_b) {
                (None, None) => return Ok(()),
                (Some(_), None) => Ordering::Less,
                (None, Some(_)) => Ordering::Greater,
                (Some(one), Some(other)) => series_order(one.key(), other.key()),
            };
            match order {
                Ordering::Less => {
                    self.one_side(in_a.take(), Side::A)?;
                    in_a = a.next_series()?;
                }
                Ordering::Greater => {
                    self.one_side(in_b.take(), Side::B)?;
                    in_b = b.next_series()?;
                }
                Ordering::Equal => {
                    if let (Some(one), Some(other)) = (in_a.take(), in_b.take()) {
                        self.both_sides(one, other)?;
                    }
                    (in_a, in_b) = (a.next_series()?, b.next_series()?);
                }
            }
        }
    }

    /// Counts a series that one side has alone.
    fn one_side(&mut self, series: Option<SeriesPoints<'_, '_>>, side: Side) -> Result<()> {
        let Some(mut series) = series else {
            return Ok(());
        };
        if !self.takes(&series) {
            return Ok(());
        }
        let key = series.key().to_vec();
        let mut found = SeriesDiff::default();
        while let Some(rows) = series.next_rows()? {
            self.cancel.check()?;
            found.only[side as usize].add(rows.times);
        }
        self.tally.add(self.policy, &key, found);
        Ok(())
    }

    /// Compares a series that both sides have.
    fn both_sides(
        &mut self,
        mut a: SeriesPoints<'_, '_>,
        mut b: SeriesPoints<'_, '_>,
    ) -> Result<()> {
        let is_meant = self.takes(&a) && self.takes(&b);
        if !is_meant {
            return Ok(());
        }
        let key = a.key().to_vec();
        let mut found = SeriesDiff::default();
        match same_points(&mut a, &mut b)? {
            Some(points) => found.same = points,
            None => SeriesComparison::new(&a, &b, self.contains, &mut found).run(
                &mut a,
                &mut b,
                self.cancel,
            )?,
        }
        self.tally.add(self.policy, &key, found);
        Ok(())
    }

    /// Whether a series is meant, and can be compared.
    fn takes(&mut self, series: &SeriesPoints<'_, '_>) -> bool {
        if !self.matcher.takes(series.key()) {
            return false;
        }
        if series.may_be_part() {
            let fields = series.fields().len();
            (self.told)(format!(
                "series {} has {fields} fields or more, too many to be compared",
                text(series.key())
            ));
            return false;
        }
        true
    }
}

/// The order of series in TSM files, which is that of their keys with a field.
fn series_order(one: &[u8], other: &[u8]) -> Ordering {
    let other = other.iter().chain(SEPARATOR);
    one.iter().chain(SEPARATOR).cmp(other)
}

/// A field that one side has, or both.
struct FieldPair {
    name: Vec<u8>,
    /// Which of the fields of the series it is, on each side.
    places: [Option<usize>; 2],
}

/// Compares the points of one series.
struct SeriesComparison<'a> {
    fields: Vec<FieldPair>,
    contains: bool,
    found: &'a mut SeriesDiff,
}

impl<'a> SeriesComparison<'a> {
    fn new(
        a: &SeriesPoints<'_, '_>,
        b: &SeriesPoints<'_, '_>,
        contains: bool,
        found: &'a mut SeriesDiff,
    ) -> Self {
        Self {
            fields: paired(a, b),
            contains,
            found,
        }
    }

    fn run(
        &mut self,
        a: &mut SeriesPoints<'_, '_>,
        b: &mut SeriesPoints<'_, '_>,
        cancel: &Cancel,
    ) -> Result<()> {
        let counts = [a.fields().len(), b.fields().len()];
        let mut in_a = Batch::next(a, counts[0])?;
        let mut in_b = Batch::next(b, counts[1])?;
        loop {
            match (&mut in_a, &mut in_b) {
                (None, None) => return Ok(()),
                (Some(one), None) => self.add_alone(Side::A, one, None),
                (None, Some(other)) => self.add_alone(Side::B, other, None),
                (Some(one), Some(other)) => match one.time().cmp(&other.time()) {
                    Ordering::Less => self.add_alone(Side::A, one, Some(other.time())),
                    Ordering::Greater => self.add_alone(Side::B, other, Some(one.time())),
                    Ordering::Equal => self.compare_equal_times(one, other),
                },
            }
            if in_a.as_ref().is_some_and(Batch::is_over) {
                cancel.check()?;
                drop(in_a);
                in_a = Batch::next(a, counts[0])?;
            }
            if in_b.as_ref().is_some_and(Batch::is_over) {
                cancel.check()?;
                drop(in_b);
                in_b = Batch::next(b, counts[1])?;
            }
        }
    }

    /// Counts the points of a batch that one side has alone: those before a time, or all.
    fn add_alone(&mut self, side: Side, batch: &mut Batch<'_>, before: Option<i64>) {
        let times = batch.times_left();
        let count = match before {
            Some(before) => times.partition_point(|time| *time < before),
            None => times.len(),
        };
        self.found.only[side as usize].add(&times[..count]);
        batch.at += count;
    }

    /// Compares points as long as both have the same times.
    fn compare_equal_times(&mut self, a: &mut Batch<'_>, b: &mut Batch<'_>) {
        let times = a.times_left().iter().zip(b.times_left());
        let count = times.take_while(|(one, other)| one == other).count();
        for _ in 0..count {
            match self.is_same_point(a, b) {
                true => self.found.same += 1,
                false => self.found.different.add(&[a.time()]),
            }
            a.at += 1;
            b.at += 1;
        }
    }

    /// Whether both sides have the same fields and values at the time they stand at. What is
    /// different first is noted.
    fn is_same_point(&mut self, a: &Batch<'_>, b: &Batch<'_>) -> bool {
        let mut is_same = true;
        for pair in &self.fields {
            let [of_a, of_b] = pair.places;
            let (one, other) = (a.value(of_a), b.value(of_b));
            let is_same_value = match (&one, &other) {
                (None, None) => true,
                (None, Some(_)) => self.contains,
                (Some(_), None) => false,
                (Some(one), Some(other)) => one.is_same(other),
            };
            if is_same_value {
                continue;
            }
            is_same = false;
            if let (Some(one), Some(other)) = (&one, &other) {
                note_types(&mut self.found.field_types, &pair.name, one, other);
            }
            self.found.difference.get_or_insert_with(|| ValueDiff {
                field: text(&pair.name),
                value_in_a: one.map(|value| value.shown()),
                value_in_b: other.map(|value| value.shown()),
            });
        }
        is_same
    }
}

/// Notes that a field has other types on the two sides, if it has.
fn note_types(
    noted: &mut Vec<(Vec<u8>, [ValueType; 2])>,
    field: &[u8],
    one: &Value<'_>,
    other: &Value<'_>,
) {
    let types = [one.values.value_type(), other.values.value_type()];
    if types[0] != types[1] && !noted.iter().any(|(name, _)| name == field) {
        noted.push((field.to_vec(), types));
    }
}

/// The fields of both sides, which come in the order of their names.
fn paired(a: &SeriesPoints<'_, '_>, b: &SeriesPoints<'_, '_>) -> Vec<FieldPair> {
    let mut in_a = a.fields().map(|(name, _)| name).enumerate().peekable();
    let mut in_b = b.fields().map(|(name, _)| name).enumerate().peekable();
    let mut pairs = Vec::new();
    loop {
        let next = match (in_a.peek(), in_b.peek()) {
            (None, None) => return pairs,
            (Some((_, one)), Some((_, other))) => one.min(other),
            (Some((_, one)), None) => one,
            (None, Some((_, other))) => other,
        };
        let name = next.to_vec();
        let one = in_a.next_if(|(_, field)| **field == *name);
        let other = in_b.next_if(|(_, field)| **field == *name);
        pairs.push(FieldPair {
            name,
            places: [one.map(|(at, _)| at), other.map(|(at, _)| at)],
        });
    }
}

/// Points of a series that were unpacked together, of which those from `at` on are to be compared.
struct Batch<'r> {
    times: &'r [i64],
    /// By the fields of the series.
    columns: Vec<Option<Column<'r>>>,
    at: usize,
}

impl<'r> Batch<'r> {
    /// The next points of a series of so many fields.
    fn next(
        series: &'r mut SeriesPoints<'_, '_>,
        fields: usize,
    ) -> Result<Option<Self>, PointsError> {
        let rows = series.next_rows()?;
        Ok(rows.map(|rows| Self::of(&rows, fields)))
    }

    fn of(rows: &Rows<'r, '_>, fields: usize) -> Self {
        let mut columns = vec![None; fields];
        for column in rows.columns() {
            columns[column.field] = Some(column);
        }
        Self {
            times: rows.times,
            columns,
            at: 0,
        }
    }

    fn is_over(&self) -> bool {
        self.at == self.times.len()
    }

    fn time(&self) -> i64 {
        self.times[self.at]
    }

    fn times_left(&self) -> &'r [i64] {
        &self.times[self.at..]
    }

    /// The value that a field has at the point it stands at.
    fn value(&self, field: Option<usize>) -> Option<Value<'r>> {
        let column = self.columns[field?]?;
        let at = column.at(self.at)?;
        Some(Value {
            values: column.values,
            at,
        })
    }
}

/// A value of a field.
struct Value<'r> {
    values: &'r Values,
    at: usize,
}

impl Value<'_> {
    /// Whether both are of one type and the same, floats by their bits.
    fn is_same(&self, other: &Self) -> bool {
        let (at, others) = (self.at, other.at);
        match (self.values, other.values) {
            (Values::Float(one), Values::Float(other)) => {
                one[at].to_bits() == other[others].to_bits()
            }
            (Values::Integer(one), Values::Integer(other)) => one[at] == other[others],
            (Values::Unsigned(one), Values::Unsigned(other)) => one[at] == other[others],
            (Values::Boolean(one), Values::Boolean(other)) => one[at] == other[others],
            (Values::String(one), Values::String(other)) => one.get(at) == other.get(others),
            _ => false,
        }
    }

    /// As in line protocol, shortened.
    fn shown(&self) -> String {
        match self.values {
            Values::Float(values) => format!("{:?}", values[self.at]),
            Values::Integer(values) => format!("{}i", values[self.at]),
            Values::Unsigned(values) => format!("{}u", values[self.at]),
            Values::Boolean(values) => values[self.at].to_string(),
            Values::String(values) => shown_string(values.get(self.at)),
        }
    }
}

fn shown_string(bytes: &[u8]) -> String {
    // Enough for so many characters.
    let head = &bytes[..bytes.len().min(4 * MOST_SHOWN)];
    let string = String::from_utf8_lossy(head);
    let shown: String = string.chars().take(MOST_SHOWN).collect();
    let is_all = shown.len() == string.len() && head.len() == bytes.len();
    let escaped = shown.replace('\\', "\\\\").replace('"', "\\\"");
    let more = if is_all { "" } else { "…" };
    format!("\"{escaped}\"{more}")
}

#[cfg(test)]
#[path = "compare_tests.rs"]
mod tests;
