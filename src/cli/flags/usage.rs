//! What clap refuses, in our words: the flag as it is typed, what is wrong, and what to write.

use std::error::Error as _;
use std::ffi::OsString;

use clap::error::{ContextKind, ContextValue, ErrorKind as Refusal};
use clap::{Arg, Command};

use super::argv::{CommandLine, clap_flag};
use super::defaults::Defaults;
use super::known::{long, takes_value, value_name};
use crate::error::{Error, ErrorKind};

/// The refusal of a command line in our words. `defaults` says where words are from that were not
/// typed.
pub(crate) fn in_our_words(
    root: &Command,
    line: &CommandLine<'_>,
    refused: &clap::Error,
    defaults: &Defaults,
) -> Error {
    let Some((_, command)) = line.command else {
        return ErrorKind::Usage
            .error("there is no command")
            .hint("the commands: snap help");
    };
    let named = words_of(refused, ContextKind::InvalidArg);
    let error = match refused.kind() {
        Refusal::InvalidValue | Refusal::ValueValidation => invalid_value(command, refused),
        Refusal::MissingRequiredArgument => missing(root, line, command, &named),
        Refusal::ArgumentConflict => {
            let others = words_of(refused, ContextKind::PriorArg);
            ErrorKind::Usage
                .error(format!(
                    "{} cannot go with {}",
                    as_typed(&named),
                    as_typed(&others)
                ))
                .hint("leave out one or the other")
        }
        Refusal::UnknownArgument => too_many(command, &named),
        // What clap's own words are enough for: arguments that are not UTF-8.
        _ => ErrorKind::Usage.error(first_line(refused)),
    };
    let others = words_of(refused, ContextKind::PriorArg);
    let is_named = |flag: &String| {
        let mut words = named.iter().chain(&others);
        words.any(|word| flag_name(word) == Some(flag.as_str()))
    };
    if let (Some(place), [word]) = (&defaults.path_origin, &named[..])
        && flag_name(word).is_none()
        && as_typed(&named) == "PATH"
    {
        return from(error, "PATH", place);
    }
    // What was typed counts for more than a default.
    let origin = defaults
        .origins
        .iter()
        .rfind(|(flag, _)| is_named(flag) && !line.has(flag));
    match origin {
        None => error,
        Some((flag, place)) => from(error, &format!("-{flag}"), place),
    }
}

/// The error, and in its hint where a flag or argument is from that was not typed.
pub(crate) fn from(error: Error, what: &str, place: &str) -> Error {
    match error.hint.clone() {
        None => error.hint(format!("{what} is from {place}")),
        Some(hint) => error.hint(format!("{hint} ({what} is from {place})")),
    }
}

/// The texts that clap gives for a part of what it refuses.
fn words_of(refused: &clap::Error, kind: ContextKind) -> Vec<String> {
    match refused.get(kind) {
        Some(ContextValue::String(word)) => vec![word.clone()],
        Some(ContextValue::Strings(words)) => words.clone(),
        _ => Vec::new(),
    }
}

/// The flag in clap's word for it: `retries` of `--retries <N>`.
fn flag_name(word: &str) -> Option<&str> {
    let name = word.strip_prefix("--")?;
    name.split([' ', '=', '[']).next()
}

/// Clap's words for flags and arguments, as a user types them.
fn as_typed(words: &[String]) -> String {
    let typed = |word: &String| match flag_name(word) {
        Some(name) => format!("-{name}"),
        None => word.trim_matches(['<', '>', '[', ']']).to_owned(),
    };
    words.iter().map(typed).collect::<Vec<_>>().join(" and ")
}

