//! What became of a shard: of one attempt at it, and in the end.

use super::incremental::Base;
use super::proof::FirstByte;
use crate::progress::Outcome;
use crate::repository::{MemberRecord, SealedFile};

/// A shard's tar in its file.
#[derive(Debug)]
pub(crate) struct StoredTar {
    pub file: SealedFile,
    /// Bytes of the tar.
    pub tar_size: u64,
    pub members: Vec<MemberRecord>,
    /// Whether deleted points were left out of it.
    pub deletes_applied: bool,
}

/// What became of a shard in the end.
#[derive(Debug)]
pub(crate) enum ShardOutcome {
    /// It is in a file.
    Stored(StoredTar),
    /// It has not changed since an earlier run, and has the file of that.
    Unchanged {
        file: SealedFile,
        /// What that run recorded.
        base: Box<Base>,
    },
    /// There is nothing to store; with an empty tar, where the set has to say so to influxd.
    Empty(Option<StoredTar>),
    /// The server deleted it meanwhile.
    Expired,
    /// Nothing came but empty tars, none of which can be believed; the text says why.
    Withheld(String),
    /// It could not be fetched; the text says why.
    Failed(String),
}

impl ShardOutcome {
    /// How it is told to who listens.
    pub(super) fn reported(&self) -> Outcome<'_> {
        match self {
            Self::Stored(tar) => Outcome::Done {
                files: tar.members.len(),
                bytes: tar.file.size,
            },
            Self::Unchanged { base, .. } => Outcome::Skipped(match base.set {
                Some(_) => "unchanged: shared with an earlier set",
                None => "unchanged: taken over from an earlier run",
            }),
            Self::Empty(_) => Outcome::Skipped("nothing to fetch"),
            Self::Expired => Outcome::Skipped("deleted on the server meanwhile"),
            Self::Failed(reason) | Self::Withheld(reason) => Outcome::Failed(reason),
        }
    }
}

/// What came of one attempt at a shard.
#[derive(Debug)]
pub(crate) enum AttemptResult {
    /// A tar with members.
    Tar(StoredTar),
    /// The server has what an earlier run got, and nothing newer.
    Unchanged {
        /// The file of that run.
        file: SealedFile,
        /// What it recorded.
        base: Box<Base>,
    },
    /// A tar with members of which not a point is asked for.
    NothingKept,
    /// A tar without members, and how its first byte came.
    EmptyTar(FirstByte),
    /// The first byte of a tar came too late to be sure of the rest, which was not read.
    TooLate,
    /// The tar broke off, or is damaged.
    Broken {
        /// Where, and how.
        reason: String,
        /// Whether a tombstone file came before.
        tombstone: bool,
    },
    /// The server closed without a byte.
    Silence,
    /// It did so, and may say with it that there is nothing newer.
    SilenceForNothing,
    /// It did so again, and is known to say that with it.
    SaidNothing,
    /// The server has the shard no more.
    Gone,
    /// The server can be asked, but not about this shard, or not now.
    Failed(String),
    /// The server cannot be asked about anything.
    Unreached(String),
}
