//! That `snap verify` passes what is sound, and names what was wrong before it was backed up:
//! where, and what it means.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use influx_snap::tsm::HEADER;
use influx_snap::tsm::tombstone::{TombstoneRecord, TombstoneWriter};
use influx_snap::tsm::values::ValueType;
use serde_json::Value;

use crate::support::damage::damage;
use crate::support::data::START;
use crate::support::handmade::FILE;
use crate::support::influxd::{Index, Influxd};
use crate::support::peer::{Asked, Peer, Reply};
use crate::support::process::{Run, backup, restore_into, snap};
use crate::support::sets::{
    DELETES_LOST, Kind, LAYOUTS, LAYOUTS_WITH_AND_WITHOUT_RECORD, SHARD_LOST, SetInEachLayout,
    UNREACHABLE, VALUES, VALUES_LOST, group, keys, places, told,
};
use crate::support::time::{DAY, SECOND};
use crate::support::tsm::{Block, Key, file, key};
use crate::support::{folder, tools, tree, utf8};

#[test]
fn sound_sets_of_either_tool_in_either_layout_pass_with_the_points_that_the_server_has() {
    let folder = folder();
    let server = Influxd::start(&folder.path().join("source"), Index::Inmem);
    server.execute("CREATE DATABASE d WITH SHARD DURATION 1d");
    let point = |i: i64| {
        format!(
            "m,t=t{} f={i}.5,i={i}i,b={},s=\"{i}\" {}\n",
            i % 5,
            i % 3 == 0,
            START + i * DAY / 400 - (i % 7) * SECOND
        )
    };
    server.write("d", "", &(0..1500).map(point).collect::<String>());
    let (points, shards) = (server.points().len(), server.shards().len());
    assert_eq!((points, shards), (6000, 4));
    let host = server.host();
    for tool in ["snap", "influxd"] {
        for layout in LAYOUTS {
            let flags = if layout == "portable" {
                &["-portable"][..]
            } else {
                &["-database", "d"]
            };
            let dir = folder.path().join(format!("{tool}_{layout}"));
            tools::run(
                tool,
                &[&["backup", "-host", &host], flags, &[utf8(&dir)]].concat(),
            );
            let before = tree::files(&dir);
            for (flags, points) in [(&[][..], Value::Null), (&["-deep"], points.into())] {
                let (faults, summary) = told(&dir, flags, 0);
                assert_eq!(faults, Vec::<Value>::new(), "{tool} {layout}");
                let counts = ["sets", "shards", "tsm_files", "faults", "values"]
                    .map(|name| summary[name].clone());
                assert_eq!(
                    counts,
                    [1.into(), shards.into(), shards.into(), 0.into(), points],
                    "{tool} {layout}"
                );
                let bytes = before
                    .iter()
                    .filter(|(name, _)| !name.starts_with(".snap/"));
                // Of influxd's manifest there is nothing to be compared, but it is read too.
                let bytes =
                    bytes.filter(|(name, _)| tool == "snap" || !name.ends_with(".manifest"));
                assert_eq!(
                    summary["bytes"],
                    bytes.map(|(_, content)| content.len()).sum::<usize>()
                );
            }
            let run = snap(["verify", "-deep", utf8(&dir), "latest"]).expect(0);
            assert!(
                run.stdout
                    .starts_with("no fault in 1 set: 4 shard files, 4 TSM files, 6000 values"),
                "{}",
                run.stdout
            );
            assert!(
                tree::files(&dir) == before,
                "{tool} {layout}: verifying changed the backup"
            );
        }
    }
}

