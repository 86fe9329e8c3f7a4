//! What one set says of one shard.

use std::collections::HashMap;

use jiff::Timestamp;

use super::super::catalog::{BackupFile, Catalog};
use super::super::manifest::{self, Manifest, ShardEntry};
use super::super::record::{Content, FileRecord, SetRecord, ShardRecord, ShardState};
use super::super::set::Set;
use super::gap::Gap;
use crate::metastore::Shard;
use crate::shard::ShardPath;

/// What one set says of one shard.
pub(super) enum Claim {
    /// Here is all of it, or there was nothing in it.
    Whole(ClaimedFile),
    /// Here is what changed after that time.
    Since(ClaimedFile, Timestamp),
    /// All shards of the server are here, and it was none of them.
    NotThere,
    /// The server named it and did not have it open.
    NotHeld {
        /// Whether its time had not begun, so that it was never written to.
        early: bool,
        /// Whether a part of it was asked for.
        range: bool,
    },
    /// It could not be fetched.
    Failed {
        /// Whether a part of it was asked for.
        range: bool,
    },
    /// It was deleted on the server while the run went on.
    Expired,
    /// Here are the points of an interval of time, or of some series.
    Range(ClaimedFile),
    /// Here is a file of influxd's: all of it, or a part.
    Unknown(ClaimedFile),
}

/// The file of a claim; both are nothing where it needs none.
#[derive(Default)]
pub(super) struct ClaimedFile {
    pub file: Option<BackupFile>,
    pub gap: Option<Gap>,
}

/// What the sets of a backup directory say of shards.
pub(super) struct Claims<'a> {
    pub catalog: &'a Catalog,
    unrecorded: Vec<Option<Unrecorded<'a>>>,
    clusters: Vec<Option<u64>>,
}

/// What is known of a set without a record.
struct Unrecorded<'a> {
    entries: HashMap<u64, Vec<&'a ShardEntry>>,
    strays: Vec<&'a ShardEntry>,
    /// Whether a metastore is there that cannot be read.
    is_unreadable: bool,
}

impl<'a> Claims<'a> {
    /// Those of a directory. Of sets without a record the metastores are read.
    pub(super) fn of(catalog: &'a Catalog) -> Self {
        let (mut unrecorded, mut clusters) = (Vec::new(), Vec::new());
        for set in catalog.sets() {
            if let Some(cluster) = set.recorded_cluster() {
                clusters.push(Some(cluster));
                unrecorded.push(None);
                continue;
            }
            let read = catalog.read_meta(set).ok().map(|(_, data)| data);
            clusters.push(read.as_ref().map(|data| data.cluster_id));
            let shards: Option<Vec<Shard>> = read.map(|data| data.shards().collect());
            unrecorded.push((!set.is_recorded()).then(|| Unrecorded::of(set, shards.as_deref())));
        }
        Self {
            catalog,
            unrecorded,
            clusters,
        }
    }

    /// The random number of the server that a set is of, as far as can be told.
    pub(crate) fn cluster(&self, at: usize) -> Option<u64> {
        self.clusters[at]
    }

    /// Whether two sets are of different servers, as far as can be told. Ids begin anew there: a
    /// shard of the same name is another shard.
    pub(crate) fn are_foreign(&self, one: usize, other: usize) -> bool {
        self.is_foreign(one, self.clusters[other])
    }

    /// Whether a set is of another server than that with the random number `cluster`.
    pub(crate) fn is_foreign(&self, at: usize, cluster: Option<u64>) -> bool {
        let both = self.clusters[at].zip(cluster);
        both.is_some_and(|(own, cluster)| own != cluster)
    }

    /// The entries of a manifest of influxd's that belong to no shard of the metastore beside it.
    pub(crate) fn strays(&self, at: usize) -> &[&'a ShardEntry] {
        let unrecorded = self.unrecorded[at].as_ref();
        unrecorded.map_or(&[], |unrecorded| &unrecorded.strays)
    }

