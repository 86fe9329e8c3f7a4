//! That `snap forget` removes what a policy does not keep and nothing else, that what it keeps is verified and restored as
//! before, and that a removal which was cut short is taken for a backup by nobody.

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use influx_snap::cancel::Cancel;
use influx_snap::directory::{Contents, Lock};
use serde_json::Value;
use tempfile::TempDir;

use support::process::{Run, Snap, backup_of, restore_into, snap};
use support::service::{copy, influxd_client};
use support::{folder, tree, utf8};

const DATA: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/testdata/influxd-1.6.7");

/// The directories of a stopped influxd and backups of them.
struct Bench {
    folder: TempDir,
}

impl Bench {
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
        let contents = Contents::read(&dir).expect("a backup");
        contents.sets()[contents.latest().expect("a set")]
            .id
            .clone()
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
        let contents = Contents::read(&self.dir()).expect("a backup");
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
    Contents::read(dir)
        .expect("a backup")
        .sets()
        .iter()
        .map(|set| set.id.clone())
        .collect()
}

fn forget(dir: &Path, flags: &[&str]) -> Run {
    snap([&["forget"], flags, &[utf8(dir)]].concat())
}

#[test]
fn what_is_kept_is_verified_and_restored_as_before_and_influxd_reads_it() {
    for layout in [&[][..], &["-portable"]] {
        let bench = Bench::new();
        let with = |flags: &[&str]| bench.backup(&[layout, flags].concat());
        let all = with(&[]);
        bench.change(2);
        let first = with(&["-since", &bench.started(&all)]);
        let other = with(&["-database", "db.dot"]);
        let whole = with(&[]);
        bench.change(3);
        let second = with(&["-since", &bench.started(&whole)]);
        bench.change(4);
        let third = with(&["-since", &bench.started(&second)]);
        let dir = bench.dir();
        fs::write(dir.join("notes.00007.txt"), "mine").expect("a file");

        let kept = [&other, &whole, &second, &third];
        let before: Vec<_> = kept.iter().map(|set| bench.restored(&dir, set)).collect();
        let files = tree::files(&dir);
        let dry = forget(&dir, &["-keep-last", "2", "-dry-run"]).expect(0);
        assert!(
            dry.stdout
                .contains("dry run: would keep 4 sets, and remove 2: "),
            "{}",
            dry.stdout
        );
        assert!(tree::files(&dir) == files, "a dry run changed something");

        let run = forget(&dir, &["-keep-last=2", "-json"]).expect(0);
        let messages = run.messages();
        let action = |set: &str| {
            let found = messages
                .iter()
                .find(|message| message["message_type"] == "set" && message["id"] == *set);
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

        assert_eq!(bench.ids(), kept.map(String::clone));
        assert!(dir.join("notes.00007.txt").exists());
        snap(["verify", "-deep", "-quiet", utf8(&dir)]).expect(0);
        for (set, before) in kept.iter().zip(before) {
            assert!(
                bench.restored(&dir, set) == before,
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
            let (meta, data) = (bench.path("influxd/meta"), bench.path("influxd/data"));
            influxd_client(&[
                "restore",
                "-metadir",
                utf8(&meta),
                "-datadir",
                utf8(&data),
                "-database",
                "größe",
                utf8(&dir),
            ]);
            let tsm = |mut files: BTreeMap<String, Vec<u8>>| {
                files.retain(|name, _| name.ends_with(".tsm"));
                files
            };
            let found = tsm(tree::files(&data.join("größe")));
            assert!(
                !found.is_empty() && found == tsm(tree::files(&bench.path("server/data/größe")))
            );
        }
    }
}

#[test]
fn a_removal_that_was_cut_short_is_no_backup_and_the_next_backup_ends_it() {
    let bench = Bench::new();
    let (old, new) = (
        bench.backup(&["-database", "plain"]),
        bench.backup(&["-database", "plain"]),
    );
    let dir = bench.dir();
    let hidden = |end: &str| dir.join(format!(".snap/{old}.{end}"));
    let names: Vec<String> = tree::names(&dir)
        .into_iter()
        .filter(|name| name.ends_with(".00") && name != "meta.00")
        .collect();
    fs::rename(hidden("json"), hidden("forget")).expect("renaming");
    // After the record, the meta store goes, then shard after shard.
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
        assert!(bench.restored(&dir, "latest") == bench.restored(&dir, &new));
        let meta = bench.path("influxd");
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
    let newest = bench.backup(&["-database", "plain"]);
    assert_eq!(bench.ids(), [new, newest]);
    assert!(
        !tree::names(&dir).iter().any(|name| name.ends_with(".00")),
        "{:?}",
        tree::names(&dir)
    );
    assert!(!hidden("forget").exists());
}

#[test]
fn marked_sets_stay_until_the_mark_is_taken_off() {
    let bench = Bench::new();
    let sets: Vec<String> = (0..3).map(|_| bench.backup(&["-meta-only"])).collect();
    let dir = bench.dir();
    let list = || snap(["list", utf8(&dir)]).expect(0).stdout;
    assert!(!list().contains("KEPT"));
    let keep = |args: &[&str]| snap([&["keep"], args].concat()).expect(0);
    assert!(
        keep(&[utf8(&dir), &sets[0]])
            .stdout
            .contains("is marked: snap forget keeps it")
    );
    assert!(
        keep(&[utf8(&dir), &sets[0]])
            .stdout
            .contains("was marked before")
    );
    assert!(list().contains("KEPT"));
    let info = snap(["info", "-json", utf8(&dir), &sets[0]])
        .expect(0)
        .last_message();
    assert!(info["kept"].is_string(), "{info}");
    assert!(
        snap(["info", utf8(&dir), &sets[0]])
            .expect(0)
            .stdout
            .contains("marked 20")
    );

    let run = forget(&dir, &["-keep-last", "1"]).expect(0);
    assert!(
        run.stdout.contains("marked") && run.stdout.contains("removed"),
        "{}",
        run.stdout
    );
    assert_eq!(bench.ids(), [&*sets[0], &*sets[2]]);
    let released = keep(&["-release", "-json", utf8(&dir), &sets[0]]).last_message();
    assert_eq!(
        (&released["changed"], &released["kept"]),
        (&true.into(), &Value::Null),
        "{released}"
    );
    forget(&dir, &["-keep-last", "1"]).expect(0);
    assert_eq!(bench.ids(), [&*sets[2]]);
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
    let bench = Bench::new();
    bench.backup(&["-meta-only"]);
    let theirs = bench.path("theirs");
    fs::create_dir(&theirs).expect("a directory");
    for name in ["meta.00", "meta.01"] {
        fs::copy(bench.dir().join("meta.00"), theirs.join(name)).expect("a file");
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
            .contains("never removed")
    );
    assert!(tree::files(&theirs) == before);
    assert_eq!(tree::names(&theirs), ["meta.00", "meta.01"]);
}

#[test]
fn what_makes_no_sense_is_refused_and_a_lock_is_waited_for_when_told_to() {
    let bench = Bench::new();
    for _ in 0..2 {
        bench.backup(&["-meta-only"]);
    }
    let dir = bench.dir();
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
        (&["-keep-dayly", "7"], 2, "--keep-daily"),
    ];
    for (flags, code, advice) in refusals {
        let run = forget(&dir, flags).expect(code);
        assert!(run.stderr.contains(advice), "{flags:?}: {}", run.stderr);
    }
    forget(&bench.path("nowhere"), &["-keep-last", "1"]).expect(10);
    fs::create_dir(bench.path("empty")).expect("a directory");
    forget(&bench.path("empty"), &["-keep-last", "1"]).expect(10);
    assert_eq!(tree::names(&bench.path("empty")), [""; 0]);

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
