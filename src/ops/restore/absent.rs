//! Telling what of a backup does not come back, and why.

use std::collections::BTreeSet;

use anyhow::Result;

use super::source::{Restorable, Source};
use crate::context::Context;
use crate::error::{Error, ErrorKind};
use crate::ops::losses::newest_holding;
use crate::ops::{Shortfall, grouped};
use crate::repository::{Catalog, Selection};
use crate::shard::ShardPath;
use crate::text::{first_of, name_list, plural};
use crate::time::Bounds;

impl Source {
    /// Counts shards that no set was asked for as missing, where the restore was asked for them by
    /// name. Else it is asked for what the backup holds, and they are left empty.
    pub(super) fn count_unasked(&mut self, selection: &Selection) {
        let Restorable { unasked, early, .. } = &self.chains;
        let mut absent: Vec<&ShardPath> = Vec::new();
        if selection.database.is_some() || selection.shard.is_some() {
            absent.extend(unasked);
        }
        // One that may have been empty, and was asked for by its id all the same.
        if selection.shard.is_some() {
            absent.extend(early);
        }
        if !absent.is_empty() {
            let (shard, reason) = (None, self.unasked_reason(&absent));
            self.chains.missing.push(Shortfall { shard, reason });
        }
    }

    /// Why shards that no set was asked for are not there.
    fn unasked_reason(&self, shards: &[&ShardPath]) -> String {
        let names: Vec<String> = shards.iter().map(ToString::to_string).collect();
        let (noun, verb) = match shards {
            [_] => ("shard", "is"),
            _ => ("shards", "are"),
        };
        let made = match self.extent.flags() {
            flags if flags.is_empty() => "without".to_owned(),
            flags => format!("with {flags}"),
        };
        format!(
            "{noun} {} {verb} not in this backup: set {} was made {made}",
            name_list(&names),
            self.set
        )
    }

    /// Tells what does not come back, or may come back although it was deleted.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoBackup`] when no shard that is meant is there.
    pub(crate) fn report_missing(
        &self,
        catalog: &Catalog,
        selection: &Selection,
        context: Context<'_>,
    ) -> Result<()> {
        let Restorable { found, missing, .. } = &self.chains;
        let merged = found.iter().filter(|(_, chain)| chain.len() > 1).count();
        if merged > 0 {
            context.warn(format!(
                "{} put together from a backup and later increments: points that were deleted on the server in between can \
                 come back",
                plural(merged, "shard")
            ));
        }
        if found.is_empty() && !(missing.is_empty() && self.chains.unasked.is_empty()) {
            return Err(self.nothing_there(catalog, selection).into());
        }
        if found.is_empty() && !self.is_part {
            self.ensure_something(catalog, selection, context)?;
        }
        grouped(missing).iter().for_each(|text| context.warn(text));
        Ok(())
    }

    /// That no shard that is meant is there, and why.
    fn nothing_there(&self, catalog: &Catalog, selection: &Selection) -> Error {
        let mut reasons = grouped(&self.chains.missing);
        if reasons.is_empty() {
            let unasked: Vec<&ShardPath> = self.chains.unasked.iter().collect();
            reasons.push(self.unasked_reason(&unasked));
        }
        let holds = match selection.flags() {
            flags if flags.is_empty() => "holds none of the shards asked for".to_owned(),
            flags => format!("holds nothing of {flags}"),
        };
        let message = format!("{} {holds}: {}", catalog.place(), first_of(&reasons));
        ErrorKind::NoBackup
            .error(message)
            .hint(match newest_holding(catalog, self.at, selection) {
                Some(other) => {
                    let (name, id) = (other.name(), &other.set.id);
                    format!("{name} holds it: write {id} behind PATH")
                }
                None => "snap info PATH SET shows what a set holds".to_owned(),
            })
    }

    /// Refuses to restore a set without any shard where another has some: a server that came up
    /// without its data is backed up like any other, and nobody wants that set.
    fn ensure_something(
        &self,
        catalog: &Catalog,
        selection: &Selection,
        context: Context<'_>,
    ) -> Result<()> {
        let set = &self.set;
        let Some(other) = newest_holding(catalog, self.at, selection) else {
            context.warn(format!(
                "set {set} holds no points of what is restored, and no other set does: the metastore is all there is"
            ));
            return Ok(());
        };
        if other.of_other_server && self.is_named {
            context.warn(format!(
                "set {set} holds no points of what is restored: the metastore is all there is"
            ));
            return Ok(());
        }
        let (directory, id) = (catalog.place(), &other.set.id);
        let fault = ErrorKind::NoBackup.error(format!(
            "set {set} of {directory} holds no points of what is restored; the newest set that holds any is {id}{}, with {}",
            if other.of_other_server { " of another server" } else { "" },
            plural(other.shards, "shard")
        ));
        Err(fault
            .hint(format!("write {id} behind PATH to restore that; -metadir without -datadir restores the metastore of {set} alone"))
            .into())
    }

    /// Says which databases are restored in part, or without a point, because the backup was made of
    /// others.
    pub(super) fn report_left_empty(&self, bounds: Option<Bounds>, context: Context<'_>) {
        if let Some(bounds) = bounds.filter(|_| self.chains.found.is_empty()) {
            context.warn(format!("the backup has no shard of points {bounds}"));
        }
        let restored: BTreeSet<&str> = self
            .chains
            .found
            .iter()
            .map(|(shard, _)| &*shard.database)
            .collect();
        let unasked = self
            .chains
            .unasked
            .iter()
            .filter(|shard| shard.database != "_internal");
        let (part, empty): (Vec<&ShardPath>, Vec<&ShardPath>) =
            unasked.partition(|shard| restored.contains(&*shard.database));
        let part: Vec<String> = part.iter().map(ToString::to_string).collect();
        let empty: BTreeSet<String> = empty
            .iter()
            .map(|shard| format!("'{}'", shard.database))
            .collect();
        let empty: Vec<String> = empty.into_iter().collect();
        for (what, names) in [("shards", part), ("databases", empty)] {
            if !names.is_empty() {
                let message = format!(
                    "the metastore also names {what} of which this backup holds nothing: {}",
                    name_list(&names)
                );
                context.warn(message);
            }
        }
    }
}
