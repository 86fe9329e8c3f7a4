//! The record of a set: what one run made, as a JSON document.

use std::collections::HashSet;
use std::fmt;
use std::sync::Arc;

use jiff::Timestamp;
use schemars::{JsonSchema, Schema, json_schema};
use serde::de::{SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::digest::{FileDigest, Sum};
use super::layout::Layout;
use super::manifest::{Manifest, MetaEntry, ShardEntry};
use super::set_id::SetId;
use super::set_names::{SetNames, is_of_shard};
use crate::shard::{Name, ShardPath};
use crate::shard_tar::gzip::Blocks;
use crate::time::{Bounds, is_stamp};
use crate::tsm::series_filter::SeriesFilter;
use crate::tsm::{is_index, is_tombstone};

/// The number of the document's form; readers refuse a larger one. In form 1, all digests of files
/// are SHA-256. In form 3 or later, a set can name files of shards that are called as another set's: who
/// knows only forms before would remove them with that set. In form 4 alone, a set can hold a choice
/// of series: who knows only forms before would take it for whole.
pub(crate) const RECORD_FORMAT: u32 = 4;

/// The form in which all series are taken.
const ALL_SERIES_FORMAT: u32 = 3;

/// The form in which all files are called as the set's own.
const OWN_FILES_FORMAT: u32 = 2;

/// What one backup run made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(transform = with_sum)]
pub struct SetRecord {
    /// The number of the document's form.
    #[schemars(extend("minimum" = 1, "maximum" = RECORD_FORMAT))]
    pub format: u32,
    /// Program and version: snap 0.1.0.
    pub written_by: String,
    /// The set's id, and the file's name: the stamp of the start, 20261120T080000Z.
    #[schemars(regex(pattern = "^[0-9]{8}T[0-9]{6}Z$"))]
    pub id: SetId,
    /// Whether all shards that were asked for are there.
    pub state: SetState,
    /// Which of influxd's two layouts its files have.
    pub layout: Layout,
    /// Grows from set to set; in the legacy layout, the NN at the end of the names.
    pub number: u32,
    /// When the run began, before the metastore was asked for, UTC, by the clock of the machine
    /// snap ran on.
    pub started: Timestamp,
    /// When all files were complete, UTC, by the clock of the machine snap ran on.
    pub finished: Timestamp,
    /// The server's address, or the data directory of a stopped one.
    pub host: String,
    /// The random number of the server's metastore. Sets of different ones are never put together.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cluster_id: Option<u64>,
    /// The dialect of the protocol in which it was taken.
    #[schemars(extend("enum" = ["1.0", "1.5"]))]
    pub dialect: String,
    /// What was asked for.
    pub selection: Selection,
    /// The file with the metastore.
    pub meta: FileRecord,
    /// Bytes of the metastore itself; in the portable layout alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub meta_size: Option<u64>,
    /// The manifest; in the portable layout alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub manifest: Option<FileRecord>,
    /// Every shard that was asked for, by id, with or without a file.
    #[serde(deserialize_with = "with_shared_names")]
    pub shards: Vec<ShardRecord>,
}

/// Reads shards, those that follow each other in one database with one text for its name.
fn with_shared_names<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<ShardRecord>, D::Error> {
    struct Shards;

    impl<'de> Visitor<'de> for Shards {
        type Value = Vec<ShardRecord>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("the shards of a set")
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut from: A) -> Result<Self::Value, A::Error> {
            let mut shards: Vec<ShardRecord> = Vec::new();
            while let Some(mut shard) = from.next_element::<ShardRecord>()? {
                if let Some(last) = shards.last() {
                    shard.database.share(&last.database);
                    shard.retention_policy.share(&last.retention_policy);
                }
                shards.push(shard);
            }
            shards.shrink_to_fit();
            Ok(shards)
        }
    }

    from.deserialize_seq(Shards)
}

