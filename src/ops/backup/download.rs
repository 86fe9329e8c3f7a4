//! Fetching one shard into a file, sure of what came.
//!
//! The protocol has no acknowledgement, so everything is told from the stream: a tar that is whole is a success, no byte at
//! all can be a passing state of the server, and everything else is a failed attempt that starts over in a fresh file. What
//! the states of a server look like is in docs/protocol.md, "When a server says nothing".

use std::io::{self, Read};
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;

use super::fetch::{Answer, Attempt, Listing};
use super::incremental::Base;
use super::plan::Planned;
use super::stored::Stored;
use crate::cancel::Cancel;
use crate::client::Client;
use crate::directory::{Content, Finished, Layout, MemberRecord, Staging};
use crate::format::meta::Data;
use crate::format::shard_tar::{Ending, Scanner, scan};
use crate::progress::{Event, Progress};
use crate::time::{self, Bounds};
use crate::wire::{Dialect, Request, ShardPath};

/// How long after an empty answer the question is put again, before the answer is believed.
const EMPTY_AGAIN: Duration = Duration::from_secs(1);
/// The wait after the first failed attempt; it doubles with each further one.
const FIRST_WAIT: Duration = Duration::from_millis(500);
/// The longest wait between attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// What to ask the server for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// All of the shard.
    Whole,
    /// The files modified after a time.
    Since(Timestamp),
    /// The blocks that touch an interval.
    Range(Bounds),
}

impl Want {
    /// The request for a shard.
    pub fn request(self, id: u64) -> Request {
        match self {
            Self::Whole => Request::Shard { id, since: None },
            Self::Since(since) => Request::Shard {
                id,
                since: Some(since),
            },
            Self::Range(bounds) => Request::Export { id, bounds },
        }
    }

    /// How a set's record calls it.
    pub fn content(self) -> Content {
        match self {
            Self::Whole => Content::Whole,
            Self::Since(_) => Content::Since,
            Self::Range(_) => Content::Range,
        }
    }
}

/// A shard to fetch, and what earlier attempts taught about it.
pub struct Job {
    /// What is asked for; an export that the server cannot do becomes the whole shard.
    pub planned: Planned,
    failures: u32,
    /// The server answered with nothing. The tar after that can lack the newest points, so one answer goes unused.
    silent: bool,
    /// How often in a row the server answered with an empty tar.
    empties: u32,
}

impl Job {
    /// A job that was not tried yet.
    pub fn new(planned: Planned) -> Self {
        Self {
            planned,
            failures: 0,
            silent: false,
            empties: 0,
        }
    }
}

/// How a job ended.
#[derive(Debug)]
pub enum Fetched {
    /// The shard is in a file.
    Stored(Stored),
    /// It has not changed since an earlier set, and shares the file of that.
    Shared {
        /// The file.
        file: Finished,
        /// What it is shared with.
        base: Box<Base>,
    },
    /// There is nothing to store; with an empty tar, where the set has to say so to influxd.
    Empty(Option<Stored>),
    /// The server deleted the shard meanwhile.
    Expired,
    /// It could not be fetched; the text says why.
    Failed(String),
}

/// What follows from one attempt.
#[derive(Debug)]
pub enum Step {
    /// The job is over.
    Done(Fetched),
    /// Try again after this long.
    Again(Duration),
}

/// Fetches shards from one server into one set.
pub struct Downloader<'a> {
    /// The server.
    pub client: &'a Client,
    /// Where files grow.
    pub staging: &'a Staging,
    /// The layout they have.
    pub layout: Layout,
    /// Leave deleted points out of shards that are taken whole.
    pub apply_deletes: bool,
    /// How many attempts follow a failed one.
    pub retries: u32,
    /// How many shards are fetched at a time.
    pub jobs: usize,
    /// Who may ask for a stop.
    pub cancel: &'a Cancel,
    /// Who listens.
    pub progress: &'a dyn Progress,
}

