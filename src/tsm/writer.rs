//! Writing a TSM file from front to back: header, blocks, index, footer, within the limits of
//! influxd.
//!
//! The index comes last, and is as large as there are blocks; until then it waits in a file of its
//! own. Memory is that of one key's blocks in the index, 1.8 MB at most.

use std::io::{self, Read, Seek, SeekFrom, Write};

use tempfile::SpooledTempFile;
use thiserror::Error;

use super::HEADER;
use super::block;
use super::encoding::EncodeError;
use super::file::CRC_BYTES;
use super::index::{ENTRY_BYTES, FOOTER_BYTES, KEY_EXTRA_BYTES};
use super::values::{Points, ValueType};

/// The most points influxd puts into a block when it flushes its cache.
pub(crate) const MAX_POINTS_PER_BLOCK: usize = 1000;

/// The size, index and all, at which influxd begins another file. It looks after each block, so
/// that a file can be larger by one.
pub(crate) const MAX_FILE_BYTES: u64 = 2048 << 20;

/// How much of the index waits in memory.
const SPOOL_BYTES: usize = 1 << 20;

/// A TSM file being written.
#[derive(Debug)]
pub struct Writer<W, S = SpooledTempFile> {
    out: W,
    /// The keys before this one, as the index will have them.
    spool: S,
    /// Bytes in the spool.
    spooled: u64,
    /// Bytes of header and blocks written; 0 before the first block.
    written: u64,
    limit: u64,
    /// The key that blocks are written for; empty before the first.
    key: Vec<u8>,
    value_type: ValueType,
    /// Its blocks, as the index will have them.
    entries: Vec<u8>,
    last_time: Option<i64>,
    keys: u64,
    blocks: u64,
}

/// A TSM file that was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    /// Its bytes.
    pub size: u64,
    /// Its keys, at least one.
    pub keys: u64,
    /// Its blocks, at least one.
    pub blocks: u64,
}

impl<W: Write> Writer<W> {
    /// Writes to `out`. The index waits in memory up to a megabyte, and from there in an unnamed
    /// file among the temporary ones.
    pub fn new(out: W) -> Self {
        Self::with_spool(out, SpooledTempFile::new(SPOOL_BYTES))
    }
}

impl<W: Write, S: Read + Write + Seek> Writer<W, S> {
    /// Writes to `out`. The index waits in `spool`, which is empty and stands at its start.
    pub(crate) fn with_spool(out: W, spool: S) -> Self {
        Self {
            out,
            spool,
            spooled: 0,
            written: 0,
            limit: MAX_FILE_BYTES,
            key: Vec::new(),
            value_type: ValueType::Float,
            entries: Vec::new(),
            last_time: None,
            keys: 0,
            blocks: 0,
        }
    }

    /// Takes another size than [`MAX_FILE_BYTES`] to be full.
    pub(crate) fn with_limit(mut self, bytes: u64) -> Self {
        self.limit = bytes;
        self
    }

    /// Begins a key, all of whose blocks are of one type. A key that gets no blocks is left out.
    ///
    /// # Errors
    ///
    /// When it has no bytes or more than 65535, is not greater than the key before, or the spool
    /// cannot be written.
    pub fn begin_key(&mut self, key: &[u8], value_type: ValueType) -> Result<(), WriteError> {
        if key.is_empty() || key.len() > usize::from(u16::MAX) {
            return Err(WriteError::KeyLength(key.len()));
        }
        // No key is less than the empty one that stands here before the first.
        if key <= &self.key[..] {
            return Err(WriteError::KeyOrder);
        }
        self.end_key()?;
        self.key.clear();
        self.key.extend_from_slice(key);
        self.value_type = value_type;
        self.last_time = None;
        Ok(())
    }

    /// Writes points of the key, as influxd packs them, in blocks of 1000 and a last one of those
    /// left.
    ///
    /// # Errors
    ///
    /// As [`block`](Self::block), and when the points cannot be packed. Blocks before the one that
    /// failed were written.
    pub fn points(&mut self, points: &Points) -> Result<(), WriteError> {
        if points.len() <= MAX_POINTS_PER_BLOCK {
            return self.packed(points);
        }
        if points.times.len() != points.values.len() {
            return Err(EncodeError::Counts {
                times: points.times.len(),
                values: points.values.len(),
            }
            .into());
        }
        let mut part = Points::new(points.values.value_type());
        for start in (0..points.len()).step_by(MAX_POINTS_PER_BLOCK) {
            part.reset(points.values.value_type());
            (start..points.len().min(start + MAX_POINTS_PER_BLOCK)).for_each(|at| {
                part.push_from(points, at);
            });
            self.packed(&part)?;
        }
        Ok(())
    }

