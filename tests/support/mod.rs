//! What the integration tests share: a real influxd, sample data, running `snap`, a service, directory trees, TSM files, JSON schemas.
// Each test file compiles this module for itself and uses only a part of it.
#![allow(dead_code)]

pub mod between;
pub mod data;
pub mod http;
pub mod influxd;
pub mod peer;
pub mod process;
pub mod schema;
pub mod service;
pub mod tree;
pub mod tsm;

use std::sync::{Arc, Mutex, PoisonError, Weak};

/// A value for tests that run at the same time: made by the first that asks, gone with the last that holds it.
pub fn shared<T>(slot: &Mutex<Weak<T>>, make: impl FnOnce() -> T) -> Arc<T> {
    let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
    slot.upgrade().unwrap_or_else(|| {
        let made = Arc::new(make());
        *slot = Arc::downgrade(&made);
        made
    })
}
