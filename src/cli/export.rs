//! `snap export` as it is typed.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Result;
use clap::{Args, ValueEnum};

use super::ending::Ending;
use super::flags::tables::{FormatArg, OutKind, TableArgs, ensure_of};
use super::flags::values;
use super::flags::{DirectoriesArgs, OutputArgs, SeriesArgs, ShardsArgs, TimesArgs};
use super::render::messages::export::ExportSummary;
use super::render::output::Output;
use super::render::terminal::is_gone;
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind};
use crate::ops::{
    ExportFormat, ExportOptions, ExportSource, ExportTarget, LineOptions, NewlineRule,
    RestoreSelection, export, grouped,
};
use crate::repository::Location;
use crate::text::plural;

/// Write the points of a backup as line protocol, CSV or Parquet, without a server
///
/// The points are those that a restore of the set would bring back: increments are merged with what
/// they build on, of two values at one time the later counts, and what was deleted is left out.
/// They come in the order of their series, one line a point with all its fields. The database
/// _internal is exported only if -database names it.
///
/// Before points as line protocol stand statements that make the databases and retention policies, as
/// influx -import wants them. For /write, leave them out with -lponly.
///
/// CSV and Parquet are tables, one for each measurement. All indexes are read before the first is
/// written: what cannot be one column is refused, with flags that resolve it.
///
/// What is damaged is named, and everything else is exported; the exit code is 3 then.
///
/// T is a time: RFC 3339 (2026-11-20T08:00:00Z), a date (2026-11-20, midnight UTC) or an age (90m,
/// 24h, 7d, 2w).
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ExportArgs {
    /// The backup directory, or its URL [default: $SNAP_DIR, else ./backup]
    #[arg(value_name = "PATH", value_parser = values::location(), conflicts_with = "datadir")]
    pub(crate) path: Option<Location>,
    /// The set: an id, the beginning of one, or latest [default: the newest]
    #[arg(value_name = "SET")]
    set: Option<String>,

    #[command(flatten)]
    directories: DirectoriesArgs,

    /// The format [default: by the name of -out, else lp]
    #[arg(
        long,
        value_name = "lp|csv|csv.gz|parquet",
        hide_possible_values = true,
        help_heading = "How"
    )]
    format: Option<FormatArg>,
    /// Write to this file, or tables to this directory [default: standard output]
    ///
    /// A table goes to a file if its name ends with .csv, .csv.gz or .parquet, and then there must
    /// be one measurement. All others are directories: DATABASE/POLICY/MEASUREMENT.csv. Line
    /// protocol goes to a file, compressed if its name ends with .gz. All get their names when they
    /// are whole, and what is there already is not replaced.
    #[arg(short, long, value_name = "FILE", help_heading = "How")]
    out: Option<PathBuf>,
    /// Leave out the statements before the points
    ///
    /// They make databases and retention policies. What is left is what /write takes. Of which
    /// database and policy the points are is not said then: -database and -retention select those
    /// of one.
    #[arg(long, help_heading = "How")]
    lponly: bool,
    /// How to treat line feeds in strings of line protocol [default: keep]
    ///
    /// influx -import breaks such strings. keep: they stay, as /write takes them; escape: a backslash
    /// and an n take the place of each; fail: the export ends.
    #[arg(
        long,
        value_name = "keep|escape|fail",
        hide_possible_values = true,
        hide_short_help = true,
        help_heading = "How"
    )]
    newline: Option<NewlineArg>,

    #[command(flatten)]
    tables: TableArgs,

    #[command(flatten, next_help_heading = "What to export")]
    shards: ShardsArgs,
    #[command(flatten, next_help_heading = "What to export")]
    series: SeriesArgs<false>,
    #[command(flatten, next_help_heading = "What to export")]
    times: TimesArgs,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

const EXAMPLES: &str = "\
  snap export -o telegraf.lp.gz -database telegraf /var/backups/influxdb
  snap export -lponly -db db -rp autogen -measurement cpu -start 24h PATH | less
  snap export -database db -format parquet -o db PATH
  snap export -metadir /var/lib/influxdb/meta -datadir /var/lib/influxdb/data";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum NewlineArg {
    Keep,
    Escape,
    Fail,
}

