//! Deciding what a restore is made of: which shards, from which files, to which names and ids, with which meta store.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::RestoreOptions;
use super::chain::Chains;
use crate::directory::{BackupFile, Contents, Selection, hex};
use crate::error::Class;
use crate::format::meta::{Data, Shard};
use crate::format::meta_edit::{Pick, Rename, merge, rename};
use crate::ops::selection::{list, select};
use crate::progress::{Event, Progress};
use crate::wire::{MetaBlob, ShardPath};

/// What a restore is made of.
pub struct Plan {
    /// The meta store to write, where one is to be written.
    pub meta: Option<NewMeta>,
    /// What the target's meta store names once the restore is done, where that is known.
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
}

/// A shard to restore.
pub struct PlannedShard {
    /// What it is called in the backup.
    pub source: ShardPath,
    /// What it is called in the target.
    pub target: ShardPath,
    /// The files it is put together from, oldest first; never empty.
    pub chain: Vec<BackupFile>,
}

/// Makes the plan, and tells `progress` what the operator should know of it.
pub fn plan(contents: &Contents, options: &RestoreOptions, progress: &dyn Progress) -> Result<Plan> {
    let (meta_file, blob) = read_meta(contents)?;
    let data = Data::read(&blob.meta)
        .with_context(|| Class::Damage.error(format!("reading {}", contents.path_of(&meta_file.name).display())))?;
    progress.report(&Event::Detail(&format!("using the meta store {}", contents.path_of(&meta_file.name).display())));
    let selection = Selection {
        database: options.database.clone(),
        retention_policy: options.retention_policy.clone(),
        shard: options.shard,
        // A merge brings in what somebody would miss; a server has an `_internal` of its own.
        include_internal: !options.merge,
        ..Selection::default()
    };
    let selected = select(&data, &selection, &format!("the backup {}", contents.path().display()))?;
    let live: Vec<Shard> = selected.into_iter().filter(|shard| shard.deleted_at.is_none()).collect();
    let chains =
        if options.datadir.is_some() { Chains::find(contents, &meta_file, &live, progress)? } else { Chains::default() };

    let renamed = renamed(&blob.meta, &data, options, progress)?;
    let (meta, shard_ids) = new_meta(renamed, &blob, &data, options, progress)?;
    let named = match &meta {
        Some(meta) => Some(Data::read(&meta.bytes)?),
        None if options.metadir.is_some() => Some(data.clone()),
        None => None,
    };
    // With or without a shard in this backup: influxd makes directories of all names in its meta store.
    for database in meta.iter().flat_map(|_| &named).flat_map(|named| &named.databases) {
        let policies = database.retention_policies.iter().map(|policy| &policy.name);
        [&database.name].into_iter().chain(policies).try_for_each(|name| refuse_leading_outside(name))?;
    }
    let mut shards = Vec::new();
    for (source, chain) in chains.found {
        let target = ShardPath {
            database: options.new_database.clone().unwrap_or_else(|| source.database.clone()),
            retention_policy: options.new_retention_policy.clone().unwrap_or_else(|| source.retention_policy.clone()),
            id: shard_ids
                .as_ref()
                .map_or(Some(source.id), |ids| ids.get(&source.id).copied())
                .with_context(|| format!("shard {source} has no place in the merged meta store"))?,
        };
        [&target.database, &target.retention_policy].into_iter().try_for_each(|name| refuse_leading_outside(name))?;
        shards.push(PlannedShard { source, target, chain });
    }
    if shards.iter().any(|shard| shard.chain.len() > 1) {
        let count = shards.iter().filter(|shard| shard.chain.len() > 1).count();
        progress.report(&Event::Warning(&format!(
            "{count} shard(s) are put together from a backup and later increments: points that were deleted on the server \
             between those can come back"
        )));
    }
    if options.datadir.is_some() {
        say_left_empty(&live, &shards, &chains.missing, progress);
    }
    if shards.is_empty() && options.datadir.is_some() && !chains.missing.is_empty() {
        return Err(Class::NoBackup
            .error(format!("{} holds none of the shards asked for: {}", contents.path().display(), list(&chains.missing)))
            .into());
    }
    chains.missing.iter().for_each(|missing| progress.report(&Event::Warning(missing)));
    Ok(Plan { meta, named, shards, missing: chains.missing })
}

/// Says which databases come back without a point because the backup was made of others.
fn say_left_empty(live: &[Shard], shards: &[PlannedShard], missing: &[String], progress: &dyn Progress) {
    if !missing.is_empty() {
        return;
    }
    let restored: BTreeSet<&str> = shards.iter().map(|shard| shard.source.database.as_str()).collect();
    let named: BTreeSet<&str> = live.iter().map(|shard| shard.path.database.as_str()).collect();
    let empty: Vec<String> =
        named.difference(&restored).filter(|name| **name != "_internal").map(|name| format!("'{name}'")).collect();
    if !empty.is_empty() {
        progress.report(&Event::Warning(&format!(
            "the meta store also names {}, of which this backup holds no shard",
            list(&empty)
        )));
    }
}

