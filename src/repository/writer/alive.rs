//! How a run without a lock shows others that it is at work, so that none clears its files away.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::SetWriter;
use crate::error::ErrorKind;
use crate::repository::claim::copy_patience;
use crate::repository::resume;
use crate::text;

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
        let is_due = !patience.is_zero() && self.unheard() > patience / 8;
        if self.claim.is_some() && is_due {
            resume::note_nothing(&*self.store, &self.staged)?;
            self.was_heard();
        }
        Ok(())
    }

    pub(super) fn was_heard(&self) {
        *self.heard.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
    }

    pub(super) fn unheard(&self) -> Duration {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.elapsed()
    }

    /// Whether this run was not heard of for so long that another may soon take it for dead.
    pub(super) fn is_unheard(&self) -> bool {
        let patience = self.patience();
        !patience.is_zero() && self.unheard() > patience / 2
    }

    /// Makes sure that no other run can take this one for dead, before its record is there.
    pub(super) fn ensure_heard(&self) -> Result<()> {
        let patience = self.patience();
        if self.is_unheard() {
            let (unheard, patience) = (text::age(self.unheard()), text::age(patience));
            let fault = ErrorKind::Failed.error(format!(
                "this run has finished no shard for {unheard}: after {patience}, others may clear \
                 away what it has stored"
            ));
            let advice = match self.copied {
                Some(_) => "copy the set again",
                None => "a longer -grace, the same for all runs, gives it more time",
            };
            return Err(fault.hint(advice).into());
        }
        resume::note_nothing(&*self.store, &self.staged)
    }
}
