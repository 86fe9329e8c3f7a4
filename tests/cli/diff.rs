//! What `snap diff` says of sets: that they are the same, what is different, and what is damaged.

use std::fs;
use std::path::{Path, PathBuf};

use influx_snap::tsm::values::{Points, ValueType, Values};
use serde_json::Value;

use crate::support::damage::damage;
use crate::support::process::{Snap, snap};
use crate::support::sets::{LAYOUTS_WITH_AND_WITHOUT_RECORD, SetInEachLayout, group, keys};
use crate::support::time::SECOND;
use crate::support::tsm::{Block, Key, file, key};
use crate::support::{folder, tree, utf8};

const FILE: &str = "000000001-000000001.tsm";

/// The points in the shards of a sound set.
const POINTS: u64 = 12 + 1 + 2;

/// A run with `-json`: the measurements, and the last line.
fn told(a: &Path, b: &str, flags: &[&str], code: i32) -> (Vec<Value>, Value) {
    let run = snap([&["diff", "-json"], flags, &[utf8(a), b]].concat()).expect(code);
    let last = run.last_message();
    let measurements = run.messages().into_iter();
    let measurements = measurements.filter(|line| line["message_type"] == "measurement");
    (measurements.collect(), last)
}

/// A set with one shard of these files.
fn set_of(files: &[&[Key]]) -> SetInEachLayout {
    let files = (1..).zip(files).map(|(number, keys)| {
        let name = format!("{number:09}-000000001.tsm");
        (name, file(keys))
    });
    SetInEachLayout::new(vec![files.collect()])
}

fn legacy(made: &SetInEachLayout) -> PathBuf {
    made.folder.path().join("legacy")
}

#[test]
fn every_damage_is_named_and_never_the_same() {
    let made = SetInEachLayout::sound(2);
    let sound = legacy(&made);
    for (layout, recorded) in LAYOUTS_WITH_AND_WITHOUT_RECORD {
        for how in [
            "cut to half",
            "cut by a byte",
            "emptied",
            "flipped",
            "deleted",
        ] {
            let what = format!("{layout}, recorded: {recorded}, {how}");
            let dir = made.copy(layout, recorded);
            let (_, summary) = told(&sound, utf8(&dir), &[], 0);
            assert_eq!(summary["state"], "same", "{what}: {summary}");
            assert_eq!(summary["same_point_count"], 2 * POINTS, "{what}");

            damage(&first_shard(&dir), how);
            for (a, b) in [(&sound, &dir), (&dir, &sound), (&dir, &dir)] {
                let (_, summary) = told(a, utf8(b), &[], 3);
                assert_eq!(summary["state"], "incomplete", "{what}: {summary}");
                let missing = summary["missing"].as_array().expect("a list");
                assert!(!missing.is_empty(), "{what}");
                for text in missing {
                    let text = text.as_str().expect("a text");
                    assert!(
                        text.starts_with("A: ") || text.starts_with("B: "),
                        "{what}: {text}"
                    );
                    assert!(text.contains("db/autogen/1"), "{what}: {text}");
                }
            }
        }
    }
}

/// The file of the first shard in a backup.
fn first_shard(dir: &Path) -> PathBuf {
    let names = tree::names(dir).into_iter();
    let mut names = names.filter(|name| name.starts_with("db.") || name.ends_with(".tar.gz"));
    dir.join(names.next().expect("a shard"))
}

#[test]
fn what_is_different_is_shown_with_its_series_and_values() {
    let start = group(1);
    let times: Vec<i64> = (0..4).map(|nth| start + nth * SECOND).collect();
    let block = |values: Values| {
        let times = times.clone();
        vec![Block::of(&Points { times, values })]
    };
    let cpu = |values: [f64; 4]| Key {
        name: "cpu,host=a#!~#idle".to_owned(),
        value_type: ValueType::Float.byte(),
        blocks: block(Values::Float(values.to_vec())),
    };
    let disk = key("disk,host=b#!~#used", ValueType::Integer, &[&times]);
    let mem = key("mem#!~#free", ValueType::Integer, &[&times[..2]]);
    let mem_as_float = key("mem#!~#free", ValueType::Float, &[&times[..2]]);
    let a = set_of(&[&[cpu([1.0, 2.0, 3.0, 4.0]), disk.clone(), mem]]);
    let b = set_of(&[&[cpu([1.0, 2.5, 3.0, 4.0]), mem_as_float]]);
    let (a, b) = (legacy(&a), legacy(&b));

    let run = snap(["diff", "-summary", utf8(&a), utf8(&b)]).expect(1);
    let lines: Vec<&str> = run.stdout.lines().map(str::trim_end).collect();
    let time = |nth: usize| {
        let time = jiff::Timestamp::from_nanosecond(times[nth].into());
        time.expect("a time").to_string()
    };
    let expected = [
        format!(
            "only in A: db.autogen: disk,host=b, 4 points from {}",
            time(0)
        ),
        format!(
            "different: db.autogen: cpu,host=a, 1 point at {}: idle is 2.0 in A, 2.5 in B",
            time(1)
        ),
        "types: db.autogen: field 'free' of measurement 'mem' is integer in A, float in B"
            .to_owned(),
    ];
    for line in &expected {
        assert!(lines.contains(&&**line), "{line}\n{}", run.stdout);
    }
    let last = lines.last().expect("a line");
    let counts =
        "different: 4 points only in A, 3 points different, 3 points the same, in 3 series; ";
    assert!(last.starts_with(counts), "{last}");
    let quiet = snap(["diff", "-quiet", utf8(&a), utf8(&b)]).expect(1);
    assert_eq!((&*quiet.stdout, &*quiet.stderr), ("", ""));
    snap([
        "diff",
        "-measurement",
        "cpu",
        "-end",
        &time(0),
        utf8(&a),
        utf8(&b),
    ])
    .expect(0);
}

