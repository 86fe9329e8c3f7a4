//! The metastore: a protobuf message with the databases, retention policies, shards and users of a
//! server.

mod data;
pub mod edit;
pub(crate) mod groups;
pub(crate) mod influxql;
pub mod proto;
pub mod regroup;
pub mod statements;
pub mod users;

pub use data::*;
