//! Points that are older than a policy keeps: a server refuses them, and deletes shards of them.

use std::io;

use anyhow::Result;
use jiff::{Timestamp, Unit};

use crate::io::read_at::ReadAt;
use crate::metastore::RetentionPolicyInfo;
use crate::ops::restore::checked_shard::CheckedShard;
use crate::ops::restore::members::ShardMembers;
use crate::ops::restore::one_type::OfBackup;
use crate::ops::restore::regrouping::TargetShard;
use crate::time::{Bounds, from_nanos, to_nanos};
use crate::tsm::index::{IndexError, IndexWalk};

/// How long the points that are left have to be kept still, at most: so long a merge may take.
const GRACE: i64 = 3_600_000_000_000;

/// Tells of points that the policy does not keep, if there are any: a sentence that says where a
/// merge without them begins.
///
/// # Errors
///
/// When the backup cannot be read.
pub(super) fn expired(
    policy: &RetentionPolicyInfo,
    targets: &[TargetShard],
    shards: &[CheckedShard],
    of_backup: &OfBackup<'_>,
) -> Result<Option<String>> {
    if policy.duration <= 0 {
        return Ok(None);
    }
    let now = Timestamp::now();
    let kept_from = to_nanos(now).saturating_sub(policy.duration);
    let mut first: Option<i64> = None;
    for target in targets.iter().filter(|target| target.start < kept_from) {
        for part in &target.parts {
            let Some(shard) = shards.iter().find(|shard| shard.source.id == part.shard) else {
                continue;
            };
            let bounds = shard.time_range.unwrap_or(Bounds::ANY);
            let bounds = bounds.within(part.bounds.unwrap_or(Bounds::ANY));
            let found = earliest(&of_backup.members(shard), bounds)?;
            first = first.into_iter().chain(found).min();
        }
    }
    let Some(first) = first.filter(|first| *first < kept_from) else {
        return Ok(None);
    };
    let from = from_nanos(kept_from.saturating_add(GRACE.min(policy.duration / 10)));
    let from = from.round(Unit::Second).unwrap_or(from);
    Ok(Some(format!(
        "'{}' keeps points from {} on, and the backup has some from {} on (-start {from} leaves them out)",
        policy.name,
        from_nanos(kept_from).strftime("%Y-%m-%dT%H:%M:%SZ"),
        from_nanos(first)
    )))
}

/// The time of the first point between bounds that the indexes of a shard's files tell; what was
/// deleted is not looked at.
fn earliest(members: &ShardMembers<'_>, bounds: Bounds) -> Result<Option<i64>> {
    let mut first = None;
    members.each(
        |name| name.ends_with(".tsm"),
        |_, member| {
            let found = earliest_of(member.content, bounds).map_err(io::Error::other)?;
            first = first.into_iter().chain(found).min();
            Ok(())
        },
    )?;
    Ok(first)
}

fn earliest_of(file: &dyn ReadAt, bounds: Bounds) -> Result<Option<i64>, IndexError> {
    let mut first: Option<i64> = None;
    let mut walk = IndexWalk::open(file)?;
    while walk.next_key()?.is_some() {
        while let Some(entry) = walk.next_entry()? {
            if entry.min_time <= bounds.end && entry.max_time >= bounds.start {
                let time = entry.min_time.max(bounds.start);
                first = Some(first.map_or(time, |first| first.min(time)));
            }
        }
    }
    Ok(first)
}
