//! Reading the blocks of a TSM file: in the order of the index, through a window of a fixed size.
//!
//! influxd writes blocks in the order of the index, so that what is read is the file from front to
//! back. Blocks in any other order are read too, at the price of reading some bytes twice.

use thiserror::Error;

use super::block::Decoder;
use super::encoding::{DecodeError, MAX_BYTES};
use super::index::{BlockEntry, IndexError, IndexWalk, Key};
use super::values::{Points, ValueType};
use crate::io::read_at::ReadAt;

/// Bytes read at a time. What is read is looked at more than once, and should stay near the
/// processor in between.
const WINDOW: usize = 256 << 10;

/// Bytes of the CRC before each block.
pub(super) const CRC_BYTES: usize = 4;

/// A block and the CRC-32 that stands before it.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// The CRC-32 of the block as it was when written.
    pub crc: u32,
    /// The bytes of the block, see [`block`](super::block).
    pub block: &'a [u8],
}

impl<'a> Record<'a> {
    /// A record of so many bytes, which are more than those of the CRC.
    pub(super) fn of(bytes: &'a [u8]) -> Self {
        let (crc, block) = bytes.split_at(CRC_BYTES);
        Self {
            crc: crc.iter().fold(0, |crc, &byte| crc << 8 | u32::from(byte)),
            block,
        }
    }

    /// Whether the block has its CRC-32, or what it has.
    ///
    /// # Errors
    ///
    /// See [`BlockFault::Crc`].
    pub fn verify(&self) -> Result<(), BlockFault> {
        let found = crc32fast::hash(self.block);
        if found == self.crc {
            Ok(())
        } else {
            Err(BlockFault::Crc {
                stored: self.crc,
                found,
            })
        }
    }
}

/// Reads records, best those that follow one another. Takes the memory of a window, or of the
/// largest record.
#[derive(Debug)]
pub(crate) struct BlockReader<'a, R: ?Sized> {
    file: &'a R,
    /// Where blocks end and the index begins.
    end: u64,
    /// Bytes of the file from `start` on.
    window: Vec<u8>,
    start: u64,
    /// Bytes read at a time.
    window_bytes: usize,
}

impl<'a, R: ReadAt + ?Sized> BlockReader<'a, R> {
    /// Reads blocks of `file`, whose index begins at `index_offset`.
    pub(crate) fn new(file: &'a R, index_offset: u64) -> Self {
        Self::with_window(file, index_offset, WINDOW)
    }

    /// As [`new`](Self::new), reading so many bytes at a time; 0 reads each record alone, as is
    /// best for those that lie far apart.
    pub(super) fn with_window(file: &'a R, index_offset: u64, window_bytes: usize) -> Self {
        Self {
            file,
            end: index_offset,
            window: Vec::new(),
            start: 0,
            window_bytes,
        }
    }

    /// The record that an entry of the index names. Its CRC is not looked at.
    ///
    /// # Errors
    ///
    /// When reading fails, or the record cannot be one: outside the blocks, too small or too large.
    pub(crate) fn read(&mut self, entry: &BlockEntry) -> Result<Record<'_>, FileError> {
        let fault = |fault| FileError::Block {
            offset: entry.offset,
            fault,
        };
        let size = usize::try_from(entry.size).map_err(|_| fault(BlockFault::Size(entry.size)))?;
        if size <= CRC_BYTES || size > MAX_BYTES + CRC_BYTES || entry.offset > self.end {
            return Err(fault(BlockFault::Size(entry.size)));
        }
        if u64::from(entry.size) > self.end - entry.offset {
            return Err(fault(BlockFault::Size(entry.size)));
        }
        let at = match self.position(entry.offset, size) {
            Some(at) => at,
            None => {
                self.advance(entry.offset, size)?;
                0
            }
        };
        Ok(Record::of(&self.window[at..at + size]))
    }

    /// Where in the window the bytes from `offset` on are, if all are there.
    fn position(&self, offset: u64, size: usize) -> Option<usize> {
        let at = usize::try_from(offset.checked_sub(self.start)?).ok()?;
        (at.checked_add(size)? <= self.window.len()).then_some(at)
    }

    /// Moves the window to `offset`, and makes it at least `size` long. So much is before the
    /// index.
    fn advance(&mut self, offset: u64, size: usize) -> Result<(), FileError> {
        // A record is cut by the end of the window as a rule; its beginning need not be read again.
        let have = self.position(offset, 0).map_or(0, |at| {
            self.window.copy_within(at.., 0);
            self.window.len() - at
        });
        let left = usize::try_from(self.end - offset).unwrap_or(usize::MAX);
        let length = left.min(self.window_bytes).max(size);
        // A large record, once passed, does not keep its memory.
        if self.window.len() > length {
            self.window.truncate(length);
            self.window.shrink_to(2 * WINDOW);
        }
        self.window.resize(length, 0);
        self.start = offset;
        let have = have.min(length);
        let from = offset + have as u64;
        self.file
            .read_exact_at(&mut self.window[have..], from)
            .map_err(|source| {
                // What was not read is not to be taken for what is in the file.
                self.window.truncate(have);
                FileError::Index(IndexError::Read {
                    offset: from,
                    source,
                })
            })
    }
}

