//! What every operation is given: who may ask for a stop, and who listens.

use std::sync::LazyLock;

use crate::cancel::Cancel;
use crate::error::Error;
use crate::progress::{Event, Progress, Silent};

/// Who may ask an operation for a stop, and who listens to it.
#[derive(Clone, Copy)]
pub struct Context<'a> {
    /// Who may ask for a stop.
    pub cancel: &'a Cancel,
    /// Who listens.
    pub progress: &'a dyn Progress,
}

impl Context<'static> {
    /// The context of a run that nobody stops or listens to.
    pub fn silent() -> Self {
        static NEVER: LazyLock<Cancel> = LazyLock::new(Cancel::default);
        Self {
            cancel: &NEVER,
            progress: &Silent,
        }
    }
}

impl Context<'_> {
    /// Fails once a stop was asked for.
    ///
    /// # Errors
    ///
    /// An [`Error`] of the kind that belongs to the signal.
    pub fn check(&self) -> Result<(), Error> {
        self.cancel.check()
    }

    /// Tells what the operator should know although the run goes on.
    pub fn warn(&self, text: impl AsRef<str>) {
        self.report(&Event::Warning(text.as_ref()));
    }

    /// Tells that a step began, or something worth a line.
    pub fn status(&self, text: impl AsRef<str>) {
        self.report(&Event::Status(text.as_ref()));
    }

    /// Tells what only somebody who looks for a fault wants to read.
    pub(crate) fn detail(&self, text: impl AsRef<str>) {
        self.report(&Event::Detail(text.as_ref()));
    }

    /// Passes an event on to who listens.
    pub fn report(&self, event: &Event<'_>) {
        self.progress.report(event);
    }
}
