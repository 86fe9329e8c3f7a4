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

/// The TSM files of a shard with their sizes: all that a server takes.
pub(super) fn tsm_files(shard: &CheckedShard) -> impl Iterator<Item = (&str, u64)> {
    let files = shard.files.iter().map(|(name, file)| (name, file.size));
    files.filter(|(name, _)| name.ends_with(".tsm"))
}

impl<'a> UploadShard<'a> {
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
        let by_id = shards.iter().map(|shard| (shard.source.id, shard));
        let by_id: HashMap<u64, &CheckedShard> = by_id.collect();
        let each = targets.iter().map(|target| {
            let new = ids.get(&target.id).copied();
            let id = new.with_context(|| format!("the server gave shard {} no id", target.path))?;
            let known = |id: u64| by_id.get(&id).copied();
            let parts = target
                .parts
                .iter()
                .map(|part| {
                    let shard = known(part.shard);
                    let shard =
                        shard.with_context(|| format!("shard {} was not checked", part.shard));
                    Ok((shard?, part.bounds))
                })
                .collect::<Result<Vec<_>>>()?;
            let source = match &parts[..] {
                [(shard, None)] => shard.source.to_string(),
                _ => target.made_of(),
            };
            let names = NewNames::of(parts.iter().map(|(shard, _)| &shard.files));
            let parts = parts.into_iter().zip(names);
            let parts = parts.map(|((shard, bounds), names)| UploadPart {
                shard,
                bounds,
                names,
            });
            Ok(Self {
                path: ShardPath {
                    id,
                    ..target.path.clone()
                },
                id: target.id,
                source,
                parts: parts.collect(),
            })
        });
        each.collect()
    }

    /// Bytes of the TSM files that it is made of.
    pub(super) fn tsm_bytes(&self) -> u64 {
        let shards = self.parts.iter().map(|part| part.shard);
        total(shards.flat_map(tsm_files).map(|(_, size)| size))
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
