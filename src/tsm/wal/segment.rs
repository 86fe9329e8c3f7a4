//! WAL segments, `_NNNNN.wal`: what influxd writes down of writes and deletes before they are in
//! TSM files and tombstones.
//!
//! A segment is entries back to back. An entry is its type (1 byte), a length (4) and as many bytes
//! of a Snappy block, which unpacks to:
//!
//! | type | content |
//! |---|---|
//! | 1, write | repeated: value type (1), key length (2), key, count (4), count × (time (8), value) |
//! | 2, delete | keys joined with `\n`; all their points |
//! | 3, delete range | first and last time (8 each), then repeated: key length (4), key |
//!
//! Values by their type: 1 float (8 bytes), 2 integer (8), 3 boolean (1), 4 string (length (4),
//! bytes), 5 unsigned (8). Numbers are big-endian. At the first entry that is not whole and sound,
//! influxd 1.6.7 cuts the segment off when it opens the shard, and goes on with the next one. So
//! does this reader: what stands before holds, and nothing of what follows.

use std::io::{self, Read};

use byteorder::{BigEndian, ByteOrder};
use thiserror::Error;

use crate::tsm::values::{ValueRef, ValueType};

/// The most bytes an entry may have, packed or not. influxd sets no limit; an entry has about the
/// size of a write request.
pub(crate) const MAX_ENTRY_BYTES: usize = 256 << 20;
/// Bytes before an entry's Snappy block: its type and length.
const HEADER_BYTES: usize = 5;
/// A Snappy block never unpacks to more than so many times its size: a copy of at most 64 bytes
/// takes three.
const MAX_RATIO: usize = 22;

/// Reads the entries of a segment in turn. Takes the memory of one entry, packed and unpacked.
#[derive(Debug)]
pub struct Segment<R> {
    source: R,
    /// Where the next entry begins.
    offset: u64,
    packed: Vec<u8>,
    plain: Vec<u8>,
    ending: Option<SegmentEnding>,
}

/// What comes next in a segment.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum NextEntry<'a> {
    /// An entry.
    Entry(WalEntry<'a>),
    /// Nothing more.
    End(SegmentEnding),
}

/// How a segment ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SegmentEnding {
    /// Behind an entry, or empty.
    Clean,
    /// With an entry that is not whole or not sound: a write that was under way when influxd or its
    /// machine stopped.
    Torn {
        /// Where that entry begins.
        offset: u64,
        /// What is wrong with it.
        fault: WalError,
    },
}

/// What can be wrong with an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum WalError {
    /// The segment ends within it.
    #[error("the file ends within an entry")]
    Cut,
    /// No entry has this type.
    #[error("an entry of the unknown type {0}")]
    Type(u8),
    /// Its bytes are no Snappy block.
    #[error("an entry that is no Snappy block")]
    Packing,
    /// No value has this type.
    #[error("values of the unknown type {0}")]
    ValueType(u8),
    /// A length or count in it does not fit the bytes it has.
    #[error("an entry whose lengths do not fit")]
    Content,
}

impl<R: Read> Segment<R> {
    /// The segment that `source` gives, from its first byte on.
    pub fn new(source: R) -> Self {
        Self {
            source,
            offset: 0,
            packed: Vec::new(),
            plain: Vec::new(),
            ending: None,
        }
    }

