//! Hidden folders in which shards are prepared, and kept while others take their place; a rename
//! leads out of them to where the shards go.
//!
//! That is the folder in the data (or WAL) directory. Where the directory of a database or of a
//! retention policy lies on another file system, a mount point or a link, there is another folder
//! in that directory. influxd takes none of them for a shard: their names and those in them are no
//! numbers.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};

use super::options::RestoreOptions;
use crate::context::Context;
use crate::influxd_dir::{nearest_existing, shard_dir};
use crate::io::{durable, is_own};
use crate::repository::Lock;
use crate::shard::ShardPath;

/// The folder's name.
pub(crate) const STAGING: &str = ".snap-restore";

/// The name in a hidden folder of the one in which shards are prepared.
pub(super) const PREPARED: &str = "new";

/// The journal's name in the folder of a restore.
const JOURNAL: &str = "journal.json";

/// The hidden folders of a restore, all of them under the lock of the one that has the journal.
pub(crate) struct HiddenFolders<'a> {
    options: &'a RestoreOptions,
    /// The folder with the journal.
    main: PathBuf,
    _lock: Lock,
}

impl<'a> HiddenFolders<'a> {
    /// Claims and locks those of a restore that is prepared in `home`.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Locked`] while another run works there, [`ErrorKind::Refused`] where they are
    /// somebody else's.
    ///
    /// [`ErrorKind::Locked`]: crate::error::ErrorKind::Locked
    /// [`ErrorKind::Refused`]: crate::error::ErrorKind::Refused
    pub(crate) fn claim(
        options: &'a RestoreOptions,
        home: &Path,
        context: Context<'_>,
    ) -> Result<Self> {
        let main = home.join(STAGING);
        durable::claim_private_dir(&main)?;
        let lock = Lock::take(&main.join("lock"), Duration::ZERO, context.cancel)?;
        lock.warnings()
            .iter()
            .for_each(|warning| context.warn(warning));
        Ok(Self {
            options,
            main,
            _lock: lock,
        })
    }

    /// The folder with the journal.
    pub(super) fn main(&self) -> &Path {
        &self.main
    }

    /// Where the journal is.
    pub(super) fn journal(&self) -> PathBuf {
        self.main.join(JOURNAL)
    }

    /// Removes them; that of the journal last, because without it nobody looks for the others.
    ///
    /// # Errors
    ///
    /// When one cannot be removed.
    pub(super) fn remove(&self) -> Result<()> {
        self.remove_others()?;
        durable::remove_tree_if_there(&self.main)
    }

    /// Removes all but that of the journal.
    ///
    /// # Errors
    ///
    /// When one cannot be removed.
    pub(crate) fn remove_others(&self) -> Result<()> {
        let wal = self.options.wal_dir();
        for below in [&self.options.datadir, &wal].into_iter().flatten() {
            remove_inner(below)?;
        }
        wal.map_or(Ok(()), |wal| {
            durable::remove_tree_if_there(&wal.join(STAGING))
        })
    }
}

/// Where each shard is prepared, and what it replaces is kept, by the shard's place in the list of
/// all.
pub(crate) struct ShardStaging(Vec<PathBuf>);

impl ShardStaging {
    /// Below a data directory; in `main` where no shard goes anywhere.
    ///
    /// # Errors
    ///
    /// When the directories cannot be looked at.
    pub(super) fn of<'a>(
        shards: impl Iterator<Item = &'a ShardPath>,
        datadir: Option<&Path>,
        main: &Path,
    ) -> Result<Self> {
        let folders = shards.map(|shard| match datadir {
            Some(datadir) => staging_for(datadir, &shard_dir(datadir, shard)),
            None => Ok(main.to_owned()),
        });
        Ok(Self(folders.collect::<Result<_>>()?))
    }

    /// The hidden folders that are used.
    pub(crate) fn folders(&self) -> BTreeSet<&Path> {
        self.0.iter().map(PathBuf::as_path).collect()
    }

    /// Where a shard is prepared.
    pub(super) fn prepared(&self, index: usize) -> PathBuf {
        self.0[index].join(PREPARED).join(folder(index))
    }

    /// Where what it replaces is kept.
    pub(super) fn replaced(&self, index: usize) -> PathBuf {
        self.0[index].join("old").join(folder(index))
    }
}

/// The name of the folder of shard number `index`. It is no number: influxd, started on what a
/// killed restore left, would take it for a shard.
pub(super) fn folder(index: usize) -> String {
    format!("s{index}")
}

/// Whether a name is that of a [`folder`].
pub(crate) fn is_folder(name: &str) -> bool {
    let number = name
        .strip_prefix('s')
        .and_then(|digits| digits.parse().ok());
    number.is_some_and(|index| folder(index) == name)
}