    /// What a set says of a shard; nothing where it was not asked for it.
    pub(crate) fn claim(&self, at: usize, path: &ShardPath) -> Option<Claim> {
        let Some(record) = self.catalog.sets()[at].record() else {
            return self.unrecorded_claim(at, path).map(Claim::Unknown);
        };
        let selection = &record.selection;
        let Some(shard) = record.shard(path) else {
            let is_taken = !selection.meta_only && !record.is_part() && selection.takes(path);
            return is_taken.then_some(Claim::NotThere);
        };
        let range = shard.content == Content::Range;
        let file = || self.held_of_shard(at, record, shard);
        Some(match (shard.state, shard.content) {
            (ShardState::Failed, _) => Claim::Failed { range },
            (ShardState::Expired, _) => Claim::Expired,
            (ShardState::NotHeld, _) => Claim::NotHeld {
                early: shard.start_time > record.started,
                range,
            },
            (ShardState::Stored | ShardState::Empty, Content::Whole) => Claim::Whole(file()),
            (ShardState::Stored | ShardState::Empty, Content::Range) => Claim::Range(file()),
            (ShardState::Stored | ShardState::Empty, Content::Since) => {
                Claim::Since(file(), selection.since.unwrap_or(record.started))
            }
        })
    }

    /// The file that was recorded of a shard, and whether it is there and all in it is proven.
    fn held_of_shard(&self, at: usize, record: &SetRecord, shard: &ShardRecord) -> ClaimedFile {
        let held = match shard.state {
            // That of an empty shard is there for influxd alone.
            ShardState::Stored => self.held(at, shard.file.as_ref()),
            _ => ClaimedFile::default(),
        };
        let unproven = shard.unproven.is_some().then(|| Gap::Unproven {
            set: record.id.clone(),
        });
        ClaimedFile {
            gap: held.gap.or(unproven),
            ..held
        }
    }

    /// A file that was recorded, and whether it is there.
    pub(super) fn held(&self, at: usize, file: Option<&FileRecord>) -> ClaimedFile {
        let set = &self.catalog.sets()[at];
        let Some(file) = file else {
            return ClaimedFile::default();
        };
        let (name, id) = (file.name.clone(), set.id.clone());
        let Some(size) = self.catalog.file(&name) else {
            return ClaimedFile {
                file: None,
                gap: Some(Gap::FileGone {
                    set: id,
                    absence: self.catalog.absence(&name),
                    file: name,
                }),
            };
        };
        ClaimedFile {
            gap: (size != file.size).then(|| Gap::FileChanged {
                set: id,
                file: name.clone(),
                size,
                recorded: file.size,
            }),
            file: Some(self.catalog.recorded_file(at, file, size)),
        }
    }

    /// The file of a shard in a set of influxd's.
    pub(crate) fn unrecorded_claim(&self, at: usize, path: &ShardPath) -> Option<ClaimedFile> {
        let unrecorded = self.unrecorded[at].as_ref()?;
        let set = &self.catalog.sets()[at];
        if set.is_loose() {
            return self.catalog.file_of(at, path).map(|file| ClaimedFile {
                file: Some(file),
                gap: None,
            });
        }
        let entries = unrecorded.entries.get(&path.id)?;
        let entry = entries.iter().find(|entry| entry.is_of(path))?;
        let (name, id) = (entry.file_name.clone(), set.id.clone());
        Some(match self.catalog.file(&name) {
            Some(size) => ClaimedFile {
                file: Some(self.catalog.backup_file(at, name, size)),
                gap: unrecorded
                    .is_unreadable
                    .then_some(Gap::ServerUnknown { set: id }),
            },
            None => ClaimedFile {
                file: None,
                gap: Some(Gap::FileGone {
                    set: id,
                    absence: self.catalog.absence(&name),
                    file: name,
                }),
            },
        })
    }
}

impl<'a> Unrecorded<'a> {
    /// `shards` are those that the metastore names, where it can be read.
    fn of(set: &'a Set, shards: Option<&[Shard]>) -> Self {
        let mut entries: HashMap<u64, Vec<&ShardEntry>> = HashMap::new();
        let mut strays = Vec::new();
        let named: Option<HashMap<u64, Vec<&ShardPath>>> = shards.map(|shards| {
            let mut named: HashMap<u64, Vec<&ShardPath>> = HashMap::new();
            for shard in shards {
                named.entry(shard.path.id).or_default().push(&shard.path);
            }
            named
        });
        for entry in set.listing().into_iter().flat_map(Manifest::entries) {
            let id = entry.shard_id;
            let is_named = named.as_ref().is_none_or(|named| {
                named
                    .get(&id)
                    .is_some_and(|paths| paths.iter().any(|path| entry.is_of(path)))
            });
            let known = entries.entry(id).or_default();
            let is_double = known
                .iter()
                .any(|other| (&other.database, &other.policy) == (&entry.database, &entry.policy));
            if !is_named || is_double || !manifest::is_file_of_shard(&entry.file_name, id) {
                strays.push(entry);
            } else {
                known.push(entry);
            }
        }
        Self {
            entries,
            strays,
            is_unreadable: set.meta.is_some() && shards.is_none(),
        }
    }
}
