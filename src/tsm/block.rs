//! A block: up to some thousand points of one key, packed.
//!
//! The byte of its type, the length of the times as a variable-length number, the times, the values
//! to the end. How many points there are is nowhere written; times and values must agree. (From
//! files influxd 1.6.7 wrote.)

use super::encoding::times::Span;
use super::encoding::{
    DecodeError, EncodeError, MAX_BYTES, booleans, floats, integers, put_uvarint, strings,
    take_sized, times,
};
use super::values::{Points, ValueType, Values};

/// A block taken apart, nothing unpacked.
struct Parts<'a> {
    value_type: ValueType,
    times: &'a [u8],
    values: &'a [u8],
}

fn split_sections(block: &[u8]) -> Result<Parts<'_>, DecodeError> {
    if block.len() > MAX_BYTES {
        return Err(DecodeError::TooLarge);
    }
    let (&type_byte, mut rest) = block.split_first().ok_or(DecodeError::Cut)?;
    let value_type = ValueType::from_byte(type_byte).ok_or(DecodeError::BlockType(type_byte))?;
    let times = take_sized(&mut rest)?;
    Ok(Parts {
        value_type,
        times,
        values: rest,
    })
}

/// Unpacks blocks, and keeps the memory to do so from one to the next.
#[derive(Debug, Default)]
pub struct Decoder {
    /// Strings decompressed.
    plain: Vec<u8>,
}

/// What is known of a block that was checked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// The type of its values.
    pub value_type: ValueType,
    /// How many points there are, and the first and the last time.
    pub span: Span,
}

impl Decoder {
    /// Puts the points of a block in the place of those in `points`. The times may be in any order.
    /// After an error, `points` are no points that belong together.
    ///
    /// # Errors
    ///
    /// When the block is damaged, or larger than any is.
    pub(crate) fn decode_into(
        &mut self,
        block: &[u8],
        points: &mut Points,
    ) -> Result<(), DecodeError> {
        let Parts {
            value_type,
            times,
            values,
        } = split_sections(block)?;
        points.reset(value_type);
        times::decode_into(times, &mut points.times)?;
        let count = points.times.len();
        match &mut points.values {
            Values::Float(floats) => floats::decode_into(values, count, floats),
            Values::Integer(integers) => integers::decode_into(values, count, integers),
            Values::Boolean(booleans) => booleans::decode_into(values, count, booleans),
            Values::String(strings) => {
                strings::decode_into(values, count, &mut self.plain, strings)
            }
            Values::Unsigned(unsigned) => integers::decode_unsigned_into(values, count, unsigned),
        }
    }

    /// Whether a block can be unpacked and its times rise, and what it spans. Faster than unpacking
    /// it.
    ///
    /// # Errors
    ///
    /// When it cannot, or its times do not.
    pub fn check(&mut self, block: &[u8]) -> Result<Summary, DecodeError> {
        let Parts {
            value_type,
            times,
            values,
        } = split_sections(block)?;
        let span = times::check(times)?;
        match value_type {
            ValueType::Float => floats::check(values, span.count)?,
            ValueType::Integer | ValueType::Unsigned => integers::check(values, span.count)?,
            ValueType::Boolean => booleans::check(values, span.count)?,
            ValueType::String => strings::check(values, span.count, &mut self.plain)?,
        }
        Ok(Summary { value_type, span })
    }

    /// Checks the block at the front of `bytes` as [`check`](Self::check) does; what follows it may
    /// be anything. What it spans, and its bytes.
    ///
    /// # Errors
    ///
    /// When there is none, or `bytes` end before it does.
    pub(super) fn check_front(&mut self, bytes: &[u8]) -> Result<(Summary, usize), DecodeError> {
        let Parts {
            value_type,
            times,
            values: rest,
        } = split_sections(bytes)?;
        let span = times::check(times)?;
        let count = span.count;
        let length = match value_type {
            ValueType::Float => floats::check_front(rest, count)?,
            ValueType::Integer | ValueType::Unsigned => integers::length(rest, count)?,
            ValueType::Boolean => booleans::length(rest, count)?,
            ValueType::String => strings::length(rest)?,
        };
        let values = rest.get(..length).ok_or(DecodeError::Cut)?;
        match value_type {
            ValueType::Float => {}
            ValueType::Integer | ValueType::Unsigned => integers::check(values, count)?,
            ValueType::Boolean => booleans::check(values, count)?,
            ValueType::String => strings::check(values, count, &mut self.plain)?,
        }
        let size = bytes.len() - rest.len() + length;
        Ok((Summary { value_type, span }, size))
    }
}

