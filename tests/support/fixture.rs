//! A scripted server, a folder for backups of it, and what has to be in that folder after a run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use influx_snap::shard::ShardPath;
use serde_json::Value;
use tempfile::TempDir;

use super::peer::{Model, Peer, Shard, Version, nobody};
use super::process::{Run, Running, Snap, backup, restore_into};
use super::{folder, tree};

/// How long a run is given to deal with bytes that were sent, or to come to a lock.
pub const SETTLE: Duration = Duration::from_millis(300);

/// The database and policy of most shards.
pub const WHERE: (&str, &str) = ("db", "autogen");

/// A scripted server and a folder for backups of it. Modules of tests add what they alone need, in
/// an `impl` of their own.
pub struct Fixture {
    /// Where the backup directory is, and whatever else a test makes.
    pub folder: TempDir,
    /// The server.
    pub peer: Peer,
}

impl Fixture {
    /// A server of this model.
    pub fn new(model: Model) -> Self {
        Self {
            folder: folder(),
            peer: Peer::start(model),
        }
    }

    /// A server with the standard shards `db/autogen/<id>`.
    pub fn with_shards(ids: impl IntoIterator<Item = u64>) -> Self {
        let shards: Vec<_> = ids.into_iter().map(|id| (WHERE.0, WHERE.1, id)).collect();
        Self::holding(&shards)
    }

    /// A server with these standard shards: database, retention policy, id.
    pub fn holding(shards: &[(&str, &str, u64)]) -> Self {
        Self::new(Model::new(Version::V1_6, shards))
    }

    /// What has that name in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The backup directory.
    pub fn dir(&self) -> PathBuf {
        self.path("backup")
    }

    /// A backup with these flags.
    pub fn prepare(&self, flags: &[&str]) -> Snap {
        backup(&self.peer.host(), flags, &self.dir())
    }

    /// Backs up.
    pub fn backup(&self, flags: &[&str]) -> Run {
        self.prepare(flags).run()
    }

    /// Starts a backup and waits until this many requests have come, and a little longer.
    pub fn start(&self, flags: &[&str], requests: usize) -> Running {
        let running = self.prepare(flags).spawn();
        self.peer.wait_for_requests(requests);
        thread::sleep(SETTLE);
        running
    }

    /// Panics unless the directory holds exactly one complete set, of everything the server has.
    pub fn expect_all(&self) -> Value {
        self.expect_shards(|_| true)
    }

    /// The same for a set that holds these shards.
    pub fn expect_shards(&self, taken: impl Fn(&Shard) -> bool) -> Value {
        let model = self.peer.model();
        let shards = model
            .shards
            .iter()
            .filter(|shard| taken(shard))
            .map(|shard| (file_name(&shard.path), shard.bytes()));
        let expected: BTreeMap<_, _> = shards
            .chain([("meta.00".to_owned(), model.meta())])
            .collect();
        let found = tree::visible_files(&self.dir());
        let names = |files: &BTreeMap<String, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
        assert_eq!(names(&found), names(&expected));
        for (name, content) in &expected {
            assert!(
                found[name] == *content,
                "{name} is not what the server sent"
            );
        }
        let record = self.record();
        let sizes: BTreeMap<String, Value> = record["shards"]
            .as_array()
            .expect("shards")
            .iter()
            .map(|shard| &shard["file"])
            .chain([&record["meta"]])
            .filter_map(|file| Some((file["name"].as_str()?.to_owned(), file["size"].clone())))
            .collect();
        assert_eq!(
            sizes,
            expected
                .iter()
                .map(|(name, bytes)| (name.clone(), bytes.len().into()))
                .collect()
        );
        record
    }

    /// The record of the only set.
    pub fn record(&self) -> Value {
        let hidden = tree::files(&self.dir().join(".snap"));
        let names: Vec<&str> = hidden.keys().map(String::as_str).collect();
        assert!(
            matches!(names[..], [record, "lock"] if record.ends_with(".json")),
            "{names:?}"
        );
        serde_json::from_slice(&hidden[names[0]]).expect("a record in JSON")
    }

    /// Panics unless nothing is left of a run, in the eyes of anybody.
    pub fn expect_nothing(&self) {
        expect_nothing(&self.dir());
    }
}

/// Panics unless a directory holds no set and nothing of one.
pub fn expect_nothing(dir: &Path) {
    if dir.exists() {
        assert_eq!(tree::names(dir), [".snap"]);
        assert_eq!(tree::names(&dir.join(".snap")), ["lock"]);
    }
    restore_dry_run(dir).expect(10);
}

/// What a restore of a directory would do.
pub fn restore_dry_run(dir: &Path) -> Run {
    restore_into(
        &dir.with_extension("target"),
        &["-dry-run", "-host", &nobody()],
        dir,
    )
    .run()
}

fn file_name(path: &ShardPath) -> String {
    format!(
        "{}.{}.{:05}.00",
        path.database, path.retention_policy, path.id
    )
}

/// The standard shard with that id.
pub fn shard(id: u64) -> Shard {
    Shard::new(Version::V1_6, WHERE.0, WHERE.1, id)
}

/// What became of each shard, by id, with the reason where there is one.
pub fn states(record: &Value) -> BTreeMap<u64, (String, String)> {
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let shards = record["shards"].as_array().expect("shards");
    shards
        .iter()
        .map(|shard| {
            (
                shard["id"].as_u64().expect("an id"),
                (text(&shard["state"]), text(&shard["error"])),
            )
        })
        .collect()
}
