//! The commit where files have their names from the beginning, and a claim keeps others from these.

use std::collections::{HashMap, HashSet};

use anyhow::{Context, Result, ensure};

use super::commit::{ensure_no_name_twice, name_files};
use super::{CommitState, SetFiles, SetWriter};
use crate::cancel::Cancel;
use crate::error::ErrorKind;
use crate::repository::claim::Claim;
use crate::repository::hidden::{RECORD, REMOVAL, UNFINISHED, name_of};
use crate::repository::needs::{Need, Needs};
use crate::repository::record::SetRecord;
use crate::repository::snapshot::read_record;
use crate::repository::store::{Folder, StoreEntry, is_there, tolerated};

impl SetWriter {
    /// As [`SetWriter::commit`], where the files of shards have their names, and a claim keeps
    /// others from these.
    pub(super) fn commit_claimed(
        mut self,
        mut record: SetRecord,
        files: &SetFiles,
        cancel: &Cancel,
    ) -> Result<SetRecord> {
        let names = self.names()?.clone();
        let claim = self.claim.clone().context("nothing was claimed")?;
        (record.id, record.number) = (names.id.clone(), names.number);
        self.ensure_heard(&claim)?;
        self.ensure_whole(files)?;
        let meta = self.write(&names.meta(), &files.meta)?;
        name_files(&mut record, files, &meta);
        self.write_manifest(&mut record)?;
        ensure_no_name_twice(&*self.store, &record)?;
        cancel.check()?;
        let document = name_of(&self.id, RECORD);
        // What is answered with an error may have been done, or be done later.
        self.commits = CommitState::Recording;
        let written = self
            .store
            .write_whole(&document, &mut |out| record.write_to(out));
        let read_back =
            written.and_then(|()| read_record(&*self.store, &format!("{}.{RECORD}", self.id)));
        let unsure = || {
            ErrorKind::Failed.error(format!(
                "nobody knows whether the record of set {} was written: where it was, the set is \
                 whole",
                self.id
            ))
        };
        let read_back = read_back.with_context(unsure)?;
        ensure!(read_back == record, unsure());
        if let Err(error) = self.ensure_untouched(&claim, files) {
            // Somebody may be removing its files. Those that it shares may have been left to it.
            let removal = name_of(&self.id, REMOVAL);
            let retired = self.store.retire(&document, &removal);
            retired.with_context(unsure)?;
            self.commits = CommitState::Begun;
            return Err(error);
        }
        self.commits = CommitState::Done;
        Ok(record)
    }

    /// Makes sure that nobody took this run for dead before its record was there, nor removed a file
    /// of it: whoever does takes its notes first, and then looks for records.
    fn ensure_untouched(&self, claim: &Claim, files: &SetFiles) -> Result<()> {
        self.ensure_alive(claim)?;
        self.ensure_parents()?;
        self.ensure_whole(files)
    }

    /// Makes sure that no removal takes a set away that this one builds on. Whoever removes sets
    /// announces that first, and then looks for increments that were made meanwhile: of the two,
    /// whichever looks last sees the other.
    fn ensure_parents(&self) -> Result<()> {
        let store = &*self.store;
        for id in &self.parents {
            let is_announced = is_there(store, &name_of(id, REMOVAL))?;
            if is_announced || !is_there(store, &name_of(id, RECORD))? {
                return Err(ErrorKind::Failed
                    .error(format!(
                        "another run removes set {id}, which this one builds on: it could not be \
                         restored"
                    ))
                    .hint("run this again: it then builds on another set")
                    .into());
            }
        }
        Ok(())
    }

    /// Makes sure that all files of shards are there. As long as the claim is there, which names all
    /// of them, nobody removes any.
    pub(super) fn ensure_whole(&self, files: &SetFiles) -> Result<()> {
        let store = &*self.store;
        let top = store.list(Folder::Top)?;
        let sizes: HashMap<&str, u64> = top
            .iter()
            .map(|entry| (entry.name.as_str(), entry.size))
            .collect();
        for (_, file) in &files.shards {
            // A list may lag.
            let is_there = sizes.get(&*file.name) == Some(&file.size)
                || store
                    .entry(&file.name)?
                    .is_some_and(|there| there.is_file_of(file.size));
            if !is_there {
                let place = store.place_of(&file.name);
                return Err(ErrorKind::Failed
                    .error(format!("{place} was removed while this run went on"))
                    .hint("another run removed the set that it came from: back up again")
                    .into());
            }
        }
        Ok(())
    }

    /// Clears away what a run with a claim has stored, unless another copy of the set may have the
    /// names by now.
    pub(super) fn clear_failed(&self, claim: &Claim) -> Result<()> {
        match self.copied.is_some() && self.is_unheard() {
            true => Ok(()),
            false => self.clear(claim, &HashSet::new()),
        }
    }

    /// Removes what a run with a claim has stored, and neither `kept` names nor anybody else needs;
    /// in the end the claim, if all of it went. Where this fails, the sweep of a later run takes what
    /// is left.
    pub(super) fn clear(&self, claim: &Claim, kept: &HashSet<&str>) -> Result<()> {
        let store = &*self.store;
        // From now on nobody takes over what it has stored.
        let notes = tolerated(store.remove_tree(&name_of(&self.staged, UNFINISHED)))?;
        let top = store.list(Folder::Top)?;
        let left = claim.claimed(&top).map(|entry| entry.name.as_str());
        let left: Vec<&str> = left.filter(|name| !kept.contains(name)).collect();
        let mut is_clear = notes.is_none();
        if !left.is_empty() {
            let mut needs = Needs::of(left.iter().copied());
            let is_own = |entry: &StoreEntry| Folder::Hidden.name_of(&entry.name) == claim.name;
            if !needs.look(store, &is_own)? {
                return Ok(());
            }
            for name in left {
                is_clear &= match needs.need(name) {
                    Some(Need::Recorded(_)) => true,
                    Some(Need::Claimed) => false,
                    None => tolerated(store.remove(name))?.is_none(),
                };
            }
        }
        if is_clear {
            store.remove(&claim.name)?;
        }
        Ok(())
    }
}
