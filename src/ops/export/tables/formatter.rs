//! Rows of tables, made of the points of a shard.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use anyhow::Result;

use super::super::points_writer::{PieceSink, PointsFormatter};
use super::TableFormat;
use super::csv::CsvMaker;
use super::layout::TableLayout;
#[cfg(feature = "parquet")]
use super::parquet_rows::ValuesMaker;
use super::rows::{Losses, RowsMaker, RowsPiece, SeriesCells, as_text};
use crate::ops::prepared::Told;
use crate::shard::{Name, ShardPath};
use crate::tsm::points::{Rows, SeriesPoints};
use crate::tsm::series::split_key;

/// Which layout each measurement of a policy has.
type LayoutPlaces = HashMap<Box<[u8]>, usize>;

/// The layouts of all tables.
pub(super) struct Layouts {
    all: Vec<Arc<TableLayout>>,
    /// By policies.
    places: BTreeMap<(Name, Name), LayoutPlaces>,
}

/// Rows of one table, or of none where only losses are told.
pub(in crate::ops::export) struct TablePiece {
    pub(super) table: Option<usize>,
    pub(super) rows: RowsPiece,
}

/// Makes rows of the points of a shard.
pub(in crate::ops::export) struct TableFormatter {
    layouts: Arc<Layouts>,
    policy: Option<(Name, Name)>,
    /// The measurement of the series, as keys have it, and its layout.
    measurement: Vec<u8>,
    layout: Option<usize>,
    /// The columns of the fields of the series; empty where it has no table.
    columns: Vec<Option<usize>>,
    maker: Box<dyn RowsMaker>,
    /// The table that the rows are of that wait.
    table: Option<usize>,
}

impl Layouts {
    pub(super) fn new(layouts: Vec<TableLayout>) -> Self {
        let mut places: BTreeMap<_, LayoutPlaces> = BTreeMap::new();
        for (nth, layout) in layouts.iter().enumerate() {
            let policy = (layout.database.clone(), layout.policy.clone());
            let measurements = places.entry(policy).or_default();
            measurements.insert(layout.measurement.clone(), nth);
        }
        let all = layouts.into_iter().map(Arc::new).collect();
        Self { all, places }
    }

    pub(super) fn at(&self, nth: usize) -> &Arc<TableLayout> {
        &self.all[nth]
    }
}

impl TableFormatter {
    pub(super) fn new(
        format: TableFormat,
        layouts: &Arc<Layouts>,
        shard: Option<&ShardPath>,
    ) -> Self {
        let policy = |shard: &ShardPath| (shard.database.clone(), shard.retention_policy.clone());
        Self {
            layouts: Arc::clone(layouts),
            policy: shard.map(policy),
            measurement: Vec::new(),
            layout: None,
            columns: Vec::new(),
            maker: match format {
                TableFormat::Csv { time, .. } => Box::new(CsvMaker::new(time)),
                #[cfg(feature = "parquet")]
                TableFormat::Parquet { .. } => Box::new(ValuesMaker::default()),
                // It was refused.
                #[cfg(not(feature = "parquet"))]
                TableFormat::Parquet { .. } => Box::new(CsvMaker::new(Default::default())),
            },
            table: None,
        }
    }

    /// The layout of the series whose key it is, if it was in the schema.
    fn find_layout(&mut self, key: &[u8]) -> Option<usize> {
        let (series, _) = split_key(key);
        let escaped = series.escaped_measurement();
        if self.measurement != escaped || self.layout.is_none() {
            self.measurement.clear();
            self.measurement.extend_from_slice(escaped);
            let layouts = self.layouts.places.get(self.policy.as_ref()?);
            self.layout = layouts.and_then(|all| all.get(&*series.measurement()).copied());
        }
        self.layout
    }

    /// The cells of a series in a table; none where the table has no column for one of the tags.
    fn cells(
        layout: &TableLayout,
        series: &SeriesPoints<'_, '_>,
        losses: &mut Losses,
    ) -> Option<SeriesCells> {
        let mut tags: Vec<Option<String>> = vec![None; layout.tags.len()];
        let (key, _) = split_key(series.key());
        for (tag, value) in key.tags() {
            let at = layout.tag(&tag)?;
            let text = as_text(&value, losses).into_owned();
            tags[at].get_or_insert(text);
        }
        let fields = series.fields();
        let fields = fields.map(|(name, value_type)| layout.field(name, value_type));
        let fields = fields.collect();
        Some(SeriesCells { tags, fields })
    }
}

impl PointsFormatter for TableFormatter {
    type Piece = TablePiece;

    fn begin_series(
        &mut self,
        series: &SeriesPoints<'_, '_>,
        _: &mut Told,
        out: &mut PieceSink<'_, TablePiece>,
    ) -> Result<bool> {
        self.columns.clear();
        // What has no column may have no points either.
        let Some(nth) = self.find_layout(series.key()) else {
            return Ok(true);
        };
        if self.table != Some(nth) {
            self.flush(out)?;
            self.table = Some(nth);
        }
        let layout = Arc::clone(self.layouts.at(nth));
        if let Some(cells) = Self::cells(&layout, series, self.maker.losses()) {
            self.columns.clone_from(&cells.fields);
            self.maker.begin_series(&layout, cells);
        }
        Ok(true)
    }

    fn add(&mut self, rows: &Rows<'_, '_>, out: &mut PieceSink<'_, TablePiece>) -> Result<u64> {
        let mut has_columns = false;
        for column in rows.columns() {
            match self.columns.get(column.field) {
                Some(Some(_)) => has_columns = true,
                _ => {
                    let places = (0..rows.times.len()).filter_map(|row| column.at(row));
                    self.maker.losses().unforeseen += places.count() as u64;
                }
            }
        }
        if !has_columns {
            return Ok(0);
        }
        let table = self.table;
        self.maker
            .add(rows, &mut |rows| out(TablePiece { table, rows }))
    }

    fn flush(&mut self, out: &mut PieceSink<'_, TablePiece>) -> Result<()> {
        let (table, rows) = (self.table, self.maker.take());
        match rows.points == 0 && rows.losses == Losses::default() {
            true => Ok(()),
            false => out(TablePiece { table, rows }),
        }
    }
}
