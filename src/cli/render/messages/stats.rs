//! What a set, a server or directories hold, and what takes up space there.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Message, Seconds};
use crate::ops::{DatabaseStats, MeasurementStats, PolicyStats, StatsDamage, StatsReport};
use crate::text::{plural, seconds};

impl Message for DatabaseStats {
    const TYPE: &'static str = "database";
    const TITLE: &'static str = "A database";
}

impl Message for PolicyStats {
    const TYPE: &'static str = "retention_policy";
    const TITLE: &'static str = "A retention policy";
}

impl Message for MeasurementStats {
    const TYPE: &'static str = "measurement";
    const TITLE: &'static str = "A measurement in a retention policy";
}

impl Message for StatsDamage {
    const TYPE: &'static str = "damage";
    const TITLE: &'static str = "Something that is damaged, and not counted";
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct StatsSummary<'a> {
    /// The backup directory as it was given; null for a server or directories.
    directory: Option<&'a str>,
    /// The address of the server, or the data directory of a stopped one; null for a set.
    host: Option<&'a str>,
    /// The id of the set that was read; null for a server or directories.
    set: Option<&'a str>,
    /// Whether values were counted, and not estimated.
    exact: bool,
    /// Shards of which files were read.
    #[serde(rename = "shard_count")]
    shards: usize,
    /// Measurements of all retention policies, those that -top leaves out among them.
    #[serde(rename = "measurement_count")]
    measurements: usize,
    /// How many things are damaged, and not counted.
    #[serde(rename = "damage_count")]
    damage: usize,
    /// What is not there, and not counted, in words.
    missing: Vec<String>,
    /// How long it took, in seconds.
    seconds: Seconds,
}

impl Message for StatsSummary<'_> {
    const TYPE: &'static str = "summary";
    const TITLE: &'static str = "The end; the last line";
}

impl<'a> StatsSummary<'a> {
    pub(crate) fn new(report: &'a StatsReport, place: &'a str, exact: bool) -> Self {
        let is_set = report.set.is_some();
        Self {
            directory: is_set.then_some(place),
            host: (!is_set).then_some(place),
            set: report.set.as_ref().map(|set| set.as_str()),
            exact,
            shards: report.shards,
            measurements: report.measurements.len(),
            damage: report.damage.len(),
            missing: report.missing.iter().map(ToString::to_string).collect(),
            seconds: Seconds(report.elapsed),
        }
    }

    /// The same as a line of text.
    pub(crate) fn line(&self) -> String {
        let set = self.set.map(|set| format!("set {set}, "));
        let damage = (self.damage > 0).then(|| format!(", {} damaged", self.damage));
        let missing =
            (!self.missing.is_empty()).then(|| format!(", {} missing", self.missing.len()));
        format!(
            "{}{}, {}{}{}, {}, {}",
            set.unwrap_or_default(),
            plural(self.shards, "shard"),
            plural(self.measurements, "measurement"),
            damage.unwrap_or_default(),
            missing.unwrap_or_default(),
            seconds(self.seconds.0),
            self.directory.or(self.host).unwrap_or_default()
        )
    }
}

/// What is damaged, in one line.
pub(crate) fn damage_line(damage: &StatsDamage) -> String {
    let StatsDamage {
        database,
        retention_policy,
        shard,
        ..
    } = damage;
    let places = [damage.file.as_deref(), damage.member.as_deref()];
    let places: String = places
        .into_iter()
        .flatten()
        .map(|place| format!("{place}: "))
        .collect();
    format!(
        "damaged, and not counted: {places}{} (shard {database}/{retention_policy}/{shard})",
        damage.message
    )
}
