//! What a comparison found.

use std::fmt;
use std::time::Duration;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use crate::ops::Shortfall;
use crate::repository::SetId;

/// One of the sides that are compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, JsonSchema)]
#[schemars(inline)]
pub enum Side {
    /// The first.
    A,
    /// The second.
    B,
}

impl Side {
    /// Both.
    pub(super) const BOTH: [Self; 2] = [Self::A, Self::B];

    /// The other one.
    pub(super) fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

impl fmt::Display for Side {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::A => "A",
            Self::B => "B",
        })
    }
}

/// What a comparison found.
#[derive(Debug, Clone)]
pub struct DiffReport {
    /// The sets, where sets were compared.
    pub sets: [Option<SetId>; 2],
    /// Shards of each side.
    pub shards: [usize; 2],
    /// Whether it is enough that B has what A has.
    pub contains: bool,
    /// Retention policies that one side has alone.
    pub policies: Vec<PolicyDiff>,
    /// What was compared, by measurement.
    pub measurements: Vec<MeasurementDiff>,
    /// What could not be compared, with the side.
    pub missing: Vec<(Side, Shortfall)>,
    /// How long it took.
    pub elapsed: Duration,
}

impl DiffReport {
    /// Whether the sides are different, as far as they were compared.
    pub fn is_different(&self) -> bool {
        let counts = |side| side == Side::A || !self.contains;
        self.policies.iter().any(|policy| counts(policy.only_in))
            || self.measurements.iter().any(|of| !of.same)
    }
}

/// A retention policy that one side has alone.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PolicyDiff {
    /// The database, as it is called there.
    pub database: String,
    /// The retention policy, as it is called there.
    pub retention_policy: String,
    /// Whether the other side has not even the database.
    pub is_whole_database: bool,
    /// The side that has it.
    pub only_in: Side,
}

/// What was compared of a measurement in a retention policy.
#[derive(Debug, Clone, Serialize, JsonSchema)]
pub struct MeasurementDiff {
    /// The database, as it is called in A.
    pub database: String,
    /// The retention policy, as it is called in A.
    pub retention_policy: String,
    /// The measurement.
    pub measurement: String,
    /// Whether no difference was found; with -contains: in what A has.
    pub same: bool,
    /// Series of both sides, each once.
    #[serde(rename = "series_count")]
    pub series: u64,
    /// Whether the numbers of series are estimates, as there are very many.
    pub series_is_estimate: bool,
    /// Points that are the same on both sides.
    #[serde(rename = "same_point_count")]
    pub same_points: u64,
    /// Points that only A has.
    pub only_in_a: PointsDiff,
    /// Points that only B has.
    pub only_in_b: PointsDiff,
    /// Points that both have, with other fields or values.
    pub different: PointsDiff,
    /// Fields that have other types; not more than a hundred.
    pub field_types: Vec<FieldTypeDiff>,
}

/// Points that differ in one way.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, JsonSchema)]
pub struct PointsDiff {
    /// How many points.
    #[serde(rename = "point_count")]
    pub points: u64,
    /// How many series have any, each once.
    #[serde(rename = "series_count")]
    pub series: u64,
    /// Of how many of these the other side has no point in a shard.
    #[serde(rename = "whole_series_count")]
    pub whole_series: u64,
    /// The time of the first, or null.
    pub first_time: Option<Timestamp>,
    /// The time of the last, or null.
    pub last_time: Option<Timestamp>,
    /// Some of the series.
    pub examples: Vec<SeriesExample>,
}

/// A series that has such points, in one shard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SeriesExample {
    /// Its key: the measurement and the tags, escaped as in line protocol.
    pub series_key: String,
    /// How many such points it has.
    #[serde(rename = "point_count")]
    pub points: u64,
    /// The time of the first of them.
    pub first_time: Timestamp,
    /// What is different at that time; null for points that one side has alone.
    pub difference: Option<ValueDiff>,
}

/// A field that has other values on the two sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ValueDiff {
    /// The field.
    pub field: String,
    /// Its value in A, as in line protocol, and perhaps shortened; null where it has none.
    pub value_in_a: Option<String>,
    /// Its value in B, as in line protocol, and perhaps shortened; null where it has none.
    pub value_in_b: Option<String>,
}

/// A field that has other types on the two sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FieldTypeDiff {
    /// The field.
    pub field: String,
    /// Its type in A.
    pub type_in_a: String,
    /// Its type in B.
    pub type_in_b: String,
}
