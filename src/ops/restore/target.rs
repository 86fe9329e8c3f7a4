//! Looking at where a backup is to go: what is there already, who uses it, what fits.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};

use super::check::CheckedShard;
use super::plan::Plan;
use super::{IndexKind, RestoreOptions};
use crate::cancel::Cancel;
use crate::client::{Client, Timeouts};
use crate::error::Class;
use crate::ops::selection::list;
use crate::progress::{Event, Progress};
use crate::wire::ShardPath;

/// How long a server that may run on the target is given to answer.
const ASK: Duration = Duration::from_secs(2);
/// Room left free beyond what is written, in bytes: directories, the journal, the file system's own.
const HEADROOM: u64 = 16 << 20;

/// The directory of a shard below a data or WAL directory.
pub fn shard_dir(below: &Path, shard: &ShardPath) -> PathBuf {
    below.join(&shard.database).join(&shard.retention_policy).join(shard.id.to_string())
}

/// The target's WAL directory: as named, else `wal` beside the data directory, where influxd's own layout has it.
pub fn wal_dir(options: &RestoreOptions) -> Option<PathBuf> {
    options.waldir.clone().or_else(|| {
        let sibling = options.datadir.as_ref()?.parent()?.join("wal");
        sibling.is_dir().then_some(sibling)
    })
}

/// Refuses a target that an influxd runs on. It is told in two ways: a process that has a file below one of the directories
/// open (Linux, as far as this user may see), and a snapshotter at `-host` whose meta store is the target's, byte for byte.
pub fn refuse_running(options: &RestoreOptions) -> Result<()> {
    let wal = wal_dir(options);
    let directories: Vec<PathBuf> = [options.metadir.as_ref(), options.datadir.as_ref(), wal.as_ref()]
        .into_iter()
        .flatten()
        .filter_map(|directory| fs::canonicalize(directory).ok())
        .collect();
    let advice = "stop influxd first: it would not notice new files, and would write its own over them";
    if let Some((process, file)) = user_of(&directories) {
        return Err(Class::Refused.error(format!("process {process} has {} open", file.display())).hint(advice).into());
    }
    // Without -metadir, influxd's own layout has it beside the data directory.
    let beside = || Some(options.datadir.as_ref()?.parent()?.join("meta"));
    let Some(metadir) = options.metadir.clone().or_else(beside) else { return Ok(()) };
    let Ok(meta) = fs::read(metadir.join("meta.db")) else { return Ok(()) };
    let timeouts = Timeouts { connect: ASK, idle: ASK, attempt: ASK };
    let client = Client::new(options.host.clone(), None, timeouts, Cancel::default());
    if client.meta_store().is_ok_and(|blob| blob.meta == meta) {
        let metadir = metadir.display();
        return Err(Class::Refused
            .error(format!("the influxd at {} has the same meta store as {metadir}: it runs on it", options.host))
            .hint(format!("{advice}; if {metadir} is but a copy, point -host at the port its own influxd would have"))
            .into());
    }
    Ok(())
}

/// A process other than this one that has a file below one of the directories open.
fn user_of(directories: &[PathBuf]) -> Option<(String, PathBuf)> {
    let own = std::process::id().to_string();
    for process in fs::read_dir("/proc").ok()?.flatten() {
        let pid = process.file_name().into_string().unwrap_or_default();
        if pid == own || !pid.bytes().all(|byte| byte.is_ascii_digit()) {
            continue;
        }
        // Processes of other users, and those that just ended, cannot be looked into.
        let Ok(open) = fs::read_dir(process.path().join("fd")) else { continue };
        for file in open.flatten().filter_map(|descriptor| fs::read_link(descriptor.path()).ok()) {
            // Another restore's own files are told by its lock.
            let ours = file.components().any(|part| part.as_os_str() == super::write::STAGING);
            if !ours && directories.iter().any(|directory| file.starts_with(directory)) {
                let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
                return Some((format!("{pid} ({})", name.trim()), file));
            }
        }
    }
    None
}

