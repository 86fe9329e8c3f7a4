//! An export as line protocol, under statements that make its databases.

mod ddl;
mod protocol;

use std::collections::BTreeSet;
use std::io::Write;

use anyhow::Result;

use super::points_writer::PointsWriter;
use super::told::Told;
use super::{ExportTally, ExportedTable};
use crate::context::Context;
use crate::metastore::Data;
use crate::shard::ShardPath;
use crate::text::plural;
use crate::tsm::points::{Rows, SeriesPoints};
use ddl::Definitions;
use protocol::{LineProtocol, Unwritable};

pub use protocol::NewlineRule;

/// How points are written as line protocol.
#[derive(Debug, Clone, Copy, Default)]
pub struct LineOptions {
    /// Points alone, without definitions of databases and retention policies.
    pub points_only: bool,
    /// What is done about line feeds in strings.
    pub newline: NewlineRule,
}

/// Writes points as line protocol.
pub(super) struct LineWriter<'a> {
    definitions: Option<Definitions<'a>>,
    format: LineProtocol,
    tally: ExportTally,
    /// The points that were written before the series.
    points_before: u64,
    out: &'a mut dyn Write,
}

impl<'a> LineWriter<'a> {
    /// Writes what stands before the points of `databases`, of which the metastore tells.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub(super) fn new(
        options: LineOptions,
        data: &'a Data,
        databases: &BTreeSet<String>,
        out: &'a mut dyn Write,
    ) -> Result<Self> {
        let definitions = (!options.points_only).then(|| Definitions::new(data));
        if let Some(definitions) = &definitions {
            definitions.write(databases, out)?;
        }
        Ok(Self {
            definitions,
            format: LineProtocol::new(options.newline),
            tally: ExportTally::default(),
            points_before: 0,
            out,
        })
    }

    fn end_series(&mut self) {
        self.tally.series += u64::from(self.tally.points > self.points_before);
        self.points_before = self.tally.points;
    }
}

impl PointsWriter for LineWriter<'_> {
    fn begin_shard(&mut self, shard: &ShardPath) -> Result<()> {
        if let Some(definitions) = &mut self.definitions {
            definitions.enter(shard, self.out)?;
        }
        Ok(())
    }

    fn begin_series(&mut self, series: &SeriesPoints<'_, '_>, told: &mut Told) -> Result<bool> {
        self.end_series();
        let cannot = |what: String, why: Unwritable| {
            format!("{what} cannot be written as line protocol: {why}")
        };
        let key = String::from_utf8_lossy(series.key());
        if let Err(why) = self.format.begin(series.key()) {
            told.add(cannot(format!("series {key}"), why));
            return Ok(false);
        }
        for (name, _) in series.fields() {
            if let Err(why) = self.format.add_field(name) {
                let name = String::from_utf8_lossy(name);
                told.add(cannot(format!("field {name} of series {key}"), why));
            }
        }
        Ok(true)
    }

    fn write(&mut self, rows: &Rows<'_, '_>) -> Result<()> {
        Ok(self.format.write(rows, &mut self.tally, self.out)?)
    }

    fn end_shard(&mut self, told: &mut Told) -> Result<()> {
        self.end_series();
        self.format.finish(&mut self.tally, self.out)?;
        let left_out = self.format.take_not_numbers();
        if left_out > 0 {
            let values = plural(left_out, "float value");
            told.add(format!("{values} left out that are no numbers"));
        }
        Ok(())
    }

    fn finish(&mut self, _: Context<'_>) -> Result<Vec<ExportedTable>> {
        self.out.flush()?;
        Ok(Vec::new())
    }

    fn tally(&self) -> ExportTally {
        self.tally
    }
}
