//! The command line: from what was typed to options, and from results to text and exit codes.

mod backup;
mod check;
mod complete;
mod copy;
mod diff;
mod ending;
mod export;
mod flags;
mod forget;
mod generate;
mod hook;
mod info;
mod keep;
mod list;
mod manual;
mod post_run;
mod render;
mod restore;
mod serve;
mod stats;
mod verify;

use std::ffi::OsString;
use std::io::{self, Write};
use std::time::Duration;

use clap::{Arg, ArgAction, CommandFactory, FromArgMatches, Parser, Subcommand};

use crate::cancel::Cancel;
use crate::error::{Error, ErrorKind, kind_of, words};
use crate::repository::{Location, ObjectSettings};
use complete::COMPLETE;
use ending::{Ending, exit_code};
use flags::argv::{Asked, CommandLine};
use flags::defaults::Defaults;
use flags::values::{MayBeEmpty, may_be_empty};
use flags::{OutputArgs, usage};
use post_run::After;
use render::output::{Output, print_error_as};
pub use render::schemas;
use render::terminal::{Label, Line, print_exact, say_line};

/// Backup and restore for InfluxDB 1.x.
#[derive(Debug, Parser)]
#[command(
    name = "snap",
    version,
    about = "Backup and restore for InfluxDB 1.x",
    long_about = LONG_ABOUT,
    after_help = EXAMPLES,
    args_override_self = true,
    disable_help_subcommand = true,
    subcommand_required = true
)]
struct Cli {
    /// Take flags from this profile of the configuration
    ///
    /// Beside those of its profile [default].
    #[arg(
        long,
        global = true,
        env = "SNAP_PROFILE",
        hide_env_values = true,
        value_name = "NAME",
        help_heading = "Defaults"
    )]
    profile: Option<String>,
    /// The configuration, or "" for none
    ///
    /// Where it is not named, it is ~/.config/snap/config.toml, else /etc/snap.toml.
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

const LONG_ABOUT: &str = "\
Backup and restore for InfluxDB 1.x

snap speaks the snapshotter protocol of influxd (TCP 8088). What it writes, `influxd restore` \
reads; what `influxd backup` writes, snap reads.

Flags take one dash or two; the value follows a space or an equals sign: -database db, \
-database=db. A switch is turned on by its name, and off with =false. If a flag is given twice, \
the last one counts. Flags go after the command, before or after its arguments.

Flags can also stand in a configuration and in the environment: see `snap generate config`.";

const EXAMPLES: &str = "\
  snap backup /var/backups/influxdb
  snap verify /var/backups/influxdb latest
  snap restore -online -database db -newdb db_copy /var/backups/influxdb";

#[derive(Debug, Subcommand)]
enum Command {
    Backup(backup::BackupArgs),
    Restore(restore::RestoreArgs),
    Serve(serve::ServeArgs),
    List(list::ListArgs),
    Info(info::InfoArgs),
    Stats(stats::StatsArgs),
    Verify(verify::VerifyArgs),
    Check(check::CheckArgs),
    Forget(forget::ForgetArgs),
    Keep(keep::KeepArgs),
    Copy(copy::CopyArgs),
    Export(export::ExportArgs),
    Diff(diff::DiffArgs),
    Generate(generate::GenerateArgs),
}

impl Command {
    /// Says how its repositories are reached, those in object storage.
    fn configure(&self, mut settings: ObjectSettings) {
        if let Some(grace) = self.grace() {
            settings.storage.grace = grace;
        }
        for location in self.repositories() {
            location.configure(settings.clone());
        }
    }

    fn grace(&self) -> Option<Duration> {
        match self {
            Self::Backup(args) => Some(args.grace.grace),
            Self::Forget(args) => Some(args.grace.grace),
            Self::Copy(args) => Some(args.grace.grace),
            Self::Restore(_)
            | Self::List(_)
            | Self::Info(_)
            | Self::Stats(_)
            | Self::Verify(_)
            | Self::Check(_)
            | Self::Keep(_)
            | Self::Export(_)
            | Self::Diff(_)
            | Self::Serve(_)
            | Self::Generate(_) => None,
        }
    }

    /// The repositories that were named.
    fn repositories(&self) -> Vec<&Location> {
        let path = match self {
            Self::Backup(args) => &args.path,
            Self::Forget(args) => &args.path,
            Self::Restore(args) => &args.path,
            Self::List(args) => &args.path,
            Self::Info(args) => &args.path,
            Self::Stats(args) => &args.path,
            Self::Verify(args) => &args.path,
            Self::Check(args) => &args.path,
            Self::Keep(args) => &args.path,
            Self::Export(args) => &args.path,
            Self::Copy(args) => return vec![&args.source, &args.target],
            Self::Diff(args) => return args.repositories(),
            Self::Serve(_) | Self::Generate(_) => return Vec::new(),
        };
        path.iter().collect()
    }
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
    let args: Vec<OsString> = args.into_iter().collect();
    if args.get(1).is_some_and(|word| word == COMPLETE) {
        return complete::run(&built(), &args[2..]);
    }
    let (cli, path_origin) = match parsed(args) {
        Ok(parsed) => parsed,
        Err(code) => return code,
    };
    let cancel = match Cancel::on_signals() {
        Ok(cancel) => cancel,
        Err(error) => {
            let text = format!("cannot watch for signals: {}", words(&error));
            say_line(&Line::labelled(Label::Error, text));
            return ErrorKind::Failed.exit_code();
        }
    };
    let session = CommandRun {
        cancel: &cancel,
        profile: cli.profile.as_deref().filter(|name| !name.is_empty()),
        path_origin,
        repositories: cli.command.repositories(),
    };
    session.run(&cli.command)
}

