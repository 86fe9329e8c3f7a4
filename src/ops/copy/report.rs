//! What became of the sets.

use std::time::Duration;

use crate::error::{ErrorKind, hint, kind_of, told};
use crate::repository::{FileRecord, Layout, SetId, SetRecord, SetState};
use crate::sizes::total;

/// What was copied.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CopyReport {
    /// Sets that were copied, or would be.
    pub copied: Vec<SetId>,
    /// Sets that were there already.
    pub present: usize,
    /// The ids of sets that were removed from the source meanwhile.
    pub removed: Vec<SetId>,
    /// Sets that were not copied, a sentence each.
    pub failed: Vec<String>,
    /// The ids of sets without a record, influxd's, that were asked for and are never copied.
    pub unrecorded: Vec<SetId>,
    /// Bytes of all files of the copied sets.
    pub bytes: u64,
    /// Bytes among these that the target did not have.
    pub added: u64,
    /// The worst kind of what kept sets from being copied.
    pub worst: Option<ErrorKind>,
    /// How long it took.
    pub elapsed: Duration,
}

impl CopyReport {
    /// Adds what became of a set.
    pub(super) fn add(&mut self, copy: SetCopy) {
        match &copy.state {
            CopyState::Copied | CopyState::WouldCopy => {
                self.bytes = self.bytes.saturating_add(copy.size);
                self.added = self.added.saturating_add(copy.added);
                self.copied.push(copy.id);
            }
            CopyState::Present => self.present += 1,
            CopyState::Removed => self.removed.push(copy.id),
            CopyState::Failed { kind, .. } => {
                self.failed.extend(copy.fault());
                self.worst = worse(self.worst, *kind);
            }
        }
    }
}

/// The worse of two kinds of failure: damage first, for it may be the last copy.
fn worse(worst: Option<ErrorKind>, kind: ErrorKind) -> Option<ErrorKind> {
    let weight = |kind: ErrorKind| match kind {
        ErrorKind::Damage => 2,
        ErrorKind::Refused => 0,
        _ => 1,
    };
    let worst = worst.filter(|worst| weight(*worst) >= weight(kind));
    worst.or(Some(kind))
}

/// A set, and what became of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetCopy {
    /// Its id.
    pub id: SetId,
    /// What became of it.
    pub state: CopyState,
    /// Its number in the target; none where it is not there.
    pub number: Option<u32>,
    /// Its number in the source; none where its record cannot be read.
    pub source_number: Option<u32>,
    /// Whether all that it was asked for is in it; none where its record cannot be read.
    pub set_state: Option<SetState>,
    /// How its files are laid out; none where its record cannot be read.
    pub layout: Option<Layout>,
    /// Shards with a file.
    pub shards: usize,
    /// Bytes of its files.
    pub size: u64,
    /// Bytes among these that the target did not have.
    pub added: u64,
    /// If it was not asked for itself, a set that builds on it.
    pub needed_by: Option<SetId>,
}

/// What became of a set.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum CopyState {
    /// It is copied.
    Copied,
    /// It would be.
    WouldCopy,
    /// It was there.
    Present,
    /// It was removed from the source meanwhile.
    Removed,
    /// It is not copied.
    Failed {
        /// What kind of failure it is.
        kind: ErrorKind,
        /// Why.
        reason: String,
        /// What can be done about it.
        hint: Option<String>,
    },
}

impl CopyState {
    /// That it is not copied because of an error.
    pub(super) fn failed(error: &anyhow::Error) -> Self {
        Self::Failed {
            kind: kind_of(error),
            reason: told(error),
            hint: hint(error).map(Into::into),
        }
    }
}

impl SetCopy {
    /// What became of a set, in the names of which nothing was changed yet.
    pub(super) fn new(record: &SetRecord, needed_by: Option<SetId>, state: CopyState) -> Self {
        let with_file = record.shards.iter().filter(|shard| shard.file.is_some());
        Self {
            id: record.id.clone(),
            state,
            number: None,
            source_number: Some(record.number),
            set_state: Some(record.state),
            layout: Some(record.layout),
            shards: with_file.count(),
            size: total(record.files().map(|file: &FileRecord| file.size)),
            added: 0,
            needed_by,
        }
    }

    /// Why it is not copied, in a sentence that names it.
    pub fn fault(&self) -> Option<String> {
        let CopyState::Failed { reason, .. } = &self.state else {
            return None;
        };
        let set = format!("set {}", self.id);
        Some(match reason.starts_with(&set) {
            true => reason.clone(),
            false => format!("{set}: {reason}"),
        })
    }

    /// Whether it is not copied, and nothing is wrong with it.
    pub(super) fn is_refused(&self) -> bool {
        let refused = ErrorKind::Refused;
        matches!(self.state, CopyState::Failed { kind, .. } if kind == refused)
    }

    /// A set whose record cannot be read.
    pub(super) fn unreadable(id: SetId, reason: String) -> Self {
        Self {
            id,
            state: CopyState::Failed {
                kind: ErrorKind::Damage,
                reason,
                hint: None,
            },
            number: None,
            source_number: None,
            set_state: None,
            layout: None,
            shards: 0,
            size: 0,
            added: 0,
            needed_by: None,
        }
    }
}
