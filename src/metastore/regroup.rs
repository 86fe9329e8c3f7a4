//! Giving a retention policy another duration or shard group duration, and its shard groups the
//! borders that influxd would give them.
//!
//! A group that nests in a new one moves whole; one that straddles a border is cut. Works on the
//! bytes, as [`super::edit`] does.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::time::Duration;

use anyhow::{Context, Result, ensure};

use super::Data;
use super::edit::next;
use super::groups::Grid;
use super::proto::{message, messages, number, put_bytes, put_varint, rewrite, text};
use super::{RetentionPolicyInfo, ShardGroupInfo};
use crate::error::{Error, ErrorKind};
use crate::shard::ShardPath;
use crate::text::age;
use crate::time::{Bounds, GREATEST, LEAST};

/// The most groups that are made. influxd does not work with nearly as many shards.
const MOST_GROUPS: u64 = 100_000;

/// What a retention policy is given, in nanoseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct NewDurations {
    /// How long a shard group is; as long as before where none is given.
    pub shard_group: Option<i64>,
    /// How long points are kept, 0 for ever; as long as before where none is given.
    pub retention: Option<i64>,
}

/// A metastore with other durations.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Regrouped {
    /// The protobuf message.
    pub meta: Vec<u8>,
    /// The groups of the policy in order of time; none where they stay as they are.
    pub groups: Option<Vec<NewGroup>>,
}

/// A shard group, which has one shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NewGroup {
    /// The shard's id.
    pub shard: u64,
    /// First nanosecond inside.
    pub start: i64,
    /// First nanosecond behind.
    pub end: i64,
    /// The shards whose points it gets. Where several have a value of one field at one time, that
    /// of the last counts.
    pub parts: Vec<GroupPart>,
}

/// A shard, or a part of one, whose points come into a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GroupPart {
    /// The shard's id before.
    pub shard: u64,
    /// The times of the part; none for all of the shard.
    pub bounds: Option<Bounds>,
}

/// Gives a policy of a metastore other durations. With a shard group duration, its groups get the
/// borders that influxd gives new ones. Each takes the ids of the first of its old groups that did
/// not pass them on yet, or new ones; deleted groups go.
///
/// Groups overlap where somebody altered the duration, and a group of a cluster has several shards.
/// Where two have a value of one field at one time, nothing tells which was written last. That of
/// the shard with the higher id counts, which was made later.
///
/// # Errors
///
/// [`ErrorKind::Usage`] for durations that influxd refuses; when the message is malformed, or the
/// policy is not in it.
pub fn regroup(
    meta: &[u8],
    database: &str,
    policy: &str,
    durations: NewDurations,
) -> Result<Regrouped> {
    let data = Data::read(meta)?;
    let found = data
        .database(database)
        .and_then(|database| database.retention_policy(policy))
        .with_context(|| format!("no retention policy '{policy}' in database '{database}'"))?;
    let NewDurations {
        shard_group,
        retention,
    } = durations;
    ensure!(
        shard_group.is_none_or(|width| width > 0) && retention.is_none_or(|nanos| nanos >= 0),
        "a duration of less than nothing"
    );
    ensure_compatible(found, durations)?;
    let mut ids = Ids::of(&data);
    let groups = match shard_group {
        None => None,
        Some(width) => Some(new_groups(found, width, &mut ids)?),
    };
    let changed = Changed {
        durations,
        groups: groups.as_deref(),
        old: found,
    };
    let meta = rewrite(meta, |field, out| {
        match (field.number, message(field)) {
            (5, Some(bytes)) if text(bytes, 1)? == database => {
                put_bytes(out, 5, &changed.database(bytes, policy)?);
            }
            (8, _) => put_varint(out, 8, ids.group),
            (9, _) => put_varint(out, 9, ids.shard),
            _ => out.extend_from_slice(field.raw),
        }
        Ok(())
    })?;
    let groups = groups.map(|groups| groups.into_iter().map(|made| made.group).collect());
    Ok(Regrouped { meta, groups })
}

/// The metastore without the groups that have one of these shards.
///
/// # Errors
///
/// When the message is malformed.
pub(crate) fn without_groups(meta: &[u8], shards: &HashSet<&ShardPath>) -> Result<Vec<u8>> {
    let without = |group: &[u8], database: &str, policy: &str| -> Result<bool> {
        let mut ids = messages(group, 5).map(|shard| number(shard?, 1));
        ids.try_fold(false, |found, id| {
            let path = ShardPath {
                database: database.into(),
                retention_policy: policy.into(),
                id: id?,
            };
            Ok(found || shards.contains(&path))
        })
    };
    rewrite_messages(meta, 5, |database| {
        let name = text(database, 1)?;
        let rewritten = rewrite_messages(database, 3, |policy| {
            let of = text(policy, 1)?;
            let rewritten = rewrite_messages(policy, 5, |group| {
                let is_without = without(group, name, of)?;
                Ok((!is_without).then(|| group.to_vec()))
            });
            rewritten.map(Some)
        });
        rewritten.map(Some)
    })
}

