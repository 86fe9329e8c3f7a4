//! A varied data set: every field type, awkward names, many shards, tombstones.

use std::fmt::Write as _;
use std::io::{self, Read, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use tempfile::TempDir;

use super::influxd::{Index, Influxd, quote, time_of};
use super::time::{DAY, HOUR, MONDAY, SECOND};
use super::{folder, service, tree};

/// The databases of the sample.
pub const DATABASES: [&str; 5] = ["plain", "db.dot", "名前 db", "a'b \"c", "-x"];

/// The retention policies of `plain` besides `autogen`, each with its shard duration.
pub const POLICIES: [(&str, &str); 3] =
    [("two weeks", "1d"), ("p.q", "1h"), ("größe \"x\"", "52w")];

/// The time most points are near: 2018-06-04T00:00:00Z, a Monday and so the start of a shard under
/// `autogen`.
pub const START: i64 = 1_528_070_400 * SECOND;

/// How many daily shards there are under `two weeks`.
const DAYS: i64 = 100;

/// How long a shard may go on answering nothing.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often something is tried that has to be done within a second or two.
const ATTEMPTS: usize = 20;

/// How many shards are flushed at a time.
const FLUSHERS: usize = 4;

/// Creates [`DATABASES`] and [`POLICIES`] and writes more than 5,000 points into more than 100
/// shards.
///
/// No policy ever lets data expire.
pub fn load_sample(server: &Influxd) {
    let mut statements = String::new();
    for db in DATABASES {
        writeln!(statements, "CREATE DATABASE {};", quote(db)).expect("writing to a string");
    }
    for (rp, duration) in POLICIES {
        let rp = quote(rp);
        writeln!(statements, "CREATE RETENTION POLICY {rp} ON plain DURATION 0s REPLICATION 1 SHARD DURATION {duration};")
            .expect("writing to a string");
    }
    server.execute(&statements);
    server.write("plain", "autogen", &many_points());
    server.write("plain", "autogen", &every_type());
    server.write("plain", "autogen", &far_times());
    server.write("db.dot", "autogen", &few_points("dotted"));
    server.write("plain", "two weeks", &daily_points());
    server.write("plain", "p.q", &hourly_points());
    server.write("plain", "größe \"x\"", &few_points("size"));
    for db in &DATABASES[2..] {
        server.write(db, "autogen", &few_points("few"));
    }
}

/// A server below `root` with a database `d` of one point.
pub fn small_server(root: &Path) -> Influxd {
    let server = Influxd::start(root, Index::Inmem);
    server.execute("CREATE DATABASE d");
    server.write("d", "", &format!("m v=1 {MONDAY}"));
    server
}

/// Creates a database `d` of so many shards, an hour and 20 points each.
pub fn load_hours(server: &Influxd, hours: i64) {
    server.execute("CREATE DATABASE d WITH SHARD DURATION 1h");
    let points = (0..hours * 20)
        .map(|i| format!("m,t=t{} v={i},s=\"{i}\" {}\n", i % 3, START + i * HOUR / 20));
    server.write("d", "", &points.collect::<String>());
}

/// Of the points of [`load_hours`], those of all shards but the one that is the `nth`.
pub fn without_hour(points: &[String], nth: i64) -> Vec<String> {
    points
        .iter()
        .filter(|point| (time_of(point) - START) / HOUR != nth)
        .cloned()
        .collect()
}

/// Moves what is in the caches to TSM files and then deletes points, series and measurements.
///
/// Each kind of deletion leaves points behind. The server compacts files with tombstones after some
/// seconds, so [`tombstones`] are sure to be there only right after this.
pub fn delete_some(server: &Influxd) {
    flush(server);
    let (from, to) = (START + 100 * SECOND, START + 900 * SECOND);
    server.query(
        "plain",
        &format!("DELETE FROM cpu WHERE host = 'a' AND time >= {from} AND time < {to}"),
    );
    server.query("plain", "DROP SERIES FROM cpu WHERE host = 'gone'");
    server.query("plain", "DROP SERIES FROM daily WHERE room = 'cellar'");
    let (from, to) = (START + 10 * DAY, START + 12 * DAY);
    server.query(
        "plain",
        &format!("DELETE FROM daily WHERE time >= {from} AND time < {to}"),
    );
    server.query("plain", "DROP MEASUREMENT brief");
    server.query(
        "db.dot",
        &format!("DELETE WHERE time < {}", START + 2 * SECOND),
    );
    server.query("名前 db", "DROP SERIES WHERE kind = 'second'");
    server.query("-x", "DROP MEASUREMENT few");
}

/// The tombstone files on disk, sorted.
pub fn tombstones(server: &Influxd) -> Vec<PathBuf> {
    let data = server.data_dir();
    let mut found = Vec::new();
    for (db, rp, id, ..) in server.shards() {
        let shard = data.join(db).join(rp).join(id.to_string());
        found.extend(
            tree::names(&shard)
                .iter()
                .filter(|name| name.ends_with(".tombstone"))
                .map(|name| shard.join(name)),
        );
    }
    found.sort();
    found
}

/// Does `work` with a server on a copy of `source`, the directories of one that was killed while it
/// had tombstones. The server carries the deletes out within seconds; where `work` says that it
/// came too late, it is done again with a fresh one.
pub fn before_deletes_are_carried_out(
    source: &Path,
    mut work: impl FnMut(&Influxd) -> bool,
) -> (TempDir, Influxd) {
    for _ in 0..ATTEMPTS {
        let folder = folder();
        let root = folder.path().join("copy");
        service::copy(source, &root);
        let server = Influxd::start(&root, Index::Inmem);
        if work(&server) && !tombstones(&server).is_empty() {
            return (folder, server);
        }
    }
    panic!("the deletes were carried out too soon {ATTEMPTS} times");
}

/// Moves what is in the caches to TSM files, by asking the snapshotter for every shard.
pub fn flush(server: &Influxd) {
    let ids: Vec<u64> = server.shards().iter().map(|shard| shard.2).collect();
    let host = server.host();
    thread::scope(|scope| {
        for ids in ids.chunks(ids.len().div_ceil(FLUSHERS).max(1)) {
            scope.spawn(|| ids.iter().for_each(|id| flush_shard(&host, *id)));
        }
    });
}

/// Asks for one shard until the answer is not empty.
pub fn flush_shard(host: &str, id: u64) {
    let started = Instant::now();
    loop {
        let failure = match read_shard(host, id) {
            Ok(0) => "no bytes".to_owned(),
            Ok(_) => return,
            Err(error) => error.to_string(),
        };
        assert!(started.elapsed() < PATIENCE, "shard {id}: {failure}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// Requests a shard and gives the length of the answer.
fn read_shard(host: &str, id: u64) -> io::Result<usize> {
    let mut stream = TcpStream::connect(host)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut request = vec![3, 0];
    request.extend_from_slice(format!("{{\"ShardID\":{id}}}\n").as_bytes());
    stream.write_all(&request)?;
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer)
}

/// Several series in one shard, the longest of several blocks; one of them not in the order of
/// time.
fn many_points() -> String {
    let mut lines = String::new();
    let mut add = |host: &str, count: i64, at: &dyn Fn(i64) -> i64| {
        for i in 0..count {
            let (time, idle) = (START + at(i), i as f64 * 0.1);
            writeln!(
                lines,
                "cpu,host={host},zone=z{} idle={idle},ticks={i}i {time}",
                count % 7
            )
            .expect("writing to a string");
        }
    };
    add("a", 2500, &|i| i * SECOND);
    add("b", 1500, &|i| i * SECOND + i * i % 977);
    add("backwards", 1000, &|i| (1000 - i) * SECOND);
    add("gone", 500, &|i| i * SECOND);
    lines
}

/// All field types with their extremes, and names and values that need escapes.
fn every_type() -> String {
    let long = "long ".repeat(4000);
    let integers = [
        i64::MIN,
        i64::MIN + 1,
        -1,
        0,
        1,
        (1 << 53) + 1,
        i64::MAX - 1,
        i64::MAX,
    ];
    let floats = [
        "0",
        "-0",
        "1",
        "0.1",
        "-2.5e-7",
        "1e21",
        "5e-324",
        "1.7976931348623157e308",
        "123456789.123456789",
    ];
    let strings = [
        "",
        " ",
        "plain",
        "ünïcödé 名前 🦀",
        r#"with \"quotes\""#,
        r"back\\slash",
        "a,b=c d",
        "two\nlines",
        long.as_str(),
    ];
    let mut lines = String::new();
    let mut add = |series: &str, field: String, i: usize| {
        let time = START + 8 * DAY + i64::try_from(i).expect("a small number") * SECOND;
        writeln!(lines, "{series} {field} {time}").expect("writing to a string");
    };
    for (i, value) in integers.iter().enumerate() {
        add("types", format!("i={value}i"), i);
    }
    for (i, value) in floats.iter().enumerate() {
        add("types", format!("f={value}"), i);
    }
    for (i, value) in strings.iter().enumerate() {
        add("types", format!("s=\"{value}\""), i);
    }
    for (i, value) in ["t", "false", "T", "False"].iter().enumerate() {
        add("types", format!("b={value}"), i);
    }
    add(r"m\,x\ y", "value=1".to_owned(), 0);
    add(
        r"dotted.measure/ment,host=a\ b,c\,d=e\=f,ü=ñ",
        r"some\ field=1i,an\,other=2i,th\=ird=3i".to_owned(),
        1,
    );
    add(
        "\"quoted\",tag=\"q\",path=C:\\dir",
        "\"field\"=true".to_owned(),
        2,
    );
    add("名前,場所=東京", "値=\"高い\"".to_owned(), 3);
    // The same name in another measurement and with another type.
    add("same", "f=\"text\",i=1.5".to_owned(), 4);
    lines
}

/// Points before 1970, around it, and far from today.
fn far_times() -> String {
    let years = [
        -270 * 365 * DAY,
        -400 * DAY,
        -1,
        0,
        1,
        230 * 365 * DAY,
        i64::MAX - 1,
    ];
    let mut lines = String::new();
    for (i, time) in years.iter().enumerate() {
        writeln!(lines, "far,nth=n{i} value={i}i {time}").expect("writing to a string");
    }
    lines
}

/// Some points of each day, and a measurement of a few days.
fn daily_points() -> String {
    let mut lines = String::new();
    for day in 0..DAYS {
        for (hour, room) in [(1, "attic"), (11, "attic"), (23, "hall"), (5, "cellar")] {
            let time = START + day * DAY + hour * HOUR;
            writeln!(lines, "daily,room={room} t={}.5,n={day}i {time}", day % 30)
                .expect("writing to a string");
        }
        if day % 20 == 7 {
            writeln!(lines, "brief note=\"day {day}\" {}", START + day * DAY)
                .expect("writing to a string");
        }
    }
    lines
}

/// A point in each of a few hours.
fn hourly_points() -> String {
    let mut lines = String::new();
    for hour in 0..6 {
        writeln!(
            lines,
            "hourly,h={hour} on={} {}",
            hour % 2 == 0,
            START + hour * HOUR
        )
        .expect("writing to a string");
    }
    lines
}

/// A few points of two series.
fn few_points(measurement: &str) -> String {
    let mut lines = String::new();
    for i in 0..5 {
        let time = START + i * SECOND;
        writeln!(lines, "{measurement},kind=first v={i}i {time}").expect("writing to a string");
        writeln!(lines, "{measurement},kind=second v={i}i,w=\"{i}\" {time}")
            .expect("writing to a string");
    }
    lines
}
