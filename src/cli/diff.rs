//! `snap diff` as it is typed.

use anyhow::Result;
use clap::Args;

use super::ending::Ending;
use super::flags::influxd::DIFF;
use super::flags::server::ConnectionArgs;
use super::flags::sides::side;
use super::flags::source::SourceArg;
use super::flags::{InfluxdArgs, OutputArgs, SeriesArgs, ShardsArgs, TimesArgs, chosen};
use super::render::differences::print_differences;
use super::render::json;
use super::render::messages::diff::{DiffState, DiffSummary, SidePlace};
use super::render::output::Output;
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, hint, kind_of, told};
use crate::ops::{DiffOptions, DiffReport, RestoreSelection, diff};
use crate::repository::Location;

/// Compare two sets, servers or data directories, point by point
///
/// A and B are each a backup, PATH or PATH::SET; a running influxd, influxd://HOST:PORT; or a
/// stopped one, influxd:///DIR with meta, data and wal in DIR. Shards are matched by database,
/// retention policy and time, whatever their ids and the borders of their groups. Points are those
/// that a query would see: files that overlap are merged, deleted points are left out, and what
/// only the WAL holds is read too.
///
/// Blocks of points that are the same bytes on both sides are the same without being unpacked.
/// Other points are: only in A, only in B, or in both with other fields or values. Floats are
/// compared by their bits.
///
/// The exit code is that of diff: 0 if both sides are the same, 1 if they are different, 2 if they
/// cannot be compared. It is 3 if something is damaged or missing, which is named, whatever was
/// found of the rest.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct DiffArgs {
    /// The first side: PATH, PATH::SET, influxd://HOST:PORT or influxd:///DIR
    ///
    /// PATH is a backup directory or its URL, SET an id, the beginning of one, or latest. Without
    /// SET it is the newest set. If the name of a directory has :: in it, write a slash or :: behind
    /// it.
    #[arg(value_name = "A", value_parser = side())]
    a: SourceArg,
    /// The second side
    #[arg(
        value_name = "B",
        value_parser = side(),
        required_unless_present_any = ["host", "datadir"],
        conflicts_with_all = ["host", "datadir"],
    )]
    b: Option<SourceArg>,

    #[command(flatten)]
    influxd: InfluxdArgs<DIFF>,

    /// Only ask whether B has all that A has
    ///
    /// What only B has is shown, and is no difference.
    #[arg(long, help_heading = "How")]
    contains: bool,

    #[command(flatten, next_help_heading = "What to compare")]
    shards: ShardsArgs,
    /// The name that the database has in B
    #[arg(
        long,
        value_name = "NAME",
        help_heading = "What to compare",
        requires = "database"
    )]
    newdb: Option<String>,
    /// The name that the retention policy has in B
    #[arg(
        long,
        value_name = "NAME",
        help_heading = "What to compare",
        requires = "retention",
        hide_short_help = true
    )]
    newrp: Option<String>,
    #[command(flatten, next_help_heading = "What to compare")]
    series: SeriesArgs<false>,
    #[command(flatten, next_help_heading = "What to compare")]
    times: TimesArgs,
    /// The database _internal too
    #[arg(long, help_heading = "What to compare", hide_short_help = true)]
    include_internal: bool,

    #[command(flatten)]
    connection: ConnectionArgs<true>,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

const EXAMPLES: &str = "\
  snap diff /var/backups/influxdb influxd://127.0.0.1:8088
  snap diff -contains -database db -newdb copy PATH::latest influxd://db2:8088
  snap diff PATH::20261120T080000Z PATH::20261121T080000Z
  snap diff PATH -metadir /var/lib/influxdb/meta -datadir /var/lib/influxdb/data";

/// What A and B can be.
const SIDES: &str = "A and B are each PATH, PATH::SET, influxd://HOST:PORT or influxd:///DIR";

impl DiffArgs {
    /// The repositories that were named.
    pub(crate) fn repositories(&self) -> Vec<&Location> {
        let sides = [Some(&self.a), self.b.as_ref()];
        let sides = sides.into_iter().flatten();
        sides.filter_map(SourceArg::repository).collect()
    }

    pub(crate) fn run(&self, cancel: &Cancel, output: &Output) -> Ending {
        self.compare(cancel, output).map_err(as_trouble)
    }

    fn compare(&self, cancel: &Cancel, output: &Output) -> Ending {
        let sides = [&self.a, &self.second()?];
        let [a, b] = sides.map(|side| side.clone().asked_by(&self.connection, cancel));
        let options = self.options();
        let report = output.while_running(cancel, |context| diff(&a, &b, &options, context))?;
        let places = [0, 1].map(|at| place(sides[at], &report, at));
        let summary = DiffSummary::new(&report, &places);
        if output.is_json() {
            report.policies.iter().try_for_each(json::print)?;
            report.measurements.iter().try_for_each(json::print)?;
        } else {
            for (side, missing) in &report.missing {
                output.fault(&format!("not compared: {side}: {missing}"), None);
            }
            if !output.is_quiet() {
                self.print(&report, &places, output)?;
            }
        }
        if summary.is_empty() {
            output.warning("nothing was compared: neither side has such points");
        }
        output.closing(&summary, &summary.line())?;
        Ok(match summary.state {
            DiffState::Same => None,
            DiffState::Different => Some(ErrorKind::Failed),
            DiffState::Incomplete => Some(ErrorKind::Partial),
        })
    }

    /// What B is.
    fn second(&self) -> Result<SourceArg, Error> {
        let named = self.b.clone().or_else(|| self.influxd.named());
        // clap has asked for one of them.
        named.ok_or_else(|| ErrorKind::Usage.error("diff needs B"))
    }

    fn options(&self) -> DiffOptions {
        DiffOptions {
            what: RestoreSelection {
                new_database: self.newdb.clone(),
                new_retention_policy: self.newrp.clone(),
                ..chosen(&self.shards, &self.times, &self.series)
            },
            include_internal: self.include_internal,
            contains: self.contains,
        }
    }

    fn print(&self, report: &DiffReport, places: &[SidePlace; 2], output: &Output) -> Result<()> {
        let [a, b] = places;
        output.line(&format!("A: {}", a.words()))?;
        output.line(&format!("B: {}", b.words()))?;
        print_differences(report, self.output.is_verbose(), output)
    }
}

/// The error of a comparison that came to nothing: of exit code 2, as 1 says that the sides are
/// different.
fn as_trouble(error: anyhow::Error) -> anyhow::Error {
    match kind_of(&error) {
        ErrorKind::Failed => {}
        // No side has a name in the environment.
        kind @ ErrorKind::NoBackup
            if hint(&error).is_some_and(|hint| hint.contains("SNAP_DIR")) =>
        {
            return kind.error(told(&error)).hint(SIDES).into();
        }
        _ => return error,
    }
    let trouble = ErrorKind::Usage.error(told(&error));
    match hint(&error) {
        Some(advice) => trouble.hint(advice).into(),
        None => trouble.into(),
    }
}

fn place(side: &SourceArg, report: &DiffReport, at: usize) -> SidePlace {
    let (directory, host) = match side {
        SourceArg::Set { repository, .. } => (Some(repository.to_string()), None),
        SourceArg::Server(address) => (None, Some(address.to_string())),
        SourceArg::Directories(directories) => {
            (None, Some(directories.datadir.display().to_string()))
        }
    };
    SidePlace {
        directory,
        host,
        set: report.sets[at].as_ref().map(|set| set.as_str().to_owned()),
        shards: report.shards[at],
    }
}
