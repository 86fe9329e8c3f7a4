//! What a statistic says. The types are printed as JSON lines.

use std::cmp::Reverse;
use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::ops::Shortfall;
use crate::ops::gather::GatherDamage;
use crate::repository::SetId;
use crate::shard::ShardPath;
use crate::time::from_nanos;
use crate::tsm::schema::{Amount, Cardinality, FieldTotals, MeasurementTotals};

/// What is in a set, on a server, or in directories.
#[derive(Debug, Default)]
pub struct StatsReport {
    /// The set that was read, where it was one.
    pub set: Option<SetId>,
    /// Shards of which files were read.
    pub shards: usize,
    /// By their names.
    pub databases: Vec<DatabaseStats>,
    /// By database and name.
    pub retention_policies: Vec<PolicyStats>,
    /// By database, policy and name.
    pub measurements: Vec<MeasurementStats>,
    /// What is damaged, and not counted.
    pub damage: Vec<StatsDamage>,
    /// What is not there, and not counted.
    pub missing: Vec<Shortfall>,
    /// How long it took.
    pub elapsed: Duration,
}

/// How much there is of something.
#[derive(Debug, Clone, Default, PartialEq, Serialize, JsonSchema)]
pub struct StatsAmount {
    /// Values of fields that queries see. Without -exact, an estimate.
    pub values: u64,
    /// Values in files that tombstones delete, and that still take their place. Without -exact, an
    /// estimate.
    pub deleted_values: u64,
    /// Blocks in TSM files.
    #[serde(rename = "block_count")]
    pub blocks: u64,
    /// Bytes in TSM files, their share of the indexes included.
    pub size: u64,
    /// The time of the first value that queries see, UTC; null where there is none.
    pub first_time: Option<Timestamp>,
    /// The time of the last value that queries see, UTC; null where there is none.
    pub last_time: Option<Timestamp>,
}

/// A database.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct DatabaseStats {
    /// Its name.
    pub database: String,
    /// Its shards of which files were read.
    pub shards: u64,
    /// Different series, in all of its retention policies.
    pub series: u64,
    /// Whether that is an estimate.
    pub series_is_estimate: bool,
    #[serde(flatten)]
    pub(crate) amount: StatsAmount,
}

/// A retention policy.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct PolicyStats {
    /// The database.
    pub database: String,
    /// Its name.
    pub retention_policy: String,
    /// Its shards of which files were read.
    pub shards: u64,
    /// Its measurements.
    #[serde(rename = "measurement_count")]
    pub measurements: u64,
    /// Different series.
    pub series: u64,
    /// Whether that is an estimate.
    pub series_is_estimate: bool,
    /// As for its measurements.
    pub points: u64,
    #[serde(flatten)]
    pub(crate) amount: StatsAmount,
}

/// A measurement in a retention policy.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct MeasurementStats {
    /// The database.
    pub database: String,
    /// The retention policy.
    pub retention_policy: String,
    /// Its name. Bytes that are no text are replaced.
    pub measurement: String,
    /// Different series.
    pub series: u64,
    /// Whether that is an estimate.
    pub series_is_estimate: bool,
    /// Points, if in each series one field is in all of them: the sum over series of the values of
    /// the field that has most. There are no fewer.
    pub points: u64,
    #[serde(flatten)]
    pub(crate) amount: StatsAmount,
    /// Its fields, by name.
    pub fields: Vec<FieldStats>,
    /// Its tags, those with the most values first.
    pub tags: Vec<TagStats>,
}

/// A field of a measurement.
#[derive(Debug, Clone, PartialEq, Serialize, JsonSchema)]
pub struct FieldStats {
    /// Its name. Bytes that are no text are replaced.
    pub field: String,
    /// Its types, that of most shards first.
    pub types: Vec<FieldType>,
    /// Whether it has several types, and where: shard where files of one shard disagree, shards
    /// where each has one; null where it has one type.
    #[schemars(extend("enum" = ["shard", "shards", null]))]
    pub conflict: Option<&'static str>,
    /// How many shards have it with several types.
    pub conflicting_shard_count: u64,
    /// The ids of the first of those.
    pub conflicting_shard_ids: Vec<u64>,
    #[serde(flatten)]
    pub(crate) amount: StatsAmount,
}

