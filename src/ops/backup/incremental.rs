//! What a backup can have from an earlier run instead of downloading it again: from a set, which it
//! shares the file with, or from a run that ended before its time, whose file it takes over.
//!
//! That is done only when the server has nothing of the shard that is newer than what the file
//! holds. What is newer the server tells by modification times, which a tar has in whole seconds,
//! and only for files that there are. So a shard is asked about only when its newest file was old
//! already when the earlier run was begun, and when no deletes were under way in it.

use std::collections::HashSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};

use crate::repository::{
    Catalog, Chains, Comparison, Content, FileRecord, Layout, MemberRecord, Selection, SetId,
    SetRecord, ShardRecord, ShardState,
};
use crate::shard::ShardPath;

/// How times are rounded in a tar: to the nearest second, or down.
const ROUNDING: SignedDuration = SignedDuration::from_secs(1);

/// The most files of a shard that are asked for one by one; a shard that has not changed for long
/// has few.
const MOST_PROBES: usize = 16;

/// How a backup builds on earlier sets.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum IncrementalMode {
    /// Not at all.
    Not,
    /// It takes what was modified after the newest complete set was begun.
    SinceLast {
        /// How much earlier it begins: more than the clocks of server and client may differ.
        margin: Duration,
    },
    /// It shares the shards that have not changed.
    Incremental {
        /// All are downloaded after so many sets that shared some.
        full_every: Option<u32>,
        /// How old the newest file of a shard has to be: more than the clocks of server and client
        /// may differ.
        margin: Duration,
        /// How a file is compared with its record before it is shared.
        comparison: Comparison,
    },
}

impl IncrementalMode {
    /// How a file is compared with its record before it is shared.
    pub(super) fn comparison(&self) -> Comparison {
        match self {
            Self::Incremental { comparison, .. } => *comparison,
            // Nothing is shared.
            Self::Not | Self::SinceLast { .. } => Comparison::Digest,
        }
    }
}

/// A shard's file of an earlier run.
#[derive(Debug, Clone)]
pub(crate) struct Base {
    /// The set that downloaded it; none where the run made no set, and the file becomes one of this
    /// run's set.
    pub set: Option<SetId>,
    /// Its name in the repository.
    pub name: String,
    /// Its size and sum.
    pub file: FileRecord,
    /// Bytes of its tar, where it holds that compressed.
    pub tar_size: Option<u64>,
    /// The members of its tar.
    pub members: Vec<MemberRecord>,
    /// What is modified after this time is not in it, and all that is in it was modified before.
    pub since: Timestamp,
    /// What shows that each member is still there.
    pub probes: Vec<Probe>,
}

impl Base {
    /// The file of a shard as a run recorded it that was begun at `started`; none where the server
    /// could not tell whether it has changed since.
    pub(super) fn new(
        shard: &ShardRecord,
        started: Timestamp,
        margin: Option<Duration>,
        set: Option<SetId>,
        name: String,
    ) -> Option<Self> {
        let had_deletes =
            shard.deletes_applied || shard.members.iter().any(MemberRecord::is_tombstone);
        if had_deletes || shard.unproven.is_some() {
            return None;
        }
        // An index follows from what is in the other files; servers 1.3 and 1.4 write theirs
        // whenever they are asked for a shard.
        let members: Vec<MemberRecord> = shard
            .members
            .iter()
            .filter(|member| !member.is_index())
            .cloned()
            .collect();
        let probes = probes(&members)?;
        let newest = members.iter().map(|member| member.modified).max()?;
        let since = newest.checked_add(ROUNDING).ok()?;
        let was_cold = match margin {
            Some(margin) => since.checked_add(margin).ok()? < started,
            None => true,
        };
        was_cold.then_some(Self {
            set,
            name,
            file: shard.file.clone()?,
            tar_size: shard.tar_size,
            members: shard.members.clone(),
            since,
            probes,
        })
    }
}

/// A question to a server and the beginning of its answer: files modified after a time come in the
/// order of their names.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Probe {
    /// The time.
    pub since: Timestamp,
    /// The first file of the answer.
    pub first: MemberRecord,
}

