//! Which shards of two sides are compared with one another: by the times of their groups, whose
//! borders need not be the same on both.

use crate::time::Bounds;

/// The times of a shard's group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct GroupSpan {
    /// The first nanosecond inside.
    pub start: i64,
    /// The first nanosecond behind.
    pub end: i64,
}

/// A span of time without a border of any group in it, and the shards of both sides that can have
/// points there: by their places in the lists of their sides.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Slice {
    pub span: GroupSpan,
    pub shards: [Vec<usize>; 2],
    /// Whether shards have points of other slices too.
    pub is_cut: bool,
}

impl Slice {
    /// The points of the shards that are compared. Those of groups with the same borders are, all
    /// of them, whatever their times.
    pub(super) fn time_range(&self) -> Bounds {
        match self.is_cut {
            false => Bounds::ANY,
            true => Bounds {
                start: self.span.start,
                end: self.span.end - 1,
            },
        }
    }
}

/// Puts groups of both sides, in whatever order, side by side.
pub(super) fn slices(sides: [&[GroupSpan]; 2]) -> Vec<Slice> {
    let all = || sides.into_iter().flatten();
    let mut borders: Vec<i64> = all().flat_map(|span| [span.start, span.end]).collect();
    borders.sort_unstable();
    borders.dedup();
    let mut sides = sides.map(OpenGroups::new);
    let between = borders.windows(2).filter_map(|borders| {
        let span = GroupSpan {
            start: borders[0],
            end: borders[1],
        };
        let shards = [sides[0].at(span.start), sides[1].at(span.start)];
        if shards.iter().all(Vec::is_empty) {
            return None;
        }
        let cuts = |side: &OpenGroups<'_>, shards: &[usize]| {
            shards.iter().any(|at| side.spans[*at] != span)
        };
        Some(Slice {
            span,
            is_cut: cuts(&sides[0], &shards[0]) || cuts(&sides[1], &shards[1]),
            shards,
        })
    });
    between.collect()
}

/// The groups of a side that a time lies in, for one time after the other.
struct OpenGroups<'a> {
    spans: &'a [GroupSpan],
    /// Those to come, the first one last.
    coming: Vec<usize>,
    open: Vec<usize>,
}

impl<'a> OpenGroups<'a> {
    fn new(spans: &'a [GroupSpan]) -> Self {
        let mut coming: Vec<usize> = (0..spans.len()).collect();
        coming.sort_by_key(|at| std::cmp::Reverse((spans[*at].start, *at)));
        Self {
            spans,
            coming,
            open: Vec::new(),
        }
    }

    fn at(&mut self, time: i64) -> Vec<usize> {
        let spans = self.spans;
        while let Some(at) = self.coming.pop_if(|at| spans[*at].start <= time) {
            self.open.push(at);
        }
        self.open.retain(|at| spans[*at].end > time);
        self.open.clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Start and end, the shards of both sides, and whether they are cut.
    type Cut = (i64, i64, Vec<usize>, Vec<usize>, bool);

    fn cut(a: &[(i64, i64)], b: &[(i64, i64)]) -> Vec<Cut> {
        let spans = |groups: &[(i64, i64)]| -> Vec<GroupSpan> {
            let groups = groups.iter();
            groups
                .map(|&(start, end)| GroupSpan { start, end })
                .collect()
        };
        let found = slices([&spans(a), &spans(b)]);
        let found = found.into_iter().map(|slice| {
            let [a, b] = slice.shards;
            (slice.span.start, slice.span.end, a, b, slice.is_cut)
        });
        found.collect()
    }

    #[test]
    fn groups_with_the_same_borders_are_compared_whole() {
        assert_eq!(
            cut(&[(7, 14), (0, 7)], &[(0, 7), (14, 21)]),
            [
                (0, 7, vec![1], vec![0], false),
                (7, 14, vec![0], vec![], false),
                (14, 21, vec![], vec![1], false),
            ]
        );
    }

    #[test]
    fn other_borders_cut_groups_into_pieces() {
        assert_eq!(
            cut(&[(0, 28)], &[(0, 7), (7, 14), (21, 30)]),
            [
                (0, 7, vec![0], vec![0], true),
                (7, 14, vec![0], vec![1], true),
                (14, 21, vec![0], vec![], true),
                (21, 28, vec![0], vec![2], true),
                (28, 30, vec![], vec![2], true),
            ]
        );
    }

    #[test]
    fn groups_of_a_side_that_overlap_are_open_together() {
        assert_eq!(
            cut(&[(0, 7), (0, 7), (5, 9)], &[(0, 7)]),
            [
                (0, 5, vec![0, 1], vec![0], true),
                (5, 7, vec![0, 1, 2], vec![0], true),
                (7, 9, vec![2], vec![], true),
            ]
        );
        assert_eq!(cut(&[], &[]), []);
    }
}
