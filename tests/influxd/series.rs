//! That -measurement and -where bring back exactly the series that are meant: in restores into
//! either kind of target, and in backups of a stopped server.

use std::path::{Path, PathBuf};

use tempfile::TempDir;

use crate::support::data::{START, flush};
use crate::support::influxd::{Index, Influxd};
use crate::support::peer::nobody;
use crate::support::process::{Run, backup, backup_of, restore_into, restore_online, snap};
use crate::support::service::wait_for;
use crate::support::time::{DAY, SECOND};
use crate::support::{Shared, folder, utf8};

/// What a filter is called, its flags, and whether it takes a series of a measurement with a host.
type Case = (
    &'static str,
    &'static [&'static str],
    fn(measurement: &str, host: &str) -> bool,
);

/// The measurement with a name that has to be escaped.
const ODD: &str = "m 42,x";

const CASES: [Case; 6] = [
    ("one", &["-measurement", "m42"], |m, _| m == "m42"),
    ("odd", &["-measurement", ODD], |m, _| m == ODD),
    (
        "two",
        &["-measurement", "m07", "-measurement", "/^m4[12]$/"],
        |m, _| ["m07", "m41", "m42"].contains(&m),
    ),
    (
        "one tag",
        &["-measurement", "m42", "-where", "host=web 1"],
        |m, host| m == "m42" && host == "web 1",
    ),
    (
        "without a tag",
        &["-where", "host=", "-measurement", "/^m4/"],
        |m, host| m.starts_with("m4") && host.is_empty(),
    ),
    (
        "other tags",
        &["-where", "host!~/^web/", "-where", "host!=''"],
        |_, host| host == "db=1",
    ),
];

/// A server of a hundred measurements and one, two files in each of its shards, and a backup.
struct Sample {
    folder: TempDir,
    points: Vec<String>,
}

static SAMPLE: Shared<Sample> = Shared::new(Sample::make);

