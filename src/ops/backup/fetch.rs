//! One request for a shard: its answer, checked while it passes, in a file.

use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use std::sync::Arc;

use anyhow::{Context as _, Result};

use super::listing::{Listing, member_record};
use super::outcome::{AttemptResult, StoredTar};
use super::proof::{FirstByte, OnDownload};
use super::request::{Planned, ShardRequest};
use super::session::{QuestionError, Session, ShardJob};
use crate::client::{Reply, cancellation};
use crate::error::{told, words};
use crate::io::adapters::TeeReader;
use crate::io::scratch::is_of_system;
use crate::ops::progress_reader::ProgressReader;
use crate::ops::queue::Permit;
use crate::progress::Event;
use crate::repository::{MemberRecord, StagedTar};
use crate::shard_tar::{Ending, KeptPoints, ShardTarFilter, ShardTarReader, TarError};
use crate::time::Bounds;

/// The most bytes read at a time by one job, and by all together.
const CHUNK: usize = 512 << 10;
const ALL_CHUNKS: usize = 8 << 20;

impl Session<'_> {
    /// Asks for a shard once.
    pub(super) fn fetch(
        &self,
        job: &mut ShardJob,
        permit: Permit<'_>,
    ) -> Result<AttemptResult, QuestionError> {
        let shard = &job.planned.shard.path;
        self.context.report(&Event::Started {
            shard,
            bytes: job.planned.known,
        });
        let request = job.planned.request.for_shard(shard.id);
        self.context
            .detail(format!("asking for {request} ({shard})"));
        let mut reply = self
            .client
            .request(&request)
            .map_err(|error| self.trouble(error))?;
        let Some(first_byte) = self.first_byte(&mut reply, &job.planned)? else {
            return Ok(AttemptResult::Silence);
        };
        let proof = &mut job.attempts.proof;
        let was_given_up = proof.is_given_up();
        let decided = proof.download_begins(first_byte);
        self.record_first_byte(proof, was_given_up, first_byte);
        job.attempts.answered();
        match decided {
            OnDownload::HangUp => Ok(AttemptResult::TooLate),
            OnDownload::Take => self
                .take(&job.planned, reply, first_byte, permit)
                .map_err(QuestionError::Fatal),
        }
    }

    /// Waits for the first byte of a download; `None` where the server closed, or reset, without
    /// one.
    fn first_byte(
        &self,
        reply: &mut Reply,
        planned: &Planned,
    ) -> Result<Option<FirstByte>, QuestionError> {
        let error = match reply.first_byte() {
            Ok(None) => return Ok(None),
            // No server exports what it cannot flush.
            Ok(Some(_)) if matches!(planned.request, ShardRequest::Range(_)) => {
                return Ok(Some(FirstByte::Flushed));
            }
            Ok(Some(after)) => return Ok(Some(FirstByte::After(after))),
            Err(error) => error,
        };
        if let Some(stop) = cancellation(&error) {
            return Err(QuestionError::Fatal(stop.clone().into()));
        }
        if error.kind() == io::ErrorKind::ConnectionReset {
            return Ok(None);
        }
        let reason = format!(
            "the connection failed before the first byte: {}",
            words(&error)
        );
        Err(self.blame_for_silence(&planned.shard.path, reason))
    }

    /// Reads what comes into a file.
    fn take(
        &self,
        planned: &Planned,
        reply: Reply,
        first_byte: FirstByte,
        mut permit: Permit<'_>,
    ) -> Result<AttemptResult> {
        let shard = &planned.shard.path;
        let file = self.staging.tar(shard)?;
        let (mut filter, raw) = match planned.is_filtered() {
            true => (Some(self.filter(planned, file)?), None),
            false => (None, Some(file)),
        };
        let arriving = ProgressReader::new(reply, shard, self.context.progress);
        let mut arriving = TeeReader::new(arriving, raw);
        let mut listing = Listing::default();
        let most = CHUNK.min(ALL_CHUNKS / self.jobs.max(1));
        let mut reader = ShardTarReader::new(&mut arriving, shard);
        let buffer = &mut permit.buffer;
        let taken = take_in(&mut reader, &mut listing, filter.as_mut(), most, buffer);
        match taken {
            Ok(Ending::Nothing) => return Ok(AttemptResult::Silence),
            Ok(Ending::Whole { members: 0 }) => return Ok(AttemptResult::EmptyTar(first_byte)),
            Ok(Ending::Whole { .. }) => {}
            Err(error) => return Ok(broken(error.reason(&mut arriving)?, &listing)),
        }
        if let Some(name) = listing.duplicate() {
            let reason = format!("the member {name} stands in the tar twice");
            return Ok(broken(reason, &listing));
        }
        let (file, members) = match (filter, arriving.into_writer()) {
            (Some(filter), _) => finished(filter).context("writing what is kept of what came")?,
            (None, Some(file)) => (file, listing.members),
            (None, None) => return Ok(AttemptResult::NothingKept),
        };
        if members.is_empty() {
            return Ok(AttemptResult::NothingKept);
        }
        let (mut file, tar_size) = file.into_file()?;
        file.flush().context("writing the end of what came")?;
        // While the disk is waited for, another shard is read.
        drop(permit);
        let file = file.finish()?;
        Ok(AttemptResult::Tar(StoredTar {
            file,
            tar_size,
            members,
            deletes_applied: false,
        }))
    }

    fn filter(&self, planned: &Planned, file: StagedTar) -> Result<ShardTarFilter<StagedTar>> {
        let kept = KeptPoints {
            time_range: planned.time_range.unwrap_or(Bounds::ANY),
            series: Arc::clone(&self.series),
            deletes: BTreeMap::new(),
        };
        let (shard, scratch) = (&planned.shard.path, self.staging.scratch());
        Ok(ShardTarFilter::new(shard, kept, file, scratch)?)
    }
}

