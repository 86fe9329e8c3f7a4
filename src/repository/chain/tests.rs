//! Tests of chains: which files make up a shard, and when they cannot.

use std::fs;
use std::path::Path;

use super::*;
use crate::repository::FileDigest;
use crate::repository::names;
use crate::repository::record::{Content, FileRecord, ShardState};
use crate::repository::test_records;

const SHARD: u64 = 7;

/// A set of the shard at a minute past the hour; `since` a minute too. Files are made for stored
/// shards.
fn set(directory: &Path, number: u32, minute: u32, since: Option<u32>, state: Option<ShardState>) {
    set_of(
        directory,
        number,
        minute,
        since,
        state,
        Selection::default(),
    );
}

fn set_of(
    directory: &Path,
    number: u32,
    minute: u32,
    since: Option<u32>,
    state: Option<ShardState>,
    selection: Selection,
) {
    let file = |name: String| {
        fs::write(directory.join(&name), "x").unwrap();
        FileRecord {
            name,
            size: 1,
            digest: FileDigest::Blake3(String::new()),
        }
    };
    let path = path();
    let shard = |state| ShardRecord {
        start_time: minute_past(0),
        end_time: minute_past(59),
        state,
        content: if since.is_some() {
            Content::Since
        } else {
            Content::Whole
        },
        file: (state == ShardState::Stored).then(|| file(names::shard_file(&path, number))),
        ..test_records::shard(&path)
    };
    let record = SetRecord {
        number,
        selection: Selection {
            since: since.map(minute_past),
            ..selection
        },
        meta: file(format!("meta.{number:02}")),
        ..test_records::set(
            &format!("20261120T08{minute:02}00Z"),
            minute_past(minute),
            state.map(shard).into_iter().collect(),
        )
    };
    test_records::put(directory, &record);
}

fn minute_past(minute: u32) -> Timestamp {
    format!("2026-11-20T08:{minute:02}:00Z").parse().unwrap()
}

fn path() -> ShardPath {
    test_records::path("db", SHARD)
}

