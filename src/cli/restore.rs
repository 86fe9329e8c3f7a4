//! `snap restore` as it is typed.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;

use clap::{Args, ValueEnum};

use super::ending::Ending;
use super::flags::server::ServerArgs;
use super::flags::snapshotter::{RESTORE, SnapshotterArgs};
use super::flags::{HttpArgs, OutputArgs, SeriesArgs, ShardsArgs, TimesArgs, chosen};
use super::flags::{passwords, values};
use super::post_run::{After, AfterArgs};
use super::render::json;
use super::render::messages::lost::lost_line;
use super::render::messages::rebuild::RebuildSummary;
use super::render::messages::run::RunSummary;
use super::render::output::Output;
use crate::cancel::Cancel;
use crate::error::ErrorKind;
use crate::ops::{
    ConflictRule, Directories, IndexKind, LiveOptions, LostList, MergeOptions, RestoreOptions,
    RestoreReport, RestoreSelection, StatementOptions, rebuild_metastore, restore, restore_live,
};
use crate::repository::Location;

/// Restore into a stopped influxd, or with -online into a running one
///
/// All that is needed is read and checked before anything is written. Files of one shard in several
/// sets (a backup and later -since increments) are merged, oldest first. Nothing is overwritten
/// without -force.
///
/// -metadir alone restores the metastore. -datadir with -database alone restores shards that the
/// metastore of the target names already. -online, or -portable, makes databases on the server at
/// -host, which must not have them yet; with -merge, points are added to one that it has.
///
/// Backups by snap and by influxd are restored alike, legacy and portable.
///
/// T is a time: RFC 3339 (2026-11-20T08:00:00Z), a date (2026-11-20, midnight UTC) or an age (90m,
/// 24h, 7d, 2w). D is a length of time: 24h, 7d, 52w.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct RestoreArgs {
    /// The backup directory, or its URL [default: $SNAP_DIR, else ./backup]
    #[arg(value_name = "PATH", value_parser = values::location())]
    pub(crate) path: Option<Location>,

    /// The set: an id, the beginning of one, or latest [default: the newest]
    ///
    /// Without it, what else the directory holds is merged too.
    #[arg(value_name = "SET")]
    set: Option<String>,

    /// Restore the metastore into this directory
    #[arg(long, value_name = "DIR", help_heading = "Where to")]
    metadir: Option<PathBuf>,
    /// Restore shards into this directory
    #[arg(long, value_name = "DIR", help_heading = "Where to")]
    datadir: Option<PathBuf>,
    /// The WAL directory [default: wal beside -datadir]
    ///
    /// It is searched for data of the shards that are restored.
    #[arg(
        long,
        value_name = "DIR",
        help_heading = "Where to",
        hide_short_help = true
    )]
    waldir: Option<PathBuf>,
    /// Restore into the running server at -host
    ///
    /// The layout of the backup does not matter.
    #[arg(
        long,
        conflicts_with_all = ["metadir", "datadir", "waldir", "force"],
        help_heading = "Where to",
    )]
    online: bool,
    /// As -online, for scripts that call influxd
    ///
    /// The layout is found out. With -metadir and -datadir it has no effect.
    #[arg(long, help_heading = "Where to", hide_short_help = true)]
    portable: bool,
    #[command(flatten, next_help_heading = "Where to")]
    snapshotter: SnapshotterArgs<RESTORE>,
    #[command(flatten)]
    http: HttpArgs,

    #[command(flatten, next_help_heading = "What to restore")]
    shards: ShardsArgs,
    /// Give the database this name
    #[arg(long, value_name = "NAME", help_heading = "What to restore")]
    newdb: Option<String>,
    /// Give the retention policy this name
    #[arg(long, value_name = "NAME", help_heading = "What to restore")]
    newrp: Option<String>,
    /// Regroup shards of the policy to this length; -duration too
    ///
    /// The restored retention policy gets this shard group duration, and its shards the borders that
    /// influxd would give them: 28d makes 2 or 3 shards of 30 daily ones. Files move whole; a
    /// shard that crosses a border is cut. Needs -database, and -retention
    /// where it has several policies.
    #[arg(
        long,
        value_name = "D",
        value_parser = values::shard_duration,
        help_heading = "What to restore",
    )]
    shard_duration: Option<i64>,
    /// Have the policy keep points this long; INF: for ever
    ///
    /// The restored retention policy gets this duration. influxd deletes shards that are older.
    #[arg(
        long,
        value_name = "D",
        value_parser = values::retention_duration,
        help_heading = "What to restore",
        hide_short_help = true,
    )]
    duration: Option<i64>,

    #[command(flatten, next_help_heading = "What to restore")]
    times: TimesArgs,
    #[command(flatten, next_help_heading = "What to restore")]
    series: SeriesArgs<false>,

    /// Replace the metastore and shards of the target
    #[arg(long, help_heading = "How")]
    force: bool,
    /// Add to what is there: databases, or with -online points
    ///
    /// Into directories, the databases are added to the target's metastore; their shards and shard
    /// groups get new ids. With -online -database DB, the points are added to those of the database
    /// that the running server has; -on-conflict says whose count where both have some.
    #[arg(long, help_heading = "How")]
    merge: bool,
    /// With -online -merge, whose value counts where both have one [default: server]
    ///
    /// What clients write to a shard after snap has asked for it counts as newer in either case.
    #[arg(
        long,
        value_name = "backup|server",
        requires = "merge",
        conflicts_with_all = ["metadir", "datadir"],
        hide_possible_values = true,
        help_heading = "How",
        hide_short_help = true
    )]
    on_conflict: Option<ConflictArg>,
    /// With -online -merge, how long to ask a busy server for a shard
    ///
    /// Until it has written the shard to its files, it is asked again and again. After this long, the
    /// shard is taken as it comes, and a warning says what that can mean.
    #[arg(
        long,
        default_value = "2m",
        value_name = "DURATION",
        value_parser = values::wait,
        requires = "merge",
        conflicts_with_all = ["metadir", "datadir"],
        help_heading = "How",
        hide_short_help = true
    )]
    flush_timeout: Duration,
    /// Add the backup's users to the target's, with their passwords
    ///
    /// With -merge, or with -metadir alone. A user that is there already keeps password and rights.
    #[arg(
        long,
        conflicts_with = "online",
        help_heading = "How",
        hide_short_help = true
    )]
    users: bool,
    /// Restore what is sound of a damaged backup, and list what is lost
    ///
    /// Blocks with a wrong checksum are left out of their TSM files, and files without a readable
    /// index whole. Each is told with its series and times; the exit code is 3 then. With -metadir
    /// and -datadir.
    #[arg(
        long,
        requires = "datadir",
        conflicts_with = "online",
        help_heading = "How",
        hide_short_help = true
    )]
    skip_damaged: bool,
    /// Make a metastore for -datadir, which has lost its own
    ///
    /// Without a backup. -metadir gets a meta.db with the databases, retention policies and shards
    /// that the data directory has. Users, continuous queries and durations cannot be found there.
    #[arg(
        long,
        requires_all = ["metadir", "datadir"],
        conflicts_with_all = [
            "path", "set", "online", "portable", "force", "merge", "users", "newdb", "newrp",
            "database", "retention", "shard", "start", "end", "measurement", "conditions", "index",
            "apply_deletes", "skip_damaged", "no_verify", "influxql", "resume", "shard_duration", "duration",
            "http", "on_conflict", "with", "users_password_file",
        ],
        help_heading = "How",
        hide_short_help = true
    )]
    rebuild_meta: bool,
    /// The index of the restored shards
    ///
    /// auto takes that of the target's other shards. influxd builds tsi1 at its next start.
    #[arg(
        long,
        default_value = "auto",
        value_name = "KIND",
        help_heading = "How",
        hide_short_help = true
    )]
    index: IndexArg,
    /// Leave out points that were deleted but not yet compacted away [default: on]
    ///
    /// They then stay deleted on every version of influxd. With -apply-deletes=false, files are
    /// restored as they are: into directories with their tombstones; -online without, so that the
    /// points come back.
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_value = "true",
        default_missing_value = "true",
        action = clap::ArgAction::Set,
        hide_possible_values = true,
        help_heading = "How", hide_short_help = true)]
    apply_deletes: bool,
    /// With -online, do not read back what was sent
    #[arg(long, conflicts_with_all = ["metadir", "datadir"], help_heading = "How", hide_short_help = true)]
    no_verify: bool,
    /// With -online, write the InfluxQL of what does not come back to this file
    ///
    /// Users, grants, continuous queries and subscriptions, under their new names. Passwords are in
    /// no backup and have to be put in.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["metadir", "datadir"],
        help_heading = "How",
        hide_short_help = true
    )]
    influxql: Option<PathBuf>,
    /// With -online, apply these over HTTP: cqs,grants,subscriptions
    ///
    /// Continuous queries, grants and subscriptions of what is restored, under its new names, once
    /// the points are there. A grant needs its user on the server. See -http.
    #[arg(
        long,
        value_name = "LIST",
        value_delimiter = ',',
        conflicts_with_all = ["metadir", "datadir"],
        hide_possible_values = true,
        help_heading = "How",
        hide_short_help = true
    )]
    with: Vec<WithArg>,
    /// With -online, make users with the passwords in this file
    ///
    /// A line each: name:password. Users of the backup that are not in it are only told.
    #[arg(
        long,
        value_name = "FILE",
        conflicts_with_all = ["metadir", "datadir"],
        help_heading = "How",
        hide_short_help = true
    )]
    users_password_file: Option<PathBuf>,
    /// With -online, go on with an interrupted restore
    ///
    /// PATH and -host must be those of the interrupted run.
    #[arg(long, conflicts_with_all = ["metadir", "datadir"], help_heading = "How")]
    resume: bool,
    /// Print what would be written; write nothing
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
  snap restore -metadir /var/lib/influxdb/meta -datadir /var/lib/influxdb/data
  snap restore -metadir M -datadir D -database db -newdb db2 -merge PATH
  snap restore -online -database db -merge -on-conflict backup PATH
  snap restore -online -host db1:8088 -database db -newdb db_copy PATH SET";

