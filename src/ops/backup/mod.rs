//! `snap backup`: the metastore and shards of a server into a set.
//!
//! What is asked for is decided first (`plan`), and what it may be shared with (`incremental`).
//! Then each shard is asked for until it is there for sure (`download`): questions about it
//! (`ask`), and requests for it (`fetch`), until what came is proven to lack nothing (`proof`).
//! What follows from an attempt is decided apart from all sockets (`attempts`), and from what other
//! shards met with (`health`). What is not wanted of a shard is left out (`stored`). All
//! together become a set (`commit`).

mod ask;
mod attempts;
mod commit;
mod download;
mod fetch;
mod gaps;
mod health;
mod incremental;
mod listing;
mod names;
mod outcome;
mod plan;
mod proof;
mod request;
mod resume;
mod run;
mod session;
mod stored;
mod unchanged;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Instant;

use anyhow::Result;

use super::queue::{self, Outcomes, Permits, ToDo, Turn};
use super::room::of_full_disk;
use super::selection::ensure_series_found;
use crate::client::Client;
use crate::context::Context;
use crate::error::{Error, ErrorKind, told};
use crate::influxd_dir::is_data_dir;
use crate::progress::Event;
use crate::repository::manifest;
use crate::repository::{Layout, Location, RunHeader, SetWriter, hidden};
use crate::retry::Server;
use crate::shard::ShardPath;
use crate::sizes::total;
use crate::text::{plural, size};
use crate::time;
use crate::tsm::sought_series::SoughtSeries;
pub(super) use attempts::SILENT;
use attempts::ShardAttempts;
use commit::SettledShard;
use download::Attempted;
pub(super) use health::IN_A_ROW;
use health::ServerHealth;
use incremental::Base;
use outcome::ShardOutcome;
use plan::BackupPlan;
pub(super) use proof::{EMPTY_TARS, EmptyTar, FirstByte, NextStep, OnDownload, Proof, Rule};
use request::{Planned, ShardRequest};
use run::{Backup, EncodedMetastore, ServerMetastore};
pub(super) use session::is_gone_from;
use session::{Session, ShardJob};

pub use incremental::IncrementalMode;
pub use run::MadeSet;
pub use run::{BackupOptions, BackupReport};

/// How many shards are dealt with at a time, however few are fetched at a time.
const SHARDS_AT_A_TIME: usize = 16;

/// Backs up a server.
///
/// # Errors
///
/// When the server is not reached, what was asked for does not exist, the directory is locked or
/// cannot be written, or shards could not be fetched (unless `skip_errors`). Nothing that counts as
/// a backup is left then.
pub fn backup(
    client: &Client,
    options: &BackupOptions,
    context: Context<'_>,
) -> Result<BackupReport> {
    make_set(client, options, context).map_err(|error| {
        match of_full_disk(&error, &options.repository, options.resume) {
            Some(full) => {
                context.detail(told(&error));
                full.into()
            }
            None => error,
        }
    })
}

fn make_set(
    client: &Client,
    options: &BackupOptions,
    context: Context<'_>,
) -> Result<BackupReport> {
    let backup = Backup {
        client,
        options,
        context,
        server: Server::new(options.retries),
        started: Instant::now(),
        taken_over: AtomicUsize::new(0),
    };
    ensure_not_of_influxd(&options.repository)?;
    if options.dry_run {
        return Ok(backup.describe(&backup.plan()?.shards));
    }
    // First of all: what an increment builds on is all that was there when its predecessor began,
    // and that is now.
    let mut staging = SetWriter::begin(
        &options.repository,
        options.retry_lock,
        options.resume,
        context.cancel,
    )?;
    staging
        .warnings()
        .iter()
        .for_each(|warning| context.warn(warning));
    let BackupPlan {
        metastore,
        selection,
        parent,
        mut shards,
    } = backup.plan()?;
    staging.builds_on(parent);
    let run = RunHeader {
        started: staging.started(),
        cluster_id: metastore.data.cluster_id,
        layout: options.layout,
        selection: selection.clone(),
    };
    let paths: Vec<&ShardPath> = shards.iter().map(|planned| &planned.shard.path).collect();
    let shared = shards.iter().filter_map(|planned| planned.base.as_ref());
    let shared: Vec<String> = shared.map(|base| base.name.clone()).collect();
    staging.reserve(options.layout, &paths, &shared, context.cancel)?;
    backup.leave_to_removals(&staging, &mut shards);
    let left = match staging.take_over(&run)? {
        Some(leftover) => Some(backup.build_on(leftover, &mut shards, run.started)?),
        None => None,
    };
    if left.is_none() && options.resume {
        context.status("no earlier run of the same kind left anything to take over");
    }
    let metastore = backup.encode_metastore(metastore)?;
    let settled = backup.download(&staging, shards)?;
    if let Some(left) = left {
        backup.report_taken_over(left);
    }
    let report = backup.commit(staging, metastore, selection, settled)?;
    Ok(backup.compare(report))
}

