//! `snap forget` as it is typed.

use anyhow::Result;
use clap::Args;
use jiff::tz::TimeZone;

use super::ending::Ending;
use super::flags::values;
use super::flags::{GraceArgs, LockArgs, OutputArgs, PolicyArgs};
use super::post_run::{After, AfterArgs};
use super::render::json;
use super::render::messages::forget::{ForgetSet, ForgetSummary, tally};
use super::render::output::Output;
use super::render::sets::{asked_for, kind_forms, state_of};
use super::render::table::{Cell, Column, Table};
use super::render::terminal::visible;
use super::render::width::columns;
use crate::cancel::Cancel;
use crate::ops::{ForgetOptions, ForgetReport, Group, Policy, Reason, Verdict, forget};
use crate::repository::{Location, SetId};
use crate::text::{few_names, plural, size};

/// Remove the sets that a retention policy does not keep
///
/// Each -keep flag keeps sets by itself; a set that none keeps is removed. Only complete sets
/// count. These stay in any case: the newest complete set and what came after it, sets that a kept
/// increment builds on, sets marked with `snap keep`, and sets by influxd, which have no record.
///
/// Sets of different databases, policies, shards, ranges or servers are judged apart. An hour, day,
/// week, month or year without a set does not count.
///
/// N is a number, or unlimited.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ForgetArgs {
    /// The backup directory, or its URL [default: $SNAP_DIR, else ./backup]
    #[arg(value_name = "PATH", value_parser = values::location())]
    pub(crate) path: Option<Location>,

    #[command(flatten)]
    keep: PolicyArgs,

    /// Remove the sets of which no file is left
    ///
    /// As after rm -rf PATH/*. Without a -keep flag, only these are removed.
    #[arg(long, help_heading = "What to keep", hide_short_help = true)]
    lost: bool,

    /// Print what would be removed; remove nothing
    #[arg(long, help_heading = "How")]
    dry_run: bool,
    #[command(flatten)]
    lock: LockArgs,
    #[command(flatten)]
    pub(crate) grace: GraceArgs,

    #[command(flatten)]
    after: AfterArgs,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

const EXAMPLES: &str = "\
  snap forget -keep-last 10 -dry-run /var/backups/influxdb
  snap forget -keep-daily 7 -keep-weekly 5 -keep-monthly 12 PATH
  snap forget -keep-within 14d -keep-yearly unlimited PATH";

impl ForgetArgs {
    pub(crate) fn run(&self, cancel: &Cancel, output: &Output) -> Ending {
        let repository = values::repository(self.path.as_ref());
        let (dry_run, retry_lock) = (self.dry_run, self.lock.retry_lock);
        let options = ForgetOptions {
            repository: repository.clone(),
            policy: self.keep.policy(self.lost),
            retry_lock,
            dry_run,
        };
        options.policy.ensure_keeps_something()?;
        output.opening(&format!("applying the policy to {repository}"));
        let report = output.while_running(cancel, |context| forget(&options, context))?;
        let summary = ForgetSummary::new(&report, &repository, self.grace.grace, dry_run);
        output.keep(tally(&report, &summary));
        report_special_sets(&report, dry_run, output);
        print_sets(&report, &options.policy, dry_run, output)?;
        for left in &report.removed.left {
            output.warning(left);
        }
        if let Some(kept) = kept_by_storage(&report.removed.kept) {
            output.warning(&kept);
        }
        if !report.read.is_empty() {
            output.warning(&being_read(&report.read));
        }
        output.closing(&summary, &summary.line())?;
        Ok(None)
    }

    pub(crate) fn after(&self) -> After<'_> {
        let repository = values::repository(self.path.as_ref());
        After {
            command: "forget",
            args: &self.after,
            repository,
            host: None,
            dry_run: self.dry_run,
        }
    }
}

/// Says which removals an earlier run had begun, and what is never removed.
fn report_special_sets(report: &ForgetReport, dry_run: bool, output: &Output) {
    let ended = if dry_run { "would be" } else { "is" };
    for id in &report.ended {
        output.opening(&format!(
            "the removal of set {id}, begun earlier, {ended} ended"
        ));
    }
    if report.unrecorded > 0 {
        let sets = plural(report.unrecorded, "set");
        output.opening(&format!(
            "{sets} of influxd's stay: snap removes only what it has a record of"
        ));
    }
}

