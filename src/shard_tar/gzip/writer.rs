//! Compressing what is written, block by block.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::mem;

use super::BLOCK;
use super::blocks::{Blocks, Lengths};
use super::member::{self, MOST_PACKED};
use super::part;
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
    form: Form,
    /// What the blocks became that were written.
    lengths: Lengths,
    /// Whether a block was lost because it could not be written.
    is_broken: bool,
}

/// How a file is made of blocks.
#[derive(Debug, Clone)]
enum Form {
    /// Each is a member.
    Members,
    /// All are one member.
    OneMember {
        /// Of what was written.
        crc: crc32fast::Hasher,
        /// Bytes of it, modulo 2^32.
        size: u32,
    },
}

/// The empty deflate block that ends a member of several blocks.
const END: [u8; 2] = [3, 0];

/// Some of the content, and what became of it.
#[derive(Debug)]
struct Block {
    /// That of the file, in its first block.
    name: Option<String>,
    plain: Vec<u8>,
    packed: Vec<u8>,
    /// Of the content, where the block is no member.
    crc: crc32fast::Hasher,
}

impl Block {
    fn new() -> Self {
        Self {
            name: None,
            plain: Vec::with_capacity(BLOCK),
            packed: Vec::with_capacity(MOST_PACKED),
            crc: crc32fast::Hasher::new(),
        }
    }

    fn pack(mut self, is_member: bool) -> Self {
        let name = self.name.take();
        if is_member {
            member::pack(name.as_deref(), &self.plain, &mut self.packed);
            return self;
        }
        self.packed.clear();
        if name.is_some() {
            member::begin(name.as_deref(), &mut self.packed);
        }
        part::pack(&self.plain, &mut self.packed);
        self.crc = crc32fast::Hasher::new();
        self.crc.update(&self.plain);
        self
    }
}

impl<W: Write> GzipWriter<W> {
    /// A file of a member for each block, that says it holds one named `name`, without a zero byte
    /// in it. Nothing is written yet.
    pub fn new(name: &str, out: W) -> Self {
        Self::with_form(name, out, Form::Members)
    }

    /// The same of one member.
    pub fn one_member(name: &str, out: W) -> Self {
        let crc = crc32fast::Hasher::new();
        Self::with_form(name, out, Form::OneMember { crc, size: 0 })
    }

    fn with_form(name: &str, out: W, form: Form) -> Self {
        Self {
            out,
            name: Some(name.to_owned()),
            filling: Block::new(),
            pending: VecDeque::new(),
            spare: Vec::new(),
            form,
            lengths: Lengths::default(),
            is_broken: false,
        }
    }

    /// Writes the last block. Says where the blocks are, if they are members.
    ///
    /// # Errors
    ///
    /// Those of the writer, or that it had one before.
    pub fn finish(mut self) -> io::Result<(W, Option<Blocks>)> {
        while let Some(oldest) = self.pending.pop_front() {
            self.write_block(oldest)?;
        }
        // A file without content has one block.
        if !self.filling.plain.is_empty() || self.name.is_some() {
            let last = self.take_filling(Block::new());
            self.put(last.pack(self.has_members()))?;
        }
        if self.is_broken {
            return Err(broken());
        }
        let blocks = match self.form {
            Form::Members => Some(self.lengths.into_blocks()),
            Form::OneMember { crc, size } => {
                self.out.write_all(&END)?;
                self.out.write_all(&crc.finalize().to_le_bytes())?;
                self.out.write_all(&size.to_le_bytes())?;
                None
            }
        };
        self.out.flush()?;
        Ok((self.out, blocks))
    }

    fn has_members(&self) -> bool {
        matches!(self.form, Form::Members)
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
        let is_member = self.has_members();
        self.pending
            .push_back(workers::run(move || full.pack(is_member)));
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
        match &mut self.form {
            Form::Members => self.lengths.push(block.packed.len()),
            Form::OneMember { crc, size } => {
                crc.combine(&block.crc);
                *size = size.wrapping_add(block.plain.len() as u32);
            }
        }
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
