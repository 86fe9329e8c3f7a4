//! When to ask again after a failure: the one schedule that every operation keeps to.
//!
//! - **One thing**, a shard or a request, waits by itself: 0.5 s after the first failure, twice as
//!   long after each further one, at most 30 s, as often as `-retries` says ([`Attempts`]).
//! - **A server** that does not answer has nothing to do with any one thing: all who ask it wait
//!   together, one of them tries it at a time, and all give up together ([`Server`]). The waits
//!   double from 0.5 s to at most 15 s. It is given up after four attempts, or 48 s, for each of
//!   the `-retries`: with the default of five after 20 attempts or four minutes, as long as
//!   influxd's own client waits. The first answer ends the outage.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, kind_of};

/// The wait after the first failure; it doubles with each further one.
const FIRST: Duration = Duration::from_millis(500);
/// The longest wait between attempts at one thing.
const LONGEST: Duration = Duration::from_secs(30);
/// The longest wait between attempts at a server: shorter, for it is back for all at once.
const LONGEST_FOR_SERVER: Duration = Duration::from_secs(15);
/// How often a server is tried again, and for how long altogether, for each time that one thing
/// would be.
const SERVER_ATTEMPTS: u32 = 4;
const SERVER_PATIENCE: Duration = Duration::from_secs(48);

/// How often somebody who waits looks whether to stop.
const TICK: Duration = Duration::from_millis(50);

/// Waits before something is asked again.
///
/// # Errors
///
/// When a stop is asked for meanwhile.
pub(crate) fn pause(wait: Duration, cancel: &Cancel) -> Result<(), Error> {
    let until = Instant::now() + wait;
    loop {
        cancel.check()?;
        let left = until.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        thread::sleep(left.min(TICK));
    }
}

/// Waits that grow.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Backoff {
    next: Duration,
    longest: Duration,
}

impl Backoff {
    fn up_to(longest: Duration) -> Self {
        Self {
            next: FIRST,
            longest,
        }
    }

    /// How long to wait this time.
    fn wait(&mut self) -> Duration {
        let wait = self.next;
        self.next = (wait * 2).min(self.longest);
        wait
    }
}

/// The attempts at one thing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Attempts {
    failures: u32,
    backoff: Backoff,
}

impl Default for Attempts {
    fn default() -> Self {
        Self {
            failures: 0,
            backoff: Backoff::up_to(LONGEST),
        }
    }
}

impl Attempts {
    /// How many have failed.
    pub(crate) fn failures(&self) -> u32 {
        self.failures
    }

    /// Counts a failure; how long to wait before the next attempt, `None` where `retries` of them
    /// have been made.
    pub(crate) fn failed(&mut self, retries: u32) -> Option<Duration> {
        self.failures += 1;
        (self.failures <= retries).then(|| self.backoff.wait())
    }
}

/// Whether a server may be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Gate {
    /// It may. Whoever asks must say then what came of it: meanwhile it may be closed to others.
    Open,
    /// Not yet, but after this long.
    Closed(Duration),
    /// It was given up, and has not answered since to anybody who had asked before.
    GivenUp,
}

/// What is known of a server that several threads ask.
#[derive(Debug)]
pub(crate) struct Server {
    retries: u32,
    has_answered: AtomicBool,
    state: Mutex<GateState>,
}

#[derive(Debug, Default)]
enum GateState {
    /// As far as anybody knows.
    #[default]
    Answers,
    Silent(Outage),
    GivenUp,
}

#[derive(Debug)]
struct Outage {
    since: Instant,
    failures: u32,
    backoff: Backoff,
    /// Nobody asks before.
    until: Instant,
    /// Somebody asks now, to see whether it is back.
    is_tried: bool,
}

impl Server {
    /// A server that is waited for as long as belongs to so many retries.
    pub(crate) fn new(retries: u32) -> Self {
        Self {
            retries,
            has_answered: AtomicBool::new(false),
            state: Mutex::default(),
        }
    }

    /// How often one thing is asked for again.
    pub(crate) fn retries(&self) -> u32 {
        self.retries
    }

    /// Whether it ever answered.
    pub(crate) fn has_answered(&self) -> bool {
        self.has_answered.load(Ordering::Relaxed)
    }

    /// How long it is waited for, altogether.
    #[cfg(feature = "object-store")]
    pub(crate) fn patience(&self) -> Duration {
        SERVER_PATIENCE.saturating_mul(self.retries)
    }

    /// For how long it has not answered; no time at all where it answers, or was given up.
    #[cfg(feature = "object-store")]
    pub(crate) fn silent_for(&self, now: Instant) -> Duration {
        match &*self.state() {
            GateState::Silent(outage) => now.saturating_duration_since(outage.since),
            GateState::Answers | GateState::GivenUp => Duration::ZERO,
        }
    }

    /// Whether it may be asked.
    pub(crate) fn gate(&self, now: Instant) -> Gate {
        match &mut *self.state() {
            GateState::Answers => Gate::Open,
            GateState::GivenUp => Gate::GivenUp,
            GateState::Silent(outage) if now < outage.until => Gate::Closed(outage.until - now),
            GateState::Silent(outage) if outage.is_tried => Gate::Closed(FIRST),
            GateState::Silent(outage) => {
                outage.is_tried = true;
                Gate::Open
            }
        }
    }

    /// It answered, in whatever way.
    pub(crate) fn answered(&self) {
        self.has_answered.store(true, Ordering::Relaxed);
        *self.state() = GateState::Answers;
    }

