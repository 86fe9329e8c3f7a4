//! `snap forget` as it is typed.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Context;
use clap::Args;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use super::flags::values;
use super::info::asked_for;
use super::list::{kind, state};
use super::post_run::{After, AfterArgs};
use super::render::json;
use super::render::output::{Output, Tally, bytes, plural, seconds};
use super::render::table::table;
use super::render::terminal::{print_line, print_lines, visible};
use super::{Ending, OutputArgs};
use crate::cancel::Cancel;
use crate::ops::{ForgetOptions, ForgetReport, Group, Limit, Policy, Verdict, Within, forget};

/// Remove the sets that a retention policy does not keep
///
/// Each -keep-… keeps sets by itself; a set that none keeps is removed. Only complete sets count; the newest complete one and
/// what came after it stay in any case, and so do the sets that an increment which is kept stands on, those marked with snap
/// keep, and those of influxd, which has no record of them. Sets of different databases, policies, shards, ranges or servers are
/// judged apart. An hour, day, week, month or year without a set does not count.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub struct ForgetArgs {
    /// The backup directory [default: $SNAP_DIR, else ./backup]
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,

    /// Keep the N newest sets
    #[arg(long, value_name = "N", help_heading = "What to keep")]
    keep_last: Option<Limit>,
    /// Keep the newest set of each of the last N hours that have sets
    #[arg(long, value_name = "N", help_heading = "What to keep")]
    keep_hourly: Option<Limit>,
    /// Keep the newest set of each of the last N days that have sets
    #[arg(long, value_name = "N", help_heading = "What to keep")]
    keep_daily: Option<Limit>,
    /// Keep the newest set of each of the last N weeks (Monday to Sunday) that have sets
    #[arg(long, value_name = "N", help_heading = "What to keep")]
    keep_weekly: Option<Limit>,
    /// Keep the newest set of each of the last N months that have sets
    #[arg(long, value_name = "N", help_heading = "What to keep")]
    keep_monthly: Option<Limit>,
    /// Keep the newest set of each of the last N years that have sets
    #[arg(long, value_name = "N", help_heading = "What to keep")]
    keep_yearly: Option<Limit>,
    /// Keep all sets begun within D before the newest complete one: 7d, 2w, 24h, 1y5m7d2h (m: months)
    #[arg(long, value_name = "D", value_parser = values::within, help_heading = "What to keep")]
    keep_within: Option<Within>,
    /// Where hours, days, weeks, months and years begin: a name such as Europe/Berlin [default: UTC]
    #[arg(long, value_name = "TZ", value_parser = values::zone, help_heading = "What to keep")]
    timezone: Option<TimeZone>,

    /// Remove the sets of which no file is left, as after rm -rf PATH/*; without -keep-…, these alone
    #[arg(long, help_heading = "What to keep")]
    lost: bool,

    /// Say what would be removed, and remove nothing
    #[arg(long, help_heading = "How")]
    dry_run: bool,
    /// How long to wait for another run in the same directory to end
    #[arg(long, default_value = "0", value_name = "DURATION", value_parser = values::wait, help_heading = "How")]
    retry_lock: Duration,

    #[command(flatten)]
    after: AfterArgs,

    #[command(flatten)]
    pub(super) output: OutputArgs,
}

const EXAMPLES: &str = "\
N is a number, or unlimited.

Examples:
  snap forget -keep-last 10 -dry-run /var/backups/influxdb
  snap forget -keep-daily 7 -keep-weekly 5 -keep-monthly 12 /var/backups/influxdb
  snap forget -keep-within 14d -keep-yearly unlimited -timezone Europe/Berlin /var/backups/influxdb
  snap forget -lost /var/backups/influxdb                    after the files were removed by hand";

impl ForgetArgs {
    /// Runs the command.
    pub fn run(&self, cancel: &Cancel, output: &Output) -> Ending {
        let directory = values::directory(self.path.as_ref());
        let limit = |limit: Option<Limit>| limit.unwrap_or_default();
        let policy = Policy {
            last: limit(self.keep_last),
            hourly: limit(self.keep_hourly),
            daily: limit(self.keep_daily),
            weekly: limit(self.keep_weekly),
            monthly: limit(self.keep_monthly),
            yearly: limit(self.keep_yearly),
            within: self.keep_within.clone(),
            zone: self.timezone.clone().unwrap_or(TimeZone::UTC),
            lost: self.lost,
        };
        let (dry_run, retry_lock) = (self.dry_run, self.retry_lock);
        let options = ForgetOptions {
            directory: directory.clone(),
            policy,
            retry_lock,
            dry_run,
        };
        output.opening(&format!("applying the policy to {}", directory.display()));
        let report = forget(&options, cancel)?;
        output.keep(tally(&report));
        for id in &report.ended {
            let ended = if dry_run {
                "begun earlier, would be ended"
            } else {
                "begun earlier, is ended"
            };
            output.opening(&format!("the removal of set {id}, {ended}"));
        }
        if report.unrecorded > 0 {
            let sets = plural(report.unrecorded, "set");
            output.opening(&format!(
                "{sets} of influxd's stay: snap removes only what it has a record of"
            ));
        }
        if self.output.json {
            for group in &report.groups {
                group
                    .sets
                    .iter()
                    .try_for_each(|verdict| json::document("set", &described(group, verdict)))?;
            }
        } else if !output.is_quiet() {
            let one = report.groups.len() < 2;
            for group in &report.groups {
                let title = if one { String::new() } else { title(group) };
                print_lines(&format!("{title}{}\n", sets(group, &options.policy.zone)))
                    .context("writing to standard output")?;
            }
        }
        report
            .removed
            .left
            .iter()
            .for_each(|left| output.warning(left));
        if !report.read.is_empty() {
            output.warning(&being_read(&report.read));
        }
        if self.output.json {
            json::document(
                "summary",
                &summary(&report, &directory.display().to_string(), dry_run),
            )?;
        } else if !output.is_quiet() {
            print_line(&line(&report, dry_run)).context("writing to standard output")?;
        }
        Ok(None)
    }

