//! Where influxd keeps what.

use std::fs::{self, Metadata};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::error::{Error, ErrorKind};
use crate::io::is_own;
use crate::shard::ShardPath;

/// The directory of a shard below a data or WAL directory.
pub fn shard_dir(below: &Path, shard: &ShardPath) -> PathBuf {
    below
        .join(&*shard.database)
        .join(&*shard.retention_policy)
        .join(shard.id.to_string())
}

/// Makes sure that the metastore and the data directory of an influxd are there.
///
/// # Errors
///
/// Of that kind where one is not; when the system does not let it be looked at.
pub(crate) fn ensure_there(metadir: &Path, datadir: &Path, kind: ErrorKind) -> Result<()> {
    ensure_metastore_there(metadir, kind)?;
    ensure_data_there(datadir, kind)
}

pub(super) fn ensure_metastore_there(metadir: &Path, kind: ErrorKind) -> Result<()> {
    let advice = "name the meta directory of an influxd; one that is to be restored into is made by \
                  starting influxd once";
    ensure_one_there(
        &metadir.join("meta.db"),
        "there is no metastore",
        advice,
        kind,
    )
}

pub(super) fn ensure_data_there(datadir: &Path, kind: ErrorKind) -> Result<()> {
    let advice = "name the data directory of an influxd";
    ensure_one_there(datadir, "there is no data directory", advice, kind)
}

fn ensure_one_there(path: &Path, absent: &str, advice: &str, kind: ErrorKind) -> Result<()> {
    let is_there = path.try_exists();
    match is_there.with_context(|| format!("reading {}", path.display()))? {
        true => Ok(()),
        false => Err(kind
            .error(format!("{absent} {}", path.display()))
            .hint(advice)
            .into()),
    }
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

/// Whether a directory is the data directory of an influxd: a shard in it has a TSM file.
pub(crate) fn is_data_dir(path: &Path) -> bool {
    let is_tsm = |entry: fs::DirEntry| entry.path().extension().is_some_and(|of| of == "tsm");
    let has_tsm = |shard: &ShardPath| {
        let entries = fs::read_dir(shard_dir(path, shard)).into_iter().flatten();
        entries.flatten().any(is_tsm)
    };
    shards_below(path).iter().any(has_tsm)
}

/// The shards below a data directory, by their directories, as far as these can be read. Hidden
/// folders are no databases.
pub(crate) fn shards_below(datadir: &Path) -> Vec<ShardPath> {
    walk_shards(datadir, &mut |_, _| {})
}

/// The same, where none may be missed.
///
/// # Errors
///
/// When a directory cannot be read, or has a name that is no text.
pub(crate) fn all_shards_below(datadir: &Path) -> Result<Vec<ShardPath>> {
    let mut failed = None;
    let shards = walk_shards(datadir, &mut |path, error| {
        let context = || format!("reading {}", path.display());
        failed.get_or_insert_with(|| anyhow::Error::from(error).context(context()));
    });
    failed.map_or(Ok(shards), Err)
}

/// Walks the directories of shards, and tells of what cannot be read.
fn walk_shards(datadir: &Path, failed: &mut dyn FnMut(&Path, io::Error)) -> Vec<ShardPath> {
    let mut shards = Vec::new();
    let databases = directories_in(datadir, failed).into_iter();
    for database in databases.filter(|name| !is_own(name)) {
        // `_series` is the database's series file.
        let policies = directories_in(&datadir.join(&database), failed).into_iter();
        for retention_policy in policies.filter(|name| name != "_series") {
            let policy = datadir.join(&database).join(&retention_policy);
            for id in directories_in(&policy, failed) {
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

/// The names of the directories in a directory. influxd does not follow links there.
fn directories_in(directory: &Path, failed: &mut dyn FnMut(&Path, io::Error)) -> Vec<String> {
    let entries = match fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) => {
            failed(directory, error);
            return Vec::new();
        }
    };
    let mut names = Vec::new();
    for entry in entries {
        match entry.and_then(|entry| Ok((entry.file_type()?, entry.file_name()))) {
            Ok((kind, name)) if kind.is_dir() => match name.into_string() {
                Ok(name) => names.push(name),
                Err(name) => failed(&directory.join(name), io::ErrorKind::InvalidFilename.into()),
            },
            Ok(_) => {}
            Err(error) => failed(directory, error),
        }
    }
    names
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
    if matches!(name, "" | "." | "..") || name.contains(['/', '\\', '\0']) || is_own(name) {
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

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn where_no_shard_may_be_missed_a_name_that_is_no_text_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let make = |path: &[u8]| {
            fs::create_dir_all(folder.path().join(OsStr::from_bytes(path))).unwrap();
        };
        for path in [
            "db/rp/7",
            "db/rp/index",
            "db/_series/00",
            ".snap-serve/rp/8",
        ] {
            make(path.as_bytes());
        }
        let names = |shards: Vec<ShardPath>| -> Vec<String> {
            shards.iter().map(ShardPath::to_string).collect()
        };
        assert_eq!(names(all_shards_below(folder.path()).unwrap()), ["db/rp/7"]);
        make(b"d\xff/rp/9");
        assert!(all_shards_below(folder.path()).is_err());
        assert_eq!(names(shards_below(folder.path())), ["db/rp/7"]);
    }
}
