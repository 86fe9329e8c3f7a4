//! Which sets are copied: those that were asked for and those that they build on, oldest first.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::Result;

use super::CopyOptions;
use crate::ops::forget::kept_by;
use crate::repository::{Catalog, Chains, SetId};

/// The sets to copy.
#[derive(Debug)]
pub(super) struct CopyPlan {
    /// Those with a record, oldest first.
    pub sets: Vec<PlannedSet>,
    /// Those without, which snap cannot copy: nothing says what belongs to them.
    pub unrecorded: Vec<SetId>,
}

/// A set to copy.
#[derive(Debug)]
pub(super) struct PlannedSet {
    /// Its place in the source.
    pub at: usize,
    /// If it was not asked for itself, a set that builds on it.
    pub needed_by: Option<SetId>,
    /// The places of the sets that it builds on.
    pub parents: BTreeSet<usize>,
}

impl CopyPlan {
    /// What the options ask for.
    ///
    /// # Errors
    ///
    /// Where a set that is named is not there.
    pub(super) fn of(source: &Catalog, options: &CopyOptions) -> Result<Self> {
        let asked = asked_for(source, options)?;
        let sets = source.sets();
        let is_recorded = |at: &usize| sets[*at].is_recorded();
        let (recorded, unrecorded): (Vec<usize>, Vec<usize>) =
            asked.into_iter().partition(is_recorded);
        let mut chains = Chains::of(source);
        let mut planned: BTreeMap<usize, PlannedSet> = BTreeMap::new();
        let mut next: Vec<(usize, Option<SetId>)> =
            recorded.into_iter().map(|at| (at, None)).collect();
        // Those that were asked for come first: none of these is told as needed by another.
        next.reverse();
        let mut needed = Vec::new();
        while let Some((at, needed_by)) = next.pop().or_else(|| needed.pop()) {
            if planned.contains_key(&at) {
                continue;
            }
            let parents = chains.parents(at);
            let recorded = parents.iter().copied().filter(is_recorded);
            needed.extend(recorded.map(|below| (below, Some(sets[at].id.clone()))));
            let set = PlannedSet {
                at,
                needed_by,
                parents,
            };
            planned.insert(at, set);
        }
        Ok(Self {
            sets: planned.into_values().collect(),
            unrecorded: unrecorded
                .into_iter()
                .map(|at| sets[at].id.clone())
                .collect(),
        })
    }
}

/// The places of the sets that were asked for.
fn asked_for(source: &Catalog, options: &CopyOptions) -> Result<BTreeSet<usize>> {
    if !options.sets.is_empty() {
        let found = options.sets.iter().map(|name| source.find(name));
        return Ok(found.collect::<Result<_, _>>()?);
    }
    if let Some(policy) = &options.policy {
        return Ok(kept_by(source, policy));
    }
    // Stray files of influxd's without a metastore are no set.
    let is_set = |at: &usize| {
        let set = &source.sets()[*at];
        !set.is_loose() || set.meta.is_some()
    };
    Ok((0..source.sets().len()).filter(is_set).collect())
}
