//! `snap export` as it is typed.

use std::io::{self, Write};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;
use clap::{Args, ValueEnum};

use super::ending::Ending;
use super::flags::server::ConnectionArgs;
use super::flags::values;
use super::flags::{DirectoriesArgs, OutputArgs, SeriesArgs, ShardsArgs, TimesArgs};
use super::render::messages::export::ExportSummary;
use super::render::output::Output;
use super::render::terminal::is_gone;
use crate::cancel::Cancel;
use crate::client::Address;
use crate::error::{Error, ErrorKind};
use crate::ops::{
    ExportOptions, ExportSource, ExportTarget, LineOptions, NewlineRule, RestoreSelection, export,
    grouped,
};
use crate::repository::Location;
use crate::text::plural;

/// Write the points of a backup as line protocol, without a server
///
/// With -host it reads those of a running server; with -metadir and -datadir, of a stopped one.
///
/// The points are those that a restore of the set would bring back: increments are merged with what
/// they build on, of two values at one time the later counts, and what was deleted is left out.
/// They come in the order of their series, one line a point with all its fields. The database
/// _internal is exported only if -database names it.
///
/// Before the points stand statements that make the databases and retention policies, as
/// influx -import wants them. For /write, leave them out with -lponly.
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
    #[arg(value_name = "SET", conflicts_with_all = ["host", "datadir"])]
    set: Option<String>,

    /// Export from the server at this address instead
    ///
    /// Its shards are streamed one after the other, as for a backup, and none of them is kept.
    #[arg(
        help_heading = "Server",
        long,
        value_name = "HOST",
        value_parser = values::address,
        conflicts_with = "datadir",
    )]
    host: Option<Address>,
    #[command(flatten)]
    directories: DirectoriesArgs,

    /// Write to this file, compressed if its name ends with .gz [default: standard output]
    ///
    /// It gets its name when it is whole. One that is there already is not replaced.
    #[arg(short, long, value_name = "FILE", help_heading = "How")]
    out: Option<PathBuf>,
    /// Leave out the statements before the points
    ///
    /// They make databases and retention policies. What is left is what /write takes. Of which
    /// database and policy the points are is not said then: -database and -retention select those
    /// of one.
    #[arg(long, help_heading = "How")]
    lponly: bool,
    /// How to treat line feeds in strings
    ///
    /// influx -import breaks such strings. keep: they stay, as /write takes them; escape: a backslash
    /// and an n take the place of each; fail: the export ends.
    #[arg(
        long,
        value_name = "keep|escape|fail",
        default_value = "keep",
        hide_possible_values = true,
        help_heading = "How"
    )]
    newline: NewlineArg,

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
  snap export -lponly -db db -rp autogen -measurement cpu -start 24h PATH | less
  snap export -host 127.0.0.1:8088 -database db -o db.lp.gz
  snap export -metadir /var/lib/influxdb/meta -datadir /var/lib/influxdb/data";

#[derive(Debug, Clone, Copy, ValueEnum)]
enum NewlineArg {
    Keep,
    Escape,
    Fail,
}

impl ExportArgs {
    pub(crate) fn run(&self, cancel: &Cancel, output: &Output) -> Ending {
        self.ensure_consistent(output)?;
        let options = self.options(cancel);
        let from = match &options.source {
            ExportSource::Server { client, .. } => client.address().to_string(),
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
        if report.tally.newlines > 0 && options.lines.newline == NewlineRule::Keep {
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

    fn ensure_consistent(&self, output: &Output) -> Result<(), Error> {
        match output.is_json() && self.out.is_none() {
            true => Err(ErrorKind::Usage
                .error("-json and the points would both go to standard output")
                .hint("write the points to a file, with -o FILE")),
            false => Ok(()),
        }
    }

    fn source(&self, cancel: &Cancel) -> ExportSource {
        match (&self.host, self.directories.named()) {
            (Some(host), _) => ExportSource::Server {
                client: Arc::new(self.connection.client(host.clone(), cancel)),
                retries: self.connection.retries,
            },
            (None, Some(directories)) => ExportSource::Directories(directories),
            (None, None) => ExportSource::Set {
                repository: values::repository(self.path.as_ref()),
                set: self.set.clone(),
            },
        }
    }

    fn options(&self, cancel: &Cancel) -> ExportOptions {
        ExportOptions {
            source: self.source(cancel),
            what: RestoreSelection {
                database: self.shards.database.clone(),
                retention_policy: self.shards.retention.clone(),
                shard: self.shards.shard,
                start: self.times.start,
                end: self.times.end,
                series: self.series.filter(),
                ..RestoreSelection::default()
            },
            lines: LineOptions {
                points_only: self.lponly,
                newline: match self.newline {
                    NewlineArg::Keep => NewlineRule::Keep,
                    NewlineArg::Escape => NewlineRule::Escape,
                    NewlineArg::Fail => NewlineRule::Fail,
                },
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
