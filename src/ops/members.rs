//! The members of a shard's tar as something that can be read at any offset, one after the other.

use std::io::{self, Read, Write};
use std::path::Path;

use thiserror::Error;

use super::unpack_dir::{UnpackDir, UnpackedFile};
use crate::cancel::{Cancel, Stoppable};
use crate::io::read_at::{FromStart, ReadAt, Section};
use crate::io::scratch::{Spool, scratch_words};
use crate::repository::{StoredFile, Tar};
use crate::shard::ShardPath;
use crate::shard_tar::{BLOCK, Ending, Member, ShardTarReader, TarError, read_past, seek_past};
use crate::tsm::stream_check::StreamCheck;
use crate::tsm::tombstone::{self, BoundedDeletes};

/// Bytes read at a time.
const CHUNK: usize = 256 << 10;

/// Where the content of members is found once they have passed.
pub(crate) enum Place<'a> {
    /// In the tar itself.
    Tar(StoredFile),
    /// In a file without a name, that takes one member after the other.
    Spool(Spool),
    /// In files of their own, which stay.
    Directory(&'a UnpackDir<'a>),
}

/// Reads the members of a shard's tar, of which the content can be read at any offset.
pub(crate) struct MemberReader<'a, R> {
    reader: ShardTarReader<R>,
    place: Place<'a>,
    /// The last member that was unpacked to stay, which is open.
    unpacked: Option<UnpackedFile>,
    /// Whether content passes, and is not only passed over.
    is_streamed: bool,
    /// Bytes of the tar, where a manifest names them.
    listed: Option<u64>,
    /// The last member: its name, where its content begins, and its bytes.
    name: String,
    offset: u64,
    size: u64,
}

pub(crate) struct MemberContent<'a> {
    pub bytes: Section<'a, dyn ReadAt>,
    /// CRC-32 of them, where they were read anyway.
    pub crc: Option<u32>,
}

/// Why the content of a member cannot be had.
#[derive(Debug, Error)]
pub(crate) enum ContentError {
    /// The tar cannot be read on.
    #[error(transparent)]
    Tar(#[from] TarError),
    /// The disk fails where it is to be looked at: there is no room, say.
    #[error(transparent)]
    Scratch(#[from] io::Error),
    /// It cannot be unpacked where it was to stay.
    #[error(transparent)]
    Unpack(anyhow::Error),
}

impl From<ContentError> for io::Error {
    fn from(error: ContentError) -> Self {
        match error {
            ContentError::Tar(error) => error.into(),
            ContentError::Scratch(error) => error,
            ContentError::Unpack(error) => Self::other(error),
        }
    }
}

/// Why the members of a tar were not passed to their end.
pub(super) enum TarStop {
    /// It cannot be read on.
    Tar(TarError),
    /// The disk, say, or a stop that was asked for.
    Failed(anyhow::Error),
}

impl From<ContentError> for TarStop {
    fn from(error: ContentError) -> Self {
        match error {
            ContentError::Tar(error) => Self::Tar(error),
            ContentError::Scratch(error) => Self::Failed(scratch_words(error)),
            ContentError::Unpack(error) => Self::Failed(error),
        }
    }
}

impl From<anyhow::Error> for TarStop {
    fn from(error: anyhow::Error) -> Self {
        Self::Failed(error)
    }
}

impl<'a> MemberReader<'_, Stoppable<'a, Tar<StoredFile>>> {
    /// Reads no more of the tar of a shard's file than is asked for, where it is not compressed,
    /// until a stop is asked for. Members of a compressed one are unpacked in the directory
    /// `scratch`.
    ///
    /// # Errors
    ///
    /// When no file can be made there.
    pub(super) fn open(
        tar: Tar<StoredFile>,
        scratch: &Path,
        shard: &ShardPath,
        cancel: &'a Cancel,
    ) -> io::Result<Self> {
        let (place, is_streamed) = match &tar {
            Tar::Plain(file) => (Place::Tar(file.clone()), false),
            Tar::Compressed(_) => (Place::Spool(Spool::new_in(scratch)?), true),
        };
        let tar = Stoppable { inner: tar, cancel };
        Ok(Self {
            reader: ShardTarReader::passing_by(tar, shard, |tar, bytes| match &mut tar.inner {
                Tar::Plain(file) => seek_past(file, bytes),
                Tar::Compressed(_) => read_past(tar, bytes),
            }),
            place,
            unpacked: None,
            is_streamed,
            listed: None,
            name: String::new(),
            offset: 0,
            size: 0,
        })
    }
}

impl<'a, R: Read> MemberReader<'a, R> {
    /// Reads all of a tar, which comes from `source`. `listed` is its size where a manifest names
    /// it: no member is unpacked that is larger.
    pub(crate) fn streamed(
        source: R,
        place: Place<'a>,
        listed: Option<u64>,
        shard: &ShardPath,
    ) -> Self {
        Self {
            reader: ShardTarReader::new(source, shard),
            place,
            unpacked: None,
            is_streamed: true,
            listed,
            name: String::new(),
            offset: 0,
            size: 0,
        }
    }

