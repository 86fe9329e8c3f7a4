//! Tests of reading WAL segments: what a real influxd wrote, entries of every kind, and segments
//! that are not whole.

use proptest::prelude::*;

use super::*;

/// Four entries as influxd 1.6.7 wrote them: points of four types in one series, a delete of one
/// time, a point of another series, a drop of that series.
pub(crate) const REAL: &[u8] = b"\x01\x00\x00\x00W\x94\x01l\x01\x00\nm,h=a#!~#f\x00\x00\x00\x02\x164W\x85\xd8\xa0\x00\x00?\xf8\
    \x00\x05\x01\r\x10\x00\x01\x11\x10\x04\x02\x00\x191\x10i\x00\x00\x00\x01\r!\x04\x00\xff\t\x01\x04\xfe\x03\x1d!\x00b.R\x00\
    \x11*\x08\x01\x00\x04\x1d#\x04s\x00\x1dD\x14\x00\x00\x00\x02hi\
    \x03\x00\x00\x003H\x1c\x164W\x85\xd8\xa0\x00\x01\x11\x084\x00\x00\x00\nm,h=a#!~#b2\x0e\x00\x00f2\x0e\x008i\x00\x00\x00\n\
    m,h=a#!~#s\
    \x01\x00\x00\x00#!\x80\x01\x00\nm,h=b#!~#f\x00\x00\x00\x01\x164W\x85\xd8\xa0\x00\x00@\x00\x00\x00\x00\x00\x00\x00\
    \x03\x00\x00\x00\x1a\x1e\x04\x80\x00\t\x01\x04\x7f\xff\t\x014\x00\x00\x00\nm,h=b#!~#f";

/// Where the entries of [`REAL`] end.
const REAL_ENDS: [usize; 4] = [92, 148, 188, 219];

/// The first time in [`REAL`].
const T: i64 = 1_600_000_000_000_000_000;

/// A value to write tests with.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Datum {
    Float(f64),
    Integer(i64),
    Boolean(bool),
    String(Vec<u8>),
    Unsigned(u64),
}

impl From<ValueRef<'_>> for Datum {
    fn from(value: ValueRef<'_>) -> Self {
        match value {
            ValueRef::Float(value) => Self::Float(value),
            ValueRef::Integer(value) => Self::Integer(value),
            ValueRef::Boolean(value) => Self::Boolean(value),
            ValueRef::String(value) => Self::String(value.to_vec()),
            ValueRef::Unsigned(value) => Self::Unsigned(value),
        }
    }
}

/// A key of a write entry with its points.
pub(crate) type LoggedKey = (Vec<u8>, Vec<(i64, Datum)>);

/// An entry to write tests with. Values of one key are of one type.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Logged {
    Write(Vec<LoggedKey>),
    Delete(Vec<Vec<u8>>),
    DeleteRange(i64, i64, Vec<Vec<u8>>),
}

impl Logged {
    /// The entry as it stands in a segment.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut plain = Vec::new();
        let entry_type = match self {
            Self::Write(keys) => {
                for (key, points) in keys {
                    plain.push(match points[0].1 {
                        Datum::Float(_) => 1,
                        Datum::Integer(_) => 2,
                        Datum::Boolean(_) => 3,
                        Datum::String(_) => 4,
                        Datum::Unsigned(_) => 5,
                    });
                    plain.extend((key.len() as u16).to_be_bytes());
                    plain.extend(key);
                    plain.extend((points.len() as u32).to_be_bytes());
                    for (time, value) in points {
                        plain.extend(time.to_be_bytes());
                        match value {
                            Datum::Float(value) => plain.extend(value.to_be_bytes()),
                            Datum::Integer(value) => plain.extend(value.to_be_bytes()),
                            Datum::Boolean(value) => plain.push(u8::from(*value)),
                            Datum::Unsigned(value) => plain.extend(value.to_be_bytes()),
                            Datum::String(value) => {
                                plain.extend((value.len() as u32).to_be_bytes());
                                plain.extend(value);
                            }
                        }
                    }
                }
                1
            }
            Self::Delete(keys) => {
                plain = keys.join(&b'\n');
                2
            }
            Self::DeleteRange(min, max, keys) => {
                plain.extend(min.to_be_bytes());
                plain.extend(max.to_be_bytes());
                for key in keys {
                    plain.extend((key.len() as u32).to_be_bytes());
                    plain.extend(key);
                }
                3
            }
        };
        entry(entry_type, &plain)
    }
}

/// An entry of any type and content.
pub(crate) fn entry(entry_type: u8, plain: &[u8]) -> Vec<u8> {
    let packed = snappy::raw::Encoder::new().compress_vec(plain).unwrap();
    [
        &[entry_type][..],
        &(packed.len() as u32).to_be_bytes(),
        &packed,
    ]
    .concat()
}

