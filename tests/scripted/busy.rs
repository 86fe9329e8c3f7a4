//! Servers that are written to while they are backed up: all that they had acknowledged before is
//! in the set, or it is said.

use std::fs;
use std::path::Path;
use std::time::Duration;

use crate::support::fixture::{Fixture, restore_dry_run, shard, states};
use crate::support::peer::{
    Asked, Cache, End, MODIFIED, Member, Model, Reply, Shard, Tar, Version, tar, tsm,
};
use crate::support::process::{Run, Snap};
use crate::support::{each, tree};
use jiff::Timestamp;
use serde_json::Value;

/// The versions of the newer dialect, each of which does something else while it flushes.
const VERSIONS: [Version; 3] = [Version::V1_6, Version::V1_8_3, Version::V1_8_10];

/// A flush during which two questions, one after the other, are answered without what it writes.
const OUTLASTS_TWO: Duration = Duration::from_millis(3500);

/// A flush that outlasts any run.
const FOR_EVER: Duration = Duration::from_secs(3600);

fn member(id: u64, number: u64, modified: u64) -> Member {
    let name = format!("db/autogen/{id}/{number:09}-000000001.tsm");
    Member::new(name, tsm(id * 100 + number, 700)).modified(modified)
}

/// A shard with one old file, a point that is cached, and flushes that begin by themselves and take
/// so long.
fn hot(id: u64, flushes: &[Duration]) -> Shard {
    let old = MODIFIED - 86_400 * 30;
    with_cache(
        id,
        Cache {
            files: vec![member(id, 1, old)],
            cached: vec![member(id, 2, MODIFIED)],
            flushes: flushes.iter().copied().collect(),
            ..Cache::default()
        },
    )
}

fn with_cache(id: u64, cache: Cache) -> Shard {
    Shard {
        tar: Tar::Bytes(tar(&cache.files)),
        cache: Some(cache),
        ..shard(id)
    }
}

fn fixture(version: Version, shards: Vec<Shard>) -> Fixture {
    let mut model = Model::new(version, &[]);
    model.shards = shards;
    Fixture::new(model)
}

/// All records of a directory, the oldest first.
fn records(dir: &Path) -> Vec<Value> {
    let hidden = dir.join(".snap");
    let mut names = tree::names(&hidden);
    names.retain(|name| name.ends_with(".json"));
    names.sort();
    let read = |name: &String| {
        serde_json::from_slice(&fs::read(hidden.join(name)).expect("a record")).expect("JSON")
    };
    names.iter().map(read).collect()
}

/// The numbers of the files of a shard in a set.
fn files(record: &Value, id: u64) -> Vec<u64> {
    let shards = record["shards"].as_array().expect("shards");
    let shard = shards
        .iter()
        .find(|shard| shard["id"] == id)
        .expect("the shard");
    let members = shard["members"].as_array().cloned().unwrap_or_default();
    members
        .iter()
        .map(|member| {
            member["name"].as_str().expect("a name")[..9]
                .parse()
                .expect("a number")
        })
        .collect()
}

fn last(fixture: &Fixture) -> Value {
    records(&fixture.dir()).pop().expect("a set")
}

fn seconds(count: u64) -> Duration {
    Duration::from_secs(count)
}

#[test]
fn what_was_acknowledged_before_the_run_is_in_the_set_though_a_flush_is_under_way() {
    let layouts: [&[&str]; 2] = [&[], &["-portable"]];
    each(
        VERSIONS
            .iter()
            .flat_map(|version| layouts.map(|layout| (*version, layout))),
        |(version, layout)| {
            // Two that are written to, one of them with one flush after the other, and three that
            // are not.
            let shards = vec![
                hot(1, &[OUTLASTS_TWO]),
                hot(2, &[Duration::from_millis(1100), seconds(0), seconds(1)]),
                hot(3, &[]),
                shard(4),
                shard(5),
            ];
            let fixture = fixture(*version, shards);
            fixture.backup(layout).expect(0);
            let record = last(&fixture);
            assert_eq!(record["state"], "complete");
            for id in 1..=3 {
                assert_eq!(files(&record, id), [1, 2], "{version:?}: shard {id}");
            }
            // Cold ones cost one question more than they did, and its answer is 1 KiB.
            for id in 3..=5 {
                assert_eq!(fixture.peer.asked_for(id), 2, "{version:?}: shard {id}");
            }
        },
    );
}

