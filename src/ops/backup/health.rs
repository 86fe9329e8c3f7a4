//! What a server does with questions about shards, whichever they are: whether it answers, and how
//! soon.
//!
//! Several threads ask it. Whether it can be asked at all is one matter; whether it can be asked
//! about shards is another: a server that flushes, or is short of memory, tells its metastore and
//! closes without a byte when it is asked for a shard.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use crate::retry::{Gate, Server};

/// After so many shards in a row that were given up, the server and not a shard is the reason, and
/// the others are not waited for.
pub(crate) const IN_A_ROW: u32 = 4;
/// After so many questions in a row about shards that were met with silence, it is the server that
/// is busy or failing, and all wait together.
const SILENCES: u32 = 16;

/// What is known of a server that is asked about shards.
#[derive(Debug)]
pub(crate) struct ServerHealth<'a> {
    /// Whether it can be asked at all.
    server: &'a Server,
    /// Whether it can be asked about shards.
    shards: Server,
    /// How many questions about shards in a row it met with silence.
    silences: AtomicU32,
    /// How many shards in a row it never answered promptly.
    late: AtomicU32,
}

/// Whose failure a silence is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WhoIsSilent {
    /// The shard's.
    OfShard,
    /// The server's: how long to wait before it is asked about any, and nothing where it is given
    /// up.
    OfServer(Option<Duration>),
}

impl<'a> ServerHealth<'a> {
    /// Of a server of whose shards nothing is known, and that is waited for as long as belongs to
    /// so many retries.
    pub(super) fn new(server: &'a Server, retries: u32) -> Self {
        Self {
            server,
            shards: Server::new(retries),
            silences: AtomicU32::new(0),
            late: AtomicU32::new(0),
        }
    }

    /// Whether it may be asked about a shard. Whoever finds it open must say then what came of it.
    pub(crate) fn gate(&self, now: Instant) -> Gate {
        let gate = self.server.gate(now);
        if gate == Gate::Open
            && let Gate::Closed(wait) = self.shards.gate(now)
        {
            self.server.not_asked();
            return Gate::Closed(wait);
        }
        gate
    }

    /// As [`ServerHealth::gate`], for a question that need not be asked.
    pub(crate) fn is_open_for_more(&self, now: Instant) -> bool {
        self.silences.load(Ordering::Relaxed) < SILENCES && self.server.gate(now) == Gate::Open
    }

    /// It answered something.
    pub(super) fn answered(&self) {
        self.server.answered();
    }

    /// It answered a question about a shard, or failed in another way than by silence.
    pub(crate) fn reset_silences(&self) {
        self.silences.store(0, Ordering::Relaxed);
        self.shards.answered();
    }

    /// It did not answer at all: how long to wait before it is asked again, `None` where it is
    /// given up.
    pub(super) fn failed(&self, now: Instant) -> Option<Duration> {
        self.server.failed(now)
    }

    /// It met a question about a shard with silence, which was put ahead.
    pub(crate) fn record_silent_probe(&self) {
        self.silences.fetch_add(1, Ordering::Relaxed);
    }

    /// It met a question about a shard with silence.
    pub(super) fn silent(&self, now: Instant) -> WhoIsSilent {
        if self.silences.fetch_add(1, Ordering::Relaxed) < SILENCES {
            // Another shard was answered meanwhile, perhaps: whoever waits for this question must
            // not wait for ever.
            self.shards.not_asked();
            return WhoIsSilent::OfShard;
        }
        WhoIsSilent::OfServer(self.shards.failed(now))
    }

    /// It answered promptly.
    pub(crate) fn record_prompt(&self) {
        self.late.store(0, Ordering::Relaxed);
    }

    /// A shard was given up that it never answered promptly.
    pub(crate) fn record_late_shard(&self) {
        self.late.fetch_add(1, Ordering::Relaxed);
    }

    /// Whether it is slow to answer, whatever it is asked about.
    pub(crate) fn is_slow(&self) -> bool {
        self.late.load(Ordering::Relaxed) >= IN_A_ROW
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_silence_after_an_answer_to_another_thread_lets_the_others_ask() {
        let server = Server::new(5);
        let health = ServerHealth::new(&server, 5);
        let now = Instant::now();
        health.silences.store(SILENCES, Ordering::Relaxed);
        let WhoIsSilent::OfServer(Some(wait)) = health.silent(now) else {
            panic!("the server is silent");
        };
        // Between the two steps of an answer, the failure of another thread can fall.
        health.silences.store(0, Ordering::Relaxed);
        assert_eq!(health.shards.gate(now + wait), Gate::Open);
        assert_eq!(health.silent(now + wait), WhoIsSilent::OfShard);
        assert_eq!(health.shards.gate(now + wait), Gate::Open);
    }

    #[test]
    fn whoever_may_not_ask_about_shards_leaves_the_server_to_others() {
        let server = Server::new(5);
        let health = ServerHealth::new(&server, 5);
        let now = Instant::now();
        let after = |millis| now + Duration::from_millis(millis);
        // About shards it may not be asked before 1.5 s, at all before 1 s.
        assert_eq!(health.shards.failed(now), Some(Duration::from_millis(500)));
        assert_eq!(health.shards.gate(after(500)), Gate::Open);
        assert_eq!(
            health.shards.failed(after(500)),
            Some(Duration::from_secs(1))
        );
        assert_eq!(server.failed(after(500)), Some(Duration::from_millis(500)));
        assert_eq!(
            health.gate(after(1000)),
            Gate::Closed(Duration::from_millis(500))
        );
        assert_eq!(server.gate(after(1000)), Gate::Open);
    }
}