/// What was typed, and what was not, in options, and where PATH is from if it was not typed; else
/// the exit code, all being said.
fn parsed(args: Vec<OsString>) -> Result<(Cli, Option<String>), u8> {
    let root = built();
    let refused = |error: anyhow::Error, json: bool| {
        print_error_as(&error, json);
        kind_of(&error).exit_code()
    };
    let line = CommandLine::read(&root, args).map_err(|error| refused(error.into(), false))?;
    if let Some(asked) = line.asked {
        return Err(answer(&root, &line, asked));
    }
    if line.command.is_none() {
        let _ = io::stderr().write_all(manual::summary(&root).as_bytes());
        return Err(ErrorKind::Usage.exit_code());
    }
    let json = line.is_on("json");
    let defaults = Defaults::of(&root, &line).map_err(|error| refused(error, json))?;
    let words = line.for_clap(&defaults.words);
    let cli = definition()
        .try_get_matches_from(words)
        .and_then(|matches| Cli::from_arg_matches(&matches))
        .map_err(|error| {
            let error = usage::in_our_words(&root, &line, &error, &defaults);
            refused(error.into(), json)
        })?;
    cli.command.configure(defaults.storage);
    Ok((cli, defaults.path_origin))
}

/// Prints what was asked of the program; the exit code.
fn answer(root: &clap::Command, line: &CommandLine<'_>, asked: Asked) -> u8 {
    let command = line.command.map_or(root, |(_, command)| command);
    let text = match asked {
        Asked::Summary => manual::summary(command),
        Asked::Manual => manual::page(command),
        Asked::Version => format!("snap {}\n", env!("CARGO_PKG_VERSION")),
    };
    print_exact(&text).map_or(ErrorKind::Failed.exit_code(), |()| 0)
}

/// What holds while a command runs.
struct CommandRun<'a> {
    cancel: &'a Cancel,
    profile: Option<&'a str>,
    /// Where PATH is from, if it was not typed.
    path_origin: Option<String>,
    /// The repositories that were named.
    repositories: Vec<&'a Location>,
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
            Command::Copy(args) => {
                self.followed(&args.output, &args.after(), |out| args.run(cancel, out))
            }
            Command::Serve(args) => self.alone(&args.output, |out| args.run(cancel, out)),
            Command::List(args) => self.alone(&args.output, |out| args.run(cancel, out)),
            Command::Info(args) => self.alone(&args.output, |out| args.run(cancel, out)),
            Command::Stats(args) => self.alone(&args.output, |out| args.run(cancel, out)),
            Command::Keep(args) => self.alone(&args.output, |out| args.run(cancel, out)),
            Command::Export(args) => self.alone(&args.output, |out| args.run(cancel, out)),
            Command::Diff(args) => self.alone(&args.output, |out| args.run(cancel, out)),
            Command::Generate(args) => args.run(&definition()),
        }
    }

    /// Runs a command, and what follows it.
    fn followed(
        &self,
        args: &OutputArgs,
        after: &After<'_>,
        run: impl FnOnce(&Output) -> Ending,
    ) -> u8 {
        self.ended(args, |output| {
            after.run(output, self.cancel, self.profile, || {
                self.with_origin(run(output))
            })
        })
    }

    /// Runs a command that nothing follows.
    fn alone(&self, args: &OutputArgs, run: impl FnOnce(&Output) -> Ending) -> u8 {
        self.ended(args, |output| self.with_origin(run(output)))
    }

    /// Runs a command, and prints the error that it ends in.
    fn ended(&self, args: &OutputArgs, run: impl FnOnce(&Output) -> Ending) -> u8 {
        let output = Output::new(args);
        for repository in &self.repositories {
            let output = output.clone();
            repository.on_wait(move |text| output.opening(text));
        }
        let ending = run(&output);
        match &ending {
            Err(error) => output.error(error),
            Ok(Some(kind)) => output.end(*kind),
            Ok(None) => {}
        }
        exit_code(&ending)
    }

    /// Adds to an error of a place that was not typed where its name is from.
    fn with_origin(&self, ending: Ending) -> Ending {
        let is_of_place = |error: &anyhow::Error| {
            // In a chain, the words of the others would be lost.
            kind_of(error) == ErrorKind::NoBackup && error.chain().count() == 1
        };
        let (Some(place), Err(error)) = (&self.path_origin, ending.as_ref()) else {
            return ending;
        };
        if !is_of_place(error) {
            return ending;
        }
        ending.map_err(|error| match error.downcast::<Error>() {
            Ok(error) => usage::from(error, "PATH", place).into(),
            Err(error) => error,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        definition().debug_assert();
    }
}
