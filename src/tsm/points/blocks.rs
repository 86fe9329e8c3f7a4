//! The blocks of one key of one file, unpacked one after the other and only when their points are
//! wanted.

use std::io;

use super::super::block::Decoder;
use super::super::file::{BlockFault, BlockReader, FileError, Record, decode};
use super::super::filter::{BlockFate, KeyFilter};
use super::super::index::{BlockEntry, ENTRY_BYTES, IndexError, Key};
use super::super::series::SEPARATOR;
use super::super::values::{Points, ValueType, Values};
use super::deletes::KeyDeletes;
use super::{PointsError, PointsFault, PointsFinding, TellFinding};
use crate::io::read_at::ReadAt;
use crate::time::Bounds;

/// Bytes of unpacked blocks that the keys of a series share. How the points of a series are divided
/// follows from it: where several read, each has as much.
const OPEN_BYTES: usize = 8 << 20;
/// Bytes of the windows through which the files are read, together and each.
const WINDOWS: usize = 2 << 20;
const MIN_WINDOW: usize = 16 << 10;
const MAX_WINDOW: usize = 256 << 10;
/// What a point takes in memory, besides the bytes of a string.
const POINT_BYTES: usize = 16;
/// From how many blocks of a key on these are read one by one: between two of them, those of other
/// fields are read.
const FAR_BLOCKS: u16 = 5;

/// How many blocks of a key are held as the index has them.
pub(super) const HELD_ENTRIES: usize = 16;

/// A file, and where its index begins; 0 where that is not known.
#[derive(Clone, Copy)]
pub(super) struct IndexedFile<'a> {
    pub name: &'a str,
    pub content: &'a dyn ReadAt,
    pub index_offset: u64,
}

/// The values of which key a finding is about.
#[derive(Debug, Clone, Copy)]
pub(super) struct KeyName<'a> {
    pub series: &'a [u8],
    pub field: &'a [u8],
}

/// Reads and unpacks blocks of the files.
pub(super) struct BlockStore<'a> {
    files: Vec<OpenFile<'a>>,
    decoder: Decoder,
    /// The block that was unpacked last, and what stays of it.
    unpacked: Points,
    kept: Points,
    /// Bytes of unpacked points that the keys of a series may hold together, and each of them.
    pub(super) open_bytes: usize,
    share: usize,
    pub(super) tell: &'a mut TellFinding<'a>,
}

struct OpenFile<'a> {
    name: &'a str,
    content: &'a dyn ReadAt,
    /// Reads blocks that lie near one another; those of keys that have many.
    near: BlockReader<'a, dyn ReadAt + 'a>,
    far: BlockReader<'a, dyn ReadAt + 'a>,
}

impl OpenFile<'_> {
    /// Reads the record of a block.
    fn read(&mut self, is_far: bool, entry: &BlockEntry) -> Result<Record<'_>, FileError> {
        match is_far {
            true => self.far.read(entry),
            false => self.near.read(entry),
        }
    }
}

