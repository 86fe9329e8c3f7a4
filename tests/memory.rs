//! Memory does not grow with the size or the number of shards.
//!
//! A process of its own: the peak of a child begins at that of its parent, which other tests would
//! raise.

mod support;

use std::fs::{self, File};
use std::io::{BufWriter, Read, Seek};
use std::path::Path;
use std::process::Command;

use flate2::Compression;
use flate2::write::GzEncoder;
use influx_snap::repository::manifest::{self, Manifest, MetaEntry, ShardEntry};
use influx_snap::shard::ShardPath;
use influx_snap::tsm::tombstone::{TombstoneRecord, TombstoneWriter};
use influx_snap::tsm::values::{Points, ValueType, Values};
use influx_snap::tsm::writer::Writer;
use influx_snap::wire::MetaBlob;
use support::handmade;
use support::influxd::{Index, Influxd};
use support::peer::{Asked, Model, Peer, Reply, Shard, Tar, Version, nobody, noise};
use support::process::{Run, backup, restore_into, snap};
use support::service::Serving;
use support::tsm::Block;
use support::{folder, tree, utf8};

/// What is mapped of the program that users install: it is counted in place of what is of the
/// program that is tested, which is larger.
const PROGRAM: u64 = 10 << 20;

/// The most a run may use, in bytes.
const LIMIT: u64 = 24 << 20;

/// Bytes in each of the large shards.
const LARGE: u64 = 96 << 20;

/// The most a run may use that compresses or decompresses on all cores: a block for each of at most
/// 16 cores, and a few for each of the shards.
const LIMIT_OF_PACKED: u64 = 48 << 20;

/// Bytes in each of the shards that are compressed; all of them are more than the limit lets in.
const PACKED: u64 = 24 << 20;

/// Bytes in each of the shards whose every point is looked at, half of them in an index.
const DEEP: u64 = 12 << 20;

/// How many small shards there are.
const MANY: u64 = 3000;

/// Backs up into `dir`, keeping to the limit.
fn back_up(peer: &Peer, flags: &[&str], dir: &Path, code: i32) -> Run {
    within_limit(
        backup(&peer.host(), &[&["-quiet"], flags].concat(), dir)
            .run()
            .expect(code),
    )
}

/// Restores from `dir` into directories beside it, keeping to the limit.
fn restore(dir: &Path) -> Run {
    let beside = dir.parent().expect("a directory");
    within_limit(
        restore_into(beside, &["-host", &nobody()], dir)
            .run()
            .expect(0),
    )
}

fn within_limit(run: Run) -> Run {
    within(LIMIT, run)
}

fn within(limit: u64, run: Run) -> Run {
    let used = run.peak_rss.saturating_sub(run.program_rss) + PROGRAM;
    let mebibytes = used as f64 / f64::from(1 << 20);
    assert!(
        used <= limit,
        "{mebibytes:.1} MiB in {:?}\n{}",
        run.wall,
        run.stderr
    );
    run
}

#[test]
fn two_large_shards_at_a_time_are_backed_up_and_restored_in_24_mib() {
    let mut model = Model::new(Version::V1_6, &[]);
    for id in [1, 2] {
        let path = ShardPath {
            database: "db".into(),
            retention_policy: "autogen".into(),
            id,
        };
        model.shards.push(Shard::with_tar(path, Tar::Large(LARGE)));
    }
    let root = folder();
    let dir = root.path().join("backup");
    let peer = Peer::start(model);
    back_up(&peer, &["-jobs", "2"], &dir, 0);
    for shard in peer.model().shards {
        let file = dir.join(format!("db.autogen.{:05}.00", shard.path.id));
        assert!(shard.tar.is_in(&shard.path, &file), "{}", file.display());
    }
    restore(&dir);
    for id in [1, 2] {
        let file = root
            .path()
            .join(format!("data/db/autogen/{id}/000000001-000000001.tsm"));
        assert_eq!(file.metadata().expect("a restored file").len(), LARGE);
    }
}

