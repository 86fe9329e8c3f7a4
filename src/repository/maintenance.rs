//! A backup directory that is locked for removing sets and for pinning those that are not to be removed.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::readers::claim;
use super::set_id::SetId;
use super::snapshot::is_gone;
use super::writer::sweep;
use super::{Catalog, Lock, Removed, SetRecord, hidden, prune};
use crate::cancel::Cancel;
use crate::io::durable;
use crate::io::open::read_bounded;

/// The largest pin that is read.
const PIN_LIMIT: u64 = 4 << 10;

/// A directory whose lock is held.
#[derive(Debug)]
pub struct Upkeep {
    directory: PathBuf,
    _lock: Lock,
}

/// The content of a pin. That the file is there is what counts.
#[derive(Debug, Serialize, Deserialize)]
struct Pin {
    kept: Timestamp,
}

impl Upkeep {
    /// Whether there is anything to look after: influxd's directories hold nothing of snap's.
    pub fn is_needed(directory: &Path) -> bool {
        hidden(directory).is_dir()
    }

    /// Locks the directory, waiting for up to `wait`, and clears away what killed runs left. Tells which removals it ended.
    ///
    /// # Errors
    ///
    /// When another run holds the lock, or the directory cannot be written.
    pub fn begin(directory: &Path, wait: Duration, cancel: &Cancel) -> Result<(Self, Removed)> {
        let lock = Lock::take(&hidden(directory).join("lock"), wait, cancel)?;
        sweep(directory, None, cancel)?;
        let removed = prune::finish(directory, &mut || Ok(cancel.check()?))?;
        Ok((
            Self {
                directory: directory.to_owned(),
                _lock: lock,
            },
            removed,
        ))
    }

    /// Whether somebody reads the files of a set, which has a record.
    ///
    /// # Errors
    ///
    /// When its record cannot be opened.
    pub fn is_read(catalog: &Catalog, set: usize) -> Result<bool> {
        match claim(catalog.path(), &catalog.sets()[set].id) {
            // A dry run takes no lock, and another may have removed the set.
            Err(error) if is_gone(&error) => Ok(false),
            claimed => Ok(claimed?.is_none()),
        }
    }

    /// Removes those of the sets that `which` names by their place; none without a record. Where it is stopped, the next run
    /// goes on. Where somebody has begun to read one of them, it stays, and so do the older ones.
    ///
    /// # Errors
    ///
    /// When a file cannot be removed.
    pub fn remove(
        &self,
        catalog: &Catalog,
        which: &HashSet<usize>,
        cancel: &Cancel,
    ) -> Result<Removed> {
        let (sets, others) = split(catalog, which);
        prune::remove(&self.directory, &sets, &others, &mut || Ok(cancel.check()?))
    }

    /// What [`Upkeep::remove`] would do.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read.
    pub fn measure(catalog: &Catalog, which: &HashSet<usize>) -> Result<Removed> {
        let (sets, others) = split(catalog, which);
        prune::measure(catalog.path(), &sets, &others)
    }

    /// Pins a set, so that it is not removed.
    ///
    /// # Errors
    ///
    /// When the pin cannot be written.
    pub fn pin(&self, id: &SetId, now: Timestamp) -> Result<()> {
        let mut text = serde_json::to_vec(&Pin { kept: now }).context("writing a mark")?;
        text.push(b'\n');
        durable::write_whole(&self.pin_of(id), &text)
    }

    /// Unpins a set.
    ///
    /// # Errors
    ///
    /// When it cannot be removed.
    pub fn unpin(&self, id: &SetId) -> Result<()> {
        durable::remove_if_there(&self.pin_of(id))?;
        durable::sync_dir(&hidden(&self.directory))
    }

    fn pin_of(&self, id: &SetId) -> PathBuf {
        hidden(&self.directory).join(format!("{id}.keep"))
    }
}

/// The records of the sets named, and the files of all others.
fn split<'a>(
    catalog: &'a Catalog,
    which: &HashSet<usize>,
) -> (Vec<&'a SetRecord>, HashSet<&'a str>) {
    let (mut sets, mut others) = (Vec::new(), HashSet::new());
    for (at, set) in catalog.sets().iter().enumerate() {
        let Some(record) = set.record() else {
            continue;
        };
        if which.contains(&at) && set.pinned_at.is_none() {
            sets.push(record);
        } else {
            others.extend(record.files().map(|file| file.name.as_str()));
        }
    }
    (sets, others)
}

/// The time of a pin. A set whose pin cannot be read is pinned all the same.
pub(super) fn read_pin(path: &Path) -> Timestamp {
    let written = || {
        let bytes = read_bounded(path, PIN_LIMIT).ok()?;
        Some(serde_json::from_slice::<Pin>(&bytes).ok()?.kept)
    };
    let modified = || Timestamp::try_from(fs::symlink_metadata(path).ok()?.modified().ok()?).ok();
    written().or_else(modified).unwrap_or(Timestamp::UNIX_EPOCH)
}
