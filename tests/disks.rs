//! A backup directory on a disk that is full, or that may not be written.

mod support;

use std::fs;

use influx_snap::tsm::tombstone::{Record, TombstoneWriter};
use influx_snap::tsm::values::ValueType;
use support::disk::on_small_disk;
use support::folder;
use support::peer::{Member, Model, Peer, Tar, Version, tar, tsm};
use support::tsm as by_hand;

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
        let [error] = said.lines().collect::<Vec<_>>()[..] else {
            panic!("{said}")
        };
        assert!(
            error.contains("No space left on device") && error.contains("/disk/b/.snap/"),
            "{error}"
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
        # A database on another disk, by a link; once empty, once with what is replaced, and with what a killed run left.
        mkdir -p "$disk.1/data" "$disk/db"; ln -s "$disk/db" "$disk.1/data/db"
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
        mkdir -p "$disk.2/data/db" "$disk/rp"; ln -s "$disk/rp" "$disk.2/data/db/autogen"
        rm -r "$disk/db"; restore "$disk.2"; restore "$disk.2"; shards "$disk.2/data"; ls "$disk/rp"
        # Another directory of the same file system, mounted there, and its WAL too.
        mkdir -p "$disk.3/data/db" "$disk.3/wal/db" "$disk.4/wal/autogen/1" "$disk.4/data"
        mount --bind "$disk.4/data" "$disk.3/data/db"; mount --bind "$disk.4/wal" "$disk.3/wal/db"
        touch "$disk.3/wal/db/autogen/1/_00001.wal"
        restore "$disk.3"; restore "$disk.3"; shards "$disk.3/data"; find "$disk.3/wal" -type f
        # Room is asked for where it is needed.
        mount -t tmpfs -o size=1m none "$disk.4/data"; mkdir -p "$disk.5/data"; ln -s "$disk.4/data" "$disk.5/data/db"
        restore "$disk.5"; ls -A "$disk.4/data"
        "#,
    );
    let files = |shards: [u64; 2]| {
        shards
            .map(|id| format!("./db/autogen/{id}/000000001-000000001.tsm\n"))
            .concat()
    };
    let shards = files([1, 2]);
    let twice = "restore: 0\nrestore: 0\n";
    let expected =
        format!("{twice}{shards}1\n2\nended: 0\n{twice}{shards}1\n2\n{twice}{shards}restore: 6\n");
    assert_eq!(printed, expected, "{said}");
    assert!(
        said.lines().count() == 2 && said.contains("bytes free") && said.contains(".5/data/db"),
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
        .record(Record {
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
        let flags = "-apply-deletes -quiet -retries 3 -skip-errors -host";
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
        assert!(
            error.contains("No space left on device") && error.lines().count() == 1,
            "{part}: {error}"
        );
        said.push(error.into_owned());
    }
    assert!(
        said.iter()
            .any(|error| error.contains(".tombstone") || !error.contains("writing what came")),
        "{said:?}"
    );
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
    let lines: Vec<&str> = said.lines().collect();
    assert_eq!(lines.len(), 4, "{said}");
    assert!(
        lines
            .iter()
            .all(|line| line.contains("Read-only file system") && line.contains("/disk/")),
        "{said}"
    );
}
