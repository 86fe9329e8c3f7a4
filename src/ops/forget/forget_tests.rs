//! Tests of what a policy does to whole directories: groups, marks, and that what is kept can be
//! restored as before.

use std::fs;
use std::path::Path;
use std::time::Instant;

use super::*;
use crate::cancel::Cancel;
use crate::repository::names;
use crate::repository::test_records::{self, path};
use crate::repository::{Content, SetState, ShardRecord, ShardState};
use crate::shard::ShardPath;

fn policy(last: u32) -> Policy {
    Policy {
        last: Limit::Newest(last),
        ..Policy::default()
    }
}

fn hour(number: u32) -> Timestamp {
    Timestamp::from_second(1_767_225_600 + 3600 * i64::from(number)).unwrap()
}

/// Makes the set of that number, an hour after the one before it, and returns its id.
fn make(
    directory: &Path,
    number: u32,
    server: u64,
    selection: Selection,
    shards: &[(ShardPath, ShardState)],
) -> String {
    let file = |name: String| test_records::write(directory, &name, b"x");
    let content = if selection.since.is_some() {
        Content::Since
    } else {
        Content::Whole
    };
    let shard = |(path, state): &(ShardPath, ShardState)| ShardRecord {
        state: *state,
        content,
        file: (*state == ShardState::Stored).then(|| file(names::shard_file(path, number))),
        ..test_records::shard(path)
    };
    let shards: Vec<ShardRecord> = shards.iter().map(shard).collect();
    let partial = shards.iter().any(|shard| shard.state == ShardState::Failed);
    let record = SetRecord {
        state: if partial {
            SetState::Partial
        } else {
            SetState::Complete
        },
        number,
        host: "host:8088".into(),
        cluster_id: Some(server),
        selection,
        meta: file(names::meta_file(number)),
        ..test_records::set(&crate::time::stamp(hour(number)), hour(number), shards)
    };
    test_records::put(directory, &record);
    record.id.to_string()
}

/// Makes a set of all that one server has: shard 1 of database `a`.
fn make_whole(directory: &Path, number: u32) -> String {
    make(
        directory,
        number,
        1,
        Selection::default(),
        &stored("a", &[1]),
    )
}

fn of(database: &str) -> Selection {
    Selection {
        database: Some(database.into()),
        ..Selection::default()
    }
}

fn since(number: u32) -> Selection {
    Selection {
        since: Some(hour(number)),
        ..Selection::default()
    }
}

fn stored(database: &str, ids: &[u64]) -> Vec<(ShardPath, ShardState)> {
    ids.iter()
        .map(|id| (path(database, *id), ShardState::Stored))
        .collect()
}

/// The numbers of the sets that are kept, with why.
fn kept(directory: &Path, policy: &Policy) -> Vec<String> {
    let catalog = Catalog::read(directory).unwrap();
    let (groups, _) = judge(&catalog, policy);
    let mut lines = Vec::new();
    for verdict in groups
        .iter()
        .flat_map(|group| &group.sets)
        .filter(|verdict| verdict.is_kept())
    {
        let number = catalog
            .sets()
            .iter()
            .position(|set| set.id == verdict.set.id)
            .unwrap();
        let mut words: Vec<String> = verdict.reasons.iter().map(ToString::to_string).collect();
        for (at, set) in catalog.sets().iter().enumerate() {
            words
                .iter_mut()
                .for_each(|word| *word = word.replace(set.id.as_str(), &at.to_string()));
        }
        lines.push(format!("{number}: {}", words.join(", ")));
    }
    lines
}

#[test]
fn a_policy_is_applied_to_each_database_range_and_server_by_itself() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let range = |end| Selection {
        start: Some(hour(0)),
        end: Some(hour(end)),
        ..Selection::default()
    };
    let meta = Selection {
        meta_only: true,
        ..Selection::default()
    };
    let selections = [
        of("a"),
        of("b"),
        of("a"),
        of("b"),
        range(1),
        range(2),
        range(1),
        meta.clone(),
        meta,
    ];
    for (number, selection) in (0..).zip(selections) {
        make(directory, number, 1, selection, &[]);
    }
    make(directory, 9, 2, of("a"), &[]);
    assert_eq!(
        kept(directory, &policy(1)),
        [
            "2: last", "3: last", "6: last", "5: last", "8: last", "9: last"
        ]
    );
}

