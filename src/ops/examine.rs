//! Judging a shard's file once, for verify and for restore: whether it can be read, whether its tar
//! is whole, and whether its members are what their names say.

use std::fmt;
use std::io::{self, Read};
use std::ops::Range;
use std::path::Path;

use anyhow::Result;

use super::members::{ContentError, MemberReader, Place};
use super::progress_reader::ProgressReader;
use super::unpack_dir::UnpackDir;
use crate::cancel::{Cancel, Stoppable};
use crate::io::crc32_read_at::Crc32ReadAt;
use crate::io::read_at::{FromStart, ReadAt};
use crate::io::scratch::{Spool, is_of_system, scratch_fault};
use crate::progress::Progress;
use crate::repository::{BackupFile, Catalog, DigestAlgorithm, FileDigest, FileRecord, HashReader};
use crate::shard::ShardPath;
use crate::shard_tar::gzip::damaged_at;
use crate::shard_tar::{Ending, Member, TarError};
use crate::tsm::check::{TsmDamage, TsmFinding, check};
use crate::tsm::fields::FieldTypes;
use crate::tsm::index::{IndexError, IndexWalk, Key};
use crate::tsm::parts::{LARGE, check_in_parts};
use crate::tsm::stream_check::StreamCheck;
use crate::tsm::{is_file_name, is_index, tombstone};

/// The most findings kept of one member: a file of garbage has no end of them.
const MOST_OF_MEMBER: usize = 100;

/// A shard's file to judge, and how.
pub(crate) struct Examination<'a> {
    pub catalog: &'a Catalog,
    pub file: &'a BackupFile,
    /// What the shard is called in the backup.
    pub shard: &'a ShardPath,
    /// What was recorded of the file.
    pub recorded: Option<&'a FileRecord>,
    /// Bytes of its tar, where a manifest names them.
    pub listed: Option<u64>,
    /// What is looked at of TSM files.
    pub depth: Depth,
    /// Whether all of the file is read, and not only what is looked at.
    pub reads_all: bool,
    /// Whether files of a tsi1 index are passed over: they are neither unpacked nor found.
    pub leave_index: bool,
    /// Where the files in its tar are unpacked to stay. All of it is read then.
    pub unpack: Option<&'a UnpackDir<'a>>,
    /// Whether a member that is damaged is the last that is looked at.
    pub stops_at_damage: bool,
    /// Where files without a name are made.
    pub scratch: &'a Path,
    /// Ends the reading.
    pub cancel: &'a Cancel,
    /// Is told how far the reading came.
    pub progress: &'a dyn Progress,
}

/// What is looked at of TSM files.
#[derive(Debug, Clone)]
pub(crate) enum Depth {
    Index,
    /// Every block too.
    Blocks {
        /// The times that points may have.
        times: Option<Range<i64>>,
    },
}

/// What was found in a shard's file.
#[derive(Debug)]
pub(crate) struct ExaminedFile {
    /// The regular files in its tar that could be read to their ends, in order.
    pub members: Vec<ExaminedMember>,
    /// How far it could be read.
    pub state: FileState,
    /// The member that could not be read to its end, if it was one. Where files are unpacked, a part
    /// of it was.
    pub broken: Option<String>,
}

/// How far a shard's file can be read.
#[derive(Debug)]
pub(crate) enum FileState {
    /// It has not a byte.
    Empty,
    /// It is a whole tar.
    Whole {
        tar_bytes: u64,
        /// Bytes of the file, and their digest, where one was recorded.
        read: Option<(u64, FileDigest)>,
    },
    /// Its tar is damaged or breaks off.
    Tar(TarError),
    /// It cannot be decompressed from this offset on, or about it where no blocks were recorded.
    Gzip(u64, io::Error),
    /// What comes behind the damaged member was not looked at.
    NotReadOn {
        /// Bytes of the tar up to there.
        tar_bytes: u64,
    },
}

