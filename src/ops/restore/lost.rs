//! What of a damaged backup is not restored with `-skip-damaged`: a list that can be as long as the
//! backup, in a file without a name, with counts of each shard.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, Seek, Write};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context as _, Result};
use jiff::Timestamp;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::io::scratch::scratch_error;
use crate::ops::Shortfall;
use crate::shard::ShardPath;
use crate::time::from_nanos;
use crate::tsm::filter::LostBlock;
use crate::tsm::series::split_key;

/// What is lost, or may be wrong.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum LostKind {
    /// Values of a field of a series: blocks that are damaged.
    Values,
    /// A TSM file: all that only it had of the shard.
    File,
    /// What comes behind the damage in the file of the backup, and nobody knows what that is.
    Rest,
    /// What was deleted of a TSM file: these points come back.
    Deletes,
    /// Nothing that is known: the file of the backup changed, perhaps where no checksum tells it, as
    /// in the name of a series.
    Unknown,
}

/// Something that is not restored, because the backup is damaged.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
pub struct Lost {
    /// What is lost.
    pub lost: LostKind,
    /// The database, as it is called in the backup.
    pub database: String,
    /// The retention policy, as it is called in the backup.
    pub retention_policy: String,
    /// The shard's id in the backup.
    pub shard: u64,
    /// The file in the backup directory.
    pub file: String,
    /// The file in the shard's tar, or null.
    pub member: Option<String>,
    /// The key of the series: the measurement and the tags, escaped as in line protocol; or null.
    pub series_key: Option<String>,
    /// The field, or null.
    pub field: Option<String>,
    /// Blocks of values, or null.
    pub block_count: Option<u64>,
    /// No point before this time is lost, UTC.
    pub first_time: Timestamp,
    /// No point after this time is lost, UTC.
    pub last_time: Timestamp,
    /// What is wrong.
    pub message: String,
}

/// Counts of what is lost of a shard.
#[derive(Debug, Default)]
struct LostOfShard {
    blocks: u64,
    files: u64,
    rests: u64,
    deletes: u64,
    unknown: u64,
}

/// What is lost, as it is found.
#[derive(Debug)]
pub struct LostList {
    scratch: PathBuf,
    found: Mutex<FoundLost>,
}

#[derive(Debug, Default)]
struct FoundLost {
    /// None before the first.
    file: Option<BufWriter<File>>,
    count: u64,
    shards: BTreeMap<ShardPath, LostOfShard>,
}

impl LostList {
    /// An empty one. Its file is made in the directory `scratch`.
    pub(super) fn new(scratch: &Path) -> Self {
        Self {
            scratch: scratch.to_owned(),
            found: Mutex::default(),
        }
    }

    /// How many there are.
    pub fn count(&self) -> u64 {
        self.lock().count
    }

    /// Hands each to `each`, in the order in which they were found, until that fails.
    ///
    /// # Errors
    ///
    /// Those of reading the list, and of `each`.
    pub fn each(&self, mut each: impl FnMut(&Lost) -> Result<()>) -> Result<()> {
        let mut found = self.lock();
        let Some(out) = &mut found.file else {
            return Ok(());
        };
        let reading = || "reading the list of what is lost";
        out.flush().with_context(reading)?;
        let mut file = out.get_ref();
        file.rewind().with_context(reading)?;
        for line in BufReader::new(file).lines() {
            let line = line.with_context(reading)?;
            each(&serde_json::from_str(&line).with_context(reading)?)?;
        }
        Ok(())
    }

    /// Adds one.
    ///
    /// # Errors
    ///
    /// When it cannot be written down.
    pub(super) fn add(&self, shard: &ShardPath, lost: &Lost) -> Result<()> {
        let mut found = self.lock();
        let written = found.write(&self.scratch, lost);
        written.map_err(|error| scratch_error(&self.scratch, error))?;
        let of_shard = found.shards.entry(shard.clone()).or_default();
        match lost.lost {
            LostKind::Values => of_shard.blocks += lost.block_count.unwrap_or(1),
            LostKind::File => of_shard.files += 1,
            LostKind::Rest => of_shard.rests += 1,
            LostKind::Deletes => of_shard.deletes += 1,
            LostKind::Unknown => of_shard.unknown += 1,
        }
        Ok(())
    }

    /// What each shard falls short by.
    pub(super) fn shortfalls(&self) -> Vec<Shortfall> {
        let found = self.lock();
        let shards = found.shards.iter();
        shards
            .map(|(shard, lost)| Shortfall::of_shard(shard, lost.words()))
            .collect()
    }

