//! What a server held at the last backup and holds no more: how a lost volume shows in the sets.
//!
//! Shards go for good reasons, too. One that its retention policy let expire is no loss; a dropped
//! database is one, because nothing in a backup tells whether it was meant.

use std::collections::{BTreeMap, BTreeSet};

use crate::metastore::Data;
use crate::repository::{
    Catalog, Content, Manifest, Origin, Selection, Set, SetId, SetRecord, ShardRecord, ShardState,
};
use crate::text::name_list;
use crate::time;

/// What a set holds no more, compared with an earlier one of the same selection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Losses {
    /// The earlier set: the newest of the same server, or if this one holds no shard, the newest
    /// that holds any.
    pub before: SetId,
    /// How many shards that holds, but for those that have expired since.
    pub of: usize,
    /// How many of these are gone.
    pub shards: usize,
    /// The databases of which no shard is left, though not all expired.
    pub databases: Vec<String>,
    /// Whether the set holds no shard at all.
    pub is_empty: bool,
    /// The cluster ids then and now, where they differ: the server was made anew, or is another.
    pub other_server: Option<(u64, u64)>,
}

impl Losses {
    /// Compares the set at `at` with the one before it; `None` where there is none, or it takes no
    /// whole shards. Only `database` is looked at, where one is named.
    pub(crate) fn of_set(catalog: &Catalog, at: usize, database: Option<&str>) -> Option<Self> {
        let set = &catalog.sets()[at];
        let record = set.record()?;
        let is_empty = !holds_any(record, database);
        let (before, earlier) = earlier(catalog, at, record, is_empty.then_some(database))?;
        let is_related = is_same_server(earlier, record);
        let other_server = earlier
            .cluster_id
            .zip(record.cluster_id)
            .filter(|(then, now)| then != now);
        let policies = Policies {
            now: catalog.read_meta(set).ok().map(|(_, data)| data),
            then: catalog.read_meta(before).ok().map(|(_, data)| data),
        };
        // Ids begin anew on another server. The times of groups do not.
        let key = |shard: &ShardRecord| {
            let place = match other_server {
                None => (shard.id, 0),
                Some(_) => (0, time::to_nanos(shard.start_time)),
            };
            (
                shard.database.clone(),
                shard.retention_policy.clone(),
                place,
            )
        };
        let there: BTreeSet<_> = record
            .shards
            .iter()
            .filter(|shard| is_there(shard))
            .map(key)
            .collect();
        let expected = earlier
            .shards
            .iter()
            .filter(|shard| holds(shard) && of_database(shard, database))
            .filter(|shard| there.contains(&key(shard)) || !policies.expired(shard, record));
        // A server that is new to the directory need not hold what another one does.
        let expected =
            expected.filter(|shard| is_related || is_empty || there.contains(&key(shard)));
        let (mut of, mut shards) = (0, 0);
        let mut lost: BTreeMap<&str, bool> = BTreeMap::new();
        for shard in expected {
            let is_there = there.contains(&key(shard));
            of += 1;
            shards += usize::from(!is_there);
            let all = lost.entry(&shard.database).or_insert(true);
            *all &= !is_there;
        }
        let has = |name: &str| {
            let mut shards = record.shards.iter();
            shards.any(|shard| shard.database == name && is_there(shard))
        };
        let databases = lost
            .into_iter()
            .filter(|(name, all)| *all && !has(name))
            .map(|(name, _)| name.to_owned())
            .collect();
        Some(Self {
            before: before.id.clone(),
            of,
            shards,
            databases,
            is_empty: is_empty && of > 0,
            other_server,
        })
    }

    /// Whether more than that share of the shards is gone.
    pub(crate) fn exceed(&self, percent: u8) -> bool {
        self.shards * 100 > self.of * usize::from(percent)
    }

    /// What an operator should know, a sentence each.
    pub(crate) fn sentences(&self) -> Vec<String> {
        let before = &self.before;
        let mut sentences = Vec::new();
        if let Some((then, now)) = self.other_server {
            sentences.push(format!(
                "the server has another cluster id ({now}) than in set {before} ({then}): it was \
                 set up anew, or is another one"
            ));
        }
        sentences.extend(self.empty());
        if !self.is_empty {
            sentences.extend(self.gone_databases());
            if self.exceed(MOST) {
                sentences.push(self.gone_shards());
            }
        }
        sentences
    }

    /// That no shard is left, where none is.
    pub fn empty(&self) -> Option<String> {
        self.is_empty.then(|| {
            format!(
                "it holds no shard, but set {} before it holds {}: look at once whether the \
                 server has lost its data",
                self.before, self.of
            )
        })
    }

    /// Which databases are gone, where some are.
    pub(crate) fn gone_databases(&self) -> Option<String> {
        let quoted: Vec<String> = self
            .databases
            .iter()
            .map(|name| format!("'{name}'"))
            .collect();
        (!quoted.is_empty()).then(|| {
            format!(
                "databases that set {} holds have no shard any more: {}",
                self.before,
                name_list(&quoted)
            )
        })
    }

    /// How many shards are gone.
    pub(crate) fn gone_shards(&self) -> String {
        format!(
            "{} of the {} shards that set {} holds are gone from the server, and did not expire",
            self.shards, self.of, self.before
        )
    }
}

/// From which share of the shards on, in percent, a backup warns.
const MOST: u8 = 50;

/// A set that holds what another one does not.
pub(crate) struct Holding<'a> {
    pub set: &'a Set,
    /// How many shards it holds of what was asked for.
    pub shards: usize,
    /// Whether it is known to be a set of another server.
    pub of_other_server: bool,
}

