//! That `snap restore -online -merge` adds the points of a backup to a database that a real influxd
//! has, and that it refuses what cannot be right before it sends anything.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;

use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::data::{START, flush};
use crate::support::influxd::{Index, Influxd, time_of};
use crate::support::process::{Run, Running, Snap, backup, restore_online};
use crate::support::service::{copy, wait_for};
use crate::support::time::{DAY, HOUR, SECOND, WEEK};
use crate::support::{Shared, folder, tree};

/// What is on the server and in the backup, and which counts where both have a point.
const HOSTS_OF_BACKUP: [&str; 2] = ["both", "backup"];
const HOSTS_OF_SERVER: [&str; 2] = ["both", "server"];

/// A backup of a database `main` with two policies: shards of a week in one, and of a day in the
/// other.
struct Sample {
    folder: TempDir,
    points: Vec<String>,
}

static SAMPLE: Shared<Sample> = Shared::new(Sample::make);

impl Sample {
    fn make() -> Self {
        let folder = folder();
        let server = Influxd::start(&folder.path().join("source"), Index::Inmem);
        server.execute("CREATE DATABASE main");
        server.execute(
            "CREATE RETENTION POLICY days ON main DURATION 0s REPLICATION 1 SHARD DURATION 1d",
        );
        for version in [1, 2] {
            // The second is in files of its own, and takes the place of some of the first.
            let hours = (0..3 * 7 * 24).step_by(if version == 1 { 6 } else { 36 });
            for hour in hours {
                let time = START + hour * HOUR;
                for host in HOSTS_OF_BACKUP {
                    let line = format!("cpu,host={host} idle={version}.5,of=\"backup\" {time}\n");
                    server.write("main", "autogen", &line);
                    if hour < 48 {
                        server.write("main", "days", &line);
                    }
                }
            }
            flush(&server);
        }
        let only = format!(
            "only\\ here,a\\,b=c\\=d n=1i,ok=true {}",
            START + WEEK + SECOND
        );
        server.write("main", "autogen", &only);
        let dropped = format!("dropped,host=x v=1.5,w=2i {START}");
        server.write("main", "autogen", &dropped);
        flush(&server);
        server.query(
            "main",
            &format!(
                "DELETE FROM cpu WHERE host = 'both' AND time = {}",
                START + 6 * HOUR
            ),
        );
        let dir = folder.path().join("backup");
        backup(&server.host(), &["-apply-deletes=false"], &dir)
            .run()
            .expect(0);
        Self {
            points: server.points_of("main"),
            folder,
        }
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("backup")
    }
}

/// What the server has before: points at some of the times of the backup and at others, in other
/// series, with other fields and tags; some of them are not flushed. Shards of the second policy have
/// another length.
fn fill(server: &Influxd) {
    server.execute("CREATE DATABASE main");
    server.execute(
        "CREATE RETENTION POLICY days ON main DURATION 0s REPLICATION 1 SHARD DURATION 7d",
    );
    // Its keys stay in a file, and its fields are forgotten.
    server.write(
        "main",
        "autogen",
        &format!("dropped,host=x v=9.5 {}", START + SECOND),
    );
    flush(server);
    server.query("main", "DROP MEASUREMENT dropped");
    for (hour, is_flushed) in [(0, true), (12, true), (36, true), (37, false), (42, false)] {
        for host in HOSTS_OF_SERVER {
            let line = format!(
                "cpu,host={host} idle=9.5,of=\"server\",more={hour}i {}\nmem,host={host},zone=z free=1i {0}\n",
                START + hour * HOUR
            );
            server.write("main", "autogen", &line);
            server.write("main", "days", &line);
        }
        if is_flushed {
            flush(server);
        }
    }
}

/// A server that has read what was not flushed when it was started again.
fn filled(index: Index) -> (TempDir, Influxd) {
    let (root, server) = Influxd::empty(index);
    fill(&server);
    server.kill();
    let server = Influxd::start(root.path(), index);
    (root, server)
}

/// A point by point merge of what the two have: field by field of each series and time.
fn merged(first: &[String], second: &[String]) -> Vec<String> {
    let mut all: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for point in first.iter().chain(second) {
        let (place, fields) = point.split_once("} ").expect("a point");
        let (time, fields) = fields.split_once(' ').expect("a point");
        let known = all.entry(format!("{place}}} {time}")).or_default();
        for field in fields.split(',') {
            let (name, value) = field.split_once('=').expect("a field");
            known.insert(name.to_owned(), value.to_owned());
        }
    }
    let line = |(place, fields): (String, BTreeMap<String, String>)| {
        let fields: Vec<String> = fields
            .into_iter()
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        format!("{place} {}", fields.join(","))
    };
    let mut lines: Vec<String> = all.into_iter().map(line).collect();
    lines.sort();
    lines
}

