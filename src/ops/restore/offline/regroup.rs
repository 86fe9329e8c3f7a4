//! Putting the shards of the target together out of unpacked shards, where they are regrouped.
//!
//! All of it is out of sight, in the folders of the restore. A file that comes whole is moved; of
//! one that comes in parts, each part is written anew. The files were checked, and what is not
//! restored was left out of them.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fs::{self, File};
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::target;
use super::unpack::Unpacker;
use crate::cancel::Cancel;
use crate::io::durable;
use crate::ops::queue::{self, Turn};
use crate::ops::restore::check::not_rewritable;
use crate::ops::restore::checked_shard::{CheckedShard, ShardFiles};
use crate::ops::restore::one_type::{TypesOfShard, ensure_one_type, living_types};
use crate::ops::restore::regrouping::{NewNames, TargetShard};
use crate::ops::restore::rewrite::{Left, Stopping, write_filtered};
use crate::ops::room::ensure_room;
use crate::time::Bounds;
use crate::tsm::fields::Field;
use crate::tsm::filter::{Filtered, NewTypes, PointFilter};
use crate::tsm::sought_series::SoughtSeries;
use crate::tsm::tombstone::BoundedDeletes;
use crate::tsm::tombstone_of;

/// Puts shards of the target together.
pub(super) struct Regrouping<'a> {
    /// What unpacked the shards. Its staging has these first, then those of the target.
    pub unpacker: &'a Unpacker<'a>,
    /// The unpacked shards.
    pub shards: &'a [CheckedShard],
    pub targets: &'a [TargetShard],
}

/// Where files of a shard go.
struct Part<'a> {
    directory: &'a Path,
    bounds: Option<Bounds>,
    names: NewNames,
}

