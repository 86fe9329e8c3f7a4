//! Writing a set: files grow out of sight, get their final names when all are complete, and count
//! once the record is there.

use std::collections::HashSet;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;

use super::as_recorded::{Comparison, find_as_recorded};
use super::digest::DigestAlgorithm;
use super::hidden::{COMMIT, RECORD, REMOVAL, UNFINISHED, name_of, own_name};
use super::location::Location;
use super::next_number::next_number_in;
use super::record::{FileRecord, Layout, SetRecord, ShardRecord};
use super::recover::sweep;
use super::resume::{self, ResumableRun, RunHeader};
use super::set_id::SetId;
use super::staged_file::{SealedFile, StagedFile, StagedTar};
use super::store::{Folder, Store, StoreLock, WritableStore, is_there};
use super::{manifest, names, prune};
use crate::cancel::Cancel;
use crate::error::ErrorKind;
use crate::shard::ShardPath;
use crate::time;

/// How often a set is given other names because somebody took one of its.
const NAME_TRIES: u32 = 100;

/// How long a run waits for a second whose stamp no set has.
const STAMP_PATIENCE: Duration = Duration::from_secs(60);

/// The finished files of a set.
#[derive(Debug)]
pub(crate) struct SetFiles {
    pub meta: SealedFile,
    /// Those of shards, by index into the record's `shards`.
    pub shards: Vec<(usize, SealedFile)>,
}

