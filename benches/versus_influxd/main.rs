//! `snap` beside `influxd` and the tools that one would use in its place: wall time, CPU time and
//! peak memory, on three kinds of data.
//!
//! ```text
//! cargo bench --bench versus_influxd
//! cargo bench --bench versus_influxd -- --scale 0.02 --rounds 1
//! cargo bench --bench versus_influxd -- --parts agent --only restore
//! cargo bench --bench versus_influxd -- --markdown docs/performance.md --svg docs/performance.svg
//! ```
//!
//! For each data set it starts the influxd found in `PATH` on a temporary directory (`TMPDIR` says
//! on which file system), with TSM files made by the library's writer. Each client makes a set in
//! each layout, which also warms everything up. Then `snap` and the others do the same in turn,
//! round after round, every other round in the opposite order. What a run leaves is looked at and
//! deleted, and the disk brought to rest, before the next one starts.
//!
//! Only the client is measured, as `wait4` tells: the server's part of the work is in the wall time
//! and in nothing else. The clients do not do the same: `snap` checks and hashes all it reads,
//! returns when everything is on the disk, checks a whole backup before it restores anything, and
//! reads back what the server made of it, while the others do none of these, unless their row says
//! so. Server and client share the machine and all is read from memory, so with few cores the wall
//! time is mostly CPU time, the server's too. Read the ratios and not the seconds, which belong to
//! one machine and its disk. No time makes the benchmark fail; a result that is not whole does.

mod absolute;
mod clients;
mod comparison;
mod data;
mod document;
mod growth;
mod incremental;
mod machine;
mod measure;
mod raw_copy;
mod report;
mod results;
mod rows;
mod subject;
#[path = "../../tests/support/mod.rs"]
mod support;
mod svg;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use clap::{Parser, ValueEnum};

use data::{Database, Kind};
use report::Report;
use results::Line;
use subject::Subject;

/// Bytes of the large shards and of the small ones, and how many there are.
const LARGE_SHARDS: (usize, f64) = (8, 36e6);
const SMALL_SHARDS: (usize, f64) = (40, 0.3e6);

/// How many shards there are of which nothing changed, and bytes of each: of a small server, of one
/// that more is written to, and as large as the large ones above. A full backup grows with them.
const UNCHANGED_SHARDS: usize = 200;
const UNCHANGED_SIZES: [f64; 3] = [0.3e6, 4e6, LARGE_SHARDS.1];

/// Bytes of the smaller shards, and how many of the smallest there are, where peak memory is
/// measured.
const MEMORY_SIZE: f64 = 10e6;
const MANY_SHARDS: f64 = 10_000.0;

/// How often each place of a series is measured, at most.
const GROWTH_ROUNDS: usize = 3;

const ALL_PARTS: [Part; 6] = [
    Part::Incompressible,
    Part::Agent,
    Part::Large,
    Part::Unchanged,
    Part::Absolute,
    Part::Growth,
];

/// Compare snap with influxd and other tools, on this machine
#[derive(Parser)]
struct Options {
    /// What is to be measured
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = ALL_PARTS)]
    parts: Vec<Part>,
    /// Only the figures whose names hold this
    #[arg(long, default_value = "", value_name = "TEXT")]
    only: String,
    /// How often each client is run
    #[arg(long, default_value_t = 5, value_name = "N", value_parser = positive)]
    rounds: usize,
    /// Shards so much larger, or smaller, and so many more, or fewer
    #[arg(long, default_value_t = 1.0, value_name = "FACTOR")]
    scale: f64,
    /// The size of the largest shard, before it is scaled
    #[arg(long, default_value_t = 300.0, value_name = "MB")]
    large: f64,
    /// Write the tables to this file: a new one, or between the two marks of an old one
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Draw the ratios to this file
    #[arg(long, value_name = "FILE")]
    svg: Option<PathBuf>,
    // Cargo says so to every benchmark.
    #[arg(long, hide = true)]
    bench: bool,
}

/// A part of the benchmark, with a server of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Part {
    /// Random floats, in 8 large and 40 small shards
    Incompressible,
    /// What a metrics agent writes, in the same layout
    Agent,
    /// What a metrics agent writes, in one shard
    Large,
    /// -incremental with nothing changed, in 200 shards of three sizes
    Unchanged,
    /// Peak memory, time to the first request, size of the binary
    Absolute,
    /// How cost grows with size, shards and jobs
    Growth,
}

