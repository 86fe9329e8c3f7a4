//! Regrouping metastores, down to their bytes, and at both ends of time.

use prost::Message;

use super::super::{DatabaseInfo, ShardInfo, ShardOwner, SubscriptionInfo};
use super::*;
use crate::error::{hint, kind_of};
use crate::time::to_nanos;

const HOUR: i64 = 3_600_000_000_000;
const DAY: i64 = 24 * HOUR;

fn at(text: &str) -> i64 {
    to_nanos(text.parse().unwrap())
}

/// Midnight that long after Monday, 2026-03-02.
fn day(number: i64) -> i64 {
    at("2026-03-02T00:00:00Z") + number * DAY
}

fn group(id: u64, start: i64, end: i64, shards: &[u64]) -> ShardGroupInfo {
    let shards = shards.iter().map(|id| ShardInfo {
        id: *id,
        ..Default::default()
    });
    ShardGroupInfo {
        id,
        start_time: start,
        end_time: end,
        shards: shards.collect(),
        ..Default::default()
    }
}

fn store(shard_groups: Vec<ShardGroupInfo>) -> Data {
    let policy = |name: &str, shard_groups| RetentionPolicyInfo {
        name: name.into(),
        duration: 0,
        shard_group_duration: DAY,
        replica_n: 1,
        shard_groups,
        ..Default::default()
    };
    let database = |name: &str, policies| DatabaseInfo {
        name: name.into(),
        default_retention_policy: "rp".into(),
        retention_policies: policies,
        ..Default::default()
    };
    let other = policy("other", vec![group(900, day(0), day(1), &[901])]);
    Data {
        index: 7,
        databases: vec![
            database("db", vec![policy("rp", shard_groups), other.clone()]),
            database("rp", vec![other]),
        ],
        max_shard_id: 1000,
        max_shard_group_id: 2000,
        ..Default::default()
    }
}

fn regrouped(data: &Data, width: i64) -> (Data, Vec<NewGroup>) {
    let durations = NewDurations {
        shard_group: Some(width),
        retention: None,
    };
    let regrouped = regroup(&data.encode_to_vec(), "db", "rp", durations).unwrap();
    let after = Data::read(&regrouped.meta).unwrap();
    // What is told and what is written agree.
    let groups = regrouped.groups.unwrap();
    let written = &after.databases[0].retention_policies[0].shard_groups;
    let told = groups.iter().map(|new| (new.start, new.end, new.shard));
    let written = written.iter().map(|new| {
        assert_eq!((new.shards.len(), new.deleted_at), (1, 0));
        (new.start_time, new.end_time, new.shards[0].id)
    });
    assert_eq!(
        told.collect::<Vec<_>>(),
        written.collect::<Vec<_>>(),
        "{groups:?}"
    );
    (after, groups)
}

fn whole(shard: u64) -> GroupPart {
    GroupPart {
        shard,
        bounds: None,
    }
}

fn part(shard: u64, start: i64, end: i64) -> GroupPart {
    let bounds = Some(Bounds { start, end });
    GroupPart { shard, bounds }
}

#[test]
fn days_come_into_weeks_that_begin_on_mondays_and_nothing_else_changes() {
    let mut before = store(
        (0..10)
            .map(|nth| group(nth as u64 + 50, day(nth), day(nth + 1), &[nth as u64 + 1]))
            .collect(),
    );
    let deleted = ShardGroupInfo {
        deleted_at: 5,
        ..group(49, day(-1), day(0), &[99])
    };
    before.databases[0].retention_policies[0]
        .shard_groups
        .insert(0, deleted);
    before.databases[0].retention_policies[0].subscriptions = vec![SubscriptionInfo::default()];
    let (after, groups) = regrouped(&before, 7 * DAY);
    let expected = [
        NewGroup {
            shard: 1,
            start: day(0),
            end: day(7),
            parts: (1..=7).map(whole).collect(),
        },
        NewGroup {
            shard: 8,
            start: day(7),
            end: day(14),
            parts: (8..=10).map(whole).collect(),
        },
    ];
    assert_eq!(groups, expected);
    let mut expected = before.clone();
    let policy = &mut expected.databases[0].retention_policies[0];
    policy.shard_group_duration = 7 * DAY;
    policy.shard_groups = vec![
        group(50, day(0), day(7), &[1]),
        group(57, day(7), day(14), &[8]),
    ];
    assert_eq!(after, expected);
}

