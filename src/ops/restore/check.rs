//! Reading every file of a backup before anything is written: framing, names, TSM files, SHA-256; and deciding which file
//! each of a shard's files comes from.

use std::collections::{BTreeMap, BTreeSet};
use std::io;

use anyhow::{Context, Result};

use super::source::PlannedShard;
use super::summed::Summed;
use crate::cancel::Cancel;
use crate::directory::{BackupFile, Contents};
use crate::error::Class;
use crate::format::shard_tar::{Ending, Member};
use crate::ops::members::{Passed, is_of_system, visit, visit_in_place};
use crate::ops::passing::Passing;
use crate::ops::queue::{self, Turn};
use crate::ops::scratch::{scratch_dir, scratch_fault};
use crate::progress::{Event, Progress, Silent};
use crate::time::Bounds;
use crate::tsm::check as deep;
use crate::tsm::index::{FromStart, IndexError, IndexWalk, ReadAt};
use crate::tsm::{is_tombstone, stem, tombstone};
use crate::wire::ShardPath;

/// A shard whose files were read and found whole.
pub struct CheckedShard {
    /// What it is called in the backup.
    pub source: ShardPath,
    /// What it is called in the target.
    pub target: ShardPath,
    /// The tars it is put together from, oldest first.
    pub sources: Vec<BackupFile>,
    /// What the shard's directory will hold.
    pub files: ShardFiles,
    /// The times of the points that are restored, where the shard can have others.
    pub cut: Option<Bounds>,
}

/// Files by name. There may be many shards with a few files each, so this is small where a tree is not.
pub struct ShardFiles(Box<[(Box<str>, ShardFile)]>);

impl ShardFiles {
    fn of(files: BTreeMap<String, ShardFile>) -> Self {
        Self(
            files
                .into_iter()
                .map(|(name, file)| (name.into_boxed_str(), file))
                .collect(),
        )
    }

    /// The file of that name.
    pub fn get(&self, name: &str) -> Option<&ShardFile> {
        let at = self
            .0
            .binary_search_by(|(known, _)| known.as_ref().cmp(name))
            .ok()?;
        Some(&self.0[at].1)
    }

    /// All files with their names, in order of these.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &ShardFile)> {
        self.0.iter().map(|(name, file)| (name.as_ref(), file))
    }

    /// Whether some of what is in them was deleted.
    pub fn have_deletes(&self) -> bool {
        self.iter().any(|(name, _)| is_tombstone(name))
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }
}

/// A file that a shard's directory will hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShardFile {
    /// Which of the sources it comes from.
    pub source: usize,
    /// Bytes.
    pub size: u64,
    /// CRC-32 of its content.
    pub crc: u32,
}

impl CheckedShard {
    /// Bytes of all its files.
    pub fn bytes(&self) -> u64 {
        self.files.iter().map(|(_, file)| file.size).sum()
    }
}

/// What is done with the files of a backup.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Use {
    /// Files of a tsi1 index, which servers 1.3 and 1.4 send too, are left out.
    pub leave_index: bool,
    /// Deletes are carried out on the TSM files, whose blocks are looked into for that.
    pub carry_out_deletes: bool,
}