impl ExportArgs {
    pub(crate) fn run(&self, cancel: &Cancel, output: &Output) -> Ending {
        let (format, kind) = FormatArg::meant(self.format, self.out.as_deref())?;
        self.ensure_consistent(format, kind, output)?;
        let options = self.options(format, kind);
        let from = match &options.source {
            ExportSource::Set { repository, .. } => repository.to_string(),
            ExportSource::Directories(directories) => directories.datadir.display().to_string(),
        };
        output.opening(&format!("exporting from {from}"));
        let mut stdout = PointsOut {
            out: io::stdout(),
            is_gone: false,
        };
        let report = output.while_running(cancel, |context| {
            let target = match &self.out {
                Some(path) if kind == OutKind::Directory => ExportTarget::Directory(path.clone()),
                Some(path) => ExportTarget::File(path.clone()),
                None => ExportTarget::Stream(&mut stdout),
            };
            export(&options, target, context)
        });
        if stdout.is_gone {
            return Ok(None);
        }
        let report = report?;
        for text in grouped(&report.missing) {
            output.fault(&text, None);
        }
        if report.tally.newlines > 0 && self.newline.is_none_or(|rule| rule == NewlineArg::Keep) {
            output.warning(&format!(
                "{} with line feeds, which /write takes and influx -import breaks; see -newline",
                plural(report.tally.newlines, "string")
            ));
        }
        let summary = ExportSummary::new(&report, &from, self.out.as_deref());
        match self.out {
            Some(_) => output.closing(&summary, &summary.line())?,
            None => output.opening(&summary.line()),
        }
        Ok((!report.missing.is_empty()).then_some(ErrorKind::Partial))
    }

    fn ensure_consistent(
        &self,
        format: FormatArg,
        kind: OutKind,
        output: &Output,
    ) -> Result<(), Error> {
        ensure_of("-lponly", self.lponly, format, &[FormatArg::Lp])?;
        ensure_of("-newline", self.newline.is_some(), format, &[FormatArg::Lp])?;
        self.tables.ensure_fit(format, kind)?;
        match output.is_json() && self.out.is_none() {
            true => Err(ErrorKind::Usage
                .error("-json and the points would both go to standard output")
                .hint("write the points to a file, with -o FILE")),
            false => Ok(()),
        }
    }

    fn source(&self) -> ExportSource {
        match self.directories.named() {
            Some(directories) => ExportSource::Directories(directories),
            None => ExportSource::Set {
                repository: values::repository(self.path.as_ref()),
                set: self.set.clone(),
            },
        }
    }

    fn options(&self, format: FormatArg, kind: OutKind) -> ExportOptions {
        ExportOptions {
            source: self.source(),
            what: RestoreSelection {
                database: self.shards.database.clone(),
                retention_policy: self.shards.retention.clone(),
                shard: self.shards.shard,
                start: self.times.start,
                end: self.times.end,
                series: self.series.filter(),
                ..RestoreSelection::default()
            },
            format: match format {
                FormatArg::Lp => ExportFormat::Lines(self.line_options()),
                _ => ExportFormat::Tables(self.tables.options(format, kind)),
            },
        }
    }

    fn line_options(&self) -> LineOptions {
        LineOptions {
            points_only: self.lponly,
            newline: match self.newline {
                None | Some(NewlineArg::Keep) => NewlineRule::Keep,
                Some(NewlineArg::Escape) => NewlineRule::Escape,
                Some(NewlineArg::Fail) => NewlineRule::Fail,
            },
        }
    }
}

/// Standard output, and whether its reader went away.
struct PointsOut {
    out: io::Stdout,
    is_gone: bool,
}

impl Write for PointsOut {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes);
        written.inspect_err(|error| self.is_gone |= is_gone(error))
    }

    fn flush(&mut self) -> io::Result<()> {
        let flushed = self.out.flush();
        flushed.inspect_err(|error| self.is_gone |= is_gone(error))
    }
}
