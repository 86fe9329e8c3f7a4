//! That `snap restore -online` brings a backup into a real influxd that runs, or says why not and
//! leaves the server alone.

use std::collections::BTreeSet;
use std::fs;
use std::net::TcpListener;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use tempfile::TempDir;

use crate::support::data::{DATABASES, START, delete_some, flush, load_sample, tombstones};
use crate::support::influxd::{Index, Influxd, Shard};
use crate::support::process::{Run, backup, restore_online};
use crate::support::service::{Serving, copy};
use crate::support::time::{DAY, SECOND, moment};
use crate::support::{Shared, folder, tree};

/// Backups of the sample.
struct Sample {
    folder: TempDir,
    /// What the server held when `full` was made, and its shards.
    points: Vec<String>,
    shards: Vec<Shard>,
    /// What it held when the second increment of `chain` was made.
    later: Vec<String>,
    /// What it held when `deleted` was made.
    without_deleted: Vec<String>,
}

static SAMPLE: Shared<Sample> = Shared::new(Sample::make);

impl Sample {
    /// A full set in `full`; the same with two increments in `chain`; one with tombstones in
    /// `deleted`.
    fn make() -> Self {
        let folder = folder();
        let path = |name: &str| folder.path().join(name);
        let server = Influxd::start(&path("source"), Index::Inmem);
        let back_up = |name: &str, flags: &[&str]| {
            backup(&server.host(), flags, &path(name)).run().expect(0);
        };
        load_sample(&server);
        flush(&server);
        let (points, shards) = (server.points(), server.shards());
        let mut since = moment();
        back_up("full", &[]);
        copy(&path("full"), &path("chain"));
        for increment in 1..=2 {
            // A point in a shard there is, one in place of another, and one that makes a shard.
            let time = START + (5000 + increment) * SECOND;
            let more = format!(
                "cpu,host=a idle={increment} {time}\ncpu,host=a idle=-{increment} {START}\nnew v={increment}i "
            );
            server.write(
                "plain",
                "autogen",
                &format!("{more}{}", START + increment * 3000 * DAY),
            );
            let begun = moment();
            back_up("chain", &["-since", &since]);
            since = begun;
        }
        let later = server.points();
        delete_some(&server);
        assert!(!tombstones(&server).is_empty(), "no tombstones");
        back_up("deleted", &[]);
        let without_deleted = server.points();
        Self {
            folder,
            points,
            shards,
            later,
            without_deleted,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The points below a policy when `full` was made, without the names of database and policy.
    fn points_in(&self, db: &str, rp: &str) -> Vec<String> {
        let prefix = format!("{db:?}.{rp:?} ");
        self.points
            .iter()
            .filter_map(|point| point.strip_prefix(&prefix))
            .map(str::to_owned)
            .collect()
    }
}

/// Restores a backup into whatever listens at `host`.
fn restore(host: &str, backup: &Path, flags: &[&str]) -> Run {
    restore_online(host, flags, backup).run()
}

/// What can be seen of a server: databases, shards, points.
fn state(server: &Influxd) -> (Vec<String>, Vec<Shard>, Vec<String>) {
    (server.databases(), server.shards(), server.points())
}

/// Restores a full set, looks at what is refused after that, and restarts the server.
fn full_set(index: Index) {
    let sample = SAMPLE.get();
    let (folder, server) = Influxd::empty(index);
    let full = sample.path("full");
    let empty = state(&server);
    let run = restore(&server.host(), &full, &["-dry-run"]).expect(0);
    assert!(run.stdout.contains("would restore"), "{}", run.stdout);
    assert_eq!(state(&server), empty);

    let run = restore(&server.host(), &full, &[]).expect(0);
    assert!(!run.stderr.contains("warning"), "{}", run.stderr);
    let mut databases = DATABASES.map(str::to_owned);
    databases.sort();
    let restored = state(&server);
    assert!(
        restored.0 == databases && restored.2 == sample.points,
        "the points differ:\n{}",
        server.log()
    );
    assert_eq!(restored.1.len(), sample.shards.len());
    server.expect_no_errors();

    let run = restore(&server.host(), &full, &[]).expect(6);
    assert!(
        run.stderr.contains("already has a database"),
        "{}",
        run.stderr
    );
    restore(
        &server.host(),
        &full,
        &["-database", "db.dot", "-newdb", "plain"],
    )
    .expect(6);
    assert!(
        state(&server) == restored,
        "a refused restore changed the server"
    );
    server.stop();
    let server = Influxd::start(folder.path(), index);
    assert!(
        state(&server) == restored,
        "the server answers otherwise after a restart"
    );
}

#[test]
fn a_full_set_comes_back_in_an_inmem_server() {
    full_set(Index::Inmem);
}

#[test]
fn a_full_set_comes_back_in_a_tsi1_server() {
    full_set(Index::Tsi1);
}

/// Restores parts of a full set beside each other.
fn parts(index: Index) {
    let sample = SAMPLE.get();
    let (_folder, server) = Influxd::empty(index);
    let (host, full) = (server.host(), sample.path("full"));
    // One that is there already and is to stay as it is.
    server.execute("CREATE DATABASE own");
    server.write("own", "", "m v=1 1");
    restore(
        &host,
        &full,
        &["-database", "plain", "-newdb", "new \"plain\""],
    )
    .expect(0);
    assert_eq!(server.policies("new \"plain\"").len(), 4);
    for rp in server.policies("new \"plain\"") {
        assert!(
            server.points_in("new \"plain\"", &rp) == sample.points_in("plain", &rp),
            "{rp}: the points differ"
        );
    }
    let flags = [
        "-database",
        "plain",
        "-retention",
        "two weeks",
        "-newdb",
        "weeks",
        "-newrp",
        "días",
    ];
    restore(&host, &full, &flags).expect(0);
    assert_eq!(server.policies("weeks"), ["días"]);
    assert!(
        server.points_in("weeks", "días") == sample.points_in("plain", "two weeks"),
        "-newrp: the points differ"
    );
    restore(
        &host,
        &full,
        &["-database", "plain", "-retention", "p.q", "-newdb", "pq"],
    )
    .expect(0);
    assert_eq!(server.policies("pq"), ["p.q"]);
    assert_eq!(
        server.points_in("pq", "p.q"),
        sample.points_in("plain", "p.q")
    );
    restore(&host, &full, &["-database", "a'b \"c"]).expect(0);
    assert_eq!(
        server.points_in("a'b \"c", "autogen"),
        sample.points_in("a'b \"c", "autogen")
    );

    // One shard of an hour, of which the sample has one point each; without a name, the database is
    // that of the shard.
    let hours: Vec<&Shard> = sample
        .shards
        .iter()
        .filter(|shard| shard.1 == "p.q")
        .collect();
    let (id, start): (u64, Timestamp) = (hours[3].2, hours[3].3.parse().expect("a time"));
    restore(
        &host,
        &full,
        &[
            "-database",
            "plain",
            "-shard",
            &id.to_string(),
            "-newdb",
            "one",
        ],
    )
    .expect(0);
    let expected: Vec<String> = sample
        .points_in("plain", "p.q")
        .into_iter()
        .filter(|point| point.contains(&start.as_nanosecond().to_string()))
        .collect();
    assert!(
        expected.len() == 1 && server.points_in("one", "p.q") == expected,
        "{expected:?}"
    );
    assert_eq!(
        server
            .shards()
            .iter()
            .filter(|shard| shard.0 == "one")
            .count(),
        1
    );
    let mut databases = server.databases();
    restore(&host, &full, &["-shard", &id.to_string()]).expect(0);
    databases.push("plain".into());
    databases.sort();
    assert_eq!(
        (server.databases(), server.points_of("plain").len()),
        (databases, 1)
    );
    assert_eq!(
        server.points_of("own"),
        [r#""own"."autogen" "m"{} 1 "v"=1"#]
    );
    server.expect_no_errors();
}

#[test]
fn databases_policies_and_shards_come_back_under_other_names_in_an_inmem_server() {
    parts(Index::Inmem);
}

#[test]
fn databases_policies_and_shards_come_back_under_other_names_in_a_tsi1_server() {
    parts(Index::Tsi1);
}

/// Restores a full set and its two increments.
fn chain(index: Index) {
    let sample = SAMPLE.get();
    let chain = sample.path("chain");
    let sets: BTreeSet<String> = tree::names(&chain)
        .into_iter()
        .filter(|name| name.starts_with("meta."))
        .collect();
    assert_eq!(sets.len(), 3);
    assert_ne!(sample.later, sample.points);
    let (_folder, server) = Influxd::empty(index);
    restore(&server.host(), &chain, &[]).expect(0);
    server.expect_points(&sample.later);
    server.expect_no_errors();
}

#[test]
fn a_full_set_with_two_increments_comes_back_in_an_inmem_server() {
    chain(Index::Inmem);
}

#[test]
fn a_full_set_with_two_increments_comes_back_in_a_tsi1_server() {
    chain(Index::Tsi1);
}

#[test]
fn a_set_with_deletes_comes_back_without_what_was_deleted() {
    let sample = SAMPLE.get();
    let (_folder, server) = Influxd::empty(Index::Inmem);
    let run = restore(&server.host(), &sample.path("deleted"), &[]).expect(0);
    assert!(!run.stderr.contains("warning"), "{}", run.stderr);
    assert!(sample.without_deleted.len() < sample.later.len());
    server.expect_points(&sample.without_deleted);
    server.expect_no_errors();
}

#[test]
fn a_restore_that_cannot_be_is_refused_and_leaves_the_server_alone() {
    let sample = SAMPLE.get();
    let (folder, server) = Influxd::empty(Index::Inmem);
    let (host, full) = (server.host(), sample.path("full"));
    let before = (state(&server), tree::files(&server.meta_dir()));

    let run = restore(&host, &full, &["-database", "nobody"]).expect(1);
    assert!(run.stderr.contains("nobody"), "{}", run.stderr);
    restore(&host, &full, &["-newdb", "new"]).expect(2);
    restore(&host, &folder.path().join("nowhere"), &[]).expect(10);

    // The last shard of the set, one bit of it: all is checked before anything is sent.
    let damaged = folder.path().join("damaged");
    copy(&full, &damaged);
    let shards = tree::names(&damaged)
        .into_iter()
        .filter(|name| !name.starts_with("meta.") && !name.starts_with('.'));
    let last = damaged.join(shards.max().expect("a shard"));
    let mut bytes = fs::read(&last).expect("a shard");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    fs::write(&last, &bytes).expect("writing a shard");
    restore(&host, &damaged, &[]).expect(4);
    fs::write(&last, &bytes[..middle]).expect("writing a shard");
    restore(&host, &damaged, &[]).expect(4);
    assert!(
        (state(&server), tree::files(&server.meta_dir())) == before,
        "a refused restore changed the server"
    );

    // A port on which nobody listens.
    let free = TcpListener::bind(("127.0.0.1", 0))
        .and_then(|listener| listener.local_addr())
        .expect("a port");
    restore(&free.to_string(), &full, &["-retries", "0"]).expect(5);
}

#[test]
fn a_server_of_the_old_dialect_and_one_that_takes_nothing_are_refused() {
    let sample = SAMPLE.get();
    let folder = folder();
    Influxd::start(folder.path(), Index::Inmem).stop();
    let (host, full) = (|serving: &Serving| serving.host(), sample.path("full"));
    let trees = || {
        (
            tree::files(&folder.path().join("meta")),
            tree::files(&folder.path().join("data")),
        )
    };
    let before = trees();
    let old = Serving::start(folder.path(), &["-dialect", "1.0", "-writable"]);
    let run = restore(&host(&old), &full, &[]).expect(6);
    assert!(run.stderr.contains("1.0 to 1.4"), "{}", run.stderr);
    old.stop();
    let locked = Serving::start(folder.path(), &[]);
    let run = restore(&host(&locked), &full, &["-retries", "1"]);
    assert!(
        run.code.is_some_and(|code| code != 0) && run.stderr.contains("writable"),
        "{:?} {}",
        run.code,
        run.stderr
    );
    locked.stop();
    assert!(
        trees() == before,
        "a refused restore changed the directories"
    );
}
