//! Which parts of the shards that are cut hold points: of those that hold none, no shard is made.

use std::collections::{BTreeMap, HashSet};
use std::io;

use anyhow::Result;

use super::checked_shard::CheckedShard;
use super::members::ShardMembers;
use super::regrouping::TargetShard;
use crate::io::read_at::ReadAt;
use crate::time::Bounds;
use crate::tsm::index::{IndexError, IndexWalk};

/// Leaves out parts without a point, and shards of the target that have no others.
/// `look` finds which of the parts of a shard, in order of time, hold any.
///
/// # Errors
///
/// Those of `look`.
pub(super) fn without_empty(
    targets: Vec<TargetShard>,
    shards: &[CheckedShard],
    mut look: impl FnMut(usize, &CheckedShard, &[Bounds]) -> Result<Vec<bool>>,
) -> Result<Vec<TargetShard>> {
    let mut cut: BTreeMap<u64, Vec<Bounds>> = BTreeMap::new();
    for part in targets.iter().flat_map(|target| &target.parts) {
        if let Some(bounds) = part.bounds {
            cut.entry(part.shard).or_default().push(bounds);
        }
    }
    let mut empty: HashSet<(u64, i64)> = HashSet::new();
    for (index, shard) in shards.iter().enumerate() {
        let Some(parts) = cut.get(&shard.source.id) else {
            continue;
        };
        let hold_any = look(index, shard, parts)?;
        let without = parts.iter().zip(hold_any).filter(|(_, any)| !any);
        empty.extend(without.map(|(bounds, _)| (shard.source.id, bounds.start)));
    }
    let left = targets.into_iter().filter_map(|mut target| {
        let is_empty = |id: u64, bounds: &Bounds| empty.contains(&(id, bounds.start));
        target.parts.retain(|part| {
            let bounds = part.bounds.as_ref();
            bounds.is_none_or(|bounds| !is_empty(part.shard, bounds))
        });
        (!target.parts.is_empty()).then_some(target)
    });
    Ok(left.collect())
}

/// Which of `parts`, which are in order of time, the blocks of those files of a shard reach into
/// that are wanted. What was deleted, and gaps within a block, are not looked at.
///
/// # Errors
///
/// When the files cannot be read.
pub(super) fn parts_with_points(
    members: &ShardMembers<'_>,
    parts: &[Bounds],
    wants: impl Fn(&str) -> bool,
) -> Result<Vec<bool>> {
    let mut hold_any = vec![false; parts.len()];
    members.each(
        |name| name.ends_with(".tsm") && wants(name),
        |_, passed| mark(passed.content, parts, &mut hold_any).map_err(io::Error::other),
    )?;
    Ok(hold_any)
}

/// Marks the parts that blocks of a file reach into.
fn mark(
    file: &(impl ReadAt + ?Sized),
    parts: &[Bounds],
    hold_any: &mut [bool],
) -> Result<(), IndexError> {
    let mut walk = IndexWalk::open(file)?;
    while walk.next_key()?.is_some() {
        while let Some(entry) = walk.next_entry()? {
            let first = parts.partition_point(|part| part.end < entry.min_time);
            let behind = parts.partition_point(|part| part.start <= entry.max_time);
            if let Some(reached) = hold_any.get_mut(first..behind) {
                reached.fill(true);
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tsm::values::{Points, ValueType, Values};
    use crate::tsm::writer::Writer;

    fn file(blocks: &[&[i64]]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        writer.begin_key(b"m#!~#v", ValueType::Integer).unwrap();
        for times in blocks {
            let points = Points {
                times: times.to_vec(),
                values: Values::Integer(vec![1; times.len()]),
            };
            writer.points(&points).unwrap();
        }
        writer.finish().unwrap().0
    }

    #[test]
    fn parts_that_no_block_reaches_into_are_empty() {
        let bounds = |start, end| Bounds { start, end };
        let parts = [
            bounds(i64::MIN, 9),
            bounds(10, 19),
            bounds(20, 29),
            bounds(30, 39),
            bounds(40, i64::MAX),
        ];
        let marked = |blocks: &[&[i64]]| {
            let mut hold_any = vec![false; parts.len()];
            mark(&file(blocks)[..], &parts, &mut hold_any).unwrap();
            hold_any
        };
        assert_eq!(marked(&[&[10, 19]]), [false, true, false, false, false]);
        assert_eq!(marked(&[&[-5, 9]]), [true, false, false, false, false]);
        assert_eq!(marked(&[&[9, 10]]), [true, true, false, false, false]);
        let ends: &[&[i64]] = &[&[i64::MIN + 2], &[i64::MAX - 1]];
        assert_eq!(marked(ends), [true, false, false, false, true]);
        // What is between the first and the last point of a block is not looked at.
        assert_eq!(marked(&[&[12, 35]]), [false, true, true, true, false]);
    }
}
