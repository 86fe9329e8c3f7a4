//! Repositories in object storage: servers of S3 and Azure, and a real influxd. These tests need
//! what `.ci/setup tests` unpacks, and fail where it is missing.

// The support code of the tests itself.
mod harness;

#[path = "../support/mod.rs"]
mod support;
