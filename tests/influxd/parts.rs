//! That a database, a policy, a shard or a stretch of time is taken alone and put back alone, point
//! by point.

use std::collections::BTreeSet;

use jiff::Timestamp;

use crate::support::data::{DATABASES, START, delete_some, flush, tombstones};
use crate::support::influxd::{Index, Influxd, Shard, time_of};
use crate::support::process::snap;
use crate::support::source::{
    Source, assert_opened_as, assert_same, back_up, index_flags, paths_of, restore, shard_dirs,
};
use crate::support::time::{DAY, SECOND};
use crate::support::utf8;

/// The points at `start` or later and at `end` or earlier.
fn within(points: &[String], start: i64, end: i64) -> Vec<String> {
    points
        .iter()
        .filter(|point| (start..=end).contains(&time_of(point)))
        .cloned()
        .collect()
}

/// Nanoseconds of a time as influxd lists it.
fn nanos(time: &str) -> i64 {
    i64::try_from(time.parse::<Timestamp>().expect("a time").as_nanosecond())
        .expect("a time InfluxDB can hold")
}

/// A time as the flags take it.
fn rfc3339(nanos: i64) -> String {
    Timestamp::from_nanosecond(nanos.into())
        .expect("a time")
        .to_string()
}

#[test]
fn one_database_one_policy_and_one_shard_are_taken_and_put_back_alone() {
    let source = Source::new(Index::Tsi1);
    let full = source.path("full");
    back_up(&source.server, &full, &[]);
    let shard = source.shards_in("plain", "two weeks")[3].clone();
    let id = shard.2.to_string();
    let policy = |rp: &str| -> Vec<String> {
        let prefix = format!("\"plain\".{rp:?} ");
        source
            .points
            .iter()
            .filter(|point| point.starts_with(&prefix))
            .cloned()
            .collect()
    };
    let of_shard = within(&policy("two weeks"), nanos(&shard.3), nanos(&shard.4) - 1);
    let plain = source.points_of("plain");
    assert!(
        !of_shard.is_empty()
            && of_shard.len() < policy("two weeks").len()
            && policy("two weeks").len() < plain.len()
    );
    let named = |points: &[String], from: &str, to: &str| -> Vec<String> {
        points
            .iter()
            .map(|point| format!("{to}{}", point.strip_prefix(from).expect("a prefix")))
            .collect()
    };

    let everything: &[&str] = &[];
    let cases: [(&[&str], &[&str], Vec<String>); 10] = [
        (&["-database", "plain"], everything, plain.clone()),
        (
            &["-database", "plain", "-retention", "two weeks"],
            everything,
            policy("two weeks"),
        ),
        (
            &[
                "-database",
                "plain",
                "-retention",
                "two weeks",
                "-shard",
                &id,
            ],
            everything,
            of_shard.clone(),
        ),
        (
            &["-shard", &id],
            &[
                "-database",
                "plain",
                "-retention",
                "two weeks",
                "-shard",
                &id,
            ],
            of_shard.clone(),
        ),
        (
            everything,
            &["-database", "plain", "-retention", "p.q"],
            policy("p.q"),
        ),
        (everything, &["-database", "plain", "-shard", &id], of_shard),
        (
            everything,
            &["-database", "plain", "-newdb", "n.e w"],
            named(&plain, "\"plain\".", "\"n.e w\"."),
        ),
        (
            everything,
            &[
                "-database",
                "plain",
                "-retention",
                "two weeks",
                "-newrp",
                "größer",
            ],
            named(
                &policy("two weeks"),
                "\"plain\".\"two weeks\" ",
                "\"plain\".\"größer\" ",
            ),
        ),
        (
            everything,
            &[
                "-database",
                "plain",
                "-retention",
                "autogen",
                "-newdb",
                "copy",
                "-newrp",
                "r.p",
            ],
            named(
                &policy("autogen"),
                "\"plain\".\"autogen\" ",
                "\"copy\".\"r.p\" ",
            ),
        ),
        (
            everything,
            &["-database", "plain", "-retention", "p.q", "-newdb", "copy"],
            named(&policy("p.q"), "\"plain\".\"p.q\" ", "\"copy\".\"p.q\" "),
        ),
    ];
    for (number, (at_backup, at_restore, mut expected)) in cases.into_iter().enumerate() {
        let index = if number % 3 == 0 {
            Index::Tsi1
        } else {
            Index::Inmem
        };
        let backup = if at_backup.is_empty() {
            full.clone()
        } else {
            source.path(&format!("backup {number}"))
        };
        if !at_backup.is_empty() {
            back_up(&source.server, &backup, at_backup);
        }
        let target = source.path(&format!("target {number}"));
        restore(&backup, &target, &[index_flags(index), at_restore].concat());
        let restored = Influxd::start(&target, index);
        expected.sort();
        println!("{at_backup:?} {at_restore:?}");
        assert_same(&restored.points(), &expected);
        assert_opened_as(index, &restored);
    }
}

