//! What `snap stats` counts is what a real influxd says of the same data: values of each field,
//! types, tags, series and times.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use crate::support::data::{DATABASES, START, flush};
use crate::support::influxd::{Index, Influxd, quote};
use crate::support::process::{Run, Snap, snap};
use crate::support::source::{Source, back_up};
use crate::support::time::{HOUR, WEEK};
use crate::support::utf8;

/// What is said of a measurement.
#[derive(Debug, Default, PartialEq)]
struct Measurement {
    /// Of each field, how many values there are and of which type they are.
    fields: BTreeMap<String, (u64, String)>,
    times: Option<(i64, i64)>,
}

/// By database, policy and name.
type Measurements = BTreeMap<[String; 3], Measurement>;

/// The lines of a kind.
fn lines<'a>(messages: &'a [Value], kind: &'a str) -> impl Iterator<Item = &'a Value> {
    messages
        .iter()
        .filter(move |message| message["message_type"] == kind)
}

fn text(value: &Value) -> String {
    value.as_str().expect("a text").to_owned()
}

fn number(value: &Value) -> u64 {
    value.as_u64().expect("a number")
}

fn name(message: &Value) -> [String; 3] {
    ["database", "retention_policy", "measurement"].map(|field| text(&message[field]))
}

fn nanos(value: &Value) -> Option<i64> {
    let time: jiff::Timestamp = value.as_str()?.parse().expect("a time");
    Some(i64::try_from(time.as_nanosecond()).expect("a time that fits"))
}

/// Of measurements that have values, what a run of `snap stats -json` says.
fn counted(messages: &[Value]) -> Measurements {
    let of = |message: &Value| {
        let fields = message["fields"].as_array().expect("fields").iter();
        let fields = fields.map(|field| {
            let [of_type] = &field["types"].as_array().expect("types")[..] else {
                panic!("a type: {field}");
            };
            let values = number(&field["values"]);
            (text(&field["field"]), (values, text(&of_type["type"])))
        });
        Measurement {
            fields: fields.collect(),
            times: nanos(&message["first_time"]).zip(nanos(&message["last_time"])),
        }
    };
    lines(messages, "measurement")
        .filter(|message| number(&message["values"]) > 0)
        .map(|message| (name(message), of(message)))
        .collect()
}

fn rows(answer: &Value) -> impl Iterator<Item = (&Value, &Vec<Value>)> {
    let series = answer["results"][0]["series"].as_array();
    series.into_iter().flatten().flat_map(|series| {
        let rows = series["values"].as_array().expect("rows").iter();
        rows.map(move |row| (&series["columns"], row.as_array().expect("a row")))
    })
}

/// What a server answers of the measurements that have values.
fn answered(server: &Influxd) -> Measurements {
    let mut found = Measurements::new();
    for db in DATABASES {
        let answer = server.query(db, "SHOW MEASUREMENTS");
        let measurements: Vec<String> = rows(&answer).map(|(_, row)| text(&row[0])).collect();
        for rp in server.policies(db) {
            for measurement in &measurements {
                let from = format!("{}.{}", quote(&rp), quote(measurement));
                let of = measurement_of(server, db, &from);
                if !of.fields.is_empty() {
                    let name = [db.to_owned(), rp.clone(), measurement.clone()];
                    found.insert(name, of);
                }
            }
        }
    }
    found
}

