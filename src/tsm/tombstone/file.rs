//! Tombstone files, `<generation>-<sequence>.tombstone`: what was deleted of the TSM file of the
//! same name.
//!
//! | version | servers | first bytes | then |
//! |---|---|---|---|
//! | 1 | before 0.13 | none of its own | lines of text: keys of which everything was deleted |
//! | 2 | 1.0 to 1.3 | `00 00 15 02` | records |
//! | 3 | 1.4; later ones when they add to a file of version 1 to 3 | `00 00 15 03` | records in gzip, one member as a rule |
//! | 4 | 1.5 to 1.12 | `00 00 15 04` | records in any number of gzip members |
//!
//! A record is a key's length (4 bytes, big-endian), the key, and the first and last time (8 each,
//! `i64` nanoseconds) of what was deleted, both included. An empty file deletes nothing. (Files of
//! version 4 were seen from influxd 1.6.7, and an empty one given to it; the rest was read in the
//! sources.)

use std::io::{self, BufRead, BufReader, Read, Write};

use byteorder::{BigEndian, ByteOrder};
use flate2::Compression;
use flate2::read::MultiGzDecoder;
use flate2::write::GzEncoder;

/// The first three bytes of every version but the first; the fourth is the version.
const MAGIC: [u8; 3] = [0, 0, 0x15];
/// Bytes of the length before a key.
const LENGTH_BYTES: usize = 4;
/// Bytes of the times behind a key.
const TIME_BYTES: usize = 16;
/// Keys are no longer: an index has two bytes for their length.
const MAX_KEY_BYTES: usize = u16::MAX as usize;

/// The points of a key that were deleted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TombstoneRecord<'a> {
    /// Series key, `#!~#`, field name; 1 to 65535 bytes.
    pub key: &'a [u8],
    /// The first time deleted, in nanoseconds since 1970; `i64::MIN` where everything before the
    /// last was.
    pub min: i64,
    /// The last time deleted; `i64::MAX` where everything after the first was.
    pub max: i64,
}

/// How a tombstone file ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum TombstoneEnding {
    /// Behind a record.
    Clean,
    /// Within one, or within a gzip member: it was cut off.
    Torn,
}

