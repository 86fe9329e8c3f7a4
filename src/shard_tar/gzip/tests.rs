//! Writer and reader together, and what becomes of damage.

use std::cell::Cell;
use std::io::{self, Read, Write};
use std::thread;

use flate2::Compression;
use flate2::read::{GzDecoder, GzEncoder, MultiGzDecoder};
use proptest::prelude::*;

use super::member::{MOST_PACKED, pack, unpack};
use super::*;

const NAME: &str = "20261120T080000Z.s1.tar";

/// Numbers that look random and are the same in each run.
fn noise(count: usize, seed: u64) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 32) as u8
    };
    (0..count).map(|_| next()).collect()
}

/// Some that shrink and some that do not, in stretches of no even length.
fn content(count: usize, seed: u64) -> Vec<u8> {
    let mut bytes = noise(count, seed);
    for stretch in bytes.chunks_mut(50_021).skip(seed as usize % 3).step_by(2) {
        stretch.iter_mut().for_each(|byte| *byte %= 11);
    }
    bytes
}

fn packed(content: &[u8]) -> (Vec<u8>, Blocks) {
    let mut writer = GzipWriter::new(NAME, Vec::new());
    writer.write_all(content).unwrap();
    with_blocks(writer)
}

/// The file, and where its blocks are.
fn with_blocks(writer: GzipWriter<Vec<u8>>) -> (Vec<u8>, Blocks) {
    let (packed, blocks) = writer.finish().unwrap();
    (packed, blocks.expect("members"))
}

/// What the usual way to read gzip makes of a file.
fn unpacked(packed: &[u8]) -> Vec<u8> {
    let mut decoder = MultiGzDecoder::new(packed);
    let name = decoder.header().unwrap().filename();
    assert_eq!(name, Some(NAME.as_bytes()));
    let mut unpacked = Vec::new();
    decoder.read_to_end(&mut unpacked).unwrap();
    unpacked
}

/// All of a file, which is whole, in pieces of the sizes given, which repeat.
fn in_pieces(mut reader: impl Read, sizes: &[usize]) -> io::Result<Vec<u8>> {
    let mut all = Vec::new();
    let mut buffer = vec![0; sizes.iter().copied().max().unwrap_or(1)];
    for size in sizes.iter().cycle() {
        match reader.read(&mut buffer[..*size])? {
            0 => break,
            count => all.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(all)
}

fn by_block<'a>(packed: &'a [u8], blocks: &Blocks) -> BlockReader<&'a [u8]> {
    BlockReader::new(packed, packed.len() as u64, blocks).expect("blocks that make the file")
}

/// Gives few bytes at a time, and fails where it is told to.
struct Source<'a> {
    bytes: &'a [u8],
    at_a_time: usize,
    fails: bool,
}

impl Read for Source<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.bytes.is_empty() && self.fails {
            return Err(rustix::io::Errno::IO.into());
        }
        let count = buffer.len().min(self.at_a_time);
        self.bytes.read(&mut buffer[..count])
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn what_is_packed_in_any_pieces_is_unpacked_again(
        count in 0..3 * BLOCK, seed in 1_u64..1000,
        written in prop::collection::vec(1_usize..3 * BLOCK, 1..5),
        taken in prop::collection::vec(1_usize..3 * BLOCK, 1..5),
        at_a_time in 100_usize..BLOCK,
    ) {
        let content = content(count, seed);
        let mut writer = GzipWriter::new(NAME, Vec::new());
        let mut rest = &content[..];
        for size in written.iter().cycle() {
            if rest.is_empty() {
                break;
            }
            let (piece, behind) = rest.split_at(rest.len().min(*size));
            writer.write_all(piece).unwrap();
            rest = behind;
        }
        let (packed, blocks) = with_blocks(writer);
        prop_assert!(unpacked(&packed) == content);
        prop_assert!(in_pieces(by_block(&packed, &blocks), &taken).unwrap() == content);
        let source = Source { bytes: &packed, at_a_time, fails: false };
        let reader = BlockReader::new(source, packed.len() as u64, &blocks).unwrap();
        prop_assert!(in_pieces(reader, &taken).unwrap() == content);
        // Behind a member of another compressor.
        let mut usual = GzEncoder::new(&content[..], Compression::fast());
        let mut members = Vec::new();
        usual.read_to_end(&mut members).unwrap();
        members.extend_from_slice(&packed);
        let source = Source { bytes: &members, at_a_time, fails: false };
        let again = in_pieces(GzipReader::serial(source), &taken).unwrap();
        prop_assert!(again == [&content[..], &content].concat());
    }

    #[test]
    fn a_block_of_any_bytes_is_unpacked_alone_and_no_larger_than_it_can_be(
        count in 1..=BLOCK, seed in 1_u64..1000, shrinks in any::<bool>(),
    ) {
        let plain = if shrinks { content(count, seed) } else { noise(count, seed) };
        let mut packed = Vec::new();
        pack(None, &plain, &mut packed);
        prop_assert!(packed.len() <= MOST_PACKED);
        let mut again = Vec::new();
        prop_assert!(unpack(&packed, count, &mut again));
        prop_assert!(again == plain);
        prop_assert!(!unpack(&packed, count - 1, &mut again));
        packed.push(0);
        prop_assert!(!unpack(&packed, count, &mut again));
    }
}

