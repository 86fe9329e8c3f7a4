//! Sizes, counts, lengths of time and lists as people read them.

use std::fmt::Display;
use std::time::Duration;

/// How many names of a list are printed.
const NAMES_SHOWN: usize = 8;
/// How many where there is little room.
const FEW: usize = 5;

/// A number of bytes in the unit that fits: `1.5 KiB`. What rounds to 1024 takes the next unit.
pub(crate) fn size(bytes: u64) -> String {
    let (divisor, unit) = unit_of(bytes);
    format!("{} {unit}", in_unit(bytes, divisor))
}

/// A part of so many bytes, both in the unit that fits the whole: `0.5 of 1.5 KiB`.
pub(crate) fn size_of(part: u64, whole: u64) -> String {
    let (divisor, unit) = unit_of(whole);
    let [part, whole] = [part, whole].map(|bytes| in_unit(bytes, divisor));
    format!("{part} of {whole} {unit}")
}

/// The unit that fits so many bytes, and how many bytes it has.
fn unit_of(bytes: u64) -> (f64, &'static str) {
    const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];
    if bytes < 1024 {
        return (1.0, "B");
    }
    let (mut divisor, mut unit) = (1024.0, 0);
    while bytes as f64 / divisor >= 1023.95 && unit + 1 < UNITS.len() {
        divisor *= 1024.0;
        unit += 1;
    }
    (divisor, UNITS[unit])
}

/// A number of bytes in units of so many bytes: with a tenth, but for single bytes.
fn in_unit(bytes: u64, divisor: f64) -> String {
    match divisor {
        1.0 => bytes.to_string(),
        divisor => format!("{:.1}", bytes as f64 / divisor),
    }
}

/// How long something took, in seconds with a tenth: `1.2 s`.
pub(crate) fn seconds(elapsed: Duration) -> String {
    format!("{:.1} s", elapsed.as_secs_f64())
}

/// An age or a limit in its two largest units: `2d4h`, `26h`, `5m`, `200ms`.
pub(crate) fn age(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds == 0 && !time.is_zero() {
        return format!("{}ms", time.as_millis());
    }
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600, seconds / 60);
    // Up to two days in hours, as backups are spoken of.
    let (number, unit, rest, lesser_unit) = if days >= 2 {
        (days, "d", hours % 24, "h")
    } else if hours >= 1 {
        (hours, "h", minutes % 60, "m")
    } else if minutes >= 1 {
        (minutes, "m", seconds % 60, "s")
    } else {
        (seconds, "s", 0, "")
    };
    match rest {
        0 => format!("{number}{unit}"),
        rest => format!("{number}{unit}{rest}{lesser_unit}"),
    }
}

/// `1 shard`, `2 shards`, `2 continuous queries`.
pub(crate) fn plural(count: impl Into<Count>, noun: &str) -> String {
    let Count(count) = count.into();
    match (count, noun.strip_suffix("ry")) {
        (1, _) => format!("1 {noun}"),
        (_, Some(stem)) => format!("{count} {stem}ries"),
        (_, None) => format!("{count} {noun}s"),
    }
}

/// A number of things, of whichever integer it was counted in.
pub(crate) struct Count(u64);

impl From<usize> for Count {
    fn from(count: usize) -> Self {
        Self(count as u64)
    }
}

impl From<u64> for Count {
    fn from(count: u64) -> Self {
        Self(count)
    }
}

/// Names in a row: `a, b and 3 more` where there are more than eight.
pub(crate) fn name_list(names: &[String]) -> String {
    match names.len() {
        0 => "none".to_owned(),
        1..=NAMES_SHOWN => names.join(", "),
        count => format!(
            "{} and {} more",
            names[..NAMES_SHOWN].join(", "),
            count - NAMES_SHOWN
        ),
    }
}

/// The first five names of a row, in short: `a, b and 3 more`.
pub(crate) fn few_names<'a>(names: impl ExactSizeIterator<Item = &'a str>) -> String {
    let count = names.len();
    let shown: Vec<&str> = names.take(FEW).collect();
    match count - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// The first of sentences that say much the same: `a is gone (and 3 more)`.
pub(crate) fn first_of<T: Display>(sentences: &[T]) -> String {
    match sentences {
        [] => "none".to_owned(),
        [one] => one.to_string(),
        [first, rest @ ..] => format!("{first} (and {} more)", rest.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_written_in_the_unit_that_fits() {
        assert_eq!(size(1023), "1023 B");
        assert_eq!(size(1536), "1.5 KiB");
        assert_eq!(size((1 << 20) - 1), "1.0 MiB");
        assert_eq!(size(u64::MAX), "16.0 EiB");
        assert_eq!(size_of(512, 1536), "0.5 of 1.5 KiB");
        assert_eq!(size_of(0, 100), "0 of 100 B");
    }

    #[test]
    fn an_age_is_told_in_its_two_largest_units() {
        let told = |seconds| age(Duration::from_secs(seconds));
        assert_eq!([0, 59, 60, 61].map(told), ["0s", "59s", "1m", "1m1s"]);
        assert_eq!(age(Duration::from_millis(200)), "200ms");
        let hour = 3600;
        assert_eq!(
            [hour, 26 * hour, 47 * hour + 61].map(told),
            ["1h", "26h", "47h1m"]
        );
        let day = 24 * hour;
        assert_eq!(
            [2 * day, 2 * day + 4 * hour, 9 * day + 3 * hour + 5].map(told),
            ["2d", "2d4h", "9d3h"]
        );
    }

    #[test]
    fn one_thing_has_no_plural() {
        assert_eq!(plural(1_usize, "shard"), "1 shard");
        assert_eq!(plural(0_u64, "shard"), "0 shards");
        assert_eq!(plural(1_usize, "continuous query"), "1 continuous query");
        assert_eq!(plural(2_usize, "continuous query"), "2 continuous queries");
    }

    #[test]
    fn of_many_names_a_few_are_printed() {
        let names = ["a", "b", "c", "d", "e", "f", "g"];
        assert_eq!(few_names(names[..1].iter().copied()), "a");
        assert_eq!(few_names(names[..5].iter().copied()), "a, b, c, d, e");
        assert_eq!(few_names(names.into_iter()), "a, b, c, d, e and 2 more");
    }

    #[test]
    fn a_long_list_ends_in_how_many_more_there_are() {
        let names: Vec<String> = (1..=10).map(|n| n.to_string()).collect();
        assert!(name_list(&names).ends_with("7, 8 and 2 more"));
        assert_eq!(name_list(&names[..2]), "1, 2");
        assert_eq!(name_list(&[]), "none");
        assert_eq!(first_of(&names), "1 (and 9 more)");
    }
}
