//! Times: the first, then differences, divided by the greatest power of ten up to 10^12 that
//! divides them all.
//!
//! The low half of the first byte is that power. Three forms: the first and the differences as they
//! are; the first and the scaled differences in Simple8b; and, where all differences are equal, the
//! first, the scaled difference and the count of times. All arithmetic is modulo 2^64.

use super::{DecodeError, MAX_POINTS, put_uvarint, simple8b, take_form, take_u64, take_uvarint};

const RAW: u8 = 0;
const PACKED: u8 = 1;
const RUN: u8 = 2;

/// The greatest power of ten that differences are divided by.
const MAX_POWER: u8 = 12;

/// How many numbers influxd's encoder of times has in sight.
const WINDOW: usize = 240;

/// A section whose form and count were looked at.
struct TimeSection<'a> {
    first: u64,
    count: usize,
    scale: u64,
    rest: Differences<'a>,
}

enum Differences<'a> {
    Raw(&'a [u8]),
    Packed(&'a [u8]),
    Run(u64),
}

fn open(mut section: &[u8]) -> Result<TimeSection<'_>, DecodeError> {
    let form = take_form(&mut section)?;
    let power = form & 0x0f;
    if power > MAX_POWER || form >> 4 > RUN || form >> 4 == RAW && power != 0 {
        return Err(DecodeError::Form(form));
    }
    let scale = 10_u64.pow(power.into());
    let first = take_u64(&mut section)?;
    let (count, rest) = match form >> 4 {
        RAW if !section.len().is_multiple_of(8) => return Err(DecodeError::Cut),
        RAW => (section.len() / 8 + 1, Differences::Raw(section)),
        PACKED => (
            simple8b::count(section)?.saturating_add(1),
            Differences::Packed(section),
        ),
        _ => {
            let difference = take_uvarint(&mut section)?;
            let count = take_uvarint(&mut section)?;
            if !section.is_empty() {
                return Err(DecodeError::Surplus);
            }
            (
                usize::try_from(count).unwrap_or(usize::MAX),
                Differences::Run(difference),
            )
        }
    };
    match count {
        0 => Err(DecodeError::Empty),
        _ if count > MAX_POINTS => Err(DecodeError::TooMany),
        _ => Ok(TimeSection {
            first,
            count,
            scale,
            rest,
        }),
    }
}

/// How many times a section has, as far as that shows without unpacking them.
///
/// # Errors
///
/// When the section is damaged or has no times or too many.
pub(crate) fn count(section: &[u8]) -> Result<usize, DecodeError> {
    open(section).map(|section| section.count)
}

/// Replaces `times` by those of a section. They may be in any order.
///
/// # Errors
///
/// When the section is damaged or has no times or too many.
pub(crate) fn decode_into(section: &[u8], times: &mut Vec<i64>) -> Result<(), DecodeError> {
    times.clear();
    let TimeSection {
        first,
        count,
        scale,
        rest,
    } = open(section)?;
    if let Differences::Run(difference) = rest {
        let step = difference.wrapping_mul(scale);
        times.extend((0..count).map(|at| first.wrapping_add(step.wrapping_mul(at as u64)) as i64));
        return Ok(());
    }
    // To fill places is faster than to push, which looks each time whether there is room.
    times.resize(count, first as i64);
    let mut places = times[1..].iter_mut();
    let mut time = first;
    let mut add = |difference| {
        time = time.wrapping_add(difference);
        places
            .next()
            .into_iter()
            .for_each(|place| *place = time as i64);
    };
    match rest {
        Differences::Raw(numbers) => numbers
            .as_chunks()
            .0
            .iter()
            .for_each(|number| add(u64::from_be_bytes(*number))),
        // Most data of whole nanoseconds has no scale, and a multiplication takes its time.
        Differences::Packed(words) if scale == 1 => simple8b::for_each(words, add),
        Differences::Packed(words) => {
            simple8b::for_each(words, |number| add(number.wrapping_mul(scale)))
        }
        Differences::Run(_) => {}
    }
    Ok(())
}

/// What is known of times without unpacking them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// How many there are, at least one.
    pub count: usize,
    /// The first.
    pub first: i64,
    /// The last.
    pub last: i64,
}

