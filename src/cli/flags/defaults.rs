//! Flags that were not typed: from the environment and from the configuration file.
//!
//! They become words between the command and what was typed, so that of a flag given twice the
//! typed one counts, and clap judges them all. Lowest first: `[default]`, the profile, the
//! environment.

use std::env;
use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::Result;
use clap::{Arg, Command};

use super::argv::{CommandLine, clap_flag};
use super::config::{self, ConfigEntry, ConfigValue, Profile};
use super::known::{conflict, go_bool, is_repeatable, takes_value};
use super::places::{self, Typed};
use super::profiles::{PATH, chosen, ensure_meaningful, find_settable, settable, takes_shared};
use super::{storage, values};
use crate::repository::ObjectSettings;

/// The flags that have a variable: `SNAP_` and the flag's name in capitals.
const VARIABLES: [&str; 10] = [
    "host",
    "database",
    "portable",
    "jobs",
    "limit-rate",
    "retry-lock",
    "metrics-file",
    "on-start",
    "on-success",
    "on-failure",
];

/// The flags of `backup` that are of a stopped server.
const STOPPED: [&str; 4] = ["metadir", "datadir", "waldir", "ignore-wal"];

/// The words for what was not typed.
#[derive(Debug, Default)]
pub(crate) struct Defaults {
    /// Flags with their values, and the backup directory.
    pub(crate) words: Vec<OsString>,
    /// Each flag, and where it is from.
    pub(crate) origins: Vec<(String, String)>,
    /// Where the backup directory is from, if it is among the words.
    pub(crate) path_origin: Option<String>,
    /// How object storage is reached.
    pub(crate) storage: ObjectSettings,
}

/// A flag that was not typed.
struct Setting {
    flag: String,
    value: OsString,
    /// Where it is from.
    place: String,
}

impl Defaults {
    /// What the environment and the configuration say for a command line.
    ///
    /// # Errors
    ///
    /// [`crate::error::ErrorKind::Usage`] when the configuration cannot be read, or names what does
    /// not exist.
    pub(crate) fn of(root: &Command, line: &CommandLine<'_>) -> Result<Self> {
        let Some((_, command)) = line.command else {
            return Ok(Self::default());
        };
        // Where it has no flags, a fault in the configuration does not matter.
        if settable(command).next().is_none() {
            return Ok(Self::default());
        }
        let configured = configured(root, command, line)?;
        let mut settings = configured.flags;
        settings.extend(from_environment(command));
        let mut defaults = Self {
            storage: configured.storage,
            ..Self::default()
        };
        let is_last = |nth: usize| {
            let later = settings[nth + 1..].iter();
            let mut later = later.map(|later| &later.flag);
            later.all(|later| *later != settings[nth].flag)
        };
        // A flag that adds to itself would add to what it is to take the place of.
        let last: Vec<bool> = (0..settings.len()).map(is_last).collect();
        for (setting, is_last) in settings.into_iter().zip(last) {
            if let Some(flag) = find_settable(command, &setting.flag)
                && (is_last || !is_repeatable(flag))
                && !excludes(line, command, flag)
            {
                let word = clap_flag(&setting.flag, Some(&setting.value));
                defaults.words.push(word);
                defaults.origins.push((setting.flag, setting.place));
            }
        }
        if let Some(path) = default_path(line, command, configured.path)? {
            defaults.words.push(as_argument(path.value));
            defaults.path_origin = path.place;
        }
        Ok(defaults)
    }
}

/// The variables that a command reads, and what each stands in for.
pub(crate) fn variables(root: &Command, command: &Command) -> Vec<(String, String)> {
    let commands: Vec<&Command> = match command.has_subcommands() {
        true => root.get_subcommands().collect(),
        false => vec![command],
    };
    let any = |is: &dyn Fn(&Command) -> bool| commands.iter().any(|command| is(command));
    let takes_path = any(&|command| command.get_positionals().any(|arg| arg.get_id() == PATH));
    let path = takes_path.then(|| {
        (
            "SNAP_DIR".to_owned(),
            "PATH, the backup directory or its URL.".to_owned(),
        )
    });
    let flags = VARIABLES.into_iter().filter(|flag| {
        any(&|command| {
            find_settable(command, flag).is_some() && takes_shared(command.get_name(), flag)
        })
    });
    let flags = flags.map(|flag| (variable_of(flag), format!("The flag -{flag}.")));
    let global = ["profile", "config"];
    let global = global.map(|flag| (variable_of(flag), format!("The flag -{flag}.")));
    path.into_iter().chain(flags).chain(global).collect()
}

/// The name of a flag's variable.
fn variable_of(flag: &str) -> String {
    format!("SNAP_{}", flag.to_uppercase().replace('-', "_"))
}

/// A variable that is set, and not to nothing.
fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// The configuration that a command line means, and the profiles in it.
///
/// # Errors
///
/// [`crate::error::ErrorKind::Usage`] when it cannot be read.
pub(crate) fn profiles(line: &CommandLine<'_>) -> Result<(Option<PathBuf>, Vec<Profile>)> {
    let named = line.value("config");
    // A variable that is set to nothing says that there is no configuration.
    let named = named.or_else(|| env::var_os("SNAP_CONFIG"));
    let file = config::find(named.map(PathBuf::from).as_deref())?;
    let profiles = match &file {
        Some(file) => config::read(file)?,
        None => Vec::new(),
    };
    Ok((file, profiles))
}

