//! That what a real influxd held is what a real influxd holds after a backup and an offline
//! restore, point by point.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::fs;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use influx_snap::repository::{SetRecord, ShardState};
use jiff::Timestamp;

use crate::support::data::{DATABASES, START, flush};
use crate::support::influxd::{Index, Influxd};
use crate::support::process::{Snap, restore_into};
use crate::support::service::{influxd_client, influxd_restore_into};
use crate::support::source::{
    EMPTIED, Source, assert_opened_as, assert_same, back_up, index_flags, paths_of, restore, sets,
    shard_dirs,
};
use crate::support::time::{DAY, SECOND, WEEK};
use crate::support::{folder, tree, utf8};

/// Deletes and writes in old and new shards, with every kind of statement that goes through the
/// index.
fn go_on(server: &Influxd) {
    server.query("plain", "DROP SERIES FROM cpu WHERE host = 'b'");
    server.query(
        "plain",
        &format!(
            "DELETE FROM cpu WHERE host = 'a' AND time > {}",
            START + 2000 * SECOND
        ),
    );
    server.query("plain", "DROP MEASUREMENT daily");
    server.query("db.dot", "DROP SERIES WHERE kind = 'first'");
    server.write(
        "plain",
        "autogen",
        &format!(
            "cpu,host=new idle=1 {START}\nbrand,new=yes v=1i {}",
            START + 300 * WEEK
        ),
    );
    server.write(
        "plain",
        "two weeks",
        &format!("daily,room=attic t=1 {START}"),
    );
    server.write("-x", "", &format!("few,kind=third v=1i {START}"));
}

fn a_full_backup(index: Index) {
    let source = Source::new(index);
    let backup = source.path("backup");
    back_up(&source.server, &backup, &[]);
    let [set] = &sets(&backup)[..] else {
        panic!("one run made several sets")
    };
    let tombstones = set
        .shards
        .iter()
        .flat_map(|shard| &shard.members)
        .filter(|member| member.name.ends_with(".tombstone"));
    assert!(tombstones.count() > 0, "no tombstone in the backup");
    let meta = fs::read(source.server.meta_dir().join("meta.db")).expect("the server's meta.db");
    let shards = source.server.shards();
    let series = DATABASES.map(|db| source.server.series(db));
    source.server.stop();

    let target = source.folder.path().join("target");
    restore(&backup, &target, index_flags(index));
    assert!(
        fs::read(target.join("meta/meta.db")).expect("a meta.db") == meta,
        "meta.db differs"
    );
    assert_eq!(tree::names(&target.join("meta")), ["meta.db", "node.json"]);
    // Of the shards that lost their last point, none may have a file by now.
    let stored = set
        .shards
        .iter()
        .filter(|shard| shard.state == ShardState::Stored);
    let stored: BTreeSet<String> = stored.map(|shard| shard.path().to_string()).collect();
    assert_eq!(shard_dirs(&target.join("data")), stored);
    assert!(
        stored.len() + EMPTIED >= shards.len(),
        "{} of {} shards",
        stored.len(),
        shards.len()
    );
    let restored = Influxd::start(&target, index);
    assert_same(&restored.points(), &source.points);
    assert_eq!(restored.shards(), shards);
    assert_eq!(DATABASES.map(|db| restored.series(db)), series);
    assert_opened_as(index, &restored);

    // Life goes on as it would on the original.
    let original = Influxd::start(&source.folder.path().join("source"), index);
    go_on(&original);
    go_on(&restored);
    assert_same(&restored.points(), &original.points());
    assert_eq!(
        DATABASES.map(|db| restored.series(db)),
        DATABASES.map(|db| original.series(db))
    );
    restored.stop();
    let restored = Influxd::start(&target, index);
    assert_same(&restored.points(), &original.points());
    assert_opened_as(index, &restored);
}

#[test]
fn a_full_backup_of_an_inmem_server_comes_back_whole() {
    a_full_backup(Index::Inmem);
}

#[test]
fn a_full_backup_of_a_tsi1_server_comes_back_whole_and_opens_as_tsi1() {
    a_full_backup(Index::Tsi1);
}

