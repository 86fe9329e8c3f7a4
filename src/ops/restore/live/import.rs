//! The import: databases are made on the server, and each shard gets a new id.

use std::collections::{BTreeMap, BTreeSet};
use std::thread;

use anyhow::Result;
use prost::Message;

use super::super::selection::RestoreSelection;
use super::super::source::Source;
use super::{Live, WAIT};
use crate::error::ErrorKind;
use crate::metastore::Data;
use crate::metastore::edit::{Pick, merge};
use crate::wire::{Import, ShardIds};

/// Up to how many bytes of meta store no blanks are put before it.
const SMALL: usize = 1 << 10;
/// The least and the most blanks put before a larger one.
const LEAST_PADDING: usize = 512 << 10;
const MOST_PADDING: usize = 32 << 20;
/// From how many bytes on a meta store is more than such servers may take in.
const LARGE: usize = 1 << 20;

impl Live<'_> {
    /// Imports what is restored, and no more: no users, no deleted groups, no shard without a file. `before` is the highest id
    /// that the server had given out.
    pub(super) fn import(&self, source: &Source, before: u64) -> Result<ShardIds> {
        let shards: BTreeSet<u64> = source
            .chains
            .found
            .iter()
            .map(|(shard, _)| shard.id)
            .collect();
        let pick = |database: &String| Pick {
            database: database.clone(),
            policy: self.what.retention_policy.clone(),
            shards: Some(shards.clone()),
            deleted_groups: false,
            continuous_queries: false,
            subscriptions: false,
        };
        let only = self.only_database(source);
        let picks: Vec<Pick> = only.as_ref().map_or_else(
            || source.databases.iter().map(pick).collect(),
            |name| vec![pick(name)],
        );
        let small = merge(&Data::default().encode_to_vec(), &source.blob.meta, &picks)?;
        let text = |name: &Option<String>| name.clone().unwrap_or_default();
        // Servers before 1.8.8 take in as much of the meta store as has arrived when they have decoded the JSON before it. The
        // more there is to read before it, the more will have.
        let padding = if small.meta.len() > SMALL {
            LEAST_PADDING.max(4 * small.meta.len())
        } else {
            0
        };
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
            import.padding = (padding << attempt.min(3)).min(MOST_PADDING);
            let failure = match self.client.import(import.clone()) {
                Ok(imported) if !imported.is_empty() => {
                    let new = |between: &u64| imported.get(between).copied();
                    return Ok(small
                        .shard_ids
                        .iter()
                        .filter_map(|(old, between)| Some((*old, new(between)?)))
                        .collect());
                }
                Ok(_) => None,
                Err(error) => Some(error),
            };
            self.cancel.check()?;
            // A reply without pairs is that to an import without shards too; one that broke off says nothing at all. So the
            // server is asked what it has now: it did not have the databases before.
            let there = self.look()?;
            let names = self.new_names(source);
            if names.iter().all(|name| there.database(name).is_some()) {
                let ids = ids_by_time(source, self.what, &there, before);
                if ids.len() == small.shard_ids.len() {
                    return Ok(ids);
                }
            }
            // Nothing was changed, so it may be asked again.
            self.refuse_what_is_there(source, &there, &[])?;
            if let Some(error) = failure.filter(|_| attempt >= self.options.retries) {
                return Err(error);
            }
            if attempt >= self.options.retries {
                break;
            }
            thread::sleep(WAIT);
        }
        let fault =
            ErrorKind::Failed.error(format!("{} refused the import", self.client.address()));
        Err(fault.hint(if import.meta.len() > LARGE {
            "the meta store of what is restored is large, and servers before 1.8.8 may not take it in: restore a policy at a time"
        } else {
            "its log says why (service=snapshot); is it writable?"
        })
        .into())
    }
}

/// The ids that an import gave, as far as the server's meta store shows: shards in groups of the same times, with ids that it
/// gave out since `before`.
pub(super) fn ids_by_time(
    source: &Source,
    what: &RestoreSelection,
    there: &Data,
    before: u64,
) -> ShardIds {
    let mut groups = BTreeMap::new();
    for shard in there
        .shards()
        .filter(|shard| shard.path.id > before && shard.deleted_at.is_none())
    {
        groups.insert(
            (
                shard.path.database,
                shard.path.retention_policy,
                shard.start,
                shard.end,
            ),
            shard.path.id,
        );
    }
    let found: BTreeSet<u64> = source
        .chains
        .found
        .iter()
        .map(|(shard, _)| shard.id)
        .collect();
    let ids = source
        .live
        .iter()
        .filter(|shard| found.contains(&shard.path.id))
        .filter_map(|shard| {
            let target = what.target(&shard.path, 0);
            let id = groups.get(&(
                target.database,
                target.retention_policy,
                shard.start,
                shard.end,
            ))?;
            Some((shard.path.id, *id))
        });
    ids.collect()
}