/// Reads the newest meta store of the directory: magic, lengths and, where the set has a record, its SHA-256.
fn read_meta(contents: &Contents) -> Result<(BackupFile, MetaBlob)> {
    let Some(file) = contents.newest_meta() else {
        let fault = Class::NoBackup.error(format!("{} holds no backup: there is no meta.NN", contents.path().display()));
        return Err(match contents.has_portable() {
            true => fault.hint("it holds a portable backup (*.manifest), which this version of snap cannot restore"),
            false => fault.hint("PATH is the directory that `snap backup` or `influxd backup` wrote into"),
        }
        .into());
    };
    if let Some(newer) = contents.records().iter().find(|set| set.number > file.number) {
        return Err(Class::Damage.error(format!("the meta store {} of set {} is gone", newer.meta.name, newer.id)).into());
    }
    let path = contents.path_of(&file.name);
    let damaged = || Class::Damage.error(format!("{} is no meta store", path.display()));
    let bytes = fs::read(&path).with_context(|| format!("reading {}", path.display()))?;
    let blob = MetaBlob::read_from(&bytes[..]).with_context(damaged)?;
    if let Some(set) = contents.set_of(&file.name)
        && hex(Sha256::new_with_prefix(&bytes)) != set.meta.sha256
    {
        return Err(Class::Damage
            .error(format!("{} is not what set {} recorded: SHA-256 differs", path.display(), set.id))
            .into());
    }
    Ok((file, blob))
}

/// The backup's meta store under the new names; `None` where there are none.
fn renamed(meta: &[u8], data: &Data, options: &RestoreOptions, progress: &dyn Progress) -> Result<Option<Vec<u8>>> {
    let Some(database) = &options.database else { return Ok(None) };
    if options.new_database.is_none() && options.new_retention_policy.is_none() {
        return Ok(None);
    }
    let policy = options.retention_policy.as_deref().zip(options.new_retention_policy.as_deref());
    let new_database = options.new_database.as_deref().unwrap_or(database);
    if options.metadir.is_some() {
        let queries = data.database(database).map_or(&[][..], |database| &database.continuous_queries);
        for query in queries {
            progress.report(&Event::Warning(&format!(
                "the continuous query '{}' names what is renamed and is left out; it was: {}",
                query.name, query.query
            )));
        }
    }
    let names = Rename { database, new_database, policy };
    rename(meta, &names).map(Some).with_context(|| Class::Refused.error("renaming in the meta store"))
}

type ShardIds = std::collections::BTreeMap<u64, u64>;

/// The meta store to write, `None` where the target's stays as it is, and the shards' new ids where they change.
fn new_meta(
    renamed: Option<Vec<u8>>,
    blob: &MetaBlob,
    data: &Data,
    options: &RestoreOptions,
    progress: &dyn Progress,
) -> Result<(Option<NewMeta>, Option<ShardIds>)> {
    let Some(metadir) = &options.metadir else { return Ok((None, None)) };
    let source = renamed.as_ref().unwrap_or(&blob.meta);
    let target_path = metadir.join("meta.db");
    let existing = match fs::read(&target_path) {
        Ok(bytes) => Some(bytes),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error).with_context(|| format!("reading {}", target_path.display())),
    };
    let new = |bytes| NewMeta { bytes, node: blob.node.clone() };
    match existing {
        None => Ok((Some(new(source.clone())), None)),
        Some(existing) if existing == *source => {
            progress.report(&Event::Status(&format!("{} already is what is restored: left as it is", target_path.display())));
            Ok((None, None))
        }
        Some(_) if options.force => Ok((Some(new(source.clone())), None)),
        Some(existing) if options.merge => {
            let picks = picks(source, options)?;
            let merged = merge(&existing, source, &picks).with_context(|| {
                Class::Refused
                    .error(format!("adding to {}", target_path.display()))
                    .hint("-newdb gives the database another name")
            })?;
            if !data.users.is_empty() {
                let count = data.users.len();
                progress.report(&Event::Warning(&format!("the backup's {count} user(s) and their grants are not added")));
            }
            Ok((Some(new(merged.meta)), Some(merged.shard_ids)))
        }
        Some(_) => Err(Class::Refused
            .error(format!("{} exists and is another meta store", target_path.display()))
            .hint("-merge adds the restored databases to it under new shard ids; -force replaces it with the backup's")
            .into()),
    }
}

/// What of the backup's meta store a merge adds: what was asked for, or all databases but `_internal`.
fn picks(source: &[u8], options: &RestoreOptions) -> Result<Vec<Pick>> {
    let policy = options.new_retention_policy.clone().or_else(|| options.retention_policy.clone());
    let pick = |database: String| Pick { database, policy: policy.clone(), shard: options.shard };
    Ok(match options.new_database.as_ref().or(options.database.as_ref()) {
        Some(database) => vec![pick(database.clone())],
        None => {
            let names = Data::read(source)?.databases.into_iter().map(|database| database.name);
            names.filter(|name| name != "_internal").map(pick).collect()
        }
    })
}

/// Refuses a name that is no single directory name: servers 1.0 and 1.1, and the import of all, check none.
fn refuse_leading_outside(name: &str) -> Result<()> {
    if matches!(name, "" | "." | "..") || name.contains(['/', '\\', '\0']) {
        return Err(Class::Refused
            .error(format!("'{name}' cannot be the name of a directory"))
            .hint("give it another name with -newdb or -newrp")
            .into());
    }
    Ok(())
}
