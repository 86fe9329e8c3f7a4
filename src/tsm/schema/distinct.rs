//! How many different things there were: exactly as long as memory allows, then by an estimate.
//!
//! Things are held as hashes of 64 bits. Of 200,000, two have the same hash in one of a thousand
//! million runs. What is too many to be held is counted by HyperLogLog, with the estimator of
//! Otmar Ertl ("New cardinality estimation algorithms for HyperLogLog sketches", 2017), which has
//! no bias at any size.

use std::collections::HashSet;
use std::hash::{BuildHasherDefault, DefaultHasher, Hasher};

/// The most hashes that are held for one count.
const MOST_OF_ONE: usize = 1 << 18;
/// The most hashes that are held for all counts together, but for small ones.
const MOST_OF_ALL: usize = 5 << 18;
/// So few hashes take no more memory than the registers that would stand for them.
const FEW: usize = 2048;
/// How many bits of a hash choose its register.
const PRECISION: u32 = 14;
const REGISTERS: usize = 1 << PRECISION;
/// What a register can hold: the bits of a hash that are left, and one.
const HIGHEST: usize = 64 - PRECISION as usize + 1;

/// A number of different things.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Cardinality {
    /// How many.
    pub count: u64,
    /// Whether that is an estimate. Of a hundred estimates, two are off by 2 % or more.
    pub is_estimate: bool,
}

/// How many hashes may still be held.
#[derive(Debug)]
pub(crate) struct HashBudget {
    left: usize,
    of_one: usize,
}

impl Default for HashBudget {
    fn default() -> Self {
        Self {
            left: MOST_OF_ALL,
            of_one: MOST_OF_ONE,
        }
    }
}

/// The hash of something to be counted.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    // Its keys are always the same, so that estimates are the same in each run.
    let mut hasher = DefaultHasher::new();
    hasher.write(bytes);
    hasher.finish()
}

/// Counts different things.
#[derive(Debug)]
pub(crate) struct Distinct(Seen);

#[derive(Debug)]
enum Seen {
    /// The hash of each.
    Hashes(HashSet<u64, BuildHasherDefault<AsItIs>>),
    /// For each register, the most leading zeros of a hash in it, and one.
    Registers(Box<[u8]>),
}

impl Default for Distinct {
    fn default() -> Self {
        Self(Seen::Hashes(HashSet::default()))
    }
}

impl Distinct {
    /// Counts the thing with this hash, if it is a new one.
    pub(crate) fn add(&mut self, hash: u64, budget: &mut HashBudget) {
        match &mut self.0 {
            Seen::Registers(registers) => register(registers, hash),
            Seen::Hashes(hashes) => {
                if !hashes.insert(hash) {
                    return;
                }
                let is_too_many = hashes.len() > budget.of_one || budget.left == 0;
                if is_too_many && hashes.len() > FEW {
                    let mut registers = vec![0; REGISTERS].into_boxed_slice();
                    hashes
                        .iter()
                        .for_each(|hash| register(&mut registers, *hash));
                    budget.left += hashes.len() - 1;
                    self.0 = Seen::Registers(registers);
                } else {
                    budget.left = budget.left.saturating_sub(1);
                }
            }
        }
    }

    /// How many there were.
    pub(crate) fn cardinality(&self) -> Cardinality {
        match &self.0 {
            Seen::Hashes(hashes) => Cardinality {
                count: hashes.len() as u64,
                is_estimate: false,
            },
            Seen::Registers(registers) => Cardinality {
                count: estimate(registers).round() as u64,
                is_estimate: true,
            },
        }
    }
}

fn register(registers: &mut [u8], hash: u64) {
    let register = &mut registers[(hash >> (64 - PRECISION)) as usize];
    // The bit that ends the zeros, where all that is left of the hash is zero.
    let rest = hash << PRECISION | 1 << (PRECISION - 1);
    *register = (*register).max(rest.leading_zeros() as u8 + 1);
}

