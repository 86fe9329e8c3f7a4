//! What is kept of a shard that has come.

use std::collections::BTreeMap;
use std::io::{self, Read};

use anyhow::Result;

use super::listing::{invalid, member_record};
use super::outcome::{ShardOutcome, StoredTar};
use super::request::{Planned, ShardRequest};
use super::session::Session;
use crate::cancel::Stoppable;
use crate::error::told;
use crate::io::scratch::is_of_system;
use crate::ops::members::{MemberReader, at_offset, read_deletes};
use crate::repository::{MemberRecord, SealedFile};
use crate::shard::ShardPath;
use crate::shard_tar::{KeptPoints, ShardTarFilter, ShardTarReader, TarWriter};
use crate::tsm::tombstone::BoundedDeletes;
use crate::tsm::{stem, tombstone};

/// Bytes read at a time.
const CHUNK: usize = 256 << 10;

impl Session<'_> {
    /// A shard that has come, without what was deleted of it where that is asked for.
    pub(super) fn stored(&self, planned: &Planned, tar: StoredTar) -> Result<ShardOutcome> {
        let has_deletes = tar.members.iter().any(MemberRecord::is_tombstone);
        let apply = self.apply_deletes
            && has_deletes
            && planned.request == ShardRequest::Whole
            && !planned.is_filtered();
        if !apply {
            return Ok(ShardOutcome::Stored(tar));
        }
        let _permit = self.permits.take(self.context.cancel)?;
        let filtered = self.without_deletes(&planned.shard.path, &tar.file);
        self.context.check()?;
        match filtered {
            Ok(Some(filtered)) => {
                tar.file.replace(Some(&filtered.file))?;
                Ok(ShardOutcome::Stored(filtered))
            }
            Ok(None) => {
                tar.file.replace(None)?;
                self.empty(planned)
            }
            Err(error) if is_of_system(&*error) => Err(error),
            // A damaged file, say: that is what there is to be had of it.
            Err(error) => {
                self.context.warn(format!(
                    "shard {} is stored with what was deleted of it, and with its tombstones, which a live restore by influxd does \
                     not observe: {}",
                    planned.shard.path,
                    told(&error)
                ));
                Ok(ShardOutcome::Stored(tar))
            }
        }
    }

    /// A shard that has nothing to store. From a directory with several sets in the portable
    /// layout, influxd restores of each shard the newest file there is: without one that is empty,
    /// what the shard held before.
    pub(super) fn empty(&self, planned: &Planned) -> Result<ShardOutcome> {
        if !self.layout.compresses()
            || planned.request != ShardRequest::Whole
            || planned.is_filtered()
        {
            return Ok(ShardOutcome::Empty(None));
        }
        let tar = TarWriter::new(self.staging.tar(&planned.shard.path)?).finish()?;
        let (file, tar_size) = tar.finish()?;
        Ok(ShardOutcome::Empty(Some(StoredTar {
            file,
            tar_size,
            members: Vec::new(),
            deletes_applied: false,
        })))
    }

    /// A tar without its tombstones and what they delete; none where nothing else is in it.
    fn without_deletes(&self, shard: &ShardPath, tar: &SealedFile) -> Result<Option<StoredTar>> {
        let deletes = self.deletes_of(shard, tar)?;
        let scratch = self.staging.scratch();
        let out = self.staging.tar(shard)?;
        let kept = KeptPoints {
            deletes,
            ..KeptPoints::default()
        };
        let mut filter = ShardTarFilter::new(shard, kept, out, scratch)?;
        let stoppable = Stoppable {
            inner: tar.open(self.layout)?,
            cancel: self.context.cancel,
        };
        let mut reader = ShardTarReader::new(stoppable, shard);
        let mut buffer = vec![0; CHUNK];
        while let Some(member) = reader.next_member().map_err(io::Error::from)? {
            let filtering = |error| at_offset(member.offset, error);
            filter.begin(&member).map_err(filtering)?;
            loop {
                let count = reader.read(&mut buffer)?;
                if count == 0 {
                    break;
                }
                filter.data(&buffer[..count]).map_err(filtering)?;
            }
            filter
                .end()
                .map_err(|error| at_offset(reader.offset(), error))?;
        }
        reader.finish().map_err(io::Error::from)?;
        let (file, members) = filter.finish()?;
        if members.is_empty() {
            return Ok(None);
        }
        let (file, tar_size) = file.finish()?;
        Ok(Some(StoredTar {
            file,
            tar_size,
            members: members
                .iter()
                .map(member_record)
                .collect::<io::Result<_>>()?,
            deletes_applied: true,
        }))
    }

    /// What the tombstones in a tar say was deleted, by what they have in common with their TSM
    /// files.
    fn deletes_of(
        &self,
        shard: &ShardPath,
        tar: &SealedFile,
    ) -> Result<BTreeMap<String, BoundedDeletes>> {
        let mut deletes = BTreeMap::new();
        let scratch = self.staging.scratch();
        let tar = tar.open(self.layout)?;
        let mut members = MemberReader::open(tar, scratch, shard, self.context.cancel)?;
        while let Some(member) = members.next_member().map_err(io::Error::from)? {
            self.context.check()?;
            if !member.is_tombstone() {
                continue;
            }
            let content = members.content().map_err(io::Error::from)?;
            let read = match read_deletes(&member.name, &content.bytes, scratch) {
                Ok((_, tombstone::TombstoneEnding::Torn)) => {
                    Err(invalid(format!("{} breaks off", member.name)))
                }
                Ok((of_file, _)) => Ok(of_file),
                Err(error) => Err(error),
            };
            let of_file = read.map_err(|error| at_offset(members.offset(), error))?;
            deletes.insert(stem(&member.name).to_owned(), of_file);
        }
        members.finish().map_err(io::Error::from)?;
        Ok(deletes)
    }
}