/// Reads the tar to its end: its members go into the list, and through the filter where there
/// is one. The buffer grows with them, up to `most` bytes.
fn take_in(
    reader: &mut ShardTarReader<impl Read>,
    listing: &mut Listing,
    mut filter: Option<&mut ShardTarFilter<StagedTar>>,
    most: usize,
    buffer: &mut Vec<u8>,
) -> Result<Ending, IntakeError> {
    while let Some(member) = reader.next_member()? {
        let whole = usize::try_from(member.size).unwrap_or(usize::MAX);
        let wanted = most.min(whole);
        if buffer.len() < wanted {
            buffer.reserve_exact(wanted - buffer.len());
            buffer.resize(wanted, 0);
        }
        let content = |error| IntakeError::of_content(member.offset, error);
        listing.begin(&member).map_err(content)?;
        if let Some(filter) = &mut filter {
            filter.begin(&member).map_err(content)?;
        }
        loop {
            let count = reader.read_content(buffer)?;
            if count == 0 {
                break;
            }
            listing.data(&buffer[..count]);
            if let Some(filter) = &mut filter {
                filter.data(&buffer[..count]).map_err(content)?;
            }
        }
        let content = |error| IntakeError::of_content(reader.offset(), error);
        listing.end().map_err(content)?;
        if let Some(filter) = &mut filter {
            filter.end().map_err(content)?;
        }
    }
    Ok(reader.finish()?)
}

/// What the filter kept, and its members.
fn finished(filter: ShardTarFilter<StagedTar>) -> io::Result<(StagedTar, Vec<MemberRecord>)> {
    let (file, members) = filter.finish()?;
    let members: io::Result<Vec<MemberRecord>> = members.iter().map(member_record).collect();
    Ok((file, members?))
}

fn broken(reason: String, listing: &Listing) -> AttemptResult {
    let tombstone = listing.members.iter().any(MemberRecord::is_tombstone);
    AttemptResult::Broken { reason, tombstone }
}

/// What comes from the server, and goes into a file as it comes where nothing is to be left out.
type Arriving<'a> = TeeReader<ProgressReader<'a, Reply>, StagedTar>;

/// Why a tar was not taken in.
enum IntakeError {
    /// It cannot be read on.
    Tar(TarError),
    /// A member's content is damaged.
    Content { offset: u64, error: anyhow::Error },
    /// What is kept of it cannot be written.
    Store(anyhow::Error),
}

impl IntakeError {
    fn of_content(offset: u64, error: io::Error) -> Self {
        if is_of_system(&error) {
            Self::Store(error.into())
        } else {
            let error = error.into();
            Self::Content { offset, error }
        }
    }

    /// Why the attempt failed, where another may help; else the error that ends all attempts.
    fn reason(self, arriving: &mut Arriving<'_>) -> Result<String> {
        match self {
            Self::Store(error) => Err(error),
            Self::Content { offset, error } => Ok(format!("at offset {offset}: {}", told(&error))),
            Self::Tar(TarError::Source(error)) => {
                if let Some(error) = arriving.take_write_error() {
                    return Err(error).context("writing what came");
                }
                if let Some(fault) = cancellation(&error) {
                    return Err(fault.clone().into());
                }
                let size = arriving.inner().count();
                Ok(format!(
                    "the connection failed after {size} bytes: {}",
                    words(&error)
                ))
            }
            Self::Tar(damage) => Ok(damage.to_string()),
        }
    }
}

impl From<TarError> for IntakeError {
    fn from(error: TarError) -> Self {
        Self::Tar(error)
    }
}
