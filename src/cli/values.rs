//! The values of flags, as clap reads them.

use std::path::PathBuf;
use std::time::Duration;

use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::client::Address;
use crate::ops::Within;
use crate::time;
use crate::wire::Dialect;

/// A point in time; ages count back from now.
pub fn time(text: &str) -> Result<Timestamp, String> {
    time::parse_time(text, Timestamp::now()).map_err(|error| format!("{error:#}"))
}

/// A point in time, or `last`.
pub fn since(text: &str) -> Result<Since, String> {
    if text == "last" { Ok(Since::Last) } else { time(text).map(Since::At) }
}

/// Where an increment begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Since {
    /// At a time.
    At(Timestamp),
    /// When the newest complete set was begun.
    Last,
}

/// A length of time that is not zero.
pub fn duration(text: &str) -> Result<Duration, String> {
    match time::parse_duration(text) {
        Ok(Duration::ZERO) => Err("must be longer than nothing".to_owned()),
        result => result.map_err(|error| format!("{error:#}")),
    }
}

/// A length of time, zero included.
pub fn wait(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    time::parse_duration(text).map_err(|error| format!("{error:#}"))
}

/// A length of time in the calendar's units.
pub fn within(text: &str) -> Result<Within, String> {
    text.parse().map_err(|error: anyhow::Error| error.to_string())
}

/// A time zone by its name in the system's database.
pub fn zone(text: &str) -> Result<TimeZone, String> {
    if text.eq_ignore_ascii_case("UTC") {
        return Ok(TimeZone::UTC);
    }
    let missing = "this system knows no time zone of that name; write one of /usr/share/zoneinfo, such as Europe/Berlin";
    TimeZone::get(text).map_err(|_| missing.to_owned())
}

/// A server's address.
pub fn address(text: &str) -> Result<Address, String> {
    text.parse()
}

/// A dialect, or `auto`.
pub fn dialect(text: &str) -> Result<DialectArg, String> {
    match text {
        "auto" => Ok(DialectArg(None)),
        _ => text.parse().map(|dialect| DialectArg(Some(dialect))),
    }
}

/// A forced dialect; none is `auto`. (A type of its own: clap gives `Option` another meaning.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct DialectArg(pub Option<Dialect>);

/// The backup directory: as named, else `SNAP_DIR`, else `./backup`.
pub fn directory(path: Option<&PathBuf>) -> PathBuf {
    let from_environment = || std::env::var_os("SNAP_DIR").filter(|value| !value.is_empty()).map(PathBuf::from);
    path.cloned().or_else(from_environment).unwrap_or_else(|| PathBuf::from("backup"))
}
