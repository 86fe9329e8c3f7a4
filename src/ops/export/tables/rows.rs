//! The rows of a table while they wait to be written, and what becomes of values that its columns
//! cannot have as they are.

use std::borrow::Cow;
use std::io::Write;
use std::ops::AddAssign;
use std::sync::Arc;

use anyhow::Result;

use super::super::points_writer::PieceSink;
use super::layout::TableLayout;
use crate::tsm::points::Rows;
use crate::tsm::values::Values;

/// Bytes of rows that wait, of all tables together. More are written.
pub(super) const MOST_WAITING: usize = 8 << 20;

/// Bytes of a piece of rows, near enough.
pub(super) const PIECE: usize = 256 << 10;

/// Where the bytes of a table go.
pub(super) type TableOut<'a> = dyn Write + Send + 'a;

/// Rows in one format, which wait in memory until they are written.
pub(super) trait TableRows {
    /// Adds rows.
    fn push(&mut self, rows: RowsContent, losses: &mut Losses);

    /// How many bytes wait, near enough.
    fn waiting(&self) -> usize;

    /// Whether what waits should not become more.
    fn is_due(&self) -> bool;

    /// Writes what waits behind what was written before; how many bytes, before compression.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    fn write_out(&mut self, out: &mut TableOut<'_>) -> Result<u64>;

    /// As [`write_out`](Self::write_out), and ends the table.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    fn finish(&mut self, out: &mut TableOut<'_>) -> Result<u64>;
}

/// Some rows of a table, as whoever reads the points passes them on.
#[derive(Default)]
pub(super) struct RowsPiece {
    pub content: RowsContent,
    /// How many points they are of.
    pub points: u64,
    pub losses: Losses,
}

#[derive(Default)]
pub(super) enum RowsContent {
    #[default]
    Nothing,
    /// Rows as text.
    Text(Vec<u8>),
    /// Rows as values.
    #[cfg(feature = "parquet")]
    Values(Vec<SeriesRows>),
}

/// Some rows of a series, as values.
#[cfg(feature = "parquet")]
pub(super) struct SeriesRows {
    pub series: Arc<SeriesCells>,
    /// Whether these are the first of the series.
    pub are_first: bool,
    pub times: Vec<i64>,
    pub columns: Vec<ColumnRows>,
}

/// The values that a column has in some rows.
#[cfg(feature = "parquet")]
pub(super) struct ColumnRows {
    /// Which of the columns for fields.
    pub column: usize,
    pub values: Values,
    /// Whether each row has one, where not all do.
    pub present: Option<Vec<bool>>,
}

/// Where pieces go.
pub(super) type RowsSink<'s> = PieceSink<'s, RowsPiece>;

/// Makes rows of one format.
pub(super) trait RowsMaker: Send {
    /// Turns to a series of the table with a layout.
    fn begin_series(&mut self, layout: &Arc<TableLayout>, series: SeriesCells);

    /// Adds points of the series, and passes on pieces that are large enough; how many points became
    /// rows.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    fn add(&mut self, rows: &Rows<'_, '_>, out: &mut RowsSink<'_>) -> Result<u64>;

    /// What is lost of the rows that wait.
    fn losses(&mut self) -> &mut Losses;

    /// The rows that wait.
    fn take(&mut self) -> RowsPiece;
}

/// What the rows of a series have in common.
#[derive(Debug, Clone, Default)]
pub(super) struct SeriesCells {
    /// The value of each tag of the table, where the series has one.
    pub tags: Vec<Option<String>>,
    /// The column of each field of the series.
    pub fields: Vec<Option<usize>>,
}

/// What could not be written as it was.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Losses {
    /// Floats that were left out, as they are no numbers.
    pub not_numbers: u64,
    /// Values that no column was made for.
    pub unforeseen: u64,
    /// Texts with bytes that are not UTF-8.
    pub not_text: u64,
    /// Numbers that are not the same in the type of their column.
    pub inexact: u64,
    /// Times that are not whole in the unit that was asked for.
    pub cut_times: u64,
}

impl AddAssign for Losses {
    fn add_assign(&mut self, more: Self) {
        self.not_numbers += more.not_numbers;
        self.unforeseen += more.unforeseen;
        self.not_text += more.not_text;
        self.inexact += more.inexact;
        self.cut_times += more.cut_times;
    }
}

/// Bytes as text: what is none is replaced, as influxd answers it.
pub(super) fn as_text<'a>(bytes: &'a [u8], losses: &mut Losses) -> Cow<'a, str> {
    let text = String::from_utf8_lossy(bytes);
    losses.not_text += u64::from(matches!(text, Cow::Owned(_)));
    text
}

