//! `snap keep` as it is typed.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use serde_json::json;

use super::flags::values;
use super::render::json;
use super::render::output::Output;
use super::{Ending, OutputArgs};
use crate::cancel::Cancel;
use crate::ops::keep;

/// Mark a set as one that snap forget never removes
///
/// What the set stands on stays with it. The mark is shown by snap list and snap info, and lasts until it is taken off.
#[derive(Debug, Args)]
#[command(allow_missing_positional = true, after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub struct KeepArgs {
    /// The backup directory [default: $SNAP_DIR, else ./backup]
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,
    /// The set: its id, the beginning of it, or latest
    #[arg(value_name = "SET", required = true)]
    set: String,

    /// Take the mark off
    #[arg(long)]
    release: bool,
    /// How long to wait for another run in the same directory to end
    #[arg(long, default_value = "0", value_name = "DURATION", value_parser = values::wait)]
    retry_lock: Duration,

    #[command(flatten)]
    pub(super) output: OutputArgs,
}

const EXAMPLES: &str = "\
Examples:
  snap keep /var/backups/influxdb latest                    before an upgrade, say
  snap keep -release /var/backups/influxdb 20261120T0800    and when it went well";

impl KeepArgs {
    /// Runs the command.
    pub fn run(&self, cancel: &Cancel, output: &Output) -> Ending {
        let directory = values::directory(self.path.as_ref());
        let marked = keep(&directory, &self.set, self.release, self.retry_lock, cancel)?;
        let id = &marked.id;
        if self.output.json {
            let (command, directory) = ("keep", directory.display().to_string());
            let (kept, changed) = (marked.kept, marked.changed);
            let summary = json!({ "command": command, "directory": directory, "set": id, "kept": kept, "changed": changed });
            json::document("summary", &summary)?;
            return Ok(None);
        }
        let what = match (marked.unrecorded, marked.kept.is_some(), marked.changed) {
            (true, ..) => "is influxd's, and never removed: it needs no mark",
            (_, true, true) => "is marked: snap forget keeps it",
            (_, true, false) => "was marked before",
            (_, false, true) => "is marked no longer",
            (_, false, false) => "was not marked",
        };
        output.closing(&format!("set {id} in {} {what}", directory.display()))?;
        Ok(None)
    }
}
