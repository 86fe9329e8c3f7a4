//! Points in time: as operators type them, and as InfluxDB stores them (`i64` nanoseconds since
//! 1970, UTC).

use std::borrow::Cow;
use std::fmt;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use jiff::Timestamp;
use jiff::civil::Time;
use jiff::fmt::temporal::Pieces;
use jiff::tz::{Offset, TimeZone};

use crate::error::{Error, ErrorKind};

/// The least timestamp a point can have in InfluxDB: 1677-09-21T00:12:43.145224194Z.
pub const LEAST: i64 = i64::MIN + 2;
/// The greatest timestamp a point can have in InfluxDB: 2262-04-11T23:47:16.854775806Z.
pub const GREATEST: i64 = i64::MAX - 1;

/// A closed interval of point timestamps, in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// The first nanosecond inside.
    pub start: i64,
    /// The last nanosecond inside.
    pub end: i64,
}

impl Bounds {
    /// Everything InfluxDB can hold.
    pub const ALL: Self = Self {
        start: LEAST,
        end: GREATEST,
    };

    /// Everything a file can hold: what leaves no point out for its time uses this.
    pub(crate) const ANY: Self = Self {
        start: i64::MIN,
        end: i64::MAX,
    };

    /// From one time to another, both included; open where one is not given.
    pub fn between(start: Option<Timestamp>, end: Option<Timestamp>) -> Self {
        Self {
            start: start.map_or(LEAST, to_nanos),
            end: end.map_or(GREATEST, to_nanos),
        }
    }

    /// What is inside both. Where nothing is, it ends before it starts.
    pub(crate) fn within(self, other: Self) -> Self {
        Self {
            start: self.start.max(other.start),
            end: self.end.min(other.end),
        }
    }

    /// Whether no point of a shard group from `start` to `end` (exclusive) is inside.
    pub(crate) fn misses(self, start: i64, end: i64) -> bool {
        self.end < start || self.start > end.saturating_sub(1)
    }

    /// Whether some of the points that a shard group from `start` to `end` (exclusive) can have are
    /// outside.
    pub fn cuts(self, start: i64, end: i64) -> bool {
        self.start > start || self.end < end.saturating_sub(1)
    }
}

/// The times in words: `from … to …`, `from … on`, `up to …`.
impl fmt::Display for Bounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (start, end) = (from_nanos(self.start), from_nanos(self.end));
        match (self.start > LEAST, self.end < GREATEST) {
            (true, true) => write!(f, "from {start} to {end}"),
            (true, false) => write!(f, "from {start} on"),
            (false, true) => write!(f, "up to {end}"),
            (false, false) => f.write_str("at any time"),
        }
    }
}

/// Refuses `-start` and `-end` between which no point can be.
///
/// # Errors
///
/// [`ErrorKind::Usage`] where the end is before the start, or one of them outside of what InfluxDB
/// can hold.
pub(crate) fn ensure_times(start: Option<Timestamp>, end: Option<Timestamp>) -> Result<(), Error> {
    let usage = |message: String, hint: String| Err(ErrorKind::Usage.error(message).hint(hint));
    let (least, greatest) = (from_nanos(LEAST), from_nanos(GREATEST));
    let held = || format!("InfluxDB holds points from {least} to {greatest}");
    match (start, end) {
        (Some(start), Some(end)) if end < start => usage(
            format!("-end {end} is before -start {start}"),
            "exchange the two".to_owned(),
        ),
        (_, Some(end)) if end < least => usage(format!("-end {end} is before all points"), held()),
        (Some(start), _) if start > greatest => {
            usage(format!("-start {start} is after all points"), held())
        }
        _ => Ok(()),
    }
}

