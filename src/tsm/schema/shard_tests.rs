//! That what is counted of a shard is what its points say.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::super::tombstone::{BoundedDeletes, TombstoneRecord, TombstoneWriter};
use super::super::values::{Points, ValueType, Values};
use super::super::writer::tests::write_all;
use super::*;
use crate::io::read_at::Section;

/// A file as something that has a size to the compiler.
pub(super) fn whole(file: &[u8]) -> Section<'_, [u8]> {
    Section::new(file, 0, file.len() as u64)
}

/// Of each key, its blocks, each of some times.
type Blocks<'a> = Vec<(&'a str, Vec<Vec<i64>>)>;
/// The first and last time deleted of a key.
type Deleted<'a> = (&'a str, i64, i64);

fn file(keys: &Blocks<'_>, value_type: ValueType) -> Vec<u8> {
    let points = |times: &Vec<i64>| Points {
        times: times.clone(),
        values: match value_type {
            ValueType::Integer => Values::Integer(times.clone()),
            _ => Values::Float(times.iter().map(|time| *time as f64).collect()),
        },
    };
    let keys: Vec<_> = keys
        .iter()
        .map(|(key, blocks)| (key.as_bytes().to_vec(), blocks.iter().map(points).collect()))
        .collect();
    write_all(&keys)
}

