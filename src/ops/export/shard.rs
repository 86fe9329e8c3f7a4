//! A shard that is exported, series by series: its files lie where they can be read at any offset.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::line_protocol::{LineProtocol, Unwritable};
use super::{ExportOptions, ExportTally};
use crate::cancel::Cancel;
use crate::io::read_at::FromStart;
use crate::io::scratch::{is_of_system, scratch_dir, scratch_fault};
use crate::shard::ShardPath;
use crate::text::plural;
use crate::time::Bounds;
use crate::tsm::filter::NewTypes;
use crate::tsm::points::{PointsFile, PointsFinding, PointsSelection, SeriesPoints, ShardPoints};
use crate::tsm::sought_series::SoughtSeries;
use crate::tsm::tombstone::{BoundedDeletes, TombstoneEnding};

/// The most that is told of one shard.
const MOST_TOLD: usize = 100;

/// A shard whose files can be read.
pub(super) struct PreparedShard {
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
pub(super) struct PreparedFile {
    pub name: String,
    pub path: PathBuf,
    /// The file that says what was deleted of it.
    pub tombstone: Option<PathBuf>,
}

/// A TSM file that is read.
struct OpenFile<'a> {
    name: &'a str,
    content: File,
    deletes: BoundedDeletes,
}

impl PreparedShard {
    /// Writes the points that are meant. What could not be written, a sentence each.
    ///
    /// # Errors
    ///
    /// When the files cannot be read, or `out` not be written; when a stop was asked for.
    pub(super) fn write(
        &self,
        options: &ExportOptions,
        sought: &SoughtSeries,
        format: &mut LineProtocol,
        tally: &mut ExportTally,
        stop: &Cancel,
        out: &mut dyn Write,
    ) -> Result<Vec<String>> {
        let mut told = Told::new(&self.told);
        let mut unwritable = Told::new(&[]);
        let files = self.open(&mut told)?;
        let sources = files.iter().map(|file| PointsFile {
            name: file.name,
            content: &file.content,
            deletes: &file.deletes,
        });
        let selection = PointsSelection {
            new_types: &self.new_types,
            time_range: options.what.bounds().unwrap_or(Bounds::ANY),
        };
        let mut tell = |finding: PointsFinding<'_>| told.add(finding.to_string());
        let mut points = ShardPoints::open(sources.collect(), selection, &mut tell)?;
        let mut matcher = sought.matcher();
        while let Some(mut series) = points.next_series()? {
            stop.check()?;
            if matcher.takes(series.key()) && begin(&series, format, &mut unwritable) {
                let before = tally.points;
                while let Some(rows) = series.next_rows()? {
                    stop.check()?;
                    format.write(&rows, tally, out)?;
                }
                tally.series += u64::from(tally.points > before);
            }
        }
        drop(points);
        format.finish(tally, out)?;
        if format.not_numbers() > 0 {
            let values = plural(format.not_numbers(), "float value");
            unwritable.add(format!("{values} left out that are no numbers"));
        }
        Ok([told.finish(), unwritable.finish()].concat())
    }

    /// Opens its files, and reads what was deleted of them.
    fn open(&self, told: &mut Told) -> Result<Vec<OpenFile<'_>>> {
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
        let effect = "points that were deleted may be among those exported";
        told.add(match self.are_tombstones_told {
            true => format!("{name}: {effect}"),
            false => format!("{fault}; {effect}"),
        });
        Ok(deletes)
    }
}

/// Turns to a series; whether it can be written.
fn begin(series: &SeriesPoints<'_, '_>, format: &mut LineProtocol, told: &mut Told) -> bool {
    let cannot =
        |what: String, why: Unwritable| format!("{what} cannot be written as line protocol: {why}");
    let key = String::from_utf8_lossy(series.key());
    if let Err(why) = format.begin(series.key()) {
        told.add(cannot(format!("series {key}"), why));
        return false;
    }
    for (name, _) in series.fields() {
        if let Err(why) = format.add_field(name) {
            let name = String::from_utf8_lossy(name);
            told.add(cannot(format!("field {name} of series {key}"), why));
        }
    }
    true
}

/// What is told of a shard: so many sentences, and how many more there would be.
struct Told {
    sentences: Vec<String>,
    more: usize,
}

impl Told {
    fn new(begun: &[String]) -> Self {
        Self {
            sentences: begun.to_vec(),
            more: 0,
        }
    }

    fn add(&mut self, sentence: String) {
        match self.sentences.len() < MOST_TOLD {
            true => self.sentences.push(sentence),
            false => self.more += 1,
        }
    }

    fn finish(mut self) -> Vec<String> {
        if self.more > 0 {
            self.sentences
                .push(format!("{} more", plural(self.more, "fault")));
        }
        self.sentences
    }
}
