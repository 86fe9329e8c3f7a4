//! Flags that were not typed: from the environment and from the configuration file.
//!
//! They become words between the command and what was typed, so that of a flag given twice the typed one counts, and clap
//! judges them all. Lowest first: `[default]`, the profile, the environment.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Arg, Command};

use super::argv::{MAY_BE_EMPTY, find, go_bool, takes_value};
use super::config::{self, DEFAULT, Entry, Profile, Value};
use crate::error::{Error, ErrorKind};

/// The flags that have a variable: `SNAP_` and the flag's name in capitals.
const VARIABLES: [&str; 9] = [
    "host",
    "database",
    "portable",
    "jobs",
    "limit-rate",
    "retry-lock",
    "metrics-file",
    "on-success",
    "on-failure",
];

/// The flags that say how something is done, and not what, where to, or with what.
const HOW: [&str; 15] = [
    "host",
    "path",
    "jobs",
    "limit-rate",
    "dialect",
    "connect-timeout",
    "idle-timeout",
    "attempt-timeout",
    "retries",
    "metrics-file",
    "on-success",
    "on-failure",
    "quiet",
    "verbose",
    "json",
];

/// The key for the backup directory.
const PATH: &str = "path";

/// A command line with the flags that were not typed.
#[derive(Debug)]
pub struct Complete {
    /// The words, the program's name first.
    pub words: Vec<OsString>,
    /// Each flag that was put in, and where it is from.
    pub origins: Vec<(String, String)>,
}

/// Puts flags into a command line that was rewritten.
///
/// # Errors
///
/// [`ErrorKind::Usage`] when the configuration cannot be read, or names what does not exist.
pub fn complete(root: &Command, words: Vec<OsString>) -> Result<Complete> {
    let unchanged = |words| {
        Ok(Complete {
            words,
            origins: Vec::new(),
        })
    };
    let typed = Typed::read(root, &words);
    let Some((at, command)) = typed.command else {
        return unchanged(words);
    };
    // Where it is not run, or has no flags, a fault in the configuration does not matter.
    if typed.has("help")
        || typed.has("version")
        || command.get_arguments().all(|arg| arg.get_long().is_none())
    {
        return unchanged(words);
    }
    let variable = |name: &str| env::var_os(name);
    let profile = typed
        .value("profile")
        .or_else(|| variable("SNAP_PROFILE"))
        .filter(|name| !name.is_empty());
    let named = typed
        .value("config")
        .or_else(|| variable("SNAP_CONFIG"))
        .map(PathBuf::from);
    let file = config::find(named.as_deref())?;
    let profiles = file
        .as_deref()
        .map_or_else(|| Ok(Vec::new()), config::read)?;
    let wanted = profile.as_ref().map(|name| name.to_string_lossy());
    let chosen = choose(&profiles, wanted.as_deref(), file.as_deref())?;

    let mut flags: Vec<(String, OsString, String)> = Vec::new();
    let mut path: Option<OsString> = None;
    for profile in chosen {
        profile
            .entries
            .iter()
            .try_for_each(|entry| judge(root, profile, entry))?;
        // What is said of one command counts for more than what is said of all.
        let shared = profile
            .entries
            .iter()
            .filter(|entry| entry.command.is_none());
        let own = profile
            .entries
            .iter()
            .filter(|entry| entry.command.as_deref() == Some(command.get_name()));
        for entry in shared
            .filter(|entry| takes_shared(command.get_name(), &entry.key))
            .chain(own)
        {
            match (&entry.value, entry.key.as_str()) {
                (Value::Text(text), PATH) => path = Some(text.into()),
                (Value::Text(text), key) => {
                    flags.push((key.to_owned(), text.into(), entry.place.clone()))
                }
                (Value::Switch(switch), key) => flags.push((
                    key.to_owned(),
                    switch.to_string().into(),
                    entry.place.clone(),
                )),
                (Value::Other(_), _) => {}
            }
        }
    }
    for flag in VARIABLES
        .into_iter()
        .filter(|flag| takes_shared(command.get_name(), flag))
    {
        let name = format!("SNAP_{}", flag.to_uppercase().replace('-', "_"));
        if let Some(value) = variable(&name).filter(|value| !value.is_empty()) {
            let value = match find(command, flag) {
                Some(arg) if !takes_value(arg) => {
                    go_bool(&value).map_or(value.clone(), OsString::from)
                }
                _ => value,
            };
            flags.push((flag.to_owned(), value, name));
        }
    }
    let mut words = words;
    let mut origins = Vec::new();
    let mut put = Vec::new();
    for (flag, value, place) in flags {
        let Some(arg) = find(command, &flag) else {
            continue;
        };
        if typed.excludes(command, arg) {
            continue;
        }
        let mut word = format!("--{flag}=").into_bytes();
        word.extend_from_slice(value.as_bytes());
        put.push(OsString::from_vec(word));
        origins.push((flag, place));
    }
    let from_environment = variable("SNAP_DIR").is_some_and(|value| !value.is_empty());
    if let Some(arg) = command.get_positionals().find(|arg| arg.get_id() == PATH)
        && let Some(path) = path
        && !from_environment
        && !typed.has_positional
        && !typed.excludes(command, arg)
    {
        // A path is no flag, whatever it begins with.
        put.push(if path.as_bytes().starts_with(b"-") {
            Path::new(".").join(path).into()
        } else {
            path
        });
    }
    words.splice(at + 1..at + 1, put);
    Ok(Complete { words, origins })
}

