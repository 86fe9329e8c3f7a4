//! Merging a backup into a database that a running server has.
//!
//! The server is asked first ([`there`]), and refused with all that is in the way ([`preflight`],
//! [`plan`], [`conflicts`], [`expired`]) before anything is sent. Then each of its shards gets the points of
//! the backup that belong to it ([`shard`]): those of new fields through the HTTP API ([`announce`]),
//! and all of them as files, whose names say whose points count ([`names`]).

mod announce;
mod conflicts;
mod expired;
mod names;
mod plan;
mod preflight;
mod shard;
mod target;
mod there;

use std::collections::HashSet;

use anyhow::Result;

use super::Brought;
use super::journal::LiveJournal;
use super::parts::{UploadShard, by_id};
use super::resume::RestoreStart;
use super::target::Live;
use crate::http_api::HttpApi;
use crate::ops::backup::Rule;
use crate::ops::patient_client::PatientClient;
use crate::ops::queue;
use crate::ops::restore::merge_options::{ConflictRule, MergeOptions};
use crate::ops::restore::regrouping::TargetShard;
use crate::ops::restore::report::{MergeReport, MergedShard, RestoreReport};
use crate::ops::restore::source::{Source, SourceDepth, planned, sets_of};
use crate::ops::server_shards::ShardAsker;
use crate::progress::Event;
use crate::retry::Server;
use crate::shard::ShardPath;
use crate::sizes::total;
use crate::text::{name_list, plural};
use plan::{NEW, into, is_new, span};
use preflight::Ready;
use shard::{MergeJob, Merged};
use target::Merge;

/// Merges a backup into a database that a running server has.
///
/// # Errors
///
/// Before anything is sent: when the backup is damaged, or something on the server is in the way
/// ([`ErrorKind::Refused`]). Shards that could not be brought in are in the report.
pub(super) fn restore_into_database(
    live: &Live<'_>,
    run: RestoreStart<'_>,
    asked: &MergeOptions,
) -> Result<Brought> {
    let Live {
        options, context, ..
    } = *live;
    let api = HttpApi::new(&asked.http, context.cancel.clone())?;
    let merge = Merge {
        live,
        api: &api,
        rule: run
            .on_conflict()
            .or(asked.on_conflict)
            .unwrap_or(ConflictRule::Server),
        flush_timeout: asked.flush_timeout,
    };
    let set = options.set.as_deref();
    let selection = live.what.selection(false);
    let (catalog, (source, planned), _held) =
        planned(&options.repository, set, context, |catalog| {
            let (selector, bounds) = (run.selector(options), live.what.bounds());
            let depth = SourceDepth::Shards;
            let source = Source::read(catalog, selector, &selection, bounds, depth, context)?;
            source.ensure_unique_ids()?;
            let planned = source.planned(live.what, Some)?;
            let sets = sets_of(&planned);
            Ok(((source, planned), sets))
        })?;
    source.report_missing(&catalog, &selection, context)?;
    source.report_left_empty(live.what.bounds(), context);
    let ready = merge.ready(catalog, source, planned)?;
    run.ensure_same_server(live, &ready.server_metastore)?;
    live.report_left_out(&ready.source, &ready.shards)?;
    merge.warn_subscriptions(&ready);
    merge.warn_default_policy(&ready);
    let merged = ready.targets.iter().map(MergedShard::of);
    let mut report = RestoreReport {
        merge: Some(MergeReport {
            database: live.new_names(&ready.source).swap_remove(0),
            on_conflict: merge.rule,
            new_policies: ready.new_policies.len(),
            shards: merged.collect(),
        }),
        ..RestoreReport::of_live(&ready.source, &ready.shards, ready.targets.len())
    };
    let lacks = report.missing.len();
    let journal = if options.dry_run {
        merge.describe(&ready);
        None
    } else {
        Some(merge.run(run, &ready, &mut report)?)
    };
    Ok(Brought {
        has_all: report.missing.len() == lacks,
        report,
        source: ready.source,
        journal,
    })
}

impl Merge<'_, '_> {
    fn warn_subscriptions(&self, ready: &Ready) {
        let mut policies: Vec<_> = ready.targets.iter().map(|target| &target.path).collect();
        policies.dedup_by(|a, b| a.retention_policy == b.retention_policy);
        for path in policies {
            let database = ready.server_metastore.database(&path.database);
            let policy = database.and_then(|of| of.retention_policy(&path.retention_policy));
            let Some(policy) = policy.filter(|policy| !policy.subscriptions.is_empty()) else {
                continue;
            };
            let names = policy.subscriptions.iter().map(|one| one.name.clone());
            let names: Vec<String> = names.collect();
            let any = match self.rule {
                ConflictRule::Backup => ", and one more to each shard",
                ConflictRule::Server => "",
            };
            self.live.context.warn(format!(
                "{}/{} has {} ({}): a point of each field that is new to a shard is forwarded{any}, with its old time; \
                 all others come as files and are not forwarded",
                path.database,
                path.retention_policy,
                plural(names.len(), "subscription"),
                name_list(&names)
            ));
        }
    }

