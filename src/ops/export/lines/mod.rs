//! An export as line protocol, under statements that make its databases.

mod ddl;
mod file;
mod protocol;
mod split;
mod target;

use std::collections::BTreeSet;

use anyhow::Result;

use super::output::LineOut;
use super::points_writer::PointsWriter;
use super::{ExportTally, ExportedTable};
use crate::context::Context;
use crate::metastore::Data;
use crate::ops::prepared::Told;
use crate::shard::ShardPath;
use crate::text::plural;
use crate::tsm::points::{Rows, SeriesPoints};
use ddl::Definitions;
use file::LineFiles;
use protocol::{LineProtocol, Unwritable};
use target::TargetCheck;

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
    files: LineFiles<'a>,
    format: LineProtocol,
    target: Option<TargetCheck>,
    tally: ExportTally,
    /// The points that were written before the series.
    points_before: u64,
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
        Ok(Self {
            files: LineFiles::begin(definitions, options.split, out)?,
            format: LineProtocol::new(options.newline, options.split.are_given()),
            target: options.target.map(TargetCheck::new),
            tally: ExportTally::default(),
            points_before: 0,
        })
    }

    fn end_series(&mut self) {
        self.tally.series += u64::from(self.tally.points > self.points_before);
        self.points_before = self.tally.points;
    }
}

impl PointsWriter for LineWriter<'_> {
    fn begin_shard(&mut self, shard: &ShardPath) -> Result<()> {
        self.files.begin_shard(shard);
        Ok(())
    }

    fn begin_series(&mut self, series: &SeriesPoints<'_, '_>, told: &mut Told) -> Result<bool> {
        // One that has more fields than are joined comes in parts.
        if !self.format.is_at(series.key()) {
            self.end_series();
        }
        if let (Some(target), Some(shard)) = (&mut self.target, self.files.shard()) {
            target.see_series(shard, series.key(), series.fields());
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

    fn write(&mut self, rows: &Rows<'_, '_>) -> Result<()> {
        if let Some(target) = &mut self.target {
            target.see_times(rows.times);
        }
        Ok(self.format.write(rows, &mut self.tally, &mut self.files)?)
    }

    fn end_shard(&mut self, told: &mut Told) -> Result<()> {
        self.end_series();
        self.format.finish(&mut self.tally, &mut self.files)?;
        let left_out = self.format.take_not_numbers();
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
        self.target
            .as_ref()
            .map(TargetCheck::findings)
            .unwrap_or_default()
    }

    fn tally(&self) -> ExportTally {
        self.tally
    }
}