/// A merge into `server`.
fn merge(server: &Influxd, flags: &[&str], dir: &Path) -> Snap {
    let http = format!("http://{}", server.http_address());
    let common = ["-merge", "-database", "main", "-http", &http];
    restore_online(&server.host(), &[&common, flags].concat(), dir)
}

fn summary(run: &Run) -> Value {
    run.last_message()
}

/// Panics unless the points of `main` are these, as fields in any order.
fn expect_merged(server: &Influxd, expected: &[String], when: &str) {
    let found = || merged(&server.points_of("main"), &[]);
    assert!(
        server.comes_to_be(|| found() == expected),
        "{when}: {:#?}",
        found()
            .iter()
            .filter(|point| !expected.contains(point))
            .chain(expected.iter().filter(|point| !found().contains(point)))
            .take(8)
            .collect::<Vec<_>>()
    );
}

/// Merges, twice, and looks at the points after each, after a restart, and when all files were
/// compacted.
fn overlapping(index: Index) {
    let sample = SAMPLE.get();
    for rule in ["backup", "server"] {
        let (root, server) = filled(index);
        let on_server = server.points_of("main");
        let expected = match rule {
            "backup" => merged(&on_server, &sample.points),
            _ => merged(&sample.points, &on_server),
        };
        let flags = ["-on-conflict", rule, "-json"];
        let dry = merge(
            &server,
            &[&flags[..], &["-dry-run"]].concat(),
            &sample.dir(),
        )
        .run()
        .expect(0);
        assert_eq!(server.points_of("main"), on_server, "a dry run");
        let planned = summary(&dry);
        let run = merge(&server, &flags, &sample.dir()).run().expect(0);
        let done = summary(&run);
        let count = |of: &Value| of["merged_shards"].as_array().map(Vec::len);
        assert_eq!(count(&done), count(&planned), "{}", run.stderr);
        assert_eq!(done["on_conflict"], rule);
        assert_eq!(done["read_back"], done["shards"], "{}", run.stderr);
        let shards = done["merged_shards"].as_array().expect("shards");
        // Two days of the backup come into a week of the server; two weeks are new.
        let days = shards
            .iter()
            .find(|shard| shard["retention_policy"] == "days")
            .expect("days");
        assert_eq!(days["from_shards"].as_array().map(Vec::len), Some(2));
        assert_eq!(
            shards
                .iter()
                .filter(|shard| shard["new_shard"] == true)
                .count(),
            2
        );
        expect_merged(&server, &expected, &format!("{rule}, merged"));
        merge(&server, &flags, &sample.dir()).run().expect(0);
        expect_merged(&server, &expected, &format!("{rule}, merged twice"));
        server.expect_no_errors();
        server.stop();

        let settings = [
            ("INFLUXDB_DATA_COMPACT_FULL_WRITE_COLD_DURATION", "1s"),
            ("INFLUXDB_DATA_CACHE_SNAPSHOT_WRITE_COLD_DURATION", "1s"),
        ];
        let server = Influxd::start_with(root.path(), index, &settings);
        expect_merged(&server, &expected, &format!("{rule}, started again"));
        let is_compacted = || {
            server.shards().iter().all(|(database, policy, id, ..)| {
                let dir = server.data_dir().join(database).join(policy);
                let names = tree::names(&dir.join(id.to_string()));
                names.iter().filter(|name| name.ends_with(".tsm")).count() == 1
            })
        };
        assert!(
            wait_for(|| is_compacted().then_some(())).is_some(),
            "{}",
            server.log()
        );
        expect_merged(&server, &expected, &format!("{rule}, compacted"));
        server.expect_no_errors();
    }
}

#[test]
fn points_come_into_a_database_of_an_inmem_server_and_the_rule_says_which_counts() {
    overlapping(Index::Inmem);
}

#[test]
fn points_come_into_a_database_of_a_tsi1_server_and_the_rule_says_which_counts() {
    overlapping(Index::Tsi1);
}

