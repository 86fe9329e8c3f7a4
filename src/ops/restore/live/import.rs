//! The import: databases are made on the server, and each shard gets a new id.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;
use prost::Message;

use super::target::Live;
use crate::error::ErrorKind;
use crate::metastore::Data;
use crate::metastore::edit::{Merged, Pick, merge};
use crate::ops::restore::regrouping::TargetShard;
use crate::ops::restore::source::Source;
use crate::retry::{self, Attempts};
use crate::wire::{Import, ShardIds};

/// Up to how many bytes of metastore no blanks are put before it.
const SMALL: usize = 1 << 10;
/// The least and the most blanks put before a larger one.
const LEAST_PADDING: usize = 512 << 10;
const MOST_PADDING: usize = 32 << 20;
/// From how many bytes on a metastore is more than such servers may take in.
const LARGE: usize = 1 << 20;

impl Live<'_> {
    /// Imports what is restored, and no more: no users, no deleted groups, no shard without a file.
    /// `before` is the highest id that the server had given out.
    pub(super) fn import(
        &self,
        source: &Source,
        targets: &[TargetShard],
        before: u64,
    ) -> Result<ShardIds> {
        let only = self.only_database(source);
        let small = self.metastore_to_import(source, targets, only.as_deref())?;
        let padding = padding(small.meta.len());
        let text = |name: &Option<String>| name.clone().unwrap_or_default();
        let mut import = Import {
            database: text(&only),
            new_database: text(&self.what.new_database),
            retention_policy: text(&self.what.retention_policy),
            new_retention_policy: text(&self.what.new_retention_policy),
            meta: small.meta,
            padding: 0,
        };
        let mut attempts = Attempts::default();
        loop {
            self.context.check()?;
            import.padding = (padding << attempts.failures().min(3)).min(MOST_PADDING);
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
            self.context.check()?;
            if let Some(ids) = self.imported_all_the_same(source, targets, before)? {
                return Ok(ids);
            }
            let Some(wait) = attempts.failed(self.options.retries) else {
                return Err(failure.unwrap_or_else(|| self.refused(import.meta.len())));
            };
            retry::pause(wait, self.context.cancel)?;
        }
    }

    /// The metastore of what is restored.
    fn metastore_to_import(
        &self,
        source: &Source,
        targets: &[TargetShard],
        only: Option<&str>,
    ) -> Result<Merged> {
        let shards: BTreeSet<u64> = targets.iter().map(|target| target.id).collect();
        let pick = |database: &str| Pick {
            database: database.to_owned(),
            policy: self.what.retention_policy.clone(),
            shards: Some(shards.clone()),
            deleted_groups: false,
            continuous_queries: false,
            subscriptions: false,
        };
        let picks: Vec<Pick> = match only {
            Some(name) => vec![pick(name)],
            None => source.databases.iter().map(|name| pick(name)).collect(),
        };
        merge(&Data::default().encode_to_vec(), &source.blob.meta, &picks)
    }

    /// The ids that an import gave of which the reply says nothing. One without pairs is that to an
    /// import without shards too; one that broke off says nothing at all. So the server is asked
    /// what it has now: it did not have the databases before.
    fn imported_all_the_same(
        &self,
        source: &Source,
        targets: &[TargetShard],
        before: u64,
    ) -> Result<Option<ShardIds>> {
        let server_metastore = self.metastore()?;
        let is_there = |name: &String| server_metastore.database(name).is_some();
        if self.new_names(source).iter().all(is_there) {
            let ids = ids_by_time(targets, &server_metastore, before);
            if ids.len() == targets.len() {
                return Ok(Some(ids));
            }
        }
        // Nothing was changed, so it may be asked again.
        self.ensure_absent(source, &server_metastore, &[])?;
        Ok(None)
    }

    fn refused(&self, bytes: usize) -> anyhow::Error {
        let error =
            ErrorKind::Failed.error(format!("{} refused the import", self.client.address()));
        let hint = if bytes > LARGE {
            "the metastore of what is restored is large, and servers before 1.8.8 may not take it in: restore a policy at a time"
        } else {
            "its log says why (service=snapshot); is it writable?"
        };
        error.hint(hint).into()
    }
}

/// How many blanks are put before so many bytes of metastore. Servers before 1.8.8 take in as much
/// of it as has arrived when they have decoded the JSON before it. The more there is to read before
/// it, the more will have.
fn padding(bytes: usize) -> usize {
    if bytes > SMALL {
        LEAST_PADDING.max(4 * bytes)
    } else {
        0
    }
}

/// The ids that an import gave, as far as the server's metastore shows: shards in groups of the
/// same times, with ids that it gave out since `before`.
pub(super) fn ids_by_time(
    targets: &[TargetShard],
    server_metastore: &Data,
    before: u64,
) -> ShardIds {
    let mut groups = BTreeMap::new();
    for shard in server_metastore
        .live_shards()
        .filter(|shard| shard.path.id > before)
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
    let ids = targets.iter().filter_map(|target| {
        let path = &target.path;
        let id = groups.get(&(
            path.database.clone(),
            path.retention_policy.clone(),
            target.start,
            target.end,
        ))?;
        Some((target.id, *id))
    });
    ids.collect()
}
