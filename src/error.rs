//! What kind of failure an error is, so that the exit code can tell scripts apart what happened.
//!
//! Operations return `anyhow` errors. Where the kind matters (it decides the exit code) or the
//! operator can do something about it (a hint), an [`Error`] stands somewhere in the error's chain.

mod system;

use std::borrow::Cow;
use std::fmt;
use std::io;

pub(crate) use system::{told, words};

/// The kinds of outcome a script can tell apart; the discriminant is the process's exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ErrorKind {
    /// Something failed that no other kind describes; of a comparison, that the sides are
    /// different.
    Failed = 1,
    /// The command line is wrong; of a comparison, also what is [`Failed`](Self::Failed) elsewhere.
    Usage = 2,
    /// Done, but named shards are missing.
    Partial = 3,
    /// Data that should be whole is damaged.
    Damage = 4,
    /// The server was not reached, or what answered is not a snapshotter.
    Unreachable = 5,
    /// Refused, because going on could destroy or mix up data.
    Refused = 6,
    /// There is no backup in the place named.
    NoBackup = 10,
    /// Somebody else holds the lock.
    Locked = 11,
    /// SIGHUP: the terminal or the session went away.
    HungUp = 129,
    /// Ctrl-C.
    Interrupted = 130,
    /// SIGTERM.
    Terminated = 143,
}

impl ErrorKind {
    /// The process's exit code.
    pub(crate) fn exit_code(self) -> u8 {
        self as u8
    }

    /// Whether somebody asked for a stop.
    pub(crate) fn is_stop(self) -> bool {
        matches!(self, Self::HungUp | Self::Interrupted | Self::Terminated)
    }

    /// An error of this kind that says `message`.
    pub fn error(self, message: impl fmt::Display) -> Error {
        Error {
            kind: self,
            message: message.to_string(),
            hint: None,
        }
    }
}

/// An error whose kind is known, with advice where there is any.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Error {
    /// What kind of failure this is.
    pub kind: ErrorKind,
    /// What was being done, and to what.
    pub message: String,
    /// What the operator can do about it.
    pub hint: Option<String>,
}

impl Error {
    /// The same error with advice for the operator.
    pub fn hint(mut self, hint: impl fmt::Display) -> Self {
        self.hint = Some(hint.to_string());
        self
    }
}

/// The first [`Error`] in an error's chain, outermost first.
pub(crate) fn error_in(error: &anyhow::Error) -> Option<&Error> {
    // `chain` hands out the links as plain errors, and an Error added with `.context(…)` is only
    // found by anyhow itself.
    let below = || error.chain().find_map(of_cause);
    error.downcast_ref::<Error>().or_else(below)
}

/// The error that a link of a chain is, or that an error of a reader or a writer carries: its
/// source is that of what it carries.
fn of_cause<'a>(cause: &'a (dyn std::error::Error + 'static)) -> Option<&'a Error> {
    let carried = || cause.downcast_ref::<io::Error>()?.get_ref()?.downcast_ref();
    cause.downcast_ref().or_else(carried)
}

/// The kind of an error: that of its first [`Error`], [`ErrorKind::Failed`] if it has none.
pub fn kind_of(error: &anyhow::Error) -> ErrorKind {
    error_in(error).map_or(ErrorKind::Failed, |error| error.kind)
}

/// The first hint in an error's chain, else what helps against the system's error in it.
pub fn hint(error: &anyhow::Error) -> Option<Cow<'_, str>> {
    let outermost = error
        .downcast_ref::<Error>()
        .and_then(|error| error.hint.as_deref());
    let below = || {
        error
            .chain()
            .find_map(|cause| of_cause(cause)?.hint.as_deref())
    };
    let hint = outermost.or_else(below).map(Cow::Borrowed);
    hint.or_else(|| system::advice(error))
}

#[cfg(test)]
mod tests {
    use anyhow::Context;

    use super::*;

    #[test]
    fn the_kind_and_hint_of_an_error_are_found_below_and_above_other_context() {
        let below = anyhow::Error::from(ErrorKind::Locked.error("held").hint("wait"))
            .context("taking the lock");
        assert_eq!(
            (kind_of(&below), hint(&below)),
            (ErrorKind::Locked, Some("wait".into()))
        );

        let above = Err::<(), _>(std::io::Error::other("torn"))
            .context(ErrorKind::Damage.error("reading meta.00"))
            .unwrap_err();
        assert_eq!((kind_of(&above), hint(&above)), (ErrorKind::Damage, None));
        assert_eq!(format!("{above:#}"), "reading meta.00: torn");

        let carried = std::io::Error::other(ErrorKind::Unreachable.error("gone").hint("wait"));
        let carried = anyhow::Error::from(carried).context("reading");
        assert_eq!(
            (kind_of(&carried), hint(&carried)),
            (ErrorKind::Unreachable, Some("wait".into()))
        );

        assert_eq!(kind_of(&anyhow::anyhow!("plain")), ErrorKind::Failed);
    }
}
