//! Rewriting the TSM files of an unpacked shard: without what was deleted of them, what lies
//! outside the times that are restored, of series that are not, and values of types that their
//! fields have no more.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::Path;

use anyhow::{Context, Result};

use super::checked_shard::{CheckedShard, ShardFile};
use super::lost::{LostBlocks, LostFrom, LostList};
use crate::cancel::Cancel;
use crate::error::ErrorKind;
use crate::influxd_dir::Ownership;
use crate::io::durable;
use crate::io::read_at::ReadAt;
use crate::time::Bounds;
use crate::tsm::filter::{FilterError, Filtered, PointFilter};
use crate::tsm::tombstone::BoundedDeletes;
use crate::tsm::tombstone::TombstoneEnding;
use crate::tsm::writer::Written;
use crate::tsm::{is_tombstone, stem, tombstone_of};

/// Bytes written at a time.
const CHUNK: usize = 256 << 10;

/// What is left of the files of a shard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Left {
    /// How many there are.
    pub files: usize,
    pub bytes: u64,
}

impl Left {
    /// A file that is there.
    pub(super) fn of_file(path: &Path) -> Result<Self> {
        let metadata =
            fs::metadata(path).with_context(|| format!("looking at {}", path.display()))?;
        Ok(Self {
            files: 1,
            bytes: metadata.len(),
        })
    }

    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            files: self.files + other.files,
            bytes: self.bytes.saturating_add(other.bytes),
        }
    }
}

/// Rewrites the TSM files of `shard` that were unpacked into `directory`, and removes those of
/// which nothing is left. With `apply_deletes`, the tombstones go too. Each file is made beside the
/// one it takes the place of. `lost` gets the blocks that are damaged.
///
/// # Errors
///
/// When a file is damaged in what has to be read of it, or the directory cannot be written; when a
/// stop was asked for.
pub(super) fn rewrite(
    shard: &CheckedShard,
    directory: &Path,
    apply_deletes: bool,
    ownership: &Ownership,
    lost: Option<&LostList>,
    stop: &Cancel,
) -> Result<Left> {
    let mut left = Left::default();
    for (name, file) in shard.files.iter() {
        if is_tombstone(name) {
            continue;
        }
        let mut bytes = Some(file.size);
        if name.ends_with(".tsm") {
            let deletes = if apply_deletes {
                deletes_of(shard, name, directory)?
            } else {
                BoundedDeletes::default()
            };
            let lost = lost.filter(|_| shard.damaged.contains(name));
            if shard.is_filtered() || !deletes.is_empty() || lost.is_some() {
                let of_file = ShardTsm {
                    shard,
                    name,
                    file,
                    deletes: &deletes,
                };
                bytes = of_file.rewrite(directory, ownership, lost, stop)?;
            }
        }
        left.files += usize::from(bytes.is_some());
        left.bytes += bytes.unwrap_or(0);
    }
    for (name, file) in shard.files.iter().filter(|(name, _)| is_tombstone(name)) {
        let stays = !apply_deletes && directory.join(format!("{}.tsm", stem(name))).exists();
        if stays {
            left.files += 1;
            left.bytes += file.size;
        } else {
            durable::remove_if_there(&directory.join(name))?;
        }
    }
    Ok(left)
}

/// A TSM file of an unpacked shard.
struct ShardTsm<'a> {
    shard: &'a CheckedShard,
    name: &'a str,
    file: &'a ShardFile,
    /// What was deleted of it.
    deletes: &'a BoundedDeletes,
}