impl Sample {
    fn make() -> Self {
        let folder = folder();
        let server = Influxd::start(&folder.path().join("source"), Index::Inmem);
        server.execute("CREATE DATABASE d WITH SHARD DURATION 1d");
        for round in 0..2 {
            let names = (0..100).map(|nth| format!("m{nth:02}"));
            let lines = names.chain(["m\\ 42\\,x".to_owned()]).flat_map(|name| {
                let hosts = ["", ",host=web\\ 1", ",host=web2", ",host=db\\=1"];
                hosts.map(|host| {
                    let line = |nth: i64| {
                        let time = START + nth * DAY / 2 + round * SECOND;
                        format!("{name}{host} f={nth}.5,i={round}i,s=\"{nth}\" {time}\n")
                    };
                    (0..5).map(line).collect::<String>()
                })
            });
            server.write("d", "", &lines.collect::<String>());
            flush(&server);
        }
        let at = START + SECOND;
        server.query(
            "d",
            &format!("DELETE FROM \"m42\" WHERE host = 'web2' AND time <= {at}"),
        );
        backup(&server.host(), &[], &folder.path().join("full"))
            .run()
            .expect(0);
        let points = server.points_in("d", "autogen");
        // What only the WAL holds is filtered as well.
        let time = START + 2 * SECOND;
        server.write("d", "", &format!("m42 f=9 {time}\nm07 f=9 {time}\n"));
        server.kill();
        Self { folder, points }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The points of the series that a filter takes.
    fn of(&self, takes: impl Fn(&str, &str) -> bool) -> Vec<String> {
        let is_taken = |point: &&String| {
            let (measurement, rest) = point[1..].split_once('"').expect("a measurement");
            let host = rest.split_once("\"host\"=\"");
            let host = host.and_then(|(_, rest)| rest.split_once('"'));
            takes(measurement, host.map_or("", |(host, _)| host))
        };
        self.points.iter().filter(is_taken).cloned().collect()
    }
}

/// Whether a database holds these points, and names no other measurement.
fn has(server: &Influxd, db: &str, expected: &[String]) {
    assert!(!expected.is_empty());
    assert_eq!(server.points_in(db, "autogen"), expected, "{db}");
    let of_points = |point: &String| point[1..].split('"').next().map(str::to_owned);
    let mut measurements: Vec<String> = expected.iter().filter_map(of_points).collect();
    measurements.sort();
    measurements.dedup();
    let answer = server.query(db, "SHOW MEASUREMENTS");
    let values = answer["results"][0]["series"][0]["values"].as_array();
    let mut named: Vec<&str> = values
        .into_iter()
        .flatten()
        .filter_map(|row| row[0].as_str())
        .collect();
    named.sort();
    assert_eq!(named, measurements, "{db}");
    let tags = |point: &String| point.split("} ").next().map(str::to_owned);
    let mut series: Vec<String> = expected.iter().filter_map(tags).collect();
    series.sort();
    series.dedup();
    assert_eq!(server.series(db).len(), series.len(), "{db}");
}

fn restore_offline(root: &Path, dir: &Path, index: Index, name: &str, flags: &[&str]) -> Run {
    let host = nobody();
    let index = index.name();
    let merged = [
        "-host",
        &host,
        "-index",
        index,
        "-merge",
        "-database",
        "d",
        "-newdb",
        name,
    ];
    restore_into(root, &[&merged, flags].concat(), dir).run()
}

/// Restores each choice of series into a running server and into directories, and compares what is
/// there, also after a restart and after a compaction of all files.
fn restored(index: Index) {
    let sample = SAMPLE.get();
    let full = sample.path("full");
    let (live_folder, live) = Influxd::empty(index);
    let stopped = folder();
    for (name, flags, takes) in CASES {
        let to = ["-database", "d", "-newdb", name];
        let run = restore_online(&live.host(), &[&to, flags].concat(), &full).run();
        assert!(!run.expect(0).stderr.contains("warning"));
        has(&live, name, &sample.of(takes));
        restore_offline(stopped.path(), &full, index, name, flags).expect(0);
    }
    live.expect_no_errors();
    live.stop();
    let settings = [
        ("INFLUXDB_DATA_COMPACT_FULL_WRITE_COLD_DURATION", "1s"),
        ("INFLUXDB_DATA_CACHE_SNAPSHOT_WRITE_COLD_DURATION", "1s"),
    ];
    for root in [live_folder.path(), stopped.path()] {
        let server = Influxd::start(root, index);
        for (name, _, takes) in CASES {
            has(&server, name, &sample.of(takes));
        }
        server.stop();
        let server = Influxd::start_with(root, index, &settings);
        let shards = server.shards();
        let is_compacted = || {
            let files = |id: u64, db: &str| {
                let dir = server
                    .data_dir()
                    .join(db)
                    .join("autogen")
                    .join(id.to_string());
                let names = dir.read_dir().expect("a shard's directory").flatten();
                let is_tsm = |name: String| name.ends_with(".tsm");
                names
                    .filter(|entry| is_tsm(entry.file_name().to_string_lossy().into_owned()))
                    .count()
            };
            shards.iter().all(|shard| files(shard.2, &shard.0) <= 1)
        };
        wait_for(|| is_compacted().then_some(()));
        for (name, _, takes) in CASES {
            has(&server, name, &sample.of(takes));
        }
        server.expect_no_errors();
    }
}

#[test]
fn a_restore_of_some_series_brings_these_and_no_others_with_an_inmem_index() {
    restored(Index::Inmem);
}

#[test]
fn a_restore_of_some_series_brings_these_and_no_others_with_a_tsi1_index() {
    restored(Index::Tsi1);
}

#[test]
fn a_backup_of_some_series_holds_these_and_never_counts_as_a_whole_one() {
    let sample = SAMPLE.get();
    let (folder, live) = Influxd::empty(Index::Tsi1);
    let source = sample.path("source");
    let extra = |measurement: &str| {
        let time = START + 2 * SECOND;
        format!("\"{measurement}\"{{}} {time} \"f\"=9")
    };
    for (nth, (name, flags, takes)) in CASES.into_iter().enumerate() {
        let dir = folder.path().join(name);
        let layout: &[&str] = if nth % 2 == 0 { &["-portable"] } else { &[] };
        backup_of(&source, &[layout, flags].concat(), &dir)
            .run()
            .expect(0);
        snap(["verify", "-deep", utf8(&dir)]).expect(0);
        let list = snap(["list", "-json", utf8(&dir)]).expect(0);
        assert!(
            list.stdout.contains(r#""kind":"series""#),
            "{}",
            list.stdout
        );
        restore_online(&live.host(), &["-database", "d", "-newdb", name], &dir)
            .run()
            .expect(0);
        let mut expected = sample.of(takes);
        let more = ["m42", "m07"].into_iter().filter(|one| takes(one, ""));
        expected.extend(more.map(extra));
        expected.sort();
        has(&live, name, &expected);
        // The next run shares nothing of it, and -since last has nothing to go on from.
        let flags = [layout, &["-incremental", "-json"]].concat();
        let run = backup_of(&source, &flags, &dir).run().expect(0);
        assert_eq!(run.last_message()["shared"], 0, "{}", run.stdout);
        let refused = restore_online(&live.host(), &["-database", "d", "-newdb", "x"], &dir);
        refused.run().expect(0);
        live.execute("DROP DATABASE x");
        let run = backup_of(&source, &[layout, flags_of(name)].concat(), &dir);
        run.run().expect(0);
        // Beside a whole set, it is not clear which of them is meant.
        restore_online(&live.host(), &["-database", "d", "-newdb", "x"], &dir)
            .run()
            .expect(6);
    }
    live.expect_no_errors();
}

fn flags_of(name: &str) -> &'static [&'static str] {
    let case = CASES.iter().find(|(of, ..)| *of == name);
    case.expect("a case").1
}

#[test]
fn what_is_in_no_shard_is_said_and_nothing_is_written() {
    let sample = SAMPLE.get();
    let full = sample.path("full");
    let (_folder, live) = Influxd::empty(Index::Inmem);
    let folder = folder();
    let cases: [(&[&str], &str); 4] = [
        (&["-measurement", "M42"], "did you mean 'm42'?"),
        (
            &["-measurement", "m42", "-measurement", "/^n/"],
            "matches /^n/",
        ),
        (&["-where", "host=web3"], "no series for -where 'host=web3'"),
        (
            &["-measurement", "m42", "-where", "dc=~/./"],
            "no series for",
        ),
    ];
    for (flags, said) in cases {
        let online = [&["-database", "d"], flags].concat();
        for dry in [&["-dry-run"][..], &[]] {
            let run = restore_online(&live.host(), &[&online, dry].concat(), &full);
            run.run().expect(1).expect_told(said);
            let run = restore_offline(
                folder.path(),
                &full,
                Index::Inmem,
                "n",
                &[flags, dry].concat(),
            );
            run.expect(1).expect_told(said);
        }
        let dir = folder.path().join("backup");
        let run = backup_of(&sample.path("source"), flags, &dir).run();
        run.expect(1).expect_told(said);
        snap(["list", utf8(&dir)]).expect(10);
    }
    assert!(live.databases().is_empty());
    assert!(!folder.path().join("meta/meta.db").exists());
}
