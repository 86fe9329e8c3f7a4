//! A shard's tar stream, checked while it passes.
//!
//! A server sends a shard as `<database>/<policy>/<id>/<file>` members in a USTAR archive, with PAX headers where a name
//! needs them, and two zero blocks at the end; nothing follows. [`Scanner`] takes the bytes in any split, with fixed memory,
//! and hands each member's content to a [`Sink`].

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::FileExt;

use tar::{EntryType, Header};

use super::fields::{PaxRecords, number};
use super::reader::{BLOCK, Ending, Member};
use crate::shard::ShardPath;

/// The largest PAX header accepted, in bytes; it holds one path.
const MAX_PAX_BYTES: u64 = 64 << 10;
/// The most members accepted; a busy shard has hundreds.
const MAX_MEMBERS: u64 = 20_000;
/// Bytes read at a time by [`scan`].
const CHUNK: usize = 256 << 10;

/// Where a [`Scanner`] puts what it finds.
pub trait Sink {
    /// A member begins.
    ///
    /// # Errors
    ///
    /// The sink's own; they end the scan.
    fn begin(&mut self, member: &Member) -> io::Result<()>;

    /// The next bytes of the member's content.
    ///
    /// # Errors
    ///
    /// The sink's own; they end the scan.
    fn data(&mut self, chunk: &[u8]) -> io::Result<()>;

    /// The member was whole.
    ///
    /// # Errors
    ///
    /// The sink's own; they end the scan.
    fn end(&mut self) -> io::Result<()>;
}

/// What is wrong with a shard's tar.
#[derive(Debug)]
pub struct ScanError {
    /// Bytes of the stream before the block or content that is wrong.
    pub offset: u64,
    /// What is wrong.
    pub kind: ScanErrorKind,
}

/// The kinds of fault in a shard's tar.
#[derive(Debug)]
pub enum ScanErrorKind {
    /// The stream ended in the middle; the text says of what.
    CutOff(String),
    /// The bytes are not those of a shard's tar; the text says why.
    Malformed(String),
    /// The sink failed.
    Sink(io::Error),
}

impl fmt::Display for ScanError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.kind {
            ScanErrorKind::CutOff(inside) => write!(
                f,
                "the tar breaks off after {} bytes, {inside}",
                self.offset
            ),
            ScanErrorKind::Malformed(why) => write!(f, "at offset {}: {why}", self.offset),
            ScanErrorKind::Sink(_) => write!(f, "at offset {}", self.offset),
        }
    }
}

impl std::error::Error for ScanError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.kind {
            ScanErrorKind::Sink(error) => Some(error),
            _ => None,
        }
    }
}

#[derive(Debug)]
enum State {
    /// Collecting a header block.
    Header,
    /// Collecting a PAX header's content; `left` counts the padding too.
    Pax { size: usize, left: u64 },
    /// Passing a member's content, then its padding.
    Content { left: u64, padding: u64 },
    /// One zero block was seen.
    Trailer,
    /// Two were.
    End,
}

/// What a PAX header sets for the next member.
#[derive(Debug, Default)]
struct Pax {
    path: Option<String>,
    size: Option<u64>,
}

/// Checks a shard's tar as its bytes pass.
#[derive(Debug)]
pub struct Scanner<'a, S> {
    prefix: String,
    sink: &'a mut S,
    state: State,
    /// The block being collected, or a PAX header's content.
    pending: Vec<u8>,
    /// The PAX header for the next member.
    pax: Option<Pax>,
    /// Bytes of the stream so far.
    offset: u64,
    /// Where the block being collected begins.
    block_start: u64,
    members: u64,
    /// The member whose content passes, for messages.
    current: String,
}

impl<'a, S: Sink> Scanner<'a, S> {
    /// A scanner for the tar of `shard`.
    pub fn new(shard: &ShardPath, sink: &'a mut S) -> Self {
        Self {
            prefix: format!("{shard}/"),
            sink,
            state: State::Header,
            pending: Vec::with_capacity(BLOCK),
            pax: None,
            offset: 0,
            block_start: 0,
            members: 0,
            current: String::new(),
        }
    }

