//! Tests of the walk over an index, and files to walk for the tests of others.

use proptest::prelude::*;

use super::super::envelope::tests::REAL;
use super::*;

/// A key with its type and blocks, to build files from.
pub(crate) type Series = (Vec<u8>, u8, Vec<Block>);

/// A block to build files from; `content` is what the CRC covers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) min_time: i64,
    pub(crate) max_time: i64,
    pub(crate) content: Vec<u8>,
}

pub(crate) fn block(min_time: i64, max_time: i64, content: &[u8]) -> Block {
    Block {
        min_time,
        max_time,
        content: content.to_vec(),
    }
}

/// A TSM file as influxd lays it out.
pub(crate) fn build(series: &[Series]) -> Vec<u8> {
    let (mut bytes, mut index) = (HEADER.to_vec(), Vec::new());
    for (key, block_type, blocks) in series {
        index.extend(u16::try_from(key.len()).unwrap().to_be_bytes());
        index.extend(key);
        index.push(*block_type);
        index.extend(u16::try_from(blocks.len()).unwrap().to_be_bytes());
        for block in blocks {
            index.extend(block.min_time.to_be_bytes());
            index.extend(block.max_time.to_be_bytes());
            index.extend((bytes.len() as u64).to_be_bytes());
            index.extend((block.content.len() as u32 + 4).to_be_bytes());
            bytes.extend(crc32fast::hash(&block.content).to_be_bytes());
            bytes.extend(&block.content);
        }
    }
    let index_offset = bytes.len() as u64;
    bytes.extend(index);
    bytes.extend(index_offset.to_be_bytes());
    bytes
}

/// What a walk finds: per key its bytes, type and blocks, CRCs checked.
pub(crate) fn walk(file: &[u8]) -> Result<Vec<Series>, IndexError> {
    let mut walk = IndexWalk::open(file)?;
    let mut series = Vec::new();
    while let Some(key) = walk.next_key()? {
        let (bytes, block_type, count) = (key.bytes.to_vec(), key.value_type.byte(), key.count);
        let mut blocks = Vec::new();
        while let Some(entry) = walk.next_entry()? {
            let (crc, content) = file[entry.offset as usize..][..entry.size as usize].split_at(4);
            assert_eq!(crc, crc32fast::hash(content).to_be_bytes());
            blocks.push(block(entry.min_time, entry.max_time, content));
        }
        assert_eq!(blocks.len(), usize::from(count));
        series.push((bytes, block_type, blocks));
    }
    assert_eq!(walk.next_entry()?, None);
    assert_eq!(walk.next_key()?, None);
    Ok(series)
}

/// Walks keys only and looks at no block.
fn walk_keys(file: &[u8]) -> Result<usize, IndexError> {
    let mut walk = IndexWalk::open(file)?;
    let mut keys = 0;
    while walk.next_key()?.is_some() {
        keys += 1;
    }
    Ok(keys)
}

/// Files of one to five keys with one to six blocks each, at times around 0.
pub(crate) fn files() -> impl Strategy<Value = Vec<Series>> {
    let content = prop::collection::vec(any::<u8>(), 1..40);
    let blocks = prop::collection::vec((1..20_i64, 0..20_i64, content), 1..6);
    let key = prop::collection::vec(any::<u8>(), 1..6);
    prop::collection::btree_map(key, (0..=4_u8, -60..60_i64, blocks), 1..6).prop_map(|keys| {
        let series = keys
            .into_iter()
            .map(|(key, (block_type, mut time, blocks))| {
                let place = |(gap, span, content): (i64, i64, Vec<u8>)| {
                    let min_time = time + gap;
                    time = min_time + span;
                    Block {
                        min_time,
                        max_time: time,
                        content,
                    }
                };
                (key, block_type, blocks.into_iter().map(place).collect())
            });
        series.collect()
    })
}