/// Copies a message, with each message in the fields of that number as `edit` makes it, or without
/// it.
fn rewrite_messages(
    bytes: &[u8],
    number: u32,
    edit: impl Fn(&[u8]) -> Result<Option<Vec<u8>>>,
) -> Result<Vec<u8>> {
    rewrite(bytes, |field, out| {
        match message(field).filter(|_| field.number == number) {
            None => out.extend_from_slice(field.raw),
            Some(inner) => {
                if let Some(inner) = edit(inner)? {
                    put_bytes(out, number, &inner);
                }
            }
        }
        Ok(())
    })
}

/// Refuses what influxd refuses in CREATE and ALTER RETENTION POLICY.
fn ensure_compatible(policy: &RetentionPolicyInfo, new: NewDurations) -> Result<(), Error> {
    let retention = new.retention.unwrap_or(policy.duration);
    let shard_group = new.shard_group.unwrap_or(policy.shard_group_duration);
    if retention <= 0 || retention >= shard_group {
        return Ok(());
    }
    let length = |nanos: i64| age(Duration::from_nanos(nanos.unsigned_abs()));
    Err(ErrorKind::Usage
        .error(format!(
            "retention policy duration must be greater than the shard duration: policy '{}' would keep points for {}, in \
             shards of {}",
            policy.name,
            length(retention),
            length(shard_group)
        ))
        .hint("-duration D, longer or INF, and -shard-duration D, shorter, set the two"))
}

/// A shard as it is before.
struct OldShard<'a> {
    group: &'a ShardGroupInfo,
    id: u64,
    /// The first and the last time that a point of it can have.
    start: i64,
    last: i64,
}

/// A new group, and the old one that it is made from.
struct MadeGroup {
    id: u64,
    /// Of the first of its parts: its place among the policy's, and the shard's id.
    from: (u64, u64),
    group: NewGroup,
}

fn new_groups(policy: &RetentionPolicyInfo, width: i64, ids: &mut Ids) -> Result<Vec<MadeGroup>> {
    let grid = Grid { width };
    let shards = old_shards(policy, width)?;
    let mut by_time: BTreeMap<(i64, i64), Vec<&OldShard<'_>>> = BTreeMap::new();
    for shard in &shards {
        let mut at = shard.start;
        while at <= shard.last {
            let group = grid.group_of(at);
            by_time.entry(group).or_default().push(shard);
            at = group.1;
        }
    }
    let mut groups = Vec::with_capacity(by_time.len());
    for ((start, end), parts) in by_time {
        let Some(first) = parts.first() else {
            continue;
        };
        let (id, shard) = ids.take_over(&parts)?;
        let parts = parts.iter().map(|old| GroupPart {
            shard: old.id,
            bounds: old.bounds_in(start, end),
        });
        groups.push(MadeGroup {
            id,
            from: (first.group.id, first.id),
            group: NewGroup {
                shard,
                start,
                end,
                parts: parts.collect(),
            },
        });
    }
    Ok(groups)
}

/// The shards of the groups that are not deleted, in the order in which their points come.
fn old_shards(policy: &RetentionPolicyInfo, width: i64) -> Result<Vec<OldShard<'_>>> {
    ensure_unique(policy)?;
    let mut shards = Vec::new();
    for group in live_groups(policy) {
        let start = group.start().max(LEAST);
        let last = group.end_time.saturating_sub(1).clamp(start, GREATEST);
        shards.extend(group.shards.iter().map(|shard| OldShard {
            group,
            id: shard.id,
            start,
            last,
        }));
    }
    shards.sort_by_key(|shard| shard.id);
    let of_shard = |old: &OldShard<'_>| old.last.abs_diff(old.start) / width.unsigned_abs() + 1;
    let count = shards.iter().map(of_shard).fold(0, u64::saturating_add);
    if count > MOST_GROUPS {
        let fault = ErrorKind::Usage.error(format!(
            "-shard-duration would make up to {count} shards; influxd does not work with so many"
        ));
        return Err(fault.hint("write a longer one").into());
    }
    Ok(shards)
}

fn live_groups(policy: &RetentionPolicyInfo) -> impl Iterator<Item = &ShardGroupInfo> {
    let groups = policy.shard_groups.iter();
    groups.filter(|group| group.deleted_at == 0)
}

/// Refuses a policy of which two groups or shards have one id: what is moved is told by it.
fn ensure_unique(policy: &RetentionPolicyInfo) -> Result<()> {
    let (mut groups, mut shards) = (BTreeSet::new(), BTreeSet::new());
    for group in live_groups(policy) {
        let is_new =
            groups.insert(group.id) && group.shards.iter().all(|shard| shards.insert(shard.id));
        ensure!(
            is_new,
            "the metastore gives one id to two shards or shard groups of policy '{}'",
            policy.name
        );
    }
    Ok(())
}

