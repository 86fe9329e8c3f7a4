//! Deciding what a restore into directories is made of: which shards, under which names and ids,
//! with which metastore.

use std::collections::{BTreeSet, HashSet};
use std::io;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::journal::META_FILES;
use super::options::RestoreOptions;
use crate::context::Context;
use crate::error::ErrorKind;
use crate::influxd_dir::{ensure_directory_name, shard_dir};
use crate::io::open::read_bounded;
use crate::io::scratch::scratch_dir;
use crate::metastore::Data;
use crate::metastore::edit::{Pick, merge, rename};
use crate::metastore::regroup::without_groups;
use crate::metastore::users::{UserCount, add_users};
use crate::ops::Shortfall;
use crate::ops::restore::lost::LostList;
use crate::ops::restore::regrouping::TargetShard;
use crate::ops::restore::source::{PlannedShard, SetSelector, Source, SourceDepth};
use crate::repository::{Catalog, SetId};
use crate::shard::ShardPath;
use crate::text::{name_list, plural};
use crate::wire::{MAX_META_BYTES, ShardIds};

/// What a restore is made of.
pub(crate) struct RestorePlan {
    /// The metastore to write, where one is to be written.
    pub metastore: Option<NewMetastore>,
    /// What the new metastore names.
    pub named: Option<Data>,
    /// The shards to restore.
    pub shards: Vec<PlannedShard>,
    /// The shards of the target, where they are other ones.
    pub targets: Option<Vec<TargetShard>>,
    /// Shards that are there, and whose points come into other ones.
    pub vacated: Vec<ShardPath>,
    /// What of the selection is not in the backup.
    pub missing: Vec<Shortfall>,
    /// What becomes of the backup's users, where they are added.
    pub users: Option<UserCount>,
    /// The set that is restored.
    pub set: SetId,
    /// Gets what is damaged, where that is left out.
    pub lost: Option<Arc<LostList>>,
}

impl RestorePlan {
    /// The metastore that is replaced.
    pub(super) fn replaced(&self) -> Option<&[u8]> {
        self.metastore.as_ref()?.replaces.as_deref()
    }
}

/// A metastore to write.
pub(crate) struct NewMetastore {
    /// The protobuf message.
    pub bytes: Vec<u8>,
    /// JSON about the node.
    pub node: Vec<u8>,
    /// The file that it takes the place of.
    pub replaces: Option<Vec<u8>>,
}

impl RestorePlan {
    /// What the shards that are replaced are called in the target.
    pub(super) fn target_paths(&self) -> Vec<&ShardPath> {
        match &self.targets {
            Some(targets) => {
                let made = targets.iter().map(|target| &target.path);
                made.chain(&self.vacated).collect()
            }
            None => self.shards.iter().map(|shard| &shard.target).collect(),
        }
    }

    /// Leaves shards of the target out that are none of these.
    ///
    /// # Errors
    ///
    /// When the metastore is malformed.
    pub(super) fn retain_targets(&mut self, left: Vec<TargetShard>) -> Result<()> {
        let Some(targets) = self.targets.replace(left.clone()) else {
            return Ok(());
        };
        let left: HashSet<&ShardPath> = left.iter().map(|target| &target.path).collect();
        let gone: HashSet<&ShardPath> = targets
            .iter()
            .map(|target| &target.path)
            .filter(|path| !left.contains(path))
            .collect();
        if let Some(metastore) = self.metastore.as_mut().filter(|_| !gone.is_empty()) {
            metastore.bytes = without_groups(&metastore.bytes, &gone)?;
        }
        Ok(())
    }
}

impl NewMetastore {
    /// The files it becomes, and their content, the metastore last.
    pub(super) fn files(&self) -> impl Iterator<Item = (&'static str, &[u8])> {
        META_FILES.into_iter().zip([&self.node[..], &self.bytes])
    }
}

