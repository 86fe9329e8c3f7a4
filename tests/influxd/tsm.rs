//! TSM files against a real influxd: what it wrote is read and written again to the byte, and what
//! is written here it answers.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::{Duration, Instant};

use influx_snap::time::Bounds;
use influx_snap::tsm::check::check;
use influx_snap::tsm::file::Reader;
use influx_snap::tsm::filter;
use influx_snap::tsm::tombstone::DeletedRanges;
use influx_snap::tsm::values::{Points, Strings, ValueType, Values};
use influx_snap::tsm::writer::{WriteError, Writer};

use crate::support::data::{START, flush};
use crate::support::influxd::{Index, Influxd};
use crate::support::{folder, tree};

/// Shards of a hundred years, whose borders are far from [`START`].
const POLICY: &str = "CREATE DATABASE tsm WITH DURATION 0s REPLICATION 1 SHARD DURATION 5200w NAME long; CREATE DATABASE other";

/// Points by key, in the order of a TSM file.
type Keys = BTreeMap<Vec<u8>, Points>;

/// Numbers that look random and are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    fn below(&mut self, end: u64) -> i64 {
        (self.next() % end) as i64
    }
}

/// Times in many ways to follow one another, by name; each at least `count` of them, or as many as
/// there can be.
fn time_patterns(count: usize, numbers: &mut Numbers) -> Vec<(&'static str, Vec<i64>)> {
    let mut from = |first: i64, step: &mut dyn FnMut(usize, &mut Numbers) -> i64| -> Vec<i64> {
        let mut time = first;
        let mut times = vec![first];
        for at in 1..count {
            time += step(at, numbers);
            times.push(time);
        }
        times
    };
    let years = 365 * 24 * 3_600_000_000_000;
    vec![
        ("seconds", from(START, &mut |_, _| 1_000_000_000)),
        ("nanos", from(START, &mut |_, _| 1)),
        ("hours", from(START, &mut |_, _| 3_600_000_000_000)),
        (
            "jitter",
            from(START, &mut |_, n| 1_000_000_000 + n.below(1000) - 500),
        ),
        (
            "millis",
            from(START, &mut |_, n| (1 + n.below(5000)) * 1_000_000),
        ),
        (
            "gap",
            from(START, &mut |at, _| {
                if at % 300 == 299 {
                    60_000_000_000
                } else {
                    10_000_000_000
                }
            }),
        ),
        (
            "ones",
            from(START, &mut |at, _| if at > 700 { 3 } else { 1 }),
        ),
        (
            "bits",
            from(START, &mut |at, n| 1 + n.below(1 << (at % 40))),
        ),
        ("before", from(-3000, &mut |_, n| 1 + n.below(10))),
        // Differences of 2^60 and beyond have a form of their own.
        (
            "far",
            from(START, &mut |at, _| if at == 1 { 40 * years } else { 7 })
                .into_iter()
                .take(4)
                .collect(),
        ),
    ]
}