/// Hands the records of a tombstone file of any version to `each`, those before a cut included.
/// Takes the memory of one record.
///
/// # Errors
///
/// When reading fails, or with [`io::ErrorKind::InvalidInput`] or [`io::ErrorKind::InvalidData`]
/// when the content is damaged other than by a cut.
pub fn read(
    source: impl Read,
    mut each: impl FnMut(TombstoneRecord<'_>),
) -> io::Result<TombstoneEnding> {
    read_until_error(source, |record| {
        each(record);
        Ok(())
    })
}

/// As [`read`], for who may fail with a record.
///
/// # Errors
///
/// Those of [`read`], and the first of `each`, which ends the reading.
pub fn read_until_error(
    source: impl Read,
    each: impl FnMut(TombstoneRecord<'_>) -> io::Result<()>,
) -> io::Result<TombstoneEnding> {
    let mut source = BufReader::new(source);
    let mut header = Vec::new();
    source
        .by_ref()
        .take(LENGTH_BYTES as u64)
        .read_to_end(&mut header)?;
    match header[..] {
        [] => Ok(TombstoneEnding::Clean),
        [0, 0, 0x15, version] => match version {
            2 => records(source, each),
            3 | 4 if source.fill_buf()?.is_empty() => Ok(TombstoneEnding::Clean),
            3 | 4 => records(MultiGzDecoder::new(source), each),
            _ => Err(invalid(format!(
                "a tombstone file of the unknown version {version}"
            ))),
        },
        _ if MAGIC.starts_with(&header) => Ok(TombstoneEnding::Torn),
        _ => lines(header.chain(source), each),
    }
}

fn records(
    mut source: impl Read,
    mut each: impl FnMut(TombstoneRecord<'_>) -> io::Result<()>,
) -> io::Result<TombstoneEnding> {
    let mut record = Vec::new();
    loop {
        let mut length = [0; LENGTH_BYTES];
        match fill(&mut source, &mut length)? {
            Filled::Whole => {}
            Filled::End => return Ok(TombstoneEnding::Clean),
            Filled::Torn => return Ok(TombstoneEnding::Torn),
        }
        let length = BigEndian::read_u32(&length) as usize;
        if length == 0 || length > MAX_KEY_BYTES {
            return Err(invalid(format!("a tombstone for a key of {length} bytes")));
        }
        record.resize(length + TIME_BYTES, 0);
        match fill(&mut source, &mut record)? {
            Filled::Whole => {}
            Filled::End | Filled::Torn => return Ok(TombstoneEnding::Torn),
        }
        let (key, times) = record.split_at(length);
        each(TombstoneRecord {
            key,
            min: BigEndian::read_i64(&times[..8]),
            max: BigEndian::read_i64(&times[8..]),
        })?;
    }
}

fn lines(
    mut source: impl BufRead,
    mut each: impl FnMut(TombstoneRecord<'_>) -> io::Result<()>,
) -> io::Result<TombstoneEnding> {
    let mut line = Vec::new();
    loop {
        line.clear();
        source
            .by_ref()
            .take(MAX_KEY_BYTES as u64 + 1)
            .read_until(b'\n', &mut line)?;
        match line.split_last() {
            None => return Ok(TombstoneEnding::Clean),
            Some((b'\n', [])) => {}
            Some((b'\n', key)) => each(TombstoneRecord {
                key,
                min: i64::MIN,
                max: i64::MAX,
            })?,
            Some(_) if line.len() > MAX_KEY_BYTES => {
                return Err(invalid(
                    "a tombstone for a key of more than 65535 bytes".into(),
                ));
            }
            // The key of this line may go on, and another key begin so.
            Some(_) => return Ok(TombstoneEnding::Torn),
        }
    }
}

/// How filling a buffer went.
enum Filled {
    Whole,
    /// Nothing was left.
    End,
    /// Not enough was left.
    Torn,
}

fn fill(source: &mut impl Read, buf: &mut [u8]) -> io::Result<Filled> {
    let mut have = 0;
    while have < buf.len() {
        match source.read(&mut buf[have..]) {
            Ok(0) if have == 0 => return Ok(Filled::End),
            Ok(0) => return Ok(Filled::Torn),
            Ok(count) => have += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // So a gzip member says that it is cut off.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(Filled::Torn),
            Err(error) => return Err(error),
        }
    }
    Ok(Filled::Whole)
}

fn invalid(message: String) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message)
}

/// Writes a tombstone file of version 4, all its records in one gzip member.
#[derive(Debug)]
pub struct TombstoneWriter<W: Write> {
    member: GzEncoder<W>,
}

impl<W: Write> TombstoneWriter<W> {
    /// Begins a file.
    ///
    /// # Errors
    ///
    /// When writing fails.
    pub fn new(mut out: W) -> io::Result<Self> {
        out.write_all(&MAGIC)?;
        out.write_all(&[4])?;
        Ok(Self {
            member: GzEncoder::new(out, Compression::default()),
        })
    }

    /// Adds a record.
    ///
    /// # Errors
    ///
    /// When writing fails, or with [`io::ErrorKind::InvalidData`] when the key has no bytes or more
    /// than 65535.
    pub fn record(&mut self, record: TombstoneRecord<'_>) -> io::Result<()> {
        let TombstoneRecord { key, min, max } = record;
        if key.is_empty() || key.len() > MAX_KEY_BYTES {
            return Err(invalid(format!(
                "a tombstone for a key of {} bytes",
                key.len()
            )));
        }
        self.member.write_all(&(key.len() as u32).to_be_bytes())?;
        self.member.write_all(key)?;
        self.member.write_all(&min.to_be_bytes())?;
        self.member.write_all(&max.to_be_bytes())
    }

    /// Ends the file and flushes.
    ///
    /// # Errors
    ///
    /// When writing fails.
    pub fn finish(self) -> io::Result<W> {
        let mut out = self.member.finish()?;
        out.flush()?;
        Ok(out)
    }
}

#[cfg(test)]
#[path = "file_tests.rs"]
pub(crate) mod tests;
