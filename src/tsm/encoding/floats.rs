//! Floats: each the XOR with the one before, of which only the bits that are not 0 are kept
//! (Facebook's Gorilla).
//!
//! After the form, a stream of bits from the highest down: the first value whole; then, for each
//! value, `0` where it is the one before; `10` and the bits of the XOR inside the window of bits
//! used last; or `11`, five bits for the zeros before a new window, six for its width (0 for 64),
//! and the bits inside it. One value more, the NaN `7FF8000000000001`, ends the stream; it is
//! filled up to whole bytes with zeros.

use super::{DecodeError, EncodeError, take_form, take_u64};

/// The only form.
const GORILLA: u8 = 0x10;

/// The bits of the value that ends the values.
const END: u64 = 0x7FF8_0000_0000_0001;

/// Bytes that are looked at to read a value. A value has 77 bits at most, and may begin in the
/// middle of a byte.
const VIEW: usize = 16;

/// Bits that one look shows, wherever in a byte they begin.
const LOOK: u32 = 57;

/// The bits of the stream from bit `at` on, the first highest: [`LOOK`] or more, and zeros after
/// them.
#[inline(always)]
fn look(view: &[u8; VIEW], at: usize) -> u64 {
    let (first, _) = view.split_first_chunk().unwrap_or((&[0; 8], &[]));
    u64::from_be_bytes(*first) << (at % 8)
}

/// All 64 bits of the stream that follow `skip` bits after bit `at`; 1 to 56 of them.
#[inline(always)]
fn look_wide(view: &[u8; VIEW], at: usize, skip: usize) -> u64 {
    let (_, second) = view.split_last_chunk().unwrap_or((&[], &[0; 8]));
    let shift = at % 8 + skip;
    (look(view, at) << skip) | (u64::from_be_bytes(*second) >> (64 - shift))
}

/// A place between the values of a stream.
#[derive(Clone, Copy)]
struct XorState {
    /// Bits passed.
    at: usize,
    /// The bits of the value there.
    value: u64,
    /// Bits of the window.
    width: u32,
    /// Bits above it.
    lead: u32,
    /// How many values stand before this one.
    index: usize,
}

impl XorState {
    /// Calls `each` with an index, a count and the bits of as many equal values, up to `count`
    /// values in all, and stops at the value after the last. Stops before, and says so, where fewer
    /// bytes follow than are looked at.
    #[inline(always)]
    fn run(
        &mut self,
        bytes: &[u8],
        count: usize,
        each: &mut impl FnMut(usize, usize, u64),
    ) -> Result<bool, DecodeError> {
        let XorState {
            mut at,
            mut value,
            mut width,
            mut lead,
            mut index,
        } = *self;
        let mut mask = u64::MAX << (64 - width);
        let done = loop {
            if index == count {
                break true;
            }
            let start = at / 8;
            let Some(view) = bytes
                .get(start..start + VIEW)
                .and_then(|view| view.first_chunk::<VIEW>())
            else {
                break false;
            };
            if value == END {
                return Err(DecodeError::FewerValues);
            }
            let bits = look(view, at);
            if bits >> 63 == 0 {
                // As many zeros, as many values like this one; and this one.
                let zeros = (bits | 1 << (64 - LOOK)).leading_zeros() as usize;
                let run = zeros.min(count - index);
                each(index, run, value);
                index += run;
                at += run;
                continue;
            }
            each(index, 1, value);
            index += 1;
            if bits >> 62 == 0b10 {
                // What lies in the window is brought to the top, and from there to its place.
                let change = if width <= LOOK - 2 {
                    bits << 2
                } else {
                    look_wide(view, at, 2)
                };
                value ^= (change & mask) >> lead;
                at += 2 + width as usize;
                continue;
            }
            lead = (bits >> 57) as u32 & 31;
            // 64 is written as 0.
            width = ((bits >> 51) as u32).wrapping_sub(1) % 64 + 1;
            if lead + width > 64 {
                return Err(DecodeError::Window);
            }
            mask = u64::MAX << (64 - width);
            value ^= (look_wide(view, at, 13) & mask) >> lead;
            at += 13 + width as usize;
        };
        *self = XorState {
            at,
            value,
            width,
            lead,
            index,
        };
        Ok(done)
    }
}

