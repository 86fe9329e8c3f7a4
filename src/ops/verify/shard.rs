//! Reading one shard's file to its end.

use std::io;

use anyhow::{Context, Result};

use super::{Fault, Job, SHARD_LOST};
use crate::cancel::Cancel;
use crate::ops::members::{Passed, is_of_system, visit};
use crate::ops::passing::Passing;
use crate::ops::scratch::{scratch_dir, scratch_fault};
use crate::progress::Progress;
use crate::repository::Catalog;
use crate::shard_tar::{Ending, Member};
use crate::tsm::check::{self as deep, Finding};
use crate::tsm::index::{FromStart, IndexError, IndexWalk, ReadAt};
use crate::tsm::{is_file_name, tombstone};

const POINTS_LOST: &str = "influxd would take the file, and miss these points without a word";
const DELETES_LOST: &str = "points that were deleted would come back";
const UNREACHABLE: &str = "no query for the times of the shard finds these points";
/// The most faults told of one member: a file of garbage has no end of them.
const MOST_OF_MEMBER: usize = 100;

/// What was found in a shard's file.
#[derive(Debug, Default)]
pub struct Checked {
    /// What is wrong with it.
    pub faults: Vec<Fault>,
    /// The members of its tar, with their sizes.
    pub members: Vec<(String, u64)>,
    /// TSM files among them.
    pub tsm_files: u64,
    /// Points in their blocks, where these were looked at.
    pub points: u64,
}

/// Reads a shard's file.
///
/// # Errors
///
/// When the disk fails, or a stop was asked for.
pub fn check(
    contents: &Catalog,
    job: &Job<'_>,
    deep: bool,
    cancel: &Cancel,
    progress: &dyn Progress,
) -> Result<Checked> {
    let path = contents.path_of(&job.file.name);
    let reading = || format!("reading {}", path.display());
    let opened = contents.open_file(&job.file.name)?;
    let is_summed = job.record.is_some_and(|record| record.file.is_some());
    let mut tar = contents.open(&job.file, |file| {
        Passing::new(file, is_summed, &job.path, cancel, progress)
    })?;
    let mut checked = Checked::default();
    let mut members = Vec::new();
    let wants = |member: &Member| {
        if !member.directory {
            members.push((member.name.clone(), member.size));
        }
        member.is_tsm() || member.is_tombstone()
    };
    let each = |passed: &Passed<'_>| checked.member(passed.member, passed.content, job, deep);
    let visited = visit(
        &mut tar,
        (!job.file.packed).then_some(&opened),
        &scratch_dir(),
        job.listed,
        &job.path,
        wants,
        each,
    );
    checked.members = members;
    cancel.check()?;
    let failed = match &visited {
        Ok(result) => result.as_ref().err().and_then(|error| scratch_fault(error)),
        Err(error) => scratch_fault(error.as_ref()),
    };
    if let Some(fault) = failed {
        return Err(fault.into());
    }
    match visited {
        Ok(Ok((Ending::Nothing, _))) => checked
            .faults
            .push(Fault::of_file("it is empty", SHARD_LOST)),
        Ok(Ok((_, tar_bytes))) => checked.compare(tar.inner(), job, tar_bytes),
        Ok(Err(error)) if is_of_system(&error) => return Err(error).with_context(reading),
        Ok(Err(error)) => {
            let offset = Some(error.offset).filter(|_| !job.file.packed);
            let message = format!("{:#}", anyhow::Error::new(error));
            checked.faults.push(Fault {
                offset,
                ..Fault::of_file(message, SHARD_LOST)
            });
        }
        // What the disk has to complain of, and not gzip.
        Err(error) if error.chain().any(is_of_system) || !job.file.packed => {
            return Err(error).with_context(reading);
        }
        Err(error) => {
            let offset = Some(tar.inner().count());
            checked.faults.push(Fault {
                offset,
                ..Fault::of_file(format!("gzip: {error:#}"), SHARD_LOST)
            });
        }
    }
    Ok(checked)
}

