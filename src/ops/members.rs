//! The members of a shard's tar as something that can be read at any offset, one after the other.

use std::error::Error;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::scratch::{in_scratch, no_room};
use crate::cancel::{Cancel, Stoppable};
use crate::repository::Tar;
use crate::shard::ShardPath;
use crate::shard_tar::{Ending, Member, ScanError as TarError, Sink, scan, scan_in_place};
use crate::tsm::index::{ReadAt, Section};

/// Where the content of members is found once they have passed.
enum Place<'a> {
    /// In the tar itself.
    Tar(&'a File),
    /// In a file without a name, that takes one member after the other.
    Spool(Spool),
}

/// A file without a name, for one member at a time.
#[derive(Debug)]
pub struct Spool {
    file: File,
    directory: PathBuf,
    size: u64,
}

impl Spool {
    /// An empty one, in a directory.
    ///
    /// # Errors
    ///
    /// When it cannot be made.
    pub fn new_in(directory: &Path) -> io::Result<Self> {
        Ok(Self {
            file: tempfile::tempfile_in(directory).map_err(|error| in_scratch(directory, error))?,
            directory: directory.to_owned(),
            size: 0,
        })
    }

    /// Makes it empty again.
    pub fn clear(&mut self) {
        self.size = 0;
    }

    /// Looks whether there is room for so many bytes. A compressed file can claim any number, and others write there too.
    fn want(&self, bytes: u64) -> io::Result<()> {
        // What earlier members took is used again.
        let own = self.file.metadata()?.len();
        if bytes <= own {
            return Ok(());
        }
        // Where the file system does not say, writing will.
        let Ok(system) = rustix::fs::fstatvfs(&self.file) else {
            return Ok(());
        };
        let room = system.f_bavail.saturating_mul(system.f_frsize);
        let room = room.saturating_add(own);
        match bytes > room && system.f_blocks > 0 {
            true => Err(no_room(&self.directory, bytes, room)),
            false => Ok(()),
        }
    }

    /// What it holds.
    pub fn content(&self) -> Section<'_, File> {
        Section::new(&self.file, 0, self.size)
    }
}

impl Write for Spool {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write_at(bytes, self.size);
        let count = written.map_err(|error| in_scratch(&self.directory, error))?;
        self.size += count as u64;
        Ok(count)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A member that has passed.
pub struct Passed<'a> {
    /// What its header says.
    pub member: &'a Member,
    /// Its content.
    pub content: &'a dyn ReadAt,
    /// CRC-32 of its content, where that was read.
    pub crc: Option<u32>,
}

