//! What of a backup directory a restore reads: the metastore of a set, the shards that are meant,
//! and the files they are made of.

use std::collections::{BTreeSet, HashMap};

use anyhow::{Context as _, Result, ensure};

use super::extent::SetExtent;
use super::selection::RestoreSelection;
use crate::context::Context;
use crate::error::ErrorKind;
use crate::influxd_dir::ensure_directory_name;
use crate::metastore::regroup::NewGroup;
use crate::metastore::{Data, Shard};
use crate::ops::Shortfall;
use crate::ops::losses::newest_holding;
use crate::ops::selection::select;
use crate::repository::{
    BackupFile, Catalog, ChainContext, Chains, Gap, Held, Location, Missing, Selection, Set, SetId,
    ShardChain, steadily,
};
use crate::shard::ShardPath;
use crate::sizes::total;
use crate::time::Bounds;
use crate::wire::MetaBlob;

/// A backup as a restore sees it.
pub(in crate::ops) struct Source {
    /// The id of the set that is restored.
    pub set: SetId,
    /// Its place among the sets.
    pub at: usize,
    /// Whether somebody named it, or it is restored because it is the newest.
    pub is_named: bool,
    /// Whether a part of the points is meant, or all that was backed up: that may be empty.
    pub is_part: bool,
    /// The metastore in its frame, with the durations that are asked for.
    pub blob: MetaBlob,
    /// The metastore as it is in the backup.
    pub data: Data,
    /// The groups of the policy that is restored, where its shards are regrouped.
    pub groups: Option<Vec<NewGroup>>,
    /// The databases that come back: those that are meant, but for those of which the backup holds
    /// nothing.
    pub databases: Vec<String>,
    /// What the set is of, of what is meant.
    pub extent: SetExtent,
    /// The shards that are meant, without those of deleted groups.
    pub live: Vec<Shard>,
    /// Their files.
    pub chains: Restorable,
}

/// The files of the shards that are meant, and what is not there.
#[derive(Default)]
pub(crate) struct Restorable {
    /// The files of each shard, oldest first; never none.
    pub found: Vec<(ShardPath, Vec<BackupFile>)>,
    /// What is not in the backup.
    pub missing: Vec<Shortfall>,
    /// Shards that no set was asked for, and that may hold points.
    pub unasked: Vec<ShardPath>,
    /// Shards that no set was asked for, whose time had not begun.
    pub early: Vec<ShardPath>,
}

impl Restorable {
    /// Puts together what is there of shards that a set's metastore names.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Refused`] where it is not clear which files are meant; [`ErrorKind::Damage`]
    /// where nobody knows of which server they are.
    fn find(
        catalog: &Catalog,
        context: ChainContext,
        live: &[Shard],
        metastore: &Data,
        selection: &Selection,
    ) -> Result<Self> {
        let mut chains = Chains::of_one_set(catalog);
        let mut restorable = Self::default();
        for shard in live {
            let path = &shard.path;
            match chains.of_shard(context, shard) {
                ShardChain::Asked { files, gap } => {
                    if let Some(gap) = gap {
                        let missing = Missing {
                            shard: Some(path.clone()),
                            gap,
                        };
                        ensure_clear(&missing)?;
                        restorable.missing.push(Shortfall::from(&missing));
                    }
                    if !files.is_empty() {
                        restorable.found.push((path.clone(), files));
                    }
                }
                ShardChain::NotAsked { may_hold: true } => restorable.unasked.push(path.clone()),
                ShardChain::NotAsked { may_hold: false } => restorable.early.push(path.clone()),
            }
        }
        let mut others =
            chains.missing_beside_shards(context, live.iter().map(|shard| &shard.path));
        others.extend(chains.unnamed(context.at, metastore));
        others.retain(|missing| {
            let shard = missing.shard.as_ref();
            shard.is_none_or(|shard| selection.takes(shard))
        });
        restorable
            .missing
            .extend(others.iter().map(Shortfall::from));
        Ok(restorable)
    }
}

fn ensure_clear(missing: &Missing) -> Result<()> {
    match missing.gap {
        Gap::RangeBeside { .. } => Err(ErrorKind::Refused
            .error(missing)
            .hint("name the set that is meant behind PATH; or move the sets made with -start, -end, -measurement or -where into a directory of their own")
            .into()),
        Gap::ServerUnknown { .. } => Err(ErrorKind::Damage.error(missing).into()),
        _ => Ok(()),
    }
}

