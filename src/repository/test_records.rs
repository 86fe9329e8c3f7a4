//! Records for tests, which change of them what matters to them.

use std::fs;
use std::path::Path;

use jiff::Timestamp;

use super::{
    Content, DigestAlgorithm, FileDigest, FileRecord, Layout, RECORD_FORMAT, Selection, SetRecord,
    SetState, ShardRecord, ShardState, hidden,
};
use crate::shard::ShardPath;

/// A shard of the policy `autogen`.
pub(crate) fn path(database: &str, id: u64) -> ShardPath {
    ShardPath {
        database: database.into(),
        retention_policy: "autogen".into(),
        id,
    }
}

/// A shard that was stored, but for its file.
pub(crate) fn shard(path: &ShardPath) -> ShardRecord {
    ShardRecord {
        database: path.database.clone(),
        retention_policy: path.retention_policy.clone(),
        id: path.id,
        start_time: Timestamp::UNIX_EPOCH,
        end_time: Timestamp::UNIX_EPOCH,
        state: ShardState::Stored,
        content: Content::Whole,
        file: None,
        tar_size: None,
        shared_with: None,
        members: Vec::new(),
        deletes_applied: false,
        error: None,
        unproven: None,
    }
}

/// A complete legacy set of these shards, whose metastore has no name yet.
pub(crate) fn set(
    id: &(impl AsRef<str> + ?Sized),
    started: Timestamp,
    shards: Vec<ShardRecord>,
) -> SetRecord {
    SetRecord {
        format: RECORD_FORMAT,
        written_by: "test".into(),
        id: id.as_ref().into(),
        state: SetState::Complete,
        layout: Layout::Legacy,
        number: 0,
        started,
        finished: started,
        host: String::new(),
        cluster_id: None,
        dialect: "1.5".into(),
        selection: Selection::default(),
        meta: FileRecord {
            name: String::new(),
            size: 0,
            modified: None,
            digest: FileDigest::Blake3([0; 32].into()),
            blocks: None,
        },
        meta_size: None,
        manifest: None,
        shards,
    }
}

/// What a record says of a file with that content.
pub(crate) fn file(name: &str, content: &[u8]) -> FileRecord {
    FileRecord {
        name: name.to_owned(),
        size: content.len() as u64,
        modified: None,
        digest: FileDigest::of(DigestAlgorithm::Blake3, content),
        blocks: None,
    }
}

/// Writes a file of a set, and says what a record does of it.
pub(crate) fn write(directory: &Path, name: &str, bytes: &[u8]) -> FileRecord {
    fs::write(directory.join(name), bytes).unwrap();
    file(name, bytes)
}

/// Puts a record where those of a directory are.
pub(crate) fn put(directory: &Path, record: &SetRecord) {
    fs::create_dir_all(hidden(directory)).unwrap();
    fs::write(
        hidden(directory).join(format!("{}.json", record.id)),
        serde_json::to_vec(record).unwrap(),
    )
    .unwrap();
}
