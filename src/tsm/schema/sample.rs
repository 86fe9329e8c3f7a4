//! How many points the blocks of a file have on average, by a look at few of them.
//!
//! The index does not tell, and a block tells only with its times. Within a file, blocks of a
//! measurement differ little: all of a key but the last are full as a rule, and the last blocks of
//! keys that were written together have as many points each.

use std::collections::HashMap;

use super::super::block;
use super::super::file::CRC_BYTES;
use super::super::index::{BlockEntry, IndexError, IndexWalk};
use super::super::series::{SeriesKey, split_key};
use super::super::writer::MAX_POINTS_PER_BLOCK;
use crate::io::read_at::ReadAt;

/// Bytes of a block in which its times are looked for: room for a thousand that are not packed.
const BEGINNING: usize = 16 << 10;

/// How many points blocks have on average.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct PointsPerBlock {
    /// The last block of a key.
    pub last: f64,
    /// The others.
    pub others: f64,
}

/// What was seen of the blocks of a file.
#[derive(Debug, Default)]
pub(crate) struct BlockSample {
    measurements: HashMap<Box<[u8]>, Averages>,
    /// Of all measurements.
    all: Averages,
}

#[derive(Debug, Clone, Default)]
struct Averages {
    last: Average,
    others: Average,
}

#[derive(Debug, Clone, Default)]
struct Average {
    /// Blocks passed so far.
    passed: u64,
    /// Blocks looked at, and their points.
    blocks: u64,
    points: u64,
}

impl BlockSample {
    /// Walks the index of a file to its end, and looks at no more than `most` blocks on the way:
    /// of each measurement the first, the second, the fourth and so on, of last blocks and of
    /// others.
    ///
    /// # Errors
    ///
    /// The first fault of the index. A block that is damaged is passed over.
    pub(crate) fn take(content: &(impl ReadAt + ?Sized), most: usize) -> Result<Self, IndexError> {
        let mut sampler = Sampler {
            content,
            left: most,
            buffer: Vec::new(),
        };
        let mut sample = Self::default();
        let mut walk = IndexWalk::open(content)?;
        let mut name: Vec<u8> = Vec::new();
        let mut of_name = Averages::default();
        while let Some(key) = walk.next_key()? {
            let (series, _) = split_key(key.bytes);
            let mut left = key.count;
            if series.escaped_measurement() != name {
                sample.put(&name, std::mem::take(&mut of_name));
                name.clear();
                name.extend_from_slice(series.escaped_measurement());
                of_name = sample.measurements.remove(&name[..]).unwrap_or_default();
            }
            while let Some(entry) = walk.next_entry()? {
                left -= 1;
                match left {
                    0 => sampler.pass(&entry, &mut of_name.last)?,
                    _ => sampler.pass(&entry, &mut of_name.others)?,
                }
            }
        }
        sample.put(&name, of_name);
        for averages in sample.measurements.values() {
            sample.all.last.add(&averages.last);
            sample.all.others.add(&averages.others);
        }
        Ok(sample)
    }

    /// Keeps what was seen of a measurement, if anything was.
    fn put(&mut self, measurement: &[u8], averages: Averages) {
        if averages.last.blocks + averages.others.blocks > 0 {
            self.measurements.insert(measurement.into(), averages);
        }
    }

    /// How many points the blocks of a series have.
    pub(super) fn of(&self, series: SeriesKey<'_>) -> PointsPerBlock {
        let of_measurement = self.measurements.get(series.escaped_measurement());
        let mean = |of: fn(&Averages) -> &Average| {
            let own = of_measurement.and_then(|averages| of(averages).mean());
            own.or_else(|| of(&self.all).mean())
                .unwrap_or(MAX_POINTS_PER_BLOCK as f64)
        };
        PointsPerBlock {
            last: mean(|averages| &averages.last),
            others: mean(|averages| &averages.others),
        }
    }
}

impl Average {
    fn add(&mut self, other: &Self) {
        self.blocks += other.blocks;
        self.points += other.points;
    }

