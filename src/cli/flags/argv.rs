//! A command line as Go's `flag` package reads it.
//!
//! Go: one dash or two; `-flag value` or `-flag=value`; a boolean is `-flag` or `-flag=false`,
//! never `-flag false`; the word after a flag that takes a value is its value even with a leading
//! dash; `--` ends the flags; the last of a repeated flag wins, unless it adds to the others. Which
//! flags there are, and which take a value, is asked of clap's own [`Command`], so values are never
//! mistaken for flags.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use clap::{Arg, ArgAction, Command};

use super::known::{find, go_bool, is_help, long, may_be_empty, takes_value, value_name};
use super::unknown;
use crate::error::{Error, ErrorKind};

/// A command line: its flags by clap's names, their values beside them.
#[derive(Debug)]
pub(crate) struct CommandLine<'a> {
    words: Vec<Word<'a>>,
    /// The command, and how many words there are up to it.
    pub(crate) command: Option<(usize, &'a Command)>,
    /// What is to be told, in place of running the command.
    pub(crate) asked: Option<Asked>,
}

/// What can be asked of the program.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Asked {
    /// `-h`
    Summary,
    /// `-help`, `snap help`
    Manual,
    /// `-version`, `snap version`
    Version,
}

#[derive(Debug)]
enum Word<'a> {
    Flag {
        flag: &'a Arg,
        value: Option<OsString>,
    },
    /// The program, the command, or a positional argument.
    Plain(OsString),
    /// `--`
    EndOfFlags,
}

impl<'a> CommandLine<'a> {
    /// Reads a command line, the program's name first. `root` must be built, so that its commands
    /// have the flags of all.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Usage`] for a flag or command that there is not, for a flag without its value,
    /// and for an empty value or argument.
    pub(crate) fn read(root: &'a Command, args: Vec<OsString>) -> Result<Self, Error> {
        let mut args = args.into_iter();
        let mut line = Self {
            words: args.next().map(Word::Plain).into_iter().collect(),
            command: None,
            asked: None,
        };
        while let Some(arg) = args.next() {
            if arg == "--" {
                line.words.push(Word::EndOfFlags);
                line.words.extend(args.by_ref().map(Word::Plain));
            } else if let Some((name, value)) = split_flag(&arg) {
                if name == "v" && line.command.is_none() {
                    line.asked = Some(Asked::Version);
                    break;
                }
                let command = line.command.map_or(root, |(_, command)| command);
                let Some(flag) = find(command, name) else {
                    return Err(unknown::flag(root, command, name, args.as_slice()));
                };
                if let Some(asked) = Asked::by(flag, name) {
                    line.asked = Some(asked);
                    // What follows does not matter, be it right or wrong.
                    break;
                }
                let value = match value {
                    Some(value) if takes_value(flag) => Some(value.to_owned()),
                    Some(value) => Some(go_bool(value).map_or(value.to_owned(), OsString::from)),
                    None if takes_value(flag) => {
                        Some(args.next().ok_or_else(|| without_value(flag))?)
                    }
                    None => None,
                };
                line.words.push(Word::Flag { flag, value });
            } else {
                line.push_plain(root, arg, args.as_slice())?;
            }
        }
        line.ensure_no_empty_value()?;
        line.ensure_no_loose_value()?;
        Ok(line)
    }

    /// Adds a word without a dash, before the words of `rest`. The first one names the command.
    fn push_plain(
        &mut self,
        root: &'a Command,
        word: OsString,
        rest: &[OsString],
    ) -> Result<(), Error> {
        if self.command.is_some() || word.is_empty() {
            self.words.push(Word::Plain(word));
            return Ok(());
        }
        match word.to_str() {
            Some("help") => self.asked = Some(Asked::Manual),
            Some("version") => self.asked = self.asked.or(Some(Asked::Version)),
            name => {
                let command = name.and_then(|name| root.find_subcommand(name));
                let command = command.ok_or_else(|| unknown::command(root, &word, rest))?;
                self.words.push(Word::Plain(word));
                self.command = Some((self.words.len(), command));
            }
        }
        Ok(())
    }

    /// Refuses empty values. They come from variables of a shell that are not set, and would mean
    /// the default: this machine in place of another, all databases in place of one.
    fn ensure_no_empty_value(&self) -> Result<(), Error> {
        for word in self.words.iter().skip(1) {
            match word {
                Word::Flag { flag, value } => {
                    let is_empty = value.as_ref().is_some_and(|value| value.is_empty());
                    if is_empty && takes_value(flag) && !may_be_empty(flag) {
                        let name = long(flag);
                        return Err(empty(
                            &format!("the value of -{name}"),
                            &format!("leave -{name} out to use its default"),
                        ));
                    }
                }
                Word::Plain(word) if word.is_empty() => {
                    let none = "leave the argument out to use its default";
                    return Err(empty("an argument", none));
                }
                Word::Plain(_) | Word::EndOfFlags => {}
            }
        }
        Ok(())
    }

    /// The flags that were typed, with their values.
    pub(crate) fn flags(&self) -> impl Iterator<Item = (&'a Arg, Option<&OsStr>)> {
        self.words.iter().filter_map(|word| match word {
            Word::Flag { flag, value } => Some((*flag, value.as_deref())),
            Word::Plain(_) | Word::EndOfFlags => None,
        })
    }

