//! The end of a backup or restore.

use std::path::Path;

use schemars::JsonSchema;
use serde::Serialize;

use super::{Message, Seconds};
use crate::cli::render::tally::Tally;
use crate::ops::{BackupReport, MadeSet, RestoreReport};
use crate::text::{plural, size};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
enum RunCommand {
    Backup,
    Restore,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct RunSummary<'a> {
    /// What was run.
    command: RunCommand,
    /// The id of the set that was made; null for a dry run and for restore.
    set: Option<&'a str>,
    /// The number of the set that was made; null for a dry run and for restore.
    number: Option<u32>,
    /// The backup directory, as it was given.
    directory: String,
    /// Whether nothing was changed.
    dry_run: bool,
    /// Shards stored, shared ones included, or restored; dry run: that would be asked for or
    /// restored.
    shards: usize,
    /// Shards among these that were not downloaded but share the file of an earlier set; restore:
    /// 0.
    shared: usize,
    /// Shards that had nothing to send; restore: 0.
    empty: usize,
    /// restore: files written; backup: null.
    files: Option<usize>,
    /// Bytes of the files downloaded or restored; dry run of a backup: of the tars in earlier sets.
    bytes: u64,
    /// restore: the meta.db that was written, dry run: that would be; null where there is none, and
    /// for backup.
    metastore: Option<String>,
    /// What is missing, a sentence for each shard; empty with exit code 0.
    missing: &'a [String],
    /// What points can be missing of, a sentence for each shard; empty with exit code 0, and for
    /// restore.
    unproven: &'a [String],
    /// backup: why the set cannot be restored whole with the sets before it, a sentence each;
    /// restore: empty.
    #[serde(rename = "gaps_before")]
    gaps: &'a [String],
    /// backup: shards of the set before that are gone and did not expire; null: no set to compare
    /// with, restore.
    lost_shards: Option<usize>,
    /// backup: databases of the set before of which no shard is left; restore: empty.
    lost_databases: &'a [String],
    /// backup: whether the cluster id is not that of the set before; null: no set to compare with,
    /// restore.
    server_changed: Option<bool>,
    /// How long the run took, in seconds.
    seconds: Seconds,
    /// The set that was made.
    #[serde(skip)]
    made: Option<&'a MadeSet>,
}

impl Message for RunSummary<'_> {
    const TYPE: &'static str = "summary";
    const TITLE: &'static str = "The end of a backup or restore";
}

impl<'a> RunSummary<'a> {
    pub(crate) fn of_backup(report: &'a BackupReport, directory: &Path, dry_run: bool) -> Self {
        let losses = report.losses.as_ref();
        Self {
            command: RunCommand::Backup,
            set: report.set.as_ref().map(|set| set.id.as_str()),
            number: report.set.as_ref().map(|set| set.number),
            directory: directory.display().to_string(),
            dry_run,
            shards: report.stored,
            shared: report.shared,
            empty: report.empty,
            files: None,
            bytes: report.bytes,
            metastore: None,
            missing: &report.missing,
            unproven: &report.unproven,
            gaps: &report.gaps,
            lost_shards: losses.map(|losses| losses.shards),
            lost_databases: losses.map_or(&[], |losses| &losses.databases),
            server_changed: losses.map(|losses| losses.other_server.is_some()),
            seconds: Seconds(report.elapsed),
            made: report.set.as_ref(),
        }
    }

    pub(crate) fn of_restore(report: &'a RestoreReport, directory: &Path, dry_run: bool) -> Self {
        let metastore = report.metastore.as_deref();
        Self {
            command: RunCommand::Restore,
            set: None,
            number: None,
            directory: directory.display().to_string(),
            dry_run,
            shards: report.shards,
            shared: 0,
            empty: 0,
            files: Some(report.files),
            bytes: report.bytes,
            metastore: metastore.map(|path| path.display().to_string()),
            missing: &report.missing,
            unproven: &[],
            gaps: &[],
            lost_shards: None,
            lost_databases: &[],
            server_changed: None,
            seconds: Seconds(report.elapsed),
            made: None,
        }
    }

    pub(crate) fn is_whole(&self) -> bool {
        self.missing.is_empty() && self.unproven.is_empty()
    }

    pub(crate) fn tally(&self) -> Tally {
        let missing = ("missing", self.missing.len());
        let mut shards = match self.command {
            RunCommand::Backup => vec![
                ("stored", self.shards.saturating_sub(self.shared)),
                ("shared", self.shared),
                ("empty", self.empty),
                missing,
                ("unproven", self.unproven.len()),
            ],
            RunCommand::Restore => vec![("restored", self.shards), missing],
        };
        shards.extend(self.lost_shards.map(|lost| ("lost", lost)));
        Tally {
            set: self.set.map(str::to_owned),
            bytes: Some(self.bytes),
            shards,
            wrong: [self.missing, self.unproven].concat(),
            lost_databases: self.lost_shards.map(|_| self.lost_databases.len()),
            server_changed: self.server_changed,
            ..Tally::default()
        }
    }

    /// What is missing, or may be, a line each.
    pub(crate) fn lacks(&self) -> impl Iterator<Item = String> {
        let missing = self.missing.iter().map(|text| format!("missing: {text}"));
        let unproven = self.unproven.iter().map(|text| format!("unproven: {text}"));
        missing.chain(unproven)
    }

    /// The last line in text.
    pub(crate) fn line(&self) -> String {
        let (directory, seconds, counts) = (&self.directory, self.seconds, self.counts());
        let lacking = self.lacking();
        match (self.command, self.dry_run, self.made) {
            (RunCommand::Backup, true, _) => {
                format!("dry run: would fetch {counts} into {directory}")
            }
            (RunCommand::Restore, true, _) => {
                format!("dry run: would restore {counts} from {directory}{lacking}")
            }
            (RunCommand::Backup, false, Some(MadeSet { id, meta, .. })) => {
                format!("1 set {id} ({meta}): {counts} in {seconds}, in {directory}{lacking}")
            }
            _ => format!("restored {counts} in {seconds} from {directory}{lacking}"),
        }
    }

    fn counts(&self) -> String {
        let mut parts = vec![plural(self.shards, "shard")];
        if self.shared > 0 {
            parts.push(format!("{} of them unchanged and shared", self.shared));
        }
        if self.empty > 0 {
            parts.push(format!("{} without anything to fetch", self.empty));
        }
        parts.extend(self.files.map(|files| plural(files, "file")));
        parts.push(size(self.bytes));
        match &self.metastore {
            // All that there was to restore.
            Some(metastore) if self.shards == 0 && self.missing.is_empty() => metastore.clone(),
            Some(metastore) => format!("{} and {metastore}", parts.join(", ")),
            None => parts.join(", "),
        }
    }

    fn lacking(&self) -> String {
        let counts = [
            (self.missing.len(), "missing"),
            (self.unproven.len(), "unproven"),
        ];
        let counts = counts.iter().filter(|(count, _)| *count > 0);
        counts
            .map(|(count, what)| format!("; {count} {what}"))
            .collect()
    }
}
