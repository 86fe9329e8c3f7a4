//! A request that got no answer, or not all of it.

use std::error::Error as StdError;
use std::io;
use std::time::Duration;

use crate::error::words;

/// A request that got no answer, or not all of it.
#[derive(Debug, Clone, thiserror::Error)]
#[error("{host}: {why}")]
pub(crate) struct Unanswered {
    /// Who was asked.
    pub host: String,
    /// What the system says.
    pub why: String,
    /// Whether it may be answered when it is sent again.
    pub may_pass: bool,
}

impl Unanswered {
    /// What an error of a request to `host` means.
    pub(crate) fn new(host: &str, error: &reqwest::Error) -> Self {
        let mut last: &dyn StdError = error;
        while let Some(cause) = last.source() {
            last = cause;
        }
        let why = match last.downcast_ref::<io::Error>() {
            Some(error) => words(error).into_owned(),
            None => last.to_string(),
        };
        // What is no trouble of the network stays as it is however often it is tried.
        let may_pass = !why.contains("certificate") && !error.is_builder();
        Self {
            host: host.to_owned(),
            why,
            may_pass,
        }
    }

    /// Nothing came for so long.
    pub(crate) fn timed_out(host: &str, after: Duration) -> Self {
        Self {
            host: host.to_owned(),
            why: format!("no answer for {} s", after.as_secs()),
            may_pass: true,
        }
    }
}
