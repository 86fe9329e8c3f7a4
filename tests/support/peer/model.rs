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
    /// As before; a new shard group gets the room that the others leave it.
    V1_12,
}

impl Version {
    /// Whether it speaks the older dialect.
    pub fn is_old(self) -> bool {
        matches!(self, Self::V1_1 | Self::V1_3)
    }

    /// The version that its HTTP API says.
    pub fn number(self) -> &'static str {
        match self {
            Self::V1_1 => "1.1.0",
            Self::V1_3 => "1.3.0",
            Self::V1_6 => "1.6.7",
            Self::V1_8_3 => "1.8.3",
            Self::V1_8_10 => "1.8.10",
            Self::V1_12 => "1.12.4",
        }
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
    /// How many more requests and writes find it disabled.
    pub disabled: u32,
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
            disabled: 0,
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
        Version::V1_6 | Version::V1_8_3 | Version::V1_8_10 | Version::V1_12 => members,
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
    /// How long the shard groups are that its policies make, in nanoseconds.
    pub group_duration: i64,
    /// How many requests and writes find a shard disabled after an upload.
    pub disabled_after_upload: u32,
    /// The largest body that its HTTP API takes, in bytes.
    pub max_body_size: usize,
    /// What else is in its metastore.
    pub more: Option<fn(&mut Data)>,
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
            group_duration: HOUR,
            disabled_after_upload: 0,
            max_body_size: 25_000_000,
            more: None,
        }
    }

    /// The shard with that id.
    pub fn shard(&mut self, id: u64) -> &mut Shard {
        self.shards
            .iter_mut()
            .find(|shard| shard.path.id == id)
            .unwrap_or_else(|| panic!("no shard {id}"))
    }

    /// Whether whoever comes to a shard now finds it disabled.
    pub(super) fn finds_disabled(&mut self, id: u64) -> bool {
        let shard = self.shards.iter_mut().find(|shard| shard.path.id == id);
        let left = shard
            .map(|shard| &mut shard.disabled)
            .filter(|left| **left > 0);
        left.map(|left| *left -= 1).is_some()
    }

    /// The shard of a policy that a point of this time comes into; it is made where there is none.
    pub fn shard_for(&mut self, database: &str, policy: &str, time: i64) -> &mut Shard {
        let is_of = |shard: &&Shard| {
            shard.path.database == *database
                && shard.path.retention_policy == *policy
                && shard.named
                && shard.deleted_at == 0
        };
        let groups = self.shards.iter().filter(is_of);
        let groups: Vec<(i64, i64, u64)> =
            groups.map(|of| (of.start, of.end, of.path.id)).collect();
        let here = groups
            .iter()
            .find(|(start, end, _)| (*start..*end).contains(&time));
        if let Some((.., id)) = here {
            return self.shard(*id);
        }
        // Pieces of the year 1 and of 1970 begin alike, as long as they divide a day.
        let mut start = time.div_euclid(self.group_duration) * self.group_duration;
        let mut end = start + self.group_duration;
        if self.version == Version::V1_12 {
            for (other_start, other_end, _) in groups {
                if other_end <= time {
                    start = start.max(other_end);
                } else {
                    end = end.min(other_start);
                }
            }
        }
        let id = self
            .shards
            .iter()
            .map(|shard| shard.path.id)
            .max()
            .unwrap_or(0)
            + 1;
        let path = ShardPath {
            database: database.into(),
            retention_policy: policy.into(),
            id,
        };
        self.shards.push(Shard {
            start,
            end,
            cache: Some(Cache::default()),
            ..Shard::with_tar(path, Tar::Bytes(tar(&[])))
        });
        self.shard(id)
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
            let groups = &mut policy(&mut data, &shard.path, self.group_duration).shard_groups;
            if shard.named {
                groups.push(group);
            }
        }
        if let Some(more) = self.more {
            more(&mut data);
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
fn policy<'a>(
    data: &'a mut Data,
    path: &ShardPath,
    group_duration: i64,
) -> &'a mut RetentionPolicyInfo {
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
                shard_group_duration: group_duration,
                replica_n: 1,
                ..RetentionPolicyInfo::default()
            });
            policies.last_mut().expect("one was pushed")
        }
    }
}
