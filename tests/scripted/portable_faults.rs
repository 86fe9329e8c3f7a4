//! That damage to a portable backup is found before a server is touched, and that no failed backup
//! leaves one behind.

use std::collections::BTreeMap;
use std::fs;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use influx_snap::repository::manifest::{compress, decompress};
use influx_snap::shard::ShardPath;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use tempfile::TempDir;

use crate::support::between::{Ask, Between, Spoil};
use crate::support::damage::damage;
use crate::support::data::{load_hours, without_hour};
use crate::support::handmade::{FILE, TSM};
use crate::support::influxd::{Index, Influxd};
use crate::support::peer::{self, Asked, End, Model, Peer, Reply, Version};
use crate::support::process::{Run, Snap, backup, restore_into, restore_online, snap};
use crate::support::service::{all_members, copy, influxd_client};
use crate::support::{folder, tree, utf8};

/// A server with a database `d` of three shards, a portable backup of it, and an empty server to
/// restore into.
struct PortableBackup {
    folder: TempDir,
    source: Influxd,
    target: Influxd,
    points: Vec<String>,
    /// The set's stamp.
    stamp: String,
}

impl PortableBackup {
    fn new() -> Self {
        let folder = folder();
        let source = Influxd::start(&folder.path().join("source"), Index::Inmem);
        load_hours(&source, 3);
        let dir = folder.path().join("backup");
        snap(["backup", "-portable", "-host", &source.host(), utf8(&dir)]).expect(0);
        let names = tree::names(&dir);
        let stamp = names
            .iter()
            .find_map(|name| name.strip_suffix(".manifest"))
            .expect("a manifest")
            .to_owned();
        let target = Influxd::start(&folder.path().join("target"), Index::Inmem);
        let points = source.points();
        Self {
            folder,
            source,
            target,
            points,
            stamp,
        }
    }

    /// A fresh copy of the backup; `recorded` says whether snap's record of it is there.
    fn copy(&self, name: &str, recorded: bool) -> PathBuf {
        let to = self.folder.path().join(name);
        copy(&self.folder.path().join("backup"), &to);
        if !recorded {
            fs::remove_dir_all(to.join(".snap")).expect("removing the record");
        }
        to
    }

    fn restore(&self, dir: &Path, flags: &[&str]) -> Run {
        snap(
            [
                &["restore", "-portable", "-host", &self.target.host()],
                flags,
                &[utf8(dir)],
            ]
            .concat(),
        )
    }

    /// What the server that is restored into has on its disk.
    fn touched(&self) -> BTreeMap<String, Vec<u8>> {
        let mut files = tree::files(&self.target.meta_dir());
        files.extend(tree::files(&self.target.data_dir()));
        files
    }

    /// The points of the other shards.
    fn points_without(&self, nth: i64) -> Vec<String> {
        without_hour(&self.points, nth)
    }
}

/// All kinds of damage.
const DAMAGES: [&str; 8] = [
    "cut to half",
    "cut by a byte",
    "emptied",
    "flipped at its beginning",
    "flipped in the middle",
    "flipped at its end",
    "made longer",
    "doubled",
];

