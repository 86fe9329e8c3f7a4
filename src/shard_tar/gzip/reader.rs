//! Reading compressed files: block by block on all cores where the blocks are known, else from
//! front to back.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::mem;

use thiserror::Error;

use super::blocks::{Blocks, Layout, Run};
use super::member::unpack;
use super::serial::SerialReader;
use super::workers::{self, MOST_SPARE, Pending};

/// The content of a compressed file.
#[derive(Debug)]
pub enum GzipReader<R> {
    /// Of any members at all, one after the other.
    Serial(SerialReader<R>),
    /// Of members that are known blocks.
    Blocks(BlockReader<R>),
}

impl<R: Read> GzipReader<R> {
    /// Reads a file to its very end, the sums of gzip included.
    pub fn serial(file: R) -> Self {
        Self::Serial(SerialReader::new(file))
    }

    /// Reads a file of `size` bytes block by block, if its blocks are known and make such a file.
    pub(crate) fn new(file: R, size: u64, blocks: Option<&Blocks>) -> Self {
        match blocks.and_then(|blocks| blocks.layout(size)) {
            Some(layout) => Self::Blocks(BlockReader::of(file, layout)),
            None => Self::serial(file),
        }
    }
}

impl<R> GzipReader<R> {
    /// The reader of the file.
    pub fn get_ref(&self) -> &R {
        match self {
            Self::Serial(reader) => reader.get_ref(),
            Self::Blocks(reader) => &reader.file,
        }
    }
}

impl<R: Read> Read for GzipReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Serial(reader) => reader.read(buffer),
            Self::Blocks(reader) => reader.read(buffer),
        }
    }
}

/// Why a file with known blocks cannot be decompressed.
#[derive(Debug, Error)]
#[error("{why}")]
struct GzipDamage {
    /// Where in the file.
    offset: u64,
    why: &'static str,
}

impl GzipDamage {
    fn error(offset: u64, why: &'static str) -> io::Error {
        io::Error::new(io::ErrorKind::InvalidData, Self { offset, why })
    }
}

/// Where a file is damaged, if that is the error and its blocks are known: the block's first byte.
pub(crate) fn damaged_at(error: &io::Error) -> Option<u64> {
    let damage = error.get_ref()?.downcast_ref::<GzipDamage>()?;
    Some(damage.offset)
}

/// Reads members that are known blocks, and nothing behind them. What is said of the blocks need
/// not be true: each must be as large as it is said, with the sums of gzip.
///
/// It reads ahead: it holds the block that is being taken and those that are being decompressed,
/// with what they are made of, as many as [`super::GzipWriter`] does.
#[derive(Debug)]
pub struct BlockReader<R> {
    file: R,
    /// Bytes of the content in each block but the last.
    size: usize,
    /// The blocks that were not read yet.
    unread: VecDeque<Run>,
    /// Whether there is no second block to be decompressed meanwhile.
    is_single: bool,
    /// Bytes of the file so far.
    offset: u64,
    pending: VecDeque<Pending<Block>>,
    /// Why nothing more can be read of the file; to be said when what came before is taken.
    stopped: Option<io::Error>,
    current: Block,
    /// Bytes taken of the current block.
    taken: usize,
    /// Those that were taken, to be used again.
    spare: Vec<Block>,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Reading,
    /// The end was as it should be.
    Ended,
    /// There was an error.
    Failed,
}

/// A block, and what is in it.
#[derive(Debug, Default)]
struct Block {
    /// Where in the file it begins.
    offset: u64,
    is_last: bool,
    packed: Vec<u8>,
    plain: Vec<u8>,
    is_sound: bool,
}

impl Block {
    fn unpack(mut self, size: usize) -> Self {
        let is_whole = unpack(&self.packed, size, &mut self.plain);
        // A file without content has one block.
        let may_be_empty = self.is_last && self.offset == 0;
        let has_size = match self.plain.len() {
            0 => may_be_empty,
            count => count == size || self.is_last,
        };
        self.is_sound = is_whole && has_size;
        self
    }
}