/// The time as nanoseconds, moved to the nearest timestamp InfluxDB can hold.
pub(crate) fn to_nanos(time: Timestamp) -> i64 {
    i64::try_from(time.as_nanosecond()).map_or_else(
        |_| {
            if time < Timestamp::UNIX_EPOCH {
                LEAST
            } else {
                GREATEST
            }
        },
        |nanos| nanos.clamp(LEAST, GREATEST),
    )
}

/// The time of a count of nanoseconds since 1970.
pub fn from_nanos(nanos: i64) -> Timestamp {
    // Every i64 of nanoseconds (years 1677 to 2262) lies inside the range of Timestamp (years -9999
    // to 9999).
    Timestamp::from_nanosecond(i128::from(nanos)).unwrap_or(Timestamp::UNIX_EPOCH)
}

/// The time as the names of sets have it: `20261120T080000Z`, whole seconds, UTC.
pub fn stamp(time: Timestamp) -> String {
    time.strftime("%Y%m%dT%H%M%SZ").to_string()
}

/// The time that a set's name says.
pub(crate) fn parse_stamp(text: &str) -> Option<Timestamp> {
    let time = jiff::civil::DateTime::strptime("%Y%m%dT%H%M%SZ", text).ok()?;
    time.to_zoned(TimeZone::UTC)
        .ok()
        .map(|time| time.timestamp())
}

/// Whether a text is exactly what [`stamp`] gives.
pub(crate) fn is_stamp(text: &str) -> bool {
    text.len() == 16 && parse_stamp(text).is_some_and(|time| stamp(time) == text)
}

/// Reads a time as an operator writes it: RFC 3339, a date (midnight UTC), a time without a zone
/// (UTC), or an age such as
/// `90m`, `24h`, `7d`, `2w`, counted back from `now`.
///
/// # Errors
///
/// When it is none of these, or outside the years 1 to 9999.
pub(crate) fn parse_time(text: &str, now: Timestamp) -> Result<Timestamp> {
    let text = text.trim();
    let shortened = without_long_fraction(text);
    let time = if let Ok(pieces) = Pieces::parse(&*shortened) {
        // A named zone would be taken for UTC.
        ensure!(
            pieces.time_zone_annotation().is_none(),
            "'{text}' names a zone; write Z or an offset in its place"
        );
        at(&pieces)
    } else if let Ok(age) = parse_duration(text) {
        now.checked_sub(age)
            .with_context(|| format!("'{text}' ago is before the year 1"))?
    } else {
        bail!(
            "'{text}' is not a time; write RFC 3339 (2026-11-20T08:00:00Z), a date (2026-11-20, midnight UTC) \
             or an age (90m, 24h, 7d, 2w)"
        );
    };
    let year = time.to_zoned(TimeZone::UTC).year();
    if !(1..=9999).contains(&year) {
        bail!("the year {year} is outside 0001 to 9999");
    }
    Ok(time)
}

/// The text with what a fraction has beyond nanoseconds cut off.
fn without_long_fraction(text: &str) -> Cow<'_, str> {
    let Some(dot) = text.find('.') else {
        return Cow::Borrowed(text);
    };
    let digits = text[dot + 1..]
        .bytes()
        .take_while(u8::is_ascii_digit)
        .count();
    match digits > 9 {
        true => Cow::Owned(format!(
            "{}{}",
            &text[..dot + 10],
            &text[dot + 1 + digits..]
        )),
        false => Cow::Borrowed(text),
    }
}

/// Go's zero time, 0001-01-01T00:00:00Z.
pub(crate) fn go_zero() -> Timestamp {
    Timestamp::from_second(-62_135_596_800).unwrap_or(Timestamp::MIN)
}

/// Reads an RFC 3339 time, zone included.
pub(crate) fn parse_zoned(text: &str) -> Option<Timestamp> {
    let pieces = Pieces::parse(text).ok()?;
    (pieces.time().is_some() && pieces.to_numeric_offset().is_some()).then(|| at(&pieces))
}

