//! Booleans: their count, then one bit each, the first in the highest bit of the first byte.

use super::{DecodeError, compare, put_uvarint, take_form, take_uvarint};

/// The only form.
const BITS: u8 = 0x10;

/// The bytes of a section that hold the bits of `count` booleans.
fn bits(mut section: &[u8], count: usize) -> Result<&[u8], DecodeError> {
    match take_form(&mut section)? {
        BITS => {}
        form => return Err(DecodeError::Form(form)),
    }
    let values = take_uvarint(&mut section)?;
    compare(usize::try_from(values).unwrap_or(usize::MAX), count)?;
    match section.len().cmp(&count.div_ceil(8)) {
        std::cmp::Ordering::Less => Err(DecodeError::Cut),
        std::cmp::Ordering::Equal => Ok(section),
        std::cmp::Ordering::Greater => Err(DecodeError::Surplus),
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
    values: &mut Vec<bool>,
) -> Result<(), DecodeError> {
    values.clear();
    let bits = bits(section, count)?;
    values.reserve(count);
    values.extend((0..count).map(|at| bits[at / 8] << (at % 8) & 0x80 != 0));
    Ok(())
}

/// Whether a section has `count` values.
///
/// # Errors
///
/// As [`decode_into`] would give.
pub fn check(section: &[u8], count: usize) -> Result<(), DecodeError> {
    bits(section, count).map(drop)
}

/// Bytes of the section at the front of `bytes`, if it has `count` values, which is not looked at
/// any further. What follows it may be anything.
///
/// # Errors
///
/// When there is none, or `bytes` end before that shows.
pub(crate) fn length(bytes: &[u8], count: usize) -> Result<usize, DecodeError> {
    let mut rest = bytes;
    take_form(&mut rest)?;
    take_uvarint(&mut rest)?;
    Ok(bytes.len() - rest.len() + count.div_ceil(8))
}

/// Adds the section of some values.
pub fn encode(values: &[bool], out: &mut Vec<u8>) {
    out.push(BITS);
    put_uvarint(values.len() as u64, out);
    for eight in values.chunks(8) {
        out.push(
            (0..)
                .zip(eight)
                .fold(0, |byte, (at, &value)| byte | u8::from(value) << (7 - at)),
        );
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pack(values: &[bool]) -> Vec<u8> {
        let mut section = Vec::new();
        encode(values, &mut section);
        section
    }

    #[test]
    fn bytes_are_those_of_influxd() {
        assert_eq!(pack(&[true, false, true]), [0x10, 0x03, 0xa0]);
    }

    #[test]
    fn a_count_that_differs_and_bytes_too_few_or_many_are_told() {
        let section = [0x10, 0x03, 0xa0, 0x00];
        assert_eq!(check(&section[..3], 3), Ok(()));
        assert_eq!(check(&section[..3], 2), Err(DecodeError::MoreValues));
        assert_eq!(check(&section[..3], 4), Err(DecodeError::FewerValues));
        assert_eq!(check(&section[..2], 3), Err(DecodeError::Cut));
        assert_eq!(check(&section, 3), Err(DecodeError::Surplus));
        assert_eq!(check(&[0x20, 3, 0], 3), Err(DecodeError::Form(0x20)));
        assert_eq!(check(&[], 3), Err(DecodeError::Cut));
    }

    proptest! {
        #[test]
        fn values_come_back(values in prop::collection::vec(any::<bool>(), 0..1100)) {
            let mut back = vec![true];
            decode_into(&pack(&values), values.len(), &mut back).unwrap();
            prop_assert_eq!(back, values);
        }

        #[test]
        fn any_bytes_are_values_that_pack_again_or_an_error(bytes in prop::collection::vec(any::<u8>(), 0..6), count in 0..40_usize) {
            for section in [bytes.clone(), [&[0x10, count as u8], &bytes[..]].concat()] {
                let mut values = Vec::new();
                let decoded = decode_into(&section, count, &mut values);
                prop_assert_eq!(check(&section, count), decoded);
                if decoded.is_ok() {
                    let mut back = Vec::new();
                    decode_into(&pack(&values), count, &mut back).unwrap();
                    prop_assert_eq!(back, values);
                }
            }
        }
    }
}
