//! Shard groups for shards of which only the times of their points are known.
//!
//! influxd needs of a group that the points of its shards lie in it. Which durations it was made
//! with cannot be told in general, but a duration of which each shard has a group of its own is as
//! good: queries find the same points, and later ones go where they went before.

use crate::metastore::groups::Grid;

const HOUR: i64 = 3_600_000_000_000;
const DAY: i64 = 24 * HOUR;
const HOURS: Grid = Grid { width: HOUR };

/// The group durations that are tried, in this order: what influxd takes for a policy without one,
/// then the shortest that does.
const DURATIONS: [i64; 30] = [
    7 * DAY,
    DAY,
    HOUR,
    2 * HOUR,
    3 * HOUR,
    4 * HOUR,
    6 * HOUR,
    8 * HOUR,
    12 * HOUR,
    2 * DAY,
    3 * DAY,
    4 * DAY,
    5 * DAY,
    6 * DAY,
    10 * DAY,
    14 * DAY,
    15 * DAY,
    28 * DAY,
    30 * DAY,
    31 * DAY,
    60 * DAY,
    84 * DAY,
    90 * DAY,
    91 * DAY,
    180 * DAY,
    182 * DAY,
    364 * DAY,
    365 * DAY,
    366 * DAY,
    3650 * DAY,
];

/// The times of the first and the last point of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Times {
    pub first: i64,
    pub last: i64,
}

/// Groups for the shards of a policy, in the order of the shards.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Grouping {
    /// The group duration of the policy, in nanoseconds.
    pub duration: i64,
    /// The first nanosecond of each group, and the first behind it.
    pub groups: Vec<(i64, i64)>,
    /// Whether the groups are those of the duration.
    pub is_regular: bool,
}

/// Finds groups for shards with these times.
pub(super) fn group(shards: &[Times]) -> Grouping {
    for duration in DURATIONS {
        if let Some(groups) = regular(shards, duration) {
            return Grouping {
                duration,
                groups,
                is_regular: true,
            };
        }
    }
    Grouping {
        duration: DURATIONS[0],
        groups: irregular(shards),
        is_regular: false,
    }
}

/// The groups of a duration, if all points of each shard are in one that no other shard has.
fn regular(shards: &[Times], duration: i64) -> Option<Vec<(i64, i64)>> {
    let mut groups = Vec::with_capacity(shards.len());
    for times in shards {
        let group = Grid { width: duration }.group_of(times.first);
        if times.last >= group.1 {
            return None;
        }
        groups.push(group);
    }
    let mut starts: Vec<i64> = groups.iter().map(|group| group.0).collect();
    starts.sort_unstable();
    starts.dedup();
    (starts.len() == groups.len()).then_some(groups)
}

/// Whole hours around the times of each shard, cut where the next shard's points begin.
fn irregular(shards: &[Times]) -> Vec<(i64, i64)> {
    let groups = shards.iter().map(|own| {
        let before = shards.iter().map(|other| other.last);
        let before = before.filter(|last| *last < own.first).max();
        let after = shards.iter().map(|other| other.first);
        let after = after.filter(|first| *first > own.last).min();
        let border = before.map_or(i64::MIN, |last| HOURS.group_of(last).1.min(own.first));
        let start = HOURS.group_of(own.first).0.max(border);
        let hour = HOURS.group_of(own.last).1;
        (start, after.map_or(hour, |first| hour.min(first)))
    });
    groups.collect()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::time::{GREATEST, LEAST};

    fn times(list: &[(i64, i64)]) -> Vec<Times> {
        let times = list.iter().map(|&(first, last)| Times { first, last });
        times.collect()
    }

    #[test]
    fn the_duration_is_one_of_which_each_shard_has_a_group_of_its_own() {
        for (shards, duration) in [
            // Weeks, with a gap and with points at both ends of a group.
            (
                &[(4 * DAY, 11 * DAY - 1), (20 * DAY, 21 * DAY)][..],
                7 * DAY,
            ),
            (&[(0, HOUR), (DAY, 2 * DAY - 1)], DAY),
            (&[(0, 1), (HOUR, HOUR + 1)], HOUR),
            (&[(0, 2 * HOUR - 1), (2 * HOUR, 4 * HOUR - 1)], 2 * HOUR),
            (&[(5 * DAY, 16 * DAY)], 14 * DAY),
            (&[(LEAST, LEAST), (GREATEST, GREATEST)], 7 * DAY),
            (&[], 7 * DAY),
        ] {
            let found = group(&times(shards));
            assert!(found.is_regular, "{shards:?}");
            assert_eq!(found.duration, duration, "{shards:?}");
        }
    }

    #[test]
    fn shards_of_which_no_duration_has_groups_get_some_around_their_points() {
        let shards = [
            (HOUR + 5, 3 * HOUR),
            (3 * HOUR + 1, 40 * DAY),
            (41 * DAY, 41 * DAY),
        ];
        let found = group(&times(&shards));
        assert!(!found.is_regular);
        let expected = [
            (HOUR, 3 * HOUR + 1),
            (3 * HOUR + 1, 40 * DAY + HOUR),
            (41 * DAY, 41 * DAY + HOUR),
        ];
        assert_eq!(found.groups, expected);
    }

    proptest! {
        /// Whatever the times, each group has the points of its shard, and groups overlap only
        /// where the points of their shards do.
        #[test]
        fn groups_have_the_points_of_their_shards(
            shards in prop::collection::vec((-100i64..100, 0i64..60, -1i64..2), 1..12),
        ) {
            let list: Vec<(i64, i64)> = shards
                .into_iter()
                .map(|(start, length, off)| {
                    let first = start * 7 * HOUR + off;
                    (first, first + length * HOUR)
                })
                .collect();
            let shards = times(&list);
            let found = group(&shards);
            for (at, (own, (start, end))) in shards.iter().zip(&found.groups).enumerate() {
                prop_assert!(*start <= own.first && own.last < *end);
                for (other, group) in shards.iter().zip(&found.groups).skip(at + 1) {
                    let share_points = own.first <= other.last && other.first <= own.last;
                    let share_time = *start < group.1 && group.0 < *end;
                    prop_assert!(share_points || !share_time);
                }
            }
        }
    }
}
