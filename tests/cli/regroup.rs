//! A restore with other shard durations, into directories.

use crate::support::process::{Run, Snap, sample_backup};
use crate::support::{tree, utf8};

#[test]
fn a_second_policy_is_not_regrouped_over_the_first() {
    let (place, backup) = sample_backup(&["-database", "plain"]);
    let path = |name: &str| place.path().join(name);
    let (meta, data) = (path("meta"), path("data"));
    let restore = |policy: &str, flags: &[&str]| -> Run {
        let to = ["-metadir", utf8(&meta), "-datadir", utf8(&data)];
        let what = ["-database", "plain", "-retention", policy];
        let snap = Snap::new(["restore", "-host", "127.0.0.1:1"]).args(to);
        snap.args(what).args(flags).args([utf8(&backup)]).run()
    };
    restore("p.q", &["-shard-duration", "12h"]).expect(0);
    let before = tree::files(place.path());
    let again = restore("two weeks", &["-shard-duration", "7d", "-force"]).expect(6);
    assert!(
        again
            .stderr
            .contains("the metastore of the backup has other times for shards that stay in the target: plain/p.q/"),
        "{again:?}"
    );
    assert_eq!(tree::files(place.path()), before);
    // The same once more, and all of it, are no such case.
    restore("p.q", &["-shard-duration", "6h", "-force"]).expect(0);
    let to = ["-metadir", utf8(&meta), "-datadir", utf8(&data)];
    let all = Snap::new(["restore", "-host", "127.0.0.1:1", "-force"]).args(to);
    all.args([utf8(&backup)]).run().expect(0);
}
