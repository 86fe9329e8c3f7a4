//! Comparisons of shards against a model that holds all of their points in memory.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::report::MeasurementDiff;
use super::*;
use crate::io::read_at::Section;
use crate::time::{Bounds, from_nanos};
use crate::tsm::file_name;
use crate::tsm::filter::NewTypes;
use crate::tsm::points::test_file::TestFile;
use crate::tsm::points::{PointsFile, PointsFinding, PointsSelection};
use crate::tsm::series_filter::SeriesFilter;
use crate::tsm::sought_series::SoughtSeries;
use crate::tsm::tombstone::BoundedDeletes;
use crate::tsm::values::{Points, Strings};

/// Files as they lie on a disk.
type Stored = Vec<(Vec<u8>, BoundedDeletes)>;

fn stored(files: &[TestFile]) -> Stored {
    let files = files.iter();
    files.map(|file| (file.bytes(), file.deletes())).collect()
}

/// What was found of two sides, and what was told of each, and of what cannot be compared.
struct Compared {
    measurements: Vec<MeasurementDiff>,
    told: [Vec<String>; 3],
}

fn compare_stored(a: &Stored, b: &Stored, time_range: Bounds, contains: bool) -> Compared {
    let new_types = NewTypes::new();
    let selection = PointsSelection {
        new_types: &new_types,
        time_range,
    };
    let names: Vec<String> = (1..=9).map(|number| file_name(number, 1)).collect();
    let contents = [a, b].map(|side| -> Vec<Section<'_, [u8]>> {
        let side = side.iter();
        side.map(|(bytes, _)| Section::new(&bytes[..], 0, bytes.len() as u64))
            .collect()
    });
    let files = [(a, &contents[0]), (b, &contents[1])].map(|(side, contents)| {
        let files = (0..side.len()).map(|number| PointsFile {
            name: &names[number],
            content: &contents[number],
            deletes: &side[number].1,
        });
        files.collect::<Vec<_>>()
    });
    let [mut of_a, mut of_b, mut of_none] = [Vec::new(), Vec::new(), Vec::new()];
    let mut tell_a = |finding: PointsFinding<'_>| of_a.push(finding.to_string());
    let mut tell_b = |finding: PointsFinding<'_>| of_b.push(finding.to_string());
    let [files_a, files_b] = files;
    let mut tally = Tally::new(contains);
    let policy = PolicyName {
        database: "db".into(),
        retention_policy: "rp".into(),
    };
    let sought = SoughtSeries::of(SeriesFilter::default());
    Comparison {
        policy: &policy,
        matcher: sought.matcher(),
        contains,
        tally: &mut tally,
        told: &mut |text| of_none.push(text),
        cancel: &Cancel::default(),
    }
    .run(
        ShardPoints::open(files_a, selection, &mut tell_a).unwrap(),
        ShardPoints::open(files_b, selection, &mut tell_b).unwrap(),
    )
    .unwrap();
    Compared {
        measurements: tally.finish(),
        told: [of_a, of_b, of_none],
    }
}

fn compare(a: &[TestFile], b: &[TestFile]) -> Vec<MeasurementDiff> {
    let compared = compare_stored(&stored(a), &stored(b), Bounds::ANY, false);
    assert_eq!(compared.told, [(); 3].map(|()| Vec::<String>::new()));
    compared.measurements
}

/// Same, only in A, only in B, different.
fn counts(found: &MeasurementDiff) -> [u64; 4] {
    [
        found.same_points,
        found.only_in_a.points,
        found.only_in_b.points,
        found.different.points,
    ]
}

/// Fields with their values, in words, by time and series.
type Model = BTreeMap<(String, i64), BTreeMap<String, String>>;

fn model(files: &[TestFile], time_range: Bounds) -> Model {
    let mut all = Model::new();
    for file in files {
        for (key, blocks) in &file.keys {
            let (series, field) = key.split_once("#!~#").unwrap();
            for block in blocks {
                for (at, &time) in block.times.iter().enumerate() {
                    let mut deletes = file.deletes.iter();
                    let is_deleted =
                        deletes.any(|(of, min, max)| of == key && (*min..=*max).contains(&time));
                    if is_deleted || !(time_range.start..=time_range.end).contains(&time) {
                        continue;
                    }
                    let values = &block.values;
                    let fields = all.entry((series.to_owned(), time)).or_default();
                    fields.insert(field.to_owned(), Value { values, at }.shown());
                }
            }
        }
    }
    all
}

