//! The metastore as it travels, and as a `meta.NN` file holds it.
//!
//! Eight bytes magic, eight bytes length M, M bytes of protobuf, eight bytes length N, N bytes of
//! JSON about the node. Nothing follows. Servers of all 1.x versions send the five bytes `null\n`
//! as the node.

use std::io::{self, Read, Write};

use byteorder::{BigEndian, ByteOrder, WriteBytesExt};
use thiserror::Error;

use super::META_MAGIC;

/// The largest metastore accepted, in bytes. One with 100,000 shard groups takes some 4 MB.
pub(crate) const MAX_META_BYTES: u64 = 256 << 20;

/// A metastore in its frame.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaBlob {
    /// The protobuf message `meta.Data`.
    pub meta: Vec<u8>,
    /// JSON about the node.
    pub node: Vec<u8>,
}

/// Why bytes are not a framed metastore.
#[derive(Debug, Error)]
pub enum BlobError {
    /// There is not a single byte.
    #[error("it is empty")]
    Nothing,
    /// The first bytes, up to eight of them, are not the magic.
    #[error(
        "it does not begin with the magic {META_MAGIC:#010x} but with \"{}\"",
        .0.escape_ascii()
    )]
    NotMagic(Vec<u8>),
    /// It breaks off.
    #[error("it breaks off after {have} of at least {need} bytes")]
    CutOff {
        /// How many bytes there are.
        have: u64,
        /// How many there should be at least.
        need: u64,
    },
    /// A length is larger than [`MAX_META_BYTES`].
    #[error("it claims {0} bytes, more than the {MAX_META_BYTES} that are accepted")]
    TooLong(u64),
    /// There are bytes after the end.
    #[error("there are bytes after its end")]
    Trailing,
    /// The reader failed.
    #[error("it could not be read")]
    Io(#[source] io::Error),
}

impl MetaBlob {
    /// Reads a framed metastore, to the reader's end.
    ///
    /// # Errors
    ///
    /// See [`BlobError`]. No more memory is taken than bytes arrive.
    pub fn read_from(mut reader: impl Read) -> Result<Self, BlobError> {
        let mut have = 0;
        read_magic(&mut reader, &mut have)?;
        let meta = read_counted(&mut reader, &mut have)?;
        let node = read_counted(&mut reader, &mut have)?;
        if !read_up_to(&mut reader, 1, &mut have)?.is_empty() {
            return Err(BlobError::Trailing);
        }
        Ok(Self { meta, node })
    }

    /// Writes the metastore in its frame: byte for byte what [`MetaBlob::read_from`] read.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn write_to(&self, writer: &mut impl Write) -> io::Result<()> {
        writer.write_u64::<BigEndian>(META_MAGIC)?;
        for part in [&self.meta, &self.node] {
            writer.write_u64::<BigEndian>(part.len() as u64)?;
            writer.write_all(part)?;
        }
        Ok(())
    }
}

/// Reads the magic, and no further than to the first read that shows that it is something else: a
/// peer of another kind may wait for more after a few bytes.
fn read_magic(reader: &mut impl Read, have: &mut u64) -> Result<(), BlobError> {
    let wanted = META_MAGIC.to_be_bytes();
    let mut magic = [0; 8];
    let mut count = 0;
    while count < magic.len() {
        match reader.read(&mut magic[count..]) {
            Ok(0) if count == 0 => return Err(BlobError::Nothing),
            Ok(0) => {
                return Err(BlobError::CutOff {
                    have: count as u64,
                    need: 8,
                });
            }
            Ok(more) => count += more,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(BlobError::Io(error)),
        }
        if magic[..count] != wanted[..count] {
            return Err(BlobError::NotMagic(magic[..count].to_vec()));
        }
    }
    *have = 8;
    Ok(())
}

fn read_counted(reader: &mut impl Read, have: &mut u64) -> Result<Vec<u8>, BlobError> {
    let start = *have;
    let length = read_up_to(reader, 8, have)?;
    if length.len() < 8 {
        return Err(BlobError::CutOff {
            have: *have,
            need: start + 8,
        });
    }
    let length = BigEndian::read_u64(&length);
    if length > MAX_META_BYTES {
        return Err(BlobError::TooLong(length));
    }
    let bytes = read_up_to(reader, length, have)?;
    if (bytes.len() as u64) < length {
        return Err(BlobError::CutOff {
            have: *have,
            need: start + 8 + length,
        });
    }
    Ok(bytes)
}