    /// Whether a flag was typed.
    pub(crate) fn has(&self, name: &str) -> bool {
        self.flags().any(|(flag, _)| long(flag) == name)
    }

    /// The value of a flag, where it was typed.
    pub(crate) fn value(&self, name: &str) -> Option<OsString> {
        let values = self.flags().filter(|(flag, _)| long(flag) == name);
        values.last()?.1.map(OsStr::to_owned)
    }

    /// The arguments behind the command.
    pub(crate) fn positionals(&self) -> Vec<&OsStr> {
        let at = self.command.map_or(self.words.len(), |(at, _)| at);
        let words = self.words[at..].iter().filter_map(|word| match word {
            Word::Plain(word) => Some(word.as_os_str()),
            Word::Flag { .. } | Word::EndOfFlags => None,
        });
        words.collect()
    }

    /// Refuses a switch that is followed by a yes or no, and that by an argument: the word would be
    /// taken for PATH.
    fn ensure_no_loose_value(&self) -> Result<(), Error> {
        let pairs = self.words.windows(2);
        let loose = pairs.filter_map(|pair| match pair {
            [Word::Flag { flag, value: None }, Word::Plain(word)] => Some((flag, word.to_str()?)),
            _ => None,
        });
        let is_answer = |word: &str| ["yes", "no", "true", "false", "on", "off"].contains(&word);
        let mut loose = loose.filter(|(_, word)| is_answer(word));
        match loose.next() {
            Some((flag, word)) if self.positionals().len() > 1 => {
                let name = long(flag);
                Err(ErrorKind::Usage
                    .error(format!("-{name} is a switch, and '{word}' would be PATH"))
                    .hint(format!("write -{name} or -{name}=false")))
            }
            _ => Ok(()),
        }
    }

    /// Whether a switch was typed, and not as false.
    pub(crate) fn is_on(&self, name: &str) -> bool {
        let typed = self.flags().filter(|(flag, _)| long(flag) == name);
        let last = typed.last();
        last.is_some_and(|(_, value)| value.is_none_or(|value| value == "true"))
    }

    /// The words as clap takes them: behind the command the flags, those of `defaults` first, so
    /// that what was typed counts for more, and then the arguments. With a flag between two of
    /// these, clap takes an argument that may be missing for missing.
    pub(crate) fn for_clap(&self, defaults: &[OsString]) -> Vec<OsString> {
        let at = self.command.map_or(self.words.len(), |(at, _)| at);
        let (before, behind) = self.words.split_at(at);
        let (flags, arguments): (Vec<&Word<'_>>, Vec<&Word<'_>>) = behind
            .iter()
            .partition(|word| matches!(word, Word::Flag { .. }));
        let is_flag = |word: &&OsString| word.as_bytes().starts_with(b"--");
        let (default_flags, default_path): (Vec<&OsString>, Vec<&OsString>) =
            defaults.iter().partition(is_flag);
        let mut words: Vec<OsString> = before.iter().map(Word::for_clap).collect();
        words.extend(default_flags.into_iter().cloned());
        words.extend(flags.into_iter().map(Word::for_clap));
        words.extend(default_path.into_iter().cloned());
        words.extend(arguments.into_iter().map(Word::for_clap));
        words
    }
}

impl Word<'_> {
    fn for_clap(&self) -> OsString {
        match self {
            Word::Flag { flag, value } => clap_flag(long(flag), value.as_deref()),
            Word::Plain(word) => word.clone(),
            Word::EndOfFlags => "--".into(),
        }
    }
}

/// A flag and its value in one word.
pub(crate) fn clap_flag(name: &str, value: Option<&OsStr>) -> OsString {
    let mut word = format!("--{name}").into_bytes();
    if let Some(value) = value {
        word.push(b'=');
        word.extend_from_slice(value.as_bytes());
    }
    OsString::from_vec(word)
}

/// Splits a flag into its name and the value written behind `=`.
pub(crate) fn split_flag(word: &OsStr) -> Option<(&OsStr, Option<&OsStr>)> {
    let bytes = word.as_bytes().strip_prefix(b"-")?;
    let bytes = bytes.strip_prefix(b"-").unwrap_or(bytes);
    if bytes.is_empty() || bytes[0] == b'-' || bytes[0] == b'=' {
        return None;
    }
    let mut parts = bytes.splitn(2, |byte| *byte == b'=').map(OsStr::from_bytes);
    Some((parts.next()?, parts.next()))
}

impl Asked {
    /// What a flag asks, by the name it was typed with.
    fn by(flag: &Arg, name: &OsStr) -> Option<Self> {
        match flag.get_action() {
            ArgAction::Version => Some(Self::Version),
            _ if !is_help(flag) => None,
            _ if name == "h" => Some(Self::Summary),
            _ => Some(Self::Manual),
        }
    }
}

fn without_value(flag: &Arg) -> Error {
    let (name, value) = (long(flag), value_name(flag));
    ErrorKind::Usage
        .error(format!("-{name} has no value"))
        .hint(format!("write -{name} {value}"))
}

fn empty(what: &str, none: &str) -> Error {
    let error = ErrorKind::Usage.error(format!("{what} is empty"));
    error.hint(format!("is a shell variable not set? {none}"))
}

#[cfg(test)]
#[path = "argv_tests.rs"]
mod tests;
