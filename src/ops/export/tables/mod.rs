//! An export as tables: one for each measurement of a retention policy, as CSV or Parquet.
//!
//! Which columns a table has is known from a [`schema`] of all shards before any of it is written:
//! [`layout`] makes columns of it, and [`conflicts`] refuses what cannot be one unless [`resolve`]
//! says what it becomes. Each shard goes through all measurements, so the [`rows`] of many tables
//! may wait at a time: of a bounded size together, and written to the file of their table when
//! they are due. No file is open in between.

mod columns;
mod conflicts;
mod csv;
mod csv_time;
mod file_name;
mod layout;
#[cfg(feature = "parquet")]
mod parquet;
#[cfg(feature = "parquet")]
mod parquet_columns;
mod resolve;
mod rows;
mod schema;

use std::borrow::Cow;
use std::collections::{BTreeMap, HashMap};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::output::ExportOut;
use super::points_writer::PointsWriter;
use super::{ExportTally, ExportedTable};
use crate::context::Context;
use crate::error::{Error, ErrorKind};
use crate::metastore::{Data, Shard};
use crate::ops::prepared::Told;
use crate::shard::{Name, ShardPath};
use crate::text::{name_list, plural};
use crate::time::{from_nanos, stamp};
use crate::tsm::points::{Rows, SeriesPoints};
use crate::tsm::series::split_key;
use columns::layouts;
use csv::CsvRows;
use file_name::file_name;
use layout::TableLayout;
use rows::{Losses, MOST_WAITING, SeriesCells, TableOut, TableRows, as_text};

pub use csv_time::TimeFormat;
pub use resolve::Resolution;
pub(super) use schema::ExportSchema;

/// How points are written as tables.
#[derive(Debug, Clone)]
pub struct TableOptions {
    /// The format.
    pub format: TableFormat,
    /// A table for each shard group.
    pub split: bool,
    /// What becomes of columns that conflict.
    pub resolutions: Vec<Resolution>,
}

/// The format of tables.
#[derive(Debug, Clone, Copy)]
pub enum TableFormat {
    /// Comma-separated values.
    Csv {
        /// How times are written.
        time: TimeFormat,
        /// Whether what is written is compressed.
        is_compressed: bool,
    },
    /// Apache Parquet.
    Parquet {
        /// Whether times are written without saying that they are UTC.
        is_naive: bool,
    },
}

impl TableFormat {
    /// How names of files end.
    fn ending(self) -> &'static str {
        match self {
            Self::Csv {
                is_compressed: false,
                ..
            } => ".csv",
            Self::Csv { .. } => ".csv.gz",
            Self::Parquet { .. } => ".parquet",
        }
    }
}

/// Which layout each measurement of a policy has.
type LayoutPlaces = HashMap<Box<[u8]>, usize>;

/// Writes points as tables.
pub(super) struct TableWriter<'a> {
    format: TableFormat,
    target: ExportOut<'a>,
    layouts: Vec<Arc<TableLayout>>,
    /// Which layout a measurement has, by policies.
    places: BTreeMap<(Name, Name), LayoutPlaces>,
    /// Whether each shard group has tables of its own, and what the names of these have of the
    /// group of each shard.
    is_split: bool,
    groups: HashMap<ShardPath, String>,
    maker: RowsMaker,
    /// The tables that are being written, by their layouts.
    tables: BTreeMap<usize, Table>,
    written: Vec<ExportedTable>,
    shard: Option<ShardPath>,
    /// The measurement of the series, as keys have it, and its layout.
    measurement: Vec<u8>,
    layout: Option<usize>,
    /// The columns of the fields of the series.
    columns: Vec<Option<usize>>,
    /// Bytes that wait in all tables.
    waiting: usize,
    has_points: bool,
    tally: ExportTally,
    /// What was lost of the shard, and of all before it.
    losses: Losses,
    lost_before: Losses,
}

/// A table that is being written.
struct Table {
    rows: Box<dyn TableRows>,
    file: PathBuf,
    counted: ExportedTable,
}

/// Makes the rows of tables.
struct RowsMaker {
    format: TableFormat,
    #[cfg(feature = "parquet")]
    footers: parquet::Footers,
}

impl RowsMaker {
    fn new(format: TableFormat) -> Result<Self> {
        #[cfg(not(feature = "parquet"))]
        if matches!(format, TableFormat::Parquet { .. }) {
            return Err(ErrorKind::Refused
                .error("this snap was built without Parquet")
                .hint("build it with the feature parquet, or write -format csv")
                .into());
        }
        Ok(Self {
            format,
            #[cfg(feature = "parquet")]
            footers: parquet::Footers::new()?,
        })
    }

