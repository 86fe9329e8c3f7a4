//! Looking at where a backup is to go: what is there already, and who uses it.

use std::collections::{HashMap, HashSet};
use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context as _, Result};

use super::options::{IndexKind, RestoreOptions};
use super::plan::RestorePlan;
use crate::context::Context;
use crate::error::ErrorKind;
use crate::influxd_dir::{self, USAGE_ADVICE, shard_dir, shards_below};
use crate::io::open::read_bounded;
use crate::metastore::Data;
use crate::ops::restore::checked_shard::CheckedShard;
use crate::ops::restore::report::{
    count_with_deletes, deletes_applied, ensure_influxd_opens_names,
};
use crate::shard::ShardPath;
use crate::text::name_list;
use crate::wire::MAX_META_BYTES;

/// Refuses a target that an influxd runs on. It is told in two ways: a process that has a file
/// below one of the directories open, and a snapshotter at `-host` whose metastore is the
/// target's, byte for byte.
pub(crate) fn ensure_not_running(options: &RestoreOptions) -> Result<()> {
    let wal = options.wal_dir();
    // influxd keeps no file of its meta directory open, but some of those beside it.
    let beside_metadir = |name| Some(options.metadir.as_ref()?.parent()?.join(name));
    let beside = match options.datadir {
        Some(_) => [None, None],
        None => [beside_metadir("data"), beside_metadir("wal")],
    };
    let directories: Vec<&Path> = [&options.metadir, &options.datadir, &wal]
        .into_iter()
        .chain(&beside)
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
    if influxd_dir::is_running_on(&metadir, &options.host) {
        let metadir = metadir.display();
        return Err(ErrorKind::Refused
            .error(format!("the influxd at {} has the same metastore as {metadir}: it runs on it", options.host))
            .hint(format!("{USAGE_ADVICE}; if {metadir} is but a copy, point -host at the port its own influxd would have"))
            .into());
    }
    Ok(())
}

/// Refuses a target in which influxd would not find the shards: it passes over the directory of a
/// database or of a retention policy that is a link.
pub(crate) fn ensure_opened(shards: &[&ShardPath], options: &RestoreOptions) -> Result<()> {
    let Some(datadir) = &options.datadir else {
        return Ok(());
    };
    for shard in shards {
        let directory = shard_dir(datadir, shard);
        let above = directory.ancestors().skip(1);
        let mut between = above.take_while(|path| path != datadir);
        if let Some(link) = between.find(|path| path.is_symlink()) {
            let link = link.display();
            return Err(ErrorKind::Refused
                .error(format!(
                    "{link} is a symbolic link, which influxd passes over"
                ))
                .hint("make it a directory, and mount the other file system there")
                .into());
        }
    }
    Ok(())
}

/// Refuses a target that holds data where shards are to go, unless `-force`.
pub(crate) fn ensure_free(shards: &[&ShardPath], options: &RestoreOptions) -> Result<()> {
    let Some(datadir) = &options.datadir else {
        return Ok(());
    };
    let wal = options.wal_dir();
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
            .error(format!("the target holds data: {}", name_list(&taken)))
            .hint("-force replaces it; -newdb, or -merge with -metadir, put the backup beside it")
            .into());
    }
    Ok(())
}

/// Refuses a target with directories of shards that the new metastore does not name, unless
/// `-force`: a later shard of the same id would pick them up. A merge leaves them what they were.
pub(crate) fn ensure_no_strays(
    plan: &RestorePlan,
    options: &RestoreOptions,
    context: Context<'_>,
) -> Result<()> {
    let Some(datadir) = &options.datadir else {
        return Ok(());
    };
    let Some(named) = &plan.named else {
        return Ok(());
    };
    let mut known: HashSet<ShardPath> = named.shards().map(|shard| shard.path).collect();
    known.extend(plan.target_paths().into_iter().cloned());
    let strays: Vec<String> = shards_below(datadir)
        .into_iter()
        .filter(|shard| !known.contains(shard))
        .map(|shard| shard_dir(datadir, &shard).display().to_string())
        .collect();
    if strays.is_empty() {
        return Ok(());
    }
    let message = format!(
        "shards that the restored metastore does not name: {}",
        name_list(&strays)
    );
    if !options.force && !options.merge {
        return Err(ErrorKind::Refused
            .error(format!("the target holds {message}"))
            .hint(
                "move them away, or restore elsewhere; -force leaves them, but influxd may give their ids out again",
            )
            .into());
    }
    context.warn(format!(
        "left in place, {message}; influxd may give their ids out again"
    ));
    Ok(())
}