/// Calls `each` with an index, a count, and the bits of as many equal values, for `count` values at
/// the front of `bytes`. Bytes that they and the value after the last take, and the bits of that.
#[inline(always)]
fn for_each_at_front(
    mut bytes: &[u8],
    count: usize,
    mut each: impl FnMut(usize, usize, u64),
) -> Result<(usize, u64), DecodeError> {
    let whole = bytes.len();
    match take_form(&mut bytes)? {
        GORILLA => {}
        form => return Err(DecodeError::Form(form)),
    }
    let value = take_u64(&mut bytes)?;
    // A stream always begins with a window of its own; were it not so, influxd would take all 64
    // bits.
    let mut state = XorState {
        at: 0,
        value,
        width: 64,
        lead: 0,
        index: 0,
    };
    if !state.run(bytes, count, &mut each)? {
        // What is left is looked at with zeros behind it: enough for every bit of it to be a value
        // of its own.
        let start = state.at / 8;
        let rest = bytes.get(start..).ok_or(DecodeError::Cut)?;
        let mut padded = [0; 3 * VIEW];
        padded[..rest.len()].copy_from_slice(rest);
        state.at -= 8 * start;
        if !state.run(&padded, count, &mut each)? {
            return Err(DecodeError::Cut);
        }
        state.at += 8 * start;
    }
    let taken = whole - bytes.len() + state.at.div_ceil(8);
    match taken <= whole {
        true => Ok((taken, state.value)),
        false => Err(DecodeError::Cut),
    }
}

/// Calls `each` as [`for_each_at_front`] does, for all of a section, which is to have `count`
/// values.
#[inline(always)]
fn for_each(
    section: &[u8],
    count: usize,
    each: impl FnMut(usize, usize, u64),
) -> Result<(), DecodeError> {
    let (taken, last) = for_each_at_front(section, count, each)?;
    match last {
        END if taken < section.len() => Err(DecodeError::Surplus),
        END => Ok(()),
        _ => Err(DecodeError::MoreValues),
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
    values: &mut Vec<f64>,
) -> Result<(), DecodeError> {
    values.clear();
    // A value takes a bit at least.
    if count > 8 * section.len() {
        return Err(DecodeError::FewerValues);
    }
    values.resize(count, 0.0);
    for_each(section, count, |index, run, bits| {
        values[index..index + run].fill(f64::from_bits(bits))
    })
}

/// Whether a section has `count` values.
///
/// # Errors
///
/// As [`decode_into`] would give.
pub fn check(section: &[u8], count: usize) -> Result<(), DecodeError> {
    if count > 8 * section.len() {
        return Err(DecodeError::FewerValues);
    }
    for_each(section, count, |_, _, _| {})
}

/// Bytes of the section at the front of `bytes`, which is to have `count` values. What follows it
/// may be anything.
///
/// # Errors
///
/// When there is none, or `bytes` end before it does.
pub(crate) fn check_front(bytes: &[u8], count: usize) -> Result<usize, DecodeError> {
    match for_each_at_front(bytes, count, |_, _, _| {})? {
        (taken, END) => Ok(taken),
        _ => Err(DecodeError::MoreValues),
    }
}

/// Adds the section of some values.
///
/// # Errors
///
/// When one of them has the bits that end the values.
pub fn encode(values: &[f64], out: &mut Vec<u8>) -> Result<(), EncodeError> {
    if values.iter().any(|value| value.to_bits() == END) {
        return Err(EncodeError::EndMark);
    }
    out.push(GORILLA);
    let mut bits = BitWriter {
        out,
        word: 0,
        used: 0,
    };
    let mut all = values.iter().map(|value| value.to_bits()).chain([END]);
    let mut before = all.next().unwrap_or(END);
    bits.put(before, 64);
    let mut window = None;
    for value in all {
        let change = value ^ before;
        before = value;
        if change == 0 {
            bits.put(0, 1);
            continue;
        }
        // The zeros before a window are written in five bits, and influxd lets the sixth drop.
        let (lead, trail) = (change.leading_zeros() % 32, change.trailing_zeros());
        let (lead, trail) = match window {
            Some((old_lead, old_trail)) if lead >= old_lead && trail >= old_trail => {
                bits.put(0b10, 2);
                (old_lead, old_trail)
            }
            _ => {
                let width = 64 - lead - trail;
                bits.put(
                    0b11 << 11 | u64::from(lead) << 6 | u64::from(width % 64),
                    13,
                );
                window = Some((lead, trail));
                (lead, trail)
            }
        };
        bits.put(change >> trail, 64 - lead - trail);
    }
    bits.finish();
    Ok(())
}

/// Gathers bits to words, the first highest.
struct BitWriter<'a> {
    out: &'a mut Vec<u8>,
    /// Bits to be written; fewer than 64 between calls.
    word: u64,
    used: u32,
}

