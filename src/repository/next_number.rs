//! The number of the next set: the NN at the end of legacy names.

use std::io;

use anyhow::Result;

use super::hidden::{RECORD, name_of, own_name};
use super::location::Location;
use super::names;
use super::store::{Folder, Store};

/// One more than the highest number that a set, a metastore or a shard in the repository has.
pub(crate) fn next_number(location: &Location) -> Result<u32> {
    match location.directory() {
        Some(directory) if !directory.is_dir() => Ok(0),
        _ => next_number_in(&*location.store()?),
    }
}

/// As [`next_number`], of any store.
pub(super) fn next_number_in(store: &dyn Store) -> Result<u32> {
    let mut next = 0;
    for entry in store.list(Folder::Top)? {
        // influxd counts a download that is under way, or was left behind, as taken; so do we.
        let name = entry.name.strip_suffix(".pending").unwrap_or(&entry.name);
        if let Some((stem, number)) = names::split_number(name)
            && names::is_stem(stem)
        {
            next = next.max(number.saturating_add(1));
        }
    }
    // Sets of the portable layout have their numbers nowhere else. A record that is damaged must
    // not stop a backup.
    #[derive(serde::Deserialize)]
    struct Numbered {
        number: u32,
    }
    for entry in store.list(Folder::Hidden)? {
        if let Some((id, RECORD)) = own_name(&entry.name)
            && let Ok(file) = store.open(&name_of(id, RECORD))
            && let Ok(Numbered { number }) = serde_json::from_reader(io::BufReader::new(file))
        {
            next = next.max(number.saturating_add(1));
        }
    }
    Ok(next)
}