/// Values in many ways to follow one another, by name.
fn value_patterns(count: usize, numbers: &mut Numbers) -> Vec<(&'static str, Values)> {
    let edges = [
        0.0,
        -0.0,
        1.0,
        -1.0,
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        5e-324,
        -2.225_073_858_507_201e-308,
        0.1,
        1e21,
        123_456_789.123_456_79,
    ];
    let integers = [
        i64::MIN,
        i64::MAX,
        0,
        -1,
        1,
        i64::MIN + 1,
        1 << 59,
        -(1 << 59),
        (1 << 59) - 1,
        1 << 60,
        1 << 53,
    ];
    let mut walk = 20.0;
    let mut floats = |pattern: &mut dyn FnMut(usize, &mut Numbers) -> f64| {
        Values::Float((0..count).map(|at| pattern(at, numbers)).collect())
    };
    let mut patterns = vec![
        ("same", floats(&mut |_, _| 21.5)),
        ("steps", floats(&mut |at, _| at as f64 * 0.1)),
        ("walk", {
            floats(&mut |_, n| {
                walk += (n.below(21) - 10) as f64 / 10.0;
                walk
            })
        }),
        (
            "often",
            floats(&mut |_, n| [1.0, 1.0, 1.0, 2.5][n.below(4) as usize]),
        ),
        ("edges", floats(&mut |at, _| edges[at % edges.len()])),
        (
            "any",
            floats(&mut |_, n| {
                Some(f64::from_bits(n.next()))
                    .filter(|float| float.is_finite())
                    .unwrap_or(7.0)
            }),
        ),
        (
            "near",
            floats(&mut |_, n| f64::from_bits(1.5_f64.to_bits() + n.below(1 << 20) as u64)),
        ),
    ];
    let mut whole = |pattern: &mut dyn FnMut(usize, &mut Numbers) -> i64| {
        Values::Integer((0..count).map(|at| pattern(at, numbers)).collect())
    };
    patterns.extend([
        ("same", whole(&mut |_, _| -42)),
        ("steps", whole(&mut |at, _| at as i64 * 7 - 3)),
        ("small", whole(&mut |_, n| n.below(10))),
        (
            "counter",
            whole(&mut |at, n| at as i64 * 1000 + n.below(900)),
        ),
        (
            "ones",
            whole(&mut |at, _| if at < 400 { -(at as i64) } else { at as i64 }),
        ),
        ("edges", whole(&mut |at, _| integers[at % integers.len()])),
        ("any", whole(&mut |_, n| n.next() as i64)),
        ("wide", whole(&mut |at, n| n.below(1 << (at % 60)))),
        (
            "first",
            whole(&mut |at, _| {
                if at == 0 {
                    1 << 60
                } else {
                    (1 << 60) + at as i64 % 3
                }
            }),
        ),
    ]);
    let mut bits = |pattern: &mut dyn FnMut(usize, &mut Numbers) -> bool| {
        Values::Boolean((0..count).map(|at| pattern(at, numbers)).collect())
    };
    patterns.extend([
        ("same", bits(&mut |_, _| true)),
        ("turns", bits(&mut |at, _| at % 2 == 0)),
        ("any", bits(&mut |_, n| n.below(2) == 0)),
    ]);
    let mut strings = |pattern: &mut dyn FnMut(usize, &mut Numbers) -> String| {
        Values::String((0..count).map(|at| pattern(at, numbers)).collect())
    };
    patterns.extend([
        ("same", strings(&mut |_, _| "status: ok".to_owned())),
        (
            "empty",
            strings(&mut |at, _| {
                if at % 5 == 0 {
                    "x".to_owned()
                } else {
                    String::new()
                }
            }),
        ),
        (
            "words",
            strings(&mut |_, n| {
                ["on", "off", "größer", "two words", "名前"][n.below(5) as usize]
                    .repeat(n.below(4) as usize)
            }),
        ),
        ("hex", strings(&mut |_, n| format!("{:x}", n.next()))),
        (
            "long",
            strings(&mut |at, n| {
                if at < 3 {
                    format!("{:x} ", n.next()).repeat(5000)
                } else {
                    n.below(100).to_string()
                }
            }),
        ),
    ]);
    patterns
}

/// Every pattern of times with every pattern of values, with blocks of all sizes.
fn variety(seed: u64) -> Keys {
    let sizes = [
        1, 2, 3, 4, 7, 8, 9, 60, 120, 121, 239, 240, 241, 242, 360, 361, 500, 999, 1000, 1001,
        1241, 2100,
    ];
    let mut numbers = Numbers(seed);
    let mut keys = Keys::new();
    let mut size = 0;
    for kind in 0..time_patterns(1, &mut numbers).len() {
        for which in 0..value_patterns(1, &mut numbers).len() {
            size = (size + 1) % sizes.len();
            let (time_name, times) = time_patterns(sizes[size], &mut numbers).swap_remove(kind);
            let (value_name, values) = value_patterns(times.len(), &mut numbers).swap_remove(which);
            let measurement = values.value_type();
            let key = format!("{measurement},times={time_name},values={value_name}#!~#v");
            keys.insert(key.into_bytes(), Points { times, values });
        }
    }
    keys
}

