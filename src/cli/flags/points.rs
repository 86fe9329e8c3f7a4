//! The flags that choose shards, times and series, common to the commands that read points. Each command
//! has them below a heading of its own.

use clap::Args;
use jiff::Timestamp;

use super::values;
use crate::ops::RestoreSelection;
use crate::tsm::series_filter::{MeasurementPattern, SeriesFilter, TagCondition};

/// Which shards.
#[derive(Debug, Args)]
pub(crate) struct ShardsArgs {
    /// Only this database
    #[arg(long, visible_alias = "db", value_name = "NAME")]
    pub(crate) database: Option<String>,
    /// Only this retention policy of -database
    #[arg(long, visible_alias = "rp", value_name = "NAME", requires = "database")]
    pub(crate) retention: Option<String>,
    /// Only this shard
    #[arg(long, value_name = "ID", value_parser = values::shard)]
    pub(crate) shard: Option<u64>,
}

/// Which times of points.
#[derive(Debug, Args)]
pub(crate) struct TimesArgs {
    /// Only points from T on, as 2026-11-20 or 24h (ago)
    #[arg(long, value_name = "T", value_parser = values::time)]
    pub(crate) start: Option<Timestamp>,
    /// Only points up to T
    #[arg(long, visible_alias = "stop", value_name = "T", value_parser = values::time)]
    pub(crate) end: Option<Timestamp>,
}

impl TimesArgs {
    /// Whether any time is given.
    pub(crate) fn are_given(&self) -> bool {
        self.start.is_some() || self.end.is_some()
    }
}

/// Which series. Where `HIDDEN` is set, the short help leaves them out.
#[derive(Debug, Args)]
pub(crate) struct SeriesArgs<const HIDDEN: bool> {
    /// Only series of this measurement; see -where too
    ///
    /// Its name, or /REGEX/ as in InfluxQL. Given several times, series of any of them.
    #[arg(
        long,
        value_name = "NAME",
        value_parser = values::measurement,
        hide_short_help = HIDDEN,
    )]
    measurement: Vec<MeasurementPattern>,
    /// Only series with this tag, as 'host=web1'
    ///
    /// 'TAG=VALUE', 'TAG!=VALUE', 'TAG=~/REGEX/' or 'TAG!~/REGEX/'. A tag that a series lacks is
    /// empty. Given several times, all have to hold.
    #[arg(
        long = "where",
        value_name = "CONDITION",
        value_parser = values::condition,
        hide_short_help = true,
    )]
    conditions: Vec<TagCondition>,
}

impl<const HIDDEN: bool> SeriesArgs<HIDDEN> {
    /// Whether series are chosen.
    pub(crate) fn are_given(&self) -> bool {
        !self.filter().takes_all()
    }

    /// The series.
    pub(crate) fn filter(&self) -> SeriesFilter {
        SeriesFilter {
            measurements: self.measurement.clone(),
            conditions: self.conditions.clone(),
        }
    }
}

/// What these flags choose, under the names that it has.
pub(crate) fn chosen<const HIDDEN: bool>(
    shards: &ShardsArgs,
    times: &TimesArgs,
    series: &SeriesArgs<HIDDEN>,
) -> RestoreSelection {
    RestoreSelection {
        database: shards.database.clone(),
        retention_policy: shards.retention.clone(),
        shard: shards.shard,
        start: times.start,
        end: times.end,
        series: series.filter(),
        ..RestoreSelection::default()
    }
}
