//! Which columns the tables of an export have: the indexes of all shards are read before points are.

use std::cell::RefCell;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result};

use super::tables::ExportSchema;
use crate::context::Context;
use crate::ops::gather::{GatherDepth, GatheredShard};
use crate::ops::shard_source::SourceShard;
use crate::progress::{Event, Outcome};
use crate::shard::ShardPath;
use crate::time::Bounds;
use crate::tsm::index::IndexError;
use crate::tsm::schema::SeriesWalk;
use crate::tsm::sought_series::SoughtSeries;

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

    /// Reads the indexes of a shard; copies of them are made in `scratch`.
    ///
    /// # Errors
    ///
    /// When they cannot be read; when a stop was asked for.
    pub(super) fn add(&mut self, of: &SourceShard<'_>, scratch: &Path) -> Result<()> {
        let (started, context) = (Instant::now(), self.context);
        let (shard, bytes) = (of.path(), of.bytes());
        context.report(&Event::Started { shard, bytes });
        // What a server does not send is told when points are read.
        let gathered = of.gather(GatherDepth::Schema, scratch, context)?.ok();
        let is_whole = |gathered: &GatheredShard| gathered.damage.is_empty();
        self.is_damaged |= !gathered.as_ref().is_some_and(is_whole);
        if let Some(gathered) = &gathered {
            self.walk(shard, gathered)
                .with_context(|| format!("reading shard {shard}"))?;
        }
        context.report(&Event::Finished {
            shard,
            outcome: Outcome::Checked,
            elapsed: started.elapsed(),
        });
        Ok(())
    }

    fn walk(&mut self, shard: &ShardPath, gathered: &GatheredShard) -> Result<()> {
        let context = self.context;
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
        walked.map_err(|error| match error {
            IndexError::Read { source, .. } => source.into(),
            // It was sound a moment ago.
            damage => anyhow::Error::new(damage),
        })
    }
}
