//! Clearing away what killed runs left.

use std::collections::HashSet;

use anyhow::Result;

use super::as_recorded::{Comparison, find_as_recorded};
use super::claim::{Claim, age, claims};
use super::hidden::{COMMIT, RECORD, UNFINISHED, claimed_number, name_of, own_name};
use super::needs::{Need, Needs};
use super::record::{SetRecord, file_names};
use super::resume::ResumableRun;
use super::set_id::SetId;
use super::snapshot::read_record;
use super::store::{Folder, Store, StoreEntry, WritableStore, is_there, read_many, tolerated};
use crate::cancel::Cancel;

/// Clears away what killed runs left, except what `spared` had finished. The lock must be held,
/// where there is one; where there is none, only what is older than the grace period goes, and
/// earlier what killed copies left of the set that is about to be copied. `hidden` is what is in the
/// hidden folder.
pub(super) fn sweep(
    store: &dyn WritableStore,
    hidden: &[StoreEntry],
    spared: Option<&ResumableRun>,
    copy: Option<&SetId>,
    cancel: &Cancel,
) -> Result<()> {
    let is_spared = |id: &str| spared.is_some_and(|spared| spared.staged().as_str() == id);
    let own = hidden.iter().filter_map(|entry| own_name(&entry.name));
    let claimed = own.filter(|(_, kind)| claimed_number(kind).is_some());
    let claimed: HashSet<&str> = claimed.map(|(id, _)| id).collect();
    for entry in hidden {
        let Some((id, kind)) = own_name(&entry.name) else {
            continue;
        };
        let name = name_of(id, kind);
        match kind {
            COMMIT if age(store, entry.modified) >= store.grace() => {
                let is_over = is_there(store, &name_of(id, RECORD))?;
                if is_over || undo(store, &entry.name, hidden, cancel)? {
                    tolerated(store.remove(&name))?;
                }
            }
            UNFINISHED if is_spared(id) => {}
            UNFINISHED if store.has_lock() => store.remove_tree(&name)?,
            // With a claim, the sweep of that takes them away.
            UNFINISHED if !claimed.contains(id) => sweep_notes(store, &id.into())?,
            _ => {}
        }
    }
    sweep_claims(store, hidden, spared, copy, cancel)?;
    store.abort_stale()?;
    store.settle(Folder::Top)
}

/// Removes the notes of a run that was killed before it claimed anything.
fn sweep_notes(store: &dyn WritableStore, run: &SetId) -> Result<()> {
    let notes = store.list(Folder::Notes(run))?;
    let is_old = |note: &StoreEntry| age(store, note.modified) >= store.grace();
    if notes.iter().all(is_old) {
        tolerated(store.remove_tree(&name_of(run, UNFINISHED)))?;
    }
    Ok(())
}

/// Removes files that an interrupted commit already gave their final names. A file that is not the
/// very one recorded, by size and digest, belongs to somebody else and stays; so does one that is
/// called as another set's, or that another set names: of a copy, older runs may have shared it.
/// Tells whether the commit is undone.
fn undo(
    store: &dyn WritableStore,
    intent: &str,
    hidden: &[StoreEntry],
    cancel: &Cancel,
) -> Result<bool> {
    let Ok(record) = read_record(store, intent) else {
        // Nobody can tell what it named. It must not stop every backup from now on; but while it is
        // there, no reader takes what it named for a set of influxd's.
        return Ok(false);
    };
    let Some(records) = records(store, hidden) else {
        return Ok(false);
    };
    let recorded = file_names(&records);
    let names = record.names();
    let is_its = |name: &str| names.is_own(name) && !recorded.contains(name);
    for file in record.files().filter(|file| is_its(&file.name)) {
        // Of what is removed, the content decides.
        if find_as_recorded(store, &file.name, file, Comparison::Digest, cancel)?.is_some()
            && tolerated(store.remove(&file.name))?.is_some()
        {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Removes what dead runs have claimed and stored, and no record names; then their claims.
fn sweep_claims(
    store: &dyn WritableStore,
    hidden: &[StoreEntry],
    spared: Option<&ResumableRun>,
    copy: Option<&SetId>,
    cancel: &Cancel,
) -> Result<()> {
    let is_spared = |claim: &Claim| spared.is_some_and(|spared| spared.staged() == claim.id());
    let mut dead = Vec::new();
    for (claim, entry) in claims(store, hidden) {
        let is_dead = claim.age(store, entry)? >= claim.patience(store, copy);
        // Without them it can neither commit nor be taken over. Only then can be told what others
        // have of it.
        let notes = name_of(claim.id(), UNFINISHED);
        if is_dead && (is_spared(&claim) || tolerated(store.remove_tree(&notes))?.is_none()) {
            dead.push(claim);
        }
    }
    if dead.is_empty() {
        return Ok(());
    }
    let files = dead.iter().flat_map(|claim| &claim.files);
    let mut needs = Needs::of(files.map(String::as_str));
    needs.claim(spared.iter().flat_map(|spared| spared.named_files()));
    let is_dead = |entry: &StoreEntry| {
        let name = Folder::Hidden.name_of(&entry.name);
        dead.iter().any(|dead| dead.name == name)
    };
    if !needs.look(store, &is_dead)? {
        return Ok(());
    }
    let top = store.list(Folder::Top)?;
    for claim in dead.iter().filter(|claim| !is_spared(claim)) {
        let mut is_over = true;
        let patience = claim.patience(store, copy);
        for entry in claim.claimed(&top) {
            cancel.check()?;
            let need = needs.need(&entry.name);
            if matches!(need, Some(Need::Recorded(_))) {
                continue;
            }
            // Into a directory that the repository was copied to, influxd may have written.
            let may_be_influxds = store.has_lock() && !claim.has_names_of_its_own();
            if may_be_influxds || need.is_some() || age(store, entry.modified) < patience {
                is_over = false;
            } else if is_still(store, entry)? {
                is_over &= tolerated(store.remove(&entry.name))?.is_none();
            }
        }
        if is_over {
            store.settle(Folder::Top)?;
            let notes = store.remove_tree(&name_of(claim.id(), UNFINISHED));
            if tolerated(notes)?.is_none() {
                tolerated(store.remove(&claim.name))?;
            }
        }
    }
    Ok(())
}

/// Whether a file is the one that was listed. Where another run has cleared it away, a third may
/// have given its name to a new one.
fn is_still(store: &dyn Store, listed: &StoreEntry) -> Result<bool> {
    let there = store.entry(&listed.name)?;
    Ok(there.is_some_and(|there| there.modified == listed.modified && there.size == listed.size))
}

/// All records in a list of the hidden folder; nothing where one cannot be read.
fn records(store: &dyn Store, hidden: &[StoreEntry]) -> Option<Vec<SetRecord>> {
    let is_record =
        |entry: &&StoreEntry| matches!(own_name(&entry.name), Some((_, kind)) if kind == RECORD);
    let names: Vec<String> = hidden
        .iter()
        .filter(is_record)
        .map(|entry| entry.name.clone())
        .collect();
    let read = read_many(store, &names, |name| read_record(store, name).ok());
    read.into_iter().collect()
}
