//! What a scripted snapshotter holds: shards, and the metastore that names them.

use influx_snap::metastore::{Data, DatabaseInfo, RetentionPolicyInfo, ShardGroupInfo, ShardInfo};
use influx_snap::shard::ShardPath;
use influx_snap::wire::MetaBlob;
use prost::Message;
use serde_json::{Value, json};

use super::super::listener::End;
use super::super::time::{HOUR, MONDAY};
use super::busy::Cache;
use super::tars::{BLOCK, Member, Tar, noise, tar, tombstone, tsm};

/// The versions that answer differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Version {
    /// Dialect 1.0; nothing newer than `Since` is 0 bytes; type flags in tars are NUL.
    V1_1,
    /// Dialect 1.0; nothing newer is an empty tar; tars hold the index, with directories.
    V1_3,
    /// Dialect 1.5; closes without a byte while it flushes.
    V1_6,
    /// Dialect 1.5; an empty tar after three attempts to flush.
    V1_8_3,
    /// Dialect 1.5; a tar without what is not in files after four attempts to flush.
    V1_8_10,
}

impl Version {
    /// Whether it speaks the older dialect.
    pub fn is_old(self) -> bool {
        matches!(self, Self::V1_1 | Self::V1_3)
    }
}

/// A shard of the model.
#[derive(Clone, Debug)]
pub struct Shard {
    /// Database, retention policy and id.
    pub path: ShardPath,
    /// First nanosecond of its group.
    pub start: i64,
    /// First nanosecond behind its group.
    pub end: i64,
    /// When its group was deleted; 0 while it lives.
    pub deleted_at: i64,
    /// Whether the metastore names it.
    pub named: bool,
    /// Whether the list of shards has it.
    pub open: bool,
    /// Its content.
    pub tar: Tar,
    /// What it has beside, where it is written to.
    pub cache: Option<Cache>,
}

impl Shard {
    /// A shard of a few files, in an hour of its own.
    pub fn new(version: Version, database: &str, retention_policy: &str, id: u64) -> Self {
        let path = ShardPath {
            database: database.into(),
            retention_policy: retention_policy.into(),
            id,
        };
        let tar = Tar::Bytes(tar(&members(version, &path)));
        Self::with_tar(path, tar)
    }

    /// A shard with this content.
    pub fn with_tar(path: ShardPath, tar: Tar) -> Self {
        let hours = i64::try_from(path.id % 10_000).expect("a small number");
        let start = MONDAY + hours * HOUR;
        Self {
            path,
            start,
            end: start + HOUR,
            deleted_at: 0,
            named: true,
            open: true,
            tar,
            cache: None,
        }
    }

    /// The bytes of its tar.
    pub fn bytes(&self) -> Vec<u8> {
        let mut bytes = Vec::new();
        self.tar
            .write_to(&self.path, &mut bytes)
            .expect("writing to memory");
        bytes
    }
}

/// The members of a shard as a server of that version sends them.
pub fn members(version: Version, path: &ShardPath) -> Vec<Member> {
    let regular = |name: &str, content| Member::new(format!("{path}/{name}"), content);
    let mut members = vec![
        regular("000000001-000000001.tsm", tsm(path.id, 700)),
        regular("000000002-000000002.tombstone", tombstone(path.id)),
        regular("000000002-000000002.tsm", tsm(path.id + 2, 1024)),
    ];
    match version {
        Version::V1_1 => members
            .into_iter()
            .rev()
            .map(|member| member.flag(0))
            .collect(),
        Version::V1_3 => {
            members.insert(1, regular("index", Vec::new()).flag(b'5'));
            members.insert(2, regular("index/L0-00000001.tsl", noise(path.id + 3, 600)));
            members.insert(
                3,
                regular(
                    "index/MANIFEST",
                    b"{\"levels\":[],\"files\":[\"L0-00000001.tsl\"]}\n".to_vec(),
                ),
            );
            members
        }
        Version::V1_6 | Version::V1_8_3 | Version::V1_8_10 => members,
    }
}

