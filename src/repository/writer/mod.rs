//! Writing a set: files grow out of sight, get their final names when all are complete, and count
//! once the record is there.

mod alive;
mod claimed;
mod commit;
mod files;
mod reserve;

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;

use super::claim::Claim;
use super::copied_name::CopiedName;
use super::hidden::{RECORD, UNFINISHED, name_of, own_name};
use super::location::Location;
use super::next_number::UsedNumbers;
use super::prune;
use super::record::{SetRecord, ShardRecord, file_names};
use super::recover::sweep;
use super::resume::{self, ResumableRun, RunHeader};
use super::set_id::SetId;
use super::set_names::SetNames;
use super::snapshot::read_record;
use super::staged_file::SealedFile;
use super::store::{Folder, StoreEntry, StoreLock, WritableStore};
use crate::cancel::Cancel;
use alive::{Heartbeat, SignsOfLife};
use reserve::free_stamp;

/// How often a set is given other names because somebody took one of its.
const NAME_TRIES: u32 = 100;

/// The finished files of a set, but for those that influxd takes for the sign of a backup: these are
/// written in the commit.
#[derive(Debug)]
pub(crate) struct SetFiles {
    /// The content of the metastore's file.
    pub meta: Vec<u8>,
    /// Those of shards, by index into the record's `shards`.
    pub shards: Vec<(usize, SealedFile)>,
}

/// A set being written. What it holds goes away when it is dropped before [`SetWriter::commit`].
#[derive(Debug)]
pub(crate) struct SetWriter {
    store: Arc<dyn WritableStore>,
    id: SetId,
    started: Timestamp,
    /// What a set of another repository is called.
    copied: Option<CopiedName>,
    /// The set whose staged files its files are: the first id that it had.
    staged: SetId,
    /// What numbers others have.
    used: UsedNumbers,
    /// What its files are to be called, once that is decided.
    names: Option<SetNames>,
    /// What keeps other runs away, where there is no lock.
    claim: Option<Claim>,
    /// The sets that it builds on.
    parents: Vec<SetId>,
    /// Files that it wanted to share, and that others are removing.
    going: HashSet<String>,
    /// By what other runs see that this one is at work, where there is no lock.
    signs: Option<Arc<SignsOfLife>>,
    heartbeat: Option<Heartbeat>,
    scratch: PathBuf,
    /// What an earlier run had finished, where it is to be taken over.
    resumable: Option<ResumableRun>,
    /// Whether what is finished stays for another run.
    keep: bool,
    /// How far the commit came.
    commits: CommitState,
    lock: Box<dyn StoreLock>,
}

/// How far a commit came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum CommitState {
    /// It was not begun.
    Not,
    /// It was begun, and something of it may have to stay.
    Begun,
    /// The record may be there, or not: nobody knows. The files stay for it.
    Recording,
    Done,
}

impl SetWriter {
    /// Makes the directory where it is absent, locks it, clears away what killed runs left, and
    /// begins a set. With `resume`, what the newest of those had finished can be taken over, and
    /// what this one finishes stays should it fail.
    ///
    /// # Errors
    ///
    /// When another run holds the lock, or the directory cannot be written.
    pub(crate) fn begin(
        location: impl Into<Location>,
        wait: Duration,
        resume: bool,
        cancel: &Cancel,
    ) -> Result<Self> {
        let location = location.into();
        location.ensure_not_hidden()?;
        Self::begin_in(location.store()?, wait, resume, None, cancel)
    }

    /// As [`SetWriter::begin`], for a set of another repository, which keeps its id. Where the
    /// directory has a lock, what another copy of it had finished can be taken over. Which numbers
    /// are `used` there is known from earlier copies, or will be by later ones.
    ///
    /// # Errors
    ///
    /// Those of [`SetWriter::begin`]; [`ErrorKind::Refused`] where something has the id.
    pub(crate) fn begin_copy(
        location: &Location,
        name: CopiedName,
        used: &UsedNumbers,
        wait: Duration,
        cancel: &Cancel,
    ) -> Result<Self> {
        location.ensure_not_hidden()?;
        let store = location.store()?;
        let resume = store.has_lock();
        let mut writer = Self::begin_in(store, wait, resume, Some(name), cancel)?;
        writer.used = used.clone();
        Ok(writer)
    }

