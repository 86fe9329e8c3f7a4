//! Where shards are prepared, and kept while others take their place: in a hidden folder that a rename leads out of to where they
//! go.
//!
//! That is the folder in the data (or WAL) directory. Where the directory of a database or of a retention policy lies on another
//! file system, a mount point or a link, there is another folder in that directory. influxd takes none of them for a shard: their
//! names and those in them are no numbers.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::influxd_dir::nearest_existing;
use crate::io::durable;

/// The folder's name.
pub const STAGING: &str = ".snap-restore";

/// The folder out of which a rename leads to `place`, which is below the data or WAL directory `below`.
///
/// # Errors
///
/// When the directories cannot be looked at.
pub fn staging_for(below: &Path, place: &Path) -> Result<PathBuf> {
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
    // Linux before 5.8 does not say; a mount of a directory of the same file system is not told there.
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

/// Removes the folders in the directories of databases and retention policies below a data or WAL directory.
///
/// # Errors
///
/// When one cannot be removed.
pub fn remove_inner(below: &Path) -> Result<()> {
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

/// The directories in a directory, and links to directories, without hidden folders of ours. In what may not be read, nothing was
/// made here.
fn directories_in(directory: &Path) -> Vec<PathBuf> {
    let is_database = |path: &PathBuf| {
        let is_ours = path
            .file_name()
            .is_some_and(|name| name.as_encoded_bytes().starts_with(b".snap-"));
        !is_ours && path.is_dir()
    };
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
