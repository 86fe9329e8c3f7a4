//! That a backup or a removal that is killed at any request leaves no set damaged, and nothing that
//! a later run does not remove.

use std::time::{Duration, Instant};

use crate::fixture::{
    LAYOUTS, Sample, back_up, backup, expect_all_there, expect_nothing_but_sets, expect_offline,
    expect_sound, records,
};
use crate::support::each_of;
use crate::support::influxd::Index;
use crate::support::object_storage::{Repository, seaweedfs};
use crate::support::process::Snap;
use crate::support::proxy::{Fault, Proxy};

/// The requests of a backup at which it is killed: which operation, and the how-many-eth of them.
const OF_A_BACKUP: [(&str, usize); 11] = [
    ("list", 0),
    ("list", 2),
    ("put", 0),
    ("put", 1),
    ("put", 6),
    ("begin", 0),
    ("part", 0),
    ("part", 1),
    ("complete", 0),
    ("delete", 0),
    ("delete several", 0),
];

/// Runs until the nth request of an operation is held, and kills it there; whether it came so far.
pub fn kill_at(
    run: Snap,
    proxy: &Proxy,
    (operation, nth): (&'static str, usize),
    hold: Fault,
) -> bool {
    proxy.on(operation, nth..=nth, hold);
    kill_when_held(run, proxy)
}

/// Runs until a request is held, and kills it there; whether it came so far.
pub fn kill_when_held(run: Snap, proxy: &Proxy) -> bool {
    let running = run.spawn();
    let started = Instant::now();
    let stat = format!("/proc/{}/stat", running.pid());
    let has_ended = || {
        let stat = std::fs::read_to_string(&stat).unwrap_or_default();
        stat.rsplit_once(") ")
            .is_none_or(|(_, rest)| rest.starts_with('Z'))
    };
    let is_held = loop {
        if proxy.holds_within(Duration::from_millis(20)) {
            running.signal(libc::SIGKILL);
            break true;
        }
        if has_ended() {
            break false;
        }
        assert!(
            started.elapsed() < Duration::from_secs(60),
            "neither held nor ended"
        );
    };
    let run = running.wait();
    assert_eq!(run.signal, is_held.then_some(libc::SIGKILL), "{run:?}");
    is_held
}

/// Kills a backup there, and looks at what it and the next one leave.
fn killed_backup(at: (&'static str, usize), hold: Fault, layout: &[&str], is_second: bool) -> bool {
    let sample = Sample::get();
    let proxy = Proxy::start(seaweedfs().address);
    let repository = seaweedfs().repository("killed");
    let through = repository.through(proxy.address);
    if is_second {
        back_up(sample.server(), &repository, layout);
    }
    let flags = match is_second {
        true => [layout, &["-incremental"]].concat(),
        false => layout.to_vec(),
    };
    let before = records(&repository).len();
    let is_killed = kill_at(backup(sample.server(), &through, &flags), &proxy, at, hold);
    if !records(&repository).is_empty() {
        expect_all_there(&repository);
    }
    // Within the grace period, the next run leaves it alone.
    back_up(sample.server(), &repository, &flags);
    expect_all_there(&repository);
    let set = back_up(
        sample.server(),
        &repository,
        &[&flags[..], &["-grace", "0"]].concat(),
    );
    expect_nothing_but_sets(&repository);
    expect_sound(&repository);
    assert!(records(&repository).len() >= before + 2);
    if at == ("part", 1) {
        expect_offline(&repository, &set, &sample.points, Index::Inmem);
    }
    is_killed
}

#[test]
fn a_backup_killed_at_any_request_damages_nothing_and_leaves_nothing_for_long() {
    let cases = OF_A_BACKUP.iter().enumerate().flat_map(|(nth, at)| {
        [Fault::HoldBefore, Fault::HoldAfter]
            .into_iter()
            .enumerate()
            .map(move |(side, hold)| ((*at, side), (nth + side, *at, hold)))
    });
    let reached = std::sync::Mutex::new(std::collections::BTreeSet::new());
    each_of(4, cases, |(_, (nth, at, hold))| {
        let (_, layout) = LAYOUTS[nth % 2];
        if killed_backup(*at, hold.clone(), layout, nth % 3 == 0) {
            reached.lock().expect("a lock").insert(at.0);
        }
    });
    let reached = reached.into_inner().expect("a lock");
    for operation in ["list", "put", "begin", "part", "complete"] {
        assert!(reached.contains(operation), "never killed at {operation}");
    }
}

#[test]
fn a_removal_killed_at_any_request_is_finished_by_the_next() {
    let sample = Sample::get();
    let mut reached = 0;
    for (operation, nth) in [
        ("put", 0),
        ("delete", 0),
        ("delete", 1),
        ("delete several", 0),
        ("delete several", 1),
    ] {
        for hold in [Fault::HoldBefore, Fault::HoldAfter] {
            let proxy = Proxy::start(seaweedfs().address);
            let repository = seaweedfs().repository("killed-removal");
            back_up(sample.server(), &repository, &["-portable"]);
            back_up(sample.server(), &repository, &["-portable", "-incremental"]);
            let forget = |repository: &Repository| {
                repository.snap(&["forget", "-keep-last", "1", "-grace", "0"])
            };
            let run = forget(&repository.through(proxy.address));
            reached += usize::from(kill_at(run, &proxy, (operation, nth), hold));
            expect_sound(&repository);
            forget(&repository).run().expect(0);
            assert_eq!(records(&repository).len(), 1);
            expect_nothing_but_sets(&repository);
            expect_sound(&repository);
        }
    }
    assert!(reached >= 4, "killed only {reached} times");
}

#[test]
fn a_backup_killed_at_random_moments_damages_nothing() {
    let sample = Sample::get();
    let repository = seaweedfs().repository("random");
    for nth in 0..8 {
        let flags: &[&str] = match nth % 2 {
            0 => &["-portable", "-incremental"],
            _ => &["-portable"],
        };
        let running = backup(sample.server(), &repository, flags).spawn();
        // Spread over the length of a run, not evenly.
        std::thread::sleep(Duration::from_millis(30 + nth * nth * 25));
        running.signal(libc::SIGKILL);
        running.wait();
        if !records(&repository).is_empty() {
            expect_sound(&repository);
        }
    }
    back_up(sample.server(), &repository, &["-portable", "-grace", "0"]);
    expect_nothing_but_sets(&repository);
    expect_sound(&repository);
    expect_offline(&repository, "latest", &sample.points, Index::Inmem);
}
