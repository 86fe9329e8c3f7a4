//! Writing a restore: shards are unpacked into a hidden folder of the data directory, then moved into place, the meta store
//! last. A journal says what was moved, so that a failed run is put back at once and a killed one by the next.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde::{Deserialize, Serialize};

use super::check::CheckedShard;
use super::plan::{NewMeta, Plan};
use super::target::{self, Ownership};
use super::{IndexKind, RestoreOptions};
use crate::cancel::Cancel;
use crate::directory::{Contents, Lock, remove_if_there, sync_dir, write_whole};
use crate::error::Class;
use crate::format::shard_tar::{Member, Sink, scan};
use crate::ops::queue::{self, Turn};
use crate::progress::{Event, Outcome, Progress};

/// The hidden folder's name, in the data and the WAL directory, or in the meta directory where it is restored alone.
pub const STAGING: &str = ".snap-restore";

/// What a run moves; written before the first move, removed after the last.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Journal {
    moves: Vec<Move>,
    /// The meta store: its place, and where the one before it is kept.
    meta: Option<(PathBuf, Option<PathBuf>)>,
}

/// A directory that takes the place of another.
#[derive(Debug, Serialize, Deserialize)]
struct Move {
    /// Where it was prepared; `None` where the place is only cleared.
    new: Option<PathBuf>,
    /// Its place.
    place: PathBuf,
    /// Where what was there is kept.
    old: PathBuf,
}

/// Writes what was planned and checked.
///
/// # Errors
///
/// When the target cannot be written or a stop was asked for; the target is as before then.
pub fn write(
    contents: &Contents,
    plan: &Plan,
    shards: &[CheckedShard],
    options: &RestoreOptions,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<()> {
    let Some(home) = options.datadir.as_deref().or(options.metadir.as_deref()) else { return Ok(()) };
    let ownership = Ownership::below(home)?;
    create_dirs(home, &ownership)?;
    let staging = home.join(STAGING);
    crate::directory::create_private_dir(&staging)?;
    let _lock = Lock::take(&staging.join("lock"), Duration::ZERO, cancel)
        .with_context(|| Class::Locked.error(format!("another restore writes to {}", home.display())))?;
    let journal_path = staging.join("journal.json");
    recover(&journal_path, progress)?;
    let wal_staging = target::wal_dir(options).map(|wal| wal.join(STAGING));
    clear(&staging, wal_staging.as_deref())?;

    let writer = Writer { contents, options, ownership, staging: &staging, cancel, progress };
    let result = writer.unpack(shards).and_then(|()| {
        let journal = writer.journal(plan, shards, wal_staging.as_deref())?;
        write_whole(&journal_path, &serde_json::to_vec(&journal).context("encoding the journal")?)?;
        writer.install(&journal, plan.meta.as_ref()).inspect_err(|_| {
            // What cannot be put back now, the next run puts back: the journal stays.
            if roll_back(&journal).is_ok() {
                let _ = remove_if_there(&journal_path);
            }
        })?;
        remove_if_there(&journal_path)?;
        sync_dir(&staging)
    });
    let put_back = journal_path.exists();
    if !put_back {
        let _ = fs::remove_dir_all(&staging);
        let _ = wal_staging.map(fs::remove_dir_all);
    }
    result
}

/// Puts back what a killed run moved.
fn recover(journal_path: &Path, progress: &dyn Progress) -> Result<()> {
    let text = match fs::read(journal_path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        text => text.with_context(|| format!("reading {}", journal_path.display()))?,
    };
    let journal: Journal = serde_json::from_slice(&text).with_context(|| format!("reading {}", journal_path.display()))?;
    progress.report(&Event::Status("putting back what an interrupted restore had moved"));
    roll_back(&journal)?;
    remove_if_there(journal_path)
}

/// Empties the hidden folders, but for the lock.
fn clear(staging: &Path, wal_staging: Option<&Path>) -> Result<()> {
    for folder in [staging.join("new"), staging.join("old")].iter().map(PathBuf::as_path).chain(wal_staging) {
        match fs::remove_dir_all(folder) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("removing {}", folder.display()));
            }
            _ => {}
        }
    }
    Ok(())
}

