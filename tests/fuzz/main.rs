//! Every decoder on any bytes at all: those of a corpus, and the same changed at random, alike in
//! each run.
//!
//! Nothing panics, no more memory is taken than few bytes are worth, and what an encoder can write
//! again comes back. The targets are those of `fuzz/`, where libFuzzer finds bytes of its own.
//! `SNAP_FUZZ_ROUNDS` asks for more rounds than the few of a test run. A process of its own,
//! because it looks at the memory that it took.

use std::env;
use std::fs;
use std::path::Path;

use influx_snap::tsm::index::IndexWalk;

mod targets;
#[path = "../support/tree.rs"]
#[allow(dead_code)]
mod tree;

/// The most memory that few bytes may take, all that runs here together.
const LIMIT_KIB: u64 = 256 << 10;

/// Numbers that look random and are the same in each run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 8) as usize % end.max(1)
    }
}

/// The files of the data sets, the small ones.
fn files() -> Vec<Vec<u8>> {
    let files = tree::files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("testdata")).into_iter();
    let mut files: Vec<_> = files
        .filter(|(name, bytes)| name.ends_with(".tsm") && bytes.len() < 4000)
        .collect();
    files.sort();
    files.into_iter().map(|(_, bytes)| bytes).collect()
}

/// Their blocks.
fn blocks() -> Vec<Vec<u8>> {
    let mut blocks = Vec::new();
    for file in files() {
        let mut walk = IndexWalk::open(&file[..]).expect("a TSM file");
        while walk.next_key().expect("a key").is_some() {
            while let Some(entry) = walk.next_entry().expect("a block") {
                blocks.push(file[entry.offset as usize + 4..][..entry.size as usize - 4].to_vec());
            }
        }
    }
    // One of each length: many are of a point each, and alike.
    blocks.sort_by_key(Vec::len);
    blocks.dedup_by_key(|block| (block.len(), block[0]));
    blocks
}

/// Changes bytes in one to four places.
fn change(bytes: &mut Vec<u8>, other: &[u8], numbers: &mut Numbers) {
    for _ in 0..=numbers.below(4) {
        let at = numbers.below(bytes.len());
        let count = numbers.below(9).min(bytes.len() - at);
        match numbers.below(7) {
            0 if !bytes.is_empty() => bytes[at] ^= 1 << numbers.below(8),
            1 if !bytes.is_empty() => bytes[at] = numbers.below(256) as u8,
            2 => bytes[at..at + count].fill([0, 0xff, 0x7f, 0x80][numbers.below(4)]),
            3 => drop(bytes.drain(at..at + count)),
            4 => drop(bytes.splice(at..at, (0..count).map(|_| 0x10))),
            5 => bytes.truncate(at),
            _ => {
                let from = numbers.below(other.len());
                bytes.splice(
                    at..at + count,
                    other[from..].iter().take(2 * count).copied(),
                );
            }
        }
    }
}

/// The seeds of a target, in `testdata/fuzz`.
fn seeds(name: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("testdata/fuzz")
        .join(name);
    tree::files(&folder).into_values().collect()
}

/// Runs a target on samples as they are, and then on so many that are changed.
fn endure(name: &str, samples: &[Vec<u8>], rounds: usize, target: fn(&[u8])) {
    let rounds = env::var("SNAP_FUZZ_ROUNDS").map_or(rounds, |rounds| {
        rounds.parse().expect("SNAP_FUZZ_ROUNDS: a number")
    });
    assert!(samples.len() > 3);
    samples.iter().for_each(|sample| target(sample));
    let mut numbers = Numbers(0x5eed);
    let place = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("fuzz-{name}"));
    for _ in 0..rounds {
        let mut bytes = samples[numbers.below(samples.len())].clone();
        let other = &samples[numbers.below(samples.len())];
        change(&mut bytes, other, &mut numbers);
        if std::panic::catch_unwind(|| target(&bytes)).is_err() {
            fs::write(&place, &bytes).expect("keeping the bytes");
            panic!("the bytes are in {}", place.display());
        }
    }
    assert!(peak_kib() < LIMIT_KIB, "{} KiB", peak_kib());
}

