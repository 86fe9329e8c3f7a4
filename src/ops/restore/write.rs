//! Writing a restore: shards are unpacked into hidden folders, then moved into place, the meta store last. A journal says what was
//! moved, so that a failed run is put back at once and a killed one by the next.

use std::collections::BTreeSet;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};

use super::RestoreOptions;
use super::check::{CheckedShard, ShardFile};
use super::journal::{
    JOURNAL, Journal, META_FILES, Move, Replaced, Targets, folder, refuse_foreign_links,
    write_owned,
};
use super::plan::{NewMeta, Plan};
use super::rewrite::{Left, rewrite};
use super::staging::{STAGING, remove_inner, staging_for};
use super::target;
use crate::cancel::Cancel;
use crate::error::ErrorKind;
use crate::influxd_dir::{Ownership, shard_dir};
use crate::io::durable::{self, WriteBack};
use crate::io::open::read_bounded;
use crate::ops::queue::{self, Turn};
use crate::progress::{Event, Outcome, Progress};
use crate::repository::{Catalog, Lock};
use crate::shard_tar::ShardTarReader;
use crate::wire::MAX_META_BYTES;

/// Bytes unpacked at a time.
const CHUNK: usize = 256 << 10;

/// Writes what was planned and checked, and says what the shards hold now.
///
/// # Errors
///
/// When the target cannot be written or a stop was asked for; the target is as before then.
pub fn write(
    contents: &Catalog,
    plan: &Plan,
    shards: &[CheckedShard],
    options: &RestoreOptions,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<Left> {
    let Some(home) = options.home() else {
        return Ok(Left::default());
    };
    let ownership = Ownership::below(home)?;
    ownership.create_dirs(home)?;
    let staging = home.join(STAGING);
    let _lock = lock(&staging, cancel, progress)?;
    refuse_links(shards, options)?;
    let journal_path = staging.join(JOURNAL);
    let wal_staging = target::wal_dir(options).map(|wal| wal.join(STAGING));

    // Nobody's any more: a run that was killed at its very end may have left it, and nothing in it is to be moved back.
    remove_other_staging(options, wal_staging.as_deref())?;

    let writer = Writer {
        contents,
        options,
        ownership,
        staging: &staging,
        stagings: stagings(shards, options, &staging)?,
        cancel,
        progress,
    };
    let result = writer.unpack(shards).and_then(|left| {
        // Under the lock, once more: what was looked at may have changed while the backup was read.
        target::refuse_running(options)?;
        target::refuse_data(shards.iter().map(|shard| &shard.target), options)?;
        writer.refuse_changed_meta(plan)?;
        let journal = writer.journal(plan, shards)?;
        durable::write_whole_by(&journal_path, |out| {
            serde_json::to_writer(out, &journal).map_err(io::Error::from)
        })?;
        let installed = writer
            .install(&journal, plan.meta.as_ref())
            .and_then(|()| durable::remove_if_there(&journal_path));
        installed.inspect_err(|_| {
            // What cannot be put back now, the next run puts back: the journal stays.
            if journal.roll_back().is_ok() {
                let _ = durable::remove_if_there(&journal_path);
            }
        })?;
        if let Err(error) = durable::sync_dir(&staging) {
            // The journal may be back after a power failure, and then needs what was moved away.
            return Ok(Err(error.context(
                "all is in its place, but may not outlast a power failure",
            )));
        }
        Ok(Ok(left))
    });
    let may_need_old = journal_path.exists() || matches!(result, Ok(Err(_)));
    if !may_need_old {
        let _ = remove_staging(options, &staging, wal_staging.as_deref());
    }
    result?
}

/// Where each of the shards is prepared.
fn stagings(
    shards: &[CheckedShard],
    options: &RestoreOptions,
    home: &Path,
) -> Result<Vec<PathBuf>> {
    let Some(datadir) = &options.datadir else {
        return Ok(vec![home.to_owned(); shards.len()]);
    };
    shards
        .iter()
        .map(|shard| staging_for(datadir, &shard_dir(datadir, &shard.target)))
        .collect()
}

/// Claims and locks the folder of the journal.
fn lock(staging: &Path, cancel: &Cancel, progress: &dyn Progress) -> Result<Lock> {
    durable::claim_private_dir(staging)?;
    let lock = Lock::take(&staging.join("lock"), Duration::ZERO, cancel)?;
    for warning in lock.warnings() {
        progress.report(&Event::Warning(warning));
    }
    Ok(lock)
}

/// Refuses links on the way to where shards are to go that somebody else made.
fn refuse_links(shards: &[CheckedShard], options: &RestoreOptions) -> Result<()> {
    let waldir = target::wal_dir(options);
    for root in [&options.datadir, &waldir].into_iter().flatten() {
        for shard in shards {
            refuse_foreign_links(root, &shard_dir(root, &shard.target))?;
        }
    }
    Ok(())
}

/// Puts back what a killed run had moved, and clears away what it had prepared.
///
/// # Errors
///
/// [`ErrorKind::Locked`] when that run still goes on.
pub fn recover(options: &RestoreOptions, cancel: &Cancel, progress: &dyn Progress) -> Result<()> {
    let Some(staging) = options
        .home()
        .map(|home| home.join(STAGING))
        .filter(|staging| staging.is_dir())
    else {
        return Ok(());
    };
    let _lock = lock(&staging, cancel, progress)?;
    if options.dry_run {
        progress.report(&Event::Warning(
            "an interrupted restore left its files here; a run without -dry-run puts them back",
        ));
        return Ok(());
    }
    let journal_path = staging.join(JOURNAL);
    if let Some(journal) = Journal::read(&journal_path, &Targets::of(options))? {
        if let Some(used) = journal.used() {
            let place = used.display();
            return Err(ErrorKind::Refused
                .error(format!(
                    "an interrupted restore left its journal, and {place} was changed since"
                ))
                .hint(format!(
                    "to keep what is there now, remove {}",
                    staging.display()
                ))
                .into());
        }
        progress.report(&Event::Status(
            "putting back what an interrupted restore had moved",
        ));
        journal.roll_back()?;
        durable::remove_if_there(&journal_path)?;
        durable::sync_dir(&staging)?;
    }
    if let Some(metadir) = options.metadir.as_ref().filter(|metadir| metadir.is_dir()) {
        durable::remove_unfinished(metadir)?;
    }
    remove_staging(
        options,
        &staging,
        target::wal_dir(options)
            .map(|wal| wal.join(STAGING))
            .as_deref(),
    )
}

/// Removes the hidden folders; that of the journal last, because without it nobody looks for the others.
fn remove_staging(
    options: &RestoreOptions,
    staging: &Path,
    wal_staging: Option<&Path>,
) -> Result<()> {
    remove_other_staging(options, wal_staging)?;
    durable::remove_tree_if_there(staging)
}

/// Removes the hidden folders but that of the journal.
fn remove_other_staging(options: &RestoreOptions, wal_staging: Option<&Path>) -> Result<()> {
    let wal = wal_staging.and_then(Path::parent);
    for below in options.datadir.as_deref().into_iter().chain(wal) {
        remove_inner(below)?;
    }
    wal_staging.map_or(Ok(()), durable::remove_tree_if_there)
}

struct Writer<'a> {
    contents: &'a Catalog,
    options: &'a RestoreOptions,
    ownership: Ownership,
    /// The folder of the journal.
    staging: &'a Path,
    /// Where each shard is prepared.
    stagings: Vec<PathBuf>,
    cancel: &'a Cancel,
    progress: &'a dyn Progress,
}

