//! That points which were deleted stay deleted in a running server that is restored into.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::data::{START, before_deletes_are_carried_out, flush, tombstones};
use crate::support::influxd::{Index, Influxd};
use crate::support::peer::{Asked, Member, Model, Peer, Reply, Tar, Version, tar};
use crate::support::process::{backup, restore_into, restore_online, snap};
use crate::support::service::{all_members, copy, influxd_client, wait_for};
use crate::support::time::{DAY, SECOND, moment};
use crate::support::{Shared, folder, tools, tree, tsm, utf8};
use influx_snap::repository::{Catalog, SetRecord};
use influx_snap::tsm::tombstone::{TombstoneRecord, TombstoneWriter};
use influx_snap::tsm::values::ValueType;

/// What a server answers of the database `d`, or of one that was made from it.
#[derive(Debug, PartialEq, Eq)]
struct Answers {
    points: Vec<String>,
    series: Vec<String>,
    /// Measurements, fields, and counts.
    others: String,
}

impl Answers {
    fn of(server: &Influxd, db: &str) -> Self {
        let others = server
            .query(
                db,
                "SHOW MEASUREMENTS; SHOW FIELD KEYS; SELECT count(*) FROM /.*/",
            )
            .to_string();
        Self {
            points: server.points_in(db, "autogen"),
            series: server.series(db),
            others,
        }
    }
}

/// Backups of a server that deleted some of its points.
struct Sample {
    folder: TempDir,
    /// What was there before.
    before: Answers,
    /// What is left.
    left: Answers,
}

static SAMPLE: Shared<Sample> = Shared::new(Sample::make);

/// Tool and layout.
const SETS: [(&str, &str); 4] = [
    ("snap", "legacy"),
    ("snap", "portable"),
    ("influxd", "legacy"),
    ("influxd", "portable"),
];

