//! What the threads of a service share: its stores, its counts, and the connections being served.

use std::collections::HashMap;
use std::net::Shutdown;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::log::Log;
use super::options::ServiceOptions;
use super::stores::{MetaStore, ShardStore};
use crate::io::stream::Stream;

/// How long a connection that is cut off at the end of the grace time has to notice.
pub(super) const LAST_WAIT: Duration = Duration::from_secs(5);

/// What the threads of a service share.
pub(super) struct Shared {
    pub(super) meta: Box<dyn MetaStore>,
    pub(super) shards: Box<dyn ShardStore>,
    pub(super) log: Box<dyn Log>,
    pub(super) options: ServiceOptions,
    closing: AtomicBool,
    pub(super) counters: Counters,
    active: Mutex<Active>,
    changed: Condvar,
}

#[derive(Default)]
pub(super) struct Counters {
    pub(super) connections: AtomicU64,
    pub(super) answered: AtomicU64,
    pub(super) failed: AtomicU64,
    pub(super) bytes: AtomicU64,
}

/// The connections that are being served.
#[derive(Default)]
pub(super) struct Active {
    next: u64,
    pub(super) streams: HashMap<u64, Stream>,
}

impl Shared {
    pub(super) fn new(
        meta: Box<dyn MetaStore>,
        shards: Box<dyn ShardStore>,
        log: Box<dyn Log>,
        options: ServiceOptions,
    ) -> Arc<Self> {
        Arc::new(Self {
            meta,
            shards,
            log,
            options,
            closing: AtomicBool::new(false),
            counters: Counters::default(),
            active: Mutex::default(),
            changed: Condvar::new(),
        })
    }

    pub(super) fn is_closing(&self) -> bool {
        self.closing.load(Ordering::SeqCst)
    }

    /// Admits nobody from now on.
    pub(super) fn begin_to_close(&self) {
        // Under the lock, so that nobody is between looking and waiting.
        let _active = self.active();
        self.closing.store(true, Ordering::SeqCst);
        self.changed.notify_all();
    }

    /// Waits until the requests in flight are answered, for up to `grace`, and cuts off those that
    /// are not. Says how many.
    pub(super) fn drain(&self, grace: Duration) -> usize {
        if self.wait(Some(Instant::now() + grace), |active| {
            active.streams.is_empty()
        }) {
            return 0;
        }
        let left = {
            let active = self.active();
            active
                .streams
                .values()
                .for_each(|stream| drop(stream.shutdown(Shutdown::Both)));
            active.streams.len()
        };
        self.wait(Some(Instant::now() + LAST_WAIT), |active| {
            active.streams.is_empty()
        });
        left
    }

    /// Adds a connection to those being served, for as long as what is given back lives.
    pub(super) fn enter(self: &Arc<Self>, stream: Stream) -> Presence {
        let mut active = self.active();
        active.next += 1;
        let number = active.next;
        active.streams.insert(number, stream);
        drop(active);
        Presence {
            shared: Arc::clone(self),
            number,
        }
    }

    fn active(&self) -> MutexGuard<'_, Active> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until `ready`, or until `deadline`.
    pub(super) fn wait(&self, deadline: Option<Instant>, ready: impl Fn(&Active) -> bool) -> bool {
        let mut active = self.active();
        while !ready(&active) {
            let left = deadline.map_or(LAST_WAIT, |deadline| {
                deadline.saturating_duration_since(Instant::now())
            });
            if left.is_zero() {
                return false;
            }
            active = self
                .changed
                .wait_timeout(active, left)
                .unwrap_or_else(PoisonError::into_inner)
                .0;
        }
        true
    }
}

/// A connection's place among those being served. It is given up whatever ends its thread.
pub(super) struct Presence {
    pub(super) shared: Arc<Shared>,
    number: u64,
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.shared.active().streams.remove(&self.number);
        self.shared.changed.notify_all();
    }
}
