//! What was found, added up by measurement.

use std::collections::BTreeMap;

use super::report::{FieldTypeDiff, MeasurementDiff, PointsDiff, SeriesExample, ValueDiff};
use crate::shard::Name;
use crate::time::from_nanos;
use crate::tsm::series::split_key;
use crate::tsm::values::ValueType;

/// The most examples of one kind of a measurement, and the most of all.
const EXAMPLES: usize = 3;
const MOST_EXAMPLES: usize = 1000;
/// The most fields of other types that are told of a measurement.
const MOST_FIELD_TYPES: usize = 100;

/// A retention policy, as it is called in A.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct PolicyName {
    pub database: Name,
    pub retention_policy: Name,
}

/// Some of the points of a series.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct PointCount {
    pub points: u64,
    /// The times of the first and the last.
    pub span: Option<(i64, i64)>,
}

impl PointCount {
    /// Adds points of these ascending times.
    pub(super) fn add(&mut self, times: &[i64]) {
        if let (Some(&first), Some(&last)) = (times.first(), times.last()) {
            self.points += times.len() as u64;
            self.span = Some((self.span.map_or(first, |(first, _)| first), last));
        }
    }
}

/// What was found of a series.
#[derive(Debug, Default)]
pub(super) struct SeriesDiff {
    pub same: u64,
    /// Those that A and B have alone.
    pub only: [PointCount; 2],
    pub different: PointCount,
    /// What is different at the first of the times at which something is.
    pub difference: Option<ValueDiff>,
    /// Fields that have values of other types at the same time.
    pub field_types: Vec<(Vec<u8>, [ValueType; 2])>,
}

/// What was found, by measurement.
#[derive(Debug)]
pub(super) struct Tally {
    contains: bool,
    measurements: BTreeMap<(PolicyName, Vec<u8>), MeasurementDiff>,
    /// How many examples were taken.
    examples: usize,
}

impl Tally {
    /// Nothing yet. `contains` says that B may have more than A.
    pub(super) fn new(contains: bool) -> Self {
        Self {
            contains,
            measurements: BTreeMap::new(),
            examples: 0,
        }
    }

    /// Adds a series of a policy, with the key that it has in the files.
    pub(super) fn add(&mut self, policy: &PolicyName, series: &[u8], found: SeriesDiff) {
        let SeriesDiff {
            same,
            only: [only_in_a, only_in_b],
            different,
            difference,
            field_types,
        } = found;
        if same + only_in_a.points + only_in_b.points + different.points == 0 {
            return;
        }
        let both = same + different.points;
        let in_a = both + only_in_a.points;
        let in_b = both + only_in_b.points;
        let mut examples = Examples {
            series,
            left: MOST_EXAMPLES - self.examples,
        };
        let contains = self.contains;
        let of = self.of(policy, series);
        of.series += 1;
        of.same_points += same;
        of.same &= in_a == same && (contains || in_b == same);
        examples.add(&mut of.only_in_a, only_in_a, in_b == 0, None);
        examples.add(&mut of.only_in_b, only_in_b, in_a == 0, None);
        examples.add(&mut of.different, different, false, difference);
        for (field, [a, b]) in field_types {
            add_field_type(&mut of.field_types, &field, a, b);
        }
        self.examples = MOST_EXAMPLES - examples.left;
    }

    /// Everything, by policy and measurement.
    pub(super) fn finish(self) -> Vec<MeasurementDiff> {
        self.measurements.into_values().collect()
    }

    fn of(&mut self, policy: &PolicyName, series: &[u8]) -> &mut MeasurementDiff {
        let measurement = split_key(series).0.measurement();
        let key = (policy.clone(), measurement.to_vec());
        self.measurements
            .entry(key)
            .or_insert_with(|| MeasurementDiff {
                database: policy.database.to_string(),
                retention_policy: policy.retention_policy.to_string(),
                measurement: text(&measurement),
                same: true,
                series: 0,
                same_points: 0,
                only_in_a: PointsDiff::default(),
                only_in_b: PointsDiff::default(),
                different: PointsDiff::default(),
                field_types: Vec::new(),
            })
    }
}

/// Takes examples of one series.
struct Examples<'a> {
    series: &'a [u8],
    /// How many more can be taken.
    left: usize,
}

impl Examples<'_> {
    /// Adds the points of the series, as an example too where few are there yet.
    fn add(
        &mut self,
        to: &mut PointsDiff,
        count: PointCount,
        is_whole: bool,
        difference: Option<ValueDiff>,
    ) {
        let Some((first, last)) = count.span else {
            return;
        };
        let (first_time, last_time) = (from_nanos(first), from_nanos(last));
        to.points += count.points;
        to.series += 1;
        to.whole_series += u64::from(is_whole);
        to.first_time = Some(
            to.first_time
                .map_or(first_time, |time| time.min(first_time)),
        );
        to.last_time = to.last_time.max(Some(last_time));
        if to.examples.len() < EXAMPLES && self.left > 0 {
            self.left -= 1;
            to.examples.push(SeriesExample {
                series_key: text(self.series),
                points: count.points,
                first_time,
                difference,
            });
        }
    }
}

fn add_field_type(told: &mut Vec<FieldTypeDiff>, field: &[u8], a: ValueType, b: ValueType) {
    let found = FieldTypeDiff {
        field: text(field),
        type_in_a: a.to_string(),
        type_in_b: b.to_string(),
    };
    if told.len() < MOST_FIELD_TYPES && !told.contains(&found) {
        told.push(found);
    }
}

/// Names are bytes: nobody makes sure that they are UTF-8.
pub(super) fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
