//! What verifying found, and its end.

use schemars::JsonSchema;
use serde::Serialize;

use super::trial::{TrialResult, TrialState};
use super::{Message, Seconds};
use crate::cli::render::table::{fields, paragraph};
use crate::ops::{SetFault, SetGap, VerifyReport};
use crate::repository::{Location, SetId};
use crate::text::{few_names, name_list, plural, size};

impl Message for SetFault {
    const TYPE: &'static str = "fault";
    const TITLE: &'static str = "Something is wrong";
}

impl Message for SetGap {
    const TYPE: &'static str = "gap";
    const TITLE: &'static str =
        "A set cannot be restored whole, though its files are as they were written";
}

/// How many places of one file are shown to people.
const PLACES_SHOWN: usize = 3;

/// A fault in one line.
pub(crate) fn fault_line(found: &SetFault) -> String {
    let SetFault { set, file, .. } = found;
    let fault = &found.fault;
    let shard = found.shard().map(|shard| format!(" (shard {shard})"));
    let place = place(fault.member.as_deref(), fault.offset);
    let place = place.map(|place| format!(": {place}"));
    format!(
        "set {set}: {file}{}{}: {}; {}",
        shard.unwrap_or_default(),
        place.unwrap_or_default(),
        fault.message,
        fault.means
    )
}

/// A fault as a block: where, what, and what it means.
pub(crate) fn fault_block(found: &SetFault, limit: Option<usize>) -> String {
    let fault = &found.fault;
    let shard = found.shard().map(|shard| format!(", shard {shard}"));
    let head = format!("fault in set {}{}", found.set, shard.unwrap_or_default());
    let mut lines = vec![("  file", found.file.clone())];
    let first = (&fault.member, fault.offset, &fault.message);
    let others = fault.other_places.iter();
    let places = std::iter::once(first)
        .chain(others.map(|place| (&place.member, place.offset, &place.message)));
    for (member, offset, message) in places.take(PLACES_SHOWN) {
        let place = place(member.as_deref(), offset);
        lines.extend(place.map(|place| ("  where", place)));
        lines.push(("  what", message.clone()));
    }
    let others = fault.other_places.len().saturating_sub(PLACES_SHOWN - 1) as u64;
    let more = others.saturating_add(fault.more_places);
    if more > 0 {
        lines.push(("", format!("and in {} more", plural(more, "place"))));
    }
    lines.push(("  means", fault.means.to_string()));
    lines.extend(also_in(&found.also_in));
    block(&head, &lines, limit)
}

/// Where in the files of a set something is.
fn place(member: Option<&str>, offset: Option<u64>) -> Option<String> {
    match (member, offset) {
        (Some(member), Some(offset)) => Some(format!("{member} at offset {offset}")),
        (Some(member), None) => Some(member.to_owned()),
        (None, Some(offset)) => Some(format!("at offset {offset}")),
        (None, None) => None,
    }
}

/// A gap in one line.
pub(crate) fn gap_line(gap: &SetGap) -> String {
    let shards = shards(gap).map(|shards| format!("{shards}: "));
    format!(
        "set {}: {}{}; {}",
        gap.set,
        shards.unwrap_or_default(),
        gap.message,
        gap.means
    )
}

/// A gap as a block.
pub(crate) fn gap_block(gap: &SetGap, limit: Option<usize>) -> String {
    let shards = shards(gap).map(|shards| format!(", {shards}"));
    let head = format!("gap in set {}{}", gap.set, shards.unwrap_or_default());
    let mut lines = vec![
        ("  what", gap.message.clone()),
        ("  means", gap.means.to_string()),
    ];
    lines.extend(also_in(&gap.also_in));
    block(&head, &lines, limit)
}

/// The shards that a gap is said of.
fn shards(gap: &SetGap) -> Option<String> {
    match &gap.shards[..] {
        [] => None,
        [one] => Some(format!("shard {one}")),
        many => Some(format!("shards {}", name_list(many))),
    }
}

fn also_in(sets: &[SetId]) -> Option<(&'static str, String)> {
    (!sets.is_empty()).then(|| {
        let sets = few_names(sets.iter().map(SetId::as_str));
        ("  also in", sets)
    })
}

fn block(head: &str, lines: &[(&str, String)], limit: Option<usize>) -> String {
    let head = paragraph("", head, limit);
    format!("{head}{}\n", fields(lines, limit))
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct VerifySummary<'a> {
    /// What was run.
    #[schemars(extend("const" = "verify"))]
    command: &'static str,
    /// The backup directory, as it was given.
    directory: String,
    /// Sets that were read.
    sets: usize,
    /// Files of shards.
    shards: usize,
    /// TSM files in these.
    tsm_files: u64,
    /// Bytes of all files that were read.
    bytes: u64,
    /// Values of fields in all blocks: a point has one of each of its fields; null without -deep.
    values: Option<u64>,
    /// Faults that were found: files that are gone or damaged, each once.
    faults: u64,
    /// The ids of sets that were removed while others were read; what is said of them may be
    /// incomplete.
    removed_sets: &'a [SetId],
    /// Gaps that were found.
    gaps: u64,
    /// Whether the set was restored, and is the same; null without -restore.
    restored: Option<bool>,
    /// How long it took, in seconds.
    seconds: Seconds,
    /// What came of the restore on trial.
    #[serde(skip)]
    trial: Option<TrialState>,
}

impl Message for VerifySummary<'_> {
    const TYPE: &'static str = "summary";
    const TITLE: &'static str = "The last line, with faults and without";
}

impl<'a> VerifySummary<'a> {
    pub(crate) fn new(
        report: &'a VerifyReport,
        repository: &Location,
        trial: Option<&TrialResult<'_>>,
    ) -> Self {
        Self {
            command: "verify",
            directory: repository.to_string(),
            sets: report.sets,
            shards: report.shards,
            tsm_files: report.tsm_files,
            bytes: report.bytes,
            values: report.values,
            faults: report.faults,
            removed_sets: &report.removed,
            gaps: report.gaps,
            restored: trial.map(|trial| trial.state == TrialState::Same),
            seconds: Seconds(report.elapsed),
            trial: trial.map(|trial| trial.state),
        }
    }

    /// The last line in text.
    pub(crate) fn line(&self) -> String {
        let faults = match self.faults {
            0 => "no fault".to_owned(),
            faults => plural(faults, "fault"),
        };
        let gaps = match self.gaps {
            0 => String::new(),
            gaps => format!(", {}", plural(gaps, "gap")),
        };
        let values = self
            .values
            .map(|count| format!(", {}", plural(count, "value")));
        // The exit code is that of all three.
        let trial = match self.trial {
            None | Some(TrialState::Same) => "",
            Some(TrialState::NotRestored) => "not restored; in the files, ",
            Some(TrialState::Incomplete) => "restored in part; in the files, ",
            Some(TrialState::Different) => "restored and not the same; in the files, ",
        };
        format!(
            "{trial}{faults}{gaps} in {}: {}, {}{}, {} in {}",
            plural(self.sets, "set"),
            plural(self.shards, "shard file"),
            plural(self.tsm_files, "TSM file"),
            values.unwrap_or_default(),
            size(self.bytes),
            self.seconds
        )
    }
}
