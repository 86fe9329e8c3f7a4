//! Where lines are divided among files: between series where one ends near, else between points.

use super::protocol::Lines;

/// How much a file may hold; none for no limit.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SplitLimits {
    /// Points.
    pub lines: Option<u64>,
    /// Bytes, before compression. A single point may be more.
    pub bytes: Option<u64>,
}

impl SplitLimits {
    /// Whether there are any.
    pub fn are_given(self) -> bool {
        self.lines.is_some() || self.bytes.is_some()
    }
}

/// What a file holds so far.
#[derive(Debug, Default)]
pub(super) struct FileFill {
    lines: u64,
    bytes: u64,
    /// Whether it has more than what stands before the points.
    has_points: bool,
    /// Whether it ends within a line.
    is_open: bool,
}

/// Some of the lines that wait, for one file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Portion {
    /// Where their bytes end.
    pub end: usize,
    /// Whether what follows belongs into the next file.
    pub is_last: bool,
}

impl FileFill {
    /// Of a file that begins with so many bytes that are no points.
    pub(super) fn new(bytes: u64) -> Self {
        Self {
            bytes,
            ..Self::default()
        }
    }

    /// Adds bytes that are no points.
    pub(super) fn add_head(&mut self, bytes: u64) {
        self.bytes += bytes;
    }

    /// How much of `lines`, from `start` on, goes into the file.
    pub(super) fn take(&mut self, lines: &Lines, start: usize, limits: SplitLimits) -> Portion {
        let first = lines.ends.partition_point(|end| *end <= start);
        let fits = self.fitting(lines, start, first, limits);
        let portion = self.portion(lines, start, first, fits);
        let taken = lines.ends.partition_point(|end| *end <= portion.end) - first;
        self.lines += taken as u64;
        self.bytes += (portion.end - start) as u64;
        self.has_points |= portion.end > start;
        self.is_open = !portion.is_last && lines.ends.last() != Some(&lines.bytes.len());
        portion
    }

    /// Where the lines end that are within the limits; what follows the last end is a line too.
    fn fitting(&self, lines: &Lines, start: usize, first: usize, limits: SplitLimits) -> usize {
        let tail = lines.bytes.len();
        let ends = lines.ends[first..].iter().copied();
        let open = (lines.ends.last() != Some(&tail)).then_some(tail);
        let fits = |(nth, end): &(usize, usize)| {
            // The line that the file ends in cannot be divided.
            let is_begun = *nth == 0 && self.is_open;
            let of_lines = limits
                .lines
                .is_none_or(|most| self.lines + (*nth as u64) < most);
            let bytes = self.bytes + (end - start) as u64;
            is_begun || of_lines && limits.bytes.is_none_or(|most| bytes <= most)
        };
        let fitting = ends.chain(open).enumerate().take_while(fits);
        fitting.last().map_or(start, |(_, end)| end)
    }

    fn portion(&self, lines: &Lines, start: usize, first: usize, fits: usize) -> Portion {
        let tail = lines.bytes.len();
        if fits == tail {
            return Portion {
                end: tail,
                is_last: false,
            };
        }
        if fits == start && !self.has_points {
            // A point that is more than a file may hold has one of its own.
            let end = lines.ends.get(first).copied().unwrap_or(tail);
            return Portion {
                end,
                is_last: end < tail,
            };
        }
        let starts = lines.series.iter().map(|line| match line {
            0 => 0,
            line => lines.ends[line - 1],
        });
        // A series that began in an earlier piece is divided.
        let between = starts.rev().find(|at| *at > start && *at <= fits);
        Portion {
            end: between.unwrap_or(fits),
            is_last: true,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lines of ten bytes, of series that begin at some of them.
    fn lines(count: usize, series: &[usize]) -> Lines {
        Lines {
            bytes: vec![b'x'; 10 * count],
            ends: (1..=count).map(|nth| 10 * nth).collect(),
            series: series.to_vec(),
        }
    }

    /// How many bytes go into each file.
    fn files(pieces: &[Lines], limits: SplitLimits) -> Vec<usize> {
        let (mut files, mut fill) = (vec![0], FileFill::new(0));
        for piece in pieces {
            let mut start = 0;
            while start < piece.bytes.len() {
                let portion = fill.take(piece, start, limits);
                *files.last_mut().unwrap() += portion.end - start;
                start = portion.end;
                if portion.is_last {
                    files.push(0);
                    fill = FileFill::new(0);
                }
            }
        }
        files
    }

    fn of_lines(most: u64) -> SplitLimits {
        SplitLimits {
            lines: Some(most),
            bytes: None,
        }
    }

    fn of_bytes(most: u64) -> SplitLimits {
        SplitLimits {
            lines: None,
            bytes: Some(most),
        }
    }

    #[test]
    fn a_file_ends_between_series_where_it_can_and_else_between_points() {
        let pieces = [lines(7, &[0, 2, 4])];
        assert_eq!(files(&pieces, SplitLimits::default()), [70]);
        assert_eq!(files(&pieces, of_lines(7)), [70]);
        assert_eq!(files(&pieces, of_lines(5)), [40, 30]);
        assert_eq!(files(&pieces, of_bytes(59)), [40, 30]);
        assert_eq!(files(&pieces, of_lines(2)), [20, 20, 20, 10]);
        assert_eq!(files(&pieces, of_lines(1)), [10; 7]);
        // The series goes on in the next piece.
        let pieces = [lines(4, &[0]), lines(4, &[2])];
        assert_eq!(files(&pieces, of_lines(5)), [50, 30]);
        assert_eq!(files(&pieces, of_lines(7)), [60, 20]);
    }

    #[test]
    fn a_point_that_is_larger_than_a_file_may_be_has_one_of_its_own() {
        let pieces = [lines(3, &[0])];
        assert_eq!(files(&pieces, of_bytes(9)), [10; 3]);
        let open = Lines {
            bytes: vec![b'x'; 35],
            ends: vec![10],
            series: vec![0],
        };
        let rest = Lines {
            bytes: vec![b'x'; 15],
            ends: vec![5, 15],
            series: vec![],
        };
        let pieces = [open, rest];
        assert_eq!(files(&pieces, of_bytes(20)), [10, 30, 10]);
        assert_eq!(files(&pieces, of_lines(2)), [40, 10]);
    }
}
