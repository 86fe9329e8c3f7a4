//! The two ways in which influxd lays out the files of a set.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// The layouts of a set's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// `meta.NN` and `<db>.<rp>.<id>.NN`, a tar each.
    Legacy,
    /// `<stamp>.manifest`, `<stamp>.meta` and `<stamp>.s<id>.tar.gz`.
    Portable,
}

impl Layout {
    /// Whether files of shards are compressed with gzip.
    pub(crate) fn compresses(self) -> bool {
        self == Self::Portable
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Legacy => "legacy",
            Self::Portable => "portable",
        })
    }
}
