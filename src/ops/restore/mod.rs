//! `snap restore`: a backup into the directories of a stopped influxd ([`offline`]), or into a
//! running one ([`live`]).
//!
//! Both read a backup ([`source`]) and check all that is meant ([`check`]) before anything
//! takes its place or is sent.

mod absent;
#[cfg(test)]
mod agreement_tests;
mod check;
mod checked_shard;
mod extent;
mod live;
mod lost;
mod members;
mod merge_options;
mod occupied;
mod offline;
mod one_type;
mod regrouping;
mod report;
mod rewrite;
mod salvage;
mod selection;
mod source;
mod statement_options;
mod types;

pub(super) use check::{RestoreChecks, ShardChecker};
pub(super) use extent::SetExtent;
pub(crate) use live::live_journal_schema;
pub use live::{LiveOptions, restore_live};
pub use lost::{Lost, LostKind, LostList};
pub use merge_options::{ConflictRule, MergeOptions};
pub use offline::IndexKind;
pub use offline::RestoreOptions;
pub use offline::restore;
pub(super) use offline::{has_interrupted_restore, least_bytes};
pub use report::{AppliedStatements, MergeReport, MergedShard, RestoreReport};
pub use selection::RestoreSelection;
pub(super) use source::{PlannedShard, SetSelector, Source, SourceDepth, planned, sets_of};
pub use statement_options::{Passwords, StatementOptions};
