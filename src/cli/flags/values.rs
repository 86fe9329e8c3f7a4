//! The values of flags, as clap reads them.

use std::ffi::{OsStr, OsString};
use std::fmt::Display;
use std::num::NonZeroU64;
use std::path::Path;
use std::str::FromStr;
use std::time::Duration;

use clap::builder::{OsStringValueParser, TypedValueParser};
use jiff::Timestamp;
use jiff::tz::TimeZone;

use crate::client::Address;
use crate::http_api::HttpUrl;
use crate::ops::{Resolution, Within};
use crate::repository::Location;
use crate::time;
use crate::tsm::series_filter::{MeasurementPattern, SeriesFilterError, TagCondition};
use crate::wire::Dialect;

/// A value for which nothing is a value too: no configuration, no command.
#[derive(Debug, Clone)]
pub(crate) struct MayBeEmpty(pub(crate) OsString);

/// Takes any value, an empty one too.
pub(crate) fn may_be_empty() -> impl TypedValueParser<Value = MayBeEmpty> {
    OsStringValueParser::new().map(MayBeEmpty)
}

/// A whole number between two, both included. From clap's own reader people would hear of digits
/// and ranges.
pub(crate) fn whole_number<T>(
    least: T,
    most: T,
) -> impl Fn(&str) -> Result<T, String> + Clone + Send + Sync + 'static
where
    T: Copy + PartialOrd + Display + FromStr + Into<u64> + Send + Sync + 'static,
{
    move |text: &str| {
        let number = text.parse().ok();
        let inside = number.filter(|number| (least..=most).contains(number));
        let range = match most.into() {
            u64::MAX => format!("of {least} or more"),
            _ => format!("from {least} to {most}"),
        };
        inside.ok_or_else(|| format!("'{text}' is not a whole number {range}"))
    }
}

/// The id of one shard.
pub(crate) fn shard(text: &str) -> Result<u64, String> {
    whole_number(0, u64::MAX)(text).map_err(|fault| match text.contains([',', ' ', '-']) {
        true => format!("'{text}' is not one shard id; -shard takes one, and -database or -start and -end take several shards"),
        false => fault,
    })
}

/// A point in time; ages count back from now.
pub(crate) fn time(text: &str) -> Result<Timestamp, String> {
    time::parse_time(text, Timestamp::now()).map_err(|error| format!("{error:#}"))
}

/// A point in time, or `last`.
pub(crate) fn since(text: &str) -> Result<Since, String> {
    if text == "last" {
        Ok(Since::Last)
    } else {
        time(text).map(Since::At)
    }
}

/// Where an increment begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Since {
    /// At a time.
    At(Timestamp),
    /// When the newest complete set was begun.
    Last,
}

/// A length of time that is not zero.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    match time::parse_duration(text) {
        Ok(Duration::ZERO) => Err(format!("'{text}' is no time at all; write a longer one")),
        result => result.map_err(|error| format!("{error:#}")),
    }
}

/// The least length of a shard group and of a retention policy that influxd takes.
const LEAST_POLICY: Duration = Duration::from_secs(3600);

/// The URL of an HTTP API.
pub(crate) fn http_url(text: &str) -> Result<HttpUrl, String> {
    text.parse()
}

/// The length of shard groups, in nanoseconds.
pub(crate) fn shard_duration(text: &str) -> Result<i64, String> {
    policy_nanos(text)
}

/// How long a retention policy keeps points, in nanoseconds; 0 for ever.
pub(crate) fn retention_duration(text: &str) -> Result<i64, String> {
    match text.eq_ignore_ascii_case("INF") || text == "0" {
        true => Ok(0),
        false => policy_nanos(text),
    }
}

fn policy_nanos(text: &str) -> Result<i64, String> {
    let length = time::parse_duration(text).map_err(|error| format!("{error:#}"))?;
    if length < LEAST_POLICY {
        return Err(format!(
            "'{text}' is less than influxd's least, 1h; write a longer one"
        ));
    }
    i64::try_from(length.as_nanos())
        .map_err(|_| format!("'{text}' is longer than influxd can count; write 15000w or less"))
}

/// A length of time, zero included.
pub(crate) fn wait(text: &str) -> Result<Duration, String> {
    if text == "0" {
        return Ok(Duration::ZERO);
    }
    time::parse_duration(text).map_err(|error| format!("{error:#}"))
}

/// A length of time in the calendar's units.
pub(crate) fn within(text: &str) -> Result<Within, String> {
    text.parse()
        .map_err(|error: anyhow::Error| error.to_string())
}

/// A time zone by its name in the system's database.
pub(crate) fn zone(text: &str) -> Result<TimeZone, String> {
    if text.eq_ignore_ascii_case("UTC") {
        return Ok(TimeZone::UTC);
    }
    TimeZone::get(text).map_err(|_| {
        format!(
            "'{text}' is no time zone that this system knows; write one of /usr/share/zoneinfo, \
             such as Europe/Berlin"
        )
    })
}

