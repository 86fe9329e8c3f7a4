//! `snap export` as CSV and Parquet: where it writes, what it refuses, and what resolves conflicts.

use std::fs;
use std::path::{Path, PathBuf};

use influx_snap::tsm::values::{Points, Strings, Values};
use influx_snap::tsm::writer::Writer;
use serde_json::Value;

use crate::support::handmade::{self, FILE, shard_file, shard_tar};
use crate::support::process::{Run, Snap};
use crate::support::{folder, tree, utf8};

/// The time of the first point of every key.
const FIRST: i64 = 1_528_675_200_000_000_000;

/// A backup of one shard of `db`.`rp` for each list of keys.
struct Backup {
    place: tempfile::TempDir,
    dir: PathBuf,
}

impl Backup {
    fn of(shards: &[&[(&str, Values)]]) -> Self {
        Self::with(&shards.iter().map(|keys| tsm(keys)).collect::<Vec<_>>())
    }

    /// A backup of a shard for each TSM file.
    fn with(files: &[Vec<u8>]) -> Self {
        let place = folder();
        let dir = place.path().join("backup");
        fs::create_dir(&dir).expect("a directory");
        let names: Vec<_> = (1..=files.len() as u64)
            .map(|id| ("db", "rp", id))
            .collect();
        fs::write(dir.join("meta.00"), handmade::meta(&names)).expect("a metastore");
        for (name, file) in names.iter().zip(files) {
            let tar = shard_tar(*name, &[(FILE, file)]);
            fs::write(dir.join(shard_file(*name, 0)), tar).expect("a shard");
        }
        Self { place, dir }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.path().join(name)
    }

    fn export(&self, flags: &[&str]) -> Run {
        Snap::new(["export"])
            .args(flags)
            .args([utf8(&self.dir)])
            .run()
    }

    /// The CSV on standard output.
    fn csv(&self, flags: &[&str]) -> String {
        self.export(&[&["-format", "csv"], flags].concat())
            .expect(0)
            .stdout
    }
}

fn tsm(keys: &[(&str, Values)]) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for (key, values) in keys {
        writer
            .begin_key(key.as_bytes(), values.value_type())
            .expect("a key");
        let times = (0..values.len() as i64).map(|nth| FIRST + nth).collect();
        let points = Points {
            times,
            values: values.clone(),
        };
        writer.points(&points).expect("a block");
    }
    writer.finish().expect("a file").0
}

fn strings(texts: &[&str]) -> Values {
    Values::String(texts.iter().collect::<Strings>())
}

#[test]
fn csv_tells_absent_from_empty_and_goes_to_standard_output_or_a_file_where_it_is_one_table() {
    let backup = Backup::of(&[&[
        (
            "m,host=a,zone=z\\,1#!~#f",
            Values::Float(vec![1.5, -0.0, 1e300]),
        ),
        ("m,host=a,zone=z\\,1#!~#s", strings(&["", "a \"b\"\nc"])),
        ("m,host=b#!~#i", Values::Integer(vec![i64::MIN, i64::MAX])),
        ("m,host=b#!~#ok", Values::Boolean(vec![true, false])),
        ("m,host=b#!~#u", Values::Unsigned(vec![u64::MAX])),
    ]]);
    let expected = "time,host,zone,f,i,ok,s,u\n\
        2018-06-11T00:00:00.000000000Z,a,\"z,1\",1.5,,,\"\",\n\
        2018-06-11T00:00:00.000000001Z,a,\"z,1\",-0.0,,,\"a \"\"b\"\"\nc\",\n\
        2018-06-11T00:00:00.000000002Z,a,\"z,1\",1e+300,,,,\n\
        2018-06-11T00:00:00.000000000Z,b,,,-9223372036854775808,true,,18446744073709551615\n\
        2018-06-11T00:00:00.000000001Z,b,,,9223372036854775807,false,,\n";
    assert_eq!(backup.csv(&[]), expected);
    let file = backup.path("m.csv");
    backup.export(&["-o", utf8(&file)]).expect(0);
    assert_eq!(fs::read_to_string(&file).expect("the table"), expected);
    let run = backup.export(&["-o", utf8(&file)]).expect(6);
    assert!(run.stderr.contains("is there already"), "{}", run.stderr);

    let run = backup.export(&["-format", "csv", "-epoch", "us", "-where", "host=b"]);
    let run = run.expect(0);
    assert!(
        run.stdout
            .ends_with("\n1528675200000000,b,9223372036854775807,false,\n")
    );
    assert!(
        run.stderr.contains("1 time cut down to the unit of -epoch"),
        "{}",
        run.stderr
    );

    // A range that a field has no values in: it is no column.
    let late = "2018-06-11T00:00:00.000000002Z";
    let text = backup.csv(&["-start", late]);
    assert_eq!(text, format!("time,host,zone,f\n{late},a,\"z,1\",1e+300\n"));
}

