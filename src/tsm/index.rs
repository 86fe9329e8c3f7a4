//! The index of a TSM file: which blocks of which key stand where, and the time each spans.
//!
//! The index lies between the blocks and the eight bytes of the footer. For each key, in ascending order of its bytes: its
//! length (2 bytes), the key, the type of its blocks (1), their count (2), and per block, ascending in time, the times of its
//! first and last point (8 each, `i64` nanoseconds since 1970 UTC), the file offset of its record (8) and the record's size
//! (4). A record is the CRC-32 of a block (4) and the block. Numbers are big-endian. (From files influxd 1.6.7 wrote; a server
//! opening a file walks this index, and checks little of it.)

use std::fmt;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use byteorder::{BigEndian, ByteOrder};

use super::HEADER;
use super::envelope::EnvelopeError;
use super::values::ValueType;

/// Bytes in the footer.
pub(super) const FOOTER_BYTES: u64 = 8;
/// Bytes a block takes in the index.
pub(super) const ENTRY_BYTES: usize = 28;
/// Bytes a key takes in the index besides its own and its blocks': length, type and count.
pub(super) const KEY_EXTRA_BYTES: usize = 5;
/// The least record: a CRC and the byte that names the block's type.
const MIN_RECORD_BYTES: u32 = 5;
/// Bytes of the index read at a time.
const BUFFER_BYTES: usize = 64 << 10;

/// Bytes that can be read at any offset.
pub trait ReadAt {
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
pub struct Section<'a, R: ?Sized> {
    whole: &'a R,
    start: u64,
    size: u64,
}

impl<'a, R: ReadAt + ?Sized> Section<'a, R> {
    /// `size` bytes of `whole` from `start` on.
    pub fn new(whole: &'a R, start: u64, size: u64) -> Self {
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
pub struct FromStart<'a, R: ?Sized> {
    content: &'a R,
    at: u64,
}

impl<'a, R: ReadAt + ?Sized> FromStart<'a, R> {
    /// Reads `content` from its first byte on.
    pub fn new(content: &'a R) -> Self {
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

/// Walks the index of a TSM file from its first key to its last, and checks it on the way. Takes the memory of two keys (64 KiB
/// each at most) and a buffer of 64 KiB, whatever the size of the file.
#[derive(Debug)]
pub struct IndexWalk<'a, R: ?Sized> {
    index: Cursor<'a, R>,
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
            index: Cursor {
                file,
                at: index_offset,
                end,
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

    /// Where the index begins and the blocks end.
    pub fn index_offset(&self) -> u64 {
        self.index_offset
    }

    /// Goes to the end.
    ///
    /// # Errors
    ///
    /// The first fault of the index.
    pub fn to_end(mut self) -> Result<(), IndexError> {
        while self.next_key()?.is_some() {
            while self.next_entry()?.is_some() {}
        }
        Ok(())
    }

    /// The next key, or none when the index ended where it should. Passes, and checks, what blocks the key before still has.
    /// The first call gives a key or an error: no index is empty.
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

    /// As [`next_key`](Self::next_key), for who goes on after a fault: nothing is checked but that the index does not break off.
    /// All blocks of the key before have been passed.
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

    /// The next block of the key that [`next_key`](Self::next_key) gave last, or none after its last.
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
        let bytes = self.index.take::<ENTRY_BYTES>()?;
        self.left -= 1;
        let entry = BlockEntry {
            min_time: BigEndian::read_i64(&bytes[..8]),
            max_time: BigEndian::read_i64(&bytes[8..16]),
            offset: BigEndian::read_u64(&bytes[16..24]),
            size: BigEndian::read_u32(&bytes[24..]),
        };
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
        // Blocks share no bytes. To see most of what does, without the memory to see all, is enough to say that no choice of
        // blocks is larger than the file.
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
struct Cursor<'a, R: ?Sized> {
    file: &'a R,
    /// The offset of the next byte to give.
    at: u64,
    /// Where the index ends.
    end: u64,
    /// Bytes read; those before `used` were given.
    buffer: Vec<u8>,
    used: usize,
}

impl<R: ReadAt + ?Sized> Cursor<'_, R> {
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
            usize::try_from(self.end - self.at).map_or(BUFFER_BYTES, |left| left.min(BUFFER_BYTES));
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
#[derive(Debug)]
pub enum IndexError {
    /// Reading failed, or the file is now shorter than it was.
    Read {
        /// The offset read from.
        offset: u64,
        /// How it failed.
        source: io::Error,
    },
    /// Header or footer are not those of a TSM file.
    Envelope(EnvelopeError),
    /// The index is not as it must be.
    Damaged {
        /// Where in the file that shows.
        offset: u64,
        /// What is wrong there.
        fault: IndexDamage,
    },
}

/// What can be wrong in an index.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexDamage {
    /// The footer comes before the end of a key or block entry.
    Cut,
    /// A key has the length 0.
    EmptyKey,
    /// A key is not greater than the one before.
    KeyOrder,
    /// A type that no block has.
    BlockType(u8),
    /// A key has no blocks.
    NoBlocks,
    /// A block ends before it begins.
    Times {
        /// When it begins, in nanoseconds since 1970.
        min_time: i64,
        /// When it ends, in nanoseconds since 1970.
        max_time: i64,
    },
    /// A block begins, at this time, before the end of the key's block before it, or at its end.
    TimeOrder(i64),
    /// A record is not between header and index, or too small to be one.
    Place {
        /// The offset it is said to have.
        offset: u64,
        /// The bytes it is said to have.
        size: u32,
    },
    /// The blocks are together larger than the space they lie in.
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

impl fmt::Display for IndexDamage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut => f.write_str("the index breaks off"),
            Self::EmptyKey => f.write_str("a key of 0 bytes"),
            Self::KeyOrder => f.write_str("a key not greater than the one before"),
            Self::BlockType(block_type) => write!(f, "the unknown block type {block_type}"),
            Self::NoBlocks => f.write_str("a key without blocks"),
            Self::Times { min_time, max_time } => write!(
                f,
                "a block that begins at {min_time} and ends at {max_time}"
            ),
            Self::TimeOrder(min_time) => write!(
                f,
                "a block that begins at {min_time}, not after the end of the one before"
            ),
            Self::Place { offset, size } => write!(
                f,
                "a block of {size} bytes at offset {offset}, where none can be"
            ),
            Self::Overlap => f.write_str("more bytes of blocks than lie before the index"),
        }
    }
}

