//! Round trips with a real influxd, point by point. All of these tests need one and fail where
//! there is none.

// Copies of backups, and what comes back from them.
mod copies;
// Deleted points stay deleted in a running server that is restored into.
mod deletes;
// `snap diff` of sets, servers and directories.
mod diff;
// What `snap export` writes, taken in by another server.
mod export;
// The support code of the tests itself.
mod harness;
// `snap restore -online`, and what it refuses.
mod live;
// A large metastore into a running server.
mod live_large;
// `snap restore -online -merge`: points for a database that is there.
mod merge;
// What is asked for and is not there.
mod mistakes;
// A database, a retention policy, a shard or a stretch of time, backed up and restored alone.
mod parts;
// Portable backups of snap and of influxd, restored by either.
mod portable;
// `-start` and `-end` keep exactly the points of an interval.
mod ranges;
// A metastore for a data directory that has lost its own.
mod rebuild;
// `-shard-duration` brings back the same points in other shards.
mod regroup;
// Offline restore: what it refuses, what it says it would do, owners, modes, numbers.
mod restore;
// Backup and offline restore in both layouts and with both indexes.
mod round_trip;
// `snap restore -skip-damaged` brings back all but what it lists.
mod salvage;
// `-measurement` and `-where` bring back exactly the series that are meant.
mod series;
// `snap serve` in place of influxd's own port.
mod serve;
// `snap stats` counts what the server counts.
mod stats;
// What `snap export` writes as Parquet and CSV, against the answers to queries.
#[cfg(feature = "parquet")]
mod tables;
// The data sets and the old backups in `testdata`.
mod testdata;
// Thirty days of incremental backups, each set brought back.
mod thirty_days;
// Tombstone files: read, applied and written.
mod tombstones;
// `snap verify -restore`, with a real influxd and without.
mod trial;
// TSM files: read, and written again to the byte.
mod tsm;
// The users of a backup, in the metastore of another server.
mod users;
// The WAL of an influxd that was killed.
mod wal;
// `snap restore -online -with`: queries, grants and subscriptions over HTTP.
mod with;

#[path = "../support/mod.rs"]
mod support;
