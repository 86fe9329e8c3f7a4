//! How a backup is merged into a database of a running server.

use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::http_api::HttpOptions;

/// How a backup is merged into a database.
#[derive(Debug, Clone)]
pub struct MergeOptions {
    /// The HTTP API of the server.
    pub http: HttpOptions,
    /// Whose value counts where both have one; where it is not said, the server's, or what an
    /// interrupted merge was told.
    pub on_conflict: Option<ConflictRule>,
    /// How long a busy server is asked for a shard before that is read as it comes, and told.
    pub flush_timeout: Duration,
}

/// Whose value counts where the backup and the database both have one at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ConflictRule {
    /// The backup's.
    Backup,
    /// The server's.
    Server,
}

impl ConflictRule {
    /// The word for it on the command line.
    pub fn word(self) -> &'static str {
        match self {
            Self::Backup => "backup",
            Self::Server => "server",
        }
    }
}
