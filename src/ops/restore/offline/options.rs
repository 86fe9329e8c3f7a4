//! What a restore into directories is asked for.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::{Context, Result};

use crate::client::Address;
use crate::error::{Error, ErrorKind};
use crate::influxd_dir;
use crate::ops::restore::RestoreSelection;
use crate::ops::restore::check::RestoreChecks;
use crate::ops::restore::one_type::types_of_all;
use crate::repository::Location;
use crate::tsm::sought_series::SoughtSeries;

/// What to restore, and where to.
#[derive(Debug, Clone)]
pub struct RestoreOptions {
    /// Where the backups lie.
    pub repository: Location,
    /// The set; where none is named, the newest and all that the directory holds beside it.
    pub set: Option<String>,
    /// The target's meta directory; without one, the metastore is left alone.
    pub metadir: Option<PathBuf>,
    /// The target's data directory; without one, no shard is restored.
    pub datadir: Option<PathBuf>,
    /// The target's WAL directory; `wal` beside the data directory where it is not named.
    pub waldir: Option<PathBuf>,
    /// What of the backup, and under which names.
    pub what: RestoreSelection,
    /// Replace what the target holds.
    pub force: bool,
    /// Add the databases to the target's metastore, under new ids.
    pub merge: bool,
    /// Add the backup's users to the target's metastore, with their passwords; with `merge`, or
    /// with nothing but the meta directory.
    pub users: bool,
    /// The index the restored shards get.
    pub index: IndexKind,
    /// Leave out what was deleted, rather than keep the tombstones that say so.
    pub apply_deletes: bool,
    /// Restore what is sound of a damaged backup.
    pub skip_damaged: bool,
    /// Warn of databases and shards that the metastore names and the backup holds nothing of, and of
    /// shards that influxd will delete soon.
    pub warns_of_result: bool,
    /// Where to ask whether an influxd runs on the target.
    pub host: Address,
    /// How many shards at a time.
    pub jobs: usize,
    /// Say what would be done, and change nothing.
    pub dry_run: bool,
}

/// The series index that a restored shard opens with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IndexKind {
    /// That of the shards the target already holds; `inmem` where it holds none.
    Auto,
    /// Rebuilt in memory at each start.
    Inmem,
    /// Rebuilt on disk at the first start.
    Tsi1,
}

impl RestoreOptions {
    /// The same with absolute paths, which mean the same wherever the next run is started.
    pub(super) fn with_absolute_targets(&self) -> Result<Self> {
        Ok(Self {
            metadir: self.metadir.as_deref().map(absolute).transpose()?,
            datadir: self.datadir.as_deref().map(absolute).transpose()?,
            waldir: self.waldir.as_deref().map(absolute).transpose()?,
            ..self.clone()
        })
    }

    /// The target's WAL directory.
    pub(super) fn wal_dir(&self) -> Option<PathBuf> {
        influxd_dir::wal_dir(self.waldir.as_deref(), self.datadir.as_deref()?)
    }

    /// What is done with the files of the backup; files without a name are made in `scratch`.
    pub(super) fn checks(&self, scratch: PathBuf) -> RestoreChecks {
        RestoreChecks {
            // An index names series that are not restored, or not in one shard.
            leave_index: self.index == IndexKind::Inmem
                || !self.what.series.takes_all()
                || self.what.shard_duration.is_some()
                || self.skip_damaged,
            apply_deletes: self.apply_deletes,
            series: Arc::new(SoughtSeries::of(self.what.series.clone())),
            types: types_of_all(&self.what, &scratch),
            lost: None,
            scratch,
        }
    }

    /// Where a restore prepares what it moves into place: the data directory, or the meta directory
    /// where that is restored alone.
    pub(super) fn home(&self) -> Option<&Path> {
        self.datadir.as_deref().or(self.metadir.as_deref())
    }

    fn names_metadir_alone(&self) -> bool {
        self.datadir.is_none() && self.what == RestoreSelection::default()
    }

