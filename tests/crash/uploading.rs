//! A `snap serve` that is killed at any step of an upload: no delete of the files that go away
//! applies to those that come, and the next upload puts it right.

use std::fs;
use std::os::unix::fs::{MetadataExt, symlink};

use crate::support::handmade::{TSM, stopped_server, tar_of};
use crate::support::service::{Serving, swept, upload};
use crate::support::{folder, tree};

const FILES: [&str; 2] = ["000000001-000000001", "000000002-000000001"];

#[test]
fn an_upload_that_is_killed_never_leaves_an_old_tombstone_beside_a_new_file() {
    let mut new = TSM.to_vec();
    new[23] = 7;
    let names = FILES.map(|stem| format!("{stem}.tsm"));
    let tar = tar_of("s/rp/1", &[(&names[0], &new), (&names[1], &new)]);
    let (mut killed, mut halfway) = (0, 0);
    loop {
        let root = folder();
        stopped_server(root.path(), &[0]);
        let shard = root.path().join("data/s/rp/1");
        for stem in FILES {
            fs::write(shard.join(format!("{stem}.tsm")), TSM).expect("a TSM file");
            fs::write(shard.join(format!("{stem}.tombstone")), "old").expect("a tombstone");
        }
        let failpoint = format!("kill:{}", killed + 1);
        let serving = Serving::start_failing(root.path(), &["-writable"], &failpoint);
        upload(serving.address(), 1, &tar);
        serving.signal(libc::SIGTERM);
        let ended = serving.wait();
        let there = tree::files(&shard);
        for stem in FILES {
            let is_new = there[&format!("{stem}.tsm")] == new;
            halfway += usize::from(is_new && ended.code.is_none());
            let has_deletes = there.contains_key(&format!("{stem}.tombstone"));
            assert!(!is_new || !has_deletes, "{failpoint}: {:?}", there.keys());
        }

        let serving = Serving::start(root.path(), &["-writable"]);
        upload(serving.address(), 1, &tar);
        serving.stop();
        let expected = names.clone().map(|name| (name, new.clone()));
        assert!(tree::files(&shard) == expected.into(), "{failpoint}");
        assert!(swept(root.path()), "{failpoint}");
        if ended.code.is_some() {
            break;
        }
        killed += 1;
    }
    assert!(killed > 8 && halfway > 2, "{killed} steps, {halfway}");
}

#[test]
fn an_upload_into_a_shard_on_another_file_system_is_whole_or_changes_nothing() {
    let shared = tempfile::tempdir_in("/dev/shm").expect("a folder in memory");
    let mut new = TSM.to_vec();
    new[23] = 7;
    let (file, tombstone) = ("000000001-000000001.tsm", "000000001-000000001.tombstone");
    let tar = tar_of("s/rp/1", &[(file, &new)]);
    let mut killed = 0;
    loop {
        let root = folder();
        stopped_server(root.path(), &[0]);
        let shard = root.path().join("data/s/rp/1");
        let elsewhere = shared.path().join(killed.to_string());
        fs::remove_dir_all(&shard).expect("a shard");
        fs::create_dir(&elsewhere).expect("a directory");
        symlink(&elsewhere, &shard).expect("a link");
        let device = |path| fs::metadata(path).expect("metadata").dev();
        assert_ne!(
            device(root.path()),
            device(&elsewhere),
            "another file system is needed"
        );
        fs::write(elsewhere.join(file), TSM).expect("a TSM file");
        fs::write(elsewhere.join(tombstone), "old").expect("a tombstone");

        let failpoint = format!("kill:{}", killed + 1);
        let serving = Serving::start_failing(root.path(), &["-writable"], &failpoint);
        upload(serving.address(), 1, &tar);
        serving.signal(libc::SIGTERM);
        let ended = serving.wait();
        let there = tree::files(&elsewhere);
        assert!(
            there[file] == TSM || !there.contains_key(tombstone),
            "{failpoint}: {:?}",
            there.keys()
        );

        let serving = Serving::start(root.path(), &["-writable"]);
        upload(serving.address(), 1, &tar);
        serving.stop();
        let expected = [(file.to_owned(), new.clone())];
        assert!(tree::files(&elsewhere) == expected.into(), "{failpoint}");
        if ended.code.is_some() {
            break;
        }
        killed += 1;
    }
    assert!(killed > 8, "{killed} steps");
}