/// Adds a value to those of a column, as what the column takes.
pub(super) fn push_as(to: &mut Values, from: &Values, at: usize, losses: &mut Losses) {
    match to {
        Values::Float(to) => {
            let (value, is_exact) = as_float(from, at);
            to.push(value);
            losses.inexact += u64::from(!is_exact);
        }
        Values::Integer(to) => {
            let (value, is_exact) = as_integer(from, at);
            to.push(value);
            losses.inexact += u64::from(!is_exact);
        }
        Values::String(to) => match from {
            Values::String(from) => to.push(as_text(from.get(at), losses).as_bytes()),
            _ => to.push(in_words(from, at).as_bytes()),
        },
        Values::Boolean(_) | Values::Unsigned(_) => drop(to.push_from(from, at)),
    }
}

/// A value as a float, and whether it is the same.
fn as_float(from: &Values, at: usize) -> (f64, bool) {
    match from {
        Values::Float(values) => (values[at], true),
        Values::Integer(values) => {
            let float = values[at] as f64;
            (float, float as i128 == i128::from(values[at]))
        }
        Values::Unsigned(values) => {
            let float = values[at] as f64;
            (float, float as i128 == i128::from(values[at]))
        }
        Values::Boolean(values) => (f64::from(values[at]), true),
        Values::String(_) => (f64::NAN, false),
    }
}

/// A value as an integer, and whether it is the same. What follows a decimal point is cut off, and
/// what lies beyond the integers becomes the last of them.
fn as_integer(from: &Values, at: usize) -> (i64, bool) {
    match from {
        Values::Integer(values) => (values[at], true),
        Values::Float(values) => {
            let integer = values[at] as i64;
            (
                integer,
                i128::from(integer) as f64 == values[at] && values[at] != -(i64::MIN as f64),
            )
        }
        Values::Unsigned(values) => match i64::try_from(values[at]) {
            Ok(integer) => (integer, true),
            Err(_) => (i64::MAX, false),
        },
        Values::Boolean(values) => (i64::from(values[at]), true),
        Values::String(_) => (0, false),
    }
}

/// A value as text that says the same.
fn in_words(from: &Values, at: usize) -> String {
    match from {
        Values::Float(values) => zmij::Buffer::new().format(values[at]).to_owned(),
        Values::Integer(values) => values[at].to_string(),
        Values::Unsigned(values) => values[at].to_string(),
        Values::Boolean(values) => values[at].to_string(),
        Values::String(values) => String::from_utf8_lossy(values.get(at)).into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tsm::values::ValueType;

    fn as_type(to: ValueType, from: Values) -> (Values, u64) {
        let (mut values, mut losses) = (Values::new(to), Losses::default());
        for at in 0..from.len() {
            push_as(&mut values, &from, at, &mut losses);
        }
        (values, losses.inexact)
    }

    #[test]
    fn numbers_become_others_and_those_that_are_not_the_same_are_counted() {
        let most = 1_i64 << 53;
        assert_eq!(
            as_type(
                ValueType::Float,
                Values::Integer(vec![most, most + 1, i64::MAX, -7])
            ),
            (
                Values::Float(vec![most as f64, most as f64, i64::MAX as f64, -7.0]),
                2
            )
        );
        assert_eq!(
            as_type(ValueType::Float, Values::Unsigned(vec![u64::MAX, 5])),
            (Values::Float(vec![u64::MAX as f64, 5.0]), 1)
        );
        let edge = -(i64::MIN as f64);
        assert_eq!(
            as_type(
                ValueType::Integer,
                Values::Float(vec![1.5, -2.0, edge, -edge, f64::NAN, f64::INFINITY])
            ),
            (
                Values::Integer(vec![1, -2, i64::MAX, i64::MIN, 0, i64::MAX]),
                4
            )
        );
        assert_eq!(
            as_type(ValueType::Integer, Values::Unsigned(vec![3, u64::MAX])),
            (Values::Integer(vec![3, i64::MAX]), 1)
        );
    }

    #[test]
    fn anything_becomes_text_that_says_the_same() {
        let texts = |from: Values| match as_type(ValueType::String, from) {
            (Values::String(texts), 0) => {
                let texts = texts
                    .iter()
                    .map(|text| String::from_utf8(text.to_vec()).unwrap());
                texts.collect::<Vec<_>>()
            }
            other => panic!("{other:?}"),
        };
        assert_eq!(texts(Values::Float(vec![0.1, 1e300])), ["0.1", "1e+300"]);
        assert_eq!(
            texts(Values::Integer(vec![i64::MIN])),
            ["-9223372036854775808"]
        );
        assert_eq!(texts(Values::Boolean(vec![true, false])), ["true", "false"]);
        let bytes = [&b"a\xffb"[..]].iter().collect();
        assert_eq!(texts(Values::String(bytes)), ["a\u{fffd}b"]);
    }
}
