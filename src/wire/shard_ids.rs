//! The reply to an import: the magic, the number of pairs, and pairs of the old and the new id of
//! each shard.

use std::collections::BTreeMap;
use std::io::{self, BufRead, Write};

use byteorder::{BigEndian, ReadBytesExt, WriteBytesExt};

use super::META_MAGIC;

/// The new id of each shard, by its old one.
pub(crate) type ShardIds = BTreeMap<u64, u64>;

/// The most pairs read.
const MAX_PAIRS: u64 = 2_000_000;

/// Reads the reply to its end. Without pairs, or without a byte, the server refused, or what it
/// imported has no shards.
///
/// # Errors
///
/// Those of the reader; [`io::ErrorKind::UnexpectedEof`] for a reply that breaks off;
/// [`io::ErrorKind::InvalidData`] for another reply.
pub fn read_shard_ids(reader: &mut impl BufRead) -> io::Result<ShardIds> {
    let invalid = |why: &str| {
        io::Error::new(
            io::ErrorKind::InvalidData,
            format!("the reply to an import {why}"),
        )
    };
    if reader.fill_buf()?.is_empty() {
        return Ok(ShardIds::new());
    }
    if reader.read_u64::<BigEndian>()? != META_MAGIC {
        return Err(invalid("does not begin with the magic"));
    }
    let count = reader.read_u64::<BigEndian>()?;
    if count > MAX_PAIRS {
        return Err(invalid("claims more pairs than there can be"));
    }
    let mut ids = ShardIds::new();
    for _ in 0..count {
        let (old, new) = (
            reader.read_u64::<BigEndian>()?,
            reader.read_u64::<BigEndian>()?,
        );
        ids.insert(old, new);
    }
    match reader.read(&mut [0]) {
        Ok(0) => Ok(ids),
        Ok(_) => Err(invalid("is longer than it says")),
        // A server that did not read all that it was sent resets the connection behind its reply.
        Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(ids),
        Err(error) => Err(error),
    }
}

/// Writes the reply.
///
/// # Errors
///
/// Those of the writer.
pub fn write_shard_ids(writer: &mut impl Write, ids: &ShardIds) -> io::Result<()> {
    writer.write_u64::<BigEndian>(META_MAGIC)?;
    writer.write_u64::<BigEndian>(ids.len() as u64)?;
    for (old, new) in ids {
        writer.write_u64::<BigEndian>(*old)?;
        writer.write_u64::<BigEndian>(*new)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::{BufReader, Read};

    use super::*;

    #[test]
    fn the_literal_reply_is_written_and_read_and_every_cut_is_seen() {
        let literal =
            b"\0\0\0\0\x59\x59\x01\x01\0\0\0\0\0\0\0\x01\0\0\0\0\0\0\0\x07\0\0\0\0\0\0\x01\0";
        let mut written = Vec::new();
        write_shard_ids(&mut written, &ShardIds::from([(7, 256)])).unwrap();
        assert_eq!(written, literal);
        assert_eq!(
            read_shard_ids(&mut &literal[..]).unwrap(),
            ShardIds::from([(7, 256)])
        );
        assert_eq!(read_shard_ids(&mut &b""[..]).unwrap(), ShardIds::new());
        for end in 1..literal.len() {
            assert_eq!(
                read_shard_ids(&mut &literal[..end]).unwrap_err().kind(),
                io::ErrorKind::UnexpectedEof
            );
        }
        let longer = [&literal[..], b"x"].concat();
        assert_eq!(
            read_shard_ids(&mut &longer[..]).unwrap_err().kind(),
            io::ErrorKind::InvalidData
        );
        for (count, kind) in [
            (MAX_PAIRS, io::ErrorKind::UnexpectedEof),
            (MAX_PAIRS + 1, io::ErrorKind::InvalidData),
            (u64::MAX, io::ErrorKind::InvalidData),
        ] {
            let claims = [&literal[..8], &count.to_be_bytes()].concat();
            let error = read_shard_ids(&mut &claims[..]).unwrap_err();
            assert_eq!(error.kind(), kind, "{count}");
        }
    }

    #[test]
    fn a_connection_that_is_reset_behind_the_whole_reply_spoils_nothing() {
        struct Failing(io::ErrorKind);
        impl Read for Failing {
            fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
                Err(self.0.into())
            }
        }
        let mut reply = Vec::new();
        let ids = ShardIds::from([(7, 256), (8, 257)]);
        write_shard_ids(&mut reply, &ids).unwrap();
        let read = |end: usize, kind| {
            let reader = reply[..end].chain(Failing(kind));
            read_shard_ids(&mut BufReader::with_capacity(1, reader)).map_err(|error| error.kind())
        };
        let reset = io::ErrorKind::ConnectionReset;
        assert_eq!(read(reply.len(), reset), Ok(ids));
        for end in 0..reply.len() {
            assert_eq!(read(end, reset), Err(reset), "after {end} bytes");
        }
        let timeout = io::ErrorKind::TimedOut;
        assert_eq!(read(reply.len(), timeout), Err(timeout));
    }
}
