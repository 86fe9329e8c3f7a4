//! Pins: the sets that are not to be removed, and why.

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::hidden::{PIN, name_of};
use super::set_id::SetId;
use super::store::{Folder, Store, WritableStore, read_bounded};

/// The largest pin that is read.
const LARGEST: u64 = 4 << 10;

/// That a set is not to be removed. It is the content of a pin's file; that the file is there is
/// what counts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// Since when.
    #[serde(rename = "kept")]
    pub since: Timestamp,
    /// What somebody wrote of it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

impl Pin {
    /// Bytes that a note may have: with all of them escaped, the file can still be read.
    pub(crate) const LONGEST_NOTE: usize = 500;
}

pub(super) fn write(store: &dyn WritableStore, id: &SetId, pin: &Pin) -> Result<()> {
    let mut text = serde_json::to_vec(pin).context("writing a pin")?;
    text.push(b'\n');
    store.write_whole(&name_of(id, PIN), &mut |out| out.write_all(&text))
}

pub(super) fn remove(store: &dyn WritableStore, id: &SetId) -> Result<()> {
    store.remove(&name_of(id, PIN))?;
    store.settle(Folder::Hidden)
}

/// What a pin says. A set whose pin cannot be read is pinned all the same.
pub(super) fn read(store: &dyn Store, name: &str) -> Option<Pin> {
    let bytes = read_bounded(store, name, LARGEST).ok()?;
    serde_json::from_slice(&bytes).ok()
}
