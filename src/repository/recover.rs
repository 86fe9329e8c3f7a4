//! Clearing away what killed runs left.

use anyhow::Result;

use super::as_recorded::{Comparison, find_as_recorded};
use super::hidden::{COMMIT, RECORD, UNFINISHED, name_of, own_name};
use super::set_id::SetId;
use super::snapshot::read_record;
use super::store::{Folder, WritableStore, is_there};
use crate::cancel::Cancel;

/// Clears away what killed runs left, except the staged files of the set `spared`. The lock must
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
        // Of what is removed, the content decides.
        if find_as_recorded(store, &file.name, file, Comparison::Digest, cancel)?.is_some() {
            store.remove(&file.name)?;
        }
    }
    Ok(true)
}
