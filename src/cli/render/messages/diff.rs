//! What was found different between two sides.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Message, Seconds};
use crate::ops::{DiffReport, MeasurementDiff, PolicyDiff, SeriesExample, Side};
use crate::text::{plural, seconds};

impl Message for MeasurementDiff {
    const TYPE: &'static str = "measurement";
    const TITLE: &'static str = "A measurement in a retention policy, the same or not";
}

impl Message for PolicyDiff {
    const TYPE: &'static str = "retention_policy";
    const TITLE: &'static str = "A retention policy that one side has alone";
}

/// Where a side is.
#[derive(Debug, Clone, Serialize, JsonSchema)]
#[schemars(inline)]
pub(crate) struct SidePlace {
    /// The backup directory as it was given; null for a server or directories.
    pub(crate) directory: Option<String>,
    /// The address of the server, or the data directory of a stopped one; null for a set.
    pub(crate) host: Option<String>,
    /// The id of the set; null for a server or directories.
    pub(crate) set: Option<String>,
    /// How many of its shards were compared.
    #[serde(rename = "shard_count")]
    pub(crate) shards: usize,
}

impl SidePlace {
    /// In words.
    pub(crate) fn words(&self) -> String {
        let place = self.directory.as_ref().or(self.host.as_ref());
        let place = place.map(String::as_str).unwrap_or_default();
        match &self.set {
            Some(set) => format!("set {set}, {place}"),
            None => place.to_owned(),
        }
    }
}

/// What came of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum DiffState {
    /// All was compared, and no difference found: exit code 0.
    Same,
    /// All was compared, and differences found: exit code 1.
    Different,
    /// Not all could be compared, whatever was found: exit code 3.
    Incomplete,
}

// How many points of A and B are the same, and how many are not. No documentation comment: it would
// become the description of each message that has them.
#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[schemars(inline)]
pub(crate) struct PointCounts {
    /// Series of both sides, each once in a retention policy.
    #[serde(rename = "series_count")]
    series: u64,
    /// Whether that is an estimate, as there are very many.
    series_is_estimate: bool,
    /// Points that are the same on both sides.
    #[serde(rename = "same_point_count")]
    pub(crate) same: u64,
    /// Points that only A has.
    #[serde(rename = "only_in_a_point_count")]
    only_in_a: u64,
    /// Points that only B has.
    #[serde(rename = "only_in_b_point_count")]
    only_in_b: u64,
    /// Points that both have, with other fields or values.
    #[serde(rename = "different_point_count")]
    different: u64,
}

impl PointCounts {
    /// Those of all measurements.
    pub(crate) fn of(measurements: &[MeasurementDiff]) -> Self {
        let sum = |count: fn(&MeasurementDiff) -> u64| measurements.iter().map(count).sum();
        Self {
            series: sum(|of| of.series),
            series_is_estimate: measurements.iter().any(|of| of.series_is_estimate),
            same: sum(|of| of.same_points),
            only_in_a: sum(|of| of.only_in_a.points),
            only_in_b: sum(|of| of.only_in_b.points),
            different: sum(|of| of.different.points),
        }
    }

    /// How many series, marked where that is an estimate.
    pub(crate) fn series(&self) -> String {
        let mark = if self.series_is_estimate { "~" } else { "" };
        format!("{mark}{} series", self.series)
    }

    /// Whether all points are the same.
    fn are_same(&self) -> bool {
        self.only_in_a + self.only_in_b + self.different == 0
    }

    /// `3 points only in A, 1 point different, `: those that are not the same, with words for the
    /// sides.
    pub(crate) fn differences(&self, [a, b]: [&str; 2]) -> String {
        let counts = [
            (self.only_in_a, format!("only in {a}")),
            (self.only_in_b, format!("only in {b}")),
            (self.different, "different".to_owned()),
        ];
        let counts = counts.into_iter().filter(|(count, _)| *count > 0);
        counts
            .map(|(count, what)| format!("{} {what}, ", plural(count, "point")))
            .collect()
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct DiffSummary<'a> {
    /// What was run.
    #[schemars(extend("const" = "diff"))]
    command: &'static str,
    /// What came of it.
    pub(crate) state: DiffState,
    /// Whether differences were found.
    has_differences: bool,
    /// Whether B may have more than A: -contains.
    contains: bool,
    /// The first side.
    a: &'a SidePlace,
    /// The second side.
    b: &'a SidePlace,
    #[serde(flatten)]
    counts: PointCounts,
    /// Retention policies that one side has alone.
    #[serde(rename = "one_sided_retention_policy_count")]
    policies: usize,
    /// What is damaged or missing, and was not compared, a sentence each; empty but for exit code
    /// 3.
    missing: Vec<String>,
    /// How long it took, in seconds.
    seconds: Seconds,
}

impl Message for DiffSummary<'_> {
    const TYPE: &'static str = "summary";
    const TITLE: &'static str = "The end; the last line";
}

