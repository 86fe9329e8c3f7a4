//! What verifying finds: faults and gaps, each with what it means for a restore.

use std::borrow::Cow;
use std::fmt;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use crate::repository::SetId;
use crate::shard::ShardPath;

/// What a finding means for a restore, the gravest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Meaning {
    /// Not one file of the set is left.
    SetGone,
    /// The set is of no use.
    SetLost,
    /// The shard is of no use.
    ShardLost,
    /// Something will be missing.
    NotWhole,
    /// A block is of no use.
    ValuesLost,
    /// A tombstone file is of no use.
    DeletesLost,
    /// Values are where nobody looks for them.
    Unreachable,
    /// The manifest is of no use.
    NotForInfluxd,
}

impl Meaning {
    const ALL: [Self; 8] = [
        Self::SetGone,
        Self::SetLost,
        Self::ShardLost,
        Self::NotWhole,
        Self::ValuesLost,
        Self::DeletesLost,
        Self::Unreachable,
        Self::NotForInfluxd,
    ];

    fn text(self) -> &'static str {
        match self {
            Self::SetGone => {
                "nothing of this set can be restored; snap forget -lost removes its record"
            }
            Self::SetLost => "nothing of this set can be restored",
            Self::ShardLost => "this shard cannot be restored from this set",
            Self::NotWhole => "a restore of this set brings back less than was asked for",
            Self::ValuesLost => "influxd would take the file, and miss these values without a word",
            Self::DeletesLost => "points that were deleted would come back",
            Self::Unreachable => "no query for the times of the shard finds these values",
            Self::NotForInfluxd => "influxd cannot restore this set; snap can, from its record",
        }
    }
}

impl fmt::Display for Meaning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.text())
    }
}

impl Serialize for Meaning {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.text())
    }
}

impl JsonSchema for Meaning {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Meaning".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "enum": Self::ALL.map(Self::text) })
    }
}

/// A fault in a set: one file of it that is gone or damaged, whatever shows that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SetFault {
    /// The set's id.
    pub set: SetId,
    /// The ids of other sets that were read of which the same is to be said: they share the file,
    /// or build on it.
    pub also_in: Vec<SetId>,
    /// The file in the backup directory.
    pub file: String,
    /// The shard's database; null for a record, a metastore or a manifest.
    pub database: Option<String>,
    /// The shard's retention policy, or null.
    pub retention_policy: Option<String>,
    /// The shard's id, or null.
    pub shard: Option<u64>,
    /// What is wrong.
    #[serde(flatten)]
    pub fault: FileDamage,
}

impl SetFault {
    pub(super) fn new(
        set: SetId,
        file: impl Into<String>,
        shard: Option<&ShardPath>,
        fault: FileDamage,
    ) -> Self {
        Self {
            set,
            also_in: Vec::new(),
            file: file.into(),
            database: shard.map(|shard| shard.database.to_string()),
            retention_policy: shard.map(|shard| shard.retention_policy.to_string()),
            shard: shard.map(|shard| shard.id),
            fault,
        }
    }

    /// The shard, where it is one's.
    pub(crate) fn shard(&self) -> Option<ShardPath> {
        Some(ShardPath {
            database: self.database.as_deref()?.into(),
            retention_policy: self.retention_policy.as_deref()?.into(),
            id: self.shard?,
        })
    }
}

/// Why a set cannot be restored whole, although its files are as they were written.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct SetGap {
    /// The set's id.
    pub set: SetId,
    /// The ids of other sets that were read of which the same is to be said: they build on it.
    pub also_in: Vec<SetId>,
    /// The shards that it is said of, database/policy/id each; empty: the set as a whole.
    #[serde(rename = "shard_names")]
    pub shards: Vec<String>,
    /// What is missing.
    pub message: String,
    /// What that means for a restore.
    pub means: Meaning,
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
    /// What that means for a restore, with all other places.
    pub means: Meaning,
    /// Where else the file is damaged, or what else shows that it is.
    pub other_places: Vec<DamagedPlace>,
    /// How many places there are beside.
    pub more_places: u64,
}

/// Where a file is damaged, and how that shows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct DamagedPlace {
    /// The file in the shard's tar, or null.
    pub member: Option<String>,
    /// Bytes before the fault, in member where there is one, else in file; null: no one place.
    pub offset: Option<u64>,
    /// What is wrong.
    pub message: String,
    /// What that means for a restore.
    pub means: Meaning,
}

impl DamagedPlace {
    /// Damage that is of a file as a whole.
    pub(super) fn file(message: impl Into<String>, means: Meaning) -> Self {
        Self {
            member: None,
            offset: None,
            message: message.into(),
            means,
        }
    }
}

impl From<DamagedPlace> for FileDamage {
    fn from(only: DamagedPlace) -> Self {
        Self {
            member: only.member,
            offset: only.offset,
            message: only.message,
            means: only.means,
            other_places: Vec::new(),
            more_places: 0,
        }
    }
}

impl FileDamage {
    /// Damage that is of a file as a whole.
    pub(super) fn of_file(message: impl Into<String>, means: Meaning) -> Self {
        DamagedPlace::file(message, means).into()
    }

    /// Damage that shows in places of one file, and in so many more; nothing where it shows in none.
    pub(super) fn of_places(places: Vec<DamagedPlace>, more_places: u64) -> Option<Self> {
        let gravest = places.iter().map(|place| place.means).min()?;
        let mut places = places.into_iter();
        let first = Self::from(places.next()?);
        Some(Self {
            means: gravest,
            other_places: places.collect(),
            more_places,
            ..first
        })
    }
}
