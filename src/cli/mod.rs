//! The command line: from what was typed to options, and from results to text and exit codes.

mod backup;
mod check;
mod ending;
mod flags;
mod forget;
mod generate;
mod hook;
mod info;
mod keep;
mod list;
mod post_run;
mod render;
mod restore;
mod serve;
mod verify;

use std::ffi::OsString;

use clap::{Arg, ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::cancel::Cancel;
use crate::error::{ErrorKind, kind_of};
use ending::{Ending, exit_code};
use flags::OutputArgs;
use flags::argv::CommandLine;
use flags::defaults::Defaults;
use flags::values::{MayBeEmpty, may_be_empty};
use post_run::After;
use render::output::{Output, print_error};
pub use render::schemas;
use render::terminal::{Label, Line, say, say_line};

/// Backup and restore for InfluxDB 1.x.
#[derive(Debug, Parser)]
#[command(
    name = "snap",
    version,
    about = "Backup and restore for InfluxDB 1.x",
    long_about = "Backs up and restores InfluxDB 1.x by speaking the snapshotter protocol of \
                  influxd (TCP 8088), as `influxd backup` and `influxd restore` do. Flags are \
                  written as there: -database db or --database=db.",
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
    /// The configuration; nothing ("") for none [default: ~/.config/snap/config.toml, else
    /// /etc/snap.toml]
    #[arg(
        long,
        global = true,
        env = "SNAP_CONFIG",
        hide_env_values = true,
        value_name = "FILE",
        help_heading = "Defaults",
        value_hint = clap::ValueHint::FilePath,
        value_parser = may_be_empty(),
    )]
    config: Option<MayBeEmpty>,

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

/// The command line as clap knows it. Its switches are booleans as Go's `flag` package has them:
/// `-quiet` or `-quiet=false`.
fn definition() -> clap::Command {
    Cli::command().mut_subcommands(|command| command.mut_args(go_switch))
}

fn go_switch(arg: Arg) -> Arg {
    if !matches!(arg.get_action(), ArgAction::SetTrue) {
        return arg;
    }
    arg.action(ArgAction::Set)
        .num_args(0..=1)
        .require_equals(true)
        .default_missing_value("true")
        .default_value("false")
        .value_parser(clap::value_parser!(bool))
        .value_name("BOOL")
        .hide_default_value(true)
        .hide_possible_values(true)
}

/// The definition with the flags of all commands, -help among them, in each.
fn built() -> clap::Command {
    let mut command = definition();
    command.build();
    command
}

/// Runs the command line `args` (the program's name first) and returns the process's exit code.
pub fn run(args: impl IntoIterator<Item = OsString>) -> u8 {
    let cli = match parsed(args.into_iter().collect()) {
        Ok(cli) => cli,
        Err(code) => return code,
    };
    let cancel = match Cancel::on_signals() {
        Ok(cancel) => cancel,
        Err(error) => {
            let text = format!("cannot watch for signals: {error}");
            say_line(&Line::labelled(Label::Error, text));
            return ErrorKind::Failed.exit_code();
        }
    };
    let session = CommandRun {
        cancel: &cancel,
        profile: cli.profile.as_deref().filter(|name| !name.is_empty()),
    };
    session.run(&cli.command)
}

/// What was typed, and what was not, in options; else the exit code, all being said.
fn parsed(args: Vec<OsString>) -> Result<Cli, u8> {
    let root = built();
    let read = CommandLine::read(&root, args).map_err(anyhow::Error::from);
    let completed = read.and_then(|line| Ok((Defaults::of(&root, &line)?, line)));
    let (defaults, line) = completed.map_err(|error| {
        // -json is not known yet.
        print_error(&error);
        kind_of(&error).exit_code()
    })?;
    definition()
        .try_get_matches_from(line.for_clap(defaults.words))
        .and_then(|matches| Cli::from_arg_matches(&matches))
        .map_err(|error| usage(&error, &defaults.origins))
}

/// What holds while a command runs.
struct CommandRun<'a> {
    cancel: &'a Cancel,
    profile: Option<&'a str>,
}

impl CommandRun<'_> {
    /// Runs a command; the exit code.
    fn run(&self, command: &Command) -> u8 {
        let cancel = self.cancel;
        match command {
            Command::Backup(args) => {
                self.followed(&args.output, &args.after(), |out| args.run(cancel, out))
            }
            Command::Restore(args) => {
                self.followed(&args.output, &args.after(), |out| args.run(cancel, out))
            }
            Command::Verify(args) => {
                self.followed(&args.output, &args.after(), |out| args.run(cancel, out))
            }
            Command::Check(args) => {
                self.followed(&args.output, &args.after(), |out| args.run(cancel, out))
            }
            Command::Forget(args) => {
                self.followed(&args.output, &args.after(), |out| args.run(cancel, out))
            }
            Command::Serve(args) => ended(&args.output, |out| args.run(cancel, out)),
            Command::List(args) => ended(&args.output, |out| args.run(cancel, out)),
            Command::Info(args) => ended(&args.output, |out| args.run(cancel, out)),
            Command::Keep(args) => ended(&args.output, |out| args.run(cancel, out)),
            Command::Generate(args) => args.run(&mut definition(), EXIT_CODES),
        }
    }

    /// Runs a command, and what follows it.
    fn followed(
        &self,
        args: &OutputArgs,
        after: &After<'_>,
        run: impl FnOnce(&Output) -> Ending,
    ) -> u8 {
        ended(args, |output| {
            after.run(output, self.cancel, self.profile, || run(output))
        })
    }
}

/// Runs a command, and prints the error that it ends in.
fn ended(args: &OutputArgs, run: impl FnOnce(&Output) -> Ending) -> u8 {
    let output = Output::new(args);
    let ending = run(&output);
    if let Err(error) = &ending {
        output.error(error);
    }
    exit_code(&ending)
}

/// Prints clap's word on the command line: help and version are results, everything else a usage
/// error. What was not typed is said to be from where it is.
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
        definition().debug_assert();
    }
}