/// The number of different hashes that such registers tell of.
fn estimate(registers: &[u8]) -> f64 {
    let count = REGISTERS as f64;
    let mut with: [f64; HIGHEST + 1] = [0.0; HIGHEST + 1];
    registers
        .iter()
        .for_each(|value| with[usize::from(*value)] += 1.0);
    let mut sum = count * above_all(1.0 - with[HIGHEST] / count);
    for number in with[1..HIGHEST].iter().rev() {
        sum = 0.5 * (sum + number);
    }
    sum += count * below_all(with[0] / count);
    count * count / (2.0 * std::f64::consts::LN_2) / sum
}

/// What empty registers add, of which this is the share: sigma in Ertl's paper.
fn below_all(mut share: f64) -> f64 {
    if share >= 1.0 {
        return f64::INFINITY;
    }
    let (mut weight, mut sum) = (1.0, share);
    loop {
        share *= share;
        let before = sum;
        sum += share * weight;
        weight += weight;
        if sum <= before {
            return sum;
        }
    }
}

/// What registers that are not full add, of which this is the share: tau in Ertl's paper.
fn above_all(mut share: f64) -> f64 {
    if share <= 0.0 || share >= 1.0 {
        return 0.0;
    }
    let (mut weight, mut sum) = (1.0, 1.0 - share);
    loop {
        share = share.sqrt();
        let before = sum;
        weight *= 0.5;
        sum -= (1.0 - share).powi(2) * weight;
        if sum >= before {
            return sum / 3.0;
        }
    }
}

/// Hashes need no hashing.
#[derive(Debug, Default)]
struct AsItIs(u64);

impl Hasher for AsItIs {
    fn write(&mut self, bytes: &[u8]) {
        self.0 = hash(bytes);
    }

    fn write_u64(&mut self, number: u64) {
        self.0 = number;
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn add_numbers(counter: &mut Distinct, numbers: std::ops::Range<u64>, budget: &mut HashBudget) {
        numbers.for_each(|number| counter.add(hash(&number.to_le_bytes()), budget));
    }

    #[test]
    fn two_hundred_thousand_are_counted_exactly_however_often_each_comes() {
        let (mut counter, mut budget) = (Distinct::default(), HashBudget::default());
        for _ in 0..2 {
            add_numbers(&mut counter, 0..200_000, &mut budget);
        }
        let found = counter.cardinality();
        assert_eq!((found.count, found.is_estimate), (200_000, false));
        assert_eq!(budget.left, MOST_OF_ALL - 200_000);
    }

    #[test]
    fn more_are_estimated_and_said_to_be_and_leave_the_memory_to_others() {
        for count in [300_000_u64, 3_000_000] {
            let (mut counter, mut budget) = (Distinct::default(), HashBudget::default());
            add_numbers(&mut counter, 0..count, &mut budget);
            let found = counter.cardinality();
            let error = found.count as f64 / count as f64 - 1.0;
            assert!(found.is_estimate && error.abs() < 0.02, "{count}: {error}");
            assert_eq!(budget.left, MOST_OF_ALL);
        }
    }

    #[test]
    fn without_memory_few_are_still_exact_and_estimates_are_right_at_any_size() {
        let mut budget = HashBudget {
            left: 0,
            of_one: MOST_OF_ONE,
        };
        let mut counter = Distinct::default();
        let mut done = 0;
        for count in [1, FEW as u64, 3000, 10_000, 30_000, 60_000, 100_000] {
            add_numbers(&mut counter, done..count, &mut budget);
            done = count;
            let found = counter.cardinality();
            assert_eq!(found.is_estimate, count > FEW as u64);
            let error = found.count as f64 / count as f64 - 1.0;
            assert!(error.abs() < 0.025, "{count}: {error}");
            assert!(found.is_estimate || found.count == count);
        }
    }

    #[test]
    fn the_ends_of_what_registers_can_hold_are_no_numbers_that_are_none() {
        let mut registers = vec![0; REGISTERS];
        assert_eq!(estimate(&registers), 0.0);
        register(&mut registers, 0);
        assert_eq!(usize::from(registers[0]), HIGHEST);
        registers.fill(HIGHEST as u8);
        assert!(estimate(&registers) > 1e18);
    }
}
