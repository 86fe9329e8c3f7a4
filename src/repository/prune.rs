//! Removing sets, so that whenever it is cut short, what is left is taken for a backup by nobody
//! and the next run goes on.
//!
//! 1. The record is renamed to `.snap/<id>.forget`: from then on the set does not count.
//! 2. What influxd takes for the sign of a backup goes: the manifest and the meta store.
//! 3. The files of the shards go.
//! 4. The `.forget` goes.
//!
//! Each step is on disk, for all sets that are removed, before the next begins. Files of different
//! sets may be hard links of each other: names are removed, and what other names stand for stays.
//!
//! A file that is not as long as was recorded may be somebody else's, so it stays where it is whole
//! in itself. Where it is not, it is what damage left of the set's own file, and goes: without the
//! record it would count as one of influxd's.
//!
//! A record is renamed under a lock on it that nobody else shares: who reads a set holds one
//! ([`super::readers::Held`]). From then on no reader begins with the set, so the rest, and what a
//! later run goes on with, needs no look at readers.

use std::collections::{HashMap, HashSet};
use std::fs::{self, Metadata};
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;

use super::catalog::{Catalog, META_FRAME};
use super::hidden::{RECORD, REMOVAL, file_of, hidden, lock_file, own_kind};
use super::lock::Lock;
use super::manifest::{self, Manifest};
use super::pin;
use super::record::{FileRecord, Layout, SetRecord};
use super::recover::{record_at, sweep};
use super::set_id::SetId;
use super::snapshot::{MANIFEST_LIMIT, is_gone};
use super::store::claim;
use crate::cancel::Cancel;
use crate::io::durable;
use crate::io::open::{open_regular, read_bounded};
use crate::shard::ShardPath;
use crate::shard_tar::{Ending, ShardTarReader, TarError};
use crate::wire::{MAX_META_BYTES, MetaBlob};

/// What was removed, or would be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Removed {
    /// The ids of the sets.
    pub sets: Vec<SetId>,
    /// Files.
    pub files: usize,
    /// Bytes that became free: of a file with other names none do.
    pub bytes: u64,
    /// What was left alone although a set recorded a file of that name, a sentence each.
    pub left: Vec<String>,
    /// The ids of sets that were to be removed and stay: somebody began to read one of them, or a
    /// set that needs it.
    pub spared: Vec<SetId>,
}

impl Removed {
    /// Adds what another removal did.
    pub fn add(&mut self, other: Self) {
        self.sets.extend(other.sets);
        self.files += other.files;
        self.bytes += other.bytes;
        self.left.extend(other.left);
        self.spared.extend(other.spared);
    }
}

/// A backup directory that is locked for removing sets and for pinning those that are not to be
/// removed.
#[derive(Debug)]
pub struct Maintenance {
    directory: PathBuf,
    _lock: Lock,
}

impl Maintenance {
    /// Whether there is anything to look after: influxd's directories hold nothing of snap's.
    pub fn is_needed(directory: &Path) -> bool {
        hidden(directory).is_dir()
    }

    /// Locks the directory, waiting for up to `wait`, and clears away what killed runs left. Tells
    /// which removals it ended.
    ///
    /// # Errors
    ///
    /// When another run holds the lock, or the directory cannot be written.
    pub fn begin(directory: &Path, wait: Duration, cancel: &Cancel) -> Result<(Self, Removed)> {
        let lock = Lock::take(&lock_file(directory), wait, cancel)?;
        sweep(directory, None, cancel)?;
        let removed = finish(directory, &mut || Ok(cancel.check()?))?;
        let maintenance = Self {
            directory: directory.to_owned(),
            _lock: lock,
        };
        Ok((maintenance, removed))
    }

    /// Whether somebody reads the files of a set, which has a record.
    ///
    /// # Errors
    ///
    /// When its record cannot be opened.
    pub fn is_read(directory: &Path, catalog: &Catalog, set: usize) -> Result<bool> {
        match claim(&file_of(directory, &catalog.sets()[set].id, RECORD)) {
            // A dry run takes no lock, and another may have removed the set.
            Err(error) if is_gone(&error) => Ok(false),
            claimed => Ok(claimed?.is_none()),
        }
    }

