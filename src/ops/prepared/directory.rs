//! The shards of an influxd that does not run, with what stands in their WAL.

use std::time::Instant;

use anyhow::Result;

use super::{PreparedFile, PreparedShard};
use crate::context::Context;
use crate::influxd_dir::LocalShards;
use crate::progress::Event;
use crate::server::ShardStore;
use crate::shard::ShardPath;
use crate::tsm::filter::NewTypes;

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
    let names = snapshot.files.iter().map(|file| file.name.as_str());
    let files = PreparedFile::among(names, |name| {
        let file = snapshot.files.iter().find(|file| file.name == name)?;
        Some(file.path.clone())
    });
    Ok(PreparedShard {
        files,
        name: shard,
        new_types: NewTypes::new(),
        told: Vec::new(),
        are_tombstones_told: false,
        started,
        _guard: Box::new(snapshot),
    })
}
