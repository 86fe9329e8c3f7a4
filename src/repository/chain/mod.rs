//! Which sets a set needs, and what is missing between them: the only place that knows.
//!
//! For one shard, a set makes a *claim*: it holds all of it, or what changed after a time, or it could not have it, or the shard
//! was not there yet. An increment that holds what changed after `since` goes on from an earlier set that was begun at `since` or
//! later and holds the shard whole, alone or with the sets that it goes on from itself. So each set has at most one parent for
//! each shard, and where it has none although it needs one there is a [`Gap`].
//!
//! Sets of influxd's have no record. What they were asked for is not known: a file of theirs may be a whole shard or an
//! increment, so that it goes on from whatever is older, and is never complained of for what that lacks, but for files that are gone.
//!
//! Restore, check, verify, list, info, forget, `-incremental` and `-since last` all ask here.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::fmt;

use jiff::Timestamp;

use super::catalog::{BackupFile, Catalog};
use super::manifest::{self, Manifest, ShardEntry};
use super::record::{Content, FileRecord, Selection, SetRecord, SetState, ShardRecord, ShardState};
use super::set::{Origin, Set};
use super::set_id::SetId;
use crate::metastore::{Data, Shard};
use crate::shard::ShardPath;
use crate::time;

/// Why a shard, or a set, cannot be restored whole.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gap {
    /// A file that a set recorded or listed is gone.
    FileGone {
        /// The set.
        set: SetId,
        /// The file in the backup directory.
        file: String,
        /// What became of it: that it is gone, or what stands in its place.
        absence: &'static str,
    },
    /// A file has another size than its set recorded.
    FileChanged {
        /// The set.
        set: SetId,
        /// The file in the backup directory.
        file: String,
        /// Bytes that it has.
        size: u64,
        /// Bytes that were recorded.
        recorded: u64,
    },
    /// An increment, and no earlier set that was asked for the shard.
    NoParent {
        /// The increment.
        set: SetId,
        /// What changed after this time is in it.
        since: Timestamp,
    },
    /// An increment takes what changed after a time that lies after the start of the set before it.
    TimeGap {
        /// The increment.
        after: SetId,
        /// What changed after this time is in it.
        since: Timestamp,
        /// The set before it.
        before: SetId,
        /// What changed after this time may not be in that.
        started: Timestamp,
    },
    /// The set before an increment was begun later than the increment, by the clock.
    ClockSetBack {
        /// The increment.
        after: SetId,
        /// The set before it.
        before: SetId,
        /// When that was begun.
        started: Timestamp,
    },
    /// The server did not have the shard open, and it holds data in other sets.
    NotHeldThen {
        /// The set that was made then.
        set: SetId,
    },
    /// The shard could not be fetched.
    Failed {
        /// The set that lacks it.
        set: SetId,
        /// Whether an older set has it.
        older: bool,
    },
    /// The shard is in the set, and can lack points that the server had acknowledged before that was begun.
    Unproven {
        /// The set.
        set: SetId,
    },
    /// The set is marked as partial, and no shard of it is known to be missing or unproven.
    Partial {
        /// The set.
        set: SetId,
    },
    /// The set's metastore names the shard, and its record has no word of it.
    NotRecorded {
        /// The set.
        set: SetId,
    },
    /// The set's record has a file of the shard, and its metastore does not name it.
    NotNamed {
        /// The set.
        set: SetId,
    },
    /// A legacy directory of influxd's has no file of a shard that its metastore names.
    NoFile {
        /// The set.
        set: SetId,
        /// Whether there are files of other shards of the retention policy.
        others: bool,
    },
    /// A manifest says that it lacks something, and does not list the shard or, where there is no shard, does not say what.
    Limited {
        /// The set.
        set: SetId,
    },
    /// A manifest lists a file for a shard that the metastore beside it does not name, or that is another's by its name.
    Stray {
        /// The set.
        set: SetId,
        /// The file in the backup directory.
        file: String,
        /// The shard that is listed with it.
        listed: String,
    },
    /// A file of a shard lies beside a manifest that does not list it.
    NotListed {
        /// The set.
        set: SetId,
        /// The file in the backup directory.
        file: String,
    },
    /// The metastore that tells of which server a set of influxd's is cannot be read.
    ServerUnknown {
        /// The set.
        set: SetId,
    },
    /// The newest file of the shard holds a range of time, and older ones hold more.
    RangeBeside {
        /// That file.
        file: String,
    },
}

impl Gap {
    /// Whether a file of the backup is not as it was written: damage, where the others were so from the beginning.
    pub fn is_damage(&self) -> bool {
        matches!(
            self,
            Self::FileGone { .. }
                | Self::FileChanged { .. }
                | Self::NotRecorded { .. }
                | Self::NotNamed { .. }
                | Self::NoFile { others: true, .. }
                | Self::Stray { .. }
                | Self::NotListed { .. }
                | Self::ServerUnknown { .. }
        )
    }

