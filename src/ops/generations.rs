//! Which files of older tars of a shard were gone before the server wrote those of newer ones.
//!
//! An increment does not say which files are gone, so a restore keeps those of older sets, and of
//! two values at one time that of the higher generation counts. A server numbers generations
//! upwards, but begins anew below those it had when it starts with a shard of which all was deleted:
//! the files of older sets would lie above newer ones then, and bring old values in place of those
//! that are there.
//!
//! influxd writes what is in its cache to a file with sequence 1 and a generation above all others,
//! so files of this generation or a higher one that an older tar has were gone by then. A compaction
//! takes the highest generation of its files, and a sequence above theirs. Where older tars have no
//! file that it can have been made of, its files are as new as it is. Files of generation 0 are
//! merged ones, see `ops/restore/live`, and tell nothing.

use std::collections::BTreeSet;

use crate::shard::ShardPath;
use crate::text::plural;
use crate::tsm::numbers;

/// Seconds by which the modification times of one file may differ: whoever wrote a tar rounded them
/// in its own way.
const ROUNDING: u64 = 1;

/// The generation of files that a merge sends.
const MERGED: u32 = 0;

/// What is to be said of files of a shard that are left out.
pub(super) fn left_out(shard: &ShardPath, count: usize) -> String {
    format!(
        "shard {shard}: {} of older sets left out: the server had emptied the shard and begun its \
         files anew",
        plural(count, "file")
    )
}

/// The TSM files in the tars of a shard, which are passed from the newest to the oldest. What their
/// content is known by is a `C`.
#[derive(Debug)]
pub(super) struct Generations<C> {
    files: Vec<PassedFile<C>>,
    /// The place of the tar that is passed, from the newest on.
    tar: usize,
}

#[derive(Debug)]
struct PassedFile<C> {
    tar: usize,
    name: String,
    generation: u32,
    sequence: u32,
    /// Seconds since 1970.
    modified: u64,
    content: C,
}

impl<C> Default for Generations<C> {
    fn default() -> Self {
        Self {
            files: Vec::new(),
            tar: 0,
        }
    }
}

impl<C> Generations<C> {
    /// The tar that is passed has a file of this name; others than TSM files tell nothing.
    pub(super) fn pass(&mut self, name: &str, modified: u64, content: C) {
        if let Some((generation, sequence)) = numbers(name).filter(|_| name.ends_with(".tsm")) {
            self.files.push(PassedFile {
                tar: self.tar,
                name: name.to_owned(),
                generation,
                sequence,
                modified,
                content,
            });
        }
    }

    /// All files of a tar were passed: an older one comes next.
    pub(super) fn next_tar(&mut self) {
        self.tar += 1;
    }

    /// The names of the files that were gone when the server wrote a newer one, and that no newer
    /// tar has. `is_same` compares the contents of files of one name and different times: a file may
    /// have been put back, or copied.
    ///
    /// # Errors
    ///
    /// Those of `is_same`.
    pub(super) fn gone<E>(
        &self,
        is_same: impl Fn(&C, &C) -> Result<bool, E>,
    ) -> Result<BTreeSet<&str>, E> {
        let (mut gone, mut newer) = (BTreeSet::new(), BTreeSet::new());
        // The lowest generation that was free when a newer tar's file was written.
        let mut free = u32::MAX;
        for tar in 0..=self.tar {
            let own = self.files.iter().filter(|file| file.tar == tar);
            let is_gone = |file: &&PassedFile<C>| {
                file.generation >= free && !newer.contains(file.name.as_str())
            };
            gone.extend(own.clone().filter(is_gone).map(|file| file.name.as_str()));
            newer.extend(own.clone().map(|file| file.name.as_str()));
            for file in own {
                if file.generation < free && self.was_free(file, &is_same)? {
                    free = file.generation;
                }
            }
        }
        Ok(gone)
    }

