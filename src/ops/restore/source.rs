//! What of a backup directory a restore reads: the newest meta store, the shards that are meant, and the files they are made of.

use std::collections::BTreeSet;
use std::fs;

use anyhow::{Context, Result};
use sha2::{Digest, Sha256};

use super::Wanted;
use super::chain::Chains;
use crate::directory::{BackupFile, Contents, Selection, hex};
use crate::error::Class;
use crate::format::meta::{Data, Shard};
use crate::local::refuse_leading_outside;
use crate::ops::selection::{list, select};
use crate::progress::{Event, Progress};
use crate::wire::{MetaBlob, ShardPath};

/// A backup as a restore sees it.
pub struct Source {
    /// The meta store in its frame.
    pub blob: MetaBlob,
    /// The meta store.
    pub data: Data,
    /// The shards that are meant, without those of deleted groups.
    pub live: Vec<Shard>,
    /// Their files.
    pub chains: Chains,
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

impl Source {
    /// Reads what `selection` takes; `with_shards` says whether files of shards are looked for.
    ///
    /// # Errors
    ///
    /// [`Class::NoBackup`] or [`Class::Damage`] for the meta store; when what is meant is not in it.
    pub fn read(contents: &Contents, selection: &Selection, with_shards: bool, progress: &dyn Progress) -> Result<Self> {
        let (meta_file, blob) = read_meta(contents)?;
        let path = contents.path_of(&meta_file.name);
        let data = Data::read(&blob.meta).with_context(|| Class::Damage.error(format!("reading {}", path.display())))?;
        progress.report(&Event::Detail(&format!("using the meta store {}", path.display())));
        refuse_false_ids(contents, &data)?;
        let selected = select(&data, selection, &format!("the backup {}", contents.path().display()))?;
        let live: Vec<Shard> = selected.into_iter().filter(|shard| shard.deleted_at.is_none()).collect();
        let chains =
            if with_shards { Chains::find(contents, &meta_file, data.cluster_id, &live, progress)? } else { Chains::default() };
        let mut source = Self { blob, data, live, chains };
        source.miss_unasked(selection);
        Ok(source)
    }

    /// Counts shards that no set was asked for as missing, where the restore was asked for them by name. Else it is asked for
    /// what the backup holds, and they are left empty, with a warning.
    fn miss_unasked(&mut self, selection: &Selection) {
        if selection.database.is_some() || selection.shard.is_some() {
            let absent: Vec<String> = self.chains.unasked.iter().map(ShardPath::to_string).collect();
            if !absent.is_empty() {
                self.chains.missing.push(format!("no set of the backup was asked for: {}", list(&absent)));
            }
        }
    }

    /// The shards that have files, each with what it will be called; `new_id` finds the id it gets.
    pub fn planned(&self, what: &Wanted, new_id: impl Fn(u64) -> Option<u64>) -> Result<Vec<PlannedShard>> {
        let planned = self.chains.found.iter().map(|(source, chain)| {
            let id = new_id(source.id).with_context(|| format!("shard {source} has no place in the new meta store"))?;
            let target = what.target(source, id);
            refuse_leading_outside(&target.database)?;
            refuse_leading_outside(&target.retention_policy)?;
            Ok(PlannedShard { source: source.clone(), target, chain: chain.clone() })
        });
        planned.collect()
    }

    /// Tells what does not come back, or may come back although it was deleted.
    ///
    /// # Errors
    ///
    /// [`Class::NoBackup`] when no shard that is meant is there.
    pub fn say_what_is_missing(&self, contents: &Contents, progress: &dyn Progress) -> Result<()> {
        let Chains { found, missing, .. } = &self.chains;
        let merged = found.iter().filter(|(_, chain)| chain.len() > 1).count();
        if merged > 0 {
            progress.report(&Event::Warning(&format!(
                "{merged} shard(s) are put together from a backup and later increments: points that were deleted on the \
                 server between those can come back"
            )));
        }
        if found.is_empty() && !(missing.is_empty() && self.chains.unasked.is_empty()) {
            let directory = contents.path().display();
            let absent: Vec<String> = self.chains.unasked.iter().map(ShardPath::to_string).chain(missing.clone()).collect();
            let message = format!("{directory} holds none of the shards asked for: {}", list(&absent));
            return Err(Class::NoBackup.error(message).into());
        }
        missing.iter().for_each(|missing| progress.report(&Event::Warning(missing)));
        self.say_left_empty(progress);
        Ok(())
    }

    /// Says which databases come back in part, or without a point, because the backup was made of others.
    fn say_left_empty(&self, progress: &dyn Progress) {
        let restored: BTreeSet<&str> = self.chains.found.iter().map(|(shard, _)| shard.database.as_str()).collect();
        let unasked = self.chains.unasked.iter().filter(|shard| shard.database != "_internal");
        let (part, empty): (Vec<&ShardPath>, Vec<&ShardPath>) =
            unasked.partition(|shard| restored.contains(shard.database.as_str()));
        let part: Vec<String> = part.iter().map(ToString::to_string).collect();
        let empty: BTreeSet<String> = empty.iter().map(|shard| format!("'{}'", shard.database)).collect();
        let empty: Vec<String> = empty.into_iter().collect();
        for (what, names) in [("shards", part), ("databases", empty)] {
            if !names.is_empty() {
                let message = format!("the meta store also names {what} of which this backup holds nothing: {}", list(&names));
                progress.report(&Event::Warning(&message));
            }
        }
    }
}

/// Refuses records that say they are of another server when their own meta store does not: what they describe would be left out.
fn refuse_false_ids(contents: &Contents, data: &Data) -> Result<()> {
    for set in contents.records().iter().filter(|set| set.cluster_id.is_some_and(|id| id != data.cluster_id)) {
        let read = || -> Result<u64> {
            let bytes = fs::read(contents.path_of(&set.meta.name))?;
            Ok(Data::read(&MetaBlob::read_from(&bytes[..])?.meta)?.cluster_id)
        };
        if read().ok() != set.cluster_id {
            let message = format!("the record of set {} and its meta store {} are of different servers", set.id, set.meta.name);
            return Err(Class::Damage.error(message).into());
        }
    }
    Ok(())
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
        let fault = Class::Damage.error(format!("the meta store {} of set {} is gone", newer.meta.name, newer.id));
        let record = format!(".snap/{}.json", newer.id);
        return Err(fault.hint(format!("if the set was removed on purpose, remove {record} too")).into());
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
