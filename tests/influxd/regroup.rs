//! That `-shard-duration` brings back the same points in other shards: into either kind of target,
//! there and back.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tempfile::TempDir;

use crate::support::backups::expect_points;
use crate::support::data::{START, flush, tombstones};
use crate::support::influxd::{Index, Influxd, quote};
use crate::support::peer::nobody;
use crate::support::process::{Run, Snap, backup, restore_into, restore_online, snap};
use crate::support::service::wait_for;
use crate::support::time::{DAY, HOUR, SECOND, WEEK};
use crate::support::{Shared, folder, tree, utf8};

/// How many daily shards there are. [`START`] is a multiple of four weeks behind the year 1.
const DAYS: i64 = 30;

/// From 0001-01-01 to 1970-01-01 in nanoseconds.
const YEAR_ONE: i128 = 62_135_596_800_000_000_000;

/// A server of thirty daily shards with overlapping files and tombstones, and a backup with both.
struct Sample {
    folder: TempDir,
    points: Vec<String>,
}

/// A server whose policy was altered a moment ago: one of its two shards is older than it keeps.
fn server_with_a_short_policy(root: &Path) -> Influxd {
    let server = Influxd::start(root, Index::Inmem);
    server.execute("CREATE DATABASE d WITH DURATION INF SHARD DURATION 1d");
    let now = Timestamp::now().as_nanosecond();
    server.write("d", "", &format!("m v=1 {START}\nm v=2 {now}\n"));
    server.execute("ALTER RETENTION POLICY autogen ON d DURATION 30d");
    server
}

static SAMPLE: Shared<Sample> = Shared::new(Sample::make);

impl Sample {
    fn make() -> Self {
        let folder = folder();
        let server = Influxd::start(&folder.path().join("source"), Index::Inmem);
        server.execute("CREATE DATABASE main");
        server.execute("CREATE RETENTION POLICY days ON main DURATION 0s REPLICATION 1 SHARD DURATION 1d DEFAULT");
        for host in ["a", "b", "gone"] {
            server.write(
                "main",
                "",
                &(0..DAYS)
                    .map(|day| of_day(host, day, 1))
                    .collect::<String>(),
            );
        }
        // A measurement and a field that only some of the shards have.
        server.write(
            "main",
            "",
            &format!("extra,host=a t=\"only here\" {}", START + 12 * DAY),
        );
        let late = (20..DAYS).map(|day| format!("m,host=a late=true {}\n", START + day * DAY));
        server.write("main", "", &late.collect::<String>());
        flush(&server);
        for version in [2, 3] {
            for day in [3, 10, 27, 28, 29] {
                server.write("main", "", &of_day("a", day, version));
            }
            flush(&server);
        }
        let delete = |what: &str, from: i64, to: i64| {
            server.query(
                "main",
                &format!("DELETE FROM m WHERE {what} AND time >= {from} AND time < {to}"),
            );
        };
        delete("host = 'b'", START + 4 * DAY, START + 5 * DAY);
        delete(
            "host = 'a'",
            START + 27 * DAY + 6 * HOUR,
            START + 28 * DAY + 6 * HOUR,
        );
        server.query("main", "DROP SERIES FROM m WHERE host = 'gone'");
        assert!(!tombstones(&server).is_empty(), "nothing was deleted");
        let dir = folder.path().join("backup");
        backup(&server.host(), &["-apply-deletes=false"], &dir)
            .run()
            .expect(0);
        assert_eq!(server.shards().len(), DAYS as usize);
        Self {
            points: server.points_in("main", "days"),
            folder,
        }
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("backup")
    }
}

/// Points of a day, also in its first and its last nanosecond.
fn of_day(host: &str, day: i64, version: i64) -> String {
    let start = START + day * DAY;
    let times = (0..24).map(|hour| start + hour * HOUR + version * (hour % 2));
    let times = times.chain([start + DAY - 1, start + 12 * HOUR - 1]);
    let mut lines = String::new();
    for (nth, time) in times.enumerate() {
        writeln!(
            lines,
            "m,host={host} v={version}.5,n={}i {time}",
            day * 100 + nth as i64
        )
        .expect("writing to a string");
    }
    lines
}