impl BitWriter<'_> {
    /// Adds the lowest `count` bits of `bits`, 1 to 64; the others are 0.
    fn put(&mut self, bits: u64, count: u32) {
        let room = 64 - self.used;
        if count < room {
            self.word |= bits << (room - count);
            self.used += count;
            return;
        }
        let left = count - room;
        self.out.extend((self.word | bits >> left).to_be_bytes());
        self.word = if left == 0 { 0 } else { bits << (64 - left) };
        self.used = left;
    }

    fn finish(self) {
        let bytes = self.used.div_ceil(8) as usize;
        self.out
            .extend_from_slice(&self.word.to_be_bytes()[..bytes]);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pack(values: &[f64]) -> Vec<u8> {
        let mut section = Vec::new();
        encode(values, &mut section).unwrap();
        section
    }

    fn unpack(section: &[u8], count: usize) -> Result<Vec<u64>, DecodeError> {
        let mut values = vec![7.0];
        let decoded = decode_into(section, count, &mut values);
        assert_eq!(check(section, count), decoded);
        decoded.map(|()| bits(&values))
    }

    fn bits(values: &[f64]) -> Vec<u64> {
        values.iter().map(|value| value.to_bits()).collect()
    }

    const THREE: [u8; 22] = *b"\x10\x3f\xf8\x00\x00\x00\x00\x00\x00\x61\x33\xff\xf1\x7d\xff\xc0\x00\x00\x00\x00\x00\x08";

    #[test]
    fn bytes_are_those_of_influxd() {
        let one = b"\x10\x3f\xf8\x00\x00\x00\x00\x00\x00\xc3\xfc\x00\x00\x00\x00\x00\x00\x00\x10";
        assert_eq!(pack(&[1.5]), one);
        assert_eq!(unpack(one, 1), Ok(bits(&[1.5])));
        assert_eq!(pack(&[1.5, 1.5, 2.0]), THREE);
        assert_eq!(unpack(&THREE, 3), Ok(bits(&[1.5, 1.5, 2.0])));
    }

    #[test]
    fn counts_that_differ_and_bytes_too_few_or_many_are_told() {
        assert_eq!(unpack(&THREE, 2), Err(DecodeError::MoreValues));
        assert_eq!(unpack(&THREE, 4), Err(DecodeError::FewerValues));
        assert_eq!(
            unpack(&THREE, usize::MAX / 2),
            Err(DecodeError::FewerValues)
        );
        assert_eq!(
            unpack(&[&THREE[..], &[0]].concat(), 3),
            Err(DecodeError::Surplus)
        );
        for end in 0..THREE.len() {
            assert!(unpack(&THREE[..end], 3).is_err(), "cut at {end}");
        }
        assert_eq!(unpack(&[0x20; 20], 1), Err(DecodeError::Form(0x20)));
        let too_wide = [&THREE[..9], &[0b1111_1111, 0b1111_1000], &[0; 20]].concat();
        assert_eq!(unpack(&too_wide, 2), Err(DecodeError::Window));
    }

    #[test]
    fn the_mark_of_the_end_is_no_value_and_other_nans_are() {
        let mut section = Vec::new();
        assert_eq!(
            encode(&[1.0, f64::from_bits(END)], &mut section),
            Err(EncodeError::EndMark)
        );
        assert!(section.is_empty());
        let other = [
            f64::from_bits(END + 1),
            f64::from_bits(0xFFF8_0000_0000_0000),
        ];
        assert_eq!(unpack(&pack(&other), 2), Ok(bits(&other)));
        assert_eq!(unpack(&pack(&[]), 0), Ok(vec![]));
    }

    fn some_values() -> impl Strategy<Value = Vec<f64>> {
        let edge = prop::sample::select(vec![
            0.0,
            -0.0,
            1.0,
            f64::MAX,
            f64::MIN,
            f64::MIN_POSITIVE,
            5e-324,
            f64::INFINITY,
        ]);
        let value = prop_oneof![
            edge,
            (-1000..1000).prop_map(|n| f64::from(n) * 0.1),
            (0..50).prop_map(f64::from),
            any::<u64>().prop_map(f64::from_bits),
            (any::<u64>(), 0..64_u32).prop_map(|(bits, shift)| f64::from_bits(bits >> shift)),
        ];
        prop::collection::vec((value, 1..6_usize), 0..200).prop_map(|runs| {
            let values = runs
                .into_iter()
                .flat_map(|(value, count)| std::iter::repeat_n(value, count));
            values.filter(|value| value.to_bits() != END).collect()
        })
    }

    proptest! {
        #[test]
        fn values_come_back(values in some_values()) {
            let section = pack(&values);
            prop_assert_eq!(unpack(&section, values.len()), Ok(bits(&values)));
            prop_assert!(unpack(&section, values.len() + 1).is_err());
            prop_assert!(values.is_empty() || unpack(&section, values.len() - 1).is_err());
            prop_assert!(unpack(&section[..section.len() - 1], values.len()).is_err());
        }

        #[test]
        fn any_bytes_are_values_that_pack_again_or_an_error(
            bytes in prop::collection::vec(any::<u8>(), 0..80),
            values in some_values(),
            damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
            count in 0..100_usize,
        ) {
            let mut damaged = pack(&values);
            for (at, byte) in damage {
                let at = at.index(damaged.len());
                damaged[at] = byte;
            }
            for (section, count) in [([&[0x10], &bytes[..]].concat(), count), (bytes, count), (damaged, values.len())] {
                if let Ok(values) = unpack(&section, count) {
                    let floats: Vec<f64> = values.iter().copied().map(f64::from_bits).collect();
                    prop_assert_eq!(unpack(&pack(&floats), count), Ok(values));
                }
            }
        }
    }
}
