//! `snap backup` as it is typed.

use std::time::Duration;

use clap::Args;

use super::ending::Ending;
use super::flags::server::ServerArgs;
use super::flags::snapshotter::{BACKUP, SnapshotterArgs};
use super::flags::values::{self, Since};
use super::flags::{
    DirectoriesArgs, GraceArgs, LockArgs, OutputArgs, SeriesArgs, ShardsArgs, TimesArgs,
};
use super::post_run::{After, AfterArgs};
use super::render::messages::run::RunSummary;
use super::render::output::Output;
use super::render::request_log::RequestLog;
use crate::cancel::Cancel;
use crate::client::Endpoint;
use crate::error::{Error, ErrorKind};
use crate::ops::{BackupOptions, Directories, IncrementalMode, backup, serve_embedded};
use crate::repository::{Comparison, Layout, Location, Selection};
use crate::time::ensure_times;

/// Back up a running influxd, or the directories of a stopped one
///
/// A run makes one set: the metastore, and a tar for each shard, in the layout of `influxd backup`
/// or, with -portable, of `influxd backup -portable`. A record of the set lies in the hidden folder
/// .snap beside them. Every byte is checked as it arrives, and synced to disk. A set is there
/// whole, or not at all.
///
/// Without -database, all databases are backed up except _internal.
///
/// T is a time: RFC 3339 (2026-11-20T08:00:00Z), a date (2026-11-20, midnight UTC) or an age (90m,
/// 24h, 7d, 2w).
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct BackupArgs {
    /// The backup directory or its URL [default: $SNAP_DIR, else ./backup]
    ///
    /// A directory is made if absent.
    #[arg(value_name = "PATH", value_parser = values::location())]
    pub(crate) path: Option<Location>,

    #[command(flatten, next_help_heading = "Server")]
    snapshotter: SnapshotterArgs<BACKUP>,
    #[command(flatten)]
    directories: DirectoriesArgs,
    /// Leave out what only the WAL holds
    #[arg(
        long,
        requires = "datadir",
        help_heading = "Server",
        hide_short_help = true
    )]
    ignore_wal: bool,

    #[command(flatten, next_help_heading = "What to back up")]
    shards: ShardsArgs,
    /// Back up _internal too
    ///
    /// It matters only without -database.
    #[arg(long, help_heading = "What to back up", hide_short_help = true)]
    include_internal: bool,
    /// Only the metastore, no shards
    #[arg(long, help_heading = "What to back up")]
    meta_only: bool,
    /// Only files changed since T, or since the last set
    ///
    /// The set is an increment: a restore needs the sets before it too. `last` is the time at which
    /// the newest complete set was begun.
    #[arg(long, value_name = "T|last", value_parser = values::since, help_heading = "What to back up")]
    since: Option<Since>,
    #[command(flatten, next_help_heading = "What to back up")]
    times: TimesArgs,
    #[command(flatten, next_help_heading = "What to back up")]
    series: SeriesArgs<true>,

    /// With -start and -end, keep blocks whole
    ///
    /// The server sends whole blocks, with points before and after; snap leaves those out unless
    /// this flag is set.
    #[arg(long, help_heading = "How", hide_short_help = true)]
    coarse: bool,
    /// Download only shards that have changed
    ///
    /// The others share the files of the newest complete set. Each set is whole, and restored
    /// alone.
    #[arg(
        long,
        conflicts_with_all = ["since", "start", "end", "measurement", "conditions", "meta_only"],
        help_heading = "How",
    )]
    incremental: bool,
    /// With -incremental, download all shards this once
    #[arg(
        long,
        requires = "incremental",
        help_heading = "How",
        hide_short_help = true
    )]
    full: bool,
    /// With -incremental, all shards in every Nth set
    #[arg(
        long,
        requires = "incremental",
        value_name = "N",
        value_parser = values::whole_number(1, u32::MAX),
        help_heading = "How",
    )]
    full_every: Option<u32>,
    /// Compare shared files by their digest
    ///
    /// With -incremental, each file is read before it is shared. Without this flag, its size and
    /// the time of its last change decide.
    #[arg(
        long,
        requires = "incremental",
        help_heading = "How",
        hide_short_help = true
    )]
    checksum: bool,
    /// How long a shard must be unchanged to be shared
    ///
    /// With -incremental and -resume, shards that changed less than D before the earlier run was
    /// begun are downloaded again. With -since last, the increment begins D earlier. D must be
    /// longer than the clocks of server and client differ.
    #[arg(long, default_value = "10m", value_name = "D", value_parser = values::duration,
          help_heading = "How", hide_short_help = true)]
    cold_after: Duration,
    /// Write influxd's portable layout, compressed
    ///
    /// The files are compressed tars and a manifest, for `influxd restore -portable`.
    #[arg(long, help_heading = "How")]
    portable: bool,
    /// Leave out points that were deleted but not yet compacted away
    ///
    /// Their tombstones are left out too, which a live restore by influxd does not observe. It
    /// counts for shards that are backed up whole [default: on with -portable, else off].
    #[arg(
        long,
        value_name = "BOOL",
        num_args = 0..=1,
        require_equals = true,
        default_missing_value = "true",
        hide_possible_values = true,
        help_heading = "How", hide_short_help = true)]
    apply_deletes: Option<bool>,
    /// How long to wait for a shard that is being flushed
    ///
    /// A busy server is asked again and again until it has written the shard to its files. After
    /// this long, the shard is stored as it comes, the set is marked as partial, and the exit code
    /// is 3.
    #[arg(
        long,
        default_value = "2m",
        value_name = "DURATION",
        value_parser = values::wait,
        help_heading = "How", hide_short_help = true)]
    flush_timeout: Duration,
    /// If shards fail, make a partial set; exit code 3
    #[arg(long, help_heading = "How")]
    skip_errors: bool,
    /// Take over what a failed run had finished
    ///
    /// Shards of an earlier run of the same kind are taken over if that run was killed, or failed
    /// with -resume, and if they have not changed since. What this run finishes is kept for the
    /// next, should it fail.
    #[arg(long, help_heading = "How")]
    resume: bool,
    /// Print what would be downloaded; download nothing
    #[arg(long, help_heading = "How")]
    dry_run: bool,
    #[command(flatten)]
    lock: LockArgs,
    #[command(flatten)]
    pub(crate) grace: GraceArgs,
    #[command(flatten)]
    server: ServerArgs,

    #[command(flatten)]
    after: AfterArgs,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

