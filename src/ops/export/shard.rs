//! A shard that is exported: unpacked out of sight, and written series by series.

use std::fs::File;
use std::io::Write;
use std::sync::Mutex;
use std::time::Instant;

use anyhow::{Context as _, Result};
use tempfile::TempDir;

use super::line_protocol::{LineProtocol, Unwritable};
use super::{ExportOptions, ExportTally};
use crate::cancel::Cancel;
use crate::context::Context;
use crate::influxd_dir::Ownership;
use crate::io::read_at::FromStart;
use crate::io::scratch::{is_of_system, scratch_dir, scratch_error};
use crate::ops::restore::{CheckedShard, PlannedShard, RestoreChecks, ShardChecker};
use crate::ops::unpack_dir::UnpackDir;
use crate::progress::Event;
use crate::repository::Catalog;
use crate::shard::ShardPath;
use crate::text::plural;
use crate::time::Bounds;
use crate::tsm::points::{PointsFile, PointsFinding, PointsSelection, SeriesPoints, ShardPoints};
use crate::tsm::stem;
use crate::tsm::tombstone::BoundedDeletes;

/// The most that is told of one shard.
const MOST_TOLD: usize = 100;

/// Unpacks shards, one after the other.
pub(super) struct ShardPreparer<'a> {
    pub catalog: &'a Catalog,
    pub context: Context<'a>,
}

/// A shard whose files lie in a directory of their own.
pub(super) struct PreparedShard {
    directory: TempDir,
    shard: CheckedShard,
    /// What of it is damaged.
    told: Vec<String>,
    pub started: Instant,
}

impl ShardPreparer<'_> {
    /// Unpacks a shard. What is damaged of it is told later.
    ///
    /// # Errors
    ///
    /// When it cannot be read or unpacked.
    pub(super) fn prepare(&self, planned: PlannedShard) -> Result<PreparedShard> {
        let started = Instant::now();
        self.context.report(&Event::Started {
            shard: &planned.source,
            bytes: Some(planned.bytes()),
        });
        let scratch = scratch_dir();
        let directory =
            tempfile::tempdir_in(&scratch).map_err(|error| scratch_error(&scratch, error))?;
        let unpack = UnpackDir {
            path: directory.path(),
            ownership: &Ownership::below(directory.path())?,
            syncs: None,
        };
        let told = Mutex::new(Vec::new());
        let checker = ShardChecker {
            catalog: self.catalog,
            checks: &RestoreChecks {
                leave_index: true,
                apply_deletes: true,
                scratch: directory.path().to_owned(),
            },
            unpack: Some(&unpack),
            tell: Some(&|what| {
                if let Ok(mut told) = told.lock() {
                    told.push(what);
                }
            }),
            context: self.context,
        };
        let shard = checker.check(planned)?;
        let mut told = told.into_inner().unwrap_or_default();
        told.extend(shard.undecided.clone());
        Ok(PreparedShard {
            directory,
            shard,
            told,
            started,
        })
    }
}

impl PreparedShard {
    pub(super) fn name(&self) -> &ShardPath {
        &self.shard.source
    }

    /// How many files it has.
    pub(super) fn files(&self) -> usize {
        self.shard.files.iter().count()
    }

    /// Writes the points that are meant. What could not be written, a sentence each.
    ///
    /// # Errors
    ///
    /// When the files cannot be read, or `out` not be written; when a stop was asked for.
    pub(super) fn write(
        &self,
        options: &ExportOptions,
        format: &mut LineProtocol,
        tally: &mut ExportTally,
        stop: &Cancel,
        out: &mut dyn Write,
    ) -> Result<Vec<String>> {
        let files = self.open()?;
        let sources = files.iter().map(|(name, file, deletes)| PointsFile {
            name,
            content: file,
            deletes,
        });
        let selection = PointsSelection {
            new_types: &self.shard.new_types,
            time_range: options.what.bounds().unwrap_or(Bounds::ANY),
        };
        let mut told = Told::new(&self.told);
        let mut unwritable = Told::new(&[]);
        let mut tell = |finding: PointsFinding<'_>| told.add(finding.to_string());
        let mut points = ShardPoints::open(sources.collect(), selection, &mut tell)?;
        let mut matcher = options.series.matcher();
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

    /// Its TSM files, by their names, with what was deleted of them.
    fn open(&self) -> Result<Vec<(&str, File, BoundedDeletes)>> {
        let names = self.shard.files.iter().map(|(name, _)| name);
        let files = names.filter(|name| name.ends_with(".tsm")).map(|name| {
            let path = self.directory.path().join(name);
            let file = File::open(&path).with_context(|| format!("opening {}", path.display()))?;
            Ok((name, file, self.deletes(name)?))
        });
        files.collect()
    }

    fn deletes(&self, name: &str) -> Result<BoundedDeletes> {
        if !self.shard.files.has_deletes(name) {
            return Ok(BoundedDeletes::default());
        }
        let tombstone = format!("{}.tombstone", stem(name));
        let path = self.directory.path().join(&tombstone);
        let reading = || format!("reading {tombstone} of shard {}", self.name());
        let file = File::open(&path).with_context(reading)?;
        match BoundedDeletes::read(FromStart::new(&file), self.directory.path()) {
            Ok((deletes, _)) => Ok(deletes),
            Err(error) if is_of_system(&error) => Err(error).with_context(reading),
            // That it is damaged was told.
            Err(_) => Ok(BoundedDeletes::default()),
        }
    }
}

/// Turns to a series; whether it can be written.
fn begin(series: &SeriesPoints<'_, '_>, format: &mut LineProtocol, told: &mut Told) -> bool {
    let cannot = |what: String, why: Unwritable| {
        format!("{what} cannot be written as line protocol: {why}")
    };
    let key = series.key().escape_ascii();
    if let Err(why) = format.begin(series.key()) {
        told.add(cannot(format!("series {key}"), why));
        return false;
    }
    for (name, _) in series.fields() {
        if let Err(why) = format.add_field(name) {
            let name = name.escape_ascii();
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
            self.sentences.push(format!("{} more", plural(self.more, "fault")));
        }
        self.sentences
    }
}
