//! The metastore: the protobuf message `meta.Data`, which names databases, retention policies,
//! shard groups and shards.
//!
//! The same bytes stand in a server's `meta.db`, in its metastore reply and, framed, in `meta.NN`.
//! Field numbers are those of InfluxDB's `meta.proto`, the same in 1.0 to 1.12 (1.12 added two to
//! the retention policy). Times are `i64` nanoseconds since 1970 UTC.

#![expect(
    missing_docs,
    reason = "the fields are named as in meta.proto; those whose names do not say all have a line"
)]

use anyhow::{Context, Result};
use prost::Message;

use super::proto::{self, NotUtf8, Schema};
use crate::error::ErrorKind;
use crate::shard::{Name, ShardPath};
use crate::time;

/// Everything a server knows about its data. `Term` is left over from a Raft log and 0.
#[derive(Clone, PartialEq, Message)]
pub struct Data {
    #[prost(uint64, required, tag = "1")]
    pub term: u64,
    /// Grows with each change.
    #[prost(uint64, required, tag = "2")]
    pub index: u64,
    /// Random, chosen when the store was created.
    #[prost(uint64, required, tag = "3")]
    pub cluster_id: u64,
    #[prost(message, repeated, tag = "4")]
    pub nodes: Vec<NodeInfo>,
    /// In the order they were created.
    #[prost(message, repeated, tag = "5")]
    pub databases: Vec<DatabaseInfo>,
    #[prost(message, repeated, tag = "6")]
    pub users: Vec<UserInfo>,
    #[prost(uint64, required, tag = "7")]
    pub max_node_id: u64,
    /// The highest shard group id ever given out.
    #[prost(uint64, required, tag = "8")]
    pub max_shard_group_id: u64,
    /// The highest shard id ever given out.
    #[prost(uint64, required, tag = "9")]
    pub max_shard_id: u64,
    #[prost(message, repeated, tag = "10")]
    pub data_nodes: Vec<NodeInfo>,
    #[prost(message, repeated, tag = "11")]
    pub meta_nodes: Vec<NodeInfo>,
}

/// A node of a cluster; servers of 1.x write none.
#[derive(Clone, PartialEq, Message)]
pub struct NodeInfo {
    #[prost(uint64, required, tag = "1")]
    pub id: u64,
    #[prost(string, required, tag = "2")]
    pub host: String,
    #[prost(string, optional, tag = "3")]
    pub tcp_host: Option<String>,
}

/// A database.
#[derive(Clone, PartialEq, Message)]
pub struct DatabaseInfo {
    #[prost(string, required, tag = "1")]
    pub name: String,
    /// May name a policy that does not exist; empty for none.
    #[prost(string, required, tag = "2")]
    pub default_retention_policy: String,
    #[prost(message, repeated, tag = "3")]
    pub retention_policies: Vec<RetentionPolicyInfo>,
    #[prost(message, repeated, tag = "4")]
    pub continuous_queries: Vec<ContinuousQueryInfo>,
}

/// A retention policy.
#[derive(Clone, PartialEq, Message)]
pub struct RetentionPolicyInfo {
    #[prost(string, required, tag = "1")]
    pub name: String,
    /// Nanoseconds; 0 keeps for ever.
    #[prost(int64, required, tag = "2")]
    pub duration: i64,
    /// Nanoseconds.
    #[prost(int64, required, tag = "3")]
    pub shard_group_duration: i64,
    #[prost(uint32, required, tag = "4")]
    pub replica_n: u32,
    #[prost(message, repeated, tag = "5")]
    pub shard_groups: Vec<ShardGroupInfo>,
    #[prost(message, repeated, tag = "6")]
    pub subscriptions: Vec<SubscriptionInfo>,
    /// Nanoseconds; servers from 1.12 on.
    #[prost(int64, optional, tag = "7")]
    pub future_write_limit: Option<i64>,
    /// Nanoseconds; servers from 1.12 on.
    #[prost(int64, optional, tag = "8")]
    pub past_write_limit: Option<i64>,
}

