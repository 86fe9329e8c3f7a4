//! A `snap serve` that is killed at any step of an upload: no delete of the files that go away
//! applies to those that come, and the next upload puts it right.

use std::fs;

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
