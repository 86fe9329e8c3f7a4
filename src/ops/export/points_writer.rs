//! What the formats of an export have in common: several threads make pieces of the points of a
//! shard, each of some series, and one writes the pieces in the order of the series.

use anyhow::Result;

use super::{ExportTally, ExportedTable};
use crate::context::Context;
use crate::ops::prepared::Told;
use crate::shard::ShardPath;
use crate::tsm::points::{Rows, SeriesPoints};

/// Takes a piece; it fails where nobody wants any more.
pub(super) type PieceSink<'s, P> = dyn FnMut(P) -> Result<()> + 's;

/// Makes pieces of the points of a shard, in one format.
///
/// Which pieces these are depends on the points alone, so that an export is the same whatever the
/// number of threads.
pub(super) trait PointsFormatter: Send {
    /// Some points, ready to be written.
    type Piece: Send;

    /// Turns to a series; whether any of it can be written. What cannot is told.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    fn begin_series(
        &mut self,
        series: &SeriesPoints<'_, '_>,
        told: &mut Told,
        out: &mut PieceSink<'_, Self::Piece>,
    ) -> Result<bool>;

    /// Takes the next points of the series; how many of them are written.
    ///
    /// # Errors
    ///
    /// Those of `out`, and for points that end the export.
    fn add(&mut self, rows: &Rows<'_, '_>, out: &mut PieceSink<'_, Self::Piece>) -> Result<u64>;

    /// Passes on what waits.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    fn flush(&mut self, out: &mut PieceSink<'_, Self::Piece>) -> Result<()>;
}

/// Writes points in one format.
pub(super) trait PointsWriter {
    /// What makes the pieces that it writes.
    type Formatter: PointsFormatter;

    /// Turns to a shard.
    ///
    /// # Errors
    ///
    /// Those of the target.
    fn begin_shard(&mut self, shard: &ShardPath) -> Result<()>;

    /// A formatter for the shard.
    fn formatter(&self) -> Self::Formatter;

    /// Writes the next piece of the shard.
    ///
    /// # Errors
    ///
    /// Those of the target.
    fn put(&mut self, piece: <Self::Formatter as PointsFormatter>::Piece) -> Result<()>;

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