/// The times of a block, packed.
///
/// # Errors
///
/// When the block is damaged, or larger than any is.
pub(crate) fn times_section(block: &[u8]) -> Result<&[u8], DecodeError> {
    split_sections(block).map(|parts| parts.times)
}

/// How many points a block has, by its times. It may end behind them.
///
/// # Errors
///
/// When the times are damaged or cut off.
pub(crate) fn point_count(block: &[u8]) -> Result<usize, DecodeError> {
    let (&type_byte, mut rest) = block.split_first().ok_or(DecodeError::Cut)?;
    ValueType::from_byte(type_byte).ok_or(DecodeError::BlockType(type_byte))?;
    let times = take_sized(&mut rest)?;
    times::count(times)
}

/// Replaces `out` by the times of a block, which may be in any order.
///
/// # Errors
///
/// When the block is larger than any is, or its times are damaged.
pub(crate) fn decode_times_into(block: &[u8], out: &mut Vec<i64>) -> Result<(), DecodeError> {
    times::decode_into(split_sections(block)?.times, out)
}

/// The points of a block. The times may be in any order.
///
/// # Errors
///
/// When the block is damaged, or larger than any is.
pub fn decode(block: &[u8]) -> Result<Points, DecodeError> {
    let mut points = Points::new(ValueType::Float);
    Decoder::default().decode_into(block, &mut points)?;
    Ok(points)
}

/// Adds the block of some points to `out`, as influxd packs them when it flushes its cache.
///
/// # Errors
///
/// When there are none, more times than values or the reverse, the times do not rise, or a value
/// cannot be stored. `out` is then as it was.
pub(crate) fn encode_into(points: &Points, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    let Points { times, values } = points;
    if times.is_empty() {
        return Err(EncodeError::Empty);
    }
    if times.len() != values.len() {
        return Err(EncodeError::Counts {
            times: times.len(),
            values: values.len(),
        });
    }
    if !times.is_sorted_by(|one, next| one < next) {
        return Err(EncodeError::TimeOrder);
    }
    let start = out.len();
    let mut section = Vec::new();
    times::encode(times, &mut section);
    out.push(values.value_type().byte());
    put_uvarint(section.len() as u64, out);
    out.extend(section);
    let encoded = match values {
        Values::Float(floats) => floats::encode(floats, out),
        Values::Integer(integers) => {
            integers::encode(integers, out);
            Ok(())
        }
        Values::Boolean(booleans) => {
            booleans::encode(booleans, out);
            Ok(())
        }
        Values::String(strings) => strings::encode(strings, out),
        Values::Unsigned(unsigned) => {
            integers::encode_unsigned(unsigned, out);
            Ok(())
        }
    };
    encoded.inspect_err(|_| out.truncate(start))
}

/// The block of some points, as influxd packs them when it flushes its cache.
///
/// # Errors
///
/// As [`encode_into`].
pub fn encode(points: &Points) -> Result<Vec<u8>, EncodeError> {
    let mut block = Vec::new();
    encode_into(points, &mut block)?;
    Ok(block)
}

#[cfg(test)]
pub(crate) mod tests {
    use proptest::prelude::*;

    use super::super::envelope::tests::REAL;
    use super::*;

    /// Points of any type, at rising times.
    pub(crate) fn some_points() -> impl Strategy<Value = Points> {
        let times = prop_oneof![
            prop::collection::btree_set(-500..500_i64, 1..80),
            prop::collection::btree_set(any::<i64>(), 1..20),
            (-1000..1000_i64, 1..200_i64)
                .prop_map(|(first, count)| (first..first + count).collect()),
        ];
        (
            times,
            prop::sample::select(ValueType::ALL.to_vec()),
            any::<u64>(),
        )
            .prop_map(|(times, value_type, seed)| {
                let times: Vec<i64> = times.into_iter().collect();
                let numbers = (0..times.len() as u64)
                    .map(|at| (at ^ seed).wrapping_mul(seed | 1) >> (seed % 64));
                let values = match value_type {
                    ValueType::Float => {
                        Values::Float(numbers.map(|number| number as f64 / 3.0).collect())
                    }
                    ValueType::Integer => {
                        Values::Integer(numbers.map(|number| number as i64).collect())
                    }
                    ValueType::Boolean => {
                        Values::Boolean(numbers.map(|number| number % 3 == 0).collect())
                    }
                    ValueType::String => {
                        Values::String(numbers.map(|number| format!("{}", number % 1000)).collect())
                    }
                    ValueType::Unsigned => Values::Unsigned(numbers.collect()),
                };
                Points { times, values }
            })
    }