#[test]
fn content_that_ends_with_a_block_or_beside_one_comes_back_byte_by_byte() {
    for count in [0, 1, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK - 1, 3 * BLOCK] {
        let content = content(count, 7);
        let mut writer = GzipWriter::new(NAME, Vec::new());
        content
            .chunks(1)
            .for_each(|byte| writer.write_all(byte).unwrap());
        let (packed, blocks) = with_blocks(writer);
        assert!(unpacked(&packed) == content, "{count}");
        let again = in_pieces(by_block(&packed, &blocks), &[1]).unwrap();
        assert!(again == content, "{count}");
    }
}

#[test]
fn one_member_of_any_blocks_is_read_by_what_reads_no_further() {
    for count in [0, 1, BLOCK - 1, BLOCK, 3 * BLOCK + 7] {
        let content = content(count, 5);
        let mut writer = GzipWriter::one_member(NAME, Vec::new());
        writer.write_all(&content).unwrap();
        let (packed, blocks) = writer.finish().unwrap();
        assert_eq!(blocks, None);
        let mut decoder = GzDecoder::new(&packed[..]);
        let mut unpacked = Vec::new();
        decoder.read_to_end(&mut unpacked).unwrap();
        assert!(unpacked == content, "{count}");
        let name = decoder.header().unwrap().filename();
        assert_eq!(name, Some(NAME.as_bytes()));
        assert!(decoder.into_inner().is_empty());
    }
}

#[test]
fn what_shrinks_is_compressed_and_what_does_not_takes_next_to_nothing_more() {
    let (small, _) = packed(&vec![7; 4 * BLOCK]);
    assert!(small.len() < BLOCK / 8, "{}", small.len());
    let (large, blocks) = packed(&noise(4 * BLOCK, 3));
    assert!(
        large.len() < 4 * BLOCK + 4 * BLOCK / 4096,
        "{}",
        large.len()
    );
    let first = MOST_PACKED + NAME.len() + 1;
    assert_eq!(blocks.compressed, format!("{first} 3*{MOST_PACKED}"));
}

#[test]
fn a_member_begins_as_influxds_does_but_for_the_time_that_means_nothing() {
    let packed = GzipWriter::new("20261123T014450Z.s1.tar", Vec::new())
        .finish()
        .unwrap()
        .0;
    let influxd = b"\x1f\x8b\x08\x08\x00\x09\x6e\x88\x00\xff20261123T014450Z.s1.tar\x00";
    assert_eq!(
        (&packed[..4], &packed[8..influxd.len()]),
        (&influxd[..4], &influxd[8..])
    );
}

/// Says no to all that would make it longer than that.
struct Full<'a>(&'a Cell<usize>);

impl Write for Full<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let room = self.0.get().checked_sub(bytes.len());
        self.0.set(room.ok_or(rustix::io::Errno::NOSPC)?);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn an_error_of_the_sink_is_told_and_nothing_ends_well_after_it() {
    let content = noise(12 * BLOCK, 1);
    for room in [0, 5, BLOCK, 4 * BLOCK, 12 * BLOCK] {
        let left = Cell::new(room);
        let mut writer = GzipWriter::new(NAME, Full(&left));
        let written = writer.write_all(&content);
        if let Err(error) = &written {
            assert_eq!(error.kind(), io::ErrorKind::StorageFull, "{room}");
        }
        assert!(writer.finish().is_err(), "{room}");
    }
    let left = Cell::new(4 * BLOCK);
    let mut writer = GzipWriter::new(NAME, Full(&left));
    assert!(writer.write_all(&content).is_err());
    left.set(100 * BLOCK);
    assert!(writer.finish().is_err(), "a block is missing");
}

