//! Deciding what of a file belongs into an export between two times.

use anyhow::{Context, Result};

use super::stores::SnapshotFile;
use crate::io::open::open_regular;
use crate::time::Bounds;
use crate::tsm::export::{BlockSubset, Overlap, overlap};

/// How a file of a snapshot is sent.
pub(super) enum Choice {
    /// Not at all.
    Leave,
    /// As it is.
    Whole,
    /// Only some of its blocks.
    Part(BlockSubset),
}

/// Chooses by the file's index: blocks are kept whole where they touch the bounds. A tombstone file
/// is always sent: its records hold for a part of a TSM file as for the whole.
pub(super) fn choose(file: &SnapshotFile, bounds: Bounds) -> Result<Choice> {
    if !file.name.ends_with(".tsm") {
        return Ok(Choice::Whole);
    }
    let opened = open_regular(&file.path).with_context(|| format!("opening {}", file.name))?;
    Ok(
        match overlap(&opened, bounds)
            .with_context(|| format!("reading the index of {}", file.name))?
        {
            Overlap::None => Choice::Leave,
            Overlap::Whole => Choice::Whole,
            Overlap::Part(subset) => Choice::Part(subset),
        },
    )
}
