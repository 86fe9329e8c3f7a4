//! The results as text and as Markdown, with the machine they come from.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;

use super::growth::Step;
use super::results::{Line, Side, Sides};

/// Lines of a document between which the results stand.
const BEGIN: &str = "<!-- bench:begin -->";
const END: &str = "<!-- bench:end -->";

/// All there is to say.
pub struct Report {
    /// Machine, versions, data and rounds, each with its name.
    pub setting: Vec<(&'static str, String)>,
    pub lines: Vec<Line>,
    pub steps: Vec<Step>,
}

/// Panics where a file is there and has no place for the results.
pub fn expect_place_in(path: &Path) {
    let is_ready = fs::read_to_string(path).is_ok_and(|text| around_results(&text).is_some());
    assert!(
        is_ready || !path.exists(),
        "{} has no lines {BEGIN} and {END}",
        path.display()
    );
}

/// What stands before and after the results in a document.
fn around_results(document: &str) -> Option<(&str, &str)> {
    let (before, rest) = document.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some((before, after))
}

/// A table: the names of its columns, and its rows.
struct Table {
    columns: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Report {
    /// For a terminal.
    pub fn text(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.setting {
            writeln!(text, "{name:<10} {value}").expect("writing to a string");
        }
        for table in self.tables() {
            text.push('\n');
            text.push_str(&table.text());
        }
        text
    }

    /// For a document.
    pub fn markdown(&self) -> String {
        let mut text = String::new();
        for (name, value) in &self.setting {
            writeln!(text, "- {name}: {value}").expect("writing to a string");
        }
        for table in self.tables() {
            text.push('\n');
            text.push_str(&table.markdown());
        }
        text
    }

    /// Writes the results to a file as Markdown, as [`expect_place_in`] found it.
    pub fn write_markdown(&self, path: &Path) {
        let old = fs::read_to_string(path).unwrap_or_default();
        let (before, after) = around_results(&old).unwrap_or(("", "\n"));
        let new = format!("{before}{BEGIN}\n\n{}\n{END}{after}", self.markdown());
        fs::write(path, new).expect("writing the Markdown");
    }

    /// The tables that are not empty.
    fn tables(&self) -> impl Iterator<Item = Table> {
        [self.figures(), self.growth()]
            .into_iter()
            .filter(|table| !table.rows.is_empty())
    }

    /// The lines, those of one figure together.
    fn figures(&self) -> Table {
        let mut rows = Vec::new();
        for (at, first) in self.lines.iter().enumerate() {
            let is_same = |line: &&Line| line.row.title == first.row.title;
            if self.lines[..at].iter().any(|line| is_same(&line)) {
                continue;
            }
            for line in self.lines.iter().filter(is_same) {
                rows.push(figure_row(line));
            }
        }
        let columns = vec![
            "",
            "data",
            "median (least to greatest)",
            "at most",
            "",
            "CPU ratio",
            "snap",
            "the other",
        ];
        Table { columns, rows }
    }

    fn growth(&self) -> Table {
        let row = |step: &Step| {
            let sides = [step.legacy, step.portable, step.restore].map(side_text);
            [step.series.to_owned(), step.at.clone()]
                .into_iter()
                .chain(sides)
                .collect()
        };
        Table {
            columns: vec![
                "what grows",
                "to",
                "legacy backup",
                "portable backup",
                "offline restore of that",
            ],
            rows: self.steps.iter().map(row).collect(),
        }
    }
}

fn figure_row(line: &Line) -> Vec<String> {
    let at_most = line.row.at_most.map(|value| line.row.unit.text(value));
    let sides = match &line.sides {
        Some(Sides { cpu, snap, other }) => [
            format!("{:.2}", cpu.median),
            side_text(*snap),
            side_text(*other),
        ],
        None => Default::default(),
    };
    let figure = [
        line.row.title.to_owned(),
        line.data.clone(),
        line.value_text(),
        at_most.unwrap_or_default(),
        line.verdict().to_owned(),
    ];
    figure.into_iter().chain(sides).collect()
}

/// Wall time, CPU time and peak memory.
fn side_text(side: Side) -> String {
    let (wall, cpu) = (side.wall.as_secs_f64(), side.cpu.as_secs_f64());
    format!("{wall:.2} s, CPU {cpu:.2} s, {:.0} MiB", side.peak)
}

impl Table {
    fn text(&self) -> String {
        let header: Vec<String> = self.columns.iter().map(|&name| name.to_owned()).collect();
        let all = || [&header].into_iter().chain(&self.rows);
        let widths: Vec<usize> = (0..self.columns.len())
            .map(|at| all().map(|row| row[at].chars().count()).max().unwrap_or(0))
            .collect();
        let mut text = String::new();
        for row in all() {
            let cells = row.iter().zip(&widths);
            let cells: Vec<String> = cells
                .map(|(cell, width)| format!("{cell:<width$}"))
                .collect();
            writeln!(text, "{}", cells.join("  ").trim_end()).expect("writing to a string");
        }
        text
    }

    fn markdown(&self) -> String {
        let mut text = format!("| {} |\n", self.columns.join(" | "));
        writeln!(text, "|{}", "---|".repeat(self.columns.len())).expect("writing to a string");
        for row in &self.rows {
            writeln!(text, "| {} |", row.join(" | ")).expect("writing to a string");
        }
        text
    }
}

/// The machine, with the file system of a directory.
pub fn machine(directory: &Path) -> String {
    let cores = thread::available_parallelism().map_or(0, usize::from);
    let first = |path: &str, name: &str| {
        let text = fs::read_to_string(path).unwrap_or_default();
        let value = text.lines().find_map(|line| {
            let (found, value) = line.split_once(':')?;
            (found.trim() == name).then(|| value.trim().to_owned())
        });
        value.unwrap_or_else(|| "unknown".to_owned())
    };
    let memory = first("/proc/meminfo", "MemTotal");
    let memory = memory.trim_end_matches(" kB").parse::<f64>();
    format!(
        "{cores} cores, {}, {:.0} GiB of memory, {}, {}",
        first("/proc/cpuinfo", "model name"),
        memory.map_or(0.0, |kibibytes| kibibytes / 1_048_576.0),
        first_line("uname", &["-sr".as_ref()]),
        file_system(directory)
    )
}

/// The type of the file system that a directory is on.
fn file_system(directory: &Path) -> String {
    let type_flags = ["-n", "-o", "FSTYPE", "-T"].map(Path::new);
    first_line("findmnt", &[&type_flags[..], &[directory]].concat())
}

/// The versions of what is compared.
pub fn versions() -> String {
    let snap = first_line(env!("CARGO_BIN_EXE_snap"), &["--version".as_ref()]);
    let influxd = first_line("influxd", &["version".as_ref()]);
    let influxd = influxd.split(" (").next().unwrap_or_default();
    let tools = ["pigz", "gzip", "tar", "sha256sum"].map(|tool| {
        let line = first_line(tool, &["--version".as_ref()]);
        let number = line.split_whitespace().last().unwrap_or_default();
        format!("{tool} {number}")
    });
    format!("{snap}, {influxd}, {}", tools.join(", "))
}

/// The first line that a program prints.
fn first_line(program: &str, args: &[&Path]) -> String {
    let output = Command::new(program).args(args).output();
    let output = output.unwrap_or_else(|error| panic!("{program}: {error}"));
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().next().unwrap_or("unknown").to_owned()
}
