//! Simple8b: as many small numbers as fit, all of one width, in each word of 64 bits.
//!
//! A word is big-endian. Its top four bits select how many numbers it has and how wide they are;
//! the numbers lie below, the first lowest. Two selectors have no width: each of their numbers is
//! 1. A word is always full.

use super::DecodeError;

/// The greatest number that fits into a word.
pub(super) const MAX: u64 = (1 << 60) - 1;

/// Numbers in a word and bits of each, by selector.
const LAYOUTS: [(usize, u32); 16] = [
    (240, 0),
    (120, 0),
    (60, 1),
    (30, 2),
    (20, 3),
    (15, 4),
    (12, 5),
    (10, 6),
    (8, 7),
    (7, 8),
    (6, 10),
    (5, 12),
    (4, 15),
    (3, 20),
    (2, 30),
    (1, 60),
];

/// How many numbers `words` hold.
pub(super) fn count(words: &[u8]) -> Result<usize, DecodeError> {
    let (words, rest) = words.as_chunks::<8>();
    if !rest.is_empty() {
        return Err(DecodeError::Cut);
    }
    Ok(words
        .iter()
        .map(|word| LAYOUTS[usize::from(word[0] >> 4)].0)
        .sum())
}

/// How many of the first words hold `count` numbers; all, where they hold fewer.
pub(super) fn words(words: &[u8], count: usize) -> usize {
    let mut left = count;
    let words = words.as_chunks::<8>().0.iter();
    let needed = words.take_while(|word| {
        let is_needed = left > 0;
        left = left.saturating_sub(LAYOUTS[usize::from(word[0] >> 4)].0);
        is_needed
    });
    needed.count()
}

/// The layout of one selector, known when compiling, so that the loop over a word's numbers is
/// unrolled.
#[inline(always)]
fn unpack<const COUNT: u32, const BITS: u32>(word: u64, each: &mut impl FnMut(u64)) {
    let mask = (1 << BITS) - 1;
    for at in 0..COUNT {
        each(word >> (at * BITS) & mask);
    }
}

/// Calls `each` with the numbers in turn. Bytes after the last whole word are not looked at;
/// [`count`] tells of them.
#[inline]
pub(super) fn for_each(words: &[u8], mut each: impl FnMut(u64)) {
    let each = &mut each;
    for word in words.as_chunks::<8>().0 {
        let word = u64::from_be_bytes(*word);
        match word >> 60 {
            0 => (0..240).for_each(|_| each(1)),
            1 => (0..120).for_each(|_| each(1)),
            2 => unpack::<60, 1>(word, each),
            3 => unpack::<30, 2>(word, each),
            4 => unpack::<20, 3>(word, each),
            5 => unpack::<15, 4>(word, each),
            6 => unpack::<12, 5>(word, each),
            7 => unpack::<10, 6>(word, each),
            8 => unpack::<8, 7>(word, each),
            9 => unpack::<7, 8>(word, each),
            10 => unpack::<6, 10>(word, each),
            11 => unpack::<5, 12>(word, each),
            12 => unpack::<4, 15>(word, each),
            13 => unpack::<3, 20>(word, each),
            14 => unpack::<2, 30>(word, each),
            _ => unpack::<1, 60>(word, each),
        }
    }
}

/// The sum of a word's numbers, or none where one of them is 0. All are looked at at once.
#[inline(always)]
fn sum_of_word<const COUNT: u32, const BITS: u32>(word: u64) -> Option<u64> {
    let field = (1 << BITS) - 1;
    // A one in each field, and the highest bit of each.
    let ones = const {
        let (mut ones, mut at) = (0_u64, 0);
        while at < COUNT {
            ones |= 1 << (at * BITS);
            at += 1;
        }
        ones
    };
    let word = word & (u64::MAX >> (64 - COUNT * BITS));
    // The lowest field of 0 borrows from the next and gets its highest bit; a field that had it
    // already is not 0.
    if word.wrapping_sub(ones) & !word & (ones << (BITS - 1)) != 0 {
        return None;
    }
    if COUNT.is_multiple_of(2) && COUNT >> BITS == 0 {
        // Pairs have fields of twice the width, which hold the sum of all; multiplying brings it to
        // the highest.
        let low = const {
            let (mut low, mut at) = (0_u64, 0);
            while at < COUNT {
                low |= ((1 << BITS) - 1) << (at * BITS);
                at += 2;
            }
            low
        };
        let pairs = (word & low) + (word >> BITS & low);
        let mut sums = 0_u64;
        let mut at = 0;
        while at < COUNT {
            sums = sums.wrapping_add(pairs << (at * BITS));
            at += 2;
        }
        return Some(sums >> ((COUNT - 2) * BITS) & ((1 << (2 * BITS)) - 1));
    }
    Some((0..COUNT).map(|at| word >> (at * BITS) & field).sum())
}

