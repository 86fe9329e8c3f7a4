//! What list, info, verify, forget and keep show of sets, as text of any width and as JSON.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::process::{Run, Snap, backup_of, snap};
use crate::support::service::copy;
use crate::support::{folder, tree, utf8};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/influxd-1.6.7");

/// A backup directory, and the ids of its sets.
struct Sets {
    folder: TempDir,
    ids: Vec<String>,
}

impl Sets {
    /// Makes a set with each of the flags, one after the other.
    fn made(with: &[&[&str]]) -> Self {
        let folder = folder();
        let server = folder.path().join("server");
        copy(Path::new(DATA), &server);
        let mut sets = Self {
            folder,
            ids: Vec::new(),
        };
        for flags in with {
            // What was written only just now is not shared.
            thread::sleep(Duration::from_millis(20));
            let flags = [&["-json"], *flags].concat();
            let made = backup_of(&server, &flags, &sets.dir()).run().expect(0);
            let id = made.last_message()["set"]
                .as_str()
                .expect("an id")
                .to_owned();
            sets.ids.push(id);
        }
        sets
    }

    /// Three sets of which the last two share files with the first.
    fn sharing() -> Self {
        let shared: &[&str] = &["-incremental", "-cold-after", "1ms"];
        Self::made(&[shared, shared, shared])
    }

    fn dir(&self) -> PathBuf {
        self.folder.path().join("backup")
    }

    fn run(&self, args: &[&str], code: i32) -> Run {
        let dir = self.dir();
        let args = args.iter().map(|arg| match *arg {
            "DIR" => utf8(&dir),
            arg => arg,
        });
        snap(args).expect(code)
    }

    fn messages(&self, args: &[&str], code: i32, kind: &str) -> Vec<Value> {
        let messages = self.run(args, code).messages().into_iter();
        messages
            .filter(|message| message["message_type"] == kind)
            .collect()
    }
}

/// Bytes of the files of sets, each content once.
fn on_disk(dir: &Path) -> u64 {
    let mut seen = BTreeSet::new();
    let names = tree::names(dir).into_iter();
    let metadata = names.map(|name| fs::metadata(dir.join(name)).expect("a file"));
    metadata
        .filter(|file| file.is_file() && seen.insert(file.ino()))
        .map(|file| file.len())
        .sum()
}

fn sum(messages: &[Value], field: &str) -> u64 {
    messages
        .iter()
        .filter_map(|message| message[field].as_u64())
        .sum()
}

#[test]
fn what_sets_add_is_what_they_take_on_disk_and_what_goes_with_them_is_freed() {
    let sets = Sets::sharing();
    let listed = sets.messages(&["list", "-json", "DIR"], 0, "set");
    let (size, added) = (sum(&listed, "size"), sum(&listed, "added"));
    assert_eq!(added, on_disk(&sets.dir()));
    assert!(added < size, "nothing is shared: {listed:?}");
    assert_eq!(listed[0]["added"], listed[0]["size"]);
    let text = sets.run(&["list", "DIR"], 0).stdout;
    let last = text.lines().last().expect("a total");
    assert!(
        last.starts_with("3 sets, ") && last.contains(" without sharing), in "),
        "{text}"
    );

    let would = sets.messages(
        &["forget", "-keep-last=1", "-dry-run", "-json", "DIR"],
        0,
        "set",
    );
    let run = sets.run(&["forget", "-keep-last", "1", "-json", "DIR"], 0);
    let summary = run.last_message();
    let did: Vec<Value> = run
        .messages()
        .into_iter()
        .filter(|line| !line["freed"].is_null())
        .collect();
    assert_eq!(did.len(), 2, "{}", run.stdout);
    assert_eq!(
        summary["bytes"].as_u64(),
        Some(added - on_disk(&sets.dir()))
    );
    for lines in [&would, &did] {
        assert_eq!(Some(sum(lines, "freed")), summary["bytes"].as_u64());
    }
}

#[test]
fn a_damaged_file_that_sets_share_is_one_fault_and_so_is_one_that_others_build_on() {
    let sets = Sets::sharing();
    let shared = sets.dir().join("plain.p.q.00004.00");
    let mut bytes = fs::read(&shared).expect("a shard");
    let at = bytes.len() / 2;
    bytes[at] ^= 1;
    // In place: it is the file of all three.
    fs::write(&shared, &bytes).expect("writing");
    let faults = sets.messages(&["verify", "-deep", "-json", "DIR"], 4, "fault");
    assert_eq!(faults.len(), 1, "{faults:?}");
    let fault = &faults[0];
    assert_eq!(
        (&fault["set"], &fault["also_in"], &fault["shard"]),
        (&json!(sets.ids[0]), &json!(sets.ids[1..]), &json!(4))
    );
    let text = sets.run(&["verify", "-deep", "-quiet", "DIR"], 4).stdout;
    let also_in = format!("  also in  {}", sets.ids[1..].join(", "));
    assert!(text.lines().any(|line| line == also_in), "{text}");
    // Each of them has it for itself too.
    let alone = sets.messages(&["verify", "-json", "DIR", &sets.ids[2]], 4, "fault");
    assert_eq!(
        (&alone[0]["set"], &alone[0]["also_in"]),
        (&json!(sets.ids[2]), &json!([]))
    );

    let sets = Sets::made(&[&[], &["-since", "last"], &["-since", "last"]]);
    fs::remove_file(sets.dir().join("plain.p.q.00004.00")).expect("removing");
    let faults = sets.messages(&["verify", "-json", "DIR"], 4, "fault");
    assert_eq!(faults.len(), 1, "{faults:?}");
    assert_eq!(
        (&faults[0]["set"], &faults[0]["also_in"]),
        (&json!(sets.ids[0]), &json!(sets.ids[1..]))
    );
    let alone = sets.messages(&["verify", "-json", "DIR", "latest"], 4, "fault");
    assert_eq!(
        (alone.len(), &alone[0]["set"]),
        (1, &json!(sets.ids[2])),
        "{alone:?}"
    );
}

