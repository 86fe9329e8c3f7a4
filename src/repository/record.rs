//! The record of a set: what one run made, as a JSON document.

use std::fmt;
use std::io::{self, Write};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::digest::hex;
use super::manifest::{self, Manifest, MetaEntry, ShardEntry};
use super::names;
use super::set_id::SetId;
use crate::shard::ShardPath;
use crate::time::{Bounds, is_stamp};
use crate::tsm::is_tombstone;

/// The number of the document's form; readers refuse a larger one.
pub const RECORD_FORMAT: u32 = 1;

/// What stands before the sum at a document's end.
const SUM: &[u8] = b",\n  \"sum\": \"";
/// What ends a document, sum or not.
const END: &[u8] = b"\n}";

/// What one backup run made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SetRecord {
    /// [`RECORD_FORMAT`].
    pub format: u32,
    /// Program and version.
    pub written_by: String,
    /// The stamp of the start: `20261120T080000Z`.
    pub id: SetId,
    /// Whether all shards that were asked for are there.
    pub state: SetState,
    /// Which of influxd's two layouts the files have.
    pub layout: Layout,
    /// Grows from set to set; the NN at the end of the files' names in the legacy layout.
    pub number: u32,
    /// When the run began, by the clock of the machine it ran on.
    pub started: Timestamp,
    /// When all files were complete.
    pub finished: Timestamp,
    /// The server's address.
    pub host: String,
    /// The random number of the server's meta store; sets of different ones are never put together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<u64>,
    /// The protocol's dialect: `1.0` or `1.5`.
    pub dialect: String,
    /// What was asked for.
    pub selection: Selection,
    /// The file with the meta store.
    pub meta: FileRecord,
    /// Bytes of the meta store itself, where its file holds it in another frame.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta_size: Option<u64>,
    /// The manifest, in the portable layout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<FileRecord>,
    /// Every shard that was asked for, with or without a file.
    pub shards: Vec<ShardRecord>,
}

impl SetRecord {
    /// Whether its id is a stamp, and all files have the very names that the layout gives them:
    /// none leads out of the directory.
    pub fn has_sound_names(&self) -> bool {
        let (meta, manifest) = match self.layout {
            Layout::Legacy => (names::meta_file(self.number), None),
            Layout::Portable => (
                manifest::meta_file(self.id.as_str()),
                Some(manifest::manifest_file(self.id.as_str())),
            ),
        };
        let is_named = |shard: &ShardRecord| {
            let is_file = shard.file.as_ref().is_none_or(|file| {
                let name = match self.layout {
                    Layout::Legacy => names::shard_file(&shard.path(), self.number),
                    Layout::Portable => manifest::shard_file(self.id.as_str(), shard.id),
                };
                file.name == name && !name.contains('/')
            });
            is_file
                && shard
                    .shared_with
                    .as_ref()
                    .is_none_or(|set| is_stamp(set.as_str()))
        };
        is_stamp(self.id.as_str())
            && self.meta.name == meta
            && self.manifest.as_ref().map(|file| &file.name) == manifest.as_ref()
            && self.shards.iter().all(is_named)
    }

    /// Writes the document, piece by piece, for it can be large where there are many shards. Its
    /// last field, `sum`, is the SHA-256 of all that stands before it.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn write_to(&self, out: &mut dyn Write) -> io::Result<()> {
        let mut summing = Summing {
            out,
            digest: Sha256::new(),
            held: Vec::new(),
        };
        serde_json::to_writer_pretty(&mut summing, self)?;
        let Summing { out, digest, .. } = summing;
        out.write_all(SUM)?;
        out.write_all(hex(digest).as_bytes())?;
        out.write_all(b"\"")?;
        out.write_all(END)
    }

    /// Whether a document is as it was written, as far as its sum tells. One without a sum may be
    /// anything.
    pub fn is_as_written(document: &[u8]) -> bool {
        let Some(at) = document
            .windows(SUM.len())
            .rposition(|window| window == SUM)
        else {
            return true;
        };
        let stated = document[at + SUM.len()..]
            .split(|byte| *byte == b'"')
            .next()
            .unwrap_or_default();
        hex(Sha256::new_with_prefix(&document[..at])).as_bytes() == stated
    }

    /// Whether it does not contradict itself: a stored shard has a file, an empty one may have one,
    /// and no other has.
    pub fn is_consistent(&self) -> bool {
        self.shards.iter().all(|shard| match shard.state {
            ShardState::Stored => shard.file.is_some(),
            ShardState::Empty => true,
            ShardState::Expired | ShardState::NotHeld | ShardState::Failed => shard.file.is_none(),
        })
    }

    /// All files of the set, in the order in which they get their names.
    pub fn files(&self) -> impl Iterator<Item = &FileRecord> {
        self.shards
            .iter()
            .filter_map(|shard| shard.file.as_ref())
            .chain([&self.meta])
            .chain(&self.manifest)
    }

    /// Whether the set was made by asking for an interval of time.
    pub fn is_range(&self) -> bool {
        self.selection.bounds().is_some()
    }

    /// The manifest that influxd reads. One of a set that lacks something says so.
    pub fn to_manifest(&self) -> Manifest {
        let entry = |shard: &ShardRecord| {
            let file = shard.file.as_ref()?;
            Some(ShardEntry {
                database: shard.database.clone(),
                policy: shard.retention_policy.clone(),
                shard_id: shard.id,
                file_name: file.name.clone(),
                size: shard.tar_bytes()?,
                last_modified: 0,
            })
        };
        let files: Vec<ShardEntry> = self.shards.iter().filter_map(entry).collect();
        Manifest {
            meta: MetaEntry {
                file_name: self.meta.name.clone(),
                size: self.meta_size.unwrap_or(self.meta.size),
            },
            limited: self.state == SetState::Partial,
            files: (!files.is_empty()).then_some(files),
        }
    }

    /// What became of a shard.
    pub fn shard(&self, path: &ShardPath) -> Option<&ShardRecord> {
        let first = self.shards.partition_point(|shard| shard.id < path.id);
        self.shards[first..]
            .iter()
            .take_while(|shard| shard.id == path.id)
            .find(|shard| shard.is(path))
    }
}

