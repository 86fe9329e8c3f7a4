//! Reading a shard's tar member by member, strictly.
//!
//! A server sends a shard as `<database>/<policy>/<id>/<file>` members in a USTAR archive, with PAX
//! headers where a name needs them, and two zero blocks at the end; nothing follows.
//! [`ShardTarReader`] takes it from any reader, with fixed memory.

use std::io::{self, BufReader, Read, Seek, SeekFrom};

use tar::{EntryType, Header};
use thiserror::Error;

use super::fields::{PaxRecords, number};
use crate::shard::ShardPath;
use crate::tsm::is_tombstone;

/// Bytes in a tar block.
pub const BLOCK: usize = 512;
/// The largest PAX header accepted, in bytes; it holds one path.
const MAX_PAX_BYTES: u64 = 64 << 10;
/// The most members accepted; a busy shard has hundreds.
const MAX_MEMBERS: u64 = 20_000;
/// Bytes read at a time of content that nobody asked for.
const CHUNK: usize = 64 << 10;

/// One member of a shard's tar.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// The name below the shard's directory: `000000001-000000001.tsm`, `index/MANIFEST`.
    pub name: String,
    /// Whether it is a directory; it has no content then.
    pub directory: bool,
    /// Bytes of content.
    pub size: u64,
    /// Modification time in seconds since 1970, by the server's clock, rounded by the server.
    pub modified: u64,
    /// Where in the tar the content begins.
    pub offset: u64,
}

impl Member {
    /// Whether it is named as a TSM file.
    pub(crate) fn is_tsm(&self) -> bool {
        !self.directory && self.name.ends_with(".tsm")
    }

    /// Whether it is named as a tombstone file.
    pub fn is_tombstone(&self) -> bool {
        !self.directory && is_tombstone(&self.name)
    }
}

/// How a stream ended that has no fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// It had no byte at all: a failure on the server, or, in servers 1.0 and 1.1, nothing to send.
    Nothing,
    /// Its trailer came.
    Whole {
        /// How many members there were; 0 is an empty tar.
        members: u64,
    },
}

/// Why a shard's tar cannot be read on.
#[derive(Debug, Error)]
pub enum TarError {
    /// The stream ended in the middle.
    #[error("the tar breaks off after {offset} bytes, {inside}")]
    CutOff {
        /// Bytes of the stream.
        offset: u64,
        /// In the middle of what.
        inside: String,
    },
    /// The bytes are not those of a shard's tar.
    #[error("at offset {offset}: {why}")]
    Malformed {
        /// Where the header is that is wrong.
        offset: u64,
        /// What is wrong with it.
        why: String,
    },
    /// The tar's source failed: the disk, the connection, or the decompressor.
    #[error(transparent)]
    Source(io::Error),
}

impl TarError {
    /// Bytes of the tar before what is wrong.
    pub fn offset(&self) -> Option<u64> {
        match self {
            Self::CutOff { offset, .. } | Self::Malformed { offset, .. } => Some(*offset),
            Self::Source(_) => None,
        }
    }
}

impl From<TarError> for io::Error {
    fn from(error: TarError) -> Self {
        match error {
            TarError::Source(error) => error,
            damage => Self::new(io::ErrorKind::InvalidData, damage),
        }
    }
}

/// Reads the tar of a shard: [`ShardTarReader::next_member`], its content by
/// [`ShardTarReader::read_content`] or [`Read`], and so on. After an error it is of no use.
#[derive(Debug)]
pub struct ShardTarReader<R> {
    source: R,
    /// Passes over bytes of the source, and says how many of them there were.
    pass: fn(&mut R, u64) -> io::Result<u64>,
    /// What the path of every member begins with.
    prefix: String,
    /// Bytes of the stream so far.
    offset: u64,
    /// Where the header began that was read last.
    header_at: u64,
    members: u64,
    /// The path of the last member, for messages.
    path: String,
    /// Bytes of its content that are still to come.
    left: u64,
    /// Bytes that fill the last block of the content.
    padding: usize,
    is_at_end: bool,
}

/// What a PAX header sets for the next member.
#[derive(Debug, Default)]
struct Pax {
    path: Option<String>,
    size: Option<u64>,
}

impl<R: Read> ShardTarReader<R> {
    /// Reads the tar of `shard` as a stream: content that nobody reads is read all the same.
    pub fn new(source: R, shard: &ShardPath) -> Self {
        Self::passing_by(source, shard, read_past)
    }
}

impl<R: Read + Seek> ShardTarReader<R> {
    /// Reads the tar of `shard` from a source that can seek: content that nobody reads is not read.
    pub(crate) fn in_place(source: R, shard: &ShardPath) -> Self {
        Self::passing_by(source, shard, seek_past)
    }
}

