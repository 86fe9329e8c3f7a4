//! The deep check of a TSM file while it passes from front to back. Its index stands at the end:
//! its blocks are looked into before it is known what they should be.
//!
//! No record says how long it is. But a block ends where its values do, and the CRC-32 before it
//! tells whether that was right. Of all blocks, in their order, a digest is made; and once the whole
//! file is there, another of what its index says of them. Where the two are equal, and nothing was
//! between blocks and index, the file is sound. Otherwise nothing is known of it, and [`check`]
//! says what is wrong.
//!
//! [`check`]: super::check::check

use std::io;
use std::mem;
use std::ops::Range;
use std::panic;
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::thread::{self, JoinHandle};

use super::HEADER;
use super::block::Decoder;
use super::check::Report;
use super::file::{CRC_BYTES, Record};
use super::index::{BlockEntry, IndexError, IndexWalk, Key};
use super::parts::{Helpers, LARGE};
use super::values::ValueType;
use crate::io::read_at::ReadAt;

/// The longest record that is looked for, in bytes: far longer than any of a thousand points. A
/// file with a longer one is not checked this way.
const LONGEST: usize = 1 << 20;

/// Bytes that are put behind a record that was cut, before all that came are.
const MOST_OF_RECORD: usize = 64 << 10;

/// How many buffers are on their way to the thread or back.
const BUFFERS: usize = 2;

/// A check of a file of which all bytes are handed in, in their order, by a thread of its own. Takes
/// the memory of a record and of some buffers.
#[derive(Debug)]
pub(crate) struct StreamCheck {
    full: SyncSender<Vec<u8>>,
    free: Receiver<Vec<u8>>,
    thread: JoinHandle<PassedBlocks>,
}

impl StreamCheck {
    /// A check of a file of so many bytes; none where it is not [`LARGE`], or no thread is left for
    /// it.
    pub(crate) fn start(size: u64) -> Option<Self> {
        let helper = (size >= LARGE).then(|| Helpers::up_to(1))?;
        (helper.0 > 0).then(|| Self::spawn(helper)).flatten()
    }

    fn spawn(helper: Helpers) -> Option<Self> {
        let (full, to_check) = mpsc::sync_channel::<Vec<u8>>(BUFFERS);
        let (checked, free) = mpsc::sync_channel(BUFFERS);
        for _ in 0..BUFFERS {
            checked.send(Vec::new()).ok()?;
        }
        let work = move || {
            let _helper = helper;
            let mut blocks = PassedBlocks::new();
            for buffer in to_check {
                blocks.pass(&buffer);
                // Nobody takes it any more where the file came to no end.
                if checked.send(buffer).is_err() {
                    break;
                }
            }
            blocks
        };
        let thread = thread::Builder::new().name("check".to_owned()).spawn(work);
        Some(Self {
            full,
            free,
            thread: thread.ok()?,
        })
    }

    /// Takes the first `count` bytes of a buffer, in place of which it leaves another one of the
    /// same length. Best all of it: a record that is cut is looked at anew with each buffer.
    pub(crate) fn pass(&mut self, buffer: &mut Vec<u8>, count: usize) {
        let length = buffer.len();
        // Where the thread is gone, it panicked, which comes out at the end.
        let next = self.free.recv().unwrap_or_default();
        let mut full = mem::replace(buffer, next);
        full.truncate(count);
        buffer.resize(length, 0);
        let _ = self.full.send(full);
    }

