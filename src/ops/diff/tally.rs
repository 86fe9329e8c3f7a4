//! What was found, added up by measurement.

use std::collections::BTreeMap;

use super::report::{FieldTypeDiff, MeasurementDiff, PointsDiff, SeriesExample, ValueDiff};
use crate::shard::Name;
use crate::time::from_nanos;
use crate::tsm::schema::{Distinct, HashBudget, hash};
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
    measurements: BTreeMap<(PolicyName, Vec<u8>), MeasurementTally>,
    budget: HashBudget,
    /// How many examples were taken.
    examples: usize,
}

impl Tally {
    /// Nothing yet. `contains` says that B may have more than A.
    pub(super) fn new(contains: bool) -> Self {
        Self {
            contains,
            measurements: BTreeMap::new(),
            budget: HashBudget::default(),
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
        let contains = self.contains;
        let left = MOST_EXAMPLES - self.examples;
        let key = (policy.clone(), split_key(series).0.measurement().to_vec());
        let MeasurementTally { diff, counts } = self
            .measurements
            .entry(key)
            .or_insert_with_key(|(policy, measurement)| MeasurementTally::of(policy, measurement));
        let mut adding = AddedSeries {
            series,
            hash: hash(series),
            budget: &mut self.budget,
            left,
        };
        adding.count(&mut counts.all);
        diff.same_points += same;
        diff.same &= in_a == same && (contains || in_b == same);
        adding.add(&mut diff.only_in_a, &mut counts.only_in_a, only_in_a, None);
        adding.add(&mut diff.only_in_b, &mut counts.only_in_b, only_in_b, None);
        adding.add(
            &mut diff.different,
            &mut counts.different,
            different,
            difference,
        );
        if only_in_a.points > 0 && in_b == 0 {
            adding.count(&mut counts.whole_in_a);
        }
        if only_in_b.points > 0 && in_a == 0 {
            adding.count(&mut counts.whole_in_b);
        }
        for (field, [a, b]) in field_types {
            add_field_type(&mut diff.field_types, &field, a, b);
        }
        self.examples = MOST_EXAMPLES - adding.left;
    }

    /// Everything, by policy and measurement.
    pub(super) fn finish(self) -> Vec<MeasurementDiff> {
        let measurements = self.measurements.into_values();
        measurements.map(MeasurementTally::finish).collect()
    }
}

/// What was found of a measurement.
#[derive(Debug)]
struct MeasurementTally {
    diff: MeasurementDiff,
    counts: SeriesCounts,
}

/// The series of a measurement, each once however many shards have it.
#[derive(Debug, Default)]
struct SeriesCounts {
    all: Distinct,
    only_in_a: Distinct,
    only_in_b: Distinct,
    different: Distinct,
    /// Those of which B has no point in a shard.
    whole_in_a: Distinct,
    whole_in_b: Distinct,
}

impl MeasurementTally {
    fn of(policy: &PolicyName, measurement: &[u8]) -> Self {
        Self {
            diff: MeasurementDiff {
                database: policy.database.to_string(),
                retention_policy: policy.retention_policy.to_string(),
                measurement: text(measurement),
                same: true,
                series: 0,
                series_is_estimate: false,
                same_points: 0,
                only_in_a: PointsDiff::default(),
                only_in_b: PointsDiff::default(),
                different: PointsDiff::default(),
                field_types: Vec::new(),
            },
            counts: SeriesCounts::default(),
        }
    }

    fn finish(self) -> MeasurementDiff {
        let Self { mut diff, counts } = self;
        let all = counts.all.cardinality();
        (diff.series, diff.series_is_estimate) = (all.count, all.is_estimate);
        // An estimate of some must not be more than that of all.
        let count = |of: &Distinct| of.cardinality().count.min(all.count);
        diff.only_in_a.series = count(&counts.only_in_a);
        diff.only_in_b.series = count(&counts.only_in_b);
        diff.different.series = count(&counts.different);
        diff.only_in_a.whole_series = count(&counts.whole_in_a);
        diff.only_in_b.whole_series = count(&counts.whole_in_b);
        diff
    }
}

/// A series of a shard that is added to what was found.
struct AddedSeries<'a> {
    series: &'a [u8],
    hash: u64,
    budget: &'a mut HashBudget,
    /// How many more examples can be taken.
    left: usize,
}

impl AddedSeries<'_> {
    fn count(&mut self, to: &mut Distinct) {
        to.add(self.hash, self.budget);
    }

    /// Adds the points of the series, as an example too where few are there yet.
    fn add(
        &mut self,
        to: &mut PointsDiff,
        series: &mut Distinct,
        count: PointCount,
        difference: Option<ValueDiff>,
    ) {
        let Some((first, last)) = count.span else {
            return;
        };
        let (first_time, last_time) = (from_nanos(first), from_nanos(last));
        to.points += count.points;
        self.count(series);
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_series_is_counted_once_however_many_shards_have_it() {
        let policy = PolicyName {
            database: "db".into(),
            retention_policy: "autogen".into(),
        };
        let mut tally = Tally::new(false);
        let mut only_in_a = PointCount::default();
        only_in_a.add(&[1, 2]);
        for _ in 0..3 {
            let found = SeriesDiff {
                same: 5,
                only: [only_in_a, PointCount::default()],
                ..SeriesDiff::default()
            };
            tally.add(&policy, b"m,host=a", found);
            let same = SeriesDiff {
                same: 1,
                ..SeriesDiff::default()
            };
            tally.add(&policy, b"m,host=b", same);
        }
        let [diff] = &tally.finish()[..] else {
            panic!("one measurement");
        };
        assert_eq!((diff.series, diff.same_points), (2, 18));
        let PointsDiff {
            points,
            series,
            whole_series,
            ..
        } = diff.only_in_a;
        assert_eq!((points, series, whole_series), (6, 1, 0));
    }
}
