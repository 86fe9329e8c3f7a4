//! What both kinds of restore check, count and tell in the same way.

use std::collections::{BTreeSet, HashSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use super::checked_shard::CheckedShard;
use super::lost::LostList;
use super::merge_options::ConflictRule;
use super::source::Source;
use crate::error::ErrorKind;
use crate::metastore::users::UserCount;
use crate::ops::Shortfall;
use crate::repository::SetId;
use crate::shard::ShardPath;
use crate::sizes::total;
use crate::text::plural;
use crate::tsm::is_file_name;

/// What a restore did.
#[derive(Debug, Clone)]
pub struct RestoreReport {
    /// The set that was restored; with files of sets before it, where it needs those.
    pub set: SetId,
    /// Shards restored, or for a dry run, those that would be.
    pub shards: usize,
    /// Their files.
    pub files: usize,
    /// Bytes of those files.
    pub bytes: u64,
    /// The `meta.db` that was written, or would be; none where the target's stays as it is.
    pub metastore: Option<PathBuf>,
    /// Its bytes; 0 where there is none.
    pub metastore_bytes: u64,
    /// Shards that were read back from a running server and compared; none where that was not asked
    /// for.
    pub read_back: Option<usize>,
    /// What of the selection is not in the backup, or was not restored.
    pub missing: Vec<Shortfall>,
    /// The shards among these that were restored in part, by their names in the backup.
    pub in_part: BTreeSet<String>,
    /// What became of the backup's users, where they were to be added.
    pub users: Option<UserCount>,
    /// What was applied over HTTP, or for a dry run would be; none where nothing was to be.
    pub applied: Option<AppliedStatements>,
    /// What of a damaged backup was not restored, where that was left out.
    pub lost: Option<Arc<LostList>>,
    /// What came into a database that the server had; none where none did.
    pub merge: Option<MergeReport>,
    /// How long it took.
    pub elapsed: Duration,
}

impl RestoreReport {
    /// What comes of a restore into so many shards of a running server, before anything is sent.
    pub(super) fn of_live(source: &Source, shards: &[CheckedShard], targets: usize) -> Self {
        let sizes = || shards.iter().flat_map(CheckedShard::tsm_files);
        let missing = missing(&source.chains.missing, shards, None);
        Self {
            set: source.set.clone(),
            shards: targets,
            files: sizes().count(),
            bytes: total(sizes().map(|(_, size)| size)),
            metastore: None,
            metastore_bytes: 0,
            read_back: None,
            in_part: in_part(&missing, shards),
            missing,
            users: None,
            applied: None,
            lost: None,
            merge: None,
            elapsed: Duration::ZERO,
        }
    }
}

/// What came into a database that a server had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergeReport {
    /// The database, as it is called on the server.
    pub database: String,
    /// Whose value counts where both have one.
    pub on_conflict: ConflictRule,
    /// Retention policies that were made, or for a dry run, would be.
    pub new_policies: usize,
    /// The server's shards that got points, or would.
    pub shards: Vec<MergedShard>,
}

/// A shard of a server that gets points.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MergedShard {
    /// What it is called there; with the id 0 where it was not made yet.
    pub path: ShardPath,
    /// First nanosecond of its group.
    pub start: i64,
    /// First nanosecond behind its group.
    pub end: i64,
    /// The ids of the shards of the backup that the points are from.
    pub sources: Vec<u64>,
    /// Whether points made it.
    pub is_new: bool,
    /// Whether not all points of those shards belong to it.
    pub is_cut: bool,
    /// Points that were written through the HTTP API, which make the shard and its fields known.
    pub points_written: u64,
}

/// How many statements a server took, with those of which it had the result already; none of a kind
/// that was not to be applied.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct AppliedStatements {
    /// Users, with new passwords.
    pub users: Option<usize>,
    /// Grants.
    pub grants: Option<usize>,
    /// Continuous queries.
    pub continuous_queries: Option<usize>,
    /// Subscriptions.
    pub subscriptions: Option<usize>,
    /// Statements that it did not take.
    pub not_applied: usize,
}

/// What is not restored: what the backup lacks, what influxd will not show, and what is damaged.
pub(super) fn missing(
    of_backup: &[Shortfall],
    shards: &[CheckedShard],
    lost: Option<&LostList>,
) -> Vec<Shortfall> {
    let undecided = shards.iter().filter_map(|shard| {
        let reason = shard.undecided.as_ref()?;
        Some(Shortfall::of_shard(&shard.source, reason))
    });
    let lost = lost.map_or_else(Vec::new, LostList::shortfalls);
    of_backup
        .iter()
        .cloned()
        .chain(undecided)
        .chain(lost)
        .collect()
}

/// The names of the shards of which some is missing, and some is restored.
pub(super) fn in_part(missing: &[Shortfall], shards: &[CheckedShard]) -> BTreeSet<String> {
    let named: HashSet<&str> = missing
        .iter()
        .filter_map(|of| of.shard.as_deref())
        .collect();
    let restored = shards
        .iter()
        .filter(|shard| shard.files.iter().next().is_some());
    let restored = restored.map(|shard| shard.source.to_string());
    restored.filter(|name| named.contains(&**name)).collect()
}

/// How many of the shards have deletes that are not yet compacted.
pub(super) fn count_with_deletes(shards: &[CheckedShard]) -> usize {
    let with_deletes = shards.iter().filter(|shard| shard.files.have_deletes());
    with_deletes.count()
}

/// Tells that deletes are applied to so many shards.
pub(super) fn deletes_applied(shards: usize) -> String {
    format!("{}: the points are left out", have_deletes(shards))
}

/// `1 shard has deletes that are not yet compacted`.
pub(super) fn have_deletes(shards: usize) -> String {
    let verb = if shards == 1 { "has" } else { "have" };
    let shards = plural(shards, "shard");
    format!("{shards} {verb} deletes that are not yet compacted")
}

/// Refuses TSM files with names with which influxd could not open the shard.
pub(super) fn ensure_influxd_opens_names(shards: &[CheckedShard]) -> Result<()> {
    for shard in shards {
        let names = shard.files.iter().map(|(name, _)| name);
        let mut tsm_files = names.filter(|name| name.ends_with(".tsm"));
        if let Some(name) = tsm_files.find(|name| !is_file_name(name)) {
            let error = ErrorKind::Damage.error(format!(
                "{name} in shard {} is not named <generation>-<sequence>.tsm",
                shard.source
            ));
            return Err(error
                .hint("influxd could not open the shard with it")
                .into());
        }
    }
    Ok(())
}
