//! Tests of what a set does not bring back: of its record, its manifest and its metastore, which
//! need not agree.

use std::fs::{self, File};
use std::path::Path;

use prost::Message;

use super::*;
use crate::metastore::{DatabaseInfo, RetentionPolicyInfo, ShardGroupInfo, ShardInfo};
use crate::repository::manifest::{self, Manifest, MetaEntry};
use crate::repository::{Catalog, FileDigest, FileRecord, test_records};

const FIRST: &str = "20261120T080000Z";
const SECOND: &str = "20261120T090000Z";
const THIRD: &str = "20261120T100000Z";

/// A metastore of that server that names these shards of databases.
fn metastore(server: u64, shards: &[(&str, u64)]) -> Data {
    let database = |(name, id): &(&str, u64)| DatabaseInfo {
        name: (*name).into(),
        retention_policies: vec![RetentionPolicyInfo {
            name: "autogen".into(),
            shard_groups: vec![ShardGroupInfo {
                shards: vec![ShardInfo {
                    id: *id,
                    ..ShardInfo::default()
                }],
                ..ShardGroupInfo::default()
            }],
            ..RetentionPolicyInfo::default()
        }],
        ..DatabaseInfo::default()
    };
    Data {
        cluster_id: server,
        databases: shards.iter().map(database).collect(),
        ..Data::default()
    }
}

/// A portable set of influxd's that lists these files of shards of `db`.
fn listed(directory: &Path, stamp: &str, data: &Data, entries: &[(u64, String)]) {
    limited(directory, stamp, data, entries, false);
}

fn limited(directory: &Path, stamp: &str, data: &Data, entries: &[(u64, String)], limited: bool) {
    let meta = data.encode_to_vec();
    let entry = |(shard_id, file_name): &(u64, String)| {
        fs::write(directory.join(file_name), "x").unwrap();
        ShardEntry {
            database: "db".into(),
            policy: "autogen".into(),
            shard_id: *shard_id,
            file_name: file_name.clone(),
            size: 1,
            last_modified: 0,
        }
    };
    let manifest = Manifest {
        meta: MetaEntry {
            file_name: manifest::meta_file(stamp),
            size: meta.len() as u64,
        },
        limited,
        files: Some(entries.iter().map(entry).collect()),
    };
    let file = File::create(directory.join(manifest::manifest_file(stamp))).unwrap();
    manifest.write_to(file).unwrap();
    let meta = manifest::write_meta(&meta);
    fs::write(directory.join(manifest::meta_file(stamp)), meta).unwrap();
}

fn file_of(stamp: &str, id: u64) -> (u64, String) {
    (id, manifest::shard_file(stamp, id))
}

fn path(id: u64) -> ShardPath {
    test_records::path("db", id)
}

/// What is missing of the set at `at`, as people read it.
fn missing(directory: &Path, at: usize, data: Option<&Data>) -> Vec<String> {
    let catalog = Catalog::read(directory).unwrap();
    let mut chains = Chains::of(&catalog);
    let missing = chains.missing(at, data);
    assert_eq!(chains.is_whole(at, data), missing.is_empty());
    missing.iter().map(ToString::to_string).collect()
}

/// The files of strays that a restore of the set at `at` with these shards is told of.
fn strays_beside(directory: &Path, at: usize, shards: &[u64]) -> Vec<String> {
    let catalog = Catalog::read(directory).unwrap();
    let shards: Vec<ShardPath> = shards.iter().map(|id| path(*id)).collect();
    let context = ChainContext::alone(at);
    let missing = Chains::of(&catalog).missing_beside_shards(context, shards.iter());
    let file = |missing: &Missing| missing.gap.file().unwrap().1.to_owned();
    missing.iter().map(file).collect()
}

fn folder() -> tempfile::TempDir {
    tempfile::tempdir().unwrap()
}

#[test]
fn entries_of_a_manifest_that_fit_no_shard_are_strays_and_the_others_are_not() {
    let directory = folder();
    let at = directory.path();
    let data = metastore(1, &[("db", 7), ("db", 8)]);
    let (seven, nine) = (file_of(FIRST, 7), file_of(FIRST, 9));
    let under_another_name = (8, manifest::shard_file(FIRST, 3));
    let entries = [seven.clone(), seven, nine, under_another_name];
    listed(at, FIRST, &data, &entries);
    let strays = [7, 9, 3].map(|id| manifest::shard_file(FIRST, id));
    assert_eq!(strays_beside(at, 0, &[7]), strays);
    let missing = missing(at, 0, Some(&data));
    assert_eq!(missing.len(), 3, "{missing:?}");
    for (told, id) in missing.iter().zip([7, 9, 8]) {
        let listed = format!("as shard db/autogen/{id}, which does not fit");
        assert!(told.contains(&listed), "{told}");
    }
}

#[test]
fn a_manifest_that_says_that_it_lacks_something_explains_what_it_does_not_list() {
    let directory = folder();
    let at = directory.path();
    let data = metastore(1, &[("db", 7), ("db", 8), ("_internal", 9)]);
    limited(at, FIRST, &data, &[file_of(FIRST, 7)], true);
    let gap = Gap::Limited { set: FIRST.into() };
    let expected = [gap.to_string(), format!("shard db/autogen/8: {gap}")];
    assert_eq!(missing(at, 0, Some(&data)), expected);
}

