//! What is kept of a shard that has come.

use std::collections::BTreeMap;

use anyhow::Result;

use super::cut::Cutter;
use super::download::{Downloader, Fetched, Want};
use super::fetch::invalid;
use super::plan::Planned;
use crate::cancel::Stoppable;
use crate::ops::members::{Passed, is_of_system, visit_file};
use crate::ops::sift::read_deletes;
use crate::progress::Event;
use crate::repository::{MemberRecord, SealedFile};
use crate::shard::ShardPath;
use crate::shard_tar::TarWriter;
use crate::shard_tar::{Member, scan};
use crate::time::Bounds;
use crate::tsm::{stem, tombstone};

/// A shard's tar in its file.
#[derive(Debug)]
pub struct Stored {
    pub file: SealedFile,
    /// Bytes of the tar.
    pub tar_size: u64,
    /// Its members.
    pub members: Vec<MemberRecord>,
    /// Whether deleted points were left out of it.
    pub deletes_applied: bool,
}

impl Downloader<'_> {
    /// A shard that has come, without what was deleted of it where that is asked for.
    pub fn stored(&self, planned: &Planned, tar: Stored) -> Result<Fetched> {
        let has_deletes = tar.members.iter().any(MemberRecord::is_tombstone);
        let apply = self.apply_deletes
            && has_deletes
            && planned.want == Want::Whole
            && planned.cut.is_none();
        if !apply {
            return Ok(Fetched::Stored(tar));
        }
        let sifted = self.without_deletes(&planned.shard.path, &tar.file);
        self.cancel.check()?;
        match sifted {
            Ok(Some(sifted)) => {
                tar.file.remove()?;
                Ok(Fetched::Stored(sifted))
            }
            Ok(None) => {
                tar.file.remove()?;
                self.empty(planned)
            }
            Err(error) if is_of_system(&*error) => Err(error),
            // A damaged file, say: that is what there is to be had of it.
            Err(error) => {
                self.progress.report(&Event::Warning(&format!(
                    "shard {} is stored with what was deleted of it, and with its tombstones, which a live restore by influxd does \
                     not observe: {error:#}",
                    planned.shard.path
                )));
                Ok(Fetched::Stored(tar))
            }
        }
    }

    /// A shard that has nothing to store. From a directory with several sets in the portable layout, influxd restores of each shard
    /// the newest file there is: without one that is empty, what the shard held before.
    pub fn empty(&self, planned: &Planned) -> Result<Fetched> {
        if !self.layout.packs() || planned.want != Want::Whole || planned.cut.is_some() {
            return Ok(Fetched::Empty(None));
        }
        let tar = TarWriter::new(self.staging.tar(self.layout, planned.shard.path.id)?).finish()?;
        let (file, tar_size) = tar.finish()?;
        Ok(Fetched::Empty(Some(Stored {
            file,
            tar_size,
            members: Vec::new(),
            deletes_applied: false,
        })))
    }

    /// A tar without its tombstones and what they delete; none where nothing else is in it.
    fn without_deletes(&self, shard: &ShardPath, tar: &SealedFile) -> Result<Option<Stored>> {
        let mut deletes = BTreeMap::new();
        let scratch = self.staging.scratch();
        visit_file(
            tar.open(self.layout)?,
            scratch,
            shard,
            self.cancel,
            Member::is_tombstone,
            |&Passed {
                 member, content, ..
             }| {
                match read_deletes(member, content, scratch)? {
                    (_, tombstone::Ending::Torn) => {
                        return Err(invalid(format!("{} breaks off", member.name)));
                    }
                    (of_file, _) => drop(deletes.insert(stem(&member.name).to_owned(), of_file)),
                }
                Ok(())
            },
        )??;
        let mut cutter = Cutter::new(
            shard,
            Bounds::ANY,
            deletes,
            self.staging.tar(self.layout, shard.id)?,
            scratch,
        )?;
        scan(
            Stoppable {
                inner: tar.open(self.layout)?,
                cancel: self.cancel,
            },
            shard,
            &mut cutter,
        )??;
        let (file, members) = cutter.finish()?;
        if members.is_empty() {
            return Ok(None);
        }
        let (file, tar_size) = file.finish()?;
        Ok(Some(Stored {
            file,
            tar_size,
            members,
            deletes_applied: true,
        }))
    }
}
