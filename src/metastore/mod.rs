//! The metastore: a protobuf message with the databases, retention policies, shards and users of a
//! server.

mod data;
pub mod edit;
pub mod proto;
pub mod users;

pub use data::*;
