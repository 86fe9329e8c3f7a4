//! That the support code of the other tests does what it says.

use std::fs;
use std::path::Path;

use crate::support::data::{DATABASES, delete_some, flush, load_sample, tombstones};
use crate::support::influxd::{Index, Influxd};
use crate::support::process::Snap;
use crate::support::service::influxd_client;
use crate::support::{folder, tree, utf8};

/// Loads the sample, deletes some of it, and compares what the server answers before and after a
/// restart.
fn restart(index: Index) {
    let root = folder();
    let server = Influxd::start(root.path(), index);
    load_sample(&server);
    let loaded = server.points();
    delete_some(&server);
    assert!(!tombstones(&server).is_empty(), "no tombstones");
    let points = server.points();
    assert!(
        points.len() > 5000 && points.len() < loaded.len(),
        "{} points of {}",
        points.len(),
        loaded.len()
    );
    let shards = server.shards();
    for id in [10, 20, 100] {
        assert!(shards.iter().any(|shard| shard.2 == id), "no shard {id}");
    }
    let series = DATABASES.map(|db| server.series(db));
    server.stop();

    let server = Influxd::start(root.path(), index);
    server.expect_points(&points);
    assert_eq!(server.shards(), shards);
    assert_eq!(DATABASES.map(|db| server.series(db)), series);
}

#[test]
fn an_inmem_server_restarted_on_its_directories_answers_the_same() {
    restart(Index::Inmem);
}

#[test]
fn a_tsi1_server_restarted_on_its_directories_answers_the_same() {
    restart(Index::Tsi1);
}

#[test]
fn influxd_backs_up_and_restores_the_sample() {
    let root = folder();
    let backup = root.path().join("backup");
    let client = |command: &str, server: &Influxd| {
        influxd_client(&[command, "-portable", "-host", &server.host(), utf8(&backup)]);
    };
    let server = Influxd::start(&root.path().join("one"), Index::Inmem);
    load_sample(&server);
    flush(&server);
    client("backup", &server);
    assert!(
        tree::names(&backup)
            .iter()
            .any(|name| name.ends_with(".manifest"))
    );
    let points = server.points();
    server.stop();

    let server = Influxd::start(&root.path().join("two"), Index::Tsi1);
    client("restore", &server);
    assert!(server.comes_to(&points), "the points differ");
}

#[test]
fn values_of_different_types_are_different_points() {
    let root = folder();
    let server = Influxd::start(root.path(), Index::Inmem);
    server.execute("CREATE DATABASE d");
    server.write(
        "d",
        "",
        "m,t=x f=1,i=1i,s=\"1\",b=true 5\nn f=9007199254740993i 6",
    );
    let expected = [
        r#""m"{"t"="x"} 5 "b"=true"#,
        r#""m"{"t"="x"} 5 "f"=1"#,
        r#""m"{"t"="x"} 5 "i"=1i"#,
        r#""m"{"t"="x"} 5 "s"="1""#,
        r#""n"{} 6 "f"=9007199254740993i"#,
    ];
    assert_eq!(server.points_in("d", "autogen"), expected);
    let prefixed = expected.map(|point| format!(r#""d"."autogen" {point}"#));
    assert_eq!(server.points(), prefixed);
}

#[test]
fn a_run_is_measured_and_its_files_are_listed() {
    let root = folder();
    fs::create_dir(root.path().join(".hidden")).expect("a directory");
    fs::write(root.path().join(".hidden/file"), "content").expect("a file");
    let run = Snap::new(["--help"])
        .dir(root.path())
        .env("COLUMNS", "80")
        .run()
        .expect(0);
    assert!(run.peak_rss > 0 && !run.wall.is_zero());
    assert_eq!(tree::names(root.path()), [".hidden"]);
    assert_eq!(
        tree::files(root.path()),
        [(
            Path::new(".hidden/file").display().to_string(),
            b"content".to_vec()
        )]
        .into()
    );
}
