//! How many values the blocks of a key hold, in all files of a shard: by an estimate from the
//! index, or exactly from the times in the blocks.
//!
//! Where files overlap, a value that several of them have counts once, as it does in queries.

use super::super::block;
use super::super::encoding::MAX_BYTES;
use super::super::file::{BlockFault, CRC_BYTES, Record};
use super::super::index::{BlockEntry, IndexError};
use super::merge::KeyInFile;
use super::sample::PointsPerBlock;
use super::spans::{Span, covered_share, of_block, uncovered};
use crate::io::read_at::ReadAt;

/// What the files of a shard hold of a key.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct KeyCount {
    /// Values that queries see.
    pub values: f64,
    /// Values in the files that tombstones delete.
    pub deleted: f64,
    pub blocks: u64,
    /// Bytes of the blocks.
    pub bytes: u64,
    /// The first and the last time that queries see; none where all values are deleted.
    pub times: Option<Span>,
}

impl KeyCount {
    fn pass(&mut self, entry: &BlockEntry) {
        self.blocks += 1;
        self.bytes += u64::from(entry.size);
    }

    fn widen(&mut self, (first, last): Span) {
        let (least, most) = self.times.unwrap_or((first, last));
        self.times = Some((first.min(least), last.max(most)));
    }
}

/// A block that is not what was written, and how.
#[derive(Debug)]
pub(crate) struct DamagedBlock {
    /// Which of the files it is in.
    pub file: usize,
    pub offset: u64,
    pub fault: BlockFault,
}

/// Counts by the index; keeps its memory from one key to the next.
#[derive(Debug, Default)]
pub(super) struct Estimator {
    /// Where newer files have values: ascending, and none shares a time with another.
    newer: Vec<Filled>,
    own: Vec<Filled>,
}

/// A span of time, and how many values were counted in it.
#[derive(Debug)]
struct Filled {
    span: Span,
    values: f64,
}

impl Estimator {
    /// Counts the values of a key: `files` ascend from the oldest, and `deleted` has what is
    /// deleted in each, `points` how many points its blocks have.
    pub(super) fn count(
        &mut self,
        files: &[KeyInFile],
        deleted: &[Vec<Span>],
        points: impl Fn(usize) -> PointsPerBlock,
    ) -> KeyCount {
        let mut count = KeyCount::default();
        self.newer.clear();
        for (of_file, deleted) in files.iter().zip(deleted).rev() {
            let points = points(of_file.file);
            self.own.clear();
            for (at, entry) in of_file.entries.iter().enumerate() {
                let span = of_block(entry);
                let points = match at + 1 == of_file.entries.len() {
                    true => points.last,
                    false => points.others,
                };
                count.pass(entry);
                let share = covered_share(span, deleted);
                count.deleted += points * share;
                if let Some(left) = uncovered(span, deleted) {
                    let points = points * (1.0 - share);
                    let values = points - self.doubled(span, points);
                    count.values += values;
                    count.widen(left);
                    self.own.push(Filled { span, values });
                }
            }
            self.fill();
        }
        count
    }

    /// How many of the points of a block newer files have too: as many as there can be, for files
    /// overlap where points were written again, or were compacted.
    fn doubled(&self, span: Span, points: f64) -> f64 {
        let begin = self.newer.partition_point(|newer| newer.span.1 < span.0);
        let touching = self.newer[begin..].iter();
        touching
            .take_while(|newer| newer.span.0 <= span.1)
            .map(|newer| {
                let own = points * covered_share(span, &[newer.span]);
                own.min(newer.values * covered_share(newer.span, &[span]))
            })
            .sum()
    }

    /// Adds what a file has to that of newer ones.
    fn fill(&mut self) {
        self.newer.append(&mut self.own);
        // Two sorted runs, which a stable sort only merges.
        self.newer.sort_by_key(|filled| filled.span);
        self.newer.dedup_by(|next, last| {
            let overlaps = next.span.0 <= last.span.1;
            if overlaps {
                last.span.1 = last.span.1.max(next.span.1);
                last.values += next.values;
            }
            overlaps
        });
    }
}

/// Counts by the times in the blocks; keeps its memory from one key to the next.
#[derive(Debug, Default)]
pub(super) struct ExactCounter {
    record: Vec<u8>,
    /// The blocks of a key, and which of its files each is of, as they begin.
    blocks: Vec<(BlockEntry, usize)>,
}

/// Where the blocks are read, and who is told of those that are damaged.
pub(super) struct BlockSource<'a> {
    pub contents: &'a dyn Fn(usize) -> &'a dyn ReadAt,
    pub tell: &'a mut dyn FnMut(DamagedBlock),
}

/// The blocks of a file among some that overlap, and the times of the one that was read last.
#[derive(Debug, Default)]
struct Cursor {
    /// Its blocks, the next one last.
    blocks: Vec<BlockEntry>,
    times: Vec<i64>,
    at: usize,
}

