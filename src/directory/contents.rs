//! Reading a backup directory, whoever wrote it.

use std::collections::{BTreeMap, HashSet};
use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::BufReader;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use super::{RECORD_FORMAT, SetRecord, ShardRecord, hidden};
use crate::error::Class;
use crate::format::names;
use crate::wire::ShardPath;

/// The files and records of a backup directory.
#[derive(Debug)]
pub struct Contents {
    path: PathBuf,
    /// Sizes in bytes by name. Files that an interrupted run gave their names are not among them.
    files: BTreeMap<String, u64>,
    /// Oldest first.
    records: Vec<SetRecord>,
    /// Where in `records` a file is described: the set, and the shard unless it is the meta store.
    described: BTreeMap<String, (usize, Option<usize>)>,
}

/// A file of a backup.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupFile {
    /// Its name in the directory.
    pub name: String,
    /// The number at the name's end.
    pub number: u32,
    /// Bytes.
    pub size: u64,
}

impl Contents {
    /// Lists the directory and reads its records.
    ///
    /// # Errors
    ///
    /// [`Class::NoBackup`] where there is no such directory; [`Class::Damage`] for a record that cannot be read.
    pub fn read(path: &Path) -> Result<Self> {
        if !path.is_dir() {
            return Err(Class::NoBackup
                .error(format!("there is no backup directory {}", path.display()))
                .hint("name it as PATH or in SNAP_DIR; without either it is ./backup")
                .into());
        }
        let mut files = BTreeMap::new();
        for entry in fs::read_dir(path).with_context(|| format!("reading {}", path.display()))? {
            let entry = entry.with_context(|| format!("reading {}", path.display()))?;
            let metadata = entry.metadata().with_context(|| format!("reading {}", entry.path().display()))?;
            if let (true, Ok(name)) = (metadata.is_file(), entry.file_name().into_string()) {
                files.insert(name, metadata.len());
            }
        }
        let mut records = Vec::new();
        let mut unfinished = Vec::new();
        let hidden = hidden(path);
        if hidden.is_dir() {
            for entry in fs::read_dir(&hidden).with_context(|| format!("reading {}", hidden.display()))? {
                let file = entry.with_context(|| format!("reading {}", hidden.display()))?.path();
                match file.extension().and_then(OsStr::to_str) {
                    Some("json") => records.push(read_record(&file)?),
                    Some("commit") if !file.with_extension("json").exists() => unfinished.extend(read_record(&file).ok()),
                    _ => {}
                }
            }
        }
        let recorded: HashSet<&str> = records.iter().flat_map(SetRecord::files).map(|file| file.name.as_str()).collect();
        for file in unfinished.iter().flat_map(SetRecord::files) {
            if files.get(&file.name) == Some(&file.size) && !recorded.contains(file.name.as_str()) {
                files.remove(&file.name);
            }
        }
        // By number first: a clock can go backwards.
        records.sort_by(|a, b| (a.number, &a.id).cmp(&(b.number, &b.id)));
        let mut described = BTreeMap::new();
        for (set, record) in records.iter().enumerate() {
            described.insert(record.meta.name.clone(), (set, None));
            for (index, shard) in record.shards.iter().enumerate() {
                if let Some(file) = &shard.file {
                    described.insert(file.name.clone(), (set, Some(index)));
                }
            }
        }
        Ok(Self { path: path.to_owned(), files, records, described })
    }

    /// The directory.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The path of a file in the directory.
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// The meta store with the highest number, by number, not by name.
    pub fn newest_meta(&self) -> Option<BackupFile> {
        let metas = self
            .files
            .iter()
            .filter_map(|(name, size)| Some(BackupFile { name: name.clone(), number: names::meta_number(name)?, size: *size }));
        metas.max_by_key(|file| file.number)
    }

    /// The files of a shard, lowest number first.
    pub fn files_of(&self, shard: &ShardPath) -> Vec<BackupFile> {
        let prefix = format!("{}.", names::shard_stem(shard));
        let mut files: Vec<BackupFile> = self
            .files
            .range(prefix.clone()..)
            .take_while(|(name, _)| name.starts_with(&prefix))
            .filter_map(|(name, size)| {
                let (stem, number) = names::split_number(name)?;
                (stem.len() + 1 == prefix.len()).then(|| BackupFile { name: name.clone(), number, size: *size })
            })
            .collect();
        files.sort_by_key(|file| file.number);
        files
    }

    /// The names of all files that look like a shard's.
    pub fn shard_files(&self) -> impl Iterator<Item = &str> {
        let is_shard = |name: &&str| names::split_number(name).is_some_and(|(stem, _)| stem != "meta" && names::is_stem(stem));
        self.files.keys().map(String::as_str).filter(is_shard)
    }

    /// Whether there are files of influxd's portable layout.
    pub fn has_portable(&self) -> bool {
        self.files.keys().any(|name| name.ends_with(".manifest"))
    }

    /// The set that describes a file, where one does.
    pub fn set_of(&self, name: &str) -> Option<&SetRecord> {
        self.described.get(name).map(|(set, _)| &self.records[*set])
    }

    /// The set and shard that describe a shard's file, where there are.
    pub fn shard_record_of(&self, name: &str) -> Option<(&SetRecord, &ShardRecord)> {
        let (set, shard) = self.described.get(name)?;
        let record = &self.records[*set];
        Some((record, record.shards.get((*shard)?)?))
    }

    /// The sets with a record, oldest first.
    pub fn records(&self) -> &[SetRecord] {
        &self.records
    }
}

pub(super) fn read_record(path: &Path) -> Result<SetRecord> {
    let open = || File::open(path).map(BufReader::new).with_context(|| format!("reading {}", path.display()));
    let damaged = || Class::Damage.error(format!("the record {} is damaged", path.display()));
    #[derive(serde::Deserialize)]
    struct Form {
        format: u32,
    }
    let form: Form = serde_json::from_reader(open()?).with_context(damaged)?;
    if form.format > RECORD_FORMAT {
        bail!("the record {} was written by a newer snap (format {})", path.display(), form.format);
    }
    let record: SetRecord = serde_json::from_reader(open()?).with_context(damaged)?;
    if !record.has_sound_names() {
        return Err(damaged().into());
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_found_by_what_their_names_must_be_and_ordered_by_number() {
        let directory = tempfile::tempdir().unwrap();
        for name in [
            "meta.00",
            "meta.99",
            "meta.100",
            "meta.101.pending",
            "meta.autogen.00039.00",
            "a.autogen.00010.00",
            "a.autogen.00010.100",
            "a.autogen.00010.11",
            "a.autogen.00010.12.pending",
            "a.autogen.000101.00",
            "a.b.autogen.00010.00",
            "a.autogen.00001.00",
        ] {
            fs::write(directory.path().join(name), name).unwrap();
        }
        let contents = Contents::read(directory.path()).unwrap();
        assert_eq!(contents.newest_meta().unwrap().name, "meta.100");
        let shard = |database: &str, id| ShardPath { database: database.into(), retention_policy: "autogen".into(), id };
        let names = |shard| contents.files_of(&shard).into_iter().map(|file| file.name).collect::<Vec<_>>();
        assert_eq!(names(shard("a", 10)), ["a.autogen.00010.00", "a.autogen.00010.11", "a.autogen.00010.100"]);
        assert_eq!(names(shard("a.b", 10)), ["a.b.autogen.00010.00"]);
        assert_eq!(names(shard("meta", 39)), ["meta.autogen.00039.00"]);
        assert_eq!(names(shard("a", 100)), [""; 0]);
    }
}
