//! Tests of tombstone files: every version, real ones, and what is cut off or damaged.

use proptest::prelude::*;

use super::super::super::wal::tests::Slow;
use super::*;

/// Two deletes as influxd 1.6.7 wrote them, each in a gzip member: of one time, and of a series
/// with two fields.
const REAL: &[u8] = b"\x00\x00\x15\x04\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xffb``\xe0\xca\xd5\xc9\xb0MTV\xacSN\x133\to\xbd\xb1\
    \x80\x81\x11F\xa3\xc8f\xa2\xcb\x02\x02\x00\x00\xff\xff1\x16/\x98<\x00\x00\x00\x1f\x8b\x08\x00\x00\x00\x00\x00\x00\xffb``\xe0\
    \xca\xd5\xc9\xb0MTV\xacSNk`\x80\x80\xfa\xff\x10\x80\"\x9b\x89.\x0b\x08\x00\x00\xff\xff.\xa6\xd12<\x00\x00\x00";

/// Where the first member of [`REAL`] ends.
const FIRST_END: usize = 57;

const T: i64 = 1_600_000_000_000_000_000;

type Found = Vec<(Vec<u8>, i64, i64)>;

fn found(source: impl Read) -> io::Result<(Found, TombstoneEnding)> {
    let mut found = Found::new();
    let ending = read(source, |record| {
        found.push((record.key.to_vec(), record.min, record.max))
    })?;
    Ok((found, ending))
}

fn real() -> Found {
    let key = |field: &str| format!("m,h=a#!~#{field}").into_bytes();
    let (once, all) = ((T + 1, T + 1), (i64::MIN, i64::MAX));
    [("f", once), ("i", once), ("f", all), ("i", all)]
        .map(|(field, (min, max))| (key(field), min, max))
        .to_vec()
}

/// Records as every version but the first has them.
fn plain(records: &[(Vec<u8>, i64, i64)]) -> Vec<u8> {
    let bytes = records.iter().flat_map(|(key, min, max)| {
        [
            &(key.len() as u32).to_be_bytes()[..],
            key,
            &min.to_be_bytes(),
            &max.to_be_bytes(),
        ]
        .concat()
    });
    bytes.collect()
}

fn member(plain: &[u8]) -> Vec<u8> {
    let mut member = GzEncoder::new(Vec::new(), Compression::fast());
    member.write_all(plain).unwrap();
    member.finish().unwrap()
}

fn file(version: u8, rest: &[u8]) -> Vec<u8> {
    [&[0, 0, 0x15, version], rest].concat()
}

#[test]
fn every_version_gives_its_records() {
    let records = real();
    let versions = [
        file(2, &plain(&records)),
        file(3, &member(&plain(&records))),
        file(
            4,
            &[
                member(&plain(&records[..1])),
                member(b""),
                member(&plain(&records[1..])),
            ]
            .concat(),
        ),
        REAL.to_vec(),
    ];
    for bytes in versions {
        assert_eq!(
            found(&bytes[..]).unwrap(),
            (records.clone(), TombstoneEnding::Clean),
            "version {}",
            bytes[3]
        );
        assert_eq!(
            found(Slow(&bytes)).unwrap(),
            (records.clone(), TombstoneEnding::Clean),
            "version {}",
            bytes[3]
        );
    }
    let text = b"m,h=a#!~#f\n\n\nn#!~#g\n";
    let all = |key: &str| (key.as_bytes().to_vec(), i64::MIN, i64::MAX);
    assert_eq!(
        found(&text[..]).unwrap(),
        (
            vec![all("m,h=a#!~#f"), all("n#!~#g")],
            TombstoneEnding::Clean
        )
    );
    assert_eq!(found(Slow(text)).unwrap(), found(&text[..]).unwrap());
}

#[test]
fn no_bytes_and_a_lone_header_delete_nothing() {
    for nothing in [&b""[..], b"\x00\x00\x15\x02", b"\x00\x00\x15\x04", b"\n"] {
        assert_eq!(found(nothing).unwrap(), (vec![], TombstoneEnding::Clean));
    }
}