const EXAMPLES: &str = "\
  snap backup /var/backups/influxdb             all databases of this machine
  snap backup -host db1:8088 /var/backups/db1   all databases of another one
  snap backup -incremental -portable /var/backups/db1        what has changed
  snap backup -database telegraf -start 2026-11-01 -end 2026-11-08
  snap backup -metadir /var/lib/influxdb/meta -datadir /var/lib/influxdb/data";

impl BackupArgs {
    pub(crate) fn run(&self, cancel: &Cancel, output: &Output) -> Ending {
        self.ensure_consistent()?;
        let repository = values::repository(self.path.as_ref());
        let selection = self.selection();
        // One code path: the directories of a stopped server are served to this process.
        let service = match self.directories() {
            Some(directories) => Some(serve_embedded(
                &directories,
                &selection,
                Box::new(RequestLog::failures(output)),
            )?),
            None => None,
        };
        let endpoint = service.as_ref().map_or_else(
            || self.snapshotter.host.clone().into(),
            |service| Endpoint::from(service.connector()),
        );
        let source = self.directories.named().map_or_else(
            || self.snapshotter.host.to_string(),
            |directories| directories.datadir.display().to_string(),
        );
        let client = self.server.client(endpoint, cancel);
        output.opening(&format!("backing up {source} into {repository}"));
        let options = self.options(source, repository, selection);
        let report = output.while_running(cancel, |context| backup(&client, &options, context))?;
        let summary = RunSummary::of_backup(&report, &options.repository, self.dry_run);
        output.summary(&summary)?;
        Ok((!summary.is_whole()).then_some(ErrorKind::Partial))
    }

    pub(crate) fn after(&self) -> After<'_> {
        After {
            command: "backup",
            args: &self.after,
            repository: values::repository(self.path.as_ref()),
            host: self
                .directories
                .named()
                .is_none()
                .then(|| self.snapshotter.host.to_string()),
            dry_run: self.dry_run,
        }
    }

    fn selection(&self) -> Selection {
        Selection {
            database: self.shards.database.clone(),
            retention_policy: self.shards.retention.clone(),
            shard: self.shards.shard,
            include_internal: self.include_internal,
            meta_only: self.meta_only,
            since: match self.since {
                Some(Since::At(since)) => Some(since),
                Some(Since::Last) | None => None,
            },
            start: self.times.start,
            end: self.times.end,
            coarse: self.coarse,
            ignore_wal: self.ignore_wal,
            series: self.series.filter(),
        }
    }

    fn options(&self, source: String, repository: Location, selection: Selection) -> BackupOptions {
        BackupOptions {
            source,
            repository,
            selection,
            building: self.building(),
            layout: if self.portable {
                Layout::Portable
            } else {
                Layout::Legacy
            },
            apply_deletes: self.apply_deletes.unwrap_or(self.portable),
            jobs: self.server.jobs.into(),
            retries: self.server.connection.retries,
            // What this process serves holds all there is.
            flush_timeout: self
                .directories
                .named()
                .is_none()
                .then_some(self.flush_timeout),
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
            ignore_wal: self.ignore_wal,
            ..self.directories.named()?
        })
    }

    fn ensure_consistent(&self) -> Result<(), Error> {
        let usage = |message: &str, hint: &str| Err(ErrorKind::Usage.error(message).hint(hint));
        if self.since.is_some() && self.times.are_given() {
            return usage(
                "-since cannot go with -start or -end",
                "-since takes files by when they changed, -start and -end take points by their time: \
                 write one or the other",
            );
        }
        if self.since.is_some() && self.series.are_given() {
            return usage(
                "-since cannot go with -measurement or -where",
                "a set of some series stands alone: leave out -since",
            );
        }
        ensure_times(self.times.start, self.times.end)?;
        if self.meta_only
            && (self.shards.shard.is_some()
                || self.since.is_some()
                || self.times.are_given()
                || self.series.are_given())
        {
            return usage(
                "-meta-only takes no shard, so -shard, -since, -start, -end, -measurement and \
                 -where have no meaning with it",
                "leave out -meta-only or the others",
            );
        }
        Ok(())
    }
}
