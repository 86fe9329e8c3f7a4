//! What is printed: results on standard output, everything else on standard error.

use std::io::IsTerminal;
use std::path::Path;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use jiff::Timestamp;

use super::super::OutputArgs;
use super::bars::Bars;
use super::json::{self, Json};
use super::terminal::{print_exact, print_line, say};
use super::text::Lines;
use crate::error::{hint, kind_of};
pub use crate::ops::plural;
use crate::ops::{Losses, MadeSet};
use crate::progress::{Progress, Silent};

/// How much is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verbosity {
    /// Errors.
    Quiet,
    /// Progress and results too.
    Normal,
    /// Requests, retries and times too.
    Verbose,
}

/// Where and how a command prints.
#[derive(Debug)]
pub struct Output {
    verbosity: Verbosity,
    json: bool,
    /// A lock, because what a service logs comes from several threads.
    tally: Mutex<Tally>,
}

/// What a command did, in numbers: nothing where it failed.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    /// The id of the set that was made, or looked at.
    pub set: Option<String>,
    /// Bytes stored, restored, read or freed.
    pub bytes: Option<u64>,
    /// Files removed.
    pub files: Option<usize>,
    /// Shards by what became of them.
    pub shards: Vec<(&'static str, usize)>,
    /// Sets by what became of them.
    pub sets: Vec<(&'static str, usize)>,
    /// The ids of the sets that were removed, where sets are.
    pub removed: Option<Vec<String>>,
    /// What is missing or wrong, a sentence each.
    pub wrong: Vec<String>,
    /// Faults found, where they were looked for.
    pub faults: Option<u64>,
    /// When the newest complete set was begun, where that was looked for.
    pub newest: Option<Timestamp>,
    /// Databases of the set before of which nothing is left, where there was one to compare with.
    pub lost_databases: Option<usize>,
    /// Whether the server is another than that of the set before, where there was one to compare with.
    pub server_changed: Option<bool>,
}

/// What a command did, for its last line.
pub struct Summary<'a> {
    /// `backup` or `restore`.
    pub command: &'a str,
    /// The set that was made.
    pub set: Option<&'a MadeSet>,
    /// The backup directory.
    pub directory: &'a Path,
    /// Whether nothing was changed.
    pub dry_run: bool,
    /// Shards dealt with.
    pub shards: usize,
    /// Shards among these that share the file of an earlier set.
    pub shared: usize,
    /// Shards that had nothing to send.
    pub empty: usize,
    /// Files written, where that is counted.
    pub files: Option<usize>,
    /// Bytes of them.
    pub bytes: u64,
    /// The `meta.db` that a restore wrote, or would write.
    pub metastore: Option<&'a Path>,
    /// What is missing, a sentence each.
    pub missing: &'a [String],
    /// What can lack points, a sentence each.
    pub unproven: &'a [String],
    /// Why the set cannot be restored whole with the sets before it, a sentence each.
    pub gaps: &'a [String],
    /// What the server does not hold any more, where there is a set to compare with.
    pub losses: Option<&'a Losses>,
    /// How long it took.
    pub elapsed: Duration,
}

impl Output {
    /// The output that the flags ask for.
    pub fn new(args: &OutputArgs) -> Self {
        Self {
            verbosity: args.verbosity(),
            json: args.json,
            tally: Mutex::default(),
        }
    }

    /// Keeps what was done.
    pub fn keep(&self, tally: Tally) {
        *self.tally.lock().unwrap_or_else(PoisonError::into_inner) = tally;
    }

