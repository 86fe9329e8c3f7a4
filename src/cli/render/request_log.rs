//! A line for each request that a service answered, or did not.

use jiff::Timestamp;

use super::json;
use super::messages::{Seconds, ServedRequest};
use super::output::Output;
use super::terminal::say;
use crate::cli::flags::{OutputArgs, Verbosity};
use crate::server::{Log, LogLine};
use crate::text::seconds;

/// Prints a line a request.
pub(crate) struct RequestLog {
    /// Of requests; warnings go by the flags.
    verbosity: Verbosity,
    output: Output,
    json: bool,
}

impl RequestLog {
    /// A log that prints as the flags ask for.
    pub(crate) fn new(args: &OutputArgs) -> Self {
        Self {
            verbosity: args.verbosity(),
            output: Output::new(args),
            json: args.json,
        }
    }

    /// A log that prints failures and warnings alone.
    pub(crate) fn failures(args: &OutputArgs) -> Self {
        Self {
            verbosity: Verbosity::Quiet,
            ..Self::new(args)
        }
    }
}

impl Log for RequestLog {
    fn warning(&self, text: &str) {
        self.output.warning(text);
    }

    fn request(&self, line: &LogLine<'_>) {
        let LogLine { peer, request, .. } = line;
        let request = match *request {
            "" => "request",
            request => request,
        };
        let outcome = match line.outcome {
            Ok(_) if self.verbosity == Verbosity::Quiet => return,
            Ok(bytes) => format!("{bytes} bytes in {}", seconds(line.elapsed)),
            Err(error) => format!("not answered: {error:#}"),
        };
        if self.json {
            let bytes = line.outcome.ok();
            json::emit(&ServedRequest {
                peer,
                request,
                answered: bytes.is_some(),
                bytes,
                message: &outcome,
                seconds: Seconds(line.elapsed),
            });
        } else {
            let now = Timestamp::now();
            say(&format!("{now:.3} {peer} {request}: {outcome}"));
        }
    }
}
