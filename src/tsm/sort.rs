//! Sorting more points and deletes than memory should hold: sorted runs in a temporary file, then
//! merged.

use std::cmp::Ordering;
use std::collections::{BinaryHeap, HashMap, binary_heap::PeekMut};
use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use super::values::{ValueRef, ValueType};

/// The most bytes of a run read at a time.
const MAX_READ: usize = 64 << 10;
/// The least.
const MIN_READ: usize = 4 << 10;
/// What a key takes besides its bytes.
const KEY_BYTES: usize = 64;

/// What happened to a key, in the order in which it is sorted.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum SortedEvent<'a> {
    /// What lies at or after the event's time and not after this one was deleted.
    DeleteTo(i64),
    /// A point of the event's time was written.
    Write(ValueRef<'a>),
}

/// The kind byte of a delete; that of a value is its type's byte and one.
const DELETE: u8 = 0;

/// An event in memory. What is no number is kept elsewhere.
#[derive(Debug, Clone, Copy)]
struct Slot {
    time: i64,
    /// How many events came before.
    turn: u64,
    /// The value's bits, where a string lies (offset and length, 4 bytes each), or the last time
    /// deleted.
    bits: u64,
    key: u32,
    kind: u8,
}

impl Slot {
    /// A delete comes before the points of the time it begins at, and these in the order they were
    /// written in.
    fn place(&self) -> (i64, bool, u64) {
        (self.time, self.kind != DELETE, self.turn)
    }
}

/// Takes events in any order and gives them back by key, time and turn. Keeps `budget` bytes of
/// them in memory.
#[derive(Debug)]
pub(super) struct Sorter {
    directory: PathBuf,
    budget: usize,
    keys: HashMap<Box<[u8]>, u32>,
    key_bytes: usize,
    strings: Vec<u8>,
    slots: Vec<Slot>,
    turn: u64,
    file: Option<File>,
    /// Where the runs end in the file; each begins where the one before ends.
    ends: Vec<u64>,
}

impl Sorter {
    /// A sorter with its temporary file, once it needs one, in `directory`.
    pub(super) fn new(directory: &Path, budget: usize) -> Self {
        Self {
            directory: directory.to_owned(),
            // The strings of a run are addressed with four bytes.
            budget: budget.min(1 << 30),
            keys: HashMap::new(),
            key_bytes: 0,
            strings: Vec::new(),
            slots: Vec::new(),
            turn: 0,
            file: None,
            ends: Vec::new(),
        }
    }

    /// Takes an event that comes after all those before. A key has 1 to 65535 bytes.
    pub(super) fn push(&mut self, key: &[u8], time: i64, event: SortedEvent<'_>) -> io::Result<()> {
        let string_bytes = if let SortedEvent::Write(ValueRef::String(string)) = event {
            string.len()
        } else {
            0
        };
        let used = self.slots.len() * size_of::<Slot>() + self.strings.len() + self.key_bytes;
        if !self.slots.is_empty() && used + size_of::<Slot>() + string_bytes > self.budget {
            self.spill()?;
        }
        let next = self.keys.len() as u32;
        let key = match self.keys.get(key) {
            Some(number) => *number,
            None => {
                self.keys.insert(key.into(), next);
                self.key_bytes += key.len() + KEY_BYTES;
                next
            }
        };
        let (kind, bits) = match event {
            SortedEvent::DeleteTo(max) => (DELETE, max.cast_unsigned()),
            SortedEvent::Write(value) => match value {
                ValueRef::Float(value) => (ValueType::Float.byte() + 1, value.to_bits()),
                ValueRef::Integer(value) => (ValueType::Integer.byte() + 1, value.cast_unsigned()),
                ValueRef::Boolean(value) => (ValueType::Boolean.byte() + 1, value.into()),
                ValueRef::Unsigned(value) => (ValueType::Unsigned.byte() + 1, value),
                ValueRef::String(value) => {
                    let at = self.strings.len() as u64;
                    self.strings.extend_from_slice(value);
                    (ValueType::String.byte() + 1, at << 32 | value.len() as u64)
                }
            },
        };
        self.slots.push(Slot {
            time,
            turn: self.turn,
            bits,
            key,
            kind,
        });
        self.turn += 1;
        Ok(())
    }

