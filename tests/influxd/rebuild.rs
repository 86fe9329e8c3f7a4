//! `snap restore -rebuild-meta`: a server that lost its metastore answers as before.

use std::fs;
use std::path::Path;

use crate::support::data::{delete_some, flush, load_sample};
use crate::support::influxd::{Index, Influxd};
use crate::support::process::{Run, Snap};
use crate::support::{folder, tree, utf8};

fn rebuild(root: &Path, flags: &[&str]) -> Run {
    let (meta, data) = (root.join("meta"), root.join("data"));
    let directories = ["-metadir", utf8(&meta), "-datadir", utf8(&data)];
    let snap = Snap::new(["restore", "-rebuild-meta"]).args(directories);
    snap.args(flags).run()
}

/// The database, policy and id of each shard.
fn names(server: &Influxd) -> Vec<(String, String, u64)> {
    let shards = server.shards().into_iter();
    let mut names: Vec<_> = shards.map(|shard| (shard.0, shard.1, shard.2)).collect();
    names.sort();
    names
}

fn answers_as_before(index: Index, end: impl FnOnce(Influxd)) {
    let root = folder();
    let server = Influxd::start(root.path(), index);
    load_sample(&server);
    delete_some(&server);
    // In the WAL alone, of a shard that has no files yet.
    server.execute("CREATE DATABASE late");
    server.write(
        "late",
        "",
        "m v=1i 1000000000000000000\nm v=2i 1000000000000000001",
    );
    let (points, shards) = (server.points(), names(&server));
    end(server);
    fs::remove_file(root.path().join("meta/meta.db")).expect("a metastore");
    let before = tree::files(&root.path().join("data"));

    let dry = rebuild(root.path(), &["-dry-run"]).expect(0);
    assert!(dry.stdout.contains("dry run: would write"), "{dry:?}");
    assert!(!root.path().join("meta/meta.db").exists());
    let run = rebuild(root.path(), &[]).expect(0);
    assert!(
        run.stderr
            .contains("late/autogen (default): 1 shard, 2001-09-03T00:00:00Z to"),
        "{run:?}"
    );
    assert_eq!(tree::files(&root.path().join("data")), before);

    let server = Influxd::start(root.path(), index);
    server.expect_points(&points);
    // Some may have lost all their points to a compaction since.
    let placed = names(&server);
    let without = |name: &(String, String, u64)| !placed.contains(name);
    for (db, policy, id) in shards.iter().filter(|name| without(name)) {
        assert!(
            run.stderr.contains(&format!("{db}/{policy}/{id}")),
            "{run:?}"
        );
    }
    assert!(
        placed.iter().all(|name| shards.contains(name)),
        "{placed:?}"
    );
    // Later points go into the shard that is there, or into one with an id that none had.
    server.write(
        "late",
        "",
        "m v=3i 1000000000000000002\nm v=4i 1400000000000000000",
    );
    let points = server.points();
    let added: Vec<_> = names(&server)
        .into_iter()
        .filter(|name| !shards.contains(name))
        .collect();
    let highest = shards.iter().map(|shard| shard.2).max();
    assert!(
        matches!(&added[..], [(db, _, id)] if db == "late" && Some(*id) > highest),
        "{added:?}"
    );
    server.stop();
    let server = Influxd::start(root.path(), index);
    server.expect_points(&points);
    server.expect_no_errors();
}

#[test]
fn an_inmem_server_that_was_killed_and_lost_its_metastore_answers_as_before() {
    answers_as_before(Index::Inmem, Influxd::kill);
}

#[test]
fn a_tsi1_server_that_lost_its_metastore_answers_as_before() {
    answers_as_before(Index::Tsi1, Influxd::stop);
}

#[test]
fn what_cannot_be_placed_is_named_and_all_else_is() {
    let root = folder();
    let server = Influxd::start(root.path(), Index::Inmem);
    load_sample(&server);
    flush(&server);
    server.stop();
    let meta = root.path().join("meta/meta.db");
    let refused = rebuild(root.path(), &[]).expect(6);
    assert!(
        refused
            .stderr
            .contains("meta.db is there: it is not replaced"),
        "{refused:?}"
    );
    fs::remove_file(&meta).expect("a metastore");

    // One shard whose only file has lost its end, one without files, and two with one id.
    let shard = root.path().join("data/plain/autogen");
    let mut ids = tree::names(&shard);
    ids.sort();
    let damaged = shard.join(&ids[0]);
    let file = tree::names(&damaged)
        .into_iter()
        .find(|name| name.ends_with(".tsm"))
        .expect("a TSM file");
    let content = fs::read(damaged.join(&file)).expect("its bytes");
    fs::write(damaged.join(&file), &content[..content.len() - 9]).expect("a damaged file");
    fs::create_dir(shard.join("900")).expect("an empty shard");
    fs::create_dir_all(root.path().join("data/other/autogen/900")).expect("another");
    let refused = rebuild(root.path(), &[]).expect(6);
    assert!(
        refused
            .stderr
            .contains("shards other/autogen/900 and plain/autogen/900 have one id"),
        "{refused:?}"
    );
    fs::remove_dir(root.path().join("data/other/autogen/900")).expect("an empty shard");
    assert!(!meta.exists());

    let run = rebuild(root.path(), &["-json"]).expect(3);
    for said in [
        format!("{file} is damaged"),
        "left out, shards without a point: plain/autogen/900".to_owned(),
    ] {
        assert!(run.stdout.contains(&said), "{said}: {run:?}");
    }
    assert!(
        run.stderr.contains(&format!(
            "shard plain/autogen/{}: {file} is damaged",
            ids[0]
        )),
        "{run:?}"
    );
    let server = Influxd::start(root.path(), Index::Inmem);
    assert!(
        !names(&server)
            .iter()
            .any(|(_, _, id)| ids[0] == id.to_string() || *id == 900)
    );
    // No shard gets the id of one that is not named. influxd moves aside what it cannot open.
    server.write("plain", "", "fresh v=1i 1900000000000000000");
    assert!(names(&server).iter().any(|(_, _, id)| *id == 901));
    let bad = fs::metadata(damaged.join(format!("{file}.bad"))).expect("the damaged file");
    assert_eq!(bad.len(), content.len() as u64 - 9);
}
