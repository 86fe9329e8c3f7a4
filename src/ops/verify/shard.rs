//! Verifying one shard's file: each finding of its examination, and what it means for a restore.

use std::ops::Range;

use anyhow::Result;

use super::finding::{FileDamage, SHARD_LOST};
use crate::context::Context;
use crate::io::scratch::scratch_dir;
use crate::ops::examine::{
    Depth, Examination, ExaminedFile, ExaminedMember, FileState, MemberFinding,
};
use crate::repository::{BackupFile, Catalog, ShardRecord};
use crate::shard::ShardPath;
use crate::tsm::check::TsmDamage;
use crate::tsm::index::IndexError;

const POINTS_LOST: &str = "influxd would take the file, and miss these points without a word";
const DELETES_LOST: &str = "points that were deleted would come back";
const UNREACHABLE: &str = "no query for the times of the shard finds these points";

/// A shard's file to read.
pub(super) struct VerifyJob<'a> {
    pub(super) path: ShardPath,
    pub(super) file: BackupFile,
    pub(super) record: Option<&'a ShardRecord>,
    /// Bytes of its tar by the manifest.
    pub(super) listed: Option<u64>,
    /// The times of its group, where the metastore has it.
    pub(super) times: Option<Range<i64>>,
}

/// What was found in a shard's file.
#[derive(Debug, Default)]
pub(crate) struct Checked {
    /// What is wrong with it.
    pub faults: Vec<FileDamage>,
    /// How many regular files are in its tar.
    pub members: usize,
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
pub(super) fn check(
    catalog: &Catalog,
    job: &VerifyJob<'_>,
    deep: bool,
    context: Context<'_>,
) -> Result<Checked> {
    let examination = Examination {
        catalog,
        file: &job.file,
        shard: &job.path,
        recorded: job.record.and_then(|record| record.file.as_ref()),
        listed: job.listed,
        depth: match deep {
            true => Depth::Blocks {
                times: job.times.clone(),
            },
            false => Depth::Index,
        },
        reads_all: true,
        leave_index: false,
        unpack: None,
        stops_at_damage: false,
        scratch: &scratch_dir(),
        cancel: context.cancel,
        progress: context.progress,
    };
    let examined = examination.run(None)?;
    let mut checked = Checked {
        members: examined.members.len(),
        ..Checked::default()
    };
    for member in &examined.members {
        checked.tsm_files += u64::from(member.name.ends_with(".tsm"));
        checked.points += member.points;
        checked.faults.extend(damage_of_member(member));
    }
    checked.faults.extend(damage_of_tar(&examined.state, job));
    let differences = examined.differences(&examination).into_iter();
    checked
        .faults
        .extend(differences.map(|difference| of_file(difference.to_string())));
    if has_other_members(&examined, job.record) {
        checked
            .faults
            .push(of_file("its tar has other members than were recorded"));
    }
    Ok(checked)
}

fn of_file(message: impl Into<String>) -> FileDamage {
    FileDamage::of_file(message, SHARD_LOST)
}

fn damage_of_member(member: &ExaminedMember) -> impl Iterator<Item = FileDamage> {
    let of_member = |offset, message, means| FileDamage {
        member: Some(member.name.clone()),
        offset,
        message,
        means,
    };
    let found = member.findings.iter().map(move |finding| match finding {
        MemberFinding::Name => {
            let message = "its name is not <generation>-<sequence>.tsm".to_owned();
            of_member(None, message, SHARD_LOST)
        }
        MemberFinding::Index(error) => {
            let offset = match error {
                IndexError::Damaged { offset, .. } => Some(*offset),
                IndexError::Read { .. } | IndexError::Envelope(_) => None,
            };
            of_member(offset, error.to_string(), SHARD_LOST)
        }
        MemberFinding::Inside {
            offset,
            fault,
            message,
        } => {
            let means = match fault {
                TsmDamage::Block(_) => POINTS_LOST,
                TsmDamage::Outside { .. } => UNREACHABLE,
                TsmDamage::Index(_) | TsmDamage::Gap { .. } | TsmDamage::Order { .. } => SHARD_LOST,
            };
            of_member(Some(*offset), message.clone(), means)
        }
        MemberFinding::Torn => of_member(
            None,
            "the tombstone file breaks off".to_owned(),
            DELETES_LOST,
        ),
        MemberFinding::Tombstone(error) => {
            of_member(None, format!("no tombstone file: {error}"), DELETES_LOST)
        }
    });
    let more = (member.more > 0).then(|| {
        let message = format!("and {} faults more", member.more);
        of_member(None, message, SHARD_LOST)
    });
    found.chain(more)
}

fn damage_of_tar(state: &FileState, job: &VerifyJob<'_>) -> Option<FileDamage> {
    let (offset, message) = match state {
        FileState::Whole { .. } | FileState::NotReadOn { .. } => return None,
        FileState::Empty => (None, "it is empty".to_owned()),
        FileState::Tar(error) => {
            let offset = error.offset().filter(|_| !job.file.compressed);
            (offset, error.to_string())
        }
        FileState::Gzip(offset, error) => (Some(*offset), format!("gzip: {error}")),
    };
    Some(FileDamage {
        offset,
        ..of_file(message)
    })
}

/// Whether the tar is whole and holds other files than were recorded.
fn has_other_members(examined: &ExaminedFile, record: Option<&ShardRecord>) -> bool {
    let (FileState::Whole { .. }, Some(record)) = (&examined.state, record) else {
        return false;
    };
    let recorded = record.members.iter();
    let found = examined.members.iter();
    !recorded
        .map(|member| (&member.name, member.size))
        .eq(found.map(|member| (&member.name, member.size)))
}
