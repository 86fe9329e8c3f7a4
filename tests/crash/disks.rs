//! A backup directory on a disk that is full, that may not be written, or in which files may not
//! grow; and who may read what is made.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;
use std::process::Command;

use crate::support::disk::on_small_disk;
use crate::support::handmade;
use crate::support::influxd::{Index, Influxd};
use crate::support::peer::{Member, Model, Peer, Tar, Version, tar, tsm};
use crate::support::process::{Run, Snap, backup, restore_into, snap};
use crate::support::service::copy;
use crate::support::time::{MONDAY, SECOND};
use crate::support::tsm as by_hand;
use crate::support::{folder, tree, utf8};
use influx_snap::repository::manifest::compress;
use influx_snap::tsm::tombstone::{TombstoneRecord, TombstoneWriter};
use influx_snap::tsm::values::{Points, ValueType, Values};
use influx_snap::tsm::writer::Writer;
use serde_json::Value;

/// Bytes of each of two shards: a set fits the disk, and two do not.
const SHARD: usize = 1200 << 10;

/// A server with two shards.
fn peer() -> Peer {
    let ids = [1, 2];
    let mut model = Model::new(Version::V1_6, &ids.map(|id| ("db", "autogen", id)));
    for id in ids {
        let member = Member::new(
            format!("db/autogen/{id}/000000001-000000001.tsm"),
            tsm(id, SHARD),
        );
        model.shard(id).tar = Tar::Bytes(tar(&[member]));
    }
    Peer::start(model)
}

/// Runs a script on a small disk, in which `$host` is a server. What it prints, and what it says.
fn script(size: &str, script: &str) -> (String, String) {
    let (folder, peer) = (folder(), peer());
    let disk = folder.path().join("disk");
    fs::create_dir(&disk).expect("a mount point");
    let output = on_small_disk(size, &disk, &format!("host={}; {script}", peer.host()));
    (
        String::from_utf8_lossy(&output.stdout).into_owned(),
        String::from_utf8_lossy(&output.stderr).into_owned(),
    )
}

#[test]
fn a_backup_that_finds_the_disk_full_leaves_the_sets_there_are_and_gives_back_the_room() {
    for layout in ["", "-portable"] {
        let (printed, said) = script(
            "4m",
            &format!(
                r#"
                "$snap" backup -quiet -host $host {layout} "$disk/b"; echo "first: $?"
                ls -A "$disk/b" "$disk/b/.snap" > "$disk.before"
                free() {{ df --output=avail "$disk" | tail -1; }}
                left=$(free)
                "$snap" backup -quiet -host $host {layout} -retries 5 "$disk/b"; echo "second: $?"
                ls -A "$disk/b" "$disk/b/.snap" | diff "$disk.before" - && echo "the same files"
                [ "$(free)" = "$left" ] && echo "the same room"
                "$snap" verify -quiet "$disk/b"; echo "verify: $?"
                "$snap" list "$disk/b" 2> /dev/null | grep -c complete
                "$snap" backup -quiet -host $host {layout} -incremental "$disk/b"; echo "shared: $?"
                "$snap" verify -quiet "$disk/b"; echo "verify: $?"
                "$snap" list "$disk/b" 2> /dev/null | grep -c complete
                "#
            ),
        );
        let expected = "first: 0\nsecond: 1\nthe same files\nthe same room\nverify: 0\n1\nshared: 0\nverify: 0\n2\n";
        assert_eq!(printed, expected, "{said}");
        let [error, hint] = said.lines().collect::<Vec<_>>()[..] else {
            panic!("{said}")
        };
        assert!(
            error.contains("/disk/b is full: the backup needs more than ")
                && hint.starts_with("hint: nothing was kept; make room"),
            "{said}"
        );
    }
}

