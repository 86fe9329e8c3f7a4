//! The columns of rows that wait to become a row group: tags as runs, fields without what is absent.

use std::collections::HashMap;

use anyhow::{Result, bail};
use parquet::column::writer::{ColumnWriter, ColumnWriterImpl};
use parquet::data_type::{ByteArray, ByteArrayType};

use super::rows::ColumnRows;
use super::rows::{Losses, push_as};
use crate::tsm::values::{Strings, ValueType, Values};

/// Rows that are written at a time.
const BATCH: usize = 1 << 14;
/// Bytes of texts that are written at a time, near enough.
const BATCH_BYTES: usize = 1 << 20;
/// What a text that is held takes besides its bytes, twice, and a run.
const TEXT_BYTES: usize = 128;
const RUN_BYTES: usize = 8;

/// Things of which many are alike one after the other, and how many.
#[derive(Debug, Default)]
struct Runs<T>(Vec<(T, u32)>);

impl<T: Copy + PartialEq> Runs<T> {
    /// Adds so many that are alike; how many bytes that took.
    fn push(&mut self, of: T, count: usize) -> usize {
        if count == 0 {
            return 0;
        }
        match self.0.last_mut() {
            Some((last, length)) if *last == of => {
                *length += count as u32;
                0
            }
            _ => {
                self.0.push((of, count as u32));
                RUN_BYTES
            }
        }
    }
}

/// The values of a tag.
#[derive(Default)]
pub(super) struct TagValues {
    /// Which of the texts rows have; none where they have no such tag.
    runs: Runs<Option<u32>>,
    texts: Vec<ByteArray>,
    places: HashMap<Box<str>, u32>,
}

impl TagValues {
    /// Adds a value for so many rows; how many bytes that took.
    pub(super) fn push(&mut self, value: Option<&str>, rows: usize) -> usize {
        let mut bytes = 0;
        let place = value.map(|text| match self.places.get(text) {
            Some(place) => *place,
            None => {
                let place = self.texts.len() as u32;
                self.texts.push(ByteArray::from(text));
                self.places.insert(text.into(), place);
                bytes += 2 * text.len() + TEXT_BYTES;
                place
            }
        });
        bytes + self.runs.push(place, rows)
    }

    /// Writes the values of all rows.
    pub(super) fn write(&mut self, rows: usize, column: &mut ColumnWriter<'_>) -> Result<()> {
        let ColumnWriter::ByteArrayColumnWriter(column) = column else {
            bail!("the column of a tag is no text");
        };
        let size = BATCH.min(rows);
        let (mut values, mut levels) = (Vec::with_capacity(size), Vec::with_capacity(size));
        for (place, mut left) in std::mem::take(&mut self.runs.0) {
            while left > 0 {
                let count = (BATCH - levels.len()).min(left as usize);
                left -= count as u32;
                levels.resize(levels.len() + count, i16::from(place.is_some()));
                if let Some(place) = place {
                    let text = &self.texts[place as usize];
                    values.resize(values.len() + count, text.clone());
                }
                if levels.len() == BATCH {
                    column.write_batch(&values, Some(&levels), None)?;
                    values.clear();
                    levels.clear();
                }
            }
        }
        column.write_batch(&values, Some(&levels), None)?;
        Ok(())
    }
}

/// The values of a field.
pub(super) struct FieldValues {
    values: Values,
    /// Whether rows have a value, up to a row.
    present: Runs<bool>,
    rows: usize,
}

impl FieldValues {
    pub(super) fn new(value_type: ValueType) -> Self {
        Self {
            values: Values::new(value_type),
            present: Runs::default(),
            rows: 0,
        }
    }

    /// Adds values of rows from `start` on; how many bytes that took.
    pub(super) fn push(
        &mut self,
        column: &ColumnRows,
        start: usize,
        rows: usize,
        losses: &mut Losses,
    ) -> usize {
        let (before, text_before) = (self.values.len(), text_bytes(&self.values));
        let mut bytes = self.fill(start);
        extend(&mut self.values, &column.values, losses);
        match &column.present {
            None => bytes += self.present.push(true, rows),
            Some(present) => {
                let present = present.iter();
                bytes += present
                    .map(|is_there| self.present.push(*is_there, 1))
                    .sum::<usize>();
            }
        }
        self.rows = start + rows;
        let added = self.values.len() - before;
        bytes + added * width(self.values.value_type()) + text_bytes(&self.values) - text_before
    }

