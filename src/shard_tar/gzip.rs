//! One gzip member (RFC 1952) with a file name, as influxd's portable files are.

use std::io::{self, Write};

use flate2::{Compress, Compression, FlushCompress, Status};

/// How hard deflate works, 0 to 9. TSM files are compressed already: more takes far longer and
/// saves next to nothing.
const LEVEL: u32 = 2;
/// The window is 2 to this power, in bytes. A full one, 2^15, saves 2 % of a TSM file, and its
/// tables leave the processor's nearest cache: that costs a third of the speed.
const WINDOW_BITS: u8 = 12;
/// Bytes of compressed data collected before they are written.
const CHUNK: usize = 64 << 10;

/// Compresses what is written to it.
#[derive(Debug)]
pub struct GzipWriter<W> {
    out: W,
    deflate: Compress,
    /// Compressed bytes on their way.
    pending: Vec<u8>,
    crc: crc32fast::Hasher,
    /// Bytes so far, modulo 2^32.
    size: u32,
}

impl<W: Write> GzipWriter<W> {
    /// A member that says it holds a file `name`, without a zero byte in it. Nothing is written
    /// yet.
    pub fn new(name: &str, out: W) -> Self {
        // Magic, deflate, "a name follows", no time, no extra flags, unknown system.
        let mut pending = vec![0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 0xff];
        pending.reserve(CHUNK);
        pending.extend_from_slice(name.as_bytes());
        pending.push(0);
        let deflate = Compress::new_with_window_bits(Compression::new(LEVEL), false, WINDOW_BITS);
        Self {
            out,
            deflate,
            pending,
            crc: crc32fast::Hasher::new(),
            size: 0,
        }
    }

    /// Writes the end of the member.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn finish(mut self) -> io::Result<W> {
        while self.deflate(&[], FlushCompress::Finish)?.1 != Status::StreamEnd {}
        self.pending
            .extend_from_slice(&self.crc.finalize().to_le_bytes());
        self.pending.extend_from_slice(&self.size.to_le_bytes());
        self.out.write_all(&self.pending)?;
        self.out.flush()?;
        Ok(self.out)
    }

    /// Takes some of `bytes`, and says how many.
    fn deflate(&mut self, bytes: &[u8], flush: FlushCompress) -> io::Result<(usize, Status)> {
        if self.pending.capacity() - self.pending.len() < CHUNK / 2 {
            self.out.write_all(&self.pending)?;
            self.pending.clear();
        }
        let before = self.deflate.total_in();
        let status = self.deflate.compress_vec(bytes, &mut self.pending, flush)?;
        Ok(((self.deflate.total_in() - before) as usize, status))
    }
}

impl<W: Write> Write for GzipWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut count = 0;
        while count == 0 && !bytes.is_empty() {
            count = self.deflate(bytes, FlushCompress::None)?.0;
        }
        self.crc.update(&bytes[..count]);
        self.size = self.size.wrapping_add(count as u32);
        Ok(count)
    }

    /// Keeps what is pending: a member cannot be cut anywhere without growing.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use flate2::read::GzDecoder;
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_packed_in_any_pieces_is_unpacked_again(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..5000), 0..6), repeat in 1_usize..40,
        ) {
            let mut writer = GzipWriter::new("20261120T080000Z.s1.tar", Vec::new());
            let mut content = Vec::new();
            for piece in pieces.iter().cycle().take(pieces.len() * repeat) {
                writer.write_all(piece).unwrap();
                content.extend_from_slice(piece);
            }
            let packed = writer.finish().unwrap();
            let mut decoder = GzDecoder::new(&packed[..]);
            let mut unpacked = Vec::new();
            decoder.read_to_end(&mut unpacked).unwrap();
            prop_assert!(unpacked == content);
            prop_assert_eq!(decoder.header().unwrap().filename(), Some(&b"20261120T080000Z.s1.tar"[..]));
            prop_assert!(decoder.into_inner().is_empty());
        }
    }

    #[test]
    fn a_member_begins_as_influxds_does_but_for_the_time_that_means_nothing() {
        let packed = GzipWriter::new("20261123T014450Z.s1.tar", Vec::new())
            .finish()
            .unwrap();
        let influxd = b"\x1f\x8b\x08\x08\x00\x09\x6e\x88\x00\xff20261123T014450Z.s1.tar\x00";
        assert_eq!(
            (&packed[..4], &packed[8..influxd.len()]),
            (&influxd[..4], &influxd[8..])
        );
    }
}
