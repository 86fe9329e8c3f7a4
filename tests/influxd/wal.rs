//! The WAL of an influxd that was killed: backed up as influxd itself reads it at its next start.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use crate::support::data::{START, flush};
use crate::support::influxd::{Index, Influxd};
use crate::support::process::{Run, backup_of, restore_into};
use crate::support::service::copy;
use crate::support::time::SECOND;
use crate::support::{folder, tree, utf8};
use influx_snap::tsm::values::ValueRef;
use influx_snap::tsm::wal::{NextEntry, Segment, SegmentEnding, WalEntry};

/// Backs up the directories below `root` into `backup`.
fn backup(root: &Path, backup: &Path, flags: &[&str]) -> Run {
    backup_of(
        root,
        &[&["-waldir", utf8(&root.join("wal"))], flags].concat(),
        backup,
    )
    .run()
}

/// Restores a backup into fresh directories, and gives what an influxd on them answers.
fn restored(from: &Path, root: &Path, index: Index) -> Vec<String> {
    let flags = if index == Index::Tsi1 {
        &["-index", "tsi1"][..]
    } else {
        &[]
    };
    restore_into(root, flags, from).run().expect(0);
    Influxd::start(root, index).points()
}

/// Points of every type in a few series, from a second on: what `nth` says makes values differ.
fn lines(series: &str, seconds: std::ops::Range<i64>, nth: i64) -> String {
    let line = |second: i64| {
        let time = START + second * SECOND;
        format!(
            "{series} f={second}.{nth},i={}i,b={},s=\"{nth} of {second}\" {time}\n",
            nth * second,
            second % 3 == nth
        )
    };
    seconds.map(line).collect()
}

/// Writes, deletes and flushes in a way that leaves points and deletes in TSM files, tombstones and
/// WAL segments.
fn load(server: &Influxd) {
    server.execute("CREATE DATABASE d; CREATE DATABASE never; CREATE DATABASE gone");
    let at = |second: i64| START + second * SECOND;
    let between = |from, to| format!("time >= {} AND time <= {}", at(from), at(to));
    let write = |text: &str| server.write("d", "autogen", text);
    write(&lines("m,h=a", 0..2500, 0));
    write(&lines("m,h=b", 0..50, 0));
    write(&lines("n", 0..50, 0));
    write(&format!("changes v=1.5 {}", at(0)));
    server.query(
        "d",
        &format!("DELETE FROM m WHERE h = 'a' AND {}", between(10, 20)),
    );
    flush(server);
    // Written over: some of it only, in no order, and more than once.
    write(&lines("m,h=a", 40..60, 1));
    write(&lines("m,h=a", 2400..2600, 1));
    write(&lines("m,h=a", 45..47, 2));
    write(&lines("m,h=a", -30..-20, 1));
    // Of the cache and of TSM files at once, some of it written anew.
    server.query(
        "d",
        &format!("DELETE FROM m WHERE h = 'a' AND {}", between(50, 52)),
    );
    write(&lines("m,h=a", 51..52, 3));
    // Of TSM files alone, and of the cache alone.
    server.query("d", &format!("DELETE FROM n WHERE {}", between(3, 4)));
    write(&lines("late", 0..9, 0));
    server.query("d", &format!("DELETE FROM late WHERE {}", between(2, 2)));
    // A series and a measurement that come back, the latter with other types.
    server.query("d", "DROP SERIES FROM m WHERE h = 'b'");
    write(&lines("m,h=b", 7..9, 1));
    write(&format!("changes v=2.5 {}", at(5)));
    server.query("d", "DROP MEASUREMENT changes");
    write(&format!("changes v=\"text\" {}", at(1)));
    // Shards that were never flushed; the second has nothing left.
    server.write("never", "autogen", &lines("only,in=wal", 0..1200, 1));
    server.write("gone", "autogen", &lines("each,of=it", 0..5, 1));
    server.query("gone", "DELETE FROM each");
}

fn killed(index: Index, root: &Path) -> Vec<String> {
    let server = Influxd::start(root, index);
    load(&server);
    let points = server.points();
    server.kill();
    points
}

/// Kills a server, backs its directories up, restores them, and compares three answers: before,
/// after a restart, restored.
fn round_trip(index: Index) {
    let own = folder();
    let root = own.path().join("influxd");
    let points = killed(index, &root);
    let before = tree::files(&root);
    let run = backup(&root, &own.path().join("backup"), &[]).expect(0);
    assert!(!run.stderr.contains("warning"), "{}", run.stderr);
    assert!(
        tree::files(&root) == before,
        "the directories are not as they were"
    );
    let restored = restored(
        &own.path().join("backup"),
        &own.path().join("restored"),
        index,
    );
    assert!(
        restored == points,
        "restored is not what was: {}",
        difference(&restored, &points)
    );
    let restarted = Influxd::start(&root, index).points();
    assert!(
        restarted == points,
        "restarted is not what was: {}",
        difference(&restarted, &points)
    );
}