#[test]
fn every_damage_is_found_and_named_before_the_server_is_touched() {
    let fixture = PortableBackup::new();
    let (shard, meta) = (
        format!("{}.s2.tar.gz", fixture.stamp),
        format!("{}.meta", fixture.stamp),
    );
    let (manifest, record) = (
        format!("{}.manifest", fixture.stamp),
        format!(".snap/{}.json", fixture.stamp),
    );
    let before = fixture.touched();
    let mut cases = Vec::new();
    for how in DAMAGES {
        for recorded in [true, false] {
            cases.push((&shard, recorded, how));
            // Without a record, a name with another letter is a name; the last byte of the message
            // says nothing that anybody needs; and a message twice over is one.
            let undetectable =
                ["flipped in the middle", "flipped at its end", "doubled"].contains(&how);
            if recorded || !undetectable {
                cases.push((&meta, recorded, how));
            }
        }
        // What is JSON all the same after it was flipped has other numbers or names in it, which
        // can be sound.
        if how != "flipped in the middle" {
            cases.push((&manifest, false, how));
            cases.push((&record, true, how));
        }
    }
    for (nth, (file, recorded, how)) in cases.into_iter().enumerate() {
        let dir = fixture.copy(&format!("case{nth}"), recorded);
        damage(&dir.join(file), how);
        let run = fixture.restore(&dir, &[]);
        let case = format!(
            "{file} {how}, record: {recorded}: {:?} {}",
            run.code, run.stderr
        );
        let name = Path::new(file)
            .file_name()
            .and_then(|name| name.to_str())
            .expect("a name");
        assert!(
            run.code == Some(4) && run.stderr.contains(name) && !run.stderr.contains("panicked"),
            "{case}"
        );
        assert!(
            fixture.touched() == before,
            "the server was touched: {case}"
        );
    }
    // The sums that tell it are there at all: the same directories without damage come back.
    for (recorded, name) in [(true, "recorded"), (false, "influxd")] {
        let dir = fixture.copy(name, recorded);
        fixture
            .restore(&dir, &["-db", "d", "-newdb", name])
            .expect(0);
        assert_eq!(fixture.target.points_of(name).len(), fixture.points.len());
    }
}

#[test]
fn what_is_simply_gone_is_named_and_the_rest_restored() {
    let fixture = PortableBackup::new();
    let shard = format!("{}.s2.tar.gz", fixture.stamp);
    for recorded in [true, false] {
        let dir = fixture.copy(&format!("shard{recorded}"), recorded);
        fs::remove_file(dir.join(&shard)).expect("removing a shard");
        let run = fixture.restore(&dir, &[]).expect(3);
        let missing: Vec<&str> = run
            .stderr
            .lines()
            .filter(|line| line.starts_with("missing: "))
            .collect();
        assert!(
            matches!(missing[..], [one] if one.contains("d/autogen/2") && one.contains(&shard)),
            "{}",
            run.stderr
        );
        assert_eq!(fixture.target.points(), fixture.points_without(1));
        fixture.target.execute("DROP DATABASE d");
        // Asked for by its number, nothing is left to restore.
        let run = fixture
            .restore(&dir, &["-db", "d", "-shard", "2"])
            .expect(10);
        assert!(run.stderr.contains(&shard), "{}", run.stderr);
    }
    let gone = |name: &str, recorded: bool, file: &str, code: i32| {
        let dir = fixture.copy(name, recorded);
        fs::remove_file(dir.join(file)).expect("removing a file");
        fixture.restore(&dir, &[]).expect(code).stderr
    };
    let (meta, manifest) = (
        format!("{}.meta", fixture.stamp),
        format!("{}.manifest", fixture.stamp),
    );
    assert!(gone("meta", true, &meta, 4).contains(&meta));
    // Nobody else says which of the files make a set.
    assert!(gone("manifest", false, &manifest, 10).contains("no manifest"));
    assert!(fixture.target.databases().is_empty());
    // Without its record, the manifest says what there is.
    gone("record", true, &format!(".snap/{}.json", fixture.stamp), 0);
    assert!(fixture.target.points() == fixture.points);
}

#[test]
fn a_tsm_file_without_its_ends_inside_a_whole_archive_is_found_before_the_server_is_touched() {
    let fixture = PortableBackup::new();
    let before = fixture.touched();
    let spoilers: [fn(&mut Vec<u8>); 3] = [
        |tsm| tsm[0] ^= 1,
        |tsm| tsm[4] = 2,
        |tsm| {
            let footer = tsm.len() - 8;
            tsm[footer..].fill(0xff);
        },
    ];
    for (nth, spoil) in spoilers.into_iter().enumerate() {
        let dir = fixture.copy(&format!("tsm{nth}"), false);
        let file = dir.join(format!("{}.s2.tar.gz", fixture.stamp));
        rewrite(&file, &fixture.stamp, spoil);
        let run = fixture.restore(&dir, &[]).expect(4);
        assert!(
            run.stderr.contains("s2.tar.gz") && run.stderr.contains("000000001-000000001.tsm"),
            "{}",
            run.stderr
        );
        assert!(
            fixture.touched() == before,
            "the server was touched: {}",
            run.stderr
        );
    }
}

