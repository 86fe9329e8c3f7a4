//! The index of a TSM file: which blocks of which key stand where, and the time each spans.
//!
//! The index lies between the blocks and the eight bytes of the footer. For each key, in ascending
//! order of its bytes: its length (2 bytes), the key, the type of its blocks (1), their count (2),
//! and per block, ascending in time, the times of its first and last point (8 each, `i64`
//! nanoseconds since 1970 UTC), the file offset of its record (8) and the record's size (4). A
//! record is the CRC-32 of a block (4) and the block. Numbers are big-endian. (From files influxd
//! 1.6.7 wrote; a server opening a file walks this index, and checks little of it.)

use std::io;

use byteorder::{BigEndian, ByteOrder};
use thiserror::Error;

use super::HEADER;
use super::envelope::EnvelopeError;
use super::values::ValueType;
use crate::io::read_at::ReadAt;

pub(super) const FOOTER_BYTES: u64 = 8;
/// Bytes a block takes in the index.
pub(super) const ENTRY_BYTES: usize = 28;
/// Bytes a key takes in the index besides its own and its blocks': length, type and count.
pub(super) const KEY_EXTRA_BYTES: usize = 5;
/// The least record: a CRC and the byte that names the block's type.
const MIN_RECORD_BYTES: u32 = 5;
/// Bytes of the index read at a time.
const BUFFER_BYTES: usize = 64 << 10;

/// A key of the index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Key<'a> {
    /// Series key, `#!~#`, field name; 1 to 65535 bytes. What is in them is not checked.
    pub bytes: &'a [u8],
    /// The type of its blocks.
    pub value_type: ValueType,
    /// How many blocks it has, at least one.
    pub count: u16,
}

/// A block of a key, as the index has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BlockEntry {
    /// The time of its first point, in nanoseconds since 1970.
    pub min_time: i64,
    /// The time of its last point, in nanoseconds since 1970; not before the first.
    pub max_time: i64,
    /// The offset of its record, CRC first, from the start of the file.
    pub offset: u64,
    /// Bytes of its record, CRC included. They lie between the file's header and its index.
    pub size: u32,
}

impl BlockEntry {
    /// The one that stands in the index as these bytes.
    pub(super) fn of(bytes: &[u8; ENTRY_BYTES]) -> Self {
        Self {
            min_time: BigEndian::read_i64(&bytes[..8]),
            max_time: BigEndian::read_i64(&bytes[8..16]),
            offset: BigEndian::read_u64(&bytes[16..24]),
            size: BigEndian::read_u32(&bytes[24..]),
        }
    }
}

/// Walks the index of a TSM file from its first key to its last, and checks it on the way. Takes
/// the memory of two keys (64 KiB each at most) and a buffer of 64 KiB, whatever the size of the
/// file.
#[derive(Debug)]
pub struct IndexWalk<'a, R: ?Sized> {
    index: IndexCursor<'a, R>,
    /// Where the index begins and the blocks end.
    index_offset: u64,
    /// Bytes of the space of blocks that the blocks passed so far leave.
    room: u64,
    /// The key whose blocks are being passed; empty before the first.
    key: Vec<u8>,
    /// Memory for the key that comes after it.
    next: Vec<u8>,
    /// How many of the key's blocks are still to come.
    left: u16,
    /// The end of the key's block before.
    last_time: Option<i64>,
}