#[test]
fn four_shards_at_a_time_are_backed_up_compressed_and_restored_here_and_there_in_48_mib() {
    let path = |id| ShardPath {
        database: "db".into(),
        retention_policy: "autogen".into(),
        id,
    };
    let mut model = Model::new(Version::V1_6, &[]);
    model
        .shards
        .extend((1..=4).map(|id| Shard::with_tar(path(id), Tar::Large(PACKED))));
    let peer = Peer::start(model);
    let root = folder();
    let dir = root.path().join("backup");
    let flags = ["-quiet", "-portable", "-jobs", "4"];
    let run = backup(&peer.host(), &flags, &dir).run().expect(0);
    within(LIMIT_OF_PACKED, run);
    let names = tree::names(&dir).into_iter();
    let files: Vec<_> = names.filter(|name| name.ends_with(".tar.gz")).collect();
    assert_eq!(files.len(), 4);
    for file in files {
        // What others make of so many blocks.
        let status = Command::new("gzip").arg("-t").arg(dir.join(&file)).status();
        assert!(status.expect("gzip runs").success(), "{file}");
    }
    let run = restore_into(root.path(), &["-host", &nobody()], &dir).run();
    within(LIMIT_OF_PACKED, run.expect(0));
    // A service as influxd is one; that checks no more of a TSM file than its outside.
    let target = root.path().join("target");
    Influxd::start(&target, Index::Inmem).stop();
    let serving = Serving::start(&target, &["-writable"]);
    let dir = utf8(&dir);
    let args = [
        "restore",
        "-portable",
        "-quiet",
        "-jobs",
        "4",
        "-host",
        &serving.host(),
        dir,
    ];
    within(LIMIT_OF_PACKED, snap(args).expect(0));
    serving.stop();
    for id in 1..=4 {
        let file = target.join(format!("data/{}/000000001-000000001.tsm", path(id)));
        assert_eq!(file.metadata().expect("a restored file").len(), PACKED);
    }
}

#[test]
fn three_thousand_shards_are_backed_up_and_restored_in_24_mib() {
    let shards: Vec<_> = (1..=MANY).map(|id| ("db", "autogen", id)).collect();
    let root = folder();
    let dir = root.path().join("backup");
    let peer = Peer::start(Model::new(Version::V1_6, &shards));
    back_up(&peer, &["-jobs", "2"], &dir, 0);
    assert_eq!(tree::names(&dir).len() as u64, MANY + 2);
    for shard in peer.model().shards {
        let file = dir.join(format!("db.autogen.{:05}.00", shard.path.id));
        assert!(shard.tar.is_in(&shard.path, &file), "{}", file.display());
    }
    restore(&dir);
    let restored = tree::files(&root.path().join("data"));
    assert_eq!(
        restored
            .keys()
            .filter(|name| name.ends_with(".tsm"))
            .count() as u64,
        2 * MANY
    );
}

/// Writes a TSM file of about [`DEEP`] bytes: large blocks of strings, or very many keys with few
/// points.
fn write_tsm(out: &mut File, start: i64, many_keys: bool) {
    let times: Vec<i64> = (0..if many_keys { 3 } else { 1000 })
        .map(|second| start + second)
        .collect();
    let text = |time: &i64| noise(time.unsigned_abs(), 64);
    let (values, keys) = match many_keys {
        true => (Values::Integer(times.clone()), DEEP / 118),
        false => (
            Values::String(times.iter().map(text).collect()),
            DEEP / 64_000,
        ),
    };
    let block = Block::of(&Points { times, values });
    let mut writer = Writer::new(BufWriter::new(out));
    let value_type = ValueType::from_byte(block.bytes[0]).expect("a type");
    for nth in 0..keys {
        let key = format!("measurement,host=server{nth:08},region=somewhere#!~#value");
        writer
            .begin_key(key.as_bytes(), value_type)
            .expect("keys in their order");
        writer
            .block(block.min, block.max, block.crc, &block.bytes)
            .expect("a block");
    }
    writer.finish().expect("a file is written");
}

#[test]
fn every_point_of_four_shards_of_a_portable_backup_is_looked_at_in_24_mib() {
    let root = folder();
    let dir = root.path();
    let path = |id| ShardPath {
        database: "db".into(),
        retention_policy: "autogen".into(),
        id,
    };
    let mut model = Model::new(Version::V1_6, &[]);
    let mut files = Vec::new();
    let first = Shard::with_tar(path(1), Tar::Large(0));
    let tsms = [false, true].map(|many_keys| {
        let mut tsm = tempfile::tempfile().expect("a file");
        write_tsm(&mut tsm, first.start, many_keys);
        tsm
    });
    for id in 1..=4 {
        model.shards.push(Shard {
            path: path(id),
            ..first.clone()
        });
        let mut tsm = &tsms[id as usize % 2];
        let size = tsm.metadata().expect("a file").len();
        assert!(
            (DEEP * 9 / 10..DEEP * 11 / 10).contains(&size),
            "{size} bytes"
        );
        tsm.rewind().expect("a file");
        let file_name = manifest::shard_file("20260101T000000Z", id);
        let packed = File::create(dir.join(&file_name)).expect("a file");
        let mut tar = tar::Builder::new(GzEncoder::new(packed, Compression::none()));
        let mut header = tar::Header::new_ustar();
        header.set_size(size);
        tar.append_data(
            &mut header,
            format!("{}/000000001-000000001.tsm", path(id)),
            tsm,
        )
        .expect("a tar");
        tar.into_inner()
            .and_then(GzEncoder::finish)
            .expect("a file");
        let size = size.next_multiple_of(512) + 3 * 512;
        let (database, policy) = ("db".into(), "autogen".into());
        files.push(ShardEntry {
            database,
            policy,
            shard_id: id,
            file_name,
            size,
            last_modified: 0,
        });
    }
    let meta = MetaBlob::read_from(&model.meta()[..])
        .expect("a metastore")
        .meta;
    let file_name = manifest::meta_file("20260101T000000Z");
    fs::write(dir.join(&file_name), manifest::write_meta(&meta)).expect("a file");
    let meta = MetaEntry {
        file_name,
        size: meta.len() as u64,
    };
    let manifest =
        File::create(dir.join(manifest::manifest_file("20260101T000000Z"))).expect("a file");
    Manifest {
        meta,
        limited: false,
        files: Some(files),
    }
    .write_to(manifest)
    .expect("a file");
    let dir = utf8(dir);
    let run = within_limit(snap(["verify", "-deep", "-jobs", "4", dir]).expect(0));
    assert!(
        run.stdout
            .starts_with("no fault in 1 set: 4 shard files, 4 TSM files"),
        "{}",
        run.stdout
    );
}