#[test]
fn a_directory_has_a_file_for_each_measurement_and_none_leads_out_of_it() {
    let one = || Values::Float(vec![1.0]);
    let backup = Backup::of(&[
        &[
            ("../../up#!~#v", one()),
            ("/etc/x#!~#v", one()),
            ("m#!~#v", one()),
        ],
        &[("m#!~#v", one())],
    ]);
    for (format, ending) in [("csv", "csv"), ("csv.gz", "csv.gz"), ("parquet", "parquet")] {
        let dir = backup.path(format);
        // One that is empty is taken.
        fs::create_dir(&dir).expect("a directory");
        let run = backup
            .export(&["-json", "-format", format, "-o", utf8(&dir)])
            .expect(0);
        let files: Vec<String> = tree::files(&dir).into_keys().collect();
        let expected =
            ["%2E.%2F..%2Fup", "%2Fetc%2Fx", "m"].map(|name| format!("db/rp/{name}.{ending}"));
        assert_eq!(files, expected);
        let summary: Value =
            serde_json::from_str(run.stdout.lines().last().expect("a line")).expect("JSON");
        let tables = summary["tables"].as_array().expect("tables").iter();
        let tables: Vec<(&str, u64)> = tables
            .map(|table| {
                let name = table["measurement"].as_str().expect("a name");
                (name, table["points"].as_u64().expect("a number"))
            })
            .collect();
        assert_eq!(tables, [("../../up", 1), ("/etc/x", 1), ("m", 2)]);
        let run = backup
            .export(&["-format", format, "-o", utf8(&dir)])
            .expect(6);
        assert!(run.stderr.contains("is there already"), "{}", run.stderr);
    }
    let split = backup.path("split");
    let run = backup.export(&["-format", "csv", "-split", "-o", utf8(&split)]);
    assert!(run.expect(0).stdout.contains(", 3 tables, "));
    let files = tree::files(&split);
    let mut names = files.keys().filter(|name| name.starts_with("db/rp/m-20"));
    let name = names.next().expect("a table of m");
    // Both shards are of one week.
    let lines = files[name.as_str()]
        .iter()
        .filter(|byte| **byte == b'\n')
        .count();
    assert_eq!((files.len(), lines), (3, 3));
    // Nothing else is left beside them.
    let left = fs::read_dir(backup.place.path())
        .expect("a directory")
        .count();
    assert_eq!(left, 5);
}

