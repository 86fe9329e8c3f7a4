//! Fetching one shard into a file, sure of what came.
//!
//! The protocol has no acknowledgement, so everything is told from the stream: a tar that is whole
//! is a success, no byte at all can be a passing state of the server, and everything else is a
//! failed attempt that starts over in a fresh file. What the states of a server look like is in
//! docs/protocol.md, "When a server says nothing". What an attempt means is decided in `attempts`;
//! whether a whole tar holds all that it should, in `proof`.

use std::mem;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::attempts::Step;
use super::incremental::Base;
use super::outcome::{AttemptResult, ShardOutcome};
use super::proof::NextStep;
use super::request::ShardRequest;
use super::session::{QuestionError, Session, ShardJob};
use crate::ops::queue::Permit;
use crate::progress::Event;
use crate::repository::SealedFile;
use crate::retry::Gate;
use crate::text::seconds;
use crate::wire::Dialect;

/// How a job goes on after an attempt.
#[derive(Debug)]
pub(crate) enum Attempted {
    /// It is over.
    Done(ShardOutcome),
    /// There is another attempt after this long.
    Again(Duration),
}

impl Session<'_> {
    /// Makes one attempt at a job.
    ///
    /// # Errors
    ///
    /// What ends the run: the disk, or a stop that was asked for.
    pub(super) fn attempt(&self, job: &mut ShardJob) -> Result<Attempted> {
        if !mem::replace(&mut job.is_begun, true) {
            self.ask_ahead(job);
        }
        // What the server has come to while others were fetched, the gate tells afterwards.
        let permit = match job.planned.base {
            Some(_) => None,
            None => Some(self.permits.take(self.context.cancel)?),
        };
        match self.health.gate(Instant::now()) {
            Gate::Open => {}
            Gate::Closed(wait) => return Ok(Attempted::Again(wait)),
            Gate::GivenUp => {
                let reason = format!("{} does not answer any more", self.client.address());
                return Ok(Attempted::Done(ShardOutcome::Failed(reason)));
            }
        }
        job.attempts.begin(self.health.is_slow());
        let step = self.next_step(job, permit)?;
        if !matches!(step, Step::Outage(_)) {
            self.health.answered();
        }
        if !matches!(step, Step::Silence) {
            self.health.reset_silences();
        }
        self.follow(job, step)
    }

    /// Asks until what follows is not to ask again at once. At once, and not behind other shards:
    /// after a flush that took long there is little to flush.
    fn next_step(&self, job: &mut ShardJob, mut permit: Option<Permit<'_>>) -> Result<Step> {
        loop {
            let result = match self.ask(job, permit.take()) {
                Ok(result) => result,
                Err(QuestionError::Silence) => self.explain_silence(job)?,
                Err(trouble) => trouble.result()?,
            };
            match job.attempts.next(result, job.planned.request) {
                Step::Again => {}
                step => return Ok(step),
            }
        }
    }

    /// Asks for a shard, with a permit that is waited for where there is none yet.
    fn ask(
        &self,
        job: &mut ShardJob,
        permit: Option<Permit<'_>>,
    ) -> Result<AttemptResult, QuestionError> {
        if let Some(base) = job.planned.base.take() {
            job.started.get_or_insert_with(Instant::now);
            match self.is_unchanged(job, &base) {
                Ok(true) => {
                    let _permit = self.permit()?;
                    if let Some(file) = self.file_of(&base).map_err(QuestionError::Fatal)? {
                        return Ok(AttemptResult::Unchanged { file, base });
                    }
                }
                Ok(false) => {}
                Err(trouble) => {
                    job.planned.base = Some(base);
                    return Err(trouble);
                }
            }
            if base.set.is_none() {
                // Nobody will want it, and it takes room.
                self.staging
                    .discard(&base.name)
                    .map_err(QuestionError::Fatal)?;
            }
        }
        let permit = match permit {
            Some(permit) => permit,
            None => self.permit()?,
        };
        while job.attempts.proof.next() == NextStep::Probe {
            let first_byte = self.probe(&job.planned.shard.path)?;
            self.record_probe(&mut job.attempts, first_byte);
        }
        job.started.get_or_insert_with(Instant::now);
        match self.fetch(job, permit)? {
            AttemptResult::Silence => self.explain_nothing(job),
            result => Ok(result),
        }
    }

    /// The file of an earlier run for this one's set; none, with a warning, where it is damaged.
    fn file_of(&self, base: &Base) -> Result<Option<SealedFile>> {
        let cancel = self.context.cancel;
        let file = match base.set {
            Some(_) => self
                .staging
                .share(&base.name, &base.file, self.comparison, cancel),
            None => self.staging.reuse(&base.name, &base.file, cancel),
        }?;
        if file.is_none() {
            self.context.warn(format!(
                "{} is damaged: the shard is downloaded again",
                self.staging.place_of(&base.name)
            ));
        }
        Ok(file)
    }

    /// A download was answered with nothing, which may be an answer.
    fn explain_nothing(&self, job: &ShardJob) -> Result<AttemptResult, QuestionError> {
        let shard = &job.planned.shard.path;
        let may_be_answer = self.client.dialect() == Some(Dialect::V1_0)
            && matches!(job.planned.request, ShardRequest::Since(_));
        if !may_be_answer {
            return Err(QuestionError::Silence);
        }
        if !job.attempts.was_silent() {
            return match self.is_gone(shard) {
                Ok(false) => Ok(AttemptResult::SilenceForNothing),
                _ => Err(QuestionError::Silence),
            };
        }
        // The server answers again, as the probe before this attempt showed: is its silence an
        // answer?
        if self.says_nothing_with_silence(shard) {
            Ok(AttemptResult::SaidNothing)
        } else {
            Err(QuestionError::Silence)
        }
    }

    /// The server said nothing of a shard: is there one?
    fn explain_silence(&self, job: &ShardJob) -> Result<AttemptResult> {
        match self.is_gone(&job.planned.shard.path) {
            Ok(true) => Ok(AttemptResult::Gone),
            Ok(false) => Ok(AttemptResult::Silence),
            Err(trouble) => trouble.result(),
        }
    }

    /// Does what follows from an attempt.
    fn follow(&self, job: &mut ShardJob, step: Step) -> Result<Attempted> {
        let now = Instant::now();
        let outcome = match step {
            Step::Store(tar) => self.stored(&job.planned, tar)?,
            Step::Reuse { file, base } => ShardOutcome::Unchanged { file, base },
            Step::Expire => ShardOutcome::Expired,
            Step::Empty => self.empty(&job.planned)?,
            Step::Withhold(reason) => ShardOutcome::Withheld(reason),
            Step::GiveUp(reason) => ShardOutcome::Failed(reason),
            Step::Again => return Ok(Attempted::Again(Duration::ZERO)),
            Step::Later(wait) => return Ok(Attempted::Again(wait)),
            Step::Retry {
                attempt,
                wait,
                reason,
            } => {
                self.context.report(&Event::Retry {
                    shard: &job.planned.shard.path,
                    attempt,
                    wait,
                    reason: &reason,
                });
                return Ok(Attempted::Again(wait));
            }
            Step::TakeWhole(reason) => {
                self.take_whole(job, &reason);
                return Ok(Attempted::Again(Duration::ZERO));
            }
            Step::Outage(reason) => match self.health.failed(now) {
                None => ShardOutcome::Failed(reason),
                Some(wait) => {
                    let wait_text = seconds(wait);
                    self.context
                        .status(format!("{reason}; asking again in {wait_text}"));
                    return Ok(Attempted::Again(wait));
                }
            },
            Step::Silence => {
                let step = job.attempts.silent(self.health.silent(now));
                return self.follow(job, step);
            }
        };
        Ok(Attempted::Done(outcome))
    }

    /// The server cannot export a part of a shard: all of it is asked for.
    fn take_whole(&self, job: &mut ShardJob, reason: &str) {
        let message = format!(
            "the server cannot export a part of shard {} ({reason}): taking the whole shard",
            job.planned.shard.path
        );
        if job.planned.time_range.is_some() {
            self.context
                .status(format!("{message} and cutting it here"));
        } else {
            self.context.warn(format!(
                "{message}, which holds more than the range asked for"
            ));
        }
        job.planned.request = ShardRequest::Whole;
    }
}
