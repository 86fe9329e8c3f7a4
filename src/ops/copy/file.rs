//! Copying one file: what is read is hashed as it is written, and compared with what was recorded.

use std::io::{Read, Write};

use anyhow::Context as _;

use super::CopyRun;
use super::fault::CopyFault;
use crate::cancel::Cancel;
use crate::progress::Event;
use crate::repository::{FileRecord, SealedFile, SetWriter};
use crate::shard::ShardPath;

/// Bytes that are read at a time.
const CHUNK: usize = 256 << 10;

impl CopyRun<'_> {
    /// Copies the file of a shard. Nothing of it stays where it is not what was recorded.
    pub(super) fn copy_file(
        &self,
        writer: &SetWriter,
        shard: &ShardPath,
        recorded: &FileRecord,
        stop: &Cancel,
    ) -> Result<SealedFile, CopyFault> {
        let source = self.source;
        let opened = source.open_file(&recorded.name);
        let opened = opened.map_err(CopyFault::of_source)?;
        // One byte more, so that a file that grew is seen.
        let mut from = opened.take(recorded.size.saturating_add(1));
        let mut copy = writer.copy(shard, recorded).map_err(CopyFault::of_target)?;
        let mut buffer = vec![0; CHUNK];
        loop {
            stop.check().map_err(CopyFault::of_target)?;
            let portion = self.portion(stop)?;
            let read = from.read(&mut buffer[..portion]);
            let read = read.with_context(|| format!("reading {}", source.place_of(&recorded.name)));
            let count = read.map_err(CopyFault::of_source)?;
            if count == 0 {
                break;
            }
            let written = copy.write_all(&buffer[..count]).context("writing");
            written.map_err(CopyFault::of_target)?;
            writer.stay_alive().map_err(CopyFault::of_target)?;
            if let Some(limit) = &self.limit {
                limit.spend(count);
            }
            self.context.report(&Event::Bytes {
                shard,
                count: count as u64,
            });
        }
        let sealed = copy.finish().map_err(CopyFault::of_target)?;
        sealed.ok_or_else(|| self.differs(recorded))
    }

    /// Waits for its share of the rate, where that is limited; how many bytes may be read then.
    fn portion(&self, stop: &Cancel) -> Result<usize, CopyFault> {
        let Some(limit) = &self.limit else {
            return Ok(CHUNK);
        };
        limit.wait(stop).map_err(CopyFault::of_target)?;
        Ok(CHUNK.min(limit.portion))
    }
}
