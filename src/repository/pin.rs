//! Pins: the sets that are not to be removed.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use super::hidden::{self, hidden};
use super::set_id::SetId;
use crate::io::durable;
use crate::io::open::read_bounded;

/// The largest pin that is read.
const LARGEST: u64 = 4 << 10;

/// The content of a pin. That the file is there is what counts.
#[derive(Debug, Serialize, Deserialize)]
struct Pin {
    kept: Timestamp,
}

/// Pins a set.
pub(super) fn write(directory: &Path, id: &SetId, now: Timestamp) -> Result<()> {
    let mut text = serde_json::to_vec(&Pin { kept: now }).context("writing a pin")?;
    text.push(b'\n');
    durable::write_whole(&hidden::file_of(directory, id, hidden::PIN), &text)
}

/// Unpins a set.
pub(super) fn remove(directory: &Path, id: &SetId) -> Result<()> {
    durable::remove_if_there(&hidden::file_of(directory, id, hidden::PIN))?;
    durable::sync_dir(&hidden(directory))
}

/// Since when a set is pinned. One whose pin cannot be read is pinned all the same.
pub(super) fn read(path: &Path) -> Timestamp {
    let written = || {
        let bytes = read_bounded(path, LARGEST).ok()?;
        Some(serde_json::from_slice::<Pin>(&bytes).ok()?.kept)
    };
    let modified = || Timestamp::try_from(fs::symlink_metadata(path).ok()?.modified().ok()?).ok();
    written().or_else(modified).unwrap_or(Timestamp::UNIX_EPOCH)
}
