//! The deep check of a large TSM file in parts, side by side: what they are is known from its
//! index.
//!
//! Where a part has a fault, the file is checked once more from front to back, so that what is told
//! of it is the same with any number of threads.

use std::io;
use std::mem;
use std::ops::Range;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread;

use super::HEADER;
use super::check::{Part, Report, TsmFinding, check, check_part};
use super::index::{IndexError, IndexWalk, Key};
use crate::io::read_at::ReadAt;

/// The least bytes of blocks in each part but the last.
const LEAST_BYTES: u64 = 4 << 20;

/// The most parts: enough that all threads end at about the same time.
const MOST_PARTS: u64 = 32;

/// The most threads that all files together have beside those that ask for the check. Each takes
/// the memory of some windows.
const MOST_HELPERS: usize = 8;

/// How many of those there are.
static HELPERS: AtomicUsize = AtomicUsize::new(0);

/// From how many bytes on a file has several parts.
pub(crate) const LARGE: u64 = 2 * LEAST_BYTES;

/// Checks a file as [`check`] does, with several threads if it is [`LARGE`], and hands each of its
/// keys to `each`, but for those behind a fault of the index.
///
/// # Errors
///
/// As [`check`], and as [`IndexError::Read`] an error of `each`.
pub(crate) fn check_in_parts<R: ReadAt + ?Sized>(
    file: &R,
    times: Option<Range<i64>>,
    each: impl FnMut(&Key<'_>) -> io::Result<()>,
    tell: &mut dyn FnMut(TsmFinding<'_>),
) -> Result<Report, IndexError> {
    match Parts::read(file, each) {
        Ok(parts) => parts.check(file, times, tell),
        Err(error @ IndexError::Read { .. }) => Err(error),
        // There may be others behind the first.
        Err(IndexError::Envelope(_) | IndexError::Damaged { .. }) => check(file, times, tell),
    }
}

/// All parts of a file, whose index is sound.
#[derive(Debug)]
struct Parts(Vec<Part>);

impl Parts {
    /// Walks the index of a file to its end, and hands each key to `each`.
    ///
    /// # Errors
    ///
    /// The first fault of the index, and as [`IndexError::Read`] an error of `each`.
    fn read<R: ReadAt + ?Sized>(
        file: &R,
        mut each: impl FnMut(&Key<'_>) -> io::Result<()>,
    ) -> Result<Self, IndexError> {
        let mut walk = IndexWalk::open(file)?;
        let least = LEAST_BYTES.max(walk.index_offset() / MOST_PARTS);
        let first = HEADER.len() as u64;
        let mut parts = Vec::new();
        let mut part = Part {
            index: walk.position()..walk.position(),
            key_before: Vec::new(),
            blocks: first..first,
        };
        while let Some(key) = walk.next_key()? {
            each(&key).map_err(|source| IndexError::Read { offset: 0, source })?;
            let blocks = &mut part.blocks;
            while let Some(entry) = walk.next_entry()? {
                blocks.end = blocks.end.max(entry.offset + u64::from(entry.size));
            }
            part.index.end = walk.position();
            if blocks.end - blocks.start >= least {
                let next = Part {
                    index: part.index.end..part.index.end,
                    key_before: walk.key().to_owned(),
                    blocks: blocks.end..blocks.end,
                };
                parts.push(mem::replace(&mut part, next));
            }
        }
        if !part.index.is_empty() {
            parts.push(part);
        }
        // What is between the last block and the index belongs to the last part.
        if let Some(last) = parts.last_mut() {
            last.blocks.end = walk.index_offset();
        }
        Ok(Self(parts))
    }

    /// Checks a file, whose parts these are, as [`check`] does.
    ///
    /// # Errors
    ///
    /// As [`check`].
    fn check<R: ReadAt + ?Sized>(
        &self,
        file: &R,
        times: Option<Range<i64>>,
        tell: &mut dyn FnMut(TsmFinding<'_>),
    ) -> Result<Report, IndexError> {
        match self.report_if_sound(file, times.as_ref()) {
            Some(report) => Ok(report),
            None => check(file, times, tell),
        }
    }

    /// What is in the file; `None` where it cannot be read, or has a fault, or is no larger than a
    /// part.
    fn report_if_sound<R: ReadAt + ?Sized>(
        &self,
        file: &R,
        times: Option<&Range<i64>>,
    ) -> Option<Report> {
        if self.0.len() < 2 {
            return None;
        }
        let (taken, is_sound) = (AtomicUsize::new(0), AtomicBool::new(true));
        let work = || {
            let mut all = Report::default();
            while is_sound.load(Ordering::Relaxed)
                && let Some(part) = self.0.get(taken.fetch_add(1, Ordering::Relaxed))
            {
                let checked = IndexWalk::open(file)
                    .and_then(|walk| check_part(file, walk, part, times.cloned(), &mut |_| {}));
                match checked {
                    Ok(report) if report.faults == 0 => all.add(&report),
                    Ok(_) | Err(_) => is_sound.store(false, Ordering::Relaxed),
                }
            }
            all
        };
        let helpers = Helpers::up_to(self.0.len() - 1);
        let report = thread::scope(|scope| {
            // Where the system lets no thread begin, there is one less.
            let start = |_| thread::Builder::new().spawn_scoped(scope, work).ok();
            let started: Vec<_> = (0..helpers.0).map_while(start).collect();
            let mut all = work();
            for helper in started {
                let report = helper.join();
                all.add(&report.unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
            }
            all
        });
        is_sound.into_inner().then_some(report)
    }
}

/// So many threads that help with a file, until it is dropped.
#[derive(Debug)]
pub(super) struct Helpers(pub(super) usize);

impl Helpers {
    /// As many as there are cores for, or fewer.
    pub(super) fn up_to(wanted: usize) -> Self {
        static MOST: OnceLock<usize> = OnceLock::new();
        let most = *MOST.get_or_init(|| {
            thread::available_parallelism().map_or(0, |cores| (cores.get() - 1).min(MOST_HELPERS))
        });
        let before = HELPERS.fetch_add(wanted, Ordering::Relaxed);
        let count = wanted.min(most.saturating_sub(before));
        HELPERS.fetch_sub(wanted - count, Ordering::Relaxed);
        Self(count)
    }
}

impl Drop for Helpers {
    fn drop(&mut self) {
        HELPERS.fetch_sub(self.0, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::super::values::{Points, Values};
    use super::super::writer::tests::write_all;
    use super::*;

    /// Keys of random floats, of which a thousand make some eight kilobytes.
    fn large_file() -> Vec<u8> {
        let float = |nth: u64| {
            let mixed = nth.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            f64::from_bits(0x3ff0_0000_0000_0000 | (mixed ^ mixed >> 29) >> 12)
        };
        let block = |nth: u64| Points {
            times: (0..1000).collect(),
            values: Values::Float((nth * 1000..nth * 1000 + 1000).map(float).collect()),
        };
        let key = |nth: u64| (format!("m,h={nth:05}#!~#v").into_bytes(), vec![block(nth)]);
        write_all(&(0..1500).map(key).collect::<Vec<_>>())
    }

    /// The report of a check, and all it told.
    type Told = (Report, Vec<String>);

    fn checked(file: &[u8]) -> Option<Told> {
        let mut told = Vec::new();
        let report = check(file, Some(0..1000), &mut |finding| {
            told.push(finding.to_string())
        });
        Some((report.ok()?, told))
    }

    fn checked_in_parts(file: &[u8], parts: &Parts) -> Option<Told> {
        let mut told = Vec::new();
        let report = parts.check(file, Some(0..1000), &mut |finding| {
            told.push(finding.to_string())
        });
        Some((report.ok()?, told))
    }

    #[test]
    fn a_large_file_is_checked_in_parts_as_it_is_from_front_to_back() {
        let mut file = large_file();
        let mut keys = 0;
        let count = |_: &Key<'_>| {
            keys += 1;
            Ok(())
        };
        let parts = Parts::read(&file[..], count).unwrap();
        assert_eq!((keys, parts.0.len()), (1500, 3));
        let whole = checked(&file[..]).unwrap();
        assert_eq!(whole.0.points, 1_500_000);
        assert_eq!(parts.report_if_sound(&file[..], None), Some(whole.0));
        assert_eq!(checked_in_parts(&file, &parts), Some(whole));
        // A byte of each part, and of the entries of each in the index.
        let places = parts
            .0
            .iter()
            .flat_map(|part| [part.blocks.start + 9, part.index.start + 22]);
        for at in places.map(|at| at as usize).collect::<Vec<_>>() {
            file[at] ^= 1;
            let told = checked(&file).unwrap();
            assert!(!told.1.is_empty(), "{at}");
            assert_eq!(parts.report_if_sound(&file[..], None), None, "{at}");
            assert_eq!(checked_in_parts(&file, &parts), Some(told));
            file[at] ^= 1;
        }
    }

    #[test]
    fn points_outside_the_times_of_the_shard_are_told_of_parts_too() {
        let file = large_file();
        let parts = Parts::read(&file[..], |_| Ok(())).unwrap();
        assert_eq!(parts.report_if_sound(&file[..], Some(&(0..999))), None);
        assert!(parts.report_if_sound(&file[..], Some(&(0..1000))).is_some());
    }

    #[test]
    fn there_are_no_more_helpers_than_cores_and_they_are_given_back() {
        let all = Helpers::up_to(1000);
        assert!(all.0 <= MOST_HELPERS);
        assert_eq!(Helpers::up_to(0).0, 0);
    }
}
