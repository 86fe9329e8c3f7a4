//! Resuming a backup that ended early: which of the shards that it had finished are taken over.

use std::sync::atomic::Ordering;
use std::time::Duration;

use anyhow::Result;
use jiff::Timestamp;

use super::incremental::Base;
use super::request::Planned;
use super::run::Backup;
use crate::repository::{Content, FinishedShard, ResumableRun, ShardState};
use crate::text::plural;

impl Base {
    /// The file of a shard that an earlier run had finished, and that holds `content` as this one
    /// would, which was begun at `now`. What holds a range is none: the server made its files for
    /// that run.
    pub(super) fn of_leftover(
        left: FinishedShard<'_>,
        content: Content,
        now: Timestamp,
        margin: Duration,
    ) -> Option<Self> {
        let FinishedShard {
            name,
            record,
            started,
        } = left;
        let is_as_asked = record.state == ShardState::Stored
            && record.content == content
            && content != Content::Range;
        // Where the clock was set back, nobody knows what changed since.
        (is_as_asked && started <= now)
            .then(|| Self::new(record, started, Some(margin), None, name))
            .flatten()
    }
}

impl Backup<'_> {
    /// Notes with each shard what an earlier run had finished of it and may not have changed since;
    /// of the others the files are removed. Gives how many it had finished.
    pub(super) fn build_on(
        &self,
        leftover: &ResumableRun,
        planned: &mut [Planned],
        started: Timestamp,
    ) -> Result<usize> {
        let (mut finished, mut kept) = (0, Vec::new());
        for planned in planned {
            let Some(left) = leftover.shard(&planned.shard.path) else {
                continue;
            };
            finished += 1;
            planned.known = planned.known.or(left.record.tar_bytes());
            let content = planned.content();
            let base = Base::of_leftover(left, content, started, self.options.cold_after);
            if let Some(base) = base {
                kept.push(base.name.clone());
                planned.base = Some(Box::new(base));
            }
        }
        leftover.keep_only(&kept)?;
        Ok(finished)
    }

    /// Tells how many of so many shards that an earlier run had finished are taken over.
    pub(super) fn report_taken_over(&self, finished: usize) {
        let taken_over = self.taken_over.load(Ordering::Relaxed);
        let mut message = format!(
            "{} taken over from an earlier run",
            plural(taken_over, "shard")
        );
        if finished > taken_over {
            message += &format!(
                "; {} not, because points may have changed since",
                finished - taken_over
            );
        }
        self.context.status(message);
    }
}
