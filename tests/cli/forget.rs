//! That `snap forget` removes what a policy does not keep and nothing else, that what it keeps is
//! verified and restored as before, and that a removal which was cut short is taken for a backup by
//! nobody.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use influx_snap::cancel::Cancel;
use influx_snap::repository::{Catalog, Lock};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::process::{Run, Snap, backup_of, restore_into, snap};
use crate::support::service::{copy, influxd_client, influxd_restore_into};
use crate::support::{folder, tree, utf8};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/influxd-1.6.7");

/// The directories of a stopped influxd and backups of them.
struct StoppedServer {
    folder: TempDir,
}

impl StoppedServer {
    fn new() -> Self {
        let folder = folder();
        copy(Path::new(DATA), &folder.path().join("server"));
        Self { folder }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn dir(&self) -> PathBuf {
        self.path("backup")
    }

    fn backup(&self, flags: &[&str]) -> String {
        let dir = self.dir();
        backup_of(&self.path("server"), &[&["-quiet"], flags].concat(), &dir)
            .run()
            .expect(0);
        let contents = Catalog::read(&dir).expect("a backup");
        contents.sets()[contents.latest().expect("a set")]
            .id
            .to_string()
    }

    /// Gives a shard of `plain` another file.
    fn change(&self, generation: u32) {
        let shard = self.path("server/data/plain/autogen/1");
        fs::copy(
            shard.join("000000001-000000001.tsm"),
            shard.join(format!("{generation:09}-000000001.tsm")),
        )
        .expect("a file");
    }

    fn started(&self, id: &str) -> String {
        let contents = Catalog::read(self.dir()).expect("a backup");
        contents.sets()[contents.find(id).expect("a set")]
            .started
            .to_string()
    }

    /// What the restore of a set makes.
    fn restored(&self, dir: &Path, set: &str) -> BTreeMap<String, Vec<u8>> {
        let target = folder();
        restore_into(target.path(), &["-quiet"], dir)
            .args([set])
            .run()
            .expect(0);
        tree::files(target.path())
    }

    fn ids(&self) -> Vec<String> {
        ids(&self.dir())
    }
}

fn ids(dir: &Path) -> Vec<String> {
    Catalog::read(dir)
        .expect("a backup")
        .sets()
        .iter()
        .map(|set| set.id.to_string())
        .collect()
}

fn forget(dir: &Path, flags: &[&str]) -> Run {
    snap([&["forget"], flags, &[utf8(dir)]].concat())
}

#[test]
fn what_is_kept_is_verified_and_restored_as_before_and_influxd_reads_it() {
    for layout in [&[][..], &["-portable"]] {
        let fixture = StoppedServer::new();
        let with = |flags: &[&str]| fixture.backup(&[layout, flags].concat());
        let all = with(&[]);
        fixture.change(2);
        let first = with(&["-since", &fixture.started(&all)]);
        let other = with(&["-database", "db.dot"]);
        let whole = with(&[]);
        fixture.change(3);
        let second = with(&["-since", &fixture.started(&whole)]);
        fixture.change(4);
        let third = with(&["-since", &fixture.started(&second)]);
        let dir = fixture.dir();
        fs::write(dir.join("notes.00007.txt"), "mine").expect("a file");

        let kept = [&other, &whole, &second, &third];
        let before: Vec<_> = kept.iter().map(|set| fixture.restored(&dir, set)).collect();
        let files = tree::files(&dir);
        let dry = forget(&dir, &["-keep-last", "2", "-dry-run"]).expect(0);
        assert!(
            dry.stdout
                .contains("dry run: would keep 4 sets, would remove 2: "),
            "{}",
            dry.stdout
        );
        assert!(tree::files(&dir) == files, "a dry run changed something");

        let run = forget(&dir, &["-keep-last=2", "-json"]).expect(0);
        let messages = run.messages();
        let action = |set: &str| {
            let found = messages
                .iter()
                .find(|message| message["message_type"] == "set" && message["set"] == *set);
            let found = found.unwrap_or_else(|| panic!("no {set} in {}", run.stdout));
            (
                found["action"].as_str().expect("an action"),
                found["reasons"].clone(),
            )
        };
        assert_eq!(action(&all), ("remove", Value::Array(Vec::new())));
        assert_eq!(action(&first).0, "remove");
        assert_eq!(
            action(&whole),
            ("keep", vec![format!("needed by {second}")].into())
        );
        assert_eq!(action(&third), ("keep", vec!["last"].into()));
        assert_eq!(action(&other), ("keep", vec!["last"].into()));
        let summary = messages.last().expect("a summary");
        assert_eq!(
            (&summary["kept"], &summary["removed"]),
            (&4.into(), &2.into()),
            "{summary}"
        );
        let gone = files
            .iter()
            .filter(|(name, _)| !name.starts_with(".snap/") && !dir.join(name).exists());
        let bytes: usize = gone.map(|(_, content)| content.len()).sum();
        assert_eq!(summary["bytes"], bytes);

        assert_eq!(fixture.ids(), kept.map(String::clone));
        assert!(dir.join("notes.00007.txt").exists());
        snap(["verify", "-deep", "-quiet", utf8(&dir)]).expect(0);
        for (set, before) in kept.iter().zip(before) {
            assert!(
                fixture.restored(&dir, set) == before,
                "{set} is restored differently"
            );
        }
        let again = forget(&dir, &["-keep-last", "2"]).expect(0);
        assert!(
            again
                .stdout
                .contains("kept 4 sets, removed 0: 0 files, 0 B freed"),
            "{}",
            again.stdout
        );
        if layout.is_empty() {
            influxd_restore_into(&fixture.path("influxd"), "größe", &dir);
            let tsm = |mut files: BTreeMap<String, Vec<u8>>| {
                files.retain(|name, _| name.ends_with(".tsm"));
                files
            };
            let found = tsm(tree::files(&fixture.path("influxd/data/größe")));
            assert!(
                !found.is_empty() && found == tsm(tree::files(&fixture.path("server/data/größe")))
            );
        }
    }
}

#[test]
fn a_removal_that_was_cut_short_is_no_backup_and_the_next_backup_ends_it() {
    let fixture = StoppedServer::new();
    let (old, new) = (
        fixture.backup(&["-database", "plain"]),
        fixture.backup(&["-database", "plain"]),
    );
    let dir = fixture.dir();
    let hidden = |end: &str| dir.join(format!(".snap/{old}.{end}"));
    let names: Vec<String> = tree::names(&dir)
        .into_iter()
        .filter(|name| name.ends_with(".00") && name != "meta.00")
        .collect();
    fs::rename(hidden("json"), hidden("forget")).expect("renaming");
    // After the record, the metastore goes, then shard after shard.
    for gone in [None, Some("meta.00"), Some(&*names[0]), Some(&*names[1])] {
        if let Some(name) = gone {
            fs::remove_file(dir.join(name)).expect("removing");
        }
        let list = snap(["list", utf8(&dir)]).expect(0);
        assert!(
            list.stdout.contains(&new) && !list.stdout.contains(&old),
            "{}",
            list.stdout
        );
        assert!(
            list.stderr.contains(&format!("set {old} is half removed")),
            "{}",
            list.stderr
        );
        assert!(!list.stdout.contains("meta.00"), "{}", list.stdout);
        snap(["verify", "-quiet", utf8(&dir)]).expect(0);
        snap(["info", utf8(&dir), &old]).expect(10);
        assert!(fixture.restored(&dir, "latest") == fixture.restored(&dir, &new));
        let meta = fixture.path("influxd");
        let _ = fs::remove_dir_all(&meta);
        let output = influxd_client(&["restore", "-metadir", utf8(&meta), utf8(&dir)]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned()
            + &String::from_utf8_lossy(&output.stderr);
        assert!(
            said.contains("meta.01") && !said.contains("meta.00"),
            "{said}"
        );
    }
    let dry = forget(&dir, &["-keep-last", "1", "-dry-run"]).expect(0);
    assert!(dry.stderr.contains(&old), "{}", dry.stderr);
    assert!(hidden("forget").exists());
    let newest = fixture.backup(&["-database", "plain"]);
    assert_eq!(fixture.ids(), [new, newest]);
    assert!(
        !tree::names(&dir).iter().any(|name| name.ends_with(".00")),
        "{:?}",
        tree::names(&dir)
    );
    assert!(!hidden("forget").exists());
}

#[test]
fn marked_sets_stay_until_the_mark_is_taken_off() {
    let fixture = StoppedServer::new();
    let sets: Vec<String> = (0..3).map(|_| fixture.backup(&["-meta-only"])).collect();
    let dir = fixture.dir();
    let list = || snap(["list", utf8(&dir)]).expect(0).stdout;
    assert!(!list().contains("KEPT"));
    let keep = |args: &[&str]| snap([&["keep"], args].concat()).expect(0);
    assert!(
        keep(&[utf8(&dir), &sets[0]])
            .stdout
            .contains("is kept: snap forget does not remove it")
    );
    assert!(
        keep(&[utf8(&dir), &sets[0]])
            .stdout
            .contains("was kept before")
    );
    let noted = keep(&["-note", "before the upgrade", utf8(&dir), &sets[0]]);
    assert!(noted.stdout.contains("(note: before the upgrade)"));
    assert!(list().contains("KEPT"));
    let info = snap(["info", "-json", utf8(&dir), &sets[0]])
        .expect(0)
        .last_message();
    assert!(info["kept_since"].is_string(), "{info}");
    assert!(
        snap(["info", utf8(&dir), &sets[0]])
            .expect(0)
            .stdout
            .contains("kept        since 20")
    );

    let run = forget(&dir, &["-keep-last", "1"]).expect(0);
    assert!(
        run.stdout.contains("snap keep") && run.stdout.contains("removed 1 set:"),
        "{}",
        run.stdout
    );
    assert_eq!(fixture.ids(), [&*sets[0], &*sets[2]]);
    let released = keep(&["-release", "-json", utf8(&dir), &sets[0]]).last_message();
    assert_eq!(
        (&released["changed"], &released["kept_since"]),
        (&true.into(), &Value::Null),
        "{released}"
    );
    forget(&dir, &["-keep-last", "1"]).expect(0);
    assert_eq!(fixture.ids(), [&*sets[2]]);
    let hidden = tree::names(&dir.join(".snap"));
    assert_eq!(hidden, [format!("{}.json", sets[2]), "lock".to_owned()]);

    // PATH may be left out, as everywhere.
    let run = Snap::new(["keep", "latest"])
        .env("SNAP_DIR", &dir)
        .run()
        .expect(0);
    assert!(run.stdout.contains(&sets[2]), "{}", run.stdout);
    snap(["keep", utf8(&dir), "2019"]).expect(10);
    snap(["keep"]).expect(2);
}

#[test]
fn what_influxd_wrote_stays_and_a_directory_of_influxds_stays_as_it_is() {
    let fixture = StoppedServer::new();
    fixture.backup(&["-meta-only"]);
    let theirs = fixture.path("theirs");
    fs::create_dir(&theirs).expect("a directory");
    for name in ["meta.00", "meta.01"] {
        fs::copy(fixture.dir().join("meta.00"), theirs.join(name)).expect("a file");
    }
    let before = tree::files(&theirs);
    let run = forget(&theirs, &["-keep-last", "1"]).expect(0);
    assert!(
        run.stderr.contains("2 sets of influxd's stay"),
        "{}",
        run.stderr
    );
    assert!(
        run.stdout.contains("kept 2 sets, removed 0"),
        "{}",
        run.stdout
    );
    assert!(
        snap(["keep", utf8(&theirs), "meta.00"])
            .expect(0)
            .stdout
            .contains("never removes")
    );
    assert!(tree::files(&theirs) == before);
    assert_eq!(tree::names(&theirs), ["meta.00", "meta.01"]);
}

#[test]
fn what_makes_no_sense_is_refused_and_a_lock_is_waited_for_when_told_to() {
    let fixture = StoppedServer::new();
    for _ in 0..2 {
        fixture.backup(&["-meta-only"]);
    }
    let dir = fixture.dir();
    let before = tree::files(&dir);
    let refusals: [(&[&str], i32, &str); 7] = [
        (&[], 2, "-keep-last"),
        (&["-keep-last", "0", "-keep-yearly", "0"], 2, "keeps no set"),
        (&["-keep-last", "-2"], 2, "unlimited"),
        (&["-keep-within", "7s"], 2, "1y5m7d2h"),
        (&["-keep-within", "0d"], 2, "1y5m7d2h"),
        (
            &["-keep-daily", "7", "-timezone", "Mars/Olympus"],
            2,
            "Europe/Berlin",
        ),
        (
            &["-keep-dayly", "7"],
            2,
            "unknown flag -keep-dayly; did you mean -keep-daily?",
        ),
    ];
    for (flags, code, advice) in refusals {
        let run = forget(&dir, flags).expect(code);
        assert!(run.stderr.contains(advice), "{flags:?}: {}", run.stderr);
    }
    forget(&fixture.path("nowhere"), &["-keep-last", "1"]).expect(10);
    fs::create_dir(fixture.path("empty")).expect("a directory");
    forget(&fixture.path("empty"), &["-keep-last", "1"]).expect(10);
    assert_eq!(tree::names(&fixture.path("empty")), [""; 0]);

    let lock =
        Lock::take(&dir.join(".snap/lock"), Duration::ZERO, &Cancel::default()).expect("a lock");
    forget(&dir, &["-keep-last", "1"]).expect(11);
    snap(["keep", utf8(&dir), "latest"]).expect(11);
    forget(&dir, &["-keep-last", "1", "-dry-run"]).expect(0);
    let waiting = Snap::new([
        "forget",
        "-keep-last",
        "unlimited",
        "-retry-lock",
        "1m",
        utf8(&dir),
    ])
    .spawn();
    std::thread::sleep(Duration::from_millis(300));
    drop(lock);
    let run = waiting.wait().expect(0);
    assert!(
        run.stdout.contains("kept 2 sets, removed 0"),
        "{}",
        run.stdout
    );
    let mut after = tree::files(&dir);
    after.insert(".snap/lock".to_owned(), before[".snap/lock"].clone());
    assert!(after == before);
    let berlin = forget(
        &dir,
        &[
            "-keep-daily",
            "-1",
            "-timezone",
            "Europe/Berlin",
            "-dry-run",
        ],
    )
    .expect(0);
    assert!(
        berlin.stdout.contains("STARTED (Europe/Berlin)"),
        "{}",
        berlin.stdout
    );
}

/// Backs up and forgets time and again, while `read` runs beside it.
fn beside(fixture: &StoppedServer, rounds: usize, read: impl Fn(&AtomicBool) + Sync) {
    let over = AtomicBool::new(false);
    thread::scope(|scope| {
        let reader = scope.spawn(|| read(&over));
        for _ in 0..rounds {
            fixture.backup(&[]);
            forget(&fixture.dir(), &["-keep-last", "1", "-quiet"]).expect(0);
        }
        over.store(true, Ordering::Relaxed);
        reader.join().expect("a reader that did not fail");
    });
}

#[test]
fn readers_beside_backups_and_forget_see_whole_sets_and_never_a_file_that_is_gone() {
    let fixture = StoppedServer::new();
    fixture.backup(&[]);
    let (dir, target) = (fixture.dir(), folder());
    let shards = Catalog::read(&dir).expect("a backup").sets()[0]
        .record()
        .expect("a record")
        .shards
        .len();
    let looks = AtomicUsize::new(0);
    beside(&fixture, 5, |over| {
        while !over.load(Ordering::Relaxed) {
            let listed = snap(["list", "-json", utf8(&dir)]).expect(0);
            let sets = listed.messages();
            // Those too that this reader held while they were to be removed.
            assert!(!sets.is_empty(), "{listed:?}");
            for set in sets {
                assert_eq!(set["message_type"], "set", "{set}");
                assert_eq!(
                    (&set["state"], &set["written_by"] == "influxd"),
                    (&"complete".into(), false),
                    "{set}"
                );
            }
            assert!(listed.stderr.is_empty(), "{}", listed.stderr);
            let shown = snap(["info", "-json", utf8(&dir)]).expect(0);
            assert_eq!(shown.messages().len(), shards + 1, "{}", shown.stdout);
            assert!(!shown.messages()[0]["meta"].is_null(), "{}", shown.stdout);
            snap(["check", "-max-age", "1h", utf8(&dir)]).expect(0);
            snap(["verify", "-quiet", utf8(&dir)]).expect(0);
            let restore = restore_into(target.path(), &["-dry-run"], &dir)
                .run()
                .expect(0);
            let said: Vec<&str> = restore
                .stderr
                .lines()
                .chain(restore.stdout.lines())
                .filter(|line| line.starts_with("would write") && line.contains(" from "))
                .collect();
            assert_eq!(said.len(), shards, "{restore:?}");
            assert!(
                !said.iter().any(|line| line.contains(" + ")),
                "two sets are mixed: {said:#?}"
            );
            looks.fetch_add(1, Ordering::Relaxed);
        }
    });
    assert!(looks.into_inner() > 3, "there was hardly a reader");
    forget(&dir, &["-keep-last", "1"]).expect(0);
    assert_eq!(Catalog::read(&dir).expect("a backup").sets().len(), 1);
}

#[test]
fn a_set_that_is_being_restored_stays_with_what_it_stands_on_and_that_is_said() {
    let fixture = StoppedServer::new();
    let full = fixture.backup(&[]);
    fixture.change(2);
    let increment = fixture.backup(&["-since", "last"]);
    let newest = fixture.backup(&[]);
    let dir = fixture.dir();
    let contents = Catalog::read(&dir).expect("a backup");
    // What a restore holds of the increment while it reads.
    let held = contents
        .hold([contents.find(&increment).expect("a set")])
        .expect("nobody removes it");
    for flags in [&["-dry-run"][..], &[]] {
        let flags = [flags, &["-keep-last", "1", "-json"]].concat();
        let run = forget(&dir, &flags).expect(0);
        let summary = run.last_message();
        assert_eq!(summary["in_use"], serde_json::json!([increment]));
        assert_eq!(
            (&summary["kept"], &summary["removed"]),
            (&3.into(), &0.into())
        );
        let reasons = |id: &str| {
            run.messages()
                .into_iter()
                .find(|line| line["message_type"] == "set" && line["set"] == id)
                .expect("a line")["reasons"]
                .clone()
        };
        assert_eq!(reasons(&increment), serde_json::json!(["being read"]));
        assert_eq!(
            reasons(&full),
            serde_json::json!([format!("needed by {increment}")])
        );
    }
    assert!(
        forget(&dir, &["-keep-last", "1"])
            .expect(0)
            .stderr
            .contains(&format!("{increment}: a restore or verify is reading"))
    );
    drop(held);
    forget(&dir, &["-keep-last", "1", "-quiet"]).expect(0);
    assert_eq!(fixture.ids(), [newest]);
}

#[test]
fn after_the_files_were_removed_by_hand_every_command_says_so_once_and_how_to_end_it() {
    let fixture = StoppedServer::new();
    for _ in 0..2 {
        fixture.backup(&[]);
    }
    let dir = fixture.dir();
    // As rm -rf DIR/* does, which leaves what begins with a dot.
    for name in tree::names(&dir)
        .iter()
        .filter(|name| !name.starts_with('.'))
    {
        fs::remove_file(dir.join(name)).expect("removing a file");
    }
    let way_out = format!("snap forget -lost {}", dir.display());
    let target = folder();
    let dir_text = utf8(&dir);
    let runs = [
        (snap(["verify", dir_text]), 4),
        (snap(["verify", dir_text, "latest"]), 4),
        (snap(["list", dir_text]), 0),
        (snap(["check", "-max-age", "1h", dir_text]), 1),
        (restore_into(target.path(), &[], &dir).run(), 4),
    ];
    for (run, code) in runs {
        let run = run.expect(code);
        let said = format!("{}{}", run.stdout, run.stderr);
        assert_eq!(
            said.matches("has the records of 2 sets, but none of the files")
                .count(),
            1,
            "{said}"
        );
        assert_eq!(said.matches(&way_out).count(), 1, "{said}");
    }

    // A backup made since does not make the old records right.
    let new = fixture.backup(&[]);
    let verified = snap(["verify", dir_text]).expect(4);
    assert_eq!(
        verified.stdout.matches("snap forget -lost").count(),
        2,
        "{}",
        verified.stdout
    );
    forget(&dir, &["-lost"]).expect(0);
    assert_eq!(fixture.ids(), [new]);
    snap(["verify", dir_text]).expect(0);
    snap(["check", "-max-age", "1h", dir_text]).expect(0);
}

#[test]
fn a_copy_that_a_sync_program_left_of_a_record_is_no_set_to_any_command() {
    let fixture = StoppedServer::new();
    let sets = [
        fixture.backup(&[]),
        fixture.backup(&[]),
        fixture.backup(&["-portable"]),
    ];
    let dir = fixture.dir();
    let record = dir.join(format!(".snap/{}.json", sets[0]));
    for name in [
        "._ID.json",
        "ID (conflicted copy).json",
        "ID.sync-conflict-20261120-080000-ABCDEFG.json",
        "ID 2.json",
        "._ID.keep",
    ] {
        fs::copy(
            &record,
            dir.join(".snap").join(name.replace("ID", &sets[0])),
        )
        .expect("a copy");
    }
    let apple = b"\x00\x05\x16\x07\x00\x02\x00\x00Mac OS X        ";
    for name in tree::names(&dir)
        .iter()
        .filter(|name| !name.starts_with('.'))
    {
        fs::write(dir.join(format!("._{name}")), apple).expect("a file");
    }
    fs::write(dir.join(format!("{} 2.manifest", sets[2])), "{").expect("a file");
    let dir_text = utf8(&dir);
    let listed = snap(["list", "-json", dir_text]).expect(0);
    assert_eq!(listed.messages().len(), 3, "{}", listed.stdout);
    snap(["verify", dir_text]).expect(0);
    snap(["check", "-max-age", "1h", dir_text]).expect(0);
    snap(["info", dir_text]).expect(0);
    restore_into(folder().path(), &[], &dir).run().expect(0);
    let run = forget(&dir, &["-keep-last", "2", "-json"]).expect(0);
    assert_eq!(
        (
            &run.last_message()["removed"],
            &run.last_message()["unrecorded"]
        ),
        (&1.into(), &0.into())
    );
    assert_eq!(fixture.ids(), sets[1..]);
}

#[test]
fn a_record_that_names_what_lies_outside_makes_keep_and_forget_touch_nothing_there() {
    let fixture = StoppedServer::new();
    let set = fixture.backup(&[]);
    let (dir, victim) = (fixture.dir(), fixture.path("victim"));
    fs::write(fixture.path("victim.json"), "mine").expect("a file");
    let text = fs::read_to_string(dir.join(format!(".snap/{set}.json"))).expect("a record");
    let mut record: Value = serde_json::from_str(&text).expect("JSON");
    record["id"] = "../../victim".into();
    record.as_object_mut().expect("an object").remove("sum");
    fs::write(dir.join(format!(".snap/{set}.json")), record.to_string()).expect("a record");
    snap(["keep", utf8(&dir), "../../victim"]).expect(4);
    forget(&dir, &["-keep-last", "1"]).expect(4);
    assert!(!victim.with_extension("keep").exists() && victim.with_extension("json").exists());
}