    /// What is in `file`, all of which passed, and which may be read again; `None` where it may have
    /// a fault. `times` are those that the points of its shard may have. `each` gets the keys of the
    /// index, but for those behind a fault of it.
    ///
    /// # Errors
    ///
    /// [`IndexError::Read`], also for an error of `each`.
    pub(crate) fn finish<R: ReadAt + ?Sized>(
        self,
        file: &R,
        times: Option<&Range<i64>>,
        each: impl FnMut(&Key<'_>) -> io::Result<()>,
    ) -> Result<Option<Report>, IndexError> {
        drop(self.full);
        // There is room for all buffers that it gives back: it waits for nobody.
        let joined = self.thread.join();
        let blocks = joined.unwrap_or_else(|panic| panic::resume_unwind(panic));
        match blocks.report_if_sound(file, times, each) {
            Err(IndexError::Envelope(_) | IndexError::Damaged { .. }) => Ok(None),
            report => report,
        }
    }
}

/// The blocks of a file as far as it passed.
#[derive(Debug)]
struct PassedBlocks {
    /// Bytes of the header that are still to come.
    header: usize,
    /// Where in the file the blocks end that were found.
    end: u64,
    /// What is behind them, of which it does not show yet whether it is a record.
    cut: Vec<u8>,
    /// Whether no record is behind them.
    has_ended: bool,
    digest: BlocksDigest,
    points: u64,
    decoder: Decoder,
}

impl PassedBlocks {
    fn new() -> Self {
        Self {
            header: HEADER.len(),
            end: HEADER.len() as u64,
            cut: Vec::new(),
            has_ended: false,
            digest: BlocksDigest::default(),
            points: 0,
            decoder: Decoder::default(),
        }
    }

    fn pass(&mut self, mut bytes: &[u8]) {
        if self.has_ended {
            return;
        }
        let header = self.header.min(bytes.len());
        self.header -= header;
        bytes = &bytes[header..];
        if !self.cut.is_empty() {
            bytes = self.pass_cut(bytes);
        }
        let passed = self.pass_records(bytes);
        self.cut.extend_from_slice(&bytes[passed..]);
        if self.cut.len() > LONGEST {
            self.has_ended = true;
            self.cut = Vec::new();
        }
    }

    /// Completes the record that was cut with the first of `bytes`; those that are left. All of them
    /// are put behind it where it ends before or after them.
    fn pass_cut<'a>(&mut self, bytes: &'a [u8]) -> &'a [u8] {
        let mut cut = mem::take(&mut self.cut);
        let before = cut.len();
        let (first, rest) = bytes.split_at(bytes.len().min(MOST_OF_RECORD));
        cut.extend_from_slice(first);
        let size = self.pass_record(&cut);
        if let Some(of_bytes) = size.and_then(|size| size.checked_sub(before)) {
            cut.clear();
            self.cut = cut;
            return &bytes[of_bytes..];
        }
        if size.is_some() || !rest.is_empty() {
            cut.extend_from_slice(rest);
            let begin = size.unwrap_or(0);
            let passed = begin + self.pass_records(&cut[begin..]);
            cut.drain(..passed);
        }
        self.cut = cut;
        &[]
    }

    /// Passes the whole records that `bytes` begin with; their bytes.
    fn pass_records(&mut self, bytes: &[u8]) -> usize {
        let mut passed = 0;
        while let Some(size) = self.pass_record(&bytes[passed..]) {
            passed += size;
        }
        passed
    }

    /// Passes the record that `bytes` begin with, if it is whole; its bytes.
    fn pass_record(&mut self, bytes: &[u8]) -> Option<usize> {
        let block = bytes.get(CRC_BYTES..)?;
        let (summary, size) = self.decoder.check_front(block).ok()?;
        let size = CRC_BYTES + size;
        Record::of(&bytes[..size]).verify().ok()?;
        self.digest.add(
            summary.value_type,
            &BlockEntry {
                min_time: summary.span.first,
                max_time: summary.span.last,
                offset: self.end,
                size: size as u32,
            },
        );
        self.points += summary.span.count as u64;
        self.end += size as u64;
        Some(size)
    }

    /// What is in the file, whose index is read now; `None` where it says something else of the
    /// blocks.
    ///
    /// # Errors
    ///
    /// The first fault of the index, and as [`IndexError::Read`] an error of `each`.
    fn report_if_sound<R: ReadAt + ?Sized>(
        &self,
        file: &R,
        times: Option<&Range<i64>>,
        mut each: impl FnMut(&Key<'_>) -> io::Result<()>,
    ) -> Result<Option<Report>, IndexError> {
        let mut walk = IndexWalk::open(file)?;
        let mut digest = BlocksDigest::default();
        let mut are_inside = true;
        let mut report = Report {
            points: self.points,
            ..Report::default()
        };
        while let Some(key) = walk.next_key()? {
            each(&key).map_err(|source| IndexError::Read { offset: 0, source })?;
            let value_type = key.value_type;
            report.keys += 1;
            while let Some(entry) = walk.next_entry()? {
                report.blocks += 1;
                digest.add(value_type, &entry);
                are_inside &= times.is_none_or(|times| {
                    times.contains(&entry.min_time) && times.contains(&entry.max_time)
                });
            }
        }
        let is_sound =
            are_inside && self.end == walk.index_offset() && digest.sum() == self.digest.sum();
        Ok(is_sound.then_some(report))
    }
}

