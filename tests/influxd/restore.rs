//! What restore refuses, what it says it would do, and what it makes of files, owners and numbers.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

use influx_snap::wire::MetaBlob;
use serde_json::Value;

use crate::support::data::small_server;
use crate::support::disk::on_small_disk;
use crate::support::handmade::{
    FILE, Folder, Shard, TSM, assert_same, differences, everything, meta, restore, shard_file,
    shard_tar, tsm,
};
use crate::support::influxd::{Index, Influxd};
use crate::support::peer::{self, Member, Model, Peer, Version};
use crate::support::process::{self, snap};
use crate::support::{tree, utf8};

const FIRST: Shard<'static> = ("d", "autogen", 1);
const LATER: Shard<'static> = ("d", "autogen", 10);
const NAMED: Shard<'static> = ("db.dot", "two weeks", 100);

#[test]
fn a_target_that_holds_data_is_refused_unchanged_and_replaced_by_force() {
    let folder = Folder::new();
    let old = folder.backup("old", &[FIRST, LATER], 1);
    let new = folder.backup("new", &[FIRST, LATER, NAMED], 2);
    let fresh = folder.outcome(&new);
    let target = folder.path("target");
    restore(&old, &target, &[]).expect(0);
    let before = everything(&target);

    let refused = restore(&new, &target, &[]).expect(6);
    assert!(
        refused.stderr.contains("meta.db") && refused.stderr.contains("-force"),
        "{}",
        refused.stderr
    );
    assert_same(&everything(&target), &before, "refused for its metastore");
    let refused = restore(&old, &target, &[]).expect(6);
    assert!(
        refused.stderr.contains("d/autogen/10") && refused.stderr.contains("hint:"),
        "{}",
        refused.stderr
    );
    assert_same(&everything(&target), &before, "refused for its shards");
    let data = target.join("data");
    snap([
        "restore",
        "-datadir",
        utf8(&data),
        "-database",
        "d",
        utf8(&new),
    ])
    .expect(6);
    assert_same(&everything(&target), &before, "refused without -metadir");

    restore(&new, &target, &["-force"]).expect(0);
    assert_same(&everything(&target), &fresh, "replaced");

    // Points that are only in the write-ahead log are data too.
    let target = folder.path("logged");
    let log = target.join("wal/d/autogen/10/_00001.wal");
    fs::create_dir_all(log.parent().expect("a directory")).expect("a WAL directory");
    fs::write(&log, "points").expect("a WAL file");
    let before = everything(&target);
    let refused = restore(&new, &target, &[]).expect(6);
    assert!(
        refused.stderr.contains("wal/d/autogen/10"),
        "{}",
        refused.stderr
    );
    assert_same(&everything(&target), &before, "refused for its WAL");
    restore(&new, &target, &["-force"]).expect(0);
    assert!(
        !log.exists(),
        "the old points would come back over the new ones"
    );

    // A shard that the restored metastore does not name would be picked up by the next shard of
    // its id.
    let target = folder.path("stray");
    fs::create_dir_all(target.join("data/other/autogen/11")).expect("a shard");
    fs::write(
        target.join("data/other/autogen/11/000000001-000000001.tsm"),
        tsm(1),
    )
    .expect("a TSM file");
    let before = everything(&target);
    let refused = restore(&new, &target, &[]).expect(6);
    assert!(
        refused.stderr.contains("other/autogen/11"),
        "{}",
        refused.stderr
    );
    assert_same(&everything(&target), &before, "refused for a stray");
}

#[test]
fn a_running_influxd_is_refused() {
    let folder = Folder::new();
    let server = small_server(&folder.path("live"));
    let host = server.host();
    let backup = folder.path("backup");
    snap(["backup", "-host", &host, utf8(&backup)]).expect(0);
    let points = server.points();
    let before = everything(&folder.path("live"));

    let refused = restore(&backup, &folder.path("live"), &["-force"]).expect(6);
    assert!(
        refused.stderr.contains(&server.pid().to_string())
            && refused.stderr.contains("stop influxd"),
        "{}",
        refused.stderr
    );
    let after = everything(&folder.path("live"));
    let changed = differences(&after, &before);
    // The server itself writes its log.
    assert!(
        changed.iter().all(|path| path == Path::new("influxd.log")),
        "changed: {changed:?}"
    );
    assert_eq!(server.points(), points);

    // Where its files cannot be seen, its metastore gives it away.
    let copy = folder.path("copy");
    fs::create_dir_all(copy.join("meta")).expect("a meta directory");
    fs::copy(server.meta_dir().join("meta.db"), copy.join("meta/meta.db"))
        .expect("a copy of meta.db");
    let before = everything(&copy);
    for flags in [
        &["-force", "-host", &host][..],
        &["-merge", "-host", &host],
        &["-host", &host],
    ] {
        let refused = restore(&backup, &copy, flags).expect(6);
        assert!(
            refused.stderr.contains(&host) && refused.stderr.contains("same metastore"),
            "{}",
            refused.stderr
        );
        assert_same(&everything(&copy), &before, "refused for its metastore");
    }
    server.stop();
    restore(&backup, &copy, &["-host", &host]).expect(0);
    restore(&backup, &folder.path("live"), &["-force"]).expect(0);
    assert_eq!(
        Influxd::start(&folder.path("live"), Index::Inmem).points(),
        points
    );
}