impl<'a, R: ReadAt + ?Sized> IndexWalk<'a, R> {
    /// Checks the header and the footer of `file` and stands before the first key.
    ///
    /// # Errors
    ///
    /// When it is no TSM file, its footer points outside it, or reading fails.
    pub fn open(file: &'a R) -> Result<Self, IndexError> {
        let size = file
            .size()
            .map_err(|source| IndexError::Read { offset: 0, source })?;
        let read = |buf: &mut [u8], offset| {
            file.read_exact_at(buf, offset)
                .map_err(|source| IndexError::Read { offset, source })
        };
        let mut header = HEADER.map(|_| 0);
        let have = usize::try_from(size).map_or(header.len(), |size| size.min(header.len()));
        read(&mut header[..have], 0)?;
        if header[..have] != HEADER {
            return Err(EnvelopeError::Header(header[..have].to_vec()).into());
        }
        let end = size.saturating_sub(FOOTER_BYTES);
        if end <= HEADER.len() as u64 {
            return Err(EnvelopeError::Short(size).into());
        }
        let mut footer = [0; FOOTER_BYTES as usize];
        read(&mut footer, end)?;
        let index_offset = BigEndian::read_u64(&footer);
        if index_offset < HEADER.len() as u64 || index_offset >= end {
            return Err(EnvelopeError::Footer {
                index: index_offset,
                size,
            }
            .into());
        }
        Ok(Self {
            index: IndexCursor {
                file,
                at: index_offset,
                end,
                read: BUFFER_BYTES,
                buffer: Vec::new(),
                used: 0,
            },
            index_offset,
            room: index_offset - HEADER.len() as u64,
            key: Vec::new(),
            next: Vec::new(),
            left: 0,
            last_time: None,
        })
    }

    /// The walk with a buffer of so many bytes, for who walks many files at a time.
    pub(super) fn buffering(mut self, bytes: usize) -> Self {
        self.index.read = bytes.clamp(ENTRY_BYTES, BUFFER_BYTES);
        self
    }

    /// Where in the file the walk stands.
    pub(super) fn position(&self) -> u64 {
        self.index.at
    }

    /// Goes from before the first key to `position`, which is that of a key, without a look at what
    /// is passed. `before` is the key before that one.
    pub(super) fn skip_to(&mut self, position: u64, before: &[u8]) {
        self.index.at = position;
        self.key.clear();
        self.key.extend_from_slice(before);
    }

    /// Where the index begins and the blocks end.
    pub(crate) fn index_offset(&self) -> u64 {
        self.index_offset
    }

    /// Goes to the end.
    ///
    /// # Errors
    ///
    /// The first fault of the index.
    pub(crate) fn walk_to_end(mut self) -> Result<(), IndexError> {
        while self.next_key()?.is_some() {
            while self.next_entry()?.is_some() {}
        }
        Ok(())
    }

    /// Goes to the end; the times of the first and the last point of all keys.
    ///
    /// # Errors
    ///
    /// The first fault of the index.
    pub(crate) fn times(mut self) -> Result<(i64, i64), IndexError> {
        let (mut first, mut last) = (i64::MAX, i64::MIN);
        while self.next_key()?.is_some() {
            while let Some(entry) = self.next_entry()? {
                first = first.min(entry.min_time);
                last = last.max(entry.max_time);
            }
        }
        Ok((first, last))
    }