/// Adds the sum, which [`SetRecord::write_to`] writes by hand, to the schema.
fn with_sum(schema: &mut Schema) {
    let sum = json_schema!({
        "description": "SHA-256 of all that stands before the comma before it, in lower-case \
                        hexadecimal; always last.",
        "type": "string",
        "pattern": "^[0-9a-f]{64}$",
    });
    if let Some(serde_json::Value::Object(properties)) = schema.get_mut("properties") {
        properties.insert("sum".to_owned(), sum.to_value());
    }
}

impl SetRecord {
    /// What its own files are called.
    pub(super) fn names(&self) -> SetNames {
        SetNames {
            layout: self.layout,
            id: self.id.clone(),
            number: self.number,
        }
    }

    /// Whether its id is a stamp, and all files have names that the layout gives them: none leads
    /// out of the directory. The file of a shard may be called as in another set.
    pub fn has_sound_names(&self) -> bool {
        let names = self.names();
        let is_file = |shard: &ShardRecord, name: &str| {
            let path = shard.path();
            match self.format <= OWN_FILES_FORMAT {
                true => name == names.shard(&path) && !name.contains('/'),
                false => is_of_shard(name, self.layout, &path),
            }
        };
        let is_named = |shard: &ShardRecord| {
            let file = shard.file.as_ref();
            let set = shard.shared_with.as_ref();
            file.is_none_or(|file| is_file(shard, &file.name))
                && set.is_none_or(|set| is_stamp(set.as_str()))
        };
        is_stamp(self.id.as_str())
            && self.meta.name == names.meta()
            && self.manifest.as_ref().map(|file| &file.name) == names.manifest().as_ref()
            && self.shards.iter().all(is_named)
    }