    /// Whether it lies between a set and those it goes on from, where the others are of the set alone.
    pub fn is_below(&self, id: &SetId) -> bool {
        match self {
            Self::Unproven { set } => set != id,
            Self::Failed { .. } | Self::Partial { .. } | Self::Limited { .. } => false,
            _ => true,
        }
    }

    /// The set and the file in the backup directory, where it is one file's.
    pub fn file(&self) -> Option<(&SetId, &str)> {
        match self {
            Self::FileGone { set, file, .. }
            | Self::FileChanged { set, file, .. }
            | Self::Stray { set, file, .. }
            | Self::NotListed { set, file } => Some((set, file)),
            _ => None,
        }
    }

    fn is_of_file(&self) -> bool {
        matches!(
            self,
            Self::FileGone { .. } | Self::FileChanged { .. } | Self::ServerUnknown { .. }
        )
    }
}

impl fmt::Display for Gap {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FileGone { set, file, absence } => {
                write!(f, "the file {file} of set {set} {absence}")
            }
            Self::FileChanged {
                set,
                file,
                size,
                recorded,
            } => write!(
                f,
                "the file {file} of set {set} has {size} bytes and not {recorded}"
            ),
            Self::NoParent { set, since } => write!(
                f,
                "set {set} holds only what changed after {since}, and there is no set before it"
            ),
            Self::TimeGap {
                after,
                since,
                before,
                started,
            } => write!(
                f,
                "set {after} holds only what changed after {since}, but the set before it, {before}, was begun at {started}: \
                 what changed in between is in neither"
            ),
            Self::ClockSetBack {
                after,
                before,
                started,
            } => write!(
                f,
                "set {after} is an increment to a set before it, but {before} was begun later, at {started}: the clock was \
                 set back in between"
            ),
            Self::NotHeldThen { set } => write!(
                f,
                "the server of set {set} did not have the shard open: its newest state is not in the backup"
            ),
            Self::Failed { set, older: true } => write!(
                f,
                "it could not be fetched for set {set}: it is restored from an older one"
            ),
            Self::Failed { set, older: false } => write!(
                f,
                "it could not be fetched for set {set} and is in no older one"
            ),
            Self::Unproven { set } => write!(
                f,
                "it is unproven in set {set}: points acknowledged before that was begun can be missing"
            ),
            Self::Partial { set } => write!(
                f,
                "set {set} is partial: something that it was asked for is not in it for certain"
            ),
            Self::NotRecorded { set } => write!(
                f,
                "the metastore of set {set} names it, but the record of the set does not"
            ),
            Self::NotNamed { set } => write!(
                f,
                "the record of set {set} has a file of it, but the metastore of the set does not name it"
            ),
            Self::NoFile { set, .. } => write!(
                f,
                "named in the metastore of set {set}, but without a file in the backup"
            ),
            Self::Limited { set } => write!(
                f,
                "set {set} is partial by its manifest (\"limited\": true): something that it was asked for is not in it"
            ),
            Self::Stray { set, file, listed } => write!(
                f,
                "the manifest of set {set} lists {file} as {listed}, which does not fit the metastore beside it: its points are \
                 not restored"
            ),
            Self::NotListed { set, file } => write!(
                f,
                "the manifest of set {set} does not list {file}, which lies beside it: its points are not restored"
            ),
            Self::ServerUnknown { set } => write!(
                f,
                "the metastore of set {set} cannot be read, so that nobody knows of which server its files are"
            ),
            Self::RangeBeside { file } => write!(
                f,
                "the newest file {file} holds a range of time, and older ones hold more"
            ),
        }
    }
}

/// Something that a set does not bring back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Missing {
    /// The shard, where it is one.
    pub shard: Option<ShardPath>,
    /// Why.
    pub gap: Gap,
}

impl fmt::Display for Missing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(shard) = &self.shard {
            write!(f, "shard {shard}: ")?;
        }
        write!(f, "{}", self.gap)
    }
}

/// The set that is asked about, among those it may build on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChainContext {
    /// Its place among the sets.
    pub at: usize,
    /// The last of the sets that count: it, or stray files of influxd's under a later number.
    pub last: usize,
    /// Whether only what it was asked for counts, though older sets may hold more.
    pub alone: bool,
}

impl ChainContext {
    /// A set by itself, with what it builds on.
    pub fn alone(at: usize) -> Self {
        Self {
            at,
            last: at,
            alone: true,
        }
    }
}

/// What a set has of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ShardChain {
    /// It should have it.
    Asked {
        /// The files that make it up, oldest first; none where nothing was in it.
        files: Vec<BackupFile>,
        /// What is missing of it.
        gap: Option<Gap>,
    },
    /// No set that counts was asked for it.
    NotAsked {
        /// Whether it may hold points: its time had begun.
        may_hold: bool,
    },
}

