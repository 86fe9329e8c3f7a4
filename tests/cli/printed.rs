//! What a run prints where nobody watches it: into a log, a pipe, or a mail of cron's.

use crate::support::fixture::Fixture;
use crate::support::peer::{Asked, Reply, Shard, Version};

/// A server with the shards 1 to 3.
fn three_shards() -> Fixture {
    Fixture::with_shards([1, 2, 3])
}

#[test]
fn a_log_gets_no_line_a_shard_unless_it_is_asked_for() {
    let fixture = three_shards();
    let run = fixture.backup(&[]).expect(0);
    assert!(!run.stderr.contains("shard db/autogen/"), "{}", run.stderr);
    assert!(
        run.stdout.starts_with("set ") && run.stdout.lines().count() == 1,
        "{}",
        run.stdout
    );
    let run = fixture.backup(&["-verbose"]).expect(0);
    for id in 1..=3 {
        let line = format!("shard db/autogen/{id}: 3 files, ");
        assert!(run.stderr.contains(&line), "{}", run.stderr);
    }
}

#[test]
fn a_log_gets_retries_failures_and_one_line_for_equal_reasons() {
    let fixture = three_shards();
    for id in [1, 2] {
        fixture
            .peer
            .script(Asked::Shard(id), [Reply::Bytes(b"no tar".to_vec())]);
    }
    let run = fixture.backup(&["-retries", "1", "-skip-errors"]).expect(3);
    let told = |begin: &str| {
        let lines = run.stderr.lines();
        lines.filter(|line| line.starts_with(begin)).count()
    };
    assert_eq!(told("shard db/autogen/1: attempt 1 failed, next in "), 1);
    assert_eq!(told("shard db/autogen/2: failed: "), 1);
    assert_eq!(told("missing: 2 shards (db/autogen/1, db/autogen/2): "), 1);
    assert_eq!(told("missing: "), 1, "{}", run.stderr);

    let run = fixture.backup(&["-retries", "0"]).expect(1);
    let error = "snap: 2 of 3 shards could not be fetched: 2 shards (db/autogen/1, db/autogen/2): ";
    assert!(run.stderr.contains(error), "{}", run.stderr);
}

#[test]
fn a_log_gets_one_total_every_ten_seconds() {
    let fixture = three_shards();
    fixture.backup(&[]).expect(0);
    let bytes: usize = fixture
        .peer
        .model()
        .shards
        .iter()
        .map(|shard| shard.bytes().len())
        .sum();
    // About 13 seconds: the metastore is limited too.
    let rate = format!("{}B", bytes / 12);
    let run = fixture.backup(&["-limit-rate", &rate]).expect(0);
    let totals: Vec<&str> = run
        .stderr
        .lines()
        .filter(|line| line.contains(" of 3 shards, "))
        .collect();
    assert_eq!(totals.len(), 1, "{}", run.stderr);
    assert!(
        totals[0].contains('%') && totals[0].contains("/s, ") && totals[0].ends_with(" left"),
        "{}",
        totals[0]
    );
}

#[test]
fn quiet_leaves_warnings_and_errors_and_summary_the_last_line_too() {
    let fixture = three_shards();
    let run = fixture.backup(&["-quiet"]).expect(0);
    assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("", ""));
    let summary = |flags: &[&str]| {
        let run = fixture.backup(flags).expect(0);
        assert_eq!(run.stderr, "", "{flags:?}");
        let is_summary = run.stdout.starts_with("set ") && run.stdout.contains(": 3 shards, ");
        assert!(
            is_summary && run.stdout.lines().count() == 1,
            "{}",
            run.stdout
        );
    };
    summary(&["-summary"]);
    summary(&["-quiet", "-summary"]);
    summary(&["-verbose", "-summary"]);

    // A database is gone: nobody is to miss that.
    for (flag, database) in [("-quiet", "other"), ("-summary", "third")] {
        let other = Shard::new(Version::V1_6, database, "autogen", 7);
        fixture.peer.change(|model| model.shards = vec![other]);
        let run = fixture.backup(&[flag]).expect(0);
        let warnings = run.stderr.lines();
        assert!(
            run.stderr.contains("have no shard any more"),
            "{}",
            run.stderr
        );
        for warning in warnings {
            assert!(warning.starts_with("warning: set "), "{warning}");
        }
    }
}
