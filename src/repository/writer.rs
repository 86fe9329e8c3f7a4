//! Writing a set: files grow out of sight, get their final names when all are complete, and count
//! once the record is there.

use std::collections::{HashMap, HashSet};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;

use super::as_recorded::{Comparison, find_as_recorded};
use super::claim::{Claim, copy_patience, random_pause};
use super::copied_name::CopiedName;
use super::digest::DigestAlgorithm;
use super::hidden::{COMMIT, HIDDEN, RECORD, REMOVAL, UNFINISHED, name_of, own_name};
use super::location::Location;
use super::next_number::UsedNumbers;
use super::record::{FileRecord, Layout, SetRecord, ShardRecord};
use super::recover::{records, sweep};
use super::resume::{self, ResumableRun, RunHeader};
use super::set_id::SetId;
use super::set_names::SetNames;
use super::snapshot::read_record;
use super::staged_file::{FileCopy, SealedFile, StagedFile, StagedTar};
use super::store::{Folder, Store, StoreLock, WritableStore, is_there, tolerated};
use super::{manifest, names, prune};
use crate::cancel::Cancel;
use crate::error::ErrorKind;
use crate::shard::ShardPath;
use crate::{retry, text, time};

/// How often a set is given other names because somebody took one of its.
const NAME_TRIES: u32 = 100;

