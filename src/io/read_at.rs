//! Reading at any offset: files, bytes in memory, and parts of them.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Bytes that can be read at any offset, by several threads at a time.
pub trait ReadAt: Sync {
    /// Fills `buf` with the bytes from `offset` on.
    ///
    /// # Errors
    ///
    /// When reading fails or the bytes end before `buf` is full.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// How many bytes there are.
    ///
    /// # Errors
    ///
    /// When that cannot be told.
    fn size(&self) -> io::Result<u64>;
}

impl ReadAt for File {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        FileExt::read_exact_at(self, buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }
}

impl ReadAt for [u8] {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let rest = usize::try_from(offset)
            .ok()
            .and_then(|offset| self.get(offset..));
        let bytes = rest
            .and_then(|rest| rest.get(..buf.len()))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        buf.copy_from_slice(bytes);
        Ok(())
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }
}

/// A part of something larger.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Section<'a, R: ?Sized> {
    whole: &'a R,
    start: u64,
    size: u64,
}

impl<'a, R: ReadAt + ?Sized> Section<'a, R> {
    /// `size` bytes of `whole` from `start` on.
    pub(crate) fn new(whole: &'a R, start: u64, size: u64) -> Self {
        Self { whole, start, size }
    }
}

impl<R: ReadAt + ?Sized> ReadAt for Section<'_, R> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        let end = offset
            .checked_add(buf.len() as u64)
            .filter(|end| *end <= self.size);
        let start = end
            .and_then(|_| self.start.checked_add(offset))
            .ok_or(io::ErrorKind::UnexpectedEof)?;
        self.whole.read_exact_at(buf, start)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.size)
    }
}

/// Reads from front to back what can be read anywhere.
#[derive(Debug)]
pub(crate) struct FromStart<'a, R: ?Sized> {
    content: &'a R,
    at: u64,
}

impl<'a, R: ReadAt + ?Sized> FromStart<'a, R> {
    /// Reads `content` from its first byte on.
    pub(crate) fn new(content: &'a R) -> Self {
        Self { content, at: 0 }
    }
}

impl<R: ReadAt + ?Sized> io::Read for FromStart<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let left = self.content.size()?.saturating_sub(self.at);
        let count = buffer
            .len()
            .min(usize::try_from(left).unwrap_or(usize::MAX));
        self.content.read_exact_at(&mut buffer[..count], self.at)?;
        self.at += count as u64;
        Ok(count)
    }
}
