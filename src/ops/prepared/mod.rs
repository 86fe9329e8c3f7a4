//! Shards made ready to be read, series by series: their files lie where they can be read at any
//! offset, whether they come out of a set ([`set`]), from a server ([`server`]) or are those of a
//! stopped one ([`directory`]).

mod directory;
mod server;
mod set;
mod told;

use std::fs::File;
use std::path::{Path, PathBuf};
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::Shortfall;
use crate::io::open::open_regular;
use crate::io::read_at::FromStart;
use crate::io::scratch::{is_of_system, scratch_dir, scratch_fault};
use crate::shard::ShardPath;
use crate::tsm::filter::NewTypes;
use crate::tsm::points::PointsFile;
use crate::tsm::tombstone::{BoundedDeletes, TombstoneEnding};
use crate::tsm::tombstone_of;

pub(super) use directory::prepare as from_directory;
pub(super) use server::{FLUSH_TIMEOUT, prepare as from_server};
pub(super) use set::prepare as from_set;
pub(super) use told::Told;

/// What came of making a shard ready to be read.
pub(super) enum Prepared {
    Whole(PreparedShard),
    /// It could not be had.
    Missing(Shortfall),
    /// It was deleted meanwhile.
    Gone,
}

/// A shard whose files can be read.
pub(super) struct PreparedShard {
    pub name: ShardPath,
    pub files: Vec<PreparedFile>,
    /// The fields that have a type of which alone their values are exported.
    pub new_types: NewTypes,
    /// What of it is damaged; of tombstones, where that was looked at.
    pub told: Vec<String>,
    pub are_tombstones_told: bool,
    pub started: Instant,
    /// Keeps the files.
    pub _guard: Box<dyn Send>,
}

/// A TSM file.
pub(super) struct PreparedFile {
    pub name: String,
    pub path: PathBuf,
    /// The file that says what was deleted of it.
    pub tombstone: Option<PathBuf>,
}

/// A TSM file that is read.
pub(super) struct OpenFile<'a> {
    pub name: &'a str,
    pub content: File,
    pub deletes: BoundedDeletes,
}

impl PreparedFile {
    /// The TSM files among those with these names; `path_of` finds where a file is, if there is one
    /// of that name.
    fn among<'n>(
        names: impl Iterator<Item = &'n str>,
        path_of: impl Fn(&str) -> Option<PathBuf>,
    ) -> Vec<Self> {
        let names = names.filter(|name| name.ends_with(".tsm"));
        let files = names.filter_map(|name| {
            Some(Self {
                name: name.to_owned(),
                path: path_of(name)?,
                tombstone: path_of(&tombstone_of(name)),
            })
        });
        files.collect()
    }
}

impl OpenFile<'_> {
    /// The file under a name, which says which others come later.
    pub(super) fn named<'f>(&'f self, name: &'f str) -> PointsFile<'f> {
        PointsFile {
            name,
            content: &self.content,
            deletes: &self.deletes,
        }
    }
}

impl PreparedShard {
    /// Opens its files, and reads what was deleted of them. They may lie in another user's
    /// directory, who could have put anything in their place since they were looked at.
    ///
    /// # Errors
    ///
    /// When they cannot be read.
    pub(super) fn open(&self, told: &mut Told) -> Result<Vec<OpenFile<'_>>> {
        let files = self.files.iter().map(|file| {
            let path = &file.path;
            let content =
                open_regular(path).with_context(|| format!("opening {}", path.display()))?;
            let deletes = match &file.tombstone {
                Some(path) => self.deletes(path, told)?,
                None => BoundedDeletes::default(),
            };
            let name = &file.name;
            Ok(OpenFile {
                name,
                content,
                deletes,
            })
        });
        files.collect()
    }

    /// What a tombstone file says, as far as it can be read.
    fn deletes(&self, path: &Path, told: &mut Told) -> Result<BoundedDeletes> {
        let name = path.file_name().unwrap_or_default().display();
        let file = open_regular(path).with_context(|| format!("opening {}", path.display()))?;
        let (deletes, fault) = match BoundedDeletes::read(FromStart::new(&file), &scratch_dir()) {
            Ok((deletes, TombstoneEnding::Clean)) => return Ok(deletes),
            Ok((deletes, TombstoneEnding::Torn)) => (deletes, format!("{name} breaks off")),
            Err(error) if is_of_system(&error) => {
                let fault = scratch_fault(&error).map(anyhow::Error::new);
                return Err(fault.unwrap_or_else(|| error.into()));
            }
            Err(error) => {
                let fault = format!("{name} is no tombstone file: {error}");
                (BoundedDeletes::default(), fault)
            }
        };
        let effect = "points that were deleted may be among those read";
        told.add(match self.are_tombstones_told {
            true => format!("{name}: {effect}"),
            false => format!("{fault}; {effect}"),
        });
        Ok(deletes)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn no_link_is_followed_that_came_in_the_place_of_a_file_since_it_was_looked_at() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        std::fs::write(at("precious"), "").unwrap();
        std::fs::write(at("1-1.tsm"), "").unwrap();
        symlink(at("precious"), at("1-1.tombstone")).unwrap();
        symlink(at("precious"), at("2-1.tsm")).unwrap();
        let shard = |name: &str| PreparedShard {
            name: ShardPath {
                database: "db".into(),
                retention_policy: "rp".into(),
                id: 1,
            },
            files: PreparedFile::among([name].into_iter(), |name| {
                Some(at(name)).filter(|path| path.is_symlink() || path.exists())
            }),
            new_types: NewTypes::new(),
            told: Vec::new(),
            are_tombstones_told: false,
            started: Instant::now(),
            _guard: Box::new(()),
        };
        let refused = |name: &str, of: &str| {
            let error = shard(name).open(&mut Told::default()).err().unwrap();
            let error = format!("{error:#}");
            assert!(
                error.contains(&format!("{}: it is a link", at(of).display())),
                "{error}"
            );
        };
        refused("1-1.tsm", "1-1.tombstone");
        refused("2-1.tsm", "2-1.tsm");
        std::fs::remove_file(at("1-1.tombstone")).unwrap();
        assert_eq!(
            shard("1-1.tsm").open(&mut Told::default()).unwrap().len(),
            1
        );
    }
}
