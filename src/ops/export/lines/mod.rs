//! An export as line protocol, under statements that make its databases.

mod ddl;
mod file;
mod protocol;
mod split;
mod target;

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;

use super::output::LineOut;
use super::points_writer::{PieceSink, PointsFormatter, PointsWriter};
use super::{ExportTally, ExportedTable};
use crate::context::Context;
use crate::metastore::Data;
use crate::ops::line_protocol::Unwritable;
use crate::ops::prepared::Told;
use crate::shard::ShardPath;
use crate::text::plural;
use crate::tsm::points::{Rows, SeriesPoints};
use ddl::Definitions;
use file::LineFiles;
use protocol::{LinePiece, LineProtocol};
use target::{BadTimes, TargetCheck};

pub use protocol::NewlineRule;
pub use split::SplitLimits;
pub use target::ExportDatabase;

/// How points are written as line protocol.
#[derive(Debug, Clone, Copy, Default)]
pub struct LineOptions {
    /// Points alone, without definitions of databases and retention policies.
    pub points_only: bool,
    /// What is done about line feeds in strings.
    pub newline: NewlineRule,
    /// How much one file may hold.
    pub split: SplitLimits,
    /// The database that is to read them, where it is told what that cannot take.
    pub target: Option<ExportDatabase>,
}

/// Writes points as line protocol.
pub(super) struct LineWriter<'a> {
    options: LineOptions,
    files: LineFiles<'a>,
    /// What is seen by all that make lines.
    target: Option<Arc<Mutex<TargetCheck>>>,
    shard: Option<Arc<ShardPath>>,
    tally: ExportTally,
    /// Floats of the shard that were left out, as they are no numbers.
    not_numbers: u64,
}

/// Makes lines of the points of a shard.
pub(super) struct LineFormatter {
    format: LineProtocol,
    target: Option<Arc<Mutex<TargetCheck>>>,
    database: Option<ExportDatabase>,
    shard: Option<Arc<ShardPath>>,
}

impl<'a> LineWriter<'a> {
    /// Writes what stands before the points of `databases`, of which the metastore tells.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub(super) fn new(
        options: LineOptions,
        data: &'a Data,
        databases: BTreeSet<String>,
        out: Box<dyn LineOut + 'a>,
    ) -> Result<Self> {
        let definitions = (!options.points_only).then(|| Definitions::new(data, databases));
        let check = |target| Arc::new(Mutex::new(TargetCheck::new(target)));
        Ok(Self {
            options,
            files: LineFiles::begin(definitions, options.split, out)?,
            target: options.target.map(check),
            shard: None,
            tally: ExportTally::default(),
            not_numbers: 0,
        })
    }
}

impl PointsWriter for LineWriter<'_> {
    type Formatter = LineFormatter;

    fn begin_shard(&mut self, shard: &ShardPath) -> Result<()> {
        self.shard = Some(Arc::new(shard.clone()));
        self.files.begin_shard(shard);
        Ok(())
    }

    fn formatter(&self) -> LineFormatter {
        let options = &self.options;
        LineFormatter {
            format: LineProtocol::new(options.newline, options.split.are_given()),
            target: self.target.clone(),
            database: options.target,
            shard: self.shard.clone(),
        }
    }

    fn put(&mut self, piece: LinePiece) -> Result<()> {
        self.tally.points += piece.points;
        self.tally.newlines += piece.newlines;
        self.tally.bytes += piece.lines.bytes.len() as u64;
        self.not_numbers += piece.not_numbers;
        self.files.put(&piece.lines)
    }

    fn end_shard(&mut self, told: &mut Told) -> Result<()> {
        self.files.end_shard()?;
        let left_out = std::mem::take(&mut self.not_numbers);
        if left_out > 0 {
            let values = plural(left_out, "float value");
            told.add(format!("{values} left out that are no numbers"));
        }
        Ok(())
    }

    fn finish(&mut self, _: Context<'_>) -> Result<Vec<ExportedTable>> {
        self.files.flush()?;
        Ok(Vec::new())
    }

    fn findings(&self) -> Vec<String> {
        let target = self.target.as_deref();
        target
            .map(|target| lock(target).findings())
            .unwrap_or_default()
    }

    fn tally(&self) -> ExportTally {
        self.tally
    }
}

impl PointsFormatter for LineFormatter {
    type Piece = LinePiece;

    fn begin_series(
        &mut self,
        series: &SeriesPoints<'_, '_>,
        told: &mut Told,
        _: &mut PieceSink<'_, LinePiece>,
    ) -> Result<bool> {
        if let (Some(target), Some(shard)) = (&self.target, &self.shard) {
            lock(target).see_series(shard, series.key(), series.fields());
        }
        let cannot = |what: String, why: Unwritable| {
            format!("{what} cannot be written as line protocol: {why}")
        };
        let key = String::from_utf8_lossy(series.key());
        if let Err(why) = self.format.begin(series.key()) {
            told.add(cannot(format!("series {key}"), why));
            return Ok(false);
        }
        for (name, _) in series.fields() {
            if let Err(why) = self.format.add_field(name) {
                let name = String::from_utf8_lossy(name);
                told.add(cannot(format!("field {name} of series {key}"), why));
            }
        }
        Ok(true)
    }

    fn add(&mut self, rows: &Rows<'_, '_>, out: &mut PieceSink<'_, LinePiece>) -> Result<u64> {
        if let (Some(target), Some(database)) = (&self.target, self.database) {
            let bad = database.bad_times(rows.times);
            if bad != BadTimes::default() {
                lock(target).add_times(bad);
            }
        }
        Ok(self.format.add(rows, out)?)
    }

    fn flush(&mut self, out: &mut PieceSink<'_, LinePiece>) -> Result<()> {
        self.format.flush(out)
    }
}

fn lock(target: &Mutex<TargetCheck>) -> MutexGuard<'_, TargetCheck> {
    target.lock().unwrap_or_else(PoisonError::into_inner)
}