#[test]
fn shards_are_restored_into_directories_of_databases_and_policies_on_other_file_systems() {
    let (printed, said) = script(
        "40m",
        r#"
        "$snap" backup -quiet -host $host "$disk.b"
        restore() { "$snap" restore -quiet -host 127.0.0.1:1 -metadir "$1/meta" -datadir "$1/data" -force "$disk.b"; echo "restore: $?"; }
        shards() { (cd "$1" && find -L . -name '*.tsm' | sort; find -L . -name '.snap*'); }
        # A database on another disk; once empty, once with what is replaced, and with what a killed run left.
        mkdir -p "$disk.1/data/db" "$disk/db"; mount --bind "$disk/db" "$disk.1/data/db"
        restore "$disk.1"; mkdir -p "$disk/db/.snap-restore/new/s0"; restore "$disk.1"; shards "$disk.1/data"
        ls "$disk/db/autogen"
        # Killed at any step, by way of which another follows.
        cp -rL "$disk.1/data" "$disk.whole"; n=0; ended=137
        while [ $ended != 0 ] && [ $n -lt 200 ]; do
            n=$((n + 1)); echo old > "$disk/db/autogen/1/old"
            (export SNAP_FAILPOINT=kill:$n; restore "$disk.1") > "$disk.said" 2>&1; ended=$(sed 's/.* //' "$disk.said" | tail -1)
            if [ $ended != 0 ]; then restore "$disk.1" > "$disk.said"; fi
            diff -r "$disk.whole" "$disk.1/data" && [ -z "$(find -L "$disk.1" -name '.snap*')" ] || echo "killed at $n: $(cat "$disk.said")"
        done
        [ $n -gt 20 ] && echo "ended: $ended"
        # A policy on it.
        mkdir -p "$disk.2/data/db/autogen" "$disk/rp"; mount --bind "$disk/rp" "$disk.2/data/db/autogen"
        umount "$disk.1/data/db"; rm -r "$disk/db"; restore "$disk.2"; restore "$disk.2"; shards "$disk.2/data"; ls "$disk/rp"
        # Another directory of the same file system, mounted there, and its WAL too.
        mkdir -p "$disk.3/data/db" "$disk.3/wal/db" "$disk.4/wal/autogen/1" "$disk.4/data"
        mount --bind "$disk.4/data" "$disk.3/data/db"; mount --bind "$disk.4/wal" "$disk.3/wal/db"
        touch "$disk.3/wal/db/autogen/1/_00001.wal"
        restore "$disk.3"; restore "$disk.3"; shards "$disk.3/data"; find "$disk.3/wal" -type f
        # Room is asked for where it is needed.
        mount -t tmpfs -o size=1m none "$disk.4/data"; mkdir -p "$disk.5/data/db"; mount --bind "$disk.4/data" "$disk.5/data/db"
        restore "$disk.5"; ls -A "$disk.4/data"
        # influxd would not open a database or a policy behind a link.
        mkdir -p "$disk.6/data" "$disk.7/data/db" "$disk.linked"
        ln -s "$disk.linked" "$disk.6/data/db"; ln -s "$disk.linked" "$disk.7/data/db/autogen"
        restore "$disk.6"; restore "$disk.7"; ls -A "$disk.linked"
        "#,
    );
    let files = |shards: [u64; 2]| {
        shards
            .map(|id| format!("./db/autogen/{id}/000000001-000000001.tsm\n"))
            .concat()
    };
    let shards = files([1, 2]);
    let twice = "restore: 0\nrestore: 0\n";
    let expected = format!(
        "{twice}{shards}1\n2\nended: 0\n{twice}{shards}1\n2\n{twice}{shards}{}",
        "restore: 6\n".repeat(3)
    );
    assert_eq!(printed, expected, "{said}");
    assert!(
        said.contains(" free, and ")
            && said.contains(".5/data/db")
            && said.contains(".6/data/db is a symbolic link")
            && said.contains(".7/data/db/autogen is a symbolic link")
            && said.lines().count() == 6,
        "{said}"
    );
}

