//! The data sets: TSM files made by the library's writer, in shards of a real influxd.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::BufWriter;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use influx_snap::tsm;
use influx_snap::tsm::values::{Points, Strings, Values};
use influx_snap::tsm::writer::Writer;
use jiff::Timestamp;

use super::support::data::{START, flush};
use super::support::influxd::{Index, Influxd};
use super::support::time::{SECOND, WEEK};

/// Points of a series in a shard: one a minute of a week.
const POINTS: usize = 10_080;

/// A database whose shards are there for their ids.
const SPARE: &str = "spare";

/// How long ago the server wrote the shards: longer than `-cold-after` (10 minutes), shorter than
/// what it takes influxd to compact a cold shard (4 hours).
const AGE: Duration = Duration::from_secs(3600);

/// The most bytes in one TSM file; a larger shard has several.
const FILE_BYTES: u64 = 1_000_000_000;

/// The kind of points.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Floats of which every bit is random.
    Incompressible,
    /// Gauges that drift, counters, states and messages.
    Agent,
}

/// A database to be made: one shard a week, of about so many bytes each.
pub struct Database {
    pub name: String,
    pub kind: Kind,
    pub shards: Vec<u64>,
}

impl Database {
    /// The only one of its server.
    pub fn new(kind: Kind, shards: Vec<u64>) -> Self {
        Self {
            name: "bench".to_owned(),
            kind,
            shards,
        }
    }
}

/// Starts a server below `root` that holds these databases.
pub fn serve(root: &Path, databases: &[Database]) -> Influxd {
    let server = Influxd::start(root, Index::Inmem);
    make_shards(&server, databases);
    flush(&server);
    let shards = server.shards();
    let data = server.data_dir();
    // A running server would not see the files.
    server.stop();
    for database in databases {
        let of_database = shards.iter().filter(|shard| shard.0 == database.name);
        for ((_, policy, id, start, _), bytes) in of_database.zip(&database.shards) {
            let directory = data.join(&database.name).join(policy).join(id.to_string());
            let start = start.parse::<Timestamp>().expect("a time").as_nanosecond();
            let start = i64::try_from(start).expect("a time of a shard");
            fill(&directory, database.kind, start, *bytes);
        }
    }
    Influxd::start(root, Index::Inmem)
}

/// Makes databases and shards of one point each, and none with an id that ends in 0: influxd's
/// restore into directories takes shard 10 for shard 1.
fn make_shards(server: &Influxd, databases: &[Database]) {
    server.execute(&format!("CREATE DATABASE {SPARE}"));
    let mut next_id = 1;
    let mut make_shard = |database: &str, week: usize| {
        let time = START + week as i64 * WEEK;
        server.write(database, "", &format!("seed v=1 {time}"));
        next_id += 1;
        next_id
    };
    let mut spare = 0;
    for database in databases {
        server.execute(&format!("CREATE DATABASE {}", database.name));
        for week in 0..database.shards.len() {
            if make_shard(&database.name, week) % 10 == 0 {
                make_shard(SPARE, spare);
                spare += 1;
            }
        }
    }
}

/// Writes the files of a shard that begins at `start`, and makes all its files old.
fn fill(directory: &Path, kind: Kind, start: i64, bytes: u64) {
    let mut generator = Generator {
        random: Random(0x5eed ^ start.cast_unsigned()),
        start,
        series: 0,
    };
    for nth in 0..bytes.div_ceil(FILE_BYTES).max(1) {
        let left = bytes - nth * FILE_BYTES;
        // The first generation is the server's.
        let generation = 2 + u32::try_from(nth).expect("a few files");
        let file =
            File::create_new(directory.join(tsm::file_name(generation, 1))).expect("a TSM file");
        generator.write_file(kind, left.min(FILE_BYTES), &file);
    }
    let long_ago = SystemTime::now() - AGE;
    for path in tsm_files(directory) {
        let name = path.file_name().and_then(|name| name.to_str());
        let generation = name.and_then(tsm::generation).expect("a generation");
        let file = File::options().write(true).open(&path).expect("a TSM file");
        // A tar has whole seconds, and no server writes two generations within one.
        let modified = long_ago + Duration::from_secs(60) * generation;
        file.set_modified(modified).expect("setting a time");
    }
}

/// Numbers that look random and are the same in each run.
struct Random(u64);

impl Random {
    /// Any 64 bits.
    fn bits(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15)
    }

    /// A number in a range.
    fn within(&mut self, range: RangeInclusive<i64>) -> i64 {
        let count = (range.end() - range.start() + 1).cast_unsigned();
        range.start() + ((self.bits() >> 11) % count).cast_signed()
    }

    /// A float from 0 to 1, of which every bit is random.
    fn fraction(&mut self) -> f64 {
        (self.bits() >> 11) as f64 / (1_u64 << 53) as f64
    }

    /// Whether what happens once in so many times happens now.
    fn once_in(&mut self, times: i64) -> bool {
        self.within(1..=times) == 1
    }
}