fn expected(a: &Model, b: &Model, contains: bool) -> BTreeMap<String, [u64; 4]> {
    let points: BTreeSet<&(String, i64)> = a.keys().chain(b.keys()).collect();
    let mut counts: BTreeMap<String, [u64; 4]> = BTreeMap::new();
    for point in points {
        let measurement = point.0.split(',').next().unwrap();
        let kind = match (a.get(point), b.get(point)) {
            (Some(one), Some(other)) if contains => {
                let mut fields = one.iter();
                match fields.all(|(field, value)| other.get(field) == Some(value)) {
                    true => 0,
                    false => 3,
                }
            }
            (Some(one), Some(other)) => {
                if one == other {
                    0
                } else {
                    3
                }
            }
            (Some(_), None) => 1,
            (None, _) => 2,
        };
        counts.entry(measurement.to_owned()).or_default()[kind] += 1;
    }
    counts
}

const KEYS: [&str; 8] = [
    "m!#!~#i",
    "m#!~#f",
    "m$#!~#i",
    "m,h=a#!~#f",
    "m,h=a#!~#i",
    "m,h=a#!~#s",
    "m,h=b#!~#f",
    "n,h=a#!~#s",
];

/// Values that tell the salt and the time; of the type that the field has.
fn values(key: &str, salt: i64, times: &[i64]) -> Points {
    let number = |time: &i64| *time * 10 + salt;
    let numbers = times.iter().map(number);
    let values = match key.split_once("#!~#").unwrap().1 {
        "f" => Values::Float(numbers.map(|number| number as f64 / 7.0).collect()),
        "i" => Values::Integer(numbers.collect()),
        _ => {
            let texts = numbers.map(|number| "s".repeat(number as usize % 9));
            Values::String(texts.collect())
        }
    };
    let times = times.to_vec();
    Points { times, values }
}

/// A file with some keys, in blocks of some points.
fn some_file() -> impl Strategy<Value = TestFile> {
    let times = prop_oneof![
        prop::collection::btree_set(0..60_i64, 1..20),
        (0..60_i64, 1..60_i64).prop_map(|(start, count)| (start..start + count).collect()),
    ];
    let keys = prop::collection::btree_map(0..KEYS.len(), (times, 1..30_usize, 0..2_i64), 1..6);
    let deletes = prop::collection::vec((0..KEYS.len(), 0..100_i64, 0..30_i64), 0..3);
    (keys, deletes).prop_map(|(keys, deletes)| TestFile {
        keys: (keys.into_iter())
            .map(|(key, (times, size, salt))| {
                let times: Vec<i64> = times.into_iter().collect();
                let blocks = times.chunks(size);
                let blocks = blocks.map(|times| values(KEYS[key], salt, times));
                (KEYS[key].to_owned(), blocks.collect())
            })
            .collect(),
        deletes: (deletes.into_iter())
            .map(|(key, min, length)| (KEYS[key].to_owned(), min, min + length))
            .collect(),
    })
}

proptest! {
    #[test]
    fn what_is_found_is_what_the_points_say(
        a in prop::collection::vec(some_file(), 0..3),
        others in prop::collection::vec(some_file(), 0..2),
        shared in 0..4_usize,
        bounds in prop_oneof![Just((i64::MIN, i64::MAX)), (0..40_i64, 30..100_i64)],
        contains: bool,
    ) {
        let time_range = Bounds { start: bounds.0, end: bounds.1 };
        let b: Vec<TestFile> = a.iter().take(shared).chain(&others).cloned().collect();
        let compared = compare_stored(&stored(&a), &stored(&b), time_range, contains);
        prop_assert_eq!(&compared.told, &[(); 3].map(|()| Vec::<String>::new()));
        let found: BTreeMap<String, [u64; 4]> = compared.measurements.iter()
            .map(|of| (of.measurement.clone(), counts(of)))
            .collect();
        let expected = expected(&model(&a, time_range), &model(&b, time_range), contains);
        for of in &compared.measurements {
            let [_, only_in_a, only_in_b, different] = expected[&of.measurement];
            let is_same = only_in_a + different == 0 && (contains || only_in_b == 0);
            prop_assert_eq!(of.same, is_same, "{}", of.measurement);
        }
        prop_assert_eq!(found, expected);
    }
}

fn floats(points: &[(i64, f64)]) -> Points {
    Points {
        times: points.iter().map(|(time, _)| *time).collect(),
        values: Values::Float(points.iter().map(|(_, value)| *value).collect()),
    }
}

