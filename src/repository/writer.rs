//! Writing a set: files grow out of sight, get their final names when all are complete, and count
//! once the record is there.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use jiff::Timestamp;
use rustix::io::Errno;

use super::digest::sha256_of;
use super::hidden::{COMMIT, RECORD, REMOVAL, UNFINISHED, file_of, hidden, lock_file, own_kind};
use super::lock::Lock;
use super::record::{FileRecord, Layout, SetRecord, ShardRecord};
use super::recover::sweep;
use super::resume::{ResumableRun, ResumeLog, Run, TEMPORARY};
use super::set_id::SetId;
use super::staged_file::{SealedFile, StagedFile, StagedTar};
use super::{manifest, names, prune};
use crate::cancel::Cancel;
use crate::error::ErrorKind;
use crate::io::durable;
use crate::io::open::open_regular;
use crate::shard::ShardPath;
use crate::time;

/// How often a set is given other names because somebody took one of its.
const NAME_TRIES: u32 = 100;

/// How long a run waits for a second whose stamp no set has.
const STAMP_PATIENCE: Duration = Duration::from_secs(60);

/// The finished files of a set.
#[derive(Debug)]
pub struct SetFiles {
    /// The meta store.
    pub meta: SealedFile,
    /// Those of shards, by index into the record's `shards`.
    pub shards: Vec<(usize, SealedFile)>,
}

/// A set being written. What it holds goes away when it is dropped before [`SetWriter::commit`].
#[derive(Debug)]
pub struct SetWriter {
    directory: PathBuf,
    id: SetId,
    started: Timestamp,
    /// The folder of unfinished files.
    files: PathBuf,
    /// The directories that this run made, the outermost first, until something in them is to stay.
    made: Vec<PathBuf>,
    /// What an earlier run had finished, where it is to be taken over.
    resumable: Option<ResumableRun>,
    /// Whether what is finished stays for another run.
    keep: bool,
    lock: Lock,
}

impl SetWriter {
    /// Makes the directory where it is absent, locks it, clears away what killed runs left, and
    /// begins a set. With `resume`, what the newest of those had finished can be taken over, and
    /// what this one finishes stays should it fail.
    ///
    /// # Errors
    ///
    /// When another run holds the lock, or the directory cannot be written.
    pub fn begin(directory: &Path, wait: Duration, resume: bool, cancel: &Cancel) -> Result<Self> {
        let hidden = hidden(directory);
        let mut made: Vec<PathBuf> = hidden
            .ancestors()
            .take_while(|path| !path.exists())
            .map(Path::to_owned)
            .collect();
        made.reverse();
        durable::create_private_dir(&hidden)?;
        let lock = Lock::take(&lock_file(directory), wait, cancel)?;
        let earlier = if resume {
            newest_resumable(&hidden)?
        } else {
            None
        };
        sweep(directory, earlier.as_deref(), cancel)?;
        prune::finish(directory, &mut || Ok(cancel.check()?))?;
        let (id, started) = free_stamp(directory, cancel)?;
        let files = file_of(directory, &id, UNFINISHED);
        // What was finished stays finished, whatever becomes of this run.
        match &earlier {
            Some(folder) => durable::rename(folder, &files)?,
            None => durable::create_private_dir(&files)?,
        }
        let resumable = ResumableRun::read(&files);
        Ok(Self {
            directory: directory.to_owned(),
            id,
            started,
            files,
            made,
            resumable,
            keep: resume,
            lock,
        })
    }

    /// What the directory's file system lacks, a sentence each.
    pub fn warnings(&self) -> &[String] {
        self.lock.warnings()
    }

    /// The set's id.
    pub fn id(&self) -> &SetId {
        &self.id
    }

    /// When the set was begun.
    pub fn started(&self) -> Timestamp {
        self.started
    }

