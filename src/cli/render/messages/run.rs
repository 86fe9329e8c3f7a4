//! The end of a backup or restore.

use std::collections::HashSet;

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::Serialize;

use super::{Message, Seconds};
use crate::cli::render::table::date_or_time;
use crate::cli::render::tally::Tally;
use crate::ops::{BackupReport, MergedShard, RestoreReport, Shortfall, grouped};
use crate::repository::Location;
use crate::text::{plural, size};
use crate::time::from_nanos;

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
    /// The id of the set that was made, or restored; null for a dry run of a backup.
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
    /// Dry run of a backup: shards among these whose size no earlier set tells; else 0.
    unknown_size: usize,
    /// Dry run of a backup: shards among these that are not downloaded where they have not changed;
    /// else 0.
    only_if_changed: usize,
    /// restore: files written; backup: null.
    files: Option<usize>,
    /// Bytes of the files written, metastore and manifest among them, or restored; dry run of a
    /// backup: of the tars in earlier sets.
    bytes: u64,
    /// Bytes of the metastore and of the shards' files, uncompressed, those of shared shards too: a
    /// backup and a restore of all of it into directories count the same. 0 for a dry run of a
    /// backup.
    data_bytes: u64,
    /// backup: bytes among these of shared shards; restore: 0.
    shared_bytes: u64,
    /// restore: the meta.db that was written, dry run: that would be; null where there is none, and
    /// for backup.
    metastore: Option<String>,
    /// restore: shards that were read back from the server and compared; null for a dry run, with
    /// -no-verify, into directories, and for backup.
    read_back: Option<usize>,
    /// restore -users: users that were added to the target's metastore, dry run: that would be;
    /// null where none were to be.
    users: Option<usize>,
    /// restore -with and -users-password-file: what the server took, dry run: would be given; else
    /// null.
    applied: Option<AppliedMessage>,
    /// restore -skip-damaged: how many lines there are of what is lost; else null.
    lost_count: Option<u64>,
    /// restore -online -merge: whose value counts where both have one, backup or server; else null.
    on_conflict: Option<&'static str>,
    /// restore -online -merge: retention policies that were made, dry run: that would be; else null.
    new_policies: Option<usize>,
    /// restore -online -merge: the server's shards that got points, dry run: that would; else null.
    merged_shards: Option<Vec<MergedMessage>>,
    /// What is missing, a sentence for each shard; empty with exit code 0.
    missing: Vec<String>,
    /// What points can be missing of, a sentence for each shard; empty with exit code 0, and for
    /// restore.
    unproven: Vec<String>,
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
    /// The time after which files were asked for.
    #[serde(skip)]
    since: Option<Timestamp>,
    /// What is told of shortfalls in text.
    #[serde(skip)]
    shortfalls: Shortfalls<'a>,
    /// The server that was restored into.
    #[serde(skip)]
    host: Option<&'a str>,
    /// The database of a server that was merged into.
    #[serde(skip)]
    merged_into: Option<&'a str>,
}

/// How many statements a server took, with those of which it had the result already.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
struct AppliedMessage {
    /// Users that were made with the passwords of -users-password-file; null without it.
    users: Option<usize>,
    /// Grants; null where -with does not name them.
    grants: Option<usize>,
    /// Continuous queries; null where -with does not name them.
    continuous_queries: Option<usize>,
    /// Subscriptions; null where -with does not name them.
    subscriptions: Option<usize>,
    /// Statements that it did not take; missing has each.
    not_applied: usize,
}

impl AppliedMessage {
    fn parts(&self) -> impl Iterator<Item = String> {
        let counts = [
            (self.users, "user"),
            (self.grants, "grant"),
            (self.continuous_queries, "continuous query"),
            (self.subscriptions, "subscription"),
        ];
        let counts = counts.into_iter();
        counts.filter_map(|(count, noun)| Some(plural(count?, noun)))
    }
}

