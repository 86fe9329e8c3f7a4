//! Questions about a shard whose answers are not kept.

use std::io::{self, BufReader};
use std::time::Instant;

use jiff::Timestamp;

use super::listing::Listing;
use super::proof::{FirstByte, NextStep};
use super::session::{QuestionError, Session, ShardJob};
use crate::client::Reply;
use crate::shard::ShardPath;
use crate::shard_tar::{Ending, ShardTarReader, TarError};
use crate::time;
use crate::wire::{Dialect, Request};

/// Bytes read at a time of an answer that is only looked at.
const LOOK: usize = 16 << 10;

impl Session<'_> {
    /// Asks about a shard for the first time, while others are downloaded: of most shards no more
    /// has to be known before their own download. Whatever goes wrong goes wrong again in the
    /// attempt.
    pub(crate) fn ask_ahead(&self, job: &mut ShardJob) {
        let is_shared = job.planned.base.is_some() || job.attempts.proof.next() != NextStep::Probe;
        if is_shared || !self.health.is_open_for_more(Instant::now()) {
            return;
        }
        let shard = &job.planned.shard.path;
        let trouble = match self.probe(shard) {
            Ok(first_byte) => return self.record_probe(&mut job.attempts, first_byte),
            Err(QuestionError::Silence) => {
                self.health.record_silent_probe();
                self.is_gone(shard).err()
            }
            Err(trouble) => Some(trouble),
        };
        match trouble {
            Some(QuestionError::Server(_)) => drop(self.health.failed(Instant::now())),
            _ => self.health.answered(),
        }
    }

    /// Whether the server sends the shard at all, and how it does. The answer is not used.
    pub(crate) fn probe(&self, shard: &ShardPath) -> Result<FirstByte, QuestionError> {
        // Nothing is newer than the end of time, so a server of the newer dialect answers with an
        // empty tar. An older one may say that with silence, so it is asked for all, and left after
        // the first bytes.
        let since = (self.client.dialect() == Some(Dialect::V1_5))
            .then(|| time::from_nanos(time::GREATEST));
        match self.reply(shard, since)? {
            Some((_, first_byte)) => Ok(first_byte),
            None => Err(QuestionError::Silence),
        }
    }

    /// Reads up to the header of the first member that is not of an index, and hangs up; how the
    /// tar ended where there is none, and `None` where there is one, or what came is no tar.
    pub(super) fn read_to_contents(
        &self,
        reply: &mut Reply,
        shard: &ShardPath,
        listing: &mut Listing,
    ) -> Result<Option<Ending>, QuestionError> {
        match look_for_contents(reply, shard, listing) {
            Ok(ending) => Ok(ending),
            Err(TarError::Source(error)) if error.kind() != io::ErrorKind::ConnectionReset => {
                Err(self.trouble(error.into()))
            }
            Err(_) => Ok(None),
        }
    }

    /// Asks for the files of a shard that were modified after a time; the reply, of which the first
    /// byte has come, or `None` where the server closed without one. A reset is
    /// [`QuestionError::Silence`].
    pub(super) fn reply(
        &self,
        shard: &ShardPath,
        since: Option<Timestamp>,
    ) -> Result<Option<(Reply, FirstByte)>, QuestionError> {
        let request = Request::Shard {
            id: shard.id,
            since,
        };
        let mut reply = self
            .client
            .question(&request)
            .map_err(|error| self.trouble(error))?;
        match reply.first_byte() {
            Ok(Some(after)) => {
                self.health.answered();
                Ok(Some((reply, FirstByte::After(after))))
            }
            Ok(None) => Ok(None),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => {
                Err(QuestionError::Silence)
            }
            Err(error) => {
                self.context
                    .check()
                    .map_err(|stop| QuestionError::Fatal(stop.into()))?;
                let reason = format!("no answer when asked for shard {shard}: {error}");
                Err(self.blame_for_silence(shard, reason))
            }
        }
    }

    /// Whether the server says "nothing newer" by closing, as 1.0 and 1.1 do, and not with an empty
    /// tar, as 1.2 to 1.4: asks for what is newer than the end of time, and then whether it answers
    /// at all.
    pub(crate) fn says_nothing_with_silence(&self, shard: &ShardPath) -> bool {
        let end_of_time = Some(time::from_nanos(time::GREATEST));
        self.client.dialect() == Some(Dialect::V1_0)
            && matches!(
                self.reply(shard, end_of_time),
                Ok(None) | Err(QuestionError::Silence)
            )
            && self.probe(shard).is_ok()
    }
}

/// Reads up to the header of the first member that is not of an index; how the tar ended where
/// there is none.
fn look_for_contents(
    reply: &mut Reply,
    shard: &ShardPath,
    listing: &mut Listing,
) -> Result<Option<Ending>, TarError> {
    let mut reader = ShardTarReader::new(BufReader::with_capacity(LOOK, reply), shard);
    while let Some(member) = reader.next_member()? {
        if listing.begin(&member).is_err() || listing.contents().next().is_some() {
            return Ok(None);
        }
    }
    reader.finish().map(Some)
}
