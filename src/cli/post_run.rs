//! What goes before a run and follows it, however it ended: the commands that were asked for, and
//! the metrics.

use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};

use clap::Args;
use jiff::Timestamp;

use super::ending::{Ending, exit_code};
use super::flags::values::{self, MayBeEmpty, may_be_empty};
use super::hook;
use super::render::Tally;
use super::render::metrics::{self, MetricsRun};
use super::render::output::Output;
use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, told};
use crate::repository::Location;

/// The variable that a hook always has.
const INSIDE: &str = "SNAP_COMMAND";

/// How many sets a hook is told of: the environment has no room for any number.
const NAMED: usize = 4096;

/// How many characters of what is wrong a hook is told.
const LONGEST_ERROR: usize = 8192;

/// The flags for what goes before a run and follows it.
#[derive(Debug, Args)]
#[command(next_help_heading = "Before and after the run")]
pub(crate) struct AfterArgs {
    /// Write metrics of the run to this file
    ///
    /// For the textfile collector of Prometheus.
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    metrics_file: Option<PathBuf>,
    /// Run this with sh before the run
    ///
    /// If it fails, the run does not start: exit code 1.
    #[arg(long, value_name = "COMMAND", value_parser = may_be_empty(), hide_short_help = true)]
    on_start: Option<MayBeEmpty>,
    /// Run this with sh if all went well
    ///
    /// Exit code 1 if it fails.
    #[arg(long, value_name = "COMMAND", value_parser = may_be_empty(), hide_short_help = true)]
    on_success: Option<MayBeEmpty>,
    /// Run this with sh if anything failed, is missing or is wrong
    #[arg(long, value_name = "COMMAND", value_parser = may_be_empty(), hide_short_help = true)]
    on_failure: Option<MayBeEmpty>,
    /// Stop each of these commands after this time
    ///
    /// It counts as failed then.
    #[arg(
        long,
        default_value = "12h",
        value_name = "DURATION",
        value_parser = values::duration,
        hide_short_help = true
    )]
    hook_timeout: Duration,
}

/// What is known of a run before it begins.
#[derive(Debug)]
pub(crate) struct After<'a> {
    /// `backup`, `restore`, …
    pub(crate) command: &'static str,
    pub(crate) args: &'a AfterArgs,
    pub(crate) repository: Location,
    /// The server, where one is asked.
    pub(crate) host: Option<String>,
    /// Whether nothing is changed: then nothing follows.
    pub(crate) dry_run: bool,
}

impl After<'_> {
    /// Runs the command and what follows it.
    pub(crate) fn run(
        &self,
        output: &Output,
        cancel: &Cancel,
        profile: Option<&str>,
        command: impl FnOnce() -> Ending,
    ) -> Ending {
        if self.dry_run {
            return command();
        }
        let before = self.on_start(cancel);
        let started = Instant::now();
        let ending = match before {
            Ok(()) => command(),
            Err(error) => Err(error.into()),
        };
        let (elapsed, ended) = (started.elapsed(), Timestamp::now());
        let tally = output.tally();
        let (well, code) = (matches!(ending, Ok(None)), exit_code(&ending));
        let mut run = MetricsRun {
            command: self.command,
            profile,
            went_well: well,
            exit_code: code,
            ended,
            elapsed,
            tally: &tally,
        };
        // Before the hook: that may hang, be stopped, or send the file on.
        self.write(&run, output);
        let ending = self.hook(&tally, ending, output, cancel);
        run.exit_code = exit_code(&ending);
        if run.exit_code != code {
            self.write(&run, output);
        }
        ending
    }

    fn write(&self, run: &MetricsRun<'_>, output: &Output) {
        let Some(file) = &self.args.metrics_file else {
            return;
        };
        if let Err(error) = metrics::write(file, run) {
            output.warning(&format!(
                "the metrics of this run are not written: {}",
                told(&error)
            ));
        }
    }

    /// Runs the command that was asked for before the run.
    fn on_start(&self, cancel: &Cancel) -> Result<(), Error> {
        let Some(shell) = self.shell(self.args.on_start.as_ref()) else {
            return Ok(());
        };
        // Where a stop was asked for already, nothing is to begin.
        cancel.check()?;
        let ran = hook::run(shell, self.args.hook_timeout, cancel);
        ran.map_err(|why| {
            kind_after(cancel).error(format!(
                "the command of -on-start {why}; snap {} did not begin",
                self.command
            ))
        })
    }

    /// Runs the command that was asked for after such an ending; how all ended.
    fn hook(&self, tally: &Tally, ending: Ending, output: &Output, cancel: &Cancel) -> Ending {
        let is_well = matches!(ending, Ok(None));
        let (flag, command) = match is_well {
            true => ("-on-success", &self.args.on_success),
            false => ("-on-failure", &self.args.on_failure),
        };
        let Some(mut shell) = self.shell(command.as_ref()) else {
            return ending;
        };
        tell(&mut shell, tally, &ending);
        let Err(why) = hook::run(shell, self.args.hook_timeout, cancel) else {
            return ending;
        };
        if !is_well {
            output.warning(&format!("the command of {flag} {why}"));
            return ending;
        }
        let done = match self.command {
            "backup" | "restore" => format!("the {} is done and whole", self.command),
            command => format!("snap {command} went well"),
        };
        let error = kind_after(cancel).error(format!("{done}, but the command of {flag} {why}"));
        Err(error.into())
    }

    /// The shell for a command, with what is known before the run in its environment; none where no
    /// command is to be run.
    fn shell(&self, command: Option<&MayBeEmpty>) -> Option<Command> {
        let MayBeEmpty(command) = command?;
        // A hook that runs snap would run itself again and again, where it stands in the
        // environment or the configuration.
        if std::env::var_os(INSIDE).is_some() {
            return None;
        }
        let mut shell = Command::new("sh");
        shell
            .arg("-c")
            .arg(command)
            .env(INSIDE, self.command)
            .env("SNAP_DIRECTORY", self.repository.as_os_str());
        match &self.host {
            Some(host) => shell.env("SNAP_HOST", host),
            None => shell.env_remove("SNAP_HOST"),
        };
        for of_the_end in ["SNAP_SET", "SNAP_EXIT_CODE", "SNAP_ERROR", "SNAP_REMOVED"] {
            shell.env_remove(of_the_end);
        }
        Some(shell)
    }
}

/// Tells a command what came of the run.
fn tell(shell: &mut Command, tally: &Tally, ending: &Ending) {
    let wrong = match ending {
        Ok(_) => tally.wrong.join("; "),
        Err(error) => told(error),
    };
    shell
        .env("SNAP_SET", tally.set.as_deref().unwrap_or_default())
        .env("SNAP_EXIT_CODE", exit_code(ending).to_string())
        .env("SNAP_ERROR", shortened(&wrong));
    if let Some(sets) = &tally.removed {
        let removed = sets[..sets.len().min(NAMED)].join(" ");
        shell.env("SNAP_REMOVED", removed);
    }
}

/// The kind of a command's failure: that of the stop that was asked for, if one was.
fn kind_after(cancel: &Cancel) -> ErrorKind {
    cancel
        .check()
        .map_or_else(|error| error.kind, |()| ErrorKind::Failed)
}

/// A text that stays in its line and fits into a variable: names come from elsewhere, and the
/// environment has no room for more than 128 KiB in one variable, nor for a NUL.
fn shortened(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(LONGEST_ERROR)
        .collect()
}
