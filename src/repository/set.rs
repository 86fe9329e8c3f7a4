//! A set of a backup directory, and where what is known of it comes from.

use jiff::Timestamp;

use super::layout::Layout;
use super::manifest::{self, Manifest, ShardEntry};
use super::names;
use super::pin::Pin;
use super::record::SetRecord;
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
    /// That it is not to be removed.
    pub pin: Option<Pin>,
    /// Bytes of its files that no older set has, where a record tells which files are its own.
    pub added: Option<u64>,
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
    pub(crate) fn number(&self) -> Option<u32> {
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

    /// Whether it was made by asking for a part of the points of its shards.
    pub(crate) fn is_part(&self) -> bool {
        self.record().is_some_and(SetRecord::is_part)
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

#[cfg(test)]
mod tests {
    use super::super::manifest::MetaEntry;
    use super::super::test_records;
    use super::*;

    fn set(id: &str, origin: Origin, meta: Option<&str>) -> Set {
        Set {
            id: id.into(),
            started: Timestamp::UNIX_EPOCH,
            origin,
            meta: meta.map(|name| MetaFile {
                name: name.into(),
                size: 1,
            }),
            pin: None,
            added: None,
        }
    }

    fn recorded(change: impl FnOnce(&mut SetRecord)) -> Set {
        let id = "20261120T080000Z";
        let mut record = test_records::set(id, Timestamp::UNIX_EPOCH, Vec::new());
        record.meta.name = "meta.03".into();
        change(&mut record);
        set(id, Origin::Recorded(Box::new(record)), None)
    }

    fn listed(limited: bool) -> Set {
        let id = "20261121T080000Z";
        let meta = MetaEntry {
            file_name: manifest::meta_file(id),
            size: 1,
        };
        let manifest = Manifest {
            meta,
            limited,
            files: None,
        };
        set(id, Origin::Listed(manifest), None)
    }

    #[test]
    fn what_is_known_of_a_set_is_asked_of_whoever_tells_what_is_in_it() {
        let plain = recorded(|_| {});
        assert!(!plain.is_part() && !plain.is_limited());
        assert_eq!(plain.recorded_cluster(), None);
        assert_eq!(plain.meta_name(), Some("meta.03"));
        let record = Some(".snap/20261120T080000Z.json".to_owned());
        assert_eq!(plain.named_by(), record);
        assert!(recorded(|record| record.selection.start = Some(Timestamp::UNIX_EPOCH)).is_part());
        let of_server = recorded(|record| record.cluster_id = Some(7));
        assert_eq!(of_server.recorded_cluster(), Some(7));

        assert!(!listed(false).is_limited() && listed(true).is_limited());
        assert!(!listed(true).is_part());
        assert_eq!(listed(false).meta_name(), Some("20261121T080000Z.meta"));
        let manifest = Some("20261121T080000Z.manifest".to_owned());
        assert_eq!(listed(false).named_by(), manifest);

        let loose = |meta| set("meta.04", Origin::Loose { number: 4 }, meta);
        assert!(!loose(None).is_part() && !loose(None).is_limited());
        assert_eq!(loose(Some("meta.04")).meta_name(), Some("meta.04"));
        assert_eq!(
            (loose(None).meta_name(), loose(None).named_by()),
            (None, None)
        );
        // Stray files under a number are no set, and the others are without their metastore too.
        assert!(loose(Some("meta.04")).is_known() && !loose(None).is_known());
        assert!(plain.is_known() && listed(false).is_known());
    }
}
