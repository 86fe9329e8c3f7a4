//! Tests of replaying a WAL: against a plain model, in memory and through many runs.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::super::tests::{Datum, Logged, LoggedKey, REAL, entry, logged};
use super::*;

type Points = Vec<(Vec<u8>, i64, Datum)>;

fn replay(segments: &[Vec<u8>], budget: usize) -> (Points, Vec<SegmentEnding>) {
    let directory = tempfile::tempdir().unwrap();
    let mut cache = Cache::new(directory.path(), budget);
    let endings = segments
        .iter()
        .map(|segment| cache.replay(&segment[..]).unwrap())
        .collect();
    let mut points = Points::new();
    let result: io::Result<()> = cache.finish(|key, time, value| {
        points.push((key.to_vec(), time, value.into()));
        Ok(())
    });
    result.unwrap();
    assert_eq!(
        std::fs::read_dir(directory.path()).unwrap().count(),
        0,
        "the temporary file has a name"
    );
    (points, endings)
}

/// What the entries leave, step by step.
fn model(entries: &[Logged]) -> Points {
    let mut points: BTreeMap<(Vec<u8>, i64), Datum> = BTreeMap::new();
    for entry in entries {
        match entry {
            Logged::Write(keys) => {
                for (key, values) in keys {
                    points.extend(
                        values
                            .iter()
                            .map(|(time, value)| ((key.clone(), *time), value.clone())),
                    );
                }
            }
            Logged::Delete(keys) => points.retain(|(key, _), _| !keys.contains(key)),
            Logged::DeleteRange(min, max, keys) => {
                points.retain(|(key, time), _| !keys.contains(key) || time < min || time > max);
            }
        }
    }
    points
        .into_iter()
        .map(|((key, time), value)| (key, time, value))
        .collect()
}

fn floats(key: &str, points: &[(i64, f64)]) -> LoggedKey {
    (
        key.into(),
        points
            .iter()
            .map(|(time, value)| (*time, Datum::Float(*value)))
            .collect(),
    )
}

#[test]
fn a_real_wal_leaves_what_was_not_deleted() {
    let (points, endings) = replay(&[REAL.to_vec()], BUDGET);
    let time = 1_600_000_000_000_000_000;
    let point = |field: &str, value| (format!("m,h=a#!~#{field}").into_bytes(), time, value);
    let expected = [
        point("b", Datum::Boolean(true)),
        point("f", Datum::Float(1.5)),
        point("i", Datum::Integer(-2)),
        point("s", Datum::String(b"hi".to_vec())),
    ];
    assert_eq!(
        (points, endings),
        (expected.to_vec(), vec![SegmentEnding::Clean])
    );
}

#[test]
fn a_segment_after_a_torn_one_counts() {
    let write = |time| Logged::Write(vec![floats("k", &[(time, 1.0)])]).bytes();
    let mut torn = [write(1), write(2)].concat();
    torn.pop();
    let (points, endings) = replay(&[torn, write(3)], BUDGET);
    assert_eq!(
        points.iter().map(|point| point.1).collect::<Vec<_>>(),
        [1, 3]
    );
    assert!(matches!(
        endings[..],
        [SegmentEnding::Torn { .. }, SegmentEnding::Clean]
    ));
}

#[test]
fn a_delete_reaches_both_its_ends_and_only_what_was_written_before() {
    let write = |points: &[(i64, f64)]| Logged::Write(vec![floats("k", points)]);
    let entries = [
        write(&[
            (1, 1.0),
            (2, 1.0),
            (3, 1.0),
            (4, 1.0),
            (i64::MIN, 1.0),
            (i64::MAX, 1.0),
        ]),
        Logged::DeleteRange(2, 3, vec![b"k".to_vec()]),
        Logged::DeleteRange(4, 1, vec![b"k".to_vec()]),
        write(&[(3, 2.0)]),
    ];
    let bytes: Vec<u8> = entries.iter().flat_map(Logged::bytes).collect();
    let (points, _) = replay(&[bytes], BUDGET);
    assert_eq!(
        points.iter().map(|point| point.1).collect::<Vec<_>>(),
        [i64::MIN, 1, 3, 4, i64::MAX]
    );
    assert_eq!(points[2].2, Datum::Float(2.0));
}

#[test]
fn what_no_tsm_file_can_hold_is_passed_over() {
    let long = vec![b'k'; 70_000];
    let entries = [
        Logged::Write(vec![floats("", &[(1, 1.0)]), floats("k", &[(1, 1.0)])]),
        Logged::DeleteRange(0, 9, vec![long.clone(), vec![]]),
        Logged::Delete(vec![long]),
    ];
    let bytes: Vec<u8> = entries.iter().flat_map(Logged::bytes).collect();
    assert_eq!(
        replay(&[bytes], BUDGET).0,
        [(b"k".to_vec(), 1, Datum::Float(1.0))]
    );
    assert_eq!(replay(&[], BUDGET), (vec![], vec![]));
    assert_eq!(replay(&[entry(1, b"")], BUDGET).0, []);
}

proptest! {
    #[test]
    fn whatever_is_logged_the_outcome_is_that_of_the_steps_in_turn(
        segments in prop::collection::vec(prop::collection::vec(logged(), 0..8), 0..4),
        budget in prop_oneof![0..2000_usize, Just(BUDGET)],
    ) {
        let bytes: Vec<Vec<u8>> = segments.iter().map(|segment| segment.iter().flat_map(Logged::bytes).collect()).collect();
        let (points, endings) = replay(&bytes, budget);
        prop_assert_eq!(points, model(&segments.concat()));
        prop_assert!(endings.iter().all(|ending| *ending == SegmentEnding::Clean));
    }
}
