//! Pins: the sets that are not to be removed.

use std::path::Path;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::hidden::{self, hidden};
use super::set_id::SetId;
use super::store::{Store, read_bounded};
use crate::io::durable;

/// The largest pin that is read.
const LARGEST: u64 = 4 << 10;

/// The content of a pin. That the file is there is what counts.
#[derive(Debug, Serialize, Deserialize)]
struct PinDocument {
    kept: Timestamp,
}

/// Pins a set.
pub(super) fn write(directory: &Path, id: &SetId, now: Timestamp) -> Result<()> {
    let mut text = serde_json::to_vec(&PinDocument { kept: now }).context("writing a pin")?;
    text.push(b'\n');
    durable::write_whole(&hidden::file_of(directory, id, hidden::PIN), &text)
}

/// Unpins a set.
pub(super) fn remove(directory: &Path, id: &SetId) -> Result<()> {
    durable::remove_if_there(&hidden::file_of(directory, id, hidden::PIN))?;
    durable::sync_dir(&hidden(directory))
}

/// Since when a set is pinned, as its pin says. One whose pin cannot be read is pinned all the
/// same.
pub(super) fn read(store: &dyn Store, name: &str) -> Option<Timestamp> {
    let bytes = read_bounded(store, name, LARGEST).ok()?;
    Some(serde_json::from_slice::<PinDocument>(&bytes).ok()?.kept)
}
