//! The outside of a TSM file: enough to see that it is one, and whole.
//!
//! A TSM file begins with the magic `16 D1 16 D1` and the version 1; its last eight bytes are the
//! big-endian offset of its index, which lies behind the header and before those eight bytes. (What
//! influxd 1.6.7 itself checks on opening.)

use byteorder::{BigEndian, ByteOrder};
use thiserror::Error;

use super::HEADER;

const FOOTER_BYTES: u64 = 8;

/// Watches the bytes of a TSM file pass and checks header and footer. Takes any split of the bytes.
#[derive(Debug, Default)]
pub(crate) struct Envelope {
    size: u64,
    header: Vec<u8>,
    /// The last bytes seen, up to eight of them.
    tail: Vec<u8>,
}

impl Envelope {
    /// Takes the next bytes of the file.
    pub(crate) fn feed(&mut self, chunk: &[u8]) {
        self.size += chunk.len() as u64;
        let missing = HEADER.len() - self.header.len();
        self.header.extend(chunk.iter().take(missing));
        let footer_bytes = FOOTER_BYTES as usize;
        if chunk.len() >= footer_bytes {
            self.tail.clear();
            self.tail
                .extend_from_slice(&chunk[chunk.len() - footer_bytes..]);
        } else {
            self.tail.extend_from_slice(chunk);
            let surplus = self.tail.len().saturating_sub(footer_bytes);
            self.tail.drain(..surplus);
        }
    }

    /// Says what is wrong with the file, once all its bytes were seen.
    ///
    /// # Errors
    ///
    /// See [`EnvelopeError`].
    pub(crate) fn finish(&self) -> Result<(), EnvelopeError> {
        if self.header != HEADER {
            return Err(EnvelopeError::Header(self.header.clone()));
        }
        let end = self.size.saturating_sub(FOOTER_BYTES);
        if end <= HEADER.len() as u64 {
            return Err(EnvelopeError::Short(self.size));
        }
        let index = BigEndian::read_u64(&self.tail);
        if index < HEADER.len() as u64 || index >= end {
            return Err(EnvelopeError::Footer {
                index,
                size: self.size,
            });
        }
        Ok(())
    }
}

/// Why bytes are not a TSM file.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum EnvelopeError {
    /// The first bytes are not magic and version.
    #[error("no TSM file: it begins with {0:02x?}")]
    Header(Vec<u8>),
    /// There is no room for an index.
    #[error("no TSM file: {0} bytes are too few")]
    Short(u64),
    /// The footer points outside the file.
    #[error("a damaged TSM file: its footer puts the index at offset {index} of {size} bytes")]
    Footer {
        /// The offset of the index it names.
        index: u64,
        /// The file's size.
        size: u64,
    },
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A complete small file as influxd 1.6.7 wrote it: `m,h=a v=1.5` at 1600000000000000000.
    pub(crate) const REAL: &[u8] = b"\x16\xd1\x16\xd1\x01\x20\xdc\xb3\xe6\x00\x09\x1c\x16\x34\x57\x85\xd8\xa0\x00\x00\x10\
        \x3f\xf8\x00\x00\x00\x00\x00\x00\xc3\xfc\x00\x00\x00\x00\x00\x00\x00\x10\x00\x0am,h=a#!~#v\x00\x00\x01\
        \x16\x34\x57\x85\xd8\xa0\x00\x00\x16\x34\x57\x85\xd8\xa0\x00\x00\x00\x00\x00\x00\x00\x00\x00\x05\x00\x00\x00\x22\
        \x00\x00\x00\x00\x00\x00\x00\x27";

    fn check(bytes: &[u8], step: usize) -> Result<(), EnvelopeError> {
        let mut envelope = Envelope::default();
        bytes.chunks(step).for_each(|chunk| envelope.feed(chunk));
        envelope.finish()
    }

    #[test]
    fn a_real_file_is_seen_to_be_whole_however_its_bytes_are_split() {
        assert_eq!(REAL.len(), 90);
        for step in 1..=REAL.len() {
            assert_eq!(check(REAL, step), Ok(()), "in steps of {step}");
        }
    }

    #[test]
    fn a_cut_file_and_a_foreign_one_are_told() {
        // Cut at 39 and 78, what stands where the footer should passes for one: only a look into
        // the index would tell.
        for end in (0..REAL.len()).filter(|end| ![39, 78].contains(end)) {
            assert!(check(&REAL[..end], 7).is_err(), "cut at {end}");
        }
        assert!(matches!(
            check(b"plain text, no TSM", 18),
            Err(EnvelopeError::Header(_))
        ));
        let mut foreign_footer = REAL.to_vec();
        foreign_footer[82] = 1;
        assert!(matches!(
            check(&foreign_footer, 90),
            Err(EnvelopeError::Footer { .. })
        ));
    }
}