fn measurement_of(server: &Influxd, db: &str, from: &str) -> Measurement {
    let mut of = Measurement::default();
    let types = server.query(db, &format!("SHOW FIELD KEYS FROM {from}"));
    let types: BTreeMap<String, String> = rows(&types)
        .map(|(_, row)| (text(&row[0]), text(&row[1])))
        .collect();
    // Without bounds, aggregates end now.
    let all = "WHERE time >= -9223372036854775806 AND time <= 9223372036854775806";
    let counts = server.query(db, &format!("SELECT count(*) FROM {from} {all}"));
    for (columns, row) in rows(&counts) {
        let columns = columns.as_array().expect("columns").iter();
        for (column, count) in columns.zip(row).skip(1) {
            let column = text(column);
            let field = column.strip_prefix("count_").expect("a count");
            if count.as_u64().is_some_and(|count| count > 0) {
                let found = (number(count), types[field].clone());
                of.fields.insert(field.to_owned(), found);
            }
        }
    }
    let end = |order: &str| {
        let answer = server.query(
            db,
            &format!("SELECT * FROM {from} {all} ORDER BY time {order} LIMIT 1"),
        );
        rows(&answer)
            .map(|(_, row)| row[0].as_i64().expect("a time"))
            .next()
    };
    of.times = end("ASC").zip(end("DESC"));
    of
}

fn stats(args: &[&str]) -> Vec<Value> {
    snap([&["stats", "-json"], args].concat())
        .expect(0)
        .messages()
}

fn stats_of(root: &Path, flags: &[&str]) -> Run {
    Snap::new(["stats", "-json"])
        .directories(root)
        .args(flags)
        .run()
}

fn sum(messages: &[Value], kind: &str, field: &str) -> u64 {
    lines(messages, kind).map(|line| number(&line[field])).sum()
}

/// Makes sure that series and values of tags are those that the index of a server has.
fn assert_indexed(messages: &[Value], server: &Influxd, index: Index) {
    for db in DATABASES {
        let series = server.series(db).len() as u64;
        let of_database = lines(messages, "database").find(|line| line["database"] == db);
        let counted = of_database.map_or(0, |line| number(&line["series"]));
        assert_eq!(counted, series, "{db}");
        if index == Index::Tsi1 {
            // It goes on to list values of tags of which no series is left.
            continue;
        }
        let mut tags: BTreeMap<(String, String), BTreeSet<u64>> = BTreeMap::new();
        for line in lines(messages, "measurement").filter(|line| line["database"] == db) {
            for tag in line["tags"].as_array().expect("tags") {
                let key = (text(&line["measurement"]), text(&tag["tag"]));
                tags.entry(key).or_default().insert(number(&tag["values"]));
            }
        }
        for ((measurement, tag), counted) in tags {
            let (from, key) = (quote(&measurement), quote(&tag));
            let values = server.query(db, &format!("SHOW TAG VALUES FROM {from} WITH KEY = {key}"));
            let values: BTreeSet<String> = rows(&values).map(|(_, row)| text(&row[1])).collect();
            // Policies can have some of them each.
            let most = counted.last().copied().unwrap_or(0);
            let is_one = counted.len() == 1;
            assert!(
                most == values.len() as u64 || !is_one && most < values.len() as u64,
                "{db} {measurement} {tag}: {counted:?} {values:?}"
            );
        }
    }
}

fn agrees_with(index: Index) {
    let source = Source::new(index);
    let (legacy, portable) = (source.path("legacy"), source.path("portable"));
    back_up(&source.server, &legacy, &[]);
    let expected = answered(&source.server);
    assert!(expected.len() > 8, "{expected:?}");
    back_up(&source.server, &portable, &["-portable"]);
    let of_server = stats(&["-exact", "-host", &source.server.host()]);
    let of_legacy = stats(&["-exact", utf8(&legacy)]);
    let of_portable = stats(&["-exact", utf8(&portable)]);
    for messages in [&of_server, &of_legacy, &of_portable] {
        assert!(
            counted(messages) == expected,
            "{:?}\n{expected:?}",
            counted(messages)
        );
        assert_indexed(messages, &source.server, index);
    }
    // Deletes are carried out in a portable backup, and kept beside the files in the other.
    assert!(sum(&of_legacy, "database", "deleted_values") > 0);
    assert_eq!(sum(&of_portable, "database", "deleted_values"), 0);

    // What indexes alone tell.
    for (backup, exact) in [(&legacy, &of_legacy), (&portable, &of_portable)] {
        let estimated = stats(&[utf8(backup)]);
        for (kind, field) in [
            ("database", "series"),
            ("retention_policy", "shards"),
            ("retention_policy", "measurement_count"),
            ("database", "block_count"),
            ("database", "size"),
        ] {
            let of = [&estimated, exact].map(|messages| sum(messages, kind, field));
            assert_eq!(of[0], of[1], "{kind} {field}");
        }
        let values = [&estimated, exact].map(|messages| sum(messages, "database", "values"));
        let error = values[0] as f64 / values[1] as f64 - 1.0;
        assert!(error.abs() < 0.2, "{values:?}");
    }

    // Of a stopped server too, and of what only its WAL has.
    source
        .server
        .write("plain", "", &format!("late,t=x v=1i {}", START + HOUR));
    let expected = answered(&source.server);
    let root = source.path("source");
    source.server.stop();
    let of_directories = stats_of(&root, &["-exact"]).expect(0).messages();
    assert!(counted(&of_directories) == expected);
    let server = Influxd::start(&root, index);
    assert_indexed(&of_directories, &server, index);
    stats_of(&root, &[]).expect(6);
}

