//! The series of many shards, added up by measurement.

use std::collections::BTreeMap;

use super::super::fields::TypeSet;
use super::super::series::SeriesKey;
use super::super::values::ValueType;
use super::distinct::{Distinct, HashBudget, hash};
use super::shard::{ShardField, ShardSeries};
use super::spans::Span;

/// How many shards in which a field has several types are named.
const MOST_NAMED: usize = 8;

/// What was counted of the shards of a retention policy.
#[derive(Debug, Default)]
pub(crate) struct Schema {
    /// By their names, which need not be text.
    pub measurements: BTreeMap<Box<[u8]>, MeasurementTotals>,
}

/// What was counted of a measurement.
#[derive(Debug, Default)]
pub(crate) struct MeasurementTotals {
    /// Series that have values which are not deleted.
    pub series: Distinct,
    pub amount: Amount,
    /// Of each series the values of the field that has most.
    pub points: f64,
    pub fields: BTreeMap<Box<[u8]>, FieldTotals>,
    /// How many values each tag has.
    pub tags: BTreeMap<Box<[u8]>, Distinct>,
}

/// How much there is of something.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Amount {
    /// Values that queries see.
    pub values: f64,
    /// Values in files that tombstones delete.
    pub deleted: f64,
    pub blocks: u64,
    /// Bytes in files, their share of the indexes included.
    pub bytes: u64,
    /// The first and the last time that queries see, if any.
    pub times: Option<Span>,
}

/// What was counted of a field.
#[derive(Debug, Default)]
pub(crate) struct FieldTotals {
    pub amount: Amount,
    /// Its types, in the order in which they came.
    pub types: Vec<TypeTotals>,
    /// The first shards in which its values have several types.
    pub mixed: Vec<u64>,
    /// How many there are of those.
    pub mixed_count: u64,
    /// The shard that was counted last, and the types it had there.
    last: Option<(u64, TypeSet)>,
}

/// Where a field has a type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TypeTotals {
    pub value_type: ValueType,
    /// How many shards.
    pub shards: u64,
    /// The first of them that was counted.
    pub shard: u64,
}

impl Schema {
    /// Adds a series of a shard, all series of which come one after the other. Says whether it has
    /// values that are not deleted.
    pub(crate) fn add(
        &mut self,
        shard: u64,
        series: &ShardSeries,
        budget: &mut HashBudget,
    ) -> bool {
        let key = series.key();
        let name = key.measurement();
        let measurement = match self.measurements.get_mut(&*name) {
            Some(measurement) => measurement,
            None => self.measurements.entry((*name).into()).or_default(),
        };
        let mut points = 0.0_f64;
        for field in series.fields() {
            measurement.amount.add(field);
            points = points.max(field.count.values);
            if field.count.times.is_some() {
                let add = |totals: &mut FieldTotals| totals.add(shard, field);
                with_name(&mut measurement.fields, &field.name, add);
            }
        }
        measurement.points += points;
        let is_alive = series
            .fields()
            .iter()
            .any(|field| field.count.times.is_some());
        if is_alive {
            measurement.series.add(hash(key.bytes()), budget);
            measurement.add_tags(key, budget);
        }
        is_alive
    }
}

impl MeasurementTotals {
    fn add_tags(&mut self, key: SeriesKey<'_>, budget: &mut HashBudget) {
        for (tag, value) in key.tags() {
            let add = |values: &mut Distinct| values.add(hash(&value), budget);
            with_name(&mut self.tags, &tag, add);
        }
    }
}

impl Amount {
    fn add(&mut self, field: &ShardField) {
        let count = field.count;
        self.values += count.values;
        self.deleted += count.deleted;
        self.blocks += count.blocks;
        self.bytes += count.bytes;
        self.widen(count.times);
    }

    /// Adds what there is elsewhere.
    pub(crate) fn join(&mut self, other: &Self) {
        self.values += other.values;
        self.deleted += other.deleted;
        self.blocks += other.blocks;
        self.bytes += other.bytes;
        self.widen(other.times);
    }

    fn widen(&mut self, times: Option<Span>) {
        self.times = match (self.times, times) {
            (Some(own), Some(other)) => Some((own.0.min(other.0), own.1.max(other.1))),
            (own, other) => own.or(other),
        };
    }
}

impl FieldTotals {
    fn add(&mut self, shard: u64, field: &ShardField) {
        self.amount.add(field);
        let (of, mut types) = self.last.take().unwrap_or((shard, TypeSet::default()));
        if of != shard {
            types = TypeSet::default();
        }
        let was_mixed = types.are_several();
        for value_type in ValueType::ALL {
            if field.types.has(value_type) && !types.has(value_type) {
                types.add(value_type);
                self.add_type(value_type, shard);
            }
        }
        if types.are_several() && !was_mixed {
            self.mixed_count += 1;
            if self.mixed.len() < MOST_NAMED {
                self.mixed.push(shard);
            }
        }
        self.last = Some((shard, types));
    }

    fn add_type(&mut self, value_type: ValueType, shard: u64) {
        let mut types = self.types.iter_mut();
        match types.find(|totals| totals.value_type == value_type) {
            Some(totals) => totals.shards += 1,
            None => self.types.push(TypeTotals {
                value_type,
                shards: 1,
                shard,
            }),
        }
    }
}

/// Does something with what has a name, which is new where nothing has.
fn with_name<T: Default>(all: &mut BTreeMap<Box<[u8]>, T>, name: &[u8], then: impl FnOnce(&mut T)) {
    // The name is copied only where it is a new one.
    match all.get_mut(name) {
        Some(known) => then(known),
        None => then(all.entry(name.into()).or_default()),
    }
}
