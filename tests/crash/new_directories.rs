//! Directories that a run makes: their names are on the disk before anything counts on them, and
//! each is made to last once.

use std::fs;
use std::path::Path;

use crate::support::fixture::Fixture;
use crate::support::peer::{Member, Model, Tar, Version, tar, tsm};
use crate::support::process::{Snap, backup};

/// The shards of the server.
const SHARDS: [u64; 3] = [1, 2, 30];

fn server() -> Model {
    let mut model = Model::new(Version::V1_6, &SHARDS.map(|id| ("db", "autogen", id)));
    for id in SHARDS {
        let name = format!("db/autogen/{id}/000000001-000000001.tsm");
        model.shard(id).tar = Tar::Bytes(tar(&[Member::new(name, tsm(id, 900))]));
    }
    model
}

/// The steps of a run that ends well.
fn steps(run: Snap, log: &Path) -> Vec<String> {
    run.env("SNAP_FAILPOINT_LOG", log).run().expect(0);
    let text = fs::read_to_string(log).expect("a log of steps");
    text.lines().map(str::to_owned).collect()
}

/// Panics unless a directory is made, and then the one above it synced, before a step.
fn expect_lasting(steps: &[String], directory: &Path, before: &str) {
    let at = |step: &str, from: usize| {
        let place = steps[from..].iter().position(|other| other == step);
        from + place.unwrap_or_else(|| panic!("no '{step}' from step {from} on in {steps:#?}"))
    };
    let above = directory.parent().expect("a directory above");
    let made = at(&format!("create {}", directory.display()), 0);
    let synced = at(&format!("sync {}", above.display()), made);
    assert!(synced < at(before, 0), "{directory:?}: {steps:#?}");
}

#[test]
fn a_first_backup_and_a_first_restore_make_the_names_of_their_directories_last() {
    let fixture = Fixture::new(server());
    let dir = fixture.path("new/backup");
    let host = fixture.peer.host();
    let made = steps(backup(&host, &[], &dir), &fixture.path("log"));
    let hidden = dir.join(".snap");
    let is_record = |step: &&String| step.starts_with("rename ") && step.ends_with(".json");
    let record = made.iter().find(is_record).expect("a record");
    for directory in [dir.parent().expect("new"), &dir, &hidden] {
        expect_lasting(&made, directory, record);
    }
    let made = steps(backup(&host, &[], &dir), &fixture.path("log-again"));
    let above = format!("sync {}", fixture.path("new").display());
    assert!(!made.contains(&above), "{made:#?}");

    let target = fixture.path("influxdb");
    let run = Snap::new(["restore"]).directories(&target).args([&dir]);
    let made = steps(run, &fixture.path("log-restore"));
    let data = target.join("data");
    let staging = data.join(".snap-restore");
    let journal = staging.join("journal.json");
    for directory in [&target, &data, &staging, &staging.join("new")] {
        expect_lasting(&made, directory, &format!("rename {}", journal.display()));
    }
    let policy = data.join("db/autogen");
    for directory in [&target.join("meta"), &data.join("db"), &policy] {
        expect_lasting(&made, directory, &format!("remove {}", journal.display()));
    }
    // Not once a shard, but where a shard gets its place.
    let syncs = |path: &Path| {
        let sync = format!("sync {}", path.display());
        made.iter().filter(|step| **step == sync).count()
    };
    assert_eq!(syncs(&data), 2, "{made:#?}");
    assert_eq!(syncs(&data.join("db")), 1, "{made:#?}");
    assert_eq!(syncs(&staging.join("new")), 0, "{made:#?}");
    assert_eq!(syncs(&policy), SHARDS.len(), "{made:#?}");
}
