//! A line for each request that a service answered, or did not.

use jiff::Timestamp;

use super::json;
use super::messages::{Seconds, ServedRequest};
use super::output::Output;
use super::terminal::Line;
use crate::error::told;
use crate::server::{Log, LogLine};
use crate::text::{seconds, size};

/// Prints a line a request.
pub(crate) struct RequestLog {
    output: Output,
    /// Whether requests that were answered are worth a line.
    answered: bool,
}

impl RequestLog {
    /// A log of all requests, as far as `output` prints progress.
    pub(crate) fn new(output: &Output) -> Self {
        Self {
            output: output.clone(),
            answered: output.shows_progress(),
        }
    }

    /// A log of failures and warnings alone.
    pub(crate) fn failures(output: &Output) -> Self {
        Self {
            output: output.clone(),
            answered: false,
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
            Ok(_) if !self.answered => return,
            Ok(bytes) => format!("{} in {}", size(bytes), seconds(line.elapsed)),
            Err(error) => format!("not answered: {}", told(error)),
        };
        if self.output.is_json() {
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
            let text = format!("{now:.3} {peer} {request}: {outcome}");
            self.output.say(&Line::plain(text));
        }
    }
}
