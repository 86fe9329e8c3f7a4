//! The flags that say which sets a retention policy keeps.

use clap::Args;
use jiff::tz::TimeZone;

use super::values;
use crate::ops::{Limit, Policy, Within};

/// Which sets are kept, or copied.
#[derive(Debug, Args)]
#[command(next_help_heading = "What to keep")]
pub(crate) struct PolicyArgs {
    /// Keep the N newest sets
    #[arg(long, value_name = "N")]
    keep_last: Option<Limit>,
    /// Keep the newest set of each of the last N hours
    #[arg(long, value_name = "N")]
    keep_hourly: Option<Limit>,
    /// Keep the newest set of each of the last N days
    #[arg(long, value_name = "N")]
    keep_daily: Option<Limit>,
    /// Keep the newest set of each of the last N weeks
    ///
    /// Weeks begin on Monday.
    #[arg(long, value_name = "N")]
    keep_weekly: Option<Limit>,
    /// Keep the newest set of each of the last N months
    #[arg(long, value_name = "N")]
    keep_monthly: Option<Limit>,
    /// Keep the newest set of each of the last N years
    #[arg(long, value_name = "N")]
    keep_yearly: Option<Limit>,
    /// Keep all sets of the last D, as 7d or 1y5m
    ///
    /// D is counted back from the newest complete set, in years, months, weeks, days and hours:
    /// 1y5m7d2h, 2w.
    #[arg(long, value_name = "D", value_parser = values::within)]
    keep_within: Option<Within>,
    /// Where days begin, as Europe/Berlin [default: UTC]
    #[arg(long, value_name = "TZ", value_parser = values::zone)]
    timezone: Option<TimeZone>,
}

impl PolicyArgs {
    /// The policy; with `lost`, sets of which no file is left are not kept.
    pub(crate) fn policy(&self, lost: bool) -> Policy {
        Policy {
            last: self.keep_last.unwrap_or_default(),
            hourly: self.keep_hourly.unwrap_or_default(),
            daily: self.keep_daily.unwrap_or_default(),
            weekly: self.keep_weekly.unwrap_or_default(),
            monthly: self.keep_monthly.unwrap_or_default(),
            yearly: self.keep_yearly.unwrap_or_default(),
            within: self.keep_within.clone(),
            zone: self.timezone.clone().unwrap_or(TimeZone::UTC),
            lost,
        }
    }

    /// Whether any set was said to be kept.
    pub(crate) fn is_given(&self) -> bool {
        let limits = [
            self.keep_last,
            self.keep_hourly,
            self.keep_daily,
            self.keep_weekly,
            self.keep_monthly,
            self.keep_yearly,
        ];
        limits.iter().any(Option::is_some) || self.keep_within.is_some()
    }
}