/// Makes the plan, and tells what the operator should know of it.
pub(super) fn plan(
    catalog: &Catalog,
    options: &RestoreOptions,
    context: Context<'_>,
) -> Result<RestorePlan> {
    // A merge brings in what somebody would miss; a server has an `_internal` of its own.
    let selection = options.what.selection(!options.merge);
    let mut source = Source::read(
        catalog,
        SetSelector::named(options.set.as_deref()),
        &selection,
        options.what.bounds(),
        match options.datadir {
            Some(_) => SourceDepth::Shards,
            None => SourceDepth::Metastore,
        },
        context,
    )?;
    if options.merge {
        source.ensure_unique_ids()?;
    }
    source.regroup(&options.what)?;
    let renamed = renamed(&source, options)?;
    let Target {
        metastore,
        shard_ids,
        users,
    } = new_metastore(renamed, &source, options, context)?;
    let mut named = None;
    if let Some(metastore) = &metastore {
        let data = Data::read(&metastore.bytes)?;
        ensure_names_stay_inside(&data)?;
        named = Some(data);
    }
    let new_id = |old| match &shard_ids {
        Some(ids) => ids.get(&old).copied(),
        None => Some(old),
    };
    let targets = source.regrouped(&options.what, new_id)?;
    let shards = match &targets {
        Some(_) => source.planned(&options.what, Some)?,
        None => source.planned(&options.what, new_id)?,
    };
    if options.datadir.is_some() {
        source.report_missing(catalog, &selection, context)?;
        source.report_regrouping(&options.what, context)?;
        if options.warns_of_result {
            source.report_left_empty(options.what.bounds(), context);
            // Else the policies are those that the target has.
            if metastore.is_some() {
                source.warn_of_expired(&options.what, context)?;
            }
        }
    }
    Ok(RestorePlan {
        metastore,
        named,
        shards,
        vacated: vacated(&source, targets.as_deref(), options),
        targets,
        missing: source.chains.missing,
        users,
        set: source.set,
        lost: options
            .skip_damaged
            .then(|| Arc::new(LostList::new(&scratch_dir()))),
    })
}

/// The shards that are in the target's data directory already, and that regrouping leaves without
/// points. Their series would show with those of the database.
fn vacated(
    source: &Source,
    targets: Option<&[TargetShard]>,
    options: &RestoreOptions,
) -> Vec<ShardPath> {
    let (Some(targets), Some(datadir)) = (targets, &options.datadir) else {
        return Vec::new();
    };
    // With a merge, there is nothing of the database yet.
    if options.merge {
        return Vec::new();
    }
    let made: HashSet<&ShardPath> = targets.iter().map(|target| &target.path).collect();
    let old = source.chains.found.iter();
    let old = old.map(|(path, _)| options.what.target(path, path.id));
    let is_there = |path: &ShardPath| shard_dir(datadir, path).exists();
    old.filter(|path| !made.contains(path) && is_there(path))
        .collect()
}

/// Refuses names that lead out of a data directory, with or without a shard in this backup: influxd
/// makes directories of all names in its metastore.
fn ensure_names_stay_inside(data: &Data) -> Result<()> {
    for database in &data.databases {
        ensure_directory_name(&database.name)?;
        for policy in &database.retention_policies {
            ensure_directory_name(&policy.name)?;
        }
    }
    Ok(())
}

/// The backup's metastore under the new names; `None` where there are none.
fn renamed(source: &Source, options: &RestoreOptions) -> Result<Option<Vec<u8>>> {
    let Some(names) = options.what.rename() else {
        return Ok(None);
    };
    rename(&source.blob.meta, &names)
        .map(Some)
        .with_context(|| ErrorKind::Refused.error("renaming in the metastore"))
}

/// What becomes of the target's metastore.
#[derive(Default)]
struct Target {
    /// The metastore to write; `None` where the target's stays as it is.
    metastore: Option<NewMetastore>,
    /// The new ids of the shards, where they change.
    shard_ids: Option<ShardIds>,
    /// What becomes of the backup's users, where they are added.
    users: Option<UserCount>,
}

impl Target {
    /// The backup's metastore, whole.
    fn whole(backup: &Source, bytes: &[u8], replaces: Option<Vec<u8>>) -> Self {
        let metastore = NewMetastore {
            bytes: bytes.to_vec(),
            node: backup.blob.node.clone(),
            replaces,
        };
        Self {
            metastore: Some(metastore),
            ..Self::default()
        }
    }
}

