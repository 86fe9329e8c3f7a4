//! The commit where files have their names from the beginning, and a claim keeps others from these.

use std::collections::{HashMap, HashSet};

use anyhow::{Context, Result, ensure};

use super::commit::{ensure_no_name_twice, name_files};
use super::{CommitState, SetFiles, SetWriter};
use crate::cancel::Cancel;
use crate::error::ErrorKind;
use crate::repository::claim::Claim;
use crate::repository::hidden::{RECORD, UNFINISHED, name_of};
use crate::repository::prune;
use crate::repository::record::{SetRecord, file_names};
use crate::repository::recover::records;
use crate::repository::snapshot::read_record;
use crate::repository::store::{Folder, tolerated};

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
        (record.id, record.number) = (names.id.clone(), names.number);
        self.ensure_heard()?;
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
        if let Err(error) = self.ensure_untouched(files) {
            // Somebody may be removing its files.
            self.store.remove(&document).with_context(unsure)?;
            self.commits = CommitState::Begun;
            return Err(error);
        }
        self.commits = CommitState::Done;
        Ok(record)
    }

    /// Makes sure that nobody took this run for dead before its record was there, nor removed a file
    /// of it: whoever does takes its notes first, and then looks for records.
    fn ensure_untouched(&self, files: &SetFiles) -> Result<()> {
        self.ensure_alive()?;
        self.ensure_whole(files)
    }

    /// Makes sure that all files of shards are there, and will be when the record is: those of sets
    /// that were removed in the meantime, or of a run that was taken for dead, may go.
    pub(super) fn ensure_whole(&self, files: &SetFiles) -> Result<()> {
        let store = &*self.store;
        let hidden = store.list(Folder::Hidden)?;
        let names = files.shards.iter().map(|(_, file)| &*file.name);
        let going = prune::going(store, &hidden, &names.collect(), store.grace() / 2)?;
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
            if !is_there || going.contains(&file.name) {
                let place = store.place_of(&file.name);
                return Err(ErrorKind::Failed
                    .error(format!(
                        "{place} was removed while the backup went on, or is about to be"
                    ))
                    .hint("another run removed the set that it came from: back up again")
                    .into());
            }
        }
        Ok(())
    }

    /// As [`SetWriter::clear`], where other sets may have names that this one claims: they share files
    /// that an earlier copy of it had.
    pub(super) fn clear_copy(&self, claim: &Claim) -> Result<()> {
        // Another copy of the set may have these names by now.
        if self.commits != CommitState::Done && self.is_unheard() {
            return Ok(());
        }
        let hidden = self.store.list(Folder::Hidden)?;
        let Some(records) = records(&*self.store, &hidden) else {
            return Ok(());
        };
        self.clear(claim, &file_names(&records))
    }

    /// Removes what a run with a claim has stored, and no record names; in the end the claim, if all
    /// of it went. Where this fails, the sweep of a later run takes what is left.
    pub(super) fn clear(&self, claim: &Claim, recorded: &HashSet<&str>) -> Result<()> {
        let mut is_clear = true;
        for entry in claim.claimed(&self.store.list(Folder::Top)?) {
            if !recorded.contains(entry.name.as_str()) {
                is_clear &= tolerated(self.store.remove(&entry.name))?.is_none();
            }
        }
        let staged = self.store.remove_tree(&name_of(&self.staged, UNFINISHED));
        if is_clear && tolerated(staged)?.is_none() {
            self.store.remove(&claim.name)?;
        }
        Ok(())
    }
}
