//! What a check of a backup directory found.

use std::time::Duration;

use schemars::JsonSchema;
use serde::Serialize;

use super::Message;
use crate::cli::render::sets::state;
use crate::cli::render::tally::Tally;
use crate::ops::{CheckOptions, CheckReport};
use crate::text::{age, plural, size};

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct CheckResult<'a> {
    /// Whether all is well.
    pub(crate) ok: bool,
    /// The backup directory, as it was given.
    directory: String,
    /// The id of the newest set that counts, or null.
    set: Option<&'a str>,
    /// The database that was asked about, or null.
    database: Option<&'a str>,
    /// How long ago the set may have been begun, in whole seconds.
    max_age_seconds: u64,
    #[serde(flatten)]
    report: &'a CheckReport,
}

impl Message for CheckResult<'_> {
    const TYPE: &'static str = "check";
    const TITLE: &'static str = "What was found";
}

impl<'a> CheckResult<'a> {
    pub(crate) fn new(report: &'a CheckReport, options: &'a CheckOptions) -> Self {
        Self {
            ok: report.faults.is_empty(),
            directory: options.repository.to_string(),
            set: report.set.as_ref().map(|set| set.id.as_str()),
            database: options.database.as_deref(),
            max_age_seconds: options.max_age.as_secs(),
            report,
        }
    }

    pub(crate) fn tally(&self) -> Tally {
        let CheckReport { set, faults, .. } = self.report;
        let lost = self.report.lost_shards;
        Tally {
            set: set.as_ref().map(|set| set.id.to_string()),
            wrong: faults.clone(),
            faults: Some(faults.len() as u64),
            newest: set.as_ref().map(|set| set.started),
            lost_databases: lost.map(|_| self.report.lost_databases.len()),
            shards: lost.map(|lost| ("lost", lost)).into_iter().collect(),
            ..Tally::default()
        }
    }

    /// The one line of text: it is what monitoring shows.
    pub(crate) fn line(&self) -> String {
        let notes = self.report.notes.iter();
        let notes: String = notes.map(|note| format!("; {note}")).collect();
        let found = match &self.report.set {
            Some(set) if self.ok => {
                let old = age(Duration::from_secs(self.report.age_seconds.unwrap_or(0)));
                let (state, shards) = (state(set.state), plural(set.shards, "shard"));
                let size = size(set.size);
                format!("ok: set {} ({state}), {old} old, {shards}, {size}", set.id)
            }
            _ => format!("failed: {}", self.report.faults.join("; ")),
        };
        format!("{found}{notes}, in {}", self.directory)
    }
}
