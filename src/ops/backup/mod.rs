//! `snap backup`: the meta store and shards of a server into a set.
//!
//! What is asked for is decided first (`plan`), and what it may be shared with (`incremental`). Then each shard is asked for until
//! it is there for sure (`download`), request by request (`fetch`), until what came is proven to lack nothing (`proof`), and what is
//! not wanted of it left out (`cut`, `stored`). All together become a set (`commit`).

mod commit;
mod compare;
mod cut;
mod download;
mod fetch;
mod incremental;
mod names;
mod plan;
mod proof;
mod stored;

use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
use jiff::Timestamp;

use super::losses::Losses;
use super::queue::{self, Turn};
use super::selection::plural;
use crate::cancel::Cancel;
use crate::client::Client;
use crate::error::{ErrorKind, kind_of};
use crate::metastore::Data;
use crate::progress::{Event, Outcome, Progress};
use crate::repository::manifest;
use crate::repository::{Layout, ResumableRun, Run, SealedFile, Selection, SetId, SetWriter};
use crate::retry::{self, Attempts, Gate, Server};
use crate::time;
use crate::wire::{Dialect, MetaBlob};
use commit::Settled;
use download::{Downloader, Fetched, Habits, Job, Step, Want, is_of_server};
use incremental::Base;
pub use incremental::IncrementalMode;
use plan::{Plan, Planned};
use proof::Rule;

/// How many shards are asked about at a time, before they are downloaded: the answers are small.
const QUESTIONS: usize = 16;

/// What to back up and how.
#[derive(Debug, Clone)]
pub struct BackupOptions {
    /// What is backed up, for messages and the record: the server's address, or a data directory.
    pub source: String,
    /// The backup directory.
    pub directory: PathBuf,
    /// What to take.
    pub selection: Selection,
    /// How it builds on earlier sets.
    pub building: IncrementalMode,
    /// How the files are laid out.
    pub layout: Layout,
    /// Leave out of shards that are taken whole what was deleted and not compacted away.
    pub apply_deletes: bool,
    /// How many shards at a time.
    pub jobs: usize,
    /// How many attempts follow a failed one.
    pub retries: u32,
    /// How long to ask for a shard before it is stored although it can lack points that the server had not written to files; `None`
    /// where the source never sends a shard without them.
    pub flush_timeout: Option<Duration>,
    /// Make a set of what could be had, where shards failed.
    pub skip_errors: bool,
    /// How long to wait for the directory's lock.
    pub retry_lock: Duration,
    /// Take over what an earlier run had finished and has not changed since, and leave for a later one what this finishes should it
    /// fail.
    pub resume: bool,
    /// How old the newest file of a shard has to be that is taken over: more than the clocks of server and client may differ.
    pub cold_after: Duration,
    /// Say what would be fetched, and fetch nothing.
    pub dry_run: bool,
}

/// What a backup did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupReport {
    /// The set's id, number and meta store; `None` for a dry run.
    pub set: Option<MadeSet>,
    /// Shards stored, or for a dry run, those that would be asked for.
    pub stored: usize,
    /// Shards among these that share the file of an earlier set.
    pub shared: usize,
    /// Shards that had nothing to send.
    pub empty: usize,
    /// Shards that are not in the set although they were asked for, each with the reason.
    pub missing: Vec<String>,
    /// Shards that are in the set and can lack points that were acknowledged before the run began, each with the reason.
    pub unproven: Vec<String>,
    /// Why the set cannot be restored whole with the sets before it, a sentence each.
    pub gaps: Vec<String>,
    /// What the server does not hold any more, where there is a set to compare with.
    pub losses: Option<Losses>,
    /// Bytes of all files but those that are shared.
    pub bytes: u64,
    /// How long it took.
    pub elapsed: Duration,
}

/// The set that a backup made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MadeSet {
    /// Its id.
    pub id: SetId,
    /// Its number.
    pub number: u32,
    /// The name of its meta store.
    pub meta: String,
}

