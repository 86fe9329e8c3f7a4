//! Where influxd keeps what.

use std::fs::{self, Metadata};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::error::{Error, ErrorKind};
use crate::shard::ShardPath;

/// The directory of a shard below a data or WAL directory.
pub fn shard_dir(below: &Path, shard: &ShardPath) -> PathBuf {
    below
        .join(&*shard.database)
        .join(&*shard.retention_policy)
        .join(shard.id.to_string())
}

/// The WAL directory as named, else `wal` beside the data directory, where influxd's own layout has
/// it, if there is one.
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
pub(crate) fn shards_below(datadir: &Path) -> Vec<ShardPath> {
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
                        database: database.into(),
                        retention_policy: retention_policy.into(),
                        id,
                    });
                }
            }
        }
    }
    shards
}

/// Whether the shards below a data directory have tsi1 indexes. A shard has one where it has a
/// directory `index`; an empty one makes influxd (1.5 and later) build it from the TSM files at its
/// next start.
pub(crate) fn uses_tsi1(datadir: &Path) -> bool {
    shards_below(datadir)
        .iter()
        .any(|shard| shard_dir(datadir, shard).join("index").is_dir())
}

/// Refuses a name that is no single directory name, or one of our own folders': servers 1.0 and
/// 1.1, and the import of all, check none.
///
/// # Errors
///
/// [`ErrorKind::Refused`] with the name.
pub(crate) fn ensure_directory_name(name: &str) -> Result<(), Error> {
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
pub(crate) fn nearest_existing(path: &Path) -> PathBuf {
    let nearest = path.ancestors().find(|ancestor| ancestor.is_dir());
    nearest
        .filter(|ancestor| !ancestor.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
        .to_owned()
}

/// What the system says of a file of a shard, unless it is none: a link could lead anywhere, and a
/// FIFO is read for ever.
pub(super) fn regular_file(path: &Path) -> Result<Metadata> {
    let metadata =
        fs::symlink_metadata(path).with_context(|| format!("reading {}", path.display()))?;
    if metadata.is_file() {
        return Ok(metadata);
    }
    let what = match metadata.is_symlink() {
        true => "a symbolic link, and is not followed",
        false => "not a regular file",
    };
    Err(ErrorKind::Refused
        .error(format!("{} is {what}", path.display()))
        .hint("influxd makes no such file: put the file itself there, or move it away")
        .into())
}