    /// As [`SetWriter::begin`] or [`SetWriter::begin_copy`], in any store.
    pub(super) fn begin_in(
        store: Arc<dyn WritableStore>,
        wait: Duration,
        resume: bool,
        copied: Option<CopiedName>,
        cancel: &Cancel,
    ) -> Result<Self> {
        let lock = store.lock(wait, cancel)?;
        let hidden = store.list(Folder::Hidden)?;
        let earlier = match (resume, &copied) {
            (false, _) => None,
            (true, None) => newest_resumable(&store, &hidden),
            (true, Some(copied)) => ResumableRun::read(&store, &copied.id),
        };
        let copy = copied.as_ref().map(|copied| &copied.id);
        sweep(&*store, &hidden, earlier.as_ref(), copy, cancel)?;
        prune::finish(&*store, &hidden, &mut || Ok(cancel.check()?))?;
        let (id, started) = match &copied {
            None => free_stamp(&*store, cancel)?,
            Some(copied) => {
                copied.ensure_free(&*store)?;
                (copied.id.clone(), Timestamp::try_from(store.now())?)
            }
        };
        let earlier = earlier.map(|earlier| earlier.staged().clone());
        // What was finished stays finished, whatever becomes of this run.
        if earlier.as_ref() != Some(&id) {
            store.stage(&id, earlier.as_ref())?;
        }
        // Its notes are where they were, or moved with its files.
        let noted = match store.has_lock() {
            true => Some(&id),
            false => earlier.as_ref(),
        };
        Ok(Self {
            resumable: noted.and_then(|noted| ResumableRun::read(&store, noted)),
            scratch: store.scratch(&id),
            store,
            staged: id.clone(),
            id,
            started,
            copied,
            used: UsedNumbers::default(),
            names: None,
            claim: None,
            parents: Vec::new(),
            going: HashSet::new(),
            signs: None,
            heartbeat: None,
            keep: resume,
            commits: CommitState::Not,
            lock,
        })
    }

    /// What the directory's file system lacks, a sentence each.
    pub(crate) fn warnings(&self) -> &[String] {
        self.lock.warnings()
    }

    pub(crate) fn id(&self) -> &SetId {
        &self.id
    }

    /// When the set was begun.
    pub(crate) fn started(&self) -> Timestamp {
        self.started
    }

    /// Notes which sets of the repository this one builds on. Where one of them goes before this one
    /// is there, it is not made.
    pub(crate) fn builds_on(&mut self, parents: impl IntoIterator<Item = SetId>) {
        self.parents.extend(parents);
    }

    /// What an earlier run had finished, if that was one like `run`. Of what it had not finished,
    /// or of another run, nothing is left, where nobody else can be at work. To be called before any
    /// file is made.
    ///
    /// # Errors
    ///
    /// When that cannot be written.
    pub(crate) fn take_over(&self, run: &RunHeader) -> Result<Option<&ResumableRun>> {
        let like = |resumable: &&ResumableRun| {
            RunHeader {
                started: run.started,
                ..resumable.run.clone()
            } == *run
        };
        if !self.takes_notes() {
            return Ok(None);
        }
        let resumable = self.resumable.as_ref().filter(like);
        match resumable {
            Some(resumable) if self.store.has_lock() => resumable.remove_unfinished()?,
            // Whoever resumes this run finds it in its notes.
            Some(resumable) => resumable.note_again(&self.staged)?,
            None if self.resumable.is_some() && self.store.has_lock() => {
                self.store.remove_tree(&name_of(&self.staged, UNFINISHED))?;
                self.store.stage(&self.staged, None)?;
            }
            None => {}
        }
        resume::note(&*self.store, &self.staged, run)?;
        Ok(resumable)
    }