    /// The number of the first form that can say what it says.
    pub(super) fn needed_format(&self) -> u32 {
        let names = self.names();
        let is_own = |shard: &ShardRecord| {
            let file = shard.file.as_ref();
            file.is_none_or(|file| file.name == names.shard(&shard.path()))
        };
        match self.shards.iter().all(is_own) {
            _ if !self.selection.series.takes_all() => RECORD_FORMAT,
            true => OWN_FILES_FORMAT,
            false => ALL_SERIES_FORMAT,
        }
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

    /// Whether the set was made by asking for a part of the points of its shards.
    pub(crate) fn is_part(&self) -> bool {
        self.selection.is_part()
    }

    /// Whether shards share the files of earlier sets.
    pub(crate) fn shares_files(&self) -> bool {
        self.shards.iter().any(|shard| shard.shared_with.is_some())
    }

    /// The manifest that influxd reads. One of a set that lacks something says so.
    pub fn to_manifest(&self) -> Manifest {
        let entry = |shard: &ShardRecord| {
            let file = shard.file.as_ref()?;
            Some(ShardEntry {
                database: shard.database.to_string(),
                policy: shard.retention_policy.to_string(),
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum SetState {
    /// All that was asked for is there.
    Complete,
    /// Shards are missing or unproven; their records say why.
    Partial,
}

/// The names of the files of sets.
pub(super) fn file_names(records: &[SetRecord]) -> HashSet<&str> {
    let files = records.iter().flat_map(SetRecord::files);
    files.map(|file| file.name.as_str()).collect()
}

/// What a run was asked to take.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Selection {
    /// This database alone; absent: all, _internal as below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub database: Option<String>,
    /// This retention policy alone; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retention_policy: Option<String>,
    /// This shard alone; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shard: Option<u64>,
    /// _internal too, where all databases are taken.
    #[serde(default)]
    pub include_internal: bool,
    /// The metastore and no shard.
    #[serde(default)]
    pub meta_only: bool,
    /// Files that the server changed after this, UTC; absent: all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub since: Option<Timestamp>,
    /// Points at this time or later, UTC; absent: from the first.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<Timestamp>,
    /// Points at this time or earlier, UTC; absent: to the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub end: Option<Timestamp>,
    /// With start or end: blocks were left whole, so that points before and after may be there.
    #[serde(default)]
    pub coarse: bool,
    /// Of a stopped server: what stood in the WAL only is left out. Absent: false.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub ignore_wal: bool,
    /// Points of these series alone; absent: of all.
    #[serde(
        default,
        rename = "series_filter",
        skip_serializing_if = "SeriesFilter::takes_all"
    )]
    pub series: SeriesFilter,
}

impl Selection {
    /// Whether a part of the points is taken: an interval of time, or some series.
    pub(crate) fn is_part(&self) -> bool {
        self.bounds().is_some() || !self.series.takes_all()
    }

    /// The interval of time that is taken, where not all is.
    pub fn bounds(&self) -> Option<Bounds> {
        (self.start.is_some() || self.end.is_some()).then(|| Bounds::between(self.start, self.end))
    }

    /// Whether a database is part of it.
    pub(crate) fn takes_database(&self, name: &str) -> bool {
        match &self.database {
            Some(database) => database == name,
            None => name != "_internal" || self.include_internal,
        }
    }

    /// Whether a retention policy is part of it.
    pub(crate) fn takes_policy(&self, database: &str, policy: &str) -> bool {
        let mut wanted = self.retention_policy.iter();
        self.takes_database(database) && wanted.all(|wanted| wanted == policy)
    }

    /// Whether a shard is part of it.
    pub fn takes(&self, shard: &ShardPath) -> bool {
        self.takes_policy(&shard.database, &shard.retention_policy)
            && self.shard.is_none_or(|id| id == shard.id)
    }

    /// The flags that say which databases and shards it takes; empty where it takes all.
    pub(crate) fn flags(&self) -> String {
        let flags = [
            self.database
                .as_ref()
                .map(|name| format!("-database '{name}'")),
            (self.retention_policy.as_ref()).map(|name| format!("-retention '{name}'")),
            self.shard.map(|id| format!("-shard {id}")),
            self.meta_only.then(|| "-meta-only".to_owned()),
        ];
        let flags: Vec<String> = flags.into_iter().flatten().collect();
        flags.join(" ")
    }
}

/// A file of a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(try_from = "FileFields")]
#[schemars(!try_from)]
pub struct FileRecord {
    /// Its name in the backup directory.
    pub name: String,
    /// Bytes of the file as it lies there.
    pub size: u64,
    /// When it was last modified, UTC, as a stat told when it was complete; absent where it is not
    /// known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modified: Option<Timestamp>,
    /// Tells whether it still is as it was written.
    #[serde(flatten)]
    pub digest: FileDigest,
    /// Of a compressed file, where its blocks are, if each is a gzip member of its own.
    #[serde(
        skip_serializing_if = "Option::is_none",
        serialize_with = "serialize_blocks"
    )]
    #[schemars(with = "Option<Blocks>")]
    pub blocks: Option<Arc<Blocks>>,
}

fn serialize_blocks<S: Serializer>(
    blocks: &Option<Arc<Blocks>>,
    out: S,
) -> Result<S::Ok, S::Error> {
    blocks.as_deref().serialize(out)
}

/// A file of a set, as it is read: its digest is in the field that is named as the algorithm.
#[derive(Deserialize)]
struct FileFields {
    name: String,
    size: u64,
    modified: Option<Timestamp>,
    sha256: Option<Sum>,
    blake3: Option<Sum>,
    blocks: Option<Blocks>,
}

impl TryFrom<FileFields> for FileRecord {
    type Error = String;

