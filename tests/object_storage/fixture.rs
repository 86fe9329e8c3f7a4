//! A server that is backed up into object storage, and a look at what lies there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;

use crate::support::backups::{Backups, expect_points, files_of, messages};
use crate::support::data::flush;
use crate::support::influxd::{Index, Influxd};
use crate::support::object_storage::Repository;
use crate::support::process::{Run, Snap};
use crate::support::proxy::Request;
use crate::support::{Shared, folder};

/// The layouts, each with its flags.
pub const LAYOUTS: [(&str, &[&str]); 2] = [("legacy", &[]), ("portable", &["-portable"])];

/// Settings with parts that are as small as S3 permits.
pub const SMALL_PARTS: &str = concat!(
    env!("CARGO_MANIFEST_DIR"),
    "/tests/object_storage/small-parts.toml"
);

/// A server that no test writes to. All its shards are old; one takes several parts in storage,
/// compressed too.
pub struct Sample {
    backups: Backups,
    /// What it holds.
    pub points: Vec<String>,
}

static SAMPLE: Shared<Sample> = Shared::new(Sample::make);

impl Sample {
    /// The one that the tests share.
    pub fn get() -> Arc<Self> {
        SAMPLE.get()
    }

    fn make() -> Self {
        let backups = Backups::loaded(Index::Inmem, &[], 3);
        for nth in 0..4 {
            backups.write(0, &format!("large{nth}"), 1400);
        }
        flush(&backups.server);
        backups.a_day_passes();
        let points = backups.server.points();
        Self { backups, points }
    }

    /// The server.
    pub fn server(&self) -> &Influxd {
        &self.backups.server
    }
}

/// A backup of a server that is about to be run, with small parts.
pub fn backup(server: &Influxd, repository: &Repository, flags: &[&str]) -> Snap {
    let host = server.host();
    repository
        .snap(&[&["backup", "-host", &host, "-json"], flags].concat())
        .env("SNAP_CONFIG", SMALL_PARTS)
}

/// Backs a server up; the id of the set.
#[track_caller]
pub fn back_up(server: &Influxd, repository: &Repository, flags: &[&str]) -> String {
    let summary = summary(&backup(server, repository, flags).run().expect(0));
    summary["set"].as_str().expect("an id").to_owned()
}

/// What a run said of itself in the end.
#[track_caller]
pub fn summary(run: &Run) -> Value {
    messages(run, "summary").remove(0)
}

/// Panics unless every file of every set is there, as long as it should be.
#[track_caller]
pub fn expect_all_there(repository: &Repository) {
    repository.snap(&["verify"]).run().expect(0);
}

/// Panics unless every file of every set is sound.
#[track_caller]
pub fn expect_sound(repository: &Repository) {
    repository.snap(&["verify", "-deep"]).run().expect(0);
}

/// Panics unless a set comes back with these points in a server that was stopped.
pub fn expect_offline(repository: &Repository, set: &str, points: &[String], index: Index) {
    let folder = folder();
    repository
        .snap_with(&["restore", "-index", index.name()], &[set])
        .directories(folder.path())
        .run()
        .expect(0);
    let server = Influxd::start(folder.path(), index);
    expect_points(&server.points(), points, set);
}

/// Panics unless a set comes back with these points in a running server.
pub fn expect_live(repository: &Repository, set: &str, points: &[String], index: Index) {
    let (_folder, server) = Influxd::empty(index);
    repository
        .snap_with(&["restore", "-online", "-host", &server.host()], &[set])
        .run()
        .expect(0);
    expect_points(&server.points(), points, set);
    server.expect_no_errors();
}

/// The records of all sets, each under its id.
pub fn records(repository: &Repository) -> BTreeMap<String, Value> {
    let names = repository.names();
    let ids = names
        .iter()
        .filter_map(|name| name.strip_prefix(".snap/")?.strip_suffix(".json"));
    ids.map(|id| {
        let record = repository.read(&format!(".snap/{id}.json"));
        let record = serde_json::from_slice(&record).expect("a record in JSON");
        (id.to_owned(), record)
    })
    .collect()
}

/// Panics unless the sets are all that lies there, and all of them.
#[track_caller]
pub fn expect_nothing_but_sets(repository: &Repository) {
    let records = records(repository);
    let mut expected: BTreeSet<String> = records
        .keys()
        .map(|id| format!(".snap/{id}.json"))
        .collect();
    expected.extend(records.values().flat_map(files_of));
    let found: BTreeSet<String> = repository.names().into_iter().collect();
    let left: Vec<_> = found.difference(&expected).collect();
    let missing: Vec<_> = expected.difference(&found).collect();
    assert!(
        left.is_empty() && missing.is_empty(),
        "left over: {left:#?}, missing: {missing:#?}"
    );
    let uploads = repository.unfinished_uploads();
    assert!(uploads.is_empty(), "unfinished uploads: {uploads:?}");
}

/// Panics unless none of these requests is what a backup has no need of, or some storage cannot
/// take, or says a secret.
#[track_caller]
pub fn expect_plain_requests(requests: &[Request], secret: &str) {
    assert!(!requests.is_empty());
    for request in requests {
        let operation = request.operation();
        let what = format!("{operation} {}", request.key);
        assert!(!matches!(operation, "copy" | "other"), "{what}");
        for (name, value) in &request.headers {
            let is_plain = !name.starts_with("x-amz-checksum")
                && name != "x-amz-trailer"
                && name != "x-amz-sdk-checksum-algorithm"
                && !value.contains("aws-chunked")
                && !value.contains("STREAMING")
                && !value.contains(secret);
            assert!(is_plain, "{what}: {name}: {value}");
        }
        if matches!(operation, "put" | "part") {
            let hash = request.header("x-amz-content-sha256").unwrap_or_default();
            assert_eq!(hash.len(), 64, "{what}: the body is not signed");
        }
    }
}
