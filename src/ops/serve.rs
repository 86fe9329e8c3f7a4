//! `snap serve`, and the service that an embedded backup asks: a snapshotter over the directories
//! of a stopped influxd.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::selection::select;
use crate::error::{Error, ErrorKind};
use crate::influxd_dir::{self, LocalMeta, LocalShards};
use crate::metastore::Data;
use crate::repository::Selection;
use crate::server::{LocalService, Log, MetaStore, Service, ServiceOptions};
use crate::shard::ShardPath;

/// The directories of an influxd, and what to make of its WAL.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Directories {
    /// The meta directory.
    pub metadir: PathBuf,
    /// The data directory.
    pub datadir: PathBuf,
    /// The WAL directory; `wal` beside the data directory where it is not named.
    pub waldir: Option<PathBuf>,
    /// Hand shards out without what is in their WAL.
    pub ignore_wal: bool,
}

impl Directories {
    /// The WAL directory, if there is one.
    pub(crate) fn wal(&self) -> Option<PathBuf> {
        influxd_dir::wal_dir(self.waldir.as_deref(), &self.datadir)
    }

    /// Refuses a WAL directory that is named and not there.
    pub(super) fn ensure_named_wal(&self) -> Result<(), Error> {
        match self.waldir.as_ref().filter(|waldir| !waldir.is_dir()) {
            None => Ok(()),
            Some(waldir) => Err(ErrorKind::Usage
                .error(format!("there is no WAL directory {}", waldir.display()))
                .hint("leave -waldir out where there is none")),
        }
    }

    /// Opens them in the place of a backup, of which some shards are meant.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::NoBackup`] where they are not there; those of [`Directories::open`], and
    /// [`ErrorKind::Refused`] when the data directory is another's.
    pub(super) fn open_to_read(&self, selection: &Selection) -> Result<(LocalMeta, LocalShards)> {
        influxd_dir::ensure_there(&self.metadir, &self.datadir, ErrorKind::NoBackup)?;
        let shards = self.live_shards(selection)?;
        self.ensure_known(&shards)?;
        self.open()
    }

    /// Opens them.
    ///
    /// # Errors
    ///
    /// When they are not those of an influxd, or an influxd runs on them ([`ErrorKind::Refused`]).
    fn open(&self) -> Result<(LocalMeta, LocalShards)> {
        let waldir = self.wal();
        ensure_not_running(&[Some(&self.metadir), Some(&self.datadir), waldir.as_ref()])?;
        self.ensure_named_wal()?;
        let meta = LocalMeta::open(&self.metadir)?;
        let shards = LocalShards::open(&self.datadir, waldir.as_deref(), self.ignore_wal)?;
        Ok((meta, shards))
    }

    /// The shards of a selection that the metastore names and does not mark as deleted.
    fn live_shards(&self, selection: &Selection) -> Result<Vec<ShardPath>> {
        let data = Data::read(&LocalMeta::open(&self.metadir)?.data()?)?;
        let shards = select(&data, selection, &self.metadir.display().to_string())?;
        Ok(shards
            .into_iter()
            .filter(|shard| shard.deleted_at.is_none())
            .map(|shard| shard.path)
            .collect())
    }

    /// Refuses a data directory that has none of the shards that the metastore names: it is
    /// another's.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Refused`]; when the system does not let a directory be looked at.
    fn ensure_known(&self, shards: &[ShardPath]) -> Result<()> {
        if shards.is_empty() {
            return Ok(());
        }
        for shard in shards {
            let directory = influxd_dir::shard_dir(&self.datadir, shard);
            let is_there = directory.try_exists();
            if is_there.with_context(|| format!("looking for {}", directory.display()))? {
                return Ok(());
            }
        }
        let (metadir, datadir) = (self.metadir.display(), self.datadir.display());
        Err(ErrorKind::Refused
            .error(format!(
                "{datadir} has none of the shards that {metadir}/meta.db names"
            ))
            .hint("is it the data directory of that metastore?")
            .into())
    }
}

/// Serves directories on a bound listener.
///
/// # Errors
///
/// When the directories are not those of an influxd, or an influxd runs on them
/// ([`ErrorKind::Refused`]).
pub fn serve(
    directories: &Directories,
    listener: TcpListener,
    log: Box<dyn Log>,
    options: ServiceOptions,
) -> Result<Service> {
    let (meta, shards) = directories.open()?;
    Service::open(listener, Box::new(meta), Box::new(shards), log, options)
        .context("starting the service")
}

/// Serves directories to this process alone, for a backup of `selection`.
///
/// # Errors
///
/// Those of [`serve`], and [`ErrorKind::Refused`] when the data directory is another's.
pub(crate) fn serve_embedded(
    directories: &Directories,
    selection: &Selection,
    log: Box<dyn Log>,
) -> Result<LocalService> {
    if !selection.meta_only {
        let shards = directories.live_shards(selection)?;
        let known = directories.ensure_known(&shards);
        known.map_err(|fault| match fault.downcast::<Error>() {
            Ok(fault) => {
                let advice = fault.hint.clone().unwrap_or_default();
                let advice = format!("{advice} -meta-only takes the metastore alone");
                fault.hint(advice).into()
            }
            Err(fault) => fault,
        })?;
    }
    let (meta, shards) = directories.open()?;
    Ok(LocalService::new(
        directories.datadir.display().to_string(),
        Box::new(meta),
        Box::new(shards),
        log,
        ServiceOptions::default(),
    ))
}

/// Refuses directories that an influxd has open.
pub(super) fn ensure_not_running(directories: &[Option<&PathBuf>]) -> Result<()> {
    let directories: Vec<&Path> = directories
        .iter()
        .flatten()
        .map(|directory| directory.as_path())
        .collect();
    match influxd_dir::open_file_below(&directories) {
        Some((process, file)) => Err(ErrorKind::Refused
            .error(format!("process {process} has {} open", file.display()))
            .hint("an influxd that runs serves its own snapshots: use its port, or stop it first")
            .into()),
        None => Ok(()),
    }
}
