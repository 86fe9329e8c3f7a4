//! That sets with records of form 1, whose digests are SHA-256, stay what they are: they are
//! verified and restored, and their files are shared and taken over with the digest they have.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::{Value, json};

use crate::support::process::{backup, restore_into, snap};
use crate::support::service::Serving;
use crate::support::sets::LAYOUTS;
use crate::support::{folder, tree, utf8};

const TESTDATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata");

/// The set in each layout.
const SET: &str = "20261127T002105Z";

/// When the server's files were modified, by the members in the records.
const MODIFIED: &str = "2026-11-27T00:03:41Z";

fn copy(from: &Path, to: &Path) {
    for (name, content) in tree::files(from) {
        let path = to.join(name);
        fs::create_dir_all(path.parent().expect("a folder")).expect("making a folder");
        fs::write(path, content).expect("writing a file");
    }
}

/// A copy of the set in `folder`.
fn old_set(layout: &str, folder: &Path) -> PathBuf {
    let dir = folder.join(layout);
    copy(&Path::new(TESTDATA).join("records-1").join(layout), &dir);
    dir
}

fn record(dir: &Path, set: &str) -> Value {
    let text = fs::read(dir.join(format!(".snap/{set}.json"))).expect("a record");
    serde_json::from_slice(&text).expect("JSON")
}

/// The file of shard 21, which nothing was deleted of.
fn file_of_21(record: &Value) -> &Value {
    let shards = record["shards"].as_array().expect("shards");
    let shard = shards.iter().find(|shard| shard["id"] == 21);
    &shard.expect("shard 21")["file"]
}

/// The server that the sets are of, with its files as old as they were.
fn server(folder: &Path) -> Serving {
    let root = folder.join("server");
    let source = Path::new(TESTDATA).join("influxd-1.6.7");
    for part in ["meta", "data"] {
        copy(&source.join(part), &root.join(part));
    }
    let modified: Timestamp = MODIFIED.parse().expect("a time");
    for name in tree::names(&root.join("data/db.dot/autogen/21")) {
        let file = root.join("data/db.dot/autogen/21").join(name);
        let file = File::options().write(true).open(file).expect("a file");
        file.set_modified(modified.into()).expect("setting a time");
    }
    Serving::start(&root, &[])
}

/// Makes another set, and gives its record. All its own digests are BLAKE3.
fn back_up(server: &Serving, layout: &str, flag: &str, dir: &Path) -> Value {
    let flags = ["-json", "-database", "db.dot", "-cold-after", "1s", flag];
    let layout: &[&str] = match layout {
        "portable" => &["-portable"],
        _ => &[],
    };
    let flags = [&flags[..], layout].concat();
    let run = backup(&server.host(), &flags, dir).run().expect(0);
    let made = run.last_message();
    let record = record(dir, made["set"].as_str().expect("a set"));
    assert_eq!(record["format"], 2);
    assert!(record["meta"]["blake3"].is_string(), "{record}");
    assert!(record["meta"]["sha256"].is_null(), "{record}");
    snap(["verify", "-deep", utf8(dir)]).expect(0);
    record
}

#[test]
fn an_old_set_is_verified_and_restored() {
    for layout in LAYOUTS {
        let folder = folder();
        let dir = old_set(layout, folder.path());
        snap(["verify", "-deep", utf8(&dir)]).expect(0);
        let target = folder.path().join("target");
        restore_into(&target, &[], &dir).run().expect(0);
        let file = "data/db.dot/autogen/21/000000001-000000001.tsm";
        let original = Path::new(TESTDATA).join("influxd-1.6.7").join(file);
        let (restored, original) = (fs::read(target.join(file)), fs::read(original));
        assert_eq!(restored.expect("a file"), original.expect("a file"));
    }
}

/// At these places nothing but the digest tells: in a block of a TSM file, and in the time of a
/// header of gzip.
#[test]
fn a_flipped_byte_of_an_old_set_is_found() {
    for (layout, place) in LAYOUTS.into_iter().map(|layout| match layout {
        "legacy" => (layout, 512 + 12),
        _ => (layout, 5),
    }) {
        let folder = folder();
        let dir = old_set(layout, folder.path());
        let record = record(&dir, SET);
        let file = dir.join(file_of_21(&record)["name"].as_str().expect("a name"));
        let mut bytes = fs::read(&file).expect("a file");
        bytes[place] ^= 1;
        fs::write(&file, bytes).expect("writing the file");
        let found = snap(["verify", utf8(&dir)]).expect(4);
        assert!(found.stdout.contains("SHA-256 differs"), "{}", found.stdout);
        let target = folder.path().join("target");
        let refused = restore_into(&target, &[], &dir).run().expect(4);
        assert!(
            refused.stderr.contains("SHA-256 differs"),
            "{}",
            refused.stderr
        );
    }
}

#[test]
fn a_file_that_is_shared_with_an_old_set_keeps_its_digest() {
    for layout in LAYOUTS {
        let folder = folder();
        let server = server(folder.path());
        let dir = old_set(layout, folder.path());
        let old = record(&dir, SET);
        let new = back_up(&server, layout, "-incremental", &dir);
        let (old, new) = (file_of_21(&old), file_of_21(&new));
        assert_ne!(new["name"], old["name"]);
        assert!(old["sha256"].is_string());
        assert_eq!(new["sha256"], old["sha256"]);
        assert!(new["blake3"].is_null());
    }
}

#[test]
fn a_shard_that_an_older_version_had_finished_is_taken_over() {
    for layout in LAYOUTS {
        let folder = folder();
        let server = server(folder.path());
        let old_dir = old_set(layout, folder.path());
        let old = record(&old_dir, SET);
        let dir = folder.path().join("resumed");
        let staged = dir.join(format!(".snap/{SET}.files"));
        fs::create_dir_all(&staged).expect("making a folder");
        let name = file_of_21(&old)["name"].as_str().expect("a name");
        fs::copy(old_dir.join(name), staged.join(".tmpAAAAAA")).expect("copying a file");
        let mut shard = old["shards"][0].clone();
        shard["file"]["name"] = ".tmpAAAAAA".into();
        let run = json!({
            "started": old["started"],
            "cluster_id": old["cluster_id"],
            "layout": layout,
            "selection": old["selection"],
        });
        fs::write(staged.join("finished"), format!("\n{run}\n\n{shard}\n")).expect("notes");

        let new = back_up(&server, layout, "-resume", &dir);
        assert_eq!(file_of_21(&new)["sha256"], file_of_21(&old)["sha256"]);
        assert!(file_of_21(&new)["blake3"].is_null());
    }
}

#[test]
fn a_file_with_two_digests_or_none_is_refused() {
    let zeros = "0".repeat(64);
    let both = format!(r#", "sha256": "{zeros}", "blake3": "{zeros}""#);
    for (digests, why) in [
        ("", "meta.00 has neither sha256 nor blake3"),
        (both.as_str(), "meta.00 has both sha256 and blake3"),
    ] {
        let folder = folder();
        let dir = old_set("legacy", folder.path());
        let mut record = record(&dir, SET);
        record.as_object_mut().expect("an object").remove("sum");
        let meta = format!(r#"{{"name": "meta.00", "size": 1297{digests}}}"#);
        record["meta"] = serde_json::from_str(&meta).expect("JSON");
        let file = dir.join(format!(".snap/{SET}.json"));
        fs::write(&file, record.to_string()).expect("writing the record");
        let refused = snap(["info", utf8(&dir), SET]).expect(4);
        let said = refused.stderr;
        assert!(said.contains(utf8(&file)) && said.contains(why), "{said}");
    }
}
