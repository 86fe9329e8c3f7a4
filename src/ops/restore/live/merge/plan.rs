//! Which shard of the server gets which points of the backup.
//!
//! A shard of the backup goes whole into the live group that its own group nests in, and is cut at
//! the borders of those that it reaches into. Where the server has no group, points make one: influxd
//! gives it the borders that the policy's shard group duration says, from 1.12 on as far as other
//! groups leave it room, so they are known before.

use std::collections::BTreeMap;

use crate::metastore::groups::Grid;
use crate::metastore::regroup::GroupPart;
use crate::metastore::{RetentionPolicyInfo, ShardGroupInfo};
use crate::ops::restore::regrouping::TargetShard;
use crate::shard::ShardPath;
use crate::time::{Bounds, from_nanos};

/// The id of a shard that the server does not have yet: none that it gives out.
pub(super) const NEW: u64 = 0;

/// The most groups that are made of one shard of the backup.
const MOST_GROUPS: i128 = 10_000;

/// Whether points make the shard.
pub(super) fn is_new(target: &TargetShard) -> bool {
    target.path.id == NEW
}

/// `db/rp/7`, or `a new shard of db/rp`.
pub(super) fn into(path: &ShardPath) -> String {
    match path.id {
        NEW => format!("a new shard of {}/{}", path.database, path.retention_policy),
        _ => path.to_string(),
    }
}

/// `2026-11-20T00:00:00Z to 2026-11-27T00:00:00Z`.
pub(super) fn span(start: i64, end: i64) -> String {
    format!("{} to {}", from_nanos(start), from_nanos(end))
}

/// Which borders a server gives a shard group that points make.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum GroupBorders {
    /// Those that the shard group duration says, though others are there already.
    OfDuration,
    /// Those too, but none that others have between them.
    WithinRoom,
}

impl GroupBorders {
    /// Those of a server that says this version: `1.6.7~rc0`, `v1.12.4`.
    pub(super) fn of_version(version: &str) -> Self {
        let numbers = version.trim_start_matches('v').split('.');
        let mut numbers = numbers.map(|number| number.parse::<u32>().ok());
        match (numbers.next().flatten(), numbers.next().flatten()) {
            (Some(1), Some(12..)) => Self::WithinRoom,
            _ => Self::OfDuration,
        }
    }
}

/// The shards of one policy that get points.
#[derive(Debug, Default)]
pub(super) struct PolicyPlan {
    /// In order of time.
    pub targets: Vec<TargetShard>,
    /// Why new groups cannot be made, by their starts, where they would get points.
    pub crossings: BTreeMap<i64, String>,
    /// What stands in the way, a sentence each.
    pub problems: Vec<String>,
}

/// Plans where the points of shards come, which have them between these bounds. `path` names the
/// database and the policy, of which `policy` is what the server has.
pub(super) fn plan(
    path: &ShardPath,
    policy: &RetentionPolicyInfo,
    borders: GroupBorders,
    sources: &[(u64, Bounds)],
) -> PolicyPlan {
    let mut groups: Vec<&ShardGroupInfo> = policy.shard_groups.iter().collect();
    groups.retain(|group| group.deleted_at == 0);
    groups.sort_by_key(|group| (group.start(), group.end_time));
    let mut planner = Planner {
        path,
        policy,
        borders,
        groups,
        targets: BTreeMap::new(),
        plan: PolicyPlan::default(),
    };
    for (shard, bounds) in sources {
        planner.place(*shard, *bounds);
    }
    let Planner {
        targets, mut plan, ..
    } = planner;
    plan.targets = targets.into_values().collect();
    for target in &mut plan.targets {
        // Of two that have a value at one time, that which was made later.
        target.parts.sort_by_key(|part| part.shard);
    }
    plan.problems.sort();
    plan.problems.dedup();
    plan
}

struct Planner<'a> {
    path: &'a ShardPath,
    policy: &'a RetentionPolicyInfo,
    borders: GroupBorders,
    /// Those that live, in order of time.
    groups: Vec<&'a ShardGroupInfo>,
    /// By their starts and ids: one that would be made can begin with another.
    targets: BTreeMap<(i64, u64), TargetShard>,
    plan: PolicyPlan,
}