/// What a server is told to hold these points; names need no escapes.
fn line_protocol(keys: &Keys) -> String {
    let mut lines = String::new();
    for (key, points) in keys {
        let key = std::str::from_utf8(key).unwrap();
        let (series, field) = key.split_once("#!~#").unwrap();
        for (at, time) in points.times.iter().enumerate() {
            write!(lines, "{series} {field}=").unwrap();
            match &points.values {
                Values::Float(values) => write!(lines, "{:?}", values[at]),
                Values::Integer(values) => write!(lines, "{}i", values[at]),
                Values::Boolean(values) => write!(lines, "{}", values[at]),
                Values::String(values) => write!(
                    lines,
                    "\"{}\"",
                    std::str::from_utf8(values.get(at)).unwrap()
                ),
                Values::Unsigned(values) => write!(lines, "{}u", values[at]),
            }
            .unwrap();
            writeln!(lines, " {time}").unwrap();
        }
    }
    lines
}

/// The points as [`answers`] has them.
fn described(keys: &Keys) -> Vec<String> {
    let mut described = Vec::new();
    for (key, points) in keys {
        let (series, field) = std::str::from_utf8(key)
            .unwrap()
            .split_once("#!~#")
            .unwrap();
        let mut names = series.split(',');
        let measurement = names.next().unwrap();
        let tags: Vec<String> = names
            .map(|tag| {
                tag.split_once('=')
                    .map(|(k, v)| format!("{k:?}={v:?}"))
                    .unwrap()
            })
            .collect();
        for (at, time) in points.times.iter().enumerate() {
            let value = match &points.values {
                Values::Float(values) => format!("{:#018x}", values[at].to_bits()),
                Values::Integer(values) => format!("{}i", values[at]),
                Values::Boolean(values) => values[at].to_string(),
                Values::String(values) => {
                    format!("{:?}", std::str::from_utf8(values.get(at)).unwrap())
                }
                Values::Unsigned(values) => format!("{}u", values[at]),
            };
            described.push(format!(
                "{measurement:?}{{{}}} {time} {field:?}={value}",
                tags.join(",")
            ));
        }
    }
    described.sort();
    described
}

/// The points a server answers, floats by their bits.
fn answers(server: &Influxd) -> Vec<String> {
    let mut points = server.points_in("tsm", "long");
    for point in points
        .iter_mut()
        .filter(|point| point.starts_with("\"float\""))
    {
        let (rest, value) = point.rsplit_once('=').unwrap();
        *point = format!("{rest}={:#018x}", value.parse::<f64>().unwrap().to_bits());
    }
    points.sort();
    points
}

/// The TSM files of the database, each with what it holds.
fn tsm_files(data: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let files = tree::files(&data.join("tsm"))
        .into_iter()
        .filter(|(name, _)| name.ends_with(".tsm"));
    files
        .map(|(name, bytes)| (data.join("tsm").join(name), bytes))
        .collect()
}

/// The points of a file.
fn read(file: &[u8]) -> Keys {
    let mut reader = Reader::open(file).unwrap();
    let mut keys = Keys::new();
    while let Some(key) = reader.next_key().unwrap() {
        let (bytes, mut all) = (key.bytes.to_vec(), Points::new(key.value_type));
        let mut points = Points::new(key.value_type);
        while reader.next_points(&mut points).unwrap() {
            (0..points.len()).for_each(|at| assert!(all.push_from(&points, at)));
        }
        keys.insert(bytes, all);
    }
    keys
}

fn write(keys: &Keys) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (key, points) in keys {
        writer.begin_key(key, points.values.value_type()).unwrap();
        writer.points(points).unwrap();
    }
    writer.finish().unwrap().0
}

/// Starts a server that has these points in a TSM file each shard.
fn load(root: &Path, keys: &Keys) -> Influxd {
    let server = Influxd::start(root, Index::Inmem);
    server.execute(POLICY);
    server.write("tsm", "long", &line_protocol(keys));
    flush(&server);
    server
}

/// Puts a file in the place of all that a stopped server has in its shard, and starts it.
fn exchange(root: &Path, shard_file: &Path, bytes: &[u8], index: Index) -> Influxd {
    let shard = shard_file.parent().unwrap();
    fs::remove_dir_all(shard).unwrap();
    fs::create_dir_all(shard).unwrap();
    fs::write(shard.join("000000001-000000001.tsm"), bytes).unwrap();
    if index == Index::Tsi1 {
        // Without it the shard would be opened with an index in memory.
        fs::create_dir(shard.join("index")).unwrap();
    }
    let _ = fs::remove_dir_all(root.join("data/tsm/_series"));
    let _ = fs::remove_dir_all(root.join("wal"));
    Influxd::start(root, index)
}

