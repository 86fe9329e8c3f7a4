//! A request that got no answer, or not all of it.

use std::error::Error as StdError;
use std::time::Duration;

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
        let mut why = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            why = error.to_string();
            cause = error.source();
        }
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