#[test]
fn a_tombstone_of_half_a_million_keys_is_applied_in_24_mib() {
    let root = folder();
    let dir = root.path().join("backup");
    fs::create_dir(&dir).expect("a directory");
    let shard = ("d", "autogen", 1);
    let mut tsm = tempfile::tempfile().expect("a file");
    write_tsm(&mut tsm, 0, true);
    let mut content = Vec::new();
    tsm.rewind().expect("a file");
    tsm.read_to_end(&mut content).expect("a file");
    let mut tombstone = TombstoneWriter::new(Vec::new()).expect("a tombstone");
    // In no order, every other of the keys there are, many that are not there, and one of them
    // again and again.
    for nth in 0..500_000_u64 {
        let (nth, min) = match nth % 2 {
            0 => (nth * 7919 % 500_000, 0),
            _ => (1, 10 * nth as i64),
        };
        let key = format!("measurement,host=server{nth:08},region=somewhere#!~#value");
        let record = TombstoneRecord {
            key: key.as_bytes(),
            min,
            max: min + 3,
        };
        tombstone.record(record).expect("a record");
    }
    let tombstone = tombstone.finish().expect("a tombstone");
    fs::write(dir.join("meta.00"), handmade::meta(&[shard])).expect("a file");
    let name = "000000001-000000001.tombstone";
    fs::write(
        dir.join(handmade::shard_file(shard, 0)),
        handmade::shard_tar(shard, &[(handmade::FILE, &content), (name, &tombstone)]),
    )
    .expect("a file");
    restore(&dir);
    let shard = root.path().join("data/d/autogen/1");
    let size = |bytes: &[u8]| bytes.len() as u64;
    let files = tree::files(&shard);
    assert_eq!(files.keys().collect::<Vec<_>>(), [handmade::FILE]);
    let (left, all) = (size(&files[handmade::FILE]), size(&content));
    assert!(
        (all * 4 / 10..all * 6 / 10).contains(&left),
        "{left} of {all}"
    );
}

#[test]
fn peers_that_send_members_for_ever_get_no_more() {
    let shards: Vec<_> = (1..=3).map(|id| ("db", "autogen", id)).collect();
    let peer = Peer::start(Model::new(Version::V1_6, &shards));
    for (_, _, id) in &shards {
        peer.script(Asked::Shard(*id), [Reply::EndlessMembers]);
    }
    let root = folder();
    let limits = ["-attempt-timeout", "1m", "-retries", "0", "-jobs", "3"];
    back_up(&peer, &limits, &root.path().join("backup"), 1);
}

/// A backup of two shards of very many series, with three points each from a time on.
fn many_series(dir: &Path, count: u64, start: i64) {
    fs::create_dir(dir).expect("a directory");
    let shards = [("d", "autogen", 1), ("d", "autogen", 2)];
    fs::write(dir.join("meta.00"), handmade::meta(&shards)).expect("a file");
    for shard in shards {
        let block = Block::new(ValueType::Float, &[start, start + 1, start + 2]);
        let mut writer = Writer::new(Vec::new());
        for nth in 0..count {
            let rack = nth % 500;
            let key = format!("measurement,host=server{nth:08},rack={rack:03}#!~#value");
            writer
                .begin_key(key.as_bytes(), ValueType::Float)
                .expect("keys in their order");
            writer
                .block(block.min, block.max, block.crc, &block.bytes)
                .expect("a block");
        }
        let (content, _) = writer.finish().expect("a file is written");
        let tar = handmade::shard_tar(shard, &[(handmade::FILE, &content)]);
        fs::write(dir.join(handmade::shard_file(shard, 0)), tar).expect("a file");
    }
}