impl<'a> DiffSummary<'a> {
    pub(crate) fn new(report: &'a DiffReport, [a, b]: &'a [SidePlace; 2]) -> Self {
        let different = report.is_different();
        let missing = report.missing.iter();
        Self {
            command: "diff",
            state: match (report.missing.is_empty(), different) {
                (false, _) => DiffState::Incomplete,
                (true, true) => DiffState::Different,
                (true, false) => DiffState::Same,
            },
            has_differences: different,
            contains: report.contains,
            a,
            b,
            counts: PointCounts::of(&report.measurements),
            policies: report.policies.len(),
            missing: missing
                .map(|(side, what)| format!("{side}: {what}"))
                .collect(),
            seconds: Seconds(report.elapsed),
        }
    }

    /// Whether there were no points at all.
    pub(crate) fn is_empty(&self) -> bool {
        self.counts.series == 0 && self.missing.is_empty()
    }

    /// The same as a line of text.
    pub(crate) fn line(&self) -> String {
        let verdict = match (self.state, self.has_differences, self.contains) {
            (DiffState::Same, _, false) => "same",
            (DiffState::Same, _, true) => "B has all of A",
            (DiffState::Different, _, false) => "different",
            (DiffState::Different, _, true) => "B lacks some of A",
            (DiffState::Incomplete, true, _) => "not all was compared, and there are differences",
            (DiffState::Incomplete, false, _) => "not all was compared; no difference in the rest",
        };
        let faults = match self.missing.len() {
            0 => String::new(),
            count => format!("{}, ", plural(count, "fault")),
        };
        let same = match self.counts.are_same() {
            true => "",
            false => " the same,",
        };
        format!(
            "{verdict}: {faults}{}{}{same} in {}; {} of A, {} of B, {}",
            self.counts.differences(["A", "B"]),
            plural(self.counts.same, "point"),
            self.counts.series(),
            plural(self.a.shards, "shard"),
            plural(self.b.shards, "shard"),
            seconds(self.seconds.0)
        )
    }
}

/// A policy that one side has alone, in words.
pub(crate) fn policy_line(policy: &PolicyDiff) -> String {
    let PolicyDiff {
        database,
        retention_policy,
        ..
    } = policy;
    match policy.is_whole_database {
        true => format!(
            "database '{database}' is only in {} (retention policy '{retention_policy}')",
            policy.only_in
        ),
        false => format!(
            "retention policy '{retention_policy}' of database '{database}' is only in {}",
            policy.only_in
        ),
    }
}

/// Some of the series of a measurement that make a difference, in words.
pub(crate) fn example_lines(of: &MeasurementDiff, contains: bool) -> Vec<String> {
    let policy = format!("{}.{}", of.database, of.retention_policy);
    let one_sided = |side: Side, examples: &[SeriesExample]| -> Vec<String> {
        let line = |example: &SeriesExample| {
            format!("only in {side}: {policy}: {}", example_words(example))
        };
        examples.iter().map(line).collect()
    };
    let different = of.different.examples.iter().map(|example| {
        let values = example.difference.as_ref().map(|values| {
            let shown = |value: &Option<String>| value.clone().unwrap_or_else(|| "none".to_owned());
            format!(
                ": {} is {} in A, {} in B",
                values.field,
                shown(&values.value_in_a),
                shown(&values.value_in_b)
            )
        });
        format!(
            "different: {policy}: {}{}",
            example_words(example),
            values.unwrap_or_default()
        )
    });
    let types = of.field_types.iter().map(|types| {
        format!(
            "types: {policy}: field '{}' of measurement '{}' is {} in A, {} in B",
            types.field, of.measurement, types.type_in_a, types.type_in_b
        )
    });
    let alone = [
        one_sided(Side::A, &of.only_in_a.examples),
        match contains {
            true => Vec::new(),
            false => one_sided(Side::B, &of.only_in_b.examples),
        },
    ];
    alone
        .into_iter()
        .flatten()
        .chain(different)
        .chain(types)
        .collect()
}

fn example_words(example: &SeriesExample) -> String {
    let when = match example.points {
        1 => "at",
        _ => "from",
    };
    format!(
        "{}, {} {when} {}",
        example.series_key,
        plural(example.points, "point"),
        example.first_time
    )
}