impl fmt::Display for IndexError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Read { offset, .. } => write!(f, "cannot read the TSM file at offset {offset}"),
            Self::Envelope(error) => error.fmt(f),
            Self::Damaged { offset, fault } => {
                write!(f, "a damaged TSM file: at offset {offset}, {fault}")
            }
        }
    }
}

impl std::error::Error for IndexError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Read { source, .. } => Some(source),
            Self::Envelope(_) | Self::Damaged { .. } => None,
        }
    }
}

impl From<EnvelopeError> for IndexError {
    fn from(error: EnvelopeError) -> Self {
        Self::Envelope(error)
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::super::envelope::tests::REAL;
    use super::*;

    /// A key with its type and blocks, to build files from.
    pub(crate) type Series = (Vec<u8>, u8, Vec<Block>);

    /// A block to build files from; `content` is what the CRC covers.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub(crate) struct Block {
        pub(crate) min_time: i64,
        pub(crate) max_time: i64,
        pub(crate) content: Vec<u8>,
    }

    pub(crate) fn block(min_time: i64, max_time: i64, content: &[u8]) -> Block {
        Block {
            min_time,
            max_time,
            content: content.to_vec(),
        }
    }

    /// A TSM file as influxd lays it out.
    pub(crate) fn build(series: &[Series]) -> Vec<u8> {
        let (mut bytes, mut index) = (HEADER.to_vec(), Vec::new());
        for (key, block_type, blocks) in series {
            index.extend(u16::try_from(key.len()).unwrap().to_be_bytes());
            index.extend(key);
            index.push(*block_type);
            index.extend(u16::try_from(blocks.len()).unwrap().to_be_bytes());
            for block in blocks {
                index.extend(block.min_time.to_be_bytes());
                index.extend(block.max_time.to_be_bytes());
                index.extend((bytes.len() as u64).to_be_bytes());
                index.extend((block.content.len() as u32 + 4).to_be_bytes());
                bytes.extend(crc32fast::hash(&block.content).to_be_bytes());
                bytes.extend(&block.content);
            }
        }
        let index_offset = bytes.len() as u64;
        bytes.extend(index);
        bytes.extend(index_offset.to_be_bytes());
        bytes
    }

    /// What a walk finds: per key its bytes, type and blocks, CRCs checked.
    pub(crate) fn walk(file: &[u8]) -> Result<Vec<Series>, IndexError> {
        let mut walk = IndexWalk::open(file)?;
        let mut series = Vec::new();
        while let Some(key) = walk.next_key()? {
            let (bytes, block_type, count) = (key.bytes.to_vec(), key.value_type.byte(), key.count);
            let mut blocks = Vec::new();
            while let Some(entry) = walk.next_entry()? {
                let (crc, content) =
                    file[entry.offset as usize..][..entry.size as usize].split_at(4);
                assert_eq!(crc, crc32fast::hash(content).to_be_bytes());
                blocks.push(block(entry.min_time, entry.max_time, content));
            }
            assert_eq!(blocks.len(), usize::from(count));
            series.push((bytes, block_type, blocks));
        }
        assert_eq!(walk.next_entry()?, None);
        assert_eq!(walk.next_key()?, None);
        Ok(series)
    }