    /// Takes the next bytes of the stream.
    ///
    /// # Errors
    ///
    /// When they cannot be part of this shard's tar, or the sink fails. The scanner is of no use afterwards.
    pub fn feed(&mut self, bytes: &[u8]) -> Result<(), ScanError> {
        match self.feed_to_end(bytes)? {
            taken if taken < bytes.len() => {
                self.block_start = self.offset;
                Err(self.malformed("there are bytes behind the end of the tar"))
            }
            _ => Ok(()),
        }
    }

    /// Takes the next bytes up to the end of the tar, and says how many those were.
    ///
    /// # Errors
    ///
    /// As [`Scanner::feed`].
    pub fn feed_to_end(&mut self, bytes: &[u8]) -> Result<usize, ScanError> {
        let mut rest = bytes;
        while !rest.is_empty() && !self.is_complete() {
            if matches!(self.state, State::Header | State::Trailer) && self.pending.is_empty() {
                self.block_start = self.offset;
            }
            let taken = match self.state {
                State::Header | State::Trailer => self.collect_block(rest)?,
                State::Pax { size, left } => self.collect_pax(rest, size, left)?,
                State::Content { left, padding } => self.pass_content(rest, left, padding)?,
                State::End => 0,
            };
            self.offset += taken as u64;
            rest = &rest[taken..];
            self.settle()?;
        }
        Ok(bytes.len() - rest.len())
    }

    /// Takes up to `most` bytes of the content of the member that passes as seen; its sink is not given them.
    fn skip(&mut self, most: u64) -> Result<(), ScanError> {
        let State::Content { left, padding } = self.state else {
            return Ok(());
        };
        let taken = left.min(most);
        self.state = State::Content {
            left: left - taken,
            padding,
        };
        self.offset += taken;
        self.settle()
    }

    /// Where members go.
    pub fn sink(&mut self) -> &mut S {
        self.sink
    }

    /// Whether the end of the tar has come.
    pub fn is_complete(&self) -> bool {
        matches!(self.state, State::End)
    }

    /// Says how the stream ended, once it did.
    ///
    /// # Errors
    ///
    /// When it ended before its trailer was complete.
    pub fn finish(self) -> Result<Ending, ScanError> {
        let inside = match self.state {
            State::End => {
                return Ok(Ending::Whole {
                    members: self.members,
                });
            }
            State::Header if self.offset == 0 => return Ok(Ending::Nothing),
            State::Header if self.pending.is_empty() => {
                "without the two zero blocks that end it".to_owned()
            }
            State::Header | State::Pax { .. } => "in a header".to_owned(),
            State::Content { left: 0, .. } => format!("in the padding of {}", self.current),
            State::Content { left, .. } => {
                format!("{left} bytes before the end of {}", self.current)
            }
            State::Trailer => "in the two zero blocks that end it".to_owned(),
        };
        Err(ScanError {
            offset: self.offset,
            kind: ScanErrorKind::CutOff(inside),
        })
    }

    fn collect_block(&mut self, bytes: &[u8]) -> Result<usize, ScanError> {
        let taken = bytes.len().min(BLOCK - self.pending.len());
        self.pending.extend_from_slice(&bytes[..taken]);
        if self.pending.len() < BLOCK {
            return Ok(taken);
        }
        let block = std::mem::take(&mut self.pending);
        let zero = block.iter().all(|byte| *byte == 0);
        match self.state {
            State::Trailer if zero => self.state = State::End,
            State::Trailer => return Err(self.malformed("a single zero block between members")),
            _ if zero && self.pax.is_some() => {
                return Err(self.malformed("a PAX header without its member"));
            }
            _ if zero => self.state = State::Trailer,
            _ => self.header(&block)?,
        }
        self.pending = block;
        self.pending.clear();
        Ok(taken)
    }

