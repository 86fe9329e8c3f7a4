//! `snap check` as it is typed.

use std::time::Duration;

use clap::Args;
use jiff::Timestamp;

use super::ending::Ending;
use super::flags::OutputArgs;
use super::flags::values;
use super::post_run::{After, AfterArgs};
use super::render::json;
use super::render::messages::check::CheckResult;
use super::render::output::Output;
use crate::cancel::Cancel;
use crate::error::ErrorKind;
use crate::ops::{CheckOptions, check};
use crate::repository::Location;

/// Check that the newest set is new enough and complete, for monitoring
///
/// It prints one line. The exit code is 0 if the newest complete set was begun no longer ago than
/// -max-age, can be restored whole by the names and sizes of its files and of those that it builds
/// on, and does not lack most of what the set before it holds; else 1. It looks at the directory
/// only, and reads no shard: `snap verify` does.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CheckArgs {
    /// The backup directory, or its URL [default: $SNAP_DIR, else ./backup]
    #[arg(value_name = "PATH", value_parser = values::location())]
    pub(crate) path: Option<Location>,

    /// How old the set may be, as 26h
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    max_age: Duration,
    /// Only sets that hold this database
    #[arg(long, visible_alias = "db", value_name = "NAME")]
    database: Option<String>,

    /// How many shards may be gone, in percent
    ///
    /// Shards of the set before that have not expired and are not in the newest one.
    #[arg(
        long,
        default_value_t = 50,
        value_name = "PERCENT",
        value_parser = values::whole_number(0, 100_u8),
    )]
    max_lost_shards: u8,
    /// Accept a set without shards after one with some
    #[arg(long)]
    allow_empty: bool,

    #[command(flatten)]
    after: AfterArgs,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

const EXAMPLES: &str = "\
  snap check -max-age 26h /var/backups/influxdb     after a nightly backup
  snap check -max-age 26h -database telegraf /var/backups/influxdb";

impl CheckArgs {
    pub(crate) fn run(&self, cancel: &Cancel, output: &Output) -> Ending {
        let options = CheckOptions {
            repository: values::repository(self.path.as_ref()),
            database: self.database.clone(),
            max_age: self.max_age,
            now: Timestamp::now(),
            max_lost_shards: self.max_lost_shards,
            allow_empty: self.allow_empty,
        };
        let report = output.while_running(cancel, |context| check(&options, context))?;
        let result = CheckResult::new(&report, &options);
        output.keep(result.tally());
        if output.is_json() {
            json::print(&result)?;
        } else if !result.ok || !output.is_quiet() {
            output.line(&result.line())?;
        }
        Ok((!result.ok).then_some(ErrorKind::Failed))
    }

    pub(crate) fn after(&self) -> After<'_> {
        let repository = values::repository(self.path.as_ref());
        After {
            command: "check",
            args: &self.after,
            repository,
            host: None,
            dry_run: false,
        }
    }
}
