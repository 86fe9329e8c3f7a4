//! Tests of the journal: it is followed where it names what a restore makes, and nowhere else.

use std::os::unix::fs::symlink;

use serde_json::{Value, json};

use super::*;
use crate::error::kind_of;

/// The directories of a server, and beside them what is nobody's business.
struct Bench {
    root: tempfile::TempDir,
}

impl Bench {
    fn new() -> Self {
        let bench = Self {
            root: tempfile::tempdir().unwrap(),
        };
        for directory in ["meta", "data/.snap-restore", "wal", "victim/rp/1"] {
            fs::create_dir_all(bench.root.path().join(directory)).unwrap();
        }
        bench
    }

    fn path(&self, name: &str) -> String {
        self.root.path().join(name).to_str().unwrap().to_owned()
    }

    fn targets(&self) -> Targets {
        let path = |name: &str| Some(self.root.path().join(name));
        Targets {
            metadir: path("meta"),
            datadir: path("data"),
            waldir: path("wal"),
        }
    }

    /// What a restore of a shard and a metastore writes.
    fn journal(&self) -> Value {
        let staging = self.path("data/.snap-restore");
        json!({
            "moves": [
                {"new": format!("{staging}/new/s0"), "place": self.path("data/d/rp/1"), "old": format!("{staging}/old/s0"), "replaces": true},
                {"new": null, "place": self.path("wal/d/rp/1"), "old": self.path("wal/.snap-restore/s0"), "replaces": false},
            ],
            "files": [
                {"place": self.path("meta/node.json"), "old": null, "crc": 1},
                {"place": self.path("meta/meta.db"), "old": format!("{staging}/old/meta.db"), "crc": 2},
            ],
        })
    }

    fn file(&self) -> PathBuf {
        self.path("data/.snap-restore/journal.json").into()
    }

    fn read(&self, journal: &Value, targets: &Targets) -> Result<Option<SwapJournal>> {
        fs::write(self.file(), journal.to_string()).unwrap();
        SwapJournal::read(&self.file(), targets)
    }
}

#[test]
fn a_journal_is_followed_where_it_names_what_a_restore_into_the_same_directories_makes() {
    let bench = Bench::new();
    assert!(
        SwapJournal::read(&bench.file(), &bench.targets())
            .unwrap()
            .is_none()
    );
    let journal = bench.journal();
    let read = bench.read(&journal, &bench.targets()).unwrap().unwrap();
    assert_eq!(serde_json::to_value(&read).unwrap(), journal);

    // By another name of the same directory: what is done is done by that which is given now.
    symlink(bench.path("data"), bench.path("linked")).unwrap();
    let linked = Targets {
        datadir: Some(bench.path("linked").into()),
        ..bench.targets()
    };
    let read = bench.read(&journal, &linked).unwrap().unwrap();
    let (moved, file) = (&read.moves[0], &read.files[1]);
    let path = |name: &str| PathBuf::from(bench.path("linked").clone() + name);
    assert_eq!(moved.place, path("/d/rp/1"));
    assert_eq!(moved.new, Some(path("/.snap-restore/new/s0")));
    assert_eq!(file.old, Some(path("/.snap-restore/old/meta.db")));

    // A database that lies on another disk has a folder of its own.
    for level in ["data/d", "data/d/rp"] {
        let mut journal = bench.journal();
        for name in ["new", "old"] {
            let path = format!("{}/.snap-restore/{name}/s0", bench.path(level));
            journal["moves"][0][name] = json!(path);
        }
        let read = bench.read(&journal, &bench.targets()).unwrap().unwrap();
        assert_eq!(serde_json::to_value(&read).unwrap(), journal);
    }
}

