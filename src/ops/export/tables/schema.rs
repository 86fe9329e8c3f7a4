//! Which tags and fields the measurements of an export have, before any of it is written.

use std::collections::{BTreeMap, BTreeSet};

use crate::shard::{Name, ShardPath};
use crate::time::Bounds;
use crate::tsm::schema::ShardSeries;
use crate::tsm::values::ValueType;

/// The measurements of an export. It takes memory for each tag and field, and none for series.
#[derive(Debug, Default)]
pub(in crate::ops::export) struct ExportSchema {
    /// By database and policy.
    pub(super) policies: BTreeMap<(Name, Name), PolicySchema>,
}

/// The measurements of a policy by their names, which need not be text.
pub(super) type PolicySchema = BTreeMap<Box<[u8]>, MeasurementSchema>;

#[derive(Debug, Default)]
pub(super) struct MeasurementSchema {
    pub tags: BTreeSet<Box<[u8]>>,
    pub fields: BTreeMap<Box<[u8]>, FieldSchema>,
}

/// The types of a field, and in how many shards it has each.
#[derive(Debug, Default)]
pub(super) struct FieldSchema {
    pub types: BTreeMap<ValueType, TypePlaces>,
}

/// Where a field has a type.
#[derive(Debug)]
pub(super) struct TypePlaces {
    pub shards: u64,
    /// The last shard that was counted.
    pub last: u64,
}

impl ExportSchema {
    /// Adds a series of a shard, as far as it has values in `bounds` that are not deleted.
    pub(in crate::ops::export) fn add(
        &mut self,
        shard: &ShardPath,
        series: &ShardSeries,
        bounds: Bounds,
    ) {
        let mut fields = series.fields_in(bounds).peekable();
        if fields.peek().is_none() {
            return;
        }
        let policy = (shard.database.clone(), shard.retention_policy.clone());
        let measurements = self.policies.entry(policy).or_default();
        let key = series.key();
        let name = key.measurement();
        let measurement = match measurements.get_mut(&*name) {
            Some(measurement) => measurement,
            None => measurements.entry((*name).into()).or_default(),
        };
        for (tag, _) in key.tags() {
            if !measurement.tags.contains(&*tag) {
                measurement.tags.insert((*tag).into());
            }
        }
        for (name, types) in fields {
            let field = match measurement.fields.get_mut(name) {
                Some(field) => field,
                None => measurement.fields.entry(name.into()).or_default(),
            };
            types.for_each(|value_type| field.add(value_type, shard.id));
        }
    }
}

impl FieldSchema {
    fn add(&mut self, value_type: ValueType, shard: u64) {
        let places = self.types.entry(value_type).or_insert(TypePlaces {
            shards: 1,
            last: shard,
        });
        if places.last != shard {
            (places.last, places.shards) = (shard, places.shards + 1);
        }
    }
}
