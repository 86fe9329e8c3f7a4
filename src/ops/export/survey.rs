//! Which columns the tables of an export have: the indexes of all shards are read before points are.

use std::cell::RefCell;
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::tables::ExportSchema;
use crate::context::Context;
use crate::ops::gather::GatheredShard;
use crate::ops::restore::PlannedShard;
use crate::progress::{Event, Outcome};
use crate::shard::ShardPath;
use crate::time::Bounds;
use crate::tsm::index::IndexError;
use crate::tsm::schema::SeriesWalk;
use crate::tsm::sought_series::SoughtSeries;

/// A shard of a plan, whatever it is read from.
pub(super) trait Surveyed {
    fn name(&self) -> &ShardPath;

    /// Bytes of its files, where they are known.
    fn size(&self) -> Option<u64>;
}

impl Surveyed for PlannedShard {
    fn name(&self) -> &ShardPath {
        &self.source
    }

    fn size(&self) -> Option<u64> {
        Some(self.bytes())
    }
}

impl Surveyed for ShardPath {
    fn name(&self) -> &ShardPath {
        self
    }

    fn size(&self) -> Option<u64> {
        None
    }
}

/// Reads what there is in shards.
pub(super) struct Survey<'a> {
    sought: &'a SoughtSeries,
    bounds: Bounds,
    context: Context<'a>,
    pub schema: ExportSchema,
    /// Whether something could not be looked at. What it is, is told when points are read.
    pub is_damaged: bool,
}

impl<'a> Survey<'a> {
    /// Nothing was read yet.
    pub(super) fn new(sought: &'a SoughtSeries, bounds: Bounds, context: Context<'a>) -> Self {
        Self {
            sought,
            bounds,
            context,
            schema: ExportSchema::default(),
            is_damaged: false,
        }
    }

    /// Reads the indexes of a shard that is gathered for it.
    ///
    /// # Errors
    ///
    /// When they cannot be read; when a stop was asked for.
    pub(super) fn add(
        &mut self,
        planned: &impl Surveyed,
        gather: impl FnOnce() -> Result<GatheredShard>,
    ) -> Result<()> {
        let (started, context) = (Instant::now(), self.context);
        let (shard, bytes) = (planned.name(), planned.size());
        context.report(&Event::Started { shard, bytes });
        let gathered = gather()?;
        self.is_damaged |= !gathered.damage.is_empty();
        let matcher = RefCell::new(self.sought.matcher());
        let (schema, bounds) = (&mut self.schema, self.bounds);
        let walked = gathered.with_files(|files, _| {
            SeriesWalk::new(files, false).each(
                |series| matcher.borrow_mut().takes(series.bytes()),
                &mut |_| {},
                |series| {
                    context.check().map_err(std::io::Error::other)?;
                    schema.add(shard, series, bounds);
                    Ok(())
                },
            )
        });
        context.check()?;
        walked
            .map_err(|error| match error {
                IndexError::Read { source, .. } => source.into(),
                // It was sound a moment ago.
                damage => anyhow::Error::new(damage),
            })
            .with_context(|| format!("reading shard {shard}"))?;
        context.report(&Event::Finished {
            shard,
            outcome: Outcome::Checked,
            elapsed: started.elapsed(),
        });
        Ok(())
    }
}
