//! Writing a restore: unpacked out of sight, then swapped into place.

use anyhow::Result;

use super::journal::ensure_no_foreign_links;
use super::options::RestoreOptions;
use super::plan::RestorePlan;
use super::staging::{HiddenFolders, ShardStaging};
use super::swap::{Swap, Swapped};
use super::target;
use super::unpack::Unpacker;
use crate::context::Context;
use crate::influxd_dir::{Ownership, shard_dir};
use crate::ops::restore::checked_shard::CheckedShard;
use crate::ops::restore::rewrite::Left;
use crate::repository::Catalog;

/// Writes what was planned and checked, and says what the shards hold now.
///
/// # Errors
///
/// When the target cannot be written or a stop was asked for; the target is as before then.
pub(super) fn write(
    catalog: &Catalog,
    plan: &RestorePlan,
    shards: &[CheckedShard],
    options: &RestoreOptions,
    context: Context<'_>,
) -> Result<Left> {
    let Some(home) = options.home() else {
        return Ok(Left::default());
    };
    let ownership = Ownership::below(home)?;
    ownership.create_dirs(home)?;
    let hidden = HiddenFolders::claim(options, home, context)?;
    ensure_own_links(shards, options)?;
    // Nobody's any more: a run that was killed at its very end may have left it, and nothing in it
    // is to be moved back.
    hidden.remove_others()?;

    let targets = shards.iter().map(|shard| &shard.target);
    let staging = ShardStaging::of(targets.clone(), options.datadir.as_deref(), hidden.main())?;
    let unpacker = Unpacker {
        catalog,
        options,
        ownership: &ownership,
        main: hidden.main(),
        staging: &staging,
        context,
    };
    let written = unpacker.unpack(shards).and_then(|left| {
        // Under the lock, once more: what was looked at may have changed while the backup was read.
        target::ensure_not_running(options)?;
        target::ensure_free(targets, options)?;
        target::ensure_same_metastore(plan, options)?;
        let swap = Swap::prepare(plan, shards, &staging, &hidden, &ownership, options)?;
        Ok((left, swap.commit(context)?))
    });
    // What may have to be moved back is kept.
    match written {
        Ok((left, Swapped::Durable)) => {
            let _ = hidden.remove();
            Ok(left)
        }
        Ok((_, Swapped::NotDurable(error))) => Err(error),
        Err(error) => {
            if !hidden.journal().exists() {
                let _ = hidden.remove();
            }
            Err(error)
        }
    }
}

/// Refuses links on the way to where shards are to go that somebody else made.
fn ensure_own_links(shards: &[CheckedShard], options: &RestoreOptions) -> Result<()> {
    let waldir = options.wal_dir();
    for root in [&options.datadir, &waldir].into_iter().flatten() {
        for shard in shards {
            ensure_no_foreign_links(root, &shard_dir(root, &shard.target))?;
        }
    }
    Ok(())
}
