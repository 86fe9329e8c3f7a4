//! The flags that name an influxd in place of a backup, running or stopped, common to the commands that
//! read either.

use clap::Args;

use super::{DirectoriesArgs, values};
use crate::client::Address;

/// An influxd in place of a backup.
#[derive(Debug, Args)]
#[command(next_help_heading = "Server")]
pub(crate) struct InfluxdArgs {
    /// Read the server at this address, in place of a backup
    ///
    /// stats streams its shards. export and diff unpack each into TMPDIR, which needs room for two.
    /// For diff, it is B.
    #[arg(
        long,
        value_name = "HOST",
        value_parser = values::address,
        conflicts_with = "datadir",
    )]
    pub(crate) host: Option<Address>,
    #[command(flatten)]
    pub(crate) directories: DirectoriesArgs,
}