/// A shard group: the shards of one interval of time.
#[derive(Clone, PartialEq, Message)]
pub struct ShardGroupInfo {
    #[prost(uint64, required, tag = "1")]
    pub id: u64,
    /// First nanosecond inside.
    #[prost(int64, required, tag = "2")]
    pub start_time: i64,
    /// First nanosecond behind.
    #[prost(int64, required, tag = "3")]
    pub end_time: i64,
    /// When it was deleted; 0 while it lives.
    #[prost(int64, required, tag = "4")]
    pub deleted_at: i64,
    #[prost(message, repeated, tag = "5")]
    pub shards: Vec<ShardInfo>,
    /// No point at or after this time belongs here.
    #[prost(int64, optional, tag = "6")]
    pub truncated_at: Option<i64>,
}

/// A shard.
#[derive(Clone, PartialEq, Message)]
pub struct ShardInfo {
    #[prost(uint64, required, tag = "1")]
    pub id: u64,
    #[prost(uint64, repeated, packed = "false", tag = "2")]
    pub owner_ids: Vec<u64>,
    #[prost(message, repeated, tag = "3")]
    pub owners: Vec<ShardOwner>,
}

/// The node a shard lives on; servers of 1.x write none.
#[derive(Clone, PartialEq, Message)]
pub struct ShardOwner {
    #[prost(uint64, required, tag = "1")]
    pub node_id: u64,
}

/// Somebody to forward writes to.
#[derive(Clone, PartialEq, Message)]
pub struct SubscriptionInfo {
    #[prost(string, required, tag = "1")]
    pub name: String,
    /// `ALL` or `ANY`.
    #[prost(string, required, tag = "2")]
    pub mode: String,
    #[prost(string, repeated, tag = "3")]
    pub destinations: Vec<String>,
}

/// A continuous query.
#[derive(Clone, PartialEq, Message)]
pub struct ContinuousQueryInfo {
    #[prost(string, required, tag = "1")]
    pub name: String,
    /// The whole `CREATE CONTINUOUS QUERY` statement.
    #[prost(string, required, tag = "2")]
    pub query: String,
}

/// A user. The hash is bcrypt text.
#[derive(Clone, PartialEq, Message)]
pub struct UserInfo {
    #[prost(string, required, tag = "1")]
    pub name: String,
    #[prost(string, required, tag = "2")]
    pub hash: String,
    #[prost(bool, required, tag = "3")]
    pub admin: bool,
    #[prost(message, repeated, tag = "4")]
    pub privileges: Vec<UserPrivilege>,
}

/// What a user may do with a database: 0 nothing, 1 read, 2 write, 3 all.
#[derive(Clone, PartialEq, Message)]
pub struct UserPrivilege {
    #[prost(string, required, tag = "1")]
    pub database: String,
    #[prost(int32, required, tag = "2")]
    pub privilege: i32,
}

static NODE: Schema = Schema {
    name: "NodeInfo",
    required: &[1, 2],
    texts: &[(2, "the host of a node"), (3, "the TCP host of a node")],
    messages: &[],
};
static OWNER: Schema = Schema {
    name: "ShardOwner",
    required: &[1],
    texts: &[],
    messages: &[],
};
static SHARD: Schema = Schema {
    name: "ShardInfo",
    required: &[1],
    texts: &[],
    messages: &[(3, &OWNER)],
};
static GROUP: Schema = Schema {
    name: "ShardGroupInfo",
    required: &[1, 2, 3, 4],
    texts: &[],
    messages: &[(5, &SHARD)],
};
static SUBSCRIPTION: Schema = Schema {
    name: "SubscriptionInfo",
    required: &[1, 2],
    texts: &[
        (1, "the name of a subscription"),
        (2, "the mode of a subscription"),
        (3, "a destination of a subscription"),
    ],
    messages: &[],
};
static QUERY: Schema = Schema {
    name: "ContinuousQueryInfo",
    required: &[1, 2],
    texts: &[
        (1, "the name of a continuous query"),
        (2, "the text of a continuous query"),
    ],
    messages: &[],
};
static POLICY: Schema = Schema {
    name: "RetentionPolicyInfo",
    required: &[1, 2, 3, 4],
    texts: &[(1, "the name of a retention policy")],
    messages: &[(5, &GROUP), (6, &SUBSCRIPTION)],
};
static DATABASE: Schema = Schema {
    name: "DatabaseInfo",
    required: &[1, 2],
    texts: &[
        (1, "the name of a database"),
        (2, "the name of a default retention policy"),
    ],
    messages: &[(3, &POLICY), (4, &QUERY)],
};
static PRIVILEGE: Schema = Schema {
    name: "UserPrivilege",
    required: &[1, 2],
    texts: &[(1, "the database of a user's privilege")],
    messages: &[],
};
static USER: Schema = Schema {
    name: "UserInfo",
    required: &[1, 2, 3],
    texts: &[(1, "the name of a user"), (2, "a user's password hash")],
    messages: &[(4, &PRIVILEGE)],
};
static DATA: Schema = Schema {
    name: "Data",
    required: &[1, 2, 3, 7, 8, 9],
    texts: &[],
    messages: &[
        (4, &NODE),
        (5, &DATABASE),
        (6, &USER),
        (10, &NODE),
        (11, &NODE),
    ],
};

