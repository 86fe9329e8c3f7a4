//! That `snap verify` passes what is sound and names what is not: which file, where, and what it means.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};

use influx_snap::cancel::Cancel;
use influx_snap::error::{Class, class};
use influx_snap::format::portable::decompress;
use influx_snap::format::shard_tar::BLOCK;
use influx_snap::ops::{VerifyOptions, verify};
use influx_snap::progress::{Event, Progress};
use influx_snap::tsm::HEADER;
use influx_snap::tsm::tombstone::{Record, TombstoneWriter};
use influx_snap::tsm::values::ValueType;
use influx_snap::wire::ShardPath;
use serde_json::Value;
use tempfile::TempDir;

use support::data::START;
use support::influxd::{Index, Influxd};
use support::peer::{self, Asked, Member, Model, Peer, Reply, Shard, Tar, Version};
use support::process::{Run, backup, snap};
use support::service::{all_members, copy};
use support::time::{DAY, SECOND};
use support::tsm::{Block, Key, file, key};
use support::{folder, tools, tree, utf8};

/// The name of the TSM file in a shard.
const TSM: &str = "000000001-000000001.tsm";

/// The layouts.
const LAYOUTS: [&str; 2] = ["legacy", "portable"];

/// A set of snap's in each layout.
struct Bench {
    root: TempDir,
    model: Model,
}

impl Bench {
    /// Sets of a server with these shards of the database `db`, a list of files each.
    fn new(shards: Vec<Vec<(String, Vec<u8>)>>) -> Self {
        let mut model = Model::new(Version::V1_6, &[]);
        for (files, id) in shards.into_iter().zip(1..) {
            let path = path(id);
            let member = |(name, content)| Member::new(format!("{path}/{name}"), content);
            let tar = peer::tar(&files.into_iter().map(member).collect::<Vec<_>>());
            model.shards.push(Shard::with_tar(path, Tar::Bytes(tar)));
        }
        let bench = Self { root: folder(), model: model.clone() };
        let peer = Peer::start(model);
        for layout in LAYOUTS {
            let flags = if layout == "portable" { &["-portable"][..] } else { &[] };
            let dir = bench.root.path().join(layout);
            backup(&peer.host(), &[&["-quiet"], flags].concat(), &dir).run().expect(0);
        }
        bench
    }

    /// Sets of a server with some sound shards.
    fn sound(shards: usize) -> Self {
        Self::new((0..shards).map(|nth| vec![(TSM.to_owned(), file(&keys(group(nth + 1))))]).collect())
    }

    /// A fresh copy of a set; `recorded` says whether with snap's record, or as influxd leaves one.
    fn copy(&self, layout: &str, recorded: bool) -> PathBuf {
        let to = self.root.path().join("copy");
        let _ = fs::remove_dir_all(&to);
        copy(&self.root.path().join(layout), &to);
        if !recorded {
            fs::remove_dir_all(to.join(".snap")).expect("removing the record");
        }
        to
    }
}

fn path(id: u64) -> ShardPath {
    ShardPath { database: "db".into(), retention_policy: "autogen".into(), id }
}

/// When the group of a shard begins.
fn group(id: usize) -> i64 {
    Shard::with_tar(path(id as u64), Tar::Large(0)).start
}

/// A few keys of each type, with points from a time on.
fn keys(start: i64) -> Vec<Key> {
    let times: Vec<i64> = (0..12).map(|i| start + i * i * SECOND).collect();
    vec![
        key("cpu,host=a#!~#idle", ValueType::Float, &[&times[..5], &times[5..]]),
        key("cpu,host=a#!~#ticks", ValueType::Integer, &[&times]),
        key("cpu,host=b#!~#on", ValueType::Boolean, &[&times[3..4]]),
        key("log,host=b#!~#text", ValueType::String, &[&times[..2]]),
    ]
}

/// How many points [`keys`] have.
const POINTS: u64 = 12 + 12 + 1 + 2;