fn a_chain(index: Index) {
    let source = Source::loaded(index);
    let server = &source.server;
    let backup = source.path("backup");
    flush(server);
    back_up(server, &backup, &[]);

    let overwritten = |value: &str, seconds: i64| -> String {
        (0..seconds)
            .map(|i| {
                format!(
                    "cpu,host=a,zone=z{} idle={value} {}\n",
                    i % 7,
                    START + i * SECOND
                )
            })
            .collect()
    };
    server.write("plain", "autogen", &overwritten("-1", 400));
    server.write(
        "plain",
        "autogen",
        &format!(
            "cpu,host=late idle=1,extra=\"new field\" {}",
            START + SECOND
        ),
    );
    server.write(
        "plain",
        "autogen",
        &format!("far,nth=group value=1i {}", START + 100 * WEEK),
    );
    server.write("db.dot", "", &format!("dotted,kind=first v=-5i {START}"));
    let first = sets(&backup)[0].started.to_string();
    back_up(server, &backup, &["-since", &first]);

    server.write("plain", "autogen", &overwritten("-2.5", 100));
    // A shard that the increment before had nothing of.
    server.write(
        "plain",
        "two weeks",
        &format!(
            "daily,room=attic t=-7.5,more=true {}",
            START + 3 * DAY + DAY / 24
        ),
    );
    server.write(
        "plain",
        "two weeks",
        &format!("daily,room=attic t=150.5 {}", START + 150 * DAY),
    );
    server.execute("CREATE DATABASE late");
    server.write("late", "", &format!("m v=1 {START}"));
    let second = sets(&backup)[1].started.to_string();
    back_up(server, &backup, &["-since", &second]);

    server.write("名前 db", "", &format!("few,kind=first v=99i {START}"));
    let age = Timestamp::now()
        .duration_since(sets(&backup)[2].started)
        .as_millis()
        + 5_000;
    back_up(server, &backup, &["-since", &format!("{age}ms")]);

    let sets = sets(&backup);
    assert_eq!(
        sets.iter().map(|set| set.number).collect::<Vec<_>>(),
        [0, 1, 2, 3]
    );
    let files = |set: &SetRecord| {
        set.shards
            .iter()
            .filter(|shard| shard.state == ShardState::Stored)
            .count()
    };
    assert!(
        files(&sets[0]) > 100 && files(&sets[1]) == 3,
        "{} {}",
        files(&sets[0]),
        files(&sets[1])
    );

    let target = source.path("target");
    restore(&backup, &target, index_flags(index));
    let restored = Influxd::start(&target, index);
    assert_same(&restored.points(), &server.points());
    assert_eq!(restored.shards(), server.shards());
    assert_eq!(
        DATABASES.map(|db| restored.series(db)),
        DATABASES.map(|db| server.series(db))
    );
    assert_opened_as(index, &restored);
}

#[test]
fn a_full_backup_and_its_increments_of_an_inmem_server_come_back_as_its_last_state() {
    a_chain(Index::Inmem);
}

#[test]
fn a_full_backup_and_its_increments_of_a_tsi1_server_come_back_as_its_last_state() {
    a_chain(Index::Tsi1);
}

#[test]
fn what_influxd_backed_up_snap_restores() {
    for index in [Index::Inmem, Index::Tsi1] {
        let source = Source::new(index);
        let (host, backup) = (source.server.host(), source.path("backup"));
        let influxd_backup = |flags: &[&str]| {
            // Without -portable and a database, influxd takes the metastore alone.
            for db in DATABASES {
                influxd_client(
                    &[
                        &["backup", "-host", &host, "-database", db],
                        flags,
                        &[utf8(&backup)],
                    ]
                    .concat(),
                );
            }
        };
        influxd_backup(&[]);
        let target = source.path("target of the full one");
        restore(&backup, &target, index_flags(index));
        let restored = Influxd::start(&target, index);
        assert_same(&restored.points(), &source.points);
        assert_opened_as(index, &restored);
        restored.stop();

        let since = Timestamp::now().to_string();
        let server = &source.server;
        server.write(
            "plain",
            "autogen",
            &format!("cpu,host=b,zone=z0 idle=-3 {START}\ncpu,host=late idle=1 {START}"),
        );
        server.write(
            "plain",
            "two weeks",
            &format!("daily,room=attic t=1 {}", START + 200 * DAY),
        );
        server.write("名前 db", "", &format!("few,kind=first v=77i {START}"));
        influxd_backup(&["-since", &since]);
        let target = source.path("target of both");
        restore(&backup, &target, index_flags(index));
        let restored = Influxd::start(&target, index);
        assert_same(&restored.points(), &server.points());
        assert_eq!(restored.shards(), server.shards());
    }
}

