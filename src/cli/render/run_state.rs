//! How far a run has come: which shards are worked on, how many are over, and how many bytes of
//! them were dealt with.

use crate::progress::{Event, Outcome};
use crate::shard::ShardPath;

/// How far the work on some shards has come.
#[derive(Debug, Default)]
pub(super) struct RunState {
    /// How many shards there are.
    pub count: usize,
    /// How many of them are over.
    pub over: usize,
    /// How many of these failed.
    pub failed: usize,
    /// Those that are worked on, the one begun first in front.
    pub running: Vec<RunningShard>,
    /// All bytes that were dealt with, those of failed attempts too.
    pub moved: u64,
    /// The bytes of all shards, where they are known.
    pub expected: Option<u64>,
    /// The bytes of the shards that are over.
    settled: u64,
}

/// A shard that is worked on.
#[derive(Debug)]
pub(super) struct RunningShard {
    pub path: ShardPath,
    /// Its size, where it is known.
    pub expected: Option<u64>,
    /// The bytes that this attempt has dealt with.
    pub done: u64,
}

impl RunningShard {
    /// How much of it is done, from 0 to 1, where its size is known.
    pub(super) fn fraction(&self) -> Option<f64> {
        self.expected.map(|expected| fraction(self.done, expected))
    }

    /// What it counts for in the total: never more than was expected of it.
    fn counted(&self) -> u64 {
        self.expected
            .map_or(self.done, |expected| self.done.min(expected))
    }
}

impl RunState {
    /// Takes in what happened.
    pub(super) fn apply(&mut self, event: &Event<'_>) {
        match *event {
            Event::Shards { count, bytes } => {
                *self = Self {
                    count,
                    expected: bytes,
                    ..Self::default()
                };
            }
            Event::Started { shard, bytes } => {
                self.take(shard);
                self.running.push(RunningShard {
                    path: shard.clone(),
                    expected: bytes,
                    done: 0,
                });
            }
            Event::Bytes { shard, count } => {
                self.moved = self.moved.saturating_add(count);
                let mut running = self.running.iter_mut();
                if let Some(running) = running.find(|running| running.path == *shard) {
                    running.done = running.done.saturating_add(count);
                }
            }
            Event::Retry { shard, .. } => {
                self.take(shard);
            }
            Event::Finished { shard, outcome, .. } => {
                if let Some(running) = self.take(shard) {
                    // What was expected, so that the total comes to its end, though a shard was
                    // larger or smaller when it came.
                    let settled = running.expected.unwrap_or(running.done);
                    self.settled = self.settled.saturating_add(settled);
                }
                self.over += 1;
                self.failed += usize::from(matches!(outcome, Outcome::Failed(_)));
            }
            _ => {}
        }
    }

    /// Whether there is work on shards, and it is not over.
    pub(super) fn is_at_work(&self) -> bool {
        self.over < self.count
    }

    /// The bytes that are done for good or by the attempts under way.
    pub(super) fn done(&self) -> u64 {
        let running = self.running.iter().map(RunningShard::counted);
        running.fold(self.settled, u64::saturating_add)
    }

    /// How much is done, from 0 to 1: of the bytes, or where those are unknown, of the shards.
    pub(super) fn fraction(&self) -> f64 {
        match self.expected {
            Some(expected) => fraction(self.done(), expected),
            None => {
                let begun = self.running.iter().filter_map(RunningShard::fraction);
                let over = self.over as f64 + begun.sum::<f64>();
                (over / self.count.max(1) as f64).min(1.0)
            }
        }
    }

    /// Takes a shard out of those that are worked on.
    fn take(&mut self, shard: &ShardPath) -> Option<RunningShard> {
        let mut running = self.running.iter();
        let at = running.position(|running| running.path == *shard)?;
        Some(self.running.remove(at))
    }
}

/// A part of a whole. A shard can have grown since its size was recorded, and be empty.
fn fraction(part: u64, whole: u64) -> f64 {
    match whole {
        0 => 1.0,
        whole => (part as f64 / whole as f64).min(1.0),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn path(id: u64) -> ShardPath {
        ShardPath {
            database: "db".into(),
            retention_policy: "autogen".into(),
            id,
        }
    }

    fn state(events: &[Event<'_>]) -> RunState {
        let mut state = RunState::default();
        events.iter().for_each(|event| state.apply(event));
        state
    }

    fn started(shard: &ShardPath, bytes: Option<u64>) -> Event<'_> {
        Event::Started { shard, bytes }
    }

    fn done(shard: &ShardPath) -> Event<'_> {
        Event::Finished {
            shard,
            outcome: Outcome::Done { files: 1, bytes: 9 },
            elapsed: Duration::ZERO,
        }
    }

    #[test]
    fn what_a_failed_attempt_got_does_not_count_as_done() {
        let shard = path(1);
        let retry = Event::Retry {
            shard: &shard,
            attempt: 1,
            wait: Duration::ZERO,
            reason: "reset",
        };
        let bytes = Event::Bytes {
            shard: &shard,
            count: 60,
        };
        let all = Event::Shards {
            count: 2,
            bytes: Some(200),
        };
        let begun = started(&shard, Some(100));
        let state = state(&[all, begun, bytes, retry, begun, bytes]);
        assert_eq!((state.done(), state.moved), (60, 120));
        assert_eq!(state.fraction(), 0.3);
    }

    #[test]
    fn a_shard_that_grew_or_shrank_counts_for_what_was_expected_of_it() {
        let (grown, shrunk) = (path(1), path(2));
        let bytes = |shard, count| Event::Bytes { shard, count };
        let all = Event::Shards {
            count: 2,
            bytes: Some(200),
        };
        let mut state = state(&[all, started(&grown, Some(100)), bytes(&grown, 150)]);
        assert_eq!((state.done(), state.fraction()), (100, 0.5));
        state.apply(&done(&grown));
        state.apply(&started(&shrunk, Some(100)));
        state.apply(&bytes(&shrunk, 10));
        state.apply(&done(&shrunk));
        assert_eq!((state.done(), state.fraction()), (200, 1.0));
        assert!(!state.is_at_work());
    }

    #[test]
    fn where_bytes_are_unknown_the_shards_are_counted() {
        let (known, unknown, over) = (path(1), path(2), path(3));
        let all = Event::Shards {
            count: 4,
            bytes: None,
        };
        let half = Event::Bytes {
            shard: &known,
            count: 5,
        };
        let events = [all, done(&over), started(&known, Some(10)), half];
        let mut state = state(&events);
        state.apply(&started(&unknown, None));
        assert_eq!(state.fraction(), 0.375);
    }
}
