//! Tombstones: what was deleted of a TSM file and not compacted away yet.

mod bounded;
mod file;
mod ranges;

pub(crate) use bounded::{BoundedDeletes, DeletesReader};
pub use file::{TombstoneEnding, TombstoneRecord, TombstoneWriter, read, read_until_error};
pub(crate) use ranges::DeletedRange;
pub use ranges::{DeletedRanges, Deletes};