#[test]
fn conflicts_are_refused_before_anything_is_written_with_flags_that_resolve_them() {
    let backup = Backup::of(&[
        &[
            ("a.b#!~#v", Values::Float(vec![0.5])),
            ("m,h=1#!~#h", Values::Float(vec![2.0])),
            ("m,h=1#!~#s", Values::Boolean(vec![true])),
            ("m,zone=z#!~#z", Values::Boolean(vec![true])),
            ("n#!~#time", Values::Integer(vec![7])),
        ],
        &[
            ("a.b#!~#v", Values::Integer(vec![3, (1 << 53) + 1])),
            ("m,h=1#!~#s", strings(&["text"])),
        ],
    ]);
    let dir = backup.path("out");
    let all = ["-format", "csv", "-o", utf8(&dir)];
    let run = backup.export(&all).expect(6);
    for told in [
        "a.b.v is float in shard 1 and integer in shard 2",
        "m.s is boolean in shard 1 and string in shard 2",
        "m.h is a tag and a field",
        "n has a field named time",
        r"-resolve 'a\.b.v=float' -resolve m.s=split -resolve 'm.h=>h_field' -resolve 'n.time=>time_field'",
    ] {
        assert!(run.stderr.contains(told), "{told}: {}", run.stderr);
    }
    assert!(!dir.exists());
    let left = fs::read_dir(backup.place.path())
        .expect("a directory")
        .count();
    assert_eq!(left, 1);

    let flags = [
        r"a\.b.v=float",
        "m.h=>h_field",
        "m.s=split",
        "n.time=>time_field",
    ];
    let flags = flags.iter().flat_map(|flag| ["-resolve", flag]);
    let flags: Vec<&str> = all.into_iter().chain(flags).collect();
    let run = backup.export(&flags).expect(0);
    assert!(
        run.stderr.contains("1 number changed by -resolve"),
        "{}",
        run.stderr
    );
    let file = |name: &str| fs::read_to_string(dir.join("db/rp").join(name)).expect("a table");
    let time = |nth: i64| format!("2018-06-11T00:00:00.00000000{nth}Z");
    let (first, second) = (time(0), time(1));
    assert_eq!(
        file("a.b.csv"),
        format!("time,v\n{first},0.5\n{first},3.0\n{second},9007199254740992.0\n")
    );
    assert_eq!(
        file("m.csv"),
        format!(
            "time,h,zone,h_field,s_boolean,s_string,z\n{first},1,,2.0,true,,\n{first},,z,,,,true\n\
             {first},1,,,,text,\n"
        )
    );
    assert_eq!(file("n.csv"), format!("time,time_field\n{first},7\n"));

    let only = |flag: &str| backup.csv(&["-measurement", "a.b", "-resolve", flag]);
    assert!(only(r"a\.b.v=string").ends_with(&format!("{first},3\n{second},9007199254740993\n")));
    assert!(only(r"a\.b.v=integer").ends_with(&format!(
        "{first},0\n{first},3\n{second},9007199254740993\n"
    )));
    for (flag, code, told) in [
        (r"a\.b.w=float", 1, "'a.b' has no field or tag 'w'"),
        (
            "m.zone=integer",
            6,
            "'zone' is a tag of 'm', and tags are strings; its tags are h, zone",
        ),
        ("ab.v=float", 1, "there are: 'a.b', 'm', 'n'"),
        ("m.s=float", 6, "m.s has values of type string"),
        ("m.s=double", 2, "'double' is no type"),
        ("m=float", 2, "names no field"),
    ] {
        let other = backup.path("other");
        let all = ["-format", "csv", "-o", utf8(&other), "-resolve", flag];
        let run = backup.export(&all).expect(code);
        assert!(run.stderr.contains(told), "{flag}: {}", run.stderr);
    }
}

