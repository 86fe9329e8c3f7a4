//! One request for a shard: its answer, checked while it passes, in a file.

use std::collections::BTreeMap;
use std::error::Error;
use std::io::{self, Read, Write};
use std::{fmt, iter};

use anyhow::{Context, Result};
use jiff::Timestamp;

use super::cut::Cutter;
use super::download::{Downloader, Want};
use super::plan::Planned;
use super::proof::{Begun, Came, Proof};
use super::stored::Stored;
use crate::client::cancellation;
use crate::ops::members::is_of_system;
use crate::progress::Event;
use crate::repository::{MemberRecord, StagedTar};
use crate::shard_tar::{Ending, Member, ScanError as TarError, Scanner, Sink};
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
        let mut intake = Intake {
            listing: Listing::default(),
            out: self.out(planned, file).map_err(Attempt::Fatal)?,
        };
        let mut scanner = Scanner::new(shard, &mut intake);
        let mut size = 0;
        let mut buffer = vec![0; CHUNK.min(ALL_CHUNKS / self.jobs.max(1))];
        let outcome = loop {
            let count = match reply.read(&mut buffer) {
                Ok(0) => break None,
                Ok(count) => count,
                Err(error) => match cancellation(&error) {
                    Some(fault) => return Err(Attempt::Fatal(fault.clone().into())),
                    None => {
                        break Some(format!("the connection failed after {size} bytes: {error}"));
                    }
                },
            };
            let chunk = &buffer[..count];
            match scanner.feed(chunk) {
                Err(error) if is_of_system(&error) => return Err(Attempt::Fatal(error.into())),
                Err(error) => break Some(describe(&error)),
                Ok(()) => {}
            }
            if let Out::Raw(file) = &mut scanner.sink().out {
                file.write_all(chunk)
                    .context("writing what came")
                    .map_err(Attempt::Fatal)?;
            }
            size += count as u64;
            self.progress.report(&Event::Bytes {
                shard,
                count: count as u64,
            });
        };
        let ending = match outcome {
            Some(reason) => Err(reason),
            None => scanner.finish().map_err(|error| describe(&error)),
        };
        let broken = |reason, listing: &Listing| {
            let tombstone = listing.members.iter().any(MemberRecord::is_tombstone);
            Err(Attempt::Broken { reason, tombstone })
        };
        let Intake { listing, out } = intake;
        match ending {
            Ok(Ending::Nothing) => return Ok(Answer::Nothing),
            Ok(Ending::Whole { members: 0 }) => return Ok(Answer::Empty(came)),
            Ok(Ending::Whole { .. }) => {}
            Err(reason) => return broken(reason, &listing),
        }
        if let Some(name) = listing.duplicate() {
            return broken(
                format!("the member {name} stands in the tar twice"),
                &listing,
            );
        }
        let (file, members) = match out {
            Out::Raw(file) => (file, listing.members),
            Out::Cut(cutter) => cutter
                .finish()
                .context("writing what is kept of what came")
                .map_err(Attempt::Fatal)?,
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

    fn out(&self, planned: &Planned, file: StagedTar) -> Result<Out> {
        Ok(match planned.cut {
            Some(bounds) => {
                let cutter = Cutter::new(
                    &planned.shard.path,
                    bounds,
                    BTreeMap::new(),
                    file,
                    self.staging.scratch(),
                )?;
                Out::Cut(Box::new(cutter))
            }
            None => Out::Raw(file),
        })
    }
}

/// Lists what comes, and puts it where it goes.
struct Intake {
    listing: Listing,
    out: Out,
}

/// Where a tar goes.
enum Out {
    /// Into a file as it comes, headers and all.
    Raw(StagedTar),
    /// Through the knife, member by member.
    Cut(Box<Cutter>),
}

impl Sink for Intake {
    fn begin(&mut self, member: &Member) -> io::Result<()> {
        self.listing.begin(member)?;
        match &mut self.out {
            Out::Raw(_) => Ok(()),
            Out::Cut(cutter) => cutter.begin(member),
        }
    }

    fn data(&mut self, chunk: &[u8]) -> io::Result<()> {
        self.listing.data(chunk)?;
        match &mut self.out {
            Out::Raw(_) => Ok(()),
            Out::Cut(cutter) => cutter.data(chunk),
        }
    }

    fn end(&mut self) -> io::Result<()> {
        self.listing.end()?;
        match &mut self.out {
            Out::Raw(_) => Ok(()),
            Out::Cut(cutter) => cutter.end(),
        }
    }
}

fn describe(error: &TarError) -> String {
    let chain = iter::successors(Some(error as &(dyn Error + 'static)), |error| {
        (*error).source()
    });
    chain
        .map(ToString::to_string)
        .collect::<Vec<_>>()
        .join(": ")
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

impl Sink for Listing {
    fn begin(&mut self, member: &Member) -> io::Result<()> {
        self.envelope = member.is_tsm().then(Envelope::default);
        let modified = i64::try_from(member.modified)
            .ok()
            .and_then(|seconds| Timestamp::from_second(seconds).ok());
        let modified = modified.ok_or_else(|| {
            invalid(format!(
                "{} was modified at {} s",
                member.name, member.modified
            ))
        })?;
        self.members.push(MemberRecord {
            name: member.name.clone(),
            size: member.size,
            modified,
        });
        Ok(())
    }

    fn data(&mut self, chunk: &[u8]) -> io::Result<()> {
        if let Some(envelope) = &mut self.envelope {
            envelope.feed(chunk);
        }
        Ok(())
    }

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

pub fn invalid(message: impl fmt::Display) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, message.to_string())
}