/// The sum of all numbers, or none where one of them is 0.
pub(super) fn sum_unless_zero(words: &[u8]) -> Option<u128> {
    let mut sum = 0;
    for word in words.as_chunks::<8>().0 {
        let word = u64::from_be_bytes(*word);
        let of_word = match word >> 60 {
            0 => 240,
            1 => 120,
            2 => sum_of_word::<60, 1>(word)?,
            3 => sum_of_word::<30, 2>(word)?,
            4 => sum_of_word::<20, 3>(word)?,
            5 => sum_of_word::<15, 4>(word)?,
            6 => sum_of_word::<12, 5>(word)?,
            7 => sum_of_word::<10, 6>(word)?,
            8 => sum_of_word::<8, 7>(word)?,
            9 => sum_of_word::<7, 8>(word)?,
            10 => sum_of_word::<6, 10>(word)?,
            11 => sum_of_word::<5, 12>(word)?,
            12 => sum_of_word::<4, 15>(word)?,
            13 => sum_of_word::<3, 20>(word)?,
            14 => sum_of_word::<2, 30>(word)?,
            _ => sum_of_word::<1, 60>(word)?,
        };
        sum += u128::from(of_word);
    }
    Some(sum)
}

/// Packs numbers up to [`MAX`], each word with as many as are there to fill it. The selectors
/// without width are taken only where all of the next `window` numbers, or all that are left, are
/// 1: influxd looks no further ahead.
pub(super) fn encode(mut numbers: &[u64], window: usize, out: &mut Vec<u8>) {
    while !numbers.is_empty() {
        let ahead = &numbers[..numbers.len().min(window)];
        // No wider numbers come than 60 bits, so that the last layout always fits.
        let fits = |&(count, bits): &(usize, u32)| match bits {
            0 => ahead.len() >= count && ahead.iter().all(|&number| number == 1),
            _ => ahead.len() >= count && ahead[..count].iter().all(|&number| number >> bits == 0),
        };
        let selector = LAYOUTS.iter().position(fits).unwrap_or(LAYOUTS.len() - 1);
        let (count, bits) = LAYOUTS[selector];
        let mut word = (selector as u64) << 60;
        if bits > 0 {
            for (at, number) in (0..).zip(&numbers[..count]) {
                word |= number << (at * bits);
            }
        }
        out.extend(word.to_be_bytes());
        numbers = &numbers[count..];
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pack(numbers: &[u64], window: usize) -> Vec<u8> {
        let mut words = Vec::new();
        encode(numbers, window, &mut words);
        words
    }

    fn unpack_all(words: &[u8]) -> Vec<u64> {
        let mut numbers = Vec::new();
        for_each(words, |number| numbers.push(number));
        numbers
    }

    #[test]
    fn two_numbers_share_a_word_as_influxd_has_it() {
        assert_eq!(pack(&[7, 2], 240), 0xe000_0000_8000_0007_u64.to_be_bytes());
        assert_eq!(unpack_all(&0xe000_0000_8000_0007_u64.to_be_bytes()), [7, 2]);
    }

    #[test]
    fn ones_take_no_width_where_no_other_number_is_in_sight() {
        let selectors = |numbers: &[u64], window| -> Vec<u8> {
            pack(numbers, window)
                .as_chunks::<8>()
                .0
                .iter()
                .map(|word| word[0] >> 4)
                .collect()
        };
        assert_eq!(selectors(&[1; 240], 240), [0]);
        assert_eq!(selectors(&[1; 361], 240), [0, 1, 15]);
        let mut numbers = vec![1; 300];
        numbers.push(2);
        assert_eq!(selectors(&numbers, 240), [0, 2, 15]);
        assert_eq!(selectors(&numbers, usize::MAX), [2, 2, 2, 2, 2, 15]);
    }

    #[test]
    fn what_is_not_whole_words_is_cut() {
        assert_eq!(count(&[0; 16]), Ok(480));
        assert_eq!(count(&[0; 15]), Err(DecodeError::Cut));
    }

    proptest! {
        #[test]
        fn numbers_come_back(
            numbers in prop::collection::vec((0..=60_u32, any::<u64>()).prop_map(|(bits, n)| n & ((1 << bits) - 1)), 0..600),
            ones in 0..600_usize,
            window in prop_oneof![Just(240), Just(usize::MAX)],
        ) {
            let numbers = [numbers, vec![1; ones]].concat();
            let words = pack(&numbers, window);
            prop_assert_eq!(count(&words), Ok(numbers.len()));
            let sum = numbers.iter().map(|number| u128::from(*number)).sum();
            prop_assert_eq!(sum_unless_zero(&words), Some(sum).filter(|_| !numbers.contains(&0)));
            let above: Vec<u64> = numbers.iter().map(|number| number.max(&1)).copied().collect();
            let sum = above.iter().map(|number| u128::from(*number)).sum();
            prop_assert_eq!(sum_unless_zero(&pack(&above, window)), Some(sum));
            prop_assert_eq!(unpack_all(&words), numbers);
        }

        #[test]
        fn the_sum_of_any_word_is_that_of_its_numbers(word: u64, selector in 0..16_u64) {
            let words = (word >> 4 | selector << 60).to_be_bytes();
            let numbers = unpack_all(&words);
            let sum = numbers.iter().map(|number| u128::from(*number)).sum();
            prop_assert_eq!(sum_unless_zero(&words), Some(sum).filter(|_| !numbers.contains(&0)));
        }

        #[test]
        fn any_words_are_numbers_that_pack_again(words in prop::collection::vec(any::<[u8; 8]>(), 0..20)) {
            let numbers = unpack_all(words.as_flattened());
            prop_assert_eq!(count(words.as_flattened()), Ok(numbers.len()));
            prop_assert_eq!(unpack_all(&pack(&numbers, 240)), numbers);
        }
    }
}