fn new_metastore(
    renamed: Option<Vec<u8>>,
    backup: &Source,
    options: &RestoreOptions,
    context: Context<'_>,
) -> Result<Target> {
    let Some(metadir) = &options.metadir else {
        return Ok(Target::default());
    };
    let source = renamed.as_ref().unwrap_or(&backup.blob.meta);
    let path = metadir.join("meta.db");
    let Some(existing) = read_if_there(&path)? else {
        if options.adds_users_alone() {
            return Err(ErrorKind::Refused
                .error(format!("{} does not exist: there is nothing to add users to", path.display()))
                .hint("start influxd once to have it made; or leave -users out: a metastore that is restored whole brings its users")
                .into());
        }
        return Ok(Target::whole(backup, source, None));
    };
    if options.adds_users_alone() {
        return with_users(metadir, &existing, source, backup, context);
    }
    if existing == *source {
        context.status(format!(
            "{} already is what is restored: left as it is",
            path.display()
        ));
        return Ok(Target::default());
    }
    if options.force {
        return Ok(Target::whole(backup, source, Some(existing)));
    }
    if !options.merge {
        return Err(ErrorKind::Refused
            .error(format!(
                "{} exists and is another metastore",
                path.display()
            ))
            .hint(
                "-merge adds the restored databases to it under new shard ids; -force replaces it with the backup's",
            )
            .into());
    }
    merged(metadir, &existing, source, backup, options, context)
}

/// The target's metastore with the databases of the backup, and where that is asked for, the users.
fn merged(
    metadir: &Path,
    existing: &[u8],
    source: &[u8],
    backup: &Source,
    options: &RestoreOptions,
    context: Context<'_>,
) -> Result<Target> {
    let picks = picks(source, backup, options)?;
    let merged = merge(existing, source, &picks).with_context(|| {
        ErrorKind::Refused
            .error(format!("adding to {}", metadir.join("meta.db").display()))
            .hint("-newdb gives the database another name")
    })?;
    let mut target = Target {
        metastore: None,
        shard_ids: Some(merged.shard_ids),
        users: None,
    };
    let mut bytes = merged.meta;
    let users = backup.data.users.len();
    if options.users {
        let added = picks.into_iter().map(|pick| pick.database).collect();
        let with_users = add_users(&bytes, source, &added)?;
        report_users(&with_users.count, context);
        bytes = with_users.meta;
        target.users = Some(with_users.count);
    } else if users > 0 {
        context.warn(format!(
            "the backup's {} and their grants are not added: -users adds them",
            plural(users, "user")
        ));
    }
    target.metastore = Some(changed(metadir, bytes, existing, backup)?);
    Ok(target)
}

/// The target's metastore with the users of the backup.
fn with_users(
    metadir: &Path,
    existing: &[u8],
    source: &[u8],
    backup: &Source,
    context: Context<'_>,
) -> Result<Target> {
    let with_users = add_users(existing, source, &BTreeSet::new())?;
    report_users(&with_users.count, context);
    let metastore = match with_users.count.added {
        0 => None,
        _ => Some(changed(metadir, with_users.meta, existing, backup)?),
    };
    Ok(Target {
        metastore,
        shard_ids: None,
        users: Some(with_users.count),
    })
}

/// The target's metastore as it becomes; its node stays the one it is.
fn changed(
    metadir: &Path,
    bytes: Vec<u8>,
    existing: &[u8],
    backup: &Source,
) -> Result<NewMetastore> {
    let node = read_if_there(&metadir.join("node.json"))?;
    Ok(NewMetastore {
        bytes,
        node: node.unwrap_or_else(|| backup.blob.node.clone()),
        replaces: Some(existing.to_vec()),
    })
}

/// Tells of users that are not added, and of grants.
fn report_users(count: &UserCount, context: Context<'_>) {
    if !count.known.is_empty() {
        context.status(format!(
            "left as they are, users that the target has already: {}",
            name_list(&count.known)
        ));
    }
    if count.without_database > 0 {
        context.warn(format!(
            "{} left out: the target does not have their databases",
            plural(count.without_database, "grant")
        ));
    }
}

/// A file of a meta directory that the target may have.
pub(super) fn read_if_there(path: &Path) -> Result<Option<Vec<u8>>> {
    match read_bounded(path, MAX_META_BYTES) {
        Ok(bytes) => Ok(Some(bytes)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| format!("reading {}", path.display())),
    }
}

/// What of the backup's metastore a merge adds: what was asked for, or all databases but
/// `_internal`.
fn picks(source: &[u8], backup: &Source, options: &RestoreOptions) -> Result<Vec<Pick>> {
    let what = &options.what;
    let shards = what.shard.map(|id| backup.regrouped_ids(id));
    let policy = what
        .new_retention_policy
        .clone()
        .or_else(|| what.retention_policy.clone());
    let pick = |database: String| Pick {
        database,
        policy: policy.clone(),
        shards: shards.clone(),
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
