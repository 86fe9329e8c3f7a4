//! `snap export`: the points of a backup, or of an influxd, in formats that others read.
//!
//! The shards of a set are those that a restore would put into a data directory. Each is made ready
//! to be read ([`backup`], [`running`], [`stopped`]), while the one before it is written ([`shard`]) by a
//! [`points_writer`]: as [`lines`], to where [`output`] leads. What is damaged is named, and
//! everything else is exported.

pub(super) mod backup;
mod lines;
mod output;
mod points_writer;
pub(super) mod running;
pub(super) mod shard;
pub(super) mod stopped;
pub(super) mod told;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::restore::{PlannedShard, RestoreSelection, SetSelector, Source, planned, sets_of};
use crate::cancel::Cancel;
use crate::client::Client;
use crate::context::Context;
use crate::metastore::Data;
use crate::ops::backup::Rule;
use crate::ops::selection::ensure_series_found;
use crate::ops::server_shards::{OpenShards, ShardAsker};
use crate::ops::{Directories, Shortfall};
use crate::progress::{Event, Outcome};
use crate::repository::{Catalog, Location, SetId};
use crate::server::MetaStore;
use crate::shard::ShardPath;
use crate::sizes::total;
use crate::text::plural;
use crate::time::Bounds;
use crate::tsm::sought_series::SoughtSeries;
use lines::LineWriter;
use output::ExportFile;
use points_writer::PointsWriter;
use running::FLUSH_TIMEOUT;
use shard::{Prepared, PreparedShard};

pub use lines::{LineOptions, NewlineRule};

/// What to export, and how.
#[derive(Debug, Clone)]
pub struct ExportOptions {
    /// Where the points are.
    pub source: ExportSource,
    /// The shards, and the series and times of the points. New names are not looked at.
    pub what: RestoreSelection,
    /// How points are written.
    pub lines: LineOptions,
}

/// Where the points of an export are.
#[derive(Debug, Clone)]
pub enum ExportSource {
    /// In a backup.
    Set {
        /// Where its sets lie.
        repository: Location,
        /// The set; none for the newest.
        set: Option<String>,
    },
    /// On a running server.
    Server {
        /// The server.
        client: Arc<Client>,
        /// How often a shard is asked for again.
        retries: u32,
    },
    /// In the directories of an influxd that does not run.
    Directories(Directories),
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
    /// The set, where a set was exported.
    pub set: Option<SetId>,
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

/// The shards of an export, of the kind that they are made ready from.
struct ExportPlan<T> {
    data: Data,
    shards: Vec<T>,
    /// The databases that are meant, also those of which no shard has points left.
    databases: BTreeSet<String>,
    /// Their bytes, where that is known.
    bytes: Option<u64>,
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
    let mut exporter = Exporter {
        options,
        context,
        sought: SoughtSeries::of(options.what.series.clone()),
        shards: 0,
        tally: ExportTally::default(),
        missing: Vec::new(),
    };
    let set = match target {
        ExportTarget::File(path) => {
            let mut file = ExportFile::create(&path)?;
            let exported = exporter.export(&mut file)?;
            file.finish()?;
            exported
        }
        ExportTarget::Stream(stream) => exporter.export(stream)?,
    };
    Ok(ExportReport {
        set,
        shards: exporter.shards,
        tally: exporter.tally,
        missing: exporter.missing,
        elapsed: started.elapsed(),
    })
}

/// Exports shard after shard.
struct Exporter<'a> {
    options: &'a ExportOptions,
    context: Context<'a>,
    sought: SoughtSeries,
    /// Those that were exported.
    shards: usize,
    tally: ExportTally,
    missing: Vec<Shortfall>,
}