fn integers(points: &[(i64, i64)]) -> Points {
    Points {
        times: points.iter().map(|(time, _)| *time).collect(),
        values: Values::Integer(points.iter().map(|(_, value)| *value).collect()),
    }
}

#[test]
fn one_value_that_differs_is_named_with_both() {
    let a = TestFile::of(&[("m,h=a#!~#v", &[floats(&[(1, 1.5), (2, 2.5), (3, 3.5)])])]);
    let b = TestFile::of(&[("m,h=a#!~#v", &[floats(&[(1, 1.5), (2, 2.75), (3, 3.5)])])]);
    let found = compare(&[a], &[b]);
    assert_eq!(counts(&found[0]), [2, 0, 0, 1]);
    let [example] = &found[0].different.examples[..] else {
        panic!("{found:?}");
    };
    assert_eq!((&*example.series_key, example.points), ("m,h=a", 1));
    assert_eq!(example.first_time, from_nanos(2));
    let values = example.difference.as_ref().unwrap();
    let shown = (
        &*values.field,
        values.value_in_a.as_deref(),
        values.value_in_b.as_deref(),
    );
    assert_eq!(shown, ("v", Some("2.5"), Some("2.75")));
}

#[test]
fn a_series_that_a_side_lacks_is_told_as_a_whole_one() {
    let points = floats(&[(1, 1.0), (2, 2.0)]);
    let both = ("m,h=a#!~#v", &[points.clone()][..]);
    let other = ("m,h=b#!~#v", &[points.clone()][..]);
    let found = compare(&[TestFile::of(&[both, other])], &[TestFile::of(&[both])]);
    assert_eq!(counts(&found[0]), [2, 2, 0, 0]);
    let only = &found[0].only_in_a;
    assert_eq!((only.series, only.whole_series), (1, 1));
    assert_eq!(only.examples[0].series_key, "m,h=b");

    let shorter = TestFile::of(&[("m,h=a#!~#v", &[floats(&[(1, 1.0)])])]);
    let found = compare(&[TestFile::of(&[both])], &[shorter]);
    assert_eq!(counts(&found[0]), [1, 1, 0, 0]);
    let only = &found[0].only_in_a;
    assert_eq!((only.series, only.whole_series), (1, 0));
    assert_eq!(only.first_time, Some(from_nanos(2)));
}

#[test]
fn a_field_of_another_type_is_a_difference_though_the_numbers_are_equal() {
    let a = TestFile::of(&[("m#!~#v", &[integers(&[(1, 1), (2, 2)])])]);
    let b = TestFile::of(&[("m#!~#v", &[floats(&[(1, 1.0), (2, 2.0)])])]);
    let found = compare(&[a], &[b]);
    assert_eq!(counts(&found[0]), [0, 0, 0, 2]);
    let [types] = &found[0].field_types[..] else {
        panic!("{found:?}");
    };
    assert_eq!(
        (&*types.field, &*types.type_in_a, &*types.type_in_b),
        ("v", "integer", "float")
    );
}

#[test]
fn floats_are_compared_by_their_bits() {
    let of = |value| TestFile::of(&[("m#!~#v", &[floats(&[(1, value)])])]);
    assert_eq!(counts(&compare(&[of(0.0)], &[of(-0.0)])[0]), [0, 0, 0, 1]);
    assert_eq!(counts(&compare(&[of(-0.0)], &[of(-0.0)])[0]), [1, 0, 0, 0]);
    // In blocks that are not the same.
    let in_two = |value| {
        let blocks = [floats(&[(1, value)]), floats(&[(2, 2.0)])];
        TestFile::of(&[("m#!~#v", &blocks)])
    };
    let in_one = |value| TestFile::of(&[("m#!~#v", &[floats(&[(1, value), (2, 2.0)])])]);
    let (nan, infinite) = (f64::from_bits(0x7ff8_0000_0000_0002), f64::INFINITY);
    for value in [nan, infinite, -0.0] {
        assert_eq!(
            counts(&compare(&[in_two(value)], &[in_one(value)])[0]),
            [2, 0, 0, 0]
        );
    }
}