impl<R: Read> BlockReader<R> {
    /// Reads a file of `file_size` bytes; none where its blocks do not make such a file.
    pub fn new(file: R, file_size: u64, blocks: &Blocks) -> Option<Self> {
        Some(Self::of(file, blocks.layout(file_size)?))
    }

    fn of(file: R, layout: Layout) -> Self {
        let Layout { size, runs } = layout;
        let is_single = runs.len() == 1 && runs[0].count == 1;
        Self {
            file,
            size,
            is_single,
            unread: runs,
            offset: 0,
            pending: VecDeque::new(),
            stopped: None,
            current: Block::default(),
            taken: 0,
            spare: Vec::new(),
            state: State::Reading,
        }
    }

    /// Makes the next block the current one; `false` at the end.
    fn next_block(&mut self) -> io::Result<bool> {
        self.read_ahead();
        let Some(oldest) = self.pending.pop_front() else {
            return match self.stopped.take() {
                Some(error) => Err(error),
                None => self.read_end().map(|()| false),
            };
        };
        let block = oldest.wait()?;
        if !block.is_sound {
            let why = "a block does not decompress to what it was made of";
            return Err(GzipDamage::error(block.offset, why));
        }
        self.taken = 0;
        let taken = mem::replace(&mut self.current, block);
        if self.spare.len() < MOST_SPARE {
            self.spare.push(taken);
        }
        Ok(true)
    }

    /// Has as many blocks decompressed as there is room for.
    fn read_ahead(&mut self) {
        while self.stopped.is_none() && workers::has_room(self.pending.len()) {
            match self.read_block() {
                Ok(Some(block)) => {
                    let size = self.size;
                    let unpack = move || block.unpack(size);
                    self.pending.push_back(match self.is_single {
                        true => workers::run_here(unpack),
                        false => workers::run(unpack),
                    });
                }
                Ok(None) => return,
                Err(error) => self.stopped = Some(error),
            }
        }
    }

    /// The next block as it is in the file; none where all were read.
    fn read_block(&mut self) -> io::Result<Option<Block>> {
        let Some(run) = self.unread.front_mut() else {
            return Ok(None);
        };
        let bytes = run.bytes;
        run.count -= 1;
        if run.count == 0 {
            self.unread.pop_front();
        }
        let mut block = self.spare.pop().unwrap_or_default();
        block.offset = self.offset;
        block.is_last = self.unread.is_empty();
        block.packed.resize(bytes, 0);
        self.read_exact(&mut block.packed)?;
        Ok(Some(block))
    }

    /// Makes sure that the file ends here.
    fn read_end(&mut self) -> io::Result<()> {
        let mut behind = Vec::new();
        (&mut self.file).take(1).read_to_end(&mut behind)?;
        if !behind.is_empty() {
            return Err(GzipDamage::error(self.offset, "bytes follow its end"));
        }
        self.state = State::Ended;
        Ok(())
    }

    fn read_exact(&mut self, buffer: &mut [u8]) -> io::Result<()> {
        self.file.read_exact(buffer).map_err(|error| {
            let is_short = error.kind() == io::ErrorKind::UnexpectedEof;
            match is_short && error.raw_os_error().is_none() {
                true => GzipDamage::error(self.offset, "it breaks off"),
                false => error,
            }
        })?;
        self.offset += buffer.len() as u64;
        Ok(())
    }
}

impl<R: Read> Read for BlockReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.state == State::Failed {
            return Err(io::Error::other("it could not be read on before"));
        }
        while self.taken == self.current.plain.len() && !buffer.is_empty() {
            if self.state == State::Ended {
                return Ok(0);
            }
            self.state = State::Failed;
            let is_there = self.next_block()?;
            if is_there {
                self.state = State::Reading;
            }
        }
        let rest = &self.current.plain[self.taken..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.taken += count;
        Ok(count)
    }
}
