//! `snap export`: the points of a backup in formats that others read.
//!
//! The shards are those that a restore would put into a data directory. Each is unpacked out of
//! sight ([`shard`]), while the one before it is written ([`line_protocol`], under what [`ddl`] says
//! of its database) to where [`output`] leads. What is damaged is named, and everything else is
//! exported.

mod ddl;
mod line_protocol;
mod output;
mod shard;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::restore::{PlannedShard, RestoreSelection, SetSelector, Source, planned, sets_of};
use crate::cancel::Cancel;
use crate::context::Context;
use crate::metastore::Data;
use crate::ops::Shortfall;
use crate::progress::{Event, Outcome};
use crate::repository::{Catalog, Location, SetId};
use crate::sizes::total;
use crate::text::plural;
use crate::tsm::series_filter::SeriesFilter;
use ddl::Definitions;
use line_protocol::LineProtocol;
use output::ExportFile;
use shard::{PreparedShard, ShardPreparer};

pub use line_protocol::NewlineRule;

/// What to export, and how.
#[derive(Debug, Clone)]
pub struct ExportOptions {
    /// Where the sets lie.
    pub repository: Location,
    /// The set; none for the newest.
    pub set: Option<String>,
    /// The shards, and the times of the points. New names are not looked at.
    pub what: RestoreSelection,
    /// The series.
    pub series: SeriesFilter,
    /// Points alone, without definitions of databases and retention policies.
    pub points_only: bool,
    /// What is done about line feeds in strings.
    pub newline: NewlineRule,
}

/// Where the points go.
pub enum ExportTarget<'a> {
    /// A file, which gets its name when it is whole; compressed where the name ends with .gz.
    File(PathBuf),
    /// Anything else.
    Stream(&'a mut dyn Write),
}

/// What was exported.
#[derive(Debug, Clone)]
pub struct ExportReport {
    /// The set.
    pub set: SetId,
    /// Shards.
    pub shards: usize,
    /// What was written of them.
    pub tally: ExportTally,
    /// What could not be exported, or is not in the backup.
    pub missing: Vec<Shortfall>,
    /// How long it took.
    pub elapsed: Duration,
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExportTally {
    /// Series, in each shard.
    pub series: u64,
    /// Points.
    pub points: u64,
    /// Bytes, before compression.
    pub bytes: u64,
    /// Strings with line feeds, which influx -import breaks.
    pub newlines: u64,
}

/// What a set's export is made of.
struct ExportPlan {
    set: SetId,
    data: Data,
    shards: Vec<PlannedShard>,
    missing: Vec<Shortfall>,
}

/// Exports points.
///
/// # Errors
///
/// When there is no such set or nothing of what is meant in it; when its metastore is damaged; when
/// the target cannot be written. What is damaged of shards is no error, but told in the report.
pub fn export(
    options: &ExportOptions,
    target: ExportTarget<'_>,
    context: Context<'_>,
) -> Result<ExportReport> {
    let started = Instant::now();
    options.what.ensure_consistent()?;
    let mut file = match &target {
        ExportTarget::File(path) => Some(ExportFile::create(path)?),
        ExportTarget::Stream(_) => None,
    };
    let set = options.set.as_deref();
    let (catalog, plan, _held) = planned(&options.repository, set, context, |catalog| {
        let plan = plan(catalog, options, context)?;
        let sets = sets_of(&plan.shards);
        Ok((plan, sets))
    })?;
    let shards = plan.shards.len();
    let set = plan.set.clone();
    let out: &mut dyn Write = match (&mut file, target) {
        (Some(file), _) => file,
        (None, ExportTarget::Stream(stream)) => stream,
        (None, ExportTarget::File(_)) => &mut std::io::sink(),
    };
    let (tally, missing) = Exporter {
        catalog: &catalog,
        options,
        context,
        tally: ExportTally::default(),
        missing: Vec::new(),
    }
    .run(plan, out)?;
    if let Some(file) = file {
        file.finish()?;
    }
    Ok(ExportReport {
        set,
        shards,
        tally,
        missing,
        elapsed: started.elapsed(),
    })
}

fn plan(catalog: &Catalog, options: &ExportOptions, context: Context<'_>) -> Result<ExportPlan> {
    let selection = options.what.selection(false);
    let source = Source::read(
        catalog,
        SetSelector::named(options.set.as_deref()),
        &selection,
        options.what.bounds(),
        true,
        context,
    )?;
    source.report_missing(catalog, &selection, context)?;
    Ok(ExportPlan {
        shards: source.planned(&RestoreSelection::default(), Some)?,
        set: source.set,
        data: source.data,
        missing: source.chains.missing,
    })
}

/// Exports shard after shard.
struct Exporter<'a> {
    catalog: &'a Catalog,
    options: &'a ExportOptions,
    context: Context<'a>,
    tally: ExportTally,
    missing: Vec<Shortfall>,
}

impl Exporter<'_> {
    fn run(
        mut self,
        plan: ExportPlan,
        out: &mut dyn Write,
    ) -> Result<(ExportTally, Vec<Shortfall>)> {
        let count = plan.shards.len();
        self.missing = plan.missing;
        self.context
            .status(format!("exporting {}", plural(count, "shard")));
        self.context.report(&Event::Shards {
            count,
            bytes: Some(total(plan.shards.iter().map(PlannedShard::bytes))),
        });
        let mut definitions = Definitions::new(&plan.data);
        if !self.options.points_only {
            let databases: BTreeSet<&str> = (plan.shards.iter())
                .map(|shard| &*shard.source.database)
                .collect();
            definitions.write(&databases, out)?;
        }
        // A failure here stops the other thread as well.
        let stop = self.context.cancel.child();
        let preparer = ShardPreparer {
            catalog: self.catalog,
            context: Context {
                cancel: &stop,
                ..self.context
            },
        };
        let shards = plan.shards;
        thread::scope(|scope| {
            let (sender, receiver) = mpsc::sync_channel(0);
            scope.spawn(move || {
                for shard in shards {
                    let prepared = preparer.prepare(shard);
                    let is_over = prepared.is_err();
                    if sender.send(prepared).is_err() || is_over {
                        return;
                    }
                }
            });
            let exported = receiver.into_iter().try_for_each(|prepared| {
                let prepared = prepared?;
                if !self.options.points_only {
                    definitions.enter(prepared.name(), out)?;
                }
                self.write(&prepared, &stop, out)
            });
            exported.inspect_err(|_| stop.cancel())
        })
        .or_else(|error| {
            self.context.check()?;
            Err(error)
        })?;
        out.flush()?;
        Ok((self.tally, self.missing))
    }

    fn write(
        &mut self,
        prepared: &PreparedShard,
        stop: &Cancel,
        out: &mut dyn Write,
    ) -> Result<()> {
        let before = self.tally.bytes;
        let mut format = LineProtocol::new(self.options.newline);
        let found = prepared.write(self.options, &mut format, &mut self.tally, stop, out)?;
        let shard = prepared.name();
        let failures = found.iter().map(|reason| Shortfall::of_shard(shard, reason));
        self.missing.extend(failures);
        self.context.report(&Event::Finished {
            shard,
            outcome: Outcome::Done {
                files: prepared.files(),
                bytes: self.tally.bytes - before,
            },
            elapsed: prepared.started.elapsed(),
        });
        Ok(())
    }
}
