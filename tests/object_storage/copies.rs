//! That `snap copy` brings sets into object storage, out of it, and from one prefix into another, and
//! that a real server's points come back from the copies.

use std::path::Path;

use crate::fixture::{
    LAYOUTS, SMALL_PARTS, Sample, back_up, expect_nothing_but_sets, expect_offline, expect_sound,
    records,
};
use crate::kills::kill_at;
use crate::support::backups::{Backups, expect_offline as expect_from_directory};
use crate::support::data::START;
use crate::support::influxd::Index;
use crate::support::object_storage::{ADMIN, BUCKET, Repository, Storage, rclone, seaweedfs};
use crate::support::process::{Run, Snap, snap};
use crate::support::proxy::{Fault, Proxy};
use crate::support::time::SECOND;
use crate::support::{folder, utf8};

/// A run that copies sets of one prefix into another of the same server.
fn copy(from: &Repository, to: &Repository) -> Snap {
    from.snap_with(&["copy", "-json"], &[&to.url()])
        .env("SNAP_CONFIG", SMALL_PARTS)
}

/// The same for directories: `what` are the flags, SRC and DST, which `repository` is one of.
fn copy_up(repository: &Repository, from: &Path) -> Run {
    repository
        .snap(&["copy", "-json", utf8(from)])
        .run()
        .expect(0)
}

fn copy_down(repository: &Repository, to: &Path) -> Run {
    repository
        .snap_with(&["copy", "-json"], &[utf8(to)])
        .run()
        .expect(0)
}

fn copied(run: &Run) -> u64 {
    run.last_message()["copied"].as_u64().expect("a number")
}

/// A set, what it shares, and an increment: from a prefix into another, into a directory, and back.
fn around(storage: &Storage, layout: &'static [&'static str]) {
    let backups = Backups::loaded(Index::Inmem, layout, 10);
    let first = storage.repository("copied-from");
    let mut made = Vec::new();
    for flags in [&[][..], &["-incremental"], &["-since", "last"]] {
        let points = backups.server.points();
        let id = back_up(&backups.server, &first, &[layout, flags].concat());
        made.push((id, points));
        let line = format!(
            "m,host=a n={}i {}",
            made.len(),
            START + made.len() as i64 * SECOND
        );
        backups.server.write("other", "", &line);
    }
    let second = storage.repository("copied-to");
    assert_eq!(copied(&copy(&first, &second).run().expect(0)), 3);
    let again = copy(&first, &second).run().expect(0);
    assert_eq!(copied(&again), 0);
    let folder = folder();
    let dir = folder.path().join("down");
    assert_eq!(copied(&copy_down(&second, &dir)), 3);
    snap(["verify", "-deep", utf8(&dir)]).expect(0);
    let third = storage.repository("copied-up");
    assert_eq!(copied(&copy_up(&third, &dir)), 3);
    for repository in [&second, &third] {
        assert!(records(repository).keys().eq(records(&first).keys()));
        // What one object was is one object.
        assert_eq!(repository.names().len(), first.names().len());
        expect_nothing_but_sets(repository);
        expect_sound(repository);
    }
    backups.server.stop();
    for (id, points) in &made {
        expect_offline(&third, id, points, Index::Inmem);
        expect_from_directory(&dir, id, points, Index::Inmem);
    }
}

#[test]
fn legacy_sets_go_around_and_come_back_from_each_copy() {
    around(seaweedfs(), LAYOUTS[0].1);
}

#[test]
fn portable_sets_go_around_and_come_back_from_each_copy() {
    around(seaweedfs(), LAYOUTS[1].1);
}

#[test]
fn portable_sets_go_around_on_a_server_without_conditional_requests() {
    around(rclone(), LAYOUTS[1].1);
}

#[test]
fn the_records_of_the_target_are_read_once_however_many_sets_are_copied() {
    let sample = Sample::get();
    let (from, to) = (seaweedfs().repository("from"), seaweedfs().repository("to"));
    let more = |count| {
        (0..count).for_each(|_| {
            back_up(sample.server(), &from, &["-portable", "-incremental"]);
        });
    };
    more(4);
    copy(&from, &to).run().expect(0);
    more(3);
    let proxy = Proxy::start(seaweedfs().address);
    let through = from.through(proxy.address);
    assert_eq!(copied(&copy(&through, &to).run().expect(0)), 3);
    let url = to.url();
    let (_, place) = url.rsplit_once(BUCKET).expect("its bucket");
    let requests = proxy.take_requests();
    let records = format!("{}/.snap/", place.trim_matches('/'));
    let reads = requests.iter().filter(|request| {
        let is_record = request.key.starts_with(&records) && request.key.ends_with(".json");
        request.operation() == "get" && is_record
    });
    // The four twice, to see what is there and which numbers are used; each new one twice as it is
    // written, and once for those after it.
    let count = reads.count();
    assert!((8..=2 * 4 + 2 * 3 + 2).contains(&count), "{count} reads");
    assert!(!format!("{requests:?}").contains(ADMIN.secret));
}

#[test]
fn a_copy_that_is_killed_leaves_whole_sets_and_a_later_one_ends_it() {
    let sample = Sample::get();
    let mut reached = 0;
    for (nth, at) in [("put", 2), ("part", 1), ("complete", 0), ("delete", 0)]
        .into_iter()
        .enumerate()
    {
        let (_, layout) = LAYOUTS[nth % 2];
        let (from, to) = (seaweedfs().repository("from"), seaweedfs().repository("to"));
        back_up(sample.server(), &from, layout);
        let proxy = Proxy::start(seaweedfs().address);
        let killed = copy(&from.through(proxy.address), &to);
        reached += usize::from(kill_at(killed, &proxy, at, Fault::HoldAfter));
        assert!(records(&to).len() <= 1);
        if !records(&to).is_empty() {
            expect_sound(&to);
        }
        from.snap_with(&["copy", "-grace", "0"], &[&to.url()])
            .run()
            .expect(0);
        expect_sound(&to);
        // Where nothing was left to copy, the next removal takes what the killed run has left.
        to.snap(&["forget", "-keep-last", "1", "-grace", "0"])
            .run()
            .expect(0);
        expect_nothing_but_sets(&to);
        assert!(records(&to).keys().eq(records(&from).keys()));
        if nth == 1 {
            expect_offline(&to, "latest", &sample.points, Index::Inmem);
        }
    }
    assert_eq!(reached, 4);
}
