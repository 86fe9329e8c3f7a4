//! The files that a shard is put together from, read where they lie in the backup, or where they
//! were unpacked.

use std::collections::BTreeMap;
use std::fs::File;
use std::io;
use std::path::Path;

use anyhow::{Context, Result};

use super::checked_shard::ShardFiles;
use crate::cancel::Cancel;
use crate::io::read_at::ReadAt;
use crate::io::scratch::scratch_fault;
use crate::ops::members::{MemberReader, at_offset, read_deletes};
use crate::repository::{BackupFile, Catalog};
use crate::shard::ShardPath;
use crate::tsm::tombstone::BoundedDeletes;
use crate::tsm::tombstone::TombstoneEnding;
use crate::tsm::{is_tombstone, stem};

/// The files of a shard in its backup.
pub(crate) struct ShardMembers<'a> {
    /// The backup.
    pub catalog: &'a Catalog,
    /// What the shard is called in it.
    pub shard: &'a ShardPath,
    /// The tars it is put together from, oldest first.
    pub sources: &'a [BackupFile],
    /// The files, and which tar each comes from.
    pub files: &'a ShardFiles,
    /// The directory into which they were unpacked, if they were.
    pub unpacked: Option<&'a Path>,
    /// Where files without a name are made.
    pub scratch: &'a Path,
    /// Ends the reading.
    pub stop: &'a Cancel,
}

/// One of them.
pub(crate) struct ShardMember<'a> {
    pub name: &'a str,
    pub content: &'a dyn ReadAt,
}

impl ShardMembers<'_> {
    /// Hands the files that are wanted to `each`, with the number of their tar.
    ///
    /// # Errors
    ///
    /// Those of reading, and the first of `each`.
    pub(super) fn each(
        &self,
        wants: impl Fn(&str) -> bool,
        mut each: impl FnMut(usize, &ShardMember<'_>) -> io::Result<()>,
    ) -> Result<()> {
        for (source, file) in self.sources.iter().enumerate() {
            let wanted = |name: &str| {
                wants(name)
                    && self
                        .files
                        .get(name)
                        .is_some_and(|file| file.source == source)
            };
            if self.files.iter().any(|(name, _)| wanted(name)) {
                let reading = || format!("reading {}", self.catalog.place_of(&file.name));
                let each = |passed: &ShardMember<'_>| each(source, passed);
                let outcome = match self.unpacked {
                    None => self.each_of(file, wanted, each),
                    Some(directory) => self.each_unpacked(directory, wanted, each),
                };
                outcome.with_context(reading).map_err(|error| {
                    match scratch_fault(error.as_ref()) {
                        Some(fault) => fault.into(),
                        None => error,
                    }
                })?;
            }
        }
        Ok(())
    }

    /// Hands the files of one tar that are wanted to `each`.
    fn each_of(
        &self,
        file: &BackupFile,
        wanted: impl Fn(&str) -> bool,
        mut each: impl FnMut(&ShardMember<'_>) -> io::Result<()>,
    ) -> Result<()> {
        let tar = self.catalog.open(file, |file| file)?;
        let mut members = MemberReader::open(tar, self.scratch, self.shard, self.stop)?;
        while let Some(member) = members.next_member().map_err(io::Error::from)? {
            if member.directory || !wanted(&member.name) {
                continue;
            }
            self.stop.check()?;
            let content = members.content().map_err(io::Error::from)?;
            let passed = ShardMember {
                name: &member.name,
                content: &content.bytes,
            };
            each(&passed).map_err(|error| at_offset(members.offset(), error))?;
        }
        members.finish().map_err(io::Error::from)?;
        Ok(())
    }

    /// Hands the files that are wanted to `each` out of the directory they were unpacked into.
    fn each_unpacked(
        &self,
        directory: &Path,
        wanted: impl Fn(&str) -> bool,
        mut each: impl FnMut(&ShardMember<'_>) -> io::Result<()>,
    ) -> Result<()> {
        for (name, _) in self.files.iter().filter(|(name, _)| wanted(name)) {
            self.stop.check()?;
            let content = File::open(directory.join(name)).with_context(|| name.to_owned())?;
            each(&ShardMember {
                name,
                content: &content,
            })?;
        }
        Ok(())
    }

    /// What was deleted of each TSM file that has a tombstone, by the name they have in common.
    ///
    /// # Errors
    ///
    /// When a tombstone cannot be read whole.
    pub(super) fn deletes(&self) -> Result<BTreeMap<String, BoundedDeletes>> {
        let mut all = BTreeMap::new();
        self.each(is_tombstone, |_, passed| {
            let name = passed.name;
            let (deletes, ending) = read_deletes(name, passed.content, self.scratch)?;
            if ending == TombstoneEnding::Torn {
                return Err(io::Error::other(format!("{name} breaks off")));
            }
            if !deletes.is_empty() {
                all.insert(stem(name).to_owned(), deletes);
            }
            Ok(())
        })?;
        Ok(all)
    }
}
