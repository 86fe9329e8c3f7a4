//! Tests of chains: which files make up a shard, and when they cannot.

use std::fs;
use std::path::Path;

use super::*;
use crate::repository::FileDigest;
use crate::repository::names;
use crate::repository::record::{Content, FileRecord, ShardState};
use crate::repository::test_records;
use crate::tsm::series_filter::SeriesFilter;

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
    let file = |name: String| test_records::write(directory, &name, b"x");
    let path = path();
    let is_part = selection.is_part();
    let shard = |state| ShardRecord {
        start_time: minute_past(5),
        end_time: minute_past(59),
        state,
        content: if since.is_some() {
            Content::Since
        } else if is_part {
            Content::Range
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
    let at = Catalog::read(directory).unwrap().sets().len() - 1;
    let context = ChainContext {
        at,
        last: at,
        alone: false,
    };
    found_in(directory, context).expect("not asked for")
}

/// As [`found`], of any set; nothing where it was not asked for the shard.
fn found_in(directory: &Path, context: ChainContext) -> Option<(Vec<u32>, Option<String>)> {
    let catalog = Catalog::read(directory).unwrap();
    let shard = Shard {
        path: path(),
        start: 0,
        end: time::to_nanos(minute_past(59)),
        deleted_at: None,
    };
    let number = |file: &BackupFile| names::split_number(&file.name).unwrap().1;
    match Chains::of(&catalog).of_shard(context, &shard) {
        ShardChain::Asked { files, gap } => Some((
            files.iter().map(number).collect(),
            gap.map(|gap| gap.to_string()),
        )),
        ShardChain::NotAsked { .. } => None,
    }
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
                modified: None,
                digest: FileDigest::Blake3([0; 32].into()),
                blocks: None,
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

/// A selection of a range of time.
fn range() -> Selection {
    Selection {
        start: Some(minute_past(0)),
        ..Selection::default()
    }
}

/// Selections of a part of the points.
fn parts() -> [Selection; 2] {
    let series = SeriesFilter {
        measurements: vec!["m".parse().unwrap()],
        ..SeriesFilter::default()
    };
    let of_series = Selection {
        series,
        ..Selection::default()
    };
    [range(), of_series]
}

#[test]
fn a_part_is_found_alone_and_gives_way_to_what_older_sets_hold() {
    parts().into_iter().for_each(part_gives_way);
}

fn part_gives_way(part: Selection) {
    let directory = folder();
    let at = directory.path();
    set(at, 0, 0, None, Some(ShardState::Stored));
    set_of(at, 1, 10, None, Some(ShardState::Stored), part);
    let (numbers, complaint) = found(at);
    assert_eq!(numbers, [0]);
    let complaint = complaint.unwrap();
    assert!(
        complaint.starts_with("the newest file db.autogen.00007.01 holds a part"),
        "{complaint}"
    );
    let alone = ChainContext::alone(1);
    assert_eq!(found_in(at, alone), Some((vec![1], None)));
    fs::remove_file(at.join("db.autogen.00007.01")).unwrap();
    let (numbers, complaint) = found_in(at, alone).unwrap();
    assert_eq!(numbers, [0; 0]);
    assert!(
        complaint
            .unwrap()
            .ends_with("db.autogen.00007.01 of set 20261120T081000Z is gone")
    );
}

#[test]
fn a_set_was_asked_for_what_lies_outside_its_range_and_not_for_another_policy() {
    let other = Selection {
        retention_policy: Some("other".into()),
        ..Selection::default()
    };
    let [range, series] = parts().map(|part| (part, Some((vec![], None))));
    for (selection, expected) in [range, series, (other, None)] {
        let directory = folder();
        set_of(directory.path(), 0, 10, None, None, selection);
        for alone in [true, false] {
            let context = ChainContext {
                alone,
                ..ChainContext::alone(0)
            };
            assert_eq!(found_in(directory.path(), context), expected, "{alone}");
        }
    }
}

#[test]
fn a_shard_that_could_not_be_fetched_comes_back_from_an_older_set_but_for_a_range() {
    for (selection, older, numbers, complaint) in [
        (
            Selection::default(),
            true,
            vec![0],
            "it is restored from an older one",
        ),
        (Selection::default(), false, vec![], "is in no older one"),
        (parts()[0].clone(), true, vec![], "is in no older one"),
        (parts()[1].clone(), true, vec![], "is in no older one"),
    ] {
        let directory = folder();
        let at = directory.path();
        if older {
            set(at, 0, 0, None, Some(ShardState::Stored));
        }
        set_of(at, 1, 10, None, Some(ShardState::Failed), selection);
        let last = ChainContext::alone(usize::from(older));
        let (found, gap) = found_in(at, last).unwrap();
        assert_eq!(found, numbers, "{complaint}");
        assert!(gap.unwrap().ends_with(complaint), "{complaint}");
    }
}

#[test]
fn an_increment_goes_on_from_the_whole_set_below_a_part() {
    for part in parts() {
        let directory = folder();
        let at = directory.path();
        set(at, 0, 8, None, Some(ShardState::Stored));
        set_of(at, 1, 10, None, Some(ShardState::Stored), part);
        set(at, 2, 20, Some(8), Some(ShardState::Stored));
        assert_eq!(found(at), (vec![0, 2], None));
    }
}

#[test]
fn an_increment_to_a_set_that_saw_the_shard_before_its_time_began_is_complete() {
    // The time of the shard begins in minute 5.
    for (minute, since, is_whole) in [(4, 4, true), (5, 5, false), (3, 4, false)] {
        let directory = folder();
        let at = directory.path();
        set(at, 0, minute, None, Some(ShardState::NotHeld));
        set(at, 1, 20, Some(since), Some(ShardState::Stored));
        let (numbers, complaint) = found(at);
        assert_eq!(numbers, [1]);
        assert_eq!(complaint.is_none(), is_whole, "{minute}: {complaint:?}");
    }
}

#[test]
fn sets_that_were_begun_at_the_same_time_go_on_from_each_other() {
    let directory = folder();
    let at = directory.path();
    set(at, 0, 10, None, Some(ShardState::Stored));
    let record = Catalog::read(at).unwrap().sets()[0]
        .record()
        .unwrap()
        .clone();
    let earlier = SetRecord {
        id: "20261120T080959Z".into(),
        ..record
    };
    test_records::put(at, &earlier);
    set(at, 1, 10, Some(10), Some(ShardState::Stored));
    assert_eq!(found(at), (vec![0, 1], None));
}

#[test]
fn a_stray_file_of_the_shard_under_a_later_number_is_added_and_one_of_another_is_not() {
    let directory = folder();
    let at = directory.path();
    set(at, 0, 0, None, Some(ShardState::Stored));
    let context = ChainContext {
        at: 0,
        last: 1,
        alone: false,
    };
    fs::write(at.join("db.autogen.00008.01"), "x").unwrap();
    assert_eq!(found_in(at, context), Some((vec![0], None)));
    fs::write(at.join("db.autogen.00007.01"), "x").unwrap();
    assert_eq!(found_in(at, context), Some((vec![0, 1], None)));
}

#[test]
fn a_shard_without_a_file_tells_whether_others_of_its_policy_have_one() {
    let shard = Shard {
        path: path(),
        start: 0,
        end: 1,
        deleted_at: None,
    };
    for (file, others) in [
        ("db.other.00008.00", false),
        ("db.autogen2.00008.00", false),
        ("db.autogen.00008.00", true),
    ] {
        let directory = folder();
        for name in ["meta.00", file] {
            fs::write(directory.path().join(name), "x").unwrap();
        }
        let catalog = Catalog::read(directory.path()).unwrap();
        let chain = Chains::of(&catalog).of_shard(ChainContext::alone(0), &shard);
        let gap = Gap::NoFile {
            set: "meta.00".into(),
            others,
        };
        let expected = ShardChain::Asked {
            files: Vec::new(),
            gap: Some(gap),
        };
        assert_eq!(chain, expected, "{file}");
    }
}
