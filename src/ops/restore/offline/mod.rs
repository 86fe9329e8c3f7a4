//! Restoring into the directories of a stopped influxd.
//!
//! What is to be written is decided ([`plan`]) and the target looked at ([`target`], [`room`]).
//! Then it is written ([`write`]): shards are checked while they are unpacked out of sight
//! ([`unpack`], [`staging`]) and put together where they are regrouped ([`regroup`]). When all are
//! sound they take the place of what is there, the metastore last ([`swap`]). A [`journal`] says what was moved, so that a failed run is put back at
//! once ([`roll_back`]) and a killed one by the next ([`recover`]).

mod journal;
mod options;
mod plan;
mod recover;
mod regroup;
mod roll_back;
mod room;
mod staging;
mod swap;
mod target;
mod unpack;
mod write;

use std::path::Path;
use std::time::Instant;

use anyhow::Result;

use super::check::{RestoreChecks, check};
use super::checked_shard::CheckedShard;
use super::one_type::{OfBackup, ensure_one_type};
use super::regrouping::cut_shards;
use super::report::{RestoreReport, in_part, missing};
use super::rewrite::Left;
use super::source::{planned, sets_of};
use crate::context::Context;
use crate::influxd_dir::shard_dir;
use crate::io::scratch::scratch_dir;
use crate::ops::selection::ensure_series_found;
use crate::repository::Catalog;
use crate::sizes::total;
use crate::text::{name_list, plural, size};
use crate::tsm::is_tombstone;
use plan::RestorePlan;

pub use options::IndexKind;
pub use options::RestoreOptions;
pub(in crate::ops) use recover::has_interrupted_restore;
pub(in crate::ops) use room::least_bytes;

/// Restores a backup.
///
/// # Errors
///
/// Before anything takes its place: when the backup is damaged ([`ErrorKind::Damage`]) or does not
/// hold what was asked for, the target holds data or is in use ([`ErrorKind::Refused`]), or what is
/// unpacked cannot be written. Later: when the target cannot be written; it is put back then.
///
/// [`ErrorKind::Damage`]: crate::error::ErrorKind::Damage
/// [`ErrorKind::Refused`]: crate::error::ErrorKind::Refused
pub fn restore(options: &RestoreOptions, context: Context<'_>) -> Result<RestoreReport> {
    let started = Instant::now();
    options.ensure_consistent()?;
    // What is moved is written down, and must mean the same wherever the next run is started.
    let options = &options.with_absolute_targets()?;
    target::ensure_not_running(options)?;
    recover::recover(options, context)?;

    let set = options.set.as_deref();
    let (catalog, mut plan, _held) = planned(&options.repository, set, context, |catalog| {
        let plan = plan::plan(catalog, options, context)?;
        let sets = sets_of(&plan.shards);
        Ok((plan, sets))
    })?;
    target::ensure_opened(&plan.target_paths(), options)?;
    target::ensure_free(&plan.target_paths(), options)?;
    target::ensure_no_strays(&plan, options, context)?;
    target::ensure_groups_stay(&plan, options)?;
    // Not needed any more, and as large as there are shards.
    plan.named = None;

    room::ensure_room_to_begin(&catalog, &plan.shards, options)?;
    let (shards, left) = match options.dry_run {
        true => dry_run(&catalog, &mut plan, options, context)?,
        false => write::write(&catalog, &mut plan, options, context)?,
    };
    if !options.dry_run && !shards.is_empty() {
        context.status(
            "make the next backup of this server a full one, without -since: an increment would mix what was restored \
             with sets made before",
        );
    }
    let metastore = plan.metastore.as_ref().zip(options.metadir.as_ref());
    let missing = missing(&plan.missing, &shards, plan.lost.as_deref());
    Ok(RestoreReport {
        set: plan.set,
        shards: plan.targets.as_ref().map_or(shards.len(), Vec::len),
        files: left.files,
        bytes: left.bytes,
        metastore: metastore.map(|(_, metadir)| metadir.join("meta.db")),
        metastore_bytes: metastore.map_or(0, |(metastore, _)| metastore.bytes.len() as u64),
        read_back: None,
        in_part: in_part(&missing, &shards),
        missing,
        users: plan.users,
        applied: None,
        lost: plan.lost,
        merge: None,
        elapsed: started.elapsed(),
    })
}