/// Gives one byte at a time.
pub(crate) struct Slow<'a>(pub(crate) &'a [u8]);

impl Read for Slow<'_> {
    fn read(&mut self, buf: &mut [u8]) -> io::Result<usize> {
        let count = buf.len().min(1);
        self.0.read(&mut buf[..count])
    }
}

fn read(source: impl Read) -> io::Result<(Vec<Logged>, SegmentEnding)> {
    let mut segment = Segment::new(source);
    let mut found = Vec::new();
    loop {
        found.push(match segment.next_entry()? {
            NextEntry::End(ending) => {
                assert_eq!(segment.next_entry()?, NextEntry::End(ending));
                return Ok((found, ending));
            }
            NextEntry::Entry(WalEntry::Delete(keys)) => {
                Logged::Delete(keys.map(<[u8]>::to_vec).collect())
            }
            NextEntry::Entry(WalEntry::DeleteRange { min, max, keys }) => {
                Logged::DeleteRange(min, max, keys.map(<[u8]>::to_vec).collect())
            }
            NextEntry::Entry(WalEntry::Write(writes)) => Logged::Write(
                writes
                    .map(|written| {
                        (
                            written.key.to_vec(),
                            written
                                .points()
                                .map(|(time, value)| (time, value.into()))
                                .collect(),
                        )
                    })
                    .collect(),
            ),
        });
    }
}

/// What [`REAL`] holds.
fn real() -> Vec<Logged> {
    let key = |text: &str| text.as_bytes().to_vec();
    let fields = vec![
        (
            key("m,h=a#!~#f"),
            vec![(T, Datum::Float(1.5)), (T + 1, Datum::Float(1.5))],
        ),
        (key("m,h=a#!~#i"), vec![(T, Datum::Integer(-2))]),
        (
            key("m,h=a#!~#b"),
            vec![(T, Datum::Boolean(true)), (T + 1, Datum::Boolean(false))],
        ),
        (key("m,h=a#!~#s"), vec![(T, Datum::String(b"hi".to_vec()))]),
    ];
    vec![
        Logged::Write(fields),
        Logged::DeleteRange(
            T + 1,
            T + 1,
            ["b", "f", "i", "s"]
                .map(|field| key(&format!("m,h=a#!~#{field}")))
                .to_vec(),
        ),
        Logged::Write(vec![(key("m,h=b#!~#f"), vec![(T, Datum::Float(2.0))])]),
        Logged::DeleteRange(i64::MIN, i64::MAX, vec![key("m,h=b#!~#f")]),
    ]
}

#[test]
fn the_entries_of_a_real_segment_are_read() {
    assert_eq!(read(REAL).unwrap(), (real(), SegmentEnding::Clean));
    assert_eq!(read(Slow(REAL)).unwrap(), (real(), SegmentEnding::Clean));
    assert_eq!(read(&b""[..]).unwrap(), (vec![], SegmentEnding::Clean));
}

#[test]
fn a_segment_torn_at_any_byte_gives_what_stands_before_the_torn_entry() {
    for end in 0..REAL.len() {
        let whole = REAL_ENDS.iter().filter(|at| **at <= end).count();
        let offset = whole.checked_sub(1).map_or(0, |last| REAL_ENDS[last]);
        let ending = if offset == end {
            SegmentEnding::Clean
        } else {
            SegmentEnding::Torn {
                offset: offset as u64,
                fault: WalError::Cut,
            }
        };
        assert_eq!(
            read(&REAL[..end]).unwrap(),
            (real()[..whole].to_vec(), ending),
            "torn at {end}"
        );
        assert_eq!(read(Slow(&REAL[..end])).unwrap().1, ending, "torn at {end}");
    }
}

