//! Rows of a table for Parquet on their way to whoever writes them: values, column by column.

use std::sync::Arc;

use anyhow::Result;

use super::layout::TableLayout;
use super::rows::{
    ColumnRows, Losses, PIECE, RowsContent, RowsMaker, RowsPiece, RowsSink, SeriesCells, SeriesRows,
};
use crate::tsm::points::{Column, Rows};
use crate::tsm::values::{ValueType, Values};

/// Bytes of a value, but for its text.
const VALUE_BYTES: usize = 8;
/// What rows of a series take besides their values.
const SERIES_BYTES: usize = 256;

/// Makes rows as values.
#[derive(Default)]
pub(super) struct ValuesMaker {
    series: Arc<SeriesCells>,
    is_new: bool,
    rows: Vec<SeriesRows>,
    bytes: usize,
    points: u64,
    losses: Losses,
}

impl RowsMaker for ValuesMaker {
    fn begin_series(&mut self, _: &Arc<TableLayout>, series: SeriesCells) {
        self.series = Arc::new(series);
        self.is_new = true;
    }

    fn add(&mut self, rows: &Rows<'_, '_>, out: &mut RowsSink<'_>) -> Result<u64> {
        let columns = rows.columns();
        let columns = columns.filter_map(|from| Some((self.series.fields[from.field]?, from)));
        let columns: Vec<(usize, Column<'_>)> = columns.collect();
        let mut start = 0;
        while start < rows.times.len() {
            let (end, bytes) = piece_end(&columns, start, rows.times.len());
            let values = columns.iter().filter_map(|(column, from)| {
                let (values, present) = copied(from, start, end);
                (!values.is_empty()).then_some(ColumnRows {
                    column: *column,
                    values,
                    present,
                })
            });
            self.rows.push(SeriesRows {
                series: Arc::clone(&self.series),
                are_first: std::mem::take(&mut self.is_new),
                columns: values.collect(),
                times: rows.times[start..end].to_vec(),
            });
            self.points += (end - start) as u64;
            self.bytes += bytes;
            start = end;
            if self.bytes > PIECE {
                out(self.take())?;
            }
        }
        Ok(rows.times.len() as u64)
    }

    fn losses(&mut self) -> &mut Losses {
        &mut self.losses
    }

    fn take(&mut self) -> RowsPiece {
        self.bytes = 0;
        RowsPiece {
            content: RowsContent::Values(std::mem::take(&mut self.rows)),
            points: std::mem::take(&mut self.points),
            losses: std::mem::take(&mut self.losses),
        }
    }
}

/// Up to which row those from `start` on are about a piece, at least one; and their bytes.
fn piece_end(columns: &[(usize, Column<'_>)], start: usize, rows: usize) -> (usize, usize) {
    let of_row = VALUE_BYTES * (columns.len() + 1);
    let is_text = |column: &Column<'_>| column.values.value_type() == ValueType::String;
    let mut bytes = SERIES_BYTES;
    if !columns.iter().any(|(_, column)| is_text(column)) {
        let end = rows.min(start + (PIECE / of_row).max(1));
        return (end, bytes + (end - start) * of_row);
    }
    for row in start..rows {
        if bytes > PIECE {
            return (row, bytes);
        }
        let texts = columns
            .iter()
            .filter_map(|(_, column)| match column.values {
                Values::String(texts) => Some(texts.get(column.at(row)?).len()),
                _ => None,
            });
        bytes += of_row + texts.sum::<usize>();
    }
    (rows, bytes)
}

/// The values of rows from `start` to `end`, and which of these have one, where not all do.
fn copied(from: &Column<'_>, start: usize, end: usize) -> (Values, Option<Vec<bool>>) {
    let mut values = Values::new(from.values.value_type());
    if from.is_whole()
        && let Some(first) = from.at(start)
    {
        values.extend_from(from.values, first..first + (end - start));
        return (values, None);
    }
    let present = (start..end).map(|row| {
        let place = from.at(row);
        place.is_some_and(|at| values.push_from(from.values, at))
    });
    let present = present.collect();
    (values, Some(present))
}
