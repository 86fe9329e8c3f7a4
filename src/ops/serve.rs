//! `snap serve`, and the service that an embedded backup asks: a snapshotter over the directories of a stopped influxd.

use std::net::TcpListener;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::selection::{list, select};
use crate::directory::Selection;
use crate::error::Class;
use crate::format::meta::Data;
use crate::local::{self, LocalMeta, LocalShards, wal_bytes};
use crate::service::{Log, MetaStore, Service, ServiceOptions};
use crate::wire::ShardPath;

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
    fn watched_wal(&self) -> Option<PathBuf> {
        local::wal_dir(self.waldir.as_deref(), &self.datadir).filter(|_| !self.ignore_wal)
    }

    /// The shards of a selection that the meta store names and does not mark as deleted.
    fn live_shards(&self, selection: &Selection) -> Result<Vec<ShardPath>> {
        let data = Data::read(&LocalMeta::open(&self.metadir)?.data()?)?;
        let shards = select(&data, selection, &self.metadir.display().to_string())?;
        Ok(shards.into_iter().filter(|shard| shard.deleted_at.is_none()).map(|shard| shard.path).collect())
    }

    /// Refuses a data directory that has none of the shards that the meta store names: it is another's.
    fn refuse_foreign(&self, shards: &[ShardPath]) -> Result<()> {
        if shards.is_empty() || shards.iter().any(|shard| local::shard_dir(&self.datadir, shard).exists()) {
            return Ok(());
        }
        let (metadir, datadir) = (self.metadir.display(), self.datadir.display());
        Err(Class::Refused
            .error(format!("{datadir} has none of the shards that {metadir}/meta.db names"))
            .hint("is it the data directory, and may this user read it? -meta-only takes the meta store alone")
            .into())
    }

    /// Refuses shards whose WAL holds entries.
    fn refuse_wal(&self, shards: &[ShardPath]) -> Result<()> {
        let Some(waldir) = self.watched_wal() else { return Ok(()) };
        let mut found = Vec::new();
        for shard in shards {
            let bytes = wal_bytes(&waldir, shard)?;
            if bytes > 0 {
                found.push(format!("{shard} ({bytes} bytes)"));
            }
        }
        if found.is_empty() {
            return Ok(());
        }
        Err(Class::Refused
            .error(format!("points are in the WAL only, which cannot be read yet: {}", list(&found)))
            .hint("start influxd and back it up with -host, which flushes the WAL; -ignore-wal leaves these points out")
            .into())
    }
}

/// Serves directories on a bound listener.
///
/// # Errors
///
/// When the directories are not those of an influxd, or an influxd runs on them ([`Class::Refused`]).
pub fn serve(directories: &Directories, listener: TcpListener, log: Box<dyn Log>, options: ServiceOptions) -> Result<Service> {
    refuse_running(&directories.metadir, &directories.datadir)?;
    if let Some(waldir) = directories.waldir.as_ref().filter(|waldir| !waldir.is_dir()) {
        let fault = Class::Usage.error(format!("there is no WAL directory {}", waldir.display()));
        return Err(fault.hint("leave -waldir out where there is none").into());
    }
    let meta = LocalMeta::open(&directories.metadir)?;
    let shards = LocalShards::open(&directories.datadir, directories.watched_wal().as_deref())?;
    Service::open(listener, Box::new(meta), Box::new(shards), log, options).context("starting the service")
}

/// Serves directories to this process alone, for a backup of `selection`.
///
/// # Errors
///
/// Those of [`serve`], and [`Class::Refused`] when points of the selection are in the WAL only.
pub fn serve_embedded(directories: &Directories, selection: &Selection, log: Box<dyn Log>) -> Result<Service> {
    if !selection.meta_only {
        let shards = directories.live_shards(selection)?;
        directories.refuse_foreign(&shards)?;
        directories.refuse_wal(&shards)?;
    }
    let listener = TcpListener::bind(("127.0.0.1", 0)).context("opening a port on the loopback interface")?;
    serve(directories, listener, log, ServiceOptions::default())
}

fn refuse_running(metadir: &Path, datadir: &Path) -> Result<()> {
    match local::open_file_below(&[metadir, datadir]) {
        Some((process, file)) => Err(Class::Refused
            .error(format!("process {process} has {} open", file.display()))
            .hint("an influxd that runs serves its own snapshots: use its port, or stop it first")
            .into()),
        None => Ok(()),
    }
}
