//! `snap export` of a backup beside the same points queried from the server: wall time, CPU time and
//! peak memory.
//!
//! ```text
//! cargo bench --bench export
//! cargo bench --bench export -- --scale 0.1 --rounds 1 --data agent
//! cargo bench --bench export -- --markdown docs/performance.md
//! ```
//!
//! For each data set it starts the influxd found in `PATH` and makes a backup of it. Then `snap`
//! exports the backup to a file, and `curl` asks the server for all points of all measurements
//! (`SELECT * FROM /.*/ GROUP BY *`, in chunks) and stores the answer, in turn, every other round in
//! the opposite order. Both have to give as many points as there are. What a run leaves is removed
//! before the next one starts.
//!
//! Two backups made by hand, of very many series and of a very long one, are exported by themselves: of
//! these the peak memory matters.
//!
//! Only the client is measured, as `wait4` tells: what influxd does is in the wall time and in
//! nothing else. Both share the machine, and all is read from memory. No time makes the benchmark
//! fail.

#[allow(dead_code)]
#[path = "../versus_influxd/data.rs"]
mod data;
#[path = "../versus_influxd/document.rs"]
mod document;
#[path = "../versus_influxd/machine.rs"]
mod machine;
#[path = "../versus_influxd/measure.rs"]
mod measure;
mod memory;
#[path = "../versus_influxd/options.rs"]
mod options;
mod report;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::env;
use std::ffi::OsString;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::Path;

use clap::Parser;
use serde_json::Value;

use data::{Database, Kind};
use measure::{DIR, Usage};
use memory::{BACKUPS, LargeBackup, MemoryLine};
use options::CommonOptions;
use report::Line;
use support::influxd::Influxd;
use support::process::{backup, snap};
use support::utf8;

/// A data set: its name, its kind, and how many shards of how many bytes.
type DataSet = (&'static str, Kind, &'static [(usize, f64)]);

/// The data sets. Their shards are small as the answers of a server are large.
const DATA: [DataSet; 3] = [
    (
        "incompressible",
        Kind::Incompressible,
        &[(8, 6e6), (40, 0.1e6)],
    ),
    ("agent", Kind::Agent, &[(8, 3e6), (40, 0.05e6)]),
    ("large", Kind::Agent, &[(1, 25e6)]),
];

/// Compare snap export with queries, on this machine
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    common: CommonOptions,
}

fn main() {
    let args: Vec<OsString> = env::args_os().skip(1).collect();
    if args.first().and_then(|first| first.to_str()) == Some(measure::MEASURE) {
        return measure::measure(&args[1..]);
    }
    let options = Options::parse();
    if let Some(path) = &options.common.markdown {
        report::PLACE.expect_in(path);
    }
    let folder = support::folder();
    let mut lines = Vec::new();
    for (name, kind, shards) in DATA {
        if name.contains(&options.common.data) {
            let root = folder.path().join(name);
            let sizes = shards
                .iter()
                .flat_map(|(count, bytes)| vec![(bytes * options.common.scale) as u64; *count]);
            let database = Database::new(kind, sizes.collect());
            lines.extend(compare(
                name,
                &root,
                &database,
                options.common.rounds.max(1),
            ));
            fs::remove_dir_all(&root).expect("removing a data set");
        }
    }
    let mut large = Vec::new();
    for backup in &BACKUPS {
        if backup.name.contains(&options.common.data) {
            large.extend(measure_memory(backup, folder.path(), options.common.scale));
        }
    }
    let setting = [
        format!("Machine: {}", machine::machine(folder.path())),
        format!("Versions: {}", report::versions()),
        format!("Rounds: {}", options.common.rounds.max(1)),
    ];
    let markdown = report::markdown(&setting, &lines, &large);
    println!("{markdown}");
    if let Some(path) = &options.common.markdown {
        report::PLACE.write(path, &markdown);
    }
}

/// The formats: how they are called, the flag, and what is written.
const FORMATS: [(&str, &str, &str); 4] = [
    ("line protocol", "lp", "points.lp"),
    ("line protocol, .gz", "lp", "points.lp.gz"),
    ("CSV", "csv", "points"),
    ("Parquet", "parquet", "points"),
];