#[test]
fn a_week_is_cut_at_the_days_of_the_server_and_ranges_series_and_new_policies_go_along() {
    let sample = SAMPLE.get();
    let (_root, server) = Influxd::empty(Index::Tsi1);
    server.execute("CREATE DATABASE \"o ther\" WITH SHARD DURATION 1d NAME \"autogen\"");
    server.write(
        "o ther",
        "autogen",
        &format!("cpu,host=both idle=9.5 {START}"),
    );
    let end = jiff::Timestamp::from_nanosecond((START + 2 * DAY + 1).into()).expect("a time");
    let flags = [
        "-newdb",
        "o ther",
        "-end",
        &end.to_string(),
        "-where",
        "host=both",
        "-json",
    ];
    let run = merge(&server, &flags, &sample.dir()).run().expect(0);
    let done = summary(&run);
    assert_eq!(done["new_policies"], 1);
    let shards = done["merged_shards"].as_array().expect("shards");
    let cut = shards
        .iter()
        .filter(|shard| shard["is_cut"] == true && shard["retention_policy"] == "autogen");
    assert_eq!(cut.count(), 3, "{done}");
    let is_meant = |point: &&String| {
        let time = time_of(point);
        point.contains("\"both\"") && time <= START + 2 * DAY + 1
    };
    let expected: Vec<String> = sample
        .points
        .iter()
        .filter(is_meant)
        .map(|point| point.replacen("\"main\"", "\"o ther\"", 1))
        .collect();
    // The server's value counts, and it has no other field.
    let own = [format!(
        "\"o ther\".\"autogen\" \"cpu\"{{\"host\"=\"both\"}} {START} \"idle\"=9.5"
    )];
    let expected = merged(&expected, &own);
    assert!(server.comes_to_be(|| merged(&server.points_of("o ther"), &[]) == expected));
}

#[test]
fn what_is_in_the_way_is_refused_with_all_of_it_and_nothing_is_sent() {
    let sample = SAMPLE.get();
    let (_root, server) = Influxd::empty(Index::Inmem);
    let other = Influxd::empty(Index::Inmem);
    // No such database, and another server's API.
    merge(&server, &[], &sample.dir()).run().expect(6);
    server.execute("CREATE DATABASE main");
    server.write(
        "main",
        "autogen",
        &format!("cpu,host=x idle=1i {START}\nonly\\ here n=1i {START}"),
    );
    let http = format!("http://{}", other.1.http_address());
    let run = merge(&server, &["-http", &http], &sample.dir())
        .run()
        .expect(6);
    assert!(run.stderr.contains("different servers"), "{}", run.stderr);

    server.execute(
        "CREATE RETENTION POLICY days ON main DURATION 52w REPLICATION 1 SHARD DURATION 1d",
    );
    server.execute("CREATE SUBSCRIPTION s ON main.autogen DESTINATIONS ALL 'udp://127.0.0.1:9'");
    let state = || {
        (
            server.points_of("main"),
            server.shards(),
            tree::names(&server.data_dir()),
        )
    };
    let before = state();
    for dry_run in [&["-dry-run"][..], &[]] {
        let run = merge(&server, dry_run, &sample.dir()).run().expect(6);
        for part in [
            "field 'idle' of measurement 'cpu' (float in shard",
            "integer in main/autogen on the server",
            "'days' keeps points from",
        ] {
            assert!(run.stderr.contains(part), "{part}: {}", run.stderr);
        }
        assert!(!run.stderr.contains("only here"), "{}", run.stderr);
    }
    assert_eq!(state(), before);
    // Without what is in the way, it is done, and the subscription is told of.
    let flags = ["-retention", "autogen", "-measurement", "only here"];
    let run = merge(&server, &flags, &sample.dir()).run().expect(0);
    assert!(
        run.stderr.contains("main/autogen has 1 subscription (s)"),
        "{}",
        run.stderr
    );
    merge(&server, &["-shard-duration", "1d"], &sample.dir())
        .run()
        .expect(2);

    // A policy of weeks with a shard group of one day in a week of the backup.
    let day = "CREATE RETENTION POLICY mixed ON main DURATION 0s REPLICATION 1 SHARD DURATION 1d";
    server.execute(day);
    server.write(
        "main",
        "mixed",
        &format!("cpu,host=x idle=1.5 {}", START + 8 * DAY),
    );
    server.execute("ALTER RETENTION POLICY mixed ON main SHARD DURATION 7d");
    let flags = ["-retention", "autogen", "-newrp", "mixed"];
    let run = merge(&server, &flags, &sample.dir()).run().expect(6);
    assert!(
        run.stderr.contains("mixed would get a shard group from"),
        "{}",
        run.stderr
    );
    server.execute("ALTER RETENTION POLICY mixed ON main SHARD DURATION 1d");
    merge(&server, &flags, &sample.dir()).run().expect(0);
}

/// A copy of the backup, of which nobody else keeps a journal.
fn own_backup(place: &TempDir) -> PathBuf {
    let dir = place.path().join("backup");
    copy(&SAMPLE.get().dir(), &dir);
    dir
}

