//! Tests of what counts as lost: not what had to expire, and whatever the server is called.

use std::path::Path;

use jiff::Timestamp;
use prost::Message;

use super::*;
use crate::metastore::{DatabaseInfo, RetentionPolicyInfo};
use crate::repository::names;
use crate::repository::{DigestAlgorithm, FileDigest, FileRecord, test_records};
use crate::shard::ShardPath;
use crate::wire::MetaBlob;

const DAY: i64 = 86_400;

fn day(number: i64) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + DAY * number).unwrap()
}

/// A set of the day of its number, of shards with groups of a day each, from the day of their
/// number on. The metastore has a policy of `days` for each database named.
fn make(
    directory: &Path,
    number: u32,
    server: (u64, &str),
    databases: &[(&str, i64)],
    shards: &[(&str, u64, i64, ShardState)],
) {
    let data = Data {
        cluster_id: server.0,
        databases: databases
            .iter()
            .map(|(name, days)| DatabaseInfo {
                name: (*name).to_owned(),
                retention_policies: vec![RetentionPolicyInfo {
                    name: "autogen".into(),
                    duration: days * DAY * 1_000_000_000,
                    ..RetentionPolicyInfo::default()
                }],
                ..DatabaseInfo::default()
            })
            .collect(),
        ..Data::default()
    };
    let mut bytes = Vec::new();
    MetaBlob {
        meta: data.encode_to_vec(),
        node: b"null\n".to_vec(),
    }
    .write_to(&mut bytes)
    .unwrap();
    let file = |name: String, bytes: &[u8]| {
        std::fs::write(directory.join(&name), bytes).unwrap();
        FileRecord {
            name,
            size: bytes.len() as u64,
            digest: FileDigest::of(DigestAlgorithm::Blake3, bytes),
        }
    };
    let shard = |(database, id, start, state): &(&str, u64, i64, ShardState)| {
        let path: ShardPath = test_records::path(database, *id);
        ShardRecord {
            start_time: day(*start),
            end_time: day(*start + 1),
            state: *state,
            file: (*state == ShardState::Stored)
                .then(|| file(names::shard_file(&path, number), b"x")),
            ..test_records::shard(&path)
        }
    };
    let started = day(i64::from(number));
    let record = SetRecord {
        number,
        host: server.1.into(),
        cluster_id: Some(server.0),
        meta: file(names::meta_file(number), &bytes),
        ..test_records::set(
            &time::stamp(started),
            started,
            shards.iter().map(shard).collect(),
        )
    };
    test_records::put(directory, &record);
}

fn newest(directory: &Path) -> Losses {
    let catalog = Catalog::read(directory).unwrap();
    Losses::of_set(&catalog, catalog.sets().len() - 1, None).unwrap()
}

const STORED: ShardState = ShardState::Stored;
const HERE: (u64, &str) = (1, "db:8088");

#[test]
fn what_a_retention_policy_lets_expire_is_not_lost_and_what_it_keeps_is() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let databases = [("a", 7), ("b", 0)];
    make(
        directory,
        10,
        HERE,
        &databases,
        &[
            ("a", 1, 1, STORED),
            ("a", 2, 9, STORED),
            ("b", 3, 1, STORED),
        ],
    );
    // The group of the first ended on day 2 and had to go on day 9. The second ended on day 10.
    make(
        directory,
        11,
        HERE,
        &databases,
        &[("a", 2, 9, STORED), ("b", 3, 1, STORED)],
    );
    let losses = newest(directory);
    assert_eq!((losses.of, losses.shards), (2, 0));
    assert!(losses.sentences().is_empty(), "{losses:?}");

    make(directory, 12, HERE, &databases, &[("b", 3, 1, STORED)]);
    let losses = newest(directory);
    assert_eq!((losses.of, losses.shards), (2, 1));
    assert_eq!(losses.databases, ["a"]);
    assert!(!losses.exceed(50) && losses.exceed(49));

    // A database all of whose shards had to go is not lost either.
    make(
        directory,
        13,
        HERE,
        &databases,
        &[("a", 4, 12, STORED), ("b", 3, 1, STORED)],
    );
    make(directory, 30, HERE, &databases, &[("b", 3, 1, STORED)]);
    assert!(newest(directory).sentences().is_empty());
}

#[test]
fn an_empty_set_is_held_against_the_newest_that_is_not_for_as_long_as_there_is_one() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    make(
        directory,
        1,
        HERE,
        &[("a", 0)],
        &[("a", 1, 0, STORED), ("a", 2, 0, STORED)],
    );
    for number in 2..4 {
        make(directory, number, HERE, &[], &[]);
        let losses = newest(directory);
        assert!(losses.is_empty && losses.of == 2, "{losses:?}");
        assert_eq!(losses.before, time::stamp(day(1)));
    }
    // Points that were all deleted are gone as well.
    make(
        directory,
        4,
        HERE,
        &[("a", 0)],
        &[("a", 1, 0, ShardState::Empty)],
    );
    assert!(newest(directory).is_empty);
}

#[test]
fn a_server_that_was_made_anew_is_known_by_its_address_or_by_being_the_only_one() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let shards = [("a", 1, 0, STORED), ("a", 2, 1, STORED)];
    make(directory, 1, HERE, &[("a", 0)], &shards);
    // Restored: the same groups under other ids.
    let again = [("a", 7, 0, STORED), ("a", 8, 1, STORED)];
    make(directory, 2, (2, HERE.1), &[("a", 0)], &again);
    let losses = newest(directory);
    assert_eq!(
        (losses.other_server, losses.shards, losses.of),
        (Some((1, 2)), 0, 2)
    );
    assert!(losses.sentences()[0].contains("another cluster id (2)"));

    // Another server that backs up into the same directory, and is known from then on.
    make(directory, 3, (3, "other:8088"), &[("a", 0)], &shards);
    assert_eq!(newest(directory).other_server, Some((2, 3)));
    make(directory, 4, (2, HERE.1), &[("a", 0)], &again);
    make(directory, 5, (3, "other:8088"), &[("a", 0)], &shards);
    assert_eq!(newest(directory).other_server, None);

    // Anew, and without its data.
    make(directory, 6, (4, HERE.1), &[], &[]);
    let losses = newest(directory);
    assert!(
        losses.is_empty && losses.other_server == Some((2, 4)),
        "{losses:?}"
    );
}