impl Downloader<'_> {
    /// Makes one attempt at a job.
    ///
    /// # Errors
    ///
    /// What ends the run: the disk, or a stop that was asked for.
    pub fn attempt(&self, job: &mut Job) -> Result<Step> {
        if let Some(base) = job.planned.base.take() {
            match self.is_unchanged(&job.planned.shard.path, &base) {
                Ok(true) => match self.staging.share(&base.path, &base.file, self.cancel)? {
                    Some(file) => return Ok(Step::Done(Fetched::Shared { file, base })),
                    None => {
                        let message = format!(
                            "{} is damaged: the shard is downloaded again",
                            base.path.display()
                        );
                        self.progress.report(&Event::Warning(&message));
                    }
                },
                Ok(false) => {}
                Err(error) => {
                    job.planned.base = Some(base);
                    return self.failed(job, format!("{error:#}"));
                }
            }
        }
        let shard = &job.planned.shard.path;
        if job.silent {
            match self.probe(shard) {
                Ok(true) => {}
                Ok(false) => return self.no_answer(job),
                Err(error) => return self.failed(job, format!("{error:#}")),
            }
        }
        match self.fetch(&job.planned) {
            Ok(Answer::Nothing) => self.nothing(job),
            Ok(Answer::Empty) => {
                // Servers 1.8.0 to 1.8.4 send this for a full shard while a flush is running.
                // So it is asked again, and more often where there was something the last time.
                let enough = if job.planned.want == Want::Whole && job.planned.known.is_some() {
                    4
                } else {
                    2
                };
                job.empties += 1;
                if job.empties >= enough {
                    return Ok(Step::Done(self.empty(&job.planned)?));
                }
                Ok(Step::Again(EMPTY_AGAIN * job.empties))
            }
            Ok(Answer::NothingKept) => Ok(Step::Done(self.empty(&job.planned)?)),
            Ok(Answer::Shard(tar)) => Ok(Step::Done(self.stored(&job.planned, tar)?)),
            Err(Attempt::Broken { reason, tombstone }) => {
                if let Want::Range(_) = job.planned.want
                    && (tombstone || job.failures > 0)
                {
                    let message = format!(
                        "the server cannot export a part of shard {shard} ({reason}): taking the whole shard"
                    );
                    match job.planned.cut {
                        Some(_) => self
                            .progress
                            .report(&Event::Status(&format!("{message} and cutting it here"))),
                        None => {
                            let message =
                                format!("{message}, which holds more than the range asked for");
                            self.progress.report(&Event::Warning(&message));
                        }
                    }
                    job.planned.want = Want::Whole;
                    return Ok(Step::Again(Duration::ZERO));
                }
                self.failed(job, reason)
            }
            Err(Attempt::Fatal(error)) => Err(error),
        }
    }

    /// Whether the server has of the shard what an earlier set has, and no more, as far as it tells.
    fn is_unchanged(&self, shard: &ShardPath, base: &Base) -> Result<bool> {
        // Asked twice: servers 1.8.0 to 1.8.4 send an empty tar while they flush the shard's cache.
        Ok(self.has_nothing_since(shard, base)?
            && self.still_has(shard, base)?
            && self.has_nothing_since(shard, base)?)
    }

    fn has_nothing_since(&self, shard: &ShardPath, base: &Base) -> Result<bool> {
        let reply = self.client.request(&Request::Shard {
            id: shard.id,
            since: Some(base.since),
        })?;
        let scanned = scan(reply, shard, &mut Listing::default())?;
        Ok(matches!(scanned, Ok(Ending::Whole { members: 0 })))
    }

    /// Whether all files of the base are still there: where all of one was deleted and compacted away, nothing is newer.
    fn still_has(&self, shard: &ShardPath, base: &Base) -> Result<bool> {
        for probe in &base.probes {
            if self.first_since(shard, probe.since)?.as_ref() != Some(&probe.first) {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The first of the files modified after a time.
    fn first_since(&self, shard: &ShardPath, since: Timestamp) -> Result<Option<MemberRecord>> {
        // The header, and before it another where the name is long or not ASCII.
        let beginning = self.beginning(
            &Request::Shard {
                id: shard.id,
                since: Some(since),
            },
            2048,
        )?;
        let mut listing = Listing::default();
        // It breaks off, so that only what is listed is of interest.
        let _ = Scanner::new(shard, &mut listing).feed(&beginning);
        Ok(listing.members.into_iter().next())
    }

    /// The first bytes of a reply: all of them where there are fewer than `most`. A reset ends it too.
    fn beginning(&self, request: &Request, most: usize) -> Result<Vec<u8>> {
        let mut reply = self.client.request(request)?;
        let mut bytes = vec![0; most];
        let mut filled = 0;
        while filled < most {
            match reply.read(&mut bytes[filled..]) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::ConnectionReset => break,
                Err(error) => return Err(error.into()),
            }
        }
        bytes.truncate(filled);
        Ok(bytes)
    }

    /// A shard request was answered with nothing.
    fn nothing(&self, job: &mut Job) -> Result<Step> {
        let may_mean_empty = self.client.dialect() == Some(Dialect::V1_0)
            && matches!(job.planned.want, Want::Since(_));
        if may_mean_empty && !job.silent && !self.is_gone(&job.planned.shard.path).unwrap_or(true) {
            // Not counted as a failure before it is known to be one.
            job.silent = true;
            return Ok(Step::Again(Duration::ZERO));
        }
        // The server answers again, as the probe before this attempt showed: is its silence an answer?
        if may_mean_empty && job.silent && self.says_empty_with_silence(&job.planned.shard.path) {
            return Ok(Step::Done(self.empty(&job.planned)?));
        }
        self.no_answer(job)
    }

    fn no_answer(&self, job: &mut Job) -> Result<Step> {
        match self.is_gone(&job.planned.shard.path) {
            Ok(true) => return Ok(Step::Done(Fetched::Expired)),
            Ok(false) => {}
            Err(error) => return self.failed(job, format!("{error:#}")),
        }
        job.silent = true;
        self.failed(job, "the server closed without an answer: busy with the shard, or failing; its log says which".to_owned())
    }

    /// Whether the server says "nothing newer" by closing, as 1.0 and 1.1 do, and not with an empty tar, as 1.2 to 1.4: asks
    /// for what is newer than the end of time, and then whether it answers at all.
    fn says_empty_with_silence(&self, shard: &ShardPath) -> bool {
        let end_of_time = Some(time::from_nanos(time::GREATEST));
        let silent = self
            .beginning(
                &Request::Shard {
                    id: shard.id,
                    since: end_of_time,
                },
                1,
            )
            .is_ok_and(|bytes| bytes.is_empty());
        silent && self.probe(shard).unwrap_or(false)
    }

    fn failed(&self, job: &mut Job, reason: String) -> Result<Step> {
        job.failures += 1;
        job.empties = 0;
        if job.failures > self.retries {
            return Ok(Step::Done(Fetched::Failed(reason)));
        }
        let wait = FIRST_WAIT
            .saturating_mul(1 << (job.failures - 1).min(16))
            .min(LONGEST_WAIT);
        self.progress.report(&Event::Retry {
            shard: &job.planned.shard.path,
            attempt: job.failures,
            wait,
            reason: &reason,
        });
        Ok(Step::Again(wait))
    }

    /// Whether the server sends the shard at all. The answer is not used: after a failed flush it can lack the newest
    /// points, which the answer after it has.
    fn probe(&self, shard: &ShardPath) -> Result<bool> {
        // Nothing is newer than the end of time, so a server of the newer dialect answers with an empty tar. An older one
        // may say that with silence, so it is asked for all, and left after the first bytes.
        let since = (self.client.dialect() == Some(Dialect::V1_5))
            .then(|| time::from_nanos(time::GREATEST));
        Ok(!self
            .beginning(
                &Request::Shard {
                    id: shard.id,
                    since,
                },
                1,
            )?
            .is_empty())
    }

    /// Whether the server's meta store no longer has the shard, or marks it as deleted. A shard that it has and the server has
    /// not open is not gone: it may have failed to open.
    fn is_gone(&self, shard: &ShardPath) -> Result<bool> {
        let data = Data::read(&self.client.meta_store()?.meta)?;
        match data.shards().find(|known| known.path == *shard) {
            None => Ok(true),
            Some(known) => Ok(known.deleted_at.is_some()),
        }
    }
}
