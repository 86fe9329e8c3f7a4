//! The flags that name the directories of a stopped influxd, common to the commands that read them.

use std::path::PathBuf;

use clap::Args;

use crate::ops::Directories;

/// The directories of a stopped influxd.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct DirectoriesArgs {
    /// Of a stopped influxd, its meta directory
    ///
    /// With -metadir and -datadir, a stopped influxd is read, in place of any other source.
    #[arg(long, value_name = "DIR", requires = "datadir")]
    metadir: Option<PathBuf>,
    /// Of a stopped influxd, its data directory
    #[arg(long, value_name = "DIR", requires = "metadir")]
    datadir: Option<PathBuf>,
    /// Its WAL directory [default: wal beside -datadir]
    ///
    /// What only the WAL holds is read too.
    #[arg(long, value_name = "DIR", requires = "datadir", hide_short_help = true)]
    waldir: Option<PathBuf>,
}

impl DirectoriesArgs {
    /// The directories, if they were named; with their WAL.
    pub(crate) fn named(&self) -> Option<Directories> {
        Some(Directories {
            metadir: self.metadir.clone()?,
            datadir: self.datadir.clone()?,
            waldir: self.waldir.clone(),
            ignore_wal: false,
        })
    }
}