impl Checked {
    fn member(
        &mut self,
        member: &Member,
        content: &dyn ReadAt,
        job: &Job<'_>,
        deep: bool,
    ) -> io::Result<()> {
        let mut found = Vec::new();
        let mut more = 0_usize;
        let mut tell = |offset: Option<u64>, message: String, means| {
            if found.len() < MOST_OF_MEMBER {
                found.push(Fault {
                    member: Some(member.name.clone()),
                    offset,
                    message,
                    means,
                });
            } else {
                more += 1;
            }
        };
        if member.is_tombstone() {
            check_tombstone(content, &mut tell)?;
        } else {
            self.tsm_files += 1;
            if !is_file_name(&member.name) {
                tell(
                    None,
                    "its name is not <generation>-<sequence>.tsm".to_owned(),
                    SHARD_LOST,
                );
            }
            let result = if deep {
                self.blocks(content, job, &mut tell)
            } else {
                IndexWalk::open(content).and_then(IndexWalk::to_end)
            };
            match result {
                Ok(()) => {}
                Err(IndexError::Read { source, .. }) => return Err(source),
                Err(error) => {
                    let offset = if let IndexError::Damaged { offset, .. } = &error {
                        Some(*offset)
                    } else {
                        None
                    };
                    tell(offset, error.to_string(), SHARD_LOST);
                }
            }
        }
        if more > 0 {
            found.push(Fault {
                member: Some(member.name.clone()),
                ..Fault::of_file(format!("and {more} faults more"), SHARD_LOST)
            });
        }
        self.faults.append(&mut found);
        Ok(())
    }

    /// Looks at every block.
    fn blocks(
        &mut self,
        content: &dyn ReadAt,
        job: &Job<'_>,
        tell: &mut impl FnMut(Option<u64>, String, &'static str),
    ) -> Result<(), IndexError> {
        let report = deep::check(content, job.times.clone(), &mut |finding: Finding<'_>| {
            let means = match finding.fault {
                deep::TsmFinding::Block(_) => POINTS_LOST,
                deep::TsmFinding::Outside { .. } => UNREACHABLE,
                _ => SHARD_LOST,
            };
            // The offset is told by itself.
            let said = finding.to_string();
            let said = said.split_once(": ").map_or(&said[..], |(_, said)| said);
            tell(Some(finding.offset), said.to_owned(), means);
        })?;
        self.points += report.points;
        Ok(())
    }

    /// Compares what was read with what was written down of it.
    fn compare(&mut self, read: &Passing<'_>, job: &Job<'_>, tar_bytes: u64) {
        let mut tell = |message: String| self.faults.push(Fault::of_file(message, SHARD_LOST));
        if let Some(listed) = job.listed.filter(|listed| *listed != tar_bytes) {
            tell(format!(
                "it holds a tar of {tar_bytes} bytes, of {listed} by the manifest"
            ));
        }
        let Some(record) = job.record else { return };
        if let Some(file) = &record.file {
            if read.count() != file.size {
                tell(format!(
                    "it has {} bytes, and {} were recorded",
                    read.count(),
                    file.size
                ));
            } else if read.sha256().as_ref() != Some(&file.sha256) {
                tell("it is not what was recorded: SHA-256 differs".to_owned());
            }
        }
        let recorded = record
            .members
            .iter()
            .map(|member| (member.name.as_str(), member.size));
        if !recorded.eq(self
            .members
            .iter()
            .map(|(name, size)| (name.as_str(), *size)))
        {
            tell("its tar has other members than were recorded".to_owned());
        }
    }
}

fn check_tombstone(
    content: &dyn ReadAt,
    tell: &mut impl FnMut(Option<u64>, String, &'static str),
) -> io::Result<()> {
    match tombstone::read(FromStart::new(content), |_| {}) {
        Ok(tombstone::Ending::Clean) => {}
        Ok(tombstone::Ending::Torn) => tell(
            None,
            "the tombstone file breaks off".to_owned(),
            DELETES_LOST,
        ),
        Err(error) if error.raw_os_error().is_some() => return Err(error),
        Err(error) => tell(None, format!("no tombstone file: {error}"), DELETES_LOST),
    }
    Ok(())
}