fn difference(one: &[String], other: &[String]) -> String {
    let lacks = other.iter().find(|point| one.binary_search(point).is_err());
    let more = one.iter().find(|point| other.binary_search(point).is_err());
    format!(
        "{} and {} points; lacks {lacks:?}, has {more:?}",
        one.len(),
        other.len()
    )
}

#[test]
fn a_killed_inmem_server_is_backed_up_with_its_wal() {
    round_trip(Index::Inmem);
}

#[test]
fn a_killed_tsi1_server_is_backed_up_with_its_wal() {
    round_trip(Index::Tsi1);
}

/// The WAL segments of a shard, in order.
fn segments(root: &Path, shard: &str) -> Vec<PathBuf> {
    let directory = root.join("wal").join(shard);
    tree::names(&directory)
        .iter()
        .map(|name| directory.join(name))
        .collect()
}

#[test]
fn the_entries_of_a_live_wal_are_what_was_written_and_deleted() {
    let own = folder();
    let root = own.path().join("influxd");
    let server = Influxd::start(&root, Index::Inmem);
    server.execute("CREATE DATABASE d");
    server.write(
        "d",
        "autogen",
        &format!(
            "m,t=x f=-0.5,i=-7i,b=true,s=\"ünï\" {START}\nm,t=x f=2 {}",
            START + 1
        ),
    );
    server.query(
        "d",
        &format!(
            "DELETE FROM m WHERE time >= {} AND time < {}",
            START + 1,
            START + 10
        ),
    );
    server.query("d", "DROP MEASUREMENT m");
    server.kill();
    let mut found = Vec::new();
    for path in segments(&root, "d/autogen/1") {
        let mut segment = Segment::new(File::open(&path).expect("a segment"));
        loop {
            match segment.next_entry().expect("reading a segment") {
                NextEntry::End(ending) => break assert_eq!(ending, SegmentEnding::Clean),
                NextEntry::Entry(WalEntry::Write(writes)) => {
                    for written in writes {
                        let key = String::from_utf8_lossy(written.key).into_owned();
                        found.extend(written.points().map(|(time, value)| match value {
                            ValueRef::String(text) => {
                                format!("{key} {} {}", time - START, String::from_utf8_lossy(text))
                            }
                            other => format!("{key} {} {other:?}", time - START),
                        }));
                    }
                }
                NextEntry::Entry(WalEntry::Delete(_)) => found.push("delete".to_owned()),
                NextEntry::Entry(WalEntry::DeleteRange { min, max, keys }) => {
                    let keys: Vec<_> = keys.map(String::from_utf8_lossy).collect();
                    found.push(format!("delete {min} to {max}: {}", keys.join(" ")));
                }
            }
        }
    }
    found[..5].sort();
    let keys = ["b", "f", "i", "s"]
        .map(|field| format!("m,t=x#!~#{field}"))
        .join(" ");
    let expected = [
        "m,t=x#!~#b 0 Boolean(true)".to_owned(),
        "m,t=x#!~#f 0 Float(-0.5)".to_owned(),
        "m,t=x#!~#f 1 Float(2.0)".to_owned(),
        "m,t=x#!~#i 0 Integer(-7)".to_owned(),
        "m,t=x#!~#s 0 ünï".to_owned(),
        format!("delete {} to {}: {keys}", START + 1, START + 9),
        format!("delete {} to {}: {keys}", i64::MIN, i64::MAX),
    ];
    assert_eq!(found, expected);
}

#[test]
fn what_is_made_of_a_wal_is_byte_for_byte_what_influxd_makes_of_it() {
    let own = folder();
    let root = own.path().join("influxd");
    let server = Influxd::start(&root, Index::Inmem);
    server.execute("CREATE DATABASE d");
    for (series, nth) in [("m,h=a", 0), ("m,h=b", 1), ("n", 2)] {
        server.write("d", "autogen", &lines(series, 0..2700, nth));
        server.write("d", "autogen", &lines(series, 900..950, nth + 1));
    }
    server.query(
        "d",
        &format!(
            "DELETE FROM n WHERE time > {} AND time < {}",
            START + 500 * SECOND,
            START + 2000 * SECOND
        ),
    );
    server.kill();
    backup(&root, &own.path().join("backup"), &[]).expect(0);
    let tar = fs::read(own.path().join("backup/d.autogen.00001.00")).expect("a shard");
    let made = crate::support::service::members(&tar, "d/autogen/1");
    let server = Influxd::start(&root, Index::Inmem);
    flush(&server);
    server.kill();
    let mut flushed = tree::files(&root.join("data/d/autogen/1"));
    flushed.retain(|name, _| name.ends_with(".tsm"));
    assert_eq!(
        flushed.keys().collect::<Vec<_>>(),
        made.keys().collect::<Vec<_>>()
    );
    assert!(flushed == made, "the files differ");
}