/// How long a run waits for a second whose stamp no set has.
const STAMP_PATIENCE: Duration = Duration::from_secs(60);

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
    /// What its files are to be called, once that is decided.
    names: Option<SetNames>,
    /// What keeps other runs away, where there is no lock.
    claim: Option<Claim>,
    /// When other runs were last told that this one is alive.
    heard: Mutex<Instant>,
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
        Self::begin_in(location.into().store()?, wait, resume, None, cancel)
    }

    /// As [`SetWriter::begin`], for a set of another repository, which keeps its id. Where the
    /// directory has a lock, what another copy of it had finished can be taken over.
    ///
    /// # Errors
    ///
    /// Those of [`SetWriter::begin`]; [`ErrorKind::Refused`] where something has the id.
    pub(crate) fn begin_copy(
        location: &Location,
        name: CopiedName,
        wait: Duration,
        cancel: &Cancel,
    ) -> Result<Self> {
        let store = location.store()?;
        let resume = store.has_lock();
        Self::begin_in(store, wait, resume, Some(name), cancel)
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
        let earlier = match (resume, &copied) {
            (false, _) => None,
            (true, None) => newest_resumable(&store)?,
            (true, Some(copied)) => ResumableRun::read(&store, &copied.id),
        };
        let copy = copied.as_ref().map(|copied| &copied.id);
        sweep(&*store, earlier.as_ref(), copy, cancel)?;
        prune::finish(&*store, &mut || Ok(cancel.check()?))?;
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
            names: None,
            claim: None,
            heard: Mutex::new(Instant::now()),
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

    /// Decides what the files of a set of these shards are called, and has other runs keep away from
    /// the names. To be called before any file is made.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Refused`] where the file system does not take a name; when no names are to be
    /// had.
    pub(crate) fn reserve(
        &mut self,
        layout: Layout,
        shards: &[&ShardPath],
        cancel: &Cancel,
    ) -> Result<()> {
        self.try_names(layout, shards)?;
        let mut used = UsedNumbers::default();
        if self.store.has_lock() {
            // Somebody without our lock may take it before the commit: it looks again.
            self.names = Some(self.names_with(layout, self.free_number(&mut used)?));
            return Ok(());
        }
        for attempt in 0..NAME_TRIES {
            cancel.check()?;
            if attempt > 0 {
                retry::pause(random_pause(attempt), cancel)?;
                match &self.copied {
                    Some(copied) => copied.ensure_free(&*self.store)?,
                    None => self.id = free_stamp(&*self.store, cancel)?.0,
                }
            }
            let names = self.names_with(layout, self.free_number(&mut used)?);
            let claim = Claim::new(&names, self.started, shards, self.used_files())
                .copied(self.copied.is_some());
            if claim.stake(&*self.store, &mut used)? {
                self.staged.clone_from(&self.id);
                (self.names, self.claim) = (Some(names), Some(claim));
                self.heard = Mutex::new(Instant::now());
                return Ok(());
            }
            // Where it stays, its number is lost, and nothing else.
            tolerated(self.store.remove(&claim.name))?;
        }
        let place = self.store.place();
        bail!("other runs begin in {place} all the time: no names were free in {NAME_TRIES} tries")
    }

    /// A number that the set may get.
    fn free_number(&self, used: &mut UsedNumbers) -> Result<u32> {
        let store = &*self.store;
        let Some(copied) = &self.copied else {
            return used.next(store);
        };
        let number = copied.number_beside(&used.all(store)?);
        Ok(number.ok_or_else(|| copied.no_number(store))?)
    }

    fn names_with(&self, layout: Layout, number: u32) -> SetNames {
        SetNames {
            layout,
            id: self.id.clone(),
            number,
        }
    }

    /// The names of the files that may be taken over, where they have their final names.
    fn used_files(&self) -> Vec<String> {
        let resumable = self.resumable.iter();
        resumable.flat_map(ResumableRun::named_files).collect()
    }

    pub(super) fn names(&self) -> Result<&SetNames> {
        self.names.as_ref().context("no names were reserved")
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
        self.was_heard();
        Ok(())
    }

    /// Whether another run could take over what this one finishes.
    fn takes_notes(&self) -> bool {
        self.copied.is_none() || self.store.has_lock()
    }

    /// How long this run may not be heard of before others clear away what it has stored.
    fn patience(&self) -> Duration {
        match self.copied {
            Some(_) => copy_patience(&*self.store),
            None => self.store.grace(),
        }
    }

    /// Tells other runs that this one is alive, where it has not for long, and they may clear away
    /// what is old.
    ///
    /// # Errors
    ///
    /// When that cannot be written.
    pub(crate) fn stay_alive(&self) -> Result<()> {
        let patience = self.patience();
        let is_due = !patience.is_zero() && self.unheard() > patience / 8;
        if self.claim.is_some() && is_due {
            resume::note_nothing(&*self.store, &self.staged)?;
            self.was_heard();
        }
        Ok(())
    }

    fn was_heard(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    fn unheard(&self) -> Duration {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.elapsed()
    }

    /// Makes sure that the file system takes the names that files of shards get in the legacy
    /// layout, before any is downloaded. Not all take colons, quotes or all of Unicode.
    fn try_names(&self, layout: Layout, shards: &[&ShardPath]) -> Result<()> {
        if layout == Layout::Portable {
            return Ok(());
        }
        // The numbers behind the names are harmless anywhere.
        let mut tried = HashSet::new();
        for shard in shards {
            if !tried.insert((&shard.database, &shard.retention_policy)) {
                continue;
            }
            let stem = names::shard_stem(shard);
            if let Some(error) = self.store.try_name(&self.staged, &stem)? {
                let place = self.store.place();
                let fault = ErrorKind::Refused.error(format!(
                    "the file system of {place} does not take the name of shard {shard}"
                ));
                let fault = fault.hint("with -portable the file is named by the shard's id alone");
                return Err(anyhow::Error::from(error).context(fault));
            }
        }
        Ok(())
    }

    /// A local directory for files that are wanted for a while.
    pub(crate) fn scratch(&self) -> &Path {
        &self.scratch
    }

    /// What a file of the repository is called in messages.
    pub(crate) fn place_of(&self, name: &str) -> String {
        self.store.place_of(name)
    }

    /// A fresh file that is to be called `name`, for the owner alone.
    fn file(&self, name: &str) -> Result<StagedFile> {
        self.file_with(name, DigestAlgorithm::Blake3)
    }

    fn file_with(&self, name: &str, digest: DigestAlgorithm) -> Result<StagedFile> {
        self.stay_alive()?;
        StagedFile::create(&self.store, &self.staged, name, digest)
    }

    /// A fresh file for that of a shard, which is to be as it was recorded elsewhere.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub(crate) fn copy(&self, shard: &ShardPath, recorded: &FileRecord) -> Result<FileCopy> {
        let name = self.names()?.shard(shard);
        let file = self.file_with(&name, recorded.digest.algorithm())?;
        Ok(FileCopy::new(file, recorded))
    }

    /// A fresh file for the tar of a shard.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub(crate) fn tar(&self, shard: &ShardPath) -> Result<StagedTar> {
        let names = self.names()?;
        let file = self.file(&names.shard(shard))?;
        Ok(match names.layout {
            Layout::Legacy => StagedTar::plain(file),
            Layout::Portable => {
                StagedTar::compressed(manifest::compress(self.id.as_str(), shard.id, file))
            }
        })
    }

    /// A finished file that is another's very own: a hard link to it, or that file where there can
    /// be none. None where the file is not what was recorded.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or a stop was asked for.
    pub(crate) fn share(
        &self,
        name: &str,
        recorded: &FileRecord,
        comparison: Comparison,
        cancel: &Cancel,
    ) -> Result<Option<SealedFile>> {
        let found = find_as_recorded(&*self.store, name, recorded, comparison, cancel)?;
        let Some(found) = found else {
            return Ok(None);
        };
        let shared = self.store.share(name, &self.staged)?;
        Ok(Some(SealedFile::of(&self.store, shared, found)))
    }

    /// A file that an earlier run had finished among those of this one; none where it is not what
    /// was recorded.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or a stop was asked for.
    pub(crate) fn reuse(
        &self,
        name: &str,
        recorded: &FileRecord,
        cancel: &Cancel,
    ) -> Result<Option<SealedFile>> {
        // Under a final name is what the store has whole, and nobody writes to.
        let comparison = match is_staged(name) {
            true => Comparison::Digest,
            false => Comparison::Time,
        };
        let found = find_as_recorded(&*self.store, name, recorded, comparison, cancel)?;
        Ok(found.map(|found| SealedFile::of(&self.store, name.to_owned(), found)))
    }

    /// Removes a file that an earlier run had finished and this one does not reuse, which takes
    /// room. One with a final name stays, for others may use it.
    ///
    /// # Errors
    ///
    /// When it cannot be removed.
    pub(crate) fn discard(&self, name: &str) -> Result<()> {
        match is_staged(name) {
            true => self.store.remove(name),
            false => Ok(()),
        }
    }

    /// A finished file with that content, which is to be called `name`.
    pub(super) fn write(&self, name: &str, content: &[u8]) -> Result<SealedFile> {
        let mut file = self.file(name)?;
        file.write_all(content).context("writing")?;
        file.finish()
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
        mut record: SetRecord,
        files: &SetFiles,
        cancel: &Cancel,
    ) -> Result<SetRecord> {
        self.commits = CommitState::Begun;
        if !self.store.has_lock() {
            return self.commit_claimed(record, files, cancel);
        }
        record.number = self.free_number(&mut UsedNumbers::default())?;
        let meta = self.write("", &files.meta)?;
        self.store.settle(Folder::Staged(&self.staged))?;
        for _ in 0..NAME_TRIES {
            cancel.check()?;
            record.id.clone_from(&self.id);
            name_files(&mut record, files, &meta);
            let manifest = self.write_manifest(&mut record)?;
            if self.commit_as(&record, files, &meta, manifest.as_ref())? {
                self.commits = CommitState::Done;
                return Ok(record);
            }
            // Somebody without our lock, influxd say, took a name meanwhile.
            if let Some(manifest) = manifest {
                manifest.remove()?;
            }
            match (record.layout, &self.copied) {
                (Layout::Legacy, Some(_)) => {
                    record.number = self.free_number(&mut UsedNumbers::default())?;
                }
                (Layout::Portable, Some(copied)) => {
                    let place = self.store.place_of(&record.meta.name);
                    return Err(copied.taken(&place).into());
                }
                (Layout::Legacy, None) => {
                    record.number = record.number.checked_add(1).ok_or_else(|| {
                        let (most, place) = (u32::MAX, self.store.place());
                        ErrorKind::Failed
                            .error(format!("no number is left for a set: {place} has one of {most}"))
                            .hint("it is in the name of a file or in a record: remove that, or back up into another directory")
                    })?;
                }
                (Layout::Portable, None) => self.id = free_stamp(&*self.store, cancel)?.0,
            }
        }
        bail!(
            "the names of a set in {} were taken {NAME_TRIES} times before they could be given",
            self.store.place()
        )
    }

    /// As [`SetWriter::commit`], where the files of shards have their names, and a claim keeps
    /// others from these.
    fn commit_claimed(
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
        self.commits = CommitState::Done;
        Ok(record)
    }

    /// Whether this run was not heard of for so long that another may soon take it for dead.
    fn is_unheard(&self) -> bool {
        let patience = self.patience();
        !patience.is_zero() && self.unheard() > patience / 2
    }

    /// Makes sure that no other run can take this one for dead, before its record is there.
    fn ensure_heard(&self) -> Result<()> {
        let patience = self.patience();
        if self.is_unheard() {
            let (unheard, patience) = (text::age(self.unheard()), text::age(patience));
            let fault = ErrorKind::Failed.error(format!(
                "this run has finished no shard for {unheard}: after {patience}, others may clear \
                 away what it has stored"
            ));
            let advice = match self.copied {
                Some(_) => "copy the set again",
                None => "a longer -grace, the same for all runs, gives it more time",
            };
            return Err(fault.hint(advice).into());
        }
        resume::note_nothing(&*self.store, &self.staged)
    }

    /// Makes sure that all files of shards are there, and will be when the record is: those of sets
    /// that were removed in the meantime, or of a run that was taken for dead, may go.
    fn ensure_whole(&self, files: &SetFiles) -> Result<()> {
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

    /// Gives the files the names that the record says, and writes it; `false` where one of the
    /// names is taken.
    fn commit_as(
        &self,
        record: &SetRecord,
        files: &SetFiles,
        meta: &SealedFile,
        manifest: Option<&SealedFile>,
    ) -> Result<bool> {
        let store = &*self.store;
        ensure_no_name_twice(store, record)?;
        let moves = moves(record, files, meta, manifest);
        let intent = name_of(&self.id, COMMIT);
        let write = |name: &str| store.write_whole(name, &mut |out| record.write_to(out));
        write(&intent)?;
        match give_names(store, &moves) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                store.remove(&intent)?;
                return Ok(false);
            }
            Err(error) => {
                forget_intent(store, &intent, &moves);
                let place = store.place();
                return Err(error).context(format!("giving the files in {place} their names"));
            }
        }
        let document = name_of(&self.id, RECORD);
        let recorded = store.settle(Folder::Top).and_then(|()| write(&document));
        if let Err(error) = recorded {
            // Where the record has its name already, and it cannot be taken back, the files stay
            // with it.
            if store.remove(&document).is_err() && matches!(store.entry(&document), Ok(Some(_))) {
                // An error of ours: a full disk is told as one that kept nothing.
                return Err(error.context(ErrorKind::Failed.error(format!(
                    "set {} is whole, but may not outlast a power failure",
                    self.id
                ))));
            }
            // Without a record these files are no set, and must not be taken for one.
            let _ = store.settle(Folder::Hidden);
            for (staged, name) in &moves {
                let _ = store.take_back(name, staged);
            }
            forget_intent(store, &intent, &moves);
            return Err(error);
        }
        // Beside a record it means nothing, and the next run removes it.
        let _ = store.remove(&intent);
        Ok(true)
    }

    /// In the portable layout, makes the manifest, and writes it into the record; says there in which
    /// form it is.
    fn write_manifest(&self, record: &mut SetRecord) -> Result<Option<SealedFile>> {
        record.format = record.needed_format();
        let Some(name) = record.names().manifest() else {
            return Ok(None);
        };
        let mut bytes = Vec::new();
        record.to_manifest().write_to(&mut bytes)?;
        let manifest = self.write(&name, &bytes)?;
        record.manifest = Some(manifest.record(name));
        Ok(Some(manifest))
    }

    /// As [`SetWriter::clear`], where other sets may have names that this one claims: they share files
    /// that an earlier copy of it had.
    fn clear_copy(&self, claim: &Claim) -> Result<()> {
        // Another copy of the set may have these names by now.
        if self.commits != CommitState::Done && self.is_unheard() {
            return Ok(());
        }
        let hidden = self.store.list(Folder::Hidden)?;
        let Some(records) = records(&*self.store, &hidden) else {
            return Ok(());
        };
        let files = records.iter().flat_map(SetRecord::files);
        self.clear(claim, &files.map(|file| file.name.clone()).collect())
    }

    /// Removes what a run with a claim has stored, and no record names; in the end the claim, if all
    /// of it went. Where this fails, the sweep of a later run takes what is left.
    fn clear(&self, claim: &Claim, recorded: &HashSet<String>) -> Result<()> {
        let mut is_clear = true;
        for entry in claim.claimed(&self.store.list(Folder::Top)?) {
            if !recorded.contains(&entry.name) {
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

/// Whether a name is that of a staged file, which gets its final name in a commit. Any other has it.
fn is_staged(name: &str) -> bool {
    name.starts_with(HIDDEN)
}

/// Writes into the record what the files are, or will be, called.
fn name_files(record: &mut SetRecord, files: &SetFiles, meta: &SealedFile) {
    let names = record.names();
    record.meta = meta.record(names.meta());
    for (index, file) in &files.shards {
        let shard = &mut record.shards[*index];
        let name = match is_staged(&file.name) {
            true => names.shard(&shard.path()),
            false => file.name.clone(),
        };
        shard.file = Some(file.record(name));
    }
}

/// Which staged file gets which name. What influxd takes for the sign of a backup comes last: it
/// takes no shard for restorable without.
fn moves<'a>(
    record: &'a SetRecord,
    files: &'a SetFiles,
    meta: &'a SealedFile,
    manifest: Option<&'a SealedFile>,
) -> Vec<Move<'a>> {
    let shards = files
        .shards
        .iter()
        .map(|(index, file)| (file, record.shards[*index].file.as_ref()));
    let rest = [
        (Some(meta), Some(&record.meta)),
        (manifest, record.manifest.as_ref()),
    ];
    let rest = rest
        .into_iter()
        .filter_map(|(file, record)| Some((file?, record)));
    shards
        .chain(rest)
        .filter(|(file, _)| is_staged(&file.name))
        .filter_map(|(file, record)| Some((&*file.name, &*record?.name)))
        .collect()
}

/// No other number or stamp would help.
fn ensure_no_name_twice(store: &dyn Store, record: &SetRecord) -> Result<()> {
    let mut names = HashSet::new();
    if let Some(twice) = record.files().find(|file| !names.insert(&file.name)) {
        let place = store.place_of(&twice.name);
        bail!("two files of the set would be called {place}");
    }
    Ok(())
}

/// Whether a set, or what is left of one, has an id.
fn is_taken(store: &dyn Store, id: &SetId) -> Result<bool> {
    let hidden = [RECORD, COMMIT, REMOVAL, UNFINISHED].map(|kind| name_of(id, kind));
    let visible = [manifest::manifest_file, manifest::meta_file].map(|name| name(id.as_str()));
    for name in hidden.iter().chain(&visible) {
        if is_there(store, name)? {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A stamp that no set has, and its time. There is one a second: a second run within it waits for
/// the next.
fn free_stamp(store: &dyn Store, cancel: &Cancel) -> Result<(SetId, Timestamp)> {
    let begun = Instant::now();
    while begun.elapsed() < STAMP_PATIENCE {
        let now = Timestamp::try_from(store.now())?;
        let id = SetId::from(time::stamp(now));
        if !is_taken(store, &id)? {
            return Ok((id, now));
        }
        cancel.check()?;
        std::thread::sleep(Duration::from_millis(50));
    }
    let place = store.place();
    Err(ErrorKind::Failed
        .error(format!(
            "every stamp of the last {STAMP_PATIENCE:?} is taken in {place}"
        ))
        .hint(
            "was the clock of this machine set back? Then wait until it is ahead of the newest set",
        )
        .into())
}

impl Drop for SetWriter {
    fn drop(&mut self) {
        let is_kept = self.keep
            && self.commits != CommitState::Done
            && ResumableRun::read(&self.store, &self.staged).is_some();
        if is_kept || self.commits == CommitState::Recording {
            return;
        }
        // Where this fails, the sweep of the next run takes what is left.
        let _ = match (&self.claim, self.commits) {
            (Some(claim), _) if self.copied.is_some() => self.clear_copy(claim),
            (Some(claim), CommitState::Done) => {
                read_record(&*self.store, &format!("{}.{RECORD}", self.id)).and_then(|record| {
                    let files = record.files().map(|file| file.name.clone());
                    self.clear(claim, &files.collect())
                })
            }
            (Some(claim), _) => self.clear(claim, &HashSet::new()),
            (None, _) => self.store.remove_tree(&name_of(&self.staged, UNFINISHED)),
        };
        if self.commits == CommitState::Not {
            self.lock.abandon();
        }
    }
}

/// The name of a staged file, and the one that it gets.
type Move<'a> = (&'a str, &'a str);

/// Gives all files their final names, none of which may exist, or none of them.
fn give_names(store: &dyn WritableStore, moves: &[Move<'_>]) -> io::Result<()> {
    for (done, (staged, name)) in moves.iter().enumerate() {
        if let Err(error) = store.give_name(staged, name) {
            for (staged, name) in &moves[..done] {
                // So that nothing is lost and the next number can be tried.
                store.take_back(name, staged).map_err(io::Error::other)?;
            }
            return Err(error);
        }
    }
    Ok(())
}

/// Removes the intent of a commit once all names are taken back: others may take them now. Where
/// one is not, the next run undoes what the intent names.
fn forget_intent(store: &dyn WritableStore, intent: &str, moves: &[Move<'_>]) {
    let is_back = |(staged, _): &Move<'_>| matches!(store.entry(staged), Ok(Some(_)));
    if moves.iter().all(is_back) {
        let _ = store.remove(intent);
    }
}

/// What the newest run that made no set had finished.
fn newest_resumable(store: &Arc<dyn WritableStore>) -> Result<Option<ResumableRun>> {
    let entries = store.list(Folder::Hidden)?;
    let own: HashSet<(&str, &str)> = entries
        .iter()
        .filter_map(|entry| own_name(&entry.name))
        .collect();
    // Of a set, where nothing can be removed, the notes stay.
    let unfinished = own
        .iter()
        .filter(|(id, kind)| *kind == UNFINISHED && !own.contains(&(*id, RECORD)));
    let mut ids: Vec<SetId> = unfinished.map(|(id, _)| SetId::from(*id)).collect();
    ids.sort_unstable();
    Ok(ids
        .iter()
        .rev()
        .find_map(|id| ResumableRun::read(store, id)))
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
