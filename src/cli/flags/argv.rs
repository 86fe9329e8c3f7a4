//! A command line as Go's `flag` package reads it.
//!
//! Go: one dash or two; `-flag value` or `-flag=value`; a boolean is `-flag` or `-flag=false`,
//! never `-flag false`; the word after a flag that takes a value is its value even with a leading
//! dash; `--` ends the flags; the last of a repeated flag wins. Which flags there are, and which
//! take a value, is asked of clap's own [`Command`], so values are never mistaken for flags.

use std::any::TypeId;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use clap::{Arg, ArgAction, Command};

use super::values::MayBeEmpty;
use crate::error::{Error, ErrorKind};

/// How like a known name an unknown one must be for the known one to be offered, from 0 to 1.
const ALIKE: f64 = 0.75;

/// A command line: its flags by clap's names, their values beside them.
#[derive(Debug)]
pub(crate) struct CommandLine<'a> {
    words: Vec<Word<'a>>,
    /// The command, and how many words there are up to it.
    pub(crate) command: Option<(usize, &'a Command)>,
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
    /// [`ErrorKind::Usage`] for a flag that there is not, and for an empty value or argument.
    pub(crate) fn read(root: &'a Command, args: Vec<OsString>) -> Result<Self, Error> {
        let mut args = args.into_iter();
        let mut line = Self {
            words: args.next().map(Word::Plain).into_iter().collect(),
            command: None,
        };
        while let Some(arg) = args.next() {
            if arg == "--" {
                line.words.push(Word::EndOfFlags);
                line.words.extend(args.by_ref().map(Word::Plain));
            } else if let Some((name, value)) = split_flag(&arg) {
                let command = line.command.map_or(root, |(_, command)| command);
                let flag = find(command, name).ok_or_else(|| unknown(root, command, name))?;
                let value = match value {
                    Some(value) if takes_value(flag) => Some(value.to_owned()),
                    Some(value) => Some(go_bool(value).map_or(value.to_owned(), OsString::from)),
                    // Without a further word it stays bare, and clap says that the value is
                    // missing.
                    None if takes_value(flag) => args.next(),
                    None => None,
                };
                line.words.push(Word::Flag { flag, value });
                if is_help(flag) {
                    // What follows does not matter, be it right or wrong.
                    break;
                }
            } else {
                line.push_plain(root, arg);
                if line.command.is_none() {
                    // It names no command, which clap says; whose flags would follow is not known.
                    line.words.extend(args.by_ref().map(Word::Plain));
                }
            }
        }
        line.ensure_no_empty_value()?;
        Ok(line)
    }

    /// Adds a word without a dash. The first one names the command.
    fn push_plain(&mut self, root: &'a Command, word: OsString) {
        self.words.push(Word::Plain(word));
        if let (None, Some(Word::Plain(word))) = (self.command, self.words.last()) {
            let command = word.to_str().and_then(|name| root.find_subcommand(name));
            self.command = command.map(|command| (self.words.len(), command));
        }
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

    /// Whether help or the version is asked for.
    pub(crate) fn asks_for_help(&self) -> bool {
        self.flags().any(|(flag, _)| is_help(flag))
    }

    /// Whether there are arguments behind the command.
    pub(crate) fn has_positional(&self) -> bool {
        let at = self.command.map_or(self.words.len(), |(at, _)| at);
        let mut words = self.words[at..].iter();
        words.any(|word| matches!(word, Word::Plain(_)))
    }

    /// The words as clap takes them, with `defaults` right behind the command, so that what was
    /// typed counts for more.
    pub(crate) fn for_clap(self, defaults: Vec<OsString>) -> Vec<OsString> {
        let at = self.command.map_or(self.words.len(), |(at, _)| at);
        let mut words: Vec<OsString> = self.words.into_iter().map(Word::for_clap).collect();
        words.splice(at..at, defaults);
        words
    }
}

impl Word<'_> {
    fn for_clap(self) -> OsString {
        match self {
            Word::Flag { flag, value } => clap_flag(long(flag), value.as_deref()),
            Word::Plain(word) => word,
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

/// The flag of that name: a long one, another name of it, or a letter.
pub(crate) fn find(command: &Command, name: impl AsRef<OsStr>) -> Option<&Arg> {
    let name = name.as_ref().to_str()?;
    command.get_arguments().find(|arg| {
        let letter = arg.get_short().map(String::from);
        let others = arg.get_all_aliases().unwrap_or_default();
        arg.get_long() == Some(name) || others.contains(&name) || letter.as_deref() == Some(name)
    })
}

pub(crate) fn long(flag: &Arg) -> &str {
    flag.get_long().unwrap_or_else(|| flag.get_id().as_str())
}

/// Whether the flag is always followed by a value. Our booleans take one only behind `=`.
pub(crate) fn takes_value(flag: &Arg) -> bool {
    flag.get_action().takes_values() && !flag.is_require_equals_set()
}

/// Whether an empty value says something: no configuration, no command.
pub(crate) fn may_be_empty(flag: &Arg) -> bool {
    flag.get_value_parser().type_id() == TypeId::of::<MayBeEmpty>()
}

/// Whether a flag asks for help or the version.
pub(crate) fn is_help(flag: &Arg) -> bool {
    matches!(
        flag.get_action(),
        ArgAction::Help | ArgAction::HelpShort | ArgAction::HelpLong | ArgAction::Version
    )
}

/// What Go's `strconv.ParseBool` takes for true and false.
pub(crate) fn go_bool(text: &OsStr) -> Option<&'static str> {
    match text.to_str()? {
        "1" | "t" | "T" | "TRUE" | "true" | "True" => Some("true"),
        "0" | "f" | "F" | "FALSE" | "false" | "False" => Some("false"),
        _ => None,
    }
}

/// The known name that was probably meant.
pub(crate) fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let known = known.into_iter();
    let likeness = known.map(|known| (strsim::jaro(name, known), known));
    let best = likeness.max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(likeness, _)| *likeness > ALIKE)
        .map(|(_, known)| known)
}

fn unknown(root: &Command, command: &Command, name: &OsStr) -> Error {
    let name = name.to_string_lossy();
    let error = |more: &str| ErrorKind::Usage.error(format!("unknown flag -{name}{more}"));
    let flags = command.get_arguments().flat_map(|arg| {
        let others = arg.get_visible_aliases().unwrap_or_default();
        arg.get_long().into_iter().chain(others)
    });
    let owner = root
        .get_subcommands()
        .find(|other| find(other, &*name).is_some());
    match (nearest(&name, flags), owner) {
        // Go reads the flags of a command behind its name alone.
        (_, Some(owner)) if command.get_name() == root.get_name() => {
            let owner = owner.get_name();
            error("").hint(format!("write it behind the command: snap {owner} -{name}"))
        }
        (Some(meant), _) => error(&format!("; did you mean -{meant}?")),
        (None, _) if command.get_name() == root.get_name() => error("").hint("see: snap -h"),
        (None, _) => error("").hint(format!("see: snap {} -h", command.get_name())),
    }
}

fn empty(what: &str, none: &str) -> Error {
    let error = ErrorKind::Usage.error(format!("{what} is empty"));
    error.hint(format!("is a shell variable not set? {none}"))
}

#[cfg(test)]
#[path = "argv_tests.rs"]
mod tests;
