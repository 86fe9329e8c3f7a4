//! Applying a filter to a file: into a writer, into another file without a name, or only to see
//! whether that works.

use std::fs::File;
use std::io::{self, BufWriter, Read, Seek, Write};
use std::path::Path;

use super::super::sought_series::SoughtSeries;
use super::super::tombstone::{BoundedDeletes, DeletesReader};
use super::super::writer::Written;
use super::left_out::LeftOut;
use super::lost_block::LostBlock;
use super::new_types::NewTypes;
use super::rewrite::{FilterError, rewrite, rewrite_with, would_change};
use crate::io::adapters::Crc32Writer;
use crate::io::read_at::ReadAt;
use crate::io::scratch::in_scratch;
use crate::time::Bounds;

/// Bytes written at a time.
const CHUNK: usize = 256 << 10;

/// What stays of a TSM file.
#[derive(Debug)]
pub(crate) enum Filtered<T> {
    /// All of its points.
    Unchanged,
    /// Some of them, in another file.
    Rewritten(T),
    /// Not a point.
    Empty,
}

/// A TSM file made of another; it has no name and goes away with this.
#[derive(Debug)]
pub(crate) struct FilteredFile {
    file: File,
    /// Bytes.
    pub size: u64,
    /// CRC-32 of its content.
    pub crc: u32,
}

impl FilteredFile {
    /// Its content.
    pub(crate) fn content(&self) -> &File {
        &self.file
    }

    /// Copies its content.
    ///
    /// # Errors
    ///
    /// Those of reading and of the writer.
    pub(crate) fn copy_to(&self, out: &mut (impl Write + ?Sized)) -> io::Result<()> {
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

/// Which points of a TSM file stay.
#[derive(Debug, Clone, Copy)]
pub(crate) struct PointFilter<'a> {
    /// What was deleted of it, and does not stay.
    pub deletes: &'a BoundedDeletes,
    /// The fields that have a type of which alone their values stay.
    pub new_types: &'a NewTypes,
    /// The series that stay.
    pub series: &'a SoughtSeries,
    /// The times of the points that stay.
    pub time_range: Bounds,
}

impl PointFilter<'_> {
    fn reader(&self) -> LeftOut<'_, DeletesReader<'_>> {
        LeftOut::new(self.deletes.reader(), self.new_types, self.series)
    }

    /// Whether not all points of `file` stay.
    ///
    /// # Errors
    ///
    /// When the file is damaged in what has to be read of it.
    pub(crate) fn would_change(&self, file: &dyn ReadAt) -> Result<bool, FilterError> {
        would_change(file, &mut self.reader(), self.time_range)
    }

    /// Writes what stays of `file` as another TSM file; none where not a point does.
    ///
    /// # Errors
    ///
    /// When the file is damaged in what has to be read of it, or the result cannot be written.
    pub(crate) fn rewrite(
        &self,
        file: &dyn ReadAt,
        out: impl Write,
    ) -> Result<Option<Written>, FilterError> {
        let (_, written) = rewrite(file, &mut self.reader(), self.time_range, out)?;
        Ok(written)
    }

    /// As [`PointFilter::rewrite`], without the blocks that are damaged, which `lost` is told. Every
    /// block that stays is looked into.
    ///
    /// # Errors
    ///
    /// When the index is damaged, or the result cannot be written.
    pub(crate) fn rewrite_sound(
        &self,
        file: &dyn ReadAt,
        out: impl Write,
        lost: &mut dyn FnMut(LostBlock<'_>),
    ) -> Result<Option<Written>, FilterError> {
        let mut deletes = self.reader();
        let (_, written) = rewrite_with(file, &mut deletes, self.time_range, out, Some(lost))?;
        Ok(written)
    }

    /// What stays of `file`, made in the directory `scratch`.
    ///
    /// # Errors
    ///
    /// When the file is damaged in what has to be read of it, or the result cannot be written.
    pub(crate) fn apply(
        &self,
        file: &dyn ReadAt,
        scratch: &Path,
    ) -> Result<Filtered<FilteredFile>, FilterError> {
        if !self.would_change(file)? {
            return Ok(Filtered::Unchanged);
        }
        let written = |error: io::Error| FilterError::Write(in_scratch(scratch, error).into());
        let file_in_scratch = ScratchWriter {
            file: tempfile::tempfile_in(scratch).map_err(written)?,
            directory: scratch,
        };
        let mut out = BufWriter::with_capacity(CHUNK, Crc32Writer::new(file_in_scratch));
        if self.rewrite(file, &mut out)?.is_none() {
            return Ok(Filtered::Empty);
        }
        let summed = out
            .into_inner()
            .map_err(|error| written(error.into_error()))?;
        Ok(Filtered::Rewritten(FilteredFile {
            size: summed.count(),
            crc: summed.crc(),
            file: summed.into_inner().file,
        }))
    }

    /// Reads of `file` what [`PointFilter::apply`] would read, and writes nothing.
    ///
    /// # Errors
    ///
    /// When the file is damaged in what has to be read of it.
    pub(crate) fn try_on(&self, file: &dyn ReadAt) -> Result<(), FilterError> {
        if self.would_change(file)? {
            self.rewrite(file, io::sink())?;
        }
        Ok(())
    }
}

/// A file in a directory that its errors name.
struct ScratchWriter<'a> {
    file: File,
    directory: &'a Path,
}

impl Write for ScratchWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes);
        written.map_err(|error| in_scratch(self.directory, error))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
