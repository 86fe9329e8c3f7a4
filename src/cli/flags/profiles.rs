//! Which profiles of the configuration hold, and whether what they say means anything.

use std::path::Path;

use clap::{Arg, Command};

use super::config::{self, ConfigEntry, ConfigValue, DEFAULT, Profile};
use super::known::{advice, find, is_help, may_be_empty, takes_value};
use super::storage;
use crate::error::{Error, ErrorKind};

/// The key for the backup directory.
pub(crate) const PATH: &str = "path";

/// The flags that say how something is done, and not what, where to, or with what.
const HOW: [&str; 18] = [
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
    "on-start",
    "on-success",
    "on-failure",
    "hook-timeout",
    "quiet",
    "summary",
    "verbose",
    "json",
];

/// The flags that a configuration can have for a command.
pub(crate) fn settable(command: &Command) -> impl Iterator<Item = &Arg> {
    let flags = command.get_arguments();
    flags.filter(|arg| arg.get_long().is_some() && !arg.is_global_set() && !is_help(arg))
}

/// The one of [`settable`] of that name.
pub(crate) fn find_settable<'a>(command: &'a Command, name: &str) -> Option<&'a Arg> {
    find(command, name).filter(|arg| !arg.is_global_set() && !is_help(arg))
}

/// Whether a command takes a flag that was said of all commands. What a restore writes and where
/// to, and what is served, must be said of that command or typed.
pub(crate) fn takes_shared(command: &str, flag: &str) -> bool {
    match command {
        "restore" => HOW.contains(&flag),
        "serve" => ["quiet", "summary", "verbose", "json"].contains(&flag),
        // With a host, it is the server that is looked at.
        "info" => flag != "host",
        "stats" | "export" | "diff" => !["host", "metadir", "datadir", "waldir"].contains(&flag),
        _ => true,
    }
}

/// The profiles that hold, lowest first.
pub(crate) fn chosen<'a>(
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
        let places = config::usual();
        let places: Vec<String> = places
            .iter()
            .map(|path| path.display().to_string())
            .collect();
        let error = ErrorKind::Usage.error(format!(
            "there is no configuration that could have a profile '{wanted}'"
        ));
        let places = places.join(" and ");
        return Err(error.hint(format!(
            "it is looked for in {places}; or name it with -config"
        )));
    };
    let Some(profile) = named(wanted) else {
        let names: Vec<&str> = profiles
            .iter()
            .map(|profile| profile.name.as_str())
            .collect();
        let file = file.display();
        return Err(ErrorKind::Usage
            .error(format!("{file} has no profile '{wanted}'"))
            .hint(advice(wanted, &names)));
    };
    chosen.push(profile);
    Ok(chosen)
}

/// Refuses an entry that means nothing: of no command, of no flag, or with a value that the flag
/// cannot have.
///
/// # Errors
///
/// [`ErrorKind::Usage`] with the entry's place.
pub(crate) fn ensure_meaningful(
    root: &Command,
    profile: &Profile,
    entry: &ConfigEntry,
) -> Result<(), Error> {
    let ConfigEntry { command, key, .. } = entry;
    let commands = commands_of(root, profile, entry)?;
    let having: Vec<(&Command, &Arg)> = commands
        .iter()
        .filter_map(|command| Some((*command, flag_or_path(command, key)?)))
        .collect();
    let Some((owner, flag)) = having.first() else {
        return Err(unknown_key(&commands, profile, entry));
    };
    let mut owners = having.iter().map(|(command, _)| command.get_name());
    if command.is_none() && !owners.any(|owner| takes_shared(owner, key)) {
        let (place, own) = (&entry.place, owner.get_name());
        let error =
            ErrorKind::Usage.error(format!("{place}: '{key}' cannot be said of all commands"));
        return Err(error.hint(format!("write it below a line [{}.{own}]", profile.name)));
    }
    ensure_value(flag, entry)
}

/// The flag, or the argument for the backup directory, that a key stands for.
fn flag_or_path<'a>(command: &'a Command, key: &str) -> Option<&'a Arg> {
    let mut positionals = command.get_positionals();
    let path = positionals.find(|arg| key == PATH && arg.get_id() == PATH);
    find_settable(command, key).or(path)
}

/// The commands that an entry is of.
fn commands_of<'a>(
    root: &'a Command,
    profile: &Profile,
    entry: &ConfigEntry,
) -> Result<Vec<&'a Command>, Error> {
    let Some(name) = &entry.command else {
        return Ok(root.get_subcommands().collect());
    };
    if let Some(command) = root
        .get_subcommands()
        .find(|other| other.get_name() == name)
    {
        return Ok(vec![command]);
    }
    let tables = storage::tables();
    let commands = root.get_subcommands().map(Command::get_name);
    let names: Vec<&str> = commands.chain(tables.iter().map(String::as_str)).collect();
    let (place, table) = (&entry.place, table(profile, entry));
    Err(ErrorKind::Usage
        .error(format!("{place}: [{table}] is of no command"))
        .hint(advice(name, &names)))
}

fn unknown_key(commands: &[&Command], profile: &Profile, entry: &ConfigEntry) -> Error {
    let flags = commands.iter().flat_map(|command| settable(command));
    let mut names: Vec<&str> = flags.filter_map(Arg::get_long).chain([PATH]).collect();
    names.sort_unstable();
    names.dedup();
    let (place, key, table) = (&entry.place, &entry.key, table(profile, entry));
    ErrorKind::Usage
        .error(format!("{place}: [{table}] has an unknown key '{key}'"))
        .hint(advice(key, &names))
}

/// The name of the table that an entry stands in.
fn table(profile: &Profile, entry: &ConfigEntry) -> String {
    match &entry.command {
        None => profile.name.clone(),
        Some(command) => format!("{}.{command}", profile.name),
    }
}

fn ensure_value(flag: &Arg, entry: &ConfigEntry) -> Result<(), Error> {
    let ConfigEntry { key, place, .. } = entry;
    let is_switch = !takes_value(flag);
    let must = |what: &str| Err(ErrorKind::Usage.error(format!("{place}: '{key}' must be {what}")));
    match &entry.value {
        ConfigValue::Text(text) if text.is_empty() && !may_be_empty(flag) => Err(ErrorKind::Usage
            .error(format!("{place}: the value of '{key}' is empty"))
            .hint(format!("leave '{key}' out for its default"))),
        ConfigValue::Switch(_) if is_switch => Ok(()),
        ConfigValue::Text(_) if !is_switch => Ok(()),
        _ if is_switch => must("true or false"),
        ConfigValue::Other(kind) => must(&format!("text, not of type {kind}")),
        ConfigValue::Switch(_) | ConfigValue::Text(_) => must("text, not true or false"),
    }
}