    fn rows(&self, layout: &Arc<TableLayout>) -> Box<dyn TableRows> {
        let layout = layout.clone();
        match self.format {
            TableFormat::Csv {
                time,
                is_compressed,
            } => Box::new(CsvRows::new(layout, time, is_compressed)),
            #[cfg(feature = "parquet")]
            TableFormat::Parquet { is_naive } => Box::new(parquet::ParquetRows::new(
                layout,
                is_naive,
                self.footers.clone(),
            )),
            // Making rows of it was refused.
            #[cfg(not(feature = "parquet"))]
            TableFormat::Parquet { .. } => {
                Box::new(CsvRows::new(layout, TimeFormat::Rfc3339, false))
            }
        }
    }
}

impl<'a> TableWriter<'a> {
    /// Makes tables of a schema.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Refused`] for conflicts in the schema, and where there are several tables and
    /// room for one.
    pub(super) fn new(
        options: &TableOptions,
        schema: &ExportSchema,
        data: &Data,
        target: ExportOut<'a>,
        context: Context<'_>,
    ) -> Result<Self> {
        let maker = RowsMaker::new(options.format)?;
        let (layouts, warnings) = layouts(schema, &options.resolutions)?;
        if let ExportOut::Files(_) | ExportOut::Stream(_) = target {
            ensure_one(&layouts)?;
        }
        warnings.iter().for_each(|warning| context.warn(warning));
        let mut places: BTreeMap<_, HashMap<_, _>> = BTreeMap::new();
        for (nth, layout) in layouts.iter().enumerate() {
            let policy = (layout.database.clone(), layout.policy.clone());
            let measurements = places.entry(policy).or_default();
            measurements.insert(layout.measurement.clone(), nth);
        }
        let groups = match options.split {
            true => group_names(data.live_shards()),
            false => HashMap::new(),
        };
        Ok(Self {
            format: options.format,
            target,
            layouts: layouts.into_iter().map(Arc::new).collect(),
            places,
            is_split: options.split,
            groups,
            maker,
            tables: BTreeMap::new(),
            written: Vec::new(),
            shard: None,
            measurement: Vec::new(),
            layout: None,
            columns: Vec::new(),
            waiting: 0,
            has_points: false,
            tally: ExportTally::default(),
            losses: Losses::default(),
            lost_before: Losses::default(),
        })
    }

    /// The layout of the series whose key it is, if it was in the schema.
    fn find_layout(&mut self, key: &[u8]) -> Option<usize> {
        let (series, _) = split_key(key);
        let escaped = series.escaped_measurement();
        if self.measurement != escaped || self.layout.is_none() {
            self.measurement.clear();
            self.measurement.extend_from_slice(escaped);
            let shard = self.shard.as_ref()?;
            let policy = (shard.database.clone(), shard.retention_policy.clone());
            let layouts = self.places.get(&policy);
            self.layout = layouts.and_then(|all| all.get(&*series.measurement()).copied());
        }
        self.layout
    }

    fn new_table(&self, nth: usize) -> Table {
        let layout = &self.layouts[nth];
        let mut ending = self.format.ending().to_owned();
        let shard = self.shard.as_ref();
        if let Some(group) = shard.and_then(|shard| self.groups.get(shard)) {
            ending = format!("-{group}{ending}");
        }
        let folders = [&layout.database, &layout.policy];
        let folders = folders.map(|name| file_name(name.as_bytes(), ""));
        let mut file: PathBuf = folders.iter().collect();
        file.push(file_name(&layout.measurement, &ending));
        Table {
            rows: self.maker.rows(layout),
            counted: ExportedTable {
                file: match self.target {
                    ExportOut::Files(_) | ExportOut::Stream(_) => None,
                    ExportOut::Directory(_) => Some(file.clone()),
                },
                database: layout.database.to_string(),
                retention_policy: layout.policy.to_string(),
                measurement: layout.name(),
                points: 0,
                bytes: 0,
            },
            file,
        }
    }

    fn end_series(&mut self) {
        self.tally.series += u64::from(self.has_points);
        self.has_points = false;
    }

