//! Tests of reading a backup directory.

use std::fs::{self, File};

use super::*;
use crate::repository::{Manifest, test_records};

fn directory(names: &[&str]) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    for name in names {
        fs::write(directory.path().join(name), name).unwrap();
    }
    directory
}

fn manifest(directory: &Path, stamp: &str, shards: &[u64]) {
    let entry = |id: &u64| manifest::ShardEntry {
        database: "a".into(),
        policy: "autogen".into(),
        shard_id: *id,
        file_name: manifest::shard_file(stamp, *id),
        size: 1024,
        last_modified: 0,
    };
    let meta = manifest::MetaEntry {
        file_name: manifest::meta_file(stamp),
        size: 0,
    };
    let manifest = Manifest {
        meta,
        limited: false,
        files: Some(shards.iter().map(entry).collect()),
    };
    manifest
        .write_to(File::create(directory.join(manifest::manifest_file(stamp))).unwrap())
        .unwrap();
    fs::write(
        directory.join(manifest::meta_file(stamp)),
        manifest::write_meta(b""),
    )
    .unwrap();
    for id in shards {
        fs::write(directory.join(manifest::shard_file(stamp, *id)), "").unwrap();
    }
}

fn files_of(catalog: &Catalog, database: &str, id: u64) -> Vec<String> {
    let shard = test_records::path(database, id);
    let sets = 0..catalog.sets().len();
    sets.filter_map(|at| catalog.file_of(at, &shard))
        .map(|file| file.name)
        .collect()
}

#[test]
fn files_are_found_by_what_their_names_must_be_and_ordered_by_number() {
    let directory = directory(&[
        "meta.00",
        "meta.99",
        "meta.100",
        "meta.101.pending",
        "meta.autogen.00039.00",
        "a.autogen.00010.00",
        "a.autogen.00010.100",
        "a.autogen.00010.11",
        "a.autogen.00010.12.pending",
        "a.autogen.000101.00",
        "a.b.autogen.00010.00",
        "a.autogen.00001.00",
    ]);
    let catalog = Catalog::read(directory.path()).unwrap();
    assert_eq!(catalog.sets()[catalog.latest().unwrap()].id, "meta.100");
    assert_eq!(
        files_of(&catalog, "a", 10),
        [
            "a.autogen.00010.00",
            "a.autogen.00010.11",
            "a.autogen.00010.100"
        ]
    );
    assert_eq!(files_of(&catalog, "a.b", 10), ["a.b.autogen.00010.00"]);
    assert_eq!(files_of(&catalog, "meta", 39), ["meta.autogen.00039.00"]);
    assert_eq!(files_of(&catalog, "a", 100), [""; 0]);
}

#[test]
fn sets_of_both_layouts_stand_in_one_row_and_are_found_by_name() {
    let directory = directory(&["meta.00", "a.autogen.00010.00"]);
    manifest(directory.path(), "20991231T235959Z", &[10, 11]);
    manifest(directory.path(), "20991230T000000Z", &[10]);
    manifest(directory.path(), "20000101T000000Z", &[10]);
    let catalog = Catalog::read(directory.path()).unwrap();
    let ids: Vec<&str> = catalog.sets().iter().map(|set| set.id.as_str()).collect();
    assert_eq!(
        ids,
        [
            "20000101T000000Z",
            "meta.00",
            "20991230T000000Z",
            "20991231T235959Z"
        ]
    );
    let names = [
        "20000101T000000Z.s10.tar.gz",
        "a.autogen.00010.00",
        "20991230T000000Z.s10.tar.gz",
        "20991231T235959Z.s10.tar.gz",
    ];
    assert_eq!(files_of(&catalog, "a", 10), names);
    assert_eq!(files_of(&catalog, "b", 10), [""; 0]);
    for (name, at) in [
        ("latest", Ok(3)),
        ("20991231T235959Z", Ok(3)),
        ("2000", Ok(0)),
        ("meta.00", Ok(1)),
        ("meta", Ok(1)),
    ] {
        assert_eq!(catalog.find(name), at, "{name}");
    }
    for (name, is_set) in [
        ("latest", true),
        ("20991231T2359", true),
        ("20991231T235959Z", true),
        ("backups", false),
        ("20991231", false),
        ("2099123iT235959Z", false),
    ] {
        let hint = no_directory(Path::new(name)).hint.unwrap();
        assert_eq!(hint.contains("names a set"), is_set, "{name}: {hint}");
    }
    assert_eq!(catalog.find("2099").unwrap_err().kind, ErrorKind::Usage);
    assert_eq!(catalog.find("20").unwrap_err().kind, ErrorKind::Usage);
    let none = catalog.find("nosuch").unwrap_err();
    assert_eq!(none.kind, ErrorKind::NoBackup);
    assert_eq!(
        none.hint.unwrap(),
        "there are: 20991231T235959Z, 20991230T000000Z, meta.00, 20000101T000000Z"
    );
}

#[test]
fn a_manifest_that_is_damaged_or_leads_outside_is_refused_by_name() {
    for text in [
        "",
        "{",
        r#"{"meta":{"fileName":"../x.meta","size":1},"files":null}"#,
    ] {
        let directory = directory(&[]);
        fs::write(directory.path().join("20991231T235959Z.manifest"), text).unwrap();
        let error = Catalog::read(directory.path()).unwrap_err();
        assert_eq!(crate::error::kind_of(&error), ErrorKind::Damage, "{text}");
        assert!(
            error.to_string().contains("20991231T235959Z.manifest"),
            "{error}"
        );
    }
}
