//! A backup directory: influxd's files, and the hidden folder `.snap` beside them that holds what
//! influxd has no place for.
//!
//! A STAMP is the start of a run, `20261120T090000Z`, and the id of its set. NN is the number of a
//! set.
//!
//! | file | what | who writes it, when |
//! |---|---|---|
//! | `meta.NN` | the metastore, legacy | a commit, after the shards |
//! | `DB.RP.ID.NN` | the tar of a shard, legacy | a commit |
//! | `STAMP.manifest` | the list that influxd reads, portable | a commit, after the metastore |
//! | `STAMP.meta` | the metastore, portable | a commit, after the shards |
//! | `STAMP.sID.tar.gz` | the tar of a shard, compressed, portable | a commit |
//! | `.snap/STAMP.json` | the record of a set; it makes the set count | a commit, last |
//! | `.snap/STAMP.commit` | the record to be | a commit, first, until the record is there |
//! | `.snap/STAMP.files/` | files that have no final name yet | a backup, until its end |
//! | `.snap/STAMP.files/finished` | which shards are whole | a backup, after each, for `-resume` |
//! | `.snap/STAMP.files/finished/NNNNNNNN` | the same, in pieces, where nothing can be added to a file | a backup |
//! | `.snap/STAMP.claim-NN-RANDOM` | the names that a run may give, without a lock | a backup, first, until its end |
//! | `.snap/STAMP.forget` | the record of a set that goes | a removal, first, until its end |
//! | `.snap/STAMP.keep` | that a set is pinned | `snap keep` |
//! | `.snap/.snap-*` | a document while it is written | whoever writes one of the above |
//! | `.snap/restore-HOST-SUM.journal` | what a live restore has sent | the restore, until its end |
//! | `.snap/lock` | who writes in the directory | whoever writes, as long as it does |
//! | `.snap/lock.held` | the lock, where the file system has none | as the lock |
//!
//! What a killed run leaves of a commit, of unfinished files or of a removal, the next run that
//! writes undoes, reuses or ends.
//!
//! Object storage has no lock, no rename and no links. There a file has its final name as soon as it
//! is whole, a claim keeps other runs from the names, and a set names the files of an older one
//! that it shares. What is removed waits for a period of grace, and while a run needs it (see
//! `claim`, `needs`, `recover` and `prune`).
//!
//! Each file of this module uses only files that stand before it here: layout, names, manifest,
//! set_id, set_names and record say what is in a file, hidden what the files of the hidden folder
//! are called. store holds the files, a local directory those under lock; next_number, claim and
//! copied_name tell which names are free; snapshot reads all as it was at one moment, pins among it;
//! set and catalog tell what is in a repository, chain what a set needs, readers who holds it;
//! as_recorded compares a file with its record, needs tells who needs one. resume, recover,
//! removed_files, prune, staged_file and writer change a repository. Only the local store and its lock know a path.

mod as_recorded;
mod catalog;
mod chain;
mod claim;
mod copied_name;
mod digest;
mod document;
mod hidden;
mod layout;
mod location;
mod lock;
pub mod manifest;
mod marker;
pub mod names;
mod needs;
mod next_number;
mod pin;
mod prune;
mod readers;
mod record;
mod recover;
mod removed_files;
mod resume;
mod set;
mod set_id;
mod set_names;
mod snapshot;
mod staged_file;
mod store;
mod tar;
#[cfg(test)]
pub(crate) mod test_records;
#[cfg(test)]
pub(crate) mod test_repository;
mod writer;

pub use as_recorded::Comparison;
pub use catalog::BackupFile;
pub use catalog::Catalog;
pub(crate) use catalog::UnreadableFile;
pub(crate) use catalog::{is_set_name, where_backups_are};
pub(crate) use chain::{ChainContext, Chains, Gap, Missing, ShardChain};
pub(crate) use copied_name::CopiedName;
pub(crate) use digest::HashReader;
pub use digest::{DigestAlgorithm, FileDigest};
pub(crate) use hidden::hidden;
pub use layout::Layout;
pub use location::Location;
pub(crate) use lock::FileLock;
pub use lock::Lock;
pub use manifest::Manifest;
pub(crate) use needs::announced;
pub(crate) use next_number::{UsedNumbers, next_number};
pub use pin::Pin;
pub(crate) use prune::Maintenance;
pub use prune::Removed;
pub use readers::Held;
pub(crate) use readers::steadily;
pub use record::MemberRecord;
pub(crate) use record::RECORD_FORMAT;
pub use record::{Content, Selection, SetRecord, ShardState};
pub use record::{FileRecord, SetState, ShardRecord};
pub use resume::RunHeader;
pub(crate) use resume::{FinishedShard, ResumableRun};
pub use set::Set;
pub use set::{MetaFile, Origin};
pub use set_id::SetId;
pub(crate) use staged_file::{SealedFile, StagedTar};
pub use store::StoredFile;
pub use store::object::{
    AzureSettings, GcsSettings, ObjectSettings, ObjectUrl, Provider, S3Checksum, S3Settings,
    TransferSettings,
};
pub use tar::Tar;
pub(crate) use writer::{SetFiles, SetWriter};
