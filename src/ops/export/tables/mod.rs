//! An export as tables: one for each measurement of a retention policy, as CSV or Parquet.
//!
//! Which columns a table has is known from a [`schema`] of all shards before any of it is written:
//! [`layout`] makes columns of it, and [`conflicts`] refuses what cannot be one unless [`resolve`]
//! says what it becomes. A [`formatter`] makes rows of points. Each shard goes through all
//! measurements, so the [`rows`] of many tables may wait at a time: of a bounded size together, and
//! written to the file of their table when they are due. No file is open in between.

mod columns;
mod conflicts;
mod csv;
mod csv_time;
mod file_name;
mod formatter;
mod layout;
#[cfg(feature = "parquet")]
mod parquet;
#[cfg(feature = "parquet")]
mod parquet_columns;
#[cfg(feature = "parquet")]
mod parquet_rows;
mod resolve;
mod rows;
mod schema;

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
use columns::layouts;
use csv::CsvRows;
use file_name::file_name;
use formatter::{Layouts, TableFormatter, TablePiece};
use layout::TableLayout;
use rows::{Losses, MOST_WAITING, TableOut, TableRows};

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

/// Writes points as tables.
pub(super) struct TableWriter<'a> {
    format: TableFormat,
    target: ExportOut<'a>,
    layouts: Arc<Layouts>,
    /// Whether each shard group has tables of its own, and what the names of these have of the
    /// group of each shard.
    is_split: bool,
    groups: HashMap<ShardPath, String>,
    #[cfg(feature = "parquet")]
    footers: parquet::Footers,
    /// The tables that are being written, by their layouts.
    tables: BTreeMap<usize, Table>,
    written: Vec<ExportedTable>,
    shard: Option<ShardPath>,
    /// Bytes that wait in all tables.
    waiting: usize,
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
        ensure_built(options.format)?;
        let (layouts, warnings) = layouts(schema, &options.resolutions)?;
        if let ExportOut::Files(_) | ExportOut::Stream(_) = target {
            ensure_one(&layouts)?;
        }
        warnings.iter().for_each(|warning| context.warn(warning));
        let groups = match options.split {
            true => group_names(data.live_shards()),
            false => HashMap::new(),
        };
        Ok(Self {
            format: options.format,
            target,
            layouts: Arc::new(Layouts::new(layouts)),
            is_split: options.split,
            groups,
            #[cfg(feature = "parquet")]
            footers: parquet::Footers::new()?,
            tables: BTreeMap::new(),
            written: Vec::new(),
            shard: None,
            waiting: 0,
            tally: ExportTally::default(),
            losses: Losses::default(),
            lost_before: Losses::default(),
        })
    }

    /// The rows of a new table.
    fn rows(&self, layout: &Arc<TableLayout>) -> Box<dyn TableRows> {
        let layout = layout.clone();
        match self.format {
            #[cfg(feature = "parquet")]
            TableFormat::Parquet { is_naive } => {
                let footers = self.footers.clone();
                Box::new(parquet::ParquetRows::new(layout, is_naive, footers))
            }
            // Without Parquet, it was refused.
            #[cfg(not(feature = "parquet"))]
            TableFormat::Parquet { .. } => Box::new(CsvRows::new(layout, false)),
            TableFormat::Csv { is_compressed, .. } => Box::new(CsvRows::new(layout, is_compressed)),
        }
    }

    fn new_table(&self, nth: usize) -> Table {
        let layout = self.layouts.at(nth);
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
            rows: self.rows(layout),
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
            ExportOut::Files(files) => write(&mut **files).with_context(|| files.writing()),
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
            self.write_out(nth, true)?;
            let table = self.tables.remove(&nth);
            self.written.extend(table.map(|table| table.counted));
        }
        Ok(())
    }
}

/// Refuses a format that this program was built without.
fn ensure_built(format: TableFormat) -> Result<(), Error> {
    match format {
        TableFormat::Parquet { .. } if !cfg!(feature = "parquet") => Err(ErrorKind::Refused
            .error("this snap was built without Parquet")
            .hint("build it with the feature parquet, or write -format csv")),
        _ => Ok(()),
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
    type Formatter = TableFormatter;

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
        Ok(())
    }

    fn formatter(&self) -> TableFormatter {
        TableFormatter::new(self.format, &self.layouts, self.shard.as_ref())
    }

    fn put(&mut self, TablePiece { table: nth, rows }: TablePiece) -> Result<()> {
        self.losses += rows.losses;
        self.tally.points += rows.points;
        let Some(nth) = nth.filter(|_| rows.points > 0) else {
            return Ok(());
        };
        if !self.tables.contains_key(&nth) {
            let table = self.new_table(nth);
            self.tables.insert(nth, table);
        }
        if let Some(table) = self.tables.get_mut(&nth) {
            let before = table.rows.waiting();
            table.rows.push(rows.content, &mut self.losses);
            table.counted.points += rows.points;
            self.waiting += table.rows.waiting().saturating_sub(before);
        }
        self.write_due(nth)
    }

    fn end_shard(&mut self, told: &mut Told) -> Result<()> {
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