/// Whether a set holds all that was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum SetState {
    /// All of it.
    Complete,
    /// Shards are missing; their records say why.
    Partial,
}

/// The layouts of a set's files.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Layout {
    /// `meta.NN` and `<db>.<rp>.<id>.NN`, a tar each.
    Legacy,
    /// `<stamp>.manifest`, `<stamp>.meta` and `<stamp>.s<id>.tar.gz`.
    Portable,
}

impl Layout {
    /// Whether files of shards are compressed with gzip.
    pub fn packs(self) -> bool {
        self == Self::Portable
    }
}

impl fmt::Display for Layout {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Legacy => "legacy",
            Self::Portable => "portable",
        })
    }
}

/// What a run was asked to take.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Selection {
    /// One database; all but `_internal` where it is absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// One retention policy.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_policy: Option<String>,
    /// One shard.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<u64>,
    /// `_internal` too.
    #[serde(default)]
    pub include_internal: bool,
    /// No shard at all.
    #[serde(default)]
    pub meta_only: bool,
    /// Only files modified after this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Only points at this time or later.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
    /// Only points at this time or earlier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
    /// Blocks that hold such points stay whole, so that others come along.
    #[serde(default)]
    pub coarse: bool,
    /// What stands only in the WAL of a stopped server is left out.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignore_wal: bool,
}

impl Selection {
    /// The interval of time that is taken, where not all is.
    pub fn bounds(&self) -> Option<Bounds> {
        (self.start.is_some() || self.end.is_some()).then(|| Bounds::between(self.start, self.end))
    }

    /// Whether a database is part of it.
    pub fn takes_database(&self, name: &str) -> bool {
        match &self.database {
            Some(database) => database == name,
            None => name != "_internal" || self.include_internal,
        }
    }

    /// Whether a shard is part of it.
    pub fn takes(&self, shard: &ShardPath) -> bool {
        self.takes_database(&shard.database)
            && self
                .retention_policy
                .as_ref()
                .is_none_or(|policy| *policy == shard.retention_policy)
            && self.shard.is_none_or(|id| id == shard.id)
    }
}

/// A file of a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Its name in the backup directory.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Lower-case hexadecimal.
    pub sha256: String,
}

/// A shard of a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardRecord {
    /// The database's name.
    pub database: String,
    /// The retention policy's name.
    pub retention_policy: String,
    /// The shard's id on the server.
    pub id: u64,
    /// Start of its shard group.
    pub start_time: Timestamp,
    /// End of its shard group, exclusive.
    pub end_time: Timestamp,
    /// What became of it.
    pub state: ShardState,
    /// How much of the shard the file holds.
    pub content: Content,
    /// The file, where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileRecord>,
    /// Bytes of its tar, where the file holds it compressed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tar_size: Option<u64>,
    /// The set that downloaded the file, where this one shares it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shared_with: Option<SetId>,
    /// The members of its tar.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<MemberRecord>,
    /// Whether the points that the server had deleted, and not compacted away, were left out, and
    /// their tombstones with them.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deletes_applied: bool,
    /// Why it failed, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why points that the server had acknowledged before the run began can be missing from it,
    /// where they can.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unproven: Option<String>,
}

impl ShardRecord {
    /// Whether it is that shard.
    pub fn is(&self, path: &ShardPath) -> bool {
        self.id == path.id
            && self.database == path.database
            && self.retention_policy == path.retention_policy
    }

    /// Bytes of its tar.
    pub fn tar_bytes(&self) -> Option<u64> {
        self.tar_size.or_else(|| Some(self.file.as_ref()?.size))
    }

    /// Where the shard lives.
    pub fn path(&self) -> ShardPath {
        ShardPath {
            database: self.database.clone(),
            retention_policy: self.retention_policy.clone(),
            id: self.id,
        }
    }
}

/// What became of a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ShardState {
    /// It is in its file.
    Stored,
    /// It had nothing to send. Its file, where it has one, is an empty tar: without it influxd
    /// would restore the shard out of an older set in the directory.
    Empty,
    /// It was deleted on the server while the run went on: no file.
    Expired,
    /// The server's meta store names it but the server does not have it open: no file.
    NotHeld,
    /// It could not be fetched: no file.
    Failed,
}

/// How much of a shard was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// All of it.
    Whole,
    /// Files modified after the selection's `since`.
    Since,
    /// What is in the selection's time range, in files made for it.
    Range,
}

/// A member of a shard's tar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemberRecord {
    /// Its name below the shard's directory.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Modification time in whole seconds, by the server's clock.
    pub modified: Timestamp,
}

impl MemberRecord {
    /// Whether it says what was deleted of a TSM file.
    pub fn is_tombstone(&self) -> bool {
        is_tombstone(&self.name)
    }

    /// Whether it is of the index that servers 1.3 and 1.4 send along, and holds no points.
    pub fn is_index(&self) -> bool {
        self.name.starts_with("index/")
    }
}

/// Passes a document on, but for its end, and sums it up.
struct Summing<'a> {
    out: &'a mut dyn Write,
    digest: Sha256,
    held: Vec<u8>,
}

impl Write for Summing<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.held.extend_from_slice(bytes);
        let passed = self.held.len().saturating_sub(END.len());
        self.out.write_all(&self.held[..passed])?;
        self.digest.update(&self.held[..passed]);
        self.held.drain(..passed);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
