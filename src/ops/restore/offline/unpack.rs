//! Unpacking shards out of sight, into the folders out of which they are moved into place. They are
//! checked meanwhile, so that each byte of the backup is read once.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::Result;

use super::options::RestoreOptions;
use super::room::ensure_room_to_rewrite;
use super::staging::{PREPARED, ShardStaging};
use super::target;
use crate::cancel::Cancel;
use crate::context::Context;
use crate::influxd_dir::Ownership;
use crate::io::durable;
use crate::io::sync_behind::{SyncQueue, sync_behind};
use crate::ops::queue::{self, Turn};
use crate::ops::restore::check::{RestoreChecks, ShardChecker, not_rewritable};
use crate::ops::restore::checked_shard::CheckedShard;
use crate::ops::restore::members::ShardMembers;
use crate::ops::restore::occupied::{parts_with_points, without_empty};
use crate::ops::restore::regrouping::TargetShard;
use crate::ops::restore::rewrite::{Left, rewrite};
use crate::ops::restore::source::PlannedShard;
use crate::ops::unpack_dir::UnpackDir;
use crate::progress::{Event, Outcome, Progress};
use crate::repository::Catalog;
use crate::shard::ShardPath;
use crate::sizes::total;
use crate::text::plural;

/// Unpacks shards into where they are prepared.
pub(crate) struct Unpacker<'a> {
    pub catalog: &'a Catalog,
    pub options: &'a RestoreOptions,
    pub checks: &'a RestoreChecks,
    pub ownership: &'a Ownership,
    /// The folder of the journal, which is there already.
    pub main: &'a Path,
    pub staging: &'a ShardStaging,
    pub context: Context<'a>,
}