impl Sample {
    /// Of each tool and layout a full set with tombstones, and a chain of one from before the
    /// deletes and an increment. And a set out of which snap left what was deleted.
    fn make() -> Self {
        let folder = folder();
        let path = |name: &str| folder.path().join(name);
        let server = Influxd::start(&path("source"), Index::Inmem);
        load(&server);
        let before = Answers::of(&server, "d");
        let since = moment();
        for (tool, layout) in SETS {
            back_up(
                tool,
                layout,
                &server,
                &path(&format!("{tool} {layout} before")),
                &[],
            );
        }
        delete(&server);
        assert!(!tombstones(&server).is_empty(), "no tombstones");
        let left = Answers::of(&server, "d");
        server.kill();
        let mut last = None;
        for (tool, layout) in SETS {
            let name = |what: &str| path(&format!("{tool} {layout} {what}"));
            last = Some(before_deletes_are_carried_out(&path("source"), |server| {
                for what in ["full", "chain", "applied"] {
                    let _ = fs::remove_dir_all(name(what));
                }
                let as_it_is: &[&str] = if tool == "snap" {
                    &["-apply-deletes=false"]
                } else {
                    &[]
                };
                back_up(tool, layout, server, &name("full"), as_it_is);
                if tool == "snap" {
                    back_up(tool, layout, server, &name("applied"), &["-apply-deletes"]);
                }
                copy(&name("before"), &name("chain"));
                back_up(tool, layout, server, &name("chain"), &["-since", &since]);
                let applied = tool != "snap" || shards_without_deletes(&name("applied")) > 1;
                applied && (layout == "portable" || lone_tombstones(&name("chain")) > 0)
            }));
        }
        let (_folder, server) = last.expect("a server");
        wait_for(|| tombstones(&server).is_empty().then_some(())).expect("deletes are carried out");
        assert_eq!(Answers::of(&server, "d"), left);
        back_up("influxd", "portable", &server, &path("carried out"), &[]);
        copy(&path("snap legacy chain"), &path("snap legacy long chain"));
        back_up(
            "snap",
            "legacy",
            &server,
            &path("snap legacy long chain"),
            &["-since", &since],
        );
        copy(&path("snap legacy before"), &path("late"));
        back_up(
            "snap",
            "legacy",
            &server,
            &path("late"),
            &["-since", &since],
        );
        Self {
            folder,
            before,
            left,
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

/// Shards of a day each, with what is deleted later and what is not.
fn load(server: &Influxd) {
    server.execute("CREATE DATABASE d WITH SHARD DURATION 1d");
    let mut lines = String::new();
    let mut add = |series: &str, day: i64, seconds: std::ops::Range<i64>| {
        for nth in seconds {
            let time = START + day * DAY + nth * 7 * SECOND;
            // All types where a block is cut.
            let others = if series.contains("inside") {
                format!(",f={nth}.5,b={},s=\"{nth}\"", nth % 3 == 0)
            } else {
                String::new()
            };
            writeln!(lines, "{series} i={nth}i{others} {time}").expect("writing to a string");
        }
    };
    add("m,k=kept", 0, 0..1100);
    add("m,k=gone", 0, 0..1100);
    add("m,k=inside", 0, 0..2300);
    add("m,k=before", 0, 0..1100);
    add("m,k=after", 0, 0..1100);
    add("m,k=all\\ points", 0, 0..10);
    add("dropped,k=x", 0, 0..10);
    // A shard in which one file goes, and one that goes whole.
    add("m,k=kept", 1, 0..10);
    add("m,k=gone", 2, 0..10);
    add("dropped,k=y", 2, 0..10);
    add("m,k=kept", 3, 0..10);
    server.write("d", "", &lines);
    flush(server);
    // Files beside the first ones: of what goes alone, and with points in place of others.
    let more = |series: &str, day: i64, nth: i64| {
        format!(
            "{series} i=-{nth}i {}\n",
            START + day * DAY + nth * 7 * SECOND
        )
    };
    let lines = (1..9).map(|nth| more("dropped,k=z", 1, nth) + &more("m,k=inside", 0, 100 * nth));
    server.write("d", "", &lines.collect::<String>());
    flush(server);
}

/// Deletes series, points and measurements, and writes anew some of what was deleted.
fn delete(server: &Influxd) {
    let at = |nth: i64| START + nth * 7 * SECOND;
    server.query("d", "DROP SERIES FROM m WHERE k = 'gone'");
    server.query(
        "d",
        &format!(
            "DELETE FROM m WHERE k = 'inside' AND time >= {} AND time <= {}",
            at(90),
            at(1310)
        ),
    );
    server.query(
        "d",
        &format!("DELETE FROM m WHERE k = 'inside' AND time = {}", at(1700)),
    );
    server.query(
        "d",
        &format!("DELETE FROM m WHERE k = 'before' AND time < {}", at(1050)),
    );
    server.query(
        "d",
        &format!("DELETE FROM m WHERE k = 'after' AND time > {}", at(5)),
    );
    server.query("d", "DELETE FROM m WHERE k = 'all points'");
    server.query("d", "DROP MEASUREMENT dropped");
    let again = [100, 150, 1700].map(|nth| format!("m,k=inside i=1000{nth}i {}\n", at(nth)));
    server.write("d", "", &again.concat());
}

/// Backs up by either tool in either layout.
fn back_up(tool: &str, layout: &str, server: &Influxd, dir: &Path, flags: &[&str]) {
    let layout = if layout == "portable" {
        &["-portable"][..]
    } else {
        &["-database", "d"]
    };
    let host = server.host();
    tools::run(
        tool,
        &[&["backup", "-host", &host], layout, flags, &[utf8(dir)]].concat(),
    );
}

/// How many tombstone files there are in the increment of a chain, of a shard whose TSM files they
/// are for are not in it.
fn lone_tombstones(dir: &Path) -> usize {
    let increment = fs::read(dir.join("d.autogen.00001.01")).unwrap_or_default();
    let names: Vec<String> = all_members(&increment)
        .into_iter()
        .map(|member| member.name)
        .collect();
    let stems = names
        .iter()
        .filter_map(|name| name.strip_suffix(".tombstone"));
    stems
        .filter(|stem| !names.contains(&format!("{stem}.tsm")))
        .count()
}

/// How many shards there are in the only set out of which deleted points were left.
fn shards_without_deletes(dir: &Path) -> usize {
    let contents = Catalog::read(dir).expect("a backup");
    let record = contents.records().next().expect("a record");
    let tombstones = record
        .shards
        .iter()
        .flat_map(|shard| &shard.members)
        .filter(|member| member.name.ends_with(".tombstone"));
    assert_eq!(tombstones.count(), 0, "{}", dir.display());
    record
        .shards
        .iter()
        .filter(|shard| shard.deletes_applied)
        .count()
}

/// Restores the database `d` as one of another name; what was written to standard error.
fn restore(server: &Influxd, dir: &Path, name: &str) -> String {
    restore_online(&server.host(), &["-database", "d", "-newdb", name], dir)
        .run()
        .expect(0)
        .stderr
}

/// Restores every set beside the others.
fn every_set(index: Index) {
    let sample = SAMPLE.get();
    assert!(
        sample.left.points.len() < sample.before.points.len() / 2 && sample.left.series.len() == 4
    );
    let folder = folder();
    let server = Influxd::start(folder.path(), index);
    // Each set into one kind of server, and each kind of set into both.
    let names = match index {
        Index::Inmem => [
            "snap legacy full",
            "snap portable chain",
            "influxd legacy chain",
            "influxd portable full",
            "snap legacy long chain",
            "snap legacy applied",
        ],
        Index::Tsi1 => [
            "snap legacy chain",
            "snap portable full",
            "influxd legacy full",
            "influxd portable chain",
            "carried out",
            "snap portable applied",
        ],
    };
    for name in names {
        let stderr = restore(&server, &sample.path(name), name);
        let is_chain = name.ends_with("chain");
        assert_eq!(
            stderr.contains("put together from a backup and later increments"),
            is_chain,
            "{name}: {stderr}"
        );
        assert_eq!(
            stderr.matches("warning").count(),
            usize::from(is_chain),
            "{name}: {stderr}"
        );
        assert!(
            Answers::of(&server, name) == sample.left,
            "{name}: the answers differ"
        );
        // Of the third day not a point is left, so there is nothing to be sent.
        let shards: Vec<u64> = server
            .shards()
            .into_iter()
            .filter(|shard| shard.0 == name)
            .map(|shard| shard.2)
            .collect();
        let tsm_files = |id: &u64| {
            let dir = server
                .data_dir()
                .join(name)
                .join("autogen")
                .join(id.to_string());
            tree::names(&dir)
                .iter()
                .filter(|name| name.ends_with(".tsm"))
                .count()
        };
        // Where it was left out, its shard is not in the set at all.
        let expected = if name.ends_with("applied") {
            &[true; 3][..]
        } else {
            &EMPTY_THIRD[..shards.len()]
        };
        assert_eq!(
            shards
                .iter()
                .map(|id| tsm_files(id) > 0)
                .collect::<Vec<_>>(),
            expected,
            "{name}"
        );
        snap(["verify", "-deep", "-quiet", utf8(&sample.path(name))]).expect(0);
    }
    assert!(tombstones(&server).is_empty());
    server.expect_no_errors();
    server.stop();
    let server = Influxd::start(folder.path(), index);
    for name in names {
        assert!(
            Answers::of(&server, name) == sample.left,
            "{name}: the answers differ after a restart"
        );
    }
}

/// Which shards of a database have files.
const EMPTY_THIRD: [bool; 4] = [true, true, false, true];

#[test]
fn points_that_were_deleted_stay_deleted_in_an_inmem_server() {
    every_set(Index::Inmem);
}

#[test]
fn points_that_were_deleted_stay_deleted_in_a_tsi1_server() {
    every_set(Index::Tsi1);
}

#[test]
fn points_that_were_deleted_stay_deleted_where_a_set_is_restored_into_directories() {
    let sample = SAMPLE.get();
    for (nth, (tool, layout)) in SETS.into_iter().enumerate() {
        for (what, index) in [("full", Index::Inmem), ("chain", Index::Tsi1)] {
            let name = format!("{tool} {layout} {what}");
            let index = if nth % 2 == 0 { index } else { Index::Inmem };
            let folder = folder();
            let flags = ["-database", "d", "-index", index.name()];
            let run = restore_into(folder.path(), &flags, &sample.path(&name))
                .run()
                .expect(0);
            assert!(
                run.stderr.contains("deletes that are not yet compacted"),
                "{name}: {}",
                run.stderr
            );
            let server = Influxd::start(folder.path(), index);
            assert!(tombstones(&server).is_empty(), "{name}");
            assert!(
                Answers::of(&server, "d") == sample.left,
                "{name}: the answers differ"
            );
            // A file that went leaves its number to the next.
            server.write("d", "", &format!("m,k=gone i=7i {}", START + 2 * DAY));
            flush(&server);
            server.stop();
            let server = Influxd::start(folder.path(), index);
            let points = server.points_in("d", "autogen");
            assert_eq!(points.len(), sample.left.points.len() + 1, "{name}");
            server.expect_no_errors();
        }
    }
}

/// Restores the database `d` of a portable backup as `influxd`, with the client of that name.
fn restored_by_influxd(server: &Influxd, dir: &Path) {
    let host = server.host();
    let into = ["-host", &host, "-db", "d", "-newdb", "influxd"];
    influxd_client(&[&["restore", "-portable"], &into[..], &[utf8(dir)]].concat());
}

#[test]
fn points_that_were_left_out_of_a_backup_stay_deleted_when_influxd_restores_it() {
    let sample = SAMPLE.get();
    for index in [Index::Inmem, Index::Tsi1] {
        let folder = folder();
        let server = Influxd::start(folder.path(), index);
        restored_by_influxd(&server, &sample.path("snap portable applied"));
        assert!(
            server.comes_to_be(|| Answers::of(&server, "influxd") == sample.left),
            "the answers differ"
        );
    }
    // And into directories.
    for layout in ["legacy", "portable"] {
        let folder = folder();
        restore_into(
            folder.path(),
            &[],
            &sample.path(&format!("snap {layout} applied")),
        )
        .run()
        .expect(0);
        let server = Influxd::start(folder.path(), Index::Inmem);
        assert!(
            Answers::of(&server, "d") == sample.left,
            "{layout}: the answers differ"
        );
    }
}

/// A file in the tar of shard `db/autogen/1`.
fn member(end: &str, content: &[u8]) -> Member {
    Member::new(
        format!("db/autogen/1/000000001-000000001.{end}"),
        content.to_vec(),
    )
}

/// A TSM file with three points of a key, and its tombstone, which deletes one of them.
fn with_tombstone() -> (Vec<u8>, Vec<u8>) {
    let key = "m,k=v#!~#v";
    let mut tombstone = TombstoneWriter::new(Vec::new()).expect("a tombstone");
    tombstone
        .record(TombstoneRecord {
            key: key.as_bytes(),
            min: 5,
            max: 6,
        })
        .expect("a tombstone");
    let file = tsm::file(&[tsm::key(key, ValueType::Integer, &[&[1, 5, 9]])]);
    (file, tombstone.finish().expect("a tombstone"))
}

#[test]
fn a_shard_in_which_another_run_found_deletes_is_not_taken_over_and_has_them_as_asked_for() {
    let (file, tombstone) = with_tombstone();
    let mut model = Model::new(Version::V1_6, &[("db", "autogen", 1), ("db", "autogen", 2)]);
    model.shard(1).tar = Tar::Bytes(tar(&[
        member("tombstone", &tombstone),
        member("tsm", &file),
    ]));
    model.shard(2).tar = Tar::Bytes(tar(&[Member::new(
        "db/autogen/2/000000001-000000001.tsm",
        file,
    )]));
    let (peer, folder) = (Peer::start(model), folder());
    let back_up = |flags: &[&str]| {
        backup(&peer.host(), &["-resume", "-retries", "0"], folder.path())
            .args(flags)
            .run()
    };
    peer.script(Asked::Shard(2), [Reply::Nothing]);
    let runs = [
        "-apply-deletes",
        "-apply-deletes",
        "-apply-deletes=false",
        "-apply-deletes=false",
        "-apply-deletes",
    ];
    for (nth, flag) in runs.into_iter().enumerate() {
        let run = back_up(&[flag]).expect(1);
        let said = match nth {
            0 => "no earlier run of the same kind left anything to take over",
            _ => {
                "0 shards taken over from an earlier run; 1 not, because points may have changed since"
            }
        };
        assert!(
            run.stderr.lines().any(|line| line == said),
            "{flag}: {}",
            run.stderr
        );
    }
    peer.script(Asked::Shard(2), [Reply::Whole]);
    back_up(&["-apply-deletes"]).expect(0);
    assert_eq!(shards_without_deletes(folder.path()), 1);
}

#[test]
fn points_at_the_ends_of_time_stay_when_others_are_deleted() {
    let key = "m,k=v#!~#v";
    let file = tsm::file(&[tsm::key(
        key,
        ValueType::Integer,
        &[&[i64::MIN, 5, i64::MAX]],
    )]);
    let (_, tombstone) = with_tombstone();
    let mut model = Model::new(Version::V1_6, &[("db", "autogen", 1)]);
    model.shard(1).tar = Tar::Bytes(tar(&[
        member("tombstone", &tombstone),
        member("tsm", &file),
    ]));
    let (peer, folder) = (Peer::start(model), folder());
    backup(&peer.host(), &["-apply-deletes"], folder.path())
        .run()
        .expect(0);
    assert_eq!(shards_without_deletes(folder.path()), 1);
    let verified = snap(["verify", "-deep", "-json", utf8(folder.path())]);
    assert_eq!(verified.last_message()["values"], 2, "{}", verified.stdout);
}

#[test]
fn a_shard_of_which_the_deletes_cannot_be_applied_is_stored_as_it_came_and_that_is_said() {
    let (sound, tombstone) = with_tombstone();
    // Within the block's values, where only its checksum tells.
    let mut damaged = sound.clone();
    damaged[20] ^= 1;
    for (file, tombstone, why) in [
        (&damaged, &tombstone, "000000001-000000001.tsm"),
        (
            &sound,
            &tombstone[..tombstone.len() - 3].to_vec(),
            "000000001-000000001.tombstone",
        ),
    ] {
        let sent = tar(&[member("tombstone", tombstone), member("tsm", file)]);
        let mut model = Model::new(Version::V1_6, &[("db", "autogen", 1)]);
        model.shard(1).tar = Tar::Bytes(sent.clone());
        let (peer, folder) = (Peer::start(model), folder());
        let run = snap([
            "backup",
            "-apply-deletes",
            "-host",
            &peer.host(),
            utf8(folder.path()),
        ])
        .expect(0);
        let warning = run
            .stderr
            .lines()
            .find(|line| line.starts_with("warning: "))
            .unwrap_or_default();
        assert!(
            warning.contains("shard db/autogen/1 is stored with what was deleted")
                && warning.contains(why),
            "{}",
            run.stderr
        );
        assert!(
            fs::read(folder.path().join("db.autogen.00001.00")).expect("a shard") == sent,
            "not as it was sent"
        );
    }
}

#[test]
fn a_tombstone_whose_file_was_left_out_deletes_nothing_that_is_written_later() {
    let folder = folder();
    let place = |name: &str| folder.path().join(name);
    let server = Influxd::start(&place("source"), Index::Inmem);
    server.execute("CREATE DATABASE d");
    server.write(
        "d",
        "",
        &format!("m,k=a v=1i {START}\nm,k=a v=2i {}", START + SECOND),
    );
    flush(&server);
    // An increment that begins after the file, and before its tombstone.
    let since = moment();
    server.query("d", "DROP SERIES FROM m WHERE k = 'a'");
    server.kill();
    let (_source, _server) = before_deletes_are_carried_out(&place("source"), |server| {
        let _ = fs::remove_dir_all(place("backup"));
        back_up("snap", "portable", server, &place("backup"), &[]);
        back_up(
            "snap",
            "portable",
            server,
            &place("backup"),
            &["-since", &since],
        );
        let contents = Catalog::read(place("backup")).expect("a backup");
        let members = |set: &SetRecord| {
            set.shards
                .iter()
                .flat_map(|shard| shard.members.clone())
                .collect::<Vec<_>>()
        };
        let sets: Vec<_> = contents.records().map(members).collect();
        matches!(&sets[..], [full, increment] if full.is_empty() && increment.len() == 1 && increment[0].is_tombstone())
    });
    for live in [false, true] {
        let target = place(&format!("target {live}"));
        let server = if live {
            let server = Influxd::start(&target, Index::Inmem);
            restore(&server, &place("backup"), "d");
            server
        } else {
            restore_into(&target, &[], &place("backup")).run().expect(0);
            Influxd::start(&target, Index::Inmem)
        };
        server.write("d", "", &format!("m,k=a v=42i {START}"));
        flush(&server);
        server.stop();
        let server = Influxd::start(&target, Index::Inmem);
        assert_eq!(
            server.points_in("d", "autogen").len(),
            1,
            "a point that was written after the restore is gone"
        );
    }
}

/// All of a file is deleted and compacted away, and after a restart of the server the same points
/// are written once more: the file has the name and the bytes of the one before.
#[test]
fn a_tombstone_deletes_nothing_of_a_file_that_was_written_anew_with_the_same_bytes() {
    let folder = folder();
    let dir = folder.path().join("backup");
    let (file, tombstone) = with_tombstone();
    let (file, tombstone) = (member("tsm", &file), member("tombstone", &tombstone));
    let mut since = None;
    for members in [&[file.clone()][..], &[tombstone], &[file]] {
        let peer = Peer::start(Model::new(Version::V1_6, &[("db", "autogen", 1)]));
        peer.script(Asked::Shard(1), [Reply::Bytes(tar(members))]);
        let begun = moment();
        let flags: Vec<&str> = since
            .iter()
            .flat_map(|since: &String| ["-since", since])
            .collect();
        backup(&peer.host(), &flags, &dir).run().expect(0);
        since = Some(begun);
    }
    restore_into(folder.path(), &[], &dir).run().expect(0);
    let server = Influxd::start(folder.path(), Index::Inmem);
    assert_eq!(server.points_in("db", "autogen").len(), 3);
}

#[test]
fn what_neither_influxd_nor_a_late_increment_can_know_to_be_deleted_comes_back() {
    let sample = SAMPLE.get();
    let folder = folder();
    let server = Influxd::start(folder.path(), Index::Inmem);
    let deleted: BTreeSet<&String> = sample
        .before
        .points
        .iter()
        .filter(|point| !sample.left.points.contains(point))
        .collect();
    // influxd throws tombstones away: that is what snap does otherwise.
    restored_by_influxd(&server, &sample.path("snap portable full"));
    let come_back = |name: &str| {
        let points: BTreeSet<String> = server.points_in(name, "autogen").into_iter().collect();
        assert!(
            sample
                .left
                .points
                .iter()
                .all(|point| points.contains(point)),
            "{name}: points are missing"
        );
        deleted
            .iter()
            .filter(|point| points.contains(**point))
            .count()
    };
    assert!(server.comes_to_be(|| come_back("influxd") > deleted.len() * 9 / 10));
    // The increment has the compacted files alone, and the files of the full set stay beside them.
    let stderr = restore(&server, &sample.path("late"), "late");
    assert!(
        stderr.contains("points that were deleted on the server in between can come back"),
        "{stderr}"
    );
    assert!(come_back("late") > 0);
    server.expect_no_errors();
}

/// Gives fields another type: of the same series, and of another one.
fn change_types(server: &Influxd) {
    server.query("d", "DROP MEASUREMENT same");
    server.query("d", "DROP MEASUREMENT other");
    let at = START + 60 * SECOND;
    server.write(
        "d",
        "",
        &format!("same,k=a v=\"new\" {at}\nother,k=b v=\"new\" {at}"),
    );
    flush(server);
}

#[test]
fn a_field_that_got_another_type_between_two_sets_has_the_values_that_the_server_had() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let server = Influxd::start(&path("source"), Index::Inmem);
    server.execute("CREATE DATABASE d");
    let old = |measurement: &str| {
        let points = (0..5).map(|nth| {
            let at = START + nth * SECOND;
            format!("{measurement},k=a v={nth}.5 {at}\n")
        });
        points.collect::<String>()
    };
    let measurements = ["same", "other", "stays"];
    server.write("d", "", &measurements.map(old).concat());
    flush(&server);
    for layout in ["legacy", "portable"] {
        back_up("snap", layout, &server, &path(layout), &[]);
    }
    change_types(&server);
    // The tombstones explain it; without them, nothing does.
    wait_for(|| tombstones(&server).is_empty().then_some(())).expect("deletes are carried out");
    let left = Answers::of(&server, "d");
    for layout in ["legacy", "portable"] {
        let flags = ["-since", "last"];
        back_up("snap", layout, &server, &path(layout), &flags);
    }
    server.stop();
    for (layout, index) in [("legacy", Index::Inmem), ("portable", Index::Tsi1)] {
        let target = path(&format!("into directories {layout}"));
        let flags = ["-database", "d", "-index", index.name()];
        let run = restore_into(&target, &flags, &path(layout)).run().expect(0);
        let told = "field 'v' of measurement 'same' (was float, is string)";
        assert!(run.stderr.contains(told), "{}", run.stderr);
        let server = Influxd::start(&target, index);
        assert_eq!(Answers::of(&server, "d"), left, "{layout}");
        server.expect_no_errors();
        server.stop();
        let server = Influxd::start(&path(&format!("live {layout}")), index);
        let stderr = restore(&server, &path(layout), "e");
        assert!(stderr.contains(told), "{stderr}");
        assert_eq!(Answers::of(&server, "e"), left, "{layout}");
    }
}

#[test]
fn values_written_after_all_was_deleted_and_the_server_began_its_files_anew_count() {
    let folder = folder();
    let path = |name: &str| folder.path().join(name);
    let root = path("source");
    let server = Influxd::start(&root, Index::Inmem);
    server.execute("CREATE DATABASE d");
    let write = |server: &Influxd, value: u32| {
        let points = (0..100).map(|nth| format!("m v={value} {}\n", START + nth * SECOND));
        server.write("d", "", &points.collect::<String>());
        flush(server);
    };
    (1..=3).for_each(|value| write(&server, value));
    let sets = [
        ("snap", "legacy", "snap"),
        ("snap", "portable", "portable"),
        ("influxd", "legacy", "influxd"),
    ];
    for (tool, layout, name) in sets {
        back_up(tool, layout, &server, &path(name), &[]);
    }
    let since = moment();
    // The times of files in tars are whole seconds.
    thread::sleep(Duration::from_millis(2500));
    server.query("d", "DELETE FROM m");
    let shard = server.data_dir().join("d/autogen/1");
    let is_empty = || {
        !tree::names(&shard)
            .iter()
            .any(|name| name.ends_with(".tsm"))
    };
    wait_for(|| is_empty().then_some(())).expect("the deletes are carried out");
    server.stop();
    let server = Influxd::start(&root, Index::Inmem);
    write(&server, 100);
    for (tool, layout, name) in sets {
        let since = if tool == "snap" { "last" } else { &since };
        back_up(tool, layout, &server, &path(name), &["-since", since]);
    }
    let expected = Answers::of(&server, "d");

    let host = server.host();
    for (_, _, name) in sets {
        snap(["diff", utf8(&path(name)), "-host", &host, "-database", "d"]).expect(0);
        let target = path(&format!("into directories {name}"));
        let flags = ["-database", "d"];
        let run = restore_into(&target, &flags, &path(name)).run().expect(0);
        let told = "shard d/autogen/1: 2 files of older sets left out";
        assert!(run.stderr.contains(told), "{}", run.stderr);
        let restored = Influxd::start(&target, Index::Inmem);
        assert_eq!(Answers::of(&restored, "d"), expected, "{name}");
        restore(&server, &path(name), &format!("live {name}"));
        assert_eq!(
            Answers::of(&server, &format!("live {name}")),
            expected,
            "{name}"
        );
    }
}
