//! A set of a backup directory, and where what is known of it comes from.

use jiff::Timestamp;

use super::manifest::{self, Manifest, ShardEntry};
use super::names;
use super::record::{Layout, SetRecord};
use super::set_id::SetId;
use crate::shard::ShardPath;

/// What one run made, as far as it can be told.
#[derive(Debug)]
pub struct Set {
    /// What it is called.
    pub id: SetId,
    /// When the run began; in legacy sets of influxd's, when the metastore was written.
    pub started: Timestamp,
    /// Who tells what is in it.
    pub origin: Origin,
    /// The file with the metastore, where it is there.
    pub meta: Option<MetaFile>,
    /// Since when it is pinned: not to be removed.
    pub pinned_at: Option<Timestamp>,
}

/// Who tells what is in a set.
#[derive(Debug)]
pub enum Origin {
    /// A run of snap left a record.
    Recorded(Box<SetRecord>),
    /// A portable run of influxd's left a manifest.
    Listed(Manifest),
    /// Legacy runs of influxd's leave nothing that tells which files belong together. Those with
    /// the same number are taken for a set.
    Loose {
        /// The number.
        number: u32,
    },
}

/// The file with the metastore of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MetaFile {
    /// Its name in the directory.
    pub name: String,
    /// Bytes.
    pub size: u64,
}

impl Set {
    /// What snap wrote down.
    pub fn record(&self) -> Option<&SetRecord> {
        match &self.origin {
            Origin::Recorded(record) => Some(record),
            Origin::Listed(_) | Origin::Loose { .. } => None,
        }
    }

    /// What influxd wrote down, where snap did not.
    pub fn listing(&self) -> Option<&Manifest> {
        match &self.origin {
            Origin::Listed(manifest) => Some(manifest),
            Origin::Recorded(_) | Origin::Loose { .. } => None,
        }
    }

    /// Whether snap wrote down what is in it.
    pub(crate) fn is_recorded(&self) -> bool {
        matches!(self.origin, Origin::Recorded(_))
    }

    /// Whether nothing was written down of it.
    pub(crate) fn is_loose(&self) -> bool {
        matches!(self.origin, Origin::Loose { .. })
    }

    /// How its files are laid out.
    pub fn layout(&self) -> Layout {
        match &self.origin {
            Origin::Recorded(record) => record.layout,
            Origin::Listed(_) => Layout::Portable,
            Origin::Loose { .. } => Layout::Legacy,
        }
    }

    /// The number by which it comes before or after others; a manifest has none.
    pub(super) fn number(&self) -> Option<u32> {
        match &self.origin {
            Origin::Recorded(record) => Some(record.number),
            Origin::Listed(_) => None,
            Origin::Loose { number } => Some(*number),
        }
    }

    /// The random number of the server's metastore, where it was recorded.
    pub(crate) fn recorded_cluster(&self) -> Option<u64> {
        self.record()?.cluster_id
    }

    /// Whether it was made by asking for an interval of time.
    pub(crate) fn is_range(&self) -> bool {
        self.record().is_some_and(SetRecord::is_range)
    }

    /// Whether its manifest says that something is missing. A record says more.
    pub(crate) fn is_limited(&self) -> bool {
        self.listing().is_some_and(|manifest| manifest.limited)
    }

    /// What its metastore is called, there or not; nothing is known of one that belongs to stray
    /// files.
    pub(crate) fn meta_name(&self) -> Option<&str> {
        match &self.origin {
            Origin::Recorded(record) => Some(&record.meta.name),
            Origin::Listed(manifest) => Some(&manifest.meta.file_name),
            Origin::Loose { .. } => self.meta.as_ref().map(|meta| meta.name.as_str()),
        }
    }

    /// The file that names its metastore, by its path below the directory.
    pub(super) fn named_by(&self) -> Option<String> {
        match self.origin {
            Origin::Recorded(_) => Some(format!(".snap/{}.json", self.id)),
            Origin::Listed(_) => Some(manifest::manifest_file(self.id.as_str())),
            Origin::Loose { .. } => None,
        }
    }

    /// A shard in its manifest.
    pub fn listed(&self, shard: &ShardPath) -> Option<&ShardEntry> {
        let mut entries = self.listing()?.entries().iter();
        entries.find(|entry| entry.is_of(shard))
    }

    /// What the file of a shard is called, there or not.
    pub(super) fn name_of(&self, shard: &ShardPath) -> Option<String> {
        match &self.origin {
            Origin::Recorded(record) => Some(record.shard(shard)?.file.as_ref()?.name.clone()),
            Origin::Listed(_) => Some(self.listed(shard)?.file_name.clone()),
            Origin::Loose { number } => Some(names::shard_file(shard, *number)),
        }
    }

    /// Whether it is more than stray files under a number: its metastore is there, or something
    /// tells that it should be.
    pub(super) fn is_known(&self) -> bool {
        self.meta.is_some() || !self.is_loose()
    }
}
