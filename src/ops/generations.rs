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
//! takes the highest generation of its files, and the next sequence of that. Where older tars have
//! no file that it can have been made of, its files are as new as it is. Files of generation 0 are
//! merged ones, see `ops/restore/live`, and tell nothing.

use std::collections::{BTreeMap, BTreeSet};

use crate::shard::ShardPath;
use crate::text::plural;
use crate::tsm::numbers;

/// The sequence of a file that was flushed.
const FLUSHED: u32 = 1;

/// Seconds by which the modification times of one compacted file may differ: whoever wrote a tar
/// rounded them in its own way.
const ROUNDING: u64 = 1;

/// The generation of files that a merge sends.
const MERGED: u32 = 0;

/// What is to be said of files of a shard that are left out.
pub(super) fn left_out(shard: &ShardPath, count: usize) -> String {
    format!(
        "shard {shard}: {} of older sets left out: the server had emptied the shard, and \
         numbers its files from the beginning again",
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
        // What the shard may hold, tar by tar: by generation and sequence, and the names.
        let mut held: BTreeMap<(u32, u32), &PassedFile<C>> = BTreeMap::new();
        let mut names: BTreeMap<&str, u32> = BTreeMap::new();
        for tar in (0..=self.tar).rev() {
            let own = || self.files.iter().filter(|file| file.tar == tar);
            let mut free = None;
            for file in own() {
                if free.is_none_or(|free| file.generation < free)
                    && was_free(file, &held, &is_same)?
                {
                    free = Some(file.generation);
                }
            }
            if let Some(free) = free {
                held.retain(|(generation, _), _| *generation < free);
                names.retain(|_, generation| *generation < free);
            }
            held.extend(own().map(|file| ((file.generation, file.sequence), file)));
            names.extend(own().map(|file| (file.name.as_str(), file.generation)));
        }
        let all = self.files.iter().map(|file| file.name.as_str());
        Ok(all.filter(|name| !names.contains_key(name)).collect())
    }
}

/// Whether the generation of a file, and all above it, had no file any more when it was written,
/// though the tars before have such: `held`.
fn was_free<C, E>(
    file: &PassedFile<C>,
    held: &BTreeMap<(u32, u32), &PassedFile<C>>,
    is_same: impl Fn(&C, &C) -> Result<bool, E>,
) -> Result<bool, E> {
    let (generation, sequence) = (file.generation, file.sequence);
    if generation == MERGED || held.range((generation, 0)..).next().is_none() {
        return Ok(false);
    }
    if let Some(older) = held.get(&(generation, sequence)) {
        // Another flushed file of that name can be a second younger. All that was flushed after
        // the same one is as new, so that nothing is lost where it is taken for another.
        let rounding = if sequence == FLUSHED { 0 } else { ROUNDING };
        let is_of_its_time = older.modified.abs_diff(file.modified) <= rounding;
        return Ok(!is_of_its_time && !is_same(&older.content, &file.content)?);
    }
    let mut of_generation = held
        .range((generation, 0)..=(generation, u32::MAX))
        .peekable();
    let is_compacted = match of_generation.peek() {
        Some(((_, lowest), _)) => *lowest < sequence,
        None => held.range(..(generation, 0)).next().is_some(),
    };
    Ok(sequence == FLUSHED || !is_compacted)
}

#[cfg(test)]
#[path = "generations_tests.rs"]
mod tests;