/// Refuses a target that holds data where shards are to go, unless `-force`.
pub fn refuse_data(plan: &Plan, options: &RestoreOptions, progress: &dyn Progress) -> Result<()> {
    let Some(datadir) = &options.datadir else { return Ok(()) };
    let wal = wal_dir(options);
    let mut taken = Vec::new();
    for shard in &plan.shards {
        for below in [Some(datadir), wal.as_ref()].into_iter().flatten() {
            let directory = shard_dir(below, &shard.target);
            if holds_something(&directory)? {
                taken.push(directory.display().to_string());
            }
        }
    }
    if !taken.is_empty() && !options.force {
        return Err(Class::Refused
            .error(format!("the target holds data: {}", list(&taken)))
            .hint("-force replaces it; -newdb, or -merge with -metadir, put the backup beside it")
            .into());
    }
    // Directories that the new meta store does not name: a later shard of the same id would pick them up.
    if let (Some(named), Some(_)) = (&plan.named, &plan.meta) {
        let named: Vec<ShardPath> = named.shards().map(|shard| shard.path).collect();
        let strays: Vec<String> = shards_below(datadir)
            .into_iter()
            .filter(|shard| !named.contains(shard) && !plan.shards.iter().any(|planned| planned.target == *shard))
            .map(|shard| shard_dir(datadir, &shard).display().to_string())
            .collect();
        if !strays.is_empty() {
            let message = format!("shards that the restored meta store does not name: {}", list(&strays));
            if !options.force {
                return Err(Class::Refused
                    .error(format!("the target holds {message}"))
                    .hint("move them away, or restore elsewhere; -force leaves them, but influxd may give their ids out again")
                    .into());
            }
            progress.report(&Event::Warning(&format!("left in place, {message}; influxd may give their ids out again")));
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

/// The shards below a data directory, by their directories: `<db>/<rp>/<number>`. (`_series` is a database's series file.)
fn shards_below(datadir: &Path) -> Vec<ShardPath> {
    let names = |directory: &Path| -> Vec<String> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        directories.filter_map(|entry| entry.file_name().into_string().ok()).collect()
    };
    let mut shards = Vec::new();
    for database in names(datadir).into_iter().filter(|name| name != super::write::STAGING) {
        for retention_policy in names(&datadir.join(&database)).into_iter().filter(|name| name != "_series") {
            for id in names(&datadir.join(&database).join(&retention_policy)) {
                if let Ok(id) = id.parse() {
                    let (database, retention_policy) = (database.clone(), retention_policy.clone());
                    shards.push(ShardPath { database, retention_policy, id });
                }
            }
        }
    }
    shards
}

/// Refuses a file system that has no room for what is to be written.
pub fn refuse_too_small(shards: &[CheckedShard], options: &RestoreOptions) -> Result<()> {
    let Some(datadir) = &options.datadir else { return Ok(()) };
    let needed = shards.iter().map(CheckedShard::bytes).sum::<u64>() + HEADROOM;
    let there = nearest_existing(datadir);
    let system = rustix::fs::statvfs(&there).with_context(|| format!("asking for the free space at {}", there.display()))?;
    let free = system.f_bavail.saturating_mul(system.f_frsize);
    if free < needed {
        return Err(Class::Refused
            .error(format!("{} has {free} bytes free, and {needed} are needed", there.display()))
            .hint("nothing was written; make room, or restore some databases at a time")
            .into());
    }
    Ok(())
}

/// The path itself or the nearest directory above it that exists.
fn nearest_existing(path: &Path) -> PathBuf {
    let nearest = path.ancestors().find(|ancestor| ancestor.is_dir());
    nearest.filter(|ancestor| !ancestor.as_os_str().is_empty()).unwrap_or(Path::new(".")).to_owned()
}

/// Whose the new files are to be and who may read them, taken from the target directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ownership {
    /// User and group, where this process may give files away.
    pub owner: Option<(u32, u32)>,
    /// Permission bits of directories.
    pub directory_mode: u32,
    /// Permission bits of files.
    pub file_mode: u32,
}

impl Ownership {
    /// That of files below `target`: owner and mode of the directory, or, where it does not exist, the owner of the nearest
    /// one above it and a mode for the owner alone.
    pub fn below(target: &Path) -> Result<Self> {
        let there = nearest_existing(target);
        let metadata = fs::metadata(&there).with_context(|| format!("reading {}", there.display()))?;
        let mode = if there == target { metadata.permissions().mode() & 0o777 } else { 0o700 };
        let root = rustix::process::geteuid().is_root();
        Ok(Self {
            owner: root.then(|| (metadata.uid(), metadata.gid())),
            directory_mode: mode | 0o700,
            file_mode: mode & 0o666 | 0o600,
        })
    }

    /// Gives a file or directory these owners and mode.
    pub fn apply(&self, path: &Path, directory: bool) -> io::Result<()> {
        let mode = if directory { self.directory_mode } else { self.file_mode };
        fs::set_permissions(path, fs::Permissions::from_mode(mode))?;
        match self.owner {
            Some((user, group)) => std::os::unix::fs::chown(path, Some(user), Some(group)),
            None => Ok(()),
        }
    }
}

/// Whether restored shards are to open with a tsi1 index. A shard has one where it has a directory `index`, and an empty
/// one makes influxd (1.5 and later) build it from the TSM files at its next start.
pub fn wants_tsi1(options: &RestoreOptions) -> bool {
    let Some(datadir) = &options.datadir else { return false };
    match options.index {
        IndexKind::Tsi1 => true,
        IndexKind::Inmem => false,
        IndexKind::Auto => shards_below(datadir).iter().any(|shard| shard_dir(datadir, shard).join("index").is_dir()),
    }
}
