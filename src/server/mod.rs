//! The snapshotter as a service: a listener, a metastore, a shard store and a log.
//!
//! [`Service::open`] takes a bound listener and begins to answer; [`Service::close`] stops
//! accepting and waits for the requests in flight. A [`LocalService`] has no listener: it answers
//! this process alone. What is stored where is the business of the two stores, which are traits.

mod connection;
mod export;
mod log;
mod options;
mod service;
mod shared;
mod stores;

pub use log::{Counts, Log, LogLine};
pub use options::ServiceOptions;
pub(crate) use service::LocalService;
pub use service::Service;
pub use stores::{MetaStore, ShardStore, Snapshot, SnapshotFile};
