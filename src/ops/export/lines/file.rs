//! Lines on their way into one file, or into several that are complete each by itself.

use anyhow::Result;

use super::super::output::LineOut;
use super::ddl::Definitions;
use super::protocol::Lines;
use super::split::{FileFill, SplitLimits};
use crate::shard::ShardPath;

/// Bytes among which a place is looked for where a file can end.
const WINDOW: usize = 256 << 10;

/// Writes lines, and before them what says where they belong.
pub(super) struct LineFiles<'a> {
    /// None where points stand alone.
    definitions: Option<Definitions<'a>>,
    /// The shard that the lines are of.
    shard: Option<ShardPath>,
    limits: SplitLimits,
    fill: FileFill,
    /// Lines of which it is not known yet which files they go into.
    waiting: Lines,
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
            waiting: Lines::default(),
            out,
        };
        files.begin_file()?;
        Ok(files)
    }

    /// Turns to a shard.
    pub(super) fn begin_shard(&mut self, shard: &ShardPath) {
        self.shard = Some(shard.clone());
    }

    /// Writes lines of the shard.
    ///
    /// # Errors
    ///
    /// Those of what they go to.
    pub(super) fn put(&mut self, lines: &Lines) -> Result<()> {
        if lines.bytes.is_empty() {
            return Ok(());
        }
        if !self.limits.are_given() {
            self.enter()?;
            return self.out.put(&lines.bytes);
        }
        self.waiting.append(lines);
        match self.waiting.bytes.len() > WINDOW {
            true => self.divide(),
            false => Ok(()),
        }
    }

    /// Writes what waits of the shard.
    ///
    /// # Errors
    ///
    /// Those of what the lines go to.
    pub(super) fn end_shard(&mut self) -> Result<()> {
        self.divide()
    }

    /// Passes on what waits.
    ///
    /// # Errors
    ///
    /// Those of what the lines go to.
    pub(super) fn flush(&mut self) -> Result<()> {
        self.out.flush()
    }

    /// Writes the lines that wait into as many files as it takes.
    fn divide(&mut self) -> Result<()> {
        let mut lines = std::mem::take(&mut self.waiting);
        let mut start = 0;
        if !lines.bytes.is_empty() {
            self.enter()?;
        }
        while start < lines.bytes.len() {
            let portion = self.fill.take(&lines, start, self.limits);
            self.out.put(&lines.bytes[start..portion.end])?;
            start = portion.end;
            if portion.is_last {
                self.out.next_file()?;
                self.begin_file()?;
                self.enter()?;
            }
        }
        lines.clear();
        self.waiting = lines;
        Ok(())
    }

    fn begin_file(&mut self) -> Result<()> {
        let mut head = Vec::new();
        if let Some(definitions) = &mut self.definitions {
            definitions.begin(&mut head)?;
        }
        self.out.put(&head)?;
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
        self.out.put(&context)
    }
}