/// Changes the first file in a shard's archive, which stays one of the same length.
fn rewrite(file: &Path, stamp: &str, change: impl Fn(&mut Vec<u8>)) {
    let mut packed = Vec::new();
    decompress(fs::File::open(file).expect("a shard"))
        .read_to_end(&mut packed)
        .expect("a shard's tar");
    let mut members = all_members(&packed);
    change(&mut members[0].content);
    let mut encoder = compress(stamp, 2, Vec::new());
    encoder
        .write_all(&peer::tar(&members))
        .expect("writing to memory");
    let (packed, _) = encoder.finish().expect("writing to memory");
    fs::write(file, packed).expect("writing a shard");
}

#[test]
fn a_shard_that_fails_is_not_in_the_manifest_and_influxd_restores_the_rest() {
    let fixture = PortableBackup::new();
    let proxy = Between::start(&fixture.source.host(), |ask, _| {
        (ask == Ask::Shard(2)).then_some(Spoil::Cut(700, End::Fin))
    });
    let dir = fixture.folder.path().join("partial");
    let args = [
        "backup",
        "-portable",
        "-retries",
        "1",
        "-host",
        &proxy.host(),
    ];
    let run = snap([&args[..], &[utf8(&dir)]].concat()).expect(1);
    assert!(run.stderr.contains("d/autogen/2"), "{}", run.stderr);
    assert_eq!(visible(&dir), Vec::<String>::new());
    let run = snap([&args[..], &["-skip-errors", utf8(&dir)]].concat()).expect(3);
    assert!(
        run.stderr.contains("missing: shard d/autogen/2"),
        "{}",
        run.stderr
    );
    let names = visible(&dir);
    let [manifest, meta, one, three] = &names[..] else {
        panic!("{names:?}")
    };
    assert!(
        meta.ends_with(".meta") && one.ends_with(".s1.tar.gz") && three.ends_with(".s3.tar.gz"),
        "{names:?}"
    );
    let manifest: Value =
        serde_json::from_slice(&fs::read(dir.join(manifest)).expect("a manifest")).expect("JSON");
    assert_eq!(manifest["limited"], true);
    let listed: Vec<&str> = manifest["files"]
        .as_array()
        .expect("files")
        .iter()
        .filter_map(|file| file["fileName"].as_str())
        .collect();
    assert_eq!(listed, [one, three]);
    influxd_client(&[
        "restore",
        "-portable",
        "-host",
        &fixture.target.host(),
        utf8(&dir),
    ]);
    let expected = fixture.points_without(1);
    assert!(fixture.target.comes_to(&expected), "the points differ");
    fixture.target.execute("DROP DATABASE d");
    let run = fixture.restore(&dir, &[]).expect(3);
    assert!(
        run.stderr.contains("missing: shard d/autogen/2"),
        "{}",
        run.stderr
    );
    fixture.target.expect_points(&expected);
}

/// The names that influxd sees.
fn visible(dir: &Path) -> Vec<String> {
    let names = if dir.exists() {
        tree::names(dir)
    } else {
        Vec::new()
    };
    names.into_iter().filter(|name| name != ".snap").collect()
}

