//! The manual: what clap knows of a command, as a page of text and as a manual page in roff.

mod roff;
mod text;

use clap::{Arg, Command};

use super::flags::known::{is_help, takes_value, value_name};

pub(crate) use roff::{file_name, page as roff};
pub(crate) use text::{page, summary};

/// The headings in the order in which a reader needs them, whichever order the flags have: which
/// server and what of it, before how, and what hardly anybody changes last.
const HEADINGS: [&str; 14] = [
    "Server",
    "Where to",
    "What to back up",
    "What to restore",
    "What to export",
    "What to count",
    "What to compare",
    "What to keep",
    PLAIN_HEADING,
    "How",
    "Output",
    "Before and after the run",
    "Defaults",
    "Connection",
];

/// The heading of flags that have none.
const PLAIN_HEADING: &str = "Flags";

/// Exit codes, what each means, and the commands that end with it; none where all do.
const EXIT_CODES: [(&str, &str, &[&str]); 9] = [
    ("0", "done", &[]),
    ("1", "failed", &[]),
    ("2", "usage: the command line is wrong", &[]),
    (
        "3",
        "done in part: named shards are missing",
        &["backup", "restore", "stats", "verify", "export", "diff"],
    ),
    (
        "4",
        "damage found",
        &[
            "restore", "list", "info", "stats", "verify", "check", "forget", "keep", "copy",
            "export", "diff",
        ],
    ),
    (
        "5",
        "the server was not reached, or is not a snapshotter",
        &["backup", "restore", "info", "stats", "export", "diff"],
    ),
    (
        "6",
        "refused for safety",
        &[
            "backup", "restore", "serve", "stats", "forget", "keep", "copy", "export", "diff",
        ],
    ),
    (
        "10",
        "no backup there",
        &[
            "restore", "list", "info", "stats", "verify", "check", "forget", "keep", "copy",
            "export", "diff",
        ],
    ),
    (
        "11",
        "locked: another run works in the directory",
        &["backup", "restore", "forget", "keep", "copy"],
    ),
];

/// What exit codes mean of diff, which are those of diff(1).
const OF_DIFF: [(&str, &str); 4] = [
    ("0", "the same"),
    ("1", "different"),
    (
        "2",
        "not compared: the command line is wrong, or something failed",
    ),
    ("3", "compared in part: what is damaged or missing is named"),
];

/// What exit codes mean of serve.
const OF_SERVE: [(&str, &str); 1] = [(
    "0",
    "ended by SIGHUP, Ctrl-C (SIGINT) or SIGTERM, all answers whole",
)];

/// What exit codes mean of all commands together, where diff has another meaning.
const OF_ALL: [(&str, &str); 2] = [
    ("1", "failed; diff: different"),
    ("2", "usage: the command line is wrong; diff: failed"),
];

/// Exit codes of a run that was stopped.
const STOPPED: (&str, &str) = (
    "129, 130, 143",
    "stopped by SIGHUP, Ctrl-C (SIGINT) or SIGTERM",
);

/// Exit codes of `serve`, which a first signal ends well.
const SERVE_STOPPED: (&str, &str) = ("129, 130, 143", "stopped by a second of these signals");

/// The exit codes of a command, or of all of them.
fn exit_codes(command: Option<&str>) -> Vec<(&'static str, &'static str)> {
    let is_of = |commands: &[&str]| match command {
        Some(command) => commands.is_empty() || commands.contains(&command),
        None => true,
    };
    let codes = EXIT_CODES.iter();
    let codes = codes.filter(|(_, _, commands)| is_of(commands));
    let meanings: &[(&str, &str)] = match command {
        Some("diff") => &OF_DIFF,
        Some("serve") => &OF_SERVE,
        Some(_) => &[],
        None => &OF_ALL,
    };
    let codes = codes.map(|(code, what, _)| {
        let mut meanings = meanings.iter();
        let own = meanings.find(|(other, _)| other == code);
        own.copied().unwrap_or((*code, *what))
    });
    let stopped = match command {
        Some("serve") => SERVE_STOPPED,
        _ => STOPPED,
    };
    codes.chain([stopped]).collect()
}

/// Whether a command is the program itself.
fn is_program(command: &Command) -> bool {
    command.has_subcommands()
}

