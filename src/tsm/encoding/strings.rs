//! Strings: each its length and its bytes, one after the other, the whole compressed as one Snappy
//! block.
//!
//! Plain Snappy, not the framed format of streams.

use super::{
    DecodeError, EncodeError, MAX_BYTES, compare, put_uvarint, take_form, take_sized, take_uvarint,
};
use crate::tsm::values::Strings;

/// The only form.
const SNAPPY: u8 = 0x10;

/// The most bytes that a compressed byte can become: three bytes stand for 64 at most.
const MAX_RATIO: usize = 22;

/// Puts the plain content of a section in the place of what is in `plain`.
fn decompress(mut section: &[u8], plain: &mut Vec<u8>) -> Result<(), DecodeError> {
    match take_form(&mut section)? {
        SNAPPY => {}
        form => return Err(DecodeError::Form(form)),
    }
    let length = snappy::raw::decompress_len(section).map_err(|_| DecodeError::Compression)?;
    // The length is believed only where the bytes can give it.
    if length / MAX_RATIO > section.len() {
        return Err(DecodeError::Compression);
    }
    if length > MAX_BYTES {
        return Err(DecodeError::TooLarge);
    }
    plain.resize(length, 0);
    let written = snappy::raw::Decoder::new()
        .decompress(section, plain)
        .map_err(|_| DecodeError::Compression)?;
    plain.truncate(written);
    Ok(())
}

/// How many strings at a time may be passed over.
const ALIKE: usize = 8;

/// Bytes of the first [`ALIKE`] strings, if all have the same length, below 128. It is faster than to
/// read one length after the other, for each says where the next one is. States that seldom change
/// are such strings.
fn alike(plain: &[u8]) -> Option<usize> {
    let length = *plain.first().filter(|length| **length < 0x80)?;
    let step = 1 + usize::from(length);
    let mut strings = plain.get(..ALIKE * step)?.chunks_exact(step);
    strings
        .all(|string| string[0] == length)
        .then_some(ALIKE * step)
}

/// Replaces `values` by those of a section, which are to be `count`. `plain` is memory to work in.
///
/// # Errors
///
/// When they are not, or the section is damaged.
pub(crate) fn decode_into(
    section: &[u8],
    count: usize,
    plain: &mut Vec<u8>,
    values: &mut Strings,
) -> Result<(), DecodeError> {
    values.clear();
    decompress(section, plain)?;
    let mut plain = &plain[..];
    while !plain.is_empty() {
        if values.len() == count {
            return Err(DecodeError::MoreValues);
        }
        values.push(take_sized(&mut plain)?);
    }
    compare(values.len(), count)
}

/// Whether a section has `count` values. `plain` is memory to work in.
///
/// # Errors
///
/// As [`decode_into`] would give.
pub fn check(section: &[u8], count: usize, plain: &mut Vec<u8>) -> Result<(), DecodeError> {
    decompress(section, plain)?;
    let mut plain = &plain[..];
    let mut values = 0;
    while !plain.is_empty() {
        if values == count {
            return Err(DecodeError::MoreValues);
        }
        values += match alike(plain) {
            Some(bytes) if count - values >= ALIKE => {
                plain = &plain[bytes..];
                ALIKE
            }
            _ => {
                take_sized(&mut plain)?;
                1
            }
        };
    }
    compare(values, count)
}

/// Bytes of the section at the front of `bytes`, which is not looked at any further. What follows it
/// may be anything.
///
/// # Errors
///
/// When there is none, or `bytes` end before it does.
pub(crate) fn length(bytes: &[u8]) -> Result<usize, DecodeError> {
    let mut rest = bytes;
    take_form(&mut rest)?;
    let mut left = usize::try_from(take_uvarint(&mut rest)?).map_err(|_| DecodeError::TooLarge)?;
    // Snappy: a literal is copied, anything else repeats bytes that came before.
    while left > 0 {
        let (&tag, more) = rest.split_first().ok_or(DecodeError::Cut)?;
        let high = usize::from(tag >> 2);
        let (made, element) = match tag & 3 {
            0 if high < 60 => (high + 1, high + 1),
            0 => {
                let bytes = more.get(..high - 59).ok_or(DecodeError::Cut)?;
                let before = bytes
                    .iter()
                    .rfold(0_usize, |all, byte| all << 8 | usize::from(*byte));
                let length = before.checked_add(1).ok_or(DecodeError::Compression)?;
                (length, bytes.len().saturating_add(length))
            }
            1 => (4 + (high & 7), 1),
            2 => (1 + high, 2),
            _ => (1 + high, 4),
        };
        left = left.checked_sub(made).ok_or(DecodeError::Compression)?;
        rest = more.get(element..).ok_or(DecodeError::Cut)?;
    }
    Ok(bytes.len() - rest.len())
}

