//! Backup and restore for InfluxDB 1.x: the snapshotter protocol, the backup formats, and what is
//! done with them.
//!
//! # Layout
//!
//! Data flows one way: bytes ↔ messages ↔ requests ↔ operations ↔ command line. The modules stand
//! here from the bottom up, and each knows only those before it.

#![warn(unreachable_pub)]

// What kind of failure an error is, and its exit code.
pub mod error;

// Being asked to stop.
pub mod cancel;

// Sizes, counts and lists as people read them.
mod text;

// Files and connections: durable steps, files of strangers, streams.
pub mod io;

// Sums of sizes that somebody else states.
mod sizes;

// Points in time as typed and as stored.
pub mod time;

// When to ask again after a failure.
mod retry;

// Which shard of a server.
pub mod shard;

// What an operation says while it works.
pub mod progress;

// What every operation is given: who may stop it, and who listens.
pub mod context;

// The protocol's messages over `Read` and `Write`.
pub mod wire;

// Requests over HTTP: connections, where they run, why none was answered.
#[cfg(any(feature = "http", feature = "object-store"))]
mod web;

// The metastore: databases, retention policies, shards, users.
pub mod metastore;

// TSM files, tombstones and the WAL, to points and back.
pub mod tsm;

// The tar stream of a shard.
pub mod shard_tar;

// One request a connection: sockets, time-outs, telling peers apart.
pub mod client;

// influxd's HTTP API: queries, statements, and points written.
pub mod http_api;

// A backup directory: records, lock, catalog, commit.
pub mod repository;

// The snapshotter as a service, over stores behind traits.
pub mod server;

// The directories of a stopped influxd.
pub mod influxd_dir;

// What the commands do: backup, restore, verify, forget, serve and the rest.
pub mod ops;

// The command line.
pub mod cli;

// That the order above is true.
#[cfg(test)]
mod layers;