#[test]
fn an_increment_keeps_what_it_stands_on_back_to_a_whole_set() {
    let directory = tempfile::tempdir().unwrap();
    let since_of_a = |number| Selection {
        since: Some(hour(number)),
        ..of("a")
    };
    let directory = directory.path();
    make(directory, 0, 1, of("a"), &stored("a", &[1]));
    make(directory, 1, 1, of("a"), &stored("a", &[1]));
    make(directory, 2, 1, since_of_a(1), &stored("a", &[1]));
    make(directory, 3, 1, of("b"), &stored("b", &[2]));
    // Nothing had changed: still a link.
    make(
        directory,
        4,
        1,
        since_of_a(2),
        &[(path("a", 1), ShardState::Empty)],
    );
    make(directory, 5, 1, since_of_a(4), &stored("a", &[1]));
    make(directory, 6, 1, of("a"), &stored("a", &[1]));
    let all = kept(directory, &policy(2));
    assert_eq!(
        all,
        [
            "1: needed by 2",
            "2: needed by 4",
            "4: needed by 5",
            "5: last",
            "6: last",
            "3: last"
        ]
    );
    assert_eq!(kept(directory, &policy(1)), ["6: last", "3: last"]);

    // Sets of a group of their own keep those of others, and a mark keeps what the set stands on.
    make(
        directory,
        7,
        1,
        Selection {
            since: Some(hour(3)),
            ..of("b")
        },
        &stored("b", &[2]),
    );
    assert_eq!(
        kept(directory, &policy(1)),
        ["6: last", "3: needed by 7", "7: last"]
    );
    fs::write(
        directory.join(format!(".snap/{}.keep", crate::time::stamp(hour(2)))),
        "",
    )
    .unwrap();
    assert_eq!(
        kept(directory, &policy(1)),
        [
            "1: needed by 2",
            "2: snap keep",
            "6: last",
            "3: needed by 7",
            "7: last"
        ]
    );
}

#[test]
fn the_example_of_the_documents_is_right() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    // Each night from October 1 (the 274th day of 2026) to November 20, whole on Sundays, the first
    // of them October 4.
    let night = |day: u32| 24 * (day - 1) + 2;
    for day in 274..=324 {
        let selection = if day % 7 == 277 % 7 {
            Selection::default()
        } else {
            since(night(day - 1))
        };
        make(directory, night(day), 1, selection, &stored("a", &[1]));
    }
    let (daily, weekly, monthly) = (Limit::Newest(3), Limit::Newest(2), Limit::Newest(2));
    let (groups, unkept) = judge(
        &Catalog::read(directory).unwrap(),
        &Policy {
            daily,
            weekly,
            monthly,
            ..policy(0)
        },
    );
    let kept = groups[0].sets.iter().filter(|verdict| verdict.is_kept());
    let line = |verdict: &Verdict| {
        let words: Vec<String> = verdict
            .reasons
            .iter()
            .map(|reason| reason.to_string().chars().take(6).collect())
            .collect();
        format!(
            "{} {}",
            verdict.set.started.strftime("%a %m-%d"),
            words.join(" ")
        )
    };
    let needed = |day: &str| format!("{day} needed");
    let chain = [
        "Sun 10-25",
        "Mon 10-26",
        "Tue 10-27",
        "Wed 10-28",
        "Thu 10-29",
        "Fri 10-30",
    ]
    .map(needed);
    let rest = [
        "Sat 10-31 monthl",
        "Sun 11-15 weekly",
        "Mon 11-16 needed",
        "Tue 11-17 needed",
        "Wed 11-18 daily",
    ];
    let expected: Vec<String> = chain.into_iter().chain(rest.map(str::to_owned)).collect();
    let found: Vec<String> = kept.map(line).collect();
    assert_eq!(found[..11], expected);
    assert_eq!(
        found[11..],
        ["Thu 11-19 daily", "Fri 11-20 daily weekly monthl"]
    );
    assert_eq!(unkept.len(), 51 - 13);
}

#[test]
fn the_last_copy_of_a_shard_that_the_server_cannot_open_any_more_stays() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let not_held = [
        (path("a", 1), ShardState::Stored),
        (path("a", 2), ShardState::NotHeld),
    ];
    make(directory, 0, 1, Selection::default(), &stored("a", &[1, 2]));
    make(directory, 1, 1, Selection::default(), &not_held);
    make(directory, 2, 1, Selection::default(), &not_held);
    // Sets that cannot bring it back use up nothing of what a rule keeps.
    assert_eq!(
        kept(directory, &policy(1)),
        [
            "0: last",
            "1: nothing complete is newer",
            "2: nothing complete is newer"
        ]
    );
    // One that was never there keeps nothing.
    make(
        directory,
        3,
        1,
        Selection::default(),
        &[(path("a", 3), ShardState::NotHeld)],
    );
    assert_eq!(kept(directory, &policy(1)), ["3: last"]);
}

