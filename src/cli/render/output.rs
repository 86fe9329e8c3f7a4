//! What is printed: results on standard output, everything else on standard error.

use std::io::IsTerminal;
use std::sync::{Mutex, PoisonError};

use anyhow::{Context, Result};

use super::bars::Bars;
use super::json::{self, Json};
use super::messages::run::RunSummary;
use super::messages::{Level, Message};
use super::tally::Tally;
use super::terminal::{print_line, print_lines, say};
use super::text::Lines;
use crate::cancel::Cancel;
use crate::cli::flags::{OutputArgs, Verbosity};
use crate::context;
use crate::error::hint;
use crate::progress::{Progress, Silent};

/// Where and how a command prints.
#[derive(Debug)]
pub(crate) struct Output {
    verbosity: Verbosity,
    json: bool,
    /// A lock, because what a service logs comes from several threads.
    tally: Mutex<Tally>,
}

impl Output {
    /// The output that the flags ask for.
    pub(crate) fn new(args: &OutputArgs) -> Self {
        Self {
            verbosity: args.verbosity(),
            json: args.json,
            tally: Mutex::default(),
        }
    }

    /// Keeps what was done.
    pub(crate) fn keep(&self, tally: Tally) {
        *self.tally.lock().unwrap_or_else(PoisonError::into_inner) = tally;
    }

    /// What was done, as far as it was kept.
    pub(crate) fn tally(&self) -> Tally {
        self.tally
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }

    /// Whether results are JSON lines.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether only errors are printed.
    pub(crate) fn is_quiet(&self) -> bool {
        self.verbosity == Verbosity::Quiet
    }

    /// Says what begins.
    pub(crate) fn opening(&self, text: &str) {
        match (self.verbosity, self.json) {
            (Verbosity::Quiet, _) => {}
            (_, true) => json::status(Level::Info, text),
            (_, false) => say(text),
        }
    }

    /// Says something the operator should know.
    pub(crate) fn warning(&self, text: &str) {
        // A program that reads JSON can tell them from errors.
        if self.json || self.verbosity != Verbosity::Quiet {
            self.failure(text);
        }
    }

    /// Says what failed beside the run itself: an error, and those are printed always.
    pub(crate) fn failure(&self, text: &str) {
        if self.json {
            json::status(Level::Warning, text);
        } else {
            say(&format!("warning: {text}"));
        }
    }

    /// Prints the result of a command that has but one line of it: a message in JSON, else in text.
    ///
    /// # Errors
    ///
    /// When standard output cannot be written.
    pub(crate) fn closing<M: Message>(&self, message: &M, text: &str) -> Result<()> {
        match (self.json, self.verbosity) {
            (true, _) => json::print(message),
            (_, Verbosity::Quiet) => Ok(()),
            _ => self.line(text),
        }
    }

    /// Prints a line of text, -quiet or not.
    ///
    /// # Errors
    ///
    /// When standard output cannot be written.
    pub(crate) fn line(&self, text: &str) -> Result<()> {
        print_line(text).context("writing to standard output")
    }

    /// Prints lines of text whose names are escaped already.
    ///
    /// # Errors
    ///
    /// When standard output cannot be written.
    pub(crate) fn lines(&self, text: &str) -> Result<()> {
        print_lines(text).context("writing to standard output")
    }

    /// Runs an operation that `cancel` may stop, with the listener that fits: JSON lines, bars on a
    /// terminal, plain lines elsewhere.
    pub(crate) fn while_running<T>(
        &self,
        cancel: &Cancel,
        run: impl FnOnce(context::Context<'_>) -> T,
    ) -> T {
        self.with_listener(|progress| run(context::Context { cancel, progress }))
    }

    fn with_listener<T>(&self, run: impl FnOnce(&dyn Progress) -> T) -> T {
        let verbose = self.verbosity == Verbosity::Verbose;
        let quiet = self.is_quiet();
        if self.json {
            return run(&Json { verbose, quiet });
        }
        if quiet {
            return run(&Silent);
        }
        if is_smart_terminal() {
            let bars = Bars::new(verbose);
            let result = run(&bars);
            bars.clear();
            return result;
        }
        run(&Lines { verbose })
    }

    /// Prints the end of a backup or restore.
    ///
    /// # Errors
    ///
    /// When standard output cannot be written.
    pub(crate) fn summary(&self, summary: &RunSummary<'_>) -> Result<()> {
        self.keep(summary.tally());
        if self.json {
            return json::print(summary);
        }
        if self.is_quiet() {
            // What is missing is an error, and those are printed always.
            summary
                .lacks()
                .for_each(|lacks| say(&format!("snap: {lacks}")));
            return Ok(());
        }
        summary.lacks().for_each(|lacks| say(&lacks));
        self.line(&summary.line())
    }

    /// Prints an error with its causes, and its hint on a line of its own.
    pub(crate) fn error(&self, error: &anyhow::Error) {
        print_error_as(error, self.json);
    }
}

/// Prints an error, as a JSON line or in text with its hint on a line of its own.
pub(crate) fn print_error_as(error: &anyhow::Error, json: bool) {
    if json {
        json::exit_error(error);
        return;
    }
    say(&format!("snap: {error:#}"));
    if let Some(hint) = hint(error) {
        say(&format!("hint: {hint}"));
    }
}

/// Whether standard error is a terminal that can draw bars.
fn is_smart_terminal() -> bool {
    std::io::stderr().is_terminal() && std::env::var_os("TERM").is_none_or(|term| term != "dumb")
}
