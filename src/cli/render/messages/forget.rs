//! What became of each set under a retention policy, and the end of forget.

use std::time::Duration;

use jiff::Timestamp;
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
    /// From when on: the first forget or backup after this time removes them; absent: none.
    #[serde(skip_serializing_if = "Option::is_none")]
    later_time: Option<Timestamp>,
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
    /// `grace` is how long it takes in object storage until files of removed sets go.
    pub(crate) fn new(
        report: &'a ForgetReport,
        repository: &Location,
        grace: Duration,
        dry_run: bool,
    ) -> Self {
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
            later_time: (report.removed.later > 0)
                .then(|| Timestamp::now().checked_add(grace).ok())
                .flatten(),
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
        let rest = self.put_off() + &self.refused();
        if self.dry_run {
            format!(
                "dry run: would keep {kept}, would remove {removed}{ended}: {files}, {freed}{rest}"
            )
        } else {
            let took = self.seconds;
            format!("kept {kept}, removed {removed}{ended}: {files}, {freed} freed in {took}{rest}")
        }
    }

    /// What a later run frees.
    fn put_off(&self) -> String {
        let Some(from) = self.later_time else {
            return String::new();
        };
        let go = if self.dry_run { "would go" } else { "go" };
        format!(
            "; {}, {} {go} with the first forget or backup after {} UTC",
            plural(usize::try_from(self.later).unwrap_or(usize::MAX), "file"),
            size(self.later_bytes),
            from.strftime("%Y-%m-%d %H:%M")
        )
    }

    /// What the storage did not let go of.
    fn refused(&self) -> String {
        match self.kept_by_storage.len() {
            0 => String::new(),
            count => format!("; the storage keeps {}", plural(count, "file")),
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

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;
    use crate::repository::Removed;

    #[test]
    fn what_is_put_off_or_kept_by_the_storage_is_told_in_the_last_line_and_in_json() {
        let report = ForgetReport {
            removed: Removed {
                later: 11,
                later_bytes: 2048,
                kept: vec!["one".to_owned(), "two".to_owned()],
                ..Removed::default()
            },
            ..ForgetReport::default()
        };
        let (place, day) = (Path::new("b").into(), Duration::from_secs(86_400));
        let before = Timestamp::now();
        let summary = ForgetSummary::new(&report, &place, day, false);
        let from = summary.later_time.unwrap();
        assert!(from.duration_since(before).as_secs().abs_diff(86_400) < 60);
        let line = summary.line();
        let when = from.strftime("%Y-%m-%d %H:%M UTC");
        let rest = format!(
            "; 11 files, 2.0 KiB go with the first forget or backup after {when}; the storage \
             keeps 2 files"
        );
        assert!(line.ends_with(&rest), "{line}");
        let json = serde_json::to_value(&summary).unwrap();
        assert_eq!(
            (&json["later"], &json["later_bytes"]),
            (&11.into(), &2048.into())
        );
        assert_eq!(json["later_time"], from.to_string());

        let nothing = ForgetReport::default();
        let summary = ForgetSummary::new(&nothing, &place, day, true);
        assert!(
            summary.line().ends_with("0 files, 0 B"),
            "{}",
            summary.line()
        );
        let json = serde_json::to_value(&summary).unwrap();
        assert!(json.get("later_time").is_none() && json.get("kept_by_storage").is_none());
    }
}