impl Unpacker<'_> {
    /// Unpacks and checks all, in the order of their places in the staging; what is left of them
    /// where points are left out. All of it is synced.
    ///
    /// # Errors
    ///
    /// When one is damaged or cannot be written, and when a stop was asked for.
    pub(super) fn unpack(&self, planned: Vec<PlannedShard>) -> Result<(Vec<CheckedShard>, Left)> {
        for folder in self.staging.folders() {
            if folder != self.main {
                durable::claim_private_dir(folder)?;
            }
            // The journal will count on it, also after a power failure. The names of the shards in
            // it need not last before they are moved.
            self.ownership.create_dirs(&folder.join(PREPARED))?;
        }
        if !planned.is_empty() {
            let shards = plural(planned.len(), "shard");
            self.context
                .status(format!("unpacking and checking {shards}"));
        }
        let with_tsi1 = target::wants_tsi1(self.options);
        self.context.report(&Event::Shards {
            count: planned.len(),
            bytes: Some(total(planned.iter().map(PlannedShard::bytes))),
        });
        // A failure stops the other threads as well.
        let stop = self.context.cancel.child();
        let jobs = planned.into_iter().enumerate().collect();
        let (results, synced) = sync_behind(self.options.jobs, &stop, |syncs| {
            queue::work(jobs, self.options.jobs, &stop, |(index, shard)| {
                let unpacked = self.unpack_shard(index, shard, with_tsi1, syncs, &stop);
                Turn::Done(unpacked.inspect_err(|_| stop.cancel()))
            })
        });
        self.context.check()?;
        synced?;
        let mut unpacked = queue::all(results)?;
        unpacked.sort_by_key(|(index, _, _)| *index);
        let mut all = Left::default();
        // In place: there may be many.
        let shards = unpacked.into_iter().map(|(_, shard, left)| {
            all.files += left.files;
            all.bytes += left.bytes;
            shard
        });
        let shards = shards.collect();
        Ok((shards, all))
    }

    /// The files of a shard that were unpacked into `directory`.
    pub(super) fn members<'b>(
        &'b self,
        directory: &'b Path,
        shard: &'b CheckedShard,
    ) -> ShardMembers<'b> {
        ShardMembers {
            catalog: self.catalog,
            shard: &shard.source,
            sources: &shard.sources,
            files: &shard.files,
            unpacked: Some(directory),
            scratch: &self.checks.scratch,
            stop: self.context.cancel,
        }
    }

    /// Leaves out parts without a point of shards that were unpacked, and shards of the target that
    /// have no others.
    ///
    /// # Errors
    ///
    /// When the files cannot be read.
    pub(super) fn without_empty(
        &self,
        targets: Vec<TargetShard>,
        shards: &[CheckedShard],
    ) -> Result<Vec<TargetShard>> {
        without_empty(targets, shards, |index, shard, parts| {
            let directory = self.staging.prepared(index);
            // Files of which nothing was left are gone.
            let is_there = |name: &str| directory.join(name).exists();
            parts_with_points(&self.members(&directory, shard), parts, is_there)
        })
    }

    /// Unpacks one shard, and tells of it.
    fn unpack_shard(
        &self,
        index: usize,
        shard: PlannedShard,
        with_tsi1: bool,
        syncs: &SyncQueue,
        stop: &Cancel,
    ) -> Result<(usize, CheckedShard, Left)> {
        let started = Instant::now();
        self.context.report(&Event::Started {
            shard: &shard.target,
            bytes: Some(shard.bytes()),
        });
        let directory = self.staging.prepared(index);
        let unpack = UnpackDir {
            path: &directory,
            ownership: self.ownership,
            syncs: Some(syncs),
        };
        let (checked, left) = self.unpack_into(&unpack, shard, stop)?;
        if with_tsi1 {
            self.ownership
                .create_unsynced_dirs(&directory.join("index"))?;
        }
        for directory in directories(&directory, &checked) {
            syncs.directory(directory);
        }
        self.context.report(&Event::Finished {
            shard: &checked.target,
            outcome: Outcome::Done {
                files: left.files,
                bytes: left.bytes,
            },
            elapsed: started.elapsed(),
        });
        Ok((index, checked, left))
    }

    fn unpack_into(
        &self,
        unpack: &UnpackDir<'_>,
        shard: PlannedShard,
        stop: &Cancel,
    ) -> Result<(CheckedShard, Left)> {
        self.ownership.create_unsynced_dirs(unpack.path)?;
        let progress = UnderTarget {
            progress: self.context.progress,
            target: &shard.target.clone(),
        };
        let checker = ShardChecker {
            catalog: self.catalog,
            checks: self.checks,
            unpack: Some(unpack),
            tell: None,
            context: Context {
                cancel: stop,
                progress: &progress,
            },
        };
        let checked = checker.check(shard)?;
        let apply_deletes = self.options.apply_deletes;
        ensure_room_to_rewrite(&checked, unpack.path, apply_deletes)?;
        let lost = self.checks.lost.as_deref();
        let left = rewrite(
            &checked,
            unpack.path,
            apply_deletes,
            self.ownership,
            lost,
            stop,
        );
        let left = left.or_else(|error| {
            stop.check()?;
            Err(not_rewritable(error, checked.is_filtered()))
        })?;
        Ok((checked, left))
    }
}

/// The directories below `top` that files of a shard are in, and `top`.
fn directories(top: &Path, shard: &CheckedShard) -> BTreeSet<PathBuf> {
    let names = shard.files.iter().map(|(name, _)| Path::new(name));
    let below = names.flat_map(|name| name.ancestors().skip(1));
    below
        .chain([Path::new("")])
        .map(|name| top.join(name))
        .collect()
}

/// Tells of the bytes of a shard under the name that it gets.
struct UnderTarget<'a> {
    progress: &'a dyn Progress,
    target: &'a ShardPath,
}

impl Progress for UnderTarget<'_> {
    fn report(&self, event: &Event<'_>) {
        match *event {
            Event::Bytes { count, .. } => self.progress.report(&Event::Bytes {
                shard: self.target,
                count,
            }),
            _ => self.progress.report(event),
        }
    }
}
