//! A shard that is written to: what of it is not in files, and what servers of each kind do when
//! they are asked for it then.

use std::collections::VecDeque;
use std::sync::Mutex;
use std::thread;
use std::time::{Duration, Instant};

use super::super::listener::lock;
use super::State;
use super::model::Version;
use super::tars::{Member, Tar, tar};

/// The points of a shard that are in no file, and the flushes that put them there.
#[derive(Clone, Debug, Default)]
pub struct Cache {
    /// The files.
    pub files: Vec<Member>,
    /// What a flush that failed has set aside, as the file that it becomes: the next flush writes
    /// that alone.
    pub failed: Vec<Member>,
    /// What the next flush writes.
    pub cached: Vec<Member>,
    /// How long flushes take that begin by themselves: each takes what is cached as soon as a
    /// request comes while none is under way.
    pub flushes: VecDeque<Duration>,
    /// The flush that began by itself: when it ends, and what it writes.
    pub under_way: Option<(Instant, Vec<Member>)>,
}

/// What becomes of a request for a shard.
pub(super) enum Flushed {
    /// The files are sent.
    Sends,
    /// An empty tar is sent.
    Empty,
    /// The connection is closed.
    Closes,
}

impl Cache {
    /// All that is in memory and in files.
    pub fn members(&self) -> impl Iterator<Item = &Member> {
        let under_way = self.under_way.iter().flat_map(|(_, members)| members);
        let in_files = self.files.iter().chain(&self.failed);
        in_files.chain(under_way).chain(&self.cached)
    }

    /// A flush begins by itself, where it is time.
    fn begin(&mut self) {
        if self.under_way.is_none()
            && let Some(time) = self.flushes.pop_front()
        {
            self.under_way = Some((Instant::now() + time, std::mem::take(&mut self.cached)));
        }
    }

    /// Flushes what is cached, as a request does; false while a flush is under way.
    fn flush(&mut self) -> bool {
        match self.under_way.take() {
            Some((until, members)) if Instant::now() < until => {
                self.under_way = Some((until, members));
                return false;
            }
            Some((_, members)) => self.files.extend(members),
            None => {}
        }
        if self.failed.is_empty() {
            self.files.append(&mut self.cached);
        } else {
            self.files.append(&mut self.failed);
        }
        true
    }
}

/// Does what a server does before it sends a shard.
pub(super) fn flush(state: &Mutex<State>, id: u64, is_export: bool) -> Flushed {
    let attempt = |is_first: bool| {
        let mut state = lock(state);
        let shard = state
            .model
            .shards
            .iter_mut()
            .find(|shard| shard.path.id == id)?;
        let cache = shard.cache.as_mut()?;
        if is_first {
            cache.begin();
        }
        let is_done = cache.flush();
        shard.tar = Tar::Bytes(tar(&cache.files));
        Some(is_done)
    };
    let version = lock(state).model.version;
    let sleep = |nth: u32| thread::sleep(Duration::from_millis(32_u64.pow(nth)));
    let Some(mut is_done) = attempt(true) else {
        return Flushed::Sends;
    };
    match version {
        Version::V1_8_3 if !is_export => {
            // Three attempts, successful or not, and a sleep after each that was not.
            for nth in 0..3 {
                if nth > 0 {
                    is_done = attempt(false).unwrap_or(true);
                }
                if !is_done {
                    sleep(nth);
                }
            }
            if is_done {
                Flushed::Sends
            } else {
                Flushed::Empty
            }
        }
        Version::V1_8_10 | Version::V1_12 => {
            for nth in 0..3 {
                if !is_done {
                    sleep(nth);
                    is_done = attempt(false).unwrap_or(true);
                }
            }
            if is_done || !is_export {
                Flushed::Sends
            } else {
                Flushed::Closes
            }
        }
        _ if is_done => Flushed::Sends,
        _ => Flushed::Closes,
    }
}
