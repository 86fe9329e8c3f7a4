//! Leaving points out of TSM files: those that were deleted, and those outside an interval.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::Path;

use super::scratch::in_scratch;
use crate::format::shard_tar::Member;
use crate::time::Bounds;
use crate::tsm::deletes::DeletedRanges;
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

/// What a tombstone says was deleted of the TSM file of the same name, and how it ended.
///
/// # Errors
///
/// When it is damaged or cannot be read; with its name.
pub fn read_deletes(member: &Member, content: &dyn ReadAt) -> io::Result<(DeletedRanges, Ending)> {
    DeletedRanges::read(FromStart::new(content))
        .map_err(|error| io::Error::new(error.kind(), format!("{}: {error}", member.name)))
}

/// What stays of `file` without what is deleted and what is not in `bounds`, made in the directory `scratch`.
///
/// # Errors
///
/// When the file is damaged in what has to be read of it, or the result cannot be written.
pub fn sift(
    file: &dyn ReadAt,
    mut deletes: &DeletedRanges,
    bounds: Bounds,
    scratch: &Path,
) -> Result<Kept, FilterError> {
    if !would_change(file, &mut deletes, bounds)? {
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
    let (_, kept) = rewrite(file, &mut deletes, bounds, &mut out)?;
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
