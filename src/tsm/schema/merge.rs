//! The indexes of several files as one: key by key in ascending order, with the blocks that each of
//! the files has of it.

use std::cmp::Ordering;
use std::collections::BinaryHeap;

use super::super::index::{BlockEntry, IndexError, IndexWalk};
use super::super::values::ValueType;
use crate::io::read_at::ReadAt;

/// Bytes of all buffers together, where there are no more than a thousand files.
const BUFFERS: usize = 4 << 20;
/// The least bytes of the buffer of a file.
const LEAST_BUFFER: usize = 4 << 10;

/// Walks the indexes of files in step.
pub(super) struct KeyMerge<'a> {
    walks: Vec<IndexWalk<'a, dyn ReadAt + 'a>>,
    /// Where each walk that has not ended stands.
    heads: BinaryHeap<Head>,
    /// Heads that were passed, for their memory.
    passed: Vec<Head>,
}

/// What one of the files has of a key.
pub(super) struct KeyInFile {
    /// Which of the files it is.
    pub file: usize,
    pub value_type: ValueType,
    /// Its blocks, ascending in time.
    pub entries: Vec<BlockEntry>,
}

/// A key of the merged indexes, whose memory is used again for the next.
#[derive(Default)]
pub(super) struct MergedKey {
    pub key: Vec<u8>,
    /// The files that have it, ascending.
    pub files: Vec<KeyInFile>,
    /// Memory for the blocks of more files.
    spare: Vec<Vec<BlockEntry>>,
}

/// A file, and the key at which its walk stands.
#[derive(PartialEq, Eq)]
struct Head {
    key: Vec<u8>,
    file: usize,
    value_type: ValueType,
}

/// The head with the least key is the greatest, as a heap gives the greatest; of one key, that of
/// the first file.
impl Ord for Head {
    fn cmp(&self, other: &Self) -> Ordering {
        (&other.key, other.file).cmp(&(&self.key, self.file))
    }
}

impl PartialOrd for Head {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<'a> KeyMerge<'a> {
    /// Stands before the first key of all.
    ///
    /// # Errors
    ///
    /// The first fault of an index.
    pub(super) fn open(
        files: impl ExactSizeIterator<Item = &'a (dyn ReadAt + 'a)>,
    ) -> Result<Self, IndexError> {
        let buffer = (BUFFERS / files.len().max(1)).max(LEAST_BUFFER);
        let walks = files.map(|file| Ok(IndexWalk::open(file)?.buffering(buffer)));
        let mut merge = Self {
            walks: walks.collect::<Result<_, IndexError>>()?,
            heads: BinaryHeap::new(),
            passed: Vec::new(),
        };
        for file in 0..merge.walks.len() {
            merge.advance(file)?;
        }
        Ok(merge)
    }

    /// Puts the next key in the place of that in `merged`; says whether there was one.
    ///
    /// # Errors
    ///
    /// The first fault of an index.
    pub(super) fn next_into(&mut self, merged: &mut MergedKey) -> Result<bool, IndexError> {
        merged.clear();
        let Some(first) = self.heads.peek() else {
            return Ok(false);
        };
        merged.key.extend_from_slice(&first.key);
        while let Some(head) = self.heads.peek()
            && head.key == merged.key
        {
            let (file, value_type) = (head.file, head.value_type);
            let mut entries = merged.spare.pop().unwrap_or_default();
            while let Some(entry) = self.walks[file].next_entry()? {
                entries.push(entry);
            }
            merged.files.push(KeyInFile {
                file,
                value_type,
                entries,
            });
            self.passed.extend(self.heads.pop());
            self.advance(file)?;
        }
        Ok(true)
    }

    /// Takes the walk of a file to its next key.
    fn advance(&mut self, file: usize) -> Result<(), IndexError> {
        if let Some(next) = self.walks[file].next_key()? {
            let mut key = self.passed.pop().map(|head| head.key).unwrap_or_default();
            key.clear();
            key.extend_from_slice(next.bytes);
            let value_type = next.value_type;
            self.heads.push(Head {
                key,
                file,
                value_type,
            });
        }
        Ok(())
    }
}

impl MergedKey {
    fn clear(&mut self) {
        self.key.clear();
        self.spare.extend(self.files.drain(..).map(|of_file| {
            let mut entries = of_file.entries;
            entries.clear();
            entries
        }));
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::fields::tests::file;
    use super::super::shard_tests::whole;
    use super::*;
    use ValueType::{Float, Integer};

    #[test]
    fn keys_come_in_order_with_all_files_that_have_them() {
        let files = [
            file(&[("a#!~#v", Float), ("c#!~#v", Integer)]),
            file(&[("b#!~#v", Float)]),
            file(&[("a#!~#v", Float), ("c#!~#v", Float), ("d#!~#v", Float)]),
        ];
        let contents = files.each_ref().map(|file| whole(file));
        let mut merge = KeyMerge::open(contents.iter().map(|file| file as _)).unwrap();
        let mut merged = MergedKey::default();
        let mut found = Vec::new();
        while merge.next_into(&mut merged).unwrap() {
            let of_files = merged.files.iter();
            let of_files: Vec<(usize, ValueType, usize)> = of_files
                .map(|of_file| (of_file.file, of_file.value_type, of_file.entries.len()))
                .collect();
            found.push((String::from_utf8(merged.key.clone()).unwrap(), of_files));
        }
        let expected = [
            ("a#!~#v", vec![(0, Float, 1), (2, Float, 1)]),
            ("b#!~#v", vec![(1, Float, 1)]),
            ("c#!~#v", vec![(0, Integer, 1), (2, Float, 1)]),
            ("d#!~#v", vec![(2, Float, 1)]),
        ];
        assert_eq!(found, expected.map(|(key, files)| (key.to_owned(), files)));
    }
}
