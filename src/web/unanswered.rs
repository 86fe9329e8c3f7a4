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
    /// Whether it is the certificate of who was asked that is not trusted.
    pub is_untrusted: bool,
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
        // rustls gives its errors to io as text, and all of this kind have the word.
        let is_untrusted = why.contains("certificate");
        Self {
            host: host.to_owned(),
            why,
            may_pass: !is_untrusted && !error.is_builder(),
            is_untrusted,
        }
    }

    /// Nothing came for so long.
    pub(crate) fn timed_out(host: &str, after: Duration) -> Self {
        Self {
            host: host.to_owned(),
            why: format!("no answer for {} s", after.as_secs()),
            may_pass: true,
            is_untrusted: false,
        }
    }
}
