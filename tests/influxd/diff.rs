//! `snap diff` says of servers, directories and sets that they are the same where they are, and
//! names what a server did not have before, has no more, or has with another value.

use std::path::Path;

use serde_json::Value;

use crate::support::data::START;
use crate::support::influxd::{Index, Influxd};
use crate::support::process::snap;
use crate::support::source::{Source, back_up, index_flags, restore};
use crate::support::time::HOUR;
use crate::support::utf8;

/// Points of each host, an hour apart.
const POINTS: i64 = 60;
const HOSTS: [&str; 3] = ["a", "b", "c"];

/// The lines of a comparison, the last of which is its summary.
fn diff(sides: [&str; 2], flags: &[&str], code: i32) -> Vec<Value> {
    let run = snap([&["diff", "-json"], flags, &sides].concat()).expect(code);
    run.messages()
}

fn summary(lines: &[Value]) -> &Value {
    lines.last().expect("a summary")
}

/// The line of a measurement.
fn of<'a>(lines: &'a [Value], measurement: &str) -> &'a Value {
    let mut lines = lines.iter();
    let found = lines
        .find(|line| line["message_type"] == "measurement" && line["measurement"] == measurement);
    found.expect("a measurement")
}

fn expect_same(a: &str, b: &str) -> u64 {
    let lines = diff([a, b], &[], 0);
    let summary = summary(&lines);
    assert_eq!(summary["state"], "same", "{summary}");
    assert_eq!(summary["missing"], Value::Array(Vec::new()));
    let points = summary["same_point_count"].as_u64().expect("a number");
    assert!(points > 0, "{summary}");
    points
}

fn server(server: &Influxd) -> String {
    format!("influxd://{}", server.host())
}

fn directories(root: &Path) -> String {
    format!("influxd://{}", utf8(root))
}

fn time(nth: i64) -> i64 {
    START + nth * HOUR
}

fn lines() -> String {
    let mut lines = String::new();
    for nth in 0..POINTS {
        for host in HOSTS {
            let at = time(nth);
            lines.push_str(&format!("cpu,host={host} usage={nth},n={nth}i {at}\n"));
        }
        lines.push_str(&format!("mem free={nth}i {}\n", time(nth)));
    }
    lines
}

/// The sample and a small database `d`, of which some is deleted, are backed up and restored.
fn what_was_restored_is_the_same(index: Index) {
    let source = Source::new(index);
    source
        .server
        .execute("CREATE DATABASE d WITH SHARD DURATION 1d");
    source.server.write("d", "", &lines());
    let backup = source.path("backup");
    back_up(&source.server, &backup, &[]);
    let backup = utf8(&backup);
    let points = expect_same(backup, &server(&source.server));

    let target = source.path("target");
    restore(Path::new(backup), &target, index_flags(index));
    assert_eq!(expect_same(backup, &directories(&target)), points);

    let restored = Influxd::start(&target, index);
    assert_eq!(
        expect_same(&server(&source.server), &server(&restored)),
        points
    );
    let again = source.path("again");
    back_up(&restored, &again, &["-portable"]);
    let newest = format!("{}::latest", utf8(&again));
    assert_eq!(expect_same(backup, &newest), points);

    changes_are_named(backup, &restored);
    restored.stop();
    // From the WAL too.
    let changed = diff([backup, &directories(&target)], &[], 1);
    expect_changes(&changed);
}

#[test]
fn a_set_of_one_database_is_the_same_as_what_was_restored_from_it() {
    let index = Index::Inmem;
    let source = Source::new(index);
    let backup = source.path("backup");
    back_up(&source.server, &backup, &["-database", "plain"]);
    let target = source.path("target");
    restore(&backup, &target, index_flags(index));
    let backup = utf8(&backup);
    let expect_nothing_said = |other: &str| {
        for sides in [[backup, other], [other, backup]] {
            let lines = diff(sides, &[], 0);
            let said = lines.iter().find(|line| {
                line["message_type"] == "retention_policy" || line["level"] == "warning"
            });
            assert_eq!(said, None, "{sides:?}");
        }
    };
    expect_nothing_said(&directories(&target));
    let restored = Influxd::start(&target, index);
    expect_nothing_said(&server(&restored));

    // Points of other databases are no less different for that.
    let lines = diff([backup, &server(&source.server)], &[], 1);
    let is_whole = |line: &&Value| line["is_whole_database"] == true && line["only_in"] == "B";
    assert!(lines.iter().any(|line| is_whole(&line)), "{lines:#?}");
}

/// One point is changed, one deleted, a series dropped, and a point added.
fn changes_are_named(backup: &str, restored: &Influxd) {
    restored.write(
        "d",
        "",
        &format!(
            "cpu,host=a usage=99 {}\ncpu,host=d usage=1 {}",
            time(5),
            time(6)
        ),
    );
    let delete = format!("DELETE FROM cpu WHERE host = 'b' AND time = {}", time(7));
    restored.query("d", &delete);
    restored.query("d", "DROP SERIES FROM cpu WHERE host = 'c'");
    let changed = diff([backup, &server(restored)], &[], 1);
    expect_changes(&changed);
    // None of it is in the other measurement, or at other times.
    let both = [backup, &server(restored)];
    diff(both, &["-database", "d", "-measurement", "mem"], 0);
    diff(
        both,
        &[
            "-database",
            "d",
            "-where",
            "host=a",
            "-end",
            &rfc3339(time(4)),
        ],
        0,
    );
}