#[test]
fn a_group_that_straddles_a_border_is_cut_and_ids_are_allocated_above_the_highest() {
    let before = store(vec![group(50, day(0), day(7), &[1])]);
    let (after, groups) = regrouped(&before, DAY);
    assert_eq!(groups.len(), 7);
    let shards: Vec<u64> = groups.iter().map(|group| group.shard).collect();
    assert_eq!(shards, [1, 1001, 1002, 1003, 1004, 1005, 1006]);
    assert_eq!((after.max_shard_id, after.max_shard_group_id), (1006, 2006));
    let ids = after.databases[0].retention_policies[0].shard_groups.iter();
    let ids: Vec<u64> = ids.map(|group| group.id).collect();
    assert_eq!(ids, [50, 2001, 2002, 2003, 2004, 2005, 2006]);
    assert_eq!(groups[0].parts, [part(1, i64::MIN, day(1) - 1)]);
    assert_eq!(groups[3].parts, [part(1, day(3), day(4) - 1)]);
    assert_eq!(groups[6].parts, [part(1, day(6), i64::MAX)]);

    // Three days each, which do not divide a week: the middle one is cut.
    let groups = [(50, 0, 3, 1), (51, 3, 6, 2), (52, 6, 9, 3)]
        .map(|(id, start, end, shard)| group(id, day(start), day(end), &[shard]));
    let (after, groups) = regrouped(&store(groups.to_vec()), 4 * DAY);
    let cut = groups
        .iter()
        .filter(|new| new.parts.iter().any(|part| part.bounds.is_some()));
    assert!(cut.count() >= 2, "{groups:?}");
    for pair in groups.windows(2) {
        assert_eq!(pair[0].end, pair[1].start);
    }
    let covered = |time: i64, shard: u64| {
        let group = groups
            .iter()
            .find(|new| new.start <= time && time < new.end)
            .unwrap();
        let taken = |part: &&GroupPart| {
            part.shard == shard
                && part
                    .bounds
                    .is_none_or(|of| of.start <= time && time <= of.end)
        };
        group.parts.iter().filter(taken).count()
    };
    for nth in 0..9 {
        for time in [day(nth), day(nth + 1) - 1] {
            assert_eq!(covered(time, nth as u64 / 3 + 1), 1, "{time}");
        }
    }
    assert_eq!(after.max_shard_id, 1000 + groups.len() as u64 - 3);
}

#[test]
fn overlapping_groups_and_several_shards_of_a_group_come_in_order_of_their_ids() {
    // A week made after its Wednesday, and a group of a cluster with three shards.
    let mut cluster = group(53, day(7), day(8), &[12, 10, 11]);
    cluster.shards[1].owners = vec![ShardOwner { node_id: 4 }];
    cluster.truncated_at = Some(day(7) + HOUR);
    let before = store(vec![
        group(50, day(2), day(3), &[1]),
        group(51, day(0), day(7), &[2]),
        cluster,
    ]);
    let (after, groups) = regrouped(&before, 7 * DAY);
    assert_eq!(groups[0].parts, [whole(1), whole(2)]);
    assert_eq!(groups[1].parts, [10, 11, 12].map(whole));
    assert_eq!([groups[0].shard, groups[1].shard], [1, 10]);
    let new = &after.databases[0].retention_policies[0].shard_groups[1];
    assert_eq!((new.id, new.truncated_at), (53, None));
    assert_eq!(new.shards[0].owners, [ShardOwner { node_id: 4 }]);

    let (_, groups) = regrouped(&before, DAY);
    let wednesday = &groups[2];
    let expected = [whole(1), part(2, day(2), day(3) - 1)];
    assert_eq!(
        (wednesday.start, &wednesday.parts[..]),
        (day(2), &expected[..])
    );
    // The week passed its ids on to its Monday.
    assert_eq!(wednesday.shard, 1);
}

#[test]
fn groups_at_both_ends_of_time_end_where_influxd_ends_them() {
    // As influxd 1.6.7 stores the first: its start wrapped round.
    let first = group(
        50,
        9_223_284_873_709_551_616,
        -9_222_854_400_000_000_000,
        &[1],
    );
    let last = group(51, at("2262-04-07T00:00:00Z"), i64::MAX, &[2]);
    let before = store(vec![first, last]);
    let (_, groups) = regrouped(&before, 7 * DAY);
    assert_eq!(groups[0].start, LEAST);
    assert_eq!(groups[0].end, -9_222_854_400_000_000_000);
    assert_eq!(groups[0].parts, [whole(1)]);
    let last = groups.last().unwrap();
    assert_eq!(last.start, at("2262-04-07T00:00:00Z"));
    assert_eq!(last.end, i64::MAX);
    assert_eq!((last.shard, &last.parts[..]), (2, &[whole(2)][..]));

    // One group for all of time, nearly.
    let (_, groups) = regrouped(&before, i64::MAX);
    assert!(groups.len() <= 4, "{groups:?}");
    assert_eq!(groups[0].start, LEAST);
    assert_eq!(groups.last().unwrap().end, i64::MAX);
}

#[test]
fn a_duration_alone_leaves_the_groups_as_they_are() {
    let before = store(vec![group(50, day(0), day(1), &[1])]);
    let durations = NewDurations {
        shard_group: None,
        retention: Some(52 * 7 * DAY),
    };
    let regrouped = regroup(&before.encode_to_vec(), "db", "rp", durations).unwrap();
    assert_eq!(regrouped.groups, None);
    let mut expected = before;
    expected.databases[0].retention_policies[0].duration = 52 * 7 * DAY;
    assert_eq!(Data::read(&regrouped.meta).unwrap(), expected);
}