fn print_sets(
    report: &ForgetReport,
    policy: &Policy,
    dry_run: bool,
    output: &Output,
) -> Result<()> {
    if output.is_json() {
        for group in &report.groups {
            let sets = group.sets.iter();
            sets.map(|verdict| ForgetSet::new(group, verdict))
                .try_for_each(|set| json::print(&set))?;
        }
        return Ok(());
    }
    if output.is_quiet() {
        return Ok(());
    }
    let has_one_group = report.groups.len() < 2;
    for group in &report.groups {
        if !has_one_group {
            output.lines(&title(group))?;
        }
        output.lines(&tables(group, &policy.zone, dry_run))?;
    }
    Ok(())
}

/// What the storage does not let go of: a few of many.
fn kept_by_storage(kept: &[String]) -> Option<String> {
    let (first, rest) = kept.split_first()?;
    Some(match rest.len() {
        0 => first.clone(),
        more => format!("{first}; so are {more} others"),
    })
}

/// What is said of sets that stay because somebody reads them.
fn being_read(sets: &[SetId]) -> String {
    format!(
        "{}: a restore or verify is reading; what it needs stays until the next snap forget",
        few_names(sets.iter().map(SetId::as_str))
    )
}

fn title(group: &Group) -> String {
    let server = group.server.to_string();
    format!(
        "{}, server {}:\n\n",
        visible(&asked_for(&group.selection)),
        visible(&server)
    )
}

/// The sets of a group that are kept, and those that are not.
fn tables(group: &Group, zone: &TimeZone, dry_run: bool) -> String {
    let (kept, removed): (Vec<&Verdict>, Vec<&Verdict>) =
        group.sets.iter().partition(|verdict| verdict.is_kept());
    let of = |verdicts: &[&Verdict], keeps| {
        if verdicts.is_empty() {
            return String::new();
        }
        let action = match (dry_run, keeps) {
            (true, true) => "would keep",
            (true, false) => "would remove",
            (false, true) => "kept",
            (false, false) => "removed",
        };
        let limit = columns();
        let table = sets_table(verdicts, keeps, zone, limit).print(limit).text;
        format!("{action} {}:\n{table}\n", plural(verdicts.len(), "set"))
    };
    of(&kept, true) + &of(&removed, false)
}

fn sets_table(verdicts: &[&Verdict], keeps: bool, zone: &TimeZone, limit: Option<usize>) -> Table {
    // Rather than the id of a set that needs this one, other columns go, as long as there are any.
    let reason = "needed by 20261120T080000Z".len();
    let narrowest = limit.map_or(reason, |limit| limit.saturating_sub(18).min(reason));
    let zone_name = zone.iana_name().unwrap_or("UTC");
    let mut table = Table::new(vec![
        Column::text("SET"),
        Column::text(format!("STARTED ({zone_name})")).goes(3),
        Column::text("KIND").shrinks_to(5).goes(1),
        Column::text("STATE").goes(2),
        Column::number("SIZE").goes(4),
        Column::number("FREED").shown_if(!keeps),
        Column::text("REASONS")
            .shrinks_to(narrowest)
            .shown_if(keeps),
    ]);
    for Verdict {
        set,
        reasons,
        freed,
    } in verdicts
    {
        let started = set.started.to_zoned(zone.clone());
        let reasons: Vec<String> = reasons.iter().map(in_words).collect();
        table.row(vec![
            set.id.as_str().into(),
            started.strftime("%Y-%m-%d %H:%M").to_string().into(),
            Cell::forms(kind_forms(set.kind)),
            state_of(set).into(),
            size(set.size).into(),
            size(freed.unwrap_or(0)).into(),
            Cell::names(&reasons),
        ]);
    }
    table
}

/// Why a set is kept, as restic says it.
fn in_words(reason: &Reason) -> String {
    match reason {
        Reason::Last
        | Reason::Hourly
        | Reason::Daily
        | Reason::Weekly
        | Reason::Monthly
        | Reason::Yearly => format!("{reason} set"),
        other => other.to_string(),
    }
}
