//! Clearing away what killed runs left.

use std::io::Read;

use anyhow::{Context, Result};

use super::digest::{DigestAlgorithm, FileDigest, Hasher};
use super::hidden::{COMMIT, RECORD, UNFINISHED, name_of, own_name};
use super::record::FileRecord;
use super::set_id::SetId;
use super::snapshot::read_record;
use super::store::{Folder, Store, WritableStore, is_there};
use crate::cancel::Cancel;

/// Clears away what killed runs left, but for the staged files of the set `spared`. The lock must
/// be held.
pub(super) fn sweep(
    store: &dyn WritableStore,
    spared: Option<&SetId>,
    cancel: &Cancel,
) -> Result<()> {
    for entry in store.list(Folder::Hidden)? {
        let Some((id, kind)) = own_name(&entry.name) else {
            continue;
        };
        let name = name_of(id, kind);
        match kind {
            COMMIT => {
                let is_over = is_there(store, &name_of(id, RECORD))?;
                if is_over || undo(store, &entry.name, cancel)? {
                    store.remove(&name)?;
                }
            }
            UNFINISHED if spared.is_some_and(|spared| spared.as_str() == id) => {}
            UNFINISHED => store.remove_tree(&name)?,
            _ => {}
        }
    }
    store.abort_stale()?;
    store.settle(Folder::Top)
}

/// Removes files that an interrupted commit already gave their final names. A file that is not the
/// very one recorded, by size and digest, belongs to somebody else and stays. Tells whether the
/// commit is undone.
fn undo(store: &dyn WritableStore, intent: &str, cancel: &Cancel) -> Result<bool> {
    let Ok(record) = read_record(store, intent) else {
        // Nobody can tell what it named. It must not stop every backup from now on; but while it is
        // there, no reader takes what it named for a set of influxd's.
        return Ok(false);
    };
    for file in record.files() {
        if is_as_recorded(store, &file.name, file, cancel)? {
            store.remove(&file.name)?;
        }
    }
    Ok(true)
}

/// Whether a file is there and is what was recorded, by size and digest.
pub(super) fn is_as_recorded(
    store: &dyn Store,
    name: &str,
    recorded: &FileRecord,
    cancel: &Cancel,
) -> Result<bool> {
    let there = store.entry(name);
    let is_as_long = matches!(there, Ok(Some(there)) if there.is_file_of(recorded.size));
    let algorithm = recorded.digest.algorithm();
    Ok(is_as_long && digest_of(store, name, algorithm, cancel)? == recorded.digest)
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