    /// Walks keys only and looks at no block.
    fn walk_keys(file: &[u8]) -> Result<usize, IndexError> {
        let mut walk = IndexWalk::open(file)?;
        let mut keys = 0;
        while walk.next_key()?.is_some() {
            keys += 1;
        }
        Ok(keys)
    }

    /// Files of one to five keys with one to six blocks each, at times around 0.
    pub(crate) fn files() -> impl Strategy<Value = Vec<Series>> {
        let content = prop::collection::vec(any::<u8>(), 1..40);
        let blocks = prop::collection::vec((1..20_i64, 0..20_i64, content), 1..6);
        let key = prop::collection::vec(any::<u8>(), 1..6);
        prop::collection::btree_map(key, (0..=4_u8, -60..60_i64, blocks), 1..6).prop_map(|keys| {
            let series = keys
                .into_iter()
                .map(|(key, (block_type, mut time, blocks))| {
                    let place = |(gap, span, content): (i64, i64, Vec<u8>)| {
                        let min_time = time + gap;
                        time = min_time + span;
                        Block {
                            min_time,
                            max_time: time,
                            content,
                        }
                    };
                    (key, block_type, blocks.into_iter().map(place).collect())
                });
            series.collect()
        })
    }

    /// Bytes that have a header and a footer, and chance between them.
    pub(crate) fn lookalikes() -> impl Strategy<Value = Vec<u8>> {
        // Small numbers, so that lengths, types and counts are often possible.
        let index = prop::collection::vec(prop_oneof![0..6_u8, any::<u8>()], 0..200);
        (prop::collection::vec(any::<u8>(), 0..64), index).prop_map(|(blocks, index)| {
            let index_offset = (HEADER.len() + blocks.len()) as u64;
            [&HEADER[..], &blocks, &index, &index_offset.to_be_bytes()].concat()
        })
    }

    fn small() -> Vec<Series> {
        vec![
            (
                b"a#!~#f".to_vec(),
                0,
                vec![block(-5, -5, b"one"), block(-4, 9, b"two")],
            ),
            (
                b"a#!~#g".to_vec(),
                4,
                vec![block(i64::MIN, i64::MAX, b"three")],
            ),
        ]
    }

