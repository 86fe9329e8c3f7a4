//! A real influxd that is backed up time and again into one directory, and what is in its sets.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use serde_json::Value;
use tempfile::TempDir;

use influx_snap::tsm::generation;

use super::data::{START, flush};
use super::influxd::{Index, Influxd};
use super::peer::noise;
use super::process::{self, Run, restore_into};
use super::service::influxd_client;
use super::time::{DAY, SECOND};
use super::{folder, tree, utf8};

/// How many shards the server begins with, a day each.
pub const SHARDS: i64 = 8;

/// How long ago files of earlier days were modified.
const LONG_AGO: Duration = Duration::from_secs(3600);

/// A server, and a directory that it is backed up into.
pub struct Backups {
    /// The server; killed before its directories are removed.
    pub server: Influxd,
    /// Where its directories and the backup are.
    pub folder: TempDir,
    /// The flags of the layout.
    pub layout: &'static [&'static str],
}

/// A set, and what the server answered when it was made.
pub struct Made {
    /// Its id.
    pub id: String,
    /// All points.
    pub points: Vec<String>,
    /// How many shards have a file in it.
    pub shards: u64,
    /// How many of them share that of an earlier set.
    pub shared: u64,
    /// Bytes that were downloaded.
    pub bytes: u64,
    /// What the run printed.
    pub said: String,
}

impl Backups {
    /// Of a server without a database.
    pub fn new(index: Index, layout: &'static [&'static str]) -> Self {
        let folder = folder();
        Self {
            server: start(&folder, index),
            folder,
            layout,
        }
    }

    /// Of one with [`SHARDS`] shards of so many points of two series, which are large and hard to
    /// compress, all of them old.
    pub fn loaded(index: Index, layout: &'static [&'static str], points: i64) -> Self {
        let backups = Self::new(index, layout);
        backups
            .server
            .execute("CREATE DATABASE main; CREATE DATABASE other");
        backups.server.execute("CREATE RETENTION POLICY days ON main DURATION 0s REPLICATION 1 SHARD DURATION 1d DEFAULT");
        for day in 0..SHARDS {
            backups.write(day, "a", points);
            backups.write(day, "b", points);
        }
        backups.server.write(
            "other",
            "",
            &format!("few v=1i {START}\nfew v=2i {}", START + SECOND),
        );
        flush(&backups.server);
        backups.a_day_passes();
        backups
    }

    /// The server stopped, or killed, and started again.
    pub fn restarted(self, index: Index, stop: impl FnOnce(Influxd)) -> Self {
        let Self {
            server,
            folder,
            layout,
        } = self;
        stop(server);
        Self {
            server: start(&folder, index),
            folder,
            layout,
        }
    }

    /// The backup directory.
    pub fn dir(&self) -> PathBuf {
        self.folder.path().join("backup")
    }

    /// Writes points into the shard of a day.
    pub fn write(&self, day: i64, host: &str, count: i64) {
        let mut lines = String::new();
        for nth in 0..count {
            let seed = u64::try_from(day * 1000 + nth).expect("a small number");
            let text: String = noise(seed, 2000)
                .iter()
                .map(|byte| char::from(b'0' + byte % 64))
                .filter(|c| *c != '\\')
                .collect();
            let time = START + day * DAY + nth * 60 * SECOND;
            writeln!(lines, "m,host={host} text=\"{text}\",n={nth}i {time}")
                .expect("writing to a string");
        }
        self.server.write("main", "", &lines);
    }

    /// The id of the shard of a day.
    pub fn shard(&self, day: i64) -> u64 {
        let start = jiff::Timestamp::from_nanosecond((START + day * DAY).into())
            .expect("a time")
            .to_string();
        let shards = self.server.shards();
        let shard = shards
            .iter()
            .find(|shard| shard.1 == "days" && shard.3 == start);
        shard
            .unwrap_or_else(|| panic!("no shard of day {day}: {shards:?}"))
            .2
    }

    /// Where the files of a shard of the database `main` are.
    pub fn shard_dir(&self, id: u64) -> PathBuf {
        self.server.data_dir().join(format!("main/days/{id}"))
    }

    /// The names of the TSM files of a shard.
    pub fn tsm_files(&self, id: u64) -> Vec<String> {
        let names = tree::names(&self.shard_dir(id));
        names
            .into_iter()
            .filter(|name| name.ends_with(".tsm"))
            .collect()
    }

    /// Makes all files as old as if they had been written on an earlier day.
    pub fn a_day_passes(&self) {
        age(&self.server.data_dir());
    }

    /// Runs a backup.
    pub fn run(&self, flags: &[&str]) -> Run {
        process::backup(&self.server.host(), self.layout, &self.dir())
            .args(["-json"])
            .args(flags)
            .run()
    }

    /// Makes a set; panics if what the server answers is not the same before and after.
    pub fn back_up(&self, flags: &[&str]) -> Made {
        let points = self.server.points();
        let run = self.run(flags).expect(0);
        assert!(
            self.server.points() == points,
            "a backup changed what the server answers"
        );
        let summary = messages(&run, "summary").remove(0);
        let number = |name: &str| {
            summary[name]
                .as_u64()
                .unwrap_or_else(|| panic!("no {name} in {summary}"))
        };
        let (shards, shared, bytes) = (number("shards"), number("shared"), number("bytes"));
        Made {
            id: summary["set"].as_str().expect("an id").to_owned(),
            points,
            shards,
            shared,
            bytes,
            said: run.stdout,
        }
    }

    /// Makes an incremental set.
    pub fn incremental(&self) -> Made {
        self.back_up(&["-incremental"])
    }

    /// Panics unless a set comes back as it was, in a server that was stopped.
    pub fn expect(&self, made: &Made, index: Index) {
        expect_offline(&self.dir(), &made.id, &made.points, index);
    }
}

