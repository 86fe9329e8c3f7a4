//! The files of influxd's portable layout: `<stamp>.manifest`, `<stamp>.meta` and one
//! `<stamp>.s<id>.tar.gz` a shard.
//!
//! The stamp is the UTC time at which the run began, `20060102T150405Z`. The manifest is JSON and
//! lists the rest; the `.meta` file is a protobuf message around the metastore; a shard's file is
//! one gzip member with the tar as servers send it. (From directories influxd 1.6.7 wrote; 1.5 to
//! 1.12 read and write the same.)

use std::io::{self, Read, Write};

use anyhow::{Context, Result, bail, ensure};
use serde::{Deserialize, Serialize};

use crate::metastore::proto::{self, ProtoValue, put_bytes, put_varint};
use crate::shard::ShardPath;
use crate::shard_tar::gzip::{GzipReader, GzipWriter};
use crate::time::is_stamp;

/// What a manifest says.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The metastore.
    pub meta: MetaEntry,
    /// Whether something that was asked for is missing. influxd never sets it.
    #[serde(default)]
    pub limited: bool,
    /// The shards; influxd writes `null` where there are none.
    pub files: Option<Vec<ShardEntry>>,
}

/// The metastore in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MetaEntry {
    /// Its file.
    #[serde(rename = "fileName")]
    pub file_name: String,
    /// Bytes of the metastore inside that file.
    pub size: u64,
}

/// A shard in a manifest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShardEntry {
    /// The database; influxd leaves it empty where it was asked for a shard by its id alone.
    #[serde(default)]
    pub database: String,
    /// The retention policy; empty as the database.
    #[serde(default)]
    pub policy: String,
    /// The id on the server.
    #[serde(rename = "shardID")]
    pub shard_id: u64,
    /// Its file.
    #[serde(rename = "fileName")]
    pub file_name: String,
    /// Bytes of the tar inside that file.
    #[serde(default)]
    pub size: u64,
    /// Always 0.
    #[serde(rename = "lastModified", default)]
    pub last_modified: i64,
}

impl Manifest {
    /// Reads a manifest.
    ///
    /// # Errors
    ///
    /// When it is no such JSON, or names files otherwise than the layout does: none leads out of
    /// the directory.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        let manifest: Self = serde_json::from_slice(bytes).context("no manifest")?;
        let meta = &manifest.meta.file_name;
        ensure!(
            is_meta_file(meta),
            "it names a metastore {meta:?}, and not <stamp>.meta"
        );
        if let Some(entry) = manifest
            .entries()
            .iter()
            .find(|entry| !is_shard_file(&entry.file_name))
        {
            bail!(
                "it names a shard's file {:?}, and not <stamp>.s<id>.tar.gz",
                entry.file_name
            );
        }
        Ok(manifest)
    }

    /// The manifest as influxd writes it: indented by two blanks, without a line feed at the end.
    ///
    /// # Errors
    ///
    /// Those of the writer.
    pub fn write_to(&self, writer: impl Write) -> io::Result<()> {
        Ok(serde_json::to_writer_pretty(writer, self)?)
    }

    /// The shards that are listed.
    pub fn entries(&self) -> &[ShardEntry] {
        self.files.as_deref().unwrap_or_default()
    }
}

impl ShardEntry {
    /// Whether the entry is that shard's.
    pub(crate) fn is_of(&self, shard: &ShardPath) -> bool {
        let same = |name: &str, of: &str| name.is_empty() || name == of;
        self.shard_id == shard.id
            && same(&self.database, &shard.database)
            && same(&self.policy, &shard.retention_policy)
    }
}

/// The name of a set's manifest.
pub fn manifest_file(stamp: &str) -> String {
    format!("{stamp}.manifest")
}

/// The name of a set's metastore.
pub fn meta_file(stamp: &str) -> String {
    format!("{stamp}.meta")
}

/// The name of a shard's file in a set.
pub fn shard_file(stamp: &str, id: u64) -> String {
    format!("{stamp}.s{id}.tar.gz")
}

/// Whether a name is that of the shard's file in some set.
pub(crate) fn is_file_of_shard(name: &str, id: u64) -> bool {
    name.ends_with(&format!(".s{id}.tar.gz"))
}

/// The stamp in the name of a manifest.
pub(crate) fn stamp_of_manifest(name: &str) -> Option<&str> {
    name.strip_suffix(".manifest")
        .filter(|stamp| is_stamp(stamp))
}

/// Whether a name is that of a set's metastore.
pub(crate) fn is_meta_file(name: &str) -> bool {
    name.strip_suffix(".meta").is_some_and(is_stamp)
}

/// Whether a name is that of a shard's file in a set.
pub(crate) fn is_shard_file(name: &str) -> bool {
    let is_id = |id: &str| id.parse().is_ok_and(|number: u64| number.to_string() == id);
    name.strip_suffix(".tar.gz")
        .and_then(|stem| stem.split_once(".s"))
        .is_some_and(|(stamp, id)| is_stamp(stamp) && is_id(id))
}

/// The metastore in a `.meta` file.
///
/// # Errors
///
/// When the bytes are no such message.
pub fn read_meta(bytes: &[u8]) -> Result<Vec<u8>> {
    let mut meta = None;
    for field in proto::fields(bytes) {
        let field = field?;
        match (field.number, field.value) {
            (1, ProtoValue::Bytes(inner)) if meta.is_none() => meta = Some(inner.to_vec()),
            (1, _) => bail!("it does not hold one metastore"),
            _ => {}
        }
    }
    meta.context("it holds no metastore")
}

/// A `.meta` file with that metastore.
pub fn write_meta(meta: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(meta.len() + 16);
    put_bytes(&mut bytes, 1, meta);
    // The highest node id, which the message must have; a server without a cluster has none.
    put_varint(&mut bytes, 2, 0);
    bytes
}

/// A writer that compresses a shard's tar into `out`, with the header that influxd gives it.
pub fn compress<W: Write>(stamp: &str, id: u64, out: W) -> GzipWriter<W> {
    GzipWriter::new(&format!("{stamp}.s{id}.tar"), out)
}

/// A reader of the tar in a shard's file. It reads `compressed` to its very end, the sums of gzip
/// included.
pub fn decompress<R: Read>(compressed: R) -> GzipReader<R> {
    GzipReader::serial(compressed)
}
