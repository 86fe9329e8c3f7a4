//! The shards of a running server, asked for one after the other by commands that make no set of
//! them.

use std::io;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, anyhow};

use super::backup::{
    EMPTY_TARS, EmptyTar, FirstByte, IN_A_ROW, NextStep, OnDownload, Proof, Rule, SILENT,
    is_gone_from,
};
use super::members::TarStop;
use crate::cancel::Cancel;
use crate::client::{Client, Endpoint, Reply};
use crate::context::Context;
use crate::error::told;
use crate::metastore::Data;
use crate::progress::Event;
use crate::retry::{Attempts, Gate, Server, is_of_server, pause};
use crate::shard::ShardPath;
use crate::shard_tar::Ending;
use crate::time;
use crate::wire::{Dialect, Request};

/// What came of a shard that a server was asked for.
pub(super) enum ShardAnswer<T> {
    /// It came whole; without members only where the server is believed to have none.
    Whole {
        taken: T,
        /// Why it can lack points that were acknowledged before it was asked for.
        doubt: Option<String>,
    },
    /// The server has it no more.
    Gone,
    /// It was given up, for this reason.
    Missing(String),
}

/// Asks a server for shards.
pub(super) struct ShardAsker<'a> {
    client: &'a Client,
    server: Server,
    retries: u32,
    /// When an answer has everything that the server had acknowledged.
    rule: Rule,
    /// How many shards in a row it never answered promptly.
    late: AtomicU32,
}

/// Why an attempt came to nothing.
enum Failure {
    /// The server cannot be asked about anything.
    OfServer(String),
    OfShard(String),
    /// It closed without a byte.
    Silence,
    /// It sent nothing that can be believed, for as long as it was waited for.
    Withheld(&'static str),
    /// The fault is on this side: no further attempt.
    Fatal(anyhow::Error),
}

impl<'a> ShardAsker<'a> {
    /// Asks again so often where something fails. The metastore was fetched before.
    pub(super) fn new(client: &'a Client, retries: u32, rule: Rule) -> Self {
        Self {
            client,
            server: Server::new(retries),
            retries,
            rule: rule.in_dialect(client.dialect()),
            late: AtomicU32::new(0),
        }
    }

    /// The server.
    pub(super) fn address(&self) -> &Endpoint {
        self.client.address()
    }

    /// Asks for a shard, as often as it takes or may be, and has `take` read what comes. What
    /// `take` made of an attempt that failed is dropped.
    ///
    /// # Errors
    ///
    /// When `take` fails for another reason than what it read, or a stop was asked for.
    pub(super) fn ask<T>(
        &self,
        shard: &ShardPath,
        context: Context<'_>,
        mut take: impl FnMut(Reply) -> Result<(T, Ending), TarStop>,
    ) -> Result<ShardAnswer<T>> {
        let mut attempts = Attempts::default();
        let mut proof = Proof::new(self.rule);
        if self.late.load(Ordering::Relaxed) >= IN_A_ROW {
            proof.hurry();
        }
        loop {
            match self.server.gate(Instant::now()) {
                Gate::Open => {}
                Gate::Closed(wait) => {
                    pause(wait, context.cancel)?;
                    continue;
                }
                Gate::GivenUp => {
                    let reason = format!("{} does not answer any more", self.client.address());
                    return Ok(ShardAnswer::Missing(reason));
                }
            }
            let failure = match self.attempt(shard, &mut proof, &mut take, context.cancel) {
                Ok(taken) => {
                    let doubt = proof.doubt();
                    self.ended(doubt.is_some());
                    return Ok(ShardAnswer::Whole { taken, doubt });
                }
                Err(failure) => failure,
            };
            context.check()?;
            proof.attempt_failed();
            let (wait, reason) = match failure {
                Failure::Fatal(error) => return Err(error),
                Failure::Withheld(reason) => {
                    self.ended(true);
                    return Ok(ShardAnswer::Missing(reason.to_owned()));
                }
                Failure::OfServer(reason) => (self.server.failed(Instant::now()), reason),
                Failure::OfShard(reason) => (self.shard_failed(&mut attempts), reason),
                Failure::Silence if self.is_gone(shard) => return Ok(ShardAnswer::Gone),
                Failure::Silence => {
                    proof.silence();
                    (self.shard_failed(&mut attempts), SILENT.to_owned())
                }
            };
            let Some(wait) = wait else {
                return Ok(ShardAnswer::Missing(reason));
            };
            context.report(&Event::Retry {
                shard,
                attempt: attempts.failures().max(1),
                wait,
                reason: &reason,
            });
            pause(wait, context.cancel)?;
        }
    }