/// `snap`, `snap backup`.
fn name(command: &Command) -> String {
    match is_program(command) {
        true => command.get_name().to_owned(),
        false => format!("snap {}", command.get_name()),
    }
}

/// The one line on what a command does.
fn about(command: &Command) -> String {
    command
        .get_about()
        .map(ToString::to_string)
        .unwrap_or_default()
}

/// What is to be known beside it, by paragraphs.
fn paragraphs(command: &Command) -> Vec<String> {
    let text = command.get_long_about().map(ToString::to_string);
    let text = text.unwrap_or_default();
    text.split("\n\n").skip(1).map(str::to_owned).collect()
}

/// Lines that show how a command is used.
fn examples(command: &Command) -> Vec<String> {
    let text = command.get_after_help().map(ToString::to_string);
    let text = text.unwrap_or_default();
    let lines = text.lines().map(str::trim_start);
    lines.map(str::to_owned).collect()
}

/// What follows the command's name: flags that must be there, and arguments.
fn usage(command: &Command) -> String {
    if is_program(command) {
        return "snap COMMAND [flags] [PATH]".to_owned();
    }
    let mut words = vec![name(command)];
    let required = command.get_opts().filter(|arg| arg.is_required_set());
    words.extend(required.map(flag));
    words.push("[flags]".to_owned());
    words.extend(
        command
            .get_positionals()
            .map(|arg| match arg.is_required_set() {
                true => value_name(arg).to_owned(),
                false => format!("[{}]", value_name(arg)),
            }),
    );
    words.join(" ")
}

/// A flag as it is typed: `-database NAME`, `-quiet`.
fn flag(arg: &Arg) -> String {
    let name = format!("-{}", arg.get_long().unwrap_or_default());
    match takes_value(arg) {
        true => format!("{name} {}", value_name(arg)),
        false => name,
    }
}

/// What a flag or an argument means: in short, or with all that is to be known.
fn meaning(arg: &Arg, in_full: bool) -> String {
    let short = arg.get_help().map(ToString::to_string).unwrap_or_default();
    let mut text = match arg.get_long_help().filter(|_| in_full) {
        // The first paragraph has no full stop.
        Some(long) => long
            .to_string()
            .replacen("\n\n", ". ", 1)
            .replace("\n\n", " "),
        None => short,
    };
    let mut notes = Vec::new();
    notes.extend(arg.get_short().map(|letter| format!("also -{letter}")));
    if in_full {
        let others = arg.get_visible_aliases().unwrap_or_default();
        notes.extend(others.iter().map(|other| format!("also -{other}")));
        notes.extend(arg.get_env().map(|name| format!("${}", name.display())));
    }
    if takes_value(arg) && !arg.is_hide_default_value_set() {
        let values = arg.get_default_values().iter();
        let values = values.filter(|value| *value != "0" && *value != "none");
        notes.extend(values.map(|value| format!("default: {}", value.display())));
    }
    if !notes.is_empty() {
        text.push_str(&format!(" [{}]", notes.join("; ")));
    }
    text
}

/// The flags of a command by their headings, in the order in which a reader needs them: those of
/// the summary, or all.
fn groups(command: &Command, in_full: bool) -> Vec<(String, Vec<&Arg>)> {
    let mut groups: Vec<(String, Vec<&Arg>)> = Vec::new();
    let flags = command
        .get_opts()
        .filter(|arg| !is_help(arg) && !arg.is_hide_set());
    for arg in flags {
        let is_usual =
            !arg.is_hide_short_help_set() && (!arg.is_global_set() || is_program(command));
        if !in_full && !is_usual {
            continue;
        }
        let heading = arg.get_help_heading().unwrap_or(PLAIN_HEADING);
        match groups.iter_mut().find(|(known, _)| known == heading) {
            Some((_, flags)) => flags.push(arg),
            None => groups.push((heading.to_owned(), vec![arg])),
        }
    }
    let place = |heading: &str| HEADINGS.iter().position(|known| *known == heading);
    groups.sort_by_key(|(heading, _)| place(heading));
    groups
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::built;

    #[test]
    fn every_heading_has_its_place() {
        for command in built().get_subcommands() {
            for (heading, _) in groups(command, true) {
                assert!(HEADINGS.contains(&&*heading), "{heading}");
            }
        }
    }
}