    /// The next member; none at the end of the tar.
    ///
    /// # Errors
    ///
    /// When the tar is damaged, or its source fails.
    pub(super) fn next_member(&mut self) -> Result<Option<Member>, TarError> {
        let Some(member) = self.reader.next_member()? else {
            return Ok(None);
        };
        if let Some(listed) = self.listed
            && member.offset.saturating_add(member.size) > listed
        {
            return Err(TarError::Malformed {
                offset: member.offset - BLOCK as u64,
                why: format!(
                    "{} claims {} bytes, and its tar has {listed} by the manifest",
                    member.name, member.size
                ),
            });
        }
        (self.offset, self.size) = (member.offset, member.size);
        self.name.clone_from(&member.name);
        Ok(Some(member))
    }

    /// The content of the last member, which is whole then. To be asked for once.
    ///
    /// # Errors
    ///
    /// When the tar is damaged, its source fails, or there is no room.
    pub(super) fn content(&mut self) -> Result<MemberContent<'_>, ContentError> {
        self.content_through(None)
    }

    /// As [`content`](Self::content), all of which passes through `check`.
    ///
    /// # Errors
    ///
    /// As those of [`content`](Self::content).
    pub(super) fn content_through(
        &mut self,
        check: Option<&mut StreamCheck>,
    ) -> Result<MemberContent<'_>, ContentError> {
        let reader = &mut self.reader;
        let (bytes, crc): (Section<'_, dyn ReadAt>, _) = match &mut self.place {
            Place::Tar(file) => {
                let crc = pass_over(reader, self.size, self.is_streamed, check)?;
                (Section::new(file, self.offset, self.size), crc)
            }
            Place::Spool(spool) => {
                let crc = put_into(spool, reader, self.size, check)?;
                (Section::new(spool.file(), 0, spool.size()), Some(crc))
            }
            Place::Directory(directory) => {
                let (unpacked, crc) = unpack(directory, reader, &self.name, self.size, check)?;
                let unpacked = self.unpacked.insert(unpacked);
                (Section::new(unpacked.file(), 0, self.size), Some(crc))
            }
        };
        Ok(MemberContent { bytes, crc })
    }

    /// Passes the content of the last member, which is whole then, and unpacked where it is to
    /// stay. CRC-32 of it; none where it is not read for other reasons.
    ///
    /// # Errors
    ///
    /// When the tar is damaged, its source fails, or there is no room.
    pub(crate) fn pass_content(&mut self) -> Result<Option<u32>, ContentError> {
        match &self.place {
            Place::Directory(directory) => {
                let (_, crc) = unpack(directory, &mut self.reader, &self.name, self.size, None)?;
                Ok(Some(crc))
            }
            _ => pass_over(&mut self.reader, self.size, self.is_streamed, None),
        }
    }

    /// Makes sure that the tar ends where it should.
    ///
    /// # Errors
    ///
    /// When it does not, or its source fails.
    pub(super) fn finish(&mut self) -> Result<Ending, TarError> {
        self.reader.finish()
    }

    /// Bytes of the tar so far.
    pub(super) fn offset(&self) -> u64 {
        self.reader.offset()
    }
}

/// Passes over the content of a member; CRC-32 of it where it is read for that.
fn pass_over(
    reader: &mut ShardTarReader<impl Read>,
    size: u64,
    is_streamed: bool,
    check: Option<&mut StreamCheck>,
) -> Result<Option<u32>, ContentError> {
    match is_streamed {
        true => pass_through(reader, size, check, |_| Ok(())).map(Some),
        false => Ok(reader.pass_content().map(|()| None)?),
    }
}

/// Puts the content of a member into a spool in place of that of another; its CRC-32.
fn put_into(
    spool: &mut Spool,
    reader: &mut ShardTarReader<impl Read>,
    size: u64,
    check: Option<&mut StreamCheck>,
) -> Result<u32, ContentError> {
    spool.clear();
    spool.want(size).map_err(ContentError::Scratch)?;
    pass_through(reader, size, check, |bytes| {
        spool.write_all(bytes).map_err(ContentError::Scratch)
    })
}