    /// Whether nothing but users is added to the target.
    pub(super) fn adds_users_alone(&self) -> bool {
        self.users && !self.merge
    }

    /// Refuses flags that contradict each other, and such as need others.
    pub(crate) fn ensure_consistent(&self) -> Result<(), Error> {
        self.ensure_directories_fit()?;
        self.ensure_damage_can_be_skipped()?;
        self.ensure_additions_fit()?;
        self.what.ensure_consistent()
    }

    /// Refuses what the directories that are named do not allow.
    fn ensure_directories_fit(&self) -> Result<(), Error> {
        match self {
            Self {
                metadir: None,
                datadir: None,
                ..
            } => usage(
                "restore needs to know where to: -metadir and -datadir, or -online",
                "into a stopped influxd: snap restore -metadir /var/lib/influxdb/meta -datadir \
                 /var/lib/influxdb/data PATH; into a running one: snap restore -online PATH",
            ),
            Self {
                metadir: None,
                what: RestoreSelection { database: None, .. },
                ..
            } => usage(
                "-datadir without -metadir needs -database",
                "add -database DB for the shards of one database, or -metadir M to restore the metastore as well",
            ),
            Self {
                datadir: None,
                what,
                ..
            } if !what.series.takes_all() => usage(
                "-measurement and -where choose points, and without -datadir none are restored",
                "add -datadir D, or leave them out",
            ),
            Self {
                metadir: None,
                what,
                ..
            } if what.durations().is_some() => usage(
                "-shard-duration and -duration need -metadir: durations and shard groups are in the metastore",
                "add -metadir M, with -merge if it is to keep what it has",
            ),
            Self {
                datadir: None,
                what:
                    RestoreSelection {
                        shard_duration: Some(_),
                        ..
                    },
                ..
            } => usage(
                "-shard-duration needs -datadir: the shards are put together anew",
                "add -datadir D; -duration alone leaves the shards as they are",
            ),
            _ => Ok(()),
        }
    }

    /// Refuses what -skip-damaged does not go with.
    fn ensure_damage_can_be_skipped(&self) -> Result<(), Error> {
        match self {
            Self {
                skip_damaged: true,
                datadir: None,
                ..
            } => usage(
                "-skip-damaged needs -datadir: it is shards that are restored in part",
                "add -datadir D, or leave it out",
            ),
            Self {
                skip_damaged: true,
                dry_run: true,
                ..
            } => usage(
                "-skip-damaged and -dry-run contradict each other: what is lost shows when files are written",
                "snap verify -deep lists what is damaged",
            ),
            _ => Ok(()),
        }
    }

    /// Refuses what databases or users cannot be added with.
    fn ensure_additions_fit(&self) -> Result<(), Error> {
        match self {
            Self {
                merge: true,
                force: true,
                ..
            } => usage(
                "-merge and -force contradict each other",
                "-merge adds to the target's metastore, -force replaces it: choose one",
            ),
            Self {
                merge: true,
                metadir: None,
                ..
            } => usage(
                "-merge needs -metadir",
                "name the meta directory that the databases are to be added to",
            ),
            Self {
                users: true,
                force: true,
                ..
            } => usage(
                "-users and -force contradict each other",
                "-users adds to the target's metastore; with -force, the backup's replaces it and brings its users",
            ),
            Self {
                users: true,
                metadir: None,
                ..
            } => usage(
                "-users needs -metadir",
                "name the meta directory of the stopped server that the users are to be added to",
            ),
            _ if self.adds_users_alone() && !self.names_metadir_alone() => usage(
                "-users needs -merge where more than the metastore is restored",
                "add -merge; or name only -metadir, for the users alone",
            ),
            _ => Ok(()),
        }
    }
}

/// The error for flags that do not go together, and what to do.
fn usage(message: &str, hint: &str) -> Result<(), Error> {
    Err(ErrorKind::Usage.error(message).hint(hint))
}

fn absolute(path: &Path) -> Result<PathBuf> {
    std::path::absolute(path)
        .with_context(|| format!("finding the absolute path of {}", path.display()))
}
