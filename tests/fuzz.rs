//! Any bytes at all: real blocks and files, changed at random and in the same way in each run, through what the fuzz targets
//! hold. `SNAP_FUZZ_ROUNDS` asks for more than the few that are run else.

use std::env;
use std::fs;
use std::path::Path;

use influx_snap::tsm::index::IndexWalk;

#[path = "support/any_bytes.rs"]
mod targets;
#[path = "support/tree.rs"]
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

fn endure(name: &str, samples: &[Vec<u8>], rounds: usize, target: fn(&[u8])) {
    let rounds = env::var("SNAP_FUZZ_ROUNDS").map_or(rounds, |rounds| {
        rounds.parse().expect("SNAP_FUZZ_ROUNDS: a number")
    });
    assert!(samples.len() > 5);
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
    let status = fs::read_to_string("/proc/self/status").expect("what the process took");
    let most = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .expect("the most memory");
    let most: u64 = most
        .trim()
        .trim_end_matches(" kB")
        .parse()
        .expect("a number");
    assert!(most < LIMIT_KIB, "{most} KiB");
}

#[test]
fn blocks_endure_any_change() {
    endure("block", &blocks(), 20_000, targets::block);
}

#[test]
fn blocks_endure_any_change_behind_a_sum_that_is_right() {
    endure("block_in_file", &blocks(), 5_000, targets::block_in_file);
}

#[test]
fn files_endure_any_change() {
    endure("file", &files(), 3_000, targets::file);
}