    /// Removes those of the sets that `which` names by their place; none without a record. Where it
    /// is stopped, the next run goes on. Where somebody has begun to read one of them, it stays,
    /// and so do the older ones.
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
        remove(&self.directory, &sets, &others, &mut || Ok(cancel.check()?))
    }

    /// What [`Maintenance::remove`] would do.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read.
    pub fn measure(directory: &Path, catalog: &Catalog, which: &HashSet<usize>) -> Result<Removed> {
        let (sets, others) = split(catalog, which);
        measure(directory, &sets, &others)
    }

    /// Pins a set, so that it is not removed.
    ///
    /// # Errors
    ///
    /// When the pin cannot be written.
    pub fn pin(&self, id: &SetId, now: Timestamp) -> Result<()> {
        pin::write(&self.directory, id, now)
    }

    /// Unpins a set.
    ///
    /// # Errors
    ///
    /// When the pin cannot be removed.
    pub fn unpin(&self, id: &SetId) -> Result<()> {
        pin::remove(&self.directory, id)
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

/// Called before each step; where it fails, nothing more is done.
type Check<'a> = &'a mut dyn FnMut() -> Result<()>;

/// Removes sets, oldest first as given. `others` are the files of the sets that stay. The lock must
/// be held.
fn remove(
    directory: &Path,
    sets: &[&SetRecord],
    others: &HashSet<&str>,
    check: Check<'_>,
) -> Result<Removed> {
    if sets.is_empty() {
        return Ok(Removed::default());
    }
    let hidden = hidden(directory);
    // The newest first: no increment stays behind without what it stands on.
    let mut spared = sets.len();
    while spared > 0 {
        let set = sets[spared - 1];
        check()?;
        let from = file_of(directory, &set.id, RECORD);
        let Some(_claim) = claim(&from)? else {
            break;
        };
        durable::rename(&from, &file_of(directory, &set.id, REMOVAL))?;
        spared -= 1;
    }
    check()?;
    durable::sync_dir(&hidden)?;
    // What is read now may stand on any of those that are older.
    let (spared, going) = sets.split_at(spared);
    let mut removed = remove_files(directory, going, others, check)?;
    removed.spared = spared.iter().map(|set| set.id.clone()).collect();
    Ok(removed)
}

/// What [`remove`] would do.
fn measure(directory: &Path, sets: &[&SetRecord], others: &HashSet<&str>) -> Result<Removed> {
    let mut removed = Removed {
        sets: sets.iter().map(|set| set.id.clone()).collect(),
        ..Removed::default()
    };
    let mut names: HashMap<(u64, u64), u64> = HashMap::new();
    for file in signs(sets).into_iter().chain(shards(sets)) {
        if let Some((_, metadata)) = ours(directory, &file, others, &mut removed.left)? {
            removed.files += 1;
            let seen = names.entry((metadata.dev(), metadata.ino())).or_default();
            *seen += 1;
            if *seen == metadata.nlink() {
                removed.bytes += metadata.len();
            }
        }
    }
    Ok(removed)
}

/// Goes on with removals that were cut short. The lock must be held.
pub(super) fn finish(directory: &Path, check: Check<'_>) -> Result<Removed> {
    let hidden = hidden(directory);
    let (mut begun, mut paths) = (Vec::new(), Vec::new());
    for path in durable::paths_in(&hidden)? {
        match own_kind(&path) {
            Some(RECORD) => paths.push(path),
            // A copy of the directory that was made meanwhile can have both names: then the set
            // counts.
            Some(REMOVAL) if path.with_extension(RECORD).exists() => {
                durable::remove_if_there(&path)?
            }
            // One that cannot be read must not stop a backup; what it names is unknown, and stays.
            Some(REMOVAL) => begun.extend(record_at(directory, &path).ok()),
            _ => {}
        }
    }
    if begun.is_empty() {
        return Ok(Removed::default());
    }
    let staying: Vec<SetRecord> = paths
        .iter()
        .filter_map(|path| record_at(directory, path).ok())
        .collect();
    let others = staying
        .iter()
        .flat_map(SetRecord::files)
        .map(|file| file.name.as_str())
        .collect();
    remove_files(directory, &begun.iter().collect::<Vec<_>>(), &others, check)
}

/// Steps 2 to 4.
fn remove_files(
    directory: &Path,
    sets: &[&SetRecord],
    others: &HashSet<&str>,
    check: Check<'_>,
) -> Result<Removed> {
    let mut removed = Removed {
        sets: sets.iter().map(|set| set.id.clone()).collect(),
        ..Removed::default()
    };
    for files in [signs(sets), shards(sets)] {
        for file in files {
            check()?;
            let Some((path, metadata)) = ours(directory, &file, others, &mut removed.left)? else {
                continue;
            };
            durable::remove_if_there(&path)?;
            removed.files += 1;
            if metadata.nlink() == 1 {
                removed.bytes += metadata.len();
            }
        }
        check()?;
        durable::sync_dir(directory)?;
    }
    for set in sets {
        check()?;
        durable::remove_if_there(&file_of(directory, &set.id, REMOVAL))?;
    }
    check()?;
    durable::sync_dir(&hidden(directory))?;
    Ok(removed)
}

/// A file that a set recorded, and what it holds.
struct SetFile<'a> {
    record: &'a FileRecord,
    layout: Layout,
    content: FileContent,
}

