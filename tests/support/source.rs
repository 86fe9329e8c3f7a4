//! A server with the sample, backups of it, and a look at what a restore made of them.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use influx_snap::repository::{Catalog, SetRecord};
use tempfile::TempDir;

use super::data::{delete_some, load_sample, tombstones};
use super::influxd::{Index, Influxd, Shard};
use super::process::{backup, restore_into};
use super::{folder, tree};

/// How many shards `delete_some` leaves without a point; the server removes their files when it
/// comes to compact them.
pub const EMPTIED: usize = 3;

/// A server with the sample, and a folder for whatever a test makes beside it.
pub struct Source {
    /// Where the server has its directories, in `source`.
    pub folder: TempDir,
    /// The server.
    pub server: Influxd,
    /// What it answers.
    pub points: Vec<String>,
}

impl Source {
    /// One of which some was deleted.
    pub fn new(index: Index) -> Self {
        let source = Self::loaded(index);
        delete_some(&source.server);
        assert!(!tombstones(&source.server).is_empty(), "no tombstones");
        let points = source.server.points();
        Self { points, ..source }
    }

    /// One of which nothing is deleted yet, and the points not looked at.
    pub fn loaded(index: Index) -> Self {
        let folder = folder();
        let server = Influxd::start(&folder.path().join("source"), index);
        load_sample(&server);
        Self {
            folder,
            server,
            points: Vec::new(),
        }
    }

    /// What has that name in the folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The points of one database.
    pub fn points_of(&self, db: &str) -> Vec<String> {
        let prefix = format!("{db:?}.");
        self.points
            .iter()
            .filter(|point| point.starts_with(&prefix))
            .cloned()
            .collect()
    }

    /// The shards of one retention policy, by id.
    pub fn shards_in(&self, db: &str, rp: &str) -> Vec<Shard> {
        self.server
            .shards()
            .into_iter()
            .filter(|shard| shard.0 == db && shard.1 == rp)
            .collect()
    }
}

/// Backs a server up into `dir`.
pub fn back_up(server: &Influxd, dir: &Path, flags: &[&str]) {
    backup(&server.host(), flags, dir).run().expect(0);
}

/// Restores `dir` into the directories of an influxd below `target`.
pub fn restore(dir: &Path, target: &Path, flags: &[&str]) {
    restore_into(target, flags, dir).run().expect(0);
}

/// What makes shards open with this index in a target that holds none yet.
pub fn index_flags(index: Index) -> &'static [&'static str] {
    match index {
        Index::Inmem => &[],
        Index::Tsi1 => &["-index", "tsi1"],
    }
}

/// The sets in a backup directory, oldest first.
pub fn sets(backup: &Path) -> Vec<SetRecord> {
    Catalog::read(backup)
        .expect("a backup directory")
        .records()
        .cloned()
        .collect()
}

/// The shard directories below a data directory, `db/rp/id`.
pub fn shard_dirs(data: &Path) -> BTreeSet<String> {
    let sub = |dir: &Path| -> Vec<String> {
        tree::names(dir)
            .into_iter()
            .filter(|name| name != "_series" && dir.join(name).is_dir())
            .collect()
    };
    let mut found = BTreeSet::new();
    for db in sub(data) {
        for rp in sub(&data.join(&db)) {
            found.extend(
                sub(&data.join(&db).join(&rp))
                    .iter()
                    .map(|id| format!("{db}/{rp}/{id}")),
            );
        }
    }
    found
}

/// The same of shards as they are listed.
pub fn paths_of(shards: &[Shard]) -> BTreeSet<String> {
    shards
        .iter()
        .map(|(db, rp, id, ..)| format!("{db}/{rp}/{id}"))
        .collect()
}

/// Panics unless both lists are equal, with the first points that are in one of them alone.
#[track_caller]
pub fn assert_same(found: &[String], expected: &[String]) {
    let (in_found, in_expected): (BTreeSet<_>, BTreeSet<_>) =
        (found.iter().collect(), expected.iter().collect());
    let lost: Vec<_> = in_expected.difference(&in_found).take(5).collect();
    let gained: Vec<_> = in_found.difference(&in_expected).take(5).collect();
    assert!(
        found == expected,
        "{} points instead of {}; lost {lost:#?}, gained {gained:#?}",
        found.len(),
        expected.len()
    );
}

/// Panics where something of a restored server's shards is not as the index demands.
pub fn assert_opened_as(index: Index, server: &Influxd) {
    for shard in shard_dirs(&server.data_dir()) {
        let directory = server.data_dir().join(&shard).join("index");
        let partitions = if directory.is_dir() {
            tree::names(&directory).len()
        } else {
            0
        };
        assert_eq!(
            partitions,
            if index == Index::Tsi1 { 8 } else { 0 },
            "index partitions of shard {shard}"
        );
    }
    let log = server.log();
    assert!(
        !log.contains("lvl=error") && !log.contains("Mixed shard index types"),
        "{log}"
    );
}
