//! What verifying found, and its end.

use std::path::Path;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Message, Seconds};
use crate::ops::{SetFault, SetGap, VerifyReport};
use crate::repository::SetId;
use crate::text::{name_list, plural, size};

impl Message for SetFault {
    const TYPE: &'static str = "fault";
    const TITLE: &'static str = "Something is wrong";
}

impl Message for SetGap {
    const TYPE: &'static str = "gap";
    const TITLE: &'static str =
        "A set cannot be restored whole, though its files are as they were written";
}

/// A fault in one line.
pub(crate) fn fault_line(found: &SetFault) -> String {
    let SetFault { set, file, .. } = found;
    let fault = &found.fault;
    let shard = found
        .shard
        .as_ref()
        .map(|shard| format!(" (shard {shard})"));
    let member = fault.member.as_ref().map(|member| format!(": {member}"));
    let offset = fault.offset.map(|offset| format!(" at offset {offset}"));
    let place = [shard, member, offset]
        .map(Option::unwrap_or_default)
        .concat();
    format!(
        "set {set}: {file}{place}: {}; {}",
        fault.message, fault.means
    )
}

/// A gap in one line.
pub(crate) fn gap_line(gap: &SetGap) -> String {
    let shards = match gap.shards.len() {
        0 => String::new(),
        1 => format!("shard {}: ", gap.shards[0]),
        _ => format!("shards {}: ", name_list(&gap.shards)),
    };
    format!("set {}: {shards}{}; {}", gap.set, gap.message, gap.means)
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
    /// Points in all blocks; null without -deep.
    points: Option<u64>,
    /// Faults that were found.
    faults: u64,
    /// The ids of sets that were removed while others were read; what is said of them may be
    /// incomplete.
    removed: &'a [SetId],
    /// Gaps that were found.
    gaps: u64,
    /// How long it took, in seconds.
    seconds: Seconds,
}

impl Message for VerifySummary<'_> {
    const TYPE: &'static str = "summary";
    const TITLE: &'static str = "The last line, with faults and without";
}

impl<'a> VerifySummary<'a> {
    pub(crate) fn new(report: &'a VerifyReport, directory: &Path) -> Self {
        Self {
            command: "verify",
            directory: directory.display().to_string(),
            sets: report.sets,
            shards: report.shards,
            tsm_files: report.tsm_files,
            bytes: report.bytes,
            points: report.points,
            faults: report.faults,
            removed: &report.removed,
            gaps: report.gaps,
            seconds: Seconds(report.elapsed),
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
        let points = self.points.map(|points| format!(", {points} points"));
        format!(
            "{faults}{gaps} in {}: {}, {}{}, {} in {}",
            plural(self.sets, "set"),
            plural(self.shards, "shard file"),
            plural(self.tsm_files, "TSM file"),
            points.unwrap_or_default(),
            size(self.bytes),
            self.seconds
        )
    }
}
