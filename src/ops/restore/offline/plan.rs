//! Deciding what a restore into directories is made of: which shards, under which names and ids, with which meta store.

use std::collections::BTreeSet;
use std::io;

use anyhow::{Context, Result};

use super::super::RestoreOptions;
use super::super::source::{PlannedShard, SetSelector, Source};
use crate::error::ErrorKind;
use crate::influxd_dir::refuse_leading_outside;
use crate::io::open::read_bounded;
use crate::metastore::Data;
use crate::metastore::edit::{Pick, Rename, merge, rename};
use crate::progress::{Event, Progress};
use crate::repository::Catalog;
use crate::wire::{MAX_META_BYTES, ShardIds};

/// What a restore is made of.
pub struct Plan {
    /// The meta store to write, where one is to be written.
    pub meta: Option<NewMeta>,
    /// What the new meta store names.
    pub named: Option<Data>,
    /// The shards to restore.
    pub shards: Vec<PlannedShard>,
    /// What of the selection is not in the backup, a sentence each.
    pub missing: Vec<String>,
}

/// A meta store to write.
pub struct NewMeta {
    /// The protobuf message.
    pub bytes: Vec<u8>,
    /// JSON about the node.
    pub node: Vec<u8>,
    /// The file that it takes the place of.
    pub replaces: Option<Vec<u8>>,
}

/// Makes the plan, and tells `progress` what the operator should know of it.
pub fn plan(contents: &Catalog, options: &RestoreOptions, progress: &dyn Progress) -> Result<Plan> {
    // A merge brings in what somebody would miss; a server has an `_internal` of its own.
    let selection = options.what.selection(!options.merge);
    let source = Source::read(
        contents,
        SetSelector::named(options.set.as_deref()),
        &selection,
        options.what.bounds(),
        options.datadir.is_some(),
        progress,
    )?;
    if options.merge {
        source.refuse_id_twice()?;
    }
    let renamed = renamed(&source, options, progress)?;
    let (meta, shard_ids) = new_meta(renamed, &source, options, progress)?;
    let named = meta
        .as_ref()
        .map(|meta| Data::read(&meta.bytes))
        .transpose()?;
    // With or without a shard in this backup: influxd makes directories of all names in its meta store.
    for database in meta
        .iter()
        .flat_map(|_| &named)
        .flat_map(|named| &named.databases)
    {
        refuse_leading_outside(&database.name)?;
        database
            .retention_policies
            .iter()
            .try_for_each(|policy| refuse_leading_outside(&policy.name))?;
    }
    let shards = source.planned(&options.what, |old| match &shard_ids {
        Some(ids) => ids.get(&old).copied(),
        None => Some(old),
    })?;
    if options.datadir.is_some() {
        source.say_what_is_missing(contents, &selection, progress)?;
    }
    Ok(Plan {
        meta,
        named,
        shards,
        missing: source.chains.missing,
    })
}

/// The backup's meta store under the new names; `None` where there are none.
fn renamed(
    source: &Source,
    options: &RestoreOptions,
    progress: &dyn Progress,
) -> Result<Option<Vec<u8>>> {
    let what = &options.what;
    let Some(database) = &what.database else {
        return Ok(None);
    };
    if what.new_database.is_none() && what.new_retention_policy.is_none() {
        return Ok(None);
    }
    let policy = what
        .retention_policy
        .as_deref()
        .zip(what.new_retention_policy.as_deref());
    let new_database = what.new_database.as_deref().unwrap_or(database);
    if options.metadir.is_some() {
        let queries = source
            .data
            .database(database)
            .map_or(&[][..], |database| &database.continuous_queries);
        for query in queries {
            progress.report(&Event::Warning(&format!(
                "the continuous query '{}' names what is renamed and is left out; it was: {}",
                query.name, query.query
            )));
        }
    }
    let names = Rename {
        database,
        new_database,
        policy,
    };
    rename(&source.blob.meta, &names)
        .map(Some)
        .with_context(|| ErrorKind::Refused.error("renaming in the meta store"))
}

/// The meta store to write, `None` where the target's stays as it is, and the shards' new ids where they change.
fn new_meta(
    renamed: Option<Vec<u8>>,
    backup: &Source,
    options: &RestoreOptions,
    progress: &dyn Progress,
) -> Result<(Option<NewMeta>, Option<ShardIds>)> {
    let Some(metadir) = &options.metadir else {
        return Ok((None, None));
    };
    let source = renamed.as_ref().unwrap_or(&backup.blob.meta);
    let target_path = metadir.join("meta.db");
    let existing = match read_bounded(&target_path, MAX_META_BYTES) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => {
            return Err(error).with_context(|| format!("reading {}", target_path.display()));
        }
    };
    let new = |bytes, replaces| NewMeta {
        bytes,
        node: backup.blob.node.clone(),
        replaces,
    };
    match existing {
        None => Ok((Some(new(source.clone(), None)), None)),
        Some(existing) if existing == *source => {
            progress.report(&Event::Status(&format!("{} already is what is restored: left as it is", target_path.display())));
            Ok((None, None))
        }
        Some(existing) if options.force => Ok((Some(new(source.clone(), Some(existing))), None)),
        Some(existing) if options.merge => {
            let picks = picks(source, options)?;
            let merged = merge(&existing, source, &picks).with_context(|| {
                ErrorKind::Refused
                    .error(format!("adding to {}", target_path.display()))
                    .hint("-newdb gives the database another name")
            })?;
            if !backup.data.users.is_empty() {
                let count = backup.data.users.len();
                progress.report(&Event::Warning(&format!("the backup's {count} user(s) and their grants are not added")));
            }
            Ok((Some(new(merged.meta, Some(existing))), Some(merged.shard_ids)))
        }
        Some(_) => Err(ErrorKind::Refused
            .error(format!("{} exists and is another meta store", target_path.display()))
            .hint("-merge adds the restored databases to it under new shard ids; -force replaces it with the backup's")
            .into()),
    }
}

/// What of the backup's meta store a merge adds: what was asked for, or all databases but `_internal`.
fn picks(source: &[u8], options: &RestoreOptions) -> Result<Vec<Pick>> {
    let what = &options.what;
    let policy = what
        .new_retention_policy
        .clone()
        .or_else(|| what.retention_policy.clone());
    let pick = |database: String| Pick {
        database,
        policy: policy.clone(),
        shards: what.shard.map(|id| BTreeSet::from([id])),
        deleted_groups: false,
        continuous_queries: true,
        subscriptions: true,
    };
    Ok(
        match what.new_database.as_ref().or(what.database.as_ref()) {
            Some(database) => vec![pick(database.clone())],
            None => {
                let names = Data::read(source)?
                    .databases
                    .into_iter()
                    .map(|database| database.name);
                names.filter(|name| name != "_internal").map(pick).collect()
            }
        },
    )
}
