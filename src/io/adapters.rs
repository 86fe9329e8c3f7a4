//! Readers and writers that pass bytes on and do something with them on the way.

use std::io::{self, Read, Write};

/// Writes what is read to a writer too, where there is one.
#[derive(Debug)]
pub(crate) struct TeeReader<R, W> {
    inner: R,
    writer: Option<W>,
    write_error: Option<io::Error>,
}

impl<R, W> TeeReader<R, W> {
    pub(crate) fn new(inner: R, writer: Option<W>) -> Self {
        Self {
            inner,
            writer,
            write_error: None,
        }
    }

    pub(crate) fn inner(&self) -> &R {
        &self.inner
    }

    /// The writer's error, where that is why reading failed.
    pub(crate) fn take_write_error(&mut self) -> Option<io::Error> {
        self.write_error.take()
    }

    pub(crate) fn into_writer(self) -> Option<W> {
        self.writer
    }
}

impl<R: Read, W: Write> Read for TeeReader<R, W> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        if let Some(writer) = &mut self.writer
            && let Err(error) = writer.write_all(&buffer[..count])
        {
            let kind = error.kind();
            self.write_error = Some(error);
            return Err(io::Error::new(kind, "what was read cannot be written"));
        }
        Ok(count)
    }
}

/// Counts what is written, and sums it up with CRC-32.
#[derive(Debug)]
pub(crate) struct Crc32Writer<W> {
    inner: W,
    count: u64,
    crc: crc32fast::Hasher,
}

impl<W> Crc32Writer<W> {
    pub(crate) fn new(inner: W) -> Self {
        Self {
            inner,
            count: 0,
            crc: crc32fast::Hasher::new(),
        }
    }

    /// Bytes so far.
    pub(crate) fn count(&self) -> u64 {
        self.count
    }

    /// CRC-32 of them.
    pub(crate) fn crc(&self) -> u32 {
        self.crc.clone().finalize()
    }

    pub(crate) fn into_inner(self) -> W {
        self.inner
    }
}

impl<W: Write> Write for Crc32Writer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let count = self.inner.write(bytes)?;
        self.crc.update(&bytes[..count]);
        self.count += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tee_writes_what_is_read_and_tells_its_writers_error_apart() {
        let mut tee = TeeReader::new(&b"content"[..], Some(Vec::new()));
        let mut read = Vec::new();
        tee.read_to_end(&mut read).unwrap();
        assert!(tee.take_write_error().is_none());
        assert_eq!(tee.into_writer().as_deref(), Some(&read[..]));

        let mut room = [0; 3];
        let mut tee = TeeReader::new(&b"content"[..], Some(&mut room[..]));
        let error = tee.read(&mut [0; 7]).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::WriteZero);
        assert!(tee.take_write_error().is_some());
    }

    #[test]
    fn a_sum_is_that_of_the_bytes_that_were_taken() {
        let mut room = [0; 3];
        let mut writer = Crc32Writer::new(&mut room[..]);
        assert_eq!(writer.write(b"content").unwrap(), 3);
        assert_eq!((writer.count(), writer.crc()), (3, crc32fast::hash(b"con")));
        assert!(writer.into_inner().is_empty());
    }
}
