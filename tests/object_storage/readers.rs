//! That what reads a backup without restoring it gives the same from object storage as from a
//! directory, and that a run that was killed is resumed.

use std::time::Duration;

use crate::fixture::{
    LAYOUTS, Sample, back_up, backup, expect_nothing_but_sets, expect_offline, expect_sound,
    summary,
};
use crate::kills::kill_when_held;
use crate::support::influxd::Index;
use crate::support::object_storage::{azurite, seaweedfs};
use crate::support::process::{Run, snap};
use crate::support::proxy::{Fault, Proxy};
use crate::support::{folder, utf8};

#[test]
fn exports_and_statistics_are_those_of_a_directory() {
    let sample = Sample::get();
    for (nth, storage) in [seaweedfs(), azurite()].into_iter().enumerate() {
        let (_, layout) = LAYOUTS[nth];
        let repository = storage.repository("read");
        back_up(sample.server(), &repository, layout);
        let folder = folder();
        let dir = folder.path().join("down");
        repository.copy_down(&dir);
        for command in [&["export"][..], &["stats"], &["stats", "-database", "main"]] {
            let from_storage = repository.snap(command).run().expect(0);
            let from_directory = snap([command, &[utf8(&dir)]].concat()).expect(0);
            // The last line of statistics says how long that took, and where.
            let lines = |run: &Run| {
                let lines = run.stdout.lines().map(str::to_owned);
                lines
                    .filter(|line| !line.starts_with("set "))
                    .collect::<Vec<_>>()
            };
            let lines = [&from_storage, &from_directory].map(lines);
            assert!(lines[0] == lines[1], "{command:?}");
            assert!(lines[0].len() > 3, "{command:?}: {from_storage:?}");
        }
    }
}

#[test]
fn a_backup_that_was_killed_is_resumed_and_uploads_only_what_is_left() {
    let sample = Sample::get();
    let repository = seaweedfs().repository("resumed");
    let proxy = Proxy::start(seaweedfs().address);
    let through = repository.through(proxy.address);
    let flags = ["-portable", "-resume", "-jobs", "1"];
    // The notes of the last five seconds are lost with a run: it takes longer.
    proxy.on("head", .., Fault::Delay(Duration::from_millis(1200)));
    proxy.on_those(
        |request| request.operation() == "put" && request.key.ends_with(".meta"),
        ..,
        Fault::HoldBefore,
    );
    let run = backup(sample.server(), &through, &flags);
    assert!(kill_when_held(run, &proxy));
    proxy.behave();
    proxy.take_requests();

    let run = backup(sample.server(), &through, &flags).run().expect(0);
    let told = format!("{:?}", run.messages());
    assert!(told.contains("taken over from an earlier run"), "{told}");
    let shards = summary(&run)["shards"].as_u64().expect("a number") as usize;
    let requests = proxy.take_requests();
    let of_shards = requests
        .iter()
        .filter(|request| request.key.ends_with(".tar.gz"));
    let uploads = of_shards.filter(|request| matches!(request.operation(), "put" | "complete"));
    let uploaded = uploads.count();
    assert!(uploaded < shards, "{uploaded} of {shards} uploaded: {told}");
    expect_sound(&repository);
    expect_offline(&repository, "latest", &sample.points, Index::Inmem);
    back_up(sample.server(), &repository, &["-portable", "-grace", "0"]);
    expect_nothing_but_sets(&repository);
}
