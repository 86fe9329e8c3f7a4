//! A backup directory on a disk that is full, or that may not be written.

mod support;

use std::fs;

use support::disk::on_small_disk;
use support::folder;
use support::peer::{Member, Model, Peer, Tar, Version, tar, tsm};

/// Bytes of each of two shards: a set fits the disk, and two do not.
const SHARD: usize = 1200 << 10;

/// A server with two shards.
fn peer() -> Peer {
    let ids = [1, 2];
    let mut model = Model::new(Version::V1_6, &ids.map(|id| ("db", "autogen", id)));
    for id in ids {
        let member = Member::new(format!("db/autogen/{id}/000000001-000000001.tsm"), tsm(id, SHARD));
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
    (String::from_utf8_lossy(&output.stdout).into_owned(), String::from_utf8_lossy(&output.stderr).into_owned())
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
        let [error] = said.lines().collect::<Vec<_>>()[..] else { panic!("{said}") };
        assert!(error.contains("No space left on device") && error.contains("/disk/b/.snap/"), "{error}");
    }
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
    assert!(lines.iter().all(|line| line.contains("Read-only file system") && line.contains("/disk/")), "{said}");
}
