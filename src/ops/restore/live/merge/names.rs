//! What the files that come into a live shard are called, which says whose points count: of several
//! values at one time, influxd takes that of the file whose name comes last.
//!
//! Where the backup's are to count, its files get generations far above those that the server has:
//! it gives out the next ones meanwhile, and a file that gets the name of another takes its place.
//! Where the server's are to count, they get generation 0, which no server gives out, and sequences
//! below those of all files that an earlier merge brought in so. Both at a distance that is left to
//! chance: of two merges that run at once, each would take the place of the other's files.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, RandomState};

use crate::error::{Error, ErrorKind};
use crate::ops::restore::checked_shard::ShardFiles;
use crate::ops::restore::merge_options::ConflictRule;
use crate::ops::restore::regrouping::{NewNames, sequence};
use crate::tsm::{file_name, generation, stem};

/// How many generations are left to the server.
const APART: u32 = 1000;
/// How much further away they are than they have to be, by chance, at most.
const SPREAD: u32 = 10_000;
/// The highest number that names hold in nine digits. Names sort as their numbers do up to it.
const HIGHEST: u32 = 999_999_999;
/// Below which sequence of generation 0 the first merge puts its files.
const FIRST_SEQUENCE: u32 = 500_000_000;

/// The names of the files of a shard on the server.
#[derive(Debug, Default)]
pub(super) struct LiveNames(BTreeSet<String>);

impl LiveNames {
    pub(super) fn of(names: BTreeSet<String>) -> Self {
        Self(names)
    }

    pub(super) fn has(&self, name: &str) -> bool {
        self.0.contains(name)
    }

    /// What the files of some shards of the backup are called among these.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Refused`] where the server's own do not sort as its numbers do, or the numbers
    /// are used up.
    pub(super) fn new_names<'a>(
        &self,
        rule: ConflictRule,
        distance: Distance,
        parts: impl ExactSizeIterator<Item = &'a ShardFiles> + Clone,
    ) -> Result<Vec<NewNames>, Error> {
        for name in &self.0 {
            let number = generation(name).filter(|number| *number <= HIGHEST);
            let expected = number.map(|number| file_name(number, sequence(name)));
            if expected.is_none_or(|expected| stem(&expected) != stem(name)) {
                return Err(ErrorKind::Refused.error(format!(
                    "the server's file {name} is not named as influxd names files, so that nothing tells whose points would count"
                )));
            }
        }
        let files = parts.clone().flat_map(ShardFiles::iter);
        let tsm_files = files.filter(|(name, _)| name.ends_with(".tsm")).count();
        let count = u32::try_from(tsm_files).unwrap_or(HIGHEST);
        let used_up = || {
            ErrorKind::Refused
                .error("the names that TSM files can have are used up")
                .hint("a full compaction of the shard on the server makes room")
        };
        match rule {
            ConflictRule::Backup => {
                let highest = self.0.iter().filter_map(|name| generation(name)).max();
                let last = highest.unwrap_or(0).saturating_add(APART + distance.0);
                match last.checked_add(count) {
                    Some(end) if end <= HIGHEST => Ok(NewNames::behind(last, parts)),
                    _ => Err(used_up()),
                }
            }
            ConflictRule::Server => {
                let of_zero = self.0.iter().filter(|name| generation(name) == Some(0));
                let lowest = of_zero.map(|name| sequence(name)).min();
                let before = lowest.unwrap_or(FIRST_SEQUENCE);
                match before.checked_sub(count.saturating_add(distance.0)) {
                    Some(first) if first > 0 => Ok(NewNames::of_generation_zero(first, parts)),
                    _ => Err(used_up()),
                }
            }
        }
    }
}

/// How much further away names are than they have to be.
#[derive(Debug, Clone, Copy)]
pub(super) struct Distance(u32);

impl Distance {
    pub(super) fn by_chance() -> Self {
        let number = RandomState::new().hash_one(std::process::id());
        Self((number % u64::from(SPREAD)) as u32)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(live: &[&str], rule: ConflictRule) -> Option<Vec<String>> {
        let live = LiveNames::of(live.iter().map(|name| (*name).to_owned()).collect());
        let parts = [
            ShardFiles::of_test(&[
                "000000003-000000001.tsm",
                "000000003-000000002.tsm",
                "000000009-000000001.tsm",
            ]),
            ShardFiles::of_test(&["000000001-000000004.tsm"]),
        ];
        let names = live.new_names(rule, Distance(0), parts.iter()).ok()?;
        let each = names.iter().zip(&parts);
        let all = each.flat_map(|(new, files)| {
            let names = files.iter().filter_map(|(name, _)| new.get(name));
            names.map(|name| name.into_owned()).collect::<Vec<_>>()
        });
        Some(all.collect())
    }

    #[test]
    fn files_of_the_backup_come_far_behind_the_servers_where_its_points_count() {
        let live = ["000000007-000000002.tsm", "000000008-000000001.tombstone"];
        let expected = [
            "000001009-000000001.tsm",
            "000001009-000000002.tsm",
            "000001010-000000001.tsm",
            "000001011-000000004.tsm",
        ];
        assert_eq!(named(&live, ConflictRule::Backup).unwrap(), expected);
        assert_eq!(
            named(&["999999000-000000001.tsm"], ConflictRule::Backup),
            None
        );
    }

    #[test]
    fn files_of_the_backup_come_before_all_others_where_the_servers_points_count() {
        let expected = [
            "000000000-499999996.tsm",
            "000000000-499999997.tsm",
            "000000000-499999998.tsm",
            "000000000-499999999.tsm",
        ];
        let live = ["000000001-000000001.tsm"];
        assert_eq!(named(&live, ConflictRule::Server).unwrap(), expected);
        let again = [&live[..], &expected].concat();
        let again = named(&again, ConflictRule::Server).unwrap();
        assert_eq!(again[3], "000000000-499999995.tsm");
        assert_eq!(
            named(&["000000000-000000004.tsm"], ConflictRule::Server),
            None
        );
    }

    #[test]
    fn names_that_do_not_sort_as_their_numbers_do_are_refused() {
        for rule in [ConflictRule::Backup, ConflictRule::Server] {
            for odd in ["5-1.tsm", "1000000000-000000001.tsm", "odd.tsm"] {
                assert_eq!(named(&[odd], rule), None, "{odd}");
            }
        }
    }
}