    /// What follows the run.
    pub fn after(&self) -> After<'_> {
        let directory = values::directory(self.path.as_ref());
        After {
            command: "forget",
            args: &self.after,
            directory,
            host: None,
            dry_run: self.dry_run,
        }
    }
}

/// What is said of sets that stay because somebody reads them.
fn being_read(sets: &[String]) -> String {
    let named: Vec<&str> = sets.iter().take(5).map(String::as_str).collect();
    let more = match sets.len() - named.len() {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    format!(
        "{}{more}: a restore or verify is reading; what it needs stays until the next snap forget",
        named.join(", ")
    )
}

fn title(group: &Group) -> String {
    format!(
        "{}, server {}:\n",
        visible(&asked_for(&group.selection)),
        visible(&group.server)
    )
}

fn sets(group: &Group, zone: &TimeZone) -> String {
    let row = |verdict: &Verdict| {
        let Verdict { set, reasons } = verdict;
        let started = set.started.to_zoned(zone.clone());
        vec![
            set.id.clone(),
            started.strftime("%Y-%m-%d %H:%M:%S").to_string(),
            state(set.state).to_owned(),
            kind(set.kind).to_owned(),
            bytes(set.size),
            if reasons.is_empty() {
                "removed".to_owned()
            } else {
                words(verdict).join(", ")
            },
        ]
    };
    let name = zone.iana_name().unwrap_or("UTC");
    let heading = [
        "SET",
        &format!("STARTED ({name})"),
        "STATE",
        "KIND",
        "SIZE",
        "KEPT FOR",
    ];
    table(&heading, &group.sets.iter().map(row).collect::<Vec<_>>())
}

fn words(verdict: &Verdict) -> Vec<String> {
    verdict.reasons.iter().map(ToString::to_string).collect()
}

fn described(group: &Group, verdict: &Verdict) -> Value {
    let set = &verdict.set;
    json!({
        "id": set.id,
        "action": if verdict.is_kept() { "keep" } else { "remove" },
        "reasons": words(verdict),
        "started": set.started,
        "state": set.state,
        "kind": set.kind,
        "size": set.size,
        "kept": set.kept,
        "selection": group.selection,
        "server": group.server,
    })
}

fn counts(report: &ForgetReport) -> (usize, usize) {
    let sets = || report.groups.iter().flat_map(|group| &group.sets);
    let kept = sets().filter(|verdict| verdict.is_kept()).count();
    (kept + report.unrecorded, sets().count() - kept)
}

fn tally(report: &ForgetReport) -> Tally {
    let unkept = report
        .groups
        .iter()
        .flat_map(|group| &group.sets)
        .filter(|verdict| !verdict.is_kept());
    let removed: Vec<String> = report
        .ended
        .iter()
        .cloned()
        .chain(unkept.map(|verdict| verdict.set.id.clone()))
        .collect();
    Tally {
        bytes: Some(report.removed.bytes),
        files: Some(report.removed.files),
        sets: vec![("kept", counts(report).0), ("removed", removed.len())],
        removed: Some(removed),
        ..Tally::default()
    }
}

fn line(report: &ForgetReport, dry_run: bool) -> String {
    let (kept, unkept) = counts(report);
    let ended = if report.ended.is_empty() {
        String::new()
    } else {
        format!(" and {} begun earlier", report.ended.len())
    };
    let removed = &report.removed;
    let (files, freed) = (plural(removed.files, "file"), bytes(removed.bytes));
    if dry_run {
        return format!(
            "dry run: would keep {}, and remove {unkept}{ended}: {files}, {freed}",
            plural(kept, "set")
        );
    }
    let took = seconds(report.elapsed);
    format!(
        "kept {}, removed {unkept}{ended}: {files}, {freed} freed in {took}",
        plural(kept, "set")
    )
}

fn summary(report: &ForgetReport, directory: &str, dry_run: bool) -> Value {
    let (kept, removed) = counts(report);
    json!({
        "command": "forget",
        "directory": directory,
        "dry_run": dry_run,
        "kept": kept,
        "removed": removed,
        "ended": report.ended,
        "unrecorded": report.unrecorded,
        "files": report.removed.files,
        "bytes": report.removed.bytes,
        "left": report.removed.left,
        "in_use": report.read,
        "seconds": report.elapsed.as_secs_f64(),
    })
}