/// Exports a backup made by hand in each format.
fn measure_memory(backup: &LargeBackup, root: &Path, scale: f64) -> Vec<MemoryLine> {
    let set = root.join("large");
    backup.make(&set, scale);
    let lines = FORMATS.map(|(title, format, out)| {
        let line = MemoryLine {
            backup: backup.name,
            format: title,
            points: backup.points(scale),
            usage: run_once(&memory::export(&set, format, out), root),
        };
        eprintln!("{}", line.cells().join(" | "));
        line
    });
    fs::remove_dir_all(&set).expect("removing a backup");
    lines.into()
}

/// Exports a backup in each way, each beside the queries.
fn compare(name: &'static str, root: &Path, database: &Database, rounds: usize) -> Vec<Line> {
    fs::create_dir(root).expect("a fresh directory");
    let server = data::serve(&root.join("server"), std::slice::from_ref(database));
    let (_, bytes) = data::tsm_count_and_bytes(&server.data_dir().join(&database.name));
    let set = root.join("backup");
    // The server has another database as well.
    let only = ["-quiet", "-database", &database.name];
    backup(&server.host(), &only, &set).run().expect(0);
    let points = points_of(&set, root);
    let queries = queries(&server, &database.name);
    let answered = answered(&queries, root);
    assert_eq!(answered, points, "points that the server answers with");
    let lines = FORMATS.map(|(title, format, out)| {
        let export = memory::export(&set, format, out);
        let mut line = Line::new(title, name, points, bytes);
        for round in 0..rounds {
            let mut run = |of_snap: bool| {
                let command = if of_snap { &export } else { &queries };
                let usage = run_once(command, root);
                if of_snap {
                    &mut line.snap
                } else {
                    &mut line.server
                }
                .push(usage);
            };
            let is_first = round % 2 == 0;
            run(is_first);
            run(!is_first);
        }
        eprintln!("{}", line.brief());
        line
    });
    lines.into()
}

/// The points of a set, as its export counts them.
fn points_of(set: &Path, root: &Path) -> u64 {
    let file = root.join("counted.lp");
    let run = snap(["export", "-json", "-o", utf8(&file), utf8(set)]).expect(0);
    fs::remove_file(&file).expect("the export");
    run.last_message()["points"].as_u64().expect("a number")
}

/// What asks a server for all points of a database.
fn queries(server: &Influxd, database: &str) -> Vec<String> {
    let mut command = vec!["curl".to_owned(), "-sSfG".to_owned()];
    for parameter in [
        &format!("db={database}"),
        "epoch=ns",
        "chunked=true",
        "chunk_size=10000",
        "q=SELECT * FROM /.*/ GROUP BY *",
    ] {
        command.extend(["--data-urlencode".to_owned(), parameter.to_owned()]);
    }
    let url = format!("http://{}/query", server.http_address());
    command.extend(["-o".to_owned(), format!("{DIR}/answer.json"), url]);
    command
}

/// How many points a server answers with.
fn answered(queries: &[String], root: &Path) -> u64 {
    let directory = root.join("run");
    fs::create_dir(&directory).expect("a fresh directory");
    measure::run(queries, &directory);
    let answer = File::open(directory.join("answer.json")).expect("an answer");
    let chunks = BufReader::new(answer).lines();
    let points = chunks.map(|chunk| {
        let chunk: Value = serde_json::from_str(&chunk.expect("a chunk")).expect("JSON");
        let series = chunk["results"][0]["series"].as_array().expect("series");
        let rows = series
            .iter()
            .map(|series| series["values"].as_array().map_or(0, Vec::len));
        rows.sum::<usize>() as u64
    });
    let points = points.sum();
    fs::remove_dir_all(&directory).expect("removing an answer");
    points
}

fn run_once(command: &[String], root: &Path) -> Usage {
    let directory = root.join("run");
    fs::create_dir(&directory).expect("a fresh directory");
    let usage = measure::run(command, &directory);
    fs::remove_dir_all(&directory).expect("removing an export");
    usage
}
