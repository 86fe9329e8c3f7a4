//! Where shard groups begin and end.
//!
//! influxd cuts time into pieces of the group duration that are counted from the year 1, as Go's
//! `Time.Truncate` does: weeks begin on a Monday.

use crate::time::LEAST;

/// Nanoseconds from the beginning of the year 1 to 1970.
const YEAR_ONE: i128 = 62_135_596_800_000_000_000;

/// The borders of groups of one length.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Grid {
    /// Nanoseconds.
    pub width: i64,
}

impl Grid {
    /// The number of the group that a time is in.
    pub(crate) fn at(self, time: i64) -> i128 {
        (i128::from(time) + YEAR_ONE).div_euclid(self.width.into())
    }

    /// Its first nanosecond. Of the first group of all influxd lets it wrap round to 2262, and
    /// misses the group's points when it is started again.
    pub(crate) fn start(self, number: i128) -> i64 {
        let start = number * i128::from(self.width) - YEAR_ONE;
        i64::try_from(start).map_or(LEAST, |start| start.max(LEAST))
    }

    /// The first nanosecond behind it; of the last group of all, that behind the last time there
    /// is, as influxd has it.
    pub(crate) fn end(self, number: i128) -> i64 {
        let end = (number + 1) * i128::from(self.width) - YEAR_ONE;
        i64::try_from(end).unwrap_or(i64::MAX)
    }

    /// The first nanosecond of the group that a time is in, and the first behind it.
    pub(crate) fn group_of(self, time: i64) -> (i64, i64) {
        let number = self.at(time);
        (self.start(number), self.end(number))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::GREATEST;

    const HOUR: i64 = 3_600_000_000_000;

    fn of(time: i64, width: i64) -> (i64, i64) {
        Grid { width }.group_of(time)
    }

    #[test]
    fn groups_are_counted_from_the_year_one() {
        // Thursday 1970-01-01; the Monday before it and the one after it.
        let week = 168 * HOUR;
        assert_eq!(of(0, week), (-72 * HOUR, 96 * HOUR));
        assert_eq!(of(96 * HOUR - 1, week), (-72 * HOUR, 96 * HOUR));
        assert_eq!(of(96 * HOUR, week), (96 * HOUR, 264 * HOUR));
        assert_eq!(of(-1, 24 * HOUR), (-24 * HOUR, 0));
    }

    #[test]
    fn groups_end_where_time_does() {
        let week = 168 * HOUR;
        assert_eq!(of(LEAST, week).0, LEAST);
        assert_eq!(of(GREATEST, week).1, GREATEST + 1);
    }
}
