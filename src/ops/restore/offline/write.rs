//! Writing a restore: unpacked out of sight, then swapped into place.

use std::path::Path;

use anyhow::Result;

use super::journal::ensure_no_foreign_links;
use super::options::RestoreOptions;
use super::plan::RestorePlan;
use super::regroup::Regrouping;
use super::staging::{HiddenFolders, ShardStaging};
use super::swap::{Swap, Swapped};
use super::target;
use super::unpack::Unpacker;
use crate::context::Context;
use crate::influxd_dir::{Ownership, shard_dir};
use crate::io::durable;
use crate::ops::restore::check::RestoreChecks;
use crate::ops::restore::checked_shard::CheckedShard;
use crate::ops::restore::regrouping::TargetShard;
use crate::ops::restore::rewrite::Left;
use crate::ops::selection::ensure_series_found;
use crate::repository::Catalog;
use crate::shard::ShardPath;

/// Unpacks, checks and writes what was planned: the shards, and what they hold now.
///
/// # Errors
///
/// When the backup is damaged, the target cannot be written or a stop was asked for; the target is
/// as before then.
pub(super) fn write(
    catalog: &Catalog,
    plan: &mut RestorePlan,
    options: &RestoreOptions,
    context: Context<'_>,
) -> Result<(Vec<CheckedShard>, Left)> {
    let Some(home) = options.home() else {
        return Ok((Vec::new(), Left::default()));
    };
    let absent: Vec<&Path> = home.ancestors().take_while(|path| !path.exists()).collect();
    let written = write_below(home, catalog, plan, options, context);
    if written.is_err() {
        // Those that this run made, unless there is something in them.
        let _ = absent.into_iter().try_for_each(durable::remove_empty_dir);
    }
    written
}

fn write_below(
    home: &Path,
    catalog: &Catalog,
    plan: &mut RestorePlan,
    options: &RestoreOptions,
    context: Context<'_>,
) -> Result<(Vec<CheckedShard>, Left)> {
    let ownership = Ownership::below(home)?;
    ownership.create_dirs(home)?;
    let hidden = HiddenFolders::claim(options, home, context)?;
    ensure_own_links(&plan.target_paths(), options)?;
    let mut planned = std::mem::take(&mut plan.shards);
    planned.sort_by(|a, b| a.source.cmp(&b.source));
    // Nobody's any more: a run that was killed at its very end may have left it, and nothing in it
    // is to be moved back.
    hidden.remove_others()?;

    // Shards that are put together are prepared behind those that they are made of.
    let sources = planned.iter().map(|shard| &shard.target);
    let targets = plan.targets.iter().flat_map(|_| plan.target_paths());
    let prepared = sources.chain(targets);
    let staging = ShardStaging::of(prepared, options.datadir.as_deref(), hidden.main())?;
    let checks = RestoreChecks {
        lost: plan.lost.clone(),
        ..options.checks(hidden.main().to_owned())
    };
    let unpacker = Unpacker {
        catalog,
        options,
        checks: &checks,
        ownership: &ownership,
        main: hidden.main(),
        staging: &staging,
        context,
    };
    let written = unpacker.unpack(planned).and_then(|(shards, left)| {
        ensure_series_found(
            &checks.series,
            options.what.bounds(),
            &format!("set {}", plan.set),
        )?;
        target::ensure_opens(&shards, options, context)?;
        let left = match plan.targets.clone() {
            Some(targets) => put_together(&unpacker, plan, targets, &shards)?,
            None => left,
        };
        let prepared = prepared_shards(plan, &shards);
        // Under the lock, once more: what was looked at may have changed while the backup was read.
        target::ensure_not_running(options)?;
        let paths: Vec<&ShardPath> = prepared.iter().map(|(_, path)| *path).collect();
        target::ensure_free(&paths, options)?;
        target::ensure_same_metastore(plan, options)?;
        let swap = Swap::prepare(plan, &prepared, &staging, &hidden, &ownership, options)?;
        let swapped = swap.commit(context)?;
        Ok((shards, left, swapped))
    });
    // What may have to be moved back is kept.
    match written {
        Ok((shards, left, Swapped::Durable)) => {
            remove_vacated(plan, options);
            let _ = hidden.remove();
            Ok((shards, left))
        }
        Ok((_, _, Swapped::NotDurable(error))) => Err(error),
        Err(error) => {
            if !hidden.journal().exists() {
                let _ = hidden.remove();
            }
            Err(error)
        }
    }
}

/// Puts the shards of the target together out of those that were unpacked, and makes empty ones in
/// place of those that are left without points; what all of them hold.
fn put_together(
    unpacker: &Unpacker<'_>,
    plan: &mut RestorePlan,
    targets: Vec<TargetShard>,
    shards: &[CheckedShard],
) -> Result<Left> {
    plan.retain_targets(unpacker.without_empty(targets, shards)?)?;
    let regrouping = Regrouping {
        unpacker,
        shards,
        targets: plan.targets.as_deref().unwrap_or_default(),
    };
    let left = regrouping.run()?;
    let behind = shards.len() + regrouping.targets.len();
    for nth in 0..plan.vacated.len() {
        let directory = unpacker.staging.prepared(behind + nth);
        unpacker.ownership.create_unsynced_dirs(&directory)?;
    }
    Ok(left)
}

/// The shards that are moved into place, each with its place in the staging.
fn prepared_shards<'a>(
    plan: &'a RestorePlan,
    shards: &'a [CheckedShard],
) -> Vec<(usize, &'a ShardPath)> {
    match &plan.targets {
        Some(_) => (shards.len()..).zip(plan.target_paths()).collect(),
        None => {
            let paths = shards.iter().map(|shard| &shard.target);
            paths.enumerate().collect()
        }
    }
}

/// Removes what is left of shards whose points came into other ones: empty directories, which
/// nobody minds.
fn remove_vacated(plan: &RestorePlan, options: &RestoreOptions) {
    if let Some(datadir) = &options.datadir {
        for path in &plan.vacated {
            let _ = durable::remove_empty_dir(&shard_dir(datadir, path));
        }
    }
}

/// Refuses links on the way to where shards are to go that somebody else made.
fn ensure_own_links(shards: &[&ShardPath], options: &RestoreOptions) -> Result<()> {
    let waldir = options.wal_dir();
    for root in [&options.datadir, &waldir].into_iter().flatten() {
        for shard in shards {
            ensure_no_foreign_links(root, &shard_dir(root, shard))?;
        }
    }
    Ok(())
}
