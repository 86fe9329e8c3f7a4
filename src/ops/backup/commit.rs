//! What was downloaded becomes a set: its record, and the names of its files.

use anyhow::Result;
use jiff::Timestamp;

use super::download::Fetched;
use super::plan::Planned;
use super::stored::Stored;
use super::{Backup, BackupReport, MadeSet, StoredMeta};
use crate::error::ErrorKind;
use crate::repository::{
    FileRecord, RECORD_FORMAT, SealedFile, Selection, SetFiles, SetRecord, SetState, SetWriter,
    ShardRecord, ShardState,
};

/// A shard that is dealt with.
#[derive(Debug)]
pub struct Settled {
    /// What became of it; the name of the file is not known yet.
    pub record: ShardRecord,
    /// The file, where there is one.
    pub file: Option<SealedFile>,
}

impl Settled {
    /// What the set has to say of a shard that the server does not have open.
    pub fn not_held(planned: &Planned) -> Self {
        if planned.known.is_some() {
            let why = "the server had it at the last backup, and no longer has it open; its log may say why";
            return Self::failed(planned, why.to_owned());
        }
        Self::without_file(planned.record(ShardState::NotHeld))
    }

    fn failed(planned: &Planned, reason: String) -> Self {
        Self::without_file(ShardRecord {
            error: Some(reason),
            ..planned.record(ShardState::Failed)
        })
    }

    fn without_file(record: ShardRecord) -> Self {
        Self { record, file: None }
    }
}

impl Backup<'_> {
    /// What the set has to say of a shard.
    pub fn settle(&self, planned: &Planned, fetched: Fetched, doubt: Option<String>) -> Settled {
        let with_file = |state, stored: Stored| {
            let Stored {
                file,
                tar_size,
                members,
                deletes_applied,
            } = stored;
            let tar_size = self.options.layout.packs().then_some(tar_size);
            Settled {
                record: ShardRecord {
                    tar_size,
                    members,
                    deletes_applied,
                    unproven: doubt.clone(),
                    ..planned.record(state)
                },
                file: Some(file),
            }
        };
        match fetched {
            Fetched::Stored(stored) => with_file(ShardState::Stored, stored),
            Fetched::Unchanged { file, base } => {
                let (tar_size, members, shared_with) = (base.tar_size, base.members, base.set);
                let record = ShardRecord {
                    tar_size,
                    members,
                    shared_with,
                    ..planned.record(ShardState::Stored)
                };
                Settled {
                    record,
                    file: Some(file),
                }
            }
            Fetched::Empty(Some(stored)) => with_file(ShardState::Empty, stored),
            Fetched::Empty(None) => Settled::without_file(ShardRecord {
                unproven: doubt.clone(),
                ..planned.record(ShardState::Empty)
            }),
            Fetched::Expired => Settled::without_file(planned.record(ShardState::Expired)),
            Fetched::Withheld(reason) => {
                let mut settled = Settled::failed(planned, reason.clone());
                settled.record.unproven = Some(reason);
                settled
            }
            Fetched::Failed(reason) => Settled::failed(planned, reason),
        }
    }

    /// Makes a set of the shards.
    pub fn commit(
        &self,
        staging: SetWriter,
        meta: StoredMeta,
        selection: Selection,
        mut settled: Vec<Settled>,
    ) -> Result<BackupReport> {
        settled.sort_by_key(|shard| shard.record.id);
        let (mut shards, mut files) = (Vec::new(), Vec::new());
        for Settled { record, file } in settled {
            files.extend(file.map(|file| (shards.len(), file)));
            shards.push(record);
        }
        let why = |shard: &ShardRecord| {
            Some(format!("shard {}: {}", shard.path(), shard.error.as_ref()?))
        };
        let missing: Vec<String> = shards.iter().filter_map(why).collect();
        let unproven: Vec<String> = shards
            .iter()
            .filter(|shard| shard.error.is_none())
            .filter_map(|shard| {
                Some(format!(
                    "shard {}: {}",
                    shard.path(),
                    shard.unproven.as_ref()?
                ))
            })
            .collect();
        // A shard that a busy server withholds is no failure, and all else is worth keeping.
        let has_failed = |shard: &ShardRecord| shard.error.is_some() && shard.unproven.is_none();
        if shards.iter().any(has_failed) && !self.options.skip_errors {
            let message = format!(
                "{} of {} shards could not be fetched: {}",
                missing.len(),
                shards.len(),
                missing.join("; ")
            );
            let hint = self.hint_after_failure(&selection);
            return Err(ErrorKind::Failed.error(message).hint(hint).into());
        }
        let count =
            |is: &dyn Fn(&ShardRecord) -> bool| shards.iter().filter(|shard| is(shard)).count();
        let empty = count(&|shard| shard.state == ShardState::Empty);
        let shared = count(&|shard| shard.shared_with.is_some());
        let is_own = |(index, _): &&(usize, SealedFile)| shards[*index].shared_with.is_none();
        let bytes = meta.file.size
            + files
                .iter()
                .filter(is_own)
                .map(|(_, file)| file.size)
                .sum::<u64>();
        let stored = count(&|shard| shard.state == ShardState::Stored);
        let record = SetRecord {
            format: RECORD_FORMAT,
            written_by: concat!("snap ", env!("CARGO_PKG_VERSION")).to_owned(),
            id: staging.id().to_owned(),
            state: if missing.is_empty() && unproven.is_empty() {
                SetState::Complete
            } else {
                SetState::Partial
            },
            layout: self.options.layout,
            number: 0,
            started: staging.started(),
            finished: Timestamp::now(),
            host: self.options.source.clone(),
            cluster_id: Some(meta.cluster_id),
            dialect: self
                .client
                .dialect()
                .map(|dialect| dialect.to_string())
                .unwrap_or_default(),
            selection,
            meta: FileRecord {
                name: String::new(),
                size: 0,
                sha256: String::new(),
            },
            meta_size: self.options.layout.packs().then_some(meta.size),
            manifest: None,
            shards,
        };
        let record = staging.commit(
            record,
            &SetFiles {
                meta: meta.file,
                shards: files,
            },
            self.cancel,
        )?;
        let set = Some(MadeSet {
            id: record.id,
            number: record.number,
            meta: record.meta.name,
        });
        Ok(BackupReport {
            set,
            stored,
            shared,
            empty,
            missing,
            unproven,
            gaps: Vec::new(),
            losses: None,
            bytes,
            elapsed: self.begun.elapsed(),
        })
    }

    fn hint_after_failure(&self, selection: &Selection) -> String {
        let kept = if self.options.resume {
            "what was finished is kept for the next run with -resume"
        } else {
            "nothing was kept; with -resume a run keeps what it finished for the next one with -resume"
        };
        let coarse = if selection.bounds().is_some() && !selection.coarse {
            "; with -coarse blocks are taken as the server has them, and not looked into"
        } else {
            ""
        };
        format!(
            "{kept}; a larger -retries waits longer for the server{coarse}; with -skip-errors the other shards make a set that is marked as \
             partial"
        )
    }
}
