//! How much memory an export takes of very many series, and of a very long one: of backups made by
//! hand, as no server has to be asked for their points.

use std::fs;
use std::path::Path;

use influx_snap::tsm::values::{Points, ValueType, Values};
use influx_snap::tsm::writer::Writer;

use super::measure::{DIR, Usage};
use super::support::handmade;
use super::support::tsm::Block;
use super::support::utf8;

/// The most memory that an export is meant to take, in bytes.
pub const AT_MOST: u64 = 64 << 20;

/// The shard of each backup.
const SHARD: handmade::Shard<'_> = ("d", "autogen", 1);
/// Points of a block.
const BLOCK: i64 = 1000;
/// Blocks of a key in a file, which can have 65,535.
const BLOCKS: i64 = 50_000;

/// A backup whose export is measured.
pub struct LargeBackup {
    pub name: &'static str,
    /// How many series it has, and how many points each.
    series: i64,
    points: i64,
}

pub const BACKUPS: [LargeBackup; 2] = [
    LargeBackup {
        name: "200,000 series of 10 points",
        series: 200_000,
        points: 10,
    },
    LargeBackup {
        name: "one series of 100 million points",
        series: 1,
        points: 100_000_000,
    },
];

impl LargeBackup {
    /// Points in all, of a backup so much smaller.
    pub fn points(&self, scale: f64) -> u64 {
        let (series, points) = self.scaled(scale);
        (series * points) as u64
    }

    fn scaled(&self, scale: f64) -> (i64, i64) {
        let scaled = |count: i64| ((count as f64 * scale) as i64).max(1);
        match self.series {
            1 => (1, scaled(self.points)),
            series => (scaled(series), self.points),
        }
    }

    /// Makes it.
    pub fn make(&self, dir: &Path, scale: f64) {
        let (series, points) = self.scaled(scale);
        fs::create_dir(dir).expect("a fresh directory");
        fs::write(dir.join("meta.00"), handmade::meta(&[SHARD])).expect("a metastore");
        let starts = (0..points).step_by((BLOCK * BLOCKS) as usize);
        let files: Vec<(String, Vec<u8>)> = (1..)
            .zip(starts)
            .map(|(number, start)| {
                let end = points.min(start + BLOCK * BLOCKS);
                let name = format!("{number:09}-000000001.tsm");
                (name, file(series, start, end))
            })
            .collect();
        let files: Vec<(&str, &[u8])> = (files.iter())
            .map(|(name, content)| (name.as_str(), content.as_slice()))
            .collect();
        let tar = handmade::shard_tar(SHARD, &files);
        fs::write(dir.join(handmade::shard_file(SHARD, 0)), tar).expect("a shard");
    }
}

/// The command that exports a backup, into the directory of a run.
pub fn export(set: &Path, format: &str, out: &str) -> Vec<String> {
    let out = format!("{DIR}/{out}");
    let snap = env!("CARGO_BIN_EXE_snap");
    let set = utf8(set);
    [snap, "export", "-quiet", "-format", format, "-o", &out, set]
        .map(str::to_owned)
        .into()
}

/// A TSM file with points of each series from the second `start` up to `end`.
fn file(series: i64, start: i64, end: i64) -> Vec<u8> {
    let mut writer = Writer::new(Vec::new());
    for nth in 0..series {
        let key = format!(
            "measurement,host=server{nth:08},rack=r{:03}#!~#value",
            nth % 500
        );
        let begun = writer.begin_key(key.as_bytes(), ValueType::Float);
        begun.expect("keys in their order");
        let seconds: Vec<i64> = (start..end).collect();
        for seconds in seconds.chunks(BLOCK as usize) {
            let values = seconds.iter().map(|second| (second % 4000) as f64 / 4.0);
            let block = Block::of(&Points {
                times: seconds
                    .iter()
                    .map(|second| second * 1_000_000_000)
                    .collect(),
                values: Values::Float(values.collect()),
            });
            let written = writer.block(block.min, block.max, block.crc, &block.bytes);
            written.expect("a block");
        }
    }
    writer.finish().expect("a file").0
}

/// What of a backup in a format was measured.
pub struct MemoryLine {
    pub backup: &'static str,
    pub format: &'static str,
    pub points: u64,
    pub usage: Usage,
}
