//! Leaving points out of a shard's tar as it passes: those outside an interval of time, or those that were deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};

use anyhow::Result;
use jiff::Timestamp;
use tempfile::SpooledTempFile;

use crate::ops::members::Spool;
use crate::ops::sift::{Kept, LeftOut, sift};
use crate::repository::{MemberRecord, StagedTar};
use crate::shard::ShardPath;
use crate::shard_tar::{Member, MemberHeader, TarWriter};
use crate::time::Bounds;
use crate::tsm::bounded_deletes::BoundedDeletes;
use crate::tsm::fields::NewTypes;
use crate::tsm::index::FromStart;
use crate::tsm::stem;

/// How much of a tombstone waits in memory.
const TOMBSTONE_BYTES: usize = 64 << 10;

/// A tar being cut.
pub struct Cutter {
    shard: ShardPath,
    bounds: Bounds,
    /// What is left out of TSM files because it was deleted, by what they have in common with their tombstones.
    deletes: BTreeMap<String, BoundedDeletes>,
    /// Where files go that take a member for a while.
    scratch: PathBuf,
    tar: TarWriter<StagedTar>,
    /// The member that passes.
    member: Option<Passing>,
    spool: Spool,
    /// They are written last, and only for TSM files that stay and still hold what was deleted.
    tombstones: Vec<(Member, SpooledTempFile)>,
    /// The TSM files that stay, by what they have in common with their tombstones.
    stay: BTreeSet<String>,
    members: Vec<MemberRecord>,
}

enum Passing {
    Tsm(Member),
    Tombstone(Member, SpooledTempFile),
}

impl Cutter {
    /// Leaves out of the tar of `shard` what is not in `bounds` and the `deletes`, the tombstones of which go too; into `out`.
    ///
    /// # Errors
    ///
    /// When a file in `scratch` cannot be made.
    pub fn new(
        shard: &ShardPath,
        bounds: Bounds,
        deletes: BTreeMap<String, BoundedDeletes>,
        out: StagedTar,
        scratch: &Path,
    ) -> Result<Self> {
        Ok(Self {
            shard: shard.clone(),
            bounds,
            deletes,
            scratch: scratch.to_owned(),
            tar: TarWriter::new(out),
            member: None,
            spool: Spool::new_in(scratch)?,
            tombstones: Vec::new(),
            stay: BTreeSet::new(),
            members: Vec::new(),
        })
    }

    /// All members have passed: the tar, its end written, and its members.
    ///
    /// # Errors
    ///
    /// When it cannot be written.
    pub fn finish(mut self) -> io::Result<(StagedTar, Vec<MemberRecord>)> {
        for (member, mut content) in std::mem::take(&mut self.tombstones) {
            if self.stay.contains(stem(&member.name))
                && !self.deletes.contains_key(stem(&member.name))
            {
                begin(
                    &mut self.tar,
                    &self.shard,
                    &mut self.members,
                    &member,
                    member.size,
                )?;
                content.rewind()?;
                io::copy(&mut content.take(member.size), &mut self.tar)?;
                self.tar.end()?;
            }
        }
        Ok((self.tar.finish()?, self.members))
    }

    /// A member begins. Members that are neither TSM nor tombstone files, an old server's index say, would not fit what is left.
    pub fn begin(&mut self, member: &Member) -> io::Result<()> {
        self.spool.clear();
        self.member = if member.is_tsm() {
            Some(Passing::Tsm(member.clone()))
        } else if member.is_tombstone() {
            Some(Passing::Tombstone(
                member.clone(),
                SpooledTempFile::new(TOMBSTONE_BYTES),
            ))
        } else {
            None
        };
        Ok(())
    }

    /// The next bytes of its content.
    pub fn data(&mut self, chunk: &[u8]) -> io::Result<()> {
        match &mut self.member {
            Some(Passing::Tsm(_)) => self.spool.write_all(chunk),
            Some(Passing::Tombstone(_, content)) => content.write_all(chunk),
            None => Ok(()),
        }
    }

    /// It was whole.
    pub fn end(&mut self) -> io::Result<()> {
        let member = match self.member.take() {
            Some(Passing::Tsm(member)) => member,
            Some(Passing::Tombstone(member, content)) => {
                self.tombstones.push((member, content));
                return Ok(());
            }
            None => return Ok(()),
        };
        let content = self.spool.content();
        let none = BoundedDeletes::default();
        let deletes = self.deletes.get(stem(&member.name)).unwrap_or(&none);
        let of_member =
            |error| io::Error::other(anyhow::Error::new(error).context(member.name.clone()));
        let left_out = LeftOut {
            deletes,
            new_types: &NewTypes::default(),
            bounds: self.bounds,
        };
        let kept = sift(&content, &left_out, &self.scratch).map_err(of_member)?;
        let size = match &kept {
            Kept::All => member.size,
            Kept::Part(file) => file.size,
            Kept::Nothing => return Ok(()),
        };
        self.stay.insert(stem(&member.name).to_owned());
        begin(&mut self.tar, &self.shard, &mut self.members, &member, size)?;
        match kept {
            Kept::Part(file) => file.copy_to(&mut self.tar)?,
            _ => drop(io::copy(&mut FromStart::new(&content), &mut self.tar)?),
        }
        self.tar.end()
    }
}

fn begin(
    tar: &mut TarWriter<StagedTar>,
    shard: &ShardPath,
    members: &mut Vec<MemberRecord>,
    member: &Member,
    size: u64,
) -> io::Result<()> {
    let path = format!("{shard}/{}", member.name);
    let modified = i64::try_from(member.modified)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok());
    members.push(MemberRecord {
        name: member.name.clone(),
        size,
        modified: modified.unwrap_or_default(),
    });
    tar.begin(&MemberHeader::of_file(&path, size, member.modified))
}