/// A tombstone of these files' keys, as influxd writes it.
fn tombstone() -> Vec<u8> {
    let mut writer = TombstoneWriter::new(Vec::new()).expect("memory is written");
    for key in keys(0) {
        writer
            .record(TombstoneRecord {
                key: key.name.as_bytes(),
                min: 1,
                max: 2,
            })
            .expect("memory is written");
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
fn of_file(
    name: &str,
    content: Vec<u8>,
    quick: bool,
    faults: &[(Option<u64>, &'static str, &'static str)],
) -> Faulty {
    let expected = |&(offset, message, means)| Expected {
        member: name.into(),
        quick,
        offset,
        message,
        means,
    };
    (
        vec![(name.into(), content)],
        faults.iter().map(expected).collect(),
    )
}

/// What can be wrong with the files of a shard although they are as they came, and a sound one at
/// the end.
fn faulty() -> Vec<Faulty> {
    let at = |shard: usize, seconds: &[i64]| {
        seconds
            .iter()
            .map(|second| group(shard) + second * SECOND)
            .collect::<Vec<_>>()
    };
    let integers =
        |shard: usize, seconds: &[i64]| Block::new(ValueType::Integer, &at(shard, seconds));
    let one = |blocks: Vec<Block>| {
        file(&[Key {
            name: "m#!~#v".into(),
            value_type: ValueType::Integer.byte(),
            blocks,
        }])
    };
    let behind = |blocks: &[Block]| {
        blocks
            .iter()
            .fold(HEADER.len(), |end, block| end + 4 + block.bytes.len()) as u64
    };

    let mut changed = vec![
        integers(1, &[1, 2]),
        integers(1, &[3, 4, 6]),
        integers(1, &[7, 80]),
    ];
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
    let outside = [
        integers(5, &[-1, 5]),
        integers(5, &[3599]),
        integers(5, &[3600]),
    ];
    let first_behind = behind(&outside[..2]);
    let mut other_type = key("m#!~#v", ValueType::Float, &[&at(6, &[1])]);
    other_type.value_type = ValueType::Boolean.byte();

    let crc = |offset| (Some(offset), "CRC-32", VALUES_LOST);
    let not_in_shard = |offset| {
        (
            Some(offset),
            "not all in the time of its shard",
            UNREACHABLE,
        )
    };
    let order = (
        Some(second_key),
        "a key not greater than the one before",
        SHARD_LOST,
    );
    let mut shards = vec![
        of_file(FILE, one(changed), false, &[crc(5), crc(third)]),
        of_file(
            FILE,
            one(vec![other_times]),
            false,
            &[(Some(5), "where the index says", VALUES_LOST)],
        ),
        of_file(FILE, file(&unsorted), true, &[order]),
        of_file(
            FILE,
            one(overlapping.into()),
            true,
            &[(
                Some(second_entry),
                "not after the end of the one before",
                SHARD_LOST,
            )],
        ),
        of_file(
            FILE,
            one(outside.into()),
            false,
            &[not_in_shard(5), not_in_shard(first_behind)],
        ),
        of_file(
            FILE,
            file(&[other_type]),
            false,
            &[(
                Some(5),
                "of type float, where the index says boolean",
                VALUES_LOST,
            )],
        ),
        of_file(
            "foo.tsm",
            file(&keys(group(7))),
            true,
            &[(
                None,
                "its name is not <generation>-<sequence>.tsm",
                SHARD_LOST,
            )],
        ),
    ];
    // Tombstones: one breaks off, one is none, one is empty, and one is sound.
    let mut files = Vec::new();
    let (sound, mut expected) = (tombstone(), Vec::new());
    let none = [&[0, 0, 0x15, 9], &sound[4..]].concat();
    for (nth, content) in [sound[..sound.len() - 12].to_vec(), none, Vec::new(), sound]
        .into_iter()
        .enumerate()
    {
        let name = format!("{:09}-000000001", nth + 1);
        if let Some(message) = ["the tombstone file breaks off", "no tombstone file"].get(nth) {
            let member = format!("{name}.tombstone");
            expected.push(Expected {
                member,
                quick: true,
                offset: None,
                message,
                means: DELETES_LOST,
            });
        }
        files.push((format!("{name}.tombstone"), content));
        files.push((format!("{name}.tsm"), file(&keys(group(8)))));
    }
    shards.push((files, expected));
    shards.push(of_file(FILE, file(&keys(group(9))), false, &[]));
    shards
}

#[test]
fn all_that_was_wrong_on_the_server_is_told_at_once_though_the_set_is_as_it_came() {
    let faulty = faulty();
    let made = SetInEachLayout::new(faulty.iter().map(|(files, _)| files.clone()).collect());
    for (layout, recorded) in LAYOUTS_WITH_AND_WITHOUT_RECORD {
        let dir = made.copy(layout, recorded);
        for deep in [false, true] {
            let flags = if deep {
                &["-deep", "-jobs", "3"][..]
            } else {
                &[]
            };
            let (faults, summary) = told(&dir, flags, 4);
            let places = places(&faults);
            for ((_, expected), id) in faulty.iter().zip(1..) {
                let expected: Vec<&Expected> = expected
                    .iter()
                    .filter(|fault| deep || fault.quick)
                    .collect();
                let mut found: Vec<&Value> =
                    places.iter().filter(|fault| fault["shard"] == id).collect();
                // One for each damaged file, however many places of it are damaged.
                let of_shard = faults.iter().filter(|fault| fault["shard"] == id);
                assert_eq!(of_shard.count(), usize::from(!expected.is_empty()));
                if id == 3 && deep {
                    // The keys were exchanged, so the last is in the wrong place too.
                    found.pop();
                }
                assert_eq!(
                    found.len(),
                    expected.len(),
                    "{layout}, deep: {deep}, shard {id}: {found:?}"
                );
                for (
                    found,
                    Expected {
                        member,
                        offset,
                        message,
                        means,
                        ..
                    },
                ) in found.iter().zip(expected)
                {
                    assert_eq!(
                        (&found["member"], &found["means"]),
                        (&member[..].into(), &(*means).into()),
                        "{found}"
                    );
                    assert!(
                        found["message"]
                            .as_str()
                            .is_some_and(|text| text.contains(message)),
                        "{message}: {found}"
                    );
                    // Without -deep it stands in the message.
                    assert!(
                        !deep || found["offset"].as_u64() == *offset,
                        "{offset:?}: {found}"
                    );
                    assert_eq!(
                        Kind::of(found["file"].as_str().expect("a name")),
                        Kind::Shard(id.min(2))
                    );
                }
            }
            assert_eq!(summary["faults"], faults.len());
        }
    }
    // With nothing but damaged blocks, the set is as it was recorded.
    let (files, expected) = &faulty[0];
    let made = SetInEachLayout::new(vec![files.clone()]);
    for layout in LAYOUTS {
        let dir = made.copy(layout, true);
        assert_eq!(told(&dir, &[], 0).0, [Value::Null; 0]);
        let run = snap(["verify", "-deep", utf8(&dir)]).expect(4);
        let lines: Vec<&str> = run.stdout.lines().collect();
        assert!(
            lines[0].starts_with("fault in set ") && lines[0].ends_with(", shard db/autogen/1"),
            "{}",
            run.stdout
        );
        let having = |label: &str| -> Vec<&str> {
            let values = lines
                .iter()
                .filter_map(|line| line.trim().strip_prefix(label));
            values.map(str::trim_start).collect()
        };
        let offsets = expected
            .iter()
            .map(|fault| fault.offset.expect("an offset"));
        let offsets: Vec<String> = offsets
            .map(|offset| format!("{FILE} at offset {offset}"))
            .collect();
        assert_eq!(having("where "), offsets, "{}", run.stdout);
        assert_eq!(having("what ").len(), expected.len(), "{}", run.stdout);
        assert_eq!(having("means "), [VALUES_LOST], "{}", run.stdout);
        assert!(
            run.stdout
                .contains("1 fault in 1 set: 1 shard file, 1 TSM file, 3 values"),
            "{}",
            run.stdout
        );
    }
}

#[test]
fn a_partial_set_has_a_gap_and_no_damage_and_files_that_are_no_part_of_a_set_are_left_alone() {
    let made = SetInEachLayout::sound(3);
    let peer = Peer::start(made.model.clone());
    for layout in LAYOUTS {
        let dir = made.folder.path().join(format!("partial {layout}"));
        peer.script(Asked::Shard(2), [Reply::Nothing]);
        let flags = if layout == "portable" {
            &["-portable"][..]
        } else {
            &[]
        };
        let flags = [&["-quiet", "-skip-errors", "-retries", "0"], flags].concat();
        backup(&peer.host(), &flags, &dir).run().expect(3);
        fs::create_dir(dir.join("meta.77")).expect("a directory");
        for name in [
            "README",
            "db.autogen.00001.00.part",
            "x.tar.gz",
            ".hidden",
            "meta.77/meta.00",
            ".snap/note.txt",
            "lost",
        ] {
            fs::write(dir.join(name), "not of a backup").expect("writing a file");
        }
        let before = tree::files(&dir);
        let (faults, summary) = told(&dir, &["-deep"], 3);
        assert_eq!(
            (
                faults.len(),
                &summary["shards"],
                &summary["values"],
                &summary["gaps"]
            ),
            (0, &2.into(), &(2 * VALUES).into(), &1.into()),
            "{layout}"
        );
        assert!(
            tree::files(&dir) == before,
            "{layout}: verifying changed the directory"
        );
    }
}

#[test]
fn one_set_is_verified_alone_and_where_there_is_none_that_is_said() {
    let made = SetInEachLayout::sound(1);
    let dir = made.copy("legacy", false);
    let peer = Peer::start(made.model.clone());
    // A second and a third set beside that of influxd's, in either layout.
    for flags in [&["-portable"][..], &[]] {
        backup(&peer.host(), &[&["-quiet"], flags].concat(), &dir)
            .run()
            .expect(0);
    }
    let names = tree::names(&dir.join(".snap"));
    let sets: Vec<&str> = names
        .iter()
        .filter_map(|name| name.strip_suffix(".json"))
        .collect();
    let [portable, legacy] = sets[..] else {
        panic!("{names:?}")
    };
    assert_eq!(told(&dir, &["-deep"], 0).1["sets"], 3);
    let of = |set: &str, code| {
        let last = snap(["verify", "-json", utf8(&dir), set])
            .expect(code)
            .last_message();
        (
            last["sets"].as_u64(),
            last["shards"].as_u64(),
            last["faults"].as_u64(),
        )
    };
    damage(&dir.join(format!("{portable}.s1.tar.gz")), "flipped");
    damage(&dir.join("db.autogen.00001.00"), "cut by a byte");
    assert_eq!(of("latest", 0), (Some(1), Some(1), Some(0)));
    assert_eq!(of(legacy, 0), (Some(1), Some(1), Some(0)));
    assert_eq!(of(portable, 4), (Some(1), Some(1), Some(1)));
    assert_eq!(of("meta.00", 4), (Some(1), Some(1), Some(1)));
    let (faults, summary) = told(&dir, &["-jobs", "1"], 4);
    let of_sets: BTreeSet<&str> = faults
        .iter()
        .filter_map(|fault| fault["set"].as_str())
        .collect();
    assert_eq!(
        (of_sets, &summary["sets"]),
        (BTreeSet::from([portable, "meta.00"]), &3.into())
    );

    let message = |run: Run| run.stderr;
    assert!(message(snap(["verify", utf8(&dir), "1999"]).expect(10)).contains("1999"));
    assert!(message(snap(["verify", utf8(&dir), "20"]).expect(2)).contains(portable));
    let empty = folder();
    let nowhere = empty.path().join("nowhere");
    for dir in [empty.path(), &nowhere] {
        assert!(message(snap(["verify", utf8(dir)]).expect(10)).contains(utf8(dir)));
        snap(["verify", "-deep", "-json", utf8(dir), "latest"]).expect(10);
    }
    assert!(
        !nowhere.exists() && tree::names(empty.path()).is_empty(),
        "verifying made something"
    );
}

#[test]
fn what_is_no_regular_file_is_named_and_keeps_nobody_waiting() {
    use std::os::unix::fs::symlink;

    let made = SetInEachLayout::sound(2);
    let elsewhere = made.folder.path().join("elsewhere");
    let fifo = |path: &Path| {
        fs::remove_file(path).expect("removing a file");
        let made = Command::new("mkfifo").arg(path).status().expect("mkfifo");
        assert!(made.success());
    };
    for recorded in [true, false] {
        let dir = made.copy("legacy", recorded);
        let text = utf8(&dir);
        let shard = dir.join("db.autogen.00001.00");
        fs::rename(&shard, &elsewhere).expect("moving a file");
        symlink(&elsewhere, &shard).expect("a link");
        fifo(&dir.join("db.autogen.00002.00"));
        let verified = snap(["verify", text]).expect(4).stdout;
        if recorded {
            assert!(
                verified.contains("is a link, and links are not followed"),
                "{verified}"
            );
            assert!(verified.contains("is not a regular file"), "{verified}");
            let listed = snap(["list", text]).expect(0);
            assert!(
                listed.stderr.contains("which is a link"),
                "{}",
                listed.stderr
            );
            let checked = snap(["check", "-max-age", "1h", text]).expect(1);
            assert!(checked.stdout.contains("is a link"), "{}", checked.stdout);
        }
        restore_into(folder().path(), &[], &dir).run().expect(10);
        fifo(&dir.join("meta.00"));
        for args in [&["verify", text][..], &["info", text], &["list", text]] {
            snap(args).expect(if recorded {
                if args[0] == "verify" { 4 } else { 0 }
            } else {
                10
            });
        }
    }
    // A directory that is reached through a link is as good as any.
    let dir = made.copy("portable", true);
    let link = made.folder.path().join("link");
    symlink(&dir, &link).expect("a link");
    snap(["verify", utf8(&link)]).expect(0);

    // What says which sets there are is not read through one: where it leads nowhere, all sets
    // would be without records.
    let hidden = dir.join(".snap");
    fs::rename(&hidden, made.folder.path().join("records")).expect("moving a folder");
    symlink(made.folder.path().join("records"), &hidden).expect("a link");
    for args in [
        &["list"][..],
        &["info"],
        &["verify"],
        &["check", "-max-age", "1h"],
        &["forget", "-keep-last", "1"],
    ] {
        let run = snap([args, &[utf8(&dir)]].concat()).expect(6);
        assert!(
            run.stderr.contains("is a symbolic link"),
            "{args:?}: {}",
            run.stderr
        );
    }
}
