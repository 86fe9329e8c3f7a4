//! `snap restore -skip-damaged` brings back all of a damaged set but what it lists as lost, point by
//! point.

use std::collections::BTreeSet;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use serde_json::Value;
use tempfile::TempDir;

use crate::support::data::{START, flush};
use crate::support::influxd::{Index, Influxd};
use crate::support::process::{Run, Snap, backup, restore_into};
use crate::support::service::copy;
use crate::support::source::index_flags;
use crate::support::time::{DAY, SECOND};
use crate::support::{folder, utf8};

/// Shards, a day each.
const SHARDS: i64 = 6;
/// Points of each series in a shard: three blocks of each field.
const POINTS: i64 = 2500;

/// A value: series, field, time in nanoseconds, and the value as in line protocol.
type Sample = (String, String, i64, String);

/// A server with a database `d`, and sets of it.
struct Sets {
    folder: TempDir,
    server: Influxd,
    /// The values of all points.
    values: BTreeSet<Sample>,
}

impl Sets {
    fn new(index: Index) -> Self {
        let folder = folder();
        let server = Influxd::start(&folder.path().join("source"), index);
        server.execute("CREATE DATABASE d WITH SHARD DURATION 1d");
        for day in 0..SHARDS {
            let mut lines = String::new();
            for nth in 0..POINTS {
                let time = START + day * DAY + nth * SECOND;
                for host in ["a", "b"] {
                    let value = (nth * 7919 + day) % 1009;
                    writeln!(lines, "cpu,host={host} v={value}.5,n={nth}i {time}")
                        .expect("writing to a string");
                }
            }
            server.write("d", "", &lines);
        }
        flush(&server);
        let made = Self {
            values: BTreeSet::new(),
            folder,
            server,
        };
        for (layout, flags) in [("legacy", &[][..]), ("portable", &["-portable"])] {
            let dir = made.path(layout);
            backup(&made.server.host(), flags, &dir).run().expect(0);
        }
        let export = Snap::new(["export", "-lponly", utf8(&made.path("legacy"))]);
        let values = values_of(&export.run().expect(0));
        assert_eq!(i64::try_from(values.len()), Ok(SHARDS * POINTS * 4));
        Self { values, ..made }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A copy of a set, with the record that snap made or without, and the files of its shards.
    fn copy(&self, layout: &str, is_recorded: bool) -> Copy {
        let folder = folder();
        let dir = folder.path().join("set");
        copy(&self.path(layout), &dir);
        if !is_recorded {
            fs::remove_dir_all(dir.join(".snap")).expect("a record");
        }
        let mut files: Vec<PathBuf> = fs::read_dir(&dir)
            .expect("a directory")
            .map(|entry| entry.expect("an entry").path())
            .filter(|path| {
                let name = path.file_name().and_then(|name| name.to_str());
                name.is_some_and(|name| name.starts_with("d.autogen.") || name.ends_with(".tar.gz"))
            })
            .collect();
        files.sort();
        assert_eq!(i64::try_from(files.len()), Ok(SHARDS));
        Copy {
            dir,
            files,
            _folder: folder,
        }
    }

    /// Restores a damaged set, and what it lists.
    fn restore(&self, dir: &Path, target: &Path, flags: &[&str]) -> Vec<Value> {
        restore_into(target, &[], dir).run().expect(4);
        let run = restore_into(target, &["-json", "-skip-damaged"], dir);
        let run = run.args(flags).run().expect(3);
        let summary = run.last_message();
        assert_ne!(summary["missing"], Value::Array(Vec::new()), "{summary}");
        let lines = run.messages().into_iter();
        let lost: Vec<Value> = lines
            .filter(|line| line["message_type"] == "lost")
            .collect();
        assert_eq!(summary["lost_count"], lost.len(), "{summary}");
        // Where one byte was changed, what is listed beside is all.
        let is_known = |line: &Value| line["lost"] != "unknown";
        let of_shard = |line: &Value| {
            let mut others = lost.iter().filter(|other| other["shard"] == line["shard"]);
            others.any(is_known)
        };
        let listed = lost.iter().filter(|line| is_known(line) || !of_shard(line));
        listed.cloned().collect()
    }

    /// The values but for those that are listed.
    fn without(&self, lost: &[Value]) -> BTreeSet<Sample> {
        let lost: Vec<_> = lost.iter().map(LostRange::of).collect();
        let values = self.values.iter();
        values
            .filter(|value| !lost.iter().any(|lost| lost.has(value)))
            .cloned()
            .collect()
    }
}

/// A copy of a set.
struct Copy {
    dir: PathBuf,
    /// The files of its shards.
    files: Vec<PathBuf>,
    _folder: TempDir,
}

/// What a line lists.
struct LostRange {
    series: Option<String>,
    field: Option<String>,
    times: (i64, i64),
}

impl LostRange {
    fn of(line: &Value) -> Self {
        let text = |name: &str| line[name].as_str().map(str::to_owned);
        let time = |name: &str| {
            let time: Timestamp = text(name).expect("a time").parse().expect("RFC 3339");
            i64::try_from(time.as_nanosecond()).expect("a time of influxd's")
        };
        Self {
            series: text("series_key"),
            field: text("field"),
            times: (time("first_time"), time("last_time")),
        }
    }

