//! Clearing away what killed runs left.

use std::ffi::OsStr;
use std::fs;
use std::path::Path;

use anyhow::Result;

use super::digest::sha256_of;
use super::hidden::{COMMIT, RECORD, UNFINISHED, hidden, own_kind};
use super::record::SetRecord;
use super::snapshot::read_record;
use super::store::LocalStore;
use crate::cancel::Cancel;
use crate::io::durable;

/// Clears away what killed runs left, but for the folder `spared`. The lock must be held.
pub(super) fn sweep(directory: &Path, spared: Option<&Path>, cancel: &Cancel) -> Result<()> {
    let hidden = hidden(directory);
    for path in durable::paths_in(&hidden)? {
        match own_kind(&path) {
            Some(COMMIT) => {
                let is_over = path.with_extension(RECORD).exists();
                if is_over || undo(directory, &path, cancel)? {
                    durable::remove_if_there(&path)?;
                }
            }
            Some(UNFINISHED) if spared == Some(&path) => {}
            Some(UNFINISHED) => durable::remove_tree_if_there(&path)?,
            _ => {}
        }
    }
    durable::remove_unfinished(&hidden)?;
    durable::sync_dir(directory)
}

/// Reads the record of a set, or what is to become or was one, at its path in the hidden folder.
pub(super) fn record_at(directory: &Path, path: &Path) -> Result<SetRecord> {
    let file = path.file_name().and_then(OsStr::to_str).unwrap_or_default();
    read_record(&LocalStore::new(directory), file)
}

/// Removes files that an interrupted commit already gave their final names. A file that is not the
/// very one recorded, by size and SHA-256, belongs to somebody else and stays. Tells whether the
/// commit is undone.
fn undo(directory: &Path, intent: &Path, cancel: &Cancel) -> Result<bool> {
    let Ok(record) = record_at(directory, intent) else {
        // Nobody can tell what it named. It must not stop every backup from now on; but while it is
        // there, no reader takes what it named for a set of influxd's.
        return Ok(false);
    };
    for file in record.files() {
        let path = directory.join(&file.name);
        let is_as_long = fs::symlink_metadata(&path)
            .is_ok_and(|there| there.is_file() && there.len() == file.size);
        if is_as_long && sha256_of(&path, cancel)? == file.sha256 {
            durable::remove_if_there(&path)?;
        }
    }
    Ok(true)
}
