//! How a run without a lock shows others that it is at work, so that none clears its files away: it
//! leaves a note now and then, from a thread of its own, whatever else it waits for.

use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;

use super::SetWriter;
use crate::error::ErrorKind;
use crate::repository::claim::{Claim, copy_patience};
use crate::repository::resume;
use crate::repository::set_id::SetId;
use crate::repository::store::{WritableStore, is_there};
use crate::text;

/// When a run was last heard of.
#[derive(Debug, Clone, Copy)]
pub(super) struct Heard {
    at: Instant,
    /// By the clock of the store, which goes on while this machine is suspended.
    by_store: SystemTime,
    /// The longest time for which it was not heard of before that. Whoever took the run for dead
    /// then may still be clearing away what it has stored.
    longest: Duration,
}

impl Heard {
    pub(super) fn at(by_store: SystemTime) -> Self {
        Self {
            at: Instant::now(),
            by_store,
            longest: Duration::ZERO,
        }
    }

    /// The longest time for which it was not heard of, up to now.
    fn longest(&self, now: SystemTime) -> Duration {
        self.longest.max(self.since(now))
    }

    fn since(&self, now: SystemTime) -> Duration {
        let by_store = now.duration_since(self.by_store).unwrap_or_default();
        by_store.max(self.at.elapsed())
    }
}

/// What others know of a run.
#[derive(Debug)]
pub(super) struct SignsOfLife {
    store: Arc<dyn WritableStore>,
    /// The run.
    id: SetId,
    is_copy: bool,
    heard: Mutex<Heard>,
}

impl SignsOfLife {
    /// Those of a run that was just heard of.
    pub(super) fn of(store: &Arc<dyn WritableStore>, id: &SetId, is_copy: bool) -> Arc<Self> {
        Arc::new(Self {
            heard: Mutex::new(Heard::at(store.now())),
            store: store.clone(),
            id: id.clone(),
            is_copy,
        })
    }

    /// How long the run may not be heard of before others clear away what it has stored.
    fn patience(&self) -> Duration {
        match self.is_copy {
            true => copy_patience(&*self.store),
            false => self.store.grace(),
        }
    }

    /// How often it is to be heard of, where others may take it for dead.
    fn interval(&self) -> Option<Duration> {
        let patience = self.patience();
        (!patience.is_zero()).then_some(patience / 8)
    }

    /// Leaves a note where the run was not heard of for long.
    fn show(&self) -> Result<()> {
        let is_due = |interval| self.heard().since(self.store.now()) > interval;
        if self.interval().is_some_and(is_due) {
            resume::note_nothing(&*self.store, &self.id)?;
            self.was_heard();
        }
        Ok(())
    }

    pub(super) fn was_heard(&self) {
        let now = self.store.now();
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        *heard = Heard {
            longest: heard.longest(now),
            ..Heard::at(now)
        };
    }

    /// When it was last heard of, as it is known now.
    fn heard(&self) -> Heard {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The longest time for which the run was not heard of.
    fn longest_silence(&self) -> Duration {
        self.heard().longest(self.store.now())
    }
}

/// A thread that shows that a run is at work, until this is dropped.
#[derive(Debug)]
pub(super) struct Heartbeat {
    has_ended: Arc<(Mutex<bool>, Condvar)>,
    thread: Option<JoinHandle<()>>,
}

impl Heartbeat {
    /// That of a run; none where nobody takes it for dead.
    pub(super) fn of(signs: &Arc<SignsOfLife>) -> Option<Self> {
        let interval = signs.interval()?;
        let has_ended = Arc::new((Mutex::new(false), Condvar::new()));
        let (signs, end) = (signs.clone(), has_ended.clone());
        let beat = move || {
            let (has_ended, changed) = &*end;
            let mut ended = has_ended.lock().unwrap_or_else(PoisonError::into_inner);
            while !*ended {
                drop(ended);
                // Where it fails, the next one may not. The commit looks how long that took.
                let _ = signs.show();
                ended = has_ended.lock().unwrap_or_else(PoisonError::into_inner);
                if !*ended {
                    let waited = changed.wait_timeout(ended, interval);
                    ended = waited.unwrap_or_else(PoisonError::into_inner).0;
                }
            }
        };
        // Without the thread, the run shows itself with each file.
        let thread = thread::Builder::new().name("heartbeat".to_owned());
        let thread = thread.spawn(beat).ok();
        Some(Self { has_ended, thread })
    }
}

impl Drop for Heartbeat {
    fn drop(&mut self) {
        let (has_ended, changed) = &*self.has_ended;
        *has_ended.lock().unwrap_or_else(PoisonError::into_inner) = true;
        changed.notify_all();
        // A note that comes later would stay.
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

impl SetWriter {
    /// Tells other runs that this one is alive, where it has not for long, and they may clear away
    /// what is old.
    ///
    /// # Errors
    ///
    /// When that cannot be written.
    pub(crate) fn stay_alive(&self) -> Result<()> {
        self.signs.as_ref().map_or(Ok(()), |signs| signs.show())
    }

    /// Whether this run was not heard of for so long that another may soon take it for dead.
    pub(super) fn is_unheard(&self) -> bool {
        self.signs.as_ref().is_some_and(|signs| {
            let patience = signs.patience();
            !patience.is_zero() && signs.longest_silence() > patience / 2
        })
    }

    /// Makes sure that no other run can take this one for dead, before its record is there.
    pub(super) fn ensure_heard(&self, claim: &Claim) -> Result<()> {
        self.ensure_alive(claim)?;
        resume::note_nothing(&*self.store, &self.staged)
    }

    /// Makes sure that no other run has taken this one for dead.
    pub(super) fn ensure_alive(&self, claim: &Claim) -> Result<()> {
        if let Some(signs) = self.signs.as_ref().filter(|_| self.is_unheard()) {
            let unheard = text::age(signs.longest_silence());
            let patience = text::age(signs.patience());
            let fault = ErrorKind::Failed.error(format!(
                "this run was not heard of for {unheard}: after {patience}, others may clear \
                 away what it has stored"
            ));
            let advice = match self.copied {
                Some(_) => "copy the set again",
                None => "a longer -grace, the same for all runs, gives it more time",
            };
            return Err(fault.hint(advice).into());
        }
        if !is_there(&*self.store, &claim.first_note())? {
            let place = self.store.place();
            return Err(ErrorKind::Failed
                .error(format!("another run in {place} has cleared this one away"))
                .hint("a -grace that is shorter than a backup takes removes what it has stored")
                .into());
        }
        Ok(())
    }
}
