//! `snap restore` as it is typed.

use std::path::{Path, PathBuf};

use anyhow::Result;

use clap::{Args, ValueEnum};
use jiff::Timestamp;

use super::ending::Ending;
use super::flags::OutputArgs;
use super::flags::server::ServerArgs;
use super::flags::values;
use super::post_run::{After, AfterArgs};
use super::render::messages::run::RunSummary;
use super::render::output::Output;
use crate::cancel::Cancel;
use crate::client::Address;
use crate::error::ErrorKind;
use crate::ops::{
    IndexKind, LiveOptions, RestoreOptions, RestoreReport, RestoreSelection, restore, restore_live,
};

/// Put a backup back: into the directories of a stopped influxd, or with -online into a running one
///
/// Everything that is needed is read and checked before anything is written. Files of one shard in
/// several sets (a backup and later -since increments) are merged, oldest first. Nothing is
/// overwritten unless -force says so. -metadir alone restores the metastore; -datadir with
/// -database alone restores shards that the target's metastore already names.
/// -online, or -portable, makes databases on the server at -host, which must not have them yet.
/// Backups of snap and of influxd, legacy and portable, are read alike.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub(crate) struct RestoreArgs {
    /// The backup directory [default: $SNAP_DIR, else ./backup]
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,

    /// The set: its id, the beginning of it, or latest [default: the newest, and what the directory
    /// holds beside it]
    #[arg(value_name = "SET")]
    set: Option<String>,

    /// Restore the metastore into this directory
    #[arg(long, value_name = "DIR", help_heading = "Where to")]
    metadir: Option<PathBuf>,
    /// Restore shards into this directory
    #[arg(long, value_name = "DIR", help_heading = "Where to")]
    datadir: Option<PathBuf>,
    /// The WAL directory, looked at for data of the shards that are restored [default: wal beside
    /// -datadir]
    #[arg(long, value_name = "DIR", help_heading = "Where to")]
    waldir: Option<PathBuf>,
    /// Restore into the running server at -host, whatever the layout of the backup
    #[arg(
        long,
        conflicts_with_all = ["metadir", "datadir", "waldir", "force", "merge"],
        help_heading = "Where to",
    )]
    online: bool,
    /// The same as -online, for scripts of influxd's: the layout is found out. With -metadir and
    /// -datadir it says nothing
    #[arg(long, help_heading = "Where to")]
    portable: bool,
    /// With -online, the server's snapshotter; else where an influxd that runs on the target would
    /// answer: it is asked first
    #[arg(
        long,
        env = "SNAP_HOST",
        hide_env_values = true,
        default_value = "127.0.0.1:8088",
        value_name = "HOST",
        value_parser = values::address,
        help_heading = "Where to",
    )]
    host: Address,

    /// Restore this database alone
    #[arg(
        long,
        visible_alias = "db",
        value_name = "NAME",
        help_heading = "What to restore"
    )]
    database: Option<String>,
    /// Restore this retention policy alone
    #[arg(
        long,
        visible_alias = "rp",
        value_name = "NAME",
        help_heading = "What to restore"
    )]
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

    /// Restore points from T on
    #[arg(long, value_name = "T", value_parser = values::time, help_heading = "What to restore")]
    start: Option<Timestamp>,
    /// Restore points up to T
    #[arg(
        long,
        visible_alias = "stop",
        value_name = "T",
        value_parser = values::time,
        help_heading = "What to restore",
    )]
    end: Option<Timestamp>,

    /// Replace the metastore and the shards that the target holds
    #[arg(long, help_heading = "How")]
    force: bool,
    /// Add the databases to the target's metastore, with new shard and group ids
    #[arg(long, help_heading = "How")]
    merge: bool,
    /// The index of the restored shards: that of the target's other shards (auto), inmem, or tsi1,
    /// which influxd builds at its next start
    #[arg(
        long,
        default_value = "auto",
        value_name = "KIND",
        help_heading = "How"
    )]
    index: IndexArg,
    /// Leave out points that were deleted and not yet compacted away, so that they stay deleted on
    /// every version of influxd. With =false, files are restored as they are: into directories with
    /// the tombstones, with -online without them, so that the points come back
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value = "true",
        default_missing_value = "true",
        action = clap::ArgAction::Set,
        hide_possible_values = true,
        help_heading = "How",
    )]
    apply_deletes: bool,
    /// With -online, do not read shards back to compare them
    #[arg(long, conflicts_with_all = ["metadir", "datadir"], help_heading = "How")]
    no_verify: bool,
    /// With -online, go on with the interrupted restore from PATH into -host
    #[arg(long, conflicts_with_all = ["metadir", "datadir"], help_heading = "How")]
    resume: bool,
    /// Say what would be written, and write nothing
    #[arg(long, help_heading = "How")]
    dry_run: bool,

    #[command(flatten)]
    server: ServerArgs,

    #[command(flatten)]
    after: AfterArgs,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

