//! That the support code of the other tests does what it says.

mod support;

use std::path::Path;
use std::time::Instant;

use support::data::{DATABASES, delete_some, flush, load_sample, tombstones};
use support::influxd::{Index, Influxd, influxd};
use support::{process, tree};

/// Loads the sample, restarts the server in `root` and compares what it answers.
fn restart(root: &Path, index: Index) {
    let t = Instant::now();
    let server = Influxd::start(root, index);
    eprintln!("start {:?}", t.elapsed());
    load_sample(&server);
    eprintln!("load {:?}", t.elapsed());
    let whole = server.points();
    eprintln!("points {:?}", t.elapsed());
    flush(&server);
    eprintln!("flush {:?}", t.elapsed());
    delete_some(&server);
    eprintln!("delete {:?}", t.elapsed());
    assert!(!tombstones(&server).is_empty());
    eprintln!("{} tombstones", tombstones(&server).len());
    let points = server.points();
    assert!(points.len() > 5000 && points.len() < whole.len(), "{} points of {}", points.len(), whole.len());
    eprintln!("{} {}", points.len(), whole.len());
    for p in points.iter().filter(|p| !p.contains("cpu") && !p.contains("daily")) { if p.len() < 300 { eprintln!("{p}"); } }
    let shards = server.shards();
    eprintln!("{:?} {}", &shards[..12], shards.len());
    for id in [10, 20, 100] {
        assert!(shards.iter().any(|shard| shard.2 == id), "no shard {id}");
    }
    let series = DATABASES.map(|db| server.series(db));
    eprintln!("{series:?}");
    server.stop();
    eprintln!("stop {:?}", t.elapsed());
    let server = Influxd::start(root, index);
    eprintln!("start {:?}", t.elapsed());
    assert!(server.points() == points, "the points differ");
    assert_eq!(server.shards(), shards);
    assert_eq!(DATABASES.map(|db| server.series(db)), series);
}

#[test]
fn an_inmem_server_restarted_on_its_directories_answers_the_same() {
    let root = tempfile::tempdir().expect("a temporary directory");
    restart(root.path(), Index::Inmem);
}

#[test]
fn a_tsi1_server_restarted_on_its_directories_answers_the_same() {
    let root = tempfile::tempdir().expect("a temporary directory");
    restart(root.path(), Index::Tsi1);
}
