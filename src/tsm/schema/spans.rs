//! Spans of time, both ends included, and how much of one others cover.

use super::super::index::BlockEntry;

/// The first and the last time.
pub(super) type Span = (i64, i64);

/// The time from the first point of a block to its last.
pub(super) fn of_block(entry: &BlockEntry) -> Span {
    (entry.min_time, entry.max_time)
}

/// How much of `span` is covered by `others`, which ascend and share no time: from 0 to 1, and
/// either of these where it is none or all.
pub(super) fn covered_share(span: Span, others: &[Span]) -> f64 {
    let begin = others.partition_point(|other| other.1 < span.0);
    let touching = others[begin..].iter().take_while(|other| other.0 <= span.1);
    let covered: i128 = touching
        .map(|other| length((other.0.max(span.0), other.1.min(span.1))))
        .sum();
    covered as f64 / length(span) as f64
}

/// What is left of `span` from its first to its last time that `others` do not cover; none where
/// they cover it. They ascend and share no time.
pub(super) fn uncovered(span: Span, others: &[Span]) -> Option<Span> {
    let (mut first, mut last) = span;
    let begin = others.partition_point(|other| other.1 < first);
    for other in &others[begin..] {
        if other.0 > first {
            break;
        }
        first = other.1.checked_add(1)?;
    }
    let end = others.partition_point(|other| other.0 <= last);
    for other in others[..end].iter().rev() {
        if other.1 < last {
            break;
        }
        last = other.0.checked_sub(1)?;
    }
    (first <= last).then_some((first, last))
}

/// Whether some of a block is not covered by `others`.
pub(super) fn is_left(entry: &BlockEntry, others: &[Span]) -> bool {
    uncovered(of_block(entry), others).is_some()
}

fn length(span: Span) -> i128 {
    i128::from(span.1) - i128::from(span.0) + 1
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Adds a span to others, joining those that touch.
    fn join(all: &mut Vec<Span>, other: Span) {
        all.push(other);
        all.sort();
        all.dedup_by(|next, last| {
            let touches = next.0 <= last.1.saturating_add(1);
            if touches {
                last.1 = last.1.max(next.1);
            }
            touches
        });
    }

    proptest! {
        #[test]
        fn what_is_covered_is_what_each_time_says(
            span in (-20..20_i64, 0..15_i64),
            others in prop::collection::vec((-20..20_i64, 0..9_i64), 0..6),
        ) {
            let ends = |(start, length): (i64, i64)| (start, start + length);
            let span = ends(span);
            let mut all = Vec::new();
            others.iter().for_each(|other| join(&mut all, ends(*other)));
            prop_assert!(all.is_sorted_by(|a, b| a.1 + 1 < b.0));
            let is_covered = |time: &i64| {
                others.iter().any(|other| (other.0..=ends(*other).1).contains(time))
            };
            let times: Vec<i64> = (span.0..=span.1).collect();
            let covered = times.iter().filter(|time| is_covered(time)).count();
            let share = covered_share(span, &all);
            prop_assert!((share - covered as f64 / times.len() as f64).abs() < 1e-9);
            prop_assert_eq!(share == 1.0, covered == times.len());
            let mut left = times.iter().filter(|time| !is_covered(time));
            let first = left.next();
            let last = left.next_back().or(first);
            prop_assert_eq!(uncovered(span, &all), first.copied().zip(last.copied()));
        }
    }

    #[test]
    fn the_ends_of_time_overflow_nothing() {
        let all = (i64::MIN, i64::MAX);
        assert_eq!(covered_share(all, &[all]), 1.0);
        assert_eq!(uncovered(all, &[all]), None);
        assert_eq!(uncovered((0, i64::MAX), &[(5, i64::MAX)]), Some((0, 4)));
        let mut joined = vec![all];
        join(&mut joined, (0, i64::MAX));
        assert_eq!(joined, [all]);
    }
}
