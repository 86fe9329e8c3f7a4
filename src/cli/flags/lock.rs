//! How a run gets along with others in the same repository: it waits for a lock, or, where there is
//! none, for a period of grace.

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

/// How to deal with other runs where there is no lock.
#[derive(Debug, Args)]
pub(crate) struct GraceArgs {
    /// In object storage, how long files of no set stay
    ///
    /// There is no lock there, so another run may be about to share a file that no set names. What
    /// forget removes, and what a killed run left, goes only when it is as old as D: longer than
    /// any backup takes. With 0 it goes at once: only while no other run is active. A directory has
    /// a lock, and there D changes nothing.
    #[arg(
        long,
        default_value = "24h",
        value_name = "D",
        value_parser = values::wait,
        help_heading = "How", hide_short_help = true)]
    pub(crate) grace: Duration,
}