    /// Writes what is in memory as a run: per key its length (2), its bytes and the count of its
    /// events (8), then per event time, turn (8 each), kind (1), bits (8; of a string, its length),
    /// and the bytes of a string.
    fn spill(&mut self) -> io::Result<()> {
        let mut keys: Vec<(Box<[u8]>, u32)> = self.keys.drain().collect();
        keys.sort_unstable();
        let mut ranks = vec![0; keys.len()];
        (0..)
            .zip(&keys)
            .for_each(|(rank, (_, number))| ranks[*number as usize] = rank);
        self.slots
            .iter_mut()
            .for_each(|slot| slot.key = ranks[slot.key as usize]);
        self.slots
            .sort_unstable_by_key(|slot| (slot.key, slot.place()));
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(tempfile::tempfile_in(&self.directory)?),
        };
        let mut out = BufWriter::with_capacity(MAX_READ, file);
        let mut bytes = 0;
        let mut write = |part: &[u8]| {
            bytes += part.len() as u64;
            out.write_all(part)
        };
        for events in self.slots.chunk_by(|a, b| a.key == b.key) {
            let key = &keys[events[0].key as usize].0;
            write(&(key.len() as u16).to_ne_bytes())?;
            write(key)?;
            write(&(events.len() as u64).to_ne_bytes())?;
            for slot in events {
                let string = slot.kind == ValueType::String.byte() + 1;
                let (at, length) = ((slot.bits >> 32) as usize, slot.bits & u64::from(u32::MAX));
                write(&slot.time.to_ne_bytes())?;
                write(&slot.turn.to_ne_bytes())?;
                write(&[slot.kind])?;
                write(&(if string { length } else { slot.bits }).to_ne_bytes())?;
                if string {
                    write(&self.strings[at..][..length as usize])?;
                }
            }
        }
        out.flush()?;
        drop(out);
        self.ends.push(self.ends.last().unwrap_or(&0) + bytes);
        self.key_bytes = 0;
        self.strings.clear();
        self.slots.clear();
        Ok(())
    }

    /// Hands out all events: those of a key together and keys ascending by their bytes; by time
    /// within a key, a delete at its first time; deletes before points of one time; else in the
    /// order they came in.
    pub(super) fn finish<E: From<io::Error>>(
        mut self,
        mut each: impl FnMut(&[u8], i64, u64, SortedEvent<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        if !self.slots.is_empty() {
            self.spill()?;
        }
        let Self {
            file,
            ends,
            budget,
            slots,
            strings,
            keys,
            ..
        } = self;
        // What was for sorting is not needed for merging.
        drop((slots, strings, keys));
        let Some(file) = file else { return Ok(()) };
        let read = (budget / ends.len()).clamp(MIN_READ, MAX_READ);
        let mut heap = BinaryHeap::with_capacity(ends.len());
        let mut start = 0;
        for end in ends {
            let mut run = SortedRun::new(RecordBytes {
                file: &file,
                at: start,
                end,
                read,
                buffer: Vec::new(),
                used: 0,
            });
            start = end;
            if run.advance()? {
                heap.push(run);
            }
        }
        while let Some(mut first) = heap.peek_mut() {
            let Slot { time, turn, .. } = first.head;
            each(&first.key, time, turn, first.event()?)?;
            if !first.advance()? {
                PeekMut::pop(first);
            }
        }
        Ok(())
    }
}

/// A run that is read; it stands at an event.
struct SortedRun<'a> {
    bytes: RecordBytes<'a>,
    key: Rc<[u8]>,
    /// Events of the key that are still to come.
    left: u64,
    head: Slot,
    string: Vec<u8>,
}

impl<'a> SortedRun<'a> {
    fn new(bytes: RecordBytes<'a>) -> Self {
        Self {
            bytes,
            key: Rc::default(),
            left: 0,
            head: Slot {
                time: 0,
                turn: 0,
                bits: 0,
                key: 0,
                kind: DELETE,
            },
            string: Vec::new(),
        }
    }

    /// Goes on to the next event, if there is one.
    fn advance(&mut self) -> io::Result<bool> {
        if self.left == 0 {
            if self.bytes.is_at_end() {
                return Ok(false);
            }
            let mut key = vec![0; u16::from_ne_bytes(self.bytes.take()?).into()];
            self.bytes.fill(&mut key)?;
            self.key = key.into();
            self.left = u64::from_ne_bytes(self.bytes.take()?);
        }
        self.left = self.left.checked_sub(1).ok_or(io::ErrorKind::InvalidData)?;
        self.head.time = i64::from_ne_bytes(self.bytes.take()?);
        self.head.turn = u64::from_ne_bytes(self.bytes.take()?);
        [self.head.kind] = self.bytes.take()?;
        self.head.bits = u64::from_ne_bytes(self.bytes.take()?);
        if self.head.kind == ValueType::String.byte() + 1 {
            self.string.resize(self.head.bits as usize, 0);
            self.bytes.fill(&mut self.string)?;
        }
        Ok(true)
    }

    fn event(&self) -> io::Result<SortedEvent<'_>> {
        let bits = self.head.bits;
        let Some(byte) = self.head.kind.checked_sub(1) else {
            return Ok(SortedEvent::DeleteTo(bits.cast_signed()));
        };
        // Written by this process, unless somebody else got at the file.
        let value_type = ValueType::from_byte(byte).ok_or(io::ErrorKind::InvalidData)?;
        Ok(SortedEvent::Write(match value_type {
            ValueType::Float => ValueRef::Float(f64::from_bits(bits)),
            ValueType::Integer => ValueRef::Integer(bits.cast_signed()),
            ValueType::Boolean => ValueRef::Boolean(bits != 0),
            ValueType::Unsigned => ValueRef::Unsigned(bits),
            ValueType::String => ValueRef::String(&self.string),
        }))
    }
}

/// The run with the least event is the greatest, as a heap gives the greatest.
impl Ord for SortedRun<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        (&other.key, other.head.place()).cmp(&(&self.key, self.head.place()))
    }
}

impl PartialOrd for SortedRun<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for SortedRun<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for SortedRun<'_> {}

/// Reads a part of the temporary file.
struct RecordBytes<'a> {
    file: &'a File,
    /// Where to read on.
    at: u64,
    end: u64,
    /// How much to read at a time.
    read: usize,
    buffer: Vec<u8>,
    used: usize,
}

impl RecordBytes<'_> {
    fn is_at_end(&self) -> bool {
        self.used == self.buffer.len() && self.at == self.end
    }

    fn take<const N: usize>(&mut self) -> io::Result<[u8; N]> {
        let mut bytes = [0; N];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, mut bytes: &mut [u8]) -> io::Result<()> {
        while !bytes.is_empty() {
            if self.used == self.buffer.len() {
                let count = (self.end - self.at).min(self.read as u64) as usize;
                if count == 0 {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                self.buffer.resize(count, 0);
                self.file.read_exact_at(&mut self.buffer, self.at)?;
                self.at += count as u64;
                self.used = 0;
            }
            let count = bytes.len().min(self.buffer.len() - self.used);
            let (now, later) = bytes.split_at_mut(count);
            now.copy_from_slice(&self.buffer[self.used..][..count]);
            self.used += count;
            bytes = later;
        }
        Ok(())
    }
}