#[test]
fn flags_that_say_nothing_about_the_format_are_refused() {
    let backup = Backup::of(&[&[
        ("m#!~#v", Values::Float(vec![1.0])),
        ("n#!~#v", Values::Float(vec![1.0])),
    ]]);
    let dir = backup.path("out");
    let dir = utf8(&dir);
    for (flags, told) in [
        (
            &["-format", "csv", "-lponly"][..],
            "-lponly does not work with -format csv",
        ),
        (
            &["-format", "parquet", "-o", dir, "-newline", "fail"],
            "it works with -format lp",
        ),
        (&["-epoch", "ns"], "-epoch does not work with -format lp"),
        (
            &["-format", "parquet", "-o", dir, "-epoch", "ns"],
            "-epoch does not work with",
        ),
        (
            &["-format", "csv", "-time", "utc"],
            "-time does not work with",
        ),
        (&["-split"], "-split does not work with"),
        (&["-format", "csv", "-split"], "-split writes several files"),
        (&["-resolve", "m.v=float"], "-resolve does not work with"),
        (
            &["-format", "parquet"],
            "Parquet does not go to standard output",
        ),
        (
            &["-format", "parquet", "-o", "x.csv"],
            "-format parquet and a file x.csv",
        ),
        (
            &["-format", "lp", "-o", "x.csv.gz"],
            "-format lp and a file x.csv.gz",
        ),
        (
            &["-o", "x.csv.zst"],
            "x.csv.zst is not written: snap has no .zst",
        ),
        (&["-format", "csv", "-o", "d.ZIP"], "snap has no .zip"),
        (&["-o", "x.parquet.gz"], "Parquet is compressed as it is"),
        (
            &["-o", "x.lp", "-max-bytes", "100Mb"],
            "'100Mb' is not a size",
        ),
    ] {
        let run = backup.export(flags).expect(2);
        assert!(run.stderr.contains(told), "{flags:?}: {}", run.stderr);
    }
    let run = backup.export(&["-format", "csv"]).expect(6);
    assert!(
        run.stderr
            .contains("these are 2 measurements, and a file takes one: db/rp/m, db/rp/n"),
        "{}",
        run.stderr
    );
    let run = backup
        .export(&["-format", "csv", "-measurement", "mm"])
        .expect(1);
    assert!(run.stderr.contains("no measurement 'mm'"), "{}", run.stderr);
    let run = backup
        .export(&["-format", "csv", "-start", "2030-01-01"])
        .expect(1);
    assert!(run.stderr.contains("there are no points"), "{}", run.stderr);
    assert!(!Path::new(dir).exists());
}

#[test]
fn a_damaged_block_is_named_and_all_other_values_are_in_the_tables() {
    let backup = Backup::of(&[&[
        ("m#!~#v", Values::Float(vec![1.0])),
        ("m#!~#w", Values::Float(vec![2.0])),
    ]]);
    let file = backup.dir.join(shard_file(("db", "rp", 1), 0));
    let mut bytes = fs::read(&file).expect("a tar");
    let header = [0x16, 0xD1, 0x16, 0xD1, 1];
    let start = bytes
        .windows(5)
        .position(|window| window == header)
        .expect("a file");
    bytes[start + 20] ^= 0x10;
    fs::write(&file, bytes).expect("a tar");
    for format in ["csv", "parquet"] {
        let dir = backup.path(format);
        let run = backup
            .export(&["-format", format, "-o", utf8(&dir)])
            .expect(3);
        assert!(run.stderr.contains("series m, field v: "), "{}", run.stderr);
    }
    let text = fs::read_to_string(backup.path("csv").join("db/rp/m.csv")).expect("a table");
    assert_eq!(text, "time,v,w\n2018-06-11T00:00:00.000000000Z,,2.0\n");
}

#[test]
fn what_is_no_text_and_no_number_is_told() {
    let strings: Strings = [&b"a\xffb"[..]].iter().collect();
    let backup = Backup::of(&[&[
        ("m#!~#f", Values::Float(vec![f64::INFINITY, 1.0])),
        ("m#!~#s", Values::String(strings)),
    ]]);
    let run = backup.export(&["-format", "csv"]).expect(3);
    assert_eq!(
        run.stdout,
        "time,f,s\n2018-06-11T00:00:00.000000000Z,,a\u{fffd}b\n2018-06-11T00:00:00.000000001Z,1.0,\n"
    );
    for told in [
        "1 float value left out",
        "1 text with bytes that are not UTF-8",
    ] {
        assert!(run.stderr.contains(told), "{}", run.stderr);
    }
}

#[cfg(feature = "parquet")]
mod read_back {
    use std::fs::File;

    use parquet::file::reader::{FileReader, SerializedFileReader};
    use parquet::record::{Field, Row};

    use super::*;

    fn table(path: &Path) -> (SerializedFileReader<File>, Vec<Row>) {
        let reader = SerializedFileReader::new(File::open(path).expect("a file"));
        let reader = reader.expect("Parquet");
        let rows = reader.get_row_iter(None).expect("rows");
        let rows = rows.map(|row| row.expect("a row")).collect();
        (reader, rows)
    }

    fn fields(row: &Row) -> Vec<Field> {
        row.get_column_iter()
            .map(|(_, field)| field.clone())
            .collect()
    }

