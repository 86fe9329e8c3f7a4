//! Backup and restore for InfluxDB 1.x: the snapshotter protocol, the backup formats, and what is done with them.
//!
//! # Layout
//!
//! Data flows one way: bytes ↔ messages ↔ requests ↔ operations ↔ command line. From the bottom up, each module knowing only
//! those before it: `error`, `cancel`, `disk`, `open`, `stream`, `time`, `retry`, `wire`, `progress`, `client`, `tsm`,
//! `format`, `directory`, `service`, `local`, `ops`, `cli`.

/// Being asked to stop.
pub mod cancel;
/// The command line.
pub mod cli;
/// One request a connection: sockets, time-outs, telling peers apart.
pub mod client;
/// A backup directory: records, lock, commit.
pub mod directory;
/// Steps by which names and files change, each of which can be made to fail in a test.
mod disk;
/// What kind of failure an error is.
pub mod error;
/// The formats of a backup: tar, meta store, file names.
pub mod format;
/// The directories of an influxd that does not run.
pub mod local;
/// Opening files that somebody else may have put in their place.
mod open;
/// What the commands do: backup, restore, verify, forget, serve and the rest.
pub mod ops;
/// What an operation says while it works.
pub mod progress;
/// When to ask again after a failure.
mod retry;
/// The snapshotter as a service, over stores behind traits.
pub mod service;
/// A connection, over TCP or within this process.
pub mod stream;
/// Points in time as typed and as stored.
pub mod time;
/// TSM files, tombstones and the WAL, to points and back.
pub mod tsm;
/// The protocol's messages over `Read` and `Write`.
pub mod wire;