/// Reads all points of a TSM file, block by block.
#[derive(Debug)]
pub struct Reader<'a, R: ?Sized> {
    index: IndexWalk<'a, R>,
    blocks: BlockReader<'a, R>,
    decoder: Decoder,
    value_type: ValueType,
}

impl<'a, R: ReadAt + ?Sized> Reader<'a, R> {
    /// Checks the header and the footer of `file` and stands before the first key.
    ///
    /// # Errors
    ///
    /// When it is no TSM file, its footer points outside it, or reading fails.
    pub fn open(file: &'a R) -> Result<Self, IndexError> {
        let index = IndexWalk::open(file)?;
        let blocks = BlockReader::new(file, index.index_offset());
        Ok(Self {
            index,
            blocks,
            decoder: Decoder::default(),
            value_type: ValueType::Float,
        })
    }

    /// The next key, or none after the last. Blocks of the key before that were not asked for are
    /// passed.
    ///
    /// # Errors
    ///
    /// When the index is damaged or reading fails. Nothing more can be read then.
    pub fn next_key(&mut self) -> Result<Option<Key<'_>>, FileError> {
        let key = self.index.next_key()?;
        if let Some(key) = key {
            self.value_type = key.value_type;
        }
        Ok(key)
    }

    /// Puts the points of the key's next block in the place of those in `points`, or says that it
    /// has no more.
    ///
    /// The CRC, the type, the first and last time, and that times rise, are checked. After a
    /// [`FileError::Block`] the next call goes on with the block after it.
    ///
    /// # Errors
    ///
    /// When index or block are damaged or reading fails.
    pub fn next_points(&mut self, points: &mut Points) -> Result<bool, FileError> {
        let Some(entry) = self.index.next_entry()? else {
            return Ok(false);
        };
        let record = self.blocks.read(&entry)?;
        let fault = |fault| FileError::Block {
            offset: entry.offset,
            fault,
        };
        record.verify().map_err(fault)?;
        decode(
            &mut self.decoder,
            record.block,
            self.value_type,
            &entry,
            points,
        )
        .map_err(fault)?;
        Ok(true)
    }
}

/// Unpacks a block and sees that it is what the index says.
pub(super) fn decode(
    decoder: &mut Decoder,
    block: &[u8],
    value_type: ValueType,
    entry: &BlockEntry,
    points: &mut Points,
) -> Result<(), BlockFault> {
    decoder
        .decode_into(block, points)
        .map_err(BlockFault::Decode)?;
    let found = points.values.value_type();
    if found != value_type {
        return Err(BlockFault::Type {
            index: value_type,
            found,
        });
    }
    if !points.times.is_sorted_by(|one, next| one < next) {
        return Err(BlockFault::Decode(DecodeError::TimeOrder));
    }
    let (first, last) = (points.times.first(), points.times.last());
    if let (Some(&first), Some(&last)) = (first, last)
        && (first, last) != (entry.min_time, entry.max_time)
    {
        return Err(BlockFault::Times {
            min_time: entry.min_time,
            max_time: entry.max_time,
            first,
            last,
        });
    }
    Ok(())
}