/// A shard of a server that gets points.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(inline)]
struct MergedMessage {
    /// The database, as it is called on the server.
    database: String,
    /// The retention policy, as it is called on the server.
    retention_policy: String,
    /// The shard's id on the server; null where it would be made.
    shard: Option<u64>,
    /// When its shard group begins, UTC.
    #[schemars(extend("pattern" = "Z$"))]
    start: Timestamp,
    /// The first time behind its shard group, UTC.
    #[schemars(extend("pattern" = "Z$"))]
    end: Timestamp,
    /// The ids of the shards of the backup that the points are from.
    from_shards: Vec<u64>,
    /// Whether it is made for them.
    new_shard: bool,
    /// Whether other points of those shards belong elsewhere.
    is_cut: bool,
    /// Points written through the HTTP API before the upload, one of each field that the shard did
    /// not have, and with -on-conflict backup one more; dry run: 0.
    points_written: u64,
}

impl From<&MergedShard> for MergedMessage {
    fn from(shard: &MergedShard) -> Self {
        Self {
            database: shard.path.database.to_string(),
            retention_policy: shard.path.retention_policy.to_string(),
            shard: (shard.path.id > 0).then_some(shard.path.id),
            start: from_nanos(shard.start),
            end: from_nanos(shard.end),
            from_shards: shard.sources.clone(),
            new_shard: shard.is_new,
            is_cut: shard.is_cut,
            points_written: shard.points_written,
        }
    }
}

/// What is missing, and what may be.
#[derive(Debug)]
struct Shortfalls<'a> {
    missing: &'a [Shortfall],
    unproven: &'a [Shortfall],
    /// How many shards were restored in part.
    in_part: usize,
}

impl Message for RunSummary<'_> {
    const TYPE: &'static str = "summary";
    const TITLE: &'static str = "The end of a backup or restore";
}

impl<'a> RunSummary<'a> {
    pub(crate) fn of_backup(
        report: &'a BackupReport,
        repository: &Location,
        dry_run: bool,
    ) -> Self {
        let losses = report.losses.as_ref();
        Self {
            command: RunCommand::Backup,
            set: report.set.as_ref().map(|set| set.id.as_str()),
            number: report.set.as_ref().map(|set| set.number),
            directory: repository.to_string(),
            dry_run,
            shards: report.stored,
            shared: report.shared,
            empty: report.empty,
            unknown_size: report.unknown,
            only_if_changed: report.undecided,
            files: None,
            bytes: report.bytes,
            data_bytes: report.data_bytes,
            shared_bytes: report.shared_bytes,
            metastore: None,
            read_back: None,
            users: None,
            applied: None,
            lost_count: None,
            on_conflict: None,
            new_policies: None,
            merged_shards: None,
            missing: sentences(&report.missing),
            unproven: sentences(&report.unproven),
            gaps: &report.gaps,
            lost_shards: losses.map(|losses| losses.shards),
            lost_databases: losses.map_or(&[], |losses| &losses.databases),
            server_changed: losses.map(|losses| losses.other_server.is_some()),
            seconds: Seconds(report.elapsed),
            since: report.since,
            shortfalls: Shortfalls {
                missing: &report.missing,
                unproven: &report.unproven,
                in_part: 0,
            },
            host: None,
            merged_into: None,
        }
    }

