//! Uploading shards, several at a time: each is sent, and read back when the server is done with
//! it.

use std::time::{Duration, Instant};

use anyhow::{Result, bail};

use super::filtered::{FilteredFiles, sent};
use super::journal::LiveJournal;
use super::look_back::{NotSentBack, OnServer};
use super::parts::UploadShard;
use super::target::Live;
use crate::cancel::Cancel;
use crate::error::{ErrorKind, kind_of, told};
use crate::ops::Shortfall;
use crate::ops::queue::{self, Turn};
use crate::progress::{Event, Outcome};
use crate::repository::Catalog;
use crate::retry::Attempts;
use crate::shard::ShardPath;
use crate::sizes::total;

/// What became of the shards.
#[derive(Debug, Default)]
pub(crate) struct Uploaded {
    /// Shards that are on the server.
    pub shards: usize,
    /// Their files.
    pub files: usize,
    /// Bytes of those files.
    pub bytes: u64,
    /// Shards among them that were read back and compared.
    pub read_back: usize,
    /// The shards that failed.
    pub failed: Vec<Shortfall>,
    /// Whether one of them can only be mended by beginning anew.
    pub spoiled: bool,
}

/// The attempts at a shard that failed.
#[derive(Debug, Default)]
pub(super) struct UploadAttempts {
    /// To bring it to the server.
    upload: Attempts,
    /// To have it sent back.
    look_back: Attempts,
}

/// What follows a failed attempt at a shard.
pub(super) enum AfterFailure {
    /// Another, after so long.
    Again(Duration),
    /// The same question, after so long: all of it was sent, and only not sent back.
    AskAgain(Duration),
    /// The end of the run.
    Stop(anyhow::Error),
    /// No other: the shard failed for good.
    Failed(anyhow::Error),
}

/// A shard on its way.
struct UploadJob<'a> {
    shard: &'a UploadShard<'a>,
    /// What of its parts is sent in another form, once that is made.
    filtered: Option<Vec<FilteredFiles>>,
    attempts: UploadAttempts,
    /// An earlier run had it whole on the server.
    was_done: bool,
    /// An earlier attempt, or run, may have left something.
    again: bool,
    /// All of it was sent before, and the server took its time with it and closed.
    sent: bool,
    /// It was sent in this or the last attempt, and only the answer to what the server has is owed.
    is_to_read_back: bool,
    /// All of it was found on the server.
    read_back: bool,
    /// When the first attempt was made.
    started: Option<Instant>,
}

