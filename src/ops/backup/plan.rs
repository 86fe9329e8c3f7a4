//! What a backup asks for: which shards of a server, how much of each, and what of earlier sets it
//! builds on.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use anyhow::{Context as _, Result};
use jiff::Timestamp;

use super::incremental::{Earlier, IncrementalMode};
use super::names::ensure_names;
use super::request::{Planned, ShardRequest, request_for};
use super::run::{Backup, ServerMetastore};
use crate::error::{ErrorKind, told};
use crate::metastore::{Data, Shard};
use crate::ops::selection::{select, warn_not_open};
use crate::repository::{
    Catalog, Content, Selection, SetId, ShardRecord, ShardState, UnreadableFile, announced,
};
use crate::shard::ShardPath;
use crate::text::{age, name_list, plural};
use crate::time::{self, Bounds};
use crate::wire::Dialect;

/// How often the metastore is fetched again because the server made a shard meanwhile.
const CATCH_UPS: u32 = 5;

/// What is asked for.
pub(crate) struct BackupPlan {
    /// What the server says of itself.
    pub metastore: ServerMetastore,
    /// What is taken, with the time that `-since last` stands for.
    pub selection: Selection,
    /// The set that an increment builds on.
    pub parent: Option<SetId>,
    /// The shards, the largest first.
    pub shards: Vec<Planned>,
}

/// What the requests for shards depend on.
struct Basis<'a> {
    /// The earlier sets of the server.
    earlier: Option<Earlier<'a>>,
    /// How old a shard's newest file must be for the shard to be shared; `None` where none is.
    margin: Option<Duration>,
    last: Last,
    /// How large the shards were in earlier sets.
    known: HashMap<ShardPath, u64>,
    /// The shards that the server has open.
    held: HashSet<ShardPath>,
    dialect: Dialect,
}

/// What an increment builds on.
#[derive(Default)]
struct Last {
    /// What is modified after this time is not in it.
    since: Option<Timestamp>,
    /// The set.
    id: Option<SetId>,
    /// The shards that are in it.
    shards: HashSet<ShardPath>,
}

