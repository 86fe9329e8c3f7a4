//! `snap stats` as it is typed.

use std::cmp::Reverse;

use anyhow::Result;
use clap::{Args, ValueEnum};
use jiff::Timestamp;

use super::ending::Ending;
use super::flags::influxd::STATS;
use super::flags::server::ServerArgs;
use super::flags::values;
use super::flags::{InfluxdArgs, OutputArgs, ShardsArgs};
use super::render::json;
use super::render::messages::stats::{StatsSummary, damage_line};
use super::render::output::Output;
use super::render::table::{Cell, Column, Table, time};
use super::render::width::columns;
use crate::cancel::Cancel;
use crate::error::ErrorKind;
use crate::ops::{
    FieldStats, MeasurementStats, PolicyStats, StatsAmount, StatsOptions, StatsReport, stats,
};
use crate::repository::{Location, Selection};
use crate::text::{few_names, plural, size};
use crate::tsm::series_filter::{MeasurementPattern, SeriesFilter};

/// Show what takes up space: measurements, series, fields and tags
///
/// By database, retention policy and measurement: series, values of fields, bytes, times, types of
/// fields and their conflicts, values of tags, and what is deleted but not yet compacted away. Of a
/// set, as a restore would give it; with -host of a running server, or with -metadir and -datadir
/// of a stopped one.
///
/// Only indexes are read, of which values are estimated; -exact counts them. Series and values of
/// tags are counted, up to 262,144 of one kind; beyond, they are estimates, and marked with ~.
///
/// The exit code is 4 if something is damaged: it is named, and not counted. It is 3 if shards are
/// missing.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct StatsArgs {
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

    #[command(flatten)]
    influxd: InfluxdArgs<STATS>,

    #[command(flatten, next_help_heading = "What to count")]
    shards: ShardsArgs,
    /// Only this measurement
    ///
    /// Its name, or /REGEX/ as in InfluxQL. Given several times, any of them.
    #[arg(
        long,
        value_name = "NAME",
        value_parser = values::measurement,
        help_heading = "What to count",
    )]
    measurement: Vec<MeasurementPattern>,
    /// The database _internal too
    #[arg(long, help_heading = "What to count", hide_short_help = true)]
    include_internal: bool,

    /// Count values, and do not estimate them
    ///
    /// The times in all blocks are read, and nothing else of them is unpacked.
    #[arg(long, help_heading = "How")]
    exact: bool,
    /// What measurements are sorted by: bytes, series, points or name
    #[arg(
        long,
        default_value = "bytes",
        value_name = "KIND",
        help_heading = "How"
    )]
    sort: SortArg,
    /// Show only so many measurements
    #[arg(
        long,
        value_name = "N",
        value_parser = values::whole_number(1, u64::MAX),
        help_heading = "How",
    )]
    top: Option<u64>,
    #[command(flatten)]
    server: ServerArgs,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// What measurements are sorted by, the largest first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum SortArg {
    Bytes,
    Series,
    Points,
    Name,
}

const EXAMPLES: &str = "\
  snap stats -top 20 /var/backups/influxdb      what takes most space
  snap stats -sort series -database telegraf    where the series are
  snap stats -host 127.0.0.1:8088               a running influxd";

/// How many conflicts of types are told to people.
const CONFLICTS_SHOWN: usize = 10;

impl StatsArgs {
    pub(crate) fn run(&self, cancel: &Cancel, output: &Output) -> Ending {
        let source = self.influxd.or_set(self.path.as_ref(), self.set.as_deref());
        let source = source.asked_by(&self.server.connection, cancel);
        let (options, place) = (self.options(), source.to_string());
        let counted = output.while_running(cancel, |context| stats(&source, &options, context));
        let mut report = counted?;
        self.sort(&mut report.measurements);
        for damage in &report.damage {
            match output.is_json() {
                true => json::print(damage)?,
                false => output.fault(&damage_line(damage), None),
            }
        }
        let summary = StatsSummary::new(&report, &place, self.exact);
        match output.is_json() {
            true => self.print_json(&report)?,
            false if output.is_quiet() => {}
            false => self.print_text(&report, output)?,
        }
        output.closing(&summary, &summary.line())?;
        Ok(match (report.damage.len(), report.missing.len()) {
            (0, 0) => None,
            (0, _) => Some(ErrorKind::Partial),
            _ => Some(ErrorKind::Damage),
        })
    }

