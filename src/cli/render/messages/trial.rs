//! What came of a restore on trial.

use schemars::JsonSchema;
use serde::Serialize;

use super::diff::PointCounts;
use super::{Message, Seconds};
use crate::error::ErrorKind;
use crate::ops::{DiffReport, TrialReport};
use crate::text::{few_names, plural, size};

/// What came of restoring a set and comparing it with what was restored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum TrialState {
    /// All was restored, and is what the set has.
    Same,
    /// What was restored is not what the set has.
    Different,
    /// Something of the set is missing or damaged; no difference in the rest.
    Incomplete,
    /// Nothing was restored.
    NotRestored,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct TrialResult<'a> {
    /// The id of the set that was restored; null where none was.
    set: Option<&'a str>,
    /// The influxd that served what was restored, as it was named; null where it was read without
    /// one.
    influxd: Option<String>,
    /// What came of it.
    pub(crate) state: TrialState,
    /// Shards restored.
    shards: usize,
    /// Files restored; null where nothing was.
    files: Option<usize>,
    /// Bytes of these files.
    bytes: u64,
    #[serde(flatten)]
    counts: PointCounts,
    /// Why it was not restored, or what was not restored or not compared, a sentence each; empty
    /// where all was.
    missing: Vec<String>,
    /// How long it took, in seconds.
    seconds: Seconds,
    /// The kind of error that this ends the command with.
    #[serde(skip)]
    pub(crate) kind: Option<ErrorKind>,
}

impl Message for TrialResult<'_> {
    const TYPE: &'static str = "restored";
    const TITLE: &'static str = "What came of -restore; A is the set, B what was restored";
}

impl<'a> TrialResult<'a> {
    pub(crate) fn new(report: &'a TrialReport, influxd: Option<String>) -> Self {
        let comparison = report.comparison.as_ref();
        let measurements = comparison.map_or(&[][..], |compared| &compared.measurements);
        let restored = report.restored.as_ref();
        let missing = missing(report);
        let refusal = report.refusal.as_ref().map(|refusal| refusal.kind);
        let state = match (comparison, refusal) {
            (None, _) | (_, Some(_)) => TrialState::NotRestored,
            (Some(compared), _) if compared.is_different() => TrialState::Different,
            _ if !missing.is_empty() => TrialState::Incomplete,
            _ => TrialState::Same,
        };
        Self {
            set: report.set.as_ref().map(|set| set.as_str()),
            influxd,
            state,
            shards: restored.map_or(0, |restored| restored.shards),
            files: restored.map(|restored| restored.files),
            bytes: restored.map_or(0, |restored| restored.bytes),
            counts: PointCounts::of(measurements),
            missing,
            seconds: Seconds(report.elapsed),
            kind: match (state, refusal) {
                (TrialState::Same, _) => None,
                (_, Some(ErrorKind::Damage)) => Some(ErrorKind::Damage),
                _ => Some(ErrorKind::Partial),
            },
        }
    }

    /// The same as a line of text.
    pub(crate) fn line(&self) -> String {
        let missing = few_names(self.missing.iter().map(String::as_str));
        if self.state == TrialState::NotRestored {
            return format!("not restored: {missing}");
        }
        let verdict = match self.state {
            TrialState::Different => "what was restored is not what the set has",
            TrialState::Incomplete => "restored in part; the rest is the same",
            _ => "restored and the same",
        };
        let by = match &self.influxd {
            Some(influxd) => format!(", served by {influxd}"),
            None => String::new(),
        };
        format!(
            "{verdict}: {}{} the same in {}, {}, {}{by}, {}",
            self.counts.differences(["the set", "what was restored"]),
            plural(self.counts.same, "point"),
            self.counts.series(),
            plural(self.shards, "shard"),
            size(self.bytes),
            self.seconds
        )
    }

    /// What is missing, a sentence each.
    pub(crate) fn missing(&self) -> &[String] {
        &self.missing
    }
}

/// Why it was not restored, or what was not restored or not compared.
fn missing(report: &TrialReport) -> Vec<String> {
    let refusal = report.refusal.iter().map(|refusal| refusal.reason.clone());
    let restored = report.restored.iter().flat_map(|of| &of.missing);
    let restored = restored.map(ToString::to_string);
    let compared = |of: &DiffReport| -> Vec<String> {
        let missing = of.missing.iter();
        missing.map(|(_, missing)| missing.to_string()).collect()
    };
    let compared = report.comparison.iter().flat_map(compared);
    let mut missing: Vec<String> = refusal.chain(restored).collect();
    for sentence in compared {
        if !missing.contains(&sentence) {
            missing.push(sentence);
        }
    }
    missing
}
