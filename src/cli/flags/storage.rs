//! The tables of a profile that say how object storage is reached: `[prod.s3]`, `[prod.storage]`.
//!
//! Their keys are no flags: they hold for every command, and are read into [`ObjectSettings`].

use serde_json::{Map, Value, json};
use toml::de::DeValue;

use super::known::{advice, nearest};
use crate::error::{Error, ErrorKind};
use crate::repository::ObjectSettings;

/// A key of such a table.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct StorageEntry {
    /// `s3`, `gs`, `az` or `storage`.
    pub(crate) table: String,
    pub(crate) key: String,
    /// Its value; of one that no key has, what it is.
    pub(crate) value: Result<Value, &'static str>,
    /// `FILE:LINE`.
    pub(crate) place: String,
}

/// The names of the tables.
pub(crate) fn tables() -> Vec<String> {
    known().keys().cloned().collect()
}

/// The keys of a table; none of what is no such table.
pub(crate) fn keys(table: &str) -> Vec<String> {
    let keys = known().get(table).and_then(Value::as_object).cloned();
    keys.unwrap_or_default().keys().cloned().collect()
}

/// All tables and keys: those of the settings, as these are written out.
fn known() -> Map<String, Value> {
    match serde_json::to_value(ObjectSettings::default()) {
        Ok(Value::Object(tables)) => tables,
        _ => Map::new(),
    }
}

/// The value of a key, as the settings are read from.
pub(crate) fn value_of(value: &DeValue<'_>) -> Result<Value, &'static str> {
    match value {
        DeValue::String(text) => Ok(Value::String(text.to_string())),
        DeValue::Boolean(switch) => Ok(Value::Bool(*switch)),
        DeValue::Integer(digits) if digits.radix() == 10 => {
            let number = digits.as_str().replace('_', "").parse::<i64>();
            number
                .map(|number| Value::Number(number.into()))
                .map_err(|_| "large integer")
        }
        other => Err(other.type_str()),
    }
}

/// What the tables of all profiles that hold say together: `entries` are theirs, lowest first, each
/// with the name of its profile.
///
/// # Errors
///
/// [`ErrorKind::Usage`] with the place of a key that there is not, or that cannot have its value.
pub(crate) fn settings<'a>(
    entries: impl Iterator<Item = (&'a str, &'a StorageEntry)>,
) -> Result<ObjectSettings, Error> {
    let mut tables: Map<String, Value> = Map::new();
    for (profile, entry) in entries {
        ensure_known(profile, entry)?;
        let value = sound_value(entry)?;
        let table = tables.entry(&entry.table).or_insert_with(|| json!({}));
        table[&entry.key] = value.clone();
    }
    serde_json::from_value(Value::Object(tables))
        .map_err(|error| ErrorKind::Usage.error(error.to_string()))
}

fn ensure_known(profile: &str, entry: &StorageEntry) -> Result<(), Error> {
    let StorageEntry {
        table, key, place, ..
    } = entry;
    let keys = keys(table);
    if keys.contains(key) {
        return Ok(());
    }
    let unknown = ErrorKind::Usage.error(format!(
        "{place}: [{profile}.{table}] has an unknown key '{key}'"
    ));
    let names: Vec<&str> = keys.iter().map(String::as_str).collect();
    // Credentials do not belong into a file that many read.
    let is_secret = ["key", "secret", "token", "password", "sas"]
        .iter()
        .any(|part| key.contains(part));
    Err(match is_secret && nearest(key, names.iter().copied()).is_none() {
        true => unknown.hint(
            "keys and passwords have no place here: they come from the environment, or from the \
             files of the provider's own tools",
        ),
        false => unknown.hint(advice(key, &names)),
    })
}

/// The value, where its key can have it.
fn sound_value(entry: &StorageEntry) -> Result<&Value, Error> {
    let StorageEntry {
        table, key, place, ..
    } = entry;
    let wrong = |why: &str| ErrorKind::Usage.error(format!("{place}: '{key}': {why}"));
    let value = entry
        .value
        .as_ref()
        .map_err(|kind| wrong(&format!("a value of type {kind} is not understood")))?;
    if value.as_str() == Some("") {
        let empty = ErrorKind::Usage.error(format!("{place}: the value of '{key}' is empty"));
        return Err(empty.hint(format!("leave '{key}' out for its default")));
    }
    match serde_json::from_value::<ObjectSettings>(json!({ table: { key: value } })) {
        Ok(_) => Ok(value),
        Err(error) => Err(wrong(&error.to_string().replace('`', "'"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::repository::S3Checksum;

    fn entry(table: &str, key: &str, value: impl Into<Value>) -> StorageEntry {
        StorageEntry {
            table: table.to_owned(),
            key: key.to_owned(),
            value: Ok(value.into()),
            place: "f:3".to_owned(),
        }
    }

    fn read(entries: &[StorageEntry]) -> Result<ObjectSettings, Error> {
        settings(entries.iter().map(|entry| ("prod", entry)))
    }

    #[test]
    fn the_last_of_two_profiles_counts_key_by_key() {
        let read = read(&[
            entry("s3", "endpoint", "http://one:1"),
            entry("s3", "region", "eu-west-1"),
            entry("storage", "part-size", 16),
            entry("s3", "endpoint", "http://two:2"),
            entry("s3", "path-style", false),
            entry("s3", "checksum", "sha256"),
            entry("az", "account", "a"),
        ])
        .unwrap();
        assert_eq!(read.s3.endpoint.as_deref(), Some("http://two:2"));
        assert_eq!(read.s3.region.as_deref(), Some("eu-west-1"));
        assert_eq!(read.s3.path_style, Some(false));
        assert_eq!(read.s3.checksum, Some(S3Checksum::Sha256));
        assert_eq!(read.storage.part_size, 16);
        assert_eq!(read.az.account.as_deref(), Some("a"));
        assert_eq!(read.storage.grace, ObjectSettings::default().storage.grace);
    }

    #[test]
    fn a_key_or_value_that_means_nothing_is_named_with_its_place() {
        for (entry, message, hint) in [
            (
                entry("s3", "endpont", "x"),
                "f:3: [prod.s3] has an unknown key 'endpont'",
                "did you mean 'endpoint'? there are: ",
            ),
            (
                entry("s3", "secret-access-key", "hidden"),
                "f:3: [prod.s3] has an unknown key 'secret-access-key'",
                "come from the environment",
            ),
            (
                entry("storage", "grace", "1h"),
                "unknown key 'grace'",
                "part-size",
            ),
            (
                entry("s3", "path-style", "yes"),
                "f:3: 'path-style': invalid type: string \"yes\", expected a boolean",
                "",
            ),
            (
                entry("s3", "checksum", "md5"),
                "expected 'none' or 'sha256'",
                "",
            ),
            (
                entry("storage", "part-size", -1),
                "'part-size': invalid value",
                "",
            ),
            (entry("gs", "credentials", ""), "is empty", "leave"),
        ] {
            let error = read(&[entry]).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Usage);
            assert!(error.message.contains(message), "{}", error.message);
            assert!(error.hint.unwrap_or_default().contains(hint));
        }
    }
}
