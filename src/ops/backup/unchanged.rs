//! Whether a shard has changed since an earlier run: the server is asked whether all that was there
//! still is, and then what is newer.
//!
//! Both hold of the shard as it was when the run began. Its points are in files once two questions,
//! one after the other, were answered promptly (see `proof`); the second of them, or a later one,
//! has to find nothing newer. And no delete from before the run can hide between the questions:
//! servers 1.5 and later name the deletes of a file before the file, so that who still has the file
//! first has none of it pending, and had none that was compacted away. Older servers name files in
//! any order. They are asked what is newer before the first question too: then a delete is there
//! for one of the two, or its files are gone at the other.

use jiff::Timestamp;

use super::incremental::Base;
use super::listing::Listing;
use super::session::{QuestionError, Session, ShardJob};
use crate::client::Reply;
use crate::repository::MemberRecord;
use crate::shard::ShardPath;
use crate::shard_tar::Ending;
use crate::wire::Dialect;

impl Session<'_> {
    /// Whether the server has of the shard what an earlier run got, and no more, as far as it
    /// tells.
    pub(crate) fn is_unchanged(
        &self,
        job: &mut ShardJob,
        base: &Base,
    ) -> Result<bool, QuestionError> {
        let names_deletes_first = self.client.dialect() == Some(Dialect::V1_5);
        Ok((names_deletes_first || self.has_nothing_since(job, base)?)
            && self.still_has(job, base)?
            && self.has_nothing_since(job, base)?)
    }

    /// Whether nothing is newer than the base, and all that was acknowledged before is in files.
    fn has_nothing_since(&self, job: &mut ShardJob, base: &Base) -> Result<bool, QuestionError> {
        let shard = job.planned.shard.path.clone();
        loop {
            let Some((mut reply, first_byte)) = self.reply(&shard, Some(base.since))? else {
                return Ok(self.says_nothing_with_silence(&shard));
            };
            self.record_probe(&mut job.attempts, first_byte);
            if !self.holds_nothing(&mut reply, &shard)? {
                return Ok(false);
            }
            let proof = &job.attempts.proof;
            if proof.is_prompt(first_byte) && proof.is_proven() {
                return Ok(true);
            }
            if proof.is_given_up() {
                return Ok(false);
            }
        }
    }

    /// Whether all files of the base are still there: where all of one was deleted and compacted
    /// away, nothing is newer.
    fn still_has(&self, job: &mut ShardJob, base: &Base) -> Result<bool, QuestionError> {
        let shard = job.planned.shard.path.clone();
        for probe in &base.probes {
            let first = self.first_since(job, &shard, probe.since)?;
            if first.as_ref() != Some(&probe.first) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Whether an answer is a whole tar without files with points, or with deletes. Those of an
    /// index hold no points.
    fn holds_nothing(&self, reply: &mut Reply, shard: &ShardPath) -> Result<bool, QuestionError> {
        let mut listing = Listing::default();
        let ending = self.read_to_contents(reply, shard, &mut listing)?;
        let is_whole = matches!(ending, Some(Ending::Whole { .. }));
        Ok(is_whole && listing.contents().next().is_none())
    }

    /// The first of the files with points or with deletes that were modified after a time.
    fn first_since(
        &self,
        job: &mut ShardJob,
        shard: &ShardPath,
        since: Timestamp,
    ) -> Result<Option<MemberRecord>, QuestionError> {
        let (mut reply, first_byte) = match self.reply(shard, Some(since)) {
            Ok(Some(answer)) => answer,
            Ok(None) | Err(QuestionError::Silence) => return Ok(None),
            Err(trouble) => return Err(trouble),
        };
        self.record_probe(&mut job.attempts, first_byte);
        let mut listing = Listing::default();
        self.read_to_contents(&mut reply, shard, &mut listing)?;
        let first = listing.contents().next().cloned();
        Ok(first)
    }
}
