//! What became of each set under a retention policy, and the end of forget.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Message, Seconds};
use crate::cli::render::tally::Tally;
use crate::ops::{ForgetReport, Group, SetSummary, Verdict};
use crate::repository::{Location, Selection, SetId};
use crate::text::{plural, size};

#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum Action {
    Keep,
    Remove,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ForgetSet<'a> {
    #[serde(flatten)]
    summary: &'a SetSummary,
    /// What becomes of it; with -dry-run, what would.
    action: Action,
    /// Why it is kept: last, hourly, daily, weekly, monthly, yearly, within D, snap keep, needed
    /// by ID, nothing complete is newer, being read, not lost; empty where it is removed.
    reasons: Vec<String>,
    /// Bytes that became free with it, with -dry-run would; null where it is kept.
    freed: Option<u64>,
    /// What the sets of its group were asked to take; a group is judged by itself.
    selection: &'a Selection,
    /// The random number of the metastore of the group's server, up to 2^64 - 1, or null where it
    /// is not known.
    cluster_id: Option<u64>,
}

impl Message for ForgetSet<'_> {
    const TYPE: &'static str = "set";
    const TITLE: &'static str = "A set with a record, and what becomes of it";
}

impl<'a> ForgetSet<'a> {
    pub(crate) fn new(group: &'a Group, verdict: &'a Verdict) -> Self {
        Self {
            summary: &verdict.set,
            action: if verdict.is_kept() {
                Action::Keep
            } else {
                Action::Remove
            },
            reasons: verdict.reasons.iter().map(ToString::to_string).collect(),
            freed: verdict.freed,
            selection: &group.selection,
            cluster_id: group.server.cluster_id(),
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ForgetSummary<'a> {
    /// What was run.
    #[schemars(extend("const" = "forget"))]
    command: &'static str,
    /// The backup directory, as it was given.
    directory: String,
    /// Whether nothing was changed.
    dry_run: bool,
    /// Sets that stay, those without a record included.
    kept: usize,
    /// Sets that were removed; with -dry-run, would be.
    removed: usize,
    /// The ids of sets whose removal an earlier run had begun.
    #[schemars(inner(regex(pattern = "^[0-9]{8}T[0-9]{6}Z$")))]
    ended: &'a [SetId],
    /// Sets without a record, influxd's.
    unrecorded: usize,
    /// Files that were removed; with -dry-run, would be.
    files: usize,
    /// Bytes that became free; with -dry-run, would.
    bytes: u64,
    /// Files that a later run removes, after the grace period of object storage; absent: none.
    #[serde(skip_serializing_if = "is_zero")]
    later: u64,
    /// Bytes that become free then.
    #[serde(skip_serializing_if = "is_zero")]
    later_bytes: u64,
    /// Files that were left alone, a sentence each.
    left: &'a [String],
    /// What the storage does not let go of, a sentence each; absent: nothing.
    #[serde(skip_serializing_if = "<[String]>::is_empty")]
    kept_by_storage: &'a [String],
    /// The ids of sets that stay only because a restore or verify reads them; what they need stays
    /// too.
    #[schemars(inner(regex(pattern = "^[0-9]{8}T[0-9]{6}Z$")))]
    in_use: &'a [SetId],
    /// How long it took, in seconds.
    seconds: Seconds,
}

impl Message for ForgetSummary<'_> {
    const TYPE: &'static str = "summary";
    const TITLE: &'static str = "The last line";
}

impl<'a> ForgetSummary<'a> {
    pub(crate) fn new(report: &'a ForgetReport, repository: &Location, dry_run: bool) -> Self {
        let sets: usize = report.groups.iter().map(|group| group.sets.len()).sum();
        let removed = removed(report).count();
        Self {
            command: "forget",
            directory: repository.to_string(),
            dry_run,
            kept: sets - removed + report.unrecorded,
            removed,
            ended: &report.ended,
            unrecorded: report.unrecorded,
            files: report.removed.files,
            bytes: report.removed.bytes,
            later: report.removed.later as u64,
            later_bytes: report.removed.later_bytes,
            left: &report.removed.left,
            kept_by_storage: &report.removed.kept,
            in_use: &report.read,
            seconds: Seconds(report.elapsed),
        }
    }

    /// The last line in text.
    pub(crate) fn line(&self) -> String {
        let ended = match self.ended.len() {
            0 => String::new(),
            count => format!(" and {count} begun earlier"),
        };
        let (kept, removed) = (plural(self.kept, "set"), self.removed);
        let (files, freed) = (plural(self.files, "file"), size(self.bytes));
        let later = match self.later {
            0 => String::new(),
            count => format!(
                "; {}, {} after the grace period",
                plural(count as usize, "file"),
                size(self.later_bytes)
            ),
        };
        if self.dry_run {
            format!(
                "dry run: would keep {kept}, would remove {removed}{ended}: {files}, \
                 {freed}{later}"
            )
        } else {
            let took = self.seconds;
            format!(
                "kept {kept}, removed {removed}{ended}: {files}, {freed} freed in {took}{later}"
            )
        }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks so")]
fn is_zero(count: &u64) -> bool {
    *count == 0
}

/// The sets that the policy does not keep.
fn removed(report: &ForgetReport) -> impl Iterator<Item = &Verdict> {
    let sets = report.groups.iter().flat_map(|group| &group.sets);
    sets.filter(|verdict| !verdict.is_kept())
}

pub(crate) fn tally(report: &ForgetReport, summary: &ForgetSummary<'_>) -> Tally {
    let unkept = removed(report).map(|verdict| &verdict.set.id);
    let removed: Vec<String> = report
        .ended
        .iter()
        .chain(unkept)
        .map(SetId::to_string)
        .collect();
    Tally {
        bytes: Some(summary.bytes),
        files: Some(summary.files),
        sets: vec![("kept", summary.kept), ("removed", removed.len())],
        removed: Some(removed),
        ..Tally::default()
    }
}