    /// What an earlier run had finished, if that was one like `run`. Of what it had not finished,
    /// or of another run, nothing is left. To be called before any file is made.
    ///
    /// # Errors
    ///
    /// When that cannot be written.
    pub fn take_over(&self, run: &Run) -> Result<Option<&ResumableRun>> {
        let like = |resumable: &&ResumableRun| {
            Run {
                started: run.started,
                ..resumable.run.clone()
            } == *run
        };
        if let Some(resumable) = self.resumable.as_ref().filter(like) {
            resumable.remove_unfinished()?;
            ResumeLog::new(&self.files).add(run)?;
            return Ok(Some(resumable));
        }
        if self.resumable.is_some() {
            durable::remove_tree_if_there(&self.files)?;
            durable::create_private_dir(&self.files)?;
        }
        ResumeLog::new(&self.files).add(run)?;
        Ok(None)
    }

    /// Writes down that a shard is finished, for a run that may have to take it over. What has no
    /// file of its own is not: to share or to ask again costs nothing.
    ///
    /// # Errors
    ///
    /// When that cannot be written.
    pub fn note(&self, record: &ShardRecord, file: Option<&SealedFile>) -> Result<()> {
        let Some(file) = file.filter(|_| record.shared_with.is_none()) else {
            return Ok(());
        };
        let name = file.path.file_name().unwrap_or_default();
        let file = file.record(name.to_string_lossy().into_owned());
        ResumeLog::new(&self.files).add(&ShardRecord {
            file: Some(file),
            ..record.clone()
        })
    }

