//! A table as Parquet. Rows wait in memory column by column, and become row groups.
//!
//! The end of the file tells of all row groups, so something of each has to be kept until then. Not
//! in memory, as there may be many tables: it is kept as the footer of a file with this one row
//! group, in a file that all tables have in common.

use std::io::{self, Write as _};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result};
use parquet::basic::{Compression, Encoding, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::column::writer::ColumnWriter;
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    FileMetaData, KeyValue, ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter,
    RowGroupMetaData, SortingColumn,
};
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::file::writer::{SerializedRowGroupWriter, TrackedWrite};
use parquet::schema::types::{ColumnPath, SchemaDescPtr, SchemaDescriptor, Type};

use super::layout::{TIME, TableLayout};
use super::parquet_columns::{FieldValues, TagValues, write_times};
use super::rows::{
    Losses, MOST_WAITING, PIECE, RowsContent, SeriesCells, SeriesRows, TableOut, TableRows,
};
use crate::io::read_at::ReadAt;
use crate::io::scratch::{Spool, scratch_dir, scratch_error};
use crate::tsm::values::ValueType;

/// From how many rows on a row group is written; with another piece, they are a million (2^20).
const MOST_ROWS: usize = (1 << 20) - PIECE / 8;
/// What a column takes besides its values.
const COLUMN_BYTES: usize = 160;
/// How a file begins and ends.
const MAGIC: &[u8] = b"PAR1";
/// Who wrote a file.
const CREATED_BY: &str = concat!("snap version ", env!("CARGO_PKG_VERSION"));

/// What is kept of row groups.
#[derive(Clone)]
pub(super) struct Footers {
    directory: PathBuf,
    kept: Arc<Mutex<Spool>>,
}

impl Footers {
    pub(super) fn new() -> Result<Self> {
        let directory = scratch_dir();
        let kept = Spool::new_in(&directory).map_err(|error| scratch_error(&directory, error))?;
        Ok(Self {
            directory,
            kept: Arc::new(Mutex::new(kept)),
        })
    }

    /// Keeps the footer of a file; where it is.
    fn keep(&self, metadata: &ParquetMetaData) -> Result<(u64, usize)> {
        let footer = encoded(metadata)?;
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let at = kept.size();
        let written = kept.write_all(&footer).and_then(|()| kept.flush());
        written.map_err(|error| scratch_error(&self.directory, error))?;
        Ok((at, footer.len()))
    }

    fn read(&self, (at, length): (u64, usize)) -> Result<ParquetMetaData> {
        let mut footer = vec![0; length];
        let kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let read = kept.file().read_exact_at(&mut footer, at);
        read.map_err(|error| scratch_error(&self.directory, error))?;
        // Behind it stand its length and the magic.
        let thrift = length.saturating_sub(4 + MAGIC.len());
        Ok(ParquetMetaDataReader::decode_metadata(&footer[..thrift])?)
    }
}

/// The footer of a file, with all that stands behind it.
fn encoded(metadata: &ParquetMetaData) -> Result<Vec<u8>> {
    let mut footer = Vec::new();
    ParquetMetaDataWriter::new(&mut footer, metadata).finish()?;
    Ok(footer)
}

/// The rows of a table.
pub(super) struct ParquetRows {
    layout: Arc<TableLayout>,
    is_naive: bool,
    footers: Footers,
    /// Where the footer of each row group is kept.
    groups: Vec<(u64, usize)>,
    /// Bytes and rows written.
    written: u64,
    rows_written: i64,
    times: Vec<i64>,
    tags: Vec<TagValues>,
    fields: Vec<FieldValues>,
    /// Bytes of what waits in the columns.
    waiting: usize,
    order: Order,
}

/// Whether the rows that wait are sorted, as far as was seen: by tags, then by time.
#[derive(Default)]
struct Order {
    is_broken: bool,
    /// The series and the time of the last row, if there is one.
    last: Option<(Arc<SeriesCells>, i64)>,
}

impl ParquetRows {
    pub(super) fn new(layout: Arc<TableLayout>, is_naive: bool, footers: Footers) -> Self {
        Self {
            layout,
            is_naive,
            footers,
            groups: Vec::new(),
            written: 0,
            rows_written: 0,
            times: Vec::new(),
            tags: Vec::new(),
            fields: Vec::new(),
            waiting: 0,
            order: Order::default(),
        }
    }

    /// Looks whether rows of a series follow those before them.
    fn note_order(&mut self, rows: &SeriesRows) {
        let (Some(first), Some(last)) = (rows.times.first(), rows.times.last()) else {
            return;
        };
        if let Some((series, time)) = &self.order.last {
            let follows = match rows.are_first {
                true => (&series.tags, time) < (&rows.series.tags, first),
                false => time < first,
            };
            self.order.is_broken |= !follows;
        }
        self.order.last = Some((Arc::clone(&rows.series), *last));
    }