/// What one set says of one shard.
enum Claim {
    /// Here is all of it, or there was nothing in it.
    Whole(Held),
    /// Here is what changed after that time.
    Since(Held, Timestamp),
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
    /// Here are the points of an interval of time.
    Range(Held),
    /// Here is a file of influxd's: all of it, or a part.
    Unknown(Held),
}

/// The file of a claim; both are nothing where it needs none.
#[derive(Default)]
struct Held {
    file: Option<BackupFile>,
    gap: Option<Gap>,
}

/// What older sets hold of a shard that a set itself has no word of.
struct Beside {
    /// The set that has the newest word.
    from: usize,
    files: Vec<BackupFile>,
    gap: Option<Gap>,
}

/// A set's part in the chain of a shard.
#[derive(Debug, Default)]
struct Link {
    file: Option<BackupFile>,
    /// The set that it goes on from.
    parent: Option<usize>,
    gap: Option<Gap>,
    /// Whether it is influxd's, and may be whole or not.
    is_unknown: bool,
}

/// The links that are known of a shard, by set.
type Links = BTreeMap<usize, Box<Link>>;

/// What is known of a set without a record.
struct Unrecorded<'a> {
    entries: HashMap<u64, Vec<&'a ShardEntry>>,
    strays: Vec<&'a ShardEntry>,
    /// Whether a metastore is there that cannot be read.
    is_unreadable: bool,
}

/// The chains of a backup directory.
pub struct Chains<'a> {
    catalog: &'a Catalog,
    unrecorded: Vec<Option<Unrecorded<'a>>>,
    clusters: Vec<Option<u64>>,
    links: HashMap<(Option<u64>, ShardPath), Links>,
}

