//! That `snap verify` finds every damage to the files of a set: which file, where, and what it
//! means.

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::Path;
use std::thread;
use std::time::Duration;

use influx_snap::context::Context;
use influx_snap::error::{ErrorKind, kind_of};
use influx_snap::ops::{VerifyOptions, verify};
use influx_snap::repository::manifest::decompress;
use influx_snap::shard_tar::BLOCK;
use influx_snap::tsm::HEADER;
use serde_json::{Value, json};

use crate::support::damage::damage;
use crate::support::peer::{Model, Peer, Version};
use crate::support::process::{Snap, backup, restore_into, snap};
use crate::support::service::{all_members, copy};
use crate::support::sets::{
    Kind, LAYOUTS, LAYOUTS_WITH_AND_WITHOUT_RECORD, SetInEachLayout, group, keys, places, told,
};
use crate::support::{each, folder, tree, utf8};

/// All kinds of damage.
const DAMAGES: [&str; 6] = [
    "cut to half",
    "cut by a byte",
    "emptied",
    "flipped",
    "made longer",
    "deleted",
];

/// The fields of a fault.
const FIELDS: [&str; 13] = [
    "also_in",
    "database",
    "file",
    "means",
    "member",
    "message",
    "message_type",
    "more_places",
    "offset",
    "other_places",
    "retention_policy",
    "set",
    "shard",
];

