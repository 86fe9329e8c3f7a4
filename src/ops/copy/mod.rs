//! `snap copy`: sets of one repository into another, verified while they pass.
//!
//! What is to be copied is decided first (`plan`), and beside what (`target`). Then each set is
//! written as a backup writes one, under its own id (`set`): its files are copied and compared with
//! its record, or shared with those that the target has (`file`). What is wrong with one set does
//! not keep the others from being copied (`fault`).

mod fault;
mod file;
mod plan;
mod report;
mod set;
mod target;

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use anyhow::Result;

use super::forget::Policy;
use crate::client::RateLimit;
use crate::context::Context;
use crate::error::{Error, ErrorKind, kind_of, told};
use crate::progress::Event;
use crate::repository::{Catalog, Location, SetId, SetRecord, UnreadableFile};
use crate::sizes::total;
use fault::CopyFault;
use plan::{CopyPlan, PlannedSet};
pub use report::{CopyReport, CopyState, SetCopy};
use target::{CopyTarget, Presence};

/// What to copy, and where to.
#[derive(Debug, Clone)]
pub struct CopyOptions {
    /// Where the sets lie.
    pub source: Location,
    /// Where they are to lie.
    pub target: Location,
    /// The sets; all where none is named, and no policy given.
    pub sets: Vec<String>,
    /// Those that this policy keeps.
    pub policy: Option<Policy>,
    /// How many files at a time.
    pub jobs: usize,
    /// Bytes per second at the most.
    pub limit_rate: Option<NonZeroU64>,
    /// How long to wait for another run in the target to end, before each set.
    pub retry_lock: Duration,
    /// Say what would be copied, and copy nothing.
    pub dry_run: bool,
}

/// Copies sets, and passes what became of each to `tell`.
///
/// # Errors
///
/// [`ErrorKind::NoBackup`] where there is no such set; [`ErrorKind::Locked`] while another run
/// writes in the target; when that cannot be written or the source not be reached. What is wrong
/// with single sets is no error, but told.
pub fn copy(
    options: &CopyOptions,
    context: Context<'_>,
    tell: &mut dyn FnMut(&SetCopy),
) -> Result<CopyReport> {
    let started = Instant::now();
    ensure_apart(options)?;
    if let Some(policy) = &options.policy {
        policy.ensure_keeps_something()?;
    }
    let (source, unreadable) = Catalog::read_past_damage(&options.source)?;
    if unreadable.is_empty() {
        source.latest()?;
    }
    let mut report = CopyReport::default();
    for unreadable in unreadable {
        let lost = SetCopy::unreadable(unreadable.set(), told(&unreadable.error));
        tell(&lost);
        report.add(lost);
    }
    let plan = CopyPlan::of(&source, options)?;
    let (target, unreadable) = CopyTarget::read(&options.target)?;
    for UnreadableFile { file, error } in &unreadable {
        context.warn(format!("{file} is passed over: {}", told(error)));
    }
    let mut run = CopyRun {
        options,
        context,
        source: &source,
        target,
        limit: options.limit_rate.map(RateLimit::new),
        has_warned: false,
    };
    run.announce(&plan);
    let mut refused = Vec::new();
    for planned in &plan.sets {
        context.check()?;
        let copied = run.deal_with(planned)?;
        if copied.is_refused() && !options.dry_run {
            refused.push(planned);
            continue;
        }
        tell(&copied);
        report.add(copied);
    }
    // Another run may have been copying them.
    if !refused.is_empty() {
        run.target = CopyTarget::read(&options.target)?.0;
    }
    for planned in refused {
        context.check()?;
        let copied = run.deal_with(planned)?;
        if copied.state == CopyState::Present {
            let id = &copied.id;
            context.status(format!("set {id} was copied by another run meanwhile"));
        }
        tell(&copied);
        report.add(copied);
    }
    report.unrecorded = plan.unrecorded;
    report.elapsed = started.elapsed();
    Ok(report)
}

