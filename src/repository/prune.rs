//! Removing sets. Wherever a removal is cut short, nobody takes what is left for a backup, and the
//! next run completes the removal.
//!
//! 1. The record is renamed to `.snap/<id>.forget`: from then on the set does not count.
//! 2. What influxd takes for the sign of a backup goes: the manifest and the metastore.
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
//! A record is taken away only where nobody holds it, as who reads a set does
//! ([`super::readers::Held`]). From then on no reader begins with the set, so the rest, and what a
//! later run goes on with, needs no look at readers.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use super::catalog::{Catalog, META_FRAME};
use super::hidden::{HIDDEN, RECORD, REMOVAL, name_of, own_name};
use super::location::Location;
use super::manifest::{self, Manifest};
use super::pin::{self, Pin};
use super::record::{FileRecord, Layout, SetRecord};
use super::recover::sweep;
use super::set_id::SetId;
use super::snapshot::{MANIFEST_LIMIT, is_gone, read_record};
use super::store::{
    ContentId, EntryKind, Folder, Store, StoreEntry, StoreLock, WritableStore, is_there,
    read_bounded,
};
use crate::cancel::Cancel;
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
    /// The same by set. A file that several of them share counts for the one that goes last.
    pub freed: BTreeMap<SetId, u64>,
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
        self.bytes = self.bytes.saturating_add(other.bytes);
        self.freed.extend(other.freed);
        self.left.extend(other.left);
        self.spared.extend(other.spared);
    }

    /// Counts a file that goes, which is the last of its names or not.
    fn count(&mut self, file: &SetFile<'_>, there: &StoreEntry, is_last: bool) {
        self.files += 1;
        let freed = if is_last { there.size } else { 0 };
        self.bytes = self.bytes.saturating_add(freed);
        let of_set = self.freed.entry(file.set.clone()).or_default();
        *of_set = of_set.saturating_add(freed);
    }
}

/// A repository that is locked for removing sets and for pinning those that are not to be removed.
#[derive(Debug)]
pub(crate) struct Maintenance {
    store: Arc<dyn WritableStore>,
    _lock: Box<dyn StoreLock>,
}

impl Maintenance {
    /// Whether there is anything to look after: influxd's directories hold nothing of snap's.
    ///
    /// # Errors
    ///
    /// When that cannot be found out.
    pub(crate) fn is_needed(catalog: &Catalog) -> Result<bool> {
        is_there(catalog.store(), HIDDEN)
    }

    /// Locks the directory, waiting for up to `wait`, and clears away what killed runs left. Tells
    /// which removals it ended.
    ///
    /// # Errors
    ///
    /// When another run holds the lock, or the directory cannot be written.
    pub(crate) fn begin(
        location: impl Into<Location>,
        wait: Duration,
        cancel: &Cancel,
    ) -> Result<(Self, Removed)> {
        Self::begin_in(location.into().store()?, wait, cancel)
    }

    /// As [`Maintenance::begin`], in any store.
    pub(super) fn begin_in(
        store: Arc<dyn WritableStore>,
        wait: Duration,
        cancel: &Cancel,
    ) -> Result<(Self, Removed)> {
        let lock = store.lock(wait, cancel)?;
        sweep(&*store, None, cancel)?;
        let removed = finish(&*store, &mut || Ok(cancel.check()?))?;
        Ok((Self { store, _lock: lock }, removed))
    }

    /// Whether somebody reads the files of a set, which has a record.
    ///
    /// # Errors
    ///
    /// When its record cannot be opened.
    pub(crate) fn is_read(catalog: &Catalog, set: usize) -> Result<bool> {
        let record = name_of(&catalog.sets()[set].id, RECORD);
        match catalog.store().is_held(&record) {
            // A dry run takes no lock, and another may have removed the set.
            Err(error) if is_gone(&error) => Ok(false),
            held => held,
        }
    }

    /// Removes those of the sets that `which` names by their place; none without a record. Where it
    /// is stopped, the next run goes on. Where somebody has begun to read one of them, it stays,
    /// and so do the older ones.
    ///
    /// # Errors
    ///
    /// When a file cannot be removed.
    pub(crate) fn remove(
        &self,
        catalog: &Catalog,
        which: &HashSet<usize>,
        cancel: &Cancel,
    ) -> Result<Removed> {
        let (sets, others) = split(catalog, which);
        remove(&*self.store, &sets, &others, &mut || Ok(cancel.check()?))
    }

    /// What [`Maintenance::remove`] would do.
    ///
    /// # Errors
    ///
    /// When the directory cannot be read.
    pub(crate) fn measure(catalog: &Catalog, which: &HashSet<usize>) -> Result<Removed> {
        let (sets, others) = split(catalog, which);
        measure(catalog.store(), &sets, &others)
    }

    /// Pins a set, so that it is not removed, or changes what its pin says.
    ///
    /// # Errors
    ///
    /// When the pin cannot be written.
    pub(crate) fn pin(&self, id: &SetId, pin: &Pin) -> Result<()> {
        pin::write(&*self.store, id, pin)
    }

