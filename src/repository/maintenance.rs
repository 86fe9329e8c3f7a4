//! A backup directory that is locked for removing sets and for marking those that are not to be removed.

use std::collections::HashSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::readers::claim;
use super::snapshot::is_gone;
use super::writer::sweep;
use super::{Catalog, Lock, Removed, SetRecord, hidden, prune};
use crate::cancel::Cancel;
use crate::io::durable;
use crate::io::open::read_bounded;

/// The largest mark that is read.
const MARK_LIMIT: u64 = 4 << 10;

/// A directory whose lock is held.
#[derive(Debug)]
pub struct Upkeep {
    directory: PathBuf,
    _lock: Lock,
}

/// The content of a mark. That the file is there is what counts.
#[derive(Debug, Serialize, Deserialize)]
struct Mark {
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
    pub fn is_read(contents: &Catalog, set: usize) -> Result<bool> {
        match claim(contents.path(), &contents.sets()[set].id) {
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
        contents: &Catalog,
        which: &HashSet<usize>,
        cancel: &Cancel,
    ) -> Result<Removed> {
        let (sets, others) = split(contents, which);
        prune::remove(&self.directory, &sets, &others, &mut || Ok(cancel.check()?))
    }

    /// What [`Upkeep::remove`] would do.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read.
    pub fn measure(contents: &Catalog, which: &HashSet<usize>) -> Result<Removed> {
        let (sets, others) = split(contents, which);
        prune::measure(contents.path(), &sets, &others)
    }

    /// Marks a set as one that is not to be removed.
    ///
    /// # Errors
    ///
    /// When the mark cannot be written.
    pub fn mark(&self, id: &str, now: Timestamp) -> Result<()> {
        let mut text = serde_json::to_vec(&Mark { kept: now }).context("writing a mark")?;
        text.push(b'\n');
        durable::write_whole(&self.mark_of(id), &text)
    }

    /// Takes the mark off a set.
    ///
    /// # Errors
    ///
    /// When it cannot be removed.
    pub fn release(&self, id: &str) -> Result<()> {
        durable::remove_if_there(&self.mark_of(id))?;
        durable::sync_dir(&hidden(&self.directory))
    }

    fn mark_of(&self, id: &str) -> PathBuf {
        hidden(&self.directory).join(format!("{id}.keep"))
    }
}

/// The records of the sets named, and the files of all others.
fn split<'a>(
    contents: &'a Catalog,
    which: &HashSet<usize>,
) -> (Vec<&'a SetRecord>, HashSet<&'a str>) {
    let (mut sets, mut others) = (Vec::new(), HashSet::new());
    for (at, set) in contents.sets().iter().enumerate() {
        let Some(record) = &set.record else { continue };
        if which.contains(&at) && set.kept.is_none() {
            sets.push(record);
        } else {
            others.extend(record.files().map(|file| file.name.as_str()));
        }
    }
    (sets, others)
}

/// The time of a mark. A set whose mark cannot be read is marked all the same.
pub(super) fn read_mark(path: &Path) -> Timestamp {
    let written = || {
        let bytes = read_bounded(path, MARK_LIMIT).ok()?;
        Some(serde_json::from_slice::<Mark>(&bytes).ok()?.kept)
    };
    let modified = || Timestamp::try_from(fs::symlink_metadata(path).ok()?.modified().ok()?).ok();
    written().or_else(modified).unwrap_or(Timestamp::UNIX_EPOCH)
}