    /// Says that rows up to one have no value.
    fn fill(&mut self, rows: usize) -> usize {
        let absent = rows - self.rows;
        self.rows = rows;
        self.present.push(false, absent)
    }

    /// Writes the values of all rows.
    pub(super) fn write(&mut self, rows: usize, column: &mut ColumnWriter<'_>) -> Result<()> {
        self.fill(rows);
        let mut at = 0;
        let mut levels = Vec::with_capacity(BATCH.min(rows));
        for (is_there, mut left) in std::mem::take(&mut self.present.0) {
            while left > 0 {
                let count = (BATCH - levels.len()).min(left as usize);
                left -= count as u32;
                levels.resize(levels.len() + count, i16::from(is_there));
                if levels.len() == BATCH {
                    at = self.write_batch(at, &levels, column)?;
                    levels.clear();
                }
            }
        }
        self.write_batch(at, &levels, column)?;
        self.values = Values::new(self.values.value_type());
        Ok(())
    }

    /// Writes values from one on for rows with these levels; the next.
    fn write_batch(
        &self,
        start: usize,
        levels: &[i16],
        column: &mut ColumnWriter<'_>,
    ) -> Result<usize> {
        let count: usize = levels.iter().map(|level| usize::from(*level == 1)).sum();
        let end = start + count;
        match (&self.values, column) {
            (Values::Float(values), ColumnWriter::DoubleColumnWriter(column)) => {
                column.write_batch(&values[start..end], Some(levels), None)?;
            }
            (Values::Integer(values), ColumnWriter::Int64ColumnWriter(column)) => {
                column.write_batch(&values[start..end], Some(levels), None)?;
            }
            (Values::Unsigned(values), ColumnWriter::Int64ColumnWriter(column)) => {
                let values: Vec<i64> = values[start..end]
                    .iter()
                    .map(|value| value.cast_signed())
                    .collect();
                column.write_batch(&values, Some(levels), None)?;
            }
            (Values::Boolean(values), ColumnWriter::BoolColumnWriter(column)) => {
                column.write_batch(&values[start..end], Some(levels), None)?;
            }
            (Values::String(values), ColumnWriter::ByteArrayColumnWriter(column)) => {
                let mut texts = TextBatch::default();
                let mut at = start;
                for level in levels {
                    let text = (*level == 1).then(|| values.get(at));
                    at += usize::from(text.is_some());
                    texts.push(text);
                    if texts.bytes.len() > BATCH_BYTES {
                        texts.write(column)?;
                    }
                }
                texts.write(column)?;
            }
            _ => bail!("the column of a field has another type"),
        }
        Ok(end)
    }
}

/// Texts that are written together, which share one piece of memory.
#[derive(Default)]
struct TextBatch {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    levels: Vec<i16>,
}

impl TextBatch {
    fn push(&mut self, text: Option<&[u8]>) {
        self.levels.push(i16::from(text.is_some()));
        if let Some(text) = text {
            self.bytes.extend_from_slice(text);
            self.ends.push(self.bytes.len());
        }
    }

    fn write(&mut self, column: &mut ColumnWriterImpl<'_, ByteArrayType>) -> Result<()> {
        let bytes = ByteArray::from(std::mem::take(&mut self.bytes));
        let mut start = 0;
        let values = self.ends.drain(..).map(|end| {
            let text = bytes.slice(start, end - start);
            start = end;
            text
        });
        let values: Vec<ByteArray> = values.collect();
        column.write_batch(&values, Some(&self.levels), None)?;
        self.levels.clear();
        Ok(())
    }
}

/// Writes the times of all rows.
pub(super) fn write_times(times: &[i64], column: &mut ColumnWriter<'_>) -> Result<()> {
    match column {
        ColumnWriter::Int64ColumnWriter(column) => column.write_batch(times, None, None)?,
        _ => bail!("the column of times has another type"),
    };
    Ok(())
}

/// Adds all values.
fn extend(to: &mut Values, from: &Values, losses: &mut Losses) {
    let is_text = to.value_type() == ValueType::String;
    if to.value_type() == from.value_type() && !is_text {
        to.extend_from(from, 0..from.len());
        return;
    }
    (0..from.len()).for_each(|at| push_as(to, from, at, losses));
}

/// Bytes of the texts.
fn text_bytes(values: &Values) -> usize {
    match values {
        Values::String(texts) => Strings::byte_len(texts),
        _ => 0,
    }
}

/// Bytes that a value of a type takes in memory, but for its text.
fn width(value_type: ValueType) -> usize {
    match value_type {
        ValueType::Boolean => 1,
        _ => 8,
    }
}
