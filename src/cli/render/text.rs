//! Progress as plain lines on standard error, one a shard: for logs, cron and pipes.

use super::output::{bytes, plural, seconds};
use super::terminal::say;
use crate::progress::{Event, Outcome, Progress};

/// Prints lines.
#[derive(Debug)]
pub struct Lines {
    /// Details too.
    pub verbose: bool,
}

impl Progress for Lines {
    fn report(&self, event: &Event<'_>) {
        if let Some(line) = line(event, self.verbose) {
            say(&line);
        }
    }
}

/// The line for an event, where it is worth one.
pub fn line(event: &Event<'_>, verbose: bool) -> Option<String> {
    match event {
        Event::Status(text) => Some((*text).to_owned()),
        Event::Detail(text) => verbose.then(|| (*text).to_owned()),
        Event::Warning(text) => Some(format!("warning: {text}")),
        Event::Retry {
            shard,
            attempt,
            wait,
            reason,
        } => Some(format!(
            "shard {shard}: attempt {attempt} failed, next in {}: {reason}",
            seconds(*wait)
        )),
        Event::Finished {
            shard,
            outcome,
            elapsed,
        } => Some(match outcome {
            Outcome::Done { files, bytes: size } => {
                format!(
                    "shard {shard}: {}, {} in {}",
                    plural(*files, "file"),
                    bytes(*size),
                    seconds(*elapsed)
                )
            }
            Outcome::Skipped(why) => format!("shard {shard}: {why}"),
            Outcome::Failed(why) => format!("shard {shard}: failed: {why}"),
        }),
        _ => None,
    }
}
