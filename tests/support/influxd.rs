//! A real influxd on free loopback ports, with its own directories, and what it answers.

use std::collections::HashMap;
use std::env;
use std::fs::{self, File};
use std::io;
use std::iter;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::panic::{self, AssertUnwindSafe};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use serde_json::Value;
use tempfile::TempDir;

use super::{folder, http};

/// How long a server may take to start or to stop.
const PATIENCE: Duration = Duration::from_secs(120);

/// How many pairs of ports are tried.
const ATTEMPTS: usize = 5;

/// The kind of series index a server keeps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Index {
    /// In memory, rebuilt from the shards at every start.
    Inmem,
    /// In files beside the TSM files.
    Tsi1,
}

impl Index {
    /// The name in the configuration.
    pub fn name(self) -> &'static str {
        match self {
            Self::Inmem => "inmem",
            Self::Tsi1 => "tsi1",
        }
    }
}

/// A shard as listed: database, retention policy, id, start, end.
pub type Shard = (String, String, u64, String, String);

/// A running influxd; it is killed when dropped.
pub struct Influxd {
    root: PathBuf,
    child: Child,
    snapshotter: SocketAddr,
    http: SocketAddr,
}

impl Influxd {
    /// Starts a server on `root/meta`, `root/data` and `root/wal`, which may hold data already.
    ///
    /// The log of the last start is `root/influxd.log`.
    pub fn start(root: &Path, index: Index) -> Self {
        Self::start_with(root, index, &[])
    }

    /// As [`Influxd::start`], with settings such as `INFLUXDB_RETENTION_CHECK_INTERVAL` in place of
    /// those of the configuration.
    pub fn start_with(root: &Path, index: Index, settings: &[(&str, &str)]) -> Self {
        for dir in ["meta", "data", "wal"] {
            fs::create_dir_all(root.join(dir))
                .unwrap_or_else(|error| panic!("making {dir}: {error}"));
        }
        (0..ATTEMPTS)
            .find_map(|_| Self::try_start(root, index, settings))
            .unwrap_or_else(|| {
                panic!(
                    "influxd ended at once {ATTEMPTS} times; the last time it said:\n{}",
                    log_in(root)
                );
            })
    }

    /// A server without data, and the folder it lives in.
    pub fn empty(index: Index) -> (TempDir, Self) {
        let folder = folder();
        let server = Self::start(folder.path(), index);
        (folder, server)
    }

