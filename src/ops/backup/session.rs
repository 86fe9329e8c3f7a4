//! A shard's way from one server into one set: with whom, and into what.

use std::sync::Arc;
use std::time::Instant;

use super::attempts::ShardAttempts;
use super::health::ServerHealth;
use super::outcome::AttemptResult;
use super::proof::{FirstByte, Proof};
use super::request::Planned;
use crate::client::Client;
use crate::context::Context;
use crate::error::{ErrorKind, kind_of, told};
use crate::metastore::Data;
use crate::ops::queue::{Permit, Permits};
use crate::repository::{Comparison, Layout, SetWriter};
use crate::retry::is_of_server;
use crate::shard::ShardPath;
use crate::tsm::sought_series::SoughtSeries;

/// A shard to fetch, and what earlier attempts taught about it.
pub(crate) struct ShardJob {
    /// What is asked for; an export that the server cannot do becomes the whole shard.
    pub planned: Planned,
    pub attempts: ShardAttempts,
    /// Whether there was an attempt.
    pub is_begun: bool,
    /// When the server was first asked for it, or whether it has changed.
    pub started: Option<Instant>,
}

/// Fetches shards from one server into one set.
pub(crate) struct Session<'a> {
    /// The server.
    pub client: &'a Client,
    /// What it does with questions about shards.
    pub health: ServerHealth<'a>,
    /// Where files are staged.
    pub staging: &'a SetWriter,
    /// The layout they have.
    pub layout: Layout,
    /// Leave deleted points out of shards that are taken whole.
    pub apply_deletes: bool,
    /// The series that are kept.
    pub series: Arc<SoughtSeries>,
    /// How a file is compared with its record before it is shared.
    pub comparison: Comparison,
    /// How many shards are fetched at a time.
    pub jobs: usize,
    /// To fetch a shard, or to read its file. To ask whether one has changed needs none, nor does
    /// waiting until the disk has it.
    pub permits: Permits,
    pub context: Context<'a>,
}

/// Why a question came to nothing.
#[derive(Debug)]
pub(crate) enum QuestionError {
    /// The server cannot be asked about anything.
    Server(String),
    /// It can, but not about this shard, or not now.
    Shard(String),
    /// It closed without a byte when it was asked about this shard.
    Silence,
    /// It has the shard no more.
    Gone,
    /// The fault is on this side, or a stop was asked for: no further attempt.
    Fatal(anyhow::Error),
}

impl QuestionError {
    /// What it makes of the attempt; the error where there is no further one.
    pub(super) fn result(self) -> anyhow::Result<AttemptResult> {
        match self {
            Self::Server(reason) => Ok(AttemptResult::Unreached(reason)),
            Self::Shard(reason) => Ok(AttemptResult::Failed(reason)),
            Self::Silence => Ok(AttemptResult::Silence),
            Self::Gone => Ok(AttemptResult::Gone),
            Self::Fatal(error) => Err(error),
        }
    }
}

impl Session<'_> {
    /// Waits until one shard fewer is fetched.
    pub(super) fn permit(&self) -> Result<Permit<'_>, QuestionError> {
        let permit = self.permits.take(self.context.cancel);
        permit.map_err(|stop| QuestionError::Fatal(stop.into()))
    }

    /// Takes note of how an answer came that is not used.
    pub(super) fn record_probe(&self, attempts: &mut ShardAttempts, first_byte: FirstByte) {
        let was_given_up = attempts.proof.is_given_up();
        attempts.proof.answered(first_byte);
        attempts.answered();
        self.record_first_byte(&attempts.proof, was_given_up, first_byte);
    }

    /// Takes note of what an answer says of the server.
    pub(super) fn record_first_byte(
        &self,
        proof: &Proof,
        was_given_up: bool,
        first_byte: FirstByte,
    ) {
        self.health.answered();
        self.health.reset_silences();
        if proof.is_prompt(first_byte) {
            self.health.record_prompt();
        } else if let FirstByte::After(after) = first_byte {
            self.context.detail(format!(
                "the first byte came after {:.2} s, which proves nothing",
                after.as_secs_f64()
            ));
            if proof.is_given_up() && !was_given_up {
                self.health.record_late_shard();
            }
        }
    }

    /// Whether the server's metastore no longer has the shard, or marks it as deleted. A shard that
    /// it has and the server has not open is not gone: it may have failed to open.
    pub(crate) fn is_gone(&self, shard: &ShardPath) -> Result<bool, QuestionError> {
        let metastore = self
            .client
            .metastore()
            .and_then(|blob| Data::read(&blob.meta))
            .map_err(|error| self.trouble(error))?;
        Ok(is_gone_from(&metastore, shard))
    }

    /// The server said nothing of a shard within its time: whose failure that is, the metastore
    /// tells.
    pub(super) fn blame_for_silence(&self, shard: &ShardPath, reason: String) -> QuestionError {
        match self.is_gone(shard) {
            Ok(true) => QuestionError::Gone,
            Ok(false) => QuestionError::Shard(reason),
            Err(trouble) => trouble,
        }
    }

    /// Whose fault an error of the client is.
    pub(crate) fn trouble(&self, error: anyhow::Error) -> QuestionError {
        if let Err(stop) = self.context.check() {
            return QuestionError::Fatal(stop.into());
        }
        let kind = kind_of(&error);
        if kind.is_stop() || kind == ErrorKind::Usage {
            QuestionError::Fatal(error)
        } else if is_of_server(&error) {
            QuestionError::Server(told(&error))
        } else {
            QuestionError::Shard(told(&error))
        }
    }
}

/// Whether a metastore does not have a shard, or marks it as deleted.
pub(crate) fn is_gone_from(metastore: &Data, shard: &ShardPath) -> bool {
    let known = metastore.shards().find(|known| known.path == *shard);
    known.is_none_or(|known| known.deleted_at.is_some())
}