impl Regrouping<'_> {
    /// Moves and writes all files into the directories of their shards, and syncs those; what they
    /// hold.
    ///
    /// # Errors
    ///
    /// When a field would have several types in a shard; when a file is damaged in what has to be
    /// read of it, or cannot be written.
    pub(super) fn run(&self) -> Result<Left> {
        let Unpacker {
            options,
            staging,
            ownership,
            context,
            ..
        } = *self.unpacker;
        let types_of = |index: usize, shard: &CheckedShard, fields: &BTreeSet<Field>| {
            self.types_of(&staging.prepared(index), shard, fields)
        };
        ensure_one_type(self.targets, self.shards, self.unpacker.checks, types_of)?;
        let first = self.shards.len();
        let directories = (0..self.targets.len()).map(|nth| staging.prepared(first + nth));
        let directories: Vec<PathBuf> = directories.collect();
        for directory in &directories {
            ownership.create_unsynced_dirs(directory)?;
            if target::wants_tsi1(options) {
                ownership.create_unsynced_dirs(&directory.join("index"))?;
            }
        }
        let mut parts = self.parts(&directories);
        let jobs = self.shards.iter().enumerate().map(|(index, shard)| {
            let parts = parts.remove(&shard.source.id).unwrap_or_default();
            (index, shard, parts)
        });
        let jobs = jobs.collect();
        // A failure stops the other threads as well.
        let stop = context.cancel.child();
        let results = queue::work(jobs, options.jobs, &stop, |(index, shard, parts)| {
            let from = staging.prepared(index);
            let placed = self.place_shard(&from, shard, &parts, &stop);
            Turn::Done(placed.inspect_err(|_| stop.cancel()))
        });
        context.check()?;
        let placed = queue::all(results)?;
        for directory in &directories {
            durable::sync_dir(directory)?;
        }
        let sum = placed.into_iter().fold(Left::default(), Left::plus);
        Ok(sum)
    }

    /// The parts that each shard comes in, by its id.
    fn parts<'d>(&self, directories: &'d [PathBuf]) -> HashMap<u64, Vec<Part<'d>>> {
        let by_id: HashMap<u64, &ShardFiles> = self
            .shards
            .iter()
            .map(|shard| (shard.source.id, &shard.files))
            .collect();
        let mut parts: HashMap<u64, Vec<Part<'d>>> = HashMap::new();
        for (target, directory) in self.targets.iter().zip(directories) {
            let known: Vec<_> = target
                .parts
                .iter()
                .filter_map(|part| Some((part, *by_id.get(&part.shard)?)))
                .collect();
            let names = NewNames::of(known.iter().map(|(_, files)| *files));
            for ((part, _), names) in known.into_iter().zip(names) {
                parts.entry(part.shard).or_default().push(Part {
                    directory,
                    bounds: part.bounds,
                    names,
                });
            }
        }
        parts
    }

    /// The types that some fields have in what was unpacked of a shard. Where its tombstones stay,
    /// what they delete counts too.
    fn types_of(
        &self,
        directory: &Path,
        shard: &CheckedShard,
        fields: &BTreeSet<Field>,
    ) -> Result<TypesOfShard> {
        let members = self.unpacker.members(directory, shard);
        // Files of which nothing was left are gone.
        let is_there = |name: &str| directory.join(name).exists();
        living_types(&members, shard, fields, &BTreeMap::new(), is_there)
    }

    /// Puts the files of a shard, which were unpacked into `from`, where they go.
    fn place_shard(
        &self,
        from: &Path,
        shard: &CheckedShard,
        parts: &[Part<'_>],
        stop: &Cancel,
    ) -> Result<Left> {
        let mut left = Left::default();
        for (name, _) in shard
            .files
            .iter()
            .filter(|(name, _)| name.ends_with(".tsm"))
        {
            stop.check()?;
            let path = from.join(name);
            if !path.exists() {
                // Nothing of it is restored.
                continue;
            }
            for part in parts {
                let placed = self.place_file(&path, name, part, stop);
                let placed = placed.with_context(|| {
                    format!("putting {name} of shard {} where it goes", shard.source)
                })?;
                left = left.plus(placed);
                if !path.exists() {
                    // All of it was in this part.
                    break;
                }
            }
            // Its tombstone too: there is room for what comes next.
            durable::remove_if_there(&path)?;
            durable::remove_if_there(&from.join(tombstone_of(name)))?;
        }
        Ok(left)
    }

    /// Puts a TSM file, or what belongs to a part, where it goes, and its tombstone beside it.
    fn place_file(&self, path: &Path, name: &str, part: &Part<'_>, stop: &Cancel) -> Result<Left> {
        let Some(new) = part.names.get(name) else {
            return Ok(Left::default());
        };
        let place = part.directory.join(&*new);
        if let Some(bounds) = part.bounds {
            match self.cut(path, &place, bounds, stop)? {
                Filtered::Unchanged => durable::rename(path, &place)?,
                Filtered::Rewritten(()) => {}
                Filtered::Empty => return Ok(Left::default()),
            }
        } else {
            durable::rename(path, &place)?;
        }
        let mut left = Left::of_file(&place)?;
        let tombstone = path.with_file_name(tombstone_of(name));
        if tombstone.exists() {
            let place = part.directory.join(tombstone_of(&new));
            // influxd may append to it, so that each part needs its own.
            durable::write_whole_as(
                &place,
                |out| io::copy(&mut File::open(&tombstone)?, out).map(drop),
                |file| self.unpacker.ownership.give(file),
            )?;
            left = left.plus(Left::of_file(&place)?);
        }
        Ok(left)
    }

    /// Writes what of a TSM file is within `bounds`, where that is neither all nor nothing.
    fn cut(
        &self,
        path: &Path,
        place: &Path,
        bounds: Bounds,
        stop: &Cancel,
    ) -> Result<Filtered<()>> {
        let filter = PointFilter {
            deletes: &BoundedDeletes::default(),
            new_types: &NewTypes::default(),
            series: &SoughtSeries::default(),
            time_range: bounds,
        };
        ensure_room(durable::directory_of(place), fs::metadata(path)?.len())?;
        let file = Stopping {
            file: File::open(path)?,
            stop,
        };
        let written = write_filtered(&filter, &file, place);
        stop.check()?;
        let written = written.map_err(|error| not_rewritable(error, true))?;
        if let Filtered::Rewritten(()) = written {
            self.unpacker.ownership.apply(place)?;
        }
        Ok(written)
    }
}
