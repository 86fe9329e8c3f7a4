//! What follows a run, however it ended: the commands that were asked for, and the metrics.

use std::ffi::OsStr;
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::Args;
use jiff::Timestamp;
use rustix::process::{Pid, Signal, kill_process_group};

use super::ending::{Ending, exit_code};
use super::flags::values::{MayBeEmpty, may_be_empty};
use super::render::Tally;
use super::render::metrics::{self, MetricsRun};
use super::render::output::Output;
use crate::cancel::Cancel;
use crate::error::ErrorKind;

/// How often a hook is looked at.
const POLL: Duration = Duration::from_millis(20);

/// How long a hook may take that follows a run which was stopped: somebody waits for the end.
const AFTER_STOP: Duration = Duration::from_secs(60);

/// How long a hook may take to end once it was asked to.
const GRACE: Duration = Duration::from_secs(5);

/// The variable that a hook always has.
const INSIDE: &str = "SNAP_COMMAND";

/// How many sets a hook is told of: the environment has no room for any number.
const NAMED: usize = 4096;

/// How many characters of what is wrong a hook is told.
const LONGEST_ERROR: usize = 8192;

/// The flags for what follows a run.
#[derive(Debug, Args)]
#[command(next_help_heading = "After the run")]
pub(crate) struct AfterArgs {
    /// Write metrics of the run to this file
    ///
    /// For the textfile collector of Prometheus.
    #[arg(long, value_name = "FILE", hide_short_help = true)]
    metrics_file: Option<PathBuf>,
    /// Run this with sh if all went well
    ///
    /// Exit code 1 if it fails.
    #[arg(long, value_name = "COMMAND", value_parser = may_be_empty(), hide_short_help = true)]
    on_success: Option<MayBeEmpty>,
    /// Run this with sh if anything failed, is missing or is wrong
    #[arg(long, value_name = "COMMAND", value_parser = may_be_empty(), hide_short_help = true)]
    on_failure: Option<MayBeEmpty>,
}

/// What is known of a run before it begins.
#[derive(Debug)]
pub(crate) struct After<'a> {
    /// `backup`, `restore`, …
    pub(crate) command: &'static str,
    pub(crate) args: &'a AfterArgs,
    pub(crate) directory: PathBuf,
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
        let started = Instant::now();
        let ending = command();
        if self.dry_run {
            return ending;
        }
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
            output.failure(&format!(
                "the metrics of this run are not written: {error:#}"
            ));
        }
    }

    /// Runs the command that was asked for after such an ending; how all ended.
    fn hook(&self, tally: &Tally, ending: Ending, output: &Output, cancel: &Cancel) -> Ending {
        let is_well = matches!(ending, Ok(None));
        let (flag, command) = match is_well {
            true => ("-on-success", &self.args.on_success),
            false => ("-on-failure", &self.args.on_failure),
        };
        let Some(MayBeEmpty(command)) = command else {
            return ending;
        };
        // A hook that runs snap would run itself again and again, where it stands in the
        // environment or the configuration.
        if std::env::var_os(INSIDE).is_some() {
            return ending;
        }
        let mut shell = self.shell(command, tally, &ending);
        let failure = match shell.spawn().and_then(|child| wait(child, cancel)) {
            Ok(status) if status.success() => return ending,
            Ok(status) => status.to_string(),
            Err(error) => error.to_string(),
        };
        if !is_well {
            output.failure(&format!("the command of {flag} failed too: {failure}"));
            return ending;
        }
        let kind = cancel
            .check()
            .map_or_else(|error| error.kind, |()| ErrorKind::Failed);
        let done = match self.command {
            "backup" | "restore" => format!("the {} is done and whole", self.command),
            command => format!("snap {command} went well"),
        };
        Err(kind
            .error(format!(
                "{done}, but the command of {flag} failed: {failure}"
            ))
            .into())
    }

    /// The shell for a hook, with what it is told in its environment.
    fn shell(&self, command: &OsStr, tally: &Tally, ending: &Ending) -> Command {
        let wrong = match ending {
            Ok(_) => tally.wrong.join("; "),
            Err(error) => format!("{error:#}"),
        };
        let removed = tally.removed.as_ref();
        let removed = removed.map(|sets| sets[..sets.len().min(NAMED)].join(" "));
        let mut shell = Command::new("sh");
        shell
            .arg("-c")
            .arg(command)
            .stdin(Stdio::null())
            // Standard output is for results, and may be read by a program.
            .stdout(std::io::stderr())
            // What the shell runs is to end with it.
            .process_group(0)
            .env(INSIDE, self.command)
            .env("SNAP_DIRECTORY", &self.directory)
            .env("SNAP_SET", tally.set.as_deref().unwrap_or_default())
            .env("SNAP_EXIT_CODE", exit_code(ending).to_string())
            .env("SNAP_ERROR", shortened(&wrong));
        for (variable, value) in [("SNAP_HOST", &self.host), ("SNAP_REMOVED", &removed)] {
            match value {
                Some(value) => shell.env(variable, value),
                None => shell.env_remove(variable),
            };
        }
        shell
    }
}

/// A text that stays in its line and fits into a variable: names come from elsewhere, and the
/// environment has no room for more than 128 KiB in one variable, nor for a NUL.
fn shortened(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .take(LONGEST_ERROR)
        .collect()
}

/// Waits for a hook. Once a stop is asked for, the hook is asked to end too, and is ended where it
/// does not.
fn wait(mut child: Child, cancel: &Cancel) -> std::io::Result<ExitStatus> {
    let group = Pid::from_child(&child);
    let mut due = cancel.is_cancelled().then(|| Instant::now() + AFTER_STOP);
    let mut signal = Signal::TERM;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if due.is_none() && cancel.is_cancelled() {
            due = Some(Instant::now());
        }
        if due.is_some_and(|due| Instant::now() >= due) {
            // A hook that is gone already is no failure.
            let _ = kill_process_group(group, signal);
            due = Some(Instant::now() + GRACE);
            signal = Signal::KILL;
        }
        thread::sleep(POLL);
    }
}
