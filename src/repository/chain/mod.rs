//! Which sets a set needs, and what is missing between them: the only place that knows.
//!
//! For one shard, a set makes a *claim*: it holds all of it, or what changed after a time, or it
//! could not have it, or the shard was not there yet. An increment that holds what changed after
//! `since` builds on an earlier set that was begun at `since` or later and holds the shard
//! whole, alone or with the sets that it builds on itself. So each set has at most one parent
//! for each shard, and where it has none although it needs one there is a [`Gap`].
//!
//! Sets of influxd's have no record. What they were asked for is not known: a file of theirs may be
//! a whole shard or an increment, so that it builds on whatever is older, and is never
//! complained of for what that lacks, but for files that are gone.
//!
//! Restore, check, verify, list, info, forget, `-incremental` and `-since last` all ask here.

mod claim;
mod gap;
mod missing;
mod parents;

use std::collections::{BTreeSet, HashMap};

use jiff::Timestamp;

use super::catalog::{BackupFile, Catalog};
use super::manifest;
use super::record::{Selection, SetRecord, SetState, ShardRecord};
use super::set::Set;
use super::set_id::SetId;
use crate::metastore::Shard;
use crate::shard::ShardPath;
use crate::time;
use claim::{Claim, Claims};
pub(crate) use gap::{Gap, Missing};
use parents::{Linker, Links};

/// The set that is asked about, among those it may build on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ChainContext {
    /// Its place among the sets.
    pub at: usize,
    /// The last of the sets that count: it, or stray files of influxd's under a later number.
    pub last: usize,
    /// Whether only what it was asked for counts, though older sets may hold more.
    pub alone: bool,
}

impl ChainContext {
    /// A set by itself, with what it builds on.
    pub(crate) fn alone(at: usize) -> Self {
        Self {
            at,
            last: at,
            alone: true,
        }
    }
}

/// What a set has of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum ShardChain {
    /// It should have it.
    Asked {
        /// The files that make it up, oldest first; none where nothing was in it.
        files: Vec<BackupFile>,
        /// What is missing of it.
        gap: Option<Gap>,
    },
    /// No set that counts was asked for it.
    NotAsked {
        /// Whether it may hold points: its time had begun.
        may_hold: bool,
    },
}

/// What older sets hold of a shard that a set itself has no word of.
struct Beside {
    /// The set that has the newest word.
    from: usize,
    files: Vec<BackupFile>,
    gap: Option<Gap>,
}

/// The chains of a backup directory.
pub(crate) struct Chains<'a> {
    claims: Claims<'a>,
    /// By server and shard.
    links: HashMap<(Option<u64>, ShardPath), Links>,
    /// Whether what is known of a shard stays when another is asked about. Other sets need it too.
    keeps_links: bool,
}

impl<'a> Chains<'a> {
    /// Those of a directory. Of sets without a record the metastores are read.
    pub(crate) fn of(catalog: &'a Catalog) -> Self {
        Self {
            claims: Claims::of(catalog),
            links: HashMap::new(),
            keeps_links: true,
        }
    }

    /// As [`Chains::of`], to be asked about one set, shard by shard.
    pub(crate) fn of_one_set(catalog: &'a Catalog) -> Self {
        Self {
            keeps_links: false,
            ..Self::of(catalog)
        }
    }

    /// Whether two sets are of different servers, as far as can be told.
    #[cfg(test)]
    pub(super) fn are_foreign(&self, one: usize, other: usize) -> bool {
        self.claims.are_foreign(one, other)
    }

    /// What a set brings back of a shard that its metastore names and does not mark as deleted.
    pub(crate) fn of_shard(&mut self, context: ChainContext, shard: &Shard) -> ShardChain {
        let path = &shard.path;
        // A stray file of influxd's is newer than the set, and nobody knows what it holds.
        let stray = (context.at + 1..=context.last).rev().find(|at| {
            !self.claims.are_foreign(*at, context.at)
                && self.claims.unrecorded_claim(*at, path).is_some()
        });
        let of_set = self.without_strays(context, shard);
        let Some(stray) = stray else {
            return of_set;
        };
        let (files, gap) = self.chain(context.at, stray, path);
        let gap = match of_set {
            ShardChain::Asked { gap: of_set, .. } => gap.or(of_set),
            ShardChain::NotAsked { .. } => gap,
        };
        ShardChain::Asked { files, gap }
    }