/// A run of `snap verify -json`, and what it printed: the faults, and the summary or the error at its end.
fn told(dir: &Path, flags: &[&str], code: i32) -> (Vec<Value>, Value) {
    let run = snap([&["verify", "-json"], flags, &[utf8(dir)]].concat()).expect(code);
    let (faults, others): (Vec<Value>, Vec<Value>) =
        run.messages().into_iter().partition(|message| message["message_type"] == "fault");
    (faults, others.into_iter().last().expect("a summary"))
}

struct Silent;

impl Progress for Silent {
    fn report(&self, _: &Event<'_>) {}
}

/// Does one kind of damage to a file.
fn damage(file: &Path, how: &str) {
    let mut bytes = fs::read(file).expect("a file");
    // In a tar it is in the first block of the TSM file.
    let inside = if bytes.len() > 2 * BLOCK { BLOCK + HEADER.len() + 4 } else { bytes.len() / 4 };
    match how {
        "cut to half" => bytes.truncate(bytes.len() / 2),
        "cut by a byte" => drop(bytes.pop()),
        "emptied" => bytes.clear(),
        "flipped" => bytes[inside] ^= 1,
        "made longer" => bytes.extend(b"\xff\x00more"),
        "deleted" => return fs::remove_file(file).expect("removing a file"),
        _ => panic!("no damage {how}"),
    }
    fs::write(file, bytes).expect("writing a file");
}

/// All kinds of damage.
const DAMAGES: [&str; 6] = ["cut to half", "cut by a byte", "emptied", "flipped", "made longer", "deleted"];

/// What a file of a set is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Record,
    Manifest,
    Meta,
    Shard(u64),
}

impl Kind {
    fn of(name: &str) -> Self {
        match name {
            _ if name.ends_with(".json") => Self::Record,
            _ if name.ends_with(".manifest") => Self::Manifest,
            _ if name.starts_with("meta.") || name.ends_with(".meta") => Self::Meta,
            _ => Self::Shard(if name.contains(".00001.") || name.contains(".s1.") { 1 } else { 2 }),
        }
    }

    /// The shard that its faults are told of.
    fn shard(self) -> Value {
        if let Self::Shard(id) = self { path(id).to_string().into() } else { Value::Null }
    }

    /// What its faults mean.
    fn means(self, how: &str) -> &'static [&'static str] {
        match self {
            Self::Record => &[],
            Self::Manifest => &["influxd cannot restore this set; snap can, from its record"],
            Self::Meta => &["nothing of this set can be restored"],
            Self::Shard(_) if how == "flipped" => &[SHARD_LOST, POINTS_LOST, UNREACHABLE],
            Self::Shard(_) => &[SHARD_LOST],
        }
    }
}

/// What damage means.
const SHARD_LOST: &str = "this shard cannot be restored from this set";
const POINTS_LOST: &str = "influxd would take the file, and miss these points without a word";
const UNREACHABLE: &str = "no query for the times of the shard finds these points";
const DELETES_LOST: &str = "points that were deleted would come back";

/// The fields of a fault.
const FIELDS: [&str; 8] = ["file", "means", "member", "message", "message_type", "offset", "set", "shard"];

