//! How long a client waits.

use std::time::Duration;

/// How long to wait for a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timeouts {
    /// For a connection to be made.
    pub connect: Duration,
    /// For the next byte of a reply. A server flushes a shard's cache before the first byte of its
    /// tar.
    pub idle: Duration,
    /// For one request from connect to close.
    pub attempt: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            idle: Duration::from_secs(120),
            attempt: Duration::from_secs(12 * 3600),
        }
    }
}
