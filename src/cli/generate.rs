//! `snap generate`: shell completions, manual pages and an example configuration.
//!
//! The completions of most shells ask snap itself on each TAB, see `complete`: their scripts are
//! written by hand in `completions/`. That of PowerShell lists the flags.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use clap::{Args, ValueEnum};
use clap_complete::Shell;

use super::manual;
use super::render::output::print_error_as;
use super::render::terminal::print_exact;
use crate::error::{ErrorKind, kind_of};

/// The example configuration, which packages install too.
const CONFIG: &str = include_str!("config.example.toml");

/// Print completions, manual pages or an example configuration
///
/// KIND is man, config, or a shell: bash, zsh, fish, powershell, elvish.
#[derive(Debug, Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct GenerateArgs {
    /// man, config, bash, zsh, fish, powershell or elvish
    #[arg(value_name = "KIND")]
    kind: Artifact,
    /// With man, the command whose page is printed
    #[arg(value_name = "COMMAND")]
    command: Option<String>,

    /// With man, write all pages into this directory, made if absent
    #[arg(long, value_name = "DIR", conflicts_with = "command")]
    dir: Option<PathBuf>,
}

const EXAMPLES: &str = "\
  snap generate bash > /etc/bash_completion.d/snap
  snap generate man backup | man -l -
  snap generate man -dir /usr/local/share/man/man1
  snap generate config > ~/.config/snap/config.toml";

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Artifact {
    Man,
    Config,
    Bash,
    Zsh,
    Fish,
    #[value(name = "powershell")]
    PowerShell,
    Elvish,
}

impl GenerateArgs {
    /// Prints what was asked for of the commands of `root`; the exit code.
    pub(crate) fn run(&self, root: &clap::Command) -> u8 {
        match self.generate(root) {
            Ok(()) => 0,
            Err(error) => {
                print_error_as(&error, false);
                kind_of(&error).exit_code()
            }
        }
    }

    fn generate(&self, root: &clap::Command) -> Result<()> {
        let is_manual = self.kind == Artifact::Man;
        let word = self.command.as_deref();
        let beside = word.or(self.dir.as_deref().map(|_| "-dir"));
        if let Some(word) = beside.filter(|_| !is_manual) {
            let error = ErrorKind::Usage.error(format!("'{word}' goes with man only"));
            return Err(error.hint("write: snap generate man [COMMAND]").into());
        }
        let mut built = root.clone();
        built.build();
        match (&self.dir, is_manual) {
            (Some(dir), _) => write_manual(&built, dir),
            (None, true) => print(&manual_of(&built, word)?),
            (None, false) => print(&script(self.kind, root)),
        }
    }
}

fn print(text: &str) -> Result<()> {
    print_exact(text).context("writing to standard output")
}

/// The manual page of a command, or that of snap.
fn manual_of(root: &clap::Command, name: Option<&str>) -> Result<String> {
    let Some(name) = name.filter(|name| *name != "snap") else {
        return Ok(manual::roff(root, root));
    };
    let command = root.find_subcommand(name).ok_or_else(|| {
        let known: Vec<&str> = root
            .get_subcommands()
            .map(|command| command.get_name())
            .collect();
        ErrorKind::Usage
            .error(format!("there is no command '{name}'"))
            .hint(format!("there are: {}", known.join(", ")))
    })?;
    Ok(manual::roff(root, command))
}

/// Writes the pages of all commands.
fn write_manual(root: &clap::Command, directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("making {}", directory.display()))?;
    for command in root.get_subcommands().chain([root]) {
        let path = directory.join(manual::file_name(command));
        fs::write(&path, manual::roff(root, command))
            .with_context(|| format!("writing {}", path.display()))?;
    }
    Ok(())
}

fn script(kind: Artifact, root: &clap::Command) -> String {
    let script = match kind {
        Artifact::Man | Artifact::Config => CONFIG,
        Artifact::Bash => include_str!("../../completions/snap.bash"),
        Artifact::Zsh => include_str!("../../completions/_snap"),
        Artifact::Fish => include_str!("../../completions/snap.fish"),
        Artifact::Elvish => include_str!("../../completions/snap.elv"),
        Artifact::PowerShell => {
            let mut text = Vec::new();
            clap_complete::generate(Shell::PowerShell, &mut root.clone(), "snap", &mut text);
            return String::from_utf8_lossy(&text).into_owned();
        }
    };
    script.to_owned()
}