#[test]
fn a_torn_wal_is_read_as_far_as_influxd_reads_it() {
    let own = folder();
    let root = own.path().join("influxd");
    let server = Influxd::start(&root, Index::Inmem);
    server.execute("CREATE DATABASE d");
    for nth in 0..4 {
        server.write("d", "autogen", &lines("m,h=a", nth..nth + 3, nth));
    }
    server.query(
        "d",
        &format!("DELETE FROM m WHERE time = {}", START + SECOND),
    );
    server.write("d", "autogen", &lines("m,h=b", 0..3, 1));
    server.kill();
    let segment = segments(&root, "d/autogen/1").pop().expect("a segment");
    let (segment, whole) = (
        segment.strip_prefix(&root).expect("below").to_owned(),
        fs::read(&segment).expect("a segment"),
    );
    let mut garbled = whole.clone();
    garbled[whole.len() / 2] ^= 0x55;
    let tail = [&whole[..], b"\x01\x00\x00\x00\x04junk and more"].concat();
    let cuts = [
        1,
        4,
        5,
        7,
        whole.len() / 3,
        whole.len() / 2,
        whole.len() - 40,
        whole.len() - 1,
    ];
    let cases = cuts
        .into_iter()
        .map(|end| whole[..end].to_vec())
        .chain([garbled, tail]);
    for (number, content) in cases.enumerate() {
        let case = |name: &str| own.path().join(format!("{name}-{number}"));
        copy(&root, &case("torn"));
        fs::write(case("torn").join(&segment), content).expect("writing a segment");
        let run = backup(&case("torn"), &case("backup"), &[]).expect(0);
        // What the flipped bit does is up to chance, but the same to both.
        let told = run
            .stderr
            .contains("warning: the WAL of shard d/autogen/1: the last ");
        assert!(told || number == cuts.len(), "{}", run.stderr);
        let restored = restored(&case("backup"), &case("restored"), Index::Inmem);
        let restarted = Influxd::start(&case("torn"), Index::Inmem).points();
        assert!(
            restored == restarted,
            "case {number}: {}",
            difference(&restored, &restarted)
        );
    }
}

#[test]
fn since_goes_by_when_the_wal_was_written_and_an_export_sees_it_too() {
    let own = folder();
    let root = own.path().join("influxd");
    killed(Index::Inmem, &root);
    let path = |name: &str| own.path().join(name);
    let date = |days: u64| SystemTime::UNIX_EPOCH + Duration::from_secs(86_400 * (18_262 + days));
    for (below, days) in [("data", 0), ("wal", 10)] {
        for name in tree::files(&root.join(below)).keys() {
            let file = File::options()
                .write(true)
                .open(root.join(below).join(name))
                .expect("a file");
            file.set_modified(date(days)).expect("setting a time");
        }
    }
    let members = |backup: &Path| -> Vec<String> {
        let tars = tree::files(backup)
            .into_iter()
            .filter(|(name, _)| name.starts_with("d.autogen.00001."));
        tars.flat_map(|(_, tar)| crate::support::service::members(&tar, "d/autogen/1").into_keys())
            .collect()
    };
    let made = ["000000002-000000001.tsm".to_owned()];
    backup(&root, &path("all"), &["-shard", "1"]).expect(0);
    assert!(
        members(&path("all")).contains(&made[0]) && members(&path("all")).len() > 1,
        "{:?}",
        members(&path("all"))
    );
    backup(
        &root,
        &path("some"),
        &["-shard", "1", "-since", "2020-01-06"],
    )
    .expect(0);
    assert_eq!(members(&path("some")), made);
    backup(
        &root,
        &path("none"),
        &["-shard", "1", "-since", "2020-01-11T00:00:00Z"],
    )
    .expect(0);
    assert_eq!(members(&path("none")), Vec::<String>::new());
    // Only the WAL reaches so far.
    backup(
        &root,
        &path("export"),
        &[
            "-shard",
            "1",
            "-start",
            "2018-06-04T00:41:45Z",
            "-end",
            "2018-06-04T00:50:00Z",
        ],
    )
    .expect(0);
    assert!(
        members(&path("export")).contains(&made[0]),
        "{:?}",
        members(&path("export"))
    );
}

