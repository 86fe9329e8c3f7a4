//! What was downloaded becomes a set: its record, and the names of its files.

use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;

use super::outcome::{ShardOutcome, StoredTar};
use super::request::Planned;
use super::run::{Backup, BackupReport, EncodedMetastore, MadeSet};
use crate::error::ErrorKind;
use crate::ops::{Shortfall, grouped};
use crate::repository::{
    FileDigest, FileRecord, Layout, RECORD_FORMAT, SealedFile, Selection, SetFiles, SetRecord,
    SetState, SetWriter, ShardRecord, ShardState,
};
use crate::sizes::total;
use crate::text::{name_list, plural};

/// A shard that is dealt with.
#[derive(Debug, Clone)]
pub(crate) struct SettledShard {
    /// What became of it; the name of the file is not known yet.
    pub record: ShardRecord,
    /// The file, where there is one.
    pub file: Option<SealedFile>,
}

impl SettledShard {
    /// What the set has to say of a shard that was asked for. It may be in `doubt` whether all of
    /// it came.
    pub(super) fn of(
        planned: &Planned,
        outcome: ShardOutcome,
        doubt: Option<String>,
        layout: Layout,
    ) -> Self {
        match outcome {
            ShardOutcome::Stored(tar) => {
                Self::with_file(planned.record(ShardState::Stored), tar, doubt, layout)
            }
            ShardOutcome::Empty(Some(tar)) => {
                Self::with_file(planned.record(ShardState::Empty), tar, doubt, layout)
            }
            ShardOutcome::Empty(None) => Self::without_file(ShardRecord {
                unproven: doubt,
                ..planned.record(ShardState::Empty)
            }),
            ShardOutcome::Unchanged { file, base } => Self {
                record: ShardRecord {
                    tar_size: base.tar_size,
                    members: base.members,
                    shared_with: base.set,
                    ..planned.record(ShardState::Stored)
                },
                file: Some(file),
            },
            ShardOutcome::Expired => Self::without_file(planned.record(ShardState::Expired)),
            ShardOutcome::Withheld(reason) => Self::without_file(ShardRecord {
                error: Some(reason.clone()),
                unproven: Some(reason),
                ..planned.record(ShardState::Failed)
            }),
            ShardOutcome::Failed(reason) => Self::failed(planned, reason),
        }
    }

    /// What the set has to say of a shard that the server names and does not have open.
    pub(super) fn not_held(planned: &Planned) -> Self {
        if planned.known.is_some() {
            let why = "the server had it at the last backup, and no longer has it open; its log may say why";
            return Self::failed(planned, why.to_owned());
        }
        Self::without_file(planned.record(ShardState::NotHeld))
    }