#[test]
fn what_snap_backed_up_influxd_restores() {
    // No dots, ids without trailing zeros and no tombstones: influxd's own restore knows no others.
    let folder = folder();
    let backup = folder.path().join("backup");
    let server = Influxd::start(&folder.path().join("source"), Index::Inmem);
    server.execute("CREATE DATABASE weather; CREATE DATABASE other");
    let hours = |value: i64, weeks: i64| -> String {
        (0..500)
            .map(|i| {
                format!(
                    "air,at=h{} t={}.5,n={i}i {}\n",
                    i % 5,
                    i * value,
                    START + i * weeks * WEEK / 500
                )
            })
            .collect()
    };
    server.write("weather", "", &hours(1, 4));
    server.write("other", "", &hours(1, 1));
    assert!(
        server.shards().iter().all(|shard| shard.2 % 10 != 0),
        "{:?}",
        server.shards()
    );
    back_up(&server, &backup, &[]);
    server.write("weather", "", &hours(-2, 2));
    server.write(
        "weather",
        "",
        &format!("air,at=late t=1 {}", START + 6 * WEEK),
    );
    back_up(
        &server,
        &backup,
        &[
            "-since",
            &sets(&backup)[0].started.to_string(),
            "-database",
            "weather",
        ],
    );
    let expected = server.points_of("weather");

    let target = folder.path().join("target");
    influxd_restore_into(&target, "weather", &backup);
    let restored = Influxd::start(&target, Index::Inmem);
    assert_same(&restored.points(), &expected);
}

/// Writes one point after another, many of them into shards that are made on the way, until told to
/// stop.
fn write_on(server: &Influxd, acknowledged: &Mutex<Vec<String>>, stop: &AtomicBool) {
    for i in 0.. {
        if stop.load(Ordering::Relaxed) {
            return;
        }
        let time = START + (i % 40 + i / 400) * WEEK + i;
        server.write(
            "plain",
            "autogen",
            &format!("live,n={} v={i}i {time}", i % 3),
        );
        let point = format!(
            "\"plain\".\"autogen\" \"live\"{{\"n\"=\"{}\"}} {time} \"v\"={i}i",
            i % 3
        );
        acknowledged.lock().expect("a lock").push(point);
    }
}

#[test]
fn every_point_acknowledged_before_a_backup_began_is_in_it_while_writes_go_on() {
    for index in [Index::Inmem, Index::Tsi1] {
        let source = Source::loaded(index);
        let server = &source.server;
        let backup = source.path("backup");
        let (acknowledged, stop) = (Mutex::new(Vec::new()), AtomicBool::new(false));
        let before = thread::scope(|scope| {
            scope.spawn(|| write_on(server, &acknowledged, &stop));
            let wait_for = |count: usize| {
                while acknowledged.lock().expect("a lock").len() < count {
                    thread::sleep(Duration::from_millis(5));
                }
            };
            // Without this a panic would leave the writer running and the scope waiting for it.
            let stopping = StopOnDrop(&stop);
            wait_for(200);
            let first = acknowledged.lock().expect("a lock").clone();
            back_up(server, &backup, &[]);
            restore(&backup, &source.path("target 1"), index_flags(index));
            wait_for(first.len() + 300);
            let second = acknowledged.lock().expect("a lock").clone();
            back_up(
                server,
                &backup,
                &["-since", &sets(&backup)[0].started.to_string()],
            );
            restore(&backup, &source.path("target 2"), index_flags(index));
            drop(stopping);
            [first, second]
        });
        let sample: Vec<String> = server
            .points()
            .into_iter()
            .filter(|point| !point.contains("\"live\""))
            .collect();
        let possible: BTreeSet<String> = server.points().into_iter().collect();
        for (name, acknowledged) in ["target 1", "target 2"].iter().zip(&before) {
            let restored = Influxd::start(&source.path(name), index).points();
            let found: BTreeSet<&String> = restored.iter().collect();
            let lost: Vec<_> = acknowledged
                .iter()
                .chain(&sample)
                .filter(|point| !found.contains(point))
                .collect();
            assert!(
                lost.is_empty(),
                "{name}: {} points lost: {:#?}",
                lost.len(),
                &lost[..lost.len().min(5)]
            );
            assert!(
                restored.iter().all(|point| possible.contains(point)),
                "{name}: points that were never written"
            );
        }
    }
}

/// Sets the flag when it goes out of scope.
struct StopOnDrop<'a>(&'a AtomicBool);

impl Drop for StopOnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn merging(index: Index) {
    let source = Source::new(index);
    let (backup, target) = (source.path("backup"), source.path("target"));
    back_up(&source.server, &backup, &[]);
    let plain = source.points_of("plain");

