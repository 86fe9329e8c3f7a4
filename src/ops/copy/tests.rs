//! Tests of copying: every set that is there is whole, whatever stops a run, and another ends it.

use std::sync::Mutex;

use super::*;
use crate::cancel::Cancel;
use crate::error::{ErrorKind, kind_of};
use crate::progress::{Outcome, Progress};
use crate::repository::test_repository::TestRepository;
use crate::repository::{Content, Layout, SetState};

const LAYOUTS: [Layout; 2] = [Layout::Legacy, Layout::Portable];
const FIRST: &str = "20261120T080000Z";
const SECOND: &str = "20261121T080000Z";
const THIRD: &str = "20261122T080000Z";
const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn repositories(name: &'static str) -> [TestRepository; 2] {
    [
        TestRepository::with_lock(name),
        TestRepository::of_objects(name),
    ]
}

fn options(source: &TestRepository, target: Location) -> CopyOptions {
    CopyOptions {
        source: source.location(),
        target,
        sets: Vec::new(),
        policy: None,
        jobs: 1,
        limit_rate: None,
        retry_lock: Duration::ZERO,
        dry_run: false,
    }
}

/// What a run did, and what became of each set, oldest first: those that are refused it tells last.
fn run(options: &CopyOptions) -> Result<(CopyReport, Vec<SetCopy>)> {
    let mut copies = Vec::new();
    let report = copy(options, Context::silent(), &mut |copy| {
        copies.push(copy.clone());
    })?;
    copies.sort_by(|one, other| one.id.cmp(&other.id));
    Ok((report, copies))
}

fn copy_all(source: &TestRepository, target: &TestRepository) -> (CopyReport, Vec<SetCopy>) {
    run(&options(source, target.location())).unwrap()
}

/// Two sets of which the second has one shard as the first has it.
fn source(layout: Layout) -> TestRepository {
    let source = TestRepository::with_lock("source");
    source.add(FIRST, 0, layout, &[(1, b"one"), (2, b"two")], |_| {});
    source.add(SECOND, 1, layout, &[(1, b"one"), (2, b"new")], |set| {
        set.shards[0].shared_with = Some(SetId::from(FIRST));
    });
    source
}

/// An increment to the set before it.
fn increment(set: &mut SetRecord) {
    let day = jiff::SignedDuration::from_hours(24);
    set.selection.since = Some(set.started - day);
    for shard in &mut set.shards {
        shard.content = Content::Since;
    }
}

fn reason(copy: &SetCopy) -> (&str, ErrorKind) {
    match &copy.state {
        CopyState::Failed { kind, reason, .. } => (reason, *kind),
        other => panic!("{other:?}"),
    }
}

#[test]
fn sets_are_copied_between_repositories_of_any_kind_and_share_what_they_shared() {
    for layout in LAYOUTS {
        for target in repositories("target") {
            let source = source(layout);
            let (report, copies) = copy_all(&source, &target);
            assert_eq!(report.copied, [SetId::from(FIRST), SetId::from(SECOND)]);
            assert_eq!((report.worst, report.present), (None, 0));
            let sets = target.sets();
            target.expect_nothing_but(&sets);
            let shard = |set: usize, shard: usize| sets[set].shards[shard].file.clone().unwrap();
            for (set, of_source) in sets.iter().zip(source.sets()) {
                assert_eq!((&set.id, set.number), (&of_source.id, of_source.number));
                for (shard, of_source) in set.shards.iter().zip(&of_source.shards) {
                    let (file, of_source) = (shard.file.as_ref(), of_source.file.as_ref());
                    assert_eq!(file.unwrap().digest, of_source.unwrap().digest);
                }
            }
            assert_eq!(shard(0, 0).name == shard(1, 0).name, !target.has_lock());
            assert_eq!(sets[1].format, if target.has_lock() { 2 } else { 3 });
            let own = sets[1].files().map(|file| file.size).sum::<u64>();
            assert_eq!(copies[1].added, own - "one".len() as u64);
            // Back again, from storage of the other kind.
            let back = TestRepository::with_lock("back");
            assert_eq!(copy_all(&target, &back).0.copied.len(), 2);
            assert_eq!(back.sets().len(), 2);
            let names = target.names();
            let (again, _) = copy_all(&source, &target);
            assert_eq!((again.copied.len(), again.present), (0, 2));
            assert_eq!(target.names(), names);
        }
    }
}