/// The time of day is midnight and the zone UTC where they are not written.
fn at(pieces: &Pieces<'_>) -> Timestamp {
    let civil = pieces
        .date()
        .to_datetime(pieces.time().unwrap_or_else(Time::midnight));
    let zone = TimeZone::fixed(pieces.to_numeric_offset().unwrap_or(Offset::UTC));
    // The library counts to 9999-12-30T22:00; people write 9999-12-31 for "no end".
    let nearest = if civil.year() > 0 {
        Timestamp::MAX
    } else {
        Timestamp::MIN
    };
    civil
        .to_zoned(zone)
        .map_or(nearest, |zoned| zoned.timestamp())
}

/// Reads a length of time: numbers with the units `ms`, `s`, `m`, `h`, `d`, `w`, added up
/// (`1h30m`). No more than that is taken: a library that reads `08:12:23` as a length of time would
/// take a time of day for an age.
///
/// # Errors
///
/// When it is not of that form or too long to count.
pub(crate) fn parse_duration(text: &str) -> Result<Duration> {
    let complaint = || {
        format!(
            "'{text}' is not a length of time; write a number and a unit: 500ms, 30s, 90m, 24h, \
             7d, 2w"
        )
    };
    let mut total = Duration::ZERO;
    let mut rest = text;
    while !rest.is_empty() {
        let (number, after) = split_where(rest, |c| !c.is_ascii_digit());
        let (unit, after) = split_where(after, |c| !c.is_ascii_alphabetic());
        let number: u64 = number.parse().ok().with_context(complaint)?;
        let milliseconds: u64 = match unit {
            "ms" => 1,
            "s" => 1000,
            "m" => 60_000,
            "h" => 3_600_000,
            "d" => 86_400_000,
            "w" => 604_800_000,
            _ => bail!(complaint()),
        };
        let part = number.checked_mul(milliseconds).map(Duration::from_millis);
        total = part
            .and_then(|part| total.checked_add(part))
            .with_context(complaint)?;
        rest = after;
    }
    ensure!(!text.is_empty(), complaint());
    Ok(total)
}

/// The text up to the first character of a kind, and the rest.
fn split_where(text: &str, kind: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(kind).unwrap_or(text.len()))
}

#[cfg(test)]
mod tests {
    #[test]
    fn times_between_which_no_point_can_be_are_refused() {
        let times = |start: &str, end: &str| {
            let time = |text: &str| (!text.is_empty()).then(|| text.parse().unwrap());
            let refusal = ensure_times(time(start), time(end)).err()?;
            assert_eq!(refusal.kind, ErrorKind::Usage);
            Some(refusal.to_string())
        };
        let (least, greatest) = (
            "1677-09-21T00:12:43.145224194Z",
            "2262-04-11T23:47:16.854775806Z",
        );
        for (start, end) in [
            ("", ""),
            ("", least),
            (greatest, ""),
            (least, least),
            ("1000-01-01T00:00Z", "9000-01-01T00:00Z"),
        ] {
            assert_eq!(times(start, end), None, "{start} {end}");
        }
        let refused = [
            ("", "1677-09-21T00:12:43.145224193Z", "before all points"),
            ("2262-04-11T23:47:16.854775807Z", "", "after all points"),
            ("2020-01-02T00:00Z", "2020-01-01T00:00Z", "is before -start"),
        ];
        for (start, end, why) in refused {
            assert!(times(start, end).unwrap().contains(why), "{start} {end}");
        }
    }

    use super::*;

    #[test]
    fn a_stamp_says_the_whole_second() {
        let time = "2026-11-20T08:09:10.5Z".parse().unwrap();
        assert_eq!(stamp(time), "20261120T080910Z");
        assert_eq!(
            parse_stamp("20261120T080910Z"),
            Some("2026-11-20T08:09:10Z".parse().unwrap())
        );
        for other in [
            "",
            "meta.00",
            "20261320T080910Z",
            "20261120T080910",
            "x20261120T080910Z",
        ] {
            assert_eq!(parse_stamp(other), None, "{other}");
        }
    }

