//! `snap check` as it is typed.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use jiff::Timestamp;
use serde_json::json;

use super::flags::values;
use super::post_run::{After, AfterArgs};
use super::render::json;
use super::render::output::{Output, Tally, bytes, plural};
use super::render::terminal::print_line;
use super::{Ending, OutputArgs, list};
use crate::error::ErrorKind;
use crate::ops::{CheckOptions, CheckReport, check, length};

/// Say whether the newest complete set is new enough and its files are there: for monitoring
///
/// Prints one line. Exit code 0 where the newest complete set was begun no longer ago than -max-age, can be restored whole by the
/// names and sizes of its files and of those that an increment goes on from, and does not lack most of what the set before it
/// holds; 1 where not. Nothing but the directory is looked at, and no shard is read: for that there is snap verify.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub struct CheckArgs {
    /// The backup directory [default: $SNAP_DIR, else ./backup]
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,

    /// How long ago the set may have been begun
    #[arg(long, value_name = "DURATION", value_parser = values::duration)]
    max_age: Duration,
    /// Look for a set that took this database
    #[arg(long, visible_alias = "db", value_name = "NAME")]
    database: Option<String>,

    /// How many of the shards that the set before it holds may be gone without having expired, in percent
    #[arg(long, default_value_t = 50, value_name = "PERCENT", value_parser = clap::value_parser!(u8).range(0..=100))]
    max_lost_shards: u8,
    /// Accept a set without shards although the set before it has some
    #[arg(long)]
    allow_empty: bool,

    #[command(flatten)]
    after: AfterArgs,

    #[command(flatten)]
    pub(super) output: OutputArgs,
}

const EXAMPLES: &str = "\
Examples:
  snap check -max-age 26h /var/backups/influxdb              after a nightly backup
  snap check -max-age 26h -database db /var/backups/influxdb";

impl CheckArgs {
    /// Runs the command.
    pub fn run(&self, output: &Output) -> Ending {
        let directory = values::directory(self.path.as_ref());
        let options = CheckOptions {
            directory: directory.clone(),
            database: self.database.clone(),
            max_age: self.max_age,
            now: Timestamp::now(),
            max_lost_shards: self.max_lost_shards,
            allow_empty: self.allow_empty,
        };
        let report = check(&options)?;
        let failed = !report.faults.is_empty();
        output.keep(Tally {
            set: report.set.as_ref().map(|set| set.id.clone()),
            wrong: report.faults.clone(),
            faults: Some(report.faults.len() as u64),
            newest: report.set.as_ref().map(|set| set.started),
            lost_databases: report.lost_shards.map(|_| report.lost_databases.len()),
            shards: report
                .lost_shards
                .map(|lost| ("lost", lost))
                .into_iter()
                .collect(),
            ..Tally::default()
        });
        if self.output.json {
            let mut document = serde_json::to_value(&report)?;
            document["ok"] = json!(!failed);
            document["directory"] = json!(directory.to_string_lossy());
            document["database"] = json!(self.database);
            document["max_age_seconds"] = json!(self.max_age.as_secs());
            json::document("check", &document)?;
        } else if failed || !output.is_quiet() {
            // One line either way: it is what monitoring shows.
            print_line(&format!("{}, in {}", line(&report), directory.display()))
                .context("writing to standard output")?;
        }
        Ok(failed.then_some(ErrorKind::Failed))
    }

    /// What follows the run.
    pub fn after(&self) -> After<'_> {
        let directory = values::directory(self.path.as_ref());
        After {
            command: "check",
            args: &self.after,
            directory,
            host: None,
            dry_run: false,
        }
    }
}

fn line(report: &CheckReport) -> String {
    let notes: String = report
        .notes
        .iter()
        .map(|note| format!("; {note}"))
        .collect();
    match &report.set {
        Some(set) if report.faults.is_empty() => {
            let age = length(Duration::from_secs(report.age_seconds.unwrap_or(0)));
            let (state, shards, size) = (
                list::state(set.state),
                plural(set.shards, "shard"),
                bytes(set.size),
            );
            format!(
                "ok: set {} ({state}), {age} old, {shards}, {size}{notes}",
                set.id
            )
        }
        _ => format!("failed: {}{notes}", report.faults.join("; ")),
    }
}
