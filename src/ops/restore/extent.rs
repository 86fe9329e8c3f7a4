//! What a set is of: the databases and retention policies that it holds, and those that it was asked
//! for where they held nothing. Its metastore names all that the server had.

use std::collections::BTreeSet;

use crate::repository::{Selection, Set};
use crate::shard::{Name, ShardPath};

/// What a set is of, with what the directory holds beside it where that is read too.
#[derive(Debug)]
pub(in crate::ops) struct SetExtent {
    /// The policies, each behind its database, of which there are shards.
    found: BTreeSet<(Name, Name)>,
    /// Those with shards that no set was asked for.
    unasked: BTreeSet<(Name, Name)>,
    /// What the set was asked for, where that was recorded.
    asked: Option<Selection>,
}

impl SetExtent {
    /// Of a set, which has shards `found`, and was not asked for those `unasked`.
    pub(super) fn of<'a>(
        set: &Set,
        found: impl Iterator<Item = &'a ShardPath>,
        unasked: impl Iterator<Item = &'a ShardPath>,
    ) -> Self {
        let policy = |shard: &ShardPath| (shard.database.clone(), shard.retention_policy.clone());
        Self {
            found: found.map(policy).collect(),
            unasked: unasked.map(policy).collect(),
            asked: set.record().map(|record| record.selection.clone()),
        }
    }

    /// The flags that it was made with, of those that choose databases and shards; empty where it
    /// is of all, or nobody knows.
    pub(super) fn flags(&self) -> String {
        self.asked
            .as_ref()
            .map(Selection::flags)
            .unwrap_or_default()
    }

    /// Whether it is of a database. An empty one is as good as any other, if it was asked for.
    pub(super) fn has_database(&self, name: &str) -> bool {
        let is_it = |(database, _): &(Name, Name)| **database == *name;
        let was_asked = |asked: &Selection| asked.takes_database(name);
        self.found.iter().any(is_it)
            || !self.unasked.iter().any(is_it) && self.asked.as_ref().is_none_or(was_asked)
    }

    /// Whether it is of a retention policy, which its metastore need not name.
    pub(in crate::ops) fn has_policy(&self, database: &Name, policy: &Name) -> bool {
        let key = (database.clone(), policy.clone());
        let was_asked = |asked: &Selection| asked.takes_policy(database, policy);
        self.found.contains(&key)
            || !self.unasked.contains(&key) && self.asked.as_ref().is_none_or(was_asked)
    }
}