/// Adds the section of some values.
///
/// # Errors
///
/// When they are longer, together, than could be decompressed again.
pub fn encode(values: &Strings, out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if values.byte_len() + 10 * values.len() > MAX_BYTES {
        return Err(EncodeError::TooLarge);
    }
    let mut plain = Vec::with_capacity(values.byte_len() + 2 * values.len());
    for string in values.iter() {
        put_uvarint(string.len() as u64, &mut plain);
        plain.extend_from_slice(string);
    }
    let compressed = snappy::raw::Encoder::new()
        .compress_vec(&plain)
        .map_err(|_| EncodeError::TooLarge)?;
    out.push(SNAPPY);
    out.extend(compressed);
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pack(values: &Strings) -> Vec<u8> {
        let mut section = Vec::new();
        encode(values, &mut section).unwrap();
        section
    }

    fn unpack(section: &[u8], count: usize) -> Result<Strings, DecodeError> {
        let (mut plain, mut values) = (vec![1], Strings::from_iter(["old"]));
        let decoded = decode_into(section, count, &mut plain, &mut values);
        assert_eq!(check(section, count, &mut plain), decoded);
        decoded.map(|()| values)
    }

    #[test]
    fn bytes_are_those_of_influxd() {
        let section = b"\x10\x06\x14\x02hi\x02hi";
        let values = Strings::from_iter(["hi", "hi"]);
        assert_eq!(pack(&values), section);
        assert_eq!(unpack(section, 2), Ok(values));
        assert_eq!(unpack(section, 1), Err(DecodeError::MoreValues));
        assert_eq!(unpack(section, 3), Err(DecodeError::FewerValues));
        assert_eq!(unpack(b"\x20\x00", 0), Err(DecodeError::Form(0x20)));
        assert_eq!(unpack(b"\x10\x03\x08\x03hi", 1), Err(DecodeError::Cut));
    }

    #[test]
    fn a_length_that_the_bytes_cannot_give_takes_no_memory() {
        let mut plain = Vec::new();
        for section in [
            &b"\x10\xff\xff\xff\xff\x0f\x00a"[..],
            b"\x10\xff\xff\xff\xff\x7f",
            b"\x10",
        ] {
            assert_eq!(check(section, 1, &mut plain), Err(DecodeError::Compression));
            assert_eq!(plain.capacity(), 0);
        }
    }

    proptest! {
        #[test]
        fn values_come_back(strings in prop::collection::vec(prop::collection::vec(prop_oneof![Just(b'x'), any::<u8>()], 0..300), 0..100)) {
            let values = Strings::from_iter(&strings);
            prop_assert_eq!(unpack(&pack(&values), strings.len()), Ok(values));
        }

        #[test]
        fn values_of_one_length_after_another_are_counted_as_they_are(
            runs in prop::collection::vec((0..200_usize, 1..20_usize), 0..6),
            count in 0..60_usize,
        ) {
            let values: Strings = runs.iter().flat_map(|&(length, times)| vec![vec![b'x'; length]; times]).collect();
            let section = pack(&values);
            prop_assert_eq!(unpack(&section, values.len()), Ok(values.clone()));
            let compared = compare(values.len(), count);
            prop_assert_eq!(unpack(&section, count).map(drop), compared);
        }

        #[test]
        fn any_bytes_are_values_that_pack_again_or_an_error(
            bytes in prop::collection::vec(prop_oneof![0..4_u8, any::<u8>()], 0..40),
            count in 0..20_usize,
        ) {
            let compressed = snappy::raw::Encoder::new().compress_vec(&bytes).unwrap();
            for section in [[&[0x10], &bytes[..]].concat(), [&[0x10], &compressed[..]].concat(), bytes] {
                if let Ok(values) = unpack(&section, count) {
                    prop_assert_eq!(unpack(&pack(&values), count), Ok(values));
                }
            }
        }
    }
}
