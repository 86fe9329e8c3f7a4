//! The end of a service.

use schemars::JsonSchema;
use serde::Serialize;

use super::{Message, Seconds};
use crate::server::Counts;
use crate::text::age;

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ServeSummary {
    /// What was run.
    #[schemars(extend("const" = "serve"))]
    command: &'static str,
    /// Connections accepted.
    connections: u64,
    /// Requests answered.
    requests: u64,
    /// Connections closed without an answer, or within one.
    failed: u64,
    /// Connections among these that were cut off when the service ended.
    cut_off: usize,
    /// Bytes sent.
    bytes: u64,
    /// How long it ran, in seconds.
    seconds: Seconds,
    #[serde(skip)]
    counts: Counts,
}

impl Message for ServeSummary {
    const TYPE: &'static str = "summary";
    const TITLE: &'static str = "The last line, when the service was asked to end";
}

impl ServeSummary {
    pub(crate) fn new(counts: Counts, cut_off: usize, seconds: Seconds) -> Self {
        Self {
            command: "serve",
            connections: counts.connections,
            requests: counts.answered,
            failed: counts.failed,
            cut_off,
            bytes: counts.bytes,
            seconds,
            counts,
        }
    }

    /// The last line in text.
    pub(crate) fn line(&self) -> String {
        let cut_off = match self.cut_off {
            0 => String::new(),
            cut_off => format!(", {cut_off} cut off at the end"),
        };
        format!(
            "served for {}: {}{cut_off}",
            age(self.seconds.0),
            self.counts
        )
    }
}