#[test]
fn what_is_dropped_half_way_holds_nothing_up() {
    let content = content(8 * BLOCK, 2);
    let (packed, blocks) = packed(&content);
    for taken in [0, 1, BLOCK, 3 * BLOCK + 1] {
        let mut writer = GzipWriter::new(NAME, Vec::new());
        writer.write_all(&content[..taken]).unwrap();
        drop(writer);
        let mut reader = by_block(&packed, &blocks);
        reader.read_exact(&mut vec![0; taken]).unwrap();
    }
    assert!(in_pieces(by_block(&packed, &blocks), &[BLOCK]).unwrap() == content);
}

#[test]
fn eight_files_at_a_time_are_written_and_read() {
    thread::scope(|scope| {
        for nth in 0..8 {
            scope.spawn(move || {
                for round in 0..2 {
                    let content =
                        content((1 + nth % 4) * BLOCK + nth * 999, 8 * round + nth as u64);
                    let (packed, blocks) = packed(&content);
                    let again = in_pieces(by_block(&packed, &blocks), &[70_000]).unwrap();
                    assert!(again == content, "{nth}");
                }
            });
        }
    });
}

/// A small file of three blocks, its blocks, and what is in it.
fn small_file() -> (Vec<u8>, Blocks, Vec<u8>) {
    let content = content(100, 4);
    let (mut file, mut member, mut name) = (Vec::new(), Vec::new(), Some(NAME));
    let mut lengths = Vec::new();
    for block in content.chunks(40) {
        pack(name.take(), block, &mut member);
        lengths.push(member.len().to_string());
        file.extend_from_slice(&member);
    }
    let compressed = lengths.join(" ");
    let blocks = Blocks {
        size: 40,
        compressed,
    };
    (file, blocks, content)
}

/// Reads a file with blocks that make a file of `size` bytes; none where they are not taken.
fn read(file: &[u8], size: usize, blocks: &Blocks) -> Option<io::Result<Vec<u8>>> {
    let mut reader = BlockReader::new(file, size as u64, blocks)?;
    let mut all = Vec::new();
    Some(reader.read_to_end(&mut all).map(|_| all))
}

#[test]
fn any_damage_is_found_or_harmless() {
    let (file, blocks, content) = small_file();
    let size = file.len();
    assert!(read(&file, size, &blocks).unwrap().unwrap() == content);
    assert!(unpacked(&file) == content);
    let (mut found, mut harmless) = (0, 0);
    for at in 0..size {
        for bit in 0..8 {
            let mut damaged = file.clone();
            damaged[at] ^= 1 << bit;
            match read(&damaged, size, &blocks).unwrap() {
                Err(error) => {
                    let offset = damaged_at(&error).unwrap() as usize;
                    assert!(offset <= at, "{at} {bit}");
                    found += 1;
                }
                Ok(all) => {
                    assert!(all == content, "{at} {bit}");
                    harmless += 1;
                }
            }
        }
        let cut = read(&file[..at], size, &blocks).unwrap();
        let offset = damaged_at(&cut.unwrap_err()).unwrap();
        assert!(offset <= at as u64, "{offset} {at}");
    }
    // Time, flags and system, the name, and the bits that deflate skips before what is stored.
    assert_eq!((found + harmless, harmless > 48), (8 * size, true));
    let longer = [&file[..], &[0]].concat();
    let error = read(&longer, size, &blocks).unwrap().unwrap_err();
    assert_eq!(damaged_at(&error), Some(size as u64));
}

#[test]
fn damage_where_no_blocks_are_known_is_found_as_others_find_it() {
    let (file, blocks, content) = small_file();
    let mut ends = Vec::new();
    for words in [&blocks.compressed, &blocks.compressed] {
        for word in words.split(' ') {
            let bytes: usize = word.parse().unwrap();
            ends.push(ends.last().unwrap_or(&0) + bytes);
        }
    }
    let two = [&file[..], &file].concat();
    let read = |mut reader: Box<dyn Read + '_>| {
        let mut all = Vec::new();
        reader.read_to_end(&mut all).map(|_| all).ok()
    };
    for at in 0..two.len() {
        let cut = &two[..at];
        let usual = read(Box::new(MultiGzDecoder::new(cut)));
        assert_eq!(
            read(Box::new(GzipReader::serial(cut))),
            usual,
            "cut at {at}"
        );
        // The end of a member is the end of a file.
        assert_eq!(usual.is_some(), ends.contains(&at));
        for bit in 0..8 {
            let mut damaged = two.clone();
            damaged[at] ^= 1 << bit;
            let usual = read(Box::new(MultiGzDecoder::new(&damaged[..])));
            let found = read(Box::new(GzipReader::serial(&damaged[..])));
            assert_eq!(found, usual, "{at} {bit}");
        }
    }
    let whole = read(Box::new(GzipReader::serial(&two[..]))).unwrap();
    assert!(whole == [&content[..], &content].concat());
}

