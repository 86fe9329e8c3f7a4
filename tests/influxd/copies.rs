//! That a real server's points come back from a copy of its backup, of each of its sets.

use crate::support::backups::{Backups, Made, SHARDS, expect_offline};
use crate::support::influxd::Index;
use crate::support::process::snap;
use crate::support::{folder, utf8};

/// Points of two series in each shard that the server begins with.
const POINTS: i64 = 40;

/// Makes a full set, one that shares, and an increment, copies them there and back, and restores
/// each from the second copy.
fn copied_there_and_back(layout: &'static [&'static str]) {
    let index = Index::Inmem;
    let backups = Backups::loaded(index, layout, POINTS);
    let mut made: Vec<Made> = Vec::new();
    for flags in [&[][..], &["-incremental"], &["-since", "last"]] {
        made.push(backups.back_up(flags));
        backups.a_day_passes();
        backups.write(SHARDS - 1, "later", POINTS + made.len() as i64);
    }
    let folder = folder();
    let (there, back) = (folder.path().join("there"), folder.path().join("back"));
    let from = backups.dir();
    snap(["copy", utf8(&from), utf8(&there)]).expect(0);
    snap(["copy", utf8(&there), utf8(&back), "latest"]).expect(0);
    snap(["copy", utf8(&there), utf8(&back)]).expect(0);
    snap(["verify", "-quiet", "-deep", utf8(&back)]).expect(0);
    backups.server.stop();
    for set in &made {
        expect_offline(&back, &set.id, &set.points, index);
    }
}

#[test]
fn legacy_sets_come_back_from_a_copy_of_a_copy() {
    copied_there_and_back(&[]);
}

#[test]
fn portable_sets_come_back_from_a_copy_of_a_copy() {
    copied_there_and_back(&["-portable"]);
}
