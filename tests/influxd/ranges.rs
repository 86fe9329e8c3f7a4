//! That -start and -end keep exactly the points in an interval: in backups, of servers of either
//! dialect, and in restores.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicUsize, Ordering};

use jiff::Timestamp;
use tempfile::TempDir;

use crate::support::between::{Ask, Between, Spoil};
use crate::support::data::{START, before_deletes_are_carried_out, flush, tombstones};
use crate::support::influxd::{Index, Influxd, time_of};
use crate::support::peer::nobody;
use crate::support::process::{Run, backup_of, restore_into, restore_online, snap};
use crate::support::service::{Serving, copy, influxd_client};
use crate::support::time::{DAY, SECOND};
use crate::support::{Shared, folder, tools, utf8};

/// Nanoseconds between the points of the longest series: blocks of 1000, 1000 and 880 on the first
/// day, and one on the second.
const STEP: i64 = 30 * SECOND + 1;

/// How many points it has.
const COUNT: i64 = 3300;

/// An hour of a day on which one file has points before and after, and the file behind it some in
/// it.
const BETWEEN: i64 = START + 10 * DAY + 4 * 3600 * SECOND;

/// An interval, open where no time is given. Both ends are part of it.
#[derive(Clone, Copy, Debug)]
struct Range(Option<i64>, Option<i64>);

impl Range {
    fn has(self, time: i64) -> bool {
        self.0.is_none_or(|start| start <= time) && self.1.is_none_or(|end| time <= end)
    }

    /// Those of the points that are inside.
    fn of(self, points: &[String]) -> Vec<String> {
        points
            .iter()
            .filter(|point| self.has(time_of(point)))
            .cloned()
            .collect()
    }

    /// The flags for it; a year beyond what a point can have stands for far away.
    fn flags(self) -> Vec<String> {
        let text = |nanos: i64| match nanos {
            i64::MAX => "9999-12-31T23:59:59Z".to_owned(),
            i64::MIN => "0001-01-01T00:00:00Z".to_owned(),
            _ => Timestamp::from_nanosecond(nanos.into())
                .expect("a time")
                .to_string(),
        };
        let flag = |name: &str, time: Option<i64>| {
            time.map(|time| vec![name.to_owned(), text(time)])
                .unwrap_or_default()
        };
        [flag("-start", self.0), flag("-end", self.1)].concat()
    }
}

/// The intervals, each with a name for the database that its points come back in.
fn ranges() -> Vec<(&'static str, Range)> {
    let both = |start: i64, end: i64| Range(Some(start), Some(end));
    let nth = |n: i64| START + n * STEP;
    vec![
        ("inside a block", both(nth(1200), nth(1300))),
        ("between two points", both(nth(1200) + 1, nth(1300) - 1)),
        ("a block", both(nth(1000), nth(1999))),
        ("around a block", both(nth(999), nth(2000))),
        ("a nanosecond", both(nth(1500), nth(1500))),
        (
            "a nanosecond of nothing",
            both(nth(1500) + 1, nth(1500) + 1),
        ),
        ("all that a shard has", both(START, START + DAY - 1)),
        (
            "the first of the next shard too",
            both(START + 1, START + DAY),
        ),
        (
            "parts of three shards",
            both(nth(2000), START + 2 * DAY + 7 * SECOND),
        ),
        ("from", Range(Some(nth(3021)), None)),
        ("up to", Range(None, Some(nth(17)))),
        ("before 1970", both(-5 * SECOND, -1)),
        ("around 1970", both(-1, 1)),
        ("the far future", both(START + 3 * DAY, i64::MAX)),
        ("wide", both(i64::MIN, i64::MAX)),
        (
            "where no block of one file is",
            both(BETWEEN, BETWEEN + 3600 * SECOND),
        ),
        ("before all", Range(None, Some(-300 * DAY))),
    ]
}

/// A server and full backups of it.
struct Sample {
    folder: TempDir,
    server: Influxd,
    /// What is in its database `d`.
    points: Vec<String>,
}