impl<'a> Chains<'a> {
    /// Those of a directory. Of sets without a record the metastores are read.
    pub fn of(catalog: &'a Catalog) -> Self {
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
            links: HashMap::new(),
        }
    }

    /// Whether two sets are of different servers, as far as can be told. Ids begin anew there: a shard of the same name is
    /// another shard.
    pub fn are_foreign(&self, one: usize, other: usize) -> bool {
        is_foreign(self.clusters[one], self.clusters[other])
    }

    /// What a set brings back of a shard that its metastore names and does not mark as deleted.
    pub fn of_shard(&mut self, context: ChainContext, shard: &Shard) -> ShardChain {
        let path = &shard.path;
        // A stray file of influxd's is newer than the set, and nobody knows what it holds.
        let stray = (context.at + 1..=context.last).rev().find(|at| {
            !self.are_foreign(*at, context.at) && self.unrecorded_claim(*at, path).is_some()
        });
        let of_set = self.without_strays(context, shard);
        let Some(stray) = stray else {
            return of_set;
        };
        let (files, gap) = self.chain(context.at, stray, path);
        let gap = match of_set {
            ShardChain::Asked { gap: of_set, .. } => gap.or(of_set),
            ShardChain::NotAsked { .. } => gap,
        };
        ShardChain::Asked { files, gap }
    }

    fn without_strays(&mut self, context: ChainContext, shard: &Shard) -> ShardChain {
        let (at, path) = (context.at, &shard.path);
        let set = &self.catalog.sets()[at];
        let may_hold = shard.start <= time::to_nanos(set.started);
        match self.claim(at, path) {
            Some(Claim::NotThere) => {
                let files = self
                    .beside(context, path)
                    .map_or_else(Vec::new, |beside| beside.files);
                let set = set.id.clone();
                return ShardChain::Asked {
                    files,
                    gap: Some(Gap::NotRecorded { set }),
                };
            }
            Some(Claim::Range(_)) if !context.alone => {}
            Some(_) => {
                let (files, gap) = self.chain(at, at, path);
                return ShardChain::Asked { files, gap };
            }
            None => {}
        }
        if let Some(manifest) = set.listing() {
            let file = manifest::shard_file(set.id.as_str(), path.id);
            let mut entries = manifest.entries().iter();
            let is_listed = entries.any(|entry| entry.file_name == file);
            if !is_listed && self.catalog.has(&file) {
                let set = set.id.clone();
                return ShardChain::Asked {
                    files: Vec::new(),
                    gap: Some(Gap::NotListed { set, file }),
                };
            }
        }
        let is_limited = set.is_limited() && may_hold;
        let is_loose = set.is_loose();
        // Of influxd's legacy directories nobody knows which files were written by the run that wrote the metastore.
        let beside = match context.alone && !is_loose && !is_limited {
            true => None,
            false => self.beside(context, path),
        };
        let set = set.id.clone();
        match beside {
            _ if is_limited && path.database != "_internal" => ShardChain::Asked {
                files: beside.map_or_else(Vec::new, |beside| beside.files),
                gap: Some(Gap::Limited { set }),
            },
            Some(Beside { files, gap, .. }) => ShardChain::Asked { files, gap },
            // influxd writes a file for each shard it has open, so only a group that had not begun when the metastore was
            // fetched may lack one; and `_internal` is seldom wanted.
            None if is_loose && may_hold && path.database != "_internal" => ShardChain::Asked {
                files: Vec::new(),
                gap: Some(Gap::NoFile {
                    set,
                    others: self.has_files_of_policy(path),
                }),
            },
            // Outside the range of time that was asked for.
            None if context.alone && self.is_in_range_set(at, path) => ShardChain::Asked {
                files: Vec::new(),
                gap: None,
            },
            None => ShardChain::NotAsked { may_hold },
        }
    }

    /// Whether the legacy layout has a file that may be of the shard's retention policy.
    fn has_files_of_policy(&self, path: &ShardPath) -> bool {
        let prefix = format!("{}.{}.", path.database, path.retention_policy);
        let mut files = self.catalog.shard_files();
        files.any(|name| name.starts_with(&prefix))
    }

    fn is_in_range_set(&self, at: usize, path: &ShardPath) -> bool {
        let record = self.catalog.sets()[at].record();
        record.is_some_and(|record| record.is_range() && record.selection.takes(path))
    }

    /// What the directory holds of a shard that the set itself was not asked for: the newest word of an older set, or of the set
    /// where that took a range of time.
    fn beside(&mut self, context: ChainContext, path: &ShardPath) -> Option<Beside> {
        let mut ranges = Vec::new();
        // A set that tells why there is nothing.
        let mut explained = None;
        for at in (0..=context.at).rev() {
            if self.are_foreign(at, context.at) {
                continue;
            }
            match self.claim(at, path) {
                Some(Claim::Range(held)) => ranges.push((at, held.file)),
                Some(
                    Claim::Whole(_)
                    | Claim::Since(..)
                    | Claim::Unknown(_)
                    | Claim::Failed { .. }
                    | Claim::NotHeld { .. },
                ) => {
                    let (files, gap) = self.chain(context.at, at, path);
                    // Which of the two is wanted, nobody knows.
                    let gap = match (ranges.first(), files.is_empty()) {
                        (None, _) => gap,
                        (Some((_, Some(newest))), false) => Some(Gap::RangeBeside {
                            file: newest.name.clone(),
                        }),
                        (Some(_), _) => continue,
                    };
                    return Some(Beside {
                        from: at,
                        files,
                        gap,
                    });
                }
                None if self.is_in_range_set(at, path) => drop(explained.get_or_insert(at)),
                Some(Claim::Expired) => drop(explained.get_or_insert(at)),
                Some(Claim::NotThere) | None => {}
            }
        }
        let from = ranges.first().map(|(at, _)| *at);
        let (files, gap) = match from {
            Some(newest) => self.chain(context.at, newest, path),
            None => (Vec::new(), None),
        };
        Some(Beside {
            from: from.or(explained)?,
            files,
            gap,
        })
    }

    /// What the set at `at` does not bring back, alone and with what it builds on. Without its metastore a record tells, but for
    /// shards that it has no word of; and of a set without a record nothing is told of shards.
    pub fn missing(&mut self, at: usize, metastore: Option<&Data>) -> Vec<Missing> {
        let set = &self.catalog.sets()[at];
        let mut missing: Vec<Missing> = self.of_set(at);
        let mut shards: Vec<Shard> = Vec::new();
        if let Some(record) = set.record() {
            let unnamed = metastore.map_or_else(Vec::new, |data| self.unnamed(at, data));
            let is_named = |path: &ShardPath| {
                let mut unnamed = unnamed.iter().filter_map(|missing| missing.shard.as_ref());
                !unnamed.any(|unnamed| unnamed == path)
            };
            let named = record.shards.iter().map(|shard| Shard {
                path: shard.path(),
                start: time::to_nanos(shard.start_time),
                end: time::to_nanos(shard.end_time),
                deleted_at: None,
            });
            shards.extend(named.filter(|shard| is_named(&shard.path)));
            missing.extend(unnamed);
        }
        let live = metastore.into_iter().flat_map(Data::shards);
        shards.extend(live.filter(|shard| {
            let is_recorded = |record: &SetRecord| record.shard(&shard.path).is_some();
            shard.deleted_at.is_none() && !set.record().is_some_and(is_recorded)
        }));
        let context = ChainContext::alone(at);
        let mut asked = Vec::new();
        for shard in shards {
            if let ShardChain::Asked { gap, .. } = self.of_shard(context, &shard) {
                let path = shard.path;
                missing.extend(gap.map(|gap| Missing {
                    shard: Some(path.clone()),
                    gap,
                }));
                asked.push(path);
            }
        }
        missing.extend(self.strays_below(context, asked.iter()));
        missing
    }

    /// The shards that the record of a set has files of, and that its metastore does not name.
    pub fn unnamed(&self, at: usize, metastore: &Data) -> Vec<Missing> {
        let set = &self.catalog.sets()[at];
        let named: HashSet<ShardPath> = metastore.shards().map(|shard| shard.path).collect();
        let shards = set.record().into_iter().flat_map(|record| &record.shards);
        shards
            .filter(|shard| shard.state == ShardState::Stored)
            .map(ShardRecord::path)
            .filter(|path| !named.contains(path))
            .map(|path| Missing {
                shard: Some(path),
                gap: Gap::NotNamed {
                    set: set.id.clone(),
                },
            })
            .collect()
    }

    /// What is missing of a set as a whole.
    fn of_set(&self, at: usize) -> Vec<Missing> {
        let set = &self.catalog.sets()[at];
        let mut gaps = Vec::new();
        match &set.origin {
            Origin::Recorded(record) => gaps.extend(self.held(at, Some(&record.meta)).gap),
            Origin::Listed(manifest) if set.meta.is_none() => gaps.push(Gap::FileGone {
                set: set.id.clone(),
                file: manifest.meta.file_name.clone(),
                absence: self.catalog.absence(&manifest.meta.file_name),
            }),
            Origin::Listed(_) | Origin::Loose { .. } => {}
        }
        gaps.extend(self.says_that_it_lacks(at));
        gaps.extend(self.strays(at));
        let missing = |gap| Missing { shard: None, gap };
        gaps.into_iter().map(missing).collect()
    }

    /// That the record or the manifest of a set says that something is not there, and not what.
    fn says_that_it_lacks(&self, at: usize) -> Option<Gap> {
        let set = &self.catalog.sets()[at];
        let id = set.id.clone();
        if let Some(record) = set.record() {
            let mut shards = record.shards.iter();
            let is_told =
                shards.any(|shard| shard.state == ShardState::Failed || shard.unproven.is_some());
            let is_partial = record.state == SetState::Partial && !is_told;
            return is_partial.then_some(Gap::Partial { set: id });
        }
        set.is_limited().then_some(Gap::Limited { set: id })
    }

    /// The entries of a manifest of influxd's that belong to no shard of the metastore beside it.
    pub fn strays(&self, at: usize) -> Vec<Gap> {
        let set = &self.catalog.sets()[at];
        let stray = |entry: &&ShardEntry| Gap::Stray {
            set: set.id.clone(),
            file: entry.file_name.clone(),
            listed: format!(
                "shard {}/{}/{}",
                entry.database, entry.policy, entry.shard_id
            ),
        };
        let unrecorded = self.unrecorded[at].iter();
        unrecorded
            .flat_map(|unrecorded| &unrecorded.strays)
            .map(stray)
            .collect()
    }

    /// What is missing of a restore that cannot be told of one shard: that the set says that it lacks something, and entries of
    /// manifests that belong to no shard, of the set itself and of older ones that one of `shards` may need.
    pub fn missing_beside_shards<'s>(
        &mut self,
        context: ChainContext,
        shards: impl Iterator<Item = &'s ShardPath>,
    ) -> Vec<Missing> {
        let own = self.says_that_it_lacks(context.at).into_iter();
        let own = own.chain(self.strays(context.at));
        let mut missing: Vec<Missing> = own.map(|gap| Missing { shard: None, gap }).collect();
        missing.extend(self.strays_below(context, shards));
        missing
    }

    /// Entries of older manifests that belong to no shard, where the chain of a shard may need what they stand for: that of a set
    /// of influxd's, which may be an increment to anything older.
    fn strays_below<'s>(
        &mut self,
        context: ChainContext,
        shards: impl Iterator<Item = &'s ShardPath>,
    ) -> Vec<Missing> {
        let older: Vec<usize> = (0..context.last)
            .filter(|at| *at != context.at && !self.are_foreign(*at, context.at))
            .filter(|at| !self.strays(*at).is_empty())
            .collect();
        let (Some(oldest), Some(newest)) = (older.first(), older.last()) else {
            return Vec::new();
        };
        // From where on, and up to where, a chain is of files that may go on from others.
        let (mut from, mut to) = (usize::MAX, 0);
        for path in shards {
            let top = (0..=context.last)
                .rev()
                .find(|at| !self.are_foreign(*at, context.at) && self.claim(*at, path).is_some());
            let Some(top) = top else { continue };
            let links = self.links(self.clusters[context.at], top, path);
            let mut next = Some(top);
            while let Some((at, link)) = next.and_then(|at| Some((at, links.get(&at)?))) {
                if link.is_unknown {
                    to = to.max(at);
                }
                if link.parent.is_none() {
                    from = from.min(if link.is_unknown { 0 } else { at });
                }
                next = link.parent;
            }
        }
        if to < *oldest || from > *newest {
            return Vec::new();
        }
        let needed = older.into_iter().filter(|at| (from..to).contains(at));
        needed
            .flat_map(|at| self.strays(at))
            .map(|gap| Missing { shard: None, gap })
            .collect()
    }

    /// Whether a set brings back all that it was asked for, alone and with what it builds on, as far as names, sizes and records
    /// tell.
    pub fn is_whole(&mut self, at: usize, metastore: Option<&Data>) -> bool {
        self.missing(at, metastore).is_empty()
    }

    /// The earlier sets that a set goes on from directly. What these go on from is told of them.
    pub fn parents(&mut self, at: usize) -> BTreeSet<usize> {
        let set = &self.catalog.sets()[at];
        let paths: BTreeSet<ShardPath> = match set.record() {
            Some(record) => record.shards.iter().map(ShardRecord::path).collect(),
            None => self.paths_of_unrecorded(at, set),
        };
        let cluster = self.clusters[at];
        let mut parents = BTreeSet::new();
        for path in paths {
            if self.claim(at, &path).is_some() {
                parents.extend(
                    self.links(cluster, at, &path)
                        .get(&at)
                        .and_then(|link| link.parent),
                );
            } else if set.is_loose() {
                // Its metastore names the shard, and an older set has the file or says why there is none.
                let beside = self.beside(ChainContext::alone(at), &path);
                parents.extend(beside.map(|beside| beside.from));
            }
        }
        parents
    }

    /// The shards of which a set of influxd's may need what older sets have.
    fn paths_of_unrecorded(&self, at: usize, set: &Set) -> BTreeSet<ShardPath> {
        let older = self.catalog.sets()[..at].iter();
        let recorded = older.filter_map(Set::record);
        let mut paths: BTreeSet<ShardPath> = recorded
            .flat_map(|record| record.shards.iter().map(ShardRecord::path))
            .filter(|path| self.unrecorded_claim(at, path).is_some())
            .collect();
        if set.is_loose()
            && let Ok((_, data)) = self.catalog.read_meta(set)
        {
            let live = data.shards().filter(|shard| shard.deleted_at.is_none());
            paths.extend(live.map(|shard| shard.path));
        }
        paths
    }

    /// The sets that a backup of a server may build on, newest first, with their places: complete ones that were begun at `now` or
    /// before. And the ids of those that would be, had they not been begun later: the clock was set back since, and nobody knows
    /// what changed since then.
    pub fn to_build_on(
        catalog: &Catalog,
        cluster_id: u64,
        now: Timestamp,
    ) -> (Vec<(usize, &SetRecord)>, Vec<&SetId>) {
        let sets = catalog.sets().iter().enumerate().rev();
        let records = sets.filter_map(|(at, set)| Some((at, set.record()?)));
        let usable = |(_, set): &(usize, &SetRecord)| {
            set.state == SetState::Complete && set.cluster_id == Some(cluster_id)
        };
        let (sets, ahead): (Vec<_>, Vec<_>) = records
            .filter(usable)
            .partition(|(_, set)| set.started <= now);
        let ahead = ahead.into_iter().map(|(_, set)| &set.id).collect();
        (sets, ahead)
    }

    /// The newest of `sets` that an increment of this selection may go on from: one of the same selection that can be restored
    /// whole. What was modified after it was begun is not in it.
    pub fn last_of<'s>(
        &mut self,
        sets: &[(usize, &'s SetRecord)],
        selection: &Selection,
    ) -> Option<&'s SetRecord> {
        let same = |set: &SetRecord| {
            let taken = Selection {
                since: None,
                ..set.selection.clone()
            };
            taken == *selection
        };
        let found = sets
            .iter()
            .filter(|(_, set)| same(set))
            .find(|(at, _)| self.is_whole(*at, None));
        found.map(|(_, set)| *set)
    }

    /// The files from the set at `top` down, oldest first, and what is missing of them. Sets of other servers than that of the set
    /// at `of` do not count.
    fn chain(&mut self, of: usize, top: usize, path: &ShardPath) -> (Vec<BackupFile>, Option<Gap>) {
        let links = self.links(self.clusters[of], top, path);
        let gap = links.get(&top).and_then(|link| link.gap.clone());
        let (mut files, mut next) = (Vec::new(), Some(top));
        while let Some(link) = next.and_then(|at| links.get(&at)) {
            files.extend(link.file.clone());
            next = link.parent;
        }
        files.reverse();
        (files, gap)
    }

    /// The links of a shard, that of `top` and all below it among them.
    fn links(&mut self, cluster: Option<u64>, top: usize, path: &ShardPath) -> &Links {
        let key = (cluster, path.clone());
        let mut links = self.links.remove(&key).unwrap_or_default();
        // A link needs those below it first. There may be more of these than a stack has room for.
        let mut open = vec![top];
        while let Some(at) = open.last().copied() {
            if links.contains_key(&at) {
                open.pop();
                continue;
            }
            match self.link(at, path, cluster, &links) {
                Ok(link) => drop(links.insert(at, Box::new(link))),
                Err(needed) => open.push(needed),
            }
        }
        self.links.entry(key).or_insert(links)
    }

    /// The part of the set at `at` in the chain of a shard, or a set before it whose part has to be known first.
    fn link(
        &self,
        at: usize,
        path: &ShardPath,
        cluster: Option<u64>,
        links: &Links,
    ) -> Result<Link, usize> {
        let set = || self.catalog.sets()[at].id.clone();
        let known = |parent: usize| links.get(&parent).ok_or(parent);
        let Some(claim) = self.claim(at, path) else {
            return Ok(Link::default());
        };
        Ok(match claim {
            Claim::NotThere | Claim::Expired => Link::default(),
            Claim::Range(Held { file, gap }) => Link {
                file,
                gap,
                ..Link::default()
            },
            Claim::Whole(Held { file, gap }) => {
                let parent = match gap {
                    None | Some(Gap::Unproven { .. }) => None,
                    // Where it is gone, an older state is better than none.
                    Some(_) => self.older(at, path, cluster),
                };
                parent.map_or(Ok(()), |parent| known(parent).map(drop))?;
                Link {
                    file,
                    parent,
                    gap,
                    is_unknown: false,
                }
            }
            Claim::Unknown(held) => {
                let parent = self.older(at, path, cluster);
                let below = match parent {
                    Some(parent) => known(parent)?.gap.clone(),
                    None => None,
                };
                Link {
                    file: held.file,
                    parent,
                    gap: held.gap.or(below.filter(Gap::is_of_file)),
                    is_unknown: true,
                }
            }
            Claim::Failed { range } => {
                let parent = self.older(at, path, cluster).filter(|_| !range);
                let older = match parent {
                    Some(parent) => has_files(parent, links)?,
                    None => false,
                };
                Link {
                    parent,
                    gap: Some(Gap::Failed { set: set(), older }),
                    ..Link::default()
                }
            }
            Claim::NotHeld { range, .. } => {
                let Some(parent) = self.older(at, path, cluster) else {
                    return Ok(Link::default());
                };
                let held = has_files(parent, links)? || known(parent)?.gap.is_some();
                let parent = match held {
                    // A range must not bring more than was asked for.
                    true => Some(parent).filter(|_| !range),
                    // That there was nothing, it has to say only where older sets say otherwise.
                    false => Some(parent).filter(|parent| self.was_held(*parent, path, cluster)),
                };
                Link {
                    parent,
                    gap: held.then(|| Gap::NotHeldThen { set: set() }),
                    ..Link::default()
                }
            }
            Claim::Since(held, since) => {
                let (parent, below) = self.parent_of(at, since, path, cluster, links)?;
                Link {
                    file: held.file,
                    parent,
                    gap: worse(held.gap, below),
                    is_unknown: false,
                }
            }
        })
    }

    /// Whether any set before `at` had something of the shard.
    fn was_held(&self, at: usize, path: &ShardPath, cluster: Option<u64>) -> bool {
        let mut older = (0..at).filter(|older| !is_foreign(self.clusters[*older], cluster));
        older.any(|older| {
            matches!(
                self.claim(older, path),
                Some(Claim::Whole(held) | Claim::Since(held, _) | Claim::Unknown(held))
                    if held.file.is_some() || held.gap.is_some()
            )
        })
    }

    /// The newest set before `at` that has something to go on from: all sets that could not have the shard are passed over.
    fn older(&self, at: usize, path: &ShardPath, cluster: Option<u64>) -> Option<usize> {
        let mut older = (0..at)
            .rev()
            .filter(|older| !is_foreign(self.clusters[*older], cluster));
        older.find(|older| {
            matches!(
                self.claim(*older, path),
                Some(Claim::Whole(_) | Claim::Since(..) | Claim::NotThere | Claim::Unknown(_))
            )
        })
    }

    /// The set that an increment goes on from, and what is missing below it: of the sets before it that were begun at `since` or
    /// later, the newest that is whole.
    fn parent_of(
        &self,
        at: usize,
        since: Timestamp,
        path: &ShardPath,
        cluster: Option<u64>,
        links: &Links,
    ) -> Result<(Option<usize>, Option<Gap>), usize> {
        let sets = self.catalog.sets();
        let set = &sets[at];
        let known = |older: usize| links.get(&older).ok_or(older);
        let (mut broken, mut early, mut ahead, mut not_held) = (None, None, None, None);
        for older in (0..at).rev() {
            if is_foreign(self.clusters[older], cluster) {
                continue;
            }
            let before = &sets[older];
            let claim = self.claim(older, path);
            match &claim {
                Some(Claim::NotHeld {
                    early: is_early, ..
                }) => {
                    not_held.get_or_insert(older);
                    if *is_early && before.started >= since && before.started <= set.started {
                        early.get_or_insert(older);
                    }
                    continue;
                }
                Some(Claim::Whole(_) | Claim::Since(..) | Claim::NotThere | Claim::Unknown(_)) => {}
                Some(Claim::Failed { .. } | Claim::Expired | Claim::Range(_)) | None => continue,
            }
            if before.is_recorded() && before.started > set.started {
                ahead.get_or_insert(older);
                continue;
            }
            // The time of a legacy set of influxd's is that of a file, which a copy changes.
            if before.started < since && !before.is_loose() {
                if broken.is_some() {
                    break;
                }
                return if let (Some(early), Some(Claim::NotThere)) = (early, &claim) {
                    known(early).map(|link| (Some(early), link.gap.clone()))
                } else {
                    known(older)?;
                    let gap = Gap::TimeGap {
                        after: set.id.clone(),
                        since,
                        before: before.id.clone(),
                        started: before.started,
                    };
                    Ok((Some(older), Some(gap)))
                };
            }
            match &known(older)?.gap {
                None => return Ok((Some(older), None)),
                Some(gap) => drop(broken.get_or_insert((older, gap.clone()))),
            }
        }
        let id = |at: usize| sets[at].id.clone();
        Ok(match (broken, early, ahead, not_held) {
            (Some((parent, gap)), ..) => (Some(parent), Some(gap)),
            (None, Some(early), ..) => (Some(early), known(early)?.gap.clone()),
            (None, None, Some(ahead), _) => {
                let (after, before) = (set.id.clone(), id(ahead));
                let started = sets[ahead].started;
                known(ahead)?;
                (
                    Some(ahead),
                    Some(Gap::ClockSetBack {
                        after,
                        before,
                        started,
                    }),
                )
            }
            (None, None, None, Some(not_held)) => {
                (None, Some(Gap::NotHeldThen { set: id(not_held) }))
            }
            (None, None, None, None) => {
                let set = set.id.clone();
                (None, Some(Gap::NoParent { set, since }))
            }
        })
    }

    fn claim(&self, at: usize, path: &ShardPath) -> Option<Claim> {
        let Some(record) = self.catalog.sets()[at].record() else {
            return self.unrecorded_claim(at, path).map(Claim::Unknown);
        };
        let selection = &record.selection;
        let Some(shard) = record.shard(path) else {
            let is_taken = !selection.meta_only && !record.is_range() && selection.takes(path);
            return is_taken.then_some(Claim::NotThere);
        };
        let range = shard.content == Content::Range;
        let file = || {
            let held = match shard.state {
                // That of an empty shard is there for influxd alone.
                ShardState::Stored => self.held(at, shard.file.as_ref()),
                _ => Held::default(),
            };
            let unproven = shard.unproven.is_some().then(|| Gap::Unproven {
                set: record.id.clone(),
            });
            Held {
                gap: held.gap.or(unproven),
                ..held
            }
        };
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

    /// A file that was recorded, and whether it is there.
    fn held(&self, at: usize, file: Option<&FileRecord>) -> Held {
        let set = &self.catalog.sets()[at];
        let Some(file) = file else {
            return Held::default();
        };
        let (name, id) = (file.name.clone(), set.id.clone());
        let Some(size) = self.catalog.file(&name) else {
            return Held {
                file: None,
                gap: Some(Gap::FileGone {
                    set: id,
                    absence: self.catalog.absence(&name),
                    file: name,
                }),
            };
        };
        Held {
            gap: (size != file.size).then(|| Gap::FileChanged {
                set: id,
                file: name.clone(),
                size,
                recorded: file.size,
            }),
            file: Some(self.catalog.backup_file(at, name, size)),
        }
    }

    /// The file of a shard in a set of influxd's.
    fn unrecorded_claim(&self, at: usize, path: &ShardPath) -> Option<Held> {
        let unrecorded = self.unrecorded[at].as_ref()?;
        let set = &self.catalog.sets()[at];
        if set.is_loose() {
            return self.catalog.file_of(at, path).map(|file| Held {
                file: Some(file),
                gap: None,
            });
        }
        let entries = unrecorded.entries.get(&path.id)?;
        let entry = entries.iter().find(|entry| entry.is_of(path))?;
        let (name, id) = (entry.file_name.clone(), set.id.clone());
        Some(match self.catalog.file(&name) {
            Some(size) => Held {
                file: Some(self.catalog.backup_file(at, name, size)),
                gap: unrecorded
                    .is_unreadable
                    .then_some(Gap::ServerUnknown { set: id }),
            },
            None => Held {
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

fn is_foreign(one: Option<u64>, other: Option<u64>) -> bool {
    one.zip(other).is_some_and(|(one, other)| one != other)
}

/// What is missing of an increment, where that is known of it and of what it goes on from: first what is wrong with its file.
fn worse(own: Option<Gap>, below: Option<Gap>) -> Option<Gap> {
    match own {
        // Its file is there, and what is below may not be.
        Some(Gap::Unproven { .. }) => below.or(own),
        _ => own.or(below),
    }
}

/// Whether a chain has any file from a set down, or a set whose part has to be known first.
fn has_files(top: usize, links: &Links) -> Result<bool, usize> {
    let mut next = Some(top);
    while let Some(at) = next {
        let link = links.get(&at).ok_or(at)?;
        if link.file.is_some() {
            return Ok(true);
        }
        next = link.parent;
    }
    Ok(false)
}

#[cfg(test)]
mod tests;