#[test]
fn durations_that_influxd_refuses_are_refused_in_its_words() {
    let mut before = store(vec![]);
    before.databases[0].retention_policies[0].duration = 7 * DAY;
    let meta = before.encode_to_vec();
    let tried = |shard_group, retention| {
        let durations = NewDurations {
            shard_group,
            retention,
        };
        regroup(&meta, "db", "rp", durations)
    };
    for (shard_group, retention) in [
        (Some(28 * DAY), None),
        (None, Some(HOUR)),
        (Some(2 * DAY), Some(DAY)),
    ] {
        let error = tried(shard_group, retention).unwrap_err();
        assert_eq!(kind_of(&error), ErrorKind::Usage);
        let said = error.to_string();
        let expected = "retention policy duration must be greater than the shard duration";
        assert!(
            said.starts_with(expected) && hint(&error).is_some(),
            "{said}"
        );
    }
    for (shard_group, retention) in [
        (Some(28 * DAY), Some(0)),
        (Some(7 * DAY), None),
        (None, Some(DAY)),
    ] {
        assert!(tried(shard_group, retention).is_ok());
    }
}

#[test]
fn durations_that_nobody_can_type_are_refused() {
    let meta = store(vec![group(50, day(0), day(1), &[1])]).encode_to_vec();
    for (shard_group, retention) in [(Some(0), None), (Some(-1), None), (None, Some(-1))] {
        let durations = NewDurations {
            shard_group,
            retention,
        };
        assert!(regroup(&meta, "db", "rp", durations).is_err());
    }
}

#[test]
fn more_groups_than_influxd_works_with_are_refused_before_they_are_made() {
    let before = store(vec![group(50, LEAST, i64::MAX, &[1])]);
    let durations = NewDurations {
        shard_group: Some(HOUR),
        retention: None,
    };
    let error = regroup(&before.encode_to_vec(), "db", "rp", durations).unwrap_err();
    assert_eq!(kind_of(&error), ErrorKind::Usage);
    assert!(error.to_string().contains("would make up to"), "{error}");
}

#[test]
fn what_cannot_be_told_apart_is_refused() {
    for groups in [
        vec![
            group(50, day(0), day(1), &[1]),
            group(51, day(1), day(2), &[1]),
        ],
        vec![
            group(50, day(0), day(1), &[1]),
            group(50, day(1), day(2), &[2]),
        ],
    ] {
        let durations = NewDurations {
            shard_group: Some(7 * DAY),
            retention: None,
        };
        let meta = store(groups).encode_to_vec();
        assert!(regroup(&meta, "db", "rp", durations).is_err());
        assert!(regroup(&meta, "db", "none", durations).is_err());
    }
}

#[test]
fn groups_are_left_out_by_the_shards_they_have() {
    let groups = |ids: &[u64]| -> Vec<ShardGroupInfo> {
        let each = ids.iter().map(|id| group(*id, day(0), day(1), &[*id]));
        each.collect()
    };
    let path = |database: &str, policy: &str, id| ShardPath {
        database: database.into(),
        retention_policy: policy.into(),
        id,
    };
    let gone = [
        path("db", "rp", 1),
        path("db", "rp", 3),
        path("rp", "other", 900),
    ];
    let before = store(groups(&[1, 2, 3])).encode_to_vec();
    let after = without_groups(&before, &gone.iter().collect()).unwrap();
    assert_eq!(Data::read(&after).unwrap(), store(groups(&[2])));
    assert_eq!(without_groups(&before, &HashSet::new()).unwrap(), before);
}

#[test]
fn fields_we_do_not_know_survive_at_every_level() {
    let unknown = b"\xfa\x3e\x05later"; // field 1007, bytes
    let grown = |mut bytes: Vec<u8>| {
        bytes.extend(unknown);
        bytes
    };
    let shard = grown(
        ShardInfo {
            id: 1,
            ..Default::default()
        }
        .encode_to_vec(),
    );
    let mut old = group(50, day(0), day(1), &[]).encode_to_vec();
    put_bytes(&mut old, 5, &shard);
    let policy = store(vec![]).databases[0].retention_policies[0].encode_to_vec();
    let mut policy = grown(policy);
    put_bytes(&mut policy, 5, &grown(old));
    let mut database = DatabaseInfo {
        name: "db".into(),
        ..Default::default()
    }
    .encode_to_vec();
    put_bytes(&mut database, 3, &policy);
    let mut meta = Data::default().encode_to_vec();
    put_bytes(&mut meta, 5, &grown(database));
    let durations = NewDurations {
        shard_group: Some(7 * DAY),
        retention: Some(0),
    };
    let after = regroup(&grown(meta), "db", "rp", durations).unwrap().meta;
    let windows = after.windows(unknown.len());
    assert_eq!(windows.filter(|window| window == unknown).count(), 5);
}
