//! Removing sets. Wherever a removal is cut short, nobody takes what is left for a backup, and the
//! next run completes the removal.
//!
//! 1. The record is renamed to `.snap/<id>.forget`: from then on the set does not count.
//! 2. What influxd takes for the sign of a backup goes: the manifest and the metastore.
//! 3. The files of the shards go.
//! 4. The `.forget` goes.
//!
//! Each step is on disk, for all sets that are removed, before the next begins. Files of different
//! sets may be hard links of each other: names are removed, and what other names stand for stays. A
//! name that the record of another set has too stays with that set.
//!
//! Where there is no lock, a backup may be about to share the files. Then a removal ends with the
//! first step, and the rest follows in a later run, when the `.forget` is older than the grace
//! period. A backup that has found the record before is over then, or looks whether its files are
//! about to go ([`going`]).
//!
//! What the storage forbids to remove stays, and so does the `.forget`, so that nobody takes it for
//! a backup; that is told, and no failure.
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
use super::claim::{age, claims};
use super::digest::FileDigest;
use super::hidden::{HIDDEN, RECORD, REMOVAL, name_of, own_name};
use super::layout::Layout;
use super::location::Location;
use super::manifest::{self, Manifest};
use super::pin::{self, Pin};
use super::record::{FileRecord, SetRecord};
use super::recover::{records, sweep};
use super::set_id::SetId;
use super::snapshot::{MANIFEST_LIMIT, is_gone, read_record};
use super::store::{
    ContentId, EntryKind, Folder, Store, StoreEntry, StoreLock, WritableStore, is_there,
    read_bounded, tolerated,
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
    /// Files that a later run removes, when no backup can be about to share them.
    pub later: usize,
    /// Bytes that become free then.
    pub later_bytes: u64,
    /// Bytes that became free: of a file with other names none do.
    pub bytes: u64,
    /// The same by set. A file that several of them share counts for the one that goes last.
    pub freed: BTreeMap<SetId, u64>,
    /// What was left alone although a set recorded a file of that name, a sentence each.
    pub left: Vec<String>,
    /// What the storage does not let go of, a sentence each.
    pub kept: Vec<String>,
    /// The ids of sets that stay because the storage keeps their records.
    pub refused: Vec<SetId>,
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
        self.later += other.later;
        self.later_bytes = self.later_bytes.saturating_add(other.later_bytes);
        self.freed.extend(other.freed);
        self.left.extend(other.left);
        self.kept.extend(other.kept);
        self.refused.extend(other.refused);
        self.spared.extend(other.spared);
    }

    /// The same where a later run removes it.
    pub(crate) fn put_off(self) -> Self {
        Self {
            files: 0,
            bytes: 0,
            later: self.files,
            later_bytes: self.bytes,
            ..self
        }
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
        sweep(&*store, None, None, cancel)?;
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

    /// What [`Maintenance::remove`] would do where there is no period of grace.
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

/// The names that stay: of the sets that stay, and of runs that are at work.
#[derive(Debug, Default)]
struct Others {
    recorded: HashMap<String, FileDigest>,
    claimed: HashSet<String>,
}

impl Others {
    fn add(&mut self, record: &SetRecord) {
        let files = record.files();
        self.recorded
            .extend(files.map(|file| (file.name.clone(), file.digest.clone())));
    }
}

/// The records of the sets named, and the files of all others.
fn split<'a>(catalog: &'a Catalog, which: &HashSet<usize>) -> (Vec<&'a SetRecord>, Others) {
    let (mut sets, mut others) = (Vec::new(), Others::default());
    for (at, set) in catalog.sets().iter().enumerate() {
        let Some(record) = set.record() else {
            continue;
        };
        if which.contains(&at) && set.pin.is_none() {
            sets.push(record);
        } else {
            others.add(record);
        }
    }
    (sets, others)
}

/// Called before each step; where it fails, nothing more is done.
type Check<'a> = &'a mut dyn FnMut() -> Result<()>;

/// Removes sets, oldest first as given. `others` are the files of the sets that stay. The lock must
/// be held, where there is one.
fn remove(
    store: &dyn WritableStore,
    sets: &[&SetRecord],
    others: &Others,
    check: Check<'_>,
) -> Result<Removed> {
    if sets.is_empty() {
        return Ok(Removed::default());
    }
    // The newest first, so that no increment is left without the sets it builds on.
    let mut staying = sets.len();
    let mut refusal = None;
    while staying > 0 {
        let set = sets[staying - 1];
        check()?;
        let mut is_retired = false;
        let retired = store.retire(&name_of(&set.id, RECORD), &name_of(&set.id, REMOVAL));
        refusal = tolerated(retired.map(|retired| is_retired = retired))?;
        if refusal.is_some() || !is_retired {
            break;
        }
        staying -= 1;
    }
    check()?;
    store.settle(Folder::Hidden)?;
    // A set that is being read may build on any older one, so all of these stay.
    let (staying, going) = sets.split_at(staying);
    let mut others_now = Others {
        recorded: others.recorded.clone(),
        claimed: HashSet::new(),
    };
    staying.iter().for_each(|set| others_now.add(set));
    let mut removed = match store.grace().is_zero() {
        true => remove_files(store, going, &others_now, check)?,
        false => measure(store, going, &others_now)?.put_off(),
    };
    let ids = staying.iter().map(|set| set.id.clone()).collect();
    match refusal {
        None => removed.spared = ids,
        Some(refusal) => {
            let (record, why) = (name_of(&sets[staying.len() - 1].id, RECORD), refusal.0);
            let place = store.place_of(&record);
            removed
                .kept
                .push(format!("{place} is kept by the storage: {why}"));
            removed.refused = ids;
        }
    }
    Ok(removed)
}

