//! The results as Markdown.

use super::document::{ResultsPlace, table};
use super::machine::first_line;
use super::measure::Usage;
use super::memory::{AT_MOST as AT_MOST_MEMORY, MemoryLine};
use super::support::influxd::influxd_binary;

/// Where the results stand in a document.
pub const PLACE: ResultsPlace = ResultsPlace {
    begin: "<!-- bench:export:begin -->",
    end: "<!-- bench:export:end -->",
};

/// The most that a ratio of wall times is meant to be.
const AT_MOST: f64 = 0.33;

/// Bytes in a MiB.
const MEBIBYTE: f64 = 1_048_576.0;

/// A kind of export of a kind of data, and the queries beside it.
pub struct Line {
    title: &'static str,
    data: &'static str,
    points: u64,
    /// Of the TSM files.
    bytes: u64,
    pub snap: Vec<Usage>,
    pub server: Vec<Usage>,
}

impl Line {
    pub fn new(title: &'static str, data: &'static str, points: u64, bytes: u64) -> Self {
        Self {
            title,
            data,
            points,
            bytes,
            snap: Vec::new(),
            server: Vec::new(),
        }
    }

    fn cells(&self) -> [String; 7] {
        let pairs = self.snap.iter().zip(&self.server);
        let ratios = sorted(pairs.map(|(snap, server)| wall(snap) / wall(server)));
        let median = median(&ratios);
        let verdict = match median <= AT_MOST {
            true => "met",
            false => "not met",
        };
        let rate = self.points as f64 / least(&self.snap, wall) / 1e6;
        [
            self.title.to_owned(),
            format!("{}, {:.0} MB of TSM", self.data, self.bytes as f64 / 1e6),
            format!(
                "{median:.3} ({:.3} to {:.3})",
                ratios[0],
                ratios[ratios.len() - 1]
            ),
            verdict.to_owned(),
            format!("{rate:.1}"),
            told(&self.snap),
            told(&self.server),
        ]
    }

    /// While others are still to come.
    pub fn brief(&self) -> String {
        self.cells().join(" | ")
    }
}

fn wall(usage: &Usage) -> f64 {
    usage.wall.as_secs_f64()
}

fn sorted(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut values: Vec<f64> = values.collect();
    values.sort_by(f64::total_cmp);
    values
}

fn median(sorted: &[f64]) -> f64 {
    f64::midpoint(sorted[(sorted.len() - 1) / 2], sorted[sorted.len() / 2])
}

fn least(usages: &[Usage], get: fn(&Usage) -> f64) -> f64 {
    sorted(usages.iter().map(get))[0]
}

/// Wall time, CPU time and peak memory, the least of each.
fn told(usages: &[Usage]) -> String {
    format!(
        "{:.2} s, CPU {:.2} s, {:.0} MiB",
        least(usages, wall),
        least(usages, |usage| usage.cpu.as_secs_f64()),
        least(usages, |usage| usage.peak_rss as f64) / MEBIBYTE
    )
}

impl MemoryLine {
    /// The cells of its line.
    pub fn cells(&self) -> [String; 5] {
        let usage = &self.usage;
        let verdict = match usage.peak_rss <= AT_MOST_MEMORY {
            true => "met",
            false => "not met",
        };
        [
            self.format.to_owned(),
            self.backup.to_owned(),
            format!("{:.1} MiB", usage.peak_rss as f64 / MEBIBYTE),
            verdict.to_owned(),
            format!(
                "{:.1} s, CPU {:.1} s, {:.1} million points a second",
                wall(usage),
                usage.cpu.as_secs_f64(),
                self.points as f64 / wall(usage) / 1e6
            ),
        ]
    }
}

/// All there is to say.
pub fn markdown(setting: &[String], lines: &[Line], large: &[MemoryLine]) -> String {
    let header = format!(
        "export | data | wall, snap / queries: median (least to greatest) | at most {AT_MOST} | \
         million points a second | snap | curl"
    );
    let rows = lines.iter().map(|row| row.cells().join(" | "));
    let beside = table(setting, &header, rows);
    let limit = AT_MOST_MEMORY as f64 / MEBIBYTE;
    let header = format!("export | data | peak memory | at most {limit:.0} MiB | time");
    let rows = large.iter().map(|row| row.cells().join(" | "));
    let memory = table(&[], &header, rows);
    format!("{beside}\n{}", memory.trim_start())
}

/// The versions of what is compared.
pub fn versions() -> String {
    let influxd = first_line(influxd_binary(), &["version"]);
    let curl = first_line("curl", &["--version"]);
    format!(
        "{}, {}, {}",
        first_line(env!("CARGO_BIN_EXE_snap"), &["--version"]),
        influxd.split(" (").next().unwrap_or_default(),
        curl.split(" (").next().unwrap_or_default(),
    )
}
