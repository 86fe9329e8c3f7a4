//! Readers beside runs that remove sets.
//!
//! Whoever is about to read the files of a set holds it: a shared lock on its record, which the
//! system releases when the process ends. A removal takes that lock for itself alone before it
//! renames the record. Whoever only looks holds nothing, and looks again where a file was gone that
//! had just been there. Where a file system has no such locks, sets can be removed while they are
//! read.

use std::time::Duration;

use anyhow::{Context, Result};

use super::catalog::Catalog;
use super::claim::age;
use super::hidden::{RECORD, REMOVAL, name_of};
use super::location::Location;
use super::set_id::SetId;
use super::snapshot::{pause, restless, tries};
use super::store::{Folder, Hold};
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind};
use crate::retry;

/// Sets that no removal touches while this lasts.
#[derive(Debug, Default)]
pub struct Held {
    _records: Vec<Hold>,
}

impl Catalog {
    /// Holds sets, by their places, against removal. Those without a record are never removed.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoBackup`] where one has been removed since the directory was read;
    /// [`steadily`] looks again then.
    pub fn hold(&self, sets: impl IntoIterator<Item = usize>) -> Result<Held> {
        let mut sets: Vec<usize> = sets
            .into_iter()
            .filter(|at| self.sets()[*at].is_recorded())
            .collect();
        sets.sort_unstable();
        sets.dedup();
        self.store().expect_holds(sets.len());
        let mut records = Vec::new();
        for at in sets {
            let id = &self.sets()[at].id;
            match self.hold_record(id)? {
                Some(record) => records.push(record),
                None => {
                    self.note_vanished();
                    return Err(removed_meanwhile(id).into());
                }
            }
        }
        Ok(Held { _records: records })
    }

    /// As [`Catalog::hold`] for one set; nothing where it has been removed meanwhile.
    ///
    /// # Errors
    ///
    /// When its record cannot be opened.
    pub(crate) fn hold_one(&self, set: usize) -> Result<Option<Held>> {
        let set = &self.sets()[set];
        if !set.is_recorded() {
            return Ok(Some(Held::default()));
        }
        let held = self.hold_record(&set.id)?;
        Ok(held.map(|record| Held {
            _records: vec![record],
        }))
    }

    /// The sets whose removal was begun and is not going on: the next run that writes ends it. One
    /// that waits for the end of the period of grace is not meant.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read.
    pub(crate) fn abandoned_removals(&self, grace: Duration) -> Result<Vec<SetId>> {
        // A run that has the lock ends them first of all.
        if self.half_removed().is_empty() || self.store().is_locked() {
            return Ok(Vec::new());
        }
        let mut abandoned = Vec::new();
        for id in self.half_removed() {
            // A run may have ended it since the directory was read.
            let removal = self.store().entry(&name_of(id, REMOVAL))?;
            if removal.is_some_and(|entry| age(self.store(), entry.modified) >= grace) {
                abandoned.push(id.clone());
            }
        }
        Ok(abandoned)
    }

    fn hold_record(&self, id: &SetId) -> Result<Option<Hold>> {
        let name = Folder::Hidden.name_of(&format!("{id}.{RECORD}"));
        let held = self.store().hold(&name);
        held.with_context(|| format!("holding {}", self.place_of(&name)))
    }
}

/// Reads a directory and does something with what is in it; all again where a set was removed
/// meanwhile, and so what was found may never have been true.
///
/// # Errors
///
/// Those of `read` and `look`; when sets are removed all the time, or a stop was asked for.
pub(crate) fn steadily<T>(
    location: &Location,
    cancel: &Cancel,
    mut read: impl FnMut() -> Result<Catalog>,
    mut look: impl FnMut(&Catalog) -> Result<T>,
) -> Result<(Catalog, T)> {
    for attempt in tries() {
        let catalog = read()?;
        let result = look(&catalog);
        if !catalog.has_vanished() {
            return Ok((catalog, result?));
        }
        retry::pause(pause(attempt), cancel)?;
    }
    Err(restless(&location.to_string()).into())
}

fn removed_meanwhile(id: &SetId) -> Error {
    ErrorKind::NoBackup.error(format!("set {id} was removed a moment ago"))
}
