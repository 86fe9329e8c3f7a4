//! Looking at where a backup is to go: what is there already, who uses it, what fits.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::super::check::CheckedShard;
use super::super::{IndexKind, RestoreOptions};
use super::plan::Plan;
use super::staging::staging_for;
use crate::error::ErrorKind;
use crate::influxd_dir::{self, USAGE_ADVICE, nearest_existing, shard_dir, shards_below};
use crate::ops::selection::list;
use crate::progress::{Event, Progress};
use crate::shard::ShardPath;

/// Room left free beyond what is written, in bytes: directories, the journal, the file system's own.
const HEADROOM: u64 = 16 << 20;

/// The target's WAL directory.
pub fn wal_dir(options: &RestoreOptions) -> Option<PathBuf> {
    influxd_dir::wal_dir(options.waldir.as_deref(), options.datadir.as_deref()?)
}

/// Refuses a target that an influxd runs on. It is told in two ways: a process that has a file below one of the directories
/// open, and a snapshotter at `-host` whose meta store is the target's, byte for byte.
pub fn refuse_running(options: &RestoreOptions) -> Result<()> {
    let wal = wal_dir(options);
    let directories: Vec<&Path> = [&options.metadir, &options.datadir, &wal]
        .into_iter()
        .filter_map(|directory| directory.as_deref())
        .collect();
    if let Some((process, file)) = influxd_dir::open_file_below(&directories) {
        return Err(ErrorKind::Refused
            .error(format!("process {process} has {} open", file.display()))
            .hint(USAGE_ADVICE)
            .into());
    }
    // Without -metadir, influxd's own layout has it beside the data directory.
    let beside = || Some(options.datadir.as_ref()?.parent()?.join("meta"));
    let Some(metadir) = options.metadir.clone().or_else(beside) else {
        return Ok(());
    };
    if influxd_dir::running_on(&metadir, &options.host) {
        let metadir = metadir.display();
        return Err(ErrorKind::Refused
            .error(format!("the influxd at {} has the same meta store as {metadir}: it runs on it", options.host))
            .hint(format!("{USAGE_ADVICE}; if {metadir} is but a copy, point -host at the port its own influxd would have"))
            .into());
    }
    Ok(())
}

/// Refuses a target that holds data where shards are to go, unless `-force`.
pub fn refuse_data<'a>(
    shards: impl Iterator<Item = &'a ShardPath>,
    options: &RestoreOptions,
) -> Result<()> {
    let Some(datadir) = &options.datadir else {
        return Ok(());
    };
    let wal = wal_dir(options);
    let mut taken = Vec::new();
    for shard in shards {
        for below in [Some(datadir), wal.as_ref()].into_iter().flatten() {
            let directory = shard_dir(below, shard);
            if holds_something(&directory)? {
                taken.push(directory.display().to_string());
            }
        }
    }
    if !taken.is_empty() && !options.force {
        return Err(ErrorKind::Refused
            .error(format!("the target holds data: {}", list(&taken)))
            .hint("-force replaces it; -newdb, or -merge with -metadir, put the backup beside it")
            .into());
    }
    Ok(())
}

/// Refuses a target with directories of shards that the new meta store does not name, unless `-force`: a later shard of the same
/// id would pick them up. A merge leaves them what they were.
pub fn refuse_strays(plan: &Plan, options: &RestoreOptions, progress: &dyn Progress) -> Result<()> {
    let Some(datadir) = &options.datadir else {
        return Ok(());
    };
    if let (Some(named), Some(_)) = (&plan.named, &plan.meta) {
        let named: Vec<ShardPath> = named.shards().map(|shard| shard.path).collect();
        let strays: Vec<String> = shards_below(datadir)
            .into_iter()
            .filter(|shard| {
                !named.contains(shard)
                    && !plan.shards.iter().any(|planned| planned.target == *shard)
            })
            .map(|shard| shard_dir(datadir, &shard).display().to_string())
            .collect();
        if !strays.is_empty() {
            let message = format!(
                "shards that the restored meta store does not name: {}",
                list(&strays)
            );
            if !options.force && !options.merge {
                return Err(ErrorKind::Refused
                    .error(format!("the target holds {message}"))
                    .hint("move them away, or restore elsewhere; -force leaves them, but influxd may give their ids out again")
                    .into());
            }
            progress.report(&Event::Warning(&format!(
                "left in place, {message}; influxd may give their ids out again"
            )));
        }
    }
    Ok(())
}

fn holds_something(directory: &Path) -> Result<bool> {
    match fs::read_dir(directory) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("reading {}", directory.display())),
    }
}

/// What is to be written to a file system.
struct Needed {
    /// A directory on it.
    directory: PathBuf,
    /// Bytes of the files.
    files: u64,
    /// Bytes of the files that are written anew, each beside what it is made of, the largest of each shard.
    rewritten: Vec<u64>,
}

impl Needed {
    /// With `jobs` shards at a time.
    fn bytes(mut self, jobs: usize) -> u64 {
        self.rewritten.sort_unstable_by(|a, b| b.cmp(a));
        self.files + self.rewritten.iter().take(jobs).sum::<u64>() + HEADROOM
    }
}

/// Refuses file systems that have no room for what is to be written.
pub fn refuse_too_small(shards: &[CheckedShard], options: &RestoreOptions) -> Result<()> {
    let Some(datadir) = &options.datadir else {
        return Ok(());
    };
    let mut systems: BTreeMap<u64, Needed> = BTreeMap::new();
    for shard in shards {
        let staging = staging_for(datadir, &shard_dir(datadir, &shard.target))?;
        let directory = nearest_existing(&staging);
        let device = fs::metadata(&directory)
            .with_context(|| format!("looking at {}", directory.display()))?
            .dev();
        let needed = systems.entry(device).or_insert(Needed {
            directory,
            files: 0,
            rewritten: Vec::new(),
        });
        needed.files += shard.bytes();
        needed
            .rewritten
            .push(shard.largest_rewritten(options.apply_deletes));
    }
    for needed in systems.into_values() {
        let there = needed.directory.display().to_string();
        let system = rustix::fs::statvfs(&needed.directory)
            .with_context(|| format!("asking for the free space at {there}"))?;
        let free = system.f_bavail.saturating_mul(system.f_frsize);
        let needed = needed.bytes(options.jobs);
        if free < needed {
            return Err(ErrorKind::Refused
                .error(format!(
                    "{there} has {free} bytes free, and {needed} are needed"
                ))
                .hint("nothing was written; make room, or restore some databases at a time")
                .into());
        }
    }
    Ok(())
}

/// Whether restored shards are to open with a tsi1 index.
pub fn wants_tsi1(options: &RestoreOptions) -> bool {
    match options.index {
        IndexKind::Tsi1 => true,
        IndexKind::Inmem => false,
        IndexKind::Auto => options
            .datadir
            .as_deref()
            .is_some_and(influxd_dir::uses_tsi1),
    }
}

/// Says how the shards will open where the target does not show it.
pub fn say_index(shards: &[CheckedShard], options: &RestoreOptions, progress: &dyn Progress) {
    let unknown = options
        .datadir
        .as_deref()
        .is_some_and(|datadir| shards_below(datadir).is_empty());
    if options.index == IndexKind::Auto && unknown && !shards.is_empty() {
        progress.report(&Event::Status(
            "the shards get no tsi1 index and open as inmem; for a server with index-version = \"tsi1\" give -index tsi1",
        ));
    }
}
