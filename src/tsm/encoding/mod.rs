//! How times and values are packed in a block: one module for each kind, with packing and unpacking
//! side by side.
//!
//! Each section begins with a byte whose high half names the form; the low half is 0, or a scale
//! for times. Unpacking takes any bytes at all: it ends with values or an error, and takes memory
//! only for as many values as it was allowed. Packing gives the bytes that influxd's cache flush
//! gives. (All facts from files influxd 1.6.7 wrote, unless said otherwise.)

use thiserror::Error;

pub mod booleans;
pub mod floats;
pub mod integers;
pub mod simple8b;
pub mod strings;
pub mod times;

/// The most points that are taken from a block. influxd writes 1000, and 10,000 at most when so
/// told; the format has no limit, and a dozen bytes can claim any number.
pub(crate) const MAX_POINTS: usize = 1 << 20;

/// The most bytes a block, or the strings in it, may have to be unpacked. influxd takes 25 MB of
/// points in one request.
pub(crate) const MAX_BYTES: usize = 256 << 20;

/// Why a block or a section of one cannot be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum DecodeError {
    /// The bytes end before the values do.
    #[error("it breaks off")]
    Cut,
    /// The first byte of a section is not one that is known there.
    #[error("a section begins with the unknown byte {0:#04x}")]
    Form(u8),
    /// A variable-length number has more than 64 bits.
    #[error("a number has more than 64 bits")]
    Varint,
    /// A block has a type byte that is not known.
    #[error("the unknown type {0}")]
    BlockType(u8),
    /// A block has no points.
    #[error("it has no points")]
    Empty,
    /// A block has more points than are taken from one, see [`MAX_POINTS`].
    #[error("it has more points than are ever written")]
    TooMany,
    /// A block is, or would become, larger than is taken into memory, see [`MAX_BYTES`].
    #[error("it is too large to be unpacked")]
    TooLarge,
    /// There are fewer values than times.
    #[error("it has fewer values than times")]
    FewerValues,
    /// There are more values than times.
    #[error("it has more values than times")]
    MoreValues,
    /// Bytes follow the last value.
    #[error("bytes follow the last value")]
    Surplus,
    /// A float says that more than 64 of its bits changed.
    #[error("a float has more than 64 bits")]
    Window,
    /// Strings are not compressed as they should be.
    #[error("its strings cannot be decompressed")]
    Compression,
    /// A time is not later than the one before it.
    #[error("a point is not later than the one before it")]
    TimeOrder,
}

/// Why points cannot be packed into a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum EncodeError {
    /// There are none.
    #[error("no points for a block")]
    Empty,
    /// There are not as many times as values.
    #[error("{times} times for {values} values")]
    Counts {
        /// The times.
        times: usize,
        /// The values.
        values: usize,
    },
    /// A time is not later than the one before it.
    #[error("a point is not later than the one before it")]
    TimeOrder,
    /// A float has the bits that mark the end of floats.
    #[error("the NaN that marks the end of floats cannot be stored")]
    EndMark,
    /// The strings are together more than Snappy takes, or than can be unpacked again.
    #[error("the strings of a block are too long")]
    TooLarge,
}

/// Takes a variable-length number off the front: seven bits a byte, the lowest first, the high bit
/// set where more follow.
pub(super) fn take_uvarint(bytes: &mut &[u8]) -> Result<u64, DecodeError> {
    let mut number = 0;
    for (at, &byte) in bytes.iter().enumerate() {
        // The tenth byte has room for the highest bit of 64 only.
        if at == 9 && byte > 1 {
            return Err(DecodeError::Varint);
        }
        number |= u64::from(byte & 0x7f) << (7 * at);
        if byte < 0x80 {
            *bytes = &bytes[at + 1..];
            return Ok(number);
        }
    }
    Err(DecodeError::Cut)
}

/// Takes bytes off the front that have their length before them, as a variable-length number.
pub(super) fn take_sized<'a>(bytes: &mut &'a [u8]) -> Result<&'a [u8], DecodeError> {
    let length = take_uvarint(bytes)?;
    let sized = usize::try_from(length)
        .ok()
        .and_then(|length| bytes.split_at_checked(length));
    let (sized, rest) = sized.ok_or(DecodeError::Cut)?;
    *bytes = rest;
    Ok(sized)
}

/// Adds a variable-length number.
pub(super) fn put_uvarint(mut number: u64, out: &mut Vec<u8>) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Takes eight bytes off the front.
fn take_u64(bytes: &mut &[u8]) -> Result<u64, DecodeError> {
    let (first, rest) = bytes.split_first_chunk().ok_or(DecodeError::Cut)?;
    *bytes = rest;
    Ok(u64::from_be_bytes(*first))
}

/// Takes the byte that names the form of a section off the front.
fn take_form(bytes: &mut &[u8]) -> Result<u8, DecodeError> {
    let (&form, rest) = bytes.split_first().ok_or(DecodeError::Cut)?;
    *bytes = rest;
    Ok(form)
}

/// Whether a section's values are as many as its block has times.
fn compare(values: usize, times: usize) -> Result<(), DecodeError> {
    match values.cmp(&times) {
        std::cmp::Ordering::Less => Err(DecodeError::FewerValues),
        std::cmp::Ordering::Equal => Ok(()),
        std::cmp::Ordering::Greater => Err(DecodeError::MoreValues),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn numbers_of_variable_length_go_both_ways(shift in 0..64_u32, number: u64, rest: [u8; 2]) {
            let (number, mut bytes) = (number >> shift, Vec::new());
            put_uvarint(number, &mut bytes);
            let end = bytes.len();
            prop_assert_eq!(take_uvarint(&mut &bytes[..end - 1]), Err(DecodeError::Cut));
            bytes.extend(rest);
            let mut left = &bytes[..];
            prop_assert_eq!(take_uvarint(&mut left), Ok(number));
            prop_assert_eq!(left, &rest[..]);
        }
    }

    #[test]
    fn a_number_of_more_than_64_bits_is_an_error() {
        let mut bytes = [0xff; 11];
        assert_eq!(take_uvarint(&mut &bytes[..]), Err(DecodeError::Varint));
        bytes[9] = 2;
        assert_eq!(take_uvarint(&mut &bytes[..]), Err(DecodeError::Varint));
        bytes[9] = 1;
        assert_eq!(take_uvarint(&mut &bytes[..]), Ok(u64::MAX));
    }
}
