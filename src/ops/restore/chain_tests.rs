//! Tests of chains: which files make up a shard, and when they cannot.

use std::fs;
use std::path::Path;

use super::*;
use crate::directory::{FileRecord, Selection, SetRecord, ShardRecord, made};

const SHARD: u64 = 7;

/// A set of the shard at a minute past the hour; `since` a minute too. Files are made for stored shards.
fn set(directory: &Path, number: u32, minute: u32, since: Option<u32>, state: Option<ShardState>) {
    let at =
        |minute: u32| -> Timestamp { format!("2026-11-20T08:{minute:02}:00Z").parse().unwrap() };
    let file = |name: String| FileRecord {
        name,
        size: 1,
        sha256: String::new(),
    };
    let path = shard();
    let shards = state.map(|state| {
        let name = crate::format::names::shard_file(&path, number);
        if state == ShardState::Stored {
            fs::write(directory.join(&name), "x").unwrap();
        }
        ShardRecord {
            start_time: at(0),
            end_time: at(59),
            state,
            content: if since.is_some() {
                Content::Since
            } else {
                Content::Whole
            },
            file: (state == ShardState::Stored).then(|| file(name)),
            ..made::shard(&path)
        }
    });
    let record = SetRecord {
        number,
        selection: Selection {
            since: since.map(at),
            ..Selection::default()
        },
        meta: file(format!("meta.{number:02}")),
        ..made::set(
            &format!("20261120T08{minute:02}00Z"),
            at(minute),
            shards.into_iter().collect(),
        )
    };
    made::put(directory, &record);
}

fn shard() -> ShardPath {
    made::path("db", SHARD)
}

/// The numbers of the chain's files, and the complaint.
fn found(directory: &Path) -> (Vec<u32>, Option<String>) {
    let contents = Contents::read(directory).unwrap();
    let count = contents.sets().len();
    let choice = Choice {
        contents: &contents,
        at: count - 1,
        last: count - 1,
        named: false,
        foreign: vec![false; count],
    };
    let chain = chain(&choice, &shard(), contents.files_of(&shard())).unwrap();
    let number = |file: &BackupFile| crate::format::names::split_number(&file.name).unwrap().1;
    (
        chain.iter().map(number).collect(),
        gap(&choice, &shard(), &chain),
    )
}

#[test]
fn a_chain_goes_back_to_the_newest_whole_shard_and_may_pass_sets_without_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    set(at, 0, 0, None, Some(ShardState::Stored));
    set(at, 1, 10, None, Some(ShardState::Stored));
    set(at, 2, 20, Some(10), Some(ShardState::Empty));
    set(at, 3, 30, Some(20), Some(ShardState::Stored));
    assert_eq!(found(at), (vec![1, 3], None));
}

#[test]
fn a_shard_made_after_the_whole_backup_is_complete_in_its_increments() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    set(at, 0, 0, None, None);
    set(at, 1, 10, Some(0), Some(ShardState::Stored));
    set(at, 2, 20, Some(9), Some(ShardState::Stored));
    assert_eq!(found(at), (vec![1, 2], None));
}

#[test]
fn an_increment_without_its_base_or_with_a_gap_before_it_is_complained_of() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    set(at, 1, 10, Some(5), Some(ShardState::Stored));
    assert!(found(at).1.unwrap().contains("there is no set before it"));
    set(at, 0, 0, None, Some(ShardState::Stored));
    let (numbers, complaint) = found(at);
    assert_eq!(numbers, [0, 1]);
    assert!(complaint.unwrap().contains("is in neither"));
}

#[test]
fn a_set_that_failed_to_fetch_the_shard_is_no_base() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    set(at, 0, 0, None, Some(ShardState::Stored));
    set(at, 1, 10, Some(0), Some(ShardState::Failed));
    set(at, 2, 20, Some(10), Some(ShardState::Stored));
    assert!(found(at).1.unwrap().contains("is in neither"));
}

#[test]
fn a_set_in_which_the_shard_was_not_open_is_no_base_once_it_was_stored() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    set(at, 0, 0, None, Some(ShardState::Stored));
    set(at, 1, 10, Some(0), Some(ShardState::NotHeld));
    set(at, 2, 20, Some(10), Some(ShardState::Stored));
    assert!(found(at).1.unwrap().contains("is in neither"));
}

#[test]
fn all_files_of_influxd_are_taken_for_what_they_may_be() {
    let directory = tempfile::tempdir().unwrap();
    for name in [
        "db.autogen.00007.00",
        "db.autogen.00007.99",
        "db.autogen.00007.100",
    ] {
        fs::write(directory.path().join(name), "x").unwrap();
    }
    assert_eq!(found(directory.path()), (vec![0, 99, 100], None));
}

#[test]
fn what_a_whole_set_found_empty_does_not_come_back_from_older_ones() {
    let directory = tempfile::tempdir().unwrap();
    let at = directory.path();
    let newest = |directory: &Path| {
        let contents = Contents::read(directory).unwrap();
        let count = contents.sets().len();
        let choice = Choice {
            contents: &contents,
            at: count - 1,
            last: count - 1,
            named: false,
            foreign: vec![false; count],
        };
        choice.emptied(&shard())
    };
    set(at, 0, 0, None, Some(ShardState::Stored));
    set(at, 1, 10, Some(0), Some(ShardState::Empty));
    assert_eq!(
        newest(at),
        None,
        "an increment that is empty says nothing of what was there before"
    );
    set(at, 2, 20, None, Some(ShardState::Empty));
    set(at, 3, 30, Some(20), Some(ShardState::Stored));
    assert_eq!(newest(at), Some(2));
}