fn expect_changes(lines: &[Value]) {
    let summary = summary(lines);
    assert_eq!(summary["state"], "different", "{summary}");
    let differ: Vec<&Value> = lines.iter().filter(|line| line["same"] == false).collect();
    let [cpu] = differ[..] else {
        panic!("one measurement: {differ:?}");
    };
    assert_eq!(
        (&cpu["database"], &cpu["measurement"]),
        (&"d".into(), &"cpu".into())
    );
    assert_eq!(cpu["same_point_count"], 2 * POINTS - 2, "{cpu}");

    let changed = &cpu["different"];
    assert_eq!(changed["point_count"], 1, "{cpu}");
    let example = &changed["examples"][0];
    assert_eq!(example["series_key"], "cpu,host=a");
    assert_eq!(example["first_time"], rfc3339(time(5)));
    let values = serde_json::json!({"field": "usage", "value_in_a": "5.0", "value_in_b": "99.0"});
    assert_eq!(example["difference"], values);

    let lost = &cpu["only_in_a"];
    assert_eq!(lost["point_count"], POINTS + 1, "{cpu}");
    let examples = lost["examples"].as_array().expect("examples");
    assert!(examples.iter().any(|example| {
        let is_deleted = example["series_key"] == "cpu,host=b" && example["point_count"] == 1;
        is_deleted && example["first_time"] == rfc3339(time(7))
    }));
    assert!(
        examples
            .iter()
            .any(|example| example["series_key"] == "cpu,host=c")
    );
    // However many shards they are in.
    let counts = (&lost["series_count"], &lost["whole_series_count"]);
    assert_eq!(counts, (&2.into(), &1.into()));

    let added = &cpu["only_in_b"];
    assert_eq!(
        (&added["point_count"], &added["whole_series_count"]),
        (&1.into(), &1.into())
    );
    assert_eq!(added["examples"][0]["series_key"], "cpu,host=d");
    assert_eq!(added["first_time"], rfc3339(time(6)));
}

fn rfc3339(nanos: i64) -> String {
    let time = jiff::Timestamp::from_nanosecond(nanos.into()).expect("a time");
    time.to_string()
}

#[test]
fn what_was_restored_is_the_same_with_inmem() {
    what_was_restored_is_the_same(Index::Inmem);
}

#[test]
fn what_was_restored_is_the_same_with_tsi1() {
    what_was_restored_is_the_same(Index::Tsi1);
}

#[test]
fn a_server_that_has_more_contains_the_backup_and_not_the_reverse() {
    let (folder, source) = Influxd::empty(Index::Tsi1);
    source.execute("CREATE DATABASE d WITH SHARD DURATION 1d");
    source.write("d", "", &lines());
    let backup = folder.path().join("backup");
    back_up(&source, &backup, &[]);
    let (backup, server) = (utf8(&backup), server(&source));
    diff([backup, &server], &["-contains"], 0);

    source.write(
        "d",
        "",
        &format!("cpu,host=e usage=1 {0}\nmem used=1i {0}", time(3)),
    );
    source.execute("CREATE DATABASE other");
    let lines = diff([backup, &server], &["-contains"], 0);
    assert_eq!(summary(&lines)["only_in_b_point_count"], 1, "{lines:?}");
    let lines = diff([&server, backup], &["-contains"], 1);
    let found = summary(&lines);
    let counts = [
        &found["only_in_a_point_count"],
        &found["different_point_count"],
    ];
    assert_eq!(counts, [1, 1], "{found}");
    assert_eq!(found["one_sided_retention_policy_count"], 1, "{found}");
    diff([backup, &server], &[], 1);
}

#[test]
fn the_borders_and_ids_of_shards_make_no_difference() {
    let (_folder, source) = Influxd::empty(Index::Inmem);
    source.execute(
        "CREATE DATABASE d WITH SHARD DURATION 1d; \
         CREATE DATABASE copy WITH SHARD DURATION 7h NAME \"other\"",
    );
    for database in ["d", "copy"] {
        source.write(database, "", &lines());
    }
    let server = server(&source);
    let renamed = [
        "-database",
        "d",
        "-newdb",
        "copy",
        "-retention",
        "autogen",
        "-newrp",
        "other",
    ];
    let lines = diff([&server, &server], &renamed, 0);
    let found = summary(&lines);
    assert_eq!(found["same_point_count"], 4 * POINTS, "{found}");
    assert!(
        found["a"]["shard_count"].as_u64() < found["b"]["shard_count"].as_u64(),
        "{found}"
    );

    source.query(
        "copy",
        &format!("DELETE FROM mem WHERE time = {}", time(20)),
    );
    let lines = diff([&server, &server], &renamed, 1);
    let mem = of(&lines, "mem");
    assert_eq!(mem["only_in_a"]["point_count"], 1, "{mem}");
    assert_eq!(mem["only_in_a"]["first_time"], rfc3339(time(20)));
    assert_eq!(of(&lines, "cpu")["same"], true);
}