#[test]
fn fifty_thousand_series_of_two_shards_are_compared_in_24_mib() {
    const SERIES: u64 = 50_000;
    let root = folder();
    let (dir, later) = (root.path().join("backup"), root.path().join("later"));
    many_series(&dir, SERIES, 1);
    many_series(&later, SERIES, 2);
    let same = snap(["diff", "-json", utf8(&dir), utf8(&dir)]).expect(0);
    let summary = within(LIMIT, same).last_message();
    // The two shards are of one group: of two values at one time, one counts.
    assert_eq!(summary["same_point_count"], 3 * SERIES, "{summary}");

    let other = snap(["diff", "-json", utf8(&dir), utf8(&later)]).expect(1);
    let summary = within(LIMIT, other).last_message();
    for (count, points) in [
        ("only_in_a_point_count", SERIES),
        ("only_in_b_point_count", SERIES),
    ] {
        assert_eq!(summary[count], points, "{summary}");
    }
}

#[test]
fn two_hundred_thousand_series_of_two_shards_are_counted_in_40_mib() {
    const SERIES: u64 = 200_000;
    let root = folder();
    let dir = root.path().join("backup");
    many_series(&dir, SERIES, 1);
    for flags in [&[][..], &["-exact"]] {
        let args = [&["stats", "-json"], flags, &[utf8(&dir)]].concat();
        let run = within(LIMIT + (16 << 20), snap(args).expect(0));
        let messages = run.messages();
        let kind = |kind: &str| {
            let mut of_kind = messages.iter().filter(|line| line["message_type"] == kind);
            of_kind.next().expect("a line").clone()
        };
        assert_eq!(kind("database")["series"], SERIES);
        let measurement = kind("measurement");
        assert_eq!(measurement["series_is_estimate"], false);
        assert_eq!(measurement["values"], 6 * SERIES);
        let tags = measurement["tags"].as_array().expect("tags");
        assert_eq!(
            (&tags[0]["tag"], &tags[0]["values"]),
            (&"host".into(), &SERIES.into())
        );
        assert_eq!(
            (&tags[1]["tag"], &tags[1]["values"]),
            (&"rack".into(), &500.into())
        );
    }
}

/// A set in `dir` of one file a shard.
fn set_of(dir: &Path, shards: &[(&str, &str, u64)], write: impl Fn(u64, &mut Writer<Vec<u8>>)) {
    fs::create_dir(dir).expect("a directory");
    fs::write(dir.join("meta.00"), handmade::meta(shards)).expect("a file");
    for shard in shards {
        let mut writer = Writer::new(Vec::new());
        write(shard.2, &mut writer);
        let (content, _) = writer.finish().expect("a file is written");
        let tar = handmade::shard_tar(*shard, &[(handmade::FILE, &content)]);
        fs::write(dir.join(handmade::shard_file(*shard, 0)), tar).expect("a file");
    }
}

#[test]
fn very_many_series_and_a_very_long_one_are_exported_in_40_mib() {
    const SERIES: i64 = 200_000;
    const BLOCKS: i64 = 2000;
    let root = folder();
    let dir = root.path().join("backup");
    set_of(
        &dir,
        &[("d", "autogen", 1), ("d", "autogen", 2)],
        |shard, writer| {
            let is_long = shard == 2;
            let blocks = |nth: i64| match is_long {
                true => (1000 * nth..1000 * (nth + 1)).collect(),
                false => vec![1, 2, 3],
            };
            for nth in 0..if is_long { 1 } else { SERIES } {
                let key = format!("measurement,host=server{nth:08}#!~#value");
                let begun = writer.begin_key(key.as_bytes(), ValueType::Float);
                begun.expect("keys in their order");
                for nth in 0..if is_long { BLOCKS } else { 1 } {
                    let block = Block::new(ValueType::Float, &blocks(nth));
                    let written = writer.block(block.min, block.max, block.crc, &block.bytes);
                    written.expect("a block");
                }
            }
        },
    );
    let file = root.path().join("points.lp");
    for flags in [&[][..], &["-max-lines", "500000", "-target", "questdb"]] {
        let args = [
            &["export", "-json", "-o", utf8(&file)],
            flags,
            &[utf8(&dir)],
        ]
        .concat();
        let run = within(
            LIMIT + (16 << 20),
            snap(args).expect(if flags.is_empty() { 0 } else { 3 }),
        );
        assert_eq!(run.last_message()["points"], 3 * SERIES + 1000 * BLOCKS);
    }
}
