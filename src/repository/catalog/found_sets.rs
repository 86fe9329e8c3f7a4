//! The sets that the files of a directory make: from records, from manifests, or loose.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::time::SystemTime;

use anyhow::{Context, Result};
use jiff::Timestamp;

use super::super::manifest::{self, Manifest};
use super::super::names;
use super::super::record::{SetRecord, file_names};
use super::super::set::{MetaFile, Origin, Set};
use super::super::set_id::SetId;
use super::super::snapshot::{DirectorySnapshot, Listed};
use super::super::store::{ContentId, Store};
use crate::error::ErrorKind;
use crate::sizes::total;
use crate::time;

/// The sets of a directory, and its files.
pub(super) struct FoundSets {
    /// Oldest first.
    pub sets: Vec<Set>,
    /// Sizes in bytes by name, but for files of commits and removals that have not ended.
    pub files: BTreeMap<String, u64>,
    /// The ids of sets whose removal was begun and not ended.
    pub half_removed: Vec<SetId>,
    /// What stands under a name and is no file of a backup, in a few words.
    pub others: BTreeMap<String, &'static str>,
    /// The records and manifests that could not be read.
    pub unreadable: Vec<UnreadableFile>,
}

/// A record or a manifest that could not be read.
#[derive(Debug)]
pub(crate) struct UnreadableFile {
    /// Its name below the directory.
    pub file: String,
    pub error: anyhow::Error,
}

impl UnreadableFile {
    /// The set that it tells of.
    pub(crate) fn set(&self) -> SetId {
        id_of(&self.file).into()
    }
}

impl FoundSets {
    /// Reads a repository.
    ///
    /// # Errors
    ///
    /// When it cannot be listed, or never stays the same meanwhile.
    pub(super) fn read(store: &dyn Store) -> Result<Self> {
        let snapshot = DirectorySnapshot::read(store)?;
        let recorded = file_names(&snapshot.records);
        let listed = finished_files(&snapshot, &recorded);
        let mut sets = loose_sets(&listed, &recorded);
        let files: BTreeMap<String, u64> = listed
            .iter()
            .map(|(name, listed)| ((*name).to_owned(), listed.size))
            .collect();
        let shared: HashMap<String, ContentId> = listed
            .iter()
            .filter_map(|(name, listed)| Some(((*name).to_owned(), listed.shared?)))
            .collect();
        let DirectorySnapshot {
            others,
            records,
            removals,
            mut pins,
            manifests,
            damaged,
            ..
        } = snapshot;
        let mut unreadable: Vec<UnreadableFile> = damaged
            .into_iter()
            .map(|(file, error)| UnreadableFile { file, error })
            .collect();
        sets.extend(
            records
                .into_iter()
                .map(|record| recorded_set(record, &files)),
        );
        // By number first: a clock can go backwards.
        sets.sort_by(|a, b| (a.number(), &a.id).cmp(&(b.number(), &b.id)));
        for set in listed_sets(store, manifests, &files, &mut unreadable) {
            let at = sets
                .iter()
                .position(|other| other.started > set.started)
                .unwrap_or(sets.len());
            sets.insert(at, set);
        }
        for set in &mut sets {
            set.pin = pins.remove(&set.id);
        }
        note_added(&mut sets, &files, &shared);
        Ok(Self {
            sets,
            files,
            half_removed: removals.into_iter().map(|record| record.id).collect(),
            others,
            unreadable,
        })
    }
}

/// Notes of each set with a record how much of it no older set has.
fn note_added(
    sets: &mut [Set],
    files: &BTreeMap<String, u64>,
    shared: &HashMap<String, ContentId>,
) {
    // Names that several records may have: those that some set has, and is not called by.
    let records = sets.iter().filter_map(Set::record);
    let foreign: HashSet<String> = records.flat_map(foreign_names).collect();
    let (mut seen, mut names) = (HashSet::new(), HashSet::new());
    for set in sets {
        let Some(record) = set.record() else {
            continue;
        };
        let mut is_first = |name: &str| {
            let is_first_of_name = foreign.get(name).is_none_or(|name| names.insert(name));
            let content = shared.get(name);
            is_first_of_name && content.is_none_or(|content| seen.insert(*content))
        };
        let added = record.files().filter(|file| is_first(&file.name));
        let sizes = added.filter_map(|file| files.get(&file.name).copied());
        set.added = Some(total(sizes));
    }
}

