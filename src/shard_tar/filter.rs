//! Leaving points out of a shard's tar as it passes: those outside a time range, those of series that
//! are not meant, or those that were deleted.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::SpooledTempFile;

use super::reader::Member;
use super::writer::{MemberHeader, TarWriter};
use crate::io::read_at::{FromStart, Section};
use crate::io::scratch::Spool;
use crate::shard::ShardPath;
use crate::time::Bounds;
use crate::tsm::filter::{Filtered, NewTypes, PointFilter};
use crate::tsm::sought_series::SoughtSeries;
use crate::tsm::stem;
use crate::tsm::tombstone::BoundedDeletes;

/// How much of a tombstone waits in memory.
const TOMBSTONE_BYTES: usize = 64 << 10;

/// Which points stay.
#[derive(Debug)]
pub(crate) struct KeptPoints {
    /// Their times.
    pub time_range: Bounds,
    /// Their series.
    pub series: Arc<SoughtSeries>,
    /// What is left out of TSM files because it was deleted, by what they have in common with their
    /// tombstones, which go too.
    pub deletes: BTreeMap<String, BoundedDeletes>,
}

impl Default for KeptPoints {
    /// All.
    fn default() -> Self {
        Self {
            time_range: Bounds::ANY,
            series: Arc::default(),
            deletes: BTreeMap::new(),
        }
    }
}

/// Writes a tar without the points that are left out.
#[derive(Debug)]
pub(crate) struct ShardTarFilter<W> {
    shard: ShardPath,
    kept: KeptPoints,
    /// Where files go that take a member for a while.
    scratch: PathBuf,
    tar: TarWriter<W>,
    /// The member that passes.
    member: Option<Passing>,
    spool: Spool,
    /// They are written last, and only for TSM files that stay and still hold what was deleted.
    tombstones: Vec<(Member, SpooledTempFile)>,
    /// The TSM files that stay, by what they have in common with their tombstones.
    stay: BTreeSet<String>,
    members: Vec<Member>,
}

#[derive(Debug)]
enum Passing {
    Tsm(Member),
    Tombstone(Member, SpooledTempFile),
}

impl<W: Write> ShardTarFilter<W> {
    /// Leaves all out of the tar of `shard` that is not `kept`; into `out`.
    ///
    /// # Errors
    ///
    /// When a file in `scratch` cannot be made.
    pub(crate) fn new(
        shard: &ShardPath,
        kept: KeptPoints,
        out: W,
        scratch: &Path,
    ) -> io::Result<Self> {
        Ok(Self {
            shard: shard.clone(),
            kept,
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
    pub(crate) fn finish(mut self) -> io::Result<(W, Vec<Member>)> {
        for (member, mut content) in std::mem::take(&mut self.tombstones) {
            let stem = stem(&member.name);
            if self.stay.contains(stem) && !self.kept.deletes.contains_key(stem) {
                let size = member.size;
                self.begin_file(member, size)?;
                content.rewind()?;
                io::copy(&mut content.take(size), &mut self.tar)?;
                self.tar.end()?;
            }
        }
        Ok((self.tar.finish()?, self.members))
    }

    /// A member begins. Members that are neither TSM nor tombstone files, an old server's index
    /// say, would not fit what is left.
    pub(crate) fn begin(&mut self, member: &Member) -> io::Result<()> {
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
    pub(crate) fn data(&mut self, chunk: &[u8]) -> io::Result<()> {
        match &mut self.member {
            Some(Passing::Tsm(_)) => self.spool.write_all(chunk),
            Some(Passing::Tombstone(_, content)) => content.write_all(chunk),
            None => Ok(()),
        }
    }

    /// It was whole.
    pub(crate) fn end(&mut self) -> io::Result<()> {
        let member = match self.member.take() {
            Some(Passing::Tsm(member)) => member,
            Some(Passing::Tombstone(member, content)) => {
                self.tombstones.push((member, content));
                return Ok(());
            }
            None => return Ok(()),
        };
        let none = BoundedDeletes::default();
        let filter = PointFilter {
            deletes: self.kept.deletes.get(stem(&member.name)).unwrap_or(&none),
            new_types: &NewTypes::default(),
            series: &self.kept.series,
            time_range: self.kept.time_range,
        };
        let content = Section::new(self.spool.file(), 0, self.spool.size());
        let filtered = filter.apply(&content, &self.scratch).map_err(|error| {
            io::Error::other(anyhow::Error::new(error).context(member.name.clone()))
        })?;
        let size = match &filtered {
            Filtered::Unchanged => member.size,
            Filtered::Rewritten(file) => file.size,
            Filtered::Empty => return Ok(()),
        };
        self.stay.insert(stem(&member.name).to_owned());
        self.begin_file(member, size)?;
        if let Filtered::Rewritten(file) = filtered {
            file.copy_to(&mut self.tar)?;
        } else {
            let content = Section::new(self.spool.file(), 0, self.spool.size());
            io::copy(&mut FromStart::new(&content), &mut self.tar)?;
        }
        self.tar.end()
    }

    fn begin_file(&mut self, member: Member, size: u64) -> io::Result<()> {
        let path = format!("{}/{}", self.shard, member.name);
        self.tar
            .begin(&MemberHeader::of_file(&path, size, member.modified))?;
        self.members.push(Member { size, ..member });
        Ok(())
    }
}