    /// Whoever found it open does not ask it after all.
    pub(crate) fn not_asked(&self) {
        if let GateState::Silent(outage) = &mut *self.state() {
            outage.is_tried = false;
        }
    }

    /// It did not answer; how long to wait before it is asked again, `None` where it is given up.
    pub(crate) fn failed(&self, now: Instant) -> Option<Duration> {
        let mut state = self.state();
        if let GateState::Answers = *state {
            *state = GateState::Silent(Outage {
                since: now,
                failures: 0,
                backoff: Backoff::up_to(LONGEST_FOR_SERVER),
                until: now,
                is_tried: true,
            });
        }
        let GateState::Silent(outage) = &mut *state else {
            return None;
        };
        // Of several that had asked when it went away, the first counts.
        if !outage.is_tried {
            return Some(outage.until.saturating_duration_since(now));
        }
        outage.is_tried = false;
        outage.failures += 1;
        let wait = outage.backoff.wait();
        let is_enough = outage.failures > SERVER_ATTEMPTS.saturating_mul(self.retries)
            || now + wait > outage.since + SERVER_PATIENCE.saturating_mul(self.retries);
        if is_enough {
            *state = GateState::GivenUp;
            return None;
        }
        outage.until = now + wait;
        Some(wait)
    }

    fn state(&self) -> MutexGuard<'_, GateState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Whether an error says that the server itself does not answer.
pub(crate) fn is_of_server(error: &anyhow::Error) -> bool {
    let is_of_connection = |error: &io::Error| {
        matches!(
            error.kind(),
            io::ErrorKind::TimedOut
                | io::ErrorKind::ConnectionRefused
                | io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe
        )
    };
    kind_of(error) == ErrorKind::Unreachable
        || error
            .chain()
            .filter_map(|cause| cause.downcast_ref())
            .any(is_of_connection)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_thing_is_tried_again_so_often_and_each_time_after_a_longer_wait() {
        let mut attempts = Attempts::default();
        let waits: Vec<u128> = std::iter::from_fn(|| attempts.failed(8))
            .map(|wait| wait.as_millis())
            .collect();
        assert_eq!(waits, [500, 1000, 2000, 4000, 8000, 16_000, 30_000, 30_000]);
        assert_eq!(attempts.failures(), 9);
        assert_eq!(Attempts::default().failed(0), None);
    }

    #[test]
    fn a_wait_ends_when_its_time_is_over_or_a_stop_is_asked_for() {
        let cancel = Cancel::default();
        let started = Instant::now();
        let wait = Duration::from_millis(120);
        pause(wait, &cancel).unwrap();
        assert!(started.elapsed() >= wait);
        cancel.cancel();
        assert!(pause(Duration::from_secs(3600), &cancel).is_err());
        assert!(started.elapsed() < Duration::from_secs(3600));
    }

    /// How often a server that never answers is asked by so many threads, and for how long, by a
    /// clock of our own.
    fn outlast(retries: u32, threads: usize) -> (u32, Duration) {
        let server = Server::new(retries);
        let started = Instant::now();
        let (mut now, mut asked) = (started, 0);
        loop {
            // All threads find out at once what they may do, and then fail.
            let gates: Vec<Gate> = (0..threads).map(|_| server.gate(now)).collect();
            for gate in &gates {
                if *gate == Gate::Open {
                    asked += 1;
                    let _ = server.failed(now);
                }
            }
            match server.gate(now) {
                Gate::GivenUp => return (asked, now - started),
                Gate::Closed(wait) => now += wait,
                Gate::Open => unreachable!("a server that has just failed"),
            }
        }
    }

    #[test]
    fn a_server_that_does_not_answer_is_asked_as_often_by_many_as_by_one_and_for_four_minutes() {
        let (asked, lasted) = outlast(5, 1);
        assert_eq!((asked, lasted.as_secs()), (20, 225));
        // Those that had asked already when it went away come on top.
        assert_eq!(outlast(5, 64), (asked + 63, lasted));
        assert_eq!(outlast(0, 1).0, 1);
        assert_eq!(outlast(1, 1), (5, Duration::from_millis(7500)));
    }

    #[test]
    fn a_server_that_is_back_is_back_for_all_and_the_next_outage_begins_anew() {
        let server = Server::new(5);
        let now = Instant::now();
        assert_eq!(server.failed(now), Some(FIRST));
        assert_eq!(server.failed(now), Some(FIRST));
        assert_eq!(server.gate(now), Gate::Closed(FIRST));
        assert_eq!(server.gate(now + FIRST), Gate::Open);
        // While one tries, the others wait.
        assert_eq!(server.gate(now + FIRST), Gate::Closed(FIRST));
        assert_eq!(server.failed(now + FIRST), Some(FIRST * 2));
        assert_eq!(server.gate(now + FIRST * 3), Gate::Open);
        server.not_asked();
        assert_eq!(server.gate(now + FIRST * 3), Gate::Open);
        #[cfg(feature = "object-store")]
        assert_eq!(server.silent_for(now + FIRST * 3), FIRST * 3);
        server.answered();
        assert_eq!(server.gate(now + FIRST), Gate::Open);
        assert_eq!(server.failed(now + FIRST), Some(FIRST));
    }

    #[test]
    fn a_server_that_was_given_up_stays_so_until_an_answer_comes_all_the_same() {
        let server = Server::new(0);
        let now = Instant::now();
        assert_eq!(server.failed(now), None);
        assert_eq!(server.failed(now), None);
        assert_eq!(server.gate(now), Gate::GivenUp);
        server.answered();
        assert_eq!(server.gate(now), Gate::Open);
    }
}
