//! The times of CSV: RFC 3339 with nanoseconds, or a count since 1970.

use super::rows::Losses;
use crate::time::from_nanos;

const SECOND: i64 = 1_000_000_000;
const DAY: i64 = 86_400 * SECOND;

/// How times are written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum TimeFormat {
    /// `2026-11-20T08:00:00.000000000Z`.
    #[default]
    Rfc3339,
    /// How many of so many nanoseconds since 1970 UTC. What is left over is cut off.
    Epoch(i64),
}

/// Writes times, most of which are of the day of the one before.
pub(super) struct TimeText {
    format: TimeFormat,
    /// The start of the day whose date is in `date`.
    day: Option<i128>,
    /// `2026-11-20T`.
    date: String,
    integer: itoa::Buffer,
}

impl TimeText {
    pub(super) fn new(format: TimeFormat) -> Self {
        Self {
            format,
            day: None,
            date: String::new(),
            integer: itoa::Buffer::new(),
        }
    }

    pub(super) fn put(&mut self, time: i64, out: &mut Vec<u8>, losses: &mut Losses) {
        match self.format {
            TimeFormat::Epoch(unit) => {
                losses.cut_times += u64::from(time % unit != 0);
                let text = self.integer.format(time.div_euclid(unit));
                out.extend_from_slice(text.as_bytes());
            }
            TimeFormat::Rfc3339 => self.put_date(time, out),
        }
    }

    fn put_date(&mut self, time: i64, out: &mut Vec<u8>) {
        let of_day = time.rem_euclid(DAY);
        // The first day of all begins before the first time.
        let day = i128::from(time) - i128::from(of_day);
        if self.day != Some(day) {
            self.day = Some(day);
            self.date = from_nanos(time).strftime("%Y-%m-%dT").to_string();
        }
        out.extend_from_slice(self.date.as_bytes());
        let (seconds, nanos) = (of_day / SECOND, of_day % SECOND);
        put_digits(seconds / 3600, 2, out);
        out.push(b':');
        put_digits(seconds / 60 % 60, 2, out);
        out.push(b':');
        put_digits(seconds % 60, 2, out);
        out.push(b'.');
        put_digits(nanos, 9, out);
        out.push(b'Z');
    }
}

/// Writes so many digits of a number.
fn put_digits(mut number: i64, count: usize, out: &mut Vec<u8>) {
    let start = out.len();
    out.resize(start + count, b'0');
    for digit in out[start..].iter_mut().rev() {
        *digit += (number % 10) as u8;
        number /= 10;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(format: TimeFormat, times: &[i64]) -> (Vec<String>, u64) {
        let (mut text, mut losses) = (TimeText::new(format), Losses::default());
        let texts = times.iter().map(|time| {
            let mut out = Vec::new();
            text.put(*time, &mut out, &mut losses);
            String::from_utf8(out).unwrap()
        });
        (texts.collect(), losses.cut_times)
    }

    #[test]
    fn dates_have_nanoseconds_from_the_first_time_to_the_last() {
        let times = [i64::MIN, -1, 0, 1_528_070_400_000_000_001, i64::MAX];
        let (texts, _) = texts(TimeFormat::Rfc3339, &times);
        let expected = [
            "1677-09-21T00:12:43.145224192Z",
            "1969-12-31T23:59:59.999999999Z",
            "1970-01-01T00:00:00.000000000Z",
            "2018-06-04T00:00:00.000000001Z",
            "2262-04-11T23:47:16.854775807Z",
        ];
        assert_eq!(texts, expected);
    }

    #[test]
    fn counts_are_cut_down_and_those_that_lose_something_are_counted() {
        let times = [i64::MIN, -1, 0, 1_528_070_400_000_000_001];
        let (seconds, cut) = texts(TimeFormat::Epoch(SECOND), &times);
        assert_eq!(seconds, ["-9223372037", "-1", "0", "1528070400"]);
        assert_eq!(cut, 3);
        let (nanos, cut) = texts(TimeFormat::Epoch(1), &times);
        assert_eq!(nanos[0], i64::MIN.to_string());
        assert_eq!(cut, 0);
    }
}