#[test]
fn a_path_that_no_restore_makes_is_refused_with_the_journal() {
    let bench = Bench::new();
    let staging = bench.path("data/.snap-restore");
    let cases = [
        ("/moves/0/place", bench.path("victim/rp/1")),
        ("/moves/0/place", bench.path("data/../victim/rp/1")),
        ("/moves/0/place", bench.path("data/d/../../victim/rp/1")),
        ("/moves/0/place", bench.path("data/d/rp/..")),
        ("/moves/0/place", bench.path("data/d/rp")),
        ("/moves/0/place", bench.path("data/d/rp/x")),
        ("/moves/0/place", bench.path("data/d/rp/01")),
        ("/moves/0/place", bench.path("data/.snap-serve/rp/1")),
        ("/moves/0/place", bench.path("wal/d/rp/1")),
        ("/moves/0/place", "data/d/rp/1".to_owned()),
        ("/moves/0/place", String::new()),
        ("/moves/0/new", bench.path("victim/new/s0")),
        ("/moves/0/new", format!("{staging}/new/../../../victim")),
        ("/moves/0/new", format!("{staging}/old/s0")),
        ("/moves/0/new", format!("{staging}/new/s1")),
        ("/moves/0/old", bench.path("victim")),
        ("/moves/0/old", format!("{staging}/old/s1")),
        ("/moves/0/old", bench.path("data/d/.snap-restore/old/s0")),
        ("/moves/0/old", bench.path("data/e/.snap-restore/old/s0")),
        ("/moves/1/place", bench.path("data/d/rp/1")),
        ("/moves/1/old", format!("{staging}/old/s0")),
        ("/moves/1/old", bench.path("wal/.snap-restore/../x")),
        ("/files/0/place", bench.path("victim/node.json")),
        ("/files/0/place", bench.path("meta/other")),
        ("/files/0/place", bench.path("meta/../victim/node.json")),
        ("/files/1/old", bench.path("victim/meta.db")),
        ("/files/1/old", format!("{staging}/old/node.json")),
        ("/files/1/old", format!("{staging}/old/../../../victim")),
    ];
    for (pointer, path) in cases {
        let mut journal = bench.journal();
        *journal.pointer_mut(pointer).unwrap() = json!(path);
        let error = bench.read(&journal, &bench.targets()).unwrap_err();
        assert_eq!(
            kind_of(&error),
            ErrorKind::Refused,
            "{pointer} {path}: {error:#}"
        );
        let text = format!("{error:#}");
        assert!(text.contains("data/.snap-restore/journal.json"), "{text}");
    }
    // Nor is one that a restore into other directories left.
    let targets = Targets {
        metadir: None,
        ..bench.targets()
    };
    let error = bench.read(&bench.journal(), &targets).unwrap_err();
    assert_eq!(kind_of(&error), ErrorKind::Refused, "{error:#}");
}

#[test]
fn what_is_no_regular_file_or_no_journal_is_refused_and_nobody_waits_for_it() {
    let bench = Bench::new();
    let path = bench.file();
    let refused = |what: &str| {
        let error = SwapJournal::read(&bench.file(), &bench.targets()).unwrap_err();
        assert_eq!(kind_of(&error), ErrorKind::Refused, "{what}: {error:#}");
        fs::remove_file(&path).unwrap();
    };
    let made = std::process::Command::new("mkfifo").arg(&path).status();
    assert!(made.unwrap().success());
    refused("a FIFO");
    symlink("/dev/zero", &path).unwrap();
    refused("a link to a device");
    fs::write(&path, "{\"moves\":").unwrap();
    refused("half a document");
    fs::File::create(&path)
        .unwrap()
        .set_len(LARGEST + 1)
        .unwrap();
    refused("a file without an end");
}

#[test]
fn links_on_the_way_to_a_shard_are_followed_where_a_trusted_user_made_them() {
    let bench = Bench::new();
    fs::create_dir_all(bench.path("data/d")).unwrap();
    symlink(bench.path("victim/rp"), bench.path("data/d/rp")).unwrap();
    let place = PathBuf::from(bench.path("data/d/rp/1"));
    let root = PathBuf::from(bench.path("data"));
    let owner = fs::symlink_metadata(root.join("d/rp")).unwrap().uid();
    assert_eq!(foreign_link(&root, &place, &[owner]), None);
    assert_eq!(
        foreign_link(&root, &place, &[owner + 1]),
        Some((root.join("d/rp"), owner))
    );
    // What is above the directory that was named is not the backup's business.
    symlink(bench.path("data"), bench.path("linked")).unwrap();
    let root = PathBuf::from(bench.path("linked"));
    assert_eq!(
        foreign_link(&root, &root.join("x/rp/1"), &[owner + 1]),
        None
    );
}
