//! The deep check of TSM files beside what it cannot be faster than: reading the file, and one
//! CRC-32 over all of it.
//!
//! ```text
//! cargo bench --bench tsm
//! cargo bench --bench tsm -- --megabytes 500 --rounds 9
//! ```
//!
//! It writes files of one kind of values each, and one of all, to a temporary directory, and goes
//! over each of them on one thread: reading it as `cat` would; reading it and taking one CRC-32;
//! the deep check; unpacking all points. All come from the page cache, in turn, round after round;
//! the best round of each counts. Gigabytes are those of the file. No speed makes it fail; a fault
//! in a file does.

use std::env;
use std::fs::File;
use std::hint::black_box;
use std::io::BufWriter;
use std::path::Path;
use std::time::{Duration, Instant};

use influx_snap::io::read_at::ReadAt;
use influx_snap::tsm::check::check;
use influx_snap::tsm::file::Reader;
use influx_snap::tsm::values::{Points, ValueType, Values};
use influx_snap::tsm::writer::Writer;

/// Points of a series, which go into blocks of a thousand.
const POINTS: usize = 10_000;

/// How much is read at a time where nothing is done with it but a sum.
const CHUNK: usize = 256 << 10;

/// A kind of values, and the points of one series of it.
type Kind = (&'static str, fn(&mut Numbers) -> Points);

/// The kinds, as telemetry has them. Times of `+jitter` are whole milliseconds, others stand ten
/// seconds apart.
const KINDS: [Kind; 8] = [
    ("floats, one decimal", |n| {
        let mut level = 20_000.0;
        points(false, n, |n| {
            Values::Float(values(n, |n, _| {
                (step(&mut level, n) / 10.0).round() / 10.0
            }))
        })
    }),
    ("floats, one decimal +jitter", |n| {
        let mut level = 20_000.0;
        points(true, n, |n| {
            Values::Float(values(n, |n, _| {
                (step(&mut level, n) / 10.0).round() / 10.0
            }))
        })
    }),
    ("floats, all bits", |n| {
        points(false, n, |n| {
            Values::Float(values(n, |n, _| n.below(1 << 52) as f64 / 1e9))
        })
    }),
    ("floats, seldom changing", |n| {
        let mut level = 50.0;
        points(false, n, |n| {
            Values::Float(values(n, |n, _| {
                if n.below(20) == 0 {
                    level = n.below(100) as f64;
                }
                level
            }))
        })
    }),
    ("integers, counting +jitter", |n| {
        points(true, n, |n| {
            Values::Integer(values(n, |n, at| at as i64 * 1500 + n.below(900)))
        })
    }),
    ("integers, gauge", |n| {
        points(false, n, |n| {
            Values::Integer(values(n, |n, _| n.below(1_000_000)))
        })
    }),
    ("booleans +jitter", |n| {
        points(true, n, |n| {
            Values::Boolean(values(n, |n, _| n.below(9) == 0))
        })
    }),
    ("strings +jitter", |n| {
        points(true, n, |n| {
            Values::String(
                values(n, |n, _| format!("GET /items/{} 200", n.below(5000)))
                    .into_iter()
                    .collect(),
            )
        })
    }),
];

/// Numbers that look random and are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: u64) -> i64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 4) as i64 % end as i64
    }
}

fn values<T>(numbers: &mut Numbers, mut value: impl FnMut(&mut Numbers, usize) -> T) -> Vec<T> {
    (0..POINTS).map(|at| value(numbers, at)).collect()
}

fn step(level: &mut f64, numbers: &mut Numbers) -> f64 {
    *level += (numbers.below(201) - 100) as f64;
    *level
}

fn points(
    jitter: bool,
    numbers: &mut Numbers,
    values: impl FnOnce(&mut Numbers) -> Values,
) -> Points {
    let mut time = 1_528_070_400_000_000_000;
    let mut next = || {
        time += if jitter {
            (9900 + numbers.below(200)) * 1_000_000
        } else {
            10_000_000_000
        };
        time
    };
    Points {
        times: (0..POINTS).map(|_| next()).collect(),
        values: values(numbers),
    }
}

