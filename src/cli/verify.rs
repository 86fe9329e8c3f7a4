//! `snap verify` as it is typed.

use std::path::PathBuf;

use anyhow::Result;
use clap::Args;

use super::ending::Ending;
use super::flags::OutputArgs;
use super::flags::values;
use super::post_run::{After, AfterArgs};
use super::render::Tally;
use super::render::differences::print_differences;
use super::render::json;
use super::render::messages::trial::TrialResult;
use super::render::messages::verify::{
    VerifySummary, fault_block, fault_line, gap_block, gap_line,
};
use super::render::output::Output;
use super::render::width::columns;
use crate::cancel::Cancel;
use crate::error::ErrorKind;
use crate::ops::{Finding, Trial, TrialOptions, TrialReport, VerifyOptions, verify};
use crate::repository::Location;

/// Read sets from end to end and report damage
///
/// Every file is read: its framing, its gzip, the digest in the record, and the envelope and the
/// index of each TSM file. With -deep, every block is unpacked too: its CRC-32, the order of its
/// times, what the index says of it, and whether its points belong to the time of the shard. Sets
/// by influxd, which have no record, are verified by what is in their files.
///
/// With -restore, the set is then restored into a temporary directory, and compared with what was
/// restored, point by point.
///
/// The exit code is 4 if damage is found. It is 3 if a set is sound but cannot be restored whole:
/// it is partial, a set that it builds on is missing, or what was restored is different.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct VerifyArgs {
    /// The backup directory, or its URL [default: $SNAP_DIR, else ./backup]
    #[arg(value_name = "PATH", value_parser = values::location())]
    pub(crate) path: Option<Location>,
    /// The set: an id, the beginning of one, or latest [default: all sets]
    #[arg(value_name = "SET")]
    set: Option<String>,

    /// Unpack every block of every TSM file
    #[arg(long)]
    deep: bool,
    /// Restore the set, and compare it with what was restored
    ///
    /// Offline, into a directory in TMPDIR, which has to have room for the set and is removed
    /// afterwards. Then every point is compared. Without SET it is the newest set.
    #[arg(long)]
    restore: bool,
    /// With -restore, start this influxd on what was restored, and compare what it sends
    ///
    /// A path, or a name to be found in PATH. It listens on a free port of 127.0.0.1, and is stopped
    /// afterwards.
    #[arg(long, value_name = "PROGRAM", requires = "restore")]
    influxd: Option<PathBuf>,
    /// How many files to read at a time
    #[arg(
        long,
        default_value_t = 2,
        value_name = "N",
        value_parser = values::whole_number(1, 64_u8),
    )]
    jobs: u8,

    #[command(flatten)]
    after: AfterArgs,

    #[command(flatten)]
    pub(crate) output: OutputArgs,
}

/// How many faults a hook is told of.
const NAMED: usize = 10;

const EXAMPLES: &str = "\
  snap verify /var/backups/influxdb                all sets
  snap verify -deep /var/backups/influxdb latest   every point of the newest
  snap verify -restore -influxd influxd /var/backups/influxdb latest";

