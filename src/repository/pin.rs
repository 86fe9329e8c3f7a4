//! Pins: the sets that are not to be removed.

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::hidden::{PIN, name_of};
use super::set_id::SetId;
use super::store::{Folder, Store, WritableStore, read_bounded};

/// The largest pin that is read.
const LARGEST: u64 = 4 << 10;

/// The content of a pin. That the file is there is what counts.
#[derive(Debug, Serialize, Deserialize)]
struct PinDocument {
    kept: Timestamp,
}

pub(super) fn write(store: &dyn WritableStore, id: &SetId, now: Timestamp) -> Result<()> {
    let mut text = serde_json::to_vec(&PinDocument { kept: now }).context("writing a pin")?;
    text.push(b'\n');
    store.write_whole(&name_of(id, PIN), &mut |out| out.write_all(&text))
}

pub(super) fn remove(store: &dyn WritableStore, id: &SetId) -> Result<()> {
    store.remove(&name_of(id, PIN))?;
    store.settle(Folder::Hidden)
}

/// Since when a set is pinned, as its pin says. One whose pin cannot be read is pinned all the
/// same.
pub(super) fn read(store: &dyn Store, name: &str) -> Option<Timestamp> {
    let bytes = read_bounded(store, name, LARGEST).ok()?;
    Some(serde_json::from_slice::<PinDocument>(&bytes).ok()?.kept)
}