    #[test]
    fn values_of_every_type_come_back_and_sorted_rows_say_so() {
        let nan = f64::from_bits(0x7FF8_0000_0000_0000);
        let keys = [
            ("m#!~#f", Values::Float(vec![nan, f64::NEG_INFINITY, -0.0])),
            ("m#!~#i", Values::Integer(vec![i64::MIN, i64::MAX])),
            ("m#!~#ok", Values::Boolean(vec![false])),
            ("m#!~#s", strings(&["", "nul \0 🦀", "x"])),
            ("m#!~#u", Values::Unsigned(vec![u64::MAX, 1 << 63])),
            ("m,h=a#!~#f", Values::Float(vec![1.0])),
        ];
        let (sorted, both) = (Backup::of(&[&keys]), Backup::of(&[&keys, &keys[..1]]));
        let file = sorted.path("m.parquet");
        sorted.export(&["-o", utf8(&file)]).expect(0);
        let (reader, rows) = table(&file);
        let text = |text: &str| Field::Str(text.to_owned());
        let at = |nth: i64| Field::Long(FIRST + nth);
        assert!(matches!(fields(&rows[0])[2], Field::Double(found) if found.is_nan()));
        assert_eq!(
            fields(&rows[0])[3..],
            [
                Field::Long(i64::MIN),
                Field::Bool(false),
                text(""),
                Field::ULong(u64::MAX)
            ]
        );
        assert_eq!(
            fields(&rows[1]),
            [
                at(1),
                Field::Null,
                Field::Double(f64::NEG_INFINITY),
                Field::Long(i64::MAX),
                Field::Null,
                text("nul \0 🦀"),
                Field::ULong(1 << 63)
            ]
        );
        assert!(matches!(fields(&rows[2])[2], Field::Double(found) if found.is_sign_negative()));
        assert_eq!(
            fields(&rows[3])[..3],
            [at(0), text("a"), Field::Double(1.0)]
        );
        let order = |reader: &SerializedFileReader<File>| {
            let columns = reader.metadata().row_group(0).sorting_columns().cloned();
            let columns = columns.unwrap_or_default().into_iter();
            columns
                .map(|column| (column.column_idx, column.nulls_first))
                .collect::<Vec<_>>()
        };
        assert_eq!(order(&reader), [(1, true), (0, true)]);

        let file = both.path("m.parquet");
        both.export(&["-o", utf8(&file)]).expect(0);
        let (reader, rows) = table(&file);
        assert_eq!((rows.len(), order(&reader)), (7, vec![]));
    }

    #[test]
    fn a_table_of_several_row_groups_is_read_to_its_end() {
        let count = (1 << 20) + 5000_i64;
        let mut writer = Writer::new(Vec::new());
        for key in ["m,h=a#!~#i", "other#!~#i", "z#!~#i"] {
            let count = if key.starts_with('m') { count } else { 3 };
            let values = Values::Integer(Vec::new());
            writer
                .begin_key(key.as_bytes(), values.value_type())
                .expect("a key");
            let all: Vec<i64> = (0..count).collect();
            for times in all.chunks(1000) {
                let points = Points {
                    times: times.iter().map(|nth| FIRST + nth * 1000).collect(),
                    values: Values::Integer(times.to_vec()),
                };
                writer.points(&points).expect("a block");
            }
        }
        let backup = Backup::with(&[writer.finish().expect("a file").0]);
        let dir = backup.path("out");
        backup
            .export(&["-format", "parquet", "-o", utf8(&dir)])
            .expect(0);
        let (reader, rows) = table(&dir.join("db/rp/m.parquet"));
        assert!(reader.num_row_groups() > 1);
        assert_eq!(rows.len() as i64, count);
        for (row, nth) in rows.iter().zip(0..) {
            let expected = [
                Field::Long(FIRST + nth * 1000),
                Field::Str("a".into()),
                Field::Long(nth),
            ];
            assert!(
                row.get_column_iter().map(|(_, field)| field).eq(&expected),
                "{row}"
            );
        }
        assert_eq!(table(&dir.join("db/rp/z.parquet")).1.len(), 3);
    }
}