impl Backup<'_> {
    /// Fetches the metastore and decides what to ask for.
    pub(super) fn plan(&self) -> Result<BackupPlan> {
        let mut metastore = self.metastore()?;
        let catalog = self.catalog();
        let cluster_id = metastore.data.cluster_id;
        let now = Timestamp::now();
        let going = match self.options.building {
            IncrementalMode::SinceLast { .. } => announced(&self.options.repository)?,
            _ => HashSet::new(),
        };
        let earlier = catalog
            .as_ref()
            .map(|catalog| Earlier::of(catalog, cluster_id, now).without(&going));
        self.warn_ahead(earlier.as_ref(), now);
        let last = self.newest_set(earlier.as_ref());
        let parent = last.id.clone();
        let selection = Selection {
            since: last.since.or(self.options.selection.since),
            ..self.options.selection.clone()
        };
        let margin = self.margin(earlier.as_ref());
        let dialect = self.dialect()?;
        ensure_dialect_can(&selection, dialect)?;
        let shards = select(&metastore.data, &selection, &self.options.source)?;
        if selection.meta_only {
            return Ok(BackupPlan {
                metastore,
                selection,
                parent,
                shards: Vec::new(),
            });
        }
        let (shards, held) = self.caught_up(&mut metastore, &selection, shards)?;
        if let (Some(earlier), Some(_)) = (&earlier, margin) {
            self.report_vanished(earlier, &selection, &metastore.data);
        }
        let known = catalog
            .as_ref()
            .map(|catalog| earlier_sizes(catalog, metastore.data.cluster_id))
            .unwrap_or_default();
        let basis = Basis {
            earlier,
            margin,
            last,
            known,
            held,
            dialect,
        };
        let mut planned = Vec::with_capacity(shards.len());
        for shard in shards {
            planned.extend(self.planned(shard, &selection, &basis)?);
        }
        ensure_names(
            planned.iter().map(|planned: &Planned| &planned.shard.path),
            self.options.layout,
            &self.options.repository,
        )?;
        planned.sort_by_key(|planned| std::cmp::Reverse(planned.known));
        let absent = planned.iter().filter(|planned| !planned.held);
        warn_not_open(absent.map(|planned| &planned.shard), self.context);
        self.report_warm(&planned, &selection, &basis);
        if let Some(bounds) = selection.bounds().filter(|_| planned.is_empty()) {
            self.context
                .warn(format!("the server has no shard of points {bounds}"));
        }
        Ok(BackupPlan {
            metastore,
            selection,
            parent,
            shards: planned,
        })
    }

    /// The sets that are there. What is damaged of them must not stop a backup; but it is not built
    /// on, and that is told.
    fn catalog(&self) -> Option<Catalog> {
        let (catalog, unreadable) = Catalog::read_past_all(&self.options.repository).ok()?;
        for UnreadableFile { file, error } in unreadable {
            self.context
                .warn(format!("{file} is not built on: {}", told(&error)));
        }
        Some(catalog)
    }

    /// The dialect of the server, which has answered.
    fn dialect(&self) -> Result<Dialect> {
        let dialect = self
            .client
            .dialect()
            .context("the server's dialect was not found out")?;
        self.context.detail(format!(
            "{} speaks dialect {dialect}",
            self.client.address()
        ));
        Ok(dialect)
    }

    /// The shards that are meant and those that the server has open. A shard made since the
    /// metastore was fetched would be restored to nowhere, so that the metastore is fetched again
    /// then.
    fn caught_up(
        &self,
        metastore: &mut ServerMetastore,
        selection: &Selection,
        mut shards: Vec<Shard>,
    ) -> Result<(Vec<Shard>, HashSet<ShardPath>)> {
        let mut held = self.held(&metastore.data, selection)?;
        for _ in 0..CATCH_UPS {
            let named: HashSet<ShardPath> =
                metastore.data.shards().map(|shard| shard.path).collect();
            if held.is_subset(&named) {
                break;
            }
            self.context.detail(
                "the server made or dropped a shard meanwhile: fetching the metastore again",
            );
            *metastore = self.metastore()?;
            shards = select(&metastore.data, selection, &self.options.source)?;
            held = self.held(&metastore.data, selection)?;
        }
        Ok((shards, held))
    }

    /// What is asked for of a shard; `None` where it was deleted, or lies outside the range asked
    /// for.
    fn planned(
        &self,
        shard: Shard,
        selection: &Selection,
        basis: &Basis<'_>,
    ) -> Result<Option<Planned>> {
        if let Some(deleted_at) = shard.deleted_at {
            let why = format!(
                "shard {} was deleted by its retention policy or by hand at {}",
                shard.path,
                time::from_nanos(deleted_at)
            );
            if selection.shard.is_some() {
                return Err(ErrorKind::Failed.error(why).into());
            }
            self.context.status(why);
            return Ok(None);
        }
        let Some(mut request) = request_for(selection, &shard, basis.dialect) else {
            return Ok(None);
        };
        let is_since_last = matches!(self.options.building, IncrementalMode::SinceLast { .. });
        if is_since_last && !basis.last.shards.contains(&shard.path) {
            request = ShardRequest::Whole;
        }
        let is_cut = |bounds: &Bounds| !selection.coarse && bounds.cuts(shard.start, shard.end);
        let base = basis.earlier.as_ref().zip(basis.margin);
        let base = base.and_then(|(earlier, margin)| {
            earlier.base(&shard.path, selection, self.options.layout, Some(margin))
        });
        Ok(Some(Planned {
            request,
            time_range: selection.bounds().filter(is_cut),
            some_series: !selection.series.takes_all(),
            known: basis.known.get(&shard.path).copied(),
            base: base.map(Box::new),
            held: basis.held.contains(&shard.path),
            shard,
        }))
    }

    /// The shards that the server has open, of the databases that are asked for.
    fn held(&self, data: &Data, selection: &Selection) -> Result<HashSet<ShardPath>> {
        let databases = data.databases.iter().map(|database| &*database.name);
        let meant = databases.filter(|name| selection.takes_database(name));
        let mut held = self.patient_client().open_shards(meant)?;
        held.retain(|path| selection.takes(path));
        Ok(held)
    }

    /// Tells how many shards could be shared, had they not changed so soon before the last set, or
    /// while it was made.
    fn report_warm(&self, planned: &[Planned], selection: &Selection, basis: &Basis<'_>) {
        let (Some(earlier), Some(margin)) = (&basis.earlier, basis.margin) else {
            return;
        };
        let is_warm = |planned: &&Planned| {
            let (path, layout) = (&planned.shard.path, self.options.layout);
            planned.held
                && planned.base.is_none()
                && earlier.base(path, selection, layout, None).is_some()
        };
        let warm = planned.iter().filter(is_warm).count();
        if warm > 0 {
            let verb = if warm == 1 { "is" } else { "are" };
            self.context.status(format!(
                "{} changed less than {} before the last set (-cold-after) and {verb} downloaded \
                 again",
                plural(warm, "shard"),
                age(margin)
            ));
        }
    }

    /// Tells which sets are not built on because the clock is behind them.
    fn warn_ahead(&self, earlier: Option<&Earlier<'_>>, now: Timestamp) {
        let ahead: Vec<String> = earlier
            .iter()
            .flat_map(|earlier| earlier.ahead())
            .map(SetId::to_string)
            .collect();
        if !ahead.is_empty() && self.options.building != IncrementalMode::Not {
            self.context.warn(format!(
                "it is {now:.0}, and sets were begun later: the clock of this machine was set back, and they are not built on: {}",
                name_list(&ahead)
            ));
        }
    }

    /// Tells which shards of the last set the server no longer names.
    fn report_vanished(&self, earlier: &Earlier<'_>, selection: &Selection, data: &Data) {
        let named: HashSet<ShardPath> = data.live_shards().map(|shard| shard.path).collect();
        let vanished = earlier.vanished(selection, |path| named.contains(path));
        if !vanished.is_empty() {
            let holder = &self.options.source;
            let message = format!(
                "gone from {holder} since the last set, expired or dropped: {}",
                name_list(&vanished)
            );
            self.context.status(message);
        }
    }

    /// What `-since last` stands for.
    fn newest_set(&self, earlier: Option<&Earlier<'_>>) -> Last {
        let IncrementalMode::SinceLast { margin } = self.options.building else {
            return Last::default();
        };
        let set = earlier.and_then(|earlier| earlier.last(&self.options.selection));
        let message = match set {
            Some(set) => {
                format!(
                    "taking what changed after the newest complete set was begun, {}, or up to {} \
                     before (-cold-after)",
                    set.id,
                    age(margin)
                )
            }
            None => {
                "there is no complete set of the same selection to build on: taking all".to_owned()
            }
        };
        self.context.status(message);
        // What the server did not have open then is in no set, however old it is.
        let known =
            |shard: &&ShardRecord| matches!(shard.state, ShardState::Stored | ShardState::Empty);
        Last {
            since: set.and_then(|set| set.started.checked_sub(margin).ok()),
            id: set.map(|set| set.id.clone()),
            shards: set
                .iter()
                .flat_map(|set| &set.shards)
                .filter(known)
                .map(ShardRecord::path)
                .collect(),
        }
    }

    /// How old a shard's newest file must be for the shard to be shared; `None` where none is.
    fn margin(&self, earlier: Option<&Earlier<'_>>) -> Option<Duration> {
        let IncrementalMode::Incremental {
            full_every, margin, ..
        } = self.options.building
        else {
            return None;
        };
        if full_every.is_some_and(|every| {
            earlier.is_none_or(|earlier| earlier.is_full_due(&self.options.selection, every))
        }) {
            self.context
                .status("a full set is due: all shards are downloaded");
            return None;
        }
        Some(margin)
    }
}

