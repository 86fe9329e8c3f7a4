//! One request for a shard: its answer, checked while it passes, in a file.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{self, Read};

use anyhow::{Context, Result};
use jiff::Timestamp;

use super::download::{Downloader, Want};
use super::plan::Planned;
use super::proof::{Begun, Came, Proof};
use super::stored::Stored;
use crate::client::{Reply, cancellation};
use crate::io::adapters::TeeReader;
use crate::io::scratch::is_of_system;
use crate::ops::progress_reader::ProgressReader;
use crate::progress::Event;
use crate::repository::{MemberRecord, StagedTar};
use crate::shard::ShardPath;
use crate::shard_tar::{Ending, Member, ShardTarFilter, ShardTarReader, TarError};
use crate::time::Bounds;
use crate::tsm::envelope::Envelope;

/// The most bytes read at a time by one job, and by all together.
const CHUNK: usize = 512 << 10;
const ALL_CHUNKS: usize = 8 << 20;
/// A stream without a fault.
pub enum Answer {
    /// The server closed, or reset, without a byte.
    Nothing,
    /// Its first byte came too late to be sure of the rest, and it was not read.
    TooLate,
    /// An empty tar, and how it came.
    Empty(Came),
    /// A tar with members of which not a point is asked for.
    NothingKept,
    /// A tar with members.
    Shard(Stored),
}

/// Why an attempt failed.
pub enum Attempt {
    /// The stream broke off. `tombstone`: behind a tombstone file.
    Broken { reason: String, tombstone: bool },
    /// No byte came for too long.
    Quiet(String),
    /// The request did not reach the server.
    Unreached(anyhow::Error),
    /// The fault is on this side, or a stop was asked for: no further attempt.
    Fatal(anyhow::Error),
}

