//! Restoring into a running server: the metastore is imported, which gives each shard a new id, and
//! each shard's TSM files are uploaded in one tar.
//!
//! The protocol acknowledges neither: an import without pairs and an upload that ends are all a
//! server says. So the server is asked before ([`target`]), read back after ([`look_back`]), and
//! what was started is written down ([`journal`]), so that another run can go on with it
//! ([`resume`]).

mod filtered;
mod import;
mod journal;
mod left_out;
mod look_back;
mod merge;
mod parts;
mod resume;
mod same_server;
mod send;
mod statements;
mod target;
mod upload;

use std::time::Instant;

use anyhow::Result;

use super::checked_shard::CheckedShard;
use super::one_type::{OfBackup, ensure_one_type, types_of_all};
use super::regrouping::{TargetShard, cut_shards};
use super::report::RestoreReport;
use super::source::{PlannedShard, Source, SourceDepth, planned, sets_of};
use crate::client::Client;
use crate::context::Context;
use crate::http_api::HttpApi;
use crate::io::scratch::scratch_dir;
use crate::repository::{Catalog, SetId};
use crate::sizes::total;
use crate::text::{plural, size};
use crate::time::from_nanos;
pub(crate) use journal::line_schema as live_journal_schema;
use journal::{Header, Interrupted, LiveJournal};
use parts::UploadShard;
use resume::{RestoreStart, Start};
use same_server::ensure_same_server;
use target::Live;
use upload::Uploaded;

pub use target::LiveOptions;

/// Restores a backup into a running server.
///
/// # Errors
///
/// Before anything is sent: when the backup is damaged, the server too old, or a database is there
/// already ([`ErrorKind::Refused`]). Later: when the server refuses the import. Shards that could
/// not be uploaded are in the report.
///
/// [`ErrorKind::Refused`]: crate::error::ErrorKind::Refused
pub fn restore_live(
    client: &Client,
    options: &LiveOptions,
    context: Context<'_>,
) -> Result<RestoreReport> {
    let started = Instant::now();
    options.ensure_consistent()?;
    let host = client.address().to_string();
    let interrupted = Interrupted::all(&options.repository, &host)?;
    let run = RestoreStart::of(options, &interrupted, &host)?;
    run.warn_of_owed(options, context);
    let live = Live {
        client,
        options,
        what: run.what(options),
        context,
    };
    let statements = options.statements.as_ref();
    let api = statements.map(|asked| HttpApi::new(&asked.http, context.cancel.clone()));
    let api = api.transpose()?;
    let mut brought = match &options.merge {
        Some(merge) => merge::restore_into_database(&live, run, merge)?,
        None => live.restore(run, api.as_ref())?,
    };
    if let (Some(api), Some(asked)) = (&api, statements) {
        live.apply_statements(api, asked, &mut brought)?;
    }
    if brought.is_done()
        && let Some(journal) = brought.journal
    {
        journal.end()?;
    }
    brought.report.elapsed = started.elapsed();
    Ok(brought.report)
}

/// What came of the points, before any statement is applied.
struct Brought {
    report: RestoreReport,
    source: Source,
    /// Whether all of the backup's points that were to come in did.
    has_all: bool,
    /// The journal that was written; none in a dry run.
    journal: Option<LiveJournal>,
}

impl Brought {
    /// Whether nothing is left that another run could go on with.
    fn is_done(&self) -> bool {
        let applied = self.report.applied.as_ref();
        self.has_all && applied.is_none_or(|applied| applied.not_applied == 0)
    }

    /// Whether a run with `-resume` could apply the statements that this one does not.
    fn can_go_on(&self) -> bool {
        self.has_all && self.journal.as_ref().is_some_and(LiveJournal::is_kept)
    }
}

/// What is restored.
struct Restored<'a> {
    source: &'a Source,
    /// The shards of the target.
    targets: &'a [TargetShard],
    /// The checked shards that they are made of.
    shards: &'a [CheckedShard],
}

