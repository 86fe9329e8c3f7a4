//! The catalog of a backup directory, whoever wrote it: which sets and files there are.

mod find;
mod found_sets;
mod open;

use std::collections::{BTreeMap, HashSet};
use std::fs;
use std::io;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context as _, Result};

use super::layout::Layout;
use super::location::Location;
use super::manifest;
use super::names;
use super::record::{FileRecord, SetRecord};
use super::set::Set;
use super::set_id::SetId;
use super::store::Store;
use crate::error::{Error, ErrorKind, kind_of, told};
use crate::shard::ShardPath;
use crate::shard_tar::gzip::Blocks;
pub(crate) use find::where_backups_are;
use found_sets::FoundSets;
pub(crate) use found_sets::UnreadableFile;
pub(super) use open::META_FRAME;

/// The files and sets of a backup directory.
#[derive(Debug)]
pub struct Catalog {
    store: Arc<dyn Store>,
    /// Sizes in bytes by name. Files that an interrupted run gave their names are not among them.
    files: BTreeMap<String, u64>,
    /// Oldest first.
    sets: Vec<Set>,
    /// The names of the legacy files that a record names.
    recorded: HashSet<String>,
    /// The ids of sets whose removal was begun and not ended. Their files are not among the files.
    half_removed: Vec<SetId>,
    /// The records and manifests that could not be read, by their names below the directory.
    damaged: Vec<String>,
    /// What stands under a name and is no file of a backup, in a few words.
    others: BTreeMap<String, &'static str>,
    /// Whether a file was gone that was there when the directory was read.
    vanished: AtomicBool,
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
    /// Where its blocks are, if that was recorded of a compressed one.
    pub blocks: Option<Arc<Blocks>>,
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
    pub fn read(location: impl Into<Location>) -> Result<Self> {
        match Self::read_past_all(&location.into())? {
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
        location: &Location,
        set: Option<&str>,
        warn: &mut dyn FnMut(&str),
    ) -> Result<Self> {
        if matches!(set, None | Some("latest")) {
            return Self::read(location);
        }
        let (catalog, damaged) = Self::read_past_damage(location)?;
        for UnreadableFile { file, error } in damaged {
            warn(&format!("{file} is passed over: {}", told(&error)));
        }
        Ok(catalog)
    }

    /// As [`Catalog::read`], but goes on without what is damaged, which it gives too.
    ///
    /// # Errors
    ///
    /// Those of [`Catalog::read`], but for damage.
    pub(crate) fn read_past_damage(
        location: impl Into<Location>,
    ) -> Result<(Self, Vec<UnreadableFile>)> {
        let (catalog, mut unreadable) = Self::read_past_all(&location.into())?;
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
    pub(crate) fn read_past_all(location: &Location) -> Result<(Self, Vec<UnreadableFile>)> {
        if let Some(path) = location.directory() {
            match fs::metadata(path) {
                Ok(found) if found.is_dir() => {}
                Err(error) if !is_absence(&error) => {
                    return Err(error).with_context(|| format!("reading {}", path.display()));
                }
                _ => return Err(no_directory(path).into()),
            }
        }
        Self::of(location.store()?)
    }

    /// As [`Catalog::read_past_all`], of any store.
    pub(super) fn of(store: Arc<dyn Store>) -> Result<(Self, Vec<UnreadableFile>)> {
        let FoundSets {
            sets,
            files,
            half_removed,
            others,
            unreadable,
        } = FoundSets::read(&*store)?;
        let records = sets.iter().filter_map(Set::record);
        let legacy = records.filter(|record| record.layout == Layout::Legacy);
        let recorded = legacy.flat_map(SetRecord::files);
        let recorded = recorded.map(|file| file.name.clone()).collect();
        let catalog = Self {
            store,
            files,
            recorded,
            sets,
            half_removed,
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
        let pinned = match self.sets.iter().any(|set| set.pin.is_some()) {
            true => " (after snap keep -release where a set is marked)",
            false => "",
        };
        let fault = ErrorKind::Damage.error(format!("{directory} has {of}, but none of the files"));
        Some(fault.hint(format!(
            "if the files were removed on purpose, remove the records too: snap forget -lost \
             {directory}{pinned}"
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

    /// The file of a shard in the set at `at`, where it is there.
    pub(crate) fn file_of(&self, at: usize, shard: &ShardPath) -> Option<BackupFile> {
        let set = &self.sets[at];
        let name = set.name_of(shard)?;
        // A set with a record may have the same number, or share the file of one that had it.
        if set.is_loose() && self.recorded.contains(&name) {
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
            blocks: None,
            set: at,
        }
    }

    /// A file that was recorded of the set at `at`, and has `size` bytes.
    pub(crate) fn recorded_file(&self, at: usize, file: &FileRecord, size: u64) -> BackupFile {
        BackupFile {
            blocks: file.blocks.clone(),
            ..self.backup_file(at, file.name.clone(), size)
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
}

/// Whether an error says that there is no such file: where a folder above must not be looked into,
/// nobody knows.
fn is_absence(error: &io::Error) -> bool {
    use io::ErrorKind::{NotADirectory, NotFound};
    matches!(error.kind(), NotFound | NotADirectory)
}

/// That there is no such directory; a set's name in its place is the usual mistake.
fn no_directory(path: &std::path::Path) -> Error {
    let fault =
        ErrorKind::NoBackup.error(format!("there is no backup directory {}", path.display()));
    if let Some(name) = path.to_str().filter(|name| is_set_name(name)) {
        return fault.hint(format!(
            "'{name}' names a set: write PATH, the backup directory, before it"
        ));
    }
    if let Some((place, set)) = set_in(path) {
        return fault.hint(format!(
            "a set is a word of its own: {place} {set}; snap diff alone takes {place}::{set}"
        ));
    }
    match path.exists() {
        true => ErrorKind::NoBackup
            .error(format!("{} is a file, not a directory", path.display()))
            .hint("PATH is the directory that the backup was written into"),
        false => fault.hint("name it as PATH or in SNAP_DIR; without either it is ./backup"),
    }
}

/// The directory and the set that are meant by PATH:SET and PATH::SET.
fn set_in(path: &std::path::Path) -> Option<(&str, &str)> {
    let (place, set) = path.to_str()?.rsplit_once(':')?;
    let place = place.trim_end_matches(':');
    (is_set_name(set) && !place.is_empty()).then_some((place, set))
}

/// Whether a word can only be meant as a set: `latest`, or an id from its day on, as
/// `20261120T0800`.
pub(crate) fn is_set_name(word: &str) -> bool {
    let day_and_time = word.split_once('T');
    let is_id = day_and_time.is_some_and(|(day, time)| {
        let is_number = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        day.len() == 8 && is_number(day) && is_number(time.trim_end_matches('Z'))
    });
    word == "latest" || is_id
}

#[cfg(test)]
mod tests;