/// What was typed, as far as it matters here.
struct Typed<'a> {
    /// The command and where its name stands.
    command: Option<(usize, &'a Command)>,
    /// The flags, with what is written behind `=`.
    flags: Vec<(String, Option<OsString>)>,
    /// Whether there are words that are no flags.
    has_positional: bool,
}

impl<'a> Typed<'a> {
    fn read(root: &'a Command, words: &[OsString]) -> Self {
        let mut typed = Self {
            command: None,
            flags: Vec::new(),
            has_positional: false,
        };
        let mut words = words.iter().enumerate().skip(1);
        for (at, word) in words.by_ref() {
            if word == "--" {
                break;
            }
            let bytes = word.as_bytes();
            if let Some(flag) = bytes.strip_prefix(b"--") {
                let end = flag.iter().position(|byte| *byte == b'=');
                let name = String::from_utf8_lossy(&flag[..end.unwrap_or(flag.len())]).into_owned();
                typed.flags.push((
                    name,
                    end.map(|end| OsStr::from_bytes(&flag[end + 1..]).to_owned()),
                ));
            } else if typed.command.is_some() {
                typed.has_positional = true;
            } else {
                typed.command = word
                    .to_str()
                    .and_then(|word| root.find_subcommand(word))
                    .map(|command| (at, command));
                if typed.command.is_none() {
                    break;
                }
            }
        }
        typed.has_positional |= words.next().is_some();
        typed
    }

    fn has(&self, flag: &str) -> bool {
        self.flags.iter().any(|(name, _)| name == flag)
    }

    fn value(&self, flag: &str) -> Option<OsString> {
        self.flags
            .iter()
            .rev()
            .find(|(name, _)| name == flag)?
            .1
            .clone()
    }

    /// Whether something was typed that cannot go with a flag: then that flag was not meant.
    fn excludes(&self, command: &Command, arg: &Arg) -> bool {
        let conflicts = |a: &Arg, b: &Arg| {
            command
                .get_arg_conflicts_with(a)
                .iter()
                .any(|other| other.get_id() == b.get_id())
        };
        // A server that is named is asked, and not the directories of one that does not run.
        let stopped = ["metadir", "datadir", "waldir", "ignore_wal"]
            .iter()
            .any(|id| arg.get_id() == id);
        if command.get_name() == "backup" && stopped && self.has("host") {
            return true;
        }
        let flags = self
            .flags
            .iter()
            .filter(|(_, value)| value.as_deref() != Some(OsStr::new("false")));
        let flags = flags.filter_map(|(name, _)| find(command, name));
        let positionals = command.get_positionals().filter(|_| self.has_positional);
        flags
            .chain(positionals)
            .any(|typed| conflicts(typed, arg) || conflicts(arg, typed))
    }
}

/// Whether a command takes a flag that was said of all commands. What a restore writes and where to, and what is served, must
/// be said of that command or typed.
fn takes_shared(command: &str, flag: &str) -> bool {
    match command {
        "restore" => HOW.contains(&flag),
        "serve" => ["quiet", "verbose", "json"].contains(&flag),
        // With a host, it is the server that is looked at.
        "info" => flag != "host",
        _ => true,
    }
}