/// Reads `limit` bytes, or fewer where the reader ends.
fn read_up_to(reader: &mut impl Read, limit: u64, have: &mut u64) -> Result<Vec<u8>, BlobError> {
    let mut bytes = Vec::new();
    reader
        .take(limit)
        .read_to_end(&mut bytes)
        .map_err(BlobError::Io)?;
    *have += bytes.len() as u64;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LITERAL: &[u8] =
        b"\0\0\0\0\x59\x59\x01\x01\0\0\0\0\0\0\0\x02\x08\0\0\0\0\0\0\0\0\x05null\n";

    /// Gives one byte at a time.
    struct Drip<'a>(&'a [u8]);

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let count = self.0.len().min(buffer.len()).min(1);
            self.0.read(&mut buffer[..count])
        }
    }

    #[test]
    fn the_literal_frame_is_read_and_written_back_byte_for_byte() {
        let blob = MetaBlob::read_from(LITERAL).unwrap();
        assert_eq!(
            blob,
            MetaBlob {
                meta: vec![8, 0],
                node: b"null\n".to_vec()
            }
        );
        assert_eq!(MetaBlob::read_from(Drip(LITERAL)).unwrap(), blob);
        let mut written = Vec::new();
        blob.write_to(&mut written).unwrap();
        assert_eq!(written, LITERAL);
    }

    #[test]
    fn every_cut_and_every_extra_byte_is_seen() {
        assert!(matches!(
            MetaBlob::read_from(&b""[..]),
            Err(BlobError::Nothing)
        ));
        // Where the magic, the first length, the metastore, the second length and the node end.
        let ends = [8, 16, 18, 26, LITERAL.len()];
        for end in 1..LITERAL.len() {
            let result = MetaBlob::read_from(&LITERAL[..end]);
            let needed = *ends.iter().find(|part_end| **part_end > end).unwrap();
            assert!(
                matches!(
                    result,
                    Err(BlobError::CutOff { have, need })
                        if (have, need) == (end as u64, needed as u64)
                ),
                "cut at {end}: {result:?}"
            );
        }
        assert!(matches!(
            MetaBlob::read_from(&[LITERAL, b"x"].concat()[..]),
            Err(BlobError::Trailing)
        ));
    }

    /// Fails so often with that kind before it gives a byte.
    struct Failing<'a>(Drip<'a>, io::ErrorKind, usize);

    impl Read for Failing<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match self.2.checked_sub(1) {
                Some(left) => {
                    self.2 = left;
                    Err(self.1.into())
                }
                None => self.0.read(buffer),
            }
        }
    }

    #[test]
    fn an_interrupted_read_is_tried_again_and_any_other_failure_comes_through() {
        let read = |kind| MetaBlob::read_from(Failing(Drip(LITERAL), kind, 2));
        assert_eq!(
            read(io::ErrorKind::Interrupted).unwrap(),
            MetaBlob::read_from(LITERAL).unwrap()
        );
        assert!(matches!(
            read(io::ErrorKind::TimedOut),
            Err(BlobError::Io(error)) if error.kind() == io::ErrorKind::TimedOut
        ));
    }

    #[test]
    fn something_else_is_told_by_its_first_bytes() {
        for other in [
            &b"HTTP/1.1 400 Bad Request"[..],
            b"\x15\x03\x01",
            b"\0\0\0\0\x59\x59\x01\x02",
        ] {
            assert!(
                matches!(MetaBlob::read_from(other), Err(BlobError::NotMagic(_))),
                "{other:?}"
            );
        }
    }

    #[test]
    fn a_huge_length_is_refused_before_memory_is_taken() {
        let mut bytes = LITERAL[..8].to_vec();
        bytes.extend(u64::MAX.to_be_bytes());
        assert!(matches!(
            MetaBlob::read_from(&bytes[..]),
            Err(BlobError::TooLong(u64::MAX))
        ));
        bytes.truncate(8);
        bytes.extend(MAX_META_BYTES.to_be_bytes());
        assert!(matches!(
            MetaBlob::read_from(&bytes[..]),
            Err(BlobError::CutOff { have: 16, .. })
        ));
    }

    proptest! {
        #[test]
        fn any_bytes_are_either_a_frame_that_writes_back_the_same_or_an_error(bytes in any::<Vec<u8>>()) {
            let bytes = [&LITERAL[..8], &bytes].concat();
            if let Ok(blob) = MetaBlob::read_from(&bytes[..]) {
                let mut written = Vec::new();
                blob.write_to(&mut written).unwrap();
                prop_assert_eq!(written, bytes);
            }
        }

        #[test]
        fn what_is_written_is_read_back(meta in any::<Vec<u8>>(), node in any::<Vec<u8>>()) {
            let blob = MetaBlob { meta, node };
            let mut written = Vec::new();
            blob.write_to(&mut written).unwrap();
            prop_assert_eq!(MetaBlob::read_from(Drip(&written)).unwrap(), blob);
        }
    }
}
