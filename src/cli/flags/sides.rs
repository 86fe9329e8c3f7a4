//! What `snap diff` compares, as it is typed: a backup with or without a set, or an influxd.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use clap::builder::{OsStringValueParser, TypedValueParser};

use super::source::SourceArg;
use super::values::is_address;
use crate::error::{Error, ErrorKind};
use crate::ops::Directories;
use crate::repository::Location;

/// What parts the place of a backup from the set. Neither ids nor URLs have it, and what follows it
/// is the end of a path only where it has no slash.
const SET: &[u8] = b"::";
/// What the address of a server, or the directory of a stopped one, begins with.
const INFLUXD: &str = "influxd://";

fn parse(text: OsString) -> Result<SourceArg, Error> {
    if let Some(rest) = text.to_string_lossy().strip_prefix(INFLUXD) {
        return of_influxd(rest);
    }
    let (place, set) = split_set(&text);
    if place.is_empty() {
        let fault = ErrorKind::Usage.error(format!(
            "'{}' names no backup directory",
            text.to_string_lossy()
        ));
        return Err(fault.hint("write PATH::SET"));
    }
    if set.is_none() && is_address(place) && !Path::new(place).exists() {
        let place = place.display();
        return Err(ErrorKind::Usage
            .error(format!("there is no backup directory {place}"))
            .hint(format!("for a running influxd, write {INFLUXD}{place}")));
    }
    Ok(SourceArg::Set {
        repository: Location::parse(OsString::from_vec(place.as_bytes().to_vec()))?,
        set,
    })
}

/// A server, or where the directories of one are.
fn of_influxd(rest: &str) -> Result<SourceArg, Error> {
    if rest.starts_with('/') {
        let root = Path::new(rest);
        return Ok(SourceArg::Directories(Directories {
            metadir: root.join("meta"),
            datadir: root.join("data"),
            waldir: None,
            ignore_wal: false,
        }));
    }
    match rest.is_empty() {
        true => Err(ErrorKind::Usage
            .error(format!("{INFLUXD} names no server"))
            .hint("write influxd://HOST:PORT, or influxd:///DIR for a stopped one")),
        false => rest
            .strip_suffix('/')
            .unwrap_or(rest)
            .parse()
            .map(SourceArg::Server)
            .map_err(|fault| ErrorKind::Usage.error(fault)),
    }
}

/// Parts the set from the place it lies in, if one is named.
fn split_set(text: &OsStr) -> (&OsStr, Option<String>) {
    let bytes = text.as_bytes();
    let mut places = bytes.windows(SET.len());
    let Some(at) = places.rposition(|window| window == SET) else {
        return (text, None);
    };
    let (place, set) = (&bytes[..at], &bytes[at + SET.len()..]);
    match std::str::from_utf8(set) {
        Ok(set) if !set.contains('/') => (
            OsStr::from_bytes(place),
            Some(set.to_owned()).filter(|set| !set.is_empty()),
        ),
        _ => (text, None),
    }
}

/// Reads A or B.
pub(crate) fn side() -> impl TypedValueParser<Value = SourceArg> {
    OsStringValueParser::new().try_map(|text| {
        parse(text).map_err(|error| match error.hint {
            Some(hint) => format!("{}; {hint}", error.message),
            None => error.message,
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> String {
        match parse(text.into()) {
            Ok(SourceArg::Set { repository, set }) => format!("{repository} {set:?}"),
            Ok(SourceArg::Server(address)) => format!("server {address}"),
            Ok(SourceArg::Directories(directories)) => {
                let (meta, data) = (directories.metadir, directories.datadir);
                format!("{} {}", meta.display(), data.display())
            }
            Err(fault) => format!("{fault}; {}", fault.hint.as_deref().unwrap_or_default()),
        }
    }

    #[test]
    fn a_set_follows_the_last_two_colons() {
        assert_eq!(read("/b"), "/b None");
        assert_eq!(read("/b::latest"), "/b Some(\"latest\")");
        assert_eq!(read("b:c::2026"), "b:c Some(\"2026\")");
        assert_eq!(read("s3://x/y::2026"), "s3://x/y Some(\"2026\")");
        assert_eq!(read("s3://x/y"), "s3://x/y None");
        assert_eq!(read("backups:old"), "backups:old None");
        assert_eq!(read("./db:8088"), "./db:8088 None");
        assert_eq!(
            read("::latest"),
            "'::latest' names no backup directory; write PATH::SET"
        );
    }

    #[test]
    fn a_directory_with_two_colons_in_its_name_can_be_named() {
        assert_eq!(read("/a::b/c"), "/a::b/c None");
        assert_eq!(read("/a::b/"), "/a::b/ None");
        assert_eq!(read("/a::b::"), "/a::b None");
        assert_eq!(read("/a::b::latest"), "/a::b Some(\"latest\")");
    }

    #[test]
    fn an_influxd_is_named_by_its_address_or_its_directory() {
        assert_eq!(read("influxd://db.example"), "server db.example:8088");
        assert_eq!(read("influxd://[::1]:9088"), "server [::1]:9088");
        assert_eq!(read("influxd://db:9088/"), "server db:9088");
        assert_eq!(
            read("db.example:8088"),
            "there is no backup directory db.example:8088; for a running influxd, write \
             influxd://db.example:8088"
        );
        assert_eq!(
            read("influxd:///var/lib/influxdb"),
            "/var/lib/influxdb/meta /var/lib/influxdb/data"
        );
        assert!(read("influxd://").starts_with("influxd:// names no server; "));
        assert!(read("influxd://host:x").contains("is not a port"));
    }
}