/// Notes which shards were not copied, and why.
#[derive(Default)]
struct Skips(Mutex<Vec<String>>);

impl Progress for Skips {
    fn report(&self, event: &Event<'_>) {
        if let Event::Finished {
            outcome: Outcome::Skipped(why),
            ..
        } = event
        {
            self.0.lock().unwrap().push((*why).to_owned());
        }
    }
}

#[test]
fn a_copy_that_is_killed_at_any_step_leaves_whole_sets_and_the_next_ends_it() {
    let cancel = Cancel::default();
    for layout in LAYOUTS {
        let source = source(layout);
        let mut was_resumed = false;
        for of_objects in [false, true] {
            let mut ended = false;
            for steps in 0..200 {
                let target = match of_objects {
                    true => TestRepository::of_objects("target"),
                    false => TestRepository::with_lock("target"),
                };
                let killed = run(&options(&source, target.stopping_after(steps)));
                let before = target.sets();
                assert!(before.len() <= 2);
                let skips = Skips::default();
                let context = Context {
                    cancel: &cancel,
                    progress: &skips,
                };
                let report = copy(&options(&source, target.location()), context, &mut |_| {});
                let report = report.unwrap();
                assert_eq!((report.worst, report.present), (None, before.len()));
                was_resumed |= skips
                    .0
                    .lock()
                    .unwrap()
                    .contains(&"copied by an earlier run".into());
                target.clear();
                let sets = target.sets();
                assert_eq!(sets.len(), 2);
                assert_eq!(&sets[..before.len()], &before[..]);
                target.expect_nothing_but(&sets);
                if killed.is_ok() {
                    ended = true;
                    break;
                }
            }
            assert!(ended);
        }
        assert!(was_resumed);
    }
}

#[test]
fn what_a_killed_copy_leaves_goes_with_a_removal_or_a_copy_after_the_grace_period() {
    for layout in LAYOUTS {
        let source = source(layout);
        let mut ended = false;
        for steps in 0..200 {
            let target = TestRepository::of_objects("target");
            target.set_grace(DAY);
            let killed = run(&options(&source, target.stopping_after(steps)));
            // Before, nobody knows that the run is dead.
            let left = target.names();
            target.maintain();
            assert_eq!(target.names(), left, "after {steps} steps");
            target.pass(2 * DAY);
            if steps % 2 == 0 {
                target.maintain();
                let sets = target.sets();
                target.expect_nothing_but(&sets);
            }
            let (report, _) = copy_all(&source, &target);
            assert_eq!(report.worst, None);
            target.pass(2 * DAY);
            target.maintain();
            let sets = target.sets();
            assert_eq!(sets.len(), 2);
            target.expect_nothing_but(&sets);
            if killed.is_ok() {
                ended = true;
                break;
            }
        }
        assert!(ended);
    }
}

#[test]
fn a_set_whose_number_another_has_gets_the_next_and_the_order_stays() {
    for layout in LAYOUTS {
        for target in repositories("target") {
            let source = source(layout);
            target.add(
                "20261101T080000Z",
                0,
                Layout::Legacy,
                &[(9, b"other")],
                |set| {
                    set.cluster_id = Some(2);
                },
            );
            let (report, copies) = copy_all(&source, &target);
            assert_eq!(report.worst, None);
            let numbers: Vec<Option<u32>> = copies.iter().map(|copy| copy.number).collect();
            assert_eq!(numbers, [Some(1), Some(2)]);
            let sets = target.sets();
            target.expect_nothing_but(&sets);
            if layout == Layout::Legacy {
                assert_eq!(sets[1].meta.name, "meta.01");
                let file = sets[1].shards[1].file.as_ref().unwrap();
                assert_eq!(file.name, "db.autogen.00002.01");
            }
            assert_eq!(copy_all(&source, &target).0.present, 2);
        }
    }
}

