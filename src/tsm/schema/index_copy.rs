//! The index of a TSM file, copied out of it: a hundredth of the file, as a rule.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::FileExt;

use super::super::HEADER;
use super::super::index::{IndexError, IndexWalk};
use crate::io::read_at::{FromStart, ReadAt, Section};
use crate::io::scratch::Spool;

/// Where the copy of an index is among others in a file.
#[derive(Debug, Clone, Copy)]
pub(crate) struct IndexCopy {
    at: u64,
    /// Where the index begins in its own file.
    index_offset: u64,
    /// Bytes of that file.
    size: u64,
}

impl IndexCopy {
    /// Copies the index of a file behind what `spool` holds.
    ///
    /// # Errors
    ///
    /// When it is no TSM file, or reading or writing fails.
    pub(crate) fn make(
        content: &(impl ReadAt + ?Sized),
        spool: &mut Spool,
    ) -> Result<Self, IndexError> {
        let index_offset = IndexWalk::open(content)?.index_offset();
        let failed = |source| IndexError::Read {
            offset: index_offset,
            source,
        };
        let size = content.size().map_err(failed)?;
        let at = spool.size();
        let index = Section::new(content, index_offset, size - index_offset);
        spool.want(at + size - index_offset).map_err(failed)?;
        io::copy(&mut FromStart::new(&index), spool).map_err(failed)?;
        spool.flush().map_err(failed)?;
        Ok(Self {
            at,
            index_offset,
            size,
        })
    }

    /// The file as far as it was copied; `copies` is that of the spool.
    pub(crate) fn view(self, copies: &File) -> IndexView<'_> {
        IndexView { copy: self, copies }
    }
}

/// A TSM file of which the blocks cannot be read.
#[derive(Debug)]
pub(crate) struct IndexView<'a> {
    copy: IndexCopy,
    copies: &'a File,
}

impl ReadAt for IndexView<'_> {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        if let Some(offset) = offset.checked_sub(self.copy.index_offset) {
            return FileExt::read_exact_at(self.copies, buf, self.copy.at + offset);
        }
        HEADER.read_exact_at(buf, offset)
    }

    fn size(&self) -> io::Result<u64> {
        Ok(self.copy.size)
    }
}

#[cfg(test)]
mod tests {
    use super::super::super::fields::tests::file;
    use super::super::super::values::ValueType::{Float, Integer};
    use super::*;

    fn keys(content: &(impl ReadAt + ?Sized)) -> Vec<(Vec<u8>, u64)> {
        let mut walk = IndexWalk::open(content).unwrap();
        let mut keys = Vec::new();
        while let Some(key) = walk.next_key().unwrap() {
            let key = key.bytes.to_vec();
            keys.push((key, walk.next_entry().unwrap().unwrap().offset));
        }
        keys
    }

    #[test]
    fn copies_of_several_indexes_are_walked_as_the_files_are() {
        let files = [
            file(&[("a#!~#v", Float), ("c#!~#v", Integer)]),
            file(&[("b#!~#v", Float)]),
        ];
        let folder = tempfile::tempdir().unwrap();
        let mut spool = Spool::new_in(folder.path()).unwrap();
        let copies = files
            .each_ref()
            .map(|file| IndexCopy::make(&file[..], &mut spool).unwrap());
        for (file, copy) in files.iter().zip(copies) {
            let view = copy.view(spool.file());
            assert_eq!(keys(&view), keys(&file[..]));
            let mut block = [0; 9];
            assert!(view.read_exact_at(&mut block, 5).is_err(), "no blocks");
        }
        assert!(IndexCopy::make(&b"no TSM file at all"[..], &mut spool).is_err());
    }
}
