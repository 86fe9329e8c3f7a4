//! The configuration file: profiles, each a table of flags.
//!
//! ```toml
//! [default]                  # holds for every profile, and without one
//! jobs = 4
//! [prod]                     # for every command that has the flag
//! host = "db.example:8088"
//! [prod.backup]              # for this command alone
//! portable = true
//! [prod.s3]                  # how object storage is reached
//! region = "eu-central-1"
//! ```

use std::env;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use toml::de::{DeTable, DeValue};

use super::storage::{self, StorageEntry};
use crate::error::ErrorKind;

/// The profile that holds for every other.
pub(crate) const DEFAULT: &str = "default";

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Profile {
    pub(crate) name: String,
    /// What holds for every command, and what for one.
    pub(crate) entries: Vec<ConfigEntry>,
    /// How object storage is reached.
    pub(crate) storage: Vec<StorageEntry>,
}

/// A flag of a profile.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct ConfigEntry {
    /// The table's command, where it is one's own.
    pub(crate) command: Option<String>,
    /// The flag without its dashes.
    pub(crate) key: String,
    pub(crate) value: ConfigValue,
    /// `FILE:LINE`.
    pub(crate) place: String,
}

/// The value of a flag.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum ConfigValue {
    /// Of a flag that takes one.
    Text(String),
    /// Of a switch.
    Switch(bool),
    /// What no flag has.
    Other(&'static str),
}

/// The file to read: the one that was named, else the first of the usual ones that is there.
///
/// # Errors
///
/// When the named one is not there.
pub(crate) fn find(named: Option<&Path>) -> Result<Option<PathBuf>> {
    if let Some(named) = named {
        // Named as nothing: none at all.
        if named.as_os_str().is_empty() {
            return Ok(None);
        }
        fs::metadata(named).with_context(|| {
            ErrorKind::Usage.error(format!("cannot read the configuration {}", named.display()))
        })?;
        return Ok(Some(named.to_owned()));
    }
    Ok(usual().into_iter().find(|path| path.exists()))
}

/// Where a file is looked for that is not named.
pub(crate) fn usual() -> Vec<PathBuf> {
    let variable = |name: &str| {
        env::var_os(name)
            .map(PathBuf::from)
            .filter(|path| path.is_absolute())
    };
    let home = || variable("HOME").map(|home| home.join(".config"));
    let own = variable("XDG_CONFIG_HOME")
        .or_else(home)
        .map(|folder| folder.join("snap/config.toml"));
    own.into_iter()
        .chain([PathBuf::from("/etc/snap.toml")])
        .collect()
}

/// Reads a file.
///
/// # Errors
///
/// [`ErrorKind::Usage`] when it cannot be read, is no TOML, or has anything outside of tables.
pub(crate) fn read(path: &Path) -> Result<Vec<Profile>> {
    let unreadable =
        || ErrorKind::Usage.error(format!("cannot read the configuration {}", path.display()));
    let text = fs::read_to_string(path).map_err(|error| match error.kind() {
        io::ErrorKind::InvalidData => io::Error::new(error.kind(), "it is not text in UTF-8"),
        _ => error,
    });
    parse(&text.with_context(unreadable)?, path)
}

fn parse(text: &str, path: &Path) -> Result<Vec<Profile>> {
    let place = |at: usize| {
        let line = text
            .as_bytes()
            .iter()
            .take(at)
            .filter(|byte| **byte == b'\n')
            .count()
            + 1;
        format!("{}:{line}", path.display())
    };
    let document = DeTable::parse(text).map_err(|error| {
        let at = error.span().map_or(0, |span| span.start);
        ErrorKind::Usage.error(format!("{}: {}", place(at), error.message()))
    })?;
    let storage_tables = storage::tables();
    let mut profiles = Vec::new();
    for (name, value) in document.get_ref() {
        let Some(table) = value.get_ref().as_table() else {
            let fault = ErrorKind::Usage.error(format!(
                "{}: '{}' stands outside of a profile",
                place(name.span().start),
                name.get_ref()
            ));
            return Err(fault
                .hint(format!(
                    "write it below a line [{DEFAULT}] or below one with a name of yours: [prod]"
                ))
                .into());
        };
        let (mut entries, mut storage) = (Vec::new(), Vec::new());
        for (key, value) in table {
            let entry = |command: Option<&str>,
                         key: &toml::Spanned<std::borrow::Cow<'_, str>>,
                         value| ConfigEntry {
                command: command.map(str::to_owned),
                key: key.get_ref().to_string(),
                value,
                place: place(key.span().start),
            };
            match value.get_ref() {
                DeValue::Table(inner)
                    if storage_tables.iter().any(|table| table == key.get_ref()) =>
                {
                    storage.extend(inner.iter().map(|(inner_key, value)| StorageEntry {
                        table: key.get_ref().to_string(),
                        key: inner_key.get_ref().to_string(),
                        value: storage::value_of(value.get_ref()),
                        place: place(inner_key.span().start),
                    }));
                }
                DeValue::Table(inner) => {
                    let command = Some(key.get_ref().as_ref());
                    entries.extend(
                        inner.iter().map(|(key, value)| {
                            entry(command, key, ConfigValue::of(value.get_ref()))
                        }),
                    );
                }
                value => entries.push(entry(None, key, ConfigValue::of(value))),
            }
        }
        ensure_in_a_profile(name.get_ref(), &entries)?;
        profiles.push(Profile {
            name: name.get_ref().to_string(),
            entries,
            storage,
        });
    }
    Ok(profiles)
}