/// Refuses the data directory of an influxd, which somebody may take PATH for: shards would lie among
/// its databases.
fn ensure_not_of_influxd(repository: &Location) -> Result<(), Error> {
    match repository.directory() {
        // Whoever began there once may go on.
        Some(path) if !hidden(path).exists() && is_data_dir(path) => Err(ErrorKind::Refused
            .error(format!(
                "{} is the data directory of an influxd",
                path.display()
            ))
            .hint(
                "PATH is where the backup goes; -metadir and -datadir name the directories of a stopped influxd",
            )),
        _ => Ok(()),
    }
}

impl Backup<'_> {
    /// Has shards downloaded whose files in older sets are being removed.
    fn leave_to_removals(&self, staging: &SetWriter, shards: &mut [Planned]) {
        let is_going = |base: &mut Box<Base>| !staging.may_share(&base.name);
        let going = shards
            .iter_mut()
            .filter_map(|planned| planned.base.take_if(is_going))
            .count();
        if going > 0 {
            let shards = plural(going, "shard");
            self.context.status(format!(
                "another run removes sets that have {shards} of this one: downloading them"
            ));
        }
    }

    /// Tells what would be done.
    fn describe(&self, planned: &[Planned]) -> BackupReport {
        let asked: Vec<&Planned> = planned.iter().filter(|planned| planned.held).collect();
        for planned in &asked {
            let how = match planned.request {
                ShardRequest::Whole if planned.base.is_some() => {
                    "all of it, unless it has not changed".to_owned()
                }
                ShardRequest::Whole => "all of it".to_owned(),
                ShardRequest::Since(since) => format!("files modified after {since}"),
                ShardRequest::Range(bounds) => {
                    format!(
                        "blocks from {} to {}",
                        time::from_nanos(bounds.start),
                        time::from_nanos(bounds.end)
                    )
                }
            };
            let how = match planned.is_filtered() {
                true => format!("{how}, cut to the points asked for"),
                false => how,
            };
            let known = planned.known.map_or_else(
                || ", size unknown".to_owned(),
                |bytes| format!(", {} in an earlier set", size(bytes)),
            );
            self.context.status(format!(
                "would download shard {}: {how}{known}",
                planned.shard.path
            ));
        }
        BackupReport {
            set: None,
            stored: asked.len(),
            unknown: asked
                .iter()
                .filter(|planned| planned.known.is_none())
                .count(),
            undecided: asked
                .iter()
                .filter(|planned| planned.base.is_some())
                .count(),
            shared: 0,
            empty: 0,
            missing: Vec::new(),
            gaps: Vec::new(),
            losses: None,
            unproven: Vec::new(),
            since: None,
            bytes: total(asked.iter().filter_map(|planned| planned.known)),
            data_bytes: 0,
            shared_bytes: 0,
            elapsed: self.started.elapsed(),
        }
    }

    /// The metastore as its file is to have it. It is written last of all but the record: influxd
    /// takes it for the sign of a backup.
    fn encode_metastore(
        &self,
        ServerMetastore { blob, data }: ServerMetastore,
    ) -> Result<EncodedMetastore> {
        let size = blob.meta.len() as u64;
        let bytes = match self.options.layout {
            Layout::Portable => manifest::write_meta(&blob.meta),
            Layout::Legacy => {
                let mut bytes = Vec::with_capacity(blob.meta.len() + blob.node.len() + 24);
                blob.write_to(&mut bytes)?;
                bytes
            }
        };
        Ok(EncodedMetastore {
            bytes,
            cluster_id: data.cluster_id,
            size,
        })
    }

    /// Fetches the shards that the server has open, and finds out what became of the others.
    fn download(&self, staging: &SetWriter, mut asked: Vec<Planned>) -> Result<Vec<SettledShard>> {
        let absent: Vec<Planned> = asked.extract_if(.., |planned| !planned.held).collect();
        // What has not changed is not downloaded: nobody knows how much that is.
        let sizes = asked.iter().map(|planned| match planned.base {
            Some(_) => None,
            None => planned.known,
        });
        self.context.report(&Event::Shards {
            count: asked.len(),
            // A record can claim any size.
            bytes: sizes
                .into_iter()
                .try_fold(0_u64, |sum, known| Some(sum.saturating_add(known?))),
        });
        // A fault of this side stops the other threads as well.
        let stop = self.context.cancel.child();
        let session = Session {
            client: self.client,
            health: ServerHealth::new(&self.server, self.options.retries),
            staging,
            layout: self.options.layout,
            apply_deletes: self.options.apply_deletes,
            series: Arc::new(SoughtSeries::of(self.options.selection.series.clone())),
            comparison: self.options.building.comparison(),
            jobs: self.options.jobs,
            permits: Permits::new(self.options.jobs),
            context: Context {
                cancel: &stop,
                ..self.context
            },
        };
        let mut settled = Outcomes::of(asked.len());
        let turn = |mut job| match session.attempt(&mut job) {
            Ok(Attempted::Again(wait)) => Turn::Later(job, wait),
            Ok(Attempted::Done(outcome)) => Turn::Done(self.finish(staging, &job, outcome)),
            Err(error) => {
                stop.cancel();
                Turn::Done(Err(error))
            }
        };
        queue::work_for(self.jobs(asked), self.threads(), &stop, turn, |result| {
            // A copy that this thread makes. What the others allocate lies scattered, and what is
            // free between it only they can use again.
            #[expect(clippy::map_clone, reason = "the copy is what is wanted")]
            settled.add(result.map(|shard: SettledShard| shard.clone()));
        });
        self.context.check()?;
        let mut settled = settled.all()?;
        // Of what failed, nobody knows what is in it.
        if settled.iter().all(|shard| shard.record.error.is_none()) {
            ensure_series_found(
                &session.series,
                self.options.selection.bounds(),
                &self.options.source,
            )?;
        }
        settled.extend(self.settle_absent(&absent)?);
        Ok(settled)
    }

    /// How many shards are dealt with at a time. Of these, `-jobs` are fetched; others are asked
    /// about, which costs next to nothing but time, or wait for the disk.
    fn threads(&self) -> usize {
        SHARDS_AT_A_TIME.max(self.options.jobs)
    }

    /// What there is to do, of which nothing is begun.
    fn jobs(&self, asked: Vec<Planned>) -> impl ExactSizeIterator<Item = ShardJob> + Send {
        let dialect = self.client.dialect();
        let rule = self.options.flush_timeout.map_or(Rule::Any, Rule::Prompt);
        let rule = rule.in_dialect(dialect);
        let retries = self.options.retries;
        let job = move |planned: Planned| ShardJob {
            attempts: ShardAttempts::new(rule, retries, planned.known.is_some(), dialect),
            planned,
            is_begun: false,
            started: None,
        };
        ToDo::from(asked).map(job)
    }

    /// A shard is dealt with: tells so, and notes it for a run that may have to take it over.
    fn finish(
        &self,
        staging: &SetWriter,
        job: &ShardJob,
        outcome: ShardOutcome,
    ) -> Result<SettledShard> {
        let shard = &job.planned.shard.path;
        self.context.report(&Event::Finished {
            shard,
            outcome: outcome.reported(),
            elapsed: job.started.map(|at| at.elapsed()).unwrap_or_default(),
        });
        if matches!(&outcome, ShardOutcome::Unchanged { base, .. } if base.set.is_none()) {
            self.taken_over.fetch_add(1, Ordering::Relaxed);
        }
        let doubt = job.attempts.proof.doubt();
        let settled = SettledShard::of(&job.planned, outcome, doubt, self.options.layout);
        match &settled.record.unproven {
            Some(why) => self
                .context
                .warn(format!("shard {shard} is unproven: {why}")),
            None => staging.note(&settled.record, settled.file.as_ref())?,
        }
        Ok(settled)
    }

    /// What the set has to say of the shards that the server does not have open. Of those that an
    /// earlier set has, the metastore is asked once more: they may have been dropped since it was
    /// fetched.
    fn settle_absent(&self, absent: &[Planned]) -> Result<Vec<SettledShard>> {
        let mut metastore = None;
        if absent.iter().any(|planned| planned.known.is_some()) {
            metastore = self.metastore().ok();
            self.context.check()?;
        }
        let is_gone = |planned: &Planned| {
            let data = metastore.as_ref().map(|metastore| &metastore.data);
            planned.known.is_some()
                && data.is_some_and(|data| is_gone_from(data, &planned.shard.path))
        };
        let settled = absent.iter().map(|planned| {
            if is_gone(planned) {
                SettledShard::of(planned, ShardOutcome::Expired, None, self.options.layout)
            } else {
                SettledShard::not_held(planned)
            }
        });
        Ok(settled.collect())
    }
}