#[test]
fn sound_sets_of_either_tool_in_either_layout_pass_with_the_points_that_the_server_has() {
    let folder = folder();
    let server = Influxd::start(&folder.path().join("source"), Index::Inmem);
    server.execute("CREATE DATABASE d WITH SHARD DURATION 1d");
    let point = |i: i64| {
        format!("m,t=t{} f={i}.5,i={i}i,b={},s=\"{i}\" {}\n", i % 5, i % 3 == 0, START + i * DAY / 400 - (i % 7) * SECOND)
    };
    server.write("d", "", &(0..1500).map(point).collect::<String>());
    let (points, shards) = (server.points().len(), server.shards().len());
    assert_eq!((points, shards), (6000, 4));
    let host = server.host();
    for tool in ["snap", "influxd"] {
        for layout in LAYOUTS {
            let flags = if layout == "portable" { &["-portable"][..] } else { &["-database", "d"] };
            let dir = folder.path().join(format!("{tool}_{layout}"));
            tools::run(tool, &[&["backup", "-host", &host], flags, &[utf8(&dir)]].concat());
            let before = tree::files(&dir);
            for (flags, points) in [(&[][..], Value::Null), (&["-deep"], points.into())] {
                let (faults, summary) = told(&dir, flags, 0);
                assert_eq!(faults, Vec::<Value>::new(), "{tool} {layout}");
                let counts = ["sets", "shards", "tsm_files", "faults", "points"].map(|name| summary[name].clone());
                assert_eq!(counts, [1.into(), shards.into(), shards.into(), 0.into(), points], "{tool} {layout}");
                let bytes = before.iter().filter(|(name, _)| !name.starts_with(".snap/"));
                // Of influxd's manifest there is nothing to be compared, but it is read too.
                let bytes = bytes.filter(|(name, _)| tool == "snap" || !name.ends_with(".manifest"));
                assert_eq!(summary["bytes"], bytes.map(|(_, content)| content.len()).sum::<usize>());
            }
            let run = snap(["verify", "-deep", utf8(&dir), "latest"]).expect(0);
            assert!(run.stdout.starts_with("no fault in 1 set: 4 shard files, 4 TSM files, 6000 points"), "{}", run.stdout);
            assert!(tree::files(&dir) == before, "{tool} {layout}: verifying changed the backup");
        }
    }
}

#[test]
fn every_damage_to_any_file_of_a_set_is_told_with_the_file_and_what_it_means() {
    let bench = Bench::sound(2);
    for (layout, recorded) in [("legacy", true), ("legacy", false), ("portable", true), ("portable", false)] {
        let dir = bench.copy(layout, recorded);
        let names: Vec<String> = tree::files(&dir).into_keys().filter(|name| !name.ends_with("lock")).collect();
        assert_eq!(names.len(), 3 + usize::from(recorded) + usize::from(layout == "portable"), "{names:?}");
        for name in &names {
            let kind = Kind::of(name);
            for how in DAMAGES {
                let unseen = match (kind, how) {
                    // What is left is a set as influxd leaves one; nothing tells that more was there.
                    (Kind::Record, "deleted") => true,
                    // No sum covers influxd's meta store.
                    (Kind::Meta, "flipped") => !recorded,
                    _ => false,
                };
                if unseen {
                    continue;
                }
                let what = format!("{layout}, recorded: {recorded}, {name} {how}");
                let dir = bench.copy(layout, recorded);
                damage(&dir.join(name), how);
                if kind == Kind::Record || (kind, recorded) == (Kind::Manifest, false) {
                    // Without its manifest, a portable set is none.
                    if how == "deleted" {
                        let (_, last) = told(&dir, &["-deep"], 10);
                        assert!(
                            last["message"].as_str().is_some_and(|message| message.contains("no manifest")),
                            "{what}: {last}"
                        );
                        continue;
                    }
                    let (faults, last) = told(&dir, &["-deep"], 4);
                    // In a record that can still be read, the flip is in what another file is compared with.
                    let seen = faults.iter().any(|fault| fault["file"] == name[..] || how == "flipped");
                    assert!(seen, "{what}: {faults:?} {last}");
                    continue;
                }
                let (faults, summary) = told(&dir, &["-deep"], 4);
                assert!(!faults.is_empty() && summary["faults"] == faults.len(), "{what}: {faults:?} {summary}");
                let size = fs::metadata(dir.join(name)).map_or(0, |metadata| metadata.len());
                for fault in &faults {
                    let fields: Vec<&String> = fault.as_object().expect("an object").keys().collect();
                    assert_eq!(fields, FIELDS, "{what}");
                    assert_eq!((&fault["file"], &fault["shard"]), (&name[..].into(), &kind.shard()), "{what}");
                    assert!(kind.means(how).contains(&fault["means"].as_str().expect("a text")), "{what}: {fault}");
                    assert!(fault["message"].as_str().is_some_and(|message| !message.is_empty()), "{what}: {fault}");
                    assert!(fault["offset"].as_u64().is_none_or(|offset| offset <= size), "{what}: {fault}");
                }
                if let (Kind::Shard(_), "legacy") = (kind, layout) {
                    let expected = match how {
                        "cut to half" | "cut by a byte" => Some(size),
                        "made longer" => Some(size - 6),
                        // Of the block, in the TSM file.
                        "flipped" => Some(HEADER.len() as u64),
                        _ => None,
                    };
                    assert_eq!(faults[0]["offset"].as_u64(), expected, "{what}: {faults:?}");
                }
                // The same for people: a line a fault, on standard output even where little is wanted.
                let run = snap(["verify", "-deep", "-quiet", utf8(&dir)]).expect(4);
                let lines = run.stdout.lines().filter(|line| line.contains(&name[..])).count();
                assert_eq!((lines, run.stdout.lines().count()), (faults.len(), faults.len()), "{what}: {}", run.stdout);
            }
        }
    }
}

