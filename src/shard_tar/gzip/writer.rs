//! Compressing what is written, block by block.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::mem;

use super::BLOCK;
use super::blocks::{Blocks, Lengths};
use super::member::{MOST_PACKED, pack};
use super::workers::{self, MOST_SPARE, Pending};

/// Compresses what is written to it.
///
/// It holds the block that is being filled and those that are being compressed, twice
/// [`BLOCK`] each: one more than there are cores, at most 17, and all writers and readers of the
/// process together some 32. What fits into one block is compressed when it ends, and no thread is
/// asked.
#[derive(Debug)]
pub struct GzipWriter<W> {
    out: W,
    /// Of the file, until a block has it.
    name: Option<String>,
    filling: Block,
    /// Those that are compressed, the oldest first.
    pending: VecDeque<Pending<Block>>,
    /// Those that were written, to be filled again.
    spare: Vec<Block>,
    /// What the blocks became that were written.
    lengths: Lengths,
    /// Whether a block was lost because it could not be written.
    is_broken: bool,
}

/// Some of the content, and what became of it.
#[derive(Debug)]
struct Block {
    /// That of the file, in its first block.
    name: Option<String>,
    plain: Vec<u8>,
    packed: Vec<u8>,
}

impl Block {
    fn new() -> Self {
        Self {
            name: None,
            plain: Vec::with_capacity(BLOCK),
            packed: Vec::with_capacity(MOST_PACKED),
        }
    }

    fn pack(mut self) -> Self {
        pack(self.name.take().as_deref(), &self.plain, &mut self.packed);
        self
    }
}

impl<W: Write> GzipWriter<W> {
    /// A file that says it holds one named `name`, without a zero byte in it. Nothing is written
    /// yet.
    pub fn new(name: &str, out: W) -> Self {
        Self {
            out,
            name: Some(name.to_owned()),
            filling: Block::new(),
            pending: VecDeque::new(),
            spare: Vec::new(),
            lengths: Lengths::default(),
            is_broken: false,
        }
    }

    /// Writes the last block. Says where the blocks are.
    ///
    /// # Errors
    ///
    /// Those of the writer, or that it had one before.
    pub fn finish(mut self) -> io::Result<(W, Blocks)> {
        while let Some(oldest) = self.pending.pop_front() {
            self.write_block(oldest)?;
        }
        // A file without content has one block.
        if !self.filling.plain.is_empty() || self.name.is_some() {
            let last = self.take_filling(Block::new());
            self.put(last.pack())?;
        }
        if self.is_broken {
            return Err(broken());
        }
        self.out.flush()?;
        Ok((self.out, self.lengths.into_blocks()))
    }

    /// The block that was filled until now; `next` is filled from now on.
    fn take_filling(&mut self, next: Block) -> Block {
        let mut filled = mem::replace(&mut self.filling, next);
        filled.name = self.name.take();
        filled
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
        let full = self.take_filling(next);
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
        self.out.write_all(&block.packed)?;
        self.is_broken = false;
        self.lengths.push(block.packed.len());
        if self.spare.len() < MOST_SPARE {
            self.spare.push(block);
        }
        Ok(())
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

    /// Keeps what is not compressed yet: each member takes its part of a block.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
