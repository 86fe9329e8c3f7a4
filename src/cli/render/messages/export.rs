//! The end of an export.

use std::collections::BTreeSet;
use std::path::Path;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Message, Seconds};
use crate::ops::{ExportReport, ExportedTable};
use crate::repository::SetId;
use crate::text::{plural, size};

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ExportSummary<'a> {
    /// What was run.
    #[schemars(extend("const" = "export"))]
    command: &'static str,
    /// The id of the set that was exported; null for a server.
    set: Option<&'a str>,
    /// The ids of sets before it that some of the points were in.
    older_sets: &'a [SetId],
    /// The backup directory, as it was given; null for a server.
    directory: Option<&'a str>,
    /// The address of a running server, or the data directory of a stopped one; else null.
    host: Option<&'a str>,
    /// The file or directory that was written; null for standard output.
    output: Option<String>,
    /// The files that were written, but for those in a directory: one, or with -max-lines or
    /// -max-bytes as many as it took.
    output_files: Vec<String>,
    /// The tables that were written, of CSV and Parquet; with -split, each file of them.
    tables: Vec<SummaryTable<'a>>,
    /// Shards exported.
    shards: usize,
    /// Series written, each counted once however many shards have it.
    series: u64,
    /// Whether that is an estimate: beyond 262,144.
    series_is_estimate: bool,
    /// Points written.
    points: u64,
    /// Bytes written, before compression.
    bytes: u64,
    /// Strings with line feeds.
    newlines: u64,
    /// What is damaged or missing, a sentence each; empty with exit code 0.
    missing: Vec<String>,
    /// How long the run took, in seconds.
    seconds: Seconds,
}

/// A table that was written.
#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SummaryTable<'a> {
    /// Its file in the directory; null where it was written to a file or standard output.
    file: Option<String>,
    /// The database.
    database: &'a str,
    /// The retention policy.
    retention_policy: &'a str,
    /// The measurement.
    measurement: &'a str,
    /// Points written.
    points: u64,
    /// Bytes written, those of CSV before compression.
    bytes: u64,
}

impl Message for ExportSummary<'_> {
    const TYPE: &'static str = "summary";
    const TITLE: &'static str = "The end of an export";
}

impl<'a> ExportSummary<'a> {
    pub(crate) fn new(report: &'a ExportReport, from: &'a str, file: Option<&Path>) -> Self {
        let tally = report.tally;
        Self {
            command: "export",
            set: report.set.as_ref().map(SetId::as_str),
            older_sets: &report.older_sets,
            directory: report.set.as_ref().map(|_| from),
            host: report.set.is_none().then_some(from),
            output: file.map(|file| file.display().to_string()),
            output_files: report
                .files
                .iter()
                .map(|file| file.display().to_string())
                .collect(),
            tables: report.tables.iter().map(SummaryTable::of).collect(),
            shards: report.shards,
            series: report.series,
            series_is_estimate: report.series_is_estimate,
            points: tally.points,
            bytes: tally.bytes,
            newlines: tally.newlines,
            missing: report.missing.iter().map(ToString::to_string).collect(),
            seconds: Seconds(report.elapsed),
        }
    }

    /// The same as a line of text.
    pub(crate) fn line(&self) -> String {
        let missing = match self.missing.len() {
            0 => String::new(),
            count => format!(", {}", plural(count, "fault")),
        };
        let file = match &self.output_files[..] {
            [first, .., last] => Some(format!(
                ", in {}, {first} to {last}",
                plural(self.output_files.len(), "file")
            )),
            [file] => Some(format!(", in {file}")),
            [] => self.output.as_ref().map(|place| format!(", in {place}")),
        };
        let files = self.tables.len();
        let of =
            |table: &SummaryTable<'a>| (table.database, table.retention_policy, table.measurement);
        let tables = match self.tables.iter().map(of).collect::<BTreeSet<_>>().len() {
            0 => String::new(),
            count if count < files => {
                format!(", {} in {}", plural(count, "table"), plural(files, "file"))
            }
            count => format!(", {}", plural(count, "table")),
        };
        let from = match (self.set, self.older_sets.len()) {
            (Some(set), 0) => format!("set {set}"),
            (Some(set), older) => format!("set {set} and {}", plural(older, "older set")),
            (None, _) => self.host.unwrap_or_default().to_owned(),
        };
        format!(
            "{from}: {} of {}{} series in {}, {}{tables}{missing}, {}{}",
            plural(self.points, "point"),
            if self.series_is_estimate { "~" } else { "" },
            self.series,
            plural(self.shards, "shard"),
            size(self.bytes),
            self.seconds,
            file.unwrap_or_default()
        )
    }
}

impl<'a> SummaryTable<'a> {
    fn of(table: &'a ExportedTable) -> Self {
        Self {
            file: table.file.as_ref().map(|file| file.display().to_string()),
            database: &table.database,
            retention_policy: &table.retention_policy,
            measurement: &table.measurement,
            points: table.points,
            bytes: table.bytes,
        }
    }
}
