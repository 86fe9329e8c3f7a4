//! What verifying finds: faults and gaps, each with what it means for a restore.

use schemars::JsonSchema;
use serde::Serialize;

use crate::repository::SetId;

pub(super) const SHARD_LOST: &str = "this shard cannot be restored from this set";

/// A fault in a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SetFault {
    /// The set's id.
    pub set: SetId,
    /// The file in the backup directory.
    pub file: String,
    /// The shard, database/policy/id; null for a record, a metastore or a manifest.
    pub shard: Option<String>,
    /// What is wrong.
    #[serde(flatten)]
    pub fault: FileDamage,
}

/// Why a set cannot be restored whole, although its files are as they were written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SetGap {
    /// The set's id.
    pub set: SetId,
    /// The shards that it is said of, database/policy/id each; empty: the set as a whole.
    pub shards: Vec<String>,
    /// What is missing.
    pub message: String,
    /// What that means for a restore.
    pub means: &'static str,
}

/// What verifying finds.
#[derive(Debug, Clone, Copy)]
pub enum Finding<'a> {
    /// Damage.
    Fault(&'a SetFault),
    /// Something that was never there.
    Gap(&'a SetGap),
}

/// What is wrong with a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct FileDamage {
    /// The file in the shard's tar, or null.
    pub member: Option<String>,
    /// Bytes before the fault, in member where there is one, else in file; null: no one place.
    pub offset: Option<u64>,
    /// What is wrong.
    pub message: String,
    /// What that means for a restore.
    pub means: &'static str,
}

impl FileDamage {
    pub(super) fn of_file(message: impl Into<String>, means: &'static str) -> Self {
        Self {
            member: None,
            offset: None,
            message: message.into(),
            means,
        }
    }
}