/// A type that a field has.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FieldType {
    /// The type.
    #[serde(rename = "type")]
    #[schemars(extend("enum" = ["float", "integer", "boolean", "string", "unsigned"]))]
    pub name: String,
    /// In how many shards the field has it.
    pub shards: u64,
    /// One of those.
    pub shard: u64,
}

/// A tag of a measurement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct TagStats {
    /// Its name. Bytes that are no text are replaced.
    pub tag: String,
    /// Different values.
    pub values: u64,
    /// Whether that is an estimate.
    pub values_is_estimate: bool,
}

/// Something that is damaged, and not counted.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct StatsDamage {
    /// The database.
    pub database: String,
    /// The retention policy.
    pub retention_policy: String,
    /// The shard.
    pub shard: u64,
    /// The file of the backup; null for a server or a directory.
    pub file: Option<String>,
    /// The TSM or tombstone file; null where it is the tar.
    pub member: Option<String>,
    /// What is wrong.
    pub message: String,
}

impl StatsDamage {
    pub(super) fn new(shard: &ShardPath, damage: GatherDamage) -> Self {
        Self {
            database: shard.database.to_string(),
            retention_policy: shard.retention_policy.to_string(),
            shard: shard.id,
            file: damage.tar,
            member: damage.member,
            message: damage.message,
        }
    }
}

impl StatsAmount {
    pub(super) fn of(amount: &Amount) -> Self {
        Self {
            values: amount.values.round() as u64,
            deleted_values: amount.deleted.round() as u64,
            blocks: amount.blocks,
            size: amount.bytes,
            first_time: amount.times.map(|(first, _)| from_nanos(first)),
            last_time: amount.times.map(|(_, last)| from_nanos(last)),
        }
    }
}

impl MeasurementStats {
    pub(super) fn of(
        database: &str,
        retention_policy: &str,
        name: &[u8],
        totals: &MeasurementTotals,
    ) -> Self {
        let Cardinality { count, is_estimate } = totals.series.cardinality();
        let fields = totals.fields.iter();
        let tags = totals.tags.iter().map(|(tag, values)| {
            let values = values.cardinality();
            TagStats {
                tag: text(tag),
                values: values.count,
                values_is_estimate: values.is_estimate,
            }
        });
        let mut tags: Vec<TagStats> = tags.collect();
        // Of tags with as many values, the order of their names stays.
        tags.sort_by_key(|tag| Reverse(tag.values));
        Self {
            database: database.to_owned(),
            retention_policy: retention_policy.to_owned(),
            measurement: text(name),
            series: count,
            series_is_estimate: is_estimate,
            points: totals.points.round() as u64,
            amount: StatsAmount::of(&totals.amount),
            fields: fields
                .map(|(name, totals)| FieldStats::of(name, totals))
                .collect(),
            tags,
        }
    }
}

impl FieldStats {
    fn of(name: &[u8], totals: &FieldTotals) -> Self {
        let types = totals.types.iter().map(|of| FieldType {
            name: of.value_type.to_string(),
            shards: of.shards,
            shard: of.shard,
        });
        let mut types: Vec<FieldType> = types.collect();
        types.sort_by(|one, other| (other.shards, &one.name).cmp(&(one.shards, &other.name)));
        let conflict = match (totals.mixed_count, types.len()) {
            (1.., _) => Some("shard"),
            (0, 2..) => Some("shards"),
            _ => None,
        };
        Self {
            field: text(name),
            types,
            conflict,
            conflicting_shard_count: totals.mixed_count,
            conflicting_shard_ids: totals.mixed.clone(),
            amount: StatsAmount::of(&totals.amount),
        }
    }
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}
