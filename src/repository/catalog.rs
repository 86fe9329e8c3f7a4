//! Reading a backup directory, whoever wrote it.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::SystemTime;

use anyhow::{Context, Result};
use jiff::Timestamp;

use super::manifest::{self, Manifest};
use super::names;
use super::record::{Layout, SetRecord};
use super::set::{MetaFile, Origin, Set};
use super::set_id::SetId;
use super::snapshot::{DirectorySnapshot, Listed};
use super::store::{LocalStore, Store, StoredFile, read_bounded};
use super::tar::Tar;
use crate::error::{Error, ErrorKind, error_in, kind_of};
use crate::metastore::Data;
use crate::shard::ShardPath;
use crate::text::few_names;
use crate::time;
use crate::wire::{MAX_META_BYTES, MetaBlob};

/// Bytes of a metastore's file beside the metastore itself, at most.
pub(super) const META_FRAME: u64 = 1 << 20;

/// The files and sets of a backup directory.
#[derive(Debug)]
pub struct Catalog {
    store: Arc<dyn Store>,
    /// Sizes in bytes by name. Files that an interrupted run gave their names are not among them.
    files: BTreeMap<String, u64>,
    /// Oldest first.
    sets: Vec<Set>,
    /// The legacy sets with a record, by number.
    recorded: HashMap<u32, usize>,
    /// The ids of sets whose removal was begun and not ended. Their files are not among the files.
    half_removed: Vec<SetId>,
    /// The records and manifests that could not be read, by their names below the directory.
    damaged: Vec<String>,
    /// What stands under a name and is no file of a backup, in a few words.
    others: BTreeMap<String, &'static str>,
    /// Whether a file was gone that was there when the directory was read.
    vanished: AtomicBool,
}

/// A record or a manifest that could not be read.
#[derive(Debug)]
pub(crate) struct UnreadableFile {
    /// Its name below the directory.
    pub file: String,
    /// Why.
    pub error: anyhow::Error,
}

