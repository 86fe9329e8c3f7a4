//! The points of a shard against a model that holds all of them in memory.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::fields::Field;
use super::super::values::{Points, Values};
use super::test_file::TestFile;
use super::*;
use crate::io::read_at::Section;

/// A series with its points: the values of their fields by time, in words.
type Found = Vec<(String, BTreeMap<i64, BTreeMap<String, String>>)>;

fn word(values: &Values, at: usize) -> String {
    match values {
        Values::Float(values) => format!("{:?}", values[at]),
        Values::Integer(values) => format!("{}i", values[at]),
        Values::Boolean(values) => values[at].to_string(),
        Values::String(values) => String::from_utf8_lossy(values.get(at)).into_owned(),
        Values::Unsigned(values) => format!("{}u", values[at]),
    }
}

/// Reads everything, with so many bytes for unpacked blocks; what was told with it.
fn read_bytes(
    files: &[(Vec<u8>, BoundedDeletes)],
    selection: PointsSelection<'_>,
    open_bytes: usize,
) -> (Found, Vec<String>) {
    let names: Vec<String> = (1..=files.len())
        .map(|number| super::super::file_name(number as u32, 1))
        .collect();
    let mut told = Vec::new();
    let mut tell = |finding: PointsFinding<'_>| told.push(finding.to_string());
    let contents: Vec<Section<'_, [u8]>> = (files.iter())
        .map(|(content, _)| Section::new(&content[..], 0, content.len() as u64))
        .collect();
    let sources = (0..files.len()).map(|number| PointsFile {
        name: &names[number],
        content: &contents[number],
        deletes: &files[number].1,
    });
    // In no order.
    let sources = sources.rev().collect();
    let mut found = Found::new();
    let mut shard = ShardPoints::open(sources, selection, &mut tell).unwrap();
    shard.reader.blocks.open_bytes = open_bytes;
    while let Some(mut series) = shard.next_series().unwrap() {
        let key = String::from_utf8(series.key().to_vec()).unwrap();
        let fields: Vec<String> = series
            .fields()
            .map(|(name, _)| String::from_utf8(name.to_vec()).unwrap())
            .collect();
        let mut points = BTreeMap::new();
        while let Some(rows) = series.next_rows().unwrap() {
            assert!(rows.times.is_sorted_by(|one, next| one < next));
            let last = points.last_key_value().map(|(time, _)| *time);
            assert!(last.is_none_or(|last| last < rows.times[0]));
            for (row, time) in rows.times.iter().enumerate() {
                let columns = rows.columns();
                let values = columns.filter_map(|column| {
                    let value = word(column.values, column.at(row)?);
                    Some((fields[column.field].clone(), value))
                });
                points.insert(*time, values.collect());
            }
        }
        if !points.is_empty() {
            found.push((key, points));
        }
    }
    drop(shard);
    (found, told)
}

fn read(files: &[TestFile], time_range: Bounds, open_bytes: usize) -> (Found, Vec<String>) {
    let files: Vec<_> = (files.iter())
        .map(|file| (file.bytes(), file.deletes()))
        .collect();
    let new_types = NewTypes::new();
    let selection = PointsSelection {
        new_types: &new_types,
        time_range,
    };
    read_bytes(&files, selection, open_bytes)
}

/// What the files hold, by the rules and nothing else.
fn expected(files: &[TestFile], time_range: Bounds) -> Found {
    let mut all: BTreeMap<String, BTreeMap<i64, String>> = BTreeMap::new();
    for file in files {
        for (key, blocks) in &file.keys {
            let points = blocks.iter().flat_map(|block| {
                let words = (0..block.len()).map(|at| word(&block.values, at));
                block.times.iter().copied().zip(words)
            });
            let deleted = |time: i64| {
                let mut deletes = file.deletes.iter();
                deletes.any(|(of, min, max)| of == key && (*min..=*max).contains(&time))
            };
            let living = points.filter(|(time, _)| {
                (time_range.start..=time_range.end).contains(time) && !deleted(*time)
            });
            all.entry(key.clone()).or_default().extend(living);
        }
    }
    let mut found = Found::new();
    for (key, points) in all {
        let (series, field) = key.split_once("#!~#").unwrap();
        if points.is_empty() {
            continue;
        }
        if found.last().is_none_or(|(last, _)| last != series) {
            found.push((series.to_owned(), BTreeMap::new()));
        }
        let rows = &mut found.last_mut().unwrap().1;
        for (time, value) in points {
            rows.entry(time)
                .or_default()
                .insert(field.to_owned(), value);
        }
    }
    found
}

