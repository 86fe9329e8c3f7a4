//! What was deleted of one key of a file, so that it can be read more than once.

use std::io;

use super::super::index::Key;
use super::super::tombstone::{BoundedDeletes, DeletedRange, Deletes, DeletesReader};

/// The most ranges of a key that are held in memory.
const HELD_RANGES: usize = 4096;

/// What was deleted of one key of a file.
#[derive(Debug)]
pub(super) enum KeyDeletes<'a> {
    Held {
        ranges: Vec<DeletedRange>,
        next: usize,
    },
    /// Too many to be held.
    Read {
        deletes: &'a BoundedDeletes,
        reader: DeletesReader<'a>,
        key: Box<[u8]>,
    },
}

impl<'a> KeyDeletes<'a> {
    /// Those of a key, to which `reader`, which reads `deletes` along the keys, is turned.
    ///
    /// # Errors
    ///
    /// When the deletes cannot be read.
    pub(super) fn of(
        key: &Key<'_>,
        deletes: &'a BoundedDeletes,
        reader: &mut DeletesReader<'a>,
    ) -> io::Result<Self> {
        let mut ranges = Vec::new();
        if !deletes.is_empty() {
            reader.begin(key)?;
            while let Some(range) = reader.next_range()? {
                if ranges.len() == HELD_RANGES {
                    let key = key.bytes.into();
                    let reader = deletes.reader();
                    return Ok(Self::Read {
                        deletes,
                        reader,
                        key,
                    });
                }
                ranges.push(range);
            }
        }
        Ok(Self::Held { ranges, next: 0 })
    }

    /// Whether nothing was deleted.
    pub(super) fn is_empty(&self) -> bool {
        matches!(self, Self::Held { ranges, .. } if ranges.is_empty())
    }
}

impl Deletes for KeyDeletes<'_> {
    /// Turns to the first range of the key.
    fn begin(&mut self, own: &Key<'_>) -> io::Result<()> {
        match self {
            Self::Held { next, .. } => *next = 0,
            Self::Read {
                deletes,
                reader,
                key,
            } => {
                *reader = deletes.reader();
                reader.begin(&Key { bytes: key, ..*own })?;
            }
        }
        Ok(())
    }

    fn next_range(&mut self) -> io::Result<Option<DeletedRange>> {
        match self {
            Self::Held { ranges, next } => {
                let range = ranges.get(*next).copied();
                *next += 1;
                Ok(range)
            }
            Self::Read { reader, .. } => reader.next_range(),
        }
    }
}
