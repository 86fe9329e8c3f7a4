//! How what `snap` takes grows with the size of a shard, the number of shards, and `-jobs`.

use std::fs;
use std::path::Path;

use super::clients::snap;
use super::data::{self, Database, Kind};
use super::measure::{self, DIR, Usage};
use super::results::Side;
use super::support::influxd::Influxd;
use super::support::utf8;

/// Bytes of all shards together, where their number grows.
const SHARED_BYTES: f64 = 30e6;

/// How many shards they are in.
const COUNTS: [usize; 4] = [1, 10, 50, 200];

/// The shards and their bytes, where `-jobs` grows.
const SHARDS: usize = 8;
const SHARD_BYTES: f64 = 6e6;

/// How many jobs there are where something else grows, which is how many `snap` has by default.
const DEFAULT_JOBS: usize = 2;

/// How many there are where their number grows.
const JOBS: [usize; 4] = [1, 2, 4, 8];

/// What three runs took at one place of a series.
pub struct Step {
    /// What grows.
    pub series: String,
    /// How far it has.
    pub at: String,
    pub legacy: Side,
    pub portable: Side,
    /// The offline restore of the portable set.
    pub restore: Side,
}

/// A place in a series: the database that is backed up, and by how many jobs.
struct Place {
    series: String,
    at: String,
    database: String,
    jobs: usize,
}

/// Goes through the series; the largest shard has `large` bytes.
pub fn grow(root: &Path, large: u64, scale: f64, rounds: usize) -> Vec<Step> {
    let (databases, places) = plan(large, scale);
    let server = data::serve(&root.join("server"), &databases);
    places
        .into_iter()
        .map(|place| {
            eprintln!("growth with {}: {}", place.series, place.at);
            measure_at(place, &server, root, rounds)
        })
        .collect()
}

/// The databases that are needed, and the places of all series.
fn plan(large: u64, scale: f64) -> (Vec<Database>, Vec<Place>) {
    let mut databases = Vec::new();
    let mut add = |shards: Vec<u64>| {
        let name = format!("growth{}", databases.len());
        databases.push(Database {
            name: name.clone(),
            kind: Kind::Agent,
            shards,
        });
        name
    };
    let mut places = Vec::new();
    for bytes in [large / 8, large / 4, large / 2, large] {
        places.push(Place {
            series: "size of one shard".to_owned(),
            at: format!("{:.1} MB", bytes as f64 / 1e6),
            database: add(vec![bytes]),
            jobs: DEFAULT_JOBS,
        });
    }
    let shared = SHARED_BYTES * scale;
    for count in COUNTS {
        places.push(Place {
            series: format!("number of shards, {:.1} MB in all", shared / 1e6),
            at: count.to_string(),
            database: add(vec![(shared / count as f64) as u64; count]),
            jobs: DEFAULT_JOBS,
        });
    }
    let bytes = SHARD_BYTES * scale;
    let database = add(vec![bytes as u64; SHARDS]);
    for jobs in JOBS {
        places.push(Place {
            series: format!("-jobs, {SHARDS} shards of {:.1} MB", bytes / 1e6),
            at: jobs.to_string(),
            database: database.clone(),
            jobs,
        });
    }
    (databases, places)
}

/// Measures backups and a restore there.
fn measure_at(place: Place, server: &Influxd, root: &Path, rounds: usize) -> Step {
    let (host, jobs) = (server.host(), place.jobs.to_string());
    let database = &place.database;
    let common = ["-jobs", &jobs, "-host", &host, "-database", database];
    let legacy = snap(&[&["backup"], &common[..], &[DIR]].concat());
    let portable = snap(&[&["backup", "-portable"], &common[..], &[DIR]].concat());
    let set = root.join("set");
    measure::run(&portable, &set);
    let (meta, data) = (format!("{DIR}/meta"), format!("{DIR}/data"));
    let target = [
        "restore", "-jobs", &jobs, "-metadir", &meta, "-datadir", &data,
    ];
    let source = ["-host", "127.0.0.1:1", "-database", database, utf8(&set)];
    let restore = snap(&[&target[..], &source].concat());

    let tsm = data::tsm_count_and_bytes(&server.data_dir().join(database));
    let shards = data::shard_files(&set).len();
    let is_backup = |directory: &Path| data::shard_files(directory).len() == shards;
    let is_restored = |directory: &Path| data::tsm_count_and_bytes(directory) == tsm;
    let mut runs: [Vec<Usage>; 3] = Default::default();
    for _ in 0..rounds {
        let directory = root.join("run");
        let mut run = |at: usize, command, is_whole: &dyn Fn(&Path) -> bool| {
            runs[at].push(measure::run(command, &directory));
            assert!(is_whole(&directory), "not whole: {command:?}");
            fs::remove_dir_all(&directory).expect("removing what a run left");
        };
        run(0, &legacy, &is_backup);
        run(1, &portable, &is_backup);
        run(2, &restore, &is_restored);
    }
    fs::remove_dir_all(&set).expect("removing a set");
    let [legacy, portable, restore] = runs.map(|runs| Side::of(&runs));
    Step {
        series: place.series,
        at: place.at,
        legacy,
        portable,
        restore,
    }
}
