//! What is printed: results on standard output, everything else on standard error.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};

use super::bars::Bars;
use super::json::{self, Json};
use super::messages::run::RunSummary;
use super::messages::{Level, Message};
use super::tally::Tally;
use super::terminal::{Label, Line, is_smart_terminal, print_line, print_lines, say_line};
use super::text::Lines;
use crate::cancel::Cancel;
use crate::cli::flags::{OutputArgs, Verbosity};
use crate::context;
use crate::error::{ErrorKind, hint, told};
use crate::progress::Progress;
use crate::text::plural;

/// Where and how a command prints. Clones share what they know.
#[derive(Clone)]
pub(crate) struct Output {
    verbosity: Verbosity,
    json: bool,
    shared: Arc<Mutex<Shared>>,
}

#[derive(Default)]
struct Shared {
    tally: Tally,
    /// How many faults were told, though the command went on.
    faults: usize,
    /// The rows of progress, while they are on the screen.
    bars: Option<Arc<Bars>>,
}

impl Output {
    /// The output that the flags ask for.
    pub(crate) fn new(args: &OutputArgs) -> Self {
        Self {
            verbosity: args.verbosity(),
            json: args.json,
            shared: Arc::default(),
        }
    }

    /// Keeps what was done.
    pub(crate) fn keep(&self, tally: Tally) {
        self.shared().tally = tally;
    }

    /// What was done, as far as it was kept.
    pub(crate) fn tally(&self) -> Tally {
        self.shared().tally.clone()
    }

    fn shared(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Prints something; rows of progress are taken off the screen meanwhile.
    fn beside_bars<T>(&self, print: impl FnOnce() -> T) -> T {
        let bars = self.shared().bars.clone();
        match bars {
            Some(bars) => bars.beside(print),
            None => print(),
        }
    }

    /// Writes a line to standard error.
    pub(super) fn say(&self, line: &Line) {
        self.beside_bars(|| say_line(line));
    }

    /// Whether results are JSON lines.
    pub(crate) fn is_json(&self) -> bool {
        self.json
    }

    /// Whether more than warnings, errors and results is printed.
    pub(super) fn shows_progress(&self) -> bool {
        self.verbosity >= Verbosity::Normal
    }

    /// Whether results are not printed.
    pub(crate) fn is_quiet(&self) -> bool {
        self.verbosity == Verbosity::Quiet
    }

    /// Says what begins, or what is waited for.
    pub(crate) fn opening(&self, text: &str) {
        match (self.verbosity, self.json) {
            (Verbosity::Quiet | Verbosity::Summary, _) => {}
            (_, true) => json::status(Level::Info, text),
            (_, false) => self.say(&Line::plain(text)),
        }
    }

    /// Says something the operator should know, -quiet or not.
    pub(crate) fn warning(&self, text: &str) {
        if self.json {
            json::status(Level::Warning, text);
        } else {
            self.say(&Line::labelled(Label::Warning, text));
        }
    }

    /// Says what went wrong although the command goes on, -quiet or not. What the command comes to
    /// is said at its [`end`](Self::end).
    pub(crate) fn fault(&self, text: &str, advice: Option<&str>) {
        self.shared().faults += 1;
        self.say(&Line::plain(text));
        if let Some(advice) = advice {
            self.say(&Line::labelled(Label::Hint, advice));
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
        self.beside_bars(|| print_line(text))
            .context("writing to standard output")
    }

    /// Prints lines of text whose names are escaped already.
    ///
    /// # Errors
    ///
    /// When standard output cannot be written.
    pub(crate) fn lines(&self, text: &str) -> Result<()> {
        self.beside_bars(|| print_lines(text))
            .context("writing to standard output")
    }

    /// Runs an operation that `cancel` may stop, with the listener that fits: JSON lines, rows of
    /// progress on a terminal, plain lines elsewhere.
    pub(crate) fn while_running<T>(
        &self,
        cancel: &Cancel,
        run: impl FnOnce(context::Context<'_>) -> T,
    ) -> T {
        let run = |progress: &dyn Progress| run(context::Context { cancel, progress });
        let verbosity = self.verbosity;
        if self.json {
            return run(&Json { verbosity });
        }
        if verbosity < Verbosity::Normal || !is_smart_terminal() {
            return Lines::new(verbosity).during(run);
        }
        let bars = Arc::new(Bars::new(verbosity, cancel));
        self.shared().bars = Some(Arc::clone(&bars));
        let result = run(&*bars);
        self.shared().bars = None;
        bars.clear();
        result
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
        // What is missing is an error, and those are printed always.
        summary.lacks().for_each(|lacks| self.fault(&lacks, None));
        match self.is_quiet() {
            true => Ok(()),
            false => self.line(&summary.line()),
        }
    }

    /// Says last what a command came to that did not fail, and told of faults on its way.
    pub(crate) fn end(&self, kind: ErrorKind) {
        let faults = self.shared().faults;
        if self.json || faults == 0 {
            return;
        }
        let what = match kind {
            ErrorKind::Partial => "done in part",
            ErrorKind::Damage => "damage was found",
            _ => "not everything was done",
        };
        let text = format!("{what}: {}, named above", plural(faults, "fault"));
        self.say(&Line::labelled(Label::Error, text));
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
    say_line(&Line::labelled(Label::Error, told(error)));
    if let Some(hint) = hint(error) {
        say_line(&Line::labelled(Label::Hint, hint));
    }
}
