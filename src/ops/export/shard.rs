//! The points of a shard, handed to whoever writes them.

use anyhow::Result;

use super::points_writer::PointsWriter;
use crate::cancel::Cancel;
use crate::ops::prepared::{PreparedShard, Told};
use crate::time::Bounds;
use crate::tsm::points::{PointsFinding, PointsSelection, ShardPoints};
use crate::tsm::sought_series::SoughtSeries;

/// Writes the points of series that are sought, between `bounds`. What could not be written, a
/// sentence each.
///
/// # Errors
///
/// When the files cannot be read, or nothing be written; when a stop was asked for.
pub(super) fn write(
    shard: &PreparedShard,
    sought: &SoughtSeries,
    bounds: Bounds,
    writer: &mut dyn PointsWriter,
    stop: &Cancel,
) -> Result<Vec<String>> {
    let mut told = Told::new(&shard.told);
    let mut unwritable = Told::default();
    let files = shard.open(&mut told)?;
    let sources = files.iter().map(|file| file.named(file.name));
    let selection = PointsSelection {
        new_types: &shard.new_types,
        time_range: bounds,
    };
    let mut tell = |finding: PointsFinding<'_>| told.add(finding.to_string());
    let mut points = ShardPoints::open(sources.collect(), selection, &mut tell)?;
    let mut matcher = sought.matcher();
    writer.begin_shard(&shard.name)?;
    while let Some(mut series) = points.next_series()? {
        stop.check()?;
        if matcher.takes(series.key()) && writer.begin_series(&series, &mut unwritable)? {
            while let Some(rows) = series.next_rows()? {
                stop.check()?;
                writer.write(&rows)?;
            }
        }
    }
    drop(points);
    writer.end_shard(&mut unwritable)?;
    Ok([told.finish(), unwritable.finish()].concat())
}