/// Reads a tar to its end, and hands each member that `wants` takes to `each` when it has passed. `tar` is the file itself where
/// it is not compressed; else members are spooled, in the directory `scratch`. `listed` is the size of the tar where a manifest
/// names it: no member is unpacked that is larger. Gives how the tar ended and its bytes. The outer error is the reader's, the
/// inner one the tar's or that of `each`.
///
/// # Errors
///
/// Those of the reader, and when no spool can be made.
pub fn visit(
    reader: impl Read,
    tar: Option<&File>,
    scratch: &Path,
    listed: Option<u64>,
    shard: &ShardPath,
    wants: impl FnMut(&Member) -> bool,
    each: impl FnMut(&Passed<'_>) -> io::Result<()>,
) -> Result<Result<(Ending, u64), TarError>> {
    let place = match tar {
        Some(file) => Place::Tar(file),
        None => Place::Spool(Spool::new_in(scratch)?),
    };
    let mut visiting = Visiting {
        place,
        listed,
        wants,
        each,
        member: None,
        crc: Some(crc32fast::Hasher::new()),
    };
    let mut counted = Counted {
        inner: reader,
        count: 0,
    };
    let scanned = scan(&mut counted, shard, &mut visiting)?;
    Ok(scanned.map(|ending| (ending, counted.count)))
}

/// As [`visit`], of the tar of a shard's file, until a stop is asked for; where it is not compressed, as [`visit_in_place`].
///
/// # Errors
///
/// As [`visit`].
pub fn visit_file(
    tar: Tar<File>,
    scratch: &Path,
    shard: &ShardPath,
    cancel: &Cancel,
    wants: impl FnMut(&Member) -> bool,
    mut each: impl FnMut(&Passed<'_>) -> io::Result<()>,
) -> Result<Result<(Ending, u64), TarError>> {
    let each = |passed: &Passed<'_>| {
        cancel.check().map_err(io::Error::other)?;
        each(passed)
    };
    match tar {
        Tar::Plain(file) => visit_in_place(&file, shard, wants, each),
        Tar::Packed(_) => visit(
            Stoppable { inner: tar, cancel },
            None,
            scratch,
            None,
            shard,
            wants,
            each,
        ),
    }
}

/// As [`visit`], of a tar in a file; what `each` does not read of the content of members is not read.
///
/// # Errors
///
/// Those of reading.
pub fn visit_in_place(
    tar: &File,
    shard: &ShardPath,
    wants: impl FnMut(&Member) -> bool,
    each: impl FnMut(&Passed<'_>) -> io::Result<()>,
) -> Result<Result<(Ending, u64), TarError>> {
    Ok(scan_in_place(
        tar,
        shard,
        &mut Visiting {
            place: Place::Tar(tar),
            listed: None,
            wants,
            each,
            member: None,
            crc: None,
        },
    )?)
}

/// Counts the bytes that pass.
struct Counted<R> {
    inner: R,
    count: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.count += count as u64;
        Ok(count)
    }
}

struct Visiting<'a, W, E> {
    place: Place<'a>,
    listed: Option<u64>,
    wants: W,
    each: E,
    member: Option<Member>,
    /// Of the content so far, where it passes.
    crc: Option<crc32fast::Hasher>,
}

impl<W: FnMut(&Member) -> bool, E: FnMut(&Passed<'_>) -> io::Result<()>> Sink
    for Visiting<'_, W, E>
{
    fn begin(&mut self, member: &Member) -> io::Result<()> {
        if let Some(listed) = self.listed
            && member.offset.saturating_add(member.size) > listed
        {
            return Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!(
                    "{} claims {} bytes, and its tar has {listed} by the manifest",
                    member.name, member.size
                ),
            ));
        }
        self.member = (self.wants)(member).then(|| member.clone());
        if let Some(crc) = &mut self.crc {
            crc.reset();
        }
        if let Place::Spool(spool) = &mut self.place {
            spool.clear();
            if self.member.is_some() {
                spool.want(member.size)?;
            }
        }
        Ok(())
    }

    fn data(&mut self, chunk: &[u8]) -> io::Result<()> {
        if self.member.is_none() {
            return Ok(());
        }
        if let Some(crc) = &mut self.crc {
            crc.update(chunk);
        }
        match &mut self.place {
            Place::Spool(spool) => spool.write_all(chunk),
            Place::Tar(_) => Ok(()),
        }
    }

    fn end(&mut self) -> io::Result<()> {
        let Some(member) = self.member.take() else {
            return Ok(());
        };
        let crc = self.crc.clone().map(crc32fast::Hasher::finalize);
        match &self.place {
            Place::Tar(file) => {
                let content = Section::new(*file, member.offset, member.size);
                (self.each)(&Passed {
                    member: &member,
                    content: &content,
                    crc,
                })
            }
            Place::Spool(spool) => (self.each)(&Passed {
                member: &member,
                content: &spool.content(),
                crc,
            }),
        }
    }
}

/// Whether the system, the disk say, is at fault, and not what was read.
pub fn is_of_system(error: &(dyn Error + 'static)) -> bool {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if error
            .downcast_ref::<io::Error>()
            .is_some_and(|error| error.raw_os_error().is_some())
        {
            return true;
        }
        cause = error.source();
    }
    false
}