/// A shard with its place in the metastore.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Database, retention policy and id.
    pub path: ShardPath,
    /// First nanosecond of its group that a point can have.
    pub start: i64,
    /// First nanosecond behind its group.
    pub end: i64,
    /// When its group was deleted, in nanoseconds; `None` while it lives.
    pub deleted_at: Option<i64>,
}

impl Data {
    /// Decodes a metastore and checks that all required fields are there, as servers do.
    ///
    /// # Errors
    ///
    /// When it is no `meta.Data` message, or a name in it is not UTF-8.
    pub fn read(bytes: &[u8]) -> Result<Self> {
        proto::check(bytes, &DATA).map_err(explain)?;
        <Self as Message>::decode(bytes).context("the metastore is damaged")
    }

    pub fn database(&self, name: &str) -> Option<&DatabaseInfo> {
        self.databases.iter().find(|database| database.name == name)
    }

    /// All shards, in the order of databases, policies and groups; those of deleted groups too.
    pub fn shards(&self) -> impl Iterator<Item = Shard> + '_ {
        self.databases.iter().flat_map(|database| {
            let name = Name::from(database.name.as_str());
            database.retention_policies.iter().flat_map(move |policy| {
                let path = ShardPath {
                    database: name.clone(),
                    retention_policy: policy.name.as_str().into(),
                    id: 0,
                };
                policy.shard_groups.iter().flat_map(move |group| {
                    let path = path.clone();
                    group.shards.iter().map(move |shard| Shard {
                        path: ShardPath {
                            id: shard.id,
                            ..path.clone()
                        },
                        start: group.start(),
                        end: group.end_time,
                        deleted_at: (group.deleted_at != 0).then_some(group.deleted_at),
                    })
                })
            })
        })
    }

    /// The shards of groups that are not deleted.
    pub(crate) fn live_shards(&self) -> impl Iterator<Item = Shard> + '_ {
        self.shards().filter(|shard| shard.deleted_at.is_none())
    }
}

/// Tells a damaged metastore from one that is whole and holds a text that this program cannot.
fn explain(error: anyhow::Error) -> anyhow::Error {
    let Some(text) = error.downcast_ref::<NotUtf8>() else {
        return error.context("the metastore is damaged");
    };
    let hint = "SHOW DATABASES and the server's log show the name; it came from a client with another encoding (Latin-1, say). \
                Until it is replaced on the server, only influxd backup can take this metastore";
    ErrorKind::Failed
        .error(format!("the metastore is whole, but {text}"))
        .hint(hint)
        .into()
}

impl ShardGroupInfo {
    /// The first nanosecond inside. The first group that there can be begins before what the field
    /// can hold, and influxd lets it wrap round to 2262.
    pub(crate) fn start(&self) -> i64 {
        if self.start_time < self.end_time {
            self.start_time
        } else {
            time::LEAST
        }
    }
}

