//! Finding the files that make up a shard: a whole one and the increments after it, oldest first, and saying where they cannot.

use std::collections::BTreeSet;

use anyhow::Result;
use jiff::Timestamp;

use crate::directory::{BackupFile, Content, Contents, Set, SetRecord, ShardRecord, ShardState};
use crate::error::Class;
use crate::format::meta::Shard;
use crate::progress::{Event, Progress};
use crate::time;
use crate::wire::ShardPath;

/// For each shard the files that make it up.
#[derive(Default)]
pub struct Chains {
    /// The files of each shard, oldest first; never none.
    pub found: Vec<(ShardPath, Vec<BackupFile>)>,
    /// What is not in the backup, a sentence each.
    pub missing: Vec<String>,
    /// Shards that no set was asked for, as far as the records tell.
    pub unasked: Vec<ShardPath>,
}

/// The set that is restored, among those it may build on.
pub struct Choice<'a> {
    /// The directory.
    pub contents: &'a Contents,
    /// Which of its sets it is.
    pub at: usize,
    /// The last of the sets that count: it, or stray files of influxd's under a later number.
    pub last: usize,
    /// Whether it was named: then no shard counts that it was not asked for, though older sets may hold it.
    pub named: bool,
    /// Sets of other servers, as far as can be told. Ids begin anew there: a shard of the same name is another shard.
    pub foreign: Vec<bool>,
}

impl<'a> Choice<'a> {
    /// The set itself.
    pub fn set(&self) -> &'a Set {
        &self.contents.sets()[self.at]
    }

    /// The records that count, oldest first, each with its place among the sets.
    fn records(&self) -> impl DoubleEndedIterator<Item = (usize, &'a SetRecord)> {
        let sets = self.contents.sets()[..=self.last].iter().enumerate();
        sets.filter(|(at, _)| !self.foreign[*at])
            .filter_map(|(at, set)| Some((at, set.record.as_ref()?)))
    }

    /// What the set of a file recorded of the shard.
    fn recorded(&self, file: &BackupFile, shard: &ShardPath) -> Option<&'a ShardRecord> {
        self.contents.sets()[file.set].record.as_ref()?.shard(shard)
    }

    /// The newest set that was asked for all of the shard and found it empty: what is older was deleted on the server.
    fn emptied(&self, shard: &ShardPath) -> Option<usize> {
        let is_empty = |set: &SetRecord| {
            set.shard(shard).is_some_and(|record| {
                record.state == ShardState::Empty && record.content == Content::Whole
            })
        };
        self.records()
            .rev()
            .find(|(_, set)| is_empty(set))
            .map(|(at, _)| at)
    }

    /// Whether the set was asked for the shard; where nothing tells, it was.
    fn takes(&self, shard: &ShardPath) -> bool {
        match self.set() {
            Set {
                record: Some(record),
                ..
            } => !record.selection.meta_only && record.selection.takes(shard),
            Set {
                manifest: Some(manifest),
                ..
            } => manifest.entries().iter().any(|entry| entry.is_of(shard)),
            _ => true,
        }
    }
}

