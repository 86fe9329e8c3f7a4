//! Lengths of time as InfluxDB counts them, and when things happen.

use std::thread;
use std::time::Duration;

use jiff::Timestamp;

/// A second in nanoseconds.
pub const SECOND: i64 = 1_000_000_000;

/// An hour in nanoseconds.
pub const HOUR: i64 = 3600 * SECOND;

/// A day in nanoseconds.
pub const DAY: i64 = 24 * HOUR;

/// A week in nanoseconds: the duration of a shard under `autogen`.
pub const WEEK: i64 = 7 * DAY;

/// 2020-09-07T00:00:00Z, a Monday and so the start of a shard under `autogen`.
pub const MONDAY: i64 = 1_599_436_800 * SECOND;

/// The time now, after which files get later times: those come from a clock that ticks some hundred
/// times a second.
pub fn moment() -> String {
    thread::sleep(Duration::from_millis(20));
    let now = Timestamp::now().to_string();
    thread::sleep(Duration::from_millis(20));
    now
}