    fn packed(&mut self, points: &Points) -> Result<(), WriteError> {
        let block = block::encode(points)?;
        let (first, last) = (points.times.first(), points.times.last());
        let (Some(&first), Some(&last)) = (first, last) else {
            return Err(EncodeError::Empty.into());
        };
        self.block(first, last, crc32fast::hash(&block), &block)
    }

    /// Writes a block of the key as it is. `min_time` and `max_time` are the times of its first and
    /// last point, `crc` its CRC-32; only its type is checked.
    ///
    /// # Errors
    ///
    /// [`WriteError::Full`] when another file has to be begun, with the same key; nothing was
    /// written then. Others when the block is not of the key's type, does not begin after the one
    /// before ends, or writing fails.
    pub fn block(
        &mut self,
        min_time: i64,
        max_time: i64,
        crc: u32,
        block: &[u8],
    ) -> Result<(), WriteError> {
        if self.key.is_empty() {
            return Err(WriteError::NoKey);
        }
        if block.first() != Some(&self.value_type.byte()) {
            return Err(WriteError::Type(self.value_type));
        }
        if max_time < min_time || self.last_time.is_some_and(|last| min_time <= last) {
            return Err(WriteError::TimeOrder(min_time));
        }
        let size = u32::try_from(block.len() + CRC_BYTES).map_err(|_| EncodeError::TooLarge)?;
        if self.is_full() || self.entries.len() == usize::from(u16::MAX) * ENTRY_BYTES {
            return Err(WriteError::Full);
        }
        if self.written == 0 {
            self.out.write_all(&HEADER)?;
            self.written = HEADER.len() as u64;
        }
        self.out.write_all(&crc.to_be_bytes())?;
        self.out.write_all(block)?;
        self.entries.extend(min_time.to_be_bytes());
        self.entries.extend(max_time.to_be_bytes());
        self.entries.extend(self.written.to_be_bytes());
        self.entries.extend(size.to_be_bytes());
        self.written += u64::from(size);
        self.last_time = Some(max_time);
        self.blocks += 1;
        Ok(())
    }

    /// Whether the file is so large that another has to be begun.
    pub(crate) fn is_full(&self) -> bool {
        let key = if self.entries.is_empty() {
            0
        } else {
            KEY_EXTRA_BYTES + self.key.len() + self.entries.len()
        };
        self.written + self.spooled + key as u64 > self.limit
    }

    /// Moves the key to the spool.
    fn end_key(&mut self) -> Result<(), WriteError> {
        if self.entries.is_empty() {
            return Ok(());
        }
        let length =
            u16::try_from(self.key.len()).map_err(|_| WriteError::KeyLength(self.key.len()))?;
        let count =
            u16::try_from(self.entries.len() / ENTRY_BYTES).map_err(|_| WriteError::Full)?;
        self.spool.write_all(&length.to_be_bytes())?;
        self.spool.write_all(&self.key)?;
        self.spool.write_all(&[self.value_type.byte()])?;
        self.spool.write_all(&count.to_be_bytes())?;
        self.spool.write_all(&self.entries)?;
        self.spooled += (KEY_EXTRA_BYTES + self.key.len() + self.entries.len()) as u64;
        self.entries.clear();
        self.keys += 1;
        Ok(())
    }

    /// Writes index and footer, flushes, and gives back what was written to. Where there are no
    /// blocks, nothing was written: influxd has no file without.
    ///
    /// # Errors
    ///
    /// When writing fails, or reading the spool.
    pub fn finish(mut self) -> Result<(W, Option<Written>), WriteError> {
        self.end_key()?;
        if self.written == 0 {
            return Ok((self.out, None));
        }
        self.spool.seek(SeekFrom::Start(0))?;
        let copied = io::copy(&mut self.spool.take(self.spooled), &mut self.out)?;
        if copied != self.spooled {
            return Err(io::Error::from(io::ErrorKind::UnexpectedEof).into());
        }
        self.out.write_all(&self.written.to_be_bytes())?;
        self.out.flush()?;
        let size = self.written + self.spooled + FOOTER_BYTES;
        Ok((
            self.out,
            Some(Written {
                size,
                keys: self.keys,
                blocks: self.blocks,
            }),
        ))
    }
}