    /// Makes sure that the file system takes the names that files of shards get in the legacy
    /// layout, before any is downloaded. Not all take colons, quotes or all of Unicode.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Refused`] with the name that it does not take.
    pub fn try_names<'a>(
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
            let path = self.files.join(names::shard_stem(shard));
            match durable::create_new(&path).map(drop) {
                Ok(()) => durable::remove_if_there(&path)?,
                Err(error) if is_of_the_name(&error) => {
                    let directory = self.directory.display();
                    let fault = ErrorKind::Refused.error(format!(
                        "the file system of {directory} does not take the name of shard {shard}"
                    ));
                    let fault =
                        fault.hint("with -portable the file is named by the shard's id alone");
                    return Err(anyhow::Error::from(error).context(fault));
                }
                Err(error) => {
                    return Err(error).with_context(|| format!("creating {}", path.display()));
                }
            }
        }
        Ok(())
    }

    /// A folder for files that are wanted for a while.
    pub fn scratch(&self) -> &Path {
        &self.files
    }

    /// A fresh file to write to, for the owner alone.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn file(&self) -> Result<StagedFile> {
        let file = tempfile::Builder::new()
            .prefix(TEMPORARY)
            .tempfile_in(&self.files)
            .with_context(|| format!("creating a file in {}", self.files.display()))?;
        Ok(StagedFile::new(file))
    }

    /// A fresh file for the tar of a shard.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn tar(&self, layout: Layout, shard: u64) -> Result<StagedTar> {
        let file = self.file()?;
        Ok(match layout {
            Layout::Legacy => StagedTar::plain(file),
            Layout::Portable => {
                StagedTar::packed(manifest::compress(self.id.as_str(), shard, file))
            }
        })
    }

    /// A finished file that is another's very own: a hard link to it, or a copy where there can be
    /// none. None where the file is not what was recorded.
    ///
    /// # Errors
    ///
    /// When it can be neither linked nor copied, or a stop was asked for.
    pub fn share(
        &self,
        path: &Path,
        recorded: &FileRecord,
        cancel: &Cancel,
    ) -> Result<Option<SealedFile>> {
        let sharing = || format!("sharing {}", path.display());
        if !fs::symlink_metadata(path).is_ok_and(|there| there.is_file()) {
            return Ok(None);
        }
        if sha256_of(path, cancel)? != recorded.sha256 {
            return Ok(None);
        }
        // The name is free: the folder is this run's own.
        let name = self.file()?.into_name();
        if durable::link(path, &name).is_ok() {
            return Ok(Some(SealedFile::at(name, recorded)));
        }
        let mut copy = self.file()?;
        io::copy(&mut open_regular(path).with_context(sharing)?, &mut copy)
            .with_context(sharing)?;
        let copy = copy.finish()?;
        Ok((copy.sha256 == recorded.sha256).then_some(copy))
    }

    /// A file that an earlier run had finished in the folder of this one's; none where it is not
    /// what was recorded.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or a stop was asked for.
    pub fn reuse(
        &self,
        path: &Path,
        recorded: &FileRecord,
        cancel: &Cancel,
    ) -> Result<Option<SealedFile>> {
        let is_sound = fs::symlink_metadata(path).is_ok_and(|there| there.is_file())
            && sha256_of(path, cancel)? == recorded.sha256;
        Ok(is_sound.then(|| SealedFile::at(path.to_owned(), recorded)))
    }

    /// A finished file with that content.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn write(&self, content: &[u8]) -> Result<SealedFile> {
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
    pub fn commit(
        mut self,
        mut record: SetRecord,
        files: &SetFiles,
        cancel: &Cancel,
    ) -> Result<SetRecord> {
        self.made.clear();
        durable::sync_dir(&self.files)?;
        record.number = next_number(&self.directory)?;
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
                        let (most, place) = (u32::MAX, self.directory.display());
                        ErrorKind::Failed
                            .error(format!("no number is left for a set: {place} has one of {most}"))
                            .hint("it is in the name of a file or in a record: remove that, or back up into another directory")
                    })?;
                }
                Layout::Portable => self.id = free_stamp(&self.directory, cancel)?.0,
            }
        }
        bail!(
            "the names of a set in {} were taken {NAME_TRIES} times before they could be given",
            self.directory.display()
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
        let hidden = hidden(&self.directory);
        let moves = self.moves(record, files, manifest)?;
        let intent = file_of(&self.directory, &self.id, COMMIT);
        let write = |path: &Path| durable::write_whole_by(path, |out| record.write_to(out));
        write(&intent)?;
        match give_names(&moves) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                durable::remove_if_there(&intent)?;
                return Ok(false);
            }
            Err(error) => {
                forget_intent(&intent, &moves);
                return Err(error).with_context(|| {
                    format!(
                        "giving the files in {} their names",
                        self.directory.display()
                    )
                });
            }
        }
        let document = file_of(&self.directory, &self.id, RECORD);
        let recorded = durable::sync_dir(&self.directory).and_then(|()| write(&document));
        if let Err(error) = recorded {
            // Where the record has its name already, and it cannot be taken back, the files stay
            // with it.
            if durable::remove_if_there(&document).is_err() && document.exists() {
                return Err(error.context(format!(
                    "set {} is whole, but may not outlast a power failure",
                    self.id
                )));
            }
            // Without a record these files are no set, and must not be taken for one.
            let _ = durable::sync_dir(&hidden);
            for (from, to) in &moves {
                let _ = durable::rename(to, from);
            }
            forget_intent(&intent, &moves);
            return Err(error);
        }
        // Beside a record it means nothing, and the next run removes it.
        let _ = durable::remove_if_there(&intent);
        Ok(true)
    }

    /// Which file gets which name. What influxd takes for the sign of a backup comes last: it takes
    /// no shard for restorable without.
    fn moves<'a>(
        &self,
        record: &SetRecord,
        files: &'a SetFiles,
        manifest: Option<&'a SealedFile>,
    ) -> Result<Vec<(&'a Path, PathBuf)>> {
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
        let moves: Vec<(&Path, PathBuf)> = shards
            .chain(rest)
            .filter_map(|(file, record)| Some((&*file.path, self.directory.join(&record?.name))))
            .collect();
        // No other number or stamp would help.
        let mut names = HashSet::new();
        if let Some((_, twice)) = moves.iter().find(|(_, to)| !names.insert(to)) {
            bail!("two files of the set would be called {}", twice.display());
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

/// A stamp that no set has, and its time. There is one a second: a second run within it waits for
/// the next.
fn free_stamp(directory: &Path, cancel: &Cancel) -> Result<(SetId, Timestamp)> {
    let begun = Instant::now();
    while begun.elapsed() < STAMP_PATIENCE {
        let now = Timestamp::now();
        let id = SetId::from(time::stamp(now));
        let is_taken = [RECORD, COMMIT, REMOVAL, UNFINISHED]
            .iter()
            .any(|kind| file_of(directory, &id, kind).exists())
            || [manifest::manifest_file, manifest::meta_file]
                .iter()
                .any(|name| directory.join(name(id.as_str())).exists());
        if !is_taken {
            return Ok((id, now));
        }
        cancel.check()?;
        std::thread::sleep(Duration::from_millis(50));
    }
    let directory = directory.display();
    Err(ErrorKind::Failed
        .error(format!(
            "every stamp of the last {STAMP_PATIENCE:?} is taken in {directory}"
        ))
        .hint(
            "was the clock of this machine set back? Then wait until it is ahead of the newest set",
        )
        .into())
}

impl Drop for SetWriter {
    fn drop(&mut self) {
        if self.keep && ResumableRun::read(&self.files).is_some() {
            return;
        }
        // Where this fails, the sweep of the next run takes what is left.
        let _ = durable::remove_tree_if_there(&self.files);
        if !self.made.is_empty() {
            self.lock.remove(&lock_file(&self.directory));
        }
        for directory in self.made.iter().rev() {
            let _ = durable::remove_empty_dir(directory);
        }
    }
}

/// Whether a file cannot be made because of its name.
fn is_of_the_name(error: &io::Error) -> bool {
    let of_the_name = [Errno::INVAL, Errno::ILSEQ, Errno::NAMETOOLONG];
    Errno::from_io_error(error).is_some_and(|errno| of_the_name.contains(&errno))
}

/// Renames all files to their final names, none of which may exist, or none of them.
fn give_names(moves: &[(&Path, PathBuf)]) -> io::Result<()> {
    for (done, (from, to)) in moves.iter().enumerate() {
        if let Err(error) = durable::rename_to_free_name(from, to) {
            for (from, to) in &moves[..done] {
                // Back to the temporary name, so that nothing is lost and the next number can be
                // tried.
                durable::rename(to, from).map_err(io::Error::other)?;
            }
            return Err(error);
        }
    }
    Ok(())
}

/// Removes the intent of a commit once all files have gone back: others may take the names now.
/// Where one has not, the next run undoes what the intent names.
fn forget_intent(intent: &Path, moves: &[(&Path, PathBuf)]) {
    if moves.iter().all(|(from, _)| from.exists()) {
        let _ = durable::remove_if_there(intent);
    }
}

/// One more than the highest number that a set, a meta store or a shard in the directory has.
pub(crate) fn next_number(directory: &Path) -> Result<u32> {
    let mut next = 0;
    for path in paths_if_there(directory)? {
        let name = path.file_name().and_then(OsStr::to_str);
        // influxd counts a download that is under way, or was left behind, as taken; so do we.
        let name = name.map(|name| name.strip_suffix(".pending").unwrap_or(name));
        if let Some((stem, number)) = name.and_then(names::split_number)
            && names::is_stem(stem)
        {
            next = next.max(number.saturating_add(1));
        }
    }
    // Sets of the portable layout have their numbers nowhere else. A record that is damaged must
    // not stop a backup.
    #[derive(serde::Deserialize)]
    struct Numbered {
        number: u32,
    }
    for path in paths_if_there(&hidden(directory))? {
        if own_kind(&path) == Some(RECORD)
            && let Ok(file) = open_regular(&path)
            && let Ok(Numbered { number }) = serde_json::from_reader(io::BufReader::new(file))
        {
            next = next.max(number.saturating_add(1));
        }
    }
    Ok(next)
}

/// What is in a directory that may not be there.
fn paths_if_there(directory: &Path) -> Result<Vec<PathBuf>> {
    if directory.is_dir() {
        durable::paths_in(directory)
    } else {
        Ok(Vec::new())
    }
}

/// The newest folder of files of which some were finished.
fn newest_resumable(hidden: &Path) -> Result<Option<PathBuf>> {
    let mut newest: Option<PathBuf> = None;
    for path in durable::paths_in(hidden)? {
        let is_resumable =
            own_kind(&path) == Some(UNFINISHED) && ResumableRun::read(&path).is_some();
        if is_resumable && newest.as_ref().is_none_or(|newest| path > *newest) {
            newest = Some(path);
        }
    }
    Ok(newest)
}

#[cfg(test)]
#[path = "writer_tests.rs"]
mod tests;