    fn at(text: &str) -> String {
        parse_time(text, "2026-11-22T12:00:00Z".parse().unwrap())
            .map_or_else(|e| format!("{e:#}"), |t| t.to_string())
    }

    #[test]
    fn every_documented_way_to_write_a_time_is_read() {
        assert_eq!(at("2026-11-20T08:12:23Z"), "2026-11-20T08:12:23Z");
        assert_eq!(
            at("2026-11-20T08:12:23.123456789+02:00"),
            "2026-11-20T06:12:23.123456789Z"
        );
        assert_eq!(
            at("2026-11-20T08:12:23.1234567891234Z"),
            "2026-11-20T08:12:23.123456789Z"
        );
        assert_eq!(at("2015-12-24T08:12:23"), "2015-12-24T08:12:23Z");
        assert_eq!(at("2015-12-24 08:12:23"), "2015-12-24T08:12:23Z");
        assert_eq!(at("2026-11-20"), "2026-11-20T00:00:00Z");
        assert_eq!(at("90m"), "2026-11-22T10:30:00Z");
        assert_eq!(at("24h"), "2026-11-21T12:00:00Z");
        assert_eq!(at("7d"), "2026-11-15T12:00:00Z");
        assert_eq!(at("2w"), "2026-11-08T12:00:00Z");
        assert_eq!(at("1h30m"), "2026-11-22T10:30:00Z");
    }

    #[test]
    fn every_documented_length_of_time_is_read() {
        let millis = |text: &str| parse_duration(text).map(|length| length.as_millis()).ok();
        let hour = 3_600_000;
        assert_eq!(
            ["500ms", "30s", "90m", "24h", "7d", "2w"].map(millis),
            [
                500,
                30_000,
                90 * 60_000,
                24 * hour,
                7 * 24 * hour,
                14 * 24 * hour
            ]
            .map(Some)
        );
        assert_eq!(millis("1h30m"), Some(90 * 60_000));
        assert_eq!(millis("30m1h"), Some(90 * 60_000));
        assert_eq!(millis("1w2d3h4m5s6ms"), Some(788_645_006));
        assert_eq!(millis("100000h"), Some(100_000 * hour));
        for text in [
            "",
            "7",
            "7y",
            "1mo",
            "-3d",
            "3d ago",
            "h",
            "1h30",
            "08:12:23",
            "PT5M",
            "1.5h",
            "+3h",
            "90 m",
            "5 minutes",
            "99999999999999w",
        ] {
            assert_eq!(millis(text), None, "{text:?}");
        }
    }

    #[test]
    fn what_is_no_time_is_refused_with_the_forms_that_are() {
        for text in [
            "",
            "yesterday",
            "08:12:23",
            "7",
            "7y",
            "-3d",
            "2026-13-01",
            "2026-11-20T25:00:00Z",
            "99999999999999w",
            "2026-11-20T08:00:00[Asia/Tokyo]",
        ] {
            assert!(
                parse_time(text, Timestamp::UNIX_EPOCH).is_err(),
                "{text:?} was read as a time"
            );
        }
        assert!(at("soon").contains("RFC 3339"));
    }

    #[test]
    fn times_outside_what_influxdb_holds_become_its_least_and_greatest() {
        assert_eq!(to_nanos("0001-01-01T00:00:00Z".parse().unwrap()), LEAST);
        assert_eq!(
            to_nanos(parse_time("9999-12-31T23:59:59Z", Timestamp::UNIX_EPOCH).unwrap()),
            GREATEST
        );
        assert_eq!(
            to_nanos("1970-01-01T00:00:01Z".parse().unwrap()),
            1_000_000_000
        );
        assert_eq!(to_nanos(from_nanos(LEAST)), LEAST);
        assert_eq!(to_nanos(from_nanos(GREATEST)), GREATEST);
    }
}