impl Live<'_> {
    /// Makes databases of a backup. `api` is that through which statements are to be applied.
    fn restore(&self, run: RestoreStart<'_>, api: Option<&HttpApi>) -> Result<Brought> {
        let Self {
            options, context, ..
        } = *self;
        let set = options.set.as_deref();
        let selection = self.what.selection(false);
        let (catalog, (source, targets, planned), _held) =
            planned(&options.repository, set, context, |catalog| {
                let (selector, bounds) = (run.selector(options), self.what.bounds());
                let depth = SourceDepth::Shards;
                let mut source =
                    Source::read(catalog, selector, &selection, bounds, depth, context)?;
                source.ensure_unique_ids()?;
                source.regroup(self.what)?;
                let targets = source.targets(self.what)?;
                let planned = source.planned(self.what, Some)?;
                let sets = sets_of(&planned);
                Ok(((source, targets, planned), sets))
            })?;
        source.report_missing(&catalog, &selection, context)?;
        source.report_left_empty(self.what.bounds(), context);
        source.report_regrouping(self.what, context)?;
        source.warn_of_expired(self.what, context)?;
        let server_metastore = self.metastore()?;
        if let Some(api) = api {
            ensure_same_server(api, self, &server_metastore)?;
        }
        let start = run.start(self, &source, &targets, &server_metastore)?;

        let (targets, shards) = self.checked(&catalog, &source.set, planned, targets)?;
        self.report_left_out(&source, &shards)?;
        let mut report = RestoreReport::of_live(&source, &shards, targets.len());
        if options.dry_run {
            self.describe(&targets, &shards);
            return Ok(Brought {
                report,
                source,
                has_all: true,
                journal: None,
            });
        }
        let header = run.header(self, &source, &server_metastore);
        let restored = Restored {
            source: &source,
            targets: &targets,
            shards: &shards,
        };
        let (uploaded, journal) = self.write(&catalog, &restored, &header, start)?;
        report.shards = uploaded.shards;
        (report.files, report.bytes) = (uploaded.files, uploaded.bytes);
        report.read_back = options.verify.then_some(uploaded.read_back);
        let has_all = uploaded.failed.is_empty();
        report.missing.extend(uploaded.failed);
        Ok(Brought {
            report,
            source,
            has_all,
            journal: Some(journal),
        })
    }

    /// Reads the planned shards and checks that they can be sent. Shards of the target that get no
    /// points are left out.
    fn checked(
        &self,
        catalog: &Catalog,
        set: &SetId,
        planned: Vec<PlannedShard>,
        targets: Vec<TargetShard>,
    ) -> Result<(Vec<TargetShard>, Vec<CheckedShard>)> {
        let apply_deletes = self.options.apply_deletes;
        let types = types_of_all(self.what, &scratch_dir());
        let (checks, shards) = self.check(catalog, set, planned, types)?;
        let of_backup = OfBackup {
            catalog,
            scratch: &checks.scratch,
            apply_deletes,
            stop: self.context.cancel,
        };
        let targets = of_backup.without_empty(targets, &shards)?;
        ensure_one_type(&targets, &shards, &checks, |_, shard, fields| {
            of_backup.types(shard, fields)
        })?;
        let is_rewritten = |shard: &CheckedShard| shard.largest_rewritten(apply_deletes) > 0;
        if shards.iter().any(is_rewritten) || !cut_shards(targets.iter()).is_empty() {
            filtered::ensure_scratch()?;
        }
        Ok((targets, shards))
    }

    /// Tells what would be sent.
    fn describe(&self, targets: &[TargetShard], shards: &[CheckedShard]) {
        let address = self.client.address();
        if self.what.shard_duration.is_some() {
            for target in targets {
                self.context.status(format!(
                    "would upload {} to {address}, into a shard of {}/{} from {} on",
                    target.made_of(),
                    target.path.database,
                    target.path.retention_policy,
                    from_nanos(target.start)
                ));
            }
            return;
        }
        for shard in shards {
            self.context.status(format!(
                "would upload shard {} to {address}, into {}/{} ({}, {})",
                shard.source,
                shard.target.database,
                shard.target.retention_policy,
                plural(shard.tsm_files().count(), "TSM file"),
                size(total(shard.tsm_files().map(|(_, size)| size)))
            ));
        }
    }

    /// Imports, where that was not done yet, and uploads.
    fn write(
        &self,
        catalog: &Catalog,
        restored: &Restored<'_>,
        header: &Header,
        start: Start,
    ) -> Result<(Uploaded, LiveJournal)> {
        let Restored {
            source,
            targets,
            shards,
        } = *restored;
        let (repository, owed) = (&self.options.repository, self.options.owed());
        let (journal, ids, done) = match start {
            Start::Import => {
                let journal = LiveJournal::begin(repository, header, owed, self.context)?;
                let ids = self.import(source, targets, header.max_shard_id);
                let ids = ids.inspect_err(|_| self.warn_in_part(source, journal.is_kept()))?;
                (journal, ids, None)
            }
            Start::Upload { ids, done } => {
                let journal = LiveJournal::resume(repository, header, owed, self.context)?;
                (journal, ids, Some(done))
            }
        };
        journal.imported(&ids)?;
        let shards = UploadShard::all(targets, shards, &ids)?;
        let uploaded = self.upload(catalog, &shards, &journal, done.as_deref());
        match &uploaded {
            Ok(Uploaded { failed, .. }) if failed.is_empty() => {}
            Ok(Uploaded { spoiled, .. }) => {
                self.warn_in_part(source, journal.is_kept() && !spoiled);
            }
            Err(_) => self.warn_in_part(source, journal.is_kept()),
        }
        Ok((uploaded?, journal))
    }
}
