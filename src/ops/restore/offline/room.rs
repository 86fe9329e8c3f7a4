//! Whether the file systems of the target have enough free space for what is to be written.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::options::RestoreOptions;
use super::staging::staging_for;
use crate::influxd_dir::{nearest_existing, shard_dir};
use crate::ops::restore::checked_shard::CheckedShard;
use crate::ops::restore::source::PlannedShard;
use crate::ops::room::ensure_room;
use crate::repository::{BackupFile, Catalog};
use crate::shard::ShardPath;
use crate::sizes::total;
use crate::tsm::is_index;

/// What is to be written of a shard, or to a file system.
struct Needed {
    /// Bytes of the files.
    files: u64,
    /// Bytes of the files that are written anew, each beside what it is made of, the largest of
    /// each shard.
    rewritten: Vec<u64>,
}

impl Needed {
    /// With `jobs` shards at a time.
    fn bytes(mut self, jobs: usize) -> u64 {
        self.rewritten.sort_unstable_by(|a, b| b.cmp(a));
        let at_once = self.rewritten.into_iter().take(jobs);
        total(at_once.chain([self.files]))
    }
}

/// Refuses file systems that have no room for what is known of the shards before they are read. As
/// they are read, room is asked for file by file.
pub(crate) fn ensure_room_to_begin(
    catalog: &Catalog,
    shards: &[PlannedShard],
    options: &RestoreOptions,
) -> Result<()> {
    ensure_room_for(options, shards, |shard| {
        let files = least_bytes(catalog, &shard.source, &shard.chain);
        let rewritten = Vec::new();
        (&shard.target, Needed { files, rewritten })
    })
}

/// Refuses file systems that have no room for shards that were read. The files of those in `cut`
/// are written anew in any case.
pub(crate) fn ensure_room_for_checked(
    shards: &[CheckedShard],
    cut: &BTreeSet<u64>,
    options: &RestoreOptions,
) -> Result<()> {
    ensure_room_for(options, shards, |shard| {
        let files = shard.bytes();
        let rewritten = vec![match cut.contains(&shard.source.id) {
            true => shard.largest(),
            false => shard.largest_rewritten(options.apply_deletes),
        }];
        (&shard.target, Needed { files, rewritten })
    })
}

/// Refuses a file system on which the TSM files of an unpacked shard cannot be written anew, each
/// beside what it is made of.
pub(crate) fn ensure_room_to_rewrite(
    shard: &CheckedShard,
    directory: &Path,
    apply_deletes: bool,
) -> Result<()> {
    match shard.largest_rewritten(apply_deletes) {
        0 => Ok(()),
        largest => ensure_room(directory, largest),
    }
}

/// Refuses file systems that have no room for the shards, of each of which `needed` says what.
fn ensure_room_for<'a, S>(
    options: &RestoreOptions,
    shards: &'a [S],
    needed: impl Fn(&'a S) -> (&'a ShardPath, Needed),
) -> Result<()> {
    let Some(datadir) = &options.datadir else {
        return Ok(());
    };
    // By their devices.
    let mut systems: BTreeMap<u64, (PathBuf, Needed)> = BTreeMap::new();
    for (target, needed) in shards.iter().map(needed) {
        let staging = staging_for(datadir, &shard_dir(datadir, target))?;
        let directory = nearest_existing(&staging);
        let metadata = fs::metadata(&directory)
            .with_context(|| format!("looking at {}", directory.display()))?;
        let none = Needed {
            files: 0,
            rewritten: Vec::new(),
        };
        let (_, all) = systems.entry(metadata.dev()).or_insert((directory, none));
        all.files = total([all.files, needed.files]);
        all.rewritten.extend(needed.rewritten);
    }
    let mut systems = systems.into_values();
    systems.try_for_each(|(directory, all)| ensure_room(&directory, all.bytes(options.jobs)))
}

/// Bytes that the files of a shard take at least: those of the files that were recorded, of which
/// those of newer sets take the place of older ones, or those of the largest other tar.
pub(in crate::ops) fn least_bytes(
    catalog: &Catalog,
    shard: &ShardPath,
    chain: &[BackupFile],
) -> u64 {
    let mut recorded: BTreeMap<&str, u64> = BTreeMap::new();
    let mut largest_other = 0;
    for file in chain {
        let set = &catalog.sets()[file.set];
        let record = set.record().and_then(|record| record.shard(shard));
        if let Some(record) = record {
            let members = record.members.iter();
            let files = members.filter(|member| !is_index(&member.name));
            recorded.extend(files.map(|file| (file.name.as_str(), file.size)));
        } else {
            let listed = set.listed(shard).map(|listed| listed.size);
            largest_other = largest_other.max(listed.unwrap_or(file.size));
        }
    }
    total(recorded.into_values()).max(largest_other)
}