/// The most memory that this process has had, in KiB.
fn peak_kib() -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("what the process took");
    let peak = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("the most memory");
    let peak = peak.trim().trim_end_matches(" kB");
    peak.parse().expect("a number")
}

#[test]
fn blocks_endure_any_change() {
    endure("block", &blocks(), 20_000, targets::tsm::block);
}

#[test]
fn blocks_endure_any_change_behind_a_sum_that_is_right() {
    let target = targets::tsm::block_in_file;
    endure("block_in_file", &blocks(), 5_000, target);
}

#[test]
fn files_endure_any_change() {
    endure("file", &files(), 3_000, targets::tsm::file);
}

#[test]
fn tombstone_files_endure_any_change() {
    let target = targets::tsm::tombstone;
    endure("tombstone", &seeds("tombstone"), 20_000, target);
}

#[test]
fn wal_segments_endure_any_change() {
    let target = targets::tsm::wal_segment;
    endure("wal_segment", &seeds("wal_segment"), 20_000, target);
}

#[test]
fn tars_of_shards_endure_any_change() {
    let target = targets::shard_tar::shard_tar;
    endure("shard_tar", &seeds("shard_tar"), 5_000, target);
}

#[test]
fn compressed_files_endure_any_change() {
    let target = targets::repository::gzip;
    endure("gzip", &seeds("gzip"), 10_000, target);
}

#[test]
fn compressed_files_with_blocks_endure_any_change() {
    let target = targets::repository::gzip_blocks;
    endure("gzip_blocks", &seeds("gzip_blocks"), 10_000, target);
}

#[test]
fn requests_endure_any_change() {
    let target = targets::wire::request;
    endure("request", &seeds("request"), 20_000, target);
}

#[test]
fn metastores_in_their_frame_endure_any_change() {
    let target = targets::wire::meta_blob;
    endure("meta_blob", &seeds("meta_blob"), 20_000, target);
}

#[test]
fn lists_of_shards_endure_any_change() {
    let target = targets::wire::info;
    endure("info", &seeds("info"), 20_000, target);
}

#[test]
fn replies_to_imports_endure_any_change() {
    let target = targets::wire::shard_ids;
    endure("shard_ids", &seeds("shard_ids"), 20_000, target);
}

#[test]
fn metastores_endure_any_change() {
    let target = targets::metastore::metastore;
    endure("metastore", &seeds("metastore"), 10_000, target);
}

#[test]
fn manifests_endure_any_change() {
    let target = targets::repository::manifest;
    endure("manifest", &seeds("manifest"), 20_000, target);
}

#[test]
fn metastores_beside_a_manifest_endure_any_change() {
    let target = targets::repository::meta_file;
    endure("meta_file", &seeds("meta_file"), 10_000, target);
}

#[test]
fn records_endure_any_change() {
    let target = targets::repository::record;
    endure("record", &seeds("record"), 10_000, target);
}

/// A target that no test runs, or that libFuzzer does not know, would be forgotten.
#[test]
fn every_target_is_run_here_and_known_to_cargo_fuzz() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let manifest = fs::read_to_string(root.join("fuzz/Cargo.toml")).expect("a manifest");
    let here = include_str!("main.rs");
    let with_seeds = tree::names(&root.join("testdata/fuzz"));
    let targets: Vec<String> = tree::names(&root.join("fuzz/fuzz_targets"))
        .iter()
        .map(|name| name.trim_end_matches(".rs").to_owned())
        .collect();
    for name in &targets {
        assert!(here.contains(&format!("endure(\"{name}\"")), "{name}");
        let path = format!("path = \"fuzz_targets/{name}.rs\"");
        assert!(manifest.contains(&path), "{name}");
    }
    for name in with_seeds.iter().filter(|name| *name != "README.md") {
        assert!(targets.contains(name), "{name}");
    }
    assert_eq!(here.matches("endure(\"").count(), targets.len());
}