/// Backs up a server.
///
/// # Errors
///
/// When the server is not reached, what was asked for does not exist, the directory is locked or cannot be written, or
/// shards could not be fetched (unless `skip_errors`). Nothing that counts as a backup is left then.
pub fn backup(
    client: &Client,
    options: &BackupOptions,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<BackupReport> {
    let backup = Backup {
        client,
        options,
        cancel,
        progress,
        server: Server::new(options.retries),
        begun: Instant::now(),
        taken_over: AtomicUsize::new(0),
    };
    if options.dry_run {
        return Ok(backup.describe(&backup.plan()?.shards));
    }
    // First of all: what an increment builds on is all that was there when its predecessor began, and that is now.
    let staging = SetWriter::begin(
        &options.directory,
        options.retry_lock,
        options.resume,
        cancel,
    )?;
    for warning in staging.warnings() {
        progress.report(&Event::Warning(warning));
    }
    let Plan {
        meta,
        selection,
        mut shards,
    } = backup.plan()?;
    let run = Run {
        started: staging.started(),
        cluster_id: meta.data.cluster_id,
        layout: options.layout,
        selection: selection.clone(),
    };
    let left = match staging.take_over(&run)? {
        Some(leftover) => Some(backup.build_on(leftover, &mut shards, run.started)?),
        None => None,
    };
    staging.try_names(
        options.layout,
        shards.iter().map(|planned| &planned.shard.path),
    )?;
    if left.is_none() && options.resume {
        progress.report(&Event::Status(
            "no earlier run of the same kind left anything to take over",
        ));
    }
    let meta = backup.store_meta(&staging, meta)?;
    let settled = backup.download(&staging, shards)?;
    if let Some(left) = left {
        backup.say_taken_over(left);
    }
    let report = backup.commit(staging, meta, selection, settled)?;
    Ok(backup.compare(report))
}

/// A server's meta store, as it came and as it is read.
struct MetaStore {
    blob: MetaBlob,
    data: Data,
}

/// A meta store in its file.
struct StoredMeta {
    file: SealedFile,
    cluster_id: u64,
    /// Bytes of the meta store itself.
    size: u64,
}

struct Backup<'a> {
    client: &'a Client,
    options: &'a BackupOptions,
    cancel: &'a Cancel,
    progress: &'a dyn Progress,
    server: Server,
    begun: Instant,
    /// How many shards of an earlier run were taken over.
    taken_over: AtomicUsize,
}