#[test]
fn a_file_torn_at_any_byte_gives_what_is_whole_and_says_so() {
    let records = real();
    for end in 1..REAL.len() {
        let (some, ending) = found(&REAL[..end]).unwrap();
        let clean = end == 4 || end == FIRST_END;
        assert_eq!(
            ending,
            if clean {
                TombstoneEnding::Clean
            } else {
                TombstoneEnding::Torn
            },
            "torn at {end}"
        );
        assert!(
            records.starts_with(&some) && some.len() >= if end >= FIRST_END { 2 } else { 0 },
            "torn at {end}"
        );
        assert_eq!(
            found(Slow(&REAL[..end])).unwrap(),
            (some, ending),
            "torn at {end}"
        );
    }
    let old = file(2, &plain(&records));
    for end in 1..old.len() {
        let (whole, over) = (end.saturating_sub(4) / 30, end.saturating_sub(4) % 30);
        let ending = if over == 0 && end >= 4 {
            TombstoneEnding::Clean
        } else {
            TombstoneEnding::Torn
        };
        assert_eq!(
            found(&old[..end]).unwrap(),
            (records[..whole].to_vec(), ending),
            "torn at {end}"
        );
    }
    assert_eq!(
        found(&b"m#!~#f\nm#!~#lon"[..]).unwrap(),
        (
            vec![(b"m#!~#f".to_vec(), i64::MIN, i64::MAX)],
            TombstoneEnding::Torn
        )
    );
}

#[test]
fn what_is_damaged_otherwise_is_an_error() {
    let no_key = plain(&[(vec![], 0, 0)]);
    let long_key = [&65_536_u32.to_be_bytes()[..], b"key"].concat();
    let mut flipped = REAL.to_vec();
    flipped[FIRST_END - 6] ^= 1;
    let long_line = vec![b'x'; 70_000];
    for bad in [
        file(5, b""),
        file(2, &no_key),
        file(2, &long_key),
        file(4, &member(&no_key)),
        file(4, b"no gzip member"),
        flipped,
        long_line,
    ] {
        let kind = found(&bad[..]).unwrap_err().kind();
        assert!(
            matches!(
                kind,
                io::ErrorKind::InvalidData | io::ErrorKind::InvalidInput
            ),
            "{kind:?}"
        );
    }
}

#[test]
fn what_cannot_be_a_record_is_not_written() {
    let mut writer = TombstoneWriter::new(Vec::new()).unwrap();
    for key in [&b""[..], &[b'x'; 65_536]] {
        assert_eq!(
            writer
                .record(TombstoneRecord {
                    key,
                    min: 0,
                    max: 0
                })
                .unwrap_err()
                .kind(),
            io::ErrorKind::InvalidData
        );
    }
    assert_eq!(
        found(&writer.finish().unwrap()[..]).unwrap(),
        (vec![], TombstoneEnding::Clean)
    );
}

fn records() -> impl Strategy<Value = Found> {
    prop::collection::vec(
        (
            prop::collection::vec(any::<u8>(), 1..30),
            any::<i64>(),
            any::<i64>(),
        ),
        0..6,
    )
}

proptest! {
    #[test]
    fn what_is_written_is_read_back_in_every_version(records in records(), cut in 0..6_usize) {
        let mut writer = TombstoneWriter::new(Vec::new()).unwrap();
        for (key, min, max) in &records {
            writer.record(TombstoneRecord { key, min: *min, max: *max }).unwrap();
        }
        let (first, second) = records.split_at(cut.min(records.len()));
        let (first, second) = (plain(first), plain(second));
        let two = file(4, &[member(&first), member(&second)].concat());
        for bytes in [writer.finish().unwrap(), file(2, &plain(&records)), file(3, &member(&plain(&records))), two] {
            prop_assert_eq!(found(&bytes[..]).unwrap(), (records.clone(), TombstoneEnding::Clean));
        }
    }

    #[test]
    fn no_bytes_make_reading_panic(
        version in prop_oneof![2..5_u8, any::<u8>()],
        rest in prop::collection::vec(prop_oneof![0..3_u8, any::<u8>()], 0..80),
    ) {
        let _ = found(&rest[..]);
        let _ = found(&file(version, &rest)[..]);
        let _ = found(&file(4, &member(&rest))[..]);
        let mut damaged = REAL.to_vec();
        let at = rest.len() % damaged.len();
        damaged[at] = version;
        let _ = found(&damaged[..]);
    }
}
