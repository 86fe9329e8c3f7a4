//! That portable backups of snap and of influxd, and legacy ones beside them, come back into
//! running servers, by either tool.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::data::START;
use crate::support::influxd::{Index, Influxd, Shard, time_of};
use crate::support::peer::nobody;
use crate::support::process::{Running, Snap, restore_into, snap};
use crate::support::service::copy;
use crate::support::time::{DAY, SECOND, moment};
use crate::support::{Shared, folder, tools, tree, utf8};

/// The policy of `plain` beside `autogen`.
const DAYS: &str = "two weeks";

/// The databases that a server without a limit on names can hold.
const DATABASES: [&str; 3] = ["-x", "db.dot", "plain"];

/// Whole backups: tool and layout.
const FULL: [(&str, &str); 4] = [
    ("snap", "portable"),
    ("influxd", "portable"),
    ("snap", "legacy"),
    ("influxd", "legacy"),
];

/// Backups of one server, made as it grew.
struct Sample {
    folder: TempDir,
    /// What it held when those of [`FULL`] were made, and its shards.
    points: Vec<String>,
    shards: Vec<Shard>,
    /// What it held when the second increments of `snap_chain` and `influxd_chain` were made.
    later: Vec<String>,
    /// What `plain` held when each set of `mixed` was made: influxd legacy, snap legacy, influxd
    /// portable, snap portable.
    mixed: Vec<Vec<String>>,
}

static SAMPLE: Shared<Sample> = Shared::new(Sample::make);