/// What a restore of the newest set finds: the numbers of the files, and what is missing.
fn found(directory: &Path) -> (Vec<u32>, Option<String>) {
    let catalog = Catalog::read(directory).unwrap();
    let at = catalog.sets().len() - 1;
    let shard = Shard {
        path: path(),
        start: time::to_nanos(minute_past(0)),
        end: time::to_nanos(minute_past(59)),
        deleted_at: None,
    };
    let context = ChainContext {
        at,
        last: at,
        alone: false,
    };
    let ShardChain::Asked { files, gap } = Chains::of(&catalog).of_shard(context, &shard) else {
        panic!("not asked for");
    };
    let number = |file: &BackupFile| names::split_number(&file.name).unwrap().1;
    (
        files.iter().map(number).collect(),
        gap.map(|gap| gap.to_string()),
    )
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn a_chain_goes_back_to_a_whole_shard_and_may_pass_sets_without_a_file() {
    let directory = folder();
    let at = directory.path();
    set(at, 0, 0, None, Some(ShardState::Stored));
    set(at, 1, 10, None, Some(ShardState::Stored));
    set(at, 2, 20, Some(10), Some(ShardState::Empty));
    set(at, 3, 30, Some(20), Some(ShardState::Stored));
    assert_eq!(found(at), (vec![1, 3], None));
}

#[test]
fn a_shard_made_after_the_whole_backup_is_complete_in_its_increments() {
    let directory = folder();
    let at = directory.path();
    set(at, 0, 0, None, None);
    set(at, 1, 10, Some(0), Some(ShardState::Stored));
    set(at, 2, 20, Some(9), Some(ShardState::Stored));
    assert_eq!(found(at), (vec![1, 2], None));
}

#[test]
fn an_increment_without_its_base_or_with_a_gap_before_it_is_complained_of() {
    let directory = folder();
    let at = directory.path();
    set(at, 1, 10, Some(5), Some(ShardState::Stored));
    assert!(found(at).1.unwrap().contains("there is no set before it"));
    set(at, 0, 0, None, Some(ShardState::Stored));
    let (numbers, complaint) = found(at);
    assert_eq!(numbers, [0, 1]);
    assert!(complaint.unwrap().contains("is in neither"));
}

#[test]
fn an_increment_goes_on_from_any_set_that_was_begun_in_time_and_is_whole() {
    let directory = folder();
    let at = directory.path();
    set(at, 0, 0, None, Some(ShardState::Stored));
    // There is a gap before this one, and the next one covers it.
    set(at, 1, 10, Some(5), Some(ShardState::Stored));
    set(at, 2, 20, Some(0), Some(ShardState::Stored));
    assert_eq!(found(at), (vec![0, 2], None));
}

#[test]
fn a_set_that_could_not_get_the_shard_is_no_base() {
    for state in [ShardState::Failed, ShardState::NotHeld, ShardState::Expired] {
        let directory = folder();
        let at = directory.path();
        set(at, 0, 0, None, Some(ShardState::Stored));
        set(at, 1, 10, Some(0), Some(state));
        set(at, 2, 20, Some(10), Some(ShardState::Stored));
        assert!(found(at).1.unwrap().contains("is in neither"), "{state:?}");
        set(at, 2, 20, Some(0), Some(ShardState::Stored));
        assert_eq!(found(at), (vec![0, 2], None), "{state:?}");
    }
}

#[test]
fn a_shard_that_is_not_open_any_more_comes_back_as_it_was_and_is_complained_of() {
    let directory = folder();
    let at = directory.path();
    set(at, 0, 0, None, Some(ShardState::Stored));
    set(at, 1, 10, None, Some(ShardState::NotHeld));
    let (numbers, complaint) = found(at);
    assert_eq!(numbers, [0]);
    assert!(complaint.unwrap().contains("did not have the shard open"));
}

#[test]
fn sets_of_other_policies_and_sets_begun_later_are_no_base() {
    let directory = folder();
    let at = directory.path();
    let other = Selection {
        database: Some("db".into()),
        retention_policy: Some("other".into()),
        ..Selection::default()
    };
    set_of(at, 0, 0, None, None, other);
    set(at, 1, 10, Some(0), Some(ShardState::Empty));
    assert!(found(at).1.unwrap().contains("there is no set before it"));

    let directory = folder();
    let at = directory.path();
    set(at, 0, 30, None, Some(ShardState::Stored));
    set(at, 1, 10, Some(5), Some(ShardState::Stored));
    let (numbers, complaint) = found(at);
    assert_eq!(numbers, [0, 1]);
    assert!(complaint.unwrap().contains("the clock was set back"));
}

#[test]
fn a_file_that_is_gone_or_was_cut_breaks_every_chain_through_it() {
    let directory = folder();
    let at = directory.path();
    set(at, 0, 0, None, Some(ShardState::Stored));
    set(at, 1, 10, Some(0), Some(ShardState::Stored));
    set(at, 2, 20, Some(10), Some(ShardState::Stored));
    fs::write(at.join("db.autogen.00007.01"), "").unwrap();
    let (numbers, complaint) = found(at);
    assert_eq!(numbers, [0, 1, 2]);
    assert!(complaint.unwrap().contains("has 0 bytes and not 1"));
    fs::remove_file(at.join("db.autogen.00007.01")).unwrap();
    let (numbers, complaint) = found(at);
    assert_eq!(numbers, [0, 2]);
    assert!(complaint.unwrap().contains("db.autogen.00007.01"));
}

#[test]
fn all_files_of_influxd_are_taken_for_what_they_may_be() {
    let directory = folder();
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
    let directory = folder();
    let at = directory.path();
    set(at, 0, 0, None, Some(ShardState::Stored));
    set(at, 1, 10, Some(0), Some(ShardState::Empty));
    assert_eq!(
        found(at),
        (vec![0], None),
        "an increment that is empty says nothing of what was there before"
    );
    set(at, 2, 20, None, Some(ShardState::Empty));
    set(at, 3, 30, Some(20), Some(ShardState::Stored));
    assert_eq!(found(at), (vec![3], None));
}

#[test]
fn a_chain_of_thousands_of_increments_is_walked_to_its_end() {
    let directory = folder();
    let at = directory.path();
    let shard = |since: Option<i64>| ShardRecord {
        state: ShardState::Empty,
        content: if since.is_some() {
            Content::Since
        } else {
            Content::Whole
        },
        ..test_records::shard(&path())
    };
    for number in 0..3000_u32 {
        let second =
            |number: u32| Timestamp::from_second(1_700_000_000 + i64::from(number)).unwrap();
        let since = number.checked_sub(1).map(second);
        let record = SetRecord {
            number,
            selection: Selection {
                since,
                ..Selection::default()
            },
            meta: FileRecord {
                name: format!("meta.{number:02}"),
                size: 1,
                digest: FileDigest::Blake3(String::new()),
            },
            ..test_records::set(
                &time::stamp(second(number)),
                second(number),
                vec![shard(since.map(Timestamp::as_second))],
            )
        };
        test_records::put(at, &record);
    }
    assert_eq!(found(at), (vec![], None));
}

/// Marks the shard as unproven in the newest set of a directory.
fn doubt(directory: &Path) {
    let catalog = Catalog::read(directory).unwrap();
    let mut record = catalog.sets().last().unwrap().record().unwrap().clone();
    record.state = SetState::Partial;
    record.shards[0].unproven = Some("busy".into());
    test_records::put(directory, &record);
}

#[test]
fn an_unproven_shard_is_named_and_comes_back_from_its_own_set_and_no_chain_counts_it_as_whole() {
    let directory = folder();
    let at = directory.path();
    set(at, 0, 0, None, Some(ShardState::Stored));
    set(at, 1, 10, None, Some(ShardState::Stored));
    doubt(at);
    let unproven = "it is unproven in set 20261120T081000Z: ";
    let (numbers, complaint) = found(at);
    assert_eq!(numbers, [1]);
    assert!(complaint.unwrap().starts_with(unproven));
    let catalog = Catalog::read(at).unwrap();
    let missing = Chains::of(&catalog).missing(1, None);
    assert_eq!(missing.len(), 1, "{missing:?}");
    assert!(missing[0].to_string().starts_with("shard db/autogen/7: "));
    assert!(!missing[0].gap.is_below(&"20261120T081000Z".into()));
    drop(catalog);

    // An increment to it lacks the same, and one that goes back farther does not.
    set(at, 2, 20, Some(10), Some(ShardState::Stored));
    let (numbers, complaint) = found(at);
    assert_eq!(numbers, [1, 2]);
    assert!(complaint.unwrap().starts_with(unproven));
    set(at, 2, 20, Some(0), Some(ShardState::Stored));
    assert_eq!(found(at), (vec![0, 2], None));
    doubt(at);
    let (numbers, complaint) = found(at);
    assert_eq!(numbers, [0, 2]);
    assert!(
        complaint
            .unwrap()
            .contains("unproven in set 20261120T082000Z")
    );
    // A file that is gone below it is worse.
    fs::remove_file(at.join(names::shard_file(&path(), 0))).unwrap();
    fs::remove_file(at.join(names::shard_file(&path(), 1))).unwrap();
    assert!(found(at).1.unwrap().contains("the file "));
}