/// Values that tell the file and the time; of the type that the field has.
fn values(field: &str, file: usize, times: &[i64]) -> Points {
    let number = |time: &i64| *time * 10 + file as i64;
    let numbers = times.iter().map(number);
    let values = match field {
        "f" => Values::Float(numbers.map(|number| number as f64 / 7.0).collect()),
        "i" => Values::Integer(numbers.collect()),
        "b" => Values::Boolean(numbers.map(|number| number % 3 == 0).collect()),
        _ => Values::String(
            numbers
                .map(|number| "s".repeat(number as usize % 9))
                .collect(),
        ),
    };
    let times = times.to_vec();
    Points { times, values }
}

const KEYS: [&str; 10] = [
    "m!#!~#i",
    "m#!~#b",
    "m#!~#f",
    "m$#!~#i",
    "m,h=a#!~#f",
    "m,h=a#!~#i",
    "m,h=a#!~#s",
    "m,h=a#!~#s2",
    "m,h=b#!~#b",
    "n\\ o,h=a#!~#f",
];

fn field_of_key(key: &str) -> &str {
    key.split_once("#!~#").unwrap().1
}

/// A file number with some keys, in blocks of some points.
fn some_file() -> impl Strategy<Value = TestFile> {
    let times = prop_oneof![
        prop::collection::btree_set(0..40_i64, 1..12),
        prop::collection::btree_set(0..400_i64, 1..60),
        (0..300_i64, 1..100_i64).prop_map(|(start, count)| (start..start + count).collect()),
    ];
    let keys = prop::collection::btree_map(0..KEYS.len(), (times, 1..40_usize), 1..8);
    let deletes = prop::collection::vec((0..KEYS.len(), 0..400_i64, 0..120_i64), 0..5);
    (keys, deletes).prop_map(|(keys, deletes)| TestFile {
        keys: (keys.into_iter())
            .map(|(key, (times, size))| (KEYS[key].to_owned(), blocks(KEYS[key], &times, size)))
            .collect(),
        deletes: (deletes.into_iter())
            .map(|(key, min, length)| (KEYS[key].to_owned(), min, min + length))
            .collect(),
    })
}

fn blocks(key: &str, times: &BTreeSet<i64>, size: usize) -> Vec<Points> {
    let times: Vec<i64> = times.iter().copied().collect();
    (times.chunks(size))
        .map(|times| values(field_of_key(key), size, times))
        .collect()
}

proptest! {
    #[test]
    fn points_are_those_of_the_rules_however_they_lie_in_files(
        files in prop::collection::vec(some_file(), 1..5),
        bounds in prop_oneof![Just((i64::MIN, i64::MAX)), (0..200_i64, 100..400_i64)],
        open_bytes in prop_oneof![Just(16 << 20), Just(0), 1..4000_usize],
    ) {
        let time_range = Bounds { start: bounds.0, end: bounds.1 };
        let (found, told) = read(&files, time_range, open_bytes);
        prop_assert_eq!(told, Vec::<String>::new());
        prop_assert_eq!(found, expected(&files, time_range));
    }
}

fn file(keys: &[(&str, Vec<Points>)], deletes: &[(&str, i64, i64)]) -> TestFile {
    TestFile {
        keys: (keys.iter())
            .map(|(key, blocks)| ((*key).to_owned(), blocks.clone()))
            .collect(),
        deletes: (deletes.iter())
            .map(|(key, min, max)| ((*key).to_owned(), *min, *max))
            .collect(),
    }
}

fn integers(times: impl IntoIterator<Item = i64>) -> Points {
    let times: Vec<i64> = times.into_iter().collect();
    let values = Values::Integer(times.clone());
    Points { times, values }
}

fn floats(times: &[i64]) -> Points {
    let values = Values::Float(times.iter().map(|time| *time as f64).collect());
    let times = times.to_vec();
    Points { times, values }
}

/// `time field=value …` of each point.
fn lines(found: &Found) -> Vec<String> {
    let points = found.iter().flat_map(|(series, points)| {
        points.iter().map(move |(time, fields)| {
            let fields = fields
                .iter()
                .map(|(name, value)| format!(" {name}={value}"));
            format!("{series} {time}{}", fields.collect::<String>())
        })
    });
    points.collect()
}

#[test]
fn a_field_has_the_type_of_the_last_file_that_has_values_of_it_left() {
    let old = file(
        &[
            ("m#!~#v", vec![integers([1, 2])]),
            ("m#!~#w", vec![integers([1])]),
        ],
        &[],
    );
    let new = file(&[("m#!~#v", vec![floats(&[2, 3])])], &[]);
    let (found, told) = read(&[old.clone(), new.clone()], Bounds::ANY, 1 << 20);
    assert_eq!(lines(&found), ["m 1 w=1i", "m 2 v=2.0", "m 3 v=3.0"]);
    let expected = "000000001-000000001.tsm, series m, field v: its values of type integer are left out, \
                    as a later file has it as float";
    assert_eq!(told, [expected]);

    let deleted = TestFile {
        deletes: vec![("m#!~#v".to_owned(), i64::MIN, i64::MAX)],
        ..new
    };
    let (found, told) = read(&[old.clone(), deleted], Bounds::ANY, 1 << 20);
    assert_eq!(lines(&found), ["m 1 v=1i w=1i", "m 2 v=2i"]);
    assert_eq!(told, Vec::<String>::new());

    let new_types = NewTypes::from([(Field::of(b"m#!~#v").unwrap(), ValueType::Float)]);
    let selection = PointsSelection {
        new_types: &new_types,
        time_range: Bounds::ANY,
    };
    let (found, told) = read_bytes(&[(old.bytes(), old.deletes())], selection, 1 << 20);
    assert_eq!((lines(&found), told), (vec!["m 1 w=1i".to_owned()], vec![]));
}