    /// The end of a restore, into the server at `host` where there is one.
    pub(crate) fn of_restore(
        report: &'a RestoreReport,
        repository: &Location,
        host: Option<&'a str>,
        dry_run: bool,
    ) -> Self {
        let metastore = report.metastore.as_deref();
        let merge = report.merge.as_ref();
        let merged = merge.map(|merge| merge.shards.iter().map(MergedMessage::from));
        Self {
            command: RunCommand::Restore,
            set: Some(report.set.as_str()),
            number: None,
            directory: repository.to_string(),
            dry_run,
            shards: report.shards,
            shared: 0,
            empty: 0,
            unknown_size: 0,
            only_if_changed: 0,
            files: Some(report.files),
            bytes: report.bytes,
            data_bytes: report.bytes.saturating_add(report.metastore_bytes),
            shared_bytes: 0,
            metastore: metastore.map(|path| path.display().to_string()),
            read_back: report.read_back,
            users: report.users.as_ref().map(|users| users.added),
            applied: report.applied.map(|applied| AppliedMessage {
                users: applied.users,
                grants: applied.grants,
                continuous_queries: applied.continuous_queries,
                subscriptions: applied.subscriptions,
                not_applied: applied.not_applied,
            }),
            lost_count: report.lost.as_ref().map(|lost| lost.count()),
            on_conflict: merge.map(|merge| merge.on_conflict.word()),
            new_policies: merge.map(|merge| merge.new_policies),
            merged_shards: merged.map(Iterator::collect),
            missing: sentences(&report.missing),
            unproven: Vec::new(),
            gaps: &[],
            lost_shards: None,
            lost_databases: &[],
            server_changed: None,
            seconds: Seconds(report.elapsed),
            since: None,
            shortfalls: Shortfalls {
                missing: &report.missing,
                unproven: &[],
                in_part: report.in_part.len(),
            },
            host,
            merged_into: merge.map(|merge| merge.database.as_str()),
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
        let Shortfalls {
            missing, unproven, ..
        } = self.shortfalls;
        Tally {
            set: self.set.map(str::to_owned),
            bytes: Some(self.bytes),
            shards,
            wrong: [grouped(missing), grouped(unproven)].concat(),
            lost_databases: self.lost_shards.map(|_| self.lost_databases.len()),
            server_changed: self.server_changed,
            ..Tally::default()
        }
    }

    /// What is missing, or may be: a line for all shards with the same reason.
    pub(crate) fn lacks(&self) -> impl Iterator<Item = String> {
        let Shortfalls {
            missing, unproven, ..
        } = self.shortfalls;
        let missing = grouped(missing).into_iter();
        let unproven = grouped(unproven).into_iter();
        missing
            .map(|text| format!("missing: {text}"))
            .chain(unproven.map(|text| format!("unproven: {text}")))
    }

    /// The last line in text.
    pub(crate) fn line(&self) -> String {
        let directory = &self.directory;
        let seconds = self.seconds.to_string();
        let set = self.set.unwrap_or_default();
        match (self.command, self.dry_run) {
            (RunCommand::Backup, true) => {
                format!("dry run: would download {} into {directory}", self.asked())
            }
            (RunCommand::Backup, false) => {
                let partial = if self.is_whole() { "" } else { " (partial)" };
                let parts = [self.stored(), self.added(), seconds, directory.clone()];
                format!("set {set}{partial}: {}", parts.join(", "))
            }
            (RunCommand::Restore, true) => {
                let restored = self.restored().join(", ");
                format!("dry run: would restore set {set} from {directory}: {restored}")
            }
            (RunCommand::Restore, false) => {
                let mut parts = self.restored();
                parts.extend([seconds, format!("from {directory}")]);
                format!("restored set {set}: {}", parts.join(", "))
            }
        }
    }

    /// What a dry run of a backup would download, as far as it is known.
    fn asked(&self) -> String {
        let shards = plural(self.shards, "shard");
        let shards = match self.only_if_changed {
            0 => shards,
            all if all == self.shards => format!("{shards}, each only if it has changed"),
            some => format!("{shards}, {some} of them only if they have changed"),
        };
        match (self.shards, self.unknown_size) {
            (0, _) => shards,
            (_, 0) => format!("{shards}, {} by earlier sets,", size(self.bytes)),
            (all, unknown) if unknown == all => format!("{shards} of unknown size"),
            (_, unknown) => format!(
                "{shards}, {} by earlier sets and {unknown} of unknown size,",
                size(self.bytes)
            ),
        }
    }

    /// The shards of a set, and what there is not.
    fn stored(&self) -> String {
        if let Some(since) = self.since
            && self.shards == 0
            && self.is_whole()
        {
            return format!("no shard, nothing newer than {}", date_or_time(since));
        }
        let shards = plural(self.shards, "shard");
        let mut parts = vec![match self.shared {
            0 => shards,
            shared => format!("{shards} ({shared} unchanged)"),
        }];
        match self.since {
            Some(_) if self.empty > 0 => parts.push(format!("{} with nothing newer", self.empty)),
            None if self.empty > 0 => parts.push(format!("{} with nothing to send", self.empty)),
            _ => {}
        }
        parts.extend(self.lacking());
        parts.join(", ")
    }

    /// What came, and what was there; and what the set adds on disk, as `snap list` has it, where
    /// that reads otherwise: tars are a little larger than the files in them, or compressed.
    fn added(&self) -> String {
        let own = size(self.data_bytes.saturating_sub(self.shared_bytes));
        let data = match self.shared {
            0 => own.clone(),
            _ => format!("{own} added to {}", size(self.shared_bytes)),
        };
        match size(self.bytes) {
            on_disk if on_disk == own => data,
            on_disk => format!("{data} of data, {on_disk} on disk"),
        }
    }

    /// What was restored, and how sure that is.
    fn restored(&self) -> Vec<String> {
        let mut parts = Vec::new();
        let is_of_users_alone = self.users.is_some() && self.shards == 0;
        let is_metastore_alone = self.metastore.is_some() && self.shards == 0;
        if !((is_metastore_alone || is_of_users_alone) && self.missing.is_empty()) {
            parts.push(plural(self.shards, "shard"));
            parts.extend(self.lacking());
            parts.extend(self.files.map(|files| plural(files, "file")));
        }
        if !is_of_users_alone {
            parts.push(size(self.data_bytes));
        }
        parts.extend(self.users.map(|users| plural(users, "user")));
        parts.extend(self.applied.iter().flat_map(AppliedMessage::parts));
        parts.extend(self.metastore.clone());
        if let Some(shards) = &self.merged_shards {
            let counts = [
                (shards.iter().filter(|shard| shard.new_shard).count(), "new"),
                (
                    shards.iter().filter(|shard| shard.is_cut).count(),
                    "of cut ones",
                ),
            ];
            let counts = counts.into_iter().filter(|(count, _)| *count > 0);
            parts.extend(counts.map(|(count, what)| format!("{count} {what}")));
            let written: u64 = shards.iter().map(|shard| shard.points_written).sum();
            if written > 0 {
                parts.push(format!("{} written through HTTP", plural(written, "point")));
            }
            parts.extend(
                self.merged_into
                    .map(|name| format!("into database '{name}'")),
            );
            let rule = self.on_conflict.unwrap_or_default();
            parts.push(format!("on conflict the {rule}'s value"));
        }
        parts.extend(self.host.map(|host| match (self.dry_run, self.read_back) {
            (true, _) => format!("into {host}"),
            (false, None) => format!("sent to {host} and not read back"),
            (false, Some(all)) if all == self.shards => format!("read back from {host}"),
            (false, Some(some)) => format!("{some} of them read back from {host}"),
        }));
        parts
    }

    fn lacking(&self) -> impl Iterator<Item = String> {
        let in_part = self.shortfalls.in_part;
        let not_applied = self
            .applied
            .as_ref()
            .map_or(0, |applied| applied.not_applied);
        let missing = self.missing_shards().saturating_sub(in_part + not_applied);
        let counts = [
            (in_part, "of them in part"),
            (missing, "missing"),
            (self.unproven.len(), "unproven"),
        ];
        let counts = counts.into_iter().filter(|(count, _)| *count > 0);
        let counts = counts.map(|(count, what)| format!("{count} {what}"));
        let statements = plural(not_applied, "statement");
        counts.chain((not_applied > 0).then(|| format!("{statements} not applied")))
    }

    /// How many shards something is missing of; what is not told of one shard counts as one.
    fn missing_shards(&self) -> usize {
        let missing = self.shortfalls.missing;
        let shards: HashSet<&str> = missing
            .iter()
            .filter_map(|of| of.shard.as_deref())
            .collect();
        shards.len() + missing.iter().filter(|of| of.shard.is_none()).count()
    }
}

fn sentences(shortfalls: &[Shortfall]) -> Vec<String> {
    shortfalls.iter().map(ToString::to_string).collect()
}

#[cfg(test)]
#[path = "run_tests.rs"]
mod tests;