/// The backup directory, or its URL.
struct DefaultPath {
    value: OsString,
    /// Where it is from; nowhere if it is the usual one.
    place: Option<String>,
}

/// What the configuration says for a command.
struct Configured {
    /// Lowest first.
    flags: Vec<Setting>,
    path: Option<DefaultPath>,
    storage: ObjectSettings,
}

/// What the configuration says for a command.
fn configured(root: &Command, command: &Command, line: &CommandLine<'_>) -> Result<Configured> {
    let profile = line.value("profile").or_else(|| variable("SNAP_PROFILE"));
    let profile = profile.filter(|name| !name.is_empty());
    let profile = profile.as_ref().map(|name| name.to_string_lossy());
    let (file, profiles) = profiles(line)?;
    let (mut flags, mut path) = (Vec::new(), None);
    let chosen = chosen(&profiles, profile.as_deref(), file.as_deref())?;
    for profile in &chosen {
        for entry in &profile.entries {
            ensure_meaningful(root, profile, entry)?;
        }
        for entry in entries_for(profile, command) {
            let value: OsString = match &entry.value {
                ConfigValue::Text(text) => text.into(),
                ConfigValue::Switch(switch) => switch.to_string().into(),
                ConfigValue::Other(_) => continue,
            };
            if entry.key == PATH {
                path = Some(DefaultPath {
                    value,
                    place: Some(entry.place.clone()),
                });
            } else {
                flags.push(Setting {
                    flag: entry.key.clone(),
                    value,
                    place: entry.place.clone(),
                });
            }
        }
    }
    let storage = chosen.iter().flat_map(|profile| {
        let entries = profile.storage.iter();
        entries.map(|entry| (profile.name.as_str(), entry))
    });
    Ok(Configured {
        flags,
        path,
        storage: storage::settings(storage)?,
    })
}

/// The entries of a profile that a command takes. What is said of it alone counts for more than
/// what is said of all.
fn entries_for<'a>(
    profile: &'a Profile,
    command: &Command,
) -> impl Iterator<Item = &'a ConfigEntry> {
    let name = command.get_name();
    let shared = profile.entries.iter();
    let shared = shared.filter(|entry| entry.command.is_none());
    let taken: Vec<&ConfigEntry> = shared
        .filter(|entry| takes_shared(name, &entry.key))
        .collect();
    let own = profile.entries.iter();
    let own: Vec<&ConfigEntry> = own
        .filter(|entry| entry.command.as_deref() == Some(name))
        .collect();
    taken.into_iter().chain(own)
}

fn from_environment(command: &Command) -> impl Iterator<Item = Setting> {
    let flags = VARIABLES.into_iter();
    let flags = flags.filter(|flag| takes_shared(command.get_name(), flag));
    flags.filter_map(|flag| {
        let place = variable_of(flag);
        let value = variable(&place)?;
        let is_switch = find_settable(command, flag).is_some_and(|arg| !takes_value(arg));
        let switched = go_bool(&value).filter(|_| is_switch);
        Some(Setting {
            flag: flag.to_owned(),
            value: switched.map_or(value, OsString::from),
            place,
        })
    })
}

/// The backup directory where it is to be written before what was typed: that of the configuration,
/// and with a set alone, that of the environment, or the usual one.
fn default_path(
    line: &CommandLine<'_>,
    command: &Command,
    configured: Option<DefaultPath>,
) -> Result<Option<DefaultPath>> {
    let words = line.positionals();
    let typed = places::typed(command, &words)?;
    let arg = command.get_positionals().find(|arg| arg.get_id() == PATH);
    if arg.is_none_or(|arg| excludes(line, command, arg)) {
        return Ok(None);
    }
    let from_environment = || {
        Some(DefaultPath {
            value: variable("SNAP_DIR")?,
            place: Some("SNAP_DIR".to_owned()),
        })
    };
    let known = from_environment().or(configured);
    Ok(match typed {
        Typed::Path => None,
        // Where a set must be named, it is that which is missing.
        Typed::Nothing if command.is_allow_missing_positional_set() => None,
        Typed::Nothing => known,
        Typed::SetAlone => {
            let usual = || {
                let usual = values::repository(None);
                let path = usual.directory().filter(|path| path.is_dir())?;
                Some(DefaultPath {
                    value: path.into(),
                    place: None,
                })
            };
            let path = known.or_else(usual);
            Some(path.ok_or_else(|| places::no_path(command, words[0]))?)
        }
    })
}

/// A path is no flag, whatever it begins with.
fn as_argument(path: OsString) -> OsString {
    if path.as_bytes().starts_with(b"-") {
        Path::new(".").join(path).into()
    } else {
        path
    }
}

/// Whether something was typed that cannot go with a flag: then that flag was not meant.
fn excludes(line: &CommandLine<'_>, command: &Command, flag: &Arg) -> bool {
    // A server that is named is asked, and not the directories of one that does not run.
    let is_of_stopped = flag.get_long().is_some_and(|name| STOPPED.contains(&name));
    if command.get_name() == "backup" && is_of_stopped && line.has("host") {
        return true;
    }
    if is_repeatable(flag) && flag.get_long().is_some_and(|name| line.has(name)) {
        return true;
    }
    let flags = line
        .flags()
        .filter(|(_, value)| *value != Some(OsStr::new("false")));
    let positionals = command.get_positionals();
    flags
        .map(|(flag, _)| flag)
        .chain(positionals.filter(|_| !line.positionals().is_empty()))
        .any(|typed| conflict(command, typed, flag))
}