impl ExactCounter {
    /// Counts the values of a key: `deleted` has what is deleted in each of `files`. Damaged blocks
    /// are told of, and hold nothing.
    ///
    /// # Errors
    ///
    /// When reading fails.
    pub(super) fn count(
        &mut self,
        files: &[KeyInFile],
        deleted: &[Vec<Span>],
        source: &mut BlockSource<'_>,
    ) -> Result<KeyCount, IndexError> {
        let mut count = KeyCount::default();
        let mut blocks = std::mem::take(&mut self.blocks);
        blocks.clear();
        for (nth, of_file) in files.iter().enumerate() {
            of_file.entries.iter().for_each(|entry| count.pass(entry));
            blocks.extend(of_file.entries.iter().map(|entry| (*entry, nth)));
        }
        blocks.sort_by_key(|(entry, nth)| (entry.min_time, *nth));
        let mut rest = &blocks[..];
        while let Some((first, nth)) = rest.first() {
            let (together, others) = rest.split_at(overlapping(rest));
            rest = others;
            let span = of_block(first);
            let is_alone = together.len() == 1;
            if is_alone && covered_share(span, &deleted[*nth]) == 0.0 {
                let points = self.read(first, files[*nth].file, source, block::point_count)?;
                if let Some(points) = points {
                    count.values += points as f64;
                    count.widen(span);
                }
            } else {
                self.merge(together, files, deleted, source, &mut count)?;
            }
        }
        self.blocks = blocks;
        Ok(count)
    }

    /// Counts the values of blocks that overlap, or of which some are deleted.
    fn merge(
        &mut self,
        blocks: &[(BlockEntry, usize)],
        files: &[KeyInFile],
        deleted: &[Vec<Span>],
        source: &mut BlockSource<'_>,
        count: &mut KeyCount,
    ) -> Result<(), IndexError> {
        let mut cursors: Vec<Cursor> = files.iter().map(|_| Cursor::default()).collect();
        for (entry, nth) in blocks.iter().rev() {
            cursors[*nth].blocks.push(*entry);
        }
        loop {
            let mut first = None;
            for (nth, cursor) in cursors.iter_mut().enumerate() {
                while cursor.at == cursor.times.len()
                    && let Some(entry) = cursor.blocks.pop()
                {
                    self.open(&entry, files[nth].file, source, cursor)?;
                    let before = cursor.times.len();
                    let is_kept = |time: &i64| !is_inside(*time, &deleted[nth]);
                    cursor.times.retain(is_kept);
                    count.deleted += (before - cursor.times.len()) as f64;
                }
                let time = cursor.times.get(cursor.at);
                first = first.into_iter().chain(time.copied()).min();
            }
            let Some(time) = first else {
                return Ok(());
            };
            count.values += 1.0;
            count.widen((time, time));
            for cursor in &mut cursors {
                cursor.at += usize::from(cursor.times.get(cursor.at) == Some(&time));
            }
        }
    }

    /// Puts the times of a block into a cursor; none where it is damaged.
    fn open(
        &mut self,
        entry: &BlockEntry,
        file: usize,
        source: &mut BlockSource<'_>,
        cursor: &mut Cursor,
    ) -> Result<(), IndexError> {
        let Cursor { times, at, .. } = cursor;
        let decode = |block: &[u8]| block::decode_times_into(block, times);
        let decoded = self.read(entry, file, source, decode)?;
        if decoded.is_none() {
            times.clear();
        }
        *at = 0;
        if !times.is_sorted_by(|one, next| one < next) {
            times.sort_unstable();
            times.dedup();
        }
        Ok(())
    }

    /// Reads a block, and takes what is wanted from it; none where it is damaged.
    fn read<T>(
        &mut self,
        entry: &BlockEntry,
        file: usize,
        source: &mut BlockSource<'_>,
        take: impl FnOnce(&[u8]) -> Result<T, super::super::encoding::DecodeError>,
    ) -> Result<Option<T>, IndexError> {
        let offset = entry.offset;
        let found = match usize::try_from(entry.size) {
            Ok(size) if size > CRC_BYTES && size <= MAX_BYTES => {
                self.record.resize(size, 0);
                let read = (source.contents)(file).read_exact_at(&mut self.record, offset);
                read.map_err(|source| IndexError::Read { offset, source })?;
                let record = Record::of(&self.record);
                let verified = record.verify();
                verified.and_then(|()| take(record.block).map_err(BlockFault::Decode))
            }
            _ => Err(BlockFault::Size(entry.size)),
        };
        Ok(found
            .map_err(|fault| {
                let damaged = DamagedBlock {
                    file,
                    offset,
                    fault,
                };
                (source.tell)(damaged);
            })
            .ok())
    }
}

/// How many of the first blocks overlap one another, directly or by others. They ascend as they
/// begin.
fn overlapping(blocks: &[(BlockEntry, usize)]) -> usize {
    let mut end = i64::MIN;
    let mut seen = 0;
    for (entry, _) in blocks {
        if seen > 0 && entry.min_time > end {
            break;
        }
        end = end.max(entry.max_time);
        seen += 1;
    }
    seen
}

/// Whether a time is in one of the spans, which ascend and share no time.
fn is_inside(time: i64, spans: &[Span]) -> bool {
    let at = spans.partition_point(|span| span.1 < time);
    spans.get(at).is_some_and(|span| span.0 <= time)
}