/// Whether a section's times are each later than the one before, and which they span.
///
/// # Errors
///
/// When they are not, or as [`decode_into`] would give.
pub fn check(section: &[u8]) -> Result<Span, DecodeError> {
    let TimeSection {
        first,
        count,
        scale,
        rest,
    } = open(section)?;
    // Where each difference is above 0 and the last time is one, each is. No sum overflows: there
    // are not that many times.
    let sum = match rest {
        Differences::Raw(numbers) => {
            let numbers = || {
                numbers
                    .as_chunks()
                    .0
                    .iter()
                    .map(|number| u64::from_be_bytes(*number))
            };
            numbers()
                .all(|number| number != 0)
                .then(|| numbers().map(u128::from).sum::<u128>())
        }
        Differences::Packed(words) => simple8b::sum_unless_zero(words),
        Differences::Run(difference) => {
            (difference != 0 || count == 1).then_some(u128::from(difference) * (count as u128 - 1))
        }
    };
    let first = first as i64;
    let last = sum.and_then(|sum| i128::try_from(sum.checked_mul(u128::from(scale))?).ok());
    let last = last.and_then(|span| i64::try_from(span.checked_add(first.into())?).ok());
    last.map(|last| Span { count, first, last })
        .ok_or(DecodeError::TimeOrder)
}

/// Adds the section of some times, at least one.
pub fn encode(times: &[i64], out: &mut Vec<u8>) {
    let Some(&first) = times.first() else { return };
    let mut differences: Vec<u64> = times
        .windows(2)
        .map(|pair| (pair[1] as u64).wrapping_sub(pair[0] as u64))
        .collect();
    let power = common_power(&differences);
    let scale = 10_u64.pow(power.into());
    let run = differences
        .first()
        .filter(|first| differences.iter().all(|difference| difference == *first));
    if let Some(difference) = run {
        out.push(RUN << 4 | power);
        out.extend(first.to_be_bytes());
        put_uvarint(difference / scale, out);
        put_uvarint(times.len() as u64, out);
    } else if differences
        .iter()
        .any(|difference| *difference > simple8b::MAX)
    {
        out.push(RAW << 4);
        out.extend(first.to_be_bytes());
        differences
            .iter()
            .for_each(|difference| out.extend(difference.to_be_bytes()));
    } else {
        out.push(PACKED << 4 | power);
        out.extend(first.to_be_bytes());
        if scale > 1 {
            differences
                .iter_mut()
                .for_each(|difference| *difference /= scale);
        }
        simple8b::encode(&differences, WINDOW, out);
    }
}