    fn without_strays(&mut self, context: ChainContext, shard: &Shard) -> ShardChain {
        let (at, path) = (context.at, &shard.path);
        let set = &self.claims.catalog.sets()[at];
        let may_hold = shard.start <= time::to_nanos(set.started);
        match self.claims.claim(at, path) {
            Some(Claim::NotThere) => {
                let files = self
                    .beside(context, path)
                    .map_or_else(Vec::new, |beside| beside.files);
                let set = set.id.clone();
                return ShardChain::Asked {
                    files,
                    gap: Some(Gap::NotRecorded { set }),
                };
            }
            Some(Claim::Range(_)) if !context.alone => {}
            Some(_) => {
                let (files, gap) = self.chain(at, at, path);
                return ShardChain::Asked { files, gap };
            }
            None => {}
        }
        if let Some(manifest) = set.listing() {
            let file = manifest::shard_file(set.id.as_str(), path.id);
            let mut entries = manifest.entries().iter();
            let is_listed = entries.any(|entry| entry.file_name == file);
            if !is_listed && self.claims.catalog.has(&file) {
                let set = set.id.clone();
                return ShardChain::Asked {
                    files: Vec::new(),
                    gap: Some(Gap::NotListed { set, file }),
                };
            }
        }
        self.unclaimed(context, path, may_hold)
    }

    /// As [`Chains::of_shard`], of a shard that the set has no word of, or only a part.
    fn unclaimed(&mut self, context: ChainContext, path: &ShardPath, may_hold: bool) -> ShardChain {
        let at = context.at;
        let set = &self.claims.catalog.sets()[at];
        let is_limited = set.is_limited() && may_hold;
        let is_loose = set.is_loose();
        // Of influxd's legacy directories nobody knows which files were written by the run that
        // wrote the metastore.
        let beside = match context.alone && !is_loose && !is_limited {
            true => None,
            false => self.beside(context, path),
        };
        let set = set.id.clone();
        match beside {
            _ if is_limited && path.database != "_internal" => ShardChain::Asked {
                files: beside.map_or_else(Vec::new, |beside| beside.files),
                gap: Some(Gap::Limited { set }),
            },
            Some(Beside { files, gap, .. }) => ShardChain::Asked { files, gap },
            // influxd writes a file for each shard it has open, so only a group that had not begun
            // when the metastore was fetched may lack one; and `_internal` is seldom wanted.
            None if is_loose && may_hold && path.database != "_internal" => ShardChain::Asked {
                files: Vec::new(),
                gap: Some(Gap::NoFile {
                    set,
                    others: self.has_files_of_policy(path),
                }),
            },
            // Outside what was asked for.
            None if context.alone && self.is_in_part_set(at, path) => ShardChain::Asked {
                files: Vec::new(),
                gap: None,
            },
            None => ShardChain::NotAsked { may_hold },
        }
    }

    /// Whether the legacy layout has a file that may be of the shard's retention policy.
    fn has_files_of_policy(&self, path: &ShardPath) -> bool {
        let prefix = format!("{}.{}.", path.database, path.retention_policy);
        let mut files = self.claims.catalog.shard_files();
        files.any(|name| name.starts_with(&prefix))
    }

    fn is_in_part_set(&self, at: usize, path: &ShardPath) -> bool {
        let record = self.claims.catalog.sets()[at].record();
        record.is_some_and(|record| record.is_part() && record.selection.takes(path))
    }

    /// What the directory holds of a shard that the set itself was not asked for: the newest word
    /// of an older set, or of the set where that took a part.
    fn beside(&mut self, context: ChainContext, path: &ShardPath) -> Option<Beside> {
        let mut ranges = Vec::new();
        // A set that tells why there is nothing.
        let mut explained = None;
        for at in (0..=context.at).rev() {
            if self.claims.are_foreign(at, context.at) {
                continue;
            }
            match self.claims.claim(at, path) {
                Some(Claim::Range(held)) => ranges.push((at, held.file)),
                Some(
                    Claim::Whole(_)
                    | Claim::Since(..)
                    | Claim::Unknown(_)
                    | Claim::Failed { .. }
                    | Claim::NotHeld { .. },
                ) => {
                    let (files, gap) = self.chain(context.at, at, path);
                    // Which of the two is wanted, nobody knows.
                    let gap = match (ranges.first(), files.is_empty()) {
                        (None, _) => gap,
                        (Some((_, Some(newest))), false) => Some(Gap::RangeBeside {
                            file: newest.name.clone(),
                        }),
                        (Some(_), _) => continue,
                    };
                    return Some(Beside {
                        from: at,
                        files,
                        gap,
                    });
                }
                None if self.is_in_part_set(at, path) => drop(explained.get_or_insert(at)),
                Some(Claim::Expired) => drop(explained.get_or_insert(at)),
                Some(Claim::NotThere) | None => {}
            }
        }
        let from = ranges.first().map(|(at, _)| *at);
        let (files, gap) = match from {
            Some(newest) => self.chain(context.at, newest, path),
            None => (Vec::new(), None),
        };
        Some(Beside {
            from: from.or(explained)?,
            files,
            gap,
        })
    }

