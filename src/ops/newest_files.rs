//! Which of the files that several tars of a shard have under one name counts: the newest.

use std::collections::BTreeSet;

use crate::tsm::{is_tombstone, stem};

/// The names of files in the tars of a shard, which are passed from the newest to the oldest.
#[derive(Debug, Default)]
pub(super) struct NewestFiles {
    /// Those in newer tars, whether they can be read or not.
    newer: BTreeSet<String>,
    /// Those in the tar that is passed.
    own: BTreeSet<String>,
}

impl NewestFiles {
    /// Whether a file of the tar that is passed counts: no newer tar has one of its name. A tombstone
    /// belongs to the TSM file it was written for, not to a newer one of the same name, which may
    /// even have the same bytes: a server that sends a file sends its tombstone too.
    pub(super) fn counts(&self, name: &str) -> bool {
        let of_newer = |name: &str| self.newer.contains(name);
        let is_older =
            of_newer(name) || is_tombstone(name) && of_newer(&format!("{}.tsm", stem(name)));
        !is_older
    }

    /// The tar that is passed has a file of this name. What older ones have under it does not count,
    /// even if this one is damaged.
    pub(super) fn pass(&mut self, name: &str) {
        self.own.insert(name.to_owned());
    }

    /// All files of a tar were passed: an older one comes next.
    pub(super) fn next_tar(&mut self) {
        self.newer.append(&mut self.own);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The files that count of tars, the newest first, each with the place of its tar.
    fn counting(tars: &[&[&'static str]]) -> Vec<(usize, &'static str)> {
        let (mut newest, mut counting) = (NewestFiles::default(), Vec::new());
        for (tar, names) in tars.iter().enumerate() {
            for name in *names {
                if newest.counts(name) {
                    counting.push((tar, *name));
                }
                newest.pass(name);
            }
            newest.next_tar();
        }
        counting
    }

    #[test]
    fn of_one_name_the_newest_file_counts() {
        let tars: [&[&str]; 3] = [&["2.tsm"], &["1.tsm", "2.tsm"], &["1.tsm", "3.tsm"]];
        let expected = [(0, "2.tsm"), (1, "1.tsm"), (2, "3.tsm")];
        assert_eq!(counting(&tars), expected);
    }

    #[test]
    fn a_tombstone_counts_for_files_of_its_tar_and_of_older_ones_alone() {
        let beside: [&[&str]; 1] = [&["1.tombstone", "1.tsm"]];
        assert_eq!(counting(&beside), [(0, "1.tombstone"), (0, "1.tsm")]);
        let newer: [&[&str]; 2] = [&["1.tombstone"], &["1.tsm", "1.tombstone"]];
        assert_eq!(counting(&newer), [(0, "1.tombstone"), (1, "1.tsm")]);
        let older: [&[&str]; 3] = [&["1.tsm"], &["1.tombstone"], &["1.tsm"]];
        assert_eq!(counting(&older), [(0, "1.tsm")]);
    }
}
