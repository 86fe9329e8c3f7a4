//! The end of making a metastore for a data directory.

use std::path::Path;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Message, Seconds};
use crate::ops::{RebuildReport, grouped};
use crate::text::{plural, size};

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RebuildSummary<'a> {
    /// What was run.
    #[schemars(extend("const" = "restore"))]
    command: &'static str,
    /// The data directory, as it was given.
    data_directory: String,
    /// Whether nothing was changed.
    dry_run: bool,
    /// Databases in the metastore.
    database_count: usize,
    /// Shards in the metastore.
    shards: usize,
    /// The meta.db that was written; dry run: that would be.
    metastore: String,
    /// Its bytes.
    bytes: u64,
    /// What cannot be read, a sentence each; empty with exit code 0.
    missing: Vec<String>,
    /// How long the run took, in seconds.
    seconds: Seconds,
    #[serde(skip)]
    report: &'a RebuildReport,
}

impl Message for RebuildSummary<'_> {
    const TYPE: &'static str = "summary";
    const TITLE: &'static str = "The end of a restore with -rebuild-meta";
}

impl<'a> RebuildSummary<'a> {
    pub(crate) fn new(report: &'a RebuildReport, datadir: &Path, dry_run: bool) -> Self {
        Self {
            command: "restore",
            data_directory: datadir.display().to_string(),
            dry_run,
            database_count: report.databases,
            shards: report.shards,
            metastore: report.metastore.display().to_string(),
            bytes: report.metastore_bytes,
            missing: report.missing.iter().map(ToString::to_string).collect(),
            seconds: Seconds(report.elapsed),
            report,
        }
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.missing.is_empty()
    }

    /// What cannot be read: a line for all shards with the same reason.
    pub(crate) fn lacks(&self) -> Vec<String> {
        grouped(&self.report.missing)
    }

    /// The last line in text.
    pub(crate) fn line(&self) -> String {
        let what = match self.dry_run {
            true => "dry run: would write",
            false => "wrote",
        };
        let faults = match self.missing.len() {
            0 => String::new(),
            count => format!(", {}", plural(count, "fault")),
        };
        format!(
            "{what} {}: {}, {}{faults}, {}, {}",
            self.metastore,
            plural(self.database_count, "database"),
            plural(self.shards, "shard"),
            size(self.bytes),
            self.seconds
        )
    }
}
