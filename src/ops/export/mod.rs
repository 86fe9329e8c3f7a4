//! `snap export`: the points of a backup, or of an influxd, in formats that others read.
//!
//! The shards of a set are those that a restore would put into a data directory. Each is made ready
//! to be read ([`SourceShard::prepare`]), while the one before it is written: several threads make
//! pieces of its points ([`shard`]), and a [`points_writer`] writes them in their order, as [`lines`]
//! to where [`output`] leads, or, after a [`survey`] of what there is, as [`tables`], which may have a
//! [`directory`]. What is damaged is named, and everything else is exported.

mod directory;
mod lines;
mod output;
mod points_writer;
mod shard;
mod survey;
mod tables;

use std::io::Write;
use std::path::PathBuf;
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;

use crate::cancel::Cancel;
use crate::context::Context;
use crate::error::Error;
use crate::io::scratch::scratch_dir;
use crate::ops::Shortfall;
use crate::ops::backup::Rule;
use crate::ops::prepared::{FLUSH_TIMEOUT, Prepared, PreparedShard};
use crate::ops::restore::RestoreSelection;
use crate::ops::selection::ensure_series_found;
use crate::ops::shard_source::{OpenSource, ShardSource, ShardsMeant, SourceShard};
use crate::progress::{Event, Outcome};
use crate::repository::SetId;
use crate::text::plural;
use crate::time::Bounds;
use crate::tsm::sought_series::SoughtSeries;
use directory::ExportDirectory;
use lines::LineWriter;
use output::{ExportFiles, ExportOut};
use points_writer::PointsWriter;
use shard::{SeriesCounter, WhichPoints};
use survey::Survey;
use tables::{ExportSchema, TableWriter};

pub use lines::{ExportDatabase, LineOptions, NewlineRule, SplitLimits};
pub use tables::{Resolution, TableFormat, TableOptions, TimeFormat};

/// What to export, and how.
#[derive(Debug, Clone)]
pub struct ExportOptions {
    /// Where the points are.
    pub source: ShardSource,
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
        let meant = ShardsMeant {
            selection: &what.selection(false),
            bounds: what.bounds(),
            rule: Rule::Prompt(FLUSH_TIMEOUT),
        };
        let source = self.options.source.open(&meant, context)?;
        source.warn_not_open(context);
        self.older_sets = source.older_sets();
        let shards = source.shards();
        let schema = match self.options.format {
            ExportFormat::Lines(_) => ExportSchema::default(),
            // It has to be known before.
            ExportFormat::Tables(_) => self.schema(&source, &shards)?,
        };
        self.run(&source, &shards, &schema, out)?;
        Ok(source.set_id().cloned())
    }

    /// What there is in shards.
    fn schema(&self, source: &OpenSource<'_>, shards: &[SourceShard<'_>]) -> Result<ExportSchema> {
        let (context, scratch) = (self.context, scratch_dir());
        let count = plural(shards.len(), "shard");
        context.status(format!("reading the indexes of {count}"));
        self.report_shards(shards);
        let bounds = self.options.what.bounds().unwrap_or(Bounds::ANY);
        let mut survey = Survey::new(&self.sought, bounds, context);
        for shard in shards {
            survey.add(shard, &scratch)?;
        }
        if !survey.is_damaged && source.missing.is_empty() {
            self.ensure_series_found(source)?;
        }
        Ok(survey.schema)
    }

    fn report_shards(&self, shards: &[SourceShard<'_>]) {
        self.context.report(&Event::Shards {
            count: shards.len(),
            bytes: shards.iter().map(SourceShard::bytes).sum(),
        });
    }

    fn ensure_series_found(&self, source: &OpenSource<'_>) -> Result<(), Error> {
        ensure_series_found(
            &self.sought,
            self.options.what.bounds(),
            &source.to_string(),
        )
    }

    /// Exports shards. One is made ready while another is written.
    fn run(
        &mut self,
        source: &OpenSource<'_>,
        shards: &[SourceShard<'_>],
        schema: &ExportSchema,
        out: ExportOut<'_>,
    ) -> Result<()> {
        let (data, context) = (&source.data, self.context);
        self.missing = source.missing.clone();
        context.status(format!("exporting {}", plural(shards.len(), "shard")));
        self.report_shards(shards);
        match &self.options.format {
            ExportFormat::Lines(options) => {
                let databases = source.databases.clone();
                let writer = LineWriter::new(*options, data, databases, out.lines()?)?;
                self.write_all(shards, writer)?;
            }
            ExportFormat::Tables(options) => {
                let writer = TableWriter::new(options, schema, data, out, context)?;
                self.write_all(shards, writer)?;
            }
        }
        // Of what is damaged, nobody knows which series are in it.
        if self.missing.is_empty() {
            self.ensure_series_found(source)?;
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
    fn write_all<W: PointsWriter>(
        &mut self,
        shards: &[SourceShard<'_>],
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
                    let prepared = shard.prepare(Context { cancel, ..context });
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