#[test]
fn what_influxd_flushed_is_read_as_it_answers_and_written_again_to_the_byte() {
    let place = folder();
    let keys = variety(0x5eed);
    let server = load(place.path(), &keys);
    let answered = answers(&server);
    assert!(
        answered == described(&keys),
        "what was written is not what is answered"
    );
    let mut read_back = Vec::new();
    let files = tsm_files(&server.data_dir());
    assert!(!files.is_empty());
    for (path, bytes) in files {
        let keys = read(&bytes);
        read_back.extend(described(&keys));
        assert!(
            write(&keys) == bytes,
            "{}: the file differs",
            path.display()
        );
        let report = check(&bytes[..], None, &mut |finding| panic!("{finding}")).unwrap();
        assert_eq!(report.points, described(&keys).len() as u64);
    }
    read_back.sort();
    assert!(read_back == answered);
}

#[test]
fn influxd_answers_from_files_that_were_written_or_rewritten_here() {
    let place = folder();
    let mut first = Keys::new();
    let single = Points {
        times: vec![START],
        values: Values::Boolean(vec![true]),
    };
    first.insert(b"boolean,first=yes#!~#v".to_vec(), single);
    let server = load(place.path(), &first);
    let (path, _) = tsm_files(&server.data_dir()).remove(0);
    server.stop();

    // One shard has all but the times a lifetime away.
    let mut keys = variety(0xfeed);
    keys.retain(|key, _| {
        !key.windows(6).any(|part| part == b"=far,v")
            && !key.windows(8).any(|part| part == b"=before,")
    });
    let file = {
        let mut writer = Writer::new(Vec::new());
        let longest: String = std::iter::repeat_n('k', 60_000).collect();
        let one = Points {
            times: vec![START],
            values: Values::String(Strings::from_iter(["one"])),
        };
        keys.insert(format!("string,key={longest}#!~#v").into_bytes(), one);
        for (key, points) in &keys {
            writer.begin_key(key, points.values.value_type()).unwrap();
            writer.points(points).unwrap();
        }
        writer.finish().unwrap().0
    };
    check(&file[..], None, &mut |finding| panic!("{finding}")).unwrap();
    let expected = described(&keys);
    for index in [Index::Inmem, Index::Tsi1] {
        let server = exchange(place.path(), &path, &file, index);
        assert!(
            answers(&server) == expected,
            "{index:?}: what was written is not what is answered"
        );
        server.stop();
    }

    // An interval and deletes that cut through blocks.
    let bounds = Bounds {
        start: START + 100,
        end: START + 1_500_000_000_000,
    };
    let mut deletes = BTreeMap::new();
    for (at, key) in keys.keys().enumerate() {
        match at % 4 {
            0 => deletes.insert(
                key.clone(),
                vec![(START + 150, START + 50_000_000_000), (START, START + 103)],
            ),
            1 => deletes.insert(key.clone(), vec![(i64::MIN, i64::MAX)]),
            2 => deletes.insert(
                key.clone(),
                vec![(START + 90_000_000_001, i64::MAX), (START + 3, START + 3)],
            ),
            _ => None,
        };
    }
    let mut rewritten = Vec::new();
    let ranges: DeletedRanges = deletes
        .iter()
        .flat_map(|(key, of_key)| of_key.iter().map(|range| (&key[..], *range)))
        .collect();
    filter::rewrite(&file[..], &mut ranges.reader(), bounds, &mut rewritten).unwrap();
    let mut kept = Keys::new();
    for (key, points) in &keys {
        let gone = deletes.get(key).map_or(&[][..], Vec::as_slice);
        let mut left = Points::new(points.values.value_type());
        for (at, time) in points.times.iter().enumerate() {
            let inside = (bounds.start..=bounds.end).contains(time);
            if inside && !gone.iter().any(|(min, max)| (min..=max).contains(&time)) {
                left.push_from(points, at);
            }
        }
        kept.insert(key.clone(), left);
    }
    let expected = described(&kept);
    assert!(expected.len() > 10_000 && expected.len() < described(&keys).len() / 2);
    for index in [Index::Inmem, Index::Tsi1] {
        let server = exchange(place.path(), &path, &rewritten, index);
        assert!(
            answers(&server) == expected,
            "{index:?}: what was kept is not what is answered"
        );
        server.stop();
    }
}