impl Planner<'_> {
    /// Places the points of one shard.
    fn place(&mut self, shard: u64, bounds: Bounds) {
        let groups = self.groups.clone();
        let reached = groups
            .into_iter()
            .filter(|group| group.start() <= bounds.end && group.end_time > bounds.start);
        // The first time that has no place yet; none behind the last of all.
        let mut next = Some(bounds.start);
        for group in reached {
            let part = Bounds {
                start: group.start().max(bounds.start),
                end: (group.end_time - 1).min(bounds.end),
            };
            match next {
                Some(time) if time < part.start => self.fill(
                    shard,
                    Bounds {
                        start: time,
                        end: part.start - 1,
                    },
                    bounds,
                ),
                Some(time) if time == part.start => {}
                _ => self.tell_overlap(group),
            }
            next = part.end.checked_add(1);
            let Some(id) = self.only_shard(group) else {
                continue;
            };
            let target = self.target(id, group.start(), group.end_time);
            target.parts.push(part_of(shard, part, bounds));
        }
        if let Some(start) = next.filter(|time| *time <= bounds.end) {
            let end = bounds.end;
            self.fill(shard, Bounds { start, end }, bounds);
        }
    }

    /// Places points where no group is: in those that influxd would make.
    fn fill(&mut self, shard: u64, gap: Bounds, all: Bounds) {
        let width = self.policy.shard_group_duration;
        let Self { path, .. } = self;
        let name = format!("{}/{}", path.database, path.retention_policy);
        if width <= 0 {
            let problem = format!("{name} has no shard group duration");
            return self.plan.problems.push(problem);
        }
        let grid = Grid { width };
        if grid.at(gap.end) - grid.at(gap.start) >= MOST_GROUPS {
            let problem = format!(
                "shard {shard} of the backup would make more than {MOST_GROUPS} shard groups of {name}"
            );
            return self.plan.problems.push(problem);
        }
        let mut next = Some(gap.start);
        while let Some(time) = next.filter(|time| *time <= gap.end) {
            let (start, end) = self.within_room(time, grid.group_of(time));
            let part = Bounds {
                start: time,
                end: (end - 1).min(gap.end),
            };
            let crossed = |group: &&&ShardGroupInfo| group.start() < end && group.end_time > start;
            if let Some(group) = self.groups.iter().find(crossed) {
                let problem = format!(
                    "{name} would get a shard group from {}, which overlaps the one from {}",
                    span(start, end),
                    span(group.start(), group.end_time)
                );
                self.plan.crossings.insert(start, problem);
            }
            let target = self.target(NEW, start, end);
            target.parts.push(part_of(shard, part, all));
            next = part.end.checked_add(1);
        }
    }

    /// The borders of the group that a point makes, where the duration says `all`.
    fn within_room(&self, time: i64, all: (i64, i64)) -> (i64, i64) {
        let groups = match self.borders {
            GroupBorders::OfDuration => &[],
            GroupBorders::WithinRoom => &self.groups[..],
        };
        groups.iter().fold(all, |(start, end), group| {
            if group.end_time <= time {
                (start.max(group.end_time), end)
            } else {
                (start, end.min(group.start()))
            }
        })
    }

    /// The shard of that id which gets points, of a group from `start` to before `end`.
    fn target(&mut self, id: u64, start: i64, end: i64) -> &mut TargetShard {
        let path = ShardPath {
            id,
            ..self.path.clone()
        };
        self.targets
            .entry((start, id))
            .or_insert_with(|| TargetShard {
                path,
                id,
                start,
                end,
                parts: Vec::new(),
            })
    }

    /// The shard of a group that points can come into.
    fn only_shard(&mut self, group: &ShardGroupInfo) -> Option<u64> {
        let which = format!(
            "the shard group of {}/{} from {}",
            self.path.database,
            self.path.retention_policy,
            span(group.start(), group.end_time)
        );
        if group.truncated_at.is_some_and(|time| time != 0) {
            self.plan.problems.push(format!("{which} was cut short"));
            return None;
        }
        match &group.shards[..] {
            [only] => Some(only.id),
            shards => {
                let problem = format!("{which} has {} shards", shards.len());
                self.plan.problems.push(problem);
                None
            }
        }
    }

    fn tell_overlap(&mut self, group: &ShardGroupInfo) {
        self.plan.problems.push(format!(
            "shard groups of {}/{} overlap: that from {} and one before it",
            self.path.database,
            self.path.retention_policy,
            span(group.start(), group.end_time)
        ));
    }
}

