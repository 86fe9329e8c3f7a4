//! What was found different between two sides, in text: a table by measurement, and some of the
//! series.

use anyhow::Result;
use jiff::Timestamp;

use super::messages::diff::{example_lines, policy_line};
use super::output::Output;
use super::table::{Column, Table, time};
use super::width::columns;
use crate::ops::{DiffReport, MeasurementDiff};
use crate::text::plural;

/// How many series are shown without -verbose.
const EXAMPLES_SHOWN: usize = 10;

/// Prints differences; with `all`, every series that is told.
///
/// # Errors
///
/// When standard output cannot be written.
pub(crate) fn print_differences(report: &DiffReport, all: bool, output: &Output) -> Result<()> {
    for policy in &report.policies {
        output.line(&policy_line(policy))?;
    }
    let differ: Vec<&MeasurementDiff> = report
        .measurements
        .iter()
        .filter(|of| has_differences(of))
        .collect();
    if differ.is_empty() {
        return Ok(());
    }
    let table = table(&differ);
    output.lines(&format!("{}\n", table.print(columns()).text))?;
    let mut lines = differ
        .iter()
        .flat_map(|of| example_lines(of, report.contains));
    let shown = match all {
        true => usize::MAX,
        false => EXAMPLES_SHOWN,
    };
    for line in lines.by_ref().take(shown) {
        output.line(&line)?;
    }
    let more = lines.count();
    if more > 0 {
        output.line(&format!(
            "and {} more: see -verbose",
            plural(more, "example")
        ))?;
    }
    Ok(())
}

/// Whether anything is to be shown of a measurement, be it allowed or not.
fn has_differences(of: &MeasurementDiff) -> bool {
    [&of.only_in_a, &of.only_in_b, &of.different]
        .iter()
        .any(|points| points.points > 0)
}

fn table(measurements: &[&MeasurementDiff]) -> Table {
    let mut table = Table::new(vec![
        Column::text("DATABASE").shrinks_to(12).goes(4),
        Column::text("POLICY").shrinks_to(8).goes(3),
        Column::text("MEASUREMENT").shrinks_to(16),
        Column::number("SAME"),
        Column::number("ONLY IN A"),
        Column::number("ONLY IN B"),
        Column::number("DIFFERENT"),
        Column::text("FIRST").goes(2),
        Column::text("LAST").goes(1),
    ]);
    for of in measurements {
        let kinds = [&of.only_in_a, &of.only_in_b, &of.different];
        let first = kinds.iter().filter_map(|points| points.first_time).min();
        let last = kinds.iter().filter_map(|points| points.last_time).max();
        table.row(vec![
            of.database.as_str().into(),
            of.retention_policy.as_str().into(),
            of.measurement.as_str().into(),
            of.same_points.to_string().into(),
            of.only_in_a.points.to_string().into(),
            of.only_in_b.points.to_string().into(),
            of.different.points.to_string().into(),
            when(first).into(),
            when(last).into(),
        ]);
    }
    table
}

fn when(at: Option<Timestamp>) -> String {
    at.map_or_else(|| "-".to_owned(), time)
}