#[test]
fn a_disk_that_is_full_while_a_shard_is_rewritten_is_no_damage_of_the_shard() {
    // Six files, all of a key of their own; of one, a point is deleted.
    let times: Vec<i64> = (0..40_000)
        .map(|nth| nth * 1_000_003 + nth * nth * 7919 % 1_000_003)
        .collect();
    let blocks: Vec<&[i64]> = times.chunks(1000).collect();
    let name = |number: usize, end: &str| format!("db/autogen/1/{number:09}-000000001.{end}");
    let file = |number| {
        by_hand::file(&[by_hand::key(
            &format!("m,k={number}#!~#v"),
            ValueType::Float,
            &blocks,
        )])
    };
    let mut members: Vec<Member> = (1..=6)
        .map(|number| Member::new(name(number, "tsm"), file(number)))
        .collect();
    let mut tombstone = TombstoneWriter::new(Vec::new()).expect("a tombstone");
    tombstone
        .record(TombstoneRecord {
            key: b"m,k=1#!~#v",
            min: times[0],
            max: times[0],
        })
        .expect("a tombstone");
    members.insert(
        0,
        Member::new(
            name(1, "tombstone"),
            tombstone.finish().expect("a tombstone"),
        ),
    );
    let tar = tar(&members);
    let mut model = Model::new(Version::V1_6, &[("db", "autogen", 1)]);
    model.shard(1).tar = Tar::Bytes(tar.clone());
    let peer = Peer::start(model);
    let mut said = Vec::new();
    // Room for what comes, and for a part of what is made of it.
    for part in 11..19 {
        let (folder, size) = (folder(), tar.len() * part / 10 / 1024);
        let disk = folder.path().join("disk");
        fs::create_dir(&disk).expect("a mount point");
        let flags = "-apply-deletes -verbose -retries 3 -skip-errors -host";
        let script = format!(
            r#""$snap" backup {flags} {} "$disk/b"; echo "exit: $?"; ls -A "$disk""#,
            peer.host()
        );
        let output = on_small_disk(&format!("{size}k"), &disk, &script);
        let (printed, error) = (
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr),
        );
        assert_eq!(printed, "exit: 1\n", "{part}: {error}");
        assert!(error.contains("/disk/b is full: "), "{part}: {error}");
        let cause = error
            .lines()
            .find(|line| line.contains("no space left on the disk"));
        said.push(
            cause
                .unwrap_or_else(|| panic!("{part}: {error}"))
                .to_owned(),
        );
    }
    assert!(
        said.iter()
            .any(|error| error.contains(".tombstone") || !error.contains("writing what came")),
        "{said:?}"
    );
}