/// The part of a shard with points of these times, of `all` that it has.
fn part_of(shard: u64, times: Bounds, all: Bounds) -> GroupPart {
    GroupPart {
        shard,
        bounds: (times != all).then_some(times),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metastore::ShardInfo;

    const DAY: i64 = 86_400_000_000_000;

    fn group(id: u64, start: i64, end: i64) -> ShardGroupInfo {
        ShardGroupInfo {
            id,
            start_time: start * DAY,
            end_time: end * DAY,
            shards: vec![ShardInfo {
                id,
                ..Default::default()
            }],
            ..Default::default()
        }
    }

    fn planned(width: i64, groups: Vec<ShardGroupInfo>, sources: &[(u64, i64, i64)]) -> PolicyPlan {
        planned_of(GroupBorders::OfDuration, width, groups, sources)
    }

    fn planned_of(
        borders: GroupBorders,
        width: i64,
        groups: Vec<ShardGroupInfo>,
        sources: &[(u64, i64, i64)],
    ) -> PolicyPlan {
        let path = ShardPath {
            database: "db".into(),
            retention_policy: "rp".into(),
            id: 0,
        };
        let policy = RetentionPolicyInfo {
            name: "rp".into(),
            shard_group_duration: width * DAY,
            shard_groups: groups,
            ..Default::default()
        };
        let bounds = |start: i64, end: i64| Bounds {
            start: start * DAY,
            end: end * DAY - 1,
        };
        let sources: Vec<(u64, Bounds)> = sources
            .iter()
            .map(|(id, start, end)| (*id, bounds(*start, *end)))
            .collect();
        plan(&path, &policy, borders, &sources)
    }

    /// `id:start-end shard[start-end],shard…`, in days.
    fn told(plan: &PolicyPlan) -> Vec<String> {
        let part = |part: &GroupPart| match part.bounds {
            None => part.shard.to_string(),
            Some(Bounds { start, end }) => {
                format!("{}[{}-{}]", part.shard, start / DAY, (end + 1) / DAY)
            }
        };
        let target = |target: &TargetShard| {
            let parts: Vec<String> = target.parts.iter().map(part).collect();
            let (start, end) = (target.start / DAY, target.end / DAY);
            format!("{}:{start}-{end} {}", target.path.id, parts.join(","))
        };
        plan.targets.iter().map(target).collect()
    }

    #[test]
    fn shards_go_whole_where_they_nest_and_are_cut_where_they_do_not() {
        // Day 4 of 1970 was a Monday.
        let nested = planned(7, vec![group(9, 4, 11)], &[(1, 4, 5), (2, 5, 6)]);
        assert_eq!(told(&nested), ["9:4-11 1,2"]);
        let days = vec![group(8, 4, 5), group(9, 5, 6)];
        let cut = planned(1, days, &[(1, 4, 11)]);
        let expected = [
            "8:4-5 1[4-5]",
            "9:5-6 1[5-6]",
            "0:6-7 1[6-7]",
            "0:7-8 1[7-8]",
            "0:8-9 1[8-9]",
            "0:9-10 1[9-10]",
            "0:10-11 1[10-11]",
        ];
        assert_eq!(told(&cut), expected);
        assert!(cut.problems.is_empty() && cut.crossings.is_empty());
        let new = planned(7, Vec::new(), &[(1, 4, 11), (2, 11, 18)]);
        assert_eq!(told(&new), ["0:4-11 1", "0:11-18 2"]);
        let mut deleted = group(9, 4, 11);
        deleted.deleted_at = 1;
        assert_eq!(
            told(&planned(7, vec![deleted], &[(1, 4, 11)])),
            ["0:4-11 1"]
        );
    }

    #[test]
    fn a_new_group_gets_no_more_than_others_leave_it_where_the_server_makes_it_so() {
        for (version, borders) in [
            ("1.6.7~rc0", GroupBorders::OfDuration),
            ("1.8.10", GroupBorders::OfDuration),
            ("v1.12.4", GroupBorders::WithinRoom),
            ("2.7.1", GroupBorders::OfDuration),
            ("unknown", GroupBorders::OfDuration),
        ] {
            assert_eq!(GroupBorders::of_version(version), borders, "{version}");
        }
        let groups = vec![group(7, 1, 4), group(8, 5, 6), group(9, 10, 20)];
        let fitted = planned_of(GroupBorders::WithinRoom, 7, groups, &[(1, 4, 11)]);
        let expected = [
            "0:4-5 1[4-5]",
            "8:5-6 1[5-6]",
            "0:6-10 1[6-10]",
            "9:10-20 1[10-11]",
        ];
        assert_eq!(told(&fitted), expected);
        assert!(fitted.problems.is_empty() && fitted.crossings.is_empty());
    }

    #[test]
    fn groups_that_overlap_or_would_are_told() {
        let overlap = planned(7, vec![group(8, 4, 11), group(9, 10, 12)], &[(1, 4, 11)]);
        assert_eq!(overlap.problems.len(), 1, "{:?}", overlap.problems);
        // Elsewhere, it is none of our business.
        let apart = planned(7, vec![group(8, 4, 11), group(9, 10, 12)], &[(1, 18, 25)]);
        assert!(apart.problems.is_empty());
        // The week that influxd would make has a day already.
        let crossing = planned(7, vec![group(8, 5, 6)], &[(1, 4, 11)]);
        let expected = ["0:4-11 1[4-5],1[6-11]", "8:5-6 1[5-6]"];
        assert_eq!(told(&crossing), expected);
        assert_eq!(crossing.crossings.len(), 1);
        // Also where both begin at one time.
        let crossing = planned(7, vec![group(8, 4, 5)], &[(1, 4, 11)]);
        assert_eq!(told(&crossing), ["0:4-11 1[5-11]", "8:4-5 1[4-5]"]);
        assert_eq!(crossing.crossings.len(), 1);
        let mut two = group(8, 4, 11);
        two.shards.push(ShardInfo::default());
        let mut short = group(8, 4, 11);
        short.truncated_at = Some(5);
        for odd in [two, short] {
            assert_eq!(planned(7, vec![odd], &[(1, 4, 11)]).problems.len(), 1);
        }
        let many = planned(1, Vec::new(), &[(1, 0, 20_000)]);
        assert_eq!(many.problems.len(), 1);
        assert!(many.targets.is_empty());
    }
}
