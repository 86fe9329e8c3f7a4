//! What the service says of itself: a line for each request, and counts.

use std::fmt;
use std::time::Duration;

use crate::text::{plural, size};

/// Where the service says what it does.
pub trait Log: Send + Sync {
    /// A request was answered, or not.
    fn request(&self, line: &LogLine<'_>);

    /// Something about a shard that is sent all the same.
    fn warning(&self, text: &str);
}

/// What the service did for one connection.
#[derive(Debug)]
pub struct LogLine<'a> {
    /// Who asked: an address, or this process.
    pub peer: &'a str,
    /// What was asked for, in words; empty where that was not understood.
    pub request: &'a str,
    /// Bytes sent, or why the request was not answered.
    pub outcome: Result<u64, &'a anyhow::Error>,
    /// How long it took.
    pub elapsed: Duration,
}

/// What a service did so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Connections accepted.
    pub connections: u64,
    /// Requests answered.
    pub answered: u64,
    /// Connections closed without an answer, or within one.
    pub failed: u64,
    /// Bytes sent.
    pub bytes: u64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            connections,
            answered,
            failed,
            bytes,
        } = self;
        let (connections, sent) = (plural(*connections, "connection"), size(*bytes));
        write!(
            f,
            "{connections}, {answered} answered, {failed} not, {sent} sent"
        )
    }
}
