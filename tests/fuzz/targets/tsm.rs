//! TSM files and their blocks, tombstone files, WAL segments.

use std::io;

use influx_snap::time::Bounds;
use influx_snap::tsm::block::{self, Decoder};
use influx_snap::tsm::check::check;
use influx_snap::tsm::encoding::{DecodeError, EncodeError};
use influx_snap::tsm::export::{Overlap, overlap};
use influx_snap::tsm::file::Reader;
use influx_snap::tsm::filter;
use influx_snap::tsm::tombstone::{self, DeletedRanges, TombstoneRecord, TombstoneWriter};
use influx_snap::tsm::values::{Points, ValueType};
use influx_snap::tsm::wal::replay::Cache;
use influx_snap::tsm::wal::{self, NextEntry, Segment, WalEntry};
use influx_snap::tsm::writer::Writer;

/// More points than a fuzzer should spend its time on; a dozen bytes can be a million.
const MANY: usize = 20_000;

/// Bytes as a block: looking at them and unpacking them agree, and what was unpacked comes back
/// when packed.
pub fn block(bytes: &[u8]) {
    let checked = Decoder::default().check(bytes);
    let decoded = block::decode(bytes);
    match &decoded {
        Ok(points) if points.len() <= MANY => {
            let rises = points.times.is_sorted_by(|one, next| one < next);
            match block::encode(points) {
                Ok(packed) => {
                    assert!(rises);
                    let again = block::decode(&packed).expect("a block that was packed");
                    assert_eq!(block::encode(&again).as_ref(), Ok(&packed));
                    assert!(Decoder::default().check(&packed).is_ok());
                }
                Err(error) => assert!(error == EncodeError::TimeOrder && !rises, "{error}"),
            }
            match checked {
                Ok(summary) => {
                    assert_eq!(summary.value_type, points.values.value_type());
                    assert_eq!(summary.span.count, points.len());
                    assert_eq!(
                        (Some(&summary.span.first), Some(&summary.span.last)),
                        (points.times.first(), points.times.last())
                    );
                }
                Err(error) => assert_eq!(error, DecodeError::TimeOrder),
            }
        }
        Ok(_) => {}
        Err(error) => assert!(checked == Err(*error) || checked == Err(DecodeError::TimeOrder)),
    }
}

/// Bytes as a file: nothing panics, and a file without fault can be read and rewritten to one
/// without fault.
pub fn file(bytes: &[u8]) {
    let faults = check(bytes, Some(0..1 << 40), &mut |finding| {
        assert!(!finding.to_string().is_empty())
    });
    let sound = check(bytes, None, &mut |_| {}).is_ok_and(|report| report.faults == 0);
    assert!(faults.is_ok() || !sound);
    if let Ok(Overlap::Part(trimmed)) = overlap(
        bytes,
        Bounds {
            start: -10,
            end: 10,
        },
    ) {
        let _ = trimmed.write_to(bytes, &mut std::io::sink());
    }
    let read = read(bytes);
    assert!(read.is_some() || !sound);
    let Some((keys, times)) = read else { return };
    let (least, greatest) = (
        times.first().copied().unwrap_or(0),
        times.last().copied().unwrap_or(0),
    );
    let middle = times.get(times.len() / 2).copied().unwrap_or(0);
    // Some of every second key, and all of one.
    let deletes: DeletedRanges = keys
        .iter()
        .enumerate()
        .filter(|(at, _)| at % 2 == 0)
        .flat_map(|(at, key)| {
            let ranges = if at == 2 {
                vec![(i64::MIN, i64::MAX)]
            } else {
                vec![(least, middle), (5, 4)]
            };
            ranges.into_iter().map(|range| (&key[..], range))
        })
        .collect();
    for bounds in [
        Bounds::ALL,
        Bounds {
            start: middle,
            end: greatest,
        },
        Bounds {
            start: least,
            end: middle,
        },
    ] {
        let mut out = Vec::new();
        let rewritten = filter::rewrite(bytes, &mut deletes.reader(), bounds, &mut out);
        assert!(rewritten.is_ok() || !sound, "{rewritten:?}");
        if let Ok((_, Some(_))) = rewritten
            && sound
        {
            let report = check(&out[..], None, &mut |finding| panic!("{finding}"))
                .expect("a file that was written");
            assert!(report.points as usize <= times.len());
        }
    }
}

