//! `snap list` as it is typed.

use std::time::Duration;

use anyhow::Result;
use clap::Args;
use jiff::Timestamp;

use super::ending::Ending;
use super::flags::OutputArgs;
use super::flags::values;
use super::render::json;
use super::render::output::Output;
use super::render::sets::{
    complaint, kind_forms, nothing_newer, number_in_names, state_of, unproven,
};
use super::render::table::{Cell, Column, Table, date, ends, paragraph, time};
use super::render::terminal::visible;
use super::render::width::columns as columns_of_output;
use crate::cancel::Cancel;
use crate::error::ErrorKind;
use crate::ops::{ListReport, SetSummary, list};
use crate::repository::{Location, where_backups_are};
use crate::sizes::total;
use crate::text::{age, plural, size};

/// List the sets in a backup directory, oldest first
///
/// Sets by snap and by influxd are listed, legacy and portable. influxd does not record what a run
/// was asked for: of its sets, state and kind are unknown, and legacy files with the same number
/// count as one set.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ListArgs {
    /// The backup directory, or its URL [default: $SNAP_DIR, else ./backup]
    #[arg(value_name = "PATH", value_parser = values::location())]
    pub(crate) path: Option<Location>,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

const EXAMPLES: &str = "\
  snap list /var/backups/influxdb";

impl ListArgs {
    pub(crate) fn run(&self, cancel: &Cancel, output: &Output) -> Ending {
        let repository = values::repository(self.path.as_ref());
        let listed = output.while_running(cancel, |context| list(&repository, context))?;
        listed
            .unreadable
            .iter()
            .for_each(|error| output.warning(error));
        let is_damaged = !listed.unreadable.is_empty();
        if listed.sets.is_empty() && !is_damaged {
            return Err(ErrorKind::NoBackup
                .error(format!("{repository} holds no backup"))
                .hint(where_backups_are(&repository.to_string()))
                .into());
        }
        for id in &listed.half_removed {
            output.warning(&format!(
                "set {id} is half removed, and counts no more: the next snap forget or backup ends \
                 that"
            ));
        }
        if output.is_json() {
            listed.sets.iter().try_for_each(json::print)?;
        } else if !output.is_quiet() {
            self.print(&listed, &repository, output)?;
        }
        Ok(is_damaged.then_some(ErrorKind::Damage))
    }

    fn print(&self, listed: &ListReport, repository: &Location, output: &Output) -> Result<()> {
        let (limit, verbose) = (columns_of_output(), self.output.is_verbose());
        let table = sets_table(&listed.sets, Timestamp::now(), verbose);
        let printed = table.print(limit);
        output.lines(&printed.text)?;
        warn_of_faults(listed, output);
        // Who did not ask for all columns does not miss them.
        if verbose && !printed.left_out.is_empty() {
            output.opening(&format!(
                "there is no room for {}: make the terminal wider, or print to a pipe",
                printed.left_out.join(", ")
            ));
        }
        let noted = listed.sets.iter().filter_map(|set| {
            let (since, note) = set.kept_since.zip(set.note.as_deref())?;
            let begin = format!("kept {} since {}: ", set.id, date(since));
            Some(paragraph(&begin, note, limit))
        });
        let totals = visible(&totals(&listed.sets, repository)).into_owned();
        output.lines(&format!("\n{}{totals}\n", noted.collect::<String>()))
    }
}

fn warn_of_faults(listed: &ListReport, output: &Output) {
    if let Some(emptied) = &listed.emptied {
        let hint = emptied.hint.as_deref().unwrap_or_default();
        output.warning(&format!("{emptied}: {hint}"));
    } else {
        for set in &listed.sets {
            if let Some(complaint) = complaint(set) {
                output.warning(&format!("set {}: {complaint}", set.id));
            }
        }
    }
    for text in listed.sets.iter().filter_map(unproven) {
        output.warning(&text);
    }
}

/// The sets as a table.
fn sets_table(sets: &[SetSummary], now: Timestamp, verbose: bool) -> Table {
    let has_numbers = verbose && sets.iter().any(|set| number_in_names(set).is_some());
    // Most directories have no such sets.
    let has_kept = sets.iter().any(|set| set.kept_since.is_some());
    // Where there is no room for all, those go first that tell least of whether a set is of use.
    let mut table = Table::new(vec![
        Column::text("SET"),
        Column::text("AGE").goes(9),
        Column::text("STARTED (UTC)").goes(4).shown_if(verbose),
        Column::text("LAYOUT").goes(1).shown_if(verbose),
        Column::number("NN").goes(7).shown_if(has_numbers),
        Column::text("KIND").shrinks_to(5).goes(5),
        Column::text("STATE"),
        Column::text("KEPT").goes(6).shown_if(has_kept),
        Column::number("SIZE").goes(8),
        Column::number("ADDED").goes(4),
        Column::number("SHARDS").goes(3),
        Column::text("FROM").goes(2).shown_if(verbose),
        Column::text("TO").goes(2).shown_if(verbose),
        Column::text("DATABASES").shrinks_to(9).goes(7),
    ]);
    for set in sets {
        let [from, to] = group_times(set);
        table.row(vec![
            set.id.as_str().into(),
            age_at(set, now).into(),
            time(set.started).into(),
            set.layout.to_string().into(),
            number_in_names(set)
                .unwrap_or_else(|| "-".to_owned())
                .into(),
            Cell::forms(kind_forms(set.kind)),
            state_of(set).into(),
            set.kept_since.map_or("-", |_| "yes").into(),
            size(set.size).into(),
            size(set.added).into(),
            set.shards.to_string().into(),
            from.into(),
            to.into(),
            match nothing_newer(set) {
                Some(forms) => Cell::forms(forms.iter().map(String::as_str)),
                None => Cell::names(&set.databases),
            },
        ]);
    }
    table
}

/// How long ago a run began; nothing where a clock is wrong.
fn age_at(set: &SetSummary, now: Timestamp) -> String {
    let since = now.duration_since(set.started);
    Duration::try_from(since).map_or_else(|_| "-".to_owned(), age)
}

/// From when to when the shard groups are of which a set has files.
fn group_times(set: &SetSummary) -> [String; 2] {
    let times = set.start_time.zip(set.end_time);
    times.map_or_else(
        || ["-", "-"].map(str::to_owned),
        |(start, end)| ends(start, end),
    )
}

/// How many sets there are, and what they take together.
fn totals(sets: &[SetSummary], repository: &Location) -> String {
    let whole = total(sets.iter().map(|set| set.size));
    let added = total(sets.iter().map(|set| set.added));
    let shared = match whole > added {
        true => format!(" ({} without sharing)", size(whole)),
        false => String::new(),
    };
    let (count, added) = (plural(sets.len(), "set"), size(added));
    format!("{count}, {added} on disk{shared}, in {repository}")
}