#[test]
fn deletes_and_files_that_overlap_can_make_equal() {
    let merged = TestFile::of(&[("m#!~#v", &[floats(&[(1, 1.0), (3, 30.0)])])]);
    let old = TestFile::of(&[("m#!~#v", &[floats(&[(1, 1.0), (2, 2.0), (3, 3.0)])])]);
    let old = old.without("m#!~#v", 2, 2);
    let new = TestFile::of(&[("m#!~#v", &[floats(&[(3, 30.0)])])]);
    let found = compare(&[merged], &[old, new]);
    assert_eq!((counts(&found[0]), found[0].same), ([2, 0, 0, 0], true));
}

#[test]
fn where_more_is_allowed_in_b_only_what_a_has_counts() {
    let a = TestFile::of(&[("m#!~#v", &[floats(&[(1, 1.0)])])]);
    let b = TestFile::of(&[
        ("m#!~#v", &[floats(&[(1, 1.0), (2, 2.0)])]),
        ("m#!~#w", &[floats(&[(1, 5.0)])]),
    ]);
    let (a, b) = (stored(&[a]), stored(&[b]));
    let found = compare_stored(&a, &b, Bounds::ANY, true).measurements;
    assert_eq!((counts(&found[0]), found[0].same), ([1, 0, 1, 0], true));
    let found = compare_stored(&b, &a, Bounds::ANY, true).measurements;
    assert_eq!((counts(&found[0]), found[0].same), ([0, 1, 0, 1], false));
    let found = compare_stored(&a, &b, Bounds::ANY, false).measurements;
    assert_eq!((counts(&found[0]), found[0].same), ([0, 0, 1, 1], false));
}

/// A file of one block with some bytes in the place of its values, and the CRC that belongs to them
/// or not.
fn with_values_of(bytes: u8, has_right_crc: bool) -> Stored {
    let file = TestFile::of(&[("m#!~#v", &[floats(&[(1, 1.5), (2, 2.5), (3, 9.25)])])]);
    let mut content = file.bytes();
    let index = content.len() - 8;
    let end = u64::from_be_bytes(content[index..].try_into().unwrap()) as usize;
    content[end - 8..end].fill(bytes);
    if has_right_crc {
        let crc = crc32fast::hash(&content[9..end]);
        content[5..9].copy_from_slice(&crc.to_be_bytes());
    }
    vec![(content, BoundedDeletes::default())]
}

#[test]
fn the_same_blocks_are_the_same_without_being_unpacked() {
    // They could not be unpacked.
    let (a, b) = (with_values_of(0xff, true), with_values_of(0xff, true));
    let compared = compare_stored(&a, &b, Bounds::ANY, false);
    assert_eq!(compared.told, [(); 3].map(|()| Vec::<String>::new()));
    assert_eq!(counts(&compared.measurements[0]), [3, 0, 0, 0]);

    let other = with_values_of(0xee, true);
    let compared = compare_stored(&a, &other, Bounds::ANY, false);
    assert_eq!(compared.told.map(|told| told.len()), [1, 1, 0]);
}

#[test]
fn damaged_blocks_are_never_the_same() {
    let (a, b) = (with_values_of(0xff, false), with_values_of(0xff, false));
    let compared = compare_stored(&a, &b, Bounds::ANY, false);
    let [of_a, of_b, _] = &compared.told;
    assert_eq!(of_a, of_b);
    let start = "000000001-000000001.tsm, series m, field v: a damaged TSM file: at offset 5";
    assert!(of_a[0].starts_with(start), "{of_a:?}");
    assert!(compared.measurements.is_empty());
}

#[test]
fn a_series_with_too_many_fields_is_not_compared_and_that_is_told() {
    let keys: Vec<String> = (0..=1 << 14).map(|nth| format!("m#!~#f{nth:05}")).collect();
    let block = [integers(&[(1, 1)])];
    let keys: Vec<(&str, &[Points])> = keys.iter().map(|key| (&**key, &block[..])).collect();
    let file = stored(&[TestFile::of(&keys)]);
    let compared = compare_stored(&file, &file, Bounds::ANY, false);
    let expected = "series m has 16384 fields or more, too many to be compared";
    assert!(
        compared.told[2].contains(&expected.to_owned()),
        "{:?}",
        compared.told
    );
}

#[test]
fn long_values_are_shortened_and_quotes_are_escaped() {
    let strings: Strings = ["a \"b\" \\".to_owned(), "ü".repeat(100)]
        .into_iter()
        .collect();
    let values = Values::String(strings);
    let shown = |at| {
        Value {
            values: &values,
            at,
        }
        .shown()
    };
    assert_eq!(shown(0), r#""a \"b\" \\""#);
    assert_eq!(shown(1), format!("\"{}\"…", "ü".repeat(60)));
}
