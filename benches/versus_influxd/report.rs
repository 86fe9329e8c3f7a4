//! The results as text and as Markdown, with the machine they come from.

use std::fmt::Write as _;
use std::path::Path;

use super::document::ResultsPlace;
use super::growth::Step;
use super::machine::first_line;
use super::results::{Line, Side, Sides};

/// Where the results stand in a document.
pub const PLACE: ResultsPlace = ResultsPlace {
    begin: "<!-- bench:begin -->",
    end: "<!-- bench:end -->",
};

/// All there is to say.
pub struct Report {
    /// Machine, versions, data and rounds, each with its name.
    pub setting: Vec<(&'static str, String)>,
    pub lines: Vec<Line>,
    pub steps: Vec<Step>,
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

    /// Writes the results to a file as Markdown.
    pub fn write_markdown(&self, path: &Path) {
        PLACE.write(path, &self.markdown());
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

/// The versions of what is compared.
pub fn versions() -> String {
    let snap = first_line(env!("CARGO_BIN_EXE_snap"), &["--version"]);
    let influxd = first_line("influxd", &["version"]);
    let influxd = influxd.split(" (").next().unwrap_or_default();
    let tools = ["pigz", "gzip", "tar", "sha256sum"].map(|tool| {
        let line = first_line(tool, &["--version"]);
        let number = line.split_whitespace().last().unwrap_or_default();
        format!("{tool} {number}")
    });
    format!("{snap}, {influxd}, {}", tools.join(", "))
}
