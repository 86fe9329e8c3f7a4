//! What a set does not bring back.

use std::collections::HashSet;

use super::super::manifest::ShardEntry;
use super::super::record::{SetRecord, SetState, ShardRecord, ShardState};
use super::super::set::Origin;
use super::gap::{Gap, Missing};
use super::{ChainContext, Chains, ShardChain};
use crate::metastore::{Data, Shard};
use crate::shard::ShardPath;
use crate::time;

impl Chains<'_> {
    /// What the set at `at` does not bring back, alone and with what it builds on. Without its
    /// metastore a record tells, but for shards that it has no word of; and of a set without a
    /// record nothing is told of shards.
    pub(crate) fn missing(&mut self, at: usize, metastore: Option<&Data>) -> Vec<Missing> {
        let set = &self.claims.catalog.sets()[at];
        let context = ChainContext::alone(at);
        let strays_from = self.older_with_strays(context);
        let mut missing: Vec<Missing> = self.of_set(at);
        let mut asked = Vec::new();
        let mut ask = |chains: &mut Self, shard: Shard, missing: &mut Vec<Missing>| {
            if let ShardChain::Asked { gap, .. } = chains.of_shard(context, &shard) {
                missing.extend(gap.map(|gap| Missing {
                    shard: Some(shard.path.clone()),
                    gap,
                }));
                if !strays_from.is_empty() {
                    asked.push(shard.path);
                }
            }
        };
        if let Some(record) = set.record() {
            let before = missing.len();
            missing.extend(metastore.map_or_else(Vec::new, |data| self.unnamed(at, data)));
            let unnamed = before..missing.len();
            for shard in &record.shards {
                let path = shard.path();
                let mut unnamed = missing[unnamed.clone()].iter();
                if unnamed.any(|missing| missing.shard.as_ref() == Some(&path)) {
                    continue;
                }
                let shard = Shard {
                    path,
                    start: time::to_nanos(shard.start_time),
                    end: time::to_nanos(shard.end_time),
                    deleted_at: None,
                };
                ask(self, shard, &mut missing);
            }
        }
        for shard in metastore.into_iter().flat_map(Data::live_shards) {
            let is_recorded = |record: &SetRecord| record.shard(&shard.path).is_some();
            if !set.record().is_some_and(is_recorded) {
                ask(self, shard, &mut missing);
            }
        }
        missing.extend(self.strays_below(context, &strays_from, asked.iter()));
        missing
    }

    /// The shards that the record of a set has files of, and that its metastore does not name.
    pub(crate) fn unnamed(&self, at: usize, metastore: &Data) -> Vec<Missing> {
        let set = &self.claims.catalog.sets()[at];
        let named: HashSet<ShardPath> = metastore.shards().map(|shard| shard.path).collect();
        let shards = set.record().into_iter().flat_map(|record| &record.shards);
        shards
            .filter(|shard| shard.state == ShardState::Stored)
            .map(ShardRecord::path)
            .filter(|path| !named.contains(path))
            .map(|path| Missing {
                shard: Some(path),
                gap: Gap::NotNamed {
                    set: set.id.clone(),
                },
            })
            .collect()
    }

    /// What is missing of a set as a whole.
    fn of_set(&self, at: usize) -> Vec<Missing> {
        let set = &self.claims.catalog.sets()[at];
        let mut gaps = Vec::new();
        match &set.origin {
            Origin::Recorded(record) => gaps.extend(self.claims.held(at, Some(&record.meta)).gap),
            Origin::Listed(manifest) if set.meta.is_none() => gaps.push(Gap::FileGone {
                set: set.id.clone(),
                file: manifest.meta.file_name.clone(),
                absence: self.claims.catalog.absence(&manifest.meta.file_name),
            }),
            Origin::Listed(_) | Origin::Loose { .. } => {}
        }
        gaps.extend(self.says_that_it_lacks(at));
        gaps.extend(self.strays(at));
        let missing = |gap| Missing { shard: None, gap };
        gaps.into_iter().map(missing).collect()
    }

    /// That the record or the manifest of a set says that something is not there, and not what.
    fn says_that_it_lacks(&self, at: usize) -> Option<Gap> {
        let set = &self.claims.catalog.sets()[at];
        let id = set.id.clone();
        if let Some(record) = set.record() {
            let mut shards = record.shards.iter();
            let is_told =
                shards.any(|shard| shard.state == ShardState::Failed || shard.unproven.is_some());
            let is_partial = record.state == SetState::Partial && !is_told;
            return is_partial.then_some(Gap::Partial { set: id });
        }
        set.is_limited().then_some(Gap::Limited { set: id })
    }

    /// The entries of a manifest of influxd's that belong to no shard of the metastore beside it.
    pub(crate) fn strays(&self, at: usize) -> Vec<Gap> {
        let set = &self.claims.catalog.sets()[at];
        let stray = |entry: &&ShardEntry| Gap::Stray {
            set: set.id.clone(),
            file: entry.file_name.clone(),
            listed: format!(
                "shard {}/{}/{}",
                entry.database, entry.policy, entry.shard_id
            ),
        };
        self.claims.strays(at).iter().map(stray).collect()
    }

    /// What is missing of a restore that cannot be told of one shard: that the set says that it
    /// lacks something, and entries of manifests that belong to no shard, of the set itself and of
    /// older ones that one of `shards` may need.
    pub(crate) fn missing_beside_shards<'s>(
        &mut self,
        context: ChainContext,
        shards: impl Iterator<Item = &'s ShardPath>,
    ) -> Vec<Missing> {
        let own = self.says_that_it_lacks(context.at).into_iter();
        let own = own.chain(self.strays(context.at));
        let mut missing: Vec<Missing> = own.map(|gap| Missing { shard: None, gap }).collect();
        let strays_from = self.older_with_strays(context);
        missing.extend(self.strays_below(context, &strays_from, shards));
        missing
    }

    /// The older sets whose manifests have entries that belong to no shard.
    fn older_with_strays(&self, context: ChainContext) -> Vec<usize> {
        (0..context.last)
            .filter(|at| *at != context.at && !self.claims.are_foreign(*at, context.at))
            .filter(|at| !self.claims.strays(*at).is_empty())
            .collect()
    }

    /// Entries of older manifests that belong to no shard, where the chain of a shard may need what
    /// they stand for: that of a set of influxd's, which may be an increment to anything older.
    fn strays_below<'s>(
        &mut self,
        context: ChainContext,
        older: &[usize],
        shards: impl Iterator<Item = &'s ShardPath>,
    ) -> Vec<Missing> {
        if older.is_empty() {
            return Vec::new();
        }
        // Between which of its files a chain builds on other sets.
        let (mut from, mut to) = (usize::MAX, 0);
        for path in shards {
            let top = (0..=context.last).rev().find(|at| {
                !self.claims.are_foreign(*at, context.at) && self.claims.claim(*at, path).is_some()
            });
            let Some(top) = top else { continue };
            let links = self.links(self.claims.cluster(context.at), top, path);
            let mut next = Some(top);
            while let Some((at, link)) = next.and_then(|at| Some((at, links.get(&at)?))) {
                if link.is_unknown {
                    to = to.max(at);
                }
                if link.parent.is_none() {
                    from = from.min(if link.is_unknown { 0 } else { at });
                }
                next = link.parent;
            }
        }
        let needed = older.iter().filter(|at| (from..to).contains(*at));
        needed
            .flat_map(|at| self.strays(*at))
            .map(|gap| Missing { shard: None, gap })
            .collect()
    }

    /// Whether a set brings back all that it was asked for, alone and with what it builds on, as
    /// far as names, sizes and records tell.
    pub(crate) fn is_whole(&mut self, at: usize, metastore: Option<&Data>) -> bool {
        self.missing(at, metastore).is_empty()
    }
}

#[cfg(test)]
#[path = "missing_tests.rs"]
mod tests;
