//! That a restore which unpacks while it checks leaves nothing behind when a check fails or the
//! disk is full, and unpacks of a chain what its newest sets say.

use std::fs;
use std::path::{Path, PathBuf};

use influx_snap::tsm::tombstone::{TombstoneRecord, TombstoneWriter};

use crate::support::disk::on_small_disk;
use crate::support::handmade::{
    FILE, Folder, Shard, assert_same, everything, meta, restore, shard_file, shard_tar, tsm,
};
use crate::support::peer::{Model, Peer, Version};
use crate::support::process::{Snap, backup};
use crate::support::{tree, utf8};

/// A backup of three shards, as snap makes it.
fn portable(folder: &Folder, name: &str) -> PathBuf {
    let shards = [1, 2, 3].map(|id| ("d", "autogen", id));
    let peer = Peer::start(Model::new(Version::V1_6, &shards));
    let dir = folder.path(name);
    let run = backup(&peer.host(), &["-portable"], &dir).run();
    run.expect(0);
    dir
}

/// Changes a byte in the middle of a file.
fn damage(path: &Path) {
    let mut bytes = fs::read(path).expect("a file to damage");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x10;
    fs::write(path, bytes).expect("damaging a file");
}

/// The file of shard 2 in a portable backup.
fn second_of(backup: &Path) -> PathBuf {
    let names = tree::names(backup).into_iter();
    let mut second = names.filter(|name| name.ends_with(".s2.tar.gz"));
    backup.join(second.next().expect("a file of shard 2"))
}

#[test]
fn a_damaged_shard_beside_sound_ones_leaves_nothing_behind_and_the_old_data_untouched() {
    let folder = Folder::new();
    let shards: Vec<Shard<'_>> = (1..=20).map(|id| ("d", "autogen", id)).collect();
    let old = folder.backup("old", &shards, 1);
    let legacy = folder.backup("legacy", &shards, 2);
    let damaged = legacy.join(shard_file(("d", "autogen", 2), 0));
    let sound = fs::read(&damaged).expect("a shard");
    fs::write(&damaged, &sound[..sound.len() - 512]).expect("cutting a shard off");
    let packed = portable(&folder, "portable");
    damage(&second_of(&packed));

    let target = folder.path("target");
    for (backup, named) in [(&legacy, "d.autogen.00002.00"), (&packed, ".s2.tar.gz")] {
        for jobs in ["1", "4"] {
            let flags = ["-jobs", jobs];
            let failed = restore(backup, &target, &flags).expect(4);
            assert!(failed.stderr.contains(named), "{}", failed.stderr);
            assert!(failed.stderr.contains("hint: nothing was written"));
            assert!(!target.exists(), "{:?}", everything(&target));

            restore(&old, &target, &[]).expect(0);
            let before = everything(&target);
            restore(backup, &target, &["-force", "-jobs", jobs]).expect(4);
            assert_same(&everything(&target), &before, "a damaged backup");
            fs::remove_dir_all(&target).expect("removing a target");
        }
    }
}

#[test]
fn a_file_of_a_later_set_takes_the_place_of_an_earlier_one_with_its_tombstone() {
    let folder = Folder::new();
    let shard = ("d", "autogen", 1);
    let (other, odd) = ("000000002-000000001.tsm", "fields.idx");
    let mut tombstone = TombstoneWriter::new(Vec::new()).expect("a tombstone");
    let all = TombstoneRecord {
        key: b"m,h=a#!~#v",
        min: i64::MIN,
        max: i64::MAX,
    };
    tombstone.record(all).expect("a record");
    let tombstone = tombstone.finish().expect("a tombstone");
    let backup = folder.path("backup");
    fs::create_dir(&backup).expect("a backup directory");
    let sets: [&[(&str, &[u8])]; 3] = [
        &[
            (FILE, &tsm(1)),
            ("000000001-000000001.tombstone", &tombstone),
            (odd, &[7; 100_000]),
        ],
        &[(FILE, &tsm(2)), (other, &tsm(3))],
        // What comes later and is smaller leaves nothing of what it replaces.
        &[
            (odd, b"small"),
            (other, &tsm(4)),
            ("000000002-000000001.tombstone", &tombstone),
        ],
    ];
    for (number, files) in (0..).zip(sets) {
        fs::write(backup.join(format!("meta.{number:02}")), meta(&[shard])).expect("a metastore");
        let tar = shard_tar(shard, files);
        fs::write(backup.join(shard_file(shard, number)), tar).expect("a shard");
    }
    let target = folder.path("target");
    restore(&backup, &target, &[]).expect(0);
    let restored = tree::files(&target.join("data/d/autogen/1"));
    let expected = [(FILE, tsm(2)), (odd, b"small".to_vec())];
    let expected = expected.map(|(name, content)| (name.to_owned(), content));
    assert_eq!(restored, expected.into());

    restore(&backup, &target, &["-force", "-apply-deletes=false"]).expect(0);
    let restored = tree::files(&target.join("data/d/autogen/1"));
    let tombstone = ("000000002-000000001.tombstone", tombstone);
    let expected = [
        (FILE, tsm(2)),
        (odd, b"small".to_vec()),
        (other, tsm(4)),
        tombstone,
    ];
    let expected = expected.map(|(name, content)| (name.to_owned(), content));
    assert_eq!(restored, expected.into());
}