#[test]
fn a_user_who_may_not_is_told_whose_the_directory_is() {
    let (folder, peer) = (folder(), peer());
    let mode = |path: &Path, mode| {
        fs::set_permissions(path, fs::Permissions::from_mode(mode)).expect("permissions");
    };
    mode(folder.path(), 0o755);
    let (sets, closed) = (folder.path().join("sets"), folder.path().join("closed"));
    backup(&peer.host(), &["-quiet"], &sets).run().expect(0);
    fs::create_dir(&closed).expect("a directory");
    mode(&sets, 0o000);
    mode(&closed, 0o555);
    // Root may do anything: somebody else has to run it, who may not come to where it is built.
    let program = folder.path().join("program");
    fs::copy(env!("CARGO_BIN_EXE_snap"), &program).expect("a copy");
    let owner = fs::metadata(&closed).expect("a directory").uid();
    let (other, user) = match owner {
        0 => (&["setpriv", "--reuid=65534", "--clear-groups"][..], 65534),
        user => (&["env"][..], user),
    };
    let said = |args: &[&str]| {
        let output = Command::new(other[0])
            .args(&other[1..])
            .arg(&program)
            .args(args)
            .env("SNAP_CONFIG", "")
            .output()
            .expect("setpriv, of util-linux");
        assert_eq!(output.status.code(), Some(1), "{output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    let (sets_name, closed_name) = (sets.display(), closed.display());
    let new = closed.join("new");
    assert_eq!(
        said(&["backup", "-quiet", "-host", &peer.host(), utf8(&new)]),
        format!(
            "snap: cannot create {closed_name}/new/.snap: permission denied\n\
             hint: {closed_name} belongs to user {owner}, and snap runs as user {user}: run it as \
             one who may write there\n"
        )
    );
    assert_eq!(
        said(&["list", utf8(&sets)]),
        format!(
            "snap: reading {sets_name}/.snap: permission denied\n\
             hint: snap runs as user {user}: run it as one who may, or give this one the right\n"
        )
    );
    mode(&sets, 0o700);
}

#[test]
fn from_a_directory_that_may_not_be_written_all_is_read_and_what_would_write_says_so() {
    let (printed, said) = script(
        "8m",
        r#"
        "$snap" backup -quiet -host $host "$disk/b"; "$snap" backup -quiet -host $host "$disk/b"
        mount -o remount,ro "$disk"
        "$snap" backup -quiet -host $host "$disk/b"; echo "backup: $?"
        "$snap" backup -quiet -host $host "$disk/new"; echo "new: $?"
        "$snap" forget -quiet -keep-last 1 "$disk/b"; echo "forget: $?"
        "$snap" keep -quiet "$disk/b" latest; echo "keep: $?"
        "$snap" list "$disk/b" 2> /dev/null | grep -c complete
        "$snap" info "$disk/b" > /dev/null 2>&1; echo "info: $?"
        "$snap" verify -quiet "$disk/b"; echo "verify: $?"
        "$snap" check -quiet -max-age 1h "$disk/b"; echo "check: $?"
        "$snap" forget -quiet -keep-last 1 -dry-run "$disk/b"; echo "forget: $?"
        "$snap" restore -quiet -metadir "$disk.meta" -datadir "$disk.data" "$disk/b"; echo "restore: $?"
        ls "$disk.data/db/autogen"
        "#,
    );
    let expected = "backup: 1\nnew: 1\nforget: 1\nkeep: 1\n2\ninfo: 0\nverify: 0\ncheck: 0\nforget: 0\nrestore: 0\n1\n2\n";
    assert_eq!(printed, expected, "{said}");
    let lines = said.lines().filter(|line| line.starts_with("snap: "));
    let lines: Vec<&str> = lines.collect();
    assert_eq!(lines.len(), 4, "{said}");
    assert!(
        lines
            .iter()
            .all(|line| line.contains("the file system is read-only") && line.contains("/disk/")),
        "{said}"
    );
}

/// Makes the file of shard 1 in a portable backup unpack to a tar with a TSM file of 32 MiB, from
/// some kilobytes.
fn plant_bomb(backup: &Path, is_listed: bool) {
    let names = tree::names(backup);
    let manifest = names
        .iter()
        .find(|name| name.ends_with(".manifest"))
        .expect("a manifest");
    let stamp = manifest.trim_end_matches(".manifest");
    let path = "db/autogen/1/000000001-000000001.tsm";
    let bomb = tar(&[Member::new(path, vec![0; 32 << 20])]);
    let file = File::create(backup.join(format!("{stamp}.s1.tar.gz"))).expect("a file");
    let mut packed = compress(stamp, 1, file);
    packed.write_all(&bomb).expect("packing");
    packed.finish().expect("packing");
    if is_listed {
        let at = backup.join(manifest);
        let mut document: Value =
            serde_json::from_slice(&fs::read(&at).expect("a manifest")).expect("JSON");
        let files = document["files"].as_array_mut().expect("files");
        let first = files
            .iter_mut()
            .find(|file| file["shardID"] == 1)
            .expect("shard 1");
        first["size"] = bomb.len().into();
        fs::write(at, document.to_string()).expect("a manifest");
    }
}

#[test]
fn what_lacks_room_or_leave_in_tmpdir_is_told_of_tmpdir_and_not_of_the_backup() {
    let (folder, peer) = (folder(), peer());
    let at = |name: &str| folder.path().join(name);
    let sound = at("sound");
    snap(["backup", "-portable", "-host", &peer.host(), utf8(&sound)]).expect(0);
    let bombs = [("unlisted", false), ("listed", true)];
    for (name, is_listed) in bombs {
        copy(&sound, &at(name));
        // A set of influxd's: of a record, the size of the file would be known.
        fs::remove_dir_all(at(name).join(".snap")).expect("removing the record");
        plant_bomb(&at(name), is_listed);
    }
    let disk = at("disk");
    fs::create_dir(&disk).expect("a mount point");
    let script = r#"
        root=$(dirname "$disk")
        try() {
            name=$1; shift
            into="-host 127.0.0.1:1 -metadir $root/m -datadir $root/d"
            for run in verify "restore $into -dry-run" "restore $into"; do
                "$snap" $run -quiet "$root/$name" > "$root/printed" 2>&1; code=$?
                case $run in *-dry-run) run=-dry-run;; esac; echo "$name ${run%% *}: $code"
                sed "s|^|    |" "$root/printed"; rm -rf "$root/m" "$root/d"
            done
        }
        export TMPDIR="$disk"
        try sound; try unlisted; try listed
        mount -o remount,ro "$disk"; try sound
        TMPDIR="$root/none"; try sound
    "#;
    let output = on_small_disk("4m", &disk, script);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let runs: Vec<&str> = printed
        .lines()
        .filter(|line| !line.starts_with(' '))
        .collect();
    // A restore that writes unpacks in its target, where the bomb is no TSM file.
    let of = |set: &str, codes: [i32; 3]| {
        let runs = ["verify", "-dry-run", "restore"];
        let lines = runs.iter().zip(codes);
        lines
            .map(|(run, code)| format!("{set} {run}: {code}"))
            .collect::<Vec<_>>()
    };
    let expected = [
        of("sound", [0, 0, 0]),
        of("unlisted", [4, 4, 4]),
        of("listed", [1, 1, 4]),
        of("sound", [1, 1, 0]),
        of("sound", [1, 1, 0]),
    ]
    .concat();
    assert_eq!(runs, expected, "{printed}");
    let said = |what: &str| printed.matches(what).count();
    assert_eq!(
        said("claims 33554432 bytes, and its tar has 1230336 by the manifest"),
        3,
        "{printed}"
    );
    let tmpdir = format!("TMPDIR ({})", disk.display());
    assert_eq!(said(&format!("{tmpdir} has room for")), 2, "{printed}");
    assert_eq!(
        said(&format!(
            "cannot write a temporary file in {tmpdir}: the file system is read-only"
        )),
        2,
        "{printed}"
    );
    assert_eq!(
        said(&format!(
            "cannot write a temporary file in TMPDIR ({}): no such",
            at("none").display()
        )),
        2,
        "{printed}"
    );
    assert_eq!(said("hint: TMPDIR names a directory"), 6, "{printed}");
}

#[test]
fn an_export_for_which_tmpdir_has_no_room_says_so_and_leaves_nothing() {
    let (folder, peer) = (folder(), peer());
    let at = |name: &str| folder.path().join(name);
    let (set, disk) = (at("set"), at("disk"));
    snap(["backup", "-portable", "-host", &peer.host(), utf8(&set)]).expect(0);
    fs::create_dir(&disk).expect("a mount point");
    let script = r#"
        root=$(dirname "$disk")
        TMPDIR="$disk" "$snap" export -quiet -o "$root/points.lp" "$root/set" 2>&1
        echo "$? $(ls -A "$disk")"
    "#;
    let output = on_small_disk("1m", &disk, script);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let told = format!("TMPDIR ({}) has room for", disk.display());
    assert!(printed.contains(&told), "{printed}");
    assert!(
        printed.contains("hint: TMPDIR names a directory"),
        "{printed}"
    );
    assert!(printed.ends_with("\n1 \n"), "{printed}");
    assert!(!at("points.lp").exists());
}

#[test]
fn an_export_for_which_there_is_no_room_names_the_file_once() {
    let folder = folder();
    let at = |name: &str| folder.path().join(name);
    let (set, disk) = (at("set"), at("disk"));
    let shard = ("db", "rp", 1);
    // Several times as large as the disk in each format.
    let points = Points {
        times: (0..400_000)
            .map(|second| MONDAY + second * SECOND)
            .collect(),
        values: Values::Float((0..400_000).map(|nth| f64::from(nth).sqrt()).collect()),
    };
    let mut writer = Writer::new(Vec::new());
    writer
        .begin_key(b"m#!~#f", ValueType::Float)
        .expect("a key");
    writer.points(&points).expect("blocks");
    let tsm = writer.finish().expect("a file").0;
    fs::create_dir(&set).expect("a directory");
    fs::write(set.join("meta.00"), handmade::meta(&[shard])).expect("a metastore");
    let tar = handmade::shard_tar(shard, &[(handmade::FILE, &tsm)]);
    fs::write(set.join(handmade::shard_file(shard, 0)), tar).expect("a shard");
    fs::create_dir(&disk).expect("a mount point");
    let script = r#"
        root=$(dirname "$disk")
        for how in "-o x.lp" "-o x.lp -max-lines 100000" "-format csv -o out" "-format parquet -o out"; do
            cd "$disk"; TMPDIR="$root" "$snap" export -quiet $how "$root/set" 2>&1
            echo "$? $(ls -A "$disk")"
        done
    "#;
    let output = on_small_disk("1m", &disk, script);
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    let runs: Vec<&str> = printed.split_inclusive("\n1 \n").collect();
    assert_eq!(runs.len(), 4, "{printed}");
    for (run, file) in runs.iter().zip(["x.lp", "x-0001.lp", "out/", "out/"]) {
        assert!(
            run.starts_with(&format!("snap: writing {file}")),
            "{printed}"
        );
        assert_eq!(
            run.matches("no space left on the disk").count(),
            1,
            "{printed}"
        );
        assert_eq!(run.lines().count(), 3, "{printed}");
        assert!(!run.contains("External"), "{printed}");
    }
}

#[test]
fn a_file_that_reaches_its_users_limit_ends_a_run_as_a_full_disk_does() {
    let (folder, peer) = (folder(), peer());
    let (dir, target) = (folder.path().join("backup"), folder.path().join("target"));
    // In blocks of 512 bytes, of which a shard takes some more.
    let limit = format!("ulimit -f {}", SHARD / 512 / 2);
    let run = |snap: Snap| snap.after(&limit).run();
    let expect_limit = |run: &Run| {
        let said = &run.stderr;
        assert!(
            said.contains("file too large")
                && said.contains("hint: ")
                && said.contains("ulimit -f"),
            "{said}"
        );
    };
    for layout in [&[][..], &["-portable"]] {
        let failed = run(backup(&peer.host(), layout, &dir)).expect(1);
        expect_limit(&failed);
        assert!(!dir.exists());
    }
    backup(&peer.host(), &[], &dir).run().expect(0);
    let failed = run(restore_into(&target, &[], &dir)).expect(1);
    expect_limit(&failed);
    assert!(!target.exists(), "the target is not as it was");
    restore_into(&target, &[], &dir).run().expect(0);
}

/// What somebody else than the owner may do to something below a directory, by its path.
fn open_to_others(dir: &Path) -> Vec<String> {
    let mut found = Vec::new();
    for name in tree::names(dir) {
        let path = dir.join(&name);
        let metadata = fs::symlink_metadata(&path).expect("a file's metadata");
        let mode = metadata.permissions().mode() & 0o7777;
        if mode & 0o077 != 0 {
            found.push(format!("{mode:o} {}", path.display()));
        }
        if metadata.is_dir() {
            found.extend(open_to_others(&path));
        }
    }
    found
}

#[test]
fn whatever_the_umask_what_a_run_makes_in_a_backup_directory_is_its_users_alone() {
    let (folder, peer) = (folder(), peer());
    let dir = folder.path().join("new/backup");
    let run = |snap: Snap, code| snap.after("umask 0").run().expect(code);
    let (host, dir_arg) = (peer.host(), utf8(&dir).to_owned());
    for flags in [&[][..], &["-portable"], &["-portable", "-incremental"]] {
        run(backup(&host, flags, &dir), 0);
        assert_eq!(open_to_others(folder.path()), [""; 0], "{flags:?}");
    }
    run(Snap::new(["keep", &dir_arg, "latest"]), 0);
    run(Snap::new(["forget", "-keep-last", "2", &dir_arg]), 0);
    assert_eq!(open_to_others(folder.path()), [""; 0]);

    // What runs leave that are killed, at each of their steps: notes, intents, half of a file.
    for step in 1..60 {
        let killed = backup(&host, &["-resume", "-jobs", "1"], &dir)
            .env("SNAP_FAILPOINT", format!("kill:{step}"))
            .after("umask 0")
            .run();
        assert_eq!(open_to_others(folder.path()), [""; 0], "step {step}");
        if killed.code == Some(0) {
            break;
        }
    }
    let resumed = tree::names(&dir.join(".snap"));
    assert!(
        !resumed.iter().any(|name| name.ends_with(".files")),
        "{resumed:?}"
    );

    // Where nothing is there that would say how the target's files are to be.
    let target = folder.path().join("target");
    run(restore_into(&target, &[], &dir), 0);
    assert_eq!(open_to_others(folder.path()), [""; 0]);
    // And where there is, as that.
    let shared = folder.path().join("shared");
    fs::create_dir_all(shared.join("data")).expect("a data directory");
    fs::set_permissions(shared.join("data"), fs::Permissions::from_mode(0o755)).expect("a mode");
    run(restore_into(&shared, &[], &dir), 0);
    let modes = |name: &str| {
        let metadata = fs::metadata(shared.join("data").join(name)).expect("what was restored");
        metadata.permissions().mode() & 0o777
    };
    assert_eq!(modes("db/autogen/1"), 0o755);
    assert_eq!(modes("db/autogen/1/000000001-000000001.tsm"), 0o644);
}

#[test]
fn a_database_whose_name_is_too_long_for_a_file_is_told_before_a_shard_is_asked_for() {
    let folder = folder();
    let dir = folder.path().join("backup");
    let name = "d".repeat(240);
    let peer = Peer::start(Model::new(Version::V1_6, &[(&name, "autogen", 1)]));
    for flags in [&[][..], &["-dry-run"]] {
        let refused = backup(&peer.host(), flags, &dir).run().expect(6);
        let said = &refused.stderr;
        assert!(
            said.contains("the name has 257 bytes") && said.contains("hint: with -portable"),
            "{said}"
        );
    }
    assert_eq!(peer.shard_requests(), [""; 0]);
    assert!(!dir.exists());

    let server = Influxd::start(&folder.path().join("server"), Index::Inmem);
    server.execute(&format!("CREATE DATABASE {name}"));
    server.write(&name, "", "m v=1");
    backup(&server.host(), &[], &dir).run().expect(6);
    backup(&server.host(), &["-portable"], &dir).run().expect(0);
    snap(["verify", utf8(&dir)]).expect(0);
}

#[test]
fn a_metastore_in_which_two_shards_would_have_one_file_is_refused_before_a_shard_is_asked_for() {
    let folder = folder();
    let dir = folder.path().join("backup");
    let same_id = [("a", "autogen", 7), ("b", "autogen", 7)];
    let same_name = [("a.b", "c", 7), ("a", "b.c", 7)];
    let same_path = [("a", "autogen", 7), ("a", "autogen", 7)];
    for (shards, flags, named) in [
        (&same_id, &["-portable"][..], ["a/autogen/7", "b/autogen/7"]),
        (&same_name, &[], ["a.b/c/7", "a/b.c/7"]),
        (&same_path, &[], ["a/autogen/7", "more than once"]),
        (
            &same_path,
            &["-portable"],
            ["a/autogen/7", "more than once"],
        ),
    ] {
        let peer = Peer::start(Model::new(Version::V1_6, shards));
        let refused = backup(&peer.host(), flags, &dir).run().expect(6);
        let said = &refused.stderr;
        assert!(named.iter().all(|named| said.contains(named)), "{said}");
        assert_eq!(peer.shard_requests(), [""; 0]);
        assert!(!dir.exists());
    }
}