    /// The next key, or none when the index ended where it should. Passes, and checks, what blocks
    /// the key before still has. The first call gives a key or an error: no index is empty.
    ///
    /// # Errors
    ///
    /// See [`IndexError`]. The walk cannot be taken further after an error.
    pub fn next_key(&mut self) -> Result<Option<Key<'_>>, IndexError> {
        while self.next_entry()?.is_some() {}
        let Some(raw) = self.raw_key()? else {
            return Ok(None);
        };
        if let Some((offset, fault)) = raw.faults().into_iter().flatten().next() {
            return Err(fault.at(offset));
        }
        let value_type = ValueType::from_byte(raw.block_type)
            .ok_or(IndexDamage::BlockType(raw.block_type).at(raw.type_at))?;
        Ok(Some(Key {
            bytes: &self.key,
            value_type,
            count: raw.count,
        }))
    }

    /// As [`next_key`](Self::next_key), for who goes on after a fault: nothing is checked but that
    /// the index does not break off. All blocks of the key before have been passed.
    pub(super) fn raw_key(&mut self) -> Result<Option<RawKey>, IndexError> {
        let at = self.index.at;
        if at == self.index.end {
            return Ok(None);
        }
        let length = BigEndian::read_u16(&self.index.take::<2>()?);
        self.index.take_into(&mut self.next, length)?;
        // Also says that the first key is not empty, as no key is.
        let rises = self.next > self.key;
        std::mem::swap(&mut self.key, &mut self.next);
        let type_at = self.index.at;
        let [block_type, count @ ..] = self.index.take::<3>()?;
        self.left = BigEndian::read_u16(&count);
        self.last_time = None;
        Ok(Some(RawKey {
            at,
            rises,
            empty: length == 0,
            type_at,
            block_type,
            count: self.left,
        }))
    }

    /// The bytes of the key whose blocks are being passed.
    pub(super) fn key(&self) -> &[u8] {
        &self.key
    }

    /// The next block of the key that [`next_key`](Self::next_key) gave last, or none after its
    /// last.
    ///
    /// # Errors
    ///
    /// See [`IndexError`]. The walk cannot be taken further after an error.
    pub fn next_entry(&mut self) -> Result<Option<BlockEntry>, IndexError> {
        let Some((at, entry)) = self.raw_entry()? else {
            return Ok(None);
        };
        self.pass_times(&entry)
            .and_then(|()| self.pass_place(&entry))
            .map_err(|fault| fault.at(at))?;
        Ok(Some(entry))
    }

    /// As [`next_entry`](Self::next_entry), unchecked, with the entry's own offset in the file.
    pub(super) fn raw_entry(&mut self) -> Result<Option<(u64, BlockEntry)>, IndexError> {
        if self.left == 0 {
            return Ok(None);
        }
        let at = self.index.at;
        let entry = BlockEntry::of(&self.index.take::<ENTRY_BYTES>()?);
        self.left -= 1;
        Ok(Some((at, entry)))
    }

    /// Checks the times of an entry against those of the one before.
    pub(super) fn pass_times(&mut self, entry: &BlockEntry) -> Result<(), IndexDamage> {
        let &BlockEntry {
            min_time, max_time, ..
        } = entry;
        if max_time < min_time {
            return Err(IndexDamage::Times { min_time, max_time });
        }
        if self.last_time.is_some_and(|last| min_time <= last) {
            return Err(IndexDamage::TimeOrder(min_time));
        }
        self.last_time = Some(max_time);
        Ok(())
    }

    /// Checks that a record can be where an entry has it, beside those that were passed.
    pub(super) fn pass_place(&mut self, entry: &BlockEntry) -> Result<(), IndexDamage> {
        let &BlockEntry { offset, size, .. } = entry;
        let space = self.index_offset.checked_sub(offset);
        let inside =
            offset >= HEADER.len() as u64 && space.is_some_and(|space| u64::from(size) <= space);
        if !inside || size < MIN_RECORD_BYTES {
            return Err(IndexDamage::Place { offset, size });
        }
        // Blocks share no bytes. To see most of what does, without the memory to see all, is enough
        // to say that no choice of blocks is larger than the file.
        self.room = self
            .room
            .checked_sub(u64::from(size))
            .ok_or(IndexDamage::Overlap)?;
        Ok(())
    }
}

/// A key as it stands in the index, and where.
#[derive(Debug)]
pub(super) struct RawKey {
    at: u64,
    rises: bool,
    empty: bool,
    type_at: u64,
    pub(super) block_type: u8,
    pub(super) count: u16,
}

impl RawKey {
    /// What is wrong with it, each with the offset where that shows.
    pub(super) fn faults(&self) -> [Option<(u64, IndexDamage)>; 3] {
        let key = match (self.empty, self.rises) {
            (true, _) => Some(IndexDamage::EmptyKey),
            (_, false) => Some(IndexDamage::KeyOrder),
            _ => None,
        };
        let unknown = ValueType::from_byte(self.block_type)
            .is_none()
            .then_some(IndexDamage::BlockType(self.block_type));
        let none = (self.count == 0).then_some(IndexDamage::NoBlocks);
        [
            key.map(|fault| (self.at, fault)),
            unknown.map(|fault| (self.type_at, fault)),
            none.map(|fault| (self.type_at, fault)),
        ]
    }
}