#[test]
fn a_set_that_says_that_nothing_was_left_of_a_shard_stays_before_one_that_could_not_get_it() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    make(directory, 0, 1, of("a"), &stored("a", &[1]));
    make(
        directory,
        1,
        1,
        of("a"),
        &[(path("a", 1), ShardState::Empty)],
    );
    make(
        directory,
        2,
        1,
        Selection::default(),
        &[(path("a", 1), ShardState::NotHeld)],
    );
    make(directory, 3, 1, of("a"), &stored("a", &[1]));
    assert_eq!(
        kept(directory, &policy(1)),
        ["1: needed by 2", "3: last", "2: last"]
    );
}

#[test]
fn sets_of_influxds_stay_and_keep_what_they_may_stand_on() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    for number in 0..2 {
        make_whole(directory, number);
    }
    fs::write(directory.join("meta.02"), "x").unwrap();
    fs::write(directory.join("a.autogen.00001.02"), "x").unwrap();
    make_whole(directory, 3);
    assert_eq!(kept(directory, &policy(1)), ["1: needed by 2", "3: last"]);
}

#[test]
fn a_set_with_a_file_gone_or_cut_is_not_the_one_to_keep() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    for number in 0..4 {
        make_whole(directory, number);
    }
    fs::remove_file(directory.join("a.autogen.00001.03")).unwrap();
    fs::write(directory.join("a.autogen.00001.02"), "").unwrap();
    assert_eq!(
        kept(directory, &policy(1)),
        [
            "1: last",
            "2: nothing complete is newer",
            "3: nothing complete is newer"
        ]
    );
}

#[test]
fn a_thousand_sets_are_judged_listed_and_removed() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let ids: Vec<u64> = (1..=20).collect();
    for number in 0..1000 {
        let selection = if number % 7 == 0 {
            Selection::default()
        } else {
            since(number - 1)
        };
        make(directory, number, 1, selection, &stored("a", &ids));
    }
    let started = Instant::now();
    let listed = crate::ops::list(&directory.into(), Context::silent())
        .unwrap()
        .sets
        .len();
    println!("listed {listed} sets in {:?}", started.elapsed());
    let options = ForgetOptions {
        repository: directory.into(),
        policy: Policy {
            daily: Limit::Newest(14),
            ..policy(10)
        },
        retry_lock: Duration::ZERO,
        dry_run: false,
    };
    let report = forget(&options, Context::silent()).unwrap();
    println!(
        "removed {} files of {} sets in {:?}",
        report.removed.files,
        report.removed.sets.len(),
        report.elapsed
    );
    let left = Catalog::read(directory).unwrap();
    assert_eq!(left.sets().len() + report.removed.sets.len(), 1000);
    assert!(
        (24..120).contains(&left.sets().len()),
        "{} are left",
        left.sets().len()
    );
    assert_eq!(report.removed.files, report.removed.sets.len() * 21);
}

#[test]
fn a_set_that_is_read_stays_with_all_that_it_stands_on_and_goes_when_nobody_reads_it() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let shards = stored("a", &[1]);
    for number in 0..6 {
        let selection = match number {
            1 | 2 => since(number - 1),
            _ => Selection::default(),
        };
        make(directory, number, 1, selection, &shards);
    }
    let options = ForgetOptions {
        repository: directory.into(),
        policy: policy(1),
        retry_lock: Duration::ZERO,
        dry_run: false,
    };
    let dry = ForgetOptions {
        dry_run: true,
        ..options.clone()
    };
    let forget = |options: &ForgetOptions| forget(options, Context::silent()).unwrap();
    let catalog = Catalog::read(directory).unwrap();
    let id = |at: usize| catalog.sets()[at].id.clone();
    let held = catalog.hold([2]).unwrap();
    let before = forget(&dry);
    let report = forget(&options);
    assert_eq!(before.groups, report.groups);
    assert_eq!(report.read, [id(2)]);
    assert_eq!(report.removed.sets, [id(3), id(4)]);
    let reasons: Vec<Vec<Reason>> = report.groups[0]
        .sets
        .iter()
        .map(|verdict| verdict.reasons.clone())
        .collect();
    let needed = |by: usize| vec![Reason::Needed { by: id(by) }];
    assert_eq!(reasons[..3], [needed(1), needed(2), vec![Reason::Read]]);
    let left = Catalog::read(directory).unwrap();
    assert_eq!(left.sets().len(), 4);
    // What was removed since the directory was read cannot be held, and tells so.
    assert!(catalog.hold([3]).is_err() && catalog.has_vanished());
    assert!(catalog.hold_one(3).unwrap().is_none());

    drop(held);
    let report = forget(&options);
    assert_eq!((report.read.len(), report.removed.sets.len()), (0, 3));
    assert!(
        !report.groups[0]
            .sets
            .iter()
            .any(|verdict| verdict.reasons == [Reason::Read])
    );
}

