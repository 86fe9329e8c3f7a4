//! What a set is called that comes from another repository: it keeps its id, and its number where
//! no other has it.

use std::collections::BTreeSet;

use anyhow::Result;

use super::claim::is_claimed;
use super::hidden::{COMMIT, RECORD, REMOVAL, name_of};
use super::manifest;
use super::next_number::next_of;
use super::set_id::SetId;
use super::store::{Store, is_there};
use crate::error::{Error, ErrorKind};

/// The id of a set, and which numbers it may get.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CopiedName {
    pub id: SetId,
    /// The number that it has where it comes from.
    pub number: u32,
    /// The highest number of the older sets of its server: its own is higher. Sets are read in the
    /// order of their numbers.
    pub older: Option<u32>,
    /// The lowest number of the newer sets of its server.
    pub newer: Option<u32>,
}

impl CopiedName {
    /// The number that it gets beside those that others have: its own, else the next, or the first
    /// that is free before the newer sets. None where no number keeps the order.
    pub(super) fn number_beside(&self, taken: &BTreeSet<u32>) -> Option<u32> {
        let first = self.older.map_or(Some(0), |older| older.checked_add(1))?;
        let fits = |number: u32| {
            number >= first
                && self.newer.is_none_or(|newer| number < newer)
                && !taken.contains(&number)
        };
        let next = next_of(taken).max(first);
        if let Some(number) = [self.number, next].into_iter().find(|number| fits(*number)) {
            return Some(number);
        }
        (first..self.newer.unwrap_or(u32::MAX)).find(|number| fits(*number))
    }

    /// Refuses a set that cannot have a number.
    pub(super) fn no_number(&self, store: &dyn Store) -> Error {
        let (id, place) = (&self.id, store.place());
        ErrorKind::Refused
            .error(format!(
                "set {id} cannot be put before newer sets of its server: {place} has no free number \
                 between theirs and those of older sets"
            ))
            .hint("copy it into another directory or prefix")
    }

    /// Makes sure that no set, or what is left of one, has the id.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Refused`] where one has.
    pub(super) fn ensure_free(&self, store: &dyn Store) -> Result<()> {
        let (id, place) = (&self.id, store.place());
        if is_there(store, &name_of(id, REMOVAL))? {
            return Err(ErrorKind::Refused
                .error(format!("set {id} is being removed from {place}"))
                .hint(
                    "its files go after the grace period; with the same -keep flags, snap copy and \
                     snap forget agree on what stays",
                )
                .into());
        }
        if is_claimed(store, id)? {
            return Err(ErrorKind::Refused
                .error(format!("another run is writing set {id} into {place}"))
                .hint("if it was killed, its set can be copied ten minutes later")
                .into());
        }
        let hidden = [RECORD, COMMIT].map(|kind| name_of(id, kind));
        let visible = [manifest::manifest_file, manifest::meta_file].map(|name| name(id.as_str()));
        for name in hidden.iter().chain(&visible) {
            if is_there(store, name)? {
                return Err(self.taken(&store.place_of(name)).into());
            }
        }
        Ok(())
    }

    /// That something else has a name of the set.
    pub(super) fn taken(&self, place: &str) -> Error {
        ErrorKind::Refused.error(format!("set {} is not copied: {place} is there", self.id))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn number(own: u32, older: Option<u32>, newer: Option<u32>, taken: &[u32]) -> Option<u32> {
        let name = CopiedName {
            id: "20261120T080000Z".into(),
            number: own,
            older,
            newer,
        };
        name.number_beside(&taken.iter().copied().collect())
    }

    #[test]
    fn a_number_is_kept_where_it_is_free_and_keeps_the_order() {
        assert_eq!(number(7, None, None, &[]), Some(7));
        assert_eq!(number(7, Some(3), Some(9), &[3, 8, 9]), Some(7));
        // Taken by a set of another server, or of influxd's.
        assert_eq!(number(7, None, None, &[7]), Some(8));
        assert_eq!(number(7, Some(3), None, &[3, 7, 20]), Some(21));
        // Free, but before an older set.
        assert_eq!(number(1, Some(6), None, &[0, 5, 6]), Some(7));
        // Only the numbers between its neighbours are left.
        assert_eq!(number(4, Some(2), Some(9), &[2, 3, 4, 5, 9]), Some(6));
        assert_eq!(number(4, Some(2), Some(4), &[2, 3, 4]), None);
        assert_eq!(number(4, None, Some(0), &[0]), None);
        assert_eq!(number(4, Some(u32::MAX), None, &[u32::MAX]), None);
        assert_eq!(number(4, None, None, &[4, u32::MAX]), Some(0));
    }
}
