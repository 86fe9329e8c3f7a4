//! A limit on the bytes per second of a run, all its connections or files together.
//!
//! Each connection waits until what was moved before is paid for, moves a small portion, and adds
//! that to the account. So no connection waits long at a time, and the peer sees a slow but steady
//! one.

use std::num::NonZeroU64;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::cancel::Cancel;
use crate::error::Error;

/// What may be moved at once after a pause, as a length of time at full rate.
const BURST: Duration = Duration::from_millis(100);
/// The most bytes a connection moves before it looks at the account again.
const LARGEST_PORTION: u64 = 64 << 10;
/// How often a connection that waits looks at the cancel token.
const TICK: Duration = Duration::from_millis(100);

/// The limit. Clones share one account.
#[derive(Debug, Clone)]
pub(crate) struct RateLimit {
    account: Arc<Mutex<Account>>,
    /// The most bytes to move at a time.
    pub(crate) portion: usize,
}

impl RateLimit {
    /// A limit of so many bytes per second.
    pub(crate) fn new(bytes_per_second: NonZeroU64) -> Self {
        // A tenth of a second's worth: with n connections, none waits longer than n tenths of a
        // second.
        let portion = (bytes_per_second.get() / 10).clamp(1, LARGEST_PORTION) as usize;
        let account = Account {
            bytes_per_second,
            paid_at: Instant::now(),
        };
        Self {
            account: Arc::new(Mutex::new(account)),
            portion,
        }
    }

    /// Waits until there is something to spend; how long that was.
    pub(crate) fn wait(&self, cancel: &Cancel) -> Result<Duration, Error> {
        let started = Instant::now();
        loop {
            let now = Instant::now();
            let wait = self.with(|account| account.wait(now));
            if wait.is_zero() {
                return Ok(now - started);
            }
            thread::sleep(wait.min(TICK));
            cancel.check()?;
        }
    }

    /// Notes bytes that were moved.
    pub(crate) fn spend(&self, bytes: usize) {
        self.with(|account| account.spend(bytes as u64, Instant::now()));
    }

    fn with<T>(&self, change: impl FnOnce(&mut Account) -> T) -> T {
        change(&mut self.account.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Until when what was moved takes at the rate that is allowed.
#[derive(Debug)]
struct Account {
    bytes_per_second: NonZeroU64,
    paid_at: Instant,
}

impl Account {
    fn wait(&self, now: Instant) -> Duration {
        self.paid_at.saturating_duration_since(now)
    }

    fn spend(&mut self, bytes: u64, now: Instant) {
        // What was not used for a while is lost, but for a burst.
        let earliest = now.checked_sub(BURST).unwrap_or(now);
        let cost = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second.get() as f64);
        self.paid_at = self.paid_at.max(earliest) + cost;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bytes that so many connections move in a time of ten seconds by a clock of our own.
    fn moved(limit: &RateLimit, connections: u64, rest: Duration) -> u64 {
        let start = Instant::now();
        let mut account = Account {
            bytes_per_second: limit.with(|account| account.bytes_per_second),
            paid_at: start,
        };
        let (mut now, mut total) = (start, 0);
        loop {
            now += account.wait(now);
            if now >= start + Duration::from_secs(10) {
                return total;
            }
            for _ in 0..connections {
                account.spend(limit.portion as u64, now);
                total += limit.portion as u64;
            }
            now += rest;
        }
    }

    #[test]
    fn connections_together_move_what_is_allowed_and_no_more() {
        for rate in [1_000, 100_000, 20 << 20] {
            let limit = RateLimit::new(NonZeroU64::new(rate).unwrap());
            for connections in [1, 4, 64] {
                let total = moved(&limit, connections, Duration::ZERO);
                let once = rate / 10 + connections * limit.portion as u64;
                assert!(
                    (rate * 10 - once..=rate * 10 + once).contains(&total),
                    "{connections} at {rate}: {total}"
                );
            }
            // The time in which nothing came is not made up for.
            assert!(moved(&limit, 1, Duration::from_secs(1)) <= rate * 2);
        }
    }

    #[test]
    fn no_connection_waits_longer_than_a_tenth_of_a_second_for_each_of_them() {
        for rate in [1_000, 100_000, 20 << 20] {
            let limit = RateLimit::new(NonZeroU64::new(rate).unwrap());
            let now = Instant::now();
            let mut account = Account {
                bytes_per_second: NonZeroU64::new(rate).unwrap(),
                paid_at: now,
            };
            (0..8).for_each(|_| account.spend(limit.portion as u64, now));
            assert!(
                account.wait(now) <= Duration::from_millis(801),
                "{rate}: {:?}",
                account.wait(now)
            );
        }
    }

    #[test]
    fn a_stop_ends_the_wait() {
        let limit = RateLimit::new(NonZeroU64::MIN);
        limit.spend(1 << 20);
        let cancel = Cancel::default();
        cancel.cancel();
        assert!(limit.wait(&cancel).is_err());
    }
}
