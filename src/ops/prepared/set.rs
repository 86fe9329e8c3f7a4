//! The shards of a set, which a restore would put into a data directory: unpacked out of sight.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use anyhow::Result;

use super::{PreparedFile, PreparedShard};
use crate::context::Context;
use crate::influxd_dir::Ownership;
use crate::io::scratch::{private_dir_in, scratch_dir, scratch_error};
use crate::ops::restore::{PlannedShard, RestoreChecks, ShardChecker};
use crate::ops::unpack_dir::UnpackDir;
use crate::progress::Event;
use crate::repository::Catalog;

/// Unpacks a shard. What is damaged of it is told later.
///
/// # Errors
///
/// When it cannot be read or unpacked.
pub(in crate::ops) fn prepare(
    catalog: &Catalog,
    planned: PlannedShard,
    context: Context<'_>,
) -> Result<PreparedShard> {
    let started = Instant::now();
    context.report(&Event::Started {
        shard: &planned.source,
        bytes: Some(planned.bytes()),
    });
    let scratch = scratch_dir();
    let directory = private_dir_in(&scratch).map_err(|error| scratch_error(&scratch, error))?;
    let unpack = UnpackDir {
        path: directory.path(),
        ownership: &Ownership::below(directory.path())?,
        syncs: None,
    };
    let told = Mutex::new(Vec::new());
    let tell = |what| {
        told.lock()
            .unwrap_or_else(PoisonError::into_inner)
            .push(what)
    };
    let checker = ShardChecker {
        catalog,
        checks: &RestoreChecks {
            leave_index: true,
            apply_deletes: true,
            scratch: directory.path().to_owned(),
            // The export chooses among those that are read.
            series: Arc::default(),
            types: None,
            lost: None,
        },
        unpack: Some(&unpack),
        tell: Some(&tell),
        context,
    };
    let shard = checker.check(planned)?;
    let mut told = told.into_inner().unwrap_or_else(PoisonError::into_inner);
    told.extend(shard.undecided);
    let names = shard.files.iter().map(|(name, _)| name);
    let files = PreparedFile::among(names, |name| {
        (shard.files.get(name)).map(|_| directory.path().join(name))
    });
    Ok(PreparedShard {
        name: shard.source,
        files,
        new_types: shard.new_types,
        told,
        are_tombstones_told: true,
        started,
        _guard: Box::new(directory),
    })
}