#[test]
fn a_shard_that_has_a_wal_and_no_data_directory_is_backed_up() {
    let own = folder();
    let root = own.path().join("influxd");
    let points = killed(Index::Inmem, &root);
    let policy = root.join("data/never/autogen");
    fs::remove_dir_all(policy.join(&tree::names(&policy)[0])).expect("removing a shard");
    let run = backup(&root, &own.path().join("backup"), &["-database", "never"]);
    assert!(
        run.expect(6).stderr.contains("none of the shards"),
        "of a whole database, it may as well be another data directory"
    );
    backup(&root, &own.path().join("all"), &[]).expect(0);
    let restored = restored(
        &own.path().join("all"),
        &own.path().join("restored"),
        Index::Inmem,
    );
    assert!(restored == points, "{}", difference(&restored, &points));
}

#[test]
fn with_ignore_wal_it_is_left_out_and_that_is_said() {
    let own = folder();
    let root = own.path().join("influxd");
    killed(Index::Inmem, &root);
    let run = backup(&root, &own.path().join("backup"), &["-ignore-wal"]).expect(0);
    assert!(
        run.stderr.contains("in the WAL of shard never/autogen/")
            && run.stderr.contains("left out"),
        "{}",
        run.stderr
    );
    fs::remove_dir_all(root.join("wal")).expect("removing the WAL");
    let restored = restored(
        &own.path().join("backup"),
        &own.path().join("restored"),
        Index::Inmem,
    );
    let without = Influxd::start(&root, Index::Inmem).points();
    assert!(restored == without, "{}", difference(&restored, &without));
}

/// An entry that writes strings of 400 bytes to a key, a millisecond apart. They come out of bytes
/// that do not pack.
fn strings(key: &str, times: std::ops::Range<i64>, noise: &[u8]) -> Vec<u8> {
    let mut plain = vec![4];
    plain.extend(u16::try_from(key.len()).expect("a short key").to_be_bytes());
    plain.extend(key.as_bytes());
    plain.extend(
        u32::try_from(times.end - times.start)
            .expect("few points")
            .to_be_bytes(),
    );
    for (time, string) in times.zip(noise.chunks_exact(400).cycle()) {
        plain.extend((START + time * 1_000_000).to_be_bytes());
        plain.extend(400_u32.to_be_bytes());
        plain.extend(string);
    }
    let packed = snappy::raw::Encoder::new()
        .compress_vec(&plain)
        .expect("packing");
    [
        &[1][..],
        &u32::try_from(packed.len())
            .expect("a small entry")
            .to_be_bytes(),
        &packed,
    ]
    .concat()
}

#[test]
fn a_wal_of_160_mib_is_taken_in_96() {
    let own = folder();
    let root = own.path().join("influxd");
    let server = Influxd::start(&root, Index::Inmem);
    server.execute("CREATE DATABASE d");
    server.write("d", "autogen", &format!("m,t=x s=\"first\" {START}"));
    server.kill();
    let mut seed = 1_u64;
    let noise: Vec<u8> = (0..1 << 20)
        .map(|_| {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            seed.to_be_bytes()[0]
        })
        .collect();
    let mut bytes = 0;
    for number in 2..19 {
        // Each later segment comes before the earlier ones in time, so that nothing is in order.
        let first = (40 - number) * 25_000;
        let entries = (0..10).map(|part| {
            strings(
                "m,t=x#!~#s",
                first + part * 2500..first + (part + 1) * 2500,
                &noise,
            )
        });
        let segment: Vec<u8> = entries.flatten().collect();
        bytes += segment.len();
        fs::write(
            root.join(format!("wal/d/autogen/1/_{number:05}.wal")),
            segment,
        )
        .expect("writing a segment");
    }
    assert!(bytes > 160 << 20, "{bytes} bytes");
    let run = backup(&root, &own.path().join("backup"), &[]).expect(0);
    assert!(
        run.peak_rss < 96 << 20,
        "{} MiB in {:?}",
        run.peak_rss >> 20,
        run.wall
    );
    let stored = fs::metadata(own.path().join("backup/d.autogen.00001.00"))
        .expect("a shard")
        .len();
    assert!(stored > 160 << 20, "{stored} bytes in {:?}", run.wall);
}