    fn mean(&self) -> Option<f64> {
        (self.blocks > 0).then(|| self.points as f64 / self.blocks as f64)
    }
}

/// Looks at blocks.
struct Sampler<'a, R: ?Sized> {
    content: &'a R,
    /// How many blocks may still be looked at.
    left: usize,
    buffer: Vec<u8>,
}

impl<R: ReadAt + ?Sized> Sampler<'_, R> {
    /// Passes a block, and looks at it if it is its turn.
    fn pass(&mut self, entry: &BlockEntry, average: &mut Average) -> Result<(), IndexError> {
        average.passed += 1;
        if self.left == 0 || !average.passed.is_power_of_two() {
            return Ok(());
        }
        self.left -= 1;
        let size = usize::try_from(entry.size).unwrap_or(usize::MAX);
        let size = size.saturating_sub(CRC_BYTES).min(BEGINNING);
        self.buffer.resize(size, 0);
        let offset = entry.offset + CRC_BYTES as u64;
        let read = self.content.read_exact_at(&mut self.buffer, offset);
        read.map_err(|source| IndexError::Read { offset, source })?;
        if let Ok(points) = block::point_count(&self.buffer) {
            average.blocks += 1;
            average.points += points as u64;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::values::{Points, Values};
    use super::super::super::writer::tests::write_all;
    use super::*;

    fn points(count: i64, from: i64) -> Points {
        Points {
            times: (from..from + count).collect(),
            values: Values::Integer((0..count).collect()),
        }
    }

    /// Three measurements, each with as many points in its last blocks as its name says.
    fn file() -> Vec<u8> {
        let key = |text: String| text.into_bytes();
        let mut keys = Vec::new();
        for nth in 0..100 {
            keys.push((key(format!("m10,h={nth:03}#!~#v")), vec![points(10, 0)]));
        }
        for nth in 0..100 {
            let blocks = vec![points(1000, 0), points(300, 2000)];
            keys.push((key(format!("m300,h={nth:03}#!~#v")), blocks));
        }
        keys.push((b"m7#!~#v".to_vec(), vec![points(7, 0)]));
        write_all(&keys)
    }

    fn of(sample: &BlockSample, key: &str) -> (f64, f64) {
        let means = sample.of(split_key(key.as_bytes()).0);
        (means.last, means.others)
    }

    #[test]
    fn few_blocks_tell_of_the_others_of_their_measurement() {
        let sample = BlockSample::take(&file()[..], 100).unwrap();
        assert_eq!(of(&sample, "m300,h=099#!~#v"), (300.0, 1000.0));
        // Of this one there are no others but the last.
        assert_eq!(of(&sample, "m10,h=5#!~#v"), (10.0, 1000.0));
        assert_eq!(of(&sample, "m7#!~#v"), (7.0, 1000.0));
        let looked_at = sample.all.last.blocks + sample.all.others.blocks;
        assert_eq!(looked_at, 7 + 7 + 7 + 1);
    }

    #[test]
    fn no_more_blocks_are_looked_at_than_allowed() {
        let sample = BlockSample::take(&file()[..], 7).unwrap();
        assert_eq!(sample.all.last.blocks, 7);
        // The average of the file stands in for what was not looked at.
        assert_eq!(of(&sample, "m300#!~#v"), (10.0, 1000.0));
        let none = BlockSample::take(&file()[..], 0).unwrap();
        assert_eq!(of(&none, "m7#!~#v"), (1000.0, 1000.0));
    }

    #[test]
    fn damaged_blocks_are_passed_over_and_a_damaged_index_is_not() {
        let mut file = file();
        file[9..30].fill(0xff);
        let sample = BlockSample::take(&file[..], 100).unwrap();
        assert_eq!(of(&sample, "m10,h=5#!~#v").0, 10.0);
        let end = file.len();
        // The type of the blocks of the last key.
        file[end - 39] ^= 0x80;
        assert!(BlockSample::take(&file[..], 100).is_err());
    }
}
