//! What `snap` does: each operation takes its inputs, options and a listener, and returns what it did.

mod backup;
mod download;
mod queue;
mod restore;
mod selection;

pub use backup::{BackupOptions, BackupReport, backup};
pub use restore::{IndexKind, RestoreOptions, RestoreReport, restore};