/// A regrouping: the new database, the flags, the new length and how many shards that makes.
struct Case {
    name: &'static str,
    flags: &'static [&'static str],
    width: i64,
    shards: usize,
}

const CASES: [Case; 5] = [
    Case {
        name: "four weeks",
        flags: &["-shard-duration", "28d"],
        width: 4 * WEEK,
        shards: 2,
    },
    Case {
        name: "weeks",
        flags: &[
            "-shard-duration",
            "7d",
            "-duration",
            "1500w",
            "-retention",
            "days",
            "-newrp",
            "rp",
        ],
        width: WEEK,
        shards: 5,
    },
    Case {
        name: "as before",
        flags: &["-shard-duration", "1d"],
        width: DAY,
        shards: 30,
    },
    // Every second day is cut, and half of it put together with the day beside it.
    Case {
        name: "one and a half",
        flags: &["-shard-duration", "36h"],
        width: 36 * HOUR,
        shards: 20,
    },
    Case {
        name: "halves",
        flags: &["-shard-duration", "12h"],
        width: 12 * HOUR,
        shards: 60,
    },
];

impl Case {
    fn policy(&self) -> &'static str {
        match self.flags.contains(&"-newrp") {
            true => "rp",
            false => "days",
        }
    }

    fn flags(&self) -> Vec<&'static str> {
        [&["-database", "main", "-newdb", self.name], self.flags].concat()
    }

    /// The shards of the database: their starts by their ids.
    fn shards_on(&self, server: &Influxd) -> BTreeMap<u64, i128> {
        let shards = server
            .shards()
            .into_iter()
            .filter(|shard| shard.0 == self.name);
        shards
            .map(|(_, policy, id, start, end)| {
                assert_eq!(policy, self.policy());
                let nanos = |text: &str| text.parse::<Timestamp>().expect("a time").as_nanosecond();
                let (start, end) = (nanos(&start), nanos(&end));
                assert_eq!(end - start, self.width.into(), "{}", self.name);
                assert_eq!(
                    (start + YEAR_ONE) % i128::from(self.width),
                    0,
                    "{}",
                    self.name
                );
                (id, start)
            })
            .collect()
    }

    fn expect(&self, server: &Influxd, points: &[String]) {
        assert_eq!(self.shards_on(server).len(), self.shards, "{}", self.name);
        expect_points(
            &server.points_in(self.name, self.policy()),
            points,
            self.name,
        );
        let policies = server.query(
            "",
            &format!("SHOW RETENTION POLICIES ON {}", quote(self.name)),
        );
        let hours = |nanos: i64| format!("\"{}h0m0s\"", nanos / HOUR);
        let said = policies.to_string();
        assert!(said.contains(&hours(self.width)), "{said}");
        if self.flags.contains(&"-duration") {
            assert!(said.contains(&hours(1500 * WEEK)), "{said}");
        }
    }

    /// Writes points into the first and the last of the shards; those of the database then.
    fn write_more(&self, server: &Influxd, points: &[String]) -> Vec<String> {
        let mut expected = points.to_vec();
        for time in [START + 30 * SECOND, START + DAYS * DAY - 30 * SECOND] {
            server.write(
                self.name,
                self.policy(),
                &format!("m,host=a later=7i {time}"),
            );
            expected.push(format!("\"m\"{{\"host\"=\"a\"}} {time} \"later\"=7i"));
        }
        expected.sort();
        assert_eq!(self.shards_on(server).len(), self.shards, "{}", self.name);
        expect_points(
            &server.points_in(self.name, self.policy()),
            &expected,
            self.name,
        );
        expected
    }
}