/// Starts a slow merge, and waits until one shard is done.
fn begin_slowly(server: &Influxd, dir: &Path) -> Running {
    let slow = [
        "-on-conflict",
        "backup",
        "-jobs",
        "1",
        "-limit-rate",
        "6K",
        "-retries",
        "0",
    ];
    let running = merge(server, &slow, dir).spawn();
    let is_begun = || {
        let names = tree::names(&dir.join(".snap")).into_iter();
        let mut journals = names.filter(|name| name.ends_with(".journal"));
        journals.any(|name| {
            let text = fs::read_to_string(dir.join(".snap").join(name)).unwrap_or_default();
            text.contains("\"done\"")
        })
    };
    assert!(wait_for(|| is_begun().then_some(())).is_some());
    running
}

#[test]
fn a_merge_that_was_killed_goes_on_while_others_write() {
    let (sample, place) = (SAMPLE.get(), folder());
    let dir = own_backup(&place);
    let (_root, server) = Influxd::empty(Index::Tsi1);
    fill(&server);
    let expected = merged(&server.points_of("main"), &sample.points);
    let running = begin_slowly(&server, &dir);
    running.signal(libc::SIGKILL);
    let killed = running.wait().code.is_none();
    let late: Vec<i64> = (0..200).map(|nth| START + 30 * HOUR + nth).collect();
    thread::scope(|scope| {
        let (server, late) = (&server, &late);
        scope.spawn(move || {
            for time in late {
                server.write("main", "autogen", &format!("cpu,host=late idle=1.5 {time}"));
            }
        });
        let flags: &[&str] = if killed {
            &["-resume"]
        } else {
            &["-on-conflict", "backup"]
        };
        let run = merge(server, flags, &dir).run().expect(0);
        assert!(
            !killed || run.stderr.contains("done by the interrupted run"),
            "{}",
            run.stderr
        );
    });
    let point =
        |time| format!("\"main\".\"autogen\" \"cpu\"{{\"host\"=\"late\"}} {time} \"idle\"=1.5");
    let late: Vec<String> = late.into_iter().map(point).collect();
    expect_merged(&server, &merged(&expected, &late), "after snap was killed");
    merge(&server, &["-resume"], &dir).run().expect(6);
}

#[test]
fn a_merge_into_a_server_that_was_killed_is_done_again() {
    let (sample, place) = (SAMPLE.get(), folder());
    let dir = own_backup(&place);
    let (root, server) = Influxd::empty(Index::Tsi1);
    fill(&server);
    let expected = merged(&server.points_of("main"), &sample.points);
    let running = begin_slowly(&server, &dir);
    server.kill();
    let run = running.wait();
    assert!(matches!(run.code, Some(0 | 3 | 5)), "{run:?}");
    let server = Influxd::start(root.path(), Index::Tsi1);
    merge(&server, &["-on-conflict", "backup"], &dir)
        .run()
        .expect(0);
    expect_merged(&server, &expected, "after the server was killed");
}

#[test]
fn a_shard_whose_group_was_made_ahead_of_its_time_gets_its_points() {
    let place = folder();
    let now = i64::try_from(Timestamp::now().as_nanosecond()).expect("a time");
    let next = (now / HOUR + 1) * HOUR;
    let policy = "CREATE DATABASE main WITH DURATION INF SHARD DURATION 1h";
    let (_source_folder, source) = Influxd::empty(Index::Inmem);
    source.execute(policy);
    source.write("main", "", &format!("m v=1,w=2 {next}\nm v=3 {}", next + 1));
    let dir = place.path().join("backup");
    backup(&source.host(), &[], &dir).run().expect(0);
    for rule in ["server", "backup"] {
        let folder = folder();
        let settings = [
            ("INFLUXDB_SHARD_PRECREATION_CHECK_INTERVAL", "100ms"),
            ("INFLUXDB_SHARD_PRECREATION_ADVANCE_PERIOD", "2h"),
        ];
        let server = Influxd::start_with(folder.path(), Index::Tsi1, &settings);
        server.execute(policy);
        server.write("main", "", &format!("n v=1 {}", now));
        let groups = || server.query("", "SHOW SHARD GROUPS").to_string();
        let start = Timestamp::from_nanosecond(next.into()).expect("a time");
        let is_made = || groups().contains(&start.to_string());
        assert!(server.comes_to_be(is_made), "{}", groups());
        let run = merge(&server, &["-json", "-on-conflict", rule], &dir)
            .run()
            .expect(0);
        assert_eq!(summary(&run)["read_back"], 1, "{}", run.stdout);
        let mut expected = source.points_of("main");
        expected.extend(
            server
                .points_of("main")
                .into_iter()
                .filter(|point| point.contains("\"n\"")),
        );
        expect_merged(&server, &merged(&expected, &[]), rule);
    }
}