impl DatabaseInfo {
    /// The retention policy of that name.
    pub fn retention_policy(&self, name: &str) -> Option<&RetentionPolicyInfo> {
        self.retention_policies
            .iter()
            .find(|policy| policy.name == name)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn sample() -> Data {
        let group = |id| ShardGroupInfo {
            id,
            start_time: -604_800_000_000_000,
            end_time: 0,
            shards: vec![ShardInfo {
                id: id * 10,
                ..Default::default()
            }],
            ..Default::default()
        };
        let policy = RetentionPolicyInfo {
            name: "autogen".into(),
            replica_n: 1,
            shard_groups: vec![group(1), group(2)],
            ..Default::default()
        };
        let database = DatabaseInfo {
            name: "db".into(),
            retention_policies: vec![policy],
            ..Default::default()
        };
        Data {
            index: 4,
            databases: vec![database],
            max_shard_id: 20,
            max_shard_group_id: 2,
            ..Default::default()
        }
    }

    #[test]
    fn a_metastore_is_read_with_its_shards_in_order() {
        let data = Data::read(&sample().encode_to_vec()).unwrap();
        assert_eq!(data, sample());
        let shards: Vec<_> = data
            .shards()
            .map(|shard| (shard.path.to_string(), shard.start, shard.end))
            .collect();
        let start = -604_800_000_000_000;
        assert_eq!(
            shards,
            vec![
                ("db/autogen/10".into(), start, 0),
                ("db/autogen/20".into(), start, 0)
            ]
        );
    }

    #[test]
    fn the_first_group_of_all_begins_with_the_first_time_there_is() {
        let mut data = sample();
        let group = &mut data.databases[0].retention_policies[0].shard_groups[0];
        // As influxd 1.6.7 stores it: the start wrapped round.
        (group.start_time, group.end_time) =
            (9_223_196_473_709_551_616, -9_222_941_600_000_000_000);
        let first = data.shards().next().unwrap();
        assert_eq!(
            (first.start, first.end),
            (time::LEAST, -9_222_941_600_000_000_000)
        );
    }

    #[test]
    fn a_message_without_a_required_field_is_refused_as_servers_do() {
        let mut bytes = sample().encode_to_vec();
        assert_eq!(bytes[bytes.len() - 2..], [0x48, 20]);
        bytes.truncate(bytes.len() - 2);
        assert!(
            format!("{:#}", Data::read(&bytes).unwrap_err()).contains("Data lacks its field 9")
        );
        assert!(Data::read(b"").is_err());
    }

    #[test]
    fn a_name_that_is_not_utf_8_is_shown_and_not_called_damage() {
        let mut bytes = sample().encode_to_vec();
        let at = bytes.windows(2).position(|pair| pair == b"db").unwrap();
        bytes[at + 1] = 0xe9;
        let error = Data::read(&bytes).unwrap_err();
        let said = format!("{error:#}");
        assert_eq!(
            said,
            r#"the metastore is whole, but the name of a database is not UTF-8: "d\xe9""#
        );
        assert!(crate::error::hint(&error).is_some());
    }

    #[test]
    fn a_message_of_more_entries_than_any_server_has_is_refused_before_it_is_decoded() {
        // A privilege takes six bytes, and ten times as many in memory.
        let mut user = Vec::new();
        proto::put_bytes(&mut user, 1, b"");
        proto::put_bytes(&mut user, 2, b"");
        proto::put_varint(&mut user, 3, 0);
        (0..2_000_000).for_each(|_| proto::put_bytes(&mut user, 4, b"\x0a\0\x10\0"));
        let mut bytes = sample().encode_to_vec();
        proto::put_bytes(&mut bytes, 6, &user);
        let said = format!("{:#}", Data::read(&bytes).unwrap_err());
        assert!(said.contains("more than 2000000 entries"), "{said}");
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_or_refused(bytes in any::<Vec<u8>>()) {
            let _ = Data::read(&bytes);
        }

        #[test]
        fn any_damaged_byte_is_read_or_refused(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
            let mut bytes = sample().encode_to_vec();
            let at = at.index(bytes.len());
            bytes[at] = byte;
            let _ = Data::read(&bytes);
        }
    }
}
