//! How times and values are packed in a block: one module for each kind, with packing and unpacking side by side.
//!
//! Each section begins with a byte whose high half names the form; the low half is 0, or a scale for times. Unpacking takes any
//! bytes at all: it ends with values or an error, and takes memory only for as many values as it was allowed. Packing gives the
//! bytes that influxd's cache flush gives. (All facts from files influxd 1.6.7 wrote, unless said otherwise.)

use std::fmt;

pub mod booleans;
pub mod floats;
pub mod integers;
pub mod simple8b;
pub mod strings;
pub mod times;

/// Why a block or a section of one cannot be unpacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeError {
    /// The bytes end before the values do.
    Cut,
    /// The first byte of a section is not one that is known there.
    Form(u8),
    /// A variable-length number has more than 64 bits.
    Varint,
    /// A block has a type byte that is not known.
    BlockType(u8),
    /// A block has no points.
    Empty,
    /// A block has more points than are taken from one, see [`MAX_POINTS`](super::block::MAX_POINTS).
    TooMany,
    /// A block is, or would become, larger than is taken into memory, see [`MAX_BYTES`](super::block::MAX_BYTES).
    TooLarge,
    /// There are fewer values than times.
    FewerValues,
    /// There are more values than times.
    MoreValues,
    /// Bytes follow the last value.
    Surplus,
    /// A float says that more than 64 of its bits changed.
    Window,
    /// Strings are not compressed as they should be.
    Compression,
    /// A time is not later than the one before it.
    TimeOrder,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cut => f.write_str("it breaks off"),
            Self::Form(byte) => write!(f, "a section begins with the unknown byte {byte:#04x}"),
            Self::Varint => f.write_str("a number has more than 64 bits"),
            Self::BlockType(byte) => write!(f, "the unknown type {byte}"),
            Self::Empty => f.write_str("it has no points"),
            Self::TooMany => f.write_str("it has more points than are ever written"),
            Self::TooLarge => f.write_str("it is too large to be unpacked"),
            Self::FewerValues => f.write_str("it has fewer values than times"),
            Self::MoreValues => f.write_str("it has more values than times"),
            Self::Surplus => f.write_str("bytes follow the last value"),
            Self::Window => f.write_str("a float has more than 64 bits"),
            Self::Compression => f.write_str("its strings cannot be decompressed"),
            Self::TimeOrder => f.write_str("a point is not later than the one before it"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Why points cannot be packed into a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EncodeError {
    /// There are none.
    Empty,
    /// There are not as many times as values.
    Counts {
        /// The times.
        times: usize,
        /// The values.
        values: usize,
    },
    /// A time is not later than the one before it.
    TimeOrder,
    /// A float has the bits that mark the end of floats.
    EndMark,
    /// The strings are together more than Snappy takes, or than can be unpacked again.
    TooLarge,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("no points for a block"),
            Self::Counts { times, values } => write!(f, "{times} times for {values} values"),
            Self::TimeOrder => f.write_str("a point is not later than the one before it"),
            Self::EndMark => f.write_str("the NaN that marks the end of floats cannot be stored"),
            Self::TooLarge => f.write_str("the strings of a block are too long"),
        }
    }
}

impl std::error::Error for EncodeError {}

/// Takes a variable-length number off the front: seven bits a byte, the lowest first, the high bit set where more follow.
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