enum FileContent {
    Manifest,
    Metastore,
    Shard(ShardPath),
}

/// What influxd takes for the sign of a backup.
fn signs<'a>(sets: &[&'a SetRecord]) -> Vec<SetFile<'a>> {
    let of_set = |set: &&'a SetRecord| {
        let set: &'a SetRecord = set;
        let manifest = set
            .manifest
            .iter()
            .map(|file| (file, FileContent::Manifest));
        let files = manifest.chain([(&set.meta, FileContent::Metastore)]);
        files.map(|(record, content)| SetFile {
            record,
            layout: set.layout,
            content,
        })
    };
    sets.iter().flat_map(of_set).collect()
}

fn shards<'a>(sets: &[&'a SetRecord]) -> Vec<SetFile<'a>> {
    let of_set = |set: &&'a SetRecord| {
        let set: &'a SetRecord = set;
        set.shards.iter().filter_map(|shard| {
            Some(SetFile {
                record: shard.file.as_ref()?,
                layout: set.layout,
                content: FileContent::Shard(shard.path()),
            })
        })
    };
    sets.iter().flat_map(of_set).collect()
}

impl SetFile<'_> {
    /// Whether what lies at `path` can be read to its end, or nobody knows.
    fn is_whole(&self, path: &Path) -> bool {
        match (&self.content, self.layout) {
            (FileContent::Manifest, _) => read_bounded(path, MANIFEST_LIMIT)
                .map_or(true, |bytes| Manifest::read(&bytes).is_ok()),
            (FileContent::Metastore, Layout::Legacy) => {
                open_regular(path).map_or(true, |file| MetaBlob::read_from(file).is_ok())
            }
            (FileContent::Metastore, Layout::Portable) => {
                read_bounded(path, MAX_META_BYTES + META_FRAME)
                    .map_or(true, |bytes| manifest::read_meta(&bytes).is_ok())
            }
            (FileContent::Shard(shard), Layout::Legacy) => {
                open_regular(path).map_or(true, |file| {
                    let finished = ShardTarReader::in_place(file, shard).finish();
                    matches!(
                        finished,
                        Ok(Ending::Whole { .. }) | Err(TarError::Source(_))
                    )
                })
            }
            (FileContent::Shard(_), Layout::Portable) => open_regular(path).map_or(true, |file| {
                io::copy(&mut manifest::decompress(file), &mut io::sink()).is_ok()
            }),
        }
    }
}

/// The file, where it is there and is the set's; else says why it is left alone.
fn ours(
    directory: &Path,
    file: &SetFile<'_>,
    others: &HashSet<&str>,
    left: &mut Vec<String>,
) -> Result<Option<(PathBuf, Metadata)>> {
    let record = file.record;
    let path = directory.join(&record.name);
    let metadata = match fs::symlink_metadata(&path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        result => result.with_context(|| format!("reading {}", path.display()))?,
    };
    let why = if others.contains(record.name.as_str()) {
        "another set recorded it too".to_owned()
    } else if !metadata.is_file() {
        "it is not a regular file".to_owned()
    } else if metadata.len() != record.size && file.is_whole(&path) {
        format!(
            "it has {} bytes, and {} were recorded",
            metadata.len(),
            record.size
        )
    } else {
        return Ok(Some((path, metadata)));
    };
    left.push(format!("{} is left alone: {why}", path.display()));
    Ok(None)
}

#[cfg(test)]
#[path = "prune_tests.rs"]
mod tests;