    fn options(&self) -> StatsOptions {
        StatsOptions {
            selection: Selection {
                database: self.shards.database.clone(),
                retention_policy: self.shards.retention.clone(),
                shard: self.shards.shard,
                include_internal: self.include_internal,
                ..Selection::default()
            },
            series: SeriesFilter {
                measurements: self.measurement.clone(),
                ..SeriesFilter::default()
            },
            exact: self.exact,
            jobs: self.server.jobs.into(),
        }
    }

    /// They come by database, policy and name: of equal ones that order stays.
    fn sort(&self, measurements: &mut [MeasurementStats]) {
        match self.sort {
            SortArg::Bytes => measurements.sort_by_key(|one| Reverse(one.amount.size)),
            SortArg::Series => measurements.sort_by_key(|one| Reverse(one.series)),
            SortArg::Points => measurements.sort_by_key(|one| Reverse(one.points)),
            SortArg::Name => {
                measurements.sort_by(|one, other| one.measurement.cmp(&other.measurement));
            }
        }
    }

    /// The measurements that are shown.
    fn shown<'a>(&self, report: &'a StatsReport) -> &'a [MeasurementStats] {
        let top = self.top.and_then(|top| usize::try_from(top).ok());
        let all = &report.measurements;
        &all[..top.unwrap_or(all.len()).min(all.len())]
    }

    fn print_json(&self, report: &StatsReport) -> Result<()> {
        report.databases.iter().try_for_each(json::print)?;
        report.retention_policies.iter().try_for_each(json::print)?;
        self.shown(report).iter().try_for_each(json::print)
    }

    fn print_text(&self, report: &StatsReport, output: &Output) -> Result<()> {
        if report.measurements.is_empty() {
            return output.line("no series");
        }
        let limit = columns();
        let mut text = policies_table(&report.retention_policies, self.exact)
            .print(limit)
            .text;
        let shown = self.shown(report);
        text.push('\n');
        text.push_str(&measurements_table(shown, self.exact).print(limit).text);
        if self.output.is_verbose() {
            text.push('\n');
            text.push_str(&fields_table(shown, self.exact).print(limit).text);
        }
        output.lines(&format!("{text}\n"))?;
        let hidden = report.measurements.len() - shown.len();
        if hidden > 0 {
            output.line(&format!("and {} more", plural(hidden, "measurement")))?;
        }
        warn_of_conflicts(&report.measurements, output);
        Ok(())
    }
}

/// Tells of fields that have several types.
fn warn_of_conflicts(measurements: &[MeasurementStats], output: &Output) {
    let mut conflicts = measurements.iter().flat_map(|of| {
        let fields = of.fields.iter().filter(|field| field.conflict.is_some());
        fields.map(move |field| conflict(of, field))
    });
    for text in conflicts.by_ref().take(CONFLICTS_SHOWN) {
        output.warning(&text);
    }
    let more = conflicts.count();
    if more > 0 {
        output.warning(&format!(
            "and {} more with several types",
            plural(more, "field")
        ));
    }
}

/// A field that has several types, and where.
fn conflict(of: &MeasurementStats, field: &FieldStats) -> String {
    let types = field.types.iter().map(|of| match of.shards {
        1 => format!("{} in shard {}", of.name, of.shard),
        count => format!("{} in {count} shards", of.name),
    });
    let types: Vec<String> = types.collect();
    let within = match &field.conflicting_shard_ids[..] {
        [] => String::new(),
        [shard] => format!("; in shard {shard} its files disagree"),
        shards => {
            let shards: Vec<String> = shards.iter().map(u64::to_string).collect();
            let names = few_names(shards.iter().map(String::as_str));
            format!(
                "; in {} its files disagree ({names})",
                plural(field.conflicting_shard_count, "shard")
            )
        }
    };
    format!(
        "field '{}' of measurement '{}' ({}.{}) has several types: {}{within}",
        field.field,
        of.measurement,
        of.database,
        of.retention_policy,
        types.join(", ")
    )
}

/// A number, marked if it is an estimate.
fn number(count: u64, is_estimate: bool) -> String {
    match is_estimate {
        true => format!("~{count}"),
        false => count.to_string(),
    }
}

/// Which part of the values is deleted, or nothing where none is.
fn deleted(amount: &StatsAmount) -> String {
    let stored = amount.values.saturating_add(amount.deleted_values);
    let share = 100.0 * amount.deleted_values as f64 / stored.max(1) as f64;
    match amount.deleted_values {
        0 => "-".to_owned(),
        _ if share < 0.1 => "<0.1%".to_owned(),
        _ => format!("{share:.1}%"),
    }
}

