//! How a run without a lock shows others that it is at work, so that none clears its files away.

use std::sync::PoisonError;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;

use super::SetWriter;
use crate::error::ErrorKind;
use crate::repository::claim::copy_patience;
use crate::repository::resume;
use crate::repository::store::Folder;
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

impl SetWriter {
    /// How long this run may not be heard of before others clear away what it has stored.
    pub(super) fn patience(&self) -> Duration {
        match self.copied {
            Some(_) => copy_patience(&*self.store),
            None => self.store.grace(),
        }
    }

    /// Tells other runs that this one is alive, where it has not for long, and they may clear away
    /// what is old.
    ///
    /// # Errors
    ///
    /// When that cannot be written.
    pub(crate) fn stay_alive(&self) -> Result<()> {
        let patience = self.patience();
        let is_due = !patience.is_zero() && self.heard().since(self.store.now()) > patience / 8;
        if self.claim.is_some() && is_due {
            resume::note_nothing(&*self.store, &self.staged)?;
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

    /// Whether this run was not heard of for so long that another may soon take it for dead.
    pub(super) fn is_unheard(&self) -> bool {
        let patience = self.patience();
        !patience.is_zero() && self.heard().longest(self.store.now()) > patience / 2
    }

    /// Makes sure that no other run can take this one for dead, before its record is there.
    pub(super) fn ensure_heard(&self) -> Result<()> {
        self.ensure_alive()?;
        resume::note_nothing(&*self.store, &self.staged)
    }

    /// Makes sure that no other run has taken this one for dead.
    pub(super) fn ensure_alive(&self) -> Result<()> {
        let patience = self.patience();
        if self.is_unheard() {
            let (unheard, patience) = (self.heard().longest(self.store.now()), text::age(patience));
            let unheard = text::age(unheard);
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
        let notes = self.store.list(Folder::Notes(&self.staged))?;
        let has = |note: &String| notes.iter().any(|entry| entry.name == *note);
        if !self.first_notes.iter().all(has) {
            let place = self.store.place();
            return Err(ErrorKind::Failed
                .error(format!("another run in {place} has cleared this one away"))
                .hint("a -grace that is shorter than a backup takes removes what it has stored")
                .into());
        }
        Ok(())
    }
}
