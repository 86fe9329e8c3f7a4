//! JSON lines on standard output, each an object with a `message_type`.

use anyhow::{Context, Result};
use serde_json::Value;

use super::messages::{ExitError, Level, Message, Seconds, ShardProgress, ShardStep, Status};
use super::terminal::print_json;
use crate::cli::flags::Verbosity;
use crate::error::{hint, kind_of, told};
use crate::progress::{Event, Outcome, Progress};

/// Prints events as JSON lines.
#[derive(Debug)]
pub(crate) struct Json {
    pub(crate) verbosity: Verbosity,
}

impl Progress for Json {
    fn report(&self, event: &Event<'_>) {
        let is_quiet = self.verbosity < Verbosity::Normal;
        match *event {
            Event::Status(text) if !is_quiet => status(Level::Info, text),
            Event::Detail(text) if self.verbosity == Verbosity::Verbose => {
                status(Level::Detail, text)
            }
            Event::Warning(text) => status(Level::Warning, text),
            Event::Retry {
                shard,
                attempt,
                wait,
                reason,
            } if !is_quiet => {
                let wait_seconds = Seconds(wait);
                let step = ShardStep::Retry {
                    attempt,
                    wait_seconds,
                    reason,
                };
                emit(&ShardProgress::new(shard, step));
            }
            Event::Finished {
                shard,
                outcome,
                elapsed,
            } if !is_quiet || matches!(outcome, Outcome::Failed(_)) => {
                if let Some(step) = ShardStep::of(outcome, elapsed) {
                    emit(&ShardProgress::new(shard, step));
                }
            }
            _ => {}
        }
    }
}

pub(crate) fn status(level: Level, message: &str) {
    emit(&Status { level, message });
}

/// Prints the error that ends the process.
pub(crate) fn exit_error(error: &anyhow::Error) {
    emit(&ExitError {
        code: kind_of(error).exit_code(),
        message: &told(error),
        hint: hint(error).as_deref(),
    });
}

/// Prints a line.
///
/// # Errors
///
/// When standard output cannot be written.
pub(crate) fn print<M: Message>(message: &M) -> Result<()> {
    let line = line(message)?;
    print_json(&line).context("writing to standard output")
}

/// Prints a line that nobody misses if standard output went away: the summary's print reports that.
pub(crate) fn emit<M: Message>(message: &M) {
    let _ = print(message);
}

/// The fields stand in alphabetical order, `message_type` among them.
fn line<M: Message>(message: &M) -> Result<String> {
    let mut fields = serde_json::to_value(message)?;
    if let Value::Object(fields) = &mut fields {
        fields.insert("message_type".to_owned(), M::TYPE.into());
    }
    Ok(format!("{fields}\n"))
}
