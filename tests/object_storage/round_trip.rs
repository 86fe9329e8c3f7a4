//! That every command works on a repository in object storage as on a directory, and that what
//! comes back from it is what a real influxd held, point by point.

use std::collections::BTreeSet;

use crate::fixture::{
    LAYOUTS, back_up, backup, expect_live, expect_nothing_but_sets, expect_offline,
    expect_plain_requests, expect_sound, records, summary,
};
use crate::support::backups::{Backups, expect_points, files_of};
use crate::support::data::{START, flush};
use crate::support::influxd::{Index, Influxd};
use crate::support::object_storage::{ADMIN, Repository, Storage, azurite, rclone, seaweedfs};
use crate::support::process::{backup as local_backup, snap};
use crate::support::proxy::{Proxy, Request};
use crate::support::service::influxd_client;
use crate::support::source::Source;
use crate::support::time::SECOND;
use crate::support::{folder, utf8};

/// A set, and what the server held then.
struct Made {
    id: String,
    points: Vec<String>,
}

/// Makes a set.
fn make(backups: &Backups, repository: &Repository, flags: &[&str]) -> Made {
    let points = backups.server.points();
    let id = back_up(
        &backups.server,
        repository,
        &[backups.layout, flags].concat(),
    );
    Made { id, points }
}

/// Overwrites points in one old shard, and adds one.
fn go_on(backups: &Backups, day: i64, value: i64) {
    backups.write(day, "late", 2);
    let line = format!("m,host=a n={value}i {}", START + SECOND);
    backups.server.write("other", "", &line);
    flush(&backups.server);
}

/// The sets that `list` tells of.
fn listed(repository: &Repository) -> Vec<String> {
    let run = repository.snap(&["list", "-json"]).run().expect(0);
    let sets = run.messages();
    let sets = sets
        .iter()
        .filter(|message| message["message_type"] == "set");
    sets.map(|set| set["set"].as_str().expect("an id").to_owned())
        .collect()
}

/// Every command, on a server with this index and sets of this layout.
fn every_command(index: Index, layout: &'static [&'static str]) {
    let backups = Backups::loaded(index, layout, 20);
    let proxy = Proxy::start(seaweedfs().address);
    let direct = seaweedfs().repository("every-command");
    let repository = direct.through(proxy.address);

    let full = make(&backups, &repository, &[]);
    expect_plain_requests(&proxy.take_requests(), ADMIN.secret);
    let of_full = direct.objects();
    go_on(&backups, 3, 1);
    let incremental = make(&backups, &repository, &["-incremental"]);
    let requests = proxy.take_requests();
    expect_plain_requests(&requests, ADMIN.secret);
    expect_shared(&direct, &full, &incremental, &requests);
    let (before, after) = (of_full, direct.objects());
    assert!(
        before
            .iter()
            .all(|(name, size)| after.get(name) == Some(size)),
        "an object of the first set is another now"
    );
    expect_as_directory(&direct, &incremental, index, layout);
    go_on(&backups, 4, 2);
    let since = make(&backups, &repository, &["-since", "last"]);
    expect_nothing_but_sets(&direct);
    expect_exported(&direct, layout);

    let sets = [&full, &incremental, &since].map(|made| made.id.clone());
    assert_eq!(listed(&repository), sets);
    repository.snap(&["info"]).run().expect(0);
    repository.snap(&["verify"]).run().expect(0);
    expect_sound(&repository);
    repository
        .snap(&["check", "-max-age", "1h"])
        .run()
        .expect(0);
    for made in [&full, &incremental, &since] {
        expect_offline(&repository, &made.id, &made.points, index);
    }
    expect_live(&repository, "latest", &since.points, index);

    // The first set is pinned, and so stays; the second shares objects with it and goes.
    repository
        .snap_with(&["keep", "-note", "first"], &[&full.id])
        .run()
        .expect(0);
    go_on(&backups, 5, 3);
    let last = make(&backups, &repository, &["-incremental"]);
    forget(&repository, &["-keep-last", "1"]);
    assert_eq!(listed(&repository), [&full.id, &last.id].map(Clone::clone));
    expect_sound(&repository);
    repository
        .snap_with(&["keep", "-release"], &[&full.id])
        .run()
        .expect(0);
    forget(&repository, &["-keep-last", "1"]);
    assert_eq!(listed(&repository), std::slice::from_ref(&last.id));
    expect_nothing_but_sets(&direct);
    expect_sound(&repository);
    expect_offline(&repository, &last.id, &last.points, index);
}

/// Removes what no rule keeps, and at once what that leaves.
#[track_caller]
fn forget(repository: &Repository, rules: &[&str]) {
    repository
        .snap(&[&["forget", "-grace", "0"], rules].concat())
        .run()
        .expect(0);
}

