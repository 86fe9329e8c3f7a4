//! `snap keep` as it is typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;

use super::ending::Ending;
use super::flags::OutputArgs;
use super::flags::values;
use super::render::json;
use super::render::messages::keep::KeepSummary;
use super::render::output::Output;
use crate::cancel::Cancel;
use crate::ops::keep;

/// Mark a set so that forget never removes it
///
/// What the set builds on stays with it. `snap list` and `snap info` show the mark. It lasts until
/// it is taken off.
#[derive(Debug, Args)]
#[command(allow_missing_positional = true, after_help = EXAMPLES)]
pub(crate) struct KeepArgs {
    /// The backup directory [default: $SNAP_DIR, else ./backup]
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,
    /// The set: an id, the beginning of one, or latest
    #[arg(value_name = "SET", required = true)]
    set: String,

    /// Take the mark off
    #[arg(long)]
    release: bool,
    /// How long to wait for another run in PATH to end
    #[arg(long, default_value = "0", value_name = "DURATION", value_parser = values::wait)]
    retry_lock: Duration,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

const EXAMPLES: &str = "\
  snap keep /var/backups/influxdb latest                   before an upgrade
  snap keep -release /var/backups/influxdb 20261120T0800   when it went well";

impl KeepArgs {
    pub(crate) fn run(&self, cancel: &Cancel, output: &Output) -> Ending {
        let directory = values::directory(self.path.as_ref());
        let marked = output.while_running(cancel, |context| {
            keep(
                &directory,
                &self.set,
                self.release,
                self.retry_lock,
                context,
            )
        })?;
        let summary = KeepSummary::new(&marked, &directory);
        if output.is_json() {
            json::print(&summary)?;
        } else {
            output.closing(&summary.line())?;
        }
        Ok(None)
    }
}