/// What can be wrong with a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum BlockFault {
    /// So many bytes cannot be a record, or are not there, or are more than are taken into memory.
    #[error("a block cannot have {0} bytes here")]
    Size(u32),
    /// The CRC-32 is not that of the block.
    #[error("the bytes of a block changed: their CRC-32 is {found:08x}, and was {stored:08x}")]
    Crc {
        /// The one in the file.
        stored: u32,
        /// The one of the bytes.
        found: u32,
    },
    /// It cannot be unpacked.
    #[error("a block cannot be unpacked: {0}")]
    Decode(DecodeError),
    /// It is not of the type that the index gives its key.
    #[error("a block of type {found}, where the index says {index}")]
    Type {
        /// The type in the index.
        index: ValueType,
        /// The type in the block.
        found: ValueType,
    },
    /// Its first or last point is not at the time that the index has.
    #[error("a block from {first} to {last}, where the index says {min_time} to {max_time}")]
    Times {
        /// The first time in the index.
        min_time: i64,
        /// The last time in the index.
        max_time: i64,
        /// The time of the first point.
        first: i64,
        /// The time of the last point.
        last: i64,
    },
}

/// Why points cannot be read from a file.
#[derive(Debug, Error)]
pub enum FileError {
    /// It is no TSM file, its index is damaged, or reading fails.
    #[error(transparent)]
    Index(#[from] IndexError),
    /// A block is damaged.
    #[error("a damaged TSM file: at offset {offset}, {fault}")]
    Block {
        /// The offset of its record in the file.
        offset: u64,
        /// What is wrong with it.
        fault: BlockFault,
    },
}

#[cfg(test)]
pub(crate) mod tests {
    use std::io;
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::super::envelope::tests::REAL;
    use super::super::index::tests::{Series, block, build};
    use super::super::values::Values;
    use super::*;

    /// Keys with their blocks, unpacked.
    pub(crate) type Keys = Vec<(Vec<u8>, Vec<Points>)>;

    /// Every key of a file.
    pub(crate) fn read_all(file: &(impl ReadAt + ?Sized)) -> Result<Keys, FileError> {
        let mut reader = Reader::open(file)?;
        let mut all = Vec::new();
        while let Some(key) = reader.next_key()? {
            let mut blocks = Vec::new();
            let key = key.bytes.to_vec();
            let mut points = Points::new(ValueType::Float);
            while reader.next_points(&mut points)? {
                blocks.push(points.clone());
            }
            all.push((key, blocks));
        }
        Ok(all)
    }

    /// A file that counts the bytes read of it.
    struct Counted(Vec<u8>, AtomicU64);

    impl ReadAt for Counted {
        fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
            self.1.fetch_add(buf.len() as u64, Ordering::Relaxed);
            self.0[..].read_exact_at(buf, offset)
        }

        fn size(&self) -> io::Result<u64> {
            Ok(self.0.len() as u64)
        }
    }

    #[test]
    fn the_points_of_a_real_file_are_read() {
        let points = Points {
            times: vec![1_600_000_000_000_000_000],
            values: Values::Float(vec![1.5]),
        };
        assert_eq!(
            read_all(REAL).unwrap(),
            [(b"m,h=a#!~#v".to_vec(), vec![points])]
        );
    }

