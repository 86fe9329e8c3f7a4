//! `snap list` as it is typed.

use std::cell::RefCell;
use std::path::PathBuf;

use anyhow::Context;
use clap::Args;

use super::flags::values;
use super::render::json;
use super::render::output::{Output, bytes};
use super::render::table::{interval, table, time};
use super::render::terminal::print_lines;
use super::{Ending, OutputArgs};
use crate::error::ErrorKind;
use crate::ops::{Kind, SetSummary, State, list, name_list};
use crate::repository::{Catalog, steadily};

/// Show the sets in a backup directory, oldest first
///
/// Sets of snap and of influxd, legacy and portable. influxd does not record what a run was asked for: of its sets, state and
/// kind are unknown, and legacy files with the same number are taken for a set.
#[derive(Debug, Args)]
pub struct ListArgs {
    /// The backup directory [default: $SNAP_DIR, else ./backup]
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,

    #[command(flatten)]
    pub(super) output: OutputArgs,
}

impl ListArgs {
    /// Runs the command.
    pub fn run(&self, output: &Output) -> Ending {
        let directory = values::directory(self.path.as_ref());
        let damaged = RefCell::new(Vec::new());
        let read = || {
            damaged.borrow_mut().clear();
            Catalog::read_past_damage(&directory, &mut |_, error| {
                damaged.borrow_mut().push(format!("{error:#}"));
            })
        };
        let (contents, sets) = steadily(&directory, read, |contents| Ok(list(contents)))?;
        damaged
            .borrow()
            .iter()
            .for_each(|error| output.failure(error));
        let is_damaged = !contents.damaged().is_empty();
        if sets.is_empty() && !is_damaged {
            return Err(ErrorKind::NoBackup
                .error(format!("{} holds no backup", directory.display()))
                .into());
        }
        for id in contents.half_removed() {
            output.warning(&format!("set {id} is half removed, and counts no more: the next snap forget or backup ends that"));
        }
        if self.output.json {
            sets.iter().try_for_each(|set| json::document("set", set))?;
        } else if !output.is_quiet() {
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
            if sets.iter().any(|set| set.kept.is_some()) {
                heading.insert(MARKED, "KEPT");
                for (row, set) in rows.iter_mut().zip(&sets) {
                    row.insert(
                        MARKED,
                        if set.kept.is_some() { "yes" } else { "-" }.to_owned(),
                    );
                }
            }
            print_lines(&table(&heading, &rows)).context("writing to standard output")?;
            if let Some(emptied) = contents.emptied() {
                let hint = emptied.hint.as_deref().unwrap_or_default();
                output.warning(&format!("{emptied}: {hint}"));
            } else {
                for set in &sets {
                    if let Some(complaint) = complaint(set) {
                        output.warning(&format!("set {}: {complaint}", set.id));
                    }
                }
            }
            for set in &sets {
                if let Some(text) = unproven(set) {
                    output.warning(&text);
                }
            }
            output.opening(&format!(
                "{} in {}",
                super::render::output::plural(sets.len(), "set"),
                directory.display()
            ));
        }
        Ok(is_damaged.then_some(ErrorKind::Damage))
    }
}

/// Before which column marks are shown.
const MARKED: usize = 5;

fn row(set: &SetSummary) -> Vec<String> {
    vec![
        set.id.clone(),
        time(set.started),
        set.layout.to_string(),
        kind(set.kind).to_owned(),
        state_of(set).to_owned(),
        set.shards.to_string(),
        bytes(set.size),
        set.start_time
            .zip(set.end_time)
            .map_or("-".to_owned(), |(start, end)| interval(start, end)),
        set.databases.join(", "),
    ]
}

/// What is wrong with a set, but for what [`unproven`] says.
pub fn complaint(set: &SetSummary) -> Option<&str> {
    let complaint = set.complaint.as_deref();
    complaint.filter(|_| !set.is_told_as_unproven)
}

/// Which shards of a set can lack points.
pub fn unproven(set: &SetSummary) -> Option<String> {
    let (id, shards) = (&set.id, &set.unproven);
    (!shards.is_empty()).then(|| {
        format!(
            "set {id}: unproven, points acknowledged before the backup began can be missing: {}",
            name_list(shards)
        )
    })
}

/// The kind in a word.
pub fn kind(kind: Kind) -> &'static str {
    match kind {
        Kind::Full => "full",
        Kind::Increment => "increment",
        Kind::Range => "range",
        Kind::Meta => "meta only",
        Kind::Unknown => "unknown",
    }
}

/// The state of a set in a word, with the sets that it goes on from.
pub fn state_of(set: &SetSummary) -> &'static str {
    match set.state {
        State::Complete if !set.restorable_whole => "incomplete",
        other => state(other),
    }
}

/// The state in a word.
pub fn state(state: State) -> &'static str {
    match state {
        State::Complete => "complete",
        State::Partial => "partial",
        State::Unrecorded => "unrecorded",
        State::Damaged => "damaged",
    }
}
