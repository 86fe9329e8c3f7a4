//! Integers, signed and unsigned alike: differences in zigzag, so that small ones of either sign
//! are small numbers.
//!
//! A value becomes its difference to the one before, the first its difference to 0, modulo 2^64.
//! Three forms: the differences as they are; the first as it is and the others in Simple8b; and,
//! where all but the first are equal, the first, the difference and how often it follows.

use super::{DecodeError, compare, put_uvarint, simple8b, take_form, take_u64, take_uvarint};

const RAW: u8 = 0;
const PACKED: u8 = 1;
const RUN: u8 = 2;

fn zigzag(difference: u64) -> u64 {
    // The shift of a signed number fills with its sign.
    difference << 1 ^ (difference as i64 >> 63) as u64
}

fn unzigzag(number: u64) -> u64 {
    number >> 1 ^ (number & 1).wrapping_neg()
}

/// A section whose form and count were looked at.
enum IntegerSection<'a> {
    Raw(&'a [u8]),
    Packed(u64, &'a [u8]),
    Run(u64, u64),
}

fn open(mut section: &[u8], count: usize) -> Result<IntegerSection<'_>, DecodeError> {
    let form = take_form(&mut section)?;
    match form >> 4 {
        RAW => {
            if !section.len().is_multiple_of(8) {
                return Err(DecodeError::Cut);
            }
            compare(section.len() / 8, count)?;
            Ok(IntegerSection::Raw(section))
        }
        PACKED => {
            let first = take_u64(&mut section)?;
            compare(simple8b::count(section)?.saturating_add(1), count)?;
            Ok(IntegerSection::Packed(first, section))
        }
        RUN => {
            let first = take_u64(&mut section)?;
            let difference = take_uvarint(&mut section)?;
            let more = take_uvarint(&mut section)?;
            compare(
                usize::try_from(more)
                    .unwrap_or(usize::MAX)
                    .saturating_add(1),
                count,
            )?;
            if section.is_empty() {
                Ok(IntegerSection::Run(first, difference))
            } else {
                Err(DecodeError::Surplus)
            }
        }
        _ => Err(DecodeError::Form(form)),
    }
}

/// Replaces `values` by those of a section, which are to be `count`.
///
/// # Errors
///
/// When they are not, or the section is damaged.
pub(crate) fn decode_into(
    section: &[u8],
    count: usize,
    values: &mut Vec<i64>,
) -> Result<(), DecodeError> {
    values.clear();
    decode(section, count, |value| value as i64, values)
}

/// As [`decode_into`], for values without sign.
///
/// # Errors
///
/// As [`decode_into`].
pub(crate) fn decode_unsigned_into(
    section: &[u8],
    count: usize,
    values: &mut Vec<u64>,
) -> Result<(), DecodeError> {
    values.clear();
    decode(section, count, |value| value, values)
}

fn decode<T: Default + Clone>(
    section: &[u8],
    count: usize,
    value_of: impl Fn(u64) -> T,
    values: &mut Vec<T>,
) -> Result<(), DecodeError> {
    let section = open(section, count)?;
    if let IntegerSection::Run(first, difference) = section {
        let (first, step) = (unzigzag(first), unzigzag(difference));
        values.extend(
            (0..count).map(|at| value_of(first.wrapping_add(step.wrapping_mul(at as u64)))),
        );
        return Ok(());
    }
    // To fill places is faster than to push, which looks each time whether there is room.
    values.resize(count, T::default());
    let mut places = values.iter_mut();
    let mut value = 0_u64;
    let mut add = |number| {
        value = value.wrapping_add(unzigzag(number));
        places
            .next()
            .into_iter()
            .for_each(|place| *place = value_of(value));
    };
    match section {
        IntegerSection::Raw(numbers) => numbers
            .as_chunks()
            .0
            .iter()
            .for_each(|number| add(u64::from_be_bytes(*number))),
        IntegerSection::Packed(first, words) => {
            add(first);
            simple8b::for_each(words, add);
        }
        IntegerSection::Run(..) => {}
    }
    Ok(())
}

/// Whether a section has `count` values. Which ones does not matter: all are possible.
///
/// # Errors
///
/// As [`decode_into`] would give.
pub fn check(section: &[u8], count: usize) -> Result<(), DecodeError> {
    open(section, count).map(drop)
}

/// Bytes of the section at the front of `bytes`, if it has `count` values, which is not looked at
/// any further. What follows it may be anything.
///
/// # Errors
///
/// When there is none, or `bytes` end before that shows.
pub(crate) fn length(bytes: &[u8], count: usize) -> Result<usize, DecodeError> {
    let mut rest = bytes;
    let form = take_form(&mut rest)?;
    match form >> 4 {
        RAW => Ok(bytes.len() - rest.len() + 8 * count),
        PACKED => {
            take_u64(&mut rest)?;
            let words = simple8b::words(rest, count.saturating_sub(1));
            Ok(bytes.len() - rest.len() + 8 * words)
        }
        RUN => {
            take_u64(&mut rest)?;
            take_uvarint(&mut rest)?;
            take_uvarint(&mut rest)?;
            Ok(bytes.len() - rest.len())
        }
        _ => Err(DecodeError::Form(form)),
    }
}

/// Adds the section of some values, at least one.
pub fn encode(values: &[i64], out: &mut Vec<u8>) {
    pack(values.iter().map(|&value| value as u64), out);
}

