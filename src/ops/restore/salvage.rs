//! Which files of a damaged shard are restored with `-skip-damaged`, and what is lost with the
//! others.
//!
//! A TSM file whose index can be read is restored without its damaged blocks, which are left out
//! when it is written anew. Its keys have no checksum: where the file of the backup is not what was
//! recorded and a TSM file of it is restored, it is told that this may be wrong. A damaged block does
//! not say that it is all that changed.

use std::collections::BTreeSet;

use anyhow::Result;

use super::lost::{LostFrom, LostKind};
use crate::ops::examine::{ExaminedFile, ExaminedMember, FileState, MemberFinding};
use crate::ops::unpack_dir::UnpackDir;
use crate::repository::ShardRecord;
use crate::tsm::check::TsmDamage;
use crate::tsm::index::IndexError;
use crate::tsm::is_index;

/// A shard's file that may be damaged.
pub(super) struct Salvage<'a> {
    pub from: LostFrom<'a>,
    /// Where it was unpacked.
    pub unpack: &'a UnpackDir<'a>,
    /// What was recorded of it.
    pub record: Option<&'a ShardRecord>,
}

/// What of a shard's file can be used.
pub(super) struct Salvaged {
    /// The members that are restored, with or without damaged blocks.
    pub members: Vec<ExaminedMember>,
    /// Those that are not. They were removed.
    pub lost: BTreeSet<String>,
}

impl Salvage<'_> {
    /// Parts what can be used from what cannot. `damage` is what is wrong with the file, if anything
    /// is.
    ///
    /// # Errors
    ///
    /// When a file cannot be removed, or the list not be written.
    pub(super) fn part(&self, examined: ExaminedFile, damage: Option<&str>) -> Result<Salvaged> {
        let ExaminedFile {
            members,
            state,
            broken,
        } = examined;
        let mut salvaged = Salvaged {
            members: Vec::new(),
            lost: broken.iter().cloned().collect(),
        };
        let seen: BTreeSet<String> = members.iter().map(|member| member.name.clone()).collect();
        for member in members {
            match lost_whole(&member) {
                None => salvaged.members.push(member),
                Some((kind, message)) => {
                    self.from.add(kind, Some(&member.name), &message)?;
                    salvaged.lost.insert(member.name);
                }
            }
        }
        if let Some(damage) = damage {
            let is_told = match state {
                FileState::Whole { .. } => {
                    !salvaged.lost.is_empty() && !salvaged.members.iter().any(is_tsm)
                }
                _ => self.add_unseen(&seen, broken.as_deref(), damage)?,
            };
            if !is_told {
                let message = format!("{damage}; it is not known which part changed");
                self.from.add(LostKind::Unknown, None, &message)?;
            }
        }
        for name in &salvaged.lost {
            self.unpack.remove(name)?;
        }
        Ok(salvaged)
    }

    /// Adds what comes behind the place where the file cannot be read on; whether there is any.
    fn add_unseen(
        &self,
        seen: &BTreeSet<String>,
        broken: Option<&str>,
        damage: &str,
    ) -> Result<bool> {
        let Some(record) = self.record else {
            self.from.add(LostKind::Rest, broken, damage)?;
            return Ok(true);
        };
        let members = record.members.iter();
        let names = members.map(|member| member.name.as_str());
        let unseen: Vec<&str> = names
            .filter(|name| !seen.contains(*name) && !is_index(name))
            .collect();
        for name in &unseen {
            let kind = match name.ends_with(".tombstone") {
                true => LostKind::Deletes,
                false => LostKind::File,
            };
            self.from.add(kind, Some(name), damage)?;
        }
        Ok(!unseen.is_empty())
    }
}

fn is_tsm(member: &ExaminedMember) -> bool {
    member.name.ends_with(".tsm")
}

/// Why a member is not restored, if it is not.
fn lost_whole(member: &ExaminedMember) -> Option<(LostKind, String)> {
    member.findings.iter().find_map(|finding| match finding {
        MemberFinding::Name => {
            let message = "its name is not <generation>-<sequence>.tsm: influxd could not open the shard with it";
            Some((LostKind::File, message.to_owned()))
        }
        MemberFinding::Index(error) => Some((LostKind::File, index_words(error))),
        MemberFinding::Inside {
            offset,
            fault: TsmDamage::Index(fault),
            ..
        } => Some((
            LostKind::File,
            format!("its index is damaged at offset {offset}: {fault}"),
        )),
        MemberFinding::Inside { .. } => None,
        MemberFinding::Torn => {
            let message = "the tombstone file breaks off: points that were deleted come back";
            Some((LostKind::Deletes, message.to_owned()))
        }
        MemberFinding::Tombstone(error) => Some((
            LostKind::Deletes,
            format!("no tombstone file: {error}: points that were deleted come back"),
        )),
    })
}

fn index_words(error: &IndexError) -> String {
    match error {
        IndexError::Damaged { offset, fault } => {
            format!("its index is damaged at offset {offset}: {fault}")
        }
        IndexError::Read { .. } | IndexError::Envelope(_) => error.to_string(),
    }
}
