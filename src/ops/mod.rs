//! What `snap` does: each operation takes its inputs, options and a listener, and returns what it did.

mod backup;
mod check;
mod examine;
mod forget;
mod info;
mod losses;
mod members;
mod passing;
mod queue;
mod restore;
mod scratch;
mod selection;
mod serve;
mod sift;
mod summed;
mod verify;

pub use backup::{BackupOptions, BackupReport, IncrementalMode, MadeSet, backup};
pub use check::{CheckOptions, CheckReport, check};
pub use forget::{
    ForgetOptions, ForgetReport, Group, Limit, Pin, Policy, Reason, Verdict, Within, forget, keep,
};
pub use info::{
    Kind, MetaCounts, ServerInfo, SetInfo, SetSummary, ShardInfo, State, info, list, server_info,
};
pub use losses::Losses;
pub(crate) use restore::live_journal_schema;
pub use restore::{
    IndexKind, LiveOptions, RestoreOptions, RestoreReport, RestoreSelection, restore, restore_live,
};
pub use serve::{Directories, serve, serve_embedded};
pub use verify::{FileDamage, Finding, SetFault, SetGap, VerifyOptions, VerifyReport, verify};