/// The greatest power of ten, up to [`MAX_POWER`], that divides all.
fn common_power(differences: &[u64]) -> u8 {
    let (mut power, mut scale) = (MAX_POWER, 10_u64.pow(MAX_POWER.into()));
    for difference in differences {
        while difference % scale != 0 {
            power -= 1;
            scale /= 10;
        }
        if power == 0 {
            break;
        }
    }
    power
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pack(times: &[i64]) -> Vec<u8> {
        let mut section = Vec::new();
        encode(times, &mut section);
        section
    }

    /// Unpacks, and sees that looking at a section says the same.
    fn unpack(section: &[u8]) -> Result<Vec<i64>, DecodeError> {
        let mut times = vec![7];
        let decoded = decode_into(section, &mut times);
        match (check(section), decoded) {
            (Ok(span), Ok(())) => {
                assert!(times.is_sorted_by(|one, next| one < next));
                assert_eq!(
                    span,
                    Span {
                        count: times.len(),
                        first: times[0],
                        last: times[times.len() - 1]
                    }
                );
            }
            // Times that rise only because a difference has more than 64 bits are told too: nobody
            // writes them.
            (Err(DecodeError::TimeOrder), Ok(())) => {}
            (checked, Err(error)) => assert_eq!(checked, Err(error)),
            (Err(error), Ok(())) => panic!("{error}"),
        }
        decoded.map(|()| times)
    }

    const TIME: i64 = 1_600_000_000_000_000_000;

    #[test]
    fn bytes_are_those_of_influxd() {
        let single = b"\x1c\x16\x34\x57\x85\xd8\xa0\x00\x00";
        let run = b"\x2a\x16\x34\x57\x85\xd8\xa0\x00\x00\x01\x04";
        let packed = b"\x10\x16\x34\x57\x85\xd8\xa0\x00\x00\xe0\x00\x00\x00\x80\x00\x00\x07";
        let step = 10_000_000_000;
        for (section, times) in [
            (&single[..], &[TIME][..]),
            (run, &[TIME, TIME + step, TIME + 2 * step, TIME + 3 * step]),
            (packed, &[TIME, TIME + 7, TIME + 9]),
        ] {
            assert_eq!(pack(times), section);
            assert_eq!(unpack(section), Ok(times.to_vec()));
        }
    }

    #[test]
    fn the_form_is_chosen_as_influxd_does() {
        let form = |times: &[i64]| pack(times)[0];
        assert_eq!(form(&[0, 1_000_000_000_000_000]), 0x2c);
        assert_eq!(form(&[0, 1000, 2500]), 0x12);
        assert_eq!(form(&[0, 1, 1 << 60]), 0x10);
        assert_eq!(form(&[0, 1, (1 << 60) + 1]), 0x00);
        assert_eq!(form(&[i64::MIN, i64::MAX]), 0x20);
        assert_eq!(form(&[i64::MIN, 0, i64::MAX]), 0x00);
    }

    #[test]
    fn times_that_do_not_rise_are_told_and_unpacked_all_the_same() {
        for times in [
            &[5, 5][..],
            &[5, 4],
            &[1, 3, 3, 4],
            &[1, 2, 4, 3],
            &[i64::MAX, i64::MIN, 0],
        ] {
            assert_eq!(check(&pack(times)), Err(DecodeError::TimeOrder));
            assert_eq!(unpack(&pack(times)), Ok(times.to_vec()));
        }
    }

    #[test]
    fn counts_of_any_size_take_no_memory() {
        let run = [&[0x20, 0, 0, 0, 0, 0, 0, 0, 5, 1][..], &[0xff; 9], &[1]].concat();
        assert_eq!(unpack(&run), Err(DecodeError::TooMany));
        assert_eq!(
            unpack(&[&[0x10; 9][..], &[0; 8 * 5000]].concat()),
            Err(DecodeError::TooMany)
        );
        assert_eq!(
            unpack(&[0x20, 0, 0, 0, 0, 0, 0, 0, 5, 1, 0]),
            Err(DecodeError::Empty)
        );
        for form in [0x01, 0x1d, 0x30] {
            assert_eq!(
                unpack(&[&[form][..], &[0; 8]].concat()),
                Err(DecodeError::Form(form))
            );
        }
    }

    fn some_times() -> impl Strategy<Value = Vec<i64>> {
        let scale = prop::sample::select(vec![1, 1000, 1_000_000, 1_000_000_000, 10_i64.pow(13)]);
        let steps = prop_oneof![
            prop::collection::vec(1..=2_i64, 0..900),
            prop::collection::vec(1..100_000_i64, 0..300),
            (1..100_000_i64, 0..1000_usize).prop_map(|(step, count)| vec![step; count]),
        ];
        let regular = (any::<i64>(), scale, steps).prop_map(|(first, scale, steps)| {
            let next = |time: &mut i64, step: i64| {
                *time = time.checked_add(step.checked_mul(scale)?)?;
                Some(*time)
            };
            std::iter::once(first)
                .chain(steps.into_iter().scan(first, next))
                .collect()
        });
        let any_order = prop::collection::vec(any::<i64>(), 1..50);
        let ordered = prop::collection::btree_set(any::<i64>(), 1..50)
            .prop_map(|times| times.into_iter().collect());
        prop_oneof![regular, any_order, ordered]
    }

    proptest! {
        #[test]
        fn times_come_back(times in some_times()) {
            prop_assert_eq!(check(&pack(&times)).is_ok(), times.is_sorted_by(|one, next| one < next));
            prop_assert_eq!(unpack(&pack(&times)), Ok(times));
        }

        #[test]
        fn any_bytes_are_times_that_pack_again_or_an_error(
            form in prop_oneof![(0..3_u8, 0..13_u8).prop_map(|(form, power)| form << 4 | power), any::<u8>()],
            bytes in prop::collection::vec(any::<u8>(), 0..40),
            words in prop::collection::vec(any::<[u8; 8]>(), 0..5),
        ) {
            for section in [[&[form], &bytes[..]].concat(), [&[form], words.as_flattened()].concat(), bytes] {
                // A few bytes can be a million times.
                if let Ok(times) = unpack(&section).map(|times| times[..times.len().min(5000)].to_vec()) {
                    prop_assert_eq!(unpack(&pack(&times)), Ok(times));
                }
            }
        }
    }
}
