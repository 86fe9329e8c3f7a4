//! The flags that name an influxd in place of a backup, running or stopped, common to the commands that
//! read either.

use clap::Args;

use super::source::SourceArg;
use super::{DirectoriesArgs, values};
use crate::client::Address;
use crate::repository::Location;

/// What -host means to each command: in short, and what is to be known beside it.
const HOST: [[&str; 2]; 3] = [
    [
        "Count what the server at this address has, in place of a backup",
        "Its shards are streamed.",
    ],
    [
        "Export from the server at this address, in place of a backup",
        "Its shards are unpacked into TMPDIR, which needs room for two.",
    ],
    [
        "B is the running server at this address",
        "Its shards are unpacked into TMPDIR, which needs room for two. influxd://HOST as B is the same.",
    ],
];

/// The places of the commands in these texts.
pub(crate) const STATS: usize = 0;
pub(crate) const EXPORT: usize = 1;
pub(crate) const DIFF: usize = 2;

/// An influxd in place of a backup, of the command in that place.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct InfluxdArgs<const COMMAND: usize> {
    #[arg(
        long,
        help = HOST[COMMAND][0],
        long_help = HOST[COMMAND].join("\n\n"),
        value_name = "HOST",
        value_parser = values::address,
        conflicts_with = "datadir",
    )]
    host: Option<Address>,
    #[command(flatten)]
    directories: DirectoriesArgs,
}

impl<const COMMAND: usize> InfluxdArgs<COMMAND> {
    /// The influxd, if one is named.
    pub(crate) fn named(&self) -> Option<SourceArg> {
        let host = self.host.clone().map(SourceArg::Server);
        host.or_else(|| self.directories.named().map(SourceArg::Directories))
    }

    /// The influxd, or else a set in `path`.
    pub(crate) fn or_set(&self, path: Option<&Location>, set: Option<&str>) -> SourceArg {
        self.named().unwrap_or_else(|| SourceArg::Set {
            repository: values::repository(path),
            set: set.map(str::to_owned),
        })
    }
}