#[test]
fn names_that_lead_outside_are_refused() {
    let folder = Folder::new();
    let good = ("good", "autogen", 7);
    let refuse = |number: usize, backup: &Path, what: &str, codes: &[i32]| {
        let target = folder.path("deep/inside/target");
        let before = everything(folder.root());
        let run = restore(backup, &target, &[]);
        assert!(
            run.code.is_some_and(|code| codes.contains(&code)),
            "{number} {what}: {:?}\n{}",
            run.code,
            run.stderr
        );
        assert_same(&everything(folder.root()), &before, what);
    };
    let names = [
        ("..", "autogen"),
        (".", "autogen"),
        ("d", ".."),
        ("d", "."),
        ("a\\b", "autogen"),
        ("../x", "autogen"),
        ("a/b", "autogen"),
        ("/abs", "autogen"),
        ("d", "../../x"),
        ("d", "/abs"),
        ("d", "a/b"),
        ("", "autogen"),
        ("d", ""),
    ];
    for (number, (db, rp)) in names.into_iter().enumerate() {
        let backup = folder.backup(&format!("names {number}"), &[good], 1);
        let bad = (db, rp, 1);
        fs::write(backup.join("meta.00"), meta(&[good, bad])).expect("a metastore");
        // A file name cannot hold a slash, so only some of these names can have a file.
        if !db.contains('/') && !rp.contains('/') {
            let tar = shard_tar(bad, &[(FILE, TSM)]);
            fs::write(backup.join(shard_file(bad, 0)), tar).expect("a shard");
        }
        refuse(
            number,
            &backup,
            &format!("the names {db:?} and {rp:?}"),
            &[6],
        );
    }

    // What the tar names must be below the shard it is of.
    let regular = b'0';
    let members = [
        ("good/autogen/7/../../../../../x.tsm", regular, ""),
        ("good/autogen/7/..", regular, ""),
        ("good/autogen/7/./../x.tsm", regular, ""),
        ("good/autogen/7/", regular, ""),
        ("good/autogen/7", regular, ""),
        ("good/autogen/7//etc/x.tsm", regular, ""),
        ("good/autogen/70/x.tsm", regular, ""),
        ("good/autogen/8/x.tsm", regular, ""),
        ("../x.tsm", regular, ""),
        ("/tmp/x.tsm", regular, ""),
        ("x.tsm", regular, ""),
        ("good/autogen/7/link", b'2', "/etc"),
        ("good/autogen/7/link", b'1', "/etc/passwd"),
        ("good/autogen/7/pipe", b'6', ""),
        ("good/autogen/7/device", b'3', ""),
        ("good/autogen/7/../8", b'5', ""),
    ];
    for (number, (name, kind, link)) in members.into_iter().enumerate() {
        let backup = folder.backup(&format!("members {number}"), &[good], 1);
        let content = if kind == regular {
            TSM.to_vec()
        } else {
            Vec::new()
        };
        let sound = Member::new(format!("good/autogen/7/{FILE}"), TSM.to_vec());
        let tar = peer::tar(&[sound, Member::new(name, content).flag(kind).link(link)]);
        fs::write(backup.join(shard_file(good, 0)), tar).expect("a shard");
        refuse(
            number,
            &backup,
            &format!("a member {name} of kind {}", char::from(kind)),
            &[4, 6],
        );
    }

    let backup = folder.backup("good", &[good], 1);
    for flags in [
        ["-newdb", "../x"],
        ["-newdb", "a/b"],
        ["-newdb", ".."],
        ["-newdb", ""],
    ] {
        let target = folder.path("deep/inside/target");
        let before = everything(folder.root());
        let run = restore(
            &backup,
            &target,
            &[&["-database", "good"][..], &flags].concat(),
        );
        assert!(
            matches!(run.code, Some(2 | 6)),
            "{flags:?}: {:?}\n{}",
            run.code,
            run.stderr
        );
        assert_same(&everything(folder.root()), &before, "the flags");
    }
}