/// What [`remove`] would do.
fn measure(store: &dyn Store, sets: &[&SetRecord], others: &Others) -> Result<Removed> {
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

/// Completes removals that were cut short, or put off. The lock must be held, where there is one.
pub(super) fn finish(store: &dyn WritableStore, check: Check<'_>) -> Result<Removed> {
    let hidden = store.list(Folder::Hidden)?;
    let counting: HashSet<&str> = hidden
        .iter()
        .filter_map(|entry| own_name(&entry.name))
        .filter_map(|(id, kind)| (kind == RECORD).then_some(id))
        .collect();
    let (mut due, mut others) = (Vec::new(), Others::default());
    for entry in &hidden {
        let Some((id, REMOVAL)) = own_name(&entry.name) else {
            continue;
        };
        let is_due = age(store, entry.modified) >= store.grace();
        if counting.contains(id) {
            // A copy of the directory that was made meanwhile can have both names: then the set
            // counts. Or another run is about to remove the record.
            if is_due {
                tolerated(store.remove(&name_of(id, REMOVAL)))?;
            }
            continue;
        }
        // One that cannot be read must not stop a backup; what it names is unknown, and stays.
        match read_record(store, &entry.name) {
            Ok(record) if is_due => due.push(record),
            Ok(record) => others.add(&record),
            Err(_) => {}
        }
    }
    if due.is_empty() {
        return Ok(Removed::default());
    }
    // A record that cannot be read may name any file.
    let Some(staying) = records(store, &hidden) else {
        return Ok(Removed::default());
    };
    staying.iter().for_each(|record| others.add(record));
    for (claim, entry) in claims(store, &hidden) {
        if claim.age(store, entry)? < store.grace() {
            others.claimed.extend(claim.files);
            others.claimed.extend(claim.uses);
        }
    }
    remove_files(store, &due.iter().collect::<Vec<_>>(), &others, check)
}

/// Those of `files` that go with sets whose removal was begun longer ago than `since`: no record
/// that counts names them.
///
/// # Errors
///
/// When a record cannot be read.
pub(super) fn going(
    store: &dyn Store,
    hidden: &[StoreEntry],
    files: &HashSet<&str>,
    since: Duration,
) -> Result<HashSet<String>> {
    let mut going = HashSet::new();
    let mut counting = Vec::new();
    for entry in hidden {
        match own_name(&entry.name) {
            Some((_, RECORD)) => counting.push(&entry.name),
            Some((_, REMOVAL)) if age(store, entry.modified) >= since => {
                let record = read_record(store, &entry.name);
                let named = record.iter().flat_map(SetRecord::files);
                let named = named.map(|file| file.name.clone());
                going.extend(named.filter(|name| files.contains(name.as_str())));
            }
            _ => {}
        }
    }
    // The newest first: that is what a backup builds on.
    counting.sort_unstable();
    while let Some(record) = counting.pop().filter(|_| !going.is_empty()) {
        if let Ok(record) = read_record(store, record) {
            record.files().for_each(|file| _ = going.remove(&file.name));
        }
    }
    Ok(going)
}

/// Steps 2 to 4.
fn remove_files(
    store: &dyn WritableStore,
    sets: &[&SetRecord],
    others: &Others,
    check: Check<'_>,
) -> Result<Removed> {
    let mut removed = Removed {
        sets: sets.iter().map(|set| set.id.clone()).collect(),
        ..Removed::default()
    };
    let mut unfinished = HashSet::new();
    for files in [signs(sets), shards(sets)] {
        for file in files {
            check()?;
            let Some(there) = ours(store, &file, others, &mut removed.left)? else {
                continue;
            };
            match tolerated(store.remove(&file.record.name))? {
                None => removed.count(&file, &there, there.names == 1),
                Some(refusal) => {
                    let (place, why) = (store.place_of(&file.record.name), refusal.0);
                    removed
                        .kept
                        .push(format!("{place} is kept by the storage: {why}"));
                    unfinished.insert(file.set);
                }
            }
        }
        check()?;
        store.settle(Folder::Top)?;
    }
    for set in sets.iter().filter(|set| !unfinished.contains(&set.id)) {
        check()?;
        let name = name_of(&set.id, REMOVAL);
        if let Some(refusal) = tolerated(store.remove(&name))? {
            let (place, why) = (store.place_of(&name), refusal.0);
            removed
                .kept
                .push(format!("{place} is kept by the storage: {why}"));
        }
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
    once(sets.iter().flat_map(of_set))
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
    once(sets.iter().flat_map(of_set))
}

/// Each name once: with the last of the sets that have it.
fn once<'a>(files: impl Iterator<Item = SetFile<'a>>) -> Vec<SetFile<'a>> {
    let mut files: Vec<SetFile<'a>> = files.collect();
    let mut seen = HashSet::new();
    files.reverse();
    files.retain(|file| seen.insert(&file.record.name));
    files.reverse();
    files
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
    others: &Others,
    left: &mut Vec<String>,
) -> Result<Option<StoreEntry>> {
    let record = file.record;
    let shared = others.recorded.get(&record.name);
    if shared == Some(&record.digest) || others.claimed.contains(&record.name) {
        return Ok(None);
    }
    let Some(there) = store.entry(&record.name)? else {
        return Ok(None);
    };
    let why = if shared.is_some() {
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