#[test]
fn what_is_damaged_is_told_and_everything_else_is_given() {
    let whole = file(
        &[
            ("m,h=a#!~#v", vec![integers([1, 2]), integers([3, 4])]),
            ("m,h=b#!~#v", vec![integers([1])]),
        ],
        &[],
    );
    let other = file(&[("m,h=a#!~#v", vec![integers([5])])], &[]);
    let damaged = |at: usize| {
        let mut bytes = whole.bytes();
        bytes[at] ^= 1;
        let new_types = NewTypes::new();
        let selection = PointsSelection {
            new_types: &new_types,
            time_range: Bounds::ANY,
        };
        let files = [
            (bytes, BoundedDeletes::default()),
            (other.bytes(), BoundedDeletes::default()),
        ];
        let (found, told) = read_bytes(&files, selection, 1 << 20);
        (lines(&found), told)
    };
    let index_offset = super::super::index::IndexWalk::open(&whole.bytes()[..])
        .unwrap()
        .index_offset() as usize;

    let (found, told) = damaged(12);
    assert_eq!(
        found,
        [
            "m,h=a 3 v=3i",
            "m,h=a 4 v=4i",
            "m,h=a 5 v=5i",
            "m,h=b 1 v=1i"
        ]
    );
    assert_eq!(told.len(), 1);
    let start = "000000001-000000001.tsm, series m,h=a, field v: a damaged TSM file: at offset 5, the bytes";
    assert!(told[0].starts_with(start), "{told:?}");

    // The type of the second key.
    let (found, told) = damaged(index_offset + 2 + 10 + 3 + 2 * 28 + 2 + 10);
    assert_eq!(found.len(), 5, "{found:?}");
    assert_eq!(told.len(), 1);
    assert!(
        told[0].contains("series m,h=b, field v: a damaged TSM file"),
        "{told:?}"
    );

    let (found, told) = damaged(0);
    assert_eq!(found, ["m,h=a 5 v=5i"]);
    assert!(told[0].starts_with("000000001-000000001.tsm: "), "{told:?}");
}

#[test]
fn ten_thousand_fields_and_more_are_joined_in_parts() {
    let count = MAX_FIELDS + 3;
    let keys: Vec<(String, Vec<Points>)> = (0..count)
        .map(|nth| {
            (
                format!("m#!~#f{nth:05}"),
                vec![integers([1, nth as i64 % 100 + 2])],
            )
        })
        .collect();
    let whole = TestFile {
        keys,
        deletes: Vec::new(),
    };
    let (found, told) = read(std::slice::from_ref(&whole), Bounds::ANY, 16 << 20);
    assert_eq!(told, Vec::<String>::new());
    // The parts of a series follow one another.
    assert_eq!(found.len(), 2);
    let mut rows: BTreeMap<i64, BTreeMap<String, String>> = BTreeMap::new();
    for (_, points) in found {
        for (time, fields) in points {
            rows.entry(time).or_default().extend(fields);
        }
    }
    assert_eq!(rows.len(), 101);
    assert_eq!(rows[&1].len(), count);
    let fields = |time: i64| (0..count).filter(move |nth| *nth as i64 % 100 + 2 == time);
    assert!(rows.iter().skip(1).all(|(time, found)| {
        let expected = fields(*time).map(|nth| (format!("f{nth:05}"), format!("{time}i")));
        *found == expected.collect()
    }));
}

#[test]
fn very_many_deletes_of_a_key_are_not_held_and_hold_all_the_same() {
    let deletes: Vec<(&str, i64, i64)> = (0..10_000)
        .map(|nth| ("m#!~#v", 3 * nth, 3 * nth + 1))
        .collect();
    let whole = file(&[("m#!~#v", vec![integers(0..30_000)])], &deletes);
    for open_bytes in [0, 16 << 20] {
        let (found, _) = read(std::slice::from_ref(&whole), Bounds::ANY, open_bytes);
        let times: Vec<i64> = found[0].1.keys().copied().collect();
        assert_eq!(
            times,
            (0..10_000).map(|nth| 3 * nth + 2).collect::<Vec<_>>()
        );
    }
}