    /// Warns if the default policy of the backup is not that of the server: queries that name no
    /// policy do not find its points.
    fn warn_default_policy(&self, ready: &Ready) {
        let what = self.live.what;
        let Some(target) = ready.targets.first() else {
            return;
        };
        let source = what.database.as_deref().unwrap_or(&target.path.database);
        let (Some(old), Some(new)) = (
            ready.source.data.database(source),
            ready.server_metastore.database(&target.path.database),
        ) else {
            return;
        };
        let of_default = ShardPath {
            database: source.into(),
            retention_policy: old.default_retention_policy.as_str().into(),
            id: 0,
        };
        let of_default = what.target(&of_default, 0).retention_policy;
        let is_brought = |target: &TargetShard| target.path.retention_policy == of_default;
        if new.default_retention_policy != *of_default && ready.targets.iter().any(is_brought) {
            self.live.context.warn(format!(
                "'{of_default}' is the default retention policy of '{source}' in the backup, and '{}' that of '{}' on the server: \
                 queries that name no policy do not find what comes into '{of_default}'",
                new.default_retention_policy, target.path.database
            ));
        }
    }

    /// Tells what would be done.
    fn describe(&self, ready: &Ready) {
        let (context, address) = (self.live.context, self.live.client.address());
        for statement in &ready.new_policies {
            context.status(format!("would send to {}: {statement}", self.api.url()));
        }
        for target in &ready.targets {
            let span = span(target.start, target.end);
            let shard = if is_new(target) { "" } else { "shard " };
            let into = into(&target.path);
            let what = target.made_of();
            context.status(format!(
                "would upload {what} to {address}, into {shard}{into} ({span})"
            ));
        }
    }

    /// Makes the policies that there are not, and brings the points in.
    fn run(
        &self,
        run: RestoreStart<'_>,
        ready: &Ready,
        report: &mut RestoreReport,
    ) -> Result<LiveJournal> {
        let (live, repository) = (self.live, &self.live.options.repository);
        let owed = live.options.owed();
        let mut header = run.header(live, &ready.source, &ready.server_metastore);
        header.merge = Some(self.rule);
        let (journal, done) = match run {
            RestoreStart::Fresh { .. } => (
                LiveJournal::begin(repository, &header, owed, live.context)?,
                HashSet::new(),
            ),
            RestoreStart::Resumed(interrupted) => (
                LiveJournal::resume(repository, &header, owed, live.context)?,
                interrupted.done.iter().copied().collect(),
            ),
        };
        let lacks = report.missing.len();
        let merged = self.bring_in(ready, &journal, &done, report);
        // What the backup lacks, no other run brings.
        if merged.is_err() || report.missing.len() > lacks {
            let next = if journal.is_kept() {
                "with -resume, the same command goes on where this stopped"
            } else {
                "the same command brings the rest in"
            };
            live.context.warn(format!(
                "'{}' on {} may have a part of the backup now: {next}",
                name_list(&header.names),
                live.client.address()
            ));
        }
        merged.map(|()| journal)
    }

    fn bring_in(
        &self,
        ready: &Ready,
        journal: &LiveJournal,
        done: &HashSet<u64>,
        report: &mut RestoreReport,
    ) -> Result<()> {
        let live = self.live;
        for statement in &ready.new_policies {
            self.api.statement(statement)?;
        }
        let jobs = self.jobs(ready, done)?;
        let was_done = ready.targets.len() - jobs.len();
        if was_done > 0 {
            live.context.status(format!(
                "{} done by the interrupted run",
                plural(was_done, "shard")
            ));
        }
        live.context.report(&Event::Shards {
            count: jobs.len(),
            bytes: Some(total(jobs.iter().map(|job| job.shard.tsm_bytes()))),
        });
        let asker = ShardAsker::new(
            live.client,
            live.options.retries,
            Rule::Prompt(self.flush_timeout),
        );
        let stop = live.context.cancel.child();
        let results = queue::work(jobs, live.options.jobs, &stop, |job: MergeJob<'_>| {
            self.turn(&ready.catalog, &asker, job, journal, &stop)
        });
        live.context.check()?;
        (report.shards, report.files, report.bytes) = (0, 0, 0);
        let (mut read_back, mut shards) = (0, Vec::new());
        for merged in queue::all(results)? {
            match merged {
                Merged::Done {
                    shard,
                    files,
                    bytes,
                    is_read_back,
                } => {
                    // Of one that would have been made, all points are left out.
                    if shard.path.id == NEW {
                        continue;
                    }
                    report.shards += 1;
                    report.files += files;
                    report.bytes += bytes;
                    read_back += usize::from(is_read_back);
                    shards.push(shard);
                }
                Merged::Failed(shortfall) => report.missing.push(shortfall),
            }
        }
        shards.sort_by(|a, b| a.path.cmp(&b.path));
        if let Some(merge) = &mut report.merge {
            merge.shards = shards;
        }
        report.read_back = live.options.verify.then_some(read_back);
        Ok(())
    }

    /// What is to be done, but for what an interrupted run has done.
    fn jobs<'r>(&self, ready: &'r Ready, done: &HashSet<u64>) -> Result<Vec<MergeJob<'r>>> {
        let shards = by_id(&ready.shards);
        let left = ready.targets.iter();
        let left = left.filter(|target| is_new(target) || !done.contains(&target.path.id));
        let left: Vec<&TargetShard> = left.collect();
        let Live {
            client,
            options,
            context,
            ..
        } = *self.live;
        let paths = left.iter().map(|target| &target.path);
        let patient = PatientClient {
            client,
            server: &Server::new(options.retries),
            context,
        };
        let open = patient.open_among(paths)?;
        let jobs = left.into_iter().map(|target| {
            let shard = UploadShard::of(target, target.path.clone(), &shards)?;
            let mut job = MergeJob::new(target.clone(), shard);
            job.is_open = open.contains(&target.path);
            job.again = options.resume;
            Ok(job)
        });
        jobs.collect()
    }
}
