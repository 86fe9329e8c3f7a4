//! Where shard groups begin and end.
//!
//! influxd cuts time into pieces of the group duration that are counted from the year 1, as Go's
//! `Time.Truncate` does: weeks begin on a Monday.

use crate::time::{GREATEST, LEAST};

/// Nanoseconds from the beginning of the year 1 to 1970.
const YEAR_ONE: i128 = 62_135_596_800 * 1_000_000_000;

/// The first nanosecond of the group that a time falls into, and the first behind it. At the ends of
/// what an `i64` holds, a group is shorter.
pub(crate) fn group_at(time: i64, duration: i64) -> (i64, i64) {
    let duration = i128::from(duration.max(1));
    let since = i128::from(time) + YEAR_ONE;
    let start = since - since.rem_euclid(duration) - YEAR_ONE;
    let (first, behind) = (i128::from(LEAST), i128::from(GREATEST) + 1);
    let within = |time: i128| time.clamp(first, behind) as i64;
    (within(start), within(start + duration))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: i64 = 3_600_000_000_000;

    #[test]
    fn groups_are_counted_from_the_year_one() {
        // Thursday 1970-01-01; the Monday before it and the one after it.
        let week = 168 * HOUR;
        assert_eq!(group_at(0, week), (-72 * HOUR, 96 * HOUR));
        assert_eq!(group_at(96 * HOUR - 1, week), (-72 * HOUR, 96 * HOUR));
        assert_eq!(group_at(96 * HOUR, week), (96 * HOUR, 264 * HOUR));
        assert_eq!(group_at(-1, 24 * HOUR), (-24 * HOUR, 0));
    }

    #[test]
    fn groups_end_where_time_does() {
        let week = 168 * HOUR;
        assert_eq!(group_at(LEAST, week).0, LEAST);
        assert_eq!(group_at(GREATEST, week).1, GREATEST + 1);
    }
}
