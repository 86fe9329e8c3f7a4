//! `snap list`: the sets of a backup directory, each at a glance.

use anyhow::Result;

use super::info::{SetSummary, summary};
use crate::context::Context;
use crate::error::{Error, told};
use crate::repository::{Catalog, Chains, Location, SetId, steadily};

/// What a backup directory holds.
#[derive(Debug)]
pub struct ListReport {
    /// The sets, oldest first.
    pub sets: Vec<SetSummary>,
    /// Why records or manifests could not be read, a sentence each.
    pub unreadable: Vec<String>,
    /// The sets whose removal was begun and not ended, and that no run is about to end.
    pub half_removed: Vec<SetId>,
    /// What is to be said where there are records, and nothing else of any set.
    pub emptied: Option<Error>,
}

/// Looks at all sets of a directory. What is damaged is told, and passed over.
///
/// # Errors
///
/// [`ErrorKind::NoBackup`](crate::error::ErrorKind::NoBackup) where there is no such directory;
/// when it cannot be read.
pub fn list(location: &Location, context: Context<'_>) -> Result<ListReport> {
    let mut unreadable = Vec::new();
    let read = || {
        let (catalog, files) = Catalog::read_past_damage(location)?;
        unreadable = files.iter().map(|file| told(&file.error)).collect();
        Ok(catalog)
    };
    let (catalog, sets) = steadily(location, context.cancel, read, |catalog| {
        let mut chains = Chains::of(catalog);
        let places = 0..catalog.sets().len();
        Ok(places.map(|at| summary(catalog, &mut chains, at)).collect())
    })?;
    Ok(ListReport {
        sets,
        unreadable,
        half_removed: catalog.abandoned_removals(location.grace()?)?,
        emptied: catalog.emptied(),
    })
}