/// Checks all files of the shards, as far as their use asks for it.
///
/// # Errors
///
/// [`Class::Damage`] with the file and the offset of the first fault found.
pub fn check(
    contents: &Contents,
    planned: Vec<PlannedShard>,
    used: Use,
    jobs: usize,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<Vec<CheckedShard>> {
    let bytes: u64 = planned
        .iter()
        .flat_map(|shard| &shard.chain)
        .map(|file| file.size)
        .fold(0, u64::saturating_add);
    if !planned.is_empty() {
        progress.report(&Event::Status(&format!(
            "checking {} shard(s)",
            planned.len()
        )));
    }
    progress.report(&Event::Detail(&format!(
        "reading {bytes} bytes before anything is written"
    )));
    let stop = cancel.child();
    let results = queue::work(planned, jobs, &stop, |shard: PlannedShard| {
        Turn::Done(check_shard(contents, shard, used, &stop).inspect_err(|_| stop.cancel()))
    });
    cancel.check()?;
    let mut checked = queue::all(results)?;
    checked.sort_by(|a, b| a.source.cmp(&b.source));
    Ok(checked)
}

fn check_shard(
    contents: &Contents,
    shard: PlannedShard,
    used: Use,
    stop: &Cancel,
) -> Result<CheckedShard> {
    let mut files: BTreeMap<String, ShardFile> = BTreeMap::new();
    for (source, file) in shard.chain.iter().enumerate() {
        let newer = check_file(contents, file, &shard.source, shard.cut.is_some(), stop)?;
        for (name, size, crc) in &newer {
            if used.leave_index && name.starts_with("index/") {
                continue;
            }
            let file = ShardFile {
                source,
                size: *size,
                crc: *crc,
            };
            files.insert(name.clone(), file);
            // A tombstone belongs to the TSM file it was written for, not to a later one of the same name, which may even have
            // the same bytes. A server that sends a file sends its tombstone too, which is newer.
            if let Some(stem) = name.strip_suffix(".tsm") {
                let tombstone = format!("{stem}.tombstone");
                if files
                    .get(&tombstone)
                    .is_some_and(|old| old.source != source)
                {
                    files.remove(&tombstone);
                }
            }
        }
        // Nor to one that comes later, where its own was left out: a server would apply it to its next file of that name.
        let stems: BTreeSet<String> = files
            .keys()
            .filter_map(|name| Some(name.strip_suffix(".tsm")?.to_owned()))
            .collect();
        files.retain(|name, _| !is_tombstone(name) || stems.contains(stem(name)));
    }
    let files = ShardFiles::of(files);
    if used.carry_out_deletes && files.have_deletes() && shard.cut.is_none() {
        // Their blocks were not looked into where a sum over the whole file was recorded.
        for file in shard
            .chain
            .iter()
            .filter(|file| contents.sets()[file.set].record.is_some())
        {
            check_file(contents, file, &shard.source, true, stop)?;
        }
    }
    let PlannedShard {
        source,
        target,
        chain: sources,
        cut,
    } = shard;
    Ok(CheckedShard {
        source,
        target,
        sources,
        files,
        cut,
    })
}

/// Reads one tar to its end; its regular files with size and CRC-32, in the order of the tar. `look_into`: every block of its
/// TSM files too, which is done anyway where nothing was recorded of it.
fn check_file(
    contents: &Contents,
    file: &BackupFile,
    shard: &ShardPath,
    look_into: bool,
    stop: &Cancel,
) -> Result<Vec<(String, u64, u32)>> {
    let path = contents.path_of(&file.name);
    let damaged = |why: String| {
        Class::Damage
            .error(format!("{} is damaged: {why}", path.display()))
            .hint("nothing was written; take another backup or set")
    };
    let set = &contents.sets()[file.set];
    let recorded = set
        .record
        .as_ref()
        .and_then(|record| record.shard(shard)?.file.as_ref());
    let opened = contents.open_file(&file.name)?;
    let mut tar = contents.open(file, |file| {
        Passing::new(file, recorded.is_some(), shard, stop, &Silent)
    })?;
    let listed = set
        .manifest
        .as_ref()
        .and_then(|manifest| manifest.entries().iter().find(|entry| entry.is_of(shard)));
    let mut files = Vec::new();
    let each = |passed: &Passed<'_>| -> io::Result<()> {
        let summed = Summed::new(passed.content, stop);
        let content = if passed.crc.is_some() {
            passed.content
        } else {
            &summed
        };
        if passed.member.is_tsm() {
            // What was recorded has a sum over all of it. Where nothing was, blocks may be damaged too.
            let refuse = if set.record.is_some() && !look_into {
                refuse_damaged_index
            } else {
                refuse_damaged
            };
            refuse(passed.member, content)?;
        } else if passed.member.is_tombstone() {
            let read = tombstone::read(FromStart::new(content), |_| {});
            read.map_err(|error| {
                io::Error::new(
                    error.kind(),
                    format!("{} is no tombstone file: {error}", passed.member.name),
                )
            })?;
        }
        let crc = passed.crc.map_or_else(|| summed.crc(), Ok)?;
        files.push((passed.member.name.clone(), passed.member.size, crc));
        Ok(())
    };
    let wants = |member: &Member| !member.directory;
    let outcome = match recorded {
        // Looking into the blocks reads all of a file, and no sum over the tar asks for that to be done twice.
        None if !file.packed => visit_in_place(&opened, shard, wants, each),
        _ => visit(
            &mut tar,
            (!file.packed).then_some(&opened),
            &scratch_dir(),
            listed.map(|listed| listed.size),
            shard,
            wants,
            each,
        ),
    };
    let failed = match &outcome {
        Ok(result) => result.as_ref().err().and_then(|error| scratch_fault(error)),
        Err(error) => scratch_fault(error.as_ref()),
    };
    if let Some(fault) = failed {
        return Err(fault.into());
    }
    let (ending, count) = match outcome {
        Ok(Ok(whole)) => whole,
        Ok(Err(error)) if is_of_system(&error) => {
            return Err(error).with_context(|| format!("reading {}", path.display()));
        }
        Ok(Err(error)) => {
            stop.check()?;
            return Err(damaged(format!("{:#}", anyhow::Error::new(error))).into());
        }
        Err(error) => {
            stop.check()?;
            // What gzip has to complain of, and not what the disk has.
            if file.packed && !error.chain().any(is_of_system) {
                return Err(damaged(format!(
                    "about offset {} of the compressed file: {error:#}",
                    tar.inner().count()
                ))
                .into());
            }
            return Err(error).with_context(|| format!("reading {}", path.display()));
        }
    };
    if ending == Ending::Nothing {
        return Err(damaged("it is empty".to_owned()).into());
    }
    if let Some(listed) = listed.filter(|listed| listed.size != count) {
        return Err(damaged(format!(
            "it holds a tar of {count} bytes, of {} by the manifest",
            listed.size
        ))
        .into());
    }
    if tar.inner().sha256() != recorded.map(|recorded| recorded.sha256.clone()) {
        return Err(damaged(format!(
            "it is not what set {} recorded: SHA-256 differs",
            set.id
        ))
        .into());
    }
    Ok(files)
}

/// Refuses a TSM file in which not all is as it should be. influxd would take it, and not say what is missing.
fn refuse_damaged(member: &Member, content: &dyn ReadAt) -> io::Result<()> {
    let mut first = None;
    let report = deep::check(content, None, &mut |finding| {
        first.get_or_insert_with(|| finding.to_string());
    });
    match (report, first) {
        (Ok(_), None) => Ok(()),
        (Ok(_), Some(first)) => Err(invalid(format!("{}, {first}", member.name))),
        (Err(IndexError::Read { source, .. }), _) => Err(source),
        (Err(error), _) => Err(invalid(format!("{} is {error}", member.name))),
    }
}

/// Refuses a TSM file whose index cannot be walked.
fn refuse_damaged_index(member: &Member, content: &dyn ReadAt) -> io::Result<()> {
    match IndexWalk::open(content).and_then(IndexWalk::to_end) {
        Err(IndexError::Read { source, .. }) => Err(source),
        Err(error) => Err(invalid(format!("{} is {error}", member.name))),
        Ok(()) => Ok(()),
    }
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}
