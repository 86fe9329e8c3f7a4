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

mod catalog;
mod chain;
mod digest;
mod lock;
mod maintenance;
pub mod manifest;
mod marker;
pub mod names;
mod prune;
mod readers;
mod record;
mod resume;
mod set;
mod set_id;
mod snapshot;
mod staged_file;
mod tar;
#[cfg(test)]
pub(crate) mod test_records;
mod writer;

use std::path::{Path, PathBuf};

pub use catalog::{BackupFile, Catalog, Unreadable};
pub use chain::{ChainContext, Chains, Gap, Missing, ShardChain};
pub(crate) use digest::hex;
pub(crate) use lock::FileLock;
pub use lock::Lock;
pub use maintenance::Upkeep;
pub use manifest::Manifest;
pub use prune::Removed;
pub use readers::{Held, steadily};
pub use record::{
    Content, FileRecord, Layout, MemberRecord, RECORD_FORMAT, Selection, SetRecord, SetState,
    ShardRecord, ShardState,
};
pub use resume::{LeftShard, Leftover, Run};
pub use set::{MetaFile, Origin, Set};
pub use set_id::SetId;
pub use staged_file::{SealedFile, StagedFile, StagedTar};
pub use tar::Tar;
pub(crate) use writer::next_number;
pub use writer::{SetFiles, Staging};

/// The hidden folder's name.
const HIDDEN: &str = ".snap";

/// The hidden folder, for what a run must remember and no set holds.
pub(crate) fn hidden(directory: &Path) -> PathBuf {
    directory.join(HIDDEN)
}