    let own = Influxd::start(&target, index);
    own.execute(
        "CREATE DATABASE own; CREATE USER keeper WITH PASSWORD 'secret' WITH ALL PRIVILEGES",
    );
    own.execute("CREATE CONTINUOUS QUERY hourly ON own BEGIN SELECT mean(v) INTO h FROM m GROUP BY time(1h) END");
    let lines: String = (0..300)
        .map(|i| format!("m,of=own v={i}i {}\n", START + i * WEEK / 100))
        .collect();
    own.write("own", "", &lines);
    let (own_points, own_shards) = (own.points(), own.shards());
    own.stop();

    restore(&backup, &target, &["-merge"]);
    let merged = Influxd::start(&target, index);
    let mut expected = [own_points.clone(), source.points.clone()].concat();
    expected.sort();
    assert_same(&merged.points(), &expected);
    assert_opened_as(index, &merged);
    let shards = merged.shards();
    let highest = own_shards
        .iter()
        .map(|shard| shard.2)
        .max()
        .expect("a shard");
    let ids: BTreeSet<u64> = shards.iter().map(|shard| shard.2).collect();
    assert_eq!(
        (shards.len(), ids.len()),
        (
            own_shards.len() + source.server.shards().len(),
            shards.len()
        )
    );
    for shard in &shards {
        assert!(
            if shard.0 == "own" {
                own_shards.contains(shard)
            } else {
                shard.2 > highest
            },
            "{shard:?}"
        );
    }
    let users = merged.query("", "SHOW USERS").to_string();
    let queries = merged.query("", "SHOW CONTINUOUS QUERIES").to_string();
    assert!(
        users.contains("keeper") && queries.contains("hourly"),
        "{users} {queries}"
    );

    // New points go where they belong, in old shards and in new ones.
    for db in ["own", "plain", "db.dot"] {
        for time in [START, START + WEEK - 1, START + 500 * WEEK] {
            merged.write(db, "autogen", &format!("after v=1i {time}"));
            expected.push(format!("{db:?}.\"autogen\" \"after\"{{}} {time} \"v\"=1i"));
        }
    }
    expected.sort();
    assert_same(&merged.points(), &expected);
    let after = merged.shards();
    assert_eq!(after.len(), shards.len() + 3);
    assert_eq!(
        after.iter().filter(|shard| ids.contains(&shard.2)).count(),
        shards.len()
    );
    let directories = shard_dirs(&target.join("data"));
    assert!(
        directories.is_subset(&paths_of(&after)) && directories.len() + EMPTIED >= after.len(),
        "{directories:?}"
    );
    merged.stop();
    let merged = Influxd::start(&target, index);
    assert_same(&merged.points(), &expected);
    merged.stop();

    let before = tree::files(&target);
    let refused = restore_into(&target, &["-merge"], &backup).run().expect(6);
    assert!(
        refused.stderr.contains("'plain'") && refused.stderr.contains("-newdb"),
        "{}",
        refused.stderr
    );
    restore_into(&target, &["-merge", "-database", "db.dot"], &backup)
        .run()
        .expect(6);
    restore_into(
        &target,
        &["-merge", "-database", "db.dot", "-newdb", "own"],
        &backup,
    )
    .run()
    .expect(6);
    assert!(
        tree::files(&target) == before,
        "a refused restore changed the target"
    );
    assert!(!target.join("data/.snap-restore").exists());

    restore(
        &backup,
        &target,
        &["-merge", "-database", "plain", "-newdb", "plain.again"],
    );
    let merged = Influxd::start(&target, index);
    expected.extend(
        plain
            .iter()
            .map(|point| point.replacen("\"plain\"", "\"plain.again\"", 1)),
    );
    expected.sort();
    assert_same(&merged.points(), &expected);
    assert_opened_as(index, &merged);
}

#[test]
fn a_merge_puts_databases_beside_those_of_an_inmem_server() {
    merging(Index::Inmem);
}

#[test]
fn a_merge_puts_databases_beside_those_of_a_tsi1_server() {
    merging(Index::Tsi1);
}

#[test]
fn a_relative_path_and_the_default_directory_work_from_where_one_stands() {
    let source = Source::new(Index::Inmem);
    let host = source.server.host();
    let here = source.path("here");
    fs::create_dir(&here).expect("a directory");
    let run = |args: &[&str]| {
        Snap::new(args.iter().map(OsStr::new))
            .dir(&here)
            .run()
            .expect(0)
    };
    run(&["backup", "-host", &host]);
    run(&["restore", "-metadir", "meta", "-datadir", "data"]);
    assert_eq!(tree::names(&here), ["backup", "data", "meta"]);
    assert_same(
        &Influxd::start(&here, Index::Inmem).points(),
        &source.points,
    );
}
