//! Thirty days of a server's life with an incremental backup each, and every set brought back by
//! snap and by influxd.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;
use std::thread;
use std::time::Duration;

use serde_json::Value;

use crate::support::backups::{
    Backups, Made, SHARDS, alone, by_influxd, expect_offline, expect_points, files_of, messages,
    record, shared,
};
use crate::support::data::{START, flush_shard};
use crate::support::each_of;
use crate::support::influxd::{Index, Influxd};
use crate::support::process::{Snap, snap};
use crate::support::service::wait_for;
use crate::support::time::{DAY, HOUR, SECOND};
use crate::support::{folder, tree, utf8};

/// How many days pass after the first set.
const DAYS: usize = 30;

/// How many days more may pass until a backup meets a tombstone: on a busy machine the server may
/// compact each away before.
const MORE_DAYS: usize = 20;

/// Days on which nothing happens, and on which nothing has happened the day before.
const QUIET: [i64; 4] = [8, 14, 15, 28];

/// Points of two series in each shard that the server begins with.
const POINTS: i64 = 60;

/// The names and sizes of the files of all shards, by shard.
type Files = BTreeMap<String, BTreeMap<String, u64>>;

fn files(server: &Influxd) -> Files {
    let mut files = Files::new();
    for (database, policy, id, ..) in server.shards() {
        let path = format!("{database}/{policy}/{id}");
        let mut found = BTreeMap::new();
        for folder in [server.data_dir(), server.wal_dir()] {
            for entry in fs::read_dir(folder.join(&path))
                .into_iter()
                .flatten()
                .flatten()
            {
                let name = entry.file_name().to_string_lossy().into_owned();
                let size = entry.metadata().map_or(0, |metadata| metadata.len());
                // An empty WAL segment says nothing; the index and fields.idx are not in a backup.
                if size > 0
                    && [".tsm", ".tombstone", ".wal"]
                        .iter()
                        .any(|end| name.ends_with(end))
                {
                    found.insert(name, size);
                }
            }
        }
        files.insert(path, found);
    }
    files
}

/// What happens to the server on a day.
fn happens(mut backups: Backups, index: Index, day: i64) -> Backups {
    let of_day = |day: i64| {
        format!(
            "time >= {} AND time < {}",
            START + day * DAY,
            START + (day + 1) * DAY
        )
    };
    let server = &backups.server;
    if !QUIET.contains(&day) && !QUIET.contains(&(day + 1)) {
        backups.write(SHARDS + day, "a", 5);
    }
    match day {
        1 => {
            server.execute(
                "CREATE RETENTION POLICY short ON main DURATION 0s REPLICATION 1 SHARD DURATION 1h",
            );
            let line = |nth: i64| format!("short v={nth}i {}\n", START + nth * 2 * HOUR);
            server.write("main", "short", &(0..3).map(line).collect::<String>());
        }
        // Points long after their day, and others in place of some.
        2 | 12 | 22 => backups.write(day % SHARDS, "late", 3),
        5 | 19 => backups.server.write(
            "main",
            "",
            &format!("m,host=a n=-{day}i {}", START + (day % SHARDS) * DAY),
        ),
        3 => drop(server.query(
            "main",
            &format!("DELETE FROM m WHERE host = 'b' AND {}", of_day(3)),
        )),
        10 => {
            let start = START + 4 * DAY;
            server.query(
                "main",
                &format!(
                    "DELETE FROM m WHERE time >= {start} AND time < {}",
                    start + 500 * SECOND
                ),
            );
        }
        17 => drop(server.query("main", &format!("DELETE FROM m WHERE {}", of_day(5)))),
        24 => drop(server.query("main", "DROP SERIES FROM m WHERE host = 'late'")),
        6 => server.execute(&format!("DROP SHARD {}", backups.shard(6))),
        // The policy's shards expire.
        11 => {
            server.execute("ALTER RETENTION POLICY short ON main DURATION 1h");
            let gone = || !server.shards().iter().any(|shard| shard.1 == "short");
            wait_for(|| gone().then_some(())).expect("the shards expire");
        }
        9 => {
            server.execute("DROP DATABASE other; CREATE DATABASE other");
            server.write("other", "", &format!("few v=3i {START}"));
        }
        16 => server.execute("DROP DATABASE other"),
        20 => {
            server.execute("CREATE DATABASE \"new.er\"");
            server.write("new.er", "", &format!("few v=4i {START}"));
        }
        // Compactions, which change files and no point.
        18 => {
            let often = backups.shard(2);
            for nth in 0..8 {
                server.write(
                    "main",
                    "",
                    &format!("m,host=often n={nth}i {}", START + 2 * DAY + nth),
                );
                flush_shard(&server.host(), often);
            }
            let compacted = || {
                backups
                    .tsm_files(often)
                    .iter()
                    .any(|name| name.ends_with("-000000002.tsm"))
            };
            wait_for(|| compacted().then_some(()))
                .unwrap_or_else(|| panic!("{:?}", backups.tsm_files(often)));
        }
        21 => backups = backups.restarted(index, Influxd::stop),
        25 => backups = backups.restarted(index, Influxd::kill),
        26 => {
            let (host, dir) = (backups.server.host(), backups.dir());
            let running = Snap::new([
                "backup",
                "-portable",
                "-incremental",
                "-full",
                "-host",
                &host,
                utf8(&dir),
            ])
            .spawn();
            thread::sleep(Duration::from_millis(40));
            running.signal(libc::SIGKILL);
            running.wait();
        }
        // Past the thirty days, until a backup meets a tombstone.
        31.. => drop(server.query(
            "main",
            &format!(
                "DELETE FROM m WHERE host = 'a' AND time = {}",
                START + 7 * DAY + (day - 30) * 60 * SECOND
            ),
        )),
        _ => {}
    }
    backups
}