    /// The next entry, checked as a whole, or how the segment ended; then the same again.
    ///
    /// # Errors
    ///
    /// When reading fails, or a whole entry has more than [`MAX_ENTRY_BYTES`].
    pub fn next_entry(&mut self) -> io::Result<NextEntry<'_>> {
        if let Some(ending) = self.ending {
            return Ok(NextEntry::End(ending));
        }
        let started = self.offset;
        match self.unpack()? {
            Unpacked::End => {
                self.ending = Some(SegmentEnding::Clean);
                Ok(NextEntry::End(SegmentEnding::Clean))
            }
            Unpacked::Torn(fault) => Ok(NextEntry::End(*self.ending.insert(SegmentEnding::Torn {
                offset: started,
                fault,
            }))),
            Unpacked::Plain(entry_type) => match WalEntry::parse(entry_type, &self.plain) {
                Ok(entry) => {
                    self.offset += (HEADER_BYTES + self.packed.len()) as u64;
                    Ok(NextEntry::Entry(entry))
                }
                Err(fault) => Ok(NextEntry::End(*self.ending.insert(SegmentEnding::Torn {
                    offset: started,
                    fault,
                }))),
            },
        }
    }

    /// Reads an entry and unpacks it.
    fn unpack(&mut self) -> io::Result<Unpacked> {
        self.packed.clear();
        let have = self
            .source
            .by_ref()
            .take(HEADER_BYTES as u64)
            .read_to_end(&mut self.packed)?;
        match have {
            0 => return Ok(Unpacked::End),
            HEADER_BYTES => {}
            _ => return Ok(Unpacked::Torn(WalError::Cut)),
        }
        let (entry_type, length) = (self.packed[0], BigEndian::read_u32(&self.packed[1..]));
        let mut rest = self.source.by_ref().take(length.into());
        self.packed.clear();
        if length as usize > MAX_ENTRY_BYTES {
            // Of bytes that are no length, it is seldom that so many follow.
            return match io::copy(&mut rest, &mut io::sink())? {
                count if count == u64::from(length) => Err(too_large(self.offset, length as usize)),
                _ => Ok(Unpacked::Torn(WalError::Cut)),
            };
        }
        // Memory grows with the bytes that come, not with those that are said to come.
        if rest.read_to_end(&mut self.packed)? < length as usize {
            return Ok(Unpacked::Torn(WalError::Cut));
        }
        let plain = match snappy::raw::decompress_len(&self.packed) {
            Ok(plain) if !self.packed.is_empty() && plain <= self.packed.len() * MAX_RATIO => plain,
            _ => return Ok(Unpacked::Torn(WalError::Packing)),
        };
        if plain > MAX_ENTRY_BYTES {
            return Err(too_large(self.offset, plain));
        }
        self.plain.resize(plain, 0);
        match snappy::raw::Decoder::new().decompress(&self.packed, &mut self.plain) {
            Ok(count) if count == plain => Ok(Unpacked::Plain(entry_type)),
            _ => Ok(Unpacked::Torn(WalError::Packing)),
        }
    }
}

/// How reading an entry went; its content is in the buffer.
enum Unpacked {
    Plain(u8),
    End,
    Torn(WalError),
}

fn too_large(offset: u64, bytes: usize) -> io::Error {
    let most = MAX_ENTRY_BYTES >> 20;
    io::Error::new(
        io::ErrorKind::InvalidData,
        format!("the entry at offset {offset} has {bytes} bytes, more than {most} MiB"),
    )
}

/// An entry. It was checked as a whole before it was handed out.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum WalEntry<'a> {
    /// Points were written.
    Write(Writes<'a>),
    /// All points of keys were deleted.
    Delete(Keys<'a>),
    /// The points of keys from `min` to `max`, both included, were deleted.
    DeleteRange {
        /// The first time, in nanoseconds since 1970.
        min: i64,
        /// The last time.
        max: i64,
        /// The keys.
        keys: Keys<'a>,
    },
}

impl<'a> WalEntry<'a> {
    fn parse(entry_type: u8, plain: &'a [u8]) -> Result<Self, WalError> {
        match entry_type {
            1 => {
                let mut rest = plain;
                while !rest.is_empty() {
                    FramedEntry::take(&mut rest)?;
                }
                Ok(Self::Write(Writes(plain)))
            }
            2 => Ok(Self::Delete(Keys::Joined(plain))),
            3 => {
                let mut rest = plain;
                let (min, max) = (
                    BigEndian::read_i64(take(&mut rest, 8)?),
                    BigEndian::read_i64(take(&mut rest, 8)?),
                );
                let keys = Keys::Counted(rest);
                while !rest.is_empty() {
                    take_long(&mut rest)?;
                }
                Ok(Self::DeleteRange { min, max, keys })
            }
            _ => Err(WalError::Type(entry_type)),
        }
    }
}

/// The keys of a write entry, each with its points, in no particular order.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Writes<'a>(&'a [u8]);

impl<'a> Iterator for Writes<'a> {
    type Item = FramedEntry<'a>;

    fn next(&mut self) -> Option<FramedEntry<'a>> {
        // Empty at the end, and no error before: the entry was checked.
        FramedEntry::take(&mut self.0).ok()
    }
}