impl Exporter<'_> {
    /// Exports everything that is meant; the set.
    fn export(&mut self, out: &mut dyn Write) -> Result<Option<SetId>> {
        let set = self.export_all(out)?;
        // Of what is damaged, nobody knows which series are in it.
        if self.missing.is_empty() {
            let holder = match (&set, &self.options.source) {
                (Some(set), _) => format!("set {set}"),
                (None, ExportSource::Server { client, .. }) => client.address().to_string(),
                (None, _) => "the data directory".to_owned(),
            };
            ensure_series_found(&self.sought, &holder)?;
        }
        Ok(set)
    }

    fn export_all(&mut self, out: &mut dyn Write) -> Result<Option<SetId>> {
        match &self.options.source {
            ExportSource::Set { repository, set } => {
                let set = set.as_deref();
                let plan = |catalog: &Catalog| {
                    let (id, plan) = self.plan_of_set(catalog, set)?;
                    let sets = sets_of(&plan.shards);
                    Ok(((id, plan), sets))
                };
                let (catalog, (id, plan), _held) = planned(repository, set, self.context, plan)?;
                let prepare = |shard, context: Context<'_>| {
                    backup::prepare(&catalog, shard, context).map(Prepared::Whole)
                };
                self.run(plan, &prepare, out)?;
                Ok(Some(id))
            }
            ExportSource::Server { client, retries } => {
                let selection = self.options.what.selection(false);
                let open = OpenShards::of(client, &selection, self.context)?;
                let shards = open.shards.into_iter().map(|shard| shard.path);
                let inside = self.inside(open.data, shards.collect());
                let asker = ShardAsker::new(client, *retries, Rule::Prompt(FLUSH_TIMEOUT));
                let prepare =
                    |shard, context: Context<'_>| running::prepare(&asker, shard, context);
                self.run(inside, &prepare, out)?;
                Ok(None)
            }
            ExportSource::Directories(directories) => {
                let selection = self.options.what.selection(false);
                let shards = directories.live_shards(&selection)?;
                directories.ensure_known(&shards)?;
                let (meta, stores) = directories.open()?;
                let inside = self.inside(Data::read(&meta.data()?)?, shards);
                let prepare = |shard, context: Context<'_>| {
                    stopped::prepare(&stores, shard, context).map(Prepared::Whole)
                };
                self.run(inside, &prepare, out)?;
                Ok(None)
            }
        }
    }

    fn plan_of_set(
        &self,
        catalog: &Catalog,
        set: Option<&str>,
    ) -> Result<(SetId, ExportPlan<PlannedShard>)> {
        let what = &self.options.what;
        let selection = what.selection(false);
        let source = Source::read(
            catalog,
            SetSelector::named(set),
            &selection,
            what.bounds(),
            true,
            self.context,
        )?;
        source.report_missing(catalog, &selection, self.context)?;
        let shards = source.planned(&RestoreSelection::default(), Some)?;
        let plan = ExportPlan {
            databases: source.databases.into_iter().collect(),
            bytes: Some(total(shards.iter().map(PlannedShard::bytes))),
            shards,
            data: source.data,
            missing: source.chains.missing,
        };
        Ok((source.set, plan))
    }

    /// Those of the shards that can have points of the times that are meant.
    fn inside(&self, data: Data, shards: Vec<ShardPath>) -> ExportPlan<ShardPath> {
        let bounds = self.options.what.bounds();
        let wanted: BTreeSet<ShardPath> = shards.into_iter().collect();
        let what = self.options.what.selection(false);
        let databases = data.databases.iter().map(|database| &database.name);
        let databases = databases.filter(|name| what.takes_database(name));
        let databases = databases.cloned().collect();
        let live = data.live_shards().filter(|shard| {
            let inside = bounds.is_none_or(|bounds| !bounds.misses(shard.start, shard.end));
            inside && wanted.contains(&shard.path)
        });
        let shards: Vec<ShardPath> = live.map(|shard| shard.path).collect();
        ExportPlan {
            databases,
            bytes: None,
            shards,
            missing: Vec::new(),
            data,
        }
    }

    /// Exports the shards of a plan. One is made ready while another is written.
    fn run<T: Send>(
        &mut self,
        plan: ExportPlan<T>,
        prepare: &(impl Fn(T, Context<'_>) -> Result<Prepared> + Sync),
        out: &mut dyn Write,
    ) -> Result<()> {
        let count = plan.shards.len();
        let context = self.context;
        self.missing = plan.missing;
        context.status(format!("exporting {}", plural(count, "shard")));
        context.report(&Event::Shards {
            count,
            bytes: plan.bytes,
        });
        let mut writer = LineWriter::new(self.options.lines, &plan.data, &plan.databases, out)?;
        // A failure here stops the other thread as well.
        let stop = context.cancel.child();
        let cancel = &stop;
        let shards = plan.shards;
        let exported = thread::scope(|scope| {
            let (sender, receiver) = mpsc::sync_channel(0);
            scope.spawn(move || {
                for shard in shards {
                    let prepared = prepare(shard, Context { cancel, ..context });
                    let is_over = prepared.is_err();
                    if sender.send(prepared).is_err() || is_over {
                        return;
                    }
                }
            });
            let exported = receiver
                .into_iter()
                .try_for_each(|prepared| self.take(prepared?, &mut writer, cancel));
            exported.inspect_err(|_| cancel.cancel())
        });
        self.tally = writer.tally();
        context.check()?;
        exported?;
        Ok(out.flush()?)
    }

    fn take(
        &mut self,
        prepared: Prepared,
        writer: &mut dyn PointsWriter,
        stop: &Cancel,
    ) -> Result<()> {
        match prepared {
            Prepared::Whole(shard) => self.write(&shard, writer, stop)?,
            Prepared::Missing(shortfall) => self.missing.push(shortfall),
            Prepared::Gone => {}
        }
        Ok(())
    }

    fn write(
        &mut self,
        prepared: &PreparedShard,
        writer: &mut dyn PointsWriter,
        stop: &Cancel,
    ) -> Result<()> {
        let before = writer.tally().bytes;
        let bounds = self.options.what.bounds().unwrap_or(Bounds::ANY);
        let told = prepared.write(&self.sought, bounds, writer, stop)?;
        let shard = &prepared.name;
        self.shards += 1;
        let failures = told.iter().map(|reason| Shortfall::of_shard(shard, reason));
        self.missing.extend(failures);
        self.context.report(&Event::Finished {
            shard,
            outcome: Outcome::Done {
                files: prepared.files.len(),
                bytes: writer.tally().bytes - before,
            },
            elapsed: prepared.started.elapsed(),
        });
        Ok(())
    }
}
