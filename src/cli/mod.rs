//! The command line: from what was typed to options, and from results to text and exit codes.

mod backup;
mod check;
mod flags;
mod forget;
mod generate;
mod info;
mod keep;
mod list;
mod post_run;
mod render;
mod restore;
mod serve;
mod verify;

use std::ffi::OsString;

use anyhow::Result;
use clap::{Arg, ArgAction, Args, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::cancel::Cancel;
use crate::error::{ErrorKind, hint, kind_of};
use flags::{argv, defaults};
use post_run::After;
use render::output::{Output, Verbosity};
use render::terminal::say;

/// Backup and restore for InfluxDB 1.x.
#[derive(Debug, Parser)]
#[command(
    name = "snap",
    version,
    about = "Backup and restore for InfluxDB 1.x",
    long_about = "Backs up and restores InfluxDB 1.x by speaking the snapshotter protocol of influxd (TCP 8088), as `influxd \
                  backup` and `influxd restore` do. Flags are written as there: -database db or --database=db.",
    after_long_help = EXIT_CODES,
    args_override_self = true,
    disable_help_subcommand = true,
    subcommand_required = true,
    arg_required_else_help = true
)]
struct Cli {
    /// Take flags from this profile of the configuration, beside those of its [default]
    #[arg(
        long,
        global = true,
        env = "SNAP_PROFILE",
        hide_env_values = true,
        value_name = "NAME",
        help_heading = "Defaults"
    )]
    profile: Option<String>,
    /// The configuration; nothing ("") for none [default: ~/.config/snap/config.toml, else /etc/snap.toml]
    #[arg(long, global = true, env = "SNAP_CONFIG", hide_env_values = true, value_name = "FILE", help_heading = "Defaults",
          value_hint = clap::ValueHint::FilePath)]
    config: Option<OsString>,

    #[command(subcommand)]
    command: Command,
}

const EXIT_CODES: &str = "Exit codes:
  0 done   1 failed   2 usage   3 done in part (named shards are missing)   4 damage found
  5 server not reached, or not a snapshotter   6 refused for safety   10 no backup there
  11 locked   129 hung up   130 interrupted   143 terminated";

#[derive(Debug, Subcommand)]
enum Command {
    Backup(backup::BackupArgs),
    Restore(restore::RestoreArgs),
    Serve(serve::ServeArgs),
    List(list::ListArgs),
    Info(info::InfoArgs),
    Verify(verify::VerifyArgs),
    Check(check::CheckArgs),
    Forget(forget::ForgetArgs),
    Keep(keep::KeepArgs),
    Generate(generate::GenerateArgs),
}

/// How a command ended: `Ok(Some(…))` where it is done but not wholly well.
type Ending = Result<Option<ErrorKind>>;

/// Flags that say how much to print.
#[derive(Debug, Args)]
#[command(next_help_heading = "Output")]
struct OutputArgs {
    /// Print errors alone
    #[arg(long)]
    quiet: bool,
    /// Print requests, retries and times as well
    #[arg(long)]
    verbose: bool,
    /// Print JSON lines on standard output, each with a message_type
    #[arg(long)]
    json: bool,
}

impl OutputArgs {
    fn verbosity(&self) -> Verbosity {
        match (self.quiet, self.verbose) {
            (true, _) => Verbosity::Quiet,
            (false, true) => Verbosity::Verbose,
            (false, false) => Verbosity::Normal,
        }
    }
}

/// The command line as clap knows it. Its switches are booleans as Go's `flag` package has them: `-quiet` or `-quiet=false`.
fn command() -> clap::Command {
    let boolean = |arg: Arg| match arg.get_action() {
        ArgAction::SetTrue => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .default_value("false")
            .value_parser(clap::value_parser!(bool))
            .value_name("BOOL")
            .hide_default_value(true)
            .hide_possible_values(true),
        _ => arg,
    };
    Cli::command().mut_subcommands(|command| command.mut_args(boolean))
}

/// Runs the command line `args` (the program's name first) and returns the process's exit code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> u8 {
    let args: Vec<OsString> = args.into_iter().collect();
    let words = argv::rewrite(&command(), &args);
    let complete = argv::refuse_empty(&command(), &words).map_err(Into::into);
    let complete = match complete.and_then(|()| defaults::complete(&command(), words)) {
        Ok(complete) => complete,
        Err(error) => {
            // As for a command line that cannot be read, -json is not known yet.
            say(&format!("snap: {error:#}"));
            hint(&error)
                .iter()
                .for_each(|hint| say(&format!("hint: {hint}")));
            return kind_of(&error).exit_code();
        }
    };
    let cli = match command()
        .try_get_matches_from(complete.words)
        .and_then(|matches| Cli::from_arg_matches(&matches))
    {
        Ok(cli) => cli,
        Err(error) => return usage(&error, &complete.origins),
    };
    let cancel = match Cancel::on_signals() {
        Ok(cancel) => cancel,
        Err(error) => {
            say(&format!("snap: cannot watch for signals: {error}"));
            return ErrorKind::Failed.exit_code();
        }
    };
    let profile = cli.profile.as_deref().filter(|name| !name.is_empty());
    let followed = |args: &OutputArgs, after: &After<'_>, run: &dyn Fn(&Output) -> Ending| {
        with_output(args, |output| {
            after.run(output, &cancel, profile, || run(output))
        })
    };
    let (output, result) = match &cli.command {
        Command::Backup(args) => followed(&args.output, &args.after(), &|output| {
            args.run(&cancel, output)
        }),
        Command::Restore(args) => followed(&args.output, &args.after(), &|output| {
            args.run(&cancel, output)
        }),
        Command::Serve(args) => with_output(&args.output, |output| args.run(&cancel, output)),
        Command::List(args) => with_output(&args.output, |output| args.run(output)),
        Command::Info(args) => with_output(&args.output, |output| args.run(&cancel, output)),
        Command::Verify(args) => followed(&args.output, &args.after(), &|output| {
            args.run(&cancel, output)
        }),
        Command::Check(args) => followed(&args.output, &args.after(), &|output| args.run(output)),
        Command::Forget(args) => followed(&args.output, &args.after(), &|output| {
            args.run(&cancel, output)
        }),
        Command::Keep(args) => with_output(&args.output, |output| args.run(&cancel, output)),
        Command::Generate(args) => return args.run(),
    };
    match result {
        Ok(kind) => kind.map_or(0, ErrorKind::exit_code),
        Err(error) => {
            output.error(&error);
            kind_of(&error).exit_code()
        }
    }
}

fn with_output(args: &OutputArgs, run: impl FnOnce(&Output) -> Ending) -> (Output, Ending) {
    let output = Output::new(args);
    let result = run(&output);
    (output, result)
}

/// Prints clap's word on the command line: help and version are results, everything else a usage error.
/// What was not typed is said to be from where it is.
fn usage(error: &clap::Error, origins: &[(String, String)]) -> u8 {
    let _ = error.print();
    if matches!(
        error.kind(),
        clap::error::ErrorKind::DisplayHelp | clap::error::ErrorKind::DisplayVersion
    ) {
        return 0;
    }
    let text = error.to_string();
    let names = |flag: &str| {
        text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '-'))
            .any(|word| word == flag)
    };
    for (flag, place) in origins
        .iter()
        .filter(|(flag, _)| names(&format!("--{flag}")))
    {
        say(&format!("note: --{flag} is from {place}"));
    }
    ErrorKind::Usage.exit_code()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        command().debug_assert();
    }
}
