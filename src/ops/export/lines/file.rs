//! Lines on their way into one file, or into several that are complete each by itself.

use anyhow::Result;

use super::super::output::LineOut;
use super::ddl::Definitions;
use super::protocol::{LineSink, Lines};
use super::split::{FileFill, SplitLimits};
use crate::shard::ShardPath;

/// Writes lines, and before them what says where they belong.
pub(super) struct LineFiles<'a> {
    /// None where points stand alone.
    definitions: Option<Definitions<'a>>,
    /// The shard that the lines are of.
    shard: Option<ShardPath>,
    limits: SplitLimits,
    fill: FileFill,
    out: Box<dyn LineOut + 'a>,
}

impl<'a> LineFiles<'a> {
    /// Begins the first file.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub(super) fn begin(
        definitions: Option<Definitions<'a>>,
        limits: SplitLimits,
        out: Box<dyn LineOut + 'a>,
    ) -> Result<Self> {
        let mut files = Self {
            definitions,
            shard: None,
            limits,
            fill: FileFill::default(),
            out,
        };
        files.begin_file()?;
        Ok(files)
    }

    /// Turns to a shard.
    pub(super) fn begin_shard(&mut self, shard: &ShardPath) {
        self.shard = Some(shard.clone());
    }

    /// The shard that the lines are of.
    pub(super) fn shard(&self) -> Option<&ShardPath> {
        self.shard.as_ref()
    }

    /// Passes on what waits.
    ///
    /// # Errors
    ///
    /// Those of what the lines go to.
    pub(super) fn flush(&mut self) -> Result<()> {
        Ok(self.out.flush()?)
    }

    fn begin_file(&mut self) -> Result<()> {
        let mut head = Vec::new();
        if let Some(definitions) = &mut self.definitions {
            definitions.begin(&mut head)?;
        }
        self.out.write_all(&head)?;
        self.fill = FileFill::new(head.len() as u64);
        Ok(())
    }

    /// Says of which shard the lines are that follow, unless that was said.
    fn enter(&mut self) -> Result<()> {
        let mut context = Vec::new();
        if let (Some(definitions), Some(shard)) = (&mut self.definitions, &self.shard) {
            definitions.enter(shard, &mut context)?;
        }
        self.fill.add_head(context.len() as u64);
        Ok(self.out.write_all(&context)?)
    }
}

impl LineSink for LineFiles<'_> {
    fn put(&mut self, lines: &Lines) -> Result<()> {
        self.enter()?;
        if !self.limits.are_given() {
            return Ok(self.out.write_all(&lines.bytes)?);
        }
        let mut start = 0;
        while start < lines.bytes.len() {
            let portion = self.fill.take(lines, start, self.limits);
            self.out.write_all(&lines.bytes[start..portion.end])?;
            start = portion.end;
            if portion.is_last {
                self.out.next_file()?;
                self.begin_file()?;
                self.enter()?;
            }
        }
        Ok(())
    }
}
