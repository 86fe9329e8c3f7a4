//! `snap export` as it is typed.

use std::io::{self, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Args, ValueEnum};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::FileType;
use rustix::io::Errno;

use super::ending::Ending;
use super::flags::influxd::EXPORT;
use super::flags::server::ConnectionArgs;
use super::flags::tables::{FormatArg, OutKind, TableArgs, ensure_of};
use super::flags::values;
use super::flags::{InfluxdArgs, OutputArgs, SeriesArgs, ShardsArgs, TimesArgs, chosen};
use super::render::messages::export::ExportSummary;
use super::render::output::Output;
use super::render::terminal::is_gone;
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind};
use crate::ops::{
    ExportDatabase, ExportFormat, ExportOptions, ExportTarget, LineOptions, NewlineRule,
    SplitLimits, export, grouped,
};
use crate::repository::Location;
use crate::text::plural;

/// Write the points of a backup as line protocol, CSV or Parquet
///
/// With -host it reads those of a running server; with -metadir and -datadir, of a stopped one.
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
    #[arg(
        value_name = "PATH",
        value_parser = values::location(),
        conflicts_with_all = ["host", "datadir"],
    )]
    pub(crate) path: Option<Location>,
    /// The set: an id, the beginning of one, or latest [default: the newest]
    ///
    /// Without it, what only older sets hold is exported too.
    #[arg(value_name = "SET", conflicts_with_all = ["host", "datadir"])]
    set: Option<String>,

    #[command(flatten)]
    influxd: InfluxdArgs<EXPORT>,

    /// lp, csv, csv.gz or parquet [default: by -out's name, else lp]
    #[arg(
        long,
        value_name = "KIND",
        hide_possible_values = true,
        help_heading = "How"
    )]
    format: Option<FormatArg>,
    /// A file, or for tables a directory [default: standard output]
    ///
    /// Line protocol goes to a file, tables to a directory: DATABASE/POLICY/MEASUREMENT.csv. One
    /// table goes to a file if the name ends with .csv, .csv.gz or .parquet. A name that ends with
    /// .gz compresses. Nothing is overwritten. A dash is standard output.
    #[arg(short, long, value_name = "FILE", help_heading = "How")]
    out: Option<PathBuf>,
    /// At most so many points a file
    ///
    /// Each file is complete by itself. -o x.lp.gz makes x-0001.lp.gz, x-0002.lp.gz and so on. A file
    /// ends between two series if one ends near, else between two points. The files get their names
    /// when all are whole, the first one last.
    #[arg(
        long,
        value_name = "N",
        value_parser = values::whole_number(1, u64::MAX),
        requires = "out",
        help_heading = "How",
        hide_short_help = true,
    )]
    max_lines: Option<u64>,
    /// At most so many bytes a file, as 10MiB
    ///
    /// As -max-lines, and together with it if both are given. Bytes are counted before compression.
    #[arg(
        long,
        value_name = "SIZE",
        value_parser = values::size,
        requires = "out",
        help_heading = "How",
        hide_short_help = true,
    )]
    max_bytes: Option<u64>,
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
    /// Report what this database cannot take; influxdb1 to 3, victoriametrics or questdb
    ///
    /// Everything is written all the same. What the database would refuse, drop or cut is counted
    /// and named at the end, with exit code 3. docs/export.md lists the checks.
    #[arg(
        long,
        value_name = "KIND",
        hide_possible_values = true,
        hide_short_help = true,
        help_heading = "How"
    )]
    target: Option<TargetArg>,

    /// How many threads read and write points at a time
    ///
    /// What is written is the same for any number.
    #[arg(
        long,
        default_value_t = 2,
        value_name = "N",
        value_parser = values::whole_number(1, 64_u8),
        help_heading = "How",
    )]
    jobs: u8,

    #[command(flatten)]
    tables: TableArgs,

    #[command(flatten, next_help_heading = "What to export")]
    shards: ShardsArgs,
    #[command(flatten, next_help_heading = "What to export")]
    series: SeriesArgs<false>,
    #[command(flatten, next_help_heading = "What to export")]
    times: TimesArgs,

    #[command(flatten)]
    connection: ConnectionArgs<true>,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

const EXAMPLES: &str = "\
  snap export -o telegraf.lp.gz -database telegraf /var/backups/influxdb
  snap export -database db -format parquet -o db PATH
  snap export -host 127.0.0.1:8088 -database db -o db.lp.gz";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum NewlineArg {
    Keep,
    Escape,
    Fail,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum TargetArg {
    Influxdb1,
    Influxdb2,
    Influxdb3,
    Victoriametrics,
    Questdb,
}

impl TargetArg {
    fn database(self) -> ExportDatabase {
        match self {
            Self::Influxdb1 => ExportDatabase::InfluxDb1,
            Self::Influxdb2 => ExportDatabase::InfluxDb2,
            Self::Influxdb3 => ExportDatabase::InfluxDb3,
            Self::Victoriametrics => ExportDatabase::VictoriaMetrics,
            Self::Questdb => ExportDatabase::QuestDb,
        }
    }
}