/// What a snapshotter holds.
#[derive(Clone, Debug)]
pub struct Model {
    /// How it answers.
    pub version: Version,
    /// How it ends the connection of a request that it cannot read.
    pub refusal: End,
    /// Its shards, in the order of the metastore.
    pub shards: Vec<Shard>,
}

impl Model {
    /// A server with standard shards.
    pub fn new(version: Version, shards: &[(&str, &str, u64)]) -> Self {
        let shards = shards
            .iter()
            .map(|(db, rp, id)| Shard::new(version, db, rp, *id))
            .collect();
        Self {
            version,
            refusal: End::Fin,
            shards,
        }
    }

    /// The shard with that id.
    pub fn shard(&mut self, id: u64) -> &mut Shard {
        self.shards
            .iter_mut()
            .find(|shard| shard.path.id == id)
            .unwrap_or_else(|| panic!("no shard {id}"))
    }

    /// The metastore.
    pub fn data(&self) -> Data {
        let mut data = Data {
            index: 7,
            cluster_id: 42,
            max_shard_group_id: 100,
            ..Data::default()
        };
        for shard in &self.shards {
            data.max_shard_id = data.max_shard_id.max(shard.path.id);
            data.max_shard_group_id = data.max_shard_group_id.max(shard.path.id);
            let group = ShardGroupInfo {
                id: shard.path.id,
                start_time: shard.start,
                end_time: shard.end,
                deleted_at: shard.deleted_at,
                shards: vec![ShardInfo {
                    id: shard.path.id,
                    ..ShardInfo::default()
                }],
                truncated_at: None,
            };
            let groups = &mut policy(&mut data, &shard.path).shard_groups;
            if shard.named {
                groups.push(group);
            }
        }
        data
    }

    /// The metastore in its frame.
    pub fn meta(&self) -> Vec<u8> {
        let mut framed = Vec::new();
        let blob = MetaBlob {
            meta: self.data().encode_to_vec(),
            node: b"null\n".to_vec(),
        };
        blob.write_to(&mut framed).expect("writing to memory");
        framed
    }

    /// The list of a database's shards; no byte for an unknown one.
    pub fn info(&self, database: &str) -> Vec<u8> {
        let of = |shard: &&Shard| shard.path.database == database;
        if !self.shards.iter().any(|shard| of(&shard)) {
            return Vec::new();
        }
        let open = self.shards.iter().filter(of).filter(|shard| shard.open);
        let paths: Vec<String> = open.map(|shard| shard.path.to_string()).collect();
        let paths = if paths.is_empty() {
            Value::Null
        } else {
            json!(paths)
        };
        format!("{}\n", json!({ "Paths": paths })).into_bytes()
    }

    pub(super) fn nothing_newer(&self) -> Vec<u8> {
        if self.version == Version::V1_1 {
            Vec::new()
        } else {
            vec![0; 2 * BLOCK]
        }
    }
}

/// The policy of a shard, made where it is absent.
fn policy<'a>(data: &'a mut Data, path: &ShardPath) -> &'a mut RetentionPolicyInfo {
    let database = match data
        .databases
        .iter()
        .position(|database| database.name == path.database)
    {
        Some(at) => &mut data.databases[at],
        None => {
            let default_retention_policy = path.retention_policy.to_string();
            data.databases.push(DatabaseInfo {
                name: path.database.to_string(),
                default_retention_policy,
                ..DatabaseInfo::default()
            });
            data.databases.last_mut().expect("one was pushed")
        }
    };
    let policies = &mut database.retention_policies;
    match policies
        .iter()
        .position(|policy| policy.name == path.retention_policy)
    {
        Some(at) => &mut policies[at],
        None => {
            let name = path.retention_policy.to_string();
            policies.push(RetentionPolicyInfo {
                name,
                shard_group_duration: HOUR,
                replica_n: 1,
                ..RetentionPolicyInfo::default()
            });
            policies.last_mut().expect("one was pushed")
        }
    }
}