fn roll_back(journal: &Journal) -> Result<()> {
    if let Some((place, old)) = &journal.meta {
        match old {
            Some(old) => write_whole(place, &fs::read(old).with_context(|| format!("reading {}", old.display()))?)?,
            None => remove_if_there(place)?,
        }
    }
    for moved in journal.moves.iter().rev() {
        let back = |from: &Path, to: &Path| {
            fs::rename(from, to).with_context(|| format!("moving {} back to {}", from.display(), to.display()))
        };
        // The new directory is in its place if it is no longer where it was prepared.
        if let Some(new) = &moved.new
            && !new.exists()
            && moved.place.exists()
        {
            back(&moved.place, new)?;
        }
        if moved.old.exists() {
            back(&moved.old, &moved.place)?;
        }
    }
    Ok(())
}

struct Writer<'a> {
    contents: &'a Contents,
    options: &'a RestoreOptions,
    ownership: Ownership,
    staging: &'a Path,
    cancel: &'a Cancel,
    progress: &'a dyn Progress,
}

impl Writer<'_> {
    /// Where shard number `index` is prepared.
    fn prepared(&self, index: usize) -> PathBuf {
        self.staging.join("new").join(index.to_string())
    }

    fn unpack(&self, shards: &[CheckedShard]) -> Result<()> {
        let tsi1 = target::wants_tsi1(self.options);
        if !shards.is_empty() && !tsi1 && self.options.index == IndexKind::Auto {
            self.progress.report(&Event::Detail(
                "the target has no tsi1 index, so the shards get none and open as inmem; for a server with index-version = \
                 \"tsi1\" give -index tsi1",
            ));
        }
        let bytes = shards.iter().map(CheckedShard::bytes).sum();
        self.progress.report(&Event::Shards { count: shards.len(), bytes: Some(bytes) });
        let stop = self.cancel.child();
        let jobs = shards.iter().enumerate().collect();
        let results = queue::work(jobs, self.options.jobs, &stop, |(index, shard): (usize, &CheckedShard)| {
            let begun = Instant::now();
            let (path, bytes) = (&shard.target, shard.bytes());
            self.progress.report(&Event::Started { shard: path, bytes: Some(bytes) });
            let result = self.unpack_shard(shard, &self.prepared(index), tsi1, &stop);
            let reason = result.as_ref().map_or_else(|error| format!("{error:#}"), |()| String::new());
            let outcome = match &result {
                Ok(()) => Outcome::Done { files: shard.files.len(), bytes },
                Err(_) => Outcome::Failed(&reason),
            };
            self.progress.report(&Event::Finished { shard: path, outcome, elapsed: begun.elapsed() });
            if result.is_err() {
                stop.cancel();
            }
            Turn::Done(result)
        });
        self.cancel.check()?;
        results.into_iter().collect()
    }

    fn unpack_shard(&self, shard: &CheckedShard, directory: &Path, tsi1: bool, stop: &Cancel) -> Result<()> {
        create_dirs(directory, &self.ownership)?;
        for (source, file) in shard.sources.iter().enumerate() {
            let path = self.contents.path_of(&file.name);
            let mut sink = Unpacking { shard, source, directory, writer: self, stop, file: None };
            let opened = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
            scan(opened, &shard.source, &mut sink)
                .map_err(anyhow::Error::from)
                .and_then(|result| Ok(result?))
                .with_context(|| format!("unpacking {} into {}", path.display(), directory.display()))?;
        }
        if tsi1 {
            create_dirs(&directory.join("index"), &self.ownership)?;
        }
        sync_dir(directory)
    }

    fn journal(&self, plan: &Plan, shards: &[CheckedShard], wal_staging: Option<&Path>) -> Result<Journal> {
        let mut journal = Journal::default();
        for (index, shard) in shards.iter().enumerate() {
            let number = index.to_string();
            if let Some(datadir) = &self.options.datadir {
                let place = target::shard_dir(datadir, &shard.target);
                let old = self.staging.join("old").join(&number);
                journal.moves.push(Move { new: Some(self.prepared(index)), place, old });
            }
            if let (Some(wal), Some(staging)) = (target::wal_dir(self.options), wal_staging) {
                let place = target::shard_dir(&wal, &shard.target);
                if place.exists() {
                    journal.moves.push(Move { new: None, place, old: staging.join(number) });
                }
            }
        }
        if let (Some(meta), Some(metadir)) = (&plan.meta, &self.options.metadir) {
            let place = metadir.join("meta.db");
            let old = self.staging.join("old").join("meta.db");
            if meta.replaces {
                create_dirs(&self.staging.join("old"), &self.ownership)?;
                fs::copy(&place, &old).with_context(|| format!("copying {} to {}", place.display(), old.display()))?;
            }
            journal.meta = Some((place, meta.replaces.then_some(old)));
        }
        Ok(journal)
    }

    fn install(&self, journal: &Journal, meta: Option<&NewMeta>) -> Result<()> {
        for moved in &journal.moves {
            self.cancel.check()?;
            let parent = moved.place.parent().unwrap_or(Path::new("."));
            create_dirs(parent, &self.ownership)?;
            if moved.place.exists() {
                create_dirs(moved.old.parent().unwrap_or(Path::new(".")), &self.ownership)?;
                fs::rename(&moved.place, &moved.old)
                    .with_context(|| format!("moving {} to {}", moved.place.display(), moved.old.display()))?;
            }
            if let Some(new) = &moved.new {
                fs::rename(new, &moved.place)
                    .with_context(|| format!("moving {} to {}", new.display(), moved.place.display()))?;
            }
            sync_dir(parent)?;
        }
        let (Some(meta), Some(metadir)) = (meta, &self.options.metadir) else { return Ok(()) };
        let ownership = Ownership::below(metadir)?;
        create_dirs(metadir, &ownership)?;
        // influxd's restore leaves this file too, and its server reads it.
        for (name, content) in [("node.json", &meta.node), ("meta.db", &meta.bytes)] {
            let path = metadir.join(name);
            write_whole(&path, content)?;
            ownership.apply(&path, false).with_context(|| format!("setting owner and mode of {}", path.display()))?;
        }
        Ok(())
    }
}