#[test]
fn a_chain_for_which_there_is_no_room_is_refused_half_way_and_leaves_nothing() {
    let folder = Folder::new();
    let shard = ("d", "autogen", 1);
    let backup = folder.path("backup");
    fs::create_dir(&backup).expect("a backup directory");
    // What room a chain of sets without a record takes shows as it is unpacked.
    for number in 0..3 {
        fs::write(backup.join(format!("meta.{number:02}")), meta(&[shard])).expect("a metastore");
        let name = format!("000000001-000000001.{number}");
        let tar = shard_tar(shard, &[(name.as_str(), &[7; 8 << 20])]);
        fs::write(backup.join(shard_file(shard, number)), tar).expect("a shard");
    }
    let disk = folder.path("disk");
    fs::create_dir(&disk).expect("a mount point");
    let script = format!(
        r#"
        "$snap" restore -quiet -host 127.0.0.1:1 -metadir "$disk.meta" -datadir "$disk/data" {}
        echo "restore: $?"; ls -A "$disk"
        "#,
        utf8(&backup)
    );
    for (size, printed) in [("34m", "restore: 6\n"), ("60m", "restore: 0\ndata\n")] {
        let output = on_small_disk(size, &disk, &script);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(String::from_utf8_lossy(&output.stdout), printed, "{said}");
        let is_told = said.contains(" free, and ") && said.contains("hint: nothing was");
        assert_eq!(is_told, size == "34m", "{said}");
    }
}

#[test]
fn a_disk_that_fails_while_files_are_synced_ends_the_restore_and_leaves_nothing() {
    let folder = Folder::new();
    let backup = portable(&folder, "portable");
    let (target, log) = (folder.path("target"), folder.path("log"));
    let restore = |variable: &str, value: &str| {
        let restore = Snap::new(["restore", "-quiet", "-jobs", "2"]).directories(&target);
        restore.args([&backup]).env(variable, value).run()
    };
    restore("SNAP_FAILPOINT_LOG", utf8(&log)).expect(0);
    fs::remove_dir_all(&target).expect("removing a target");
    let steps = fs::read_to_string(log).expect("a log of steps");
    let unpacking = steps.lines().enumerate();
    let unpacking = unpacking.filter(|(_, step)| step.contains("/.snap-restore/new/"));
    let unpacking: Vec<usize> = unpacking
        .filter(|(_, step)| step.starts_with("sync "))
        .map(|(at, _)| at + 1)
        .collect();
    assert!(unpacking.len() >= 6, "{steps}");
    let mut failed_to_sync = 0;
    for step in unpacking {
        let run = restore("SNAP_FAILPOINT", &format!("fail:{step}")).expect(1);
        let said = &run.stderr;
        assert!(said.contains("no space left on the disk"), "{said}");
        // Of two jobs, the other may be the one that takes the step, and makes a directory.
        failed_to_sync += usize::from(said.contains("syncing "));
        assert!(!target.exists(), "{:?}", everything(&target));
    }
    assert!(failed_to_sync > 0);
}
