//! What a run that ended before its time had finished: shards that the next one can take over.
//!
//! `finished` in the folder of a run's files, a JSON document a line, and empty lines between:
//! first the [`RunHeader`], then a [`ShardRecord`] for each shard that is complete, with the name its
//! file has in that folder. A file counts only if it still is what its line says; of a shard with
//! several lines, the last counts. The run that takes over goes on in the same folder and file,
//! with a line for itself before those of the shards that it finishes, or finds unchanged.
//!
//! Where files have their final names at once, the lines name these. The files stay where they are,
//! and the run that takes over repeats the lines in notes of its own.

use std::collections::HashSet;
use std::io::{self, BufRead, BufReader, Read};
use std::sync::Arc;

use anyhow::Result;
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::hidden::{NOTES, TEMPORARY};
use super::layout::Layout;
use super::record::{FileRecord, Selection, ShardRecord};
use super::set_id::SetId;
use super::set_names::is_of_shard;
use super::store::{EntryKind, Folder, WritableStore};
use crate::shard::ShardPath;

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
        let notes = Folder::Staged(staged).name_of(NOTES);
        let file = store.open_appended(&notes).ok()?;
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
                if is_of_a_run(&shard) {
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

    /// The set whose staged files they are.
    pub(super) fn staged(&self) -> &SetId {
        &self.staged
    }

    /// The names of the files that have their final names.
    pub(super) fn named_files(&self) -> impl Iterator<Item = String> {
        let files = self
            .shards
            .iter()
            .filter_map(|(shard, _)| shard.file.as_ref());
        let named = files.filter(|file| !is_temporary(&file.name));
        named.map(|file| file.name.clone())
    }

    /// Repeats all that is noted among the notes of another run.
    pub(super) fn note_again(&self, staged: &SetId) -> Result<()> {
        let mut text = Vec::new();
        let mut started = None;
        for (shard, of_run) in &self.shards {
            if started.replace(of_run) != Some(of_run) {
                let run = RunHeader {
                    started: *of_run,
                    ..self.run.clone()
                };
                add_line(&mut text, &run)?;
            }
            add_line(&mut text, shard)?;
        }
        self.store
            .append(&Folder::Staged(staged).name_of(NOTES), &text)
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
        // Nobody knows whether the other run is still at work, or another goes on with it.
        match self.store.has_lock() {
            true => self.remove_but(names.iter().cloned().collect()),
            false => Ok(()),
        }
    }

    fn remove_but(&self, mut kept: HashSet<String>) -> Result<()> {
        let folder = Folder::Staged(&self.staged);
        kept.insert(folder.name_of(NOTES));
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
        match is_temporary(&file.name) {
            true => Folder::Staged(&self.staged).name_of(&file.name),
            false => file.name.clone(),
        }
    }
}

/// Whether the file of a shard is called as runs call those they have not finished, or as shards are
/// called: no name leads out of the folder, or to something else in the repository.
fn is_of_a_run(shard: &ShardRecord) -> bool {
    let is_called = |file: &FileRecord| {
        let layouts = [Layout::Legacy, Layout::Portable];
        let mut layouts = layouts.into_iter();
        let path = shard.path();
        is_temporary(&file.name) || layouts.any(|layout| is_of_shard(&file.name, layout, &path))
    };
    shard.file.as_ref().is_none_or(is_called)
}

fn is_temporary(name: &str) -> bool {
    let random = name.strip_prefix(TEMPORARY);
    random.is_some_and(|random| random.bytes().all(|byte| byte.is_ascii_alphanumeric()))
}

/// Writes down what is finished among the staged files of a set: adds a line. It need not last:
/// where it is lost, so is what it tells of.
pub(super) fn note(store: &dyn WritableStore, staged: &SetId, line: &impl Serialize) -> Result<()> {
    let mut text = Vec::new();
    add_line(&mut text, line)?;
    store.append(&Folder::Staged(staged).name_of(NOTES), &text)
}

/// Adds an empty line, by which others see that the run is alive.
pub(super) fn note_nothing(store: &dyn WritableStore, staged: &SetId) -> Result<()> {
    store.append(&Folder::Staged(staged).name_of(NOTES), b"\n")
}

fn add_line(text: &mut Vec<u8>, line: &impl Serialize) -> Result<()> {
    // The line before it may have been cut off.
    text.push(b'\n');
    serde_json::to_writer(&mut *text, line)?;
    text.push(b'\n');
    Ok(())
}
