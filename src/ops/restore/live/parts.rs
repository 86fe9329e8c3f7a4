//! The shards that are uploaded, and the checked shards of the backup that each is made of.
//!
//! All that a shard is made of goes into one upload: a second one beside a first hides fields that
//! only the second has, on servers with a tsi1 index.

use std::collections::HashMap;

use anyhow::{Context as _, Result};

use crate::ops::restore::checked_shard::CheckedShard;
use crate::ops::restore::regrouping::{NewNames, TargetShard};
use crate::shard::ShardPath;
use crate::sizes::total;
use crate::time::Bounds;
use crate::wire::ShardIds;

/// A shard that is uploaded.
pub(super) struct UploadShard<'a> {
    /// What it is called on the server.
    pub path: ShardPath,
    /// Its id in the metastore that was imported.
    pub id: u64,
    /// What it is called in the backup, or what it is made of.
    pub source: String,
    /// Where its points come from; of several values at one time, the last counts.
    pub parts: Vec<UploadPart<'a>>,
}

/// A shard of the backup, or a part of one.
pub(super) struct UploadPart<'a> {
    pub shard: &'a CheckedShard,
    /// The times of the points that come from it; none where all do.
    pub bounds: Option<Bounds>,
    /// What its files are called on the server.
    pub names: NewNames,
}

/// The checked shards of a backup by their ids.
pub(super) fn by_id(shards: &[CheckedShard]) -> HashMap<u64, &CheckedShard> {
    shards
        .iter()
        .map(|shard| (shard.source.id, shard))
        .collect()
}

impl<'a> UploadShard<'a> {
    /// What becomes of a shard of the target that is called so on the server. Its files keep their
    /// names.
    ///
    /// # Errors
    ///
    /// When a shard that it is made of was not checked.
    pub(super) fn of(
        target: &TargetShard,
        path: ShardPath,
        shards: &HashMap<u64, &'a CheckedShard>,
    ) -> Result<Self> {
        let parts = target.parts.iter().map(|part| {
            let shard = shards.get(&part.shard).copied();
            Ok(UploadPart {
                shard: shard.with_context(|| format!("shard {} was not checked", part.shard))?,
                bounds: part.bounds,
                names: NewNames::default(),
            })
        });
        let parts: Vec<UploadPart<'a>> = parts.collect::<Result<_>>()?;
        let source = match &parts[..] {
            [
                UploadPart {
                    shard,
                    bounds: None,
                    ..
                },
            ] => shard.source.to_string(),
            _ => target.made_of(),
        };
        Ok(Self {
            path,
            id: target.id,
            source,
            parts,
        })
    }

    /// Those that shards of the target become, under the ids that the server gave them.
    ///
    /// # Errors
    ///
    /// When it gave one none.
    pub(super) fn all(
        targets: &[TargetShard],
        shards: &'a [CheckedShard],
        ids: &ShardIds,
    ) -> Result<Vec<Self>> {
        let shards = by_id(shards);
        let each = targets.iter().map(|target| {
            let new = ids.get(&target.id).copied();
            let id = new.with_context(|| format!("the server gave shard {} no id", target.path))?;
            let path = ShardPath {
                id,
                ..target.path.clone()
            };
            let mut shard = Self::of(target, path, &shards)?;
            let files = shard.parts.iter().map(|part| &part.shard.files);
            shard.set_names(NewNames::of(files));
            Ok(shard)
        });
        each.collect()
    }

    /// Says what the files of each part are called on the server.
    pub(super) fn set_names(&mut self, names: Vec<NewNames>) {
        for (part, names) in self.parts.iter_mut().zip(names) {
            part.names = names;
        }
    }

    /// Bytes of the TSM files that it is made of.
    pub(super) fn tsm_bytes(&self) -> u64 {
        let shards = self.parts.iter().map(|part| part.shard);
        total(
            shards
                .flat_map(CheckedShard::tsm_files)
                .map(|(_, size)| size),
        )
    }
}

impl UploadPart<'_> {
    /// The times of its points.
    pub(super) fn time_range(&self) -> Bounds {
        let asked_for = self.shard.time_range.unwrap_or(Bounds::ANY);
        let of_part = self.bounds.unwrap_or(Bounds::ANY);
        Bounds {
            start: asked_for.start.max(of_part.start),
            end: asked_for.end.min(of_part.end),
        }
    }

    /// Whether points of any of its TSM files may be left out, whatever was deleted of that.
    pub(super) fn is_filtered(&self) -> bool {
        self.shard.is_filtered() || self.bounds.is_some()
    }
}