/// Verifies in this process: whether there was a fault, or an error of [`Class::Damage`].
fn is_damaged(dir: &Path, deep: bool) -> bool {
    let options = VerifyOptions { directory: dir.to_owned(), set: None, deep, jobs: 1 };
    let mut count = 0;
    match verify(&options, &Cancel::default(), &Silent, &mut |_| count += 1) {
        Ok(report) => {
            assert_eq!(report.faults, count);
            count > 0
        }
        Err(error) => {
            assert_eq!(class(&error), Class::Damage, "{error:#}");
            true
        }
    }
}

/// Flips a bit of bytes of a file, one at a time; at which of them verifying finds nothing.
fn unseen_flips(file: &Path, places: impl IntoIterator<Item = usize>, deep: bool) -> Vec<usize> {
    let sound = fs::read(file).expect("a file");
    let unseen = places.into_iter().filter(|at| {
        fs::write(file, flipped(&sound, *at)).expect("writing a file");
        !is_damaged(file.parent().expect("a directory"), deep)
    });
    let unseen = unseen.collect();
    fs::write(file, &sound).expect("writing a file");
    unseen
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 1 << (at % 8);
    bytes
}

#[test]
fn a_flip_of_any_byte_of_a_recorded_set_is_told_without_looking_at_blocks() {
    let bench = Bench::sound(1);
    for layout in LAYOUTS {
        let dir = bench.copy(layout, true);
        for name in tree::names(&dir).into_iter().filter(|name| name != ".snap") {
            let file = dir.join(&name);
            let size = fs::metadata(&file).expect("a file").len() as usize;
            assert_eq!(unseen_flips(&file, (0..size).step_by(5), false), [0; 0], "{name}");
        }
        assert!(!is_damaged(&dir, true));
    }
}

#[test]
fn a_flip_of_any_byte_of_a_shard_of_influxd_s_is_told_but_where_nothing_is_said_and_in_a_key() {
    let bench = Bench::sound(1);
    let keys = keys(group(1));
    for layout in LAYOUTS {
        let dir = bench.copy(layout, false);
        let name = tree::names(&dir).into_iter().find(|name| Kind::of(name) == Kind::Shard(1)).expect("a shard");
        let file = dir.join(name);
        let sound = fs::read(&file).expect("a file");
        let tar = |bytes: &[u8]| match layout {
            "portable" => {
                let mut tar = Vec::new();
                decompress(bytes).read_to_end(&mut tar).map(|_| tar)
            }
            _ => Ok(bytes.to_vec()),
        };
        let whole = tar(&sound).expect("a tar");
        // Behind the header and the TSM file there is padding, and the two blocks at the end.
        let tsm = BLOCK..BLOCK + support::tsm::file(&keys).len();
        let of_tsm = if layout == "legacy" { tsm.end } else { sound.len() };
        let places = (0..of_tsm).chain((of_tsm..sound.len()).step_by(29));
        let mut of_keys = BTreeSet::new();
        for at in unseen_flips(&file, places, true) {
            let damaged = tar(&flipped(&sound, at)).expect("what verifying finds no fault with is gzip");
            if damaged != whole && all_members(&damaged) != all_members(&whole) {
                // Bytes of no check: the file is that of another series now.
                let key = keys.iter().find(|key| {
                    let name = key.name.as_bytes();
                    let place = whole.windows(name.len()).position(|bytes| bytes == name).expect("a key");
                    tsm.contains(&place) && (place..place + name.len()).contains(&at)
                });
                let key = key.unwrap_or_else(|| panic!("{layout}: a flip at {at} goes unseen and changes what is restored"));
                of_keys.insert(&key.name);
            }
        }
        assert_eq!(of_keys.len(), if layout == "legacy" { keys.len() } else { 0 }, "{of_keys:?}");
    }
}

