//! A block that is damaged, and left out of what is written.

use super::super::file::BlockFault;
use super::super::index::BlockEntry;

/// A damaged block.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LostBlock<'a> {
    /// Series and field, as in the index.
    pub key: &'a [u8],
    /// Its number in the file, in the order of the index.
    pub nth: u64,
    /// The time of its first point, in nanoseconds since 1970, as far as is known.
    pub first: i64,
    /// The time of its last point.
    pub last: i64,
    /// What is wrong with it.
    pub fault: BlockFault,
}

impl<'a> LostBlock<'a> {
    /// The one that the index has so. Where its points tell of other times, of all of them.
    pub(super) fn new(key: &'a [u8], nth: u64, entry: &BlockEntry, fault: BlockFault) -> Self {
        let (mut times_first, mut times_last) = (entry.min_time, entry.max_time);
        if let BlockFault::Times { first, last, .. } = fault {
            times_first = times_first.min(first);
            times_last = times_last.max(last);
        }
        Self {
            key,
            nth,
            first: times_first,
            last: times_last,
            fault,
        }
    }
}
