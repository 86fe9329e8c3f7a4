//! A table as CSV, as RFC 4180 has it: a value that is not there is empty, an empty text is `""`.

use std::io::Write as _;
use std::sync::Arc;

use anyhow::Result;
use flate2::Compression;
use flate2::write::GzEncoder;

use super::csv_time::{TimeFormat, TimeText};
use super::layout::TableLayout;
use super::rows::{
    Losses, PIECE, RowsContent, RowsMaker, RowsPiece, RowsSink, SeriesCells, TableOut, TableRows,
    as_text, push_as,
};
use crate::tsm::points::{Column, Rows};
use crate::tsm::values::Values;

/// Bytes of one table that are written at a time, near enough.
const CHUNK: usize = 1 << 20;

/// The rows of a table.
pub(super) struct CsvRows {
    layout: Arc<TableLayout>,
    /// Whether each piece that is written is compressed on its own. As a file, they are one text.
    is_compressed: bool,
    has_header: bool,
    buffer: Vec<u8>,
}

/// Makes rows as text.
pub(super) struct CsvMaker {
    /// The layout of the table of the series.
    layout: Option<Arc<TableLayout>>,
    time: TimeText,
    text: Vec<u8>,
    points: u64,
    losses: Losses,
    /// The cells of the tags, as rows of the series have them behind the time.
    tags: Vec<u8>,
    /// The columns of the fields of the series.
    columns: Vec<Option<usize>>,
    numbers: Numbers,
}

/// Numbers as text.
struct Numbers {
    integer: itoa::Buffer,
    float: zmij::Buffer,
}

impl CsvRows {
    pub(super) fn new(layout: Arc<TableLayout>, is_compressed: bool) -> Self {
        Self {
            layout,
            is_compressed,
            has_header: false,
            buffer: Vec::new(),
        }
    }

    /// The line with the names, in front of all others.
    fn put_header(&mut self) {
        let rows = std::mem::take(&mut self.buffer);
        for (nth, name) in self.layout.names().enumerate() {
            if nth > 0 {
                self.buffer.push(b',');
            }
            put_text(name, &mut self.buffer);
        }
        self.buffer.push(b'\n');
        self.buffer.extend_from_slice(&rows);
        self.has_header = true;
    }
}

impl TableRows for CsvRows {
    fn push(&mut self, rows: RowsContent, _: &mut Losses) {
        if let RowsContent::Text(text) = rows {
            match self.buffer.is_empty() {
                true => self.buffer = text,
                false => self.buffer.extend_from_slice(&text),
            }
        }
    }

    fn waiting(&self) -> usize {
        self.buffer.len()
    }

    fn is_due(&self) -> bool {
        self.buffer.len() > CHUNK
    }

    fn write_out(&mut self, out: &mut TableOut<'_>) -> Result<u64> {
        if !self.has_header {
            self.put_header();
        }
        let bytes = std::mem::take(&mut self.buffer);
        if bytes.is_empty() {
            return Ok(0);
        }
        if self.is_compressed {
            let mut member = GzEncoder::new(out, Compression::fast());
            member.write_all(&bytes)?;
            member.finish()?;
        } else {
            out.write_all(&bytes)?;
        }
        Ok(bytes.len() as u64)
    }

    fn finish(&mut self, out: &mut TableOut<'_>) -> Result<u64> {
        self.write_out(out)
    }
}

impl CsvMaker {
    pub(super) fn new(time: TimeFormat) -> Self {
        Self {
            layout: None,
            time: TimeText::new(time),
            text: Vec::new(),
            points: 0,
            losses: Losses::default(),
            tags: Vec::new(),
            columns: Vec::new(),
            numbers: Numbers {
                integer: itoa::Buffer::new(),
                float: zmij::Buffer::new(),
            },
        }
    }