/// A set being written. What it holds goes away when it is dropped before [`SetWriter::commit`].
#[derive(Debug)]
pub(crate) struct SetWriter {
    store: Arc<dyn WritableStore>,
    id: SetId,
    started: Timestamp,
    /// The set whose staged files its files are: the first id that it had.
    staged: SetId,
    scratch: PathBuf,
    /// What an earlier run had finished, where it is to be taken over.
    resumable: Option<ResumableRun>,
    /// Whether what is finished stays for another run.
    keep: bool,
    /// Whether a commit was begun, something of which may have to stay.
    commits: bool,
    lock: Box<dyn StoreLock>,
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
        Self::begin_in(location.into().store()?, wait, resume, cancel)
    }

    /// As [`SetWriter::begin`], in any store.
    pub(super) fn begin_in(
        store: Arc<dyn WritableStore>,
        wait: Duration,
        resume: bool,
        cancel: &Cancel,
    ) -> Result<Self> {
        let lock = store.lock(wait, cancel)?;
        let earlier = if resume {
            newest_resumable(&store)?
        } else {
            None
        };
        sweep(&*store, earlier.as_ref(), cancel)?;
        prune::finish(&*store, &mut || Ok(cancel.check()?))?;
        let (id, started) = free_stamp(&*store, cancel)?;
        // What was finished stays finished, whatever becomes of this run.
        store.stage(&id, earlier.as_ref())?;
        Ok(Self {
            resumable: ResumableRun::read(&store, &id),
            scratch: store.scratch(&id),
            store,
            staged: id.clone(),
            id,
            started,
            keep: resume,
            commits: false,
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

    /// What an earlier run had finished, if that was one like `run`. Of what it had not finished,
    /// or of another run, nothing is left. To be called before any file is made.
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
        if let Some(resumable) = self.resumable.as_ref().filter(like) {
            resumable.remove_unfinished()?;
            resume::note(&*self.store, &self.staged, run)?;
            return Ok(Some(resumable));
        }
        if self.resumable.is_some() {
            self.store.remove_tree(&name_of(&self.staged, UNFINISHED))?;
            self.store.stage(&self.staged, None)?;
        }
        resume::note(&*self.store, &self.staged, run)?;
        Ok(None)
    }

    /// Writes down that a shard is finished, for a run that may have to take it over. What has no
    /// file of its own is not: to share or to ask again costs nothing.
    ///
    /// # Errors
    ///
    /// When that cannot be written.
    pub(crate) fn note(&self, record: &ShardRecord, file: Option<&SealedFile>) -> Result<()> {
        let Some(file) = file.filter(|_| record.shared_with.is_none()) else {
            return Ok(());
        };
        let (_, name) = file.name.rsplit_once('/').unwrap_or_default();
        let line = ShardRecord {
            file: Some(file.record(name.to_owned())),
            ..record.clone()
        };
        resume::note(&*self.store, &self.staged, &line)
    }

    /// Makes sure that the file system takes the names that files of shards get in the legacy
    /// layout, before any is downloaded. Not all take colons, quotes or all of Unicode.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Refused`] with the name that it does not take.
    pub(crate) fn try_names<'a>(
        &self,
        layout: Layout,
        shards: impl Iterator<Item = &'a ShardPath>,
    ) -> Result<()> {
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

    /// A fresh file to write to, for the owner alone.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub(crate) fn file(&self) -> Result<StagedFile> {
        self.file_with(DigestAlgorithm::Blake3)
    }

    fn file_with(&self, algorithm: DigestAlgorithm) -> Result<StagedFile> {
        // Names are given in the commit.
        StagedFile::create(&self.store, &self.staged, "", algorithm)
    }

    /// A fresh file for the tar of a shard.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub(crate) fn tar(&self, layout: Layout, shard: u64) -> Result<StagedTar> {
        let file = self.file()?;
        Ok(match layout {
            Layout::Legacy => StagedTar::plain(file),
            Layout::Portable => {
                StagedTar::compressed(manifest::compress(self.id.as_str(), shard, file))
            }
        })
    }

    /// A finished file that is another's very own: a hard link to it, or a copy where there can be
    /// none. None where the file is not what was recorded.
    ///
    /// # Errors
    ///
    /// When it can be neither linked nor copied, or a stop was asked for.
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
        if let Ok(shared) = self.store.share(name, &self.staged) {
            return Ok(Some(SealedFile::of(&self.store, shared, found)));
        }
        let sharing = || format!("sharing {}", self.store.place_of(name));
        let mut copy = self.file_with(recorded.digest.algorithm())?;
        io::copy(&mut self.store.open(name).with_context(sharing)?, &mut copy)
            .with_context(sharing)?;
        let mut copy = copy.finish()?;
        copy.blocks.clone_from(&recorded.blocks);
        Ok((copy.digest == recorded.digest).then_some(copy))
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
        let found = find_as_recorded(&*self.store, name, recorded, Comparison::Digest, cancel)?;
        Ok(found.map(|found| SealedFile::of(&self.store, name.to_owned(), found)))
    }

    /// Removes a file that an earlier run had finished and this one does not reuse, which takes
    /// room.
    ///
    /// # Errors
    ///
    /// When it cannot be removed.
    pub(crate) fn discard(&self, name: &str) -> Result<()> {
        self.store.remove(name)
    }

    /// A finished file with that content.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub(crate) fn write(&self, content: &[u8]) -> Result<SealedFile> {
        let mut file = self.file()?;
        file.write_all(content).context("writing")?;
        file.finish()
    }

    /// Gives all files of the set their final names and writes its record. Takes the next number
    /// that no file or set in the directory has; fills in the record's `id`, `number`, `meta`,
    /// `manifest` and the shards' `file`.
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
        self.commits = true;
        self.store.settle(Folder::Staged(&self.staged))?;
        record.number = next_number_in(&*self.store)?;
        for _ in 0..NAME_TRIES {
            cancel.check()?;
            record.id.clone_from(&self.id);
            let manifest = self.name_files(&mut record, files)?;
            if self.commit_as(&record, files, manifest.as_ref())? {
                self.keep = false;
                return Ok(record);
            }
            // Somebody without our lock, influxd say, took a name meanwhile.
            if let Some(manifest) = manifest {
                manifest.remove()?;
            }
            match record.layout {
                Layout::Legacy => {
                    record.number = record.number.checked_add(1).ok_or_else(|| {
                        let (most, place) = (u32::MAX, self.store.place());
                        ErrorKind::Failed
                            .error(format!("no number is left for a set: {place} has one of {most}"))
                            .hint("it is in the name of a file or in a record: remove that, or back up into another directory")
                    })?;
                }
                Layout::Portable => self.id = free_stamp(&*self.store, cancel)?.0,
            }
        }
        bail!(
            "the names of a set in {} were taken {NAME_TRIES} times before they could be given",
            self.store.place()
        )
    }

    /// Gives the files the names that the record says, and writes it; `false` where one of the
    /// names is taken.
    fn commit_as(
        &self,
        record: &SetRecord,
        files: &SetFiles,
        manifest: Option<&SealedFile>,
    ) -> Result<bool> {
        let store = &*self.store;
        let moves = self.moves(record, files, manifest)?;
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

    /// Which staged file gets which name. What influxd takes for the sign of a backup comes last:
    /// it takes no shard for restorable without.
    fn moves<'a>(
        &self,
        record: &'a SetRecord,
        files: &'a SetFiles,
        manifest: Option<&'a SealedFile>,
    ) -> Result<Vec<Move<'a>>> {
        let shards = files
            .shards
            .iter()
            .map(|(index, file)| (file, record.shards[*index].file.as_ref()));
        let rest = [
            (Some(&files.meta), Some(&record.meta)),
            (manifest, record.manifest.as_ref()),
        ];
        let rest = rest
            .into_iter()
            .filter_map(|(file, record)| Some((file?, record)));
        let moves: Vec<Move<'_>> = shards
            .chain(rest)
            .filter_map(|(file, record)| Some((&*file.name, &*record?.name)))
            .collect();
        // No other number or stamp would help.
        let mut names = HashSet::new();
        if let Some((_, twice)) = moves.iter().find(|(_, name)| !names.insert(name)) {
            let place = self.store.place_of(twice);
            bail!("two files of the set would be called {place}");
        }
        Ok(moves)
    }

    /// Writes into the record what the files will be called; in the portable layout, makes the
    /// manifest.
    fn name_files(&self, record: &mut SetRecord, files: &SetFiles) -> Result<Option<SealedFile>> {
        let portable = record.layout == Layout::Portable;
        let meta = if portable {
            manifest::meta_file(self.id.as_str())
        } else {
            names::meta_file(record.number)
        };
        record.meta = files.meta.record(meta);
        for (index, file) in &files.shards {
            let shard = &mut record.shards[*index];
            let name = match record.layout {
                Layout::Legacy => names::shard_file(&shard.path(), record.number),
                Layout::Portable => manifest::shard_file(self.id.as_str(), shard.id),
            };
            shard.file = Some(file.record(name));
        }
        if !portable {
            return Ok(None);
        }
        let mut bytes = Vec::new();
        record.to_manifest().write_to(&mut bytes)?;
        let manifest = self.write(&bytes)?;
        record.manifest = Some(manifest.record(manifest::manifest_file(self.id.as_str())));
        Ok(Some(manifest))
    }
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
        let now = Timestamp::now();
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
        if self.keep && ResumableRun::read(&self.store, &self.staged).is_some() {
            return;
        }
        // Where this fails, the sweep of the next run takes what is left.
        let _ = self.store.remove_tree(&name_of(&self.staged, UNFINISHED));
        if !self.commits {
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

/// The newest set with staged files of which some were finished.
fn newest_resumable(store: &Arc<dyn WritableStore>) -> Result<Option<SetId>> {
    let mut newest: Option<SetId> = None;
    for entry in store.list(Folder::Hidden)? {
        let Some((id, UNFINISHED)) = own_name(&entry.name) else {
            continue;
        };
        let id = SetId::from(id);
        let is_newer = newest.as_ref().is_none_or(|newest| id > *newest);
        if is_newer && ResumableRun::read(store, &id).is_some() {
            newest = Some(id);
        }
    }
    Ok(newest)
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
