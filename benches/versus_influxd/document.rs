//! The place of the results of a benchmark in a document.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

/// Two lines of a document between which results stand.
pub struct ResultsPlace {
    pub begin: &'static str,
    pub end: &'static str,
}

impl ResultsPlace {
    /// Panics where a file is there and has no such lines.
    pub fn expect_in(&self, path: &Path) {
        let Self { begin, end } = self;
        let is_ready = fs::read_to_string(path).is_ok_and(|text| self.around(&text).is_some());
        assert!(
            is_ready || !path.exists(),
            "{} has no lines {begin} and {end}",
            path.display()
        );
    }

    /// Writes results to a file, as [`ResultsPlace::expect_in`] found it.
    pub fn write(&self, path: &Path, results: &str) {
        let Self { begin, end } = self;
        let old = fs::read_to_string(path).unwrap_or_default();
        let (before, after) = self.around(&old).unwrap_or(("", "\n"));
        let new = format!("{before}{begin}\n\n{results}\n{end}{after}");
        fs::write(path, new).expect("writing the Markdown");
    }

    /// What stands before and after the results in a document.
    fn around<'a>(&self, document: &'a str) -> Option<(&'a str, &'a str)> {
        let (before, rest) = document.split_once(self.begin)?;
        let (_, after) = rest.split_once(self.end)?;
        Some((before, after))
    }
}

/// A list of the setting and a table of results, as Markdown.
#[allow(dead_code)]
pub fn table(setting: &[String], header: &str, rows: impl Iterator<Item = String>) -> String {
    let mut text = String::new();
    let mut line = |line: String| writeln!(text, "{line}").expect("writing to a string");
    setting.iter().for_each(|said| line(format!("- {said}")));
    line(String::new());
    line(format!("| {header} |"));
    let columns = header.matches('|').count() + 1;
    line(format!("|{}", "---|".repeat(columns)));
    rows.for_each(|row| line(format!("| {row} |")));
    text
}