/// A tombstone of these files' keys, as influxd writes it.
fn tombstone() -> Vec<u8> {
    let mut writer = TombstoneWriter::new(Vec::new()).expect("memory is written");
    for key in keys(0) {
        writer.record(Record { key: key.name.as_bytes(), min: 1, max: 2 }).expect("memory is written");
    }
    writer.finish().expect("memory is written")
}

/// A fault that is expected of a shard.
struct Expected {
    member: String,
    /// Whether a look at the index is enough.
    quick: bool,
    offset: Option<u64>,
    message: &'static str,
    means: &'static str,
}

/// A shard: its files, and what is wrong with them.
type Faulty = (Vec<(String, Vec<u8>)>, Vec<Expected>);

/// A shard of one TSM file; of its faults: where, what, and what that means.
fn of_file(name: &str, content: Vec<u8>, quick: bool, faults: &[(Option<u64>, &'static str, &'static str)]) -> Faulty {
    let expected = |&(offset, message, means)| Expected { member: name.into(), quick, offset, message, means };
    (vec![(name.into(), content)], faults.iter().map(expected).collect())
}

/// What can be wrong with the files of a shard although they are as they came, and a sound one at the end.
fn faulty() -> Vec<Faulty> {
    let at = |shard: usize, seconds: &[i64]| seconds.iter().map(|second| group(shard) + second * SECOND).collect::<Vec<_>>();
    let integers = |shard: usize, seconds: &[i64]| Block::new(ValueType::Integer, &at(shard, seconds));
    let one = |blocks: Vec<Block>| file(&[Key { name: "m#!~#v".into(), value_type: ValueType::Integer.byte(), blocks }]);
    let behind = |blocks: &[Block]| blocks.iter().fold(HEADER.len(), |end, block| end + 4 + block.bytes.len()) as u64;

    let mut changed = vec![integers(1, &[1, 2]), integers(1, &[3, 4, 6]), integers(1, &[7, 80])];
    let third = behind(&changed[..2]);
    changed[0].crc ^= 1;
    changed[2].bytes[9] ^= 1;
    let mut other_times = integers(2, &[1, 2]);
    other_times.max += SECOND;
    let mut unsorted = keys(group(3));
    unsorted.swap(0, 3);
    let blocks: Vec<Block> = unsorted.iter().flat_map(|key| key.blocks.clone()).collect();
    let second_key = behind(&blocks) + (2 + unsorted[0].name.len() + 3 + 28) as u64;
    let overlapping = [integers(4, &[1, 5]), integers(4, &[5, 9])];
    let second_entry = behind(&overlapping) + (2 + "m#!~#v".len() + 3 + 28) as u64;
    let outside = [integers(5, &[-1, 5]), integers(5, &[3599]), integers(5, &[3600])];
    let first_behind = behind(&outside[..2]);
    let mut other_type = key("m#!~#v", ValueType::Float, &[&at(6, &[1])]);
    other_type.value_type = ValueType::Boolean.byte();

    let crc = |offset| (Some(offset), "CRC-32", POINTS_LOST);
    let not_in_shard = |offset| (Some(offset), "not all in the time of its shard", UNREACHABLE);
    let order = (Some(second_key), "a key not greater than the one before", SHARD_LOST);
    let mut shards = vec![
        of_file(TSM, one(changed), false, &[crc(5), crc(third)]),
        of_file(TSM, one(vec![other_times]), false, &[(Some(5), "where the index says", POINTS_LOST)]),
        of_file(TSM, file(&unsorted), true, &[order]),
        of_file(TSM, one(overlapping.into()), true, &[(Some(second_entry), "not after the end of the one before", SHARD_LOST)]),
        of_file(TSM, one(outside.into()), false, &[not_in_shard(5), not_in_shard(first_behind)]),
        of_file(TSM, file(&[other_type]), false, &[(Some(5), "of type float, where the index says boolean", POINTS_LOST)]),
        of_file("foo.tsm", file(&keys(group(7))), true, &[(None, "its name is not <generation>-<sequence>.tsm", SHARD_LOST)]),
    ];
    // Tombstones: one breaks off, one is none, one is empty, and one is sound.
    let mut files = Vec::new();
    let (sound, mut expected) = (tombstone(), Vec::new());
    let none = [&[0, 0, 0x15, 9], &sound[4..]].concat();
    for (nth, content) in [sound[..sound.len() - 12].to_vec(), none, Vec::new(), sound].into_iter().enumerate() {
        let name = format!("{:09}-000000001", nth + 1);
        if let Some(message) = ["the tombstone file breaks off", "no tombstone file"].get(nth) {
            let member = format!("{name}.tombstone");
            expected.push(Expected { member, quick: true, offset: None, message, means: DELETES_LOST });
        }
        files.push((format!("{name}.tombstone"), content));
        files.push((format!("{name}.tsm"), file(&keys(group(8)))));
    }
    shards.push((files, expected));
    shards.push(of_file(TSM, file(&keys(group(9))), false, &[]));
    shards
}

