//! `snap keep` as it is typed.

use std::time::Duration;

use clap::Args;

use super::ending::Ending;
use super::flags::OutputArgs;
use super::flags::values::{self, MayBeEmpty, may_be_empty};
use super::render::messages::keep::KeepSummary;
use super::render::output::Output;
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind};
use crate::ops::{PinChange, keep};
use crate::repository::{Location, Pin};

/// Keep a set: snap forget never removes it
///
/// The sets that it builds on stay with it. `snap list` and `snap info` show which sets are kept,
/// and why. A set is kept until -release.
#[derive(Debug, Args)]
#[command(allow_missing_positional = true, after_help = EXAMPLES)]
pub(crate) struct KeepArgs {
    /// The backup directory, or its URL [default: $SNAP_DIR, else ./backup]
    #[arg(value_name = "PATH", value_parser = values::location())]
    pub(crate) path: Option<Location>,
    /// The set: an id, the beginning of one, or latest
    #[arg(value_name = "SET", required = true)]
    set: String,

    /// Why it is kept, for snap list and snap info; "" removes the note
    #[arg(long, value_name = "TEXT", value_parser = may_be_empty(), conflicts_with = "release")]
    note: Option<MayBeEmpty>,
    /// Keep the set no longer
    #[arg(long)]
    release: bool,
    /// How long to wait for another run in PATH to end
    #[arg(long, default_value = "0", value_name = "DURATION", value_parser = values::wait)]
    retry_lock: Duration,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

const EXAMPLES: &str = "\
  snap keep -note 'before the upgrade to 1.8' /var/backups/influxdb latest
  snap keep -release /var/backups/influxdb 20261120T0800    when it went well";

/// A note that can be stored, and fits its file.
fn note(MayBeEmpty(text): &MayBeEmpty) -> Result<String, Error> {
    let usage = |fault: String| ErrorKind::Usage.error(format!("the note of -note {fault}"));
    let text = text.to_str();
    let text = text.ok_or_else(|| usage("is not UTF-8".to_owned()))?;
    match text.len() {
        0..=Pin::LONGEST_NOTE => Ok(text.to_owned()),
        length => {
            let most = Pin::LONGEST_NOTE;
            Err(usage(format!(
                "has {length} bytes; it may have at most {most}"
            )))
        }
    }
}

impl KeepArgs {
    pub(crate) fn run(&self, cancel: &Cancel, output: &Output) -> Ending {
        let repository = values::repository(self.path.as_ref());
        let change = match self.release {
            true => PinChange::Unpin,
            false => PinChange::Pin {
                note: self.note.as_ref().map(note).transpose()?,
            },
        };
        let kept = output.while_running(cancel, |context| {
            keep(&repository, &self.set, &change, self.retry_lock, context)
        })?;
        let summary = KeepSummary::new(&kept, &repository);
        output.closing(&summary, &summary.line())?;
        Ok(None)
    }
}