#[test]
fn an_entry_that_is_not_sound_ends_the_segment_as_in_influxd() {
    let key = b"\x01\x00\x01k\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00";
    let range = [0; 16];
    // influxd 1.6.7 was seen to cut its segment at each of these.
    let bad = [
        (entry(9, b"abc"), WalError::Type(9)),
        (entry(0, b""), WalError::Type(0)),
        (
            entry(1, b"\x07\x00\x01k\x00\x00\x00\x01"),
            WalError::ValueType(7),
        ),
        (
            entry(1, b"\x01\x00\x01k\x00\x00\x00\x00"),
            WalError::Content,
        ),
        (entry(1, &key[..key.len() - 1]), WalError::Content),
        (
            entry(
                1,
                b"\x04\x00\x01k\x00\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x01\xff\xff\xff\xff",
            ),
            WalError::Content,
        ),
        (
            entry(1, b"\x01\x00\x01k\xff\xff\xff\xff"),
            WalError::Content,
        ),
        (entry(3, b"abc"), WalError::Content),
        (
            entry(3, &[&range[..], b"\x00\x00\x00\x01k\x00\x00"].concat()),
            WalError::Content,
        ),
        (
            entry(3, &[&range[..], b"\xff\xff\xff\xffk"].concat()),
            WalError::Content,
        ),
        (b"\x01\x00\x00\x00\x00".to_vec(), WalError::Packing),
        (b"\x01\x00\x00\x00\x02\x02\x00".to_vec(), WalError::Packing),
        // A block that says it unpacks to 4 GiB.
        (
            b"\x01\x00\x00\x00\x06\xff\xff\xff\xff\x0f\x00".to_vec(),
            WalError::Packing,
        ),
        (b"\x01\xff\xff\xff\xffabc".to_vec(), WalError::Cut),
    ];
    for (bad, fault) in bad {
        let bytes = [REAL, &bad, REAL].concat();
        let ending = SegmentEnding::Torn {
            offset: REAL.len() as u64,
            fault,
        };
        if fault == WalError::Cut {
            assert_eq!(
                read(&bytes[..REAL.len() + bad.len()]).unwrap(),
                (real(), ending)
            );
        }
        assert_eq!(read(&bytes[..]).unwrap(), (real(), ending));
    }
}

#[test]
fn what_says_nothing_is_passed_over_as_in_influxd() {
    let entries = [entry(1, b""), entry(2, b""), entry(3, &[0; 16])].concat();
    let expected = vec![
        Logged::Write(vec![]),
        Logged::Delete(vec![]),
        Logged::DeleteRange(0, 0, vec![]),
    ];
    assert_eq!(
        read(&entries[..]).unwrap(),
        (expected, SegmentEnding::Clean)
    );
    let keys = |entry_type, plain: &[u8]| read(&entry(entry_type, plain)[..]).unwrap().0;
    assert_eq!(
        keys(2, b"\n\na\n\nb\n"),
        [Logged::Delete(vec![b"a".to_vec(), b"b".to_vec()])]
    );
    let counted = [&[0; 16][..], b"\x00\x00\x00\x00\x00\x00\x00\x01a"].concat();
    assert_eq!(
        keys(3, &counted),
        [Logged::DeleteRange(0, 0, vec![b"a".to_vec()])]
    );
}

pub(crate) fn logged() -> impl Strategy<Value = Logged> {
    let key = || {
        prop::sample::select(vec!["a#!~#f", "a#!~#g", "b#!~#f", "c,t=v#!~#f"])
            .prop_map(|key| key.as_bytes().to_vec())
    };
    let points = |value: BoxedStrategy<Datum>| prop::collection::vec((-20..20_i64, value), 1..6);
    let values = prop_oneof![
        points(
            (-9..9_i32)
                .prop_map(|value| Datum::Float(value.into()))
                .boxed()
        ),
        points(any::<i64>().prop_map(Datum::Integer).boxed()),
        points(any::<bool>().prop_map(Datum::Boolean).boxed()),
        points(
            prop::collection::vec(any::<u8>(), 0..9)
                .prop_map(Datum::String)
                .boxed()
        ),
        points(any::<u64>().prop_map(Datum::Unsigned).boxed()),
    ];
    prop_oneof![
        6 => prop::collection::vec((key(), values), 1..4).prop_map(Logged::Write),
        1 => prop::collection::vec(key(), 0..3).prop_map(Logged::Delete),
        2 => (-22..22_i64, -22..22_i64, prop::collection::vec(key(), 0..4)).prop_map(|(a, b, keys)| Logged::DeleteRange(a, b, keys)),
    ]
}

proptest! {
    #[test]
    fn what_was_logged_is_read_back_and_a_garbage_tail_takes_nothing_away(
        entries in prop::collection::vec(logged(), 0..6),
        tail in prop::collection::vec(any::<u8>(), 0..40),
    ) {
        let mut bytes: Vec<u8> = entries.iter().flat_map(Logged::bytes).collect();
        prop_assert_eq!(read(&bytes[..]).unwrap(), (entries.clone(), SegmentEnding::Clean));
        bytes.extend(tail);
        let (found, ending) = read(&bytes[..]).unwrap();
        prop_assert!(found.starts_with(&entries));
        prop_assert_eq!(read(Slow(&bytes)).unwrap(), (found, ending));
    }

    #[test]
    fn no_bytes_make_reading_panic(
        bytes in prop::collection::vec(prop_oneof![0..5_u8, any::<u8>()], 0..200),
        plain in prop::collection::vec(prop_oneof![0..5_u8, any::<u8>()], 0..60),
        entry_type in 0..5_u8,
    ) {
        let _ = read(&bytes[..]).unwrap();
        let _ = read(&entry(entry_type, &plain)[..]).unwrap();
    }
}