impl Live<'_> {
    /// Uploads all shards. `done` are, where a restore is gone on with, those that were done, by
    /// their ids in the metastore that was imported.
    pub(super) fn upload(
        &self,
        catalog: &Catalog,
        shards: &[UploadShard<'_>],
        journal: &LiveJournal,
        done: Option<&[u64]>,
    ) -> Result<Uploaded> {
        self.context.report(&Event::Shards {
            count: shards.len(),
            bytes: Some(total(shards.iter().map(UploadShard::tsm_bytes))),
        });
        let mut jobs = Vec::with_capacity(shards.len());
        for shard in shards {
            let was_done = done.is_some_and(|done| done.contains(&shard.id));
            jobs.push(UploadJob {
                shard,
                filtered: None,
                attempts: UploadAttempts::default(),
                was_done,
                again: done.is_some(),
                sent: was_done,
                is_to_read_back: false,
                read_back: false,
                started: None,
            });
        }
        let stop = self.context.cancel.child();
        let results = queue::work(jobs, self.options.jobs, &stop, |job: UploadJob<'_>| {
            self.upload_shard(catalog, job, journal, &stop)
        });
        self.context.check()?;
        let mut all = Uploaded::default();
        for one in queue::all(results)? {
            all.shards += one.shards;
            all.files += one.files;
            all.bytes += one.bytes;
            all.read_back += one.read_back;
            all.failed.extend(one.failed);
            all.spoiled |= one.spoiled;
        }
        Ok(all)
    }

    /// Makes one attempt at a shard, tells of it, and decides whether there is another.
    fn upload_shard<'j>(
        &self,
        catalog: &Catalog,
        mut job: UploadJob<'j>,
        journal: &LiveJournal,
        stop: &Cancel,
    ) -> Turn<UploadJob<'j>, Result<Uploaded>> {
        let shard = job.shard;
        let started = *job.started.get_or_insert_with(Instant::now);
        self.context.report(&Event::Started {
            shard: &shard.path,
            bytes: Some(shard.tsm_bytes()),
        });
        // Without being asked to look, what was done stays done.
        let attempt = if job.was_done && !self.options.verify {
            Ok(())
        } else {
            self.attempt(catalog, &mut job)
        };
        let error = match attempt.and_then(|()| journal.done(shard.id)) {
            Ok(()) => return Turn::Done(Ok(self.uploaded(&job, started))),
            Err(error) => error,
        };
        match self.after_failure(&shard.path, error, &mut job.attempts, started, stop) {
            AfterFailure::Again(wait) => {
                job.again = true;
                job.is_to_read_back = false;
                Turn::Later(job, wait)
            }
            AfterFailure::AskAgain(wait) => Turn::Later(job, wait),
            AfterFailure::Stop(error) => Turn::Done(Err(error)),
            AfterFailure::Failed(error) => Turn::Done(Ok(failed(shard, &error))),
        }
    }

    /// Decides what follows a failed attempt at a shard, and tells of it.
    pub(super) fn after_failure(
        &self,
        path: &ShardPath,
        error: anyhow::Error,
        attempts: &mut UploadAttempts,
        started: Instant,
        stop: &Cancel,
    ) -> AfterFailure {
        if stop.is_cancelled() {
            return AfterFailure::Stop(error);
        }
        let (kind, reason) = (kind_of(&error), told(&error));
        let is_to_ask = error.is::<NotSentBack>();
        let attempts = match is_to_ask {
            true => &mut attempts.look_back,
            false => &mut attempts.upload,
        };
        if kind != ErrorKind::Refused
            && let Some(wait) = attempts.failed(self.options.retries)
        {
            self.context.report(&Event::Retry {
                shard: path,
                attempt: attempts.failures(),
                wait,
                reason: &reason,
            });
            return match is_to_ask {
                true => AfterFailure::AskAgain(wait),
                false => AfterFailure::Again(wait),
            };
        }
        if kind == ErrorKind::Unreachable {
            // The others would find nobody there either.
            stop.cancel();
            return AfterFailure::Stop(error);
        }
        self.context.report(&Event::Finished {
            shard: path,
            outcome: Outcome::Failed(&reason),
            elapsed: started.elapsed(),
        });
        AfterFailure::Failed(error)
    }

    /// A shard is on the server.
    fn uploaded(&self, job: &UploadJob<'_>, started: Instant) -> Uploaded {
        let (files, bytes) = self.finished(job.shard, job.filtered.as_deref(), started);
        Uploaded {
            shards: 1,
            files,
            bytes,
            read_back: usize::from(job.read_back),
            ..Uploaded::default()
        }
    }

    /// Tells that a shard is on the server; how many files it has been sent, and their bytes.
    pub(super) fn finished(
        &self,
        shard: &UploadShard<'_>,
        filtered: Option<&[FilteredFiles]>,
        started: Instant,
    ) -> (usize, u64) {
        let files = filtered.into_iter().flat_map(|all| sent(shard, all));
        let (files, bytes) = files.fold((0, 0), |(files, bytes), sent| {
            (files + 1, bytes + sent.size)
        });
        self.context.report(&Event::Finished {
            shard: &shard.path,
            outcome: Outcome::Done { files, bytes },
            elapsed: started.elapsed(),
        });
        (files, bytes)
    }

    /// Makes one attempt at a shard.
    fn attempt(&self, catalog: &Catalog, job: &mut UploadJob<'_>) -> Result<()> {
        let shard = job.shard;
        let filtered = self.filtered(catalog, shard, &mut job.filtered)?;
        if sent(shard, filtered).next().is_none() {
            job.read_back = true;
            return Ok(());
        }
        if !job.is_to_read_back {
            if job.again {
                // Nobody knows how far the attempt before came.
                self.clear(shard)?;
                job.again = false;
            }
            // A second upload beside a first hides fields that only the second has, on servers with a
            // tsi1 index; so does one beside what somebody wrote, and it takes the place of files of
            // the same name.
            match self.look_back(shard, filtered)? {
                OnServer::All => {
                    job.read_back = true;
                    return Ok(());
                }
                OnServer::Nothing => {}
                OnServer::Compacted if job.sent => {
                    self.warn_not_compared(shard);
                    return Ok(());
                }
                OnServer::Part(absent) => {
                    return Err(spoiled(&format!(
                        "the server took in a part of it, but not {absent}"
                    )));
                }
                OnServer::Compacted | OnServer::Other => {
                    return Err(spoiled(
                        "somebody has written to it since the database was made (stop that, so that it is not lost)",
                    ));
                }
            }
            self.send(catalog, shard, filtered)?;
            (job.sent, job.is_to_read_back) = (true, true);
        }
        if self.options.verify {
            job.read_back = self.read_back(shard, filtered)?;
        }
        Ok(())
    }

    /// Compares what the server has with what it was sent. Whether it could be: not where a
    /// compaction was faster.
    fn read_back(&self, shard: &UploadShard<'_>, filtered: &[FilteredFiles]) -> Result<bool> {
        match self.look_back(shard, filtered)? {
            OnServer::All => Ok(true),
            OnServer::Nothing => bail!("the server holds none of it although it was sent"),
            OnServer::Part(absent) => {
                bail!("the server does not hold {absent} although it was sent")
            }
            OnServer::Other => {
                bail!("the server holds files that were not sent, and not all that were")
            }
            OnServer::Compacted => {
                self.warn_not_compared(shard);
                Ok(false)
            }
        }
    }

    pub(super) fn warn_not_compared(&self, shard: &UploadShard<'_>) {
        self.context.warn(format!(
            "the server has compacted shard {} already: it was not compared",
            shard.path
        ));
    }
}

/// What becomes of a shard that failed for good.
fn failed(shard: &UploadShard<'_>, error: &anyhow::Error) -> Uploaded {
    let name = format!("{} (now {})", shard.source, shard.path);
    Uploaded {
        failed: vec![Shortfall::of_shard(name, told(error))],
        spoiled: kind_of(error) == ErrorKind::Refused,
        ..Uploaded::default()
    }
}

/// A shard that only a new beginning can mend.
fn spoiled(why: &str) -> anyhow::Error {
    ErrorKind::Refused
        .error(format!(
            "{why}: drop the database on the server and restore it anew"
        ))
        .into()
}