fn deletes(ranges: &[Deleted<'_>]) -> BoundedDeletes {
    let mut writer = TombstoneWriter::new(Vec::new()).unwrap();
    for (key, min, max) in ranges {
        let key = key.as_bytes();
        let (min, max) = (*min, *max);
        writer.record(TombstoneRecord { key, min, max }).unwrap();
    }
    let file = writer.finish().unwrap();
    BoundedDeletes::read(&file[..], std::path::Path::new("/nowhere"))
        .unwrap()
        .0
}

/// A shard of which the files lie in memory.
#[derive(Default)]
struct Shard {
    files: Vec<(Vec<u8>, BoundedDeletes)>,
}

impl Shard {
    fn with(mut self, file: Vec<u8>, ranges: &[Deleted<'_>]) -> Self {
        self.files.push((file, deletes(ranges)));
        self
    }

    /// Counts it, and says in which files blocks were damaged.
    fn count(&self, exact: bool, totals: &mut Totals) -> Vec<usize> {
        let contents: Vec<_> = self.files.iter().map(|(file, _)| whole(file)).collect();
        let samples = contents.iter();
        let samples: Vec<_> = samples
            .map(|content| BlockSample::take(content, 100).unwrap())
            .collect();
        let files = contents.iter().zip(&self.files).zip(&samples);
        let files: Vec<ShardFile<'_>> = files
            .map(|((content, (_, deletes)), sample)| ShardFile {
                content,
                deletes,
                sample,
            })
            .collect();
        let mut damaged = Vec::new();
        totals.shards += 1;
        SeriesWalk::new(&files, exact)
            .each(
                |_| true,
                &mut |block| damaged.push(block.file),
                |series| {
                    totals.schema.add(totals.shards, series, &mut totals.budget);
                    Ok(())
                },
            )
            .unwrap();
        damaged
    }
}

#[derive(Default)]
struct Totals {
    schema: Schema,
    budget: HashBudget,
    shards: u64,
}

impl Totals {
    fn of(shards: &[Shard], exact: bool) -> Self {
        let mut totals = Self::default();
        for shard in shards {
            assert!(shard.count(exact, &mut totals).is_empty());
        }
        totals
    }

    fn measurement(&self, name: &str) -> &MeasurementTotals {
        &self.schema.measurements[name.as_bytes()]
    }

    fn field(&self, measurement: &str, field: &str) -> &FieldTotals {
        &self.measurement(measurement).fields[field.as_bytes()]
    }
}

fn cardinality(distinct: &Distinct) -> (u64, bool) {
    let found = distinct.cardinality();
    (found.count, found.is_estimate)
}

#[test]
fn series_fields_and_tags_are_counted_once_over_files_and_shards() {
    let one = file(
        &vec![
            ("cpu,cpu=0,host=a#!~#idle", vec![vec![1, 2], vec![5]]),
            ("cpu,cpu=0,host=a#!~#user", vec![vec![1, 2]]),
            ("cpu,cpu=1,host=a#!~#idle", vec![vec![1]]),
            ("mem,host=a\\ b#!~#used", vec![vec![3]]),
        ],
        ValueType::Float,
    );
    let two = file(
        &vec![
            ("cpu,cpu=0,host=a#!~#idle", vec![vec![7, 8]]),
            ("cpu,cpu=0,host=b#!~#idle", vec![vec![7]]),
        ],
        ValueType::Float,
    );
    let shards = [
        Shard::default().with(one, &[]).with(two.clone(), &[]),
        Shard::default().with(two, &[]),
    ];
    for exact in [false, true] {
        let totals = Totals::of(&shards, exact);
        let cpu = totals.measurement("cpu");
        assert_eq!(cardinality(&cpu.series), (3, false));
        let tags = cpu.tags.iter();
        let tags: Vec<_> = tags
            .map(|(tag, values)| (&tag[..], cardinality(values).0))
            .collect();
        assert_eq!(tags, [(&b"cpu"[..], 2), (b"host", 2)]);
        assert_eq!(cpu.fields.len(), 2);
        assert_eq!(cpu.amount.times, Some((1, 8)));
        assert_eq!(cpu.amount.blocks, 8);
        if exact {
            assert_eq!(totals.measurement("mem").amount.values, 1.0);
            assert_eq!(totals.field("cpu", "user").amount.values, 2.0);
            assert_eq!(totals.field("cpu", "idle").amount.values, 10.0);
            // In each series those of the field that has most.
            assert_eq!(cpu.points, 10.0);
        }
    }
}

#[test]
fn the_bytes_of_all_measurements_are_those_of_the_files_but_for_headers_and_footers() {
    let keys = vec![
        ("a#!~#v", vec![vec![1, 2], vec![5]]),
        ("b,t=1#!~#v", vec![vec![1, 2]]),
    ];
    let file = file(&keys, ValueType::Integer);
    let size = file.len() as u64;
    let totals = Totals::of(&[Shard::default().with(file, &[])], false);
    let measurements = totals.schema.measurements.values();
    let bytes: u64 = measurements
        .map(|measurement| measurement.amount.bytes)
        .sum();
    assert_eq!(bytes, size - 13);
}

#[test]
fn types_are_told_by_shard_and_those_of_deleted_values_are_none() {
    let keys = vec![("m#!~#v", vec![vec![1, 2]]), ("m#!~#w", vec![vec![1, 2]])];
    let floats = || file(&keys, ValueType::Float);
    let integers = || file(&keys, ValueType::Integer);
    let all = [("m#!~#w", i64::MIN, i64::MAX)];
    let shards = [
        Shard::default().with(floats(), &[]),
        Shard::default().with(floats(), &all).with(integers(), &[]),
        Shard::default().with(floats(), &[]),
    ];
    let totals = Totals::of(&shards, false);
    let types = |field: &str| {
        let field = totals.field("m", field);
        let types = field.types.iter();
        let types: Vec<_> = types
            .map(|of| (of.value_type, of.shards, of.shard))
            .collect();
        (types, field.mixed.clone(), field.mixed_count)
    };
    use ValueType::{Float, Integer};
    assert_eq!(
        types("v"),
        (vec![(Float, 3, 1), (Integer, 1, 2)], vec![2], 1)
    );
    assert_eq!(
        types("w"),
        (vec![(Float, 2, 1), (Integer, 1, 2)], vec![], 0)
    );
}

#[test]
fn what_is_deleted_is_no_series_and_no_value_of_a_tag() {
    let keys = vec![
        ("m,h=a#!~#v", vec![vec![1, 2, 3, 4]]),
        ("m,h=b#!~#v", vec![vec![1, 2, 3, 4]]),
        ("n,h=c#!~#v", vec![vec![1, 2, 3, 4]]),
    ];
    let ranges = [
        ("m,h=a#!~#v", i64::MIN, i64::MAX),
        ("m,h=b#!~#v", 3, 9),
        ("n,h=c#!~#v", 0, 9),
    ];
    let shard = Shard::default().with(file(&keys, ValueType::Float), &ranges);
    for exact in [false, true] {
        let totals = Totals::of(std::slice::from_ref(&shard), exact);
        let m = totals.measurement("m");
        assert_eq!(cardinality(&m.series), (1, false));
        assert_eq!(cardinality(&m.tags[&b"h"[..]]), (1, false));
        assert_eq!((m.amount.values, m.amount.deleted), (2.0, 6.0));
        assert_eq!(m.amount.times, Some((1, 2)));
        let n = totals.measurement("n");
        assert!(n.fields.is_empty() && n.tags.is_empty() && n.amount.times.is_none());
        assert_eq!((n.amount.values, n.amount.deleted), (0.0, 4.0));
    }
}

#[test]
fn a_block_that_newer_files_hold_too_counts_once() {
    let old = vec![("m#!~#v", vec![(0..100).collect(), (100..200).collect()])];
    let new = vec![("m#!~#v", vec![(0..200).collect::<Vec<i64>>()])];
    let shard = Shard::default()
        .with(file(&old, ValueType::Float), &[])
        .with(file(&new, ValueType::Float), &[]);
    for exact in [false, true] {
        let totals = Totals::of(std::slice::from_ref(&shard), exact);
        assert_eq!(totals.measurement("m").amount.values, 200.0);
        assert_eq!(totals.measurement("m").amount.blocks, 3);
    }
}

#[test]
fn few_values_that_were_written_again_take_the_place_of_no_more() {
    let old = vec![("m#!~#v", vec![(0..1000).collect::<Vec<i64>>()])];
    let new = vec![("m#!~#v", vec![(0..1000).step_by(100).collect()])];
    let shard = Shard::default()
        .with(file(&old, ValueType::Float), &[])
        .with(file(&new, ValueType::Float), &[]);
    for exact in [false, true] {
        let totals = Totals::of(std::slice::from_ref(&shard), exact);
        let values = totals.measurement("m").amount.values;
        assert!((values - 1000.0).abs() < 1.0, "{values}");
    }
}

#[test]
fn a_damaged_block_is_told_and_the_others_are_counted() {
    let keys = vec![
        ("m#!~#v", vec![vec![1, 2], vec![5]]),
        ("m#!~#w", vec![vec![1, 2, 3]]),
    ];
    let mut damaged = file(&keys, ValueType::Float);
    damaged[12] ^= 1;
    let shard = Shard::default()
        .with(
            file(&vec![("m#!~#a", vec![vec![1]])], ValueType::Float),
            &[],
        )
        .with(damaged, &[]);
    let mut totals = Totals::default();
    assert_eq!(shard.count(true, &mut totals), [1]);
    let values = |field| totals.field("m", field).amount.values;
    assert_eq!(["a", "v", "w"].map(values), [1.0, 1.0, 3.0]);
}

/// Times of a key in a file: in blocks, of as many times each.
fn some_times() -> impl Strategy<Value = (BTreeSet<i64>, usize)> {
    (prop::collection::btree_set(0..40_i64, 1..20), 1..6_usize)
}

const KEYS: [&str; 3] = ["m,h=a#!~#v", "m,h=a#!~#w", "n#!~#v"];

proptest! {
    #[test]
    fn values_are_counted_as_the_points_say_and_an_estimate_is_never_more(
        files in prop::collection::vec(
            (
                prop::collection::btree_map(0..KEYS.len(), some_times(), 1..=KEYS.len()),
                prop::collection::vec((0..KEYS.len(), -5..45_i64, 0..30_i64), 0..4),
            ),
            1..4,
        ),
    ) {
        let mut shard = Shard::default();
        let mut seen: BTreeMap<&str, BTreeSet<i64>> = BTreeMap::new();
        let (mut stored, mut deleted) = (0, 0);
        for (keys, ranges) in &files {
            let ranges: Vec<Deleted<'_>> = ranges
                .iter()
                .map(|(key, from, length)| (KEYS[*key], *from, from + length))
                .collect();
            let mut blocks = Blocks::new();
            for (key, (times, size)) in keys {
                let key = KEYS[*key];
                let times: Vec<i64> = times.iter().copied().collect();
                blocks.push((key, times.chunks(*size).map(<[i64]>::to_vec).collect()));
                for time in times {
                    stored += 1;
                    let is_in = |range: &Deleted<'_>| {
                        range.0 == key && (range.1..=range.2).contains(&time)
                    };
                    if ranges.iter().any(is_in) {
                        deleted += 1;
                    } else {
                        seen.entry(key).or_default().insert(time);
                    }
                }
            }
            shard = shard.with(file(&blocks, ValueType::Float), &ranges);
        }
        let totals = Totals::of(std::slice::from_ref(&shard), true);
        let mut all = Amount::default();
        for measurement in totals.schema.measurements.values() {
            all.join(&measurement.amount);
        }
        prop_assert_eq!(all.deleted, f64::from(deleted));
        let values: usize = seen.values().map(BTreeSet::len).sum();
        prop_assert_eq!(all.values, values as f64);
        let times = seen.values().flatten();
        prop_assert_eq!(all.times, times.clone().min().copied().zip(times.max().copied()));
        let fields = totals.schema.measurements.values().map(|of| of.fields.len());
        prop_assert_eq!(fields.sum::<usize>(), seen.len());
        // Nothing that is stored is estimated twice.
        let totals = Totals::of(std::slice::from_ref(&shard), false);
        let mut estimated = Amount::default();
        for measurement in totals.schema.measurements.values() {
            estimated.join(&measurement.amount);
        }
        let of_sample = f64::from(stored) * 2.0;
        prop_assert!(estimated.values >= 0.0 && estimated.deleted >= 0.0);
        prop_assert!(estimated.values + estimated.deleted <= of_sample + 40.0);
    }
}
