//! What was prepared takes the place of what is there: all of it, or none.

use std::io;
use std::path::{Path, PathBuf};

use anyhow::Result;

use super::journal::{Move, Replaced, SwapJournal, write_owned};
use super::options::RestoreOptions;
use super::plan::{NewMetastore, RestorePlan, read_if_there};
use super::staging::{HiddenFolders, ShardStaging, folder, staging_for};
use crate::context::Context;
use crate::influxd_dir::{Ownership, shard_dir};
use crate::io::durable;
use crate::shard::ShardPath;

/// Shards and a metastore that are ready to take their places, as the journal has it.
pub(crate) struct Swap<'a> {
    ownership: &'a Ownership,
    metastore: Option<(&'a Path, &'a NewMetastore)>,
    journal: SwapJournal,
    /// The folder of the journal.
    folder: &'a Path,
    journal_path: PathBuf,
}

/// What came of a swap that took place.
pub(crate) enum Swapped {
    /// It outlasts a power failure.
    Durable,
    /// The journal may be back after a power failure, and then needs what was moved away.
    NotDurable(anyhow::Error),
}

impl<'a> Swap<'a> {
    /// Writes down what will be moved: shards, each with its place in the staging, and the
    /// metastore. From here on, a run that is killed is put back by the next.
    ///
    /// # Errors
    ///
    /// When the journal, or the copies of the files that are replaced, cannot be written.
    pub(super) fn prepare(
        plan: &'a RestorePlan,
        prepared: &[(usize, &ShardPath)],
        staging: &ShardStaging,
        hidden: &'a HiddenFolders<'_>,
        ownership: &'a Ownership,
        options: &'a RestoreOptions,
    ) -> Result<Self> {
        let metastore = options.metadir.as_deref().zip(plan.metastore.as_ref());
        let mut journal = SwapJournal::default();
        for (index, target) in prepared {
            journal
                .moves
                .extend(moves(*index, target, staging, options)?);
        }
        if let Some((metadir, metastore)) = metastore {
            journal.files = copied(metadir, metastore, &hidden.main().join("old"))?;
        }
        let journal_path = hidden.journal();
        durable::write_whole_by(&journal_path, |out| {
            serde_json::to_writer(out, &journal).map_err(io::Error::from)
        })?;
        Ok(Self {
            ownership,
            metastore,
            journal,
            folder: hidden.main(),
            journal_path,
        })
    }

    /// Moves everything into its place.
    ///
    /// # Errors
    ///
    /// When something cannot be moved or a stop was asked for. All is put back then; what cannot
    /// be, the next run puts back.
    pub(super) fn commit(self, context: Context<'_>) -> Result<Swapped> {
        let moved = self
            .move_shards(context)
            .and_then(|()| self.write_metastore())
            .and_then(|()| durable::remove_if_there(&self.journal_path));
        if let Err(error) = moved {
            self.roll_back();
            return Err(error);
        }
        Ok(match durable::sync_dir(self.folder) {
            Ok(()) => Swapped::Durable,
            Err(error) => Swapped::NotDurable(
                error.context("all is in its place, but may not outlast a power failure"),
            ),
        })
    }

    /// Puts everything back. Where that fails the journal stays, and the next run tries it again.
    fn roll_back(&self) {
        if self.journal.roll_back().is_ok() {
            let _ = durable::remove_if_there(&self.journal_path);
        }
    }

    fn move_shards(&self, context: Context<'_>) -> Result<()> {
        for step in &self.journal.moves {
            let is_taken = step.place.exists();
            if step.new.is_none() && !is_taken {
                continue;
            }
            context.check()?;
            let parent = step.place.parent().unwrap_or(Path::new("."));
            self.ownership.create_dirs(parent)?;
            if is_taken {
                // Where there is a folder of that name in the WAL directory, this run made it.
                durable::claim_private_dir(step.old.parent().unwrap_or(Path::new(".")))?;
                durable::rename(&step.place, &step.old)?;
            }
            if let Some(new) = &step.new {
                durable::rename(new, &step.place)?;
            }
            durable::sync_dir(parent)?;
        }
        Ok(())
    }

    fn write_metastore(&self) -> Result<()> {
        let Some((metadir, metastore)) = self.metastore else {
            return Ok(());
        };
        Ownership::below(metadir)?.create_dirs(metadir)?;
        for (name, content) in metastore.files() {
            write_owned(&metadir.join(name), content)?;
        }
        Ok(())
    }
}

/// What is moved for one shard: its directory comes, and what the server had not flushed of the old
/// one goes.
fn moves(
    index: usize,
    target: &ShardPath,
    staging: &ShardStaging,
    options: &RestoreOptions,
) -> Result<Vec<Move>> {
    let mut moves = Vec::new();
    if let Some(datadir) = &options.datadir {
        let place = shard_dir(datadir, target);
        moves.push(Move {
            new: Some(staging.prepared(index)),
            replaces: place.exists(),
            place,
            old: staging.replaced(index),
        });
    }
    if let Some(wal) = options.wal_dir() {
        let place = shard_dir(&wal, target);
        moves.push(Move {
            new: None,
            replaces: place.exists(),
            old: staging_for(&wal, &place)?.join(folder(index)),
            place,
        });
    }
    Ok(moves)
}

/// Copies the files of a meta directory that are written anew to where they are kept.
fn copied(metadir: &Path, metastore: &NewMetastore, kept: &Path) -> Result<Vec<Replaced>> {
    let mut replaced = Vec::new();
    for (name, content) in metastore.files() {
        let place = metadir.join(name);
        let mut old = None;
        if let Some(existing) = read_if_there(&place)? {
            let copy = kept.join(name);
            durable::create_private_dir(kept)?;
            durable::write_whole(&copy, &existing)?;
            old = Some(copy);
        }
        replaced.push(Replaced {
            place,
            old,
            crc: crc32fast::hash(content),
        });
    }
    Ok(replaced)
}
