//! The flag that says how long to wait for the lock of a backup directory.

use std::time::Duration;

use clap::Args;

use super::values;

/// How to deal with another run in the same directory.
#[derive(Debug, Args)]
pub(crate) struct LockArgs {
    /// How long to wait for another run in PATH to end
    #[arg(
        long,
        default_value = "0",
        value_name = "DURATION",
        value_parser = values::wait,
        help_heading = "How", hide_short_help = true)]
    pub(crate) retry_lock: Duration,
}