impl<R: Read> ShardTarReader<R> {
    /// Reads the tar of `shard`. `pass` passes over bytes of the source, and says how many of them
    /// there were.
    pub(crate) fn passing_by(
        source: R,
        shard: &ShardPath,
        pass: fn(&mut R, u64) -> io::Result<u64>,
    ) -> Self {
        Self {
            source,
            pass,
            prefix: format!("{shard}/"),
            offset: 0,
            header_at: 0,
            members: 0,
            path: String::new(),
            left: 0,
            padding: 0,
            is_at_end: false,
        }
    }

    /// The next member; none at the end of the tar, of which nothing behind the two zero blocks was
    /// read. What was not read of the member before is passed over.
    ///
    /// # Errors
    ///
    /// When the tar is damaged, or its source fails.
    pub fn next_member(&mut self) -> Result<Option<Member>, TarError> {
        self.pass_content()?;
        let mut pax = None;
        while let Some(block) = self.header_block()? {
            if block.iter().all(|byte| *byte == 0) {
                if pax.is_some() {
                    return Err(self.malformed("a PAX header without its member"));
                }
                self.end_of_trailer()?;
                break;
            }
            let header = Header::from_byte_slice(&block);
            let size = self.stated_size(header, &block)?;
            if header.entry_type() != EntryType::XHeader {
                return self.member(header, size, pax.unwrap_or_default()).map(Some);
            }
            if pax.is_some() {
                return Err(self.malformed("a PAX header without its member"));
            }
            pax = Some(self.pax(size)?);
        }
        self.is_at_end = true;
        Ok(None)
    }

    /// Reads content of the last member; 0 once all of it was read and the member is whole, its
    /// padding too.
    ///
    /// # Errors
    ///
    /// As [`ShardTarReader::next_member`].
    pub(crate) fn read_content(&mut self, buffer: &mut [u8]) -> Result<usize, TarError> {
        if self.left == 0 {
            self.pass_content()?;
            return Ok(0);
        }
        let most = usize::try_from(self.left).map_or(buffer.len(), |left| left.min(buffer.len()));
        let count = self.read_source(&mut buffer[..most])?;
        if count == 0 && most > 0 {
            return Err(self.cut_off_in_content());
        }
        self.left -= count as u64;
        Ok(count)
    }

    /// Passes over what was not read of the content of the last member. The member is whole then.
    ///
    /// # Errors
    ///
    /// As [`ShardTarReader::next_member`].
    pub(crate) fn pass_content(&mut self) -> Result<(), TarError> {
        if self.left > 0 {
            let passed = (self.pass)(&mut self.source, self.left).map_err(TarError::Source)?;
            self.offset += passed;
            self.left -= passed;
            if self.left > 0 {
                return Err(self.cut_off_in_content());
            }
        }
        let padding = std::mem::take(&mut self.padding);
        if self.fill(&mut [0; BLOCK][..padding])? < padding {
            return Err(self.cut_off(format!("in the padding of {}", self.path)));
        }
        Ok(())
    }

    /// Passes over what was not read of the tar, and makes sure that nothing follows it.
    ///
    /// # Errors
    ///
    /// As [`ShardTarReader::next_member`], and when something follows.
    pub fn finish(&mut self) -> Result<Ending, TarError> {
        while self.next_member()?.is_some() {}
        self.header_at = self.offset;
        if self.read_source(&mut [0])? > 0 {
            return Err(self.malformed("there are bytes behind the end of the tar"));
        }
        Ok(self.ending())
    }

    /// How the tar ended, once there was no next member.
    pub fn ending(&self) -> Ending {
        match self.offset {
            0 => Ending::Nothing,
            _ => Ending::Whole {
                members: self.members,
            },
        }
    }

    /// What the tar is read from.
    pub fn source(&self) -> &R {
        &self.source
    }

    /// Bytes of the stream so far.
    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// The next block of headers; none where the tar has ended, or never began.
    fn header_block(&mut self) -> Result<Option<[u8; BLOCK]>, TarError> {
        if self.is_at_end {
            return Ok(None);
        }
        self.header_at = self.offset;
        let mut block = [0; BLOCK];
        match self.fill(&mut block)? {
            BLOCK => Ok(Some(block)),
            0 if self.offset == 0 => Ok(None),
            0 => Err(self.cut_off("without the two zero blocks that end it")),
            _ => Err(self.cut_off("in a header")),
        }
    }

    /// Reads the second of the two zero blocks.
    fn end_of_trailer(&mut self) -> Result<(), TarError> {
        self.header_at = self.offset;
        let mut block = [0; BLOCK];
        if self.fill(&mut block)? < BLOCK {
            return Err(self.cut_off("in the two zero blocks that end it"));
        }
        match block.iter().all(|byte| *byte == 0) {
            true => Ok(()),
            false => Err(self.malformed("a single zero block between members")),
        }
    }

