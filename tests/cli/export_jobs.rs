//! `snap export -jobs`: what is written and told is the same, whatever the number of threads.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use influx_snap::tsm::values::{Points, Strings, Values};
use influx_snap::tsm::writer::Writer;

use crate::support::handmade::{self, shard_file, shard_tar};
use crate::support::process::Snap;
use crate::support::{folder, tree, utf8};

const FIRST: i64 = 1_528_675_200_000_000_000;

/// The fields of a series, each with the values of its blocks, whose points come one after the other.
type Fields = BTreeMap<String, Vec<Values>>;

/// A TSM file with series of these fields, from so many seconds on.
fn file(series: &BTreeMap<String, Fields>, start: i64) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    let keys = series.iter().flat_map(|(series, fields)| {
        let fields = fields.iter();
        fields.map(move |(field, blocks)| (format!("{series}#!~#{field}"), blocks))
    });
    let keys: BTreeMap<String, &Vec<Values>> = keys.collect();
    for (key, blocks) in keys {
        let begun = writer.begin_key(key.as_bytes(), blocks[0].value_type());
        begun.expect("a key");
        let mut second = start;
        for values in blocks {
            let times = (0..values.len() as i64).map(|nth| FIRST + (second + nth) * 1_000_000_000);
            let points = Points {
                times: times.collect(),
                values: values.clone(),
            };
            writer.points(&points).expect("a block");
            second += values.len() as i64;
        }
    }
    writer.finish().expect("a file").0
}

/// Series of every kind that are divided among threads in another way: very many small ones, some of
/// many blocks, of many fields, and of large strings.
fn series(salt: i64) -> BTreeMap<String, Fields> {
    let floats = |count: i64, from: i64| {
        Values::Float(
            (0..count)
                .map(|nth| (nth * 7 + from + salt) as f64 / 8.0)
                .collect(),
        )
    };
    let mut all = BTreeMap::new();
    for nth in 0..900 {
        let fields = [
            ("f".to_owned(), vec![floats(1 + nth % 3, nth)]),
            (
                "i".to_owned(),
                vec![Values::Integer((0..nth % 4 + 1).collect())],
            ),
        ];
        all.insert(format!("many,host=h{nth:05}"), fields.into());
    }
    let long = (0..150).map(|nth| floats(1000, nth)).collect();
    all.insert("long,host=a".to_owned(), [("f".to_owned(), long)].into());
    let short = vec![floats(700, 1)];
    all.insert("long,host=b".to_owned(), [("f".to_owned(), short)].into());
    let wide = (0..1500).map(|nth| (format!("f{nth:04}"), vec![floats(2, nth)]));
    all.insert("wide".to_owned(), wide.collect());
    let texts: Vec<String> = (0..20)
        .map(|nth| format!("{nth}\n").repeat(30_000))
        .collect();
    let texts = Values::String(texts.iter().collect::<Strings>());
    all.insert("zs,t=x".to_owned(), [("s".to_owned(), vec![texts])].into());
    all
}

/// A backup of two shards, one of two files that overlap.
fn backup(dir: &Path) -> PathBuf {
    let names = [("db", "rp", 1), ("db", "rp", 2)];
    fs::create_dir(dir).expect("a directory");
    fs::write(dir.join("meta.00"), handmade::meta(&names)).expect("a metastore");
    let (first, second) = (file(&series(0), 0), file(&series(3), 40));
    let files: [(&str, &[u8]); 2] = [
        ("000000001-000000001.tsm", &first),
        ("000000002-000000001.tsm", &second),
    ];
    let shards = [
        shard_tar(names[0], &files),
        shard_tar(names[1], &files[1..]),
    ];
    for (name, tar) in names.iter().zip(shards) {
        fs::write(dir.join(shard_file(*name, 0)), tar).expect("a shard");
    }
    dir.to_owned()
}

/// Damages blocks of the first file: one in ten thousand bytes.
fn damage(dir: &Path) {
    let path = dir.join(shard_file(("db", "rp", 1), 0));
    let mut bytes = fs::read(&path).expect("a tar");
    let header = [0x16, 0xD1, 0x16, 0xD1, 1];
    let start = bytes.windows(5).position(|window| window == header);
    let start = start.expect("a file");
    (1..20).for_each(|nth| bytes[start + 10_000 * nth] ^= 0x10);
    fs::write(path, bytes).expect("a tar");
}

#[test]
fn whatever_the_number_of_threads_the_same_is_written_and_told() {
    let place = folder();
    let sound = backup(&place.path().join("sound"));
    let damaged = backup(&place.path().join("damaged"));
    damage(&damaged);
    let export = |set: &Path, flags: &[&str], jobs: &str, code: i32| {
        let dir = place.path().join("out");
        fs::create_dir(&dir).expect("a directory");
        let run = Snap::new(["export", "-json", "-jobs", jobs])
            .args(flags)
            .args([utf8(set)])
            .dir(&dir)
            .run()
            .expect(code);
        let files = tree::files(&dir);
        fs::remove_dir_all(&dir).expect("removing the export");
        let mut summary = run.last_message();
        assert_eq!(summary["series"], 904, "{summary}");
        let seconds = summary.as_object_mut().map(|all| all.remove("seconds"));
        assert!(seconds.is_some());
        (files, summary)
    };
    for flags in [
        &["-o", "x.lp"][..],
        &[
            "-o",
            "x.lp.gz",
            "-target",
            "influxdb3",
            "-newline",
            "escape",
        ],
        &["-o", "x.lp", "-max-lines", "3000", "-max-bytes", "500KiB"],
        &["-format", "csv", "-o", "x"],
        &["-format", "csv.gz", "-split", "-o", "x"],
        #[cfg(feature = "parquet")]
        &["-format", "parquet", "-o", "x"],
    ] {
        for (set, is_damaged) in [(&sound, false), (&damaged, true)] {
            let is_target = flags.contains(&"-target");
            let code = if is_damaged || is_target { 3 } else { 0 };
            let (files, summary) = export(set, flags, "1", code);
            assert!(!files.is_empty());
            let (others, other) = export(set, flags, "5", code);
            assert_eq!(other, summary, "{flags:?}");
            assert!(others == files, "{flags:?}");
        }
    }
}