#[test]
fn what_a_flush_that_failed_before_the_run_left_unwritten_is_in_the_set() {
    each(VERSIONS, |version| {
        let cache = Cache {
            files: vec![member(1, 1, MODIFIED)],
            failed: vec![member(1, 2, MODIFIED)],
            cached: vec![member(1, 3, MODIFIED)],
            ..Cache::default()
        };
        let fixture = fixture(*version, vec![with_cache(1, cache)]);
        fixture.backup(&[]).expect(0);
        assert_eq!(files(&last(&fixture), 1), [1, 2, 3], "{version:?}");
    });
}

#[test]
fn an_increment_and_a_range_have_what_was_acknowledged_before_the_run() {
    let wants: [&[&str]; 3] = [
        &["-since", "2024-01-10"],
        &["-coarse", "-start", "2020-09-07T01:30:00Z"],
        &["-coarse", "-end", "2020-09-07T01:30:00Z"],
    ];
    each(
        VERSIONS
            .iter()
            .flat_map(|version| wants.map(|want| (*version, want))),
        |(version, want)| {
            let fixture = fixture(*version, vec![hot(1, &[OUTLASTS_TWO])]);
            fixture.backup(want).expect(0);
            let files = files(&last(&fixture), 1);
            assert!(files.contains(&2), "{version:?} {want:?}: {files:?}");
        },
    );
}

#[test]
fn a_shard_that_appears_meanwhile_is_left_to_the_next_set() {
    let fixture = fixture(
        Version::V1_8_10,
        vec![hot(1, &[Duration::from_millis(1500)])],
    );
    // The metastore, the shards, and the first question.
    let running = fixture.start(&[], 3);
    fixture.peer.change(|model| model.shards.push(shard(2)));
    running.wait().expect(0);
    let record = last(&fixture);
    assert_eq!(record["state"], "complete");
    assert_eq!(files(&record, 1), [1, 2]);
    assert_eq!(states(&record).keys().collect::<Vec<_>>(), [&1]);
    fixture.backup(&["-since", "last"]).expect(0);
    assert_eq!(last(&fixture)["shards"][1]["content"], "whole");
}

/// What is said of the set in which shard 1 is unproven.
fn expect_unproven(fixture: &Fixture, run: &Run) {
    let dir = fixture.dir();
    assert!(
        run.stderr.contains("shard db/autogen/1 is unproven: "),
        "{}",
        run.stderr
    );
    let record = last(fixture);
    assert_eq!(record["state"], "partial");
    assert!(record["shards"][0]["unproven"].is_string(), "{record}");
    assert_eq!(record["shards"][1].get("unproven"), None);
    assert_eq!(files(&record, 2), [1, 2]);
    let said = |args: &[&str], code: i32| {
        let run = Snap::new(args).args([&dir]).run().expect(code);
        format!("{}{}", run.stdout, run.stderr)
    };
    // A restore says it once, or that the shard is missing.
    let restored = restore_dry_run(&dir).expect(3);
    let lines = restored.stderr.lines();
    let said_of =
        lines.filter(|line| line.starts_with("warning: ") && line.contains("db/autogen/1"));
    assert_eq!(said_of.count(), 1, "{}", restored.stderr);
    let is_stored = record["shards"][0]["state"] == "stored";
    assert_eq!(
        restored
            .stderr
            .contains("shard db/autogen/1: it is unproven in set "),
        is_stored,
        "{}",
        restored.stderr
    );
    let listed = said(&["list"], 0);
    assert!(
        listed.contains("partial")
            && listed.contains("unproven")
            && listed.contains("db/autogen/1"),
        "{listed}"
    );
    let verified = said(&["verify"], 3);
    assert!(verified.contains("db/autogen/1"), "{verified}");
    if is_stored {
        for text in [&listed, &said(&["info"], 0)] {
            assert_eq!(text.matches("db/autogen/1").count(), 1, "{text}");
        }
        assert!(verified.contains("it is unproven in set "), "{verified}");
    }
    let info = said(&["info"], 0);
    let counted = if is_stored { "1 unproven" } else { "1 failed" };
    assert!(
        info.contains(counted) && info.contains("unproven, points"),
        "{info}"
    );
    let check = said(&["check", "-max-age", "1h"], 1);
    assert!(check.contains("1 unproven: db/autogen/1"), "{check}");
    let line: Value = serde_json::from_str(said(&["list", "-json"], 0).trim()).expect("JSON");
    assert_eq!(line["unproven"], serde_json::json!(["db/autogen/1"]));
    let shards: Vec<Value> = said(&["info", "-json"], 0)
        .lines()
        .skip(1)
        .map(|line| serde_json::from_str(line).expect("JSON"))
        .collect();
    assert!(shards[0]["unproven_reason"].is_string() && shards[1]["unproven_reason"].is_null());
}

