//! That `snap verify` finds every damage to the files of a set: which file, where, and what it means.

mod support;

use std::collections::BTreeSet;
use std::fs;
use std::io::Read;
use std::path::Path;

use influx_snap::cancel::Cancel;
use influx_snap::error::{Class, class};
use influx_snap::format::portable::decompress;
use influx_snap::format::shard_tar::BLOCK;
use influx_snap::ops::{VerifyOptions, verify};
use influx_snap::progress::{Event, Progress};
use influx_snap::tsm::HEADER;

use support::damage::damage;
use support::process::snap;
use support::service::all_members;
use support::sets::{Bench, Kind, LAYOUTS, group, keys, told};
use support::{tree, utf8};

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
const FIELDS: [&str; 8] = [
    "file",
    "means",
    "member",
    "message",
    "message_type",
    "offset",
    "set",
    "shard",
];

#[test]
fn every_damage_to_any_file_of_a_set_is_told_with_the_file_and_what_it_means() {
    let bench = Bench::sound(2);
    for (layout, recorded) in [
        ("legacy", true),
        ("legacy", false),
        ("portable", true),
        ("portable", false),
    ] {
        let dir = bench.copy(layout, recorded);
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
                            last["message"]
                                .as_str()
                                .is_some_and(|message| message.contains("no manifest")),
                            "{what}: {last}"
                        );
                        continue;
                    }
                    let (faults, last) = told(&dir, &["-deep"], 4);
                    // In a record that can still be read, the flip is in what another file is compared with.
                    let seen = faults
                        .iter()
                        .any(|fault| fault["file"] == name[..] || how == "flipped");
                    assert!(seen, "{what}: {faults:?} {last}");
                    continue;
                }
                let (faults, summary) = told(&dir, &["-deep"], 4);
                assert!(
                    !faults.is_empty() && summary["faults"] == faults.len(),
                    "{what}: {faults:?} {summary}"
                );
                let size = fs::metadata(dir.join(name)).map_or(0, |metadata| metadata.len());
                for fault in &faults {
                    let fields: Vec<&String> =
                        fault.as_object().expect("an object").keys().collect();
                    assert_eq!(fields, FIELDS, "{what}");
                    assert_eq!(
                        (&fault["file"], &fault["shard"]),
                        (&name[..].into(), &kind.shard()),
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
                // The same for people: a line a fault, on standard output even where little is wanted.
                let run = snap(["verify", "-deep", "-quiet", utf8(&dir)]).expect(4);
                let lines = run
                    .stdout
                    .lines()
                    .filter(|line| line.contains(&name[..]))
                    .count();
                assert_eq!(
                    (lines, run.stdout.lines().count()),
                    (faults.len(), faults.len()),
                    "{what}: {}",
                    run.stdout
                );
            }
        }
    }
}

struct Silent;

impl Progress for Silent {
    fn report(&self, _: &Event<'_>) {}
}

/// Verifies in this process: whether there was a fault, or an error of [`Class::Damage`].
fn is_damaged(dir: &Path, deep: bool) -> bool {
    let options = VerifyOptions {
        directory: dir.to_owned(),
        set: None,
        deep,
        jobs: 1,
    };
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
    let bench = Bench::sound(1);
    let keys = keys(group(1));
    for layout in LAYOUTS {
        let dir = bench.copy(layout, false);
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
        let tsm = BLOCK..BLOCK + support::tsm::file(&keys).len();
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
