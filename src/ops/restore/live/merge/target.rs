//! The database that a backup is merged into.

use std::time::Duration;

use crate::http_api::HttpApi;
use crate::ops::restore::live::target::Live;
use crate::ops::restore::merge_options::ConflictRule;

/// A merge into a running server.
pub(super) struct Merge<'m, 'a> {
    pub live: &'m Live<'a>,
    pub api: &'m HttpApi,
    pub rule: ConflictRule,
    /// How long a busy server is asked for a shard.
    pub flush_timeout: Duration,
}