/// A restore into the directories of a stopped server beside what they hold.
fn offline(root: &Path, dir: &Path, index: Index, flags: &[&str]) -> Run {
    let merge: &[&str] = match root.join("meta/meta.db").exists() {
        true => &["-merge"],
        false => &[],
    };
    let common = ["-index", index.name(), "-host", &nobody()];
    restore_into(root, &[&common, merge, flags].concat(), dir).run()
}

/// Panics unless the databases are what they were in a server that is started on `root`, and
/// started again, and has compacted all its files.
fn expect_after_restarts(root: &Path, index: Index, expected: &[(&Case, Vec<String>)]) {
    let server = Influxd::start(root, index);
    for (case, points) in expected {
        case.expect(&server, points);
    }
    // The others would keep the server busy for long, and are made in the same way.
    let is_looked_at = |case: &Case| case.width >= 36 * HOUR;
    for (case, _) in expected.iter().filter(|(case, _)| !is_looked_at(case)) {
        server.execute(&format!("DROP DATABASE {}", quote(case.name)));
    }
    server.stop();
    let settings = [
        ("INFLUXDB_DATA_MAX_CONCURRENT_COMPACTIONS", "16"),
        ("INFLUXDB_DATA_COMPACT_FULL_WRITE_COLD_DURATION", "1s"),
        ("INFLUXDB_DATA_CACHE_SNAPSHOT_WRITE_COLD_DURATION", "1s"),
    ];
    let server = Influxd::start_with(root, index, &settings);
    let shards = server.shards();
    let is_compacted = || {
        shards.iter().all(|(database, policy, id, ..)| {
            let dir = server
                .data_dir()
                .join(database)
                .join(policy)
                .join(id.to_string());
            let names = if dir.exists() {
                tree::names(&dir)
            } else {
                Vec::new()
            };
            names.iter().filter(|name| name.ends_with(".tsm")).count() <= 1
        })
    };
    assert!(
        wait_for(|| is_compacted().then_some(())).is_some(),
        "{}",
        server.log()
    );
    for (case, points) in expected.iter().filter(|(case, _)| is_looked_at(case)) {
        case.expect(&server, points);
    }
    server.expect_no_errors();
    server.stop();
}

fn there_and_back(index: Index) {
    let sample = SAMPLE.get();
    let dir = sample.dir();
    let (stopped, (live_folder, live)) = (folder(), Influxd::empty(index));
    for case in &CASES {
        let run = offline(stopped.path(), &dir, index, &case.flags()).expect(0);
        assert!(
            run.stderr
                .contains(&format!("{} of {}/", case.shards, case.name)),
            "{}",
            run.stderr
        );
        restore_online(&live.host(), &case.flags(), &dir)
            .run()
            .expect(0);
        case.expect(&live, &sample.points);
    }
    // Tombstones go with their files.
    let kept = Case {
        name: "kept",
        ..CASES[0]
    };
    let flags = [&kept.flags()[..], &["-apply-deletes=false"]].concat();
    offline(stopped.path(), &dir, index, &flags).expect(0);
    let half = Case {
        name: "kept halves",
        ..CASES[4]
    };
    let flags = [&half.flags()[..], &["-apply-deletes=false"]].concat();
    offline(stopped.path(), &dir, index, &flags).expect(0);
    let names = tree::files(&stopped.path().join("data/kept"));
    assert!(names.keys().any(|name| name.ends_with(".tombstone")));

    let server = Influxd::start(stopped.path(), index);
    let cases = CASES.iter().chain([&kept, &half]);
    let of_stopped: Vec<_> = cases
        .map(|case| {
            case.expect(&server, &sample.points);
            (case, case.write_more(&server, &sample.points))
        })
        .collect();
    let of_live: Vec<_> = CASES
        .iter()
        .map(|case| (case, case.write_more(&live, &sample.points)))
        .collect();

    // And back to days.
    let again = stopped.path().join("again");
    backup(&server.host(), &["-database", "four weeks"], &again)
        .run()
        .expect(0);
    server.stop();
    let back = Case {
        name: "back",
        ..CASES[2]
    };
    let flags = [
        "-database",
        "four weeks",
        "-newdb",
        "back",
        "-shard-duration",
        "1d",
    ];
    let run = offline(stopped.path(), &again, index, &flags).expect(0);
    assert!(
        run.stderr
            .contains("regrouping 2 shards (2 are cut) into at most 56 of back/days"),
        "{}",
        run.stderr
    );
    restore_online(&live.host(), &flags, &again).run().expect(0);
    let expected = of_stopped[0].1.clone();
    back.expect(&live, &expected);
    live.expect_no_errors();
    live.stop();
    for (root, mut databases) in [(stopped.path(), of_stopped), (live_folder.path(), of_live)] {
        databases.push((&back, expected.clone()));
        expect_after_restarts(root, index, &databases);
    }
}

