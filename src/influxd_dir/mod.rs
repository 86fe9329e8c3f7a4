//! The directories of an influxd that does not run: `meta.db`, and `data/<db>/<rp>/<id>` with the WAL beside it.
//!
//! What is said of their layout was observed on influxd 1.6.7 and read in the sources of 1.0 to 1.12.

mod folder;
mod in_use;
mod meta_db;
mod shards;
mod wal;

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use rustix::fs::{Mode, OFlags};

use crate::error::{Error, ErrorKind};
use crate::io::open::open_regular;
use crate::shard::ShardPath;

pub use in_use::{USAGE_ADVICE, open_file_below, running_on};
pub use meta_db::LocalMeta;
pub use shards::{LocalShards, SNAPSHOTS};
pub use wal::Wal;

/// The directory of a shard below a data or WAL directory.
pub fn shard_dir(below: &Path, shard: &ShardPath) -> PathBuf {
    below
        .join(&shard.database)
        .join(&shard.retention_policy)
        .join(shard.id.to_string())
}

/// The WAL directory as named, else `wal` beside the data directory, where influxd's own layout has it, if there is one.
pub fn wal_dir(named: Option<&Path>, datadir: &Path) -> Option<PathBuf> {
    named.map(Path::to_owned).or_else(|| {
        // Of `.` the path itself does not tell what is above it.
        let real = fs::canonicalize(datadir)
            .or_else(|_| std::path::absolute(datadir))
            .ok()?;
        let sibling = real.parent()?.join("wal");
        sibling.is_dir().then_some(sibling)
    })
}

/// The shards below a data directory, by their directories. Hidden folders are no databases.
pub fn shards_below(datadir: &Path) -> Vec<ShardPath> {
    let names = |directory: &Path| -> Vec<String> {
        let entries = fs::read_dir(directory).into_iter().flatten().flatten();
        let directories = entries.filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()));
        directories
            .filter_map(|entry| entry.file_name().into_string().ok())
            .collect()
    };
    let mut shards = Vec::new();
    for database in names(datadir)
        .into_iter()
        .filter(|name| !name.starts_with(".snap-"))
    {
        // `_series` is the database's series file.
        for retention_policy in names(&datadir.join(&database))
            .into_iter()
            .filter(|name| name != "_series")
        {
            for id in names(&datadir.join(&database).join(&retention_policy)) {
                if let Ok(id) = id.parse() {
                    let (database, retention_policy) = (database.clone(), retention_policy.clone());
                    shards.push(ShardPath {
                        database,
                        retention_policy,
                        id,
                    });
                }
            }
        }
    }
    shards
}

/// Whether the shards below a data directory have tsi1 indexes. A shard has one where it has a directory `index`; an empty
/// one makes influxd (1.5 and later) build it from the TSM files at its next start.
pub fn uses_tsi1(datadir: &Path) -> bool {
    shards_below(datadir)
        .iter()
        .any(|shard| shard_dir(datadir, shard).join("index").is_dir())
}

/// Refuses a name that is no single directory name, or one of our own folders': servers 1.0 and 1.1, and the import of all,
/// check none.
///
/// # Errors
///
/// [`ErrorKind::Refused`] with the name.
pub fn refuse_leading_outside(name: &str) -> Result<(), Error> {
    if matches!(name, "" | "." | "..")
        || name.contains(['/', '\\', '\0'])
        || name.starts_with(".snap-")
    {
        return Err(ErrorKind::Refused
            .error(format!("'{name}' cannot be the name of a directory here"))
            .hint("give it another name with -newdb or -newrp"));
    }
    Ok(())
}

/// The path itself or the nearest directory above it that exists.
pub fn nearest_existing(path: &Path) -> PathBuf {
    let nearest = path.ancestors().find(|ancestor| ancestor.is_dir());
    nearest
        .filter(|ancestor| !ancestor.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
        .to_owned()
}

/// Whose new files are to be and who may read them, taken from the directory they go to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ownership {
    /// User and group, where this process may give files away.
    pub owner: Option<(u32, u32)>,
    /// Permission bits of directories.
    pub directory_mode: u32,
    /// Permission bits of files.
    pub file_mode: u32,
}

impl Ownership {
    /// That of files below `target`: owner and mode of the directory, or, where it does not exist, the owner of the nearest
    /// one above it and a mode for the owner alone.
    ///
    /// # Errors
    ///
    /// When the directory cannot be looked at.
    pub fn below(target: &Path) -> Result<Self> {
        let there = nearest_existing(target);
        let metadata =
            fs::metadata(&there).with_context(|| format!("reading {}", there.display()))?;
        let mode = if there == target {
            metadata.permissions().mode() & 0o777
        } else {
            0o700
        };
        let root = rustix::process::geteuid().is_root();
        Ok(Self {
            owner: root.then(|| (metadata.uid(), metadata.gid())),
            directory_mode: mode | 0o700,
            file_mode: mode & 0o666 | 0o600,
        })
    }

    /// Gives a file or directory these owners and mode. What has the name by then and is a link, or of another kind, is refused:
    /// whoever may write in its directory could have put it there to be given another's file.
    ///
    /// # Errors
    ///
    /// Those of the system, and of [`open_regular`].
    pub fn apply(&self, path: &Path, directory: bool) -> io::Result<()> {
        let opened = if directory {
            let flags = OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            File::from(rustix::fs::open(path, flags, Mode::empty())?)
        } else {
            open_regular(path)?
        };
        self.give(&opened, directory)
    }

    /// As [`Ownership::apply`], to an open one.
    ///
    /// # Errors
    ///
    /// Those of the system.
    pub fn give(&self, opened: &File, directory: bool) -> io::Result<()> {
        let mode = if directory {
            self.directory_mode
        } else {
            self.file_mode
        };
        opened.set_permissions(fs::Permissions::from_mode(mode))?;
        match self.owner {
            Some((user, group)) => std::os::unix::fs::fchown(opened, Some(user), Some(group)),
            None => Ok(()),
        }
    }

    /// Makes a directory and those above it; those it made get owner and mode.
    ///
    /// # Errors
    ///
    /// When one cannot be made.
    pub fn create_dirs(&self, path: &Path) -> Result<()> {
        let absent: Vec<&Path> = path
            .ancestors()
            .take_while(|ancestor| !ancestor.as_os_str().is_empty() && !ancestor.exists())
            .collect();
        for directory in absent.into_iter().rev() {
            match DirBuilder::new().mode(0o700).create(directory) {
                // Made meanwhile, by another thread or by somebody else: theirs to look after.
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => continue,
                made => made.with_context(|| format!("creating {}", directory.display()))?,
            }
            self.apply(directory, true)
                .with_context(|| format!("setting owner and mode of {}", directory.display()))?;
        }
        Ok(())
    }
}
