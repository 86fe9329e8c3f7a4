//! Whether the file systems of the target have enough free space for what is to be written.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::options::RestoreOptions;
use super::staging::staging_for;
use crate::error::ErrorKind;
use crate::influxd_dir::{nearest_existing, shard_dir};
use crate::ops::restore::checked_shard::CheckedShard;

/// Room left free beyond what is written, in bytes: directories, the journal, the file system's
/// own.
const HEADROOM: u64 = 16 << 20;

/// What is to be written to a file system.
struct Needed {
    directory: PathBuf,
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
        self.files + self.rewritten.iter().take(jobs).sum::<u64>() + HEADROOM
    }
}

/// Refuses file systems that have no room for what is to be written.
pub(crate) fn ensure_room(shards: &[CheckedShard], options: &RestoreOptions) -> Result<()> {
    let Some(datadir) = &options.datadir else {
        return Ok(());
    };
    for needed in needed(shards, datadir, options.apply_deletes)?.into_values() {
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

/// What is to be written to each file system, by its device.
fn needed(
    shards: &[CheckedShard],
    datadir: &Path,
    apply_deletes: bool,
) -> Result<BTreeMap<u64, Needed>> {
    let mut systems: BTreeMap<u64, Needed> = BTreeMap::new();
    for shard in shards {
        let staging = staging_for(datadir, &shard_dir(datadir, &shard.target))?;
        let directory = nearest_existing(&staging);
        let metadata = fs::metadata(&directory)
            .with_context(|| format!("looking at {}", directory.display()))?;
        let needed = systems.entry(metadata.dev()).or_insert(Needed {
            directory,
            files: 0,
            rewritten: Vec::new(),
        });
        needed.files += shard.bytes();
        let rewritten = shard.largest_rewritten(apply_deletes);
        needed.rewritten.push(rewritten);
    }
    Ok(systems)
}
