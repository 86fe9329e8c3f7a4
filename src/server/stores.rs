//! What the service hands out, and where it puts what it is sent: two stores behind traits.

use std::io::Read;
use std::path::PathBuf;
use std::time::SystemTime;

use anyhow::Result;

use crate::metastore::Data;
use crate::metastore::edit::Merged;
use crate::shard::ShardPath;
use crate::wire::{Import, ShardIds};

/// Where the service finds the metastore.
pub trait MetaStore: Send + Sync {
    /// The protobuf message `meta.Data`.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    fn data(&self) -> Result<Vec<u8>>;

    /// Adds databases and returns the new id of each shard by its old one. `prepare` is called with
    /// the new metastore before it is stored, and nothing is stored when it fails.
    ///
    /// # Errors
    ///
    /// When the databases cannot be added.
    fn import(
        &self,
        request: &Import,
        prepare: &dyn Fn(&Data, &Merged) -> Result<()>,
    ) -> Result<ShardIds>;
}

/// Where the service finds shards.
pub trait ShardStore: Send + Sync {
    /// Whether the shard is there.
    ///
    /// # Errors
    ///
    /// When that cannot be told.
    fn holds(&self, shard: &ShardPath) -> Result<bool>;

    /// The files of a shard as they are now; they stay so until the snapshot is dropped.
    ///
    /// # Errors
    ///
    /// When the shard cannot be handed out whole.
    fn snapshot(&self, shard: &ShardPath) -> Result<Snapshot>;

    /// Makes empty shards.
    ///
    /// # Errors
    ///
    /// When one cannot be made, or is there already and not empty.
    fn create(&self, shards: &[ShardPath]) -> Result<()>;

    /// Puts the TSM files of a tar into a shard, once all have come whole, and says how many there
    /// were.
    ///
    /// # Errors
    ///
    /// When the tar is not whole or its files cannot be put there.
    fn replace(&self, shard: &ShardPath, tar: &mut dyn Read) -> Result<usize>;
}

/// The files of a shard at one moment.
pub struct Snapshot {
    /// In the order they are sent in.
    pub files: Vec<SnapshotFile>,
    /// What the operator should know of them, a sentence each.
    pub notes: Vec<String>,
    /// What keeps them, and removes them when it is dropped.
    pub _guard: Box<dyn Send>,
}

/// A file of a snapshot.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotFile {
    /// Its name in the shard's directory.
    pub name: String,
    /// Where it can be read.
    pub path: PathBuf,
    /// Bytes.
    pub size: u64,
    /// When its content last changed.
    pub modified: SystemTime,
    /// Permission bits.
    pub mode: u32,
    /// User and group.
    pub owner: (u32, u32),
    /// Their names; empty where they have none.
    pub owner_names: (String, String),
}
