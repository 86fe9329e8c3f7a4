//! Leaving points out of TSM files: those that were deleted, and those outside an interval.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::Path;

use anyhow::Result;

use super::scratch::in_scratch;
use crate::io::durable;
use crate::shard_tar::Member;
use crate::time::Bounds;
use crate::tsm::bounded_deletes::{BoundedDeletes, Reader};
use crate::tsm::fields::{NewTypes, OfOtherTypes};
use crate::tsm::filter::{FilterError, rewrite, would_change};
use crate::tsm::index::{FromStart, ReadAt};
use crate::tsm::tombstone::Ending;

/// Bytes written at a time.
const CHUNK: usize = 256 << 10;

/// What stays of a TSM file.
#[derive(Debug)]
pub enum Kept {
    /// All of it.
    All,
    /// This.
    Part(SiftedFile),
    /// Not a point.
    Nothing,
}

/// A TSM file made of another; it has no name and goes away with this.
#[derive(Debug)]
pub struct SiftedFile {
    file: File,
    /// Bytes.
    pub size: u64,
    /// CRC-32 of its content.
    pub crc: u32,
}

impl SiftedFile {
    /// Copies its content.
    ///
    /// # Errors
    ///
    /// Those of reading and of the writer.
    pub fn copy_to(&self, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
        let mut file = &self.file;
        file.rewind()?;
        let mut left = self.size;
        let mut buffer = vec![0; CHUNK];
        while left > 0 {
            let count = file.read(&mut buffer)?;
            if count == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            out.write_all(&buffer[..count])?;
            left -= count as u64;
        }
        Ok(())
    }
}

/// What a tombstone says was deleted of the TSM file of the same name, and how it ended. Where it is much, it is put into a file
/// in `scratch`.
///
/// # Errors
///
/// When it is damaged or cannot be read; with its name.
pub fn read_deletes(
    member: &Member,
    content: &dyn ReadAt,
    scratch: &Path,
) -> io::Result<(BoundedDeletes, Ending)> {
    BoundedDeletes::read(FromStart::new(content), scratch).map_err(|error| {
        let kind = error.kind();
        io::Error::new(kind, anyhow::Error::new(error).context(member.name.clone()))
    })
}

/// What is left out of a TSM file.
#[derive(Debug, Clone, Copy)]
pub struct LeftOut<'a> {
    /// What was deleted of it.
    pub deletes: &'a BoundedDeletes,
    /// The fields that have a type of which alone their values stay.
    pub new_types: &'a NewTypes,
    /// The times of the points that stay.
    pub bounds: Bounds,
}

impl LeftOut<'_> {
    fn reader(&self) -> OfOtherTypes<'_, Reader<'_>> {
        OfOtherTypes::new(self.deletes.reader(), self.new_types)
    }
}

/// What stays of `file`, made in the directory `scratch`.
///
/// # Errors
///
/// When the file is damaged in what has to be read of it, or the result cannot be written.
pub fn sift(
    file: &dyn ReadAt,
    left_out: &LeftOut<'_>,
    scratch: &Path,
) -> std::result::Result<Kept, FilterError> {
    if !would_change(file, &mut left_out.reader(), left_out.bounds)? {
        return Ok(Kept::All);
    }
    let written = |error: io::Error| FilterError::Write(in_scratch(scratch, error).into());
    let sum = Summing {
        file: tempfile::tempfile_in(scratch).map_err(written)?,
        directory: scratch,
        crc: crc32fast::Hasher::new(),
        size: 0,
    };
    let mut out = BufWriter::with_capacity(CHUNK, sum);
    let (_, kept) = rewrite(file, &mut left_out.reader(), left_out.bounds, &mut out)?;
    let Summing {
        file, crc, size, ..
    } = out
        .into_inner()
        .map_err(|error| written(error.into_error()))?;
    Ok(if kept.is_some() {
        Kept::Part(SiftedFile {
            file,
            size,
            crc: crc.finalize(),
        })
    } else {
        Kept::Nothing
    })
}

/// What became of a TSM file that was to lose points where it lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InPlace {
    /// It loses none.
    AsItWas,
    /// There is another in its place, for its owner alone.
    Rewritten,
    /// Not a point is left, and it is gone.
    Removed,
}

/// Leaves `left_out` out of a file at `path`, with the content `file`. The new one is written beside it, and takes its name when
/// it is whole.
///
/// # Errors
///
/// Those of [`sift`], and when the file cannot be replaced or removed.
pub fn sift_in_place(file: &dyn ReadAt, path: &Path, left_out: &LeftOut<'_>) -> Result<InPlace> {
    if !would_change(file, &mut left_out.reader(), left_out.bounds)? {
        return Ok(InPlace::AsItWas);
    }
    let directory = path.parent().unwrap_or(Path::new("."));
    let mut new = durable::unfinished_in(directory)?;
    let mut out = BufWriter::with_capacity(CHUNK, new.as_file_mut());
    let (_, kept) = rewrite(file, &mut left_out.reader(), left_out.bounds, &mut out)?;
    out.flush()
        .map_err(|error| FilterError::Write(error.into()))?;
    drop(out);
    if kept.is_none() {
        durable::remove_if_there(path)?;
        return Ok(InPlace::Removed);
    }
    durable::sync(new.as_file(), new.path())?;
    durable::rename(&new.into_temp_path(), path)?;
    Ok(InPlace::Rewritten)
}

/// Reads of `file` what [`sift`] would read, and writes nothing.
///
/// # Errors
///
/// When the file is damaged in what has to be read of it.
pub fn try_to_sift(
    file: &dyn ReadAt,
    left_out: &LeftOut<'_>,
) -> std::result::Result<(), FilterError> {
    if would_change(file, &mut left_out.reader(), left_out.bounds)? {
        rewrite(file, &mut left_out.reader(), left_out.bounds, io::sink())?;
    }
    Ok(())
}

/// Counts and sums up what is written.
struct Summing<'a> {
    file: File,
    directory: &'a Path,
    crc: crc32fast::Hasher,
    size: u64,
}

impl Write for Summing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes);
        let count = written.map_err(|error| in_scratch(self.directory, error))?;
        self.crc.update(&bytes[..count]);
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