#[test]
fn a_shard_that_is_busy_for_ever_is_kept_unproven_and_nothing_builds_on_it() {
    each([["-incremental"], ["-since=last"]], |flags| {
        let fixture = fixture(
            Version::V1_8_10,
            vec![hot(1, &[FOR_EVER]), hot(2, &[seconds(1)])],
        );
        let run = fixture.backup(&["-flush-timeout", "2s"]).expect(3);
        expect_unproven(&fixture, &run);
        // What came is in the set all the same.
        assert_eq!(files(&last(&fixture), 1), [1]);
        // Two questions, and the download that is taken as it comes.
        assert_eq!(fixture.peer.asked_for(1), 3);

        // The next set downloads all, once the server is no longer busy.
        fixture.peer.change(|model| *model.shard(1) = hot(1, &[]));
        let run = fixture.backup(flags).expect(0);
        assert!(run.stdout.contains("2 shards"), "{}", run.stdout);
        let record = last(&fixture);
        assert_eq!(files(&record, 1), [1, 2]);
        for shard in record["shards"].as_array().expect("shards") {
            assert_eq!(shard["content"], "whole");
            assert_eq!(shard.get("shared_with"), None);
        }
    });
}

#[test]
fn what_is_unproven_is_said_by_a_quiet_run_too() {
    let fixture = fixture(Version::V1_8_10, vec![hot(1, &[FOR_EVER])]);
    let run = fixture.backup(&["-quiet", "-flush-timeout", "0"]).expect(3);
    let mut lines = run.stderr.lines();
    let is_named = lines.any(|line| line.starts_with("unproven: shard db/autogen/1: "));
    assert!(is_named, "{}", run.stderr);
    assert_eq!(
        lines.last(),
        Some("snap: done in part: 1 fault, named above")
    );
}

#[test]
fn a_full_shard_of_which_nothing_but_late_empty_tars_come_is_named_and_the_others_are_kept() {
    for layout in [&[][..], &["-portable"]] {
        let fixture = fixture(
            Version::V1_8_3,
            vec![hot(1, &[FOR_EVER]), hot(2, &[seconds(1)])],
        );
        let run = fixture
            .backup(&[layout, &["-flush-timeout", "2s"]].concat())
            .expect(3);
        expect_unproven(&fixture, &run);
        let record = last(&fixture);
        assert_eq!(record["shards"][0]["state"], "failed");
        assert_eq!(record["shards"][0].get("file"), None);
    }
}

#[test]
fn an_unproven_shard_is_not_taken_over_by_the_run_that_resumes() {
    let fixture = fixture(
        Version::V1_8_10,
        vec![hot(1, &[FOR_EVER]), shard(2), shard(3)],
    );
    fixture
        .peer
        .script(Asked::Shard(3), [Reply::Cut(700, End::Rst)]);
    let flags = ["-resume", "-flush-timeout", "1s", "-retries", "0"];
    fixture.backup(&flags).expect(1);
    fixture.peer.change(|model| *model.shard(1) = hot(1, &[]));
    fixture.peer.script(Asked::Shard(3), [Reply::Whole]);
    fixture.backup(&flags).expect(0);
    let record = last(&fixture);
    assert_eq!(record["state"], "complete");
    assert_eq!(files(&record, 1), [1, 2]);
}

