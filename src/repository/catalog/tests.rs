//! Tests of reading a backup directory.

use std::fs::{self, File};
use std::path::Path;
use std::time::{Duration, SystemTime};

use jiff::Timestamp;
use prost::Message;

use super::*;
use crate::metastore::Data;
use crate::repository::record::{FileRecord, ShardRecord};
use crate::repository::{FileDigest, Manifest, MetaFile, hidden, test_records};

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
    let data = Data::default().encode_to_vec();
    let meta = manifest::MetaEntry {
        file_name: manifest::meta_file(stamp),
        size: data.len() as u64,
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
        manifest::write_meta(&data),
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

/// A legacy set with that number and one shard of `a`, begun at that second of 2020; its files are
/// not made.
fn recorded(number: u32, second: u32) -> SetRecord {
    let started = format!("2020-01-01T00:00:{second:02}Z");
    let file = |name| FileRecord {
        name,
        size: 1,
        modified: None,
        digest: FileDigest::Blake3([0; 32].into()),
        blocks: None,
    };
    let path = test_records::path("a", 10);
    let shard = ShardRecord {
        file: Some(file(names::shard_file(&path, number))),
        ..test_records::shard(&path)
    };
    let id = format!("20200101T0000{second:02}Z");
    SetRecord {
        number,
        meta: file(names::meta_file(number)),
        ..test_records::set(&id, started.parse().unwrap(), vec![shard])
    }
}

#[test]
fn what_stands_in_the_place_of_a_file_is_told_of_the_set_of_its_number_and_of_the_newest() {
    let directory = directory(&["meta.00", "meta.02"]);
    let at = |name: &str| directory.path().join(name);
    for name in ["a.autogen.00010.00", "a.autogen.00012.01"] {
        fs::create_dir(at(name)).unwrap();
    }
    let catalog = Catalog::read(directory.path()).unwrap();
    let what = "is not a regular file";
    for (id, set, expected) in [
        (10, 0, Some("a.autogen.00010.00")),
        (10, 1, Some("a.autogen.00010.00")),
        (11, 0, None),
        (11, 1, None),
        (12, 0, None),
        (12, 1, Some("a.autogen.00012.01")),
    ] {
        let found = catalog.in_place_of(&test_records::path("a", id), set);
        let expected = expected.map(|name| (name, what));
        assert_eq!(found, expected, "shard {id} in set {set}");
    }
    assert_eq!(catalog.absence("a.autogen.00010.00"), what);
    assert_eq!(catalog.absence("meta.01"), "is gone");
    assert!(catalog.is_gone("meta.01") && !catalog.is_gone("meta.00"));
    assert_eq!(catalog.place(), directory.path().display().to_string());
    let place = at("meta.00").display().to_string();
    assert_eq!(catalog.place_of("meta.00"), place);
}

#[test]
fn a_directory_with_records_and_none_of_their_files_was_emptied() {
    let directory = directory(&[]);
    let emptied = || {
        let (catalog, _) = Catalog::read_past_damage(directory.path()).unwrap();
        catalog
            .emptied()
            .map(|error| (error.to_string(), error.hint.unwrap()))
    };
    assert_eq!(emptied(), None);
    test_records::put(directory.path(), &recorded(0, 0));
    let (error, hint) = emptied().unwrap();
    let one = "has the record of set 20200101T000000Z, but none of the files";
    assert!(error.ends_with(one), "{error}");
    assert!(
        hint.contains("snap forget -lost") && !hint.contains("snap keep"),
        "{hint}"
    );
    test_records::put(directory.path(), &recorded(1, 1));
    fs::write(hidden(directory.path()).join("20200101T000001Z.keep"), "").unwrap();
    let (error, hint) = emptied().unwrap();
    assert!(error.contains("the records of 2 sets"), "{error}");
    assert!(hint.contains("snap keep -release"), "{hint}");
    // What is damaged may tell of files that are there.
    let damaged = hidden(directory.path()).join("20200101T000002Z.json");
    fs::write(&damaged, "{").unwrap();
    assert_eq!(emptied(), None);
    fs::remove_file(&damaged).unwrap();
    fs::write(directory.path().join("meta.01"), "x").unwrap();
    assert_eq!(emptied(), None);
}

#[test]
fn a_damaged_record_is_named_and_stands_in_the_way_of_the_sets_it_may_mean() {
    let directory = directory(&["meta.00"]);
    test_records::put(directory.path(), &recorded(1, 1));
    fs::write(hidden(directory.path()).join("20200202T000000Z.json"), "{").unwrap();
    let (catalog, unreadable) = Catalog::read_past_damage(directory.path()).unwrap();
    let name = ".snap/20200202T000000Z.json";
    assert_eq!(catalog.damaged(), [name]);
    assert_eq!(unreadable[0].file, name);
    assert_eq!(unreadable[0].set(), "20200202T000000Z");
    for (name, kind) in [
        ("20200202", ErrorKind::Damage),
        ("2020", ErrorKind::Damage),
        ("2021", ErrorKind::NoBackup),
        ("", ErrorKind::NoBackup),
    ] {
        assert_eq!(catalog.find(name).unwrap_err().kind, kind, "'{name}'");
    }
    assert_eq!(catalog.find("20200101"), Ok(1));
}

#[test]
fn a_directory_without_a_set_says_what_stands_in_the_place_of_one() {
    let nothing = |folder: Option<&str>| {
        let directory = directory(&["a.autogen.00010.00"]);
        if let Some(folder) = folder {
            fs::create_dir(directory.path().join(folder)).unwrap();
        }
        let catalog = Catalog::read(directory.path()).unwrap();
        let error = catalog.find("2020").unwrap_err();
        assert_eq!(error, catalog.latest().unwrap_err());
        error.to_string()
    };
    let none = "holds no backup: there is no meta.NN and no manifest";
    for (folder, end) in [
        (None, none),
        (Some("a.autogen.00010.01"), none),
        (
            Some("meta.00"),
            "holds no backup: meta.00 is not a regular file",
        ),
        (
            Some("20200101T000000Z.manifest"),
            "holds no backup: 20200101T000000Z.manifest is not a regular file",
        ),
    ] {
        let error = nothing(folder);
        assert!(error.ends_with(end), "{error}");
    }
}

#[test]
fn a_file_is_of_the_set_with_the_record_where_stray_files_have_the_same_number() {
    let directory = directory(&["meta.03", "a.autogen.00010.03", "a.autogen.00011.03"]);
    let record = recorded(3, 0);
    test_records::put(directory.path(), &record);
    let catalog = Catalog::read(directory.path()).unwrap();
    let place = |loose: bool| {
        let mut sets = catalog.sets().iter();
        sets.position(|set| set.is_loose() == loose).unwrap()
    };
    for (id, of_record, of_stray) in [(10, true, false), (11, false, true), (12, false, false)] {
        let shard = test_records::path("a", id);
        assert_eq!(
            catalog.file_of(place(false), &shard).is_some(),
            of_record,
            "{id}"
        );
        assert_eq!(
            catalog.file_of(place(true), &shard).is_some(),
            of_stray,
            "{id}"
        );
    }
}

#[test]
fn a_loose_set_has_the_time_and_the_name_of_its_metastore() {
    let directory = directory(&["a.autogen.00010.00", "meta.00", "b.autogen.00011.00"]);
    let old = SystemTime::UNIX_EPOCH + Duration::from_secs(1_600_000_000);
    let meta = File::options()
        .write(true)
        .open(directory.path().join("meta.00"))
        .unwrap();
    meta.set_modified(old).unwrap();
    let catalog = Catalog::read(directory.path()).unwrap();
    let [set] = catalog.sets() else {
        panic!("{:?}", catalog.sets());
    };
    assert_eq!(set.started, Timestamp::try_from(old).unwrap());
    let meta = MetaFile {
        name: "meta.00".into(),
        size: 7,
    };
    assert_eq!(set.meta, Some(meta));
}

#[test]
fn a_manifest_stands_behind_a_record_of_its_second_and_must_have_the_size_of_its_metastore() {
    let directory = directory(&[]);
    test_records::put(directory.path(), &recorded(0, 7));
    manifest(directory.path(), "20200101T000007Z", &[10]);
    let read = || {
        let catalog = Catalog::read(directory.path()).unwrap();
        let recorded: Vec<bool> = catalog.sets().iter().map(Set::is_recorded).collect();
        assert_eq!(recorded, [true, false]);
        catalog
            .read_meta(&catalog.sets()[1])
            .map(|(blob, _)| blob.meta)
    };
    let data = Data::default().encode_to_vec();
    assert_eq!(read().unwrap(), data);
    let meta = directory.path().join("20200101T000007Z.meta");
    fs::write(meta, manifest::write_meta(&[8, 0])).unwrap();
    let error = read().unwrap_err();
    assert_eq!(kind_of(&error), ErrorKind::Damage);
    let sizes = format!("holds 2 bytes, and {} by the manifest", data.len());
    assert!(error.to_string().contains(&sizes), "{error}");
}

#[test]
fn only_what_was_there_when_the_directory_was_read_has_vanished() {
    let directory = directory(&["meta.00", "meta.01"]);
    let catalog = Catalog::read(directory.path()).unwrap();
    assert!(catalog.open_file("meta.02").is_err() && !catalog.has_vanished());
    fs::remove_file(directory.path().join("meta.00")).unwrap();
    fs::create_dir(directory.path().join("meta.00")).unwrap();
    assert!(catalog.open_file("meta.00").is_err() && !catalog.has_vanished());
    assert_eq!(catalog.read_file("meta.01").unwrap(), b"meta.01");
    fs::remove_file(directory.path().join("meta.01")).unwrap();
    assert!(catalog.read_file("meta.01").is_err() && catalog.has_vanished());
}

#[test]
fn what_an_unfinished_commit_named_is_no_file_of_a_backup_but_where_a_record_or_a_size_says_so() {
    let directory = directory(&[]);
    let done = recorded(0, 0);
    let file_of = |id| FileRecord {
        name: names::shard_file(&test_records::path("a", id), 0),
        ..done.meta.clone()
    };
    let shard = |id| ShardRecord {
        file: Some(file_of(id)),
        ..test_records::shard(&test_records::path("a", id))
    };
    let mut unfinished = recorded(0, 1);
    unfinished.shards.extend([shard(11), shard(12)]);
    for file in unfinished.files() {
        fs::write(directory.path().join(&file.name), "x").unwrap();
    }
    // One that is larger than the commit says is another's.
    fs::write(directory.path().join(file_of(12).name), "xx").unwrap();
    test_records::put(directory.path(), &done);
    test_records::put(directory.path(), &unfinished);
    let hidden = hidden(directory.path());
    let of_kind = |kind: &str| hidden.join(format!("{}.{kind}", unfinished.id));
    fs::rename(of_kind("json"), of_kind("commit")).unwrap();
    let catalog = Catalog::read(directory.path()).unwrap();
    let names: Vec<&str> = catalog.files().collect();
    assert_eq!(
        names,
        ["a.autogen.00010.00", "a.autogen.00012.00", "meta.00"]
    );
}

#[test]
fn a_directory_that_cannot_be_looked_at_is_not_said_to_be_absent() {
    let directory = tempfile::tempdir().unwrap();
    let place = directory.path().join("loop");
    std::os::unix::fs::symlink(&place, &place).unwrap();
    let error = Catalog::read_past_all(&place.as_path().into()).unwrap_err();
    assert_eq!(kind_of(&error), ErrorKind::Failed);
    assert!(format!("{error:#}").contains("reading "), "{error:#}");
    let error = Catalog::read_past_all(&directory.path().join("none").as_path().into());
    assert_eq!(kind_of(&error.unwrap_err()), ErrorKind::NoBackup);
}
