//! Deciding what a restore is made of: which shards, from which files, to which names and ids, with which meta store.

use std::collections::BTreeSet;
use std::fs;
use std::io;

use anyhow::{Context, Result};
use jiff::Timestamp;
use sha2::{Digest, Sha256};

use super::RestoreOptions;
use crate::directory::{BackupFile, Content, Contents, Selection, ShardState, hex};
use crate::error::Class;
use crate::format::meta::{Data, Shard};
use crate::format::meta_edit::{Pick, Rename, merge, rename};
use crate::ops::selection::{list, select};
use crate::progress::{Event, Progress};
use crate::time;
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
    /// Whether it takes the place of another.
    pub replaces: bool,
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
        refuse_leading_outside(&target)?;
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

/// For each shard the files that make it up.
#[derive(Default)]
struct Chains {
    found: Vec<(ShardPath, Vec<BackupFile>)>,
    missing: Vec<String>,
}

impl Chains {
    fn find(contents: &Contents, meta_file: &BackupFile, live: &[Shard], progress: &dyn Progress) -> Result<Self> {
        let mut chains = Self::default();
        let mut used = BTreeSet::new();
        for shard in live {
            let files = contents.files_of(&shard.path);
            used.extend(files.iter().map(|file| file.name.clone()));
            let absent = absence(contents, meta_file, shard, !files.is_empty());
            chains.missing.extend(absent);
            if !files.is_empty() {
                let (chain, complaint) = chain(contents, &shard.path, files)?;
                chains.missing.extend(complaint);
                chains.found.push((shard.path.clone(), chain));
            }
        }
        let other: Vec<&str> = contents.shard_files().filter(|name| !used.contains(*name)).collect();
        if !other.is_empty() {
            progress.report(&Event::Detail(&format!(
                "{} file(s) are of shards that were not asked for, or that {} does not name",
                other.len(),
                meta_file.name
            )));
        }
        Ok(chains)
    }
}

/// A sentence where a shard, or its newest state, should be in the backup and is not. `older`: the backup has some file of it.
fn absence(contents: &Contents, meta_file: &BackupFile, shard: &Shard, older: bool) -> Option<String> {
    let path = &shard.path;
    let Some(set) = contents.set_of(&meta_file.name) else {
        // influxd's directories do not say what was asked for. It writes a file for each shard it has open, so only a
        // group that had not begun when the meta store was fetched may lack one; and `_internal` is seldom wanted.
        let fetched = fs::metadata(contents.path_of(&meta_file.name)).and_then(|metadata| metadata.modified());
        let fetched = fetched.ok().and_then(|time| Timestamp::try_from(time).ok()).map_or(i64::MAX, time::to_nanos);
        let expected = !older && shard.start <= fetched && path.database != "_internal";
        return expected.then(|| format!("shard {path} is in the backup's meta store but has no file in the backup"));
    };
    let record = set.shards.iter().find(|record| record.id == path.id)?;
    match record.state {
        ShardState::Failed if older => {
            Some(format!("shard {path} could not be fetched for set {}: it is restored from an older one", set.id))
        }
        ShardState::Failed => Some(format!("shard {path} could not be fetched for set {} and is in no other", set.id)),
        ShardState::Stored => {
            let file = record.file.as_ref().filter(|file| !contents.path_of(&file.name).exists())?;
            Some(format!("shard {path}: the file {} of set {} is gone", file.name, set.id))
        }
        ShardState::Empty if record.content == Content::Since && !older => {
            Some(format!("shard {path}: set {} holds only what changed since a time, and there is no set before it", set.id))
        }
        ShardState::Empty | ShardState::Expired | ShardState::NotHeld => None,
    }
}

/// The files to put together, oldest first, and a complaint where they cannot make up the whole shard. `files` are all there
/// are, oldest first.
fn chain(contents: &Contents, shard: &ShardPath, files: Vec<BackupFile>) -> Result<(Vec<BackupFile>, Option<String>)> {
    let content = |file: &BackupFile| contents.shard_record_of(&file.name).map(|(_, record)| record.content);
    let newest = files.last().and_then(content);
    if newest == Some(Content::Range) {
        let ranges = files.iter().filter(|file| content(file) == Some(Content::Range)).count();
        if ranges < files.len() {
            return Err(Class::Refused
                .error(format!(
                    "shard {shard}: the newest file {} holds a range of time, and older ones hold more: which is wanted?",
                    files.last().map_or("", |file| &file.name)
                ))
                .hint("move the sets made with -start or -end into a directory of their own")
                .into());
        }
        return Ok((files.into_iter().next_back().into_iter().collect(), None));
    }
    let mut chain: Vec<BackupFile> = Vec::new();
    let mut whole = false;
    for file in files.into_iter().rev() {
        match content(&file) {
            Some(Content::Range) => {}
            Some(Content::Whole) => {
                chain.push(file);
                whole = true;
                break;
            }
            // Nobody knows what influxd was asked for, so all its files are taken.
            None => {
                chain.push(file);
                whole = true;
            }
            Some(Content::Since) => {
                chain.push(file);
                whole = false;
            }
        }
    }
    chain.reverse();
    let complaint = if whole { gap(contents, shard, &chain) } else { Some(only_increments(shard, &chain)) };
    Ok((chain, complaint))
}

fn only_increments(shard: &ShardPath, chain: &[BackupFile]) -> String {
    let first = chain.first().map_or("", |file| &file.name);
    format!("shard {shard}: {first} holds only what changed since a time, and there is no set before it")
}

/// A complaint where an increment begins later than the set before it was taken.
fn gap(contents: &Contents, shard: &ShardPath, chain: &[BackupFile]) -> Option<String> {
    chain.windows(2).find_map(|pair| {
        let (before, _) = contents.shard_record_of(&pair[0].name)?;
        let (after, record) = contents.shard_record_of(&pair[1].name)?;
        let since = after.selection.since.filter(|_| record.content == Content::Since)?;
        (since > before.started).then(|| {
            format!(
                "shard {shard}: set {} holds what changed after {since}, but the set before it was begun at {}: what changed \
                 in between is in neither",
                after.id, before.started
            )
        })
    })
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
    let new = |bytes, replaces| NewMeta { bytes, node: blob.node.clone(), replaces };
    match existing {
        None => Ok((Some(new(source.clone(), false)), None)),
        Some(existing) if existing == *source => {
            progress.report(&Event::Status(&format!("{} already is what is restored: left as it is", target_path.display())));
            Ok((None, None))
        }
        Some(_) if options.force => Ok((Some(new(source.clone(), true)), None)),
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
            Ok((Some(new(merged.meta, true)), Some(merged.shard_ids)))
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

/// Refuses names that are no single directory name: servers 1.0 and 1.1, and the import of all, check none.
fn refuse_leading_outside(shard: &ShardPath) -> Result<()> {
    for name in [&shard.database, &shard.retention_policy] {
        if matches!(name.as_str(), "" | "." | "..") || name.contains(['/', '\\', '\0']) {
            return Err(Class::Refused
                .error(format!("'{name}' cannot be the name of a directory"))
                .hint("give it another name with -newdb or -newrp")
                .into());
        }
    }
    Ok(())
}