    /// The earlier sets that a set builds on directly; ask again for what these build on.
    pub(crate) fn parents(&mut self, at: usize) -> BTreeSet<usize> {
        let set = &self.claims.catalog.sets()[at];
        let paths: BTreeSet<ShardPath> = match set.record() {
            Some(record) => record.shards.iter().map(ShardRecord::path).collect(),
            None => self.paths_of_unrecorded(at, set),
        };
        let cluster = self.claims.cluster(at);
        let mut parents = BTreeSet::new();
        for path in paths {
            if self.claims.claim(at, &path).is_some() {
                parents.extend(
                    self.links(cluster, at, &path)
                        .get(&at)
                        .and_then(|link| link.parent),
                );
            } else if set.is_loose() {
                // Its metastore names the shard, and an older set has the file or says why there is
                // none.
                let beside = self.beside(ChainContext::alone(at), &path);
                parents.extend(beside.map(|beside| beside.from));
            }
        }
        parents
    }

    /// The shards of which a set of influxd's may need what older sets have.
    fn paths_of_unrecorded(&self, at: usize, set: &Set) -> BTreeSet<ShardPath> {
        let older = self.claims.catalog.sets()[..at].iter();
        let recorded = older.filter_map(Set::record);
        let mut paths: BTreeSet<ShardPath> = recorded
            .flat_map(|record| record.shards.iter().map(ShardRecord::path))
            .filter(|path| self.claims.unrecorded_claim(at, path).is_some())
            .collect();
        if set.is_loose()
            && let Ok((_, data)) = self.claims.catalog.read_meta(set)
        {
            paths.extend(data.live_shards().map(|shard| shard.path));
        }
        paths
    }

    /// The sets that a backup of a server may build on, newest first, with their places: complete
    /// ones that were begun at `now` or before. And the ids of those that would be, had they not
    /// been begun later: the clock was set back since, and nobody knows what changed since then.
    pub(crate) fn to_build_on(
        catalog: &Catalog,
        cluster_id: u64,
        now: Timestamp,
    ) -> (Vec<(usize, &SetRecord)>, Vec<&SetId>) {
        let sets = catalog.sets().iter().enumerate().rev();
        let records = sets.filter_map(|(at, set)| Some((at, set.record()?)));
        let usable = |(_, set): &(usize, &SetRecord)| {
            set.state == SetState::Complete && set.cluster_id == Some(cluster_id)
        };
        let (sets, ahead): (Vec<_>, Vec<_>) = records
            .filter(usable)
            .partition(|(_, set)| set.started <= now);
        let ahead = ahead.into_iter().map(|(_, set)| &set.id).collect();
        (sets, ahead)
    }

    /// The newest of `sets` that an increment of this selection may build on: one of the same
    /// selection that can be restored whole. What was modified after it was begun is not in it.
    pub(crate) fn last_of<'s>(
        &mut self,
        sets: &[(usize, &'s SetRecord)],
        selection: &Selection,
    ) -> Option<&'s SetRecord> {
        let same = |set: &SetRecord| {
            let taken = Selection {
                since: None,
                ..set.selection.clone()
            };
            taken == *selection
        };
        let found = sets
            .iter()
            .filter(|(_, set)| same(set))
            .find(|(at, _)| self.is_whole(*at, None));
        found.map(|(_, set)| *set)
    }

    /// The files from the set at `top` down, oldest first, and what is missing of them. Sets of
    /// other servers than that of the set at `of` do not count.
    fn chain(&mut self, of: usize, top: usize, path: &ShardPath) -> (Vec<BackupFile>, Option<Gap>) {
        let links = self.links(self.claims.cluster(of), top, path);
        let gap = links.get(&top).and_then(|link| link.gap.clone());
        let (mut files, mut next) = (Vec::new(), Some(top));
        while let Some(link) = next.and_then(|at| links.get(&at)) {
            files.extend(link.file.clone());
            next = link.parent;
        }
        files.reverse();
        (files, gap)
    }

    /// The links of a shard, that of `top` and all below it among them.
    fn links(&mut self, cluster: Option<u64>, top: usize, path: &ShardPath) -> &Links {
        let key = (cluster, path.clone());
        if !self.keeps_links && !self.links.contains_key(&key) {
            self.links.clear();
        }
        let links = self.links.entry(key).or_default();
        let linker = Linker {
            claims: &self.claims,
            path,
            cluster,
        };
        linker.complete(top, links);
        links
    }
}

#[cfg(test)]
mod tests;