    /// What is wrong with the small file once `bytes` stand at `offset` of its index.
    fn fault(offset: usize, bytes: &[u8]) -> (u64, IndexDamage) {
        let mut file = build(&small());
        let index = file.len() - 8 - (2 * 11 + 3 * ENTRY_BYTES);
        file[index + offset..][..bytes.len()].copy_from_slice(bytes);
        assert!(walk_keys(&file).is_err());
        match walk(&file) {
            Err(IndexError::Damaged { offset, fault }) => (offset - index as u64, fault),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn the_index_of_a_real_file_is_walked_to_its_end() {
        let mut walk = IndexWalk::open(REAL).unwrap();
        assert_eq!(
            walk.next_entry().unwrap(),
            None,
            "there is no block before the first key"
        );
        assert_eq!(
            walk.next_key().unwrap(),
            Some(Key {
                bytes: b"m,h=a#!~#v",
                value_type: ValueType::Float,
                count: 1
            })
        );
        let time = 1_600_000_000_000_000_000;
        assert_eq!(
            walk.next_entry().unwrap(),
            Some(BlockEntry {
                min_time: time,
                max_time: time,
                offset: 5,
                size: 34
            })
        );
        assert_eq!(walk.next_entry().unwrap(), None);
        assert_eq!(walk.next_key().unwrap(), None);
    }

    #[test]
    fn a_file_on_disk_is_read_as_one_in_memory() {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, REAL).unwrap();
        assert_eq!(file.size().unwrap(), 90);
        let mut walk = IndexWalk::open(&file).unwrap();
        assert_eq!(
            walk.next_key().unwrap().map(|key| key.bytes.len()),
            Some(10)
        );
        assert!(ReadAt::read_exact_at(&file, &mut [0; 2], 89).is_err());
    }

    #[test]
    fn a_file_that_shrinks_during_the_walk_is_an_error_with_the_offset() {
        let mut file = tempfile::tempfile().unwrap();
        io::Write::write_all(&mut file, REAL).unwrap();
        let mut walk = IndexWalk::open(&file).unwrap();
        file.set_len(60).unwrap();
        let error = walk.next_key().unwrap_err();
        assert_eq!(error.to_string(), "cannot read the TSM file at offset 39");
        assert!(std::error::Error::source(&error).is_some());
    }

    #[test]
    fn keys_and_counts_of_the_greatest_length_are_walked_across_buffers() {
        let many = (0..65_535).map(|time| block(time, time, b"x")).collect();
        let mut series = vec![
            (vec![0; 65_535], 1, vec![block(1, 2, b"y")]),
            (vec![1], 2, many),
        ];
        series.extend((0..5000_u16).map(|n| {
            (
                [b"k", &n.to_be_bytes()[..]].concat(),
                3,
                vec![block(0, 0, b"z")],
            )
        }));
        let file = build(&series);
        assert_eq!(walk(&file).unwrap(), series);
        assert_eq!(walk_keys(&file).unwrap(), 5002);
    }

    #[test]
    fn every_fault_of_an_index_is_told_with_its_offset() {
        let second = 11 + 2 * ENTRY_BYTES;
        assert_eq!(fault(0, &[0, 0]), (0, IndexDamage::EmptyKey));
        assert_eq!(fault(0, &[0xff, 0xff]), (2, IndexDamage::Cut));
        assert_eq!(
            fault(second + 2, b"a#!~#f"),
            (second as u64, IndexDamage::KeyOrder)
        );
        assert_eq!(
            fault(second + 2, b"A"),
            (second as u64, IndexDamage::KeyOrder)
        );
        assert_eq!(fault(8, &[5]), (8, IndexDamage::BlockType(5)));
        assert_eq!(fault(9, &[0, 0]), (8, IndexDamage::NoBlocks));
        assert_eq!(
            fault(second + 9, &[0, 2]),
            (second as u64 + 11 + 28, IndexDamage::Cut)
        );
        let time = |time: i64| time.to_be_bytes();
        assert_eq!(
            fault(11, &time(-3)),
            (
                11,
                IndexDamage::Times {
                    min_time: -3,
                    max_time: -5
                }
            )
        );
        assert_eq!(fault(39, &time(-5)), (39, IndexDamage::TimeOrder(-5)));
        let place =
            |offset: u64, size: u32| [&offset.to_be_bytes()[..], &size.to_be_bytes()].concat();
        // The blocks lie at 5, 12 and 19; the index begins at 28.
        for (offset, size) in [
            (4, 7),
            (28, 0),
            (5, 4),
            (5, 24),
            (24, 5),
            (29, 5),
            (u64::MAX, 7),
            (5, u32::MAX),
        ] {
            assert_eq!(
                fault(27, &place(offset, size)),
                (11, IndexDamage::Place { offset, size })
            );
        }
        assert_eq!(fault(55, &place(5, 23)), (39, IndexDamage::Overlap));
        let told = IndexDamage::Place { offset: 4, size: 7 }.at(39).to_string();
        assert_eq!(
            told,
            "a damaged TSM file: at offset 39, a block of 7 bytes at offset 4, where none can be"
        );
    }

    #[test]
    fn what_has_no_header_no_room_or_a_foreign_footer_is_no_tsm_file() {
        assert!(
            matches!(IndexWalk::open(&b""[..]), Err(IndexError::Envelope(EnvelopeError::Header(b))) if b.is_empty())
        );
        assert!(matches!(
            IndexWalk::open(&b"plain text, no TSM"[..]),
            Err(IndexError::Envelope(EnvelopeError::Header(_)))
        ));
        assert!(matches!(
            IndexWalk::open(&REAL[..13]),
            Err(IndexError::Envelope(EnvelopeError::Short(13)))
        ));
        for index in [0, 4, 82, 90, u64::MAX] {
            let file = [&REAL[..82], &index.to_be_bytes()].concat();
            let error = IndexWalk::open(&file[..]).unwrap_err();
            assert!(
                matches!(
                    error,
                    IndexError::Envelope(EnvelopeError::Footer { size: 90, .. })
                ),
                "{index}"
            );
        }
    }

    #[test]
    fn a_file_cut_anywhere_is_an_error() {
        let small = build(&small());
        for file in [REAL, &small] {
            for end in 0..file.len() {
                assert!(walk_keys(&file[..end]).is_err(), "cut at {end}");
            }
        }
    }

    proptest! {
        #[test]
        fn a_walk_finds_what_a_file_was_built_of(series in files()) {
            let file = build(&series);
            prop_assert_eq!(walk_keys(&file).unwrap(), series.len());
            prop_assert_eq!(walk(&file).unwrap(), series);
        }

        #[test]
        fn no_bytes_make_a_walk_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), lookalike in lookalikes()) {
            let _ = walk_keys(&bytes);
            let _ = walk_keys(&lookalike);
        }
    }
}
