//! What a run that ended before its time had finished: shards that the next one can take over.
//!
//! `finished` in the folder of a run's files, a JSON document a line, and empty lines between:
//! first the [`RunHeader`], then a [`ShardRecord`] for each shard that is complete, with the name its
//! file has in that folder. A file counts only if it still is what its line says; of a shard with
//! several lines, the last counts. The run that takes over goes on in the same folder and file,
//! with a line for itself before those of the shards that it finishes, or finds unchanged.

use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;

use anyhow::Result;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::hidden::TEMPORARY;
use super::record::{FileRecord, Layout, Selection, ShardRecord};
use super::set_id::SetId;
use super::store::{EntryKind, Folder, WritableStore};
use crate::shard::ShardPath;

const NAME: &str = "finished";

/// Bytes of it that are read: the lines of a hundred thousand shards and more.
const LARGEST: u64 = 256 << 20;

/// A run, as far as another has to be like it to take over what it had finished.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RunHeader {
    /// When it was begun.
    pub started: Timestamp,
    /// The random number of the server's metastore.
    pub cluster_id: u64,
    /// How the files are laid out.
    pub layout: Layout,
    /// What is taken.
    pub selection: Selection,
}

/// What another run had finished.
#[derive(Debug)]
pub(crate) struct ResumableRun {
    store: Arc<dyn WritableStore>,
    /// The set whose staged files they are.
    staged: SetId,
    /// The first of the runs that led to it; the others are alike.
    pub run: RunHeader,
    /// With the time at which the run was begun that finished each.
    shards: Vec<(ShardRecord, Timestamp)>,
}

/// A shard that another run had finished.
#[derive(Debug, Clone)]
pub(crate) struct FinishedShard<'a> {
    /// The name of its file in the repository.
    pub name: String,
    /// What is in the file.
    pub record: &'a ShardRecord,
    /// When the run was begun that finished it, or that found it unchanged.
    pub started: Timestamp,
}

impl ResumableRun {
    /// Reads what there is among the staged files of a set; nothing where nothing was finished.
    pub(super) fn read(store: &Arc<dyn WritableStore>, staged: &SetId) -> Option<Self> {
        let file = store.open(&Folder::Staged(staged).name_of(NAME)).ok()?;
        let lines = BufReader::new(file.take(LARGEST)).lines();
        let mut lines = lines
            .map_while(io::Result::ok)
            .filter(|line| !line.is_empty());
        let run: RunHeader = serde_json::from_str(&lines.next()?).ok()?;
        let mut started = run.started;
        let mut shards: Vec<(ShardRecord, Timestamp)> = Vec::new();
        // Of runs that were killed, the last line may be cut off.
        for line in lines {
            if let Ok(shard) = serde_json::from_str::<ShardRecord>(&line) {
                if shard.file.as_ref().is_none_or(is_of_a_run) {
                    shards.push((shard, started));
                }
            } else if let Ok(next) = serde_json::from_str::<RunHeader>(&line) {
                started = next.started;
            }
        }
        (!shards.is_empty()).then(|| Self {
            store: store.clone(),
            staged: staged.clone(),
            run,
            shards,
        })
    }

    /// Removes the files that were not finished, and take room.
    pub(super) fn remove_unfinished(&self) -> Result<()> {
        let shards = self.shards.iter();
        let finished = shards.filter_map(|(shard, _)| shard.file.as_ref());
        self.remove_but(finished.map(|file| self.name_of(file)).collect())
    }

    /// Removes all files but those with these names, which take room.
    ///
    /// # Errors
    ///
    /// When one cannot be removed.
    pub(crate) fn keep_only(&self, names: &[String]) -> Result<()> {
        self.remove_but(names.iter().cloned().collect())
    }

    fn remove_but(&self, mut kept: HashSet<String>) -> Result<()> {
        let folder = Folder::Staged(&self.staged);
        kept.insert(folder.name_of(NAME));
        for entry in self.store.list(folder)? {
            let name = folder.name_of(&entry.name);
            if kept.contains(&name) {
                continue;
            }
            match entry.kind {
                EntryKind::Folder => self.store.remove_tree(&name)?,
                _ => self.store.remove(&name)?,
            }
        }
        Ok(())
    }

    /// A shard of which there is a file, of the size that it had.
    pub(crate) fn shard(&self, shard: &ShardPath) -> Option<FinishedShard<'_>> {
        let mut shards = self.shards.iter().rev();
        let (record, started) = shards.find(|(record, _)| record.is(shard))?;
        let file = record.file.as_ref()?;
        let name = self.name_of(file);
        let there = self.store.entry(&name).ok()??;
        there.is_file_of(file.size).then_some(FinishedShard {
            name,
            record,
            started: *started,
        })
    }

    /// The name in the repository of a file that a run has noted.
    fn name_of(&self, file: &FileRecord) -> String {
        Folder::Staged(&self.staged).name_of(&file.name)
    }
}

/// Whether a file is called as runs call those they have not finished: no name leads out of the
/// folder.
fn is_of_a_run(file: &FileRecord) -> bool {
    let random = file.name.strip_prefix(TEMPORARY);
    random.is_some_and(|random| random.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Writes down what is finished among the staged files of a set: adds a line. It need not last:
/// where it is lost, so is what it tells of.
pub(super) fn note(store: &dyn WritableStore, staged: &SetId, line: &impl Serialize) -> Result<()> {
    // The line before it may have been cut off.
    let text = format!("\n{}\n", serde_json::to_string(line)?);
    store.append(&Folder::Staged(staged).name_of(NAME), text.as_bytes())
}
