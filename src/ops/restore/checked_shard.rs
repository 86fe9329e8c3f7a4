//! A shard whose files were read and found whole, and which file of it comes from which tar.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Display;
use std::io::{self, Read};
use std::sync::Arc;

use anyhow::{Result, ensure};

use crate::cancel::Cancel;
use crate::repository::BackupFile;
use crate::shard::ShardPath;
use crate::shard_tar::ShardTarReader;
use crate::sizes::total;
use crate::time::Bounds;
use crate::tsm::filter::NewTypes;
use crate::tsm::sought_series::SoughtSeries;
use crate::tsm::{is_tombstone, tombstone_of};

/// Bytes read at a time.
const CHUNK: usize = 256 << 10;

/// A shard whose files were read and found whole.
pub(crate) struct CheckedShard {
    /// What it is called in the backup.
    pub source: ShardPath,
    /// What it is called in the target.
    pub target: ShardPath,
    /// The tars it is put together from, oldest first.
    pub sources: Vec<BackupFile>,
    /// What the shard's directory will hold.
    pub files: ShardFiles,
    /// The times of the points that are restored, where the shard can have others.
    pub time_range: Option<Bounds>,
    /// The series that are restored.
    pub series: Arc<SoughtSeries>,
    /// The fields of which only values of one type are restored.
    pub new_types: NewTypes,
    /// A sentence about fields of which the files disagree.
    pub undecided: Option<String>,
    /// The TSM files of which damaged blocks are left out.
    pub damaged: BTreeSet<String>,
    /// The first and the last time of its group, in nanoseconds since 1970.
    pub group: (i64, i64),
}

/// Files by name. There may be many shards with a few files each, so this is small where a tree is
/// not.
pub(crate) struct ShardFiles(Box<[(Box<str>, ShardFile)]>);

impl ShardFiles {
    pub(super) fn of(files: BTreeMap<String, ShardFile>) -> Self {
        Self(
            files
                .into_iter()
                .map(|(name, file)| (name.into_boxed_str(), file))
                .collect(),
        )
    }

    /// Files of these names.
    #[cfg(test)]
    pub(super) fn of_test(names: &[&str]) -> Self {
        let file = ShardFile {
            source: 0,
            size: 1,
            crc: 0,
        };
        let files = names.iter().map(|name| ((*name).to_owned(), file));
        Self::of(files.collect())
    }

    pub(in crate::ops) fn get(&self, name: &str) -> Option<&ShardFile> {
        let at = self
            .0
            .binary_search_by(|(known, _)| known.as_ref().cmp(name))
            .ok()?;
        Some(&self.0[at].1)
    }

    /// All files with their names, in order of these.
    pub(in crate::ops) fn iter(&self) -> impl Iterator<Item = (&str, &ShardFile)> {
        self.0.iter().map(|(name, file)| (name.as_ref(), file))
    }

    /// Whether some of what is in them was deleted.
    pub(crate) fn have_deletes(&self) -> bool {
        self.iter().any(|(name, _)| is_tombstone(name))
    }

    /// Whether some of what is in this TSM file was deleted.
    pub(crate) fn has_deletes(&self, name: &str) -> bool {
        self.get(&tombstone_of(name)).is_some()
    }
}

/// A file that a shard's directory will hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ShardFile {
    /// Which of the sources it comes from.
    pub source: usize,
    /// Bytes.
    pub size: u64,
    /// CRC-32 of its content.
    pub crc: u32,
}

impl ShardFile {
    /// Reads the content of the member of that name once more, piece by piece, and makes sure that
    /// it is what was checked.
    ///
    /// # Errors
    ///
    /// When it is not, those of reading and of `each`, and when a stop was asked for.
    pub(super) fn read_again(
        &self,
        reader: &mut ShardTarReader<impl Read>,
        name: impl Display,
        stop: &Cancel,
        mut each: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> Result<()> {
        let mut crc = crc32fast::Hasher::new();
        let mut buffer = vec![0; CHUNK];
        loop {
            stop.check()?;
            let count = reader.read_content(&mut buffer).map_err(io::Error::from)?;
            if count == 0 {
                break;
            }
            each(&buffer[..count])?;
            crc.update(&buffer[..count]);
        }
        ensure!(
            crc.finalize() == self.crc,
            "{name} is not what was checked a moment ago"
        );
        Ok(())
    }
}

impl CheckedShard {
    /// Bytes of all its files.
    pub(super) fn bytes(&self) -> u64 {
        total(self.files.iter().map(|(_, file)| file.size))
    }

    /// Its TSM files with their sizes in bytes: all that a server takes.
    pub(super) fn tsm_files(&self) -> impl Iterator<Item = (&str, u64)> {
        let files = self.files.iter().map(|(name, file)| (name, file.size));
        files.filter(|(name, _)| name.ends_with(".tsm"))
    }

    /// Whether points of any of its TSM files may be left out, whatever was deleted of that.
    pub(crate) fn is_filtered(&self) -> bool {
        self.time_range.is_some() || !self.series.takes_all() || !self.new_types.is_empty()
    }

    /// Bytes of the largest of its TSM files that are written anew.
    pub(crate) fn largest_rewritten(&self, apply_deletes: bool) -> u64 {
        self.largest_of(|name| {
            self.is_filtered()
                || (apply_deletes && self.files.has_deletes(name))
                || self.damaged.contains(name)
        })
    }

    /// Bytes of the largest of its TSM files.
    pub(crate) fn largest(&self) -> u64 {
        self.largest_of(|_| true)
    }

    fn largest_of(&self, counts: impl Fn(&str) -> bool) -> u64 {
        let files = self.files.iter();
        let counted = files.filter(|(name, _)| name.ends_with(".tsm") && counts(name));
        counted.map(|(_, file)| file.size).max().unwrap_or(0)
    }
}
