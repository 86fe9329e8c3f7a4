//! What follows from an attempt at a shard: whether there is another, when, and what is believed of
//! what came.
//!
//! This module decides, and knows neither clocks nor sockets. Whatever a server does, each shard
//! comes to an end. An attempt that the server answered ends the shard, or uses up something of
//! which there is an end: the attempts, the empty tars, the time for late answers. One that it did
//! not answer uses up the patience with the server, which is everybody's, and which only an answer
//! renews.

use std::time::Duration;

use super::health::WhoIsSilent;
use super::incremental::Base;
use super::outcome::{AttemptResult, StoredTar};
use super::proof::{EMPTY_TARS, EmptyTar, FirstByte, Proof, Rule};
use super::request::ShardRequest;
use crate::repository::SealedFile;
use crate::retry::Attempts;
use crate::wire::Dialect;

/// Why nothing came, where the server closed without a byte.
pub(crate) const SILENT: &str = "the server closed the connection without an answer (shard busy or \
                                 unreadable; see the server's log)";

/// What earlier attempts at a shard taught.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ShardAttempts {
    /// Whether what the server sends of it holds all that it should.
    pub proof: Proof,
    retries: u32,
    failed: Attempts,
    /// The server answered with nothing.
    was_silent: bool,
    /// Whether there was something the last time.
    was_stored: bool,
    dialect: Option<Dialect>,
    /// It answered in the attempt under way.
    is_answered: bool,
}

/// What to do next about a shard.
#[derive(Debug)]
pub(crate) enum Step {
    /// It is there.
    Store(StoredTar),
    /// It has the file of an earlier run.
    Reuse { file: SealedFile, base: Box<Base> },
    /// The server deleted it.
    Expire,
    /// There is nothing to store.
    Empty,
    /// Nothing came that can be believed.
    Withhold(String),
    /// It is given up.
    GiveUp(String),
    /// Ask again at once.
    Again,
    /// Ask again after this long.
    Later(Duration),
    /// The attempt failed; ask again after this long.
    Retry {
        /// Which attempt failed, from 1.
        attempt: u32,
        wait: Duration,
        reason: String,
    },
    /// Ask for all of it: the server cannot export a part.
    TakeWhole(String),
    /// The server cannot be asked, which is everybody's failure.
    Outage(String),
    /// The server was silent: whose failure that is, it has to be asked about others.
    Silence,
}

impl ShardAttempts {
    /// Of a shard about which nothing was asked yet.
    pub(super) fn new(
        rule: Rule,
        retries: u32,
        was_stored: bool,
        dialect: Option<Dialect>,
    ) -> Self {
        Self {
            proof: Proof::new(rule),
            retries,
            failed: Attempts::default(),
            was_silent: false,
            was_stored,
            dialect,
            is_answered: false,
        }
    }

    /// An attempt begins, at a server that is slow whatever it is asked about, or is not.
    pub(super) fn begin(&mut self, is_slow: bool) {
        self.is_answered = false;
        if is_slow {
            self.proof.hurry();
        }
    }

    /// The server answered a question in this attempt.
    pub(super) fn answered(&mut self) {
        self.is_answered = true;
    }

    /// Whether the server answered with nothing before.
    pub(crate) fn was_silent(&self) -> bool {
        self.was_silent
    }

    /// What follows from what came of an attempt at a request.
    pub(super) fn next(&mut self, result: AttemptResult, request: ShardRequest) -> Step {
        match result {
            AttemptResult::Tar(tar) => Step::Store(tar),
            AttemptResult::Unchanged { file, base } => Step::Reuse { file, base },
            AttemptResult::Gone => Step::Expire,
            AttemptResult::NothingKept | AttemptResult::SaidNothing => Step::Empty,
            AttemptResult::EmptyTar(first_byte) => self.empty_tar(first_byte, request),
            AttemptResult::TooLate => Step::Again,
            AttemptResult::Broken { reason, tombstone } => {
                let is_part = matches!(request, ShardRequest::Range(_));
                if is_part && (tombstone || self.failed.failures() > 0) {
                    Step::TakeWhole(reason)
                } else {
                    self.failed(reason)
                }
            }
            AttemptResult::Silence => Step::Silence,
            AttemptResult::SilenceForNothing => {
                // Not counted as a failure before it is known to be one.
                self.silence();
                Step::Later(Duration::ZERO)
            }
            AttemptResult::Failed(reason) => self.failed(reason),
            // A server that answers and then goes away, again and again, would never be given up:
            // it counts as the shard's.
            AttemptResult::Unreached(reason) if self.is_answered => self.failed(reason),
            AttemptResult::Unreached(reason) => Step::Outage(reason),
        }
    }

    /// What follows from a silence, once it is known whose it is.
    pub(super) fn silent(&mut self, whose: WhoIsSilent) -> Step {
        self.silence();
        match whose {
            WhoIsSilent::OfShard => self.failed(SILENT.to_owned()),
            WhoIsSilent::OfServer(wait) => {
                self.proof.attempt_failed();
                match wait {
                    None => Step::GiveUp(SILENT.to_owned()),
                    Some(wait) => Step::Retry {
                        attempt: self.failed.failures() + 1,
                        wait,
                        reason: SILENT.to_owned(),
                    },
                }
            }
        }
    }

    fn silence(&mut self) {
        self.was_silent = true;
        self.proof.silence();
    }

    fn empty_tar(&mut self, first_byte: FirstByte, request: ShardRequest) -> Step {
        let believed = self.believed_empty_tars(request);
        match self.proof.empty_tar(first_byte, believed) {
            EmptyTar::Believed => Step::Empty,
            EmptyTar::Again => Step::Again,
            EmptyTar::Later(wait) => Step::Later(wait),
            EmptyTar::Withheld(reason) => Step::Withhold(reason.to_owned()),
        }
    }

    fn failed(&mut self, reason: String) -> Step {
        self.proof.attempt_failed();
        match self.failed.failed(self.retries) {
            None => Step::GiveUp(reason),
            Some(wait) => Step::Retry {
                attempt: self.failed.failures(),
                wait,
                reason,
            },
        }
    }

    /// How many empty tars it takes to believe that there is nothing. More where there was
    /// something the last time; one where an increment is asked for, as of most shards nothing is
    /// newer.
    fn believed_empty_tars(&self, request: ShardRequest) -> u32 {
        match request {
            ShardRequest::Whole if self.was_stored => 4,
            ShardRequest::Since(_) if self.dialect == Some(Dialect::V1_5) => 1,
            _ => EMPTY_TARS,
        }
    }
}

#[cfg(test)]
#[path = "attempts_tests.rs"]
mod tests;
