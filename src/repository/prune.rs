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
//! Where there is no lock, somebody may read the files, or a backup be about to share them. Then a
//! removal ends with the first step, and the rest follows in a later run, when the `.forget` is older
//! than the grace period. There the first step begins with the `.forget`, beside the record. An
//! increment that another run has made meanwhile, and that may build on the set, is looked for then,
//! and keeps the record. After the second step, that run looks which files others need by then
//! (`needs`). While a run at work claims one, the `.forget` stays.
//!
//! What the storage forbids to remove stays, and so does the `.forget`, so that nobody takes it for
//! a backup; that is told, and no failure.
//!
//! A record is taken away only where nobody holds it, as who reads a set does
//! ([`super::readers::Held`]). From then on no reader begins with the set, so the rest, and what a
//! later run goes on with, needs no look at readers.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;

use super::catalog::Catalog;
use super::claim::age;
use super::hidden::{HIDDEN, RECORD, REMOVAL, name_of, own_name};
use super::location::Location;
use super::needs::Needs;
use super::pin::{self, Pin};
use super::record::SetRecord;
use super::recover::sweep;
use super::removed_files::{Fate, SetFile, fate, shards, signs};
use super::set_id::SetId;
use super::snapshot::{is_gone, read_record};
use super::store::{
    ContentId, Folder, Refusal, Store, StoreEntry, StoreLock, WritableStore, announce, is_there,
    tolerated,
};
use crate::cancel::Cancel;
use crate::error::{ErrorKind, kind_of};

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
        let hidden = store.list(Folder::Hidden)?;
        sweep(&*store, &hidden, None, None, cancel)?;
        let removed = finish(&*store, &hidden, &mut || Ok(cancel.check()?))?;
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
        let check: Check<'_> = &mut || Ok(cancel.check()?);
        let store = &*self.store;
        let known = catalog.sets().iter().map(|set| set.id.as_str());
        if !store.has_lock() && !announce_all(store, &sets, &known.collect(), check)? {
            return Ok(Removed {
                spared: sets.iter().map(|set| set.id.clone()).collect(),
                ..Removed::default()
            });
        }
        remove(store, &sets, others, check)
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