#[test]
fn what_somebody_begins_to_read_after_the_policy_was_applied_stays_with_what_is_older() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    for number in 0..4 {
        make_whole(directory, number);
    }
    let catalog = Catalog::read(directory).unwrap();
    let cancel = Cancel::default();
    let (maintenance, _) = Maintenance::begin(directory, Duration::ZERO, &cancel).unwrap();
    let _held = catalog.hold([1]).unwrap();
    let which = (0..3).collect();
    let removed = maintenance.remove(&catalog, &which, &cancel).unwrap();
    let id = |at: usize| catalog.sets()[at].id.clone();
    assert_eq!(
        (removed.sets, removed.spared),
        (vec![id(2)], vec![id(0), id(1)])
    );
    let left = Catalog::read(directory).unwrap();
    for set in left.sets() {
        let files = set.record().into_iter().flat_map(SetRecord::files);
        assert!(
            files.into_iter().all(|file| left.has(&file.name)),
            "{}",
            set.id
        );
    }
    assert_eq!(left.sets().len(), 3);
}

#[test]
fn sets_of_which_nothing_is_left_go_when_that_is_asked_for_and_no_others() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let ids: Vec<String> = (0..4).map(|number| make_whole(directory, number)).collect();
    // Of the second, one file is left.
    for name in [
        "meta.00",
        "a.autogen.00001.00",
        "meta.01",
        "meta.02",
        "a.autogen.00001.02",
    ] {
        fs::remove_file(directory.join(name)).unwrap();
    }
    fs::write(directory.join(format!(".snap/{}.keep", ids[2])), "").unwrap();
    let mut options = ForgetOptions {
        repository: directory.into(),
        policy: Policy {
            lost: true,
            ..policy(0)
        },
        retry_lock: Duration::ZERO,
        dry_run: false,
    };
    let report = forget(&options, Context::silent()).unwrap();
    assert_eq!(report.removed.sets, [&*ids[0]]);
    fs::remove_file(directory.join(format!(".snap/{}.keep", ids[2]))).unwrap();
    options.policy.last = Limit::Newest(10);
    let report = forget(&options, Context::silent()).unwrap();
    assert_eq!(report.removed.sets, [&*ids[1], &*ids[2]]);
    assert_eq!(Catalog::read(directory).unwrap().sets().len(), 1);
}

#[test]
fn a_set_is_pinned_once_and_unpinned_once_and_one_without_a_record_is_left_alone() {
    let directory = tempfile::tempdir().unwrap();
    let directory = directory.path();
    let id = make(directory, 0, 1, Selection::default(), &stored("a", &[1]));
    for name in ["meta.07", "meta.08"] {
        fs::write(directory.join(name), "x").unwrap();
    }
    let keep = |set: &str, change| {
        let kept = keep(
            &directory.into(),
            set,
            &change,
            Duration::ZERO,
            Context::silent(),
        )
        .unwrap();
        let catalog = Catalog::read(directory).unwrap();
        let set = &catalog.sets()[catalog.find(set).unwrap()];
        assert_eq!((&set.id, &set.pin), (&kept.id, &kept.pin));
        kept
    };
    let pin = |note: Option<&str>| PinChange::Pin {
        note: note.map(str::to_owned),
    };
    let first = keep(&id, pin(None));
    let since = first.pin.as_ref().map(|pin| pin.since);
    assert!(since.is_some() && first.changed && !first.unrecorded);
    let second = keep(&id, pin(None));
    assert_eq!((&second.pin, second.changed), (&first.pin, false));
    // A note comes, stays, is replaced and goes, and the pin is as old as before.
    for (note, shown, changed) in [
        (Some("before the upgrade"), Some("before the upgrade"), true),
        (
            Some("before the upgrade"),
            Some("before the upgrade"),
            false,
        ),
        (None, Some("before the upgrade"), false),
        (Some("after it"), Some("after it"), true),
        (Some(""), None, true),
    ] {
        let noted = keep(&id, pin(note));
        let now = noted.pin.unwrap();
        assert_eq!((now.note.as_deref(), noted.changed), (shown, changed));
        assert_eq!(Some(now.since), since);
    }
    let released = keep(&id, PinChange::Unpin);
    assert_eq!((released.pin, released.changed), (None, true));
    let again = keep(&id, PinChange::Unpin);
    assert_eq!((again.pin, again.changed), (None, false));
    for change in [pin(None), pin(Some("a note")), PinChange::Unpin] {
        let kept = keep("meta.07", change);
        assert!(kept.unrecorded && !kept.changed && kept.pin.is_none());
    }

    let options = ForgetOptions {
        repository: directory.into(),
        policy: policy(1),
        retry_lock: Duration::ZERO,
        dry_run: true,
    };
    let report = forget(&options, Context::silent()).unwrap();
    assert_eq!(report.unrecorded, 2);
}