#[test]
fn a_portable_backup_whose_streams_break_off_anywhere_leaves_no_file() {
    let whole = Model::new(Version::V1_6, &[("db", "autogen", 1)])
        .shard(1)
        .bytes();
    let cuts: Vec<(u64, usize)> = (1..).zip(peer::offsets(&whole)).collect();
    let shards: Vec<_> = cuts.iter().map(|(id, _)| ("db", "autogen", *id)).collect();
    let server = Peer::start(Model::new(Version::V1_6, &shards));
    let script = |again: bool| {
        for (id, at) in &cuts {
            let cut = Reply::Cut(*at, if id % 2 == 0 { End::Fin } else { End::Rst });
            server.script(
                Asked::Shard(*id),
                [cut].into_iter().chain(again.then_some(Reply::Whole)),
            );
        }
    };
    let folder = folder();
    let dir = folder.path().join("backup");
    let host = server.host();
    let args = [
        "backup",
        "-portable",
        "-apply-deletes=false",
        "-jobs",
        "16",
        "-host",
        &host,
        utf8(&dir),
    ];
    script(false);
    let run = snap([&args[..], &["-retries", "0"]].concat()).expect(1);
    for (id, at) in &cuts {
        assert!(
            run.stderr
                .contains(&format!("shard db/autogen/{id}: failed: ")),
            "cut at {at}: {}",
            run.stderr
        );
    }
    assert_eq!(visible(&dir), Vec::<String>::new());
    // An attempt after one that broke off begins a new archive.
    script(true);
    snap([&args[..], &["-retries", "1"]].concat()).expect(0);
    let names = visible(&dir);
    assert_eq!(names.len(), cuts.len() + 2);
    let model = server.model();
    for name in names.iter().filter(|name| name.ends_with(".tar.gz")) {
        let id = name
            .trim_end_matches(".tar.gz")
            .rsplit_once(".s")
            .and_then(|(_, id)| id.parse::<u64>().ok());
        let mut tar = Vec::new();
        decompress(fs::File::open(dir.join(name)).expect("a shard"))
            .read_to_end(&mut tar)
            .expect("a shard's tar");
        let shard = model
            .shards
            .iter()
            .find(|shard| Some(shard.path.id) == id)
            .expect("a shard of the server's");
        assert!(
            shard.bytes() == tar,
            "{name} does not hold what the server sent"
        );
    }
}

#[test]
fn a_portable_backup_that_is_killed_leaves_nothing_that_counts_and_the_next_run_clears_it_away() {
    let server = Peer::start(Model::new(
        Version::V1_6,
        &[("db", "autogen", 1), ("db", "autogen", 2)],
    ));
    let folder = folder();
    let dir = folder.path().join("backup");
    let host = server.host();
    let args = [
        "backup",
        "-portable",
        "-jobs",
        "1",
        "-host",
        &host,
        utf8(&dir),
    ];
    server.script(Asked::Shard(1), [Reply::Stall(700), Reply::Whole]);
    server.script(Asked::Shard(2), [Reply::Stall(700), Reply::Whole]);
    let running = Snap::new(args).spawn();
    // The metastore, the list of shards, and a shard.
    server.wait_for_requests(3);
    thread::sleep(Duration::from_millis(300));
    kill_process(
        Pid::from_raw(i32::try_from(running.pid()).expect("an id")).expect("an id"),
        Signal::KILL,
    )
    .expect("a signal");
    assert_eq!(running.wait().signal, Some(9));
    assert_eq!(visible(&dir), Vec::<String>::new());
    assert!(
        tree::names(&dir.join(".snap"))
            .iter()
            .any(|name| name.ends_with(".files")),
        "nothing was left"
    );
    let nobody = peer::nobody();
    snap(["restore", "-portable", "-host", &nobody, utf8(&dir)]).expect(10);
    // The shard that was not asked for yet stalls again, but for a second alone.
    snap([&args[..], &["-idle-timeout", "1s", "-retries", "1"]].concat()).expect(0);
    let hidden = tree::names(&dir.join(".snap"));
    assert!(
        matches!(&hidden[..], [record, lock] if record.ends_with(".json") && lock == "lock"),
        "{hidden:?}"
    );
    assert_eq!(visible(&dir).len(), 4);
}

