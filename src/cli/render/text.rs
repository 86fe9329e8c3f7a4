//! Progress as plain lines on standard error, for logs, cron and pipes: what the operator should
//! know, and every ten seconds how far all is.

use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use super::rows::{Pace, total_line};
use super::run_state::RunState;
use super::terminal::{Label, Line, say_line};
use crate::cli::flags::Verbosity;
use crate::progress::{Event, Outcome, Progress};
use crate::text::{plural, seconds, size};

/// How often it is told how far all is.
const EVERY: Duration = Duration::from_secs(10);

pub(super) struct Lines {
    verbosity: Verbosity,
    run: Mutex<Run>,
}

/// How far the run is, and how far it was when that was told.
struct Run {
    state: RunState,
    /// When the work on these shards began.
    began: Instant,
    told: Instant,
    moved: u64,
}

impl Lines {
    pub(super) fn new(verbosity: Verbosity) -> Self {
        let now = Instant::now();
        Self {
            verbosity,
            run: Mutex::new(Run {
                state: RunState::default(),
                began: now,
                told: now,
                moved: 0,
            }),
        }
    }

    /// Runs `run` with these lines, and tells meanwhile how far all is.
    pub(super) fn during<T>(&self, run: impl FnOnce(&dyn Progress) -> T) -> T {
        if self.verbosity < Verbosity::Normal {
            return run(self);
        }
        thread::scope(|scope| {
            let (running, ended) = mpsc::channel::<()>();
            scope.spawn(move || {
                while ended.recv_timeout(EVERY) == Err(mpsc::RecvTimeoutError::Timeout) {
                    self.tell_total();
                }
            });
            let result = run(self);
            drop(running);
            result
        })
    }

    fn tell_total(&self) {
        let mut run = self.run();
        if !run.state.is_at_work() {
            return;
        }
        let moved = run.state.moved - run.moved;
        let pace = Pace {
            rate: moved as f64 / run.told.elapsed().as_secs_f64(),
            elapsed: run.began.elapsed(),
        };
        let line = total_line(&run.state, pace);
        (run.told, run.moved) = (Instant::now(), run.state.moved);
        drop(run);
        say_line(&Line::plain(line));
    }

    fn run(&self) -> MutexGuard<'_, Run> {
        self.run.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Progress for Lines {
    fn report(&self, event: &Event<'_>) {
        let mut run = self.run();
        run.state.apply(event);
        if matches!(event, Event::Shards { .. }) {
            let now = Instant::now();
            (run.began, run.told, run.moved) = (now, now, 0);
        }
        drop(run);
        if let Some(line) = line(event, self.verbosity) {
            say_line(&line);
        }
    }
}

/// The line for an event, where it is worth one.
pub(super) fn line(event: &Event<'_>, verbosity: Verbosity) -> Option<Line> {
    let (is_normal, is_verbose) = (
        verbosity >= Verbosity::Normal,
        verbosity == Verbosity::Verbose,
    );
    match event {
        Event::Warning(text) => Some(Line::labelled(Label::Warning, (*text).to_owned())),
        Event::Status(text) if is_normal => Some(Line::plain((*text).to_owned())),
        Event::Detail(text) if is_verbose => Some(Line::plain((*text).to_owned())),
        Event::Retry {
            shard,
            attempt,
            wait,
            reason,
        } if is_normal => {
            let wait = seconds(*wait);
            Some(Line::plain(format!(
                "shard {shard}: attempt {attempt} failed, next in {wait}: {reason}"
            )))
        }
        Event::Finished {
            shard,
            outcome: Outcome::Failed(why),
            ..
        } if is_normal => Some(Line::plain(format!("shard {shard}: failed: {why}"))),
        Event::Finished {
            shard,
            outcome,
            elapsed,
        } if is_verbose => finished(*outcome, *elapsed)
            .map(|outcome| Line::plain(format!("shard {shard}: {outcome}"))),
        _ => None,
    }
}

/// What became of a shard that did not fail, where that is worth a line.
fn finished(outcome: Outcome<'_>, elapsed: Duration) -> Option<String> {
    match outcome {
        Outcome::Done { files, bytes } => {
            let (files, size, took) = (plural(files, "file"), size(bytes), seconds(elapsed));
            Some(format!("{files}, {size} in {took}"))
        }
        Outcome::Skipped(why) => Some(why.to_owned()),
        Outcome::Checked | Outcome::Failed(_) => None,
    }
}