    fn lock(&self) -> MutexGuard<'_, FoundLost> {
        self.found.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FoundLost {
    fn write(&mut self, scratch: &Path, lost: &Lost) -> io::Result<()> {
        if self.file.is_none() {
            self.file = Some(BufWriter::new(tempfile::tempfile_in(scratch)?));
        }
        if let Some(out) = &mut self.file {
            serde_json::to_writer(&mut *out, lost)?;
            out.write_all(b"\n")?;
        }
        self.count += 1;
        Ok(())
    }
}

impl LostOfShard {
    fn words(&self) -> String {
        let counts = [
            (self.blocks, "block of values", "blocks of values"),
            (self.files, "TSM file", "TSM files"),
            (
                self.rests,
                "file from some place on",
                "files from some place on",
            ),
            (self.deletes, "tombstone file", "tombstone files"),
        ];
        let counts = counts.into_iter().filter(|(count, ..)| *count > 0);
        let counts = counts.map(|(count, one, several)| match count {
            1 => format!("1 {one}"),
            count => format!("{count} {several}"),
        });
        let counts: Vec<String> = counts.collect();
        let may_be_wrong = "what is restored may be wrong";
        match (counts.is_empty(), self.unknown) {
            (true, _) => format!("damaged where no checksum tells: {may_be_wrong}"),
            (false, 0) => format!("damaged, and not restored: {}", counts.join(", ")),
            (false, _) => format!(
                "damaged, and not restored: {}; {may_be_wrong}",
                counts.join(", ")
            ),
        }
    }
}

/// Where in the backup something is lost.
#[derive(Debug, Clone, Copy)]
pub(super) struct LostFrom<'a> {
    pub list: &'a LostList,
    pub shard: &'a ShardPath,
    /// The file in the backup directory.
    pub file: &'a str,
    /// The first and the last time that points of the shard can have, in nanoseconds since 1970.
    pub times: (i64, i64),
}

impl LostFrom<'_> {
    /// Adds what is lost with all times of the shard.
    ///
    /// # Errors
    ///
    /// Those of [`LostList::add`].
    pub(super) fn add(&self, lost: LostKind, member: Option<&str>, message: &str) -> Result<()> {
        let lost = self.lost(lost, member, self.times, message.to_owned());
        self.list.add(self.shard, &lost)
    }

    fn lost(
        &self,
        lost: LostKind,
        member: Option<&str>,
        (first, last): (i64, i64),
        message: String,
    ) -> Lost {
        Lost {
            lost,
            database: self.shard.database.to_string(),
            retention_policy: self.shard.retention_policy.to_string(),
            shard: self.shard.id,
            file: self.file.to_owned(),
            member: member.map(str::to_owned),
            series_key: None,
            field: None,
            block_count: None,
            first_time: from_nanos(first),
            last_time: from_nanos(last),
            message,
        }
    }
}

/// The damaged blocks of a TSM file: those of a field that follow one another are told together.
pub(super) struct LostBlocks<'a> {
    from: LostFrom<'a>,
    member: &'a str,
    run: Option<BlockRun>,
    /// What went wrong with the list.
    failed: Option<anyhow::Error>,
}

struct BlockRun {
    key: Vec<u8>,
    /// The number of its last block.
    last: u64,
    blocks: u64,
    times: (i64, i64),
    message: String,
}

impl<'a> LostBlocks<'a> {
    pub(super) fn new(from: LostFrom<'a>, member: &'a str) -> Self {
        Self {
            from,
            member,
            run: None,
            failed: None,
        }
    }

    /// Takes the next block.
    pub(super) fn add(&mut self, block: LostBlock<'_>) {
        if let Some(run) = &mut self.run
            && run.key == block.key
            && run.last + 1 == block.nth
        {
            run.last = block.nth;
            run.blocks += 1;
            run.times.0 = run.times.0.min(block.first);
            run.times.1 = run.times.1.max(block.last);
            return;
        }
        self.tell();
        self.run = Some(BlockRun {
            key: block.key.to_vec(),
            last: block.nth,
            blocks: 1,
            times: (block.first, block.last),
            message: block.fault.to_string(),
        });
    }

    /// Adds the last ones to the list.
    ///
    /// # Errors
    ///
    /// When the list cannot be written.
    pub(super) fn finish(mut self) -> Result<()> {
        self.tell();
        self.failed.map_or(Ok(()), Err)
    }

    fn tell(&mut self) {
        let Some(run) = self.run.take() else {
            return;
        };
        let (series, field) = split_key(&run.key);
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let of_block = self
            .from
            .lost(LostKind::Values, Some(self.member), run.times, run.message);
        let lost = Lost {
            series_key: Some(text(series.bytes())),
            field: field.map(text),
            block_count: Some(run.blocks),
            ..of_block
        };
        if let Err(error) = self.from.list.add(self.from.shard, &lost)
            && self.failed.is_none()
        {
            self.failed = Some(error);
        }
    }
}
