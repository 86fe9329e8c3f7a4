//! What the target has: the sets that need not be copied, the files that can be shared, and which
//! numbers keep the order of the sets.

use std::collections::HashMap;

use anyhow::Result;

use crate::error::{Error, ErrorKind};
use crate::repository::{
    Catalog, CopiedName, FileRecord, Location, SetId, SetRecord, ShardRecord, UnreadableFile,
    UsedNumbers,
};
use crate::sizes::total;

/// The target, as it was when the run began, and what the run has put there since.
#[derive(Debug)]
pub(super) struct CopyTarget {
    /// None where it is still to be made.
    catalog: Option<Catalog>,
    /// The ids of sets whose record cannot be read.
    damaged: Vec<SetId>,
    /// The sets that this run has copied, or would.
    copied: Vec<SetRecord>,
    /// The numbers that are used there.
    pub numbers: UsedNumbers,
}

/// Whether a set is in the target.
#[derive(Debug)]
pub(super) enum Presence {
    Absent,
    /// It is there, under this number.
    Same {
        number: u32,
    },
    /// Something else has its id, or not all of it is there.
    Other(Error),
}

impl CopyTarget {
    /// Reads the target; what of it cannot be read is passed over.
    ///
    /// # Errors
    ///
    /// When it is there and cannot be listed.
    pub(super) fn read(target: &Location) -> Result<(Self, Vec<UnreadableFile>)> {
        let is_new = target.directory().is_some_and(|path| !path.exists());
        let (catalog, unreadable) = match is_new {
            true => (None, Vec::new()),
            false => {
                let (catalog, unreadable) = Catalog::read_past_damage(target)?;
                (Some(catalog), unreadable)
            }
        };
        let target = Self {
            catalog,
            damaged: unreadable.iter().map(UnreadableFile::set).collect(),
            copied: Vec::new(),
            numbers: UsedNumbers::default(),
        };
        Ok((target, unreadable))
    }

    /// The sets with a record, newest first.
    fn records(&self) -> impl Iterator<Item = &SetRecord> {
        let there = self
            .catalog
            .iter()
            .flat_map(|catalog| catalog.records().rev());
        self.copied.iter().rev().chain(there)
    }

    /// A set of this id.
    pub(super) fn record(&self, id: &SetId) -> Option<&SetRecord> {
        self.records().find(|record| record.id == *id)
    }

    /// Notes a set that is there now.
    pub(super) fn add(&mut self, record: SetRecord) {
        self.copied.push(record);
    }

    /// Whether a set is there, with all its files, as far as names, sizes and records tell.
    ///
    /// # Errors
    ///
    /// When a metastore has to be read, and cannot be.
    pub(super) fn presence(&self, source: &Catalog, record: &SetRecord) -> Result<Presence> {
        let id = &record.id;
        let Some(catalog) = &self.catalog else {
            return Ok(Presence::Absent);
        };
        let place = catalog.place();
        let other = |message: String, advice: &str| {
            Presence::Other(ErrorKind::Refused.error(message).hint(advice))
        };
        if self.damaged.contains(id) {
            let fault =
                ErrorKind::Damage.error(format!("the record of set {id} in {place} is damaged"));
            return Ok(Presence::Other(fault));
        }
        let Some(there) = self.record(id) else {
            return Ok(Presence::Absent);
        };
        if !is_same(source, record, there)? {
            return Ok(other(
                format!("{place} has another set {id}"),
                "two machines backed up in the same second, or its record was changed; copy it into \
                 another directory or prefix",
            ));
        }
        let is_there = |file: &FileRecord| catalog.file(&file.name) == Some(file.size);
        match there.files().find(|file| !is_there(file)) {
            None => Ok(Presence::Same {
                number: there.number,
            }),
            Some(file) => {
                let what = match catalog.has(&file.name) {
                    true => "has another size",
                    false => catalog.absence(&file.name),
                };
                let fault = ErrorKind::Damage
                    .error(format!("{place} has set {id}, but {} {what}", file.name));
                Ok(Presence::Other(fault.hint(format!(
                    "see snap verify {place} {id}; snap copy replaces no file: copy the set into \
                     another directory or prefix"
                ))))
            }
        }
    }

    /// A file of the same shard with the same content, and the set that has it.
    pub(super) fn file_of(
        &self,
        set: &SetRecord,
        shard: &ShardRecord,
        wanted: &FileRecord,
    ) -> Option<(&FileRecord, &SetId)> {
        let path = shard.path();
        let alike = self.records().filter(|there| there.layout == set.layout);
        alike
            .filter_map(|there| Some((there.shard(&path)?.file.as_ref()?, &there.id)))
            .find(|(file, _)| is_same_file(file, wanted))
    }

    /// Bytes of a set's files that are not there.
    pub(super) fn lacks(&self, record: &SetRecord) -> u64 {
        let shards = record.shards.iter().filter_map(|shard| {
            let file = shard.file.as_ref()?;
            let is_new = self.file_of(record, shard, file).is_none();
            is_new.then_some(file.size)
        });
        let rest = [Some(&record.meta), record.manifest.as_ref()];
        total(shards.chain(rest.into_iter().flatten().map(|file| file.size)))
    }

    /// What a set is to be called: its number has to be between those of older and newer sets of its
    /// server.
    pub(super) fn name_for(&self, source: &Catalog, at: usize, record: &SetRecord) -> CopiedName {
        let sets = source.sets().iter().enumerate();
        let places: HashMap<&SetId, usize> = sets.map(|(at, set)| (&set.id, at)).collect();
        let is_of_server = |there: &&SetRecord| {
            let ids = (there.cluster_id, record.cluster_id);
            !matches!(ids, (Some(there), Some(here)) if there != here)
        };
        let is_older = |there: &&SetRecord| match places.get(&there.id) {
            Some(place) => *place < at,
            None => there.started < record.started,
        };
        let (older, newer): (Vec<&SetRecord>, Vec<&SetRecord>) =
            self.records().filter(is_of_server).partition(is_older);
        CopiedName {
            id: record.id.clone(),
            number: record.number,
            older: older.iter().map(|there| there.number).max(),
            newer: newer.iter().map(|there| there.number).min(),
        }
    }
}

/// Whether two files have the same content, as they were recorded.
pub(super) fn is_same_file(one: &FileRecord, other: &FileRecord) -> bool {
    one.size == other.size && one.digest == other.digest
}

/// Whether two records are of one set: all is the same but for what a copy changes, the names.
fn is_same(source: &Catalog, record: &SetRecord, there: &SetRecord) -> Result<bool> {
    let same_meta = match record.meta.digest.algorithm() == there.meta.digest.algorithm() {
        true => is_same_file(&record.meta, &there.meta),
        // That of the copy was made anew.
        false => there
            .meta
            .digest
            .is_of(&source.read_file(&record.meta.name)?),
    };
    Ok(same_meta && without_names(record, there) == *there)
}

/// A record with the names, and what follows from them, of another.
fn without_names(record: &SetRecord, of: &SetRecord) -> SetRecord {
    let mut named = SetRecord {
        format: of.format,
        number: of.number,
        meta: of.meta.clone(),
        manifest: of.manifest.clone(),
        ..record.clone()
    };
    for (shard, of) in named.shards.iter_mut().zip(&of.shards) {
        shard.shared_with.clone_from(&of.shared_with);
        if let (Some(file), Some(of)) = (&mut shard.file, &of.file) {
            file.name.clone_from(&of.name);
            file.modified = of.modified;
            file.blocks.clone_from(&of.blocks);
        }
    }
    named
}