/// Refuses a table of object storage that stands where profiles do: it would hold for no command.
fn ensure_in_a_profile(name: &str, entries: &[ConfigEntry]) -> Result<()> {
    let keys = storage::keys(name);
    let is_of_storage = |entry: &ConfigEntry| entry.command.is_none() && keys.contains(&entry.key);
    match entries.first() {
        Some(first) if entries.iter().all(is_of_storage) => {
            let place = &first.place;
            let fault =
                ErrorKind::Usage.error(format!("{place}: [{name}] stands outside of a profile"));
            let hint = format!("write [{DEFAULT}.{name}], or [PROFILE.{name}] for one profile");
            Err(fault.hint(hint).into())
        }
        _ => Ok(()),
    }
}

impl ConfigValue {
    fn of(value: &DeValue<'_>) -> Self {
        match value {
            DeValue::String(text) => Self::Text(text.to_string()),
            DeValue::Integer(number) if number.radix() == 10 => {
                Self::Text(number.as_str().to_owned())
            }
            DeValue::Datetime(time) => Self::Text(time.to_string()),
            DeValue::Boolean(switch) => Self::Switch(*switch),
            other => Self::Other(other.type_str()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_profiles_with_flags_for_all_commands_and_for_one() {
        let text = r#"[default]
jobs = 4

[prod]
host = "db:8088"
[prod.backup]
portable = true
start = 2026-11-01
x = [1]
"#;
        let profiles = parse(text, Path::new("f")).unwrap();
        let flat: Vec<(&str, Option<&str>, &str, &ConfigValue, &str)> = profiles
            .iter()
            .flat_map(|profile| {
                profile
                    .entries
                    .iter()
                    .map(|entry| (profile.name.as_str(), entry))
            })
            .map(|(name, entry)| {
                (
                    name,
                    entry.command.as_deref(),
                    entry.key.as_str(),
                    &entry.value,
                    entry.place.as_str(),
                )
            })
            .collect();
        let text = |text: &str| ConfigValue::Text(text.to_owned());
        assert!(
            flat.contains(&("default", None, "jobs", &text("4"), "f:2")),
            "{flat:?}"
        );
        assert!(
            flat.contains(&("prod", None, "host", &text("db:8088"), "f:5")),
            "{flat:?}"
        );
        assert!(
            flat.contains(&(
                "prod",
                Some("backup"),
                "portable",
                &ConfigValue::Switch(true),
                "f:7"
            )),
            "{flat:?}"
        );
        assert!(
            flat.contains(&("prod", Some("backup"), "start", &text("2026-11-01"), "f:8")),
            "{flat:?}"
        );
        assert!(
            flat.contains(&(
                "prod",
                Some("backup"),
                "x",
                &ConfigValue::Other("array"),
                "f:9"
            )),
            "{flat:?}"
        );
    }

    #[test]
    fn what_is_no_such_file_is_told_with_its_line() {
        let complaint = |text: &str| format!("{:#}", parse(text, Path::new("f")).unwrap_err());
        assert!(complaint("host = 1").starts_with("f:1: 'host' stands outside of a profile"));
        assert!(
            complaint("[a]\nb = \n").starts_with("f:2: "),
            "{}",
            complaint("[a]\nb = \n")
        );
        assert!(complaint("[a]\nb = 1\nb = 2\n").starts_with("f:3: "));
        assert_eq!(
            complaint("[s3]\nregion = \"x\"\n"),
            "f:2: [s3] stands outside of a profile"
        );
        // A profile of that name is one.
        assert!(parse("[s3]\npath = \"s3://b\"\n", Path::new("f")).is_ok());
    }
}
