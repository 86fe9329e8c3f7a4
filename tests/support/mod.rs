//! What the integration tests share: a real influxd, sample data, running `snap`, a service, directory trees.
// Each test file compiles this module for itself and uses only a part of it.
#![allow(dead_code)]

pub mod data;
pub mod http;
pub mod influxd;
pub mod peer;
pub mod process;
pub mod service;
pub mod tree;
