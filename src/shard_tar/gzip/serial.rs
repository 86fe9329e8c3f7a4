//! Reading compressed files of which no blocks are known, from front to back: while one piece of
//! the content is being taken, another thread inflates the next.

use std::io::{self, BufRead, BufReader, Read};
use std::mem;

use flate2::bufread::GzDecoder;
use flate2::{Decompress, FlushDecompress, Status};

use super::workers::{self, Pending};

/// Bytes read at a time of the file.
const CHUNK: usize = 512 << 10;

/// Bytes of the file of which fewer are inflated at once, by whoever asks for them.
const LITTLE: usize = 16 << 10;

/// The most bytes of the content in a piece. The two threads wait for each other once a piece.
const PIECE: usize = 1 << 20;

/// The content of any members at all, one after the other, with the sums of gzip.
///
/// It holds the piece that is being taken and the next, and a chunk of the file twice.
#[derive(Debug)]
pub struct SerialReader<R> {
    file: BufReader<R>,
    next: Next,
    /// The piece that is being taken.
    current: Vec<u8>,
    /// Bytes taken of it.
    taken: usize,
    /// CRC-32 of the content of the member so far.
    crc: crc32fast::Hasher,
    /// Bytes of it, modulo 2^32.
    content_size: u32,
}

/// What comes behind the current piece.
#[derive(Debug)]
enum Next {
    /// A member.
    Member(Inflater),
    /// A piece of the same member.
    Piece(Pending<Inflater>),
    /// The sums at the end of the member.
    Sums(Inflater),
    /// The end of the file.
    End,
    /// An error, which comes behind all that could be read.
    Error(io::Error),
    /// Nothing: there was an error.
    Nothing,
}

/// Inflates a member piece by piece.
#[derive(Debug)]
struct Inflater {
    inflate: Decompress,
    /// What follows in the file, as far as it was read.
    packed: Vec<u8>,
    /// What was made of it.
    plain: Vec<u8>,
    /// How much of it was used for that.
    used: usize,
    ending: Ending,
}

/// How a piece ends.
#[derive(Debug, Clone, Copy)]
enum Ending {
    /// There is more to come.
    Open,
    /// With its member.
    Whole,
    /// Where the bytes are no deflate.
    Damaged,
}

impl Inflater {
    fn new() -> Self {
        Self {
            inflate: Decompress::new(false),
            packed: Vec::new(),
            plain: Vec::new(),
            used: 0,
            ending: Ending::Open,
        }
    }

    /// Makes the next piece.
    fn run(mut self) -> Self {
        self.plain.clear();
        self.plain.reserve_exact(PIECE);
        let before = self.inflate.total_in();
        let status =
            self.inflate
                .decompress_vec(&self.packed, &mut self.plain, FlushDecompress::None);
        self.used = (self.inflate.total_in() - before) as usize;
        self.ending = match status {
            Ok(Status::StreamEnd) => Ending::Whole,
            Ok(_) if self.used > 0 || !self.plain.is_empty() => Ending::Open,
            Ok(_) | Err(_) => Ending::Damaged,
        };
        self
    }
}

impl<R: Read> SerialReader<R> {
    pub(super) fn new(file: R) -> Self {
        Self {
            file: BufReader::with_capacity(CHUNK, file),
            next: Next::Member(Inflater::new()),
            current: Vec::new(),
            taken: 0,
            crc: crc32fast::Hasher::new(),
            content_size: 0,
        }
    }

    /// Takes a step in the file, which makes the next piece the current one if it is there.
    fn advance(&mut self) -> io::Result<()> {
        self.next = match mem::replace(&mut self.next, Next::Nothing) {
            Next::Member(mut inflater) => {
                // Where no byte is asked for, it reads the header and no more.
                let content = GzDecoder::new(&mut self.file).read(&mut [])?;
                debug_assert_eq!(content, 0);
                inflater.inflate.reset(false);
                self.crc = crc32fast::Hasher::new();
                self.content_size = 0;
                self.inflate(inflater)?
            }
            Next::Piece(pending) => {
                let mut inflater = pending.wait()?;
                self.file.consume(inflater.used);
                mem::swap(&mut self.current, &mut inflater.plain);
                self.taken = 0;
                // The next piece is begun before anything is done with this one.
                let next = match inflater.ending {
                    Ending::Open => self.inflate(inflater).unwrap_or_else(Next::Error),
                    Ending::Whole => Next::Sums(inflater),
                    Ending::Damaged => Next::Error(damage("it is no deflate stream")),
                };
                self.crc.update(&self.current);
                self.content_size = self.content_size.wrapping_add(self.current.len() as u32);
                next
            }
            Next::Sums(inflater) => {
                self.read_sums()?;
                match fill(&mut self.file)? {
                    true => Next::Member(inflater),
                    false => Next::End,
                }
            }
            Next::End => Next::End,
            Next::Error(error) => return Err(error),
            Next::Nothing => return Err(io::Error::other("it could not be read on before")),
        };
        Ok(())
    }

    /// Has the next piece made.
    fn inflate(&mut self, mut inflater: Inflater) -> io::Result<Next> {
        if !fill(&mut self.file)? {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        // It stays in the buffer until it is known how much of it is used.
        let packed = self.file.buffer();
        inflater.packed.clear();
        inflater.packed.extend_from_slice(packed);
        Ok(Next::Piece(match packed.len() < LITTLE {
            true => workers::run_here(|| inflater.run()),
            false => workers::run(|| inflater.run()),
        }))
    }

    /// Reads CRC-32 and size, and makes sure that they are those of the content.
    fn read_sums(&mut self) -> io::Result<()> {
        let mut sums = [0; 8];
        self.file.read_exact(&mut sums)?;
        let crc = self.crc.clone().finalize().to_le_bytes();
        let size = self.content_size.to_le_bytes();
        match sums[..4] == crc && sums[4..] == size {
            true => Ok(()),
            false => Err(damage("the sums at its end are not those of its content")),
        }
    }
}

impl<R> SerialReader<R> {
    /// The reader of the file.
    pub(super) fn get_ref(&self) -> &R {
        self.file.get_ref()
    }
}

impl<R: Read> Read for SerialReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.taken == self.current.len() && !buffer.is_empty() {
            if matches!(self.next, Next::End) {
                return Ok(0);
            }
            self.advance()?;
        }
        let rest = &self.current[self.taken..];
        let count = rest.len().min(buffer.len());
        buffer[..count].copy_from_slice(&rest[..count]);
        self.taken += count;
        Ok(count)
    }
}

/// Fills the buffer of a file if it is empty; `false` at the end of the file.
fn fill(file: &mut BufReader<impl Read>) -> io::Result<bool> {
    loop {
        match file.fill_buf() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            filled => return Ok(!filled?.is_empty()),
        }
    }
}

fn damage(why: &'static str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, why)
}