impl Downloader<'_> {
    /// Asks for a shard once.
    pub fn fetch(&self, planned: &Planned, proof: &mut Proof) -> Result<Answer, Attempt> {
        let shard = &planned.shard.path;
        self.progress.report(&Event::Started {
            shard,
            bytes: planned.known,
        });
        let request = planned.want.request(shard.id);
        self.progress
            .report(&Event::Detail(&format!("asking for {request} ({shard})")));
        let mut reply = self.client.request(&request).map_err(Attempt::Unreached)?;
        let came = match reply.first_byte() {
            Ok(None) => return Ok(Answer::Nothing),
            // No server exports what it cannot flush.
            Ok(Some(_)) if matches!(planned.want, Want::Range(_)) => Came::Flushed,
            Ok(Some(after)) => Came::After(after),
            Err(error) => match cancellation(&error) {
                Some(fault) => return Err(Attempt::Fatal(fault.clone().into())),
                None if error.kind() == io::ErrorKind::ConnectionReset => {
                    return Ok(Answer::Nothing);
                }
                None => {
                    let reason = format!("the connection failed before the first byte: {error}");
                    return Err(Attempt::Quiet(reason));
                }
            },
        };
        let was_given_up = proof.is_given_up();
        let begun = proof.begun(came);
        self.heard(proof, was_given_up, came);
        if begun == Begun::HangUp {
            return Ok(Answer::TooLate);
        }
        let file = self
            .staging
            .tar(self.layout, shard.id)
            .map_err(Attempt::Fatal)?;
        let (mut filter, raw) = match planned.cut {
            Some(bounds) => (Some(self.filter(planned, bounds, file)?), None),
            None => (None, Some(file)),
        };
        let arriving = ProgressReader::new(reply, shard, self.progress);
        let mut arriving = TeeReader::new(arriving, raw);
        let mut listing = Listing::default();
        let outcome = self.take_in(&mut arriving, shard, &mut listing, filter.as_mut());
        let broken = |reason, listing: &Listing| {
            let tombstone = listing.members.iter().any(MemberRecord::is_tombstone);
            Err(Attempt::Broken { reason, tombstone })
        };
        let ending = match outcome {
            Ok(ending) => ending,
            Err(error) => {
                let reason = error.reason(&mut arriving).map_err(Attempt::Fatal)?;
                return broken(reason, &listing);
            }
        };
        match ending {
            Ending::Nothing => return Ok(Answer::Nothing),
            Ending::Whole { members: 0 } => return Ok(Answer::Empty(came)),
            Ending::Whole { .. } => {}
        }
        if let Some(name) = listing.duplicate() {
            return broken(
                format!("the member {name} stands in the tar twice"),
                &listing,
            );
        }
        let (file, members) = match (filter, arriving.into_writer()) {
            (Some(filter), _) => {
                let finished = filter.finish().and_then(|(file, members)| {
                    let recorded = members
                        .iter()
                        .map(member_record)
                        .collect::<io::Result<_>>()?;
                    Ok((file, recorded))
                });
                finished
                    .context("writing what is kept of what came")
                    .map_err(Attempt::Fatal)?
            }
            (None, Some(file)) => (file, listing.members),
            (None, None) => return Ok(Answer::NothingKept),
        };
        if members.is_empty() {
            return Ok(Answer::NothingKept);
        }
        let (file, tar_size) = file.finish().map_err(Attempt::Fatal)?;
        Ok(Answer::Shard(Stored {
            file,
            tar_size,
            members,
            deletes_applied: false,
        }))
    }

    /// Reads the tar to its end: its members go into the list, and through the filter where there is
    /// one.
    fn take_in(
        &self,
        arriving: impl Read,
        shard: &ShardPath,
        listing: &mut Listing,
        mut filter: Option<&mut ShardTarFilter<StagedTar>>,
    ) -> Result<Ending, IntakeError> {
        let mut reader = ShardTarReader::new(arriving, shard);
        let mut buffer = vec![0; CHUNK.min(ALL_CHUNKS / self.jobs.max(1))];
        while let Some(member) = reader.next_member()? {
            let content = |error| IntakeError::of_content(member.offset, error);
            listing.begin(&member).map_err(content)?;
            if let Some(filter) = &mut filter {
                filter.begin(&member).map_err(content)?;
            }
            loop {
                let count = reader.read_content(&mut buffer)?;
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

    fn filter(
        &self,
        planned: &Planned,
        bounds: Bounds,
        file: StagedTar,
    ) -> Result<ShardTarFilter<StagedTar>, Attempt> {
        let (shard, scratch) = (&planned.shard.path, self.staging.scratch());
        ShardTarFilter::new(shard, bounds, BTreeMap::new(), file, scratch)
            .map_err(|error| Attempt::Fatal(error.into()))
    }
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
            Self::Content { offset, error } => Ok(format!("at offset {offset}: {error:#}")),
            Self::Tar(TarError::Source(error)) => {
                if let Some(error) = arriving.take_write_error() {
                    return Err(error).context("writing what came");
                }
                if let Some(fault) = cancellation(&error) {
                    return Err(fault.clone().into());
                }
                let size = arriving.inner().count();
                Ok(format!("the connection failed after {size} bytes: {error}"))
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

/// Lists the members of a tar and looks at the TSM files among them.
#[derive(Default)]
pub struct Listing {
    /// All members, in the order of the tar.
    pub members: Vec<MemberRecord>,
    envelope: Option<Envelope>,
}

impl Listing {
    /// The members that hold points or deletes, and not an index.
    pub fn contents(&self) -> impl Iterator<Item = &MemberRecord> {
        self.members.iter().filter(|member| !member.is_index())
    }

    fn duplicate(&self) -> Option<&str> {
        let mut names: Vec<&str> = self
            .members
            .iter()
            .map(|member| member.name.as_str())
            .collect();
        names.sort_unstable();
        names
            .windows(2)
            .find(|pair| pair[0] == pair[1])
            .map(|pair| pair[0])
    }
}

impl Listing {
    /// A member begins.
    pub fn begin(&mut self, member: &Member) -> io::Result<()> {
        self.envelope = member.is_tsm().then(Envelope::default);
        self.members.push(member_record(member)?);
        Ok(())
    }

    /// The next bytes of its content.
    fn data(&mut self, chunk: &[u8]) {
        if let Some(envelope) = &mut self.envelope {
            envelope.feed(chunk);
        }
    }

    /// It was whole.
    fn end(&mut self) -> io::Result<()> {
        let Some(envelope) = self.envelope.take() else {
            return Ok(());
        };
        let name = self.members.last().map_or("", |member| &member.name);
        envelope
            .finish()
            .map_err(|error| invalid(format!("{name} is {error}")))
    }
}

/// What is recorded of a member.
pub fn member_record(member: &Member) -> io::Result<MemberRecord> {
    let modified = i64::try_from(member.modified)
        .ok()
        .and_then(|seconds| Timestamp::from_second(seconds).ok());
    let modified = modified.ok_or_else(|| {
        invalid(format!(
            "{} was modified at {} s",
            member.name, member.modified
        ))
    })?;
    Ok(MemberRecord {
        name: member.name.clone(),
        size: member.size,
        modified,
    })
}

pub fn invalid(message: impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message.to_string())
}