#[test]
fn all_that_was_wrong_on_the_server_is_told_at_once_though_the_set_is_as_it_came() {
    let faulty = faulty();
    let bench = Bench::new(faulty.iter().map(|(files, _)| files.clone()).collect());
    for (layout, recorded) in [("legacy", true), ("legacy", false), ("portable", true), ("portable", false)] {
        let dir = bench.copy(layout, recorded);
        for deep in [false, true] {
            let flags = if deep { &["-deep", "-jobs", "3"][..] } else { &[] };
            let (faults, summary) = told(&dir, flags, 4);
            for ((_, expected), id) in faulty.iter().zip(1..) {
                let shard = path(id).to_string();
                let expected: Vec<&Expected> = expected.iter().filter(|fault| deep || fault.quick).collect();
                let mut found: Vec<&Value> = faults.iter().filter(|fault| fault["shard"] == shard).collect();
                if id == 3 && deep {
                    // The keys were exchanged, so the last is in the wrong place too.
                    found.pop();
                }
                assert_eq!(found.len(), expected.len(), "{layout}, deep: {deep}, shard {id}: {found:?}");
                for (found, Expected { member, offset, message, means, .. }) in found.iter().zip(expected) {
                    assert_eq!((&found["member"], &found["means"]), (&member[..].into(), &(*means).into()), "{found}");
                    assert!(found["message"].as_str().is_some_and(|text| text.contains(message)), "{message}: {found}");
                    // Without -deep it stands in the message.
                    assert!(!deep || found["offset"].as_u64() == *offset, "{offset:?}: {found}");
                    assert_eq!(Kind::of(found["file"].as_str().expect("a name")).shard(), path(id.min(2)).to_string());
                }
            }
            assert_eq!(summary["faults"], faults.len());
        }
    }
    // With nothing but damaged blocks, the set is as it was recorded.
    let (files, expected) = &faulty[0];
    let bench = Bench::new(vec![files.clone()]);
    for layout in LAYOUTS {
        let dir = bench.copy(layout, true);
        assert_eq!(told(&dir, &[], 0).0, [Value::Null; 0]);
        let run = snap(["verify", "-deep", utf8(&dir)]).expect(4);
        let lines: Vec<&str> = run.stdout.lines().filter(|line| line.starts_with("set ")).collect();
        assert_eq!(lines.len(), expected.len(), "{}", run.stdout);
        for (line, Expected { offset, .. }) in lines.iter().zip(expected) {
            let offset = format!("(shard db/autogen/1): {TSM} at offset {}: ", offset.expect("an offset"));
            assert!(line.contains(&offset) && line.ends_with(POINTS_LOST), "{line}");
        }
        assert!(run.stdout.contains("2 faults in 1 set: 1 shard file, 1 TSM file, 3 points"), "{}", run.stdout);
    }
}