    fn header(&mut self, block: &[u8]) -> Result<(), ScanError> {
        let header = Header::from_byte_slice(block);
        let stated = number(&header.as_old().cksum).ok().flatten();
        if stated != Some(u64::from(sum_of(block))) {
            return Err(self.malformed("no tar header: its checksum does not match"));
        }
        let size = match number(&header.as_old().size) {
            Ok(Some(size)) => size,
            Ok(None) => return Err(self.malformed("a negative size")),
            Err(why) => return Err(self.malformed(format!("a size that is none: {why}"))),
        };
        let kind = header.entry_type();
        if kind == EntryType::XHeader {
            if self.pax.is_some() {
                return Err(self.malformed("a PAX header without its member"));
            }
            if size > MAX_PAX_BYTES {
                return Err(self.malformed(format!("a PAX header of {size} bytes")));
            }
            self.state = State::Pax {
                size: size as usize,
                left: padded(size),
            };
            return Ok(());
        }
        let pax = self.pax.take().unwrap_or_default();
        let path = match pax.path {
            Some(path) => path,
            None => String::from_utf8(header.path_bytes().into_owned()).map_err(|error| {
                self.malformed(format!(
                    "a name that is not UTF-8: \"{}\"",
                    error.as_bytes().escape_ascii()
                ))
            })?,
        };
        let size = pax.size.unwrap_or(size);
        let directory = kind == EntryType::Directory;
        if !directory && kind != EntryType::Regular {
            return Err(self.malformed(format!(
                "'{path}' is neither a regular file nor a directory"
            )));
        }
        if directory && size != 0 {
            return Err(self.malformed(format!(
                "the directory '{path}' has {size} bytes of content"
            )));
        }
        let name = self.name_in_shard(&path, directory)?;
        // The last block of the content must still have an offset.
        if size > i64::MAX as u64 - self.offset - 2 * BLOCK as u64 {
            return Err(self.malformed(format!("'{path}' claims {size} bytes")));
        }
        self.members += 1;
        if self.members > MAX_MEMBERS {
            return Err(self.malformed(format!("more than {MAX_MEMBERS} members")));
        }
        // A file from before 1970 is as old as one of then, for all that is done with the time.
        let modified = number(&header.as_old().mtime)
            .map_err(|why| self.malformed(format!("a time that is none: {why}")))?
            .unwrap_or(0);
        let member = Member {
            name,
            directory,
            size,
            modified,
            offset: self.block_start + BLOCK as u64,
        };
        self.sink
            .begin(&member)
            .map_err(|error| self.sink_failed(error))?;
        self.current = path;
        self.state = State::Content {
            left: size,
            padding: padded(size) - size,
        };
        Ok(())
    }

    /// The name below the shard's directory; empty for the directory itself.
    fn name_in_shard(&self, path: &str, directory: bool) -> Result<String, ScanError> {
        // Servers 1.0 and 1.1 on Windows write backslashes; elsewhere no name of InfluxDB's holds one.
        let slashed = if path.contains('/') {
            path.to_owned()
        } else {
            path.replace('\\', "/")
        };
        let slashed = slashed
            .strip_suffix('/')
            .filter(|_| directory)
            .unwrap_or(&slashed);
        if directory && format!("{slashed}/") == self.prefix {
            return Ok(String::new());
        }
        let outside = || self.malformed(format!("'{path}' is not inside '{}'", self.prefix));
        let name = slashed.strip_prefix(&self.prefix).ok_or_else(outside)?;
        let harmless =
            |part: &str| !matches!(part, "" | "." | "..") && !part.contains(['\0', '\\']);
        if name.split('/').count() > 3 || !name.split('/').all(harmless) {
            return Err(outside());
        }
        Ok(name.to_owned())
    }

    fn collect_pax(&mut self, bytes: &[u8], size: usize, left: u64) -> Result<usize, ScanError> {
        let taken = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        let content = taken.min(size - self.pending.len());
        self.pending.extend_from_slice(&bytes[..content]);
        self.state = State::Pax {
            size,
            left: left - taken as u64,
        };
        Ok(taken)
    }

    fn pass_content(&mut self, bytes: &[u8], left: u64, padding: u64) -> Result<usize, ScanError> {
        if left == 0 {
            let taken = bytes.len().min(padding as usize);
            self.state = State::Content {
                left,
                padding: padding - taken as u64,
            };
            return Ok(taken);
        }
        let taken = bytes.len().min(usize::try_from(left).unwrap_or(usize::MAX));
        self.sink
            .data(&bytes[..taken])
            .map_err(|error| self.sink_failed(error))?;
        self.state = State::Content {
            left: left - taken as u64,
            padding,
        };
        Ok(taken)
    }

