//! Progress on a terminal: a row for each shard that is worked on, and one in total. The one file
//! that knows what indicatif does: it draws ten times a second, and estimates the rate.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressState, ProgressStyle};

use super::rows::{Pace, rows};
use super::run_state::RunState;
use super::screen::Screen;
use super::terminal::{say_line, window};
use super::text::line;
use crate::cancel::Cancel;
use crate::cli::flags::Verbosity;
use crate::progress::{Event, Outcome, Progress};

/// How often the rows are drawn.
const TICK: Duration = Duration::from_millis(100);

pub(super) struct Bars {
    verbosity: Verbosity,
    /// What indicatif draws: all rows as one bar, whose position are the bytes that were moved.
    bar: ProgressBar,
    state: Arc<Mutex<RunState>>,
}

impl Bars {
    /// Rows on standard error: none until work on shards begins, and none any more once a stop is
    /// asked for.
    pub(super) fn new(verbosity: Verbosity, cancel: &Cancel) -> Self {
        let state = Arc::new(Mutex::new(RunState::default()));
        let (drawn, cancel) = (Arc::clone(&state), cancel.clone());
        let draw = move |progress: &ProgressState, out: &mut dyn fmt::Write| {
            let state = locked(&drawn);
            if cancel.is_cancelled() || !state.is_at_work() {
                return;
            }
            let pace = Pace {
                rate: progress.per_sec(),
                elapsed: progress.elapsed(),
            };
            let window = window();
            let rows = rows(&state, pace, window.columns, window.lines);
            // What cannot be written is not shown.
            let _ = out.write_str(&rows.join("\n"));
        };
        let style = ProgressStyle::with_template("{rows}")
            .unwrap_or_else(|_| ProgressStyle::default_bar())
            .with_key("rows", draw);
        let target = ProgressDrawTarget::term_like(Box::new(Screen::default()));
        Self {
            verbosity,
            bar: ProgressBar::with_draw_target(None, target).with_style(style),
            state,
        }
    }

    /// Takes the rows off the screen.
    pub(super) fn clear(&self) {
        self.bar.finish_and_clear();
    }

    /// Prints something else: the rows are taken off the screen meanwhile.
    pub(super) fn beside<T>(&self, print: impl FnOnce() -> T) -> T {
        self.bar.suspend(print)
    }
}

impl Progress for Bars {
    fn report(&self, event: &Event<'_>) {
        locked(&self.state).apply(event);
        match event {
            Event::Shards { .. } => {
                self.bar.reset();
                self.bar.enable_steady_tick(TICK);
            }
            Event::Bytes { count, .. } => self.bar.inc(*count),
            // What went well is in the total; a line each would scroll the screen away.
            Event::Finished { outcome, .. }
                if self.verbosity != Verbosity::Verbose
                    && !matches!(outcome, Outcome::Failed(_)) => {}
            event => {
                if let Some(line) = line(event, self.verbosity) {
                    self.beside(|| say_line(&line));
                }
            }
        }
    }
}

fn locked(state: &Mutex<RunState>) -> MutexGuard<'_, RunState> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}