/// Why a TSM file cannot be written.
#[derive(Debug, Error)]
pub enum WriteError {
    /// Writing failed, or reading what had been written.
    #[error("cannot write the TSM file")]
    Io(#[from] io::Error),
    /// The file, or the key in it, can take no more: another file has to be begun.
    #[error("the TSM file is full")]
    Full,
    /// A key has no bytes, or more than 65535.
    #[error("a key of {0} bytes, where 1 to 65535 are possible")]
    KeyLength(usize),
    /// A key is not greater than the one before.
    #[error("a key not greater than the one before")]
    KeyOrder,
    /// A block comes before the first key.
    #[error("a block without a key")]
    NoKey,
    /// A block is not of the type that its key has.
    #[error("a block of another type than {0} for a key of that type")]
    Type(ValueType),
    /// A block begins, at this time, not after the end of the one before, or ends before it begins.
    #[error("a block that begins at {0}, not after the end of the one before")]
    TimeOrder(i64),
    /// Points cannot be packed.
    #[error(transparent)]
    Encode(#[from] EncodeError),
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::super::block::tests::some_points;
    use super::super::envelope::tests::REAL;
    use super::super::file::tests::read_all;
    use super::super::index::tests::{build, files, walk};
    use super::super::values::Values;
    use super::*;

    fn integers(times: std::ops::Range<i64>) -> Points {
        Points {
            values: Values::Integer(times.clone().collect()),
            times: times.collect(),
        }
    }

    /// A file of keys with points, in ascending order of the keys.
    pub(crate) fn write_all(keys: &[(Vec<u8>, Vec<Points>)]) -> Vec<u8> {
        let mut writer = Writer::new(Vec::new());
        for (key, blocks) in keys {
            writer
                .begin_key(key, blocks[0].values.value_type())
                .unwrap();
            blocks
                .iter()
                .for_each(|points| writer.points(points).unwrap());
        }
        let (bytes, written) = writer.finish().unwrap();
        assert_eq!(
            written.map_or(0, |written| written.size),
            bytes.len() as u64
        );
        bytes
    }

    #[test]
    fn a_real_file_is_written_again_byte_for_byte() {
        let points = Points {
            times: vec![1_600_000_000_000_000_000],
            values: Values::Float(vec![1.5]),
        };
        assert_eq!(write_all(&[(b"m,h=a#!~#v".to_vec(), vec![points])]), REAL);
    }

    #[test]
    fn a_file_without_blocks_is_none_and_keys_without_blocks_are_left_out() {
        let mut writer = Writer::new(Vec::new());
        writer.begin_key(b"a", ValueType::Float).unwrap();
        assert!(matches!(writer.finish(), Ok((bytes, None)) if bytes.is_empty()));
        let mut writer = Writer::new(Vec::new());
        writer.begin_key(b"a", ValueType::Float).unwrap();
        writer.begin_key(b"b", ValueType::Integer).unwrap();
        writer.points(&integers(0..3)).unwrap();
        writer.begin_key(b"c", ValueType::Float).unwrap();
        let (bytes, written) = writer.finish().unwrap();
        assert_eq!(bytes, write_all(&[(b"b".to_vec(), vec![integers(0..3)])]));
        assert_eq!(
            written.map(|written| (written.keys, written.blocks)),
            Some((1, 1))
        );
    }

    #[test]
    fn points_are_split_into_blocks_of_a_thousand() {
        let file = write_all(&[(b"k".to_vec(), vec![integers(-7..2500)])]);
        let expected = vec![integers(-7..993), integers(993..1993), integers(1993..2500)];
        assert_eq!(read_all(&file[..]).unwrap(), [(b"k".to_vec(), expected)]);
    }

    #[test]
    fn what_influxd_could_not_open_is_refused() {
        let mut writer = Writer::new(Vec::new());
        assert!(matches!(
            writer.block(0, 0, 0, b"\0"),
            Err(WriteError::NoKey)
        ));
        assert!(matches!(
            writer.begin_key(b"", ValueType::Float),
            Err(WriteError::KeyLength(0))
        ));
        assert!(matches!(
            writer.begin_key(&[b'k'; 65_536], ValueType::Float),
            Err(WriteError::KeyLength(65_536))
        ));
        writer
            .begin_key(&[b'k'; 65_535], ValueType::Integer)
            .unwrap();
        for key in [&[b'k'; 65_535][..], b"k", b"a"] {
            assert!(matches!(
                writer.begin_key(key, ValueType::Float),
                Err(WriteError::KeyOrder)
            ));
        }
        writer.points(&integers(0..5)).unwrap();
        assert!(matches!(
            writer.points(&integers(4..6)),
            Err(WriteError::TimeOrder(4))
        ));
        assert!(matches!(
            writer.block(9, 8, 0, b"\x01"),
            Err(WriteError::TimeOrder(9))
        ));
        assert!(matches!(
            writer.block(9, 9, 0, b"\x00"),
            Err(WriteError::Type(ValueType::Integer))
        ));
        assert!(matches!(
            writer.block(9, 9, 0, b""),
            Err(WriteError::Type(ValueType::Integer))
        ));
        assert!(matches!(
            writer.points(&integers(0..0)),
            Err(WriteError::Encode(EncodeError::Empty))
        ));
        writer.points(&integers(5..6)).unwrap();
        let (bytes, _) = writer.finish().unwrap();
        assert_eq!(
            walk(&bytes).unwrap()[0].2.len(),
            2,
            "nothing that was refused is in the file"
        );
    }

    #[test]
    fn a_key_has_as_many_blocks_as_its_count_can_say() {
        let mut writer = Writer::new(Vec::new());
        writer.begin_key(b"k", ValueType::Integer).unwrap();
        for time in 0..65_535 {
            writer.points(&integers(time..time + 1)).unwrap();
        }
        assert!(matches!(
            writer.points(&integers(70_000..70_001)),
            Err(WriteError::Full)
        ));
        writer.begin_key(b"l", ValueType::Integer).unwrap();
        writer.points(&integers(0..1)).unwrap();
        let (bytes, written) = writer.finish().unwrap();
        assert_eq!(
            written.map(|written| (written.keys, written.blocks)),
            Some((2, 65_536))
        );
        let series = walk(&bytes).unwrap();
        assert_eq!((series[0].2.len(), series[1].2.len()), (65_535, 1));
    }

    #[test]
    fn a_file_is_full_once_a_block_takes_it_over_the_limit() {
        let mut writer = Writer::new(Vec::new()).with_limit(REAL.len() as u64 - 8);
        writer.begin_key(b"m,h=a#!~#v", ValueType::Float).unwrap();
        writer.block(0, 0, 1, &REAL[9..39]).unwrap();
        assert!(!writer.is_full());
        writer.block(1, 1, 1, b"\0").unwrap();
        assert!(writer.is_full() && matches!(writer.block(2, 2, 1, b"\0"), Err(WriteError::Full)));
        let (bytes, _) = writer.finish().unwrap();
        assert_eq!(bytes.len(), REAL.len() + 5 + ENTRY_BYTES);
    }

    #[test]
    fn a_writer_that_fails_ends_the_writing_with_its_error() {
        let mut small = [0; 8];
        let mut writer = Writer::new(&mut small[..]);
        writer.begin_key(b"k", ValueType::Integer).unwrap();
        assert!(matches!(
            writer.points(&integers(0..3)),
            Err(WriteError::Io(_))
        ));
    }

    proptest! {
        #[test]
        fn blocks_written_as_they_are_make_the_file_they_came_from(series in files()) {
            let mut writer = Writer::with_spool(Vec::new(), std::io::Cursor::new(Vec::new()));
            for (key, block_type, blocks) in &series {
                writer.begin_key(key, ValueType::from_byte(*block_type).unwrap()).unwrap();
                for block in blocks {
                    let content = [&[*block_type], &block.content[1..]].concat();
                    writer.block(block.min_time, block.max_time, crc32fast::hash(&content), &content).unwrap();
                }
            }
            let mut typed = series;
            typed.iter_mut().for_each(|(_, block_type, blocks)| blocks.iter_mut().for_each(|b| b.content[0] = *block_type));
            prop_assert_eq!(writer.finish().unwrap().0, build(&typed));
        }

        #[test]
        fn points_written_are_the_points_read(keys in prop::collection::btree_map(
            prop::collection::vec(any::<u8>(), 1..6), some_points(), 1..6,
        )) {
            let keys: Vec<_> = keys.into_iter().map(|(key, points)| (key, vec![points])).collect();
            prop_assert_eq!(read_all(&write_all(&keys)[..]).unwrap(), keys);
        }
    }
}
