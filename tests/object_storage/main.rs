//! Repositories in object storage: servers of S3 and Azure, and a real influxd. These tests need
//! what `.ci/setup tests` unpacks, and fail where it is missing.

// Networks and servers on a bad day.
mod bad_days;
// Sets that are copied into object storage, out of it, and within.
mod copies;
// A server with a backup, and what lies in the storage.
mod fixture;
// The support code of the tests itself.
mod harness;
// Runs that are killed.
mod kills;
// The memory that uploads take.
mod memory;
// Credentials, buckets, and what is not permitted.
mod permissions;
// What reads a backup without restoring it, and a run that resumes another.
mod readers;
// How many requests there are.
mod requests;
// Every command, in both layouts and with both indexes, on each kind of server.
mod round_trip;
// Several runs at once.
mod together;

#[path = "../support/mod.rs"]
mod support;