fn main() {
    let args: Vec<OsString> = env::args_os().skip(1).collect();
    match args.first().and_then(|first| first.to_str()) {
        Some(measure::MEASURE) => return measure::measure(&args[1..]),
        Some(raw_copy::RAW_COPY) => return raw_copy::raw_copy(&args[1..]),
        _ => {}
    }
    let options = Options::parse();
    clients::expect_tools();
    if let Some(path) = &options.markdown {
        report::PLACE.expect_in(path);
    }
    let started = Instant::now();
    let folder = support::folder();
    let mut report = Report {
        setting: vec![
            ("Machine", machine::machine(folder.path())),
            ("Versions", report::versions()),
        ],
        lines: Vec::new(),
        steps: Vec::new(),
    };
    for part in &options.parts {
        let root = folder.path().join("part");
        fs::create_dir(&root).expect("a fresh directory");
        options.run(*part, &root, &mut report);
        fs::remove_dir_all(&root).expect("removing a data set");
    }
    report.setting.push(("Data", options.data()));
    let (rounds, minutes) = (options.rounds, started.elapsed().as_secs_f64() / 60.0);
    let rounds = format!("{rounds}; all of it took {minutes:.0} minutes");
    report.setting.push(("Rounds", rounds));
    println!("{}", report.text());
    if let Some(path) = &options.markdown {
        report.write_markdown(path);
    }
    if let Some((path, picture)) = options.svg.as_ref().zip(svg::draw(&report.lines)) {
        fs::write(path, picture).expect("writing the SVG");
    }
}

impl Options {
    /// Measures a part in a fresh directory.
    fn run(&self, part: Part, root: &Path, report: &mut Report) {
        let name = part
            .to_possible_value()
            .expect("a name")
            .get_name()
            .to_owned();
        eprintln!("== {name}");
        match part {
            Part::Incompressible | Part::Agent | Part::Large => {
                self.compare(&name, &self.database(part), root, report);
            }
            Part::Unchanged if self.includes(&rows::INCREMENTAL) => {
                let count = (UNCHANGED_SHARDS as f64 * self.scale).ceil() as usize;
                for bytes in UNCHANGED_SIZES {
                    let root = root.join("size");
                    let database = Database::new(Kind::Agent, vec![self.bytes(bytes); count]);
                    add(report, incremental::compare(&root, &database, self.rounds));
                    fs::remove_dir_all(&root).expect("removing a data set");
                }
            }
            Part::Absolute => self.measure_absolutes(root, report),
            Part::Growth if self.only.is_empty() => {
                let rounds = self.rounds.min(GROWTH_ROUNDS);
                report.steps = growth::grow(root, self.large(), self.scale, rounds);
            }
            Part::Unchanged | Part::Growth => {}
        }
    }

    /// Runs all comparisons on a data set.
    fn compare(&self, name: &str, database: &Database, root: &Path, report: &mut Report) {
        let subject = Subject::start(root, database);
        for comparison in subject.comparisons() {
            if comparison.others.iter().any(|(row, _)| self.includes(row)) {
                add(report, comparison.run(name, &root.join("run"), self.rounds));
            }
        }
        if self.includes(&rows::PORTABLE_SIZE) {
            add(report, vec![subject.portable_size(name)]);
        }
    }

    fn measure_absolutes(&self, root: &Path, report: &mut Report) {
        let directory = root.join("run");
        if self.includes(&rows::MEMORY_LEGACY) || self.includes(&rows::MEMORY_PORTABLE) {
            let sizes = [self.bytes(MEMORY_SIZE), self.large()];
            let counts = [10, (MANY_SHARDS * self.scale).ceil() as u64];
            add(report, absolute::memory(&directory, sizes, counts));
        }
        if self.includes(&rows::START) {
            add(report, absolute::start(&directory));
        }
        if self.includes(&rows::BINARY) {
            add(report, vec![absolute::binary(root)]);
        }
    }

    /// Whether a figure is asked for.
    fn includes(&self, row: &rows::Row) -> bool {
        row.title.contains(&self.only)
    }

    /// The bytes of the largest shard.
    fn large(&self) -> u64 {
        self.bytes(self.large * 1e6)
    }

    /// So many bytes, larger or smaller as asked.
    fn bytes(&self, bytes: f64) -> u64 {
        (bytes * self.scale) as u64
    }

    /// The database of a part.
    fn database(&self, part: Part) -> Database {
        let shards = |(count, bytes): (usize, f64)| vec![self.bytes(bytes); count];
        let kind = match part {
            Part::Incompressible => Kind::Incompressible,
            _ => Kind::Agent,
        };
        let shards = match part {
            Part::Large => vec![self.large()],
            _ => [shards(LARGE_SHARDS), shards(SMALL_SHARDS)].concat(),
        };
        Database::new(kind, shards)
    }

    /// What the data sets are.
    fn data(&self) -> String {
        let size = |bytes: f64| format!("{:.2} MB", self.bytes(bytes) as f64 / 1e6);
        format!(
            "incompressible and agent: {} shards of {} and {} of {}; large: one of {}",
            LARGE_SHARDS.0,
            size(LARGE_SHARDS.1),
            SMALL_SHARDS.0,
            size(SMALL_SHARDS.1),
            size(self.large * 1e6),
        )
    }
}

/// Adds lines to the report, and tells of them while the others are still to come.
fn add(report: &mut Report, lines: Vec<Line>) {
    for line in &lines {
        eprintln!("{} ({}): {}", line.row.title, line.data, line.value_text());
    }
    report.lines.extend(lines);
}

/// A number that is not 0.
fn positive(text: &str) -> Result<usize, String> {
    match text.parse() {
        Ok(number) if number > 0 => Ok(number),
        _ => Err("a number of 1 or more".to_owned()),
    }
}