/// Writes a file of about so many bytes, of series of these kinds in turn, and gives its points.
fn write(path: &Path, bytes: u64, kinds: &[Kind]) -> u64 {
    let mut writer = Writer::new(BufWriter::new(File::create(path).expect("a file")));
    let mut numbers = Numbers(0x5eed);
    // Making points takes longer than writing them, so some are written again and again.
    let pool: Vec<Points> = (0..32)
        .map(|at| kinds[at % kinds.len()].1(&mut numbers))
        .collect();
    let mut series = 0;
    while std::fs::metadata(path).expect("the file").len() < bytes {
        let points = &pool[series % pool.len()];
        let key = format!("telemetry,host={series:09}#!~#value");
        writer
            .begin_key(key.as_bytes(), points.values.value_type())
            .expect("a key");
        writer.points(points).expect("points");
        series += 1;
    }
    writer.finish().expect("the end of the file");
    (series * POINTS) as u64
}

/// Reads a file in chunks.
fn pass(file: &File, mut chunk: impl FnMut(&[u8])) {
    let size = file.size().expect("a size");
    let mut buffer = vec![0; CHUNK];
    let mut at = 0;
    while at < size {
        let length = usize::try_from(size - at).map_or(CHUNK, |left| left.min(CHUNK));
        ReadAt::read_exact_at(file, &mut buffer[..length], at).expect("bytes");
        chunk(&buffer[..length]);
        at += length as u64;
    }
}

fn read_only(file: &File) {
    pass(file, |chunk| {
        black_box(chunk);
    });
}

fn crc(file: &File) {
    let mut hasher = crc32fast::Hasher::new();
    pass(file, |chunk| hasher.update(chunk));
    black_box(hasher.finalize());
}

fn deep(file: &File) {
    let report = check(file, None, &mut |finding| panic!("{finding}")).expect("a TSM file");
    assert!(report.points > 0);
}

fn unpack(file: &File) {
    let mut reader = Reader::open(file).expect("a TSM file");
    let mut points = Points::new(ValueType::Float);
    while reader.next_key().expect("a key").is_some() {
        while reader.next_points(&mut points).expect("a block") {
            black_box(&points);
        }
    }
}

/// The best time of each way to go over a file, and the file's size.
fn measure(file: &File, rounds: usize) -> ([Duration; 4], f64) {
    let ways: [fn(&File); 4] = [read_only, crc, deep, unpack];
    let mut best = [Duration::MAX; 4];
    for _ in 0..rounds {
        for (way, best) in ways.iter().zip(&mut best) {
            let started = Instant::now();
            way(file);
            *best = started.elapsed().min(*best);
        }
    }
    (best, file.size().expect("a size") as f64)
}

fn main() {
    let args: Vec<String> = env::args().collect();
    let option = |name: &str, default: u64| {
        let value = args
            .iter()
            .position(|arg| arg == name)
            .and_then(|at| args.get(at + 1));
        value.map_or(default, |value| {
            value
                .parse()
                .unwrap_or_else(|_| panic!("{name} takes a number"))
        })
    };
    let (megabytes, rounds) = (option("--megabytes", 100), option("--rounds", 5));
    let place = tempfile::tempdir().expect("a temporary directory");
    let path = place.path().join("000000001-000000001.tsm");
    println!("GB/s of a core, {megabytes} MB a file; the best of {rounds} rounds");
    println!(
        "{:<28} {:>8} {:>7} {:>7} {:>7} {:>7}  {:>9} {:>10}",
        "", "B/point", "read", "CRC-32", "check", "unpack", "check/CRC", "Mpoints/s"
    );
    let all: Vec<(&str, Vec<Kind>)> = KINDS
        .iter()
        .map(|kind| (kind.0, vec![*kind]))
        .chain([("all of them", KINDS.to_vec())])
        .collect();
    for (name, kinds) in all {
        let points = write(&path, megabytes * 1_000_000, &kinds);
        let file = File::open(&path).expect("the file");
        let (best, size) = measure(&file, usize::try_from(rounds).unwrap_or(1).max(1));
        let speed = best.map(|time| size / time.as_secs_f64() / 1e9);
        println!(
            "{name:<28} {:>8.2} {:>7.2} {:>7.2} {:>7.2} {:>7.2}  {:>8.0}% {:>10.0}",
            size / points as f64,
            speed[0],
            speed[1],
            speed[2],
            speed[3],
            100.0 * speed[2] / speed[1],
            points as f64 / best[2].as_secs_f64() / 1e6,
        );
    }
}