/// A value that a flag cannot have. What reads values says what is wrong, and behind a semicolon
/// what to write.
fn invalid_value(command: &Command, refused: &clap::Error) -> Error {
    let named = words_of(refused, ContextKind::InvalidArg);
    let value = words_of(refused, ContextKind::InvalidValue).concat();
    let flag = named.first().and_then(|word| flag_name(word));
    let flag = flag.and_then(|name| command.get_arguments().find(|arg| long(arg) == name));
    let (name, switch) = (
        as_typed(&named),
        flag.is_some_and(|flag| !takes_value(flag)),
    );
    let said = refused.source().map(ToString::to_string);
    let (what, advice) = match said {
        _ if switch => (
            format!("'{value}' is neither true nor false"),
            Some(format!("write {name} or {name}=false")),
        ),
        Some(said) => match said.split_once("; ") {
            Some((what, advice)) => (what.to_owned(), Some(advice.to_owned())),
            None => (said, None),
        },
        None => {
            let known = words_of(refused, ContextKind::ValidValue).join(", ");
            (
                format!("'{value}' is not known"),
                Some(format!("there are: {known}")),
            )
        }
    };
    let error = ErrorKind::Usage.error(format!("{name}: {what}"));
    match advice {
        Some(advice) => error.hint(advice),
        None => error,
    }
}

/// Flags or arguments that must be there: always, or because of another one.
fn missing(root: &Command, line: &CommandLine<'_>, command: &Command, names: &[String]) -> Error {
    let needing = names
        .iter()
        .find_map(|name| requiring(root, line, command, name));
    let who = needing.map_or_else(
        || command.get_name().to_owned(),
        |flag| format!("-{}", long(flag)),
    );
    let described = |name: &String| {
        let arg = match flag_name(name) {
            Some(flag) => command.get_arguments().find(|arg| long(arg) == flag),
            None => command
                .get_positionals()
                .find(|arg| as_typed(std::slice::from_ref(name)) == value_name(arg)),
        };
        let written = name
            .replace("--", "-")
            .replace("[=<BOOL>]", "")
            .replace(['<', '>'], "");
        let help = arg
            .and_then(Arg::get_help)
            .map(|help| format!(" ({})", short_help(&help.to_string())));
        format!("{written}{}", help.unwrap_or_default())
    };
    let described: Vec<String> = names.iter().map(described).collect();
    ErrorKind::Usage
        .error(format!("{who} needs {}", as_typed(names)))
        .hint(format!("add {}", described.join(" and ")))
}

/// A help text inside a sentence.
fn short_help(help: &str) -> String {
    let mut letters = help.chars();
    let first = letters.next().map(|letter| letter.to_ascii_lowercase());
    first.into_iter().chain(letters).collect()
}

/// The flag that was typed and is refused without `missing`: clap does not tell, but when asked
/// about that flag alone.
fn requiring<'a>(
    root: &Command,
    line: &CommandLine<'a>,
    command: &Command,
    missing: &str,
) -> Option<&'a Arg> {
    let asks = |flag: &Arg, value: Option<&std::ffi::OsStr>| {
        let words: [OsString; 3] = [
            root.get_name().into(),
            command.get_name().into(),
            clap_flag(long(flag), value),
        ];
        let refused = root.clone().try_get_matches_from(words).err();
        refused.is_some_and(|refused| {
            refused.kind() == Refusal::MissingRequiredArgument
                && words_of(&refused, ContextKind::InvalidArg)
                    .iter()
                    .any(|word| word == missing)
        })
    };
    let is_required = |arg: &Arg| arg.is_required_set() && flag_name(missing) == arg.get_long();
    if command.get_arguments().any(is_required) {
        return None;
    }
    let mut flags = line.flags();
    flags
        .find(|(flag, value)| asks(flag, *value))
        .map(|(flag, _)| flag)
}

/// An argument more than the command takes.
fn too_many(command: &Command, named: &[String]) -> Error {
    let taken: Vec<&str> = command.get_positionals().map(value_name).collect();
    let (name, extra) = (command.get_name(), named.join(" "));
    match &taken[..] {
        [] => ErrorKind::Usage.error(format!(
            "snap {name} takes no argument, and '{extra}' is one"
        )),
        taken => ErrorKind::Usage
            .error(format!(
                "'{extra}' is one argument too many: snap {name} takes one {}",
                taken.join(" and one ")
            ))
            .hint("a name with spaces must be quoted"),
    }
}

fn first_line(refused: &clap::Error) -> String {
    let text = refused.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}
