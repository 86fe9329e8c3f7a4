//! `snap` straight to and from object storage, beside `influxd` and `rclone` by way of a local
//! directory: wall time, CPU time, peak memory, bytes on the local disk and requests.
//!
//! ```text
//! cargo bench --bench object_storage
//! cargo bench --bench object_storage -- --scale 0.1 --rounds 1 --only portable
//! cargo bench --bench object_storage -- --markdown docs/performance.md
//! ```
//!
//! It starts SeaweedFS (`.ci/setup tests` unpacks it, and rclone) and, for each data set, the influxd
//! found in `PATH`. `snap` and the others do the same in turn, every other round in the opposite
//! order. What a run leaves is looked at and removed before the next one starts. Then each does it
//! once more through a proxy that counts the requests, and is not measured.
//!
//! Only the client is measured: what influxd and SeaweedFS do is in the wall time, and their
//! processor time is told beside. All share one machine. No time makes the benchmark fail; a result that is not whole does.

#[allow(dead_code)]
#[path = "../versus_influxd/data.rs"]
mod data;
#[path = "../versus_influxd/document.rs"]
mod document;
#[path = "../versus_influxd/machine.rs"]
mod machine;
#[path = "../versus_influxd/measure.rs"]
mod measure;
#[path = "../versus_influxd/options.rs"]
mod options;
mod report;
mod servers;
#[path = "../../tests/support/mod.rs"]
mod support;
mod task;

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::Path;

use clap::Parser;

use data::{Database, Kind};
use options::CommonOptions;
use report::Line;
use task::{Bench, Task};

/// Bytes of the large shards and of the small ones, and how many there are.
const LARGE_SHARDS: (usize, f64) = (8, 36e6);
const SMALL_SHARDS: (usize, f64) = (40, 0.3e6);

/// Compare snap with influxd and rclone, on this machine
#[derive(Parser)]
struct Options {
    /// Only the tasks whose names hold this
    #[arg(long, default_value = "", value_name = "TEXT")]
    only: String,
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
    for (name, kind) in [
        ("incompressible", Kind::Incompressible),
        ("agent", Kind::Agent),
    ] {
        if name.contains(&options.common.data) {
            let root = folder.path().join(name);
            options.compare(name, kind, &root, &mut lines);
            fs::remove_dir_all(&root).expect("removing a data set");
        }
    }
    let setting = options.setting(folder.path());
    println!("{}", report::markdown(&setting, &lines));
    if let Some(path) = &options.common.markdown {
        report::write_markdown(path, &setting, &lines);
    }
}

impl Options {
    /// Does all tasks with a kind of data.
    fn compare(&self, name: &'static str, kind: Kind, root: &Path, lines: &mut Vec<Line>) {
        let shards = |(count, bytes)| vec![self.bytes(bytes); count];
        let shards = [shards(LARGE_SHARDS), shards(SMALL_SHARDS)].concat();
        let bench = Bench::start(root, &Database::new(kind, shards));
        for task in Task::ALL {
            if task.title().contains(&self.only) {
                let line = bench.compare(task, name, self.common.rounds.max(1));
                eprintln!("{}", line.brief());
                lines.push(line);
            }
        }
    }

    fn bytes(&self, bytes: f64) -> u64 {
        (bytes * self.common.scale) as u64
    }

    /// On what, with what, and how often.
    fn setting(&self, directory: &Path) -> Vec<String> {
        let size = |bytes| format!("{:.2} MB", self.bytes(bytes) as f64 / 1e6);
        vec![
            format!("Machine: {}", machine::machine(directory)),
            format!("Versions: {}", report::versions()),
            format!(
                "Data: {} shards of {} and {} of {}",
                LARGE_SHARDS.0,
                size(LARGE_SHARDS.1),
                SMALL_SHARDS.0,
                size(SMALL_SHARDS.1)
            ),
            format!("Rounds: {}", self.common.rounds.max(1)),
        ]
    }
}
