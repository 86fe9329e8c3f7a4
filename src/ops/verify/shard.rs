//! Verifying one shard's file: each finding of its examination, and what it means for a restore.

use std::ops::Range;

use anyhow::Result;

use super::finding::{DamagedPlace, FileDamage, Meaning};
use crate::context::Context;
use crate::io::scratch::scratch_dir;
use crate::ops::examine::{
    Depth, Examination, ExaminedFile, ExaminedMember, FileState, MemberFinding,
};
use crate::repository::{BackupFile, Catalog, ShardRecord};
use crate::shard::ShardPath;
use crate::shard_tar::TarError;
use crate::tsm::check::TsmDamage;
use crate::tsm::index::IndexError;

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
    pub damage: Option<FileDamage>,
    /// How many regular files are in its tar.
    pub members: usize,
    /// TSM files among them.
    pub tsm_files: u64,
    /// Values of fields in their blocks, where these were looked at.
    pub values: u64,
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
    let (mut places, mut more) = (Vec::new(), 0);
    for member in &examined.members {
        checked.tsm_files += u64::from(member.name.ends_with(".tsm"));
        checked.values += member.points;
        places.extend(damage_of_member(member));
        more += member.more;
    }
    places.extend(damage_of_tar(&examined.state, job));
    let differences = examined.differences(&examination).into_iter();
    places.extend(differences.map(|difference| of_file(difference.to_string())));
    if has_other_members(&examined, job.record) {
        places.push(of_file("its tar has other members than were recorded"));
    }
    checked.damage = FileDamage::of_places(places, more);
    Ok(checked)
}

fn of_file(message: impl Into<String>) -> DamagedPlace {
    DamagedPlace::file(message, Meaning::ShardLost)
}

fn damage_of_member(member: &ExaminedMember) -> impl Iterator<Item = DamagedPlace> {
    let of_member = |offset, message, means| DamagedPlace {
        member: Some(member.name.clone()),
        offset,
        message,
        means,
    };
    member.findings.iter().map(move |finding| match finding {
        MemberFinding::Name => {
            let message = "its name is not <generation>-<sequence>.tsm".to_owned();
            of_member(None, message, Meaning::ShardLost)
        }
        MemberFinding::Index(error) => {
            let (offset, message) = match error {
                IndexError::Damaged { offset, fault } => {
                    (Some(*offset), format!("the index is damaged: {fault}"))
                }
                IndexError::Read { .. } | IndexError::Envelope(_) => (None, error.to_string()),
            };
            of_member(offset, message, Meaning::ShardLost)
        }
        MemberFinding::Inside {
            offset,
            fault,
            message,
        } => {
            let means = match fault {
                TsmDamage::Block(_) => Meaning::ValuesLost,
                TsmDamage::Outside { .. } => Meaning::Unreachable,
                TsmDamage::Index(_) | TsmDamage::Gap { .. } | TsmDamage::Order { .. } => {
                    Meaning::ShardLost
                }
            };
            of_member(Some(*offset), message.clone(), means)
        }
        MemberFinding::Torn => of_member(
            None,
            "the tombstone file breaks off".to_owned(),
            Meaning::DeletesLost,
        ),
        MemberFinding::Tombstone(error) => {
            let message = format!("no tombstone file: {error}");
            of_member(None, message, Meaning::DeletesLost)
        }
    })
}

fn damage_of_tar(state: &FileState, job: &VerifyJob<'_>) -> Option<DamagedPlace> {
    let (offset, message) = match state {
        FileState::Whole { .. } | FileState::NotReadOn { .. } => return None,
        FileState::Empty => (None, "it is empty".to_owned()),
        // In the file that unpacks to it, the place is another.
        FileState::Tar(error) if job.file.compressed => (None, error.to_string()),
        FileState::Tar(TarError::Malformed { offset, why }) => (Some(*offset), why.clone()),
        FileState::Tar(error) => (error.offset(), error.to_string()),
        FileState::Gzip(offset, error) => (Some(*offset), format!("gzip: {error}")),
    };
    Some(DamagedPlace {
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