/// The points of a key in a write entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FramedEntry<'a> {
    /// Series key, `#!~#`, field name. influxd takes an empty one too, but cannot have written it.
    pub key: &'a [u8],
    /// The type of the values.
    pub value_type: ValueType,
    points: &'a [u8],
}

impl<'a> FramedEntry<'a> {
    fn take(rest: &mut &'a [u8]) -> Result<Self, WalError> {
        let value_type = match take(rest, 1)?[0] {
            1 => ValueType::Float,
            2 => ValueType::Integer,
            3 => ValueType::Boolean,
            4 => ValueType::String,
            5 => ValueType::Unsigned,
            other => return Err(WalError::ValueType(other)),
        };
        let length = BigEndian::read_u16(take(rest, 2)?);
        let key = take(rest, length.into())?;
        let count = BigEndian::read_u32(take(rest, 4)?) as usize;
        if count == 0 || count > rest.len() {
            return Err(WalError::Content);
        }
        let started = *rest;
        match value_type {
            ValueType::String => {
                for _ in 0..count {
                    take(rest, 8)?;
                    take_long(rest)?;
                }
            }
            ValueType::Boolean => drop(take(rest, count.checked_mul(9).ok_or(WalError::Content)?)?),
            _ => drop(take(rest, count.checked_mul(16).ok_or(WalError::Content)?)?),
        }
        Ok(Self {
            key,
            value_type,
            points: &started[..started.len() - rest.len()],
        })
    }

    /// Times and values, as they were written: in no particular order, and a later one of the same
    /// time counts.
    pub fn points(&self) -> impl Iterator<Item = (i64, ValueRef<'a>)> + use<'a> {
        let (value_type, mut rest) = (self.value_type, self.points);
        // The content was checked: the end is where nothing is left.
        std::iter::from_fn(move || {
            let time = BigEndian::read_i64(take(&mut rest, 8).ok()?);
            let mut number = || Some(BigEndian::read_u64(take(&mut rest, 8).ok()?));
            let value = match value_type {
                ValueType::Float => ValueRef::Float(f64::from_bits(number()?)),
                ValueType::Integer => ValueRef::Integer(number()?.cast_signed()),
                ValueType::Unsigned => ValueRef::Unsigned(number()?),
                ValueType::Boolean => ValueRef::Boolean(take(&mut rest, 1).ok()? == [1]),
                ValueType::String => ValueRef::String(take_long(&mut rest).ok()?),
            };
            Some((time, value))
        })
    }
}

/// The keys of a delete. None that is empty is given: nothing is kept under it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keys<'a> {
    /// Joined with `\n`.
    Joined(&'a [u8]),
    /// Each behind its length.
    Counted(&'a [u8]),
}

impl<'a> Iterator for Keys<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        loop {
            let key = match self {
                Self::Joined([]) => return None,
                Self::Joined(rest) => {
                    let end = rest
                        .iter()
                        .position(|byte| *byte == b'\n')
                        .unwrap_or(rest.len());
                    let key = &rest[..end];
                    *rest = rest.get(end + 1..).unwrap_or_default();
                    key
                }
                Self::Counted(rest) => take_long(rest).ok()?,
            };
            if !key.is_empty() {
                return Some(key);
            }
        }
    }
}

/// The next `count` bytes.
fn take<'a>(rest: &mut &'a [u8], count: usize) -> Result<&'a [u8], WalError> {
    let (taken, left) = rest.split_at_checked(count).ok_or(WalError::Content)?;
    *rest = left;
    Ok(taken)
}

/// The next bytes, as many as four bytes before them say.
fn take_long<'a>(rest: &mut &'a [u8]) -> Result<&'a [u8], WalError> {
    let length = BigEndian::read_u32(take(rest, 4)?);
    take(rest, length as usize)
}

#[cfg(test)]
#[path = "segment_tests.rs"]
pub(crate) mod tests;