    /// Writes down that a shard is finished, for a run that may have to take it over. What has no
    /// file of its own is not: to share or to ask again costs nothing.
    ///
    /// # Errors
    ///
    /// When that cannot be written.
    pub(crate) fn note(&self, record: &ShardRecord, file: Option<&SealedFile>) -> Result<()> {
        let is_own = record.shared_with.is_none() && self.takes_notes();
        let Some(file) = file.filter(|_| is_own) else {
            return Ok(());
        };
        let (_, name) = file.name.rsplit_once('/').unwrap_or(("", &file.name));
        let line = ShardRecord {
            file: Some(file.record(name.to_owned())),
            ..record.clone()
        };
        resume::note(&*self.store, &self.staged, &line)?;
        if let Some(signs) = &self.signs {
            signs.was_heard();
        }
        Ok(())
    }

    /// Whether another run could take over what this one finishes.
    fn takes_notes(&self) -> bool {
        self.copied.is_none() || self.store.has_lock()
    }

    /// A local directory for files that are wanted for a while.
    pub(crate) fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// What a file of the repository is called in messages.
    pub(crate) fn place_of(&self, name: &str) -> String {
        self.store.place_of(name)
    }

    /// Writes the metastore and, in the portable layout, the manifest, gives all files of the set
    /// their final names and writes its record. Takes the next number that no file or set in the
    /// directory has; fills in the record's `id`, `number`, `meta`, `manifest` and the shards'
    /// `file`.
    ///
    /// # Errors
    ///
    /// When a name cannot be given or the record not be written; then no file keeps its final name.
    pub(crate) fn commit(
        mut self,
        record: SetRecord,
        files: &SetFiles,
        cancel: &Cancel,
    ) -> Result<SetRecord> {
        self.commits = CommitState::Begun;
        match self.store.has_lock() {
            true => self.commit_staged(record, files, cancel),
            false => self.commit_claimed(record, files, cancel),
        }
    }
}

#[cfg(test)]
impl SetWriter {
    /// Ends as if the process were killed: nothing is cleared away.
    pub(in crate::repository) fn kill(mut self) {
        self.heartbeat = None;
        std::mem::forget(self);
    }
}

impl Drop for SetWriter {
    fn drop(&mut self) {
        self.heartbeat = None;
        let is_kept = self.keep
            && self.commits != CommitState::Done
            && ResumableRun::read(&self.store, &self.staged).is_some();
        if is_kept || self.commits == CommitState::Recording {
            return;
        }
        // Where this fails, the sweep of the next run takes what is left.
        let _ = match (&self.claim, self.commits) {
            (Some(claim), CommitState::Done) => {
                read_record(&*self.store, &format!("{}.{RECORD}", self.id))
                    .and_then(|record| self.clear(claim, &file_names(&[record])))
            }
            (Some(claim), _) => self.clear_failed(claim),
            (None, _) => self.store.remove_tree(&name_of(&self.staged, UNFINISHED)),
        };
        if self.commits == CommitState::Not {
            self.lock.abandon();
        }
    }
}

/// What the newest run that made no set had finished.
fn newest_resumable(store: &Arc<dyn WritableStore>, hidden: &[StoreEntry]) -> Option<ResumableRun> {
    let own: HashSet<(&str, &str)> = hidden
        .iter()
        .filter_map(|entry| own_name(&entry.name))
        .collect();
    // Of a set, where nothing can be removed, the notes stay.
    let unfinished = own
        .iter()
        .filter(|(id, kind)| *kind == UNFINISHED && !own.contains(&(*id, RECORD)));
    let mut ids: Vec<SetId> = unfinished.map(|(id, _)| SetId::from(*id)).collect();
    ids.sort_unstable();
    ids.iter()
        .rev()
        .find_map(|id| ResumableRun::read(store, id))
}

#[cfg(test)]
mod tests;
