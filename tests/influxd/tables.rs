//! What `snap export` writes of a server as Parquet and CSV has the points that queries answer, with
//! their types and to the nanosecond. Both are read by others' code: Parquet's library for Rust,
//! DuckDB, pyarrow and polars.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;

use crate::export::load_odd;
use crate::support::influxd::{Index, Influxd};
use crate::support::process::Snap;
use crate::support::source::{Source, assert_same, back_up};
use crate::support::utf8;

/// What a file says of itself.
struct About {
    place: String,
    measurement: String,
    tags: Vec<String>,
    /// The types of fields.
    fields: BTreeMap<String, String>,
}

/// All files below a directory.
fn files(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).expect("a directory");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    let mut files: Vec<PathBuf> = paths
        .flat_map(|path| match path.is_dir() {
            true => files(&path),
            false => vec![path],
        })
        .collect();
    files.sort();
    files
}

fn about(reader: &SerializedFileReader<File>) -> About {
    let metadata = reader.metadata().file_metadata().key_value_metadata();
    let pairs = metadata.expect("metadata").iter();
    let pairs = pairs.map(|pair| (pair.key.clone(), pair.value.clone().expect("a value")));
    About::of(&pairs.collect())
}

impl About {
    /// What the metadata of a file says.
    fn of(pairs: &BTreeMap<String, String>) -> Self {
        let text = |key: &str| pairs[key].as_str();
        let (database, policy) = (text("influxdb.database"), text("influxdb.retention_policy"));
        Self {
            place: format!("{database:?}.{policy:?}"),
            measurement: text("influxdb.measurement").to_owned(),
            tags: serde_json::from_str(text("influxdb.tags")).expect("names"),
            fields: serde_json::from_str(text("influxdb.fields")).expect("types by names"),
        }
    }

    /// The points of a row, as [`Influxd::points`] has them; `cells` are the columns as text, those
    /// of fields with their types.
    fn points(&self, time: i64, cells: &BTreeMap<String, String>) -> Vec<String> {
        let tags = self
            .tags
            .iter()
            .filter_map(|tag| Some((tag, cells.get(tag)?)));
        let tags: Vec<String> = tags
            .map(|(tag, value)| format!("{tag:?}={value:?}"))
            .collect();
        let key = format!(
            "{} {:?}{{{}}} {time}",
            self.place,
            self.measurement,
            tags.join(",")
        );
        let fields = self
            .fields
            .keys()
            .filter_map(|name| Some((name, cells.get(name)?)));
        fields
            .map(|(name, value)| format!("{key} {name:?}={value}"))
            .collect()
    }
}

/// The points in Parquet files below a directory.
fn parquet_points(dir: &Path) -> Vec<String> {
    let mut points = Vec::new();
    for path in files(dir) {
        let reader = SerializedFileReader::new(File::open(&path).expect("a file"));
        let reader = reader.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let about = about(&reader);
        for row in reader.get_row_iter(None).expect("rows") {
            let row = row.expect("a row");
            let (mut time, mut cells) = (None, BTreeMap::new());
            for (name, value) in row.get_column_iter() {
                let is_tag = about.tags.contains(name);
                let text = match value {
                    Field::Null => continue,
                    Field::Long(nanos) if name == "time" => {
                        time = Some(*nanos);
                        continue;
                    }
                    Field::Str(text) if is_tag => text.clone(),
                    Field::Str(text) => format!("{text:?}"),
                    Field::Long(number) => format!("{number}i"),
                    Field::Double(number) => format!("{number:?}"),
                    Field::Bool(truth) => truth.to_string(),
                    other => panic!("{name}: {other:?}"),
                };
                cells.insert(name.clone(), text);
            }
            points.extend(about.points(time.expect("a time"), &cells));
        }
    }
    points.sort();
    points
}

/// The records of CSV; of each cell its text, and whether it was quoted.
fn records(text: &str) -> Vec<Vec<(String, bool)>> {
    let (mut records, mut record) = (Vec::new(), Vec::new());
    let mut letters = text.chars().peekable();
    while letters.peek().is_some() {
        let is_quoted = letters.next_if_eq(&'"').is_some();
        let mut cell = String::new();
        loop {
            match letters.next().expect("an end") {
                '"' if is_quoted && letters.next_if_eq(&'"').is_some() => cell.push('"'),
                '"' if is_quoted => break,
                other if is_quoted => cell.push(other),
                end @ (',' | '\n') => {
                    record.push((std::mem::take(&mut cell), false));
                    if end == '\n' {
                        records.push(std::mem::take(&mut record));
                    }
                    break;
                }
                other => cell.push(other),
            }
        }
        if is_quoted {
            record.push((cell, true));
            if letters.next().expect("an end") == '\n' {
                records.push(std::mem::take(&mut record));
            }
        }
    }
    assert!(record.is_empty(), "{record:?}");
    records
}