/// Makes the points of one shard, series after series.
struct Generator {
    random: Random,
    /// The first nanosecond of the shard.
    start: i64,
    series: usize,
}

impl Generator {
    /// Writes a file of about so many bytes, of one series at least.
    fn write_file(&mut self, kind: Kind, bytes: u64, file: &File) {
        let fields = kind.fields();
        let mut writer = Writer::new(BufWriter::new(file));
        loop {
            let (host, (field, values)) = (
                self.series / fields.len(),
                fields[self.series % fields.len()],
            );
            self.series += 1;
            let key = format!("agent,host=h{host:06}#!~#{field}");
            let values = values(&mut self.random);
            let points = self.points(values);
            writer
                .begin_key(key.as_bytes(), points.values.value_type())
                .expect("keys in ascending order");
            writer.points(&points).expect("points in their order");
            if file.metadata().expect("the file").len() >= bytes {
                break;
            }
        }
        writer.finish().expect("the end of a TSM file");
    }

    /// Spreads values over the week.
    fn points(&self, values: Values) -> Points {
        let minutes = POINTS / values.len();
        let step = minutes as i64 * 60 * SECOND;
        Points {
            times: (0..values.len() as i64)
                .map(|nth| self.start + nth * step)
                .collect(),
            values,
        }
    }
}

/// A field's name, and how the values of a series come about.
type Field = (&'static str, fn(&mut Random) -> Values);

impl Kind {
    /// The fields of a host, in ascending order of their names.
    fn fields(self) -> &'static [Field] {
        match self {
            Self::Incompressible => &[("value", |random| floats(|| random.fraction()))],
            Self::Agent => &[
                ("bytes_sent", |random| {
                    counter(random, |random| random.within(0..=200_000))
                }),
                ("healthy", |random| {
                    Values::Boolean(series(|_| !random.once_in(500)))
                }),
                ("load", |random| gauge(random, 100.0)),
                ("memory", |random| {
                    let mut pages = random.within(100_000..=1_000_000);
                    integers(|| {
                        pages = (pages + random.within(-500..=500)).max(0);
                        pages * 4096
                    })
                }),
                ("message", messages),
                ("requests", |random| {
                    counter(random, |random| random.within(0..=40))
                }),
                ("state", states),
                ("temperature", |random| gauge(random, 10.0)),
                ("uptime", |random| counter(random, |_| 60)),
            ],
        }
    }
}

/// A value for each minute.
fn series<T>(value: impl FnMut(usize) -> T) -> Vec<T> {
    (0..POINTS).map(value).collect()
}

fn floats(mut value: impl FnMut() -> f64) -> Values {
    Values::Float(series(|_| value()))
}

fn integers(mut value: impl FnMut() -> i64) -> Values {
    Values::Integer(series(|_| value()))
}

/// A float that drifts and is rounded to steps of one divided by `steps`.
fn gauge(random: &mut Random, steps: f64) -> Values {
    let mut level = random.within(2000..=8000);
    floats(|| {
        level = (level + random.within(-20..=20)).clamp(0, 10_000);
        (level as f64 * steps / 100.0).round() / steps
    })
}

/// An integer that grows by a step a minute.
fn counter(random: &mut Random, step: impl Fn(&mut Random) -> i64) -> Values {
    let mut count = random.within(0..=1 << 30);
    integers(|| {
        count += step(random);
        count
    })
}

/// One of a few words, which seldom changes.
fn states(random: &mut Random) -> Values {
    let mut state = "running";
    let mut states = Strings::new();
    for _ in 0..POINTS {
        if random.once_in(300) {
            state = ["running", "degraded", "restarting"][random.within(0..=2) as usize];
        }
        states.push(state.as_bytes());
    }
    Values::String(states)
}

/// A line of a log every ten minutes.
fn messages(random: &mut Random) -> Values {
    let line = |_| {
        let (item, took) = (random.within(0..=4999), random.within(1..=900));
        format!("GET /items/{item} 200 in {took} ms")
    };
    Values::String((0..POINTS / 10).map(line).collect())
}

/// The TSM files in a directory and those below it.
pub fn tsm_files(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            found.extend(tsm_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "tsm") {
            found.push(path);
        }
    }
    found
}

/// How many TSM files there are below a directory, and their bytes.
pub fn tsm_count_and_bytes(directory: &Path) -> (usize, u64) {
    let files = tsm_files(directory);
    let size = |path: &PathBuf| fs::metadata(path).expect("a TSM file").len();
    (files.len(), files.iter().map(size).sum())
}

/// The shard files of a set by name, and their bytes: `<db>.<rp>.<id>.<nn>` or
/// `<stamp>.s<id>.tar.gz`.
pub fn shard_files(set: &Path) -> BTreeMap<String, u64> {
    let mut files = BTreeMap::new();
    for entry in fs::read_dir(set).expect("a set") {
        let entry = entry.expect("an entry");
        let name = entry.file_name().into_string().expect("a name in UTF-8");
        // Those of metastores and manifests have one dot.
        if name.split('.').count() == 4 {
            files.insert(name, entry.metadata().expect("a shard file").len());
        }
    }
    files
}
