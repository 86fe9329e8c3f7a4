//! Tests of what an incremental backup builds on.

use std::fs;

use tempfile::TempDir;

use super::*;
use crate::repository::{FileDigest, FinishedShard, SetState, ShardState, test_records};
use crate::time;

/// The cluster of the sets that may be built on.
const CLUSTER: u64 = 42;

const MARGIN: Duration = Duration::from_secs(600);

fn at(second: i64) -> Timestamp {
    Timestamp::from_second(1_700_000_000 + second).unwrap()
}

fn path() -> ShardPath {
    test_records::path("db", 7)
}

fn member(name: &str, modified: Timestamp) -> MemberRecord {
    MemberRecord {
        name: name.into(),
        size: 100,
        modified,
    }
}

/// A complete set begun at a second, with one shard, the newest file of which was modified at 0.
fn set(number: u32, started: i64) -> SetRecord {
    let file = |name: String| FileRecord {
        name,
        size: 3,
        modified: None,
        digest: FileDigest::Blake3([0; 32].into()),
        blocks: None,
    };
    let shard = ShardRecord {
        start_time: at(-9000),
        end_time: at(-8000),
        file: Some(file(format!("db.autogen.00007.{number:02}"))),
        members: vec![
            member("000000001-000000001.tsm", at(-50)),
            member("000000002-000000001.tsm", at(0)),
        ],
        ..test_records::shard(&path())
    };
    SetRecord {
        number,
        cluster_id: Some(CLUSTER),
        meta: file(format!("meta.{number:02}")),
        ..test_records::set(&time::stamp(at(started)), at(started), vec![shard])
    }
}

/// A directory with these sets and their files.
fn directory(sets: &[SetRecord]) -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    for set in sets {
        set.files()
            .for_each(|file| fs::write(directory.path().join(&file.name), "tar").unwrap());
        test_records::put(directory.path(), set);
    }
    directory
}