impl Chains {
    /// Finds the chains of the live shards that the set's meta store names.
    pub fn find(choice: &Choice<'_>, live: &[Shard], progress: &dyn Progress) -> Result<Self> {
        let contents = choice.contents;
        let mut chains = Self::default();
        let mut used = BTreeSet::new();
        for shard in live {
            if choice.named && !choice.takes(&shard.path) {
                chains.unasked.push(shard.path.clone());
                continue;
            }
            let mut files = contents.files_of(&shard.path);
            used.extend(files.iter().map(|file| file.name.clone()));
            let emptied = choice.emptied(&shard.path);
            files.retain(|file| {
                file.set <= choice.last
                    && !choice.foreign[file.set]
                    && emptied.is_none_or(|emptied| file.set > emptied)
            });
            let absent = absence(choice, shard, !files.is_empty());
            let chain = chain(choice, &shard.path, files)?;
            if absent.is_none() {
                let missing =
                    gone(choice, &shard.path, &chain).or_else(|| gap(choice, &shard.path, &chain));
                let complete = missing.is_none();
                chains.missing.extend(missing);
                if complete
                    && chain.is_empty()
                    && choice.set().record.is_some()
                    && !is_explained(choice, &shard.path)
                {
                    chains.unasked.push(shard.path.clone());
                }
            }
            chains.missing.extend(absent);
            if !chain.is_empty() {
                chains.found.push((shard.path.clone(), chain));
            }
        }
        let other = contents
            .shard_files()
            .filter(|name| !used.contains(*name))
            .count();
        if other > 0 {
            let id = &choice.set().id;
            let message = format!(
                "{other} file(s) are of shards that were not asked for, or that set {id} does not name"
            );
            progress.report(&Event::Detail(&message));
        }
        Ok(chains)
    }
}

/// Whether a set says why it has no file of the shard, or was asked for a range of time that the shard lies outside of.
fn is_explained(choice: &Choice<'_>, shard: &ShardPath) -> bool {
    choice.records().any(|(_, set)| match set.shard(shard) {
        Some(record) => record.state != ShardState::Stored,
        None => set.is_range() && set.selection.takes(shard),
    })
}

/// A sentence where a shard, or its newest state, should be in the backup and is not. `older`: the backup has some file of it.
fn absence(choice: &Choice<'_>, shard: &Shard, older: bool) -> Option<String> {
    let path = &shard.path;
    let set = choice.set();
    if set.manifest.is_some() {
        // A manifest says what there should be, and the chain is held against it.
        return None;
    }
    let Some(set) = &set.record else {
        // influxd's legacy directories do not say what was asked for. It writes a file for each shard it has open, so only a
        // group that had not begun when the meta store was fetched may lack one; and `_internal` is seldom wanted.
        let expected =
            !older && shard.start <= time::to_nanos(set.started) && path.database != "_internal";
        return expected.then(|| {
            format!("shard {path} is in the backup's meta store but has no file in the backup")
        });
    };
    let record = set.shard(path)?;
    match record.state {
        ShardState::Failed if older => Some(format!(
            "shard {path} could not be fetched for set {}: it is restored from an older one",
            set.id
        )),
        ShardState::Failed => Some(format!(
            "shard {path} could not be fetched for set {} and is in no other",
            set.id
        )),
        ShardState::Stored => {
            let file = record
                .file
                .as_ref()
                .filter(|file| !choice.contents.has(&file.name))?;
            Some(format!(
                "shard {path}: the file {} of set {} is gone",
                file.name, set.id
            ))
        }
        ShardState::Empty | ShardState::Expired | ShardState::NotHeld => None,
    }
}

/// The files to put together, oldest first. `files` are all there are, oldest first.
fn chain(
    choice: &Choice<'_>,
    shard: &ShardPath,
    files: Vec<BackupFile>,
) -> Result<Vec<BackupFile>> {
    let content = |file: &BackupFile| choice.recorded(file, shard).map(|record| record.content);
    if let Some(newest) = files
        .last()
        .filter(|newest| content(newest) == Some(Content::Range))
    {
        if files
            .iter()
            .any(|file| content(file) != Some(Content::Range))
        {
            let name = &newest.name;
            return Err(Class::Refused
                .error(format!("shard {shard}: the newest file {name} holds a range of time, and older ones hold more"))
                .hint("move the sets made with -start or -end into a directory of their own")
                .into());
        }
        return Ok(vec![newest.clone()]);
    }
    let mut chain: Vec<BackupFile> = Vec::new();
    for file in files.into_iter().rev() {
        match content(&file) {
            Some(Content::Range) => {}
            Some(Content::Whole) => {
                chain.push(file);
                break;
            }
            // Nobody knows what influxd was asked for, so all its files are taken.
            Some(Content::Since) | None => chain.push(file),
        }
    }
    chain.reverse();
    Ok(chain)
}