impl<'a> BlockStore<'a> {
    /// Reads blocks of these files.
    pub(super) fn new(
        files: impl ExactSizeIterator<Item = IndexedFile<'a>>,
        tell: &'a mut TellFinding<'a>,
    ) -> Self {
        let window = (WINDOWS / files.len().max(1)).clamp(MIN_WINDOW, MAX_WINDOW);
        let open = |source: IndexedFile<'a>| OpenFile {
            name: source.name,
            content: source.content,
            near: BlockReader::with_window(source.content, source.index_offset, window),
            far: BlockReader::with_window(source.content, source.index_offset, 0),
        };
        Self {
            files: files.map(open).collect(),
            decoder: Decoder::default(),
            unpacked: Points::new(ValueType::Float),
            kept: Points::new(ValueType::Float),
            open_bytes: OPEN_BYTES,
            share: OPEN_BYTES,
            tell,
        }
    }

    /// Says how many keys have points unpacked at a time.
    pub(super) fn share_among(&mut self, keys: usize) {
        self.share = self.open_bytes / keys.max(1);
    }

    /// The error for a file that cannot be read.
    pub(super) fn failed(&self, file: usize, source: io::Error) -> PointsError {
        PointsError::new(self.files[file].name, source)
    }

    pub(super) fn tell(&mut self, file: usize, key: KeyName<'_>, fault: impl Into<PointsFault>) {
        (self.tell)(PointsFinding {
            file: self.files[file].name,
            key: &[key.series, SEPARATOR, key.field].concat(),
            fault: fault.into(),
        });
    }

    /// Takes the first of the blocks of a key that were not looked at yet.
    pub(super) fn next_entry(
        &self,
        file: usize,
        entries: &mut Entries,
    ) -> Result<Option<BlockEntry>, PointsError> {
        let taken = entries.take(self.files[file].content);
        taken.map_err(|error| self.failed(file, error))
    }

    /// The record of a block, which is not checked; none where there can be none.
    pub(super) fn record(
        &mut self,
        file: usize,
        is_far: bool,
        entry: &BlockEntry,
    ) -> Result<Option<Record<'_>>, PointsError> {
        let file = &mut self.files[file];
        let name = file.name;
        match file.read(is_far, entry) {
            Ok(record) => Ok(Some(record)),
            Err(FileError::Index(IndexError::Read { source, .. })) => {
                Err(PointsError::new(name, source))
            }
            Err(_) => Ok(None),
        }
    }

    /// Unpacks a block; whether it is sound. What is wrong with it is told.
    fn unpack(
        &mut self,
        cursor: &KeyCursor<'_>,
        entry: &BlockEntry,
        key: KeyName<'_>,
    ) -> Result<bool, PointsError> {
        let file = &mut self.files[cursor.file];
        let fault = |fault: BlockFault| FileError::Block {
            offset: entry.offset,
            fault,
        };
        let unpacked = file.read(cursor.is_far, entry).and_then(|record| {
            record.verify().map_err(fault)?;
            let value_type = cursor.value_type;
            decode(
                &mut self.decoder,
                record.block,
                value_type,
                entry,
                &mut self.unpacked,
            )
            .map_err(fault)
        });
        match unpacked {
            Ok(()) => Ok(true),
            Err(FileError::Index(IndexError::Read { source, .. })) => {
                Err(self.failed(cursor.file, source))
            }
            Err(error) => {
                self.tell(cursor.file, key, error);
                Ok(false)
            }
        }
    }
}

/// The blocks of a key that were not looked at yet.
#[derive(Debug, Clone)]
pub(super) struct Entries {
    held: Vec<BlockEntry>,
    next: usize,
    /// Where in the file the index has those that are not held, and how many these are.
    pub index_at: u64,
    pub left: u16,
    last_time: Option<i64>,
}

impl Entries {
    /// Those that are held, of which all others follow in the index.
    pub(super) fn new(held: Vec<BlockEntry>, index_at: u64, left: u16) -> Self {
        Self {
            held,
            next: 0,
            index_at,
            left,
            last_time: None,
        }
    }

    pub(super) fn first(&self) -> Option<&BlockEntry> {
        self.held.get(self.next)
    }

    /// Takes the first, and sees that there is another where any is left.
    fn take(&mut self, content: &dyn ReadAt) -> io::Result<Option<BlockEntry>> {
        let Some(&entry) = self.first() else {
            return Ok(None);
        };
        self.next += 1;
        self.last_time = Some(entry.max_time);
        if self.next == self.held.len() && self.left > 0 {
            let count = HELD_ENTRIES.min(self.left.into());
            let mut bytes = [0; HELD_ENTRIES * ENTRY_BYTES];
            let bytes = &mut bytes[..count * ENTRY_BYTES];
            content.read_exact_at(bytes, self.index_at)?;
            self.held.clear();
            let entries = bytes.as_chunks::<ENTRY_BYTES>().0.iter();
            self.held.extend(entries.map(BlockEntry::of));
            self.next = 0;
            self.index_at += bytes.len() as u64;
            self.left -= count as u16;
        }
        Ok(Some(entry))
    }
}

/// The points of one key of one file.
#[derive(Debug)]
pub(super) struct KeyCursor<'a> {
    /// Which of the files.
    pub file: usize,
    pub value_type: ValueType,
    entries: Entries,
    is_far: bool,
    time_range: Bounds,
    filter: KeyFilter,
    deletes: KeyDeletes<'a>,
    /// Points that were unpacked, of which those from `at` on were not given yet.
    pub points: Points,
    pub at: usize,
    /// A block of which the points before a time were unpacked.
    rest: Option<(BlockEntry, i64)>,
}

impl<'a> KeyCursor<'a> {
    pub(super) fn new(
        file: usize,
        key: &Key<'_>,
        entries: Entries,
        time_range: Bounds,
        mut deletes: KeyDeletes<'a>,
    ) -> io::Result<Self> {
        let mut filter = KeyFilter::new(time_range);
        filter.load(key, &mut deletes)?;
        Ok(Self {
            file,
            value_type: key.value_type,
            entries,
            is_far: key.count >= FAR_BLOCKS,
            time_range,
            filter,
            deletes,
            points: Points::new(key.value_type),
            at: 0,
            rest: None,
        })
    }