#[test]
fn an_older_set_that_is_copied_later_comes_before_the_newer_ones() {
    for target in repositories("target") {
        let source = source(Layout::Legacy);
        let mut named = options(&source, target.location());
        named.sets = vec!["latest".to_owned()];
        assert_eq!(run(&named).unwrap().0.copied, [SetId::from(SECOND)]);
        assert_eq!(copy_all(&source, &target).0.copied, [SetId::from(FIRST)]);
        let ids: Vec<String> = target.sets().iter().map(|set| set.id.to_string()).collect();
        assert_eq!(ids, [FIRST, SECOND]);
        // Where somebody has all numbers before it, its place cannot be had.
        let other = TestRepository::with_lock("other");
        named.target = other.location();
        run(&named).unwrap();
        other.put("meta.00", b"influxd's");
        let (report, copies) = copy_all(&source, &other);
        assert_eq!(report.worst, Some(ErrorKind::Refused));
        assert!(
            reason(&copies[0]).0.contains("no free number"),
            "{copies:?}"
        );
    }
}

#[test]
fn damage_keeps_one_set_back_and_those_that_build_on_it_and_no_other() {
    for layout in LAYOUTS {
        for target in repositories("target") {
            let source = source(layout);
            source.add(THIRD, 2, layout, &[(2, b"more")], increment);
            let damaged = source.sets()[1].shards[1].file.clone().unwrap();
            source.replace(&damaged.name, b"nwe");
            let (report, copies) = copy_all(&source, &target);
            assert_eq!(report.copied, [SetId::from(FIRST)]);
            assert_eq!(
                (report.worst, report.failed.len()),
                (Some(ErrorKind::Damage), 2)
            );
            let (why, kind) = reason(&copies[1]);
            assert_eq!(kind, ErrorKind::Damage);
            assert!(
                why.contains(&damaged.name) && why.contains("BLAKE3 differs"),
                "{why}"
            );
            let (why, kind) = reason(&copies[2]);
            assert_eq!(kind, ErrorKind::Refused);
            assert!(why.contains(&format!("builds on {SECOND}")), "{why}");
            target.clear();
            let sets = target.sets();
            assert_eq!(sets.len(), 1);
            target.expect_nothing_but(&sets);

            source.replace(&damaged.name, b"new, and longer");
            let (report, copies) = copy_all(&source, &target);
            assert_eq!((report.present, report.worst), (1, Some(ErrorKind::Damage)));
            assert!(
                reason(&copies[1])
                    .0
                    .contains("15 bytes, and 3 were recorded")
            );
            source.replace(&damaged.name, b"new");
            let (report, _) = copy_all(&source, &target);
            assert_eq!(report.copied, [SetId::from(SECOND), SetId::from(THIRD)]);
        }
    }
}

#[test]
fn what_a_set_builds_on_is_copied_with_it() {
    for target in repositories("target") {
        let source = source(Layout::Legacy);
        source.add(THIRD, 2, Layout::Legacy, &[(2, b"more")], |set| {
            increment(set);
            set.state = SetState::Partial;
        });
        let mut named = options(&source, target.location());
        named.sets = vec!["latest".to_owned()];
        named.dry_run = true;
        let (report, _) = run(&named).unwrap();
        assert_eq!(report.copied, [SetId::from(SECOND), SetId::from(THIRD)]);
        assert_eq!(target.names(), [""; 0]);
        named.dry_run = false;
        let (report, copies) = run(&named).unwrap();
        assert_eq!(report.copied, [SetId::from(SECOND), SetId::from(THIRD)]);
        assert_eq!(copies[0].needed_by, Some(SetId::from(THIRD)));
        assert_eq!(copies[1].needed_by, None);
        assert_eq!(copies[1].set_state, Some(SetState::Partial));
        assert_eq!(target.sets()[1].state, SetState::Partial);
    }
}