/// As [`encode`], for values without sign.
pub(crate) fn encode_unsigned(values: &[u64], out: &mut Vec<u8>) {
    pack(values.iter().copied(), out);
}

fn pack(values: impl Iterator<Item = u64>, out: &mut Vec<u8>) {
    let mut before = 0_u64;
    let numbers: Vec<u64> = values
        .map(|value| {
            let difference = value.wrapping_sub(before);
            before = value;
            zigzag(difference)
        })
        .collect();
    let Some((first, rest)) = numbers.split_first() else {
        return;
    };
    if rest.len() >= 2 && rest.iter().all(|number| *number == rest[0]) {
        out.push(RUN << 4);
        out.extend(first.to_be_bytes());
        put_uvarint(rest[0], out);
        put_uvarint(rest.len() as u64, out);
    } else if numbers.iter().any(|number| *number > simple8b::MAX) {
        out.push(RAW << 4);
        numbers
            .iter()
            .for_each(|number| out.extend(number.to_be_bytes()));
    } else {
        out.push(PACKED << 4);
        out.extend(first.to_be_bytes());
        simple8b::encode(rest, usize::MAX, out);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pack_all(values: &[i64]) -> Vec<u8> {
        let mut section = Vec::new();
        encode(values, &mut section);
        section
    }

    fn unpack_all(section: &[u8], count: usize) -> Result<Vec<i64>, DecodeError> {
        let mut values = vec![7];
        let decoded = decode_into(section, count, &mut values);
        assert_eq!(check(section, count), decoded);
        decoded.map(|()| values)
    }

    #[test]
    fn a_run_is_packed_as_influxd_does() {
        let section = [0x20, 0, 0, 0, 0, 0, 0, 0, 5, 0x0e, 3];
        assert_eq!(pack_all(&[-3, 4, 11, 18]), section);
        assert_eq!(unpack_all(&section, 4), Ok(vec![-3, 4, 11, 18]));
    }

    #[test]
    fn the_form_is_chosen_as_influxd_does() {
        let form = |values: &[i64]| pack_all(values)[0] >> 4;
        assert_eq!(form(&[1]), PACKED);
        assert_eq!(form(&[1, 2]), PACKED);
        assert_eq!(form(&[1, 2, 3]), RUN);
        assert_eq!(form(&[1, 2, 4]), PACKED);
        assert_eq!(form(&[1 << 60]), RAW);
        assert_eq!(form(&[1 << 59, 0]), RAW, "the first counts too");
        assert_eq!(form(&[(1 << 59) - 1, 0]), PACKED);
        assert_eq!(form(&[i64::MIN, i64::MAX]), RAW);
        assert_eq!(form(&[i64::MAX; 3]), RUN);
    }

    #[test]
    fn counts_of_any_size_take_no_memory() {
        let section = [&[0x20, 0, 0, 0, 0, 0, 0, 0, 5, 0x0e][..], &[0xff; 9], &[1]].concat();
        assert_eq!(unpack_all(&section, 1000), Err(DecodeError::MoreValues));
        assert_eq!(
            unpack_all(&[&[0x10; 9][..], &[0; 8000]].concat(), 3),
            Err(DecodeError::MoreValues)
        );
    }

    fn some_values() -> impl Strategy<Value = Vec<i64>> {
        let value = prop_oneof![
            any::<i64>(),
            -100..100_i64,
            (0..63_u32).prop_map(|bit| 1 << bit),
            Just(i64::MIN)
        ];
        prop_oneof![
            prop::collection::vec(value, 1..300),
            (any::<i64>(), any::<i64>(), 1..300_usize).prop_map(|(first, step, count)| {
                std::iter::successors(Some(first), |value| Some(value.wrapping_add(step)))
                    .take(count)
                    .collect()
            }),
            prop::collection::vec(-3..3_i64, 1..1000),
        ]
    }

    proptest! {
        #[test]
        fn values_come_back(values in some_values()) {
            let section = pack_all(&values);
            prop_assert_eq!(unpack_all(&section, values.len()), Ok(values.clone()));
            let unsigned: Vec<u64> = values.iter().map(|value| *value as u64).collect();
            let (mut same, mut back) = (Vec::new(), Vec::new());
            encode_unsigned(&unsigned, &mut same);
            prop_assert_eq!(&same, &section);
            decode_unsigned_into(&section, unsigned.len(), &mut back).unwrap();
            prop_assert_eq!(back, unsigned);
        }

        #[test]
        fn any_bytes_are_values_that_pack_again_or_an_error(
            form in prop_oneof![Just(0_u8), Just(0x10), Just(0x20), any::<u8>()],
            bytes in prop::collection::vec(any::<u8>(), 0..40),
            words in 0..5_usize,
            count in 0..300_usize,
        ) {
            let whole = [&[form], &bytes.iter().cycle().take(if bytes.is_empty() { 0 } else { words * 8 }).copied().collect::<Vec<_>>()[..]].concat();
            for section in [[&[form], &bytes[..]].concat(), whole] {
                let counts = [count, words, simple8b::count(section.get(9..).unwrap_or(&[])).unwrap_or(0) + 1];
                for count in counts {
                    if let Ok(values) = unpack_all(&section, count)
                        && count > 0
                    {
                        prop_assert_eq!(unpack_all(&pack_all(&values), count), Ok(values));
                    }
                }
            }
        }
    }
}