    /// Writes what waits of a table.
    fn write_out(&mut self, nth: usize, is_over: bool) -> Result<()> {
        let Some(table) = self.tables.get_mut(&nth) else {
            return Ok(());
        };
        self.waiting -= table.rows.waiting();
        let mut write = |out: &mut TableOut<'_>| match is_over {
            true => table.rows.finish(out),
            false => table.rows.write_out(out),
        };
        let bytes = match &mut self.target {
            ExportOut::Files(files) => write(&mut **files),
            ExportOut::Stream(out) => write(&mut **out),
            ExportOut::Directory(directory) => {
                let mut file = match table.counted.bytes {
                    0 => directory.create_file(&table.file)?,
                    _ => directory.append(&table.file)?,
                };
                write(&mut file).with_context(|| directory.writing(&table.file))
            }
        }?;
        table.counted.bytes += bytes;
        self.tally.bytes += bytes;
        Ok(())
    }

    /// Writes what is due.
    fn write_due(&mut self, nth: usize) -> Result<()> {
        if self
            .tables
            .get(&nth)
            .is_some_and(|table| table.rows.is_due())
        {
            self.write_out(nth, false)?;
        }
        while self.waiting > MOST_WAITING {
            let tables = self.tables.iter();
            let largest = tables.max_by_key(|(_, table)| table.rows.waiting());
            let Some((&largest, _)) = largest else { break };
            self.write_out(largest, false)?;
        }
        Ok(())
    }

    /// Ends all tables that are being written.
    fn end_tables(&mut self) -> Result<()> {
        let open: Vec<usize> = self.tables.keys().copied().collect();
        for nth in open {
            if self
                .tables
                .get(&nth)
                .is_some_and(|table| table.counted.points > 0)
            {
                self.write_out(nth, true)?;
            }
            let table = self.tables.remove(&nth);
            let table = table.filter(|table| table.counted.points > 0);
            self.written.extend(table.map(|table| table.counted));
        }
        Ok(())
    }
}

/// Refuses more than one table, and none.
fn ensure_one(layouts: &[TableLayout]) -> Result<(), Error> {
    match layouts {
        [_] => Ok(()),
        [] => Err(ErrorKind::Failed
            .error("there are no points in what was asked for")
            .hint("snap stats shows what there is")),
        _ => {
            let names: Vec<String> = layouts.iter().map(TableLayout::place).collect();
            Err(ErrorKind::Refused
                .error(format!(
                    "these are {}, and a file takes one: {}",
                    plural(names.len(), "measurement"),
                    name_list(&names)
                ))
                .hint("name one with -database, -retention and -measurement, or a directory with -o DIR"))
        }
    }
}

/// What names have of the group of each shard: its start, and where others of the policy have the
/// same, as after a change of the duration, the id of its first shard.
fn group_names(shards: impl Iterator<Item = Shard>) -> HashMap<ShardPath, String> {
    /// The shards of groups by their start and end.
    type SameStart = BTreeMap<(i64, i64), Vec<ShardPath>>;
    let mut groups: BTreeMap<(Name, Name, String), SameStart> = BTreeMap::new();
    for Shard {
        path, start, end, ..
    } in shards
    {
        let (database, policy) = (path.database.clone(), path.retention_policy.clone());
        let start_name = stamp(from_nanos(start));
        let same_start = groups.entry((database, policy, start_name)).or_default();
        same_start.entry((start, end)).or_default().push(path);
    }
    let mut names = HashMap::new();
    for ((.., start), same_start) in groups {
        let is_alone = same_start.len() == 1;
        for shards in same_start.into_values() {
            let first = shards.iter().map(|shard| shard.id).min();
            let name = match first.filter(|_| !is_alone) {
                None => start.clone(),
                Some(id) => format!("{start}-{id}"),
            };
            names.extend(shards.into_iter().map(|shard| (shard, name.clone())));
        }
    }
    names
}