/// Which of the sets of a directory is restored.
#[derive(Debug, Clone, Copy)]
pub(crate) enum SetSelector<'a> {
    /// The newest, and what the directory holds beside it.
    Newest,
    /// This one, and what it stands on.
    Alone(&'a str),
    /// This one, and what the directory held beside it when it was the newest.
    UpTo(&'a str),
}

impl<'a> SetSelector<'a> {
    /// The one that was named, else the newest.
    pub(in crate::ops) fn named(set: Option<&'a str>) -> Self {
        set.map_or(Self::Newest, Self::Alone)
    }
}

/// Refuses what does not stand alone where a record was lost: it may have been that of the set, or
/// have said of a shard that nothing was left of it.
fn ensure_known(catalog: &Catalog, at: usize, chains: &Restorable) -> Result<()> {
    let [lost, ..] = catalog.damaged() else {
        return Ok(());
    };
    let refusal = |what: &str| {
        let fault = ErrorKind::Damage.error(format!(
            "{lost} is damaged, and may be what tells of {what}"
        ));
        fault
            .hint("snap verify tells more. Once it is moved away, its files count as influxd's, and nobody misses what it said")
    };
    let set = &catalog.sets()[at];
    if !set.is_recorded() {
        return Err(refusal(&format!("set {}", set.id)).into());
    }
    let mut files = chains.found.iter().flat_map(|(_, chain)| chain);
    match files.find(|file| file.set != at) {
        None => Ok(()),
        Some(file) => Err(refusal(&file.name).into()),
    }
}

/// A shard to restore.
#[derive(Clone)]
pub(crate) struct PlannedShard {
    /// What it is called in the backup.
    pub source: ShardPath,
    /// What it is called in the target. Where shards are regrouped, they are called as in the
    /// backup until they are put together, but for the names of database and policy.
    pub target: ShardPath,
    /// The files it is put together from, oldest first; never empty.
    pub chain: Vec<BackupFile>,
    /// The times of the points that are restored, where the shard can have others.
    pub time_range: Option<Bounds>,
    /// The first and the last time of its group, in nanoseconds since 1970.
    pub group: (i64, i64),
}

impl PlannedShard {
    /// Bytes of the files it is put together from.
    pub(in crate::ops) fn bytes(&self) -> u64 {
        total(self.chain.iter().map(|file| file.size))
    }
}

/// Reads a backup directory to restore the set of that name, or else the newest, plans with it, and
/// holds the sets of the files that `plan` names: no `snap forget` removes them while they are
/// read. All again where one was removed meanwhile.
///
/// # Errors
///
/// Those of [`Catalog::read_for`] and of `plan`.
pub(crate) fn planned<T>(
    location: &Location,
    set: Option<&str>,
    context: Context<'_>,
    mut plan: impl FnMut(&Catalog) -> Result<(T, BTreeSet<usize>)>,
) -> Result<(Catalog, T, Held)> {
    let read = || Catalog::read_for(location, set, &mut |text| context.warn(text));
    let (catalog, (plan, held)) = steadily(location, context.cancel, read, |catalog| {
        let (plan, sets) = plan(catalog)?;
        Ok((plan, catalog.hold(sets)?))
    })?;
    Ok((catalog, plan, held))
}

/// The sets of the files that shards are put together from.
pub(crate) fn sets_of<'a>(shards: impl IntoIterator<Item = &'a PlannedShard>) -> BTreeSet<usize> {
    let files = shards.into_iter().flat_map(|shard| &shard.chain);
    files.map(|file| file.set).collect()
}

/// How far a backup is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SourceDepth {
    /// The metastore alone.
    Metastore,
    /// The files of shards are looked for too.
    Shards,
}

impl Source {
    /// Reads what `selection` takes of a set, as far as it has points in `bounds`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoBackup`] or [`ErrorKind::Damage`] for the metastore; when what is meant is
    /// not in it.
    pub(in crate::ops) fn read(
        catalog: &Catalog,
        which: SetSelector<'_>,
        selection: &Selection,
        bounds: Option<Bounds>,
        depth: SourceDepth,
        context: Context<'_>,
    ) -> Result<Self> {
        let (at, last) = match which {
            SetSelector::Newest => (catalog.latest()?, catalog.sets().len() - 1),
            SetSelector::Alone(name) | SetSelector::UpTo(name) => {
                let at = catalog.find(name)?;
                (at, at)
            }
        };
        let chosen = &catalog.sets()[at];
        let (blob, data) = catalog.read_meta(chosen)?;
        warn_lost_manifest(catalog, chosen, context);
        context.detail(format!("using the metastore of set {}", chosen.id));
        let selected = select(&data, selection, &format!("the backup {}", catalog.place()))
            .map_err(|fault| match newest_holding(catalog, at, selection) {
                Some(other) => {
                    let (name, id) = (other.name(), &other.set.id);
                    fault.hint(format!(
                        "{name} holds it: write {id} behind PATH to restore that"
                    ))
                }
                None => fault,
            })?;
        let inside =
            |shard: &Shard| bounds.is_none_or(|bounds| !bounds.misses(shard.start, shard.end));
        let live: Vec<Shard> = selected
            .into_iter()
            .filter(|shard| shard.deleted_at.is_none() && inside(shard))
            .collect();
        ensure_agreeing_records(catalog, last, &data)?;
        let context = ChainContext {
            at,
            last,
            alone: matches!(which, SetSelector::Alone(_)),
        };
        let chains = match depth {
            SourceDepth::Metastore => Restorable::default(),
            SourceDepth::Shards => Restorable::find(catalog, context, &live, &data, selection)?,
        };
        ensure_known(catalog, at, &chains)?;
        let found = chains.found.iter().map(|(shard, _)| shard);
        let extent = SetExtent::of(chosen, found, chains.unasked.iter());
        let names = data.databases.iter().map(|database| database.name.as_str());
        let databases = names
            .filter(|name| selection.takes_database(name) && extent.has_database(name))
            .map(str::to_owned)
            .collect();
        let mut source = Self {
            set: chosen.id.clone(),
            at,
            is_named: !matches!(which, SetSelector::Newest),
            is_part: bounds.is_some() || chosen.is_part(),
            blob,
            data,
            groups: None,
            databases,
            extent,
            live,
            chains,
        };
        source.count_unasked(selection);
        Ok(source)
    }