/// The folder out of which a rename leads to `place`, which is below the data or WAL directory
/// `below`.
///
/// # Errors
///
/// When the directories cannot be looked at.
pub(crate) fn staging_for(below: &Path, place: &Path) -> Result<PathBuf> {
    let levels: Vec<&Path> = place
        .ancestors()
        .skip(1)
        .take_while(|level| level.starts_with(below))
        .collect();
    let mut home = below;
    let mut mount = mount_of(&nearest_existing(below))?;
    for level in levels.into_iter().rev().filter(|level| level.is_dir()) {
        let mount_here = mount_of(level)?;
        if mount_here != mount {
            (home, mount) = (level, mount_here);
        }
    }
    Ok(home.join(STAGING))
}

/// What a rename does not lead out of: a file system where it is mounted.
fn mount_of(directory: &Path) -> Result<(u64, u64)> {
    identify(directory).with_context(|| format!("looking at {}", directory.display()))
}

#[cfg(target_os = "linux")]
fn identify(directory: &Path) -> io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;

    use rustix::fs::{AtFlags, CWD, StatxFlags, statx};

    let device = fs::metadata(directory)?.dev();
    // Linux before 5.8 does not say; a mount of a directory of the same file system is not told
    // there.
    let mount = statx(CWD, directory, AtFlags::empty(), StatxFlags::MNT_ID)
        .ok()
        .filter(|found| found.stx_mask & StatxFlags::MNT_ID.bits() != 0)
        .map_or(0, |found| found.stx_mnt_id);
    Ok((device, mount))
}

#[cfg(not(target_os = "linux"))]
fn identify(directory: &Path) -> io::Result<(u64, u64)> {
    use std::os::unix::fs::MetadataExt;

    Ok((fs::metadata(directory)?.dev(), 0))
}

/// Removes the folders in the directories of databases and retention policies below a data or WAL
/// directory.
fn remove_inner(below: &Path) -> Result<()> {
    for database in directories_in(below) {
        for policy in directories_in(&database) {
            remove(&policy.join(STAGING))?;
        }
        remove(&database.join(STAGING))?;
    }
    Ok(())
}

fn remove(staging: &Path) -> Result<()> {
    // What a link leads to was not made here.
    if fs::symlink_metadata(staging).is_ok_and(|metadata| metadata.is_dir()) {
        durable::remove_tree_if_there(staging)?;
    }
    Ok(())
}

/// The directories in a directory, and links to directories, without hidden folders of ours. In
/// what may not be read, nothing was made here.
fn directories_in(directory: &Path) -> Vec<PathBuf> {
    let is_database = |path: &PathBuf| !path.file_name().is_some_and(is_own) && path.is_dir();
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries
        .map(|entry| entry.path())
        .filter(is_database)
        .collect()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_stays_on_one_file_system_is_prepared_in_the_data_directory() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let place = data.join("db/autogen/1");
        assert_eq!(staging_for(&data, &place).unwrap(), data.join(STAGING));
        fs::create_dir_all(&place).unwrap();
        assert_eq!(staging_for(&data, &place).unwrap(), data.join(STAGING));
        let elsewhere = folder.path().join("elsewhere");
        fs::create_dir(&elsewhere).unwrap();
        symlink(&elsewhere, data.join("linked")).unwrap();
        let place = data.join("linked/autogen/1");
        assert_eq!(staging_for(&data, &place).unwrap(), data.join(STAGING));
    }

    #[test]
    fn folders_left_in_databases_and_policies_are_removed_and_nothing_else_is() {
        let folder = tempfile::tempdir().unwrap();
        let data = folder.path().join("data");
        let inner = ["db/.snap-restore/new/s0", "db/autogen/.snap-restore/old/s1"];
        for path in inner.iter().chain(&["db/autogen/1", ".snap-restore/new"]) {
            fs::create_dir_all(data.join(path)).unwrap();
        }
        fs::create_dir(folder.path().join("precious")).unwrap();
        fs::create_dir(data.join("other")).unwrap();
        symlink(
            folder.path().join("precious"),
            data.join("other").join(STAGING),
        )
        .unwrap();
        remove_inner(&data).unwrap();
        assert!(!data.join("db").join(STAGING).exists());
        assert!(!data.join("db/autogen").join(STAGING).exists());
        assert!(data.join("db/autogen/1").exists() && data.join(".snap-restore/new").exists());
        assert!(folder.path().join("precious").exists());
        remove_inner(&folder.path().join("nowhere")).unwrap();
    }
}