#[test]
fn another_set_of_the_same_id_is_refused_and_the_others_are_copied() {
    for target in repositories("target") {
        let source = source(Layout::Portable);
        target.add(FIRST, 0, Layout::Portable, &[(1, b"another")], |_| {});
        let before = target.content(&format!("{FIRST}.s1.tar.gz"));
        let (report, copies) = copy_all(&source, &target);
        assert_eq!(report.copied, [SetId::from(SECOND)]);
        assert_eq!(report.worst, Some(ErrorKind::Refused));
        assert!(
            reason(&copies[0]).0.contains("has another set"),
            "{copies:?}"
        );
        assert_eq!(target.content(&format!("{FIRST}.s1.tar.gz")), before);
        // One that is the same, and has lost a file, is not passed over.
        let second = target.sets()[1].clone();
        let lost = &second.shards[1].file.as_ref().unwrap().name;
        target.replace(lost, b"shorter or longer");
        let (report, copies) = copy_all(&source, &target);
        assert_eq!(report.worst, Some(ErrorKind::Damage));
        assert!(reason(&copies[1]).0.contains(lost.as_str()), "{copies:?}");
    }
}

#[test]
fn sets_of_influxds_are_told_and_never_copied() {
    for target in repositories("target") {
        let source = source(Layout::Legacy);
        source.put("meta.07", b"influxd's");
        let (report, _) = copy_all(&source, &target);
        assert_eq!(report.copied.len(), 2);
        assert_eq!(report.unrecorded, [SetId::from("meta.07")]);
        let mut kept = options(&source, target.location());
        kept.policy = Some(Policy {
            last: super::super::Limit::Newest(1),
            ..Policy::default()
        });
        let (report, _) = run(&kept).unwrap();
        assert_eq!((report.present, report.unrecorded.len()), (1, 0));
    }
}

/// Has another run copy all sets while the first file of one is copied.
struct Another {
    options: CopyOptions,
    report: Mutex<Option<CopyReport>>,
}

impl Progress for Another {
    fn report(&self, event: &Event<'_>) {
        if !matches!(event, Event::Started { .. }) {
            return;
        }
        let mut report = self.report.lock().unwrap();
        if report.is_none() {
            *report = Some(run(&self.options).unwrap().0);
        }
    }
}

#[test]
fn what_another_run_copied_meanwhile_is_there_and_nothing_is_wrong_with_it() {
    let source = source(Layout::Portable);
    let target = TestRepository::of_objects("target");
    target.set_grace(DAY);
    let another = Another {
        options: options(&source, target.location()),
        report: Mutex::default(),
    };
    let cancel = Cancel::default();
    let context = Context {
        cancel: &cancel,
        progress: &another,
    };
    let mut copies = Vec::new();
    let report = copy(&another.options, context, &mut |copy| {
        copies.push(copy.clone());
    });
    let report = report.unwrap();
    assert_eq!(report.copied, [SetId::from(FIRST)]);
    assert_eq!((report.present, report.worst), (1, None), "{copies:?}");
    // The other one ended before the first set was there.
    let other = another.report.into_inner().unwrap().unwrap();
    assert_eq!(other.copied, [SetId::from(SECOND)]);
    assert_eq!(other.worst, Some(ErrorKind::Refused));
    let why = format!("another run is writing set {FIRST} into memory");
    assert!(other.failed[0].contains(&why), "{:?}", other.failed);
    let sets = target.sets();
    assert_eq!(sets.len(), 2);
    target.expect_nothing_but(&sets);
}

#[test]
fn a_killed_copy_counts_as_dead_ten_minutes_later_where_there_is_no_lock() {
    let source = source(Layout::Portable);
    let killed_after = |steps| {
        let target = TestRepository::of_objects("target");
        target.set_grace(DAY);
        run(&options(&source, target.stopping_after(steps))).unwrap_err();
        target
    };
    // With the claim, the first file is there.
    let is_there = |target: &TestRepository| target.names().iter().any(|name| name.ends_with("gz"));
    let target = (1..20).map(killed_after).find(is_there).unwrap();
    assert!(target.names().iter().any(|name| name.contains("claim")));
    let (report, copies) = copy_all(&source, &target);
    assert_eq!(report.worst, Some(ErrorKind::Refused));
    assert!(reason(&copies[0]).0.contains("another run"), "{copies:?}");
    assert_eq!(report.copied, [SetId::from(SECOND)]);
    target.pass(Duration::from_secs(11 * 60));
    let (report, _) = copy_all(&source, &target);
    assert_eq!(
        (report.copied, report.worst),
        (vec![SetId::from(FIRST)], None)
    );
    let sets = target.sets();
    assert_eq!(sets.len(), 2);
    target.expect_nothing_but(&sets);
}

