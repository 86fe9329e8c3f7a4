//! The number of the next set: the NN at the end of legacy names.

use std::collections::{BTreeSet, HashMap};
use std::io::BufReader;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use anyhow::Result;

use super::hidden::{RECORD, claimed_number, name_of, own_name};
use super::location::Location;
use super::names;
use super::store::{Folder, Store, StoreEntry};

/// One more than the highest number that a set, a metastore or a shard in the repository has.
pub(crate) fn next_number(location: &Location) -> Result<u32> {
    match location.directory() {
        Some(directory) if !directory.is_dir() => Ok(0),
        _ => next_number_in(&*location.store()?),
    }
}

/// As [`next_number`], of any store.
pub(super) fn next_number_in(store: &dyn Store) -> Result<u32> {
    UsedNumbers::default().next(store)
}

/// The numbers that sets have, or runs claim. Of a record that was read once, the number is kept;
/// clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct UsedNumbers {
    of_records: Arc<Mutex<HashMap<WrittenRecord, Option<u32>>>>,
}

/// The name of a record, and when it was written: one that was removed can come back.
type WrittenRecord = (String, SystemTime);

impl UsedNumbers {
    /// One more than the highest.
    pub(super) fn next(&self, store: &dyn Store) -> Result<u32> {
        Ok(next_of(&self.all(store)?))
    }

    /// All of them.
    pub(super) fn all(&self, store: &dyn Store) -> Result<BTreeSet<u32>> {
        let (top, hidden) = (store.list(Folder::Top)?, store.list(Folder::Hidden)?);
        let mut numbers = self.look_at(store, &top, &hidden)?;
        numbers.extend(hidden.iter().filter_map(|entry| {
            let (_, kind) = own_name(&entry.name)?;
            claimed_number(kind)
        }));
        Ok(numbers)
    }

    /// The numbers of files and records in these lists of the two folders.
    pub(super) fn look_at(
        &self,
        store: &dyn Store,
        top: &[StoreEntry],
        hidden: &[StoreEntry],
    ) -> Result<BTreeSet<u32>> {
        let mut numbers = BTreeSet::new();
        for entry in top {
            // influxd counts a download that is under way, or was left behind, as taken; so do we.
            let name = entry.name.strip_suffix(".pending").unwrap_or(&entry.name);
            if let Some((stem, number)) = names::split_number(name)
                && names::is_stem(stem)
            {
                numbers.insert(number);
            }
        }
        // Sets of the portable layout have their numbers nowhere else.
        let records = hidden
            .iter()
            .filter_map(|entry| match own_name(&entry.name) {
                Some((id, RECORD)) => Some((name_of(id, RECORD), entry.modified)),
                _ => None,
            });
        let known = self.of_records.lock();
        let mut known = known.unwrap_or_else(PoisonError::into_inner);
        let (mut unknown, mut written) = (Vec::new(), Vec::new());
        for record in records {
            match known.get(&record) {
                Some(number) => numbers.extend(number),
                None => {
                    unknown.push(record.0);
                    written.push(record.1);
                }
            }
        }
        let read = super::store::read_many(store, &unknown, |name| number_of(store, name));
        for (record, number) in unknown.into_iter().zip(written).zip(read) {
            numbers.extend(number);
            known.insert(record, number);
        }
        Ok(numbers)
    }
}

/// One more than the highest of these numbers.
pub(super) fn next_of(numbers: &BTreeSet<u32>) -> u32 {
    let highest = numbers.last();
    highest.map_or(0, |number| number.saturating_add(1))
}

/// The number in a record. One that is damaged must not stop a backup.
fn number_of(store: &dyn Store, record: &str) -> Option<u32> {
    #[derive(serde::Deserialize)]
    struct Numbered {
        number: u32,
    }
    let file = store.open(record).ok()?;
    let read: serde_json::Result<Numbered> = serde_json::from_reader(BufReader::new(file));
    Some(read.ok()?.number)
}