    #[test]
    fn records_are_the_same_whatever_the_order_and_each_byte_is_read_once_in_that_of_the_file() {
        let content = |n: usize| -> Vec<u8> { (0..n).map(|at| ((at * at) >> 3) as u8).collect() };
        let sizes = [
            1,
            100_000,
            WINDOW - 5,
            300_000,
            7,
            1_000_000,
            200_000,
            200_000,
            3,
        ];
        let blocks = (0..)
            .zip(sizes)
            .map(|(at, size)| block(at, at, &content(size)))
            .collect();
        let series: Vec<Series> = vec![(b"k".to_vec(), 0, blocks)];
        let file = Counted(build(&series), AtomicU64::new(0));
        let mut walk = IndexWalk::open(&file).unwrap();
        walk.next_key().unwrap();
        let mut entries = Vec::new();
        while let Some(entry) = walk.next_entry().unwrap() {
            entries.push(entry);
        }
        let mut blocks = BlockReader::new(&file, walk.index_offset());
        file.1.store(0, Ordering::Relaxed);
        for (entry, expected) in entries.iter().zip(&series[0].2) {
            let record = blocks.read(entry).unwrap();
            record.verify().unwrap();
            assert!(record.block == expected.content);
        }
        assert_eq!(file.1.load(Ordering::Relaxed), walk.index_offset() - 5);
        assert!(
            blocks.window.capacity() <= 4 * WINDOW,
            "the memory of the large record is given back"
        );
        for (entry, expected) in entries.iter().zip(&series[0].2).rev() {
            assert!(blocks.read(entry).unwrap().block == expected.content);
        }
    }

    #[test]
    fn blocks_beyond_four_gigabytes_are_read() {
        // A file with a hole, which takes no disk: the real one's block and index, moved.
        let far: u64 = 5 << 30;
        let file = tempfile::tempfile().unwrap();
        let put = |bytes: &[u8], offset| {
            std::os::unix::fs::FileExt::write_all_at(&file, bytes, offset).unwrap()
        };
        let mut index = REAL[39..82].to_vec();
        index[31..39].copy_from_slice(&(far + 5).to_be_bytes());
        put(&REAL[..5], 0);
        put(&REAL[5..39], far + 5);
        put(&index, far + 39);
        put(&(far + 39).to_be_bytes(), far + 39 + index.len() as u64);
        assert_eq!(read_all(&file).unwrap(), read_all(REAL).unwrap());
        let mut faults = Vec::new();
        super::super::check::check(&file, None, &mut |finding| faults.push(finding.to_string()))
            .unwrap();
        assert_eq!(
            faults,
            ["at offset 5: bytes of no block up to offset 5368709125 (series m,h=a, field v)"]
        );
    }

    #[test]
    fn entries_that_no_record_can_have_are_refused_before_memory_is_taken() {
        let mut blocks = BlockReader::new(REAL, 39);
        for (offset, size) in [
            (5, 4),
            (5, 35),
            (40, 5),
            (u64::MAX, 5),
            (5, u32::MAX),
            (5, 0),
        ] {
            let entry = BlockEntry {
                min_time: 0,
                max_time: 0,
                offset,
                size,
            };
            assert!(matches!(
                blocks.read(&entry),
                Err(FileError::Block {
                    fault: BlockFault::Size(_),
                    ..
                })
            ));
        }
        assert_eq!(blocks.window.capacity(), 0);
    }

    #[test]
    fn every_disagreement_of_index_and_block_is_told() {
        let told = |at: usize, byte: u8| {
            let mut file = REAL.to_vec();
            file[at] ^= byte;
            match read_all(&file[..]).unwrap_err() {
                FileError::Block { offset: 5, fault } => fault,
                other => panic!("{other}"),
            }
        };
        assert!(matches!(
            told(5, 1),
            BlockFault::Crc {
                stored: 0x21dc_b3e6,
                found: 0x20dc_b3e6
            }
        ));
        assert!(matches!(
            told(20, 1),
            BlockFault::Crc {
                stored: 0x20dc_b3e6,
                ..
            }
        ));
        assert_eq!(
            told(51, 1),
            BlockFault::Type {
                index: ValueType::Integer,
                found: ValueType::Float
            }
        );
        assert!(matches!(told(69, 1), BlockFault::Times { .. }));
        let file = build(&[(b"k".to_vec(), 0, vec![block(0, 0, b"\x00\x01\x40")])]);
        let error = read_all(&file[..]).unwrap_err().to_string();
        assert_eq!(
            error,
            "a damaged TSM file: at offset 5, a block cannot be unpacked: a section begins with the unknown byte 0x40"
        );
    }
}