fn when(time_of: Option<Timestamp>) -> String {
    time_of.map_or_else(|| "-".to_owned(), time)
}

fn is_any_deleted<'a>(mut amounts: impl Iterator<Item = &'a StatsAmount>) -> bool {
    amounts.any(|amount| amount.deleted_values > 0)
}

fn policies_table(policies: &[PolicyStats], exact: bool) -> Table {
    let has_deletes = is_any_deleted(policies.iter().map(|policy| &policy.amount));
    let mut table = Table::new(vec![
        Column::text("DATABASE").shrinks_to(12),
        Column::text("POLICY").shrinks_to(8),
        Column::number("SHARDS").goes(3),
        Column::number("MEASUREMENTS").goes(4),
        Column::number("SERIES"),
        Column::number("POINTS"),
        Column::number("VALUES").goes(5),
        Column::number("SIZE"),
        Column::number("DELETED").goes(6).shown_if(has_deletes),
        Column::text("FIRST").goes(2),
        Column::text("LAST").goes(1),
    ]);
    for policy in policies {
        let amount = &policy.amount;
        table.row(vec![
            policy.database.as_str().into(),
            policy.retention_policy.as_str().into(),
            policy.shards.to_string().into(),
            policy.measurements.to_string().into(),
            number(policy.series, policy.series_is_estimate).into(),
            number(policy.points, !exact).into(),
            number(amount.values, !exact).into(),
            size(amount.size).into(),
            deleted(amount).into(),
            when(amount.first_time).into(),
            when(amount.last_time).into(),
        ]);
    }
    table
}

fn measurements_table(measurements: &[MeasurementStats], exact: bool) -> Table {
    let has_deletes = is_any_deleted(measurements.iter().map(|of| &of.amount));
    let mut table = Table::new(vec![
        Column::text("DATABASE").shrinks_to(12).goes(9),
        Column::text("POLICY").shrinks_to(8).goes(8),
        Column::text("MEASUREMENT").shrinks_to(16),
        Column::number("SERIES"),
        Column::number("POINTS"),
        Column::number("VALUES").goes(4),
        Column::number("SIZE"),
        Column::number("DELETED").goes(7).shown_if(has_deletes),
        Column::text("FIRST").goes(2),
        Column::text("LAST").goes(1),
        Column::text("FIELDS").shrinks_to(12).goes(5),
        Column::text("TAGS").shrinks_to(12).goes(6),
    ]);
    for of in measurements {
        let amount = &of.amount;
        let fields = of.fields.iter().map(field_with_types);
        let tags = of.tags.iter().map(|tag| {
            let values = number(tag.values, tag.values_is_estimate);
            format!("{} {values}", tag.tag)
        });
        table.row(vec![
            of.database.as_str().into(),
            of.retention_policy.as_str().into(),
            of.measurement.as_str().into(),
            number(of.series, of.series_is_estimate).into(),
            number(of.points, !exact).into(),
            number(amount.values, !exact).into(),
            size(amount.size).into(),
            deleted(amount).into(),
            when(amount.first_time).into(),
            when(amount.last_time).into(),
            Cell::names(&fields.collect::<Vec<_>>()),
            Cell::names(&tags.collect::<Vec<_>>()),
        ]);
    }
    table
}

fn field_with_types(field: &FieldStats) -> String {
    let types: Vec<&str> = field.types.iter().map(|of| &*of.name).collect();
    format!("{} {}", field.field, types.join("/"))
}

/// The fields of measurements one by one.
fn fields_table(measurements: &[MeasurementStats], exact: bool) -> Table {
    let mut table = Table::new(vec![
        Column::text("DATABASE").shrinks_to(12).goes(2),
        Column::text("POLICY").shrinks_to(8).goes(1),
        Column::text("MEASUREMENT").shrinks_to(16),
        Column::text("FIELD").shrinks_to(16),
        Column::text("TYPE"),
        Column::number("VALUES"),
        Column::number("BLOCKS").goes(3),
        Column::number("SIZE"),
    ]);
    for of in measurements {
        for field in &of.fields {
            let types: Vec<&str> = field.types.iter().map(|of| &*of.name).collect();
            table.row(vec![
                of.database.as_str().into(),
                of.retention_policy.as_str().into(),
                of.measurement.as_str().into(),
                field.field.as_str().into(),
                types.join("/").into(),
                number(field.amount.values, !exact).into(),
                field.amount.blocks.to_string().into(),
                size(field.amount.size).into(),
            ]);
        }
    }
    table
}
