//! Several runs at once in one repository, where there is no lock: each is whole or fails, and none
//! harms another.

use std::collections::BTreeSet;

use crate::fixture::{
    LAYOUTS, Sample, back_up, backup, expect_nothing_but_sets, expect_offline, expect_sound,
    records, summary,
};
use crate::support::influxd::Index;
use crate::support::object_storage::{Storage, rclone, seaweedfs};

/// How many runs there are at once.
const WRITERS: usize = 3;

/// Backups at once from processes of their own.
fn writers(storage: &Storage, layout: &[&str]) {
    let sample = Sample::get();
    let repository = storage.repository("together");
    back_up(sample.server(), &repository, layout);
    for flags in [layout.to_vec(), [layout, &["-incremental"]].concat()] {
        let before = records(&repository).len();
        let running: Vec<_> = (0..WRITERS)
            .map(|_| backup(sample.server(), &repository, &flags).spawn())
            .collect();
        let runs: Vec<_> = running
            .into_iter()
            .map(|run| run.wait().expect_told("beside another"))
            .collect();
        let done = runs.iter().filter(|run| run.code == Some(0)).count();
        assert!(done >= 1, "{runs:#?}");
        let records = records(&repository);
        assert_eq!(records.len(), before + done, "{runs:#?}");
        let numbers: BTreeSet<_> = records
            .values()
            .map(|record| record["number"].as_u64())
            .collect();
        assert_eq!(numbers.len(), records.len(), "two sets with one number");
        expect_sound(&repository);
    }
    let last = records(&repository);
    let last = last.keys().next_back().expect("a set");
    expect_offline(&repository, last, &sample.points, Index::Inmem);
    back_up(
        sample.server(),
        &repository,
        &[layout, &["-grace", "0"]].concat(),
    );
    expect_nothing_but_sets(&repository);
}

#[test]
fn backups_at_once_in_s3_do_each_other_no_harm() {
    for (_, layout) in LAYOUTS {
        writers(seaweedfs(), layout);
    }
}

#[test]
fn backups_at_once_on_a_server_without_conditional_requests_do_each_other_no_harm() {
    for (_, layout) in LAYOUTS {
        writers(rclone(), layout);
    }
}

#[test]
fn a_removal_beside_an_incremental_backup_takes_nothing_that_the_new_set_shares() {
    let sample = Sample::get();
    for (name, layout) in LAYOUTS {
        let repository = seaweedfs().repository(name);
        let mut first = back_up(sample.server(), &repository, layout);
        for _ in 0..3 {
            let flags = [layout, &["-incremental"]].concat();
            let running = backup(sample.server(), &repository, &flags).spawn();
            let forget = repository.snap(&["forget", "-keep-last", "1"]).spawn();
            let (run, _) = (
                running.wait().expect(0),
                forget.wait().expect_told("forget beside a backup"),
            );
            expect_sound(&repository);
            let second = summary(&run)["set"].clone();
            let second = second.as_str().expect("an id").to_owned();
            let forget = repository.snap(&["forget", "-keep-last", "1"]).run();
            forget.expect(0);
            let records = records(&repository);
            assert!(records.contains_key(&second) && !records.contains_key(&first));
            expect_sound(&repository);
            first = second;
        }
        expect_offline(&repository, "latest", &sample.points, Index::Inmem);
    }
}