/// The names of those files of a set that are called as another's.
fn foreign_names(record: &SetRecord) -> impl Iterator<Item = String> {
    let own = record.names();
    let files = record.files();
    files
        .filter(move |file| !own.is_own(&file.name))
        .map(|file| file.name.clone())
}

/// The files that count: not those of commits and removals that have not ended, unless a set has
/// them too.
fn finished_files<'a>(
    snapshot: &'a DirectorySnapshot,
    recorded: &HashSet<&str>,
) -> BTreeMap<&'a str, Listed> {
    let listed = snapshot.files.iter();
    let mut listed: BTreeMap<&str, Listed> = listed
        .map(|(name, listed)| (name.as_str(), *listed))
        .collect();
    let open = snapshot.unfinished.iter().chain(&snapshot.removals);
    for file in open.flat_map(SetRecord::files) {
        let name = file.name.as_str();
        let is_it = listed
            .get(name)
            .is_some_and(|listed| listed.size == file.size);
        if is_it && !recorded.contains(name) {
            listed.remove(name);
        }
    }
    listed.retain(|name, _| recorded.contains(name) || !snapshot.claimed.contains(*name));
    listed
}

/// A set that snap recorded.
fn recorded_set(record: SetRecord, files: &BTreeMap<String, u64>) -> Set {
    Set {
        id: record.id.clone(),
        started: record.started,
        meta: meta_in(files, &record.meta.name),
        pin: None,
        added: None,
        origin: Origin::Recorded(Box::new(record)),
    }
}

/// The portable sets of influxd's, oldest first: manifests without a record.
fn listed_sets(
    store: &dyn Store,
    manifests: BTreeMap<String, Vec<u8>>,
    files: &BTreeMap<String, u64>,
    unreadable: &mut Vec<UnreadableFile>,
) -> Vec<Set> {
    let mut sets = Vec::new();
    for (name, bytes) in manifests {
        let Some(stamp) = manifest::stamp_of_manifest(&name).filter(|_| files.contains_key(&name))
        else {
            continue;
        };
        let manifest = Manifest::read(&bytes).with_context(|| {
            let place = store.place_of(&name);
            let fault = ErrorKind::Damage.error(format!("the manifest {place} is damaged"));
            fault.hint("without it, the other sets of the directory can be read: move it away")
        });
        match manifest {
            Ok(manifest) => sets.push(Set {
                id: stamp.into(),
                started: time::parse_stamp(stamp).unwrap_or(Timestamp::UNIX_EPOCH),
                meta: meta_in(files, &manifest.meta.file_name),
                pin: None,
                added: None,
                origin: Origin::Listed(manifest),
            }),
            Err(error) => unreadable.push(UnreadableFile { file: name, error }),
        }
    }
    sets
}

/// The legacy sets of influxd's: files without a record, by their number.
fn loose_sets(files: &BTreeMap<&str, Listed>, recorded: &HashSet<&str>) -> Vec<Set> {
    // Where the metastore is gone, a file beside it tells about when.
    let mut numbers: BTreeMap<u32, SystemTime> = BTreeMap::new();
    let mut metas: HashMap<u32, MetaFile> = HashMap::new();
    for (name, listed) in files {
        let split = names::split_number(name).filter(|(stem, _)| names::is_stem(stem));
        let Some((stem, number)) = split.filter(|_| !recorded.contains(*name)) else {
            continue;
        };
        if stem == "meta" {
            numbers.insert(number, listed.modified);
            metas.insert(number, meta_file(name, listed.size));
        } else if !metas.contains_key(&number) {
            numbers.entry(number).or_insert(listed.modified);
        }
    }
    let set = |(number, modified)| Set {
        id: names::meta_file(number).into(),
        started: Timestamp::try_from(modified).unwrap_or(Timestamp::UNIX_EPOCH),
        meta: metas.remove(&number),
        pin: None,
        added: None,
        origin: Origin::Loose { number },
    };
    numbers.into_iter().map(set).collect()
}

fn meta_in(files: &BTreeMap<String, u64>, name: &str) -> Option<MetaFile> {
    files.get(name).map(|size| meta_file(name, *size))
}

fn meta_file(name: &str, size: u64) -> MetaFile {
    MetaFile {
        name: name.to_owned(),
        size,
    }
}

/// The id of the set of a record or manifest, of which the name below the directory is given.
pub(super) fn id_of(file: &str) -> &str {
    file.trim_start_matches(".snap/")
        .split('.')
        .next()
        .unwrap_or_default()
}
