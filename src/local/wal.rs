//! The WAL of a shard of an influxd that does not run, and the TSM files that influxd would make of it.

use std::fs::{self, File, Metadata};
use std::io::{self, BufReader, BufWriter};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::shard_dir;
use crate::tsm::cache::{BUDGET, Cache};
use crate::tsm::flush::flush;
use crate::tsm::wal::Ending;
use crate::tsm::{file_name, generation};
use crate::wire::ShardPath;

/// Bytes read or written at a time.
const CHUNK: usize = 128 << 10;

/// The segments of a shard's WAL that hold something.
#[derive(Debug)]
pub struct Wal {
    /// In the order in which influxd replays them.
    segments: Vec<(PathBuf, Metadata)>,
    /// Which of them was written last.
    newest: usize,
}

/// What was made of a WAL.
#[derive(Debug)]
pub struct Flushed {
    /// Names and places of the TSM files; none where everything in the WAL is deleted in it.
    pub files: Vec<(String, PathBuf)>,
    /// A sentence for each segment that was read in part only.
    pub torn: Vec<String>,
}

impl Wal {
    /// The WAL of a shard, unless it holds nothing.
    ///
    /// # Errors
    ///
    /// When its directory cannot be read.
    pub fn find(waldir: &Path, shard: &ShardPath) -> Result<Option<Self>> {
        let directory = shard_dir(waldir, shard);
        let entries = match fs::read_dir(&directory) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            entries => entries.with_context(|| format!("reading {}", directory.display()))?,
        };
        let mut segments = Vec::new();
        for entry in entries {
            let entry = entry.with_context(|| format!("reading {}", directory.display()))?;
            // influxd looks at no other files.
            let name = entry.file_name();
            if !name.to_str().is_some_and(|name| name.starts_with('_') && name.ends_with(".wal")) {
                continue;
            }
            let path = entry.path();
            let metadata = fs::metadata(&path).with_context(|| format!("reading {}", path.display()))?;
            if metadata.len() > 0 {
                segments.push((path, metadata));
            }
        }
        // By their bytes, as influxd: behind _99999 it goes wrong in the same way.
        segments.sort_by(|a, b| a.0.cmp(&b.0));
        let newest = (0..segments.len()).max_by_key(|at| segments[*at].1.modified().ok());
        Ok(newest.map(|newest| Self { segments, newest }))
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.segments.iter().map(|(_, metadata)| metadata.len()).sum()
    }

    /// Of the segment written last.
    pub fn metadata(&self) -> &Metadata {
        &self.segments[self.newest].1
    }

    /// Makes TSM files of it in `folder`, as modified when the WAL was. Their generation is behind those of the shard's `files`,
    /// so that their points win over those.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or the files cannot be written.
    pub fn flush_into<'a>(&self, folder: &Path, files: impl Iterator<Item = &'a str>) -> Result<Flushed> {
        let mut cache = Cache::new(folder, BUDGET);
        let mut torn = Vec::new();
        for (path, metadata) in &self.segments {
            let opened = File::open(path).with_context(|| format!("opening {}", path.display()))?;
            let ending =
                cache.replay(BufReader::with_capacity(CHUNK, opened)).with_context(|| format!("reading {}", path.display()))?;
            if let Ending::Torn { offset, fault } = ending {
                let (name, left) = (path.file_name().unwrap_or_default().display(), metadata.len().saturating_sub(offset));
                torn.push(format!("the last {left} bytes of {name} are left out, as influxd would: {fault}"));
            }
        }
        // A tombstone without its TSM file would hold for a new one of that name.
        let highest = files.filter_map(generation).max().unwrap_or(0);
        let modified = self.metadata().modified().context("reading when the WAL was written")?;
        let mut made = Vec::new();
        flush(cache, folder, |count| -> Result<_> {
            let next =
                u32::try_from(count).ok().and_then(|count| highest.checked_add(count)).and_then(|last| last.checked_add(1));
            let name = file_name(next.context("no generation is left for a TSM file")?, 1);
            let path = folder.join(&name);
            let file = File::options().write(true).create_new(true).open(&path);
            let file = file.with_context(|| format!("making {}", path.display()))?;
            made.push((name, path));
            Ok(BufWriter::with_capacity(CHUNK, file))
        })?;
        for (_, path) in &made {
            let file = File::options().write(true).open(path).with_context(|| format!("opening {}", path.display()))?;
            file.set_modified(modified).with_context(|| format!("setting the time of {}", path.display()))?;
        }
        Ok(Flushed { files: made, torn })
    }
}