/// A digest of what an index says of blocks, in their order.
#[derive(Debug, Default)]
struct BlocksDigest(blake3::Hasher);

impl BlocksDigest {
    fn add(&mut self, value_type: ValueType, entry: &BlockEntry) {
        self.0.update(&[value_type.byte()]);
        self.0.update(&entry.min_time.to_le_bytes());
        self.0.update(&entry.max_time.to_le_bytes());
        self.0.update(&entry.offset.to_le_bytes());
        self.0.update(&entry.size.to_le_bytes());
    }

    fn sum(&self) -> blake3::Hash {
        self.0.finalize()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::super::block::tests::some_points;
    use super::super::check::check;
    use super::super::values::{Points, Values};
    use super::super::writer::tests::write_all;
    use super::*;

    /// What is found of a file that comes in pieces of these sizes, in turn.
    fn passed(file: &[u8], pieces: &[usize], times: Option<&Range<i64>>) -> Option<Report> {
        let mut blocks = PassedBlocks::new();
        let (mut rest, mut sizes) = (file, pieces.iter().cycle());
        while !rest.is_empty() {
            let (piece, behind) = rest.split_at(rest.len().min(*sizes.next().unwrap()));
            blocks.pass(piece);
            rest = behind;
        }
        let report = blocks.report_if_sound(file, times, |_| Ok(()));
        report.ok().flatten()
    }

    /// What the usual check says of it, if it has no fault.
    fn checked(file: &[u8], times: Option<Range<i64>>) -> Option<Report> {
        let report = check(file, times, &mut |_| {}).ok()?;
        (report.faults == 0).then_some(report)
    }

    fn some_file() -> impl Strategy<Value = Vec<u8>> {
        prop::collection::vec(some_points(), 1..6).prop_map(|blocks| {
            let keys = (0..).zip(blocks);
            let keys: Vec<_> = keys
                .map(|(nth, points): (u32, Points)| {
                    (format!("m#!~#{nth}").into_bytes(), vec![points])
                })
                .collect();
            write_all(&keys)
        })
    }

    proptest! {
        #[test]
        fn a_sound_file_is_found_so_in_pieces_of_any_size(
            file in some_file(), pieces in prop::collection::vec(1..200_usize, 1..4),
        ) {
            let expected = checked(&file, None);
            prop_assert!(expected.is_some());
            prop_assert_eq!(passed(&file, &pieces, None), expected);
        }

        #[test]
        fn what_is_found_of_a_damaged_file_is_what_the_usual_check_finds(
            mut file in some_file(), at: prop::sample::Index, bit in 0..8_u32, pieces in prop::collection::vec(1..200_usize, 1..4),
        ) {
            let at = at.index(file.len());
            file[at] ^= 1 << bit;
            prop_assert_eq!(passed(&file, &pieces, None), checked(&file, None));
            file.truncate(at);
            prop_assert_eq!(passed(&file, &pieces, None), checked(&file, None));
        }
    }

    /// As many keys of two blocks of random floats, of some four kilobytes each.
    fn large_file(keys: u64) -> Vec<u8> {
        let float = |nth: u64| {
            let mixed = nth.wrapping_mul(0x9E37_79B9_7F4A_7C15);
            f64::from_bits(0x3ff0_0000_0000_0000 | (mixed ^ mixed >> 29) >> 12)
        };
        let block = |nth: u64, times: Range<i64>| Points {
            values: Values::Float((nth * 500..nth * 500 + 500).map(float).collect()),
            times: times.collect(),
        };
        let key = |nth: u64| {
            let blocks = vec![block(2 * nth, 0..500), block(2 * nth + 1, 500..1000)];
            (format!("m,h={nth:05}#!~#v").into_bytes(), blocks)
        };
        write_all(&(0..keys).map(key).collect::<Vec<_>>())
    }

    #[test]
    fn a_fault_in_any_part_of_a_file_is_seen() {
        let mut file = large_file(100);
        let pieces = [256 << 10];
        let expected = checked(&file, Some(0..1000));
        assert_eq!(expected.map(|report| report.points), Some(100_000));
        assert_eq!(passed(&file, &pieces, Some(&(0..1000))), expected);
        assert_eq!(passed(&file, &pieces, Some(&(0..999))), None);
        assert_eq!(passed(&file, &pieces, Some(&(1..1000))), None);
        for at in [2, 300, file.len() / 2, file.len() - 100, file.len() - 3] {
            file[at] ^= 1;
            assert_eq!(passed(&file, &pieces, None), checked(&file, None), "{at}");
            file[at] ^= 1;
        }
    }

    fn started() -> StreamCheck {
        StreamCheck::spawn(Helpers(0)).unwrap()
    }

    #[test]
    fn a_small_file_gets_no_thread() {
        assert!(StreamCheck::start(LARGE - 1).is_none());
    }

    #[test]
    fn a_thread_finds_what_there_is_in_buffers_that_it_gives_back() {
        let file = large_file(300);
        let mut check = started();
        let mut buffer = vec![0; 100_000];
        for piece in file.chunks(buffer.len()) {
            buffer[..piece.len()].copy_from_slice(piece);
            check.pass(&mut buffer, piece.len());
            assert_eq!(buffer.len(), 100_000);
        }
        let mut keys = 0;
        let count = |_: &Key<'_>| {
            keys += 1;
            Ok(())
        };
        let found = check.finish(&file[..], None, count).unwrap();
        assert_eq!((found, keys), (checked(&file, None), 300));
    }