/// Unpacks from one tar the files that are to come from it.
struct Unpacking<'a> {
    shard: &'a CheckedShard,
    source: usize,
    directory: &'a Path,
    writer: &'a Writer<'a>,
    stop: &'a Cancel,
    file: Option<(File, PathBuf)>,
}

impl Sink for Unpacking<'_> {
    fn begin(&mut self, member: &Member) -> io::Result<()> {
        let wanted = self.shard.files.get(&member.name).is_some_and(|file| file.source == self.source);
        if member.directory || !wanted {
            return Ok(());
        }
        let path = self.directory.join(&member.name);
        if let Some(parent) = path.parent() {
            create_dirs(parent, &self.writer.ownership).map_err(io::Error::other)?;
        }
        self.file = Some((File::create(&path)?, path));
        Ok(())
    }

    fn data(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.stop.check().map_err(io::Error::other)?;
        if let Some((file, _)) = &mut self.file {
            file.write_all(chunk)?;
            self.writer.progress.report(&Event::Bytes { shard: &self.shard.target, count: chunk.len() as u64 });
        }
        Ok(())
    }

    fn end(&mut self) -> io::Result<()> {
        let Some((file, path)) = self.file.take() else { return Ok(()) };
        file.sync_all()?;
        self.writer.ownership.apply(&path, false)
    }
}

/// Makes a directory and those above it; those it made get owner and mode.
fn create_dirs(path: &Path, ownership: &Ownership) -> Result<()> {
    let absent: Vec<&Path> =
        path.ancestors().take_while(|ancestor| !ancestor.as_os_str().is_empty() && !ancestor.exists()).collect();
    for directory in absent.into_iter().rev() {
        match fs::create_dir(directory) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(error).with_context(|| format!("creating {}", directory.display()));
            }
            _ => {}
        }
        ownership.apply(directory, true).with_context(|| format!("setting owner and mode of {}", directory.display()))?;
    }
    Ok(())
}
