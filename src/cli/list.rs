//! `snap list` as it is typed.

use std::path::PathBuf;

use clap::Args;

use super::ending::Ending;
use super::flags::OutputArgs;
use super::flags::values;
use super::render::json;
use super::render::output::Output;
use super::render::sets::{complaint, kind, state_of, unproven};
use super::render::table::{interval, table, time};
use crate::cancel::Cancel;
use crate::error::ErrorKind;
use crate::ops::{ListReport, SetSummary, list};
use crate::text::{plural, size};

/// List the sets in a backup directory, oldest first
///
/// Sets by snap and by influxd are listed, legacy and portable. influxd does not record what a run
/// was asked for: of its sets, state and kind are unknown, and legacy files with the same number
/// count as one set.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct ListArgs {
    /// The backup directory [default: $SNAP_DIR, else ./backup]
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

const EXAMPLES: &str = "\
  snap list /var/backups/influxdb";

impl ListArgs {
    pub(crate) fn run(&self, cancel: &Cancel, output: &Output) -> Ending {
        let directory = values::directory(self.path.as_ref());
        let listed = output.while_running(cancel, |context| list(&directory, context))?;
        listed
            .unreadable
            .iter()
            .for_each(|error| output.warning(error));
        let is_damaged = !listed.unreadable.is_empty();
        if listed.sets.is_empty() && !is_damaged {
            return Err(ErrorKind::NoBackup
                .error(format!("{} holds no backup", directory.display()))
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
            output.lines(&rendered(&listed.sets))?;
            warn_of_faults(&listed, output);
            let count = plural(listed.sets.len(), "set");
            output.opening(&format!("{count} in {}", directory.display()));
        }
        Ok(is_damaged.then_some(ErrorKind::Damage))
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

/// Before which column marks are shown.
const MARKED: usize = 5;

/// The sets as a table.
fn rendered(sets: &[SetSummary]) -> String {
    let mut heading = vec![
        "SET",
        "STARTED (UTC)",
        "FORMAT",
        "KIND",
        "STATE",
        "SHARDS",
        "SIZE",
        "SHARD GROUPS (UTC)",
        "DATABASES",
    ];
    let mut rows: Vec<Vec<String>> = sets.iter().map(row).collect();
    // Most directories have no marks.
    if sets.iter().any(|set| set.pinned_at.is_some()) {
        heading.insert(MARKED, "KEPT");
        for (row, set) in rows.iter_mut().zip(sets) {
            let mark = if set.pinned_at.is_some() { "yes" } else { "-" };
            row.insert(MARKED, mark.to_owned());
        }
    }
    table(&heading, &rows)
}

fn row(set: &SetSummary) -> Vec<String> {
    vec![
        set.id.to_string(),
        time(set.started),
        set.layout.to_string(),
        kind(set.kind).to_owned(),
        state_of(set).to_owned(),
        set.shards.to_string(),
        size(set.size),
        set.start_time
            .zip(set.end_time)
            .map_or("-".to_owned(), |(start, end)| interval(start, end)),
        set.databases.join(", "),
    ]
}
