//! That databases with a large metastore come back into a running server: a 1.6 refuses what does
//! not arrive at once.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use influx_snap::metastore::{Data, DatabaseInfo, RetentionPolicyInfo, ShardGroupInfo, ShardInfo};
use prost::Message;
use tempfile::TempDir;

use crate::support::data::{START, flush, load_hours};
use crate::support::folder;
use crate::support::influxd::{Index, Influxd};
use crate::support::process::{Run, backup_of, restore_online};
use crate::support::time::HOUR;

/// The directories of a stopped server with a database `d` of four shards, a backup of it, and an
/// empty server.
struct LargeMetastore {
    folder: TempDir,
    points: Vec<String>,
    target: Influxd,
}

impl LargeMetastore {
    fn new(index: Index) -> Self {
        let folder = folder();
        let server = Influxd::start(&folder.path().join("source"), index);
        load_hours(&server, 4);
        flush(&server);
        let points = server.points();
        server.stop();
        let target = Influxd::start(&folder.path().join("target"), index);
        Self {
            folder,
            points,
            target,
        }
    }

    /// Changes the metastore of the stopped server; its bytes then.
    fn change(&self, change: impl FnOnce(&mut Data)) -> usize {
        let file = self.folder.path().join("source/meta/meta.db");
        let mut data =
            Data::decode(&fs::read(&file).expect("a metastore")[..]).expect("a metastore");
        change(&mut data);
        let bytes = data.encode_to_vec();
        fs::write(file, &bytes).expect("writing a metastore");
        bytes.len()
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn back_up(&self, flags: &[&str], name: &str) {
        backup_of(&self.path("source"), flags, &self.path(name))
            .run()
            .expect(0);
    }

    fn restore(&self, flags: &[&str], name: &str) -> Run {
        let run = restore_online(&self.target.host(), flags, &self.path(name))
            .run()
            .expect(0);
        assert!(run.wall < Duration::from_secs(20), "it took {:?}", run.wall);
        run
    }
}

/// A policy without a point in it.
fn policy(number: usize) -> RetentionPolicyInfo {
    // As long as a directory's name can be.
    RetentionPolicyInfo {
        name: format!("{number:0255}"),
        shard_group_duration: HOUR,
        replica_n: 1,
        ..RetentionPolicyInfo::default()
    }
}

/// Shard groups in a row, of ids and times that no other has.
fn groups(ids: std::ops::Range<u64>) -> Vec<ShardGroupInfo> {
    let group = |id: u64| {
        let start_time = START + i64::try_from(id).expect("a small number") * HOUR;
        let shards = vec![ShardInfo {
            id,
            ..ShardInfo::default()
        }];
        ShardGroupInfo {
            id,
            start_time,
            end_time: start_time + HOUR,
            shards,
            ..ShardGroupInfo::default()
        }
    };
    ids.map(group).collect()
}

#[test]
fn one_database_of_a_metastore_of_2_mb_comes_back() {
    let fixture = LargeMetastore::new(Index::Inmem);
    let size = fixture.change(|data| {
        for number in 0..100_u64 {
            let mut policies: Vec<_> = (0..70).map(policy).collect();
            policies[0].shard_groups = groups(1000 + number * 50..1050 + number * 50);
            let default_retention_policy = policies[0].name.clone();
            let name = format!("db{number}");
            data.databases.push(DatabaseInfo {
                name,
                default_retention_policy,
                retention_policies: policies,
                continuous_queries: Vec::new(),
            });
        }
        (data.max_shard_id, data.max_shard_group_id) = (10_000, 10_000);
    });
    assert!(size > 2_000_000, "{size} bytes");
    for (layout, name) in [(&["-portable"][..], "portable"), (&[], "legacy")] {
        fixture.back_up(&[layout, &["-database", "d"]].concat(), name);
        fixture.restore(&["-database", "d"], name);
        assert!(
            fixture.target.points() == fixture.points,
            "{name}: the points differ\n{}",
            fixture.target.log()
        );
        assert_eq!(fixture.target.shards().len(), 4);
        fixture.target.execute("DROP DATABASE d");
    }
}

#[test]
fn a_database_with_as_much_metastore_as_5000_shard_groups_take_comes_back() {
    // A server would take minutes to make so many shards, so names take the place of most. 1.6
    // refuses the least of these where nothing is done about it.
    for (count, bytes, index) in [(560, 150_000, Index::Inmem), (2400, 640_000, Index::Tsi1)] {
        let fixture = LargeMetastore::new(index);
        let before = fixture.change(|_| ());
        let after = fixture.change(|data| {
            data.databases[0]
                .retention_policies
                .extend((0..count).map(policy))
        });
        assert!(after - before > bytes, "{} bytes", after - before);
        fixture.back_up(&["-portable"], "backup");
        fixture.restore(&[], "backup");
        assert_eq!(fixture.target.policies("d").len(), count + 1);
        assert!(
            fixture.target.points_in("d", "autogen").len() == fixture.points.len(),
            "the points differ"
        );
    }
}

#[test]
fn shard_groups_without_a_file_are_no_burden() {
    let fixture = LargeMetastore::new(Index::Inmem);
    fixture.change(|data| {
        data.databases[0].retention_policies[0]
            .shard_groups
            .extend(groups(1000..6000));
        (data.max_shard_id, data.max_shard_group_id) = (10_000, 10_000);
    });
    fixture.back_up(&["-portable"], "backup");
    fixture.restore(&[], "backup");
    fixture.target.expect_points(&fixture.points);
    assert_eq!(fixture.target.shards().len(), 4);
}