/// Makes sure that the two places are not one, and the target is not among snap's own files.
fn ensure_apart(options: &CopyOptions) -> Result<(), Error> {
    let (source, target) = (&options.source, &options.target);
    let is_same = match (source.directory(), target.directory()) {
        (Some(source), Some(target)) => match (source.canonicalize(), target.canonicalize()) {
            (Ok(source), Ok(target)) => source == target,
            _ => false,
        },
        _ => match (source.url(), target.url()) {
            (Some(source), Some(target)) => source.to_string() == target.to_string(),
            _ => false,
        },
    };
    target.ensure_not_hidden()?;
    match is_same {
        true => Err(ErrorKind::Usage
            .error(format!("{source} and {target} are one place"))
            .hint("DST is another directory, or another URL, than SRC")),
        false => Ok(()),
    }
}

/// One run of `snap copy`.
struct CopyRun<'a> {
    options: &'a CopyOptions,
    context: Context<'a>,
    source: &'a Catalog,
    target: CopyTarget,
    limit: Option<RateLimit>,
    /// Whether what the target's file system lacks was told.
    has_warned: bool,
}

impl CopyRun<'_> {
    fn record(&self, planned: &PlannedSet) -> Option<&SetRecord> {
        self.source.sets()[planned.at].record()
    }

    /// Tells how much there is to copy.
    fn announce(&self, plan: &CopyPlan) {
        let records = plan.sets.iter().filter_map(|planned| self.record(planned));
        let absent = records.filter(|record| self.target.record(&record.id).is_none());
        let files = absent.flat_map(|record| &record.shards);
        let sizes: Vec<u64> = files
            .filter_map(|shard| Some(shard.file.as_ref()?.size))
            .collect();
        if !self.options.dry_run {
            self.context.report(&Event::Shards {
                count: sizes.len(),
                bytes: Some(total(sizes)),
            });
        }
    }

    /// Copies a set that is not there.
    ///
    /// # Errors
    ///
    /// Those that end the run.
    fn deal_with(&mut self, planned: &PlannedSet) -> Result<SetCopy> {
        let source = self.source;
        let Some(record) = source.sets()[planned.at].record() else {
            anyhow::bail!("a set without a record was planned");
        };
        let of = |state| SetCopy::new(record, planned.needed_by.clone(), state);
        let refused = |error: Error| Ok(of(CopyState::failed(&error.into())));
        match self.target.presence(source, record)? {
            Presence::Absent => {}
            Presence::Same { number } => {
                return Ok(SetCopy {
                    number: Some(number),
                    ..of(CopyState::Present)
                });
            }
            Presence::Other(error) => return refused(error),
        }
        if let Some(error) = self.without_parent(planned, &record.id) {
            return refused(error);
        }
        if self.options.dry_run {
            let added = self.target.lacks(record);
            self.target.add(record.clone());
            return Ok(SetCopy {
                added,
                ..of(CopyState::WouldCopy)
            });
        }
        let Some(_held) = source.hold_one(planned.at)? else {
            return Ok(of(CopyState::Removed));
        };
        match self.copy_set(planned, record) {
            Ok((copied, added)) => {
                let number = copied.number;
                self.target.add(copied);
                Ok(SetCopy {
                    number: Some(number),
                    added,
                    ..of(CopyState::Copied)
                })
            }
            // Where the storage has no locks.
            Err(CopyFault::OfSet(_)) if source.is_gone(&format!(".snap/{}.json", record.id)) => {
                Ok(of(CopyState::Removed))
            }
            Err(CopyFault::OfSet(error)) => Ok(of(CopyState::failed(&error))),
            Err(CopyFault::OfRun(error)) => Err(self.named(error, &record.id)),
        }
    }

    /// The error that ends the run, with the set that it met.
    fn named(&self, error: anyhow::Error, set: &SetId) -> anyhow::Error {
        match kind_of(&error) {
            kind if kind.is_stop() || kind == ErrorKind::Locked => error,
            _ => error.context(format!("copying set {set} into {}", self.options.target)),
        }
    }

    /// That a set which this one builds on is not in the target.
    fn without_parent(&self, planned: &PlannedSet, set: &SetId) -> Option<Error> {
        let sets = self.source.sets();
        let mut parents = planned.parents.iter().map(|at| &sets[*at]);
        let missing = parents.find(|parent| self.target.record(&parent.id).is_none())?;
        let parent = &missing.id;
        let why = match missing.is_recorded() {
            true => "is not copied",
            false => "is influxd's and has no record",
        };
        Some(ErrorKind::Refused.error(format!(
            "set {set} builds on {parent}, which {why}: without it, it could not be restored"
        )))
    }
}

#[cfg(test)]
mod tests;