#[test]
fn every_damage_to_any_file_of_a_set_is_told_with_the_file_and_what_it_means() {
    let made = SetInEachLayout::sound(2);
    for (layout, recorded) in LAYOUTS_WITH_AND_WITHOUT_RECORD {
        let dir = made.copy(layout, recorded);
        let names: Vec<String> = tree::files(&dir)
            .into_keys()
            .filter(|name| !name.ends_with("lock"))
            .collect();
        assert_eq!(
            names.len(),
            3 + usize::from(recorded) + usize::from(layout == "portable"),
            "{names:?}"
        );
        for name in &names {
            let kind = Kind::of(name);
            for how in DAMAGES {
                let unseen = match (kind, how) {
                    // What is left is a set as influxd leaves one; nothing tells that more was
                    // there.
                    (Kind::Record, "deleted") => true,
                    // No sum covers influxd's metastore.
                    (Kind::Meta, "flipped") => !recorded,
                    _ => false,
                };
                if unseen {
                    continue;
                }
                let what = format!("{layout}, recorded: {recorded}, {name} {how}");
                let dir = made.copy(layout, recorded);
                damage(&dir.join(name), how);
                if kind == Kind::Record || (kind, recorded) == (Kind::Manifest, false) {
                    // Without its manifest, a portable set is none.
                    if how == "deleted" {
                        let (_, last) = told(&dir, &["-deep"], 10);
                        assert!(
                            last["message"]
                                .as_str()
                                .is_some_and(|message| message.contains("no manifest")),
                            "{what}: {last}"
                        );
                        continue;
                    }
                    let (faults, last) = told(&dir, &["-deep"], 4);
                    // In a record that can still be read, the flip is in what another file is
                    // compared with.
                    let seen = faults
                        .iter()
                        .any(|fault| fault["file"] == name[..] || how == "flipped");
                    assert!(seen, "{what}: {faults:?} {last}");
                    continue;
                }
                let (faults, summary) = told(&dir, &["-deep"], 4);
                // One damaged file is one fault, whatever shows it.
                assert_eq!(
                    (faults.len(), &summary["faults"]),
                    (1, &1.into()),
                    "{what}: {faults:?} {summary}"
                );
                let size = fs::metadata(dir.join(name)).map_or(0, |metadata| metadata.len());
                for fault in &places(&faults) {
                    let fields: Vec<&String> =
                        fault.as_object().expect("an object").keys().collect();
                    assert_eq!(fields, FIELDS, "{what}");
                    let shard = ["database", "retention_policy", "shard"];
                    assert_eq!(
                        (&fault["file"], shard.map(|field| fault[field].clone())),
                        (&name[..].into(), kind.shard()),
                        "{what}"
                    );
                    assert!(
                        kind.means(how)
                            .contains(&fault["means"].as_str().expect("a text")),
                        "{what}: {fault}"
                    );
                    assert!(
                        fault["message"]
                            .as_str()
                            .is_some_and(|message| !message.is_empty()),
                        "{what}: {fault}"
                    );
                    assert!(
                        fault["offset"].as_u64().is_none_or(|offset| offset <= size),
                        "{what}: {fault}"
                    );
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
                // The same for people: a block a fault, on standard output even where little is
                // wanted.
                let run = snap(["verify", "-deep", "-quiet", utf8(&dir)]).expect(4);
                let of_file = |line: &&str| {
                    line.strip_prefix("  file")
                        .is_some_and(|file| file.trim() == name)
                };
                let is_head = |line: &&str| line.starts_with("fault in set ");
                assert_eq!(
                    (
                        run.stdout.lines().filter(of_file).count(),
                        run.stdout.lines().filter(is_head).count(),
                        run.stdout.lines().filter(|line| line.is_empty()).count(),
                    ),
                    (1, 1, 1),
                    "{what}: {}",
                    run.stdout
                );
            }
        }
    }
}

/// Verifies in this process: whether there was a fault, or an error of [`ErrorKind::Damage`].
fn is_damaged(dir: &Path, deep: bool) -> bool {
    let options = VerifyOptions {
        repository: dir.into(),
        set: None,
        deep,
        jobs: 1,
    };
    let mut count = 0;
    match verify(&options, Context::silent(), &mut |_| count += 1) {
        Ok(report) => {
            assert_eq!(report.faults, count);
            count > 0
        }
        Err(error) => {
            assert_eq!(kind_of(&error), ErrorKind::Damage, "{error:#}");
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
    let made = SetInEachLayout::sound(1);
    for layout in LAYOUTS {
        let dir = made.copy(layout, true);
        for name in tree::names(&dir).into_iter().filter(|name| name != ".snap") {
            let file = dir.join(&name);
            let size = fs::metadata(&file).expect("a file").len() as usize;
            assert_eq!(
                unseen_flips(&file, (0..size).step_by(5), false),
                [0; 0],
                "{name}"
            );
        }
        assert!(!is_damaged(&dir, true));
    }
}

#[test]
fn a_flip_of_any_byte_of_a_shard_of_influxd_s_is_told_but_where_nothing_is_said_and_in_a_key() {
    let made = SetInEachLayout::sound(1);
    let keys = keys(group(1));
    for layout in LAYOUTS {
        let dir = made.copy(layout, false);
        let name = tree::names(&dir)
            .into_iter()
            .find(|name| Kind::of(name) == Kind::Shard(1))
            .expect("a shard");
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
        let tsm = BLOCK..BLOCK + crate::support::tsm::file(&keys).len();
        let of_tsm = if layout == "legacy" {
            tsm.end
        } else {
            sound.len()
        };
        let places = (0..of_tsm).chain((of_tsm..sound.len()).step_by(29));
        let mut of_keys = BTreeSet::new();
        for at in unseen_flips(&file, places, true) {
            let damaged =
                tar(&flipped(&sound, at)).expect("what verifying finds no fault with is gzip");
            if damaged != whole && all_members(&damaged) != all_members(&whole) {
                // Bytes of no check: the file is that of another series now.
                let key = keys.iter().find(|key| {
                    let name = key.name.as_bytes();
                    let place = whole
                        .windows(name.len())
                        .position(|bytes| bytes == name)
                        .expect("a key");
                    tsm.contains(&place) && (place..place + name.len()).contains(&at)
                });
                let key = key.unwrap_or_else(|| {
                    panic!("{layout}: a flip at {at} goes unseen and changes what is restored")
                });
                of_keys.insert(&key.name);
            }
        }
        assert_eq!(
            of_keys.len(),
            if layout == "legacy" { keys.len() } else { 0 },
            "{of_keys:?}"
        );
    }
}

/// Sets every number of that name, however deep.
fn set_all(value: &mut Value, name: &str, to: &Value) {
    match value {
        Value::Object(fields) => fields.iter_mut().for_each(|(key, value)| {
            if key == name && !value.is_null() {
                *value = to.clone();
            } else {
                set_all(value, name, to);
            }
        }),
        Value::Array(values) => values.iter_mut().for_each(|value| set_all(value, name, to)),
        _ => {}
    }
}

#[test]
fn a_record_or_manifest_with_numbers_and_times_that_cannot_be_is_judged_and_panics_nowhere() {
    let folder = folder();
    let shards = [
        ("db", "autogen", 1),
        ("db", "autogen", 2),
        ("x", "autogen", 3),
    ];
    let peer = Peer::start(Model::new(Version::V1_6, &shards));
    let host = peer.host();
    let most = json!(u64::MAX);
    let absurd = [
        ("size", most.clone()),
        ("tar_size", most.clone()),
        ("meta_size", most),
        ("number", json!(u32::MAX)),
        ("started", json!("9999-12-30T22:00:00Z")),
        ("started", json!("-009999-01-02T01:59:59Z")),
        ("finished", json!("-009999-01-02T01:59:59Z")),
        ("start_time", json!("-009999-01-02T01:59:59Z")),
        ("end_time", json!("9999-12-30T22:00:00Z")),
        ("modified", json!("9999-12-30T22:00:00Z")),
        ("modified", json!("-009999-01-02T01:59:59Z")),
        ("since", json!("9999-12-30T22:00:00Z")),
        ("shardID", json!(u64::MAX)),
    ];
    for layout in [&[][..], &["-portable"]] {
        let made = folder.path().join(format!("made{}", layout.len()));
        let make = |flags: &[&str]| {
            backup(&host, &[layout, flags].concat(), &made)
                .run()
                .expect(0);
        };
        make(&["-since", "2001-01-01"]);
        thread::sleep(Duration::from_millis(1100));
        make(&[]);
        each(&absurd, |(name, to)| {
            let dir = folder
                .path()
                .join(format!("{name}{}{to}", layout.len()).replace(['"', ':'], ""));
            copy(&made, &dir);
            let documents = tree::files(&dir)
                .into_keys()
                .filter(|file| file.ends_with(".json") || file.ends_with(".manifest"));
            for file in documents {
                let path = dir.join(&file);
                let text = fs::read(&path).expect("a document");
                let mut document: Value = serde_json::from_slice(&text).expect("JSON");
                // Without a sum, a record may say anything.
                document.as_object_mut().map(|fields| fields.remove("sum"));
                set_all(&mut document, name, to);
                fs::write(path, serde_json::to_vec_pretty(&document).expect("JSON"))
                    .expect("a document");
            }
            let target = dir.with_extension("target");
            let nobody = ["-host", "127.0.0.1:1"];
            let read = |args: &[&str]| Snap::new(args).args([&dir]);
            let back_up =
                |flags: &[&str]| backup(&host, &[flags, &["-retries", "0"]].concat(), &dir);
            let runs = [
                read(&["list"]),
                read(&["list", "-json"]),
                read(&["info"]),
                read(&["info", "-json"]),
                read(&["verify", "-deep"]),
                read(&["check"]),
                read(&[
                    "forget",
                    "-dry-run",
                    "-keep-daily",
                    "1",
                    "-keep-within",
                    "1y",
                ]),
                read(&["keep"]).args(["latest"]),
                restore_into(&target, &[&["-dry-run"][..], &nobody].concat(), &dir),
                restore_into(&target, &nobody, &dir),
                back_up(&["-incremental"]),
                back_up(&["-since", "last"]),
                read(&["forget", "-keep-last", "1"]),
            ];
            for run in runs {
                let ran = format!("{name} {to}: {run:?}");
                run.run().expect_told(&ran);
            }
        });
    }
}
