//! A backup directory: influxd's files, and the hidden folder `.snap` beside them that holds what
//! influxd has no place for.
//!
//! A STAMP is the start of a run, `20261120T090000Z`, and the id of its set. NN is the number of a
//! set. What a run writes has a temporary name until its set is complete.
//!
//! | file | what | who writes it, when |
//! |---|---|---|
//! | `meta.NN` | the meta store, legacy | a commit, after the shards |
//! | `DB.RP.ID.NN` | the tar of a shard, legacy | a commit |
//! | `STAMP.manifest` | the list that influxd reads, portable | a commit, last of influxd's files |
//! | `STAMP.meta` | the meta store, portable | a commit, after the shards |
//! | `STAMP.sID.tar.gz` | the tar of a shard, compressed, portable | a commit |
//! | `.snap/STAMP.json` | the record of a set | a commit, last: it makes the set count |
//! | `.snap/STAMP.commit` | the record to be | a commit, first; gone once the record is there. The next run undoes one without a record |
//! | `.snap/STAMP.files/` | files that have no final name yet | a backup; gone at its end, but for what the next can reuse |
//! | `.snap/STAMP.files/finished` | the shards that are complete | a backup, after each; the next one with `-resume` reads it |
//! | `.snap/STAMP.forget` | the record of a set that is being removed | a removal, first; gone at its end. The next run goes on with it |
//! | `.snap/STAMP.keep` | that a set is pinned | `snap keep` |
//! | `.snap/.snap-*` | one of the documents above while it is written | whoever writes it; the next run removes one that is left |
//! | `.snap/restore-HOST-SUM.journal` | what a live restore has sent | the restore; gone once it is complete |
//! | `.snap/lock` | who writes in the directory | whoever writes, as long as it does |
//! | `.snap/lock.held` | the lock, where the file system has none | as the lock |
//!
//! The files of this module, each of which uses only those above it: names, manifest, set_id and
//! record (what is in a file), hidden, pin, lock and marker, snapshot (a directory at one moment),
//! set and catalog (what is in it), chain (what a set needs), readers (who holds sets), recover and
//! prune (clearing away and removing), resume and writer (making sets).

mod catalog;
mod chain;
mod digest;
mod hidden;
mod lock;
pub mod manifest;
mod marker;
pub mod names;
mod pin;
mod prune;
mod readers;
mod record;
mod recover;
mod resume;
mod set;
mod set_id;
mod snapshot;
mod staged_file;
mod tar;
#[cfg(test)]
pub(crate) mod test_records;
mod writer;

pub use catalog::{BackupFile, Catalog, Unreadable};
pub use chain::{ChainContext, Chains, Gap, Missing, ShardChain};
pub(crate) use digest::hex;
pub(crate) use hidden::hidden;
pub(crate) use lock::FileLock;
pub use lock::Lock;
pub use manifest::Manifest;
pub use prune::{Maintenance, Removed};
pub use readers::{Held, steadily};
pub use record::{
    Content, FileRecord, Layout, MemberRecord, RECORD_FORMAT, Selection, SetRecord, SetState,
    ShardRecord, ShardState,
};
pub use resume::{FinishedShard, ResumableRun, Run};
pub use set::{MetaFile, Origin, Set};
pub use set_id::SetId;
pub use staged_file::{SealedFile, StagedFile, StagedTar};
pub use tar::Tar;
pub(crate) use writer::next_number;
pub use writer::{SetFiles, SetWriter};
