//! A backup directory: influxd's files, and the hidden folder `.snap` beside them that holds what influxd has no place for.
//!
//! ```text
//! meta.03                       influxd's names, legacy: the meta store and one tar a shard
//! db.autogen.00012.03
//! 20261120T090000Z.manifest     influxd's names, portable: a list, the meta store and one packed tar a shard
//! 20261120T090000Z.meta
//! 20261120T090000Z.s12.tar.gz
//! .snap/20261120T080000Z.json   the record of a set; written last, it is what makes a set count
//! .snap/20261120T080000Z.files/ files of a run that goes on; removed by the run or by the next
//! .snap/20261120T080000Z.commit what a run is about to give final names; undone by the next run if no record followed
//! .snap/20261120T080000Z.forget the record of a set that is being removed; the next run goes on with it
//! .snap/20261120T080000Z.keep   a mark: the set is not to be removed
//! .snap/lock                    held by a run that writes
//! .snap/lock.held               stands in for the lock on file systems that have none
//! ```

mod chain;
mod contents;
mod growing;
mod leftover;
mod lock;
#[cfg(test)]
pub(crate) mod made;
mod marker;
mod record;
mod removal;
mod snapshot;
mod staging;
mod steady;
mod upkeep;

use std::path::{Path, PathBuf};

pub use chain::{ChainContext, Chains, Gap, Missing, ShardChain};
pub use contents::{BackupFile, Contents, Set, Tar, id_of};
pub use growing::{Finished, Growing, GrowingTar};
pub use leftover::{LeftShard, Leftover, Run};
pub(crate) use lock::FileLock;
pub use lock::Lock;
pub use record::{
    Content, FileRecord, Layout, MemberRecord, RECORD_FORMAT, Selection, SetRecord, SetState,
    ShardRecord, ShardState,
};
pub use removal::Removed;
pub use staging::{SetFiles, Staging};
pub(crate) use staging::{hex, next_number};
pub use steady::{Held, steadily};
pub use upkeep::Upkeep;

/// The hidden folder's name.
const HIDDEN: &str = ".snap";

/// The hidden folder, for what a run must remember and no set holds.
pub(crate) fn hidden(directory: &Path) -> PathBuf {
    directory.join(HIDDEN)
}