#[test]
fn thirty_days_come_back_in_other_shards_and_again_in_days_with_an_inmem_index() {
    there_and_back(Index::Inmem);
}

#[test]
fn thirty_days_come_back_in_other_shards_and_again_in_days_with_a_tsi1_index() {
    there_and_back(Index::Tsi1);
}

/// A restore without a server that is to change nothing.
fn offline_in(root: &Path, dir: &Path, flags: &[&str]) -> Snap {
    restore_into(root, &[&["-host", &nobody()], flags].concat(), dir)
}

#[test]
fn a_dry_run_tells_what_goes_where_and_a_short_duration_is_warned_of() {
    let sample = SAMPLE.get();
    let (dir, folder) = (sample.dir(), folder());
    let target = folder.path().join("target");
    let flags = [
        "-database",
        "main",
        "-shard-duration",
        "28d",
        "-duration",
        "52w",
        "-dry-run",
    ];
    let run = offline_in(&target, &dir, &flags).run().expect(0);
    for said in [
        "regrouping 30 shards into 2 of main/days",
        "data/main/days/1 from 28 shards (1, 2, 3, 4, 5 and 23 more)",
        "data/main/days/29 from 2 shards (29, 30)",
        "influxd will delete 2 of 2 restored shards of main/days when it next enforces retention policies",
        "-duration INF",
    ] {
        assert!(run.stderr.contains(said), "{said}: {}", run.stderr);
    }
    assert!(!target.exists());
    let server = Influxd::start(&folder.path().join("live"), Index::Inmem);
    let run = restore_online(&server.host(), &flags, &dir).run().expect(0);
    let said = "would upload 2 shards (29, 30) to ";
    assert!(run.stderr.contains(said), "{}", run.stderr);
    assert!(server.databases().is_empty());

    // As it does where the backup is older than its own policies keep points.
    let short = server_with_a_short_policy(&folder.path().join("short"));
    let of_short = folder.path().join("of_short");
    backup(&short.host(), &[], &of_short).run().expect(0);
    let expiry = "influxd will delete 1 of 2 restored shards of d/autogen when it next enforces";
    let offline = |flags: &[&str]| offline_in(&target, &of_short, flags).run().expect(0);
    let online = |flags: &[&str]| {
        restore_online(&server.host(), flags, &of_short)
            .run()
            .expect(0)
    };
    for run in [offline(&["-dry-run"]), online(&["-dry-run"])] {
        assert!(run.stderr.contains(expiry), "{}", run.stderr);
    }
    let kept = ["-dry-run", "-database", "d", "-duration", "INF"];
    for run in [offline(&kept), online(&kept)] {
        assert!(!run.stderr.contains("will delete"), "{}", run.stderr);
    }

    // The duration alone leaves the shards as they are.
    let flags = ["-database", "main", "-duration", "1500w"];
    restore_online(&server.host(), &flags, &dir).run().expect(0);
    assert_eq!(server.shards().len(), 30);
    expect_points(&server.points_in("main", "days"), &sample.points, "alone");
    let policies = server
        .query("", "SHOW RETENTION POLICIES ON main")
        .to_string();
    assert!(
        policies.contains("\"252000h0m0s\",\"24h0m0s\""),
        "{policies}"
    );
}