    /// Bytes of every form: whatever they are, looking at them says what unpacking says.
    fn endure(bytes: &[u8]) {
        let checked = Decoder::default().check(bytes);
        match decode(bytes) {
            // A few bytes can be a million points; to pack them takes its time.
            Ok(points) if points.len() > 5000 => {}
            Ok(points) => {
                let rising = points.times.is_sorted_by(|one, next| one < next);
                let span = Span {
                    count: points.len(),
                    first: points.times[0],
                    last: points.times[points.len() - 1],
                };
                let summary = Summary {
                    value_type: points.values.value_type(),
                    span,
                };
                assert!(rising && checked == Ok(summary) || checked == Err(DecodeError::TimeOrder));
                match encode(&points) {
                    // Debug tells NaNs from one another no more than it must; the bytes do.
                    Ok(block) => assert_eq!(encode(&decode(&block).unwrap()), Ok(block)),
                    Err(error) => assert!(error == EncodeError::TimeOrder && !rising, "{error}"),
                }
            }
            Err(error) => assert!(
                checked == Err(error) || checked == Err(DecodeError::TimeOrder),
                "{checked:?} {error:?}"
            ),
        }
    }

    proptest! {
        #[test]
        fn a_block_ends_where_its_values_do_whatever_follows(
            points in some_points(), behind in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let block = encode(&points).unwrap();
            let bytes = [&block[..], &behind].concat();
            let mut decoder = Decoder::default();
            let summary = decoder.check(&block).unwrap();
            prop_assert_eq!(decoder.check_front(&bytes), Ok((summary, block.len())));
            for cut in 0..block.len() {
                prop_assert!(decoder.check_front(&block[..cut]).is_err(), "{}", cut);
            }
        }

        #[test]
        fn what_is_found_in_front_of_any_bytes_is_a_block(
            bytes in prop::collection::vec(prop_oneof![0..20_u8, any::<u8>()], 0..60),
        ) {
            let mut decoder = Decoder::default();
            if let Ok((summary, size)) = decoder.check_front(&bytes) {
                prop_assert_eq!(decoder.check(&bytes[..size]), Ok(summary));
            }
        }
    }

    #[test]
    fn the_block_of_a_real_file_is_unpacked_and_packed_again() {
        let block = &REAL[9..39];
        let points = Points {
            times: vec![1_600_000_000_000_000_000],
            values: Values::Float(vec![1.5]),
        };
        assert_eq!(decode(block), Ok(points.clone()));
        assert_eq!(encode(&points).unwrap(), block);
    }

    #[test]
    fn points_that_are_no_block_are_refused_and_leave_nothing() {
        let mut out = b"before".to_vec();
        let mut refuse = |times: &[i64], values| {
            let error = encode_into(
                &Points {
                    times: times.to_vec(),
                    values,
                },
                &mut out,
            )
            .unwrap_err();
            assert_eq!(out, b"before");
            error
        };
        assert_eq!(refuse(&[], Values::Integer(vec![])), EncodeError::Empty);
        assert_eq!(
            refuse(&[1], Values::Integer(vec![1, 2])),
            EncodeError::Counts {
                times: 1,
                values: 2
            }
        );
        assert_eq!(
            refuse(&[1, 1], Values::Integer(vec![1, 2])),
            EncodeError::TimeOrder
        );
        let mark = f64::from_bits(0x7FF8_0000_0000_0001);
        assert_eq!(
            refuse(&[1], Values::Float(vec![mark])),
            EncodeError::EndMark
        );
    }

    #[test]
    fn a_block_cut_anywhere_is_an_error() {
        let points = Points {
            times: vec![1, 2, 4],
            values: Values::String(["a", "b", "c"].into_iter().collect()),
        };
        for block in [&REAL[9..39], &encode(&points).unwrap()] {
            for end in 0..block.len() {
                assert!(decode(&block[..end]).is_err(), "cut at {end}");
            }
        }
    }

    proptest! {
        #[test]
        fn points_come_back(points in some_points()) {
            let block = encode(&points).unwrap();
            prop_assert!(Decoder::default().check(&block).is_ok());
            prop_assert_eq!(decode(&block).unwrap(), points);
            endure(&block);
        }

        #[test]
        fn no_bytes_make_it_panic(
            points in some_points(),
            bytes in prop::collection::vec(any::<u8>(), 0..60),
            value_type in 0..6_u8,
            times in prop::sample::select(vec![&b"\x09\x1c\0\0\0\0\0\0\0\0"[..], b"\x0b\x20\0\0\0\0\0\0\0\0\x01\x05", b""]),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        ) {
            let mut block = encode(&points).unwrap();
            for (at, byte) in damage {
                let at = at.index(block.len());
                block[at] = byte;
            }
            endure(&block);
            endure(&[&[value_type], times, &bytes[..]].concat());
            endure(&bytes);
        }
    }
}