/// Bytes that have a header and a footer, and chance between them.
pub(crate) fn lookalikes() -> impl Strategy<Value = Vec<u8>> {
    // Small numbers, so that lengths, types and counts are often possible.
    let index = prop::collection::vec(prop_oneof![0..6_u8, any::<u8>()], 0..200);
    (prop::collection::vec(any::<u8>(), 0..64), index).prop_map(|(blocks, index)| {
        let index_offset = (HEADER.len() + blocks.len()) as u64;
        [&HEADER[..], &blocks, &index, &index_offset.to_be_bytes()].concat()
    })
}

fn small() -> Vec<Series> {
    vec![
        (
            b"a#!~#f".to_vec(),
            0,
            vec![block(-5, -5, b"one"), block(-4, 9, b"two")],
        ),
        (
            b"a#!~#g".to_vec(),
            4,
            vec![block(i64::MIN, i64::MAX, b"three")],
        ),
    ]
}

/// What is wrong with the small file once `bytes` stand at `offset` of its index.
fn fault(offset: usize, bytes: &[u8]) -> (u64, IndexDamage) {
    let mut file = build(&small());
    let index = file.len() - 8 - (2 * 11 + 3 * ENTRY_BYTES);
    file[index + offset..][..bytes.len()].copy_from_slice(bytes);
    assert!(walk_keys(&file).is_err());
    match walk(&file) {
        Err(IndexError::Damaged { offset, fault }) => (offset - index as u64, fault),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_index_of_a_real_file_is_walked_to_its_end() {
    let mut walk = IndexWalk::open(REAL).unwrap();
    assert_eq!(
        walk.next_entry().unwrap(),
        None,
        "there is no block before the first key"
    );
    assert_eq!(
        walk.next_key().unwrap(),
        Some(Key {
            bytes: b"m,h=a#!~#v",
            value_type: ValueType::Float,
            count: 1
        })
    );
    let time = 1_600_000_000_000_000_000;
    assert_eq!(
        walk.next_entry().unwrap(),
        Some(BlockEntry {
            min_time: time,
            max_time: time,
            offset: 5,
            size: 34
        })
    );
    assert_eq!(walk.next_entry().unwrap(), None);
    assert_eq!(walk.next_key().unwrap(), None);
}

#[test]
fn a_file_on_disk_is_read_as_one_in_memory() {
    let mut file = tempfile::tempfile().unwrap();
    io::Write::write_all(&mut file, REAL).unwrap();
    assert_eq!(file.size().unwrap(), 90);
    let mut walk = IndexWalk::open(&file).unwrap();
    assert_eq!(
        walk.next_key().unwrap().map(|key| key.bytes.len()),
        Some(10)
    );
    assert!(ReadAt::read_exact_at(&file, &mut [0; 2], 89).is_err());
}

#[test]
fn a_file_that_shrinks_during_the_walk_is_an_error_with_the_offset() {
    let mut file = tempfile::tempfile().unwrap();
    io::Write::write_all(&mut file, REAL).unwrap();
    let mut walk = IndexWalk::open(&file).unwrap();
    file.set_len(60).unwrap();
    let error = walk.next_key().unwrap_err();
    assert_eq!(error.to_string(), "cannot read the TSM file at offset 39");
    assert!(std::error::Error::source(&error).is_some());
}

#[test]
fn keys_and_counts_of_the_greatest_length_are_walked_across_buffers() {
    let many = (0..65_535).map(|time| block(time, time, b"x")).collect();
    let mut series = vec![
        (vec![0; 65_535], 1, vec![block(1, 2, b"y")]),
        (vec![1], 2, many),
    ];
    series.extend((0..5000_u16).map(|n| {
        (
            [b"k", &n.to_be_bytes()[..]].concat(),
            3,
            vec![block(0, 0, b"z")],
        )
    }));
    let file = build(&series);
    assert_eq!(walk(&file).unwrap(), series);
    assert_eq!(walk_keys(&file).unwrap(), 5002);
}

#[test]
fn every_fault_of_an_index_is_told_with_its_offset() {
    let second = 11 + 2 * ENTRY_BYTES;
    assert_eq!(fault(0, &[0, 0]), (0, IndexDamage::EmptyKey));
    assert_eq!(fault(0, &[0xff, 0xff]), (2, IndexDamage::Cut));
    assert_eq!(
        fault(second + 2, b"a#!~#f"),
        (second as u64, IndexDamage::KeyOrder)
    );
    assert_eq!(
        fault(second + 2, b"A"),
        (second as u64, IndexDamage::KeyOrder)
    );
    assert_eq!(fault(8, &[5]), (8, IndexDamage::BlockType(5)));
    assert_eq!(fault(9, &[0, 0]), (8, IndexDamage::NoBlocks));
    assert_eq!(
        fault(second + 9, &[0, 2]),
        (second as u64 + 11 + 28, IndexDamage::Cut)
    );
    let time = |time: i64| time.to_be_bytes();
    assert_eq!(
        fault(11, &time(-3)),
        (
            11,
            IndexDamage::Times {
                min_time: -3,
                max_time: -5
            }
        )
    );
    assert_eq!(fault(39, &time(-5)), (39, IndexDamage::TimeOrder(-5)));
    let place = |offset: u64, size: u32| [&offset.to_be_bytes()[..], &size.to_be_bytes()].concat();
    // The blocks lie at 5, 12 and 19; the index begins at 28.
    for (offset, size) in [
        (4, 7),
        (28, 0),
        (5, 4),
        (5, 24),
        (24, 5),
        (29, 5),
        (u64::MAX, 7),
        (5, u32::MAX),
    ] {
        assert_eq!(
            fault(27, &place(offset, size)),
            (11, IndexDamage::Place { offset, size })
        );
    }
    assert_eq!(fault(55, &place(5, 23)), (39, IndexDamage::Overlap));
    let told = IndexDamage::Place { offset: 4, size: 7 }.at(39).to_string();
    assert_eq!(
        told,
        "a damaged TSM file: at offset 39, a block of 7 bytes at offset 4, where none can be"
    );
}

#[test]
fn what_has_no_header_no_room_or_a_foreign_footer_is_no_tsm_file() {
    assert!(
        matches!(IndexWalk::open(&b""[..]), Err(IndexError::Envelope(EnvelopeError::Header(b))) if b.is_empty())
    );
    assert!(matches!(
        IndexWalk::open(&b"plain text, no TSM"[..]),
        Err(IndexError::Envelope(EnvelopeError::Header(_)))
    ));
    assert!(matches!(
        IndexWalk::open(&REAL[..13]),
        Err(IndexError::Envelope(EnvelopeError::Short(13)))
    ));
    for index in [0, 4, 82, 90, u64::MAX] {
        let file = [&REAL[..82], &index.to_be_bytes()].concat();
        let error = IndexWalk::open(&file[..]).unwrap_err();
        assert!(
            matches!(
                error,
                IndexError::Envelope(EnvelopeError::Footer { size: 90, .. })
            ),
            "{index}"
        );
    }
}

#[test]
fn a_file_cut_anywhere_is_an_error() {
    let small = build(&small());
    for file in [REAL, &small] {
        for end in 0..file.len() {
            assert!(walk_keys(&file[..end]).is_err(), "cut at {end}");
        }
    }
}

proptest! {
    #[test]
    fn a_walk_finds_what_a_file_was_built_of(series in files()) {
        let file = build(&series);
        prop_assert_eq!(walk_keys(&file).unwrap(), series.len());
        prop_assert_eq!(walk(&file).unwrap(), series);
    }

    #[test]
    fn no_bytes_make_a_walk_panic(bytes in prop::collection::vec(any::<u8>(), 0..200), lookalike in lookalikes()) {
        let _ = walk_keys(&bytes);
        let _ = walk_keys(&lookalike);
    }
}