#[test]
fn a_run_that_resumes_has_what_was_acknowledged_before_it_and_downloads_no_cold_shard_again() {
    let now = u64::try_from(Timestamp::now().as_second()).expect("a time");
    let with_files = |id: u64, files: Vec<Member>| {
        with_cache(
            id,
            Cache {
                files,
                ..Cache::default()
            },
        )
    };
    let cases: [(&[&str], usize); 5] = [
        (&[], 1),
        (&["-portable"], 1),
        (&["-incremental"], 1),
        (&["-since", "2024-01-10"], 1),
        // The server makes these files for the run.
        (&["-coarse", "-start", "2020-09-07T01:30:00Z"], 0),
    ];
    each(
        VERSIONS
            .iter()
            .flat_map(|version| cases.map(|case| (*version, case))),
        |(version, (what, taken_over))| {
            let case = format!("{version:?} {what:?}");
            let shards = vec![
                with_files(1, vec![member(1, 1, MODIFIED)]),
                with_files(2, vec![member(2, 1, MODIFIED)]),
                with_files(3, vec![member(3, 1, now - 2)]),
                shard(4),
            ];
            let fixture = fixture(*version, shards);
            fixture
                .peer
                .script(Asked::Shard(4), [Reply::Cut(700, End::Rst)]);
            let flags = [*what, &["-resume", "-retries", "0"]].concat();
            fixture.backup(&flags).expect(1);

            // A point is acknowledged, and the next run begins.
            fixture.peer.change(|model| {
                let cache = model.shard(2).cache.as_mut().expect("a cache");
                cache.cached.push(member(2, 2, now));
            });
            fixture.peer.script(Asked::Shard(4), [Reply::Whole]);
            let begun = Timestamp::now();
            let before = fixture.peer.shard_requests().len();
            let run = fixture.backup(&flags).expect(0);
            let record = last(&fixture);
            assert_eq!(record["state"], "complete");
            for (id, expected) in [(1, &[1][..]), (2, &[1, 2]), (3, &[1])] {
                assert_eq!(files(&record, id), expected, "{case}: shard {id}");
            }
            // An increment to it goes on from the run that made it.
            let started: Timestamp = record["started"]
                .as_str()
                .and_then(|text| text.parse().ok())
                .expect("a time");
            assert!(started >= begun, "{case}: {started}");
            let shards = if *taken_over == 1 { "shard" } else { "shards" };
            let said = format!(
                "{taken_over} {shards} taken over from an earlier run; {} not, because points may have changed since",
                3 - taken_over
            );
            assert!(run.stderr.contains(&said), "{case}: {}", run.stderr);
            let asked = fixture.peer.shard_requests().split_off(before);
            let of_cold = asked.iter().filter(|text| text.contains("\"ShardID\":1,"));
            let of_cold: Vec<bool> = of_cold
                .map(|text| text.contains("\"2024-01-15T0"))
                .collect();
            if *taken_over == 1 {
                assert_eq!(of_cold, [true; 2], "{case}: {asked:?}");
            }
            // There is no set below an increment.
            let code = if what.contains(&"-since") { 3 } else { 0 };
            Snap::new(["verify"])
                .args([fixture.dir()])
                .run()
                .expect(code);
        },
    );
}