    /// Refuses a metastore that gives one id to two of the shards, for a restore that gives them
    /// new ids: these are told by the old ones, and the points of one would come into the other.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Refused`] with both.
    pub(crate) fn ensure_unique_ids(&self) -> Result<()> {
        let mut named: HashMap<u64, &ShardPath> = HashMap::new();
        for shard in &self.live {
            let Some(other) = named.insert(shard.path.id, &shard.path) else {
                continue;
            };
            let fault = ErrorKind::Refused.error(format!(
                "the metastore of the backup gives shards {other} and {} one id",
                shard.path
            ));
            return Err(fault
                .hint(
                    "it is damaged, or no influxd's; -database and -retention restore a part of it",
                )
                .into());
        }
        Ok(())
    }

    /// The sets of the files.
    pub(in crate::ops) fn sets(&self) -> BTreeSet<usize> {
        let files = self.chains.found.iter().flat_map(|(_, chain)| chain);
        files.map(|file| file.set).collect()
    }

    /// The shards that have files, called as in the backup.
    pub(in crate::ops) fn with_files(&self) -> Vec<PlannedShard> {
        let groups: HashMap<&ShardPath, (i64, i64)> = self
            .live
            .iter()
            .map(|shard| (&shard.path, (shard.start, shard.end.saturating_sub(1))))
            .collect();
        let found = self.chains.found.iter();
        let shards = found.map(|(shard, chain)| PlannedShard {
            source: shard.clone(),
            target: shard.clone(),
            chain: chain.clone(),
            time_range: None,
            group: groups.get(shard).copied().unwrap_or((i64::MIN, i64::MAX)),
        });
        shards.collect()
    }

    /// The shards that have files, each with what it will be called; `new_id` finds the id it gets.
    pub(crate) fn planned(
        &self,
        what: &RestoreSelection,
        new_id: impl Fn(u64) -> Option<u64>,
    ) -> Result<Vec<PlannedShard>> {
        let time_range: HashMap<&ShardPath, Bounds> =
            what.bounds().map_or_else(HashMap::new, |bounds| {
                let time_range = self
                    .live
                    .iter()
                    .filter(|shard| bounds.cuts(shard.start, shard.end));
                time_range.map(|shard| (&shard.path, bounds)).collect()
            });
        let planned = self.with_files().into_iter().map(|shard| {
            let source = &shard.source;
            let id = new_id(source.id)
                .with_context(|| format!("shard {source} has no place in the new metastore"))?;
            let target = what.target(source, id);
            ensure_directory_name(&target.database)?;
            ensure_directory_name(&target.retention_policy)?;
            Ok(PlannedShard {
                target,
                time_range: time_range.get(source).copied(),
                ..shard
            })
        });
        planned.collect()
    }
}

/// Refuses a set up to `last` whose record says that it is of another server than the one with the
/// metastore `data`, and whose own metastore does not: what it describes would be left out.
fn ensure_agreeing_records(catalog: &Catalog, last: usize, data: &Data) -> Result<()> {
    for set in &catalog.sets()[..=last] {
        let recorded = set.recorded_cluster();
        let Some(id) = recorded.filter(|id| *id != data.cluster_id) else {
            continue;
        };
        let own = catalog.read_meta(set).map(|(_, own)| own.cluster_id);
        ensure!(
            own.ok().is_none_or(|own| own == id),
            ErrorKind::Damage.error(format!(
                "the record of set {} and its metastore are of different servers",
                set.id
            ))
        );
    }
    Ok(())
}

/// Warns of a manifest that is not what was recorded: it is not needed here, but influxd cannot do
/// without.
fn warn_lost_manifest(catalog: &Catalog, set: &Set, context: Context<'_>) {
    let Some(manifest) = set.record().and_then(|record| record.manifest.as_ref()) else {
        return;
    };
    let sound = catalog
        .read_file(&manifest.name)
        .is_ok_and(|bytes| manifest.digest.is_of(&bytes));
    if !sound {
        let message = format!(
            "the manifest {} is gone or damaged: influxd cannot restore set {}",
            manifest.name, set.id
        );
        context.warn(message);
    }
}
