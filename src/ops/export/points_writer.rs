//! What the formats of an export have in common: the points go in shard after shard, and in a shard
//! series by series.

use anyhow::Result;

use super::{ExportTally, ExportedTable};
use crate::context::Context;
use crate::ops::prepared::Told;
use crate::shard::ShardPath;
use crate::tsm::points::{Rows, SeriesPoints};

/// Writes points in one format.
pub(super) trait PointsWriter {
    /// Turns to a shard.
    ///
    /// # Errors
    ///
    /// Those of the target.
    fn begin_shard(&mut self, shard: &ShardPath) -> Result<()>;

    /// Turns to a series of the shard; whether any of it can be written. What cannot is told.
    ///
    /// # Errors
    ///
    /// Those of the target.
    fn begin_series(&mut self, series: &SeriesPoints<'_, '_>, told: &mut Told) -> Result<bool>;

    /// Writes the next points of the series.
    ///
    /// # Errors
    ///
    /// Those of the target, and for points that end the export.
    fn write(&mut self, rows: &Rows<'_, '_>) -> Result<()>;

    /// Writes what waits of the shard, and tells of values that were left out.
    ///
    /// # Errors
    ///
    /// Those of the target.
    fn end_shard(&mut self, told: &mut Told) -> Result<()>;

    /// Writes what waits of all shards; the tables that were written, where the format has any.
    ///
    /// # Errors
    ///
    /// Those of the target.
    fn finish(&mut self, context: Context<'_>) -> Result<Vec<ExportedTable>>;

    /// What whoever reads the points cannot take of all that was written, a sentence each.
    fn findings(&self) -> Vec<String> {
        Vec::new()
    }

    /// What was written up to here.
    fn tally(&self) -> ExportTally;
}