/// The points in CSV files below a directory; what types they have, the Parquet files say.
fn csv_points(dir: &Path, parquet: &Path) -> Vec<String> {
    let mut points = Vec::new();
    for path in files(dir) {
        let twin = parquet
            .join(path.strip_prefix(dir).expect("a path"))
            .with_extension("parquet");
        let about =
            about(&SerializedFileReader::new(File::open(twin).expect("a twin")).expect("Parquet"));
        let records = records(&fs::read_to_string(&path).expect("text"));
        let (header, rows) = records.split_first().expect("a header");
        for row in rows {
            assert_eq!(row.len(), header.len(), "{}", path.display());
            let mut cells = BTreeMap::new();
            for ((name, _), (text, is_quoted)) in header.iter().zip(row).skip(1) {
                if text.is_empty() && !is_quoted {
                    continue;
                }
                let text = match about.fields.get(name).map(String::as_str) {
                    Some("string") => format!("{text:?}"),
                    Some("integer") => format!("{text}i"),
                    Some("float") => float(text),
                    _ => text.clone(),
                };
                cells.insert(name.clone(), text);
            }
            let time: jiff::Timestamp = row[0].0.parse().expect("a time");
            points.extend(about.points(time.as_nanosecond() as i64, &cells));
        }
    }
    points.sort();
    points
}

/// The points of tables as one of others' programs reads them.
fn points_read_by(program: &str, directories: &[&Path]) -> Vec<String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let readers = root.join("target/test-readers");
    assert!(
        readers.is_dir(),
        "{program} is needed for this test: ./.ci/setup tests"
    );
    let output = Command::new("python3")
        .arg(root.join("tests/influxd/read_tables.py"))
        .arg(program)
        .args(directories)
        .env("PYTHONPATH", readers)
        .stderr(Stdio::inherit())
        .output();
    let output = output.expect("python3 starts");
    assert!(output.status.success(), "{program}: {}", output.status);
    let (mut points, mut about) = (Vec::new(), None);
    for line in std::str::from_utf8(&output.stdout).expect("UTF-8").lines() {
        if line.starts_with('{') {
            about = Some(About::of(&serde_json::from_str(line).expect("metadata")));
            continue;
        }
        let about = about.as_ref().expect("metadata first");
        let (time, cells): (i64, BTreeMap<String, (String, String)>) =
            serde_json::from_str(line).expect("a row");
        let cells = cells.into_iter().map(|(name, (kind, text))| {
            let text = match kind.as_str() {
                "string" if about.tags.contains(&name) => text,
                "string" => format!("{text:?}"),
                "integer" => format!("{text}i"),
                "float" => float(&text),
                _ => text,
            };
            (name, text)
        });
        points.extend(about.points(time, &cells.collect()));
    }
    points.sort();
    points
}

fn float(text: &str) -> String {
    format!("{:?}", text.parse::<f64>().expect("a float"))
}

/// The points of a server, with floats as they are written here.
fn points(server: &Influxd) -> Vec<String> {
    let points = server.points().into_iter();
    let points = points.map(|point| match point.rsplit_once("\"=") {
        Some((key, value)) if !value.ends_with('"') && value.parse::<f64>().is_ok() => {
            format!("{key}\"={}", float(value))
        }
        _ => point,
    });
    let mut points: Vec<String> = points.collect();
    points.sort();
    points
}

fn tables_of(index: Index) {
    let source = Source::loaded(index);
    let server = &source.server;
    load_odd(server);
    let points = points(server);
    let backup = source.path("backup");
    back_up(server, &backup, &[]);
    let export = |name: &str, flags: &[&str]| {
        let target = source.path(name);
        let run = Snap::new(["export", "-o", utf8(&target)]).args(flags);
        run.run().expect(0);
        target
    };
    let backup = utf8(&backup);
    let parquet = export("parquet", &["-format", "parquet", backup]);
    assert_same(&parquet_points(&parquet), &points);
    let csv = export("csv", &["-format", "csv", backup]);
    assert_same(&csv_points(&csv, &parquet), &points);
    let host = server.host();
    let asked = export("asked", &["-format", "parquet", "-host", &host]);
    assert_same(&parquet_points(&asked), &points);
    let flags = ["-format", "parquet", "-split", "-time", "naive", backup];
    let split = export("split", &flags);
    assert_same(&parquet_points(&split), &points);
    assert!(files(&split).len() > files(&parquet).len());
}

#[test]
fn duckdb_pyarrow_and_polars_read_of_tables_what_queries_answer() {
    let source = Source::loaded(Index::Tsi1);
    load_odd(&source.server);
    let points = points(&source.server);
    let backup = source.path("backup");
    back_up(&source.server, &backup, &[]);
    let [parquet, csv] = ["parquet", "csv"].map(|format| {
        let target = source.path(format);
        let flags = ["-format", format, "-o", utf8(&target), utf8(&backup)];
        Snap::new(["export"]).args(flags).run().expect(0);
        target
    });
    for program in ["duckdb", "pyarrow", "polars"] {
        assert_same(&points_read_by(program, &[&parquet]), &points);
    }
    assert_same(&points_read_by("duckdb", &[&parquet, &csv]), &points);
}

#[test]
fn tables_of_an_inmem_server_have_the_points_that_queries_answer() {
    tables_of(Index::Inmem);
}

#[test]
fn tables_of_a_tsi1_server_have_the_points_that_queries_answer() {
    tables_of(Index::Tsi1);
}