/// The profiles that hold, lowest first.
fn choose<'a>(
    profiles: &'a [Profile],
    wanted: Option<&str>,
    file: Option<&Path>,
) -> Result<Vec<&'a Profile>, Error> {
    let named = |name: &str| profiles.iter().find(|profile| profile.name == name);
    let mut chosen: Vec<&Profile> = named(DEFAULT).into_iter().collect();
    let Some(wanted) = wanted.filter(|wanted| *wanted != DEFAULT) else {
        return Ok(chosen);
    };
    let Some(file) = file else {
        let usual: Vec<String> = config::usual()
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        return Err(ErrorKind::Usage
            .error(format!(
                "there is no configuration that could have a profile '{wanted}'"
            ))
            .hint(format!(
                "it is looked for in {}; or name it with -config",
                usual.join(" and ")
            )));
    };
    let Some(profile) = named(wanted) else {
        let names: Vec<&str> = profiles
            .iter()
            .map(|profile| profile.name.as_str())
            .collect();
        return Err(ErrorKind::Usage
            .error(format!("{} has no profile '{wanted}'", file.display()))
            .hint(advice(wanted, &names)));
    };
    chosen.push(profile);
    Ok(chosen)
}

/// Refuses an entry that means nothing.
fn judge(root: &Command, profile: &Profile, entry: &Entry) -> Result<(), Error> {
    let Entry {
        command,
        key,
        value,
        place,
    } = entry;
    let commands: Vec<&Command> = root.get_subcommands().collect();
    let named: Vec<&Command> = match command {
        None => commands.clone(),
        Some(name) => commands
            .iter()
            .copied()
            .filter(|command| command.get_name() == name)
            .collect(),
    };
    let table = command.as_ref().map_or_else(
        || profile.name.clone(),
        |command| format!("{}.{command}", profile.name),
    );
    if named.is_empty() {
        let names: Vec<&str> = commands.iter().map(|command| command.get_name()).collect();
        let fault = ErrorKind::Usage.error(format!("{place}: [{table}] is of no command"));
        return Err(fault.hint(advice(command.as_deref().unwrap_or_default(), &names)));
    }
    let is_path = |command: &&Command| {
        key == PATH && command.get_positionals().any(|arg| arg.get_id() == PATH)
    };
    let having: Vec<&Command> = named
        .iter()
        .copied()
        .filter(|command| find(command, key).is_some() || is_path(command))
        .collect();
    if having.is_empty() {
        let flags = named
            .iter()
            .flat_map(|command| command.get_arguments())
            .filter_map(Arg::get_long)
            .chain([PATH]);
        let mut names: Vec<&str> = flags.collect();
        names.sort_unstable();
        names.dedup();
        return Err(ErrorKind::Usage
            .error(format!("{place}: [{table}] has an unknown key '{key}'"))
            .hint(advice(key, &names)));
    }
    if command.is_none()
        && !having
            .iter()
            .any(|command| takes_shared(command.get_name(), key))
    {
        let own = having[0].get_name();
        let fault =
            ErrorKind::Usage.error(format!("{place}: '{key}' cannot be said of all commands"));
        return Err(fault.hint(format!("write it below a line [{}.{own}]", profile.name)));
    }
    let is_switch = find(having[0], key).is_some_and(|arg| !takes_value(arg));
    match value {
        Value::Text(text) if text.is_empty() && !MAY_BE_EMPTY.contains(&key.as_str()) => {
            let fault = ErrorKind::Usage.error(format!("{place}: the value of '{key}' is empty"));
            Err(fault.hint(format!("leave '{key}' out for its default")))
        }
        Value::Switch(_) if is_switch => Ok(()),
        Value::Text(_) if !is_switch => Ok(()),
        _ if is_switch => {
            Err(ErrorKind::Usage.error(format!("{place}: '{key}' must be true or false")))
        }
        Value::Switch(_) => {
            Err(ErrorKind::Usage.error(format!("{place}: '{key}' must be text, not true or false")))
        }
        Value::Other(kind) => {
            Err(ErrorKind::Usage
                .error(format!("{place}: '{key}' must be text, not of type {kind}")))
        }
        Value::Text(_) => Ok(()),
    }
}

/// What was meant perhaps, and what there is.
fn advice(name: &str, known: &[&str]) -> String {
    let close = known
        .iter()
        .map(|known| (strsim::jaro(name, known), *known))
        .max_by(|a, b| a.0.total_cmp(&b.0));
    let meant = close
        .filter(|(likeness, _)| *likeness > 0.75)
        .map(|(_, known)| format!("did you mean '{known}'? "));
    format!(
        "{}there are: {}",
        meant.unwrap_or_default(),
        known.join(", ")
    )
}
