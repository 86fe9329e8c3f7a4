//! Clearing away what killed runs left.

use std::collections::HashSet;

use anyhow::Result;

use super::as_recorded::{Comparison, find_as_recorded};
use super::claim::{Claim, age, claims};
use super::hidden::{COMMIT, RECORD, UNFINISHED, name_of, own_name};
use super::record::{SetRecord, file_names};
use super::resume::ResumableRun;
use super::set_id::SetId;
use super::snapshot::read_record;
use super::store::{Folder, Store, StoreEntry, WritableStore, is_there, read_many, tolerated};
use crate::cancel::Cancel;

/// Clears away what killed runs left, except what `spared` had finished. The lock must be held,
/// where there is one; where there is none, only what is older than the grace period goes, and
/// earlier what killed copies left of the set that is about to be copied.
pub(super) fn sweep(
    store: &dyn WritableStore,
    spared: Option<&ResumableRun>,
    copy: Option<&SetId>,
    cancel: &Cancel,
) -> Result<()> {
    let is_spared = |id: &str| spared.is_some_and(|spared| spared.staged().as_str() == id);
    let hidden = store.list(Folder::Hidden)?;
    for entry in &hidden {
        let Some((id, kind)) = own_name(&entry.name) else {
            continue;
        };
        let name = name_of(id, kind);
        match kind {
            COMMIT if age(store, entry.modified) >= store.grace() => {
                let is_over = is_there(store, &name_of(id, RECORD))?;
                if is_over || undo(store, &entry.name, &hidden, cancel)? {
                    tolerated(store.remove(&name))?;
                }
            }
            UNFINISHED if is_spared(id) => {}
            // Where there is no lock, the claim of its run tells whether that is at work.
            UNFINISHED if store.has_lock() => store.remove_tree(&name)?,
            _ => {}
        }
    }
    sweep_claims(store, &hidden, spared, copy, cancel)?;
    store.abort_stale()?;
    store.settle(Folder::Top)
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
    let hidden = store.list(Folder::Hidden)?;
    let Some(records) = records(store, &hidden) else {
        // Nobody knows which files one names that cannot be read.
        return Ok(());
    };
    let recorded = file_names(&records);
    let mut needed = HashSet::new();
    needed.extend(spared.iter().flat_map(|spared| spared.named_files()));
    let is_dead = |claim: &Claim| dead.iter().any(|dead| dead.name == claim.name);
    let others = claims(store, &hidden).into_iter().map(|(claim, _)| claim);
    for claim in others.filter(|claim| !is_dead(claim)) {
        needed.extend(claim.files);
        needed.extend(claim.uses);
    }
    let top = store.list(Folder::Top)?;
    for claim in dead.iter().filter(|claim| !is_spared(claim)) {
        let mut is_over = true;
        let patience = claim.patience(store, copy);
        for entry in claim.claimed(&top) {
            cancel.check()?;
            if recorded.contains(entry.name.as_str()) {
                continue;
            }
            // Into a directory that the repository was copied to, influxd may have written.
            let may_be_influxds = store.has_lock() && !claim.has_names_of_its_own();
            if may_be_influxds
                || needed.contains(&entry.name)
                || age(store, entry.modified) < patience
            {
                is_over = false;
            } else {
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

/// All records in a list of the hidden folder; nothing where one cannot be read.
pub(super) fn records(store: &dyn Store, hidden: &[StoreEntry]) -> Option<Vec<SetRecord>> {
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
