//! Finding the files that make up a shard: a whole one and the increments after it, oldest first, and saying where they cannot.

use std::collections::BTreeSet;
use std::fs;

use anyhow::Result;
use jiff::Timestamp;

use crate::directory::{BackupFile, Content, Contents, SetRecord, ShardState};
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

impl Chains {
    /// Finds the chains of the live shards that `meta_file` names.
    pub fn find(
        contents: &Contents,
        meta_file: &BackupFile,
        cluster_id: u64,
        live: &[Shard],
        progress: &dyn Progress,
    ) -> Result<Self> {
        let of_server = |set: &SetRecord| set.cluster_id.is_none_or(|id| id == cluster_id);
        let mut chains = Self::default();
        let mut used = BTreeSet::new();
        for shard in live {
            let mut files = contents.files_of(&shard.path);
            used.extend(files.iter().map(|file| file.name.clone()));
            // Ids begin anew on another server: its shard of the same name is another shard.
            files.retain(|file| contents.set_of(&file.name).is_none_or(of_server));
            let absent = absence(contents, meta_file, shard, !files.is_empty());
            let chain = chain(contents, &shard.path, files)?;
            if absent.is_none() {
                chains.missing.extend(gap(contents, &of_server, &shard.path, &chain));
                if chain.is_empty() && contents.set_of(&meta_file.name).is_some() && !is_explained(contents, &shard.path) {
                    chains.unasked.push(shard.path.clone());
                }
            }
            chains.missing.extend(absent);
            if !chain.is_empty() {
                chains.found.push((shard.path.clone(), chain));
            }
        }
        let other: Vec<&str> = contents.shard_files().filter(|name| !used.contains(*name)).collect();
        if !other.is_empty() {
            progress.report(&Event::Detail(&format!(
                "{} file(s) are of shards that were not asked for, or that {} does not name",
                other.len(),
                meta_file.name
            )));
        }
        Ok(chains)
    }
}

/// Whether a set says why it has no file of the shard, or was asked for a range of time that the shard lies outside of.
fn is_explained(contents: &Contents, shard: &ShardPath) -> bool {
    let explained = |set: &SetRecord| {
        let range = set.selection.start.is_some() || set.selection.end.is_some();
        match set.shards.iter().find(|record| record.path() == *shard) {
            Some(record) => record.file.is_none(),
            None => range && set.selection.takes(shard),
        }
    };
    contents.records().iter().any(explained)
}

/// A sentence where a shard, or its newest state, should be in the backup and is not. `older`: the backup has some file of it.
fn absence(contents: &Contents, meta_file: &BackupFile, shard: &Shard, older: bool) -> Option<String> {
    let path = &shard.path;
    let Some(set) = contents.set_of(&meta_file.name) else {
        // influxd's directories do not say what was asked for. It writes a file for each shard it has open, so only a
        // group that had not begun when the meta store was fetched may lack one; and `_internal` is seldom wanted.
        let fetched = fs::metadata(contents.path_of(&meta_file.name)).and_then(|metadata| metadata.modified());
        let fetched = fetched.ok().and_then(|time| Timestamp::try_from(time).ok()).map_or(i64::MAX, time::to_nanos);
        let expected = !older && shard.start <= fetched && path.database != "_internal";
        return expected.then(|| format!("shard {path} is in the backup's meta store but has no file in the backup"));
    };
    let record = set.shards.iter().find(|record| record.id == path.id)?;
    match record.state {
        ShardState::Failed if older => {
            Some(format!("shard {path} could not be fetched for set {}: it is restored from an older one", set.id))
        }
        ShardState::Failed => Some(format!("shard {path} could not be fetched for set {} and is in no other", set.id)),
        ShardState::Stored => {
            let file = record.file.as_ref().filter(|file| !contents.path_of(&file.name).exists())?;
            Some(format!("shard {path}: the file {} of set {} is gone", file.name, set.id))
        }
        ShardState::Empty | ShardState::Expired | ShardState::NotHeld => None,
    }
}

/// The files to put together, oldest first. `files` are all there are, oldest first.
fn chain(contents: &Contents, shard: &ShardPath, files: Vec<BackupFile>) -> Result<Vec<BackupFile>> {
    let content = |file: &BackupFile| contents.shard_record_of(&file.name).map(|(_, record)| record.content);
    if let Some(newest) = files.last().filter(|newest| content(newest) == Some(Content::Range)) {
        if files.iter().any(|file| content(file) != Some(Content::Range)) {
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

/// A complaint where the sets cannot make up the whole shard: walks back from the newest, each increment asking for a set that
/// was begun after the time it starts from, to a set that has the whole shard or was made before there was one.
fn gap(
    contents: &Contents,
    of_server: &impl Fn(&SetRecord) -> bool,
    shard: &ShardPath,
    chain: &[BackupFile],
) -> Option<String> {
    let takes = |set: &&SetRecord| {
        let selection = &set.selection;
        let range = selection.start.is_some() || selection.end.is_some();
        !selection.meta_only && !range && selection.takes(shard) && of_server(set)
    };
    let stored = |set: &SetRecord| set.shards.iter().any(|record| record.path() == *shard && record.file.is_some());
    let mut increment: Option<(&SetRecord, Timestamp)> = None;
    let sets: Vec<&SetRecord> = contents.records().iter().filter(takes).collect();
    for (at, set) in sets.iter().copied().enumerate().rev() {
        let record = set.shards.iter().find(|record| record.path() == *shard);
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
        if let Some(file) = record.and_then(|record| record.file.as_ref())
            && !contents.path_of(&file.name).exists()
        {
            return Some(format!("shard {shard}: the file {} of set {} is gone", file.name, set.id));
        }
        match record {
            Some(record) if record.state != ShardState::NotHeld && record.content == Content::Since => {
                increment = Some((set, set.selection.since?));
            }
            // The whole shard, or there was none yet.
            _ => return None,
        }
    }
    // Files without a record, influxd's, may be what the first increment builds on.
    let unknown = chain.iter().any(|file| contents.set_of(&file.name).is_none());
    let (set, since) = increment.filter(|_| !unknown)?;
    Some(format!("shard {shard}: set {} holds only what changed after {since}, and there is no set before it", set.id))
}

#[cfg(test)]
#[path = "chain_tests.rs"]
mod tests;