impl Holding<'_> {
    /// Its id, and whose it is.
    pub(crate) fn name(&self) -> String {
        match self.of_other_server {
            true => format!("set {} of another server", self.set.id),
            false => format!("set {}", self.set.id),
        }
    }
}

/// The newest set, but for that at `at`, that holds shards that `selection` takes: one of the same
/// server, if there is any.
pub(crate) fn newest_holding<'a>(
    catalog: &'a Catalog,
    at: usize,
    selection: &Selection,
) -> Option<Holding<'a>> {
    let own = catalog.sets()[at].record();
    let is_of_other = |set: &Set| {
        let both = own.zip(set.record());
        both.is_some_and(|(own, other)| !is_same_server(own, other))
    };
    let sets = catalog.sets().iter().enumerate().rev();
    let others = sets.filter(|(other, _)| *other != at);
    let holding = |of_other_server: bool| {
        let those = others
            .clone()
            .filter(move |(_, set)| is_of_other(set) == of_other_server);
        let mut holding = those.map(move |(other, set)| Holding {
            set,
            shards: held_by(catalog, other, selection),
            of_other_server,
        });
        holding.find(|holding| holding.shards > 0)
    };
    holding(false).or_else(|| holding(true))
}

fn held_by(catalog: &Catalog, at: usize, selection: &Selection) -> usize {
    let set = &catalog.sets()[at];
    match &set.origin {
        Origin::Recorded(record) => stored(record, selection),
        Origin::Listed(manifest) => listed(manifest, selection),
        Origin::Loose { .. } => {
            let Ok((_, data)) = catalog.read_meta(set) else {
                return 0;
            };
            let shards = data.shards().map(|shard| shard.path);
            let taken = shards.filter(|path| selection.takes(path));
            taken
                .filter(|path| catalog.file_of(at, path).is_some())
                .count()
        }
    }
}

fn stored(record: &SetRecord, selection: &Selection) -> usize {
    let shards = record.shards.iter();
    let stored = shards.filter(|shard| shard.state == ShardState::Stored);
    stored
        .filter(|shard| selection.takes(&shard.path()))
        .count()
}

fn listed(manifest: &Manifest, selection: &Selection) -> usize {
    let is = |wanted: &Option<String>, listed: &str| {
        listed.is_empty() || wanted.as_ref().is_none_or(|wanted| wanted == listed)
    };
    let taken = manifest.entries().iter().filter(|entry| {
        is(&selection.database, &entry.database)
            && is(&selection.retention_policy, &entry.policy)
            && selection.shard.is_none_or(|id| id == entry.shard_id)
    });
    taken.count()
}

/// The set to compare with: of the same selection, and of the same server by its cluster id or its
/// address; else, of any.
fn earlier<'a>(
    catalog: &'a Catalog,
    at: usize,
    record: &SetRecord,
    empty_of: Option<Option<&str>>,
) -> Option<(&'a Set, &'a SetRecord)> {
    let alike = |other: &SetRecord| {
        let without_since = |record: &SetRecord| Selection {
            since: None,
            ..record.selection.clone()
        };
        without_since(other) == without_since(record)
    };
    if record.is_part() || record.selection.meta_only {
        return None;
    }
    let older = || {
        let sets = catalog.sets()[..at].iter().rev();
        let records = sets.filter_map(|set| Some((set, set.record()?)));
        records
            .filter(|(_, other)| alike(other))
            .filter(|(_, other)| empty_of.is_none_or(|database| holds_any(other, database)))
    };
    older()
        .find(|(_, other)| is_same_server(other, record))
        .or_else(|| older().next())
}

/// Whether two sets are of one server, made anew in between or not.
fn is_same_server(one: &SetRecord, other: &SetRecord) -> bool {
    one.host == other.host || one.cluster_id == other.cluster_id
}

fn of_database(shard: &ShardRecord, database: Option<&str>) -> bool {
    database.is_none_or(|database| shard.database == database)
}

fn holds_any(record: &SetRecord, database: Option<&str>) -> bool {
    let mut shards = record.shards.iter();
    shards.any(|shard| of_database(shard, database) && holds(shard))
}

/// Whether the server had something of it: it is stored, or had not changed since the set before.
fn holds(shard: &ShardRecord) -> bool {
    match shard.state {
        ShardState::Stored | ShardState::Failed => true,
        ShardState::Empty => shard.content == Content::Since,
        ShardState::Expired | ShardState::NotHeld => false,
    }
}

/// Whether the server still has it, as far as it says.
fn is_there(shard: &ShardRecord) -> bool {
    holds(shard) || shard.state == ShardState::NotHeld
}

/// How long retention policies keep points, by the metastores of two sets.
struct Policies {
    now: Option<Data>,
    then: Option<Data>,
}

impl Policies {
    /// Whether a shard had to expire by the time that a set was begun.
    fn expired(&self, shard: &ShardRecord, by: &SetRecord) -> bool {
        let of = |data: &Option<Data>| {
            let database = data.as_ref()?.database(&shard.database)?;
            Some(database.retention_policy(&shard.retention_policy)?.duration)
        };
        let duration = of(&self.now).or_else(|| of(&self.then)).unwrap_or(0);
        let end = i128::from(time::to_nanos(shard.end_time)) + i128::from(duration);
        duration > 0 && end <= i128::from(time::to_nanos(by.finished))
    }
}

#[cfg(test)]
#[path = "losses_tests.rs"]
mod tests;