#[test]
fn a_metastore_and_then_the_shards_of_one_database_are_put_back_one_by_one() {
    for index in [Index::Inmem, Index::Tsi1] {
        let source = Source::new(index);
        let (backup, target) = (source.path("backup"), source.path("target"));
        back_up(&source.server, &backup, &[]);
        let (meta, data) = (target.join("meta"), target.join("data"));

        snap(["restore", "-metadir", utf8(&meta), utf8(&backup)]).expect(0);
        assert!(!data.exists(), "{} was made", data.display());
        let restored = Influxd::start(&target, index);
        assert_eq!(restored.databases(), source.server.databases());
        assert_same(&restored.points(), &[]);
        restored.stop();

        let mut expected = Vec::new();
        for db in ["plain", "a'b \"c"] {
            snap(
                [
                    &["restore", "-datadir", utf8(&data), "-database", db],
                    index_flags(index),
                    &[utf8(&backup)],
                ]
                .concat(),
            )
            .expect(0);
            let restored = Influxd::start(&target, index);
            expected.extend(source.points_of(db));
            expected.sort();
            assert_same(&restored.points(), &expected);
            assert_opened_as(index, &restored);
            restored.stop();
        }
    }
}

#[test]
fn a_database_of_any_name_is_taken_alone_and_its_shards_keep_their_ids() {
    let mut source = Source::loaded(Index::Inmem);
    source.points = source.server.points();
    for (number, db) in DATABASES.into_iter().enumerate() {
        let (backup, target) = (
            source.path(&format!("backup {number}")),
            source.path(&format!("target {number}")),
        );
        back_up(&source.server, &backup, &["-database", db]);
        restore(&backup, &target, &["-database", db]);
        let own: Vec<Shard> = source
            .server
            .shards()
            .into_iter()
            .filter(|shard| shard.0 == db)
            .collect();
        let directories = shard_dirs(&target.join("data"));
        assert_eq!(directories, paths_of(&own), "{db}");
        if db == "plain" {
            for id in [10, 20, 100] {
                assert!(
                    directories
                        .iter()
                        .any(|shard| shard.ends_with(&format!("/{id}"))),
                    "no shard {id}"
                );
            }
        }
        let index = if number % 2 == 0 {
            Index::Inmem
        } else {
            Index::Tsi1
        };
        assert_same(
            &Influxd::start(&target, index).points(),
            &source.points_of(db),
        );
    }
}

/// Deletes the first point of `plain` after `time` that leaves a tombstone. The server carries
/// deletes out when it likes to: one that came to be compacted before anybody looked is followed by
/// one of the next point.
fn delete_one_after(server: &Influxd, time: i64) {
    let times: BTreeSet<i64> = server
        .points_of("plain")
        .iter()
        .map(|point| time_of(point))
        .filter(|of_point| *of_point > time)
        .collect();
    let is_there = times.into_iter().take(20).any(|time| {
        server.query("plain", &format!("DELETE WHERE time = {time}"));
        !tombstones(server).is_empty()
    });
    assert!(is_there, "no tombstones");
}

/// Backs up with the bounds, restores, and compares what lies within them.
fn bounded(
    source: &Source,
    number: usize,
    start: Option<i64>,
    end: Option<i64>,
    with_tombstone: bool,
) {
    let server = &source.server;
    if with_tombstone {
        delete_one_after(server, start.unwrap_or(START).max(START));
    }
    let (backup, target) = (
        source.path(&format!("backup {number}")),
        source.path(&format!("target {number}")),
    );
    let (from, to) = (start.map(rfc3339), end.map(rfc3339));
    let mut flags = vec!["-database", "plain"];
    flags.extend(from.iter().flat_map(|time| ["-start", time]));
    flags.extend(to.iter().flat_map(|time| ["-end", time]));
    back_up(server, &backup, &flags);
    restore(&backup, &target, &[]);

    let (start, end) = (start.unwrap_or(i64::MIN), end.unwrap_or(i64::MAX));
    let points = server.points_of("plain");
    let restored = Influxd::start(&target, Index::Inmem).points();
    println!("case {number}: {from:?} to {to:?}");
    let inside = within(&points, start, end);
    assert!(
        !inside.is_empty() && inside.len() < points.len(),
        "{} of {} points",
        inside.len(),
        points.len()
    );
    assert_same(&within(&restored, start, end), &inside);
    let all: BTreeSet<&String> = points.iter().collect();
    let foreign: Vec<_> = restored
        .iter()
        .filter(|point| !all.contains(point))
        .take(5)
        .collect();
    assert!(
        foreign.is_empty(),
        "points the source does not have: {foreign:#?}"
    );
    let touched = server
        .shards()
        .into_iter()
        .filter(|shard| nanos(&shard.3) <= end && nanos(&shard.4) > start);
    let touched = paths_of(
        &touched
            .filter(|shard| shard.0 == "plain")
            .collect::<Vec<_>>(),
    );
    assert!(
        shard_dirs(&target.join("data")).is_subset(&touched),
        "shards outside the bounds"
    );
}

#[test]
fn every_point_within_time_bounds_is_in_the_backup() {
    let source = Source::loaded(Index::Inmem);
    let at = |seconds: i64| Some(START + seconds * SECOND);
    let days = |days: i64| Some(START + days * DAY);
    let cases = [
        (at(1200), None),
        (None, at(600)),
        (at(500), at(700)),
        (at(130), at(130)),
        (days(-1), at(2400)),
        (at(43_200), Some(START + 9 * DAY + 3 * 3600 * SECOND)),
        (days(20), days(60)),
        (None, Some(-1)),
        (Some(-1), Some(1)),
        (days(400), None),
        (None, Some(START - 1)),
    ];
    flush(&source.server);
    for (number, (start, end)) in cases.into_iter().enumerate() {
        bounded(&source, number, start, end, false);
    }
    delete_some(&source.server);
    for (number, (start, end)) in cases.into_iter().take(6).enumerate() {
        bounded(&source, 100 + number, start, end, true);
    }
}