/// Unpacks the content of a member into a file, which stays; with its CRC-32.
fn unpack(
    directory: &UnpackDir<'_>,
    reader: &mut ShardTarReader<impl Read>,
    name: &str,
    size: u64,
    check: Option<&mut StreamCheck>,
) -> Result<(UnpackedFile, u32), ContentError> {
    let mut unpacked = directory.create(name, size).map_err(ContentError::Unpack)?;
    let crc = pass_through(reader, size, check, |bytes| {
        unpacked.write(bytes).map_err(ContentError::Unpack)
    })?;
    directory.keep(&unpacked).map_err(ContentError::Unpack)?;
    Ok((unpacked, crc))
}

/// Hands the content of a member of so many bytes to `take` and to `check`, piece by piece to its
/// end; its CRC-32.
fn pass_through(
    reader: &mut ShardTarReader<impl Read>,
    size: u64,
    mut check: Option<&mut StreamCheck>,
    mut take: impl FnMut(&[u8]) -> Result<(), ContentError>,
) -> Result<u32, ContentError> {
    let mut crc = crc32fast::Hasher::new();
    let mut buffer = vec![0; usize::try_from(size).map_or(CHUNK, |size| size.clamp(1, CHUNK))];
    loop {
        let (count, read) = fill(reader, &mut buffer);
        if count > 0 {
            crc.update(&buffer[..count]);
            take(&buffer[..count])?;
            if let Some(check) = &mut check {
                check.pass(&mut buffer, count);
            }
        }
        read?;
        if count == 0 {
            return Ok(crc.finalize());
        }
    }
}

/// Fills a buffer with content, however little comes at a time, unless that ends or an error comes
/// before. How many bytes there are then, and the error.
fn fill(
    reader: &mut ShardTarReader<impl Read>,
    buffer: &mut [u8],
) -> (usize, Result<(), TarError>) {
    let mut count = 0;
    while count < buffer.len() {
        match reader.read_content(&mut buffer[count..]) {
            Ok(0) => break,
            Ok(more) => count += more,
            Err(error) => return (count, Err(error)),
        }
    }
    (count, Ok(()))
}

/// An error with the offset in the tar where it came up.
pub(crate) fn at_offset(offset: u64, error: io::Error) -> anyhow::Error {
    anyhow::Error::new(error).context(format!("at offset {offset}"))
}

/// What a tombstone, `name`, says was deleted of the TSM file that its name begins like, and how it
/// ended. Where it is much, it is put into a file in `scratch`.
///
/// # Errors
///
/// When it is damaged or cannot be read; with its name.
pub(crate) fn read_deletes(
    name: &str,
    content: &dyn ReadAt,
    scratch: &Path,
) -> io::Result<(BoundedDeletes, tombstone::TombstoneEnding)> {
    BoundedDeletes::read(FromStart::new(content), scratch).map_err(|error| {
        let kind = error.kind();
        io::Error::new(kind, anyhow::Error::new(error).context(name.to_owned()))
    })
}

#[cfg(test)]
mod tests {
    use tar::{Builder, Header};

    use super::*;

    /// Gives no more than so many bytes at a time.
    struct Drip<'a>(&'a [u8], usize);

    impl Read for Drip<'_> {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            let most = buffer.len().min(self.1);
            self.0.read(&mut buffer[..most])
        }
    }

    #[test]
    fn content_is_passed_on_in_full_pieces_however_little_comes_at_a_time() {
        let shard = ShardPath {
            database: "db".into(),
            retention_policy: "rp".into(),
            id: 1,
        };
        let content: Vec<u8> = (0..2 * CHUNK + 7).map(|at| (at % 251) as u8).collect();
        let mut header = Header::new_ustar();
        header.set_size(content.len() as u64);
        let mut tar = Builder::new(Vec::new());
        tar.append_data(&mut header, "db/rp/1/1-1.tsm", &content[..])
            .unwrap();
        let tar = tar.into_inner().unwrap();
        for (at_a_time, end) in [(1, tar.len()), (100_000, tar.len()), (100_000, 2 * CHUNK)] {
            let source = Drip(&tar[..end], at_a_time);
            let mut reader = ShardTarReader::new(source, &shard);
            let member = reader.next_member().unwrap().unwrap();
            let (mut passed, mut sizes) = (Vec::new(), Vec::new());
            let crc = pass_through(&mut reader, member.size, None, |bytes| {
                passed.extend_from_slice(bytes);
                sizes.push(bytes.len());
                Ok(())
            });
            if end == tar.len() {
                assert_eq!(crc.unwrap(), crc32fast::hash(&content));
                assert_eq!(sizes, [CHUNK, CHUNK, 7]);
            } else {
                // What came before it broke off is passed on all the same.
                assert!(matches!(crc, Err(ContentError::Tar(_))));
                assert_eq!(sizes, [CHUNK, CHUNK - BLOCK]);
            }
            assert!(passed[..] == content[..passed.len()]);
        }
    }
}