/// Refuses a metastore that is no longer the one that was planned with.
pub(crate) fn ensure_same_metastore(plan: &RestorePlan, options: &RestoreOptions) -> Result<()> {
    let (Some(metastore), Some(metadir)) = (&plan.metastore, &options.metadir) else {
        return Ok(());
    };
    let path = metadir.join("meta.db");
    if read_bounded(&path, MAX_META_BYTES).ok() == metastore.replaces {
        return Ok(());
    }
    Err(ErrorKind::Refused
        .error(format!(
            "{} was changed while the backup was read",
            path.display()
        ))
        .hint("try again")
        .into())
}

/// Refuses to replace a metastore by one that has other times for a shard that stays: queries would
/// not find its points, and influxd would delete it too early, or never.
pub(crate) fn ensure_groups_stay(plan: &RestorePlan, options: &RestoreOptions) -> Result<()> {
    let (Some(datadir), Some(named), Some(old)) = (&options.datadir, &plan.named, plan.replaced())
    else {
        return Ok(());
    };
    // What cannot be read says nothing of the shards.
    let Ok(old) = Data::read(old) else {
        return Ok(());
    };
    let times = |data: &Data| -> HashMap<ShardPath, (i64, i64)> {
        let shards = data.live_shards();
        shards
            .map(|shard| (shard.path, (shard.start, shard.end)))
            .collect()
    };
    let (old, new) = (times(&old), times(named));
    let restored = plan.target_paths();
    let mut moved: Vec<String> = Vec::new();
    for shard in shards_below(datadir) {
        let has_moved = match (old.get(&shard), new.get(&shard)) {
            (Some(old), Some(new)) => old != new,
            _ => false,
        };
        if has_moved && !restored.contains(&&shard) {
            moved.push(shard.to_string());
        }
    }
    if moved.is_empty() {
        return Ok(());
    }
    Err(ErrorKind::Refused
        .error(format!(
            "the metastore of the backup has other times for shards that stay in the target: {}",
            name_list(&moved)
        ))
        .hint("restore them too, without -retention and -shard; or put the backup beside them, with -newdb and -merge")
        .into())
}

fn holds_something(directory: &Path) -> Result<bool> {
    match fs::read_dir(directory) {
        Ok(mut entries) => Ok(entries.next().is_some()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error).with_context(|| format!("reading {}", directory.display())),
    }
}

/// Whether restored shards are to open with a tsi1 index.
pub(crate) fn wants_tsi1(options: &RestoreOptions) -> bool {
    match options.index {
        IndexKind::Tsi1 => true,
        IndexKind::Inmem => false,
        IndexKind::Auto => options
            .datadir
            .as_deref()
            .is_some_and(influxd_dir::uses_tsi1),
    }
}

/// Refuses shards that influxd could not open, and tells how it will open the others.
///
/// # Errors
///
/// [`ErrorKind::Damage`] with the name of a file.
pub(crate) fn ensure_opens(
    shards: &[CheckedShard],
    options: &RestoreOptions,
    context: Context<'_>,
) -> Result<()> {
    ensure_influxd_opens_names(shards)?;
    report_index(shards, options, context);
    let deleted = count_with_deletes(shards);
    if deleted > 0 && options.apply_deletes {
        context.status(deletes_applied(deleted));
    }
    Ok(())
}

/// Tells how the shards will open where the target does not show it.
fn report_index(shards: &[CheckedShard], options: &RestoreOptions, context: Context<'_>) {
    let unknown = options
        .datadir
        .as_deref()
        .is_some_and(|datadir| shards_below(datadir).is_empty());
    if options.index == IndexKind::Auto && unknown && !shards.is_empty() {
        context.status(
            "the shards get no tsi1 index and open as inmem; for a server with index-version = \"tsi1\" give -index tsi1",
        );
    }
}
