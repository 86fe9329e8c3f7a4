//! What `snap` does: each operation takes its inputs, options and a listener, and returns what it
//! did.

mod backup;
mod check;
mod copy;
mod diff;
mod examine;
mod export;
mod forget;
mod gather;
mod generations;
mod info;
mod line_protocol;
mod list;
mod losses;
mod members;
mod newest_files;
mod patient_client;
mod prepared;
mod progress_reader;
mod queue;
mod rebuild;
mod restore;
mod room;
mod selection;
mod serve;
mod server_shards;
mod shard_source;
mod shortfall;
mod stats;
mod trial;
mod unpack_dir;
mod verify;

pub use backup::backup;
pub use backup::{BackupOptions, BackupReport};
pub use backup::{IncrementalMode, MadeSet};
pub use check::check;
pub use check::{CheckOptions, CheckReport};
pub use copy::{CopyOptions, CopyReport, CopyState, SetCopy, copy};
pub use diff::{
    DiffOptions, DiffReport, FieldTypeDiff, MeasurementDiff, PointsDiff, PolicyDiff, SeriesExample,
    Side, ValueDiff, diff,
};
pub use export::{
    ExportDatabase, ExportFormat, ExportOptions, ExportReport, ExportTally, ExportTarget,
    ExportedTable, LineOptions, NewlineRule, Resolution, SplitLimits, TableFormat, TableOptions,
    TimeFormat, export,
};
pub use forget::Reason;
pub use forget::{ForgetOptions, ForgetReport, GroupServer};
pub use forget::{Group, KeepReport, PinChange, Policy};
pub use forget::{Limit, Verdict};
pub use forget::{Within, forget, keep};
pub use info::MetaCounts;
pub use info::{Kind, ShardSummary, State, info};
pub(crate) use info::{ServerInfo, server_info};
pub use info::{SetInfo, SetSummary};
pub use list::{ListReport, list};
pub use losses::Losses;
pub use rebuild::{RebuildReport, rebuild_metastore};
pub(crate) use restore::live_journal_schema;
pub use restore::{AppliedStatements, Passwords, StatementOptions};
pub use restore::{ConflictRule, MergeOptions, MergeReport, MergedShard};
pub use restore::{IndexKind, RestoreSelection};
pub use restore::{LiveOptions, RestoreOptions, RestoreReport};
pub use restore::{Lost, LostKind, LostList};
pub use restore::{restore, restore_live};
pub(crate) use serve::serve_embedded;
pub use serve::{Directories, serve};
pub use shard_source::ShardSource;
pub use shortfall::Shortfall;
pub(crate) use shortfall::grouped;
pub use stats::{
    DatabaseStats, FieldStats, FieldType, MeasurementStats, PolicyStats, StatsAmount, StatsDamage,
    StatsOptions, StatsReport, TagStats, stats,
};
pub use trial::{Trial, TrialOptions, TrialRefusal, TrialReport};
pub use verify::{DamagedPlace, FileDamage, Meaning};
pub use verify::{Finding, VerifyReport};
pub use verify::{SetFault, SetGap};
pub use verify::{VerifyOptions, verify};