#[test]
fn files_that_were_given_their_names_by_a_run_that_died_then_are_no_set_and_are_cleared_away() {
    let fixture = PortableBackup::new();
    let intent = |dir: &Path| {
        let record = dir.join(format!(".snap/{}.json", fixture.stamp));
        fs::rename(&record, record.with_extension("commit")).expect("a record");
    };
    let manifest = format!("{}.manifest", fixture.stamp);
    for (name, last) in [("all", None), ("but the manifest", Some(&manifest))] {
        let dir = fixture.copy(name, true);
        intent(&dir);
        if let Some(last) = last {
            fs::remove_file(dir.join(last)).expect("removing the manifest");
        }
        let run = fixture.restore(&dir, &[]).expect(10);
        assert!(fixture.target.databases().is_empty(), "{}", run.stderr);
        snap([
            "backup",
            "-portable",
            "-host",
            &fixture.source.host(),
            utf8(&dir),
        ])
        .expect(0);
        // Those of the new set, which may have the stamp of the old one.
        let (names, hidden) = (visible(&dir), tree::names(&dir.join(".snap")));
        assert!(
            names.len() == 5 && !hidden.iter().any(|name| name.ends_with(".commit")),
            "{name}: {names:?} {hidden:?}"
        );
        fixture
            .restore(&dir, &["-db", "d", "-newdb", name])
            .expect(0);
        assert_eq!(fixture.target.points_of(name).len(), fixture.points.len());
        fixture.target.execute(&format!("DROP DATABASE \"{name}\""));
    }
}

/// A portable backup of a scripted server as influxd leaves one, without a record: `a` with the
/// shards 1 and 2, `b` with 3.
fn as_of_influxd(folder: &Path, flags: &[&str], code: i32) -> (PathBuf, String) {
    let mut model = Model::new(Version::V1_6, &[]);
    for (database, id) in [("a", 1), ("a", 2), ("b", 3)] {
        let path = ShardPath {
            database: database.into(),
            retention_policy: "autogen".into(),
            id,
        };
        let member = peer::Member::new(format!("{path}/{FILE}"), TSM.to_vec());
        let tar = peer::Tar::Bytes(peer::tar(&[member]));
        model.shards.push(peer::Shard::with_tar(path, tar));
    }
    let peer = Peer::start(model);
    if code != 0 {
        peer.script(Asked::Shard(2), [Reply::Nothing]);
    }
    let dir = folder.join("backup");
    let _ = fs::remove_dir_all(&dir);
    let flags = [&["-portable", "-quiet", "-retries", "0"], flags].concat();
    backup(&peer.host(), &flags, &dir).run().expect(code);
    fs::remove_dir_all(dir.join(".snap")).expect("removing the record");
    let names = tree::names(&dir);
    let mut stamps = names
        .iter()
        .filter_map(|name| name.strip_suffix(".manifest"));
    let stamp = stamps.next().expect("a manifest").to_owned();
    (dir, stamp)
}

#[test]
fn what_was_asked_for_and_is_not_in_a_manifest_is_named() {
    let folder = folder();
    let (dir, _) = as_of_influxd(folder.path(), &["-database", "a", "-shard", "1"], 0);
    let target = folder.path().join("target");
    for (flags, code, named) in [
        (&["-database", "b"][..], 10, "b/autogen/3"),
        (
            &["-database", "b", "-retention", "autogen"],
            10,
            "b/autogen/3",
        ),
        (&["-shard", "3"], 10, "b/autogen/3"),
        (&["-database", "a", "-shard", "2"], 10, "a/autogen/2"),
        (&["-database", "a"], 3, "a/autogen/2"),
        (&["-shard", "1"], 0, ""),
        (&[], 0, "a/autogen/2"),
    ] {
        for set in [None, Some("latest")] {
            let run = restore_into(&target, &[&["-dry-run"], flags].concat(), &dir);
            let run = run.args(set).run().expect(code);
            assert!(run.stderr.contains(named), "{flags:?}: {}", run.stderr);
        }
    }
    // Into a running server, the same.
    let peer = Peer::start(Model::new(Version::V1_6, &[]));
    for (database, code) in [("b", 10), ("a", 3)] {
        let flags = ["-dry-run", "-database", database];
        restore_online(&peer.host(), &flags, &dir)
            .run()
            .expect(code);
    }
}

