//! The results as Markdown.

use std::path::Path;

use super::document::{ResultsPlace, table};
use super::machine::first_line;
use super::measure::Usage;
use super::support::influxd::influxd_binary;
use super::support::object_storage::binary;
use super::support::proxy::Request;

/// Where the results stand in a document.
pub const PLACE: ResultsPlace = ResultsPlace {
    begin: "<!-- bench:object-storage:begin -->",
    end: "<!-- bench:object-storage:end -->",
};

/// The most that a ratio of wall times is meant to be.
const AT_MOST: f64 = 0.5;

/// Bytes in a MiB.
const MEBIBYTE: f64 = 1_048_576.0;

/// How a client did a task.
#[derive(Default)]
pub struct Runs {
    pub usages: Vec<Usage>,
    /// Processor time of the servers for each, in seconds.
    pub servers: Vec<f64>,
    /// Bytes that a run left on the local disk.
    pub on_disk: u64,
    pub requests: Requests,
}

/// Requests to the storage, by what they cost.
#[derive(Default)]
pub struct Requests {
    put: usize,
    get: usize,
    list: usize,
    delete: usize,
}

impl Requests {
    pub fn of(requests: &[Request]) -> Self {
        let mut counts = Self::default();
        for request in requests {
            match request.operation() {
                "list" | "list uploads" => counts.list += 1,
                "get" | "head" => counts.get += 1,
                "delete" | "abort" => counts.delete += 1,
                _ => counts.put += 1,
            }
        }
        counts
    }

    fn text(&self) -> String {
        let Self {
            put,
            get,
            list,
            delete,
        } = self;
        format!("{put} / {get} / {list} / {delete}")
    }
}

/// A task with a kind of data.
pub struct Line {
    pub title: &'static str,
    pub data: &'static str,
    pub snap: Runs,
    pub others: Runs,
}

/// A median, with the least and the greatest.
struct Spread([f64; 3]);

impl Spread {
    fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut values: Vec<f64> = values.into_iter().collect();
        values.sort_by(f64::total_cmp);
        let (low, high) = ((values.len() - 1) / 2, values.len() / 2);
        Self([
            f64::midpoint(values[low], values[high]),
            values[0],
            values[values.len() - 1],
        ])
    }

    fn median(&self) -> f64 {
        self.0[0]
    }
}

impl Runs {
    fn median(&self, get: fn(&Usage) -> f64) -> f64 {
        Spread::of(self.usages.iter().map(get)).median()
    }

    fn median_of_servers(&self) -> f64 {
        Spread::of(self.servers.iter().copied()).median()
    }

    /// Wall time, CPU time, peak memory, bytes on the local disk.
    fn text(&self) -> String {
        format!(
            "{:.2} s, CPU {:.2} s, {:.0} MiB, disk {:.0} MiB",
            self.median(wall),
            self.median(cpu),
            self.median(|usage| usage.peak_rss as f64) / MEBIBYTE,
            self.on_disk as f64 / MEBIBYTE
        )
    }
}

fn wall(usage: &Usage) -> f64 {
    usage.wall.as_secs_f64()
}

fn cpu(usage: &Usage) -> f64 {
    usage.cpu.as_secs_f64()
}

impl Line {
    fn ratios(&self, get: fn(&Usage) -> f64) -> Spread {
        let pairs = self.snap.usages.iter().zip(&self.others.usages);
        Spread::of(pairs.map(|(ours, theirs)| get(ours) / get(theirs)))
    }

    fn cells(&self) -> [String; 10] {
        let walls = self.ratios(wall);
        let Spread([median, least, greatest]) = walls;
        let verdict = match median <= AT_MOST {
            true => "met",
            false => "not met",
        };
        [
            self.title.to_owned(),
            self.data.to_owned(),
            format!("{median:.2} ({least:.2} to {greatest:.2})"),
            verdict.to_owned(),
            format!("{:.2}", self.ratios(cpu).median()),
            format!(
                "{:.2} s / {:.2} s",
                self.snap.median_of_servers(),
                self.others.median_of_servers()
            ),
            self.snap.text(),
            self.others.text(),
            self.snap.requests.text(),
            self.others.requests.text(),
        ]
    }

    /// While others are still to come.
    pub fn brief(&self) -> String {
        self.cells().join(" | ")
    }
}

/// All there is to say.
pub fn markdown(setting: &[String], lines: &[Line]) -> String {
    let header = format!(
        "| data | median (least to greatest) | at most {AT_MOST} | CPU ratio | CPU of the servers | snap \
         | influxd + rclone | requests of snap | of rclone"
    );
    let rows = lines.iter().map(|row| row.cells().join(" | "));
    table(setting, &header, rows)
}

/// Writes the results to a file.
pub fn write_markdown(path: &Path, setting: &[String], lines: &[Line]) {
    PLACE.write(path, &markdown(setting, lines));
}

/// The versions of what is compared.
pub fn versions() -> String {
    let weed = first_line(binary("weed"), &["version"]);
    let weed = weed.split(' ').nth(2).unwrap_or("of unknown version");
    let influxd = first_line(influxd_binary(), &["version"]);
    let influxd = influxd.split(" (").next().unwrap_or_default();
    format!(
        "{}, {influxd}, {}, SeaweedFS {weed}",
        first_line(env!("CARGO_BIN_EXE_snap"), &["--version"]),
        first_line(binary("rclone"), &["version"]),
    )
}