#[test]
fn new_files_get_owner_and_mode_of_the_target_directory() {
    const SOMEBODY: u32 = 12_345;
    let folder = Folder::new();
    let backup = folder.backup("backup", &[FIRST, NAMED], 1);
    // Writing to a directory's own file tells who one is.
    let root = fs::metadata(&backup).expect("metadata").uid() == 0;
    let target = folder.path("target");
    for (name, mode) in [("data", 0o2750), ("meta", 0o750), ("bare", 0o700)] {
        let directory = target.join(name);
        fs::create_dir_all(&directory).expect("a directory");
        fs::set_permissions(&directory, fs::Permissions::from_mode(mode & 0o777))
            .expect("setting a mode");
        if root {
            std::os::unix::fs::chown(&directory, Some(SOMEBODY), Some(SOMEBODY + 1))
                .expect("changing an owner");
        }
    }
    let check = |directory: &Path, private: bool| {
        for path in everything(directory)
            .keys()
            .filter(|path| !path.as_os_str().is_empty())
        {
            let metadata = fs::metadata(directory.join(path)).expect("metadata");
            let expected = match (metadata.is_dir(), private) {
                (true, false) => 0o750,
                (true, true) => 0o700,
                (false, false) => 0o640,
                (false, true) => 0o600,
            };
            assert_eq!(
                metadata.mode() & 0o7777,
                expected,
                "the mode of {}",
                path.display()
            );
            if root {
                assert_eq!(
                    (metadata.uid(), metadata.gid()),
                    (SOMEBODY, SOMEBODY + 1),
                    "the owner of {}",
                    path.display()
                );
            }
        }
    };
    restore(&backup, &target, &["-index", "tsi1"]).expect(0);
    check(&target.join("data"), false);
    check(&target.join("meta"), false);
    assert!(target.join("data/d/autogen/1/index").is_dir());
    // Directories that are made are for the owner alone, and belong to whom the directory above
    // belongs.
    restore(&backup, &target.join("bare"), &[]).expect(0);
    check(&target.join("bare"), true);
}

#[test]
fn a_disk_without_room_is_refused() {
    let folder = Folder::new();
    let backup = folder.large_backup("large", 1);
    let disk = folder.path("disk");
    fs::create_dir(&disk).expect("a mount point");
    let script = format!(
        r#""$snap" restore -metadir "$disk/target/meta" -datadir "$disk/target/data" {}; echo "exit $?"; ls -A "$disk""#,
        utf8(&backup)
    );
    let output = on_small_disk("20m", &disk, &script);
    let (said, printed) = (
        String::from_utf8_lossy(&output.stderr),
        String::from_utf8_lossy(&output.stdout),
    );
    assert!(
        said.contains(" free, and ") && said.contains("hint:"),
        "{said}"
    );
    assert_eq!(printed, "exit 6\n");
}

#[test]
fn a_dry_run_says_what_would_be_done_and_changes_nothing() {
    let folder = Folder::new();
    let server = small_server(&folder.path("server"));
    let host = server.host();
    let backup = folder.path("backup");
    let run = snap(["backup", "-dry-run", "-host", &host, utf8(&backup)]).expect(0);
    assert!(
        run.stdout.contains("dry run") && run.stderr.contains("d/autogen/1"),
        "{}{}",
        run.stdout,
        run.stderr
    );
    assert!(!backup.exists(), "the backup directory was made");
    snap(["backup", "-host", &host, utf8(&backup)]).expect(0);
    let before = everything(&backup);
    snap(["backup", "-dry-run", "-host", &host, utf8(&backup)]).expect(0);
    assert_same(&everything(&backup), &before, "a backup's dry run");
    server.stop();

    let target = folder.path("target");
    let run = restore(&backup, &target, &["-dry-run"]).expect(0);
    let shard = target.join("data/d/autogen/1");
    for named in [utf8(&shard), "d.autogen.00001.00", "meta.db"] {
        assert!(
            run.stderr.contains(named),
            "{named} is not in the plan: {}",
            run.stderr
        );
    }
    assert!(
        run.stdout.contains("dry run") && !target.exists(),
        "{}",
        run.stdout
    );
    restore(&backup, &target, &[]).expect(0);
    let before = everything(&target);
    restore(&backup, &target, &["-dry-run", "-force"]).expect(0);
    restore(&backup, &target, &["-dry-run"]).expect(6);
    assert_same(&everything(&target), &before, "a restore's dry run");
}

