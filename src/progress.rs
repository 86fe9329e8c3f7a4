//! What an operation says while it works, and who listens.
//!
//! Operations report [`Event`]s and know nothing of terminals. A listener decides what to show: see
//! `cli` for those that do.

use std::time::Duration;

use crate::shard::ShardPath;

/// Listens to an operation. Called from several threads.
pub trait Progress: Sync {
    /// Takes an event; must not block for long.
    fn report(&self, event: &Event<'_>);
}

/// Something that happened.
#[derive(Debug, Clone, Copy)]
#[non_exhaustive]
pub enum Event<'a> {
    /// A step began, or something worth a line was found out.
    Status(&'a str),
    /// What only somebody who looks for a fault wants to read: requests, retries, times.
    Detail(&'a str),
    /// Something the operator should know although the run goes on.
    Warning(&'a str),
    /// Work on this many shards begins.
    Shards {
        /// How many.
        count: usize,
        /// Their size in bytes, where it is known.
        bytes: Option<u64>,
    },
    /// Work on a shard begins, or begins again.
    Started {
        /// The shard.
        shard: &'a ShardPath,
        /// Its size in bytes, where it is known.
        bytes: Option<u64>,
    },
    /// More bytes of a shard were dealt with.
    Bytes {
        /// The shard.
        shard: &'a ShardPath,
        /// How many bytes since the last report.
        count: u64,
    },
    /// An attempt at a shard failed; there will be another.
    Retry {
        /// The shard.
        shard: &'a ShardPath,
        /// Which attempt failed, from 1.
        attempt: u32,
        /// How long until the next.
        wait: Duration,
        /// Why it failed.
        reason: &'a str,
    },
    /// Work on a shard is over.
    Finished {
        /// The shard.
        shard: &'a ShardPath,
        /// How it ended.
        outcome: Outcome<'a>,
        /// How long it took, waits included.
        elapsed: Duration,
    },
}

/// How work on a shard ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Outcome<'a> {
    /// It is done.
    Done {
        /// TSM, tombstone and other files of the shard.
        files: usize,
        /// Bytes of the tar or of the files written.
        bytes: u64,
    },
    /// It was read and is sound; what is to be done with it comes after all others.
    Checked,
    /// There was nothing to do; the text says why.
    Skipped(&'a str),
    /// It failed for good; the text says why.
    Failed(&'a str),
}

/// Listens to nothing.
#[derive(Debug, Clone, Copy, Default)]
pub struct Silent;

impl Progress for Silent {
    fn report(&self, _: &Event<'_>) {}
}
