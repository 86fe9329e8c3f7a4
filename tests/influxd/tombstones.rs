//! Tombstone files of a real influxd: read, carried out on their TSM files, and written for it to
//! read.

use std::collections::BTreeMap;
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use flate2::Compression;
use flate2::write::GzEncoder;

use crate::support::data::{delete_some, load_sample, tombstones};
use crate::support::handmade::{FILE, meta, shard_file, shard_tar};
use crate::support::influxd::{Index, Influxd};
use crate::support::process::{Run, restore_into, restore_online};
use crate::support::time::MONDAY;
use crate::support::{folder, service, tree, tsm};
use influx_snap::time::Bounds;
use influx_snap::tsm::filter::rewrite;
use influx_snap::tsm::tombstone::DeletedRanges;
use influx_snap::tsm::tombstone::{TombstoneEnding, TombstoneRecord, TombstoneWriter};
use influx_snap::tsm::values::ValueType;

fn deletes_in(tombstone: &Path) -> DeletedRanges {
    let file = fs::File::open(tombstone).expect("a tombstone file");
    let (deletes, ending) = DeletedRanges::read(file).expect("reading a tombstone file");
    assert_eq!(ending, TombstoneEnding::Clean, "{}", tombstone.display());
    assert!(!deletes.is_empty(), "{}", tombstone.display());
    deletes
}

/// The sample with deletes that nothing has carried out yet: what the server answers, and its
/// tombstone files.
fn deleted(root: &Path) -> (Vec<String>, Vec<std::path::PathBuf>) {
    let server = Influxd::start(root, Index::Inmem);
    load_sample(&server);
    delete_some(&server);
    // A compaction takes some seconds to come; killed, the server makes none on its way out.
    let found = tombstones(&server);
    server.kill();
    let copied = folder();
    let copy = copied.path().join("copy");
    service::copy(root, &copy);
    let points = Influxd::start(&copy, Index::Inmem).points();
    // One that was under way may have removed a TSM file and not yet its tombstone.
    let found: Vec<_> = found
        .into_iter()
        .filter(|path| path.exists() && path.with_extension("tsm").exists())
        .collect();
    assert!(found.len() > 3, "{} tombstone files", found.len());
    (points, found)
}

#[test]
fn deletes_carried_out_on_the_files_are_those_of_influxd() {
    let own = folder();
    let (points, found) = deleted(own.path());
    for tombstone in found {
        let (tsm, rewritten) = (
            tombstone.with_extension("tsm"),
            tombstone.with_extension("new"),
        );
        let source = fs::File::open(&tsm).expect("a TSM file");
        let out = fs::File::create(&rewritten).expect("a file");
        let (_, written) = rewrite(
            &source,
            &mut deletes_in(&tombstone).reader(),
            Bounds::ALL,
            out,
        )
        .expect("rewriting a file");
        fs::remove_file(&tombstone).expect("removing the tombstone");
        match written {
            Some(_) => fs::rename(&rewritten, &tsm).expect("moving the file"),
            None => [&rewritten, &tsm]
                .iter()
                .for_each(|path| fs::remove_file(path).expect("removing the file")),
        }
    }
    let after = Influxd::start(own.path(), Index::Inmem).points();
    assert!(
        after == points,
        "{} points in place of {}",
        after.len(),
        points.len()
    );
}

#[test]
fn influxd_reads_the_tombstones_that_are_written_here() {
    let own = folder();
    let (points, found) = deleted(own.path());
    for tombstone in found {
        let deletes = deletes_in(&tombstone);
        let mut writer = TombstoneWriter::new(fs::File::create(&tombstone).expect("a file"))
            .expect("beginning a file");
        for (key, (min, max)) in deletes.iter() {
            writer
                .record(TombstoneRecord { key, min, max })
                .expect("writing a record");
        }
        writer.finish().expect("ending a file");
    }
    let after = Influxd::start(own.path(), Index::Inmem).points();
    assert!(
        after == points,
        "{} points in place of {}",
        after.len(),
        points.len()
    );
}

/// The shard of backups that are made by hand.
const SHARD: (&str, &str, u64) = ("d", "autogen", 1);

/// A record of a tombstone.
fn record(key: &str, min: i64, max: i64) -> Vec<u8> {
    [
        &(key.len() as u32).to_be_bytes()[..],
        key.as_bytes(),
        &min.to_be_bytes(),
        &max.to_be_bytes(),
    ]
    .concat()
}

fn gzip(content: &[u8]) -> Vec<u8> {
    let mut member = GzEncoder::new(Vec::new(), Compression::fast());
    member.write_all(content).expect("compressing");
    member.finish().expect("compressing")
}