static SAMPLE: Shared<Sample> = Shared::new(Sample::make);

impl Sample {
    fn make() -> Self {
        let folder = folder();
        let server = Influxd::start(&folder.path().join("source"), Index::Inmem);
        server.execute("CREATE DATABASE d WITH SHARD DURATION 1d");
        server.write("d", "", &long_series("m,k=long"));
        let line = |series: &str, nth: i64, time: i64| {
            format!(
                "{series} f={nth}.5,i={nth}i,s=\"{nth}\",b={} {time}\n",
                nth % 3 == 0
            )
        };
        let lines = (0..30).map(|nth| {
            line("m,k=short", nth, START + 2 * DAY + nth * SECOND)
                + &line("old", nth, (nth - 15) * SECOND)
        });
        let edges = [-2, -1, 0, 1].map(|nanos| {
            line("edge,of=1970", nanos, nanos) + &line("edge,of=day", nanos, START + DAY + nanos)
        });
        server.write("d", "", &lines.chain(edges).collect::<String>());
        let around = [-80, -50, 100, 110].map(|seconds| {
            line(
                if seconds < 0 { "far,k=a" } else { "far,k=b" },
                seconds,
                BETWEEN + 3600 * seconds / 24 * SECOND,
            )
        });
        server.write("d", "", &around.concat());
        flush(&server);
        let inside =
            [0, 1, 3600, 3601].map(|seconds| line("far,k=c", seconds, BETWEEN + seconds * SECOND));
        server.write("d", "", &inside.concat());
        flush(&server);
        for (name, tool, flags) in [
            ("legacy", "snap", &[][..]),
            ("portable", "influxd", &["-portable"]),
            ("foreign", "influxd", &["-database", "d"]),
        ] {
            back_up(tool, &server.host(), &folder.path().join(name), flags);
        }
        let points = server.points_in("d", "autogen");
        Self {
            folder,
            server,
            points,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// A series of [`COUNT`] points with a field of each type.
fn long_series(series: &str) -> String {
    let line = |nth: i64| {
        let (time, on) = (START + nth * STEP, nth % 3 == 0);
        format!(
            "{series} f={}.25,i={}i,s=\"{nth:x}\",b={on} {time}\n",
            nth % 100,
            nth * nth
        )
    };
    (0..COUNT).map(line).collect()
}

fn back_up(tool: &str, host: &str, dir: &Path, flags: &[&str]) -> String {
    tools::run(
        tool,
        &[&["backup", "-host", host], flags, &[utf8(dir)]].concat(),
    )
}

fn strs(strings: &[String]) -> Vec<&str> {
    strings.iter().map(String::as_str).collect()
}

/// Restores the database `d` as `name` into the directories below `root`, beside what is there.
fn restore_offline(root: &Path, dir: &Path, name: &str, flags: &[&str]) -> Run {
    let host = nobody();
    let merged = [
        "-host",
        &host,
        "-index",
        "tsi1",
        "-merge",
        "-database",
        "d",
        "-newdb",
        name,
    ];
    restore_into(root, &[&merged, flags].concat(), dir).run()
}

fn restore_live(host: &str, dir: &Path, name: &str, flags: &[&str]) -> Run {
    restore_online(
        host,
        &[&["-database", "d", "-newdb", name], flags].concat(),
        dir,
    )
    .run()
}

/// Whether a server has, below `name`, exactly these points.
fn has(server: &Influxd, name: &str, expected: &[String]) {
    let found = server.points_in(name, "autogen");
    let (found, expected): (BTreeSet<&String>, BTreeSet<&String>) =
        (found.iter().collect(), expected.iter().collect());
    let (more, less) = (
        found.difference(&expected).next(),
        expected.difference(&found).next(),
    );
    assert!(
        found == expected,
        "{name}: {} points, not {}: {more:?}, {less:?}",
        found.len(),
        expected.len()
    );
}

/// Where intervals come back: a server that runs, and the directories of one that will.
struct Targets {
    folder: TempDir,
    live: Influxd,
    expected: Vec<(String, Vec<String>)>,
}

impl Targets {
    fn new() -> Self {
        let folder = folder();
        let live = Influxd::start(&folder.path().join("live"), Index::Inmem);
        Self {
            folder,
            live,
            expected: Vec::new(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Restores into both, and looks at the first.
    fn restore(&mut self, dir: &Path, name: &str, flags: &[&str], expected: Vec<String>) {
        let run = restore_live(&self.live.host(), dir, name, flags).expect(0);
        let said = &run.stderr;
        let is_told = said.contains("warning: the backup has no shard of points");
        let is_empty = is_told && expected.is_empty();
        assert!(is_empty || !said.contains("warning"), "{name}: {said}");
        has(&self.live, name, &expected);
        restore_offline(&self.path("stopped"), dir, name, flags).expect(0);
        self.expected.push((name.to_owned(), expected));
    }

    /// Starts a server on the directories that were restored into, and looks at it.
    fn look(self) {
        self.live.expect_no_errors();
        let server = Influxd::start(&self.path("stopped"), Index::Tsi1);
        assert_eq!(server.databases().len(), self.expected.len());
        self.expected
            .iter()
            .for_each(|(name, expected)| has(&server, name, expected));
        server.expect_no_errors();
    }
}

/// Looks at every block of a set, and counts its points.
fn verify(dir: &Path, points: usize) {
    let run = snap(["verify", "-deep", "-json", utf8(dir)]).expect(0);
    assert_eq!(run.last_message()["values"], points, "{}", dir.display());
}

#[test]
fn a_backup_of_an_interval_has_its_points_and_no_others() {
    let sample = SAMPLE.get();
    let mut targets = Targets::new();
    let host = sample.server.host();
    for (nth, (name, range)) in ranges().into_iter().enumerate() {
        let (expected, dir, flags) = (range.of(&sample.points), targets.path(name), range.flags());
        let layout = if nth % 2 == 0 {
            &[][..]
        } else {
            &["-portable"]
        };
        back_up("snap", &host, &dir, &[layout, &strs(&flags)].concat());
        verify(&dir, expected.len());
        let by_influxd = [
            "between two points",
            "a block",
            "the first of the next shard too",
            "parts of three shards",
        ];
        if by_influxd.contains(&name) {
            let other = format!("{name} by influxd");
            let how = if layout.is_empty() {
                "-online"
            } else {
                "-portable"
            };
            influxd_client(&[
                "restore",
                how,
                "-host",
                &targets.live.host(),
                "-db",
                "d",
                "-newdb",
                &other,
                utf8(&dir),
            ]);
            assert!(
                targets
                    .live
                    .comes_to_be(|| targets.live.points_in(&other, "autogen") == expected),
                "{other}"
            );
        }
        targets.restore(&dir, name, &[], expected);
    }
    targets.look();
}

#[test]
fn a_restore_of_an_interval_brings_its_points_and_no_others_from_full_sets_of_either_tool() {
    let sample = SAMPLE.get();
    let mut targets = Targets::new();
    for (nth, (name, range)) in ranges().into_iter().enumerate() {
        let full = sample.path(["legacy", "portable", "foreign"][nth % 3]);
        targets.restore(&full, name, &strs(&range.flags()), range.of(&sample.points));
    }
    targets.look();
}

#[test]
fn with_coarse_blocks_stay_whole_and_nothing_is_missing() {
    let sample = SAMPLE.get();
    let mut targets = Targets::new();
    let all = |start, end| Range(Some(start), Some(end)).of(&sample.points);
    // Only one end of an interval is safe with influxd's export, so what comes is open to the other
    // side of the shard.
    let wholes = [
        ("inside a block", all(START, START + 1999 * STEP)),
        ("a nanosecond", all(START + 1000 * STEP, START + DAY - 1)),
        (
            "from",
            all(START + DAY, i64::MAX - 1)
                .into_iter()
                .filter(|point| time_of(point) >= START + 2880 * STEP)
                .collect(),
        ),
        (
            "where no block of one file is",
            all(BETWEEN - DAY, BETWEEN + 3601 * SECOND),
        ),
        ("all that a shard has", all(START, START + DAY - 1)),
    ];
    for (nth, (name, whole)) in wholes.into_iter().enumerate() {
        let range = ranges()
            .into_iter()
            .find(|(known, _)| *known == name)
            .expect("an interval")
            .1;
        let (dir, flags) = (targets.path(name), range.flags());
        let layout = if nth % 2 == 0 {
            &[][..]
        } else {
            &["-portable"]
        };
        back_up(
            "snap",
            &sample.server.host(),
            &dir,
            &[&["-coarse"], layout, &strs(&flags)].concat(),
        );
        restore_live(&targets.live.host(), &dir, name, &[]).expect(0);
        has(&targets.live, name, &whole);
        // And cut when it is restored.
        targets.restore(
            &dir,
            &format!("{name} cut"),
            &strs(&flags),
            range.of(&sample.points),
        );
    }
    targets.look();
}

#[test]
fn servers_of_the_old_dialect_and_directories_are_cut_here() {
    let sample = SAMPLE.get();
    let mut targets = Targets::new();
    let source = targets.path("source");
    copy(&sample.path("source"), &source);
    let old = Serving::start(&source, &["-dialect", "1.0"]);
    let chosen = [
        "inside a block",
        "a nanosecond",
        "parts of three shards",
        "around 1970",
        "from",
        "where no block of one file is",
    ];
    for (nth, (name, range)) in ranges()
        .into_iter()
        .filter(|(name, _)| chosen.contains(name))
        .enumerate()
    {
        let (expected, flags) = (range.of(&sample.points), range.flags());
        let layout = if nth % 2 == 0 {
            &["-portable"][..]
        } else {
            &[]
        };
        let dir = targets.path(&format!("{name} old"));
        back_up("snap", &old.host(), &dir, &[layout, &strs(&flags)].concat());
        verify(&dir, expected.len());
        targets.restore(&dir, &format!("{name} old"), &[], expected.clone());
        let run = snap(
            [
                &["backup", "-coarse", "-host", &old.host()],
                &strs(&flags)[..],
                &[utf8(&dir)],
            ]
            .concat(),
        )
        .expect(2);
        assert!(run.stderr.contains("-coarse"), "{}", run.stderr);
        let dir = targets.path(&format!("{name} here"));
        backup_of(&source, &[layout, &strs(&flags)].concat(), &dir)
            .run()
            .expect(0);
        verify(&dir, expected.len());
    }
    old.stop();
    targets.look();
}

#[test]
fn what_was_deleted_stays_deleted_in_an_interval_of_a_shard_that_influxd_cannot_export() {
    let mut targets = Targets::new();
    let source = targets.path("source");
    let server = Influxd::start(&source, Index::Inmem);
    server.execute("CREATE DATABASE d WITH SHARD DURATION 1d");
    server.write(
        "d",
        "",
        &["m,k=long", "m,k=other", "m,k=gone"]
            .map(long_series)
            .concat(),
    );
    flush(&server);
    let nth = |n: i64| START + n * STEP;
    let all = server.points_in("d", "autogen");
    server.query(
        "d",
        &format!(
            "DELETE FROM m WHERE k = 'long' AND time >= {} AND time <= {}",
            nth(1100),
            nth(1250)
        ),
    );
    server.query(
        "d",
        &format!("DELETE FROM m WHERE k = 'other' AND time < {}", nth(1210)),
    );
    server.query("d", "DROP SERIES FROM m WHERE k = 'gone'");
    assert!(!tombstones(&server).is_empty(), "no tombstones");
    let points = server.points_in("d", "autogen");
    server.kill();

    let both = |start, end| Range(Some(start), Some(end));
    let ranges = [
        both(nth(1200), nth(1300)),
        both(nth(1240), nth(2900)),
        Range(None, Some(nth(1105))),
    ];
    let flags = ranges[0].flags();
    let (_copy, server) = before_deletes_are_carried_out(&source, |server| {
        let back_up = |tool: &str, name: &str, flags: &[&str]| {
            let _ = fs::remove_dir_all(targets.path(name));
            back_up(tool, &server.host(), &targets.path(name), flags)
        };
        let mut said = Vec::new();
        for (nth, range) in ranges.into_iter().enumerate() {
            let layout = if nth % 2 == 0 {
                &[][..]
            } else {
                &["-portable"]
            };
            said.push(back_up(
                "snap",
                &format!("cut {nth}"),
                &[layout, &strs(&range.flags())].concat(),
            ));
        }
        said.push(back_up(
            "snap",
            "coarse",
            &[&["-coarse"][..], &strs(&flags)].concat(),
        ));
        back_up("influxd", "full", &["-portable"]);
        let fallen_back = said
            .iter()
            .all(|said| said.contains("cannot export a part of shard d/autogen/1"));
        let warned = said[3].lines().any(|line| {
            line.starts_with("warning: ") && line.contains("holds more than the range")
        });
        fallen_back && warned
    });
    assert_eq!(server.points_in("d", "autogen"), points);
    drop(server);
    let old = Serving::start(&source, &["-dialect", "1.0"]);
    for (nth, range) in ranges.into_iter().enumerate() {
        let (expected, flags) = (range.of(&points), range.flags());
        let flags = strs(&flags);
        let cut = targets.path(&format!("cut {nth}"));
        targets.restore(&cut, &format!("cut {nth}"), &[], expected.clone());
        // influxd brings back what was deleted, and no more than that.
        let (name, how) = (
            format!("influxd {nth}"),
            if nth % 2 == 0 { "-online" } else { "-portable" },
        );
        influxd_client(&[
            "restore",
            how,
            "-host",
            &targets.live.host(),
            "-db",
            "d",
            "-newdb",
            &name,
            utf8(&cut),
        ]);
        let whole = range.of(&all);
        assert!(whole.len() > expected.len());
        assert!(
            targets
                .live
                .comes_to_be(|| targets.live.points_in(&name, "autogen") == whole),
            "{name}"
        );
        targets.restore(
            &targets.path("full"),
            &format!("full {nth}"),
            &flags,
            expected.clone(),
        );
        let dir = targets.path(&format!("old {nth}"));
        back_up("snap", &old.host(), &dir, &flags);
        targets.restore(&dir, &format!("old {nth}"), &[], expected);
    }
    old.stop();
    targets.restore(
        &targets.path("coarse"),
        "coarse",
        &strs(&flags),
        ranges[0].of(&points),
    );
    targets.look();
}

#[test]
fn what_stands_in_the_wal_alone_is_in_an_interval_too_and_what_it_says_was_deleted_is_not() {
    let mut targets = Targets::new();
    let source = targets.path("source");
    let server = Influxd::start(&source, Index::Inmem);
    server.execute("CREATE DATABASE d WITH SHARD DURATION 1d");
    server.write("d", "", &long_series("m,k=file"));
    flush(&server);
    let nth = |n: i64| START + n * STEP;
    let range = Range(Some(nth(1200)), Some(nth(1300)));
    server.write("d", "", &long_series("m,k=wal"));
    // In place of points of the file: the first of the interval, one inside it and one before.
    server.write(
        "d",
        "",
        &[1199, 1200, 1250]
            .map(|n| format!("m,k=file i=-{n}i {}\n", nth(n)))
            .concat(),
    );
    for (k, start, end) in [("file", 1210, 1220), ("wal", 1230, 1240)] {
        server.query(
            "d",
            &format!(
                "DELETE FROM m WHERE k = '{k}' AND time >= {} AND time <= {}",
                nth(start),
                nth(end)
            ),
        );
    }
    let expected = range.of(&server.points_in("d", "autogen"));
    assert_eq!(expected.len(), 4 * (2 * 101 - 2 * 11));
    server.kill();
    let flags = range.flags();
    let flags = strs(&flags);
    for (name, more) in [("here", &flags[..]), ("here whole", &[])] {
        let dir = targets.path(name);
        backup_of(&source, more, &dir).run().expect(0);
        targets.restore(
            &dir,
            name,
            if more.is_empty() { &flags } else { &[] },
            expected.clone(),
        );
    }
    let serving = Serving::start(&source, &[]);
    back_up("snap", &serving.host(), &targets.path("served"), &flags);
    serving.stop();
    targets.restore(&targets.path("served"), "served", &[], expected);
    targets.look();
}

#[test]
fn a_restore_of_an_interval_that_was_interrupted_goes_on_with_that_interval() {
    let sample = SAMPLE.get();
    let targets = Targets::new();
    let (name, range) = ranges()
        .into_iter()
        .find(|(name, _)| *name == "parts of three shards")
        .expect("an interval");
    let dir = targets.path("backup");
    copy(&sample.path("portable"), &dir);
    // The second upload never comes to the server.
    let uploads = AtomicUsize::new(0);
    let between = Between::start(&targets.live.host(), move |ask, _| match ask {
        Ask::Upload(_) if uploads.fetch_add(1, Ordering::Relaxed) == 1 => {
            Some(Spoil::Swallow(Vec::new()))
        }
        _ => None,
    });
    let flags = range.flags();
    let first = ["-retries", "0", "-jobs", "1"];
    restore_live(
        &between.host(),
        &dir,
        name,
        &[&first, &strs(&flags)[..]].concat(),
    )
    .expect(3);
    let expected = range.of(&sample.points);
    assert!(targets.live.points_in(name, "autogen").len() < expected.len());
    let resume = |more: &[&str]| {
        snap(
            [
                &["restore", "-resume", "-host", &between.host()],
                more,
                &[utf8(&dir)],
            ]
            .concat(),
        )
    };
    // With another interval it would not be the same restore.
    resume(&["-database", "d", "-newdb", name, "-start", "1970-01-01"]).expect(2);
    resume(&[]).expect(0);
    has(&targets.live, name, &expected);
    targets.live.expect_no_errors();
}

#[test]
fn points_of_the_first_shard_group_there_can_be_are_in_the_intervals_that_hold_them() {
    let least = i64::MIN + 2;
    let (folder, server) = Influxd::empty(Index::Inmem);
    server.execute("CREATE DATABASE d");
    let line = |time: i64| format!("m v={}i {time}\n", time % 1000);
    let times = [least, least + 1, least + 3600 * SECOND, START];
    server.write("d", "autogen", &times.map(line).concat());
    let points = server.points_of("d");
    assert_eq!(points.len(), 4);
    let cases = [
        ("all", Range(Some(i64::MIN), Some(least + DAY))),
        ("the first", Range(None, Some(least))),
        ("the second", Range(Some(least + 1), Some(least + 1))),
        ("from the second on", Range(Some(least + 1), None)),
        ("none", Range(Some(least + 2), Some(least + 3))),
    ];
    let full = folder.path().join("full");
    back_up("snap", &server.host(), &full, &[]);
    verify(&full, 4);
    for (name, range) in cases {
        let (dir, flags) = (folder.path().join(name), range.flags());
        back_up("snap", &server.host(), &dir, &strs(&flags));
        let expected = range.of(&points);
        verify(&dir, expected.len());
        if expected.is_empty() {
            continue;
        }
        let target = folder.path().join(format!("{name} restored"));
        restore_into(&target, &["-host", &nobody()], &dir)
            .run()
            .expect(0);
        let cut = folder.path().join(format!("{name} cut"));
        restore_into(
            &cut,
            &[&["-host", &nobody()][..], &strs(&flags)].concat(),
            &full,
        )
        .run()
        .expect(0);
        // Out of the files: influxd itself loses such a group from its sight when it is restarted.
        for root in [&target, &cut] {
            let again = folder.path().join(format!("{name} again"));
            backup_of(root, &[], &again).run().expect(0);
            verify(&again, expected.len());
            fs::remove_dir_all(&again).expect("removing a backup");
        }
    }
}