impl PointsWriter for TableWriter<'_> {
    fn begin_shard(&mut self, shard: &ShardPath) -> Result<()> {
        let is_same_group = self.shard.as_ref().is_some_and(|last| {
            last.database == shard.database
                && last.retention_policy == shard.retention_policy
                && self.groups.get(last) == self.groups.get(shard)
        });
        // Of a group that is over no more rows come, as its shards come one after the other.
        if self.is_split && !is_same_group {
            self.end_tables()?;
        }
        self.shard = Some(shard.clone());
        self.layout = None;
        Ok(())
    }

    fn begin_series(&mut self, series: &SeriesPoints<'_, '_>, _: &mut Told) -> Result<bool> {
        self.end_series();
        self.columns.clear();
        let (key, _) = split_key(series.key());
        // What has no column may have no points either.
        let Some(nth) = self.find_layout(series.key()) else {
            return Ok(true);
        };
        let layout = self.layouts[nth].clone();
        let mut tags: Vec<Option<Cow<'_, str>>> = vec![None; layout.tags.len()];
        for (tag, value) in key.tags() {
            let Some(at) = layout.tag(&tag) else {
                return Ok(true);
            };
            let text = as_text(&value, &mut self.losses).into_owned();
            tags[at].get_or_insert(Cow::Owned(text));
        }
        let fields = series.fields();
        let fields = fields.map(|(name, value_type)| layout.field(name, value_type));
        let fields: Vec<Option<usize>> = fields.collect();
        self.columns.clone_from(&fields);
        if !self.tables.contains_key(&nth) {
            let table = self.new_table(nth);
            self.tables.insert(nth, table);
        }
        if let Some(table) = self.tables.get_mut(&nth) {
            table.rows.begin_series(&SeriesCells { tags, fields });
        }
        Ok(true)
    }

    fn write(&mut self, rows: &Rows<'_, '_>) -> Result<()> {
        let mut has_columns = false;
        for column in rows.columns() {
            match self.columns.get(column.field) {
                Some(Some(_)) => has_columns = true,
                _ => {
                    let places = (0..rows.times.len()).filter_map(|row| column.at(row));
                    self.losses.unforeseen += places.count() as u64;
                }
            }
        }
        if !has_columns {
            return Ok(());
        }
        let Some((nth, table)) = self.layout.and_then(|nth| {
            let table = self.tables.get_mut(&nth)?;
            Some((nth, table))
        }) else {
            return Ok(());
        };
        let before = table.rows.waiting();
        let points = table.rows.push(rows, &mut self.losses);
        table.counted.points += points;
        self.tally.points += points;
        self.has_points |= points > 0;
        self.waiting += table.rows.waiting().saturating_sub(before);
        self.write_due(nth)
    }

    fn end_shard(&mut self, told: &mut Told) -> Result<()> {
        self.end_series();
        let (lost, before) = (self.losses, self.lost_before);
        self.lost_before = lost;
        let left_out = lost.not_numbers - before.not_numbers;
        if left_out > 0 {
            let values = plural(left_out, "float value");
            told.add(format!("{values} left out that are no numbers"));
        }
        let unforeseen = lost.unforeseen - before.unforeseen;
        if unforeseen > 0 {
            let values = plural(unforeseen, "value");
            told.add(format!(
                "{values} left out of series or fields that no index told of before"
            ));
        }
        let replaced = lost.not_text - before.not_text;
        if replaced > 0 {
            let texts = plural(replaced, "text");
            told.add(format!(
                "{texts} with bytes that are not UTF-8, which are replaced by U+FFFD"
            ));
        }
        Ok(())
    }

    fn finish(&mut self, context: Context<'_>) -> Result<Vec<ExportedTable>> {
        self.end_tables()?;
        if self.losses.inexact > 0 {
            let numbers = plural(self.losses.inexact, "number");
            context.warn(format!(
                "{numbers} changed by -resolve: they are not the same in the new type"
            ));
        }
        if self.losses.cut_times > 0 {
            let times = plural(self.losses.cut_times, "time");
            context.warn(format!("{times} cut down to the unit of -epoch"));
        }
        Ok(std::mem::take(&mut self.written))
    }

    fn tally(&self) -> ExportTally {
        self.tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_that_begin_at_one_time_have_names_of_their_own() {
        let shard = |policy: &str, id: u64, start: i64, end: i64| Shard {
            path: ShardPath {
                database: "db".into(),
                retention_policy: policy.into(),
                id,
            },
            start,
            end,
            deleted_at: None,
        };
        let day = 86_400_000_000_000;
        // A week that was made after its Thursday, a group of two shards, and another policy.
        let shards = [
            shard("a", 1, 0, day),
            shard("a", 2, day, 2 * day),
            shard("a", 3, 0, 7 * day),
            shard("a", 4, 7 * day, 8 * day),
            shard("a", 5, 7 * day, 8 * day),
            shard("b", 6, 0, day),
        ];
        let names = group_names(shards.iter().cloned());
        let names = shards.map(|shard| names[&shard.path].clone());
        let expected = [
            "19700101T000000Z-1",
            "19700102T000000Z",
            "19700101T000000Z-3",
            "19700108T000000Z",
            "19700108T000000Z",
            "19700101T000000Z",
        ];
        assert_eq!(names, expected);
    }
}