#[test]
fn the_metastore_that_was_written_is_named_and_a_full_backup_is_asked_for_next() {
    let folder = Folder::new();
    let backup = folder.backup("backup", &[FIRST], 1);
    let meta_db = folder.path("target").join("meta/meta.db");
    let alone = |flags: &[&str]| {
        let metadir = meta_db.parent().expect("a directory");
        let args = ["restore", "-metadir", utf8(metadir)];
        snap([&args[..], flags, &[utf8(&backup)]].concat()).expect(0)
    };
    let run = alone(&["-dry-run"]);
    let alone_is_told = |stdout: &str| {
        let place = format!("B, {}", meta_db.display());
        stdout.contains(&place) && !stdout.contains("shard")
    };
    assert!(
        run.stdout.starts_with("dry run: would restore set ") && alone_is_told(&run.stdout),
        "{}",
        run.stdout
    );
    let run = alone(&[]);
    assert!(
        run.stdout.starts_with("restored set ") && alone_is_told(&run.stdout),
        "{}",
        run.stdout
    );
    assert!(!run.stderr.contains("-since"), "{}", run.stderr);
    // It is there already, and left as it is.
    assert_eq!(alone(&["-json"]).last_message()["metastore"], Value::Null);
    let target = folder.path("other");
    let run = restore(&backup, &target, &["-json"]).expect(0);
    let expected = target.join("meta/meta.db");
    assert_eq!(run.last_message()["metastore"], utf8(&expected));
    assert!(run.stdout.contains("without -since"), "{}", run.stdout);
}

#[test]
fn a_temporary_directory_that_cannot_be_used_is_named_and_not_needed_where_the_target_has_room() {
    let folder = Folder::new();
    let peer = Peer::start(Model::new(Version::V1_6, &[FIRST]));
    let backup = folder.path("backup");
    process::backup(&peer.host(), &["-portable"], &backup)
        .run()
        .expect(0);
    let target = folder.path("target");
    let with_tmpdir = |flags: &[&str], code: i32| {
        process::restore_into(&target, flags, &backup)
            .env("TMPDIR", folder.path("nowhere"))
            .run()
            .expect(code)
    };
    let run = with_tmpdir(&["-dry-run"], 1);
    let place = format!("TMPDIR ({})", folder.path("nowhere").display());
    assert!(
        run.stderr.contains("cannot write a temporary file in")
            && run.stderr.contains(&place)
            && run.stderr.contains("hint: "),
        "{}",
        run.stderr
    );
    fs::create_dir_all(target.join("data")).expect("a data directory");
    with_tmpdir(&[], 0);
}

#[test]
fn the_newest_of_a_hundred_sets_is_told_by_its_number() {
    let folder = Folder::new();
    // `meta.autogen.00039.00` and `.pending` files sort behind `meta.NN`, and `meta.99` behind
    // `meta.100`.
    let (own, of_meta, late) = (
        ("d", "autogen", 10),
        ("meta", "autogen", 39),
        ("d", "autogen", 100),
    );
    let backup = folder.backup("backup", &[own, of_meta], 1);
    let put = |name: String, content: Vec<u8>| {
        fs::write(backup.join(name), content).expect("a file of the backup")
    };
    let tar = |shard, value| shard_tar(shard, &[(FILE, &tsm(value))]);
    for number in 1..=99 {
        put(format!("meta.{number:02}"), meta(&[own, of_meta]));
    }
    put(shard_file(own, 98), tar(own, 98));
    put(
        shard_file(own, 99),
        shard_tar(
            own,
            &[(FILE, &tsm(99)), ("000000002-000000001.tsm", &tsm(99))],
        ),
    );
    put("meta.100".to_owned(), meta(&[own, of_meta, late]));
    put(shard_file(own, 100), tar(own, 100));
    put(shard_file(late, 100), tar(late, 100));
    put("meta.101.pending".to_owned(), b"half".to_vec());
    put(
        format!("{}.pending", shard_file(own, 101)),
        b"half".to_vec(),
    );
    put(
        shard_file(("d", "autogen", 1), 0),
        b"a shard that the newest metastore does not name".to_vec(),
    );
    put("notes.txt".to_owned(), b"not a backup".to_vec());

    let target = folder.path("target");
    restore(&backup, &target, &[]).expect(0);
    let read =
        |name: &str| fs::read(target.join(name)).unwrap_or_else(|error| panic!("{name}: {error}"));
    let blob = MetaBlob::read_from(&meta(&[own, of_meta, late])[..]).expect("a metastore");
    assert_eq!(
        (read("meta/meta.db"), read("meta/node.json")),
        (blob.meta, blob.node)
    );
    let mut files: Vec<String> = tree::files(&target.join("data")).into_keys().collect();
    files.sort();
    assert_eq!(
        files,
        [
            "d/autogen/10/000000001-000000001.tsm",
            "d/autogen/10/000000002-000000001.tsm",
            "d/autogen/100/000000001-000000001.tsm",
            "meta/autogen/39/000000001-000000001.tsm",
        ]
    );
    assert_eq!(read("data/d/autogen/10/000000001-000000001.tsm"), tsm(100));
    assert_eq!(read("data/d/autogen/10/000000002-000000001.tsm"), tsm(99));
    assert_eq!(read("data/meta/autogen/39/000000001-000000001.tsm"), tsm(1));
}
