//! `snap copy` as it is typed.

use anyhow::Result;
use clap::Args;

use super::ending::Ending;
use super::flags::values::{self, RateArg};
use super::flags::{GraceArgs, LockArgs, OutputArgs, PolicyArgs};
use super::post_run::{After, AfterArgs};
use super::render::json;
use super::render::messages::copy::{CopySet, CopySummary, tally, unrecorded};
use super::render::output::Output;
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind};
use crate::ops::{CopyOptions, CopyState, SetCopy, copy};
use crate::repository::Location;

/// Copy sets into another directory, or into object storage
///
/// SRC and DST are backup directories or URLs. Sets that DST has already are passed over, and of the
/// others only the files are copied that no set in DST has. Each byte is compared with the record of
/// the set as it passes. A set keeps its id; what it builds on is copied with it.
///
/// Without SET and -keep flags, all sets are copied, oldest first. With -keep flags, those are that
/// `snap forget` with the same flags would keep.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct CopyArgs {
    /// The backup directory to copy from, or its URL
    #[arg(value_name = "SRC", value_parser = values::location())]
    pub(crate) source: Location,
    /// The backup directory to copy into, or its URL; made if absent
    #[arg(value_name = "DST", value_parser = values::location())]
    pub(crate) target: Location,
    /// The sets: ids, beginnings of ids, or latest [default: all]
    #[arg(value_name = "SET")]
    sets: Vec<String>,

    #[command(flatten)]
    keep: PolicyArgs,

    /// Print what would be copied; copy nothing
    #[arg(long, help_heading = "How")]
    dry_run: bool,
    /// How many files to copy at a time
    #[arg(
        long,
        default_value_t = 4,
        value_name = "N",
        value_parser = values::whole_number(1, 64_u8),
        help_heading = "How",
    )]
    jobs: u8,
    /// Bytes per second at the most, as 20MiB
    ///
    /// All files together. 20M is 20 million bytes; none is no limit.
    #[arg(long, default_value = "none", value_name = "RATE", value_parser = values::rate,
          help_heading = "How")]
    limit_rate: RateArg,
    #[command(flatten)]
    lock: LockArgs,
    #[command(flatten)]
    pub(crate) grace: GraceArgs,

    #[command(flatten)]
    after: AfterArgs,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

const EXAMPLES: &str = "\
  snap copy /var/backups/influxdb s3://bucket/influxdb
  snap copy -keep-daily 7 -keep-monthly 12 /var/backups/influxdb /mnt/usb
  snap copy s3://bucket/influxdb /var/backups/restored latest";

impl CopyArgs {
    pub(crate) fn run(&self, cancel: &Cancel, output: &Output) -> Ending {
        self.ensure_consistent()?;
        let (source, target) = (&self.source, &self.target);
        let options = CopyOptions {
            source: source.clone(),
            target: target.clone(),
            sets: self.sets.clone(),
            policy: self.keep.is_given().then(|| self.keep.policy(false)),
            jobs: self.jobs.into(),
            limit_rate: self.limit_rate.0,
            retry_lock: self.lock.retry_lock,
            dry_run: self.dry_run,
        };
        output.opening(&format!("copying sets from {source} into {target}"));
        let mut printed = Ok(());
        let report = output.while_running(cancel, |context| {
            copy(&options, context, &mut |copied| {
                let result = print(copied, output);
                if printed.is_ok() {
                    printed = result;
                }
            })
        })?;
        printed?;
        if let Some(text) = unrecorded(&report.unrecorded) {
            let advice = "copy the whole directory with cp, rsync or rclone";
            match output.is_json() {
                true => output.warning(&text),
                false => output.fault(&text, Some(advice)),
            }
        }
        let summary = CopySummary::new(&report, source, target, self.dry_run);
        output.keep(tally(&report, &summary));
        output.closing(&summary, &summary.line())?;
        let refused = (!report.unrecorded.is_empty()).then_some(ErrorKind::Refused);
        Ok(report.worst.or(refused))
    }

    pub(crate) fn after(&self) -> After<'_> {
        After {
            command: "copy",
            args: &self.after,
            repository: self.target.clone(),
            host: None,
            dry_run: self.dry_run,
        }
    }

    fn ensure_consistent(&self) -> Result<(), Error> {
        match self.keep.is_given() && !self.sets.is_empty() {
            true => Err(ErrorKind::Usage
                .error("SET cannot go with -keep flags")
                .hint("name the sets, or let -keep flags select them")),
            false => Ok(()),
        }
    }
}

/// Prints what became of a set.
fn print(copied: &SetCopy, output: &Output) -> Result<()> {
    let message = CopySet::new(copied);
    if output.is_json() {
        return json::print(&message);
    }
    match &copied.state {
        CopyState::Copied | CopyState::WouldCopy => {
            if let Some(line) = message.line() {
                output.opening(&line);
            }
        }
        CopyState::Present => {}
        CopyState::Removed => output.warning(&format!(
            "set {} was removed before it could be copied",
            copied.id
        )),
        CopyState::Failed { hint, .. } => {
            output.fault(&copied.fault().unwrap_or_default(), hint.as_deref());
        }
    }
    Ok(())
}