/// What was found of a member.
#[derive(Debug)]
pub(crate) struct ExaminedMember {
    pub name: String,
    pub size: u64,
    /// Modification time in seconds since 1970.
    pub modified: u64,
    /// CRC-32 of its content.
    pub crc: u32,
    /// Points in its blocks, where these were looked at.
    pub points: u64,
    /// What is wrong with it.
    pub findings: Vec<MemberFinding>,
    /// How much more is.
    pub more: u64,
}

/// What can be wrong with a member.
#[derive(Debug)]
pub(crate) enum MemberFinding {
    /// A TSM file is not named as one of influxd's.
    Name,
    /// A TSM file is none, or its index breaks off.
    Index(IndexError),
    /// Something in a TSM file.
    Inside {
        /// Where.
        offset: u64,
        /// What.
        fault: TsmDamage,
        /// The same, in words, with the key it belongs to.
        message: String,
    },
    /// A tombstone file breaks off.
    Torn,
    /// A tombstone file is none, or damaged.
    Tombstone(io::Error),
}

impl ExaminedFile {
    /// Where a file of which the tar is whole differs from what was written down of it, but for its
    /// members.
    pub(super) fn differences(&self, examination: &Examination<'_>) -> Vec<Difference> {
        let FileState::Whole { tar_bytes, read } = &self.state else {
            return Vec::new();
        };
        let mut found = Vec::new();
        if let Some(listed) = examination.listed.filter(|listed| listed != tar_bytes) {
            found.push(Difference::Listed {
                tar_bytes: *tar_bytes,
                listed,
            });
        }
        if let (Some(recorded), Some((bytes, digest))) = (examination.recorded, read) {
            if *bytes != recorded.size {
                found.push(Difference::Size {
                    bytes: *bytes,
                    recorded: recorded.size,
                });
            } else if *digest != recorded.digest {
                found.push(Difference::Digest(recorded.digest.algorithm()));
            }
        }
        found
    }
}

/// How a file can differ from what was written down of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Difference {
    /// The size of its tar is another than in the manifest.
    Listed {
        tar_bytes: u64,
        /// That in the manifest.
        listed: u64,
    },
    /// Its size is another than in the record.
    Size {
        /// That of the file.
        bytes: u64,
        /// That in the record.
        recorded: u64,
    },
    /// Its digest is another than in the record.
    Digest(DigestAlgorithm),
}

impl ExaminedMember {
    fn of(member: &Member) -> Self {
        Self {
            name: member.name.clone(),
            size: member.size,
            modified: member.modified,
            crc: 0,
            points: 0,
            findings: Vec::new(),
            more: 0,
        }
    }

    fn push(&mut self, finding: MemberFinding) {
        if self.findings.len() < MOST_OF_MEMBER {
            self.findings.push(finding);
        } else {
            self.more += 1;
        }
    }

    /// The first thing that is wrong inside a TSM file.
    pub(super) fn damage(&self) -> Option<&MemberFinding> {
        self.findings
            .iter()
            .find(|finding| finding.is_in_tsm_file())
    }
}

impl MemberFinding {
    /// Whether points of a TSM file cannot be read for it: no restore may go on with the file.
    fn is_in_tsm_file(&self) -> bool {
        match self {
            Self::Index(_) | Self::Inside { .. } => true,
            Self::Name | Self::Torn | Self::Tombstone(_) => false,
        }
    }
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listed { tar_bytes, listed } => write!(
                f,
                "it holds a tar of {tar_bytes} bytes, of {listed} by the manifest"
            ),
            Self::Size { bytes, recorded } => {
                write!(f, "it has {bytes} bytes, and {recorded} were recorded")
            }
            Self::Digest(algorithm) => {
                write!(f, "it is not what was recorded: {algorithm} differs")
            }
        }
    }
}

