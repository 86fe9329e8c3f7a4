//! `snap verify` as it is typed.

use std::path::PathBuf;

use anyhow::Context;
use clap::Args;
use serde_json::json;

use super::flags::values;
use super::post_run::{After, AfterArgs};
use super::render::json;
use super::render::output::{Output, Tally, bytes, plural, seconds};
use super::render::terminal::print_line;
use super::{Ending, OutputArgs};
use crate::cancel::Cancel;
use crate::error::ErrorKind;
use crate::ops::{Finding, SetFault, SetGap, VerifyOptions, VerifyReport, name_list, verify};

/// Read sets end to end and report damage
///
/// Every file is read: framing, gzip, SHA-256 against the record, and of each TSM file the envelope and the index. With -deep,
/// every block is unpacked too: CRC-32, times in order, what the index says of it, and whether its points belong to the shard's
/// time. Sets of influxd, which have no record, are verified by what is in their files. Exit code 4 where a fault is found; 3 where a
/// set is sound but cannot be restored whole: it is partial, or lacks a set that it goes on from.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES, after_long_help = EXAMPLES)]
pub struct VerifyArgs {
    /// The backup directory [default: $SNAP_DIR, else ./backup]
    #[arg(value_name = "PATH")]
    path: Option<PathBuf>,
    /// The set: its id, the beginning of it, or latest [default: all sets]
    #[arg(value_name = "SET")]
    set: Option<String>,

    /// Look at every block of every TSM file
    #[arg(long)]
    deep: bool,
    /// How many files to read at a time
    #[arg(long, default_value_t = 2, value_name = "N", value_parser = clap::value_parser!(u8).range(1..=64))]
    jobs: u8,

    #[command(flatten)]
    after: AfterArgs,

    #[command(flatten)]
    pub(super) output: OutputArgs,
}

/// How many faults a hook is told of.
const NAMED: usize = 10;

const EXAMPLES: &str = "\
Examples:
  snap verify /var/backups/influxdb               all sets, as fast as the disk
  snap verify -deep /var/backups/influxdb latest  every point of the newest";

impl VerifyArgs {
    /// Runs the command.
    pub fn run(&self, cancel: &Cancel, output: &Output) -> Ending {
        let directory = values::directory(self.path.as_ref());
        let how = if self.deep { "every block of " } else { "" };
        output.opening(&format!("verifying {how}{}", directory.display()));
        let options = VerifyOptions {
            directory: directory.clone(),
            set: self.set.clone(),
            deep: self.deep,
            jobs: self.jobs.into(),
        };
        let mut told = Ok(());
        let mut wrong = Vec::new();
        let report = output.while_running(|progress| {
            verify(&options, cancel, progress, &mut |finding| {
                let line = match finding {
                    Finding::Fault(fault) => described(fault),
                    Finding::Gap(gap) => described_gap(gap),
                };
                // Findings are printed always: what is quiet says errors still.
                let telling = match (self.output.json, finding) {
                    (true, Finding::Fault(fault)) => json::document("fault", fault),
                    (true, Finding::Gap(gap)) => json::document("gap", gap),
                    (false, _) => print_line(&line).map_err(Into::into),
                };
                if wrong.len() < NAMED {
                    wrong.push(line);
                }
                told = std::mem::replace(&mut told, Ok(())).and(telling);
            })
        })?;
        let more = (report.faults + report.gaps).saturating_sub(wrong.len() as u64);
        wrong.extend((more > 0).then(|| format!("and {more} more")));
        output.keep(Tally {
            set: report.set.clone(),
            bytes: Some(report.bytes),
            shards: vec![("read", report.shards)],
            wrong,
            faults: Some(report.faults + report.gaps),
            ..Tally::default()
        });
        for id in &report.removed {
            output.warning(&format!("set {id} was removed while others were read"));
        }
        told.context("writing to standard output")?;
        if self.output.json {
            json::document(
                "summary",
                &summary(&report, &directory.display().to_string()),
            )?;
        } else if !output.is_quiet() {
            print_line(&line(&report)).context("writing to standard output")?;
        }
        Ok(match (report.faults, report.gaps) {
            (0, 0) => None,
            (0, _) => Some(ErrorKind::Partial),
            _ => Some(ErrorKind::Damage),
        })
    }

    /// What follows the run.
    pub fn after(&self) -> After<'_> {
        let directory = values::directory(self.path.as_ref());
        After {
            command: "verify",
            args: &self.after,
            directory,
            host: None,
            dry_run: false,
        }
    }
}

/// A fault in one line.
fn described(found: &SetFault) -> String {
    let SetFault {
        set,
        file,
        shard,
        fault,
    } = found;
    let member = fault
        .member
        .as_ref()
        .map(|member| format!(": {member}"))
        .unwrap_or_default();
    let offset = fault
        .offset
        .map(|offset| format!(" at offset {offset}"))
        .unwrap_or_default();
    let shard = shard
        .as_ref()
        .map(|shard| format!(" (shard {shard})"))
        .unwrap_or_default();
    format!(
        "set {set}: {file}{shard}{member}{offset}: {}; {}",
        fault.message, fault.means
    )
}

/// A gap in one line.
fn described_gap(gap: &SetGap) -> String {
    let shards = match gap.shards.len() {
        0 => String::new(),
        1 => format!("shard {}: ", gap.shards[0]),
        _ => format!("shards {}: ", name_list(&gap.shards)),
    };
    format!("set {}: {shards}{}; {}", gap.set, gap.message, gap.means)
}

fn line(report: &VerifyReport) -> String {
    let faults = match (report.faults, report.gaps) {
        (0, 0) => "no fault".to_owned(),
        (0, gaps) => format!("no fault, {}", plural(gaps as usize, "gap")),
        (faults, 0) => plural(faults as usize, "fault"),
        (faults, gaps) => format!(
            "{}, {}",
            plural(faults as usize, "fault"),
            plural(gaps as usize, "gap")
        ),
    };
    let points = report
        .points
        .map(|points| format!(", {points} points"))
        .unwrap_or_default();
    format!(
        "{faults} in {}: {}, {}{points}, {} in {}",
        plural(report.sets, "set"),
        plural(report.shards, "shard file"),
        plural(report.tsm_files as usize, "TSM file"),
        bytes(report.bytes),
        seconds(report.elapsed)
    )
}

fn summary(report: &VerifyReport, directory: &str) -> serde_json::Value {
    json!({
        "command": "verify",
        "directory": directory,
        "sets": report.sets,
        "shards": report.shards,
        "tsm_files": report.tsm_files,
        "bytes": report.bytes,
        "points": report.points,
        "faults": report.faults,
        "removed": report.removed,
        "gaps": report.gaps,
        "seconds": report.elapsed.as_secs_f64(),
    })
}
