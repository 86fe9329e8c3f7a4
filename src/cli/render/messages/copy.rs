//! What became of each set that was to be copied, and the end of copy.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Message, Seconds};
use crate::cli::render::tally::Tally;
use crate::ops::{CopyReport, CopyState, SetCopy};
use crate::repository::{Layout, Location, SetId, SetState};
use crate::text::{few_names, plural, size};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum Outcome {
    Copied,
    WouldCopy,
    Present,
    Removed,
    Failed,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CopySet<'a> {
    /// The set's id: a stamp, 20261122T233401Z.
    #[schemars(regex(pattern = "^[0-9]{8}T[0-9]{6}Z$"))]
    set: &'a SetId,
    /// copied; would_copy: with -dry-run; present: it was there; removed: from the source, meanwhile;
    /// failed: it is not copied.
    outcome: Outcome,
    /// Its number in the target; null where it is not there.
    number: Option<u32>,
    /// Its number in the source; null where its record cannot be read.
    source_number: Option<u32>,
    /// Whether it holds what was asked for; null where its record cannot be read.
    state: Option<SetState>,
    /// Which of influxd's two layouts its files have; null where its record cannot be read.
    layout: Option<Layout>,
    /// Shards with a file.
    shards: usize,
    /// Bytes of all its files.
    size: u64,
    /// Bytes of those of its files that the target did not have: what it takes there.
    added: u64,
    /// If it was not asked for itself, the id of a set that builds on it; else null.
    needed_by: Option<&'a SetId>,
    /// Why it is not copied, or null.
    reason: Option<&'a str>,
    /// What can be done about that, or null.
    hint: Option<&'a str>,
}

impl Message for CopySet<'_> {
    const TYPE: &'static str = "set";
    const TITLE: &'static str = "A set that was to be copied, and what became of it";
}

impl<'a> CopySet<'a> {
    pub(crate) fn new(copy: &'a SetCopy) -> Self {
        let (outcome, reason, hint) = match &copy.state {
            CopyState::Copied => (Outcome::Copied, None, None),
            CopyState::WouldCopy => (Outcome::WouldCopy, None, None),
            CopyState::Present => (Outcome::Present, None, None),
            CopyState::Removed => (Outcome::Removed, None, None),
            CopyState::Failed { reason, hint, .. } => {
                (Outcome::Failed, Some(&**reason), hint.as_deref())
            }
        };
        Self {
            set: &copy.id,
            outcome,
            number: copy.number,
            source_number: copy.source_number,
            state: copy.set_state,
            layout: copy.layout,
            shards: copy.shards,
            size: copy.size,
            added: copy.added,
            needed_by: copy.needed_by.as_ref(),
            reason,
            hint,
        }
    }

    /// A line of text for a set that was copied, or would be; none for others.
    pub(crate) fn line(&self) -> Option<String> {
        let copied = match self.outcome {
            Outcome::Copied => "copied",
            Outcome::WouldCopy => "would copy",
            _ => return None,
        };
        let partial = match self.state {
            Some(SetState::Partial) => " (partial)",
            _ => "",
        };
        let mut line = format!(
            "{copied} set {}{partial}: {}, {}",
            self.set,
            plural(self.shards, "shard"),
            amount(self.size, self.added)
        );
        if let Some(number) = self.number.filter(|_| self.number != self.source_number) {
            line += &format!(", as number {number}");
        }
        if let Some(set) = self.needed_by {
            line += &format!(", needed by {set}");
        }
        Some(line)
    }
}

/// Bytes in all, and how many of them are new.
fn amount(bytes: u64, added: u64) -> String {
    format!("{} ({} new)", size(bytes), size(added))
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CopySummary<'a> {
    /// What was run.
    #[schemars(extend("const" = "copy"))]
    command: &'static str,
    /// Where the sets came from, as it was given.
    source: String,
    /// The backup directory that they were copied into, as it was given.
    directory: String,
    /// Whether nothing was changed.
    dry_run: bool,
    /// Sets that were copied; with -dry-run, would be.
    copied: usize,
    /// Sets that were there already.
    present: usize,
    /// The ids of sets that were removed from the source meanwhile.
    #[schemars(inner(regex(pattern = "^[0-9]{8}T[0-9]{6}Z$")))]
    removed_sets: &'a [SetId],
    /// Sets that were asked for and have no record, influxd's; these are never copied.
    unrecorded: usize,
    /// Why sets were not copied, a sentence each; empty with exit code 0.
    problems: Vec<String>,
    /// Bytes of all files of the copied sets.
    bytes: u64,
    /// Bytes among these that the target did not have.
    added: u64,
    /// How long it took, in seconds.
    seconds: Seconds,
}

impl Message for CopySummary<'_> {
    const TYPE: &'static str = "summary";
    const TITLE: &'static str = "The last line";
}

impl<'a> CopySummary<'a> {
    pub(crate) fn new(
        report: &'a CopyReport,
        source: &Location,
        target: &Location,
        dry_run: bool,
    ) -> Self {
        let unrecorded = unrecorded(&report.unrecorded);
        Self {
            command: "copy",
            source: source.to_string(),
            directory: target.to_string(),
            dry_run,
            copied: report.copied.len(),
            present: report.present,
            removed_sets: &report.removed,
            unrecorded: report.unrecorded.len(),
            problems: report.failed.iter().cloned().chain(unrecorded).collect(),
            bytes: report.bytes,
            added: report.added,
            seconds: Seconds(report.elapsed),
        }
    }

    /// The last line in text.
    pub(crate) fn line(&self) -> String {
        let sets = plural(self.copied, "set");
        let amount = amount(self.bytes, self.added);
        let mut others = Vec::new();
        others.extend((self.present > 0).then(|| format!("{} there already", self.present)));
        others.extend((!self.problems.is_empty()).then(|| {
            let failed = self.problems.len() - usize::from(self.unrecorded > 0) + self.unrecorded;
            format!("{failed} not copied")
        }));
        let others = match others.is_empty() {
            true => String::new(),
            false => format!(" ({})", others.join(", ")),
        };
        let directory = &self.directory;
        match self.dry_run {
            true => format!("dry run: would copy {sets}{others}, {amount}, into {directory}"),
            false => {
                let took = self.seconds;
                format!("copied {sets}{others}, {amount}, {took}, {directory}")
            }
        }
    }
}

/// What is said of sets without a record.
pub(crate) fn unrecorded(sets: &[SetId]) -> Option<String> {
    let (has, sets) = match sets {
        [] => return None,
        [one] => ("has", format!("set {one}")),
        many => ("have", few_names(many.iter().map(SetId::as_str))),
    };
    Some(format!(
        "{sets} {has} no record: influxd does not write down which files belong to a set, so snap \
         copies none"
    ))
}

pub(crate) fn tally(report: &CopyReport, summary: &CopySummary<'_>) -> Tally {
    Tally {
        bytes: Some(summary.added),
        sets: vec![
            ("copied", summary.copied),
            ("present", summary.present),
            ("failed", report.failed.len() + summary.unrecorded),
        ],
        wrong: summary.problems.clone(),
        ..Tally::default()
    }
}