    /// Leaves states that have nothing more to wait for.
    fn settle(&mut self) -> Result<(), ScanError> {
        match self.state {
            State::Pax { left: 0, .. } => {
                let content = std::mem::take(&mut self.pending);
                self.read_pax(&content)?;
                self.state = State::Header;
            }
            State::Content {
                left: 0,
                padding: 0,
            } => {
                self.sink.end().map_err(|error| self.sink_failed(error))?;
                self.state = State::Header;
            }
            _ => {}
        }
        Ok(())
    }

    fn read_pax(&mut self, content: &[u8]) -> Result<(), ScanError> {
        let mut pax = Pax::default();
        for record in PaxRecords(content) {
            let (key, value) = record.map_err(|why| self.malformed(why))?;
            let text = || {
                str::from_utf8(value).map_err(|_| self.malformed("a PAX header that is not UTF-8"))
            };
            match key {
                b"path" => pax.path = Some(text()?.to_owned()),
                b"size" => {
                    let digits = text()?;
                    let size = digits.parse().ok();
                    let size = size.filter(|_| digits.bytes().all(|byte| byte.is_ascii_digit()));
                    pax.size = Some(size.ok_or_else(|| {
                        self.malformed(format!("a PAX size of '{}'", digits.escape_debug()))
                    })?);
                }
                _ => {}
            }
        }
        self.pax = Some(pax);
        Ok(())
    }

    fn malformed(&self, why: impl Into<String>) -> ScanError {
        ScanError {
            offset: self.block_start,
            kind: ScanErrorKind::Malformed(why.into()),
        }
    }

    fn sink_failed(&self, error: io::Error) -> ScanError {
        ScanError {
            offset: self.offset,
            kind: ScanErrorKind::Sink(error),
        }
    }
}

/// The checksum of a header block: the sum of its bytes, those of the checksum itself taken for blanks.
fn sum_of(block: &[u8]) -> u32 {
    let checksum = 148..156;
    let bytes = block.iter().enumerate();
    bytes
        .map(|(at, byte)| match checksum.contains(&at) {
            true => u32::from(b' '),
            false => u32::from(*byte),
        })
        .sum()
}

/// The size with the padding to a whole block.
fn padded(size: u64) -> u64 {
    size.saturating_add(BLOCK as u64 - 1) / BLOCK as u64 * BLOCK as u64
}

/// Scans a whole stream. The outer error is the reader's, the inner one the tar's.
///
/// # Errors
///
/// Those of the reader.
pub fn scan(
    mut reader: impl Read,
    shard: &ShardPath,
    sink: &mut impl Sink,
) -> io::Result<Result<Ending, ScanError>> {
    let mut scanner = Scanner::new(shard, sink);
    let mut buffer = vec![0; CHUNK];
    loop {
        match reader.read(&mut buffer) {
            Ok(0) => return Ok(scanner.finish()),
            Ok(count) => {
                if let Err(error) = scanner.feed(&buffer[..count]) {
                    return Ok(Err(error));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// Scans a tar that lies in a file, and reads nothing but what is between the contents of members: of a content, the sink is given
/// a few bytes or none, and can read it at its place. Gives the bytes of the tar too. The outer error is that of reading, the inner
/// one the tar's.
///
/// # Errors
///
/// Those of reading.
pub fn scan_in_place(
    tar: &File,
    shard: &ShardPath,
    sink: &mut impl Sink,
) -> io::Result<Result<(Ending, u64), ScanError>> {
    let size = tar.metadata()?.len();
    let mut scanner = Scanner::new(shard, sink);
    let mut buffer = [0; BLOCK];
    loop {
        let here = size.saturating_sub(scanner.offset);
        if let Err(error) = scanner.skip(here) {
            return Ok(Err(error));
        }
        match tar.read_at(&mut buffer, scanner.offset) {
            Ok(0) => {
                let bytes = scanner.offset;
                return Ok(scanner.finish().map(|ending| (ending, bytes)));
            }
            Ok(count) => {
                if let Err(error) = scanner.feed(&buffer[..count]) {
                    return Ok(Err(error));
                }
            }
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}