#[test]
fn an_entry_of_a_manifest_that_belongs_to_no_shard_is_damage_to_everybody() {
    let folder = folder();
    let target = folder.path().join("target");
    let (dir, stamp) = as_of_influxd(folder.path(), &[], 0);
    let manifest = dir.join(format!("{stamp}.manifest"));
    let sound = fs::read_to_string(&manifest).expect("a manifest");
    restore_into(&target, &["-dry-run"], &dir).run().expect(0);
    snap(["verify", utf8(&dir)]).expect(0);
    let third = format!("{stamp}.s3.tar.gz");
    let second = format!("{stamp}.s2.tar.gz");
    for (from, to, file) in [
        ("\"shardID\": 3", "\"shardID\": 7", &third),
        ("\"shardID\": 3", "\"shardID\": 2", &third),
        ("\"database\": \"b\"", "\"database\": \"c\"", &third),
        ("\"database\": \"b\"", "\"database\": \"a\"", &third),
        (".s3.tar.gz", ".s2.tar.gz", &second),
    ] {
        let changed = sound.replacen(from, to, 1);
        assert!(changed != sound, "{from}");
        fs::write(&manifest, changed).expect("writing a manifest");
        for flags in [&["-dry-run"][..], &["-dry-run", "-database", "a"]] {
            let run = restore_into(&target, flags, &dir).run().expect(3);
            assert!(
                run.stderr.contains(&format!("lists {file}")),
                "{to}: {}",
                run.stderr
            );
        }
        restore_into(&target, &["-dry-run", "-database", "b"], &dir)
            .run()
            .expect(10);
        for flags in [&[][..], &["-deep"]] {
            let run = snap([&["verify"], flags, &[utf8(&dir)]].concat()).expect(4);
            assert!(run.stdout.contains(file.as_str()), "{to}: {}", run.stdout);
        }
        let run = snap(["check", "-max-age", "1h", utf8(&dir)]).expect(1);
        assert!(run.stdout.contains(file.as_str()), "{to}: {}", run.stdout);
    }
    // A file that nobody lists.
    let mut document: Value = serde_json::from_str(&sound).expect("JSON");
    let files = document["files"].as_array_mut().expect("files");
    files.retain(|file| file["fileName"] != third);
    fs::write(&manifest, document.to_string()).expect("writing a manifest");
    let told = format!("does not list {third}");
    let run = restore_into(&target, &["-dry-run"], &dir).run().expect(3);
    assert!(run.stderr.contains(&told), "{}", run.stderr);
    let run = snap(["verify", utf8(&dir)]).expect(4);
    assert!(run.stdout.contains(&told), "{}", run.stdout);
    let run = snap(["check", "-max-age", "1h", utf8(&dir)]).expect(1);
    assert!(run.stdout.contains(&told), "{}", run.stdout);
    fs::remove_file(dir.join(&third)).expect("removing a file");
    snap(["verify", utf8(&dir)]).expect(0);
}

#[test]
fn a_partial_set_says_so_without_its_record_too() {
    let folder = folder();
    let (dir, _) = as_of_influxd(folder.path(), &["-skip-errors"], 3);
    let target = folder.path().join("target");
    for flags in [&["-dry-run"][..], &["-dry-run", "-database", "a"]] {
        let run = restore_into(&target, flags, &dir).run().expect(3);
        assert!(
            run.stderr.contains("a/autogen/2") && run.stderr.contains("\"limited\": true"),
            "{}",
            run.stderr
        );
    }
    let run = snap(["verify", utf8(&dir)]).expect(3);
    assert!(run.stdout.contains("a/autogen/2"), "{}", run.stdout);
}