    /// Whether the server, which answers, has the shard no more.
    fn is_gone(&self, shard: &ShardPath) -> bool {
        let metastore = self.client.metastore();
        let data = metastore.and_then(|blob| Data::read(&blob.meta));
        data.is_ok_and(|data| is_gone_from(&data, shard))
    }

    /// The server answered about a shard to the end, or was given up as too late.
    fn ended(&self, is_late: bool) {
        self.server.answered();
        let late = self.late.load(Ordering::Relaxed);
        let late = if is_late { late + 1 } else { 0 };
        self.late.store(late, Ordering::Relaxed);
    }

    fn shard_failed(&self, attempts: &mut Attempts) -> Option<Duration> {
        self.server.answered();
        attempts.failed(self.retries)
    }

    /// Asks until what comes is believed to hold all that it should, and has it read.
    fn attempt<T>(
        &self,
        shard: &ShardPath,
        proof: &mut Proof,
        take: &mut impl FnMut(Reply) -> Result<(T, Ending), TarStop>,
        cancel: &Cancel,
    ) -> Result<T, Failure> {
        loop {
            let step = proof.next();
            let (reply, first_byte) = self.reply(shard, step)?;
            match step {
                NextStep::Probe => proof.answered(first_byte),
                NextStep::Download if proof.download_begins(first_byte) == OnDownload::HangUp => {}
                NextStep::Download => match take(reply) {
                    Ok((taken, Ending::Whole { members: 0 })) => {
                        match proof.empty_tar(first_byte, EMPTY_TARS) {
                            EmptyTar::Believed => return Ok(taken),
                            EmptyTar::Again => {}
                            EmptyTar::Later(wait) => {
                                pause(wait, cancel).map_err(|stop| Failure::Fatal(stop.into()))?;
                            }
                            EmptyTar::Withheld(reason) => return Err(Failure::Withheld(reason)),
                        }
                    }
                    Ok((taken, Ending::Whole { .. })) => return Ok(taken),
                    Ok((_, Ending::Nothing)) => return Err(Failure::Silence),
                    Err(TarStop::Tar(error)) => return Err(Failure::OfShard(told(&error.into()))),
                    Err(TarStop::Failed(error)) => return Err(Failure::Fatal(error)),
                },
            }
        }
    }

    /// Asks for a shard, or only whether and how it is answered; the reply, of which the first byte
    /// has come.
    fn reply(&self, shard: &ShardPath, step: NextStep) -> Result<(Reply, FirstByte), Failure> {
        let is_new = self.client.dialect() == Some(Dialect::V1_5);
        let is_probe = step == NextStep::Probe;
        // Nothing is newer than the end of time. An older server may say that with silence.
        let since = (is_probe && is_new).then(|| time::from_nanos(time::GREATEST));
        let id = shard.id;
        let request = Request::Shard { id, since };
        let asked = match is_probe {
            true => self.client.question(&request),
            false => self.client.request(&request),
        };
        let mut reply = asked.map_err(failure_of)?;
        match reply.first_byte() {
            Ok(Some(after)) => Ok((reply, FirstByte::After(after))),
            Ok(None) => Err(Failure::Silence),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Err(Failure::Silence),
            Err(error) => {
                let why = anyhow!(error).context(format!("no answer when asked for shard {shard}"));
                Err(Failure::OfShard(told(&why)))
            }
        }
    }
}

/// Whose fault an error of the client is.
fn failure_of(error: anyhow::Error) -> Failure {
    match is_of_server(&error) {
        true => Failure::OfServer(told(&error)),
        false => Failure::OfShard(told(&error)),
    }
}

#[cfg(test)]
#[path = "server_shards_tests.rs"]
mod tests;
