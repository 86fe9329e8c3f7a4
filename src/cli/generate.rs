//! `snap generate`: shell completions and the manual.
//!
//! The completions of most shells ask snap itself on each TAB, see `complete`: their scripts are
//! written by hand in `completions/`. That of PowerShell lists the flags.

use std::io::{self, Write};

use clap::{Args, ValueEnum};
use clap_complete::Shell;

use super::render::terminal::{print_exact, say};
use crate::error::ErrorKind;

/// Print shell completions or the manual page
#[derive(Debug, Args)]
pub(crate) struct GenerateArgs {
    /// What to print
    #[arg(value_name = "KIND")]
    kind: Artifact,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum Artifact {
    Man,
    Bash,
    Zsh,
    Fish,
    #[value(name = "powershell")]
    PowerShell,
    Elvish,
}

impl GenerateArgs {
    /// Prints what was asked for of `command`; `exit_codes` end the manual.
    pub(crate) fn run(&self, command: &mut clap::Command, exit_codes: &str) -> u8 {
        let written = text(self.kind, command, exit_codes)
            .and_then(|text| print_exact(&String::from_utf8_lossy(&text)));
        match written {
            Ok(()) => 0,
            Err(error) => {
                say(&format!("snap: generating: {error}"));
                ErrorKind::Failed.exit_code()
            }
        }
    }
}

fn text(kind: Artifact, command: &mut clap::Command, exit_codes: &str) -> io::Result<Vec<u8>> {
    let script = match kind {
        Artifact::Man => return manual(command, exit_codes),
        Artifact::PowerShell => {
            let mut text = Vec::new();
            clap_complete::generate(Shell::PowerShell, command, "snap", &mut text);
            return Ok(text);
        }
        Artifact::Bash => include_str!("../../completions/snap.bash"),
        Artifact::Zsh => include_str!("../../completions/_snap"),
        Artifact::Fish => include_str!("../../completions/snap.fish"),
        Artifact::Elvish => include_str!("../../completions/snap.elv"),
    };
    Ok(script.into())
}

/// One page: the program, then each command with its flags.
fn manual(command: &clap::Command, exit_codes: &str) -> io::Result<Vec<u8>> {
    let mut text = Vec::new();
    let page = clap_mangen::Man::new(command.clone());
    page.render_title(&mut text)?;
    page.render_name_section(&mut text)?;
    page.render_synopsis_section(&mut text)?;
    page.render_description_section(&mut text)?;
    for subcommand in command.get_subcommands() {
        let name = subcommand.get_name().to_owned();
        writeln!(text, ".SH SNAP {}", name.to_uppercase())?;
        let page = clap_mangen::Man::new(subcommand.clone().bin_name(format!("snap {name}")));
        let mut section = Vec::new();
        page.render_synopsis_section(&mut section)?;
        page.render_description_section(&mut section)?;
        page.render_options_section(&mut section)?;
        // The page's sections become parts of the command's.
        let section = String::from_utf8_lossy(&section).replace(".SH ", ".SS ");
        text.extend_from_slice(section.as_bytes());
        if let Some(examples) = subcommand.get_after_help() {
            let examples = examples
                .to_string()
                .replace('\\', "\\\\")
                .replace('-', "\\-");
            writeln!(text, ".SS EXAMPLES\n.nf\n{examples}\n.fi")?;
        }
    }
    writeln!(
        text,
        ".SH EXIT STATUS\n.nf\n{}\n.fi",
        exit_codes.trim_start_matches("Exit codes:\n")
    )?;
    Ok(text)
}