#[test]
fn a_field_with_a_type_in_each_shard_keeps_them_apart_and_nothing_is_written() {
    let folder = folder();
    let server = Influxd::start(&folder.path().join("source"), Index::Inmem);
    server.execute("CREATE DATABASE d WITH SHARD DURATION 1d");
    for (day, value) in [(0, "1"), (1, "2i"), (2, "3i"), (7, "true")] {
        server.write(
            "d",
            "",
            &format!("m v={value} {}\nn v=1 {0}", START + day * DAY),
        );
    }
    let points = server.points_of("d");
    let dir = folder.path().join("backup");
    backup(&server.host(), &[], &dir).run().expect(0);
    let flags = |duration| ["-database", "d", "-newdb", "e", "-shard-duration", duration];
    let target = folder.path().join("target");
    let before = server.databases();
    let online = restore_online(&server.host(), &flags("7d"), &dir).run();
    let dry = offline_in(&target, &dir, &[&flags("7d")[..], &["-dry-run"]].concat()).run();
    for run in [offline_in(&target, &dir, &flags("7d")).run(), online, dry] {
        let run = run.expect(6);
        let said = "field 'v' of measurement 'm' (float in shard 1, integer in shard 2)";
        assert!(run.stderr.contains(said), "{}", run.stderr);
    }
    assert!(!target.exists());
    assert_eq!(server.databases(), before);
    // Nothing is against it where the measurement does not come.
    let others = [&flags("7d")[..], &["-measurement", "n"]].concat();
    restore_online(&server.host(), &others, &dir)
        .run()
        .expect(0);
    let of = |points: &[String]| {
        points
            .iter()
            .filter(|point| point.contains("\"n\"{"))
            .count()
    };
    assert_eq!(server.points_in("e", "autogen").len(), of(&points));
    server.execute("DROP DATABASE e");
    // Nor where they stay apart.
    restore_online(&server.host(), &flags("12h"), &dir)
        .run()
        .expect(0);
    assert_eq!(
        server.points_in("e", "autogen"),
        server.points_in("d", "autogen")
    );
    server.execute("DROP DATABASE e");
}

#[test]
fn shards_that_overlap_since_the_duration_was_altered_come_into_one() {
    let folder = folder();
    let server = Influxd::start(&folder.path().join("source"), Index::Inmem);
    server.execute("CREATE DATABASE d WITH SHARD DURATION 1d");
    server.write("d", "", &format!("m v=1 {}", START + 2 * DAY));
    server.execute("ALTER RETENTION POLICY autogen ON d SHARD DURATION 7d");
    server.write(
        "d",
        "",
        &format!("m v=2 {}\nm,h=x v=3 {}", START, START + 6 * DAY),
    );
    server.execute("ALTER RETENTION POLICY autogen ON d SHARD DURATION 2d");
    server.write("d", "", &format!("m v=4 {}", START + 8 * DAY));
    assert_eq!(server.shards().len(), 3);
    let points = server.points_of("d");
    let dir = folder.path().join("backup");
    snap(["backup", "-host", &server.host(), utf8(&dir)]).expect(0);
    server.stop();
    for (duration, shards) in [("7d", 2), ("1d", 4), ("52w", 1)] {
        let root = folder.path().join(duration);
        let flags = ["-database", "d", "-shard-duration", duration];
        offline_in(&root, &dir, &flags).run().expect(0);
        let server = Influxd::start(&root, Index::Inmem);
        assert_eq!(server.shards().len(), shards, "{duration}");
        server.expect_points(&points);
        server.stop();
        let server = Influxd::start(&root, Index::Tsi1);
        server.expect_points(&points);
    }
}

