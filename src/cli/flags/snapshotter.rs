//! The flag of the server that backup reads and restore writes, common to both.

use clap::Args;

use super::values;
use crate::client::Address;

/// What -host means to each command: in short, and what is to be known beside it.
const HOST: [[&str; 2]; 2] = [
    [
        "Where influxd's snapshotter listens",
        "HOST:PORT, or HOST for port 8088: bind-address at the top of influxdb.conf.",
    ],
    [
        "The snapshotter of the running server",
        "Without -online, it is asked whether an influxd runs on the target.",
    ],
];

/// The places of the commands in these texts.
pub(crate) const BACKUP: usize = 0;
pub(crate) const RESTORE: usize = 1;

/// Where the snapshotter is, for the command in that place. Each has the flag below a heading of its
/// own.
#[derive(Debug, Args)]
pub(crate) struct SnapshotterArgs<const COMMAND: usize> {
    #[arg(
        long,
        help = HOST[COMMAND][0],
        long_help = HOST[COMMAND].join("\n\n"),
        env = "SNAP_HOST",
        hide_env_values = true,
        default_value = "127.0.0.1:8088",
        value_name = "HOST",
        value_parser = values::address,
    )]
    pub(crate) host: Address,
}
