//! What sets stand on: the earlier sets without which one of them cannot be restored whole.

use std::collections::{BTreeSet, HashMap};

use crate::directory::{Content, Contents, Set, SetRecord, ShardRecord, ShardState};
use crate::format::names;
use crate::wire::ShardPath;

/// For each set of the directory the earlier sets that it stands on directly. What these stand on is told of them.
///
/// An increment stands, shard by shard, on the newest earlier set that was asked for the shard and had it, or says that there
/// was none. A set that could not get a shard stands on the newest one that has it. Nobody knows what a set of influxd's was
/// asked for: it may be an increment.
pub fn standing(contents: &Contents) -> Vec<BTreeSet<usize>> {
    let sets = Sets::new(contents);
    (0..contents.sets().len())
        .map(|at| sets.below(at))
        .collect()
}

struct Sets<'a> {
    contents: &'a Contents,
    /// Where each shard is stored, oldest first.
    stored: HashMap<(&'a str, &'a str, u64), Vec<usize>>,
}

impl<'a> Sets<'a> {
    fn new(contents: &'a Contents) -> Self {
        let mut stored: HashMap<_, Vec<usize>> = HashMap::new();
        for (at, record) in Self::records(contents, contents.sets().len()) {
            for shard in record
                .shards
                .iter()
                .filter(|shard| shard.state == ShardState::Stored)
            {
                stored.entry(key(shard)).or_default().push(at);
            }
        }
        Self { contents, stored }
    }

    /// The records that a set at `end` or later may stand on, oldest first.
    fn records(
        contents: &Contents,
        end: usize,
    ) -> impl DoubleEndedIterator<Item = (usize, &SetRecord)> {
        let sets = contents.sets()[..end].iter().enumerate();
        let records = sets.filter_map(|(at, set)| Some((at, set.record.as_ref()?)));
        records.filter(|(_, record)| !record.is_range() && !record.selection.meta_only)
    }

    fn below(&self, at: usize) -> BTreeSet<usize> {
        let set = &self.contents.sets()[at];
        let Some(record) = &set.record else {
            return self.below_unrecorded(at, set);
        };
        let mut below = BTreeSet::new();
        for shard in &record.shards {
            match (shard.state, shard.content) {
                (ShardState::NotHeld | ShardState::Failed, Content::Whole | Content::Since) => {
                    if let Some(stored) = self.newest_stored(at, record, shard) {
                        // Between them may stand one that says that there was nothing left.
                        below.extend(self.before(at, record, shard).into_iter().chain([stored]));
                    }
                }
                (ShardState::Stored | ShardState::Empty, Content::Since) => {
                    below.extend(self.before(at, record, shard))
                }
                _ => {}
            }
        }
        below
    }

    /// The newest set before `at` that has a file of the shard.
    fn newest_stored(&self, at: usize, of: &SetRecord, shard: &ShardRecord) -> Option<usize> {
        let earlier = self
            .stored
            .get(&key(shard))?
            .iter()
            .rev()
            .copied()
            .filter(|other| *other < at);
        earlier
            .into_iter()
            .find(|other| self.is_same_server(*other, of))
    }

    /// The set that an increment to the shard goes on from.
    fn before(&self, at: usize, of: &SetRecord, shard: &ShardRecord) -> Option<usize> {
        let path = shard.path();
        let earlier = Self::records(self.contents, at)
            .rev()
            .filter(|(other, _)| self.is_same_server(*other, of));
        let mut takes = earlier.filter(|(_, other)| other.selection.takes(&path));
        let found = takes.find(|(other, record)| {
            match record.shard(&path).map(|shard| (shard.state, shard)) {
                Some((ShardState::Failed | ShardState::Expired, _)) => false,
                // Passed over where something older has it.
                Some((ShardState::NotHeld, shard)) => {
                    self.newest_stored(*other, record, shard).is_none()
                }
                Some((ShardState::Stored | ShardState::Empty, _)) | None => true,
            }
        });
        found.map(|(other, _)| other)
    }

    fn below_unrecorded(&self, at: usize, set: &Set) -> BTreeSet<usize> {
        let number = names::meta_number(&set.id);
        let has = |path: &ShardPath| match (&set.manifest, number) {
            (Some(manifest), _) => manifest.entries().iter().any(|entry| entry.is_of(path)),
            (None, Some(number)) => self.contents.has(&names::shard_file(path, number)),
            (None, None) => true,
        };
        let mut below = BTreeSet::new();
        for ((database, policy, id), stored) in &self.stored {
            let path = ShardPath {
                database: (*database).into(),
                retention_policy: (*policy).into(),
                id: *id,
            };
            if let Some(newest) = stored.iter().rev().find(|other| **other < at)
                && has(&path)
            {
                below.insert(*newest);
            }
        }
        below
    }

    /// Where it is not known, it is assumed.
    fn is_same_server(&self, at: usize, of: &SetRecord) -> bool {
        let other = self.contents.sets()[at]
            .record
            .as_ref()
            .and_then(|record| record.cluster_id);
        other
            .zip(of.cluster_id)
            .is_none_or(|(one, other)| one == other)
    }
}

fn key(shard: &ShardRecord) -> (&str, &str, u64) {
    (&shard.database, &shard.retention_policy, shard.id)
}