    pub(super) fn time_range(&self) -> Bounds {
        self.time_range
    }

    /// How many of its blocks were not looked at yet.
    pub(super) fn blocks_left(&self) -> usize {
        self.entries.held.len() - self.entries.next + usize::from(self.entries.left)
    }

    /// Whether its blocks are read one by one.
    pub(super) fn is_far(&self) -> bool {
        self.is_far
    }

    /// All its blocks, if none was looked at yet and nothing was deleted of them.
    pub(super) fn untouched_entries(&self) -> Option<Entries> {
        let is_untouched = self.entries.last_time.is_none() && self.deletes.is_empty();
        is_untouched.then(|| self.entries.clone())
    }

    /// A time before which no more points come; that of the next point where it is unpacked. None
    /// at the end.
    pub(super) fn bound(&self) -> Option<i64> {
        let rest = || self.rest.map(|(_, from)| from);
        let next = || self.entries.first().map(|entry| entry.min_time);
        self.first().or_else(rest).or_else(next)
    }

    /// Whether no points come behind those that are unpacked.
    pub(super) fn is_all_unpacked(&self) -> bool {
        self.rest.is_none() && self.entries.first().is_none()
    }

    /// The time of the next point, if it is unpacked.
    pub(super) fn first(&self) -> Option<i64> {
        self.points.times.get(self.at).copied()
    }

    /// The time of the last point that is unpacked, if any is left.
    pub(super) fn last(&self) -> Option<i64> {
        self.points.times[self.at..].last().copied()
    }

    /// Unpacks the next points, unless some are left. At the end there are none then.
    pub(super) fn load(
        &mut self,
        key: KeyName<'_>,
        store: &mut BlockStore<'a>,
    ) -> Result<(), PointsError> {
        while self.first().is_none() {
            let failed = |error| store.failed(self.file, error);
            if let Some((entry, from)) = self.rest.take() {
                // The deletes were read on.
                self.filter = KeyFilter::new(self.time_range);
                let own = Key {
                    bytes: b"",
                    value_type: self.value_type,
                    count: 0,
                };
                (self.filter.load(&own, &mut self.deletes)).map_err(failed)?;
                self.unpack(&entry, Some(from), key, store)?;
                continue;
            }
            let content = store.files[self.file].content;
            let Some(entry) = self.entries.take(content).map_err(failed)? else {
                return Ok(());
            };
            self.unpack(&entry, None, key, store)?;
        }
        Ok(())
    }

    /// Unpacks a block, or as much of it as may be held; what is before `from` was given.
    fn unpack(
        &mut self,
        entry: &BlockEntry,
        from: Option<i64>,
        key: KeyName<'_>,
        store: &mut BlockStore<'a>,
    ) -> Result<(), PointsError> {
        let fate = self.filter.fate(entry, &mut self.deletes);
        let fate = fate.map_err(|error| store.failed(self.file, error))?;
        if fate == BlockFate::Dropped || !store.unpack(self, entry, key)? {
            return Ok(());
        }
        let points = match fate {
            BlockFate::ByPoint => {
                let (all, kept) = (&store.unpacked, &mut store.kept);
                let filtered = self.filter.points(all, kept, &mut self.deletes);
                filtered.map_err(|error| store.failed(self.file, error))?;
                &mut store.kept
            }
            _ => &mut store.unpacked,
        };
        let start = from.map_or(0, |from| points.times.partition_point(|time| *time < from));
        let end = piece_end(points, start, store.share);
        self.at = 0;
        if (start, end) == (0, points.len()) {
            std::mem::swap(&mut self.points, points);
            return Ok(());
        }
        self.points = Points::new(self.value_type);
        for at in start..end {
            self.points.push_from(points, at);
        }
        self.rest = points.times.get(end).map(|time| (*entry, *time));
        Ok(())
    }
}

/// Where those of `points` end that begin at `start` and take at most so many bytes of memory; but
/// one, where there is one.
fn piece_end(points: &Points, start: usize, bytes: usize) -> usize {
    let count = match &points.values {
        Values::String(strings) => {
            let mut left = bytes;
            let fits = |at: &usize| {
                let rest = left.checked_sub(POINT_BYTES + strings.get(*at).len());
                left = rest.unwrap_or(0);
                rest.is_some()
            };
            (start..points.len()).take_while(fits).count()
        }
        _ => bytes / POINT_BYTES,
    };
    start.saturating_add(count.max(1)).min(points.len())
}
