//! The shards of an influxd that does not run, with what stands in their WAL.

use std::time::Instant;

use anyhow::Result;

use super::shard::{PreparedFile, PreparedShard};
use crate::context::Context;
use crate::influxd_dir::LocalShards;
use crate::ops::gather::{GatheredShard, Gathering};
use crate::progress::Event;
use crate::server::{ShardStore, Snapshot};
use crate::shard::ShardPath;
use crate::tsm::filter::NewTypes;
use crate::tsm::stem;

/// Gathers what of a shard is needed to see what is in it.
///
/// # Errors
///
/// When its files or its WAL cannot be read.
pub(super) fn gather(
    shards: &LocalShards,
    shard: &ShardPath,
    gathering: Gathering<'_>,
) -> Result<GatheredShard> {
    let mut gathered = GatheredShard::new(gathering)?;
    gathered.add_directory(shards.snapshot(shard)?, shard, gathering)?;
    Ok(gathered)
}

/// Takes a snapshot of a shard.
///
/// # Errors
///
/// When its files or its WAL cannot be read.
pub(in crate::ops) fn prepare(
    shards: &LocalShards,
    shard: ShardPath,
    context: Context<'_>,
) -> Result<PreparedShard> {
    let started = Instant::now();
    let snapshot = shards.snapshot(&shard)?;
    let bytes = snapshot.files.iter().map(|file| file.size).sum();
    context.report(&Event::Started {
        shard: &shard,
        bytes: Some(bytes),
    });
    context.report(&Event::Bytes {
        shard: &shard,
        count: bytes,
    });
    snapshot.notes.iter().for_each(|note| context.warn(note));
    let files = snapshot.files.iter();
    let files = files.filter(|file| file.name.ends_with(".tsm"));
    let files = files.map(|file| PreparedFile {
        name: file.name.clone(),
        path: file.path.clone(),
        tombstone: tombstone_of(&file.name, &snapshot),
    });
    Ok(PreparedShard {
        files: files.collect(),
        name: shard,
        new_types: NewTypes::new(),
        told: Vec::new(),
        are_tombstones_told: false,
        started,
        _guard: Box::new(snapshot),
    })
}

fn tombstone_of(name: &str, snapshot: &Snapshot) -> Option<std::path::PathBuf> {
    let tombstone = format!("{}.tombstone", stem(name));
    let mut files = snapshot.files.iter();
    let file = files.find(|file| file.name == tombstone)?;
    Some(file.path.clone())
}