/// Measurements: a name, or an expression between slashes.
pub(crate) fn measurement(text: &str) -> Result<MeasurementPattern, String> {
    text.parse()
        .map_err(|error: SeriesFilterError| error.to_string())
}

/// What the value of a tag has to be.
pub(crate) fn condition(text: &str) -> Result<TagCondition, String> {
    text.parse()
        .map_err(|error: SeriesFilterError| error.to_string())
}

/// What becomes of a column of a table.
pub(crate) fn resolution(text: &str) -> Result<Resolution, String> {
    Resolution::parse(text).map_err(|error| error.to_string())
}

pub(crate) fn address(text: &str) -> Result<Address, String> {
    text.parse()
}

/// A dialect, or `auto`.
pub(crate) fn dialect(text: &str) -> Result<DialectArg, String> {
    match text {
        "auto" => Ok(DialectArg(None)),
        _ => text.parse().map(|dialect| DialectArg(Some(dialect))),
    }
}

/// A forced dialect; none is `auto`. (A type of its own: clap gives `Option` another meaning.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct DialectArg(pub(crate) Option<Dialect>);

/// Bytes per second, or `none`.
pub(crate) fn rate(text: &str) -> Result<RateArg, String> {
    if text == "none" {
        return Ok(RateArg(None));
    }
    let complaint = || {
        format!(
            "'{text}' is not a rate; write bytes per second: 20MiB, 500KiB, 20M (a million bytes \
             each), or none"
        )
    };
    let rate = bytes(text.strip_suffix("/s").unwrap_or(text)).and_then(NonZeroU64::new);
    Ok(RateArg(Some(rate.ok_or_else(complaint)?)))
}

/// Bytes that are not none.
pub(crate) fn size(text: &str) -> Result<u64, String> {
    let size = bytes(text).filter(|size| *size > 0);
    size.ok_or_else(|| {
        format!("'{text}' is not a size; write bytes: 10MiB, 500KiB, 10M (a million bytes each)")
    })
}

/// A number of bytes with its unit, in letters of any case; but Mb is no unit, as it is short for
/// megabits.
fn bytes(text: &str) -> Option<u64> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, unit) = text.split_at(digits);
    let unit = unit.trim_start();
    if matches!(unit, "Kb" | "Mb" | "Gb") {
        return None;
    }
    let unit: u64 = match &*unit.to_ascii_lowercase() {
        "" | "b" => 1,
        "k" | "kb" => 1_000,
        "m" | "mb" => 1_000_000,
        "g" | "gb" => 1_000_000_000,
        "kib" => 1 << 10,
        "mib" => 1 << 20,
        "gib" => 1 << 30,
        _ => return None,
    };
    number.parse::<u64>().ok()?.checked_mul(unit)
}

/// A limit; none is `none`. (A type of its own: clap gives `Option` another meaning.)
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct RateArg(pub(crate) Option<NonZeroU64>);

/// Reads PATH: a directory, or a URL.
pub(crate) fn location() -> impl TypedValueParser<Value = Location> {
    OsStringValueParser::new().try_map(|text| {
        if is_address(&text) && !Path::new(&text).exists() {
            let name = text.display();
            return Err(format!(
                "'{name}' is the address of a server, and not a directory; name a server with \
                 -host {name}, and a directory that is called so as ./{name}"
            ));
        }
        Location::parse(text).map_err(|error| match error.hint {
            Some(hint) => format!("{}; {hint}", error.message),
            None => error.message,
        })
    })
}

/// Whether a word is spelled as HOST:PORT.
pub(crate) fn is_address(word: &OsStr) -> bool {
    let parts = word.to_str().and_then(|word| word.rsplit_once(':'));
    parts.is_some_and(|(host, port)| {
        let is_host = !host.is_empty() && !host.contains('/');
        is_host && port.parse::<u16>().is_ok() && word.to_string_lossy().parse::<Address>().is_ok()
    })
}

/// Where the backups lie: as named, which is by `SNAP_DIR` too, else `./backup`.
pub(crate) fn repository(path: Option<&Location>) -> Location {
    let usual = || Path::new("./backup").into();
    path.cloned().unwrap_or_else(usual)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rate_has_a_decimal_or_a_binary_unit() {
        let bytes = |text: &str| rate(text).ok().and_then(|rate| rate.0).map(NonZeroU64::get);
        assert_eq!(
            ["20MiB", "20M", "20mb", "512", "3 GiB", "1K/s"].map(bytes),
            [20 << 20, 20_000_000, 20_000_000, 512, 3 << 30, 1000].map(Some)
        );
        assert_eq!(rate("none"), Ok(RateArg(None)));
        for text in [
            "",
            "0",
            "MiB",
            "-1",
            "1.5M",
            "20T",
            "99999999999G",
            "20M/h",
            "20Mb",
        ] {
            assert!(rate(text).is_err(), "{text}");
        }
        assert_eq!((size("10MB"), size("1kib")), (Ok(10_000_000), Ok(1024)));
        assert!(size("100Mb").is_err() && size("0").is_err());
    }
}
