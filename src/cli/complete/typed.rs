//! The words before the one that is completed, as far as they mean something: unlike a run, a
//! completion goes on past what is wrong.

use std::ffi::{OsStr, OsString};

use clap::{Arg, Command};

use crate::cli::flags::argv::{clap_flag, split_flag};
use crate::cli::flags::known::{conflict, find, is_help, long, takes_value};

/// The word that stands before a command to read its manual.
pub(super) const HELP: &str = "help";

/// What was typed before the word that is completed.
#[derive(Debug, Clone)]
pub(super) struct Typed<'a> {
    root: &'a Command,
    /// The command that the words are of.
    pub(super) command: Option<&'a Command>,
    flags: Vec<(&'a Arg, Option<OsString>)>,
    positionals: Vec<OsString>,
    /// What the next word stands for.
    pub(super) next: Next<'a>,
}

/// What a word stands for by those before it.
#[derive(Debug, Clone, Copy)]
pub(super) enum Next<'a> {
    /// A command, a flag or an argument.
    Any,
    /// An argument: the flags have ended.
    Argument,
    /// The value of a flag.
    Value(&'a Arg),
    /// The command to be helped with.
    Helped,
    /// Nothing: help was asked for, or there is no such command.
    Nothing,
}

impl<'a> Typed<'a> {
    /// Reads words, without the program's name.
    pub(super) fn read(root: &'a Command, words: &[OsString]) -> Self {
        let mut typed = Self {
            root,
            command: None,
            flags: Vec::new(),
            positionals: Vec::new(),
            next: Next::Any,
        };
        for word in words {
            typed.push(word);
        }
        typed
    }

    fn push(&mut self, word: &OsString) {
        match self.next {
            Next::Value(flag) => {
                self.flags.push((flag, Some(word.clone())));
                self.next = Next::Any;
            }
            Next::Any if word == "--" => self.next = Next::Argument,
            Next::Any => match split_flag(word) {
                Some((name, value)) => self.push_flag(name, value),
                None => self.push_plain(word),
            },
            Next::Argument => self.push_plain(word),
            Next::Helped | Next::Nothing => self.next = Next::Nothing,
        }
    }

    fn push_flag(&mut self, name: &OsStr, value: Option<&OsStr>) {
        // One that there is not is passed over; most flags take no word with them.
        let Some(flag) = find(self.scope(), name) else {
            return;
        };
        match value {
            _ if is_help(flag) => self.next = Next::Nothing,
            None if takes_value(flag) => self.next = Next::Value(flag),
            value => self.flags.push((flag, value.map(OsStr::to_owned))),
        }
    }

    fn push_plain(&mut self, word: &OsString) {
        if self.command.is_some() {
            self.positionals.push(word.clone());
        } else if word == HELP {
            self.next = Next::Helped;
        } else {
            self.command = self.root.find_subcommand(word);
            if self.command.is_none() {
                self.next = Next::Nothing;
            }
        }
    }

    /// The command whose flags can be typed.
    pub(super) fn scope(&self) -> &'a Command {
        self.command.unwrap_or(self.root)
    }

    /// Whether a flag was typed.
    pub(super) fn has(&self, flag: &Arg) -> bool {
        let mut flags = self.flags.iter();
        flags.any(|(typed, _)| typed.get_id() == flag.get_id())
    }

    /// The value of a flag, by the flag's name.
    pub(super) fn value(&self, name: &str) -> Option<&OsStr> {
        let mut flags = self.flags.iter().rev();
        let (_, value) = flags.find(|(flag, _)| long(flag) == name)?;
        value.as_deref().filter(|value| !value.is_empty())
    }

    /// The value of an argument of the command, by the argument's name.
    pub(super) fn argument(&self, name: &str) -> Option<&OsStr> {
        let mut arguments = self.scope().get_positionals();
        let at = arguments.position(|arg| arg.get_id() == name)?;
        let value = self.positionals.get(at)?;
        (!value.is_empty()).then_some(value)
    }

    /// The argument that a next one would be.
    pub(super) fn next_argument(&self) -> Option<&'a Arg> {
        let mut arguments = self.scope().get_positionals();
        arguments.nth(self.positionals.len())
    }

    /// Whether something was typed that a flag or an argument cannot go with.
    pub(super) fn excludes(&self, arg: &Arg) -> bool {
        let command = self.scope();
        let flags = self.flags.iter().map(|(flag, _)| *flag);
        let arguments = command.get_positionals().take(self.positionals.len());
        flags
            .chain(arguments)
            .any(|typed| conflict(command, typed, arg))
    }

    /// What was typed as a run would be given it, as far as it means something.
    pub(super) fn words(&self) -> Vec<OsString> {
        let mut words: Vec<OsString> = vec![self.root.get_name().into()];
        words.extend(self.command.map(|command| command.get_name().into()));
        let is_empty = |value: &Option<OsString>| value.as_ref().is_some_and(|it| it.is_empty());
        let flags = self.flags.iter().filter(|(_, value)| !is_empty(value));
        words.extend(flags.map(|(flag, value)| clap_flag(long(flag), value.as_deref())));
        words.push("--".into());
        words.extend(
            self.positionals
                .iter()
                .filter(|word| !word.is_empty())
                .cloned(),
        );
        words
    }
}
