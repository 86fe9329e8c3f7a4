//! How the service behaves.

use std::time::Duration;

use crate::wire::Accept;

/// How the service behaves.
#[derive(Debug, Clone, Copy)]
pub struct ServiceOptions {
    /// The dialects it answers in.
    pub accept: Accept,
    /// Whether imports and uploads are answered.
    pub writable: bool,
    /// How many connections are served at a time; further ones wait.
    pub connections: usize,
    /// How long a peer may take to send its request.
    pub request_timeout: Duration,
    /// How long a peer may take to read a part of a reply, or to send a part of an upload.
    pub idle_timeout: Duration,
}

impl Default for ServiceOptions {
    fn default() -> Self {
        Self {
            accept: Accept::Both,
            writable: false,
            connections: 64,
            request_timeout: Duration::from_secs(30),
            idle_timeout: Duration::from_secs(300),
        }
    }
}