    #[test]
    fn a_check_of_a_file_that_comes_to_no_end_is_given_up() {
        let mut check = started();
        check.pass(&mut large_file(100), 100_000);
        drop(check);
        // A damaged one, whose index cannot be read.
        let mut check = started();
        check.pass(&mut vec![7; 1000], 1000);
        assert_eq!(
            check.finish(&[7; 1000][..], None, |_| Ok(())).unwrap(),
            None
        );
    }

    #[test]
    fn an_error_of_who_gets_the_keys_is_that_of_the_check() {
        let file = large_file(2);
        let mut check = started();
        check.pass(&mut file.clone(), file.len());
        let failed = check.finish(&file[..], None, |_| Err(io::Error::other("full")));
        assert!(matches!(failed, Err(IndexError::Read { .. })), "{failed:?}");
    }

    #[test]
    fn a_file_with_a_longer_record_than_is_looked_for_is_left_to_the_usual_check() {
        let long: Vec<String> = (0..2).map(|nth| random_text(nth, LONGEST)).collect();
        let points = Points {
            times: vec![1, 2],
            values: Values::String(long.iter().map(String::as_str).collect()),
        };
        let file = write_all(&[(b"m#!~#f".to_vec(), vec![points])]);
        assert!(file.len() > LONGEST);
        assert!(checked(&file, None).is_some());
        assert_eq!(passed(&file, &[1 << 18], None), None);
    }

    /// Text that does not shrink by much.
    fn random_text(seed: u64, bytes: usize) -> String {
        let mut state = seed | 1;
        let mut next = || {
            state ^= state << 13;
            state ^= state >> 7;
            state ^= state << 17;
            char::from(b'!' + (state % 90) as u8)
        };
        (0..bytes).map(|_| next()).collect()
    }
}
