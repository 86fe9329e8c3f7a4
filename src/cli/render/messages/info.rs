//! A set, a server, and the shards of either.

use schemars::JsonSchema;
use serde::Serialize;

use super::Message;
use crate::client::Address;
use crate::ops::{MetaCounts, ServerInfo, SetInfo, SetSummary, ShardSummary};
use crate::repository::Selection;

impl Message for SetSummary {
    const TYPE: &'static str = "set";
    const TITLE: &'static str = "A set";
}

impl Message for ShardSummary {
    const TYPE: &'static str = "shard";
    const TITLE: &'static str = "A shard of the set or of the server";
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct SetDetails<'a> {
    #[serde(flatten)]
    summary: &'a SetSummary,
    /// The dialect of the protocol in which it was taken; null for influxd's.
    #[schemars(extend("enum" = ["1.0", "1.5", null]))]
    dialect: Option<&'a str>,
    /// The random number of the server's metastore, up to 2^64 - 1, or null where it is not known.
    cluster_id: Option<u64>,
    /// What was asked for; null for influxd's.
    selection: Option<&'a Selection>,
    /// What the metastore holds, or null where it cannot be read.
    meta: Option<MetaCounts>,
}

impl Message for SetDetails<'_> {
    const TYPE: &'static str = "set";
    const TITLE: &'static str = "The set; the first line";
}

impl<'a> SetDetails<'a> {
    pub(crate) fn new(info: &'a SetInfo) -> Self {
        Self {
            summary: &info.summary,
            dialect: info.dialect.as_deref(),
            cluster_id: info.cluster_id,
            selection: info.selection.as_ref(),
            meta: info.meta,
        }
    }
}

#[derive(Debug, Serialize, JsonSchema)]
pub(crate) struct ServerDetails {
    /// The server's address.
    pub(crate) host: String,
    /// The dialect of the protocol that it speaks.
    #[schemars(extend("enum" = ["1.0", "1.5"]))]
    pub(crate) dialect: String,
    /// The random number of its metastore, up to 2^64 - 1; as floating point it is rounded.
    pub(crate) cluster_id: u64,
    /// What its metastore holds.
    pub(crate) meta: MetaCounts,
}

impl Message for ServerDetails {
    const TYPE: &'static str = "server";
    const TITLE: &'static str = "With -host, the server; the first line";
}

impl ServerDetails {
    pub(crate) fn new(info: &ServerInfo, host: &Address) -> Self {
        let dialect = info.dialect.map(|dialect| dialect.to_string());
        Self {
            host: host.to_string(),
            dialect: dialect.unwrap_or_default(),
            cluster_id: info.cluster_id,
            meta: info.meta,
        }
    }
}
