//! What of a backup to restore, and under which names.

use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind};
use crate::metastore::edit::Rename;
use crate::metastore::regroup::NewDurations;
use crate::repository::Selection;
use crate::shard::{Name, ShardPath};
use crate::time::{Bounds, ensure_times};
use crate::tsm::series_filter::SeriesFilter;

/// What of a backup to restore, and under which names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct RestoreSelection {
    /// -database: this one alone, or null.
    pub database: Option<String>,
    /// -retention: this one alone, or null.
    pub retention_policy: Option<String>,
    /// -shard: this one alone, or null.
    pub shard: Option<u64>,
    /// -newdb: the name the database gets, or null.
    pub new_database: Option<String>,
    /// -newrp: the name the retention policy gets, or null.
    pub new_retention_policy: Option<String>,
    /// -start: points at this time or later, UTC, or null.
    pub start: Option<Timestamp>,
    /// -end: points at this time or earlier, UTC, or null.
    pub end: Option<Timestamp>,
    /// -measurement and -where: points of these series; absent: of all.
    #[serde(
        default,
        rename = "series_filter",
        skip_serializing_if = "SeriesFilter::takes_all"
    )]
    pub series: SeriesFilter,
    /// -shard-duration: how long the shard groups of the retention policy are, in nanoseconds;
    /// absent: as long as they were.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard_duration: Option<i64>,
    /// -duration: how long the retention policy keeps points, in nanoseconds, 0 for ever; absent:
    /// as long as it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duration: Option<i64>,
}

impl RestoreSelection {
    /// The shards that are meant, by their names in the backup.
    pub(in crate::ops) fn selection(&self, include_internal: bool) -> Selection {
        Selection {
            database: self.database.clone(),
            retention_policy: self.retention_policy.clone(),
            shard: self.shard,
            include_internal,
            ..Selection::default()
        }
    }

    /// The times of the points that are meant, where not all are.
    pub(in crate::ops) fn bounds(&self) -> Option<Bounds> {
        (self.start.is_some() || self.end.is_some()).then(|| Bounds::between(self.start, self.end))
    }

    /// The durations that the retention policy gets, where it gets any.
    pub(in crate::ops) fn durations(&self) -> Option<NewDurations> {
        let durations = NewDurations {
            shard_group: self.shard_duration,
            retention: self.duration,
        };
        (durations != NewDurations::default()).then_some(durations)
    }

    /// The names that the database and its policy get, where one of them is renamed.
    pub(super) fn rename(&self) -> Option<Rename<'_>> {
        let database = self.database.as_deref()?;
        if self.new_database.is_none() && self.new_retention_policy.is_none() {
            return None;
        }
        let policy = self.retention_policy.as_deref();
        Some(Rename {
            database,
            new_database: self.new_database.as_deref().unwrap_or(database),
            policy: policy.zip(self.new_retention_policy.as_deref()),
        })
    }

    /// What a shard is called where it goes, under the id it has there.
    pub(in crate::ops) fn target(&self, source: &ShardPath, id: u64) -> ShardPath {
        ShardPath {
            database: self
                .new_database
                .as_deref()
                .map_or_else(|| source.database.clone(), Name::from),
            retention_policy: self
                .new_retention_policy
                .as_deref()
                .map_or_else(|| source.retention_policy.clone(), Name::from),
            id,
        }
    }

    /// Refuses new names for what is not named, and times between which no point can be.
    pub(in crate::ops) fn ensure_consistent(&self) -> Result<(), Error> {
        let usage = |message: &str, hint: &str| Err(ErrorKind::Usage.error(message).hint(hint));
        match self {
            Self {
                new_database: Some(_),
                database: None,
                ..
            } => usage("-newdb needs -database", "write -database OLD -newdb NEW"),
            Self {
                retention_policy: Some(_),
                database: None,
                ..
            } => usage(
                "-retention needs -database",
                "write -database DB -retention RP",
            ),
            Self {
                new_retention_policy: Some(_),
                retention_policy: None,
                ..
            } => usage(
                "-newrp needs -retention",
                "write -database DB -retention OLD -newrp NEW",
            ),
            Self { database: None, .. } if self.durations().is_some() => usage(
                "-shard-duration and -duration need -database",
                "write -database DB, and -retention RP where it has several policies",
            ),
            _ => ensure_times(self.start, self.end),
        }
    }
}