#[test]
fn a_partial_set_is_no_damage_and_files_that_are_no_part_of_a_set_are_left_alone() {
    let bench = Bench::sound(3);
    let peer = Peer::start(bench.model.clone());
    for layout in LAYOUTS {
        let dir = bench.root.path().join(format!("partial {layout}"));
        peer.script(Asked::Shard(2), [Reply::Nothing]);
        let flags = if layout == "portable" { &["-portable"][..] } else { &[] };
        let flags = [&["-quiet", "-skip-errors", "-retries", "0"], flags].concat();
        backup(&peer.host(), &flags, &dir).run().expect(3);
        fs::create_dir(dir.join("meta.77")).expect("a directory");
        for name in ["README", "db.autogen.00001.00.part", "x.tar.gz", ".hidden", "meta.77/meta.00", ".snap/note.txt", "lost"] {
            fs::write(dir.join(name), "not of a backup").expect("writing a file");
        }
        let before = tree::files(&dir);
        let (faults, summary) = told(&dir, &["-deep"], 0);
        assert_eq!((faults.len(), &summary["shards"], &summary["points"]), (0, &2.into(), &(2 * POINTS).into()), "{layout}");
        assert!(tree::files(&dir) == before, "{layout}: verifying changed the directory");
    }
}

#[test]
fn one_set_is_verified_alone_and_where_there_is_none_that_is_said() {
    let bench = Bench::sound(1);
    let dir = bench.copy("legacy", false);
    let peer = Peer::start(bench.model.clone());
    // A second and a third set beside that of influxd's, in either layout.
    for flags in [&["-portable"][..], &[]] {
        backup(&peer.host(), &[&["-quiet"], flags].concat(), &dir).run().expect(0);
    }
    let names = tree::names(&dir.join(".snap"));
    let sets: Vec<&str> = names.iter().filter_map(|name| name.strip_suffix(".json")).collect();
    let [portable, legacy] = sets[..] else { panic!("{names:?}") };
    assert_eq!(told(&dir, &["-deep"], 0).1["sets"], 3);
    let of = |set: &str, code| {
        let last = snap(["verify", "-json", utf8(&dir), set]).expect(code).last_message();
        (last["sets"].as_u64(), last["shards"].as_u64(), last["faults"].as_u64())
    };
    damage(&dir.join(format!("{portable}.s1.tar.gz")), "flipped");
    damage(&dir.join("db.autogen.00001.00"), "cut by a byte");
    assert_eq!(of("latest", 0), (Some(1), Some(1), Some(0)));
    assert_eq!(of(legacy, 0), (Some(1), Some(1), Some(0)));
    assert_eq!(of(portable, 4), (Some(1), Some(1), Some(1)));
    assert_eq!(of("meta.00", 4), (Some(1), Some(1), Some(1)));
    let (faults, summary) = told(&dir, &["-jobs", "1"], 4);
    let of_sets: BTreeSet<&str> = faults.iter().filter_map(|fault| fault["set"].as_str()).collect();
    assert_eq!((of_sets, &summary["sets"]), (BTreeSet::from([portable, "meta.00"]), &3.into()));

    let message = |run: Run| run.stderr;
    assert!(message(snap(["verify", utf8(&dir), "1999"]).expect(10)).contains("1999"));
    assert!(message(snap(["verify", utf8(&dir), "20"]).expect(2)).contains(portable));
    let empty = folder();
    let nowhere = empty.path().join("nowhere");
    for dir in [empty.path(), &nowhere] {
        assert!(message(snap(["verify", utf8(dir)]).expect(10)).contains(utf8(dir)));
        snap(["verify", "-deep", "-json", utf8(dir), "latest"]).expect(10);
    }
    assert!(!nowhere.exists() && tree::names(empty.path()).is_empty(), "verifying made something");
}
