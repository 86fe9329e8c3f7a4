//! A shard that is exported, series by series: its files lie where they can be read at any offset.

use std::fs::File;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::points_writer::PointsWriter;
use super::told::Told;
use crate::cancel::Cancel;
use crate::io::read_at::FromStart;
use crate::io::scratch::{is_of_system, scratch_dir, scratch_fault};
use crate::ops::Shortfall;
use crate::shard::ShardPath;
use crate::time::Bounds;
use crate::tsm::filter::NewTypes;
use crate::tsm::points::{PointsFile, PointsFinding, PointsSelection, ShardPoints};
use crate::tsm::sought_series::SoughtSeries;
use crate::tsm::tombstone::{BoundedDeletes, TombstoneEnding};

/// What came of making a shard ready to be read.
pub(in crate::ops) enum Prepared {
    Whole(PreparedShard),
    /// It could not be had.
    Missing(Shortfall),
    /// It was deleted meanwhile.
    Gone,
}

/// A shard whose files can be read.
pub(in crate::ops) struct PreparedShard {
    pub name: ShardPath,
    pub files: Vec<PreparedFile>,
    /// The fields that have a type of which alone their values are exported.
    pub new_types: NewTypes,
    /// What of it is damaged; of tombstones, where that was looked at.
    pub told: Vec<String>,
    pub are_tombstones_told: bool,
    pub started: Instant,
    /// Keeps the files.
    pub _guard: Box<dyn Send>,
}

/// A TSM file.
pub(in crate::ops) struct PreparedFile {
    pub name: String,
    pub path: PathBuf,
    /// The file that says what was deleted of it.
    pub tombstone: Option<PathBuf>,
}

/// A TSM file that is read.
pub(in crate::ops) struct OpenFile<'a> {
    pub name: &'a str,
    pub content: File,
    pub deletes: BoundedDeletes,
}

impl PreparedShard {
    /// Writes the points of series that are sought, between `bounds`. What could not be written, a
    /// sentence each.
    ///
    /// # Errors
    ///
    /// When the files cannot be read, or nothing be written; when a stop was asked for.
    pub(super) fn write(
        &self,
        sought: &SoughtSeries,
        bounds: Bounds,
        writer: &mut dyn PointsWriter,
        stop: &Cancel,
    ) -> Result<Vec<String>> {
        let mut told = Told::new(&self.told);
        let mut unwritable = Told::default();
        let files = self.open(&mut told)?;
        let sources = files.iter().map(|file| PointsFile {
            name: file.name,
            content: &file.content,
            deletes: &file.deletes,
        });
        let selection = PointsSelection {
            new_types: &self.new_types,
            time_range: bounds,
        };
        let mut tell = |finding: PointsFinding<'_>| told.add(finding.to_string());
        let mut points = ShardPoints::open(sources.collect(), selection, &mut tell)?;
        let mut matcher = sought.matcher();
        writer.begin_shard(&self.name)?;
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

    /// Opens its files, and reads what was deleted of them.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub(in crate::ops) fn open(&self, told: &mut Told) -> Result<Vec<OpenFile<'_>>> {
        let files = self.files.iter().map(|file| {
            let path = &file.path;
            let content =
                File::open(path).with_context(|| format!("opening {}", path.display()))?;
            let deletes = match &file.tombstone {
                Some(path) => self.deletes(path, told)?,
                None => BoundedDeletes::default(),
            };
            let name = &file.name;
            Ok(OpenFile {
                name,
                content,
                deletes,
            })
        });
        files.collect()
    }

    /// What a tombstone file says, as far as it can be read.
    fn deletes(&self, path: &PathBuf, told: &mut Told) -> Result<BoundedDeletes> {
        let name = path.file_name().unwrap_or_default().display();
        let file = File::open(path).with_context(|| format!("opening {}", path.display()))?;
        let (deletes, fault) = match BoundedDeletes::read(FromStart::new(&file), &scratch_dir()) {
            Ok((deletes, TombstoneEnding::Clean)) => return Ok(deletes),
            Ok((deletes, TombstoneEnding::Torn)) => (deletes, format!("{name} breaks off")),
            Err(error) if is_of_system(&error) => {
                let fault = scratch_fault(&error).map(anyhow::Error::new);
                return Err(fault.unwrap_or_else(|| error.into()));
            }
            Err(error) => {
                let fault = format!("{name} is no tombstone file: {error}");
                (BoundedDeletes::default(), fault)
            }
        };
        let effect = "points that were deleted may be among those read";
        told.add(match self.are_tombstones_told {
            true => format!("{name}: {effect}"),
            false => format!("{fault}; {effect}"),
        });
        Ok(deletes)
    }
}
