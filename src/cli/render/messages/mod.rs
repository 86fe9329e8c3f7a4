//! What `-json` prints: one type for each kind of line. Fields are only ever added.
//!
//! The text of a command is rendered from the same values. The schemas in `docs/schema` are made
//! from these types, so a doc comment on a field is what its reader gets to see.

pub(crate) mod check;
pub(crate) mod copy;
pub(crate) mod diff;
pub(crate) mod export;
pub(crate) mod forget;
pub(crate) mod info;
pub(crate) mod keep;
pub(crate) mod lost;
pub(crate) mod rebuild;
pub(crate) mod run;
pub(crate) mod serve;
pub(crate) mod stats;
pub(crate) mod trial;
pub(crate) mod verify;

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};

use crate::progress::Outcome;
use crate::shard::ShardPath;
use crate::text;

/// A kind of line.
pub(crate) trait Message: Serialize + JsonSchema {
    /// The value of `message_type`, which stands beside the fields.
    const TYPE: &'static str;
    /// What the line tells, in a few words.
    const TITLE: &'static str;
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct Status<'a> {
    /// detail: with -verbose alone; warning: with -quiet too.
    pub(crate) level: Level,
    /// Text for people; it may be worded otherwise in another version.
    pub(crate) message: &'a str,
}

impl Message for Status<'_> {
    const TYPE: &'static str = "status";
    const TITLE: &'static str = "Something worth a line";
}

#[derive(Debug, Clone, Copy, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub(crate) enum Level {
    Info,
    Warning,
    Detail,
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ExitError<'a> {
    /// The exit code of the process.
    #[schemars(range(min = 1))]
    pub(crate) code: u8,
    /// What failed, and what that was caused by.
    pub(crate) message: &'a str,
    /// What can be done about it, or null.
    pub(crate) hint: Option<&'a str>,
}

impl Message for ExitError<'_> {
    const TYPE: &'static str = "exit_error";
    const TITLE: &'static str = "The error that ends a run; always the last line";
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ServedRequest<'a> {
    /// Address and port of the client.
    pub(crate) peer: &'a str,
    /// What was asked for, in words; request where it was not understood.
    pub(crate) request: &'a str,
    /// Whether it was answered whole.
    pub(crate) answered: bool,
    /// Bytes sent; null where it was not answered.
    pub(crate) bytes: Option<u64>,
    /// The outcome, in words.
    pub(crate) message: &'a str,
    /// How long the connection took, in seconds.
    pub(crate) seconds: Seconds,
}

impl Message for ServedRequest<'_> {
    const TYPE: &'static str = "request";
    const TITLE: &'static str = "What a service did for one connection";
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ShardProgress<'a> {
    /// The database; in a restore, as it is called there.
    database: &'a str,
    /// The retention policy; in a restore, as it is called there.
    retention_policy: &'a str,
    /// The shard's id; in a restore, the one that it has there.
    #[serde(rename = "shard")]
    id: u64,
    #[serde(flatten)]
    step: ShardStep<'a>,
}

impl<'a> ShardProgress<'a> {
    pub(crate) fn new(shard: &'a ShardPath, step: ShardStep<'a>) -> Self {
        Self {
            database: &shard.database,
            retention_policy: &shard.retention_policy,
            id: shard.id,
            step,
        }
    }
}

impl Message for ShardProgress<'_> {
    const TYPE: &'static str = "shard";
    const TITLE: &'static str = "What became of a shard, or of an attempt at it";
}

#[derive(Debug, Serialize, JsonSchema)]
#[serde(tag = "state", rename_all = "snake_case")]
pub(crate) enum ShardStep<'a> {
    /// The shard is done.
    Done {
        /// backup, verify: members of the tar; restore: files restored.
        files: usize,
        /// backup, verify: bytes of the file that the tar is in; restore: bytes of the files
        /// restored.
        bytes: u64,
        /// How long it took, waits included, in seconds.
        seconds: Seconds,
    },
    /// backup: of the shard there was nothing to fetch.
    Skipped {
        /// Nothing to fetch, unchanged and shared, or deleted meanwhile; in words.
        reason: &'a str,
        /// How long it took, waits included, in seconds.
        seconds: Seconds,
    },
    /// backup, restore: an attempt at the shard failed, and there will be another.
    Retry {
        /// Which attempt failed, from 1.
        #[schemars(range(min = 1))]
        attempt: u32,
        /// The wait before the next attempt, in seconds.
        wait_seconds: Seconds,
        /// Why it failed, in words.
        reason: &'a str,
    },
    /// The shard is given up, or has faults.
    Failed {
        /// Why, in words; verify: how many faults it has.
        reason: &'a str,
        /// How long it took, waits included, in seconds.
        seconds: Seconds,
    },
}

impl<'a> ShardStep<'a> {
    /// What became of a shard, where nothing more is to come.
    pub(crate) fn of(outcome: Outcome<'a>, elapsed: Duration) -> Option<Self> {
        let seconds = Seconds(elapsed);
        let step = match outcome {
            Outcome::Checked => return None,
            Outcome::Done { files, bytes } => Self::Done {
                files,
                bytes,
                seconds,
            },
            Outcome::Skipped(reason) => Self::Skipped { reason, seconds },
            Outcome::Failed(reason) => Self::Failed { reason, seconds },
        };
        Some(step)
    }
}

/// A length of time: in JSON seconds with a fraction, in text seconds with a tenth.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Seconds(pub(crate) Duration);

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_f64(self.0.as_secs_f64())
    }
}

impl JsonSchema for Seconds {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "Seconds".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "number", "minimum": 0 })
    }
}

impl fmt::Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&text::seconds(self.0))
    }
}