/// The records of the sets named, and the files of all others.
fn split<'a>(catalog: &'a Catalog, which: &HashSet<usize>) -> (Vec<&'a SetRecord>, Needs) {
    let (mut sets, mut others) = (Vec::new(), Needs::default());
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

/// Announces which sets go, the newest first, and looks whether increments were made meanwhile that
/// may build on one. Tells whether there are none: else all stay, and so do the announcements, which
/// another run may rely on, until a later run removes them. A run that makes an increment looks for
/// announcements when its record is there.
fn announce_all(
    store: &dyn WritableStore,
    sets: &[&SetRecord],
    known: &HashSet<&str>,
    check: Check<'_>,
) -> Result<bool> {
    if sets.is_empty() {
        return Ok(true);
    }
    for set in sets.iter().rev() {
        check()?;
        announce(store, &name_of(&set.id, RECORD), &name_of(&set.id, REMOVAL))?;
    }
    for entry in store.list(Folder::Hidden)? {
        let Some((id, RECORD)) = own_name(&entry.name) else {
            continue;
        };
        if known.contains(id) {
            continue;
        }
        match read_record(store, &entry.name) {
            Ok(record) if record.selection.since.is_some() => return Ok(false),
            Err(error) if !is_gone(&error) && kind_of(&error) != ErrorKind::Damage => {
                return Err(error);
            }
            _ => {}
        }
    }
    Ok(true)
}

/// Within this time, a run that has written a `.forget` removes the record beside it.
const RETIREMENT: Duration = Duration::from_secs(60 * 60);

/// Called before each step; where it fails, nothing more is done.
type Check<'a> = &'a mut dyn FnMut() -> Result<()>;

/// Removes sets, oldest first as given. `others` are the files of the sets that stay. The lock must
/// be held, where there is one; where there is none, that they go must be announced.
fn remove(
    store: &dyn WritableStore,
    sets: &[&SetRecord],
    mut others: Needs,
    check: Check<'_>,
) -> Result<Removed> {
    if sets.is_empty() {
        return Ok(Removed::default());
    }
    // The newest first, so that no increment is left without the sets it builds on.
    let begun = store.now();
    let mut staying = sets.len();
    let mut refusal = None;
    while staying > 0 {
        let set = sets[staying - 1];
        check()?;
        // An hour after it was written, another run removes what announces it.
        if !store.has_lock() && age(store, begun) > RETIREMENT / 2 {
            break;
        }
        let mut is_retired = false;
        let (record, removal) = (name_of(&set.id, RECORD), name_of(&set.id, REMOVAL));
        let retired = match store.has_lock() {
            true => store.retire(&record, &removal),
            // It is announced.
            false => store.remove(&record).map(|()| true),
        };
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
    staying.iter().for_each(|set| others.add(set));
    let mut removed = match (store.has_lock(), store.grace().is_zero()) {
        (true, _) => remove_files(store, going, &others, check)?,
        (false, true) => remove_unneeded(store, going, check)?.unwrap_or_default(),
        (false, false) => measure(store, going, &others)?.put_off(),
    };
    let ids = staying.iter().map(|set| set.id.clone()).collect();
    match refusal {
        None => removed.spared = ids,
        Some(refusal) => {
            let record = name_of(&sets[staying.len() - 1].id, RECORD);
            let place = store.place_of(&record);
            let kept = format!("{place} is kept by the storage: {refusal}");
            removed.kept.push(kept);
            removed.refused = ids;
        }
    }
    Ok(removed)
}

/// What [`remove`] would do.
fn measure(store: &dyn Store, sets: &[&SetRecord], others: &Needs) -> Result<Removed> {
    let mut removed = Removed {
        sets: sets.iter().map(|set| set.id.clone()).collect(),
        ..Removed::default()
    };
    let mut names: HashMap<ContentId, u64> = HashMap::new();
    for file in signs(sets).into_iter().chain(shards(sets)) {
        match fate(store, &file, others)? {
            Fate::Goes(there) => {
                let seen = names.entry(there.content).or_default();
                *seen += 1;
                removed.count(&file, &there, *seen == there.names);
            }
            Fate::IsLeft(why) => removed.left.push(why),
            Fate::Waits | Fate::Stays => {}
        }
    }
    Ok(removed)
}

/// Completes removals that were cut short, or put off. The lock must be held, where there is one.
/// `hidden` is what was in the hidden folder a while ago: nothing brings back a record that was
/// taken away as long as its `.forget` is there.
pub(super) fn finish(
    store: &dyn WritableStore,
    hidden: &[StoreEntry],
    check: Check<'_>,
) -> Result<Removed> {
    let counting: HashSet<&str> = hidden
        .iter()
        .filter_map(|entry| own_name(&entry.name))
        .filter_map(|(id, kind)| (kind == RECORD).then_some(id))
        .collect();
    let mut due = Vec::new();
    for entry in hidden {
        let Some((id, REMOVAL)) = own_name(&entry.name) else {
            continue;
        };
        let age = age(store, entry.modified);
        if counting.contains(id) {
            // A copy of the directory that was made meanwhile can have both names: then the set
            // counts. Or another run is about to remove the record.
            let is_left = age >= store.grace() && (store.has_lock() || age >= RETIREMENT);
            if is_left && is_there(store, &name_of(id, RECORD))? {
                tolerated(store.remove(&name_of(id, REMOVAL)))?;
            }
        } else if age >= store.grace() {
            // One that cannot be read must not stop a backup; what it names is unknown, and stays.
            due.extend(read_record(store, &entry.name));
        }
    }
    if due.is_empty() {
        return Ok(Removed::default());
    }
    let removed = remove_unneeded(store, &due.iter().collect::<Vec<_>>(), check)?;
    // A record that cannot be read may name any file.
    Ok(removed.unwrap_or_default())
}

/// Steps 2 to 4, where nobody else takes any.
fn remove_files(
    store: &dyn WritableStore,
    sets: &[&SetRecord],
    others: &Needs,
    check: Check<'_>,
) -> Result<Removed> {
    let mut removal = FileRemoval::of(store, sets, check);
    removal.remove(signs(sets), others)?;
    removal.remove(shards(sets), others)?;
    removal.end(sets)
}

/// Steps 2 to 4 for all files that nobody needs; nothing where that cannot be found out.
fn remove_unneeded(
    store: &dyn WritableStore,
    sets: &[&SetRecord],
    check: Check<'_>,
) -> Result<Option<Removed>> {
    // Removals that are due need no file, whoever ends them.
    let is_due = |entry: &StoreEntry| {
        let kind = own_name(&entry.name).map(|(_, kind)| kind);
        kind == Some(REMOVAL) && age(store, entry.modified) >= store.grace()
    };
    let files = sets.iter().flat_map(|set| set.files());
    let mut needs = Needs::of(files.map(|file| file.name.as_str()));
    if !needs.look(store, &is_due)? {
        return Ok(None);
    }
    let mut removal = FileRemoval::of(store, sets, check);
    removal.remove(signs(sets), &needs)?;
    if store.has_lock() {
        removal.remove(shards(sets), &needs)?;
        return removal.end(sets).map(Some);
    }
    // Who is about to share a file of a shard sees by now that the metastore is gone, or has
    // claimed the file before.
    let is_shown = |set: &&&SetRecord| {
        !removal.unfinished.contains(&set.id) && needs.need(&set.meta.name).is_none()
    };
    let shown: Vec<&SetRecord> = sets.iter().filter(is_shown).copied().collect();
    match needs.look(store, &is_due)? {
        true => removal.remove(shards(&shown), &needs)?,
        false => removal.unfinished.extend(shown.iter().map(|set| &set.id)),
    }
    removal.end(&shown).map(Some)
}

/// A removal of files, and how far it has come.
struct FileRemoval<'a, 'b> {
    store: &'a dyn WritableStore,
    sets: &'a [&'a SetRecord],
    check: Check<'b>,
    removed: Removed,
    /// The sets of which something stays for now.
    unfinished: HashSet<&'a SetId>,
}

impl<'a, 'b> FileRemoval<'a, 'b> {
    fn of(store: &'a dyn WritableStore, sets: &'a [&'a SetRecord], check: Check<'b>) -> Self {
        Self {
            store,
            sets,
            check,
            removed: Removed {
                sets: sets.iter().map(|set| set.id.clone()).collect(),
                ..Removed::default()
            },
            unfinished: HashSet::new(),
        }
    }

    /// Removes those of the files that nobody needs, and makes that last.
    fn remove(&mut self, files: Vec<SetFile<'_>>, needs: &Needs) -> Result<()> {
        for file in files {
            (self.check)()?;
            match fate(self.store, &file, needs)? {
                Fate::Goes(there) => self.remove_one(&file, &there)?,
                Fate::IsLeft(why) => self.removed.left.push(why),
                Fate::Waits => {
                    self.removed.later += 1;
                    self.removed.later_bytes += file.record.size;
                    self.stays(&file.record.name);
                }
                Fate::Stays => {}
            }
        }
        (self.check)()?;
        self.store.settle(Folder::Top)
    }

    fn remove_one(&mut self, file: &SetFile<'_>, there: &StoreEntry) -> Result<()> {
        match tolerated(self.store.remove(&file.record.name))? {
            None => self.removed.count(file, there, there.names == 1),
            Some(refusal) => {
                self.keep(&file.record.name, &refusal);
                self.stays(&file.record.name);
            }
        }
        Ok(())
    }

    /// Notes that a file stays for now. Of the sets that have it, another run may have ended the
    /// removal of any, as long as another had it too.
    fn stays(&mut self, name: &str) {
        let has_it = |set: &&&SetRecord| set.files().any(|file| file.name == name);
        let sets = self.sets.iter().filter(has_it);
        self.unfinished.extend(sets.map(|set| &set.id));
    }

    /// Notes that the storage keeps a file.
    fn keep(&mut self, name: &str, refusal: &Refusal) {
        let place = self.store.place_of(name);
        let kept = format!("{place} is kept by the storage: {refusal}");
        self.removed.kept.push(kept);
    }

    /// Ends the removal of the sets of which nothing stays.
    fn end(mut self, sets: &[&SetRecord]) -> Result<Removed> {
        for set in sets {
            if self.unfinished.contains(&set.id) {
                continue;
            }
            (self.check)()?;
            let name = name_of(&set.id, REMOVAL);
            if let Some(refusal) = tolerated(self.store.remove(&name))? {
                self.keep(&name, &refusal);
            }
        }
        (self.check)()?;
        self.store.settle(Folder::Hidden)?;
        Ok(self.removed)
    }
}

#[cfg(test)]
#[path = "prune_tests.rs"]
mod tests;
