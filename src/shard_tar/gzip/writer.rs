//! Compressing what is written, block by block.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::mem;

use super::blocks::{Blocks, Lengths};
use super::deflate::{MOST_PACKED, pack};
use super::workers::{self, Pending};
use super::{BLOCK, END};

/// Compresses what is written to it.
///
/// It holds the block that is being filled and those that are being compressed, twice
/// [`BLOCK`] each: as many as there are cores, at most 16, and all writers and readers of the
/// process together some 64. What fits into one block is compressed when it ends, and no thread is
/// asked.
#[derive(Debug)]
pub struct GzipWriter<W> {
    out: W,
    /// Compressed bytes that stand before the blocks that are pending.
    header: Vec<u8>,
    filling: Block,
    /// Those that are compressed, the oldest first.
    pending: VecDeque<Pending<Block>>,
    /// Those that were written, to be filled again.
    spare: Vec<Block>,
    crc: crc32fast::Hasher,
    /// Bytes of the blocks that were written, modulo 2^32.
    size: u32,
    /// What the blocks became that were written.
    lengths: Lengths,
    /// Whether a block was lost because it could not be written.
    is_broken: bool,
}

/// Some of the content, and what became of it.
#[derive(Debug)]
struct Block {
    plain: Vec<u8>,
    packed: Vec<u8>,
    crc: crc32fast::Hasher,
}

impl Block {
    fn new() -> Self {
        Self {
            plain: Vec::with_capacity(BLOCK),
            packed: Vec::with_capacity(MOST_PACKED),
            crc: crc32fast::Hasher::new(),
        }
    }

    fn pack(mut self) -> Self {
        self.packed.clear();
        pack(&self.plain, &mut self.packed);
        self.crc = crc32fast::Hasher::new();
        self.crc.update(&self.plain);
        self
    }
}

impl<W: Write> GzipWriter<W> {
    /// A member that says it holds a file `name`, without a zero byte in it. Nothing is written
    /// yet.
    pub fn new(name: &str, out: W) -> Self {
        // Magic, deflate, "a name follows", no time, no extra flags, unknown system.
        let mut header = vec![0x1f, 0x8b, 8, 8, 0, 0, 0, 0, 0, 0xff];
        header.extend_from_slice(name.as_bytes());
        header.push(0);
        Self {
            out,
            header,
            filling: Block::new(),
            pending: VecDeque::new(),
            spare: Vec::new(),
            crc: crc32fast::Hasher::new(),
            size: 0,
            lengths: Lengths::default(),
            is_broken: false,
        }
    }

    /// Writes the end of the member. Says where its blocks are.
    ///
    /// # Errors
    ///
    /// Those of the writer, or that it had one before.
    pub fn finish(mut self) -> io::Result<(W, Blocks)> {
        while let Some(oldest) = self.pending.pop_front() {
            self.write_block(oldest)?;
        }
        if !self.filling.plain.is_empty() {
            let last = mem::replace(&mut self.filling, Block::new());
            self.put(last.pack())?;
        }
        if self.is_broken {
            return Err(broken());
        }
        self.write_header()?;
        self.out.write_all(&END)?;
        self.out.write_all(&self.crc.finalize().to_le_bytes())?;
        self.out.write_all(&self.size.to_le_bytes())?;
        self.out.flush()?;
        Ok((self.out, self.lengths.into_blocks()))
    }

    /// Has the block that is full compressed, once there is room for it.
    fn send(&mut self) -> io::Result<()> {
        while !workers::has_room(self.pending.len()) {
            let Some(oldest) = self.pending.pop_front() else {
                break;
            };
            self.write_block(oldest)?;
        }
        let mut next = self.spare.pop().unwrap_or_else(Block::new);
        next.plain.clear();
        let full = mem::replace(&mut self.filling, next);
        self.pending.push_back(workers::run(|| full.pack()));
        Ok(())
    }

    fn write_block(&mut self, block: Pending<Block>) -> io::Result<()> {
        match block.wait() {
            Ok(block) => self.put(block),
            Err(error) => {
                self.is_broken = true;
                Err(error)
            }
        }
    }

    fn put(&mut self, block: Block) -> io::Result<()> {
        if mem::replace(&mut self.is_broken, true) {
            return Err(broken());
        }
        self.write_header()?;
        self.out.write_all(&block.packed)?;
        self.is_broken = false;
        self.lengths.push(block.packed.len());
        self.crc.combine(&block.crc);
        self.size = self.size.wrapping_add(block.plain.len() as u32);
        self.spare.push(block);
        Ok(())
    }

    fn write_header(&mut self) -> io::Result<()> {
        self.out.write_all(&mem::take(&mut self.header))
    }
}

fn broken() -> io::Error {
    io::Error::other("a block before could not be written")
}

impl<W: Write> Write for GzipWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if self.filling.plain.len() == BLOCK {
            self.send()?;
        }
        let plain = &mut self.filling.plain;
        let count = bytes.len().min(BLOCK - plain.len());
        plain.extend_from_slice(&bytes[..count]);
        Ok(count)
    }

    /// Keeps what is not compressed yet: a member cannot be cut anywhere without growing.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