/// A complaint where a file is gone that a manifest of influxd's lists and the chain may stand on.
fn gone(choice: &Choice<'_>, shard: &ShardPath, chain: &[BackupFile]) -> Option<String> {
    // From a whole shard on, what is older does not matter.
    let whole = |file: &&BackupFile| {
        choice
            .recorded(file, shard)
            .is_some_and(|record| record.content == Content::Whole)
    };
    let first = chain.first().filter(whole).map_or(0, |file| file.set);
    let sets = choice.contents.sets()[first..=choice.last]
        .iter()
        .zip(&choice.foreign[first..]);
    sets.filter(|(_, foreign)| !**foreign).find_map(|(set, _)| {
        let entry = set
            .manifest
            .as_ref()?
            .entries()
            .iter()
            .find(|entry| entry.is_of(shard))?;
        let gone = !choice.contents.has(&entry.file_name);
        gone.then(|| {
            format!(
                "shard {shard}: the file {} of set {} is gone",
                entry.file_name, set.id
            )
        })
    })
}

/// A complaint where the sets cannot make up the whole shard: walks back from the newest, each increment asking for a set that
/// was begun after the time it starts from, to a set that has the whole shard or was made before there was one.
fn gap(choice: &Choice<'_>, shard: &ShardPath, chain: &[BackupFile]) -> Option<String> {
    let takes =
        |set: &SetRecord| !set.selection.meta_only && !set.is_range() && set.selection.takes(shard);
    let stored = |set: &SetRecord| {
        set.shard(shard)
            .is_some_and(|record| record.state == ShardState::Stored)
    };
    let mut increment: Option<(&SetRecord, Timestamp)> = None;
    let sets: Vec<&SetRecord> = choice
        .records()
        .map(|(_, set)| set)
        .filter(|set| takes(set))
        .collect();
    for (at, set) in sets.iter().copied().enumerate().rev() {
        let record = set.shard(shard);
        let passed_over = record.is_some_and(|record| match record.state {
            ShardState::Failed | ShardState::Expired => true,
            // Not open then, although it was there before: it holds nothing for whoever builds on it.
            ShardState::NotHeld => sets[..at].iter().any(|older| stored(older)),
            ShardState::Stored | ShardState::Empty => false,
        });
        if passed_over {
            continue;
        }
        if let Some((after, since)) = increment
            && since > set.started
        {
            return Some(format!(
                "shard {shard}: set {} holds what changed after {since}, but the set before it was begun at {}: what changed \
                 in between is in neither",
                after.id, set.started
            ));
        }
        // That of an empty shard is there for influxd alone.
        if let Some(file) = record
            .filter(|record| record.state == ShardState::Stored)
            .and_then(|record| record.file.as_ref())
            && !choice.contents.has(&file.name)
        {
            return Some(format!(
                "shard {shard}: the file {} of set {} is gone",
                file.name, set.id
            ));
        }
        match record {
            Some(record)
                if record.state != ShardState::NotHeld && record.content == Content::Since =>
            {
                increment = Some((set, set.selection.since?));
            }
            // What it held then is in no set, and what is built on it lacks that.
            Some(record)
                if record.state == ShardState::NotHeld
                    && record.start_time <= set.started
                    && increment.is_some() =>
            {
                let why =
                    "did not have the shard open, and later sets hold only what changed after it";
                return Some(format!("shard {shard}: the server of set {} {why}", set.id));
            }
            // The whole shard, or there was none yet.
            _ => return None,
        }
    }
    // Files without a record, influxd's, may be what the first increment builds on.
    let unknown = chain
        .iter()
        .any(|file| choice.contents.sets()[file.set].record.is_none());
    let (set, since) = increment.filter(|_| !unknown)?;
    Some(format!(
        "shard {shard}: set {} holds only what changed after {since}, and there is no set before it",
        set.id
    ))
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