impl UnreadableFile {
    /// The set that it tells of.
    pub(crate) fn set(&self) -> SetId {
        id_of(&self.file).into()
    }
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupFile {
    /// Its name in the directory.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Whether it is compressed with gzip.
    pub compressed: bool,
    /// Which of the sets it belongs to.
    pub set: usize,
}

impl Catalog {
    /// Lists the directory and reads its records and manifests.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoBackup`] where there is no such directory; [`ErrorKind::Damage`] for a record
    /// or manifest that cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        match Self::read_past_all(path)? {
            (catalog, unreadable) if unreadable.is_empty() => Ok(catalog),
            (_, mut unreadable) => Err(unreadable.swap_remove(0).error),
        }
    }

    /// As [`Catalog::read`], for somebody who may name a set: then what is damaged of others is
    /// said by `warn`, and passed over. Without a name, nobody could tell which set is the newest.
    ///
    /// # Errors
    ///
    /// Those of [`Catalog::read`].
    pub(crate) fn read_for(
        path: &Path,
        set: Option<&str>,
        warn: &mut dyn FnMut(&str),
    ) -> Result<Self> {
        if matches!(set, None | Some("latest")) {
            return Self::read(path);
        }
        let (catalog, damaged) = Self::read_past_damage(path)?;
        for UnreadableFile { file, error } in damaged {
            warn(&format!("{file} is passed over: {error:#}"));
        }
        Ok(catalog)
    }

    /// As [`Catalog::read`], but goes on without what is damaged, which it gives too.
    ///
    /// # Errors
    ///
    /// Those of [`Catalog::read`], but for damage.
    pub(crate) fn read_past_damage(path: &Path) -> Result<(Self, Vec<UnreadableFile>)> {
        let (catalog, mut unreadable) = Self::read_past_all(path)?;
        let is_other =
            |unreadable: &UnreadableFile| kind_of(&unreadable.error) != ErrorKind::Damage;
        match unreadable.iter().position(is_other) {
            None => Ok((catalog, unreadable)),
            Some(other) => Err(unreadable.swap_remove(other).error),
        }
    }

    /// As [`Catalog::read`], but goes on without the records and manifests that cannot be read,
    /// which it gives too.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoBackup`] where there is no such directory; when it cannot be listed.
    pub(crate) fn read_past_all(path: &Path) -> Result<(Self, Vec<UnreadableFile>)> {
        if !path.is_dir() {
            return Err(no_directory(path).into());
        }
        Self::of(Arc::new(LocalStore::new(path)))
    }

    /// As [`Catalog::read_past_all`], of any store.
    pub(super) fn of(store: Arc<dyn Store>) -> Result<(Self, Vec<UnreadableFile>)> {
        let DirectorySnapshot {
            files: mut listed,
            others,
            records,
            unfinished,
            removals,
            pins,
            manifests,
            damaged,
        } = DirectorySnapshot::read(&*store)?;
        let mut unreadable: Vec<UnreadableFile> = damaged
            .into_iter()
            .map(|(file, error)| UnreadableFile { file, error })
            .collect();
        let recorded: HashSet<&str> = records
            .iter()
            .flat_map(SetRecord::files)
            .map(|file| file.name.as_str())
            .collect();
        for file in unfinished
            .iter()
            .chain(&removals)
            .flat_map(SetRecord::files)
        {
            let is_it = listed
                .get(&file.name)
                .is_some_and(|listed| listed.size == file.size);
            if is_it && !recorded.contains(file.name.as_str()) {
                listed.remove(&file.name);
            }
        }
        let mut sets = loose_sets(&listed, &recorded);
        drop(recorded);
        let files: BTreeMap<String, u64> = listed
            .into_iter()
            .map(|(name, listed)| (name, listed.size))
            .collect();
        sets.extend(
            records
                .into_iter()
                .map(|record| recorded_set(record, &files)),
        );
        // By number first: a clock can go backwards.
        sets.sort_by(|a, b| (a.number(), &a.id).cmp(&(b.number(), &b.id)));
        for set in listed_sets(&*store, manifests, &files, &mut unreadable) {
            let at = sets
                .iter()
                .position(|other| other.started > set.started)
                .unwrap_or(sets.len());
            sets.insert(at, set);
        }
        for set in &mut sets {
            set.pinned_at = pins.get(&set.id).copied();
        }
        let numbered = |(at, set): (usize, &Set)| {
            let record = set.record()?;
            (record.layout == Layout::Legacy).then_some((record.number, at))
        };
        let catalog = Self {
            store,
            files,
            recorded: sets.iter().enumerate().filter_map(numbered).collect(),
            sets,
            half_removed: removals.into_iter().map(|record| record.id).collect(),
            damaged: unreadable
                .iter()
                .map(|damaged| damaged.file.clone())
                .collect(),
            others,
            vanished: AtomicBool::new(false),
        };
        Ok((catalog, unreadable))
    }

    /// What the repository is called in messages: its path, its URL.
    pub fn place(&self) -> String {
        self.store.place()
    }

    /// What a file of the repository is called in messages.
    pub(crate) fn place_of(&self, name: &str) -> String {
        self.store.place_of(name)
    }

    /// The files that it was read from.
    pub(super) fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// Whether a file is gone that was there.
    pub(crate) fn is_gone(&self, name: &str) -> bool {
        let opened = self.store.open(name);
        opened.is_err_and(|error| error.kind() == io::ErrorKind::NotFound)
    }

    /// Whether the directory has a file of that name.
    pub fn has(&self, name: &str) -> bool {
        self.files.contains_key(name)
    }

    /// All regular files, of backups and others, by name.
    #[cfg(test)]
    pub(super) fn files(&self) -> impl Iterator<Item = &str> {
        self.files.keys().map(String::as_str)
    }

    /// What became of a file that should be there: that it is gone, or what stands in its place and
    /// is not read.
    pub(crate) fn absence(&self, name: &str) -> &'static str {
        self.others.get(name).copied().unwrap_or("is gone")
    }

    /// What stands in the place of a shard's file in a legacy set and is none: its name, and what
    /// it is. Numbers of influxd's shards may be lower than that of the set, so the newest set is
    /// told of all.
    pub(crate) fn in_place_of(
        &self,
        shard: &ShardPath,
        set: usize,
    ) -> Option<(&str, &'static str)> {
        let stem = names::shard_stem(shard);
        let is_newest = set + 1 == self.sets.len();
        let number = self.sets[set].number();
        let is_its = |name: &str| {
            names::split_number(name)
                .is_some_and(|(of, its)| of == stem && (number == Some(its) || is_newest))
        };
        let mut others = self.others.iter();
        let (name, what) = others.find(|(name, _)| is_its(name))?;
        Some((name, what))
    }

    /// Bytes of the file of that name.
    pub fn file(&self, name: &str) -> Option<u64> {
        self.files.get(name).copied()
    }

    /// Whether nothing is left of a set but its record.
    pub(crate) fn is_lost(&self, set: &Set) -> bool {
        let is_there = |name: &str| self.has(name) || self.others.contains_key(name);
        set.record()
            .is_some_and(|record| !record.files().any(|file| is_there(&file.name)))
    }

    /// What is to be said where there are records, and nothing else of any set: somebody emptied
    /// the directory, and did not see the hidden folder.
    pub fn emptied(&self) -> Option<Error> {
        let is_emptied = self.damaged.is_empty() && self.sets.iter().all(|set| self.is_lost(set));
        let of = match &self.sets[..] {
            _ if !is_emptied => return None,
            [] => return None,
            [one] => format!("the record of set {}", one.id),
            sets => format!("the records of {} sets", sets.len()),
        };
        let directory = self.place();
        let pinned = match self.sets.iter().any(|set| set.pinned_at.is_some()) {
            true => " (after snap keep -release where a set is marked)",
            false => "",
        };
        let fault = ErrorKind::Damage.error(format!("{directory} has {of}, but none of the files"));
        Some(fault.hint(format!(
            "if the files were removed on purpose, remove the records too: snap forget -lost {directory}{pinned}"
        )))
    }

    /// The ids of sets whose removal was begun and not ended. They count no more; the next run that
    /// writes ends it.
    pub(crate) fn half_removed(&self) -> &[SetId] {
        &self.half_removed
    }

    /// The records and manifests that could not be read, by their names below the directory.
    pub fn damaged(&self) -> &[String] {
        &self.damaged
    }

    /// All sets, oldest first.
    pub fn sets(&self) -> &[Set] {
        &self.sets
    }

    /// The sets with a record, oldest first.
    pub fn records(&self) -> impl DoubleEndedIterator<Item = &SetRecord> {
        self.sets.iter().filter_map(Set::record)
    }

    /// Finds a set by its id, the beginning of it, or as `latest`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoBackup`] where there is none of that name; [`ErrorKind::Usage`] where there
    /// are several.
    pub fn find(&self, name: &str) -> Result<usize, Error> {
        let directory = self.place();
        if name == "latest" {
            return self.latest();
        }
        let known: Vec<usize> = (0..self.sets.len())
            .filter(|at| self.sets[*at].is_known())
            .collect();
        if let Some(exact) = known.iter().find(|at| self.sets[**at].id == name) {
            return Ok(*exact);
        }
        let ids = |sets: &[usize]| {
            let newest_first = sets.iter().rev();
            few_names(newest_first.map(|at| self.sets[*at].id.as_str()))
        };
        let lost = |file: &&String| !name.is_empty() && id_of(file).starts_with(name);
        if let Some(lost) = self.damaged.iter().find(lost) {
            let fault = ErrorKind::Damage.error(format!(
                "'{name}' may mean the set of {directory}/{lost}, which is damaged"
            ));
            return Err(fault.hint(format!("there are: {}", ids(&known))));
        }
        let close: Vec<usize> = known
            .iter()
            .copied()
            .filter(|at| !name.is_empty() && self.sets[*at].id.as_str().starts_with(name))
            .collect();
        match close[..] {
            [one] => Ok(one),
            [] if known.is_empty() => Err(self.nothing()),
            [] => Err(ErrorKind::NoBackup
                .error(format!("{directory} has no set '{name}'"))
                .hint(format!("there are: {}", ids(&known)))),
            _ => Err(ErrorKind::Usage
                .error(format!("'{name}' is the beginning of more than one set"))
                .hint(format!("there are: {}", ids(&close)))),
        }
    }

    /// The newest set.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoBackup`] where there is none.
    pub fn latest(&self) -> Result<usize, Error> {
        self.sets
            .iter()
            .rposition(Set::is_known)
            .ok_or_else(|| self.nothing())
    }

    fn nothing(&self) -> Error {
        let is_sign = |name: &&String| {
            names::meta_number(name).is_some() || manifest::stamp_of_manifest(name).is_some()
        };
        if let Some(name) = self.others.keys().find(is_sign) {
            let (directory, what) = (self.place(), self.absence(name));
            let fault =
                ErrorKind::NoBackup.error(format!("{directory} holds no backup: {name} {what}"));
            return fault.hint("name the directory that the files are in");
        }
        ErrorKind::NoBackup
            .error(format!(
                "{} holds no backup: there is no meta.NN and no manifest",
                self.place()
            ))
            .hint("PATH is the directory that `snap backup` or `influxd backup` wrote into")
    }

    /// The file of a shard in the set at `at`, where it is there.
    pub(crate) fn file_of(&self, at: usize, shard: &ShardPath) -> Option<BackupFile> {
        let set = &self.sets[at];
        let name = set.name_of(shard)?;
        // A set with a record may have the same number, and then the file is its own.
        if let Origin::Loose { number } = set.origin
            && let Some(recorded) = self.recorded.get(&number)
            && self.sets[*recorded].name_of(shard).as_ref() == Some(&name)
        {
            return None;
        }
        let size = self.file(&name)?;
        Some(self.backup_file(at, name, size))
    }

    /// A file of the set at `at`.
    pub(crate) fn backup_file(&self, at: usize, name: String, size: u64) -> BackupFile {
        BackupFile {
            name,
            size,
            compressed: self.sets[at].layout().compresses(),
            set: at,
        }
    }

    /// The names of all files that look like a shard's.
    pub(crate) fn shard_files(&self) -> impl Iterator<Item = &str> {
        let legacy = |name: &str| {
            names::split_number(name)
                .is_some_and(|(stem, _)| stem != "meta" && names::is_stem(stem))
        };
        self.files
            .keys()
            .map(String::as_str)
            .filter(move |name| legacy(name) || manifest::is_shard_file(name))
    }

    /// Reads the metastore of a set: magic or message, lengths and, where they were written down,
    /// size and digest.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Damage`] with the file's name.
    pub fn read_meta(&self, set: &Set) -> Result<(MetaBlob, Data)> {
        let Some(file) = &set.meta else {
            return Err(self.no_meta(set));
        };
        let place = self.place_of(&file.name);
        let damaged = || ErrorKind::Damage.error(format!("{place} is no metastore"));
        let bytes = self.read_file(&file.name)?;
        let blob = match set.layout() {
            Layout::Legacy => MetaBlob::read_from(&bytes[..]).with_context(damaged)?,
            Layout::Portable => MetaBlob {
                meta: manifest::read_meta(&bytes).with_context(damaged)?,
                node: b"null\n".to_vec(),
            },
        };
        if let Some(record) = set.record()
            && !record.meta.digest.is_of(&bytes)
        {
            let (id, algorithm) = (&set.id, record.meta.digest.algorithm());
            let message = format!("{place} is not what set {id} recorded: {algorithm} differs");
            return Err(ErrorKind::Damage.error(message).into());
        }
        if let Some(manifest) = set.listing()
            && manifest.meta.size != blob.meta.len() as u64
        {
            let (is, listed) = (blob.meta.len(), manifest.meta.size);
            let id = &set.id;
            let message =
                format!("{place} holds {is} bytes, and {listed} by the manifest of set {id}");
            return Err(ErrorKind::Damage.error(message).into());
        }
        let data = Data::read(&blob.meta).map_err(|error| {
            let reading = format!("reading {place}");
            // One that says what it is has its class.
            match error_in(&error) {
                Some(_) => error.context(reading),
                None => error.context(ErrorKind::Damage.error(reading)),
            }
        })?;
        Ok((blob, data))
    }

    /// That the metastore of a set is not there.
    fn no_meta(&self, set: &Set) -> anyhow::Error {
        if let Some(emptied) = self.emptied() {
            return emptied.into();
        }
        let Some((name, by)) = set.meta_name().zip(set.named_by()) else {
            return anyhow::anyhow!("its metastore is gone");
        };
        let fault = ErrorKind::Damage.error(format!(
            "the metastore {name} of set {} {}",
            set.id,
            self.absence(name)
        ));
        fault
            .hint(format!(
                "if the set was removed on purpose, remove {by} too"
            ))
            .into()
    }

    /// Opens a file of the repository as it is, if it is a regular one.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    pub(crate) fn open_file(&self, name: &str) -> Result<StoredFile> {
        let opened = self.store.open(name);
        let opened = opened.inspect_err(|error| self.note(name, error));
        opened.with_context(|| format!("opening {}", self.place_of(name)))
    }

    /// Reads a small file of the repository whole, such as a metastore or a manifest.
    ///
    /// # Errors
    ///
    /// When it cannot be read, or is far larger than a metastore can be.
    pub(crate) fn read_file(&self, name: &str) -> Result<Vec<u8>> {
        let bytes = read_bounded(&*self.store, name, MAX_META_BYTES + META_FRAME);
        let bytes = bytes.inspect_err(|error| self.note(name, error));
        bytes.with_context(|| format!("reading {}", self.place_of(name)))
    }

    fn note(&self, name: &str, error: &io::Error) {
        if error.kind() == io::ErrorKind::NotFound && self.has(name) {
            self.note_vanished();
        }
    }

    /// Notes that something was gone that was there when the directory was read: what was found
    /// since may never have been true.
    pub(super) fn note_vanished(&self) {
        self.vanished.store(true, Ordering::Relaxed);
    }

    /// Whether something was gone that was there when the directory was read.
    pub(crate) fn has_vanished(&self) -> bool {
        self.vanished.load(Ordering::Relaxed)
    }

    /// Opens a shard's file: what is read is its tar. `through` gets the file as it is on the disk.
    ///
    /// # Errors
    ///
    /// When it cannot be opened.
    pub fn open<R: Read>(
        &self,
        file: &BackupFile,
        through: impl FnOnce(StoredFile) -> R,
    ) -> Result<Tar<R>> {
        let opened = self.open_file(&file.name)?;
        Ok(Tar::new(through(opened), file.compressed))
    }
}

