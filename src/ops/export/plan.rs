//! Which shards an export takes, and what it knows of them before it reads any.

use std::collections::BTreeSet;

use anyhow::Result;

use crate::context::Context;
use crate::metastore::Data;
use crate::ops::Shortfall;
use crate::ops::restore::{PlannedShard, RestoreSelection, SetSelector, Source};
use crate::repository::{Catalog, SetId};
use crate::shard::ShardPath;
use crate::sizes::total;

/// The shards of an export, of the kind that they are made ready from.
pub(super) struct ExportPlan<T> {
    pub data: Data,
    pub shards: Vec<T>,
    /// The databases that are meant, also those of which no shard has points left.
    pub databases: BTreeSet<String>,
    /// Their bytes, where that is known.
    pub bytes: Option<u64>,
    pub missing: Vec<Shortfall>,
    /// What has the shards, as it is told.
    pub holder: String,
}

impl ExportPlan<PlannedShard> {
    /// What of a set is meant, or of the newest and what only older ones hold.
    ///
    /// # Errors
    ///
    /// Those of [`Source::read`].
    pub(super) fn of_set(
        catalog: &Catalog,
        set: Option<&str>,
        what: &RestoreSelection,
        context: Context<'_>,
    ) -> Result<(SetId, Self)> {
        let selection = what.selection(false);
        let named = SetSelector::named(set);
        let source = Source::read(catalog, named, &selection, what.bounds(), true, context)?;
        source.report_missing(catalog, &selection, context)?;
        let shards = source.planned(&RestoreSelection::default(), Some)?;
        let plan = Self {
            databases: source.databases.into_iter().collect(),
            bytes: Some(total(shards.iter().map(PlannedShard::bytes))),
            shards,
            data: source.data,
            missing: source.chains.missing,
            holder: format!("set {}", source.set),
        };
        Ok((source.set, plan))
    }
}

impl ExportPlan<ShardPath> {
    /// Those shards of an influxd that can have points of the times that are meant.
    pub(super) fn of_influxd(
        data: Data,
        shards: Vec<ShardPath>,
        what: &RestoreSelection,
        holder: String,
    ) -> Self {
        let bounds = what.bounds();
        let wanted: BTreeSet<ShardPath> = shards.into_iter().collect();
        let selection = what.selection(false);
        let databases = data.databases.iter().map(|database| &database.name);
        let databases = databases.filter(|name| selection.takes_database(name));
        let databases = databases.cloned().collect();
        let live = data.live_shards().filter(|shard| {
            let inside = bounds.is_none_or(|bounds| !bounds.misses(shard.start, shard.end));
            inside && wanted.contains(&shard.path)
        });
        let shards: Vec<ShardPath> = live.map(|shard| shard.path).collect();
        Self {
            databases,
            bytes: None,
            shards,
            missing: Vec::new(),
            holder,
            data,
        }
    }
}
