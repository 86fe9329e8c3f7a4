//! What keeps a set from being copied: something about the set, or what no other set would fare
//! better with.

use std::io;

use crate::error::{ErrorKind, kind_of};

/// Why a set is not copied.
#[derive(Debug)]
pub(super) enum CopyFault {
    /// It is damaged, say: the others can be copied.
    OfSet(anyhow::Error),
    /// The target cannot be written, say, or a stop was asked for.
    OfRun(anyhow::Error),
}

impl CopyFault {
    /// What came of reading the source.
    pub(super) fn of_source(error: impl Into<anyhow::Error>) -> Self {
        let error = error.into();
        match kind_of(&error) {
            kind if kind.is_stop() || kind == ErrorKind::Unreachable => Self::OfRun(error),
            _ => Self::OfSet(error),
        }
    }

    /// What came of writing in the target. A name that something else has is this set's alone.
    pub(super) fn of_target(error: impl Into<anyhow::Error>) -> Self {
        let error = error.into();
        let is_taken = |cause: &(dyn std::error::Error + 'static)| {
            let error = cause.downcast_ref::<io::Error>();
            error.is_some_and(|error| error.kind() == io::ErrorKind::AlreadyExists)
        };
        match kind_of(&error) == ErrorKind::Refused || error.chain().any(is_taken) {
            true => Self::OfSet(error),
            false => Self::OfRun(error),
        }
    }

    /// That something of the source is not as it was recorded.
    pub(super) fn damage(message: String) -> Self {
        Self::OfSet(ErrorKind::Damage.error(message).into())
    }

    /// Whether it is but the stop that another's fault, or a signal, led to.
    pub(super) fn is_stop(&self) -> bool {
        matches!(self, Self::OfRun(error) if kind_of(error).is_stop())
    }
}
