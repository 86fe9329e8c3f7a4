//! What a run that ended before its time had finished: shards that the next one can take over.
//!
//! `finished` in the folder of a run's files, a JSON document a line, and empty lines between:
//! first the [`Run`], then a [`ShardRecord`] for each shard that is complete, with the name its
//! file has in that folder. A file counts only if it still is what its line says; of a shard with
//! several lines, the last counts. The run that takes over goes on in the same folder and file,
//! with a line for itself before those of the shards that it finishes, or finds unchanged.

use std::collections::HashSet;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::record::{FileRecord, Layout, Selection, ShardRecord};
use crate::io::durable;
use crate::io::open::{open_regular, open_regular_with};
use crate::shard::ShardPath;

/// The file's name.
const NAME: &str = "finished";

/// Bytes of it that are read: the lines of a hundred thousand shards and more.
const LARGEST: u64 = 256 << 20;

/// How the names of files begin that runs have not finished.
pub(super) const TEMPORARY: &str = ".tmp";

/// A run, as far as another has to be like it to take over what it had finished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Run {
    /// When it was begun.
    pub started: Timestamp,
    /// The random number of the server's meta store.
    pub cluster_id: u64,
    /// How the files are laid out.
    pub layout: Layout,
    /// What is taken.
    pub selection: Selection,
}

/// What another run had finished.
#[derive(Debug)]
pub struct ResumableRun {
    folder: PathBuf,
    /// The first of the runs that led to it; the others are alike.
    pub run: Run,
    /// With the time at which the run was begun that finished each.
    shards: Vec<(ShardRecord, Timestamp)>,
}

/// A shard that another run had finished.
#[derive(Debug, Clone)]
pub struct FinishedShard<'a> {
    /// Where its file is.
    pub path: PathBuf,
    /// What is in the file.
    pub record: &'a ShardRecord,
    /// When the run was begun that finished it, or that found it unchanged.
    pub started: Timestamp,
}

impl ResumableRun {
    /// Reads what there is in the folder of a run's files; nothing where nothing was finished.
    pub(super) fn read(folder: &Path) -> Option<Self> {
        let file = open_regular(&folder.join(NAME)).ok()?;
        let lines = BufReader::new(file.take(LARGEST)).lines();
        let mut lines = lines
            .map_while(io::Result::ok)
            .filter(|line| !line.is_empty());
        let run: Run = serde_json::from_str(&lines.next()?).ok()?;
        let mut started = run.started;
        let mut shards: Vec<(ShardRecord, Timestamp)> = Vec::new();
        // Of runs that were killed, the last line may be cut off.
        for line in lines {
            if let Ok(shard) = serde_json::from_str::<ShardRecord>(&line) {
                if shard.file.as_ref().is_none_or(is_of_a_run) {
                    shards.push((shard, started));
                }
            } else if let Ok(next) = serde_json::from_str::<Run>(&line) {
                started = next.started;
            }
        }
        (!shards.is_empty()).then(|| Self {
            folder: folder.to_owned(),
            run,
            shards,
        })
    }

    /// Removes the files that were not finished, and take room.
    pub(super) fn remove_unfinished(&self) -> Result<()> {
        let shards = self.shards.iter();
        let finished = shards.filter_map(|(shard, _)| Some(shard.file.as_ref()?.name.as_str()));
        self.remove_but(finished.collect())
    }

    /// Removes all files but those, which take room.
    ///
    /// # Errors
    ///
    /// When one cannot be removed.
    pub fn keep_only(&self, paths: &[PathBuf]) -> Result<()> {
        let names = paths
            .iter()
            .filter_map(|path| path.file_name().and_then(OsStr::to_str));
        self.remove_but(names.collect())
    }

    fn remove_but(&self, mut kept: HashSet<&str>) -> Result<()> {
        kept.insert(NAME);
        for path in durable::paths_in(&self.folder)? {
            if !path
                .file_name()
                .and_then(OsStr::to_str)
                .is_some_and(|name| kept.contains(name))
            {
                match fs::symlink_metadata(&path) {
                    Ok(there) if there.is_dir() => durable::remove_tree_if_there(&path)?,
                    _ => durable::remove_if_there(&path)?,
                }
            }
        }
        Ok(())
    }

    /// A shard of which there is a file, of the size that it had.
    pub fn shard(&self, shard: &ShardPath) -> Option<FinishedShard<'_>> {
        let mut shards = self.shards.iter().rev();
        let (record, started) = shards.find(|(record, _)| record.is(shard))?;
        let file = record.file.as_ref()?;
        let path = self.folder.join(&file.name);
        let is_as_long = fs::symlink_metadata(&path)
            .is_ok_and(|there| there.is_file() && there.len() == file.size);
        is_as_long.then_some(FinishedShard {
            path,
            record,
            started: *started,
        })
    }
}

/// Whether a file is called as runs call those they have not finished: no name leads out of the
/// folder.
fn is_of_a_run(file: &FileRecord) -> bool {
    let random = file.name.strip_prefix(TEMPORARY);
    random.is_some_and(|random| random.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Writes down what is finished.
#[derive(Debug)]
pub(super) struct ResumeLog {
    folder: PathBuf,
}

impl ResumeLog {
    pub(super) fn new(folder: &Path) -> Self {
        Self {
            folder: folder.to_owned(),
        }
    }

    /// Adds a line. It need not last: where it is lost, so is what it tells of.
    pub(super) fn add(&self, line: &impl Serialize) -> Result<()> {
        let path = self.folder.join(NAME);
        // The line before it may have been cut off.
        let text = format!("\n{}\n", serde_json::to_string(line)?);
        let file = open_regular_with(durable::private_file().append(true), &path);
        file.and_then(|mut file| file.write_all(text.as_bytes()))
            .with_context(|| format!("writing {}", path.display()))
    }
}