#[test]
fn a_large_member_is_inflated_ahead_and_its_damage_found() {
    // Pieces that end with the bytes read of the file, and such that end before.
    let text: Vec<u8> = noise(5 << 20, 9).iter().map(|byte| byte % 2).collect();
    let content = [noise(3 << 20, 8), text, content(1 << 20, 7)].concat();
    let mut member = Vec::new();
    let mut usual = GzEncoder::new(&content[..], Compression::fast());
    usual.read_to_end(&mut member).unwrap();
    let file = [&member[..], &member].concat();
    let read = |file: &[u8]| in_pieces(GzipReader::serial(file), &[700_001]);
    assert!(read(&file).unwrap() == content.repeat(2));
    for at in [member.len() / 3, member.len() - 3, member.len() + 5_000] {
        let cut = read(&file[..at]).unwrap_err();
        assert_eq!(cut.kind(), io::ErrorKind::UnexpectedEof, "cut at {at}");
    }
    for at in [member.len() - 8, member.len() - 1] {
        let mut damaged = file.clone();
        damaged[at] ^= 1;
        let error = read(&damaged).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{at}");
    }
}

#[test]
fn blocks_that_are_not_those_of_the_file_are_refused() {
    let (file, blocks, content) = small_file();
    let words: Vec<u64> = blocks
        .compressed
        .split(' ')
        .map(|word| word.parse().unwrap())
        .collect();
    let [first, second, third] = words[..] else {
        panic!("{blocks:?}");
    };
    let lies = [
        (40, format!("{} {} {third}", first - 1, second + 1)),
        (40, format!("{} {} {third}", first + 1, second - 1)),
        (40, format!("{first} {}", second + third)),
        (40, format!("{first} {second} {}", third - 1)),
        (40, format!("{first} {second} {}", third + 1)),
        (40, format!("{first} {second} {third} 2")),
        (39, blocks.compressed.clone()),
        (41, blocks.compressed.clone()),
        (1 << 20, blocks.compressed.clone()),
        (40, String::new()),
    ];
    for (size, compressed) in lies {
        let blocks = Blocks { size, compressed };
        if let Some(all) = read(&file, file.len(), &blocks) {
            assert!(all.is_err(), "{blocks:?}");
        }
        let serial = GzipReader::new(&file[..], 0, Some(&blocks));
        assert!(in_pieces(serial, &[7]).unwrap() == content);
    }
}

#[test]
fn an_error_of_the_disk_is_told_apart_from_damage_and_comes_after_what_was_read() {
    let content = content(6 * BLOCK, 9);
    let (packed, blocks) = packed(&content);
    let half = &packed[..packed.len() / 2];
    for fails in [true, false] {
        let source = Source {
            bytes: half,
            at_a_time: BLOCK,
            fails,
        };
        let mut reader = BlockReader::new(source, packed.len() as u64, &blocks).unwrap();
        let mut all = Vec::new();
        let error = reader.read_to_end(&mut all).unwrap_err();
        assert!(all.len() >= 2 * BLOCK && content.starts_with(&all));
        assert_eq!(error.raw_os_error().is_some(), fails, "{error}");
        assert_eq!(damaged_at(&error).is_some(), !fails, "{error}");
        assert!(reader.read(&mut [0]).is_err());
        let mut serial = GzipReader::serial(Source {
            bytes: half,
            at_a_time: BLOCK,
            fails,
        });
        all.clear();
        let error = serial.read_to_end(&mut all).unwrap_err();
        assert!(all.len() >= 2 * BLOCK && content.starts_with(&all));
        assert_eq!(error.raw_os_error().is_some(), fails, "{error}");
        assert!(serial.read(&mut [0]).is_err());
    }
}
