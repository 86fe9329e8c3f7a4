//! `snap backup` as it is typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;

use super::output::{Output, Summary};
use super::values::{self, DialectArg};
use super::{Ending, OutputArgs};
use crate::cancel::Cancel;
use crate::client::{Address, Client, Timeouts};
use crate::directory::Selection;
use crate::error::{Class, Fault};
use crate::ops::{BackupOptions, backup};

/// Download the meta store and the shards of a running influxd into a backup directory
///
/// A run makes one set: meta.NN and one tar a shard, in the layout of `influxd backup`, and a record of it in the hidden
/// folder .snap. Every byte is checked as it comes and synced to disk; a set either is there whole or not at all. Without
/// -database, all databases are taken but _internal.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub struct BackupArgs {
    /// The backup directory; made where it is absent [default: $SNAP_DIR, else ./backup]
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,

    /// The snapshotter: host:port, or a host alone for port 8088
    #[arg(long, env = "SNAP_HOST", hide_env_values = true, default_value = "127.0.0.1:8088", value_name = "HOST", value_parser = values::address,
          help_heading = "Server")]
    host: Address,
    /// The protocol: auto finds out, 1.0 is that of servers 1.0 to 1.4, 1.5 that of later ones
    #[arg(long, default_value = "auto", value_name = "auto|1.0|1.5", value_parser = values::dialect, help_heading = "Server")]
    dialect: DialectArg,
    /// How long to wait for a connection
    #[arg(long, default_value = "10s", value_name = "DURATION", value_parser = values::duration, help_heading = "Server")]
    connect_timeout: Duration,
    /// How long to wait for the next byte; influxd flushes a shard's cache before its first
    #[arg(long, default_value = "2m", value_name = "DURATION", value_parser = values::duration, help_heading = "Server")]
    idle_timeout: Duration,
    /// How long one attempt at one shard may take
    #[arg(long, default_value = "12h", value_name = "DURATION", value_parser = values::duration, help_heading = "Server")]
    attempt_timeout: Duration,
    /// How often to try again after a failure, shard by shard, each time in a fresh file
    #[arg(long, default_value_t = 5, value_name = "N", help_heading = "Server")]
    retries: u32,
    /// How many shards to download at a time
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64),
          help_heading = "Server")]
    jobs: u8,

    /// Take this database alone
    #[arg(long, visible_alias = "db", value_name = "NAME", help_heading = "What to take")]
    database: Option<String>,
    /// Take this retention policy alone
    #[arg(long, visible_alias = "rp", value_name = "NAME", requires = "database", help_heading = "What to take")]
    retention: Option<String>,
    /// Take this shard alone
    #[arg(long, value_name = "ID", help_heading = "What to take")]
    shard: Option<u64>,
    /// Take _internal too, where all databases are taken
    #[arg(long, help_heading = "What to take")]
    include_internal: bool,
    /// Take the meta store and no shard
    #[arg(long, help_heading = "What to take")]
    meta_only: bool,
    /// Take the files that the server changed after T: an increment to an earlier set
    #[arg(long, value_name = "T", value_parser = values::time, help_heading = "What to take")]
    since: Option<Timestamp>,
    /// Take points from T on, rounded down to the server's blocks
    #[arg(long, value_name = "T", value_parser = values::time, help_heading = "What to take")]
    start: Option<Timestamp>,
    /// Take points up to T, rounded up to the server's blocks
    #[arg(long, visible_alias = "stop", value_name = "T", value_parser = values::time, help_heading = "What to take")]
    end: Option<Timestamp>,

    /// Where shards fail, make a set of the others, marked as partial, and exit with 3
    #[arg(long, help_heading = "How")]
    skip_errors: bool,
    /// Say what would be downloaded, and download nothing
    #[arg(long, help_heading = "How")]
    dry_run: bool,
    /// How long to wait for another run in the same directory to end
    #[arg(long, default_value = "0", value_name = "DURATION", value_parser = values::wait, help_heading = "How")]
    retry_lock: Duration,
    /// The portable layout: not in this version
    #[arg(long, hide = true)]
    portable: bool,

    #[command(flatten)]
    pub(super) output: OutputArgs,
}

const EXAMPLES: &str = "\
T is RFC 3339 (2026-11-20T08:00:00Z), a date (2026-11-20, midnight UTC) or an age (90m, 24h, 7d, 2w).

Examples:
  snap backup                                         all databases of 127.0.0.1:8088 into ./backup
  snap backup -database db -since 24h                 what changed in the files of db since yesterday
  snap backup -host db.example:8088 /var/backups/db   another server, another directory
  snap backup -database db -start 2026-11-01 -end 2026-11-08";

impl BackupArgs {
    /// Runs the command.
    pub fn run(&self, cancel: &Cancel, output: &Output) -> Ending {
        self.refuse_contradictions()?;
        let directory = values::directory(self.path.as_ref());
        let timeouts = Timeouts { connect: self.connect_timeout, idle: self.idle_timeout, attempt: self.attempt_timeout };
        let client = Client::new(self.host.clone(), self.dialect.0, timeouts, cancel.clone());
        output.opening(&format!("backing up {} into {}", self.host, directory.display()));
        let options = BackupOptions {
            directory: directory.clone(),
            selection: Selection {
                database: self.database.clone(),
                retention_policy: self.retention.clone(),
                shard: self.shard,
                include_internal: self.include_internal,
                meta_only: self.meta_only,
                since: self.since,
                start: self.start,
                end: self.end,
            },
            jobs: self.jobs.into(),
            retries: self.retries,
            skip_errors: self.skip_errors,
            retry_lock: self.retry_lock,
            dry_run: self.dry_run,
        };
        let report = output.while_running(|progress| backup(&client, &options, cancel, progress))?;
        output.summary(&Summary {
            command: "backup",
            set: report.set.as_ref().map(|(id, number)| (id.as_str(), *number)),
            directory: &directory,
            dry_run: self.dry_run,
            shards: report.stored,
            empty: report.empty,
            files: None,
            bytes: report.bytes,
            missing: &report.missing,
            elapsed: report.elapsed,
        })?;
        Ok((!report.missing.is_empty()).then_some(Class::Partial))
    }

    fn refuse_contradictions(&self) -> Result<(), Fault> {
        let usage = |message: &str, hint: &str| Err(Class::Usage.error(message).hint(hint));
        if self.portable {
            return usage(
                "this version writes the legacy layout only",
                "leave -portable out; `influxd restore` reads the result",
            );
        }
        if self.since.is_some() && (self.start.is_some() || self.end.is_some()) {
            return usage(
                "-since cannot go with -start or -end",
                "-since takes files by when they changed, -start and -end take points by their time: write one or the other",
            );
        }
        if let (Some(start), Some(end)) = (self.start, self.end)
            && end < start
        {
            return usage(&format!("-end {end} is before -start {start}"), "exchange the two");
        }
        if self.meta_only && (self.shard.is_some() || self.since.is_some() || self.start.is_some() || self.end.is_some()) {
            return usage(
                "-meta-only takes no shard, so -shard, -since, -start and -end have no meaning with it",
                "leave out -meta-only or the others",
            );
        }
        Ok(())
    }
}
