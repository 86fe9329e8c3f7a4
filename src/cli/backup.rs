//! `snap backup` as it is typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;

use super::ending::Ending;
use super::flags::server::ServerArgs;
use super::flags::values::{self, Since};
use super::flags::{LockArgs, OutputArgs};
use super::post_run::{After, AfterArgs};
use super::render::messages::run::RunSummary;
use super::render::output::Output;
use super::render::request_log::RequestLog;
use crate::cancel::Cancel;
use crate::client::{Address, Endpoint};
use crate::error::{Error, ErrorKind};
use crate::ops::{BackupOptions, Directories, IncrementalMode, backup, serve_embedded};
use crate::repository::{Comparison, Layout, Selection};

/// Download the metastore and the shards of a running influxd into a backup directory
///
/// A run makes one set: the metastore and one tar a shard, in the layout of `influxd backup` or,
/// with -portable, in that of
/// `influxd backup -portable`, and a record of it in the hidden folder .snap. Every byte is checked
/// as it comes and synced to disk; a set either is there whole or not at all. Without
/// -database, all databases are taken but _internal.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub(crate) struct BackupArgs {
    /// The backup directory; made where it is absent [default: $SNAP_DIR, else ./backup]
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,

    /// The snapshotter: host:port, or a host alone for port 8088
    #[arg(
        long,
        env = "SNAP_HOST",
        hide_env_values = true,
        default_value = "127.0.0.1:8088",
        value_name = "HOST",
        value_parser = values::address,
        help_heading = "Server",
    )]
    host: Address,
    #[command(flatten)]
    server: ServerArgs,

    /// Back up a stopped influxd with this meta directory; -datadir is needed too, and -host is not
    /// asked
    #[arg(
        long,
        value_name = "DIR",
        requires = "datadir",
        help_heading = "Stopped server"
    )]
    metadir: Option<PathBuf>,
    /// Back up a stopped influxd with this data directory
    #[arg(
        long,
        value_name = "DIR",
        requires = "metadir",
        help_heading = "Stopped server"
    )]
    datadir: Option<PathBuf>,
    /// The WAL directory: what is in it is taken as TSM files [default: wal beside -datadir]
    #[arg(
        long,
        value_name = "DIR",
        requires = "datadir",
        help_heading = "Stopped server"
    )]
    waldir: Option<PathBuf>,
    /// Leave out what is in the WAL only
    #[arg(long, requires = "datadir", help_heading = "Stopped server")]
    ignore_wal: bool,

    /// Take this database alone
    #[arg(
        long,
        visible_alias = "db",
        value_name = "NAME",
        help_heading = "What to take"
    )]
    database: Option<String>,
    /// Take this retention policy alone
    #[arg(
        long,
        visible_alias = "rp",
        value_name = "NAME",
        requires = "database",
        help_heading = "What to take"
    )]
    retention: Option<String>,
    /// Take this shard alone
    #[arg(long, value_name = "ID", help_heading = "What to take")]
    shard: Option<u64>,
    /// Take _internal too, where all databases are taken
    #[arg(long, help_heading = "What to take")]
    include_internal: bool,
    /// Take the metastore and no shard
    #[arg(long, help_heading = "What to take")]
    meta_only: bool,
    /// Take the files that the server changed after T, or after the newest complete set was begun:
    /// an increment to it
    #[arg(long, value_name = "T|last", value_parser = values::since, help_heading = "What to take")]
    since: Option<Since>,
    /// Take points from T on
    #[arg(long, value_name = "T", value_parser = values::time, help_heading = "What to take")]
    start: Option<Timestamp>,
    /// Take points up to T
    #[arg(
        long,
        visible_alias = "stop",
        value_name = "T",
        value_parser = values::time,
        help_heading = "What to take",
    )]
    end: Option<Timestamp>,

    /// With -start and -end, leave blocks whole as the server sends them, with points before and
    /// after
    #[arg(long, help_heading = "How")]
    coarse: bool,
    /// Download only shards that have changed since the newest complete set, and share the files of
    /// the others with it: each set is whole, and restored alone
    #[arg(long, conflicts_with_all = ["since", "start", "end", "meta_only"], help_heading = "How")]
    incremental: bool,
    /// With -incremental, download all shards this once
    #[arg(long, requires = "incremental", help_heading = "How")]
    full: bool,
    /// With -incremental, download all shards in every Nth set
    #[arg(
        long,
        requires = "incremental",
        value_name = "N",
        value_parser = clap::value_parser!(u32).range(1..),
        help_heading = "How",
    )]
    full_every: Option<u32>,
    /// With -incremental, read each file before it is shared and compare its digest, where only its
    /// size and the time of its last change are compared otherwise
    #[arg(long, requires = "incremental", help_heading = "How")]
    checksum: bool,
    /// With -incremental and -resume, download shards that changed less than D before the earlier
    /// run was begun; with -since last, begin so much earlier: more than the clocks of server and
    /// client may differ
    #[arg(long, default_value = "10m", value_name = "D", value_parser = values::duration,
          help_heading = "How")]
    cold_after: Duration,
    /// Write influxd's portable layout: compressed tars and a manifest, for `influxd restore
    /// -portable`
    #[arg(long, help_heading = "How")]
    portable: bool,
    /// Leave points out that the server has deleted and not compacted away yet, and the tombstones
    /// that say so: a live restore by influxd does not observe them. Of shards that are taken whole
    /// [default: true with -portable, else false]
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        hide_possible_values = true,
        help_heading = "How",
    )]
    apply_deletes: Option<bool>,
    /// How long to ask a server that is busy writing a shard to files, shard by shard; then the
    /// shard is stored as it comes, the set is marked as partial, and the exit code is 3
    #[arg(
        long,
        default_value = "2m",
        value_name = "DURATION",
        value_parser = values::wait,
        help_heading = "How",
    )]
    flush_timeout: Duration,
    /// Where shards fail, make a set of the others, marked as partial, and exit with 3
    #[arg(long, help_heading = "How")]
    skip_errors: bool,
    /// Take over the shards that an earlier run of the same kind had finished before it failed with
    /// -resume, or was killed, and that have not changed since; and keep those that this one
    /// finishes, should it fail
    #[arg(long, help_heading = "How")]
    resume: bool,
    /// Say what would be downloaded, and download nothing
    #[arg(long, help_heading = "How")]
    dry_run: bool,
    #[command(flatten)]
    lock: LockArgs,

    #[command(flatten)]
    after: AfterArgs,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