impl ExportArgs {
    pub(crate) fn run(&self, cancel: &Cancel, output: &Output) -> Ending {
        let (format, kind) = FormatArg::meant(self.format, self.file())?;
        self.ensure_consistent(format, kind, output)?;
        let options = self.options(format, kind, cancel);
        let from = options.source.to_string();
        output.opening(&format!("exporting from {from}"));
        let mut stdout = PointsOut::new(cancel);
        let report = output.while_running(cancel, |context| {
            let target = match self.file().map(Path::to_owned) {
                Some(path) if kind == OutKind::Directory => ExportTarget::Directory(path),
                Some(path) => ExportTarget::File(path),
                None => ExportTarget::Stream(&mut stdout),
            };
            export(&options, target, context)
        });
        if stdout.is_gone {
            return Ok(None);
        }
        let report = report?;
        for text in grouped(&report.missing) {
            output.fault(&format!("missing: {text}"), None);
        }
        if report.tally.newlines > 0 && self.newline.is_none_or(|rule| rule == NewlineArg::Keep) {
            output.warning(&format!(
                "{} with line feeds, which /write takes and influx -import breaks; see -newline",
                plural(report.tally.newlines, "string")
            ));
        }
        let summary = ExportSummary::new(&report, &from, self.file());
        match self.file() {
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
        for (flag, is_given) in [
            ("-max-lines", self.max_lines.is_some()),
            ("-max-bytes", self.max_bytes.is_some()),
            ("-target", self.target.is_some()),
        ] {
            ensure_of(flag, is_given, format, &[FormatArg::Lp])?;
        }
        let fault = match (self.file(), output.is_json()) {
            (None, true) => "-json and the points would both go to standard output",
            (None, false) if self.split().are_given() => "standard output cannot be divided",
            _ => return Ok(()),
        };
        let hint = "write the points to a file, with -o FILE";
        Err(ErrorKind::Usage.error(fault).hint(hint))
    }

    /// The file or directory that is written; none for standard output.
    fn file(&self) -> Option<&Path> {
        self.out.as_deref().filter(|path| *path != Path::new("-"))
    }

    fn split(&self) -> SplitLimits {
        SplitLimits {
            lines: self.max_lines,
            bytes: self.max_bytes,
        }
    }

    fn options(&self, format: FormatArg, kind: OutKind, cancel: &Cancel) -> ExportOptions {
        let source = self.influxd.or_set(self.path.as_ref(), self.set.as_deref());
        ExportOptions {
            source: source.asked_by(&self.connection, cancel),
            what: chosen(&self.shards, &self.times, &self.series),
            format: match format {
                FormatArg::Lp => ExportFormat::Lines(self.line_options()),
                _ => ExportFormat::Tables(self.tables.options(format, kind)),
            },
            jobs: self.jobs.into(),
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
            split: self.split(),
            target: self.target.map(TargetArg::database),
        }
    }
}

/// How much is written to a pipe at a time: that much it takes at once if it takes anything.
const PIPE_PIECE: usize = 4096;

/// How long is waited for a pipe before it is looked whether to stop.
const TICK: Timespec = Timespec {
    tv_sec: 0,
    tv_nsec: 100_000_000,
};

/// Standard output, and whether its reader went away.
struct PointsOut<'a> {
    out: io::Stdout,
    cancel: &'a Cancel,
    /// How much can be written at a time so that a reader who is slow does not keep a stop waiting.
    at_once: usize,
    is_gone: bool,
}

impl<'a> PointsOut<'a> {
    fn new(cancel: &'a Cancel) -> Self {
        let out = io::stdout();
        let is_file = rustix::fs::fstat(&out)
            .is_ok_and(|file| FileType::from_raw_mode(file.st_mode) == FileType::RegularFile);
        Self {
            out,
            cancel,
            at_once: if is_file { usize::MAX } else { PIPE_PIECE },
            is_gone: false,
        }
    }

    /// Waits until something can be written, or a stop is asked for.
    fn wait(&self) -> io::Result<()> {
        loop {
            self.cancel.check().map_err(io::Error::other)?;
            let mut polled = [PollFd::new(&self.out, PollFlags::OUT)];
            match poll(&mut polled, Some(&TICK)) {
                Ok(0) | Err(Errno::INTR) => {}
                // What else there is to say, writing will.
                _ => return Ok(()),
            }
        }
    }
}

impl Write for PointsOut<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let piece = &bytes[..bytes.len().min(self.at_once)];
        let written = self
            .wait()
            .and_then(|()| rustix::io::write(&self.out, piece).map_err(io::Error::from));
        written.inspect_err(|error| self.is_gone |= is_gone(error))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