    /// Writes a row; whether it has a value.
    fn put_row(
        &mut self,
        layout: &TableLayout,
        cells: &[Option<Column<'_>>],
        row: usize,
        time: i64,
    ) -> bool {
        let losses = &mut self.losses;
        self.time.put(time, &mut self.text, losses);
        self.text.extend_from_slice(&self.tags);
        let mut has_values = false;
        for (cell, column) in cells.iter().zip(&layout.fields) {
            self.text.push(b',');
            let Some((values, at)) = cell.and_then(|cell| Some((cell.values, cell.at(row)?)))
            else {
                continue;
            };
            let own = column.value_type;
            has_values |= match values.value_type() == own {
                true => self.numbers.put(values, at, &mut self.text, losses),
                false => {
                    let mut converted = Values::new(own);
                    push_as(&mut converted, values, at, losses);
                    self.numbers.put(&converted, 0, &mut self.text, losses)
                }
            };
        }
        self.text.push(b'\n');
        has_values
    }
}

impl RowsMaker for CsvMaker {
    fn begin_series(&mut self, layout: &Arc<TableLayout>, series: SeriesCells) {
        self.layout = Some(Arc::clone(layout));
        self.tags.clear();
        for tag in &series.tags {
            self.tags.push(b',');
            if let Some(tag) = tag {
                put_text(tag, &mut self.tags);
            }
        }
        self.columns = series.fields;
    }

    fn add(&mut self, rows: &Rows<'_, '_>, out: &mut RowsSink<'_>) -> Result<u64> {
        let Some(layout) = self.layout.clone() else {
            return Ok(0);
        };
        let mut cells = vec![None; layout.fields.len()];
        for column in rows.columns() {
            if let Some(to) = self.columns[column.field] {
                cells[to] = Some(column);
            }
        }
        let mut count = 0;
        for (row, time) in rows.times.iter().enumerate() {
            let start = self.text.len();
            if !self.put_row(&layout, &cells, row, *time) {
                self.text.truncate(start);
                continue;
            }
            (self.points, count) = (self.points + 1, count + 1);
            if self.text.len() > PIECE {
                out(self.take())?;
            }
        }
        Ok(count)
    }

    fn losses(&mut self) -> &mut Losses {
        &mut self.losses
    }

    fn take(&mut self) -> RowsPiece {
        let next = Vec::with_capacity(self.text.len().min(PIECE + PIECE / 4));
        RowsPiece {
            content: RowsContent::Text(std::mem::replace(&mut self.text, next)),
            points: std::mem::take(&mut self.points),
            losses: std::mem::take(&mut self.losses),
        }
    }
}

impl Numbers {
    /// Writes a value; whether there is one to be written.
    fn put(&mut self, values: &Values, at: usize, out: &mut Vec<u8>, losses: &mut Losses) -> bool {
        match values {
            Values::Float(values) if !values[at].is_finite() => {
                losses.not_numbers += 1;
                return false;
            }
            Values::Float(values) => {
                out.extend_from_slice(self.float.format_finite(values[at]).as_bytes());
            }
            Values::Integer(values) => {
                out.extend_from_slice(self.integer.format(values[at]).as_bytes());
            }
            Values::Unsigned(values) => {
                out.extend_from_slice(self.integer.format(values[at]).as_bytes());
            }
            Values::Boolean(values) => {
                let text: &[u8] = if values[at] { b"true" } else { b"false" };
                out.extend_from_slice(text);
            }
            Values::String(values) => put_text(&as_text(values.get(at), losses), out),
        }
        true
    }
}

/// Writes a text, between quotation marks where it would be read as something else.
fn put_text(text: &str, out: &mut Vec<u8>) {
    let bytes = text.as_bytes();
    let is_plain = |byte: &u8| !matches!(byte, b',' | b'"' | b'\n' | b'\r');
    let ends = bytes.first().zip(bytes.last());
    let is_bare = ends.is_some_and(|(first, last)| *first != b' ' && *last != b' ');
    if is_bare && bytes.iter().all(is_plain) {
        out.extend_from_slice(bytes);
        return;
    }
    out.push(b'"');
    for &byte in bytes {
        if byte == b'"' {
            out.push(b'"');
        }
        out.push(byte);
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_quoted_where_they_would_be_read_as_something_else() {
        let text = |text: &str| {
            let mut out = Vec::new();
            put_text(text, &mut out);
            String::from_utf8(out).unwrap()
        };
        for (plain, expected) in [
            ("", r#""""#),
            ("a b", "a b"),
            (" a", "\" a\""),
            ("a,b", "\"a,b\""),
            ("a\"b", "\"a\"\"b\""),
            ("a\nb\r", "\"a\nb\r\""),
            ("🦀\0", "🦀\0"),
        ] {
            assert_eq!(text(plain), expected);
        }
    }
}