/// Reads the bytes of the index in turn, many at a time.
#[derive(Debug)]
struct IndexCursor<'a, R: ?Sized> {
    file: &'a R,
    /// The offset of the next byte to give.
    at: u64,
    /// Where the index ends.
    end: u64,
    /// How many bytes are read at a time.
    read: usize,
    /// Bytes read; those before `used` were given.
    buffer: Vec<u8>,
    used: usize,
}

impl<R: ReadAt + ?Sized> IndexCursor<'_, R> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], IndexError> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    /// Puts the next `length` bytes in the place of what is in `bytes`.
    fn take_into(&mut self, bytes: &mut Vec<u8>, length: u16) -> Result<(), IndexError> {
        self.expect(usize::from(length))?;
        bytes.resize(usize::from(length), 0);
        self.fill(bytes)
    }

    fn expect(&self, length: usize) -> Result<(), IndexError> {
        if length as u64 <= self.end - self.at {
            Ok(())
        } else {
            Err(IndexDamage::Cut.at(self.at))
        }
    }

    fn fill(&mut self, mut bytes: &mut [u8]) -> Result<(), IndexError> {
        self.expect(bytes.len())?;
        while !bytes.is_empty() {
            if self.used == self.buffer.len() {
                self.refill()?;
            }
            let ready = &self.buffer[self.used..];
            let count = ready.len().min(bytes.len());
            let (now, later) = bytes.split_at_mut(count);
            now.copy_from_slice(&ready[..count]);
            bytes = later;
            self.used += count;
            self.at += count as u64;
        }
        Ok(())
    }

    /// Reads on. At least one byte is left of the index.
    fn refill(&mut self) -> Result<(), IndexError> {
        let length =
            usize::try_from(self.end - self.at).map_or(self.read, |left| left.min(self.read));
        self.buffer.resize(length, 0);
        self.used = length;
        self.file
            .read_exact_at(&mut self.buffer, self.at)
            .map_err(|source| IndexError::Read {
                offset: self.at,
                source,
            })?;
        self.used = 0;
        Ok(())
    }
}

/// Why an index cannot be walked.
#[derive(Debug, Error)]
pub enum IndexError {
    /// Reading failed, or the file is now shorter than it was.
    #[error("cannot read the TSM file at offset {offset}")]
    Read {
        /// The offset read from.
        offset: u64,
        /// How it failed.
        source: io::Error,
    },
    /// Header or footer are not those of a TSM file.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// The index is not as it must be.
    #[error("a damaged TSM file: at offset {offset}, {fault}")]
    Damaged {
        /// Where in the file that shows.
        offset: u64,
        /// What is wrong there.
        fault: IndexDamage,
    },
}

/// What can be wrong in an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum IndexDamage {
    /// The footer comes before the end of a key or block entry.
    #[error("the index breaks off")]
    Cut,
    /// A key has the length 0.
    #[error("a key of 0 bytes")]
    EmptyKey,
    /// A key is not greater than the one before.
    #[error("a key not greater than the one before")]
    KeyOrder,
    /// A type that no block has.
    #[error("the unknown block type {0}")]
    BlockType(u8),
    /// A key has no blocks.
    #[error("a key without blocks")]
    NoBlocks,
    /// A block ends before it begins.
    #[error("a block that begins at {min_time} and ends at {max_time}")]
    Times {
        /// When it begins, in nanoseconds since 1970.
        min_time: i64,
        /// When it ends, in nanoseconds since 1970.
        max_time: i64,
    },
    /// A block begins, at this time, before the end of the key's block before it, or at its end.
    #[error("a block that begins at {0}, not after the end of the one before")]
    TimeOrder(i64),
    /// A record is not between header and index, or too small to be one.
    #[error("a block of {size} bytes at offset {offset}, where none can be")]
    Place {
        /// The offset it is said to have.
        offset: u64,
        /// The bytes it is said to have.
        size: u32,
    },
    /// The blocks are together larger than the space they lie in.
    #[error("more bytes of blocks than lie before the index")]
    Overlap,
}

impl IndexDamage {
    fn at(self, offset: u64) -> IndexError {
        IndexError::Damaged {
            offset,
            fault: self,
        }
    }
}

#[cfg(test)]
#[path = "index_tests.rs"]
pub(crate) mod tests;