#[test]
fn a_copy_that_fails_leaves_the_files_that_another_set_has_under_its_names() {
    let source = source(Layout::Portable);
    let target = TestRepository::of_objects("target");
    copy_all(&source, &target);
    // The first set goes, and the second still names one of its files.
    let first = target.sets()[0].clone();
    for name in [
        format!(".snap/{FIRST}.json"),
        first.meta.name,
        first.manifest.unwrap().name,
        first.shards[1].file.as_ref().unwrap().name.clone(),
    ] {
        target.remove(&name);
    }
    let damaged = &source.sets()[0].shards[1].file.clone().unwrap().name;
    source.replace(damaged, b"tow");
    let (report, _) = copy_all(&source, &target);
    assert_eq!(report.worst, Some(ErrorKind::Damage));
    let left = target.sets();
    assert_eq!(left.len(), 1);
    target.expect_nothing_but(&left);
    source.replace(damaged, b"two");
    assert_eq!(copy_all(&source, &target).0.copied, [SetId::from(FIRST)]);
    let sets = target.sets();
    target.expect_nothing_but(&sets);
}

#[test]
fn a_set_that_was_removed_is_copied_again_beside_one_that_names_a_file_of_it() {
    for target in repositories("target") {
        let source = source(Layout::Portable);
        let prefix = TestRepository::of_objects("prefix");
        copy_all(&source, &prefix);
        let first = prefix.sets()[0].clone();
        let shared = first.shards[0].file.as_ref().unwrap().name.clone();
        let record = format!(".snap/{FIRST}.json");
        let goes = |name: &String| {
            *name == record || (*name != shared && first.files().any(|file| file.name == *name))
        };
        let stays = prefix.names().into_iter().filter(|name| !goes(name));
        stays.for_each(|name| _ = target.put(&name, &prefix.content(&name)));
        let (report, copies) = copy_all(&source, &target);
        assert_eq!((report.copied.len(), report.present), (1, 1), "{copies:?}");
        let sets = target.sets();
        assert_eq!(sets[0].shards[0].file.as_ref().unwrap().name, shared);
        target.expect_nothing_but(&sets);
    }
}

#[test]
fn a_set_is_refused_with_the_name_that_something_else_has() {
    for target in repositories("target") {
        let source = source(Layout::Portable);
        let taken = format!("{FIRST}.s2.tar.gz");
        target.put(&taken, b"a stranger");
        let (report, copies) = copy_all(&source, &target);
        assert_eq!(report.copied, [SetId::from(SECOND)]);
        let (why, kind) = reason(&copies[0]);
        assert_eq!(kind, ErrorKind::Refused);
        assert!(why.contains(&taken), "{why}");
        assert_eq!(target.content(&taken), b"a stranger");
        target.remove(&taken);
        assert_eq!(copy_all(&source, &target).0.copied, [SetId::from(FIRST)]);
    }
}

#[test]
fn one_place_and_no_place_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let link = directory.path().join("link");
    std::os::unix::fs::symlink(directory.path(), &link).unwrap();
    let mut options = options(&source(Layout::Legacy), directory.path().into());
    options.source = link.into();
    assert_eq!(kind_of(&run(&options).unwrap_err()), ErrorKind::Usage);
    let inside = directory.path().join(".snap/copy");
    options.target = inside.into();
    assert_eq!(kind_of(&run(&options).unwrap_err()), ErrorKind::Usage);
    options.target = Location::parse("s3://bucket/db1/.snap").unwrap();
    assert_eq!(kind_of(&run(&options).unwrap_err()), ErrorKind::Usage);
    options.target = directory.path().into();
    options.source = directory.path().join("nowhere").into();
    assert_eq!(kind_of(&run(&options).unwrap_err()), ErrorKind::NoBackup);
    assert_eq!(
        kind_of(
            &run(&CopyOptions {
                policy: Some(Policy::default()),
                ..options
            })
            .unwrap_err()
        ),
        ErrorKind::Usage
    );
}