/// Refuses what the server cannot be asked for.
fn ensure_dialect_can(selection: &Selection, dialect: Dialect) -> Result<()> {
    if dialect == Dialect::V1_5 {
        return Ok(());
    }
    if selection.coarse && selection.bounds().is_some() {
        return Err(ErrorKind::Usage
            .error("the server is of version 1.0 to 1.4, which cannot export a time range")
            .hint("leave out -coarse: then shards are taken whole and cut here")
            .into());
    }
    if selection.shard.is_some()
        && (selection.database.is_none() || selection.retention_policy.is_none())
    {
        return Err(ErrorKind::Usage
            .error(
                "the server is of version 1.0 to 1.4, where -shard needs -database and -retention",
            )
            .hint("write: snap backup -database DB -retention RP -shard ID")
            .into());
    }
    Ok(())
}

/// How large the shards of a server were in earlier sets, in bytes of their tars.
fn earlier_sizes(catalog: &Catalog, cluster_id: u64) -> HashMap<ShardPath, u64> {
    let mut sizes = HashMap::new();
    for shard in catalog
        .records()
        .filter(|set| set.cluster_id == Some(cluster_id))
        .flat_map(|set| &set.shards)
    {
        match (shard.state, shard.tar_bytes()) {
            (ShardState::Stored, Some(bytes)) => {
                sizes.insert(shard.path(), bytes);
            }
            // It was found empty since.
            (ShardState::Empty, _) if shard.content == Content::Whole => {
                sizes.remove(&shard.path());
            }
            _ => {}
        }
    }
    sizes
}
