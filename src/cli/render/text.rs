//! Progress as plain lines on standard error, one a shard: for logs, cron and pipes.

use super::terminal::say;
use crate::progress::{Event, Outcome, Progress};
use crate::text::{plural, seconds, size};

#[derive(Debug)]
pub(crate) struct Lines {
    /// Details too.
    pub(crate) verbose: bool,
}

impl Progress for Lines {
    fn report(&self, event: &Event<'_>) {
        if let Some(line) = line(event, self.verbose) {
            say(&line);
        }
    }
}

/// The line for an event, where it is worth one.
pub(crate) fn line(event: &Event<'_>, verbose: bool) -> Option<String> {
    match event {
        Event::Status(text) => Some((*text).to_owned()),
        Event::Detail(text) => verbose.then(|| (*text).to_owned()),
        Event::Warning(text) => Some(format!("warning: {text}")),
        Event::Retry {
            shard,
            attempt,
            wait,
            reason,
        } => {
            let wait = seconds(*wait);
            Some(format!(
                "shard {shard}: attempt {attempt} failed, next in {wait}: {reason}"
            ))
        }
        Event::Finished {
            shard,
            outcome,
            elapsed,
        } => Some(match outcome {
            Outcome::Done { files, bytes } => {
                let (files, size, took) = (plural(*files, "file"), size(*bytes), seconds(*elapsed));
                format!("shard {shard}: {files}, {size} in {took}")
            }
            Outcome::Skipped(why) => format!("shard {shard}: {why}"),
            Outcome::Failed(why) => format!("shard {shard}: failed: {why}"),
        }),
        _ => None,
    }
}