#[test]
fn what_two_runs_left_is_as_old_as_the_run_that_downloaded_it() {
    let now = u64::try_from(Timestamp::now().as_second()).expect("a time");
    let cache = |numbers: &[u64], modified| Cache {
        files: numbers
            .iter()
            .map(|number| member(1, *number, modified))
            .collect(),
        ..Cache::default()
    };
    let fixture = fixture(
        Version::V1_6,
        vec![with_cache(1, cache(&[1], now - 2)), shard(2)],
    );
    fixture
        .peer
        .script(Asked::Shard(2), [Reply::Cut(700, End::Rst)]);
    let flags = ["-resume", "-retries", "0"];
    // Hot in the first run; the second downloads it when it is old; the third takes it over.
    for (nth, is_taken_over) in [false, false, true, true].into_iter().enumerate() {
        if nth == 1 {
            let old = with_cache(1, cache(&[2], MODIFIED));
            fixture.peer.change(|model| *model.shard(1) = old);
        }
        if nth == 3 {
            fixture.peer.script(Asked::Shard(2), [Reply::Whole]);
        }
        let before = fixture.peer.shard_requests().len();
        let code = if nth == 3 { 0 } else { 1 };
        let run = fixture.backup(&flags).expect(code);
        let asked = fixture.peer.shard_requests().split_off(before);
        let of_file: Vec<bool> = asked
            .iter()
            .filter(|text| text.contains("\"ShardID\":1,"))
            .map(|text| text.contains("\"2024-01-15T0"))
            .collect();
        assert_eq!(of_file, [is_taken_over; 2], "run {nth}: {}", run.stderr);
    }
    assert_eq!(files(&last(&fixture), 1), [2]);
}

#[test]
fn a_shard_is_not_shared_because_a_busy_server_says_late_that_nothing_is_newer() {
    each(VERSIONS, |version| {
        let cold = |cached| {
            let files = vec![member(1, 1, MODIFIED)];
            with_cache(
                1,
                Cache {
                    files,
                    cached,
                    ..Cache::default()
                },
            )
        };
        let fixture = fixture(*version, vec![cold(Vec::new())]);
        fixture.backup(&["-incremental"]).expect(0);
        // What is cached then is not in files, and the first question meets a flush of it.
        let mut busy = cold(vec![member(1, 2, MODIFIED + 3600)]);
        if let Some(cache) = &mut busy.cache {
            cache.flushes.push_back(OUTLASTS_TWO);
        }
        fixture.peer.change(|model| *model.shard(1) = busy);
        fixture.backup(&["-incremental"]).expect(0);
        let record = last(&fixture);
        assert_eq!(files(&record, 1), [1, 2], "{version:?}");
        assert_eq!(record["shards"][0].get("shared_with"), None);

        // Once it is cold, it is shared, for a question about each file, and one more.
        let asked = fixture.peer.asked_for(1);
        fixture.backup(&["-incremental"]).expect(0);
        assert!(last(&fixture)["shards"][0]["shared_with"].is_string());
        assert_eq!(fixture.peer.asked_for(1) - asked, 3, "{version:?}");
    });
}

#[test]
fn a_server_that_is_slow_with_every_shard_costs_no_timeout_for_each() {
    let count = 24;
    let fixture = fixture(Version::V1_6, (1..=count).map(shard).collect());
    for id in 1..=count {
        fixture
            .peer
            .script(Asked::Shard(id), [Reply::Late(Duration::from_millis(1050))]);
    }
    fixture
        .backup(&["-flush-timeout", "6s", "-jobs", "12"])
        .expect(3);
    let record = last(&fixture);
    assert_eq!(record["state"], "partial");
    let all = record["shards"].as_array().expect("shards");
    assert!(
        all.iter().all(|shard| shard["state"] == "stored"),
        "{record}"
    );
    let asked: usize = (1..=count).map(|id| fixture.peer.asked_for(id)).sum();
    // Seven each without an end to it.
    assert!(asked < 24 * 7 - 30, "{asked}");
}

#[test]
fn a_limit_on_the_rate_makes_no_answer_late() {
    let fixture = fixture(Version::V1_8_10, (1..=4).map(|id| hot(id, &[])).collect());
    fixture
        .backup(&["-limit-rate", "4000", "-jobs", "4", "-flush-timeout", "0"])
        .expect(0);
    for id in 1..=4 {
        assert_eq!(fixture.peer.asked_for(id), 2);
    }
}

#[test]
fn a_stop_is_obeyed_while_a_busy_shard_is_asked_for_again_and_again() {
    let fixture = fixture(Version::V1_8_10, vec![hot(1, &[FOR_EVER])]);
    let running = fixture.start(&["-flush-timeout", "1h"], 4);
    running.signal(15);
    running.wait().expect(143);
    fixture.expect_nothing();
}