/// Starts the server. What has expired goes at once; what was given no duration does not.
fn start(folder: &TempDir, index: Index) -> Influxd {
    Influxd::start_with(
        &folder.path().join("source"),
        index,
        &[("INFLUXDB_RETENTION_CHECK_INTERVAL", "1s")],
    )
}

/// Makes files as old as if they had been written on an earlier day, if they are not so old
/// already.
fn age(dir: &Path) {
    for entry in fs::read_dir(dir).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            age(&path);
        } else if path
            .extension()
            .is_some_and(|extension| extension == "tsm" || extension == "tombstone")
        {
            // A compaction may take it away meanwhile.
            let Ok(file) = File::open(&path) else {
                continue;
            };
            let modified = file
                .metadata()
                .and_then(|metadata| metadata.modified())
                .expect("a time");
            // Files of different generations were seldom written within the same seconds.
            let generation = path
                .file_name()
                .and_then(|name| generation(name.to_str()?))
                .unwrap_or(0);
            let long_ago = SystemTime::now() - LONG_AGO + Duration::from_secs(60) * generation;
            if modified > long_ago + LONG_AGO / 2 {
                file.set_modified(long_ago).expect("setting a time");
            }
        }
    }
}

/// The messages of a type that a run printed.
pub fn messages(run: &Run, kind: &str) -> Vec<Value> {
    run.messages()
        .into_iter()
        .filter(|message| message["message_type"] == kind)
        .collect()
}

/// The record of a set.
pub fn record(dir: &Path, id: &str) -> Value {
    let text = fs::read(dir.join(format!(".snap/{id}.json"))).expect("a record");
    serde_json::from_slice(&text).expect("a record in JSON")
}

/// The ids of the shards that a set shares, each with the set it shares them with.
pub fn shared(dir: &Path, id: &str) -> Vec<(u64, String)> {
    let record = record(dir, id);
    let shards = record["shards"].as_array().expect("shards").iter();
    shards
        .filter_map(|shard| {
            Some((
                shard["id"].as_u64()?,
                shard["shared_with"].as_str()?.to_owned(),
            ))
        })
        .collect()
}

/// Panics unless a set comes back with these points in a server that was stopped.
pub fn expect_offline(dir: &Path, set: &str, points: &[String], index: Index) {
    let folder = folder();
    restore_into(folder.path(), &["-index", index.name()], dir)
        .args([set])
        .run()
        .expect(0);
    let server = Influxd::start(folder.path(), index);
    expect_points(&server.points(), points, set);
}

/// Panics with some of what differs unless the points are the same.
pub fn expect_points(found: &[String], expected: &[String], what: &str) {
    let of = |points: &[String]| points.iter().cloned().collect::<BTreeSet<String>>();
    let short = |points: Vec<&String>| -> Vec<String> {
        points
            .iter()
            .take(5)
            .map(|point| point.chars().take(100).collect())
            .collect()
    };
    let (is, should) = (of(found), of(expected));
    let (more, missing) = (
        is.difference(&should).collect::<Vec<_>>(),
        should.difference(&is).collect::<Vec<_>>(),
    );
    let (more_count, missing_count) = (more.len(), missing.len());
    assert!(
        found == expected,
        "{what}: {more_count} points too many, such as {:?}; {missing_count} missing, such as {:?}",
        short(more),
        short(missing)
    );
}

/// Restores with influxd; panics unless the set comes back as it was.
pub fn by_influxd(dir: &Path, made: &Made, index: Index) {
    let folder = folder();
    let server = Influxd::start(folder.path(), index);
    influxd_client(&["restore", "-portable", "-host", &server.host(), utf8(dir)]);
    if !server.comes_to(&made.points) {
        expect_points(
            &server.points(),
            &made.points,
            &format!("by influxd: {}", made.id),
        );
    }
}

/// The names of a set's files.
pub fn files_of(record: &Value) -> Vec<String> {
    let shards = record["shards"]
        .as_array()
        .expect("shards")
        .iter()
        .map(|shard| &shard["file"]);
    let files = shards.chain([&record["meta"], &record["manifest"]]);
    files
        .filter_map(|file| Some(file["name"].as_str()?.to_owned()))
        .collect()
}

/// A directory with the files of one set and its record.
pub fn alone(backups: &Backups, made: &Made) -> PathBuf {
    let (dir, alone) = (
        backups.dir(),
        backups.folder.path().join(format!("alone_{}", made.id)),
    );
    fs::create_dir_all(alone.join(".snap")).expect("a directory");
    let document = format!(".snap/{}.json", made.id);
    for name in files_of(&record(&dir, &made.id)).iter().chain([&document]) {
        fs::copy(dir.join(name), alone.join(name)).expect("copying a file");
    }
    alone
}