impl OldShard<'_> {
    /// The times of its part in a new group. Points outside the times of its own group, which
    /// nothing should have, stay with the part at that end.
    fn bounds_in(&self, start: i64, end: i64) -> Option<Bounds> {
        let mut bounds = Bounds::ANY;
        if self.start < start {
            bounds.start = start;
        }
        if self.last >= end {
            bounds.end = end - 1;
        }
        (bounds != Bounds::ANY).then_some(bounds)
    }
}

/// The highest ids of groups and shards ever given out, and the old groups that passed theirs on.
struct Ids {
    group: u64,
    shard: u64,
    passed_on: BTreeSet<u64>,
}

impl Ids {
    fn of(data: &Data) -> Self {
        let policies = data
            .databases
            .iter()
            .flat_map(|database| &database.retention_policies);
        let groups = policies.flat_map(|policy| &policy.shard_groups);
        let (mut group, mut shard) = (data.max_shard_group_id, data.max_shard_id);
        for known in groups {
            group = group.max(known.id);
            shard = known.shards.iter().map(|of| of.id).fold(shard, u64::max);
        }
        Self {
            group,
            shard,
            passed_on: BTreeSet::new(),
        }
    }

    /// The ids of the first of the old groups that has not passed them on, or new ones: of the
    /// group, and of a shard.
    fn take_over(&mut self, parts: &[&OldShard<'_>]) -> Result<(u64, u64)> {
        if let Some(old) = parts.iter().find(|old| self.passed_on.insert(old.group.id)) {
            return Ok((old.group.id, old.id));
        }
        (self.group, self.shard) = (next(self.group)?, next(self.shard)?);
        Ok((self.group, self.shard))
    }
}

/// What becomes of a policy.
struct Changed<'a> {
    durations: NewDurations,
    groups: Option<&'a [MadeGroup]>,
    old: &'a RetentionPolicyInfo,
}

impl Changed<'_> {
    fn database(&self, database: &[u8], policy: &str) -> Result<Vec<u8>> {
        rewrite(database, |field, out| {
            match (field.number, message(field)) {
                (3, Some(bytes)) if text(bytes, 1)? == policy => {
                    put_bytes(out, 3, &self.policy(bytes)?);
                }
                _ => out.extend_from_slice(field.raw),
            }
            Ok(())
        })
    }

    fn policy(&self, policy: &[u8]) -> Result<Vec<u8>> {
        let NewDurations {
            shard_group,
            retention,
        } = self.durations;
        let mut old: BTreeMap<u64, Vec<u8>> = BTreeMap::new();
        let mut bytes = rewrite(policy, |field, out| {
            match (field.number, message(field), retention, shard_group) {
                (2, _, Some(nanos), _) | (3, _, _, Some(nanos)) => {
                    put_varint(out, field.number, nanos as u64);
                }
                (5, Some(group), ..) if self.groups.is_some() => {
                    if number(group, 4)? == 0 {
                        old.insert(number(group, 1)?, group.to_vec());
                    }
                }
                _ => out.extend_from_slice(field.raw),
            }
            Ok(())
        })?;
        for made in self.groups.unwrap_or_default() {
            let from = old.get(&made.from.0).with_context(|| {
                format!(
                    "policy '{}' has no shard group {}",
                    self.old.name, made.from.0
                )
            })?;
            put_bytes(&mut bytes, 5, &made.rewritten(from)?);
        }
        Ok(bytes)
    }
}

impl MadeGroup {
    /// The group, made of the old one of its first part.
    fn rewritten(&self, old: &[u8]) -> Result<Vec<u8>> {
        rewrite(old, |field, out| {
            match (field.number, message(field)) {
                (1, _) => put_varint(out, 1, self.id),
                (2, _) => put_varint(out, 2, self.group.start as u64),
                (3, _) => put_varint(out, 3, self.group.end as u64),
                (5, Some(shard)) if number(shard, 1)? == self.from.1 => {
                    put_bytes(out, 5, &with_id(shard, self.group.shard)?);
                }
                // It has one shard, and takes points of all its times.
                (5 | 6, _) => {}
                _ => out.extend_from_slice(field.raw),
            }
            Ok(())
        })
    }
}

fn with_id(shard: &[u8], id: u64) -> Result<Vec<u8>> {
    rewrite(shard, |field, out| {
        if field.number == 1 {
            put_varint(out, 1, id);
        } else {
            out.extend_from_slice(field.raw);
        }
        Ok(())
    })
}

#[cfg(test)]
#[path = "regroup_tests.rs"]
mod tests;