#[test]
fn influxd_answers_from_a_key_of_as_many_blocks_as_there_can_be() {
    let place = folder();
    let point = |at: i64| Points {
        times: vec![START + at],
        values: Values::Integer(vec![at]),
    };
    let server = load(
        place.path(),
        &Keys::from([(b"integer#!~#v".to_vec(), point(0))]),
    );
    let (path, _) = tsm_files(&server.data_dir()).remove(0);
    server.stop();
    let mut writer = Writer::new(Vec::new());
    writer
        .begin_key(b"integer#!~#v", ValueType::Integer)
        .unwrap();
    (0..65_535).for_each(|at| writer.points(&point(at)).unwrap());
    assert!(matches!(
        writer.points(&point(65_535)),
        Err(WriteError::Full)
    ));
    let server = exchange(
        place.path(),
        &path,
        &writer.finish().unwrap().0,
        Index::Inmem,
    );
    // To ask for all of them would take influxd half a minute.
    for (at, span) in [(0, 3), (65_530, 10)] {
        let (from, to) = (START + at, START + at + span);
        let answer = server.query(
            "tsm",
            &format!("SELECT v FROM long.integer WHERE time >= {from} AND time < {to}"),
        );
        let rows = answer["results"][0]["series"][0]["values"]
            .as_array()
            .unwrap();
        let values: Vec<i64> = rows.iter().map(|row| row[1].as_i64().unwrap()).collect();
        assert_eq!(values, (at..(at + span).min(65_535)).collect::<Vec<_>>());
    }
}

#[test]
fn what_influxd_compacted_is_read_as_it_answers() {
    let place = folder();
    let server = load(place.path(), &Keys::new());
    let keys = variety(0xaced);
    // Every eighth point at a time, so that the parts lie across one another.
    for part in 0..8 {
        let mut some = Keys::new();
        for (key, points) in &keys {
            let mut every = Points::new(points.values.value_type());
            (part..points.len())
                .step_by(8)
                .for_each(|at| assert!(every.push_from(points, at)));
            some.insert(key.clone(), every);
        }
        server.write("tsm", "long", &line_protocol(&some));
        flush(&server);
    }
    // The server begins by itself within seconds of the eighth file.
    let compacted = |files: &[(PathBuf, Vec<u8>)]| {
        files.iter().any(|(path, _)| {
            path.to_str()
                .is_some_and(|path| path.ends_with("-000000002.tsm"))
        })
    };
    let started = Instant::now();
    let mut files = tsm_files(&server.data_dir());
    while !compacted(&files) {
        assert!(
            started.elapsed() < Duration::from_secs(30),
            "no compaction of {} files:\n{}",
            files.len(),
            server.log()
        );
        thread::sleep(Duration::from_millis(100));
        files = tsm_files(&server.data_dir());
    }
    server.stop();
    let mut points = Vec::new();
    for (path, bytes) in tsm_files(&place.path().join("data")) {
        check(&bytes[..], None, &mut |finding| {
            panic!("{}: {finding}", path.display())
        })
        .unwrap();
        let keys = read(&bytes);
        assert!(
            write(&keys) == bytes,
            "{}: the file differs",
            path.display()
        );
        points.extend(described(&keys));
    }
    points.sort();
    assert!(points == described(&keys));
}

#[test]
fn the_files_of_every_data_set_are_read_and_have_no_faults() {
    let mut files = 0;
    for (name, bytes) in tree::files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")) {
        if name.ends_with(".tsm") {
            files += 1;
            assert!(write(&read(&bytes)) == bytes, "{name}");
            check(&bytes[..], None, &mut |finding| panic!("{name}: {finding}")).unwrap();
        }
    }
    assert!(files > 10);
}