fn with<T>(sets: &[SetRecord], look: impl FnOnce(&Earlier<'_>) -> T) -> T {
    let directory = directory(sets);
    let catalog = Catalog::read(directory.path()).unwrap();
    look(&Earlier::of(&catalog, CLUSTER, Timestamp::now()))
}

fn base(sets: &[SetRecord]) -> Option<Base> {
    with(sets, |earlier| {
        earlier.base(&path(), &Selection::default(), Layout::Legacy, Some(MARGIN))
    })
}

/// Whether a set is built on that is changed like this.
fn is_base(change: impl FnOnce(&mut SetRecord)) -> bool {
    let mut set = set(0, 10_000);
    change(&mut set);
    base(&[set]).is_some()
}

#[test]
fn a_base_is_the_file_of_the_newest_set_with_the_times_around_its_newest_member() {
    let base = base(&[set(0, 10_000), set(1, 20_000)]).unwrap();
    assert_eq!(base.set, Some(time::stamp(at(20_000)).into()));
    assert_eq!(base.name, "db.autogen.00007.01");
    assert_eq!(base.file.name, "db.autogen.00007.01");
    // A time in a tar is up to a second off, either way.
    assert_eq!(base.since, at(1));
    let newest = base
        .probes
        .iter()
        .find(|probe| probe.first.modified == at(0))
        .unwrap();
    assert_eq!(
        (newest.since, &newest.first.name[..]),
        (at(-2), "000000002-000000001.tsm")
    );
}

#[test]
fn every_member_is_asked_for_unless_others_would_stand_before_it_in_the_answer() {
    let (old, new) = (
        member("000000001-000000001.tsm", at(-100)),
        member("000000002-000000001.tsm", at(0)),
    );
    let asked: Vec<_> = probes(&[old.clone(), new.clone()])
        .unwrap()
        .into_iter()
        .map(|probe| (probe.since, probe.first))
        .collect();
    assert_eq!(asked, [(at(-102), old), (at(-2), new.clone())]);
    // One of a lower generation that is as new, or newer, hides it.
    for hiding in [-2, 0, 50] {
        assert_eq!(
            probes(&[member("000000001-000000001.tsm", at(hiding)), new.clone()]),
            None,
            "{hiding}"
        );
    }
    assert_eq!(probes(&vec![new; MOST_PROBES + 1]), None);
}

#[test]
fn a_base_that_is_shared_names_the_set_that_downloaded_it() {
    let mut second = set(1, 20_000);
    second.shards[0].shared_with = Some(set(0, 10_000).id);
    second.shards[0].tar_size = Some(4096);
    let base = base(&[set(0, 10_000), second]).unwrap();
    assert_eq!(
        (base.set, base.tar_size),
        (Some(set(0, 10_000).id), Some(4096))
    );
    assert_eq!(base.file.name, "db.autogen.00007.01");
}

#[test]
fn a_set_that_does_not_hold_the_whole_shard_of_this_server_is_no_base() {
    assert!(is_base(|_| {}));
    assert!(!is_base(|set| set.state = SetState::Partial));
    assert!(!is_base(|set| set.cluster_id = Some(CLUSTER + 1)));
    assert!(!is_base(|set| set.cluster_id = None));
    assert!(!is_base(|set| set.selection.start = Some(at(-10))));
    assert!(!is_base(|set| set.selection.end = Some(at(-10))));
    assert!(!is_base(|set| set.selection.since = Some(at(-10))));
    assert!(!is_base(|set| set.selection.meta_only = true));
    assert!(!is_base(|set| set.selection.database = Some("other".into())));
    assert!(!is_base(|set| set.selection.shard = Some(8)));
    assert!(!is_base(|set| set.shards[0].content = Content::Since));
    assert!(!is_base(|set| set.shards[0].content = Content::Range));
    assert!(!is_base(|set| {
        let shard = &mut set.shards[0];
        shard.database = "other".into();
        shard.file.as_mut().unwrap().name = "other.autogen.00007.00".into();
    }));
    assert!(!is_base(|set| set.shards[0].members.clear()));
    assert!(!is_base(|set| set.shards[0]
        .members
        .push(member("000000001-000000001.tombstone", at(-40)))));
    assert!(is_base(|set| set.selection.database = Some("db".into())));
    assert!(is_base(|set| set.selection.shard = Some(7)));
}

#[test]
fn a_file_of_another_layout_is_no_base() {
    with(&[set(0, 10_000)], |earlier| {
        assert!(
            earlier
                .base(
                    &path(),
                    &Selection::default(),
                    Layout::Portable,
                    Some(MARGIN)
                )
                .is_none()
        );
        assert!(
            earlier
                .base(&path(), &Selection::default(), Layout::Legacy, Some(MARGIN))
                .is_some()
        );
    });
}

#[test]
fn a_file_that_is_gone_or_of_another_size_is_no_base() {
    let directory = directory(&[set(0, 10_000)]);
    let is_base = || {
        let catalog = Catalog::read(directory.path()).unwrap();
        Earlier::of(&catalog, CLUSTER, Timestamp::now())
            .base(&path(), &Selection::default(), Layout::Legacy, Some(MARGIN))
            .is_some()
    };
    let file = directory.path().join("db.autogen.00007.00");
    assert!(is_base());
    fs::write(&file, "tars").unwrap();
    assert!(!is_base());
    fs::remove_file(&file).unwrap();
    assert!(!is_base());
}

#[test]
fn a_shard_is_cold_when_its_newest_file_is_older_than_the_margin_and_the_rounding() {
    for (started, cold) in [
        (599, false),
        (600, false),
        (601, false),
        (602, true),
        (-5, false),
    ] {
        assert_eq!(base(&[set(0, started)]).is_some(), cold, "{started}");
    }
    // Whether there would be one but for that.
    with(&[set(0, -5)], |earlier| {
        let base = earlier.base(&path(), &Selection::default(), Layout::Legacy, None);
        assert!(base.is_some());
    });
    with(&[set(0, 3)], |earlier| {
        assert!(
            earlier
                .base(
                    &path(),
                    &Selection::default(),
                    Layout::Legacy,
                    Some(Duration::from_secs(1))
                )
                .is_some()
        );
        assert!(
            earlier
                .base(
                    &path(),
                    &Selection::default(),
                    Layout::Legacy,
                    Some(Duration::from_secs(2))
                )
                .is_none()
        );
        assert!(
            earlier
                .base(
                    &path(),
                    &Selection::default(),
                    Layout::Legacy,
                    Some(Duration::MAX)
                )
                .is_none()
        );
    });
}

#[test]
fn only_the_newest_set_that_takes_the_shard_counts() {
    // What comes after the set that has it says nothing about it.
    let mut of_other = set(1, 20_000);
    of_other.selection.database = Some("other".into());
    of_other.shards.clear();
    let mut of_range = set(2, 30_000);
    of_range.selection.start = Some(at(-10));
    let mut partial = set(3, 40_000);
    partial.state = SetState::Partial;
    let id = base(&[set(0, 10_000), of_other, of_range, partial])
        .unwrap()
        .set;
    assert_eq!(id, Some(set(0, 10_000).id));

    // A set that should have it and has not, and one that saw it grow.
    let mut without = set(1, 20_000);
    without.shards.clear();
    assert!(base(&[set(0, 10_000), without]).is_none());
    let mut empty = set(1, 20_000);
    let shard = &mut empty.shards[0];
    (shard.state, shard.file, shard.members) = (ShardState::Empty, None, Vec::new());
    assert!(base(&[set(0, 10_000), empty]).is_none());
    let mut grown = set(1, 20_000);
    grown.shards[0].members[1].modified = at(19_999);
    assert!(base(&[set(0, 10_000), grown]).is_none());
}

#[test]
fn the_last_set_is_the_newest_complete_one_of_the_same_selection() {
    let all = Selection::default();
    let one = Selection {
        database: Some("db".into()),
        ..Selection::default()
    };
    let mut increment = set(1, 20_000);
    increment.selection.since = Some(at(10_000));
    let mut partial = set(2, 30_000);
    partial.state = SetState::Partial;
    let mut foreign = set(3, 40_000);
    foreign.cluster_id = Some(CLUSTER + 1);
    let mut range = set(4, 50_000);
    range.selection.end = Some(at(0));
    let mut meta_only = set(5, 60_000);
    meta_only.selection.meta_only = true;
    let mut of_one = set(6, 70_000);
    of_one.selection.database = Some("db".into());
    let sets = [
        set(0, 10_000),
        increment,
        partial,
        foreign,
        range,
        meta_only,
    ];
    with(&sets, |earlier| {
        assert_eq!(earlier.last(&all).map(|set| set.started), Some(at(20_000)));
        assert!(earlier.last(&one).is_none());
    });
    with(&[of_one], |earlier| {
        assert!(earlier.last(&all).is_none());
        assert_eq!(earlier.last(&one).map(|set| set.started), Some(at(70_000)));
    });
    with(&[], |earlier| assert!(earlier.last(&all).is_none()));
}

#[test]
fn a_set_that_a_removal_is_about_to_take_away_is_not_built_on() {
    let all = Selection::default();
    with(&[set(0, 10_000), set(1, 20_000)], |earlier| {
        let newest = earlier.last(&all).unwrap();
        let going = HashSet::from([newest.id.clone()]);
        let sets = earlier.sets.clone();
        let left = Earlier {
            catalog: earlier.catalog,
            sets,
            ahead: Vec::new(),
        };
        let last = left.without(&going);
        assert_eq!(last.last(&all).map(|set| set.started), Some(at(10_000)));
    });
}

#[test]
fn a_full_set_is_due_after_so_many_that_shared() {
    let shares = |number: u32| {
        let mut set = set(number, 10_000 * i64::from(number + 1));
        set.shards[0].shared_with = Some("20200101T000000Z".into());
        set
    };
    let due = |sets: &[SetRecord], every: u32| {
        with(sets, |earlier| {
            earlier.is_full_due(&Selection::default(), every)
        })
    };
    for every in 2..5 {
        // One full set, and so many that share.
        for sharing in 0..4 {
            let mut sets = vec![set(0, 10_000)];
            sets.extend((1..=sharing).map(shares));
            assert_eq!(
                due(&sets, every),
                sharing + 1 >= every,
                "{sharing} sets, every {every}"
            );
        }
    }
    assert!(due(&[], 1) && due(&[set(0, 10_000)], 1));
    // Counted from the newest full set on, and of the same selection.
    assert!(!due(
        &[set(0, 10_000), shares(1), shares(2), set(3, 40_000)],
        2
    ));
    let mut other = shares(1);
    other.selection.database = Some("db".into());
    assert!(!due(&[set(0, 10_000), other], 2));
    let mut partial = shares(2);
    partial.state = SetState::Partial;
    assert!(!due(&[set(0, 10_000), partial], 2));
}

#[test]
fn shards_that_are_no_longer_named_have_vanished() {
    let all = Selection::default();
    let vanished =
        |sets: &[SetRecord], named: bool| with(sets, |earlier| earlier.vanished(&all, |_| named));
    assert_eq!(vanished(&[set(0, 10_000)], false), ["db/autogen/7"]);
    assert_eq!(vanished(&[set(0, 10_000)], true), [""; 0]);
    assert_eq!(vanished(&[], false), [""; 0]);
    // Said once: the set after it no longer has it. A shard without a file was not there to vanish.
    let mut after = set(1, 20_000);
    after.shards.clear();
    assert_eq!(vanished(&[set(0, 10_000), after], false), [""; 0]);
    let mut empty = set(0, 10_000);
    (empty.shards[0].state, empty.shards[0].file) = (ShardState::Empty, None);
    assert_eq!(vanished(&[empty], false), [""; 0]);
}

#[test]
fn what_a_run_left_is_taken_over_only_if_the_server_can_tell_whether_it_changed_since() {
    let started = at(10_000);
    let is_base = |started: Timestamp, content, change: &dyn Fn(&mut ShardRecord)| {
        let mut record = set(0, 10_000).shards.remove(0);
        change(&mut record);
        let left = FinishedShard {
            name: "finished".into(),
            record: &record,
            started,
        };
        let base = Base::of_leftover(left, content, at(20_000), MARGIN);
        base.is_some_and(|base| base.set.is_none() && base.since == at(1))
    };
    let (whole, since) = (Content::Whole, Content::Since);
    assert!(is_base(started, whole, &|_| ()));
    assert!(is_base(started, since, &|shard| shard.content = since));
    // Other content than is asked for, or what the server made for that run.
    assert!(!is_base(started, since, &|_| ()));
    let range = Content::Range;
    assert!(!is_base(started, range, &|shard| shard.content = range));
    // Not old when that run began; or it began later than this one.
    assert!(!is_base(at(601), whole, &|_| ()));
    assert!(is_base(at(602), whole, &|_| ()));
    assert!(!is_base(at(20_001), whole, &|_| ()));
    let changes: [&dyn Fn(&mut ShardRecord); 4] = [
        &|shard| shard.deletes_applied = true,
        &|shard| shard.members[1].name = "000000002-000000001.tombstone".into(),
        &|shard| shard.unproven = Some("busy".into()),
        &|shard| shard.state = ShardState::Empty,
    ];
    for (nth, change) in changes.iter().enumerate() {
        assert!(!is_base(started, whole, change), "{nth}");
    }
}
