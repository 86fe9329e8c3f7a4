//! The number of the next set: the NN at the end of legacy names.

use std::collections::{BTreeSet, HashMap};
use std::io::BufReader;

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

/// The numbers that sets have, or runs claim. Of a record that was read once, the number is kept.
#[derive(Debug, Default)]
pub(super) struct UsedNumbers {
    of_records: HashMap<String, Option<u32>>,
}

impl UsedNumbers {
    /// One more than the highest.
    pub(super) fn next(&mut self, store: &dyn Store) -> Result<u32> {
        Ok(next_of(&self.all(store)?))
    }

    /// All of them.
    pub(super) fn all(&mut self, store: &dyn Store) -> Result<BTreeSet<u32>> {
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
        &mut self,
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
                Some((id, RECORD)) => Some(name_of(id, RECORD)),
                _ => None,
            });
        let mut unknown = Vec::new();
        for name in records {
            match self.of_records.get(&name) {
                Some(number) => numbers.extend(number),
                None => unknown.push(name),
            }
        }
        let read = super::store::read_many(store, &unknown, |name| number_of(store, name));
        for (name, number) in unknown.into_iter().zip(read) {
            numbers.extend(number);
            self.of_records.insert(name, number);
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