    /// What was done, as far as it was kept.
    pub fn tally(&self) -> Tally {
        self.tally
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether only errors are printed.
    pub fn is_quiet(&self) -> bool {
        self.verbosity == Verbosity::Quiet
    }

    /// Says what begins.
    pub fn opening(&self, text: &str) {
        match (self.verbosity, self.json) {
            (Verbosity::Quiet, _) => {}
            (_, true) => json::status("info", text),
            (_, false) => say(text),
        }
    }

    /// Says something the operator should know.
    pub fn warning(&self, text: &str) {
        // A program that reads JSON can tell them from errors.
        if self.json || self.verbosity != Verbosity::Quiet {
            self.failure(text);
        }
    }

    /// Says what failed beside the run itself: an error, and those are printed always.
    pub fn failure(&self, text: &str) {
        if self.json {
            json::status("warning", text);
        } else {
            say(&format!("warning: {text}"));
        }
    }

    /// Prints the result of a command that has but one line of it.
    ///
    /// # Errors
    ///
    /// When standard output cannot be written.
    pub fn closing(&self, text: &str) -> Result<()> {
        match (self.verbosity, self.json) {
            (Verbosity::Quiet, _) => {}
            (_, true) => json::status("info", text),
            (_, false) => print_line(text).context("writing to standard output")?,
        }
        Ok(())
    }

    /// Runs an operation with the listener that fits: JSON lines, bars on a terminal, plain lines elsewhere.
    pub fn while_running<T>(&self, run: impl FnOnce(&dyn Progress) -> T) -> T {
        let verbose = self.verbosity == Verbosity::Verbose;
        if self.json {
            return run(&Json {
                verbose,
                quiet: self.verbosity == Verbosity::Quiet,
            });
        }
        if self.verbosity == Verbosity::Quiet {
            return run(&Silent);
        }
        if std::io::stderr().is_terminal()
            && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
        {
            let bars = Bars::new(verbose);
            let result = run(&bars);
            bars.clear();
            return result;
        }
        run(&Lines { verbose })
    }

    /// Prints the summary line.
    ///
    /// # Errors
    ///
    /// When standard output cannot be written.
    pub fn summary(&self, summary: &Summary<'_>) -> Result<()> {
        self.keep(summary.tally());
        let printed = if self.json {
            print_exact(&json::summary(summary))
        } else if self.verbosity == Verbosity::Quiet {
            // What is missing is an error, and those are printed always.
            summary
                .lacks()
                .for_each(|lacks| say(&format!("snap: {lacks}")));
            return Ok(());
        } else {
            summary.lacks().for_each(|lacks| say(&lacks));
            print_line(&summary.line())
        };
        printed.context("writing to standard output")
    }

    /// Prints an error with its causes, and its hint on a line of its own.
    pub fn error(&self, error: &anyhow::Error) {
        if self.json {
            json::exit_error(
                kind_of(error).exit_code(),
                &format!("{error:#}"),
                hint(error),
            );
            return;
        }
        say(&format!("snap: {error:#}"));
        if let Some(hint) = hint(error) {
            say(&format!("hint: {hint}"));
        }
    }
}

impl Summary<'_> {
    fn tally(&self) -> Tally {
        let missing = ("missing", self.missing.len());
        let unproven = ("unproven", self.unproven.len());
        Tally {
            set: self.set.map(|set| set.id.clone()),
            bytes: Some(self.bytes),
            shards: match self.command {
                "backup" => {
                    let stored = self.shards.saturating_sub(self.shared);
                    let mut shards = vec![
                        ("stored", stored),
                        ("shared", self.shared),
                        ("empty", self.empty),
                        missing,
                        unproven,
                    ];
                    shards.extend(self.losses.map(|losses| ("lost", losses.shards)));
                    shards
                }
                _ => vec![("restored", self.shards), missing],
            },
            wrong: [self.missing, self.unproven].concat(),
            lost_databases: self.losses.map(|losses| losses.databases.len()),
            server_changed: self.losses.map(|losses| losses.other_server.is_some()),
            ..Tally::default()
        }
    }

    /// What is missing, or may be, a line each.
    fn lacks(&self) -> impl Iterator<Item = String> {
        let missing = self.missing.iter().map(|text| format!("missing: {text}"));
        let unproven = self.unproven.iter().map(|text| format!("unproven: {text}"));
        missing.chain(unproven)
    }

    fn line(&self) -> String {
        let directory = self.directory.display();
        let mut parts = vec![plural(self.shards, "shard")];
        if self.shared > 0 {
            parts.push(format!("{} of them unchanged and shared", self.shared));
        }
        if self.empty > 0 {
            parts.push(format!("{} without anything to fetch", self.empty));
        }
        if let Some(files) = self.files {
            parts.push(plural(files, "file"));
        }
        parts.push(bytes(self.bytes));
        let counts = match self.metastore {
            // All that there was to restore.
            Some(metastore) if self.shards == 0 && self.missing.is_empty() => {
                metastore.display().to_string()
            }
            Some(metastore) => format!("{} and {}", parts.join(", "), metastore.display()),
            None => parts.join(", "),
        };
        let took = seconds(self.elapsed);
        let mut missing = String::new();
        for (count, what) in [
            (self.missing.len(), "missing"),
            (self.unproven.len(), "unproven"),
        ] {
            if count > 0 {
                missing += &format!("; {count} {what}");
            }
        }
        match (self.command, self.dry_run, self.set) {
            ("backup", true, _) => format!("dry run: would fetch {counts} into {directory}"),
            ("restore", true, _) => {
                format!("dry run: would restore {counts} from {directory}{missing}")
            }
            ("backup", false, Some(MadeSet { id, meta, .. })) => {
                format!("1 set {id} ({meta}): {counts} in {took}, in {directory}{missing}")
            }
            _ => format!("restored {counts} in {took} from {directory}{missing}"),
        }
    }
}

/// A text that stays in its line: names come from elsewhere and must not add to it.
pub fn one_line(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect()
}

/// A number of bytes as people read it.
pub fn bytes(count: u64) -> String {
    const UNITS: [&str; 5] = ["KiB", "MiB", "GiB", "TiB", "PiB"];
    if count < 1024 {
        return format!("{count} B");
    }
    let mut value = count as f64 / 1024.0;
    let mut unit = 0;
    while value >= 1023.95 && unit + 1 < UNITS.len() {
        value /= 1024.0;
        unit += 1;
    }
    format!("{value:.1} {}", UNITS[unit])
}

/// A length of time as people read it.
pub fn seconds(elapsed: Duration) -> String {
    format!("{:.1} s", elapsed.as_secs_f64())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_in_the_unit_that_fits() {
        assert_eq!(bytes(1023), "1023 B");
        assert_eq!(bytes(1536), "1.5 KiB");
        assert_eq!(bytes((1 << 20) - 1), "1.0 MiB");
        assert_eq!(bytes(u64::MAX), "16384.0 PiB");
    }
}