#[test]
fn a_file_beside_a_manifest_that_does_not_list_it_is_told_of() {
    let directory = folder();
    let at = directory.path();
    let data = metastore(1, &[("db", 7), ("db", 8), ("db", 9)]);
    listed(at, FIRST, &data, &[file_of(FIRST, 7)]);
    assert_eq!(missing(at, 0, Some(&data)), [""; 0]);
    let (_, file) = file_of(FIRST, 8);
    fs::write(at.join(&file), "x").unwrap();
    let set = FIRST.into();
    let gap = Gap::NotListed { set, file };
    assert_eq!(
        missing(at, 0, Some(&data)),
        [format!("shard db/autogen/8: {gap}")]
    );
    // Without its metastore, that is what is missing.
    let meta = manifest::meta_file(FIRST);
    fs::remove_file(at.join(&meta)).unwrap();
    let gone = format!("the file {meta} of set {FIRST} is gone");
    assert_eq!(missing(at, 0, None), [gone]);
}

/// A set that recorded shards, of which only the metastore's file is there.
fn recorded(directory: &Path, stamp: &str, state: SetState, shards: &[(u64, ShardState)]) {
    let file = |name: &str| FileRecord {
        name: name.into(),
        size: 1,
        modified: None,
        digest: FileDigest::Blake3([0; 32].into()),
        blocks: None,
    };
    let shard = |(id, state): &(u64, ShardState)| ShardRecord {
        state: *state,
        file: (*state == ShardState::Stored).then(|| file(&format!("db.autogen.{id:05}.00"))),
        ..test_records::shard(&path(*id))
    };
    fs::write(directory.join("meta.00"), "x").unwrap();
    let record = SetRecord {
        state,
        cluster_id: Some(1),
        meta: file("meta.00"),
        ..test_records::set(
            stamp,
            crate::time::parse_stamp(stamp).unwrap(),
            shards.iter().map(shard).collect(),
        )
    };
    test_records::put(directory, &record);
}

#[test]
fn a_record_and_its_metastore_must_name_the_same_shards() {
    use ShardState::{Empty, Stored};
    let directory = folder();
    let at = directory.path();
    recorded(
        at,
        FIRST,
        SetState::Complete,
        &[(7, Stored), (8, Empty), (10, Stored)],
    );
    let data = metastore(1, &[("db", 10), ("db", 11)]);
    let set = || FIRST.into();
    let gone = Gap::FileGone {
        set: set(),
        file: "db.autogen.00010.00".into(),
        absence: "is gone",
    };
    // Shard 7, which is not named, is not told of twice, though its file is gone too.
    let expected = [
        format!("shard db/autogen/7: {}", Gap::NotNamed { set: set() }),
        format!("shard db/autogen/10: {gone}"),
        format!("shard db/autogen/11: {}", Gap::NotRecorded { set: set() }),
    ];
    assert_eq!(missing(at, 0, Some(&data)), expected);
}

#[test]
fn a_partial_set_is_told_of_where_no_shard_explains_it() {
    use ShardState::{Empty, Failed};
    let directory = folder();
    let at = directory.path();
    recorded(at, FIRST, SetState::Partial, &[(7, Empty)]);
    let partial = Gap::Partial { set: FIRST.into() };
    assert_eq!(missing(at, 0, None), [partial.to_string()]);
    recorded(at, FIRST, SetState::Partial, &[(7, Empty), (8, Failed)]);
    let told = missing(at, 0, None);
    assert_eq!(told.len(), 1, "{told:?}");
    assert!(
        told[0].starts_with("shard db/autogen/8: it could not be fetched"),
        "{told:?}"
    );
    recorded(at, FIRST, SetState::Complete, &[(7, Empty)]);
    assert_eq!(missing(at, 0, None), [""; 0]);
}

#[test]
fn strays_of_older_sets_count_where_a_chain_may_need_what_they_stand_for() {
    let data = metastore(1, &[("db", 7), ("db", 8)]);
    let stray = manifest::shard_file(FIRST, 9);
    let with_stray = |directory: &Path, server| {
        let data = metastore(server, &[("db", 7), ("db", 8)]);
        listed(
            directory,
            FIRST,
            &data,
            &[file_of(FIRST, 7), file_of(FIRST, 9)],
        );
    };
    // The newest files are influxd's, and may be increments: of shard 7 in the last set, of shard 8
    // in the one before it.
    let directory = folder();
    with_stray(directory.path(), 1);
    listed(directory.path(), SECOND, &data, &[file_of(SECOND, 8)]);
    listed(directory.path(), THIRD, &data, &[file_of(THIRD, 7)]);
    for shards in [&[7][..], &[8], &[7, 8]] {
        assert_eq!(
            strays_beside(directory.path(), 2, shards),
            [&*stray],
            "{shards:?}"
        );
    }
    assert_eq!(strays_beside(directory.path(), 2, &[]), [""; 0]);
    // The own strays are told of once.
    assert_eq!(strays_beside(directory.path(), 0, &[7]), [&*stray]);

    // A set that recorded all of the shard needs nothing older.
    recorded(
        directory.path(),
        THIRD,
        SetState::Complete,
        &[(7, ShardState::Empty)],
    );
    fs::remove_file(directory.path().join(manifest::manifest_file(THIRD))).unwrap();
    let catalog = Catalog::read(directory.path()).unwrap();
    let newest = catalog
        .sets()
        .iter()
        .position(|set| set.id == THIRD)
        .unwrap();
    assert_eq!(strays_beside(directory.path(), newest, &[7]), [""; 0]);

    // Those of another server are of other shards.
    let directory = folder();
    with_stray(directory.path(), 2);
    listed(directory.path(), SECOND, &data, &[file_of(SECOND, 7)]);
    assert_eq!(strays_beside(directory.path(), 1, &[7]), [""; 0]);
}