    /// Adds rows of a series.
    fn push_series(&mut self, rows: &SeriesRows, losses: &mut Losses) {
        if self.fields.is_empty() {
            self.make_columns();
        }
        self.note_order(rows);
        let (start, count) = (self.times.len(), rows.times.len());
        self.times.extend_from_slice(&rows.times);
        self.waiting += count * 8;
        for (values, tag) in self.tags.iter_mut().zip(&rows.series.tags) {
            self.waiting += values.push(tag.as_deref(), count);
        }
        for column in &rows.columns {
            self.waiting += self.fields[column.column].push(column, start, count, losses);
        }
    }

    fn make_columns(&mut self) {
        let columns = self.layout.fields.iter();
        self.fields = columns
            .map(|column| FieldValues::new(column.value_type))
            .collect();
        self.tags
            .resize_with(self.layout.tags.len(), TagValues::default);
        self.waiting += (self.tags.len() + self.fields.len()) * COLUMN_BYTES;
    }

    fn descriptor(&self) -> Result<SchemaDescPtr> {
        let time = Type::primitive_type_builder(TIME, Physical::INT64)
            .with_repetition(Repetition::REQUIRED)
            .with_logical_type(Some(LogicalType::timestamp(
                !self.is_naive,
                TimeUnit::NANOS,
            )))
            .build()?;
        let tags = self.layout.tags.iter();
        let tags = tags.map(|tag| column(&tag.name, ValueType::String));
        let fields = self.layout.fields.iter();
        let fields = fields.map(|field| column(&field.name, field.value_type));
        let columns = [Ok(time)].into_iter().chain(tags).chain(fields);
        let columns: Vec<_> = columns
            .map(|column| column.map(Arc::new))
            .collect::<Result<_>>()?;
        let root = Type::group_type_builder("schema")
            .with_fields(columns)
            .build()?;
        Ok(Arc::new(SchemaDescriptor::new(Arc::new(root))))
    }

    fn properties(&self) -> WriterProperties {
        let path = |name: &str| ColumnPath::new(vec![name.to_owned()]);
        let mut properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_statistics_enabled(EnabledStatistics::Chunk)
            .set_offset_index_disabled(true)
            .set_write_batch_size(1 << 14)
            .set_dictionary_enabled(false)
            .set_column_encoding(path(TIME), Encoding::DELTA_BINARY_PACKED);
        for tag in &self.layout.tags {
            properties = properties.set_column_dictionary_enabled(path(&tag.name), true);
        }
        for field in &self.layout.fields {
            properties = match field.value_type {
                ValueType::Integer | ValueType::Unsigned => {
                    properties.set_column_encoding(path(&field.name), Encoding::DELTA_BINARY_PACKED)
                }
                ValueType::String => {
                    properties.set_column_dictionary_enabled(path(&field.name), true)
                }
                ValueType::Float | ValueType::Boolean => properties,
            };
        }
        let tags = 1..=self.layout.tags.len() as i32;
        let sorting = tags.chain([0]).map(|column_idx| SortingColumn {
            column_idx,
            descending: false,
            nulls_first: true,
        });
        let is_sorted = !self.order.is_broken;
        properties
            .set_sorting_columns(is_sorted.then(|| sorting.collect()))
            .build()
    }

    /// Writes what waits as a row group.
    fn write_row_group(&mut self, out: &mut TableOut<'_>) -> Result<()> {
        let descriptor = self.descriptor()?;
        let mut out = TrackedWrite::new(out);
        let ordinal = i32::try_from(self.groups.len())?;
        let properties = Arc::new(self.properties());
        let mut group =
            SerializedRowGroupWriter::new(descriptor.clone(), properties, &mut out, ordinal, None);
        let rows = self.times.len();
        let mut next = |write: &mut dyn FnMut(&mut ColumnWriter<'_>) -> Result<()>| {
            let mut column = group.next_column()?.context("a column is missing")?;
            write(column.untyped())?;
            Ok::<_, anyhow::Error>(column.close()?)
        };
        let times = std::mem::take(&mut self.times);
        next(&mut |column| write_times(&times, column))?;
        drop(times);
        for tag in &mut self.tags {
            next(&mut |column| tag.write(rows, column))?;
        }
        for field in &mut self.fields {
            next(&mut |column| field.write(rows, column))?;
        }
        let metadata = moved(&*group.close()?, self.written)?;
        out.flush()?;
        self.written += out.bytes_written() as u64;
        self.rows_written += rows as i64;
        let file = FileMetaData::new(1, rows as i64, None, None, descriptor, None);
        let footer = ParquetMetaData::new(file, vec![metadata]);
        self.groups.push(self.footers.keep(&footer)?);
        self.tags.clear();
        self.fields.clear();
        self.waiting = 0;
        self.order = Order::default();
        Ok(())
    }

