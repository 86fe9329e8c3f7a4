//! That `snap copy` brings sets into another directory as they are: verified, restored as before,
//! with the files that they share, and that it says what it does not bring.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::backups::messages;
use crate::support::process::{Run, backup_of, restore_into, snap};
use crate::support::service::copy as copy_tree;
use crate::support::{folder, tree, utf8};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/influxd-1.6.7");

/// A directory of backups, and another to copy them into.
struct TwoPlaces {
    folder: TempDir,
}

impl TwoPlaces {
    /// A full set, one that shares its files, and an increment, in that layout.
    fn new(layout: &[&str]) -> Self {
        let places = Self { folder: folder() };
        copy_tree(Path::new(DATA), &places.path("server"));
        // However short ago the data was checked out.
        let incremental = ["-incremental", "-cold-after", "1ms"];
        for flags in [&[][..], &incremental, &["-since", "last"]] {
            places.backup(&[layout, flags].concat());
        }
        places
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn backup(&self, flags: &[&str]) {
        let flags = [&["-quiet"], flags].concat();
        let run = backup_of(&self.path("server"), &flags, &self.path("from"));
        run.run().expect(0);
    }

    fn copy(&self, flags: &[&str], sets: &[&str]) -> Run {
        let (from, to) = (self.path("from"), self.path("to"));
        let places = [utf8(&from), utf8(&to)];
        snap([&["copy"], flags, &places, sets].concat())
    }

    /// The ids of the sets in a directory, oldest first.
    fn ids(&self, name: &str) -> Vec<String> {
        let listed = snap(["list", "-json", utf8(&self.path(name))]).expect(0);
        let sets = messages(&listed, "set").into_iter();
        sets.map(|set| set["set"].as_str().expect("an id").to_owned())
            .collect()
    }
}

/// What the restore of the newest set makes.
fn restored(dir: &Path) -> std::collections::BTreeMap<String, Vec<u8>> {
    let target = folder();
    restore_into(target.path(), &["-quiet"], dir)
        .run()
        .expect(0);
    tree::files(target.path())
}

#[test]
fn a_copy_is_verified_and_restored_as_its_source_and_shares_what_that_shared() {
    for layout in [&[][..], &["-portable"]] {
        let places = TwoPlaces::new(layout);
        let run = places.copy(&["-json"], &[]).expect(0);
        let sets = messages(&run, "set");
        assert_eq!(sets.len(), 3);
        assert!(sets.iter().all(|set| set["outcome"] == "copied"));
        assert_eq!(sets[1]["shards"], sets[0]["shards"]);
        let of = |field: &str| sets[1][field].as_u64().expect("a number");
        assert!(of("added") < of("size"), "{}", sets[1]);
        let summary = run.last_message();
        assert_eq!(summary["copied"], json!(3));
        assert_eq!(summary["problems"], json!([]));

        let (from, to) = (places.path("from"), places.path("to"));
        assert_eq!(places.ids("from"), places.ids("to"));
        snap(["verify", "-deep", utf8(&to)]).expect(0);
        assert!(restored(&from) == restored(&to));
        // File by file the same, and whatever was one file is one: so is what was downloaded twice.
        assert!(tree::visible_files(&from) == tree::visible_files(&to));
        for name in tree::names(&from).iter().filter(|name| *name != ".snap") {
            let links = |dir: &Path| fs::metadata(dir.join(name)).expect("a file").nlink();
            assert!(links(&from) <= links(&to), "{name}");
        }

        let before = tree::files(&to);
        let again = places.copy(&["-summary"], &[]).expect(0);
        assert_eq!(again.stderr, "");
        let said = "copied 0 sets (3 there already), 0 B (0 B new), ";
        assert!(again.stdout.starts_with(said), "{}", again.stdout);
        assert!(tree::files(&to) == before);
        let again = places.copy(&["-quiet"], &[]).expect(0);
        assert_eq!((again.stdout, again.stderr), (String::new(), String::new()));
    }
}

#[test]
fn sets_are_named_or_selected_and_bring_what_they_build_on() {
    let places = TwoPlaces::new(&[]);
    let ids = places.ids("from");
    let run = places.copy(&["-dry-run"], &["latest"]).expect(0);
    assert!(
        run.stdout.starts_with("dry run: would copy 2 sets, "),
        "{}",
        run.stdout
    );
    assert!(!places.path("to").exists());
    let run = places.copy(&[], &["latest"]).expect(0);
    let said = format!("needed by {}", ids[2]);
    assert!(run.stderr.contains(&said), "{}", run.stderr);
    assert_eq!(places.ids("to"), ids[1..]);
    places.copy(&["-keep-last", "3"], &[]).expect(0);
    assert_eq!(places.ids("to"), ids);

    places.copy(&["-keep-last", "1"], &["latest"]).expect(2);
    places.copy(&["-keep-last", "0"], &[]).expect(2);
    places.copy(&[], &["2019"]).expect(10);
    let from = places.path("from");
    snap(["copy", utf8(&from), utf8(&from)])
        .expect(2)
        .expect_told("are one place");
}

#[test]
fn a_damaged_set_is_named_and_left_out_and_the_others_are_copied() {
    let places = TwoPlaces::new(&[]);
    let ids = places.ids("from");
    let damaged = places.path("from/plain.autogen.00001.00");
    let mut content = fs::read(&damaged).expect("a shard");
    content[700] ^= 1;
    fs::remove_file(&damaged).expect("its name");
    fs::write(&damaged, content).expect("a shard");
    let run = places.copy(&[], &[]).expect(4);
    for said in [&*ids[0], "plain.autogen.00001.00", "BLAKE3 differs"] {
        assert!(run.stderr.contains(said), "{said}: {}", run.stderr);
    }
    assert!(
        run.stdout.contains("copied 2 sets (1 not copied), "),
        "{}",
        run.stdout
    );
    assert_eq!(places.ids("to"), ids[1..]);
    snap(["verify", "-quiet", utf8(&places.path("to"))]).expect(0);
}

#[test]
fn a_number_that_is_taken_changes_the_names_and_nothing_else() {
    let places = TwoPlaces::new(&[]);
    let to = places.path("to");
    fs::create_dir(&to).expect("a directory");
    fs::write(to.join("meta.00"), "influxd's").expect("a file");
    let run = places.copy(&["-json"], &[]).expect(0);
    let numbers: Vec<Value> = messages(&run, "set")
        .iter()
        .map(|set| set["number"].clone())
        .collect();
    assert_eq!(numbers, [json!(1), json!(2), json!(3)]);
    assert_eq!(fs::read(to.join("meta.00")).expect("a file"), b"influxd's");
    assert!(restored(&places.path("from")) == restored(&to));
}

#[test]
fn sets_without_a_record_are_refused_by_name() {
    let places = TwoPlaces::new(&[]);
    fs::remove_dir_all(places.path("from/.snap")).expect("the records");
    let run = places.copy(&[], &[]).expect(6);
    assert!(
        run.stderr.contains("meta.00") && run.stderr.contains("rsync"),
        "{}",
        run.stderr
    );
    assert!(!places.path("to").exists());
}