impl Sample {
    fn make() -> Self {
        let folder = folder();
        let path = |name: &str| folder.path().join(name);
        let server = Influxd::start(&path("source"), Index::Inmem);
        load(&server);
        let mut since = moment();
        for (tool, layout) in FULL {
            back_up(
                tool,
                layout,
                &server,
                &path(&format!("{tool}_{layout}")),
                &[],
            );
        }
        let (points, shards) = (server.points(), server.shards());

        copy(&path("snap_portable"), &path("snap_chain"));
        copy(&path("influxd_portable"), &path("influxd_chain"));
        for increment in 1..=2 {
            // A point in a shard there is, one in place of another, and one that makes a shard.
            let time = START + (5000 + increment) * SECOND;
            let more = format!(
                "cpu,host=a idle={increment} {time}\ncpu,host=a idle=-{increment} {START}\nnew v={increment}i "
            );
            server.write(
                "plain",
                "autogen",
                &format!("{more}{}", START + (100 + increment * 10) * DAY),
            );
            let begun = moment();
            next_second();
            for tool in ["snap", "influxd"] {
                back_up(
                    tool,
                    "portable",
                    &server,
                    &path(&format!("{tool}_chain")),
                    &["-since", &since],
                );
            }
            since = begun;
        }
        let later = server.points();

        let mixed = [
            ("influxd", "legacy"),
            ("snap", "legacy"),
            ("influxd", "portable"),
            ("snap", "portable"),
        ];
        let mixed = mixed.iter().enumerate().map(|(nth, (tool, layout))| {
            server.write(
                "plain",
                "autogen",
                &format!("mixed nth={nth} {}", START + 3 * DAY),
            );
            // By its stamp, a run of influxd's began with the second.
            if (*tool, *layout) == ("influxd", "portable") {
                next_second();
            }
            back_up(
                tool,
                layout,
                &server,
                &path("mixed"),
                &["-database", "plain"],
            );
            server.points_of("plain")
        });
        let mixed = mixed.collect();
        Self {
            points,
            shards,
            later,
            mixed,
            folder,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The points of `plain` in the full backups, as they are called below another database.
    fn plain_as(&self, name: &str) -> Vec<String> {
        renamed(&self.points, "plain", name)
    }

    /// The points below a policy of `plain` in the full backups, without the names of database and
    /// policy.
    fn points_in(&self, rp: &str) -> Vec<String> {
        let prefix = format!("\"plain\".{rp:?} ");
        self.points
            .iter()
            .filter_map(|point| point.strip_prefix(&prefix))
            .map(str::to_owned)
            .collect()
    }
}

/// A few shards of each database.
fn load(server: &Influxd) {
    server.execute("CREATE DATABASE plain; CREATE DATABASE \"db.dot\"; CREATE DATABASE \"-x\"");
    server.execute("CREATE RETENTION POLICY \"two weeks\" ON plain DURATION 0s REPLICATION 1 SHARD DURATION 1d");
    let point = |series: &str, value: i64, time: i64| {
        format!("{series} idle={value}.5,ticks={value}i,s=\"v {value}\" {time}\n")
    };
    let spread = |count: i64, step: i64| (0..count).map(move |i| (i, START + i * step));
    let lines: String = spread(600, DAY / 40)
        .map(|(i, time)| point(&format!("cpu,host={}", i % 3), i, time))
        .collect();
    server.write("plain", "autogen", &lines);
    let lines: String = spread(24, DAY / 8)
        .map(|(i, time)| point("daily,room=attic", i, time))
        .collect();
    server.write("plain", DAYS, &lines);
    for db in ["db.dot", "-x"] {
        let lines: String = spread(10, SECOND)
            .map(|(i, time)| point("few,ü=ñ", i, time))
            .collect();
        server.write(db, "autogen", &lines);
    }
}

/// Backs up by either tool in either layout. The legacy layout of influxd's client needs a
/// database.
fn back_up(tool: &str, layout: &str, server: &Influxd, dir: &Path, flags: &[&str]) {
    let layout: &[&str] = match (tool, layout) {
        (_, "portable") => &["-portable"],
        ("influxd", _) if flags.is_empty() => &["-database", "plain"],
        _ => &[],
    };
    let host = server.host();
    tools::run(
        tool,
        &[&["backup"], layout, &["-host", &host], flags, &[utf8(dir)]].concat(),
    );
}

/// Restores into a server by either tool; what it wrote to standard error.
fn restore(tool: &str, server: &Influxd, dir: &Path, flags: &[&str]) -> String {
    let host = server.host();
    tools::run(
        tool,
        &[&["restore", "-host", &host], flags, &[utf8(dir)]].concat(),
    )
}

/// Waits until a run gets another stamp; influxd's has no fraction.
fn next_second() {
    let now = Timestamp::now();
    thread::sleep(Duration::from_millis(
        1000 - u64::try_from(now.subsec_millisecond()).expect("a time after 1970"),
    ));
}

/// Points of a database as they are called below another.
fn renamed(points: &[String], from: &str, to: &str) -> Vec<String> {
    let (from, to) = (format!("{from:?}."), format!("{to:?}."));
    points
        .iter()
        .filter_map(|point| Some(format!("{to}{}", point.strip_prefix(&from)?)))
        .collect()
}

/// Whether it is so; after influxd's client, which does not wait for the server, whether it comes
/// to be.
fn holds(tool: &str, server: &Influxd, look: impl Fn() -> bool) -> bool {
    if tool == "snap" {
        look()
    } else {
        server.comes_to_be(look)
    }
}

/// Restores what either tool wrote in either layout with either tool, each beside the others.
fn every_pair(index: Index) {
    let sample = SAMPLE.get();
    let (folder, server) = Influxd::empty(index);
    let mut names = Vec::new();
    for tool in ["snap", "influxd"] {
        for (from, layout) in FULL {
            let name = format!("{tool} {from} {layout}");
            let flags = ["-db", "plain", "-newdb", &name];
            let how: &[&str] = if layout == "portable" {
                &["-portable"]
            } else {
                &["-online"]
            };
            // A dot would be more than influxd's client can do with a legacy backup.
            restore(
                tool,
                &server,
                &sample.path(&format!("{from}_{layout}")),
                &[how, &flags[..]].concat(),
            );
            let expected = sample.plain_as(&name);
            assert!(
                holds(tool, &server, || server.points_of(&name) == expected),
                "{name}: the points differ\n{}",
                server.log()
            );
            let shards = sample
                .shards
                .iter()
                .filter(|shard| shard.0 == "plain")
                .count();
            assert_eq!(
                server
                    .shards()
                    .iter()
                    .filter(|shard| shard.0 == name)
                    .count(),
                shards,
                "{name}"
            );
            names.push(name);
        }
        if tool == "snap" {
            server.expect_no_errors();
        }
    }
    server.stop();
    let server = Influxd::start(folder.path(), index);
    for name in names {
        assert!(
            server.points_of(&name) == sample.plain_as(&name),
            "{name}: the points differ after a restart"
        );
    }
}

#[test]
fn either_tool_restores_what_either_tool_wrote_in_either_layout_into_an_inmem_server() {
    every_pair(Index::Inmem);
}

#[test]
fn either_tool_restores_what_either_tool_wrote_in_either_layout_into_a_tsi1_server() {
    every_pair(Index::Tsi1);
}

#[test]
fn portable_backups_come_back_whole_with_all_databases_into_empty_servers() {
    let sample = SAMPLE.get();
    for (tool, from, index) in [
        ("snap", "influxd", Index::Inmem),
        ("snap", "snap", Index::Tsi1),
        ("influxd", "snap", Index::Tsi1),
    ] {
        let (_folder, server) = Influxd::empty(index);
        restore(
            tool,
            &server,
            &sample.path(&format!("{from}_portable")),
            &["-portable"],
        );
        assert!(
            holds(tool, &server, || server.points() == sample.points),
            "{tool} of {from}: the points differ\n{}",
            server.log()
        );
        assert_eq!(server.databases(), DATABASES);
        if tool == "snap" {
            server.expect_no_errors();
        }
    }
}

#[test]
fn a_policy_and_a_shard_of_a_portable_backup_come_back_alone_and_under_other_names() {
    let sample = SAMPLE.get();
    let (_folder, server) = Influxd::empty(Index::Tsi1);
    let of_days: Vec<&Shard> = sample
        .shards
        .iter()
        .filter(|shard| shard.1 == DAYS)
        .collect();
    let (id, start): (u64, Timestamp) = (of_days[1].2, of_days[1].3.parse().expect("a time"));
    let start = i64::try_from(start.as_nanosecond()).expect("a time of influxd's");
    let within = |point: &String| (start..start + DAY).contains(&time_of(point));
    let one: Vec<String> = sample.points_in(DAYS).into_iter().filter(within).collect();
    assert_eq!(one.len(), 8 * 3);
    let is = |tool: &str, db: &str, rp: &str, expected: &[String]| {
        let log = || server.log();
        assert!(
            holds(tool, &server, || server.points_in(db, rp) == expected),
            "{tool} {db}: the points differ\n{}",
            log()
        );
        assert_eq!(server.policies(db), [rp]);
    };
    for (tool, from) in [("snap", "snap"), ("snap", "influxd"), ("influxd", "snap")] {
        let dir = sample.path(&format!("{from}_portable"));
        let (rp_db, new_db, shard_db) = (
            format!("{tool} {from} rp"),
            format!("{tool} {from} new"),
            format!("{tool} {from} one"),
        );
        let go = |flags: &[&str]| {
            restore(
                tool,
                &server,
                &dir,
                &[&["-portable", "-db", "plain", "-rp", DAYS], flags].concat(),
            )
        };
        go(&["-newdb", &rp_db]);
        is(tool, &rp_db, DAYS, &sample.points_in(DAYS));
        // influxd's client cannot write the tar for a name that is not of ASCII.
        let new_rp = if tool == "snap" { "días" } else { "dias" };
        go(&["-newdb", &new_db, "-newrp", new_rp]);
        is(tool, &new_db, new_rp, &sample.points_in(DAYS));
        go(&["-newdb", &shard_db, "-shard", &id.to_string()]);
        is(tool, &shard_db, DAYS, &one);
        if tool == "snap" {
            assert_eq!(
                server
                    .shards()
                    .iter()
                    .filter(|shard| shard.0 == shard_db)
                    .count(),
                1
            );
            server.expect_no_errors();
        }
    }
}

/// Points that make a TSM file of more than a megabyte: some that deflate cannot shrink, and some
/// that it can.
fn load_blocks(server: &Influxd) {
    let mut random = 1_u64;
    for host in 0..10 {
        let mut lines = String::new();
        for nth in 0..10_000_i64 {
            random = random
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let noise = random >> 11;
            let state = ["idle", "busy", "gone"][(nth / 7 % 3) as usize];
            let time = START + nth * SECOND;
            lines += &format!("m,host={host} noise=0.{noise},state=\"{state}\",n={nth}i {time}\n");
        }
        server.write("blocks", "autogen", &lines);
    }
}

#[test]
fn either_tool_restores_a_shard_that_was_compressed_in_several_blocks() {
    let (folder, server) = Influxd::empty(Index::Inmem);
    server.execute("CREATE DATABASE blocks");
    load_blocks(&server);
    let dir = folder.path().join("backup");
    back_up("snap", "portable", &server, &dir, &[]);
    let record = tree::files(&dir.join(".snap"))
        .into_iter()
        .find_map(|(name, text)| name.ends_with(".json").then_some(text))
        .expect("a record");
    let record: Value = serde_json::from_slice(&record).expect("JSON");
    let blocks = &record["shards"][0]["file"]["blocks"];
    let words = blocks["compressed"].as_str().expect("where blocks are");
    assert!(words.split([' ', '*']).count() > 2, "{blocks}");

    let points = server.points_of("blocks");
    for tool in ["influxd", "snap"] {
        let flags = ["-portable", "-db", "blocks", "-newdb", tool];
        restore(tool, &server, &dir, &flags);
        let expected = renamed(&points, "blocks", tool);
        assert!(
            holds(tool, &server, || server.points_of(tool) == expected),
            "{tool}: the points differ\n{}",
            server.log()
        );
    }
}

#[test]
fn a_portable_backup_comes_back_into_the_directories_of_a_stopped_server() {
    let sample = SAMPLE.get();
    for (from, index) in [("snap_chain", Index::Inmem), ("influxd_chain", Index::Tsi1)] {
        let folder = folder();
        let flags = ["-portable", "-host", &nobody(), "-index", index.name()];
        restore_into(folder.path(), &flags, &sample.path(from))
            .run()
            .expect(0);
        let server = Influxd::start(folder.path(), index);
        assert!(
            server.points() == sample.later,
            "{from}: the points differ\n{}",
            server.log()
        );
    }
}

#[test]
fn a_portable_backup_and_two_increments_come_back_whole_where_influxd_brings_the_last_files_alone()
{
    let sample = SAMPLE.get();
    assert_ne!(sample.later, sample.points);
    for (from, index) in [("snap_chain", Index::Tsi1), ("influxd_chain", Index::Inmem)] {
        let chain = sample.path(from);
        let sets = tree::names(&chain)
            .iter()
            .filter(|name| name.ends_with(".manifest"))
            .count();
        assert_eq!(sets, 3, "{from}");
        let (_folder, server) = Influxd::empty(index);
        let stderr = restore("snap", &server, &chain, &["-portable"]);
        assert!(
            server.points() == sample.later,
            "{from}: the points differ:\n{}",
            server.log()
        );
        assert!(
            stderr.contains("put together from a backup and later increments"),
            "{stderr}"
        );
        server.expect_no_errors();
    }
    let (_folder, server) = Influxd::empty(Index::Inmem);
    restore(
        "influxd",
        &server,
        &sample.path("influxd_chain"),
        &["-portable"],
    );
    // That it is not all of them is why snap says it puts sets together; the first is long there
    // when the last is.
    thread::sleep(Duration::from_secs(1));
    let points: BTreeSet<String> = server.points().into_iter().collect();
    assert!(
        points.len() < sample.later.len() / 2,
        "influxd brought {} points of {}",
        points.len(),
        sample.later.len()
    );
}

#[test]
fn each_set_of_a_directory_of_both_tools_and_layouts_is_found_by_its_name() {
    let sample = SAMPLE.get();
    let dir = sample.path("mixed");
    let (_folder, server) = Influxd::empty(Index::Inmem);
    let stem = |name: &String, suffix: &str| name.strip_suffix(suffix).map(str::to_owned);
    let names = tree::names(&dir);
    let portable: Vec<String> = names
        .iter()
        .filter_map(|name| stem(name, ".manifest"))
        .collect();
    let recorded: Vec<String> = tree::names(&dir.join(".snap"))
        .iter()
        .filter_map(|name| stem(name, ".json"))
        .collect();
    let [by_influxd, by_snap] = &portable[..] else {
        panic!("{names:?}")
    };
    let [legacy, _] = &recorded[..] else {
        panic!("{recorded:?}")
    };
    assert!(
        names.contains(&"meta.00".to_owned()) && names.contains(&"meta.01".to_owned()),
        "{names:?}"
    );
    assert!(recorded.contains(by_snap) && !recorded.contains(by_influxd));
    let named = |set: &str, db: &str, code: i32| {
        snap([
            "restore",
            "-portable",
            "-host",
            &server.host(),
            "-db",
            "plain",
            "-newdb",
            db,
            utf8(&dir),
            set,
        ])
        .expect(code)
    };
    for (nth, set) in ["meta.00", legacy, by_influxd, by_snap]
        .into_iter()
        .enumerate()
    {
        let db = format!("set {nth}");
        named(set, &db, 0);
        assert!(
            server.points_of(&db) == renamed(&sample.mixed[nth], "plain", &db),
            "{set}: the points differ"
        );
    }
    named("latest", "the latest", 0);
    restore(
        "snap",
        &server,
        &dir,
        &["-online", "-db", "plain", "-newdb", "unnamed"],
    );
    // The beginning that the last has for itself.
    let differ = by_snap
        .bytes()
        .zip(by_influxd.bytes())
        .position(|(a, b)| a != b)
        .expect("two names");
    let prefix = if legacy.starts_with(&by_snap[..=differ]) {
        by_snap
    } else {
        &by_snap[..=differ]
    };
    named(prefix, "by prefix", 0);
    for db in ["the latest", "unnamed", "by prefix"] {
        assert!(
            server.points_of(db) == renamed(&sample.mixed[3], "plain", db),
            "{db}: the points differ"
        );
    }
    let databases = server.databases();
    let run = named("20", "none", 2);
    assert!(
        run.stderr.contains("more than one set") && run.stderr.contains(by_influxd.as_str()),
        "{}",
        run.stderr
    );
    let run = named("1999", "none", 10);
    assert!(
        run.stderr.contains("1999") && run.stderr.contains(by_snap.as_str()),
        "{}",
        run.stderr
    );
    assert_eq!(server.databases(), databases);
    server.expect_no_errors();
}

#[test]
fn backups_of_the_same_second_get_names_of_their_own_and_influxd_restores_each() {
    let folder = folder();
    let server = Influxd::start(&folder.path().join("source"), Index::Inmem);
    load(&server);
    let points = server.points();
    let dir = folder.path().join("backup");
    let host = server.host();
    let flags = [
        "backup",
        "-portable",
        "-host",
        &host,
        "-retry-lock",
        "1m",
        utf8(&dir),
    ];
    next_second();
    let both: Vec<Running> = (0..2).map(|_| Snap::new(flags).spawn()).collect();
    both.into_iter().for_each(|run| drop(run.wait().expect(0)));
    snap(flags).expect(0);
    let names = tree::names(&dir);
    let stamps: Vec<&str> = names
        .iter()
        .filter_map(|name| name.strip_suffix(".manifest"))
        .collect();
    assert_eq!(stamps.len(), 3, "{names:?}");
    for stamp in stamps {
        let alone = folder.path().join(stamp);
        fs::create_dir(&alone).expect("a directory");
        for name in names.iter().filter(|name| name.starts_with(stamp)) {
            fs::copy(dir.join(name), alone.join(name)).expect("a copy");
        }
        let manifest: Value = serde_json::from_slice(
            &fs::read(alone.join(format!("{stamp}.manifest"))).expect("a manifest"),
        )
        .expect("JSON");
        assert_eq!(manifest["limited"], false);
        let (_folder, server) = Influxd::empty(Index::Inmem);
        restore("influxd", &server, &alone, &["-portable"]);
        assert!(server.comes_to(&points), "{stamp}: the points differ");
    }
}

#[test]
fn users_grants_queries_and_subscriptions_are_left_out_and_counted() {
    let folder = folder();
    let source = Influxd::start(&folder.path().join("source"), Index::Inmem);
    source.execute(
        "CREATE DATABASE d; CREATE DATABASE e; CREATE DATABASE _internal; \
         CREATE USER root WITH PASSWORD 'x' WITH ALL PRIVILEGES; CREATE USER u WITH PASSWORD 'y'; CREATE USER v WITH PASSWORD 'z'; \
         GRANT READ ON d TO u; GRANT ALL ON e TO u; GRANT WRITE ON d TO v; \
         CREATE CONTINUOUS QUERY q1 ON d BEGIN SELECT mean(v) INTO d.autogen.o FROM d.autogen.m GROUP BY time(1h) END; \
         CREATE CONTINUOUS QUERY q2 ON e BEGIN SELECT mean(v) INTO e.autogen.o FROM e.autogen.m GROUP BY time(1h) END; \
         CREATE SUBSCRIPTION s ON d.autogen DESTINATIONS ALL 'http://127.0.0.1:9'",
    );
    for db in ["d", "e", "_internal"] {
        source.write(db, "", &format!("m v=1 {START}"));
    }
    let dir = folder.path().join("backup");
    back_up("influxd", "portable", &source, &dir, &[]);
    let (_folder, server) = Influxd::empty(Index::Inmem);
    let stderr = restore("snap", &server, &dir, &["-portable", "-verbose"]);
    let warned = |texts: &[&str]| {
        let lines = stderr.lines().filter(|line| line.starts_with("warning: "));
        lines
            .filter(|line| texts.iter().all(|text| line.contains(text)))
            .count()
    };
    for texts in [
        &["3 users", "3 grants"][..],
        &["2 continuous queries"],
        &["1 subscription"],
        &["_internal", "1 shard group"],
    ] {
        assert_eq!(warned(texts), 1, "{texts:?}: {stderr}");
    }
    for statement in [
        "CREATE CONTINUOUS QUERY q1 ON d",
        "CREATE SUBSCRIPTION \"s\" ON \"d\".\"autogen\"",
        "GRANT READ ON \"d\" TO \"u\"",
    ] {
        assert!(stderr.contains(statement), "{statement}: {stderr}");
    }
    assert!(server.points().len() == 2 && server.databases() == ["d", "e"]);
    for ask in [
        "SHOW SUBSCRIPTIONS",
        "SHOW USERS",
        "SHOW CONTINUOUS QUERIES",
    ] {
        let answer = server.query("", ask).to_string();
        assert!(!answer.contains("\"values\""), "{ask}: {answer}");
    }
    // Counted is what is restored, and no more.
    let stderr = restore(
        "snap",
        &server,
        &dir,
        &["-portable", "-db", "e", "-newdb", "f"],
    );
    assert!(
        stderr.contains("1 continuous quer") && !stderr.contains("subscription"),
        "{stderr}"
    );
}
