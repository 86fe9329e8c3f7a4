//! `snap backup` as it is typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use jiff::Timestamp;

use super::ending::Ending;
use super::flags::server::ServerArgs;
use super::flags::values::{self, Since};
use super::flags::{GraceArgs, LockArgs, OutputArgs};
use super::post_run::{After, AfterArgs};
use super::render::messages::run::RunSummary;
use super::render::output::Output;
use super::render::request_log::RequestLog;
use crate::cancel::Cancel;
use crate::client::{Address, Endpoint};
use crate::error::{Error, ErrorKind};
use crate::ops::{BackupOptions, Directories, IncrementalMode, backup, serve_embedded};
use crate::repository::{Comparison, Layout, Location, Selection};
use crate::tsm::series_filter::{MeasurementPattern, SeriesFilter, TagCondition};

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

    /// Where influxd's snapshotter listens
    ///
    /// HOST:PORT, or HOST for port 8088: bind-address at the top of influxdb.conf.
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

    /// Of a stopped influxd, its meta directory
    ///
    /// With -metadir and -datadir, a stopped influxd is backed up, and -host is not asked.
    #[arg(
        long,
        value_name = "DIR",
        requires = "datadir",
        help_heading = "Server"
    )]
    metadir: Option<PathBuf>,
    /// Of a stopped influxd, its data directory
    #[arg(
        long,
        value_name = "DIR",
        requires = "metadir",
        help_heading = "Server"
    )]
    datadir: Option<PathBuf>,
    /// Its WAL directory [default: wal beside -datadir]
    ///
    /// What only the WAL holds is backed up as TSM files.
    #[arg(
        long,
        value_name = "DIR",
        requires = "datadir",
        help_heading = "Server",
        hide_short_help = true
    )]
    waldir: Option<PathBuf>,
    /// Leave out what only the WAL holds
    #[arg(
        long,
        requires = "datadir",
        help_heading = "Server",
        hide_short_help = true
    )]
    ignore_wal: bool,

    /// Only this database
    #[arg(
        long,
        visible_alias = "db",
        value_name = "NAME",
        help_heading = "What to back up"
    )]
    database: Option<String>,
    /// Only this retention policy of -database
    #[arg(
        long,
        visible_alias = "rp",
        value_name = "NAME",
        requires = "database",
        help_heading = "What to back up"
    )]
    retention: Option<String>,
    /// Only this shard
    #[arg(
        long,
        value_name = "ID",
        value_parser = values::whole_number(0, u64::MAX),
        help_heading = "What to back up",
    )]
    shard: Option<u64>,
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
    /// Only points from T on, as 2026-11-20 or 24h (ago)
    #[arg(long, value_name = "T", value_parser = values::time, help_heading = "What to back up")]
    start: Option<Timestamp>,
    /// Only points up to T
    #[arg(
        long,
        visible_alias = "stop",
        value_name = "T",
        value_parser = values::time,
        help_heading = "What to back up",
    )]
    end: Option<Timestamp>,
    /// Only series of this measurement
    ///
    /// Its name, or /REGEX/ as in InfluxQL. Given several times, series of any of them.
    #[arg(
        long,
        value_name = "NAME",
        value_parser = values::measurement,
        help_heading = "What to back up",
        hide_short_help = true,
    )]
    measurement: Vec<MeasurementPattern>,
    /// Only series with this tag, as 'host=web1'
    ///
    /// 'TAG=VALUE', 'TAG!=VALUE', 'TAG=~/REGEX/' or 'TAG!~/REGEX/'. A tag that a series lacks is
    /// empty. Given several times, all have to hold.
    #[arg(
        long = "where",
        value_name = "CONDITION",
        value_parser = values::condition,
        help_heading = "What to back up",
        hide_short_help = true,
    )]
    conditions: Vec<TagCondition>,

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
            || self.host.clone().into(),
            |service| Endpoint::from(service.connector()),
        );
        let source = self.datadir.as_ref().map_or_else(
            || self.host.to_string(),
            |datadir| datadir.display().to_string(),
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
            series: SeriesFilter {
                measurements: self.measurement.clone(),
                conditions: self.conditions.clone(),
            },
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
        let chooses_series = !self.measurement.is_empty() || !self.conditions.is_empty();
        if self.since.is_some() && chooses_series {
            return usage(
                "-since cannot go with -measurement or -where",
                "a set of some series stands alone: leave out -since",
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
                || self.end.is_some()
                || chooses_series)
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
