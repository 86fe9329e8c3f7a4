//! What the integration tests share: a real influxd, scripted servers, servers of object storage,
//! data, damage and backups made by hand, running `snap`, a service, a terminal, directory trees,
//! small disks, TSM files.
// Each test binary compiles this module for itself and uses only a part of it.
#![allow(dead_code)]

pub mod backups;
pub mod between;
pub mod damage;
pub mod data;
pub mod disk;
pub mod fixture;
pub mod handmade;
pub mod http;
pub mod influxd;
pub mod listener;
pub mod object_storage;
pub mod peer;
pub mod process;
pub mod proxy;
pub mod s3;
pub mod service;
pub mod sets;
pub mod shell;
pub mod source;
pub mod terminal;
pub mod time;
pub mod tools;
pub mod tree;
pub mod tsm;

use std::path::Path;
use std::sync::{Arc, Condvar, Mutex, PoisonError, Weak};
use std::thread;

use tempfile::TempDir;

/// A folder of a test's own. Its path has no dot: influxd takes the names of backup files apart
/// with their paths.
pub fn folder() -> TempDir {
    tempfile::Builder::new()
        .prefix("snap")
        .tempdir()
        .expect("a temporary directory")
}

/// A path as an argument.
pub fn utf8(path: &Path) -> &str {
    path.to_str().expect("a path in UTF-8")
}

/// A value for tests that run at the same time: made by the first that asks, gone with the last
/// that holds it.
pub struct Shared<T> {
    slot: Mutex<Weak<T>>,
    make: fn() -> T,
}

impl<T> Shared<T> {
    /// A value that is made so.
    pub const fn new(make: fn() -> T) -> Self {
        Self {
            slot: Mutex::new(Weak::new()),
            make,
        }
    }

    /// The value, for as long as it is held.
    pub fn get(&self) -> Arc<T> {
        let mut slot = self.slot.lock().unwrap_or_else(PoisonError::into_inner);
        slot.upgrade().unwrap_or_else(|| {
            let made = Arc::new((self.make)());
            *slot = Arc::downgrade(&made);
            made
        })
    }
}

/// How many cases are done at a time, those of all tests of a process together. Many tests run at
/// once, and what a real server does in time it does not in a crowd.
const CASES: usize = 8;

/// How many cases are being done.
static BEGUN: (Mutex<usize>, Condvar) = (Mutex::new(0), Condvar::new());

/// One of the [`CASES`], until it is dropped.
struct Place;

impl Place {
    /// Waits for one.
    fn take() -> Self {
        let (begun, ended) = &BEGUN;
        let begun = begun.lock().unwrap_or_else(PoisonError::into_inner);
        let begun = ended.wait_while(begun, |begun| *begun >= CASES);
        *begun.unwrap_or_else(PoisonError::into_inner) += 1;
        Self
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let (begun, ended) = &BEGUN;
        *begun.lock().unwrap_or_else(PoisonError::into_inner) -= 1;
        ended.notify_one();
    }
}

/// Does the cases some at a time: most of their time is spent waiting.
pub fn each<T: Send + std::fmt::Debug>(
    cases: impl IntoIterator<Item = T>,
    test: impl Fn(&T) + Sync,
) {
    each_of(
        CASES,
        cases.into_iter().map(|case| (format!("{case:?}"), case)),
        |(_, case)| test(case),
    );
}

/// Does the cases, which have names, with so many threads. No case may begin others.
pub fn each_of<N: Send + std::fmt::Debug, T: Send>(
    threads: usize,
    cases: impl IntoIterator<Item = (N, T)>,
    test: impl Fn(&(N, T)) + Sync,
) {
    let cases = Mutex::new(cases.into_iter().collect::<Vec<_>>());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(case) = { cases.lock().expect("no case panics here").pop() } {
                    let place = Place::take();
                    let name = format!("{:?}", case.0);
                    let name = name.get(..200).unwrap_or(&name);
                    let result =
                        std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| test(&case)));
                    drop(place);
                    result.unwrap_or_else(|_| panic!("the case {name} failed"));
                }
            });
        }
    });
}