#[test]
fn a_note_is_shown_as_it_is_and_can_be_changed_and_acts_on_no_terminal() {
    let sets = Sets::made(&[&["-meta-only"]]);
    let id = &sets.ids[0];
    sets.run(&["keep", "-note", "before 1.8\u{1b}[2J", "DIR", id], 0);
    for command in ["list", "info"] {
        let text = sets.run(&[command, "DIR"], 0).stdout;
        assert!(text.contains(r": before 1.8\u{1b}[2J"), "{text}");
    }
    let noted = sets.messages(&["info", "-json", "DIR"], 0, "set");
    assert_eq!(noted[0]["note"], "before 1.8\u{1b}[2J");
    sets.run(&["keep", "-note", "", "DIR", id], 0);
    let listed = sets.messages(&["list", "-json", "DIR"], 0, "set");
    assert!(
        listed[0]["note"].is_null() && listed[0]["kept_since"].is_string(),
        "{listed:?}"
    );
    sets.run(&["keep", "-release", "DIR", id], 0);
    assert!(!sets.run(&["list", "DIR"], 0).stdout.contains("KEPT"));
    let long = sets.run(&["keep", "-note", &"x".repeat(501), "DIR", id], 2);
    assert!(
        long.stderr.contains("may have at most 500"),
        "{}",
        long.stderr
    );
    sets.run(&["keep", "-note=x", "-release", "DIR", id], 2);
}

#[test]
fn lines_are_as_narrow_as_asked_and_whole_where_nobody_asks() {
    let sets = Sets::sharing();
    sets.run(
        &[
            "keep",
            "-note",
            "a note of several words that goes on and on",
            "DIR",
            "latest",
        ],
        0,
    );
    fs::remove_file(sets.dir().join("plain.p.q.00004.01")).expect("removing");
    let dir = sets.dir();
    let dir = utf8(&dir);
    for (args, code) in [
        (&["list"][..], 0),
        (&["list", "-verbose"], 0),
        (&["info"], 0),
        (&["info", "-verbose"], 0),
        (&["verify", "-quiet"], 4),
        (&["forget", "-keep-last", "1", "-dry-run"], 0),
    ] {
        let run = |columns: &str| {
            let run = Snap::new(args).args([dir]).env("COLUMNS", columns).run();
            run.expect(code).stdout
        };
        let whole = snap([args, &[dir]].concat()).expect(code).stdout;
        assert!(!whole.contains('…'), "{args:?}: {whole}");
        for columns in [40, 80, 200] {
            let text = run(&columns.to_string());
            // The directory's name is as long as it is.
            let lines = text
                .lines()
                .filter(|line| !line.contains(dir) && !line.starts_with("dry run"));
            for line in lines {
                assert!(
                    line.chars().count() <= columns,
                    "{args:?} at {columns}:\n{text}"
                );
            }
        }
        // Not a number: as if nobody asked.
        assert_eq!(run("wide").lines().count(), whole.lines().count());
    }
    let at_80 = Snap::new(["list"])
        .args([dir])
        .env("COLUMNS", "80")
        .run()
        .expect(0)
        .stdout;
    let heading: Vec<&str> = at_80
        .lines()
        .next()
        .expect("a heading")
        .split_whitespace()
        .collect();
    assert_eq!(
        heading,
        [
            "SET",
            "AGE",
            "KIND",
            "STATE",
            "KEPT",
            "SIZE",
            "ADDED",
            "DATABASES"
        ]
    );
}

#[test]
fn json_and_quiet_together_mean_the_same_for_every_command() {
    let sets = Sets::made(&[&[]]);
    for (args, results) in [
        (&["list", "DIR"][..], &["set"][..]),
        (&["info", "DIR"], &["set", "shard"]),
        (&["verify", "DIR"], &["summary"]),
        (&["check", "-max-age", "1h", "DIR"], &["check"]),
        (&["forget", "-keep-last", "1", "DIR"], &["set", "summary"]),
        (&["keep", "DIR", "latest"], &["summary"]),
        (
            &["restore", "-metadir", "META", "-datadir", "DATA", "DIR"],
            &["summary"],
        ),
    ] {
        let to = sets.folder.path().join("restored");
        let (meta, data) = (to.join("meta"), to.join("data"));
        let args: Vec<&str> = args
            .iter()
            .map(|arg| match *arg {
                "META" => utf8(&meta),
                "DATA" => utf8(&data),
                arg => arg,
            })
            .collect();
        let run = sets.run(&[&args[..1], &["-json", "-quiet"], &args[1..]].concat(), 0);
        let kinds: BTreeSet<String> = run
            .messages()
            .iter()
            .map(|line| line["message_type"].as_str().expect("a kind").to_owned())
            .collect();
        let expected = results.iter().map(|kind| (*kind).to_owned()).collect();
        assert_eq!(kinds, expected, "{args:?}: {}", run.stdout);
    }
}