#[test]
fn what_is_counted_is_what_an_inmem_server_answers() {
    agrees_with(Index::Inmem);
}

#[test]
fn what_is_counted_is_what_a_tsi1_server_answers() {
    agrees_with(Index::Tsi1);
}

#[test]
fn an_increment_counts_with_what_it_builds_on_and_overlapping_files_once() {
    let source = Source::loaded(Index::Inmem);
    let backup = source.path("backup");
    back_up(&source.server, &backup, &[]);
    // Some points again with other values, and some new ones.
    let points = (0..500).map(|nth| {
        let time = START + nth * 10_000_000_000;
        format!(
            "cpu,host=a,zone=z1 idle=7 {time}\nlate,t=x v=1i {}\n",
            time + WEEK
        )
    });
    let points: String = points.collect();
    source.server.write("plain", "", &points);
    flush(&source.server);
    back_up(&source.server, &backup, &["-since", "last"]);
    let expected = answered(&source.server);
    let messages = stats(&["-exact", utf8(&backup)]);
    assert!(counted(&messages) == expected);
    // The index tells that files overlap, if not how many of their points are the same.
    let estimated = stats(&[utf8(&backup)]);
    let values = [&estimated, &messages].map(|messages| sum(messages, "database", "values"));
    let error = values[0] as f64 / values[1] as f64 - 1.0;
    assert!(error.abs() < 0.2, "{values:?}");
}

#[test]
fn types_that_differ_between_shards_are_told() {
    let (folder, server) = Influxd::empty(Index::Inmem);
    server.execute("CREATE DATABASE d WITH SHARD DURATION 1h");
    for (hour, value) in [(0, "1"), (1, "1i"), (2, "2")] {
        server.write(
            "d",
            "",
            &format!("m,t=x v={value},w=1 {}", START + hour * HOUR),
        );
    }
    let backup = folder.path().join("backup");
    back_up(&server, &backup, &[]);
    let messages = stats(&["-exact", utf8(&backup)]);
    let [measurement] = &lines(&messages, "measurement").collect::<Vec<_>>()[..] else {
        panic!("a measurement: {messages:?}");
    };
    let [v, w] = &measurement["fields"].as_array().expect("fields")[..] else {
        panic!("two fields: {measurement}");
    };
    assert_eq!(
        (&v["conflict"], &w["conflict"]),
        (&"shards".into(), &Value::Null)
    );
    let types = v["types"].as_array().expect("types").iter();
    let types: Vec<_> = types
        .map(|of| (text(&of["type"]), number(&of["shards"])))
        .collect();
    assert_eq!(types, [("float".to_owned(), 2), ("integer".to_owned(), 1)]);
    let run = snap(["stats", utf8(&backup)]).expect(0);
    assert!(
        run.stderr.contains("field 'v' of measurement 'm' (d.autogen) has several types: float in 2 shards, integer in shard"),
        "{}",
        run.stderr
    );
}
