//! TSM files as tests have them.

use super::super::tombstone::{BoundedDeletes, TombstoneRecord, TombstoneWriter};
use super::super::values::Points;
use super::super::writer::tests::write_all;

/// A file as a test has it: its keys with their blocks, and what was deleted of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct TestFile {
    pub keys: Vec<(String, Vec<Points>)>,
    pub deletes: Vec<(String, i64, i64)>,
}

impl TestFile {
    pub(crate) fn of(keys: &[(&str, &[Points])]) -> Self {
        let keys = keys.iter();
        Self {
            keys: keys
                .map(|(key, blocks)| ((*key).to_owned(), blocks.to_vec()))
                .collect(),
            deletes: Vec::new(),
        }
    }

    pub(crate) fn without(mut self, key: &str, min: i64, max: i64) -> Self {
        self.deletes.push((key.to_owned(), min, max));
        self
    }

    pub(crate) fn bytes(&self) -> Vec<u8> {
        let keys = self.keys.iter();
        let keys = keys.map(|(key, blocks)| (key.clone().into_bytes(), blocks.clone()));
        write_all(&keys.collect::<Vec<_>>())
    }

    pub(crate) fn deletes(&self) -> BoundedDeletes {
        let mut writer = TombstoneWriter::new(Vec::new()).unwrap();
        for (key, min, max) in &self.deletes {
            let (key, min, max) = (key.as_bytes(), *min, *max);
            writer.record(TombstoneRecord { key, min, max }).unwrap();
        }
        let scratch = tempfile::tempdir().unwrap();
        let file = writer.finish().unwrap();
        BoundedDeletes::read(&file[..], scratch.path()).unwrap().0
    }
}