/// Bytes as a block in a file whose sums are right, so that what lies behind them is reached.
pub fn block_in_file(bytes: &[u8]) {
    let Some(value_type) = bytes.first().and_then(|&byte| ValueType::from_byte(byte)) else {
        return;
    };
    let span = Decoder::default()
        .check(bytes)
        .map(|summary| (summary.span.first, summary.span.last));
    let (first, last) = span.unwrap_or((0, 1));
    let mut writer = Writer::new(Vec::new());
    for key in [b"a#!~#v", b"b#!~#v", b"c#!~#v"] {
        writer
            .begin_key(key, value_type)
            .expect("keys in their order");
        writer
            .block(first, last, crc32(bytes), bytes)
            .expect("a block of the key's type");
    }
    let (out, _) = writer.finish().expect("memory is written");
    assert_eq!(
        check(&out[..], None, &mut |_| {}).map_or(0, |report| report.faults) == 0,
        span.is_ok()
    );
    file(&out);
}

/// Bytes as a tombstone file of any version: its records come back from one that is written.
pub fn tombstone(bytes: &[u8]) {
    let records = |bytes: &[u8]| {
        let mut records = Vec::new();
        let ending = tombstone::read_until_error(bytes, |TombstoneRecord { key, min, max }| {
            if records.len() == MANY {
                return Err(io::Error::other("enough"));
            }
            records.push((key.to_vec(), min, max));
            Ok(())
        });
        (records, ending)
    };
    let (found, ending) = records(bytes);
    assert!(found.iter().all(|(key, ..)| !key.is_empty()));
    assert_eq!(
        tombstone::read(bytes, |_| {}).is_err(),
        ending.is_err() && found.len() < MANY
    );
    let mut writer = TombstoneWriter::new(Vec::new()).expect("memory is written");
    for (key, min, max) in &found {
        let (min, max) = (*min, *max);
        writer
            .record(TombstoneRecord { key, min, max })
            .expect("a key of a tombstone");
    }
    let written = writer.finish().expect("memory is written");
    let (again, ending) = records(&written);
    assert!(again == found && matches!(ending, Ok(tombstone::TombstoneEnding::Clean)));
}

/// Bytes as a segment of a WAL: what its entries leave comes in the order of keys and times.
pub fn wal_segment(bytes: &[u8]) {
    let mut segment = Segment::new(bytes);
    let (mut points, mut keys) = (0, 0);
    let ending = loop {
        match segment.next_entry() {
            Ok(NextEntry::Entry(WalEntry::Write(writes))) => {
                for written in writes {
                    let count = written.points().count();
                    assert!(count > 0);
                    points += count;
                }
            }
            Ok(NextEntry::Entry(
                WalEntry::Delete(deleted) | WalEntry::DeleteRange { keys: deleted, .. },
            )) => {
                keys += deleted.count();
            }
            Ok(NextEntry::End(ending)) => break Some(ending),
            Err(_) => break None,
        }
    };
    if let Some(wal::SegmentEnding::Torn { offset, fault }) = ending {
        assert!(offset < bytes.len() as u64 && !fault.to_string().is_empty());
        // What stands before the entry that is not sound is a segment of its own.
        let mut before = Cache::new(&std::env::temp_dir(), usize::MAX);
        let ending = before
            .replay(&bytes[..offset as usize])
            .expect("memory is read");
        assert_eq!(ending, wal::SegmentEnding::Clean);
    }
    if points + keys > MANY {
        return;
    }
    let mut cache = Cache::new(&std::env::temp_dir(), usize::MAX);
    assert_eq!(cache.replay(bytes).ok(), ending);
    let (mut last, mut left) = (None, 0);
    let handed_out = cache.finish(|key, time, _| {
        let this = Some((key.to_vec(), time));
        assert!(last < this);
        (last, left) = (this, left + 1);
        io::Result::Ok(())
    });
    handed_out.expect("nothing fails in memory");
    assert!(left <= points);
}

/// The CRC-32 of gzip, bit by bit: the bytes are few.
fn crc32(bytes: &[u8]) -> u32 {
    let step = |crc: u32| {
        if crc & 1 == 1 {
            crc >> 1 ^ 0xEDB8_8320
        } else {
            crc >> 1
        }
    };
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| step(crc))
    })
}

/// The keys of a file and all times in it, sorted; none where it is damaged or has too many points.
fn read(bytes: &[u8]) -> Option<(Vec<Vec<u8>>, Vec<i64>)> {
    let mut reader = Reader::open(bytes).ok()?;
    let (mut keys, mut times) = (Vec::new(), Vec::new());
    let mut points = Points::new(ValueType::Float);
    while let Some(key) = reader.next_key().ok()? {
        keys.push(key.bytes.to_vec());
        while reader.next_points(&mut points).ok()? {
            times.extend(&points.times);
        }
    }
    times.sort_unstable();
    Some((keys, times))
}
