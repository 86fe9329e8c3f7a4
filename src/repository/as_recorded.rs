//! Whether a file still is the one that was recorded.

use std::io::Read;

use anyhow::{Context, Result};

use super::digest::{DigestAlgorithm, FileDigest, Hasher};
use super::record::FileRecord;
use super::store::Store;
use crate::cancel::Cancel;

/// What a file is compared by, its size apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// By when it was last modified; by its digest where that is not as recorded, or not recorded.
    Time,
    /// By its digest, so that all of it is read.
    Digest,
}

/// What is recorded of a file, with the time at which it was last modified as it is now; none where
/// the file is not the one recorded.
///
/// # Errors
///
/// When it cannot be read, or a stop was asked for.
pub(super) fn find_as_recorded(
    store: &dyn Store,
    name: &str,
    recorded: &FileRecord,
    comparison: Comparison,
    cancel: &Cancel,
) -> Result<Option<FileRecord>> {
    // Before it is read: what changes meanwhile has another time.
    let there = match store.entry(name) {
        Ok(Some(there)) if there.is_file_of(recorded.size) => there,
        _ => return Ok(None),
    };
    let modified = there.last_modified();
    let is_untouched =
        comparison == Comparison::Time && modified.is_some() && modified == recorded.modified;
    let is_same = is_untouched
        || digest_of(store, name, recorded.digest.algorithm(), cancel)? == recorded.digest;
    Ok(is_same.then(|| FileRecord {
        modified,
        ..recorded.clone()
    }))
}

fn digest_of(
    store: &dyn Store,
    name: &str,
    algorithm: DigestAlgorithm,
    cancel: &Cancel,
) -> Result<FileDigest> {
    let reading = || format!("reading {}", store.place_of(name));
    let mut file = store.open(name).with_context(reading)?;
    let mut hasher = Hasher::new(algorithm);
    let mut buffer = vec![0; 256 << 10];
    loop {
        cancel.check()?;
        match file.read(&mut buffer).with_context(reading)? {
            0 => return Ok(hasher.finish()),
            count => hasher.update(&buffer[..count]),
        }
    }
}