    /// Unpins a set.
    ///
    /// # Errors
    ///
    /// When the pin cannot be removed.
    pub(crate) fn unpin(&self, id: &SetId) -> Result<()> {
        pin::remove(&*self.store, id)
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
        if which.contains(&at) && set.pin.is_none() {
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
    store: &dyn WritableStore,
    sets: &[&SetRecord],
    others: &HashSet<&str>,
    check: Check<'_>,
) -> Result<Removed> {
    if sets.is_empty() {
        return Ok(Removed::default());
    }
    // The newest first, so that no increment is left without the sets it builds on.
    let mut spared = sets.len();
    while spared > 0 {
        let set = sets[spared - 1];
        check()?;
        if !store.retire(&name_of(&set.id, RECORD), &name_of(&set.id, REMOVAL))? {
            break;
        }
        spared -= 1;
    }
    check()?;
    store.settle(Folder::Hidden)?;
    // A set that is being read may build on any older one, so all of these stay.
    let (spared, going) = sets.split_at(spared);
    let mut removed = remove_files(store, going, others, check)?;
    removed.spared = spared.iter().map(|set| set.id.clone()).collect();
    Ok(removed)
}

/// What [`remove`] would do.
fn measure(store: &dyn Store, sets: &[&SetRecord], others: &HashSet<&str>) -> Result<Removed> {
    let mut removed = Removed {
        sets: sets.iter().map(|set| set.id.clone()).collect(),
        ..Removed::default()
    };
    let mut names: HashMap<ContentId, u64> = HashMap::new();
    for file in signs(sets).into_iter().chain(shards(sets)) {
        if let Some(there) = ours(store, &file, others, &mut removed.left)? {
            let seen = names.entry(there.content).or_default();
            *seen += 1;
            removed.count(&file, &there, *seen == there.names);
        }
    }
    Ok(removed)
}

/// Completes removals that were cut short. The lock must be held.
pub(super) fn finish(store: &dyn WritableStore, check: Check<'_>) -> Result<Removed> {
    let (mut begun, mut records) = (Vec::new(), Vec::new());
    for entry in store.list(Folder::Hidden)? {
        match own_name(&entry.name) {
            Some((_, RECORD)) => records.push(entry.name),
            // A copy of the directory that was made meanwhile can have both names: then the set
            // counts.
            Some((id, REMOVAL)) if is_there(store, &name_of(id, RECORD))? => {
                store.remove(&name_of(id, REMOVAL))?;
            }
            // One that cannot be read must not stop a backup; what it names is unknown, and stays.
            Some((_, REMOVAL)) => begun.extend(read_record(store, &entry.name).ok()),
            _ => {}
        }
    }
    if begun.is_empty() {
        return Ok(Removed::default());
    }
    let staying: Vec<SetRecord> = records
        .iter()
        .filter_map(|record| read_record(store, record).ok())
        .collect();
    let others = staying
        .iter()
        .flat_map(SetRecord::files)
        .map(|file| file.name.as_str())
        .collect();
    remove_files(store, &begun.iter().collect::<Vec<_>>(), &others, check)
}

/// Steps 2 to 4.
fn remove_files(
    store: &dyn WritableStore,
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
            let Some(there) = ours(store, &file, others, &mut removed.left)? else {
                continue;
            };
            store.remove(&file.record.name)?;
            removed.count(&file, &there, there.names == 1);
        }
        check()?;
        store.settle(Folder::Top)?;
    }
    for set in sets {
        check()?;
        store.remove(&name_of(&set.id, REMOVAL))?;
    }
    check()?;
    store.settle(Folder::Hidden)?;
    Ok(removed)
}

/// A file that a set recorded, and what it holds.
struct SetFile<'a> {
    set: &'a SetId,
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
            set: &set.id,
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
                set: &set.id,
                record: shard.file.as_ref()?,
                layout: set.layout,
                content: FileContent::Shard(shard.path()),
            })
        })
    };
    sets.iter().flat_map(of_set).collect()
}

impl SetFile<'_> {
    /// Whether what has its name can be read to its end, or nobody knows.
    fn is_whole(&self, store: &dyn Store) -> bool {
        let name = &self.record.name;
        let bounded = |limit| read_bounded(store, name, limit);
        match (&self.content, self.layout) {
            (FileContent::Manifest, _) => {
                bounded(MANIFEST_LIMIT).map_or(true, |bytes| Manifest::read(&bytes).is_ok())
            }
            (FileContent::Metastore, Layout::Legacy) => store
                .open(name)
                .map_or(true, |file| MetaBlob::read_from(file).is_ok()),
            (FileContent::Metastore, Layout::Portable) => bounded(MAX_META_BYTES + META_FRAME)
                .map_or(true, |bytes| manifest::read_meta(&bytes).is_ok()),
            (FileContent::Shard(shard), Layout::Legacy) => store.open(name).map_or(true, |file| {
                let finished = ShardTarReader::in_place(file, shard).finish();
                matches!(
                    finished,
                    Ok(Ending::Whole { .. }) | Err(TarError::Source(_))
                )
            }),
            (FileContent::Shard(_), Layout::Portable) => store.open(name).map_or(true, |file| {
                io::copy(&mut manifest::decompress(file), &mut io::sink()).is_ok()
            }),
        }
    }
}

/// The file, where it is there and is the set's; else says why it is left alone.
fn ours(
    store: &dyn Store,
    file: &SetFile<'_>,
    others: &HashSet<&str>,
    left: &mut Vec<String>,
) -> Result<Option<StoreEntry>> {
    let record = file.record;
    let Some(there) = store.entry(&record.name)? else {
        return Ok(None);
    };
    let why = if others.contains(record.name.as_str()) {
        "another set recorded it too".to_owned()
    } else if there.kind != EntryKind::File {
        "it is not a regular file".to_owned()
    } else if there.size != record.size && file.is_whole(store) {
        format!(
            "it has {} bytes, and {} were recorded",
            there.size, record.size
        )
    } else {
        return Ok(Some(there));
    };
    let place = store.place_of(&record.name);
    left.push(format!("{place} is left alone: {why}"));
    Ok(None)
}

#[cfg(test)]
#[path = "prune_tests.rs"]
mod tests;
