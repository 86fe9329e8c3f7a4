//! Backups of a scripted server, which answers whatever a test wants, and scripted clients of `snap
//! serve`.
//!
//! A real influxd is needed by one test each of `faults` and `portable_faults`, and by some of
//! `incremental`.

// What a server answers: silences, malformed tars, missing shards, hostile names and sizes.
mod answers;
// Servers that are written to meanwhile: what was acknowledged before is in the set, or it is said.
mod busy;
// Servers 1.0 to 1.4: their requests, silences and tars.
mod dialect_1_0;
// `snap export -host` and `snap stats -host`.
mod exporting;
// Connections that break, stall or lead to no snapshotter; servers that go away; locks.
mod faults;
// Which shards an incremental set shares with an earlier one, and which are downloaded again.
mod incremental;
// `-limit-rate`.
mod limit_rate;
// `snap restore -online -merge` into servers of 1.8 and 1.12.
mod merging;
// Portable backups: damage found before a restore, and failures that leave no manifest.
mod portable_faults;
// `snap serve` and clients that misbehave.
mod serve_faults;

#[path = "../support/mod.rs"]
mod support;