/// The questions that show of each member that it is still there; none where one cannot be shown
/// without sending others. Where all of a file was deleted and compacted away, nothing is newer
/// than before.
fn probes(members: &[MemberRecord]) -> Option<Vec<Probe>> {
    if members.len() > MOST_PROBES {
        return None;
    }
    let probe = |member: &MemberRecord| {
        let since = member.modified.checked_sub(ROUNDING + ROUNDING).ok()?;
        // What may come too, times being rounded.
        let may_come = |other: &&MemberRecord| {
            other
                .modified
                .checked_add(ROUNDING)
                .is_ok_and(|modified| modified > since)
        };
        let first = members
            .iter()
            .filter(may_come)
            .map(|other| &other.name)
            .min()?;
        (*first == member.name).then(|| Probe {
            since,
            first: member.clone(),
        })
    };
    members.iter().map(probe).collect()
}

/// The sets that a backup may build on, newest first.
pub(crate) struct Earlier<'a> {
    catalog: &'a Catalog,
    sets: Vec<(usize, &'a SetRecord)>,
    /// The ids of those that would be, had they not been begun later than now.
    ahead: Vec<&'a SetId>,
}

impl<'a> Earlier<'a> {
    /// Those in a directory, of the server with that cluster id.
    pub(super) fn of(catalog: &'a Catalog, cluster_id: u64, now: Timestamp) -> Self {
        let (sets, ahead) = Chains::to_build_on(catalog, cluster_id, now);
        Self {
            catalog,
            sets,
            ahead,
        }
    }

    /// Those that no removal is about to take away.
    pub(super) fn without(mut self, going: &HashSet<SetId>) -> Self {
        self.sets.retain(|(_, set)| !going.contains(&set.id));
        self
    }

    /// The ids of the sets that are not built on because they were begun later than now, newest
    /// first.
    pub(super) fn ahead(&self) -> impl Iterator<Item = &'a SetId> {
        self.ahead.iter().copied()
    }

    /// The newest set of the same selection that can be restored whole: what was modified after it
    /// was begun is not in it.
    pub(super) fn last(&self, selection: &Selection) -> Option<&'a SetRecord> {
        Chains::of(self.catalog).last_of(&self.sets, selection)
    }

    /// Whether it is time to download all shards again.
    pub(crate) fn is_full_due(&self, selection: &Selection, every: u32) -> bool {
        let sets = self.sets.iter().map(|(_, set)| *set);
        let same = sets.filter(|set| set.selection == *selection);
        let shares = |set: &&SetRecord| set.shards.iter().any(|shard| shard.shared_with.is_some());
        same.take_while(shares).count() as u32 + 1 >= every
    }

    /// The file that a shard can be shared with, where the server has nothing newer.
    pub(crate) fn base(
        &self,
        path: &ShardPath,
        for_selection: &Selection,
        layout: Layout,
        margin: Option<Duration>,
    ) -> Option<Base> {
        let whole = |set: &&SetRecord| {
            let selection = &set.selection;
            let alike = selection.ignore_wal == for_selection.ignore_wal;
            alike
                && for_selection.series.takes_all()
                && !selection.meta_only
                && !set.is_part()
                && selection.since.is_none()
                && selection.takes(path)
        };
        let set = self.sets.iter().map(|(_, set)| *set).find(whole)?;
        let shard = set
            .shard(path)
            .filter(|shard| shard.content == Content::Whole)?;
        let file = shard.file.as_ref().filter(|_| set.layout == layout)?;
        if self.catalog.file(&file.name) != Some(file.size) {
            return None;
        }
        let downloaded_by = shard.shared_with.clone().unwrap_or_else(|| set.id.clone());
        let name = file.name.clone();
        Base::new(shard, set.started, margin, Some(downloaded_by), name)
    }

    /// The shards of the newest set of the same selection that the server no longer names.
    pub(crate) fn vanished(
        &self,
        selection: &Selection,
        is_named: impl Fn(&ShardPath) -> bool,
    ) -> Vec<String> {
        let mut sets = self.sets.iter().map(|(_, set)| *set);
        let Some(set) = sets.find(|set| set.selection == *selection) else {
            return Vec::new();
        };
        let stored = set
            .shards
            .iter()
            .filter(|shard| shard.state == ShardState::Stored);
        stored
            .map(ShardRecord::path)
            .filter(|path| !is_named(path))
            .map(|path| path.to_string())
            .collect()
    }
}

#[cfg(test)]
#[path = "incremental_tests.rs"]
mod tests;