impl Backup<'_> {
    /// Says what would be done.
    fn describe(&self, planned: &[Planned]) -> BackupReport {
        let asked: Vec<&Planned> = planned.iter().filter(|planned| planned.held).collect();
        for planned in &asked {
            let how = match planned.want {
                Want::Whole if planned.base.is_some() => {
                    "all of it, unless it has not changed".to_owned()
                }
                Want::Whole => "all of it".to_owned(),
                Want::Since(since) => format!("files modified after {since}"),
                Want::Range(bounds) => {
                    format!(
                        "blocks from {} to {}",
                        time::from_nanos(bounds.start),
                        time::from_nanos(bounds.end)
                    )
                }
            };
            let how = match planned.cut {
                Some(_) => format!("{how}, cut to the points asked for"),
                None => how,
            };
            let known = planned
                .known
                .map(|bytes| format!(", {bytes} bytes last time"))
                .unwrap_or_default();
            self.progress.report(&Event::Status(&format!(
                "would fetch shard {}: {how}{known}",
                planned.shard.path
            )));
        }
        BackupReport {
            set: None,
            stored: asked.len(),
            shared: 0,
            empty: 0,
            missing: Vec::new(),
            gaps: Vec::new(),
            losses: None,
            unproven: Vec::new(),
            bytes: asked
                .iter()
                .filter_map(|planned| planned.known)
                .fold(0, u64::saturating_add),
            elapsed: self.begun.elapsed(),
        }
    }

    fn store_meta(
        &self,
        staging: &SetWriter,
        MetaStore { blob, data }: MetaStore,
    ) -> Result<StoredMeta> {
        let size = blob.meta.len() as u64;
        let bytes = match self.options.layout {
            Layout::Portable => manifest::write_meta(&blob.meta),
            Layout::Legacy => {
                let mut bytes = Vec::with_capacity(blob.meta.len() + blob.node.len() + 24);
                blob.write_to(&mut bytes)?;
                bytes
            }
        };
        Ok(StoredMeta {
            file: staging.write(&bytes)?,
            cluster_id: data.cluster_id,
            size,
        })
    }

    /// Notes with each shard what an earlier run had finished of it and may not have changed since; of the others the files are
    /// removed. Gives how many it had finished.
    fn build_on(
        &self,
        leftover: &ResumableRun,
        planned: &mut [Planned],
        started: Timestamp,
    ) -> Result<usize> {
        let (mut finished, mut kept) = (0, Vec::new());
        for planned in planned {
            let Some(left) = leftover.shard(&planned.shard.path) else {
                continue;
            };
            finished += 1;
            planned.known = planned.known.or(left.record.tar_bytes());
            let content = planned.content();
            let base = Base::of_leftover(left, content, started, self.options.cold_after);
            if let Some(base) = base {
                kept.push(base.path.clone());
                planned.base = Some(Box::new(base));
            }
        }
        leftover.keep_only(&kept)?;
        Ok(finished)
    }

    /// Says how many of so many shards that an earlier run had finished are taken over.
    fn say_taken_over(&self, finished: usize) {
        let taken_over = self.taken_over.load(Ordering::Relaxed);
        let mut message = format!(
            "{} taken over from an earlier run",
            plural(taken_over, "shard")
        );
        if finished > taken_over {
            message += &format!(
                "; {} not, because points may have changed since",
                finished - taken_over
            );
        }
        self.progress.report(&Event::Status(&message));
    }

    fn download(&self, staging: &SetWriter, planned: Vec<Planned>) -> Result<Vec<Settled>> {
        let (asked, absent): (Vec<Planned>, Vec<Planned>) =
            planned.into_iter().partition(|planned| planned.held);
        // A record can claim any size.
        let bytes = asked.iter().try_fold(0_u64, |sum, planned| {
            Some(sum.saturating_add(planned.known?))
        });
        self.progress.report(&Event::Shards {
            count: asked.len(),
            bytes,
        });
        let downloader = Downloader {
            client: self.client,
            server: &self.server,
            habits: Habits::new(self.options.retries),
            staging,
            layout: self.options.layout,
            apply_deletes: self.options.apply_deletes,
            retries: self.options.retries,
            jobs: self.options.jobs,
            cancel: self.cancel,
            progress: self.progress,
        };
        // A fault of this side stops the other threads as well.
        let stop = self.cancel.child();
        let jobs = self.ask_ahead(&downloader, asked, &stop);
        let results = queue::work(
            jobs.into_iter().map(|job| (job, None)).collect(),
            self.options.jobs,
            &stop,
            |(mut job, begun): (Job, Option<Instant>)| {
                let begun = begun.unwrap_or_else(Instant::now);
                match downloader.attempt(&mut job) {
                    Ok(Step::Again(wait)) => Turn::Later((job, Some(begun)), wait),
                    Ok(Step::Done(fetched)) => {
                        Turn::Done(self.finish(staging, &job, fetched, begun))
                    }
                    Err(error) => {
                        stop.cancel();
                        Turn::Done(Err(error))
                    }
                }
            },
        );
        self.cancel.check()?;
        let mut settled = queue::all(results)?;
        settled.extend(absent.iter().map(Settled::not_held));
        Ok(settled)
    }

    /// Asks about all shards once, many at a time.
    fn ask_ahead(
        &self,
        downloader: &Downloader<'_>,
        asked: Vec<Planned>,
        stop: &Cancel,
    ) -> Vec<Job> {
        let rule = match (self.client.dialect(), self.options.flush_timeout) {
            (Some(Dialect::V1_5), Some(limit)) => Rule::Prompt(limit),
            _ => Rule::Any,
        };
        let mut jobs: Vec<Job> = asked
            .into_iter()
            .map(|planned| Job::new(planned, rule))
            .collect();
        if rule != Rule::Any {
            let at_a_time = QUESTIONS.max(self.options.jobs);
            queue::work(jobs.iter_mut().collect(), at_a_time, stop, |job| {
                downloader.ask_ahead(job);
                Turn::<&mut Job, ()>::Done(())
            });
        }
        jobs
    }

    /// A shard is dealt with: says so, and notes it for a run that may have to take it over.
    fn finish(
        &self,
        staging: &SetWriter,
        job: &Job,
        fetched: Fetched,
        begun: Instant,
    ) -> Result<Settled> {
        let shard = &job.planned.shard.path;
        self.progress.report(&Event::Finished {
            shard,
            outcome: outcome(&fetched),
            elapsed: begun.elapsed(),
        });
        if matches!(&fetched, Fetched::Unchanged { base, .. } if base.set.is_none()) {
            self.taken_over.fetch_add(1, Ordering::Relaxed);
        }
        let settled = self.settle(&job.planned, fetched, job.proof.doubt());
        match &settled.record.unproven {
            Some(why) => self.progress.report(&Event::Warning(&format!(
                "shard {shard} is unproven: {why}"
            ))),
            None => staging.note(&settled.record, settled.file.as_ref())?,
        }
        Ok(settled)
    }

    /// Asks again after a failure, unless the failure is one that will stay. A server that has never answered is not waited for.
    fn retry<T>(&self, what: &str, ask: impl Fn() -> Result<T>) -> Result<T> {
        let mut attempts = Attempts::default();
        loop {
            if let Gate::Closed(wait) = self.server.gate(Instant::now()) {
                retry::pause(wait, self.cancel)?;
                continue;
            }
            let error = match ask() {
                Ok(answer) => {
                    self.server.answered();
                    return Ok(answer);
                }
                Err(error) => error,
            };
            let wait = if self.server.has_answered() && is_of_server(&error) {
                self.server.failed(Instant::now())
            } else {
                // The failure is not the server's, and whoever waits to ask it may.
                self.server.not_asked();
                let is_passing = kind_of(&error) == ErrorKind::Failed;
                is_passing
                    .then(|| attempts.failed(self.options.retries))
                    .flatten()
            };
            let Some(wait) = wait else {
                return Err(error);
            };
            self.progress.report(&Event::Detail(&format!(
                "asking again for {what} in {wait:?}: {error:#}"
            )));
            retry::pause(wait, self.cancel)?;
        }
    }
}

fn outcome(fetched: &Fetched) -> Outcome<'_> {
    match fetched {
        Fetched::Stored(stored) => Outcome::Done {
            files: stored.members.len(),
            bytes: stored.file.size,
        },
        Fetched::Unchanged { base, .. } => Outcome::Skipped(match base.set {
            Some(_) => "unchanged: shared with an earlier set",
            None => "unchanged: taken over from an earlier run",
        }),
        Fetched::Empty(_) => Outcome::Skipped("nothing to fetch"),
        Fetched::Expired => Outcome::Skipped("deleted on the server meanwhile"),
        Fetched::Failed(reason) | Fetched::Withheld(reason) => Outcome::Failed(reason),
    }
}