#[derive(Debug, Clone, Copy, ValueEnum)]
enum ConflictArg {
    Backup,
    Server,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum WithArg {
    Cqs,
    Grants,
    Subscriptions,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum IndexArg {
    Auto,
    Inmem,
    Tsi1,
}

/// How many of what is lost are shown in text.
const SHOWN_LOST: u64 = 20;

impl RestoreArgs {
    pub(crate) fn run(&self, cancel: &Cancel, output: &Output) -> Ending {
        if self.rebuild_meta {
            return self.rebuild(cancel, output);
        }
        let repository = values::repository(self.path.as_ref());
        let report = if self.is_live() {
            self.live(&repository, cancel, output)
        } else {
            self.offline(&repository, cancel, output)
        }?;
        if let Some(lost) = &report.lost {
            print_lost(lost, output)?;
        }
        let host = self.is_live().then(|| self.snapshotter.host.to_string());
        let summary = RunSummary::of_restore(&report, &repository, host.as_deref(), self.dry_run);
        output.summary(&summary)?;
        Ok((!summary.is_whole()).then_some(ErrorKind::Partial))
    }

    pub(crate) fn after(&self) -> After<'_> {
        After {
            command: "restore",
            args: &self.after,
            repository: values::repository(self.path.as_ref()),
            host: self.is_live().then(|| self.snapshotter.host.to_string()),
            dry_run: self.dry_run,
        }
    }

    fn is_live(&self) -> bool {
        let offline = self.metadir.is_some() || self.datadir.is_some();
        self.online || (!offline && (self.portable || self.resume))
    }

    fn what(&self) -> RestoreSelection {
        RestoreSelection {
            new_database: self.newdb.clone(),
            new_retention_policy: self.newrp.clone(),
            shard_duration: self.shard_duration,
            duration: self.duration,
            ..chosen(&self.shards, &self.times, &self.series)
        }
    }

    /// Makes a metastore for a data directory.
    fn rebuild(&self, cancel: &Cancel, output: &Output) -> Ending {
        let (Some(metadir), Some(datadir)) = (&self.metadir, &self.datadir) else {
            return Err(ErrorKind::Usage
                .error("-rebuild-meta needs -metadir and -datadir")
                .into());
        };
        let directories = Directories {
            metadir: metadir.clone(),
            datadir: datadir.clone(),
            waldir: self.waldir.clone(),
            ignore_wal: false,
        };
        output.opening(&format!("making a metastore for {}", datadir.display()));
        let report = output.while_running(cancel, |context| {
            rebuild_metastore(&directories, self.dry_run, context)
        })?;
        let summary = RebuildSummary::new(&report, datadir, self.dry_run);
        let faults = summary.lacks();
        for text in faults {
            output.fault(&format!("missing: {text}"), None);
        }
        output.closing(&summary, &summary.line())?;
        Ok((!summary.is_whole()).then_some(ErrorKind::Partial))
    }

    fn live(
        &self,
        repository: &Location,
        cancel: &Cancel,
        output: &Output,
    ) -> Result<RestoreReport> {
        let host = &self.snapshotter.host;
        let client = self.server.client(host.clone(), cancel);
        let merge = match self.merge {
            true => Some(MergeOptions {
                http: self.http.options(host, &self.server.connection)?,
                on_conflict: self.on_conflict.map(|rule| match rule {
                    ConflictArg::Backup => ConflictRule::Backup,
                    ConflictArg::Server => ConflictRule::Server,
                }),
                flush_timeout: self.flush_timeout,
            }),
            false => None,
        };
        let statements = self.statements()?;
        if merge.is_none() && statements.is_none() {
            self.http.ensure_absent()?;
        }
        let options = LiveOptions {
            repository: repository.clone(),
            set: self.set.clone(),
            what: self.what(),
            jobs: self.server.jobs.into(),
            retries: self.server.connection.retries,
            verify: !self.no_verify,
            resume: self.resume,
            apply_deletes: self.apply_deletes,
            influxql: self.influxql.clone(),
            merge,
            statements,
            dry_run: self.dry_run,
        };
        options.ensure_consistent()?;
        output.opening(&format!("restoring from {repository} into {host}"));
        output.while_running(cancel, |context| restore_live(&client, &options, context))
    }

    /// What is applied over HTTP behind the points.
    fn statements(&self) -> Result<Option<StatementOptions>> {
        if self.with.is_empty() && self.users_password_file.is_none() {
            return Ok(None);
        }
        let has = |kind| self.with.contains(&kind);
        let host = &self.snapshotter.host;
        let passwords = self.users_password_file.as_deref().map(passwords::read);
        Ok(Some(StatementOptions {
            http: self.http.options(host, &self.server.connection)?,
            continuous_queries: has(WithArg::Cqs),
            grants: has(WithArg::Grants),
            subscriptions: has(WithArg::Subscriptions),
            passwords: passwords.transpose()?.unwrap_or_default(),
        }))
    }

    fn offline(
        &self,
        repository: &Location,
        cancel: &Cancel,
        output: &Output,
    ) -> Result<RestoreReport> {
        let options = RestoreOptions {
            repository: repository.clone(),
            set: self.set.clone(),
            metadir: self.metadir.clone(),
            datadir: self.datadir.clone(),
            waldir: self.waldir.clone(),
            what: self.what(),
            force: self.force,
            merge: self.merge,
            users: self.users,
            index: match self.index {
                IndexArg::Auto => IndexKind::Auto,
                IndexArg::Inmem => IndexKind::Inmem,
                IndexArg::Tsi1 => IndexKind::Tsi1,
            },
            apply_deletes: self.apply_deletes,
            skip_damaged: self.skip_damaged,
            warns_of_result: true,
            host: self.snapshotter.host.clone(),
            jobs: self.server.jobs.into(),
            dry_run: self.dry_run,
        };
        options.ensure_consistent()?;
        output.opening(&format!("restoring from {repository}"));
        output.while_running(cancel, |context| restore(&options, context))
    }
}

/// Prints all of the list in JSON, and its beginning in text, -quiet or not: it is an error.
///
/// # Errors
///
/// When standard output cannot be written, or the list not be read.
fn print_lost(list: &LostList, output: &Output) -> Result<()> {
    if output.is_json() {
        return list.each(json::print);
    }
    let mut nth = 0;
    list.each(|lost| {
        nth += 1;
        match nth <= SHOWN_LOST {
            true => output.line(&lost_line(lost)),
            false => Ok(()),
        }
    })?;
    let more = list.count().saturating_sub(SHOWN_LOST);
    match more {
        0 => Ok(()),
        _ => output.line(&format!("lost: {more} more: -json names all")),
    }
}