#[test]
fn files_that_overlap_are_the_same_as_one_that_has_their_points() {
    let start = group(1);
    let times: Vec<i64> = (0..9).map(|nth| start + nth * SECOND).collect();
    let of = |times: &[i64]| key("m#!~#v", ValueType::Integer, &[times]);
    let odd: Vec<i64> = times.iter().copied().skip(1).step_by(2).collect();
    let one = set_of(&[&[of(&times)]]);
    let several = set_of(&[&[of(&times[..6])], &[of(&odd)], &[of(&times[5..])]]);
    let (measurements, summary) = told(&legacy(&one), utf8(&legacy(&several)), &[], 0);
    assert_eq!(summary["same_point_count"], 9, "{summary}");
    assert_eq!(measurements.len(), 1);
    assert_eq!(measurements[0]["same"], true);
}

#[test]
fn a_set_is_named_behind_two_colons_and_nothing_is_left_in_tmpdir() {
    let made = SetInEachLayout::sound(1);
    let dir = legacy(&made);
    let scratch = folder();
    let compared = |b: &str| {
        let run = Snap::new(["diff", "-json", utf8(&dir), b])
            .env("TMPDIR", scratch.path())
            // Of a server that is not named.
            .env("SNAP_HOST", "127.0.0.1:1");
        run.run()
    };
    let latest = format!("{}::latest", utf8(&dir));
    let summary = compared(&latest).expect(0).last_message();
    assert_eq!(summary["a"]["set"], summary["b"]["set"], "{summary}");
    assert_eq!(
        fs::read_dir(scratch.path()).expect("a directory").count(),
        0
    );
    compared(&format!("{}::2001", utf8(&dir))).expect(10);
    compared(utf8(&dir.join("nothing"))).expect(10);
}

#[test]
fn what_comes_to_nothing_ends_with_another_code_than_differences() {
    let made = SetInEachLayout::sound(1);
    let dir = legacy(&made);
    let dir = utf8(&dir);
    let missing = snap(["diff", "-database", "nosuch", dir, dir]).expect(2);
    assert!(
        missing.stderr.contains("has no database 'nosuch'"),
        "{}",
        missing.stderr
    );
    let none = snap(["diff", "-json", "-measurement", "nosuch", dir, dir]).expect(2);
    assert_eq!(none.last_message()["code"], 2);
    snap(["diff", dir]).expect(2);
    snap(["diff", "-host", "127.0.0.1:1", dir, dir]).expect(2);
    snap(["diff", "-newdb", "x", dir, dir]).expect(2);
    snap(["diff", dir, "influxd://127.0.0.1:1"]).expect(5);
    let nothing = snap(["diff", "-start", "2100-01-01", dir, dir]).expect(0);
    assert!(
        nothing.stderr.contains("nothing was compared"),
        "{}",
        nothing.stderr
    );
}

#[test]
fn stopped_servers_are_compared_with_sets_that_were_made_of_them() {
    let made = SetInEachLayout::new(vec![vec![(FILE.to_owned(), file(&keys(group(1))))]]);
    let dir = legacy(&made);
    let folder = folder();
    let root = folder.path();
    let (meta, data) = (root.join("meta"), root.join("data"));
    let directories = ["-metadir", utf8(&meta), "-datadir", utf8(&data)];
    snap([&["restore"], &directories[..], &[utf8(&dir)]].concat()).expect(0);
    snap([&["diff"], &directories[..], &[utf8(&dir)]].concat()).expect(0);
    let (_, summary) = told(&dir, &format!("influxd://{}", utf8(root)), &[], 0);
    assert_eq!(summary["b"]["host"], utf8(&data));
    assert!(!data.join(".snap-serve").exists());
}