impl VerifyArgs {
    pub(crate) fn run(&self, cancel: &Cancel, output: &Output) -> Ending {
        let repository = values::repository(self.path.as_ref());
        let how = if self.deep { "every block of " } else { "" };
        output.opening(&format!("verifying {how}{repository}"));
        let options = VerifyOptions {
            repository: repository.clone(),
            set: self.set.clone(),
            deep: self.deep,
            jobs: self.jobs.into(),
        };
        let trial_options = TrialOptions {
            repository: repository.clone(),
            set: self.set.clone(),
            influxd: self.influxd.clone(),
            jobs: self.jobs.into(),
        };
        let trial = self.restore.then_some(&trial_options);
        let trial = trial
            .map(|options| output.while_running(cancel, |context| Trial::prepare(options, context)))
            .transpose()?;
        let mut findings = Findings::default();
        let report = output.while_running(cancel, |context| {
            verify(&options, context, &mut |finding| {
                findings.add(finding, output);
            })
        })?;
        let tried = trial
            .map(|trial| output.while_running(cancel, |context| trial.run(context)))
            .transpose()?;
        let influxd = self.influxd.as_ref().map(|path| path.display().to_string());
        let trial = tried.as_ref().map(|tried| TrialResult::new(tried, influxd));
        let found = report.faults + report.gaps;
        let mut wrong = findings.named_of(found);
        let not_same = trial.iter().filter(|trial| trial.kind.is_some());
        wrong.extend(not_same.map(TrialResult::line));
        output.keep(Tally {
            set: report.set.as_ref().map(|set| set.to_string()),
            bytes: Some(report.bytes),
            shards: vec![("read", report.shards)],
            wrong,
            faults: Some(found),
            ..Tally::default()
        });
        for id in &report.removed {
            output.warning(&format!("set {id} was removed while others were read"));
        }
        findings.printed?;
        if let (Some(tried), Some(trial)) = (&tried, &trial) {
            self.print_trial(tried, trial, output)?;
        }
        let summary = VerifySummary::new(&report, &repository, trial.as_ref());
        output.closing(&summary, &summary.line())?;
        let of_trial = trial.and_then(|trial| trial.kind);
        Ok(match (report.faults, report.gaps) {
            (0, 0) => of_trial,
            (0, _) => of_trial.or(Some(ErrorKind::Partial)),
            _ => Some(ErrorKind::Damage),
        })
    }

    /// Prints what came of -restore. What is missing or different is printed with -quiet too.
    fn print_trial(
        &self,
        tried: &TrialReport,
        trial: &TrialResult<'_>,
        output: &Output,
    ) -> Result<()> {
        let comparison = tried.comparison.as_ref();
        if output.is_json() {
            if let Some(compared) = comparison {
                compared.policies.iter().try_for_each(json::print)?;
                let differ = compared.measurements.iter().filter(|of| !of.same);
                differ.into_iter().try_for_each(json::print)?;
            }
            return json::print(trial);
        }
        if trial.kind.is_none() {
            return match output.is_quiet() {
                true => Ok(()),
                false => output.line(&trial.line()),
            };
        }
        if comparison.is_some() {
            for missing in trial.missing() {
                output.line(&format!("not restored or not compared: {missing}"))?;
            }
        }
        if let Some(compared) = comparison.filter(|compared| compared.is_different()) {
            output.line("A: the set")?;
            output.line("B: what was restored")?;
            print_differences(compared, self.output.is_verbose(), output)?;
        }
        output.line(&trial.line())
    }

    pub(crate) fn after(&self) -> After<'_> {
        let repository = values::repository(self.path.as_ref());
        After {
            command: "verify",
            args: &self.after,
            repository,
            host: None,
            dry_run: false,
        }
    }
}

/// What was found so far.
struct Findings {
    /// The first of them, a line each.
    named: Vec<String>,
    /// Whether all could be printed.
    printed: Result<()>,
}

impl Default for Findings {
    fn default() -> Self {
        Self {
            named: Vec::new(),
            printed: Ok(()),
        }
    }
}

impl Findings {
    /// Prints a finding, -quiet or not: it is an error.
    fn add(&mut self, finding: Finding<'_>, output: &Output) {
        let (line, printed) = match finding {
            Finding::Fault(fault) => (
                fault_line(fault),
                match output.is_json() {
                    true => json::print(fault),
                    false => output.lines(&fault_block(fault, columns())),
                },
            ),
            Finding::Gap(gap) => (
                gap_line(gap),
                match output.is_json() {
                    true => json::print(gap),
                    false => output.lines(&gap_block(gap, columns())),
                },
            ),
        };
        if self.printed.is_ok() {
            self.printed = printed;
        }
        if self.named.len() < NAMED {
            self.named.push(line);
        }
    }

    /// The first of all that was found, and how many more there are.
    fn named_of(&mut self, found: u64) -> Vec<String> {
        let mut named = std::mem::take(&mut self.named);
        let more = found.saturating_sub(named.len() as u64);
        named.extend((more > 0).then(|| format!("and {more} more")));
        named
    }
}