impl Writer<'_> {
    /// Where shard number `index` is prepared.
    fn prepared(&self, index: usize) -> PathBuf {
        self.stagings[index].join("new").join(folder(index))
    }

    fn unpack(&self, shards: &[CheckedShard]) -> Result<Left> {
        let others: BTreeSet<&PathBuf> = self.stagings.iter().collect();
        for staging in others.into_iter().filter(|other| *other != self.staging) {
            durable::claim_private_dir(staging)?;
        }
        let tsi1 = target::wants_tsi1(self.options);
        let bytes = shards.iter().map(CheckedShard::bytes).sum();
        self.progress.report(&Event::Shards {
            count: shards.len(),
            bytes: Some(bytes),
        });
        let stop = self.cancel.child();
        let jobs = shards.iter().enumerate().collect();
        let results = queue::work(
            jobs,
            self.options.jobs,
            &stop,
            |(index, shard): (usize, &CheckedShard)| {
                let begun = Instant::now();
                let (path, bytes) = (&shard.target, shard.bytes());
                self.progress.report(&Event::Started {
                    shard: path,
                    bytes: Some(bytes),
                });
                let result = self.unpack_shard(shard, &self.prepared(index), tsi1, &stop);
                match &result {
                    Ok(left) => {
                        let outcome = Outcome::Done {
                            files: left.files,
                            bytes: left.bytes,
                        };
                        self.progress.report(&Event::Finished {
                            shard: path,
                            outcome,
                            elapsed: begun.elapsed(),
                        });
                    }
                    Err(_) => stop.cancel(),
                }
                Turn::Done(result)
            },
        );
        self.cancel.check()?;
        let all = queue::all(results)?.into_iter();
        Ok(all.fold(Left::default(), |all, one| Left {
            files: all.files + one.files,
            bytes: all.bytes + one.bytes,
        }))
    }

    fn unpack_shard(
        &self,
        shard: &CheckedShard,
        directory: &Path,
        tsi1: bool,
        stop: &Cancel,
    ) -> Result<Left> {
        self.ownership.create_dirs(directory)?;
        for (source, file) in shard.sources.iter().enumerate() {
            let path = self.contents.path_of(&file.name);
            let count = self
                .unpack_tar(shard, source, directory, stop)
                .with_context(|| {
                    format!("unpacking {} into {}", path.display(), directory.display())
                })?;
            let expected = shard
                .files
                .iter()
                .filter(|(_, file)| file.source == source)
                .count();
            ensure!(
                count >= expected,
                "{} lacks files that it had a moment ago",
                path.display()
            );
        }
        let apply_deletes = self.options.apply_deletes;
        let left = rewrite(shard, directory, apply_deletes, &self.ownership, stop)?;
        if tsi1 {
            self.ownership.create_dirs(&directory.join("index"))?;
        }
        durable::sync_dir(directory)?;
        Ok(left)
    }

    /// Unpacks from one tar the files that are to come from it; how many those were.
    fn unpack_tar(
        &self,
        shard: &CheckedShard,
        source: usize,
        directory: &Path,
        stop: &Cancel,
    ) -> Result<usize> {
        let tar = self.contents.open(&shard.sources[source], |file| file)?;
        let mut reader = ShardTarReader::new(tar, &shard.source);
        let mut count = 0;
        while let Some(member) = reader.next_member().map_err(io::Error::from)? {
            let wanted = shard.files.get(&member.name);
            let wanted = wanted.filter(|file| file.source == source && !member.directory);
            match wanted {
                Some(checked) => {
                    let path = directory.join(&member.name);
                    self.unpack_file(&mut reader, shard, &path, checked, stop)?;
                    count += 1;
                }
                None => stop.check()?,
            }
        }
        reader.finish().map_err(io::Error::from)?;
        Ok(count)
    }

    fn unpack_file(
        &self,
        reader: &mut ShardTarReader<impl Read>,
        shard: &CheckedShard,
        path: &Path,
        checked: &ShardFile,
        stop: &Cancel,
    ) -> Result<()> {
        if let Some(parent) = path.parent() {
            self.ownership.create_dirs(parent)?;
        }
        let mut file = durable::private_file().truncate(true).open(path)?;
        let mut write_back = WriteBack::default();
        let mut crc = crc32fast::Hasher::new();
        let mut buffer = vec![0; CHUNK];
        loop {
            stop.check()?;
            let count = reader.read_content(&mut buffer).map_err(io::Error::from)?;
            if count == 0 {
                break;
            }
            file.write_all(&buffer[..count])?;
            write_back.wrote(&file, count);
            crc.update(&buffer[..count]);
            self.progress.report(&Event::Bytes {
                shard: &shard.target,
                count: count as u64,
            });
        }
        ensure!(
            crc.finalize() == checked.crc,
            "{} is not what was checked a moment ago",
            path.display()
        );
        self.ownership.give(&file, false)?;
        durable::sync(&file, path)
    }

    /// Refuses a meta store that is no longer the one that was planned with.
    fn refuse_changed_meta(&self, plan: &Plan) -> Result<()> {
        let (Some(meta), Some(metadir)) = (&plan.meta, &self.options.metadir) else {
            return Ok(());
        };
        let path = metadir.join("meta.db");
        if read_bounded(&path, MAX_META_BYTES).ok() == meta.replaces {
            return Ok(());
        }
        Err(ErrorKind::Refused
            .error(format!(
                "{} was changed while the backup was read",
                path.display()
            ))
            .hint("try again")
            .into())
    }

    fn journal(&self, plan: &Plan, shards: &[CheckedShard]) -> Result<Journal> {
        let mut journal = Journal::default();
        for (index, shard) in shards.iter().enumerate() {
            let number = folder(index);
            if let Some(datadir) = &self.options.datadir {
                let place = shard_dir(datadir, &shard.target);
                let old = self.stagings[index].join("old").join(&number);
                journal.moves.push(Move {
                    new: Some(self.prepared(index)),
                    replaces: place.exists(),
                    place,
                    old,
                });
            }
            if let Some(wal) = target::wal_dir(self.options) {
                let place = shard_dir(&wal, &shard.target);
                journal.moves.push(Move {
                    new: None,
                    replaces: place.exists(),
                    old: staging_for(&wal, &place)?.join(number),
                    place,
                });
            }
        }
        if let (Some(meta), Some(metadir)) = (&plan.meta, &self.options.metadir) {
            for (name, content) in META_FILES.iter().zip([&meta.node, &meta.bytes]) {
                let place = metadir.join(name);
                let there = match read_bounded(&place, MAX_META_BYTES) {
                    Err(error) if error.kind() == io::ErrorKind::NotFound => None,
                    read => Some(read.with_context(|| format!("reading {}", place.display()))?),
                };
                let old = there.is_some().then(|| self.staging.join("old").join(name));
                if let (Some(old), Some(there)) = (&old, there) {
                    durable::create_private_dir(&self.staging.join("old"))?;
                    durable::write_whole(old, &there)?;
                }
                journal.files.push(Replaced {
                    place,
                    old,
                    crc: crc32fast::hash(content),
                });
            }
        }
        Ok(journal)
    }

    fn install(&self, journal: &Journal, meta: Option<&NewMeta>) -> Result<()> {
        for moved in journal
            .moves
            .iter()
            .filter(|moved| moved.new.is_some() || moved.place.exists())
        {
            self.cancel.check()?;
            let parent = moved.place.parent().unwrap_or(Path::new("."));
            self.ownership.create_dirs(parent)?;
            if moved.place.exists() {
                // Where there is a folder of that name in the WAL directory, this run made it.
                durable::claim_private_dir(moved.old.parent().unwrap_or(Path::new(".")))?;
                durable::rename(&moved.place, &moved.old)?;
            }
            if let Some(new) = &moved.new {
                durable::rename(new, &moved.place)?;
            }
            durable::sync_dir(parent)?;
        }
        let (Some(meta), Some(metadir)) = (meta, &self.options.metadir) else {
            return Ok(());
        };
        Ownership::below(metadir)?.create_dirs(metadir)?;
        for (name, content) in META_FILES.iter().zip([&meta.node, &meta.bytes]) {
            write_owned(&metadir.join(name), content)?;
        }
        Ok(())
    }
}