    /// The size that a header states, whose checksum is right.
    fn stated_size(&self, header: &Header, block: &[u8]) -> Result<u64, TarError> {
        let stated = number(&header.as_old().cksum).ok().flatten();
        if stated != Some(u64::from(sum_of(block))) {
            return Err(self.malformed("no tar header: its checksum does not match"));
        }
        match number(&header.as_old().size) {
            Ok(Some(size)) => Ok(size),
            Ok(None) => Err(self.malformed("a negative size")),
            Err(why) => Err(self.malformed(format!("a size that is none: {why}"))),
        }
    }

    fn member(&mut self, header: &Header, size: u64, pax: Pax) -> Result<Member, TarError> {
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
        let directory = header.entry_type() == EntryType::Directory;
        if !directory && header.entry_type() != EntryType::Regular {
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
        if size > i64::MAX as u64 - self.offset - BLOCK as u64 {
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
        self.path = path;
        self.left = size;
        self.padding = padding(size);
        Ok(Member {
            name,
            directory,
            size,
            modified,
            offset: self.offset,
        })
    }

    /// The name below the shard's directory; empty for the directory itself.
    fn name_in_shard(&self, path: &str, directory: bool) -> Result<String, TarError> {
        // Servers 1.0 and 1.1 on Windows write backslashes; elsewhere no name of InfluxDB's holds
        // one.
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

    /// Reads a PAX header of so many bytes.
    fn pax(&mut self, size: u64) -> Result<Pax, TarError> {
        if size > MAX_PAX_BYTES {
            return Err(self.malformed(format!("a PAX header of {size} bytes")));
        }
        let size = size as usize;
        let mut content = vec![0; size + padding(size as u64)];
        if self.fill(&mut content)? < content.len() {
            return Err(self.cut_off("in a header"));
        }
        let mut pax = Pax::default();
        for record in PaxRecords(&content[..size]) {
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
        Ok(pax)
    }

    /// Reads until the buffer is full or the stream ends; how many bytes there were.
    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize, TarError> {
        let mut filled = 0;
        while filled < buffer.len() {
            match self.read_source(&mut buffer[filled..])? {
                0 => break,
                count => filled += count,
            }
        }
        Ok(filled)
    }

    fn read_source(&mut self, buffer: &mut [u8]) -> Result<usize, TarError> {
        let count = read_retrying(&mut self.source, buffer).map_err(TarError::Source)?;
        self.offset += count as u64;
        Ok(count)
    }

    fn cut_off_in_content(&self) -> TarError {
        self.cut_off(format!(
            "{} bytes before the end of {}",
            self.left, self.path
        ))
    }

    fn cut_off(&self, inside: impl Into<String>) -> TarError {
        TarError::CutOff {
            offset: self.offset,
            inside: inside.into(),
        }
    }

    fn malformed(&self, why: impl Into<String>) -> TarError {
        TarError::Malformed {
            offset: self.header_at,
            why: why.into(),
        }
    }
}

/// The content of the last member. An error that is not its source's has a [`TarError`] inside.
impl<R: Read> Read for ShardTarReader<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(self.read_content(buffer)?)
    }
}

/// The checksum of a header block: the sum of its bytes, those of the checksum itself taken for
/// blanks.
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

/// The bytes that fill the last block of so many bytes.
pub(super) fn padding(size: u64) -> usize {
    (BLOCK - (size % BLOCK as u64) as usize) % BLOCK
}

fn read_retrying(source: &mut impl Read, buffer: &mut [u8]) -> io::Result<usize> {
    loop {
        match source.read(buffer) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            result => return result,
        }
    }
}

/// Reads so many bytes, or as many as there are, and drops them.
pub(crate) fn read_past<R: Read>(source: &mut R, bytes: u64) -> io::Result<u64> {
    let buffered = bytes.min(CHUNK as u64) as usize;
    let mut rest = BufReader::with_capacity(buffered, source.take(bytes));
    io::copy(&mut rest, &mut io::sink())
}

/// Seeks past so many bytes, or as many as there are.
pub(crate) fn seek_past<R: Seek>(source: &mut R, bytes: u64) -> io::Result<u64> {
    let here = source.stream_position()?;
    let end = source.seek(SeekFrom::End(0))?;
    let there = here.saturating_add(bytes).min(end).max(here);
    source.seek(SeekFrom::Start(there))?;
    Ok(there - here)
}

#[cfg(test)]
#[path = "reader_tests.rs"]
mod tests;