/// Panics unless a set names the objects of the one before it for all shards that are as they
/// were, and its run uploaded nothing but the others.
#[track_caller]
fn expect_shared(repository: &Repository, first: &Made, second: &Made, requests: &[Request]) {
    let records = records(repository);
    let [first, second] = [first, second].map(|made| &records[&made.id]);
    let names = |record| files_of(record).into_iter().collect::<BTreeSet<String>>();
    let (first, second) = (names(first), names(second));
    let shared: Vec<_> = second.intersection(&first).collect();
    assert!(shared.len() >= 6, "shared: {shared:?} of {second:?}");
    for request in requests {
        let is_upload = matches!(request.operation(), "put" | "begin" | "part" | "complete");
        let repeated = first
            .iter()
            .find(|name| request.key.ends_with(&format!("/{name}")));
        assert!(
            !is_upload || repeated.is_none(),
            "{} {} once more",
            request.operation(),
            request.key
        );
    }
}

/// Panics unless an export is that of the prefix, copied down with another tool.
fn expect_exported(repository: &Repository, layout: &[&str]) {
    let folder = folder();
    let dir = folder.path().join("down");
    repository.copy_down(&dir);
    let of_directory = snap(["export", utf8(&dir)]).expect(0).stdout;
    assert!(of_directory.lines().count() > 50, "{layout:?}");
    let of_storage = repository.snap(&["export"]).run().expect(0).stdout;
    assert!(of_storage == of_directory, "{layout:?}");
}

/// Panics unless the prefix, copied down with another tool, is a backup directory, and one that
/// influxd restores if it is portable.
fn expect_as_directory(repository: &Repository, made: &Made, index: Index, layout: &[&str]) {
    let folder = folder();
    let dir = folder.path().join("down");
    repository.copy_down(&dir);
    snap(["verify", "-deep", utf8(&dir)]).expect(0);
    let target = folder.path().join("target");
    snap([
        "restore",
        "-index",
        index.name(),
        "-metadir",
        utf8(&target.join("meta")),
        "-datadir",
        utf8(&target.join("data")),
        utf8(&dir),
    ])
    .expect(0);
    let server = Influxd::start(&target, index);
    expect_points(&server.points(), &made.points, "from the copy");
    drop(server);
    if layout.is_empty() {
        return;
    }
    let server = Influxd::start(&folder.path().join("by influxd"), index);
    influxd_client(&["restore", "-portable", "-host", &server.host(), utf8(&dir)]);
    if !server.comes_to(&made.points) {
        expect_points(&server.points(), &made.points, "by influxd from the copy");
    }
}

#[test]
fn every_command_does_in_s3_what_it_does_in_a_directory_legacy_and_inmem() {
    every_command(Index::Inmem, LAYOUTS[0].1);
}

#[test]
fn every_command_does_in_s3_what_it_does_in_a_directory_portable_and_tsi1() {
    every_command(Index::Tsi1, LAYOUTS[1].1);
}

/// Names of every kind, deletes and all types of values, there and back.
fn there_and_back(storage: &Storage, index: Index, flags: &[&str]) {
    let source = Source::new(index);
    let repository = storage.repository("größe \"x\" & 1+1");
    let made = back_up(&source.server, &repository, flags);
    expect_sound(&repository);
    expect_offline(&repository, &made, &source.points, index);
    let again = backup(
        &source.server,
        &repository,
        &[flags, &["-incremental"]].concat(),
    );
    let again = summary(&again.run().expect(0));
    let again = again["set"].as_str().expect("an id");
    expect_sound(&repository);
    expect_nothing_but_sets(&repository);
    expect_live(&repository, again, &source.points, index);
}

#[test]
fn names_of_every_kind_go_to_s3_and_come_back() {
    there_and_back(seaweedfs(), Index::Inmem, &[]);
}

#[test]
fn names_of_every_kind_go_to_a_loose_server_and_come_back() {
    there_and_back(rclone(), Index::Tsi1, &["-portable"]);
}

#[test]
fn names_of_every_kind_go_to_azure_and_come_back() {
    there_and_back(azurite(), Index::Inmem, &[]);
}

#[test]
fn a_directory_copied_up_is_a_repository() {
    for (_, layout) in LAYOUTS {
        let backups = Backups::loaded(Index::Inmem, layout, 3);
        let (server, dir) = (&backups.server, backups.dir());
        local_backup(&server.host(), layout, &dir).run().expect(0);
        let repository = seaweedfs().repository("copied-up");
        repository.copy_up(&dir);
        expect_sound(&repository);
        let first = listed(&repository).remove(0);
        expect_offline(&repository, &first, &server.points(), Index::Inmem);
        go_on(&backups, 1, 1);
        let second = make(&backups, &repository, &["-incremental"]);
        assert_eq!(listed(&repository), [first, second.id.clone()]);
        expect_sound(&repository);
        expect_offline(&repository, &second.id, &second.points, Index::Inmem);
    }
}
