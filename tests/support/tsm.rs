//! TSM files made by hand, as wrong as a test wants them.

use std::collections::BTreeMap;

use influx_snap::tsm::values::{Points, ValueType, Values};
use influx_snap::tsm::writer::Writer;
use influx_snap::tsm::{HEADER, block};

/// A block, and what the index says of it.
#[derive(Clone, Debug)]
pub struct Block {
    /// The time of its first point.
    pub min: i64,
    /// The time of its last point.
    pub max: i64,
    /// Its CRC-32.
    pub crc: u32,
    /// Its bytes.
    pub bytes: Vec<u8>,
}

impl Block {
    /// A sound block of points at these times, of any type but `u64`.
    pub fn new(value_type: ValueType, times: &[i64]) -> Self {
        let values = match value_type {
            ValueType::Float => {
                Values::Float(times.iter().map(|time| *time as f64 / 7.0).collect())
            }
            ValueType::Integer => Values::Integer(
                times
                    .iter()
                    .map(|time| time.wrapping_mul(31) % 1000)
                    .collect(),
            ),
            ValueType::Boolean => Values::Boolean(times.iter().map(|time| time % 3 == 0).collect()),
            _ => Values::String(
                times
                    .iter()
                    .map(|time| format!("at {time}"))
                    .collect::<Vec<_>>()
                    .iter()
                    .collect(),
            ),
        };
        Self::of(&Points {
            times: times.to_vec(),
            values,
        })
    }

    /// A sound block of these points.
    pub fn of(points: &Points) -> Self {
        let bytes = block::encode(points).expect("points that can be packed");
        let (min, max) = (points.times[0], points.times[points.times.len() - 1]);
        Self {
            min,
            max,
            crc: crc32fast::hash(&bytes),
            bytes,
        }
    }
}

/// A key of the index with its blocks.
#[derive(Clone, Debug)]
pub struct Key {
    /// Series key and field.
    pub name: String,
    /// The byte that stands for the type.
    pub value_type: u8,
    /// Its blocks.
    pub blocks: Vec<Block>,
}

/// A key whose blocks have points at these times, a list each.
pub fn key(name: &str, value_type: ValueType, times: &[&[i64]]) -> Key {
    let blocks = times
        .iter()
        .map(|times| Block::new(value_type, times))
        .collect();
    Key {
        name: name.to_owned(),
        value_type: value_type.byte(),
        blocks,
    }
}

/// A file of these keys, in whatever order they are.
pub fn file(keys: &[Key]) -> Vec<u8> {
    let mut file = HEADER.to_vec();
    let mut index = Vec::new();
    for Key {
        name,
        value_type,
        blocks,
    } in keys
    {
        index.extend(
            u16::try_from(name.len())
                .expect("a short key")
                .to_be_bytes(),
        );
        index.extend(name.as_bytes());
        index.push(*value_type);
        index.extend(
            u16::try_from(blocks.len())
                .expect("a few blocks")
                .to_be_bytes(),
        );
        for block in blocks {
            index.extend(block.min.to_be_bytes());
            index.extend(block.max.to_be_bytes());
            index.extend((file.len() as u64).to_be_bytes());
            index.extend((block.bytes.len() as u32 + 4).to_be_bytes());
            file.extend(block.crc.to_be_bytes());
            file.extend(&block.bytes);
        }
    }
    let at = file.len() as u64;
    file.extend(index);
    file.extend(at.to_be_bytes());
    file
}

/// A file of points, each a line of line protocol with one field, an integer or a float.
pub fn of_lines(lines: &[&str]) -> Vec<u8> {
    let mut keys: BTreeMap<String, BTreeMap<i64, &str>> = BTreeMap::new();
    for line in lines {
        let mut words = line.split(' ');
        let mut word = || words.next().expect("a series, a field and a time");
        let (series, field, time) = (word(), word(), word());
        let (field, value) = field.split_once('=').expect("a value");
        let points = keys.entry(format!("{series}#!~#{field}")).or_default();
        points.insert(time.parse().expect("nanoseconds"), value);
    }
    let mut writer = Writer::new(Vec::new());
    for (key, points) in keys {
        let integers = points
            .values()
            .map(|value| value.strip_suffix('i')?.parse().ok());
        let values = match integers.collect::<Option<Vec<i64>>>() {
            Some(integers) => Values::Integer(integers),
            None => {
                let floats = points.values().map(|value| value.parse().expect("a float"));
                Values::Float(floats.collect())
            }
        };
        let begun = writer.begin_key(key.as_bytes(), values.value_type());
        begun.expect("a key");
        let times = points.into_keys().collect();
        let written = writer.points(&Points { times, values });
        written.expect("a block");
    }
    writer.finish().expect("a file").0
}