impl ShardTsm<'_> {
    /// Writes it anew; its bytes afterwards, where anything is left of it.
    fn rewrite(
        &self,
        directory: &Path,
        ownership: &Ownership,
        lost: Option<&LostList>,
        stop: &Cancel,
    ) -> Result<Option<u64>> {
        let Self { shard, name, .. } = *self;
        let path = directory.join(name);
        let rewriting = || {
            format!(
                "leaving out of {name} of shard {} what is not restored",
                shard.source
            )
        };
        let file = Stopping {
            file: File::open(&path).with_context(rewriting)?,
            stop,
        };
        let filter = PointFilter {
            deletes: self.deletes,
            new_types: &shard.new_types,
            series: &shard.series,
            time_range: shard.time_range.unwrap_or(Bounds::ANY),
        };
        let rewritten = match lost {
            None => write_filtered(&filter, &file, &path),
            Some(lost) => self.write_sound(&filter, &file, &path, lost),
        };
        stop.check()?;
        match rewritten.with_context(rewriting)? {
            Filtered::Unchanged => {}
            Filtered::Rewritten(()) => ownership.apply(&path).with_context(rewriting)?,
            Filtered::Empty => {
                durable::remove_if_there(&path)?;
                return Ok(None);
            }
        }
        let metadata = fs::metadata(&path).with_context(rewriting)?;
        Ok(Some(metadata.len()))
    }

    /// Writes what stays of it without its damaged blocks, which `lost` gets.
    fn write_sound(
        &self,
        filter: &PointFilter<'_>,
        file: &dyn ReadAt,
        path: &Path,
        lost: &LostList,
    ) -> Result<Filtered<()>> {
        let from = LostFrom {
            list: lost,
            shard: &self.shard.source,
            file: &self.shard.sources[self.file.source].name,
            times: self.shard.group,
        };
        let mut blocks = LostBlocks::new(from, self.name);
        let written = write_beside(path, |out| {
            filter.rewrite_sound(file, out, &mut |block| blocks.add(block))
        })?;
        blocks.finish()?;
        Ok(written)
    }
}

/// Writes what stays of a TSM file to `path`, where that is neither all nor nothing. The new file is
/// written beside that, for its owner alone, and takes the name when it is whole.
pub(super) fn write_filtered(
    filter: &PointFilter<'_>,
    file: &dyn ReadAt,
    path: &Path,
) -> Result<Filtered<()>> {
    if !filter.would_change(file)? {
        return Ok(Filtered::Unchanged);
    }
    write_beside(path, |out| filter.rewrite(file, out))
}

/// Has `write` write a file that takes the place of `path` when it is whole.
fn write_beside(
    path: &Path,
    write: impl FnOnce(&mut dyn Write) -> Result<Option<Written>, FilterError>,
) -> Result<Filtered<()>> {
    let mut new = durable::unfinished_in(durable::directory_of(path))?;
    let mut out = BufWriter::with_capacity(CHUNK, new.as_file_mut());
    let written = write(&mut out)?;
    out.flush()
        .map_err(|error| FilterError::Write(error.into()))?;
    drop(out);
    if written.is_none() {
        return Ok(Filtered::Empty);
    }
    durable::sync(new.as_file(), new.path())?;
    durable::rename(&new.into_temp_path(), path)?;
    Ok(Filtered::Rewritten(()))
}

/// What the tombstone beside an unpacked TSM file says.
fn deletes_of(shard: &CheckedShard, name: &str, directory: &Path) -> Result<BoundedDeletes> {
    if !shard.files.has_deletes(name) {
        return Ok(BoundedDeletes::default());
    }
    let tombstone = tombstone_of(name);
    let reading = || format!("reading {tombstone} of shard {}", shard.source);
    let file = File::open(directory.join(&tombstone)).with_context(reading)?;
    let (deletes, ending) = BoundedDeletes::read(file, directory).with_context(reading)?;
    if ending == TombstoneEnding::Torn {
        // It was whole a moment ago.
        return Err(ErrorKind::Damage
            .error(format!("{tombstone} breaks off"))
            .into());
    }
    Ok(deletes)
}

/// A file whose reading ends when a stop is asked for.
pub(super) struct Stopping<'a> {
    pub(super) file: File,
    pub(super) stop: &'a Cancel,
}

impl ReadAt for Stopping<'_> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.stop.check().map_err(io::Error::other)?;
        ReadAt::read_exact_at(&self.file, buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        self.file.size()
    }
}
