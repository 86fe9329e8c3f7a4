//! Memory does not grow with the size or the number of shards.

mod support;

use std::path::Path;

use influx_snap::wire::ShardPath;
use support::influxd::{Index, Influxd};
use support::peer::{Asked, Model, Peer, Reply, Shard, Tar, Version, nobody};
use support::process::{Run, snap};
use support::service::Serving;
use support::tree;

/// The most a run may use, in bytes.
const LIMIT: u64 = 24 << 20;

/// Bytes in each of the large shards.
const LARGE: u64 = 96 << 20;

/// Bytes in each of the shards that are compressed, which takes its time; all of them are more than the limit lets in.
const PACKED: u64 = 6 << 20;

/// How many small shards there are.
const MANY: u64 = 3000;

/// Backs up into `dir`, keeping to the limit.
fn backup(peer: &Peer, flags: &[&str], dir: &Path, code: i32) -> Run {
    let dir = dir.to_str().expect("a path in UTF-8");
    within_limit(snap([&["backup", "-quiet", "-host", &peer.host()], flags, &[dir]].concat()).expect(code))
}

/// Restores from `dir` into directories beside it, keeping to the limit.
fn restore(dir: &Path) -> Run {
    let path = |name: &str| dir.with_file_name(name).to_str().expect("a path in UTF-8").to_owned();
    let (metadir, datadir, host) = (path("meta"), path("data"), nobody());
    let dir = dir.to_str().expect("a path in UTF-8");
    within_limit(snap(["restore", "-metadir", &metadir, "-datadir", &datadir, "-host", &host, dir]).expect(0))
}

fn within_limit(run: Run) -> Run {
    let mebibytes = run.peak_rss as f64 / f64::from(1 << 20);
    assert!(run.peak_rss <= LIMIT, "{mebibytes:.1} MiB in {:?}\n{}", run.wall, run.stderr);
    run
}

#[test]
fn two_large_shards_at_a_time_are_backed_up_and_restored_in_24_mib() {
    let mut model = Model::new(Version::V1_6, &[]);
    for id in [1, 2] {
        let path = ShardPath { database: "db".into(), retention_policy: "autogen".into(), id };
        model.shards.push(Shard::with_tar(path, Tar::Large(LARGE)));
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let dir = root.path().join("backup");
    let peer = Peer::start(model);
    backup(&peer, &["-jobs", "2"], &dir, 0);
    for shard in peer.model().shards {
        let file = dir.join(format!("db.autogen.{:05}.00", shard.path.id));
        assert!(shard.tar.is_in(&shard.path, &file), "{}", file.display());
    }
    restore(&dir);
    for id in [1, 2] {
        let file = root.path().join(format!("data/db/autogen/{id}/000000001-000000001.tsm"));
        assert_eq!(file.metadata().expect("a restored file").len(), LARGE);
    }
}

#[test]
fn four_shards_at_a_time_are_backed_up_compressed_and_restored_here_and_there_in_24_mib() {
    let path = |id| ShardPath { database: "db".into(), retention_policy: "autogen".into(), id };
    let mut model = Model::new(Version::V1_6, &[]);
    model.shards.extend((1..=4).map(|id| Shard::with_tar(path(id), Tar::Large(PACKED))));
    let peer = Peer::start(model);
    let root = tempfile::tempdir().expect("a temporary directory");
    let dir = root.path().join("backup");
    backup(&peer, &["-portable", "-jobs", "4"], &dir, 0);
    restore(&dir);
    // A service as influxd is one; that checks no more of a TSM file than its outside.
    let target = root.path().join("target");
    Influxd::start(&target, Index::Inmem).stop();
    let serving = Serving::start(&target, &["-writable"]);
    let dir = dir.to_str().expect("a path in UTF-8");
    let args = ["restore", "-portable", "-quiet", "-jobs", "4", "-host", &serving.host(), dir];
    within_limit(snap(args).expect(0));
    serving.stop();
    for id in 1..=4 {
        let file = target.join(format!("data/{}/000000001-000000001.tsm", path(id)));
        assert_eq!(file.metadata().expect("a restored file").len(), PACKED);
    }
}

#[test]
fn three_thousand_shards_are_backed_up_and_restored_in_24_mib() {
    let shards: Vec<_> = (1..=MANY).map(|id| ("db", "autogen", id)).collect();
    let root = tempfile::tempdir().expect("a temporary directory");
    let dir = root.path().join("backup");
    let peer = Peer::start(Model::new(Version::V1_6, &shards));
    backup(&peer, &["-jobs", "2"], &dir, 0);
    assert_eq!(tree::names(&dir).len() as u64, MANY + 2);
    for shard in peer.model().shards {
        let file = dir.join(format!("db.autogen.{:05}.00", shard.path.id));
        assert!(shard.tar.is_in(&shard.path, &file), "{}", file.display());
    }
    restore(&dir);
    let restored = tree::files(&root.path().join("data"));
    assert_eq!(restored.keys().filter(|name| name.ends_with(".tsm")).count() as u64, 2 * MANY);
}

#[test]
fn peers_that_send_members_for_ever_get_no_more() {
    let shards: Vec<_> = (1..=3).map(|id| ("db", "autogen", id)).collect();
    let peer = Peer::start(Model::new(Version::V1_6, &shards));
    for (_, _, id) in &shards {
        peer.script(Asked::Shard(*id), [Reply::EndlessMembers]);
    }
    let root = tempfile::tempdir().expect("a temporary directory");
    let limits = ["-attempt-timeout", "1m", "-retries", "0", "-jobs", "3"];
    backup(&peer, &limits, &root.path().join("backup"), 1);
}
