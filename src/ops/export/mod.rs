//! `snap export`: the points of a backup, or of an influxd, in formats that others read.
//!
//! The shards of a set are those that a restore would put into a data directory. Each is made ready
//! to be read ([`prepared`]), while the one before it is written: several threads make pieces of its
//! points ([`shard`]), and a [`points_writer`] writes them in their order, as [`lines`] to where [`output`] leads, or, after a [`survey`] of what there
//! is, as [`tables`], which may have a [`directory`]. What is damaged is named, and everything else
//! is exported.

mod directory;
mod lines;
mod output;
mod plan;
mod points_writer;
mod shard;
mod survey;
mod tables;

use std::collections::BTreeSet;
use std::io::Write;
use std::path::PathBuf;
use std::sync::{Arc, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::restore::{PlannedShard, RestoreSelection, planned, sets_of};
use crate::cancel::Cancel;
use crate::client::Client;
use crate::context::Context;
use crate::io::scratch::scratch_dir;
use crate::metastore::Data;
use crate::ops::backup::Rule;
use crate::ops::gather::{GatherDepth, GatheredShard, Gathering};
use crate::ops::prepared::{self, FLUSH_TIMEOUT, Prepared, PreparedShard};
use crate::ops::selection::ensure_series_found;
use crate::ops::serve::held;
use crate::ops::server_shards::{OpenShards, ShardAsker};
use crate::ops::{Directories, Shortfall};
use crate::progress::{Event, Outcome};
use crate::repository::{Catalog, Location, SetId};
use crate::server::{MetaStore, ShardStore};
use crate::shard::ShardPath;
use crate::text::plural;
use crate::time::Bounds;
use crate::tsm::sought_series::SoughtSeries;
use directory::ExportDirectory;
use lines::LineWriter;
use output::{ExportFiles, ExportOut};
use plan::ExportPlan;
use points_writer::PointsWriter;
use shard::{SeriesCounter, WhichPoints};
use survey::{Survey, Surveyed};
use tables::{ExportSchema, TableWriter};

pub use lines::{ExportDatabase, LineOptions, NewlineRule, SplitLimits};
pub use tables::{Resolution, TableFormat, TableOptions, TimeFormat};

/// What to export, and how.
#[derive(Debug, Clone)]
pub struct ExportOptions {
    /// Where the points are.
    pub source: ExportSource,
    /// The shards, and the series and times of the points. New names are not looked at.
    pub what: RestoreSelection,
    /// How points are written.
    pub format: ExportFormat,
    /// How many threads read points and make of them what is written, at least one.
    pub jobs: usize,
}

/// How points are written.
#[derive(Debug, Clone)]
pub enum ExportFormat {
    /// As line protocol, one after the other.
    Lines(LineOptions),
    /// As tables, one for each measurement of a retention policy.
    Tables(TableOptions),
}

impl ExportOptions {
    /// Whether the points go into several files.
    fn are_divided(&self) -> bool {
        matches!(&self.format, ExportFormat::Lines(lines) if lines.split.are_given())
    }
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
    /// A file, which gets its name when it is whole; compressed where the name ends with .gz. With
    /// limits of what one may hold, several, whose names have a number each. Of tables it takes
    /// one.
    File(PathBuf),
    /// A directory for tables, which gets its name when all files in it are whole.
    Directory(PathBuf),
    /// Anything else. Of tables it takes one.
    Stream(&'a mut (dyn Write + Send)),
}

/// What was exported.
#[derive(Debug, Clone)]
pub struct ExportReport {
    /// The set, where a set was exported.
    pub set: Option<SetId>,
    /// Sets before it that some of the points were in.
    pub older_sets: Vec<SetId>,
    /// The files that were written, but for those in a directory.
    pub files: Vec<PathBuf>,
    /// Shards.
    pub shards: usize,
    /// Series, each once however many shards have it.
    pub series: u64,
    /// Whether that is an estimate, as there are very many.
    pub series_is_estimate: bool,
    /// What was written of them.
    pub tally: ExportTally,
    /// The tables among it.
    pub tables: Vec<ExportedTable>,
    /// What could not be exported, or is not in the backup.
    pub missing: Vec<Shortfall>,
    /// How long it took.
    pub elapsed: Duration,
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct ExportTally {
    /// Points.
    pub points: u64,
    /// Bytes, before compression.
    pub bytes: u64,
    /// Strings with line feeds, which influx -import breaks.
    pub newlines: u64,
}

/// A table that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExportedTable {
    /// Its file in the directory, where there is one.
    pub file: Option<PathBuf>,
    /// The database.
    pub database: String,
    /// The retention policy.
    pub retention_policy: String,
    /// The measurement.
    pub measurement: String,
    /// Points.
    pub points: u64,
    /// Bytes, those of CSV before compression.
    pub bytes: u64,
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
        tables: Vec::new(),
        series: SeriesCounter::default(),
        older_sets: Vec::new(),
        findings: Vec::new(),
        missing: Vec::new(),
    };
    let mut files = Vec::new();
    let set = match target {
        ExportTarget::File(path) => {
            let mut out = ExportFiles::create(&path, options.are_divided())?;
            let set = exporter.export(ExportOut::Files(&mut out))?;
            files = out.finish()?;
            set
        }
        ExportTarget::Directory(path) => {
            let directory = ExportDirectory::create(&path)?;
            let set = exporter.export(ExportOut::Directory(&directory))?;
            directory.publish()?;
            set
        }
        ExportTarget::Stream(stream) => exporter.export(ExportOut::Stream(stream))?,
    };
    let series = exporter.series.count();
    Ok(ExportReport {
        set,
        older_sets: exporter.older_sets,
        files,
        shards: exporter.shards,
        series: series.count,
        series_is_estimate: series.is_estimate,
        tally: exporter.tally,
        tables: exporter.tables,
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
    tables: Vec<ExportedTable>,
    series: SeriesCounter,
    older_sets: Vec<SetId>,
    /// What whoever reads the points cannot take.
    findings: Vec<String>,
    missing: Vec<Shortfall>,
}

impl Exporter<'_> {
    /// Exports everything that is meant; the set.
    fn export(&mut self, out: ExportOut<'_>) -> Result<Option<SetId>> {
        let (what, context) = (&self.options.what, self.context);
        match &self.options.source {
            ExportSource::Set { repository, set } => {
                let set = set.as_deref();
                let plan = |catalog: &Catalog| {
                    let (id, plan) = ExportPlan::of_set(catalog, set, what, context)?;
                    let sets = sets_of(&plan.shards);
                    Ok(((id, plan), sets))
                };
                let (catalog, (id, plan), _held) = planned(repository, set, context, plan)?;
                let prepare = |shard, context: Context<'_>| {
                    prepared::from_set(&catalog, shard, context).map(Prepared::Whole)
                };
                let gather = |shard: &PlannedShard, gathering: Gathering<'_>| {
                    GatheredShard::of_chain(&catalog, &shard.source, &shard.chain, gathering)
                };
                let sets = sets_of(&plan.shards).into_iter();
                let sets = sets.map(|at| catalog.sets()[at].id.clone());
                self.older_sets = sets.filter(|other| *other != id).collect();
                let is_remote = repository.directory().is_none();
                let schema = self.schema(&plan, is_remote, &gather)?;
                self.run(plan, schema, &prepare, out)?;
                Ok(Some(id))
            }
            ExportSource::Server { client, retries } => {
                let selection = what.selection(false);
                let open = OpenShards::told_of(client, *retries, &selection, context)?;
                let shards = open.shards.into_iter().map(|shard| shard.path);
                let holder = client.address().to_string();
                let inside = ExportPlan::of_influxd(open.data, shards.collect(), what, holder);
                let asker = ShardAsker::new(client, *retries, Rule::Prompt(FLUSH_TIMEOUT));
                let prepare =
                    |shard, context: Context<'_>| prepared::from_server(&asker, shard, context);
                let gather = |shard: &ShardPath, gathering: Gathering<'_>| {
                    match GatheredShard::of_server(&asker, shard, gathering, context)? {
                        Ok(gathered) => Ok(gathered),
                        // What it lacks is told when its points are read.
                        Err(reason) => GatheredShard::missing(reason, gathering),
                    }
                };
                let schema = self.schema(&inside, true, &gather)?;
                self.run(inside, schema, &prepare, out)?;
                Ok(None)
            }
            ExportSource::Directories(directories) => {
                let selection = what.selection(false);
                let (shards, meta, stores) = directories.open_to_read(&selection)?;
                let holder = "the data directory".to_owned();
                let data = Data::read(&meta.data()?)?;
                let wanted: BTreeSet<ShardPath> = shards.into_iter().collect();
                let meant = data
                    .live_shards()
                    .filter(|shard| wanted.contains(&shard.path));
                let shards = held(meant, &stores, context)?.into_iter();
                let inside = ExportPlan::of_influxd(
                    data,
                    shards.map(|shard| shard.path).collect(),
                    what,
                    holder,
                );
                let prepare = |shard, context: Context<'_>| {
                    prepared::from_directory(&stores, shard, context).map(Prepared::Whole)
                };
                let gather = |shard: &ShardPath, gathering: Gathering<'_>| {
                    GatheredShard::of_directory(stores.snapshot(shard)?, shard, gathering)
                };
                let schema = self.schema(&inside, false, &gather)?;
                self.run(inside, schema, &prepare, out)?;
                Ok(None)
            }
        }
    }

    /// What there is in the shards of a plan, where the format has to know it before; `is_remote`
    /// says whether to read a piece of their files takes long.
    fn schema<T: Surveyed>(
        &self,
        plan: &ExportPlan<T>,
        is_remote: bool,
        gather: &impl Fn(&T, Gathering<'_>) -> Result<GatheredShard>,
    ) -> Result<Option<ExportSchema>> {
        let (context, scratch) = (self.context, scratch_dir());
        if let ExportFormat::Lines(_) = self.options.format {
            return Ok(None);
        }
        let count = plan.shards.len();
        context.status(format!("reading the indexes of {}", plural(count, "shard")));
        let bytes = plan.bytes;
        context.report(&Event::Shards { count, bytes });
        let bounds = self.options.what.bounds().unwrap_or(Bounds::ANY);
        let mut survey = Survey::new(&self.sought, bounds, context);
        let gathering = Gathering {
            depth: GatherDepth::Schema,
            is_remote,
            scratch: &scratch,
            cancel: context.cancel,
            progress: context.progress,
        };
        for shard in &plan.shards {
            survey.add(shard, || gather(shard, gathering))?;
        }
        if !survey.is_damaged && plan.missing.is_empty() {
            ensure_series_found(&self.sought, self.options.what.bounds(), &plan.holder)?;
        }
        Ok(Some(survey.schema))
    }

    /// Exports the shards of a plan. One is made ready while another is written.
    fn run<T: Send>(
        &mut self,
        plan: ExportPlan<T>,
        schema: Option<ExportSchema>,
        prepare: &(impl Fn(T, Context<'_>) -> Result<Prepared> + Sync),
        out: ExportOut<'_>,
    ) -> Result<()> {
        let count = plan.shards.len();
        let context = self.context;
        self.missing = plan.missing;
        context.status(format!("exporting {}", plural(count, "shard")));
        context.report(&Event::Shards {
            count,
            bytes: plan.bytes,
        });
        let (data, databases, shards) = (plan.data, plan.databases, plan.shards);
        match &self.options.format {
            ExportFormat::Lines(options) => {
                let writer = LineWriter::new(*options, &data, databases, out.lines()?)?;
                self.write_all(shards, prepare, writer)?;
            }
            ExportFormat::Tables(options) => {
                let schema = schema.unwrap_or_default();
                let writer = TableWriter::new(options, &schema, &data, out, context)?;
                self.write_all(shards, prepare, writer)?;
            }
        }
        // Of what is damaged, nobody knows which series are in it.
        if self.missing.is_empty() {
            ensure_series_found(&self.sought, self.options.what.bounds(), &plan.holder)?;
        }
        let findings = std::mem::take(&mut self.findings).into_iter();
        let of_all = |reason| Shortfall {
            shard: None,
            reason,
        };
        self.missing.extend(findings.map(of_all));
        Ok(())
    }

    /// Writes shards. One is made ready while another is written.
    fn write_all<T: Send, W: PointsWriter>(
        &mut self,
        shards: Vec<T>,
        prepare: &(impl Fn(T, Context<'_>) -> Result<Prepared> + Sync),
        mut writer: W,
    ) -> Result<()> {
        let context = self.context;
        // A failure here stops the other thread as well.
        let stop = context.cancel.child();
        let cancel = &stop;
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
        context.check()?;
        exported?;
        self.tables = writer.finish(context)?;
        self.findings = writer.findings();
        self.tally = writer.tally();
        Ok(())
    }

    fn take<W: PointsWriter>(
        &mut self,
        prepared: Prepared,
        writer: &mut W,
        stop: &Cancel,
    ) -> Result<()> {
        match prepared {
            Prepared::Whole(shard) => self.write(&shard, writer, stop)?,
            Prepared::Missing(shortfall) => self.missing.push(shortfall),
            Prepared::Gone => {}
        }
        Ok(())
    }

    fn write<W: PointsWriter>(
        &mut self,
        prepared: &PreparedShard,
        writer: &mut W,
        stop: &Cancel,
    ) -> Result<()> {
        let before = writer.tally().bytes;
        let which = WhichPoints {
            sought: &self.sought,
            bounds: self.options.what.bounds().unwrap_or(Bounds::ANY),
            jobs: self.options.jobs,
        };
        let told = shard::write(prepared, &which, writer, &mut self.series, stop)?;
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
