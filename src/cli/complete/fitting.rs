//! Which words fit: commands, flags in the spelling that was begun, arguments and values.

use std::ffi::{OsStr, OsString};

use clap::{Arg, Command};

use super::lookup::Lookup;
use super::typed::{HELP, Next, Typed};
use super::{Candidate, Completion, Paths};
use crate::cli::flags::argv::split_flag;
use crate::cli::flags::known::{find, is_repeatable, value_name};
use crate::cli::flags::profiles::PATH;
use crate::repository::Location;

/// What is known of the words before the one that is completed.
pub(super) struct Fitting<'a> {
    root: &'a Command,
    typed: Typed<'a>,
}

impl<'a> Fitting<'a> {
    /// After these words, the program's name not among them.
    pub(super) fn new(root: &'a Command, before: Vec<OsString>) -> Self {
        let typed = Typed::read(root, &before);
        Self { root, typed }
    }

    /// What fits in the place of `word`.
    pub(super) fn at(&self, word: &str) -> Completion {
        let mut completion = self.fitting(word);
        if Location::is_url(OsStr::new(word)) {
            completion.paths = Paths::None;
        }
        completion
    }

    fn fitting(&self, word: &str) -> Completion {
        match self.typed.next {
            Next::Nothing => Completion::default(),
            Next::Helped => self.commands(),
            Next::Value(flag) => self.values(flag),
            Next::Argument => self.arguments(),
            Next::Any if word.starts_with('-') => match word.split_once('=') {
                Some((flag, _)) => self.values_behind(flag),
                None => self.flags(word),
            },
            Next::Any if self.typed.command.is_none() => {
                let mut commands = self.commands();
                let help = Candidate::new(HELP, "Show the manual of a command");
                commands.candidates.push(help);
                commands
            }
            Next::Any => match self.arguments() {
                // Where no argument can stand, only a flag can.
                none if none == Completion::default() && word.is_empty() => self.flags("-"),
                arguments => arguments,
            },
        }
    }

    fn commands(&self) -> Completion {
        let commands = self.root.get_subcommands();
        let shown = commands.filter(|command| !command.is_hide_set());
        Completion::of(shown.map(|command| {
            let about = command.get_about().map(ToString::to_string);
            Candidate::new(command.get_name(), first_line(about))
        }))
    }

    /// The flags, with as many dashes as were typed.
    fn flags(&self, word: &str) -> Completion {
        let dashes = if word.starts_with("--") { "--" } else { "-" };
        let begun = &word[dashes.len()..];
        let flags = self.typed.scope().get_arguments();
        let open: Vec<&Arg> = flags
            .filter(|flag| flag.get_long().is_some() && !flag.is_hide_set())
            .filter(|flag| is_repeatable(flag) || !self.typed.has(flag))
            .filter(|flag| !self.typed.excludes(flag))
            .collect();
        let candidate = |name: &str, flag: &Arg| {
            let about = flag.get_help().map(ToString::to_string);
            Candidate::new(format!("{dashes}{name}"), first_line(about))
        };
        let names = open
            .iter()
            .filter_map(|flag| Some((flag.get_long()?, *flag)));
        let mut candidates: Vec<Candidate> =
            names.map(|(name, flag)| candidate(name, flag)).collect();
        // influxd's other spellings help only whoever types one.
        let is_begun = |name: &str| name.starts_with(begun);
        if !open.iter().filter_map(|flag| flag.get_long()).any(is_begun) {
            for flag in open {
                let aliases = flag.get_all_aliases().unwrap_or_default();
                let begun = aliases.into_iter().filter(|name| is_begun(name));
                candidates.extend(begun.map(|name| candidate(name, flag)));
            }
        }
        candidates.sort();
        Completion::of(candidates)
    }

    /// The values of a flag that is written with its `=`.
    fn values_behind(&self, flag: &str) -> Completion {
        let name = split_flag(OsStr::new(flag)).map(|(name, _)| name);
        let Some(arg) = name.and_then(|name| find(self.typed.scope(), name)) else {
            return Completion::default();
        };
        Completion {
            head: format!("{flag}="),
            ..self.values(arg)
        }
    }

    /// What the next argument can be.
    fn arguments(&self) -> Completion {
        let next = self.typed.next_argument();
        let Some(arg) = next.filter(|arg| !self.typed.excludes(arg)) else {
            return Completion::default();
        };
        let mut completion = self.values(arg);
        // A set alone is one of the directory that is not named.
        let mut arguments = self.typed.scope().get_positionals();
        if arg.get_id() == PATH && arguments.any(|other| other.get_id() == "set") {
            completion.candidates = self.lookup().sets_of_default(self.typed.scope());
        }
        completion
    }

    /// What a flag or an argument can be. The name of its value says of which kind it is, as in the
    /// help: a `DIR` is a directory, and of `auto|1.0|1.5` each is a value.
    fn values(&self, arg: &Arg) -> Completion {
        let possible = arg.get_possible_values();
        let shown = possible.iter().filter(|value| !value.is_hide_set());
        let possible = Completion::of(shown.map(|value| {
            let about = value.get_help().map(ToString::to_string);
            Candidate::new(value.get_name(), first_line(about))
        }));
        if !possible.candidates.is_empty() {
            return possible;
        }
        let name = value_name(arg);
        let paths = match name {
            "PATH" | "DIR" | "SRC" | "DST" | "A" | "B" => Paths::Directories,
            "FILE" | "PROGRAM" => Paths::Files,
            _ => Paths::None,
        };
        let candidates = match (arg.get_id().as_str(), name) {
            ("command", _) => self.commands().candidates,
            ("profile", _) => self.lookup().profiles(),
            ("host", _) => self.lookup().hosts(arg),
            ("database", _) => self.lookup().databases(),
            ("retention", _) => self.lookup().retention_policies(),
            ("set" | "sets", _) => self.lookup().sets(),
            (_, "TZ") => self.lookup().time_zones(),
            _ => words_of(name).map(Candidate::bare).collect(),
        };
        Completion {
            head: String::new(),
            candidates,
            paths,
        }
    }

    fn lookup(&self) -> Lookup<'a> {
        Lookup::new(self.root, &self.typed)
    }
}

impl Completion {
    fn of(candidates: impl IntoIterator<Item = Candidate>) -> Self {
        Self {
            candidates: candidates.into_iter().collect(),
            ..Self::default()
        }
    }
}

/// The words in the name of a value that are typed as they stand: of `T|last` the second.
fn words_of(name: &str) -> impl Iterator<Item = &str> {
    let parts = name.split('|').filter(|_| name.contains('|'));
    parts.filter(|part| !part.starts_with(|c: char| c.is_ascii_uppercase()))
}

fn first_line(text: Option<String>) -> String {
    let text = text.unwrap_or_default();
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
#[path = "fitting_tests.rs"]
mod tests;