    /// Writes the end of the file.
    fn write_footer(&mut self, out: &mut TableOut<'_>) -> Result<u64> {
        let mut groups = Vec::new();
        for group in &self.groups {
            groups.extend_from_slice(self.footers.read(*group)?.row_groups());
        }
        let file = FileMetaData::new(
            1,
            self.rows_written,
            Some(CREATED_BY.to_owned()),
            Some(self.key_values()?),
            self.descriptor()?,
            None,
        );
        let footer = encoded(&ParquetMetaData::new(file, groups))?;
        out.write_all(&footer)?;
        Ok(footer.len() as u64)
    }

    /// What the file says of itself.
    fn key_values(&self) -> Result<Vec<KeyValue>> {
        let layout = &self.layout;
        let tags: Vec<&str> = layout.tags.iter().map(|tag| tag.name.as_str()).collect();
        let fields = layout.fields.iter();
        let fields: serde_json::Map<_, _> = fields
            .map(|field| (field.name.clone(), field.value_type.to_string().into()))
            .collect();
        let pairs = [
            ("influxdb.database", layout.database.to_string()),
            ("influxdb.retention_policy", layout.policy.to_string()),
            ("influxdb.measurement", layout.name()),
            ("influxdb.tags", serde_json::to_string(&tags)?),
            ("influxdb.fields", serde_json::to_string(&fields)?),
            ("snap.version", env!("CARGO_PKG_VERSION").to_owned()),
        ];
        let pairs = pairs.into_iter();
        Ok(pairs
            .map(|(key, value)| KeyValue::new(key.to_owned(), value))
            .collect())
    }
}

impl TableRows for ParquetRows {
    fn push(&mut self, rows: RowsContent, losses: &mut Losses) {
        if let RowsContent::Values(series) = rows {
            series
                .iter()
                .for_each(|rows| self.push_series(rows, losses));
        }
    }

    fn waiting(&self) -> usize {
        self.waiting
    }

    fn is_due(&self) -> bool {
        self.times.len() >= MOST_ROWS || self.waiting > MOST_WAITING
    }

    fn write_out(&mut self, out: &mut TableOut<'_>) -> Result<u64> {
        let before = self.written;
        if before == 0 {
            out.write_all(MAGIC)?;
            self.written = MAGIC.len() as u64;
        }
        if !self.times.is_empty() {
            self.write_row_group(out).map_err(of_system)?;
        }
        Ok(self.written - before)
    }

    fn finish(&mut self, out: &mut TableOut<'_>) -> Result<u64> {
        Ok(self.write_out(out)? + self.write_footer(out)?)
    }
}

/// The system's error, where the library carries one: it would say it twice.
fn of_system(error: anyhow::Error) -> anyhow::Error {
    match error.downcast() {
        Ok(ParquetError::External(carried)) => match carried.downcast::<io::Error>() {
            Ok(error) => (*error).into(),
            Err(other) => anyhow::Error::from_boxed(other),
        },
        Ok(other) => other.into(),
        Err(error) => error,
    }
}

/// A column for a tag or a field, in which values may be absent.
fn column(name: &str, value_type: ValueType) -> Result<Type> {
    let (physical, logical) = match value_type {
        ValueType::Float => (Physical::DOUBLE, None),
        ValueType::Integer => (Physical::INT64, None),
        ValueType::Unsigned => (Physical::INT64, Some(LogicalType::integer(64, false))),
        ValueType::Boolean => (Physical::BOOLEAN, None),
        ValueType::String => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
    };
    let column = Type::primitive_type_builder(name, physical);
    let column = column.with_repetition(Repetition::OPTIONAL);
    Ok(column.with_logical_type(logical).build()?)
}

/// A row group that lies that much further behind in the file than its writer knew.
fn moved(group: &RowGroupMetaData, by: u64) -> Result<RowGroupMetaData> {
    let by = i64::try_from(by)?;
    let columns = group.columns().iter().map(|column| {
        let dictionary = column.dictionary_page_offset().map(|offset| offset + by);
        let data = column.data_page_offset() + by;
        let column = column.clone().into_builder().set_data_page_offset(data);
        column.set_dictionary_page_offset(dictionary).build()
    });
    let columns = columns.collect::<Result<_, _>>()?;
    let offset = group.file_offset().unwrap_or(0) + by;
    let group = group.clone().into_builder().set_column_metadata(columns);
    Ok(group.set_file_offset(offset).build()?)
}