const EXAMPLES: &str = "\
T is RFC 3339 (2026-11-20T08:00:00Z), a date (2026-11-20, midnight UTC) or an age (90m, 24h, 7d, 2w).

Examples:
  snap backup                                         all databases of 127.0.0.1:8088 into ./backup
  snap backup -database db -since 24h                 what changed in the files of db since yesterday
  snap backup -host db.example:8088 /var/backups/db   another server, another directory
  snap backup -database db -start 2026-11-01 -end 2026-11-08
  snap backup -metadir /var/lib/influxdb/meta -datadir /var/lib/influxdb/data    a stopped influxd";

impl BackupArgs {
    pub(crate) fn run(&self, cancel: &Cancel, output: &Output) -> Ending {
        self.ensure_consistent()?;
        let directory = values::directory(self.path.as_ref());
        let selection = self.selection();
        // One code path: the directories of a stopped server are served to this process.
        let service = match self.directories() {
            Some(directories) => Some(serve_embedded(
                &directories,
                &selection,
                Box::new(RequestLog::failures(&self.output)),
            )?),
            None => None,
        };
        let endpoint = service.as_ref().map_or_else(
            || self.host.clone().into(),
            |service| Endpoint::from(service.connector()),
        );
        let source = self.datadir.as_ref().map_or_else(
            || self.host.to_string(),
            |datadir| datadir.display().to_string(),
        );
        let client = self.server.client(endpoint, cancel);
        output.opening(&format!("backing up {source} into {}", directory.display()));
        let options = self.options(source, directory, selection);
        let report = output.while_running(cancel, |context| backup(&client, &options, context))?;
        let summary = RunSummary::of_backup(&report, &options.directory, self.dry_run);
        output.summary(&summary)?;
        Ok((!summary.is_whole()).then_some(ErrorKind::Partial))
    }

    pub(crate) fn after(&self) -> After<'_> {
        After {
            command: "backup",
            args: &self.after,
            directory: values::directory(self.path.as_ref()),
            host: self.datadir.is_none().then(|| self.host.to_string()),
            dry_run: self.dry_run,
        }
    }

    fn selection(&self) -> Selection {
        Selection {
            database: self.database.clone(),
            retention_policy: self.retention.clone(),
            shard: self.shard,
            include_internal: self.include_internal,
            meta_only: self.meta_only,
            since: match self.since {
                Some(Since::At(since)) => Some(since),
                Some(Since::Last) | None => None,
            },
            start: self.start,
            end: self.end,
            coarse: self.coarse,
            ignore_wal: self.ignore_wal,
        }
    }

    fn options(&self, source: String, directory: PathBuf, selection: Selection) -> BackupOptions {
        BackupOptions {
            source,
            directory,
            selection,
            building: self.building(),
            layout: if self.portable {
                Layout::Portable
            } else {
                Layout::Legacy
            },
            apply_deletes: self.apply_deletes.unwrap_or(self.portable),
            jobs: self.server.jobs.into(),
            retries: self.server.retries,
            // What this process serves holds all there is.
            flush_timeout: self.datadir.is_none().then_some(self.flush_timeout),
            skip_errors: self.skip_errors,
            retry_lock: self.lock.retry_lock,
            resume: self.resume,
            cold_after: self.cold_after,
            dry_run: self.dry_run,
        }
    }

    fn building(&self) -> IncrementalMode {
        match self.since {
            Some(Since::Last) => IncrementalMode::SinceLast {
                margin: self.cold_after,
            },
            None if self.incremental => IncrementalMode::Incremental {
                full_every: if self.full { Some(1) } else { self.full_every },
                margin: self.cold_after,
                comparison: match self.checksum {
                    true => Comparison::Digest,
                    false => Comparison::Time,
                },
            },
            _ => IncrementalMode::Not,
        }
    }

    fn directories(&self) -> Option<Directories> {
        Some(Directories {
            metadir: self.metadir.clone()?,
            datadir: self.datadir.clone()?,
            waldir: self.waldir.clone(),
            ignore_wal: self.ignore_wal,
        })
    }

    fn ensure_consistent(&self) -> Result<(), Error> {
        let usage = |message: &str, hint: &str| Err(ErrorKind::Usage.error(message).hint(hint));
        if self.since.is_some() && (self.start.is_some() || self.end.is_some()) {
            return usage(
                "-since cannot go with -start or -end",
                "-since takes files by when they changed, -start and -end take points by their time: \
                 write one or the other",
            );
        }
        if let (Some(start), Some(end)) = (self.start, self.end)
            && end < start
        {
            return usage(
                &format!("-end {end} is before -start {start}"),
                "exchange the two",
            );
        }
        if self.meta_only
            && (self.shard.is_some()
                || self.since.is_some()
                || self.start.is_some()
                || self.end.is_some())
        {
            return usage(
                "-meta-only takes no shard, so -shard, -since, -start and -end have no meaning with \
                 it",
                "leave out -meta-only or the others",
            );
        }
        Ok(())
    }
}