impl Examination<'_> {
    /// Reads the file. The fields of its TSM files go into `types`.
    ///
    /// # Errors
    ///
    /// When the disk fails, or a stop was asked for. What is wrong with the file is none.
    pub(super) fn run(&self, types: Option<&mut FieldTypes>) -> Result<ExaminedFile> {
        let mut members = Vec::new();
        let mut broken = None;
        let reads_all = self.file.compressed || self.reads_all || self.unpack.is_some();
        let (outcome, count, digest) = if reads_all {
            let mut tar = self.catalog.open(self.file, |file| {
                let stoppable = Stoppable {
                    inner: file,
                    cancel: self.cancel,
                };
                let algorithm = self.recorded.map(|recorded| recorded.digest.algorithm());
                let hashed = HashReader::new(stoppable, algorithm);
                ProgressReader::new(hashed, self.shard, self.progress)
            })?;
            let reader = MemberReader::streamed(&mut tar, self.place()?, self.listed, self.shard);
            let outcome = self.walk(reader, types, &mut members, &mut broken);
            let digest = tar.inner().inner().digest();
            (outcome, tar.inner().count(), digest)
        } else {
            let tar = self.catalog.open(self.file, |file| file)?;
            let reader = MemberReader::open(tar, self.scratch, self.shard, self.cancel)?;
            let outcome = self.walk(reader, types, &mut members, &mut broken);
            (outcome, 0, None)
        };
        self.cancel.check()?;
        let state = match outcome {
            Ok(FileState::Whole { tar_bytes, .. }) => FileState::Whole {
                tar_bytes,
                read: digest.map(|digest| (count, digest)),
            },
            Ok(state) => state,
            // What gzip has to complain of, and not the disk.
            Err(ContentError::Tar(TarError::Source(error)))
                if self.file.compressed && is_damage(&error) =>
            {
                FileState::Gzip(damaged_at(&error).unwrap_or(count), error)
            }
            Err(ContentError::Scratch(error)) if self.unpack.is_some() => {
                let tar = self.catalog.place_of(&self.file.name);
                let what = format!("reading what was unpacked of {tar}");
                return Err(anyhow::Error::new(error).context(what));
            }
            Err(ContentError::Tar(TarError::Source(error)) | ContentError::Scratch(error)) => {
                return Err(self.failed(error));
            }
            Err(ContentError::Tar(damage)) => FileState::Tar(damage),
            Err(ContentError::Unpack(error)) => {
                let tar = self.catalog.place_of(&self.file.name);
                return Err(error.context(format!("unpacking {tar}")));
            }
        };
        Ok(ExaminedFile {
            members,
            state,
            broken,
        })
    }

    /// Whether one thread has to inflate all of the file, so that other cores are free.
    fn is_inflated_by_one(&self) -> bool {
        self.file.compressed && self.file.blocks.is_none()
    }

    /// Where members are looked at.
    fn place(&self) -> Result<Place<'_>> {
        Ok(match self.unpack {
            Some(directory) => Place::Directory(directory),
            None if self.file.compressed => {
                let spool = Spool::new_in(self.scratch).map_err(|error| self.failed(error))?;
                Place::Spool(spool)
            }
            None => Place::Tar(self.catalog.open_file(&self.file.name)?),
        })
    }

    fn failed(&self, error: io::Error) -> anyhow::Error {
        match scratch_fault(&error) {
            Some(fault) => fault.into(),
            None => {
                let tar = self.catalog.place_of(&self.file.name);
                anyhow::Error::new(error).context(format!("reading {tar}"))
            }
        }
    }

    /// Looks at all members, or at those up to the first that is damaged.
    fn walk(
        &self,
        mut reader: MemberReader<'_, impl Read>,
        mut types: Option<&mut FieldTypes>,
        members: &mut Vec<ExaminedMember>,
        broken: &mut Option<String>,
    ) -> Result<FileState, ContentError> {
        while let Some(member) = reader.next_member()? {
            if member.directory || self.leave_index && is_index(&member.name) {
                continue;
            }
            let mut examined = ExaminedMember::of(&member);
            let looked = self.look_at(&member, &mut reader, types.as_deref_mut(), &mut examined);
            if looked.is_err() {
                *broken = Some(member.name);
            }
            looked?;
            let is_last = self.stops_at_damage && examined.damage().is_some();
            members.push(examined);
            if is_last {
                return Ok(FileState::NotReadOn {
                    tar_bytes: reader.offset(),
                });
            }
        }
        Ok(match reader.finish()? {
            Ending::Nothing => FileState::Empty,
            Ending::Whole { .. } => FileState::Whole {
                tar_bytes: reader.offset(),
                read: None,
            },
        })
    }

    fn look_at(
        &self,
        member: &Member,
        reader: &mut MemberReader<'_, impl Read>,
        types: Option<&mut FieldTypes>,
        examined: &mut ExaminedMember,
    ) -> Result<(), ContentError> {
        let has_nothing_to_see = !(member.is_tsm() || member.is_tombstone());
        if has_nothing_to_see && let Some(crc) = reader.pass_content()? {
            examined.crc = crc;
            return Ok(());
        }
        let mut check = match self.depth {
            Depth::Blocks { .. } if member.is_tsm() && self.is_inflated_by_one() => {
                StreamCheck::start(member.size)
            }
            Depth::Blocks { .. } | Depth::Index => None,
        };
        let content = reader.content_through(check.as_mut())?;
        let summed = Crc32ReadAt::new(&content.bytes, self.cancel);
        let bytes: &dyn ReadAt = match content.crc {
            Some(_) => &content.bytes,
            None => &summed,
        };
        if member.is_tsm() {
            self.look_into_tsm(bytes, check, types, examined)?;
        } else if member.is_tombstone() {
            look_into_tombstone(bytes, examined)?;
        }
        examined.crc = content.crc.map_or_else(|| summed.crc(), Ok)?;
        Ok(())
    }

    fn look_into_tsm(
        &self,
        content: &dyn ReadAt,
        check: Option<StreamCheck>,
        types: Option<&mut FieldTypes>,
        examined: &mut ExaminedMember,
    ) -> io::Result<()> {
        if !is_file_name(&examined.name) {
            examined.push(MemberFinding::Name);
        }
        let walked = match (&self.depth, types) {
            (Depth::Index, None) => IndexWalk::open(content).and_then(IndexWalk::walk_to_end),
            (Depth::Index, Some(types)) => types.add_file(content),
            (Depth::Blocks { times }, types) => {
                look_into_blocks(content, times.clone(), check, types, examined)
            }
        };
        match walked {
            Ok(()) => Ok(()),
            Err(IndexError::Read { source, .. }) => Err(source),
            Err(error) => {
                examined.push(MemberFinding::Index(error));
                Ok(())
            }
        }
    }
}