    fn has(&self, (series, field, time, _): &Sample) -> bool {
        self.series.as_ref().is_none_or(|of| of == series)
            && self.field.as_ref().is_none_or(|of| of == field)
            && (self.times.0..=self.times.1).contains(time)
    }
}

/// The values of exported points.
fn values_of(exported: &Run) -> BTreeSet<Sample> {
    let mut values = BTreeSet::new();
    for line in exported
        .stdout
        .lines()
        .filter(|line| !line.starts_with('#'))
    {
        let mut parts = line.split(' ');
        let mut part = || parts.next().unwrap_or_else(|| panic!("no point: {line}"));
        let (series, fields, time) = (part(), part(), part());
        for field in fields.split(',') {
            let (field, value) = field.split_once('=').expect("a field");
            let time = time.parse().expect("a time");
            values.insert((series.into(), field.into(), time, value.into()));
        }
    }
    values
}

/// The values in the directories of a stopped server.
fn values_below(root: &Path) -> BTreeSet<Sample> {
    let run = Snap::new(["export", "-lponly"]).directories(root).run();
    // The name of a field that changed may be one that cannot be exported.
    assert!(matches!(run.code, Some(0 | 3)), "{}", run.stderr);
    values_of(&run)
}

/// Panics unless these values came back, all but what is listed.
fn expect_all_but_listed(
    found: &BTreeSet<Sample>,
    expected: &BTreeSet<Sample>,
    lost: &[Value],
    what: &str,
) {
    // What may be wrong is there, and nothing may have come behind damage.
    let is_vague = |line: &Value| line["lost"] == "unknown" || line["lost"] == "rest";
    match lost.iter().any(is_vague) {
        true => assert!(found.is_superset(expected), "{what}: {lost:#?}"),
        false => assert!(found == expected, "{what}: {lost:#?}"),
    }
}

/// Flips a bit of a file.
fn flip(file: &Path, at: usize) {
    let mut bytes = fs::read(file).expect("a file");
    bytes[at] ^= 0x10;
    fs::write(file, bytes).expect("a file");
}

fn cut(file: &Path, length: usize) {
    let mut bytes = fs::read(file).expect("a file");
    bytes.truncate(length);
    fs::write(file, bytes).expect("a file");
}

fn length(file: &Path) -> usize {
    usize::try_from(fs::metadata(file).expect("a file").len()).expect("a small file")
}

/// Where the index of the TSM file begins in a tar that has one alone.
fn index_in_tar(file: &Path) -> usize {
    let bytes = fs::read(file).expect("a file");
    let size = std::str::from_utf8(&bytes[124..135]).expect("octal digits");
    let size = usize::from_str_radix(size.trim_matches(['\0', ' ']), 8).expect("a size");
    let footer = &bytes[512 + size - 8..512 + size];
    let offset = footer
        .iter()
        .fold(0, |offset, byte| offset << 8 | usize::from(*byte));
    512 + offset
}

fn a_server_answers_all_but_what_is_listed(index: Index) {
    let sets = Sets::new(index);
    for (layout, is_recorded) in [
        ("legacy", true),
        ("legacy", false),
        ("portable", true),
        ("portable", false),
    ] {
        let what = format!("{layout}, recorded: {is_recorded}");
        let copy = sets.copy(layout, is_recorded);
        let files = &copy.files;
        // The last is sound.
        let middle = length(&files[0]) / 2;
        flip(&files[0], middle);
        let middle = length(&files[1]) / 2;
        cut(&files[1], middle);
        cut(&files[2], 0);
        match layout {
            "legacy" => {
                let entry = index_in_tar(&files[3]);
                // The length of the first key.
                flip(&files[3], entry);
            }
            _ => flip(&files[3], 12),
        }
        fs::remove_file(&files[4]).expect("a file");
        let target = folder();
        let lost = sets.restore(&copy.dir, target.path(), index_flags(index));
        let named: BTreeSet<u64> = lost
            .iter()
            .filter_map(|line| line["shard"].as_u64())
            .collect();
        // Without a record nothing tells that the header of a gzip file changed.
        let damaged = if layout == "portable" && !is_recorded {
            3
        } else {
            4
        };
        assert_eq!(named.len(), damaged, "{what}: {lost:#?}");
        let missing_day = (START + 4 * DAY)..(START + 5 * DAY);
        let mut expected = sets.without(&lost);
        expected.retain(|(_, _, time, _)| !missing_day.contains(time));
        let of_day = |values: &BTreeSet<Sample>, day: i64| {
            let times = (START + day * DAY)..(START + (day + 1) * DAY);
            values
                .iter()
                .filter(|value| times.contains(&value.2))
                .count()
        };
        assert_eq!(
            i64::try_from(of_day(&expected, 5)),
            Ok(POINTS * 4),
            "{what}"
        );
        if layout == "legacy" {
            // One block of 1000 values.
            assert_eq!(
                i64::try_from(of_day(&expected, 0)),
                Ok(POINTS * 4 - 1000),
                "{what}"
            );
        }
        let found = values_below(target.path());
        expect_all_but_listed(&found, &expected, &lost, &what);

        let answers = Influxd::start(target.path(), index);
        answers.expect_no_errors();
        let count = |field: &str| {
            let answer = answers.query("d", &format!("SELECT count({field}) FROM cpu"));
            let value = &answer["results"][0]["series"][0]["values"][0][1];
            value.as_u64().unwrap_or(0)
        };
        let of_field = |field: &str| found.iter().filter(|value| value.1 == field).count() as u64;
        for field in ["v", "n"] {
            assert_eq!(count(field), of_field(field), "{what}: {field}");
        }
        // And takes new points.
        answers.write(
            "d",
            "",
            &format!("cpu,host=a v=0.5 {}", START + DAY - SECOND),
        );
        assert_eq!(count("v"), of_field("v") + 1);
    }
}

#[test]
fn a_server_with_an_index_in_memory_answers_all_but_what_is_listed() {
    a_server_answers_all_but_what_is_listed(Index::Inmem);
}

#[test]
fn a_server_with_an_index_on_disk_answers_all_but_what_is_listed() {
    a_server_answers_all_but_what_is_listed(Index::Tsi1);
}

#[test]
fn a_damaged_block_does_not_hide_that_a_name_may_have_changed_as_well() {
    let sets = Sets::new(Index::Inmem);
    for is_recorded in [true, false] {
        let copy = sets.copy("legacy", is_recorded);
        let file = &copy.files[0];
        let index = index_in_tar(file);
        let bytes = fs::read(file).expect("a file");
        let mut windows = bytes[index..].windows(6);
        let name = windows.rposition(|at| at == b"host=b");
        // Inside the first block, and in the last key.
        flip(file, 530);
        flip(file, index + name.expect("the other series") + 5);
        // Not even where the block is of a series that is left out.
        let left_out = ["-database", "d", "-where", "host != a"];
        let runs: [(&[&str], i32); 2] = [(&[], 3), (&left_out, if is_recorded { 3 } else { 0 })];
        for (flags, code) in runs {
            let target = folder();
            let run = restore_into(target.path(), &["-json", "-skip-damaged"], &copy.dir);
            let run = run.args(flags).run().expect(code);
            let lines = run.messages().into_iter();
            let unknown = lines.filter(|line| line["lost"] == "unknown").count();
            assert_eq!(
                unknown,
                usize::from(is_recorded),
                "{flags:?}: {}",
                run.stdout
            );
        }
    }
}

#[test]
fn whatever_byte_of_a_shard_is_damaged_all_comes_back_but_what_is_listed() {
    let sets = Sets::new(Index::Inmem);
    let sound = sets.copy("legacy", true);
    let file = &sound.files[0];
    let (length, index) = (length(file), index_in_tar(file));
    // The header of the tar, blocks, the index with its keys, the footer, the end of the tar.
    let flips = [0, 100, 148, 512, 513, 520, 600, index - 1];
    let flips = flips.into_iter().chain((index..index + 400).step_by(23));
    let flips = flips.chain((600..length).step_by(length / 15));
    let cuts = [1, 512, 600, index, index + 10, length - 1024, length - 1];
    let damages = flips.map(|at| (at, false)).chain(cuts.map(|at| (at, true)));
    for (at, is_cut) in damages {
        for is_recorded in [true, false] {
            let copy = sets.copy("legacy", is_recorded);
            let file = &copy.files[0];
            match is_cut {
                true => cut(file, at),
                false => flip(file, at),
            }
            let what = format!("at {at} of {length}, cut: {is_cut}, recorded: {is_recorded}");
            let target = folder();
            if !is_recorded && restore_into(target.path(), &[], &copy.dir).run().code == Some(0) {
                // Nothing tells that a byte of a name changed, or of the padding.
                continue;
            }
            let lost = sets.restore(&copy.dir, target.path(), &[]);
            let expected = sets.without(&lost);
            expect_all_but_listed(&values_below(target.path()), &expected, &lost, &what);
        }
    }
}