/// A file of a shard: its name and its content.
type File<'a> = (&'a str, &'a [u8]);

/// A backup as influxd makes it, of one shard in several sets with these files.
fn backup(root: &Path, sets: &[&[File<'_>]]) -> PathBuf {
    let backup = root.join("backup");
    let _ = fs::remove_dir_all(&backup);
    fs::create_dir(&backup).expect("a directory");
    for (number, files) in (0..).zip(sets) {
        fs::write(backup.join(format!("meta.{number:02}")), meta(&[SHARD])).expect("a file");
        fs::write(
            backup.join(shard_file(SHARD, number)),
            shard_tar(SHARD, files),
        )
        .expect("a file");
    }
    backup
}

/// Restores into empty directories; what the shard's directory has then, none where it came to
/// nothing.
fn restored(root: &Path, flags: &[&str], code: i32) -> (Run, Option<BTreeMap<String, Vec<u8>>>) {
    let target = root.join("target");
    let _ = fs::remove_dir_all(&target);
    let run = restore_into(&target, flags, &root.join("backup"))
        .run()
        .expect(code);
    let shard = target.join("data/d/autogen/1");
    let files = shard.is_dir().then(|| tree::files(&shard));
    (run, files)
}

/// A TSM file with two fields of a series and another whose key begins as the first, all with
/// points at these times.
fn three_keys(times: &[&[i64]; 3]) -> Vec<u8> {
    let keys = ["m,h=a#!~#v", "m,h=a#!~#vv", "m,h=b#!~#v"];
    let keys: Vec<tsm::Key> = keys
        .into_iter()
        .zip(times)
        .filter(|(_, times)| !times.is_empty())
        .map(|(key, times)| tsm::key(key, ValueType::Integer, &[times]))
        .collect();
    tsm::file(&keys)
}

const TOMBSTONE: &str = "000000001-000000001.tombstone";

#[test]
fn tombstones_of_every_version_are_applied_to_what_is_restored_into_directories() {
    let root = folder();
    let [first, second, third] = [10, 20, 30].map(|nth| MONDAY + nth);
    let all: &[i64] = &[first, second, third];
    let file = three_keys(&[all; 3]);
    let records = [
        record("m,h=a#!~#v", i64::MIN, i64::MAX),
        record("m,h=b#!~#v", second, second + 5),
    ];
    // What the first lacks is a prefix of another key, and stays.
    let left = three_keys(&[&[], all, &[first, third]]);
    let late = three_keys(&[&[], &[third], &[third]]);
    let versions = [
        [b"\x00\x00\x15\x02", &records.concat()[..]].concat(),
        [b"\x00\x00\x15\x03", &gzip(&records.concat())[..]].concat(),
        [
            b"\x00\x00\x15\x04",
            &gzip(&records[0])[..],
            &gzip(&records[1])[..],
        ]
        .concat(),
    ];
    let text = b"m,h=a#!~#v\nm,h=b#!~#v\n".to_vec();
    let cases = versions
        .into_iter()
        .map(|tombstone| (tombstone, left.clone(), late.clone()))
        .chain([(
            text,
            three_keys(&[&[], all, &[]]),
            three_keys(&[&[], &[third], &[]]),
        )]);
    for (tombstone, left, late) in cases {
        backup(root.path(), &[&[(FILE, &file), (TOMBSTONE, &tombstone)]]);
        let (run, files) = restored(root.path(), &[], 0);
        let expected = BTreeMap::from([(FILE.to_owned(), left.clone())]);
        assert!(files == Some(expected), "{}", run.stderr);
        let summary = run.stdout.lines().last().unwrap_or_default();
        assert!(summary.contains("1 shard, 1 file"), "{summary}");
        // Also with -force, and with a range of time.
        let again = root.path().join("target");
        let backup = root.path().join("backup");
        restore_into(&again, &["-force"], &backup).run().expect(0);
        let shard = again.join("data/d/autogen/1");
        assert!(tree::files(&shard)[FILE] == left);
        let start = ["-start", "2020-09-07T00:00:00.000000030Z"];
        let (run, files) = restored(root.path(), &start, 0);
        let expected = BTreeMap::from([(FILE.to_owned(), late)]);
        assert!(files == Some(expected), "{}", run.stderr);
        let (_, files) = restored(root.path(), &["-apply-deletes=false"], 0);
        let as_it_is = BTreeMap::from([
            (FILE.to_owned(), file.clone()),
            (TOMBSTONE.to_owned(), tombstone.clone()),
        ]);
        assert!(files == Some(as_it_is));
    }
}

#[test]
fn a_file_of_which_all_was_deleted_goes_and_a_shard_may_be_empty_then() {
    let root = folder();
    let file = three_keys(&[&[10, 20], &[10], &[30]]);
    let other = three_keys(&[&[], &[], &[40]]);
    let keys = ["m,h=a#!~#v", "m,h=a#!~#vv", "m,h=b#!~#v"];
    let tombstone = [
        b"\x00\x00\x15\x04".to_vec(),
        gzip(&keys.map(|key| record(key, 10, 30)).concat()),
    ]
    .concat();
    let second = "000000002-000000001.tsm";
    for files in [
        &[(FILE, &file[..]), (TOMBSTONE, &tombstone)][..],
        &[(FILE, &file), (TOMBSTONE, &tombstone), (second, &other)],
    ] {
        let (_, is_empty) = (backup(root.path(), &[files]), files.len() == 2);
        let (run, files) = restored(root.path(), &["-index", "tsi1"], 0);
        let files = files.expect("a shard's directory");
        let expected: &[&str] = if is_empty { &[] } else { &[second] };
        assert_eq!(files.keys().collect::<Vec<_>>(), expected, "{}", run.stderr);
        let server = Influxd::start(&root.path().join("target"), Index::Tsi1);
        assert_eq!(server.points().len(), usize::from(!is_empty));
        server.write("d", "", "m,h=a v=1i 1600000000000000000");
        server.expect_no_errors();
    }
}

#[test]
fn a_tombstone_that_cannot_be_read_whole_brings_nothing_back_unless_that_is_asked_for() {
    let root = folder();
    let file = three_keys(&[&[10, 20], &[10], &[30]]);
    let sound = [b"\x00\x00\x15\x02", &record("m,h=a#!~#v", 10, 30)[..]].concat();
    let unknown = [b"\x00\x00\x15\x05", &sound[4..]].concat();
    // A length with its highest bit set is how InfluxDB 2 marks a prefix.
    let prefix = [b"\x00\x00\x15\x02\x80", &sound[5..]].concat();
    let packed = [b"\x00\x00\x15\x04", &gzip(&sound[4..])[..]].concat();
    let mut flipped = packed.clone();
    let last = flipped.len() - 6;
    flipped[last] ^= 1;
    for (tombstone, why) in [
        (&sound[..sound.len() - 1], "breaks off"),
        (&sound[..6], "breaks off"),
        (&packed[..packed.len() - 9], "breaks off"),
        (&flipped, "is no tombstone file"),
        (&unknown, "unknown version 5"),
        (&prefix, "is no tombstone file"),
    ] {
        let dir = backup(root.path(), &[&[(FILE, &file), (TOMBSTONE, tombstone)]]);
        for flags in [&[][..], &["-dry-run"]] {
            let (run, files) = restored(root.path(), flags, 4);
            assert!(files.is_none());
            let said = &run.stderr;
            assert!(
                said.contains(TOMBSTONE) && said.contains(why),
                "{why}: {said}"
            );
            assert!(said.contains("hint: ") && said.contains("-apply-deletes=false"));
        }
        let (run, files) = restored(root.path(), &["-apply-deletes=false"], 0);
        let expected = BTreeMap::from([
            (FILE.to_owned(), file.clone()),
            (TOMBSTONE.to_owned(), tombstone.to_vec()),
        ]);
        assert!(files == Some(expected));
        assert!(
            run.stderr.contains("warning: ") && run.stderr.contains(why),
            "{}",
            run.stderr
        );
        // One that a later set has whole does not stand in the way.
        backup(
            root.path(),
            &[
                &[(FILE, &file), (TOMBSTONE, tombstone)],
                &[(TOMBSTONE, &sound)],
            ],
        );
        let (_, files) = restored(root.path(), &[], 0);
        assert!(files.is_some_and(|files| files[FILE] == three_keys(&[&[], &[10], &[30]])));
        drop(dir);
    }
    // A running server is not given them either.
    let dir = backup(
        root.path(),
        &[&[(FILE, &file), (TOMBSTONE, &sound[..sound.len() - 1])]],
    );
    let server = Influxd::start(&root.path().join("server"), Index::Inmem);
    let live = |flags: &[&str]| restore_online(&server.host(), flags, &dir).run();
    let run = live(&[]).expect(4);
    assert!(run.stderr.contains("breaks off"), "{}", run.stderr);
    assert!(server.databases().is_empty());
    let run = live(&["-apply-deletes=false"]).expect(0);
    assert!(
        run.stderr.contains("the points come back"),
        "{}",
        run.stderr
    );
    assert_eq!(server.points().len(), 4);
}

#[test]
fn a_tombstone_is_that_of_the_file_of_its_own_set() {
    let root = folder();
    let old = three_keys(&[&[10, 20], &[10], &[30]]);
    let new = three_keys(&[&[10, 20, 30], &[10], &[30]]);
    let tombstone = |min| [b"\x00\x00\x15\x02", &record("m,h=a#!~#v", min, 30)[..]].concat();
    let (of_ten, of_twenty) = (tombstone(10), tombstone(20));
    let cases: [(&[&[File<'_>]], Vec<u8>); 4] = [
        // The file came again with other content: nothing was deleted of that.
        (
            &[&[(FILE, &old), (TOMBSTONE, &of_ten)], &[(FILE, &new)]],
            new.clone(),
        ),
        // The file did not change, and more was deleted of it.
        (
            &[
                &[(FILE, &old), (TOMBSTONE, &of_twenty)],
                &[(TOMBSTONE, &of_ten)],
            ],
            three_keys(&[&[], &[10], &[30]]),
        ),
        // The file came again with the same content: it was written anew, for a tombstone is
        // younger than its file.
        (
            &[&[(FILE, &old), (TOMBSTONE, &of_twenty)], &[(FILE, &old)]],
            old.clone(),
        ),
        (
            &[&[(FILE, &old)], &[(TOMBSTONE, &of_twenty), (FILE, &new)]],
            three_keys(&[&[10], &[10], &[30]]),
        ),
    ];
    for (nth, (sets, expected)) in cases.into_iter().enumerate() {
        backup(root.path(), sets);
        let (_, files) = restored(root.path(), &[], 0);
        let expected = BTreeMap::from([(FILE.to_owned(), expected)]);
        assert!(files == Some(expected), "case {nth}");
    }
}

#[test]
fn files_of_one_set_that_disagree_of_the_type_of_a_field_are_told_and_those_of_two_are_settled() {
    let root = folder();
    let file = |key: &str, value_type| tsm::file(&[tsm::key(key, value_type, &[&[10, 20]])]);
    let float = file("a\\,b,h=a#!~#v", ValueType::Float);
    let string = file("a\\,b,h=b#!~#v", ValueType::String);
    let second = "000000002-000000001.tsm";
    let named = "field 'v' of measurement 'a,b'";
    // influxd does not open a shard with these.
    let dir = backup(root.path(), &[&[(FILE, &float), (second, &string)]]);
    let (run, files) = restored(root.path(), &[], 3);
    let missing = run
        .stderr
        .lines()
        .find(|line| line.starts_with("missing: "))
        .unwrap_or_default();
    assert!(
        missing.contains(named) && missing.contains("d/autogen/1") && missing.contains(second),
        "{}",
        run.stderr
    );
    let as_they_are = BTreeMap::from([
        (FILE.to_owned(), float.clone()),
        (second.to_owned(), string.clone()),
    ]);
    assert!(files.as_ref() == Some(&as_they_are));
    let server = Influxd::start(&root.path().join("server"), Index::Inmem);
    let run = restore_online(&server.host(), &["-no-verify"], &dir)
        .run()
        .expect(3);
    assert!(run.stderr.contains(named), "{}", run.stderr);
    // Of two sets, the newer says which it is, whatever the names of the files: where the newer one
    // has the lower number, the server had none with the higher one any more.
    let [float_file, string_file] = [(FILE, &float[..]), (second, &string[..])];
    for (older, newer, told) in [
        (float_file, string_file, named),
        (string_file, float_file, "1 file of older sets left out"),
    ] {
        backup(root.path(), &[&[older], &[newer]]);
        let (run, files) = restored(root.path(), &[], 0);
        let expected = BTreeMap::from([(newer.0.to_owned(), newer.1.to_vec())]);
        assert!(files == Some(expected), "{}", run.stderr);
        assert!(run.stderr.contains(told), "{}", run.stderr);
    }
    // Nothing has to be told where all of the older type was deleted.
    let tombstone = [
        b"\x00\x00\x15\x02",
        &record("a\\,b,h=a#!~#v", i64::MIN, i64::MAX)[..],
    ]
    .concat();
    let files: [(&str, &[u8]); 3] = [(TOMBSTONE, &tombstone), (FILE, &float), (second, &string)];
    backup(root.path(), &[&files]);
    for flags in [&[][..], &["-apply-deletes=false"]] {
        let (run, _) = restored(root.path(), flags, 0);
        assert!(!run.stderr.contains(named), "{}", run.stderr);
    }
}
