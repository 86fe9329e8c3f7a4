//! What a command did, in numbers: for the metrics and for the hooks.

use jiff::Timestamp;

/// What a command did, in numbers: nothing where it failed.
#[derive(Debug, Clone, Default)]
pub(crate) struct Tally {
    /// The id of the set that was made, or looked at.
    pub(crate) set: Option<String>,
    /// Bytes stored, restored, read or freed.
    pub(crate) bytes: Option<u64>,
    /// Files removed.
    pub(crate) files: Option<usize>,
    /// Shards by what became of them.
    pub(crate) shards: Vec<(&'static str, usize)>,
    /// Sets by what became of them.
    pub(crate) sets: Vec<(&'static str, usize)>,
    /// The ids of the sets that were removed, where sets are.
    pub(crate) removed: Option<Vec<String>>,
    /// What is missing or wrong, a sentence each.
    pub(crate) wrong: Vec<String>,
    /// Faults found, where they were looked for.
    pub(crate) faults: Option<u64>,
    /// When the newest complete set was begun, where that was looked for.
    pub(crate) newest: Option<Timestamp>,
    /// Databases of the set before of which nothing is left, where there was one to compare with.
    pub(crate) lost_databases: Option<usize>,
    /// Whether the server is another than that of the set before, where there was one to compare
    /// with.
    pub(crate) server_changed: Option<bool>,
}