    /// Whether the files of its generation, and of higher ones, that older tars have were gone when
    /// a file was written.
    fn was_free<E>(
        &self,
        file: &PassedFile<C>,
        is_same: impl Fn(&C, &C) -> Result<bool, E>,
    ) -> Result<bool, E> {
        let older = self.files.iter().filter(|older| older.tar > file.tar);
        if file.generation == MERGED || !older.clone().any(|it| it.generation >= file.generation) {
            return Ok(false);
        }
        let of_generation = older.clone().filter(|it| it.generation == file.generation);
        let of_name = of_generation
            .clone()
            .filter(|it| it.sequence == file.sequence);
        let of_name: Vec<&PassedFile<C>> = of_name.collect();
        if !of_name.is_empty() {
            for older in of_name {
                let is_of_its_time = older.modified.abs_diff(file.modified) <= ROUNDING;
                if is_of_its_time || is_same(&older.content, &file.content)? {
                    return Ok(false);
                }
            }
            return Ok(true);
        }
        let is_flushed = file.sequence == 1;
        let is_compacted = match of_generation.clone().next() {
            Some(_) => of_generation
                .map(|it| it.sequence)
                .any(|it| it < file.sequence),
            None => older.clone().any(|it| it.generation < file.generation),
        };
        Ok(is_flushed || !is_compacted)
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use super::*;

    /// Files of tars, the newest first, as (name, time, content).
    type Tars<'a> = &'a [&'a [(&'a str, u64, u32)]];

    fn gone(tars: Tars<'_>) -> Vec<String> {
        let mut generations = Generations::default();
        for (place, tar) in tars.iter().enumerate() {
            if place > 0 {
                generations.next_tar();
            }
            for (name, modified, content) in *tar {
                generations.pass(&format!("{name}.tsm"), *modified, *content);
            }
        }
        let gone = generations
            .gone(|a, b| Ok::<_, Infallible>(a == b))
            .unwrap();
        gone.into_iter().map(str::to_owned).collect()
    }

    #[test]
    fn files_that_a_server_flushed_anew_are_all_that_it_had() {
        let base: &[_] = &[("1-1", 10, 1), ("2-1", 20, 2), ("3-1", 30, 3)];
        assert_eq!(gone(&[&[("1-1", 99, 4)], base]), ["2-1.tsm", "3-1.tsm"]);
        // Of an older set the server may still have what lies below.
        assert_eq!(gone(&[&[("2-1", 99, 4)], base]), ["3-1.tsm"]);
        assert_eq!(gone(&[&[("1-1", 99, 4)], &[("7-4", 10, 1)]]), ["7-4.tsm"]);
        // A later increment goes on from there.
        let later: Tars<'_> = &[&[("2-1", 120, 5)], &[("1-1", 99, 4)], base];
        assert_eq!(gone(later), ["2-1.tsm", "3-1.tsm"][1..]);
    }

    #[test]
    fn files_that_a_server_compacted_anew_are_all_that_it_had() {
        assert_eq!(gone(&[&[("4-2", 99, 4)], &[("64-5", 10, 1)]]), ["64-5.tsm"]);
        assert_eq!(
            gone(&[&[("4-2", 99, 4)], &[("4-3", 10, 1), ("5-1", 11, 2)]]),
            ["4-3.tsm", "5-1.tsm"]
        );
        assert_eq!(
            gone(&[&[("4-2", 99, 4)], &[("4-2", 10, 1), ("5-1", 11, 2)]]),
            ["5-1.tsm"]
        );
    }

    #[test]
    fn what_a_server_writes_while_it_keeps_the_files_of_older_sets_hides_none() {
        let base: &[_] = &[
            ("1-1", 10, 1),
            ("2-1", 20, 2),
            ("4-2", 25, 3),
            ("5-1", 30, 4),
        ];
        let none: [&str; 0] = [];
        for increment in [
            // Flushed, and compacted with later files or among themselves.
            &[("6-1", 99, 9)][..],
            &[("6-2", 99, 9)],
            &[("4-3", 99, 9), ("6-1", 99, 9)],
            &[("2-2", 99, 9)],
            // 3 was empty, and left out of the older set.
            &[("3-2", 99, 9)],
            // The same file, with a time that was rounded, that somebody changed, or with deletes
            // carried out on it.
            &[("2-1", 21, 2), ("6-1", 99, 9)],
            &[("2-1", 99, 2)],
            &[("2-1", 20, 9)],
            // Merged points.
            &[("0-7", 99, 9)],
            &[],
        ] {
            assert_eq!(gone(&[increment, base]), none, "{increment:?}");
        }
    }

    #[test]
    fn what_a_newer_tar_has_anew_stays() {
        let tars: Tars<'_> = &[
            &[("1-1", 99, 4), ("3-1", 101, 6)],
            &[("2-1", 50, 9)],
            &[
                ("1-1", 10, 1),
                ("2-1", 50, 9),
                ("3-1", 30, 3),
                ("4-1", 40, 3),
            ],
        ];
        assert_eq!(gone(tars), ["2-1.tsm", "4-1.tsm"]);
    }
}