/// Panics unless a set was made of the shards that may have changed since the day before yesterday,
/// and of no others.
fn expect_cheap(made: &Made, dir: &Path, earlier: &[Files], now: &Files) {
    let [.., before, yesterday] = earlier else {
        return;
    };
    let record = record(dir, &made.id);
    let own: Vec<&Value> = record["shards"]
        .as_array()
        .expect("shards")
        .iter()
        .filter(|shard| is_own(shard))
        .collect();
    for shard in own.iter().filter(|shard| shard["state"] == "stored") {
        let text = |field: &str| shard[field].as_str().expect("text");
        let path = format!(
            "{}/{}/{}",
            text("database"),
            text("retention_policy"),
            shard["id"]
        );
        let changed = before.get(&path) != now.get(&path) || yesterday.get(&path) != now.get(&path);
        let had_deletes = yesterday
            .get(&path)
            .is_some_and(|files| files.keys().any(|name| name.ends_with(".tombstone")));
        assert!(
            changed || had_deletes,
            "{path} was downloaded again for nothing: {}",
            made.said
        );
    }
    let size = |file: &Value| file["size"].as_u64().expect("a size");
    let files = own.iter().map(|shard| size(&shard["file"])).sum::<u64>();
    let manifest = record.get("manifest").map_or(0, size);
    let all = files + size(&record["meta"]) + manifest;
    assert_eq!(made.bytes, all, "{}", made.said);
}

fn is_own(shard: &Value) -> bool {
    !shard["file"].is_null() && shard["shared_with"].is_null()
}

/// Restores with snap into a running server; panics unless the set comes back as it was.
fn expect_live(dir: &Path, made: &Made, index: Index) {
    let folder = folder();
    let server = Influxd::start(folder.path(), index);
    snap([
        "restore",
        "-online",
        "-host",
        &server.host(),
        utf8(dir),
        &made.id,
    ])
    .expect(0);
    expect_points(
        &server.points(),
        &made.points,
        &format!("live: {}", made.id),
    );
}

fn thirty_days(index: Index) {
    let mut backups = Backups::loaded(index, &["-portable"], POINTS);
    let mut sets = vec![backups.incremental()];
    let mut seen = vec![files(&backups.server)];
    let full = sets[0].bytes;
    let mut tombstones = 0;
    for day in 1..=DAYS + MORE_DAYS {
        if day > DAYS && tombstones > 0 {
            break;
        }
        backups.a_day_passes();
        let number = i64::try_from(day).expect("a small number");
        backups = happens(backups, index, number);
        let made = backups.back_up(&["-incremental", "-full-every", "11"]);
        let now = files(&backups.server);
        if made.shared > 0 {
            expect_cheap(&made, &backups.dir(), &seen, &now);
        }
        if QUIET.contains(&number) {
            assert_eq!(made.shared, made.shards, "{}", made.said);
            assert!(
                made.bytes * 100 < full,
                "{} bytes on the quiet day {day}, {full} at first",
                made.bytes
            );
        }
        let record = record(&backups.dir(), &made.id);
        let applied = record["shards"]
            .as_array()
            .expect("shards")
            .iter()
            .filter(|shard| shard["deletes_applied"] == true);
        tombstones += applied.count();
        sets.push(made);
        seen.push(now);
    }
    let fulls = sets.iter().filter(|made| made.shared == 0).count();
    let expected = 1 + (sets.len() - 1) / 11;
    assert_eq!(fulls, expected, "the first, and one in eleven days");
    assert!(tombstones > 0, "no backup met a tombstone");
    let gone = |day: usize, what: &str| {
        let said = &sets[day].said;
        assert!(
            said.contains("gone from ") && said.contains(&format!("expired or dropped: {what}")),
            "day {day}: {said}"
        );
    };
    gone(6, "main/days/");
    gone(16, "other/autogen/");
    // Each set alone is all that influxd and snap need.
    let dir = backups.dir();
    let cases = sets.iter().enumerate();
    each_of(3, cases, |(day, made)| {
        by_influxd(&alone(&backups, made), made, index);
        if day % 2 == 0 {
            expect_offline(&dir, &made.id, &made.points, index);
        } else {
            expect_live(&dir, made, index);
        }
    });
    by_influxd(&dir, &sets[sets.len() - 1], index);
    snap(["verify", "-quiet", "-deep", utf8(&dir)]).expect(0);

    // What others share stays when they go.
    snap(["forget", "-quiet", "-keep-last", "3", utf8(&dir)]).expect(0);
    snap(["verify", "-quiet", "-deep", utf8(&dir)]).expect(0);
    let kept = &sets[sets.len() - 3..];
    let left: BTreeSet<String> = kept
        .iter()
        .flat_map(|made| files_of(&record(&dir, &made.id)))
        .collect();
    let found = tree::names(&dir)
        .into_iter()
        .filter(|name| name != ".snap")
        .collect::<BTreeSet<String>>();
    assert_eq!(found, left);
    for made in kept {
        expect_offline(&dir, &made.id, &made.points, index);
        assert!(!shared(&dir, &made.id).is_empty());
    }
    let checked = snap(["check", "-json", "-max-age", "1h", utf8(&dir)]).expect(0);
    assert_eq!(messages(&checked, "check").len(), 1, "{}", checked.stdout);
}

#[test]
fn each_day_comes_back_as_it_was_of_an_inmem_server() {
    thirty_days(Index::Inmem);
}

#[test]
fn each_day_comes_back_as_it_was_of_a_tsi1_server() {
    thirty_days(Index::Tsi1);
}
