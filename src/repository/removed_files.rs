//! The files of sets that are removed, and what becomes of each.
//!
//! A file that is not as long as was recorded may be somebody else's, so it stays where it is whole
//! in itself. Where it is not, it is what damage left of the set's own file, and goes: without the
//! record it would count as one of influxd's.

use std::collections::HashSet;
use std::io;

use anyhow::Result;

use super::catalog::META_FRAME;
use super::layout::Layout;
use super::manifest::{self, Manifest};
use super::needs::{Need, Needs};
use super::record::{FileRecord, SetRecord};
use super::set_id::SetId;
use super::snapshot::MANIFEST_LIMIT;
use super::store::{EntryKind, Store, StoreEntry, read_bounded};
use crate::shard::ShardPath;
use crate::shard_tar::{Ending, ShardTarReader, TarError};
use crate::wire::{MAX_META_BYTES, MetaBlob};

/// A file that a set recorded, and what it holds.
pub(super) struct SetFile<'a> {
    pub set: &'a SetId,
    pub record: &'a FileRecord,
    layout: Layout,
    content: FileContent,
}

enum FileContent {
    Manifest,
    Metastore,
    Shard(ShardPath),
}

/// What influxd takes for the sign of a backup.
pub(super) fn signs<'a>(sets: &[&'a SetRecord]) -> Vec<SetFile<'a>> {
    let of_set = |set: &&'a SetRecord| {
        let set: &'a SetRecord = set;
        let manifest = set
            .manifest
            .iter()
            .map(|file| (file, FileContent::Manifest));
        let files = manifest.chain([(&set.meta, FileContent::Metastore)]);
        files.map(|(record, content)| SetFile {
            set: &set.id,
            record,
            layout: set.layout,
            content,
        })
    };
    once(sets.iter().flat_map(of_set))
}

/// The files of shards.
pub(super) fn shards<'a>(sets: &[&'a SetRecord]) -> Vec<SetFile<'a>> {
    let of_set = |set: &&'a SetRecord| {
        let set: &'a SetRecord = set;
        set.shards.iter().filter_map(|shard| {
            Some(SetFile {
                set: &set.id,
                record: shard.file.as_ref()?,
                layout: set.layout,
                content: FileContent::Shard(shard.path()),
            })
        })
    };
    once(sets.iter().flat_map(of_set))
}

/// Each name once: with the last of the sets that have it.
fn once<'a>(files: impl Iterator<Item = SetFile<'a>>) -> Vec<SetFile<'a>> {
    let mut files: Vec<SetFile<'a>> = files.collect();
    let mut seen = HashSet::new();
    files.reverse();
    files.retain(|file| seen.insert(&file.record.name));
    files.reverse();
    files
}

impl SetFile<'_> {
    /// Whether what has its name can be read to its end, or nobody knows.
    fn is_whole(&self, store: &dyn Store) -> bool {
        let name = &self.record.name;
        let bounded = |limit| read_bounded(store, name, limit);
        match (&self.content, self.layout) {
            (FileContent::Manifest, _) => {
                bounded(MANIFEST_LIMIT).map_or(true, |bytes| Manifest::read(&bytes).is_ok())
            }
            (FileContent::Metastore, Layout::Legacy) => store
                .open(name)
                .map_or(true, |file| MetaBlob::read_from(file).is_ok()),
            (FileContent::Metastore, Layout::Portable) => bounded(MAX_META_BYTES + META_FRAME)
                .map_or(true, |bytes| manifest::read_meta(&bytes).is_ok()),
            (FileContent::Shard(shard), Layout::Legacy) => store.open(name).map_or(true, |file| {
                let finished = ShardTarReader::in_place(file, shard).finish();
                matches!(
                    finished,
                    Ok(Ending::Whole { .. }) | Err(TarError::Source(_))
                )
            }),
            (FileContent::Shard(_), Layout::Portable) => store.open(name).map_or(true, |file| {
                io::copy(&mut manifest::decompress(file), &mut io::sink()).is_ok()
            }),
        }
    }
}

/// What becomes of a file of a set that is removed.
pub(super) enum Fate {
    /// It is removed.
    Goes(StoreEntry),
    /// It is not the set's, for this reason.
    IsLeft(String),
    /// A run at work may need it.
    Waits,
    /// Another set has it, or it is not there.
    Stays,
}

/// Decides that of a file.
pub(super) fn fate(store: &dyn Store, file: &SetFile<'_>, needs: &Needs) -> Result<Fate> {
    let record = file.record;
    let need = needs.need(&record.name);
    if need == Some(Need::Recorded(&record.digest)) {
        return Ok(Fate::Stays);
    }
    let Some(there) = store.entry(&record.name)? else {
        return Ok(Fate::Stays);
    };
    let why = if need == Some(Need::Claimed) {
        return Ok(Fate::Waits);
    } else if need.is_some() {
        "another set recorded it too".to_owned()
    } else if there.kind != EntryKind::File {
        "it is not a regular file".to_owned()
    } else if there.size != record.size && file.is_whole(store) {
        format!(
            "it has {} bytes, and {} were recorded",
            there.size, record.size
        )
    } else {
        return Ok(Fate::Goes(there));
    };
    let place = store.place_of(&record.name);
    Ok(Fate::IsLeft(format!("{place} is left alone: {why}")))
}