/// Checks the planned shards and tells what would be written: the shards, and what their files are
/// in the backup.
fn dry_run(
    catalog: &Catalog,
    plan: &mut RestorePlan,
    options: &RestoreOptions,
    context: Context<'_>,
) -> Result<(Vec<CheckedShard>, Left)> {
    let checks = options.checks(scratch_dir());
    let planned = std::mem::take(&mut plan.shards);
    let shards = check(catalog, planned, &checks, options.jobs, context)?;
    ensure_series_found(
        &checks.series,
        options.what.bounds(),
        &format!("set {}", plan.set),
    )?;
    regroup_in_backup(catalog, plan, &shards, &checks, options, context)?;
    target::ensure_opens(&shards, options, context)?;
    let cut = cut_shards(plan.targets.iter().flatten());
    room::ensure_room_for_checked(&shards, &cut, options)?;
    describe(plan, &shards, options, context);
    let left = shards.iter().map(|shard| expected(shard, options));
    let left = left.fold(Left::default(), Left::plus);
    Ok((shards, left))
}

/// Finds out what is put together of shards of which nothing was unpacked, and whether it can be.
fn regroup_in_backup(
    catalog: &Catalog,
    plan: &mut RestorePlan,
    shards: &[CheckedShard],
    checks: &RestoreChecks,
    options: &RestoreOptions,
    context: Context<'_>,
) -> Result<()> {
    let Some(targets) = plan.targets.clone() else {
        return Ok(());
    };
    let of_backup = OfBackup {
        catalog,
        scratch: &checks.scratch,
        apply_deletes: options.apply_deletes,
        stop: context.cancel,
    };
    plan.retain_targets(of_backup.without_empty(targets, shards)?)?;
    let targets = plan.targets.as_deref().unwrap_or_default();
    ensure_one_type(targets, shards, checks, |_, shard, fields| {
        of_backup.types(shard, fields)
    })
}

/// What would be written of a shard: without its tombstones where deletes are applied, and before
/// points are left out, which are not looked for yet.
fn expected(shard: &CheckedShard, options: &RestoreOptions) -> Left {
    let files = shard.files.iter();
    let files = files.filter(|(name, _)| !(options.apply_deletes && is_tombstone(name)));
    let sizes: Vec<u64> = files.map(|(_, file)| file.size).collect();
    Left {
        files: sizes.len(),
        bytes: total(sizes.iter().copied()),
    }
}

/// Tells what would be written.
fn describe(
    plan: &RestorePlan,
    shards: &[CheckedShard],
    options: &RestoreOptions,
    context: Context<'_>,
) {
    let datadir = options.datadir.as_deref().unwrap_or(Path::new(""));
    for target in plan.targets.iter().flatten() {
        context.status(format!(
            "would write {} from {}",
            shard_dir(datadir, &target.path).display(),
            target.made_of()
        ));
    }
    if !plan.vacated.is_empty() {
        let paths = plan.vacated.iter();
        let places: Vec<String> = paths
            .map(|path| shard_dir(datadir, path).display().to_string())
            .collect();
        context.status(format!(
            "would remove {}, whose points come into other shards",
            name_list(&places)
        ));
    }
    let alone = shards.iter().filter(|_| plan.targets.is_none());
    for shard in alone {
        let names: Vec<&str> = shard
            .sources
            .iter()
            .map(|source| source.name.as_str())
            .collect();
        let left = expected(shard, options);
        let deletes = if options.apply_deletes && shard.files.have_deletes() {
            ", without what was deleted"
        } else {
            ""
        };
        context.status(format!(
            "would write {} from {} ({}, {}{deletes})",
            shard_dir(datadir, &shard.target).display(),
            names.join(" + "),
            plural(left.files, "file"),
            size(left.bytes)
        ));
    }
    if let (Some(metadir), Some(metastore)) = (&options.metadir, &plan.metastore) {
        context.status(format!(
            "would write {} ({})",
            metadir.join("meta.db").display(),
            size(metastore.bytes.len() as u64)
        ));
    }
}
