//! The import: databases are made on the server, and each shard gets a new id.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::thread;

use anyhow::Result;
use prost::Message;

use super::super::Wanted;
use super::super::source::Source;
use super::{Live, WAIT};
use crate::error::Class;
use crate::format::meta::Data;
use crate::format::meta_edit::{Pick, merge};
use crate::wire::{Import, ShardIds};

/// Up to how many bytes of meta store no blanks are put before it.
const SMALL: usize = 1 << 10;
/// How many blanks are put before a larger one, at first and at the next attempts.
const PADDING: [usize; 2] = [512 << 10, 1 << 20];

impl Live<'_> {
    /// Imports what is restored, and no more: no users, no deleted groups, no shard without a file. `before` is the highest id
    /// that the server had given out.
    pub(super) fn import(&self, source: &Source, before: u64) -> Result<ShardIds> {
        let shards: BTreeSet<u64> = source.chains.found.iter().map(|(shard, _)| shard.id).collect();
        let pick = |database: &String| Pick {
            database: database.clone(),
            policy: self.what.retention_policy.clone(),
            shards: Some(shards.clone()),
            deleted_groups: false,
            continuous_queries: false,
            subscriptions: false,
        };
        let only = self.only_database(source);
        let picks: Vec<Pick> =
            only.as_ref().map_or_else(|| source.databases.iter().map(pick).collect(), |name| vec![pick(name)]);
        let small = merge(&Data::default().encode_to_vec(), &source.blob.meta, &picks)?;
        let text = |name: &Option<String>| name.clone().unwrap_or_default();
        // Servers before 1.8.8 take in as much of the meta store as has arrived when they have decoded the JSON before it. The
        // more there is to read before it, the more will have.
        let padding = if small.meta.len() > SMALL { PADDING } else { [0, PADDING[0]] };
        let mut import = Import {
            database: text(&only),
            new_database: text(&self.what.new_database),
            retention_policy: text(&self.what.retention_policy),
            new_retention_policy: text(&self.what.new_retention_policy),
            meta: small.meta,
            padding: 0,
        };
        for attempt in 0.. {
            self.cancel.check()?;
            import.padding = padding[usize::from(attempt > 0)];
            let imported = match self.client.import(import.clone()) {
                Err(error) if is_reset(&error) => {
                    // The reply is lost, and with it whether it took place.
                    let between = ids_by_time(source, self.what, &self.look()?, before);
                    if between.len() == source.chains.found.len() && !between.is_empty() {
                        return Ok(between);
                    }
                    ShardIds::new()
                }
                imported => imported?,
            };
            if !imported.is_empty() {
                let new = |between: &u64| imported.get(between).copied();
                return Ok(small.shard_ids.iter().filter_map(|(old, between)| Some((*old, new(between)?))).collect());
            }
            let there = self.look()?;
            if small.shard_ids.is_empty() && self.new_names(source).iter().all(|name| there.database(name).is_some()) {
                // Without shards, the reply to an import that took place has no pairs either.
                return Ok(ShardIds::new());
            }
            // Nothing was changed, so it may be asked again.
            self.refuse_what_is_there(source, &there, None)?;
            if attempt >= self.options.retries {
                break;
            }
            thread::sleep(WAIT);
        }
        let fault = Class::Failed.error(format!("{} refused the import", self.client.address()));
        Err(fault.hint("its log says why (service=snapshot); is it writable?").into())
    }
}

/// The ids that an import gave, as far as the server's meta store shows: shards in groups of the same times, with ids that it
/// gave out since `before`.
pub(super) fn ids_by_time(source: &Source, what: &Wanted, there: &Data, before: u64) -> ShardIds {
    let mut groups = BTreeMap::new();
    for shard in there.shards().filter(|shard| shard.path.id > before && shard.deleted_at.is_none()) {
        groups.insert((shard.path.database, shard.path.retention_policy, shard.start, shard.end), shard.path.id);
    }
    let found: BTreeSet<u64> = source.chains.found.iter().map(|(shard, _)| shard.id).collect();
    let ids = source.live.iter().filter(|shard| found.contains(&shard.path.id)).filter_map(|shard| {
        let target = what.target(&shard.path, 0);
        let id = groups.get(&(target.database, target.retention_policy, shard.start, shard.end))?;
        Some((shard.path.id, *id))
    });
    ids.collect()
}

fn is_reset(error: &anyhow::Error) -> bool {
    let reset = |error: &io::Error| error.kind() == io::ErrorKind::ConnectionReset;
    error.chain().any(|cause| cause.downcast_ref::<io::Error>().is_some_and(reset))
}