#[test]
fn over_the_shards_that_there_are_nothing_is_left_of_the_old_ones() {
    let sample = SAMPLE.get();
    let (dir, folder) = (sample.dir(), folder());
    offline_in(folder.path(), &dir, &[]).run().expect(0);
    let shards = || {
        let mut names = tree::names(&folder.path().join("data/main/days"));
        names.sort();
        names
    };
    assert_eq!(shards().len(), 30);
    let flags = ["-database", "main", "-shard-duration", "28d"];
    let refused = offline_in(folder.path(), &dir, &flags).run().expect(6);
    assert!(refused.stderr.contains("-force"), "{}", refused.stderr);
    let flags = [&flags[..], &["-force"]].concat();
    let dry = offline_in(folder.path(), &dir, &[&flags[..], &["-dry-run"]].concat());
    let said = dry.run().expect(0).stderr;
    assert!(
        said.contains("/2, ") && said.contains("whose points come into other"),
        "{said}"
    );
    assert_eq!(shards().len(), 30);
    let run = offline_in(folder.path(), &dir, &flags).run().expect(0);
    assert!(!run.stderr.contains("left in place"), "{}", run.stderr);
    assert_eq!(shards(), ["1", "29"]);
    let server = Influxd::start(folder.path(), Index::Inmem);
    expect_points(
        &server.points_in("main", "days"),
        &sample.points,
        "over the old",
    );
    assert!(
        !server
            .series("main")
            .iter()
            .any(|series| series.contains("gone"))
    );
}

#[test]
fn points_at_both_ends_of_time_are_seen_after_a_restart() {
    let folder = folder();
    let server = Influxd::start(&folder.path().join("source"), Index::Inmem);
    server.execute("CREATE DATABASE d");
    let (least, greatest) = (i64::MIN + 2, i64::MAX - 1);
    let times = [least, least + 1, START, greatest - 1, greatest];
    let lines = times.map(|time| format!("m v={}i {time}\n", time % 1000));
    server.write("d", "", &lines.concat());
    let points = server.points_of("d");
    assert_eq!(points.len(), times.len());
    let dir = folder.path().join("backup");
    snap(["backup", "-host", &server.host(), utf8(&dir)]).expect(0);
    for duration in ["7d", "28d", "1d"] {
        let root = folder.path().join(duration);
        let flags = ["-database", "d", "-shard-duration", duration];
        offline_in(&root, &dir, &flags).run().expect(0);
        let server = Influxd::start(&root, Index::Inmem);
        server.expect_points(&points);
        // influxd makes no other group for them.
        let before = server.shards().len();
        server.write("d", "", &lines.concat());
        assert_eq!(server.shards().len(), before, "{duration}");
        server.expect_points(&points);
    }
}

#[test]
fn a_part_of_the_times_comes_back_in_other_shards() {
    let sample = SAMPLE.get();
    let (dir, folder) = (sample.dir(), folder());
    let (from, to) = (START + 5 * DAY + 7 * HOUR, START + 28 * DAY + 7 * HOUR);
    let expected: Vec<String> = sample
        .points
        .iter()
        .filter(|point| (from..=to).contains(&crate::support::influxd::time_of(point)))
        .cloned()
        .collect();
    let text = |nanos: i64| {
        Timestamp::from_nanosecond(nanos.into())
            .expect("a time")
            .to_string()
    };
    let (from, to) = (text(from), text(to));
    let server = Influxd::start(&folder.path().join("live"), Index::Tsi1);
    for duration in ["28d", "36h"] {
        let flags = [
            "-database",
            "main",
            "-shard-duration",
            duration,
            "-start",
            &from,
            "-end",
            &to,
        ];
        let root = folder.path().join(duration);
        offline_in(&root, &dir, &flags).run().expect(0);
        let flags = [&flags[..], &["-newdb", duration]].concat();
        restore_online(&server.host(), &flags, &dir).run().expect(0);
        expect_points(&server.points_in(duration, "days"), &expected, duration);
        let stopped = Influxd::start(&root, Index::Inmem);
        expect_points(&stopped.points_in("main", "days"), &expected, duration);
    }
}