    fn try_from(fields: FileFields) -> Result<Self, String> {
        let FileFields {
            name,
            size,
            modified,
            blocks,
            ..
        } = fields;
        let digest = match (fields.sha256, fields.blake3) {
            (Some(sha256), None) => FileDigest::Sha256(sha256),
            (None, Some(blake3)) => FileDigest::Blake3(blake3),
            (Some(_), Some(_)) => return Err(format!("{name} has both sha256 and blake3")),
            (None, None) => return Err(format!("{name} has neither sha256 nor blake3")),
        };
        Ok(Self {
            name,
            size,
            modified,
            digest,
            blocks: blocks.map(Arc::new),
        })
    }
}

/// A shard of a set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct ShardRecord {
    /// The database.
    pub database: Name,
    /// The retention policy.
    pub retention_policy: Name,
    /// Its id on the server.
    pub id: u64,
    /// Start of its shard group, UTC.
    pub start_time: Timestamp,
    /// End of its shard group, exclusive, UTC.
    pub end_time: Timestamp,
    /// What became of it.
    pub state: ShardState,
    /// How much of the shard the file holds.
    pub content: Content,
    /// Its file; with the state stored, and with empty in the portable layout: an empty tar.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub file: Option<FileRecord>,
    /// Bytes of the tar in the file, uncompressed; in the portable layout alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tar_size: Option<u64>,
    /// The id of the set that downloaded the file, where this one shares it. Where a file cannot have
    /// two names, the file is called as in the first set that had it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(regex(pattern = "^[0-9]{8}T[0-9]{6}Z$"))]
    pub shared_with: Option<SetId>,
    /// The members of the tar; absent where there is none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub members: Vec<MemberRecord>,
    /// Whether points that were deleted, and not compacted away, were left out, and their
    /// tombstones with them; absent: no.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub deletes_applied: bool,
    /// Why it failed, where it did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub error: Option<String>,
    /// Why points can be missing of it that were acknowledged before the run began, where they can.
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

    pub(crate) fn tar_bytes(&self) -> Option<u64> {
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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ShardState {
    /// It is in its file.
    Stored,
    /// It had nothing to send. Its file, where it has one, is an empty tar: without it influxd
    /// would restore the shard out of an older set in the directory.
    Empty,
    /// It was deleted on the server while the run went on: no file.
    Expired,
    /// The server's metastore names it but the server does not have it open: no file.
    #[serde(rename = "not_open", alias = "not_held")]
    NotHeld,
    /// It could not be fetched: no file.
    Failed,
}

/// How much of a shard was asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Content {
    /// All of it.
    Whole,
    /// Files modified after the selection's `since`.
    Since,
    /// What is in the selection's time range and of its series, in files made for it.
    Range,
}

/// A member of a shard's tar.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct MemberRecord {
    /// Its name below the shard's directory.
    pub name: String,
    /// Bytes of its content.
    pub size: u64,
    /// When it was modified, in whole seconds, UTC, by the server's clock.
    pub modified: Timestamp,
}

impl MemberRecord {
    /// Whether it says what was deleted of a TSM file.
    pub fn is_tombstone(&self) -> bool {
        is_tombstone(&self.name)
    }

    /// Whether it is of the index that servers 1.3 and 1.4 send along, and holds no points.
    pub(crate) fn is_index(&self) -> bool {
        is_index(&self.name)
    }
}

#[cfg(test)]
mod tests {
    use super::super::test_records;
    use super::*;

    #[test]
    fn a_set_of_some_series_is_a_part_in_a_form_that_older_versions_refuse() {
        let mut record = test_records::set("20261120T080000Z", Timestamp::UNIX_EPOCH, Vec::new());
        assert_eq!(
            (record.needed_format(), record.is_part()),
            (OWN_FILES_FORMAT, false)
        );
        let measurements = &mut record.selection.series.measurements;
        measurements.push("cpu".parse().unwrap());
        assert_eq!(
            (record.needed_format(), record.is_part()),
            (RECORD_FORMAT, true)
        );
        let json = serde_json::to_value(&record.selection).unwrap();
        assert_eq!(
            json["series_filter"].to_string(),
            r#"{"measurements":["cpu"]}"#
        );
        let read: Selection = serde_json::from_value(json).unwrap();
        assert_eq!(read, record.selection);
    }

    #[test]
    fn a_shard_that_the_server_did_not_have_open_has_an_older_word_too() {
        let read = |word: &str| serde_json::from_str::<ShardState>(word).unwrap();
        assert_eq!(read(r#""not_held""#), ShardState::NotHeld);
        assert_eq!(read(r#""not_open""#), ShardState::NotHeld);
        let written = serde_json::to_string(&ShardState::NotHeld).unwrap();
        assert_eq!(written, r#""not_open""#);
    }
}