    fn with_file(
        record: ShardRecord,
        tar: StoredTar,
        doubt: Option<String>,
        layout: Layout,
    ) -> Self {
        Self {
            record: ShardRecord {
                tar_size: layout.compresses().then_some(tar.tar_size),
                members: tar.members,
                deletes_applied: tar.deletes_applied,
                unproven: doubt,
                ..record
            },
            file: Some(tar.file),
        }
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
    /// Makes a set of the shards.
    pub(super) fn commit(
        &self,
        staging: SetWriter,
        metastore: EncodedMetastore,
        selection: Selection,
        mut settled: Vec<SettledShard>,
    ) -> Result<BackupReport> {
        // Both in place: there are thousands of them.
        settled.sort_unstable_by(|one, other| {
            let (one, other) = (&one.record, &other.record);
            let by_id = one.id.cmp(&other.id);
            by_id.then_with(|| one.path().cmp(&other.path()))
        });
        let mut files = Vec::with_capacity(settled.len());
        let shards = settled.into_iter().enumerate().map(|(index, shard)| {
            files.extend(shard.file.map(|file| (index, file)));
            shard.record
        });
        let shards: Vec<ShardRecord> = shards.collect();
        let missing = reasons(&shards, |shard| shard.error.as_deref());
        let unproven = reasons(&shards, |shard| match &shard.error {
            None => shard.unproven.as_deref(),
            Some(_) => None,
        });
        self.ensure_none_failed(&shards, &missing, &selection)?;
        self.report_expired(&shards);
        let count = |is: &dyn Fn(&ShardRecord) -> bool| {
            let counted = shards.iter().filter(|shard| is(shard));
            counted.count()
        };
        let own = files
            .iter()
            .filter(|(index, _)| shards[*index].shared_with.is_none());
        let data_of = |is: &dyn Fn(&ShardRecord) -> bool| {
            let shards = shards.iter().filter(|shard| is(shard));
            total(shards.map(data_bytes))
        };
        let mut report = BackupReport {
            set: None,
            unknown: 0,
            undecided: 0,
            stored: count(&|shard| shard.state == ShardState::Stored),
            shared: count(&|shard| shard.shared_with.is_some()),
            empty: count(&|shard| shard.state == ShardState::Empty),
            missing,
            unproven,
            gaps: Vec::new(),
            losses: None,
            since: selection.since,
            bytes: metastore.bytes.len() as u64 + own.map(|(_, file)| file.size).sum::<u64>(),
            data_bytes: metastore.size.saturating_add(data_of(&|_| true)),
            shared_bytes: data_of(&|shard| shard.shared_with.is_some()),
            elapsed: Duration::ZERO,
        };
        let is_complete = report.missing.is_empty() && report.unproven.is_empty();
        let state = if is_complete {
            SetState::Complete
        } else {
            SetState::Partial
        };
        let record = self.record(&staging, &metastore, selection, state, shards);
        let files = SetFiles {
            meta: metastore.bytes,
            shards: files,
        };
        let record = staging.commit(record, &files, self.context.cancel)?;
        report.bytes += record.manifest.as_ref().map_or(0, |manifest| manifest.size);
        report.set = Some(MadeSet {
            id: record.id,
            number: record.number,
            meta: record.meta.name,
        });
        report.elapsed = self.started.elapsed();
        Ok(report)
    }

    /// Refuses to make a set where shards failed, unless that was asked for. A shard that a busy
    /// server withholds is no failure, and all else is worth keeping.
    fn ensure_none_failed(
        &self,
        shards: &[ShardRecord],
        missing: &[Shortfall],
        selection: &Selection,
    ) -> Result<()> {
        let has_failed = |shard: &ShardRecord| shard.error.is_some() && shard.unproven.is_none();
        if self.options.skip_errors || !shards.iter().any(has_failed) {
            return Ok(());
        }
        let message = format!(
            "{} of {} shards could not be fetched: {}",
            missing.len(),
            shards.len(),
            grouped(missing).join("; ")
        );
        let hint = self.hint_after_failure(selection);
        Err(ErrorKind::Failed.error(message).hint(hint).into())
    }

    /// Tells which shards the server has deleted since the run began: they are not in the set, and
    /// nothing is missing.
    fn report_expired(&self, shards: &[ShardRecord]) {
        let expired = shards
            .iter()
            .filter(|shard| shard.state == ShardState::Expired);
        let expired: Vec<String> = expired.map(|shard| shard.path().to_string()).collect();
        if !expired.is_empty() {
            self.context.status(format!(
                "deleted on the server meanwhile: {} ({})",
                plural(expired.len(), "shard"),
                name_list(&expired)
            ));
        }
    }

    /// The set's record, without the names of its files.
    fn record(
        &self,
        staging: &SetWriter,
        metastore: &EncodedMetastore,
        selection: Selection,
        state: SetState,
        shards: Vec<ShardRecord>,
    ) -> SetRecord {
        let dialect = self.client.dialect();
        SetRecord {
            format: RECORD_FORMAT,
            written_by: concat!("snap ", env!("CARGO_PKG_VERSION")).to_owned(),
            id: staging.id().to_owned(),
            state,
            layout: self.options.layout,
            number: 0,
            started: staging.started(),
            finished: Timestamp::now(),
            host: self.options.source.clone(),
            cluster_id: Some(metastore.cluster_id),
            dialect: dialect
                .map(|dialect| dialect.to_string())
                .unwrap_or_default(),
            selection,
            meta: FileRecord {
                name: String::new(),
                size: 0,
                modified: None,
                digest: FileDigest::Blake3([0; 32].into()),
                blocks: None,
            },
            meta_size: self.options.layout.compresses().then_some(metastore.size),
            manifest: None,
            shards,
        }
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

/// The shards of which `why` gives a reason.
fn reasons(shards: &[ShardRecord], why: impl Fn(&ShardRecord) -> Option<&str>) -> Vec<Shortfall> {
    let reasons = shards
        .iter()
        .filter_map(|shard| Some(Shortfall::of_shard(shard.path(), why(shard)?)));
    reasons.collect()
}

/// Bytes of a shard's files as the server has them, without an index.
fn data_bytes(shard: &ShardRecord) -> u64 {
    let members = shard.members.iter().filter(|member| !member.is_index());
    total(members.map(|member| member.size))
}