    /// Starts a server on two free ports; `None` if it ends because a port was taken meanwhile.
    fn try_start(root: &Path, index: Index, settings: &[(&str, &str)]) -> Option<Self> {
        let (snapshotter, http) = free_addresses();
        let config = root.join("influxd.conf");
        fs::write(&config, configuration(root, index, snapshotter, http))
            .expect("writing the configuration");
        let log = File::create(root.join("influxd.log")).expect("making the log");
        let child = Command::new(influxd_binary())
            .arg("run")
            .arg("-config")
            .arg(&config)
            .env_clear()
            .env("HOME", root)
            .envs(settings.iter().copied())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a second handle on the log"))
            .stderr(log)
            .spawn()
            .expect("influxd starts");
        let mut server = Self {
            root: root.to_owned(),
            child,
            snapshotter,
            http,
        };
        let started = Instant::now();
        loop {
            if let Some(status) = server.child.try_wait().expect("waiting for influxd") {
                let log = server.log();
                assert!(
                    log.contains("address already in use"),
                    "influxd ended with {status}:\n{log}"
                );
                return None;
            }
            // Some other server may answer on the port, so only the server's own log tells that it
            // listens.
            if server.log().contains("Listening on HTTP") && server.ping() {
                return Some(server);
            }
            assert!(
                started.elapsed() < PATIENCE,
                "influxd does not answer:\n{}",
                server.log()
            );
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Whether the server answers a ping.
    fn ping(&self) -> bool {
        http::request(self.http, "GET", "/ping", "text/plain", b"")
            .is_ok_and(|response| response.status == 204)
    }

    /// Where the snapshotter listens, as `address:port`.
    pub fn host(&self) -> String {
        self.snapshotter.to_string()
    }

    /// Where the HTTP interface listens, as `address:port`.
    pub fn http_address(&self) -> String {
        self.http.to_string()
    }

    /// The directory of the metastore.
    pub fn meta_dir(&self) -> PathBuf {
        self.root.join("meta")
    }

    /// The directory of the shards.
    pub fn data_dir(&self) -> PathBuf {
        self.root.join("data")
    }

    /// The directory of the write-ahead logs.
    pub fn wal_dir(&self) -> PathBuf {
        self.root.join("wal")
    }

    /// The process id.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// What the server has logged since it started.
    pub fn log(&self) -> String {
        log_in(&self.root)
    }

    /// Panics if the server logged an error or a warning. Every ten seconds it looks for shards
    /// that are not used, and warns of one that is being replaced at that moment: that is no fault
    /// of whoever replaces it.
    pub fn expect_no_errors(&self) {
        let log = self.log();
        let faults: Vec<&str> = log
            .lines()
            .filter(|line| line.contains("lvl=error") || line.contains("lvl=warn"))
            .filter(|line| !line.contains("Error while freeing cold shard resources"))
            .collect();
        assert!(faults.is_empty(), "{faults:#?}");
    }

    /// Asks the server to end and waits for it; kills it after two minutes.
    // Only libc sends SIGTERM; the child has not been reaped, so the id is still its own.
    #[allow(unsafe_code)]
    pub fn stop(mut self) {
        if self
            .child
            .try_wait()
            .expect("waiting for influxd")
            .is_some()
        {
            return;
        }
        let pid = libc::pid_t::try_from(self.pid()).expect("a process id");
        let sent = unsafe { libc::kill(pid, libc::SIGTERM) };
        assert_eq!(sent, 0, "SIGTERM: {}", io::Error::last_os_error());
        let asked = Instant::now();
        while self
            .child
            .try_wait()
            .expect("waiting for influxd")
            .is_none()
            && asked.elapsed() < PATIENCE
        {
            thread::sleep(Duration::from_millis(10));
        }
    }

    /// Kills the server, as a crash would.
    pub fn kill(self) {
        drop(self);
    }

    /// Runs statements and panics if one of them fails.
    pub fn execute(&self, q: &str) {
        self.query("", q);
    }

    /// Runs statements in a database and gives the whole answer, times in nanoseconds; panics if
    /// one of them fails.
    pub fn query(&self, db: &str, q: &str) -> Value {
        serde_json::from_str(&self.query_text(db, q)).expect("an answer in JSON")
    }

    /// The answer as it was sent, known to hold no error.
    fn query_text(&self, db: &str, q: &str) -> String {
        let form = format!(
            "db={}&epoch=ns&q={}",
            http::percent_encode(db),
            http::percent_encode(q)
        );
        let response = http::request(
            self.http,
            "POST",
            "/query",
            "application/x-www-form-urlencoded",
            form.as_bytes(),
        )
        .unwrap_or_else(|error| panic!("{q}: {error}\n{}", self.log()));
        let text = response.text();
        let answer: Value =
            serde_json::from_str(text).unwrap_or_else(|error| panic!("{q}: {error} in {text}"));
        let failed = answer.get("error").is_some()
            || results(&answer)
                .iter()
                .any(|result| result.get("error").is_some());
        assert!(response.status == 200 && !failed, "{q}: {text}");
        text.to_owned()
    }

    /// Writes points given in line protocol with times in nanoseconds; an empty `rp` means the
    /// default policy.
    pub fn write(&self, db: &str, rp: &str, lines: &str) {
        let target = format!(
            "/write?db={}&rp={}&precision=ns",
            http::percent_encode(db),
            http::percent_encode(rp)
        );
        let response = http::request(self.http, "POST", &target, "text/plain", lines.as_bytes())
            .unwrap_or_else(|error| panic!("writing to {db} {rp}: {error}\n{}", self.log()));
        assert_eq!(
            response.status,
            204,
            "writing to {db} {rp}: {}",
            response.text()
        );
    }

    /// The names of the databases without `_internal`, sorted.
    pub fn databases(&self) -> Vec<String> {
        let mut names = first_column(&self.query("", "SHOW DATABASES"));
        names.retain(|name| name != "_internal");
        names.sort();
        names
    }

    /// The names of a database's retention policies, sorted.
    pub fn policies(&self, db: &str) -> Vec<String> {
        let mut names =
            first_column(&self.query("", &format!("SHOW RETENTION POLICIES ON {}", quote(db))));
        names.sort();
        names
    }

    /// Every point of every database but `_internal`, sorted: one string for each field of each
    /// point.
    pub fn points(&self) -> Vec<String> {
        let mut points: Vec<String> = self
            .databases()
            .iter()
            .flat_map(|db| self.points_of(db))
            .collect();
        points.sort();
        points
    }

    /// Panics unless [`points`](Self::points) is `expected`.
    #[track_caller]
    pub fn expect_points(&self, expected: &[String]) {
        let is_same = self.points() == expected;
        assert!(is_same, "the points differ:\n{}", self.log());
    }

    /// Whether [`points`](Self::points) comes to be `expected` within a minute.
    ///
    /// To be used after a restore by `influxd`, which ends before the server has taken in the last
    /// shards.
    pub fn comes_to(&self, expected: &[String]) -> bool {
        self.comes_to_be(|| self.points() == expected)
    }

    /// Whether what `look` sees of the server comes to be so within a minute. A query that fails
    /// counts as not yet: while a shard is put in place, it is disabled.
    pub fn comes_to_be(&self, look: impl Fn() -> bool) -> bool {
        let started = Instant::now();
        loop {
            if panic::catch_unwind(AssertUnwindSafe(&look)).unwrap_or(false) {
                return true;
            }
            if started.elapsed() > PATIENCE / 2 {
                return false;
            }
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Every point of a database, sorted: one string for each field of each point.
    pub fn points_of(&self, db: &str) -> Vec<String> {
        let mut points = Vec::new();
        for rp in self.policies(db) {
            points.extend(
                self.points_in(db, &rp)
                    .iter()
                    .map(|point| format!("{db:?}.{rp:?} {point}")),
            );
        }
        points.sort();
        points
    }

    /// Every point under a retention policy, sorted, without the names of database and policy.
    ///
    /// A string is `"measurement"{"tag"="value"} time "field"=value`, where an integer ends in `i`
    /// and a string is in quotes. Each field is selected by its own type, because `*` over several
    /// measurements gives equal names one common type.
    pub fn points_in(&self, db: &str, rp: &str) -> Vec<String> {
        let source = format!("{}.{}", quote(db), quote(rp));
        let keys = self.query(
            db,
            &format!("SHOW FIELD KEYS ON {} FROM {source}./.*/", quote(db)),
        );
        let mut fields_of = Vec::new();
        let mut statements = Vec::new();
        for series in all_series(&keys) {
            let measurement = text(&series["name"]);
            let fields: Vec<(&str, &str)> = rows(series)
                .map(|row| (text(&row[0]), text(&row[1])))
                .collect();
            let columns: Vec<String> = fields
                .iter()
                .map(|(name, kind)| format!("{}::{kind}", quote(name)))
                .collect();
            statements.push(format!(
                "SELECT {} FROM {source}.{} GROUP BY *",
                columns.join(", "),
                quote(measurement)
            ));
            fields_of.push(fields);
        }
        if statements.is_empty() {
            return Vec::new();
        }
        let answer = quote_numbers(&self.query_text(db, &statements.join("; ")));
        let answer: Value = serde_json::from_str(&answer).expect("an answer in JSON");
        let mut points = Vec::new();
        for (result, fields) in results(&answer).iter().zip(&fields_of) {
            for series in series_of(result) {
                let key = series_key(series);
                for row in rows(series) {
                    let time = text(&row[0]);
                    for (value, (name, kind)) in row[1..]
                        .iter()
                        .zip(fields)
                        .filter(|(value, _)| !value.is_null())
                    {
                        points.push(format!("{key} {time} {name:?}={}", typed(value, kind)));
                    }
                }
            }
        }
        points.sort();
        points
    }

    /// The series of a database as the indexes of all its retention policies list them, sorted,
    /// each once.
    ///
    /// An in-memory index belongs to the whole database and a tsi1 index to a shard, so each policy
    /// is asked.
    pub fn series(&self, db: &str) -> Vec<String> {
        let mut series = Vec::new();
        for rp in self.policies(db) {
            let statement = format!(
                "SHOW SERIES ON {} FROM {}.{}./.*/",
                quote(db),
                quote(db),
                quote(&rp)
            );
            series.extend(first_column(&self.query(db, &statement)));
        }
        series.sort();
        series.dedup();
        series
    }

    /// The shards of every database but `_internal`, by id.
    pub fn shards(&self) -> Vec<Shard> {
        let answer = self.query("", "SHOW SHARDS");
        let mut shards = Vec::new();
        for series in all_series(&answer).filter(|series| series["name"] != "_internal") {
            let names: Vec<&str> = series["columns"]
                .as_array()
                .expect("columns")
                .iter()
                .map(text)
                .collect();
            let column: HashMap<&str, usize> = names
                .into_iter()
                .enumerate()
                .map(|(at, name)| (name, at))
                .collect();
            for row in rows(series) {
                let text_of = |name: &str| text(&row[column[name]]).to_owned();
                let id = row[column["id"]].as_u64().expect("a shard id");
                shards.push((
                    text_of("database"),
                    text_of("retention_policy"),
                    id,
                    text_of("start_time"),
                    text_of("end_time"),
                ));
            }
        }
        shards.sort_by_key(|shard| shard.2);
        shards
    }
}

impl Drop for Influxd {
    fn drop(&mut self) {
        // Neither does anything to a process that has been reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The influxd that `.ci/setup tests` unpacked, else that in `PATH`; panics if there is none.
pub fn influxd_binary() -> PathBuf {
    binary("influxd")
}

/// The same of influx, the shell.
pub fn influx_binary() -> PathBuf {
    binary("influx")
}

fn binary(name: &str) -> PathBuf {
    let unpacked = Path::new(env!("CARGO_MANIFEST_DIR")).join("target/influxdb/usr/bin");
    let path = env::var_os("PATH").unwrap_or_default();
    let found = iter::once(unpacked)
        .chain(env::split_paths(&path))
        .map(|dir| dir.join(name))
        .find(|file| file.is_file());
    found.unwrap_or_else(|| panic!("{name} is needed for this test: ./.ci/setup tests"))
}

/// A name as an InfluxQL identifier.
pub fn quote(name: &str) -> String {
    format!(
        "\"{}\"",
        name.replace('\\', "\\\\")
            .replace('"', "\\\"")
            .replace('\n', "\\n")
    )
}

/// The time of a point as [`Influxd::points`] and its like give it.
pub fn time_of(point: &str) -> i64 {
    let time = point
        .split_once("} ")
        .and_then(|(_, rest)| rest.split(' ').next())
        .and_then(|time| time.parse().ok());
    time.unwrap_or_else(|| panic!("no time in {point}"))
}

/// The log below a root directory.
fn log_in(root: &Path) -> String {
    String::from_utf8_lossy(&fs::read(root.join("influxd.log")).unwrap_or_default()).into_owned()
}

/// Two loopback addresses that nobody used a moment ago.
fn free_addresses() -> (SocketAddr, SocketAddr) {
    let bind = || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
    let (first, second) = (bind(), bind());
    (
        first.local_addr().expect("a bound address"),
        second.local_addr().expect("a bound address"),
    )
}

/// A configuration in which nothing happens on its own but compactions.
fn configuration(root: &Path, index: Index, snapshotter: SocketAddr, http: SocketAddr) -> String {
    let dir = |name: &str| format!("{:?}", root.join(name).to_str().expect("a path in UTF-8"));
    let (meta, data, wal, index) = (dir("meta"), dir("data"), dir("wal"), index.name());
    format!(
        // By default, a write is refused that the disk does not take within ten seconds.
        r#"reporting-enabled = false
bind-address = "{snapshotter}"

[coordinator]
  write-timeout = "2m"

[meta]
  dir = {meta}

[data]
  dir = {data}
  wal-dir = {wal}
  index-version = "{index}"
  query-log-enabled = false
  max-series-per-database = 0
  max-values-per-tag = 0

[http]
  bind-address = "{http}"
  log-enabled = false
  max-body-size = 0

[monitor]
  store-enabled = false

[retention]
  check-interval = "24h"

[shard-precreation]
  enabled = false

[continuous_queries]
  enabled = false

[subscriber]
  enabled = false
"#
    )
}

/// The results of an answer, one for each statement.
fn results(answer: &Value) -> &[Value] {
    answer["results"].as_array().map_or(&[], Vec::as_slice)
}

/// The series of one result.
fn series_of(result: &Value) -> &[Value] {
    result["series"].as_array().map_or(&[], Vec::as_slice)
}

/// The series of all results of an answer.
fn all_series(answer: &Value) -> impl Iterator<Item = &Value> {
    results(answer).iter().flat_map(series_of)
}

/// The rows of a series.
fn rows(series: &Value) -> impl Iterator<Item = &[Value]> {
    let rows = series["values"].as_array().map_or(&[][..], Vec::as_slice);
    rows.iter()
        .map(|row| row.as_array().expect("a row").as_slice())
}

/// The first column of an answer, which holds text.
fn first_column(answer: &Value) -> Vec<String> {
    all_series(answer)
        .flat_map(rows)
        .map(|row| text(&row[0]).to_owned())
        .collect()
}

/// A value known to be text.
fn text(value: &Value) -> &str {
    value
        .as_str()
        .unwrap_or_else(|| panic!("text instead of {value}"))
}

/// The measurement and the tags that have a value.
fn series_key(series: &Value) -> String {
    let tags = series["tags"].as_object().map(|tags| {
        let pairs = tags
            .iter()
            .map(|(key, value)| (key, text(value)))
            .filter(|(_, value)| !value.is_empty());
        pairs
            .map(|(key, value)| format!("{key:?}={value:?}"))
            .collect::<Vec<_>>()
            .join(",")
    });
    format!(
        "{:?}{{{}}}",
        text(&series["name"]),
        tags.unwrap_or_default()
    )
}

/// A field's value so that values of different types differ.
fn typed(value: &Value, kind: &str) -> String {
    match kind {
        "float" => text(value).to_owned(),
        "integer" => format!("{}i", text(value)),
        "string" => format!("{:?}", text(value)),
        "boolean" => value.as_bool().expect("a boolean").to_string(),
        _ => panic!("a field of the unknown type {kind}"),
    }
}

/// JSON with every number made a string, so that parsing keeps its digits.
fn quote_numbers(json: &str) -> String {
    let mut quoted = String::with_capacity(json.len() * 5 / 4);
    let (mut in_string, mut escaped, mut in_number) = (false, false, false);
    for c in json.chars() {
        // Outside strings, the letters of null, true and false do not begin a number, but an e may
        // go on with one.
        let of_number = !in_string
            && (matches!(c, '-' | '0'..='9') || in_number && matches!(c, '+' | '.' | 'e' | 'E'));
        if of_number != in_number {
            quoted.push('"');
            in_number = of_number;
        }
        quoted.push(c);
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = in_string,
            '"' => in_string = !in_string,
            _ => {}
        }
    }
    quoted
}
