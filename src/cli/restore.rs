//! `snap restore` as it is typed.

use std::path::PathBuf;

use clap::{Args, ValueEnum};

use super::output::{Output, Summary};
use super::values;
use super::{Ending, OutputArgs};
use crate::cancel::Cancel;
use crate::client::Address;
use crate::error::Class;
use crate::ops::{IndexKind, RestoreOptions, restore};

/// Put a backup back into the directories of a stopped influxd
///
/// Everything that is needed is read and checked before anything is written. Files of one shard in several sets (a backup
/// and later -since increments) are merged, oldest first. Nothing is overwritten unless -force says so. -metadir alone
/// restores the meta store; -datadir with -database alone restores shards that the target's meta store already names.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub struct RestoreArgs {
    /// The backup directory [default: $SNAP_DIR, else ./backup]
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,

    /// Restore the meta store into this directory
    #[arg(long, value_name = "DIR", help_heading = "Where to")]
    metadir: Option<PathBuf>,
    /// Restore shards into this directory
    #[arg(long, value_name = "DIR", help_heading = "Where to")]
    datadir: Option<PathBuf>,
    /// The WAL directory, looked at for data of the shards that are restored [default: wal beside -datadir]
    #[arg(long, value_name = "DIR", help_heading = "Where to")]
    waldir: Option<PathBuf>,
    /// Where an influxd that runs on the target would answer: its snapshotter is asked before anything is written
    #[arg(long, env = "SNAP_HOST", hide_env_values = true, default_value = "127.0.0.1:8088", value_name = "HOST", value_parser = values::address,
          help_heading = "Where to")]
    host: Address,

    /// Restore this database alone
    #[arg(long, visible_alias = "db", value_name = "NAME", help_heading = "What to restore")]
    database: Option<String>,
    /// Restore this retention policy alone
    #[arg(long, visible_alias = "rp", value_name = "NAME", help_heading = "What to restore")]
    retention: Option<String>,
    /// Restore this shard alone
    #[arg(long, value_name = "ID", help_heading = "What to restore")]
    shard: Option<u64>,
    /// Give the database this name
    #[arg(long, value_name = "NAME", help_heading = "What to restore")]
    newdb: Option<String>,
    /// Give the retention policy this name
    #[arg(long, value_name = "NAME", help_heading = "What to restore")]
    newrp: Option<String>,

    /// Replace the meta store and the shards that the target holds
    #[arg(long, help_heading = "How")]
    force: bool,
    /// Add the databases to the target's meta store, with new shard and group ids
    #[arg(long, help_heading = "How")]
    merge: bool,
    /// The index of the restored shards: that of the target's other shards (auto), inmem, or tsi1, which influxd builds at
    /// its next start
    #[arg(long, default_value = "auto", value_name = "KIND", help_heading = "How")]
    index: IndexArg,
    /// How many shards to restore at a time
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64), help_heading = "How")]
    jobs: u8,
    /// Say what would be written, and write nothing
    #[arg(long, help_heading = "How")]
    dry_run: bool,
    /// Live restore: not in this version
    #[arg(long, hide = true)]
    portable: bool,
    /// Live restore: not in this version
    #[arg(long, hide = true)]
    online: bool,

    #[command(flatten)]
    pub(super) output: OutputArgs,
}

const EXAMPLES: &str = "\
Examples, influxd being stopped:
  snap restore -metadir /var/lib/influxdb/meta -datadir /var/lib/influxdb/data /var/backups/db
  snap restore -metadir M -datadir D -database db -newdb db_copy -merge    beside what is there
  snap restore -metadir M -datadir D -dry-run                              the plan alone";

#[derive(Debug, Clone, Copy, ValueEnum)]
enum IndexArg {
    Auto,
    Inmem,
    Tsi1,
}

impl RestoreArgs {
    /// Runs the command.
    pub fn run(&self, cancel: &Cancel, output: &Output) -> Ending {
        if self.portable || self.online {
            return Err(Class::Usage
                .error("this version restores legacy backups into the directories of a stopped influxd only")
                .hint("write -metadir and -datadir in place of -portable or -online")
                .into());
        }
        let directory = values::directory(self.path.as_ref());
        output.opening(&format!("restoring from {}", directory.display()));
        let options = RestoreOptions {
            directory: directory.clone(),
            metadir: self.metadir.clone(),
            datadir: self.datadir.clone(),
            waldir: self.waldir.clone(),
            database: self.database.clone(),
            retention_policy: self.retention.clone(),
            shard: self.shard,
            new_database: self.newdb.clone(),
            new_retention_policy: self.newrp.clone(),
            force: self.force,
            merge: self.merge,
            index: match self.index {
                IndexArg::Auto => IndexKind::Auto,
                IndexArg::Inmem => IndexKind::Inmem,
                IndexArg::Tsi1 => IndexKind::Tsi1,
            },
            host: self.host.clone(),
            jobs: self.jobs.into(),
            dry_run: self.dry_run,
        };
        let report = output.while_running(|progress| restore(&options, cancel, progress))?;
        output.summary(&Summary {
            command: "restore",
            set: None,
            directory: &directory,
            dry_run: self.dry_run,
            shards: report.shards,
            empty: 0,
            files: Some(report.files),
            bytes: report.bytes,
            missing: &report.missing,
            elapsed: report.elapsed,
        })?;
        Ok((!report.missing.is_empty()).then_some(Class::Partial))
    }
}