const EXAMPLES: &str = "\
Examples, influxd being stopped:
  snap restore -metadir /var/lib/influxdb/meta -datadir /var/lib/influxdb/data /var/backups/db
  snap restore -metadir M -datadir D -database db -newdb db_copy -merge    beside what is there
  snap restore -metadir M -datadir D -dry-run                              the plan alone
Into a running influxd:
  snap restore -online -host db.example:8088 -database db -newdb db_copy /var/backups/db
  snap restore -portable -host db.example:8088 /var/backups/db 20261120T080000Z       one set of several
  snap restore -resume -host db.example:8088 /var/backups/db                          after an interruption";

#[derive(Debug, Clone, Copy, ValueEnum)]
enum IndexArg {
    Auto,
    Inmem,
    Tsi1,
}

impl RestoreArgs {
    pub(crate) fn run(&self, cancel: &Cancel, output: &Output) -> Ending {
        let directory = values::directory(self.path.as_ref());
        let report = if self.is_live() {
            self.live(&directory, cancel, output)
        } else {
            self.offline(&directory, cancel, output)
        }?;
        let host = self.is_live().then(|| self.host.to_string());
        let summary = RunSummary::of_restore(&report, &directory, host.as_deref(), self.dry_run);
        output.summary(&summary)?;
        Ok((!summary.is_whole()).then_some(ErrorKind::Partial))
    }

    pub(crate) fn after(&self) -> After<'_> {
        After {
            command: "restore",
            args: &self.after,
            directory: values::directory(self.path.as_ref()),
            host: self.is_live().then(|| self.host.to_string()),
            dry_run: self.dry_run,
        }
    }

    fn is_live(&self) -> bool {
        let offline = self.metadir.is_some() || self.datadir.is_some();
        self.online || (!offline && (self.portable || self.resume))
    }

    fn what(&self) -> RestoreSelection {
        RestoreSelection {
            database: self.database.clone(),
            retention_policy: self.retention.clone(),
            shard: self.shard,
            new_database: self.newdb.clone(),
            new_retention_policy: self.newrp.clone(),
            start: self.start,
            end: self.end,
        }
    }

    fn live(&self, directory: &Path, cancel: &Cancel, output: &Output) -> Result<RestoreReport> {
        output.opening(&format!(
            "restoring from {} into {}",
            directory.display(),
            self.host
        ));
        let client = self.server.client(self.host.clone(), cancel);
        let options = LiveOptions {
            directory: directory.to_owned(),
            set: self.set.clone(),
            what: self.what(),
            jobs: self.server.jobs.into(),
            retries: self.server.retries,
            verify: !self.no_verify,
            resume: self.resume,
            apply_deletes: self.apply_deletes,
            dry_run: self.dry_run,
        };
        output.while_running(cancel, |context| restore_live(&client, &options, context))
    }

    fn offline(&self, directory: &Path, cancel: &Cancel, output: &Output) -> Result<RestoreReport> {
        output.opening(&format!("restoring from {}", directory.display()));
        let options = RestoreOptions {
            directory: directory.to_owned(),
            set: self.set.clone(),
            metadir: self.metadir.clone(),
            datadir: self.datadir.clone(),
            waldir: self.waldir.clone(),
            what: self.what(),
            force: self.force,
            merge: self.merge,
            index: match self.index {
                IndexArg::Auto => IndexKind::Auto,
                IndexArg::Inmem => IndexKind::Inmem,
                IndexArg::Tsi1 => IndexKind::Tsi1,
            },
            apply_deletes: self.apply_deletes,
            host: self.host.clone(),
            jobs: self.server.jobs.into(),
            dry_run: self.dry_run,
        };
        output.while_running(cancel, |context| restore(&options, context))
    }
}