/// A set that snap recorded.
fn recorded_set(record: SetRecord, files: &BTreeMap<String, u64>) -> Set {
    Set {
        id: record.id.clone(),
        started: record.started,
        meta: meta_in(files, &record.meta.name),
        pinned_at: None,
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
                pinned_at: None,
                origin: Origin::Listed(manifest),
            }),
            Err(error) => unreadable.push(UnreadableFile { file: name, error }),
        }
    }
    sets
}

/// The legacy sets of influxd's: files without a record, by their number.
fn loose_sets(files: &BTreeMap<String, Listed>, recorded: &HashSet<&str>) -> Vec<Set> {
    // Where the metastore is gone, a file beside it tells about when.
    let mut numbers: BTreeMap<u32, SystemTime> = BTreeMap::new();
    let mut metas: HashMap<u32, MetaFile> = HashMap::new();
    for (name, listed) in files {
        let split = names::split_number(name).filter(|(stem, _)| names::is_stem(stem));
        let Some((stem, number)) = split.filter(|_| !recorded.contains(name.as_str())) else {
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
        pinned_at: None,
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
fn id_of(file: &str) -> &str {
    file.trim_start_matches(".snap/")
        .split('.')
        .next()
        .unwrap_or_default()
}

/// That there is no such directory; a set's name in its place is the usual mistake.
fn no_directory(path: &Path) -> Error {
    let fault =
        ErrorKind::NoBackup.error(format!("there is no backup directory {}", path.display()));
    match path.to_str().filter(|name| is_set_name(name)) {
        Some(name) => fault.hint(format!(
            "'{name}' names a set: write PATH, the backup directory, before it"
        )),
        None => fault.hint("name it as PATH or in SNAP_DIR; without either it is ./backup"),
    }
}

/// Whether a word can only be meant as a set: `latest`, or an id from its day on, as
/// `20261120T0800`.
fn is_set_name(word: &str) -> bool {
    let day_and_time = word.split_once('T');
    let is_id = day_and_time.is_some_and(|(day, time)| {
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        day.len() == 8 && is_number(day) && is_number(time.trim_end_matches('Z'))
    });
    word == "latest" || is_id
}

#[cfg(test)]
#[path = "catalog_tests.rs"]
mod tests;