fn look_into_blocks(
    content: &dyn ReadAt,
    times: Option<Range<i64>>,
    passed: Option<StreamCheck>,
    mut types: Option<&mut FieldTypes>,
    examined: &mut ExaminedMember,
) -> Result<(), IndexError> {
    if let Some(passed) = passed {
        let each = |key: &Key<'_>| types.as_mut().map_or(Ok(()), |types| types.add(key));
        if let Some(report) = passed.finish(content, times.as_ref(), each)? {
            examined.points = report.points;
            return Ok(());
        }
    }
    let size = examined.size;
    let mut tell = |finding: TsmFinding<'_>| {
        examined.push(MemberFinding::Inside {
            offset: finding.offset,
            fault: finding.fault,
            message: finding.what(),
        });
    };
    let report = match types {
        Some(types) => check_in_parts(content, times, |key| types.add(key), &mut tell),
        None if size >= LARGE => check_in_parts(content, times, |_| Ok(()), &mut tell),
        None => check(content, times, &mut tell),
    };
    report.map(|report| examined.points = report.points)
}

/// Whether what was read is no gzip. An error of another kind is of this program: a thread of it
/// that panicked.
pub(crate) fn is_damage(error: &io::Error) -> bool {
    !is_of_system(error) && error.kind() != io::ErrorKind::Other
}

fn look_into_tombstone(content: &dyn ReadAt, examined: &mut ExaminedMember) -> io::Result<()> {
    match tombstone::read(FromStart::new(content), |_| {}) {
        Ok(tombstone::TombstoneEnding::Clean) => {}
        Ok(tombstone::TombstoneEnding::Torn) => examined.push(MemberFinding::Torn),
        Err(error)
            if matches!(
                error.kind(),
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
            ) && error.raw_os_error().is_none() =>
        {
            examined.push(MemberFinding::Tombstone(error));
        }
        Err(error) => return Err(error),
    }
    Ok(())
}
